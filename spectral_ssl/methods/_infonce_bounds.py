"""Lower bounds on cosine InfoNCE that see the dimension: what unit rows in R^K cannot do.

C11, the design bound. S_ij = z_i'z_j of unit rows in R^K obey Schoenberg's condition: for a function of one variable

    kappa(t) = kappa_0 + sum_{l >= 1} a_l P_l(t),   a_l >= 0,   P_l the Gegenbauer polynomials of S^{K-1}, P_l(1) = 1,

sum_ij w_i w_j kappa(S_ij) >= kappa_0 (sum w)^2 for all weights. Let kappa(t) <= e^{(t - 1)/tau} on [-1, 1] and
kappa_0 > 0, let n_i be the number of partners of sample i, and rho_i = sum e^{(S_ij - 1)/tau} over all other samples j.
With w_i > 0, w_i w_j <= (w_i^2 + w_j^2)/2, and kappa(S_ij) <= kappa(1) for i itself and its partners,

    kappa_0 (sum w)^2 <= sum_i w_i^2 b_i,   b_i = rho_i + (1 + n_i) kappa(1);   w_i = 1/b_i:   sum_i 1/b_i <= 1/kappa_0

The partners' own part of row i is bounded by the entropy of its weights P_i = A_i / d_i: for all x_j <= 1/tau

    log(sum_j e^x_j + e^{1/tau} rho) - P_i'x >= log(e^H(P_i) + rho)

(Gibbs' inequality for the probabilities omega P_i and 1 - omega, at the best omega). So, for every lambda >= 0,

    f >= min sum_i d_i log(e^H(P_i) + rho_i)  over  sum 1/b_i <= 1/kappa_0
      >= sum_i min_rho [d_i log(e^H(P_i) + rho) + lambda / (rho + (1 + n_i) kappa(1))] - lambda / kappa_0

Every kappa gives a bound; the best of degree up to `DEGREE`, and the exponential itself among them (its kappa_0 is its
mean over the sphere), is found by linear programming as in Delsarte's bounds on codes, and is then checked: where it
may exceed the exponential between the points of the programme it is lowered by as much. The bound is reached where
partners coincide and the distinct points are a sharp configuration (simplex, cross-polytope, polygon, ..: Cohn & Kumar
2007), whose potential no other configuration undercuts. It replaces the bound by maximal diversity (Leinster & Meckes
2016), which is kappa = the exponential, and becomes equal to it as N grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special

from spectral_ssl.embedding import Array
from spectral_ssl.graph import Graph

__all__ = ["Minorant", "design_bound", "minorant", "rows_of"]

DEGREE = 40  # of the polynomials of the programme
GRID = 400  # angles at which it keeps below the exponential
FINE = 4000  # angles at which that is checked
SHARES = (1.0, 2.0, 0.5, 4.0)  # of the number of distinct points, for which the programme is best
SAFE = 1e-9  # relative: of sums of hundreds of rounded terms, and special functions


@dataclass(frozen=True)
class Minorant:
    """kappa <= e^{(t-1)/tau} on [-1, 1] (K = 1: at -1 and 1): its mean kappa_0 over the sphere and its top kappa(1)."""

    mean: float
    top: float


@dataclass(frozen=True)
class Rows:
    """Of each sample with a partner: d (n,), the number of partners (n,), and e^H of their weights (n,)."""

    degree: Array
    partners: Array
    effective: Array


def rows_of(graph: Graph, clique: int | None = None) -> Rows:
    """clique: of balanced cliques of that many samples, which need no expansion into pairs."""
    if clique is not None:
        others = np.full(graph.n_samples, clique - 1.0)
        return Rows(graph.degree - graph.diagonal, others, others)
    C = graph.to_csr().tocoo()
    off = (C.coords[0] != C.coords[1]) & (C.data > 0)
    i, w, N = C.coords[0][off], C.data[off], graph.n_samples
    d = np.bincount(i, weights=w, minlength=N)
    P = w / d[i]
    entropy = -np.bincount(i, weights=P * np.log(P), minlength=N)
    live = d > 0
    partners: Array = np.bincount(i, minlength=N)[live].astype(np.float64)
    return Rows(d[live].astype(np.float64), partners, np.exp(entropy[live]))


def design_bound(rows: Rows, temperature: float, n_components: int) -> float:
    """C11 at the best of a few kappa, rounded down."""
    n = rows.degree.size
    if n == 0:
        return 0.0
    points = n / (1 + float(rows.partners.mean()))
    size = float(rows.degree.sum()) * (math.log(n + 1) + 2 / temperature)
    best = -math.inf
    for share in SHARES:
        kappa = minorant(n_components, temperature, max(1.0, share * points))
        if kappa is not None:
            best = max(best, _value(rows, temperature, kappa))
    return best - SAFE * size


def _value(rows: Rows, tau: float, kappa: Minorant) -> float:
    """The bound for one kappa, at the best lambda."""
    own, d, h = (1 + rows.partners) * kappa.top, rows.degree, rows.effective
    others = rows.degree.size - 1 - rows.partners
    ends = others * math.exp(-2 / tau), others
    with np.errstate(divide="ignore"):
        lowest = np.logaddexp(np.log(h), np.log(others) - 2 / tau)  # of log(h + rho): rho itself may underflow

    def bound(log_multiplier: float) -> float:
        multiplier = math.exp(log_multiplier)
        # the derivative has the sign of (rho + own)^2 - q (h + rho): its larger root is the minimum, unless an end is
        q = multiplier / d
        root = (q - 2 * own + np.sqrt(np.maximum(q * (q - 4 * (own - h)), 0.0))) / 2
        terms = [
            d * np.where(h + rho > 1e-300, np.log(np.maximum(h + rho, 1e-300)), lowest) + multiplier / (rho + own)
            for rho in (*ends, np.clip(root, *ends))
        ]
        return float(np.minimum.reduce(terms).sum()) - multiplier / kappa.mean

    middle = math.log(float(d.sum()) * kappa.mean)
    found = scipy.optimize.minimize_scalar(
        lambda x: -bound(x), bounds=(middle - 8, middle + 8), method="bounded", options={"xatol": 1e-6}
    )
    return max(bound(float(found.x)), float((d * lowest).sum()))  # or lambda = 0


def minorant(n_components: int, temperature: float, points: float) -> Minorant | None:
    """The kappa of largest points * kappa_0 - kappa(1), best for so many distinct points. None where it underflows."""
    K, tau = n_components, temperature
    mean = _mean(K, tau)
    if mean == 0:  # below the smallest number
        return None
    L, grid = (1, np.array([0.0, math.pi])) if K == 1 else (DEGREE, np.linspace(0, math.pi, GRID))
    k = np.exp((np.cos(grid) - 1) / tau)
    P = _gegenbauer(K, L, np.cos(grid))  # (L + 1, grid)
    weight = 1 / (k + mean)  # relative accuracy where it counts
    value = np.vstack([P, k]) * weight
    gain = -np.ones(L + 2)
    gain[0] += points
    gain[-1] += points * mean
    bounds = [(None, None)] + [(0, None)] * (L + 1)
    found = scipy.optimize.linprog(-gain, A_ub=value.T, b_ub=k * weight, bounds=bounds, method="highs")
    if found.x is None:
        return Minorant(mean, 1.0)
    a = np.append(found.x[0], np.maximum(found.x[1:], 0.0))
    lowered = float(a[0]) - _excess(K, tau, a, grid)
    kappa = Minorant((lowered + a[-1] * mean) * (1 - SAFE), lowered + float(a[1:].sum()) + SAFE)
    return kappa if kappa.mean > 0 else Minorant(mean, 1.0)


def _excess(K: int, tau: float, a: Array, grid: Array) -> float:
    """At least max(kappa - e^{(t-1)/tau}): on a fine grid of angles, and between by second derivatives.

    h(theta) = kappa - e^((cos theta - 1)/tau) exceeds the larger of its values at the ends of a cell by at most
    max|h''| step^2 / 8, and |h''| that at the ends by max|h''''| step^2 / 8. Polynomials in cos theta are cosine series
    with coefficients c_j >= 0 here, and so is the exponential: the largest derivatives are at theta = 0.
    """
    L = a.size - 2
    rounding = 1e-13 * (1 + float(np.abs(a).sum()))
    if K == 1:
        t = np.cos(grid)
        return float((a[:-1] @ _gegenbauer(K, L, t) + (a[-1] - 1) * np.exp((t - 1) / tau)).max()) + rounding
    nodes = (np.arange(L + 1) + 0.5) * math.pi / (L + 1)
    values = a[:-1] @ _gegenbauer(K, L, np.cos(nodes))
    j = np.arange(L + 1)
    c = np.cos(np.outer(j, nodes)) @ values * 2 / (L + 1)  # the discrete cosine transform is exact at these nodes
    c[0] /= 2
    theta = np.linspace(0, math.pi, FINE)
    step = theta[1]
    cosines = np.cos(np.outer(theta, j))
    e, sine, cosine = (a[-1] - 1) * np.exp((np.cos(theta) - 1) / tau), np.sin(theta), np.cos(theta)
    h = cosines @ c + e
    curvature = np.abs(-cosines @ (c * j**2) + e * (sine**2 / tau**2 - cosine / tau))
    fourth = float((np.abs(c) * j**4).sum()) + (1 + abs(a[-1])) * (1 / tau + 3 / tau**2)
    cell = np.maximum(curvature[:-1], curvature[1:]) + fourth * step**2 / 8
    return float((np.maximum(h[:-1], h[1:]) + cell * step**2 / 8).max()) + rounding


def _gegenbauer(K: int, degree: int, t: Array) -> Array:
    """P_0 .. P_degree of S^{K-1} at t (m,), P_l(1) = 1: (degree + 1, m)."""
    P = np.ones((degree + 1, t.size))
    P[1:2] = t
    for m in range(1, degree):
        P[m + 1] = ((2 * m + K - 2) * t * P[m] - m * P[m - 1]) / (m + K - 2)
    return P


def _mean(K: int, tau: float) -> float:
    """The mean of e^{(x'y - 1)/tau} over y on S^{K-1}: e^{-1/tau} Gamma(K/2) (2 tau)^(K/2 - 1) I_{K/2 - 1}(1/tau)."""
    order = K / 2 - 1
    if K == 1:
        return (1 + math.exp(-2 / tau)) / 2
    scaled = float(scipy.special.ive(order, 1 / tau))
    log = float(scipy.special.gammaln(K / 2)) + order * math.log(2 * tau)
    if scaled > 0 and math.isfinite(scaled):
        return math.exp(log + math.log(scaled)) * (1 - SAFE)
    series: Any = scipy.special.hyp0f1(K / 2, 1 / (4 * tau**2))
    return float(series) * math.exp(-1 / tau) * (1 - SAFE) if np.isfinite(series) else 0.0
