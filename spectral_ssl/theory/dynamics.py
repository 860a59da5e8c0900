"""Stepwise learning: how a gradient flow finds its directions one after the other, predicted, integrated and measured.

**Unnormalised Barlow Twins** (Simon et al. 2023, arXiv 2303.15438), L(W) = |W'Gamma W - I|_F^2 with Gamma = X'AX / s =
E diag(g) E', g descending, under gradient flow of the weights:

    dW/dt = -grad L = -4 Gamma W (W'Gamma W - I),   W (D, K)

Aligned starts, W(0) = E_K diag(s0) Q with Q in O(K), stay aligned and their directions decouple. exact:

    s' = 4 g s (1 - g s^2),   s(t) = e^{4 g t} / sqrt(s0^-2 + (e^{8 g t} - 1) g),   L(t) = sum_j (1 - g_j s_j(t)^2)^2

A positive g makes a sigmoid from s0 to 1 / sqrt g, half way (g s^2 = 1/2) at log(1 / (s0^2 g) - 1) / (8 g), which is
-log(s0^2 g) / (8 g) for small s0: steps in the order of g. A negative g decays to zero, g = 0 stays, and their terms of
the loss never fall below 1.

**Other losses** (derived here). Squares y = s^2 obey the Bernoulli equation y' = 8 y (b - q y), above b = g, q = g^2,
and L = L(0) + sum_j (q_j y_j^2 - 2 b_j y_j). So they do for every loss that is quadratic in one Gram matrix V'V and
linear in another, in coordinates W = T V where the first one's matrix is the identity, T'BT = u^2 I: for

    VICReg, squared, beta = alpha      b = kappa (alpha - gamma m),  q = kappa^2 alpha,   kappa = u^2 / (N - ddof)
    the same, weighting="degree"       b = kappa (alpha - gamma m),  q = kappa^2 alpha,   kappa = u^2 / s
    spectral contrastive, SSL-EY       b = kappa rho,                q = kappa^2,         kappa = u^2 / s
    Frobenius SimCLR                   b = kappa g,                  q = kappa^2,         kappa = u^2

since for aligned V = E diag(s) Q the loss of VICReg, say, is sum_j [alpha (1 - kappa y_j)^2 + 2 gamma kappa m_j y_j],
of slope -2 (b - q y) in y, and y' = -4 y dL/dy. m: critical values of VICReg (`critical_values`); rho, g: eigenvalues
of the pencil. Directions with b <= 0 fade; the others end at y = b / q, that of the optimum, and are half way there at
log(b / (q y0) - 1) / (8 b).

**In which coordinates.** These flows are gradient flows of V, that is of *preconditioned* training, and of plain
training on data whitened beforehand. u is that of `train(precondition=True)`: u^2 = N (VICReg), s (weighted by degree),
s / N (Frobenius) for linear maps; over all embeddings 1, s / N, s / N, where Z = T * V. So its learning rate times its
steps is t. In the raw weights, dW/dt = -grad L, the equation of V has (T'T)^-1 before its slope: directions decouple
only where that commutes with the rest (B and X'LX sharing eigenvectors), and in general not. `integrated_flow(...,
precondition=False)` shows it. Unnormalised Barlow Twins is followed in W itself, as published.

**Starts that are not aligned.** Where q is common to all directions (all but Barlow Twins) V has a closed form from
*any* start, a matrix Riccati equation (`_bernoulli.riccati_step`), used wherever the whole spectrum of the pencil is
held (linear and kernel models, small free ones). exact. So VICReg and the contrastive losses select the top K from
almost every start, large or small (all but those that are dependent along the top K); with Barlow Twins, which has a
continuum of minima, that is an implicit bias of small starts (B10).

Small starts of any kind, of size s0 -> 0, follow the sigmoids in the order of b, each from

    s0_j = |R_jj|,   V(0)'E = QR:

a direction that has made its step keeps the column space that it came from, and the later ones grow in what is left of
it. asymptotic: the error falls like a power of s0, where q is common like s0^(2 (1 - r)), r the largest ratio b_{j+1} /
b_j for j <= K (while direction j makes its step, at s0^2 e^{8 b_j t} = 1, the next has grown to a square of s0^(2 (1 -
b_{j+1} / b_j)); tests measure it); exact again for aligned starts, where R = diag(s0). The same |R_jj| of V(t) are what
every flow here tells as `singular_values`.

Gradient descent of `train` measured, and put beside the prediction:

    snapshots, steps = [], []
    def watch(step):
        snapshots.append(step.embed()), steps.append(step.evaluations - 1)
    ss.train(method, spectra, K, optimizer="gd", learning_rate=rate, max_iter=n, init_scale=1e-3, callbacks=[watch])
    found = measured_flow(spectra, snapshots, rate * np.array(steps), method=method)

with precondition=False for unnormalised Barlow Twins; Euler's method, so they differ by O(rate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.integrate

from spectral_ssl.data._checks import check_real
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, NumericalError, ResourceError
from spectral_ssl.graph import Graph
from spectral_ssl.methods import BarlowTwins, Method
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Spectra, Spectrum
from spectral_ssl.theory._bernoulli import STEPS_MAX, Curves, Rates, along, crossing, riccati, sigmoids
from spectral_ssl.theory._flows import check_decouples, coordinates, landscape, of_scores, outside, rates, unit
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["Flow", "integrated_flow", "measured_flow", "predicted_flow"]

FlowKind = Literal["exact", "asymptotic", "integrated", "measured"]

ALIGNED_TOL = 1e-12  # off the diagonal of R, relative: rounding of an aligned start
RTOL = 1e-11  # per step of the integrator
LARGEST = 1e50  # entry of a start: its fourth power, in the loss, is a number still
SOURCE = "Simon et al. 2023, gradient flow of unnormalised Barlow Twins"
DERIVED = "Bernoulli and Riccati equations of whitened coordinates, derived here after Simon et al. 2023"
BARLOW = BarlowTwins(normalized=False)


@dataclass(frozen=True, eq=False)
class Flow:
    """The course of a gradient flow.

    times (T,); singular_values (T, K): s_j(t), in the order of b; loss (T,); step_times (K,): when y = s_j^2 passes
    half of b / q where it ends, 0 where it begins above, inf where it never does (measured, integrated or from an
    unaligned start: not within what was followed); limits (K,): sqrt(b / q), 0 where b <= 0; kind: "exact",
    "asymptotic" (as the start tends to zero), "integrated" or "measured"; weights (T, D, K) W where integrated
    ((T, N, K) Z in the free model), else None.
    """

    times: Array
    singular_values: Array
    loss: Array
    step_times: Array
    limits: Array
    kind: FlowKind
    source: str
    weights: Array | None = None

    def __post_init__(self) -> None:
        for array in (self.times, self.singular_values, self.loss, self.step_times, self.limits, self.weights):
            if array is not None:
                array.setflags(write=False)


def predicted_flow(
    relation: Spectrum | Spectra | Graph,
    n_components: int,
    times: Any,
    init_scale: float = 1e-3,
    *,
    method: Method = BARLOW,
    X: Any = None,
    W0: Any = None,
) -> Flow:
    """The flow of a loss whose directions decouple, in closed form.

    relation: a graph (with X (N, D), or over all embeddings), `Spectra`, or the spectrum of the method's own pencil,
    `spectra.of(method.pencil, K)`. times (T,): ascending, from 0 on, in units in which the flow is dV/dt = -grad L
    (gradient descent: learning rate times steps), in the coordinates of the module. method: see the module. init_scale:
    s0 of all directions of an aligned start; W0 (D, K), or Z (N, K) over all embeddings: any start instead. That of
    `train(..., precondition=False)` is `init_scale * np.random.default_rng(seed).standard_normal((D, K))`.

    Raises NotClosedForm for a method whose directions do not decouple; DataError for another pencil, for a ridge in
    whitened coordinates, for n_components out of range, and for times or starts that are not numbers; ResourceError for
    times too long for steps of the Riccati equation.
    """
    check_decouples(method)
    spectra = None if isinstance(relation, Spectrum) else as_spectra(relation, X)
    if isinstance(relation, Spectrum) and X is not None:
        raise DataError("a Spectrum already fixes the model; leave X out, or pass the graph")
    spectrum = relation if isinstance(relation, Spectrum) else _spectrum(as_spectra(relation, X), method, n_components)
    method, r = _set_up(method, spectrum, n_components)
    K, t = n_components, _times(times)
    if W0 is None:
        _check_scale(init_scale)
        return _told(sigmoids(r, t, np.full(K, float(init_scale))), r, t, "exact", method)
    if spectra is None and spectrum.pencil != "cross_moment":
        raise DataError("a start W0 is read in the coordinates of the relation: pass the Spectra, not a Spectrum")
    W = _checked(W0, spectrum, spectra, K)
    if spectra is None:
        E = spectrum.vectors if spectrum.weights is None else spectrum.weights
        c, rest = E[:, :K].T @ W, float(np.abs(W - E[:, :K] @ (E[:, :K].T @ W)).max())
    else:
        c = coordinates(spectra, spectrum, W)
        rest = outside(spectra, spectrum, W, c[:K])
    off = max(float(np.abs(np.triu(np.linalg.qr(c[:K].T, mode="r"), 1)).max()), rest)
    aligned = off <= ALIGNED_TOL * float(np.abs(c).max())
    if not aligned and r.common and spectrum.complete:
        return _told(riccati(r, t, c), r, t, "exact", method)
    return _told(sigmoids(r, t, along(c[:K])), r, t, "exact" if aligned else "asymptotic", method)


def integrated_flow(
    relation: Graph | Spectra,
    n_components: int,
    times: Any,
    init_scale: float = 1e-3,
    *,
    method: Method = BARLOW,
    X: Any = None,
    W0: Any = None,
    precondition: bool | None = None,
) -> Flow:
    """The same flow, integrated numerically from its definition, -grad L; arguments as for `predicted_flow`.

    relation: a graph (with X (N, D), or over all embeddings), or `Spectra`. precondition: True follows the whitened
    coordinates, False the raw weights W (or Z); None takes those of the prediction.

    Raises what `predicted_flow` does, DataError for precondition=True with Barlow Twins, ResourceError for times past
    what an explicit integrator can do, and NumericalError where it fails.
    """
    check_decouples(method)
    spectra = as_spectra(relation, X)
    K, t = n_components, _times(times)
    spectrum = _spectrum(spectra, method, K)
    method, r = _set_up(method, spectrum, K)
    raw = spectrum.pencil == "cross_moment"
    if raw and precondition:
        raise DataError("unnormalised Barlow Twins is followed in its weights: leave precondition out, or False")
    whitened = not raw if precondition is None else precondition
    L = landscape(method, spectra, spectrum, K, precondition=whitened)
    if W0 is None:
        _check_scale(init_scale)
        E = spectrum.vectors if spectrum.weights is None else spectrum.weights
        W = init_scale * unit(spectrum) * E[:, :K]
    else:
        W = _checked(W0, spectrum, spectra, K)
    c0 = coordinates(spectra, spectrum, W)
    start = W
    if whitened:
        # columns of T that are zero belong to samples that the loss does not see
        start = np.divide(W, L.T, out=np.zeros_like(W), where=L.T != 0) if L.scales_rows and L.T is not None else c0

    def sizes(V: Array) -> Array:
        c = V if whitened and not L.scales_rows else coordinates(spectra, spectrum, L.weights(V))
        return along(c[:K])

    def past_half(k: int) -> Any:
        def event(_: float, v: Array) -> float:
            b, q = r.b[k], r.q[k]
            return float(q / b * sizes(v.reshape(start.shape))[k] ** 2 - 0.5) if b > 0 else -1.0

        event.direction = 1.0  # type: ignore[attr-defined]  # scipy's way to be told: upwards only
        return event

    steps = 3 * L.speed(start.shape[0]) * t[-1]
    if steps > STEPS_MAX:
        raise ResourceError(
            f"times up to {t[-1]:.3g} are about {steps:.1e} steps of the fastest direction, more than {STEPS_MAX:,}; "
            "ask for shorter times, or use predicted_flow"
        )
    found = scipy.integrate.solve_ivp(
        lambda _, v: L.slope(v.reshape(start.shape)).ravel(),
        (0.0, max(float(t[-1]), 1e-300)),
        start.ravel(),
        method="DOP853",
        t_eval=t,
        events=[past_half(k) for k in range(K)],
        rtol=RTOL,
        atol=RTOL * max(float(np.abs(start).max()), 1e-300),  # a start at zero stays there
    )
    if not found.success or not np.all(np.isfinite(found.y)):
        raise NumericalError(f"the gradient flow could not be integrated: {found.message}; ask for shorter times")
    path = found.y.T.reshape(t.size, *start.shape)
    first = r.done(along(c0[:K]))
    half = [0.0 if first[k] >= 0.5 else float(at[0]) if at.size else math.inf for k, at in enumerate(found.t_events)]
    curves = Curves(np.array([sizes(V) for V in path]), np.array([L.loss(V) for V in path]), np.array(half))
    return _told(curves, r, t, "integrated", method, np.array([L.weights(V) for V in path]))


def measured_flow(
    relation: Graph | Spectra, snapshots: Any, times: Any, *, method: Method = BARLOW, X: Any = None
) -> Flow:
    """What `predicted_flow` predicts, measured on embeddings Z (T, N, K) at times (T,); see the recipe of the module.

    Between two snapshots a step time is where log(y / (b/q - y)), a straight line along a sigmoid, passes zero.

    Raises DataError for snapshots of another shape, and where only moments of the data are held; else as
    `predicted_flow`.
    """
    check_decouples(method)
    spectra = as_spectra(relation, X)
    if spectra.graph is None or (spectra.model != "free" and spectra.X is None):
        raise DataError("snapshots are compared sample by sample: give the graph, and X in the linear model")
    t, Z = _times(times), as_numbers(snapshots, "snapshots")
    if Z.ndim != 3 or Z.shape[:2] != (t.size, spectra.n_samples) or not np.all(np.isfinite(Z)):
        raise DataError(
            f"snapshots must be finite numbers of shape ({t.size} times, {spectra.n_samples} samples, K), got {Z.shape}"
        )
    K = Z.shape[2]
    spectrum = _spectrum(spectra, method, K)
    method, r = _set_up(method, spectrum, K)
    raw, free = spectrum.pencil == "cross_moment", spectra.model == "free"
    L = landscape(method, spectra, spectrum, K, precondition=not (raw or free))
    if free:
        points = list(Z)
        c = [coordinates(spectra, spectrum, z) for z in Z]
    elif raw:  # of all weights with these scores, the least: the others differ where X'AX is zero
        assert spectra.X is not None
        flat = np.linalg.lstsq(spectra.X, np.hstack(list(Z)), rcond=None)[0]
        points = np.split(flat, t.size, axis=1)
        c = [coordinates(spectra, spectrum, W) for W in points]
    else:
        points = c = [of_scores(spectra, spectrum, z) for z in Z]
    s = np.array([along(each[:K]) for each in c])
    done = np.array([r.done(each) for each in s])
    half = np.array([crossing(t, done[:, k]) for k in range(K)])
    return _told(Curves(s, np.array([L.loss(V) for V in points]), half), r, t, "measured", method)


def _told(curves: Curves, r: Rates, t: Array, kind: FlowKind, method: Method, weights: Array | None = None) -> Flow:
    source = SOURCE if isinstance(method, BarlowTwins) else DERIVED
    s = curves.singular_values
    return Flow(t, s, curves.loss, curves.step_times, r.limits(s.shape[1]), kind, source, weights)


# --- checks -----------------------------------------------------------------------------------------------------------


def _spectrum(spectra: Spectra, method: Method, K: int) -> Spectrum:
    _check_components(K, None)
    return spectra.of(method.pencil, K)


def _set_up(method: Method, spectrum: Spectrum, K: int) -> tuple[Method, Rates]:
    """The method with every hyper-parameter resolved, and its rates."""
    if spectrum.pencil != method.pencil:
        raise DataError(
            f"the flow of {type(method).__name__} is read from the {method.pencil} pencil, got {spectrum.pencil!r}; "
            f'pass spectra.of("{method.pencil}", n_components)'
        )
    if spectrum.scale is not None and spectrum.pencil != "cross_moment":
        raise DataError("a ridge changes the coordinates in which directions decouple; leave it out")
    _check_components(K, spectrum.values.size)
    method = method.resolve(spectrum, K)
    return method, rates(method, spectrum, K)


def _check_components(K: Any, limit: int | None) -> None:
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1 or (limit is not None and limit < K):
        upper = "" if limit is None else f" to {limit}"
        raise DataError(f"n_components must be an integer from 1{upper}, got {K!r}")


def _check_scale(init_scale: float) -> None:
    check_real(init_scale, "init_scale", low=0, high=LARGEST, open_low=True)


def _checked(W0: Any, spectrum: Spectrum, spectra: Spectra | None, K: int) -> Array:
    E = spectrum.vectors if spectrum.weights is None else spectrum.weights
    W = as_numbers(W0, "W0").copy()
    if np.all(np.isfinite(W)) and np.abs(W).max(initial=0.0) > LARGEST:
        raise DataError(f"W0 must have entries of at most {LARGEST:g}, whose fourth powers are numbers; scale it down")
    if W.shape != (E.shape[0], K) or not np.all(np.isfinite(W)):
        raise DataError(f"W0 must be finite numbers of shape {(E.shape[0], K)}, got shape {W.shape}")
    return W


def _times(times: Any) -> Array:
    t = np.atleast_1d(as_numbers(times, "times").copy())
    if t.ndim != 1 or t.size == 0 or not np.all(np.isfinite(t)) or t[0] < 0 or np.any(np.diff(t) <= 0):
        raise DataError("times must be one row of finite numbers, strictly ascending, from 0 on")
    return t
