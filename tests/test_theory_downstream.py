"""What a linear probe makes of an optimum, and its rank: statements D1-D8.

Witnesses: eigenvectors of a dense Laplacian by numpy, least squares by np.linalg.lstsq, scikit-learn's regression, hat
matrices from normal equations, and draws of labels.
"""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
from measure import Record, agree, same_span
from sklearn.linear_model import LinearRegression, Ridge

import spectral_ssl as ss
from spectral_ssl.errors import DataError
from spectral_ssl.theory import invariance_path, probe_path, ridge_risk

DRAWS = 300  # of labelled rows: medians of errors that differ by a tenth and more are told apart
ROUNDING = 1e-9  # least squares on embeddings whose singular values span up to three decades
N = 24


def knn_like(seed: int = 0) -> np.ndarray:
    """An irregular connected weighted adjacency (N, N)."""
    points = np.random.default_rng(seed).standard_normal((N, 2))
    distances = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    A = np.exp(-distances) * (distances < np.quantile(distances, 0.4))
    np.fill_diagonal(A, 0.0)
    A[np.arange(N - 1), np.arange(1, N)] += 0.1
    A[np.arange(1, N), np.arange(N - 1)] += 0.1
    return A


def labelled(sizes: tuple[int, ...], D: int = 6, seed: int = 0) -> tuple[ss.Dataset, np.ndarray]:
    """Overlapping classes in D features, and the one-hot labels Y (N, C)."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    X = rng.standard_normal((y.size, D)) + 1.5 * rng.standard_normal((len(sizes), D))[y] + 2.0
    return ss.Dataset(name="classes", X=X, y=y), np.eye(len(sizes))[y]


def probe_error(Z: np.ndarray, Y: np.ndarray) -> float:
    """Squared error of the unregularised linear probe with intercept."""
    features = np.hstack([Z, np.ones((len(Z), 1))])
    coefficients = np.linalg.lstsq(features, Y, rcond=1e-10)[0]
    return float(((features @ coefficients - Y) ** 2).sum())


# --- D1 -------------------------------------------------------------------------------------------------------------


def test_D1_probe_error_is_the_label_energy_outside_the_kept_directions(record_property: Record) -> None:
    """The error of an unregularised probe is |HY|^2 - sum_{t_k > 0} |u_k'Y|^2; gamma enters through the rank alone."""
    A, K = knn_like(), 7
    graph = ss.Graph.from_adjacency(A)
    values, U = np.linalg.eigh(np.diag(A.sum(axis=1)) - A)
    values, U = values[1:], U[:, 1:]  # connected: one constant, and it is first
    assert values[0] > 1e-3
    Y = np.eye(3)[np.random.default_rng(1).integers(0, 3, N)]
    energy = ((U.T @ Y) ** 2).sum(axis=1)
    total = ((Y - Y.mean(axis=0)) ** 2).sum()
    errors = {}
    for share in (0.1, 0.5, 0.98, 1.7, 3.0, 20.0):
        gamma = share / values[K - 1]
        best = ss.optimum(ss.VICReg(invariance=gamma), graph, K)
        kept = int((1 - gamma * values[:K] > 0).sum())
        assert best.rank == kept
        errors[share] = (kept, probe_error(best.embedding.Z, Y))
        agree(record_property, errors[share][1], total - energy[:kept].sum(), ROUNDING)
    # gamma enters through the rank alone
    assert [errors[share][0] for share in (0.1, 0.5, 0.98)] == [K] * 3
    agree(record_property, errors[0.1][1], errors[0.5][1], ROUNDING)
    agree(record_property, errors[0.1][1], errors[0.98][1], ROUNDING)
    assert errors[3.0][0] < errors[1.7][0] < K
    assert errors[3.0][1] > errors[1.7][1] > errors[0.98][1]


def test_D1_probe_predictions_do_not_depend_on_gamma_while_the_rank_is_full(record_property: Record) -> None:
    """Probe predictions, not errors alone, are those of every gamma that leaves the same rank."""
    A, K = knn_like(seed=2), 5
    graph = ss.Graph.from_adjacency(A)
    y = np.random.default_rng(3).standard_normal(N)
    predictions = []
    for gamma in (0.01, 0.3):
        best = ss.optimum(ss.VICReg(invariance=gamma), graph, K)
        assert best.rank == K
        predictions.append(LinearRegression().fit(best.embedding.Z, y).predict(best.embedding.Z))
    agree(record_property, predictions[0], predictions[1], ROUNDING, scale=1.0)


def test_D1_probe_error_is_zero_exactly_where_the_labels_lie_in_the_kept_span(record_property: Record) -> None:
    """The probe's error is zero exactly where the centred labels lie in the kept span."""
    A = knn_like(seed=4)
    graph = ss.Graph.from_adjacency(A)
    U = np.linalg.eigh(np.diag(A.sum(axis=1)) - A)[1][:, 1:]
    Y = 3.0 + U[:, :4] @ np.random.default_rng(5).standard_normal((4, 2))
    method = ss.VICReg(invariance=1e-3)
    agree(record_property, probe_error(ss.optimum(method, graph, 4).embedding.Z, Y), 0.0, 1e-18, scale=1.0)
    assert probe_error(ss.optimum(method, graph, 3).embedding.Z, Y) > 1e-2


def test_D1_along_a_whole_path_from_one_spectrum(record_property: Record) -> None:
    """The errors of probes at all values of a path, from label energies alone, are those of probes that are fitted."""
    A, K = knn_like(seed=6), 6
    path = invariance_path(ss.Spectra(ss.Graph.from_adjacency(A)).of("laplacian", K), K)
    Y = np.eye(3)[np.random.default_rng(7).integers(0, 3, N)]
    errors = probe_path(path.spectrum.vectors[:, :K], path.scale * path.shares, Y).error
    for i in path.steps:
        agree(record_property, errors[i], probe_error(path.embedding(int(i)).Z, Y), ROUNDING)
    assert np.unique(errors.round(9)).size == path.steps.size == K + 1


# --- D5: the risk of a ridge probe ------------------------------------------------------------------------------------


def hat_matrix(Z: np.ndarray, ridge: float) -> np.ndarray:
    """S of a ridge probe with an intercept that is not penalised, by its normal equations."""
    X = np.hstack([Z, np.ones((len(Z), 1))])
    penalty = ridge * np.diag([1.0] * Z.shape[1] + [0.0])
    return X @ np.linalg.solve(X.T @ X + penalty, X.T)


@pytest.mark.parametrize("ridge", [0.3, 5.0])
def test_D5_risk_of_a_ridge_probe_along_gamma(ridge: float, record_property: Record) -> None:
    """sum (eta/(h+eta))^2 (u'f)^2 + energy out of the span + sigma^2 (1 + sum (h/(h+eta))^2), h_k = N t_k."""
    A, K, sigma = knn_like(seed=1), 5, 0.7
    values, U = np.linalg.eigh(np.diag(A.sum(axis=1)) - A)
    values, U = values[1:], U[:, 1:]
    f = np.random.default_rng(2).standard_normal(N) + 1.0
    gammas = np.array([0.05, 0.6, 1.5, 8.0]) / values[K - 1]
    path = invariance_path(ss.Spectra(ss.Graph.from_adjacency(A)).of("laplacian", K), K, gammas)
    assert len(set(path.rank.tolist())) > 2
    energy = (U[:, :K].T @ f) ** 2
    outside = ((f - f.mean()) ** 2).sum() - energy.sum()
    found = ridge_risk(path.scale * path.shares, energy, outside, ridge=ridge, noise=sigma**2)
    for i in range(4):
        S = hat_matrix(path.embedding(i).Z, ridge)
        expected = ((S @ f - f) ** 2).sum() + sigma**2 * np.trace(S @ S.T)
        agree(record_property, found[i], expected, ROUNDING)
    # the intercept has a variance of its own: without it the formula is of centred predictions
    H = np.eye(N) - 1 / N
    S = H @ hat_matrix(path.embedding(1).Z, ridge)
    centred = ridge_risk(path.scale * path.shares[1], energy, outside, ridge=ridge, noise=sigma**2, intercept=False)
    agree(record_property, centred, ((S @ f - H @ f) ** 2).sum() + sigma**2 * np.trace(S @ S.T), ROUNDING)
    # and it means what it says: an average over draws of the labels' noise, by scikit-learn
    draws = np.random.default_rng(3).standard_normal((N, 4000)) * sigma + f[:, None]
    Z = path.embedding(1).Z
    errors = ((Ridge(alpha=ridge).fit(Z, draws).predict(Z) - f[:, None]) ** 2).sum(axis=0)
    assert abs(errors.mean() - found[1]) < 4 * errors.std() / np.sqrt(4000)


@pytest.mark.parametrize("linear", [False, True])
def test_D5_what_of_the_risk_can_be_measured(linear: bool, record_property: Record) -> None:
    """Leave-one-out by refitting, tr S, and an estimate from noisy labels whose mean over draws is the risk."""
    A, K, ridge = knn_like(seed=2), 4, 1.5
    rng = np.random.default_rng(4)
    X = rng.standard_normal((N, 7)) if linear else None
    path = invariance_path(ss.Spectra(ss.Graph.from_adjacency(A), X=X).of("laplacian", K), K)
    V, chosen = path.spectrum.vectors[:, :K], [20, 60, 75]
    F = rng.standard_normal((N, 2))
    Y = F + 0.5 * rng.standard_normal((N, 2))
    scales = path.scale * path.shares[chosen]
    found = probe_path(V, scales, Y, ridge=ridge)
    noise = 2 * 0.5**2
    for k, i in enumerate(chosen):
        Z = path.embedding(i).Z
        S = hat_matrix(Z, ridge)
        agree(record_property, found.trace[k], np.trace(S), ROUNDING)
        agree(record_property, found.error[k], ((Y - S @ Y) ** 2).sum(), ROUNDING)
        left = sum(
            ((Ridge(alpha=ridge).fit(np.delete(Z, r, 0), np.delete(Y, r, 0)).predict(Z[[r]]) - Y[r]) ** 2).sum()
            for r in range(N)
        )
        agree(record_property, found.leave_one_out[k], left, ROUNDING)
        agree(record_property, found.gcv[k], N * ((Y - S @ Y) ** 2).sum() / N / (1 - np.trace(S) / N) ** 2, ROUNDING)
        # E |Y - SY|^2 - noise (n - 2 tr S), in closed form
        R = np.eye(N) - S
        mean = ((R @ F) ** 2).sum() + noise * np.trace(R @ R.T) - noise * (N - 2 * np.trace(S))
        u, h = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)[:2]
        energy = ((u.T @ F) ** 2).sum(axis=1)
        outside = ((F - F.mean(axis=0)) ** 2).sum() - energy.sum()
        agree(record_property, ridge_risk(h**2, energy, outside, ridge=ridge, noise=noise), mean, ROUNDING)
        agree(record_property, found.risk(noise)[k], ((Y - S @ Y) ** 2).sum() - noise * (N - 2 * np.trace(S)), ROUNDING)
    # what K directions leave has the noise as its mean where there is nothing outside of them
    inside = V @ rng.standard_normal((K, 2))
    estimates = [probe_path(V, scales, inside + 0.5 * rng.standard_normal((N, 2))).noise for _ in range(400)]
    assert abs(np.mean(estimates) - noise) < 4 * np.std(estimates) / 20


def test_rows_that_are_probed_need_not_be_those_of_the_relation(record_property: Record) -> None:
    """Directions that are not orthonormal on the labelled rows, and a row that is alone in one."""
    rng = np.random.default_rng(0)
    V, Y = rng.standard_normal((9, 3)) + 2.0, rng.standard_normal(9)
    c = np.array([[2.0, 0.5, 0.1], [1.0, 0.2, 0.0], [0.0, 0.0, 0.0]])
    found = probe_path(V, c, Y)
    for k in range(3):
        agree(record_property, found.error[k], probe_error(V * np.sqrt(c[k]), Y[:, None]), ROUNDING)
    V[:, 2] = np.eye(9)[0]
    assert np.isnan(probe_path(V, c[:1], Y).leave_one_out[0])
    with pytest.raises(DataError, match=r"\(T, R\)"):
        probe_path(V, c[:, :2], Y)
    with pytest.raises(DataError, match="ridge"):
        probe_path(V, c, Y, ridge=-1.0)


# --- D6, D6b, D7: few labels ------------------------------------------------------------------------------------------

K_FEW, C_FEW = 10, 3
FAMILY = ("rank C - 1", "half", "gamma -> 0")


@pytest.mark.parametrize("ridge", [0.0, 0.7])
@pytest.mark.parametrize("extra", ["constant", "copies", "wide"])
def test_directions_that_are_none_use_up_no_rows(extra: str, ridge: float) -> None:
    rng = np.random.default_rng(8)
    X, Y = rng.standard_normal((N, 4)), rng.standard_normal((N, 2))
    V = {
        "constant": np.column_stack([X, np.full(N, 1e6 + 0.1)]),
        "copies": np.hstack([X, X]),
        "wide": rng.standard_normal((N, 2 * N)),
    }[extra]
    found = probe_path(V, np.ones(V.shape[1]), Y, ridge=ridge)
    Z = V if extra == "wide" else X * (np.sqrt(2) if extra == "copies" else 1)
    S = hat_matrix(Z, ridge)
    assert found.error[0] == pytest.approx(((Y - S @ Y) ** 2).sum(), abs=1e-8)
    assert found.trace[0] == pytest.approx(np.trace(S), abs=1e-8)
    if extra == "wide":
        assert np.isnan(found.noise)
        assert np.isnan(found.gcv[0]) == (ridge == 0)  # every row is met: none is left to judge by
        return
    R = Y - hat_matrix(X, 0.0) @ Y
    assert found.noise == pytest.approx((R**2).sum() / (N - 1 - 4), rel=1e-8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ridge_risk([-1.0, 2.0], [1.0, 1.0]), "h must be finite numbers >= 0"),
        (lambda: ridge_risk([1.0, 2.0], [np.nan, 1.0]), "energy must be finite numbers >= 0"),
        (lambda: ridge_risk([1.0, 2.0], [1.0, 1.0, 1.0]), "one number per direction"),
        (lambda: ridge_risk([1.0, 2.0], [1.0, 1.0], ridge=-1.5), "ridge must be a number"),
        (lambda: ridge_risk([1.0, 2.0], [1.0, 1.0], noise=-1.0), "noise must be a number"),
        (lambda: ridge_risk("ab", [1.0, 1.0]), "h must be an array"),
        (lambda: probe_path(np.eye(N), np.ones(N), np.array(["a"] * N)), "one-hot for classes"),
        (lambda: probe_path(np.eye(N), np.ones(N), np.eye(N), ridge=None), "ridge must be a number"),  # type: ignore[arg-type]
        (lambda: probe_path(np.zeros((0, 2)), np.ones(2), np.zeros((0, 1))), "nothing to probe"),
    ],
)
def test_risks_of_what_is_no_probe_are_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        call()


def aligned_family() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Embeddings of an aligned relation along gamma, and one-hot labels Y (60, 3).

    Bottom eigenvectors: the class contrasts, then K - C + 1 directions in general position, then all others at once.
    """
    rng = np.random.default_rng(0)
    Y = np.eye(C_FEW)[np.repeat(np.arange(C_FEW), 20)]
    n = len(Y)
    known = np.linalg.qr(np.hstack([np.ones((n, 1)), Y[:, :-1]]))[0]
    others = rng.standard_normal((n, K_FEW - C_FEW + 1))
    U = np.linalg.qr(others - known @ (known.T @ others))[0]
    A = Y @ Y.T / 20 + 0.1 * (U * np.linspace(1.0, 0.9, U.shape[1])) @ U.T
    graph = ss.Graph.from_adjacency(A - min(A.min(), 0.0))  # a constant shifts every eigenvalue off it alike
    spectrum = ss.Spectra(graph).of("laplacian", K_FEW)
    m = spectrum.values
    assert m[C_FEW - 1] - m[C_FEW - 2] > 0.5 > m[K_FEW] - m[K_FEW - 1] > 0.05
    gammas = {"gamma -> 0": 1e-9, "half": 0.5 / m[K_FEW - 1], "rank C - 1": 2 / (m[C_FEW - 2] + m[C_FEW - 1])}
    path = invariance_path(spectrum, K_FEW, list(gammas.values()))
    assert path.rank.tolist() == [K_FEW, K_FEW, C_FEW - 1]
    return {name: path.embedding(i).Z for i, name in enumerate(gammas)}, Y


def few(Z: np.ndarray, T: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Predictions for all rows of a probe of least norm, with intercept, fitted to targets T of `rows`."""
    mean = Z[rows].mean(axis=0)
    B = np.linalg.lstsq(Z[rows] - mean, T - T.mean(axis=0), rcond=1e-9)[0]
    return (Z - mean) @ B + T.mean(axis=0)


def errors_of_few(m: int, sigma: float) -> dict[str, np.ndarray]:
    """Squared error per row against the noiseless labels, draw by draw, of m labels of noise sigma."""
    family, Y = aligned_family()
    rng = np.random.default_rng(m)
    found: dict[str, list[float]] = {name: [] for name in family}
    for _ in range(DRAWS):
        rows = rng.permutation(len(Y))[:m]
        T = Y[rows] + sigma * rng.standard_normal((m, C_FEW))
        for name, Z in family.items():
            found[name].append(float(((few(Z, T, rows) - Y) ** 2).sum() / len(Y)))
    return {name: np.array(values) for name, values in found.items()}


def test_D6_with_few_labels_of_aligned_pairs_rank_c_minus_1_is_best(record_property: Record) -> None:
    """No ridge: rank C - 1 is best at any number of clean labels, and of noisy ones from C + 1 on."""
    for m in (2, 4, 7, K_FEW):
        clean = errors_of_few(m, 0.0)
        means = [clean[name].mean() for name in FAMILY]
        assert means[0] < means[1] < means[2]
    # with a label for each parameter all of them interpolate the truth
    clean = errors_of_few(K_FEW + 1, 0.0)
    agree(record_property, clean["rank C - 1"], clean["gamma -> 0"], ROUNDING, scale=1.0)
    for m in (C_FEW + 1, 6, K_FEW, 14, 40):
        for sigma in (0.3, 1.0):
            noisy = errors_of_few(m, sigma)
            assert np.median(noisy["rank C - 1"]) < 0.95 * min(np.median(noisy[name]) for name in FAMILY[1:])
    # two labels of three classes, drowned in noise: C - 1 directions fit all of it, more directions spread it
    noisy = errors_of_few(2, 1.0)
    small, full = np.median(noisy["rank C - 1"]), np.median(noisy["half"])
    record_property("counterexample", f"m = 2, sigma = 1: median error {small:.2f} at rank 2, {full:.2f} at rank 10")
    assert full < 0.98 * small


def test_D6b_the_harm_of_gamma_zero_peaks_at_one_label_per_parameter(record_property: Record) -> None:
    """Noisy labels: the error at gamma -> 0 over that at rank C - 1 peaks at m = K + 1; of clean ones it falls."""
    counts = (2, 4, 6, 8, K_FEW, K_FEW + 1, K_FEW + 2, 14, 20, 40)
    for sigma in (0.3, 1.0):
        noisy = {m: errors_of_few(m, sigma) for m in counts}
        harm = {m: np.median(noisy[m]["gamma -> 0"]) / np.median(noisy[m]["rank C - 1"]) for m in counts}
        assert max(harm, key=harm.__getitem__) == K_FEW + 1
        assert harm[K_FEW + 1] > 2 * max(harm[K_FEW], harm[2], harm[40])
        assert np.median(noisy[K_FEW + 1]["gamma -> 0"]) > 2 * np.median(noisy[K_FEW]["gamma -> 0"])
    record_property(
        "counterexample",
        f"K = {K_FEW}, sigma = 1: {harm[K_FEW]:.0f} times the error of rank 2 at m = K, {harm[K_FEW + 1]:.0f} times "
        "at m = K + 1",
    )
    clean = [errors_of_few(m, 0.0)["gamma -> 0"].mean() for m in counts[:6]]
    assert np.all(np.diff(clean) < 0)


def test_D7_predictions_do_not_depend_on_gamma_with_a_label_per_parameter(record_property: Record) -> None:
    """m >= rank + 1 labels (m >= rank without intercept): one prediction for every gamma; with one less it depends."""
    A, K = knn_like(seed=3), 5
    values = np.linalg.eigvalsh(np.diag(A.sum(axis=1)) - A)[1:]
    path = invariance_path(
        ss.Spectra(ss.Graph.from_adjacency(A)).of("laplacian", K), K, np.array([0.01, 0.5, 0.95]) / values[K - 1]
    )
    assert path.rank.tolist() == [K] * 3
    Z = [path.embedding(i).Z for i in range(3)]
    rng = np.random.default_rng(5)
    y = rng.standard_normal((N, 1))

    def without_intercept(Z: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return Z @ np.linalg.lstsq(Z[rows], y[rows], rcond=1e-12)[0]

    for m in (K, K + 1, N // 2, N):
        rows = rng.permutation(N)[:m]
        first, *others = (few(one, y[rows], rows) for one in Z)
        scale = float(np.abs(first).max())
        for other in others:
            if m > K:
                agree(record_property, other, first, 1e-7, scale=scale)  # few rows are nearly dependent
        if m == K:
            apart = np.abs(others[-1] - first).max() / scale
            record_property("counterexample", f"{m} labels at rank {K}: predictions differ by up to {apart:.2f}")
            assert apart > 1e-2
        agree(record_property, without_intercept(Z[2], rows), without_intercept(Z[0], rows), 1e-7, scale=scale)


# --- D2, D3: an aligned relation recovers supervised learning ---------------------------------------------------------


@pytest.mark.parametrize("K", [3, 5])
def test_D2_linear_frobenius_simclr_on_the_labels_is_least_squares_up_to_rotation(
    K: int, record_property: Record
) -> None:
    """A = YY', K >= C: linear Frobenius SimCLR has XW = (least-squares prediction of Y) Q."""
    data, Y = labelled((5, 8, 11))
    graph = ss.relations.labels(data, weighting="none")  # A = YY', for every class balance
    assert graph.to_csr().toarray() == pytest.approx(Y @ Y.T)
    predictions = data.X @ np.linalg.lstsq(data.X, Y, rcond=None)[0]  # no intercept: the loss does not centre
    best = ss.optimum(ss.FrobeniusSimCLR(), graph, K, X=data.X)
    assert best.rank == 3
    Z = best.embedding.Z
    agree(record_property, Z @ Z.T, predictions @ predictions.T, ROUNDING, scale=1.0)
    same_span(record_property, Z, predictions, ROUNDING)
    padded = np.hstack([predictions, np.zeros((N, K - 3))])
    Q = scipy.linalg.orthogonal_procrustes(Z, padded)[0]
    assert np.abs(Z @ Q - padded).max() < 1e-7  # XW Q = OLS prediction, entry by entry


@pytest.mark.parametrize("sizes", [(8, 8, 8), (3, 8, 13)])
def test_D3_linear_vicreg_of_c_minus_1_components_then_a_probe_is_full_least_squares(
    sizes: tuple[int, ...], record_property: Record
) -> None:
    """Label pairs weighted 1/N_c: linear VICReg with K = C - 1 and a probe predict as least squares on all of X."""
    data, Y = labelled(sizes)
    graph = ss.relations.labels(data)  # A = Y diag(1/n_c) Y'
    best = ss.optimum(ss.VICReg(), graph, 2, X=data.X)
    assert best.rank == 2
    full = LinearRegression().fit(data.X, Y).predict(data.X)
    probed = LinearRegression().fit(best.embedding.Z, Y).predict(best.embedding.Z)
    agree(record_property, full, probed, ROUNDING, scale=1.0)
    # two of the other directions would not do
    other = ss.optimum(ss.VICReg(invariance=1e-6), graph, 4, X=data.X).embedding.Z[:, 2:]
    assert np.abs(full - LinearRegression().fit(other, Y).predict(other)).max() > 1e-2


def test_D3_needs_classes_weighted_by_size_or_balanced(record_property: Record) -> None:
    """With plain 0/1 label pairs class c enters X'LX with weight N_c: D3 then holds for balanced classes only."""
    for sizes, holds in (((8, 8, 8), True), ((3, 8, 13), False)):
        data, Y = labelled(sizes)
        graph = ss.relations.labels(data, weighting="none")
        Z = ss.optimum(ss.VICReg(), graph, 2, X=data.X).embedding.Z
        full = LinearRegression().fit(data.X, Y).predict(data.X)
        probed = LinearRegression().fit(Z, Y).predict(Z)
        if holds:
            agree(record_property, full, probed, ROUNDING, scale=1.0)
        else:
            difference = np.abs(full - probed).max()
            record_property(
                "counterexample",
                f"classes of {', '.join(map(str, sizes))} samples, 0/1 label pairs: predictions differ by up to "
                f"{difference:.3f}",
            )
            assert difference > 1e-3


# --- D4, D8 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["class_size", "none"])
def test_D4_rank_on_a_label_relation_is_fixed_for_simclr_and_set_by_gamma_for_vicreg(
    weighting: str, record_property: Record
) -> None:
    """Labels, C = 3, K = 10: rank 3 for Frobenius SimCLR, constant included; 10 down to 2 for VICReg, by gamma."""
    data, Y = labelled((5, 8, 11))
    graph = ss.relations.labels(data, weighting=weighting)
    A, K = graph.to_csr().toarray(), 10
    values = np.linalg.eigvalsh(np.diag(A.sum(axis=1)) - A)
    frobenius = ss.optimum(ss.FrobeniusSimCLR(), graph, K)
    assert frobenius.rank == 3
    # the constant is in its span: one of the three says nothing about the classes
    ones = np.ones(N)
    seen = frobenius.embedding.Z @ np.linalg.pinv(frobenius.embedding.Z) @ ones
    agree(record_property, np.linalg.norm(ones - seen), 0.0, 1e-9, scale=1.0)
    gentle = ss.optimum(ss.VICReg(invariance=0.1 / values[-1]), graph, K)
    strong = ss.optimum(ss.VICReg(invariance=10.0 / values[values > 1e-9][0]), graph, K)
    assert (gentle.rank, strong.rank) == (10, 2)
    for best in (frobenius, gentle, strong):
        assert np.linalg.matrix_rank(best.embedding.Z, tol=1e-8) == best.rank
    # the two that are left are the class contrasts
    agree(record_property, probe_error(strong.embedding.Z, Y), 0.0, 1e-18, scale=1.0)
    same_span(record_property, strong.embedding.Z, Y[:, :2] - Y[:, :2].mean(axis=0), ROUNDING)


@pytest.mark.parametrize(
    ("method", "K"),
    [
        (ss.VICReg(invariance=0.5), 2),
        (ss.VICReg(invariance=5.0), 6),
        (ss.VICReg(invariance=0.5, weighting="degree"), 2),
        (ss.FrobeniusSimCLR(), 3),
        (ss.SpectralContrastive(), 3),
        (ss.BarlowTwins(), 2),
        (ss.BarlowTwins(normalized=False), 3),
    ],
    ids=str,
)
def test_D8_on_the_label_relation_every_free_optimum_spans_the_labels(
    method: ss.Method, K: int, record_property: Record
) -> None:
    """On the label relation every optimum over all Z spans the centred labels HY: a probe on it has no error."""
    data, Y = labelled((5, 8, 11))
    best = ss.optimum(method, ss.relations.labels(data), K)
    agree(record_property, probe_error(best.embedding.Z, Y), 0.0, 1e-18, scale=1.0)
    assert best.rank == (3 if method.centred is None else 2)  # with the constant, or without
