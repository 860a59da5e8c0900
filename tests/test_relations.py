"""Relations against their definitions, written as loops over samples.

A (N, N) adjacency of the graph a relation makes of a data set.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.spatial.distance
from hypothesis import given
from hypothesis import strategies as st

import spectral_ssl as ss
from spectral_ssl import relations
from spectral_ssl.data import Dataset, couple
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning
from spectral_ssl.graph import Graph

EXACT = 1e-12  # distances and weights of size 1

seeds = st.integers(0, 2**32 - 1)


def cloud(n: int = 30, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def adjacency(graph: Graph) -> np.ndarray:
    return graph.to_csr().toarray()


def data(X: Any = None, **fields: Any) -> Dataset:
    n = len(next(iter(fields.values()))) if X is None else 0
    return Dataset("mine", np.arange(float(n))[:, None] if X is None else X, **fields)


def nearest_by_loops(X: np.ndarray, k: int, metric: str = "euclidean") -> list[set[int]]:
    distance = scipy.spatial.distance.cdist(X, X, metric)
    others = [[j for j in np.argsort(distance[i], kind="stable").tolist() if j != i] for i in range(len(X))]
    return [set(row[:k]) for row in others]


@pytest.mark.parametrize(("d", "radius"), [(2, 1.0), (20, 3.0)])  # a tree, and products of rows
@pytest.mark.parametrize("shift", [0.0, 1 / 3, 2.0**27])  # a third: distances are rounded to either side of the radius
def test_pairs_at_the_radius_itself_are_pairs_wherever_the_samples_lie(d: int, radius: float, shift: float) -> None:
    X = np.random.default_rng(0).integers(0, 5 if d == 2 else 2, (40, d)) + shift
    distance = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
    assert np.count_nonzero(np.abs(distance - radius) < 1e-9) > 40
    expected = distance <= radius
    np.fill_diagonal(expected, False)
    np.testing.assert_array_equal(adjacency(relations.epsilon(X, radius=radius)) > 0, expected)  # type: ignore[arg-type]


# --- neighbours -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("k", [1, 4, 29])
def test_knn_joins_a_sample_with_its_nearest_or_with_mutual_ones(k: int, metric: str, mutual: bool) -> None:
    X = cloud()
    near = nearest_by_loops(X, k, {"manhattan": "cityblock"}.get(metric, metric))
    expected = np.zeros((30, 30))
    for i in range(30):
        for j in range(30):
            forth, back = j in near[i], i in near[j]
            expected[i, j] = (forth and back) if mutual else (forth or back)
    if mutual and (expected.sum(axis=1) == 0).any():
        with pytest.warns(SpectralWarning, match="have no positive pair"):
            graph = relations.knn(data(X), n_neighbors=k, metric=metric, mutual=True)
    else:
        graph = relations.knn(data(X), n_neighbors=k, metric=metric, mutual=mutual)
    np.testing.assert_array_equal(adjacency(graph), expected)


@pytest.mark.parametrize("bandwidth", [None, 0.7])
def test_heat_weights_decay_with_the_squared_distance(bandwidth: float | None) -> None:
    X = cloud()
    near = nearest_by_loops(X, 4)
    distance = scipy.spatial.distance.cdist(X, X)
    width = bandwidth or np.median([distance[i, j] for i in range(30) for j in near[i]])
    A = adjacency(relations.knn(data(X), n_neighbors=4, weight="heat", bandwidth=bandwidth))
    for i in range(30):
        for j in range(30):
            paired = j in near[i] or i in near[j]
            assert A[i, j] == pytest.approx(np.exp(-(distance[i, j] ** 2) / (2 * width**2)) if paired else 0, rel=1e-9)


def test_duplicate_rows_are_each_others_neighbours_and_never_their_own() -> None:
    X = np.repeat(cloud(4), 5, axis=0)
    A = adjacency(relations.knn(data(X), n_neighbors=3))
    np.testing.assert_array_equal(np.diag(A), 0)
    assert (A.sum(axis=1) >= 3).all()
    i, j = np.nonzero(A)
    np.testing.assert_array_equal(i // 5, j // 5)  # all three among the other four copies


def test_more_duplicates_than_neighbours_leave_every_sample_with_k_neighbours() -> None:
    """The search may not return the sample itself among k + 1 equal rows; then the last of the k + 1 is dropped."""
    A = adjacency(relations.knn(data(np.zeros((40, 2))), n_neighbors=2))
    np.testing.assert_array_equal(np.diag(A), 0)
    assert A.sum(axis=1).min() >= 2


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6])
def test_equal_distances_are_broken_by_number(k: int) -> None:
    """A square lattice, far from the origin so that a search by products rounds: up to eight neighbours tie."""
    X = np.stack(np.meshgrid(np.arange(6.0), np.arange(7.0)), axis=-1).reshape(-1, 2) + 1000.3
    near = nearest_by_loops(np.round(X - 1000.3), k)
    expected = [[float(j in near[i] or i in near[j]) for j in range(42)] for i in range(42)]
    np.testing.assert_array_equal(adjacency(relations.knn(data(X - 0.3), n_neighbors=k)), expected)


@pytest.mark.parametrize("radius", [0.8, 1.5, 100.0])
def test_epsilon_joins_all_within_the_radius(radius: float) -> None:
    X = cloud()
    X[7] = X[3]  # duplicates are at distance 0
    distance = scipy.spatial.distance.cdist(X, X)
    expected = ((distance <= radius) & ~np.eye(30, dtype=bool)).astype(float)
    if (expected.sum(axis=1) == 0).any():
        with pytest.warns(SpectralWarning, match="samples have no positive pair"):
            graph = relations.epsilon(data(X), radius=radius)
    else:
        graph = relations.epsilon(data(X), radius=radius)
    np.testing.assert_array_equal(adjacency(graph), expected)
    assert adjacency(relations.epsilon(data(np.array([[0.0], [1.0]])), radius=1.0))[0, 1] == 1  # the bound included


def test_a_radius_that_joins_too_many_pairs_is_refused_before_they_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relations, "MAX_NEIGHBOURS", 500)
    with pytest.raises(ResourceError, match=r"radius 100 joins about 9e\+02 pairs; choose a smaller radius or knn"):
        relations.epsilon(data(cloud()), radius=100.0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nearest_searches_the_embedding_and_not_the_data(metric: str, tmp_path: Any) -> None:
    X, Z = cloud(), cloud(seed=1)
    near = nearest_by_loops(Z, 2, metric)
    expected = [[float(j in near[i] or i in near[j]) for j in range(30)] for i in range(30)]
    np.save(tmp_path / "Z.npy", Z)
    for embedding in (Z, Z.tolist(), tmp_path / "Z.npy", str(tmp_path / "Z.npy")):
        graph = relations.nearest(data(X), embedding=embedding, n_neighbors=2, metric=metric)
        np.testing.assert_array_equal(adjacency(graph), expected)
    own = relations.nearest(data(Z), n_neighbors=2, metric=metric)
    np.testing.assert_array_equal(adjacency(own), expected)


# --- groups -----------------------------------------------------------------------------------------------------------

names = st.lists(st.sampled_from("abcd"), min_size=2, max_size=9)


@given(names, st.booleans())
def test_views_weigh_a_block_by_its_size(source: list[str], diagonal: bool) -> None:
    """1/(V - 1) off the diagonal, or 1/V with it: every sample that has a partner has degree 1."""
    n = len(source)
    expected = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            V = source.count(source[i])
            if source[i] == source[j] and (diagonal or i != j):
                expected[i, j] = 1 / V if diagonal else 1 / (V - 1)
    views = data(source=source)
    if expected.sum() == 0:
        with pytest.raises(DataError, match="the relation is empty"):
            relations.views(views)
        return
    lonely = int((expected.sum(axis=1) == 0).sum())
    if lonely:
        with pytest.warns(SpectralWarning, match=f"{lonely} of {n} samples have no positive pair"):
            graph = relations.views(views, diagonal=diagonal)
    else:
        graph = relations.views(views, diagonal=diagonal)
    np.testing.assert_allclose(adjacency(graph), expected, atol=EXACT)
    np.testing.assert_allclose(graph.degree[graph.degree > 0], 1, atol=EXACT)
    assert graph.is_partition


def test_augment_makes_the_sources_that_views_needs() -> None:
    made = ss.augment(data(cloud(6)), n_views=3, transforms="noise", seed=0)
    A = adjacency(relations.views(made))
    np.testing.assert_allclose(
        A, [[(a == b and i != j) / 2 for j, b in enumerate(made.source)] for i, a in enumerate(made.source)]
    )


@given(st.lists(st.integers(-1, 3), min_size=2, max_size=9), st.sampled_from(["class_size", "none"]), st.booleans())
def test_labels_pair_a_class_with_itself(y: list[int], weighting: Any, diagonal: bool) -> None:
    """A = Y diag(1/n_c) Y', with the unlabelled rows of Y zero."""
    kinds = sorted(set(y) - {-1})
    labelled = data(y=y)
    if len(kinds) < 2:
        with pytest.raises(DataError, match=f"at least two classes, but y of 'mine' holds {len(kinds)}"):
            relations.labels(labelled)
        return
    Y = np.array([[float(a == c) for c in kinds] for a in y])
    A = Y / (Y.sum(axis=0) if weighting == "class_size" else 1) @ Y.T
    A = A if diagonal else A - np.diag(np.diag(A))
    if A.sum() == 0:
        with pytest.raises(DataError, match="empty"):
            relations.labels(labelled, weighting=weighting, diagonal=diagonal)
        return
    lonely = int((A.sum(axis=1) == 0).sum())
    if lonely:
        with pytest.warns(SpectralWarning, match=f"{lonely} of {len(y)} samples"):
            graph = relations.labels(labelled, weighting=weighting, diagonal=diagonal)
    else:
        graph = relations.labels(labelled, weighting=weighting, diagonal=diagonal)
    np.testing.assert_allclose(adjacency(graph), A, atol=EXACT)


def test_class_names_serve_as_labels_as_well_as_numbers() -> None:
    words = relations.labels(data(y=["cat", "dog", "cat", "dog", "dog"]))
    numbers = relations.labels(data(y=[7, 9, 7, 9, 9]))
    np.testing.assert_array_equal(adjacency(words), adjacency(numbers))


# --- sequences, pairs, modalities -------------------------------------------------------------------------------------


@given(st.integers(2, 14), st.integers(1, 13), st.booleans())
def test_a_sequence_joins_rows_within_the_window(N: int, window: int, cyclic: bool) -> None:
    series = data(np.zeros((N, 1)))
    if window >= N or (cyclic and 2 * window >= N):
        with pytest.raises(DataError, match="window must be"):
            relations.sequence(series, window=window, cyclic=cyclic)
        return
    apart = np.abs(np.arange(N)[:, None] - np.arange(N))
    apart = np.minimum(apart, N - apart) if cyclic else apart
    expected = ((apart > 0) & (apart <= window)).astype(float)
    np.testing.assert_array_equal(adjacency(relations.sequence(series, window=window, cyclic=cyclic)), expected)


def test_the_same_pairs_may_come_in_any_form(tmp_path: Any) -> None:
    i, j, w = [0, 1, 2, 0], [1, 2, 2, 1], [1.0, 0.5, 2.0, 0.25]
    expected = np.array([[0, 1.25, 0, 0], [1.25, 0, 0.5, 0], [0, 0.5, 2, 0], [0, 0, 0, 0]])
    g = nx.Graph()
    g.add_nodes_from(range(4))
    g.add_weighted_edges_from([(0, 1, 1.25), (1, 2, 0.5), (2, 2, 2.0)])
    (tmp_path / "pairs.csv").write_text(
        "i,j,weight\n" + "".join(f"{a},{b},{c}\n" for a, b, c in zip(i, j, w, strict=True))
    )
    np.savez(tmp_path / "pairs.npz", i=i, j=j, weight=w)
    rows = [list(row) for row in zip(i, j, w, strict=True)]
    forms: list[Any] = [
        (i, j, w),
        (np.array(i), np.array(j), np.array(w)),
        rows,
        np.array(rows),
        g,
        tmp_path / "pairs.csv",
        str(tmp_path / "pairs.csv"),
        tmp_path / "pairs.npz",
    ]
    for form in forms:
        with pytest.warns(SpectralWarning, match="1 of 4 samples"):
            graph = relations.pairs(data(np.zeros((4, 1))), pairs=form)
        np.testing.assert_array_equal(adjacency(graph), expected)


def test_unweighted_pairs_weigh_one_and_a_list_holds_rows_not_columns() -> None:
    three = data(np.zeros((3, 1)))
    path = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    for form in ([[0, 1], [1, 2]], [(0, 1), (1, 2)], np.array([[0, 1], [1, 2]]), ([0, 1], [1, 2])):
        np.testing.assert_array_equal(adjacency(relations.pairs(three, pairs=form)), path)


def test_coupled_joins_the_two_rows_of_each_source_in_any_order() -> None:
    stacked = couple(cloud(5, 2), cloud(5, 3, seed=1))
    order = np.random.default_rng(0).permutation(10)
    mixed = stacked.subset(order)
    expected = [
        [float(a == b and m != k) for b, k in zip(mixed.source, mixed.modality, strict=True)]
        for a, m in zip(mixed.source, mixed.modality, strict=True)
    ]
    np.testing.assert_array_equal(adjacency(relations.coupled(mixed)), expected)
    np.testing.assert_array_equal(adjacency(relations.coupled(stacked)), np.kron([[0, 1], [1, 0]], np.eye(5)))


# --- misalignment -----------------------------------------------------------------------------------------------------


@given(seeds, st.floats(0, 1))
def test_corrupted_edges_keep_their_weight_and_one_endpoint(seed: int, rate: float) -> None:
    """Distinct weights name the pairs: each result pair is an original one, or shares an endpoint with it."""
    rng = np.random.default_rng(seed)
    N = 25
    pairs = [(i, (i + 1) % N) for i in range(N)]
    weight = 2.0 ** np.arange(N)  # any sum of them tells which were summed
    graph = Graph.from_pairs(*np.transpose(pairs), N, weight)
    there = relations.corrupt(graph, rate, seed=int(rng.integers(2**31)))
    assert there.edges is not None
    assert there.pairs()[2].sum() == weight.sum()
    for i, j, w in zip(*there.pairs(), strict=True):
        for bit in range(N):
            if int(w) >> bit & 1:
                assert {i, j} & set(pairs[bit])
                assert i != j


def test_the_share_of_pairs_led_astray_is_the_rate_and_either_end_may_move() -> None:
    N = 4000
    i, j = np.arange(0, N, 2), np.arange(1, N, 2)
    graph = Graph.from_pairs(i, j, N)
    A = relations.corrupt(graph, 0.3, seed=1).to_csr()
    kept = np.asarray(A[i, j]).ravel() > 0
    assert kept.mean() == pytest.approx(0.7, abs=0.04)  # three standard deviations of a draw of 2000
    # of the pairs changed, the lower and the upper end lose their only pair equally often
    lower, upper = A.sum(axis=1)[i][~kept], A.sum(axis=1)[j][~kept]
    assert (lower == 0).mean() == pytest.approx((upper == 0).mean(), abs=0.08)
    new = relations.corrupt(graph, 1.0, seed=1).to_csr()
    assert np.asarray(new[i, j]).sum() <= 5


@pytest.mark.parametrize("how", ["rewire", "wrong_class"])
def test_corruption_is_seeded_and_rate_zero_changes_nothing(how: Any) -> None:
    y = np.arange(30) % 3
    for graph in (relations.knn(data(cloud()), n_neighbors=3), relations.labels(data(y=y))):
        assert relations.corrupt(graph, 0.0, how=how, y=y) is graph
        first, again, other = (adjacency(relations.corrupt(graph, 0.5, how=how, y=y, seed=s)) for s in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@given(seeds, st.integers(2, 5))
def test_wrong_class_never_ends_in_the_own_class(seed: int, n_classes: int) -> None:
    """Pairs inside classes before; at rate 1 every one crosses, with classes of very unlike size."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), np.minimum(rng.geometric(0.5, 20) - 1, n_classes - 1)])
    rng.shuffle(y)
    i, j = (c.ravel() for c in np.meshgrid(np.arange(y.size), np.arange(y.size)))
    inside = (y[i] == y[j]) & (i < j)
    if not inside.any():
        return
    graph = Graph.from_pairs(i[inside], j[inside], y.size)
    k, m, w = relations.corrupt(graph, 1.0, how="wrong_class", y=y, seed=seed).pairs()
    assert np.all(y[k] != y[m])
    assert w.sum() == inside.sum()
    named = np.array(["alpha", "beta", "gamma", "delta", "epsilon"])[y]  # labels of any type
    again = relations.corrupt(graph, 1.0, how="wrong_class", y=named, seed=seed).pairs()
    assert np.all(y[again[0]] != y[again[1]])


def test_every_sample_of_another_class_is_drawn_as_a_wrong_partner() -> None:
    y = np.array([0, 0, 1, 1, 1, 2])
    graph = Graph.from_pairs([0], [1], 6)
    seen = set()
    for seed in range(80):
        i, j, _ = relations.corrupt(graph, 1.0, how="wrong_class", y=y, seed=seed).pairs()
        seen |= {int(i[0]), int(j[0])}
    assert seen == {0, 1, 2, 3, 4, 5}


@given(seeds, st.floats(0, 1), st.sampled_from(["rewire", "wrong_class"]))
def test_corrupted_groups_keep_sizes_weights_and_storage(seed: int, rate: float, how: Any) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 5, 40)
    codes[:2] = 0
    graph = Graph.from_groups(codes, weight=rng.random(codes.max() + 1) + 0.1, diagonal=bool(seed % 2))
    y = np.where(codes >= 0, codes, 0) % 3
    y[0], y[1] = 0, 1
    there = relations.corrupt(graph, rate, how=how, y=y, seed=seed)
    (before,), (after,) = graph.groups, there.groups
    np.testing.assert_array_equal(before.sizes, after.sizes)
    np.testing.assert_array_equal(before.weight, after.weight)
    np.testing.assert_array_equal(before.codes < 0, after.codes < 0)
    assert there.edges is None
    assert after.diagonal == before.diagonal
    moved = np.count_nonzero(before.codes != after.codes)
    assert moved <= round(rate * np.count_nonzero(codes >= 0))


def test_members_of_groups_go_to_other_classes() -> None:
    """Balanced classes: at rate 1 with how='wrong_class' no member stays in a group of its own class."""
    y = np.repeat(np.arange(4), 10)
    graph = relations.labels(data(y=y))
    after = relations.corrupt(graph, 1.0, how="wrong_class", y=y, seed=0).groups[0].codes
    assert np.all(after != y)
    half = relations.corrupt(graph, 0.5, how="wrong_class", y=y, seed=0).groups[0].codes
    assert np.count_nonzero(half != y) == 20


@given(st.sampled_from([0, 0.0, 1, 1.0]) | st.floats(1e-6, 1 - 1e-6))
def test_mixing_is_linear_and_keeps_both_storages(t: float) -> None:
    a = relations.knn(data(cloud(12)), n_neighbors=2)
    b = relations.labels(data(y=np.arange(12) % 3))
    mixed = relations.mix(a, b, t)
    np.testing.assert_allclose(adjacency(mixed), (1 - t) * adjacency(a) + t * adjacency(b), atol=EXACT)
    if 0 < t < 1:
        assert mixed.edges is not None
        assert mixed.groups


# --- the table and bad options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", relations.RELATIONS)
def test_every_relation_takes_data_first_and_documents_its_keyword_options(name: str) -> None:
    function = relations.RELATIONS[name]
    assert function is getattr(relations, name)
    assert name in relations.__all__
    first, *options = inspect.signature(function).parameters.values()
    assert first.name == "data"
    for option in options:
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert re.search(rf"^\s+{option.name}: ", str(function.__doc__), re.MULTILINE), f"{name}: {option.name}"


square = data(cloud(6))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: relations.knn(square, n_neighbors=0), "n_neighbors must be a whole number from 1 to N - 1 = 5, got 0"),
        (lambda: relations.knn(square, n_neighbors=6), "from 1 to N - 1 = 5, got 6"),
        (lambda: relations.knn(square, n_neighbors=2.0), "whole number from 1 to N - 1 = 5, got 2.0"),
        (lambda: relations.knn(square, n_neighbors=True), "whole number"),
        (lambda: relations.knn(square, n_neighbors=2, metric="euclid"), "metric='euclid' was refused"),
        (
            lambda: relations.knn(square, n_neighbors=2, weight="warm"),
            "weight='warm' is not a kernel; choose 'binary' or 'heat'",
        ),
        (lambda: relations.knn(square, n_neighbors=2, bandwidth=1.0), "bandwidth= belongs to weight='heat'"),
        (lambda: relations.knn(square, n_neighbors=2, weight="heat", bandwidth=0.0), "positive bandwidth, got 0.0"),
        (lambda: relations.knn(square, n_neighbors=2, weight="heat", bandwidth=np.nan), "positive bandwidth, got nan"),
        (lambda: relations.knn(data(np.zeros((6, 1))), n_neighbors=2, weight="heat"), r"duplicate rows give 0"),
        (lambda: relations.knn(np.full((6, 2), np.nan)), "NaN"),
        (lambda: relations.knn(square, n_neighbors=2, weight="heat", bandwidth="a"), "positive bandwidth, got 'a'"),  # type: ignore[arg-type]
        (lambda: relations.knn(square, n_neighbors=2, metric="seuclidean"), "metric='seuclidean' was refused"),
        (lambda: relations.knn(square, n_neighbors=2, metric="pyfunc"), "metric='pyfunc' was refused"),
        (lambda: relations.knn(square, n_neighbors=2, metric="mahalanobis"), "metric='mahalanobis' was refused"),
        (lambda: relations.knn(cloud(), n_neighbors=2, metric="haversine"), "metric='haversine' was refused"),  # type: ignore[arg-type]
        (lambda: relations.knn(square, n_neighbors=2, metric=["l1"]), r"metric=\['l1'\] was refused"),  # type: ignore[arg-type]
        (lambda: relations.epsilon(square, radius="a"), "radius must be a positive number, got 'a'"),  # type: ignore[arg-type]
        (lambda: relations.epsilon(square, radius=0.0), "radius must be a positive number, got 0.0"),
        (lambda: relations.epsilon(square, radius=np.inf), "radius must be a positive number"),
        (lambda: relations.epsilon(square, radius=1.0, metric="euclid"), "metric='euclid' was refused"),
        (lambda: relations.epsilon(square, radius=1e-9), "the relation is empty.*a larger radius"),
        (lambda: relations.views(square), r"has no source; make views with ss\.augment"),
        (lambda: relations.views(data(source=[1, 2, 3])), "more views per original"),
        (lambda: relations.labels(square), "has y=None; pass labels, or use knn"),
        (lambda: relations.labels(data(y=[0.5, 1.5, 2.5])), "y of 'mine' is continuous; bin it"),
        (lambda: relations.labels(data(y=[1, 2, 1]), weighting="size"), "weighting='size' is not known"),  # type: ignore[arg-type]
        (lambda: relations.sequence(square, window=0), "window must be a whole number from 1 to N - 1 = 5, got 0"),
        (lambda: relations.sequence(square, window=1.5), "whole number from 1 to N - 1 = 5, got 1.5"),
        (lambda: relations.sequence(square, window=3, cyclic=True), r"shorter than half the sequence \(3\), got 3"),
        (lambda: relations.pairs(square, pairs={0: 1}), r"pairs must be a file.*got dict"),
        (lambda: relations.pairs(square, pairs=[[0, 1, 2, 3], [1, 2, 3, 4]]), r"got list of shape \(2, 4\)"),
        (lambda: relations.pairs(square, pairs=(np.arange(6), np.arange(1, 7))), "j holds index 6"),
        (lambda: relations.pairs(square, pairs=nx.path_graph(5)), "networkx graph has 5 nodes, the data 6 rows"),
        (lambda: relations.pairs(square, pairs="no such file.csv"), "no such file.csv"),
        (lambda: relations.coupled(square), r"needs two modalities, 'mine' has one; build it by ss\.couple\(Xa, Xb\)"),
        (
            lambda: relations.coupled(data(source=[0, 1, 0], modality=[0, 0, 1])),
            "exactly one row in each of two modalities",
        ),
        (lambda: relations.coupled(data(source=[0, 0, 0, 0], modality=[0, 0, 1, 1])), "exactly one row in each"),
        (lambda: relations.coupled(data(source=[0, 0, 0], modality=[0, 1, 2])), "exactly one row in each"),
        (lambda: relations.nearest(square, embedding=np.zeros((5, 2))), "the embedding has 5 rows, the data 6"),
        (lambda: relations.nearest(square, embedding=np.full((6, 2), np.nan)), "embedding.*NaN"),
        (lambda: relations.corrupt(relations.sequence(square), 1.5), "rate must be between 0 and 1, got 1.5"),
        (lambda: relations.corrupt(relations.sequence(square), float("nan")), "rate must be between 0 and 1"),
        (lambda: relations.corrupt(relations.sequence(square), 0.5, how="swap"), "how='swap' is not known"),  # type: ignore[arg-type]
        (
            lambda: relations.corrupt(relations.sequence(square), 0.5, how="wrong_class"),
            "needs y, one label per sample",
        ),
        (
            lambda: relations.corrupt(relations.sequence(square), 0.5, how="wrong_class", y=[0, 1]),
            "one label per sample",
        ),
        (
            lambda: relations.corrupt(relations.sequence(square), 0.5, how="wrong_class", y=[1] * 6),
            "at least two classes",
        ),
        (
            lambda: relations.corrupt(relations.sequence(square), 0.5, seed=-1),
            "seed must be a whole number >= 0, got -1",
        ),
        (
            lambda: relations.mix(relations.sequence(square), relations.sequence(square), 1.1),
            "t must be between 0 and 1, got 1.1",
        ),
        (
            lambda: relations.mix(relations.sequence(square), Graph.from_pairs([0], [1], 3), 0.0),
            "6 and 3 samples cannot be mixed",
        ),
    ],
)
def test_bad_options_are_refused_in_words(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_plain_arrays_serve_as_data_where_features_are_enough() -> None:
    X = cloud()
    np.testing.assert_array_equal(
        adjacency(relations.knn(X, n_neighbors=3)), adjacency(relations.knn(data(X), n_neighbors=3))
    )  # type: ignore[arg-type]


def test_the_warning_points_at_the_callers_line() -> None:
    with pytest.warns(SpectralWarning) as caught:
        relations.pairs(square, pairs=([0], [1]))
    assert caught[0].filename == __file__
