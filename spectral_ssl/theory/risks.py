"""The contrastive risk of labelled features, exact for every number of negatives at once, and what it is made of.

A finite sample is the population: rows f(x_1) .. f(x_n) in C classes, a prior pi, and row i of class c has the weight
w_i = pi_c / n_c. An anchor x is drawn by w, its positive x+ from the same class (it may be x itself), K negatives by w,
independently and with replacement, collisions allowed. Natural logarithms; a temperature T divides all scores, as if f
were f / sqrt T:

    R_cont(K) = E[ ln( e^{f(x).f(x+)} + sum_k e^{f(x).f(x_k)} ) - f(x).f(x+) ]
    R_supv    = E[ ln sum_c e^{s_c(x)} - s_y(x) ],    s_c(x) = f(x).mu_c,    mu_c = E_{x of c} f(x)

**Exactly, in O(n^2) whatever K.** With ln Z = int_0^inf (e^{-t} - e^{-tZ}) dt/t and negatives that are i.i.d. given x,

    E e^{-tZ} = E_x psi_x(t) phi_x(t)^K,    phi_x(t) = E_{x-} exp(-t e^{f(x).f(x-)}),    psi_x the same over positives

so that one pass over all pairs for each node t serves every K. In u = ln t, nodes h apart:

    quadrature   at most 4 sum_{m >= 1} |Gamma(2 pi i m / h)|, |Gamma(iw)|^2 = pi / (w sinh(pi w)): by Poisson's
                 summation, the Fourier transform of exp(-e^u) - exp(-e^u Z) being Gamma(iw) (1 - Z^{-iw})
    left end     nodes below t_0 are summed with e^{-t} - e^{-tZ} = t (Z - 1), wrong by at most t^2 max(1, Z^2) / 2
    right end    E e^{-tZ} falls with t, and is dropped where what is left of it cannot matter

All three are added up in `ContrastiveRisk.error`, beside an allowance for rounding, that of the scores among it: d eps
b^2 each, b^2 = max |f|^2. Scores are shifted, anchor by anchor, so that the largest is 0.

**What it is made of.** The risk of class means in place of the positive and the negatives,

    J_K = E ln( 1 + Col + sum_{q != y} n_q e^{-(s_y - s_q)} ) <= R_cont(K)

by convexity of ln(1 + sum e^{v_k}) in v (Jensen): R_cont = J_K + noise. J_K is computed by the same integral, over
classes instead of rows. And with D = E s_y - E sum_c pi_c s_c >= 0, the spread of the class means, and J = E[ln sum_c
e^{s_c} - sum_c pi_c s_c], R_supv = J - D.

Derived here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import scipy.special

from spectral_ssl.data._checks import as_labels, check_int, check_real, frozen, generator, missing_labels
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.theory._numbers import as_numbers
from spectral_ssl.theory._priors import as_prior, is_uniform

__all__ = [
    "ContrastiveRisk",
    "Population",
    "class_mean_risk",
    "contrastive_risk",
    "population",
    "supervised_risk",
]

STEP = 0.35  # h, of the nodes in log t: its quadrature error is 2e-12
DROPPED = 1e-13  # what an end of the integral may leave out
MAX_SPREAD = 600.0  # nats between two scores of an anchor: e^{-spread} is a number still, in some 1,800 nodes
BLOCK = 2**16  # scores held at once: half a MiB, which stays in a core's cache from node to node
DRAWN = 2**22  # numbers held at once by the Monte-Carlo road
SIGMAS = 4.0  # standard errors that a sampled risk is moved by before a bound is judged by it

LAW = "negatives i.i.d. from the sample, with replacement, collisions allowed; the positive may be the anchor itself"
Negatives = Literal["all", "same", "other"]


@dataclass(frozen=True, eq=False)
class Population:
    """Labelled features as the population that risks are over, rows sorted by class; `population` makes one.

    F (n, d): scaled by 1 / sqrt T, of unit length before that where `normalized`. codes (n,): 0 .. C - 1, ascending.
    counts (C,), prior (C,), classes (C,): their labels. order (n,): the row of Z that each row was.
    """

    F: Array
    codes: Any
    counts: Any
    prior: Array
    classes: Any
    order: Any
    temperature: float
    normalized: bool

    @property
    def C(self) -> int:
        return int(self.prior.size)

    @property
    def n(self) -> int:
        return int(self.F.shape[0])

    @property
    def uniform(self) -> bool:
        return is_uniform(self.prior)

    @cached_property
    def rows(self) -> tuple[slice, ...]:
        """The rows of each class."""
        ends = [0, *np.cumsum(self.counts).tolist()]
        return tuple(slice(a, b) for a, b in itertools.pairwise(ends))

    @cached_property
    def weights(self) -> Array:
        """w (n,): pi_c / n_c."""
        found: Array = (self.prior / self.counts)[self.codes]
        return found

    @cached_property
    def means(self) -> Array:
        """mu (C, d), not made unit length again."""
        return np.array([self.F[rows].mean(axis=0) for rows in self.rows])

    @cached_property
    def scores(self) -> Array:
        """s (n, C): f(x).mu_c."""
        found: Array = self.F @ self.means.T
        return found

    @cached_property
    def b2(self) -> float:
        """max |f(x)|^2, the temperature included: b^2 of every formula, from the features themselves."""
        return float(np.einsum("nd,nd->n", self.F, self.F).max())

    @cached_property
    def spread(self) -> float:
        """D = E s_y - E sum_c pi_c s_c = sum_c pi_c |mu_c|^2 - |sum_c pi_c mu_c|^2."""
        return float(((self.means - self.prior @ self.means) ** 2).sum(axis=1) @ self.prior)

    @cached_property
    def log_sum(self) -> float:
        """J = E[ln sum_c e^{s_c} - sum_c pi_c s_c]."""
        return float(self.weights @ (scipy.special.logsumexp(self.scores, axis=1) - self.scores @ self.prior))

    @cached_property
    def accuracy(self) -> float:
        """Of the mean classifier argmax_c f(x).mu_c, rows weighted by w; ties to the first."""
        return float(self.weights @ (self.scores.argmax(axis=1) == self.codes))


def population(
    Z: Any,
    y: Any,
    *,
    normalize: bool = True,
    temperature: float = 1.0,
    prior: Literal["uniform", "empirical"] | Sequence[float] | Array = "uniform",
) -> Population:
    """Features Z (n, d) and labels y (n,) as a population.

    normalize: bring every row to length 1 (rows of zeros stay). temperature: T, by which all scores are divided. prior:
    "uniform" over the classes, "empirical" for their shares of the rows, or a number for each class in sorted order.

    Raises DataError for Z that is not a finite matrix, labels that are missing, continuous or all alike, and priors of
    another length or sum.
    """
    F = as_numbers(Z, "Z")
    if F.ndim != 2 or 0 in F.shape:
        raise DataError(f"Z must have two axes (n, d), got shape {F.shape}")
    if not np.all(np.isfinite(F)):
        raise DataError(f"Z holds {np.count_nonzero(~np.isfinite(F))} NaN or infinite values")
    T = check_real(temperature, "temperature", low=0, open_low=True)
    labels = as_labels(y, F.shape[0], "labels")
    if labels.dtype.kind == "f":
        raise DataError("y holds continuous targets; pass classes as whole numbers or text")
    if n_missing := int(np.count_nonzero(missing_labels(labels))):
        raise DataError(f"y lacks {n_missing} labels; leave those rows out")
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if classes.size < 2:
        raise DataError(f"all {labels.size} labels are '{classes[0]}'; risks compare classes, so two are needed")
    if isinstance(prior, str):
        if prior not in ("uniform", "empirical"):
            raise DataError(f"prior must be uniform, empirical, or a number for each class, got {prior!r}")
        pi = as_prior(classes.size) if prior == "uniform" else counts / counts.sum()
    else:
        pi = as_prior(prior)
        if pi.size != classes.size:
            raise DataError(f"the prior has {pi.size} numbers for {classes.size} classes; one for each is needed")
    if normalize:
        with np.errstate(over="ignore"):
            size = np.abs(F).max(axis=1, keepdims=True)  # rows of any unit, before they are squared
        F = F / np.where(size > 0, size, 1.0)
        length = np.linalg.norm(F, axis=1, keepdims=True)
        F = F / np.where(length > 0, length, 1.0)
    order = np.argsort(codes, kind="stable")
    F = F[order] / math.sqrt(T)
    return Population(
        frozen(F), codes[order], counts, frozen(np.asarray(pi, dtype=np.float64)), classes, order, T, bool(normalize)
    )


@dataclass(frozen=True, eq=False)
class ContrastiveRisk:
    """R_cont for several K.

    K (k,), value (k,). error (k,): a proven limit of |value - true| for kind "exact" (rounding allowed for), one
    standard error for "monte_carlo". by_class (C, k): the risk of anchors of each class, whose mean by the prior is
    value. law: how negatives are drawn.
    """

    K: Any
    value: Array
    error: Array
    by_class: Array
    kind: Literal["exact", "monte_carlo"]
    law: str = LAW

    @property
    def margin(self) -> Array:
        """How far the true value can be from `value`: the proven error, or four standard errors."""
        return self.error if self.kind == "exact" else SIGMAS * self.error


def contrastive_risk(
    population: Population,
    K: int | Sequence[int],
    *,
    method: Literal["exact", "monte_carlo"] = "exact",
    negatives: Negatives = "all",
    n_draws: int = 20_000,
    seed: int = 0,
) -> ContrastiveRisk:
    """R_cont of K negatives, for one K or several.

    method: "exact", O(n^2) for all K together; "monte_carlo", O(n_draws max K d), the first k of max K negatives
    serving every k. negatives: "all" drawn by w; "same" from the anchor's class, "other" from outside it, which split
    the risk by collisions (exact only). n_draws, seed: of Monte Carlo, anchors in equal shares from the classes.

    Raises DataError for K below 1, and where scores spread so far that the integral would take too many nodes.
    """
    if not isinstance(population, Population):
        raise DataError(f"risks are of a Population, as theory.population(Z, y) makes, got {type(population).__name__}")
    ks = check_negatives(K)
    if method == "monte_carlo":
        if negatives != "all":
            raise DataError("negatives of the same or of other classes are drawn by the exact method only")
        return _monte_carlo(population, ks, check_int(n_draws, "n_draws", low=2 * population.C), seed)
    if method != "exact":
        raise DataError(f"method must be exact or monte_carlo, got {method!r}")
    if negatives not in ("all", "same", "other"):
        raise DataError(f"negatives must be all, same or other, got {negatives!r}")
    F, w = population.F, population.weights
    by_class = np.zeros((population.C, ks.size))
    error = np.zeros(ks.size)
    for c, rows in enumerate(population.rows):
        weights = w
        if negatives != "all":
            weights = w.copy()
            if negatives == "same":
                weights[: rows.start], weights[rows.stop :] = 0.0, 0.0
            else:
                weights[rows] = 0.0
            weights /= weights.sum()
        for block in _blocks(rows, population.n):
            S = F[block] @ F.T
            value, wrong = expected_log(S, weights, rows, ks)
            by_class[c] += (value - S[:, rows].mean(axis=1)[:, None]).sum(axis=0) / population.counts[c]
            error = np.maximum(error, wrong)
    error += _score_rounding(population)
    return ContrastiveRisk(ks, population.prior @ by_class, error, by_class, "exact")


def class_mean_risk(population: Population, K: int | Sequence[int]) -> ContrastiveRisk:
    """J_K: the contrastive risk with class means in place of the positive and of the negatives; exact."""
    ks = check_negatives(K)
    by_class, error = np.zeros((population.C, ks.size)), np.zeros(ks.size)
    for c, rows in enumerate(population.rows):
        for block in _blocks(rows, population.C):
            S = population.scores[block]
            value, wrong = expected_log(S, population.prior, slice(c, c + 1), ks)
            by_class[c] += (value - S[:, [c]]).sum(axis=0) / population.counts[c]
            error = np.maximum(error, wrong)
    error += _score_rounding(population)
    return ContrastiveRisk(ks, population.prior @ by_class, error, by_class, "exact", "class means as negatives")


def _score_rounding(population: Population) -> float:
    """What rounding of the scores, at most b^2 = max |f|^2, moves a risk by: two sums of d products, and their means.

    32: the pairwise sums of a mean over rows, and the shift that is added and taken off.
    """
    d = int(population.F.shape[1])
    return (2 * d + 32) * float(np.finfo(float).eps) * population.b2


def supervised_risk(population: Population, *, means: Any = None) -> float:
    """R_supv of the mean classifier over all classes: exact. means (C, d): of other rows, such as those trained on."""
    S = population.scores
    if means is not None:
        mu = as_numbers(means, "means")
        if mu.shape != population.means.shape:
            raise DataError(f"means have shape {mu.shape}, expected {population.means.shape}: one row for each class")
        S = population.F @ mu.T
    own = S[np.arange(population.n), population.codes]
    return float(population.weights @ (scipy.special.logsumexp(S, axis=1) - own))


def check_negatives(K: Any) -> Any:
    """K as an array of whole numbers from 1 on."""
    try:
        found = [K] if isinstance(K, int | np.integer) else list(K)
    except TypeError:
        raise DataError(f"K must be whole numbers of negatives, got {type(K).__name__}") from None
    if not found:
        raise DataError("K must name at least one number of negatives")
    return np.array([check_int(k, "K, the number of negatives,", low=1) for k in found])


# -------------------------------------------------------------------------------------------------- the integral


def quadrature_error(step: float = STEP) -> float:
    """4 sum_{m >= 1} |Gamma(2 pi i m / h)|: what the trapezoid rule can be wrong by, for any Z."""
    omega = 2 * np.pi * np.arange(1, 9) / step
    return float(
        4 * (np.sqrt(2 * np.pi / omega) * np.exp(-np.pi * omega / 2) / np.sqrt(-np.expm1(-2 * np.pi * omega))).sum()
    )


def expected_log(
    S: Array,  # (B, m) scores of anchors with everything there is
    w: Array,  # (m,) law of a negative
    own: slice,  # of columns: a positive is one of them, with equal chances
    K: Any,  # (k,)
    *,
    step: float = STEP,
) -> tuple[Array, Array]:
    """E ln(e^{s+} + sum_{k <= K} e^{s_k}) for each anchor (B, k), and a proven limit of the error (k,)."""
    spread = float(np.ptp(S, axis=1).max())
    if spread > MAX_SPREAD:
        raise DataError(
            f"scores spread over {spread:,.0f} nats, past the {MAX_SPREAD:,.0f} that the exact risk is computed for; "
            "normalise the features, raise the temperature, or use Monte Carlo (--exact-rows 0, method='monte_carlo')"
        )
    shift = S.max(axis=1, keepdims=True)
    P = np.exp(S - shift)  # (B, m), at most 1: Z is at most K + 1
    EZ = P[:, own].mean(axis=1)[:, None] + K * (P @ w)[:, None]
    most = float(K.max() + 1)
    u = 0.5 * math.log(2 * DROPPED) - math.log(most)
    last = math.log(-math.log(DROPPED)) + spread  # Z is at least e^{-spread}: e^{-tZ} <= DROPPED from there on
    n_nodes = math.ceil((last - u) / step)
    total = np.zeros_like(EZ)
    E = np.empty_like(P)
    right = 0.0
    for node in range(n_nodes):
        t = math.exp(u + node * step)
        np.multiply(P, -t, out=E)
        np.exp(E, out=E)
        phi, psi = E @ w, E[:, own].mean(axis=1)
        left_over = psi[:, None] * phi[:, None] ** K
        reference = math.exp(-t)
        total += reference - left_over
        right = float(left_over.max()) * step * (n_nodes - node - 1)  # it falls with t
        if reference < DROPPED and right < DROPPED:
            break
    tail = math.exp(u - step) / -math.expm1(-step) * (EZ - 1)  # sum of e^{u - j h}, j >= 1
    left = step * (math.exp(u - step) * most) ** 2 / (2 * -math.expm1(-2 * step))
    rounding = 4 * np.finfo(float).eps * (K + 1) * (n_nodes * step)
    error = quadrature_error(step) + left + right + 2 * step * DROPPED + rounding
    return shift + step * (total + tail), error


def _blocks(rows: slice, columns: int) -> Iterator[slice]:
    """Rows of a class, so many at once that scores with `columns` others stay in cache."""
    size = max(1, BLOCK // max(1, columns))
    for start in range(rows.start, rows.stop, size):
        yield slice(start, min(start + size, rows.stop))


# --------------------------------------------------------------------------------------------------- Monte Carlo


def _monte_carlo(population: Population, ks: Any, n_draws: int, seed: int) -> ContrastiveRisk:
    rng = generator(seed, "contrastive_risk")
    F, most, C = population.F, int(ks.max()), population.C
    cumulative = np.cumsum(population.prior)
    starts = np.array([rows.start for rows in population.rows])
    m = math.ceil(n_draws / C)
    chunk = max(1, DRAWN // (most * F.shape[1]))
    by_class, variance = np.zeros((C, ks.size)), np.zeros((C, ks.size))
    for c, rows in enumerate(population.rows):
        kept = []
        for start in range(0, m, chunk):
            B = min(chunk, m - start)
            anchor, positive = rng.integers(rows.start, rows.stop, (2, B))
            drawn = np.minimum(np.searchsorted(cumulative, rng.random((B, most)), side="right"), C - 1)
            negative = starts[drawn] + (rng.random((B, most)) * population.counts[drawn]).astype(np.int64)
            s_plus = np.einsum("bd,bd->b", F[anchor], F[positive])
            s = np.einsum("bd,bkd->bk", F[anchor], F[negative])
            log = np.logaddexp.accumulate(np.column_stack([s_plus, s]), axis=1)
            kept.append(log[:, ks] - s_plus[:, None])
        drawn_risks = np.concatenate(kept)
        by_class[c] = drawn_risks.mean(axis=0)
        variance[c] = drawn_risks.var(axis=0, ddof=1) / m
    error = np.sqrt(population.prior**2 @ variance)
    return ContrastiveRisk(ks, population.prior @ by_class, error, by_class, "monte_carlo")
