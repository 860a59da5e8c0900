"""First-order influence of pairs on label energy, against the energy solved again after a small change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
from measure import Record, agree

import spectral_ssl as ss
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.theory import edge_influence
from spectral_ssl.theory.influence import pair_weights, without_pairs

STEP = 1e-5  # of a weight: truncation goes as its square over the gap's square, rounding as 1e-15 / step
SLOPE_TOL = 1e-6  # of the largest slope: what central differences with that step leave
SECOND = 1e-9  # weights of 1e-4 squared: what first order leaves out
CG_SLOPE_TOL = 1e-8  # of the largest slope: residuals of 1e-10, over gaps of a hundredth


def dense_energy(A: Any, y: Any, K: int, X: Any = None, ridge: float = 0.0) -> float:
    """E_K from dense matrices, by scipy: the definition."""
    N = len(A)
    H = np.eye(N) - 1 / N
    Y = H @ np.eye(int(y.max()) + 1)[y]
    L = np.diag(A.sum(axis=1)) - A
    if X is None:
        U = np.linalg.svd(H)[0][:, : N - 1]  # a basis off the constant
        W = scipy.linalg.eigh(U.T @ L @ U)[1][:, :K]
        U = U @ W
    else:
        W = scipy.linalg.eigh(X.T @ L @ X + ridge * np.eye(X.shape[1]), X.T @ H @ X)[1][:, :K]
        U = H @ X @ W
    return float(np.linalg.norm(U.T @ Y) ** 2 / np.linalg.norm(Y) ** 2)


def setting(seed: int = 0, N: int = 40) -> tuple[Any, Any, Any]:
    """Rows in four clusters of two classes, and a weighted neighbour relation (N, N), connected."""
    rng = np.random.default_rng(seed)
    y = np.arange(N) % 2
    X = rng.standard_normal((N, 6)) + 1.5 * np.eye(6)[np.arange(N) % 4]
    near = np.argsort(((X[:, None] - X[None]) ** 2).sum(axis=2), axis=1)[:, 1:5]
    A = np.zeros((N, N))
    A[np.repeat(np.arange(N), 4), near.ravel()] = rng.uniform(0.5, 1.5, size=4 * N)
    A = np.maximum(A, A.T)
    A[np.arange(N), (np.arange(N) + 1) % N] += 0.1
    A[(np.arange(N) + 1) % N, np.arange(N)] += 0.1
    return A, X, y


def slopes(A: Any, y: Any, K: int, pairs: Any, **options: Any) -> Any:
    found = []
    for i, j in pairs:
        D = np.zeros_like(A)
        D[i, j] = D[j, i] = STEP
        found.append((dense_energy(A + D, y, K, **options) - dense_energy(A - D, y, K, **options)) / (2 * STEP))
    return np.array(found)


PAIRS = [(0, 1), (3, 17), (5, 30), (2, 9), (39, 12), (20, 8), (7, 7)]  # in the relation and not; the last has no pull


@pytest.mark.parametrize("K", [2, 5])
def test_D9_influence_is_the_derivative_of_captured_energy_over_all_embeddings(K: int, record_property: Record) -> None:
    """D9: the slope of E_K in every pair's weight, against central differences of the problem solved again."""
    A, _, y = setting()
    found = edge_influence(Graph.from_adjacency(A), y, K)
    i, j = np.array(PAIRS).T
    expected = slopes(A, y, K, PAIRS)
    assert np.abs(expected).max() > 1e-4
    agree(record_property, found.of_pairs(i, j), expected, SLOPE_TOL, scale=float(np.abs(expected).max()))
    assert found.energy == pytest.approx(dense_energy(A, y, K), rel=1e-10)
    assert found.of_pairs([7], [7])[0] == 0


@pytest.mark.parametrize("ridge", [0.0, 3.0])
def test_D9_influence_is_the_derivative_of_captured_energy_over_linear_maps(
    ridge: float, record_property: Record
) -> None:
    """D9: the same for maps of data, with and without a ridge, where the sums run over the whole spectrum."""
    A, X, y = setting(1)
    found = edge_influence(Graph.from_adjacency(A), y, 3, X=X, ridge=ridge)
    i, j = np.array(PAIRS).T
    expected = slopes(A, y, 3, PAIRS, X=X, ridge=ridge)
    agree(record_property, found.of_pairs(i, j), expected, SLOPE_TOL, scale=float(np.abs(expected).max()))
    assert found.residual == 0


def test_conjugate_gradients_give_the_sums_over_the_whole_spectrum() -> None:
    """On 60 rows: the responses, from the dense eigendecomposition by the formula of the docstring."""
    A, _, y = setting(2, N=60)
    K = 4
    found = edge_influence(Graph.from_adjacency(A), y, K)
    assert "conjugate gradients" in found.solver
    assert 0 < found.residual < 1e-10
    lam, U = np.linalg.eigh(np.diag(A.sum(axis=1)) - A)
    lam, U = lam[1:], U[:, 1:]  # connected: the constant comes first
    Y = np.eye(2)[y]
    Y = Y - Y.mean(axis=0)
    i, j = np.triu_indices(60, 1)
    expected = np.zeros(i.size)
    for k in range(K):
        for m in range(K, 59):
            weight = (U[:, k] @ Y) @ (Y.T @ U[:, m]) / (lam[k] - lam[m])
            expected += 2 * weight * (U[i, k] - U[j, k]) * (U[i, m] - U[j, m]) / (Y**2).sum()
    assert np.abs(found.of_pairs(i, j) - expected).max() <= CG_SLOPE_TOL * np.abs(expected).max()


def test_groups_work_without_expansion_and_bundles_are_sums_over_their_pairs() -> None:
    """A relation of cliques and edges: the same slopes as its dense matrix; `along` is the sum of A_ij times slope."""
    A, X, y = setting(3)
    codes = np.arange(40) % 5
    weight = np.array([0.5, 1.0, 0.2, 0.7, 0.3])
    cliques = Graph.from_groups(codes, weight=weight)
    graph = Graph.from_adjacency(A).plus(cliques)
    dense = A + (codes[:, None] == codes) * weight[codes] * (1 - np.eye(40))
    found = edge_influence(graph, y, 3, X=X)
    i, j = np.array(PAIRS).T
    expected = slopes(dense, y, 3, PAIRS, X=X)
    assert np.abs(found.of_pairs(i, j) - expected).max() <= SLOPE_TOL * np.abs(expected).max()
    assert np.array_equal(pair_weights(graph, i, j), dense[i, j])
    bundle = (codes[:, None] == codes) * weight[codes] * (1 - np.eye(40))
    ahead, behind = (dense_energy(dense + s * 1e-4 * bundle, y, 3, X=X) for s in (1, -1))
    assert found.along(cliques) == pytest.approx((ahead - behind) / 2e-4, rel=1e-5)


def test_removals_are_sorted_and_change_the_energy_as_foretold_where_weights_are_small() -> None:
    """Pairs of a ten-thousandth of the usual weight: taking one out changes E_K by -A_ij times its slope, nearly."""
    A, X, y = setting(4)
    faint = np.zeros_like(A)
    for i, j in PAIRS[:-1]:
        faint[i, j] = faint[j, i] = 1e-4 if A[i, j] == 0 else 0.0
    graph = Graph.from_adjacency(A + faint)
    i, j, gain = edge_influence(graph, y, 2, X=X).removals(graph)
    assert np.all(np.diff(gain) <= 0)
    assert {*zip(i, j, strict=True)} == {*zip(*np.nonzero(np.triu(A + faint, 1)), strict=True)}
    start = dense_energy(A + faint, y, 2, X=X)
    for a, b, foretold in zip(i, j, gain, strict=True):
        if faint[a, b] > 0:
            left = dense_energy(without_pairs(graph, [a], [b]).to_csr().toarray(), y, 2, X=X)
            assert left - start == pytest.approx(foretold, rel=0.02, abs=SECOND)


def test_without_pairs_takes_out_the_pairs_asked_for_and_no_other() -> None:
    graph = Graph.from_groups([0, 0, 0, 1, 1], diagonal=True)
    left = without_pairs(graph, [0, 3], [2, 4]).to_csr().toarray()
    expected = graph.to_csr().toarray()
    expected[0, 2] = expected[2, 0] = expected[3, 4] = expected[4, 3] = 0
    assert np.array_equal(left, expected)


def test_a_closed_gap_is_refused_and_open_ones_are_named() -> None:
    """Views: the null space of L has one dimension per original, and any K of them are as good over all embeddings."""
    graph = Graph.from_groups(np.repeat(np.arange(8), 2))
    y = np.repeat([0, 1], 8)
    with pytest.raises(DataError, match="equal"):
        edge_influence(graph, y, 3)
    assert edge_influence(graph, y, 7).energy == pytest.approx(1.0)  # span of all originals: the labels lie in it
    with pytest.raises(DataError, match="open at"):
        edge_influence(ss.relations.sequence(np.arange(12.0)[:, None], window=1, cyclic=True), np.arange(12) % 2, 1)
    with pytest.raises(DataError, match="keeps all"):
        edge_influence(Graph.from_adjacency(setting()[0]), setting()[2], 6, X=setting()[1])
    with pytest.raises(DataError, match="equal"):
        edge_influence(graph, np.zeros(16, dtype=int), 7)


def test_rows_without_a_label_have_no_energy() -> None:
    """Missing labels: E_K of zero rows of HY, centred over the rows that are known."""
    A, X, y = setting(5)
    hidden = y.copy()
    hidden[::3] = -1
    known = hidden >= 0
    Y = np.where(known[:, None], np.eye(2)[y], 0.0)
    Y = (Y - Y[known].mean(axis=0)) * known[:, None]
    L = np.diag(A.sum(axis=1)) - A
    H = np.eye(40) - 1 / 40
    U = H @ X @ scipy.linalg.eigh(X.T @ L @ X, X.T @ H @ X)[1][:, :2]
    expected = np.linalg.norm(U.T @ Y) ** 2 / np.linalg.norm(Y) ** 2
    assert edge_influence(Graph.from_adjacency(A), hidden, 2, X=X).energy == pytest.approx(expected, rel=1e-10)


def test_pairs_and_relations_that_do_not_fit_are_refused() -> None:
    A, X, y = setting()
    found = edge_influence(Graph.from_adjacency(A), y, 3, X=X)
    with pytest.raises(DataError, match="as many i as j, got 2 and 1"):
        found.of_pairs([1, 2], [3])
    for other in (Graph.from_adjacency(A[:20, :20]), A):
        for measure in (found.along, found.removals):
            with pytest.raises(DataError, match="a Graph over the 40 samples"):
                measure(other)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="all known labels are equal"):
        edge_influence(Graph.from_adjacency(A), np.full(40, 0.1), 3, X=X)
