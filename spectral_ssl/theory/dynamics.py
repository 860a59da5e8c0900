"""Stepwise learning: how a gradient flow finds its directions one after the other, predicted and integrated.

Unnormalised Barlow Twins (Simon et al. 2023, arXiv 2303.15438), L(W) = |W'Gamma W - I|_F^2 with Gamma = X'AX / s =
E diag(g) E', g descending, under gradient flow:

    dW/dt = -grad L = -4 Gamma W (W'Gamma W - I),   W (D, K)

**Aligned starts**, W(0) = E_K diag(s0) Q with Q in O(K), stay aligned and their directions decouple. exact:

    s' = 4 g s (1 - g s^2),   s(t) = e^{4 g t} / sqrt(s0^-2 + (e^{8 g t} - 1) g),   L(t) = sum_j (1 - g_j s_j(t)^2)^2

A positive g makes a sigmoid from s0 to 1 / sqrt g, half way (g s^2 = 1/2) at log(1 / (s0^2 g) - 1) / (8 g), which is
-log(s0^2 g) / (8 g) for small s0: steps in the order of g. A negative g decays to zero, g = 0 stays, and their terms of
the loss never fall below 1.

**Small starts**, W(0) of any other kind and size s0 -> 0, follow the same curves, in the order of g and each from

    s0_j = |R_jj|,   W(0)'E = QR:

a direction that has made its step keeps the column space that it came from, and the later ones grow in what is left of
it. asymptotic: the error falls like a power of s0, at a fixed ratio of neighbouring g; exact again for aligned starts,
where R = diag(s0). The same |R_jj| of W(t) are what `integrated_flow` measures.

Squares y = s^2 obey the Bernoulli equation y' = 8 y (b - q y), here b = g, q = g^2. Other losses whose directions
decouple differ in b and q only: squared VICReg and the spectral contrastive loss in whitened coordinates are of this
form too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.integrate

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, NumericalError, ResourceError
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Spectra, Spectrum

__all__ = ["Flow", "integrated_flow", "predicted_flow"]

FlowKind = Literal["exact", "asymptotic", "integrated"]

ALIGNED_TOL = 1e-12  # off the diagonal of R, relative: rounding of an aligned start
RTOL = 1e-11  # per step of the integrator
STEPS_MAX = 200_000  # of an explicit integrator, about 3 g_1 t of them; minutes
SOURCE = "Simon et al. 2023, gradient flow of unnormalised Barlow Twins"


@dataclass(frozen=True, eq=False)
class Flow:
    """The course of a gradient flow.

    times (T,); singular_values (T, K): s_j(t), in the order of g; loss (T,); step_times (K,): when g_j s_j^2 passes
    1/2, 0 where it begins above, inf where it never does; kind: "exact", "asymptotic" (as the start tends to zero) or
    "integrated"; weights (T, D, K) where integrated ((T, N, K) in the free model), else None.
    """

    times: Array
    singular_values: Array
    loss: Array
    step_times: Array
    kind: FlowKind
    source: str
    weights: Array | None = None

    def __post_init__(self) -> None:
        for array in (self.times, self.singular_values, self.loss, self.step_times, self.weights):
            if array is not None:
                array.setflags(write=False)


def predicted_flow(
    spectrum: Spectrum, n_components: int, times: Any, init_scale: float = 1e-3, *, W0: Any = None
) -> Flow:
    """The flow of unnormalised Barlow Twins, in closed form.

    spectrum: of the "cross_moment" pencil, `Spectra(graph, X=X).of("cross_moment", K)`. times (T,): ascending, from 0
    on, in units in which the flow is dW/dt = -grad L (gradient descent: learning rate times steps). init_scale: s0 of
    all directions of an aligned start; W0 (D, K): any start instead, such as that of `train(..., precondition=False)`,
    `init_scale * np.random.default_rng(seed).standard_normal((D, K))`.

    Raises DataError for another pencil, for n_components out of range, and for times or starts that are not numbers.
    """
    g, E = _eigenpairs(spectrum, n_components)
    t = _times(times)
    s0, aligned = _start(E, n_components, init_scale, W0)
    s = np.sqrt(_bernoulli(s0**2, g, g**2, t))
    half = np.full(n_components, np.inf)
    up = g > 0
    with np.errstate(divide="ignore"):
        ratio = 1 / (s0[up] ** 2 * g[up]) - 1
        half[up] = np.log(np.maximum(ratio, 1.0)) / (8 * g[up])
    return Flow(t, s, ((1 - g * s**2) ** 2).sum(axis=1), half, "exact" if aligned else "asymptotic", SOURCE)


def integrated_flow(
    relation: Graph | Spectra, n_components: int, times: Any, init_scale: float = 1e-3, *, X: Any = None, W0: Any = None
) -> Flow:
    """The same flow, integrated numerically from the definition dW/dt = -grad L; arguments as for `predicted_flow`.

    relation: a graph (with X (N, D), or over all embeddings), or `Spectra`.

    Raises DataError as `predicted_flow`, ResourceError for times past what an explicit integrator can do, and
    NumericalError where it fails.
    """
    spectra = as_spectra(relation, X)
    K, t = n_components, _times(times)
    spectrum = spectra.of("cross_moment", K)
    g, E = _eigenpairs(spectrum, K)
    _start(E, K, init_scale, W0)  # checked
    start = init_scale * E[:, :K] if W0 is None else np.array(W0, dtype=np.float64)
    Gamma = _gamma(spectra)

    def slope(_: float, w: Array) -> Array:
        W = w.reshape(start.shape)
        GW = Gamma @ W
        change: Array = -4 * GW @ (W.T @ GW - np.eye(K))
        return change.ravel()

    def past_half(k: int) -> Any:
        def event(_: float, w: Array) -> float:
            return float(g[k] * _along(E, w.reshape(start.shape))[k] ** 2 - 0.5)

        event.direction = 1.0  # type: ignore[attr-defined]  # scipy's way to be told: upwards only
        return event

    steps = 3 * float(np.abs(spectrum.values).max()) / spectrum.total_weight * t[-1]
    if steps > STEPS_MAX:
        raise ResourceError(
            f"times up to {t[-1]:.3g} are about {steps:.1e} steps of the fastest direction, more than {STEPS_MAX:,}; "
            "ask for shorter times, or use predicted_flow"
        )
    found = scipy.integrate.solve_ivp(
        slope,
        (0.0, max(float(t[-1]), 1e-300)),
        start.ravel(),
        method="DOP853",
        t_eval=t,
        events=[past_half(k) for k in range(K)],
        rtol=RTOL,
        atol=RTOL * float(np.abs(start).max()),
    )
    if not found.success or not np.all(np.isfinite(found.y)):
        raise NumericalError(f"the gradient flow could not be integrated: {found.message}; ask for shorter times")
    path = found.y.T.reshape(t.size, *start.shape)
    first = g * _along(E, start) ** 2
    half = [0.0 if first[k] >= 0.5 else float(at[0]) if at.size else math.inf for k, at in enumerate(found.t_events)]
    return Flow(
        t,
        np.array([_along(E, W) for W in path]),
        np.array([float(((W.T @ (Gamma @ W) - np.eye(K)) ** 2).sum()) for W in path]),
        np.array(half),
        "integrated",
        SOURCE,
        path,
    )


def _bernoulli(y0: Array, b: Array, q: Array, t: Array) -> Array:
    """y (T, K) of y' = 8 y (b - q y), y(0) = y0, for any sign of b and any t >= 0: no exponential grows."""
    rate = 8 * np.abs(b)
    fading = np.exp(-np.outer(t, rate))
    # (1 - e^{-8 |b| t}) / |b|, 8 t at b = 0
    spent = np.divide(-np.expm1(-np.outer(t, rate)), np.abs(b), out=np.outer(8 * t, np.ones_like(b)), where=b != 0)
    y: Array = np.where(b >= 0, y0 / np.where(b >= 0, fading + q * y0 * spent, 1.0), y0 * fading / (1 + q * y0 * spent))
    return y


def _along(E: Array, W: Array) -> Array:
    """s (K,): |R_jj| of W'E_K = QR."""
    K = W.shape[1]
    s: Array = np.abs(np.diag(np.linalg.qr(W.T @ E[:, :K], mode="r")))
    return s


def _start(E: Array, K: int, init_scale: float, W0: Any) -> tuple[Array, bool]:
    """s0 (K,), and whether the start is aligned with the top K eigenvectors."""
    if W0 is None:
        if not (np.isfinite(init_scale) and init_scale > 0):
            raise DataError(f"init_scale must be a positive number, got {init_scale}")
        return np.full(K, float(init_scale)), True
    W = np.asarray(W0, dtype=np.float64)
    if W.shape != (E.shape[0], K) or not np.all(np.isfinite(W)):
        raise DataError(f"W0 must be finite numbers of shape {(E.shape[0], K)}, got shape {W.shape}")
    R = np.linalg.qr(W.T @ E[:, :K], mode="r")
    off = max(float(np.abs(np.triu(R, 1)).max()), float(np.abs(W - E[:, :K] @ (E[:, :K].T @ W)).max()))
    return np.abs(np.diag(R)), off <= ALIGNED_TOL * float(np.abs(W).max())


def _eigenpairs(spectrum: Spectrum, K: int) -> tuple[Array, Array]:
    """g (K,) and E (D, R), the eigenpairs of Gamma."""
    if spectrum.pencil != "cross_moment":
        raise DataError(
            f"the flow of unnormalised Barlow Twins is read from the cross_moment pencil, got {spectrum.pencil!r}; "
            'pass spectra.of("cross_moment", n_components)'
        )
    E = spectrum.vectors if spectrum.weights is None else spectrum.weights
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or not 1 <= K <= spectrum.values.size:
        raise DataError(f"n_components must be an integer from 1 to {spectrum.values.size}, got {K!r}")
    return spectrum.values[:K] / spectrum.total_weight, E


def _times(times: Any) -> Array:
    t = np.atleast_1d(np.array(times, dtype=np.float64))
    if t.ndim != 1 or t.size == 0 or not np.all(np.isfinite(t)) or t[0] < 0 or np.any(np.diff(t) <= 0):
        raise DataError("times must be one row of finite numbers, strictly ascending, from 0 on")
    return t


def _gamma(spectra: Spectra) -> Any:
    """X'AX / s (D, D), or A / s over all embeddings."""
    m = spectra.moments
    if m is not None:
        return (m.adjacency - spectra.ridge * np.eye(m.n_features)) / m.total_weight
    assert spectra.graph is not None  # a Spectra has a graph, or moments
    return spectra.graph.to_csr() / spectra.graph.total_weight
