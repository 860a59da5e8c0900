"""Stepwise learning: the flow of unnormalised Barlow Twins, predicted, integrated, and descended.

Witnesses: scipy's Radau on gradients that torch takes of the loss written from its definition (naive.py), the trainer's
plain gradient descent, and scipy's eigensolver on an explicit square root of a kernel.
"""

import itertools
import warnings

import naive
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch
from measure import Record, agree, relative, same_span, sine

import spectral_ssl as ss
from spectral_ssl.theory.dynamics import Flow, _bernoulli, integrated_flow, predicted_flow

FLOW_TOL = 1e-7  # Radau at rtol 1e-10: errors grow by e^{8 g t} until a step is made
INTEGRATED_TOL = 1e-8  # the same for the library's integrator, at 1e-11
ROUNDING = 1e-10

UNNORMALISED = ss.BarlowTwins(normalized=False)


def setting(gamma: tuple[float, ...], *, N: int = 14, seed: int = 0) -> tuple[ss.Graph, np.ndarray, np.ndarray]:
    """A relation and X (N, D) with X'AX/s = E diag(gamma) E' for a random rotation E, returned last."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((N, 2))
    A = np.exp(-((points[:, None] - points[None]) ** 2).sum(axis=2) / 2) - np.eye(N)  # indefinite
    g = np.array(gamma)
    values, vectors = np.linalg.eigh(A)
    order = np.concatenate([np.argsort(-values)[: (g > 0).sum()], np.argsort(values)[: (g < 0).sum()]])
    X = np.zeros((N, g.size))
    X[:, g != 0] = vectors[:, order] * np.sqrt(g[g != 0] * A.sum() / values[order])
    E = np.linalg.qr(rng.standard_normal((g.size, g.size)))[0]
    return ss.Graph.from_adjacency(A), X @ E.T, E


def witness(graph: ss.Graph, X: np.ndarray, W0: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W (T, D, K) along dW/dt = -grad of the naive loss of XW, and that loss."""
    A, X_ = torch.as_tensor(graph.to_csr().toarray()), torch.as_tensor(X)

    def slope(_: float, w: np.ndarray) -> np.ndarray:
        W = torch.tensor(w.reshape(W0.shape), requires_grad=True)
        naive.cross_moment(X_ @ W, A).backward()
        assert W.grad is not None
        return -W.grad.numpy().ravel()

    found = scipy.integrate.solve_ivp(
        slope, (0, times[-1]), W0.ravel(), t_eval=times, method="Radau", rtol=1e-10, atol=1e-10 * np.abs(W0).max()
    )
    path = found.y.T.reshape(times.size, *W0.shape)
    return path, np.array([naive.value(naive.cross_moment, X @ W, graph.to_csr().toarray()) for W in path])


# --- aligned starts ---------------------------------------------------------------------------------------------------

SIGNS = {
    "positive": (2.0, 1.0, 0.4, 0.1),
    "zero": (1.5, 0.5, 0.0),
    "negative": (1.2, 0.3, -0.6),
}


@pytest.mark.parametrize("signs", SIGNS)
def test_B9_predicted_flow_is_the_flow_of_the_loss(signs: str, record_property: Record) -> None:
    """s_k(t) = e^{4gt} / sqrt(s0^-2 + (e^{8gt} - 1) g) for g > 0 (a sigmoid), g = 0 (stays) and g < 0 (decays)."""
    gamma = SIGNS[signs]
    graph, X, E = setting(gamma)
    K, s0, times = 3, 0.03, np.linspace(0, 3.0, 13)
    spectra = ss.Spectra(graph, X=X)
    flow = predicted_flow(spectra.of("cross_moment", K), K, times, s0)
    assert flow.kind == "exact"
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((K, K)))[0]
    path, losses = witness(graph, X, s0 * E[:, :K] @ Q, times)
    s = np.linalg.norm(np.einsum("dk,tdj->tkj", E[:, :K], path), axis=2)
    agree(record_property, flow.singular_values, s, FLOW_TOL)
    agree(record_property, flow.loss, losses, FLOW_TOL)
    # what the sign does
    end = flow.singular_values[-1]
    assert end[0] == pytest.approx(gamma[0] ** -0.5, rel=1e-3)
    if signs == "zero":
        assert flow.singular_values[:, 2] == pytest.approx(np.full(13, s0), rel=1e-15)
        assert flow.loss[-1] > 1
    if signs == "negative":
        assert end[2] == pytest.approx(s0 * np.exp(-4 * 0.6 * 3), rel=1e-3)
        assert flow.loss[-1] > 1
    # a start of unequal sizes, given as such
    sizes = np.array([0.2, 0.05, 0.4])
    unequal = predicted_flow(spectra.of("cross_moment", K), K, times, W0=E[:, :K] * sizes @ Q)
    assert unequal.kind == "exact"
    path, losses = witness(graph, X, E[:, :K] * sizes @ Q, times)
    s = np.linalg.norm(np.einsum("dk,tdj->tkj", E[:, :K], path), axis=2)
    agree(record_property, unequal.singular_values, s, FLOW_TOL)


@pytest.mark.parametrize("signs", SIGNS)
def test_B9_integrated_flow_is_the_predicted_one(signs: str, record_property: Record) -> None:
    """dW/dt = -grad |W'Gam W - I|^2 integrated from an aligned start: the sigmoids, the loss and the step times."""
    graph, X, _ = setting(SIGNS[signs])
    K, s0, times = 3, 1e-2, np.linspace(0, 6.0, 25)
    spectra = ss.Spectra(graph, X=X)
    predicted, integrated = (
        predicted_flow(spectra.of("cross_moment", K), K, times, s0),
        integrated_flow(spectra, K, times, s0),
    )
    assert integrated.kind == "integrated"
    agree(record_property, integrated.singular_values, predicted.singular_values, INTEGRATED_TOL)
    agree(record_property, integrated.loss, predicted.loss, INTEGRATED_TOL, scale=1.0)
    made = integrated.step_times < np.inf
    assert made.sum() == (predicted.step_times <= times[-1]).sum() >= 2
    agree(record_property, integrated.step_times[made], predicted.step_times[made], INTEGRATED_TOL)
    assert integrated.weights is not None
    assert integrated.weights.shape == (25, X.shape[1], K)
    # by X and graph, as by Spectra
    assert np.array_equal(integrated_flow(graph, K, times, s0, X=X).singular_values, integrated.singular_values)


def test_B9_step_times(record_property: Record) -> None:
    """Half way g s^2 = 1/2 at log(1/(s0^2 g) - 1)/(8g), which is -log(s0^2 g)/(8g) to the order of s0^2."""
    gamma, s0 = np.array([2.0, 1.0, 0.4]), 1e-3
    graph, X, _ = setting((*gamma, -0.5))
    spectrum = ss.Spectra(graph, X=X).of("cross_moment", 4)
    flow = predicted_flow(spectrum, 4, [0.0], s0)
    stated = -np.log(s0**2 * gamma) / (8 * gamma)
    agree(record_property, flow.step_times[:3], stated, s0**2)
    assert flow.step_times[3] == np.inf
    assert np.all(np.diff(stated) > 0), "in the order of g"
    at = predicted_flow(spectrum, 4, flow.step_times[:3], s0).singular_values
    agree(record_property, np.diag(gamma * at[:, :3] ** 2), np.full(3, 0.5), ROUNDING)
    # and where the start is past it already
    assert predicted_flow(spectrum, 4, [0.0], 2.0).step_times[0] == 0
    assert integrated_flow(ss.Spectra(graph, X=X), 4, [0.0, 0.1], 2.0).step_times[0] == 0


def test_B9_long_times_do_not_overflow(record_property: Record) -> None:
    """t -> inf: s -> 1/sqrt g for g > 0, stays at s0 for g = 0, -> 0 for g < 0; the loss counts the g <= 0."""
    graph, X, _ = setting((1.2, 0.3, 0.0, -0.6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = predicted_flow(ss.Spectra(graph, X=X).of("cross_moment", 4), 4, [0, 1e2, 1e4, 1e8], 1e-5)
    limits = [1.2**-0.5, 0.3**-0.5, 1e-5, 0.0]
    agree(record_property, flow.singular_values[1:], np.tile(limits, (3, 1)), ROUNDING, scale=1.0)
    agree(record_property, flow.loss[1:], np.full(3, 2.0), ROUNDING)


def test_B9_over_all_embeddings(record_property: Record) -> None:
    """The same flow of Z (N, K), with the eigenvalues of A/s."""
    graph, _, _ = setting((1.0,))
    A = graph.to_csr().toarray()
    K, s0, times = 2, 0.3, np.linspace(0, 30, 7)
    g, E = np.linalg.eigh(A / A.sum())
    flow = predicted_flow(ss.Spectra(graph).of("cross_moment", K), K, times, s0)
    path, losses = witness(graph, np.eye(14), s0 * E[:, ::-1][:, :K], times)
    s = np.linalg.norm(np.einsum("dk,tdj->tkj", E[:, ::-1][:, :K], path), axis=2)
    agree(record_property, flow.singular_values, s, FLOW_TOL)
    agree(record_property, flow.loss, losses, FLOW_TOL)
    found = integrated_flow(graph, K, times, s0)
    agree(record_property, found.singular_values, s, FLOW_TOL)
    assert g[-1] < 0.3


def test_B9_gradient_descent_of_the_trainer_follows_the_prediction(record_property: Record) -> None:
    """train(optimizer="gd", precondition=False): learning rate times steps is the time of the flow, to first order."""
    graph, X, _ = setting((2.0, 1.0, 0.3, 0.1))
    K, scale, seed = 2, 1e-4, 3
    spectra = ss.Spectra(graph, X=X)
    spectrum = spectra.of("cross_moment", K)
    assert spectrum.weights is not None
    W0 = scale * np.random.default_rng(seed).standard_normal((4, K))
    halves = predicted_flow(spectrum, K, [0.0], W0=W0).step_times
    flow = predicted_flow(spectrum, K, [halves[0], halves[1], 1.2 * halves[1]], W0=W0)
    sizes, errors = [], []
    for steps in (600, 1200):
        found = []
        for t in flow.times:
            run = ss.train(
                UNNORMALISED,
                spectra,
                K,
                optimizer="gd",
                precondition=False,
                learning_rate=t / steps,
                max_iter=steps + 1,
                tol=1e-300,
                init_scale=scale,
                seed=seed,
            )
            assert run.embedding.W is not None
            found.append(np.abs(np.diag(np.linalg.qr(run.embedding.W.T @ spectrum.weights[:, :K])[1])))
        sizes.append(np.array(found))
        errors.append(np.abs(sizes[-1] - flow.singular_values).max())
    assert errors[1] < 0.6 * errors[0]  # Euler's method
    # extrapolated to steps of no length, which leaves their square
    agree(record_property, 2 * sizes[1] - sizes[0], flow.singular_values, 1e-3, scale=1.0)


@pytest.mark.parametrize("b", [1.3, 0.0, -0.7])
@pytest.mark.parametrize("q", [0.9, 0.0])
def test_squares_obey_the_bernoulli_equation_for_every_sign(b: float, q: float) -> None:
    # y' = 8 y (b - q y): what the flows of other losses will ask of it
    times = np.linspace(0, 1.0, 5)
    y0 = np.array([0.2, 1e-3])
    found = scipy.integrate.solve_ivp(
        lambda _, y: 8 * y * (b - q * y), (0, 1), y0, t_eval=times, method="Radau", rtol=1e-10, atol=1e-14
    )
    ours = _bernoulli(y0, np.full(2, b), np.full(2, q), times)
    assert relative(ours, found.y.T) < FLOW_TOL


# --- small starts of any kind -----------------------------------------------------------------------------------------

SCALES = (1e-1, 1e-2, 1e-4, 1e-7)


def small_starts(gamma: tuple[float, ...], K: int) -> list[tuple[Flow, Flow, np.ndarray]]:
    """Predicted and integrated flows from random starts of each scale, and the top eigenvectors."""
    graph, X, E = setting(gamma)
    spectra = ss.Spectra(graph, X=X)
    found = []
    for scale in SCALES:
        W0 = scale * np.random.default_rng(0).standard_normal((len(gamma), K))
        end = 2.5 * -np.log(scale**2 * gamma[K - 1]) / (8 * gamma[K - 1])
        times = np.linspace(0, end, 41)
        predicted = predicted_flow(spectra.of("cross_moment", K), K, times, W0=W0)
        found.append((predicted, integrated_flow(spectra, K, times, W0=W0), E[:, :K]))
    return found


def test_B10_small_starts_follow_the_prediction_ever_more_closely(record_property: Record) -> None:
    """From W(0) of size s0 -> 0 every direction follows the sigmoid from |R_jj|, W(0)'E = QR, at its own time."""
    flows = small_starts((2.0, 1.0, 0.4, 0.1), 2)
    curves = [np.abs(p.singular_values - i.singular_values).max() for p, i, _ in flows]
    losses = [np.abs(p.loss - i.loss).max() for p, i, _ in flows]
    steps = [np.abs(p.step_times - i.step_times).max() for p, i, _ in flows]
    for errors in (curves, losses, steps):
        # about as s0 itself: a factor of 10, 100 and 1000 between the scales
        assert all(b < a / ratio for (a, b), ratio in zip(itertools.pairwise(errors), (3, 20, 100), strict=True))
    assert all(p.kind == "asymptotic" for p, _, _ in flows)
    agree(record_property, flows[-1][0].singular_values, flows[-1][1].singular_values, 1e-5, scale=1.0)
    # the start counts: equal directions of the same scale would be an order of magnitude off
    predicted, integrated, _ = flows[-1]
    assert predicted.step_times == pytest.approx(integrated.step_times, abs=1e-5)
    assert predicted.step_times[1] > 1.5 * predicted.step_times[0]
    # the integrator is no relation of the prediction: Radau on torch's gradients has the same course
    graph, X, _ = setting((2.0, 1.0, 0.4, 0.1))
    path, loss = witness(graph, X, 1e-2 * np.random.default_rng(0).standard_normal((4, 2)), flows[1][1].times)
    assert flows[1][1].weights is not None
    agree(record_property, flows[1][1].weights, path, FLOW_TOL, scale=1.0)
    agree(record_property, flows[1][1].loss, loss, FLOW_TOL, scale=1.0)


def test_B10_a_small_start_selects_the_top_directions(record_property: Record) -> None:
    """The sine between W(inf) and the top K falls with s0 as s0^(1 - g_{K+1}/g_K): 1e-1, 1e-2, 1e-4, 1e-7."""
    gamma = (1.0, 0.8, 0.3, 0.1)
    sines = []
    for _, integrated, E in small_starts(gamma, 2):
        assert integrated.weights is not None
        assert integrated.loss[-1] < 1e-3  # every start ends at a zero of the loss, which one is its bias
        sines.append(sine(integrated.weights[-1], E))
    assert sines[0] > 0.05
    assert all(b < 0.5 * a for a, b in itertools.pairwise(sines))
    record_property("angle", sines[-1])
    assert sines[-1] < 1e-3
    assert np.log(sines[2] / sines[3]) / np.log(1e3) == pytest.approx(1 - 0.3 / 0.8, abs=0.02)


# --- kernels ----------------------------------------------------------------------------------------------------------


def test_B11_kernel_model_as_a_linear_one_on_the_root_of_the_kernel(record_property: Record) -> None:
    """Z = K^(1/2) B: eigenpairs of K^(1/2) A K^(1/2)/s, B = E_K ev^(-1/2), is the zero of least norm; and its flow."""
    graph, _, _ = setting((1.0,))
    A, K = graph.to_csr().toarray(), 3
    points = np.random.default_rng(7).standard_normal((14, 2))
    kernel = np.exp(-((points[:, None] - points[None]) ** 2).sum(axis=2))
    root = np.real(scipy.linalg.sqrtm(kernel))
    ev, E = scipy.linalg.eigh(root @ A @ root / A.sum())
    ev, E = ev[::-1], E[:, ::-1]
    B = E[:, :K] * ev[:K] ** -0.5
    best = ss.optimum(UNNORMALISED, graph, K, X=root)
    assert best.loss == 0
    assert best.embedding.W is not None
    expected = B @ B.T
    agree(record_property, best.embedding.W @ best.embedding.W.T, expected, 1e-8, scale=float(np.abs(expected).max()))
    agree(record_property, (best.embedding.W**2).sum(), (1 / ev[:K]).sum(), ROUNDING)
    same_span(record_property, best.embedding.Z, root @ B, 1e-7)
    assert naive.value(naive.cross_moment, best.embedding.Z, A) < 1e-20
    # a small start ends there, direction by direction
    spectra = ss.Spectra(graph, X=root)
    end = -5 * np.log(1e-6 * ev[K - 1]) / (8 * ev[K - 1])
    flow = predicted_flow(spectra.of("cross_moment", K), K, [0.0, end], 1e-3)
    agree(record_property, flow.singular_values[-1], ev[:K] ** -0.5, 1e-6)
    found = integrated_flow(spectra, K, [0.0, end], 1e-3)
    assert found.weights is not None
    agree(record_property, found.weights[-1] @ found.weights[-1].T, expected, 1e-6, scale=float(np.abs(expected).max()))


# --- manners ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_a_flow_is_refused() -> None:
    graph, X, _ = setting((2.0, 1.0, 0.4))
    spectra = ss.Spectra(graph, X=X)
    spectrum = spectra.of("cross_moment", 2)
    with pytest.raises(ss.DataError, match=r'"cross_moment", n_components'):
        predicted_flow(spectra.of("laplacian", 2), 2, [0.0])
    for K in (0, 4, True, 1.5):
        with pytest.raises(ss.DataError, match="n_components"):
            predicted_flow(spectrum, K, [0.0])  # type: ignore[arg-type]
    for times in ([], [-1.0], [1.0, 0.5], [1.0, 1.0], [np.nan], [[0.0]]):
        with pytest.raises(ss.DataError, match="times"):
            predicted_flow(spectrum, 2, times)
        with pytest.raises(ss.DataError, match="times"):
            integrated_flow(spectra, 2, times)
    for scale in (0.0, -1.0, np.inf):
        with pytest.raises(ss.DataError, match="init_scale"):
            predicted_flow(spectrum, 2, [0.0], scale)
        with pytest.raises(ss.DataError, match="init_scale"):
            integrated_flow(spectra, 2, [0.0], scale)
    for W0 in (np.zeros((2, 2)), np.full((3, 2), np.nan)):
        with pytest.raises(ss.DataError, match="W0"):
            integrated_flow(spectra, 2, [0.0], W0=W0)
    with pytest.raises(ss.ResourceError, match="predicted_flow"):
        integrated_flow(spectra, 2, [0.0, 1e9])


def test_a_flow_is_frozen_and_starts_where_it_is_told() -> None:
    graph, X, _ = setting((2.0, 1.0, 0.4))
    spectra = ss.Spectra(graph, X=X)
    W0 = np.random.default_rng(0).standard_normal((3, 2))
    before = W0.copy()
    flow = integrated_flow(spectra, 2, 0.0, W0=W0)
    assert flow.weights is not None
    assert np.array_equal(flow.weights, W0[None])
    assert np.array_equal(W0, before)
    for array in (flow.times, flow.singular_values, flow.loss, flow.step_times, flow.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(AttributeError):
        flow.kind = "exact"  # type: ignore[misc]
    # invariance of what is measured: a rotation of the components is none of the flow's business
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((2, 2)))[0]
    turned = integrated_flow(spectra, 2, [0.0, 0.3], W0=W0 @ Q)
    assert relative(turned.singular_values, integrated_flow(spectra, 2, [0.0, 0.3], W0=W0).singular_values) < FLOW_TOL
