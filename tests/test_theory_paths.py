"""Paths of optima from one spectrum: staircases, lines, losses and filters.

Witnesses: dense eigenvectors by numpy, losses of Z from their definitions (tests/naive.py), numerical minimisation over
the spectrum of Cov, and sign changes found by bisection.
"""

import naive
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from measure import Record, agree, same_span

import spectral_ssl as ss
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.theory import FILTERS, invariance_path, redundancy_path

ROUNDING = 1e-10  # closed forms of order ten, whose losses are near 1
N, K = 14, 5


def adjacency(seed: int = 0) -> np.ndarray:
    """Irregular and connected, weights in (0, 1), zero diagonal."""
    rng = np.random.default_rng(seed)
    A = rng.random((N, N)) * (rng.random((N, N)) < 0.5)
    A[np.arange(N - 1), np.arange(1, N)] += 0.2
    A = np.triu(A, 1)
    return A + A.T


def circulant(n: int = N) -> np.ndarray:
    """Regular: every sample is paired with its four nearest on a circle, d = 4."""
    A = np.zeros((n, n))
    for step in (1, 2):
        for i in range(n):
            A[i, (i + step) % n] = A[(i + step) % n, i] = 1.0
    return A


def laplacian_of(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, U = np.linalg.eigh(np.diag(A.sum(axis=1)) - A)
    return values[1:], U[:, 1:]


def spectrum_of(A: np.ndarray, pencil: str = "laplacian") -> ss.Spectrum:
    return ss.Spectra(ss.Graph.from_adjacency(A)).of(pencil, K)


# --- the invariance path ----------------------------------------------------------------------------------------------


def test_V2_one_spectrum_has_the_whole_invariance_path(record_property: Record) -> None:
    """Shares are the lines 1 - gamma lam_k n / (N alpha), rank a staircase, the loss that of Z by its definition."""
    A, alpha = adjacency(), 1.7
    values, U = laplacian_of(A)
    m = values * (N - 1) / N
    gammas = np.geomspace(0.02 / m[K - 1], 3 / m[0], 23) * alpha
    path = invariance_path(spectrum_of(A), K, gammas, variance=alpha, covariance=alpha, ddof=1)
    lines = np.maximum(0, 1 - gammas[:, None] * m[:K] / alpha)
    agree(record_property, path.shares, lines, ROUNDING, scale=1.0)
    agree(record_property, path.critical, alpha / m[:K], ROUNDING)
    assert path.rank.tolist() == [int((g < alpha / m[:K]).sum()) for g in gammas]
    assert path.rank[0] == K
    assert path.rank[-1] == 0
    assert set(path.kind) == {"exact"}
    for i in (0, 9, 15, 22):
        Z = np.sqrt(N - 1) * U[:, :K] * np.sqrt(lines[i])
        loss = naive.vicreg(torch.tensor(Z), torch.tensor(A), alpha=alpha, beta=alpha, gamma=float(gammas[i]), ddof=1)
        agree(record_property, path.loss[i], float(loss), ROUNDING)
        found = path.embedding(i).Z
        agree(record_property, found @ found.T, Z @ Z.T, ROUNDING, scale=1.0)
        agree(record_property, path.optimum(i).loss, path.loss[i], ROUNDING)
        for name, term in path.optimum(i).loss_terms.items():
            agree(record_property, path.loss_terms[name][i], term, ROUNDING, scale=1.0)


FORMS = [
    {"form": "squared", "variance": 1.0, "covariance": 1.0},
    {"form": "squared", "variance": 1.0, "covariance": 2.5},
    {"form": "squared", "variance": 1.0, "covariance": 0.3},
    {"form": "squared", "variance": 2.0, "covariance": 0.0},
    {"form": "hinge", "variance": 12.5, "covariance": 1.0},
    {"form": "hinge", "variance": 1.0, "covariance": 0.0},
]


def constant_diagonal_loss(c: np.ndarray, e: np.ndarray, form: str, alpha: float, beta: float) -> float:
    """The loss at a spectrum c of Cov whose columns have equal variances: the module's (P), written out."""
    s = c.sum() / c.size
    spread = (1 - s) ** 2 if form == "squared" else max(0.0, 1 - np.sqrt(s))
    return float(alpha * c.size * spread + beta * ((c**2).sum() - c.size * s**2) + e @ c)


@pytest.mark.parametrize("options", FORMS, ids=lambda o: f"{o['form']}-{o['variance']:g}-{o['covariance']:g}")
def test_every_form_has_its_minimum_and_its_covariance_along_the_path(options: dict) -> None:
    """No BFGS over the roots of the spectrum of Cov gets below it, and the embedding has that loss and that Cov."""
    A = adjacency(3)
    values, _ = laplacian_of(A)
    path = invariance_path(spectrum_of(A), K, **options)
    alpha, beta, form = options["variance"], options["covariance"], options["form"]
    for i in range(4, 100, 13):
        e = 2 * path.values[i] * values[:K]
        if form == "squared" and beta >= alpha:
            least = sum(
                scipy.optimize.minimize_scalar(
                    lambda t, cost=cost: alpha * (1 - t) ** 2 + cost * t, bounds=(0, 2), method="bounded",
                    options={"xatol": 1e-10},
                ).fun
                for cost in e
            )  # fmt: skip
        else:
            starts = [np.full(K, 0.3), np.ones(K), np.sqrt(K) * np.eye(K)[0] + 1e-3]
            least = min(
                scipy.optimize.minimize(
                    lambda x, e=e: constant_diagonal_loss(x**2, e, form, alpha, beta), start, method="BFGS",
                    options={"gtol": 1e-9},
                ).fun
                for start in starts
            )  # fmt: skip
        assert path.loss[i] <= least + 1e-9 * alpha * K
        Z = path.embedding(i).Z
        cov = np.linalg.eigvalsh(np.cov(Z.T, ddof=0))[::-1]
        assert np.abs(cov - path.shares[i]).max() < 1e-9
        loss = naive.vicreg(
            torch.tensor(Z), torch.tensor(A), alpha=alpha, beta=beta, gamma=float(path.values[i]), hinge=form == "hinge"
        )
        assert float(loss) == pytest.approx(path.loss[i], rel=1e-9)


@pytest.mark.parametrize("options", FORMS, ids=lambda o: f"{o['form']}-{o['variance']:g}-{o['covariance']:g}")
def test_directions_die_at_the_critical_values(options: dict) -> None:
    """Where the rank of the optimum drops, bisected, is gamma_k of the formula; those at infinity never drop."""
    spectrum = spectrum_of(adjacency(5))
    path = invariance_path(spectrum, K, **options)
    assert path.critical is not None
    for k in range(K):
        dies = path.critical[k]
        if dies == 0 or np.isinf(dies):
            gamma = np.array([1e-9, 1e3])
            assert (invariance_path(spectrum, K, gamma, **options).shares[:, k] > 0).tolist() == [dies > 0] * 2
            continue
        low, high = 1e-3, 1e5
        for _ in range(60):
            gamma = float(np.sqrt(low * high))
            alive = ss.VICReg(invariance=gamma, **options).optimum(spectrum, K).rank > k
            low, high = (gamma, high) if alive else (low, gamma)
        assert low == pytest.approx(dies, rel=1e-5)  # the rank of an optimum counts shares above 1e-20 of the largest


def test_V7_the_hinge_never_kills_its_first_direction(record_property: Record) -> None:
    """Its slope at variance 0 is infinite: one direction is left at every gamma, where squared VICReg collapses."""
    spectrum = spectrum_of(adjacency(1))
    hinge = invariance_path(spectrum, K, [1e6], form="hinge", variance=12.5)
    squared = invariance_path(spectrum, K, [1e6], variance=12.5)
    assert hinge.critical is not None
    assert np.isinf(hinge.critical[0])
    assert (hinge.rank[0], squared.rank[0]) == (1, 0)
    # alone, K columns of variance s cost alpha K (1 - sqrt s) + beta (K^2 - K) s^2 + 2 gamma m K s
    m = laplacian_of(adjacency(1))[0][0]
    cost = scipy.optimize.minimize_scalar(
        lambda x: 12.5 * K * (1 - x) + (K * K - K) * x**4 + 2e6 * m * K * x**2, bounds=(0, 1e-3), method="bounded",
        options={"xatol": 1e-16},
    )  # fmt: skip
    agree(record_property, hinge.loss[0], cost.fun, ROUNDING)


def test_the_loss_is_concave_and_its_slope_is_the_invariance() -> None:
    """A minimum of functions linear in gamma: d loss / d gamma = invariance term / gamma, by central differences."""
    for options in FORMS:
        path = invariance_path(spectrum_of(adjacency(2)), K, np.linspace(0.01, 2.0, 400), **options)
        g, f = path.values, path.loss
        slope = (f[2:] - f[:-2]) / (g[2:] - g[:-2])
        assert np.all(np.diff(slope) <= 1e-8)
        assert np.abs(slope - path.loss_terms["invariance"][1:-1] / g[1:-1]).max() < 0.02 * slope[0]  # steps of 0.005


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.0, 5.0), min_size=6, max_size=6),
    st.floats(0.1, 20.0),
    st.floats(0.0, 20.0),
    st.sampled_from(["squared", "hinge"]),
)
@example([0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 1.0, 2.2e-311, "squared")  # as beta = 0, without an overflow
@example([1.0, 1.0, 1.0, 1.0, 1.0, 5e-324], 1.0, 1.0, "hinge")  # the same of an eigenvalue
def test_shares_of_many_invariances_are_those_of_each(m: list[float], alpha: float, beta: float, form: str) -> None:
    """Rows of costs at once against one row at a time, ties and zeros included."""
    method = ss.VICReg(alpha, min(beta, alpha / 8) if form == "hinge" else beta, form=form)
    e = 2 * np.array([0.0, 0.1, 1.0, 7.0])[:, None] * np.sort(m)
    together = method.shares(e, 6)
    for row, c, d in zip(e, together.c, together.d, strict=True):
        alone = method.shares(row, 6)
        assert np.abs(alone.c - c).max() < 1e-9
        assert np.abs(alone.d - d).max() < 1e-9


def test_V9_frobenius_simclr_is_one_point_of_the_path(record_property: Record) -> None:
    """Regular relation: at gamma = alpha / d the embedding is that of classical MDS of HAH / d; below it more rank."""
    n, d = 13, 4.0  # no eigenvalue of this circle is zero
    A, H = circulant(n), np.eye(n) - 1 / n
    g, U = np.linalg.eigh(H @ A @ H)
    top = np.argsort(-g)[:K]
    F = U[:, top] * np.sqrt(np.maximum(g[top], 0) / d)
    path = invariance_path(spectrum_of(A), K, [0.5 / d, 1 / d])
    Z = path.embedding(1).Z / np.sqrt(n)
    agree(record_property, Z @ Z.T, F @ F.T, ROUNDING, scale=1.0)
    assert path.rank.tolist() == [K, int((g[top] > 1e-9).sum())]
    assert path.rank[1] < K


def test_a_searched_path_has_proven_bounds() -> None:
    """The hinge at alpha = beta: every loss is that of its embedding, and within the bound of branch and bound."""
    A = adjacency(4)
    path = invariance_path(spectrum_of(A), 3, [0.05, 0.4, 1.5], form="hinge")
    assert path.critical is None
    for i, gamma in enumerate(path.values):
        Z = torch.tensor(path.embedding(i).Z)
        assert float(naive.vicreg(Z, torch.tensor(A), gamma=float(gamma), hinge=True)) == pytest.approx(
            path.loss[i], rel=1e-8
        )
        assert path.loss[i] - path.lower_bound[i] <= (1e-8 if path.kind[i] == "exact" else 1e-2)
    # the constant diagonal is no match (V7c)
    even = invariance_path(spectrum_of(A), 3, [0.4], form="hinge", variance=8.0, covariance=1.0)
    assert np.ptp(np.var(even.embedding(0).Z, axis=0)) < 1e-9 < np.ptp(np.var(path.embedding(1).Z, axis=0))


def test_degree_weighting_reads_the_normalised_laplacian() -> None:
    A = adjacency(6)
    deg = A.sum(axis=1)
    a = np.linalg.eigvalsh(A / np.sqrt(np.outer(deg, deg)))[::-1][1 : K + 1]
    path = invariance_path(spectrum_of(A, "degree_centred"), K, [0.3, 0.9], weighting="degree")
    assert np.abs(path.shares - np.maximum(0, 1 - np.outer([0.3, 0.9], 1 - a))).max() < ROUNDING
    Z = torch.tensor(path.embedding(1).Z)
    loss = naive.vicreg(Z, torch.tensor(A), gamma=0.9, degree=True)
    assert float(loss) == pytest.approx(path.loss[1], rel=1e-9)


def test_a_grid_not_given_goes_round_the_critical_values() -> None:
    path = invariance_path(spectrum_of(adjacency()), K)
    assert len(path) == 100
    assert path.rank[0] == K
    assert path.rank[-1] == 0
    assert path.rank[path.steps].tolist() == list(range(K, -1, -1))
    assert np.diff(np.log(path.values)) == pytest.approx(np.log(path.values[1] / path.values[0]))


def test_directions_of_several_components_never_die() -> None:
    A = np.kron(np.eye(3), np.ones((4, 4)) - np.eye(4))
    path = invariance_path(ss.Spectra(ss.Graph.from_adjacency(A)).of("laplacian", 4), 4, [0.01, 100.0])
    assert np.isinf(path.critical).tolist() == [True, True, False, False]
    assert path.rank.tolist() == [4, 2]


# --- the redundancy path ----------------------------------------------------------------------------------------------


def positive_adjacency() -> np.ndarray:
    """Near neighbours on a line with self-pairs: its normalised adjacency has many positive eigenvalues."""
    x = np.sort(np.random.default_rng(0).random(N))
    return np.exp(-((x[:, None] - x) ** 2) / 0.01)


def programme_by_slsqp(rho: np.ndarray, K: int, lam: float) -> float:
    """min K (1 - cbar)^2 + lam (sum c^2 - K cbar^2) over sum c / rho <= K, c >= 0."""

    def value(c: np.ndarray) -> float:
        mean = c.sum() / K
        return float(K * (1 - mean) ** 2 + lam * ((c**2).sum() - K * mean**2))

    fit = {"type": "ineq", "fun": lambda c: K - (c / rho).sum()}
    starts = (0.1 * np.ones(rho.size), 0.9 * rho)
    options = {"ftol": 1e-15, "maxiter": 1000}
    return min(
        scipy.optimize.minimize(
            value, start, method="SLSQP", bounds=[(0, None)] * rho.size, constraints=fit, options=options
        ).fun
        for start in starts
    )


def test_B3_one_spectrum_has_the_whole_redundancy_path(record_property: Record) -> None:
    """Values of the programme for every lambda at once; at K = 4, a Hadamard order, losses of the embeddings."""
    A = positive_adjacency()
    spectrum = spectrum_of(A, "degree_centred")
    deg = A.sum(axis=1)
    rho = np.linalg.eigvalsh(A / np.sqrt(np.outer(deg, deg)))[::-1][1:5]
    lambdas = np.array([1e-3, 0.02, 0.3, 1.0])
    path = redundancy_path(spectrum, 4, lambdas)
    assert set(path.kind) == {"exact"}
    for i, lam in enumerate(lambdas):
        agree(record_property, path.loss[i], programme_by_slsqp(rho, 4, lam), 1e-7)  # SLSQP
        Z = path.embedding(i).Z
        loss = naive.barlow_twins(torch.tensor(Z), torch.tensor(A), redundancy=float(lam))
        agree(record_property, float(loss), path.loss[i], 1e-9)
        cov = np.linalg.eigvalsh((Z - deg @ Z / deg.sum()).T @ (deg[:, None] * (Z - deg @ Z / deg.sum())) / deg.sum())
        agree(record_property, cov, np.sort(path.shares[i]), 1e-9, scale=1.0)
    assert path.rank.tolist() == [int((path.critical < lam).sum()) for lam in lambdas]
    assert path.rank[0] < path.rank[-1]


def test_redundancy_path_says_where_its_value_is_a_bound_alone() -> None:
    """K = 3 has no Hadamard matrix: exact at lambda = 1, a bound below it that no embedding tried gets under."""
    A = positive_adjacency()
    path = redundancy_path(spectrum_of(A, "degree_centred"), 3, [0.5, 1.0])
    assert path.kind == ("bound", "exact")
    Z = torch.tensor(path.embedding(1).Z)
    assert float(naive.barlow_twins(Z, torch.tensor(A))) == pytest.approx(path.loss[1], rel=1e-8)
    assert float(naive.barlow_twins(Z, torch.tensor(A), redundancy=0.5)) > path.loss[0]
    default = redundancy_path(spectrum_of(A, "degree_centred"), 4)
    assert (default.values[0], default.values[-1], len(default)) == (pytest.approx(1e-3), 1.0, 100)
    assert np.all(np.diff(default.rank) >= 0)


@pytest.mark.slow
def test_past_redundancy_one_optima_are_searched_for() -> None:
    A = positive_adjacency()
    path = redundancy_path(spectrum_of(A, "degree_centred"), 3, [1.0, 4.0])
    assert path.kind[1] == "certified"
    loss = float(naive.barlow_twins(torch.tensor(path.embedding(1).Z), torch.tensor(A), redundancy=4.0))
    assert loss == pytest.approx(path.loss[1], rel=1e-6)
    assert loss > path.lower_bound[1] == pytest.approx(path.loss[0])


# --- filters ----------------------------------------------------------------------------------------------------------


def test_filters_are_the_energies_of_the_optima() -> None:
    """Regular relation: h of every filter is the weighted covariance of its method's optimum along eigenvectors."""
    A = circulant() + 2 * np.eye(N)  # positive enough for Barlow Twins
    d = 6.0
    graph = ss.Graph.from_adjacency(A)
    a, U = np.linalg.eigh(A / d)
    a, U = a[::-1], U[:, ::-1]
    off = a[1:]

    def energy(method: ss.Method, factor: float = 1.0) -> np.ndarray:
        Z = ss.optimum(method, graph, K).embedding.Z
        return factor * ((U.T @ Z) ** 2).sum(axis=1) / N

    def close(method: ss.Method, h: np.ndarray, factor: float = 1.0) -> None:
        found, shown = energy(method, factor), np.zeros(N)
        shown[-h.size :] = h
        for value in np.unique(a.round(9)):  # eigenvalues of a circle come in pairs, which K may cut
            pair = np.abs(a - value) < 1e-8
            assert found[pair].sum() == pytest.approx(shown[pair].sum(), abs=1e-9)

    for strength in (0.4, 1.0, 1.4):
        close(ss.VICReg(invariance=strength / d), FILTERS["vicreg"](off, K, invariance=strength))
    close(ss.FrobeniusSimCLR(), FILTERS["frobenius"](a, K), factor=N / d)
    close(ss.SpectralContrastive(), FILTERS["spectral"](a, K))
    close(ss.VICReg(form="constrained"), FILTERS["eigenmaps"](off, K))
    close(ss.BarlowTwins(), FILTERS["barlow"](off, K))
    with pytest.warns(ss.SpectralWarning, match="collapses"):
        close(ss.BarlowTwins(redundancy=0.02), FILTERS["barlow"](off, K, redundancy=0.02))
    # by formulas, where no optimum over all Z has the same scale
    nu = (np.sum(1 / off[:K]) - K) / np.sum(1 / off[:K] ** 2)
    assert FILTERS["barlow"](off, K)[:K] == pytest.approx((1 - nu / off[:K]) / off[:K])
    shown = np.where((np.arange(N) < 12) & (a > 1e-12), 1 / np.where(a > 1e-12, a, 1.0), 0.0)
    assert FILTERS["barlow_minimum"](a, 12) == pytest.approx(shown)
    s2 = np.exp(8 * a * 0.7) / (0.05**-2 + (np.exp(8 * a * 0.7) - 1) * a)
    assert FILTERS["barlow_flow"](a, N, time=0.7, init_scale=0.05) == pytest.approx(s2)


def test_only_gentle_vicreg_and_eigenmaps_keep_directions_without_agreement() -> None:
    a = np.array([0.9, 0.3, -0.1, -0.6])
    keeps = {name: bool(f(a, 4)[2:].any()) for name, f in FILTERS.items() if name not in ("vicreg", "barlow_flow")}
    assert keeps == {"frobenius": False, "spectral": False, "eigenmaps": True, "barlow": False, "barlow_minimum": False}
    assert [bool(FILTERS["vicreg"](a, 4, invariance=g)[2] > 0) for g in (0.8, 0.95, 1.0)] == [True, False, False]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_refusals_say_what_to_do() -> None:
    spectrum = spectrum_of(adjacency())
    with pytest.raises(DataError, match="laplacian pencil"):
        invariance_path(spectrum_of(adjacency(), "degree_centred"), K)
    with pytest.raises(DataError, match="Spectra"):
        invariance_path(ss.Graph.from_adjacency(adjacency()), K)
    with pytest.raises(DataError, match="ascending"):
        invariance_path(spectrum, K, [0.2, 0.1])
    with pytest.raises(DataError, match="Laplacian Eigenmaps"):
        invariance_path(spectrum, K, form="constrained")
    with pytest.raises(DataError, match="degree_centred"):
        redundancy_path(spectrum, K)
    complete = np.ones((N, N)) - np.eye(N)
    with pytest.raises(NotClosedForm, match="no positive"):
        redundancy_path(spectrum_of(complete, "degree_centred"), 2)
    with pytest.raises(DataError, match=r"\[-1, 1\]"):
        FILTERS["vicreg"]([0.3, 0.9], 2)
    with pytest.raises(DataError, match="redundancy"):
        FILTERS["barlow"]([0.9, 0.3], 2, redundancy=2.0)


def test_the_path_of_linear_maps_is_that_of_their_pencil(record_property: Record) -> None:
    """X'LX against X'HX, by scipy: the same lines with other critical values, and W that makes Z."""
    A, X = adjacency(8), np.random.default_rng(0).standard_normal((N, 6)) + 3.0
    L, H = np.diag(A.sum(axis=1)) - A, np.eye(N) - 1 / N
    mu, W = scipy.linalg.eigh(X.T @ L @ X, X.T @ H @ X)
    path = invariance_path(ss.Spectra(ss.Graph.from_adjacency(A), X=X).of("laplacian", 4), 4, [0.1, 0.4])
    agree(record_property, path.shares, np.maximum(0, 1 - np.outer([0.1, 0.4], mu[:4])), ROUNDING, scale=1.0)
    best = path.embedding(0)
    same_span(record_property, best.W, W[:, :4], 1e-8)
