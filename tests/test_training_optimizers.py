"""Steps of optimizers against their formulas, schedules against torch's, and where runs of steps end."""

import functools
import itertools
import math
import time
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import spectral_ssl as ss
from spectral_ssl.methods import METHODS
from spectral_ssl.training import OPTIMIZERS, SCHEDULES, Step
from spectral_ssl.training.optimizers import LARS

SAME = 1e-12  # relative: the same few operations in another order
REACHED = 1e-3  # relative excess of a run of steps with a falling rate
BELOW = 1e-9  # relative: a loss below its minimum by more is no rounding
N, D, K = 24, 6, 2


def relation(method: ss.Method | None = None) -> ss.Graph:
    """Samples on a circle, paired with their next three, by irregular weights; of alpha-CL with the next one."""
    if isinstance(method, ss.AlphaCL):
        return ss.Graph.from_groups(np.arange(N) // 2)
    rng = np.random.default_rng(0)
    i = np.repeat(np.arange(N), 3)
    j = (i + np.tile([1, 2, 3], N)) % N
    return ss.Graph.from_pairs(i, j, N, rng.uniform(0.5, 2.0, 3 * N))


def features() -> np.ndarray:
    """Their places on the circle, and noise, in unlike units."""
    rng, t = np.random.default_rng(1), 2 * np.pi * np.arange(N) / N
    waves = np.stack([np.cos(t), np.sin(t), np.cos(2 * t), np.sin(2 * t)], axis=1)
    X = np.hstack([waves, np.zeros((N, D - 4))]) + 0.2 * rng.standard_normal((N, D))
    return X @ np.diag([1.0, 3.0, 0.5, 1.0, 0.3, 2.0]) + 1.0


METHOD_CASES = {
    "vicreg": METHODS["vicreg"](1.0, 1.0, 0.02),
    "frobenius_simclr": METHODS["frobenius_simclr"](),
    "spectral_contrastive": METHODS["spectral_contrastive"](),
    "ssl_ey": METHODS["ssl_ey"](),
    "barlow_twins": METHODS["barlow_twins"](),
    "infonce": METHODS["infonce"](0.5),
    "simclr": METHODS["simclr"](0.5),
    "alpha_cl": METHODS["alpha_cl"]("infonce(temperature=0.5)", radius=3.0),
}


def reference(method: ss.Method, **options: Any) -> float:
    """The optimum in closed form, or the best of five searches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.SpectralWarning)
        if isinstance(method, ss.InfoNCE):
            return min(ss.train(method, relation(), K, seed=seed, max_iter=200, **options).loss for seed in range(3))
        return ss.optimum(method, relation(method), K, **options).loss


# --- steps -----------------------------------------------------------------------------------------------------------


def lars_by_hand(
    w: list[float], g: list[list[float]], lr: float, momentum: float, trust: float, decay: float
) -> list[float]:
    v = [0.0] * len(w)
    for grad in g:
        size, slope = math.sqrt(sum(x * x for x in w)), math.sqrt(sum(x * x for x in grad))
        rate = trust * size / (slope + decay * size)
        v = [momentum * v[k] + lr * rate * (grad[k] + decay * w[k]) for k in range(len(w))]
        w = [w[k] - v[k] for k in range(len(w))]
    return w


def test_lars_is_the_algorithm_of_you_gitman_ginsburg() -> None:
    rng = np.random.default_rng(0)
    start, slopes = rng.standard_normal((2, 3)), rng.standard_normal((5, 2, 3))
    w = torch.tensor(start, requires_grad=True)
    engine = LARS([w], 0.3, momentum=0.8, trust=0.02, weight_decay=0.1)
    for slope in slopes:
        w.grad = torch.tensor(slope)
        engine.step()
    wanted = lars_by_hand(start.ravel().tolist(), [s.ravel().tolist() for s in slopes], 0.3, 0.8, 0.02, 0.1)
    assert w.detach().numpy().ravel() == pytest.approx(np.array(wanted), rel=SAME)


def test_lars_leaves_biases_to_plain_momentum_where_asked() -> None:
    b, zero = torch.ones(3, requires_grad=True), torch.zeros(2, 2, requires_grad=True)
    engine = LARS([b, zero], 0.5, momentum=0.0, trust=0.1, weight_decay=1.0, adapt_bias=False)
    b.grad, zero.grad = torch.full((3,), 0.2), torch.ones(2, 2)
    engine.step()
    assert b.detach().numpy() == pytest.approx(np.full(3, 0.9))
    assert zero.detach().numpy() == pytest.approx(np.full((2, 2), -0.05))  # a tensor of size 0 can begin to grow


def adam_by_hand(w: np.ndarray, g: list[np.ndarray], lr: float, decay: float = 0.0) -> np.ndarray:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(g, start=1):
        w = w * (1 - lr * decay)
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


def test_adam_decouples_weight_decay_where_asked() -> None:
    rng = np.random.default_rng(0)
    start, slopes = rng.standard_normal(4), list(rng.standard_normal((6, 4)))
    w = torch.tensor(start, requires_grad=True)
    engine = OPTIMIZERS["adam"]([w], 0.1, weight_decay=0.3, decoupled=True)
    for slope in slopes:
        w.grad = torch.tensor(slope)
        engine.step()
    assert w.detach().numpy() == pytest.approx(adam_by_hand(start, slopes, 0.1, 0.3), rel=1e-9)


def test_sgd_on_the_whole_relation_is_gradient_descent() -> None:
    options: dict[str, Any] = {"X": features(), "learning_rate": 0.01, "init_scale": 0.3}
    method = METHOD_CASES["vicreg"]
    steps = ss.train(method, relation(), K, optimizer="sgd", max_iter=30, **options)
    descent = ss.train(method, relation(), K, optimizer="gd", max_iter=31, **options)  # looks once more
    assert steps.losses == pytest.approx(descent.losses[:-1], rel=SAME)
    assert np.abs(steps.embedding.Z - descent.embedding.Z).max() < 1e-12


def test_a_step_of_a_batch_is_that_of_its_loss() -> None:
    """One step of sgd from a known start, its gradient by differences of the method's own batch loss."""
    graph, X, method = relation(), features(), METHOD_CASES["spectral_contrastive"]
    seen: list[np.ndarray] = []
    run = ss.train(
        method,
        graph,
        K,
        X=X,
        optimizer="sgd",
        learning_rate=0.05,
        batch_size=4,
        precondition=False,
        init_scale=0.1,
        max_iter=1,
        callbacks=[lambda step: seen.append(step.embed())],
    )
    W = 0.1 * np.random.default_rng(0).standard_normal((D, K))
    i, j = graph.sample_pairs(4, np.random.default_rng((0, 1)))

    def loss(W: np.ndarray) -> float:
        Z = torch.as_tensor(X @ W)
        return float(sum(method.batch_terms(Z[i], Z[j], i, j, graph).values()))

    slope = np.zeros_like(W)
    for entry in np.ndindex(W.shape):
        step = np.zeros_like(W)
        step[entry] = 1e-6
        slope[entry] = (loss(W + step) - loss(W - step)) / 2e-6
    assert run.losses == pytest.approx([loss(W)], rel=1e-10)
    assert run.embedding.W is not None
    assert np.abs(run.embedding.W - (W - 0.05 * slope)).max() < 1e-8  # eps / 1e-6 of the differences
    assert seen[0] == pytest.approx(run.embedding.Z)
    # relative to the loss at the start, of a batch of its own; a column longer than 1 counts by its length
    i, j = graph.sample_pairs(4, np.random.default_rng((0, 2)))
    largest = (np.abs(slope) * np.maximum(1.0, np.sqrt((W**2).mean(axis=0)))).max()
    assert run.gradient_norm == pytest.approx(largest / abs(loss(W)), rel=1e-6)


@pytest.mark.parametrize("debias", [True, False])
def test_a_published_loss_sees_both_ends_of_the_pairs_and_is_debiased_by_halves(debias: bool) -> None:
    graph, X, f = relation(), features(), functools.partial(ss.losses.vicreg, convention="paper")
    run = ss.train(
        ss.SSLEY(),
        graph,
        K,
        X=X,
        optimizer="sgd",
        learning_rate=0.01,
        batch_size=6,
        batch_loss=f,
        debias=debias,
        precondition=False,
        init_scale=0.3,
        max_iter=1,
    )
    Z = torch.as_tensor((X - X.mean(axis=0)) @ (0.3 * np.random.default_rng(0).standard_normal((D, K))))
    i, j = graph.sample_pairs(6, np.random.default_rng((0, 1)))
    wanted = f(Z[i], Z[j])
    if debias:
        wanted = 2 * wanted - (f(Z[i[:3]], Z[j[:3]]) + f(Z[i[3:]], Z[j[3:]])) / 2
    assert run.losses == pytest.approx([float(wanted)], rel=1e-10)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weight_decay_pulls_the_weights_to_zero(optimizer: str) -> None:
    one: dict[str, Any] = {"X": features(), "learning_rate": 0.01, "init_scale": 0.5, "precondition": False}
    decayed, plain = (
        ss.train(ss.SpectralContrastive(), relation(), K, optimizer=f"{optimizer}({text})", max_iter=1, **one)
        for text in ("weight_decay=0.3" + (", decoupled=True" if optimizer == "adam" else ""), "weight_decay=0.0")
    )
    assert decayed.embedding.W is not None
    assert plain.embedding.W is not None
    W = 0.5 * np.random.default_rng(0).standard_normal((D, K))
    assert np.abs(decayed.embedding.W - plain.embedding.W + 0.01 * 0.3 * W).max() < 1e-12


# --- schedules -------------------------------------------------------------------------------------------------------


def rates_of(scheduler: Any, engine: torch.optim.Optimizer, steps: int) -> list[float]:
    out = []
    for _ in range(steps):
        out.append(engine.param_groups[0]["lr"])
        engine.step()
        scheduler.step()
    return out


def test_schedules_are_those_of_torch() -> None:
    def engine() -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)

    schedulers = torch.optim.lr_scheduler
    e = engine()
    wanted = rates_of(schedulers.CosineAnnealingLR(e, 40, eta_min=0.1), e, 40)
    assert [SCHEDULES["cosine"](t, 40, floor=0.1) for t in range(40)] == pytest.approx(wanted)
    e = engine()
    wanted = rates_of(schedulers.StepLR(e, 7, 0.5), e, 40)
    assert [SCHEDULES["step"](t, 40, every=7, factor=0.5) for t in range(40)] == pytest.approx(wanted)
    e = engine()
    warm = schedulers.LinearLR(e, 1 / 11, 1.0, total_iters=10)
    both = schedulers.SequentialLR(e, [warm, schedulers.CosineAnnealingLR(e, 30)], [10])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = rates_of(both, e, 40)
    assert [SCHEDULES["cosine"](t, 40, warmup=0.25) for t in range(40)] == pytest.approx(wanted)


def test_a_schedule_scales_the_steps() -> None:
    options: dict[str, Any] = {"X": features(), "init_scale": 0.3, "optimizer": "sgd"}
    method = METHOD_CASES["vicreg"]
    falling = ss.train(
        method, relation(), K, learning_rate=0.02, schedule="step(every=1, factor=0.5)", max_iter=2, **options
    )
    first = ss.train(method, relation(), K, learning_rate=0.02, max_iter=1, **options)
    assert falling.losses[1] == pytest.approx(float(method.loss(first.embedding.Z, relation())))
    slow = ss.train(method, relation(), K, learning_rate=0.01, max_iter=2, **options)
    assert falling.loss != pytest.approx(slow.loss)


# --- ends ------------------------------------------------------------------------------------------------------------


def test_every_method_of_the_registry_is_here() -> None:
    assert METHOD_CASES.keys() == METHODS.keys()


@pytest.mark.parametrize("name", METHOD_CASES)
@pytest.mark.parametrize("model", ["free", "linear"])
def test_adam_on_the_whole_relation_reaches_the_optimum_and_never_passes_it(name: str, model: str) -> None:
    method, options = METHOD_CASES[name], {} if model == "free" else {"X": features()}
    best = reference(method, **options)
    seeds = range(3) if isinstance(method, ss.InfoNCE) else range(1)  # that loss has local minima over linear maps
    runs = [
        ss.train(method, relation(method), K, optimizer="adam", schedule="cosine", max_iter=600, seed=seed, **options)
        for seed in seeds
    ]
    run = min(runs, key=lambda run: run.loss)
    spread = method.collapse_loss(relation(method), K) - best
    assert spread > 0.05, "nothing to learn here"
    assert (run.loss - best) / spread < REACHED
    # of the searches themselves for InfoNCE, which has no other reference
    assert (run.loss - best) / spread > (-REACHED if isinstance(method, ss.InfoNCE) else -BELOW)
    assert run.loss == pytest.approx(float(method.loss(run.embedding.Z, relation(method))), rel=1e-12)
    assert run.learning_rate is not None


@pytest.mark.parametrize("optimizer", ["sgd", "sgd(momentum=0.9)", "adam", "lars"])
@pytest.mark.parametrize("debias", [True, False])
def test_batches_lead_to_the_optimum_as_near_as_their_bias_lets_them(optimizer: str, debias: bool) -> None:
    method, graph = ss.SpectralContrastive(), relation()
    best = ss.optimum(method, graph, K, X=features()).loss
    run = ss.train(
        method,
        graph,
        K,
        X=features(),
        optimizer=optimizer,
        schedule="cosine",
        batch_size=64,
        debias=debias,
        max_iter=800,
    )
    excess = (run.loss - best) / abs(best)
    assert -BELOW < excess < (0.005 if debias else 0.02)
    assert not run.converged
    assert run.message.startswith("ran max_iter=800 steps of")
    assert "batches of 64 pairs" in run.message
    assert run.losses.shape == (800,)


def test_debiased_batches_end_nearer_the_optimum_than_plain_ones() -> None:
    """With few pairs the minimum of E L(batch) is another; its excess is of second order in 1/B."""
    method, graph = ss.SpectralContrastive(), relation()
    best = ss.optimum(method, graph, K, X=features()).loss
    excess = {
        debias: np.mean(
            [
                ss.train(
                    method,
                    graph,
                    K,
                    X=features(),
                    optimizer="adam",
                    schedule="cosine",
                    batch_size=8,
                    debias=debias,
                    max_iter=800,
                    seed=seed,
                ).loss
                - best
                for seed in range(2)
            ]
        )
        for debias in (True, False)
    }
    assert excess[True] < 0.5 * excess[False]


@pytest.mark.parametrize("optimizer", ["sgd", "sgd(momentum=0.9)", "adam", "lars"])
@pytest.mark.parametrize("name", METHOD_CASES)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_default_rates_lower_the_loss_of_every_method(optimizer: str, name: str, batch_size: int | None) -> None:
    method = METHOD_CASES[name]
    for options in ({}, {"X": features()}):
        given: dict[str, Any] = {"batch_size": batch_size, **options}
        still = ss.train(method, relation(method), K, optimizer="sgd", learning_rate=1e-300, max_iter=1, **given)
        run = ss.train(method, relation(method), K, optimizer=optimizer, schedule="cosine", max_iter=60, **given)
        assert run.loss < still.loss


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["vicreg", "frobenius_simclr"])
def test_the_default_rate_of_sgd_on_eight_pairs_diverges_from_no_start(name: str, seed: int) -> None:
    for options in ({}, {"X": features()}):
        given: dict[str, Any] = {"optimizer": "sgd", "batch_size": 8, "seed": seed, **options}
        still = ss.train(METHOD_CASES[name], relation(), K, learning_rate=1e-300, max_iter=1, **given)
        run = ss.train(METHOD_CASES[name], relation(), K, schedule="cosine", max_iter=60, **given)
        assert run.loss < still.loss


def test_free_embeddings_train_on_batches() -> None:
    method, graph = ss.SSLEY(), relation()
    best = ss.optimum(method, graph, K).loss
    run = ss.train(method, graph, K, optimizer="adam", schedule="cosine", batch_size=64, max_iter=600)
    assert run.embedding.W is None
    assert -BELOW < (run.loss - best) / abs(best) < 0.03


@pytest.mark.parametrize("conditioned", [True, False])
def test_a_ridge_is_minimised_on_batches_too(conditioned: bool) -> None:
    X = features() if conditioned else np.hstack([features(), features() @ np.ones((D, 1)) + 1e-9])
    method, graph = METHOD_CASES["vicreg"], relation()
    best = ss.optimum(method, graph, K, X=X, ridge=2.0)
    options: dict[str, Any] = {"optimizer": "adam", "schedule": "cosine", "max_iter": 800, "X": X, "ridge": 2.0}
    whole = ss.train(method, graph, K, **options)
    assert whole.loss == pytest.approx(best.loss, rel=1e-3)
    batches = ss.train(method, graph, K, batch_size=64, debias=True, **options)
    assert best.loss * (1 - BELOW) < batches.loss < 1.03 * best.loss


@pytest.mark.parametrize("precondition", [True, False])
def test_linear_maps_train_on_rows_of_a_memory_map(precondition: bool, tmp_path: Any) -> None:
    X = features()
    np.save(tmp_path / "X.npy", X)
    held = np.load(tmp_path / "X.npy", mmap_mode="r")
    options: dict[str, Any] = {"optimizer": "adam", "batch_size": 8, "max_iter": 20, "precondition": precondition}
    runs = [ss.train(ss.SSLEY(), relation(), K, X=rows, **options) for rows in (X, held)]
    assert runs[0].loss == runs[1].loss


def test_kernel_features_train_on_batches() -> None:
    graph, X = relation(), features()
    best = ss.optimum(ss.SSLEY(), graph, K, X=X, kernel="rbf(bandwidth=6.0)")
    run = ss.train(
        ss.SSLEY(),
        graph,
        K,
        X=X,
        kernel="rbf(bandwidth=6.0)",
        optimizer="adam",
        schedule="cosine",
        batch_size=64,
        max_iter=800,
    )
    assert -BELOW < (run.loss - best.loss) / abs(best.loss) < 0.05
    assert run.embedding.transform(X) == pytest.approx(run.embedding.Z, abs=1e-9)


def test_a_published_loss_trains_the_batches_and_the_method_judges() -> None:
    graph, X, method = relation(), features(), ss.SpectralContrastive()
    best = ss.optimum(method, graph, K, X=X).loss
    options: dict[str, Any] = {"X": X, "optimizer": "adam", "schedule": "cosine", "batch_size": 32, "max_iter": 600}
    published = functools.partial(ss.losses.spectral_contrastive, convention="paper")
    run = ss.train(method, graph, K, batch_loss=published, **options)
    assert -BELOW < (run.loss - best) / abs(best) < 0.03  # its estimate has no bias
    assert abs(run.losses[-100:].mean() - best) < 0.1  # of the loss itself
    other = ss.train(method, graph, K, batch_loss=ss.losses.nt_xent, **options)
    assert other.loss > best + 0.1


def test_what_a_run_reports_at_every_step() -> None:
    steps: list[Step] = []
    kept: list[np.ndarray] = []

    def watch(step: Step) -> None:
        steps.append(step)
        kept.append(step.embed())

    method, graph = METHOD_CASES["vicreg"], relation()
    run = ss.train(method, graph, K, X=features(), optimizer="adam", batch_size=8, max_iter=7, callbacks=[watch])
    assert [step.evaluations for step in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert [step.loss for step in steps] == run.losses.tolist()
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(steps))
    assert np.array_equal(kept[-1], run.embedding.Z)
    assert not np.array_equal(kept[-2], run.embedding.Z)
    assert steps[-1].gradient_norm == run.gradient_norm
    # a run that is watched is the run
    alone = ss.train(method, graph, K, X=features(), optimizer="adam", batch_size=8, max_iter=7)
    assert np.array_equal(alone.embedding.Z, run.embedding.Z)


def test_lbfgs_reports_seconds_and_embeddings_too() -> None:
    steps: list[Step] = []
    losses: list[float] = []
    method, graph = METHOD_CASES["vicreg"], relation()

    def watch(step: Step) -> None:
        steps.append(step)
        losses.append(float(method.loss(step.embed(), graph)))

    ss.train(method, graph, K, X=features(), callbacks=[watch])
    assert losses == pytest.approx([step.loss for step in steps], rel=1e-9)
    assert 0 < steps[0].seconds < steps[-1].seconds


def test_callbacks_do_not_count_as_seconds() -> None:
    steps: list[Step] = []

    def slow(step: Step) -> None:
        steps.append(step)
        time.sleep(0.05)

    ss.train(ss.SSLEY(), relation(), K, optimizer="adam", max_iter=10, callbacks=[slow])
    assert steps[-1].seconds < 0.25


def test_the_same_seed_is_the_same_run_and_another_is_not() -> None:
    options: dict[str, Any] = {"X": features(), "optimizer": "adam", "batch_size": 8, "max_iter": 10}
    first, again, other = (ss.train(ss.SSLEY(), relation(), K, seed=s, **options) for s in (0, 0, 1))
    assert np.array_equal(first.embedding.Z, again.embedding.Z)
    assert not np.array_equal(first.embedding.Z, other.embedding.Z)


def test_adam_stops_at_a_vanishing_gradient_of_the_whole_relation() -> None:
    run = ss.train(ss.SSLEY(), relation(), K, X=features(), optimizer="adam", schedule="cosine", tol=1e-3)
    assert run.converged
    assert run.gradient_norm <= 1e-3
    assert run.losses.size < 3000
    assert "converged" in run.message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_single_precision_ends_where_double_does(dtype: str) -> None:
    run = ss.train(
        ss.SSLEY(), relation(), K, X=features(), optimizer="adam", schedule="cosine", dtype=dtype, max_iter=500
    )
    best = ss.optimum(ss.SSLEY(), relation(), K, X=features()).loss
    assert run.embedding.Z.dtype == np.float64
    assert run.loss == pytest.approx(best, rel=1e-4)
