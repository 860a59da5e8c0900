"""Two-layer ReLU networks z = W_2 relu(W_1 x) under E_alpha, alpha held fixed.

With f = relu(W_1 x) (H,), E = h tr(W_2 C_alpha[f] W_2'), h = 1/2 for half-squared distances. Derived here:

1. For |W_2|_F = 1, and for rows of W_2 of norm 1 / sqrt(K) alike, the best W_2 is v s', s the top eigenvector of
   C_alpha[f] and |v| = 1 (with entries +-1 / sqrt(K)): E = h lambda_max(C_alpha[f]). W_2 has rank 1; z is
   one-dimensional. Only W_1 can have a higher rank.
2. Let x^(k) = x 1[w_k'x > 0]. Then f_k = w_k'x^(k), C_alpha[f]_kl = w_k' C_alpha[x^(k), x^(l)] w_l, and at the best W_2

       dE/dw_k = 2h s_k sum_l s_l C_alpha[x^(k), x^(l)] w_l = 2h s_k sum_i 1[w_k'x_i > 0] (M f s)_i x_i:

   each unit sees a covariance of its own, gated, so that units need not align as those of a linear net must. M is the
   signed pair graph of `signed`.
3. E is smooth where no w_k'x_i is 0 and the top eigenvalue is simple. On an activation boundary, w_k'x_i = 0, the gate
   may be anything from 0 to 1: there a point is stationary where 0 lies in the convex hull of the limits of gradients
   (Clarke), the tangent part of dE/dw_k with gates c_ki in [0, 1] on the boundary. The gates enter linearly, so the
   smallest element of that hull is a least-squares problem with bounds: `residual` is its length.
4. |W_1|_F = |s| = 1: with atoms a_k = relu(X w_k / |w_k|), the product |W_1|_F |s| is least at sum_k |c_k| among all
   (W_1, s) of one function f s = sum_k c_k a_k. So E is h phi'M phi over the convex hull of the signed atoms, and
   where two units of different atoms are both read at a local maximum, E cannot curve upwards on the way between them:

       (sign(s_k) a_k - sign(s_l) a_l)' M (sign(s_k) a_k - sign(s_l) a_l) <= 0.

   Where M is positive on the span of hidden features (views differ little), that never holds: one atom, rank 1, the
   collapse of the linear net again. Composition takes a direction in which views differ more than samples do.
   Rows of fixed norm have no such hull, and ranks above 1 are common.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.optimize
from threadpoolctl import threadpool_limits

from spectral_ssl import linalg
from spectral_ssl.alpha_cl.signed import SignedGraph
from spectral_ssl.comparison import effective_rank
from spectral_ssl.data._checks import check_int
from spectral_ssl.errors import DataError

__all__ = ["LIMITS", "ReluEnergy", "ReluLimit", "ascend_relu", "gated"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Norm = Literal["frobenius", "per_filter"]
Limit = Literal["smooth", "kink", "collapsed", "unfinished"]
LIMITS: dict[Limit, str] = {
    "smooth": "a stationary point, no input on an activation boundary",
    "kink": "a stationary point on an activation boundary, where E has a kink",
    "collapsed": "no unit that is read sees an input: E = 0",
    "unfinished": "not stationary: more steps are needed, or the top eigenvalue of C_alpha[f] is not simple",
}

DENSE = 3000  # rows up to which M is held as a matrix
STATIONARY = 1e-6  # of a tangent gradient, relative to 2E: L-BFGS ends at 1e-8 where E is smooth
BOUNDARY = (1e-9, 1e-6, 1e-4, 1e-3, 1e-2)  # cosines up to which an input is tried as one on the boundary
LIVE = 1e-6  # of the largest |s_k| |f_k|: units below it are not read, or see nothing
RANK = 1e-4  # of the largest singular value of the live rows of W_1
RESTARTS, ROUNDING = 6, 1e-13  # of L-BFGS, as long as each gains more than a share of E that rounding explains
FADED = 1e-2  # of the largest row of W_1: a row below it, not stationary yet, is on its way to 0
PARALLEL = 1 - 1e-4  # cosine of rows of W_1 that are on their way to one atom
ZERO = 1e-12  # of the unit of E: an energy below it is 0
SIMPLE = 1e-7  # of the top eigenvalue of C_alpha[f]: a gap below it is none


def gated(X: Any, w: Any) -> Array:
    """x^(k) = x 1[w'x > 0], row by row, (2N, D)."""
    X, w = np.asarray(X, dtype=np.float64), np.asarray(w, dtype=np.float64)
    found: Array = X * (X @ w > 0)[:, None]
    return found


@dataclass(frozen=True, eq=False)
class ReluEnergy:
    """E as a function of W_1 (H, D), W_2 at its best. X (2N, D): the rows of the contrast; graph: its alpha."""

    X: Array
    graph: SignedGraph

    def __post_init__(self) -> None:
        X = np.asarray(self.X, dtype=np.float64)
        if X.ndim != 2 or X.shape[0] != self.graph.n_rows or not np.isfinite(X).all():
            raise DataError(
                f"X must be finite and have {self.graph.n_rows} rows, two views of each sample; got {X.shape}"
            )
        object.__setattr__(self, "X", X)

    @functools.cached_property
    def _matrix(self) -> Array | None:
        small = self.graph.n_rows <= DENSE
        return np.asarray(self.graph.to_csr().toarray()) if small else None

    @functools.cached_property
    def size(self) -> float:
        """h times the largest |eigenvalue| of C_alpha[x]: the unit of E."""
        values, _ = linalg.eigh(self.graph.covariance(self.X))
        return self.graph.scale * float(np.abs(values).max()) or 1.0

    def _apply(self, V: Array) -> Array:
        M = self._matrix
        found: Array = self.graph.matmul(V) if M is None else M @ V
        return found

    def hidden(self, W1: Any) -> Array:
        """f of every row, (2N, H)."""
        found: Array = np.maximum(self.X @ self._weights(W1).T, 0.0)
        return found

    def covariance(self, W1: Any) -> Array:
        """C_alpha[f], (H, H)."""
        F = self.hidden(W1)
        C: Array = F.T @ self._apply(F)
        return (C + C.T) / 2

    def direction(self, W1: Any) -> tuple[float, Array, float]:
        """lambda_max of C_alpha[f], its eigenvector s (H,), and the gap to the next eigenvalue (inf for one unit)."""
        values, V = linalg.eigh(self.covariance(W1))
        gap = float(values[-1] - values[-2]) if values.size > 1 else math.inf
        return float(values[-1]), linalg.fix_signs(V[:, -1:])[:, 0], gap

    def best_second(self, W1: Any, n_outputs: int) -> Array:
        """The best W_2 (K, H), rows of equal norm: under |W_2|_F = 1, and under a norm of 1 / sqrt(K) for each row."""
        check_int(n_outputs, "n_outputs", low=1)
        s = self.direction(W1)[1]
        return np.tile(s / math.sqrt(n_outputs), (n_outputs, 1))

    def value(self, W1: Any) -> float:
        """h lambda_max(C_alpha[f]): E at the best W_2."""
        return self.graph.scale * self.direction(W1)[0]

    def gradient(self, W1: Any) -> Array:
        """dE/dW_1 (H, D) at the best W_2, inputs on a boundary not seen; see point 2."""
        return self._gradient(self._weights(W1))[1]

    def curvatures(self, W1: Any) -> Array:
        """(sign(s_k) a_k - sign(s_l) a_l)' M (..) for every two units, (H, H), a_k = relu(X w_k / |w_k|); point 4."""
        W1 = self._weights(W1)
        sizes = np.linalg.norm(W1, axis=1)
        s = self.direction(W1)[1]
        atoms = self.hidden(W1) * (np.sign(s) / np.where(sizes > 0, sizes, 1.0))
        C = atoms.T @ self._apply(atoms)
        own = np.diag(C)
        found: Array = own[:, None] + own - C - C.T
        return found

    def _gradient(self, W1: Array) -> tuple[float, Array]:
        value, s, _ = self.direction(W1)
        pull = self._apply(self.hidden(W1) @ s)  # (2N,), M f s
        gates = (self.X @ W1.T > 0) * pull[:, None]  # (2N, H)
        G: Array = 2 * self.graph.scale * s[:, None] * (gates.T @ self.X)
        return self.graph.scale * value, G

    def _weights(self, W1: Any) -> Array:
        found: Array = np.asarray(W1, dtype=np.float64)
        if found.ndim != 2 or found.shape[1] != self.X.shape[1]:
            raise DataError(f"W_1 must have one column per feature, (H, {self.X.shape[1]}); got shape {found.shape}")
        return found


@dataclass(frozen=True, eq=False)
class ReluLimit:
    """Where an ascent ended.

    W1 (H, D), W2 (K, H); value: E. kind: a key of `LIMITS`. rank: of the rows of W_1 that are live, those that see an
    input and are read. boundary: pairs (unit, row) with w_k'x_i = 0. residual: length of the smallest element of the
    generalised gradient, tangent to the norms, relative to 2E. gap: of the top eigenvalue of C_alpha[f], relative.
    course (steps, 2): E and the effective rank of W_1 (exp of the entropy of its singular values) on the way.
    """

    W1: Array
    W2: Array
    value: float
    kind: Limit
    rank: int
    live: Array
    boundary: tuple[tuple[int, int], ...]
    residual: float
    gap: float
    course: Array

    @property
    def message(self) -> str:
        return LIMITS[self.kind]


def ascend_relu(
    energy: ReluEnergy,
    n_hidden: int,
    *,
    norm: Norm = "frobenius",
    n_outputs: int = 1,
    start: Any = None,
    max_iter: int = 2000,
    seed: int = 0,
) -> ReluLimit:
    """Ascend E over W_1 under |W_1|_F = 1, or a norm of 1 / sqrt(H) for each row, from a random start, or (H, D) given.

    L-BFGS on the homogeneous extension of E, whose gradient is tangent; then, where inputs have come near an activation
    boundary, on the intersection of the boundaries, so that a kink is met exactly and not zigzagged about.
    """
    check_int(n_hidden, "n_hidden", low=1)
    check_int(max_iter, "max_iter", low=1)
    if norm not in ("frobenius", "per_filter"):
        raise DataError(f"norm must be 'frobenius' or 'per_filter', got {norm!r}")
    shape = (n_hidden, energy.X.shape[1])
    W = np.random.default_rng(seed).standard_normal(shape) if start is None else np.array(start, dtype=np.float64)
    if W.shape != shape or not np.isfinite(W).all() or not (np.linalg.norm(W, axis=1) > 0).all():
        raise DataError(f"start must be finite, with no row of zeros, of shape {shape}; got {W.shape}")
    with threadpool_limits(1):  # threads that wait for each other cost more than products as small as these
        return _ascended(energy, W, norm, n_outputs, max_iter)


def _ascended(energy: ReluEnergy, W: Array, norm: Norm, n_outputs: int, max_iter: int) -> ReluLimit:
    n_hidden = len(W)
    course: list[tuple[float, float]] = []
    empty = np.zeros((W.shape[1], 0))
    bases: list[Array | None] = [None] * n_hidden
    W = _climb(energy, _normed(W, norm), bases, norm, max_iter, course)
    found = _judged(energy, W, norm, n_outputs, (), course)
    if norm == "frobenius" and found.kind == "unfinished":
        W = _merged(energy, W)
        bases = [None if row.any() else empty for row in W]
        W = _climb(energy, W, bases, norm, max_iter, course)
        found = _judged(energy, W, norm, n_outputs, (), course)
    for cosine in BOUNDARY:
        if found.kind != "unfinished":
            break
        pairs = _near(energy.X, W, cosine)
        off = [_off(energy.X[[i for unit, i in pairs if unit == k]]) for k in range(n_hidden)]
        if not pairs or any(basis is not None and not basis.shape[1] for basis in off):
            continue
        off = [basis if kept is None else kept for basis, kept in zip(off, bases, strict=True)]
        held = _climb(energy, W, off, norm, max_iter, course)
        tried = _judged(energy, held, norm, n_outputs, _near(energy.X, held, BOUNDARY[0]), course)
        if tried.residual < found.residual and tried.value >= found.value - 1e-3 * abs(found.value):
            found = tried
    return found


def _normed(W: Array, norm: Norm) -> Array:
    size = np.linalg.norm(W) if norm == "frobenius" else np.linalg.norm(W, axis=1, keepdims=True) * math.sqrt(len(W))
    found: Array = W / size
    return found


def _tangent(G: Array, W: Array, norm: Norm) -> Array:
    """G less its part along W (or, row by row, along the rows of W)."""
    if norm == "frobenius":
        return G - (np.sum(G * W) / np.sum(W * W)) * W
    size = np.sum(W * W, axis=1, keepdims=True)
    found: Array = G - np.sum(G * W, axis=1, keepdims=True) / np.where(size > 0, size, 1.0) * W
    return found


def _climb(
    energy: ReluEnergy,
    W: Array,
    bases: list[Array | None],
    norm: Norm,
    max_iter: int,
    course: list[tuple[float, float]],
) -> Array:
    """The end of L-BFGS from W, each row within the span of its basis (D, d_k); None: anywhere."""
    D = W.shape[1]
    full = [np.eye(D) if basis is None else basis for basis in bases]
    ends = np.cumsum([basis.shape[1] for basis in full])

    def weights(c: Array) -> Array:
        parts = np.split(c, ends[:-1])
        return np.vstack([basis @ part for basis, part in zip(full, parts, strict=True)])

    def descent(c: Array) -> tuple[float, Array]:
        V = weights(c)
        P = _normed(V, norm)
        value, G = energy._gradient(P)
        size = (
            np.linalg.norm(V) if norm == "frobenius" else np.linalg.norm(V, axis=1, keepdims=True) * math.sqrt(len(V))
        )
        G = _tangent(G, P, norm) / size
        slope = np.concatenate([basis.T @ g for basis, g in zip(full, G, strict=True)])
        return -value / energy.size, -slope / energy.size

    def note(c: Array) -> None:
        P = _normed(weights(c), norm)
        course.append((energy.value(P), effective_rank(P)))

    c = np.concatenate([basis.T @ w for basis, w in zip(full, W, strict=True)])
    best = math.inf
    for _ in range(RESTARTS):  # with fresh curvature: a line search across a kink ends early
        found = scipy.optimize.minimize(
            descent, c, jac=True, method="L-BFGS-B", callback=note,
            options={"maxiter": max_iter, "maxfun": 4 * max_iter, "ftol": 1e-16, "gtol": 1e-10, "maxcor": 30},
        )  # fmt: skip
        c = found.x
        if not found.fun < best - ROUNDING * abs(found.fun):
            break
        best = found.fun
    return _normed(weights(c), norm)


def _merged(energy: ReluEnergy, W: Array) -> Array:
    """W with rows that fade set to 0, and those that become one atom put into the longest of them: same norm, same E.

    Units that nobody reads shrink to 0, and units of one atom turn to each other, ever more slowly: E is flat there.
    """
    s, sizes = energy.direction(W)[1], np.linalg.norm(W, axis=1)
    found = np.zeros_like(W)
    left = [k for k in np.argsort(-sizes) if sizes[k] >= FADED * sizes.max()]
    while left:
        first = left[0]
        alike = [k for k in left if s[k] * s[first] > 0 and W[k] @ W[first] > PARALLEL * sizes[k] * sizes[first]]
        alike = alike or [first]
        found[first] = W[first] / sizes[first] * np.linalg.norm(sizes[alike])
        left = [k for k in left if k not in alike]
    found /= np.linalg.norm(found)
    return found


def _near(X: Array, W: Array, cosine: float) -> tuple[tuple[int, int], ...]:
    """Pairs (unit, row) with |w_k'x_i| <= cosine |w_k| |x_i|, rows that are not zero."""
    sizes = np.linalg.norm(W, axis=1)[:, None] * np.linalg.norm(X, axis=1)
    near = (np.abs(W @ X.T) <= cosine * sizes) & (sizes > 0)
    return tuple((int(k), int(i)) for k, i in np.argwhere(near))


def _off(rows: Array) -> Array | None:
    """An orthonormal basis of what is orthogonal to some rows (m, D); None for no rows."""
    if not len(rows):
        return None
    Q = linalg.orthonormal_basis(rows.T)
    values, V = linalg.eigh(np.eye(rows.shape[1]) - Q @ Q.T)
    return V[:, values > 0.5]


def _judged(
    energy: ReluEnergy,
    W: Array,
    norm: Norm,
    n_outputs: int,
    boundary: tuple[tuple[int, int], ...],
    course: list[tuple[float, float]],
) -> ReluLimit:
    """What kind of point W is; inputs of `boundary` count as on it."""
    F = energy.hidden(W)
    for k, i in boundary:
        F[i, k] = 0.0
    top, s, gap = energy.direction(W)
    weight = np.abs(s) * np.linalg.norm(F, axis=0)
    live = weight > LIVE * max(float(weight.max()), 1e-300)
    if not weight.max() > 0 or energy.graph.scale * abs(top) <= ZERO * energy.size:
        live = np.zeros(len(W), dtype=bool)
    read = tuple((k, i) for k, i in boundary if live[k])
    residual = _residual(energy, W, s, F, norm, read) / max(2 * energy.graph.scale * abs(top), 1e-300)
    relative_gap = gap / abs(top) if top else math.inf
    kind: Limit = "unfinished"
    if not live.any():
        kind, residual = "collapsed", 0.0
    elif residual <= STATIONARY and relative_gap > SIMPLE:
        kind = "kink" if read else "smooth"
    rank = linalg.rank(W[live], rtol=RANK) if live.any() else 0
    W2 = energy.best_second(W, n_outputs)
    value = energy.graph.scale * top if live.any() else 0.0
    return ReluLimit(W, W2, value, kind, rank, live, read, residual, relative_gap, np.asarray(course).reshape(-1, 2))


def _residual(
    energy: ReluEnergy, W: Array, s: Array, F: Array, norm: Norm, boundary: tuple[tuple[int, int], ...]
) -> float:
    """Length of the shortest tangent gradient over the gates in [0, 1] of the inputs on the boundary."""
    h = energy.graph.scale
    pull = energy._apply(F @ s)
    gates = energy.X @ W.T > 0
    for k, i in boundary:
        gates[i, k] = False
    G = 2 * h * s[:, None] * ((gates * pull[:, None]).T @ energy.X)
    fixed = _tangent(G, W, norm).ravel()
    if not boundary:
        return float(np.linalg.norm(fixed))
    columns = np.zeros((fixed.size, len(boundary)))
    for place, (k, i) in enumerate(boundary):
        step = np.zeros_like(W)
        step[k] = 2 * h * s[k] * pull[i] * energy.X[i]
        columns[:, place] = _tangent(step, W, norm).ravel()
    found = scipy.optimize.lsq_linear(columns, -fixed, bounds=(0.0, 1.0), tol=1e-14)
    return float(np.linalg.norm(fixed + columns @ found.x))
