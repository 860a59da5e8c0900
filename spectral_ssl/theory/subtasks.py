"""Tasks of fewer classes than all, and one negative: what the contrastive risk says of the mean classifier there.

**Tasks of the classes that were drawn.** T = {y} and the classes of K negatives that did not collide, labels as the
anchor given T:

    E_T R_supv(T) <= (R_cont(K) - E ln(1 + Col)) / (1 - tau_K)

Jensen's step as in surrogate.py, ln(1 + Col + A) >= ln(1 + Col) + [Col = 0] ln(1 + A), and one negative of each class
kept. T is random, so that the left side is estimated: draws of T, each judged on all rows of its class.

**A task S that is fixed.** Anchors restricted to the classes of S, with the contrastive risk of those anchors:

    R_supv(S) <= R_cont(K | y in S) / (1 - (1 - min_{q in S} pi_q)^K)

the submodular argument of surrogate.py on S without y. S may have more or fewer classes than K + 1.

**One negative** (Arora, Khandeparkar, Khodak, Plevrakis & Saunshi 2019). For a convex loss l of the margin v =
f(x).(f(x+) - f(x-)), tau = sum_c pi_c^2, and R_pair the mean of l(s_c - s_q) over ordered pairs of distinct classes
drawn from pi, anchors of c:

    L = (1 - tau) L_other + tau L_same,    R_pair <= L_other,    L_other <= (L - tau l(0)) / (1 - tau)

by Jensen's inequality. Collisions cost L_same - l(0) <= sqrt 2 Lip(l) s(f), with nu_c = pi_c^2 / tau and s(f) =
sum_c nu_c sqrt(|Cov_c f|_2) E_c|f|: for x, x+, x- of one class v has, given x, the mean square 2 f(x)'Cov_c f(x).
So for every f, and for the minimiser of L against every f,

    R_pair <= L_other(f) + beta s(f),    beta = sqrt 2 Lip(l) tau / (1 - tau)

A bare tau for tau l(0) needs l(0) = 1: hinge max(0, 1 - v) and log2(1 + e^{-v}) have it, ln(1 + e^{-v}) has ln 2. The
generalisation term of the source (a Rademacher complexity) is not evaluated: a gap between training and held-out rows
is what can be measured.

Derived here but for the one-negative statement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.special

from spectral_ssl import linalg
from spectral_ssl.data._checks import check_int, generator
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.theory.bound import Assumption, Bound
from spectral_ssl.theory.collisions import log_collision, no_collision
from spectral_ssl.theory.risks import BLOCK, SIGMAS, ContrastiveRisk, Population, contrastive_risk

__all__ = [
    "Loss",
    "OneNegative",
    "drawn_task_bound",
    "drawn_task_risk",
    "fixed_task_bound",
    "fixed_task_risk",
    "one_negative",
]

HERE = "derived here"
Loss = Literal["hinge", "logistic", "log2"]


# ------------------------------------------------------------------------------------------------------------ tasks


def fixed_task_risk(population: Population, task: Sequence[Any]) -> float:
    """R_supv(S) of the mean classifier among the classes of S, anchors of those classes by the prior; exact.

    task: labels of two classes or more.
    """
    S = _codes(population, task)
    s = population.scores[:, S]
    lost = scipy.special.logsumexp(s, axis=1)
    by_class = [float((lost[rows] - s[rows, k]).mean()) for k, rows in enumerate(population.rows[c] for c in S)]
    pi = population.prior[S]
    return float(pi @ np.array(by_class) / pi.sum())


def fixed_task_bound(population: Population, risk: ContrastiveRisk, task: Sequence[Any], K: int) -> Bound:
    """R_supv(S) <= R_cont(K | y in S) / (1 - (1 - min_S pi)^K). risk: of the population, with this K among its own."""
    if risk.kind != "exact":
        raise DataError("a task needs the risk of anchors of its classes, and only method='exact' has it by class")
    S, at = _codes(population, task), _place(risk, K)
    pi = population.prior[S]
    R = float(pi @ risk.by_class[S, at] / pi.sum() + risk.margin[at])
    return Bound.check(
        f"task of {S.size} classes, K = {K}",
        fixed_task_risk(population, task),
        lambda: R / float(-np.expm1(K * np.log1p(-pi.min()))),
        source=HERE,
        assumptions=[Assumption("K >= 1", K >= 1, f"K = {K}")],
        trivial=math.log(S.size) + 2 * population.b2,
    )


def drawn_task_risk(population: Population, K: int, *, n_draws: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """E_T R_supv(T) over tasks drawn with K negatives that do not collide, and its standard error.

    The anchor's class given no collision has the weight pi_y (1 - pi_y)^K. n_draws: of T, in equal shares of the
    classes.
    """
    rng = generator(seed, "drawn_task_risk")
    K, pi, C = check_int(K, "K, the number of negatives,", low=1), population.prior, population.C
    with np.errstate(divide="ignore"):
        log = np.log(pi) + K * np.log1p(-pi)
    given = np.exp(log - scipy.special.logsumexp(log))
    m = math.ceil(check_int(n_draws, "n_draws", low=2 * C) / C)
    mean, variance = np.zeros(C), np.zeros(C)
    for y, rows in enumerate(population.rows):
        others = np.delete(np.arange(C), y)
        drawn = rng.choice(others, size=(m, K), p=pi[others] / pi[others].sum())
        inside = np.zeros((m, C), dtype=bool)
        inside[np.arange(m)[:, None], drawn] = True
        e = np.exp(population.scores[rows] - population.scores[rows, y][:, None])  # (n_y, C)
        tasks, times = np.unique(inside, axis=0, return_counts=True)
        lost = np.log1p(e @ tasks.T.astype(float)).mean(axis=0)  # (tasks,)
        mean[y] = times @ lost / m
        variance[y] = times @ (lost - mean[y]) ** 2 / (m - 1) / m
    return float(given @ mean), math.sqrt(float(given**2 @ variance))


def drawn_task_bound(
    population: Population, risk: ContrastiveRisk, K: int, *, n_draws: int = 2_000, seed: int = 0
) -> Bound:
    """E_T R_supv(T) <= (R_cont(K) - E ln(1 + Col)) / (1 - tau_K), the left side by draws, less four standard errors."""
    mean, error = drawn_task_risk(population, K, n_draws=n_draws, seed=seed)
    at = _place(risk, K)
    off = float(risk.value[at] + risk.margin[at]) - log_collision(population.prior, K)
    return Bound.check(
        f"tasks of the classes drawn, K = {K}",
        mean - SIGMAS * error,
        lambda: off / no_collision(population.prior, K),
        source=HERE,
        assumptions=[Assumption("a tuple without collisions exists", population.C >= 2, f"C = {population.C}")],
        trivial=math.log(min(K + 1, population.C)) + 2 * population.b2,
        certified=False,
    )


def _codes(population: Population, task: Sequence[Any]) -> Any:
    found = [np.flatnonzero(population.classes == label) for label in task]
    if len(task) < 2 or len(set(task)) != len(task) or any(place.size != 1 for place in found):
        known = ", ".join(map(str, population.classes[:12]))
        raise DataError(f"a task is two different classes or more of {known}; got {list(task)!r}")
    return np.sort(np.concatenate(found))


def _place(risk: ContrastiveRisk, K: int) -> int:
    found = np.flatnonzero(risk.K == K)
    if found.size == 0:
        raise DataError(f"the risk was computed for K = {', '.join(map(str, risk.K))}, not {K}; add it to the list")
    return int(found[0])


# -------------------------------------------------------------------------------------------------- one negative


@dataclass(frozen=True)
class OneNegative:
    """One negative under a convex loss of the margin.

    total: L; same, other: L_same, L_other. at_zero: l(0). tau: P(the negative is of the anchor's class). pairs: R_pair.
    deviation: s(f). lipschitz: Lip(l). beta: sqrt 2 Lip(l) tau / (1 - tau).
    """

    loss: Loss
    total: float
    same: float
    other: float
    at_zero: float
    tau: float
    pairs: float
    deviation: float
    lipschitz: float

    @property
    def beta(self) -> float:
        return math.sqrt(2) * self.lipschitz * self.tau / (1 - self.tau)

    def bounds(self) -> list[Bound]:
        """R_pair by the risk with collisions taken off; collisions by s(f); R_pair by L_other and s(f)."""
        source = "Arora et al. 2019, one negative"
        known = Assumption("convex loss of the margin", True, f"{self.loss}, l(0) = {self.at_zero:.4g}")
        spread = math.sqrt(2) * self.lipschitz * self.deviation
        return [
            Bound.check(
                "pairs of classes", self.pairs, lambda: (self.total - self.tau * self.at_zero) / (1 - self.tau),
                source=source, assumptions=[known],
            ),
            Bound.check(
                "cost of collisions", self.same - self.at_zero, lambda: spread, source=HERE, assumptions=[known]
            ),
            Bound.check(
                "pairs of classes, collisions by s(f)", self.pairs, lambda: self.other + self.beta * self.deviation,
                source=source, assumptions=[known],
            ),
        ]  # fmt: skip


def one_negative(population: Population, loss: Loss = "logistic") -> OneNegative:
    """The one-negative statement with everything in it measured; exact, O(n^2) times a logarithm.

    loss: "hinge", max(0, 1 - v); "log2", log2(1 + e^{-v}); "logistic", ln(1 + e^{-v}).
    """
    if loss not in ("hinge", "logistic", "log2"):
        raise DataError(f"loss must be hinge, logistic or log2, got {loss!r}")
    pi, unit = population.prior, 1 / math.log(2) if loss == "log2" else 1.0
    tau = float(pi @ pi)
    if loss == "hinge":
        same, other = _hinge(population)
    else:
        same_c, other_c = (contrastive_risk(population, 1, negatives=of).by_class[:, 0] for of in ("same", "other"))
        same, other = unit * same_c, unit * other_c
    L_same, L_other = float(pi**2 @ same) / tau, float(pi * (1 - pi) @ other) / (1 - tau)
    nu = pi**2 / tau
    deviation = sum(
        float(n) * math.sqrt(_top(population.F[rows])) * float(np.linalg.norm(population.F[rows], axis=1).mean())
        for n, rows in zip(nu, population.rows, strict=True)
    )
    return OneNegative(
        loss=loss,
        total=(1 - tau) * L_other + tau * L_same,
        same=L_same,
        other=L_other,
        at_zero=1.0 if loss == "hinge" else unit * math.log(2),
        tau=tau,
        pairs=_pairs(population, loss, unit),
        deviation=deviation,
        lipschitz=1.0 if loss == "hinge" else unit,
    )


def _top(F: Array) -> float:
    """|Cov|_2 of rows, divided by their number."""
    centred = F - F.mean(axis=0)
    if centred.shape[0] < centred.shape[1]:
        centred = centred.T
    return max(0.0, float(linalg.eigh(centred.T @ centred / F.shape[0])[0].max()))


def _pairs(population: Population, loss: Loss, unit: float) -> float:
    """R_pair: ordered pairs of distinct classes by pi_c pi_q, anchors of c."""
    pi, total = population.prior, 0.0
    for c, rows in enumerate(population.rows):
        v = population.scores[rows, c][:, None] - population.scores[rows]
        lost = np.maximum(0.0, 1 - v) if loss == "hinge" else unit * np.logaddexp(0.0, -v)
        mean = lost.mean(axis=0)
        total += float(pi[c] * (pi @ mean - pi[c] * mean[c]))
    return total / (1 - float(pi @ pi))


def _hinge(population: Population) -> tuple[Array, Array]:
    """E max(0, 1 + f.f- - f.f+) by class of the anchor (C,): negatives of its class, and of the others.

    Anchor by anchor, with negatives sorted: sum_k w_k max(0, s_k - v) is a suffix sum, v = f.f+ - 1.
    """
    F, w, C = population.F, population.weights, population.C
    same, other = np.zeros(C), np.zeros(C)
    for c, rows in enumerate(population.rows):
        off = w.copy()
        off[rows] = 0.0
        off /= off.sum()
        size = max(1, BLOCK // population.n)
        for start in range(rows.start, rows.stop, size):
            S = F[start : min(start + size, rows.stop)] @ F.T
            for s in S:
                v = s[rows] - 1
                own = np.full(v.size, 1 / v.size)
                same[c] += _excess(s[rows], own, v).mean()
                other[c] += _excess(s, off, v).mean()
        same[c] /= population.counts[c]
        other[c] /= population.counts[c]
    return same, other


def _excess(s: Array, w: Array, v: Array) -> Array:
    """sum_k w_k max(0, s_k - v_j) for each v_j."""
    order = np.argsort(s)
    sorted_s, sorted_w = s[order], w[order]
    weight = np.concatenate([np.cumsum(sorted_w[::-1])[::-1], [0.0]])
    moment = np.concatenate([np.cumsum((sorted_w * sorted_s)[::-1])[::-1], [0.0]])
    at = np.searchsorted(sorted_s, v)
    found: Array = moment[at] - v * weight[at]
    return found
