"""Multidimensional scaling of distances (S4), of any similarities (S1, S2) and of geodesics (S5), and new samples.

The witnesses are numpy's eigensolvers and double loops over the definitions, de Silva & Tenenbaum's formula, networkx's
shortest paths, scikit-learn's PCA, KernelPCA and Isomap, and scipy's L-BFGS on the naive loss.
"""

import re

import naive
import networkx as nx
import numpy as np
import pytest
import torch
from measure import agree, same_span, sine
from sklearn.datasets import load_digits, make_swiss_roll
from sklearn.decomposition import PCA, KernelPCA
from sklearn.manifold import Isomap
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import kneighbors_graph

import spectral_ssl as ss

EXACT = 1e-10  # relative: dense float64 eigensolves on both sides, gaps of a few per cent
TRAINED = 1e-8  # loss: L-BFGS stops at |grad| of about 1e-7, and the excess is its square over the curvature
ITERATED = 1e-10  # the largest found is 1e-13: scikit-learn by ARPACK at tolerance 0, ours by a dense solver


def cloud(N=40, D=4, seed=0):
    return np.random.default_rng(seed).standard_normal((N, D)) * np.linspace(3.0, 0.7, D) + 5.0


DISTANCES = {
    "euclidean": lambda X, Y: pairwise_distances(X, Y),
    "cityblock": lambda X, Y: pairwise_distances(X, Y, metric="cityblock"),
    "squared": lambda X, Y: pairwise_distances(X, Y) ** 2,  # no Euclidean distances: negative eigenvalues
}


def signed(N, seed, positive=4):
    """Symmetric, of entries of both signs, with a given number of positive eigenvalues, and these."""
    rng = np.random.default_rng(seed)
    g = np.concatenate([np.linspace(5, 2, positive), -np.linspace(0.5, 4, N - positive)])
    U = np.linalg.qr(rng.standard_normal((N, N)))[0]
    G = U @ np.diag(g) @ U.T
    return (G + G.T) / 2, np.sort(g)[::-1]


def upto_signs(found, expected):
    """The largest difference of entries, columns flipped to agree, relative to the largest entry."""
    flips = np.sign((found * expected).sum(axis=0))
    return float(np.abs(found * flips - expected).max() / np.abs(expected).max())


# --- distances --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DISTANCES)
def test_S4_gowers_formula_gives_the_fit_on_training_rows(name, record_property):
    """Gower's formula z_k(x) = -(d(x)^2 - mean D2)'u_k / (2 sqrt(g_k)) gives Z on training rows, Euclidean or not."""
    X = cloud()
    D = DISTANCES[name](X, X)
    found = ss.classical_mds(D, 3)
    assert found.extends
    agree(record_property, found.transform(D), found.Z, EXACT, scale=np.abs(found.Z).max())
    # and elsewhere it is the formula itself, by loops over eigenvectors that numpy found
    new = DISTANCES[name](X[:4] + 0.3, X)
    H = np.eye(40) - 1 / 40
    g, U = np.linalg.eigh(-H @ D**2 @ H / 2)
    mean = (D**2).mean(axis=0)
    expected = np.zeros((4, 3))
    for i, d in enumerate(new):
        for k in range(3):
            expected[i, k] = sum((mean[j] - d[j] ** 2) * U[j, -1 - k] for j in range(40)) / (2 * np.sqrt(g[-1 - k]))
    joint = np.vstack([found.Z, found.transform(new)])
    witness = np.vstack([U[:, [-1, -2, -3]] * np.sqrt(g[[-1, -2, -3]]), expected])
    agree(record_property, upto_signs(joint, witness), 0.0, EXACT, scale=1.0)


def test_S4_new_samples_of_euclidean_distances_fall_where_pca_projects_them(record_property):
    """Gower's formula on Euclidean distances is PCA's projection of the new samples."""
    X, new = cloud(), cloud(7, seed=1)
    found, theirs = ss.classical_mds(pairwise_distances(X), 2), PCA(2).fit(X)
    both = np.vstack([found.Z, found.transform(pairwise_distances(new, X))])
    gap = upto_signs(both, np.vstack([theirs.transform(X), theirs.transform(new)]))
    agree(record_property, gap, 0.0, EXACT, scale=1.0)


def test_S4_fit_on_landmarks_then_transform_is_landmark_mds(record_property):
    """Fit on landmarks, then transform: Landmark MDS, x = -L#(d^2 - mean)/2; Euclidean distances come back exactly."""
    X = cloud(60, 3)
    D = pairwise_distances(X)
    marks = np.arange(0, 60, 6)
    found = ss.classical_mds(D[marks][:, marks], 3)
    # de Silva & Tenenbaum 2004: L# has rows v_k'/sqrt(lambda_k), mean is that of the landmarks' squared distances
    D2 = D[marks][:, marks] ** 2
    H = np.eye(10) - 1 / 10
    values, V = np.linalg.eigh(-H @ D2 @ H / 2)
    pseudo = (V[:, -3:] / np.sqrt(values[-3:])).T
    theirs = (-pseudo @ ((D[:, marks] ** 2).T - D2.mean(axis=1)[:, None]) / 2).T
    ours = found.transform(D[:, marks])
    agree(record_property, ours @ ours.T, theirs @ theirs.T, EXACT, scale=np.abs(theirs @ theirs.T).max())
    agree(record_property, pairwise_distances(ours), D, EXACT, scale=D.max())


def test_S4_past_the_dense_solver_the_largest_eigenvalues_and_the_least_are_held(record_property):
    """Past 1,500 samples the leading eigenvalues of -H D2 H / 2, and its least, by Lanczos, are the dense solver's."""
    N, K = 1503, 3
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 15)) * np.linspace(3, 1, 15)
    D2 = pairwise_distances(X) ** 2
    D2 += 40 * np.abs(np.subtract.outer(X[:, 0], X[:, 0]))  # no squared Euclidean distances in 15 dimensions
    D2 -= 0.3 * np.abs(np.subtract.outer(X[:, 1], X[:, 1])) * (D2 > 1)
    D = np.sqrt(np.maximum((D2 + D2.T) / 2, 0))
    found = ss.classical_mds(D, K)
    D2 = D**2
    g = np.linalg.eigvalsh(-(D2 - D2.mean(axis=0) - D2.mean(axis=0)[:, None] + D2.mean()) / 2)[::-1]
    assert found.spectrum.size < N
    assert g[-1] < -1
    agree(record_property, found.spectrum[: K + 1], g[: K + 1], EXACT)
    agree(record_property, found.spectrum[-1], g[-1], EXACT)
    agree(record_property, found.Z.T @ found.Z, np.diag(g[:K]), EXACT, scale=g[0])
    agree(record_property, found.transform(D[:50]), found.Z[:50], EXACT, scale=np.abs(found.Z).max())


def test_past_the_dense_solver_distances_of_few_dimensions_keep_their_rank():
    """2,000 points of a plane: eigenvalue 0 is 1,997 times there, and Lanczos is to tell two dimensions from it."""
    X = np.random.default_rng(0).standard_normal((1600, 2)) * [2.0, 1.0]
    with pytest.warns(ss.SpectralWarning, match="only 2 of 3 dimensions"):
        found = ss.classical_mds(pairwise_distances(X), 3)
    assert found.rank == 2
    assert np.all(found.Z[:, 2] == 0)
    assert sine(found.Z[:, :2], X - X.mean(axis=0)) < EXACT


# --- similarities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 4])
def test_S1_generalized_mds_minimises_the_frobenius_loss_of_any_similarity(K, record_property):
    """For entries of any sign, min |ZZ' - G|^2 = sum g^2 - sum_{k<=K} max(0, g_k)^2, and Z reaches it."""
    G, g = signed(10, 0)
    found = ss.generalized_mds(G, K)
    assert (G < 0).any()
    minimum = (g**2).sum() - (np.maximum(g[:K], 0) ** 2).sum()
    agree(record_property, naive.value(naive.frobenius_simclr, found.Z, G), minimum, EXACT)
    reached, Z = naive.minimise(lambda Z: naive.frobenius_simclr(Z, torch.as_tensor(G)), (10, K))
    agree(record_property, reached, minimum, TRAINED)
    same_span(record_property, found.Z, Z, 1e-5)  # |grad| 1e-7 over a gap of 1
    agree(record_property, found.spectrum, g, EXACT, scale=g[0])


def test_S2_generalized_mds_uses_positive_eigenvalues_only(record_property):
    """rank Z = min(K, #{g > 0}), whatever the rank of G: columns past it are zero, and told."""
    G, g = signed(12, 1, positive=3)
    assert np.linalg.matrix_rank(G) == 12
    with pytest.warns(ss.SpectralWarning, match="only 3 of 5 dimensions"):
        found = ss.generalized_mds(G, 5)
    assert found.rank == 3
    assert np.all(found.Z[:, 3:] == 0)
    minimum = (g[3:] ** 2).sum()
    agree(record_property, naive.value(naive.frobenius_simclr, found.Z, G), minimum, EXACT)
    reached, _ = naive.minimise(lambda Z: naive.frobenius_simclr(Z, torch.as_tensor(G)), (12, 5))
    agree(record_property, reached, minimum, TRAINED)
    new = np.random.default_rng(0).standard_normal((2, 12))
    assert np.all(found.transform(new)[:, 3:] == 0)


@pytest.mark.parametrize("centre", [False, True])
def test_S1_new_rows_of_similarities_are_projected(centre, record_property):
    """z_k(x) = g(x)'u_k / sqrt(g_k): Z on training rows, and elsewhere the row that fits g(x) best."""
    G, _ = signed(15, 2, positive=6)
    found = ss.generalized_mds(G, 3, centre=centre)
    agree(record_property, found.transform(G), found.Z, EXACT, scale=np.abs(found.Z).max())
    assert (np.abs(found.Z.sum(axis=0)).max() < 1e-12) == centre
    new = np.random.default_rng(0).standard_normal((4, 15))
    target = new - G.mean(axis=0) - new.mean(axis=1, keepdims=True) + G.mean() if centre else new
    fitted = np.linalg.lstsq(found.Z, target.T, rcond=None)[0].T  # min |Z z - g(x)|^2
    agree(record_property, found.transform(new), fitted, EXACT, scale=np.abs(fitted).max())


def test_centred_similarities_of_a_kernel_are_kernel_pca():
    X, new = cloud(), cloud(5, seed=3)
    Q, q = rbf_kernel(X, gamma=0.05), rbf_kernel(new, X, gamma=0.05)
    found, theirs = ss.generalized_mds(Q, 3, centre=True), KernelPCA(3, kernel="precomputed").fit(Q)
    assert found.spectrum[:3] == pytest.approx(theirs.eigenvalues_, rel=EXACT)
    joint = np.vstack([found.Z, found.transform(q)])
    assert upto_signs(joint, np.vstack([theirs.transform(Q), theirs.transform(q)])) < EXACT


def neighbours(N=50, k=6):
    X = cloud(N, 3)
    graph = ss.relations.knn(X, n_neighbors=k)
    assert not graph.regular
    return X, graph, graph.to_csr().toarray()


@pytest.mark.parametrize("centre", [False, True])
def test_S1_generalized_mds_of_a_graph_is_that_of_its_adjacency_matrix(centre, record_property):
    """Of a relation, min |ZZ' - A|^2 (or |ZZ' - HAH|^2) without a dense matrix; new samples by the eigen-equation."""
    K = 4
    X, graph, A = neighbours()
    found = ss.generalized_mds(graph, K, centre=centre)
    H = np.eye(50) - 1 / 50
    G = H @ A @ H if centre else A
    g, U = np.linalg.eigh(G)
    g, U = g[::-1][:K], U[:, ::-1][:, :K]
    assert np.diff(np.linalg.eigvalsh(G)[::-1][: K + 1]).max() < -1e-3
    agree(record_property, found.spectrum[:K], g, EXACT)
    assert found.spectrum.size > K
    agree(record_property, upto_signs(found.Z, U * np.sqrt(g)), 0.0, EXACT, scale=1.0)
    agree(record_property, found.transform(X), found.Z, EXACT, scale=np.abs(found.Z).max())
    # a new sample: its row of the relation, centred as the training rows were, times u / sqrt(g)
    new = cloud(3, 3, seed=9)
    a = graph.attach(new).toarray()
    a = a - A.mean(axis=0) - a.mean(axis=1, keepdims=True) + A.mean() if centre else a
    both = np.vstack([found.Z, found.transform(new)])
    agree(record_property, upto_signs(both, np.vstack([U * np.sqrt(g), a @ U / np.sqrt(g)])), 0.0, EXACT, scale=1.0)


def test_generalized_mds_takes_the_spectra_of_a_graph_and_no_linear_ones():
    X, graph, A = neighbours()
    found = ss.generalized_mds(ss.Spectra(graph), 2)
    assert found.spectrum[:2] == pytest.approx(np.linalg.eigvalsh(A)[::-1][:2], rel=EXACT)
    with pytest.raises(ss.DataError, match="without X"):
        ss.generalized_mds(ss.Spectra(graph, X=X), 2)


def test_relations_without_a_rule_for_new_samples_give_none():
    graph = ss.Graph.from_pairs([0, 1, 2, 3], [1, 2, 3, 4], 5)
    for centre in (False, True):
        found = ss.generalized_mds(graph, 1, centre=centre)
        assert not found.extends
        with pytest.raises(ss.DataError, match="no rule"):
            found.transform(np.zeros((1, 2)))


def test_what_is_given_is_left_as_it_was():
    X = cloud()
    D, Q = pairwise_distances(X), rbf_kernel(X, gamma=0.05)
    before = X.copy(), D.copy(), Q.copy()
    ss.classical_mds(D, 2).transform(D)
    ss.generalized_mds(Q, 2, centre=True).transform(Q)
    ss.isomap(X, 2, n_neighbors=20).transform(X)
    ss.isomap(D, 2, n_neighbors=20, metric="precomputed").transform(D)
    for given, was in zip((X, D, Q), before, strict=True):
        assert np.array_equal(given, was)


# --- geodesics --------------------------------------------------------------------------------------------------------


def digits(N):
    """Digits with a jitter: pixels are whole numbers, and tied neighbours would be anyone's choice."""
    return load_digits().data[:N] + 1e-3 * np.random.default_rng(0).standard_normal((N, 64))


MANIFOLDS = {
    "swiss roll": (make_swiss_roll(300, noise=0.05, random_state=3)[0], {"n_neighbors": 8}, 2),
    "swiss roll, radius": (make_swiss_roll(300, noise=0.05, random_state=3)[0], {"radius": 5.5}, 2),
    "digits": (digits(250), {"n_neighbors": 12}, 3),
    "digits, manhattan": (digits(200), {"n_neighbors": 12, "metric": "manhattan"}, 2),
}


@pytest.mark.parametrize("name", MANIFOLDS)
def test_S5_isomap_parity_with_scikit_learn_and_its_transform(name, record_property):
    """Isomap is classical MDS of geodesics: scikit-learn's distances, eigenvalues and transform of new rows."""
    X, options, K = MANIFOLDS[name]
    found = ss.isomap(X, K, **options)
    theirs = Isomap(n_components=K, **({"n_neighbors": None} | options)).fit(X)
    assert found.gap > 1e-2
    size = found.spectrum[0]
    agree(record_property, found.spectrum[:K], theirs.kernel_pca_.eigenvalues_, ITERATED, scale=size)
    same_span(record_property, found.Z, theirs.embedding_, ITERATED, nested=True)
    new = X[:40] + 0.05 * np.random.default_rng(1).standard_normal((40, X.shape[1]))
    joint = np.vstack([found.Z, found.transform(new)])
    witness = np.vstack([theirs.embedding_, theirs.transform(new)])
    agree(record_property, pairwise_distances(joint), pairwise_distances(witness), ITERATED, scale=np.sqrt(size))
    assert found.spectrum[-1] < -1e-3 * size  # geodesics are no Euclidean distances


@pytest.mark.parametrize("name", MANIFOLDS)
def test_S5_isomap_transforms_training_rows_to_the_fit(name, record_property):
    """Geodesics of a training row by min_j d(x, j) + D_ji are its own, so transform gives Z."""
    X, options, K = MANIFOLDS[name]
    found = ss.isomap(X, K, **options)
    agree(record_property, found.transform(X[::3]), found.Z[::3], EXACT, scale=np.abs(found.Z).max())


def test_isomap_lengths_are_shortest_paths_duplicates_included():
    X = cloud(40, 2, seed=4)
    X[[7, 8]] = X[[20, 21]]  # edges of length zero
    g = nx.Graph()
    g.add_nodes_from(range(40))
    for i in range(40):
        d = np.sqrt(((X - X[i]) ** 2).sum(axis=1))
        d[i] = np.inf
        for j in np.lexsort((np.arange(40), d))[:6]:
            g.add_edge(i, int(j), weight=d[j])
    assert nx.is_connected(g)
    D = np.array([[nx.shortest_path_length(g, i, j, weight="weight") for j in range(40)] for i in range(40)])
    found = ss.isomap(X, 2, n_neighbors=6)
    H = np.eye(40) - 1 / 40
    values, U = np.linalg.eigh(-H @ D**2 @ H / 2)
    assert found.spectrum == pytest.approx(values[::-1], abs=EXACT * values[-1])
    assert upto_signs(found.Z, U[:, [-1, -2]] * np.sqrt(values[[-1, -2]])) < EXACT
    assert np.abs(found.Z[7] - found.Z[20]).max() < EXACT


def test_isomap_unrolls_a_curve_to_its_length():
    t = np.linspace(0, 4, 60)
    X = np.column_stack([np.cos(t), np.sin(t)])
    step = np.linalg.norm(X[1] - X[0])
    found = ss.isomap(X, 1, radius=1.5 * step)
    z = found.Z[:, 0] * np.sign(found.Z[-1, 0])
    assert z == pytest.approx(step * (np.arange(60) - 29.5), abs=1e-10)
    assert (
        np.abs(found.spectrum[1:]).max() < 1e-10 * found.spectrum[0]
    )  # a line: no other dimension, nor a negative one


def test_isomap_of_precomputed_distances_is_that_of_the_samples():
    X, new = cloud(50, 3), cloud(6, 3, seed=5)
    D, d = pairwise_distances(X, metric="cityblock"), pairwise_distances(new, X, metric="cityblock")
    found = ss.isomap(D, 2, n_neighbors=6, metric="precomputed")
    by_metric = ss.isomap(X, 2, n_neighbors=6, metric="cityblock")
    theirs = Isomap(n_neighbors=6, n_components=2, metric="precomputed").fit(D)
    for transformed in (found.transform(d), by_metric.transform(new)):
        assert (
            upto_signs(np.vstack([found.Z, transformed]), np.vstack([theirs.embedding_, theirs.transform(d)]))
            < ITERATED
        )


def two_clusters(sizes, distance, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((sum(sizes), 2))
    X[sizes[0] :, 0] += distance
    return X


def test_isomap_of_a_graph_in_pieces_names_them_and_the_neighbours_that_join_them():
    X = two_clusters((25, 15), 12.0)
    with pytest.raises(ss.DataError, match=r"2 components of 25, 15 samples") as error:
        ss.isomap(X, 2, n_neighbors=4)
    k = int(re.search(r"n_neighbors=(\d+) joins them", str(error.value)).group(1))

    def pieces(k):
        A = kneighbors_graph(X, k).toarray()
        return nx.number_connected_components(nx.from_numpy_array(np.maximum(A, A.T)))

    assert pieces(k) == 1
    assert pieces(k - 1) == 2
    assert ss.isomap(X, 2, n_neighbors=k).rank == 2


def test_isomap_of_a_graph_in_pieces_names_the_radius_that_joins_them():
    X = two_clusters((20, 20), 9.0)
    with pytest.raises(ss.DataError, match="joins them") as error:
        ss.isomap(X, 2, radius=1.0)
    radius = float(re.search(r"radius=([\d.e+-]+) joins them", str(error.value)).group(1))
    tree = nx.minimum_spanning_tree(nx.from_numpy_array(pairwise_distances(X)))
    longest = max(w for _, _, w in tree.edges(data="weight"))
    assert longest <= radius <= 1.001 * longest
    assert ss.isomap(X, 2, radius=radius).rank == 2


def test_isomap_of_clusters_too_far_apart_says_so():
    with pytest.raises(ss.DataError, match="even 200 neighbours do not join them; or embed each component by itself"):
        ss.isomap(two_clusters((210, 205), 100.0), 2, n_neighbors=5)


def test_isomap_refuses_new_samples_that_no_path_leads_to():
    X = cloud(30, 2)
    found = ss.isomap(X, 1, radius=4.0)
    with pytest.raises(ss.DataError, match="1 of 2 new samples have no training sample within radius=4"):
        found.transform(np.vstack([X[:1], X[:1] + 100]))
    with pytest.raises(ss.DataError, match="2 features"):
        found.transform(np.zeros((1, 3)))


@pytest.mark.parametrize("N", [3, 11])
def test_isomap_of_few_samples_takes_all_others_as_neighbours(N):
    X = cloud(N, 3)
    found, witness = ss.isomap(X, 2), ss.classical_mds(pairwise_distances(X), 2)  # every path is one edge
    assert np.abs(found.Z @ found.Z.T - witness.Z @ witness.Z.T).max() < 1e-9 * np.abs(witness.Z).max() ** 2


@pytest.mark.parametrize("options", [{}, {"radius": 4.0}, {"n_neighbors": 5}])
def test_isomap_of_no_new_samples_is_empty(options):
    assert ss.isomap(cloud(30, 2), 2, **options).transform(np.zeros((0, 2))).shape == (0, 2)


# --- bad input --------------------------------------------------------------------------------------------------------

D3 = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
X9 = cloud(9, 2)


def with_entry(M, i, j, value):
    M = M.copy()
    M[i, j] = value
    return M


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ss.classical_mds(np.ones((2, 3)), 1), "square"),
        (lambda: ss.classical_mds(np.zeros((1, 1)), 1), "at least 2"),
        (lambda: ss.classical_mds([["a", "b"], ["c", "d"]], 1), "numbers"),
        (lambda: ss.classical_mds(with_entry(D3, 0, 1, 5.0), 1), r"entry \[0,1\] is 5 and \[1,0\] is 1"),
        (lambda: ss.classical_mds(-D3, 1), "6 negative values"),
        (lambda: ss.classical_mds(D3 + np.eye(3), 1), "generalized_mds"),
        (lambda: ss.classical_mds(with_entry(D3, 1, 2, np.nan), 1), "1 NaN"),
        (lambda: ss.classical_mds(with_entry(D3, 1, 2, np.inf), 1), "1 infinite values; join the components"),
        (lambda: ss.classical_mds(D3, 3), "exceeds N - 1 = 2"),
        (lambda: ss.classical_mds(D3, 0), "n_components must be a whole number at least 1"),
        (lambda: ss.classical_mds(D3, True), "n_components must be a whole number at least 1"),
        (lambda: ss.classical_mds(ss.Graph.from_adjacency(D3).to_csr(), 1), "dense array"),
        (lambda: ss.classical_mds(D3, 1).transform(np.ones((2, 4))), r"distances \(n, 3\)"),
        (lambda: ss.classical_mds(D3, 1).transform(-np.ones((2, 3))), "negative"),
        (lambda: ss.classical_mds(D3, 1).transform(with_entry(D3, 0, 0, np.nan)), "1 entry that is NaN"),
        (lambda: ss.generalized_mds(with_entry(D3, 0, 1, 5.0), 1), "symmetric"),
        (lambda: ss.generalized_mds(D3, 4), "exceeds N = 3"),
        (lambda: ss.generalized_mds(D3, 3, centre=True), "exceeds N - 1 = 2"),
        (lambda: ss.generalized_mds(D3, 1).transform(np.ones((1, 2))), r"similarities \(n, 3\)"),
        (lambda: ss.generalized_mds(D3, 1).transform(np.ones(3)), r"one sample: X.reshape\(1, -1\)"),
        (lambda: ss.isomap(X9, 1, n_neighbors=3, radius=1.0), "not both"),
        (lambda: ss.isomap(X9, 1, radius=-1.0), "radius must be a number above 0, got -1"),
        (lambda: ss.isomap(X9, 1, radius="a"), "radius must be a number above 0, got 'a'"),
        (lambda: ss.isomap(X9, 1, radius=True), "radius must be a number above 0, got True"),
        (lambda: ss.isomap(X9, 1, radius=np.nan), "radius must be a number above 0, got nan"),
        (lambda: ss.isomap(X9, 1, n_neighbors="a"), "n_neighbors must be a whole number"),
        (lambda: ss.isomap(X9, 1, n_neighbors=0), "n_neighbors"),
        (lambda: ss.isomap(X9, 1, n_neighbors=9), "N - 1 = 8"),
        (lambda: ss.isomap(X9, 9, n_neighbors=4), "exceeds N - 1 = 8"),
        (lambda: ss.isomap(X9, 1, n_neighbors=4, metric="nonsense"), "metric='nonsense'"),
        (lambda: ss.isomap(X9, 1, n_neighbors=4, metric="precomputed"), "square"),
        (lambda: ss.isomap(with_entry(X9, 0, 0, np.nan), 1, n_neighbors=4), "NaN"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ss.DataError, match=words):
        call()


def test_what_does_not_fit_in_memory_is_refused_before_the_work_starts():
    with pytest.raises(ss.ResourceError, match="fit on landmarks"):
        ss.classical_mds(np.broadcast_to(0.0, (20_001, 20_001)), 2)
    with pytest.raises(ss.ResourceError, match="limit 10,000 samples"):
        ss.isomap(np.arange(10_001.0)[:, None], 1)
