"""Stepwise learning: the flows of Barlow Twins, VICReg and the contrastive losses: predicted, integrated, descended.

Witnesses: scipy's LSODA on gradients that torch takes of the loss written from its definition (naive.py), the trainer's
plain gradient descent, and scipy's eigensolver on an explicit square root of a kernel.
"""

import dataclasses
import itertools
import warnings
from collections.abc import Callable
from functools import partial

import naive
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch
from measure import Record, agree, relative, same_span, sine

import spectral_ssl as ss
from spectral_ssl.theory._bernoulli import bernoulli
from spectral_ssl.theory.dynamics import Flow, integrated_flow, measured_flow, predicted_flow
from spectral_ssl.training import Step

FLOW_TOL = 1e-7  # LSODA at rtol 1e-11: errors grow by e^{8 g t} until a step is made
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
        slope, (0, times[-1]), W0.ravel(), t_eval=times, method="LSODA", rtol=1e-11, atol=1e-11 * np.abs(W0).max()
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
    ours = bernoulli(y0, np.full(2, b), np.full(2, q), times)
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
    # the integrator is no relation of the prediction: LSODA on torch's gradients has the same course
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
    for scale in (0.0, -1.0, np.inf, 1e200):
        with pytest.raises(ss.DataError, match="init_scale"):
            predicted_flow(spectrum, 2, [0.0], scale)
        with pytest.raises(ss.DataError, match="init_scale"):
            integrated_flow(spectra, 2, [0.0], scale)
    for W0 in (np.zeros((2, 2)), np.full((3, 2), np.nan), np.full((3, 2), 1e200), "start"):
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


# --- other losses, in whitened coordinates ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Case:
    """A method, its naive loss of Z and A, what it subtracts from X, how it weighs samples, and b and q by values."""

    method: object
    loss: Callable[..., torch.Tensor]
    centred: bool
    by_degree: bool
    alpha: float = 1.0
    gamma: float | None = None  # VICReg's: b = alpha - gamma m


CASES = {
    "vicreg": Case(ss.VICReg(invariance=0.05), partial(naive.vicreg, gamma=0.05), True, False, gamma=0.05),
    "vicreg, alpha 1.7, ddof 1": Case(
        ss.VICReg(1.7, 1.7, invariance=0.08, ddof=1),
        partial(naive.vicreg, alpha=1.7, beta=1.7, gamma=0.08, ddof=1),
        True,
        False,
        1.7,
        0.08,
    ),
    "vicreg, by degree": Case(
        ss.VICReg(0.8, 0.8, invariance=0.5, weighting="degree"),
        partial(naive.vicreg, alpha=0.8, beta=0.8, gamma=0.5, degree=True),
        True,
        True,
        0.8,
        0.5,
    ),
    "spectral contrastive": Case(ss.SpectralContrastive(), naive.spectral_contrastive, False, True),
    "ssl-ey": Case(
        ss.SSLEY(),  # + K is degree-weighted VICReg at 1, 1, 1
        lambda Z, A: naive.vicreg(Z, A, degree=True) - Z.shape[1],
        True,
        True,
    ),
    "frobenius": Case(ss.FrobeniusSimCLR(), naive.frobenius_simclr, False, False),
}
VICREG = [name for name in CASES if name.startswith("vicreg")]
OTHERS = [name for name in CASES if name not in VICREG]


@dataclasses.dataclass(frozen=True, eq=False)
class Whitened:
    """A problem in coordinates V, W = T V with T'BT = u^2 I, made by scipy: b (R,) descending, q, E (r, R) in V."""

    graph: ss.Graph
    X: np.ndarray
    T: np.ndarray
    E: np.ndarray
    b: np.ndarray
    q: float
    case: Case

    @property
    def A(self) -> np.ndarray:
        return self.graph.to_csr().toarray()

    def loss(self, V: torch.Tensor) -> torch.Tensor:
        return self.case.loss(torch.as_tensor(self.X @ self.T) @ V, torch.as_tensor(self.A))

    def sizes(self, V: np.ndarray, K: int) -> np.ndarray:
        """|R_jj| of V'E = QR, as square roots of ratios of Gram determinants."""
        C = self.E[:, :K].T @ V
        minors = [1.0, *(np.linalg.det(C[:k] @ C[:k].T) for k in range(1, K + 1))]
        return np.sqrt([minors[k + 1] / minors[k] for k in range(K)])


def whitened(name: str | Case, *, N: int = 12, D: int = 4, seed: int = 0, free: bool = False) -> Whitened:
    case, rng = CASES[name] if isinstance(name, str) else name, np.random.default_rng(seed)
    points = rng.standard_normal((N, 2))
    A = np.exp(-((points[:, None] - points[None]) ** 2).sum(axis=2))  # irregular, with self-pairs
    X = np.eye(N) if free else rng.standard_normal((N, D)) @ rng.standard_normal((D, D)) + points[:, :1] + 0.5
    deg, s = A.sum(axis=1), A.sum()
    m = deg if case.by_degree else np.ones(N)
    Xc = X - m @ X / m.sum() if case.centred else X
    B = Xc.T @ (m[:, None] * Xc)
    L = np.diag(deg) - A
    frobenius = not case.by_degree and not case.centred
    u2 = s / N if frobenius else s if case.by_degree else N
    if free:
        u2 = 1.0 if not case.by_degree and case.centred else s / N
    ddof = getattr(case.method, "ddof", 0)
    n = 1.0 if frobenius else s if case.by_degree else N - ddof
    values, U = np.linalg.eigh(B)
    keep = values > 1e-9 * values[-1]
    T = np.sqrt(u2) * (np.diag(m**-0.5) if free else U[:, keep] / np.sqrt(values[keep]))
    # the part of the loss that is linear in the Gram matrix: -2 tr V'(P)V
    P = Xc.T @ A @ Xc / (1.0 if frobenius else s)
    if case.gamma is not None:
        P = case.alpha * B / n - case.gamma * X.T @ L @ X / (s if case.by_degree else N)
    b, E = np.linalg.eigh(T.T @ P @ T)
    order = np.argsort(-b)
    if free and case.centred:  # the constant moves nothing
        order = np.array([k for k in order if abs(E[:, k] @ np.sqrt(m)) < 1e-6])
    return Whitened(ss.Graph.from_adjacency(A), X, T, E[:, order], b[order], case.alpha * (u2 / n) ** 2, case)


def follow(problem: Whitened, V0: np.ndarray, times: np.ndarray, *, raw: bool = False) -> list[np.ndarray]:
    """V along dV/dt = -grad of the naive loss by LSODA; W = TV along its own gradient for `raw`."""
    T = torch.as_tensor(problem.T)

    def slope(_: float, v: np.ndarray) -> np.ndarray:
        V = torch.tensor(v.reshape(-1, V0.shape[1]), requires_grad=True)
        loss = problem.case.loss(torch.as_tensor(problem.X) @ V, torch.as_tensor(problem.A)) if raw else problem.loss(V)
        loss.backward()
        assert V.grad is not None
        return -V.grad.numpy().ravel()

    start = problem.T @ V0 if raw else V0
    found = scipy.integrate.solve_ivp(
        slope,
        (0, times[-1]),
        start.ravel(),
        t_eval=times,
        method="LSODA",
        rtol=1e-11,
        atol=1e-11 * np.abs(start).max(),
    )
    path = [y.reshape(-1, V0.shape[1]) for y in found.y.T]
    assert len(path) == len(times)
    return [np.linalg.lstsq(T.numpy(), W, rcond=None)[0] for W in path] if raw else path


def values_of(problem: Whitened, path: list[np.ndarray]) -> np.ndarray:
    return np.array([float(problem.loss(torch.as_tensor(V))) for V in path])


def check_aligned(name: str, record_property: Record, *, free: bool = False) -> None:
    problem, K, s0 = whitened(name, free=free), 2, 0.05
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((K, K)))[0]
    times = np.linspace(0, 1.5 * np.log(problem.b[1] / problem.q / s0**2) / (8 * problem.b[1]), 5)
    path = follow(problem, s0 * problem.E[:, :K] @ rotation, times)
    X = None if free else problem.X
    flow = predicted_flow(problem.graph, K, times, s0, method=problem.case.method, X=X)
    assert flow.kind == "exact"
    sizes = np.array([problem.sizes(V, K) for V in path])
    assert sizes[-1] == pytest.approx(np.sqrt(problem.b[:K] / problem.q), rel=0.2), "a step was made"
    agree(record_property, flow.singular_values, sizes, FLOW_TOL)
    agree(record_property, flow.loss, values_of(problem, path), FLOW_TOL, scale=float(np.abs(flow.loss).max()))
    agree(record_property, flow.limits, np.sqrt(problem.b[:K] / problem.q), ROUNDING)
    # by a spectrum, as by the graph
    spectrum = ss.Spectra(problem.graph, X=X).of(problem.case.method.pencil, K)
    again = predicted_flow(spectrum, K, times, s0, method=problem.case.method)
    assert np.array_equal(again.singular_values, flow.singular_values)
    integrated = integrated_flow(problem.graph, K, times, s0, method=problem.case.method, X=X)
    agree(record_property, integrated.singular_values, flow.singular_values, INTEGRATED_TOL)
    agree(record_property, integrated.loss, flow.loss, INTEGRATED_TOL, scale=float(np.abs(flow.loss).max()))
    half = np.log(problem.b[:K] / (problem.q * s0**2) - 1) / (8 * problem.b[:K])
    agree(record_property, flow.step_times, half, ROUNDING)
    made = half < times[-1]
    assert made.any()
    agree(record_property, integrated.step_times[made], half[made], INTEGRATED_TOL)
    # its weights have the loss that it tells
    assert integrated.weights is not None
    losses = [naive.value(problem.case.loss, problem.X @ W, problem.A) for W in integrated.weights]
    agree(record_property, integrated.loss, losses, ROUNDING, scale=float(np.abs(flow.loss).max()))


@pytest.mark.parametrize("name", VICREG)
def test_B16_predicted_flow_is_the_flow_of_squared_vicreg(name: str, record_property: Record) -> None:
    """y' = 8 y (kappa (alpha - gamma m) - kappa^2 alpha y) in whitened coordinates, for both weightings and ddof"""
    check_aligned(name, record_property)


@pytest.mark.parametrize("name", OTHERS)
def test_S9_predicted_flow_is_that_of_the_contrastive_losses(name: str, record_property: Record) -> None:
    """y' = 8 y (rho - y) in whitened coordinates: spectral contrastive, SSL-EY, and Frobenius SimCLR in its units"""
    check_aligned(name, record_property)


@pytest.mark.parametrize("name", ["vicreg", "vicreg, by degree"])
def test_B16_over_all_embeddings(name: str, record_property: Record) -> None:
    """The same flow of Z (N, K), or of (deg N/s)^(1/2) Z where degrees weigh"""
    check_aligned(name, record_property, free=True)


@pytest.mark.parametrize("name", OTHERS)
def test_S9_over_all_embeddings(name: str, record_property: Record) -> None:
    """The same flow of (deg N/s)^(1/2) Z, (N/s)^(1/2) Z for Frobenius SimCLR"""
    check_aligned(name, record_property, free=True)


def check_any_start(name: str, record_property: Record) -> None:
    problem, K = whitened(name), 2
    method = problem.case.method
    V0 = 0.4 * np.random.default_rng(3).standard_normal((problem.T.shape[1], K))
    times = np.concatenate([[0.0], np.linspace(0.02, 2.0 / problem.b[K - 1], 6)])
    path = follow(problem, V0, times)
    flow = predicted_flow(problem.graph, K, times, method=method, X=problem.X, W0=problem.T @ V0)
    assert flow.kind == "exact"
    agree(record_property, flow.singular_values, np.array([problem.sizes(V, K) for V in path]), FLOW_TOL)
    agree(record_property, flow.loss, values_of(problem, path), FLOW_TOL, scale=float(np.abs(flow.loss).max()))
    integrated = integrated_flow(problem.graph, K, times, method=method, X=problem.X, W0=problem.T @ V0)
    agree(record_property, integrated.singular_values, flow.singular_values, INTEGRATED_TOL)
    made = integrated.step_times < np.inf
    assert np.array_equal(made, flow.step_times < times[-1])
    agree(record_property, flow.step_times[made], integrated.step_times[made], INTEGRATED_TOL, scale=times[-1])


@pytest.mark.parametrize("name", VICREG)
def test_B16_any_start_by_the_riccati_equation(name: str, record_property: Record) -> None:
    """From any start, aligned or not, large or small: the flow of the loss, in closed form"""
    check_any_start(name, record_property)


@pytest.mark.parametrize("name", OTHERS)
def test_S9_any_start_by_the_riccati_equation(name: str, record_property: Record) -> None:
    """From any start, aligned or not, large or small: the flow of the loss, in closed form"""
    check_any_start(name, record_property)


def test_S9_a_large_start_selects_the_top_directions(record_property: Record) -> None:
    """W(inf) spans the top K from large starts too, which unnormalised Barlow Twins does not"""
    problem, K = whitened("spectral contrastive"), 2
    spectra = ss.Spectra(problem.graph, X=problem.X)
    V0 = np.random.default_rng(5).standard_normal((4, K))
    end = 12 / (problem.b[1] - problem.b[2])
    flow = integrated_flow(spectra, K, [0.0, end], method=problem.case.method, W0=problem.T @ V0)
    assert flow.weights is not None
    same_span(record_property, problem.X @ flow.weights[-1], problem.X @ problem.T @ problem.E[:, :K], 1e-6)
    predicted = predicted_flow(spectra, K, [0.0, end], method=problem.case.method, W0=problem.T @ V0)
    agree(record_property, predicted.singular_values[-1], predicted.limits, 1e-6)
    agree(record_property, predicted.loss[-1], -(problem.b[:K] ** 2).sum(), FLOW_TOL)
    # Barlow Twins in the same coordinates: a zero of the loss, of another span
    rows = problem.X @ problem.T
    barlow = integrated_flow(ss.Spectra(problem.graph, X=rows), K, [0.0, end / 4], W0=V0)
    assert barlow.weights is not None
    assert barlow.loss[-1] < 1e-6
    assert sine(barlow.weights[-1], problem.E[:, :K]) > 0.1


def test_B16_raw_weights_do_not_decouple(record_property: Record) -> None:
    """In the raw weights an aligned start mixes its directions; where X is white, it does not"""
    problem, K, s0 = whitened("vicreg"), 2, 0.05
    method, times = problem.case.method, np.linspace(0, 0.6, 5)
    V0 = s0 * problem.E[:, :K]
    raw = integrated_flow(problem.graph, K, times, s0, method=method, X=problem.X, precondition=False)
    path = follow(problem, V0, times, raw=True)
    agree(record_property, raw.singular_values, np.array([problem.sizes(V, K) for V in path]), 1e-5)
    assert raw.weights is not None
    agree(
        record_property, raw.loss, [naive.value(problem.case.loss, problem.X @ W, problem.A) for W in raw.weights], 1e-9
    )
    predicted = predicted_flow(problem.graph, K, times, s0, method=method, X=problem.X)
    assert relative(raw.singular_values[1:], predicted.singular_values[1:]) > 0.1, "other times"
    C = problem.E[:, :K].T @ path[2]
    cosine = abs(C[0] @ C[1]) / (np.linalg.norm(C[0]) * np.linalg.norm(C[1]))
    record_property("counterexample", f"cosine of the first two directions {cosine:.2f}, 0 at the start")
    assert cosine > 0.05, "rows of the coordinates are orthogonal as long as directions decouple"
    # white data: raw weights are whitened ones
    white = problem.X @ problem.T
    same = integrated_flow(problem.graph, K, times, s0, method=method, X=white, precondition=False)
    agree(record_property, same.singular_values, predicted.singular_values, INTEGRATED_TOL)


@pytest.mark.parametrize("free", [False, True])
def test_S9_centred_losses_do_not_see_the_constant(free: bool, record_property: Record) -> None:
    """SSL-EY in raw weights of data off centre, and of embeddings that start off centre"""
    problem, K = whitened("ssl-ey", free=free), 2
    times = np.linspace(0, 3.0 if free else 0.2, 4)
    W0 = np.random.default_rng(2).standard_normal((problem.X.shape[1], K)) * 0.2 + 0.3 * free
    V0 = np.linalg.solve(problem.T, W0)
    path = follow(problem, V0, times, raw=True)
    X = None if free else problem.X
    options = {"method": problem.case.method, "X": X, "W0": W0}
    found = integrated_flow(problem.graph, K, times, precondition=False, **options)
    assert found.weights is not None
    agree(record_property, found.weights, [problem.T @ V for V in path], FLOW_TOL, scale=float(np.abs(W0).max()))
    agree(record_property, found.loss, values_of(problem, path), FLOW_TOL, scale=1.0)
    assert relative(found.weights[-1], W0) > 0.1, "it moved"
    # and in the coordinates of training, from the same start
    path = follow(problem, V0, times)
    found = integrated_flow(problem.graph, K, times, **options)
    assert found.weights is not None
    agree(record_property, found.loss, values_of(problem, path), FLOW_TOL, scale=1.0)
    if free:  # of maps the start is known up to directions that the loss does not see
        agree(record_property, found.weights, [problem.T @ V for V in path], FLOW_TOL, scale=1.0)


# --- small starts and gradient descent --------------------------------------------------------------------------------


def check_small_starts(case: Case, record_property: Record) -> None:
    problem, K = whitened(case), 3
    b = problem.b
    assert b[2] > 0
    G = np.random.default_rng(0).standard_normal((4, K))
    errors = []
    for scale in (1e-4, 1e-7):
        times = np.linspace(0, 2 * -np.log(scale**2) / (8 * b[K - 1]), 200)
        exact = predicted_flow(problem.graph, K, times, method=case.method, X=problem.X, W0=scale * problem.T @ G)
        s0 = problem.sizes(scale * G, K)
        aligned = problem.T @ problem.E[:, :K] * s0
        sigmoids = predicted_flow(problem.graph, K, times, method=case.method, X=problem.X, W0=aligned)
        errors.append(np.abs(exact.singular_values - sigmoids.singular_values).max() / sigmoids.limits.max())
        assert exact.step_times == pytest.approx(sigmoids.step_times, rel=3 * errors[-1])
    assert errors[-1] < 0.02
    power = np.log(errors[0] / errors[1]) / np.log(1e3)
    record_property("gap", errors[-1])
    assert power == pytest.approx(2 * (1 - max(b[1:4] / b[:3])), abs=0.1)


def test_B16_small_starts_follow_the_sigmoids(record_property: Record) -> None:
    """From random starts of size s0 -> 0 the sigmoids, in the order of b: error s0^(2 (1 - b_{j+1}/b_j)), closest j"""
    strong = Case(ss.VICReg(invariance=0.3), partial(naive.vicreg, gamma=0.3), True, False, gamma=0.3)
    check_small_starts(strong, record_property)


@pytest.mark.parametrize("name", ["spectral contrastive", "ssl-ey"])
def test_S9_small_starts_follow_the_sigmoids(name: str, record_property: Record) -> None:
    """From random starts of size s0 -> 0 the sigmoids, in the order of rho: error s0^(2 (1 - rho_{j+1}/rho_j))"""
    check_small_starts(CASES[name], record_property)


def descended(
    problem: Whitened, K: int, rate: float, end: float, scale: float, *, X: np.ndarray | None, every: int = 1
) -> Flow:
    """The recipe of the module: snapshots of plain gradient descent, measured."""
    snapshots: list[np.ndarray] = []
    steps: list[int] = []

    def watch(step: Step) -> None:
        if (step.evaluations - 1) % every == 0:
            snapshots.append(step.embed())
            steps.append(step.evaluations - 1)

    spectra = ss.Spectra(problem.graph, X=X)
    options = {"learning_rate": rate, "max_iter": int(end / rate) + 1, "tol": 1e-300, "init_scale": scale, "seed": 1}
    ss.train(problem.case.method, spectra, K, optimizer="gd", callbacks=[watch], **options)  # type: ignore[arg-type]
    return measured_flow(spectra, snapshots, rate * np.array(steps), method=problem.case.method)


STEP_TOL = (
    2e-3  # of a step time: Euler's method at 8 b rate = 0.02 to 0.04, extrapolated; half way between its snapshots
)
RATES = (0.005, 0.0025)  # 8 b t of a step, b the largest


def check_descent(name: str, record_property: Record, *, free: bool) -> None:
    problem, K, scale = whitened(name, free=free), 2, 0.02
    X = None if free else problem.X
    b = problem.b
    end = 1.5 * np.log(b[1] / problem.q / scale**2) / (8 * b[1])
    found = [descended(problem, K, share / b[0], end, scale, X=X, every=4) for share in RATES]
    # the start, from the first snapshot: Z(0) = X W(0)
    first = found[0].singular_values[0]
    assert np.all(found[0].step_times < np.inf)
    # a witness of the same start: LSODA on the naive loss, and the sizes by determinants
    problem_V0 = start_of(problem, K, scale, X)
    assert problem.sizes(problem_V0, K) == pytest.approx(first, rel=1e-9)
    W0 = problem.T * 1.0 @ problem_V0
    flow = predicted_flow(problem.graph, K, [0.0], method=problem.case.method, X=X, W0=W0)
    assert flow.kind == "exact"
    errors = [np.abs(each.step_times - flow.step_times).max() / flow.step_times.max() for each in found]
    assert 0.4 < errors[1] / errors[0] < 0.6, f"{errors}: O(learning rate)"
    extrapolated = 2 * found[1].step_times - found[0].step_times
    agree(record_property, extrapolated, flow.step_times, STEP_TOL)
    last = found[1]
    dense = predicted_flow(problem.graph, K, last.times, method=problem.case.method, X=X, W0=W0)
    agree(record_property, last.singular_values, dense.singular_values, 0.1, scale=float(dense.limits.max()))


def start_of(problem: Whitened, K: int, scale: float, X: np.ndarray | None) -> np.ndarray:
    """V(0) of `descended`, told by a callback at its first step."""
    seen: list[np.ndarray] = []
    spectra = ss.Spectra(problem.graph, X=X)
    options = {"learning_rate": 1e-9, "max_iter": 1, "tol": 1e-300, "init_scale": scale, "seed": 1}
    ss.train(
        problem.case.method, spectra, K, optimizer="gd", callbacks=[lambda step: seen.append(step.embed())], **options
    )  # type: ignore[arg-type]
    rows = problem.X @ problem.T
    if problem.case.centred:
        m = problem.A.sum(axis=1) if problem.case.by_degree else np.ones(len(rows))
        rows = rows - m @ rows / m.sum()
    return np.linalg.lstsq(rows, seen[0], rcond=None)[0]


def test_B16_gradient_descent_makes_its_steps_when_predicted(record_property: Record) -> None:
    """Preconditioned gradient descent on squared VICReg: step times to O(learning rate)"""
    check_descent("vicreg", record_property, free=False)


def test_S9_gradient_descent_makes_its_steps_when_predicted(record_property: Record) -> None:
    """Preconditioned gradient descent on the spectral contrastive loss: step times to O(learning rate)"""
    check_descent("spectral contrastive", record_property, free=False)


def test_S9_gradient_descent_of_free_embeddings(record_property: Record) -> None:
    """The same over all embeddings, whose learning rate is N times larger"""
    check_descent("spectral contrastive", record_property, free=True)


def test_measured_flow_of_barlow_twins_reads_weights_from_embeddings() -> None:
    graph, X, E = setting((2.0, 1.0, 0.4))
    W0 = 0.01 * np.random.default_rng(0).standard_normal((3, 2))
    times = np.linspace(0, 3, 61)
    flow = integrated_flow(graph, 2, times, X=X, W0=W0)
    assert flow.weights is not None
    measured = measured_flow(graph, [X @ W for W in flow.weights], times, X=X)
    assert measured.kind == "measured"
    sizes = [np.abs(np.diag(np.linalg.qr(W.T @ E[:, :2])[1])) for W in flow.weights]
    assert relative(measured.singular_values, sizes) < 1e-9
    assert relative(measured.loss, flow.loss, scale=1.0) < 1e-9
    # log(y / (b/q - y)) is a straight line along a sigmoid, nearly so along these
    assert measured.step_times == pytest.approx(flow.step_times, rel=1e-3)
    assert measured_flow(graph, [X @ W for W in flow.weights[:3]], times[:3], X=X).step_times.tolist() == [np.inf] * 2


# --- refusals of other losses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (ss.BarlowTwins(), "own norms"),
        (ss.VICReg(form="hinge"), "hinge"),
        (ss.VICReg(form="constrained"), "span"),
        (ss.VICReg(covariance=0.5), "set them equal"),
        (ss.InfoNCE(), "logarithm"),
    ],
)
def test_a_loss_without_directions_of_its_own_is_refused_with_the_reason(method: object, why: str) -> None:
    problem = whitened("vicreg")
    for flow in (predicted_flow, integrated_flow):
        with pytest.raises(ss.NotClosedForm, match=why):
            flow(problem.graph, 2, [0.0, 1.0], method=method, X=problem.X)
    with pytest.raises(ss.NotClosedForm, match=why):
        measured_flow(problem.graph, np.zeros((1, 12, 2)), [0.0], method=method)


def test_what_the_flows_of_other_losses_cannot_use_is_refused() -> None:
    problem = whitened("vicreg")
    spectra, method = ss.Spectra(problem.graph, X=problem.X), problem.case.method
    with pytest.raises(ss.DataError, match="pass the Spectra"):
        predicted_flow(spectra.of("laplacian", 2), 2, [0.0], method=method, W0=np.ones((4, 2)))
    with pytest.raises(ss.DataError, match='"degree", n_components'):
        predicted_flow(spectra.of("laplacian", 2), 2, [0.0], method=ss.SpectralContrastive())
    with pytest.raises(ss.DataError, match="method must be"):
        predicted_flow(spectra, 2, [0.0], method="vicreg")  # type: ignore[arg-type]
    with pytest.raises(ss.DataError, match="ridge"):
        predicted_flow(ss.Spectra(problem.graph, X=problem.X, ridge=0.1), 2, [0.0], method=method)
    with pytest.raises(ss.DataError, match="followed in its weights"):
        integrated_flow(spectra, 2, [0.0], precondition=True)
    with pytest.raises(ss.DataError, match="snapshots"):
        measured_flow(spectra, np.zeros((2, 12, 2)), [0.0], method=method)
    with pytest.raises(ss.ResourceError, match="aligned start"):
        predicted_flow(spectra, 2, [0.0, 1e9], method=method, W0=np.random.default_rng(0).standard_normal((4, 2)))
    # an aligned one has no such end
    assert predicted_flow(spectra, 2, [0.0, 1e9], method=method).singular_values[-1, 0] > 0


def test_a_start_at_zero_stays_there() -> None:
    graph, X, _ = setting((0.7, 0.4, 0.2))
    for flow in (predicted_flow, integrated_flow):
        found = flow(ss.Spectra(graph, X=X), 2, [0.0, 3.0], W0=np.zeros((3, 2)))
        assert not found.singular_values.any()
        assert found.loss.tolist() == [2.0, 2.0]
