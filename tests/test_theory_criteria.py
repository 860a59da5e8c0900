"""The companion papers: the probe bound of HaoChen et al., what a linear classifier does not see, Cabannes' identity.

Witnesses: loops over pairs of samples, numpy's eigensolver on the normalised adjacency, and least squares.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from measure import Record, agree

import spectral_ssl as ss
from spectral_ssl.theory import ProbeBound, cross_class_mass, probe_bound, uncentred_identity

EXACT = 1e-11  # float64 algebra on both sides, through an eigensolver
REACHED = 1e-10  # how near an equality case is to its bound: the same, divided by nu


def random_graph(seed: int, N: int, density: float = 0.5) -> np.ndarray:
    """A (N, N): irregular, with self-pairs, every sample paired."""
    rng = np.random.default_rng(seed)
    A = np.triu(rng.random((N, N)) * (rng.random((N, N)) < density))
    A = A + np.triu(A, 1).T
    return A + np.diag(np.where(A.sum(axis=1) > 0, 0.0, 0.3))


def noisy_classes(seed: int, N: int, C: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A relation that mostly pairs equal labels, and the labels."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(N) % C)
    inside = y[:, None] == y[None, :]
    A = rng.random((N, N)) * np.where(inside, 1.0, noise)
    return A + A.T, y


def by_loops(A: np.ndarray, y: np.ndarray, K: int) -> tuple[float, float, float, float]:
    """phi, nu_{K+1}, label energy and probe error, from their definitions."""
    N, s, deg = len(A), A.sum(), A.sum(axis=1)
    phi = sum(A[i, j] for i in range(N) for j in range(N) if y[i] != y[j]) / s
    nu, U = np.linalg.eigh(np.eye(N) - A / np.sqrt(np.outer(deg, deg)))
    classes = sorted(set(y.tolist()))
    Y = np.array([[float(label == c) for c in classes] for label in y])
    x = U[:, :K] / np.sqrt(deg)[:, None]
    p = np.sqrt(deg / s)[:, None]
    B = np.linalg.lstsq(p * x, p * Y, rcond=None)[0]
    f = x @ B
    energy = sum(deg[i] / s * ((Y[i] - f[i]) ** 2).sum() for i in range(N))
    wrong = [f[i][Y[i] > 0][0] <= max(f[i][Y[i] == 0], default=-1) + 1e-9 for i in range(N)]
    return phi, (nu[K] if K < N else np.inf), energy, sum(deg[i] / s for i in range(N) if wrong[i])


def check(found: ProbeBound) -> None:
    assert found.energy <= found.energy_bound * (1 + EXACT) + EXACT
    assert found.error <= min(found.error_bound, 2 * found.energy) * (1 + EXACT) + EXACT
    assert found.error_bound == 2 * found.energy_bound


# --- H1 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 3, 6])
def test_H1_energy_error_and_bounds_are_those_of_their_definitions(K: int, record_property: Record) -> None:
    """phi by a loop over pairs, nu by numpy, energy and error by weighted least squares: and the bounds hold"""
    A, y = noisy_classes(K, 21, 3, 0.9)
    graph = ss.Graph.from_adjacency(A)
    found = probe_bound(graph, y, K)
    phi, nu, energy, error = by_loops(A, y, K)
    agree(
        record_property,
        [found.cross_class_mass, found.next_eigenvalue, found.energy, found.energy_bound, found.error],
        [phi, nu, energy, phi / nu, error],
        EXACT,
        scale=1.0,
    )
    assert cross_class_mass(graph, y) == pytest.approx(phi, rel=EXACT)
    check(found)
    assert found.energy > 0.05, "something is left"
    a_K = np.sort(np.linalg.eigvalsh(A / np.sqrt(np.outer(A.sum(1), A.sum(1)))))[::-1][K - 1]
    assert found.positive == (a_K > 0)
    assert not probe_bound(graph, y, 20).positive, "the spectral contrastive loss has no use for those"


@given(
    st.integers(0, 10_000), st.integers(4, 14), st.integers(1, 4), st.integers(1, 13), st.sampled_from([0.01, 0.3, 1])
)
def test_the_probe_bounds_hold_on_random_relations_and_labels(seed: int, N: int, C: int, K: int, noise: float) -> None:
    A, y = noisy_classes(seed, N, C, noise)
    if seed % 2:
        A = random_graph(seed, N, 0.3)  # labels of no relation to it, often disconnected
    # a violation would be visible: the test recomputes both sides from A
    K = min(K, N)
    found = probe_bound(ss.Graph.from_adjacency(A), y, K)
    check(found)
    deg, s = A.sum(axis=1), A.sum()
    phi = sum(A[i, j] for i in range(N) for j in range(N) if y[i] != y[j]) / s
    assert found.cross_class_mass == pytest.approx(phi, abs=EXACT)
    nu, U = np.linalg.eigh(np.eye(N) - A / np.sqrt(np.outer(deg, deg)))
    T = np.sqrt(deg / s)[:, None] * (y[:, None] == np.arange(C))
    if K == N or nu[K] - nu[K - 1] > 1e-6:  # a tied span is not unique; the bound holds for any
        energy = 1 - ((U[:, :K].T @ T) ** 2).sum()
        assert found.energy == pytest.approx(energy, abs=1e-9)
        if K < N:
            assert energy <= phi / nu[K] + EXACT


def test_H1_the_bounds_are_reached(record_property: Record) -> None:
    """Two samples of unlike labels, K = 1: energy 1/2 = phi/nu and error 1 = 2 phi/nu; m groups joined as one"""
    pair = probe_bound(ss.Graph.from_adjacency(np.array([[0.0, 1.0], [1.0, 0.0]])), [0, 1], 1)
    agree(record_property, [pair.energy, pair.energy_bound, pair.error, pair.error_bound], [0.5, 0.5, 1, 1], REACHED)
    # labels inside the eigenspace of nu = 0 and nu_2: groups of any size, each class a group, joined all alike
    sizes, eps = [4, 4, 4], 0.2
    y = np.repeat([0, 1, 2], sizes)
    A = np.where(y[:, None] == y[None, :], 1.0, eps)
    found = probe_bound(ss.Graph.from_adjacency(A), y, 1)
    nu = 1 - (4 - 4 * eps) / (4 + 8 * eps)  # 3 blocks: eigenvalues 4 + 8 eps and 4 - 4 eps
    agree(record_property, found.next_eigenvalue, nu, REACHED)
    agree(record_property, found.energy, found.energy_bound, REACHED)
    agree(record_property, found.energy, 2 / 3, REACHED)
    # and not in general
    A, y = noisy_classes(0, 20, 2, 0.2)
    loose = probe_bound(ss.Graph.from_adjacency(A), y, 2)
    assert loose.energy < 0.9 * loose.energy_bound


def test_H1_pairs_within_classes_leave_nothing(record_property: Record) -> None:
    """phi = 0 where no pair crosses; C connected classes are then found by K = C, and K < C has no bound"""
    y = np.repeat(["a", "b", "c"], [3, 5, 4])
    A = (y[:, None] == y[None, :]) * (0.2 + np.random.default_rng(0).random((12, 12)))
    graph = ss.Graph.from_adjacency(A + A.T)
    assert cross_class_mass(graph, y) == 0
    found = probe_bound(graph, y, 3)
    agree(record_property, [found.energy, found.error, found.energy_bound], [0.0, 0.0, 0.0], EXACT, scale=1.0)
    few = probe_bound(graph, y, 2)
    assert few.next_eigenvalue == pytest.approx(0, abs=EXACT)
    assert few.energy_bound == np.inf
    assert few.energy > 0.1
    assert probe_bound(graph, y, 12).next_eigenvalue == np.inf
    assert probe_bound(graph, y, 12).energy_bound == 0


def test_H1_the_features_are_those_of_the_spectral_contrastive_loss(record_property: Record) -> None:
    """The same energy by weighted least squares on its optimum, whatever rotation and scale that has"""
    A, y = noisy_classes(4, 24, 3, 0.15)
    graph = ss.Graph.from_adjacency(A)
    found = probe_bound(graph, y, 3)
    assert found.positive
    Z = ss.optimum(ss.SpectralContrastive(), graph, 3).embedding.Z
    p = np.sqrt(A.sum(axis=1) / A.sum())[:, None]
    Y = (y[:, None] == np.arange(3)).astype(float)
    B = np.linalg.lstsq(p * Z, p * Y, rcond=None)[0]
    agree(record_property, found.energy, ((p * (Y - Z @ B)) ** 2).sum(), 1e-9)
    check(found)


def test_H1_self_pairs_count_in_the_total_and_isolated_samples_nowhere(record_property: Record) -> None:
    """phi = sum_{y_i != y_j} A_ij / s with A_ii in s; a sample without a pair may lack its label"""
    A = np.array([[1.0, 1, 0, 0], [1, 2, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    graph = ss.Graph.from_pairs([0, 0, 1, 1], [0, 1, 1, 2], n_samples=4, weight=[1.0, 1.0, 2.0, 1.0])
    assert np.array_equal(graph.to_csr().toarray(), A)
    agree(record_property, cross_class_mass(graph, [0, 0, 1, -1]), 2 / 7, EXACT)
    found = probe_bound(graph, [0, 0, 1, -1], 1)
    paired = probe_bound(ss.Graph.from_adjacency(A[:3, :3]), [0, 0, 1], 1)
    agree(
        record_property,
        [found.energy, found.error, found.next_eigenvalue],
        [paired.energy, paired.error, paired.next_eigenvalue],
        EXACT,
    )


def test_what_no_probe_bound_is_about_is_refused() -> None:
    A, y = noisy_classes(0, 10, 2, 0.2)
    graph = ss.Graph.from_adjacency(A)
    with pytest.raises(ss.DataError, match="over all embeddings"):
        probe_bound(ss.Spectra(graph, X=np.random.default_rng(0).standard_normal((10, 3))), y, 2)
    for K in (0, 11, True, 1.5):
        with pytest.raises(ss.DataError, match="n_components"):
            probe_bound(graph, y, K)  # type: ignore[arg-type]
    with pytest.raises(ss.DataError, match="continuous"):
        cross_class_mass(graph, np.linspace(0, 1, 10))
    with pytest.raises(ss.DataError, match="lacks the label of 1 samples"):
        cross_class_mass(graph, [-1, *y[1:]])
    with pytest.raises(ss.DataError):
        cross_class_mass(graph, y[:5])
    assert probe_bound(ss.Spectra(graph), y, 2) == probe_bound(graph, y, 2)
    one = probe_bound(graph, np.zeros(10, dtype=int), 1)
    assert (one.cross_class_mass, one.error) == (0.0, 0.0)


# --- H2 ---------------------------------------------------------------------------------------------------------------


def least_squares(Z: np.ndarray, Y: np.ndarray, *, intercept: bool = False) -> np.ndarray:
    """Scores of the classifier that least squares fits."""
    Z = np.column_stack([Z, np.ones(len(Z))]) if intercept else Z
    return np.asarray(Z @ np.linalg.lstsq(Z, Y, rcond=None)[0])


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 5), st.integers(2, 4))
def test_a_classifier_carried_over_predicts_the_same(seed: int, N: int, K: int, C: int) -> None:
    rng = np.random.default_rng(seed)
    Z, B, R = rng.standard_normal((N, K)), rng.standard_normal((K, C)), rng.standard_normal((K, K)) + 3 * np.eye(K)
    c = np.exp(rng.uniform(-5, 5, N))
    before = np.array([max(range(C), key=lambda j: z @ B[:, j]) for z in Z])
    carried = np.linalg.solve(R, B)
    margins = np.sort(Z @ B, axis=1)
    clear = margins[:, -1] - margins[:, -2] > 1e-9
    if np.linalg.cond(R) < 1e4:
        assert np.array_equal(np.argmax(c[:, None] * (Z @ R) @ carried, axis=1)[clear], before[clear])


def test_H2_the_optimum_of_the_contrastive_loss_predicts_as_plain_eigenvectors(record_property: Record) -> None:
    """diag(deg)^(-1/2) and diag(sqrt a) Q of the optimum do not matter: R^-1 B on it is B on numpy's eigenvectors"""
    A, _ = noisy_classes(4, 24, 3, 0.15)
    deg, K = A.sum(axis=1), 3
    a, U = np.linalg.eigh(A / np.sqrt(np.outer(deg, deg)))
    U = U[:, ::-1][:, :K]
    assert a[-K] > 0
    Z = ss.optimum(ss.SpectralContrastive(), ss.Graph.from_adjacency(A), K).embedding.Z
    B = np.random.default_rng(0).standard_normal((K, 5))
    R = np.linalg.lstsq(U, np.sqrt(deg)[:, None] * Z, rcond=None)[0]  # sqrt(deg) Z = U R
    scores = Z @ np.linalg.solve(R, B)
    agree(record_property, np.sqrt(deg)[:, None] * scores, U @ B, 1e-9, scale=1.0)
    assert np.array_equal(np.argmax(scores, axis=1), np.argmax(U @ B, axis=1))
    assert np.unique(np.argmax(U @ B, axis=1)).size > 2


def test_H2_refuted_scaling_rows_does_not_change_a_fitted_probe(record_property: Record) -> None:
    """Least squares: an invertible right factor leaves predictions alone, a row scaling and an intercept do not"""
    rng = np.random.default_rng(1)
    Z, y = rng.standard_normal((40, 3)) + 0.5, rng.integers(0, 3, 40)
    Y, c = np.eye(3)[y], np.exp(rng.uniform(-2, 2, 40))[:, None]
    R = rng.standard_normal((3, 3)) + 2 * np.eye(3)
    fitted = least_squares(Z, Y)
    agree(record_property, least_squares(Z @ R, Y), fitted, 1e-10, scale=1.0)
    scaled = np.mean(np.argmax(least_squares(c * Z, Y), axis=1) != np.argmax(fitted, axis=1))
    # a classifier with an intercept, given and not fitted
    W, offset = rng.standard_normal((3, 3)), np.array([1.0, -1.0, 0.0])
    moved = np.mean(np.argmax(c * Z @ W + offset, axis=1) != np.argmax(Z @ W + offset, axis=1))
    record_property(
        "counterexample",
        f"predictions that rows scaled by c change: {scaled:.0%} of a least-squares fit, {moved:.0%} with an intercept",
    )
    assert scaled > 0.05
    assert moved > 0.05


# --- H3 ---------------------------------------------------------------------------------------------------------------


def both_sides(Z: np.ndarray, A: np.ndarray, b: float) -> tuple[float, float]:
    """|C - I|^2 + b E|z - z+|^2 and the contrastive side, pair by pair."""
    (N, K), s = Z.shape, A.sum()
    p = A.sum(axis=1) / s
    C = sum(p[i] * np.outer(Z[i], Z[i]) for i in range(N))
    pairs = [(i, j) for i in range(N) for j in range(N)]
    left = ((C - np.eye(K)) ** 2).sum() + b * sum(A[i, j] / s * ((Z[i] - Z[j]) ** 2).sum() for i, j in pairs)
    right = sum(p[i] * p[j] * (Z[i] @ Z[j]) ** 2 for i, j in pairs)
    right -= 2 * b * sum(A[i, j] / s * (Z[i] @ Z[j]) for i, j in pairs)
    right += 2 * (b - 1) * sum(p[i] * (Z[i] @ Z[i]) for i in range(N)) + K
    return float(left), float(right)


@pytest.mark.parametrize("b", [0.0, 0.3, 1.0, 2.5, -1.0])
def test_H3_uncentred_vicreg_is_a_contrastive_loss(b: float, record_property: Record) -> None:
    """|C - I|^2 + b E|z - z+|^2 = E(z'z-)^2 - 2b E z'z+ + 2(b - 1) E|z|^2 + K, each side by loops over pairs"""
    for N, K in ((7, 3), (5, 8), (9, 1)):
        A = random_graph(N, N)
        Z = np.random.default_rng(K).standard_normal((N, K)) + 0.3
        left, right = both_sides(Z, A, b)
        found = uncentred_identity(Z, ss.Graph.from_adjacency(A), b)
        agree(record_property, [found.non_contrastive, found.contrastive, right], left, EXACT)
        assert found.residual < EXACT
        # no term stands for another
        assert found.spread == pytest.approx(both_sides(Z, A, 0.0)[0])
        assert found.weight == b
        assert found.n_components == K


def test_H3_at_weight_1_it_is_the_spectral_contrastive_loss(record_property: Record) -> None:
    """b = 1: SCL + K; the term in |z|^2, the only other difference, is gone"""
    A = random_graph(3, 8)
    Z = np.random.default_rng(0).standard_normal((8, 4))
    graph = ss.Graph.from_adjacency(A)
    found = uncentred_identity(Z, graph)
    p, S = A.sum(axis=1) / A.sum(), Z @ Z.T
    loss = -2 * (A * S).sum() / A.sum() + p @ S**2 @ p
    agree(record_property, [found.non_contrastive - 4, found.contrastive - 4], loss, EXACT)
    agree(record_property, float(ss.SpectralContrastive().loss(Z, graph)) + 4, found.non_contrastive, EXACT)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 6), st.floats(-3, 3))
def test_the_uncentred_identity_holds_for_groups_without_expanding_them(seed: int, N: int, K: int, b: float) -> None:
    rng = np.random.default_rng(seed)
    codes = np.arange(N) % 2
    graph = ss.Graph.from_groups(codes, weight=rng.random(2) + 0.1, diagonal=True)
    Z = rng.standard_normal((N, K))
    left, right = both_sides(Z, graph.to_csr().toarray(), b)
    found = uncentred_identity(Z, graph, b)
    assert found.non_contrastive == pytest.approx(left, abs=1e-9)
    assert found.contrastive == pytest.approx(right, abs=1e-9)


def test_H3_refuses_what_is_no_embedding_or_weight(record_property: Record) -> None:
    """Z (N, K) of finite numbers, a finite weight; the zero embedding has both sides K"""
    graph = ss.Graph.from_adjacency(random_graph(3, 8))
    for Z in (np.zeros(8), np.zeros((7, 2)), np.zeros((8, 0)), np.full((8, 2), np.nan)):
        with pytest.raises(ss.DataError, match="Z "):
            uncentred_identity(Z, graph)
    for b in (np.nan, np.inf, "1", True):
        with pytest.raises(ss.DataError, match="weight"):
            uncentred_identity(np.zeros((8, 2)), graph, b)  # type: ignore[arg-type]
    zero = uncentred_identity(np.zeros((8, 3)), graph, 2.0)
    agree(record_property, [zero.non_contrastive, zero.contrastive], 3.0, EXACT)
