"""The classical methods by their own names: eigenmaps, LPP, LDA, PCA, MDS (S4) and MDS on geodesics, Isomap (S5).

The witnesses are scikit-learn, networkx, scipy's dense generalised eigensolver, and scipy's L-BFGS on losses written
from their definitions (naive.py). Subspaces are compared, nested ones where the order of the columns is claimed too.

Z (N, K), W (D, K), A (N, N), L = diag(deg) - A, s = sum(deg), H = I - 11'/N.
"""

import warnings

import naive
import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.csgraph
import sklearn.manifold
import torch
from measure import agree, nested_sine, same_span, sine
from sklearn.datasets import load_iris, load_wine, make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import kneighbors_graph

import spectral_ssl as ss

EXACT = 1e-10  # dense float64 algebra on both sides: 1e-14 times condition numbers below 1e3
ROUNDING = 1e-8  # sines and eigenvalues behind a Cholesky or whitening step, with gaps of a few per cent
ARPACK = 1e-6  # scikit-learn's eigenmaps by shift-invert, on gaps down to 1e-3
TRAINED = 1e-8  # loss: L-BFGS stops at |grad| of about 1e-7, and the excess is its square over the curvature
DIFFERENT = 0.05  # what a counterexample must exceed


def close(found, expected, tol):
    """Every entry within tol (1 + |expected|)."""
    np.testing.assert_allclose(found, expected, rtol=tol, atol=tol)


def centred(X):
    return X - X.mean(axis=0)


def laplacian(A):
    return np.diag(A.sum(axis=1)) - A


def irregular(N, seed, density=0.4):
    """A random connected weighted graph: degrees differ by a factor of 2 or more."""
    rng = np.random.default_rng(seed)
    A = np.triu(rng.uniform(0.1, 2.0, (N, N)) * (rng.random((N, N)) < density), 1)
    A = A + A.T
    degree = A.sum(axis=1)
    assert nx.is_connected(nx.from_numpy_array(A))
    assert degree.max() > 2 * degree.min()
    return A


def neighbour_graph(seed=0, N=60):
    """A connected kNN graph of a cloud, with its dense adjacency from scikit-learn's neighbours."""
    X = np.random.default_rng(seed).standard_normal((N, 3)) * [3.0, 1.5, 0.5]
    directed = kneighbors_graph(X, 6).toarray()
    A = np.maximum(directed, directed.T)
    assert nx.is_connected(nx.from_numpy_array(A))
    graph = ss.relations.knn(ss.Dataset(name="cloud", X=X), n_neighbors=6)
    assert np.array_equal(graph.to_csr().toarray(), A)
    return graph, A


# --- Laplacian Eigenmaps --------------------------------------------------------------------------------------------


def eigenmaps(A, K, normalization):
    """Values and scaled vectors of the three forms by scipy, on a connected graph: one constant to drop."""
    N, d = A.shape[0], A.sum(axis=1)
    root = np.sqrt(d)
    if normalization == "none":
        values, V = scipy.linalg.eigh(laplacian(A))
        scale = np.sqrt(N)
    elif normalization == "random_walk":
        values, V = scipy.linalg.eigh(laplacian(A), np.diag(d))
        scale = np.sqrt(d.sum())
    else:
        values, V = scipy.linalg.eigh(laplacian(A) / np.outer(root, root))
        scale = np.sqrt(d.sum())
    assert values[1] > 1e-3
    return values[1 : K + 2], scale * V[:, 1 : K + 1]


@pytest.mark.parametrize("normalization", ["none", "random_walk", "symmetric"])
@pytest.mark.parametrize("A", [irregular(25, 0), irregular(25, 1) + np.eye(25)], ids=["plain", "self-pairs"])
def test_laplacian_eigenmaps_constraint_scale_and_vectors(A, normalization):
    K, N, d = 4, 25, A.sum(axis=1)
    found = ss.laplacian_eigenmaps(ss.Graph.from_adjacency(A), K, normalization=normalization)
    values, V = eigenmaps(A, K, normalization)
    Z, s = found.Z, d.sum()
    close(found.spectrum[: K + 1], values, ROUNDING)
    assert nested_sine(Z, V) < ROUNDING
    if normalization == "none":
        close(Z.T @ Z, N * np.eye(K), N * EXACT)
        close(np.ones(N) @ Z, np.zeros(K), N * EXACT)
        close(laplacian(A) @ Z, Z * values[:K], EXACT)
        close(np.trace(Z.T @ laplacian(A) @ Z), N * values[:K].sum(), EXACT)
    elif normalization == "random_walk":
        close(Z.T @ (d[:, None] * Z), s * np.eye(K), s * EXACT)
        close(d @ Z, np.zeros(K), s * EXACT)
        close(laplacian(A) @ Z, d[:, None] * Z * values[:K], EXACT)
        close(np.trace(Z.T @ laplacian(A) @ Z), s * values[:K].sum(), EXACT)
    else:
        close(Z.T @ Z, s * np.eye(K), s * EXACT)
        close(np.sqrt(d) @ Z, np.zeros(K), s * EXACT)
        close(laplacian(A) / np.sqrt(np.outer(d, d)) @ Z, Z * values[:K], EXACT)
    assert found.rank == K
    assert found.gap == pytest.approx((values[K] - values[K - 1]) / np.abs(found.spectrum).max(), rel=1e-6)


def test_laplacian_eigenmaps_of_disconnected_graphs_begin_with_contrasts_between_components():
    A = scipy.linalg.block_diag(irregular(9, 2), irregular(14, 3), irregular(8, 4))
    part = np.repeat([0, 1, 2], [9, 14, 8])
    lam = np.sort(
        np.concatenate([np.linalg.eigvalsh(laplacian(A[np.ix_(part == c, part == c)]))[1:] for c in range(3)])
    )
    found = ss.laplacian_eigenmaps(ss.Graph.from_adjacency(A), 4)
    close(found.spectrum[:5], [0, 0, *lam[:3]], EXACT)
    indicators = np.eye(3)[part]
    assert sine(found.Z[:, :2], centred(indicators)[:, :2]) < ROUNDING
    close(found.Z.T @ found.Z, 31 * np.eye(4), 31 * EXACT)
    close(found.Z.mean(axis=0), np.zeros(4), EXACT)
    close(laplacian(A) @ found.Z, found.Z * found.spectrum[:4], EXACT)


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric"])
def test_laplacian_eigenmaps_normalised_forms_leave_isolated_samples_at_zero(normalization):
    A = irregular(15, 5)
    alone = scipy.linalg.block_diag(A, np.zeros((2, 2)))
    found = ss.laplacian_eigenmaps(ss.Graph.from_adjacency(alone), 3, normalization=normalization)
    assert np.all(found.Z[15:] == 0)
    values, V = eigenmaps(A, 3, normalization)
    close(found.spectrum[:4], values, ROUNDING)
    assert nested_sine(found.Z[:15], V) < ROUNDING


def test_laplacian_eigenmaps_parity_with_scikit_learn_spectral_embedding():
    graph, A = neighbour_graph()
    K = 3
    assert graph.diagnose().n_components == 1
    rounds = {}
    for normalization in ("none", "random_walk", "symmetric"):
        found = ss.laplacian_eigenmaps(graph, K, normalization=normalization)
        assert found.gap > 1e-3
        rounds[normalization] = found.Z
    theirs = sklearn.manifold.SpectralEmbedding(K, affinity="precomputed", random_state=0).fit_transform(A)
    assert nested_sine(rounds["random_walk"], theirs) < ARPACK
    theirs = sklearn.manifold.spectral_embedding(A, n_components=K, norm_laplacian=False, random_state=0)
    assert nested_sine(rounds["none"], theirs) < ARPACK
    assert min(sine(rounds["none"], rounds[other]) for other in ("random_walk", "symmetric")) > 1e-2


def test_laplacian_parity_with_networkx():
    for g in (
        nx.karate_club_graph(),
        nx.barbell_graph(5, 3),
        nx.path_graph(9),
        nx.connected_watts_strogatz_graph(20, 4, 0.3, seed=1),
    ):
        graph = ss.Graph.from_networkx(g)
        N = graph.n_samples
        L = nx.laplacian_matrix(g).toarray()  # weights where there are any
        close(graph.laplacian_matmul(np.eye(N)), L, EXACT)
        assert np.array_equal(nx.to_numpy_array(graph.to_networkx()), nx.to_numpy_array(g))
        spectrum = ss.Spectra(graph).of("laplacian", N - 1)
        close(spectrum.values, np.sort(nx.laplacian_spectrum(g))[1:], ROUNDING)
        normalised = np.sort(np.linalg.eigvalsh(nx.normalized_laplacian_matrix(g).toarray()))
        found = ss.laplacian_eigenmaps(graph, N - 1, normalization="symmetric")
        close(found.spectrum, normalised[1:], ROUNDING)
        S = nx.normalized_laplacian_matrix(g).toarray()
        close(S @ found.Z, found.Z * found.spectrum, 10 * EXACT)
        found = ss.laplacian_eigenmaps(graph, 1)
        fiedler = nx.fiedler_vector(g, method="tracemin_lu", tol=1e-12, seed=0)
        if found.gap > 1e-3:
            assert sine(found.Z, fiedler[:, None]) < ARPACK


# --- LPP ------------------------------------------------------------------------------------------------------------


def test_lpp_is_the_generalised_eigenproblem_of_laplacian_and_scatter():
    graph, A = neighbour_graph(1)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 5)) + 10.0
    K = 3
    found = ss.lpp(X, graph, K)
    scatter = centred(X).T @ centred(X)
    mu, V = scipy.linalg.eigh(X.T @ laplacian(A) @ X, scatter)
    close(found.spectrum, mu, ROUNDING)
    assert nested_sine(found.W, V[:, :K]) < ROUNDING
    close(found.W.T @ scatter @ found.W, 60 * np.eye(K), 60 * EXACT)
    close(found.Z, centred(X) @ found.W, ROUNDING)
    new = rng.standard_normal((4, 5))
    close(found.transform(new), (new - X.mean(axis=0)) @ found.W, ROUNDING)
    # W minimises tr(Z'LZ) under the constraint: the value is N times the sum of mu
    close(np.trace(found.Z.T @ laplacian(A) @ found.Z), 60 * mu[:K].sum(), ROUNDING)
    # affine maps of the data change nothing but W
    M = rng.standard_normal((5, 5))
    close(ss.lpp(X @ M + 3.0, graph, K).spectrum, mu, ROUNDING)
    assert sine(ss.lpp(X @ M + 3.0, graph, K).Z, found.Z) < ROUNDING


def test_lpp_on_all_features_is_laplacian_eigenmaps():
    graph, _ = neighbour_graph(2)
    found, free = ss.lpp(np.eye(60), graph, 4), ss.laplacian_eigenmaps(graph, 4)
    close(found.spectrum[:5], free.spectrum[:5], ROUNDING)
    assert nested_sine(found.Z, free.Z) < ROUNDING


def test_lpp_is_he_and_niyogi_on_a_regular_graph_of_centred_data_and_else_is_not():
    """X'LX w = mu X'DX w: equal where D = dI AND X'1 = 0; COUNTEREXAMPLES where one of the two fails."""
    N, K = 40, 2
    rng = np.random.default_rng(0)
    ring = np.zeros((N, N))
    ring[np.arange(N), np.roll(np.arange(N), 1)] = 1
    X = rng.standard_normal((N, 4)) + 0.8 * np.cumsum(rng.standard_normal((N, 4)), axis=0)

    def he_niyogi(X, A):
        D = np.diag(A.sum(axis=1))
        mu, V = scipy.linalg.eigh(X.T @ laplacian(A) @ X, X.T @ D @ X)
        return mu, V[:, :K]

    regular, uneven = ring + ring.T, irregular(N, 6)
    found = ss.lpp(X, ss.Graph.from_adjacency(regular), K)
    mu, V = he_niyogi(centred(X), regular)
    assert nested_sine(found.W, V) < ROUNDING
    close(found.spectrum / 2, mu, ROUNDING)  # d = 2
    assert sine(found.W, he_niyogi(X + 2.0, regular)[1]) > DIFFERENT
    found = ss.lpp(X, ss.Graph.from_adjacency(uneven), K)
    assert sine(found.W, he_niyogi(centred(X), uneven)[1]) > 1e-3


# --- LDA ------------------------------------------------------------------------------------------------------------


def uneven_classes(sizes, D, seed):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    means, spread = 2 * rng.standard_normal((len(sizes), D)), np.eye(D) + 0.5 * rng.standard_normal((len(sizes), D, D))
    return means[y] + np.einsum("nd,nde->ne", rng.standard_normal((y.size, D)), spread[y]), y


LABELLED = {
    "iris": load_iris(return_X_y=True),
    "wine": load_wine(return_X_y=True),  # features in units that differ by 10^4
    "uneven": uneven_classes([7, 30, 80, 15], 6, 0),
    "two classes": uneven_classes([9, 60], 5, 1),
}


@pytest.mark.parametrize("name", list(LABELLED))
def test_W4b_lda_parity_with_scikit_learn(name, record_property):
    """Label pairs weighted 1/N_c: LDA as scikit-learn has it, directions, explained variances and scores."""
    X, y = LABELLED[name]
    C, N = np.unique(y).size, y.size
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(X, y)
    found = ss.lda(X, y)
    assert found.n_components == C - 1
    units = X.std(axis=0)[:, None]  # weights per standard deviation: sines in comparable units
    same_span(record_property, units * found.W, units * theirs.scalings_[:, : C - 1], ROUNDING, nested=True)
    # mu = S_w / S_t, theirs S_b / S_w = (1 - mu) / mu, as shares
    ratio = (1 - found.spectrum[: C - 1]) / found.spectrum[: C - 1]
    agree(record_property, ratio / ratio.sum(), theirs.explained_variance_ratio_, ROUNDING, scale=1.0)
    close(found.spectrum[C - 1 :], np.ones(found.spectrum.size - (C - 1)), EXACT)  # no class separates the rest
    close(found.W.T @ centred(X).T @ centred(X) @ found.W, N * np.eye(C - 1), N * EXACT)
    # new rows: each discriminant coordinate up to its scale and origin, which scikit-learn leaves where X has it
    new = X[:5] + 0.1 * units.T
    both = np.stack([centred(found.transform(new)), centred(theirs.transform(new))])
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    close(np.abs(np.einsum("nk,nk->k", *both)), np.ones(C - 1), ROUNDING)
    # fewer components are the first of them
    same_span(record_property, units * ss.lda(X, y, 1).W, units * theirs.scalings_[:, :1], ROUNDING)


# --- PCA ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("N", "D", "K"), [(50, 6, 4), (50, 6, 6), (8, 20, 7)])
def test_pca_parity_with_scikit_learn(N, D, K):
    rng = np.random.default_rng(N + K)
    X = rng.standard_normal((N, D)) * np.geomspace(5, 0.2, D) @ np.linalg.qr(rng.standard_normal((D, D)))[0] + 3.0
    before = X.copy()
    found, theirs = ss.pca(X, K), PCA(K, svd_solver="full").fit(X)
    assert np.array_equal(X, before)
    close(found.spectrum[:K], theirs.explained_variance_ * (N - 1) / N, EXACT)
    close(found.W.T @ found.W, np.eye(K), EXACT)
    assert found.gap > 1e-3
    assert nested_sine(found.W, theirs.components_.T) < ROUNDING
    scores = theirs.transform(X)
    close(found.Z @ found.Z.T, scores @ scores.T, ROUNDING)
    new = rng.standard_normal((3, D))
    close(found.transform(new) @ found.Z.T, theirs.transform(new) @ scores.T, ROUNDING)
    assert found.rank == K


def test_pca_knows_the_rank_of_the_data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 5)) + 1.0
    with pytest.warns(ss.SpectralWarning, match="X has 2 independent directions: the last 2 columns are zero"):
        found = ss.pca(X, 4)
    assert found.rank == 2
    assert not found.Z[:, 2:].any()
    close(found.W.T @ found.W, np.diag([1.0, 1.0, 0.0, 0.0]), EXACT)


# --- classical MDS and Isomap ---------------------------------------------------------------------------------------


def double_centred(D):
    """-H D2 H / 2, by a plain double loop over its definition."""
    N, D2 = D.shape[0], D**2
    rows, total = D2.mean(axis=1), D2.mean()
    return np.array([[-(D2[i, j] - rows[i] - rows[j] + total) / 2 for j in range(N)] for i in range(N)])


def test_S4_classical_mds_of_euclidean_distances_is_pca(record_property):
    """Classical MDS of Euclidean distances is PCA, and gives the distances back where no dimension is left out."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((25, 4)) * [3.0, 2.0, 1.0, 0.5] + 7.0
    D, K = pairwise_distances(X), 3
    found, theirs = ss.classical_mds(D, K), PCA(4).fit(X)
    scores = theirs.transform(X)
    same_span(record_property, found.Z, scores[:, :K], ROUNDING, nested=True)
    close(found.Z @ found.Z.T, scores[:, :K] @ scores[:, :K].T, ROUNDING)
    agree(record_property, found.spectrum[:4], theirs.explained_variance_ * 24, ROUNDING)
    close(found.spectrum[4:], np.zeros(21), ROUNDING)
    full = ss.classical_mds(D, 4)
    close(pairwise_distances(full.Z), D, ROUNDING)  # all the dimensions there are: the distances come back
    assert full.rank == 4


@pytest.mark.skipif(not hasattr(sklearn.manifold, "ClassicalMDS"), reason="this scikit-learn has no classical MDS")
def test_S4_classical_mds_parity_with_scikit_learn(record_property):
    """Classical MDS of non-Euclidean distances as scikit-learn has it."""
    X = np.random.default_rng(1).standard_normal((30, 5)) * [3.0, 2.2, 1.5, 1.0, 0.7]
    D = pairwise_distances(X, metric="cityblock")  # no Euclidean distance, though its first eigenvalues are positive
    theirs = sklearn.manifold.ClassicalMDS(3, metric="precomputed").fit(D)
    found = ss.classical_mds(D, 3)
    agree(record_property, found.spectrum[:3], theirs.eigenvalues_, ROUNDING)
    close(found.Z @ found.Z.T, theirs.embedding_ @ theirs.embedding_.T, ROUNDING)
    same_span(record_property, found.Z, theirs.embedding_, ROUNDING, nested=True)
    assert found.spectrum[-1] < -1e-3


def test_S4_classical_mds_is_the_frobenius_minimum_and_reports_negative_eigenvalues(record_property):
    """Classical MDS is Frobenius SimCLR of G = -H D2 H / 2: min |ZZ' - G|^2 = sum g^2 - sum_{k<=K} max(0, g_k)^2."""
    N, K = 12, 3
    X = np.random.default_rng(2).standard_normal((N, 3))
    D = pairwise_distances(X) ** 2  # squared distances are far from any metric of a Euclidean space
    G = double_centred(D)
    g = np.linalg.eigvalsh(G)[::-1]
    found = ss.classical_mds(D, K)
    agree(record_property, found.spectrum, g, ROUNDING, scale=1 + np.abs(g))
    assert found.spectrum[-1] < -1
    minimum = (g**2).sum() - (np.maximum(g[:K], 0) ** 2).sum()
    agree(record_property, naive.value(naive.frobenius_simclr, found.Z, G), minimum, EXACT)
    reached, Z = naive.minimise(lambda Z: naive.frobenius_simclr(Z, torch.as_tensor(G)), (N, K))
    agree(record_property, reached, minimum, TRAINED)
    close(Z @ Z.T, found.Z @ found.Z.T, 1e-5)
    # columns past the positive eigenvalues are zero, with a warning, and never NaN
    positive = int(np.count_nonzero(g > 1e-9 * g[0]))
    assert positive < N - 1
    with pytest.warns(ss.SpectralWarning, match=f"only {positive} of {N - 1} dimensions are Euclidean"):
        wide = ss.classical_mds(D, N - 1)
    assert wide.rank == positive
    assert np.all(np.isfinite(wide.Z))
    assert np.all(wide.Z[:, positive:] == 0)
    values, U = np.linalg.eigh(G)
    close(wide.Z @ wide.Z.T, (U * np.maximum(values, 0)) @ U.T, ROUNDING)


def test_S4_identical_samples_have_no_dimension_at_all(record_property):
    """Distances of zero have no dimension: rank 0, all of Z zero, and a warning."""
    with pytest.warns(ss.SpectralWarning, match="only 0 of 2 dimensions"):
        found = ss.classical_mds(np.zeros((5, 5)), 2)
    assert found.rank == 0
    agree(record_property, found.Z, 0.0, 0.0, scale=1.0)


@pytest.mark.parametrize(("k", "K"), [(8, 2), (10, 3)])
def test_S5_classical_mds_of_geodesics_is_isomap(k, K, record_property):
    """Classical MDS of geodesic distances is scikit-learn's Isomap."""
    X = make_swiss_roll(200, noise=0.05, random_state=3)[0]
    neighbours = kneighbors_graph(X, k, mode="distance")
    geodesic = scipy.sparse.csgraph.shortest_path(neighbours, directed=False)
    assert np.all(np.isfinite(geodesic))
    theirs = sklearn.manifold.Isomap(n_neighbors=k, n_components=K, eigen_solver="dense").fit(X)
    found = ss.classical_mds(geodesic, K)
    close(geodesic, theirs.dist_matrix_, EXACT)
    size = found.spectrum[0]
    agree(record_property, found.spectrum[:K] / size, theirs.kernel_pca_.eigenvalues_ / size, 1e-9, scale=1.0)
    assert found.gap > 1e-3
    close(found.Z @ found.Z.T / size, theirs.embedding_ @ theirs.embedding_.T / size, 1e-9)
    same_span(record_property, found.Z, theirs.embedding_, 1e-9, nested=True)
    # geodesics are no Euclidean distances: the spectrum says so
    assert found.spectrum[-1] < -1e-3 * size


def test_S5_distances_across_components_are_refused(record_property):
    """Geodesics exist within a component only: infinite distances are refused, and finite ones are not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        geodesic = np.where(np.kron(np.eye(2), np.ones((3, 3))), 1.0, np.inf) - np.eye(6)
        with pytest.raises(ss.DataError, match="join the components"):
            ss.classical_mds(geodesic, 2)
    inside = ss.classical_mds(geodesic[:3, :3], 2)  # an equilateral triangle of side 1
    agree(record_property, inside.spectrum[:2], 0.5, EXACT)
