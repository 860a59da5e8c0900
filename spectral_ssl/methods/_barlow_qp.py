"""The small problem behind normalised Barlow Twins: K unit columns in the eigenbasis, for every redundancy lambda.

With rho the values of the centred degree pencil (all at most 1) and B (R, K) the coordinates of Z,

    min_B  L(B) = sum_k (1 - C_kk)^2 + lambda sum_{k != l} C_kl^2,   C = B'diag(rho)B,   |b_k| = 1

**The programme** (derived here). Let c be the eigenvalues of C. Jensen, sum_k C_kk^2 >= (tr C)^2 / K for lambda <= 1,
and von Neumann's trace inequality, K >= |B|_F^2 >= sum_k max(0, c_k) / rho_k, leave a convex problem in c alone whose
value is at most every L(B), columns of zero norm included. The q = min(K, #{rho > 0}) first directions help:

    min_c  K (1 - cbar)^2 + lambda (sum_k c_k^2 - K cbar^2)   subject to  sum_k c_k / rho_k <= K,  c >= 0

KKT makes c_k increasing in rho_k: the m active directions come first. With u = 1 / rho and, over those m, S1 = sum u,
S2 = sum u^2, V = sum (u - S1/m)^2,

    lambda_m = sum_{k < m} (1 - rho_k)(rho_k - rho_m) u_k^2 / (K - m + rho_m S1)      nondecreasing, lambda_1 = 0
    m = max{m <= q : m = 1 or lambda_m < lambda}
    c_k = (K u_k + t (V - S1 (u_k - S1/m))) / S2,   t = K (lambda S1 + sum u (u - 1)) / (lambda K S2 + (1 - lambda) m V)

Unit columns are *plenty* where c_k = kappa = K / ((1 - lambda) q + lambda K) for all q already meets the constraint:
then that is the solution, and the surplus norm goes where C does not see it, to rho <= 0.

**Attainment.** T (R, m) with T'diag(rho)T = diag(c), T'T = diag(n), sum n = K (n = c / rho, unless plenty) and
B = T W, W (m, K) with orthonormal rows. L(B) is the value of the programme where W makes both diagonals constant,

    diag(W'diag(n)W) = 1,   diag(W'diag(c)W) = tr C / K

* lambda = 1: the second is not needed, and Schur and Horn give the first.
* W = m rows of a Hadamard matrix / sqrt K, every square 1/K: K = 1, 2, 4, 8, 12, ..., or m at most the order of one
  that divides K.
* else Newton's method on O(K). Brickman's theorem (the joint numerical range of two symmetric matrices of order >= 3
  is convex) gives all columns but the last two, which leave one condition for what freedom there was. K = 3 has too
  little; a solution was found for every random spectrum from K = 6 on, and for most at K = 5.

For lambda > 1 the programme stays convex and attained alike, but is no bound: its value is one candidate of several,
and the value at lambda = 1 the bound.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from spectral_ssl.embedding import Array
from spectral_ssl.methods._barlow_search import lowest
from spectral_ssl.methods.base import equal_diagonal_rotation, pad

__all__ = [
    "Programme",
    "Programmes",
    "UnitColumns",
    "hadamard",
    "hadamard_order",
    "loss_terms",
    "programme",
    "programmes",
    "unit_columns",
]

ZERO_TOL = 1e-10  # an eigenvalue of the pencil below this is zero: |rho| <= 1, rounding of a D x D problem is 1e-13
ATTAINED = 1e-10  # relative gap at which a bound counts as met ...
ROUNDING = 1e-14  # ... or this share of K, the loss of a collapsed embedding, below which a gap is rounding
SOLVED = 1e-13  # error of a diagonal at which Newton's method has arrived: it moves the loss by its square
SEARCHES = 12  # seeded starts of Newton's method, of 7 steps each where it succeeds
EXTRA = 2  # directions past the top K among which a descent may choose; none was ever used but to hold surplus norm
MIXTURES = 3  # starts of a descent at lambda > 1


@dataclass(frozen=True, eq=False)
class Programme:
    """The solution of the programme: c (m,) positive; value; thresholds lambda_m (q,); plenty: of norm."""

    c: Array
    value: float
    thresholds: Array
    plenty: bool


@dataclass(frozen=True, eq=False)
class Programmes:
    """The solutions at T redundancies: c (T, q), zero past those active; value (T,); thresholds lambda_m (q,); plenty
    (T,); active (T,): m, where norm is not plenty.
    """

    c: Array
    value: Array
    thresholds: Array
    plenty: Any
    active: Any


@dataclass(frozen=True, eq=False)
class UnitColumns:
    """B (R, K), the lowest loss found, and what is proven: `bound` <= min L <= `loss`; how: in words."""

    B: Array
    loss: float
    bound: float
    programme: Programme
    how: str

    @property
    def attained(self) -> bool:
        return self.loss - self.bound <= _slack(self.bound, self.B.shape[1])


def programme(rho: Array, K: int, redundancy: float) -> Programme:
    """Solve the programme of the module docstring for rho (p,) positive and descending: closed form, no iteration."""
    found = programmes(rho, K, np.array([redundancy]))
    plenty = bool(found.plenty[0])
    m = found.c.shape[1] if plenty else int(found.active[0])
    return Programme(found.c[0, :m], float(found.value[0]), found.thresholds, plenty)


def programmes(rho: Array, K: int, redundancies: Array) -> Programmes:
    """The programme at several redundancies (T,) at once: the spectrum is read once, whatever their number."""
    lam, rho = redundancies, rho[:K]
    q, u = rho.size, 1 / rho
    S1, S2 = np.cumsum(u), np.cumsum(u**2)
    # the sum of lambda_m by its growth from m - 1 to m: differences of neighbours lose no digits
    growth = -np.diff(rho, prepend=rho[0]) * np.cumsum(np.append(0.0, (1 - rho) * u**2))[:-1]
    thresholds = np.cumsum(np.maximum(growth, 0.0)) / (K - np.arange(1, q + 1) + rho * S1)
    kappa = K / ((1 - lam) * q + lam * K)
    plenty = kappa * S1[-1] < K * (1 - ZERO_TOL)  # all rho = 1: neither scarce nor plenty
    m = np.maximum(1, np.count_nonzero(thresholds < lam[:, None], axis=1))
    s1, s2, used = S1[m - 1], S2[m - 1], np.arange(q) < m[:, None]
    off = u - (s1 / m)[:, None]  # (T, q)
    V = np.where(used, off**2, 0.0).sum(axis=1)
    below = lam * K * s2 + (1 - lam) * m * V
    above = K * (lam * s1 + np.where(used, u * (u - 1), 0.0).sum(axis=1))
    t = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    c = np.maximum((K * u + t[:, None] * (V[:, None] - s1[:, None] * off)) / s2[:, None], 0.0)
    c = np.where(plenty[:, None], kappa[:, None], np.where(used, c, 0.0))
    mean = c.sum(axis=1) / K
    spread = ((c - mean[:, None]) ** 2).sum(axis=1) + (K - q) * mean**2
    return Programmes(c, K * (1 - mean) ** 2 + lam * spread, thresholds, plenty, m)


def loss_terms(B: Array, rho: Array, redundancy: float) -> dict[str, float]:
    """The two terms of L(B) for B (R, K) with unit (or zero) columns."""
    C = B.T @ (rho[: B.shape[0], None] * B)
    diagonal = np.diag(C)
    off = C - np.diag(diagonal)
    return {"invariance": float(((1 - diagonal) ** 2).sum()), "redundancy": redundancy * float((off**2).sum())}


def unit_columns(rho: Array, K: int, redundancy: float) -> UnitColumns:
    """The minimum over K unit columns for values rho (R,) of the pencil, at least one positive, best first."""
    lam = redundancy
    positive = rho[rho > ZERO_TOL]
    best = programme(positive, K, lam)
    # fewer directions than columns, all of them positive: no place for surplus norm, and emptied columns can be cheaper
    cramped = best.plenty and rho.size == positive.size
    if cramped and lam == 1:
        return _emptied(rho, K, best)
    bound = best.value if lam <= 1 else unit_columns(rho, K, 1.0).bound
    found: list[tuple[Array, str]] = []
    if not cramped:
        T = _directions(rho, K, best)
        n, c = (T**2).sum(axis=0), rho[: T.shape[0]] @ T**2
        if lam == 1:
            W, how = equal_diagonal_rotation(pad(n[None], K)[0])[: n.size], "Schur and Horn's rotation"
        else:
            W, how = _two_diagonals(n, c, K)
        found.append((_unit(T @ W), how))
    if lam > 1 and rho.size >= K:
        found += _mixtures(rho, positive.size, K, lam)
    tried = [UnitColumns(B, _loss(B, rho, lam), bound, best, how) for B, how in found]
    if lam != 1 and not any(one.attained for one in tried):
        columns = [K]
        if cramped:
            room = math.floor(float((best.c / positive[: best.c.size]).sum()))
            columns += [k for k in (room, room + 1) if 0 < k < K]
        for k in columns:
            starts = [B for B, _ in found] or [_even(programme(positive, k, lam).c, rho, k)]
            B = pad(lowest(rho[: K + EXTRA], k, lam, starts), K)
            tried.append(UnitColumns(B, _loss(B, rho, lam), bound, best, "numerical search"))
    return min(tried, key=lambda one: one.loss)


def _loss(B: Array, rho: Array, redundancy: float) -> float:
    return sum(loss_terms(B, rho, redundancy).values())


def _slack(bound: float, K: int) -> float:
    return ATTAINED * bound + ROUNDING * K


def _unit(B: Array) -> Array:
    """The columns of B scaled to length 1; zero ones are left."""
    size = np.linalg.norm(B, axis=0)
    unit: Array = B / np.where(size > 0, size, 1.0)
    return unit


def _even(c: Array, rho: Array, K: int) -> Array:
    """B (m, K) in the first m directions with C of eigenvalues c and unit columns, the diagonal of C as it comes."""
    n = pad((c / rho[: c.size])[None], K)[0]
    return _unit(np.sqrt(n[: c.size])[:, None] * equal_diagonal_rotation(n)[: c.size])


def _mixtures(rho: Array, positive: int, K: int, redundancy: float) -> list[tuple[Array, str]]:
    """The best of: j columns mixed by the programme for the first j directions, the others canonical variates.

    For large lambda C is diagonal, of entries 1/x_k with x majorised by 1 / rho, and L = sum (1 - 1/x_k)^2, convex up
    to x = 3/2 and concave after it: a group of large rho is evened out, and small ones are left as they are.
    """
    groups = range(1, min(K, positive) + 1)
    cost = {j: programme(rho[:j], j, redundancy).value + float(((1 - rho[j:K]) ** 2).sum()) for j in groups}
    mixed = []
    for j in sorted(groups, key=lambda j: cost[j])[:MIXTURES]:
        B = np.eye(K)
        B[:j, :j] = 0.0
        block = _even(programme(rho[:j], j, redundancy).c, rho, j)
        B[: len(block), :j] = block
        mixed.append((B, "canonical variates" if j == 1 else f"{j} mixed columns beside canonical variates"))
    return mixed


# --- T and W ----------------------------------------------------------------------------------------------------------


def _directions(rho: Array, K: int, best: Programme) -> Array:
    """T (rows, m or m + 1): T'diag(rho)T = diag(c) or diag(c, 0), T'T is diagonal and |T|_F^2 = K."""
    c, m = best.c, best.c.size
    T = np.diag(np.sqrt(c / rho[:m]))
    if not best.plenty:
        return T
    surplus, next_ = K - float((T**2).sum()), rho[m]
    if next_ > -ZERO_TOL:
        return np.asarray(scipy.linalg.block_diag(T, np.sqrt(surplus)))
    # a hyperbolic turn of a positive and a negative direction lengthens a column and leaves T'diag(rho)T alone
    T = np.vstack([T, np.zeros(m)])
    sinh2 = surplus / (c[0] * (1 / rho[0] + 1 / -next_))
    T[0, 0], T[m, 0] = np.sqrt(c[0] * (1 + sinh2) / rho[0]), np.sqrt(c[0] * sinh2 / -next_)
    return T


def _emptied(rho: Array, K: int, best: Programme) -> UnitColumns:
    """lambda = 1 with no direction to hold surplus norm: as many unit columns as fit best, the rest zero."""
    m, room = rho.size, float((1 / rho).sum())
    columns = min((math.floor(room), math.ceil(room)), key=lambda k: abs(k - room))
    c = 1 - (room - columns) / float((1 / rho**2).sum()) / rho
    n = c / rho
    B = pad(_unit(np.sqrt(n)[:, None] * equal_diagonal_rotation(pad(n[None], columns)[0])[:m]), K)
    loss = _loss(B, rho, 1.0)
    return UnitColumns(B, loss, loss, best, f"{columns} unit columns, the others zero")


@functools.cache
def hadamard(K: int) -> Array | None:
    """A real Hadamard matrix of order K by Sylvester's doubling of Paley's first kind; None where they give none."""
    if K in (1, 2):
        return np.array([[1.0]]) if K == 1 else np.array([[1.0, 1.0], [1.0, -1.0]])
    p = K - 1
    if K % 4 == 0 and all(p % d for d in range(2, math.isqrt(p) + 1)):
        squares = np.zeros(p)
        squares[1:] = -1
        squares[np.arange(1, p) ** 2 % p] = 1
        H = np.ones((K, K))
        H[1:, 0] = -1
        H[1:, 1:] = squares[(np.arange(p)[:, None] - np.arange(p)) % p] + np.eye(p)
        return H
    half = hadamard(K // 2) if K % 4 == 0 else None
    return None if half is None else np.block([[half, half], [half, -half]])


@functools.cache
def hadamard_order(m: int, K: int) -> int:
    """The largest order of a Hadamard matrix that divides K and has m columns, 0 where none is known.

    Where there is one, m active directions for K unit columns attain the programme, at any redundancy up to 1.
    """
    return next((d for d in range(K, 0, -1) if K % d == 0 and d >= m and hadamard(d) is not None), 0)


def _two_diagonals(n: Array, c: Array, K: int) -> tuple[Array, str]:
    """W (m, K), W W' = I, with diag(W'diag(n)W) and diag(W'diag(c)W) as nearly constant as found; and how."""
    m = n.size
    order = hadamard_order(m, K)
    if order:
        H = hadamard(order)
        assert H is not None
        return np.tile(H[:, :m].T, K // order) / math.sqrt(K), "rows of a Hadamard matrix"
    # what both ask for beyond the identity, which no rotation moves, and the second beyond the first
    first, second = (pad(d[None], K)[0] - d.sum() / K for d in (n, c))
    length = float(np.linalg.norm(first))
    first = first / length if length > ROUNDING * float(np.linalg.norm(n)) else np.zeros(K)
    other = second - first * (first @ second)
    size = float(np.linalg.norm(other))
    if size <= ROUNDING * float(np.linalg.norm(c)):
        return equal_diagonal_rotation(pad(n[None], K)[0])[:m], "Schur and Horn's rotation"
    diagonals = np.stack([first, other / size])
    rng = np.random.default_rng(0)
    tried = (_newton(diagonals, np.linalg.qr(rng.standard_normal((K, K)))[0]) for _ in range(SEARCHES))
    error, Q = np.inf, np.eye(K)
    for one in tried:
        if one[0] < error:
            error, Q = one
        if error <= SOLVED:
            break
    return Q[:m], "a rotation found by Newton's method"


def _newton(diagonals: Array, Q: Array) -> tuple[float, Array]:
    """Make diag(Q'diag(d)Q) zero for both rows d of `diagonals` (2, K), of zero sum, over Q in O(K); error left, and Q.

    Turning Q by expm(S), S skew, moves the diagonal of M = Q'diag(d)Q by 2 sum_j M_kj S_jk. Steps of least norm have
    S_jk = sum_d M_jk (y_k - y_j), y the solution of a system of 2K equations made of graph Laplacians of the products
    M * M; damped (Levenberg, Marquardt), and accepted where the error falls.
    """
    K = Q.shape[0]

    def error(Q: Array) -> Array:
        gaps: Array = (diagonals @ Q**2).ravel()
        return gaps

    r, damping = error(Q), 1e-3
    for _ in range(60):
        worst = float(np.abs(r).max())
        if worst <= ROUNDING / 10:
            break
        M = [Q.T @ (d[:, None] * Q) for d in diagonals]
        J = np.block([[_laplacian(2 * a * b) for b in M] for a in M])
        while damping < 1e8:
            y = np.linalg.solve(J + (damping * worst + ROUNDING) * np.eye(2 * K), -r).reshape(2, K)
            S = sum(a * (x[None, :] - x[:, None]) for a, x in zip(M, y, strict=True))
            turned = Q @ scipy.linalg.expm(S)
            now = error(turned)
            if now @ now < r @ r:
                Q, r, damping = turned, now, max(damping / 5, 1e-12)
                break
            damping *= 4
        else:
            break
    return float(np.abs(r).max()), Q


def _laplacian(w: Array) -> Array:
    laplacian: Array = np.diag(w.sum(axis=1)) - w
    return laplacian
