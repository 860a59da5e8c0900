"""What a linear probe makes of an optimum, and its rank: statements D1-D4 and D8.

Witnesses: eigenvectors of a dense Laplacian by numpy, least squares by np.linalg.lstsq, scikit-learn's regression.
"""

import numpy as np
import pytest
import scipy.linalg
from measure import Record, agree, same_span
from sklearn.linear_model import LinearRegression

import spectral_ssl as ss

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
