"""Barlow Twins: pair lists, unit columns, canonical correlation, the unnormalised form and its gradient flow.

One test per statement. rho are the eigenvalues of the degree-centred normalised adjacency, gamma those of X'AX/s.
Witnesses: np.corrcoef over explicit pair lists, scipy's eigensolvers, scikit-learn, a plain numpy gradient loop, and
scipy's descent of losses written from their definitions (naive.py).
"""

import itertools

import naive
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from measure import Record, agree, same_span, sine
from sklearn.cross_decomposition import CCA
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import spectral_ssl as ss

ROUNDING = 1e-10  # correlations divide by column norms: a few more digits lost than in a plain sum
SEARCH_TOL = 1e-8  # scipy descends to gradients below 1e-7, so to an excess of about their square
ANGLE_TOL = 1e-5  # |gradient| / gap


def irregular(N: int = 12, *, seed: int = 0, density: float = 0.6, loops: bool = True) -> np.ndarray:
    """A weighted random adjacency with unequal degrees, and self-pairs on some samples."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.uniform(0.2, 1.0, (N, N)) * (rng.random((N, N)) < density), 1)
    upper[np.arange(N - 1), np.arange(1, N)] += 0.3  # connected
    A = upper + upper.T
    return A + np.diag(rng.random(N) * (np.arange(N) % 3 == 0)) if loops else A


def smooth(N: int = 12, *, width: float = 1.5, seed: int = 0) -> np.ndarray:
    """A heat-kernel adjacency of random points in the plane: psd, a slowly decaying spectrum, unequal degrees."""
    points = np.random.default_rng(seed).standard_normal((N, 2))
    return np.exp(-((points[:, None] - points[None]) ** 2).sum(axis=2) / (2 * width**2))


def centred_pencil(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """rho (N - 1,) descending and v (N, N - 1), v'Dv = I, of the normalised adjacency off its known top vector."""
    deg = A.sum(axis=1)
    root = np.sqrt(deg)
    S = A / root[:, None] / root
    first = root / np.linalg.norm(root)
    # deflated far below the spectrum, which lies in [-1, 1]: the last of the ordered values is the known vector
    rho, U = np.linalg.eigh(S - 3 * np.outer(first, first))
    return rho[:0:-1], U[:, :0:-1] / root[:, None]


def search(A: np.ndarray, K: int, **options: int) -> tuple[float, np.ndarray]:
    """scipy's descent of |C - I|^2 over all Z."""
    A_ = torch.as_tensor(A)
    return naive.minimise(lambda Z: naive.barlow_twins(Z, A_), (len(A), K), **options)


# --- the loss over pair lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("redundancy", [0.0051, 1.0, 3.0])
def test_I5_barlow_twins_is_the_cross_correlation_of_the_list_of_pairs_in_both_orders(
    redundancy: float, record_property: Record
) -> None:
    """Barlow Twins is the cross-correlation of the list of pairs in both orders, a weight being a number of rows."""
    rng = np.random.default_rng(0)
    i, j = np.array([0, 0, 1, 2, 3, 4, 5, 5]), np.array([1, 2, 3, 4, 4, 5, 6, 5])  # the last pair is a self-pair
    w = np.array([1, 2, 1, 3, 1, 2, 1, 2])
    Z = rng.standard_normal((7, 3)) + np.array([5.0, 0.0, -2.0])
    off = i != j
    first = np.concatenate([np.repeat(i, w), np.repeat(j[off], w[off])])  # integer weights are repeated rows
    second = np.concatenate([np.repeat(j, w), np.repeat(i[off], w[off])])
    C = np.corrcoef(Z[first].T, Z[second].T)[:3, 3:]  # a batch of pairs, as training code sees it
    loss = sum((1 - C[k, k]) ** 2 for k in range(3))
    loss += redundancy * sum(C[k, m] ** 2 for k in range(3) for m in range(3) if k != m)
    graph = ss.Graph.from_pairs(i, j, 7, w)
    agree(record_property, float(ss.BarlowTwins(redundancy=redundancy).loss(Z, graph)), loss, ROUNDING)


@pytest.mark.parametrize("redundancy", [0.1, 1.0])
def test_I8_matrix_form_equals_a_loop_over_weighted_pairs(redundancy: float, record_property: Record) -> None:
    """C_kl = z_k'A z_l / sqrt(z_k'D z_k z_l'D z_l), columns centred by degrees, equals a loop over weighted pairs."""
    A = irregular(9)
    Z = np.random.default_rng(1).standard_normal((9, 3)) + 2.0
    rows = [(i, j, A[i, j]) for i in range(9) for j in range(9) if A[i, j] > 0]
    s = sum(w for _, _, w in rows)
    mean_a = sum(w * Z[i] for i, _, w in rows) / s
    mean_b = sum(w * Z[j] for _, j, w in rows) / s
    loss = 0.0
    for k in range(3):
        for m in range(3):
            cross = sum(w * (Z[i, k] - mean_a[k]) * (Z[j, m] - mean_b[m]) for i, j, w in rows)
            size_a = sum(w * (Z[i, k] - mean_a[k]) ** 2 for i, _, w in rows)
            size_b = sum(w * (Z[j, m] - mean_b[m]) ** 2 for _, j, w in rows)
            c = cross / np.sqrt(size_a * size_b)
            loss += (1 - c) ** 2 if k == m else redundancy * c**2
    method, graph = ss.BarlowTwins(redundancy=redundancy), ss.Graph.from_adjacency(A)
    agree(record_property, float(method.loss(Z, graph)), loss, ROUNDING)
    # the matrix form, with D = diag(A 1) and the degree-weighted centring
    deg = A.sum(axis=1)
    Y = Z - deg @ Z / deg.sum()
    S = np.sqrt(np.diag(Y.T @ (deg[:, None] * Y)))
    C = Y.T @ A @ Y / S[:, None] / S
    matrix_form = ((1 - np.diag(C)) ** 2).sum() + redundancy * ((C - np.diag(np.diag(C))) ** 2).sum()
    agree(record_property, matrix_form, loss, ROUNDING)


# --- unit columns, lambda = 1 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 2, 3, 5])
def test_B1_unit_columns_minimum_where_every_direction_is_active(K: int, record_property: Record) -> None:
    """Unit columns, lambda = 1: min = (sum 1/rho_k - K)^2 / sum 1/rho_k^2, C has the eigenvalues 1 - nu/rho_k."""
    A = smooth(width=0.8)
    rho, v = centred_pencil(A)
    inverse = 1 / rho[:K]
    nu = (inverse.sum() - K) / (inverse**2).sum()
    c = 1 - nu * inverse
    assert c.min() > 0, "B1 is the case without a constraint at work"
    minimum = (inverse.sum() - K) ** 2 / (inverse**2).sum()
    best = ss.optimum(ss.BarlowTwins(), ss.Graph.from_adjacency(A), K)
    size = max(minimum, 1e-2)  # at K = 1 the minimum is small, and a difference of numbers of size 1
    agree(record_property, best.loss, minimum, ROUNDING, scale=size)
    agree(record_property, naive.value(naive.barlow_twins, best.embedding.Z, A), minimum, ROUNDING, scale=size)
    # C has the eigenvalues c, and Z the span of the top K
    C = naive.cross_correlation(torch.as_tensor(best.embedding.Z), torch.as_tensor(A)).numpy()
    agree(record_property, np.linalg.eigvalsh(C), np.sort(c), ROUNDING, scale=1.0)
    assert rho[K - 1] - rho[K] > 1e-2
    same_span(record_property, best.embedding.Z, v[:, :K], 1e-8)
    found, Z = search(A, K)
    agree(record_property, found, minimum, SEARCH_TOL, scale=max(minimum, 1e-4))
    Z = Z - A.sum(axis=1) @ Z / A.sum()
    same_span(record_property, Z, v[:, :K], ANGLE_TOL)


def water_filling(rho: np.ndarray, K: int) -> tuple[float, int]:
    """min sum (1 - c)^2 + K - p over c >= 0, sum c / rho = K, c = max(0, 1 - nu / rho): nu by bisection."""
    p = rho[:K][rho[:K] > 1e-12]
    nu = scipy.optimize.brentq(lambda nu: (np.maximum(0, 1 - nu / p) / p).sum() - K, 0.0, p[0], xtol=1e-15, rtol=1e-15)
    c = np.maximum(0, 1 - nu / p)
    return float(((1 - c) ** 2).sum() + K - p.size), int((c > 1e-12).sum())


@pytest.mark.parametrize("K", [4, 6, 8])
def test_B12_active_set_where_unit_columns_are_scarce(K: int, record_property: Record) -> None:
    """Where a c_k would be negative m < K directions are active: sums over those m, K unchanged, plus K - m."""
    A = smooth()
    rho, v = centred_pencil(A)
    minimum, m = water_filling(rho, K)
    assert m < K
    best = ss.optimum(ss.BarlowTwins(), ss.Graph.from_adjacency(A), K)
    assert best.rank == m
    agree(record_property, best.loss, minimum, ROUNDING)
    inverse = 1 / rho[:m]  # the stated formula: sums over the m active directions, K unchanged
    agree(record_property, minimum, (inverse.sum() - K) ** 2 / (inverse**2).sum() + K - m, ROUNDING)
    agree(record_property, naive.value(naive.barlow_twins, best.embedding.Z, A), minimum, ROUNDING)
    assert np.linalg.matrix_rank(best.embedding.Z, tol=1e-8) == m
    same_span(record_property, best.embedding.Z, v[:, :m], 1e-7)
    found, _ = search(A, K)
    agree(record_property, found, minimum, SEARCH_TOL)


@pytest.mark.parametrize(("K", "m"), [(4, 2), (8, 3), (12, 4)])
def test_B12_active_set_on_digits_neighbours_in_the_linear_model(K: int, m: int, record_property: Record) -> None:
    """The active set over linear maps of digits: K = 4, 8, 12 leave m = 2, 3, 4 directions."""
    # 80 of 100 neighbours: a relation so dense that rho falls off at once (with 10 of them every direction is active)
    X = load_digits().data[:100] / 16.0
    graph = ss.relations.knn(ss.Dataset(name="digits", X=X), n_neighbors=80)
    A = graph.to_csr().toarray()
    deg = A.sum(axis=1)
    Y = X - deg @ X / deg.sum()
    U, s, _ = np.linalg.svd(np.sqrt(deg)[:, None] * Y, full_matrices=False)
    U = U[:, s > 1e-10 * s[0]] / np.sqrt(deg)[:, None]
    rho = np.linalg.eigvalsh(U.T @ A @ U)[::-1]
    minimum, active = water_filling(rho, K)
    best = ss.optimum(ss.BarlowTwins(), graph, K, X=X)
    agree(record_property, best.loss, minimum, ROUNDING)
    assert best.rank == active == m


BIPARTITE = np.block([[np.zeros((3, 3)), np.ones((3, 2))], [np.ones((2, 3)), np.zeros((2, 2))]])
PLENTY = {
    # fewer than K positive rho, and norm to spare: rho = 0 on a label graph, rho < 0 on zero-diagonal ones
    "labels": (scipy.linalg.block_diag(np.full((3, 3), 1 / 3), np.full((4, 4), 1 / 4), np.full((2, 2), 1 / 2)), 4),
    "two_views": (np.kron([[0.0, 1.0], [1.0, 0.0]], np.eye(3)), 4),
    "three_views": (np.kron(np.ones((3, 3)) - np.eye(3), np.eye(3)) / 2, 5),
    "bipartite": (scipy.linalg.block_diag(BIPARTITE, BIPARTITE), 3),  # rho = 1, then 0, then -1
    "irregular_blocks": (
        scipy.linalg.block_diag(*(irregular(4, seed=k, density=1.0, loops=False) for k in range(3))),
        5,
    ),
}


@pytest.mark.parametrize("relation", PLENTY)
def test_B12_correction_surplus_norm_goes_to_directions_that_are_not_positive(
    relation: str, record_property: Record
) -> None:
    """m < K positive rho, sum 1/rho < K: min = K - m, as surplus norm goes to directions of rho <= 0, not to c > 1."""
    A, K = PLENTY[relation]
    rho, _ = centred_pencil(A)
    positive = rho[rho > 1e-10]
    m, inverse = positive.size, 1 / positive
    assert m < K
    assert inverse.sum() < K, "the regime where unit columns are plenty"
    pressed = (inverse.sum() - K) ** 2 / (inverse**2).sum() + K - m  # c > 1: all norm in the positive directions
    best = ss.optimum(ss.BarlowTwins(), ss.Graph.from_adjacency(A), K)
    agree(record_property, best.loss, K - m, 1e-9, scale=1.0)
    record_property(
        "counterexample",
        f"{relation.replace('_', ' ')}, K = {K}, {m} positive rho: the formula of the active set says {pressed:.3f}, "
        f"an embedding of unit columns has {naive.value(naive.barlow_twins, best.embedding.Z, A):.3f}",
    )
    assert best.loss < pressed - 0.05
    # the claim is no mere bound: this embedding has it, with unit columns
    agree(record_property, naive.value(naive.barlow_twins, best.embedding.Z, A), K - m, 1e-9, scale=1.0)
    deg = A.sum(axis=1)
    assert deg @ best.embedding.Z**2 / deg.sum() == pytest.approx(np.ones(K), rel=1e-9)
    assert best.unique_up_to == "none"
    assert "not unique" in best.note
    # and nothing is below it, because C has at most m positive eigenvalues
    found, Z = search(A, K, starts=6)
    agree(record_property, found, K - m, 1e-6, scale=1.0)  # no isolated optimum: descent to it is slow at the end
    assert found > K - m - 1e-9
    C = naive.cross_correlation(torch.as_tensor(Z), torch.as_tensor(A)).numpy()
    assert (np.linalg.eigvalsh(C) > 1e-2).sum() == m


@pytest.mark.parametrize(("loops", "columns"), [(3.0, 4), (10.0, 3)])
def test_B12_correction_where_no_direction_is_left_to_hold_surplus_norm(
    loops: float, columns: int, record_property: Record
) -> None:
    """X of rank 3, every rho > 0, K = 5: over unit columns the formula with c > 1 is the minimum.

    A zero column costs 1 and can be cheaper: the best has as many unit columns as fit easily.
    """
    A = smooth(width=0.35) + loops * np.eye(12)
    X = np.random.default_rng(1).standard_normal((12, 3)) @ np.random.default_rng(2).standard_normal((3, 6))
    deg, K = A.sum(axis=1), 5
    Y = X - deg @ X / deg.sum()
    U = np.linalg.svd(np.sqrt(deg)[:, None] * Y, full_matrices=False)[0][:, :3] / np.sqrt(deg)[:, None]
    rho = np.linalg.eigvalsh(U.T @ A @ U)[::-1]
    inverse = 1 / rho
    assert rho[-1] > 0
    assert 3 < inverse.sum() < K
    unit = {j: (inverse.sum() - j) ** 2 / (inverse**2).sum() + j - 3 for j in (3, 4, 5)}  # j unit columns
    X_, A_ = torch.as_tensor(X), torch.as_tensor(A)
    for j, expected in unit.items():
        found, _ = naive.minimise(lambda W: naive.barlow_twins(X_ @ W, A_), (6, j))
        agree(record_property, found, expected, SEARCH_TOL)
    with pytest.warns(ss.SpectralWarning, match="rank 3"):
        best = ss.optimum(ss.BarlowTwins(), ss.Graph.from_adjacency(A), K, X=X)
    agree(record_property, best.loss, min(value + K - j for j, value in unit.items()), ROUNDING)
    record_property(
        "counterexample",
        f"rank 3, all rho > 0, K = 5: five unit columns cost {unit[K]:.3f}; {columns} unit and {K - columns} zero ones "
        f"cost {best.loss:.3f}",
    )
    used = np.linalg.norm(best.embedding.Z, axis=0) > 0
    assert used.sum() == columns
    assert naive.value(naive.barlow_twins, best.embedding.Z[:, used], A) + K - used.sum() == pytest.approx(best.loss)
    # descent cannot empty a column whose size its loss does not see: it ends at the formula for five
    run = ss.train(ss.BarlowTwins(), ss.Graph.from_adjacency(A), K, X=X)
    agree(record_property, run.loss, unit[K], SEARCH_TOL)


def test_B12_correction_does_not_touch_the_scarce_regime(record_property: Record) -> None:
    """m = 3 positive rho, K = 4, but sum 1/rho > K: the formula of the active set stands."""
    A = scipy.linalg.block_diag(*(np.ones((3, 3)) - np.eye(3) for _ in range(4))) + 0.8
    rho, _ = centred_pencil(A)
    positive = rho[rho > 1e-10]
    assert positive.size == 3
    assert (1 / positive).sum() > 4
    minimum, m = water_filling(rho, 4)
    assert m == 3
    best = ss.optimum(ss.BarlowTwins(), ss.Graph.from_adjacency(A), 4)
    agree(record_property, best.loss, minimum, ROUNDING)
    found, _ = search(A, 4)
    agree(record_property, found, minimum, SEARCH_TOL)


def test_B2_refuted_canonical_variates_do_not_minimise_barlow_twins(record_property: Record) -> None:
    """REFUTED that canonical variates minimise Barlow Twins: sum (1 - rho_k)^2 is their value, and not the minimum."""
    A, K = smooth(width=0.8), 3
    rho, v = centred_pencil(A)
    variates = v[:, :K]
    stated = ((1 - rho[:K]) ** 2).sum()
    agree(record_property, naive.value(naive.barlow_twins, variates, A), stated, ROUNDING)
    best = ss.optimum(ss.BarlowTwins(), ss.Graph.from_adjacency(A), K)
    record_property(
        "counterexample",
        f"heat-kernel graph, N = 12, K = 3: the loss of the canonical variates is {stated:.4f}, the minimum "
        f"{best.loss:.4f}",
    )
    assert best.loss < stated - 1e-3
    # the span is the canonical one, the columns in it are not: a small push leads down from them
    push = variates * (1 + 0.01 * np.random.default_rng(0).standard_normal((12, K)))
    A_ = torch.as_tensor(A)
    found, _ = naive.minimise(lambda Z: naive.barlow_twins(Z, A_), (12, K), B0=push)
    agree(record_property, found, best.loss, SEARCH_TOL)


# --- canonical correlation ------------------------------------------------------------------------------------------


def test_B13_on_coupled_modalities_the_pencil_is_canonical_correlation_analysis(record_property: Record) -> None:
    """On coupled modalities (X'AX, X'DX) is CCA: the canonical correlations, their negatives, the same directions."""
    data = ss.load_dataset("latent_two_view", n_samples=3000, correlations=(0.9, 0.7, 0.4), n_features=(5, 4), seed=0)
    n, K = 3000, 3
    spectra = ss.Spectra(ss.relations.coupled(data), X=data.X)
    spectrum = spectra.of("degree_centred", K)
    Xa, Xb = data.X[:n, :5], data.X[n:, 5:]
    Qa, Qb = np.linalg.qr(Xa)[0], np.linalg.qr(Xb)[0]
    correlations = np.linalg.svd(Qa.T @ Qb, compute_uv=False)  # Bjorck and Golub
    agree(record_property, spectrum.values[:4], correlations, 1e-12, scale=1.0)
    agree(record_property, spectrum.values[-4:], -correlations[::-1], 1e-12, scale=1.0)  # and their negatives
    assert spectrum.values[:K] == pytest.approx([0.9, 0.7, 0.4], abs=3 / np.sqrt(n))  # sampling error of a correlation
    oracle = CCA(n_components=K, scale=False, max_iter=5000, tol=1e-12).fit(Xa, Xb)
    same_span(record_property, spectrum.vectors[:n, :K], oracle.transform(Xa), ANGLE_TOL)
    same_span(record_property, spectrum.vectors[n:, :K], oracle.transform(Xa, Xb)[1], ANGLE_TOL)
    directions = np.asarray(data.meta["directions_a"])
    assert spectrum.weights is not None
    assert sine(spectrum.weights[:5, :2], directions[:, :2]) < 0.0998  # of the population, correlations 0.9 and 0.7
    # Barlow Twins spans the same space while its active set is full
    best = ss.optimum(ss.BarlowTwins(), spectra, 2)
    assert best.rank == 2
    same_span(record_property, best.embedding.Z, spectrum.vectors[:, :2], 1e-8)


def test_B14_canonical_correlation_ranks_by_size_and_tied_weights_see_the_sign(record_property: Record) -> None:
    """CCA of the swapped pair list ranks |rho|, for its second view may flip sign; tied weights use rho > 0 only."""
    n = 400
    rng = np.random.default_rng(1)
    shared = rng.standard_normal((n, 3))
    Xa = shared + 0.3 * rng.standard_normal((n, 3))
    Xb = shared * [1.0, -1.0, 0.3] + 0.3 * rng.standard_normal((n, 3))  # the second feature flips between the views
    first, second = np.vstack([Xa, Xb]), np.vstack([Xb, Xa])  # the pair list in both orders
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    correlations = np.linalg.svd(np.linalg.qr(first)[0].T @ np.linalg.qr(second)[0], compute_uv=False)
    graph = ss.Graph.from_pairs(np.arange(n), n + np.arange(n), 2 * n)
    spectra = ss.Spectra(graph, X=np.vstack([Xa, Xb]))
    rho = spectra.of("degree_centred", 3).values
    assert rho[2] < -0.8
    agree(record_property, np.sort(np.abs(rho))[::-1], correlations, 1e-12, scale=1.0)
    record_property(
        "counterexample",
        f"a feature that flips between the views: CCA ranks it among {', '.join(f'{c:.2f}' for c in correlations)}, "
        f"tied weights see rho = {rho[2]:.2f} and leave it out",
    )
    assert ss.optimum(ss.SpectralContrastive(), spectra, 3).rank == 2  # only rho > 0 is used
    assert np.abs(np.sort(rho)[::-1] - correlations).max() > 0.5  # the order of CCA is another


def test_B15_on_the_label_relation_the_span_is_that_of_discriminant_analysis(record_property: Record) -> None:
    """Label pairs weighted 1/N_c: linear Barlow Twins spans the LDA scores, for every class balance."""
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1, 2], [15, 30, 45])
    X = rng.standard_normal((90, 5)) + 3 * rng.standard_normal((3, 5))[y]
    graph = ss.relations.labels(ss.Dataset(name="classes", X=X, y=y))
    best = ss.optimum(ss.BarlowTwins(), graph, 2, X=X)
    assert best.rank == 2
    scores = LinearDiscriminantAnalysis(solver="eigen").fit(X, y).transform(X)
    same_span(record_property, best.embedding.Z, scores - scores.mean(axis=0), 1e-7)


# --- the unnormalised form ------------------------------------------------------------------------------------------


def unnormalised(gamma: tuple[float, ...], *, N: int = 14, seed: int = 0) -> tuple[ss.Graph, np.ndarray, np.ndarray]:
    """A relation and X (N, D) with X'AX/s = E diag(gamma) E' for a random rotation E, returned last."""
    A = smooth(N, seed=seed)
    rng = np.random.default_rng(seed)
    D = len(gamma)
    M = rng.standard_normal((N, D))
    L = np.linalg.cholesky(M.T @ A @ M / A.sum())
    E = np.linalg.qr(rng.standard_normal((D, D)))[0]
    X = np.linalg.solve(L, M.T).T @ np.diag(np.sqrt(gamma)) @ E.T
    assert X.T @ A @ X / A.sum() == pytest.approx(E @ np.diag(gamma) @ E.T, abs=1e-10)
    return ss.Graph.from_adjacency(A), X, E


UNNORMALISED = ss.BarlowTwins(normalized=False)


def test_B6_unnormalised_loss_is_zero_on_a_continuum_of_weights(record_property: Record) -> None:
    """Unnormalised Barlow Twins is zero on a continuum of weights: the minimiser is no subspace."""
    graph, X, E = unnormalised((2.0, 1.0, 0.5, 0.2))
    A = graph.to_csr().toarray()
    root = E @ np.diag(np.array([2.0, 1.0, 0.5, 0.2]) ** -0.5) @ E.T
    rng = np.random.default_rng(3)
    weights = [root @ np.linalg.qr(rng.standard_normal((4, 2)))[0] for _ in range(5)]
    for W in weights:  # any two orthonormal columns will do
        agree(record_property, float(UNNORMALISED.loss(X @ W, graph)), 0.0, 1e-20, scale=1.0)
        agree(record_property, naive.value(naive.cross_moment, X @ W, A), 0.0, 1e-20, scale=1.0)
    assert sine(weights[0], weights[1]) > np.sin(0.3)
    best = ss.optimum(UNNORMALISED, graph, 2, X=X)
    assert best.loss == 0
    assert best.unique_up_to == "none"
    run = ss.train(UNNORMALISED, graph, 2, X=X, precondition=False, init_scale=2.0, seed=1)
    assert run.loss < 1e-15
    away = sine(run.embedding.Z, best.embedding.Z)
    record_property(
        "counterexample",
        f"rank 4, K = 2: training from a large start ends at the loss {run.loss:.0e}, at a sine of {away:.2f} from the "
        f"minimum-norm solution",
    )
    assert away > 0.1  # another zero


def test_B7_minimum_norm_weights(record_property: Record) -> None:
    """The weights of least norm with zero loss are diag(gam^(-1/2)) E', of squared norm sum_{k<=K} 1/gam_k."""
    gamma, K = (2.0, 1.0, 0.5, 0.2), 2
    graph, X, E = unnormalised(gamma)
    A = graph.to_csr().toarray()
    W = ss.optimum(UNNORMALISED, graph, K, X=X).embedding.W
    assert W is not None
    agree(record_property, naive.value(naive.cross_moment, X @ W, A), 0.0, 1e-20, scale=1.0)
    smallest = sum(1 / g for g in gamma[:K])
    agree(record_property, (W**2).sum(), smallest, ROUNDING)
    same_span(record_property, W, E[:, :K], ROUNDING)
    assert np.abs(W @ W.T - E[:, :K] / gamma[:K] @ E[:, :K].T).max() < 1e-10  # up to O(K) on the right
    # scipy: least norm on the constraint W' Gamma W = I
    Gamma = X.T @ A @ X / A.sum()
    upper = np.triu_indices(K)
    found = [
        scipy.optimize.minimize(
            lambda w: (w**2).sum(),
            np.random.default_rng(seed).standard_normal(4 * K),
            jac=lambda w: 2 * w,
            constraints={
                "type": "eq",
                "fun": lambda w: (w.reshape(4, K).T @ Gamma @ w.reshape(4, K) - np.eye(K))[upper],
            },
            options={"maxiter": 500, "ftol": 1e-14},
        ).fun
        for seed in range(4)
    ]
    agree(record_property, min(found), smallest, 1e-7)  # SLSQP meets its constraints to about 1e-8


@pytest.mark.parametrize("K", [1, 2, 3, 4])
def test_B8_minimum_counts_the_missing_positive_eigenvalues(K: int, record_property: Record) -> None:
    """min |W Gam W' - I|^2 = max(0, K - number of positive eigenvalues of Gam)."""
    A = np.block([[np.zeros((5, 5)), np.ones((5, 4))], [np.ones((4, 5)), np.zeros((4, 4))]])
    A = scipy.linalg.block_diag(A, 1 - np.eye(3))  # one positive eigenvalue in each block
    graph, A_ = ss.Graph.from_adjacency(A), torch.as_tensor(A)
    assert (np.linalg.eigvalsh(A) > 1e-9).sum() == 2
    best = ss.optimum(UNNORMALISED, graph, K)
    assert best.loss == max(0, K - 2)
    agree(record_property, naive.value(naive.cross_moment, best.embedding.Z, A), best.loss, 1e-12, scale=1.0)
    found, _ = naive.minimise(lambda Z: naive.cross_moment(Z, A_), (12, K))
    agree(record_property, found, best.loss, SEARCH_TOL, scale=1.0)
    # and over linear maps, where the positive eigenvalues of X'AX are counted
    X = np.random.default_rng(4).standard_normal((12, 5))
    positive = int((np.linalg.eigvalsh(X.T @ A @ X) > 0).sum())
    best = ss.optimum(UNNORMALISED, graph, K, X=X)
    assert best.loss == max(0, K - positive)
    X_ = torch.as_tensor(X)
    found, _ = naive.minimise(lambda W: naive.cross_moment(X_ @ W, A_), (5, K))
    agree(record_property, found, best.loss, SEARCH_TOL, scale=1.0)


def sigmoid(t: np.ndarray | float, s0: np.ndarray | float, g: np.ndarray | float) -> np.ndarray:
    """s_j(t) of the gradient flow dW/dt = -grad |W'Gamma W - I|^2 from an aligned start of singular value s0."""
    return np.exp(4 * g * t) / np.sqrt(s0**-2 + (np.exp(8 * g * t) - 1) * g)


def descend(W: np.ndarray, Gamma: np.ndarray, rate: float, steps: int) -> np.ndarray:
    for _ in range(steps):
        W = W - rate * 4 * Gamma @ W @ (W.T @ Gamma @ W - np.eye(W.shape[1]))
    return W


def test_B9_gradient_flow_follows_the_sigmoid(record_property: Record) -> None:
    """From an aligned start s_k(t) = e^{4gt} / sqrt(s0^-2 + (e^{8gt} - 1) g): one sigmoid after the other."""
    gamma, s0 = np.array([2.0, 1.0, 0.4]), np.array([0.05, 0.02, 0.01])
    E = np.linalg.qr(np.random.default_rng(5).standard_normal((4, 4)))[0]
    Gamma = E @ np.diag([2.0, 1.0, 0.4, 0.1]) @ E.T
    Q = np.linalg.qr(np.random.default_rng(6).standard_normal((3, 3)))[0]
    step_times = -np.log(s0**2 * gamma) / (8 * gamma)
    for t in (0.1, *step_times):
        errors, sizes = [], []
        for steps in (2000, 4000):
            W = descend(E[:, :3] * s0 @ Q, Gamma, t / steps, steps)
            sizes.append(np.linalg.norm(E[:, :3].T @ W, axis=1))
            errors.append(np.abs(sizes[-1] / sigmoid(t, s0, gamma) - 1).max())
            assert np.linalg.norm(E[:, 3] @ W) < 1e-10
        assert errors[0] < 2e-2  # Euler's method: first order in its step
        assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.1)
        # extrapolated to steps of zero: an error of second order is left
        agree(record_property, 2 * sizes[1] - sizes[0], sigmoid(t, s0, gamma), 1e-5)
    # at its step time a direction has half its final squared size 1 / gamma, to the order of s0^2
    for k in range(3):
        assert sigmoid(step_times[k], s0[k], gamma[k]) ** 2 * gamma[k] == pytest.approx(0.5, abs=s0[k] ** 2 * gamma[k])


def test_B9_train_by_gradient_descent_is_this_flow(record_property: Record) -> None:
    """Equal eigenvalues align every start: training by small steps follows the sigmoids of its own beginnings."""
    g, D, K, scale, seed = 0.7, 3, 2, 0.05, 4
    graph, X, _ = unnormalised((g, g, g))
    W0 = scale * np.random.default_rng(seed).standard_normal((D, K))  # the documented start
    s0 = np.linalg.svd(W0, compute_uv=False)
    for t in (0.5, 1.2, 2.0):
        errors = []
        for steps in (300, 600):
            run = ss.train(
                UNNORMALISED,
                graph,
                K,
                X=X,
                optimizer="gd",
                precondition=False,
                learning_rate=t / steps,
                max_iter=steps + 1,  # the start is evaluated too
                tol=1e-300,
                init_scale=scale,
                seed=seed,
            )
            assert run.embedding.W is not None
            # the same steps in plain numpy: the learning rate multiplies the gradient of the loss itself
            W = descend(W0, g * np.eye(D), t / steps, steps)
            agree(record_property, run.embedding.W, W, 1e-9, scale=1.0)
            errors.append(np.abs(np.linalg.svd(run.embedding.W, compute_uv=False) - sigmoid(t, s0, g)).max())
        assert errors[0] < 5e-2
        assert errors[1] < 0.6 * errors[0]


def test_B9_train_agrees_with_a_plain_loop_where_the_start_is_not_aligned(record_property: Record) -> None:
    """Training by gradient descent is the plain loop W - rate grad, from any start."""
    graph, X, _ = unnormalised((2.0, 1.0, 0.5, 0.2))
    A = graph.to_csr().toarray()
    options = {"optimizer": "gd", "precondition": False, "learning_rate": 0.01, "max_iter": 201, "tol": 1e-300}
    run = ss.train(UNNORMALISED, graph, 2, X=X, init_scale=0.1, seed=2, **options)
    W0 = 0.1 * np.random.default_rng(2).standard_normal((4, 2))
    agree(record_property, run.embedding.W, descend(W0, X.T @ A @ X / A.sum(), 0.01, 200), 1e-9, scale=1.0)
    assert len(run.losses) == 201
    agree(record_property, run.losses[0], naive.value(naive.cross_moment, X @ W0, A), 1e-10)


def test_B10_a_small_start_selects_the_top_directions(record_property: Record) -> None:
    """The top K directions are an implicit bias of small starts: the sine to them falls as s0^(1 - g_{K+1}/g_K)."""
    K, gamma = 2, (1.0, 0.8, 0.3, 0.1)
    graph, X, E = unnormalised(gamma)
    sines = []
    for scale in (1e-1, 1e-2, 1e-4, 1e-7):
        run = ss.train(
            UNNORMALISED,
            graph,
            K,
            X=X,
            optimizer="gd",
            precondition=False,
            learning_rate=0.02,
            max_iter=3000,
            init_scale=scale,
            seed=0,
        )
        assert run.loss < 1e-12  # every start ends at a zero of the loss, which one is its bias
        assert run.embedding.W is not None
        sines.append(sine(run.embedding.W, E[:, :K]))
    record_property("angle", sines[-1])
    assert sines[0] > 0.1
    assert all(b < 0.5 * a for a, b in itertools.pairwise(sines))
    assert sines[-1] < 1e-3
    # a direction left behind has grown by s0^(1 - g/g_K): its share falls by that power, here 1 - 0.3 / 0.8
    assert np.log(sines[2] / sines[3]) / np.log(1e3) == pytest.approx(1 - 0.3 / 0.8, abs=0.02)
