"""Scores that rank relations before training, against refits row by row, dense matrices and cases known on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import sklearn.decomposition
import torch

import spectral_ssl as ss
from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.data import Dataset
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.theory.charts import network_chart, smooth_chart
from spectral_ssl.theory.forecast import forecast_score, lazy_map, paired_difference, visible_score
from spectral_ssl.theory.gaussian_probe import discriminant, discriminant_left_out

REFIT_TOL = 1e-9  # probabilities: a rank-one update of a well-conditioned K x K inverse
SINGLE_TOL = 1e-4  # coordinates of size 1 from activations in single precision
HELD_TOL = 1e-5  # share of a slope: L-BFGS stops where the loss no longer falls
CHART_TOL = 1e-8  # sines: leading kernel components, eigenvalues 1e-3 apart


def clusters(seed: int = 0, N: int = 90, classes: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.arange(N) % classes
    return 2.0 * rng.standard_normal((classes, 5))[y] + rng.standard_normal((N, 5)), y


def refitted(Z: Any, y: Any, eta: float) -> Any:
    """p(own class | z_i) by refitting discriminant analysis without row i, in a loop."""
    n, C = len(y), int(y.max()) + 1
    out = np.zeros(n)
    for i in range(n):
        rest = np.arange(n) != i
        A, b = Z[rest], y[rest]
        if y[i] not in b:
            continue
        here = [c for c in range(C) if c in b]
        centred = np.vstack([A[b == c] - A[b == c].mean(axis=0) for c in here])
        covariance = (centred.T @ centred + eta * np.eye(Z.shape[1])) / max(n - 1 - C, 1)
        density = np.array(
            [
                np.sum(b == c) * scipy.stats.multivariate_normal(A[b == c].mean(axis=0), covariance).pdf(Z[i])
                for c in here
            ]
        )
        out[i] = density[here.index(y[i])] / density.sum()
    return out


@pytest.mark.parametrize("eta", [0.0, 3.0])
def test_gaussian_probe_left_out_is_that_of_refitting_without_each_row(eta: float) -> None:
    """Four classes of unequal size, one of them of a single row, which cannot be known without it."""
    rng = np.random.default_rng(1)
    y = np.array([0] * 9 + [1] * 5 + [2] * 7 + [3])
    Z = rng.standard_normal((22, 3)) + np.eye(4)[y][:, :3]
    found = discriminant_left_out(Z, y, eta=eta)
    assert np.abs(found.probability - refitted(Z, y, eta)).max() <= REFIT_TOL
    assert found.probability[-1] == 0
    assert found.hits[-1] == 0


def test_gaussian_probe_chooses_the_shrinkage_of_least_log_loss() -> None:
    """Among eta = 0.001, 0.01, 0.1, 1 of the scatter per direction, by the loop."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 30)
    Z = rng.standard_normal((30, 8)) + 0.8 * y[:, None] * np.eye(8)[0]
    size = ((Z - Z.mean(axis=0)) ** 2).sum() / 8
    grid = [share * size for share in (1e-3, 1e-2, 1e-1, 1.0)]
    losses = [np.log(refitted(Z, y, eta)).mean() for eta in grid]
    assert discriminant_left_out(Z, y).eta == pytest.approx(grid[int(np.argmax(losses))], rel=1e-12)


def test_chart_is_kernel_pca_of_standardised_rows() -> None:
    """With every row a landmark: scikit-learn's KernelPCA spans the same leading coordinates, whatever their number."""
    X, _ = clusters()
    chart = smooth_chart(X * [1, 10, 0.1, 1, 1] + 3, n_landmarks=90, n_coordinates=6)
    rows = (X - X.mean(axis=0)) / X.std(axis=0)
    distance = scipy.spatial.distance.pdist(rows)
    expected = sklearn.decomposition.KernelPCA(6, kernel="rbf", gamma=1 / (2 * np.median(distance) ** 2))
    V = expected.fit_transform(rows)
    assert np.abs(chart.Q.T @ chart.Q - np.eye(6)).max() < 1e-10
    assert np.abs(chart.Q.mean(axis=0)).max() < 1e-12
    for k in range(1, 7):
        P = np.linalg.qr(V[:, :k])[0]
        assert np.linalg.norm(chart.Q[:, :k] - P @ (P.T @ chart.Q[:, :k]), 2) < CHART_TOL
    assert np.allclose(chart.variance / chart.variance[0], expected.eigenvalues_ / expected.eigenvalues_[0], rtol=1e-9)
    assert np.abs(chart((X * [1, 10, 0.1, 1, 1] + 3)[:7]) - chart.Q[:7]).max() < 1e-10


def test_network_chart_is_pca_of_the_layers_of_torch_linear_maps() -> None:
    """The weights put into torch's layers: scikit-learn's PCA of all activations, scaled by their variances."""
    X, _ = clusters()
    X = X * [1, 10, 0.1, 1, 1] + 3
    chart = network_chart(X, width=7, depth=2, n_coordinates=9, share=0.02, seed=3)
    h = torch.as_tensor((X - X.mean(axis=0)) / X.std(axis=0))
    layers = [h]
    for W, b in chart.layers:
        layer = torch.nn.Linear(*W.shape, dtype=torch.float64)
        bound = float(layer.weight.detach().abs().max())  # torch's own draw is from the same interval
        assert 0.7 < np.abs(W).max() / bound < 1.4
        with torch.no_grad():
            layer.weight.copy_(torch.as_tensor(W.T.copy()))
            layer.bias.copy_(torch.as_tensor(b.copy()))
            layers.append(torch.relu(layer(layers[-1])))
    found = sklearn.decomposition.PCA().fit(torch.hstack(layers).numpy())
    variance = found.explained_variance_ * (len(X) - 1) / len(X)
    expected = found.transform(torch.hstack(layers).numpy())[:, :9] / np.sqrt(variance[:9] + 0.02 * variance.sum())
    assert chart.n_coordinates == 9
    assert np.abs(np.abs(chart.Q) - np.abs(expected)).max() < SINGLE_TOL
    assert np.allclose(chart.variance, variance[:9] / variance.sum(), rtol=SINGLE_TOL)
    assert np.abs(chart(X[:7].copy()) - chart.Q[:7]).max() < SINGLE_TOL


def test_lazy_map_goes_to_the_closed_form_and_stops_on_the_way() -> None:
    """VICReg over the chart as features: many steps reach the known minimum, few lie between start and minimum."""
    X, _ = clusters(3)
    graph = ss.relations.knn(Dataset(name="rows", X=X), n_neighbors=5)
    Q, method = network_chart(X, n_coordinates=8).Q, ss.VICReg(invariance=0.4)
    best = ss.optimum(method, ss.Spectra(graph, X=Q), 2).loss
    start, few, many = (
        float(method.loss(Q @ B, graph))
        for B in (np.eye(8, 2), lazy_map(method, graph, Q, 2, steps=3), lazy_map(method, graph, Q, 2, steps=400))
    )
    assert many == pytest.approx(best, rel=1e-7)
    assert best * (1 + 1e-4) < few < start


@pytest.mark.parametrize("method", [ss.VICReg(), ss.BarlowTwins(), ss.InfoNCE(), ss.SpectralContrastive()], ids=repr)
def test_forecast_is_a_probe_on_folds_taken_out_of_the_relation(method: Any) -> None:
    """The definition step by step: dense pairs of those who stay at the mean degree of all, scikit-learn's probe."""
    X, y = clusters(3)
    graph = ss.relations.knn(Dataset(name="rows", X=X), n_neighbors=5)
    chart = network_chart(X, n_coordinates=12)
    found = forecast_score(graph, 2, y, X=X, method=method, chart=chart, n_labels=40, folds=4, judged=2, seed=5)
    drawn, A = np.random.default_rng(5).permutation(90)[:40], graph.to_csr().toarray()
    if isinstance(method, ss.VICReg):
        method = method.resolve(ss.Spectra(graph, X=X).of("laplacian", 2), 2)
    expected, hits = {}, {}
    for k in (0, 1):
        out, stay = drawn[k::4], np.delete(drawn, np.s_[k::4])
        kept = np.setdiff1d(np.arange(90), out)
        part = A[np.ix_(kept, kept)]
        part = part * (A.sum() / 90) / (part.sum() / kept.size)
        cost = 1 / (chart.variance + 1e-4)
        B = lazy_map(method, Graph.from_adjacency(part), chart.Q[kept], 2, batch_size=128, cost=cost, seed=5)
        Z, held = chart.Q[stay] @ B, chart.Q[out] @ B
        p = predicted(Z, y[stay], held)
        for row, own in zip(out, p[np.arange(out.size), y[out]], strict=True):
            expected[row] = own
        hits |= dict(zip(out, p.argmax(axis=1) == y[out], strict=True))
    assert sorted(expected) == found.rows.tolist()
    assert found.accuracy == pytest.approx(np.mean(list(hits.values())))
    per_row = np.array([(expected[row] + hits[row]) / 2 for row in found.rows])
    assert np.abs(found.per_row - per_row).max() < 1e-5  # two orders of the same sums, a few steps on
    assert found.score == pytest.approx(found.per_row.mean())
    assert found.standard_error == pytest.approx(per_row.std(ddof=1) / np.sqrt(20), rel=1e-4)


def predicted(Z: Any, y: Any, held: Any) -> Any:
    """p(c | z) from one covariance for all classes, by scipy's densities."""
    C, n = int(y.max()) + 1, len(y)
    d = Z - np.array([Z[y == c].mean(axis=0) for c in range(C)])[y]
    eta = 1e-3 * ((Z - Z.mean(axis=0)) ** 2).sum() / Z.shape[1]
    covariance = (d.T @ d + eta * np.eye(Z.shape[1])) / (n - C)
    density = np.array(
        [
            np.sum(y == c) * scipy.stats.multivariate_normal(Z[y == c].mean(axis=0), covariance).pdf(held)
            for c in range(C)
        ]
    ).T
    return density / density.sum(axis=1, keepdims=True)


def test_discriminant_knows_nothing_of_a_class_without_rows() -> None:
    rng = np.random.default_rng(0)
    Z, y, held = rng.standard_normal((30, 3)), np.arange(30) % 2, rng.standard_normal((5, 3))
    p = discriminant(Z, y, held, n_classes=3)
    assert np.abs(p[:, :2] - predicted(Z, y, held)).max() < REFIT_TOL
    assert not p[:, 2].any()


def test_pairs_of_equal_labels_cannot_hand_the_labels_back() -> None:
    """Labels drawn at random: the relation made from them holds each, and no forecast is better than chance."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((240, 6)), rng.integers(0, 2, 240)
    graph = ss.relations.labels(Dataset(name="noise", X=X, y=y))
    chart = network_chart(X, n_coordinates=120)
    found = forecast_score(graph, 1, y, X=X, method=ss.BarlowTwins(), chart=chart, steps=60)
    assert found.n_labels == 144
    assert found.accuracy is not None
    assert abs(found.accuracy - 0.5) < 4 * np.sqrt(0.25 / 144)  # four deviations of 144 coins
    z = chart.Q @ lazy_map(ss.BarlowTwins(), graph, chart.Q, 1, steps=60)[:, 0]
    hits = np.mean((z > 0) == (y == 1))
    assert max(hits, 1 - hits) > 0.8  # on the rows of the relation itself the same maps do tell


def _pencil(Q: Any, graph: Graph) -> tuple[Any, Any]:
    A = graph.to_csr().toarray()
    Q = Q - A.sum(axis=1) @ Q / A.sum()
    return Q.T @ A @ Q, Q.T @ np.diag(A.sum(axis=1)) @ Q


def test_samples_without_a_pair_cost_infonce_dearly_as_foretold() -> None:
    """Labels of a fifth of the samples: the others are negatives of their own class. Witness: trained networks."""
    rng = np.random.default_rng(8)
    y = np.arange(600) % 6
    X = 1.2 * rng.standard_normal((6, 8))[y] + rng.standard_normal((600, 8))
    seen, held = slice(300), slice(300, 600)
    some = np.where(rng.random(300) < 0.2, y[seen], -1)
    with pytest.warns(ss.SpectralWarning, match="no positive pair"):
        graph = ss.relations.labels(Dataset(name="some", X=X[seen], y=some))
    assert np.count_nonzero(graph.degree == 0) > 200
    options: dict[str, Any] = {"optimizer": "adam", "learning_rate": 3e-3, "batch_size": 128, "max_iter": 400}
    foretold, reached = [], []
    for method in (ss.InfoNCE(), ss.BarlowTwins()):
        foretold.append(forecast_score(graph, 4, y[seen], X=X[seen], method=method))
        run = ss.train(method, graph, 4, X=X[seen], encoder="mlp(width=64)", dtype="float32", **options)
        Z, Z_held = (run.embedding.transform(X[rows]) for rows in (seen, held))
        reached.append(linear_probe_score(Z, y[seen], Z_held, y[held], classification=True))
    assert reached[0] < reached[1] - 0.2  # they do: that is what there is to foretell
    gap, error = paired_difference(foretold[1], foretold[0])
    assert gap > max(0.2, 5 * error)


def test_barlow_twins_is_held_at_its_start(monkeypatch: Any) -> None:
    """Where the descent ends, the slope of the loss, by torch, is mu cost times the way that B has gone."""
    X, _ = clusters(11)
    graph = ss.relations.knn(Dataset(name="rows", X=X), n_neighbors=5)
    chart = network_chart(X, n_coordinates=12, share=0.02)
    P = chart.Q * np.sqrt(chart.variance + 0.02)  # principal components of features whose variances sum to 1
    assert np.allclose(P.var(axis=0), chart.variance, rtol=SINGLE_TOL)
    monkeypatch.setattr("spectral_ssl.theory.forecast.HELD", 0.05)  # firmly enough for L-BFGS to arrive
    method = ss.BarlowTwins()
    held = lazy_map(method, graph, chart.Q, 4, steps=200, cost=chart.cost)
    W = torch.as_tensor(held / np.sqrt(chart.variance + 0.02)[:, None], dtype=torch.float64)  # weights on P
    W0 = torch.as_tensor(np.eye(12, 4) / np.sqrt(chart.variance + 0.02)[:, None])
    W.requires_grad_()
    loss = method.loss(torch.as_tensor(P) @ W, graph)
    (slope,) = torch.autograd.grad(loss, W)
    pull = 0.05 * (W0 - W).detach()
    assert float((slope - pull).norm()) < HELD_TOL * float(pull.norm())
    free = lazy_map(method, graph, chart.Q, 4, steps=200)
    assert float(method.loss(chart.Q @ free, graph)) < float(loss.detach()) - 0.1


@pytest.mark.parametrize(
    "method", [ss.VICReg(invariance=0.4), ss.InfoNCE(), ss.BarlowTwins(normalized=False)], ids=repr
)
def test_losses_that_leave_no_column_free_are_not_held(method: Any) -> None:
    X, _ = clusters(12)
    graph = ss.relations.knn(Dataset(name="rows", X=X), n_neighbors=5)
    chart = network_chart(X, n_coordinates=12)
    held = lazy_map(method, graph, chart.Q, 2, cost=chart.cost)
    assert np.array_equal(held, lazy_map(method, graph, chart.Q, 2))
    with pytest.raises(DataError, match="each of the 12 coordinates"):
        lazy_map(method, graph, chart.Q, 2, cost=chart.cost[:1])


def test_columns_that_no_pair_speaks_for_stay_as_trained_networks_leave_them(monkeypatch: Any) -> None:
    """Classes half wrong bear three columns of eight; the others memorise unless they are held. Witness: a network."""
    rng = np.random.default_rng(1)
    y = np.arange(900) % 4
    X = 1.5 * rng.standard_normal((4, 16))[y] + 2.0 * rng.standard_normal((900, 16))
    seen, judged = slice(400), slice(400, 900)
    graph = ss.relations.corrupt(ss.relations.labels(Dataset(name="rows", X=X[seen], y=y[seen])), 0.5, seed=1)
    options: dict[str, Any] = {"optimizer": "adam", "learning_rate": 3e-3, "batch_size": 128, "max_iter": 400}
    run = ss.train(ss.BarlowTwins(), graph, 8, X=X[seen], encoder="mlp(width=64)", dtype="float32", **options)
    Z, Z_judged = (run.embedding.transform(X[rows]) for rows in (seen, judged))
    reached = linear_probe_score(Z, y[seen], Z_judged, y[judged], classification=True)
    held = forecast_score(graph, 8, y[seen], X=X[seen], method=ss.BarlowTwins()).accuracy
    monkeypatch.setattr("spectral_ssl.theory.forecast.HELD", 0.0)
    free = forecast_score(graph, 8, y[seen], X=X[seen], method=ss.BarlowTwins()).accuracy
    assert free is not None
    assert abs(held - reached) < 0.1
    assert free < reached - 0.15


def test_all_views_of_a_sample_are_taken_out_with_it() -> None:
    """Views of a judged sample that stayed behind would show it to the map: moving them must change nothing."""
    X, y = clusters(6)
    views = ss.augment(Dataset(name="rows", X=X), 2, "noise(scale=0.3)", seed=0)
    graph, chart = ss.relations.views(views), network_chart(X, n_coordinates=10)
    options: dict[str, Any] = {"method": ss.BarlowTwins(), "chart": chart, "on": X, "source": views.source, "judged": 1}
    first = forecast_score(graph, 2, y, X=views.X, **options)
    moved = np.where(np.isin(views.source, first.rows)[:, None], 100.0, views.X)
    assert np.array_equal(first.per_row, forecast_score(graph, 2, y, X=moved, **options).per_row)
    stayed = np.where(np.isin(views.source, first.rows)[:, None], views.X, views.X[::-1])
    assert not np.allclose(first.per_row, forecast_score(graph, 2, y, X=stayed, **options).per_row)


def test_numbers_are_forecast_by_a_ridge_probe() -> None:
    """A target that is a coordinate of the data, neighbours in that coordinate: R^2 near one; shuffled: near zero."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((120, 3))
    target = X[:, 0]
    graph = ss.relations.knn(Dataset(name="line", X=X[:, :1]), n_neighbors=6)
    good = forecast_score(graph, 2, target, X=X, n_labels=40)
    assert good.score > 0.9
    assert good.accuracy is None
    assert forecast_score(graph, 2, rng.permutation(target), X=X, n_labels=40).score < 0.2


@pytest.mark.parametrize("weight", [1e-9, 1e9])
def test_the_unit_of_weights_does_not_matter_to_numbers(weight: float) -> None:
    rng = np.random.default_rng(7)
    X = rng.standard_normal((120, 3))
    target = X[:, 0] + 0.5 * rng.standard_normal(120)
    graph = ss.relations.knn(Dataset(name="line", X=X[:, :1]), n_neighbors=6)
    found = forecast_score(graph.scaled(weight), 2, target, X=X, n_labels=40)
    assert found.score == pytest.approx(forecast_score(graph, 2, target, X=X, n_labels=40).score, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codes": np.array([0.0, 1.0, 1.0, 0.0])}, "whole number from 0 on"),
        ({"codes": np.array([-1, 0, 1, 0])}, "whole number from 0 on"),
        ({"codes": np.array([1, 1, 1, 1])}, "two of them unlike"),
        ({"codes": np.array([0, 1])}, "for each of the 4 rows"),
        ({"Z": np.full((4, 2), np.nan)}, "finite numbers"),
        ({"eta": -50.0}, "eta must be a number at least 0"),
        ({"Z": np.random.default_rng(0).standard_normal((4, 6)), "eta": 0.0}, "eta must be positive"),
    ],
)
def test_what_has_no_gaussian_probe_is_refused(options: dict[str, Any], words: str) -> None:
    given = {"Z": np.random.default_rng(0).standard_normal((4, 2)), "codes": np.array([0, 1, 1, 0])} | options
    with pytest.raises(DataError, match=words):
        discriminant_left_out(given.pop("Z"), given.pop("codes"), **given)


def test_paired_difference_is_taken_on_the_rows_both_have() -> None:
    X, y = clusters(8)
    near = ss.relations.knn(Dataset(name="rows", X=X), n_neighbors=5)
    far = ss.relations.corrupt(near, 1.0, seed=0)
    a, b = (forecast_score(g, 2, y, X=X, n_labels=30) for g in (near, far))
    difference, error = paired_difference(a, b)
    assert difference == pytest.approx(np.mean(a.per_row - b.per_row))
    assert error == pytest.approx(np.std(a.per_row - b.per_row, ddof=1) / np.sqrt(18))  # three folds of five
    assert difference > 2 * error  # neighbours against pairs of chance


def test_visible_score_sees_chance_and_does_not_see_what_labels_are_about() -> None:
    """Two factors that shape the data alike: pairs of either look the same; pairs of chance agree by nothing."""
    rng = np.random.default_rng(9)
    a, b = rng.integers(0, 3, 400), rng.integers(0, 3, 400)
    centres = 3 * np.array([[1.0, 0], [-0.5, 0.866], [-0.5, -0.866]])
    X = np.hstack([centres[a], centres[b]]) + rng.standard_normal((400, 4))
    by = {name: ss.relations.labels(Dataset(name=name, X=X, y=y)) for name, y in (("a", a), ("b", b))}
    chance = Graph.from_pairs(np.arange(400), rng.permutation(400), 400)
    chart = smooth_chart(X)
    first, second = (visible_score(graph, 2, X=X, chart=chart) for graph in by.values())
    assert first.score > 0.3
    assert abs(first.score - second.score) < 0.1
    assert abs(visible_score(chance, 2, X=X, chart=chart).agreement) < 0.2


def test_agreement_is_the_mean_correlation_of_unseen_partners() -> None:
    """By the definition, on dense matrices: the maps of one half, judged on the pairs among the other, both ways."""
    X, _ = clusters(10, N=60)
    graph = ss.relations.knn(Dataset(name="rows", X=X), n_neighbors=6)
    chart = smooth_chart(X, n_coordinates=8)
    half = np.random.default_rng(3).permutation(60) < 30
    A = graph.to_csr().toarray()
    expected = []
    for seen in (half, ~half):
        W = scipy.linalg.eigh(*_pencil(chart.Q[seen], Graph.from_adjacency(A[np.ix_(seen, seen)])))[1][:, ::-1][:, :2]
        S, B = _pencil(chart.Q[~seen] @ W, Graph.from_adjacency(A[np.ix_(~seen, ~seen)]))
        expected.append(np.trace(np.linalg.solve(B, S)) / 2)
    found = visible_score(graph, 2, X=X, chart=chart, seed=3)
    assert found.agreement == pytest.approx(np.mean(expected), rel=1e-7)
    W = scipy.linalg.eigh(*_pencil(chart.Q, graph))[1][:, ::-1][:, :2]
    Z = chart.Q @ W
    U = np.linalg.qr(Z - Z.mean(axis=0))[0]
    kept = np.linalg.norm(U.T @ chart.Q[:, :2], axis=0) ** 2
    assert found.coverage == pytest.approx(kept @ chart.variance[:2] / chart.variance[:2].sum(), rel=1e-7)


def test_options_that_do_not_fit_are_refused() -> None:
    X, y = clusters()
    graph = ss.relations.knn(Dataset(name="rows", X=X), n_neighbors=5)
    with pytest.raises(DataError, match="not all equal"):
        forecast_score(graph, 2, np.zeros(90, dtype=int), X=X)
    with pytest.raises(DataError, match="give both"):
        forecast_score(graph, 2, y, X=X, on=X)
    with pytest.raises(DataError, match="coordinates"):
        forecast_score(graph, 9, y, X=X, chart=network_chart(X, n_coordinates=5))
    with pytest.raises(DataError, match="rows"):
        forecast_score(graph, 2, y, X=X[:50])
    with pytest.raises(DataError, match="folds must be"):
        forecast_score(graph, 2, y, X=X, folds=1)
    with pytest.raises(DataError, match="exceeds the 5 folds"):
        forecast_score(graph, 2, y, X=X, judged=6)
    with pytest.raises(DataError, match="steps must be"):
        forecast_score(graph, 2, y, X=X, steps=0)
    with pytest.raises(DataError, match="n_components >= 2"):
        forecast_score(graph, 1, y, X=X, method=ss.InfoNCE())
    with pytest.raises(DataError, match="a method is an object"):
        forecast_score(graph, 2, y, X=X, method=ss.VICReg)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="seed must be"):
        forecast_score(graph, 2, y, X=X, seed=-1)
    with pytest.raises(DataError, match="X has no rows"):
        forecast_score(graph, 2, y, X=None)
    with pytest.raises(DataError, match="source"):
        forecast_score(graph, 2, y, X=X, on=X, source=np.full(90, 90))
    i = np.arange(45)
    cut = Graph.from_pairs(i, i + 45, 90)
    half = np.random.default_rng(0).permutation(90) < 45
    across = Graph.from_pairs(np.flatnonzero(half), np.flatnonzero(~half), 90)
    assert cut.n_pairs == 45
    with pytest.raises(DataError, match="no pair"):
        visible_score(across, 2, X=X)
