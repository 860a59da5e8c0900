"""VICReg's closed forms, one test per statement: I1, I5, I6 (graphs), Lemma M, V1-V3, V8-V9 (free), W1-W5 (linear).

The witnesses are losses written from their definitions (naive.py), which scipy's L-BFGS minimises from random starts;
numpy and scipy algebra on dense matrices; scikit-learn and networkx.

Z (N, K), W (D, K), A (N, N), L = diag(A 1) - A, H = I - 11'/N; alpha, beta, gamma are variance, covariance and
invariance; lam_k are the eigenvalues of L off the constant, ascending.
"""

import contextlib
import itertools
from collections import Counter

import naive
import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import torch
from measure import agree, same_span, sine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import pairwise_distances

import spectral_ssl as ss
from spectral_ssl import linalg
from spectral_ssl.methods.base import embedding_moments

EXACT = 1e-10  # dense float64 algebra on both sides: 1e-14 times condition numbers below 1e3
ROUNDING = 1e-8  # sines and eigenvalues behind a Cholesky or whitening step, with gaps of a few per cent
TRAINED = 1e-8  # loss: L-BFGS stops at |grad| of about 1e-7, and the excess is its square over the curvature
ANGLE = 1e-5  # sine: the same |grad| over gaps of a few per cent
DIFFERENT = 0.05  # what a counterexample must exceed: orders of magnitude above every tolerance

# --- witnesses ------------------------------------------------------------------------------------------------------


def pair_energy(Z, A):
    """sum_ij A_ij |z_i - z_j|^2."""
    return (torch.as_tensor(A) * ((Z[:, None, :] - Z[None, :, :]) ** 2).sum(dim=2)).sum()


def vicreg(Z, A, gamma, *, alpha=1.0, **options):
    """The squared VICReg loss with equal variance and covariance weights, from its definition."""
    return naive.vicreg(Z, torch.as_tensor(A), gamma=gamma, **{"alpha": alpha, "beta": alpha, **options})


def value(loss, Z, *args, **options):
    return float(loss(torch.as_tensor(np.ascontiguousarray(Z)), *args, **options))


def minimise(loss, shape, *, starts=3):
    """Values (starts,) that scipy's L-BFGS reaches from random starts, each by itself, and the best point."""
    runs = [naive.minimise(loss, shape, seed=seed, starts=1) for seed in range(starts)]
    return np.array([reached for reached, _ in runs]), min(runs, key=lambda run: run[0])[1]


def laplacian(A):
    return np.diag(A.sum(axis=1)) - A


def centring(N):
    return np.eye(N) - 1 / N


def gram(optimum):
    """ZZ' (N, N): the optimum without the rotation it leaves free."""
    return optimum.embedding.Z @ optimum.embedding.Z.T


def close(found, expected, tol):
    """Every entry within tol (1 + |expected|)."""
    np.testing.assert_allclose(found, expected, rtol=tol, atol=tol)


def off_constant(M):
    """Eigenpairs of a symmetric M (N, N) on the complement of 1, ascending."""
    N = M.shape[0]
    Q = scipy.linalg.null_space(np.ones((1, N)))  # (N, N-1)
    values, U = np.linalg.eigh(Q.T @ M @ Q)
    return values, Q @ U


def covariance_spectrum(Z, ddof=0):
    return np.sort(np.linalg.eigvalsh(np.atleast_2d(np.cov(Z.T, ddof=ddof))))[::-1]


# --- graphs ---------------------------------------------------------------------------------------------------------


def irregular(N, seed, density=0.5):
    """A random connected weighted graph: degrees differ by a factor of 2 or more."""
    rng = np.random.default_rng(seed)
    A = np.triu(rng.uniform(0.1, 2.0, (N, N)) * (rng.random((N, N)) < density), 1)
    A = A + A.T
    degree = A.sum(axis=1)
    assert nx.is_connected(nx.from_numpy_array(A))
    assert degree.max() > 2 * degree.min()
    return A


def regular(N, seed, weights=(1.0, 0.4)):
    """A random connected weighted regular graph: a sum of permutation matrices and their transposes."""
    rng = np.random.default_rng(seed)
    A = np.zeros((N, N))
    for w in weights:
        order = rng.permutation(N)
        ring = np.zeros((N, N))
        ring[order, np.roll(order, 1)] = w
        A += ring + ring.T
    assert nx.is_connected(nx.from_numpy_array(A))
    return A


def blocks(*matrices):
    return scipy.linalg.block_diag(*matrices)


def cliques(codes, weight, *, diagonal):
    """A_ij = weight[c] where i and j are both in group c, by a double loop."""
    N = len(codes)
    A = np.zeros((N, N))
    for i, j in itertools.product(range(N), repeat=2):
        if codes[i] == codes[j] >= 0 and (i != j or diagonal):
            A[i, j] = weight[codes[i]]
    return A


GRAPHS = {
    "irregular": irregular(12, 0),
    "regular": regular(12, 1),
    "disconnected": blocks(irregular(6, 2), irregular(5, 3)),
    "isolated sample": blocks(irregular(10, 4), np.zeros((1, 1))),
    "self-pairs": irregular(11, 5) + np.diag(np.linspace(0, 3, 11)),
}
any_graph = pytest.mark.parametrize("A", list(GRAPHS.values()), ids=list(GRAPHS))


def graph_of(A):
    return ss.Graph.from_adjacency(A)


def features(N, D, seed):
    """X (N, D) with unequal spreads, correlated columns and a mean."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, D)) @ (np.eye(D) + 0.4 * rng.standard_normal((D, D))) + rng.standard_normal(D)


# --- section 1: the graph -------------------------------------------------------------------------------------------


@any_graph
def test_I1_dirichlet_identity_and_diagonal_does_not_matter(A, record_property):
    """sum_ij A_ij |z_i - z_j|^2 = 2 tr(Z'LZ), and diag(A) does not matter."""
    N = A.shape[0]
    Z = np.random.default_rng(0).standard_normal((N, 3))
    energy = sum(A[i, j] * np.sum((Z[i] - Z[j]) ** 2) for i in range(N) for j in range(N))
    other = A + np.diag(np.random.default_rng(1).uniform(0.5, 3.0, N))
    for matrix in (A, other):
        graph = graph_of(matrix)
        agree(record_property, 2 * np.trace(Z.T @ graph.laplacian_matmul(Z)), energy, EXACT)
        agree(record_property, 2 * np.trace(ss.Moments.from_arrays(Z, graph).laplacian), energy, EXACT)
        tensor = embedding_moments(torch.as_tensor(Z), graph).laplacian
        agree(record_property, 2 * float(tensor.trace()), energy, EXACT)
    close(graph_of(other).laplacian_matmul(np.eye(N)), laplacian(A), EXACT)
    with_loops, without = (ss.VICReg(invariance=0.1).loss(Z, graph_of(M)).item() for M in (other, A))
    agree(record_property, with_loops, without, EXACT)


def test_I1_the_diagonal_does_matter_to_whatever_weighs_by_A_or_degree(record_property):
    """diag(A) moves the optimum of whatever weighs by A or deg, and not that of VICReg."""
    A = GRAPHS["irregular"]
    other = A + np.diag(np.random.default_rng(1).uniform(0.5, 3.0, 12))
    methods = [
        ss.VICReg(invariance=0.1, weighting="degree"),  # its L is the same, its covariance is not
        ss.FrobeniusSimCLR(),
        ss.SpectralContrastive(),
        ss.BarlowTwins(),
    ]
    for method in methods:
        one, two = (ss.optimum(method, graph_of(M), 2) for M in (A, other))
        assert abs(one.loss - two.loss) > DIFFERENT * abs(one.loss), method
        assert sine(one.embedding.Z, two.embedding.Z) > DIFFERENT, method
    one, two = (ss.optimum(ss.VICReg(invariance=0.02), graph_of(M), 2) for M in (A, other))
    assert one.rank == 2
    same_span(record_property, one.embedding.Z, two.embedding.Z, ROUNDING)


def pair_list_barlow(Z, i, j, redundancy):
    """Barlow Twins as published, on the two batches Z[i] and Z[j]: columns standardised batch by batch."""
    Za, Zb = ((Z[rows] - Z[rows].mean(axis=0)) / Z[rows].std(axis=0) for rows in (i, j))
    C = Za.T @ Zb / len(i)
    K = Z.shape[1]
    return sum((1 - C[k, k]) ** 2 if k == m else redundancy * C[k, m] ** 2 for k in range(K) for m in range(K))


def test_I5_a_pair_list_with_one_row_per_nonzero_in_both_orders_is_the_matrix_form(record_property):
    """Barlow Twins on a list of pairs in both orders is its matrix form in A; one order only is another loss."""
    rng = np.random.default_rng(0)
    N, Z = 14, rng.standard_normal((14, 3)) + rng.standard_normal(3)
    pairs = {(int(min(p)), int(max(p))) for p in rng.integers(0, N, (30, 2))} | {(3, 3)}
    i, j = np.array(sorted(pairs)).T
    A = np.zeros((N, N))
    for a, b in zip(i, j, strict=True):
        A[a, b] = A[b, a] = 1
    graph = ss.Graph.from_pairs(i, j, N)
    assert np.array_equal(graph.to_csr().toarray(), A)
    assert np.array_equal(graph.degree, A.sum(axis=1))
    rows, columns = np.nonzero(A)  # both orders of every pair, a self-pair once
    loss = ss.BarlowTwins(redundancy=0.3).loss(Z, graph).item()
    agree(record_property, loss, pair_list_barlow(Z, rows, columns, 0.3), EXACT)
    assert abs(loss - pair_list_barlow(Z, i, j, 0.3)) > 1e-3 * loss  # one order only is another loss


def test_I5_duplicates_and_weights_add_up_and_networkx_agrees(record_property):
    """Repeated pairs of a list add up in A, and a weight is a number of repetitions."""
    rng = np.random.default_rng(1)
    N, P = 9, 40
    i, j, w = rng.integers(0, N, P), rng.integers(0, N, P), rng.uniform(0, 2, P)
    assert np.any(i == j)
    A = np.zeros((N, N))
    for a, b, weight in zip(i, j, w, strict=True):
        A[a, b] += weight
        A[b, a] += weight * (a != b)
    graph = ss.Graph.from_pairs(i, j, N, w)
    agree(record_property, graph.to_csr().toarray(), A, EXACT)
    g = nx.Graph()
    g.add_nodes_from(range(N))
    for a, b, weight in zip(i, j, w, strict=True):
        before = g.get_edge_data(a, b, {"weight": 0.0})["weight"]
        g.add_edge(int(a), int(b), weight=before + weight)
    agree(record_property, ss.Graph.from_networkx(g).to_csr().toarray(), A, EXACT)
    # integer weights are repeated rows of the list
    counts = np.rint(2 * A)
    rows, columns = (np.repeat(side, counts[counts > 0].astype(int)) for side in np.nonzero(counts))
    Z = rng.standard_normal((N, 2))
    loss = ss.BarlowTwins().loss(Z, graph_of(counts)).item()
    agree(record_property, loss, pair_list_barlow(Z, rows, columns, 1.0), EXACT)


@pytest.mark.parametrize("N", [40, 1700])  # dense, and past the dense limit
def test_I6_path_is_the_dct(N, record_property):
    """The path graph has lam_k = 2 - 2 cos(pi k / N) and the vectors of the discrete cosine transform."""
    data = ss.Dataset(name="path", X=np.arange(N, dtype=float)[:, None])
    graph = ss.relations.sequence(data, window=1)
    K = 6
    lam = 2 - 2 * np.cos(np.pi * np.arange(1, K + 2) / N)
    dct = np.cos(np.pi * (np.arange(N)[:, None] + 0.5) * np.arange(1, K + 1) / N)
    spectrum = ss.Spectra(graph).of("laplacian", K)
    agree(record_property, spectrum.values[: K + 1], lam, EXACT, scale=1.0)
    # nested subspaces: every column up to sign; the gaps shrink as 1 / N^2
    same_span(record_property, spectrum.vectors[:, :K], dct, ROUNDING * (N / 40), nested=True)
    assert graph.diagnose().n_components == 1
    assert not graph.regular


@pytest.mark.parametrize(("N", "window"), [(21, 1), (21, 3), (1600, 1)])
def test_I6_cycle_is_fourier(N, window, record_property):
    """The cycle has lam = sum_step 2 - 2 cos(2 pi m step / N), every one twice, and the Fourier vectors."""
    data = ss.Dataset(name="cycle", X=np.arange(N, dtype=float)[:, None])
    graph = ss.relations.sequence(data, window=window, cyclic=True)
    frequency = 2 * np.pi * np.arange(N) / N
    lam = sum(2 - 2 * np.cos(step * frequency) for step in range(1, window + 1))
    K = 6
    spectrum = ss.Spectra(graph).of("laplacian", K)
    assert graph.regular
    agree(record_property, spectrum.values[:K], np.sort(lam)[1 : K + 1], EXACT, scale=1.0)  # every one twice
    lowest = 1 + np.argsort(lam[1 : (N + 1) // 2])[: K // 2]  # wide windows leave the low frequencies behind
    fourier = np.column_stack([f(m * frequency) for m in lowest for f in (np.cos, np.sin)])
    same_span(record_property, spectrum.vectors[:, :K], fourier, ROUNDING * max(1, N / 40))


@pytest.mark.parametrize("window", [1, 3])
def test_I6_sequence_is_banded(window, record_property):
    """Temporal neighbours within a window make a banded 0/1 adjacency."""
    data = ss.Dataset(name="series", X=np.zeros((9, 1)))
    A = ss.relations.sequence(data, window=window).to_csr().toarray()
    band = [[float(1 <= abs(i - j) <= window) for j in range(9)] for i in range(9)]
    agree(record_property, A, band, 0.0)


def whole_spectrum(graph, pencil):
    """Every eigenpair the library holds for a pencil of the free model."""
    spectrum = ss.Spectra(graph).of(pencil, graph.n_samples)
    assert spectrum.complete
    return spectrum.values, spectrum.vectors


def assert_spectra(record_property, graph, A):
    """All eigenvalues of L, A and (A, diag(deg)) against numpy, and the vectors by their residuals."""
    N, deg = A.shape[0], A.sum(axis=1)
    close(graph.to_csr().toarray(), A, EXACT)
    values, V = whole_spectrum(graph, "laplacian")
    agree(record_property, values, off_constant(laplacian(A))[0], EXACT, scale=1.0)
    close(laplacian(A) @ V, V * values, EXACT)
    close(V.T @ V, np.eye(N - 1), EXACT)
    close(V.sum(axis=0), np.zeros(N - 1), EXACT)
    values, V = whole_spectrum(graph, "adjacency")
    agree(record_property, values, np.linalg.eigvalsh(A)[::-1], EXACT, scale=1.0)
    close(A @ V, V * values, EXACT)
    close(V.T @ V, np.eye(N), EXACT)
    active = deg > 0
    S = A[np.ix_(active, active)] / np.sqrt(np.outer(deg[active], deg[active]))
    values, V = whole_spectrum(graph, "degree")
    agree(record_property, values, np.linalg.eigvalsh(S)[::-1], EXACT, scale=1.0)
    close(A @ V, deg[:, None] * V * values, EXACT)
    close(V.T @ (deg[:, None] * V), np.eye(active.sum()), EXACT)


@any_graph
def test_I6_all_spectra_of_any_graph_are_those_of_dense_algebra(A, record_property):
    """Every eigenpair of L, of A and of (A, diag(deg)) is that of dense algebra."""
    assert_spectra(record_property, graph_of(A), A)


@pytest.mark.parametrize("diagonal", [False, True])
def test_I6_views_cliques_spectra(diagonal, record_property):
    """V views of n originals: L has 0 n times, V n(V-1) times; A has V-1 n times and -1, or V and 0 with self-pairs."""
    n, V = 5, 3
    N, codes = n * V, np.tile(np.arange(n), V)
    graph = ss.Graph.from_groups(codes, diagonal=diagonal)  # the 0/1 cliques
    A = cliques(codes, np.ones(n), diagonal=diagonal)
    assert_spectra(record_property, graph, A)
    lam = np.rint(whole_spectrum(graph, "laplacian")[0]).astype(int)
    assert Counter(lam.tolist()) == {0: n - 1, V: n * (V - 1)}  # and the constant: n zeros in all
    g = np.rint(whole_spectrum(graph, "adjacency")[0]).astype(int)
    assert Counter(g.tolist()) == ({V: n, 0: n * (V - 1)} if diagonal else {V - 1: n, -1: n * (V - 1)})
    health = graph.diagnose()
    assert (health.n_components, health.zero_modes, health.n_positive, health.regular) == (n, n - 1, n, True)
    # the relation divides by V - 1 (V with the diagonal), and every eigenvalue with it
    data = ss.Dataset(name="views", X=np.zeros((N, 1)), source=codes)
    assert_spectra(record_property, ss.relations.views(data, diagonal=diagonal), A / (V - (not diagonal)))


@pytest.mark.parametrize("diagonal", [False, True])
def test_I6_unequal_views_are_made_regular(diagonal, record_property):
    """Unequal view counts V_i: blocks divided by V_i - 1 (V_i with self-pairs) make the relation regular."""
    codes = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 1, 0, 3, 3])
    size = np.bincount(codes)
    data = ss.Dataset(name="views", X=np.zeros((codes.size, 1)), source=codes)
    graph = ss.relations.views(data, diagonal=diagonal)
    A = cliques(codes, 1 / (size - (not diagonal)), diagonal=diagonal)
    assert A.sum(axis=1) == pytest.approx(np.ones(codes.size), rel=EXACT)
    assert graph.degree == pytest.approx(np.ones(codes.size), rel=EXACT)
    assert graph.regular
    assert not ss.Graph.from_groups(codes).regular  # without the division often-viewed originals weigh more
    assert_spectra(record_property, graph, A)


def test_I6_a_single_view_is_isolated_and_the_spectra_stand(record_property):
    """A sample of one view is isolated, a zero of every spectrum."""
    codes = np.array([0, 0, 1, 2, 2, 2])
    data = ss.Dataset(name="views", X=np.zeros((6, 1)), source=codes)
    with pytest.warns(ss.SpectralWarning, match="no positive pair"):
        graph = ss.relations.views(data)
    assert_spectra(record_property, graph, cliques(codes, np.array([1.0, 0.0, 0.5]), diagonal=False))


def test_I6_below_N_minus_1_components_every_subspace_of_the_null_space_is_a_free_optimum_of_views(record_property):
    """Views and K < n - 1: every centred orthonormal function of the original is an optimum; no subspace stands out."""
    n, V, K = 6, 2, 3
    codes = np.repeat(np.arange(n), V)
    data = ss.Dataset(name="views", X=np.zeros((n * V, 1)), source=codes)
    graph, A = ss.relations.views(data), cliques(codes, np.ones(n), diagonal=False)
    best = ss.optimum(ss.VICReg(invariance=0.3), graph, K)
    assert best.gap == 0
    assert "not unique" in best.note
    rng = np.random.default_rng(0)
    for _ in range(3):
        means = np.linalg.qr(centring(n) @ rng.standard_normal((n, K)))[0] * np.sqrt(n)
        Z = means[codes]  # any centred orthonormal function of the original
        agree(record_property, value(vicreg, Z, A, 0.3), best.loss, EXACT, scale=1.0)
        assert sine(Z, best.embedding.Z) > DIFFERENT


@pytest.mark.parametrize("diagonal", [False, True])
def test_I6_label_graphs_spectra_and_projector(diagonal, record_property):
    """Labels: L has 0 C times, N_c N_c - 1 times; weighted 1/N_c, A is a projector, X'LX the within-class scatter."""
    y = np.array([0, 2, 1, 1, 0, 1, 2, 1, -1, 0, 1])
    size, known = np.bincount(y[y >= 0]), y >= 0
    data = ss.Dataset(name="labels", X=np.zeros((y.size, 1)), y=y)
    with pytest.warns(ss.SpectralWarning, match="1 of 11 samples have no positive pair"):
        plain = ss.relations.labels(data, weighting="none", diagonal=diagonal)
    assert_spectra(record_property, plain, cliques(y, np.ones(3), diagonal=diagonal))
    lam = np.rint(whole_spectrum(plain, "laplacian")[0]).astype(int)
    # 0 once per class and per unlabelled sample, the constant apart; N_c for the N_c - 1 contrasts of class c
    assert Counter(lam.tolist()) == {0: 3, **{int(n): int(n) - 1 for n in size}}
    with pytest.warns(ss.SpectralWarning, match="no positive pair"):
        graph = ss.relations.labels(data, diagonal=diagonal)
    assert_spectra(record_property, graph, cliques(y, 1 / size, diagonal=diagonal))
    if diagonal:
        P = graph.to_csr().toarray()
        close(P @ P, P, EXACT)
        assert np.trace(P) == pytest.approx(3)
        close(graph.degree, known.astype(float), EXACT)
    # whatever the diagonal, X'LX is the within-class scatter
    X = features(y.size, 3, 0)
    within = sum((X[y == c] - X[y == c].mean(axis=0)).T @ (X[y == c] - X[y == c].mean(axis=0)) for c in range(3))
    agree(record_property, ss.Moments.from_arrays(X, graph).laplacian, within, EXACT)


def test_I6_groups_and_edges_add_up(record_property):
    """Relations of groups and of edges add up, and so do their adjacencies."""
    codes = np.array([0, 0, 1, 1, 1, -1, 2, 2, -1, 0])
    edges = irregular(10, 6)
    graph = ss.Graph.from_groups(codes, weight=[0.5, 1.0, 2.0], diagonal=True).plus(graph_of(edges))
    A = edges + cliques(codes, np.array([0.5, 1.0, 2.0]), diagonal=True)
    assert_spectra(record_property, graph, A)
    agree(record_property, graph.adjacency_norm2, (A**2).sum(), EXACT)


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("weight", ["binary", "heat"])
def test_I6_knn_is_the_union_or_intersection_of_directed_neighbours(mutual, weight, record_property):
    """kNN: the union (mutual: the intersection) of directed neighbours, weighted 1 or exp(-|x_i - x_j|^2 / (2 h^2))."""
    X = np.random.default_rng(0).standard_normal((25, 3))
    k, width = 4, 0.8
    distance = pairwise_distances(X)
    near = [set(np.argsort(row)[1 : k + 1]) for row in distance]
    A = np.zeros((25, 25))
    for i, j in itertools.permutations(range(25), 2):
        hits = (j in near[i]) + (i in near[j])
        if hits > mutual:
            A[i, j] = 1 if weight == "binary" else np.exp(-(distance[i, j] ** 2) / (2 * width**2))
    data = ss.Dataset(name="cloud", X=X)
    options = {"mutual": mutual, "weight": weight, "bandwidth": width if weight == "heat" else None}
    lonely = np.count_nonzero(A.sum(axis=1) == 0)
    assert (lonely > 0) == mutual
    with pytest.warns(ss.SpectralWarning, match=f"{lonely} of 25 samples") if lonely else contextlib.nullcontext():
        graph = ss.relations.knn(data, n_neighbors=k, **options)
    agree(record_property, graph.to_csr().toarray(), A, EXACT, scale=1.0)
    parts = list(nx.connected_components(nx.from_numpy_array(A)))
    health = graph.diagnose()
    assert health.n_components == len(parts)
    assert health.component_sizes == tuple(sorted((len(p) for p in parts), reverse=True)[:10])
    assert health.n_positive == np.count_nonzero(np.linalg.eigvalsh(A) > 1e-12)


def test_I6_epsilon_joins_what_is_nearer_than_the_radius(record_property):
    """The epsilon relation joins the samples nearer than its radius, and no sample to itself."""
    X = np.random.default_rng(0).standard_normal((25, 2))
    distance = pairwise_distances(X)
    radius = float(np.sort(distance, axis=1)[:, 1].max()) * 1.01  # nobody is left alone
    A = ss.relations.epsilon(ss.Dataset(name="cloud", X=X), radius=radius).to_csr().toarray()
    agree(record_property, A, (distance <= radius) & ~np.eye(25, dtype=bool), 0.0)


def test_I6_double_centred_distances_are_the_centred_gram_matrix(record_property):
    """-H D2 H / 2 of squared Euclidean distances D2 is the Gram matrix of the centred samples."""
    X = features(15, 4, 0)
    G = (X - X.mean(axis=0)) @ (X - X.mean(axis=0)).T
    H = centring(15)
    close(-H @ pairwise_distances(X) ** 2 @ H / 2, G, 1e-9)
    found = ss.classical_mds(pairwise_distances(X), 4)
    g = np.linalg.eigvalsh(G)[::-1]
    agree(record_property, found.spectrum, g, 1e-9, scale=1 + np.abs(g))
    agree(record_property, found.Z @ found.Z.T, G, 1e-9, scale=1 + np.abs(G))


# --- section 2: Lemma M ---------------------------------------------------------------------------------------------


def lemma_m_loss(W, A, B, alpha):
    """alpha |W'BW - I|^2 + tr(W'AW)."""
    A, B = torch.as_tensor(A), torch.as_tensor(B)
    return alpha * ((W.T @ B @ W - torch.eye(W.shape[1], dtype=W.dtype)) ** 2).sum() + torch.trace(W.T @ A @ W)


def psd(D, rank, rng):
    M = rng.standard_normal((D, rank))
    return M @ M.T / D


def meet_null(A, B, drop):
    """A without its part along `drop` directions of null(B), and those directions."""
    N = scipy.linalg.null_space(B)[:, :drop]
    P = np.eye(A.shape[0]) - N @ N.T
    return P @ A @ P, N


LEMMA_CASES = {  # rank of A, rank of B, K, how much of null(B) lies in null(A)
    "both definite": (6, 6, 3, 0),
    "A singular": (3, 6, 4, 0),
    "B singular, Schur complement": (6, 4, 2, 0),
    "K past the rank of B": (6, 3, 5, 0),
    "null(A) meets null(B)": (6, 3, 2, 2),
}


@pytest.mark.parametrize(("rank_A", "rank_B", "K", "meet"), list(LEMMA_CASES.values()), ids=list(LEMMA_CASES))
def test_M_psd_pencil_with_soft_constraint(rank_A, rank_B, K, meet, record_property):
    """min_W alpha |W'BW - I|^2 + tr W'AW = alpha (K - sum t_k^2), t_k = max(0, 1 - mu_k / (2 alpha)), mu of (A, B)."""
    D, alpha = 6, 0.7
    rng = np.random.default_rng(7)
    A, B = psd(D, rank_A, rng), psd(D, rank_B, rng)
    A, common = meet_null(A, B, meet)
    pairs = linalg.generalized_eigh(A, B, largest=False, eliminate_null=True)
    assert pairs.rank == rank_B
    # the Schur complement, written out
    R, N = scipy.linalg.orth(B), scipy.linalg.null_space(B)
    schur = R.T @ A @ R - R.T @ A @ N @ np.linalg.pinv(N.T @ A @ N, rcond=1e-10) @ N.T @ A @ R
    mu = scipy.linalg.eigh(schur, R.T @ B @ R, eigvals_only=True)
    agree(record_property, pairs.values, mu, ROUNDING, scale=1 + np.abs(mu))
    close(pairs.vectors.T @ B @ pairs.vectors, np.eye(rank_B), ROUNDING)
    # t, W* and the minimum of the lemma
    m = min(K, rank_B)
    t = np.maximum(0, 1 - pairs.values[:m] / (2 * alpha))
    assert np.count_nonzero(t) > 0
    W = np.hstack([pairs.vectors[:, :m] * np.sqrt(t), np.zeros((D, K - m))])
    Q = np.linalg.qr(rng.standard_normal((K, K)))[0]
    minimum = alpha * (K - (t**2).sum())
    agree(record_property, value(lemma_m_loss, W @ Q, A, B, alpha), minimum, ROUNDING)
    reached, trained = minimise(lambda W: lemma_m_loss(W, A, B, alpha), (D, K), starts=4)
    agree(record_property, reached, minimum, TRAINED)
    # the optimum is unique in its metric: B^(1/2) W W' B^(1/2)
    close(B @ trained @ trained.T @ B, B @ W @ W.T @ B, ANGLE)
    # up to null(A) & null(B): a direction of null(B) alone is not free
    if meet:
        moved = value(lemma_m_loss, W + common @ np.ones((meet, K)), A, B, alpha)
        agree(record_property, moved, minimum, ROUNDING)
    elif rank_B < D:
        assert value(lemma_m_loss, W + N @ np.ones((D - rank_B, K)), A, B, alpha) > minimum + DIFFERENT


def test_M_collapse_where_every_mu_is_past_two_alpha(record_property):
    """Where every mu_k >= 2 alpha the minimum is alpha K, at W = 0."""
    rng = np.random.default_rng(3)
    A, B = psd(5, 5, rng), psd(5, 5, rng)
    alpha = linalg.generalized_eigh(A, B, largest=False).values[0] / 2.2
    assert scipy.linalg.eigh(A, B, eigvals_only=True)[0] > 2 * alpha
    reached, W = minimise(lambda W: lemma_m_loss(W, A, B, alpha), (5, 2))
    agree(record_property, reached, 2 * alpha, TRAINED)
    assert np.abs(W).max() < 1e-3  # quartic at zero: the gradient dies as the cube


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_M_the_schur_complement_is_blind_to_units(unit, record_property):
    """The eigenvalues of (SAS, SBS) with null(B) eliminated are those of (A, B) for every scaling S of the features."""
    rng = np.random.default_rng(11)
    A, B = psd(6, 5, rng), psd(6, 4, rng)
    A = meet_null(A, B, 1)[0]
    S = np.diag(unit * np.exp(rng.uniform(-3, 3, 6)))
    R, N = scipy.linalg.orth(B), scipy.linalg.null_space(B)
    schur = R.T @ A @ R - R.T @ A @ N @ np.linalg.pinv(N.T @ A @ N, rcond=1e-10) @ N.T @ A @ R
    mu = scipy.linalg.eigh(schur, R.T @ B @ R, eigvals_only=True)
    found = linalg.generalized_eigh(S @ A @ S, S @ B @ S, largest=False, eliminate_null=True)
    agree(record_property, found.values, mu, ROUNDING, scale=1 + np.abs(mu))


def test_M_the_schur_complement_changes_nothing_where_null_B_lies_in_null_A(record_property):
    """Eliminating null(B) changes nothing where it lies in null(A), as for every pencil of a graph.

    What is left of A on null(B) is rounding there, and must not be inverted.
    """
    A = irregular(20, 20, density=0.3)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((20, 3))
        X = np.column_stack([X, X @ rng.standard_normal((3, 2)), np.full(20, 3.0)]) * np.exp(rng.uniform(-3, 3, 6))
        moments = ss.Moments.from_arrays(X, graph_of(A))
        pencil = moments.laplacian, moments.scatter
        plain = linalg.generalized_eigh(*pencil, largest=False)
        schur = linalg.generalized_eigh(*pencil, largest=False, eliminate_null=True)
        assert plain.rank == schur.rank == 3
        agree(record_property, schur.values, plain.values, ROUNDING, scale=1 + np.abs(plain.values))
        close(schur.vectors.T @ pencil[1] @ schur.vectors, np.eye(3), ROUNDING)
        same_span(record_property, centring(20) @ X @ schur.vectors, centring(20) @ X[:, :3], ROUNDING)


# --- section 3.1 and 3.2: all Z -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ddof", [0, 1])
@any_graph
def test_V1_free_optimum_is_the_minimum_of_the_loss(A, ddof, record_property):
    """Squared VICReg over all Z: Z = 1m' + sqrt(n) U diag(sqrt t) Q, min = alpha (K - sum t_k^2)."""
    N, K, alpha = A.shape[0], 3, 1.7
    n = N - ddof
    lam, U = off_constant(laplacian(A))
    gamma = 0.6 * alpha * N / (n * lam[K - 1])  # t_K = 0.4
    t = np.maximum(0, 1 - gamma * n / (N * alpha) * lam[:K])
    minimum = alpha * (K - (t**2).sum())
    method = ss.VICReg(variance=alpha, covariance=alpha, invariance=gamma, ddof=ddof)
    best = ss.optimum(method, graph_of(A), K)
    assert best.kind == "exact"
    assert best.rank == K
    agree(record_property, best.loss, minimum, EXACT)
    assert best.lower_bound == best.loss
    agree(record_property, value(vicreg, best.embedding.Z, A, gamma, alpha=alpha, ddof=ddof), minimum, EXACT)
    reached, Z = minimise(lambda Z: vicreg(Z, A, gamma, alpha=alpha, ddof=ddof), (N, K))
    agree(record_property, reached, minimum, TRAINED)  # no start is caught elsewhere
    if lam[K] - lam[K - 1] > 0.02 * lam[-1]:  # else the subspace is not determined
        ours = gram(best)
        close(ours, n * (U[:, :K] * t) @ U[:, :K].T, ROUNDING)
        close(centring(N) @ Z @ Z.T @ centring(N), ours, N * ANGLE)
        same_span(record_property, centring(N) @ Z, best.embedding.Z, ANGLE)
    # m and Q are free
    rng = np.random.default_rng(0)
    moved = best.embedding.Z @ np.linalg.qr(rng.standard_normal((K, K)))[0] + rng.standard_normal(K)
    agree(record_property, value(vicreg, moved, A, gamma, alpha=alpha, ddof=ddof), minimum, EXACT)


@any_graph
def test_V1_loss_and_its_terms_are_the_formula(A, record_property):
    """The loss and its terms are the written-out formula at any Z, any weights, both divisors."""
    Z = np.random.default_rng(0).standard_normal((A.shape[0], 3)) + 1.0
    for ddof, alpha, beta, gamma in [(0, 1.0, 1.0, 0.5), (1, 2.0, 0.3, 0.1), (0, 25.0, 1.0, 25.0)]:
        method = ss.VICReg(variance=alpha, covariance=beta, invariance=gamma, ddof=ddof)
        expected = value(vicreg, Z, A, gamma, alpha=alpha, beta=beta, ddof=ddof)
        agree(record_property, method.loss(Z, graph_of(A)).item(), expected, EXACT)
        terms = method.loss_terms(Z, graph_of(A))
        variance = sum((1 - np.var(z, ddof=ddof)) ** 2 for z in Z.T)
        agree(record_property, terms["variance"].item(), alpha * variance, EXACT)
        agree(record_property, terms["invariance"].item(), gamma / len(A) * value(pair_energy, Z, A), EXACT)
    best = ss.optimum(ss.VICReg(variance=2.0, covariance=2.0, invariance=0.02), graph_of(A), 3)
    attained = best.method.loss_terms(best.embedding.Z, graph_of(A))
    for name, term in best.loss_terms.items():
        agree(record_property, attained[name].item(), term, EXACT, scale=1.0)


@pytest.mark.parametrize("diagonal", [False, True])
def test_V1_loss_on_group_storage_is_the_formula(diagonal, record_property):
    """Groups and edges in storage, the same loss as on the dense adjacency."""
    codes = np.array([0, 0, 1, 1, 1, -1, 2, 2, 2, 0])
    graph = ss.Graph.from_groups(codes, weight=[0.5, 1.0, 2.0], diagonal=diagonal).plus(graph_of(irregular(10, 6)))
    A = irregular(10, 6) + cliques(codes, np.array([0.5, 1.0, 2.0]), diagonal=diagonal)
    Z = np.random.default_rng(0).standard_normal((10, 3))
    for weighting in ("none", "degree"):
        loss = ss.VICReg(invariance=0.3, weighting=weighting).loss(Z, graph).item()
        agree(record_property, loss, value(vicreg, Z, A, 0.3, degree=weighting == "degree"), EXACT)


@any_graph
def test_V1b_equivalently_the_top_of_H_minus_gamma_over_alpha_L(A, record_property):
    """ZZ' / N is the positive part of H - (gamma/alpha) L, of rank K; columns past it stay zero and cost alpha each."""
    N, alpha, gamma = A.shape[0], 2.0, 0.5
    values, U = np.linalg.eigh(centring(N) - gamma / alpha * laplacian(A))
    values, U = np.maximum(values[::-1], 0), U[:, ::-1]
    method = ss.VICReg(variance=alpha, covariance=alpha, invariance=gamma)
    K = int(np.count_nonzero(values > 1e-12))  # every positive eigenvalue: no gap is needed at K
    assert 2 <= K < N - 1
    best = ss.optimum(method, graph_of(A), K)
    agree(record_property, gram(best) / N, (U * values) @ U.T, ROUNDING, scale=1.0)
    # more columns than that stay zero
    wider = ss.optimum(method, graph_of(A), K + 1)
    assert wider.rank == K
    close(gram(wider), gram(best), ROUNDING)
    agree(record_property, wider.loss, best.loss + alpha, EXACT)


@pytest.mark.parametrize("ddof", [0, 1])
@any_graph
def test_V2_gamma_path_from_one_eigendecomposition(A, ddof, record_property):
    """t_k is a straight line in gamma that dies at alpha N / (n lam_k); U does not move; the rank is a staircase."""
    N, K, alpha = A.shape[0], 6, 1.3
    n = N - ddof
    lam, U = off_constant(laplacian(A))
    lam[np.abs(lam) < 1e-12] = 0
    components = nx.number_connected_components(nx.from_numpy_array(A))
    spectra = ss.Spectra(graph_of(A))
    with np.errstate(divide="ignore"):
        deaths = alpha * N / (n * lam[:K])
    alive = lam[:K] > 0
    m = ss.VICReg(variance=alpha, ddof=ddof).critical_values(spectra.of("laplacian", K))[:K]
    agree(record_property, alpha / m[alive], deaths[alive], EXACT)
    close(m[~alive], np.zeros((~alive).sum()), EXACT)
    finite = deaths[alive]
    # below, between and beyond the deaths, and at 10^6 times the last one
    grid = np.geomspace(finite.min() / 50, finite.max() * 10, 23)
    grid = np.concatenate([grid, finite * (1 - 1e-4), finite * (1 + 1e-4)])
    ranks = []
    for gamma in np.sort(np.append(grid, 1e6 * finite.max())):
        best = ss.optimum(ss.VICReg(alpha, alpha, gamma, ddof=ddof), spectra, K)
        t = np.where(gamma < deaths, 1 - gamma / deaths, 0)  # straight lines in gamma, each to its death
        agree(record_property, covariance_spectrum(best.embedding.Z, ddof), t, EXACT, scale=1.0)
        agree(record_property, best.loss, alpha * (K - (t**2).sum()), EXACT)
        assert best.rank == np.count_nonzero(lam[:K] < alpha * N / (gamma * n))
        assert best.rank == np.linalg.matrix_rank(best.embedding.Z, tol=1e-6)
        r = best.rank
        if r > 0 and lam[r] - lam[r - 1] > 1e-6:  # the eigenvectors do not move with gamma
            Z = best.embedding.Z
            same_span(record_property, np.linalg.svd(Z)[0][:, :r], U[:, :r], ROUNDING)
        ranks.append(best.rank)
    assert ranks[0] == K
    assert np.all(np.diff(ranks) <= 0)
    assert ranks[-1] == min(K, components - 1)  # gamma -> infinity: the null space of L stays
    if components == 1:
        assert np.all(best.embedding.Z == 0)
        assert "collapsed" in best.note


def test_V2_training_follows_the_rank_staircase(record_property):
    """Descent ends with the covariance spectrum max(0, 1 - gamma lam_k), at every step of the staircase."""
    A = GRAPHS["irregular"]
    lam = off_constant(laplacian(A))[0]
    K = 4
    for r in range(K + 1):  # gamma halfway between two deaths: rank r
        gamma = 2 / (lam[r] + lam[r - 1]) if r else 1.5 / lam[0]
        best = ss.optimum(ss.VICReg(invariance=gamma), graph_of(A), K)
        assert best.rank == r
        reached, Z = minimise(lambda Z, g=gamma: vicreg(Z, A, g), (12, K), starts=2)
        agree(record_property, reached, best.loss, TRAINED)
        spectrum = covariance_spectrum(Z)
        close(spectrum, np.maximum(0, 1 - gamma * lam[:K]), 1e-4)  # zeros are reached slowly


@pytest.mark.parametrize("weighting", ["none", "degree"])
def test_V2_invariance_none_puts_half_the_variance_on_direction_K(weighting, record_property):
    """gamma = alpha / (2 m_K), the default, leaves direction K the covariance eigenvalue 1/2."""
    A, K, alpha = GRAPHS["irregular"], 3, 1.5
    best = ss.optimum(ss.VICReg(alpha, alpha, weighting=weighting), graph_of(A), K)
    L, d = laplacian(A), A.sum(axis=1)
    if weighting == "none":
        m_K = off_constant(L)[0][K - 1]
        C = np.cov(best.embedding.Z.T, ddof=0)
    else:
        m_K = scipy.linalg.eigh(L, np.diag(d), eigvals_only=True)[K]
        Z = best.embedding.Z - d @ best.embedding.Z / d.sum()
        C = Z.T @ (d[:, None] * Z) / d.sum()
    agree(record_property, best.method.invariance, alpha / (2 * m_K), EXACT)
    agree(record_property, np.linalg.eigvalsh(C)[0], 0.5, EXACT)


def test_V3_other_subsets_are_strict_saddles_and_not_local_minima(record_property):
    """Of all choices of K eigenvectors one is the minimum and every other a strict saddle; none is a local minimum."""
    N, K = 9, 2
    A = irregular(N, 8, density=0.6)
    lam, U = off_constant(laplacian(A))
    assert np.diff(lam).min() > 0.02 * lam[-1]
    gamma = 0.8 / lam[-1]  # every t_k > 0
    t = 1 - gamma * lam

    def loss(Z):
        return vicreg(Z, A, gamma)

    def slope_and_curvature(Z):
        Z = torch.tensor(Z, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(Z), Z)
        hessian = torch.autograd.functional.hessian(loss, Z.detach()).reshape(N * K, N * K)
        return float(gradient.abs().max()), float(torch.linalg.eigvalsh(hessian)[0])

    best = ss.optimum(ss.VICReg(invariance=gamma), graph_of(A), K)
    slope, curvature = slope_and_curvature(best.embedding.Z)
    assert slope < EXACT
    assert curvature > -EXACT  # flat along rotations and shifts, nowhere negative
    subsets = list(itertools.combinations(range(N - 1), K))
    assert len(subsets) == 28
    values, curvatures, minima = [], [], 0
    for subset in map(list, subsets):
        Z = np.sqrt(N) * U[:, subset] * np.sqrt(t[subset])
        values.append(value(vicreg, Z, A, gamma))
        slope, curvature = slope_and_curvature(Z)
        assert slope < EXACT  # each is a critical point
        left_out = np.setdiff1d(np.arange(N - 1), subset)
        # trading the worst direction kept for the best left out: 4 gamma (lam_out - lam_kept) / N
        trade = 4 * gamma * (lam[left_out].min() - lam[subset].max()) / N
        minima += trade > 0
        agree(record_property, curvature, min(trade, 0), ROUNDING, scale=1.0)
        curvatures.append(curvature)
    assert minima == 1
    saddles = [c for c in curvatures if c < -ROUNDING]
    assert len(saddles) == 27
    record_property(
        "counterexample",
        f"of {len(subsets)} choices of {K} of {N - 1} eigenvectors {len(saddles)} are strict saddles, "
        f"with Hessian eigenvalues of {min(saddles):.3f} to {max(saddles):.4f}; the other one is the minimum",
    )
    agree(record_property, min(values), best.loss, EXACT)
    assert np.sort(values)[1] > best.loss + 1e-3
    assert slope_and_curvature(np.zeros((N, K)))[1] < -1e-3  # so is the collapsed point


# --- section 3.5: constrained forms, degree weights, regular graphs -------------------------------------------------


def orthonormalised(B):
    """Centred columns with covariance I from free parameters B (N, K)."""
    N = B.shape[0]
    return np.sqrt(N) * torch.linalg.qr(B - B.mean(dim=0))[0]


@any_graph
def test_V8_constrained_form_is_laplacian_eigenmaps(A, record_property):
    """min tr Z'LZ with Cov(Z) = I is Laplacian Eigenmaps, of value N sum lam_k."""
    N, K = A.shape[0], 3
    lam, U = off_constant(laplacian(A))
    found = ss.laplacian_eigenmaps(graph_of(A), K)
    close(np.cov(found.Z.T, ddof=0), np.eye(K), EXACT)
    close(found.Z.mean(axis=0), np.zeros(K), EXACT)
    minimum = N * lam[:K].sum()
    agree(record_property, value(pair_energy, found.Z, A) / 2, minimum, EXACT)
    reached, B = minimise(lambda B: pair_energy(orthonormalised(B), A) / 2, (N, K))
    agree(record_property, reached, minimum, TRAINED)
    if lam[K] - lam[K - 1] > 0.02 * lam[-1]:
        same_span(record_property, found.Z, U[:, :K], ROUNDING)
        same_span(record_property, orthonormalised(torch.as_tensor(B)).numpy(), found.Z, ANGLE)
    # the soft form ends there as gamma -> 0
    soft = ss.optimum(ss.VICReg(invariance=1e-6 / lam[-1]), graph_of(A), K)
    close(gram(soft), found.Z @ found.Z.T, 1e-4)


def test_V8b_unweighted_and_degree_weighted_subspaces_differ_on_irregular_graphs(record_property):
    """Ly = lam y is not Belkin and Niyogi's Ly = lam Dy where degrees differ: a COUNTEREXAMPLE."""
    angles = []
    for seed in range(5):
        A = irregular(20, 20 + seed, density=0.3)
        L, D, K = laplacian(A), np.diag(A.sum(axis=1)), 3
        unweighted = off_constant(L)[1][:, :K]
        weighted = scipy.linalg.eigh(L, D)[1][:, 1 : K + 1]  # connected: the first is the constant
        graph = graph_of(A)
        plain = ss.optimum(ss.VICReg(), graph, K).embedding.Z
        degree = ss.optimum(ss.VICReg(weighting="degree"), graph, K).embedding.Z
        same_span(record_property, plain, unweighted, ROUNDING)
        same_span(record_property, degree, weighted, ROUNDING)
        H = centring(20)
        angles.append(sine(H @ plain, H @ degree))
    record_property(
        "counterexample",
        f"five random irregular graphs, N = 20, K = 3: the optima with and without degree weights are at sines of "
        f"{min(angles):.2f} to {max(angles):.2f}",
    )
    assert min(angles) > DIFFERENT
    assert max(angles) > 0.5


def test_V8b_they_agree_on_regular_graphs(record_property):
    """On a d-regular graph both forms have one optimum, at gamma and gamma d."""
    A = GRAPHS["regular"]
    d = A.sum(axis=1)[0]
    lam = off_constant(laplacian(A))[0]
    K = next(k for k in range(2, 6) if lam[k] - lam[k - 1] > 0.05 * lam[-1])
    gamma = 0.5 / lam[K - 1]
    plain = ss.optimum(ss.VICReg(invariance=gamma), graph_of(A), K)
    degree = ss.optimum(ss.VICReg(invariance=gamma * d, weighting="degree"), graph_of(A), K)  # s = N d
    agree(record_property, value(vicreg, degree.embedding.Z, A, gamma), degree.loss, EXACT)
    agree(record_property, plain.loss, degree.loss, EXACT)
    same_span(record_property, plain.embedding.Z, degree.embedding.Z, ROUNDING)


@pytest.mark.parametrize("name", ["irregular", "disconnected", "isolated sample", "self-pairs"])
def test_V8c_degree_weighted_vicreg_is_exact_with_belkin_niyogi_eigenvalues(name, record_property):
    """Degree-weighted VICReg has t_k = max(0, 1 - (gamma/alpha) lam_k) with lam of Ly = lam Dy."""
    A, K, alpha = GRAPHS[name], 3, 1.4
    d = A.sum(axis=1)
    active = d > 0
    lam, V = scipy.linalg.eigh(laplacian(A)[np.ix_(active, active)], np.diag(d[active]))
    close(lam[0], 0, EXACT)  # one null vector is the constant; the others are contrasts
    lam = lam[1 : K + 1]
    gamma = 0.6 * alpha / lam[-1]
    t = np.maximum(0, 1 - gamma / alpha * lam)
    minimum = alpha * (K - (t**2).sum())
    best = ss.optimum(ss.VICReg(alpha, alpha, gamma, weighting="degree"), graph_of(A), K)
    Z = best.embedding.Z
    agree(record_property, best.loss, minimum, EXACT)
    agree(record_property, value(vicreg, Z, A, gamma, alpha=alpha, degree=True), minimum, EXACT)
    agree(record_property, best.method.loss(Z, graph_of(A)).item(), minimum, EXACT)
    reached, trained = minimise(lambda Z: vicreg(Z, A, gamma, alpha=alpha, degree=True), Z.shape)
    agree(record_property, reached, minimum, TRAINED)
    Zc = Z - d @ Z / d.sum()
    C = Zc.T @ (d[:, None] * Zc) / d.sum()
    agree(record_property, np.linalg.eigvalsh(C)[::-1], t, EXACT, scale=1.0)
    assert np.all(Z[~active] == 0)
    if name != "disconnected":  # where one null vector is not a contrast the subspace is V[:, 1:K+1]
        same_span(record_property, Z[active], V[:, 1 : K + 1], ROUNDING)
        same_span(record_property, (trained - d @ trained / d.sum())[active], Z[active], ANGLE)


def test_V8c_degree_weighted_loss_is_the_formula_for_any_Z(record_property):
    """The degree-weighted loss is the written-out formula over the ends of pairs, at any Z."""
    A = GRAPHS["irregular"]
    Z = np.random.default_rng(0).standard_normal((12, 3)) + 2.0
    loss = ss.VICReg(1.3, 1.3, 0.4, weighting="degree").loss(Z, graph_of(A)).item()
    agree(record_property, loss, value(vicreg, Z, A, 0.4, alpha=1.3, degree=True), EXACT)


@pytest.mark.parametrize("seed", [1, 9])
def test_V9_regular_graph_rank_counts_eigenvalues_of_A_above_d_minus_alpha_over_gamma(seed, record_property):
    """On a d-regular graph rank Z = #{k <= K : g_k > d - alpha/gamma}, g the eigenvalues of A off the constant."""
    A, K, alpha = regular(14, seed), 10, 0.8
    d = A.sum(axis=1)[0]
    g = off_constant(A)[0][::-1]  # eigenvalues of A off the constant, descending: lam_k = d - g_k
    assert g[0] < d - 1e-6
    spectra = ss.Spectra(graph_of(A))
    ranks = set()
    for gamma in np.geomspace(0.1, 30, 40) * alpha / d:
        expected = int(np.count_nonzero(g[:K] > d - alpha / gamma))
        best = ss.optimum(ss.VICReg(alpha, alpha, gamma), spectra, K)
        assert best.rank == expected
        t = np.maximum(0, 1 - gamma / alpha * (d - g[:K]))
        agree(record_property, best.loss, alpha * (K - (t**2).sum()), EXACT)
        ranks.add(expected)
    assert {0, K} < ranks
    # below alpha / d directions of negative eigenvalue are kept, which no Frobenius solution can hold
    assert ss.optimum(ss.VICReg(alpha, alpha, 0.4 * alpha / d), spectra, K).rank > np.count_nonzero(g > 0)


def test_V9_at_gamma_alpha_over_d_vicreg_is_frobenius_simclr_off_the_constant(record_property):
    """On a d-regular graph, gamma = alpha/d: the VICReg optimum is that of Frobenius SimCLR without the constant."""
    A, alpha = regular(14, 1), 0.8
    N, d = 14, A.sum(axis=1)[0]
    g, U = np.linalg.eigh(A)
    positive = int(np.count_nonzero(g > 1e-9))
    top = (U * np.maximum(g, 0)) @ U.T  # the minimiser of |ZZ' - A|^2 over psd matrices of rank >= positive
    vic = ss.optimum(ss.VICReg(alpha, alpha, alpha / d), graph_of(A), positive - 1).embedding.Z
    sim = ss.optimum(ss.FrobeniusSimCLR(), graph_of(A), positive).embedding.Z
    H = centring(N)
    agree(record_property, sim @ sim.T, top, ROUNDING, scale=1.0)
    agree(record_property, vic @ vic.T / N, H @ top @ H / d, ROUNDING, scale=1.0)


# --- section 3.6: linear maps ---------------------------------------------------------------------------------------


def linear_problem(N, D, seed):
    A = irregular(N, 100 + seed, density=0.4)
    return A, features(N, D, seed)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("seed", [0, 1])
def test_W1_linear_optimum_is_lemma_M_of_the_compressed_pencil(seed, ddof, record_property):
    """VICReg over linear maps is Lemma M of ((2 gamma / N) X'LX, X'HX / n)."""
    N, D, K, alpha = 22, 5, 3, 1.2
    A, X = linear_problem(N, D, seed)
    n, H, L = N - ddof, centring(N), laplacian(A)
    second = X.T @ H @ X / n
    one = scipy.linalg.eigh(2 / N * X.T @ L @ X, second, eigvals_only=True)
    gamma = 1.2 * alpha / one[K - 1]  # mu_K = 1.2 alpha, t_K = 0.4
    mu, V = scipy.linalg.eigh(2 * gamma / N * X.T @ L @ X, second)
    t = np.maximum(0, 1 - mu[:K] / (2 * alpha))
    minimum = alpha * (K - (t**2).sum())
    best = ss.optimum(ss.VICReg(alpha, alpha, gamma, ddof=ddof), graph_of(A), K, X=X)
    W, Z = best.embedding.W, best.embedding.Z
    agree(record_property, best.loss, minimum, EXACT)
    agree(record_property, value(vicreg, X @ W, A, gamma, alpha=alpha, ddof=ddof), minimum, EXACT)
    close(Z, (X - X.mean(axis=0)) @ W, ROUNDING)
    close(best.embedding.transform(X), Z, ROUNDING)
    close(W @ W.T, (V[:, :K] * t) @ V[:, :K].T, ROUNDING)
    reached, trained = minimise(lambda W: vicreg(torch.as_tensor(X) @ W, A, gamma, alpha=alpha, ddof=ddof), (D, K))
    agree(record_property, reached, minimum, TRAINED)
    assert mu[K] - mu[K - 1] > 0.02 * mu[-1]
    same_span(record_property, trained, W, ANGLE)
    # the free optimum is a lower bound, and the linear one with X = I
    free = ss.optimum(ss.VICReg(alpha, alpha, gamma, ddof=ddof), graph_of(A), K)
    identity = ss.optimum(ss.VICReg(alpha, alpha, gamma, ddof=ddof), graph_of(A), K, X=np.eye(N))
    assert free.loss < best.loss - DIFFERENT
    agree(record_property, identity.loss, free.loss, EXACT)


def test_W1_degree_weighted_linear_optimum(record_property):
    """Degree-weighted VICReg over linear maps: the pencil (X'LX, Xd'D Xd), Xd centred by degrees."""
    N, D, K, alpha = 22, 5, 3, 1.2
    A, X = linear_problem(N, D, 2)
    d = A.sum(axis=1)
    s, Xd = d.sum(), X - d @ X / d.sum()
    mu, V = scipy.linalg.eigh(X.T @ laplacian(A) @ X, Xd.T @ (d[:, None] * Xd))  # = the m_k of the code
    gamma = 0.6 * alpha / mu[K - 1]
    t = np.maximum(0, 1 - gamma / alpha * mu[:K])
    best = ss.optimum(ss.VICReg(alpha, alpha, gamma, weighting="degree"), graph_of(A), K, X=X)
    minimum = alpha * (K - (t**2).sum())
    W = best.embedding.W
    agree(record_property, best.loss, minimum, EXACT)
    agree(record_property, value(vicreg, X @ W, A, gamma, alpha=alpha, degree=True), minimum, EXACT)
    close(W @ W.T, s * (V[:, :K] * t) @ V[:, :K].T, ROUNDING)
    reached, trained = minimise(lambda W: vicreg(torch.as_tensor(X) @ W, A, gamma, alpha=alpha, degree=True), (D, K))
    agree(record_property, reached, minimum, TRAINED)
    same_span(record_property, trained, W, ANGLE)


@pytest.mark.parametrize("weighting", ["none", "degree"])
def test_W1_linear_optimum_from_the_moments_of_shards(weighting, record_property):
    """Moments merged from shards of pairs have the linear optimum of all the pairs."""
    rng = np.random.default_rng(0)
    parts = [linear_problem(N, 4, seed) for N, seed in [(15, 0), (22, 5), (18, 6)]]
    parts = [(A, X + 3 * rng.standard_normal(4)) for A, X in parts]  # means apart: merging is not adding
    moments = ss.Moments.from_chunks((X, graph_of(A)) for A, X in parts)
    A, X = blocks(*(A for A, _ in parts)), np.vstack([X for _, X in parts])
    method = ss.VICReg(invariance=0.05, weighting=weighting)
    best = ss.optimum(method, ss.Spectra(moments=moments), 2)
    degree = weighting == "degree"
    agree(record_property, value(vicreg, X @ best.embedding.W, A, 0.05, degree=degree), best.loss, EXACT)
    reached, _ = minimise(lambda W: vicreg(torch.as_tensor(X) @ W, A, 0.05, degree=degree), (4, 2))
    agree(record_property, reached, best.loss, TRAINED)


@pytest.mark.parametrize("ddof", [0, 1])
def test_W2_the_svd_route_gives_the_same_weights(ddof, record_property):
    """With HX = USV': W = sqrt(n) V S^-1 P diag(sqrt t) Q, P the eigenvectors of U'LU."""
    N, D, K, alpha, gamma = 24, 6, 4, 1.1, 0.08
    A, X = linear_problem(N, D, 3)
    n = N - ddof
    U, S, Vt = np.linalg.svd(centring(N) @ X, full_matrices=False)
    lam, P = np.linalg.eigh(U.T @ laplacian(A) @ U)
    t = np.maximum(0, 1 - gamma * n / (N * alpha) * lam[:K])
    assert np.count_nonzero(t) > 0
    W = np.sqrt(n) * Vt.T @ np.diag(1 / S) @ P[:, :K] @ np.diag(np.sqrt(t))
    best = ss.optimum(ss.VICReg(alpha, alpha, gamma, ddof=ddof), graph_of(A), K, X=X)
    close(W @ W.T, best.embedding.W @ best.embedding.W.T, ROUNDING)
    same_span(record_property, W[:, t > 0], best.embedding.W, ROUNDING)
    agree(record_property, best.loss, alpha * (K - (t**2).sum()), EXACT)
    assert best.rank == np.count_nonzero(t)


def test_W3_directions_that_X_does_not_have_change_nothing(record_property):
    """rank Z <= min(K, rank HX); null(HX) is free in W and in nothing else."""
    N, K, gamma = 20, 5, 0.05
    A, X3 = linear_problem(N, 3, 4)
    # rank 3 of 6 features: a constant, a sum of two others, a copy in other units
    X = np.column_stack([X3, np.full(N, 7.0), X3[:, 0] + X3[:, 1], 1e4 * X3[:, 2]])
    null = scipy.linalg.null_space(centring(N) @ X)
    assert null.shape[1] == 3
    with pytest.warns(ss.SpectralWarning, match="exceeds the rank 3"):
        best = ss.optimum(ss.VICReg(invariance=gamma), graph_of(A), K, X=X)
    lam = scipy.linalg.eigh(X3.T @ laplacian(A) @ X3, X3.T @ centring(N) @ X3, eigvals_only=True)
    t = np.maximum(0, 1 - gamma * lam)
    assert best.rank == np.count_nonzero(t) <= 3
    agree(record_property, best.loss, K - (t**2).sum(), EXACT)
    agree(record_property, value(vicreg, X @ best.embedding.W, A, gamma), best.loss, ROUNDING)
    moved = best.embedding.W + null @ np.random.default_rng(0).standard_normal((3, K))
    agree(record_property, value(vicreg, X @ moved, A, gamma), best.loss, ROUNDING)
    reached, _ = minimise(lambda W: vicreg(torch.as_tensor(X3) @ W, A, gamma), (3, K))  # the same maps, by a basis
    agree(record_property, reached, best.loss, TRAINED)


def shard(N, column, rng):
    """Two random features and `column`, over a random weighted relation."""
    i, j = rng.integers(0, N, (2, 3 * N))
    return np.column_stack([rng.standard_normal((N, 2)), column]), ss.Graph.from_pairs(
        i, j, N, rng.uniform(0, 1, 3 * N)
    )


def shard_optima(shards):
    """Of the first shard and of all of them together, for both weightings."""
    whole = ss.Spectra(moments=ss.Moments.from_chunks(shards))
    both = [ss.Spectra(shards[0][1], X=shards[0][0]), whole]
    methods = [ss.VICReg(invariance=0.1), ss.VICReg(invariance=0.1, weighting="degree")]
    return [ss.optimum(method, spectra, 2) for spectra in both for method in methods]


def assert_no_direction(record_property, shards):
    """The third feature changes no optimum."""
    without = shard_optima([(X[:, :2], graph) for X, graph in shards])
    for found, expected in zip(shard_optima(shards), without, strict=True):
        assert found.embedding.spectrum.size == 2
        agree(record_property, found.loss, expected.loss, EXACT)
        W = np.vstack([expected.embedding.W, np.zeros(2)])
        close(found.embedding.W @ found.embedding.W.T, W @ W.T, ROUNDING)


def test_W3_a_constant_feature_is_no_direction(record_property):
    """A constant feature is no direction: what centring leaves of it is rounding, however the moments were summed."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        constant = 1.0 if seed % 2 else rng.uniform(0, 100)
        assert_no_direction(record_property, [shard(N, np.full(N, constant), rng) for N in rng.integers(5, 60, 3)])
    rng = np.random.default_rng(0)
    assert_no_direction(record_property, [shard(N, np.ones(N), rng) for N in (100_000, 3)])  # long sums


def test_W3_a_feature_that_flickers_by_rounding_is_no_direction(record_property):
    """A feature constant up to rounding is no direction either."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(5, 60, 3)
        columns = [7.0 * (1 + np.finfo(float).eps * rng.integers(-1, 2, N)) for N in sizes]
        assert any(np.ptp(column) > 0 for column in columns)
        assert_no_direction(record_property, [shard(N, column, rng) for N, column in zip(sizes, columns, strict=True)])


def test_W3_a_linear_model_with_N_at_most_D_plus_1_is_as_free_as_free_Z(record_property):
    """With N <= D + 1 samples in general position a linear map reaches the optimum over all Z."""
    N, K, gamma = 12, 3, 0.05
    A = GRAPHS["irregular"]
    free = ss.optimum(ss.VICReg(invariance=gamma), graph_of(A), K)
    for D in (11, 20):
        X = np.random.default_rng(D).standard_normal((N, D))
        linear = ss.optimum(ss.VICReg(invariance=gamma), graph_of(A), K, X=X)
        reached, _ = minimise(lambda Z: vicreg(Z, A, gamma), (N, K), starts=2)
        agree(record_property, linear.loss, reached.min(), TRAINED)
        close(gram(linear), gram(free), 10 * ROUNDING)  # X is inverted, and random
        agree(record_property, value(vicreg, X @ linear.embedding.W, A, gamma), linear.loss, ROUNDING)
    # one feature fewer is a constraint; so are fewer directions than features
    short = np.random.default_rng(0).standard_normal((N, 10))
    assert ss.optimum(ss.VICReg(invariance=gamma), graph_of(A), K, X=short).loss > free.loss + 1e-4
    flat = np.random.default_rng(0).standard_normal((N, 6)) @ np.random.default_rng(1).standard_normal((6, 20))
    assert ss.optimum(ss.VICReg(invariance=gamma), graph_of(A), K, X=flat).loss > free.loss + 1e-4


# --- labels: LDA ----------------------------------------------------------------------------------------------------


def classes(sizes, D, seed):
    """Rows from classes of given sizes with unequal means AND unequal covariances, shuffled."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    X = np.empty((y.size, D))
    for c, size in enumerate(sizes):
        spread = np.eye(D) + 0.8 * rng.standard_normal((D, D))
        X[y == c] = 2 * rng.standard_normal(D) + rng.standard_normal((size, D)) @ spread
    order = rng.permutation(y.size)
    return X[order], y[order]


def label_optimum(X, y, weighting, K):
    graph = ss.relations.labels(ss.Dataset(name="classes", X=X, y=y), weighting=weighting)
    return ss.optimum(ss.VICReg(), graph, K, X=X)


def discriminants(X, y):
    """scikit-learn's discriminant directions (D, C-1), from the eigenproblem of the within- and total scatter."""
    C = np.unique(y).size
    return LinearDiscriminantAnalysis(solver="eigen").fit(X, y).scalings_[:, : C - 1]


def scatters(X, y):
    """The scatter (D, D) of every class about its own mean, and the total one."""
    inside = [(X[y == c] - X[y == c].mean(axis=0)).T @ (X[y == c] - X[y == c].mean(axis=0)) for c in np.unique(y)]
    return inside, (X - X.mean(axis=0)).T @ (X - X.mean(axis=0))


def test_W4_balanced_zero_one_labels_give_lda(record_property):
    """Plain 0/1 label pairs and balanced classes: the span of linear VICReg is that of LDA."""
    X, y = classes([15, 15, 15, 15], 6, 0)
    best = label_optimum(X, y, "none", 3)
    assert best.rank == 3
    assert best.gap > 1e-2
    same_span(record_property, best.embedding.W, discriminants(X, y), ROUNDING)


@pytest.mark.parametrize("sizes", [[15, 15, 15], [8, 20, 60], [5, 90, 11, 30]])
def test_W4b_labels_over_class_size_give_lda_for_any_balance(sizes, record_property):
    """Label pairs weighted 1/N_c make the pencil (S_w, S_t): linear VICReg spans LDA for every class balance."""
    X, y = classes(sizes, 6, 1)
    K, N = len(sizes) - 1, y.size
    best = label_optimum(X, y, "class_size", K)
    assert best.gap > 1e-2
    same_span(record_property, best.embedding.W, discriminants(X, y), ROUNDING)
    # the pencil is (S_w, S_t)
    inside, total = scatters(X, y)
    mu = scipy.linalg.eigh(sum(inside), total, eigvals_only=True)
    agree(record_property, best.embedding.spectrum[: K + 1], mu[: K + 1], ROUNDING)
    gamma = best.method.invariance
    agree(record_property, best.loss, K - (np.maximum(0, 1 - gamma * mu[:K]) ** 2).sum(), EXACT)
    A = cliques(y, 1 / np.bincount(y), diagonal=True)
    agree(record_property, value(vicreg, X @ best.embedding.W, A, gamma), best.loss, ROUNDING)
    found = ss.lda(X, y)
    same_span(record_property, found.W, discriminants(X, y), ROUNDING)
    close(found.W.T @ total @ found.W, N * np.eye(K), N * EXACT)


def test_W4c_unbalanced_zero_one_labels_do_not_give_lda(record_property):
    """Plain 0/1 label pairs weigh the scatter of class c by N_c, and are no LDA when unbalanced: a COUNTEREXAMPLE."""
    X, y = classes([8, 20, 60], 6, 1)
    best = label_optimum(X, y, "none", 2)
    assert best.gap > 1e-2
    away = sine(best.embedding.W, discriminants(X, y))
    record_property(
        "counterexample",
        f"classes of 8, 20 and 60 samples, 0/1 label pairs: the weights are at a sine of {away:.2f} from those of LDA",
    )
    assert away > DIFFERENT
    inside, total = scatters(X, y)
    weighted = sum(n * S for n, S in zip(np.bincount(y), inside, strict=True))
    same_span(record_property, best.embedding.W, scipy.linalg.eigh(weighted, total)[1][:, :2], ROUNDING)


# --- noise augmentation: PCA ----------------------------------------------------------------------------------------


def noisy_views(X0, s2, V):
    """Views of X0 (n, D) under a finite noise with exactly the moments of V independent draws of N(0, s2 I).

    One feature at a time is disturbed by +-sqrt(D s2), in all 2^V combinations over the views.
    """
    n, D = X0.shape
    rows, source = [], []
    for i, j, signs in itertools.product(range(n), range(D), itertools.product([-1, 1], repeat=V)):
        for sign in signs:
            x = X0[i].copy()
            x[j] += sign * np.sqrt(D * s2)
            rows.append(x)
        source += [source[-1] + 1 if source else 0] * V
    return np.array(rows), np.array(source)


@pytest.mark.parametrize("V", [2, 3])
def test_W5_isotropic_noise_augmentation_gives_pca(V, record_property):
    """V views under isotropic noise of variance s2: PCA of the originals, t_k = 1 - (gamma/alpha) s2 / (w_k + s2)."""
    rng = np.random.default_rng(0)
    D, K, s2, alpha = 4, 3, 0.3, 1.3
    X0 = rng.standard_normal((12, D)) * np.array([0.5, 2.0, 0.3, 1.1])
    X0 = X0 @ np.linalg.qr(rng.standard_normal((D, D)))[0] + 5.0
    w = np.sort(np.linalg.eigvalsh(np.cov(X0.T, ddof=0)))[::-1]
    X, source = noisy_views(X0, s2, V)
    close(np.cov(X.T, ddof=0), np.cov(X0.T, ddof=0) + s2 * np.eye(D), EXACT)
    graph = ss.relations.views(ss.Dataset(name="noise", X=X, source=source))
    moments = ss.Moments.from_arrays(X, graph)
    close(moments.laplacian, len(X) * s2 * np.eye(D), len(X) * EXACT)  # a multiple of I
    principal = PCA(K).fit(X0).components_.T
    for gamma in (0.2 * alpha, 0.9 * alpha, 2 * alpha):
        t = np.maximum(0, 1 - gamma / alpha * s2 / (w[:K] + s2))  # past gamma = alpha the smallest is cut off at 0
        best = ss.optimum(ss.VICReg(alpha, alpha, gamma), graph, K, X=X)
        agree(record_property, covariance_spectrum(best.embedding.Z), t, ROUNDING, scale=1.0)
        agree(record_property, best.loss, alpha * (K - (t**2).sum()), ROUNDING)
        r = best.rank
        assert r == np.count_nonzero(t)
        same_span(record_property, best.embedding.W[:, :r], principal[:, :r], ROUNDING)
    assert t[-1] == 0 < t[0]


def test_W5_by_lemma_M_any_multiple_of_the_identity_ranks_by_variance(record_property):
    """The pencil (c I, S + s2 I) has mu_k = c / (w_k + s2) and the eigenvectors of S, by descending variance."""
    D, c, alpha, s2 = 5, 1.4, 1.0, 0.5
    S = psd(D, D, np.random.default_rng(2))
    w, E = np.linalg.eigh(S)
    w, E = w[::-1], E[:, ::-1]
    pairs = linalg.generalized_eigh(c * np.eye(D), S + s2 * np.eye(D), largest=False)
    agree(record_property, pairs.values, c / (w + s2), EXACT)
    same_span(record_property, pairs.vectors[:, :2], E[:, :2], ROUNDING)
    reached, _ = minimise(lambda W: lemma_m_loss(W, c * np.eye(D), S + s2 * np.eye(D), alpha), (D, 2))
    t = np.maximum(0, 1 - c / (w[:2] + s2) / (2 * alpha))
    agree(record_property, reached, alpha * (2 - (t**2).sum()), TRAINED)
