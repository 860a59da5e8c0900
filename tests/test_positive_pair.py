"""The positive-pair kernel, PMI and its principal components, against dense algebra and scikit-learn."""

import math

import numpy as np
import pytest
import scipy.linalg
from measure import agree, relative, same_span, sine
from sklearn.decomposition import KernelPCA

import spectral_ssl as ss
from spectral_ssl import positive_pair
from spectral_ssl.positive_pair import pmi, positive_pair_kernel, positive_pair_pca

EXACT = 1e-12  # the same few products in another order
ROUNDING = 1e-9  # two dense eigensolvers on matrices of order 14, gaps above 1e-2
N = 14


def positive(seed: int = 0, *, loops: bool = True) -> np.ndarray:
    """Positive on every pair, unequal degrees; with self-pairs strong enough that every eigenvalue is positive."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 3, (N, 2))
    A = np.exp(-((points[:, None] - points[None]) ** 2).sum(axis=2)) * np.outer(*[rng.uniform(0.5, 2, N)] * 2)
    return A if loops else A - np.diag(np.diag(A))


def circulant(seed: int = 0) -> np.ndarray:
    """A regular graph with self-pairs: A_ij = c(|i - j|), c(k) = c(N - k)."""
    c = np.random.default_rng(seed).uniform(0.1, 1.0, N)
    return scipy.linalg.toeplitz(c + np.roll(c[::-1], 1)) + 2 * np.eye(N)


def chance(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """K_+ from frequencies of pairs, entry by entry, and p."""
    w = A / A.sum()
    p = w.sum(axis=1)
    K = np.zeros_like(A)
    for i in range(len(A)):
        for j in range(len(A)):
            K[i, j] = w[i, j] / (p[i] * p[j])
    return K, p


def test_S6b_the_positive_pair_kernel_says_how_much_likelier_than_chance_a_pair_is(record_property) -> None:
    """K_+(i, j) = w_ij / (p_i p_j), and its eigenfunctions under p are those of the chain P with the values a_k."""
    A = positive()
    K, p = chance(A)
    found = positive_pair_kernel(ss.Graph.from_adjacency(A))
    agree(record_property, found, K, EXACT)
    assert relative(found @ p, 1.0) < EXACT  # an average of 1 against p
    # the operator f -> E_p[K_+(i, .) f] is one step of the chain
    assert relative(found * p, A / A.sum(axis=1, keepdims=True)) < EXACT


def test_the_kernel_counts_groups_and_edges_alike() -> None:
    codes = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    graph = ss.Graph.from_groups(codes, weight=[1.0, 0.5, 2.0], diagonal=True)
    assert relative(positive_pair_kernel(graph), chance(graph.to_csr().toarray())[0]) < EXACT


def test_pmi_is_the_logarithm_of_the_kernel_and_refuses_zeros_in_words() -> None:
    A = positive()
    assert relative(pmi(ss.Graph.from_adjacency(A)), np.log(chance(A)[0]), scale=1.0) < EXACT
    bare = ss.Graph.from_adjacency(positive(loops=False))
    with pytest.raises(ss.DataError, match=r"14 samples have no self-pair.*self_pairs=False"):
        pmi(bare)
    K = chance(positive(loops=False))[0]
    off = ~np.eye(N, dtype=bool)
    found = pmi(bare, self_pairs=False)
    assert relative(found[off], np.log(K[off]), scale=1.0) < EXACT
    assert np.all(np.diag(found) == 0)
    A[2, 5] = A[5, 2] = A[0, 1] = A[1, 0] = 0.0
    for self_pairs in (True, False):
        with pytest.raises(ss.DataError, match=r"2 of the 91 pairs have weight zero.*plus"):
            pmi(ss.Graph.from_adjacency(A), self_pairs=self_pairs)
    alone = positive(loops=False)
    alone[3, :] = alone[:, 3] = 0.0
    with pytest.raises(ss.DataError, match="13 of the 91 pairs"):
        pmi(ss.Graph.from_adjacency(alone), self_pairs=False)


@pytest.mark.parametrize("K", [1, 3, 6])
def test_S6b_kernel_pca_of_the_positive_pairs_is_the_chain_off_its_constant(K: int, record_property) -> None:
    """Kernel PCA of K_+ under p = eigenfunctions of P off the constant, times sqrt(a_k)."""
    A = positive()
    kernel, p = chance(A)
    root = np.sqrt(p)
    a, U = scipy.linalg.eigh(root[:, None] * kernel * root - np.outer(root, root))  # the constant taken out of K_+
    a, U = a[::-1], U[:, ::-1]
    assert a[K - 1] - a[K] > 1e-2 * a[0], "the gap is open"
    found = positive_pair_pca(ss.Graph.from_adjacency(A), K)
    f = U[:, :K] / root[:, None] * np.sqrt(a[:K])
    agree(record_property, found.Z @ found.Z.T, f @ f.T, ROUNDING, scale=(f**2).sum(axis=1).max())
    same_span(record_property, found.Z, f, ROUNDING, nested=True)
    agree(record_property, found.spectrum[:K], a[:K], ROUNDING)
    # the chain itself, by a solver for matrices without symmetry; its eigenvalue 1 is the constant
    steps, functions = scipy.linalg.eig(A / A.sum(axis=1, keepdims=True))
    order = np.argsort(-steps.real)
    assert steps.real[order[0]] == pytest.approx(1.0)
    same_span(record_property, found.Z, functions[:, order[1 : K + 1]].real, ROUNDING)
    assert relative(found.Z.T @ (p[:, None] * found.Z), np.diag(a[:K]), scale=a[0]) < ROUNDING
    assert np.abs(p @ found.Z).max() < ROUNDING
    assert found.rank == K


def test_kernel_pca_of_the_positive_pairs_is_scikit_learns_on_a_regular_graph(record_property) -> None:
    A, K = circulant(), 5  # eigenvalues in pairs: 5 keeps two whole ones and the single one at frequency N / 2, or 2.5
    values = np.sort(np.linalg.eigvalsh(A))[::-1][1:] / A.sum(axis=1)[0]
    while values[K - 1] - values[K] < 1e-3:
        K += 1
    theirs = KernelPCA(K, kernel="precomputed", eigen_solver="dense").fit(chance(A)[0])
    scores = theirs.transform(chance(A)[0])
    found = positive_pair_pca(ss.Graph.from_adjacency(A), K)
    agree(record_property, found.Z @ found.Z.T, scores @ scores.T, ROUNDING, scale=(scores**2).sum(axis=1).max())
    agree(record_property, found.spectrum[:K], theirs.eigenvalues_ / N, ROUNDING)
    same_span(record_property, found.Z, scores, ROUNDING)


def test_on_an_irregular_graph_scikit_learns_unweighted_centring_is_another_subspace() -> None:
    A, K = positive(), 3
    scores = KernelPCA(K, kernel="precomputed", eigen_solver="dense").fit_transform(chance(A)[0])
    found = positive_pair_pca(ss.Graph.from_adjacency(A), K)
    assert sine(np.hstack([scores, np.ones((N, 1))]), np.hstack([found.Z, np.ones((N, 1))])) > 0.05


def test_it_is_the_spectral_contrastive_optimum_less_its_constant() -> None:
    graph, K = ss.Graph.from_adjacency(positive(2)), 4
    best = ss.optimum(ss.SpectralContrastive(), graph, K + 1)
    gram = positive_pair_pca(graph, K).Z
    assert relative(gram @ gram.T + 1, best.embedding.Z @ best.embedding.Z.T, scale=1.0) < ROUNDING


def test_linear_maps_solve_the_compressed_pencil_and_embed_new_samples(record_property) -> None:
    A, K = positive(1), 2
    X = np.random.default_rng(4).standard_normal((N, 4)) + 0.7
    deg = A.sum(axis=1)
    Xc = X - deg @ X / deg.sum()
    a, b = scipy.linalg.eigh(Xc.T @ A @ Xc, Xc.T @ (deg[:, None] * Xc))
    a, b = a[::-1], b[:, ::-1]
    assert a[K - 1] > 0
    assert a[K - 1] - a[K] > 1e-2
    found = positive_pair_pca(ss.Graph.from_adjacency(A), K, X=X)
    scores = Xc @ b[:, :K] * np.sqrt(deg.sum() * a[:K])
    agree(record_property, found.Z @ found.Z.T, scores @ scores.T, ROUNDING, scale=(scores**2).sum(axis=1).max())
    agree(record_property, found.spectrum, a, ROUNDING)
    assert found.W is not None
    assert relative(found.transform(X), found.Z, scale=1.0) < ROUNDING
    new = np.random.default_rng(5).standard_normal((3, 4))
    expected = (new - deg @ X / deg.sum()) @ b[:, :K] * np.sqrt(deg.sum() * a[:K])
    assert relative(found.transform(new) @ found.Z.T, expected @ scores.T, scale=1.0) < ROUNDING
    shared = positive_pair_pca(ss.Spectra(ss.Graph.from_adjacency(A), X=X), K)
    assert np.array_equal(shared.Z, found.Z)


def test_a_kernel_of_full_rank_is_as_free_as_the_free_model() -> None:
    graph, X = ss.Graph.from_adjacency(positive(1)), np.random.default_rng(4).standard_normal((N, 4))
    free = positive_pair_pca(graph, 3)
    found = positive_pair_pca(ss.Spectra(graph, X=X, kernel="exact"), 3)
    assert relative(found.Z @ found.Z.T, free.Z @ free.Z.T, scale=1.0) < 1e-6  # of a kernel matrix of condition 1e4
    assert relative(found.transform(X), found.Z, scale=1.0) < 1e-6


def test_a_free_embedding_extends_where_the_relation_does() -> None:
    points = np.random.default_rng(0).standard_normal((40, 2))
    graph = ss.relations.knn(ss.Dataset(name="points", X=points), n_neighbors=6)
    found = positive_pair_pca(graph, 2)
    if graph.attach is None:
        pytest.skip("this relation has no rule for new samples")
    assert relative(found.transform(points), found.Z, scale=1.0) < ROUNDING


def test_components_that_are_not_positive_are_zero_with_a_warning() -> None:
    A = 1.0 - np.eye(8)  # complete: a = -1/7 off the constant, seven times
    with pytest.warns(ss.SpectralWarning, match="only 0 of 3 eigenvalues"):
        found = positive_pair_pca(ss.Graph.from_adjacency(A), 3)
    assert np.all(found.Z == 0)
    assert found.rank == 0
    assert relative(found.spectrum[:3], -1 / 7) < ROUNDING
    path = np.diag(np.ones(5), 1) + np.diag(np.ones(5), -1)
    a = np.sort(np.linalg.eigvals(path / path.sum(axis=1, keepdims=True)).real)[::-1][1:]
    positive_ones = int((a > 1e-9).sum())
    with pytest.warns(ss.SpectralWarning, match=f"only {positive_ones} of 5"):
        found = positive_pair_pca(ss.Graph.from_adjacency(path), 5)
    assert found.rank == positive_ones == np.linalg.matrix_rank(found.Z)
    assert relative(found.spectrum, a, scale=1.0) < ROUNDING
    assert np.all(np.isfinite(found.Z))


def test_samples_without_a_pair_have_zero_rows_with_a_warning() -> None:
    A = positive()
    A[3, :] = A[:, 3] = 0.0
    graph = ss.Graph.from_adjacency(A)
    rest = np.arange(N) != 3
    with pytest.warns(ss.SpectralWarning, match="1 samples have no positive pair"):
        kernel = positive_pair_kernel(graph)
    with pytest.warns(ss.SpectralWarning, match="1 samples have no positive pair"):
        found = positive_pair_pca(graph, 3)
    inner = positive_pair_pca(ss.Graph.from_adjacency(A[np.ix_(rest, rest)]), 3)
    assert np.all(found.Z[3] == 0)
    assert relative(found.Z[rest] @ found.Z[rest].T, inner.Z @ inner.Z.T, scale=1.0) < ROUNDING
    assert np.all(kernel[3] == 0)
    assert np.all(kernel[:, 3] == 0)
    assert relative(kernel[np.ix_(rest, rest)], chance(A[np.ix_(rest, rest)])[0]) < EXACT


def test_impossible_requests_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = ss.Graph.from_adjacency(positive())
    X = np.random.default_rng(0).standard_normal((N, 3))
    for K in (0, -1, 2.5, True, "3"):
        with pytest.raises(ss.DataError, match="positive integer"):
            positive_pair_pca(graph, K)  # type: ignore[arg-type]
    with pytest.raises(ss.DataError, match=r"exceeds 13.*paired samples, less one"):
        positive_pair_pca(graph, N)
    with pytest.raises(ss.DataError, match=r"exceeds 3.*directions"):
        positive_pair_pca(graph, 4, X=X)
    monkeypatch.setattr(positive_pair, "MAX_DENSE", 10)
    for form in (positive_pair_kernel, pmi):
        with pytest.raises(ss.ResourceError, match=r"14 samples.*positive_pair_pca"):
            form(graph)
    assert positive_pair_pca(graph, 2).rank == 2  # which does not form it


def test_extreme_weights_change_nothing() -> None:
    A = positive()
    base = positive_pair_pca(ss.Graph.from_adjacency(A), 3).Z
    for factor in (1e-200, 1e200):
        graph = ss.Graph.from_adjacency(factor * A)
        assert relative(positive_pair_kernel(graph), chance(A)[0]) < EXACT
        Z = positive_pair_pca(graph, 3).Z
        assert relative(Z @ Z.T, base @ base.T, scale=1.0) < ROUNDING
    assert math.isfinite(float(np.abs(base).max()))
