"""Class collisions among K negatives, and all constants of the bounds that depend on prior, K and norm alone.

An anchor has class y, drawn by a prior pi over C classes, its K negatives have classes drawn by pi as well, and
Col ~ Binomial(K, pi_y) of them are y again:

    tau_K = P(Col >= 1) = sum_y pi_y (1 - (1 - pi_y)^K)          no_collision: 1 - tau_K, never formed by subtraction
    E ln(1 + Col) = sum_y pi_y sum_m Bin(K, pi_y)(m) ln(1 + m)   the pmf from its logarithm
    v_n = P(n uniform draws meet every class)                    by the chain of "classes met so far", all terms >= 0

The alternating sum for v_n, sum_j (-1)^j binom(C, j) (1 - j/C)^n, loses all digits: -8.0e-5 instead of 4.8e-26 at C =
100, n = 120. 1 - tau_K by subtraction is 0 at C = 10, K = 512, where it is 3.7e-24.

Derived here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special

from spectral_ssl.data._checks import check_int
from spectral_ssl.embedding import Array
from spectral_ssl.theory._priors import as_prior, binomial, entropy, is_uniform
from spectral_ssl.theory.gaps import Intercepts, intercepts

__all__ = [
    "Constants",
    "collision_probability",
    "constants",
    "coverage",
    "expected_draws",
    "harmonic",
    "in_batch_collisions",
    "log_collision",
    "no_collision",
]


# ------------------------------------------------------------------------------------------------------- collisions


def no_collision(prior: int | Sequence[float] | Array, K: int) -> float:
    """1 - tau_K = sum_y pi_y exp(K log(1 - pi_y)), to full relative precision."""
    pi = as_prior(prior)
    return float(pi @ np.exp(scipy.special.xlog1py(check_int(K, "K", low=0), -pi)))


def collision_probability(prior: int | Sequence[float] | Array, K: int) -> float:
    """tau_K = -sum_y pi_y expm1(K log(1 - pi_y))."""
    pi = as_prior(prior)
    return float(-(pi @ np.expm1(scipy.special.xlog1py(check_int(K, "K", low=0), -pi))))


def log_collision(prior: int | Sequence[float] | Array, K: int) -> float:
    """E ln(1 + Col), in nats."""
    pi = as_prior(prior)
    K = check_int(K, "K", low=0)
    m = np.arange(K + 1)
    values, counts = np.unique(pi, return_counts=True)
    return float(sum(n * p * (binomial(K, p) @ np.log1p(m)) for p, n in zip(values, counts, strict=True)))


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
        others = np.delete(pi, y).sum()  # 1 - p, and digits of it where p is nearly 1
        met = -np.expm1(scipy.special.xlog1py(K - m, -min(1.0, q / others)))
        found.append(float(binomial(K, float(p)) @ (met / (1 + m))))
        if is_uniform(pi):
            break
    return min(found)
