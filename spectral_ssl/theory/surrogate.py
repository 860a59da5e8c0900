"""What the contrastive risk says of the mean classifier's risk, K by K: the surrogate gap, rivals, better limits.

For features f with |f|^2 <= b2 (temperature included), classes by a prior pi, R_cont with K negatives and R_supv over
all C classes (risks.py). Limits of R_supv, by name:

    band                 R_cont + Delta_L <= R_supv <= R_cont + Delta_U, any prior and K (constants and proof:
                         gaps.py): Bao, Nagano & Nozawa 2022, arXiv 2110.02501, as in their released code
    sharp band           the same with the largest values in place of Kantorovich's inequality: never wider
    measured             R_cont + J - tuple_gap(K, b2, D) <= R_supv <= R_cont - ln K + J: J and D are taken from labels,
                         so that it diagnoses and does not predict
    inclusion            R_cont / (1 - (1 - pi_min)^K): no norm, no temperature, no coverage
    collisions off       (R_cont - E ln(1 + Col)) / min_y E[(1 - (1 - q_y)^{K - Col}) / (1 + Col)], Col ~ Bin(K, pi_y),
                         q_y = min_{q != y} pi_q / (1 - pi_y)
    coverage             R_cont / v_{K+1}
    Arora                (R_cont - E ln(1 + Col)) / ((1 - tau_K) v_{K+1})
    Nozawa-Sato          (2 R_cont - E ln(1 + Col)) / v_{K+1}
    Ash                  2 / (1 - tau_K) max(1, 2 (C - 1) H_{C-1} / K) (R_cont - E ln(1 + Col))

The last four are for uniform priors; Arora's, Nozawa & Sato's and coverage need K + 1 >= C, for otherwise no tuple
meets all classes and v is 0.

**inclusion.** By convexity of ln(1 + sum e^{v_k}) in the margins, class means can take the place of the positive and of
the negatives, and of all negatives of a class one is kept:

    R_cont >= J_K >= E g_y(S),    g_y(S) = ln(1 + sum_{q in S} e^{s_q - s_y}),    S the other classes that were drawn

g is increasing and submodular (concave of additive) with g({}) = 0, so E g(S) is at least its Lovasz extension at the
marginals P(q in S) = 1 - (1 - pi_q)^K, which is increasing and homogeneous: at least (1 - (1 - pi_min)^K) g(all).

**collisions off.** Given Col = m, ln(1 + m + A) = ln(1 + m) + ln(1 + A/(1 + m)) >= ln(1 + m) + ln(1 + A)/(1 + m), and
the other K - m negatives are drawn by pi_q / (1 - pi_y). The same argument, then the mean over m and the least over y.

**Both are below their rivals.** P(q among K draws) >= P(all classes are met), so that inclusion <= coverage <=
Nozawa-Sato, as R_cont >= E ln(1 + Col). In "collisions off" the term m = 0 alone is (1 - tau_K)(1 - (1 - 1/(C-1))^K) >=
(1 - tau_K) v_{K+1}, which is Arora's; and 1 - (1 - 1/(C-1))^K >= 1 - e^{-x}, x = K/(C-1), is at least min(1/2, x/2) >=
min(1/2, x/(4 H_{C-1})), which is Ash's.

**Floor, chance, ceiling.** R_supv = J - D with J <= log_sum_gap(pi, b2) and D >= 0: the ceiling. The score ceiling
ln(1 + (C - 1) e^{2 b2}) is the published yardstick. Chance is ln C, equal scores. Floor, h(v) = ln(1 + (C - 1) e^v) and
t = (1/2) sum_c |pi_c - 1/C|: by convexity R_supv >= h(sum_y pi_y a_y), a_y = mu_y.(M - mu_y)/(C - 1) - |mu_y|^2, M =
sum_q mu_q, and with p = sum_y pi_y mu_y, p.M >= -(C/4) |p - M/C|^2 >= -(C/4) (2t)^2 b2, so that the mean is at least
-b2 C (1 + t^2)/(C - 1), and at least -2 b2; by Gibbs R_supv >= H(pi) - D >= H(pi) - b2. The largest of these; a simplex
attains it where pi is uniform.

Derived here but where a source is named; those sources' constants are as plotted in the released code of 2110.02501.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.theory._priors import entropy
from spectral_ssl.theory.bound import Assumption, Bound
from spectral_ssl.theory.collisions import Constants, constants
from spectral_ssl.theory.gaps import log_sum_gap, tuple_gap
from spectral_ssl.theory.risks import (
    ContrastiveRisk,
    Population,
    check_negatives,
    class_mean_risk,
    contrastive_risk,
    supervised_risk,
)

__all__ = ["BEST", "RIVALS", "SurrogateReport", "Yardsticks", "surrogate_bounds", "yardsticks"]

HERE = "derived here"
BAO = "Bao, Nagano & Nozawa 2022 (arXiv 2110.02501), constants as in their released code; proof in gaps.py"
PLOTTED = "as plotted in the released code of arXiv 2110.02501"
BEST = "least upper limit"
TOOLS = ("band, upper", "sharp band, upper", "inclusion", "collisions off")  # whose least is told
RIVALS = ("Arora", "Nozawa-Sato", "Ash")


@dataclass(frozen=True)
class Yardsticks:
    """What is known of R_supv from C, the prior and the norm alone.

    floor <= R_supv <= ceiling; chance: ln C, of equal scores; score_ceiling: ln(1 + (C - 1) e^{2 b2}), as published.
    """

    floor: float
    chance: float
    ceiling: float
    score_ceiling: float


def yardsticks(prior: Array, b2: float) -> Yardsticks:
    """See the module. prior (C,)."""
    C, H = prior.size, entropy(prior)
    t = 0.5 * float(np.abs(prior - 1 / C).sum())
    gap = min(2 * b2, b2 * C * (1 + t * t) / (C - 1))
    return Yardsticks(
        floor=max(math.log1p((C - 1) * math.exp(-gap)), H - b2),
        chance=math.log(C),
        ceiling=log_sum_gap(prior, b2),
        score_ceiling=2 * b2 + math.log(math.exp(-2 * b2) + C - 1),
    )


@dataclass(frozen=True, eq=False)
class SurrogateReport:
    """Everything about one representation: risks for every K, and every limit with its verdict.

    contrastive: R_cont. class_means: J_K; noise (k,): R_cont - J_K. supervised: R_supv = J - D. log_sum, spread: J
    and D. accuracy: of the mean classifier. constants, bounds: per K, bounds by name.
    """

    population: Population
    contrastive: ContrastiveRisk
    class_means: ContrastiveRisk
    supervised: float
    yardsticks: Yardsticks
    constants: tuple[Constants, ...]
    bounds: tuple[dict[str, Bound], ...]

    @property
    def K(self) -> Any:
        return self.contrastive.K

    @property
    def noise(self) -> Array:
        found: Array = self.contrastive.value - self.class_means.value
        return found

    @property
    def log_sum(self) -> float:
        return self.population.log_sum

    @property
    def spread(self) -> float:
        return self.population.spread

    @property
    def accuracy(self) -> float:
        return self.population.accuracy

    def violated(self) -> list[Bound]:
        """Limits that the measured risk breaks: none, or something is wrong."""
        return [bound for found in self.bounds for bound in found.values() if bound.verdict == "violated"]

    def rows(self) -> list[dict[str, Any]]:
        """A flat row for each K and limit."""
        return [
            {"negatives": int(k), **bound.row()}
            for k, found in zip(self.K, self.bounds, strict=True)
            for bound in found.values()
        ]


def surrogate_bounds(
    population: Population,
    K: int | Sequence[int],
    *,
    method: Literal["exact", "monte_carlo"] = "exact",
    n_draws: int = 20_000,
    seed: int = 0,
    risk: ContrastiveRisk | None = None,
) -> SurrogateReport:
    """Every limit of R_supv that R_cont gives, for each number of negatives; see the module.

    method, n_draws, seed: of R_cont, as for `contrastive_risk`. risk: R_cont where it is known already. Limits are of
    R_cont moved by its proven error, or by four standard errors, to the safe side.
    """
    if risk is None:
        risk = contrastive_risk(population, K, method=method, n_draws=n_draws, seed=seed)
    ks = check_negatives([int(k) for k in risk.K])
    known = tuple(constants(population.prior, int(k), population.b2) for k in ks)
    supervised, sticks = supervised_risk(population), yardsticks(population.prior, population.b2)
    bounds = tuple(
        _bounds(population, c, float(R), float(m), supervised, sticks, certified=risk.kind == "exact")
        for c, R, m in zip(known, risk.value, risk.margin, strict=True)
    )
    return SurrogateReport(
        population, risk, class_mean_risk(population, ks.tolist()), supervised, sticks, known, bounds
    )


def _bounds(
    population: Population,
    c: Constants,
    R: float,
    margin: float,
    supervised: float,
    sticks: Yardsticks,
    *,
    certified: bool,
) -> dict[str, Bound]:
    """All limits at one K. R: R_cont, known up to `margin`."""
    most, least = R + margin, R - margin
    norm = Assumption("rows are no longer than b", True, f"b^2 / T = {c.b2:.6g}, measured")
    uniform = Assumption("uniform prior", c.uniform, "" if c.uniform else f"{c.prior.min():.3g} to {c.prior.max():.3g}")
    covers = Assumption("K + 1 >= C", c.covers, f"K = {c.K}, C = {c.C}")
    i, J, D = c.intercepts, population.log_sum, population.spread
    found: dict[str, Bound] = {}

    def add(name: str, limit: Callable[[], float], source: str, *assumed: Assumption) -> None:
        side: Literal["upper", "lower"] = "lower" if name.endswith("lower") else "upper"
        found[name] = Bound.check(
            name, supervised, limit, source=source, side=side, assumptions=assumed, certified=certified,
            trivial=sticks.floor if side == "lower" else sticks.ceiling,
        )  # fmt: skip

    add("band, lower", lambda: least + i.lower, BAO, norm)
    add("band, upper", lambda: most + i.upper, BAO, norm)
    add("sharp band, lower", lambda: least + i.sharp_lower, HERE, norm)
    add("sharp band, upper", lambda: most + i.sharp_upper, HERE, norm)
    add("measured, lower", lambda: least + J - tuple_gap(c.K, c.b2, D), HERE, norm)
    add("measured, upper", lambda: most - math.log(c.K) + J, HERE)
    off = most - c.log_collision
    add("inclusion", lambda: c.inclusion * most, HERE)
    add("collisions off", lambda: c.collisions_off * off, HERE)
    add("coverage", lambda: _legal(c.nozawa_sato) / 2 * most, HERE, uniform, covers)
    add("Arora", lambda: _legal(c.arora) * off, f"Arora et al. 2019, {PLOTTED}", uniform, covers)
    add(
        "Nozawa-Sato",
        lambda: _legal(c.nozawa_sato) / 2 * (most + off),
        f"Nozawa & Sato 2021, {PLOTTED}",
        uniform,
        covers,
    )
    add("Ash", lambda: _legal(c.ash) * off, f"Ash et al. 2022, {PLOTTED}", uniform)
    best = min((found[name] for name in TOOLS), key=lambda bound: bound.limit)
    add(BEST, lambda: best.limit, f"{best.name}: {best.source}", *best.assumptions)
    return found


def _legal(factor: float | None) -> float:
    """A coefficient whose assumptions have been checked."""
    assert factor is not None
    return factor
