"""The contrastive covariance, its signed pair graph, uniform importance and normalised outputs: A10 to A14."""

import itertools

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from measure import agree, same_span

import spectral_ssl as ss
from spectral_ssl.alpha_cl import (
    Contrast,
    Nce,
    SignedGraph,
    contrastive_covariance,
    fixed_optimum,
    normalised_ascent,
    normalised_covariance,
    sphere_bound,
)
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.graph import Graph

Array = np.ndarray
ROUNDING = 1e-12  # sums of some hundred products of order 1
SOLVED = 1e-9  # an eigenvalue or vector of a dense solve over the gaps of these examples, all above 1e-3
VIEWS = pytest.mark.parametrize("views", ["one", "two"])


def negatives(N: int, views: str) -> list[tuple[int, int, list[int]]]:
    """(anchor, positive, negatives) of rows (z, z'), from the definition."""
    if views == "one":
        return [(i, i + N, [j for j in range(N) if j != i]) for i in range(N)]
    return [(i, (i + N) % (2 * N), [j for j in range(2 * N) if j % N != i % N]) for i in range(2 * N)]


def by_definition(x: Array, y: Array, alpha: Array, views: str) -> Array:
    """C_alpha[x, y] as a double loop over pairs."""
    C = np.zeros((x.shape[1], y.shape[1]))
    for k, (i, p, others) in enumerate(negatives(x.shape[0] // 2, views)):
        for place, j in enumerate(others):
            C += alpha[k, place] * (np.outer(x[i] - x[j], y[i] - y[j]) - np.outer(x[i] - x[p], y[i] - y[p]))
    return C


def laplacian_of_pairs(alpha: Array, N: int, views: str) -> Array:
    """Lap(S) - Lap(P) by networkx, edge by edge."""
    push, pull = nx.Graph(), nx.Graph()
    for graph in (push, pull):
        graph.add_nodes_from(range(2 * N))
    for k, (i, p, others) in enumerate(negatives(N, views)):
        for place, j in enumerate(others):
            for graph, other in ((push, j), (pull, p)):
                held = graph.get_edge_data(i, other, {"weight": 0.0})["weight"]
                graph.add_edge(i, other, weight=held + alpha[k, place])
    order = range(2 * N)
    return (nx.laplacian_matrix(push, order) - nx.laplacian_matrix(pull, order)).toarray()


def example(N: int, views: str, D: int = 4, seed: int = 0) -> tuple[Contrast, Array, Array]:
    """A contrast, rows X (2N, D) off the origin, and an alpha without any structure."""
    rng = np.random.default_rng(seed)
    contrast = Contrast.of(N, views=views)
    X = 3.0 + rng.standard_normal((2 * N, D)) * np.arange(1, D + 1)
    return contrast, X, rng.gamma(0.5, size=(contrast.n_anchors, contrast.n_negatives))


# --- A10: the covariance and its graph --------------------------------------------------------------------------------


@VIEWS
def test_A10_the_covariance_is_the_form_of_a_signed_graph(views, record_property) -> None:
    """C_alpha[a, b] = a'Mb by a loop over pairs, M by networkx, and E = tr C[z] / 2."""
    contrast, X, alpha = example(6, views)
    Y = np.random.default_rng(1).standard_normal((12, 3))
    size = np.abs(by_definition(X, X, alpha, views)).max()
    agree(
        record_property,
        contrastive_covariance(X, contrast, alpha),
        by_definition(X, X, alpha, views),
        ROUNDING,
        scale=size,
    )
    agree(
        record_property,
        contrastive_covariance(X, contrast, torch.as_tensor(alpha), Y),
        by_definition(X, Y, alpha, views),
        ROUNDING,
        scale=size,
    )
    graph = SignedGraph.of(contrast, alpha)
    M = laplacian_of_pairs(alpha, 6, views)
    agree(record_property, graph.to_csr().toarray(), M, ROUNDING, scale=np.abs(M).max())
    agree(record_property, graph.matmul(np.eye(12)), M, ROUNDING, scale=np.abs(M).max())
    pairs = sum(
        alpha[k, place] * (np.sum((X[i] - X[j]) ** 2) - np.sum((X[i] - X[p]) ** 2)) / 2
        for k, (i, p, others) in enumerate(negatives(6, views))
        for place, j in enumerate(others)
    )
    agree(record_property, graph.energy(X), pairs, ROUNDING)
    agree(record_property, np.trace(by_definition(X, X, alpha, views)) / 2, pairs, ROUNDING)
    whole = SignedGraph.of(Contrast.of(6, views=views, half_squared=False), alpha)
    agree(record_property, whole.energy(X), 2 * pairs, ROUNDING)


def test_A10_one_view_in_blocks(record_property) -> None:
    """M = [[Lap(S) - B, B], [B, -B]] for one view, B = diag(A 1)."""
    contrast, _, alpha = example(5, "one")
    A = np.zeros((5, 5))
    A[~np.eye(5, dtype=bool)] = alpha.ravel()
    S, B = A + A.T, np.diag(A.sum(axis=1))
    lap = np.diag(S.sum(axis=1)) - S
    agree(record_property, SignedGraph.of(contrast, alpha).to_csr().toarray(), np.block([[lap - B, B], [B, -B]]), 1e-14)


@VIEWS
@settings(max_examples=25, deadline=None)
@given(N=st.integers(2, 6), seed=st.integers(0, 10**6), factor=st.floats(-3, 3))
def test_the_signed_graph_is_symmetric_linear_in_alpha_and_blind_to_the_mean(views, N, seed, factor) -> None:
    rng = np.random.default_rng(seed)
    contrast = Contrast.of(N, views=views)
    first, second = rng.random((2, contrast.n_anchors, contrast.n_negatives))
    M1, M2, both = (
        SignedGraph.of(contrast, alpha).matmul(np.eye(2 * N)) for alpha in (first, second, first + factor * second)
    )
    np.testing.assert_allclose(M1, M1.T, atol=ROUNDING)
    np.testing.assert_allclose(both, M1 + factor * M2, atol=ROUNDING * N)
    V = rng.standard_normal((2 * N, 2))
    far = V + 1e9
    np.testing.assert_allclose(SignedGraph.of(contrast, first).matmul(far), M1 @ (far - 1e9), atol=1e-10 * N)
    push, pull = SignedGraph.of(contrast, first).graphs()
    np.testing.assert_allclose(push.laplacian_matmul(V) - pull.laplacian_matmul(V), M1 @ V, atol=ROUNDING * N)
    for found, relation in zip(SignedGraph.of(contrast, first).degree, (push, pull), strict=True):
        np.testing.assert_allclose(found, relation.degree, rtol=1e-12)
    assert np.linalg.eigvalsh(push.laplacian_matmul(np.eye(2 * N)))[0] > -ROUNDING  # a relation of the library


@VIEWS
def test_every_way_to_hold_alpha_is_the_same_graph(views) -> None:
    contrast, X, _ = example(7, views)
    by_row = np.random.default_rng(2).random(contrast.n_anchors)
    uniform = SignedGraph.uniform(contrast, by_row)
    M = laplacian_of_pairs(np.repeat(by_row[:, None], contrast.n_negatives, axis=1), 7, views)
    np.testing.assert_allclose(uniform.matmul(np.eye(14)), M, atol=ROUNDING)
    np.testing.assert_allclose(uniform.to_csr().toarray(), M, atol=ROUNDING)
    # InfoNCE at tau = 0.7 with the positive in the denominator, from its definition
    for half, factor in ((True, 0.5), (False, 1.0)):
        alpha = []
        for i, p, others in negatives(7, views):
            u = factor * (np.sum((X[i] - X[p]) ** 2) - np.sum((X[i] - X[others]) ** 2, axis=1))
            e = np.exp(u / 70)
            alpha.append(e / (1 + e.sum()))
        M = laplacian_of_pairs(np.array(alpha), 7, views)
        told = Contrast.of(7, views=views, half_squared=half)
        for chunk in (1, 3, 100, None):
            graph = SignedGraph.of_rule(told, Nce(70.0, 1.0), X, chunk=chunk)
            np.testing.assert_allclose(graph.matmul(np.eye(14)), M, atol=ROUNDING)
            np.testing.assert_allclose(graph.to_csr().toarray(), M, atol=ROUNDING)


def test_rows_in_any_order_by_the_relation_give_the_same_covariance() -> None:
    _, X, alpha = example(6, "two")
    shuffle = np.random.default_rng(3).permutation(12)  # new row r holds old row shuffle[r]
    place = np.argsort(shuffle)
    relation = Graph.from_pairs(place[:6], place[6:], 12)
    contrast = Contrast.of_graph(relation, views="two")
    # alpha of the old rows, looked up for the new anchors and their negatives
    old = {i: dict(zip(others, alpha[k], strict=True)) for k, (i, _, others) in enumerate(negatives(6, "two"))}
    moved = []
    for a, p in zip(contrast.anchors, contrast.positives, strict=True):
        moved.append([old[shuffle[a]][shuffle[c]] for c in contrast.candidates if c not in (a, p)])
    np.testing.assert_allclose(
        contrastive_covariance(X[shuffle], contrast, np.array(moved)), by_definition(X, X, alpha, "two"), rtol=1e-10
    )


def test_what_is_no_alpha_or_no_rows_is_refused() -> None:
    contrast, X, alpha = example(5, "two")
    graph = SignedGraph.of(contrast, alpha)
    for wrong, match in (
        (lambda: SignedGraph.of(contrast, alpha[:, 1:]), "alpha has shape"),
        (lambda: SignedGraph.of(contrast, np.full_like(alpha, np.nan)), "NaN"),
        (lambda: SignedGraph.uniform(contrast, [1.0, 2.0]), "one for each of the 10 anchors"),
        (lambda: SignedGraph.of_rule(contrast, Nce(), X, chunk=0), "chunk"),
        (lambda: graph.matmul(np.ones(9)), "one row for each view"),
        (lambda: graph.covariance(X[1:]), "X has shape"),
        (lambda: graph.spectrum(0), "positive integer"),
        (lambda: graph.spectrum(11), "number of rows"),
        (lambda: graph.spectrum(5, X=X), "number of features"),
        (lambda: graph.spectrum(1).gap(11), "eigenvalues, 9 are held"),
        (lambda: graph.spectrum(1).multiplicity(0), "9 are held"),
        (lambda: sphere_bound(graph, X), "rows of norm 1"),
        (lambda: normalised_ascent(graph, X, 1), "at least 2"),
        (lambda: normalised_ascent(graph, np.zeros((10, 2)), 2), "a row of X is zero"),
        (lambda: normalised_covariance(graph, X, np.zeros((4, 2))), "a row of XW is zero"),
        (lambda: normalised_covariance(graph, X, np.ones((3, 2))), "features by components"),
    ):
        with pytest.raises(DataError, match=match):
            wrong()
    with pytest.raises(ResourceError, match="never write them out"):
        SignedGraph.uniform(Contrast.of(5000)).to_csr()


# --- A11: the spectrum ------------------------------------------------------------------------------------------------


@VIEWS
def test_A11_free_embeddings_are_the_top_eigenvectors_of_M(views, record_property) -> None:
    """E over Z'Z = I is half the sum of the top K eigenvalues of M, by scipy on the matrix of networkx."""
    contrast, X, alpha = example(8, views)
    graph = SignedGraph.of(contrast, alpha)
    values, V = scipy.linalg.eigh(laplacian_of_pairs(alpha, 8, views))
    found = fixed_optimum(graph, 3, constraint="free")
    agree(record_property, found.energy, values[::-1][:3].sum() / 2, SOLVED)
    same_span(record_property, found.embedding.Z, V[:, ::-1][:, :3], SOLVED, nested=True)
    np.testing.assert_allclose(found.embedding.Z.T @ found.embedding.Z, np.eye(3), atol=1e-12)
    agree(record_property, float(contrast.energy(found.embedding.Z.copy(), alpha)), found.energy, SOLVED)
    spectrum = graph.spectrum(3)
    assert spectrum.gap(3) == pytest.approx((values[-3] - values[-4]) / np.abs(spectrum.values).max())
    assert spectrum.residuals.max() < 1e-12
    # and over maps: the same of C_alpha[x], scores and all
    C, U = scipy.linalg.eigh(by_definition(X, X, alpha, views))
    linear = graph.spectrum(2, X=X)
    agree(record_property, linear.values, C[::-1], SOLVED, scale=np.abs(C).max())
    same_span(record_property, linear.weights[:, :2], U[:, ::-1][:, :2], SOLVED)
    np.testing.assert_allclose(linear.vectors, (X - X.mean(axis=0)) @ linear.weights, atol=1e-10)
    assert linear.complete


@pytest.mark.slow
def test_A11_on_products_alone(record_property) -> None:
    """Where M is never formed: 20 anchors of large importance among 1600 rows, against scipy on the whole matrix."""
    weight = np.ones(800)
    weight[:20] = 1.5 ** np.arange(1, 21)
    contrast = Contrast.of(800, views="one")
    found = SignedGraph.uniform(contrast, weight).spectrum(3)
    assert "products" in found.solver
    A = np.tile(weight[:, None], 800) * (1 - np.eye(800))
    lap = np.diag((A + A.T).sum(axis=1)) - A - A.T
    B = np.diag(A.sum(axis=1))
    values, V = scipy.linalg.eigh(np.block([[lap - B, B], [B, -B]]), subset_by_index=(1596, 1599))
    agree(record_property, found.values[:4], values[::-1], SOLVED)
    same_span(record_property, found.vectors[:, :3], V[:, :0:-1], SOLVED, nested=True)


# --- A12, A13: uniform importance -------------------------------------------------------------------------------------


def test_A12_uniform_importance_of_two_views_is_the_laplacian_of_the_views(record_property) -> None:
    """C = 4wN X'HX - 2w (2N - 1) X'LX for every finite N: over whitened maps LPP and VICReg's directions."""
    N, w = 15, 0.01
    rng = np.random.default_rng(4)
    X = np.tile(rng.standard_normal((N, 3)), (2, 1)) + 0.4 * rng.standard_normal((2 * N, 3))
    graph = SignedGraph.uniform(Contrast.of(N, views="two"), w)
    Xc = X - X.mean(axis=0)
    L = (X[:N] - X[N:]).T @ (X[:N] - X[N:])
    expected = 4 * w * N * Xc.T @ Xc - 2 * w * (2 * N - 1) * L
    agree(record_property, graph.covariance(X), expected, ROUNDING, scale=np.abs(expected).max())
    alpha = np.full((2 * N, 2 * N - 2), w)
    agree(record_property, by_definition(X, X, alpha, "two"), expected, ROUNDING, scale=np.abs(expected).max())
    # the pencil (C, X'HX) by scipy, the library's pencil of the relation "views": mu = 4wN - 2w (2N - 1) lam
    mu, V = scipy.linalg.eigh(by_definition(X, X, alpha, "two"), Xc.T @ Xc)
    views = ss.Spectra(Graph.from_pairs(np.arange(N), np.arange(N) + N, 2 * N), X=X).of("laplacian", 3)
    agree(record_property, 4 * w * N - 2 * w * (2 * N - 1) * views.values, mu[::-1], SOLVED)
    same_span(record_property, views.weights, V[:, ::-1], SOLVED, nested=True)
    # without the whitening the directions are others
    assert np.abs(np.linalg.svd(views.weights[:, :1].T @ graph.spectrum(1, X=X).weights[:, :1])[1]) < (
        0.999 * np.linalg.norm(views.weights[:, 0])
    )


@VIEWS
@pytest.mark.parametrize("w", [0.3, -0.2])
def test_A12_spectrum_of_uniform_importance_in_closed_form(views, w, record_property) -> None:
    """All eigenpairs of M for alpha = w, by scipy; 4wN N - 1 times for two views, whatever the data."""
    N = 6
    contrast = Contrast.of(N, views=views)
    alpha = np.full((contrast.n_anchors, contrast.n_negatives), w)
    graph = SignedGraph.uniform(contrast, w)
    sign = np.sign(w)
    M = sign * laplacian_of_pairs(np.abs(alpha), N, views)
    values = scipy.linalg.eigvalsh(M)[::-1]
    for K in (1, N, 2 * N):
        found = graph.spectrum(K)
        agree(record_property, found.values, values[: found.values.size], SOLVED, scale=np.abs(values).max())
        assert np.linalg.norm(M @ found.vectors - found.vectors * found.values) < ROUNDING
        np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(found.values.size), atol=1e-12)
    if views == "two" and w > 0:
        agree(record_property, found.values[0], 4 * w * N, ROUNDING)
        assert found.multiplicity(1) == N - 1
        assert fixed_optimum(graph, 2, constraint="free").unique_up_to == "none"


@pytest.mark.parametrize(("views", "w"), [("one", 1 / 2), ("two", 1 / 8)])
def test_A13_uniform_importance_is_unbiased_for_the_means_of_augmentations(views, w, record_property) -> None:
    """The exact expectation of C over all outcomes of N = 2 samples of two views each, by enumeration."""
    # 3 kinds of samples, each with its own three equally likely augmentations in the plane
    rng = np.random.default_rng(5)
    augmented = rng.standard_normal((3, 3, 2)) * np.array([1.0, 2.0])
    means = augmented.mean(axis=1)
    expected = 2 * np.cov(means.T, ddof=0)  # w = 1 / N(N - 1) for one view, 1 / 4N(N - 1) for two
    contrast = Contrast.of(2, views=views)
    alpha = np.full((contrast.n_anchors, contrast.n_negatives), w)
    total, count = np.zeros((2, 2)), 0
    for s, t in itertools.product(range(3), repeat=2):
        for a, b, c, d in itertools.product(range(3), repeat=4):
            X = np.stack([augmented[s, a], augmented[t, b], augmented[s, c], augmented[t, d]])
            total += contrastive_covariance(X, contrast, alpha)
            count += 1
    agree(record_property, total / count, expected, ROUNDING)
    within = augmented.reshape(9, 2)
    assert np.abs(total / count - 2 * np.cov(within.T, ddof=0)).max() > 0.1  # not that of the samples themselves


def test_A13_many_samples_in_linear_memory(record_property) -> None:
    """100,000 samples, alpha = 1/N^2: C near 2 Cov(E[x|sample]); alpha as a matrix would need 80 GB."""
    N = 100_000
    rng = np.random.default_rng(6)
    means = rng.standard_normal((N, 2)) @ np.array([[2.0, 0.5], [0.0, 0.3]])
    noise = rng.standard_normal((2 * N, 2)) * np.array([0.5, 3.0])  # the noisier direction is not the one of the means
    X = np.tile(means, (2, 1)) + noise
    C = SignedGraph.uniform(Contrast.of(N, views="one"), 1 / N**2).covariance(X)
    SAMPLING = 10 * 3.0**2 / np.sqrt(N)  # ten standard errors of a second moment of the noise
    agree(record_property, C, 2 * np.cov(means.T, ddof=0), SAMPLING, scale=1.0)


# --- A14: normalised outputs ------------------------------------------------------------------------------------------


def normalised_example(N: int, seed: int) -> tuple[Contrast, Array, Array]:
    rng = np.random.default_rng(seed)
    X = np.tile(rng.standard_normal((N, 4)), (2, 1)) + 0.5 * rng.standard_normal((2 * N, 4))
    contrast = Contrast.of(N, views="two")
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    return contrast, X, Nce(0.3, 1.0).alpha(unit, contrast).numpy()


@VIEWS
def test_A14_the_gradient_of_normalised_outputs_is_an_effective_covariance(views, record_property) -> None:
    """dE/dW = Ctilde(W) W for rows of XW over their norms, by autograd, and Ctilde by a loop over pairs."""
    contrast, X, alpha = example(6, views)
    W = torch.tensor(np.random.default_rng(7).standard_normal((4, 3)), requires_grad=True)
    Z = torch.nn.functional.normalize(torch.as_tensor(X) @ W, dim=1)
    contrast.energy(Z, alpha).backward()
    w = W.detach().numpy()
    C = normalised_covariance(SignedGraph.of(contrast, alpha), X, w)
    agree(record_property, C @ w, W.grad.numpy(), 1e-11, scale=np.abs(W.grad.numpy()).max())
    size = np.linalg.norm(X @ w, axis=1, keepdims=True)
    x, z = X / size, X @ w / size
    naive = np.zeros((4, 4))

    def pair(i: int, j: int) -> Array:
        cross = np.outer(x[i], x[j])
        return z[i] @ z[j] * (np.outer(x[i], x[i]) + np.outer(x[j], x[j])) - cross - cross.T

    for k, (i, p, others) in enumerate(negatives(6, views)):
        for place, j in enumerate(others):
            naive += alpha[k, place] * (pair(i, j) - pair(i, p))
    agree(record_property, C, naive, 1e-11, scale=np.abs(naive).max())


def test_A14_a_maximum_is_the_top_of_its_own_covariance(record_property) -> None:
    """At maxima of rank below K Ctilde(W) W = 0 and Ctilde(W) is negative semi-definite; W is of rank 1 here."""
    contrast, X, alpha = normalised_example(30, 0)
    graph = SignedGraph.of(contrast, alpha)
    found = normalised_ascent(graph, X, 4, starts=4)
    C = normalised_covariance(graph, X, found.W)
    values, V = scipy.linalg.eigh(C)
    agree(record_property, values[-1], 0.0, 1e-9, scale=abs(values[0]))
    s = np.linalg.svd(found.W)[1]
    assert s[1] < 1e-6 * s[0]  # outputs are +-v: a line, though every row has norm 1
    U = np.linalg.svd(found.W)[0][:, :1]
    same_span(record_property, U, V[:, -1:], 1e-6)
    # E from its definition, and no nearby W is better
    agree(record_property, float(contrast.energy(found.Z, alpha)), found.energy, SOLVED)
    rng = np.random.default_rng(8)
    for size in (1e-3, 1e-2):
        for _ in range(20):
            Y = X @ (found.W + size * rng.standard_normal((4, 4)))
            Y /= np.linalg.norm(Y, axis=1, keepdims=True)
            assert float(contrast.energy(Y, alpha)) <= found.energy + 1e-9
    assert found.gap > 0.1 * found.energy  # the bound is over all embeddings, and says so


def test_A14_the_bound_of_the_sphere_is_met_by_free_embeddings(record_property) -> None:
    """Over all unit rows (X = I) the ascent meets the dual bound; no random embedding exceeds it from anywhere."""
    contrast, _, alpha = normalised_example(8, 1)
    graph = SignedGraph.of(contrast, alpha)
    found = normalised_ascent(graph, np.eye(16), 6, starts=2)
    agree(record_property, found.energy, found.upper_bound, 1e-6)  # the gradient stops near 1e-8
    rng = np.random.default_rng(9)
    for K in (1, 2, 20):
        Z = rng.standard_normal((16, K))
        Z /= np.linalg.norm(Z, axis=1, keepdims=True)
        assert float(contrast.energy(Z, alpha)) <= found.energy
        assert found.energy <= sphere_bound(graph, Z)
