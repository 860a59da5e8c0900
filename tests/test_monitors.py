"""What training is watched by: every measure against its definition, a run that takes no notice, and seeds."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import spectral_ssl as ss
from spectral_ssl.training import Step
from spectral_ssl.training.monitors import (
    MONITORS,
    Monitor,
    knn_accuracy,
    relative_excess,
    spectrum_drift,
)
from spectral_ssl.training.seeds import train_seeds

EXACT = 1e-12  # the same float64 sums in another order
ANGLE_TOL = 1e-6  # scipy takes the large angles of orthonormal bases from cosines: half the digits near zero
EXCESS_TOL = 1e-8  # the project's promise for a trained run against its closed form


@pytest.fixture(scope="module")
def iris() -> ss.Dataset:
    return ss.load_dataset("iris")


@pytest.fixture(scope="module")
def graph(iris: ss.Dataset) -> ss.Graph:
    return ss.relations.knn(iris, n_neighbors=7)


@pytest.fixture(scope="module")
def best(graph: ss.Graph, iris: ss.Dataset) -> ss.Optimum:
    return ss.optimum(ss.VICReg(), graph, 2, X=iris.X)


def step_at(evaluations: int, Z: np.ndarray) -> Step:
    return Step(evaluations=evaluations, loss=0.0, gradient_norm=0.0, seconds=float(evaluations), embed=lambda: Z)


def looked(monitor: Monitor, Z: np.ndarray) -> dict[str, float]:
    """What a fresh monitor says of Z."""
    monitor(step_at(1, Z))
    (row,) = monitor.rows()
    return row


# --- each measure against its definition ----------------------------------------------------------------------------


def test_loss_is_that_of_the_full_graph_by_a_loop_over_pairs(graph: ss.Graph, best: ss.Optimum) -> None:
    Z = np.random.default_rng(0).standard_normal((150, 2))
    A, N, gamma = graph.to_csr().toarray(), 150, best.method.hyper["invariance"]
    C = np.cov(Z.T, bias=True)
    # VICReg of variance 1: |Cov - I|^2, and gamma / N times the energy over explicit pairs
    energy = sum(A[i, j] * ((Z[i] - Z[j]) ** 2).sum() for i in range(N) for j in range(N)) / N
    witness = ((C - np.eye(2)) ** 2).sum() + gamma * energy
    row = looked(Monitor(graph, best=best), Z)
    assert row["loss"] == pytest.approx(witness, rel=EXACT)
    assert row["excess"] == pytest.approx(witness - best.loss, rel=1e-10)
    assert row["relative_excess"] == pytest.approx((witness - best.loss) / (2 - best.loss), rel=1e-10)  # collapse: K


def test_effective_rank_is_exp_of_the_entropy_of_the_normalised_singular_values(graph: ss.Graph) -> None:
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((150, 3)))[0]
    row = looked(Monitor(graph), Q * [3.0, 2.0, 1.0])
    p = np.array([1 / 2, 1 / 3, 1 / 6])
    assert row["effective_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=EXACT)


def test_largest_angle_is_scipys(graph: ss.Graph, best: ss.Optimum) -> None:
    import scipy.linalg

    Z = best.embedding.Z + 0.3 * np.random.default_rng(1).standard_normal((150, 2))
    witness = scipy.linalg.subspace_angles(Z, best.embedding.Z).max()
    assert looked(Monitor(graph, best=best), Z)["max_angle"] == pytest.approx(witness, abs=ANGLE_TOL)


def test_spectrum_drift_compares_shapes_of_spectra_whatever_rotation_and_scale(best: ss.Optimum) -> None:
    rng = np.random.default_rng(0)
    Z, Q = rng.standard_normal((40, 3)), np.linalg.qr(rng.standard_normal((3, 3)))[0]
    assert spectrum_drift(7 * Z @ Q, Z) == pytest.approx(0, abs=EXACT)
    U = np.linalg.qr(rng.standard_normal((40, 3)))[0]
    # (3, 4, 0) / 5 sorted against (1, 0): sqrt((0.8 - 1)^2 + 0.6^2)
    assert spectrum_drift(U * [3.0, 4.0, 0.0], U[:, :1]) == pytest.approx(np.sqrt(0.04 + 0.36), rel=EXACT)
    s, t = np.sqrt(np.linalg.eigvalsh(Z.T @ Z)), np.sqrt(np.linalg.eigvalsh((Z * [1, 2, 5]).T @ (Z * [1, 2, 5])))
    witness = np.linalg.norm(s / np.linalg.norm(s) - t / np.linalg.norm(t))
    assert spectrum_drift(Z, Z * [1, 2, 5]) == pytest.approx(witness, rel=1e-10)


def naive_knn(Z: np.ndarray, y: np.ndarray, source: np.ndarray, k: int) -> float:
    right, rows = 0, [i for i in range(len(y)) if y[i] >= 0]
    for i in rows:
        others = [j for j in rows if source[j] != source[i]]
        others.sort(key=lambda j: float(((Z[i] - Z[j]) ** 2).sum()))
        votes = np.bincount(y[others[:k]])
        right += int(np.argmax(votes) == y[i])
    return right / len(rows)


def test_knn_leaves_out_the_row_itself_and_its_other_views() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    Z = np.eye(3)[y] + 0.6 * rng.standard_normal((60, 3))
    twice, labels, source = (
        np.vstack([Z, Z + 1e-3 * rng.standard_normal(Z.shape)]),
        np.tile(y, 2),
        np.tile(range(60), 2),
    )
    labels[::7] = -1
    assert knn_accuracy(Z, y) == naive_knn(Z, y, np.arange(60), 5)
    assert knn_accuracy(twice, labels, source) == naive_knn(twice, labels, source, 5)
    assert knn_accuracy(twice, labels) == naive_knn(twice, labels, np.arange(120), 5)
    # with one neighbour, a view of the same original always tells: that is what `source` is for
    assert knn_accuracy(twice, np.tile(y, 2), n_neighbors=1) == 1.0
    assert knn_accuracy(twice, np.tile(y, 2), source, n_neighbors=1) < 0.9


def test_knn_of_few_or_repeated_rows() -> None:
    assert knn_accuracy(np.zeros((6, 1)), np.array([0, 0, 0, 0, 0, 1])) == pytest.approx(5 / 6)  # the majority, always
    assert knn_accuracy(np.arange(3.0)[:, None], np.array([0, 0, 0])) == 1.0  # two neighbours are all there are
    assert np.isnan(knn_accuracy(np.arange(3.0)[:, None], np.array([0, -1, -1])))
    assert np.isnan(knn_accuracy(np.arange(4.0)[:, None], np.zeros(4, dtype=int), np.zeros(4)))


def test_knn_of_many_rows_classifies_a_seeded_part_against_all(monkeypatch: pytest.MonkeyPatch) -> None:
    import spectral_ssl.training.monitors as module

    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 400)
    Z = np.eye(4)[y] + 0.5 * rng.standard_normal((400, 4))
    monkeypatch.setattr(module, "KNN_ROWS", 100)
    part = np.sort(np.random.default_rng(0).choice(400, 100, replace=False))
    right = 0
    for i in part:
        order = np.argsort(((Z - Z[i]) ** 2).sum(axis=1))
        right += np.argmax(np.bincount(y[order[order != i][:5]])) == y[i]
    assert knn_accuracy(Z, y) == right / 100


def test_the_monitor_reads_labels_as_a_dataset_does(graph: ss.Graph, iris: ss.Dataset) -> None:
    Z, y = iris.X, iris.y.astype(object)
    y[::9] = None
    codes = np.where(np.arange(150) % 9 == 0, -1, iris.y)
    assert looked(Monitor(graph, y=y), Z)["knn"] == naive_knn(Z, codes, np.arange(150), 5)
    assert "knn" not in looked(Monitor(graph, y=iris.X[:, 0]), Z)  # targets to regress are no classes


# --- when it looks --------------------------------------------------------------------------------------------------


def test_it_looks_every_so_many_steps_and_always_at_the_last_one_told(graph: ss.Graph) -> None:
    Z = np.random.default_rng(0).standard_normal((150, 2))
    monitor = Monitor(graph, every=10)
    for n in range(1, 46):
        monitor(step_at(n, Z * n))
    assert [row["step"] for row in monitor.rows()] == [1, 2, 4, 8, 16, 26, 36, 45]  # doubling until `every` is less
    assert [row["seconds"] for row in monitor.rows()] == [1, 2, 4, 8, 16, 26, 36, 45]
    assert len(monitor.history) == 8  # asking again looks no further
    single = Monitor(graph, every=10)
    single(step_at(31, Z))
    assert [row["step"] for row in single.rows()] == [31]
    assert [row["step"] for row in Monitor(graph).rows()] == []
    assert Monitor(graph).arrays() == {}


def test_arrays_hold_the_rows_by_column(graph: ss.Graph, best: ss.Optimum) -> None:
    monitor = Monitor(graph, best=best, every=1)
    for n in (1, 2, 3):
        monitor(step_at(n, n * best.embedding.Z))
    rows, arrays = monitor.rows(), monitor.arrays()
    assert set(arrays) == set(rows[0]) == {"step", "seconds", *MONITORS} - {"knn"}
    for key, column in arrays.items():
        np.testing.assert_array_equal(column, [row[key] for row in rows])
    assert rows[0]["relative_excess"] == pytest.approx(0, abs=EXACT)


def test_what_cannot_be_measured_is_absent(graph: ss.Graph, iris: ss.Dataset) -> None:
    Z = np.random.default_rng(0).standard_normal((150, 2))
    assert set(looked(Monitor(graph), Z)) == {"step", "seconds", "effective_rank"}
    assert "excess" not in looked(Monitor(graph, method=ss.VICReg(invariance=0.1)), Z)
    loose = ss.optimum(ss.BarlowTwins(normalized=False), graph, 2, X=iris.X)
    assert loose.unique_up_to == "none"
    assert not {"max_angle", "spectrum_drift"} & set(looked(Monitor(graph, best=loose), Z))
    gone = ss.optimum(ss.VICReg(invariance=1e6), graph, 2, X=iris.X)
    assert gone.rank == 0
    assert not {"max_angle", "spectrum_drift"} & set(looked(Monitor(graph, best=gone), Z))
    # a ridge is paid by the map and not by Z, which alone would seem to fall below the minimum
    ridged = ss.optimum(ss.VICReg(invariance=0.1), graph, 2, X=iris.X, ridge=10.0)
    assert not {"excess", "relative_excess"} & set(looked(Monitor(graph, best=ridged), ridged.embedding.Z))


def test_a_measure_of_ones_own_stands_beside_the_others(graph: ss.Graph) -> None:
    Z = np.random.default_rng(0).standard_normal((150, 2))
    monitor = Monitor(graph, measures={"size": lambda Z, monitor: float((Z**2).sum()), "none": lambda Z, monitor: None})
    row = looked(monitor, Z)
    assert row["size"] == pytest.approx((Z**2).sum())
    assert "none" not in row
    with pytest.raises(ss.DataError, match="another name"):
        Monitor(graph, measures={"loss": lambda Z, monitor: 0.0})


def test_a_measure_that_raises_stops_the_training(graph: ss.Graph, iris: ss.Dataset) -> None:
    def broken(Z: np.ndarray, monitor: Monitor) -> float:
        raise RuntimeError("broken measure")

    with pytest.raises(RuntimeError, match="broken measure"):
        ss.train(ss.VICReg(), graph, 2, X=iris.X, callbacks=[Monitor(graph, measures={"broken": broken})])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "at least 1"),
        ({"every": 2.5}, "whole number"),
        ({"method": ss.VICReg()}, "left to the data"),
        ({"y": [0, 1]}, "150"),
        ({"source": [0, 1]}, "source has shape"),
        ({"method": "vicreg"}, "a method is an object"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: dict, words: str, graph: ss.Graph) -> None:
    with pytest.raises(ss.DataError, match=words):
        Monitor(graph, **options)


def test_a_monitor_is_of_one_relation_and_one_run(graph: ss.Graph, best: ss.Optimum) -> None:
    with pytest.raises(ss.DataError, match="optimum of 150 samples"):
        Monitor(ss.Graph.from_groups([0, 0, 1, 1]), best=best)
    with pytest.raises(ss.DataError, match="Graph"):
        Monitor(graph.to_csr(), best=best)
    monitor = Monitor(graph)
    monitor(step_at(5, best.embedding.Z))
    with pytest.raises(ss.DataError, match="one run"):
        monitor(step_at(1, best.embedding.Z))


# --- in training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [ss.VICReg(), ss.BarlowTwins(), ss.InfoNCE()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("model", ["linear", "free"])
def test_a_watched_run_is_bitwise_the_run_without(
    method: ss.Method, model: str, graph: ss.Graph, iris: ss.Dataset
) -> None:
    options = {"X": iris.X} if model == "linear" else {}
    of = method if isinstance(method, ss.InfoNCE) else ss.optimum(method, graph, 2, **options).method
    monitor = Monitor(graph, method=of, y=iris.y, every=1)
    torch.manual_seed(5)
    bare = ss.train(method, graph, 2, max_iter=60, **options)
    torch.manual_seed(5)
    watched = ss.train(method, graph, 2, max_iter=60, callbacks=[monitor], **options)
    assert np.array_equal(bare.embedding.Z, watched.embedding.Z)
    assert np.array_equal(bare.losses, watched.losses)
    assert len(monitor.rows()) >= 3
    assert all("knn" in row for row in monitor.rows())


def dropout_and_batch_norm() -> torch.nn.Module:
    torch.manual_seed(3)
    hidden = [torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout(0.2)]
    return torch.nn.Sequential(*hidden, torch.nn.Linear(16, 2))


@pytest.mark.parametrize("encoder", ["linear", "mlp(width=16, depth=1)", "module"])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_watched_run_of_steps_is_bitwise_the_run_without(
    encoder: str, batch_size: int | None, graph: ss.Graph, iris: ss.Dataset, best: ss.Optimum
) -> None:
    options = {"X": iris.X, "optimizer": "adam", "batch_size": batch_size, "max_iter": 25, "seed": 4}
    monitor = Monitor(graph, best=best, y=iris.y, every=1)
    bare, watched = (
        ss.train(
            best.method, graph, 2, encoder=dropout_and_batch_norm() if encoder == "module" else encoder,
            callbacks=callbacks, **options,
        )
        for callbacks in ([], [monitor])
    )  # fmt: skip
    assert np.array_equal(bare.embedding.Z, watched.embedding.Z)
    assert np.array_equal(bare.losses, watched.losses)
    assert len(monitor.rows()) == 25
    # what was seen last is what was returned
    assert monitor.rows()[-1]["loss"] == pytest.approx(watched.loss, rel=EXACT)


def test_seeds_of_a_network_start_from_weights_and_batches_of_their_own(graph: ss.Graph, iris: ss.Dataset) -> None:
    options = {"X": iris.X, "optimizer": "adam", "batch_size": 32, "max_iter": 5, "seeds": (0, 1)}
    by_name = train_seeds(ss.VICReg(invariance=0.1), graph, 2, encoder="mlp(width=8, depth=1)", **options)
    assert by_name.losses[0] != by_name.losses[1]
    module = dropout_and_batch_norm()
    before = [p.detach().clone() for p in module.parameters()]
    given = train_seeds(ss.VICReg(invariance=0.1), graph, 2, encoder=module, **options)
    assert all(torch.equal(p, q) for p, q in zip(module.parameters(), before, strict=True))  # it is copied, not trained
    assert given.losses[0] != given.losses[1]
    again = train_seeds(ss.VICReg(invariance=0.1), graph, 2, encoder=module, **options)
    assert np.array_equal(given.losses, again.losses)


def test_training_to_the_optimum_is_seen_from_start_to_end(graph: ss.Graph, best: ss.Optimum, iris: ss.Dataset) -> None:
    monitor = Monitor(graph, best=best, y=iris.y, every=1)
    run = ss.train(best.method, graph, 2, X=iris.X, callbacks=[monitor])
    found = monitor.arrays()
    assert found["relative_excess"][0] > 1e-2
    assert abs(found["relative_excess"][-1]) <= EXCESS_TOL
    assert found["max_angle"][0] > 0.1 > 1e-5 > found["max_angle"][-1]
    assert found["spectrum_drift"][-1] < 1e-5
    assert found["loss"][-1] == pytest.approx(run.loss, rel=EXACT)
    assert np.all(np.diff(found["step"]) > 0)
    assert np.all(np.diff(found["seconds"]) >= 0)
    assert monitor.seconds > 0


# --- seeds ----------------------------------------------------------------------------------------------------------


def test_seeds_are_the_runs_one_would_make_by_hand(graph: ss.Graph, iris: ss.Dataset, best: ss.Optimum) -> None:
    found = train_seeds(ss.VICReg(), graph, 2, seeds=(3, 0, 8), X=iris.X, best=best, max_iter=4)
    by_hand = [ss.train(ss.VICReg(), graph, 2, X=iris.X, seed=seed, max_iter=4) for seed in (3, 0, 8)]
    losses = np.array([run.loss for run in by_hand])
    assert found.seeds == (3, 0, 8)
    assert np.array_equal(found.losses, losses)
    assert len(set(losses)) == 3
    assert found.best.loss == losses.min()
    assert found.runs[found.middle].loss == np.median(losses)
    excess = (losses - best.loss) / (2 - best.loss)  # VICReg collapses to K
    assert found.relative_excess == pytest.approx(excess, rel=1e-9)
    for name, values in (("loss", losses), ("relative_excess", excess)):
        low, quarter, middle, three, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        expected = {"min": low, "median": middle, "max": high, "iqr": three - quarter}
        assert found.spread[name] == pytest.approx(expected, rel=1e-9)


def test_the_middle_of_two_runs_is_the_better(graph: ss.Graph, iris: ss.Dataset) -> None:
    found = train_seeds(ss.VICReg(), graph, 2, seeds=(0, 1), X=iris.X, max_iter=4)
    assert found.runs[found.middle] is found.best
    assert found.relative_excess is None
    assert set(found.spread) == {"loss"}


def test_seeds_tell_callbacks_and_monitors_of_every_run(graph: ss.Graph, iris: ss.Dataset, best: ss.Optimum) -> None:
    told: list[int] = []
    found = train_seeds(
        ss.VICReg(), graph, 2, seeds=range(2), X=iris.X, best=best, y=iris.y, monitor=5, max_iter=40,
        callbacks=[lambda step: told.append(step.evaluations)],
    )  # fmt: skip
    assert told.count(1) == 2
    assert len(found.monitors) == 2
    for run, monitor in zip(found.runs, found.monitors, strict=True):
        assert monitor.rows()[-1]["loss"] >= run.loss - EXACT
        assert {"knn", "max_angle"} <= set(monitor.rows()[0])
    unaided = train_seeds(ss.VICReg(), graph, 2, seeds=(0,), X=iris.X, monitor=5, max_iter=40)
    assert unaided.monitors[0].rows()[0]["loss"] == found.monitors[0].rows()[0]["loss"]


def test_seeds_share_one_factorisation(graph: ss.Graph, iris: ss.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from spectral_ssl import linalg

    calls: list[str] = []
    real = linalg.generalized_eigh
    monkeypatch.setattr(linalg, "generalized_eigh", lambda *a, **k: calls.append("eigh") or real(*a, **k))
    train_seeds(ss.VICReg(), graph, 2, seeds=(0,), X=iris.X, max_iter=2)
    once = len(calls)
    train_seeds(ss.VICReg(), graph, 2, seeds=range(4), X=iris.X, max_iter=2)
    assert once > 0
    assert len(calls) == 2 * once


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_must_be_some_and_different(seeds: tuple[int, ...], graph: ss.Graph, iris: ss.Dataset) -> None:
    with pytest.raises(ss.DataError, match="different whole numbers"):
        train_seeds(ss.VICReg(), graph, 2, seeds=seeds, X=iris.X)


def test_seeds_are_whole_numbers_given_as_such(graph: ss.Graph) -> None:
    for options, words in (
        ({"seeds": 3}, "different whole numbers"),
        ({"seeds": "ab"}, "whole number"),
        ({"seeds": [0.5]}, "whole number"),
        ({"seed": 3}, "leave seed= out"),
        ({"callbacks": print}, "list of functions"),
        ({"checkpoint": 3}, "path of a directory"),
        ({"monitor": -1}, "monitor"),
    ):
        with pytest.raises(ss.DataError, match=words):
            train_seeds(ss.VICReg(), graph, 2, **options)


def test_best_is_of_the_method_dimension_and_model_trained(graph: ss.Graph, iris: ss.Dataset, best: ss.Optimum) -> None:
    ridged = ss.optimum(best.method, graph, 2, X=iris.X, ridge=5.0)
    for method, K, options, words in (
        (ss.VICReg(), 3, {"X": iris.X, "best": best}, r"\(150, 2\)"),
        (ss.SSLEY(), 2, {"X": iris.X, "best": best}, "is an optimum of VICReg"),
        (ss.VICReg(variance=2.0), 2, {"X": iris.X, "best": best}, "is an optimum of VICReg"),
        (ss.VICReg(), 2, {"best": best}, "all embeddings are trained"),
        (best.method, 2, {"X": iris.X, "best": ridged}, "has a ridge"),
        (ss.VICReg(), 2, {"X": iris.X[:, :3], "best": best}, "maps of 4 features"),
    ):
        with pytest.raises(ss.DataError, match=words):
            train_seeds(method, graph, K, seeds=[0], max_iter=2, **options)
    with pytest.raises(ss.DataError, match="is an optimum of VICReg"):
        Monitor(graph, method=ss.SSLEY(), best=best)
    with pytest.raises(ss.DataError, match="in 2 dimensions, and the embedding trained has 3"):
        ss.train(best.method, graph, 3, X=iris.X, callbacks=[Monitor(graph, best=best)])


def test_monitored_seeds_can_be_pickled(graph: ss.Graph, iris: ss.Dataset, best: ss.Optimum) -> None:
    options = {"X": iris.X, "best": best, "y": iris.y, "monitor": 5, "optimizer": "adam", "max_iter": 13}
    runs = train_seeds(ss.VICReg(), graph, 2, seeds=[0, 1], **options)
    again = pickle.loads(pickle.dumps(runs))
    assert [m.rows() for m in again.monitors] == [m.rows() for m in runs.monitors]
    assert again.monitors[0].rows()[-1]["step"] == 13
    assert np.array_equal(again.relative_excess, runs.relative_excess)


def test_relative_excess_divides_by_the_way_to_collapse() -> None:
    assert relative_excess(3.0, 2.0, 6.0) == 0.25
    assert relative_excess(-1.0, -3.0, 0.0) == pytest.approx(2 / 3)
    assert relative_excess(5.0, 4.0, 4.0) == 0.25  # nothing between: by max(1, |closed|)
    assert relative_excess(0.5, 0.0, 0.0) == 0.5
