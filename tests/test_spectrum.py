"""Every pencil and model against dense scipy; copies of eigenvalues counted; what is shared is computed once.

A (N, N), deg = A 1, L = diag(deg) - A, H = I - 11'/N, S = D^-1/2 A D^-1/2; a pencil is A v = mu B v.
"""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_ssl import graph as graph_module
from spectral_ssl import linalg, relations
from spectral_ssl.data import Dataset, swiss_roll
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph, Groups
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import MARGIN, Spectra, Spectrum

VALUE = 1e-12  # eigenvalues relative to the largest of the pencil: dense LAPACK on both sides, or residuals of 1e-13
ORTHO = 1e-10  # v'B v: vectors are sharp to 1e-13 / gap inside one solve, and copies are merged without solving

CENTRED = {"laplacian": True, "adjacency": False, "degree": False, "degree_centred": True, "cross_moment": False}
FREE = list(CENTRED)
seeds = st.integers(0, 2**32 - 1)


# --- the witness ------------------------------------------------------------------------------------------------------


def dense_pencil(A: np.ndarray, pencil: str, X: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The pencil's two matrices by definition; over all Z, or compressed to linear maps of X."""
    N = len(A)
    deg = A.sum(axis=1)
    H = np.eye(N) - 1 / N
    Hd = np.eye(N) - np.outer(np.ones(N), deg) / deg.sum()
    first, second = {
        "laplacian": (np.diag(deg) - A, H),
        "adjacency": (A, np.eye(N)),
        "degree": (A, np.diag(deg)),
        "degree_centred": (Hd.T @ A @ Hd, Hd.T @ np.diag(deg) @ Hd),
        "cross_moment": (A, np.eye(N)),
    }[pencil]
    if X is None:
        return first, second
    return X.T @ first @ X, np.eye(X.shape[1]) if pencil == "cross_moment" else X.T @ second @ X


def dense_values(first: np.ndarray, second: np.ndarray, *, largest: bool) -> np.ndarray:
    """All eigenvalues on range(second), best first, by scipy in an orthonormal basis of that range."""
    values, U = scipy.linalg.eigh(second)
    U = U[:, values > 1e-11 * values[-1]]
    mu = scipy.linalg.eigh(U.T @ first @ U, U.T @ second @ U, eigvals_only=True)
    return mu[::-1] if largest else mu


def measured_residuals(spectrum: Spectrum, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """|A v - mu B v| in the norm of B^-1 on range(B)."""
    values, U = np.linalg.eigh(second)
    used = values > 1e-11 * values[-1]
    difference = first @ spectrum.vectors - second @ spectrum.vectors * spectrum.values
    return np.asarray(np.linalg.norm(U[:, used].T @ difference / np.sqrt(values[used])[:, None], axis=0))


def assert_solves(spectrum: Spectrum, graph: Graph, n_components: int) -> None:
    """Values with all copies, B-orthonormal vectors in range(B), true residuals no larger than stated."""
    A, pencil = graph.to_csr().toarray(), spectrum.pencil
    first, second = dense_pencil(A, pencil)
    expected = dense_values(first, second, largest=pencil != "laplacian")
    size = {"laplacian": 2 * A.sum(axis=1).max(), "adjacency": A.sum(axis=1).max(), "cross_moment": A.sum(axis=1).max()}
    scale = size.get(pencil, 1.0)
    R = spectrum.values.size
    assert spectrum.dimension == expected.size
    assert min(n_components + 1, expected.size) <= R <= expected.size
    assert spectrum.complete == (expected.size == R)
    np.testing.assert_allclose(spectrum.values / scale, expected[:R] / scale, atol=VALUE)
    V = spectrum.vectors
    np.testing.assert_allclose(V.T @ second @ V, np.eye(R), atol=ORTHO)
    if CENTRED[pencil]:
        weight = np.ones(len(A)) if pencil == "laplacian" else A.sum(axis=1)
        np.testing.assert_allclose(weight @ V / np.linalg.norm(weight), 0, atol=ORTHO)
    true = measured_residuals(spectrum, first, second) / scale
    assert np.all(true <= 1.01 * spectrum.residuals + 1e-13)
    assert spectrum.residuals.max(initial=0) < 1e-12
    assert (spectrum.n_samples, spectrum.model, spectrum.weights) == (len(A), "free", None)
    assert spectrum.total_weight == pytest.approx(A.sum())
    assert spectrum.adjacency_norm2 == pytest.approx((A**2).sum())


# --- graphs -----------------------------------------------------------------------------------------------------------


def blocks(*graphs: nx.Graph) -> Graph:
    return Graph.from_adjacency(scipy.sparse.block_diag([nx.to_scipy_sparse_array(g, dtype=float) for g in graphs]))


def weighted(g: nx.Graph, seed: int) -> nx.Graph:
    rng = np.random.default_rng(seed)
    for _, _, edge in g.edges(data=True):
        edge["weight"] = float(rng.uniform(0.2, 3))
    return g


ISOLATED = nx.empty_graph(1)
LOOP = nx.from_numpy_array(np.array([[2.0]]))


def mixed_storage() -> Graph:
    rng = np.random.default_rng(0)
    edges = Graph.from_pairs(rng.integers(0, 20, 15), rng.integers(0, 20, 15), 20, rng.random(15)).edges
    codes = np.concatenate([rng.integers(-1, 3, 16), [-1] * 4])
    return Graph(
        20, edges, (Groups(codes, np.array([0.3, 0.0, 1.0]), True), Groups(codes[::-1].copy(), np.ones(3), False))
    )


def codes(*sizes: int, alone: int = 0) -> np.ndarray:
    return np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(alone, -1)])


GRAPHS: dict[str, Graph] = {
    "connected": blocks(weighted(nx.connected_watts_strogatz_graph(25, 4, 0.3, seed=1), 1)),
    "components of every kind": blocks(
        weighted(nx.path_graph(6), 2), ISOLATED, nx.cycle_graph(5), LOOP, ISOLATED, nx.star_graph(4)
    ),
    "self loops": Graph.from_adjacency(nx.to_numpy_array(nx.path_graph(9)) + np.diag(np.arange(9) % 3)),
    "regular": blocks(nx.cycle_graph(11), nx.cycle_graph(7)),
    "regular with loops": Graph.from_adjacency(nx.to_numpy_array(nx.cycle_graph(10)) + 3 * np.eye(10)),
    "bipartite": blocks(weighted(nx.complete_bipartite_graph(4, 7), 3)),
    "five identical components": blocks(*[weighted(nx.path_graph(6), 4)] * 5),
    "a single pair": Graph.from_pairs([0], [1], 2),
    "a pair among many": Graph.from_pairs([2], [5], 9, [3.0]),
    "only self pairs": Graph.from_adjacency(np.diag([1.0, 2.0, 0.0, 2.0])),
    "views": Graph.from_groups(codes(3, 3, 3, 3), weight=np.full(4, 0.5)),
    "unequal views": Graph.from_groups(codes(2, 3, 5, 1), weight=[1, 0.5, 0.25, 7]),
    "labels": Graph.from_groups(codes(4, 7, 2), weight=[1 / 4, 1 / 7, 1 / 2], diagonal=True),
    "partly labelled": Graph.from_groups(codes(4, 3, 1, alone=3), weight=[1, 2, 3], diagonal=True),
    "groups of weight zero": Graph.from_groups(codes(4, 3, 5, alone=2), weight=[0, 2, 1]),
    "mixed storage": mixed_storage(),
}


# --- every pencil, free -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pencil", FREE)
@pytest.mark.parametrize("name", GRAPHS)
def test_free_pencils_are_scipys(name: str, pencil: Any) -> None:
    graph = GRAPHS[name]
    for n_components in (1, 3, 8, graph.n_samples):
        assert_solves(Spectra(graph).of(pencil, n_components), graph, n_components)


@pytest.mark.parametrize("pencil", FREE)
@pytest.mark.parametrize("name", ["connected", "regular", "five identical components"])
def test_vectors_gone_astray_are_seen_in_the_stated_residuals(
    name: str, pencil: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A solver that returns vectors off by 1e-6 and keeps it to itself: the spectrum measures what it holds."""
    solve = linalg.smallest_eigenpairs

    def astray(M: Any, k: int, **options: Any) -> linalg.Eigenpairs:
        found = solve(M, k, **options)
        noise = 1e-6 * np.cos(np.arange(found.vectors.size)).reshape(found.vectors.shape)
        return linalg.Eigenpairs(found.values, found.vectors + noise, found.residuals, found.rank, found.solver)

    monkeypatch.setattr(linalg, "smallest_eigenpairs", astray)
    graph = GRAPHS[name]
    A = graph.to_csr().toarray()
    spectrum = Spectra(graph).of(pencil, 6)
    degree = A.sum(axis=1).max()
    scale = {"laplacian": 2 * degree, "adjacency": degree, "cross_moment": degree}.get(pencil, 1.0)
    first, second = dense_pencil(A, pencil)
    first = first if pencil != "degree_centred" else A  # the noise is not off the constant: B alone projects it out
    true = measured_residuals(spectrum, first, second) / scale
    assert spectrum.residuals.max() > 1e-8
    assert np.all(true <= 1.01 * spectrum.residuals + 1e-15)
    assert np.all(spectrum.residuals <= 10 * true.max())


@st.composite
def relations_at_random(draw: Any) -> Graph:
    """Small graphs with components, isolated samples, self-pairs, ties; partitions; sums of storages."""
    N = draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(seeds))
    edges = None
    if draw(st.booleans()):
        P = int(rng.integers(1, 2 * N))
        w = rng.choice([0.5, 1.0, 2.0], P) if draw(st.booleans()) else rng.uniform(0.1, 2, P)
        edges = Graph.from_pairs(rng.integers(0, N, P), rng.integers(0, N, P), N, w).edges
    groups = []
    for _ in range(draw(st.integers(0 if edges is not None else 1, 2))):
        C = int(rng.integers(1, 4))
        member = rng.integers(-1, C, N)
        member[:2] = 0
        groups.append(Groups(member, np.append(1.0, rng.choice([0.0, 1.0, 0.3], C - 1)), draw(st.booleans())))
    return Graph(N, edges, tuple(groups))


@given(relations_at_random(), st.sampled_from(FREE), st.integers(1, 12))
def test_free_pencils_of_random_relations_are_scipys(graph: Graph, pencil: Any, n_components: int) -> None:
    assert_solves(Spectra(graph).of(pencil, n_components), graph, n_components)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(FREE))
def test_sparse_solvers_agree_with_scipy_on_components_of_any_size(seed: int, pencil: Any) -> None:
    """The same check with every component of more than 12 samples sent through the Krylov solvers."""
    rng = np.random.default_rng(seed)
    kinds = [
        nx.cycle_graph(40),
        nx.star_graph(30),
        nx.grid_2d_graph(6, 6),
        nx.path_graph(9),
        ISOLATED,
        nx.barbell_graph(12, 12),
    ]
    parts = [kinds[k] for k in rng.integers(0, len(kinds), 3)] + [nx.random_regular_graph(3, 40, seed=seed)]
    if rng.random() < 0.5:
        parts = [weighted(nx.convert_node_labels_to_integers(g), seed) for g in parts]
    graph = blocks(*parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linalg, "DENSE_MAX", 12)
        assert_solves(Spectra(graph).of(pencil, 5), graph, 5)


def test_groups_too_large_to_expand_are_solved_through_products(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    graph = Graph.from_groups(rng.integers(0, 3, 60)).plus(
        Graph.from_pairs(rng.integers(0, 60, 80), rng.integers(0, 60, 80), 60)
    )
    apart = Graph(
        80,
        None,
        (Groups(np.repeat(np.arange(4), 20), np.ones(4), False), Groups(np.arange(80) // 40, np.full(2, 0.5), True)),
    )
    for relation in (graph, apart):
        expanded = Graph.from_adjacency(relation.to_csr())
        with monkeypatch.context() as patch:
            patch.setattr(graph_module, "MAX_EXPANDED", 10)
            patch.setattr(linalg, "DENSE_MAX", 20)
            found = {pencil: Spectra(relation).of(pencil, 4) for pencil in FREE}  # type: ignore[arg-type]
        assert any("known only through its products" in s.solver for s in found.values())
        for spectrum in found.values():
            assert_solves(spectrum, expanded, 4)


@pytest.mark.parametrize("name", ["views", "unequal views", "labels", "partly labelled", "groups of weight zero"])
@pytest.mark.parametrize("pencil", FREE)
def test_the_closed_form_of_a_partition_is_the_solved_one(
    name: str, pencil: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = GRAPHS[name]
    monkeypatch.setattr(linalg, "smallest_eigenpairs", None)
    closed = Spectra(graph).of(pencil, 6)
    monkeypatch.undo()
    solved = Spectra(Graph.from_adjacency(graph.to_csr())).of(pencil, 6)
    n = min(closed.values.size, solved.values.size)
    np.testing.assert_allclose(closed.values[:n], solved.values[:n], atol=1e-12)
    assert closed.dimension == solved.dimension


def test_large_label_and_view_relations_cost_no_more_than_their_vectors() -> None:
    for graph in (
        Graph.from_groups(np.arange(60_000) % 10, weight=np.full(10, 1 / 6000), diagonal=True),
        Graph.from_groups(np.repeat(np.arange(25_000), 8), weight=np.full(25_000, 1 / 7)),
    ):
        n_groups, n = graph.groups[0].weight.size, graph.n_samples
        for pencil in FREE:
            spectrum = Spectra(graph).of(pencil, 12)  # type: ignore[arg-type]
            ones = min(n_groups - CENTRED[pencil], spectrum.values.size)
            best = 0.0 if pencil == "laplacian" else 1.0
            np.testing.assert_allclose(spectrum.values[:ones], best, atol=1e-12)
            assert spectrum.values.size == ones or abs(spectrum.values[ones] - best) > 0.5
            assert spectrum.dimension == n - CENTRED[pencil]
            assert spectrum.residuals.max() < 1e-12


# --- multiplicities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dense_max", [5, 1500])
def test_no_copy_is_missed_in_five_identical_components(dense_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each eigenvalue of the path occurs five times, zero four times off the constant."""
    monkeypatch.setattr(linalg, "DENSE_MAX", dense_max)
    m = 60
    graph = blocks(*[nx.path_graph(m)] * 5)
    spectrum = Spectra(graph).of("laplacian", 24)
    path = 4 * np.sin(np.pi * np.arange(m) / (2 * m)) ** 2
    expected = np.sort(np.repeat(path, 5))[1:]
    np.testing.assert_allclose(spectrum.values, expected[: spectrum.values.size], atol=1e-13)
    assert [spectrum.multiplicity(r) for r in (1, 4, 5, 9, 10, 14)] == [4, 4, 5, 5, 5, 5]
    assert spectrum.gap(4) == pytest.approx(path[1] / spectrum.values.max())
    assert spectrum.gap(6) == pytest.approx(0, abs=1e-12)
    assert np.abs(spectrum.vectors.sum(axis=0)).max() < 1e-10
    assert "5 components of 60 to 60 samples" in spectrum.solver


def test_the_constant_is_removed_by_projection_not_by_position() -> None:
    """Two components: column 0 of any eigensolver is some mixture of two indicators; the contrast of them must stay."""
    graph = blocks(nx.path_graph(4), nx.cycle_graph(8))
    spectrum = Spectra(graph).of("laplacian", 3)
    contrast = np.concatenate([np.full(4, 1 / 4), np.full(8, -1 / 8)])
    contrast /= np.linalg.norm(contrast)
    np.testing.assert_allclose(np.abs(contrast @ spectrum.vectors[:, 0]), 1, atol=1e-12)
    assert spectrum.values[0] == 0
    assert spectrum.values[1] > 0.1


@given(st.lists(st.integers(1, 5), min_size=1, max_size=7), st.sampled_from(["laplacian", "degree_centred"]))
def test_zero_occurs_once_per_component_less_one(sizes: list[int], pencil: Any) -> None:
    """For the degree pencil: components without an edge do not count, and 1 takes the place of 0."""
    graph = blocks(*[nx.path_graph(m) for m in sizes], nx.path_graph(3))
    spectrum = Spectra(graph).of(pencil, graph.n_samples)
    copies = len(sizes) if pencil == "laplacian" else sum(m > 1 for m in sizes)
    best = 0.0 if pencil == "laplacian" else 1.0
    assert np.count_nonzero(np.abs(spectrum.values - best) < 1e-10) == copies


def test_gap_and_multiplicity_are_as_defined() -> None:
    values = np.array([0.0, 0.0, 1.0, 3.0, 3.0 + 1e-10])
    blank = {"vectors": np.zeros((9, 5)), "residuals": np.zeros(5), "solver": "", "n_samples": 9}
    common: dict[str, Any] = {**blank, "total_weight": 1.0, "adjacency_norm2": 1.0, "model": "free"}
    spectrum = Spectrum(pencil="laplacian", values=values, dimension=8, **common)
    assert [spectrum.gap(r) for r in range(5)] == pytest.approx([math.inf, 0, 1 / 3, 2 / 3, 0], abs=1e-9)
    assert [spectrum.multiplicity(r) for r in range(1, 6)] == [2, 2, 1, 2, 2]
    with pytest.raises(DataError, match="the gap at 5 needs 6 eigenvalues, 5 are held"):
        spectrum.gap(5)
    with pytest.raises(DataError, match="eigenvalue 6 was asked for, 5 are held"):
        spectrum.multiplicity(6)
    with pytest.raises(DataError, match="eigenvalue 0"):
        spectrum.multiplicity(0)
    whole = Spectrum(pencil="laplacian", values=values.copy(), dimension=5, **common)
    assert whole.gap(5) == math.inf
    zero = Spectrum(pencil="laplacian", values=np.zeros(5), dimension=5, **common)
    assert zero.gap(2) == 0
    assert zero.multiplicity(3) == 5


def test_a_spectrum_cannot_be_written_to() -> None:
    spectrum = Spectra(GRAPHS["connected"]).of("laplacian", 3)
    for array in (spectrum.values, spectrum.vectors, spectrum.residuals):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


# --- sharing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def solves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pairs asked for in each call of the eigensolver."""
    calls: list[int] = []
    solve = linalg.smallest_eigenpairs

    def counted(M: Any, k: int, **options: Any) -> linalg.Eigenpairs:
        calls.append(k)
        return solve(M, k, **options)

    monkeypatch.setattr(linalg, "smallest_eigenpairs", counted)
    return calls


def test_a_regular_graph_is_factorised_once_for_all_pencils(solves: list[int]) -> None:
    spectra = Spectra(blocks(nx.random_regular_graph(4, 30, seed=0)))
    for pencil in FREE:
        assert_solves(spectra.of(pencil, 5), spectra._graph, 5)  # type: ignore[arg-type]
    assert len(solves) == 1


def test_an_irregular_graph_is_factorised_once_per_pencil_and_kept(solves: list[int]) -> None:
    spectra = Spectra(GRAPHS["connected"])
    for _ in range(2):
        for pencil in FREE:
            spectra.of(pencil, 5)  # type: ignore[arg-type]
    assert len(solves) == 3  # laplacian; adjacency with cross_moment; degree with degree_centred
    assert spectra.of("laplacian", 5) is spectra.of("laplacian", 3)
    assert spectra.of("degree", 5) is spectra.of("degree", 5)


def test_a_spectrum_grows_when_more_is_asked_for_and_not_before(solves: list[int]) -> None:
    spectra = Spectra(GRAPHS["connected"])  # 25 samples: 24 eigenvalues off the constant
    few = spectra.of("laplacian", 3)
    assert few.values.size == 3 + 1 + MARGIN
    assert spectra.of("laplacian", 3 + MARGIN) is few
    more = spectra.of("laplacian", 4 + MARGIN)
    assert more.values.size > few.values.size
    np.testing.assert_allclose(more.values[: few.values.size], few.values, atol=1e-13)
    everything = spectra.of("laplacian", 24)
    assert everything.complete
    assert everything.values.size == 24
    assert spectra.of("laplacian", 1000) is everything
    assert len(solves) == 3


def test_pencils_derived_from_a_grown_spectrum_grow_with_it() -> None:
    spectra = Spectra(blocks(nx.cycle_graph(40)))
    assert spectra.of("adjacency", 2).values.size == 2 + 2 + MARGIN
    assert spectra.of("adjacency", 30).values.size >= 31
    assert spectra.of("degree", 30).values.size >= 31


# --- linear -----------------------------------------------------------------------------------------------------------


def assert_linear(spectrum: Spectrum, X: np.ndarray, graph: Graph, tol: float = 1e-9) -> None:
    first, second = dense_pencil(graph.to_csr().toarray(), spectrum.pencil, X)
    expected = dense_values(first, second, largest=spectrum.pencil != "laplacian")
    size = np.abs(expected).max()
    assert spectrum.dimension == spectrum.values.size == expected.size
    np.testing.assert_allclose(spectrum.values, expected, atol=tol * size)
    W = spectrum.weights
    assert W is not None
    np.testing.assert_allclose(W.T @ second @ W, np.eye(expected.size), atol=tol)
    np.testing.assert_allclose(W.T @ first @ W, np.diag(expected), atol=tol * size)
    mean = {"laplacian": X.mean(axis=0), "degree_centred": graph.degree @ X / graph.total_weight}.get(spectrum.pencil)
    np.testing.assert_allclose(
        spectrum.vectors, (X - (0 if mean is None else mean)) @ W, atol=tol * np.abs(spectrum.vectors).max()
    )
    assert (spectrum.mean is None) == (mean is None)
    if mean is not None:
        np.testing.assert_allclose(spectrum.mean, mean, atol=1e-12 * (1 + np.abs(mean).max()))
    assert spectrum.residuals.max() < tol
    assert (spectrum.model, spectrum.n_features, spectrum.complete) == ("linear", X.shape[1], True)


@given(seeds, st.sampled_from(FREE), st.integers(6, 20), st.integers(1, 5))
def test_linear_pencils_are_scipys(seed: int, pencil: Any, N: int, D: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D)) + rng.standard_normal(D)
    path = Graph.from_pairs(np.arange(N - 1), np.arange(1, N), N, rng.uniform(0.2, 2, N - 1))
    graph = path.plus(Graph.from_groups(rng.integers(0, 2, N), diagonal=bool(seed % 2)))
    second = dense_pencil(graph.to_csr().toarray(), pencil, X)[1]
    kappa = np.linalg.cond(second / np.sqrt(np.outer(np.diag(second), np.diag(second))))
    if kappa < 1e6:
        assert_linear(Spectra(graph, X=X).of(pencil, 1), X, graph, tol=max(1e-9, 1e-13 * kappa))


@pytest.mark.parametrize("pencil", FREE)
@pytest.mark.parametrize("shape", [(12, 3, 3), (12, 8, 3), (12, 20, 20), (9, 9, 9)])
def test_the_rank_of_the_features_is_the_dimension(shape: tuple[int, int, int], pencil: Any) -> None:
    """Collinear features, and fewer samples than features: a centred pencil loses one dimension more."""
    N, D, r = shape
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, r)) @ rng.standard_normal((r, D)) * 10.0 ** rng.uniform(-3, 3, D)
    graph = Graph.from_pairs(np.arange(N - 1), np.arange(1, N), N, rng.uniform(0.5, 2, N - 1))
    spectrum = Spectra(graph, X=X).of(pencil, 1)
    if pencil != "cross_moment":
        assert spectrum.dimension == min(r, N - 1 if CENTRED[pencil] else N)
    else:
        assert spectrum.dimension == D


@pytest.mark.parametrize("value", [3.0, 0.1, 1e6])
@pytest.mark.parametrize("pencil", ["laplacian", "degree_centred"])
def test_a_constant_feature_adds_no_dimension_and_no_value(value: float, pencil: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((95, 2))
    graph = Graph.from_pairs(np.arange(94), np.arange(1, 95), 95, rng.random(94))
    plain = Spectra(graph, X=X).of(pencil, 1)
    with_constant = Spectra(graph, X=np.column_stack([X[:, 0], np.full(95, value), X[:, 1]])).of(pencil, 1)
    assert with_constant.dimension == 2
    np.testing.assert_allclose(with_constant.values, plain.values, atol=1e-12)
    assert np.all(with_constant.weights[1] == 0)  # type: ignore[index]


@pytest.mark.parametrize("pencil", ["laplacian", "adjacency", "degree", "degree_centred"])
@pytest.mark.parametrize("faint", [1e-3, 1e-5, 1e-7])
def test_nearly_collinear_features_keep_their_eigenvalues(faint: float, pencil: Any) -> None:
    """Two features apart by 1e-7 of themselves: X'X squares that. The witness forms no product of X with itself."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 4))
    X[:, 3] = X[:, 2] + faint * X[:, 3]
    graph = Graph.from_pairs(np.arange(39), np.arange(1, 40), 40, rng.uniform(0.5, 2, 39))
    A = graph.to_csr().toarray()
    deg = A.sum(axis=1)
    root = np.sqrt(deg) if pencil.startswith("degree") else np.ones(40)
    mean = {"laplacian": X.mean(axis=0), "degree_centred": deg @ X / deg.sum()}.get(pencil, np.zeros(4))
    Q = np.linalg.qr(root[:, None] * (X - mean))[0] / root[:, None]  # Q'BQ = I
    first = np.diag(deg) - A if pencil == "laplacian" else A
    expected = np.linalg.eigvalsh(Q.T @ first @ Q)
    expected = expected if pencil == "laplacian" else expected[::-1]
    spectrum = Spectra(graph, X=X).of(pencil, 3)
    assert spectrum.dimension == 4
    np.testing.assert_allclose(spectrum.values, expected, atol=1e-15 / faint)  # a rounding of X moves it so far
    assert spectrum.residuals.max() < 1e-12


def test_identity_features_make_the_linear_model_the_free_one() -> None:
    graph = GRAPHS["connected"]
    free, linear = Spectra(graph), Spectra(graph, X=np.eye(25))
    for pencil in FREE:
        a, b = free.of(pencil, 25), linear.of(pencil, 1)  # type: ignore[arg-type]
        np.testing.assert_allclose(a.values, b.values, atol=1e-12)


def test_moments_alone_give_weights_and_no_rows() -> None:
    rng = np.random.default_rng(0)
    X, graph = rng.standard_normal((25, 4)), GRAPHS["connected"]
    with_rows = Spectra(graph, X=X)
    for alone in (
        Spectra(moments=Moments.from_arrays(X, graph)),
        Spectra(graph, moments=Moments.from_arrays(X, graph)),
    ):
        for pencil in FREE:
            a, b = with_rows.of(pencil, 1), alone.of(pencil, 1)  # type: ignore[arg-type]
            np.testing.assert_array_equal(a.weights, b.weights)  # type: ignore[arg-type]
            assert b.vectors.shape == (0, a.values.size)
            assert b.n_samples == 25


def test_a_linear_pencil_is_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    solve = linalg.generalized_eigh
    monkeypatch.setattr(linalg, "generalized_eigh", lambda *a, **k: calls.append(1) or solve(*a, **k))
    spectra = Spectra(GRAPHS["connected"], X=np.random.default_rng(0).standard_normal((25, 3)))
    assert spectra.of("laplacian", 1) is spectra.of("laplacian", 3)
    assert len(calls) == 1


# --- larger graphs ----------------------------------------------------------------------------------------------------


def test_the_path_of_5000_samples_has_the_cosine_spectrum() -> None:
    """2 - 2 cos(pi k / N) with the DCT-II vectors; the first eigenvalue is 4e-7, right to seven digits of itself."""
    N, K = 5000, 16
    graph = relations.sequence(Dataset("time", np.zeros((N, 1))))
    spectrum = Spectra(graph).of("laplacian", K)
    k = np.arange(1, spectrum.values.size + 1)
    np.testing.assert_allclose(spectrum.values, 4 * np.sin(np.pi * k / (2 * N)) ** 2, rtol=1e-7)
    cosine = np.sqrt(2 / N) * np.cos(np.pi * (np.arange(N)[:, None] + 0.5) * k / N)
    np.testing.assert_allclose(np.abs(np.sum(cosine * spectrum.vectors, axis=0)), 1, atol=1e-9)
    assert "shift-invert" in spectrum.solver


@pytest.mark.parametrize("n", [3000, 100_000])
def test_the_two_copies_of_every_eigenvalue_of_a_cycle_are_found(n: int) -> None:
    """At n = 100,000 neighbouring pairs differ by 1e-9 of the largest eigenvalue, and a missed copy by no more."""
    i = np.arange(n)
    spectrum = Spectra(Graph.from_pairs(i, (i + 1) % n, n)).of("laplacian", 7)
    k = (np.arange(spectrum.values.size) // 2) + 1
    np.testing.assert_allclose(spectrum.values, 4 * np.sin(np.pi * k / n) ** 2, rtol=1e-6)


def eigsh_values(graph: Graph, pencil: str, k: int) -> np.ndarray:
    """The same eigenvalues by scipy's ARPACK, in shift-invert mode at a point past the end of the spectrum."""
    A = graph.to_csr()
    deg = graph.degree
    if pencil == "laplacian":
        L = scipy.sparse.csc_array(scipy.sparse.diags_array(deg) - A)
        return np.sort(scipy.sparse.linalg.eigsh(L, k=k + 1, sigma=-0.1, return_eigenvectors=False))[1:]
    if pencil == "adjacency":
        return np.sort(scipy.sparse.linalg.eigsh(A, k=k, which="LA", return_eigenvectors=False))[::-1]
    S = scipy.sparse.diags_array(deg**-0.5) @ A @ scipy.sparse.diags_array(deg**-0.5)
    return np.sort(scipy.sparse.linalg.eigsh(S, k=k + 1, which="LA", return_eigenvectors=False))[::-1][1:]


@pytest.mark.parametrize("pencil", ["laplacian", "adjacency", "degree_centred"])
def test_an_expander_of_3000_samples_agrees_with_eigsh(pencil: Any) -> None:
    rng = np.random.default_rng(0)
    graph = relations.knn(rng.standard_normal((3000, 64)), n_neighbors=10)  # type: ignore[arg-type]
    spectrum = Spectra(graph).of(pencil, 8)
    expected = eigsh_values(graph, pencil, spectrum.values.size)
    np.testing.assert_allclose(spectrum.values, expected, atol=1e-10 * np.abs(expected).max())
    assert "Lanczos" in spectrum.solver
    assert spectrum.residuals.max() < 1e-13


@pytest.mark.parametrize("pencil", ["laplacian", "adjacency", "degree_centred"])
def test_a_manifold_of_3000_samples_agrees_with_eigsh(pencil: Any) -> None:
    graph = relations.knn(swiss_roll(n_samples=3000, noise=0.0, seed=0), n_neighbors=8)
    assert graph.components[0] == 1
    spectrum = Spectra(graph).of(pencil, 8)
    expected = eigsh_values(graph, pencil, spectrum.values.size)
    np.testing.assert_allclose(spectrum.values, expected, atol=1e-10 * np.abs(expected).max())
    assert "shift-invert" in spectrum.solver
    assert spectrum.residuals.max() < 1e-13


def test_a_manifold_is_embedded_as_by_scikit_learn() -> None:
    """sklearn.manifold.spectral_embedding: D^-1/2 times the bottom of the normalised Laplacian, the first dropped."""
    from sklearn.manifold import spectral_embedding

    graph = relations.knn(swiss_roll(n_samples=2000, noise=0.0, seed=1), n_neighbors=8)
    spectrum = Spectra(graph).of("degree_centred", 4)
    assert spectrum.gap(4) > 1e-4
    theirs = spectral_embedding(graph.to_csr(), n_components=4, drop_first=True, eigen_tol=1e-12, random_state=0)
    sines = linalg.principal_sines(*(np.linalg.qr(V)[0] for V in (theirs, spectrum.vectors[:, :4])))
    assert sines.max() < 1e-6  # their residual of 1e-12 over gaps of 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("pencil", ["laplacian", "adjacency", "degree_centred"])
def test_a_disconnected_relation_of_20000_samples_misses_nothing(pencil: Any) -> None:
    """Four copies of a manifold and two of an expander: eigenvalues in fours and twos, against each solved alone."""
    rng = np.random.default_rng(0)
    roll = relations.knn(swiss_roll(n_samples=3500, noise=0.0, seed=0), n_neighbors=8)
    ball = relations.knn(rng.standard_normal((3000, 64)), n_neighbors=10)  # type: ignore[arg-type]
    whole = Graph.from_adjacency(scipy.sparse.block_diag([roll.edges] * 4 + [ball.edges] * 2, format="csr"))
    spectrum = Spectra(whole).of(pencil, 30)
    alone = [np.repeat(eigsh_values(g, pencil, 40), copies) for g, copies in ((roll, 4), (ball, 2))]
    zero = [] if pencil == "adjacency" else np.full(5, 0.0 if pencil == "laplacian" else 1.0)
    expected = np.sort(np.concatenate([*alone, zero]))
    expected = expected if pencil == "laplacian" else expected[::-1]
    np.testing.assert_allclose(spectrum.values, expected[: spectrum.values.size], atol=1e-9 * np.abs(expected).max())


# --- bad input --------------------------------------------------------------------------------------------------------

connected = GRAPHS["connected"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spectra(), "needs a graph, or the moments of one"),
        (
            lambda: Spectra(connected, X=np.zeros((25, 2)), moments=Moments.from_arrays(np.zeros((25, 2)), connected)),
            "not both",
        ),
        (lambda: Spectra(connected, X=np.zeros((24, 2))), "the relation is over 25 samples"),
        (lambda: Spectra(connected, X=np.full((25, 2), np.nan)), "50 .*NaN or infinite"),
        (
            lambda: Spectra(GRAPHS["views"], moments=Moments.from_arrays(np.zeros((25, 2)), connected)),
            "moments are of 25 samples, the relation of 12",
        ),
    ],
)
def test_bad_input_is_refused_in_words(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_constant_data_leave_a_pencil_without_dimensions() -> None:
    spectrum = Spectra(connected, X=np.ones((25, 2))).of("laplacian", 1)
    assert spectrum.dimension == 0
    assert spectrum.complete
    assert spectrum.vectors.shape == (25, 0)


def test_isolated_samples_get_zero_rows_in_the_degree_pencils_only() -> None:
    with pytest.warns(SpectralWarning):
        graph = relations.pairs(Dataset("d", np.zeros((7, 1))), pairs=([0, 1, 2], [1, 2, 3]))
    for pencil in ("degree", "degree_centred"):
        vectors = Spectra(graph).of(pencil, 3).vectors  # type: ignore[arg-type]
        np.testing.assert_array_equal(vectors[4:], 0)
        assert np.all(np.abs(vectors[:4]).max(axis=1) > 0)
    assert np.abs(Spectra(graph).of("laplacian", 3).vectors[4:]).max() > 0.1
