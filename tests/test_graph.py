"""The relation object: both storages against dense matrices made by loops, networkx for the graph theory.

A (N, N) adjacency, deg = A 1, s = sum(deg), L = diag(deg) - A.
"""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from spectral_ssl import graph as graph_module
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.graph import Graph, Groups

EXACT = 1e-12  # sums of at most 30 terms of size 1

Pairs = list[tuple[int, int, float]]
Partition = tuple[list[int], list[float], bool]  # codes, weights, diagonal


def dense(N: int, pairs: Pairs, partitions: list[Partition]) -> np.ndarray:
    """The definition, entry by entry."""
    A = np.zeros((N, N))
    for i, j, w in pairs:
        A[i, j] += w
        if i != j:
            A[j, i] += w
    for codes, weight, diagonal in partitions:
        for i in range(N):
            for j in range(N):
                if codes[i] == codes[j] and codes[i] >= 0 and (diagonal or i != j):
                    A[i, j] += weight[codes[i]]
    return A


def build(N: int, pairs: Pairs, partitions: list[Partition]) -> Graph:
    edges = None
    if pairs:
        i, j, w = (np.array(column) for column in zip(*pairs, strict=True))
        edges = scipy.sparse.csr_array(dense(N, pairs, []))
        if edges.nnz:
            edges = Graph.from_pairs(i, j, N, w).edges
    groups = tuple(Groups(np.array(c, dtype=np.int64), np.array(w, dtype=float), d) for c, w, d in partitions)
    return Graph(N, edges, groups)


weights = st.sampled_from([0.0, 0.25, 1.0, 3.0])


@st.composite
def ingredients(draw: Any, *, max_groups: int = 2) -> tuple[int, Pairs, list[Partition]]:
    """Edges and partitions, with zero weights, self-pairs, duplicates, samples in no group and empty groups."""
    N = draw(st.integers(2, 9))
    sample = st.integers(0, N - 1)
    pairs = draw(st.lists(st.tuples(sample, sample, weights), max_size=12))
    partitions = []
    for _ in range(draw(st.integers(0, max_groups))):
        C = draw(st.integers(1, 4))
        codes = draw(st.lists(st.integers(-1, C - 1), min_size=N, max_size=N))
        partitions.append((codes, draw(st.lists(weights, min_size=C, max_size=C)), draw(st.booleans())))
    if dense(N, pairs, partitions).sum() == 0:
        pairs.append((0, N - 1, 1.0))
    return N, pairs, partitions


# --- construction -----------------------------------------------------------------------------------------------------


@given(ingredients(max_groups=0))
def test_pairs_add_up_in_both_directions_and_self_pairs_once(parts: tuple[int, Pairs, list[Partition]]) -> None:
    N, pairs, _ = parts
    i, j, w = zip(*pairs, strict=True)
    graph = Graph.from_pairs(i, j, N, w)
    np.testing.assert_allclose(graph.to_csr().toarray(), dense(N, pairs, []), atol=EXACT)
    multigraph = nx.MultiGraph()
    multigraph.add_nodes_from(range(N))
    multigraph.add_weighted_edges_from(pairs)
    np.testing.assert_allclose(Graph.from_networkx(multigraph).to_csr().toarray(), dense(N, pairs, []), atol=EXACT)


def test_pairs_without_weights_weigh_one() -> None:
    np.testing.assert_array_equal(
        Graph.from_pairs([0, 0], [1, 1], 3).to_csr().toarray(), [[0, 2, 0], [2, 0, 0], [0, 0, 0]]
    )


@given(ingredients())
def test_networkx_gives_back_what_it_was_given(parts: tuple[int, Pairs, list[Partition]]) -> None:
    graph = build(*parts)
    there = graph.to_networkx()
    np.testing.assert_allclose(nx.to_numpy_array(there), dense(*parts), atol=EXACT)
    np.testing.assert_allclose(Graph.from_networkx(there).to_csr().toarray(), dense(*parts), atol=EXACT)


def test_networkx_nodes_keep_their_order_and_a_missing_weight_is_one() -> None:
    g = nx.Graph()
    g.add_nodes_from("dbca")
    g.add_edge("a", "b", weight=2.5)
    g.add_edge("c", "c")
    g.add_edge("d", "a", cost=7.0)
    A = Graph.from_networkx(g).to_csr().toarray()
    np.testing.assert_array_equal(A, [[0, 0, 0, 1], [0, 0, 0, 2.5], [0, 0, 1, 0], [1, 2.5, 0, 0]])
    np.testing.assert_array_equal(Graph.from_networkx(g, weight="cost").to_csr().toarray()[0], [0, 0, 0, 7])


@pytest.mark.parametrize(
    "kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix, scipy.sparse.coo_array, scipy.sparse.lil_array]
)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_every_sparse_format_and_index_width_is_accepted(kind: Any, index: type) -> None:
    A = np.array([[0, 2.0, 0], [2, 1, 0.5], [0, 0.5, 0]])
    given_A = scipy.sparse.coo_array(A)
    given_A.coords = tuple(c.astype(index) for c in given_A.coords)
    graph = Graph.from_adjacency(kind(given_A))
    np.testing.assert_array_equal(graph.to_csr().toarray(), A)
    np.testing.assert_allclose(graph.matmul(np.eye(3)), A)
    assert graph.subgraph([1, 2]).to_csr().toarray().tolist() == [[1, 0.5], [0.5, 0]]


@pytest.mark.parametrize("dtype", [bool, int, np.uint8, np.float32])
def test_a_dense_matrix_of_any_real_type_is_accepted(dtype: type) -> None:
    A = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=dtype)
    np.testing.assert_array_equal(Graph.from_adjacency(A).to_csr().toarray(), A.astype(float))
    np.testing.assert_array_equal(Graph.from_adjacency(A.tolist()).to_csr().toarray(), A.astype(float))


def test_unsummed_duplicates_and_stored_zeros_of_a_sparse_matrix_are_resolved() -> None:
    A = scipy.sparse.csr_array((np.array([2.0, 0, 1, 1, 2, 0]), [1, 2, 1, 0, 0, 0], [0, 3, 5, 6]), shape=(3, 3))
    graph = Graph.from_adjacency(A)
    assert graph.n_pairs == 1
    np.testing.assert_array_equal(graph.degree, [3, 3, 0])


def test_inputs_are_copied_and_results_do_not_reach_back() -> None:
    A = scipy.sparse.csr_array(np.array([[0, 1.0], [1.0, 0]]))
    graph = Graph.from_adjacency(A)
    A.data[:] = 7
    graph.to_csr().data[:] = 9
    np.testing.assert_array_equal(graph.matmul(np.eye(2)), [[0, 1], [1, 0]])


def test_group_codes_far_apart_are_numbered_anew() -> None:
    graph = Graph.from_groups([10**15, -1, 5, 10**15, 5])
    np.testing.assert_array_equal(graph.groups[0].codes, [1, -1, 0, 1, 0])
    np.testing.assert_array_equal(graph.to_csr().toarray(), dense(5, [], [([1, -1, 0, 1, 0], [1, 1], False)]))
    plain = Graph.from_groups([10**15, 5, 10**15, 5], diagonal=True)
    np.testing.assert_array_equal(plain.groups[0].codes, [1, 0, 1, 0])


# --- one interface over both storages ---------------------------------------------------------------------------------


@given(ingredients())
def test_every_number_is_that_of_the_dense_matrix(parts: tuple[int, Pairs, list[Partition]]) -> None:
    graph, A = build(*parts), dense(*parts)
    N = len(A)
    V = np.cos(np.arange(3 * N)).reshape(N, 3)
    np.testing.assert_allclose(graph.to_csr().toarray(), A, atol=EXACT)
    np.testing.assert_allclose(graph.degree, A.sum(axis=1), atol=EXACT)
    np.testing.assert_allclose(graph.diagonal, np.diag(A), atol=EXACT)
    np.testing.assert_allclose(graph.total_weight, A.sum(), atol=EXACT)
    np.testing.assert_allclose(graph.adjacency_norm2, (A**2).sum(), atol=10 * EXACT)
    np.testing.assert_allclose(graph.matmul(V), A @ V, atol=10 * EXACT)
    np.testing.assert_allclose(graph.matmul(V[:, 0]), A @ V[:, 0], atol=10 * EXACT)
    L = np.diag(A.sum(axis=1)) - A
    np.testing.assert_allclose(graph.laplacian_matmul(V), L @ V, atol=10 * EXACT)
    np.testing.assert_allclose(graph.laplacian_matmul(V[:, 1]), L @ V[:, 1], atol=10 * EXACT)
    assert graph.regular == (np.ptp(A.sum(axis=1)) == 0)  # weights are multiples of 1/4: sums are exact
    assert graph.is_partition == (not parts[1] and len(parts[2]) == 1)


@given(ingredients())
def test_pairs_list_every_entry_of_the_upper_triangle_once(parts: tuple[int, Pairs, list[Partition]]) -> None:
    graph, A = build(*parts), dense(*parts)
    i, j, w = graph.pairs()
    assert np.all(i <= j)
    assert len({*zip(i.tolist(), j.tolist(), strict=True)}) == i.size == np.count_nonzero(np.triu(A))
    np.testing.assert_allclose(w, A[i, j], atol=EXACT)
    overlapping = len(parts[2]) + bool(parts[1]) > 1
    count = np.count_nonzero(np.triu(A, 1))
    assert graph.n_pairs >= count if overlapping else graph.n_pairs == count


@given(ingredients())
def test_components_are_networkxs_numbered_by_their_first_sample(parts: tuple[int, Pairs, list[Partition]]) -> None:
    graph, A = build(*parts), dense(*parts)
    expected = sorted((sorted(c) for c in nx.connected_components(nx.from_numpy_array(A))), key=min)
    count, label = graph.components
    assert count == len(expected)
    assert [np.flatnonzero(label == c).tolist() for c in range(count)] == expected


@given(ingredients(), st.data())
def test_a_subgraph_is_a_submatrix(parts: tuple[int, Pairs, list[Partition]], data: st.DataObject) -> None:
    graph, A = build(*parts), dense(*parts)
    index = data.draw(st.lists(st.integers(0, len(A) - 1), min_size=2, max_size=len(A), unique=True))
    expected = A[np.ix_(index, index)]
    if expected.sum() == 0:
        with pytest.raises(DataError, match="empty"):
            graph.subgraph(index)
        return
    np.testing.assert_allclose(graph.subgraph(index).to_csr().toarray(), expected, atol=EXACT)
    mask = np.isin(np.arange(len(A)), index)
    np.testing.assert_allclose(graph.subgraph(mask).to_csr().toarray(), A[mask][:, mask], atol=EXACT)


@given(ingredients(), ingredients(), st.floats(0.1, 10))
def test_scaling_and_adding_are_linear(first: Any, second: Any, factor: float) -> None:
    a, A = build(*first), dense(*first)
    np.testing.assert_allclose(a.scaled(factor).to_csr().toarray(), factor * A, atol=100 * EXACT)
    b, B = build(*second), dense(*second)
    if len(A) == len(B):
        np.testing.assert_allclose(a.plus(b).to_csr().toarray(), A + B, atol=EXACT)
    else:
        with pytest.raises(DataError, match=f"over {len(A)} and {len(B)} samples"):
            a.plus(b)


@given(ingredients())
def test_dirichlet_identity(parts: tuple[int, Pairs, list[Partition]]) -> None:
    """I1: sum_ij A_ij |z_i - z_j|^2 = 2 tr(Z'LZ), the left side by loops."""
    graph, A = build(*parts), dense(*parts)
    Z = np.sin(1 + np.arange(2 * len(A))).reshape(-1, 2)
    energy = sum(A[i, j] * ((Z[i] - Z[j]) ** 2).sum() for i in range(len(A)) for j in range(len(A)))
    np.testing.assert_allclose(2 * np.trace(Z.T @ graph.laplacian_matmul(Z)), energy, atol=100 * EXACT)


def test_the_norm_of_overlapping_storages_counts_their_products() -> None:
    """|A|^2 of a sum is no sum of |A|^2: the cross terms, diagonals included, come from contingency tables."""
    rng = np.random.default_rng(0)
    parts: list[Partition] = [
        (rng.integers(-1, 3, 20).tolist(), [0.5, 2.0, 1.0], True),
        (rng.integers(-1, 4, 20).tolist(), [1.0, 0.0, 3.0, 0.1], False),
        (rng.integers(0, 2, 20).tolist(), [0.7, 0.2], True),
    ]
    pairs = [(int(i), int(j), float(w)) for i, j, w in zip(*rng.integers(0, 20, (2, 30)), rng.random(30), strict=True)]
    np.testing.assert_allclose(
        build(20, pairs, parts).adjacency_norm2, (dense(20, pairs, parts) ** 2).sum(), rtol=EXACT
    )


# --- sampling ---------------------------------------------------------------------------------------------------------

SAMPLED: dict[str, tuple[int, Pairs, list[Partition]]] = {
    "edges": (5, [(0, 1, 1.0), (1, 2, 0.25), (3, 3, 2.0), (0, 4, 3.0)], []),
    "edges of very unlike weight": (6, [(0, 1, 1e9), (0, 2, 1e9), (3, 4, 1e9), (1, 5, 5e8), (2, 5, 5e8)], []),
    "groups": (7, [], [([0, 0, 1, 1, 1, -1, -1], [1.0, 0.5], False)]),
    "groups with the diagonal": (7, [], [([0, 0, 1, 1, 1, 2, -1], [1.0, 0.5, 2.0], True)]),
    "all together": (
        6,
        [(0, 1, 1.0), (2, 2, 0.5), (4, 5, 2.0)],
        [
            ([0, 0, 0, 1, 1, -1], [0.5, 1.0], False),
            ([-1, 0, 1, 1, 0, 0], [0.25, 1.0], True),
            ([0, -1, -1, 0, 1, 1], [0, 2], True),
        ],
    ),
    "a sample in no edge": (4, [(0, 1, 1.0)], [([-1, -1, 0, 0], [3.0], False)]),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_pairs_are_sampled_in_proportion_to_their_weight(name: str) -> None:
    """Chi-square of 60,000 draws against A / s; a right sampler fails one seed in ten thousand, this one is fixed."""
    graph, A = build(*SAMPLED[name]), dense(*SAMPLED[name])
    i, j = graph.sample_pairs(60_000, np.random.default_rng(5))
    counts = np.zeros(A.shape)
    np.add.at(counts, (i, j), 1)
    assert counts[A == 0].sum() == 0
    expected = 60_000 * A / A.sum()
    assert scipy.stats.chisquare(counts[A > 0], expected[A > 0]).pvalue > 1e-4


def test_rare_rows_are_sampled_right_too() -> None:
    """Row 2 is drawn once in a billion; a generator whose first numbers point at it shows how its partner is chosen."""

    class Chosen:
        def __init__(self) -> None:
            self.numbers = [np.full(4, 0.5), np.array([0.0, 0.24, 0.26, 0.999])]  # rows, then points on them

        def random(self, size: int) -> np.ndarray:
            return self.numbers.pop(0)

    A = np.zeros((5, 5))
    A[0, 1] = A[1, 0] = A[3, 4] = A[4, 3] = 1e9
    A[2, 0] = A[0, 2] = 0.25
    A[2, 4] = A[4, 2] = 0.75
    i, j = Graph.from_adjacency(A).sample_pairs(4, Chosen())  # type: ignore[arg-type]
    assert i.tolist() == [2] * 4
    assert j.tolist() == [0, 0, 4, 4]


def test_the_same_seed_draws_the_same_pairs() -> None:
    graph = build(*SAMPLED["all together"])
    first, second = (graph.sample_pairs(50, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first[0].dtype == first[1].dtype == np.int64


# --- memory: groups are never expanded --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "diagonal", "megabytes"),
    [
        pytest.param(np.arange(60_000) % 10, True, 40, id="labels"),  # expanded: 360 million pairs, 4 GB
        pytest.param(np.repeat(np.arange(50_000), 8), False, 250, id="views"),  # 400,000 rows
    ],
)
def test_large_groups_are_held_and_multiplied_in_memory_of_order_N(codes: Any, diagonal: bool, megabytes: int) -> None:
    V = np.random.default_rng(0).standard_normal((codes.size, 4))
    rng = np.random.default_rng(0)
    tracemalloc.start()
    graph = Graph.from_groups(codes, diagonal=diagonal)
    product = graph.matmul(V)
    energy = graph.laplacian_matmul(V)
    i, j = graph.sample_pairs(1000, rng)
    numbers = graph.adjacency_norm2, graph.n_pairs, graph.components[0]
    diagnosis = graph.diagnose()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < megabytes * 1e6
    size = np.bincount(codes)[0]
    sums = np.stack([np.bincount(codes, V[:, k]) for k in range(4)], axis=1)
    np.testing.assert_allclose(product, sums[codes] - (0 if diagonal else 1) * V, atol=1e-9)
    np.testing.assert_allclose(energy, size * V - sums[codes], atol=1e-8)
    n_groups = codes.max() + 1
    assert numbers == (n_groups * (size**2 - (0 if diagonal else size)), n_groups * size * (size - 1) // 2, n_groups)
    np.testing.assert_array_equal(codes[i], codes[j])
    assert diagnosis.n_positive == n_groups


def test_expanding_too_many_pairs_is_refused_with_the_way_out() -> None:
    graph = Graph.from_groups(np.zeros(8000, dtype=int))
    with pytest.raises(ResourceError, match=r"64,000,000 entries \(limit 50,000,000\).*sample_pairs"):
        graph.pairs()


# --- bad input --------------------------------------------------------------------------------------------------------

directed = nx.DiGraph([(0, 1)])
worded = nx.Graph()
worded.add_edge(0, 1, weight="heavy")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Graph.from_pairs([0], [1], 1), "at least 2 samples, got 1"),
        (lambda: Graph.from_pairs([0], [1], 2.5), "n_samples must be a whole number, got 2.5"),
        (lambda: Graph.from_pairs([0], [1], True), "n_samples must be a whole number, got True"),
        (lambda: Graph.from_pairs([0], [3], 3), "j holds index 3, but the samples are numbered 0 to 2"),
        (lambda: Graph.from_pairs([0, -1], [1, 1], 3), "i holds index -1"),
        (lambda: Graph.from_pairs([0.5], [1], 3), "i must hold integer sample indices, got dtype float64"),
        (lambda: Graph.from_pairs([np.nan], [1], 3), "i must hold integer sample indices"),
        (lambda: Graph.from_pairs([True, False], [1, 0], 3), "integer sample indices, got dtype bool"),
        (lambda: Graph.from_pairs(["a"], [1], 3), "integer sample indices, got dtype"),
        (lambda: Graph.from_pairs([[0]], [[1]], 3), r"i must be one-dimensional, got shape \(1, 1\)"),
        (lambda: Graph.from_pairs([0, 1], [1], 3), "equal length, got 2 and 1"),
        (lambda: Graph.from_pairs([0, 1], [1, 2], 3, [1.0]), "weight has 1 entries for 2 pairs"),
        (lambda: Graph.from_pairs([0, 1], [1, 2], 3, [1.0, np.nan]), "1 NaN or infinite values"),
        (lambda: Graph.from_pairs([0, 1], [1, 2], 3, [1.0, np.inf]), "1 NaN or infinite values"),
        (lambda: Graph.from_pairs([0, 1], [1, 2], 3, [1.0, -2.0]), r"1 negative values \(first -2\)"),
        (lambda: Graph.from_pairs([], [], 3), "the relation is empty"),
        (lambda: Graph.from_pairs([0], [1], 3, [0.0]), "the relation is empty"),
        (lambda: Graph.from_pairs([0, 1], [1, 2], 3, [1e308, 1e308]), "overflow"),
        (lambda: Graph.from_adjacency(np.ones((2, 3))), r"must be square, got shape \(2, 3\)"),
        (lambda: Graph.from_adjacency(np.ones(4)), "must be square"),
        (lambda: Graph.from_adjacency(np.array([[0, 1j], [-1j, 0]])), "real numbers, got dtype complex128"),
        (lambda: Graph.from_adjacency(np.array([[0, np.nan], [np.nan, 0]])), "2 NaN or infinite values"),
        (lambda: Graph.from_adjacency(np.array([[0, -1.0], [-1.0, 0]])), "2 negative values"),
        (lambda: Graph.from_adjacency(np.array([[0, 1.0], [2.0, 0]])), r"not symmetric: A\[0,1\] = 1 but A\[1,0\] = 2"),
        (lambda: Graph.from_adjacency(scipy.sparse.csr_array(np.array([[0, 1.0], [0, 0]]))), r"A\.maximum\(A\.T\)"),
        (lambda: Graph.from_adjacency(np.zeros((3, 3))), "the relation is empty"),
        (lambda: Graph.from_adjacency(np.ones((1, 1))), "at least 2 samples"),
        (lambda: Graph(3, scipy.sparse.csr_array(np.ones((2, 2)))), r"shape \(2, 2\), expected \(3, 3\)"),
        (lambda: Graph(3), "the relation is empty"),
        (lambda: Graph.from_groups([0, 0, 1.5]), r"whole numbers \(N,\), got dtype float64.*np\.unique"),
        (lambda: Graph.from_groups(["cat", "cat"]), "number the groups from 0"),
        (lambda: Graph.from_groups([0, 0, 1], weight=[1.0]), r"2 groups need 2 weights, got shape \(1,\)"),
        (lambda: Graph.from_groups([0, 0], weight=[-1.0]), "negative"),
        (lambda: Graph.from_groups([0, 0], weight=[np.nan]), "NaN"),
        (lambda: Graph.from_groups([0, 0, -2]), "group codes run from -2 to 0"),
        (lambda: Graph.from_groups([0, 1, 2]), "the relation is empty"),
        (lambda: Graph.from_groups([-1, -1]), "the relation is empty"),
        (lambda: Graph(2, None, (Groups(np.array([0, 1]), np.ones(1), True),)), "run from 0 to 1, allowed are 0 to 0"),
        (lambda: Graph(3, None, (Groups(np.array([0, 0]), np.ones(1), True),)), r"int64 of shape \(3,\)"),
        (lambda: Graph.from_networkx(directed), r"no direction: pass g\.to_undirected\(\)"),
        (lambda: Graph.from_networkx(nx.Graph()), "has no nodes"),
        (lambda: Graph.from_networkx(worded), "'weight' of the networkx graph is not a number"),
        (lambda: Graph.from_pairs([0], [1], 2).scaled(0.0), "positive finite number only, got 0"),
        (lambda: Graph.from_pairs([0], [1], 2).scaled(np.nan), "positive finite number only"),
        (lambda: Graph.from_pairs([0], [1], 3).subgraph([0, 1, 0]), "more than once"),
        (lambda: Graph.from_pairs([0], [1], 3).subgraph([0, 3]), "index holds index 3"),
        (
            lambda: Graph.from_pairs([0], [1], 3).subgraph(np.array([True, True])),
            r"mask has shape \(2,\), expected \(3,\)",
        ),
        (lambda: Graph.from_pairs([0], [1], 3).subgraph([0]), "at least 2 samples"),
    ],
)
def test_bad_input_is_refused_in_words(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_whole_floats_and_unsigned_indices_are_indices() -> None:
    graph = Graph.from_pairs(np.array([0.0, 2.0]), np.array([1, 1], dtype=np.uint64), 3)
    np.testing.assert_array_equal(graph.degree, [1, 2, 1])


def test_rounding_of_a_symmetric_matrix_is_no_asymmetry() -> None:
    A = np.array([[0, 0.1 + 0.2], [0.3, 0]])
    assert Graph.from_adjacency(A).n_pairs == 1


# --- diagnosis --------------------------------------------------------------------------------------------------------


@given(ingredients())
def test_the_diagnosis_counts_what_networkx_and_lapack_count(parts: tuple[int, Pairs, list[Partition]]) -> None:
    graph, A = build(*parts), dense(*parts)
    g = nx.from_numpy_array(A)
    report = graph.diagnose()
    sizes = sorted((len(c) for c in nx.connected_components(g)), reverse=True)
    assert report.n_components == len(sizes)
    assert report.component_sizes == tuple(sizes[:10])
    assert report.zero_modes == len(sizes) - 1
    assert report.n_isolated == sum(1 for node in g if g.degree(node) == 0)
    assert report.n_self_loops == nx.number_of_selfloops(g)
    assert report.total_weight == pytest.approx(A.sum())
    assert report.n_samples == len(A)
    values = np.linalg.eigvalsh(A)
    assert report.n_positive == np.count_nonzero(values > 1e-10 * np.abs(values).max())
    assert (report.degree_min, report.degree_max) == (A.sum(axis=1).min(), A.sum(axis=1).max())
    assert report.degree_mean == pytest.approx(A.sum(axis=1).mean())


def words(graph: Graph) -> str:
    return str(graph.diagnose())


def test_a_healthy_relation_gives_no_warning_but_its_rank() -> None:
    text = words(Graph.from_networkx(nx.cycle_graph(9)))
    assert "2 for every sample (regular)" in text
    assert "9 samples, 9 positive pairs, total weight 18" in text
    assert text.count("\n- ") == 1
    assert "A has 5 positive eigenvalues" in text  # 2 cos(2 pi k / 9) > 0 for k = 0, +-1, +-2


def test_what_ails_a_relation_is_said_with_its_numbers() -> None:
    A = scipy.sparse.block_diag([nx.to_numpy_array(nx.star_graph(4)), np.zeros((2, 2)), [[3.0]]], format="csr")
    text = words(Graph.from_adjacency(A))
    assert re.search(r"4 connected components: .*\b3\b", text)  # zero eigenvalues of L besides the constant
    assert "2 isolated samples have no positive pair" in text
    assert "1 self-pairs on the diagonal" in text
    assert "degrees differ by a factor of 4" in text
    assert "(irregular)" in text


def test_isolated_samples_alone_do_not_make_degrees_differ() -> None:
    graph = Graph.from_pairs([0, 1, 2], [1, 2, 0], 5)
    assert not graph.regular
    assert "degrees differ" not in words(graph)
    assert "2 isolated samples" in words(graph)


def test_augmented_views_are_recognised_by_their_small_components() -> None:
    text = words(Graph.from_groups(np.repeat(np.arange(30), 3)))
    assert "the components are small (at most 3 samples), as with augmented views" in text
    assert "as with augmented views" not in words(Graph.from_groups(np.repeat(np.arange(3), 30)))


def test_positive_eigenvalues_are_counted_by_formula_for_groups_and_left_out_where_they_are_dear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = np.array([0, 0, 1, 2, 2, 2, -1])
    for diagonal, expected in ((False, 1), (True, 2)):  # the group of weight 0 counts for nothing
        graph = Graph.from_groups(codes, weight=[0.0, 2.0, 1.0], diagonal=diagonal)
        assert graph.diagnose().n_positive == expected
        assert expected == np.count_nonzero(np.linalg.eigvalsh(graph.to_csr().toarray()) > 1e-9)
    monkeypatch.setattr(graph_module, "DENSE_COUNT", 5)
    report = Graph.from_networkx(nx.cycle_graph(9)).diagnose()
    assert report.n_positive is None
    assert "not counted" in str(report)
