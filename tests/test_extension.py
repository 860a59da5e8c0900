"""New samples under embeddings: on the training samples every map equals the fit; elsewhere, its formula."""

import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.sparse
import scipy.spatial
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge

import spectral_ssl as ss
from spectral_ssl import relations

SAME = 1e-9  # relative: eigenvectors solve their equation to 1e-13, divided by deg - lambda
K = 3

METHODS = [
    ss.VICReg(invariance=0.05),
    ss.VICReg(1.0, 0.2, 0.02),
    ss.VICReg(invariance=0.3, weighting="degree"),
    ss.FrobeniusSimCLR(),
    ss.SpectralContrastive(),
    ss.BarlowTwins(),
    ss.BarlowTwins(normalized=False),
]


def points(n: int = 60, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 3, n))
    return np.column_stack([np.cos(t), np.sin(t), 0.1 * rng.standard_normal(n)])


def neighbour_graphs(X: np.ndarray) -> dict[str, ss.Graph]:
    data = ss.Dataset(name="arc", X=X)
    return {
        "knn": relations.knn(data, n_neighbors=6),
        "mutual": relations.knn(data, n_neighbors=9, mutual=True),
        "heat": relations.knn(data, n_neighbors=6, weight="heat"),
        "epsilon": relations.epsilon(data, radius=0.4),
        "nearest": relations.nearest(data, n_neighbors=5, metric="euclidean"),
    }


GRAPHS = ("knn", "mutual", "heat", "epsilon", "nearest")


# --- the relation of new samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRAPHS)
def test_on_training_samples_the_rule_gives_their_rows_of_the_relation(name: str) -> None:
    X = points()
    graph = neighbour_graphs(X)[name]
    assert graph.attach is not None
    some = np.array([5, 0, 59, 5])
    assert np.abs(graph.attach(X[some]).toarray() - graph.to_csr().toarray()[some]).max() < 1e-14


@pytest.mark.parametrize("name", GRAPHS)
def test_a_new_sample_pairs_as_if_it_had_been_added_alone(name: str) -> None:
    X = points()
    new = points(7, seed=9)
    graph = neighbour_graphs(X)[name]
    A = graph.to_csr().toarray()
    distance = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    for x, row in zip(new, graph.attach(new).toarray(), strict=True):  # type: ignore[misc]
        d = np.sqrt(((X - x) ** 2).sum(axis=1))
        if name == "epsilon":
            expected = (d <= 0.4).astype(float)
        else:
            k = {"knn": 6, "mutual": 9, "heat": 6, "nearest": 5}[name]
            own = d <= np.sort(d)[k - 1]
            theirs = d < np.sort(distance, axis=1)[:, k - 1]
            expected = ((own & theirs) if name == "mutual" else (own | theirs)).astype(float)
            if name == "heat":
                nearest = np.sort(distance, axis=1)[:, :k]
                width = np.median(nearest)
                expected = expected * np.exp(-(d**2) / (2 * width**2))
        assert np.abs(row - expected).max() < 1e-12
    assert A.shape == (60, 60)


def test_duplicates_take_the_row_of_the_first_of_them() -> None:
    X = np.vstack([points(20), points(20)[:3]])
    graph = relations.knn(ss.Dataset(name="twice", X=X), n_neighbors=4)
    A = graph.to_csr().toarray()
    assert np.array_equal(graph.attach(X[20:]).toarray(), A[:3])  # type: ignore[misc]
    negative_zero = X.copy()
    negative_zero[0] = np.where(negative_zero[0] == 0, -0.0, negative_zero[0])
    assert np.array_equal(graph.attach(negative_zero[:1]).toarray(), A[:1])  # type: ignore[misc]


def test_relations_without_a_rule_say_so_and_a_regression_serves_them() -> None:
    X = points(30)
    y = np.arange(30) // 10
    graph = relations.labels(ss.Dataset(name="arc", X=X, y=y))
    best = ss.optimum(ss.VICReg(invariance=0.1), graph, 2)
    assert not best.embedding.extends
    with pytest.raises(ss.DataError, match=r"ss\.extend"):
        best.embedding.transform(X)
    assert ss.extend(best, X).extends


def cells(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Rows whose entries are multiples of 2^-20: FAR + X is exact, and so are its differences."""
    return np.random.default_rng(seed).integers(-(2**20), 2**20, (n, d)) / 2.0**20


FAR = 2.0**27  # products of such rows are rounded to 2, larger than all their distances


@pytest.mark.parametrize("d", [3, 20])  # a tree, and products of rows
@pytest.mark.parametrize("options", [{}, {"mutual": True}, {"weight": "heat"}, {"radius": 1.0}], ids=str)
def test_far_from_the_origin_new_samples_pair_as_beside_it(options: dict[str, Any], d: int) -> None:
    X, new = cells(60, d), cells(15, d, seed=1)
    options = {k: v * 0.75 * np.sqrt(d) if k == "radius" else v for k, v in options.items()}
    relation = relations.epsilon if "radius" in options else relations.knn
    beside, far = relation(X, **options), relation(FAR + X, **options)  # type: ignore[operator]
    assert (beside.to_csr() != far.to_csr()).nnz == 0
    assert beside.attach(new).nnz > 15
    assert (beside.attach(new) != far.attach(FAR + new)).nnz == 0
    distance = np.sqrt(((new[:, None] - X) ** 2).sum(axis=2))
    if "radius" in options:
        assert np.array_equal(far.attach(FAR + new).toarray() > 0, distance <= options["radius"])
    if options == {"weight": "heat"}:
        own = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
        width = np.median(np.sort(own, axis=1)[:, 1:11])
        paired = far.attach(FAR + new).toarray()
        heat = np.exp(-(distance**2) / (2 * width**2))
        assert np.abs(paired[paired > 0] - heat[paired > 0]).max() < 1e-14


@pytest.mark.parametrize("metric", ["infinity", "chebyshev", "p", "minkowski", "l2", "l1", "canberra", "cosine"])
def test_every_metric_that_builds_attaches_by_the_same_distances(metric: str) -> None:
    X, new = cells(30, 4) + 2, cells(6, 4, seed=1) + 2
    name = {"infinity": "chebyshev", "p": "euclidean", "minkowski": "euclidean", "l2": "euclidean", "l1": "cityblock"}
    distance = scipy.spatial.distance.cdist(new, X, name.get(metric, metric))
    radius = float(np.median(distance))
    rule = relations.epsilon(X, radius=radius, metric=metric).attach
    assert rule is not None
    assert np.array_equal(rule(new).toarray() > 0, distance <= radius)
    near = relations.knn(X, n_neighbors=29, metric=metric).attach
    assert near is not None
    assert np.count_nonzero(near(new).toarray()) >= 6 * 29


def test_a_scaled_relation_keeps_its_rule_scaled() -> None:
    X, new = points(), points(5, seed=3)
    graph = neighbour_graphs(X)["heat"]
    scaled = graph.scaled(3.0)
    assert np.abs(scaled.attach(new).toarray() - 3 * graph.attach(new).toarray()).max() < 1e-15  # type: ignore[misc]
    one = ss.optimum(ss.VICReg(invariance=0.06), graph, K).embedding
    three = ss.optimum(ss.VICReg(invariance=0.02), scaled, K).embedding  # the same losses
    assert np.abs(np.abs(three.transform(new)) - np.abs(one.transform(new))).max() < 1e-9  # simple eigenvalues
    assert np.array_equal(three.transform(X), three.Z)


# --- Nystroem ---------------------------------------------------------------------------------------------------------


def by_the_equation(graph: ss.Graph) -> ss.Graph:
    """The same relation, whose rule does not tell that a sample is one of its own."""
    rule = graph.attach
    assert rule is not None
    return replace(graph, attach=lambda X: rule(X))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("name", GRAPHS)
def test_free_optima_transform_training_samples_to_their_fit(method: ss.Method, name: str) -> None:
    X = points()
    graph = neighbour_graphs(X)[name]
    best = ss.optimum(method, by_the_equation(graph), K)
    Z = best.embedding.Z
    assert np.abs(Z).max() > 0.01
    assert np.abs(best.embedding.transform(X) - Z).max() < SAME * np.abs(Z).max()
    known = ss.optimum(method, graph, K).embedding
    assert np.array_equal(known.transform(X), known.Z)


def test_training_rows_without_pairs_keep_their_row() -> None:
    X = np.vstack([points(20), [[9.0, 9.0, 9.0], [-9.0, 9.0, 9.0]]])
    with pytest.warns(ss.SpectralWarning, match="no positive pair"):
        graph = relations.epsilon(X, radius=1.0)
    embedding = ss.optimum(ss.VICReg(), graph, 2).embedding
    assert np.abs(embedding.Z[-2:]).max() > 1  # an isolated sample is a zero mode of L
    assert np.array_equal(embedding.transform(X[::-1]), embedding.Z[::-1])


def test_training_rows_whose_degree_is_an_eigenvalue_keep_their_row() -> None:
    # the star: its leaves have degree 1, and 1 is an eigenvalue of L, five times
    X = np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
    embedding = ss.optimum(ss.VICReg(invariance=0.01), relations.epsilon(X, radius=1.0), 3).embedding
    assert np.abs(embedding.Z[1:]).max() > 0.5
    assert np.array_equal(embedding.transform(X), embedding.Z)
    with pytest.warns(ss.SpectralWarning, match="1 of 2 new samples have a degree"):  # a new leaf is no training row
        found = embedding.transform(np.vstack([X[1], [2.0, 0.0, 0.0]]))
    assert np.array_equal(found[0], embedding.Z[1])


def test_equal_training_rows_take_the_row_of_the_first() -> None:
    X = np.vstack([points(20), points(20)[[4, 4, 4, 7]]])
    graph = relations.knn(X, n_neighbors=2)  # three of the four rows pair among themselves
    for method in (ss.VICReg(invariance=0.05), ss.SpectralContrastive()):
        embedding = ss.optimum(method, graph, K).embedding
        found = embedding.transform(X)
        assert np.array_equal(found[:20], embedding.Z[:20])
        assert np.array_equal(found[20:], embedding.Z[[4, 4, 4, 7]])


def test_the_extension_is_the_eigen_equation_of_the_new_row() -> None:
    X, x = points(), points(4, seed=3)
    graph = neighbour_graphs(X)["knn"]
    A = graph.to_csr().toarray()
    a = graph.attach(x).toarray()  # type: ignore[misc]
    d, deg = a.sum(axis=1), A.sum(axis=1)
    lam, U = np.linalg.eigh(np.diag(deg) - A)
    gamma = 0.05
    t = np.sqrt(len(X) * (1 - gamma * lam[1 : K + 1]))
    expected = (a @ U[:, 1 : K + 1]) / (d[:, None] - lam[1 : K + 1]) * t
    found = ss.optimum(ss.VICReg(invariance=gamma), graph, K).embedding.transform(x)
    assert np.abs(np.abs(found) - np.abs(expected)).max() < 1e-9  # K simple eigenvalues: signs only
    g, V = scipy.linalg.eigh(A, np.diag(deg))
    order = np.argsort(-g)[:K]
    expected = np.sqrt(A.sum()) * (a @ V[:, order]) / (d[:, None] * g[order]) * np.sqrt(g[order])
    found = ss.optimum(ss.SpectralContrastive(), graph, K).embedding.transform(x)
    assert np.abs(np.abs(found) - np.abs(expected)).max() < 1e-9


def test_on_a_dense_curve_the_extension_falls_between_its_neighbours() -> None:
    t = np.linspace(0, 3, 400)
    X = np.column_stack([np.cos(t), np.sin(t)])
    seen = np.arange(400) % 4 != 2
    graph = relations.knn(ss.Dataset(name="arc", X=X[seen]), n_neighbors=8)
    best = ss.optimum(ss.VICReg(invariance=1e-6), graph, 1)
    whole = np.full(400, np.nan)
    whole[seen] = best.embedding.Z[:, 0]
    whole[~seen] = best.embedding.transform(X[~seen])[:, 0]
    steps = np.diff(whole[20:-20])
    # the first eigenvector of an arc is monotone, and so is its extension (equal where neighbourhoods are)
    assert np.all(steps > -1e-12) or np.all(steps < 1e-12)
    assert np.count_nonzero(np.abs(steps) > 1e-12) > 200


def test_a_new_sample_without_pairs_is_told_and_zero() -> None:
    X = points()
    best = ss.optimum(ss.VICReg(invariance=0.05), neighbour_graphs(X)["epsilon"], K)
    with pytest.warns(ss.SpectralWarning, match="1 of 2 new samples pair with no training sample"):
        Z = best.embedding.transform(np.array([[50.0, 50.0, 50.0], X[3]]))
    assert np.array_equal(Z[0], np.zeros(K))
    assert np.abs(Z[1] - best.embedding.Z[3]).max() < 1e-9


def test_a_degree_beside_an_eigenvalue_is_told() -> None:
    # a path of three with a spare: lambda = 1 of L, and a new sample of degree 1
    X = np.array([[0.0], [1.0], [2.0]])
    graph = relations.epsilon(ss.Dataset(name="path", X=X), radius=1.2)
    best = ss.optimum(ss.VICReg(invariance=0.01), graph, 2)
    with pytest.warns(ss.SpectralWarning, match="magnifies noise"):
        best.embedding.transform(np.array([[3.1]]))


def test_bad_new_samples_are_refused() -> None:
    X = points()
    best = ss.optimum(ss.VICReg(invariance=0.05), neighbour_graphs(X)["knn"], K)
    for bad, words in ((X[:, :2], "3 features"), (X * np.nan, "NaN"), (X[0], "shape")):
        with pytest.raises(ss.DataError, match=words):
            best.embedding.transform(bad)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 4, 7]))
def test_any_neighbour_graph_extends_to_its_own_samples(seed: int, k: int) -> None:
    X = np.random.default_rng(seed).standard_normal((25, 2)).round(1)  # ties and duplicates
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.SpectralWarning)
        graph = by_the_equation(relations.knn(ss.Dataset(name="cloud", X=X), n_neighbors=k))
        best = ss.optimum(ss.SpectralContrastive(), graph, 2)
        found = best.embedding.transform(X)
    _, first = np.unique(X, axis=0, return_index=True)
    Z = best.embedding.Z
    assert np.abs(found[first] - Z[first]).max() < 1e-8 * max(np.abs(Z).max(), 1e-12)


# --- what a map takes -------------------------------------------------------------------------------------------------

MAPS: dict[str, Callable[[np.ndarray], ss.Embedding]] = {
    "linear": lambda X: ss.optimum(ss.VICReg(), relations.knn(X, n_neighbors=4), 2, X=X).embedding,
    "kernel": lambda X: ss.optimum(ss.VICReg(), relations.knn(X, n_neighbors=4), 2, X=X, kernel="rbf").embedding,
    "free": lambda X: ss.optimum(ss.VICReg(invariance=0.05), relations.knn(X, n_neighbors=4), 2).embedding,
    "regression": lambda X: ss.extend(X[:, :2], X),
    "regression on X": lambda X: ss.extend(X[:, :2], X, kernel=None),
    "isomap": lambda X: ss.isomap(X, 2, n_neighbors=9),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_map_takes_rows_of_any_make_and_refuses_others_in_words(name: str) -> None:
    X = points(40)
    embedding = MAPS[name](X)
    assert embedding.transform(np.zeros((0, 3))).shape == (0, 2)
    found = embedding.transform(X)
    if "regression" not in name:  # whose fit has a residual
        assert np.abs(found - embedding.Z).max() < 1e-6 * np.abs(embedding.Z).max()  # condition of the kernel
    for same in (ss.Dataset(name="again", X=X), X.tolist(), pd.DataFrame(X), np.asfortranarray(X)):
        assert np.array_equal(embedding.transform(same), found)
    for bad, words in (
        (X[0], r"one sample: X\.reshape\(1, -1\)"),
        ([], "two axes"),
        (scipy.sparse.csr_array(X), r"pass X\.toarray"),
        ([["a", "b", "c"]], "not a number, the first 'a'"),
        (X * np.nan, "NaN"),
        (X[:, :2], "3 features"),
        (np.zeros((2, 0)), "empty"),
    ):
        with pytest.raises(ss.DataError, match=words):
            embedding.transform(bad)


@pytest.mark.parametrize("name", ["kernel", "regression"])
def test_a_map_works_in_blocks_of_rows(name: str) -> None:
    X = points(300)
    embedding = MAPS[name](X)
    new = np.random.default_rng(3).standard_normal((30_000, 3))
    tracemalloc.start()
    found = embedding.transform(new)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6  # kernel values of all rows at once are 72 MB, and three such arrays are held
    some = np.concatenate([np.arange(0, 30_000, 299), [29_999]])  # one row of each block at least
    alone = np.vstack([embedding.transform(new[[i]]) for i in some])
    assert np.abs(found[some] - alone).max() < SAME * np.abs(found).max()


# --- regression -------------------------------------------------------------------------------------------------------


def test_extend_is_kernel_ridge_regression() -> None:
    X = points(40)
    Z = ss.optimum(ss.VICReg(invariance=0.05), neighbour_graphs(X)["knn"], K).embedding.Z
    new = points(9, seed=5)
    extended = ss.extend(Z, X, kernel="exact(bandwidth=0.5)", ridge=1e-3)
    G = RBF(0.5)(X)
    H = np.eye(40) - 1 / 40
    rank = np.linalg.matrix_rank(G, tol=1e-12 * np.linalg.norm(G, 2))
    unit = np.trace(H @ G @ H) / rank
    # scikit-learn has no intercept: centre kernel and targets by hand
    G_new = (RBF(0.5)(new, X) - G.mean(axis=0)) @ H
    theirs = KernelRidge(alpha=1e-3 * unit, kernel="precomputed").fit(H @ G @ H, Z - Z.mean(axis=0))
    assert np.abs(extended.transform(new) - theirs.predict(G_new) - Z.mean(axis=0)).max() < 1e-6
    fit = extended.transform(X)
    residual = np.linalg.norm(fit - Z) / np.linalg.norm(Z - Z.mean(axis=0))
    assert extended.extension.residual == pytest.approx(residual, rel=1e-6)  # type: ignore[union-attr]


def test_extend_without_ridge_interpolates() -> None:
    X = points(25)
    Z = np.random.default_rng(0).standard_normal((25, 2))
    exact = ss.extend(Z, X, kernel="exact(bandwidth=0.2)", ridge=0.0)
    assert np.abs(exact.transform(X) - Z).max() < 1e-6  # condition of the kernel


def test_extend_chooses_the_ridge_of_least_leave_one_out_error() -> None:
    X = points(30)
    rng = np.random.default_rng(1)
    Z = X[:, :2] ** 2 + 0.05 * rng.standard_normal((30, 2))
    chosen = ss.extend(Z, X, kernel=None)
    r = chosen.extension.ridge  # type: ignore[union-attr]

    def left_out(ridge: float) -> float:
        """Each row predicted by a fit without it; the penalty and the mean as of all rows but one."""
        errors = []
        for i in range(30):
            rest = np.arange(30) != i
            A = np.hstack([X[rest], np.ones((29, 1))])
            unit = ((X - X.mean(axis=0)) ** 2).sum() / 3
            P = np.diag([ridge * unit] * 3 + [0.0])
            w = np.linalg.solve(A.T @ A + P, A.T @ Z[rest])
            errors.append(Z[i] - np.append(X[i], 1.0) @ w)
        return float(np.linalg.norm(errors) / np.linalg.norm(Z - Z.mean(axis=0)))

    assert chosen.extension.leave_one_out == pytest.approx(left_out(r), rel=1e-8)  # type: ignore[union-attr]
    assert left_out(r) <= min(left_out(r * 10), left_out(r / 10), left_out(1e-12), left_out(100.0)) + 1e-12


def test_extend_takes_results_of_training_and_refuses_other_rows() -> None:
    X = points(30)
    graph = relations.knn(ss.Dataset(name="arc", X=X), n_neighbors=5)
    run = ss.train(ss.VICReg(invariance=0.05), graph, 2)
    with pytest.raises(ss.DataError, match="no rule"):
        run.embedding.transform(X)
    assert ss.extend(run, X).transform(X[:3]).shape == (3, 2)
    with pytest.raises(ss.DataError, match="30 rows, X 29"):
        ss.extend(run, X[1:])
    with pytest.raises(ss.DataError, match="constant"):
        ss.extend(run, np.ones((30, 2)), kernel=None)
    for ridge in (-1.0, "a", True, np.nan, np.inf):
        with pytest.raises(ss.DataError, match=r"ridge .* must be a number at least 0, got"):
            ss.extend(run, X, ridge=ridge)  # type: ignore[arg-type]
