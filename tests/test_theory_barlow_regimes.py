"""Barlow Twins with unit columns at every redundancy lambda, and SSL-EY.

Relations with prescribed rho are two coupled views, of which rho are the canonical correlations. Witnesses: scipy's
descent of the loss written from its definition (naive.py), scipy's SLSQP on the quadratic programme, and scipy's
generalised eigensolver on covariances of two views.
"""

import itertools
import re
import warnings
from pathlib import Path

import naive
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from measure import Record, agree, relative, same_span

import spectral_ssl as ss
from spectral_ssl.experiments import compare_methods
from spectral_ssl.methods import METHODS
from spectral_ssl.methods._barlow_qp import hadamard

ROUNDING = 1e-10  # correlations divide by column norms: a few more digits lost than in a plain sum
PROGRAMME_TOL = 1e-7  # SLSQP's: it meets its constraint to about 1e-8
SEARCH_TOL = 1e-8  # scipy descends to gradients below 1e-7, so to an excess of about their square
VALLEY_TOL = 1e-6  # lambda > 1 has flat valleys, in which descents differ by less than this share of the loss
BELOW = 1e-10  # relative: rounding of two losses compared
SPAN_TOL = 1e-7  # a closed form's range: eps / gap of the pencil
ANGLE_TOL = 2e-4  # a descent's range: sqrt(excess / curvature)


def coupled(rho: tuple[float, ...], *, seed: int = 0) -> tuple[ss.Graph, np.ndarray]:
    """Two views, row i of one paired with row i of the other, and X (2n, D) with the pencil values rho.

    Xa = (U a + V b) / sqrt 2, Xb = (U a - V b) / sqrt 2 with U, V orthonormal and centred, a^2 + b^2 = 1 and
    a^2 - b^2 = rho: Xa'Xa + Xb'Xb = I, Xa'Xb + Xb'Xa = diag(rho). Columns are mixed by a matrix of condition 4.
    """
    rng = np.random.default_rng(seed)
    r = np.array(rho)
    n, D = 2 * r.size + 3, r.size
    Q = np.linalg.qr(np.hstack([np.ones((n, 1)), rng.standard_normal((n, 2 * D))]))[0][:, 1:]
    A, B = Q[:, :D] * np.sqrt((1 + r) / 2), Q[:, D:] * np.sqrt((1 - r) / 2)
    mix = np.linalg.qr(rng.standard_normal((D, D)))[0] * np.linspace(0.5, 2, D)
    X = np.vstack([A + B, A - B]) / np.sqrt(2) @ mix
    return ss.Graph.from_pairs(np.arange(n), n + np.arange(n), 2 * n), X


def search(graph: ss.Graph, K: int, redundancy: float, X: np.ndarray | None = None, **options: int) -> float:
    """The lowest loss that scipy's descents find over all Z, or over linear maps of X."""
    A = torch.as_tensor(graph.to_csr().toarray())
    if X is None:
        return naive.minimise(lambda Z: naive.barlow_twins(Z, A, redundancy), (graph.n_samples, K), **options)[0]
    X_ = torch.as_tensor(X)
    return naive.minimise(lambda W: naive.barlow_twins(X_ @ W, A, redundancy), (X.shape[1], K), **options)[0]


def value(best: ss.Optimum, graph: ss.Graph, redundancy: float) -> float:
    """The loss of an optimum by its definition, a zero column costing 1."""
    Z = best.embedding.Z
    used = np.linalg.norm(Z, axis=0) > 0
    return naive.value(naive.barlow_twins, Z[:, used], graph.to_csr().toarray(), redundancy=redundancy) + (~used).sum()


def quadratic_programme(rho: np.ndarray, K: int, redundancy: float) -> tuple[float, np.ndarray]:
    """scipy's minimum of K (1 - cbar)^2 + lambda (sum c^2 - K cbar^2) over sum c / rho <= K, c >= 0, and c."""
    r = rho[rho > 1e-9][:K]

    def objective(c: np.ndarray) -> float:
        return float(K * (1 - c.sum() / K) ** 2 + redundancy * ((c**2).sum() - c.sum() ** 2 / K))

    room = {"type": "ineq", "fun": lambda c: K - (c / r).sum(), "jac": lambda c: -1 / r}
    starts = (np.full(r.size, 0.5), r * K / r.size, np.eye(r.size)[0] * K * r[0])
    found = [
        scipy.optimize.minimize(
            objective,
            start,
            jac=lambda c: 2 * (1 - redundancy) * c.sum() / K - 2 + 2 * redundancy * c,
            bounds=[(0, None)] * r.size,
            constraints=[room],
            method="SLSQP",
            options={"maxiter": 1000, "ftol": 1e-16},
        )
        for start in starts
    ]
    best = min((one for one in found if K - (one.x / r).sum() > -1e-9), key=lambda one: one.fun)
    return float(best.fun), best.x


SPREAD = (0.92, 0.81, 0.66, 0.55, 0.47, 0.38, 0.3, 0.22, 0.15, 0.1, 0.06, 0.03, -0.2)


# --- lambda < 1 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("K", "redundancy"), [(1, 0.0051), (2, 0.5), (4, 0.3), (4, 0.9), (8, 0.95)])
def test_B3_the_programme_is_attained_where_a_hadamard_matrix_exists(
    K: int, redundancy: float, record_property: Record
) -> None:
    """lambda <= 1: min K(1 - cbar)^2 + lambda (sum c^2 - K cbar^2), sum c/rho = K, is exact at Hadamard orders K."""
    graph, X = coupled(SPREAD[: K + 2])
    bound, c = quadratic_programme(np.array(SPREAD), K, redundancy)
    assert c.min() > 1e-3, "every direction at work: the other cases are B3b"
    best = ss.optimum(ss.BarlowTwins(redundancy), graph, K, X=X)
    assert best.kind == "exact"
    assert 0 <= best.loss - best.lower_bound <= 1e-10 * K  # what Newton's method leaves
    assert "Hadamard" in best.note
    assert relative(best.loss, bound) < PROGRAMME_TOL
    agree(record_property, value(best, graph, redundancy), best.loss, ROUNDING)
    agree(record_property, search(graph, K, redundancy, X), best.loss, SEARCH_TOL)
    # C has the eigenvalues c and a constant diagonal, Z the span of the first K directions
    C = naive.cross_correlation(torch.as_tensor(best.embedding.Z), torch.as_tensor(graph.to_csr().toarray())).numpy()
    assert np.linalg.eigvalsh(C) == pytest.approx(np.sort(c), abs=1e-4)  # the square root of SLSQP's precision
    assert np.diag(C) == pytest.approx(np.full(K, np.trace(C) / K), rel=ROUNDING)
    same_span(record_property, best.embedding.Z, _variates(graph, X, K), SPAN_TOL)


@pytest.mark.parametrize(("K", "redundancy", "m"), [(4, 0.01, 2), (4, 0.03, 3), (8, 0.005, 2), (12, 0.2, 7)])
def test_B3b_the_programme_with_an_active_set_is_attained(
    K: int, redundancy: float, m: int, record_property: Record
) -> None:
    """lambda < 1 with directions dropped: c_k = 0 past the active set m, exact at Hadamard orders (12 by Paley)."""
    graph, X = coupled(SPREAD)
    bound, c = quadratic_programme(np.array(SPREAD), K, redundancy)
    assert (c > 1e-6).sum() == m
    with pytest.warns(ss.SpectralWarning, match=f"rank {m}"):
        best = ss.optimum(ss.BarlowTwins(redundancy), graph, K, X=X)
    assert best.kind == "exact"
    assert "Hadamard" in best.note
    assert best.rank == m
    assert relative(best.loss, bound) < PROGRAMME_TOL
    agree(record_property, value(best, graph, redundancy), best.loss, ROUNDING)
    if K < 12:
        agree(record_property, search(graph, K, redundancy, X, starts=2), best.loss, SEARCH_TOL)


@pytest.mark.parametrize("K", [1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 44, 48, 60])
def test_B3b_hadamard_matrices(K: int, record_property: Record) -> None:
    """H'H = K I with entries 1 and -1, by Sylvester's and Paley's constructions."""
    H = hadamard(K)
    assert H is not None
    assert np.all(np.abs(H) == 1)
    agree(record_property, H.T @ H, K * np.eye(K), 1e-15, scale=1.0)
    if K < 4 or K == 12:  # no multiple of four has no matrix; what Paley's first kind lacks is left to Newton's method
        assert all(hadamard(k) is None for k in (3, 5, 6, 7, 10, 28, 36))


def test_B3_training_lands_on_the_programme(record_property: Record) -> None:
    """lambda = 0.3, K = 4: the trained loss is the optimum of the programme, its range the top eigenspace."""
    graph, X = coupled(SPREAD[:6])
    best = ss.optimum(ss.BarlowTwins(0.3), graph, 4, X=X)
    run = ss.train(ss.BarlowTwins(0.3), graph, 4, X=X)
    agree(record_property, run.loss, best.loss, SEARCH_TOL)
    assert run.loss > best.loss * (1 - BELOW)
    same_span(record_property, run.embedding.Z, best.embedding.Z, ANGLE_TOL)


def test_B3c_the_published_lambda_with_few_columns_collapses(record_property: Record) -> None:
    """lambda = .0051, rho = (.8, .6, .4, .2), K = 4: the optimum has rank 1."""
    rho, K, published = np.array([0.8, 0.6, 0.4, 0.2]), 4, 0.0051
    graph, X = coupled(tuple(rho))
    with pytest.warns(ss.SpectralWarning, match=r"redundancy=0.0051 with 4 components collapses.* rank 1") as caught:
        best = ss.optimum(ss.BarlowTwins(published), graph, K, X=X)
    assert best.rank == 1
    assert best.kind == "exact"
    assert "rank 4 needs a redundancy above" in best.note
    # every column is the first direction: K (1 - rho_1)^2 + lambda K (K - 1) rho_1^2
    agree(record_property, best.loss, K * 0.2**2 + published * K * (K - 1) * 0.8**2, ROUNDING)
    agree(record_property, search(graph, K, published, X), best.loss, SEARCH_TOL)
    record_property("counterexample", "rho (.8, .6, .4, .2), K 4, lambda .0051: rank 1")
    run = ss.train(ss.BarlowTwins(published), graph, K, X=X)
    s = np.linalg.svd(run.embedding.Z, compute_uv=False)
    assert s[1] < 1e-4 * s[0]
    # the warning names the redundancy that full rank needs: the programme is of rank 3 just below, 4 just above
    found = re.search(r"rank 4 needs a redundancy above ([0-9.e-]+)", str(caught[0].message))
    assert found is not None
    needed = float(found[1])
    for factor, expected in ((0.97, 3), (1.03, 4)):
        assert (quadratic_programme(rho, K, factor * needed)[1] > 1e-6).sum() == expected
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            assert ss.optimum(ss.BarlowTwins(factor * needed), graph, K, X=X).rank == expected
        assert bool(raised) == (expected < 4)


def test_B3c_collapse_is_governed_by_lambda_times_K(record_property: Record) -> None:
    """Direction m is used above lambda_m = sum (1 - rho)(rho - rho_m)/rho^2 / (K - m + rho_m sum 1/rho), about 1/K."""
    rho = np.array(SPREAD[:4])
    gaps = []
    for K in (4, 16, 256):
        for m in (2, 3, 4):
            u = 1 / rho[:m]
            stated = ((1 - rho[:m]) * (rho[:m] - rho[m - 1]) * u**2).sum() / (K - m + rho[m - 1] * u.sum())

            # the threshold of the programme itself, by bisection on whether its solution has m directions
            def used(lam: float, K: int = K, m: int = m) -> float:
                return float((quadratic_programme(rho[:m], K, lam)[1] > 1e-5).sum()) - m + 0.5

            found = scipy.optimize.brentq(used, stated / 2, min(2 * stated, 1.0), xtol=1e-4 * stated)
            gaps.append(relative(found, stated))
            if K > 4:
                assert stated * K == pytest.approx(((1 - rho[:m]) * (rho[:m] - rho[m - 1]) * u**2).sum(), rel=0.4)
    record_property("gap", max(gaps))
    assert max(gaps) < 2e-3  # what counts as used, 1e-5 of a column, moves the threshold by about as much as bisection


@pytest.mark.parametrize("redundancy", [0.1, 0.5, 0.9])
def test_B4_three_columns_miss_the_programme_by_a_little(redundancy: float, record_property: Record) -> None:
    """K = 3, lambda < 1: the minimum is above the programme, by 1e-8 to 1e-3 of it (4e-2 with two directions)."""
    graph, X = coupled((0.9, 0.7, 0.45, 0.2))
    bound, _ = quadratic_programme(np.array([0.9, 0.7, 0.45]), 3, redundancy)
    best = ss.optimum(ss.BarlowTwins(redundancy), graph, 3, X=X)
    assert best.kind == "certified"
    assert relative(best.lower_bound, bound) < PROGRAMME_TOL
    assert 1e-8 < best.loss / best.lower_bound - 1 < 5e-2
    assert f"{best.lower_bound:.8g}" in best.note
    agree(record_property, value(best, graph, redundancy), best.loss, ROUNDING)
    agree(record_property, search(graph, 3, redundancy, X), best.loss, SEARCH_TOL)
    run = ss.train(ss.BarlowTwins(redundancy), graph, 3, X=X)
    assert run.loss == pytest.approx(best.loss, rel=SEARCH_TOL)
    same_span(record_property, run.embedding.Z, best.embedding.Z, ANGLE_TOL)


@pytest.mark.parametrize(("K", "redundancy"), [(6, 0.8), (7, 0.8), (9, 0.7), (10, 0.05)])
def test_B4_correction_six_and_more_columns_attain_the_programme_without_a_hadamard_matrix(
    K: int, redundancy: float, record_property: Record
) -> None:
    """lambda < 1, K = 6, 7, 9, 10: the programme is attained though no Hadamard matrix of order K exists."""
    graph, X = coupled(SPREAD[: K + 1])
    bound, _ = quadratic_programme(np.array(SPREAD), K, redundancy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.SpectralWarning)  # of a dropped direction
        best = ss.optimum(ss.BarlowTwins(redundancy), graph, K, X=X)
    assert best.kind == "exact"
    assert "Newton" in best.note
    assert relative(best.loss, bound) < PROGRAMME_TOL
    agree(record_property, value(best, graph, redundancy), best.loss, ROUNDING)


def test_B4_correction_random_spectra_are_exact_from_six_columns_on(record_property: Record) -> None:
    """lambda < 1, K >= 6, four or more directions: the programme was attained for every random spectrum tried."""
    gaps = []
    rng = np.random.default_rng(0)
    for K in (6, 7, 9, 11):
        for lowest in (0.05, 0.5, 0.9):
            rho = np.sort(rng.uniform(lowest, 1.0, K))[::-1]
            graph, X = coupled(tuple(rho), seed=K)
            for redundancy in (0.0051, 0.5, 0.95):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ss.SpectralWarning)
                    best = ss.optimum(ss.BarlowTwins(redundancy), graph, K, X=X)
                # two or three directions of ones and minus ones want K to be even, or a multiple of four
                assert best.kind == "exact" or best.rank in (2, 3)
                gaps.append(abs(value(best, graph, redundancy) - best.loss) / K)
    record_property("gap", max(gaps))
    assert max(gaps) < ROUNDING


def test_B3_lambda_zero_puts_every_column_on_the_first_direction(record_property: Record) -> None:
    """lambda = 0: min = K (1 - rho_1)^2."""
    graph, X = coupled((0.7, 0.5, 0.3))
    with pytest.warns(ss.SpectralWarning, match="collapses"):
        best = ss.optimum(ss.BarlowTwins(0.0), graph, 3, X=X)
    assert best.kind == "exact"
    assert best.rank == 1
    agree(record_property, best.loss, 3 * 0.3**2, ROUNDING)
    agree(record_property, search(graph, 3, 0.0, X), best.loss, SEARCH_TOL)
    tied, X = coupled((0.7, 0.7, 0.3))
    best = ss.optimum(ss.BarlowTwins(0.0), tied, 1, X=X)
    assert best.unique_up_to == "none"


def smooth(N: int = 12, *, width: float = 1.5, seed: int = 0) -> np.ndarray:
    """A heat-kernel adjacency of random points in the plane."""
    points = np.random.default_rng(seed).standard_normal((N, 2))
    return np.exp(-((points[:, None] - points[None]) ** 2).sum(axis=2) / (2 * width**2))


@pytest.mark.parametrize(("K", "redundancy"), [(2, 0.7), (4, 0.5), (6, 0.9)])
def test_B3_active_sets_over_all_embeddings(K: int, redundancy: float, record_property: Record) -> None:
    """lambda < 1 over all Z (N, K), irregular degrees: the programme over the positive rho, exact."""
    A = smooth()
    graph = ss.Graph.from_adjacency(A)
    root = np.sqrt(A.sum(axis=1))
    rho = np.linalg.eigvalsh(A / np.outer(root, root) - np.outer(root, root) / A.sum())[::-1]
    bound, _ = quadratic_programme(rho, K, redundancy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.SpectralWarning)
        best = ss.optimum(ss.BarlowTwins(redundancy), graph, K)
    assert best.kind == "exact"
    assert relative(best.loss, bound) < PROGRAMME_TOL
    agree(record_property, value(best, graph, redundancy), best.loss, ROUNDING)
    agree(record_property, search(graph, K, redundancy), best.loss, SEARCH_TOL)


LABELS = scipy.linalg.block_diag(np.full((3, 3), 1 / 3), np.full((4, 4), 1 / 4), np.full((2, 2), 1 / 2))
BIPARTITE = np.block([[np.zeros((3, 3)), np.ones((3, 2))], [np.ones((2, 3)), np.zeros((2, 2))]])
PLENTY = {
    "labels": (LABELS, 4, 0.5, "Hadamard"),  # rho = 1, 1, 0, ...
    "labels, five columns": (LABELS, 5, 0.2, "Newton"),
    "two views": (np.kron([[0.0, 1.0], [1.0, 0.0]], np.eye(3)), 4, 0.7, "Hadamard"),  # rho = 1, 1, -1, -1, -1
    "bipartite": (scipy.linalg.block_diag(BIPARTITE, BIPARTITE), 3, 0.3, "search"),  # rho = 1, 0, ..., -1
}


@pytest.mark.parametrize("relation", PLENTY)
def test_B3_where_unit_columns_are_plenty_surplus_norm_is_hidden(relation: str, record_property: Record) -> None:
    """lambda < 1, q < K positive rho and norm to spare: c = kappa = K/((1 - lambda) q + lambda K), whatever rho."""
    A, K, lam, how = PLENTY[relation]
    graph = ss.Graph.from_adjacency(A)
    root = np.sqrt(A.sum(axis=1))
    rho = np.linalg.eigvalsh(A / np.outer(root, root) - np.outer(root, root) / A.sum())[::-1]
    q = int((rho > 1e-9).sum())
    kappa = K / ((1 - lam) * q + lam * K)
    assert q < K
    assert (kappa / rho[:q]).sum() < K, "norm to spare"
    minimum = K * (1 - q * kappa / K) ** 2 + lam * (q * kappa**2 - (q * kappa) ** 2 / K)
    assert relative(minimum, quadratic_programme(rho, K, lam)[0]) < PROGRAMME_TOL
    best = ss.optimum(ss.BarlowTwins(lam), graph, K)
    assert best.kind == "exact"
    assert best.unique_up_to == "none"
    assert how in best.note
    agree(record_property, best.loss, minimum, ROUNDING)
    agree(record_property, value(best, graph, lam), minimum, ROUNDING)
    deg = A.sum(axis=1)
    assert deg @ best.embedding.Z**2 / deg.sum() == pytest.approx(np.ones(K), rel=1e-9)
    found = search(graph, K, lam, starts=6)
    assert found > minimum * (1 - BELOW)
    assert found == pytest.approx(minimum, rel=1e-6)  # the optimum is not isolated: descent to it is slow at the end


@pytest.mark.parametrize("redundancy", [0.5, 2.0])
def test_B3_where_no_direction_can_hold_surplus_norm_a_zero_column_can_be_cheaper(
    redundancy: float, record_property: Record
) -> None:
    """X of rank 3, every rho > 0.9, K = 5: the best has columns of zero variance, at a cost of 1 each; certified."""
    graph, X = coupled((0.97, 0.95, 0.93))
    X = X @ np.random.default_rng(1).standard_normal((3, 6))
    with pytest.warns(ss.SpectralWarning, match="rank 3"):
        best = ss.optimum(ss.BarlowTwins(redundancy), graph, 5, X=X)
    candidates = {j: search(graph, j, redundancy, X) + 5 - j for j in (3, 4, 5)}
    agree(record_property, best.loss, min(candidates.values()), VALLEY_TOL)
    assert best.kind == "certified"
    assert best.lower_bound < best.loss
    assert value(best, graph, redundancy) == pytest.approx(best.loss, rel=ROUNDING)


# --- every lambda -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redundancy", [0.0, 0.0051, 0.2, 0.8, 1.0, 3.0, 50.0])
def test_B3_the_bound_is_below_every_embedding_tried(redundancy: float, record_property: Record) -> None:
    """lower_bound <= loss of Z, for thousands of random Z (N, K), some of them near the optimum."""
    rng = np.random.default_rng(0)
    lowest = np.inf
    for seed, K in ((0, 2), (1, 3), (2, 5)):
        graph = ss.Graph.from_adjacency(smooth(9, width=1.0, seed=seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ss.SpectralWarning)
            best = ss.optimum(ss.BarlowTwins(redundancy), graph, K)
        assert best.lower_bound <= best.loss
        assert best.kind in ("exact", "certified")
        top = ss.Spectra(graph).of("degree_centred", K).vectors[:, :K]
        A = graph.to_csr().toarray()
        for _ in range(300):
            near = top @ rng.standard_normal((K, K)) + 10 ** rng.uniform(-4, 0) * rng.standard_normal((9, K))
            push = best.embedding.Z + 10 ** rng.uniform(-6, 0) * rng.standard_normal((9, K))
            for Z in (rng.standard_normal((9, K)), near, push):
                loss = naive.value(naive.barlow_twins, Z, A, redundancy=redundancy)
                lowest = min(lowest, (loss - best.lower_bound) / K)
        found = search(graph, K, redundancy, starts=2)
        assert found > best.lower_bound - BELOW * K
    record_property("gap", max(0.0, -lowest))
    assert lowest > -BELOW


@pytest.mark.parametrize("redundancy", [1.5, 20.0])
def test_B5_equal_correlations_are_exact(redundancy: float, record_property: Record) -> None:
    """lambda >= 1 and rho_1 = ... = rho_K: min = K (1 - rho)^2, the value at lambda = 1."""
    graph, X = coupled((0.6, 0.6, 0.6, 0.1))
    best = ss.optimum(ss.BarlowTwins(redundancy), graph, 3, X=X)
    assert best.kind == "exact"
    agree(record_property, best.loss, 3 * 0.4**2, ROUNDING)
    agree(record_property, search(graph, 3, redundancy, X), best.loss, SEARCH_TOL)


@pytest.mark.parametrize("redundancy", [1.3, 4.0, 30.0])
def test_B5_two_columns_keep_the_programme_while_rho_is_above_two_thirds(
    redundancy: float, record_property: Record
) -> None:
    """lambda > 1, K = 2, rho >= 2/3: the minimum is the value of the programme (observed, not proven; certified)."""
    rho = np.array([0.95, 0.7])
    graph, X = coupled((*rho, 0.3))
    best = ss.optimum(ss.BarlowTwins(redundancy), graph, 2, X=X)
    assert best.kind == "certified"
    agree(record_property, best.loss, quadratic_programme(rho, 2, redundancy)[0], PROGRAMME_TOL)
    agree(record_property, search(graph, 2, redundancy, X), best.loss, SEARCH_TOL)
    # the bound is the value at lambda = 1
    assert best.lower_bound == pytest.approx((1 / rho - 1).sum() ** 2 / (1 / rho**2).sum(), rel=1e-10)


def test_B5_refuted_three_columns_beat_the_programme_though_rho_is_above_two_thirds(record_property: Record) -> None:
    """lambda > 1: the programme is exact while rho_k >= 2/3 (refuted from K = 3 on, by about 5e-6 of the value)."""
    rho, lam = np.array([1.0, 0.8, 0.667]), 1.5
    graph, X = coupled(tuple(rho))
    stated, _ = quadratic_programme(rho, 3, lam)
    found = search(graph, 3, lam, X)
    assert found < stated * (1 - 5e-6)
    best = ss.optimum(ss.BarlowTwins(lam), graph, 3, X=X)
    assert best.kind == "certified"
    agree(record_property, best.loss, found, SEARCH_TOL)
    record_property("counterexample", f"rho (1, .8, .667), lambda 1.5: {found:.8f} < {stated:.8f}")


def test_B5_refuted_mixtures_win_where_rho_is_small(record_property: Record) -> None:
    """lambda > 1: the programme is a formula for every rho (refuted: columns of unlike size win where rho is small)."""
    rho, lam = np.array([0.9, 0.1]), 50.0
    graph, X = coupled(tuple(rho))
    stated, _ = quadratic_programme(rho, 2, lam)
    variates = naive.value(naive.barlow_twins, _variates(graph, X, 2), graph.to_csr().toarray(), redundancy=lam)
    assert variates == pytest.approx(0.1**2 + 0.9**2, rel=1e-9)
    assert variates < 0.75 * stated
    best = ss.optimum(ss.BarlowTwins(lam), graph, 2, X=X)
    assert best.loss <= variates * (1 + 1e-12)
    agree(record_property, best.loss, search(graph, 2, lam, X), VALLEY_TOL)
    record_property("counterexample", f"rho (.9, .1), lambda 50: {best.loss:.4f} < {stated:.4f}")


def _variates(graph: ss.Graph, X: np.ndarray, K: int) -> np.ndarray:
    Y = X - X.mean(axis=0)
    return Y @ scipy.linalg.eigh(Y.T @ graph.to_csr() @ Y, Y.T @ Y)[1][:, ::-1][:, :K]


@pytest.mark.parametrize("K", [2, 3, 4])
def test_B5_as_lambda_grows_equal_uncorrelated_columns_win_where_rho_is_large(K: int, record_property: Record) -> None:
    """lambda -> inf, rho >= 2/3: min -> K (1 - HM(rho))^2, HM the harmonic mean of the top K."""
    rho = np.array([0.97, 0.9, 0.8, 0.7])[:K]
    graph, X = coupled((*rho, 0.2))
    limit = K * (1 - K / (1 / rho).sum()) ** 2
    left = [1 - ss.optimum(ss.BarlowTwins(lam), graph, K, X=X).loss / limit for lam in (1e2, 1e3, 1e4)]
    assert all(0 < after < 0.12 * before for before, after in itertools.pairwise(left))  # like 1 / lambda
    agree(record_property, 1 - left[-1], 1.0, 1e-4)
    A = torch.as_tensor(graph.to_csr().toarray())
    Z = torch.as_tensor(ss.optimum(ss.BarlowTwins(1e4), graph, K, X=X).embedding.Z)
    C = naive.cross_correlation(Z, A).numpy()
    assert np.diag(C) == pytest.approx(np.full(K, K / (1 / rho).sum()), rel=1e-3)
    assert np.abs(C - np.diag(np.diag(C))).max() < 1e-4


@pytest.mark.parametrize(
    "rho", [np.array([0.95, 0.9, 0.8, 0.75, 0.2, 0.1]), np.linspace(1, 0.4, 8), np.linspace(0.9, 0.4, 12)], ids=len
)
def test_B5_as_lambda_grows_large_rho_are_evened_out_and_small_ones_left(
    rho: np.ndarray, record_property: Record
) -> None:
    """lambda -> inf: the lowest found tends to min_j j (1 - HM(rho_1..rho_j))^2 + sum_{k > j} (1 - rho_k)^2."""
    graph, X = coupled(tuple(rho))
    K = rho.size
    limits = [j * (1 - j / (1 / rho[:j]).sum()) ** 2 + ((1 - rho[j:]) ** 2).sum() for j in range(1, K + 1)]
    j = int(np.argmin(limits)) + 1
    assert 1 < j < K
    best = ss.optimum(ss.BarlowTwins(1e3), graph, K, X=X)
    assert best.loss <= limits[j - 1]
    agree(record_property, best.loss, limits[j - 1], 1e-3)  # 1 / lambda
    agree(record_property, value(best, graph, 1e3), best.loss, ROUNDING)


@pytest.mark.parametrize("redundancy", [1.3, 6.0])
def test_B5_descents_above_one_are_as_low_as_scipys(redundancy: float, record_property: Record) -> None:
    """lambda > 1: the certified optimum is no higher than the best of scipy's descents of the naive loss."""
    rng = np.random.default_rng(3)
    gaps = []
    for K, lowest in ((3, 0.05), (4, 0.3), (5, 0.1)):
        rho = np.sort(rng.uniform(lowest, 1.0, K + 1))[::-1]
        graph, X = coupled(tuple(rho), seed=K)
        best = ss.optimum(ss.BarlowTwins(redundancy), graph, K, X=X)
        assert best.kind == "certified"
        assert value(best, graph, redundancy) == pytest.approx(best.loss, rel=ROUNDING)
        gaps.append(best.loss / search(graph, K, redundancy, X) - 1)
    record_property("gap", max(gaps))
    assert max(gaps) < VALLEY_TOL


@pytest.mark.parametrize(("redundancy", "kind"), [(0.3, "exact"), (2.5, "certified")])
def test_only_rotations_that_keep_both_diagonals_are_free(redundancy: float, kind: str) -> None:
    graph, X = coupled(SPREAD[:6])
    best = ss.optimum(ss.BarlowTwins(redundancy), graph, 4, X=X)
    A, Z = graph.to_csr().toarray(), best.embedding.Z
    assert (best.kind, best.unique_up_to) == (kind, "orthogonal+scale")
    same = naive.value(naive.barlow_twins, -3 * Z[:, ::-1] * [1, 2, 3, 4], A, redundancy=redundancy)
    assert same == pytest.approx(best.loss, rel=1e-9)
    turned = Z @ np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    assert naive.value(naive.barlow_twins, turned, A, redundancy=redundancy) > best.loss * 1.01


def test_compare_trains_at_other_redundancies(tmp_path: Path) -> None:
    """`compare --methods "barlow_twins(redundancy=...)"`: the trained loss is at the optimum, never below the bound."""
    record = compare_methods(
        data="iris",
        relation="knn(n_neighbors=10)",
        methods="barlow_twins(redundancy=0.2), barlow_twins(redundancy=4), ssl_ey",
        n_components=2,
        figures=False,
        out=tmp_path / "run",
    )
    below, above, ssl_ey = record["rows"]
    assert (below["kind"], above["kind"], ssl_ey["kind"]) == ("exact", "certified", "exact")
    for row in record["rows"]:
        assert row["loss_trained"] >= row["lower_bound"] - BELOW
        assert row["loss_trained"] == pytest.approx(row["loss_closed"], rel=1e-6)
        assert row["max_angle"] < 1e-3


# --- SSL-EY -----------------------------------------------------------------------------------------------------------


def two_views(n: int = 20, D: int = 4, seed: int = 0) -> tuple[ss.Graph, np.ndarray, np.ndarray, np.ndarray]:
    """Noisy views of shared factors, centred each, and the relation that pairs their rows."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, D)) @ np.diag([2.0, 1.5, 1.0, -0.5])
    Xa, Xb = (shared + rng.standard_normal((n, D)) for _ in range(2))
    Xb[:, 3] *= -1  # a factor that the views disagree about: rho < 0
    Xa, Xb = Xa - Xa.mean(axis=0), Xb - Xb.mean(axis=0)
    return ss.Graph.from_pairs(np.arange(n), n + np.arange(n), 2 * n), np.vstack([Xa, Xb]), Xa, Xb


@pytest.mark.parametrize("K", [1, 3, 4])
def test_S8_ssl_ey_is_the_top_of_the_two_view_eigenproblem(K: int, record_property: Record) -> None:
    """SSL-EY: A = (Xa'Xb + Xb'Xa)/(n - 1), B = (Xa'Xa + Xb'Xb)/(n - 1), min = -sum max(0, rho)^2, rho of (A, B)."""
    graph, X, Xa, Xb = two_views()
    n = len(Xa)
    A, B = (Xa.T @ Xb + Xb.T @ Xa) / (n - 1), (Xa.T @ Xa + Xb.T @ Xb) / (n - 1)
    rho, b = scipy.linalg.eigh(A, B)
    rho, b = rho[::-1], b[:, ::-1]
    kept = np.maximum(0, rho[:K])
    best = ss.optimum(METHODS["ssl_ey"](), graph, K, X=X)
    assert best.kind == "exact"
    assert best.rank == (kept > 0).sum() == min(K, 3)
    agree(record_property, best.loss, -(kept**2).sum(), ROUNDING)
    # the reference loss of the weights, in its units
    assert best.embedding.W is not None
    W = best.embedding.W * np.sqrt((n - 1) / (2 * n))
    agree(record_property, -2 * np.trace(W.T @ A @ W) + ((W.T @ B @ W) ** 2).sum(), best.loss, ROUNDING)
    expected = b[:, :K] * np.sqrt(kept)
    agree(record_property, W @ W.T, expected @ expected.T, 1e-8, scale=float(np.abs(expected @ expected.T).max()))
    same_span(record_property, W[:, : best.rank], b[:, : best.rank], SPAN_TOL)
    # and scipy's descent of it, from nowhere
    A_, B_ = torch.as_tensor(A), torch.as_tensor(B)
    found, _ = naive.minimise(lambda W: -2 * torch.trace(W.T @ A_ @ W) + ((W.T @ B_ @ W) ** 2).sum(), (4, K))
    agree(record_property, found, best.loss, SEARCH_TOL)


def test_S8_ssl_ey_over_all_embeddings(record_property: Record) -> None:
    """Over all Z: min = -sum max(0, rho_k)^2, rho the normalised adjacency off the constant, on its eigenvectors."""
    A = smooth(10, width=0.8)
    deg, s, K = A.sum(axis=1), A.sum(), 3
    root = np.sqrt(deg)
    rho, U = np.linalg.eigh(A / np.outer(root, root) - np.outer(root, root) / s)
    best = ss.optimum(METHODS["ssl_ey"](), ss.Graph.from_adjacency(A), K)
    agree(record_property, best.loss, -(rho[-K:] ** 2).sum(), ROUNDING)
    same_span(record_property, best.embedding.Z, U[:, -K:] / root[:, None], SPAN_TOL)
    A_, deg_ = torch.as_tensor(A), torch.as_tensor(deg)

    def loss(Z: torch.Tensor) -> torch.Tensor:
        Y = Z - deg_ @ Z / s
        return -2 * torch.trace(Y.T @ A_ @ Y) / s + ((Y.T @ (deg_[:, None] * Y) / s) ** 2).sum()

    found, Z = naive.minimise(loss, (10, K))
    agree(record_property, found, best.loss, SEARCH_TOL)
    same_span(record_property, Z - deg @ Z / s, best.embedding.Z, ANGLE_TOL)


@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_S8_ssl_ey_is_degree_weighted_vicreg_for_every_embedding(alpha: float, record_property: Record) -> None:
    """alpha SSL-EY(Z) + alpha K = degree-weighted VICReg(Z) at variance = covariance = invariance = alpha, every Z."""
    A = smooth(10)
    graph, A_ = ss.Graph.from_adjacency(A), torch.as_tensor(A)
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for K in (1, 2, 5):
        Z = rng.uniform(0.1, 3) * rng.standard_normal((10, K)) + 2
        ours.append(alpha * float(METHODS["ssl_ey"]().loss(Z, graph)) + alpha * K)
        vicreg = naive.vicreg(torch.as_tensor(Z), A_, alpha=alpha, beta=alpha, gamma=alpha, degree=True)
        theirs.append(float(vicreg))
    agree(record_property, ours, theirs, ROUNDING)
