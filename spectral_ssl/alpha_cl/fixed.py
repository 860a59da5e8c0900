"""Optima of E_alpha for alpha held fixed, in closed form, each by the name of its constraint.

A deep linear encoder z = W_L .. W_1 x, W_l (n_l, n_{l-1}), has the energy E = tr(W C W') / 2 of W = W_L .. W_1 (K, D),
C = C_alpha[x] symmetric, mu_1 >= mu_2 >= .. its eigenvalues with eigenvectors V. Derived here, by constraint:

=============  ===============================================  ====================================================
constraint     on                                               max 2E, where
=============  ===============================================  ====================================================
"frobenius"    |W_l|_F = 1 for every l                          mu_1: W_l = v_l v_{l-1}', v_0 a top eigenvector
"per_filter"   each row of W_l has norm 1 / sqrt(n_l)           mu_1: the same, v_l with entries +-1 / sqrt(n_l)
"orthonormal"  W_l W_l' = I for every l                         mu_1 + .. + mu_K: PCA, rows of W span the top K
"schatten"     sum_k sigma_k(W)^{2/L} <= 1                      [mu_1]_+: W = v_L v_0'
"free"         Z'Z = I over all Z (2N, K)                       the K largest eigenvalues of M: its eigenvectors
=============  ===============================================  ====================================================

"frobenius". tr(W C W') <= mu_1 |W|_F^2 for mu_1 >= 0, and |W|_F <= |W_L|_2 .. |W_2|_2 |W_1|_F <= prod |W_l|_F = 1. For
L >= 2 both are equalities only where W_2, .., W_L have one singular value each and W_1 maps into the first of them:
every layer has rank 1, whatever the widths and the multiplicity of mu_1, and z = (v_0'x) v_L is one-dimensional. That
is the substance of Tian's theorem (2022, arXiv 2201.12680). For L = 1 there is no such squeeze: any W of norm 1 into
the top eigenspace will do, of rank up to its multiplicity. "per_filter" is a subset that contains such optima.

mu_1 < 0. One layer cannot but be of norm 1: 2E = mu_1. Two layers or more collapse: unit layers whose product is
W = 0 have E = 0, the best there is. That needs a hidden layer with two units at least; where all have one, |W|_F = 1
again and 2E = mu_1. Over the Schatten ball W = 0 is a point, so that E = 0 at every depth.

"schatten" is depth as a penalty on W itself: { W_L .. W_1 : |W_l|_F <= 1 } = { sum_k sigma_k(W)^{2/L} <= 1 } for hidden
layers as wide as the rank of W. In the one direction by Hoelder's inequality for Schatten norms,
|W|_{S_{2/L}} <= prod_l |W_l|_{S_2}; in the other by W_l = (U) S^{1/L} (V'), see `balanced_layers`.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.alpha_cl.signed import ContrastSpectrum, SignedGraph, top_pairs
from spectral_ssl.embedding import Embedding, Optimum, UniqueUpTo
from spectral_ssl.errors import DataError, SpectralWarning, did_you_mean
from spectral_ssl.spectrum import TIE_TOL, ZERO_TOL

if TYPE_CHECKING:
    from spectral_ssl.methods.base import Method

__all__ = ["CONSTRAINTS", "FixedOptimum", "balanced_layers", "fixed_optimum", "schatten_sum"]

Array = np.ndarray[Any, np.dtype[np.float64]]

SOURCE = "Tian (2022), arXiv 2201.12680, deep linear networks with alpha fixed; proof derived in alpha_cl/fixed.py"


@dataclass(frozen=True, eq=False)
class FixedOptimum:
    """The maximum of E_alpha under a constraint, alpha fixed, and an encoder that attains it.

    energy: E*. layers: W_1, .., W_L, each (n_l, n_{l-1}), as torch's linear layers hold them; none in the free model.
    embedding: W (D, K) = (W_L .. W_1)' and Z = (X - mean) W (2N, K), as E does not see the mean; no rows where only a
    covariance was given. rank: of W, or of Z in the free model. eigenvalue: mu_1; multiplicity: how many copies of it
    were found. collapsed: whether W = 0 is the best there is. unique_up_to: two optima differ at most by this in Z.
    note: what there is to say, in words.
    """

    constraint: str
    energy: float
    layers: tuple[Array, ...]
    embedding: Embedding
    rank: int
    eigenvalue: float
    multiplicity: int
    collapsed: bool
    unique_up_to: UniqueUpTo
    note: str
    source: str
    solver: str
    residual: float

    @property
    def depth(self) -> int:
        return len(self.layers)

    def as_optimum(self, method: Method) -> Optimum:
        """As the library's record of a minimum: the loss is -E*."""
        return Optimum(
            embedding=self.embedding,
            loss=-self.energy,
            loss_terms={"energy": -self.energy},
            lower_bound=-self.energy,
            rank=self.rank,
            kind="exact",
            unique_up_to=self.unique_up_to,
            note=self.note,
            source=self.source,
            method=method,
            solver=self.solver,
            residual=self.residual,
        )


@dataclass(frozen=True, eq=False)
class _Top:
    """The eigenpairs of C, descending, with mu_1 set to zero where it is rounding."""

    values: Array  # (D,)
    V: Array  # (D, D)
    multiplicity: int

    @property
    def top(self) -> float:
        size = float(np.abs(self.values).max(initial=0.0))
        return 0.0 if abs(self.values[0]) <= ZERO_TOL * size else float(self.values[0])


@dataclass(frozen=True, eq=False)
class _Found:
    """What a constraint makes of a spectrum: layers, 2E*, and what to say."""

    layers: tuple[Array, ...]
    total: float
    unique_up_to: UniqueUpTo
    note: str
    collapsed: bool = False


Solve = Callable[[_Top, tuple[int, ...]], _Found]  # widths: D, n_1, .., n_L = K


def fixed_optimum(
    source: SignedGraph | Any,
    n_components: int,
    *,
    constraint: str = "frobenius",
    X: Any = None,
    depth: int = 1,
    widths: Any = None,
) -> FixedOptimum:
    """The maximum of E_alpha with alpha fixed, under the constraint named (`CONSTRAINTS`), in closed form.

    source: a `SignedGraph`, then X (2N, D) too unless the constraint is "free"; or a covariance C_alpha[x] (D, D) as it
    is, for half-squared distances. n_components: K. depth: L layers. widths: n_1, .., n_{L-1} of the hidden layers, by
    default max(D, K) each ("orthonormal": K).
    Raises DataError for widths that the constraint does not allow. Warns where E_alpha is best at W = 0.
    """
    if constraint not in CONSTRAINTS:
        raise DataError(f"no constraint is called {constraint!r}; {did_you_mean(constraint, CONSTRAINTS)}")
    for name, value in (("n_components", n_components), ("depth", depth)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise DataError(f"{name} must be a positive integer, got {value!r}")
    solve = CONSTRAINTS[constraint]
    if solve is None:  # free
        return _free(source, int(n_components), X, int(depth), widths)
    spectrum, scale = _spectrum(source, X)
    values, V = spectrum.values, spectrum.weights
    assert V is not None
    sizes = _widths(constraint, values.size, int(n_components), int(depth), widths)
    top = _Top(values, V, spectrum.multiplicity(1))
    found = solve(top, sizes)
    if top.top <= 0 and found.note:
        warnings.warn(found.note, SpectralWarning, stacklevel=2)
    W = product(found.layers).T  # (D, K)
    rank = 0 if found.collapsed else linalg.rank(W)
    return FixedOptimum(
        constraint=constraint,
        energy=scale * found.total,
        layers=found.layers,
        embedding=Embedding(Z=spectrum.vectors @ (V.T @ W), spectrum=values, W=W, mean=spectrum.mean, rank=rank),
        rank=rank,
        eigenvalue=float(values[0]),
        multiplicity=spectrum.multiplicity(1),
        collapsed=found.collapsed,
        unique_up_to=found.unique_up_to,
        note=found.note,
        source=SOURCE,
        solver=spectrum.solver,
        residual=float(spectrum.residuals.max(initial=0.0)),
    )


def product(layers: tuple[Array, ...]) -> Array:
    """W_L .. W_1, (K, D)."""
    W = layers[0]
    for layer in layers[1:]:
        W = layer @ W
    return W


def schatten_sum(W: Any, depth: int) -> float:
    """sum_k sigma_k(W)^{2/L}: at most prod_l |W_l|_F^{2/L} for every W = W_L .. W_1, and equal for balanced layers."""
    s = linalg.svd(np.asarray(W, dtype=np.float64))[1]
    return float(np.sum(s ** (2.0 / _depth(depth))))


def balanced_layers(W: Any, depth: int) -> tuple[Array, ...]:
    """W = W_L .. W_1 of L equally long layers, W (K, D) = U S V': S^{1/L} V', then S^{1/L} each, at last U S^{1/L}.

    |W_l|_F^2 = sum_k sigma_k(W)^{2/L} for every l; hidden layers are as wide as the rank of W.
    """
    W = np.asarray(W, dtype=np.float64)
    L = _depth(depth)
    if L == 1:
        return (W,)
    U, s, Vt = linalg.svd(W)
    r = max(int(np.count_nonzero(s > max(W.shape) * linalg.EPS * s.max(initial=0.0))), 1)
    root = s[:r] ** (1.0 / L)
    return (root[:, None] * Vt[:r], *(np.diag(root) for _ in range(L - 2)), U[:, :r] * root)


# --- what is asked --------------------------------------------------------------------------------------------------


def _depth(depth: int) -> int:
    if isinstance(depth, bool) or not isinstance(depth, int | np.integer) or depth < 1:
        raise DataError(f"depth must be a positive integer, the number of layers; got {depth!r}")
    return int(depth)


def _spectrum(source: SignedGraph | Any, X: Any) -> tuple[ContrastSpectrum, float]:
    """All eigenpairs of C_alpha[x], and E / tr(W C W')."""
    if isinstance(source, SignedGraph):
        if X is None:
            raise DataError("a map of the data needs the data: pass X=, or constraint='free' for any Z")
        return source.spectrum(1, X=X), source.scale
    if X is not None:
        raise DataError("a covariance was given, and X beside it: pass the SignedGraph of the contrast instead")
    C = np.asarray(source, dtype=np.float64)
    if C.ndim != 2 or C.shape[0] != C.shape[1] or C.shape[0] == 0:
        raise DataError(f"a covariance must be a square matrix (D, D), got shape {C.shape}")
    if not np.isfinite(C).all():
        raise DataError("the covariance holds NaN or infinite values")
    if np.abs(C - C.T).max() > 1e-8 * np.abs(C).max():
        raise DataError("the covariance is not symmetric: pass C_alpha[x, x], or (C + C') / 2 if that is what is meant")
    values, V, residuals, solver = top_pairs(C)
    return ContrastSpectrum(values, np.zeros((0, values.size)), residuals, values.size, solver, V), 0.5


def _widths(constraint: str, D: int, K: int, L: int, widths: Any) -> tuple[int, ...]:
    """D, n_1, .., n_L = K."""
    if widths is None:
        hidden = (K if constraint == "orthonormal" else max(D, K),) * (L - 1)
    else:
        hidden = tuple(int(n) for n in np.asarray(widths).ravel())
        if len(hidden) != L - 1 or min(hidden, default=1) < 1:
            raise DataError(f"depth={L} has {L - 1} hidden layers of at least one unit, got widths={list(hidden)}")
    sizes = (D, *hidden, K)
    if constraint == "orthonormal" and any(n < after for n, after in itertools.pairwise(sizes)):
        raise DataError(
            f"orthonormal rows need layers that do not widen, D >= n_1 >= .. >= K; got {' -> '.join(map(str, sizes))}"
        )
    return sizes


# --- the constraints --------------------------------------------------------------------------------------------------


def _rank_one(top: _Top, sizes: tuple[int, ...], unit: Callable[[int], Array]) -> tuple[Array, ...]:
    """W_l = v_l v_{l-1}' with v_0 the first eigenvector of C and v_l = unit(n_l)."""
    v = [top.V[:, 0], *(unit(n) for n in sizes[1:])]
    return tuple(np.outer(after, before) for before, after in itertools.pairwise(v))


def _first(n: int) -> Array:
    out: Array = np.eye(n)[0]
    return out


def _even(n: int) -> Array:
    out: Array = np.full(n, 1 / np.sqrt(n))
    return out


def _vanishing(top: _Top, sizes: tuple[int, ...], unit: Callable[[int], Array]) -> tuple[Array, ...] | None:
    """Unit layers whose product is zero: of rank one each, but some layer reads what the one before does not write.

    None where every hidden layer has one unit: the product of unit layers then has norm 1.
    """
    at = next((place for place, n in enumerate(sizes[1:-1], start=1) if n > 1), None)
    if at is None:
        return None
    layers = list(_rank_one(top, sizes, unit))
    v = unit(sizes[at])
    apart = np.zeros_like(v)
    apart[:2] = -v[1], v[0]
    layers[at] = np.outer(unit(sizes[at + 1]), apart / np.linalg.norm(apart))  # W_{at+1} W_at = 0
    return tuple(layers)


def _unit_layers(top: _Top, sizes: tuple[int, ...], *, even: bool) -> _Found:
    """Layers of Frobenius norm 1; `even`: with rows of norm 1 / sqrt(n_l)."""
    unit = _even if even else _first
    K, L, m, mu = sizes[-1], len(sizes) - 1, top.multiplicity, top.top
    simple: UniqueUpTo = ("signed_permutation" if even else "rotation") if m == 1 else "none"
    if mu <= 0 and L > 1 and (layers := _vanishing(top, sizes, unit)) is not None:
        return _Found(layers, 0.0, "rotation" if mu < 0 else "none", _collapse(mu, "layers whose product is 0"), True)
    notes = []
    if mu <= 0:
        which = "one layer" if L == 1 else "hidden layers of one unit"
        notes.append(f"no direction has a positive eigenvalue (largest {mu:.3g}): W = 0 would do as well or better, ")
        notes[-1] += f"but {which} of norm 1 cannot reach it"
    if L > 1:
        if m > 1:
            notes.append(f"the largest eigenvalue has multiplicity {m}: any one of its directions; rank 1 all the same")
        return _Found(_rank_one(top, sizes, unit), mu, simple, "; ".join(notes))
    r = min(m, K)
    if m > 1:
        notes.append(f"the largest eigenvalue has multiplicity {m}: any W of this norm into its space, rank 1 to {r}")
    rows = np.arange(K) % r
    W = top.V[:, rows].T / np.sqrt(K) if even else _first_rows(top.V[:, :r].T / np.sqrt(r), K)
    return _Found((W,), mu, simple, "; ".join(notes))


def _first_rows(W: Array, K: int) -> Array:
    """W (r, D) over K - r rows of zeros."""
    return np.vstack([W, np.zeros((K - W.shape[0], W.shape[1]))])


def _collapse(mu: float, where: str) -> str:
    best = "no direction gains" if mu == 0 else "every direction loses"
    return f"collapse: the largest eigenvalue is {mu:.3g}, {best}, and E is largest, 0, at W = 0 ({where})"


def _frobenius(top: _Top, sizes: tuple[int, ...]) -> _Found:
    return _unit_layers(top, sizes, even=False)


def _per_filter(top: _Top, sizes: tuple[int, ...]) -> _Found:
    return _unit_layers(top, sizes, even=True)


def _orthonormal(top: _Top, sizes: tuple[int, ...]) -> _Found:
    K, mu = sizes[-1], top.values
    layers = [top.V[:, : sizes[1]].T, *(np.eye(n, before) for before, n in itertools.pairwise(sizes[1:]))]
    size = float(np.abs(mu).max(initial=0.0))
    notes = []
    unique_up_to: UniqueUpTo = "rotation"
    if mu.size > K and mu[K - 1] - mu[K] <= TIE_TOL * size:
        unique_up_to = "none"
        notes.append(f"eigenvalues {K} and {K + 1} are equal: any choice among their directions")
    if negative := int(np.count_nonzero(mu[:K] < -ZERO_TOL * size)):
        notes.append(f"{negative} of the {K} eigenvalues are negative: orthonormal rows must take them, at a loss")
    return _Found(tuple(layers), float(mu[:K].sum()), unique_up_to, "; ".join(notes))


def _schatten(top: _Top, sizes: tuple[int, ...]) -> _Found:
    mu, L = top.top, len(sizes) - 1
    if mu <= 0:
        layers = tuple(np.zeros((n, before)) for before, n in itertools.pairwise(sizes))
        return _Found(layers, 0.0, "rotation" if mu < 0 else "none", _collapse(mu, "a point of the ball"), True)
    if L == 1:  # the ball |W|_F <= 1
        return _unit_layers(top, sizes, even=False)
    note = f"the largest eigenvalue has multiplicity {top.multiplicity}: any one of its directions"
    single = top.multiplicity == 1
    return _Found(_rank_one(top, sizes, _first), mu, "rotation" if single else "none", "" if single else note)


def _free(source: Any, K: int, X: Any, depth: int, widths: Any) -> FixedOptimum:
    """Z'Z = I over all Z (2N, K): the top eigenvectors of M."""
    if not isinstance(source, SignedGraph):
        raise DataError("free embeddings need the SignedGraph of the contrast: a covariance has no rows")
    if X is not None or depth != 1 or widths is not None:
        raise DataError("free embeddings have no map: leave out X=, depth= and widths=")
    spectrum = source.spectrum(K)
    mu, notes = spectrum.values, []
    unique_up_to: UniqueUpTo = "rotation"
    if mu.size > K and mu[K - 1] - mu[K] <= TIE_TOL * float(np.abs(mu).max()):
        unique_up_to = "none"
        notes.append(f"eigenvalues {K} and {K + 1} of M are equal: any choice among their directions")
    if negative := int(np.count_nonzero(mu[:K] < 0)):
        notes.append(f"{negative} of the {K} eigenvalues are not positive: orthonormal columns must take them")
    return FixedOptimum(
        constraint="free",
        energy=source.scale * float(mu[:K].sum()),
        layers=(),
        embedding=Embedding(Z=spectrum.vectors[:, :K], spectrum=mu, rank=K),
        rank=K,
        eigenvalue=float(mu[0]),
        multiplicity=spectrum.multiplicity(1),
        collapsed=False,
        unique_up_to=unique_up_to,
        note="; ".join(notes),
        source=SOURCE,
        solver=spectrum.solver,
        residual=float(spectrum.residuals.max(initial=0.0)),
    )


CONSTRAINTS: dict[str, Solve | None] = {
    "frobenius": _frobenius,
    "per_filter": _per_filter,
    "orthonormal": _orthonormal,
    "schatten": _schatten,
    "free": None,  # over rows, not over maps
}
