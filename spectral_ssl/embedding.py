"""Embeddings and optima: what every solver returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spectral_ssl.data import as_rows
from spectral_ssl.errors import DataError

if TYPE_CHECKING:
    from spectral_ssl.kernels import FeatureMap
    from spectral_ssl.methods.base import Method

__all__ = ["Embedding", "Kind", "Optimum", "UniqueUpTo", "in_blocks"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Kind = Literal["exact", "certified", "bound", "asymptotic"]
UniqueUpTo = Literal["rotation", "signed_permutation", "orthogonal+scale", "none"]

BLOCK = 2**19  # features or kernel values of a block in transform: 4 MiB, and a kernel holds several such arrays


def in_blocks(
    f: Callable[[Array], Array],  # rows (m, D) -> (m, K)
    X: Array,  # (n, D)
    width: int,
    n_components: int,
) -> Array:  # (n, K)
    """f(X), block by block of rows, where f holds `width` numbers for each; no rows, no call."""
    out = np.empty((X.shape[0], n_components))
    rows = max(1, BLOCK // max(1, width))
    for start in range(0, X.shape[0], rows):
        out[start : start + rows] = f(X[start : start + rows])
    return out


def value_size(values: Array, r: int, scale: float | None) -> float:
    """What differences of eigenvalues are measured by: max|mu|, or under a ridge what counts at the first r.

    A ridge makes the values of rough directions as large as they are rough; those after r + 1 decide nothing there.
    """
    size = float(np.abs(values).max(initial=0.0))
    return size if scale is None else min(size, max(scale, float(abs(values[min(r, values.size - 1)]))))


def relative_gap(values: Array, r: int, scale: float | None = None) -> float:
    """|mu_{r+1} - mu_r| / size; infinite where there is none of the two."""
    if r in (0, values.size):
        return math.inf
    size = value_size(values, r, scale)
    return float(abs(values[r] - values[r - 1])) / size if size > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Embedding:
    """An embedding of N samples, and the map that made it where there is one.

    Z (N, K); spectrum (R,): eigenvalues of the pencil it was read from, best first, at least K + 1 where they exist,
    else empty; rank: number of nonzero directions of an optimum, None for a trained embedding; scale: under
    a ridge the bound on the eigenvalues without it (see `Spectrum`).

    The map for new samples, by model: linear: Z = (X - mean) W, W (D, K), mean (D,) or None. kernel: the same on
    features(X), W (p, K). free: `extension`, a function of new samples (Nystroem's formula on the relation for optima,
    Gower's for multidimensional scaling, a regression for embeddings extended by `spectral_ssl.extend`), or None.
    """

    Z: Array
    spectrum: Array = field(default_factory=lambda: np.zeros(0))
    W: Array | None = None
    mean: Array | None = None
    rank: int | None = None
    features: FeatureMap | None = None
    extension: Callable[[Any], Array] | None = None
    scale: float | None = None

    @property
    def n_components(self) -> int:
        return int(self.Z.shape[1])

    @property
    def gap(self) -> float:
        """|mu_{r+1} - mu_r| / max|mu| at the rank r of the optimum: how well its subspace is determined.

        Infinite where no further eigenvalue exists; nan for an embedding read from no spectrum.
        """
        r = self.n_components if self.rank is None else self.rank
        if self.spectrum.size == 0:
            return math.nan
        if r == 0 or r >= self.spectrum.size:
            return math.inf
        return relative_gap(self.spectrum, r, self.scale)

    @property
    def extends(self) -> bool:
        """Whether `transform` can embed new samples."""
        return self.W is not None or self.extension is not None

    def transform(self, X: Any) -> Array:
        """Embed new samples X (n, D), n >= 0, an array or a Dataset: (n, K). On the training samples it equals Z, to
        rounding; in the free model equal training samples may differ in Z, and all take that of the first.

        (X - mean) W, with features(X) in place of X in the kernel model; the extension in the free one.
        Raises DataError for an embedding without a map, another number of features, sparse rows or text, NaN or
        infinite values.
        """
        if self.W is None:
            if self.extension is None:
                raise DataError(
                    "a free embedding assigns coordinates to its own samples only, and this one has no rule for "
                    "new ones; fit one with ss.extend(embedding, X), or solve the linear or kernel model"
                )
            X = as_rows(X)
            return self.extension(X) if X.shape[0] else np.zeros((0, self.n_components))
        W, phi, mean = self.W, self.features, np.zeros(self.W.shape[0]) if self.mean is None else self.mean
        X = as_rows(X, W.shape[0] if phi is None else None)
        return in_blocks(lambda rows: ((rows if phi is None else phi(rows)) - mean) @ W, X, *W.shape)


@dataclass(frozen=True, eq=False)
class Optimum:
    """The attainable minimum of a method's loss over a model class, and an embedding that reaches it.

    embedding: a minimiser. loss: the minimum; loss_terms: its parts, which sum to it. lower_bound: proven; where kind
    is "exact" it equals loss, or is below by what a search left unproven, at most 1e-9 of the loss at collapse. rank:
    of the embedding. kind: what is claimed. unique_up_to: two optima differ at most by this (not every such change need
    leave the loss alone: `note` says where). note: multiplicities and surplus components in words, "" if there is
    nothing to say. source: paper and statement. method: with every hyper-parameter resolved. solver: what computed the
    spectrum, and why.
    """

    embedding: Embedding
    loss: float
    loss_terms: dict[str, float]
    lower_bound: float
    rank: int
    kind: Kind
    unique_up_to: UniqueUpTo
    note: str
    source: str
    method: Method
    solver: str
    residual: float

    @property
    def gap(self) -> float:
        return self.embedding.gap
