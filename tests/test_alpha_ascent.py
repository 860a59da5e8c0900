"""Gradient ascent with alpha moving, over the ball |W|_F^2 <= r; and rows that may not be written to.

Witnesses: losses and covariances pair by pair in numpy, with scipy's root finder and minimisers; for convex losses the
certified optimum.
"""

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from spectral_ssl import alpha_cl as al
from spectral_ssl.alpha_cl.contrast import as_rows

Array = np.ndarray

STILL = 1e-4  # relative, of |W|^2 or the balance of C: the residual of 1e-6 over the curvature there
LOSS_TOL = 1e-7  # of the decrease from collapse: the square of that


def views(seed: int, N: int, D: int, noise: float) -> Array:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, D))
    return np.vstack([x, x + noise * rng.standard_normal((N, D))])


def differences(X: Array) -> tuple[Array, Array]:
    """x_i - x_i' (n, D) and x_i - x_j (n, m, D) of all rows, by a loop over anchors."""
    n = len(X)
    N = n // 2
    own = np.array([X[i] - X[(i + N) % n] for i in range(n)])
    return own, np.array([[X[i] - X[j] for j in range(n) if j % N != i % N] for i in range(n)])


def covariance(alpha: Array, own: Array, other: Array) -> Array:
    return np.asarray(np.einsum("ij,ijd,ije->de", alpha, other, other) - np.einsum("ij,id,ie->de", alpha, own, own))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def squares(W: Array, own: Array, other: Array) -> tuple[Array, Array]:
    """d_ij^2 (n, m) and d_i^2 (n,), halved."""
    return ((other @ W) ** 2).sum(axis=2) / 2, ((own @ W) ** 2).sum(axis=1) / 2


@pytest.mark.parametrize(("seed", "radius"), [(0, 1.0), (0, 10.0), (1, 1.0), (1, 1000.0), (2, 1000.0)])
def test_on_a_line_the_ascent_ends_at_the_least_loss_inside_the_ball_or_on_it(seed: int, radius: float) -> None:
    """Where all directions lose at |W|^2 = radius a shorter W may gain: InfoNCE of one feature, by scipy over |W|^2."""
    X = views(seed, 20, 1, 0.9)
    own, other = differences(X)

    def loss(g: float) -> float:
        negative, positive = squares(np.array([[np.sqrt(g)]]), own, other)
        u = 2 * (positive[:, None] - negative)
        top = u.max(axis=1)
        return float((top + np.log(np.exp(u - top[:, None]).sum(axis=1))).sum() / 2)

    best = scipy.optimize.minimize_scalar(loss, bounds=(0, min(radius, 4)), method="bounded", options={"xatol": 1e-9})
    run = al.ascend_live(X, al.Contrast.of(20), al.Nce(0.5, 0.0), radius=radius)
    certified = al.live_optimum(X, al.Contrast.of(20), al.Nce(0.5, 0.0), radius=radius)
    size = float((run.W**2).sum())
    assert run.converged
    assert not run.collapsed
    assert size == pytest.approx(best.x, rel=STILL)
    assert loss(size) - min(best.fun, certified.loss) <= LOSS_TOL * (loss(0.0) - best.fun)
    assert ("inside the ball" in run.message) == (best.x < 0.99 * radius)


CONVEX = {"infonce": al.Nce(0.3, 1.0), "lifted": al.LiftedStructured(0.4), "soft": al.SoftTriplet(0.5, 0.3)}


@pytest.mark.parametrize(
    ("name", "seed", "N", "D", "noise", "radius"),
    [
        ("infonce", 3, 8, 3, 0.9, 50.0),  # inside
        ("infonce", 4, 8, 3, 0.3, 1.0),  # on the sphere
        ("soft", 5, 10, 2, 1.0, 300.0),
        ("lifted", 6, 11, 4, 1.2, 145.0),
    ],
)
def test_the_ascent_ends_at_the_certified_least_loss(
    name: str, seed: int, N: int, D: int, noise: float, radius: float
) -> None:
    X, contrast, rule = views(seed, N, D, noise), al.Contrast.of(N), CONVEX[name]
    least = al.live_optimum(X, contrast, rule, radius=radius)
    run = al.ascend_live(X, contrast, rule, radius=radius)
    assert run.converged
    excess = float(rule.loss(run.Z, contrast)) - least.lower_bound
    assert excess <= 1e-5 * (least.collapse_loss - least.loss)
    assert (run.W**2).sum() == pytest.approx(np.trace(least.G), rel=1e-2)


def test_secants_that_climb_to_a_saddle_do_not_keep_the_ascent_there() -> None:
    """Of the optimum's four directions one is short: mixed steps lose it, at a point where C has a level above 0."""
    rng = np.random.default_rng(197)
    rng.integers(8, size=3)
    x = rng.standard_normal((11, 4))
    radius = 145.1016934311431  # to the digit: whether secants climb hangs on it
    X, rule = np.vstack([x, x + 1.2 * rng.standard_normal((11, 4))]), al.LiftedStructured(0.4)
    contrast = al.Contrast.of(11)
    least = al.live_optimum(X, contrast, rule, radius=radius)
    run = al.ascend_live(X, contrast, rule, radius=radius, seed=197)
    assert run.converged
    assert 0 < np.linalg.eigvalsh(least.G)[0] < 0.01
    assert float(rule.loss(run.Z, contrast)) - least.lower_bound <= LOSS_TOL * (least.collapse_loss - least.loss)


@pytest.mark.parametrize("D", [1, 3])
def test_a_rule_without_a_loss_stands_still_inside_the_ball_where_alpha_has_levelled_everything(D: int) -> None:
    """Direct, p = 4: C W = 0 and lambda_max(C) = 0 by numpy; of one feature, the root that scipy finds."""
    X = views(2, 12, D, 1.0)
    own, other = differences(X)

    def C(W: Array) -> Array:
        return covariance(softmax(-(squares(W, own, other)[0] ** 2) / 0.5), own, other)

    run = al.ascend_live(X, al.Contrast.of(12), al.DirectRule(4.0), radius=100.0)
    size = float((run.W**2).sum())
    assert run.converged
    assert 0 < size < 50
    balance = np.linalg.norm(covariance(np.full(other.shape[:2], 1 / 22), own, other))
    assert np.linalg.norm(C(run.W) @ run.W) <= STILL * balance * np.sqrt(size)
    assert abs(np.linalg.eigvalsh(C(run.W))[-1]) <= STILL * balance
    if D == 1:
        root = scipy.optimize.brentq(lambda w: float(C(np.array([[w]]))[0, 0]), 1e-3, 10.0, xtol=1e-12)
        assert abs(run.W[0, 0]) == pytest.approx(root, rel=STILL)


@pytest.mark.parametrize("rule", [al.Nce(0.5, 1.0), al.DirectRule(4.0), al.ModifiedTriplet()], ids=type)
def test_collapse_is_where_every_direction_leads_back_to_zero(rule: Any) -> None:
    """At alpha(0) all weights are equal: W = 0 attracts where lambda_max of their covariance is below 0, only there."""
    near = views(0, 8, 2, 0.3)
    apart = np.vstack([near[:8], -near[:8]])
    for X, collapses in ((apart, True), (near, False)):
        own, other = differences(X)
        assert (np.linalg.eigvalsh(covariance(np.ones(other.shape[:2]), own, other))[-1] < 0) == collapses
        run = al.ascend_live(X, al.Contrast.of(8), rule)
        assert run.converged
        assert run.collapsed == collapses
        assert run.W.any() != collapses
        assert ("collapsed" in run.message) == collapses


def test_a_start_that_shrinks_to_zero_leaves_it_along_another_direction() -> None:
    """One column, along a feature whose views have nothing in common, beside a faint one that they share: C is
    diagonal, W = 0 a saddle, from which rounding alone would take more steps than are allowed."""
    rng = np.random.default_rng(0)
    x = 0.5 * rng.standard_normal((10, 1))
    X = np.hstack([np.vstack([x, x]), np.vstack([np.full((10, 1), 3.0), np.full((10, 1), -3.0)])])
    own = 36.0 * 9 * 10
    shared = 2 * 9 * ((x - x.mean()) ** 2).sum() * 10 / 9
    assert shared < 0.15 * own
    start = np.array([[0.0], [1.0]])
    run = al.ascend_live(X, al.Contrast.of(10, views="one"), al.UniformRule(), start=start, n_components=1)
    assert run.converged
    assert not run.collapsed
    assert abs(run.W[0, 0]) == pytest.approx(1.0, abs=1e-5)


def test_a_saddle_is_given_up_only_where_all_columns_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the least eigenvector, with no kicks allowed: one column stays there, a second, empty one leaves."""
    monkeypatch.setattr("spectral_ssl.alpha_cl.ascent.KICKS", 0)
    X = views(1, 8, 3, 0.1)
    own, other = differences(X)
    values, V = np.linalg.eigh(covariance(np.full(other.shape[:2], 1 / 14), own, other))
    assert values[0] > 0
    for K, level in ((1, values[0]), (2, values[-1])):
        start = np.hstack([V[:, :1], np.zeros((3, K - 1))])
        run = al.ascend_live(X, al.Contrast.of(8), al.UniformRule(), start=start, n_components=K)
        assert run.energy == pytest.approx(level / 2, rel=1e-6)


def test_where_no_pair_counts_any_more_the_ascent_stands_still_and_has_not_collapsed() -> None:
    """Triplets that are all satisfied: C = 0 without a positive eigenvalue, and a loss of 0, which no W is below."""
    X = 10 * views(0, 6, 3, 0.001)
    own, other = differences(X)
    run = al.ascend_live(X, al.Contrast.of(6), al.Triplet(0.1), radius=50.0)
    negative, positive = squares(run.W, own, other)
    assert (positive[:, None] - negative).max() + 0.1 < 0
    assert run.converged
    assert not run.collapsed
    assert run.W.any()


@pytest.mark.parametrize("layout", ["read-only", "reversed"])
def test_rows_that_torch_cannot_share_are_copied(layout: str) -> None:
    """Arrays of records are read-only, which torch warns of; of reversed ones it refuses to make a tensor."""
    Z = np.random.default_rng(0).standard_normal((8, 3))
    held = Z.copy() if layout == "read-only" else Z[::-1].copy()[::-1]
    held.setflags(write=layout == "reversed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_rows(held)
    assert np.array_equal(found.numpy(), Z)
    found[0] = 0.0  # the caller's alone
    assert np.array_equal(held, Z)
