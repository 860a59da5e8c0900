"""The eigensolvers: dense pencils against scipy, sparse ones against closed-form spectra and LAPACK, in every branch.

Multiplicities are counted, not only values: a Krylov space sees one copy of each eigenvalue until it is made to look.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given
from hypothesis import strategies as st

from spectral_ssl import linalg
from spectral_ssl.errors import NumericalError, ResourceError

EXACT = 1e-12  # dense float64 algebra of order 20 and condition below 1e3: a few hundred roundings
SHARP = 2e-13  # relative to the size of the matrix: what `smallest_eigenpairs` polishes residuals to

seeds = st.integers(0, 2**32 - 1)


# --- dense pencils ----------------------------------------------------------------------------------------------------


def symmetric(rng: np.random.Generator, D: int) -> np.ndarray:
    A = rng.standard_normal((D, D))
    return A + A.T


def definite(rng: np.random.Generator, D: int) -> np.ndarray:
    A = rng.standard_normal((D, D))
    return A @ A.T + D * np.eye(D)


@given(seeds, st.integers(1, 12), st.booleans())
def test_a_definite_pencil_is_solved_as_by_scipy(seed: int, D: int, largest: bool) -> None:
    rng = np.random.default_rng(seed)
    A, B = symmetric(rng, D), definite(rng, D)
    pairs = linalg.generalized_eigh(A, B, largest=largest)
    expected = scipy.linalg.eigh(A, B, eigvals_only=True)
    size = np.abs(expected).max()
    np.testing.assert_allclose(pairs.values, expected[::-1] if largest else expected, atol=EXACT * size)
    # values and vectors were sorted together
    np.testing.assert_allclose(A @ pairs.vectors, B @ pairs.vectors * pairs.values, atol=1e3 * EXACT * size)
    np.testing.assert_allclose(pairs.vectors.T @ B @ pairs.vectors, np.eye(D), atol=EXACT)
    assert pairs.rank == D


@given(seeds, st.integers(2, 12), st.data())
def test_a_singular_second_matrix_leaves_the_pencil_on_its_range(seed: int, D: int, data: st.DataObject) -> None:
    r = data.draw(st.integers(0, D))
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((D, r))  # null(B) = null(F') lies in null(A), as it does for the pencils of a graph
    small = symmetric(rng, r) if r else np.zeros((0, 0))
    A, B = F @ small @ F.T, F @ F.T
    pairs = linalg.generalized_eigh(A, B, largest=True)
    assert pairs.rank == r == pairs.values.size
    assert pairs.vectors.shape == (D, r)
    if r:
        Q = np.linalg.qr(F)[0]
        expected = scipy.linalg.eigh(Q.T @ A @ Q, Q.T @ B @ Q, eigvals_only=True)[::-1]
        kappa = np.linalg.cond(F) ** 2
        np.testing.assert_allclose(pairs.values, expected, atol=EXACT * kappa * np.abs(expected).max())
        np.testing.assert_allclose(pairs.vectors.T @ B @ pairs.vectors, np.eye(r), atol=EXACT * kappa)


@given(seeds, st.integers(3, 9), st.data())
def test_null_directions_are_minimised_away_by_the_schur_complement(seed: int, D: int, data: st.DataObject) -> None:
    """Lemma M: min over the null part of b'Ab is the Schur complement; naive, by pinv in an orthonormal basis."""
    r = data.draw(st.integers(1, D - 1))
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((D, D)))[0]
    R, N = U[:, :r], U[:, r:]
    B = R @ definite(rng, r) @ R.T
    G = rng.standard_normal((D, data.draw(st.integers(1, D))))
    A = G @ G.T
    A_nn = N.T @ A @ N
    schur = R.T @ A @ R - R.T @ A @ N @ np.linalg.pinv(A_nn, rcond=1e-10, hermitian=True) @ N.T @ A @ R
    kappa = 1 / max(np.linalg.svd(G.T @ N)[1][np.linalg.matrix_rank(G.T @ N) - 1], 1e-6) ** 2
    expected = scipy.linalg.eigh((schur + schur.T) / 2, R.T @ B @ R, eigvals_only=True)
    pairs = linalg.generalized_eigh(A, B, largest=False, eliminate_null=True)
    assert pairs.rank == r
    size = np.abs(A).max() / D
    np.testing.assert_allclose(pairs.values, expected, atol=1e3 * EXACT * size * max(1.0, kappa))
    # the minimiser itself: b'Ab = mu where b'Bb = 1, null part included
    quotient = np.einsum("ik,ij,jk->k", pairs.vectors, A, pairs.vectors)
    np.testing.assert_allclose(quotient, pairs.values, atol=1e3 * EXACT * size * max(1.0, kappa))


@given(seeds, st.integers(2, 10), st.integers(0, 3))
def test_rescaled_features_rescale_the_answer_and_cost_no_accuracy(seed: int, D: int, deficit: int) -> None:
    """Congruence by diag(c) leaves mu and rank(B) as they are and divides b by c; here c spans twelve decades."""
    rng = np.random.default_rng(seed)
    r = max(D - deficit, 1)
    F = np.linalg.qr(rng.standard_normal((D, r)))[0] * rng.uniform(0.5, 2, r)
    small = symmetric(rng, r)
    c = 10.0 ** rng.uniform(-6, 6, D)
    plain = linalg.generalized_eigh(F @ small @ F.T, F @ F.T, largest=True)
    scaled = linalg.generalized_eigh((c[:, None] * F) @ small @ (F.T * c), (c[:, None] * F) @ (F.T * c), largest=True)
    assert scaled.rank == plain.rank == r
    size = np.abs(plain.values).max()
    # the unit-diagonal scaling may meet features that are almost absent: their rows of F are small
    kappa = 1 / (F**2).sum(axis=1).min()
    np.testing.assert_allclose(scaled.values, plain.values, atol=EXACT * size * kappa)
    assert scaled.residuals.max() <= EXACT * kappa


@given(seeds, st.integers(1, 10))
def test_the_stated_residual_of_a_dense_pencil_is_the_measured_one(seed: int, D: int) -> None:
    """|A b - mu B b| in the norm of B^-1, here by a Cholesky factor of B."""
    rng = np.random.default_rng(seed)
    A, B = symmetric(rng, D), definite(rng, D)
    blur = 1e-6 * symmetric(rng, D)
    pairs = linalg.generalized_eigh(A, B, largest=True)
    R = np.linalg.cholesky(B)
    true = np.linalg.norm(
        scipy.linalg.solve_triangular(R, A @ pairs.vectors - B @ pairs.vectors * pairs.values, lower=True), axis=0
    )
    assert np.all(true <= pairs.residuals * np.abs(pairs.values).max() + EXACT * np.abs(pairs.values).max())
    # and it bounds the error of mu: the pairs of A, judged against A + blur, are off by no more than their residual
    moved = scipy.linalg.eigh(A + blur, B, eigvals_only=True)[::-1]
    bound = np.linalg.norm(scipy.linalg.solve_triangular(R, blur @ pairs.vectors, lower=True), axis=0)
    assert all(np.abs(moved - mu).min() <= b + 1e-12 for mu, b in zip(pairs.values, bound, strict=True))


@pytest.mark.parametrize("largest", [True, False])
def test_vectors_gone_astray_are_seen_in_the_stated_residual(largest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last eigenproblem returns vectors turned by 1e-6: the residual says so, and by how much."""
    rng = np.random.default_rng(0)
    A, B = symmetric(rng, 6), definite(rng, 6)
    turn = scipy.linalg.expm(1e-6 * np.triu(np.ones((6, 6)), 1) - 1e-6 * np.tril(np.ones((6, 6)), -1))
    solve, calls = linalg.eigh, []

    def astray(M):
        calls.append(M)
        values, V = solve(M)
        return (values, V) if len(calls) == 1 else (values, V @ turn)  # the first call whitens B

    monkeypatch.setattr(linalg, "eigh", astray)
    pairs = linalg.generalized_eigh(A, B, largest=largest)
    R = np.linalg.cholesky(B)
    difference = A @ pairs.vectors - B @ pairs.vectors * pairs.values
    true = np.linalg.norm(scipy.linalg.solve_triangular(R, difference, lower=True), axis=0)
    np.testing.assert_allclose(pairs.residuals * np.abs(pairs.values).max(), true, rtol=1e-6)
    assert true.max() > 1e-7


@given(seeds, st.integers(1, 10), st.data())
def test_whitening_inverts_on_the_range_and_spans_the_null_space(seed: int, D: int, data: st.DataObject) -> None:
    r = data.draw(st.integers(0, D))
    rng = np.random.default_rng(seed)
    F = np.linalg.qr(rng.standard_normal((D, D)))[0][:, :r]
    B = F @ np.diag(rng.uniform(0.5, 2, r)) @ F.T
    T, T0 = linalg.whitening(B)
    assert T.shape == (D, r)
    assert T0.shape == (D, D - r)
    np.testing.assert_allclose(T.T @ B @ T, np.eye(r), atol=1e2 * EXACT)
    np.testing.assert_allclose(B @ T0, 0, atol=1e2 * EXACT * max(np.abs(T0).max(initial=0), 1))
    assert np.linalg.matrix_rank(np.hstack([T, T0]) / np.linalg.norm(np.hstack([T, T0]), axis=0)) == D


def test_constant_features_do_not_count_towards_the_rank() -> None:
    B = np.diag([2.0, 0.0, 1e-4, 1e-40])
    T, T0 = linalg.whitening(B)
    assert T.shape[1] == 2
    assert T0.shape[1] == 2
    np.testing.assert_allclose(np.abs(T).max(axis=1), [1 / np.sqrt(2.0), 0, 100.0, 0])


def test_the_zero_matrix_has_rank_zero_and_an_empty_pencil() -> None:
    pairs = linalg.generalized_eigh(np.zeros((3, 3)), np.zeros((3, 3)), largest=True)
    assert pairs.rank == 0
    assert pairs.values.shape == (0,)
    assert pairs.vectors.shape == (3, 0)


@pytest.mark.parametrize(
    "solve", [linalg.eigh, linalg.svd, linalg.whitening, lambda M: linalg.generalized_eigh(M, M, largest=True)]
)
def test_nan_is_refused_by_every_dense_solver(solve) -> None:
    M = np.eye(3)
    M[1, 1] = np.nan
    with pytest.raises(NumericalError):
        solve(M)


def test_signs_make_the_largest_entry_positive_and_change_nothing_else() -> None:
    V = np.array([[0.1, -3.0, 0.0], [-0.2, 1.0, 0.0]])
    np.testing.assert_array_equal(linalg.fix_signs(V), [[-0.1, 3.0, 0.0], [0.2, -1.0, 0.0]])


@given(seeds, st.integers(1, 8), st.integers(1, 8), st.integers(0, 8))
def test_rank_and_orthonormal_basis_are_numpys(seed: int, n: int, m: int, r: int) -> None:
    rng = np.random.default_rng(seed)
    M = rng.integers(-2, 3, (n, r)) @ rng.integers(-2, 3, (r, m)).astype(float)
    U = linalg.orthonormal_basis(M)
    assert linalg.rank(M) == U.shape[1] == np.linalg.matrix_rank(M)
    np.testing.assert_allclose(U.T @ U, np.eye(U.shape[1]), atol=EXACT)
    np.testing.assert_allclose(U @ (U.T @ M), M, atol=EXACT * max(1, np.abs(M).max()))


def test_range_basis_is_the_top_left_singular_subspace() -> None:
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.standard_normal((9, 3)))[0]
    V = np.linalg.qr(rng.standard_normal((4, 3)))[0]
    basis, s = linalg.range_basis(U * [5.0, 3.0, 1e-3] @ V.T, 2)
    np.testing.assert_allclose(basis @ basis.T, U[:, :2] @ U[:, :2].T, atol=EXACT)
    np.testing.assert_allclose(s, [5, 3, 1e-3, 0], atol=EXACT)


@pytest.mark.parametrize("angles", [[1e-12, 1e-9, 0.3], [1e-15, 1e-8, np.pi / 2], [0.5, 1.0, 1.5], [0.0, 0.0, 1e-10]])
def test_principal_sines_see_angles_that_cosines_cannot(angles: list[float]) -> None:
    """Two 3-dimensional subspaces of R^9 at chosen angles, each given by a random basis of itself."""
    rng = np.random.default_rng(0)
    F = np.linalg.qr(rng.standard_normal((9, 9)))[0]
    turn = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2)]
    U = F[:, :3] @ turn[0]
    V = (F[:, :3] * np.cos(angles) + F[:, 3:6] * np.sin(angles)) @ turn[1]
    found = linalg.principal_sines(U, V)
    expected = np.sort(np.sin(angles))[::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=5e-16)  # absolute: roundings of entries of size 1
    np.testing.assert_allclose(np.arcsin(found), scipy.linalg.subspace_angles(U, V), atol=2e-8)


def test_principal_sines_of_unequal_and_empty_subspaces() -> None:
    F = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    tilted = np.cos(0.2) * F[:, :1] + np.sin(0.2) * F[:, 5:6]
    for U, V in ((tilted, F[:, :3]), (F[:, :3], tilted)):
        np.testing.assert_allclose(linalg.principal_sines(U, V), [np.sin(0.2)], atol=EXACT)
    assert linalg.principal_sines(F[:, :0], F[:, :3]).shape == (0,)


# --- large sparse matrices: every branch of the policy ----------------------------------------------------------------


def laplacian(g: nx.Graph) -> scipy.sparse.csr_array:
    A = nx.to_scipy_sparse_array(g, dtype=float)
    return scipy.sparse.csr_array(scipy.sparse.diags_array(np.asarray(A.sum(axis=1)).ravel()) - A)


def circle(n: int) -> np.ndarray:
    return 4 * np.sin(np.pi * np.arange(n) / n) ** 2


def sums(*spectra: np.ndarray) -> np.ndarray:
    """Spectrum of a Cartesian product of graphs: all sums of one eigenvalue of each factor."""
    total = np.zeros(1)
    for values in spectra:
        total = (total[:, None] + values).ravel()
    return np.sort(total)


# name: (graph, the spectrum of its Laplacian by theory)
KNOWN = {
    "path": (nx.path_graph(150), 4 * np.sin(np.pi * np.arange(150) / 300) ** 2),
    "cycle": (nx.cycle_graph(151), np.sort(circle(151))),
    "torus": (nx.grid_graph([12, 13], periodic=True), sums(circle(12), circle(13))),
    "cube torus": (nx.grid_graph([5, 5, 5], periodic=True), sums(circle(5), circle(5), circle(5))),
    "hypercube": (nx.hypercube_graph(7), sums(*[np.array([0.0, 2.0])] * 7)),
    "complete": (nx.complete_graph(120), np.array([0.0] + [120.0] * 119)),
    "star": (nx.star_graph(119), np.array([0.0] + [1.0] * 118 + [120.0])),
    "complete x cycle": (
        nx.cartesian_product(nx.complete_graph(6), nx.cycle_graph(21)),
        sums(np.array([0.0] + [6.0] * 5), circle(21)),
    ),
    "complete bipartite": (nx.complete_bipartite_graph(50, 70), np.sort([0.0] + [50.0] * 69 + [70.0] * 49 + [120.0])),
}


@pytest.fixture(params=["dense", "shift-invert", "lanczos"])
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One solver, and only that: an answer by the second choice says so in its name and fails the test."""
    monkeypatch.setattr(linalg, "plan", lambda M, k: (request.param, "forced"))
    return request.param


def check(M: scipy.sparse.csr_array, found: linalg.Eigenpairs, expected: np.ndarray, null: np.ndarray) -> None:
    """Values with their copies counted, vectors orthonormal and off the null space, residuals as stated."""
    n, k = M.shape[0], expected.size
    size = scipy.sparse.linalg.norm(M, 1)
    np.testing.assert_allclose(found.values, expected, atol=SHARP * size)
    V = found.vectors
    np.testing.assert_allclose(V.T @ V, np.eye(k), atol=1e-12)
    np.testing.assert_allclose(null.reshape(n, -1).T @ V, 0, atol=1e-11)
    measured = np.linalg.norm(M @ V - V * found.values, axis=0)
    assert measured.max() <= SHARP * size
    np.testing.assert_allclose(found.residuals * 2 * M.diagonal().max(), measured, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("k", [1, 5, 12, 20])
@pytest.mark.parametrize("name", KNOWN)
def test_no_copy_of_an_eigenvalue_is_missed_by_any_solver(name: str, k: int, forced: str) -> None:
    g, spectrum = KNOWN[name]
    M = laplacian(g)
    n = M.shape[0]
    constant = np.full(n, 1 / np.sqrt(n))
    found = linalg.smallest_eigenpairs(M, k, upper=2 * M.diagonal().max(), null=constant)
    assert found.solver == "forced"
    assert found.rank == n - 1
    check(M, found, spectrum[1 : k + 1], constant)


def test_without_a_null_space_the_zero_eigenvalue_is_found_too(forced: str) -> None:
    M = laplacian(nx.cycle_graph(90))
    found = linalg.smallest_eigenpairs(M, 6, upper=4.0)
    np.testing.assert_allclose(found.values, np.sort(circle(90))[:6], atol=1e-12)
    assert found.rank == 90


def test_a_null_space_of_several_vectors_is_removed_whole(forced: str) -> None:
    M = laplacian(nx.disjoint_union(nx.cycle_graph(50), nx.path_graph(40)))
    null = np.zeros((90, 2))
    null[:50, 0], null[50:, 1] = 1 / np.sqrt(50), 1 / np.sqrt(40)
    expected = np.sort(np.concatenate([circle(50)[1:], 4 * np.sin(np.pi * np.arange(1, 40) / 80) ** 2]))[:8]
    found = linalg.smallest_eigenpairs(M, 8, upper=2 * M.diagonal().max(), null=null)
    check(M, found, expected, null)


@pytest.mark.parametrize("seed", range(6))
def test_random_weighted_graphs_agree_with_lapack(seed: int, forced: str) -> None:
    rng = np.random.default_rng(seed)
    g = nx.connected_watts_strogatz_graph(120, 4, 0.3, seed=seed)
    for _, _, edge in g.edges(data=True):
        edge["weight"] = float(rng.choice([0.1, 1.0, 1.0, 7.0]))
    M = laplacian(g)
    expected = scipy.linalg.eigvalsh(M.toarray())[1:16]
    null = np.full(120, 1 / np.sqrt(120))
    found = linalg.smallest_eigenpairs(M, 15, upper=2 * M.diagonal().max(), null=null)
    assert found.solver == "forced"
    check(M, found, expected, null)


@pytest.mark.parametrize("bridge", [1e-2, 1e-6, 1e-10])
def test_weak_bridges_blur_no_other_pair(bridge: float, forced: str) -> None:
    """Three tori joined by faint edges: eigenvalues of about `bridge` / n beside ordinary ones, all fully accurate."""
    g = nx.disjoint_union_all([nx.grid_graph([7, 8], periodic=True)] * 3)
    g.add_edge(0, 56, weight=bridge)
    g.add_edge(57, 112, weight=bridge / 3)
    M = laplacian(g)
    constant = np.full(168, 1 / np.sqrt(168))
    expected = scipy.linalg.eigvalsh(M.toarray())[1:13]
    found = linalg.smallest_eigenpairs(M, 12, upper=2 * M.diagonal().max(), null=constant)
    assert found.solver == "forced"
    check(M, found, expected, constant)
    # LAPACK's zero is 1e-15; first-order perturbation of the three constants is good to bridge^2
    weak = scipy.linalg.eigvalsh(bridge / 56 * np.array([[1, -1, 0], [-1, 4 / 3, -1 / 3], [0, -1 / 3, 1 / 3]]))[1:]
    np.testing.assert_allclose(found.values[:2], weak, rtol=bridge + 1e-4, atol=5e-14)


def test_operators_known_only_through_products_give_the_same_pairs() -> None:
    g, spectrum = KNOWN["torus"]
    M = laplacian(g)
    operator = scipy.sparse.linalg.aslinearoperator(M)
    null = np.full(156, 1 / np.sqrt(156))
    dense = linalg.smallest_eigenpairs(operator, 9, upper=8.0, null=null)
    check(M, dense, spectrum[1:10], null)
    values, V = linalg._krylov_bottom(operator, 9, null[:, None], 8.0, "lanczos")
    np.testing.assert_allclose(values, spectrum[1:10], atol=1e-12)
    np.testing.assert_allclose(M @ V, V * values, atol=1e-11)


@pytest.mark.parametrize("solver", ["shift-invert", "lanczos"])
def test_a_copy_that_arpack_misses_is_found_by_the_deflated_search(solver, monkeypatch: pytest.MonkeyPatch) -> None:
    """ARPACK made blind to the second of two equal eigenvalues, as a Krylov space from one vector is in theory."""
    n = 100
    M = laplacian(nx.cycle_graph(n))
    hidden = np.sqrt(2 / n) * np.sin(2 * np.pi * np.arange(n) / n)[:, None]  # one of the two of the smallest value
    sighted, calls = linalg._arpack_top, []

    def blind(apply, n, k, locked, rng):
        calls.append(k)
        return sighted(apply, n, k, np.hstack([locked, hidden]) if len(calls) == 1 else locked, rng)

    monkeypatch.setattr(linalg, "_arpack_top", blind)
    values, V = linalg._krylov_bottom(M, 6, np.full((n, 1), n**-0.5), 4.0, solver)
    np.testing.assert_allclose(values, np.sort(circle(n))[1:7], atol=1e-13)
    np.testing.assert_allclose(M @ V, V * values, atol=1e-12)
    assert len(calls) > 1


def test_weights_over_nine_decades_stall_lanczos_and_are_solved_by_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linalg, "plan", lambda M, k: ("lanczos", "forced"))
    monkeypatch.setattr(linalg, "RESTARTS", 30)
    rng = np.random.default_rng(0)
    g = nx.random_regular_graph(4, 120, seed=1)
    for _, _, edge in g.edges(data=True):
        edge["weight"] = 10.0 ** rng.uniform(-6, 3)
    M = laplacian(g)
    null = np.full(120, 1 / np.sqrt(120))
    found = linalg.smallest_eigenpairs(M, 10, upper=2 * M.diagonal().max(), null=null)
    assert "after Lanczos failed" in found.solver
    check(M, found, scipy.linalg.eigvalsh(M.toarray())[1:11], null)


def test_two_runs_give_the_same_bits(forced: str) -> None:
    M = laplacian(KNOWN["torus"][0])
    first, second = (linalg.smallest_eigenpairs(M, 7, upper=8.0, null=np.full(156, 156**-0.5)) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_more_pairs_than_dimensions_are_cut_and_none_is_no_error() -> None:
    M = laplacian(nx.path_graph(4))
    null = np.full(4, 0.5)
    assert linalg.smallest_eigenpairs(M, 9, upper=4.0, null=null).values.size == 3
    assert linalg.smallest_eigenpairs(M, 0, upper=4.0, null=null).values.size == 0
    assert linalg.smallest_eigenpairs(scipy.sparse.csr_array((1, 1)), 1, upper=0.0, null=np.ones(1)).vectors.shape == (
        1,
        0,
    )


# --- the policy and its refusals --------------------------------------------------------------------------------------


def test_the_plan_follows_size_and_structure() -> None:
    expander = laplacian(nx.random_regular_graph(6, 2000, seed=0))
    chain = laplacian(nx.path_graph(2000))
    assert linalg.plan(laplacian(nx.path_graph(100)), 5)[0] == "dense"
    assert linalg.plan(chain, 5)[0] == "shift-invert"
    assert linalg.plan(expander, 5)[0] == "lanczos"
    assert linalg.plan(scipy.sparse.linalg.aslinearoperator(chain), 5)[0] == "lanczos"
    assert linalg.plan(chain, 900)[0] == "dense"
    assert linalg.envelope_width(chain) < 1e-3
    assert linalg.envelope_width(expander) > 0.2


def test_surfaces_are_factorised_and_volumes_are_not() -> None:
    """A factor of a surface has n log n entries, of a volume n^(4/3) and more: at 30,000 samples it has lost."""

    def lattice(*sides: int) -> scipy.sparse.csr_array:
        place = np.arange(np.prod(sides)).reshape(sides)
        i = np.concatenate([place.ravel()] * len(sides))
        j = np.concatenate([np.roll(place, 1, axis).ravel() for axis in range(len(sides))])
        A = scipy.sparse.csr_array((np.ones(i.size), (i, j)), shape=(place.size, place.size))
        return scipy.sparse.csr_array(2.0 * len(sides) * scipy.sparse.eye_array(place.size) - A - A.T)

    assert linalg.plan(lattice(180, 170), 8)[0] == "shift-invert"
    assert linalg.plan(lattice(14, 13, 13, 12), 8)[0] == "lanczos"
    assert (
        linalg.envelope_width(lattice(14, 13, 13, 12)) < linalg.WIDTH_MAX
    )  # so that the share of n alone would not tell


def test_much_of_the_spectrum_of_a_large_matrix_is_refused_before_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    M = scipy.sparse.eye_array(10**6, format="csr")
    with pytest.raises(ResourceError, match=r"500,000 eigenpairs.*8000\.0 GB.*fewer than 333,333"):
        linalg.smallest_eigenpairs(M, 500_000, upper=1.0)


def test_an_answer_short_of_its_accuracy_is_refused_with_every_attempt_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linalg, "RESIDUAL_TOL", 0.0)
    monkeypatch.setattr(linalg, "DENSE_MAX", 10)
    with pytest.raises(NumericalError, match=r"shift-invert: relative residual.*lanczos: relative residual"):
        linalg.smallest_eigenpairs(laplacian(nx.path_graph(80)), 5, upper=4.0)


def test_stalled_lanczos_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linalg, "RESTARTS", 1)
    M = scipy.sparse.linalg.aslinearoperator(laplacian(nx.path_graph(1600)))
    with pytest.raises(NumericalError, match=r"of 5 eigenpairs converged in 1 restarts.*ask for fewer components"):
        linalg.smallest_eigenpairs(M, 5, upper=4.0, null=np.full(1600, 1 / 40))


def test_a_residual_that_is_no_number_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linalg, "_dense_bottom", lambda M, k, Q, upper: (np.zeros(k), np.full((M.shape[0], k), np.nan)))
    with pytest.raises(NumericalError, match="dense: relative residual nan"):
        linalg.smallest_eigenpairs(laplacian(nx.path_graph(9)), 2, upper=4.0)


def test_nan_is_refused_by_every_sparse_solver(forced: str) -> None:
    M = laplacian(nx.path_graph(60))
    M.data[7] = np.nan
    with pytest.raises(NumericalError):
        linalg.smallest_eigenpairs(M, 5, upper=4.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_on_the_largest_eigenvalue_lies_between_it_and_the_largest_degree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = scipy.sparse.random_array((80, 80), density=0.05, rng=rng)
    A = scipy.sparse.csr_array(A + A.T)
    degree = float(A.sum(axis=1).max())
    bound = linalg.largest_eigenvalue_bound(A, degree)
    true = scipy.linalg.eigvalsh(A.toarray())[-1]
    assert true <= bound <= min(degree, 1.01 * true)


def test_the_bound_holds_where_the_start_vector_is_an_eigenvector_already() -> None:
    A = nx.to_scipy_sparse_array(nx.cycle_graph(60), dtype=float)
    assert linalg.largest_eigenvalue_bound(A, 2.0) == pytest.approx(2.0)
