"""Ill-conditioned, constant and badly scaled data: "exact" stays exact, or is refused."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import scipy.linalg
from measure import Record, agree, same_span

import spectral_ssl as ss
from spectral_ssl.spectrum import Spectra

LOSS_TOL = 1e-8  # of the minimum: a basis by singular values loses eps * cond(X), here at most 1e-16 * 1e7
N, K = 200, 4


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, 6))


@pytest.fixture(scope="module")
def graph(base: np.ndarray) -> ss.Graph:
    return ss.relations.knn(base, n_neighbors=8)


def laplacian(graph: ss.Graph) -> np.ndarray:
    A = graph.to_csr().toarray()
    return np.diag(A.sum(axis=1)) - A


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-6, 3e-7])
def test_nearly_equal_columns_leave_the_optimum_exact(base: np.ndarray, graph: ss.Graph, distance: float) -> None:
    # products X'X square the condition of X, and lost this minimum at 1e-6
    twin = base[:, :1] + distance * np.random.default_rng(1).standard_normal((N, 1))
    X = np.hstack([base, twin])
    U = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[0]
    mu = np.linalg.eigvalsh(U.T @ laplacian(graph) @ U)
    t = np.maximum(0, 1 - 0.05 * mu)
    method = ss.VICReg(invariance=0.05)
    best = ss.optimum(method, graph, 7, X=X)
    assert best.loss == pytest.approx(7 - (t**2).sum(), rel=LOSS_TOL)
    assert float(method.loss(best.embedding.Z, graph)) == pytest.approx(best.loss, rel=LOSS_TOL)
    assert ss.train(method, graph, 7, X=X).loss == pytest.approx(best.loss, rel=LOSS_TOL)


@pytest.mark.parametrize("offset", [1e3, 1e5, 1e6])
@pytest.mark.parametrize(
    "method",
    [ss.FrobeniusSimCLR(), ss.SpectralContrastive(), ss.VICReg(), ss.BarlowTwins()],
    ids=lambda m: type(m).__name__,
)
def test_a_mean_that_dwarfs_the_spread_leaves_the_optimum_exact(
    base: np.ndarray, graph: ss.Graph, method: ss.Method, offset: float
) -> None:
    X = base + offset
    best = ss.optimum(method, graph, K, X=X)
    run = ss.train(method, graph, K, X=X)
    assert run.loss == pytest.approx(best.loss, rel=LOSS_TOL)
    assert ss.compare(run, best)["max_angle"] < 1e-5
    # the span of X + offset is that of (1, X) restricted to weights summing to the mean: an orthonormal basis by QR
    Q = np.linalg.qr(X)[0]
    if isinstance(method, ss.FrobeniusSimCLR):
        g = np.linalg.eigvalsh(Q.T @ graph.to_csr().toarray() @ Q)[::-1][:K]
        assert best.loss == pytest.approx(
            (graph.to_csr().data ** 2).sum() - (np.maximum(g, 0) ** 2).sum(), rel=LOSS_TOL
        )


def test_moments_alone_refuse_what_they_cannot_solve(base: np.ndarray, graph: ss.Graph) -> None:
    twin = base[:, :1] + 3e-7 * np.random.default_rng(1).standard_normal((N, 1))
    moments = ss.Moments.from_arrays(np.hstack([base, twin]), graph)
    with pytest.raises(ss.NumericalError, match="collinear"):
        Spectra(moments=moments).of("laplacian", 7)


def test_unnormalised_barlow_twins_counts_signs_not_sizes(base: np.ndarray, graph: ss.Graph) -> None:
    method = ss.BarlowTwins(normalized=False)
    X = base * 10.0 ** np.arange(-2, 4)
    best = ss.optimum(method, graph, 3, X=X)
    assert best.loss == 0.0
    assert best.rank == 3
    assert float(method.loss(best.embedding.Z, graph)) < 1e-12
    with pytest.raises(ss.NumericalError, match="standardise"):
        ss.optimum(method, graph, 3, X=base * 10.0 ** np.arange(-6, 6, 2))


def test_constant_features_have_nothing_to_train_and_say_so(graph: ss.Graph) -> None:
    with pytest.raises(ss.DataError, match="constant"):
        ss.train(ss.VICReg(), graph, 2, X=np.ones((N, 3)))


@pytest.mark.parametrize("factor", [1e-8, 1e-4, 1e6])
@pytest.mark.parametrize("model", ["free", "linear"])
def test_the_unit_of_the_weights_does_not_change_where_training_lands(
    base: np.ndarray, graph: ss.Graph, factor: float, model: str
) -> None:
    X = base if model == "linear" else None
    method, scaled = ss.FrobeniusSimCLR(), graph.scaled(factor)
    best = ss.optimum(method, scaled, 3, X=X)
    run = ss.train(method, scaled, 3, X=X)
    assert run.loss == pytest.approx(best.loss, rel=LOSS_TOL)
    assert ss.compare(run, best)["max_angle"] < 1e-5


def test_without_invariance_no_subspace_is_claimed(base: np.ndarray, graph: ss.Graph) -> None:
    best = ss.optimum(ss.VICReg(invariance=0.0), graph, 3, X=base)
    assert best.unique_up_to == "none"
    assert "invariance 0" in best.note
    assert best.loss == pytest.approx(0.0, abs=1e-12)
    assert ss.optimum(ss.VICReg(invariance=0.0), graph, 6, X=base).unique_up_to == "rotation"  # all there is


def test_a_graph_whose_loss_was_evaluated_can_be_freed(base: np.ndarray) -> None:
    graph = ss.relations.knn(base, n_neighbors=3)
    ss.FrobeniusSimCLR().loss(base[:, :2], graph)
    gone = weakref.ref(graph)
    del graph
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("wrong", ["vicreg", None, ss.VICReg])
def test_what_is_no_method_is_refused_by_name(graph: ss.Graph, wrong: object) -> None:
    for verb in (ss.optimum, ss.train):
        with pytest.raises(ss.DataError, match=r"ss\.VICReg\(\)"):
            verb(wrong, graph, 2)


@pytest.mark.parametrize("wrong", [[["a", "b"]] * N, np.ones((N, 2)) * 1j, np.ones(N), "text"])
def test_what_is_no_matrix_is_refused_in_words(graph: ss.Graph, wrong: object) -> None:
    with pytest.raises(ss.DataError):
        ss.optimum(ss.VICReg(), graph, 1, X=wrong)


def test_a_dataset_serves_as_X(base: np.ndarray, graph: ss.Graph) -> None:
    data = ss.Dataset(name="base", X=base)
    assert ss.optimum(ss.VICReg(), graph, 2, X=data).loss == ss.optimum(ss.VICReg(), graph, 2, X=base).loss


def test_V4_a_larger_covariance_weight_keeps_the_minimum_and_forbids_rotations(
    base: np.ndarray, graph: ss.Graph, record_property: Record
) -> None:
    """beta > alpha: the minimum and the span of beta = alpha, and Q a signed permutation instead of any rotation."""
    method = ss.VICReg(covariance=3.0, invariance=0.05)
    best = ss.optimum(method, graph, K, X=base)
    U = np.linalg.svd(base - base.mean(axis=0), full_matrices=False)[0]
    lam, P = np.linalg.eigh(U.T @ laplacian(graph) @ U)
    t = np.maximum(0, 1 - 0.05 * lam[:K])
    agree(record_property, best.loss, K - (t**2).sum(), LOSS_TOL)
    same_span(record_property, best.embedding.Z, U @ P[:, :K][:, t > 0], LOSS_TOL)
    assert best.unique_up_to == "signed_permutation"
    agree(record_property, float(method.loss(best.embedding.Z, graph)), best.loss, LOSS_TOL)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((K, K)))[0]
    assert float(method.loss(best.embedding.Z @ turn, graph)) > best.loss + 1e-4  # equal at covariance = variance
    trained = min(ss.train(method, graph, K, X=base, seed=s).loss for s in range(2))
    agree(record_property, trained, best.loss, LOSS_TOL)


# --- a ridge beside features of every size ----------------------------------------------------------------------------

GRADED = np.array([1e-6, 1e-2, 1e2, 1e6])
INVERSE_TOL = 1e-9  # of values a pencil needs, through B v = theta E v with E of condition 4


def inverse_pencil(A: np.ndarray, B: np.ndarray, c: float, sign: float) -> np.ndarray:
    """The values of (A, B), best first, through the inverse of cB + sign A in units of its diagonal."""
    E = c * B + sign * A
    unit = 1 / np.sqrt(np.diag(E))
    theta = scipy.linalg.eigh(unit[:, None] * B * unit, unit[:, None] * E * unit, eigvals_only=True)[::-1]
    return sign * (1 / theta - c)


@pytest.mark.parametrize("ridge", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("pencil", ["laplacian", "adjacency", "degree", "degree_centred"])
def test_a_ridge_on_features_in_unlike_units_keeps_the_values_that_count(pencil: str, ridge: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 4))
    graph = ss.relations.knn(ss.Dataset(name="cloud", X=X), n_neighbors=4)
    dense = graph.to_csr().toarray()
    deg = dense.sum(axis=1)
    mean = {"laplacian": X.mean(axis=0), "degree_centred": deg @ X / deg.sum()}.get(pencil, np.zeros(4))
    Xc = X - mean
    # the same problem in coordinates of equal units, the penalty graded instead: r |W|^2 = r w'diag(1/u^2)w
    P = np.diag(ridge / GRADED**2)
    if pencil == "laplacian":
        expected = inverse_pencil(X.T @ (np.diag(deg) - dense) @ X + P, Xc.T @ Xc, 4 * deg.max(), 1.0)
    else:
        weight = deg if pencil.startswith("degree") else np.ones(40)
        c = 2.0 if pencil.startswith("degree") else 2 * deg.max()
        expected = inverse_pencil(Xc.T @ dense @ Xc - P, Xc.T @ (weight[:, None] * Xc), c, -1.0)
    found = ss.Spectra(graph, X=X * GRADED, ridge=ridge).of(pencil, 3)
    moments = ss.Spectra(moments=ss.Moments.from_arrays(X * GRADED, graph), ridge=ridge).of(pencil, 3)
    count = int(np.count_nonzero(np.abs(expected) < 1e3 * np.abs(expected).min()))  # the rest are penalties
    assert count >= 2
    for spectrum in (found, moments):
        assert np.abs(spectrum.values[:count] / expected[:count] - 1).max() < INVERSE_TOL
    assert found.gap(2) > 1e-3  # not dwarfed by the penalty of the smallest unit


@pytest.mark.parametrize("kernel", ["rbf", "rbf(bandwidth=3)", "polynomial(degree=2)", "random_features"])
@pytest.mark.parametrize(
    "method",
    [ss.VICReg(invariance=0.02), ss.FrobeniusSimCLR(), ss.SSLEY(), ss.BarlowTwins()],
    ids=lambda m: type(m).__name__,
)
def test_smooth_kernels_with_a_ridge_train_to_their_closed_form(method: ss.Method, kernel: str) -> None:
    data = ss.load_dataset("iris")
    X = ((data.X - data.X.mean(axis=0)) / data.X.std(axis=0))[::3]
    graph = ss.relations.knn(ss.Dataset(name="iris", X=X), n_neighbors=5)
    best = ss.optimum(method, graph, 2, X=X, kernel=kernel, ridge=0.3)
    run = ss.train(method, graph, 2, X=X, kernel=kernel, ridge=0.3)
    collapse = method.collapse_loss(graph, 2)
    assert abs(run.loss - best.loss) < 1e-9 * abs(collapse - best.loss)
    assert best.rank == 2
    assert best.gap > 1e-3
    assert "not unique" not in best.note
    assert ss.compare(run.embedding, best.embedding)["max_angle"] < 1e-5
    for embedding in (best.embedding, run.embedding):
        assert np.abs(embedding.transform(X) - embedding.Z).max() < 1e-11 * np.abs(embedding.Z).max()


@pytest.mark.parametrize(
    "method",
    [ss.BarlowTwins(), ss.SpectralContrastive(), ss.VICReg(invariance=0.5, weighting="degree")],
    ids=lambda m: type(m).__name__,
)
def test_a_ridge_places_a_sample_without_pairs_where_its_map_does(method: ss.Method) -> None:
    rng = np.random.default_rng(1)
    X, i = rng.standard_normal((12, 20)), np.arange(10)
    graph = ss.Graph.from_pairs(i, (i + 1) % 11, 12, weight=rng.random(10) + 0.5)
    for embedding in (
        ss.optimum(method, graph, 2, X=X, ridge=1.0).embedding,
        ss.train(method, graph, 2, X=X, ridge=1.0).embedding,
    ):
        assert np.abs(embedding.transform(X) - embedding.Z).max() < 1e-12 * np.abs(embedding.Z).max()


def test_solving_leaves_the_callers_arrays_writeable() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3))
    graph = ss.relations.knn(ss.Dataset(name="cloud", X=X), n_neighbors=3)
    moments = ss.Moments.from_arrays(X, graph)
    ss.Spectra(moments=moments).of("laplacian", 2)
    assert moments.mean.flags.writeable


def test_what_is_no_relation_or_of_other_rows_is_refused_before_anything_is_solved() -> None:
    graph = ss.Graph.from_pairs([0, 1], [1, 2], 3)
    with pytest.raises(ss.DataError, match="must be a Graph"):
        ss.Spectra("a")  # type: ignore[arg-type]
    with pytest.raises(ss.DataError, match="4 rows"):
        ss.Spectra(graph, X=np.eye(4), kernel="rbf")
