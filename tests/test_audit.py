"""What an audit says of a representation: the filter it is, where its energy lies, how far from each optimum."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.special
from scipy.stats import ortho_group

import spectral_ssl as ss
from spectral_ssl.cli import main
from spectral_ssl.experiments import audit
from spectral_ssl.experiments.audit_words import fit_words
from spectral_ssl.report.audit_figures import audit_figures
from spectral_ssl.theory import sphere
from spectral_ssl.theory.degeneracy import collapse
from spectral_ssl.theory.energies import eigen_energies
from spectral_ssl.theory.filters import FILTERS
from spectral_ssl.theory.fitting import FAMILIES, resemblance
from spectral_ssl.theory.sphere import random_uniformity, uniformity

Array = np.ndarray

CKA_TOL = 1e-6  # of a residual: the square root of the rounding of 1 - CKA^2, some 1e-14
SLOPE_TOL = 1e-6  # of a fitted slope: energies are known to 1e-13, and a slope is their difference over that of values
FLOW_TOL = 1e-3  # of the two parameters of a flow: the minimum is flat, rounding of 1e-15 moves it by its root
EXACT_TOL = 1e-9  # sums of some hundred products
K = 5


@pytest.fixture(scope="module")
def blobs() -> tuple[ss.Dataset, ss.Graph]:
    """Three clouds in six features, and an irregular, connected relation of nearest neighbours."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 30)
    data = ss.Dataset(name="blobs", X=rng.standard_normal((90, 6)) + 1.2 * np.eye(6)[y], y=y)
    graph = ss.relations.knn(data, n_neighbors=6)
    assert not graph.regular
    return data, graph


def disguised(Z: Array, seed: int = 0) -> Array:
    """Z turned, scaled and moved: none of it is for an audit to see."""
    rotation = ortho_group.rvs(Z.shape[1], random_state=seed) if Z.shape[1] > 1 else np.eye(1)
    return 37.0 * Z @ rotation + np.arange(Z.shape[1])


# --- recognised -------------------------------------------------------------------------------------------------------

OPTIMA = {
    "vicreg": ss.VICReg(invariance=0.12),
    "vicreg, beta < alpha": ss.VICReg(covariance=0.4, invariance=0.12),
    "vicreg, hinge": ss.VICReg(form="hinge", variance=25.0, invariance=1.0),
    "vicreg(weighting=degree)": ss.VICReg(weighting="degree", invariance=0.9),
    "laplacian_eigenmaps": ss.VICReg(form="constrained"),
    "frobenius_simclr": ss.FrobeniusSimCLR(),
    "spectral_contrastive": ss.SpectralContrastive(),
    "ssl_ey": ss.SSLEY(),
    "barlow_twins": ss.BarlowTwins(),
    "barlow_twins(normalized=False)": ss.BarlowTwins(normalized=False),
}


@pytest.mark.parametrize("name", OPTIMA)
def test_every_optimum_is_recognised_as_its_filter_whatever_its_rotation_scale_and_mean(
    name: str, blobs: tuple[ss.Dataset, ss.Graph]
) -> None:
    graph = blobs[1]
    best = ss.optimum(OPTIMA[name], graph, K)
    found = resemblance(disguised(best.embedding.Z), graph)
    assert found.best is not None
    assert found.best.key == name.split(",")[0]
    assert found.best.residual <= CKA_TOL
    assert found.verdict == "fits"
    # all others that are told apart are further away by far more than rounding
    assert found.margin is not None
    assert found.margin > 100 * CKA_TOL
    if name in ("vicreg", "vicreg(weighting=degree)"):
        gamma = best.method.hyper["invariance"]
        assert found.best.parameters["invariance"] == pytest.approx(gamma, rel=SLOPE_TOL)
    if name == "barlow_twins":
        A, D = graph.to_csr().toarray(), np.diag(graph.degree)
        rho = scipy.linalg.eigh(A, D, eigvals_only=True)[::-1][1 : K + 1]  # the first is the constant
        nu = ((1 / rho).sum() - K) / (1 / rho**2).sum()
        assert nu < rho[-1]  # every direction is active
        assert found.best.parameters["nu"] == pytest.approx(nu, rel=1e-5)  # 1 - nu / rho differ by little: nu is faint


def test_barlow_twins_is_recognised_though_its_columns_have_been_rescaled(blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    graph = blobs[1]
    Z = ss.optimum(ss.BarlowTwins(), graph, K).embedding.Z
    found = resemblance(Z * np.array([1.0, 30.0, 0.2, 4.0, 7.0]), graph)
    assert found.best is not None
    assert (found.best.key, found.best.basis) == ("barlow_twins", "degree_centred, unit columns")
    assert found.best.residual <= CKA_TOL


def test_a_gradient_flow_is_recognised_with_its_time_and_its_start(blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    graph = blobs[1]
    A = graph.to_csr().toarray()
    g, E = (part[..., ::-1][..., :K] for part in scipy.linalg.eigh(A / A.sum()))
    t, s0 = 1.4 / g[0], 0.05
    s = np.exp(4 * g * t) / np.sqrt(s0**-2 + (np.exp(8 * g * t) - 1) * g)  # Simon et al., by hand
    found = resemblance(disguised(E * s), graph)
    assert found.best is not None
    assert found.best.key == "barlow_flow"
    assert found.best.residual <= CKA_TOL
    assert found.best.parameters["time"] == pytest.approx(t, rel=FLOW_TOL)
    assert found.best.parameters["init_scale"] == pytest.approx(s0, rel=0.02)  # enters by s0^2 g alone, 1 part in 1000


@pytest.mark.parametrize("name", ["vicreg", "frobenius_simclr", "spectral_contrastive", "barlow_twins"])
def test_an_optimum_over_linear_maps_is_recognised_as_one(name: str, blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    data, graph = blobs
    best = ss.optimum(OPTIMA[name], graph, 3, X=data.X)
    found = resemblance(disguised(best.embedding.Z), graph, X=data.X)
    assert found.best is not None
    assert found.best.key == f"{name}, linear"
    assert found.best.residual <= CKA_TOL
    assert resemblance(disguised(best.embedding.Z), graph).fits[0].residual > 0.05


def test_a_trained_network_is_recognised_as_the_loss_that_trained_it(blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    data, graph = blobs
    run = ss.train(ss.VICReg(invariance=0.12), graph, 3, X=data.X, encoder="mlp(width=64)", max_iter=400, seed=0)
    found = resemblance(disguised(run.embedding.Z), graph)
    assert found.best is not None
    assert found.best.key == "vicreg"
    assert found.best.residual < 0.1
    assert found.best.parameters["invariance"] == pytest.approx(0.12, rel=0.25)  # as near as the training came


def test_filters_that_are_the_same_on_a_relation_are_named_together() -> None:
    ring = np.arange(24)
    graph = ss.Graph.from_pairs(ring, (ring + 1) % 24, n_samples=24)
    Z = ss.optimum(ss.FrobeniusSimCLR(), graph, 5).embedding.Z
    found = resemblance(disguised(Z), graph)
    assert found.best is not None
    named = {found.best.key, *found.alike}
    assert {"frobenius_simclr", "spectral_contrastive"} <= named  # one filter on a regular relation
    assert "ssl_ey" not in named  # that spends no column on the constant


def test_nothing_is_recognised_in_noise(blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    found = resemblance(np.random.default_rng(0).standard_normal((90, K)), blobs[1])
    assert found.verdict == "none"
    assert found.best is found.fits[0]
    assert resemblance(np.ones((90, 2)), blobs[1]).best is None
    assert resemblance(np.full((90, 2), 0.1), blobs[1]).best is None  # whose mean is not 0.1 to the last digit


def test_linear_maps_are_over_the_relation_given(blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    data, graph = blobs
    for other in (ss.Spectra(graph), ss.Spectra(graph.scaled(2.0), X=data.X)):
        with pytest.raises(ss.DataError, match="the very relation given"):
            resemblance(data.X, graph, X=other)


# --- the fit ----------------------------------------------------------------------------------------------------------


def dense(graph: ss.Graph, pencil: str) -> tuple[Array, Array, Array]:
    """Values (best first), vectors and B of a pencil over all samples, by scipy; off the constant where centred."""
    A, N = graph.to_csr().toarray(), graph.n_samples
    D = np.diag(A.sum(axis=0))
    if pencil == "laplacian":
        values, V = scipy.linalg.eigh(D - A)
        return values[1:], V[:, 1:], np.eye(N)
    if pencil in ("adjacency", "cross_moment"):
        values, V = scipy.linalg.eigh(A)
        return values[::-1], V[:, ::-1], np.eye(N)
    values, V = scipy.linalg.eigh(A, D)
    first = 1 if pencil == "degree_centred" else 0
    return values[::-1][first:], V[:, ::-1][:, first:], D


def test_the_residual_of_a_filter_is_one_less_the_squared_cka_with_its_embedding(
    blobs: tuple[ss.Dataset, ss.Graph],
) -> None:
    graph = blobs[1]
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((90, K)) + 3 * blobs[0].X[:, :K]
    found = resemblance(Z, graph)
    assert {fit.key for fit in found.fits} == set(FAMILIES)
    for fit in found.fits:
        if "unit columns" in fit.basis:
            continue
        _, V, B = dense(graph, fit.family.pencil)
        b = B.diagonal() / B.trace()
        R = fit.h.size
        embedding = V[:, :R] * np.sqrt(fit.h)
        F, T = (np.sqrt(b)[:, None] * (M - b @ M) for M in (Z, embedding))
        S, U = F @ F.T, T @ T.T
        c = (S * U).sum() / (U * U).sum()
        residual = np.linalg.norm(S - c * U) / np.linalg.norm(S)
        assert fit.residual == pytest.approx(residual, rel=1e-7), fit.key
        assert fit.linear_cka == pytest.approx((S * U).sum() / np.linalg.norm(S) / np.linalg.norm(U), rel=1e-7)
        assert fit.floor <= fit.residual + EXACT_TOL
        # what is drawn as that filter's energies is what it has, in the scale of Z
        energies = ((V[:, :R].T @ (np.sqrt(B.trace()) * np.sqrt(b)[:, None] * T)) ** 2).sum(axis=1)
        assert fit.expected == pytest.approx(energies * fit.expected.sum() / energies.sum(), abs=1e-7 * energies.max())


@pytest.mark.parametrize("name", ["vicreg", "vicreg(weighting=degree)", "barlow_twins", "laplacian_eigenmaps"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_other_parameter_of_a_filter_fits_better(name: str, seed: int, blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    graph = blobs[1]
    family = FAMILIES[name]
    values, V, B = dense(graph, family.pencil)
    rng = np.random.default_rng(seed)
    # energies that fall, with some past the first K and some not in order
    Z = V[:, :8] @ np.diag(rng.uniform(0.1, 1.5, 8) * np.linspace(1.5, 0.2, 8)) @ rng.standard_normal((8, K))
    (fit,) = [fit for fit in resemblance(Z, graph).fits if fit.key == name]
    b = B.diagonal() / B.trace()
    F = np.sqrt(b)[:, None] * (Z - b @ Z)
    if "unit columns" in fit.basis:
        F = F / np.linalg.norm(F, axis=0)
    e = ((V[:, :K].T @ (np.sqrt(B.diagonal())[:, None] * F)) ** 2).sum(axis=1)
    norm2 = ((F.T @ F) ** 2).sum()
    grid = {
        "vicreg": [np.maximum(0, 1 - x * values[:K]) for x in np.logspace(-4, 3, 4000)],
        "vicreg(weighting=degree)": [np.maximum(0, 1 - x * (1 - values[:K])) for x in np.logspace(-4, 3, 4000)],
        "barlow_twins": [np.maximum(0, 1 - x / values[:K]) / values[:K] for x in np.linspace(0, values[0], 4000)[:-1]],
        "laplacian_eigenmaps": [(np.arange(K) < r).astype(float) for r in range(1, K + 1)],
    }[name]
    least = min(1 - (h @ e) ** 2 / (h @ h * norm2) for h in grid if h.any())
    assert fit.residual**2 <= least + EXACT_TOL
    assert fit.residual**2 >= least - 1e-4  # a grid of 4000 comes as near


def test_on_a_regular_relation_the_fitted_filters_are_those_of_the_table() -> None:
    rng = np.random.default_rng(0)
    N, pairs = 40, []
    for _ in range(3):  # three perfect matchings and a ring: five neighbours each, counted
        p = rng.permutation(N)
        pairs += list(zip(p[::2], p[1::2], strict=True))
    pairs += [(i, (i + 1) % N) for i in range(N)]
    i, j = np.array(pairs).T
    graph = ss.Graph.from_pairs(i, j, n_samples=N)
    assert graph.regular
    d = float(graph.degree.mean())
    Z = np.random.default_rng(1).standard_normal((N, 3))
    a, V, _ = dense(graph, "degree_centred")
    Z = disguised(Z + 30 * V[:, :3] @ np.diag([3.0, 2.0, 1.0]))
    fits = {fit.key: fit for fit in resemblance(Z, graph).fits}
    full = np.concatenate([[1.0], a])
    table = {
        "vicreg": FILTERS["vicreg"](a, 3, invariance=d * fits["vicreg"].parameters["invariance"]),
        "vicreg(weighting=degree)": FILTERS["vicreg"](
            a, 3, invariance=fits["vicreg(weighting=degree)"].parameters["invariance"]
        ),
        "frobenius_simclr": FILTERS["frobenius"](full, 3),
        "spectral_contrastive": FILTERS["spectral"](full, 3),
        "barlow_twins(normalized=False)": FILTERS["barlow_minimum"](full, 3),
        "barlow_flow": FILTERS["barlow_flow"](
            full,
            3,
            time=fits["barlow_flow"].parameters["time"] / N,
            init_scale=fits["barlow_flow"].parameters["init_scale"] / math.sqrt(N),
        ),
    }
    for name, h in table.items():
        found = fits[name].h[: h.size]
        assert found == pytest.approx(h[: found.size] * found[0] / h[0], rel=1e-7, abs=1e-9 * found[0]), name


# --- energies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pencil", ["laplacian", "adjacency", "degree_centred"])
def test_energies_coupling_and_what_is_outside_add_up_to_the_whole(
    pencil: str, blobs: tuple[ss.Dataset, ss.Graph]
) -> None:
    graph = blobs[1]
    Z = np.random.default_rng(0).standard_normal((90, 4)) + 5
    found = eigen_energies(Z, graph, ss.Spectra(graph).of(pencil, 20), n_pairs=15)
    _, V, B = dense(graph, pencil)
    b = B.diagonal() / B.trace()
    F = np.sqrt(b)[:, None] * (Z - b @ Z)
    M = (np.sqrt(B.diagonal())[:, None] * V[:, :15]).T @ F
    M = M @ M.T
    assert found.energies == pytest.approx(M.diagonal(), rel=1e-8)
    assert found.total == pytest.approx((F**2).sum())
    assert found.outside == pytest.approx(1 - M.trace() / (F**2).sum())
    assert found.outside_top(6) == pytest.approx(1 - M.diagonal()[:6].sum() / (F**2).sum())
    size = ((F @ F.T) ** 2).sum()
    assert found.diagonal == pytest.approx((M.diagonal() ** 2).sum() / size)
    assert found.coupled == pytest.approx(((M**2).sum() - (M.diagonal() ** 2).sum()) / size)


def test_in_an_eigenspace_of_many_copies_energies_are_those_of_the_nearest_basis() -> None:
    """Views of 30 originals: the first eigenspace has 29 dimensions, and an optimum may be any three of them."""
    source = np.repeat(np.arange(30), 2)
    rng = np.random.default_rng(0)
    data = ss.Dataset(name="views", X=rng.standard_normal((60, 3)), source=source)
    graph = ss.relations.views(data)
    shared = rng.standard_normal((30, 3))[source]
    Z = disguised(shared + 0.1 * rng.standard_normal((60, 3)))
    means = np.array([Z[source == s].mean(axis=0) for s in range(30)])
    inside = np.linalg.svd((means - means.mean(axis=0)) * np.sqrt(2 / 60), compute_uv=False) ** 2
    for n_pairs in (10, 40):  # the eigenspace cut, and whole
        found = eigen_energies(Z, graph, ss.Spectra(graph).of("laplacian", n_pairs), n_pairs=n_pairs)
        assert found.energies[:3] == pytest.approx(inside, rel=1e-9)
        assert found.energies[3:10] == pytest.approx(0, abs=1e-12 * inside[0])
        assert found.cut == 0 or n_pairs == 40
    # any three independent functions of the originals, whitened, are eigenmaps and more: not told apart here
    U = np.linalg.qr(shared - shared.mean(axis=0))[0]
    best = resemblance(disguised(U), graph).best
    assert best is not None
    assert best.residual <= CKA_TOL


def test_energies_of_maps_that_are_not_orthonormal_are_refused(blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    data, graph = blobs
    with pytest.raises(ss.DataError, match="cross_moment pencil over linear maps"):
        eigen_energies(np.ones((90, 2)), graph, ss.Spectra(graph, X=data.X).of("cross_moment", 2))
    with pytest.raises(ss.DataError, match="90 rows"):
        eigen_energies(np.ones((20, 2)), graph, ss.Spectra(graph).of("laplacian", 2))
    with pytest.raises(ss.DataError, match="n_components"):
        resemblance(np.ones((90, 2)), graph, n_components=90)


# --- collapse, alignment, uniformity ----------------------------------------------------------------------------------


def test_constant_and_copied_columns_are_counted_and_leave_no_rank() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50))
    Z = np.stack([a, np.full(50, 7.0), -3 * a + 2, b, np.full(50, 0.1) + 1e-17], axis=1)
    found = collapse(Z)
    assert found.constant_columns == (1, 4)
    assert found.copied_columns == (2,)
    assert found.rank == 2
    s = np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False)[:2]
    p = s / s.sum()
    assert found.effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert found.singular_values[:2] == pytest.approx(s / np.sqrt(50))
    C = np.abs(np.corrcoef(Z[:, [0, 2, 3]].T))[np.triu_indices(3, 1)]
    assert (found.largest_correlation, found.mean_correlation) == pytest.approx((C.max(), C.mean()))
    assert found.mean_share == pytest.approx(50 * (Z.mean(axis=0) ** 2).sum() / (Z**2).sum())
    assert found.distinct_rows == 50
    assert collapse(np.ones((6, 2))).rank == 0
    rounded = np.tile([0.1, 0.3, 0.7], (11, 1))
    assert (rounded / 0.7 != (rounded / 0.7).mean(axis=0)).any()  # by a rounding of the mean, which is no direction
    assert collapse(rounded).rank == 0
    assert collapse(np.ones((6, 2))).distinct_rows == 1


def test_alignment_and_uniformity_are_their_definitions(
    blobs: tuple[ss.Dataset, ss.Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = blobs[1]
    Z = np.random.default_rng(0).standard_normal((90, 3)) + 1
    Z[7] = 0  # no direction
    found = uniformity(Z, graph)
    A = graph.to_csr().toarray()
    rows = [i for i in range(90) if i != 7]
    u = {i: Z[i] / np.linalg.norm(Z[i]) for i in rows}
    weight = near = total = 0.0
    for i in rows:
        for j in rows:
            if i != j:
                gap = float(((u[i] - u[j]) ** 2).sum())
                weight, near, total = weight + A[i, j], near + A[i, j] * gap, total + math.exp(-2 * gap)
    assert found.alignment == pytest.approx(near / weight)
    assert found.uniformity == pytest.approx(math.log(total / (89 * 88)))
    assert (found.n_rows, found.zero_rows, found.kind) == (89, 1, "exact")
    # self pairs are no pairs
    looped = ss.Graph.from_adjacency(A + 3 * np.eye(90))
    assert uniformity(Z, looped).alignment == pytest.approx(near / weight)
    monkeypatch.setattr(sphere, "BLOCK", 900)  # ten rows at once
    assert uniformity(Z, graph).uniformity == pytest.approx(found.uniformity, rel=EXACT_TOL)
    sampled = uniformity(Z, graph, exact_max=10, n_sampled=20_000)
    assert sampled.kind == "sampled"
    assert 0 < abs(sampled.uniformity - found.uniformity) < 5 * sampled.uniformity_error < 0.2


@pytest.mark.parametrize("dimension", [1, 2, 3, 8, 400])
def test_the_uniformity_of_the_sphere_is_its_integral(dimension: int) -> None:
    if dimension == 1:
        mean = (1 + math.exp(-8)) / 2  # two points
    else:
        n = dimension - 2  # the density of the angle to a fixed point is sin^n

        def weighed(angle: float) -> float:
            return math.exp(4 * (math.cos(angle) - 1)) * math.sin(angle) ** n

        top = scipy.integrate.quad(weighed, 0, math.pi)
        size = scipy.integrate.quad(lambda angle: math.sin(angle) ** n, 0, math.pi)
        mean = top[0] / size[0]
    assert random_uniformity(dimension) == pytest.approx(math.log(mean), rel=1e-7)


@pytest.mark.parametrize("t", [50.0, 400.0, 1e4])
def test_random_uniformity_at_any_t(t: float) -> None:
    """On the sphere in three dimensions u'v is uniform in [-1, 1]: the mean is (1 - e^(-4t)) / 4t."""
    assert random_uniformity(3, t) == pytest.approx(math.log(-math.expm1(-4 * t) / (4 * t)), rel=1e-10)


def test_uniformity_refuses_what_no_pairs_can_tell(blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    data, graph = blobs
    for call, words in (
        (lambda: random_uniformity(0), "n_components must be"),
        (lambda: random_uniformity(8, -1.0), "t must be a number at least 0"),
        (lambda: uniformity(data.X, graph, exact_max=1, n_sampled=0), "n_sampled must be"),
        (lambda: uniformity(data.X, graph, exact_max=1, seed=-1), "seed must be"),
    ):
        with pytest.raises(ss.DataError, match=words):
            call()


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, blobs: tuple[ss.Dataset, ss.Graph]) -> Path:
    data, graph = blobs
    np.save(tmp_path / "X.npy", data.X)
    np.save(tmp_path / "y.npy", data.y)
    Z = disguised(ss.optimum(ss.VICReg(invariance=0.12), graph, K).embedding.Z)
    np.save(tmp_path / "Z.npy", Z)
    np.savetxt(tmp_path / "Z.csv", Z, delimiter=",", fmt="%.17g")
    return tmp_path


def test_audit_says_what_a_representation_is(files: Path, blobs: tuple[ss.Dataset, ss.Graph]) -> None:
    options = {"data": str(files / "X.npy"), "labels": files / "y.npy", "relation": "knn(n_neighbors=6)"}
    record = audit(files / "Z.csv", methods="vicreg(invariance=0.12), frobenius_simclr", out=files / "a", **options)
    filters = record["filters"]
    assert (filters["verdict"], filters["best"]) == ("fits", "vicreg")
    text = " ".join(record["findings"])
    assert "Z is, up to rotation and scale, the filter of VICReg at gamma / alpha = 0.12" in text
    assert {Path(path).name for path in record["figures"]} == {"filters.png", "spectrum.png"}
    first, second = record["rows"]
    assert first["max_angle"] < 1e-6
    assert first["energy_in_range"] == pytest.approx(1)
    assert first["linear_cka"] == pytest.approx(1)
    # against the other optimum, by scipy: the loss sees the mean, and so do its angles
    Z = np.load(files / "Z.npy")
    _, V, _ = dense(blobs[1], "adjacency")
    assert second["max_angle"] == pytest.approx(scipy.linalg.subspace_angles(Z, V[:, :K]).max(), abs=1e-8)
    share = ((V[:, :K].T @ Z) ** 2).sum() / (Z**2).sum()
    assert second["energy_in_range"] == pytest.approx(share)
    # what is read off it about labels: least squares refitted without each row, by numpy
    Y = np.eye(3)[blobs[0].y]
    ones = np.hstack([np.ones((90, 1)), Z])
    hits = []
    for i in range(90):
        rest = np.arange(90) != i
        W = np.linalg.lstsq(ones[rest], Y[rest], rcond=None)[0]
        hits.append((ones[i] @ W).argmax() == blobs[0].y[i])
    probe = record["labels"]["probes"]["least_squares"]
    assert probe["score"] == pytest.approx(np.mean(hits))
    assert f"least squares {np.mean(hits):.3f}" in text
    fitted = ones @ np.linalg.lstsq(ones, Y, rcond=None)[0]
    captured = 1 - ((Y - fitted) ** 2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum()
    assert record["labels"]["label_energy"] == pytest.approx(captured)
    assert record["labels"]["label_energy_top"] == pytest.approx(captured, rel=1e-6)  # one span
    assert filters["chance_outside_top"] == pytest.approx(1 - K / 89)
    assert filters["energies"]["laplacian"]["outside_top"] < 1e-9


def test_the_share_of_a_random_representation_outside_the_first_eigenvectors_is_as_said(
    blobs: tuple[ss.Dataset, ss.Graph],
) -> None:
    spectrum = ss.Spectra(blobs[1]).of("laplacian", 20)
    rng = np.random.default_rng(0)
    shares = [eigen_energies(rng.standard_normal((90, 4)), blobs[1], spectrum).outside_top(4) for _ in range(200)]
    assert np.mean(shares) == pytest.approx(1 - 4 / 89, abs=5 * np.std(shares) / math.sqrt(200))


@pytest.mark.parametrize("kind", ["constant", "line", "one column", "noise"])
def test_audit_of_any_representation_ends_with_findings_and_figures(kind: str, files: Path) -> None:
    rng = np.random.default_rng(0)
    Z = {
        "constant": np.ones((90, 3)),
        "line": rng.standard_normal((90, 1)) @ np.ones((1, 3)),
        "one column": rng.standard_normal((90, 1)),
        "noise": rng.standard_normal((90, 3)),
    }[kind]
    np.save(files / "other.npy", Z)
    record = audit(files / "other.npy", data=str(files / "X.npy"), methods="vicreg, barlow_twins", out=files / "b")
    assert json.loads((files / "b" / "run.json").read_text())["status"] == "done"
    said = " ".join(record["findings"])
    assert {
        "constant": "Z is the same for every sample",
        "line": "Its rank is 1 of 3",
        "one column": "Its rank is 1 of 1",
        "noise": "No filter fits",
    }[kind] in said
    assert len(record["figures"]) == (0 if kind == "constant" else 2)
    assert record["labels"] is None


def test_one_component_is_told_in_the_singular() -> None:
    fit = {"label": "Laplacian Eigenmaps", "model": "free", "basis": "laplacian", "parameters": {"n_components": 1.0}}
    assert fit_words(fit) == "Laplacian Eigenmaps at 1 component"
    assert fit_words({**fit, "parameters": {"n_components": 11.0}}) == "Laplacian Eigenmaps at 11 components"


def test_a_constant_representation_has_no_span_to_be_near_an_optimum(files: Path) -> None:
    np.save(files / "other.npy", np.ones((90, 3)))
    record = audit(files / "other.npy", methods="spectral_contrastive", figures=False, out=files / "c")
    assert not [line for line in record["findings"] if "nearest: largest angle" in line]


def test_directions_are_whole_numbers(files: Path) -> None:
    np.save(files / "other.npy", np.load(files / "Z.npy")[:, :3])
    audit(files / "other.npy", data=str(files / "X.npy"), methods="vicreg", figures=False, out=files / "d")
    record = json.loads((files / "d" / "run.json").read_text())["result"]
    left = dict(audit_figures(record))["spectrum"].axes[0]
    shown = [tick for tick in left.get_xticks() if left.get_xlim()[0] <= tick <= left.get_xlim()[1]]
    assert shown == [round(tick) for tick in shown]


def test_the_command_takes_npy_and_csv_and_refuses_what_is_broken(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    asked = ["--data", "X.npy", "--relation", "knn(n_neighbors=6)", "--methods", "vicreg(invariance=0.12)"]
    asked += ["--no-figures", "--quiet"]
    found = []
    for name in ("Z.npy", "Z.csv"):
        assert main(["audit", name, *asked, "--out", name[-3:], "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["filters"]["fits"][0] == found[1]["filters"]["fits"][0]
    assert main(["audit", "Z.npy", *asked, "--out", "text"]) == 0
    text = capsys.readouterr().out
    assert "filters fitted to the energies of Z" in text
    assert "γ/α 0.12" in text
    Z = np.load("Z.npy")
    Z[3, 1] = np.nan
    np.save("broken.npy", Z)
    np.save("short.npy", Z[:50])
    Path("words.csv").write_text("a,b\n1,two\n")
    for name, words in (("broken.npy", "NaN"), ("short.npy", "rows"), ("words.csv", "two"), ("none.npy", "none.npy")):
        assert main(["audit", name, *asked, "--out", f"out-{name}"]) == 2
        assert words in capsys.readouterr().err, name
        assert not Path(f"out-{name}").exists()
