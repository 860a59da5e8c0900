"""Class collisions among K negatives, and the constants of the surrogate gap that depend on classes and K alone.

An anchor has class y, drawn by a prior pi over C classes, its K negatives have classes drawn by pi as well, and
Col ~ Binomial(K, pi_y) of them are y again:

    tau_K = P(Col >= 1) = sum_y pi_y (1 - (1 - pi_y)^K)          no_collision: 1 - tau_K, never formed by subtraction
    E ln(1 + Col) = sum_y pi_y sum_m Bin(K, pi_y)(m) ln(1 + m)   the pmf from its logarithm
    v_n = P(n uniform draws meet every class)                    by the chain of "classes met so far", all terms >= 0

The alternating sum for v_n, sum_j (-1)^j binom(C, j) (1 - j/C)^n, loses all digits: -8.0e-5 instead of 4.8e-26 at C =
100, n = 120. 1 - tau_K by subtraction is 0 at C = 10, K = 512, where it is 3.7e-24.

**How far ln E e^s can be above a mean of s**, for scores in [-a, a] and weights w_1 .. w_n. The function ln sum_c
e^{s_c} - sum_c w_c s_c is convex in s, so that over the box it is largest at a corner; of the corners with m entries a
the best has them where w is smallest, W_m their sum:

    log_sum_gap(w, a) = max_{m = 0 .. n} ln(m + (n - m) e^{-2a}) + 2a (1 - W_m)

Exact, O(n log n). With equal weights it is at most ln n + ln S(a), where

    ln S(a) = ln(sinh a / a) + a coth a - 1        (Specht's ratio)    <=    2 ln cosh a    (Kantorovich's)

0.474 instead of 0.868 at a = 1, a^2/2 instead of a^2 as a -> 0. Both bound ln E e^s - E s for every law on [-a, a];
Specht's is attained. The published intercepts use Kantorovich's; `Intercepts` has either.

Derived here, but for the published intercepts of Bao, Nagano & Nozawa 2022 (arXiv 2110.02501; constants as in their
released code).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special

from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError

__all__ = [
    "Constants",
    "Intercepts",
    "as_prior",
    "collision_probability",
    "constants",
    "coverage",
    "expected_draws",
    "harmonic",
    "ideal_contrastive",
    "ideal_supervised",
    "in_batch_collisions",
    "intercepts",
    "log_collision",
    "log_cosh",
    "log_specht",
    "log_sum_gap",
    "no_collision",
    "tuple_gap",
]

UNIFORM_TOL = 1e-9  # relative: priors that differ by less than this are equal, having come from counts or from text
SUM_TOL = 1e-6  # a prior given by hand sums to one up to this, and is divided by its sum
SMALL = 1e-4  # below it the series a^2/2 of ln S has 9 digits more than the formula


def as_prior(prior: int | Sequence[float] | Array) -> Array:
    """A prior over C classes: from C, the uniform one; from C positive numbers that sum to 1.

    Raises DataError for fewer than 2 classes, numbers that are not positive, or another sum.
    """
    if isinstance(prior, int | np.integer):
        C = check_int(prior, "the number of classes", low=2)
        return np.full(C, 1.0 / C)
    try:
        pi = np.asarray(prior, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"a prior is one positive number for each class, got {prior!r}") from None
    if pi.ndim != 1 or pi.size < 2 or not np.all(np.isfinite(pi)) or not np.all(pi > 0):
        raise DataError(f"a prior is one positive number for each of 2 classes or more, got {prior!r}")
    if abs(pi.sum() - 1) > SUM_TOL:
        raise DataError(f"the prior sums to {pi.sum():.9g}, not 1; divide it by its sum")
    return np.asarray(pi / pi.sum(), dtype=np.float64)


def is_uniform(pi: Array) -> bool:
    return bool(np.ptp(pi) <= UNIFORM_TOL * pi.max())


# ------------------------------------------------------------------------------------------------------- collisions


def no_collision(prior: int | Sequence[float] | Array, K: int) -> float:
    """1 - tau_K = sum_y pi_y exp(K log(1 - pi_y)), to full relative precision."""
    pi = as_prior(prior)
    return float(pi @ np.exp(check_int(K, "K", low=0) * np.log1p(-pi)))


def collision_probability(prior: int | Sequence[float] | Array, K: int) -> float:
    """tau_K = -sum_y pi_y expm1(K log(1 - pi_y))."""
    pi = as_prior(prior)
    return float(-(pi @ np.expm1(check_int(K, "K", low=0) * np.log1p(-pi))))


def log_collision(prior: int | Sequence[float] | Array, K: int) -> float:
    """E ln(1 + Col), in nats."""
    pi = as_prior(prior)
    K = check_int(K, "K", low=0)
    m = np.arange(K + 1)
    values, counts = np.unique(pi, return_counts=True)
    return float(sum(n * p * (binomial(K, p) @ np.log1p(m)) for p, n in zip(values, counts, strict=True)))


def binomial(K: int, p: float) -> Array:
    """Bin(K, p)(m), m = 0 .. K."""
    m = np.arange(K + 1)
    choose = scipy.special.gammaln(K + 1) - scipy.special.gammaln(m + 1) - scipy.special.gammaln(K - m + 1)
    found: Array = np.exp(choose + scipy.special.xlogy(m, p) + scipy.special.xlog1py(K - m, -p))
    return found


def in_batch_collisions(counts: Sequence[int] | Any, K: int) -> tuple[float, float]:
    """tau and E ln(1 + Col) where the K negatives are drawn without replacement from the other n - 1 rows of a batch.

    counts: n_c rows of each class. Col given an anchor of class c is hypergeometric: K of n - 1 rows, n_c - 1 of them
    of its class, so that one negative collides with probability (n_c - 1) / (n - 1), not n_c / n.

    Raises DataError for more negatives than other rows.
    """
    n_c = np.asarray(counts)
    n = int(n_c.sum())
    K = check_int(K, "K", low=0, high=n - 1)
    tau = log = 0.0
    for size, times in zip(*np.unique(n_c, return_counts=True), strict=True):
        share = float(size * times / n)
        same, other = int(size) - 1, n - int(size)
        m = np.arange(max(0, K - other), min(K, same) + 1)
        lb = scipy.special.gammaln
        log_p = lb(same + 1) - lb(m + 1) - lb(same - m + 1) + lb(other + 1) - lb(K - m + 1) - lb(other - K + m + 1)
        p = np.exp(log_p - (lb(n) - lb(K + 1) - lb(n - K)))
        tau += share * float(p[m > 0].sum())
        log += share * float(p @ np.log1p(m))
    return tau, log


# --------------------------------------------------------------------------------------------------------- coverage


def coverage(C: int, draws: int) -> float:
    """v_n: the probability that n = `draws` uniform draws meet all C classes; O(n C), no cancellation.

    P(j met after n + 1) = P(j met after n) j/C + P(j - 1 met after n) (C - j + 1)/C
    """
    C, n = check_int(C, "the number of classes", low=1), check_int(draws, "draws", low=0)
    if n < C:
        return 0.0
    met = np.zeros(C + 1)
    met[0] = 1.0
    stay, go = np.arange(C + 1) / C, np.arange(C, 0, -1) / C
    for _ in range(n):
        met[1:] = met[1:] * stay[1:] + met[:-1] * go
        met[0] = 0.0
    return float(met[C])


def harmonic(n: int) -> float:
    """1 + 1/2 + .. + 1/n."""
    return float((1.0 / np.arange(1, check_int(n, "n", low=0) + 1)).sum())


def expected_draws(prior: int | Sequence[float] | Array) -> float:
    """How many draws it takes on average to meet every class: C (1 + .. + 1/C) for a uniform prior.

    For any prior int_0^inf (1 - prod_c (1 - e^{-pi_c t})) dt: draws at the times of a Poisson process of rate 1. By the
    trapezoid rule in log t, whose integrand is smooth and falls off at both ends.
    """
    pi = as_prior(prior)
    if is_uniform(pi):
        return pi.size * harmonic(pi.size)
    step = 0.05
    u = np.arange(math.log(1e-16), math.log(50.0 * (1 + math.log(pi.size)) / pi.min()), step)
    t = np.exp(u)
    missing = -np.expm1(np.log(-np.expm1(-np.outer(t, pi))).sum(axis=1))
    return float(step * (t * missing).sum())


# -------------------------------------------------------------------------------------------- gaps of log and mean


def log_cosh(z: float) -> float:
    """ln cosh z, without overflow."""
    return abs(z) + math.log1p(math.exp(-2 * abs(z))) - math.log(2)


def log_specht(a: float) -> float:
    """ln S(a) = ln(sinh a / a) + a coth a - 1: the most that ln E e^s can exceed E s for s in [-a, a]. Attained."""
    a = abs(a)
    if a < SMALL:
        return a * a / 2
    e = math.exp(-2 * a)
    return a + math.log1p(-e) - math.log(2 * a) + a * (1 + e) / (1 - e) - 1


def log_sum_gap(weights: Array, a: float) -> float:
    """max over s in [-a, a]^n of ln sum_c e^{s_c} - sum_c w_c s_c; see the module. weights (n,) >= 0 of sum 1."""
    w = np.sort(np.asarray(weights, dtype=np.float64))
    m = np.arange(w.size + 1)
    least = np.concatenate([[0.0], np.cumsum(w)])
    least[-1] = 1.0
    return float((np.log(m + (w.size - m) * math.exp(-2 * a)) + 2 * a * (1 - least)).max())


def tuple_gap(K: int, a: float, spread: float) -> float:
    """The least of two limits of E[ln(e^{s+} + sum_k e^{s_k})] - E s, scores in [-a, a], E s_k = E s, E s+ = E s + D.

    M = max of ln(e^{s+} + sum_k e^{s_k}) - (1/K) sum_k s_k: at a corner, s+ = a and m of the others a. Or s+ is treated
    like the others, log_sum_gap(1/(K + 1), a) + D/(K + 1). spread: D >= 0.
    """
    m = np.arange(K + 1)
    M = float((np.log(m + 1 + (K - m) * math.exp(-2 * a)) + 2 * a * (1 - m / K)).max())
    return min(M, log_sum_gap(np.full(K + 1, 1 / (K + 1)), a) + spread / (K + 1))


# --------------------------------------------------------------------------------------------------- the two bands


@dataclass(frozen=True)
class Intercepts:
    """R_cont + lower <= R_supv <= R_cont + upper, for every f with |f|^2 <= b2; R_cont with K negatives.

    lower, upper: the published ones. sharp_lower, sharp_upper: never wider, derived here.
    """

    lower: float
    upper: float
    sharp_lower: float
    sharp_upper: float

    @property
    def width(self) -> float:
        return self.upper - self.lower

    @property
    def sharp_width(self) -> float:
        return self.sharp_upper - self.sharp_lower


def intercepts(prior: int | Sequence[float] | Array, K: int, b2: float = 1.0) -> Intercepts:
    """The surrogate gap of K negatives, any prior, features no longer than b; at temperature T, b2 = b^2 / T.

    Published, with H the entropy of pi in nats:

        upper = ln(pi_max C^2 / K) + 2 ln cosh b2          lower = H + ln K - 2 ln(K + 1) - 2 ln cosh b2

    Proof, s_c(x) = f(x).mu_c, D = E s_y - E sum_c pi_c s_c, and E f(x).f(x+) = E s_y exactly. *Upper.* Dropping the
    positive from the sum and by concavity of the logarithm R_cont >= -E s_y + ln K + E sum_c pi_c s_c. With G an upper
    limit of ln sum_c e^{s_c} - sum_c pi_c s_c on the box, R_supv <= -E s_y + G + E sum_c pi_c s_c. Subtract:
    upper = G - ln K. *Lower.* With M an upper limit of ln(e^{s+} + sum_k e^{s_k}) - (1/K) sum_k s_k on the box, R_cont
    <= -E s_y + M + E sum_c pi_c s_c, and by Gibbs' inequality ln sum_c e^{s_c} >= H + sum_c pi_c s_c: lower = H - M.
    Kantorovich's inequality gives G <= ln(pi_max C^2) + 2 ln cosh b2 and M <= 2 ln(K + 1) - ln K + 2 ln cosh b2: the
    published pair. The sharp pair takes the largest values themselves, which convexity puts at corners:

        sharp_upper = log_sum_gap(pi, b2) - ln K
        sharp_lower = H - tuple_gap(K, b2, b2)

    D = sum_c pi_c |mu_c|^2 - |sum_c pi_c mu_c|^2 being at most b2.
    """
    pi, K = as_prior(prior), check_int(K, "K, the number of negatives,", low=1)
    a = check_real(b2, "b2, the largest squared length over the temperature,", low=0)
    C, H, kantorovich = pi.size, entropy(pi), 2 * log_cosh(a)
    return Intercepts(
        lower=H + math.log(K) - 2 * math.log(K + 1) - kantorovich,
        upper=math.log(float(pi.max()) * C * C / K) + kantorovich,
        sharp_lower=H - tuple_gap(K, a, a),
        sharp_upper=log_sum_gap(pi, a) - math.log(K),
    )


def entropy(pi: Array) -> float:
    return float(scipy.special.entr(pi).sum())


# ---------------------------------------------------------------------------------------------- ideal curves


def _gap(C: int, b2: float, simplex: bool) -> float:
    """s_y - s_q of collapsed classes: at cosine -1 to each other, or at the vertices of a simplex."""
    return b2 * C / (C - 1) if simplex else 2 * b2


def ideal_supervised(C: int, b2: float = 1.0, *, simplex: bool = False) -> float:
    """ln(1 + (C - 1) e^{-2 b2}): every other class at cosine -1, which C > 2 classes cannot be. simplex: the least."""
    C = check_int(C, "the number of classes", low=2)
    return math.log1p((C - 1) * math.exp(-_gap(C, b2, simplex)))


def ideal_contrastive(C: int, K: int, b2: float = 1.0, *, simplex: bool = False) -> float:
    """sum_m Bin(K, 1/C)(m) ln(1 + m + (K - m) e^{-2 b2}): R_cont of the same features; uniform prior."""
    C, K = check_int(C, "the number of classes", low=2), check_int(K, "K", low=0)
    m = np.arange(K + 1)
    return float(binomial(K, 1 / C) @ np.log1p(m + (K - m) * math.exp(-_gap(C, b2, simplex))))


# ------------------------------------------------------------------------------------------------- all of them


@dataclass(frozen=True, eq=False)
class Constants:
    """Everything about (prior, K, b2) that a bound of the contrastive risk needs.

    tau, no_collision: P(Col >= 1) and its complement. log_collision: E ln(1 + Col). coverage: v_{K+1}, None for a prior
    that is not uniform; alone: P(the K draws contain the rarest class) = 1 - (1 - pi_min)^K. apart: the denominator of
    the bound with collisions taken off (surrogate.py). arora, nozawa_sato, ash, inclusion, collisions_off: what
    multiplies the contrastive risk in each bound, None where it is not legal, infinite where a denominator underflows.
    """

    prior: Array  # (C,)
    K: int
    b2: float
    tau: float
    no_collision: float
    log_collision: float
    coverage: float | None
    entropy: float
    alone: float
    apart: float
    intercepts: Intercepts

    @property
    def C(self) -> int:
        return int(self.prior.size)

    @property
    def uniform(self) -> bool:
        return is_uniform(self.prior)

    @property
    def covers(self) -> bool:
        """Whether K + 1 draws can meet every class."""
        return self.K + 1 >= self.C

    @property
    def arora(self) -> float | None:
        """1 / ((1 - tau_K) v_{K+1})."""
        return self._per(1.0, self.coverage, self.no_collision) if self.covers else None

    @property
    def nozawa_sato(self) -> float | None:
        """2 / v_{K+1}."""
        return self._per(2.0, self.coverage) if self.covers else None

    @property
    def ash(self) -> float | None:
        """2 max(1, 2 (C - 1) H_{C-1} / K) / (1 - tau_K)."""
        C = self.C
        factor = 2 * max(1.0, 2 * (C - 1) * harmonic(C - 1) / self.K)
        return self._per(factor, self.no_collision) if self.uniform else None

    @property
    def inclusion(self) -> float:
        """1 / (1 - (1 - pi_min)^K)."""
        return 1 / self.alone

    @property
    def collisions_off(self) -> float:
        """1 / `apart`."""
        return 1 / self.apart

    def _per(self, factor: float, *parts: float | None) -> float | None:
        for part in parts:
            if part is None:
                return None
            factor = factor / part if part > 0 else math.inf
        return factor


def constants(prior: int | Sequence[float] | Array, K: int, b2: float = 1.0) -> Constants:
    """The constants of K negatives; prior: over the classes, or their number C for the uniform one."""
    pi, K = as_prior(prior), check_int(K, "K, the number of negatives,", low=1)
    return Constants(
        prior=pi,
        K=K,
        b2=b2,
        tau=collision_probability(pi, K),
        no_collision=no_collision(pi, K),
        log_collision=log_collision(pi, K),
        coverage=coverage(pi.size, K + 1) if is_uniform(pi) else None,
        entropy=entropy(pi),
        alone=float(-np.expm1(K * np.log1p(-pi.min()))),
        apart=apart(pi, K),
        intercepts=intercepts(pi, K, b2),
    )


def apart(pi: Array, K: int) -> float:
    """min_y E[ (1 - (1 - min_{q != y} pi_q / (1 - pi_y))^{K - Col}) / (1 + Col) ], Col ~ Bin(K, pi_y)."""
    m, order = np.arange(K + 1), np.argsort(pi)
    found = []
    for y, p in enumerate(pi):
        q = pi[order[1]] if y == order[0] else pi[order[0]]  # the rarest of the others
        with np.errstate(divide="ignore"):
            missed = np.exp(scipy.special.xlogy(K - m, max(0.0, 1 - q / (1 - p))))
        found.append(float(binomial(K, float(p)) @ ((1 - missed) / (1 + m))))
        if is_uniform(pi):
            break
    return min(found)
