"""How far the risk of the mean classifier can be from the contrastive risk: the two bands, and ideal curves.

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

import numpy as np

from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.embedding import Array
from spectral_ssl.theory._priors import as_prior, binomial, entropy

__all__ = [
    "Intercepts",
    "ideal_contrastive",
    "ideal_supervised",
    "intercepts",
    "log_cosh",
    "log_specht",
    "log_sum_gap",
    "tuple_gap",
]

SMALL = 1e-4  # below it the series a^2/2 of ln S has 9 digits more than the formula


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
    with np.errstate(divide="ignore"):  # log 0 where all entries are the same
        log_sum = np.logaddexp(np.log(m), np.log(w.size - m) - 2 * a)  # e^{-2a} may underflow
    return float((log_sum + 2 * a * (1 - least)).max())


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
