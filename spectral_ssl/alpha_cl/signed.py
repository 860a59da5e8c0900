"""The contrastive covariance C_alpha, and the signed pair graph M behind it (Tian 2022, arXiv 2201.12680).

For vectors a_i, b_i of the 2N rows, x_i a row and x_i' its positive,

    C_alpha[a, b] = sum_ij alpha_ij { (a_i - a_j)(b_i - b_j)' - (a_i - a_i')(b_i - b_i')' },   C_alpha[a] = that of a, a

over the anchors i and their negatives j, with no overall factor. Derived here: put alpha at (anchor, negative) of an
N x N matrix A of all rows, S = A + A', and P at (i, i') with weight sum_j alpha_ij from every anchor i. The Dirichlet
identity sum_ij A_ij (a_i - a_j)(b_i - b_j)' = a' Lap(S) b, Lap(S) = diag(S 1) - S, turns both sums into

    C_alpha[a, b] = a' M b,      M = Lap(S) - Lap(P),      E_alpha(Z) = tr(Z' M Z) / 2 for half-squared distances.

M is the Laplacian of a *signed* graph: negatives push apart, positives pull together, and M 1 = 0. For a contrast of
one view, rows (z, z'), it is [[Lap(S) - B, B], [B, -B]] with B = diag(A 1). Over all Z with orthonormal columns E is
largest at the top eigenvectors of M; over Z = XW with W orthonormal, at those of C_alpha[x].

M is never formed: `matmul` needs A V and A'V. Where alpha is the same along each row that is O(N) (`uniform`), where it
comes from a rule it is recomputed block by block in O(chunk N) memory (`of_rule`), else it is held (`of`).

Uniform alpha_ij = w, two views: with J = 11', Pi the swap of views, H = I - J/2N and L = I - Pi the Laplacian of the
relation "views",  M = 2w (I + (2N - 1) Pi - J) = 4wN H - 2w (2N - 1) L  exactly: its eigenvalues are 4wN, N - 1 times
(one value per sample), 0 on the constant and -4w (N - 1), N times. Over maps that are whitened, W'X'HXW = I, its
directions are those of the library's "laplacian" pencil, of VICReg and LPP. One view: M = 2wN H_1 - w (N - 1) L, H_1
centring the first views among themselves; w (1 +- sqrt(1 + 2N (N - 1))), N - 1 times each, then 0 and -2w (N - 1).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch

from spectral_ssl import linalg
from spectral_ssl.alpha_cl._held import Held, Importance, Recomputed, Rows, uniform_pairs
from spectral_ssl.alpha_cl.contrast import Contrast, as_rows
from spectral_ssl.alpha_cl.rules import AlphaRule
from spectral_ssl.data._checks import frozen
from spectral_ssl.embedding import relative_gap, value_size
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.graph import MAX_EXPANDED, Graph
from spectral_ssl.spectrum import MARGIN, TIE_TOL

__all__ = ["ContrastSpectrum", "SignedGraph", "contrastive_covariance"]

Array = np.ndarray[Any, np.dtype[np.float64]]

CHUNK_ENTRIES = 2**22  # of alpha that a rule computes at a time: 32 MiB, and it holds several such arrays


def contrastive_covariance(X: Any, contrast: Contrast, alpha: Any, Y: Any = None) -> Array:
    """C_alpha[x, y] = sum_ij alpha_ij { (x_i - x_j)(y_i - y_j)' - (x_i - x_i')(y_i - y_i')' }, (D, D').

    X (2N, D), Y (2N, D'), by default X: rows as in the contrast, z then z'. alpha (n, m): anchors x negatives. No
    overall factor: E_alpha = tr(W' C W) / 2 for Z = XW and half-squared distances.
    """
    return SignedGraph.of(contrast, alpha).covariance(X, Y)


@dataclass(frozen=True, eq=False)
class ContrastSpectrum:
    """The largest eigenvalues of M (free) or of C_alpha[x] (linear), as `spectral_ssl.spectrum.Spectrum` holds others.

    values (R,), descending; vectors (2N, R): orthonormal eigenvectors of M, or (X - mean) @ weights; weights (D, R):
    orthonormal eigenvectors of C_alpha[x], None in the free model; mean (D,), subtracted from X, which M does not see;
    residuals (R,), relative to a bound on |mu|; dimension: number of eigenvalues there are; solver: what ran and why.
    """

    values: Array
    vectors: Array
    residuals: Array
    dimension: int
    solver: str
    weights: Array | None = None
    mean: Array | None = None

    def __post_init__(self) -> None:
        for name in ("values", "vectors", "residuals", "weights", "mean"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def complete(self) -> bool:
        """Whether every eigenvalue is held."""
        return self.values.size >= self.dimension

    def gap(self, r: int) -> float:
        """|mu_{r+1} - mu_r| / max|mu| over the values held; infinite where no (r+1)-th eigenvalue exists."""
        if not 0 <= r <= self.values.size or (r == self.values.size and not self.complete):
            raise DataError(f"the gap at {r} needs {r + 1} eigenvalues, {self.values.size} are held")
        return relative_gap(self.values, r)

    def multiplicity(self, r: int) -> int:
        """How many of the values held are copies of mu_r (r from 1)."""
        if not 1 <= r <= self.values.size:
            raise DataError(f"eigenvalue {r} was asked for, {self.values.size} are held")
        size = max(value_size(self.values, r, None), 1e-300)
        return int(np.count_nonzero(np.abs(self.values - self.values[r - 1]) <= TIE_TOL * size))


@dataclass(frozen=True, eq=False)
class SignedGraph:
    """M = Lap(S) - Lap(P) of a contrast and its pair importance alpha; see the module.

    Build one with `of` (alpha as a matrix), `uniform` (alpha the same along each row) or `of_rule`.
    """

    contrast: Contrast
    importance: Importance

    # --- construction -----------------------------------------------------------------------------------------------

    @classmethod
    def of(cls, contrast: Contrast, alpha: Any) -> SignedGraph:
        """From alpha (n, m), anchors x negatives. Raises DataError for another shape, or values that are not finite."""
        A = contrast.spread(alpha).detach().to(device="cpu", dtype=torch.float64).numpy()
        if not np.isfinite(A).all():
            raise DataError("alpha holds NaN or infinite values; a rule must weigh every pair by a finite number")
        return cls(contrast, Held(frozen(A)))

    @classmethod
    def uniform(cls, contrast: Contrast, weight: Any = 1.0) -> SignedGraph:
        """alpha_ij = weight, or weight_i where one per anchor is given (n,): O(N) memory and time."""
        w = np.asarray(weight, dtype=np.float64)
        if w.shape not in ((), (contrast.n_anchors,)) or not np.isfinite(w).all():
            raise DataError(
                f"weight must be one finite number, or one for each of the {contrast.n_anchors} anchors; "
                f"got shape {w.shape}"
            )
        return cls(contrast, Rows(frozen(np.broadcast_to(w, (contrast.n_anchors,)))))

    @classmethod
    def of_rule(cls, contrast: Contrast, rule: AlphaRule, Z: Any, *, chunk: int | None = None) -> SignedGraph:
        """alpha = rule(Z), Z (2N, K). Past 32 MiB recomputed in every product, block by block, and never held whole.

        The rule must weigh each anchor by itself, as all of this package do. chunk: anchors of a block, by default as
        many as fit 32 MiB; given, blocks are recomputed at any size.
        """
        Z = as_rows(Z, contrast.n_rows).detach().to(device="cpu", dtype=torch.float64)
        rows = max(1, CHUNK_ENTRIES // contrast.candidates.size) if chunk is None else chunk
        if isinstance(rows, bool) or not isinstance(rows, int | np.integer) or rows < 1:
            raise DataError(f"chunk must be a positive whole number of anchors, got {chunk!r}")
        if chunk is None and rows >= contrast.n_anchors:
            return cls.of(contrast, rule.alpha(Z, contrast))
        return cls(contrast, Recomputed(rule, Z, int(rows)))

    # --- numbers ----------------------------------------------------------------------------------------------------

    @property
    def n_rows(self) -> int:
        return self.contrast.n_rows

    @functools.cached_property
    def _sums(self) -> tuple[Array, Array]:
        """A 1 (n,) over the anchors, A'1 (c,) over the candidates."""
        forth, back = self.importance.products(self.contrast, np.ones((self.n_rows, 1)))
        return forth[:, 0], back[:, 0]

    @property
    def row_sums(self) -> Array:
        """sum_j alpha_ij of each anchor, (n,)."""
        return self._sums[0]

    @functools.cached_property
    def degree(self) -> tuple[Array, Array]:
        """S 1 and P 1, each (2N,): how much each row is pushed, and how much it is pulled."""
        a, p, c = self.contrast.anchors, self.contrast.positives, self.contrast.candidates
        S, P = np.zeros(self.n_rows), np.zeros(self.n_rows)
        S[a] += self._sums[0]
        S[c] += self._sums[1]
        P[a] += self._sums[0]
        P[p] += self._sums[0]
        return S, P

    def matmul(self, V: Any) -> Array:
        """M V for V (2N, k) or (2N,)."""
        V = np.asarray(V, dtype=np.float64)
        if V.ndim not in (1, 2) or V.shape[0] != self.n_rows:
            raise DataError(f"V has shape {V.shape}, expected ({self.n_rows}, k): one row for each view")
        flat = V.reshape(self.n_rows, -1)
        flat = flat - flat.mean(axis=0)  # M 1 = 0: a large mean would only cost digits
        a, p, c = self.contrast.anchors, self.contrast.positives, self.contrast.candidates
        forth, back = self.importance.products(self.contrast, flat)
        pushed, taken = (sums[:, None] for sums in self._sums)
        pull = pushed * (flat[a] - flat[p])
        out = np.zeros_like(flat)
        out[a] += pushed * flat[a] - forth - pull
        out[c] += taken * flat[c] - back
        out[p] += pull
        product: Array = out.reshape(V.shape)
        return product

    def covariance(self, X: Any, Y: Any = None) -> Array:
        """C_alpha[x, y] = X' M Y, (D, D'), from X (2N, D) and Y (2N, D'); Y defaults to X."""
        X = self._rows(X, "X")
        C: Array = X.T @ self.matmul(X if Y is None else self._rows(Y, "Y"))
        return (C + C.T) / 2 if Y is None else C

    def energy(self, Z: Any) -> float:
        """E_alpha(Z) = sum_ij alpha_ij (d_ij^2 - d_i^2) = tr(Z' M Z) / 2, twice that without half-squared distances."""
        Z = self._rows(Z, "Z")
        return self.scale * float(np.sum(Z * self.matmul(Z)))

    @property
    def scale(self) -> float:
        """E / tr(Z' M Z): 1/2 for half-squared distances, else 1."""
        return 0.5 if self.contrast.half_squared else 1.0

    def _rows(self, X: Any, name: str) -> Array:
        X = as_rows(X, self.n_rows, name).detach().cpu().numpy().astype(np.float64)
        centred: Array = X - X.mean(axis=0)
        return centred

    # --- as graphs and matrices -------------------------------------------------------------------------------------

    def _edges(self) -> tuple[Any, Any]:
        """A (2N, 2N) of the negatives, and the positives' weights at (anchor, positive), sparse."""
        a, p, c = self.contrast.anchors, self.contrast.positives, self.contrast.candidates
        if a.size * c.size > MAX_EXPANDED:
            raise ResourceError(
                f"{a.size:,} anchors x {c.size:,} candidates have {a.size * c.size:,} entries (limit "
                f"{MAX_EXPANDED:,}); use matmul, covariance and spectrum, which never write them out"
            )
        A = np.vstack([block for _, block in self.importance.blocks(self.contrast)])
        i, j = np.nonzero(A)
        shape = (self.n_rows, self.n_rows)
        negatives = scipy.sparse.coo_array((A[i, j], (a[i], c[j])), shape=shape).tocsr()
        return negatives, scipy.sparse.coo_array((self.row_sums, (a, p)), shape=shape).tocsr()

    def to_csr(self) -> Any:
        """M as a csr_array (2N, 2N). Raises ResourceError where alpha has more than `MAX_EXPANDED` entries."""
        A, P = self._edges()
        signed = A + A.T - P - P.T
        return scipy.sparse.csr_array(scipy.sparse.diags_array(np.asarray(signed.sum(axis=1)).ravel()) - signed)

    def graphs(self) -> tuple[Graph, Graph]:
        """S and P as relations of the library, for alpha >= 0: M is the Laplacian of the one less that of the other."""
        A, P = self._edges()
        return Graph.from_adjacency(A + A.T), Graph.from_adjacency(P + P.T)

    # --- spectrum ---------------------------------------------------------------------------------------------------

    def spectrum(self, n_components: int, *, X: Any = None) -> ContrastSpectrum:
        """The largest eigenvalues of M, at least n_components + 1 where they exist; of C_alpha[x] where X is given.

        The constant, eigenvalue 0 of M, is a direction like any other: embeddings with orthonormal columns need not be
        centred. Raises DataError for more components than there are directions.
        """
        dimension = self.n_rows if X is None else as_rows(X, self.n_rows, "X").shape[1]
        if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer) or n_components < 1:
            raise DataError(f"n_components must be a positive integer, got {n_components!r}")
        if n_components > dimension:
            what = "rows" if X is None else "features"
            raise DataError(f"n_components={n_components} exceeds {dimension}, the number of {what}")
        if X is not None:
            values, weights, residuals, solver = top_pairs(self.covariance(X))
            mean = as_rows(X).detach().cpu().numpy().astype(np.float64).mean(axis=0)
            return ContrastSpectrum(values, self._rows(X, "X") @ weights, residuals, dimension, solver, weights, mean)
        R = min(int(n_components) + MARGIN, dimension)
        S, P = self.degree
        c = 2 * float(np.abs(S).max()) + 2 * float(np.abs(P).max())  # |M| <= |Lap(S)| + |Lap(P)| by Gershgorin
        if isinstance(self.importance, Rows) and np.ptp(self.importance.weight) == 0:
            values, V = uniform_pairs(self.contrast, float(self.importance.weight[0]), R)
            solver = "closed form of uniform importance"
        else:
            # the largest of M are the smallest of cI - M, which is positive semi-definite
            operator = scipy.sparse.linalg.LinearOperator(
                (self.n_rows, self.n_rows),
                matvec=lambda v: c * v.ravel() - self.matmul(v.ravel()),
                matmat=lambda V: c * V - self.matmul(V),
                dtype=np.float64,
            )
            found = linalg.smallest_eigenpairs(operator, R, upper=2 * c)
            values, V, solver = c - found.values, found.vectors, found.solver
        residuals = np.linalg.norm(self.matmul(V) - V * values, axis=0) / (c if c > 0 else 1.0)
        return ContrastSpectrum(values, V, residuals, dimension, solver)


def top_pairs(C: Array) -> tuple[Array, Array, Array, str]:
    """Eigenvalues of a symmetric C (D, D), descending, with vectors, residuals relative to max|mu|, and the solver."""
    values, V = linalg.eigh(C)
    values, V = values[::-1], linalg.fix_signs(V[:, ::-1])
    size = float(np.abs(values).max(initial=0.0))
    residuals = np.linalg.norm(C @ V - V * values, axis=0) / (size if size > 0 else 1.0)
    return values, V, residuals, f"dense eigh, {C.shape[0]} x {C.shape[0]}"
