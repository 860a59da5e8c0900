"""The contrastive family: SimCLR in Frobenius form, the spectral contrastive loss, InfoNCE; one test per statement.

S1-S3 are the Frobenius form, I3 and I4 the exact bridges to VICReg, S6-S8 the spectral contrastive loss and its
Eckart-Young lemma, I9 and C1-C3 exact InfoNCE. Witnesses: numpy and scipy algebra on dense matrices, and scipy's
descent of losses written from their definitions (naive.py).
"""

import math

import naive
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from measure import Record, agree, relative, same_span

import spectral_ssl as ss
from spectral_ssl import linalg
from spectral_ssl.methods import InfoNCE

ROUNDING = 1e-11  # two ways to add the same few hundred float64 terms of size 1 to 100
SEARCH_TOL = 1e-8  # scipy descends to gradients below 1e-7, so to an excess of about their square; relative
ANGLE_TOL = 1e-5  # |gradient| / gap, with gaps above 1e-2 here


def irregular(N: int = 12, *, seed: int = 0, density: float = 0.6, loops: bool = True) -> np.ndarray:
    """A weighted random adjacency with unequal degrees, and self-pairs on some samples."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.uniform(0.2, 1.0, (N, N)) * (rng.random((N, N)) < density), 1)
    upper[np.arange(N - 1), np.arange(1, N)] += 0.3  # connected
    A = upper + upper.T
    return A + np.diag(rng.random(N) * (np.arange(N) % 3 == 0)) if loops else A


def circulant(N: int = 12, *, seed: int = 0) -> np.ndarray:
    """A regular weighted graph: A_ij = c(|i - j|), c(k) = c(N - k)."""
    c = np.random.default_rng(seed).uniform(0.1, 1.0, N)
    c[0] = 0.0
    return scipy.linalg.toeplitz(c + np.roll(c[::-1], 1))


def two_views(n: int) -> np.ndarray:
    """The papers' relation: n originals, two views each, zero diagonal, views stacked."""
    return np.kron(np.array([[0.0, 1.0], [1.0, 0.0]]), np.eye(n))


def descending(M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(M)
    return values[::-1], vectors[:, ::-1]


def centring(N: int) -> np.ndarray:
    return np.eye(N) - np.ones((N, N)) / N


# --- Frobenius form -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 3, 5])
def test_S1_frobenius_simclr_is_the_psd_part_of_the_top_of_the_adjacency(K: int, record_property: Record) -> None:
    """min |ZZ' - A|^2 = sum g^2 - sum_{k<=K} max(0, g_k)^2 at Z = U diag(sqrt max(0, g)) Q."""
    A = irregular()
    g, U = descending(A)
    assert g[K - 1] - max(0.0, g[K]) > 1e-2, "S1 claims uniqueness for an open gap only"
    minimum = (A**2).sum() - (np.maximum(g[:K], 0) ** 2).sum()
    gram = U[:, :K] * np.maximum(g[:K], 0) @ U[:, :K].T

    best = ss.optimum(ss.FrobeniusSimCLR(), ss.Graph.from_adjacency(A), K)
    agree(record_property, best.loss, minimum, ROUNDING, scale=(A**2).sum())
    assert np.abs(best.embedding.Z @ best.embedding.Z.T - gram).max() < 1e-10  # equal up to the rotation Z Q
    found, Z = naive.minimise(lambda Z: naive.frobenius_simclr(Z, torch.as_tensor(A)), (12, K))
    agree(record_property, found, best.loss, SEARCH_TOL)
    assert np.abs(Z @ Z.T - gram).max() < 1e-5  # and no other minimiser was found
    same_span(record_property, Z, best.embedding.Z, ANGLE_TOL)


@pytest.mark.parametrize("K", [2, 6])
def test_S2_rank_is_the_number_of_positive_eigenvalues(K: int, record_property: Record) -> None:
    """rank Z = min(K, number of positive eigenvalues of A), which is not rank A."""
    # a complete multipartite graph has one positive eigenvalue; three disjoint copies of unequal weight have three
    part = 1.0 - scipy.linalg.block_diag(np.ones((2, 2)), np.ones((1, 1)), np.ones((1, 1)))
    A = scipy.linalg.block_diag(part, 1.5 * part, 0.7 * part)
    positive = int((np.linalg.eigvalsh(A) > 1e-9).sum())
    assert positive == 3
    assert np.linalg.matrix_rank(A) > 6
    best = ss.optimum(ss.FrobeniusSimCLR(), ss.Graph.from_adjacency(A), K)
    assert best.rank == np.linalg.matrix_rank(best.embedding.Z) == min(K, positive)
    found, Z = naive.minimise(lambda Z: naive.frobenius_simclr(Z, torch.as_tensor(A)), (12, K))
    agree(record_property, found, best.loss, SEARCH_TOL)
    assert np.linalg.matrix_rank(Z, tol=1e-3) == min(K, positive)  # a surplus column decays only as gradient^(1/3)


def test_S2b_refuted_rank_of_the_relation_two_views_without_diagonal_give_half(record_property: Record) -> None:
    """REFUTED that rank Z = rank A: two views with a zero diagonal have rank A = N and rank Z = N / 2."""
    n = 5
    A = two_views(n)
    rank = int(np.linalg.matrix_rank(A))
    assert rank == 2 * n
    best = ss.optimum(ss.FrobeniusSimCLR(), ss.Graph.from_adjacency(A), 2 * n - 1)
    assert best.rank == np.linalg.matrix_rank(best.embedding.Z) == n
    found, Z = naive.minimise(lambda Z: naive.frobenius_simclr(Z, torch.as_tensor(A)), (2 * n, 2 * n - 1))
    agree(record_property, found, best.loss, SEARCH_TOL)
    agree(record_property, best.loss, (A**2).sum() - n, 1e-12, scale=1.0)  # eigenvalue 1 n times, -1 n times
    reached = int(np.linalg.matrix_rank(Z, tol=1e-3))
    record_property(
        "counterexample",
        f"two views of {n} originals, zero diagonal: A has rank {rank}, the optimum and the trained Z rank {reached}",
    )
    assert reached == n


@pytest.mark.parametrize("deficient", [False, True])
def test_S3_linear_frobenius_simclr_is_the_top_of_the_compressed_adjacency(
    deficient: bool, record_property: Record
) -> None:
    """Over linear maps, X = USV': the eigenpairs of U'AU, equivalently of (X'AX, X'X)."""
    A, K = irregular(), 2
    X = 0.5 + np.random.default_rng(1).standard_normal((12, 5))
    if deficient:
        X = np.hstack([X, X[:, :2] @ [[1.0, 2.0], [-1.0, 0.5]]])  # seven columns, rank five
    U = np.linalg.svd(X, full_matrices=False)[0][:, :5]
    g, P = descending(U.T @ A @ U)
    assert g[K - 1] - max(0.0, g[K]) > 1e-2
    best = ss.optimum(ss.FrobeniusSimCLR(), ss.Graph.from_adjacency(A), K, X=X)
    agree(record_property, best.embedding.spectrum, g, 1e-10, scale=1.0)
    assert best.embedding.W is not None
    assert np.abs(X @ best.embedding.W - best.embedding.Z).max() < 1e-12  # a linear map, no intercept
    gram = (U @ P[:, :K]) * np.maximum(g[:K], 0) @ (U @ P[:, :K]).T
    assert np.abs(best.embedding.Z @ best.embedding.Z.T - gram).max() < 1e-10
    if not deficient:  # the equivalent pencil in W
        pencil = scipy.linalg.eigh(X.T @ A @ X, X.T @ X, eigvals_only=True)[::-1]
        agree(record_property, best.embedding.spectrum, pencil, 1e-10, scale=1.0)
    X_, A_ = torch.as_tensor(X), torch.as_tensor(A)
    found, W = naive.minimise(lambda W: naive.frobenius_simclr(X_ @ W, A_), (X.shape[1], K))
    agree(record_property, found, best.loss, SEARCH_TOL)
    same_span(record_property, X @ W, best.embedding.Z, ANGLE_TOL)


def test_S3b_linear_minimum_is_the_compressed_one_plus_what_no_linear_map_sees(record_property: Record) -> None:
    """The linear minimum is that of the compressed problem plus |A|^2 - |U'AU|^2."""
    A = irregular(seed=3)
    X = np.random.default_rng(2).standard_normal((12, 4))
    U = np.linalg.qr(X)[0]
    C = U.T @ A @ U
    for K in (1, 2, 4):
        g = descending(C)[0][:K]
        compressed = (C**2).sum() - (np.maximum(g, 0) ** 2).sum()  # S1 for the D x D matrix U'AU
        best = ss.optimum(ss.FrobeniusSimCLR(), ss.Graph.from_adjacency(A), K, X=X)
        agree(record_property, best.loss, compressed + (A**2).sum() - (C**2).sum(), ROUNDING)


# --- the exact bridges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 2.5])
@pytest.mark.parametrize("relation", ["circulant", "views", "labels"])
def test_I3_bridge_vicreg_equals_frobenius_simclr_for_every_embedding(
    relation: str, alpha: float, record_property: Record
) -> None:
    """d-regular A, gamma = alpha/d: VICReg(Z) = alpha |HZZ'H/N - HAH/d|^2 + alpha (K - |HAH|^2/d^2) for every Z."""
    y = np.array([0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2])
    data = ss.Dataset(name="toy", X=np.zeros((12, 1)), y=y, source=np.arange(12) // 3)
    graph = {
        "circulant": lambda: ss.Graph.from_adjacency(circulant()),
        "views": lambda: ss.relations.views(data),
        "labels": lambda: ss.relations.labels(data),
    }[relation]()
    A = graph.to_csr().toarray()
    d = A.sum(axis=1)[0]
    assert A.sum(axis=1) == pytest.approx(d), "I3 is for regular graphs"
    H, N = centring(12), 12
    method = ss.VICReg(variance=alpha, covariance=alpha, invariance=alpha / d)
    rng = np.random.default_rng(5)
    for K in (1, 3, 7, 12):
        for scale in (0.1, 1.0, 10.0):
            Z = scale * rng.standard_normal((N, K)) + 3 * rng.standard_normal(K)
            frobenius = ((H @ Z @ Z.T @ H / N - H @ A @ H / d) ** 2).sum()
            bridge = alpha * frobenius + alpha * (K - ((H @ A @ H) ** 2).sum() / d**2)
            agree(record_property, float(method.loss(Z, graph)), bridge, 1e-9, scale=max(1.0, abs(bridge)))


def test_I3_bridge_joins_the_optima_too(record_property: Record) -> None:
    """At gamma = alpha/d the optima have t_k = max(0, g_k)/d, and Frobenius SimCLR spends one component on 1."""
    A, N, K, alpha = circulant(seed=1), 12, 4, 1.7
    graph = ss.Graph.from_adjacency(A)
    d = A.sum(axis=1)[0]
    g, _ = descending(centring(N) @ A @ centring(N))
    t = np.maximum(g[:K], 0) / d
    vicreg = ss.optimum(ss.VICReg(alpha, alpha, alpha / d), graph, K)
    agree(record_property, vicreg.loss, alpha * (K - (t**2).sum()), ROUNDING)
    # one more component for the constant, which the uncentred Frobenius form spends on its top eigenvalue d
    frobenius = ss.optimum(ss.FrobeniusSimCLR(), graph, K + 1)
    agree(record_property, frobenius.loss, (A**2).sum() - d**2 - d**2 * (t**2).sum(), ROUNDING)
    H = centring(N)
    gram = vicreg.embedding.Z @ vicreg.embedding.Z.T / N
    assert np.abs(H @ frobenius.embedding.Z @ frobenius.embedding.Z.T @ H / d - gram).max() < 1e-10


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_I4_degree_weighted_vicreg_is_the_spectral_contrastive_loss_of_degree_centred_columns(
    alpha: float, record_property: Record
) -> None:
    """At gamma = alpha degree-weighted VICReg(Z) = alpha (SCL(Hd Z) + K) for every Z, Hd Z = Z - 1 deg'Z / s.

    Without the centring it holds only where deg'Z = 0.
    """
    A = irregular()
    graph = ss.Graph.from_adjacency(A)
    deg = A.sum(axis=1)
    method = ss.VICReg(variance=alpha, covariance=alpha, invariance=alpha, weighting="degree")
    rng = np.random.default_rng(0)
    for K in (1, 2, 5):
        Z = rng.standard_normal((12, K)) + rng.standard_normal(K)
        Zd = Z - deg @ Z / deg.sum()
        mine, contrastive = float(method.loss(Z, graph)), naive.value(naive.spectral_contrastive, Zd, A)
        agree(record_property, mine, alpha * (contrastive + K), 1e-10)
        agree(record_property, mine, alpha * (float(ss.SpectralContrastive().loss(Zd, graph)) + K), 1e-10)
        uncentred = naive.value(naive.spectral_contrastive, Z, A)
        assert abs(mine - alpha * (uncentred + K)) > 1e-2 * mine


def test_I4_the_constant_is_the_component_by_which_the_optima_differ(record_property: Record) -> None:
    """The optima of degree-weighted VICReg and of SCL differ by the constant, one component of weight 1."""
    A, K = irregular(), 3
    graph = ss.Graph.from_adjacency(A)
    vicreg = ss.optimum(ss.VICReg(invariance=1.0, weighting="degree"), graph, K)
    contrastive = ss.optimum(ss.SpectralContrastive(), graph, K + 1)
    agree(record_property, vicreg.loss, contrastive.loss + 1 + K, ROUNDING)
    Z = np.hstack([vicreg.embedding.Z, np.ones((12, 1))])  # a_1 = 1: weight 1 on the constant
    agree(record_property, naive.value(naive.spectral_contrastive, Z, A), contrastive.loss, 1e-10)


# --- spectral contrastive loss --------------------------------------------------------------------------------------


def test_S6_spectral_contrastive_loss_is_a_matrix_factorisation(record_property: Record) -> None:
    """SCL(Z) = |S - FF'|^2 - |S|^2 for every Z, S the normalised adjacency, F = diag(sqrt p) Z."""
    A = irregular()
    deg = A.sum(axis=1)
    S = A / np.sqrt(deg[:, None] * deg)
    rng = np.random.default_rng(1)
    for K in (1, 4):
        for scale in (0.3, 3.0):
            Z = scale * rng.standard_normal((12, K)) + scale
            F = np.sqrt(deg / deg.sum())[:, None] * Z
            factorisation = ((S - F @ F.T) ** 2).sum() - (S**2).sum()
            loss = float(ss.SpectralContrastive().loss(Z, ss.Graph.from_adjacency(A)))
            agree(record_property, loss, factorisation, 1e-10)


@pytest.mark.parametrize("K", [1, 3, 5])
def test_S6b_spectral_contrastive_optimum_is_the_eigenfunctions_of_the_pair_chain(
    K: int, record_property: Record
) -> None:
    """min SCL = -sum_{k<=K} max(0, a_k)^2, attained on the top eigenfunctions of the chain diag(1/deg) A."""
    A = irregular()
    deg = A.sum(axis=1)
    p = deg / deg.sum()
    a, U = descending(A / np.sqrt(deg[:, None] * deg))
    assert a[K - 1] - max(0.0, a[K]) > 1e-2
    best = ss.optimum(ss.SpectralContrastive(), ss.Graph.from_adjacency(A), K)
    agree(record_property, best.loss, -(np.maximum(a[:K], 0) ** 2).sum(), ROUNDING)
    f = U[:, :K] / np.sqrt(p)[:, None] * np.sqrt(np.maximum(a[:K], 0))
    assert np.abs(best.embedding.Z @ best.embedding.Z.T - f @ f.T).max() < 1e-9
    # the chain i -> j with probability A_ij / deg_i, by a solver for matrices without symmetry
    steps, functions = scipy.linalg.eig(A / deg[:, None])
    top = np.argsort(-steps.real)[:K]
    assert steps.real[top[0]] == pytest.approx(1.0)
    same_span(record_property, functions[:, top].real, best.embedding.Z, 1e-7)
    A_ = torch.as_tensor(A)
    found, Z = naive.minimise(lambda Z: naive.spectral_contrastive(Z, A_), (12, K))
    agree(record_property, found, best.loss, SEARCH_TOL)
    same_span(record_property, Z, best.embedding.Z, ANGLE_TOL)


def test_S7_linear_spectral_contrastive_is_the_generalised_eigenproblem_of_the_degrees(
    record_property: Record,
) -> None:
    """SCL over linear maps: the top of the pencil (X'AX, X'DX), min = -sum max(0, rho_k)^2."""
    A, K = irregular(seed=2), 2
    X = 0.3 + np.random.default_rng(3).standard_normal((12, 4))
    rho, b = scipy.linalg.eigh(X.T @ A @ X, X.T @ np.diag(A.sum(axis=1)) @ X)
    rho, b = rho[::-1], b[:, ::-1]
    assert rho[K - 1] - max(0.0, rho[K]) > 1e-2
    best = ss.optimum(ss.SpectralContrastive(), ss.Graph.from_adjacency(A), K, X=X)
    agree(record_property, best.embedding.spectrum, rho, 1e-12, scale=1.0)
    agree(record_property, best.loss, -(np.maximum(rho[:K], 0) ** 2).sum(), ROUNDING)
    assert best.embedding.W is not None
    same_span(record_property, best.embedding.W, b[:, :K], 1e-8)
    X_, A_ = torch.as_tensor(X), torch.as_tensor(A)
    found, W = naive.minimise(lambda W: naive.spectral_contrastive(X_ @ W, A_), (4, K))
    agree(record_property, found, best.loss, SEARCH_TOL)
    same_span(record_property, W, best.embedding.W, ANGLE_TOL)


@pytest.mark.parametrize("K", [1, 3, 5])
def test_S8_lemma_e_eckart_young_for_the_ssl_ey_pencil(K: int, record_property: Record) -> None:
    """min_W -2 tr(W'AW) + tr((W'BW)^2) = -sum_{k<=K} max(0, rho_k)^2, rho the top of (A, B)."""
    n, D = 40, 5
    rng = np.random.default_rng(4)
    shared = rng.standard_normal((n, D)) * [2.0, 1.5, 1.0, 0.3, 0.0]
    Xa, Xb = (shared + rng.standard_normal((n, D)) for _ in range(2))
    Xb[:, 4] = -0.5 * Xa[:, 4] + rng.standard_normal(n)  # a direction with negative correlation
    Xa, Xb = Xa - Xa.mean(axis=0), Xb - Xb.mean(axis=0)
    A = (Xa.T @ Xb + Xb.T @ Xa) / (n - 1)
    B = (Xa.T @ Xa + Xb.T @ Xb) / (n - 1)
    rho, b = scipy.linalg.eigh(A, B)
    rho, b = rho[::-1], b[:, ::-1]
    assert rho[-1] < -0.1

    pairs = linalg.generalized_eigh(A, B, largest=True)
    agree(record_property, pairs.values, rho, 1e-12, scale=1.0)
    assert pairs.vectors.T @ B @ pairs.vectors == pytest.approx(np.eye(D), abs=1e-12)
    same_span(record_property, pairs.vectors[:, :K], b[:, :K], 1e-7)
    W = pairs.vectors[:, :K] * np.sqrt(np.maximum(pairs.values[:K], 0))
    minimum = -(np.maximum(rho[:K], 0) ** 2).sum()
    agree(record_property, -2 * np.trace(W.T @ A @ W) + ((W.T @ B @ W) ** 2).sum(), minimum, ROUNDING)

    A_, B_ = torch.as_tensor(A), torch.as_tensor(B)
    found, _ = naive.minimise(lambda W: -2 * torch.trace(W.T @ A_ @ W) + ((W.T @ B_ @ W) ** 2).sum(), (D, K))
    agree(record_property, found, minimum, SEARCH_TOL)
    # the same number from the stacked views and their relation: SSL-EY is the spectral contrastive loss of two views
    stacked = ss.optimum(ss.SpectralContrastive(), ss.Graph.from_adjacency(two_views(n)), K, X=np.vstack([Xa, Xb]))
    agree(record_property, stacked.loss, minimum, ROUNDING)


def test_S8_lemma_e_holds_where_the_second_matrix_is_singular(record_property: Record) -> None:
    """Lemma E on range(B) where B is singular and null(B) lies in null(A)."""
    rng = np.random.default_rng(6)
    R = rng.standard_normal((3, 5))
    M = rng.standard_normal((3, 3))
    A, B = R.T @ (M + M.T) @ R, R.T @ R  # rank three in five features, null(B) in null(A)
    rho = descending(np.linalg.solve(np.eye(3), M + M.T))[0]  # R cancels: (A, B) on range(B) is (M + M', I)
    pairs = linalg.generalized_eigh(A, B, largest=True)
    assert pairs.rank == 3
    agree(record_property, pairs.values, rho, 1e-10, scale=1.0)
    A_, B_ = torch.as_tensor(A), torch.as_tensor(B)
    found, _ = naive.minimise(lambda W: -2 * torch.trace(W.T @ A_ @ W) + ((W.T @ B_ @ W) ** 2).sum(), (5, 3))
    agree(record_property, found, -(np.maximum(rho, 0) ** 2).sum(), SEARCH_TOL)


# --- exact InfoNCE --------------------------------------------------------------------------------------------------


def nt_xent(a: np.ndarray, b: np.ndarray, temperature: float) -> float:
    """NT-Xent of a batch of two views, as in its paper: a loop over the 2n anchors, averaged."""
    views = np.vstack([a, b])
    unit = views / np.linalg.norm(views, axis=1, keepdims=True)
    n, total = len(a), 0.0
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        denominator = sum(math.exp(unit[i] @ unit[k] / temperature) for k in range(2 * n) if k != i)
        total += -math.log(math.exp(unit[i] @ unit[positive] / temperature) / denominator)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_I9_infonce_on_two_views_is_n_times_nt_xent(temperature: float, record_property: Record) -> None:
    """InfoNCE of the relation of two views is N times NT-Xent of the batch."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((9, 4))
    b = a + 0.5 * rng.standard_normal((9, 4))
    Z, expected = np.vstack([a, b]), 18 * nt_xent(a, b, temperature)
    graph = ss.Graph.from_adjacency(two_views(9))
    agree(record_property, float(InfoNCE(temperature).loss(Z, graph)), expected, 1e-12)
    # the same relation in the other storage, and by its own name
    data = ss.Dataset(name="views", X=Z, source=np.tile(np.arange(9), 2))
    agree(record_property, float(ss.SimCLR(temperature).loss(Z, ss.relations.views(data))), expected, 1e-12)


@pytest.mark.parametrize(("temperature", "golden"), [(0.5, 3.176279446694486), (0.1, 0.186384034103934)])
def test_I9_golden_values_of_nt_xent(temperature: float, golden: float, record_property: Record) -> None:
    """InfoNCE / N is the value on which published implementations of NT-Xent agree, on a seeded batch."""
    draw = torch.Generator().manual_seed(0)
    a = 0.7 * torch.randn(64, 16, generator=draw, dtype=torch.float64)
    b = a + 0.3 * torch.randn(64, 16, generator=draw, dtype=torch.float64)
    graph = ss.Graph.from_adjacency(two_views(64))
    agree(record_property, float(ss.SimCLR(temperature).loss(torch.cat([a, b]), graph)) / 128, golden, 1e-12)


def simplex(n: int) -> np.ndarray:
    """n unit vectors (n, n - 1) with equal cosines -1 / (n - 1)."""
    corners = np.linalg.qr(np.hstack([np.ones((n, 1)), np.eye(n)[:, : n - 1]]))[0][:, 1:]
    return corners / np.linalg.norm(corners, axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
@pytest.mark.parametrize(("n", "V"), [(4, 2), (3, 4)])
def test_C1_the_regular_simplex_reaches_the_bound_on_balanced_cliques(
    n: int, V: int, temperature: float, record_property: Record
) -> None:
    """V views of n originals, K >= n-1: a regular simplex, min = N (V-1) log((V-1) + (N-V) exp(-n/((n-1) tau)))."""
    N = n * V
    codes = np.arange(N) % n
    graph = ss.Graph.from_groups(codes)
    A = graph.to_csr().toarray()
    Z = simplex(n)[codes]
    assert np.abs(Z @ Z.T - np.where(codes[:, None] == codes, 1.0, -1 / (n - 1))).max() < 1e-12
    stated = N * (V - 1) * math.log((V - 1) + (N - V) * math.exp(-(n / (n - 1)) / temperature))
    bound = InfoNCE(temperature).lower_bound(graph)
    agree(record_property, bound, stated, 1e-12)
    agree(record_property, naive.value(naive.info_nce, Z, A, temperature=temperature), stated, 1e-12)
    found, best = naive.minimise(lambda Z: naive.info_nce(Z, torch.as_tensor(A), temperature), (N, n - 1))
    agree(record_property, found, stated, SEARCH_TOL)
    unit = best / np.linalg.norm(best, axis=1, keepdims=True)
    assert np.abs(unit @ unit.T - Z @ Z.T).max() < 1e-3  # views coincide; excess 1e-8 leaves Gram errors of its root
    # the same cliques stored as edges have no partition to read n and V from: a bound still, not the simplex
    assert InfoNCE(temperature).lower_bound(ss.Graph.from_adjacency(A)) <= stated * (1 + 1e-12)


def test_C2_the_simplex_value_is_only_a_bound_in_fewer_dimensions(record_property: Record) -> None:
    """K < n-1: the simplex value is a lower bound that no embedding reaches."""
    graph = ss.Graph.from_groups(np.arange(10) % 5)
    A = torch.as_tensor(graph.to_csr().toarray())
    bound = InfoNCE(0.5).lower_bound(graph)
    above = []
    for K in (1, 2, 3):
        found, _ = naive.minimise(lambda Z: naive.info_nce(Z, A, 0.5), (10, K), starts=3)
        assert found > bound * 1.01
        above.append(relative(found, bound))
    record_property(
        "counterexample",
        "five originals, two views, tau = 0.5: the trained loss at K = 1, 2, 3 is above the simplex value by "
        + ", ".join(f"{100 * share:.0f} %" for share in above),
    )
    reached, _ = naive.minimise(lambda Z: naive.info_nce(Z, A, 0.5), (10, 4), starts=3)
    agree(record_property, reached, bound, SEARCH_TOL)  # from K = n - 1 on it is the minimum


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_C3_the_entropy_bound_is_reached_where_similarities_can_be_the_log_of_the_relation(
    similarity: str, record_property: Record
) -> None:
    """A > 0 off the diagonal: where tau (log A_ij + c) is psd the minimum is sum_i deg_i H(A_i. / deg_i)."""
    rng = np.random.default_rng(7)
    temperature = 0.8
    Z = rng.standard_normal((10, 4))
    if similarity == "cosine":
        Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    A = np.exp(Z @ Z.T / temperature)  # any common factor would do
    np.fill_diagonal(A, 0.0)
    P = A / A.sum(axis=1, keepdims=True)
    off = ~np.eye(10, dtype=bool)
    entropy = -(A[off] * np.log(P[off])).sum()
    method, graph = InfoNCE(temperature, similarity), ss.Graph.from_adjacency(A)
    agree(record_property, method.lower_bound(graph), entropy, 1e-10)
    witness = naive.value(naive.info_nce, Z, A, temperature=temperature, cosine=similarity == "cosine")
    agree(record_property, witness, entropy, 1e-12)
    agree(record_property, float(method.loss(Z, graph)), entropy, 1e-12)


@pytest.mark.parametrize("radius", [0.2, 50.0])
def test_dot_product_infonce_is_trained_over_the_ball_of_its_radius(radius: float) -> None:
    # over linear maps the loss is convex in WW', so that scipy's constrained minimum is the minimum
    A, X = irregular(10), np.random.default_rng(3).standard_normal((10, 3))
    X_, A_ = torch.as_tensor(X), torch.as_tensor(A)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        W = torch.tensor(w.reshape(3, 3), requires_grad=True)
        value = naive.info_nce(X_ @ W, A_, 0.7, cosine=False)
        value.backward()
        assert W.grad is not None
        return value.item(), W.grad.numpy().ravel()

    ball = {"type": "ineq", "fun": lambda w: radius - w @ w, "jac": lambda w: -2 * w}
    found = []
    for seed in range(3):
        start = np.random.default_rng(seed).standard_normal(9)
        start *= np.sqrt(radius / 2) / np.linalg.norm(start)
        found.append(scipy.optimize.minimize(loss, start, jac=True, constraints=ball, options={"ftol": 1e-13}))
    oracle = min(found, key=lambda result: result.fun)
    active = oracle.x @ oracle.x > 0.99 * radius
    assert active == (radius == 0.2)
    graph, method = ss.Graph.from_adjacency(A), InfoNCE(0.7, "dot", radius)
    run = ss.train(method, graph, 3, X=X)
    assert run.embedding.W is not None
    assert (run.embedding.W**2).sum() <= radius * (1 + 1e-12)
    # on the boundary |W|^2 = radius lies at infinite parameters: descent nears it, from inside
    assert run.loss == pytest.approx(oracle.fun, rel=1e-3 if active else 1e-8)
    assert run.loss >= oracle.fun * (1 - 1e-8)
    free = ss.train(method, graph, 3, max_iter=200)
    assert (free.embedding.Z**2).sum() <= radius * (1 + 1e-12)


@pytest.mark.parametrize("temperature", [0.15, 0.5, 3.0])
def test_the_row_bound_is_the_sum_of_boxed_minima_row_by_row(temperature: float) -> None:
    A = irregular(9, density=0.4)
    A[4, :] = A[:, 4] = 0.0  # an isolated sample is a negative of the others, and has no row of its own
    total = 0.0
    for i in range(9):
        others = np.arange(9) != i
        w, limit = A[i, others], 1 / temperature

        def row(x: np.ndarray, w: np.ndarray = w) -> tuple[float, np.ndarray]:
            e = np.exp(x - x.max())
            return w.sum() * (np.log(e.sum()) + x.max()) - w @ x, w.sum() * e / e.sum() - w

        result = scipy.optimize.minimize(
            row, np.zeros(8), jac=True, bounds=[(-limit, limit)] * 8, options={"ftol": 1e-15, "gtol": 1e-10}
        )
        total += float(result.fun)
    assert InfoNCE(temperature).lower_bound(ss.Graph.from_adjacency(A)) == pytest.approx(total, rel=1e-8)


GRAPHS = {
    "irregular": lambda: ss.Graph.from_adjacency(irregular(10)),
    "sparse": lambda: ss.Graph.from_adjacency(irregular(10, seed=1, density=0.1, loops=False)),
    "cliques": lambda: ss.Graph.from_groups(np.arange(10) % 5),
    "unbalanced": lambda: ss.Graph.from_groups(np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, -1]), weight=[0.5, 1.0, 2.0]),
    "dense": lambda: ss.Graph.from_adjacency(1 + 0.3 * circulant(10)),
}


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("relation", GRAPHS)
def test_infonce_lower_bound_is_below_every_embedding_random_or_trained(relation: str, similarity: str) -> None:
    graph = GRAPHS[relation]()
    A = graph.to_csr().toarray()
    cosine = similarity == "cosine"
    rng = np.random.default_rng(0)
    for temperature in (0.1, 0.5, 2.0):
        bound = InfoNCE(temperature, similarity).lower_bound(graph)
        assert np.isfinite(bound)
        for K in (1, 3, 9):
            Z = rng.standard_normal((20, 10, K)) * rng.uniform(0.1, 5, (20, 1, 1))
            values = [naive.value(naive.info_nce, z, A, temperature=temperature, cosine=cosine) for z in Z]
            assert bound <= min(values) * (1 + 1e-12)
    method = InfoNCE(0.5, similarity, 1.0 if cosine else 30.0)
    run = ss.train(method, graph, 5, seed=1, max_iter=150)
    assert method.lower_bound(graph) <= run.loss * (1 + 1e-12)
    witness = naive.value(naive.info_nce, run.embedding.Z, A, temperature=0.5, cosine=cosine)
    assert run.loss == pytest.approx(witness, rel=1e-10)
