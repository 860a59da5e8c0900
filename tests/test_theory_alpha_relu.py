"""Two-layer ReLU networks under E_alpha with alpha fixed: gated covariances, ranks, one-hot composition, kinks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from measure import agree

from spectral_ssl.alpha_cl import Contrast, SignedGraph
from spectral_ssl.alpha_cl.one_hot import (
    composed_value,
    composition_threshold,
    one_hot_optimum,
    one_hot_views,
    two_rows,
)
from spectral_ssl.alpha_cl.relu import LIMITS, ReluEnergy, ReluLimit, ascend_relu, gated
from spectral_ssl.errors import DataError

SAME = 1e-12  # one number by two roads in float64
FOUND = 1e-7  # SLSQP and L-BFGS end at a gradient of 1e-8
STILL = 1e-6  # a tangent gradient over 2E of a point that is called stationary


def clusters(seed: int, n: int = 24, D: int = 4, k: int = 5, spread: float = 0.05, view: float = 0.1) -> np.ndarray:
    """Dense clusters about unit centres, two views of each sample, (2n, D)."""
    rng = np.random.default_rng(seed)
    C = rng.standard_normal((k, D))
    x = (C / np.linalg.norm(C, axis=1, keepdims=True))[np.arange(n) % k] + spread * rng.standard_normal((n, D))
    return np.vstack([x + view * rng.standard_normal((n, D)) for _ in range(2)])


def naive_energy(Z: np.ndarray, contrast: Contrast, alpha: np.ndarray) -> float:
    """sum_ij alpha_ij (|z_i - z_j|^2 - |z_i - z_i'|^2) / 2, pair by pair."""
    total = 0.0
    for i, p, row in zip(contrast.anchors, contrast.positives, alpha, strict=True):
        others = [j for j in contrast.candidates if j not in (i, p)]
        for a, j in zip(row, others, strict=True):
            total += a * (np.sum((Z[i] - Z[j]) ** 2) - np.sum((Z[i] - Z[p]) ** 2)) / 2
    return total


def random_case(seed: int, views: Any = "two") -> tuple[np.ndarray, Contrast, np.ndarray, ReluEnergy]:
    rng = np.random.default_rng(seed)
    X, contrast = rng.standard_normal((12, 3)), Contrast.of(6, views=views)
    alpha = rng.uniform(0, 1, (contrast.n_anchors, contrast.n_negatives))
    return X, contrast, alpha, ReluEnergy(X, SignedGraph.of(contrast, alpha))


def uniform(X: np.ndarray) -> ReluEnergy:
    n = len(X) // 2
    return ReluEnergy(X, SignedGraph.uniform(Contrast.of(n, views="one"), 1 / n**2))


# --- gradients, and the best second layer -----------------------------------------------------------------------------


@pytest.mark.parametrize("views", ["one", "two"])
def test_A30_each_unit_sees_its_own_gated_covariance(views: Any, record_property: Any) -> None:
    """dE/dw_k = s_k sum_l s_l C_alpha[x^(k), x^(l)] w_l against autograd through the network."""
    X, contrast, alpha, energy = random_case(0, views)
    rng = np.random.default_rng(1)
    W1 = rng.standard_normal((4, 3))
    _, s, _ = energy.direction(W1)
    W = torch.tensor(W1, requires_grad=True)
    Z = torch.relu(torch.as_tensor(X) @ W.T) @ torch.as_tensor(s)[:, None]
    (expected,) = torch.autograd.grad(contrast.energy(Z, alpha), W)
    agree(record_property, energy.gradient(W1), expected.numpy(), SAME, scale=float(expected.abs().max()))
    by_units = [
        s[k] * sum(s[m] * energy.graph.covariance(gated(X, W1[k]), gated(X, W1[m])) @ W1[m] for m in range(4))
        for k in range(4)
    ]
    agree(record_property, by_units, expected.numpy(), SAME, scale=float(expected.abs().max()))
    agree(record_property, energy.value(W1), naive_energy(Z.detach().numpy(), contrast, alpha), SAME)
    for k, m in ((0, 1), (2, 2)):
        mine = energy.covariance(W1)[k, m]
        agree(record_property, W1[k] @ energy.graph.covariance(gated(X, W1[k]), gated(X, W1[m])) @ W1[m], mine, SAME)


def test_A31_the_best_second_layer_has_rank_one(record_property: Any) -> None:
    """max over |W_2|_F = 1 (and over rows of equal norm) of E is h lambda_max(C_alpha[f]), at W_2 = v s'."""
    X, contrast, alpha, energy = random_case(3)
    rng = np.random.default_rng(2)
    W1 = rng.standard_normal((4, 3))
    F = np.maximum(X @ W1.T, 0)

    def loss(v: np.ndarray, per_row: bool) -> float:
        W2 = v.reshape(3, 4)
        W2 = W2 / np.linalg.norm(W2, axis=1, keepdims=True) / np.sqrt(3) if per_row else W2 / np.linalg.norm(W2)
        return -naive_energy(F @ W2.T, contrast, alpha)

    for per_row in (False, True):
        ends = [scipy.optimize.minimize(loss, rng.standard_normal(12), (per_row,), method="BFGS") for _ in range(1)]
        agree(record_property, -min(end.fun for end in ends), energy.value(W1), 1e-5)  # without a gradient
    W2 = energy.best_second(W1, 3)
    agree(record_property, naive_energy(F @ W2.T, contrast, alpha), energy.value(W1), SAME)
    np.testing.assert_allclose(np.linalg.norm(W2, axis=1), 1 / np.sqrt(3))
    assert np.linalg.matrix_rank(W2) == 1


# --- one-hot inputs ---------------------------------------------------------------------------------------------------


def least_product(y: np.ndarray, H: int = 3) -> float:
    """Least |W_1|_F over W_1 (H, P) >= 0 and |s| <= 1 with W_1's = y, by SLSQP from a few starts."""
    P, best = y.size, np.inf
    for seed in range(4):
        found = scipy.optimize.minimize(
            lambda v: np.sum(v[: H * P] ** 2),
            np.random.default_rng(seed).uniform(-1, 1, H * P + H),
            bounds=[(0, None)] * (H * P) + [(-1, 1)] * H,
            constraints=[
                {"type": "eq", "fun": lambda v: v[: H * P].reshape(H, P).T @ v[H * P :] - y},
                {"type": "ineq", "fun": lambda v: 1 - np.sum(v[H * P :] ** 2)},
            ],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 400},
        )
        best = min(best, float(np.sqrt(found.fun))) if found.success else best
    return best


def test_A32_the_best_energy_of_a_direction_needs_two_row_groups(record_property: Any) -> None:
    """Least |W_1|_F |s| over W_1 >= 0 with W_1's = y is |y_+| + |y_-|, by SLSQP; two rows attain it."""
    for y in (np.array([0.7, -0.3, 0.4]), np.array([0.5, 0.2, 0.1]), np.array([-0.2, 0.9, -0.6])):
        size = np.linalg.norm(np.maximum(y, 0)) + np.linalg.norm(np.minimum(y, 0))
        agree(record_property, least_product(y), size, FOUND)
        W1, s = two_rows(y)
        np.testing.assert_allclose(W1.T @ s, y / size, atol=1e-15)
        assert np.linalg.norm(W1) == pytest.approx(1)
        assert np.linalg.norm(s) == pytest.approx(1)
        C = np.array([[3.0, -1, 0.5], [-1, 2, 0.2], [0.5, 0.2, 1]])
        agree(record_property, composed_value(C, y), s @ (W1 @ C @ W1.T) @ s / 2, SAME)


@pytest.mark.parametrize("a", [0.0, 0.3, 0.8, 1.0])
def test_A33_two_patterns_compose_and_win_by_a_squared(a: float, record_property: Any) -> None:
    """X = [[q, -c], [-c, q]]; one pattern q/2, composition (q+c)/4, linear (q+c)/2; the margin is a^2."""
    X, _ = one_hot_views(2, a)
    q, c = 2 * (1 + a) ** 2 - 4 * a**2, 2 * (1 + a) ** 2
    pairs = sum(np.outer(d, d) for d in (X[0] - X[1], X[1] - X[0]))
    naive = pairs - sum(np.outer(X[i] - X[i + 2], X[i] - X[i + 2]) for i in (0, 1))
    agree(record_property, naive, [[q, -c], [-c, q]], SAME, scale=c)
    o = one_hot_optimum(2, a)
    agree(record_property, [o.single, o.linear], [q / 2, (q + c) / 2], SAME)
    agree(record_property, o.value, (q + c) / 4, SAME)
    agree(record_property, o.value - o.single, a**2, SAME, scale=1.0)
    assert o.composes == (a > 0), "a tie at a = 0"
    if a:
        np.testing.assert_allclose(o.y, [0.5, -0.5])
    agree(record_property, composed_value(naive, o.y), o.value, SAME)


def test_A34_many_patterns_compose_only_beyond_a_spread(record_property: Any) -> None:
    """Closed form for P patterns against a search over y; none composes from five patterns on."""
    for P, a in ((3, 0.5), (3, 0.7), (3, 1.0), (4, 0.8), (4, 0.9), (4, 1.0), (5, 1.0), (7, 1.0)):
        X, contrast = one_hot_views(P, a)
        alpha = np.ones((P, P - 1))
        C = np.array([[naive_energy(X @ (e + f)[:, None], contrast, alpha) for f in np.eye(P)] for e in np.eye(P)])
        own = np.array([naive_energy(X @ e[:, None], contrast, alpha) for e in np.eye(P)])
        C = C - own[:, None] - own  # polarisation of 2E = y'Cy: the off-diagonal entries of C
        np.fill_diagonal(C, 2 * own)

        def search(y: np.ndarray, C: np.ndarray = C) -> float:
            size = np.linalg.norm(np.maximum(y, 0)) + np.linalg.norm(np.minimum(y, 0))
            return -float(y @ C @ y) / size**2 / 2

        options = {"maxiter": 3000, "xatol": 1e-9, "fatol": 1e-13}
        starts = [np.eye(P)[0] - w * (1 - np.eye(P)[0]) for w in (-0.01, 0.05, 0.3)]
        starts += list(np.random.default_rng(0).standard_normal((5, P)))
        best = max(-scipy.optimize.minimize(search, y, method="Nelder-Mead", options=options).fun for y in starts)
        o = one_hot_optimum(P, a)
        agree(record_property, o.value, best, FOUND)
        assert o.composes == (a > composition_threshold(P)) == (o.value > o.single + 1e-9)
        agree(record_property, composed_value(C, o.y), o.value, SAME)
    agree(record_property, composition_threshold(5), 1.0, SAME)
    assert composition_threshold(2) == 0
    assert all(composition_threshold(P) > 1 for P in (6, 10, 1000))
    o = one_hot_optimum(5, 0.9)
    record_property(
        "counterexample", f"5 patterns, magnitudes 1 +- 0.9: one pattern {o.single:.3f}, linear {o.linear:.3f}"
    )
    assert not o.composes


@functools.cache
def composed(a: float) -> tuple[ReluEnergy, list[ReluLimit]]:
    X, contrast = one_hot_views(2, a)
    energy = ReluEnergy(X, SignedGraph.uniform(contrast))
    return energy, [ascend_relu(energy, 3, seed=seed) for seed in range(20)]


@pytest.mark.parametrize("a", [0.3, 0.8])
def test_A35_ascent_ends_at_the_closed_form_with_rank_two(a: float, record_property: Any) -> None:
    """The best of 20 starts is (q + c)/4 with W_1 of rank 2; a rank-two point of one's own is a local maximum."""
    energy, runs = composed(a)
    best = max(runs, key=lambda run: run.value)
    o = one_hot_optimum(2, a)
    agree(record_property, best.value, o.value, FOUND)
    assert best.rank == np.linalg.matrix_rank(best.W1, tol=1e-4) == 2
    assert best.residual < STILL
    assert np.mean([run.value > o.value * (1 - 1e-6) for run in runs]) > 0.5, "most starts get there"
    W1, _ = two_rows(o.y)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(60):
            moved = W1 + size * rng.standard_normal(W1.shape)
            assert energy.value(moved / np.linalg.norm(moved)) <= o.value * (1 + SAME)


# --- ranks on clusters ------------------------------------------------------------------------------------------------


@functools.cache
def limits(norm: Any, view: float = 0.1) -> list[tuple[ReluEnergy, ReluLimit]]:
    found = []
    for seed in range(2):
        energy = uniform(clusters(seed, view=view))
        found += [(energy, ascend_relu(energy, 5, norm=norm, seed=start)) for start in range(4)]
    return found


def test_A36_rows_of_fixed_norm_keep_ranks_above_one(record_property: Any) -> None:
    """Stationary points of rank 2 and more among live units, alpha fixed and uniform; the linear net has rank 1."""
    found = [(energy, run) for energy, run in limits("per_filter") if run.kind in ("smooth", "kink")]
    above = [(energy, run) for energy, run in found if run.rank >= 2]
    assert len(above) >= 4
    energy, run = max(above, key=lambda pair: pair[1].rank)
    np.testing.assert_allclose(np.linalg.norm(run.W1, axis=1), 1 / np.sqrt(5), rtol=1e-9)
    live = np.linalg.svd(run.W1[run.live], compute_uv=False)
    assert live[run.rank - 1] > 1e-3 * live[0], "not rank one up to rounding"
    linear = np.linalg.eigvalsh(energy.graph.covariance(energy.X))[-1] / 2
    assert 0.1 * linear < run.value < linear
    record_property("counterexample", f"rank {run.rank}, {run.kind}, E = {run.value / linear:.2f} of the linear net's")


def test_A37_frobenius_norms_let_two_atoms_stay_only_where_e_curves_down(record_property: Any) -> None:
    """Between two units that are read (a_k - a_l)'M(a_k - a_l) <= 0; rank 1 where M is positive, as of equal views."""
    worst = -np.inf
    for a in (0.3, 0.8):
        energy, runs = composed(a)
        for run in (run for run in runs if run.kind == "smooth" and run.rank == 2):
            k, m = np.flatnonzero(run.live)[:2]
            sizes, (_, s, _) = np.linalg.norm(run.W1, axis=1), energy.direction(run.W1)
            atoms = np.maximum(energy.X @ run.W1.T, 0) / sizes * np.sign(s)
            d = atoms[:, k] - atoms[:, m]
            bend = 2 * naive_energy(d[:, None], energy.graph.contrast, np.ones((2, 1)))
            agree(record_property, energy.curvatures(run.W1)[k, m], bend, SAME, scale=abs(run.value))
            worst = max(worst, bend / run.value)
    assert worst <= STILL
    for energy, run in limits("frobenius", view=0.0):
        both = np.vstack([np.eye(24), np.eye(24)])
        M = both.T @ energy.graph.to_csr().toarray() @ both
        assert np.linalg.eigvalsh(M)[0] > -1e-12, "views that are equal: nothing pulls"
        assert run.rank == 1
    assert {run.rank for _, run in limits("frobenius") if run.kind != "unfinished"} == {1}, "not seen above"


# --- kinks ------------------------------------------------------------------------------------------------------------


def test_A38_a_limit_on_an_activation_boundary_is_said_and_certified(record_property: Any) -> None:
    """0 is in the hull of the gradients with gates in [0, 1] on the boundary, the plain gradient is not 0 there."""
    kinks = [(energy, run) for energy, run in limits("per_filter") if run.kind == "kink"]
    assert kinks
    told = 0.0
    for energy, run in kinks:
        assert "kink" in run.message
        X, W = energy.X, run.W1
        for k, i in run.boundary:
            assert abs(W[k] @ X[i]) < 1e-8
        # one-sided slopes along a direction that crosses a boundary, by differences of E
        k, i = run.boundary[0]
        d = np.zeros_like(W)
        d[k] = X[i] - (X[i] @ W[k]) / (W[k] @ W[k]) * W[k]
        d /= np.linalg.norm(d)

        def at(t: float, energy: ReluEnergy = energy, W: np.ndarray = W, d: np.ndarray = d) -> float:
            V = W + t * d
            return energy.value(V / np.linalg.norm(V, axis=1, keepdims=True) / np.sqrt(len(V)))

        t = 1e-6
        right, left = (at(t) - at(0)) / t, (at(0) - at(-t)) / t
        told = max(told, abs(right - left) / run.value)
        # gates that make the tangent gradient vanish, found by projected gradient steps of our own
        gates = dict.fromkeys(run.boundary, 0.5)
        _, s, _ = energy.direction(W)
        pull = energy.graph.to_csr() @ (np.maximum(X @ W.T, 0) @ s)
        open_ = (X @ W.T > 0).astype(float)
        for _ in range(1500):
            for (unit, row), c in gates.items():
                open_[row, unit] = c
            G = s[:, None] * ((open_ * pull[:, None]).T @ X)
            G = G - np.sum(G * W, axis=1, keepdims=True) / np.sum(W * W, axis=1, keepdims=True) * W
            for (unit, row), c in gates.items():
                v = s[unit] * pull[row] * (X[row] - (X[row] @ W[unit]) / (W[unit] @ W[unit]) * W[unit])
                gates[unit, row] = float(np.clip(c - 0.5 * (G[unit] @ v) / (v @ v) / len(gates), 0, 1))
        agree(record_property, np.linalg.norm(G) / (2 * run.value), run.residual, 1e-4, scale=1.0)
    assert told > 1e-3, "E has a kink there"


# --- what is refused, and what is said --------------------------------------------------------------------------------


def test_the_ascent_tells_its_course_and_never_falls_below_its_start() -> None:
    energy = uniform(clusters(3, n=10))
    start = np.random.default_rng(5).standard_normal((4, 4))
    run = ascend_relu(energy, 4, start=start, n_outputs=2)
    assert run.course.shape[1] == 2
    assert run.value >= energy.value(start / np.linalg.norm(start))
    assert run.value == pytest.approx(energy.value(run.W1), rel=1e-9)
    assert np.linalg.norm(run.W1) == pytest.approx(1)
    assert run.W2.shape == (2, 4)
    assert run.message == LIMITS[run.kind]
    assert 1 <= run.course[:, 1].min() <= run.course[:, 1].max() <= 4 + 1e-9


def test_units_that_see_nothing_collapse() -> None:
    X, contrast = one_hot_views(2, 0.3)
    run = ascend_relu(ReluEnergy(X, SignedGraph.uniform(contrast)), 2, start=-np.ones((2, 2)))
    assert (run.kind, run.value, run.rank) == ("collapsed", 0.0, 0)


def test_a_unit_that_sees_inputs_at_a_loss_is_not_said_to_collapse() -> None:
    """Views opposite to each other, one unit: E is below 0 whatever it sees, and that is its value."""
    x = np.random.default_rng(0).standard_normal((6, 2))
    X, contrast = np.vstack([x, -3 * x]), Contrast.of(6)
    run = ascend_relu(ReluEnergy(X, SignedGraph.uniform(contrast)), 1)
    alpha = np.ones((contrast.n_anchors, contrast.n_negatives))
    expected = naive_energy(np.maximum(X @ run.W1.T, 0.0) @ run.W2.T, contrast, alpha)
    assert expected < -1
    assert run.value == pytest.approx(expected, rel=SAME)
    assert (run.kind != "collapsed", run.rank) == (True, 1)


def test_what_cannot_be_ascended_is_refused() -> None:
    X, contrast = one_hot_views(3, 0.3)
    graph = SignedGraph.uniform(contrast)
    for make, words in (
        (lambda: ReluEnergy(X[:4], graph), "6 rows"),
        (lambda: ascend_relu(ReluEnergy(X, graph), 2, norm="l1"), "norm must be"),  # type: ignore[arg-type]
        (lambda: ascend_relu(ReluEnergy(X, graph), 2, start=np.zeros((2, 3))), "no row of zeros"),
        (lambda: ReluEnergy(X, graph).value(np.ones((2, 2))), "one column per feature"),
        (lambda: one_hot_views(1, 0.3), "n_patterns"),
        (lambda: one_hot_optimum(2, 1.5), "spread"),
        (lambda: composed_value(np.eye(2), np.zeros(2)), "y is zero"),
    ):
        with pytest.raises(DataError, match=words):
            make()
