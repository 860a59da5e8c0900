"""The surrogate gap: risks against enumeration, limits over random features, constants against exact arithmetic.

Witnesses: sums over all tuples written out, integers and fractions, scipy's distributions and minimisers.
"""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from measure import Record, agree

from spectral_ssl.errors import DataError
from spectral_ssl.theory import (
    Population,
    class_mean_risk,
    collision_probability,
    constants,
    contrastive_risk,
    coverage,
    drawn_task_bound,
    drawn_task_risk,
    expected_draws,
    fixed_task_bound,
    fixed_task_risk,
    ideal_contrastive,
    ideal_supervised,
    in_batch_collisions,
    intercepts,
    log_collision,
    log_sum_gap,
    one_negative,
    population,
    supervised_risk,
    surrogate_bounds,
    yardsticks,
)
from spectral_ssl.theory.collisions import no_collision
from spectral_ssl.theory.gaps import log_cosh, log_specht
from spectral_ssl.theory.risks import expected_log, quadrature_error
from spectral_ssl.training.negatives import sampled_negatives

ROUNDING = 1e-10  # sums of a few thousand terms of order one to a hundred in float64
INTEGRAL = 1e-11  # proven error of the integral and rounding of the enumeration
INSIDE = 1e-9  # a limit that holds with equality is met up to the errors of both sides
SIGMAS = 5.0  # standard errors: a test in two million fails by chance
KS = (1, 2, 3, 7, 20, 100, 512)


def features(seed: int, C: int = 3, per: int = 4, d: int = 3, spread: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Clusters about random centres; classes of unequal sizes, not sorted."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.full(per + c % 2, c) for c in range(C)])
    rng.shuffle(y)
    return rng.standard_normal((C, d))[y] + spread * rng.standard_normal((y.size, d)), y


def simplex(C: int) -> np.ndarray:
    """C unit vectors at cosine -1/(C - 1)."""
    return (np.eye(C) - 1 / C) / math.sqrt(1 - 1 / C)


# --- the same by enumeration ------------------------------------------------------------------------------------------


def weights(P: Population) -> np.ndarray:
    return np.array([P.prior[c] / np.count_nonzero(P.codes == c) for c in P.codes])


def tuples(n: int, K: int) -> np.ndarray:
    return np.array(list(itertools.product(range(n), repeat=K)))


def naive_contrastive(P: Population, K: int, by_class: bool = False) -> float | np.ndarray:
    """R_cont as a sum over all anchors, positives and tuples of negatives."""
    F, w = P.F, weights(P)
    negatives = tuples(P.n, K)
    chance = w[negatives].prod(axis=1)
    found = np.zeros(P.C)
    for i in range(P.n):
        s = F @ F[i]
        own = np.flatnonzero(P.codes == P.codes[i])
        for j in own:
            loss = np.log(np.exp(s[j]) + np.exp(s[negatives]).sum(axis=1)) - s[j]
            found[P.codes[i]] += chance @ loss / own.size / own.size
    return found if by_class else float(P.prior @ found)


def naive_class_means(P: Population, K: int) -> float:
    """J_K: every tuple of classes, and class means as positive and negatives."""
    mu = np.array([P.F[P.codes == c].mean(axis=0) for c in range(P.C)])
    classes = tuples(P.C, K)
    chance = P.prior[classes].prod(axis=1)
    total = 0.0
    for i, w in enumerate(weights(P)):
        s = mu @ P.F[i]
        y = P.codes[i]
        total += w * float(chance @ (np.log(np.exp(s[y]) + np.exp(s[classes]).sum(axis=1)) - s[y]))
    return total


def naive_supervised(P: Population, task: tuple[int, ...] | None = None) -> float:
    task = tuple(range(P.C)) if task is None else task
    mu = np.array([P.F[P.codes == c].mean(axis=0) for c in range(P.C)])
    total, mass = 0.0, 0.0
    for i, w in enumerate(weights(P)):
        if P.codes[i] in task:
            s = mu[list(task)] @ P.F[i]
            total += w * (np.log(np.exp(s).sum()) - s[task.index(int(P.codes[i]))])
            mass += w
    return float(total / mass)


# --- G1, G8: the risks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [5.0, 1.0, 0.1, 0.02])
@pytest.mark.parametrize("normalize", [True, False])
def test_G1_the_integral_is_the_sum_over_all_tuples(
    record_property: Record, temperature: float, normalize: bool
) -> None:
    """Two unequal classes, K = 1, 2, 3 in one call; the proven error holds."""
    Z, y = features(0, C=2, per=3)
    P = population(Z, y, prior=[0.3, 0.7], temperature=temperature, normalize=normalize)
    found = contrastive_risk(P, [1, 2, 3])
    expected = np.array([naive_contrastive(P, K) for K in (1, 2, 3)])
    agree(record_property, found.value, expected, INTEGRAL, scale=np.maximum(np.abs(expected), 1.0))
    assert np.all(np.abs(found.value - expected) <= found.error + 1e-13 * np.abs(expected))
    assert found.error.max() < 1e-11
    per_class = naive_contrastive(P, 2, by_class=True)
    agree(record_property, found.by_class[:, 1], per_class, INTEGRAL, scale=np.maximum(np.abs(per_class), 1.0))


@pytest.mark.parametrize("step", [0.4, 0.5, 0.7, 1.0])
def test_G1_the_quadrature_error_is_within_its_proven_limit_and_of_its_size(
    record_property: Record, step: float
) -> None:
    """K = 1, a single pair of scores: ln(e^a + e^b), for many b; the limit is reached to a factor of 10."""
    limit = quadrature_error(step)
    worst = 0.0
    for b in np.linspace(0, 3, 13):
        value, error = expected_log(np.array([[0.0, -b]]), np.array([0.0, 1.0]), slice(0, 1), np.array([1]), step=step)
        gap = abs(float(value[0, 0]) - math.log1p(math.exp(-b)))
        assert gap <= float(error[0])
        worst = max(worst, gap)
    assert worst <= 1.01 * limit + 1e-11
    assert worst >= 0.1 * limit - 1e-11
    record_property("gap", worst)


def test_a_million_negatives_cost_no_more_and_are_allowed_for() -> None:
    """One score for all negatives: R_cont = ln(1 + K e^{v}) exactly, to K = 10^6, where the rounding is allowed for."""
    Z = np.array([[1.0, 0.0], [0.0, 1.0]])
    P = population(np.repeat(Z, 2, axis=0), [0, 0, 1, 1])
    ks = [1, 10, 1000, 10**6]
    m = [np.arange(K + 1) for K in ks]
    expected = [
        float(scipy.stats.binom.pmf(k, K, 0.5) @ np.log1p(k + (K - k) * math.exp(-1)))
        for k, K in zip(m, ks, strict=True)
    ]
    found = contrastive_risk(P, ks)
    assert np.all(np.abs(found.value - expected) <= found.error + 1e-9)
    assert found.error[-1] < 1e-7


@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6])
def test_rounding_of_large_scores_is_within_the_error(offset: float) -> None:
    """Features far from the origin: scores of offset^2, of which differences alone count, taken before the products."""
    Z, y = features(4)
    P = population(Z / offset + offset, y, normalize=False)
    w, total = weights(P), 0.0
    for i in range(P.n):
        own = np.flatnonzero(P.codes == P.codes[i])
        margins = (P.F[own][:, None] - P.F) @ P.F[i]
        total += w[i] * float((np.log1p(np.exp(-margins)) @ w).mean())
    risk = contrastive_risk(P, 1)
    assert abs(risk.value[0] - total) <= risk.error[0]


def test_monte_carlo_is_within_its_standard_errors_and_seeded() -> None:
    Z, y = features(1, C=4, per=8)
    P = population(Z, y, prior="empirical", temperature=0.3)
    exact = contrastive_risk(P, [1, 5, 40])
    drawn = contrastive_risk(P, [1, 5, 40], method="monte_carlo", n_draws=4000, seed=3)
    assert np.all(np.abs(drawn.value - exact.value) <= SIGMAS * drawn.error)
    assert np.all(drawn.error < 0.05)
    assert np.all(drawn.margin == 4 * drawn.error)
    again = contrastive_risk(P, [1, 5, 40], method="monte_carlo", n_draws=4000, seed=3)
    assert np.array_equal(again.value, drawn.value)
    other = contrastive_risk(P, [1, 5, 40], method="monte_carlo", n_draws=4000, seed=4)
    assert not np.array_equal(other.value, drawn.value)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_G8_class_means_lower_the_risk(record_property: Record, temperature: float) -> None:
    """J_K by its integral is the sum over all tuples of classes, below R_cont and above E ln(1 + Col)."""
    Z, y = features(2)
    P = population(Z, y, prior=[0.5, 0.3, 0.2], temperature=temperature)
    expected = [naive_class_means(P, K) for K in (1, 2, 4)]
    agree(record_property, class_mean_risk(P, [1, 2, 4]).value, expected, INTEGRAL)
    R, J = contrastive_risk(P, KS).value, class_mean_risk(P, KS).value
    assert np.all(R > J)
    least = np.array([log_collision(P.prior, K) for K in KS])
    assert np.all(least - INSIDE <= J)


def test_risks_of_weighted_rows_are_those_of_repeated_rows() -> None:
    """A prior twice as large for a class is that class twice in the sample, under the empirical prior."""
    Z, y = np.eye(3)[[0, 1, 1, 2]] + 0.3, np.array([0, 1, 1, 2])
    P = population(Z, y, prior=[0.25, 0.5, 0.25])
    twice = population(np.vstack([Z, Z[:1], Z[3:]]), [0, 1, 1, 2, 0, 2], prior="uniform")
    assert contrastive_risk(P, 2).value != pytest.approx(contrastive_risk(twice, 2).value, rel=1e-3)
    empirical = population(Z, y, prior="empirical")
    assert contrastive_risk(P, [1, 3]).value == pytest.approx(contrastive_risk(empirical, [1, 3]).value, rel=1e-13)
    assert supervised_risk(P) == pytest.approx(naive_supervised(P), rel=1e-12)


def test_the_batch_loss_of_sampled_negatives_estimates_the_risk_without_bias() -> None:
    """Written out with loops on one batch; its mean over many batches of i.i.d. pairs is R_cont(K)."""
    rng = np.random.default_rng(5)
    za, zb = rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (za, zb)]
    losses = []
    for i in range(6):
        s = [float(unit[0][i] @ unit[1][(i + k) % 6]) / 0.5 for k in range(4)]
        losses.append(math.log(sum(map(math.exp, s))) - s[0])
    loss = sampled_negatives(3, temperature=0.5)(torch.tensor(za), torch.tensor(zb))
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-12)
    raw = sampled_negatives(3, normalize=False)(torch.tensor(za), torch.tensor(zb))
    assert float(raw) != pytest.approx(float(sampled_negatives(3)(torch.tensor(za), torch.tensor(zb))), rel=1e-3)
    with pytest.raises(DataError, match="at least 7 pairs, got 6"):
        sampled_negatives(6)(torch.tensor(za), torch.tensor(zb))
    Z, y = features(6, C=3, per=5)
    P = population(Z, y, prior="empirical")
    means = []
    for _ in range(400):
        anchor = rng.integers(0, P.n, 16)
        positive = [int(rng.choice(np.flatnonzero(P.codes == P.codes[i]))) for i in anchor]
        means.append(float(sampled_negatives(4)(torch.tensor(P.F[anchor]), torch.tensor(P.F[positive]))))
    assert abs(np.mean(means) - contrastive_risk(P, 4).value[0]) < SIGMAS * np.std(means) / math.sqrt(len(means))


# --- G2 to G7: the limits ---------------------------------------------------------------------------------------------


@st.composite
def populations(draw: st.DrawFn) -> Population:
    """Random, clustered, collapsed or adversarial features, any prior, norm and temperature."""
    C = draw(st.integers(2, 5))
    counts = draw(st.lists(st.integers(1, 4), min_size=C, max_size=C))
    seed, d = draw(st.integers(0, 10**6)), draw(st.integers(1, 4))
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(C), counts)
    centres = rng.standard_normal((C, d)) * draw(st.sampled_from([0.0, 1.0, 3.0]))
    Z = centres[y] + rng.standard_normal((y.size, d)) * draw(st.sampled_from([0.0, 0.3, 1.0]))
    if draw(st.booleans()):  # labels that the features contradict
        y = rng.permutation(y)
    prior = rng.dirichlet(np.ones(C)) * 0.9 + 0.1 / C if draw(st.booleans()) else "uniform"
    temperature = draw(st.sampled_from([5.0, 1.0, 0.2, 0.05]))
    P = population(Z, y, normalize=draw(st.booleans()), temperature=temperature, prior=prior)
    assume(P.b2 < 290)  # scores spread over twice that
    return P


@given(P=populations())
@settings(max_examples=60)
def test_no_limit_is_ever_violated_over_random_features(P: Population) -> None:
    report = surrogate_bounds(P, KS)
    assert report.supervised == pytest.approx(naive_supervised(P), rel=1e-9, abs=1e-12)
    assert report.violated() == []
    for bound in (b for found in report.bounds for b in found.values() if b.legal):
        scale = max(1.0, abs(bound.limit))
        assert (bound.slack or 0.0) >= -INSIDE * scale, str(bound)
    sticks = report.yardsticks
    assert sticks.floor - INSIDE <= report.supervised <= sticks.ceiling + INSIDE <= sticks.score_ceiling + 2 * INSIDE
    assert report.supervised == pytest.approx(report.log_sum - report.spread, abs=1e-9 * max(1.0, P.b2))


def published(pi: np.ndarray, K: int, b2: float) -> tuple[float, float]:
    """Delta_L and Delta_U as printed, for the tests alone."""
    H, C = float(-(pi * np.log(pi)).sum()), pi.size
    cosh = b2 + math.log1p(math.exp(-2 * b2)) - math.log(2)
    return H + math.log(K) - 2 * math.log(K + 1) - 2 * cosh, math.log(pi.max() * C**2 / K) + 2 * cosh


@pytest.mark.parametrize("prior", ["uniform", "empirical", [0.7, 0.2, 0.1]])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_G2_the_band_holds_for_the_enumerated_risk(record_property: Record, prior: object, temperature: float) -> None:
    """R_supv inside the published intercepts round the sum over all tuples; the code has those intercepts."""
    Z, y = features(3)
    P = population(Z, y, prior=prior, temperature=temperature)  # type: ignore[arg-type]
    S = naive_supervised(P)
    found = []
    for K in (1, 2, 3):
        R = naive_contrastive(P, K)
        low, high = published(P.prior, K, 1 / temperature)
        i = intercepts(P.prior, K, P.b2)
        found += [i.lower - low, i.upper - high]
        assert R + low <= S <= R + high
    agree(record_property, found, np.zeros(6), ROUNDING, scale=1.0)


DELTAS = {  # C, K -> Delta_L, Delta_U at b2 = 1, three decimals
    (10, 1): (0.049, 3.170), (10, 16): (-1.459, 0.398), (10, 512): (-4.807, -3.068),
    (100, 1): (2.351, 5.473), (100, 16): (0.844, 2.700), (100, 512): (-2.505, -0.766),
    (3029, 1): (5.762, 8.884), (3029, 16): (4.255, 6.111), (3029, 512): (0.906, 2.645),
}  # fmt: skip


@pytest.mark.parametrize(("size", "expected"), DELTAS.items())
def test_G2_intercepts_of_the_uniform_prior(
    record_property: Record, size: tuple[int, int], expected: tuple[float, float]
) -> None:
    """ln C + ln(K/(K+1)^2) - 2 ln cosh 1 and ln(C/K) + 2 ln cosh 1, and the known three decimals."""
    C, K = size
    i = intercepts(C, K)
    exact = [
        math.log(C) + math.log(K / (K + 1) ** 2) - 2 * math.log(math.cosh(1)),
        math.log(C / K) + 2 * math.log(math.cosh(1)),
    ]
    agree(record_property, [i.lower, i.upper], exact, ROUNDING, scale=1.0)
    assert [i.lower, i.upper] == pytest.approx(expected, abs=5.1e-4)  # three decimals
    assert i.width == pytest.approx(2 * math.log1p(1 / K) + 4 * math.log(math.cosh(1)), abs=ROUNDING)


def test_G3_specht_is_the_largest_gap_of_log_mean_and_mean(record_property: Record) -> None:
    """ln E e^s - E s over two-point laws on [-a, a] by scipy; Kantorovich's constant is never below; 0.474 at a = 1."""
    gaps = []
    for a in (1e-3, 0.3, 1.0, 4.0, 30.0):
        best = scipy.optimize.minimize_scalar(
            lambda p, a=a: a * (2 * p - 1) - (a + math.log(p + (1 - p) * math.exp(-2 * a))),
            bounds=(0, 1), method="bounded", options={"xatol": 1e-12},
        )  # fmt: skip
        gaps.append(abs(log_specht(a) + best.fun) / max(1.0, a))
        assert log_specht(a) < 2 * log_cosh(a)
    agree(record_property, gaps, np.zeros(5), 1e-9, scale=1.0)  # scipy stops at 1e-12 in p, squared, times a^2
    assert log_specht(1.0) == pytest.approx(0.4745, abs=5e-5)
    assert 2 * log_cosh(1.0) == pytest.approx(0.86756, abs=5e-6)
    assert log_specht(1e-6) == pytest.approx(5e-13, rel=1e-3)
    assert log_cosh(1000.0) == pytest.approx(1000 - math.log(2), rel=1e-15)


@pytest.mark.parametrize("a", [0.3, 1.0, 5.0])
def test_G3_the_largest_values_are_those_of_all_corners(record_property: Record, a: float) -> None:
    """log_sum_gap and the sharp lower intercept against every corner of the box, for an uneven prior."""
    pi, K = np.array([0.5, 0.25, 0.15, 0.1]), 5
    corners = np.array(list(itertools.product([-a, a], repeat=4)))
    expected = float((scipy.special.logsumexp(corners, axis=1) - corners @ pi).max())
    agree(record_property, log_sum_gap(pi, a), expected, ROUNDING)
    s = np.array(list(itertools.product([-a, a], repeat=K + 1)))  # the positive first
    M = float((scipy.special.logsumexp(s, axis=1) - s[:, 1:].mean(axis=1)).max())
    equal = float((scipy.special.logsumexp(s, axis=1) - s.mean(axis=1)).max())
    H = float(-(pi * np.log(pi)).sum())
    agree(record_property, intercepts(pi, K, a).sharp_lower, H - min(M, equal + a / (K + 1)), ROUNDING, scale=1.0)
    rng = np.random.default_rng(0)
    inside = rng.uniform(-a, a, (2000, 4))
    assert float((scipy.special.logsumexp(inside, axis=1) - inside @ pi).max()) < expected


@given(
    pi=st.lists(st.floats(0.02, 1.0), min_size=2, max_size=12),
    K=st.integers(1, 512),
    b2=st.floats(0.0, 60.0),
)
def test_the_sharp_band_is_never_wider(pi: list[float], K: int, b2: float) -> None:
    """For any prior, K and norm: both intercepts of the sharp band are inside the published ones."""
    prior = np.array(pi) / np.sum(pi)
    i = intercepts(prior, K, b2)
    assert i.sharp_upper <= i.upper + INSIDE
    assert i.sharp_lower >= i.lower - INSIDE
    assert i.sharp_upper <= math.log(prior.size / K * prior.max() * prior.size) + 2 * log_cosh(b2) + INSIDE


def test_G3_specht_limits_the_width(record_property: Record) -> None:
    """Uniform prior, K = 10^5: the sharp width is at most 2 ln S + b2/(K+1) + ln((K+1)/K), and near it."""
    C, K = 1000, 10**5
    limit = 2 * log_specht(1.0) + 1 / (K + 1) + math.log1p(1 / K)
    width = intercepts(C, K).sharp_width
    assert width <= limit + INSIDE
    agree(record_property, width, limit, 1e-3)  # m/C and m/(K+1) are all but continuous


def test_G4_measured_intercepts(record_property: Record) -> None:
    """R_supv = J - D by sums; both limits hold, the weaker ones with 2 ln cosh too, and the upper one comes near."""
    Z, y = features(4, C=4, per=6, spread=0.2)
    P = population(Z, y, prior=[0.4, 0.3, 0.2, 0.1])
    mu = np.array([P.F[P.codes == c].mean(axis=0) for c in range(P.C)])
    s, w = P.F @ mu.T, weights(P)
    J = float(w @ (np.log(np.exp(s).sum(axis=1)) - s @ P.prior))
    D = float(w @ s[np.arange(P.n), P.codes] - w @ s @ P.prior)
    agree(record_property, [P.log_sum, P.spread], [J, D], ROUNDING)
    S = naive_supervised(P)
    agree(record_property, S, J - D, ROUNDING)
    report = surrogate_bounds(P, KS)
    for K, R, found in zip(KS, report.contrastive.value, report.bounds, strict=True):
        upper, lower = found["measured, upper"].limit, found["measured, lower"].limit
        assert upper == pytest.approx(R - math.log(K) + J, abs=1e-9)
        assert lower >= R + J - math.log(K + 1) - log_specht(P.b2) - D / (K + 1) - INSIDE
        assert lower >= R + J - math.log(K + 1) - 2 * log_cosh(P.b2) - D / (K + 1)
        assert lower <= S <= upper
    warm = surrogate_bounds(population(Z, y, temperature=20.0), 512)
    assert 0 < warm.bounds[0]["measured, upper"].limit - warm.supervised < 0.003


def tight(C: int, T: float, seed: int = 0) -> Population:
    """Tight clusters at the vertices of a simplex."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(C), 6)
    return population(simplex(C)[y] + 0.12 * rng.standard_normal((y.size, C)), y, temperature=T)


def test_inclusion_and_collisions_off_beat_the_band_at_low_temperature() -> None:
    """C = 10, K = 16, tight clusters. The band wins at T = 1, collisions off at 0.1."""
    named = ("band, upper", "inclusion", "collisions off")
    at = {T: [surrogate_bounds(tight(10, T), 16).bounds[0][name].limit for name in named] for T in (1.0, 0.5, 0.2, 0.1)}
    assert at[1.0][0] < at[1.0][1] < at[1.0][2]
    for T in (0.2, 0.1):
        assert at[T][2] < at[T][1] < at[T][0]
    assert at[0.1][0] == pytest.approx(18, abs=2)  # 2 ln cosh 10 + ln(10/16) and R_cont
    assert at[0.1][2] < 0.2


def test_G5_G6_denominators_by_enumeration(record_property: Record) -> None:
    """1 - (1 - pi_min)^K and the mean over Col, for three classes of an uneven prior, from all tuples of classes."""
    pi, K = np.array([0.5, 0.3, 0.2]), 4
    c = constants(pi, K)
    classes = tuples(3, K)
    chance = pi[classes].prod(axis=1)
    alone = [float(chance[(classes == q).any(axis=1)].sum()) for q in range(3)]
    agree(record_property, c.alone, min(alone), ROUNDING)
    apart = []
    for y in range(3):
        others = [q for q in range(3) if q != y]
        q = min(others, key=lambda q: pi[q])
        col = (classes == y).sum(axis=1)
        missed = (1 - pi[q] / (1 - pi[y])) ** (K - col)
        apart.append(float(chance @ ((1 - missed) / (1 + col))))
    agree(record_property, c.apart, min(apart), ROUNDING)
    agree(record_property, c.collisions_off * min(apart), 1.0, ROUNDING)


def test_G5_the_inclusion_limit(record_property: Record) -> None:
    """R_supv (1 - (1 - pi_min)^K) <= R_cont by enumeration, and a collapse onto the means of two classes attains it."""
    Z, y = features(7, C=3, per=3)
    P = population(Z, y, prior=[0.6, 0.25, 0.15], temperature=0.2)
    for K in (1, 2, 3):
        assert naive_supervised(P) * (1 - (1 - 0.15) ** K) <= naive_contrastive(P, K)
    # two classes, far apart but for one score: K = 1 is nearly an equality, ln(1 + e^v) / 2 + ln 2 / 2 against it
    Q = population([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    R, S = contrastive_risk(Q, 1).value[0], supervised_risk(Q)
    agree(record_property, R, (S + math.log(2)) / 2, ROUNDING)
    assert surrogate_bounds(Q, 1).bounds[0]["inclusion"].limit == pytest.approx(2 * R, abs=1e-9)


def test_G6_the_limit_with_collisions_off_is_attained_by_collapsed_classes(record_property: Record) -> None:
    """C = 2, K = 1, classes as points: R_cont = ln 2/2 + R_supv/2, and (R_cont - ln 2/2) / (1/2) = R_supv exactly."""
    Q = population([[1.0, 0.0], [0.3, 0.8]], [0, 1], temperature=0.4)
    bound = surrogate_bounds(Q, 1).bounds[0]["collisions off"]
    agree(record_property, bound.limit, naive_supervised(Q), 1e-10)
    assert bound.holds


COEFFICIENTS = {  # K -> Arora, 2/v, Ash, inclusion at C = 10: three digits as printed
    4: (None, None, 38.8, 2.91), 9: (7.1e3, 5.5e3, 29.2, 1.63), 16: (53.9, 20.0, 34.4, 1.23),
    32: (40.5, 2.78, 92.7, 1.04), 64: (857, 2.02, 1.7e3, 1.00), 128: (7.2e5, 2.00, 1.4e6, 1.00),
}  # fmt: skip


@pytest.mark.parametrize("K", COEFFICIENTS)
def test_G7_coefficients(record_property: Record, K: int) -> None:
    """C = 10: the known digits, and each from fractions of integers."""
    c = constants(10, K)
    for value, expected in zip((c.arora, c.nozawa_sato, c.ash, c.inclusion), COEFFICIENTS[K], strict=True):
        assert (value is None) == (expected is None)
        if value is not None and expected is not None:
            digits = 2 if expected in (7.1e3, 5.5e3, 1.7e3, 7.2e5, 1.4e6) else 3
            assert f"{value:.{digits - 1}e}" == f"{expected:.{digits - 1}e}"
    free = Fraction(9, 10) ** K
    harmonic = sum(Fraction(1, k) for k in range(1, 10))
    ash = 2 / free * max(Fraction(1), 18 * harmonic / K)
    agree(record_property, [c.ash, c.inclusion], [float(ash), float(1 / (1 - free))], 1e-12)
    if c.covers:
        v = exact_coverage(10, K + 1)
        agree(record_property, [c.arora, c.nozawa_sato], [float(1 / (free * v)), float(2 / v)], 1e-11)


@given(C=st.integers(2, 40), K=st.integers(1, 600), excess=st.floats(0.0, 5.0))
def test_inclusion_and_collisions_off_are_below_all_rivals(C: int, K: int, excess: float) -> None:
    """Any C, K and R_cont >= E ln(1 + Col)."""
    c = constants(C, K)
    R = c.log_collision + excess
    slack = 1 + 1e-9
    assert c.nozawa_sato is None or c.inclusion * R <= c.nozawa_sato / 2 * R * slack
    assert c.nozawa_sato is None or c.nozawa_sato / 2 * R <= c.nozawa_sato / 2 * (R + excess) * slack
    assert c.arora is None or c.collisions_off * excess <= c.arora * excess * slack
    assert c.ash is not None
    assert c.collisions_off <= c.ash * slack


@pytest.mark.parametrize("rarest", [1e-3, 1e-12, 1e-17, 1e-30])
@pytest.mark.parametrize("common", [1, 2])
def test_collisions_off_keeps_its_digits_for_a_class_as_rare_as_may_be(rarest: float, common: int) -> None:
    """In whole numbers; two classes of 1e-17 leave the third a share of 1 in float64, and no class a certainty."""
    K = 4
    prior = [rarest] * (3 - common) + [(1 - (3 - common) * rarest) / common] * common
    pi = [Fraction(p) for p in prior]
    expected = []
    for y, p in enumerate(pi):
        others = [q for c, q in enumerate(pi) if c != y]
        rest, total = sum(others), p + sum(others)
        expected.append(
            sum(
                math.comb(K, m) * p**m * rest ** (K - m) / total**K
                * (1 - (1 - min(others) / rest) ** (K - m)) / (m + 1)
                for m in range(K + 1)
            )
        )  # fmt: skip
    assert constants(prior, K).apart == pytest.approx(float(min(expected)), rel=ROUNDING)


def test_norms_so_large_that_exponentials_vanish_leave_the_band_a_number() -> None:
    """b^2 = 1000: of three scores in [-a, a], one at a gains 4 a / 3 and the logarithm of nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert log_sum_gap(np.full(3, 1 / 3), 1000.0) == pytest.approx(4000 / 3, rel=ROUNDING)
        assert intercepts(3, 5, 1000.0).sharp_upper == pytest.approx(4000 / 3 - math.log(5), rel=ROUNDING)


def test_G7_the_least_upper_limit_is_never_above_a_rival(record_property: Record) -> None:
    """On features, cold and warm, each rival by its formula; the sharp band is the least at T = 1."""
    cold, warm = (surrogate_bounds(tight(6, T), [1, 5, 16, 64]) for T in (0.3, 1.0))
    assert warm.bounds[-1]["least upper limit"].limit == warm.bounds[-1]["sharp band, upper"].limit
    worst = 0.0
    for found in (*cold.bounds, *warm.bounds):
        best = found["least upper limit"].limit
        assert best == min(found[n].limit for n in ("band, upper", "sharp band, upper", "inclusion", "collisions off"))
        for name in ("coverage", "Arora", "Nozawa-Sato", "Ash"):
            if found[name].legal:
                worst = max(worst, best / found[name].limit)
    record_property("gap", worst)
    assert worst < 1
    v, free = float(exact_coverage(6, 17)), (5 / 6) ** 16
    R, L = float(warm.contrastive.value[2]), log_collision(6, 16)
    ash = 2 / free * max(1.0, 10 * (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 16)
    by_hand = {"coverage": R / v, "Arora": (R - L) / free / v, "Nozawa-Sato": (2 * R - L) / v, "Ash": ash * (R - L)}
    for name, limit in by_hand.items():
        assert warm.bounds[2][name].limit == pytest.approx(limit, rel=1e-9), name


def test_legality_is_checked_before_there_is_a_number() -> None:
    P = tight(6, 1.0)
    early, late = surrogate_bounds(P, [4, 5]).bounds
    for name in ("Arora", "Nozawa-Sato", "coverage"):
        assert early[name].verdict == "illegal"
        assert math.isnan(early[name].limit)
        assert "K + 1 >= C" in str(early[name])
        assert late[name].legal
    assert early["Ash"].legal
    uneven = population(P.F, P.codes, prior=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    found = surrogate_bounds(uneven, 64).bounds[0]
    illegal = {name for name, bound in found.items() if not bound.legal}
    assert illegal == {"coverage", "Arora", "Nozawa-Sato", "Ash"}
    assert all("uniform prior" in str(found[name]) for name in illegal)
    sampled = surrogate_bounds(P, 8, method="monte_carlo", n_draws=500).bounds[0]
    assert not any(bound.certified for bound in sampled.values())
    assert all(bound.holds is not False for bound in sampled.values())
    rows = surrogate_bounds(P, [4, 5]).rows()
    assert {row["negatives"] for row in rows} == {4, 5}
    assert next(row for row in rows if row["bound"] == "Arora")["limit"] is None


# --- G9 to G11: tasks, one negative -----------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 2, 3])
def test_G9_tasks_of_the_classes_drawn(record_property: Record, K: int) -> None:
    """E_T R_supv(T) by all tuples of classes that do not collide: the draws are near it, and the limit above it."""
    Z, y = features(8)
    P = population(Z, y, prior=[0.5, 0.3, 0.2], temperature=0.5)
    classes = tuples(3, K)
    mu = np.array([P.F[P.codes == c].mean(axis=0) for c in range(3)])
    total, mass = 0.0, 0.0
    for i, w in enumerate(weights(P)):
        s, own = mu @ P.F[i], P.codes[i]
        for task in classes:
            if own not in task:
                chance = w * P.prior[task].prod()
                total += chance * (np.log(np.exp(s[sorted({own, *task})]).sum()) - s[own])
                mass += chance
    exact = total / mass
    drawn, error = drawn_task_risk(P, K, n_draws=3000, seed=1)
    assert abs(drawn - exact) <= SIGMAS * error + 1e-12
    agree(record_property, mass, no_collision(P.prior, K), ROUNDING)
    limit = (naive_contrastive(P, K) - log_collision(P.prior, K)) / mass
    assert exact <= limit
    bound = drawn_task_bound(P, contrastive_risk(P, [K]), K)
    agree(record_property, bound.limit, limit, 1e-9)
    assert bound.holds
    assert not bound.certified


def test_G10_a_fixed_task(record_property: Record) -> None:
    """The task's risk and its anchors' contrastive risk by enumeration; |S| below and above K + 1."""
    Z, y = features(9, C=4, per=2)
    P = population(Z, y, prior=[0.4, 0.3, 0.2, 0.1], temperature=0.3)
    risk = contrastive_risk(P, [1, 3])
    for task in ((0, 2), (1, 2, 3), (0, 1, 2, 3)):
        agree(record_property, fixed_task_risk(P, task), naive_supervised(P, task), ROUNDING)
        for K in (1, 3):
            pi = P.prior[list(task)]
            by_class = naive_contrastive(P, K, by_class=True)[list(task)]
            limit = float(pi @ by_class / pi.sum()) / (1 - (1 - pi.min()) ** K)
            bound = fixed_task_bound(P, risk, task, K)
            agree(record_property, bound.limit, limit, 1e-9)
            assert bound.holds
    assert fixed_task_risk(P, (0, 1, 2, 3)) == pytest.approx(supervised_risk(P), rel=1e-12)
    for bad in ((0,), (0, 0), (0, 9)):
        with pytest.raises(DataError, match="two different classes"):
            fixed_task_risk(P, bad)
    with pytest.raises(DataError, match="K = 1, 3, not 2"):
        fixed_task_bound(P, risk, (0, 1), 2)


LOSS = {
    "hinge": lambda v: np.maximum(0.0, 1 - v),
    "logistic": lambda v: np.logaddexp(0.0, -v),
    "log2": lambda v: np.logaddexp(0.0, -v) / math.log(2),
}


@pytest.mark.parametrize("loss", LOSS)
@pytest.mark.parametrize("temperature", [2.0, 0.2])
def test_G11_one_negative(record_property: Record, loss: str, temperature: float) -> None:
    """All parts by loops over anchors, positives, negatives; the three inequalities hold."""
    Z, y = features(10)
    P = population(Z, y, prior=[0.5, 0.3, 0.2], temperature=temperature)
    F, w, of = P.F, weights(P), LOSS[loss]
    S = F @ F.T
    total, same, other, tau = 0.0, 0.0, 0.0, float((P.prior**2).sum())
    for i, j, k in itertools.product(range(P.n), repeat=3):
        if P.codes[i] == P.codes[j]:
            chance = w[i] * w[j] / P.prior[P.codes[i]] * w[k]
            value = float(of(S[i, j] - S[i, k]))
            total += chance * value
            if P.codes[k] == P.codes[i]:
                same += chance * value / tau
            else:
                other += chance * value / (1 - tau)
    mu = np.array([F[P.codes == c].mean(axis=0) for c in range(3)])
    pairs = sum(
        w[i] * P.prior[q] * float(of(F[i] @ (mu[P.codes[i]] - mu[q])))
        for i in range(P.n)
        for q in range(3)
        if q != P.codes[i]
    ) / (1 - tau)
    deviation = sum(
        P.prior[c] ** 2 / tau * math.sqrt(np.linalg.norm(np.cov(F[P.codes == c].T, bias=True), 2))
        * np.linalg.norm(F[P.codes == c], axis=1).mean()
        for c in range(3)
    )  # fmt: skip
    found = one_negative(P, loss)  # type: ignore[arg-type]
    agree(
        record_property,
        [found.total, found.same, found.other, found.tau, found.pairs, found.deviation, found.at_zero],
        [total, same, other, tau, pairs, deviation, float(of(0.0))],
        1e-10,
    )
    assert pairs <= (total - tau * of(0.0)) / (1 - tau)
    assert pairs <= other + math.sqrt(2) * (1 / math.log(2) if loss == "log2" else 1) * tau / (1 - tau) * deviation
    assert all(bound.holds for bound in found.bounds())
    assert found.bounds()[0].limit == pytest.approx((total - tau * of(0.0)) / (1 - tau), rel=1e-9)


# --- G12: constants ---------------------------------------------------------------------------------------------------


def exact_coverage(C: int, n: int) -> Fraction:
    """The alternating sum, in fractions."""
    return sum((-1) ** j * math.comb(C, j) * Fraction(C - j, C) ** n for j in range(C + 1))


COVERAGE = {(10, 32): "0.6909756", (10, 63): "0.9869351", (10, 128): "0.9999861", (100, 256): "1.233e-4",
            (100, 512): "0.5527", (100, 120): "4.8e-26"}  # fmt: skip


@pytest.mark.parametrize(("size", "printed"), COVERAGE.items())
def test_G12_coverage(record_property: Record, size: tuple[int, int], printed: str) -> None:
    """The chain against fractions, and the known digits."""
    found = coverage(*size)
    agree(record_property, found, float(exact_coverage(*size)), 1e-12)
    digits = len(printed.split("e")[0].replace("0.", "").replace(".", ""))
    assert f"{found:.{digits - 1}e}" == f"{float(printed):.{digits - 1}e}"


def test_G12_the_alternating_sum_in_float64_is_nonsense(record_property: Record) -> None:
    """-8.0e-5 instead of 4.8e-26 at C = 100, 120 draws: shown, and avoided."""
    j = np.arange(101)
    naive = float(((-1.0) ** j * scipy.special.comb(100, j) * (1 - j / 100) ** 120).sum())
    assert abs(naive) > 1e-6
    record_property("gap", abs(coverage(100, 120) / float(exact_coverage(100, 120)) - 1))
    assert coverage(100, 120) == pytest.approx(4.765e-26, rel=1e-3)
    assert coverage(100, 99) == 0
    assert coverage(1, 1) == 1


def test_G12_no_collision_does_not_underflow(record_property: Record) -> None:
    """3.7e-24 at C = 10, K = 512, where 1 - tau_K by subtraction is 0."""
    agree(record_property, no_collision(10, 512), float(Fraction(9, 10) ** 512), 1e-12)
    assert f"{no_collision(10, 512):.1e}" == "3.7e-24"
    tau = 1 - 0.9**512
    assert 1 - tau == 0
    pi = np.array([0.7, 0.2, 0.1])
    exact = sum(Fraction(p).limit_denominator(10) * (1 - Fraction(p).limit_denominator(10)) ** 9 for p in pi)
    agree(record_property, [no_collision(pi, 9), collision_probability(pi, 9)], [float(exact), float(1 - exact)], 1e-12)


@pytest.mark.parametrize("K", [1, 10, 1000, 5000])
def test_G12_the_log_of_collisions_is_a_binomial_mean(record_property: Record, K: int) -> None:
    """scipy's binomial, for a uniform prior and an uneven one; K = 5000 where binom(K, m) overflows."""
    m = np.arange(K + 1)
    for pi in (np.full(10, 0.1), np.array([0.6, 0.3, 0.1])):
        expected = sum(p * float(scipy.stats.binom.pmf(m, K, p) @ np.log1p(m)) for p in pi)
        agree(record_property, log_collision(pi, K), expected, 1e-10)


def test_G12_draws_to_meet_every_class(record_property: Record) -> None:
    """C H_C, rounded up 30, 519, 26030 and 9; any prior by inclusion and exclusion."""
    assert [math.ceil(expected_draws(C)) for C in (10, 100, 3029, 4)] == [30, 519, 26030, 9]
    pi = np.array([0.5, 0.3, 0.15, 0.05])
    exact = sum(
        (-1) ** (size + 1) / sum(subset) for size in range(1, 5) for subset in itertools.combinations(pi.tolist(), size)
    )
    agree(record_property, expected_draws(pi), exact, 1e-9)


def test_G12_in_a_batch_without_replacement(record_property: Record) -> None:
    """All sets of K of the other rows: hypergeometric, (n_c - 1)/(n - 1) for one negative."""
    labels, K = [0, 0, 0, 1, 1, 2], 3
    tau = log = 0.0
    for i, own in enumerate(labels):
        others = labels[:i] + labels[i + 1 :]
        sets = list(itertools.combinations(others, K))
        tau += sum(own in chosen for chosen in sets) / len(sets) / len(labels)
        log += sum(math.log1p(chosen.count(own)) for chosen in sets) / len(sets) / len(labels)
    agree(record_property, in_batch_collisions([3, 2, 1], K), (tau, log), 1e-12)
    one, _ = in_batch_collisions([45] * 10, 1)
    agree(record_property, one, 44 / 449, 1e-12)
    with pytest.raises(DataError, match="between 0 and 5"):
        in_batch_collisions([3, 2, 1], 6)


# --- G13, G17: floor, ceiling, ideal values ---------------------------------------------------------------------------


def test_the_floor_of_an_uneven_prior_is_the_best_of_three() -> None:
    """Written out: by convexity, by cosines of -1, by Gibbs' inequality; the first two win somewhere."""
    won = set()
    for pi in (np.array([0.45, 0.3, 0.25]), np.array([0.98, 0.01, 0.01]), np.array([0.34, 0.33, 0.33])):
        for b2 in (0.2, 1.0, 6.0):
            t = np.abs(pi - 1 / 3).sum() / 2
            three = [
                math.log(1 + 2 * math.exp(-b2 * 1.5 * (1 + t**2))),
                math.log(1 + 2 * math.exp(-2 * b2)),
                float(-(pi * np.log(pi)).sum()) - b2,
            ]
            assert yardsticks(pi, b2).floor == pytest.approx(max(three), rel=1e-12)
            won.add(int(np.argmax(three)))
    assert {0, 1} <= won


@pytest.mark.parametrize("b2", [1.0, 4.0])
@pytest.mark.parametrize("C", [2, 3, 6])
def test_G13_a_simplex_attains_the_floor(record_property: Record, C: int, b2: float) -> None:
    """Unit vectors at cosine -1/(C-1), R_supv by sums; no random start of a descent gets below it."""
    P = population(simplex(C), np.arange(C), temperature=1 / b2)
    sticks = yardsticks(P.prior, b2)
    agree(record_property, naive_supervised(P), sticks.floor, ROUNDING)
    assert ideal_supervised(C, b2, simplex=True) == pytest.approx(sticks.floor, rel=1e-12)

    def risk(flat: np.ndarray) -> float:
        Z = flat.reshape(C, C)
        Q = math.sqrt(b2) * Z / np.linalg.norm(Z, axis=1, keepdims=True)
        S = Q @ Q.T
        return float((scipy.special.logsumexp(S, axis=1) - np.diag(S)).mean())

    best = scipy.optimize.minimize(risk, np.random.default_rng(0).standard_normal(C * C))
    assert best.fun >= sticks.floor - 1e-9
    assert best.fun == pytest.approx(sticks.floor, abs=1e-5)


def test_G13_the_known_ceiling_and_the_sharper_one(record_property: Record) -> None:
    """1.377 to 4.212 at C = 10; the ceiling of this library is below, ln 10 + ln S(1) at most."""
    sticks = yardsticks(np.full(10, 0.1), 1.0)
    agree(record_property, sticks.score_ceiling, math.log(1 + 9 * math.exp(2)), ROUNDING)
    assert (round(sticks.floor, 3), round(sticks.score_ceiling, 3)) == (1.377, 4.212)
    assert sticks.chance == pytest.approx(math.log(10))
    assert sticks.ceiling <= math.log(10) + log_specht(1.0)
    P = confused(10, 0.05)  # worse than chance, and below the ceiling
    assert P.accuracy == pytest.approx(0.75)
    assert math.log(10) < supervised_risk(P) <= yardsticks(P.prior, P.b2).ceiling


IDEAL = {  # C -> R*_cont + Delta_U at K = 1, 10, 50, 99, R*_supv, that of the simplex
    50: ((4.918, 3.394, 3.018, 2.961), 2.032, 2.926),
    100: ((5.605, 4.057, 3.662, 3.601), 2.667, 3.612),
}
ATTAINED = {1: (0.316, 0.133), 10: (1.423, 0.887), 50: (2.881, 2.101), 99: (3.545, 2.723)}  # C = 100
RIVALS = {10: (2.006, 800, 849, 16.3), 20: (1.845, 21.7, 9.1, 28.6), 50: (1.739, 154, 3.4, 300),
          99: (1.702, 2.6e4, 3.9, 5.3e4)}  # fmt: skip


def test_G17_ideal_values(record_property: Record) -> None:
    """The known digits of the curves, and R*_cont by enumeration of points at cosine -1 (C = 2) or on a simplex."""
    for C, (uppers, supervised, attained) in IDEAL.items():
        found = [ideal_contrastive(C, K) + intercepts(C, K).upper for K in (1, 10, 50, 99)]
        assert found == pytest.approx(uppers, abs=5.1e-4)
        assert ideal_supervised(C) == pytest.approx(supervised, abs=5.1e-4)
        assert ideal_supervised(C, simplex=True) == pytest.approx(attained, abs=5.1e-4)
    for K, (limit, risk) in ATTAINED.items():
        assert ideal_supervised(100) - intercepts(100, K).lower == pytest.approx(limit, abs=5.1e-4)
        assert ideal_contrastive(100, K) == pytest.approx(risk, abs=5.1e-4)
    for K, (gap, arora, nozawa, ash) in RIVALS.items():
        c, R = constants(10, K), ideal_contrastive(10, K)
        off = R - c.log_collision
        assert R + c.intercepts.upper == pytest.approx(gap, abs=5.1e-4)
        assert c.arora is not None
        assert c.nozawa_sato is not None
        assert c.ash is not None
        assert [c.arora * off, c.nozawa_sato / 2 * (R + off), c.ash * off] == pytest.approx(
            [arora, nozawa, ash], rel=0.02
        )
    for C in (2, 4):
        P = population(simplex(C), np.arange(C), temperature=0.5)
        expected = [naive_contrastive(P, K) for K in (1, 2, 3)]
        found = [ideal_contrastive(C, K, 2.0, simplex=True) for K in (1, 2, 3)]
        agree(record_property, found, expected, ROUNDING)
    assert ideal_contrastive(2, 3, 2.0) == pytest.approx(ideal_contrastive(2, 3, 2.0, simplex=True), rel=1e-12)


def test_G17_refuted_classes_all_at_cosine_minus_one(record_property: Record) -> None:
    """The sharp lower limit of R*_cont is above R*_supv: no features have both; the simplex is inside."""
    C, K = 100, 1
    i = intercepts(C, K)
    impossible = ideal_contrastive(C, K) + i.sharp_lower - ideal_supervised(C)
    inside = ideal_contrastive(C, K, simplex=True) + i.sharp_lower - ideal_supervised(C, simplex=True)
    record_property(
        "counterexample",
        f"C = 100, K = 1: the lower limit is {impossible:.3f} above R*_supv, {-inside:.3f} below a simplex",
    )
    assert impossible > 0.4
    assert inside < 0


def test_no_rival_says_anything_at_simplex_features() -> None:
    """C in 10, 50, 100, K to 2,000; with classes at cosine -1 Nozawa & Sato do for K from 30 to 99 at C = 10."""
    for C in (10, 50, 100):
        ceiling = yardsticks(np.full(C, 1 / C), 1.0).score_ceiling
        for K in (9, 20, 30, 50, 99, 150, 300, 600, 1000, 2000):
            c, R = constants(C, K), ideal_contrastive(C, K, simplex=True)
            off = R - c.log_collision
            limits = [(c.arora, off), (c.ash, off), (c.nozawa_sato, (R + off) / 2)]
            assert all(factor is None or factor * of > ceiling for factor, of in limits)
    said = {}
    for K in (30, 50, 99, 150):
        c, R = constants(10, K), ideal_contrastive(10, K)
        assert c.coverage is not None
        said[K] = (2 * R - c.log_collision) / c.coverage
    assert said[30] == pytest.approx(4.15, abs=5e-3)
    assert said[50] == pytest.approx(3.40, abs=5e-3)
    assert [K for K, value in said.items() if value < 4.212] == [30, 50, 99]


# --- G14 to G18: traps ------------------------------------------------------------------------------------------------


def confused(C: int, T: float) -> Population:
    """Classes in pairs, a place for each; one row in four is at the place of the other of its pair."""
    places = np.eye(C)
    rows = [places[c if k else c ^ 1] for c in range(C) for k in range(4)]
    return population(np.array(rows), np.repeat(np.arange(C), 4), temperature=T)


def test_G14_refuted_the_norm_constant_of_unit_rows_at_low_temperature(record_property: Record) -> None:
    """T = 0.02, K = 1, pairs of confused classes: cosh 1 in place of cosh(1/T) is broken."""
    P = confused(40, 0.02)
    report = surrogate_bounds(P, 1)
    R, S = float(report.contrastive.value[0]), report.supervised
    wrong = R + intercepts(40, 1, 1.0).upper
    record_property("counterexample", f"R_supv {S:.2f} above the limit {wrong:.2f}")
    assert wrong + 0.5 < S
    assert P.b2 == pytest.approx(50.0)
    assert report.bounds[0]["band, upper"].holds
    assert R + intercepts(40, 1, 50.0).upper == pytest.approx(report.bounds[0]["band, upper"].limit, abs=1e-6)


def test_G15_refuted_a_bare_tau_in_nats(record_property: Record) -> None:
    """Classes at right angles, many tuples collide: (L - tau)/(1 - tau) is below R_pair, tau ln 2 is not."""
    P = population(np.eye(2), [0, 1])
    found = one_negative(P, "logistic")
    bare = (found.total - found.tau) / (1 - found.tau)
    record_property("counterexample", f"R_pair {found.pairs:.4f} above {bare:.4f}")
    assert found.pairs > bare + 0.1
    assert found.bounds()[0].holds
    bits = one_negative(P, "log2")
    assert bits.pairs <= (bits.total - bits.tau) / (1 - bits.tau) + INSIDE
    assert bits.total == pytest.approx(found.total / math.log(2), rel=1e-12)


def test_G16_the_rivals_are_legal_one_negative_earlier(record_property: Record) -> None:
    """K = C - 1 = 5: both limits hold on many features, where K >= C would not allow them."""
    worst = -math.inf
    for seed in range(8):
        Z, y = features(seed, C=6, per=3)
        found = surrogate_bounds(population(Z, y, temperature=0.05), 5).bounds[0]
        for name in ("Arora", "Nozawa-Sato"):
            assert found[name].legal
            assert found[name].holds
            worst = max(worst, (found[name].observed or 0.0) / found[name].limit)
    record_property("gap", worst)
    record_property("counterexample", f"K = 5, C = 6: observed/limit at most {worst:.1e}")
    assert constants(6, 4).arora is None


def test_G18_refuted_the_training_loss_of_raw_dot_products(record_property: Record) -> None:
    """Longer rows lower the loss of raw products without end; the risks of unit rows stay, and so do their limits."""
    C, K = 30, 16
    unit = population(simplex(C), np.arange(C))
    raw = population(8 * simplex(C), np.arange(C), normalize=False)
    loss = float(contrastive_risk(raw, K).value[0])
    S, i = supervised_risk(unit), intercepts(C, K, 1.0)
    record_property("counterexample", f"loss {loss:.3f}, upper limit {loss + i.upper:.3f} below R_supv {S:.3f}")
    R = float(contrastive_risk(unit, K).value[0])
    assert R + i.lower <= S <= R + i.upper
    assert not loss + i.lower <= S <= loss + i.upper


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: population(np.zeros((3, 0)), [0, 1, 2]), "two axes"),
        (lambda: population([[1.0, np.nan]], [0]), "1 NaN"),
        (lambda: population(np.eye(3), [0, 0, 0]), "two are needed"),
        (lambda: population(np.eye(3), [0, 1, -1]), "lacks 1 labels"),
        (lambda: population(np.eye(3), [0.5, 1.5, 2.5]), "continuous"),
        (lambda: population(np.eye(3), [0, 1]), "2 entries, but X has 3 rows"),
        (lambda: population(np.eye(3), [0, 1, 1], prior=[0.5, 0.25, 0.25]), "3 numbers for 2 classes"),
        (lambda: population(np.eye(3), [0, 1, 1], prior=[0.5, 0.4]), "sums to 0.9"),
        (lambda: population(np.eye(3), [0, 1, 1], prior=[1.0, 0.0]), "positive number"),
        (lambda: population(np.eye(3), [0, 1, 1], prior="even"), "uniform, empirical"),  # type: ignore[arg-type]
        (lambda: population(np.eye(3), [0, 1, 1], temperature=0), "above 0"),
        (lambda: contrastive_risk(population(np.eye(2), [0, 1]), 0), "at least 1, got 0"),
        (lambda: contrastive_risk(population(np.eye(2), [0, 1]), []), "at least one number"),
        (lambda: contrastive_risk(population(np.eye(2), [0, 1], temperature=1e-5), 1), "100,000 nats, past the 600"),
        (lambda: constants(1, 3), "at least 2"),
        (lambda: one_negative(population(np.eye(2), [0, 1]), "square"), "hinge, logistic or log2"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(call: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        call()  # type: ignore[operator]


def test_rows_of_zeros_and_of_any_unit_are_allowed() -> None:
    Z = np.array([[0.0, 0.0], [1e200, 0.0], [0.0, 1e-200], [1.0, 1.0]])
    P = population(Z, [0, 0, 1, 1])
    assert np.linalg.norm(P.F, axis=1)[np.argsort(P.order)] == pytest.approx([0, 1, 1, 1])
    assert not surrogate_bounds(P, [1, 4]).violated()
