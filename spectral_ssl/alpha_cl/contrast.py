"""Who is contrasted with whom, and the distances alpha-CL is about (Tian 2022, arXiv 2201.12680).

N samples of two views each, stacked: rows 0..N-1 of Z (2N, K) are z_i, rows N..2N-1 are z_i'. An anchor i has one
positive and m negatives. With the half-squared distances

    d_ij^2 = |z_i - z_j|^2 / 2,   d_i^2 = |z_i - z_i'|^2 / 2,   u_ij = d_i^2 - d_ij^2

every loss and every rule of this package is a function of u (n, m), or of the distances themselves. On the unit sphere
d^2 = 1 - cos. `half_squared=False` drops the factor 1/2, which is the same as half the temperature.

"one" view: the N anchors are the z_i, their negatives the other z_j: the form of the theory. "two" views: all 2N rows
are anchors, their negatives the 2N - 2 rows that are neither the anchor nor its positive: what training code does.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph

__all__ = ["Contrast", "Views", "as_rows"]

GATHERED = 2**22  # entries up to which the places of the negatives are kept: five times as fast as by a mask

Views = Literal["one", "two"]
Index = np.ndarray[Any, np.dtype[np.int64]]


def as_rows(Z: Any, n_rows: int | None = None, name: str = "Z") -> torch.Tensor:
    """Z as a floating tensor (2N, K). Raises DataError for another shape, or values that are not finite."""
    try:
        if Z.is_complex() if isinstance(Z, torch.Tensor) else np.iscomplexobj(Z):
            raise TypeError("complex numbers have no place here; pass both parts, np.hstack([Z.real, Z.imag])")
        # torch shares neither read-only arrays, such as those of records, nor reversed ones: those are copied
        found = Z if isinstance(Z, torch.Tensor) else torch.as_tensor(np.require(Z, np.float64, ["C", "W"]))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be an array of numbers, got {type(Z).__name__}: {error}") from error
    if found.ndim != 2 or (n_rows is not None and found.shape[0] != n_rows):
        expected = "two dimensions" if n_rows is None else f"shape ({n_rows}, ...): the first views, then the second"
        raise DataError(f"{name} has shape {tuple(found.shape)}, expected {expected}")
    if not found.is_floating_point():
        found = found.to(torch.float64)
    if not bool(torch.isfinite(found.detach()).all()):
        raise DataError(f"{name} holds NaN or infinite values; remove those rows before contrasting them")
    return found


@dataclass(frozen=True, eq=False)
class Contrast:
    """Anchors with their positives and negatives among the rows of Z.

    anchors, positives: (n,), rows of Z. candidates: (c,), the rows that negatives are taken from: all of them but the
    anchor itself and its positive, so that every anchor has the same number m of negatives. n_rows: rows of Z.
    """

    anchors: Index
    positives: Index
    candidates: Index
    n_rows: int
    views: Views = "two"
    half_squared: bool = True

    @classmethod
    def of(cls, n_samples: int, *, views: Views = "two", half_squared: bool = True) -> Contrast:
        """The contrast among N samples of two views, rows stacked as (z, z'). Raises DataError for fewer than 2."""
        if isinstance(n_samples, bool) or not isinstance(n_samples, int | np.integer) or n_samples < 2:
            raise DataError(f"n_samples must be at least 2, so that an anchor has a negative; got {n_samples!r}")
        first = np.arange(n_samples)
        return cls._of(first, first + int(n_samples), views, half_squared)

    @classmethod
    def of_graph(cls, graph: Graph, *, views: Views = "two", half_squared: bool = True) -> Contrast:
        """The contrast of a relation that joins every row with exactly one other: two views of N originals.

        Raises DataError for any other relation. Weights do not matter; of a pair (i, j) the first view is min(i, j).
        """
        if not isinstance(graph, Graph):
            raise DataError(f"graph must be a Graph, as relations make, got {type(graph).__name__}")
        A = graph.to_csr()
        i, j = A.nonzero()
        off = i != j
        i, j = i[off], j[off]
        if graph.n_samples % 2 or not np.array_equal(np.sort(i), np.arange(graph.n_samples)):
            degree = np.bincount(i, minlength=graph.n_samples)
            came = f"rows with {degree.min()} to {degree.max()} partners" if degree.size else "no rows"
            raise DataError(
                "alpha-CL contrasts two views of each sample: the relation must join every row with exactly one other, "
                f"and this one has {came}; use --relation 'views' with n_views=2, or a pair list that matches the rows"
            )
        return cls._of(i[i < j], j[i < j], views, half_squared)

    @classmethod
    def _of(cls, first: Index, second: Index, views: Views, half_squared: bool) -> Contrast:
        if views not in ("one", "two"):
            raise DataError(f"views must be 'one' or 'two', got {views!r}")
        first, second = first.astype(np.int64), second.astype(np.int64)
        if first.size < 2:
            raise DataError("a contrast needs at least 2 samples of two views, so that an anchor has a negative")
        if views == "one":
            return cls(first, second, first, 2 * first.size, views, half_squared)
        both = np.concatenate([first, second])
        return cls(both, np.concatenate([second, first]), both, both.size, views, half_squared)

    @property
    def n_anchors(self) -> int:
        return int(self.anchors.size)

    @property
    def n_negatives(self) -> int:
        """m, negatives per anchor: N - 1 ("one") or 2N - 2 ("two")."""
        return int(self.candidates.size) - (1 if self.views == "one" else 2)

    @functools.cached_property
    def allowed(self) -> torch.Tensor:
        """Which candidates are negatives of which anchor, (n, c) bool, m in every row."""
        a, p, c = (torch.as_tensor(x) for x in (self.anchors, self.positives, self.candidates))
        return (c != a[:, None]) & (c != p[:, None])

    def distances(self, Z: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """d_ij^2 to the negatives (n, m) and d_i^2 to the positive (n,), differentiable in Z (2N, K)."""
        Z = as_rows(Z, self.n_rows)
        a, p, c = Z[self.anchors], Z[self.positives], Z[self.candidates]
        # about a common centre, so that a large mean does not cost digits
        centre = Z.detach().mean(dim=0)
        a, p, c = a - centre, p - centre, c - centre
        half = (a.square().sum(1)[:, None] + c.square().sum(1)) / 2 - a @ c.T
        negative = self._negatives_of(half).clamp_min(0.0)
        positive = (a - p).square().sum(1) / 2
        return (negative, positive) if self.half_squared else (2 * negative, 2 * positive)

    def _negatives_of(self, full: torch.Tensor) -> torch.Tensor:
        """The entries of (n, c) at the negatives, (n, m)."""
        if full.numel() <= GATHERED:
            return full.gather(1, self._columns.to(full.device))
        return full[self.allowed.to(full.device)].reshape(self.n_anchors, -1)

    @functools.cached_property
    def _columns(self) -> torch.Tensor:
        """The candidates that are negatives, (n, m)."""
        return self.allowed.nonzero()[:, 1].reshape(self.n_anchors, -1)

    def u(self, Z: Any) -> torch.Tensor:
        """u_ij = d_i^2 - d_ij^2, (n, m): how much closer the negative is than the positive."""
        negative, positive = self.distances(Z)
        return positive[:, None] - negative

    def spread(self, alpha: Any) -> torch.Tensor:
        """alpha (n, m) laid out over the candidates, (n, c), zero at the anchor itself and at its positive."""
        try:
            found = torch.as_tensor(alpha)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"alpha must be an array of numbers, got {type(alpha).__name__}: {error}") from error
        if found.shape != (self.n_anchors, self.n_negatives):
            raise DataError(
                f"alpha has shape {tuple(found.shape)}, expected {(self.n_anchors, self.n_negatives)}: "
                "anchors x negatives"
            )
        out = torch.zeros(self.allowed.shape, dtype=found.dtype, device=found.device)
        out[self.allowed.to(found.device)] = found.reshape(-1)
        return out

    def energy(self, Z: Any, alpha: Any) -> torch.Tensor:
        """E_alpha(Z) = sum_ij alpha_ij (d_ij^2 - d_i^2), alpha (n, m) held constant; a scalar tensor."""
        u = self.u(Z)
        energy: torch.Tensor = -(torch.as_tensor(alpha).detach().to(u) * u).sum()
        return energy
