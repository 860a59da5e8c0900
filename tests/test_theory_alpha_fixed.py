"""Optima with alpha fixed, by constraint, and deep linear encoders trained to them: A15 to A19."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from measure import agree, same_span

import spectral_ssl as ss
from spectral_ssl.alpha_cl import (
    CONSTRAINTS,
    Contrast,
    SignedGraph,
    balanced_layers,
    deep_ascent,
    fixed_optimum,
    layer_gradients,
    random_layers,
    schatten_sum,
)
from spectral_ssl.errors import DataError, SpectralWarning

Array = np.ndarray
ROUNDING = 1e-12
REACHED = 1e-10  # ascents stop at a relative gradient of 1e-10 or less; the error of E is its square over the gap
NORMS = pytest.mark.parametrize("norm", ["frobenius", "per_filter"])


def symmetric(mu: list[float], seed: int = 0) -> tuple[Array, Array]:
    """C (D, D) with eigenvalues mu, and its eigenvectors in their order."""
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(mu), len(mu))))[0]
    return (Q * np.array(mu)) @ Q.T, Q


def product(layers: tuple[Array, ...]) -> Array:
    W = np.eye(layers[0].shape[1])
    for layer in layers:
        W = layer @ W
    return W


def energy(layers: tuple[Array, ...], C: Array) -> float:
    W = product(layers)
    return float(np.trace(W @ C @ W.T)) / 2


def check_layers(layers: tuple[Array, ...], norm: str) -> None:
    for W in layers:
        if norm == "per_filter":
            np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1 / np.sqrt(W.shape[0]), rtol=1e-12)
        assert np.linalg.norm(W) == pytest.approx(1.0, abs=1e-12)


def maxima_by_scipy(C: Array, widths: list[int], starts: int, seed: int) -> tuple[Array, list[tuple[Array, ...]]]:
    """2E and layers of local maxima of E over layers of norm 1, found by L-BFGS with gradients of the product rule."""
    shapes = [(n, before) for before, n in itertools.pairwise(widths)]
    ends = np.cumsum([n * m for n, m in shapes])

    def raw(x: Array) -> list[Array]:
        return [x[end - n * m : end].reshape(n, m) for end, (n, m) in zip(ends, shapes, strict=True)]

    def both(x: Array) -> tuple[float, Array]:
        norms = [np.linalg.norm(W) for W in raw(x)]
        layers = tuple(W / norm for W, norm in zip(raw(x), norms, strict=True))
        W = product(layers)
        slopes = []
        for at, layer in enumerate(layers):
            below = product((np.eye(widths[0]), *layers[:at]))
            above = product((np.eye(layer.shape[0]), *layers[at + 1 :]))
            G = above.T @ (2 * W @ C) @ below.T
            slopes.append(((G - np.sum(G * layer) * layer) / norms[at]).ravel())
        return -float(np.trace(W @ C @ W.T)), -np.concatenate(slopes)

    rng = np.random.default_rng(seed)
    values, layers = [], []
    options = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-8}
    for _ in range(starts):
        done = scipy.optimize.minimize(
            both, rng.standard_normal(ends[-1]), jac=True, method="L-BFGS-B", options=options
        )
        values.append(-done.fun)
        layers.append(tuple(W / np.linalg.norm(W) for W in raw(done.x)))
    return np.array(values), layers


# --- A15: deep linear encoders ----------------------------------------------------------------------------------------

SPECTRA = {"psd": [3.0, 2.0, 1.0, 0.1], "indefinite": [2.0, 0.8, -0.5, -1.0]}


@NORMS
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_A15_a_deep_linear_encoder_finds_the_first_principal_component(name, depth, norm, record_property) -> None:
    """Every ascent from random starts ends at 2E = lambda_max with layers of rank 1, and so does the closed form."""
    C, Q = symmetric(SPECTRA[name])
    widths = [4, *[3, 5, 4][: depth - 1], 3]
    found = fixed_optimum(C, 3, constraint=norm, depth=depth, widths=widths[1:-1])
    check_layers(found.layers, norm)
    agree(record_property, 2 * energy(found.layers, C), SPECTRA[name][0], ROUNDING)
    agree(record_property, 2 * found.energy, SPECTRA[name][0], ROUNDING)
    assert found.rank == found.multiplicity == 1
    assert found.unique_up_to == ("rotation" if norm == "frobenius" else "signed_permutation")
    if norm == "per_filter":
        for W in found.layers[:-1]:
            np.testing.assert_allclose(np.abs(np.linalg.svd(W)[0][:, 0]), 1 / np.sqrt(W.shape[0]), rtol=1e-12)
    for seed in range(3):
        run = deep_ascent(C, random_layers(widths, seed, norm=norm), norm=norm)
        check_layers(run.layers, norm)
        assert run.converged, run.message
        assert np.diff(run.energies).min() > -1e-14  # never downhill
        agree(record_property, 2 * energy(run.layers, C), SPECTRA[name][0], REACHED)
        same_span(record_property, product(run.layers).T[:, :1], Q[:, :1], 1e-6)
        assert run.ranks == (1,) * depth
        assert run.stable_ranks[-1].max() < 1 + 1e-6
        assert run.stable_ranks[0].max() > 1.05


def test_A15_no_maximum_of_scipy_beats_the_closed_form(record_property) -> None:
    """L-BFGS from many starts over two layers: each local maximum is global, E being squeezed by the norms of W."""
    for name in SPECTRA:
        C, _ = symmetric(SPECTRA[name], seed=1)
        for widths in ([4, 2, 2], [4, 3, 3]):
            values, layers = maxima_by_scipy(C, widths, 12, seed=2)
            agree(record_property, values, SPECTRA[name][0], 1e-7)  # where L-BFGS stops
            for W in layers:
                assert np.linalg.norm(product(W)) == pytest.approx(1.0, abs=1e-6)
    rng = np.random.default_rng(3)
    for _ in range(200):  # the proof's chain: 2E <= mu |W|_F^2 <= mu prod |W_l|_F^2
        W = product(random_layers([4, 3, 3, 2], int(rng.integers(10**6))))
        assert np.trace(W @ C @ W.T) <= 2.0 * np.linalg.norm(W) ** 2 + 1e-12 <= 2.0 + 1e-11


def test_A15_one_sweep_of_exact_blocks_is_enough(record_property) -> None:
    """Each layer the top eigenvector of A (x) B in turn: after l = 1, .., L the maximum is reached."""
    for name, depth in itertools.product(SPECTRA, (1, 2, 3, 4)):
        C, _ = symmetric(SPECTRA[name], seed=4)
        widths = [*[4, 3, 2, 3][:depth], 2]
        run = deep_ascent(C, random_layers(widths, 5), by="blocks", max_sweeps=1)
        agree(record_property, 2 * energy(run.layers, C), SPECTRA[name][0], ROUNDING)
    # a block is that eigenvector: against scipy on the whole Kronecker product, with no gain left to any layer
    start = random_layers([4, 3, 2], 6)
    run = deep_ascent(C, start, by="blocks", max_sweeps=1)
    A, B = start[1].T @ start[1], C
    top = scipy.linalg.eigh(np.kron(A, B))[1][:, -1].reshape(3, 4)
    same_span(record_property, run.layers[0].reshape(-1, 1), top.reshape(-1, 1), 1e-9)


@NORMS
def test_the_gradients_of_layers_are_those_of_autograd_along_the_spheres(norm) -> None:
    C, _ = symmetric(SPECTRA["indefinite"], seed=7)
    layers = random_layers([4, 3, 2, 3], 8, norm=norm)
    tensors = [torch.tensor(W, requires_grad=True) for W in layers]
    scaled = [
        W / W.norm() if norm == "frobenius" else W / (W.norm(dim=1, keepdim=True) * np.sqrt(W.shape[0]))
        for W in tensors
    ]
    W = scaled[2] @ scaled[1] @ scaled[0]
    (torch.trace(W @ torch.as_tensor(C) @ W.T) / 2).backward()
    for found, tensor in zip(layer_gradients(layers, C, norm=norm), tensors, strict=True):
        np.testing.assert_allclose(found, tensor.grad.numpy(), atol=1e-13)


# --- A16: multiplicity ------------------------------------------------------------------------------------------------


@NORMS
def test_A16_one_layer_keeps_a_multiple_eigenvalue_and_two_do_not(norm, record_property) -> None:
    """lambda_max three times over: one layer keeps rank 3 from random starts, two and three layers end at rank 1."""
    C, Q = symmetric([2.0, 2.0, 2.0, 0.5, -1.0], seed=9)
    for depth, rank in ((1, 3), (2, 1), (3, 1)):
        found = fixed_optimum(C, 4, constraint=norm, depth=depth)
        assert (found.rank, found.multiplicity, found.unique_up_to) == (rank, 3, "none")
        assert "multiplicity 3" in found.note
        check_layers(found.layers, norm)
        agree(record_property, 2 * energy(found.layers, C), 2.0, ROUNDING)
        for seed in range(3):
            run = deep_ascent(C, random_layers([5, *[4] * depth], seed, norm=norm), norm=norm)
            agree(record_property, 2 * energy(run.layers, C), 2.0, REACHED)
            assert run.ranks == (rank,) * depth
    same_span(record_property, found.embedding.W[:, :1], Q[:, :3] @ (Q[:, :3].T @ found.embedding.W[:, :1]), 1e-12)


def test_A16_a_layer_like_the_identity_is_a_saddle(record_property) -> None:
    """At W_2 proportional to I the theorem's hypothesis fails; with W_1 over the top eigenspace E is stationary there.

    From beside it, and from W_2 = I/sqrt(n) with any W_1, the ascent leaves for the global maximum.
    """
    C, Q = symmetric([2.0, 2.0, 2.0, 0.5], seed=10)
    saddle = (Q[:, :3].T / np.sqrt(3), np.eye(3) / np.sqrt(3))
    assert max(np.abs(G).max() for G in layer_gradients(saddle, C)) < 1e-14
    agree(record_property, 2 * energy(saddle, C), 2.0 / 3, ROUNDING)
    rng = np.random.default_rng(11)
    for start in (
        tuple(W + 1e-4 * rng.standard_normal(W.shape) for W in saddle),
        (random_layers([4, 3], 12)[0], saddle[1]),
    ):
        run = deep_ascent(C, start)
        agree(record_property, 2 * energy(run.layers, C), 2.0, REACHED)
        assert run.ranks == (1, 1)


# --- A17: no positive eigenvalue --------------------------------------------------------------------------------------


@NORMS
def test_A17_without_a_positive_eigenvalue_depth_decides(norm, record_property) -> None:
    """lambda_max < 0: one layer has lambda_max / 2, two layers or more W = 0, unless hidden layers have one unit."""
    C, _ = symmetric([-1.0, -1.5, -2.0, -2.5], seed=13)
    for depth, widths, expected in (
        (1, [], -1.0),
        (2, [3], 0.0),
        (3, [1, 2], 0.0),
        (2, [1], -1.0),
        (3, [1, 1], -1.0),
    ):
        with pytest.warns(
            SpectralWarning, match="collapse: the largest eigenvalue is -1" if expected == 0 else "W = 0"
        ):
            found = fixed_optimum(C, 2, constraint=norm, depth=depth, widths=widths)
        check_layers(found.layers, norm)
        agree(record_property, 2 * energy(found.layers, C), expected, ROUNDING, scale=1.0)
        agree(record_property, 2 * found.energy, expected, ROUNDING, scale=1.0)
        assert found.collapsed == (expected == 0)
        assert found.rank == (0 if expected == 0 else 1)
        best = max(
            2 * energy(deep_ascent(C, random_layers([4, *widths, 2], seed, norm=norm), norm=norm).layers, C)
            for seed in range(2)
        )
        agree(record_property, best, expected, 1e-7, scale=1.0)  # E falls off as the square of what is left of W
    record_property("counterexample", "hidden layers of one unit: 2E = lambda_max = -1, not 0")


def test_collapse_is_told_for_data_as_well() -> None:
    """Positives further apart than negatives: E is best at W = 0, from the contrast itself."""
    rng = np.random.default_rng(14)
    first = rng.standard_normal((6, 2))
    X = np.vstack([first, 5 - first])
    graph = SignedGraph.uniform(Contrast.of(6, views="one"))
    with pytest.warns(SpectralWarning, match="collapse"):
        found = fixed_optimum(graph, 2, X=X, depth=2)
    assert (found.energy, found.collapsed, np.abs(found.embedding.Z).max()) == (0.0, True, 0.0)
    zero = np.zeros((3, 3))
    with pytest.warns(SpectralWarning, match="no direction gains"):
        assert fixed_optimum(zero, 2, depth=2).unique_up_to == "none"


# --- A18: other constraints -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_A18_products_of_unit_layers_are_a_schatten_ball(depth, record_property) -> None:
    """{ W_L .. W_1 : |W_l|_F <= 1 } = { sum_k sigma_k^(2/L) <= 1 }, both directions, by scipy's singular values."""
    rng = np.random.default_rng(15)
    worst = -np.inf
    for seed in range(100):  # products of layers lie in the ball, whatever the widths
        widths = [5, *rng.integers(1, 6, depth - 1), 4]
        s = scipy.linalg.svdvals(product(random_layers(widths, seed)))
        worst = max(worst, float(np.sum(s ** (2 / depth))))
    assert worst <= 1 + ROUNDING
    for _ in range(20):  # and every point of it is such a product
        W = rng.standard_normal((4, 5))
        s = scipy.linalg.svdvals(W)
        W = W / np.sum(s ** (2 / depth)) ** (depth / 2)
        layers = balanced_layers(W, depth)
        assert len(layers) == depth
        agree(record_property, product(layers), W, ROUNDING, scale=np.abs(W).max())
        agree(record_property, [np.linalg.norm(layer) for layer in layers], 1.0, 1e-11)
        agree(record_property, schatten_sum(W, depth), 1.0, 1e-11)
    C, Q = symmetric(SPECTRA["indefinite"], seed=16)
    found = fixed_optimum(C, 3, constraint="schatten", depth=depth)
    agree(record_property, 2 * found.energy, 2.0, ROUNDING)
    assert schatten_sum(found.embedding.W.T, depth) <= 1 + ROUNDING
    same_span(record_property, found.embedding.W[:, :1], Q[:, :1], 1e-9)
    with pytest.warns(SpectralWarning, match="a point of the ball"):
        assert fixed_optimum(-np.eye(3), 2, constraint="schatten", depth=depth).energy == 0.0


def test_A18_orthonormal_rows_are_principal_components(record_property) -> None:
    """W_l W_l' = I for every layer: half the sum of the top K, the PCA subspace; no Stiefel point of scipy has more."""
    rng = np.random.default_rng(17)
    contrast = Contrast.of(10, views="two")
    X = 2 + rng.standard_normal((20, 4)) * np.array([3.0, 2.0, 1.0, 0.5])
    alpha = rng.random((contrast.n_anchors, contrast.n_negatives))
    graph = SignedGraph.of(contrast, alpha)
    C = X.T @ graph.to_csr().toarray() @ X
    mu, V = scipy.linalg.eigh(C)
    for depth, widths in ((1, []), (2, [3]), (3, [4, 2])):
        found = fixed_optimum(graph, 2, constraint="orthonormal", X=X, depth=depth, widths=widths)
        for W in found.layers:
            np.testing.assert_allclose(W @ W.T, np.eye(W.shape[0]), atol=1e-12)
        agree(record_property, found.energy, mu[-2:].sum() / 2, 1e-10)
        agree(record_property, float(contrast.energy(found.embedding.Z.copy(), alpha)), found.energy, 1e-10)
        same_span(record_property, found.embedding.W, V[:, -2:], 1e-8)
        np.testing.assert_allclose(found.embedding.transform(X), found.embedding.Z, atol=1e-10)

    def negative(w: Array) -> float:
        W = np.linalg.qr(w.reshape(4, 2))[0]
        return -float(np.trace(W.T @ C @ W)) / 2

    tried = [-scipy.optimize.minimize(negative, rng.standard_normal(8), method="BFGS").fun for _ in range(3)]
    agree(record_property, max(tried), found.energy, 1e-6)  # BFGS by finite differences
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a loss forced by the constraint is said, not warned of
        assert "negative" in fixed_optimum(np.diag([1.0, -1.0]), 2, constraint="orthonormal").note
    assert fixed_optimum(np.eye(3), 2, constraint="orthonormal").unique_up_to == "none"


def test_the_record_of_an_optimum_is_the_one_of_the_method() -> None:
    """Uniform alpha, one layer: ss.AlphaCL finds the same least loss by its own search, -E with 2E = lambda_max."""
    rng = np.random.default_rng(21)
    first = rng.standard_normal((9, 3)) * np.array([3.0, 1.0, 0.5])
    X = np.vstack([first, first + 0.2 * rng.standard_normal((9, 3))])
    graph = SignedGraph.uniform(Contrast.of(9, views="two"), 1 / 16)  # one over the negatives of an anchor
    method = ss.AlphaCL(rule="uniform")
    found = fixed_optimum(graph, 2, X=X).as_optimum(method)
    views = ss.Graph.from_pairs(np.arange(9), np.arange(9) + 9, 18)
    np.testing.assert_allclose(found.loss, ss.optimum(method, views, 2, X=X).loss, rtol=1e-9)
    assert (found.loss, found.kind, found.rank) == (found.lower_bound, "exact", 1)
    assert found.loss == found.loss_terms["energy"] < 0
    assert found.embedding.gap > 0.1
    assert found.method is method


def test_what_no_constraint_allows_is_refused() -> None:
    C = np.eye(3)
    graph = SignedGraph.uniform(Contrast.of(4, views="two"))
    for wrong, match in (
        (lambda: fixed_optimum(C, 2, constraint="frobenious"), "did you mean 'frobenius'"),
        (lambda: fixed_optimum(C, 0), "n_components"),
        (lambda: fixed_optimum(C, 2, depth=0), "depth"),
        (lambda: fixed_optimum(C, 2, depth=3, widths=[2]), "2 hidden layers"),
        (lambda: fixed_optimum(C, 2, constraint="orthonormal", depth=2, widths=[4]), "do not widen"),
        (lambda: fixed_optimum(C, 4, constraint="orthonormal"), "do not widen"),
        (lambda: fixed_optimum(np.ones((2, 3)), 1), "square"),
        (lambda: fixed_optimum(np.array([[0.0, 1.0], [0.0, 0.0]]), 1), "not symmetric"),
        (lambda: fixed_optimum(np.diag([np.nan, 1.0]), 1), "NaN"),
        (lambda: fixed_optimum(C, 2, X=np.ones((8, 3))), "pass the SignedGraph"),
        (lambda: fixed_optimum(graph, 2), "pass X="),
        (lambda: fixed_optimum(C, 2, constraint="free"), "has no rows"),
        (lambda: fixed_optimum(graph, 2, constraint="free", depth=2), "have no map"),
        (lambda: deep_ascent(C, random_layers([4, 2], 0)), "do not fit"),
        (lambda: deep_ascent(C, random_layers([3, 2], 0), by="steps"), "by must be"),
        (lambda: deep_ascent(C, random_layers([3, 2], 0), by="blocks", norm="per_filter"), "Frobenius norms only"),
        (lambda: random_layers([3], 0), "widths must be"),
        (lambda: random_layers([3, 2], 0, norm="spectral"), "norm must be"),
        (lambda: schatten_sum(C, 0), "depth must be"),
    ):
        with pytest.raises(DataError, match=match):
            wrong()
    assert set(CONSTRAINTS) == {"frobenius", "per_filter", "orthonormal", "schatten", "free"}


# --- A19: maxima that are not global ----------------------------------------------------------------------------------


def test_A19_refuted_that_all_maxima_of_three_layers_are_global(record_property) -> None:
    """W_3 W_2 = 0 with W_1 over negative directions: E = 0 < lambda_max / 2, and E <= 0 all around it."""
    C, Q = symmetric([1.0, -2.0, -2.0, -2.0, -2.0], seed=18)
    e1, e2 = np.eye(2)
    trap = (Q[:, 1:3].T / np.sqrt(2), np.outer(e1, e1), np.outer(e1, e2))
    check_layers(trap, "frobenius")
    assert np.abs(product(trap)).max() == 0
    rng = np.random.default_rng(19)
    for size in (1e-4, 1e-2, 0.1):
        for _ in range(200):
            near = tuple(W + size * rng.standard_normal(W.shape) for W in trap)
            near = tuple(W / np.linalg.norm(W) for W in near)
            assert energy(near, C) <= 0
    run = deep_ascent(C, near)  # from as far as 0.1 the ascent comes back to W = 0
    assert run.converged
    assert np.abs(product(run.layers)).max() < 1e-6
    # and random starts get there: by scipy's L-BFGS, and by the ascent of constant step
    ends = [2 * deep_ascent(C, random_layers([5, 2, 2, 2, 2], seed)).energy for seed in range(12)]
    caught = int(np.sum(np.abs(ends) < 1e-6))
    assert caught + int(np.sum(np.abs(np.array(ends) - 1.0) < 1e-6)) == 12
    assert caught >= 1
    record_property(
        "counterexample",
        f"eigenvalues 1, -2 (4 times), three layers: a maximum with E = 0; four layers: {caught} of 12 random starts",
    )


def test_A19_two_layers_have_no_such_maximum(record_property) -> None:
    """The same covariance, two layers: every local maximum of L-BFGS and of the ascent is global."""
    C, _ = symmetric([1.0, -2.0, -2.0, -2.0, -2.0], seed=18)
    values, _ = maxima_by_scipy(C, [5, 2, 2], 12, seed=20)
    agree(record_property, values, 1.0, 1e-7)
    ends = [2 * deep_ascent(C, random_layers([5, 2, 2], seed)).energy for seed in range(12)]
    agree(record_property, ends, 1.0, REACHED)
