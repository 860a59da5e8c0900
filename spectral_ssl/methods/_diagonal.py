"""What is left of VICReg once its subspace is known: the spectrum c and the diagonal d of a K x K covariance.

At a given spectrum of Cov the invariance is least on the bottom eigenvectors, the largest c_k on the smallest m_k (von
Neumann), and the diagonals that rotations Q reach are those which c majorises (Schur-Horn; d < c: the j largest d sum
to at most the j largest c, all of them to the same S). So with costs e_k = 2 gamma m_k, ascending, infinite past the
rank, the whole loss is

    min over c >= 0, d < c of   F(c, d) = sum phi(d_k) + beta sum c_k^2 + sum e_k c_k                               (P)
    squared:  phi(d) = alpha (1 - d)^2 - beta d^2              hinge:  phi(d) = alpha max(0, 1 - sqrt d) - beta d^2

1. Where phi is convex the constant diagonal S/K is best (Jensen), and every c majorises it: (P) is the convex problem
   min K phi(S/K) + beta sum c^2 + sum e c, solved by water-filling, `even_squared` and `even_hinge`. Squared: beta <
   alpha. Hinge: a column of variance d > 1 shrunk to 1 loses covariance and invariance and no hinge, so d <= 1; and on
   (0, 1) phi'' = alpha / (4 d^(3/2)) - 2 beta >= 0 where alpha >= 8 beta.
2. The minimum grows with beta, because sum c^2 >= sum d^2: any smaller beta gives a lower bound.
3. Otherwise `hinge` searches, and proves what it found by branch and bound. On a box l <= d <= u (all descending) the
   Lagrangian dual of d < c is, over y_1 >= y_2 >= ... >= y_K,

       max sum_k g_k(y_k),   g_k(y) = min_{l <= d <= u} [phi(d) + y d] - max(0, y - e_k)^2 / (4 beta)

   a lower bound at any such y, and the minimum itself where l = u (there (P) is convex in c); then c_k = max(0, y_k -
   e_k) / (2 beta), and y is the gradient of the minimum over c. Each g_k is concave, so that the best y falls out of
   bisection: by the pool-adjacent-violators principle y_k >= h holds for k up to the prefix on which sum g_k'(h) is
   largest. Boxes are split where d falls between the two ends of a concave stretch of phi.
4. In a box where z_k = 2 beta d_k + e_k is sure to lie between those of all earlier and all later k, c_k = d_k
   ("settled"), and the pair costs alpha (1 - sqrt d) + e_k d, convex: nothing is lost to concavity there.

Source: derived here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from spectral_ssl.embedding import Array

__all__ = ["PROVEN", "Shares", "critical", "even_hinge", "even_squared", "hinge", "thresholded"]

PROVEN = 1e-9  # (value - lower bound) / (alpha K) below which an optimum counts as proven
NOTHING = 1e-200  # of alpha: a smaller beta changes no float, and divides to infinity
TIE = 1e-12  # costs closer than this share of alpha and of the largest are one cost: what separates them is rounding
BISECTIONS = 48  # of a range of 2 beta K: 1e-14 of it is left
BATCH = 64  # boxes bounded at once
EFFORT = 100_000  # boxes visited times K + 16, at most: a second or two
FLAT = 1e-7  # a concave stretch shorter than this is a point
ROUNDING = 1e-12  # a value better by less than this share of K max(alpha, beta) is the same value
BETA_MAX = 1e4  # times alpha: past it rounding spoils a bound, and by fact 2 this beta serves as well
POLISHED = 3  # best of the candidates that a local search starts from


class Shares(NamedTuple):
    """c (K,) descending and d (K,), which c majorises; lower_bound: of (P), None where a formula attains it.

    The formulas take rows of costs e (..., r) too, and answer rows c, d (..., K).
    """

    c: Array
    d: Array
    lower_bound: Any = None  # a number, or one per row


# --- the constant diagonal, or none -------------------------------------------------------------------------------


def thresholded(e: Array, K: int, alpha: float) -> Shares:
    """(P), squared, beta >= alpha, for costs e (..., r), r <= K: c = d = t, t_k = max(0, 1 - e_k / (2 alpha))."""
    t = np.zeros((*e.shape[:-1], K))
    t[..., : e.shape[-1]] = np.maximum(0.0, 1 - e / (2 * alpha))
    return Shares(t, t)


def _thresholds(e: Array, K: int, alpha: float, beta: float) -> Array:
    """The share s = S/K at which the water reaches e_k: y = e_k, sum_j max(0, y - e_j) = 2 beta S."""
    before = np.arange(e.shape[-1])
    deficit = before * e - (np.cumsum(e, axis=-1) - e)
    tie = TIE * (alpha + np.abs(e).max(axis=-1, initial=0.0, keepdims=True)) * before
    deficit = np.where(deficit <= tie, 0.0, deficit)
    return np.divide(deficit, 2 * beta * K, out=np.where(deficit > 0, np.inf, 0.0), where=beta > 0)


def _mean_of_first(e: Array, p: Any) -> Array:
    """The mean (...) of the first p (...) of the costs e (..., r); 0 where p = 0."""
    mean: Array = np.where(np.arange(e.shape[-1]) < p[..., None], e, 0.0).sum(axis=-1) / np.maximum(p, 1)
    return mean


def _filled(e: Array, K: int, beta: float, p: Any, share: Array) -> Shares:
    """c (..., K) minimising beta sum c^2 + sum e c at sum c = K share over the first p costs, and d = share."""
    c, r = np.zeros((*e.shape[:-1], K)), e.shape[-1]
    lift = (_mean_of_first(e, p)[..., None] - e) / (2 * beta) * (p[..., None] > 1) if beta > 0 else 0.0
    level = np.maximum(0.0, (K * share / np.maximum(p, 1))[..., None] + lift)
    c[..., :r] = np.where(np.arange(r) < p[..., None], level, 0.0)
    return Shares(c, np.repeat(share[..., None], K, axis=-1))


def even_squared(e: Array, K: int, alpha: float, beta: float) -> Shares:
    """(P), squared, 0 <= beta < alpha, for costs e (..., r), r <= K: water of level y = 2 theta, p directions under it.

    2 alpha - 2 (alpha - beta) s = y = 2 beta K s / p + mean e_{1:p}.
    """
    beta = beta if beta > NOTHING * alpha else 0.0
    s = _thresholds(e, K, alpha, beta)
    p = np.asarray(np.count_nonzero(2 * alpha - 2 * (alpha - beta) * s > e, axis=-1))
    share = (2 * alpha - _mean_of_first(e, p)) / (2 * (alpha - beta) + 2 * beta * K / np.maximum(p, 1))
    return _filled(e, K, beta, p, np.where(p > 0, share, 0.0))


def even_hinge(e: Array, K: int, alpha: float, beta: float) -> Shares:
    """(P), hinge, restricted to constant diagonals s, for costs e (..., r); the minimum of (P) where alpha >= 8 beta.

    s = 1 (pinned: all variances exactly 1) where alpha/2 + 2 beta >= y, else alpha/(2 sqrt s) + 2 beta s = y, with
    y = 2 beta K s / p + mean e_{1:p}, p directions under water: a cubic in sqrt s.
    """
    if e.shape[-1] == 0:
        return thresholded(e, K, alpha)
    beta = beta if beta > NOTHING * alpha else 0.0
    s = _thresholds(e, K, alpha, beta)
    root = np.sqrt(np.minimum(s, 1.0))
    # alpha / (2 sqrt s) > e_k - 2 beta s, multiplied out for s = 0
    p = np.asarray(np.count_nonzero((s < 1) & (alpha > 2 * root * (e - 2 * beta * root**2)), axis=-1))
    a, b, h = 2 * beta * (K / p - 1), _mean_of_first(e, p), alpha / 2
    pinned = a + b <= h
    x = _positive_root(np.where(pinned, 0.0, a), np.where(pinned, h, b), h)
    return _filled(e, K, beta, p, np.where(pinned, 1.0, x**2))


def _positive_root(a: Array, b: Array, h: float) -> Array:
    """x > 0 with a x^3 + b x = h, for a, b >= 0, not both 0, h > 0: Newton from above, where the cubic is convex."""
    with np.errstate(divide="ignore", over="ignore"):  # infinite where b or a is nothing: the other root is the least
        x = np.minimum(h / b, np.cbrt(h / a))
    for _ in range(60):
        lower = x - (a * x**3 + b * x - h) / (3 * a * x**2 + b)
        if not np.any(lower < x):
            break
        x = np.minimum(lower, x)
    return x


def critical(form: str, e: Array, K: int, alpha: float, beta: float) -> Array:
    """Factors tau_k (r,), descending: direction k is in the optimum of (P) at costs tau e exactly where tau < tau_k.

    The water reaches e_k at a share s_k, which grows with the costs as they do: tau s_k at tau e. Where k is about to
    enter, the conditions on p above are equalities:

        squared, beta >= alpha    tau_k = 2 alpha / e_k
        squared, beta < alpha     tau_k = 2 alpha / (e_k + 2 (alpha - beta) s_k)
        hinge, alpha >= 8 beta    tau_k = min(1 / s_k, [alpha / (2 sqrt s_k (e_k - 2 beta s_k))]^(2/3))

    s_1 = 0: under the hinge, whose slope at variance 0 is infinite, the first direction never dies. For the hinge at
    alpha < 8 beta these are those of the constant diagonal.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if form == "squared" and beta >= alpha:
            return np.asarray(2 * alpha / e)
        s = _thresholds(e, K, alpha, beta)
        if form == "squared":
            return np.asarray(2 * alpha / (e + 2 * (alpha - beta) * s))
        # beta = 0 makes s infinite and the second nan: fmin takes the first
        return np.asarray(np.fmin(1 / s, (alpha / (2 * np.sqrt(s) * (e - 2 * beta * s))) ** (2 / 3)))


# --- the hinge, any alpha and beta ------------------------------------------------------------------------------------


def hinge(e: Array, K: int, alpha: float, beta: float) -> Shares:
    """The minimum of (P) with the hinge for the costs e (r,), r <= K, as far as it could be found and proven.

    Rows of costs (..., r) where no search is needed: alpha >= 8 beta.
    """
    even = even_hinge(e, K, alpha, beta)
    if alpha >= 8 * beta or K == 1 or e.size == 0:  # K = 1: no covariance
        return even
    costs = np.append(e, np.full(K - e.size, np.inf)) / alpha
    found, bound = _branch_and_bound(costs, even, beta / alpha)
    return found._replace(lower_bound=alpha * min(bound, _value(costs, found, beta / alpha)))


def _phi(d: Any, beta: Any) -> Any:
    return 1 - np.sqrt(d) - beta * d**2


def _value(e: Array, shares: Shares, beta: float) -> float:
    """F(c, d) in units of alpha, d <= 1."""
    c, d = shares.c, shares.d
    held = c > 0
    return float((1 - np.sqrt(d)).sum() + beta * ((c**2).sum() - (d**2).sum()) + (e[held] * c[held]).sum())


class _Boxes(NamedTuple):
    """Of R boxes: a lower bound (R,); y, c (R, K) at which; the minimisers d just below and above (R, K); settled."""

    bound: Array
    y: Array
    c: Array
    low: Array
    high: Array
    settled: Any


def _cheapest(y: Array, lower: Array, upper: Array, beta: float) -> Any:
    """The d in [lower, upper] of least phi(d) + y d: an end, or the stationary point where phi is convex."""
    turn = min(1.0, (1 / (8 * beta)) ** (2 / 3))  # phi is convex up to here
    # 2 beta x^3 - y x + 1/2 = 0, x = sqrt d: of the three roots of a depressed cubic the smaller positive one
    radius = np.sqrt(y / (6 * beta))
    angle = np.arccos(np.clip(-1 / (8 * beta * np.maximum(radius, 1e-100) ** 3), -1.0, 1.0))
    inner = np.maximum(2 * radius * np.cos((angle - 2 * np.pi) / 3), 0.0) ** 2
    inner = np.where(y > 1 / (2 * np.sqrt(turn)) + 2 * beta * turn, inner, turn)
    inner = np.clip(inner, lower, np.clip(turn, lower, upper))
    ends = np.stack([lower, inner, upper])
    return np.take_along_axis(ends, np.argmin(_phi(ends, beta) + y * ends, axis=0)[None], axis=0)[0]


def _bound(lower: Array, upper: Array, e: Array, beta: float) -> _Boxes:
    """The dual bound of fact 3 on boxes (R, K), with fact 4."""
    R, K = lower.shape
    rise = e - e[0]
    finite = np.where(np.isfinite(e), e, 0.0)
    z_low, z_high = 2 * beta * lower + e, 2 * beta * upper + e
    before = np.minimum.accumulate(np.hstack([np.full((R, 1), np.inf), z_low[:, :-1]]), axis=1)
    after = np.maximum.accumulate(np.hstack([z_high[:, 1:], np.full((R, 1), -np.inf)])[:, ::-1], axis=1)[:, ::-1]
    settled = (before >= z_high) & (after <= z_low) & np.isfinite(e)
    # below e_1 nothing costs and every g' is positive; past e_1 + 2 beta K every prefix has more c than d
    low, high = np.zeros((R, K)), np.full((R, K), 2 * beta * K)  # of y - e_1
    apart = 4.0 * K * (K + 1)  # more than any two prefix sums differ
    for _ in range(BISECTIONS):
        y = (low + high) / 2
        slope = _cheapest(e[0] + y, lower, upper, beta) - np.maximum(0.0, y - rise) / (2 * beta)
        slope[settled] = 0.0
        total = np.cumsum(slope, axis=1)
        # coordinates that still share an interval form a group: those up to its best prefix go up, the others down
        group = apart * np.cumsum(np.diff(low, axis=1, prepend=low[:, :1]) != 0, axis=1)
        best_before = np.maximum.accumulate(total - slope + group, axis=1) - group
        best_after = np.maximum.accumulate((total - group)[:, ::-1], axis=1)[:, ::-1] + group
        up = best_after >= best_before
        low, high = np.where(up, y, low), np.where(up, high, y)
    low = np.minimum.accumulate(low, axis=1)
    alone = np.clip(_uncorrelated(finite), lower, upper)
    d_low, d_high = (_cheapest(e[0] + y, lower, upper, beta) for y in (np.maximum(high, low), low))
    c = np.where(settled, alone, np.maximum(0.0, low - rise) / (2 * beta))
    y = np.where(settled, 2 * beta * alone + finite, e[0] + low)
    g = np.where(settled, 1 - np.sqrt(alone) + finite * alone, _phi(d_high, beta) + y * d_high - beta * c**2)
    return _Boxes(g.sum(axis=1), y, c, np.where(settled, alone, d_low), np.where(settled, alone, d_high), settled)


def _split(boxes: _Boxes, lower: Array, upper: Array) -> tuple[Any, Array]:
    """Coordinate (R,) and value (R,) at which to halve each box."""
    gap, rows = boxes.high - boxes.low, np.arange(lower.shape[0])
    widest = np.argmax(gap, axis=1)
    width, level = gap[rows, widest], boxes.y[rows, widest][:, None]
    # coordinates of one level fill the stretch from low to high one after the other: split where the filling ends
    block = (np.abs(boxes.y - level) <= 1e-9 * np.abs(level)) & ~boxes.settled
    filled = np.where(block, boxes.c - boxes.low, 0.0).sum(axis=1) / np.maximum(width, FLAT)
    count = np.cumsum(block & (gap > FLAT), axis=1)
    k = np.argmax(count >= np.clip(np.floor(filled) + 1, 1, np.maximum(count[:, -1], 1))[:, None], axis=1)
    # where no stretch is open, the widest side
    k = np.where(width > FLAT, k, np.argmax(np.where(boxes.settled, -1.0, upper - lower), axis=1))
    ends = (boxes.low, boxes.high), (lower, upper)
    open_, side = ((a[rows, k] + b[rows, k]) / 2 for a, b in ends)
    return k, np.where(gap[rows, k] > FLAT, open_, side)


def _at(d: Array, e: Array, beta: float) -> tuple[Any, Array, Array]:
    """The minimum over c of F(c, d) for rows d (R, K) in [0, 1], c, and the gradient y; c and y for d descending."""
    boxes = _bound(d, d, e, beta)
    return boxes.bound, boxes.c, boxes.y


def _polish(start: Array, e: Array, beta: float) -> tuple[float, Array]:
    """A local minimum over d by L-BFGS in sqrt d, from a start (K,): its value and d, descending."""

    def both(x: Array) -> tuple[float, Array]:
        order = np.argsort(-x, kind="stable")
        value, _, y = _at((x[order] ** 2)[None], e, beta)
        slope = np.empty_like(x)
        slope[order] = y[0]
        return float(value[0]), 2 * x * slope - 1 - 4 * beta * x**3

    options = {"maxiter": 300, "ftol": 1e-16, "gtol": 1e-12}
    bounds = [(0.0, 1.0)] * start.size
    found = scipy.optimize.minimize(both, np.sqrt(start), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return float(found.fun), np.sort(found.x**2)[::-1]


def _candidates(e: Array) -> Array:
    """Diagonals (R, K) to start from: q ones and the rest small, and c = d, which has no covariance."""
    K = e.size
    q = np.unique(np.linspace(0, K - 1, min(K, 16)).astype(int))
    small = np.geomspace(0.01, 0.9, 10)
    two_levels = np.where(np.arange(K) < q[:, None, None], 1.0, small[:, None])
    return np.vstack([_uncorrelated(e), two_levels.reshape(-1, K)])


def _uncorrelated(e: Array) -> Array:
    """The d (K,) of least 1 - sqrt d + e d, entry by entry: best where c = d."""
    with np.errstate(divide="ignore"):
        return np.minimum(1.0, (1 / (2 * e)) ** 2)


def _branch_and_bound(e: Array, even: Shares, beta: float) -> tuple[Shares, float]:
    """Minimise (P) for alpha = 1 < 8 beta: the best (c, d) found, and a proven lower bound."""
    K = e.size
    weights = [min(beta, BETA_MAX), np.sqrt(beta / 8), 1 / 8]  # fact 2; phi is convex at the last
    alone = _uncorrelated(e)
    best = min(even, Shares(alone, alone), key=lambda shares: _value(e, shares, beta))
    value = _value(e, best, beta)

    def improve(rows: Array) -> None:
        nonlocal best, value
        for row in rows:
            found, d = _polish(row, e, beta)
            if found < value - ROUNDING * K * max(1.0, beta):
                best, value = Shares(_at(d[None], e, beta)[1][0], d), found

    def bounded(lower: Array, upper: Array) -> tuple[Array, Any, Array, Array]:
        boxes = _bound(lower, upper, e, weights[0])
        k, v = _split(boxes, lower, upper)
        bounds = np.max([boxes.bound, *(_bound(lower, upper, e, w).bound for w in weights[1:])], axis=0)
        return bounds, k, v, -np.sort(-np.where(np.arange(K) < k[:, None], boxes.high, boxes.low), axis=1)

    lower, upper = np.zeros((1, K)), np.ones((1, K))
    bound, k, v, _ = bounded(lower, upper)
    if value - bound[0] > PROVEN * K:
        rows = _candidates(e)
        improve(rows[np.argsort(_at(rows, e, beta)[0])[:POLISHED]])
    visited = 1
    while True:
        keep = bound < value - PROVEN * K / 2
        bound, lower, upper, k, v = bound[keep], lower[keep], upper[keep], k[keep], v[keep]
        if bound.size == 0 or visited * (K + 16) > EFFORT:
            break
        first = np.argsort(bound)[:BATCH]
        left = np.where(np.arange(K) >= k[first, None], np.minimum(upper[first], v[first, None]), upper[first])
        right = np.where(np.arange(K) <= k[first, None], np.maximum(lower[first], v[first, None]), lower[first])
        new_lower, new_upper = np.vstack([lower[first], right]), np.vstack([left, upper[first]])
        new_bound, new_k, new_v, rows = bounded(new_lower, new_upper)
        values = _at(rows, e, beta)[0]
        if values.min() < value:
            improve(rows[[np.argmin(values)]])
        rest = np.delete(np.arange(bound.size), first)
        bound, k, v = (np.concatenate([a[rest], b]) for a, b in ((bound, new_bound), (k, new_k), (v, new_v)))
        lower, upper = np.vstack([lower[rest], new_lower]), np.vstack([upper[rest], new_upper])
        visited += new_bound.size
    return best, float(bound.min()) if bound.size else value - PROVEN * K / 2
