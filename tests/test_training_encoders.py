"""Networks: their gradients, their maps for new samples, their random numbers, and what is refused."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import spectral_ssl as ss
from spectral_ssl.methods import METHODS
from spectral_ssl.training.encoders import Scale
from spectral_ssl.training.networks import Network, Randomness
from spectral_ssl.training.problem import Problem

ROUNDING = 1e-10  # relative: float64 sums of a few thousand terms, in other orders
BELOW = 1e-9  # relative: a loss below its minimum by more is no rounding
SINGLE = 1e-5  # relative to the largest entry: float32 through three layers
N, D, K = 22, 5, 3
CPU = torch.device("cpu")


def relation(name: str = "") -> ss.Graph:
    if name == "alpha_cl":  # contrasts two views
        return ss.Graph.from_groups(np.arange(N) // 2)
    rng = np.random.default_rng(0)
    A = np.triu(rng.random((N, N)) < 0.25, 1) * rng.uniform(0.5, 2.0, (N, N))
    A[-1] = A[:, -1] = 0.0  # a sample without a pair
    return ss.Graph.from_adjacency(A + A.T)


def features(n: int = N, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D)) * [1.0, 5.0, 0.2, 1.0, 1.0] + 2.0


def perceptron(dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(D, 16), torch.nn.Tanh(), torch.nn.Linear(16, K))
    return net.to(dtype)


METHOD_CASES: dict[str, ss.Method] = {
    "vicreg": ss.VICReg(1.0, 1.0, 0.1),
    "vicreg-hinge": ss.VICReg(25.0, 1.0, 1.0, form="hinge"),
    "vicreg-constrained": ss.VICReg(invariance=0.1, form="constrained"),
    "vicreg-degree": ss.VICReg(1.0, 1.0, 0.3, weighting="degree"),
    "frobenius_simclr": ss.FrobeniusSimCLR(),
    "spectral_contrastive": ss.SpectralContrastive(),
    "ssl_ey": ss.SSLEY(),
    "barlow_twins": ss.BarlowTwins(),
    "barlow_twins-unnormalised": ss.BarlowTwins(normalized=False),
    "infonce": ss.InfoNCE(0.5),
    "simclr": ss.SimCLR(0.2),
    "alpha_cl": ss.AlphaCL("infonce(temperature=0.3)", constraint="unit"),
}
each_method = pytest.mark.parametrize("name", METHOD_CASES)


def network(module: torch.nn.Module, method: ss.Method, dtype: torch.dtype | None = None) -> Network:
    return Network(
        module, method, features(), None, K, device=CPU, dtype=dtype, autocast=None, random=Randomness(0, CPU)
    )


def test_every_method_of_the_registry_is_here() -> None:
    assert METHODS.keys() <= METHOD_CASES.keys()


# --- gradients --------------------------------------------------------------------------------------------------------


def gradients(problem: Problem, pairs: Any) -> tuple[float, np.ndarray]:
    loss = problem.backward(pairs)
    return loss, torch.cat([p.grad.reshape(-1) for p in problem.encoder.parameters if p.grad is not None]).numpy()


@each_method
@pytest.mark.parametrize("over", ["relation", "batch", "debiased"])
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_chunks_give_the_gradient_of_all_rows_together(name: str, over: str, chunk: int) -> None:
    method, graph = METHOD_CASES[name], relation(name)
    pairs = None if over == "relation" else method.draw_pairs(graph, 10, np.random.default_rng(3))
    both = [
        gradients(
            Problem(method, graph, network(perceptron(), method), K, chunk=size, debias=over == "debiased"), pairs
        )
        for size in (None, chunk)
    ]
    assert both[1][0] == pytest.approx(both[0][0], rel=ROUNDING)
    assert np.abs(both[1][1] - both[0][1]).max() < ROUNDING * np.abs(both[0][1]).max()
    assert np.abs(both[0][1]).max() > 0


def test_chunks_draw_the_same_dropout_again() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(D, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, K)).double()
    method, graph = ss.SSLEY(), relation()
    i, j = method.draw_pairs(graph, 10, np.random.default_rng(3))
    net = network(module, method)
    loss, slope = gradients(Problem(method, graph, net, K, chunk=4), (i, j))
    # by hand, from the masks of a second stream of the same seed
    again = network(module, method)
    rows = np.concatenate([i, j])
    Z = torch.cat([again.rows(rows[start : start + 4]) for start in range(0, 20, 4)])
    wanted = sum(method.batch_terms(Z[:10], Z[10:], i, j, graph).values())
    wanted.backward()
    assert loss == pytest.approx(float(wanted.detach()), rel=ROUNDING)
    by_hand = torch.cat([p.grad.reshape(-1) for p in again.parameters if p.grad is not None]).numpy()
    assert np.abs(slope - by_hand).max() < ROUNDING * np.abs(by_hand).max()
    assert torch.equal(net.random.state[0], again.random.state[0])


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_linear_maps_and_free_embeddings_train_in_chunks_too(chunk_size: int | None) -> None:
    for X in (features(), None):
        runs = [
            ss.train(ss.SimCLR(), relation(), K, X=X, optimizer="adam", batch_size=6, max_iter=10, chunk_size=size)
            for size in (None, chunk_size)
        ]
        assert np.abs(runs[1].embedding.Z - runs[0].embedding.Z).max() < 1e-6  # Adam divides roundings by gradients


# --- embeddings and maps ----------------------------------------------------------------------------------------------


@each_method
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_network_gives_the_embedding_its_map_gives(name: str, optimizer: str) -> None:
    method, graph, X = METHOD_CASES[name], relation(name), features()
    run = ss.train(
        method, graph, K, X=X, encoder="mlp(width=16, depth=1, activation=tanh)", optimizer=optimizer, max_iter=20
    )
    Z = run.embedding.Z
    assert run.embedding.W is None
    assert np.abs(run.embedding.transform(X) - Z).max() < ROUNDING * np.abs(Z).max()
    assert np.abs(run.embedding.transform(X[[4]]) - Z[[4]]).max() < ROUNDING * np.abs(Z).max()
    assert run.embedding.transform(np.zeros((0, D))).shape == (0, K)
    assert run.loss == pytest.approx(float(method.loss(Z, graph)), rel=1e-12)
    assert run.encoder is not None
    assert not run.encoder.training
    # what no loss sees is settled as for optima
    degree = graph.degree
    if method.centred == "mean":
        assert np.abs(Z.mean(axis=0)).max() < 1e-10
    if method.centred == "degree_mean":
        assert np.abs(degree @ Z).max() < 1e-9
    if name == "barlow_twins":
        assert degree @ Z**2 / degree.sum() == pytest.approx(np.ones(K))
    if name in ("infonce", "simclr", "alpha_cl"):
        assert np.linalg.norm(Z, axis=1) == pytest.approx(np.ones(N))
    if name == "vicreg-constrained":
        assert np.abs(Z.T @ Z / N - np.eye(K)).max() < 1e-9
    if name == "vicreg-hinge":
        assert np.all(Z.std(axis=0) < 1 + 1e-9)
    with torch.no_grad():  # the network itself, and one affine map
        raw = run.encoder(torch.as_tensor(X)).numpy()
    fit = np.linalg.lstsq(np.column_stack([raw, np.ones(N)]), Z, rcond=None)[0]
    if name not in ("infonce", "simclr", "alpha_cl"):
        assert np.abs(np.column_stack([raw, np.ones(N)]) @ fit - Z).max() < 1e-8


def test_a_map_can_be_pickled_and_refuses_other_features() -> None:
    run = ss.train(ss.SSLEY(), relation(), K, X=features(), encoder="mlp(width=8)", optimizer="adam", max_iter=3)
    again = pickle.loads(pickle.dumps(run.embedding))
    new = features(7, 9)
    assert np.array_equal(again.transform(new), run.embedding.transform(new))
    with pytest.raises(ss.DataError, match="features"):
        run.embedding.transform(np.zeros((2, D + 1)))


def test_a_network_of_no_hidden_layer_is_the_linear_model() -> None:
    # one linear layer on standardised features, L-BFGS: an affine map, whose constant no centred loss sees
    method, graph, X = ss.SSLEY(), relation(), features()
    run = ss.train(method, graph, K, X=X, encoder="mlp(depth=0)", max_iter=2000)
    best = ss.optimum(method, graph, K, X=X)
    assert run.loss == pytest.approx(best.loss, rel=1e-9)
    assert run.converged


@pytest.mark.parametrize("name", ["ssl_ey", "vicreg", "barlow_twins", "spectral_contrastive", "frobenius_simclr"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "adam-batches"])
def test_a_network_never_passes_the_optimum_over_all_embeddings(name: str, optimizer: str) -> None:
    method, graph, X = METHOD_CASES[name], relation(), features()
    free, linear = ss.optimum(method, graph, K).loss, ss.optimum(method, graph, K, X=X).loss
    options: dict[str, Any] = {"optimizer": optimizer.split("-")[0], "max_iter": 250}
    if optimizer == "adam-batches":
        options |= {"batch_size": 64, "schedule": "cosine", "max_iter": 400}
    run = ss.train(method, graph, K, X=X, encoder="mlp(width=64, depth=1)", **options)
    assert run.loss > free - BELOW * abs(free)
    assert run.loss < linear - 0.01 * abs(linear)  # 64 units interpolate 22 samples, 5 features do not


@pytest.mark.slow
def test_a_wide_network_on_digits_lies_between_the_linear_and_the_free_optimum() -> None:
    data = ss.load_dataset("digits")
    graph = ss.relations.knn(data, n_neighbors=10)
    for method in (ss.SpectralContrastive(), ss.VICReg(invariance=0.05)):
        run = ss.train(
            method, graph, 8, X=data.X, encoder="mlp", optimizer="adam", schedule="cosine", batch_size=256, max_iter=400
        )
        free, linear = ss.optimum(method, graph, 8).loss, ss.optimum(method, graph, 8, X=data.X).loss
        assert free < run.loss < linear


def test_an_open_invariance_is_resolved_on_linear_maps() -> None:
    X, graph = features(), relation()
    run = ss.train(ss.VICReg(), graph, K, X=X, encoder="mlp(width=8)", optimizer="adam", max_iter=2)
    assert run.method == ss.optimum(ss.VICReg(), graph, K, X=X).method


def test_networks_see_a_kernels_features() -> None:
    X, graph = features(), relation()
    options: dict[str, Any] = {"encoder": "mlp(depth=0)", "kernel": "nystroem(n_landmarks=8)", "max_iter": 2000}
    run = ss.train(ss.SSLEY(), graph, K, X=X, **options)
    assert run.loss == pytest.approx(ss.optimum(ss.SSLEY(), graph, K, X=X, kernel=options["kernel"]).loss, rel=1e-6)
    assert np.abs(run.embedding.transform(X) - run.embedding.Z).max() < 1e-8
    shared = ss.train(
        ss.SSLEY(), ss.Spectra(graph, X=X, kernel=options["kernel"]), K, encoder="mlp(depth=0)", max_iter=2000
    )
    assert shared.loss == pytest.approx(run.loss, rel=1e-9)


def test_a_network_can_have_more_components_than_features() -> None:
    run = ss.train(ss.SSLEY(), relation(), D + 2, X=features(), encoder="mlp(width=16)", optimizer="adam", max_iter=5)
    assert run.embedding.Z.shape == (N, D + 2)


def test_constant_features_stay_out_of_a_perceptron() -> None:
    X = np.column_stack([features(), np.full(N, 1e6)])
    run = ss.train(ss.SSLEY(), relation(), K, X=X, encoder="mlp(width=8)", optimizer="adam", max_iter=5)
    moved = X + np.array([0.0] * D + [1.0])
    assert np.array_equal(run.embedding.transform(moved), run.embedding.Z)


# --- modules of users -------------------------------------------------------------------------------------------------


def test_a_users_module_is_copied_and_keeps_its_precision() -> None:
    module = perceptron(torch.float32)
    before = copy.deepcopy(module.state_dict())
    run = ss.train(ss.SSLEY(), relation(), K, X=features(), encoder=module, optimizer="adam", max_iter=20)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert module.training
    assert run.encoder is not None
    assert run.encoder is not module
    assert {p.dtype for p in run.encoder.parameters()} == {torch.float32}
    assert run.embedding.Z.dtype == np.float64
    Z = run.embedding.Z
    assert np.abs(run.embedding.transform(features()) - Z).max() < SINGLE * np.abs(Z).max()
    searched = ss.train(ss.SSLEY(), relation(), K, X=features(), encoder=module, max_iter=20)
    assert searched.encoder is not None
    assert {p.dtype for p in searched.encoder.parameters()} == {torch.float64}


def test_one_step_of_a_module_is_the_step_of_torch() -> None:
    """Against a loop written here: torch's SGD on the same module, the loss of the whole relation by its formula."""
    graph, X, module = relation(), features(), perceptron()
    run = ss.train(ss.FrobeniusSimCLR(), graph, K, X=X, encoder=module, optimizer="sgd", learning_rate=1e-4, max_iter=3)
    A, x = torch.as_tensor(graph.to_csr().toarray()), torch.as_tensor(X)
    engine = torch.optim.SGD(module.parameters(), lr=1e-4)
    losses = []
    for _ in range(3):
        engine.zero_grad()
        Z = module(x)
        loss = ((Z @ Z.T - A) ** 2).sum()
        loss.backward()
        losses.append(float(loss.detach()))
        engine.step()
    assert run.losses == pytest.approx(losses, rel=ROUNDING)
    with torch.no_grad():
        assert np.abs(module(x).numpy() - run.embedding.Z).max() < 1e-10


def test_another_seed_draws_other_batches() -> None:
    options: dict[str, Any] = {"X": features(), "optimizer": "adam", "batch_size": 6, "max_iter": 3}
    module = perceptron()  # begins the same
    runs = [ss.train(ss.SSLEY(), relation(), K, encoder=module, seed=seed, **options) for seed in (0, 1)]
    assert not np.any(runs[0].losses == runs[1].losses)


class Restless(torch.nn.Module):
    """Running averages, and random numbers in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = torch.nn.Linear(D, K), torch.nn.BatchNorm1d(K)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.norm(self.first(x))
        return z + 0.01 * torch.rand_like(z)


def test_to_watch_a_run_does_not_change_it() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Restless()
    options: dict[str, Any] = {"X": features(), "optimizer": "adam", "batch_size": 6, "max_iter": 5}
    before = torch.get_rng_state()
    alone = ss.train(ss.SSLEY(), relation(), K, encoder=module, **options)
    watched = ss.train(ss.SSLEY(), relation(), K, encoder=module, callbacks=[lambda step: step.embed()], **options)
    assert np.array_equal(alone.losses, watched.losses)
    assert np.array_equal(alone.embedding.Z, watched.embedding.Z)
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_norm_trains_on_batches_and_embeds_by_running_averages() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(D, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, K))
    options: dict[str, Any] = {"X": features(), "optimizer": "adam", "batch_size": 8, "max_iter": 5}
    run = ss.train(ss.SSLEY(), relation(), K, encoder=module, **options)
    assert run.encoder is not None
    assert int(run.encoder[1].num_batches_tracked) == 5
    by_default = ss.train(ss.SSLEY(), relation(), K, encoder=module, **{**options, "optimizer": "sgd"})
    assert by_default.encoder is not None
    assert int(by_default.encoder[1].num_batches_tracked) == 5  # setting a learning rate leaves no trace
    one = run.embedding.transform(features()[:1])  # no statistics of its own
    assert np.abs(one - run.embedding.Z[:1]).max() < SINGLE * np.abs(run.embedding.Z).max()
    with pytest.raises(ss.DataError, match="batch norm mixes"):
        ss.train(ss.SSLEY(), relation(), K, encoder=module, chunk_size=4, **options)
    module[1].eval()  # frozen, a part may be
    frozen = ss.train(ss.SSLEY(), relation(), K, encoder=module, chunk_size=4, **options)
    assert frozen.encoder is not None
    assert int(frozen.encoder[1].num_batches_tracked) == 0
    module[1].train()
    with pytest.warns(ss.SpectralWarning, match="running averages"):
        ss.train(ss.SSLEY(), relation(), K, X=features(), encoder=module, max_iter=2)


class Wrong(torch.nn.Module):
    def __init__(self, f: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.f, self.weight = f, torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> Any:
        return self.f(x)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (torch.nn.Linear(D, K + 1), rf"of shape \(2, {K + 1}\) for 2 rows, expected real numbers \(2, {K}\)"),
        (torch.nn.Linear(D + 1, K), "the encoder fails on"),
        (Wrong(lambda x: x.numpy()), "gives ndarray"),
        (Wrong(lambda x: (x, x)), "gives tuple"),
        (Wrong(lambda x: x[:, :K].long()), "torch.int64"),
        (Wrong(lambda x: x.reshape(1, 5, 5)), "the encoder fails on"),
        (Wrong(lambda x: x.nothing), "AttributeError"),
        (Wrong(lambda x: x[:, :K].sum(dim=1)), r"of shape \(2,\)"),
        (Wrong(lambda x: {}["a"]), "KeyError"),
        (Wrong(lambda x: torch.nn.functional.linear(x, 1 / 0)), "ZeroDivisionError"),
        (Wrong(lambda x: x[:, :K]), "does not depend on its parameters"),
        (torch.nn.Sequential(torch.nn.LazyLinear(8), torch.nn.LazyBatchNorm1d(), torch.nn.Linear(8, K)), "dummy batch"),
        (torch.nn.ReLU(), "no parameters"),
        (torch.nn.Linear(D, K).eval(), "eval mode"),
        (torch.nn.Linear(D, K).requires_grad_(False), "requires a gradient"),
        (torch.nn.Linear(D, K, device="meta"), "cannot be copied"),
        ("cnn", "unknown encoder 'cnn'"),
        ("mlp(widht=3)", "did you mean 'width'"),
        ("mlp(width=0)", "width must be at least 1"),
        ("mlp(activation=sin)", "activation must be"),
        (3, "encoder must be text"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_encoder_is_refused_with_advice(module: Any, words: str) -> None:
    with pytest.raises(ss.DataError, match=words):
        ss.train(ss.SSLEY(), relation(), K, X=features(), encoder=module, optimizer="adam", max_iter=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"X": None}, "pass X="),
        ({"ridge": 1.0}, "weight decay"),
        ({"model": "linear"}, "a class of its own"),
        ({"init_scale": 1.0}, "brings its own parameters"),
        ({"method": ss.InfoNCE(0.5, "dot")}, "take the cosine"),
        ({"X": features(N + 1)}, f"{N + 1} rows"),
    ],
    ids=str,
)
def test_options_that_networks_do_not_have_are_refused(options: dict[str, Any], words: str) -> None:
    given = {"X": features(), "method": ss.SSLEY(), "encoder": "mlp", "optimizer": "adam", **options}
    with pytest.raises(ss.DataError, match=words):
        ss.train(given.pop("method"), relation(), K, **given)


def test_dropout_is_refused_where_a_line_search_would_chase_it() -> None:
    first = torch.nn.Linear(D, K)
    for module in (
        torch.nn.Sequential(torch.nn.Dropout(0.5), first),
        torch.nn.Sequential(torch.nn.RReLU(), first),
        Wrong(lambda x: torch.nn.functional.dropout(x)[:, :K]),
        Wrong(lambda x: x[:, :K] + float(np.random.default_rng().random())),
    ):
        for options in ({}, {"optimizer": "gd", "learning_rate": 0.1}):
            with pytest.raises(ss.DataError, match="line search"):
                ss.train(ss.SSLEY(), relation(), K, X=features(), encoder=module, **options)
    still = torch.nn.Sequential(torch.nn.Dropout(0.5).eval(), first)
    ss.train(ss.SSLEY(), relation(), K, X=features(), encoder=still, max_iter=5)


class Counting(torch.nn.Module):
    """A buffer put in the place of another at every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(D, K)
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.count = self.count + 1
        return self.linear(x)


@pytest.mark.parametrize("seed", [0, 1])  # of the weights; at 0 the power iteration starts at its fixed point
def test_chunks_of_parts_that_keep_a_state_are_refused(seed: int) -> None:
    torch.manual_seed(seed)
    spectral = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(D, 8))
    norm = torch.nn.InstanceNorm1d(1, track_running_stats=True)
    instance = torch.nn.Sequential(torch.nn.Unflatten(1, (1, D)), norm, torch.nn.Flatten(), torch.nn.Linear(D, K))
    for module in (torch.nn.Sequential(spectral, torch.nn.Linear(8, K)), instance, Counting()):
        options: dict[str, Any] = {"X": features(), "encoder": module, "optimizer": "adam", "max_iter": 2}
        ss.train(ss.SSLEY(), relation(), K, **options)
        with pytest.raises(ss.DataError, match="leave chunk_size out"):
            ss.train(ss.SSLEY(), relation(), K, chunk_size=5, **options)


def test_only_the_steps_themselves_change_buffers() -> None:
    run = ss.train(
        ss.SSLEY(),
        relation(),
        K,
        X=features(),
        encoder=Counting(),
        optimizer="sgd",
        max_iter=5,
        callbacks=[lambda step: step.embed()],
    )
    assert run.encoder is not None
    assert float(run.encoder.count) == 5


def test_a_module_that_turns_nan_is_an_error() -> None:
    module = Wrong(lambda x: x[:, :K])
    module.f = lambda x: x[:, :K] * (module.weight * 0 + (float("nan") if len(x) > 2 else 1.0))
    with pytest.raises(ss.NumericalError, match="NaN"):
        ss.train(ss.SSLEY(), relation(), K, X=features(), encoder=module, optimizer="adam", max_iter=2)


# --- random numbers, precision ----------------------------------------------------------------------------------------


def test_global_random_numbers_are_neither_used_nor_touched() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(D, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, K))
    options: dict[str, Any] = {"X": features(), "optimizer": "adam", "batch_size": 6, "max_iter": 5}
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        for encoder in ("mlp(width=8)", module):
            run = ss.train(
                ss.SSLEY(), relation(), K, encoder=encoder, callbacks=[lambda step: torch.rand(1)], **options
            )
            found.append(run.embedding.Z)
        torch.set_rng_state(before)
        ss.train(ss.SSLEY(), relation(), K, encoder="mlp(width=8)", **options)
        assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[3])
    other = ss.train(ss.SSLEY(), relation(), K, encoder="mlp(width=8)", seed=1, **options)
    assert not np.array_equal(other.embedding.Z, found[0])


@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-12), ("float32", 1e-4), ("bfloat16", 0.05)])
def test_lower_precision_ends_near_where_double_does(dtype: str, tol: float) -> None:
    options: dict[str, Any] = {"X": features(), "encoder": "mlp(width=16)", "optimizer": "adam", "max_iter": 60}
    exact = ss.train(ss.SSLEY(), relation(), K, **options)
    run = ss.train(ss.SSLEY(), relation(), K, dtype=dtype, **options)
    assert run.encoder is not None
    assert {p.dtype for p in run.encoder.parameters()} == {torch.float64 if dtype == "float64" else torch.float32}
    assert run.embedding.Z.dtype == np.float64
    assert run.loss == pytest.approx(exact.loss, rel=tol)
    if dtype != "float64":
        assert run.loss != exact.loss


def test_bfloat16_is_what_the_network_computes_in() -> None:
    seen: list[torch.dtype] = []

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(D, K)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z: torch.Tensor = self.layer(x)
            if self.training:
                seen.append(z.dtype)
            return z

    ss.train(ss.SSLEY(), relation(), K, X=features(), encoder=Spy(), optimizer="adam", dtype="bfloat16", max_iter=2)
    assert set(seen) == {torch.bfloat16}


def test_the_scale_of_an_embedding_is_that_of_its_method() -> None:
    Z, graph = features()[:, :K], relation()
    for method in METHOD_CASES.values():
        scale = Scale.of(method, Z, graph)
        settled = scale.rows(scale.columns(Z))
        again = Scale.of(method, settled, graph)
        assert np.abs(again.rows(again.columns(settled)) - settled).max() < 1e-10
