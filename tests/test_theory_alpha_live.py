"""The least loss of one linear layer with alpha moving: its certificate, its rank, the steps towards it; by statement.

Witnesses: losses and covariances written pair by pair in numpy; over two features the problem has three numbers, the
entries of G = WW', and is solved by brute force and SLSQP; over more by L-BFGS through torch's autograd from seeded W.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from measure import Record, agree, sine

import spectral_ssl as ss
from spectral_ssl import alpha_cl as al
from spectral_ssl.errors import DataError, NotClosedForm

torch.set_num_threads(1)

ROUNDING = 1e-12  # relative: sums of a few hundred products in float64
WITNESS_TOL = 1e-7  # of the decrease from collapse: SLSQP and L-BFGS stop at changes of 1e-15, flat at the minimum
KINK_TOL = 1e-6  # of the decrease: the triplet loss, through smoothings of it
LEVEL_TOL = 1e-4  # of the largest eigenvalue: the square root of a gap of 1e-9, and some
RESIDUAL_TOL = 1e-6  # |CG - lambda G|: the gap in energy, linear in it
TIGHT = 1e-9  # the gap asked for, as a share of the decrease

Array = np.ndarray
Loss = Callable[[Array], float]


# --- the loss, pair by pair -------------------------------------------------------------------------------------------


def lse(x: Array) -> Array:
    top = x.max(axis=1)
    return np.asarray(top + np.log(np.exp(x - top[:, None]).sum(axis=1)))


# loss -> (rule, F over rows of u, alpha of u)
CONVEX: dict[str, tuple[al.PairLoss, Callable[[Array], Array]]] = {
    "infonce eps=0": (al.Nce(0.3, 0.0), lambda u: 0.3 * lse(u / 0.3)),
    "infonce": (al.Nce(0.5, 1.0), lambda u: 0.5 * np.logaddexp(0, lse(u / 0.5))),
    "mine": (al.Mine(), lse),
    "soft_triplet": (al.SoftTriplet(0.5, 0.3), lambda u: 0.5 * np.logaddexp(0, lse(u / 0.5 + 0.3))),
    "lifted_structured": (al.LiftedStructured(0.4), lambda u: np.maximum(0.4 + lse(u), 0) ** 2),
    "linear": (al.Linear(), lambda u: u.sum(axis=1)),
}
each_loss = pytest.mark.parametrize("name", CONVEX)


def pairs(X: Array, views: str) -> tuple[Array, Array]:
    """x_i - x_i' (n, D) and x_i - x_j (n, m, D), by a loop over anchors."""
    N = len(X) // 2
    anchors = range(N) if views == "one" else range(2 * N)
    others = [[j for j in anchors if j % N != i % N] for i in anchors]
    own = np.array([X[i] - X[(i + N) % (2 * N)] for i in anchors])
    return own, np.array([[X[i] - X[j] for j in row] for i, row in zip(anchors, others, strict=True)])


def u_of(G: Array, own: Array, other: Array, h: float = 0.5) -> Array:
    near = np.einsum("id,de,ie->i", own, G, own)
    return np.asarray(h * (near[:, None] - np.einsum("ijd,de,ije->ij", other, G, other)))


def covariance(alpha: Array, own: Array, other: Array) -> Array:
    return np.asarray(np.einsum("ij,ijd,ije->de", alpha, other, other) - np.einsum("ij,id,ie->de", alpha, own, own))


def softmax(u: Array, tau: float) -> Array:
    x = np.exp((u - u.max(axis=1, keepdims=True)) / tau)
    return np.asarray(x / x.sum(axis=1, keepdims=True))


def data(seed: int, N: int = 6, D: int = 2, noise: float = 0.5) -> Array:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, D)) * np.linspace(1.5, 0.7, D)
    return np.vstack([x, x + noise * rng.standard_normal((N, D))])


def brute_force(loss: Loss, radius: float) -> float:
    """min of loss(G) over 2 x 2 psd G with tr G <= radius: a grid of its three numbers, then SLSQP from the best."""

    def matrix(p: Array) -> Array:
        return np.array([[p[0], p[1]], [p[1], p[2]]])

    points = [
        (size / 2 * (1 + s * np.cos(t)), size / 2 * s * np.sin(t), size / 2 * (1 - s * np.cos(t)))
        for size in radius * np.linspace(0, 1, 4)
        for s in np.linspace(0, 1, 4)
        for t in np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ]
    best = min(points, key=lambda p: loss(matrix(np.array(p))))
    inside = [
        {"type": "ineq", "fun": lambda p: radius - p[0] - p[2]},
        {"type": "ineq", "fun": lambda p: (p[0] + p[2]) / 2 - math.hypot((p[0] - p[2]) / 2, p[1])},  # least eigenvalue
    ]
    done = scipy.optimize.minimize(
        lambda p: loss(matrix(p)), best, method="SLSQP", constraints=inside, options={"ftol": 1e-15, "maxiter": 300}
    )
    p = done.x
    least = (p[0] + p[2]) / 2 - math.hypot((p[0] - p[2]) / 2, p[1])
    G = matrix(p) + max(0.0, -least) * np.eye(2)  # back into the set, where rounding has left it
    return min(loss(matrix(np.array(best))), loss(G * min(1.0, radius / np.trace(G))))


# --- the certificate --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", ["one", "two"])
@each_loss
def test_A20_the_certificate_is_never_below_the_true_gap(name: str, views: str, record_property: Record) -> None:
    """h (r [lambda_max]_+ - tr W'CW) >= L(W) - L* at every W, and 0 at the optimum that is found."""
    rule, F = CONVEX[name]
    worst: list[float] = [0.0]

    @settings(max_examples=8)
    @given(st.integers(0, 10_000), st.floats(-1.5, 2.0), st.booleans(), st.floats(0.05, 1.0), st.floats(0.1, 2.0))
    def holds(seed: int, log_radius: float, half: bool, share: float, noise: float) -> None:
        X, radius, h = data(seed, noise=noise), 10.0**log_radius, 0.5 if half else 1.0
        own, other = pairs(X, views)

        def loss(G: Array) -> float:
            return float(F(u_of(G, own, other, h)).sum())

        contrast = al.Contrast.of(6, views=views, half_squared=half)
        least, decrease = brute_force(loss, radius), loss(np.zeros((2, 2)))
        decrease -= least
        size = abs(least) + decrease + abs(loss(radius * np.eye(2) / 2))
        W = np.random.default_rng(seed + 1).standard_normal((2, 2))
        W *= math.sqrt(share * radius) / np.linalg.norm(W)
        proof = al.gap_certificate(W, X, contrast, rule, radius=radius)
        assert proof.value == pytest.approx(loss(W @ W.T), rel=1e-10, abs=1e-10 * size)
        assert proof.gap >= loss(W @ W.T) - least - ROUNDING * size
        found = al.live_optimum(X, contrast, rule, radius=radius, tol=TIGHT)
        assert found.lower_bound <= least + ROUNDING * size
        assert found.loss <= least + WITNESS_TOL * decrease + ROUNDING * size
        assert (found.embedding.W**2).sum() <= radius * (1 + 1e-12)
        worst.append(abs(found.loss - least) / (decrease + ROUNDING * size / WITNESS_TOL))

    holds()
    agree(record_property, max(worst), 0.0, WITNESS_TOL, scale=1.0)


def test_A20_the_certificate_is_the_frank_wolfe_gap_of_the_covariance_pair_by_pair(record_property: Record) -> None:
    """gap(W) = h (r [lambda_max(C)]_+ - tr W'CW) with C summed over pairs."""
    X = data(3, N=7, D=4)
    own, other = pairs(X, "two")
    W = np.random.default_rng(0).standard_normal((4, 2))
    W *= 0.8 / np.linalg.norm(W)
    alpha = softmax(u_of(W @ W.T, own, other), 0.3)
    C = covariance(alpha, own, other)
    expected = 0.5 * (1.7 * max(np.linalg.eigvalsh(C)[-1], 0) - np.trace(W.T @ C @ W))
    proof = al.gap_certificate(W, X, al.Contrast.of(7), al.Nce(0.3, 0.0), radius=1.7)
    agree(record_property, proof.gap, expected, 1e-10)
    agree(record_property, proof.eigenvalues, np.linalg.eigvalsh(C)[::-1], 1e-10, scale=np.abs(C).max())


@pytest.mark.parametrize("margin", [0.05, 1.0])
def test_A21_at_kinks_another_alpha_of_the_subdifferential_closes_the_gap(
    margin: float, record_property: Record
) -> None:
    """Any alpha in the domain of F* bounds L* by -h r [lambda_max]_+ - sum F*; for the triplet loss 0 <= alpha <= 1."""
    X, radius = data(5, N=6, noise=0.3), 1.0
    own, other = pairs(X, "one")

    def loss(G: Array) -> float:
        return float(np.maximum(u_of(G, own, other) + margin, 0).sum())

    def bound(alpha: Array) -> float:
        return float(
            margin * alpha.sum() - 0.5 * radius * max(np.linalg.eigvalsh(covariance(alpha, own, other))[-1], 0)
        )

    contrast, rule = al.Contrast.of(6, views="one"), al.Triplet(margin)
    least, collapse = brute_force(loss, radius), loss(np.zeros((2, 2)))
    for seed in range(20):
        alpha = np.random.default_rng(seed).random(other.shape[:2])
        assert bound(alpha) <= least + ROUNDING * collapse
    found = al.live_optimum(X, contrast, rule, tol=TIGHT)
    assert np.all((found.alpha >= 0) & (found.alpha <= 1))
    agree(record_property, bound(found.alpha), found.loss, KINK_TOL, scale=collapse - least)
    assert found.lower_bound <= least + ROUNDING * collapse
    assert found.loss - found.lower_bound <= KINK_TOL * (collapse - least)
    plain = al.gap_certificate(found.embedding.W, X, contrast, rule).gap  # of the subgradient that the rule gives
    if margin == 1.0:
        assert plain > 100 * found.gap


# --- ranks ------------------------------------------------------------------------------------------------------------


def setting(tau: float) -> tuple[Array, al.Contrast, al.Nce]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 5))
    return np.vstack([x, x + 0.3 * rng.standard_normal((24, 5))]), al.Contrast.of(24, views="one"), al.Nce(tau, 0.0)


@pytest.mark.parametrize(("tau", "rank"), [(2.0, 2), (0.3, 4), (0.05, 5)])
def test_A22_the_range_of_G_is_in_the_top_eigenspace_of_the_levelled_covariance(
    tau: float, rank: int, record_property: Record
) -> None:
    """C G = lambda_max(C) G at the optimum, whose rank is the multiplicity of lambda_max."""
    X, contrast, rule = setting(tau)
    found = al.live_optimum(X, contrast, rule, tol=TIGHT)
    own, other = pairs(X, "one")
    G = found.G
    alpha = softmax(u_of(G, own, other), tau)
    C = covariance(alpha, own, other)
    mu, V = np.linalg.eigh(C)
    level = int((mu > mu[-1] * (1 - LEVEL_TOL)).sum())
    assert np.linalg.matrix_rank(G, tol=1e-5) == level == found.rank == found.multiplicity == rank
    agree(record_property, C @ G, mu[-1] * G, RESIDUAL_TOL, scale=mu[-1])
    U = np.linalg.eigh(G)[1][:, -rank:]
    record_property("angle", angle := sine(U, V[:, -rank:]))
    assert angle < 1e-3
    assert np.trace(G) == pytest.approx(1.0, rel=1e-9)
    assert np.abs(found.alpha - alpha).max() < LEVEL_TOL * alpha.max()


@pytest.mark.parametrize("tau", [2.0, 0.3, 0.05])
def test_A23_refuted_rank_one_is_of_frozen_alpha_only(tau: float, record_property: Record) -> None:
    """Frozen alpha: one direction, PCA. Alpha moving: every direction alone is above a W of two columns."""
    X = data(11, N=10, noise=0.3)
    own, other = pairs(X, "one")

    def loss(G: Array) -> float:
        return float(tau * lse(u_of(G, own, other) / tau).sum())

    contrast, rule = al.Contrast.of(10, views="one"), al.Nce(tau, 0.0)
    found = al.live_optimum(X, contrast, rule, tol=TIGHT)
    angles = np.linspace(0, np.pi, 2001)
    alone = min(loss(np.outer(v, v)) for v in np.column_stack([np.cos(angles), np.sin(angles)]))
    C = covariance(softmax(u_of(found.G, own, other), tau), own, other)
    frozen = [float(v @ C @ v) for v in np.column_stack([np.cos(angles), np.sin(angles)])]
    assert max(frozen) == pytest.approx(np.linalg.eigvalsh(C)[-1], rel=1e-5)  # frozen: some direction is best
    excess = (alone - found.loss) / (loss(np.zeros((2, 2))) - found.loss)
    if tau == 2.0:
        record_property(
            "counterexample", f"tau = {tau:g}: rank {found.rank}, the best direction alone {excess:.2e} above"
        )
        return
    assert found.rank == 2
    assert excess > 1e-3
    record_property(
        "counterexample",
        f"tau = {tau:g}: the best direction alone is {excess:.2g} of the decrease above two columns that balance alpha",
    )


def test_one_direction_is_enough_where_alpha_is_fixed() -> None:
    X = data(2, N=8, D=4)
    own, other = pairs(X, "two")
    C = covariance(np.ones(other.shape[:2]), own, other)
    found = al.live_optimum(X, al.Contrast.of(8), al.Linear(), radius=2.0)
    assert found.kind == "exact"
    assert found.rank == 1
    assert found.loss == pytest.approx(-0.5 * 2.0 * np.linalg.eigvalsh(C)[-1], rel=1e-12)
    assert found.gap <= 1e-11 * abs(found.loss)


# --- the game, and steps of PCA ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [2.0, 0.3, 0.05])
def test_A24_refuted_best_responses_cycle(tau: float, record_property: Record) -> None:
    """Exact PCA against exact alpha, undamped, repeats a few directions forever; averaged, it converges."""
    X, contrast, rule = setting(tau)
    least = al.live_optimum(X, contrast, rule, tol=TIGHT)
    decrease = least.collapse_loss - least.loss
    plain, averaged = (al.alternate(X, contrast, rule, damping=damping) for damping in ("none", "averaging"))
    # played again here, from the last direction on: the responses return after `period` moves and not before
    own, other = pairs(X, "one")
    G = first = plain.G
    for move in range(plain.period):
        v = np.linalg.eigh(covariance(softmax(u_of(G, own, other), tau), own, other))[1][:, -1]
        G = np.outer(v, v)
        back = np.abs(G - first).max() < 1e-6
        assert back == (move == plain.period - 1)
    assert plain.verdict == "cycles"
    assert plain.period >= 2
    excess = plain.losses[-plain.period :].min() - least.loss
    assert excess > 0.01 * decrease
    assert averaged.losses[-1] - least.loss < 1e-3 * decrease
    record_property(
        "counterexample",
        f"tau = {tau:g}: period {plain.period}, always {excess / decrease:.2g} of the decrease above the least or more",
    )


def test_A25_a_fixed_point_of_best_responses_is_the_global_optimum(record_property: Record) -> None:
    """A direction that PCA returns to at its own alpha has gap 0: play that settles has solved the loss."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((12, 2)) * np.array([2.0, 0.5])
    X = np.vstack([x, x + 0.3 * rng.standard_normal((12, 2))])
    own, other = pairs(X, "one")
    contrast, rule = al.Contrast.of(12, views="one"), al.Nce(20.0, 0.0)
    played = al.alternate(X, contrast, rule, tol=1e-15, steps=200)
    assert played.verdict == "settled"
    least = brute_force(lambda G: float(20.0 * lse(u_of(G, own, other) / 20.0).sum()), 1.0)
    collapse = 12 * 20.0 * math.log(11)
    assert played.moves[-1] < 1e-6
    assert np.linalg.matrix_rank(played.G, tol=1e-9) == 1
    agree(record_property, played.losses[-1], least, WITNESS_TOL, scale=collapse - least)


def test_A26_averaged_responses_converge_as_one_over_t(record_property: Record) -> None:
    """Weights 2 / (t + 2): L - L* <= 2 K / (t + 2), K = max over steps of the curvature of the loss between atoms."""
    X, contrast, rule = setting(0.3)
    least = al.live_optimum(X, contrast, rule, tol=TIGHT)
    run = al.frank_wolfe(X, contrast, rule, step="open_loop", tol=1e-12, max_steps=200)
    own, other = pairs(X, "one")
    # between atoms of norm 1 an entry of u moves by at most |x_i - x_i'|^2 / 2 + |x_i - x_j|^2 / 2, each in [0, its
    # square]; the second derivative of tau log-sum-exp is a variance of such moves over tau, at most a quarter of the
    # range squared
    reach = ((own**2).sum(axis=1)[:, None] + (other**2).sum(axis=2)).max(axis=1)
    curvature = float((reach**2).sum()) / 4 / 0.3
    t = np.arange(1, run.steps + 1)
    excess = run.losses[1:] - least.lower_bound
    assert np.all(excess <= 2 * curvature / (t + 2))
    G = np.zeros((5, 5))
    for k in range(3):  # played here as well
        v = np.linalg.eigh(covariance(softmax(u_of(G, own, other), 0.3), own, other))[1][:, -1]
        G = G + 2 / (k + 2) * (np.outer(v, v) - G)
        assert run.losses[k + 1] == pytest.approx(float(0.3 * lse(u_of(G, own, other) / 0.3).sum()), rel=1e-9)
    late, early = excess[-20:].max(), excess[10:30].max()
    record_property("gap", late / early)
    assert late < 0.2 * early


def test_A27_refuted_pairwise_steps_beat_averaging(record_property: Record) -> None:
    """Where the optimum has fewer dimensions than the data, averaged PCA is faster than pairwise steps."""
    steps = {}
    for tau in (2.0, 0.05):
        X, contrast, rule = setting(tau)
        for step in ("averaging", "pairwise", "corrective"):
            steps[tau, step] = al.frank_wolfe(X, contrast, rule, step=step, max_steps=150)
    assert steps[0.05, "pairwise"].converged
    assert steps[0.05, "pairwise"].steps < 0.5 * steps[0.05, "averaging"].steps  # rank 5 of 5: as over a polytope
    slow, quick = steps[2.0, "pairwise"], steps[2.0, "averaging"]  # rank 2 of 5
    assert quick.converged
    assert slow.gap > quick.gap
    assert not slow.converged
    for tau in (2.0, 0.05):
        assert steps[tau, "corrective"].converged
        assert steps[tau, "corrective"].steps <= 10
    record_property(
        "counterexample",
        f"tau = 2, N = 24 in R^5: averaging is within 1e-4 of the decrease after {quick.steps} steps, pairwise not "
        f"after {slow.steps}; at tau = 0.05 pairwise needs {steps[0.05, 'pairwise'].steps}",
    )


@pytest.mark.parametrize("step", ["averaging", "open_loop", "toward", "away", "pairwise", "corrective"])
def test_every_step_keeps_its_certificate_above_the_true_gap(step: Any) -> None:
    X = data(7, noise=0.4)
    own, other = pairs(X, "two")
    least = brute_force(lambda G: float(CONVEX["infonce"][1](u_of(G, own, other)).sum()), 3.0)
    run = al.frank_wolfe(X, al.Contrast.of(6), al.Nce(0.5, 1.0), radius=3.0, step=step, max_steps=40)
    assert np.all(run.losses - run.gaps <= least + 1e-10)
    assert run.lower_bound == pytest.approx((run.losses - run.gaps).max())
    assert run.losses[-1] < run.losses[0]
    assert np.trace(run.W.T @ run.W) <= 3.0 * (1 + 1e-12)
    if step in ("toward", "away", "pairwise", "corrective"):
        assert np.all(np.diff(run.losses) <= 1e-9 * abs(least))


# --- descent of W -----------------------------------------------------------------------------------------------------


def autograd(X: Array, views: str, tau: float, K: int, radius: float, seed: int) -> float:
    """InfoNCE of Z = XW, W on the ball by W sqrt(r / (1 + |W|^2)), from a seeded start: L-BFGS on torch's gradient."""
    N = len(X) // 2
    n = N if views == "one" else 2 * N
    T = torch.tensor(X)
    mask = torch.tensor([[j % N != i % N for j in range(n)] for i in range(n)])
    partner = [(i + N) % (2 * N) for i in range(n)]

    def both(w: Array) -> tuple[float, Array]:
        B = torch.tensor(w.reshape(X.shape[1], K), requires_grad=True)
        Z = T @ (B * torch.sqrt(radius / (1 + (B**2).sum())))
        own = ((Z[:n] - Z[partner]) ** 2).sum(1) / 2
        other = ((Z[:n, None] - Z[None, :n]) ** 2).sum(2) / 2
        u = (own[:, None] - other).masked_fill(~mask, -torch.inf)
        loss = tau * torch.logsumexp(u / tau, dim=1).sum()
        (grad,) = torch.autograd.grad(loss, B)
        return float(loss.detach()), grad.numpy().ravel()

    start = np.random.default_rng(seed).standard_normal(X.shape[1] * K)
    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 0.0, "gtol": 1e-9}
    return float(scipy.optimize.minimize(both, start, jac=True, method="L-BFGS-B", options=options).fun)


@pytest.mark.parametrize("tau", [0.3, 0.05])
def test_A28_no_descent_passes_the_bound_and_wide_ones_reach_it(tau: float, record_property: Record) -> None:
    """From every start W (D, K) ends above the certified bound, at it where K is at least the rank of the optimum."""
    X, contrast, rule = setting(tau)
    found = al.live_optimum(X, contrast, rule, tol=TIGHT)
    decrease = found.collapse_loss - found.loss
    ends = {K: [autograd(X, "one", tau, K, 1.0, seed) for seed in range(4)] for K in (1, 2, 5)}
    assert min(min(row) for row in ends.values()) >= found.lower_bound - ROUNDING * decrease
    agree(record_property, ends[5], found.loss, 1e-4, scale=decrease)  # the ball's map is flat far out
    for K in (1, 2):
        narrow = al.live_optimum(X, contrast, rule, n_components=K)
        assert narrow.embedding.W.shape == (5, K)
        assert narrow.loss <= min(ends[K]) + 1e-5 * decrease
        assert narrow.lower_bound <= found.loss
        assert narrow.loss - narrow.lower_bound > 0.01 * decrease  # the price of K columns
        assert f"{K} columns" in narrow.message


def test_A29_where_views_overlap_the_ball_is_not_tight(record_property: Record) -> None:
    """At lambda_max(C) = 0 the norm of W is decided by the loss and not by the ball; below it W = 0 is optimal."""
    X = data(8, N=8, noise=0.8)
    own, other = pairs(X, "one")
    contrast, rule = al.Contrast.of(8, views="one"), al.Nce(0.5, 1.0)

    def loss(G: Array) -> float:
        return float(CONVEX["infonce"][1](u_of(G, own, other)).sum())

    found = al.live_optimum(X, contrast, rule, radius=1000.0, tol=TIGHT)
    assert 0 < np.trace(found.G) < 900
    e = np.exp(u_of(found.G, own, other) / 0.5)
    C = covariance(e / (1 + e.sum(axis=1, keepdims=True)), own, other)
    frozen = covariance(np.full(other.shape[:2], 1 / 8), own, other)
    agree(record_property, np.linalg.eigvalsh(C)[-1], 0.0, 1e-5, scale=np.linalg.eigvalsh(frozen)[-1])
    assert found.loss <= brute_force(loss, 1000.0) + WITNESS_TOL * found.collapse_loss
    hopeless = data(8, N=8, noise=20.0)
    own, other = pairs(hopeless, "one")
    assert np.linalg.eigvalsh(covariance(np.ones(other.shape[:2]), own, other))[-1] < 0
    collapsed = al.live_optimum(hopeless, contrast, rule)
    assert collapsed.rank == 0
    assert np.all(collapsed.embedding.Z == 0)
    assert collapsed.converged
    assert collapsed.loss == pytest.approx(8 * 0.5 * math.log(8))


@pytest.mark.parametrize("constraint", ["unit", "frobenius"])
@pytest.mark.parametrize("name", ["infonce", "soft_triplet", "r_s", "triplet", "lifted_structured"])
def test_A29b_over_all_embeddings_every_convex_loss_is_least_at_the_simplex(
    name: str, constraint: Any, record_property: Record
) -> None:
    """min L = n F(-2 h a N / (N - 1), ..): the samples at the corners of a regular simplex, whatever the rule."""
    N, radius = 4, 3.0
    method = ss.AlphaCL(name, constraint=constraint, **({"radius": radius} if constraint == "frobenius" else {}))
    graph = ss.Graph.from_groups(np.arange(2 * N) % N)
    best = ss.optimum(method, graph, N - 1)
    assert best.kind == "exact"
    own, other = pairs(best.embedding.Z, "two")
    assert np.abs(own).max() == 0
    a = 1.0 if constraint == "unit" else radius / (2 * N)
    assert (other**2).sum(axis=2) == pytest.approx(2 * a * N / (N - 1))

    def size(Z: Array) -> Array:
        return (
            Z / np.linalg.norm(Z, axis=1, keepdims=True)
            if constraint == "unit"
            else Z * math.sqrt(radius / (Z**2).sum())
        )

    def loss(Z: Array) -> float:
        near, far = pairs(size(Z), "two")
        u = ((near**2).sum(axis=1)[:, None] - (far**2).sum(axis=2)) / 2
        found = {
            "infonce": lambda: 0.5 * np.logaddexp(0, lse(u / 0.5)),
            "soft_triplet": lambda: 0.5 * np.logaddexp(0, lse(u / 0.5 + 1)),
            "r_s": lambda: np.array([sparse(row, 0.5) for row in u]),
            "triplet": lambda: np.maximum(u + 1, 0).sum(axis=1),
            "lifted_structured": lambda: np.maximum(1 + lse(u), 0) ** 2,
        }[name]()
        return float(found.sum())

    rng = np.random.default_rng(0)
    ends = []
    for _ in range(2):
        start = rng.standard_normal(2 * N * (N - 1))
        done = scipy.optimize.minimize(lambda z: loss(z.reshape(2 * N, N - 1)), start, options={"maxiter": 200})
        ends.append(float(done.fun))
    spread = loss(np.ones((2 * N, N - 1))) - best.loss
    assert min(ends) >= best.loss - 1e-9 * spread
    assert loss(best.embedding.Z) == pytest.approx(best.loss, rel=1e-12)
    agree(record_property, min(ends), best.loss, 1e-5, scale=spread)  # gradients by differences


def sparse(u: Array, tau: float) -> float:
    """max a'u - tau |a|^2 / 2 over the simplex."""
    top = np.sort(u)[::-1]
    kept = [k for k in range(1, len(u) + 1) if top[k - 1] > (top[:k].sum() - tau) / k]
    k = kept[-1]
    a = (top[:k] - (top[:k].sum() - tau) / k) / tau
    return float(a @ top[:k] - tau * a @ a / 2)


# --- the edge ---------------------------------------------------------------------------------------------------------


def test_what_has_no_certificate_is_refused_with_a_reason() -> None:
    X, contrast = data(0), al.Contrast.of(6)
    for rule, words in ((al.ModifiedTriplet(), "not convex"), (al.DirectRule(4.0), "without a loss")):
        with pytest.raises(NotClosedForm, match=words):
            al.live_optimum(X, contrast, rule)
    for options, words in (
        ({"radius": 0.0}, "radius"),
        ({"tol": -1}, "tol"),
        ({"n_components": 3}, "n_components"),
        ({"n_components": True}, "n_components"),
    ):
        with pytest.raises(DataError, match=words):
            al.live_optimum(X, contrast, al.Mine(), **options)
    with pytest.raises(DataError, match="all rows of X are equal"):
        al.live_optimum(np.ones((12, 2)), contrast, al.Mine())
    with pytest.raises(DataError, match="outside the ball"):
        al.gap_certificate(2 * np.eye(2), X, contrast, al.Mine())
    with pytest.raises(DataError, match="damping"):
        al.alternate(X, contrast, al.Mine(), damping=2.0)
    with pytest.raises(DataError, match="step="):
        al.frank_wolfe(X, contrast, al.Mine(), step="sideways")


def test_the_optimum_moves_with_shifts_rotations_and_useless_features_of_the_data() -> None:
    X, contrast, rule = data(1, N=7, D=3), al.Contrast.of(7), al.Nce(0.4, 1.0)
    found = al.live_optimum(X, contrast, rule, tol=TIGHT)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    wide = np.hstack([X + 100.0, np.full((14, 2), 3.0)]) @ Q
    other = al.live_optimum(wide, contrast, rule, tol=TIGHT)
    assert other.loss == pytest.approx(found.loss, rel=1e-9)
    assert other.embedding.W.shape[0] == 5
    assert other.embedding.transform(wide) == pytest.approx(other.embedding.Z, abs=1e-10)
    gram = found.embedding.Z @ found.embedding.Z.T
    assert np.abs(other.embedding.Z @ other.embedding.Z.T - gram).max() < 1e-4 * np.abs(gram).max()
