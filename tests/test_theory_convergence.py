"""Convergence of gradient descent on fixed tuples: kernels by autograd, infima by search, envelopes on real runs."""

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from measure import agree

from spectral_ssl.errors import DataError
from spectral_ssl.theory.bound import Bound
from spectral_ssl.theory.convergence import (
    DescentTrace,
    dead_start,
    descent_bounds,
    fit_rates,
    kappa,
    linear_envelope,
    power_envelope,
    small_start_gradient,
    square_constant,
)
from spectral_ssl.theory.tuples import Tuples, draw_tuples, fresh_tuples
from spectral_ssl.training.checkpoint import Checkpoint
from spectral_ssl.training.convergence import Descended, DescentSetup, MarginProblem, descend, run_identity

ROUND = 1e-10  # two orders of float64 sums of hundreds of products
SECOND_ORDER = 1e-4  # steps of 1e-4 from a point: what is dropped is of their square, next to terms of order one
SEARCHED = 2e-3  # L-BFGS follows a loss to an infimum at infinity until it is this flat

shapes = st.tuples(
    st.integers(1, 3), st.integers(1, 3), st.integers(3, 9), st.integers(1, 3), st.integers(2, 4), st.integers(0, 10**6)
)  # n, N, width, depth, outputs, seed


def labelled_pool(n_classes: int = 3, per_class: int = 3, D: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(seed).standard_normal((n_classes * per_class, D))
    return X / np.linalg.norm(X, axis=1, keepdims=True), np.arange(len(X)) // per_class


def naive_margins(problem: MarginProblem) -> list[torch.Tensor]:
    """Every margin by itself, from one row at a time."""
    t, s = problem.tuples, problem.setup

    def f(x: np.ndarray) -> torch.Tensor:
        h = torch.relu(problem.A @ torch.tensor(x))
        for W in problem.weights:
            h = torch.relu(W @ h)
        out = problem.B @ h
        return out / out.norm() if s.unit else out

    return [
        (f(t.X[a]) @ f(t.X[p]) - f(t.X[a]) @ f(t.X[q])) / s.temperature
        for a, p, row in zip(t.anchors, t.positives, t.negatives, strict=True)
        for q in row
    ]


def jacobian(problem: MarginProblem) -> np.ndarray:
    """(nN, parameters), a backward pass for each margin."""
    rows = [torch.autograd.grad(v, problem.weights, retain_graph=True) for v in naive_margins(problem)]
    return np.array([torch.cat([g.flatten() for g in row]).numpy() for row in rows])


def naive_loss(problem: MarginProblem) -> tuple[float, np.ndarray, np.ndarray]:
    """L, its gradient by autograd of the naive margins, and the losses of tuples."""
    v = torch.stack(naive_margins(problem)).reshape(problem.tuples.negatives.shape)
    if problem.setup.loss == "squared":
        losses = ((v - problem.setup.target) ** 2).mean(dim=1) / 2
    else:
        losses = torch.log(1 + torch.exp(-v).sum(dim=1))
    gradient = torch.autograd.grad(losses.mean(), problem.weights)
    return float(losses.mean().detach()), torch.cat([g.flatten() for g in gradient]).numpy(), losses.detach().numpy()


def a_problem(shape: tuple[int, ...], **options: object) -> MarginProblem:
    n, N, width, depth, d, seed = shape
    setup = DescentSetup(width, depth=depth, n_outputs=d, **options)  # type: ignore[arg-type]
    try:
        return MarginProblem(fresh_tuples(n, N, 4, seed), setup, seed)
    except DataError:  # outputs of 0, which narrow encoders have, and no direction
        assume(False)
        raise


@functools.cache
def a_run(loss: str, width: int = 32, steps: int = 500, seed: int = 0) -> Descended:
    setup = DescentSetup(width, n_outputs=16, loss=loss)  # type: ignore[arg-type]
    return descend(fresh_tuples(12, 2, 64, seed), setup, steps=steps, looks=10, seed=seed)


# --- gradients and kernels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"unit": True, "temperature": 0.4}, {"temperature": 2.0}])
@given(shape=shapes)
@settings(max_examples=8, deadline=None)
def test_kernel_losses_and_gradient_are_those_of_margins_taken_one_by_one(options: dict, shape: tuple) -> None:
    problem = a_problem(shape, **options)
    J = jacobian(problem)
    scale = max(1.0, float(np.abs(J).max()) ** 2)
    assert np.abs(problem.kernel() - J @ J.T).max() <= ROUND * scale
    _, gradient, tuple_losses = naive_loss(problem)
    losses, found = problem.evaluate()
    assert losses == pytest.approx(tuple_losses, rel=1e-9)
    assert torch.cat([g.flatten() for g in found]).numpy() == pytest.approx(gradient, rel=1e-8, abs=1e-12)


def test_N1_kernel_of_margins_by_layers(record_property) -> None:
    """JJ' from rows' activations equals that of autograd's Jacobian, and the gradient is -J'w/n."""
    X, codes = labelled_pool()
    t = draw_tuples(X, codes, 6, 3, collide=True, seed=1)
    for options in ({}, {"unit": True, "temperature": 0.5}):
        problem = MarginProblem(t, DescentSetup(11, depth=3, n_outputs=4, **options), 1)
        J = jacobian(problem)
        agree(record_property, problem.kernel(), J @ J.T, ROUND, scale=float(np.abs(J @ J.T).max()))
        e = np.exp(-torch.stack(naive_margins(problem)).detach().numpy()).reshape(t.negatives.shape)
        w = e / (1 + e.sum(axis=1, keepdims=True))
        gradient = np.concatenate([g.numpy().ravel() for g in problem.evaluate()[1]])
        agree(record_property, gradient, -J.T @ w.ravel() / t.n, ROUND, scale=float(np.abs(gradient).max()))


def test_losses_keep_their_digits_at_large_margins_of_either_sign() -> None:
    t = fresh_tuples(3, 2, 6)
    for scale in (1.0, 30.0):
        problem = MarginProblem(t, DescentSetup(9, n_outputs=4, output_scale=scale))
        import mpmath

        v = problem.margins().detach().numpy()
        exact = [float(mpmath.log(1 + sum(mpmath.exp(-mpmath.mpf(x)) for x in row))) for row in v]
        assert problem.tuple_losses().detach().numpy() == pytest.approx(exact, rel=1e-13)


def test_curvature_is_the_greatest_eigenvalue_of_the_hessian() -> None:
    problem = MarginProblem(fresh_tuples(3, 2, 4), DescentSetup(4, depth=1, n_outputs=3))

    def loss(W: torch.Tensor) -> torch.Tensor:
        held, problem.weights = problem.weights, [W]
        value = problem.tuple_losses().mean()
        problem.weights = held
        return value

    H = torch.autograd.functional.hessian(loss, problem.weights[0].detach()).reshape(16, 16).numpy()
    assert problem.curvature() == pytest.approx(np.abs(np.linalg.eigvalsh(H)).max(), rel=1e-2)


# --- inequalities -----------------------------------------------------------------------------------------------------


def test_N2_gradient_is_at_least_what_the_kernel_leaves_of_the_loss(record_property) -> None:
    """|grad L|^2 >= lam_min/(nN) (mean q)^2 >= c L^2, over shapes; worst violation recorded."""
    worst = 0.0

    @given(shape=shapes, unit=st.booleans())
    @settings(max_examples=25, deadline=None, derandomize=True)
    def holds(shape: tuple, unit: bool) -> None:
        nonlocal worst
        problem = a_problem(shape, unit=unit, temperature=0.7)
        n, N = shape[:2]
        L, gradient, losses = naive_loss(problem)
        J = jacobian(problem)
        lam = max(float(np.linalg.eigvalsh(J @ J.T)[0]), 0.0)
        size, q = float(gradient @ gradient), float((1 - np.exp(-losses)).mean())
        middle, low = lam / (n * N) * q**2, square_constant(lam, n, N, float(losses.max())) * L**2
        worst = max(worst, (middle - size) / max(size, 1e-300), (low - middle) / max(middle, 1e-300) if middle else 0)

    holds()
    record_property("gap", max(worst, 0.0))
    assert worst <= ROUND


def test_N2_is_an_equality_for_one_tuple_with_one_negative(record_property) -> None:
    """n = N = 1: |grad L|^2 = lam q^2, and kappa is (1 - e^-l)/l."""
    problem = MarginProblem(fresh_tuples(1, 1, 4, 3), DescentSetup(8, n_outputs=3), 3)
    L, gradient, _ = naive_loss(problem)
    lam = float(problem.kernel()[0, 0])
    agree(record_property, square_constant(lam, 1, 1, L) * L**2, gradient @ gradient, ROUND)


def test_N3_squared_margins_are_polyak_lojasiewicz(record_property) -> None:
    """|grad|^2 >= 2 lam L/(nN) over shapes, with equality for one margin."""
    worst = 0.0

    @given(shape=shapes)
    @settings(max_examples=25, deadline=None, derandomize=True)
    def holds(shape: tuple) -> None:
        nonlocal worst
        problem = a_problem(shape, loss="squared", target=1.3)
        L, gradient, _ = naive_loss(problem)
        J = jacobian(problem)
        lam = max(float(np.linalg.eigvalsh(J @ J.T)[0]), 0.0)
        limit = 2 * lam * L / (shape[0] * shape[1])
        worst = max(worst, (limit - gradient @ gradient) / max(limit, 1e-300) if limit else 0)

    holds()
    one = MarginProblem(fresh_tuples(1, 1, 4, 5), DescentSetup(8, n_outputs=3, loss="squared"), 5)
    L, gradient, _ = naive_loss(one)
    agree(record_property, 2 * float(one.kernel()[0, 0]) * L, gradient @ gradient, ROUND)
    assert worst <= ROUND


def test_N3_the_rate_of_squared_margins_is_linear_on_a_run(record_property) -> None:
    """L_t <= L_0 prod(1 - eta lam/(nN)) at every step, and a linear fit beats a power law."""
    t = a_run("squared").trace
    record_property("gap", max(0.0, float((t.losses / t.kernel_envelope())[: t.usable].max()) - 1))
    assert np.all(t.losses[: t.usable] <= t.kernel_envelope()[: t.usable] * (1 + ROUND))
    power, linear = fit_rates(t.excess, t.resolution)
    assert linear.r2 > 0.999 > power.r2
    assert t.excess[-1] < 1e-6
    assert np.all(t.step_smoothness <= 1), "otherwise the envelope was not promised"


@pytest.mark.parametrize("seed", [0, 1])
def test_N4_the_envelope_is_never_crossed(record_property, seed: int) -> None:
    """Both envelopes lie above the loss at every step of a run, and the fit is a power law."""
    t = a_run("logistic", seed=seed).trace
    lam = np.array([t.kernel_least[max(np.flatnonzero(t.looks <= s)[-1], 0)] for s in range(t.losses.size - 1)])
    over = 0.0
    for curve in (t.kernel_envelope(), t.gradient_envelope()):
        over = max(over, float((t.excess / curve).max()) - 1)
        assert curve[-1] < 0.2 * curve[0], "an envelope that promises something"
    record_property("gap", max(0.0, over))
    assert over <= ROUND
    # the constant of the theorem, from the run's own extremes, is looser still
    c = square_constant(float(lam.min()), t.n_tuples, t.n_negatives, float(t.largest_losses.max()))
    assert np.all(t.excess <= 1 / (1 / t.excess[0] + c * np.cumsum([0, *t.learning_rates]) / 2) * (1 + ROUND))
    power, linear = fit_rates(t.excess, t.resolution)
    assert power.r2 > 0.99 > linear.r2
    assert power.slope < -1


def test_N5_no_linear_rate_for_logistic_margins_refuted(record_property) -> None:
    """|grad|^2 <= lam_max L^2 along a run, whose |grad|^2/L falls by orders of magnitude with the loss."""
    t = a_run("logistic").trace
    at = t.looks
    assert np.all(t.squared_gradients[at] <= t.kernel_greatest * t.losses[at] ** 2 * (1 + ROUND))
    ratio = t.squared_gradients / t.losses
    fallen = ratio[-1] / ratio.max()
    assert fallen < 0.02
    _, linear = fit_rates(t.excess[: t.losses.size // 2])
    predicted = float(linear.at(t.losses.size - 1))
    assert predicted < t.excess[-1] / 2, "a linear rate fitted to the first half is far below the second"
    record_property(
        "counterexample",
        f"|grad|^2/L falls to {fallen:.1e} of its largest; a linear rate of the first half is "
        f"{t.excess[-1] / predicted:.0f} times too low at the end",
    )


def test_N6_small_starts_are_dead(record_property) -> None:
    """A tenth of the output scale is a ten-thousandth of |grad|^2, and the limit is |J'1|^2 / (n(N + 1))^2."""
    t = fresh_tuples(5, 3, 6)
    K = MarginProblem(t, DescentSetup(16, n_outputs=4)).kernel()
    found = {}
    for s in (1.0, 0.1, 0.01, 0.001):
        problem = MarginProblem(t, DescentSetup(16, n_outputs=4, output_scale=s))
        found[s] = sum(float((g**2).sum()) for g in problem.evaluate()[1])
        assert dead_start(problem.margins().detach().numpy()) == (
            s < 0.1 or float(problem.margins().detach().abs().max()) <= 0.05
        )
    assert found[0.01] / found[0.1] == pytest.approx(1e-4, rel=0.02)
    error = [found[s] / s**4 / (K.sum() / (5 * 4) ** 2) - 1 for s in (0.1, 0.01)]
    assert error[1] / error[0] == pytest.approx(0.01, rel=0.05), "of order s^2"
    agree(record_property, found[0.001], small_start_gradient(K, 5, 0.001, "logistic"), 1e-5)
    problem = MarginProblem(t, DescentSetup(16, n_outputs=4, output_scale=0.001, loss="squared", target=2.0))
    size = sum(float((g**2).sum()) for g in problem.evaluate()[1])
    assert size == pytest.approx(1e-12 * 4 * K.sum() / 15**2, rel=1e-5)


def test_N9_weights_stay_within_the_root_of_time_and_fall(record_property) -> None:
    """|W_t - W_0|^2 <= 2 sum eta (L_0 - L_t) at every look of two runs."""
    worst = 0.0
    for loss in ("logistic", "squared"):
        t = a_run(loss).trace
        limit = np.sqrt(2 * np.array([t.learning_rates[:k].sum() * (t.losses[0] - t.losses[k]) for k in t.looks]))
        worst = max(worst, float((t.motion - limit).max()))
        assert np.max(t.motion[1:] / limit[1:]) > 0.6, "of its order"
    record_property("gap", max(worst, 0.0))
    assert worst <= ROUND


def test_bounds_say_which_assumption_fails_before_they_have_a_number() -> None:
    good = {b.name.split(":")[0]: b for b in descent_bounds(a_run("logistic").trace)}
    assert [b.verdict for b in good.values()] == ["holds"] * 4
    X, codes = labelled_pool()
    pool = draw_tuples(X, codes, 8, 2, collide=True, close=True)
    assert pool.collisions.any()
    found = descend(pool, DescentSetup(24, n_outputs=4), steps=30, infimum=pool.infimum().low)
    kernel = descent_bounds(found.trace)[1]
    assert (kernel.verdict, kernel.observed) == ("illegal", None)
    assert np.isnan(kernel.limit)
    assert "positive definite: fails" in str(kernel)
    long = descend(fresh_tuples(6, 2, 16), DescentSetup(16, n_outputs=4), steps=20, learning_rate=30.0)
    verdicts = {b.name: b.verdict for b in descent_bounds(long.trace)}
    assert list(verdicts.values())[1:] == ["illegal"] * 3
    assert isinstance(kernel, Bound)


# --- width ------------------------------------------------------------------------------------------------------------


def test_wider_encoders_move_less_and_have_a_better_kernel() -> None:
    traces = [a_run("squared", width, 60).trace for width in (24, 72)]
    assert traces[1].relative_motion < 0.6 * traces[0].relative_motion
    assert traces[1].lam > 1.5 * traces[0].lam


@pytest.mark.slow
def test_over_sixteen_times_the_width_motion_falls_and_the_kernel_grows_throughout() -> None:
    t = [a_run("logistic", width, 300).trace for width in (32, 128, 512)]
    for narrow, wide in itertools.pairwise(t):
        assert wide.relative_motion < 0.5 * narrow.relative_motion
        assert wide.lam > 3 * narrow.lam
        assert np.all(wide.step_smoothness <= 1)
    assert 8 < t[0].relative_motion / t[2].relative_motion < 20, "near the sixteen of 1/m"


# --- infima -----------------------------------------------------------------------------------------------------------


# one negative named twice: no leaf of weight 1, whose eigenvalue would hide the positive's weight
TWICE = Tuples(np.eye(3), np.array([0, 0, 1]), np.array([0]), np.array([1]), np.array([[2, 2]]))


def free_loss(t: Tuples, F: np.ndarray, temperature: float = 1.0) -> float:
    """The mean logistic loss of outputs F (P, d), tuple by tuple."""
    total = 0.0
    for a, p, row in zip(t.anchors, t.positives, t.negatives, strict=True):
        total += np.log(1 + sum(np.exp(-(F[a] @ F[p] - F[a] @ F[q]) / temperature) for q in row))
    return total / t.n


def searched(t: Tuples, seeds: int = 3) -> float:
    """The least loss that L-BFGS finds over all outputs in as many dimensions as rows."""
    P = len(t.X)

    def both(flat: np.ndarray) -> tuple[float, np.ndarray]:
        F = torch.tensor(flat.reshape(P, P), requires_grad=True)
        v = (F[t.anchors][:, None] * (F[t.positives][:, None] - F[t.negatives])).sum(-1)
        loss = torch.log1p(torch.exp(-v).sum(-1)).mean()
        loss.backward()
        return float(loss.detach()), F.grad.numpy().ravel()

    starts = (np.random.default_rng(s).standard_normal(P * P) for s in range(seeds))
    return min(float(scipy.optimize.minimize(both, x, jac=True, method="L-BFGS-B").fun) for x in starts)


def test_N7_the_collision_floor_is_the_infimum_of_exchange_closed_tuples(record_property) -> None:
    """Search over all outputs ends at mean ln(1 + Col), never below; class vectors of growing norm approach it."""
    X, codes = labelled_pool()
    for seed in range(3):
        t = draw_tuples(X, codes, 5, 2, collide=True, close=True, seed=seed)
        Col = [sum(codes[q] == codes[a] for q in row) for a, row in zip(t.anchors, t.negatives, strict=True)]
        floor = float(np.mean(np.log1p(Col)))
        assert max(Col) > 0
        assert (t.infimum().low, t.infimum().high) == pytest.approx((floor, floor))
        assert free_loss(t, 6 * np.eye(3)[codes]) == pytest.approx(floor, abs=1e-9)
        best = searched(t)
        assert best >= floor * (1 - ROUND)
        record_property("gap", best - floor)
        assert best - floor < SEARCHED


def test_N7_without_exchanges_encoders_get_below_it_refuted(record_property) -> None:
    """One tuple with one collision: its loss goes to 0, far below ln 2."""
    X, codes = labelled_pool()
    t = Tuples(X, codes, np.array([0]), np.array([1]), np.array([[2, 4]]))
    found = t.infimum()
    assert (found.low, found.high) == (0.0, pytest.approx(np.log(2)))
    assert not found.known
    F = np.zeros((9, 2))
    F[0], F[1], F[2], F[4] = (9, 0), (9, 0), (-9, 0), (-9, 0)
    low = free_loss(t, F)
    assert low < 1e-12
    record_property("counterexample", f"loss {low:.0e} on a tuple with Col = 1, where ln(1 + Col) = {np.log(2):.3f}")


def test_closing_is_seen_and_its_absence_too() -> None:
    X, codes = labelled_pool()
    for seed in range(6):
        closed = draw_tuples(X, codes, 6, 3, collide=True, close=True, seed=seed)
        assert closed.exchange_closed()
        i = int(np.argmax(closed.collisions))
        if closed.collisions[i] == 0:
            continue
        keep = np.arange(closed.n) != i
        cut = Tuples(X, codes, closed.anchors[keep], closed.positives[keep], closed.negatives[keep])
        same = np.all(closed.negatives[i][closed.collided[i]] == closed.positives[i])
        assert cut.exchange_closed() == same
    same_point = Tuples(X, codes, np.array([0]), np.array([1]), np.array([[1, 5]]))  # a margin that is always 0
    assert same_point.exchange_closed()
    assert same_point.infimum().low == pytest.approx(np.log(2))


def test_N8_floor_of_unit_outputs(record_property) -> None:
    """Antipodal points attain ln(1 + N e^(-2/T)), and no unit outputs, drawn or descended, are below."""
    t, T = fresh_tuples(4, 3, 6), 0.6
    floor = np.log(1 + 3 * np.exp(-2 / T))
    u = np.array([0.6, 0.8])
    F = np.where(np.isin(np.arange(20), t.negatives)[:, None], -u, u)
    agree(record_property, t.infimum(T).low, free_loss(t, F, T), ROUND)
    assert t.infimum(T).high == pytest.approx(floor)
    for seed in range(20):
        G = np.random.default_rng(seed).standard_normal((20, 2 + seed % 3))
        assert free_loss(t, G / np.linalg.norm(G, axis=1, keepdims=True), T) >= floor
    setup = DescentSetup(32, n_outputs=8, unit=True, temperature=T)
    excess = descend(t, setup, steps=400, infimum=t.infimum(T).low).trace.excess
    assert 0 < excess[-1] < 0.02


def test_two_opposite_points_serve_all_tuples_only_where_signs_exist() -> None:
    X, codes = labelled_pool(2, 3)
    for seed in range(12):
        t = draw_tuples(X, codes, 2, 2, collide=True, seed=seed)
        exist = any(
            all(
                s[a] == s[p] and all((s[q] == s[a]) == (codes[q] == codes[a]) for q in row)
                for a, p, row in zip(t.anchors, t.positives, t.negatives, strict=True)
            )
            for s in itertools.product((0, 1), repeat=6)
        )
        assert t.two_sided() == exist
    X, codes = labelled_pool(3, 2)
    triangle = Tuples(X, codes, np.array([0, 2, 4]), np.array([1, 3, 5]), np.array([[2], [4], [0]]))
    assert not triangle.two_sided()
    limit = triangle.infimum(0.5)
    assert limit.low == pytest.approx(np.log(1 + np.exp(-4)))
    assert limit.high > limit.low
    with pytest.raises(DataError, match="two opposite points"):
        triangle.unit_sharpness(0.5)


@pytest.mark.parametrize("t", [fresh_tuples(2, 3, 6), TWICE], ids=["fresh", "twice"])
def test_N10_unit_outputs_end_at_a_linear_rate(record_property, t: Tuples) -> None:
    """Near the antipodal points |grad|^2 / excess is at least 2 w lam_2/(nT), reached along the slowest direction."""
    T, d = 0.8, 3
    P = len(t.X)
    sign = np.where(np.isin(np.arange(P), t.negatives), -1.0, 1.0)
    floor = t.infimum(T).low

    def ratio(theta: np.ndarray) -> float:
        base = np.zeros((P, d))
        base[:, 0], base[:, 1:] = 1, 1e-4 * theta
        G = torch.tensor(sign[:, None] * base, requires_grad=True)
        F = G / G.norm(dim=1, keepdim=True)
        v = (F[t.anchors][:, None] * (F[t.positives][:, None] - F[t.negatives])).sum(-1) / T
        loss = torch.log1p(torch.exp(-v).sum(-1)).mean()
        loss.backward()
        return float((G.grad**2).sum()) / (float(loss.detach()) - floor)

    ratios = [ratio(np.random.default_rng(s).standard_normal((P, d - 1))) for s in range(20)]
    sharp = t.unit_sharpness(T)
    assert min(ratios) >= sharp * (1 - SECOND_ORDER)
    L = np.zeros((P, P))  # a star for each tuple: N to the positive, 1 to each negative
    for a, p, row in zip(t.anchors, t.positives, t.negatives, strict=True):
        for x, weight in ((p, float(len(row))), *((q, 1.0) for q in row)):
            L[a, a] += weight
            L[x, x] += weight
            L[a, x] -= weight
            L[x, a] -= weight
    values, vectors = np.linalg.eigh(L)
    k = int(np.argmax(values > 1e-9))
    slowest = np.column_stack([vectors[:, k], np.zeros(P)])
    agree(record_property, sharp, ratio(slowest), SECOND_ORDER)


@pytest.mark.slow
def test_N10_a_run_on_unit_outputs_leaves_the_power_law_refuted(record_property) -> None:
    """The exponent of a power law keeps growing, and |grad|^2/excess stays where a power law takes it to 0."""
    t = fresh_tuples(6, 2, 32)
    setup = DescentSetup(64, n_outputs=8, unit=True)
    trace = descend(t, setup, steps=1000, looks=4, infimum=t.infimum(1.0).low).trace
    E = trace.excess
    local = [np.log(E[2 * k] / E[k]) / np.log(2) for k in (50, 250, 500)]
    assert local[2] < 1.5 * local[1] < 2 * local[0] < 0
    pl = trace.squared_gradients / E
    assert pl[-1] > 0.7 * pl[500], "while the excess falls by orders of magnitude"
    assert E[-1] < 0.01 * E[500]
    record_property("counterexample", f"t^{local[0]:.1f}, then t^{local[1]:.1f}, then t^{local[2]:.1f}")


# --- fits and envelopes -----------------------------------------------------------------------------------------------


@given(slope=st.floats(-3, -0.3), size=st.floats(1e-3, 1e3), steps=st.integers(80, 400))
@settings(max_examples=30, deadline=None)
def test_a_power_law_is_recovered_and_told_from_a_linear_rate(slope: float, size: float, steps: int) -> None:
    t = np.arange(steps + 1)
    E = size * np.where(t > 0, t, 1.0) ** slope
    power, linear = fit_rates(E)
    assert (power.slope, np.exp(power.intercept)) == (pytest.approx(slope, rel=1e-6), pytest.approx(size, rel=1e-6))
    assert power.r2 > 1 - 1e-9
    assert linear.r2 < 0.97
    assert power.at(steps) == pytest.approx(E[-1])
    assert (power.first, power.last) == (-(-steps // 10), steps)


@given(rate=st.floats(0.001, 0.05), size=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_a_linear_rate_is_recovered_above_rounding(rate: float, size: float) -> None:
    E = size * np.exp(-rate * np.arange(401.0))
    power, linear = fit_rates(E)
    assert linear.slope == pytest.approx(-rate, rel=1e-6)
    assert linear.r2 > 1 - 1e-9
    assert power.r2 < linear.r2
    cut = fit_rates(np.where(np.arange(401) < 200, E, 0.0))[1]
    assert (cut.last, cut.slope) == (199, pytest.approx(-rate, rel=1e-6))


def test_too_few_steps_have_no_rate() -> None:
    with pytest.raises(DataError, match="take more steps"):
        fit_rates([1.0, 0.5, 0.2])


@given(B=st.floats(0, 30))
def test_kappa_is_the_least_of_the_share_that_q_keeps(B: float) -> None:
    ells = np.linspace(0, B, 50)[1:]
    assert np.all(-np.expm1(-ells) >= kappa(B) * ells * (1 - 1e-12))
    if B > 0.01:
        assert kappa(B) * B == pytest.approx(1 - np.exp(-B))
    assert kappa(0) == 1


def test_envelopes_are_the_worst_sequences_that_a_decrease_allows() -> None:
    """Iterating E - eta c E^2/2 stays below 1/(1/E_0 + sum), and E (1 - eta lam) is the linear one itself."""
    eta, c = np.full(200, 0.3), 0.8
    E, squared = [1.4], [1.4]
    for step in eta:
        E.append(E[-1] - step * c * E[-1] ** 2 / 2)
        squared.append(squared[-1] * (1 - step * 0.05))
    assert np.all(np.array(E) <= power_envelope(1.4, c, eta) * (1 + 1e-12))
    assert E[-1] > 0.9 * power_envelope(1.4, c, eta)[-1], "and is of its size"
    assert linear_envelope(1.4, 0.05, eta) == pytest.approx(squared)
    with pytest.raises(DataError, match="lower the learning rate"):
        linear_envelope(1.0, 4.0, eta)


# --- runs -------------------------------------------------------------------------------------------------------------


def test_descent_is_plain_gradient_descent() -> None:
    t, setup = fresh_tuples(4, 2, 6), DescentSetup(8, n_outputs=3)
    run = descend(t, setup, steps=12, learning_rate=0.05, seed=2)
    problem = MarginProblem(t, setup, 2)
    losses = []
    for _ in range(12):
        L, gradient, _ = naive_loss(problem)
        losses.append(L)
        with torch.no_grad():
            for k, W in enumerate(problem.weights):
                W -= 0.05 * torch.tensor(gradient[64 * k : 64 * (k + 1)].reshape(8, 8))
    losses.append(naive_loss(problem)[0])
    assert run.trace.losses == pytest.approx(losses, rel=1e-9)
    assert run.trace.learning_rates == pytest.approx(0.05)
    moved = np.sqrt(sum(((a - b).detach().numpy() ** 2).sum() for a, b in
                        zip(problem.weights, MarginProblem(t, setup, 2).weights, strict=True)))  # fmt: skip
    assert run.trace.motion[-1] == pytest.approx(moved, rel=1e-8)
    assert run.trace.looks.tolist() == sorted(set(run.trace.looks.tolist()))
    assert (run.trace.looks[0], run.trace.looks[-1]) == (0, 12)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path, loss: str) -> None:
    t, setup = fresh_tuples(5, 2, 8), DescentSetup(12, n_outputs=4, loss=loss)  # type: ignore[arg-type]
    options: dict = {"steps": 60, "looks": 6, "seed": 1}
    whole = descend(t, setup, **options)
    identity = run_identity(t, setup, learning_rate=None, **options)

    def stop(step: int, value: float) -> None:
        if step == 23:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        descend(t, setup, checkpoint=Checkpoint(tmp_path, identity), watch=stop, **options)
    seen: list[int] = []
    again = descend(
        t, setup, checkpoint=Checkpoint(tmp_path, identity), watch=lambda step, value: seen.append(step), **options
    )
    assert seen[0] == 24
    for name in ("losses", "squared_gradients", "learning_rates", "looks", "kernel_least", "motion", "mean_q"):
        assert np.array_equal(getattr(whole.trace, name), getattr(again.trace, name)), name
    for a, b in zip(whole.problem.weights, again.problem.weights, strict=True):
        assert torch.equal(a, b)
    other = run_identity(t, setup, learning_rate=0.1, **options)
    with pytest.raises(DataError, match=r"learning_rate was None and is now 0\.1"):
        descend(t, setup, learning_rate=0.1, checkpoint=Checkpoint(tmp_path, other), **options)


def test_a_run_stops_where_rounding_hides_the_rest() -> None:
    t = fresh_tuples(2, 1, 8)
    run = descend(t, DescentSetup(64, n_outputs=4, loss="squared"), steps=3000, looks=4)
    assert run.trace.learning_rates.size < 3000
    assert run.trace.losses[-1] <= 1e-22
    assert "rounding" in run.message


def test_traces_tell_the_step_smoothness_of_a_quadratic() -> None:
    """L = beta x^2 / 2 by gradient descent: eta beta at every step."""
    beta, eta = 3.0, 0.1
    x = 0.9 * (1 - eta * beta) ** np.arange(11)
    one, two = np.ones(11), np.ones(2)
    trace = DescentTrace(
        "squared", 1, 1, 0.0, beta * x**2 / 2, (beta * x) ** 2, one, one, np.full(10, eta), np.array([0, 10]), two, two,
        two, 1.0,
    )  # fmt: skip
    assert trace.step_smoothness == pytest.approx(eta * beta, rel=1e-6)
    assert trace.pl_ratio == pytest.approx(2 * beta)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_tuples_that_share_no_row_share_none_and_run_out_in_words() -> None:
    X, codes = labelled_pool(4, 6)
    t = draw_tuples(X, codes, 4, 3, collide=False, seed=3)
    rows = np.concatenate([t.anchors, t.positives, t.negatives.ravel()])
    assert np.unique(rows).size == rows.size == 20
    assert np.array_equal(codes[t.anchors], codes[t.positives])
    assert t.collisions.sum() == 0
    with pytest.raises(DataError, match="ask for fewer tuples or negatives, or take more rows"):
        draw_tuples(X, codes, 7, 3, collide=False)
    with pytest.raises(DataError, match="no class has two"):
        draw_tuples(X, np.arange(24), 2, 2, collide=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": 2 * np.eye(4)}, "length 1"),
        ({"X": np.eye(4)[[0, 0, 1, 2]]}, "distinct"),
        ({"codes": np.arange(3)}, "class of each of the 4 rows"),
        ({"anchors": np.array([4])}, "from 0 to 3"),
        ({"positives": np.array([0])}, "its own positive"),
        ({"negatives": np.array([2, 3])}, "negatives .n, N. are needed"),
        ({"negatives": np.array([[0.5, 1.0]])}, "by numbers from 0"),
    ],
)
def test_tuples_that_are_none_are_refused(change: dict, said: str) -> None:
    good = {
        "X": np.eye(4), "codes": np.array([0, 0, 1, 2]), "anchors": np.array([0]), "positives": np.array([1]),
        "negatives": np.array([[2, 3]]),
    }  # fmt: skip
    Tuples(**good)
    with pytest.raises(DataError, match=said):
        Tuples(**{**good, **change})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 0}, "width must be a whole number at least 1"),
        ({"temperature": 0.0}, "temperature"),
        ({"loss": "hinge"}, "logistic or squared"),
        ({"unit": True, "output_scale": 0.5}, "no scale"),
        ({"unit": True, "loss": "squared", "target": 3.0}, "lower the target"),
    ],
)
def test_setups_that_cannot_be_are_refused(options: dict, said: str) -> None:
    with pytest.raises(DataError, match=said):
        DescentSetup(**{"width": 4, **options})
