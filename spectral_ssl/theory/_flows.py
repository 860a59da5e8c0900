"""Losses whose gradient flow decouples, as quartic forms: their rates, their products, and one flow in closed form.

Every loss here is, in the parameters W of a map Z = XW (or in Z itself),

    L(W) = L(0) + alpha |W'FW|_F^2 - 2 tr W'PW,     -grad L = 4 (P W - alpha F W (W'FW))

with F = B / n for the second matrix B of the method's own pencil and P with the same eigenvectors in that pencil:

    ===========================  =====================  =====================================  =======  ========
    method                       F                      P                                      alpha    L(0)
    ===========================  =====================  =====================================  =======  ========
    unnormalised Barlow Twins    X'AX / s               the same                               1        K
    squared VICReg, beta=alpha   Cov                    alpha F - gamma X'LX / N (degree: s)   alpha    alpha K
    spectral contrastive         X'DX / s               X'AX / s                               1        0
    SSL-EY                       X'DX / s, centred      X'AX / s, centred                      1        0
    Frobenius SimCLR             X'X                    X'AX                                   1        |A|_F^2
    ===========================  =====================  =====================================  =======  ========

In coordinates W = T V with T'BT = u^2 I (those of preconditioned training), F is kappa I, kappa = u^2 / n, P is
symmetric with eigenvalues b_k = kappa beta_k, beta_k = alpha - gamma m_k, or the eigenvalue of the pencil; q = alpha
kappa^2. A ridge is left out: it changes the coordinates of training too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.methods import SSLEY, BarlowTwins, FrobeniusSimCLR, InfoNCE, Method, SpectralContrastive, VICReg
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import Pencil, Spectra, Spectrum
from spectral_ssl.theory._bernoulli import Rates

__all__ = ["Landscape", "check_decouples", "coordinates", "landscape", "of_scores", "outside", "rates", "unit"]

Product = Callable[[Array], Array]

POWERS = 30  # of P: its largest rate to a few per cent, which is all that a limit on steps needs


def check_decouples(method: Any) -> None:
    """Raise NotClosedForm, with the reason, for a method whose flow has no directions of its own."""
    why = ""
    if isinstance(method, VICReg):
        if method.form == "hinge":
            why = "the hinge acts on the diagonal of Cov, which depends on how directions are mixed, and stops at 1"
        elif method.form == "constrained":
            why = "under Cov = I no direction grows: the loss sees the span of Z alone"
        elif method.covariance != method.variance:
            why = (
                f"covariance={method.covariance:g} and variance={method.variance:g} weigh the diagonal of Cov unlike "
                "the rest, so that its gradient mixes directions; set them equal"
            )
    elif isinstance(method, BarlowTwins):
        if method.normalized:
            why = "columns are divided by their own norms, which mixes directions; use BarlowTwins(normalized=False)"
    elif isinstance(method, InfoNCE):
        why = "its logarithm acts on single similarities, not on eigenvalues"
    elif not isinstance(method, SpectralContrastive | SSLEY | FrobeniusSimCLR):
        raise DataError(
            "method must be BarlowTwins(normalized=False), VICReg(), SpectralContrastive(), SSLEY() or "
            f"FrobeniusSimCLR(), got {method!r}"
        )
    if why:
        raise NotClosedForm(f"the gradient flow of {method!r} does not decouple: {why}; integrate it by ss.train")


# --- rates ------------------------------------------------------------------------------------------------------------


def unit(spectrum: Spectrum) -> float:
    """u of T'BT = u^2 I in the coordinates of training, such that Z = vectors (u c) for c (R, K) along eigenvectors."""
    N, s, free = spectrum.n_samples, spectrum.total_weight, spectrum.model == "free"
    if spectrum.pencil == "cross_moment":
        return 1.0
    if spectrum.pencil == "adjacency":
        return math.sqrt(s / N)
    if spectrum.pencil == "laplacian":
        return 1.0 if free else math.sqrt(N)
    return math.sqrt(s / N if free else s)


def rates(method: Method, spectrum: Spectrum, K: int) -> Rates:
    """b and q of a resolved method, from the values of its pencil."""
    mu, s = spectrum.values, spectrum.total_weight
    if isinstance(method, BarlowTwins):
        return Rates(mu / s, (mu / s) ** 2, float(K))
    alpha, beta, n, constant = 1.0, mu, s, 0.0
    if isinstance(method, VICReg):
        alpha = method.variance
        beta = alpha - _gamma(method) * method.critical_values(spectrum)
        n, constant = _divisor(method, spectrum.n_samples, s), alpha * K
    elif isinstance(method, FrobeniusSimCLR):
        n, constant = 1.0, spectrum.adjacency_norm2
    kappa = unit(spectrum) ** 2 / n
    return Rates(kappa * beta, np.full(mu.size, alpha * kappa**2), constant)


def _gamma(method: VICReg) -> float:
    assert method.invariance is not None  # resolved
    return method.invariance


def _divisor(method: VICReg, N: int, s: float) -> float:
    if method.weighting == "degree":
        return s
    if N - method.ddof < 1:
        raise DataError(f"a covariance with ddof={method.ddof} needs more than {N} samples")
    return float(N - method.ddof)


# --- coordinates ------------------------------------------------------------------------------------------------------


def mass(spectra: Spectra, pencil: Pencil, *, isolated: float = 0.0) -> Array:
    """Weights (N, 1) of samples in the second matrix of a pencil; isolated: in place of a degree of zero."""
    assert spectra.graph is not None
    if not pencil.startswith("degree"):
        return np.ones((spectra.graph.n_samples, 1))
    deg = spectra.graph.degree[:, None]
    return np.asarray(np.where(deg > 0, deg, isolated))


def of_scores(spectra: Spectra, spectrum: Spectrum, Z: Array) -> Array:
    """c (R, K) along the eigenvectors held, of Z (N, K), in a pencil with a second matrix; no centring is needed."""
    c: Array = spectrum.vectors.T @ (mass(spectra, spectrum.pencil) * Z) / unit(spectrum)
    return c


def coordinates(spectra: Spectra, spectrum: Spectrum, W: Array) -> Array:
    """c (R, K) along the eigenvectors held, of W (D, K), or of Z (N, K) over all embeddings."""
    if spectrum.pencil == "cross_moment":
        E = spectrum.vectors if spectrum.weights is None else spectrum.weights
        return np.asarray(E.T @ W)
    if spectrum.weights is None:
        return of_scores(spectra, spectrum, W)
    if spectra.X is not None and spectra.graph is not None:
        return of_scores(spectra, spectrum, spectra.X @ W)
    return np.asarray(spectrum.weights.T @ _second(spectra.moments, spectrum.pencil) @ W) / unit(spectrum)


def outside(spectra: Spectra, spectrum: Spectrum, W: Array, c: Array) -> float:
    """The largest part of a start outside the eigenvectors whose coordinates are c (k, K), in the units of c."""
    k = c.shape[0]
    if spectrum.pencil == "cross_moment":
        E = spectrum.vectors if spectrum.weights is None else spectrum.weights
        return float(np.abs(W - E[:, :k] @ c).max())
    if spectrum.weights is not None:  # every direction that the loss sees is held
        rest = coordinates(spectra, spectrum, W)[k:]
        return float(np.abs(rest).max(initial=0.0))
    m, u = mass(spectra, spectrum.pencil), unit(spectrum)
    mean = 0.0 if spectrum.pencil in ("adjacency", "degree") else (m * W).sum(axis=0) / m.sum()
    rest = np.sqrt(m) * (W - mean - spectrum.vectors[:, :k] @ (u * c))
    return float(np.abs(rest).max()) / u


# --- the loss as it is defined ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Landscape:
    """L of the module as a function of the coordinates V (r, K) that flow, F and P being products there.

    T: W = T V for a matrix (D, r), W = T * V for a row scale (N, 1), W = V for None.
    """

    F: Product
    P: Product
    alpha: float
    constant: float
    T: Array | None = None
    scales_rows: bool = False

    def weights(self, V: Array) -> Array:
        if self.T is None:
            return V
        return np.asarray(self.T * V if self.scales_rows else self.T @ V)

    def slope(self, V: Array) -> Array:
        """-dL/dV = 4 (P V - alpha F V (V'FV))."""
        FV = self.F(V)
        change: Array = 4 * (self.P(V) - self.alpha * FV @ (V.T @ FV))
        return change

    def loss(self, V: Array) -> float:
        M = V.T @ self.F(V)
        return float(self.constant + self.alpha * (M**2).sum() - 2 * (V * self.P(V)).sum())

    def speed(self, rows: int) -> float:
        """About the largest |rate| of the linear part P (rows, rows), by power iteration."""
        v, size = np.random.default_rng(0).standard_normal((rows, 1)), 0.0
        for _ in range(POWERS):
            v = self.P(v / max(float(np.linalg.norm(v)), 1e-300))
            size = float(np.linalg.norm(v))
        return size


def landscape(method: Method, spectra: Spectra, spectrum: Spectrum, K: int, *, precondition: bool) -> Landscape:
    """A resolved method's loss, from moments (linear, kernel) or from products with the graph (free).

    precondition: in the coordinates in which u^2 I is the second matrix of the pencil, else in W or Z themselves.
    """
    constant = rates(method, spectrum, K).constant
    alpha = method.variance if isinstance(method, VICReg) else 1.0
    u = unit(spectrum)
    if spectra.model == "free":
        F, P = _graph_products(method, spectra)
        if not precondition:
            return Landscape(F, P, alpha, constant)
        T = u / np.sqrt(mass(spectra, spectrum.pencil, isolated=np.inf))
        return Landscape(lambda V: T * F(T * V), lambda V: T * P(T * V), alpha, constant, T, scales_rows=True)
    m, map_ = spectra.moments, None
    assert m is not None
    if precondition:
        assert spectrum.weights is not None
        map_ = spectrum.weights * u
        if spectra.X is not None and spectra.graph is not None:
            m = Moments.from_arrays(spectrum.vectors * u, spectra.graph)  # accurate where products X'X are not
        else:
            m = m.map(map_)
    F_, P_ = _moment_matrices(method, m, spectra.ridge)
    return Landscape(lambda V: F_ @ V, lambda V: P_ @ V, alpha, constant, map_)


def _second(m: Moments | None, pencil: Pencil) -> Any:
    assert m is not None
    return {
        "laplacian": m.scatter,
        "adjacency": m.gram,
        "degree": m.degree_gram,
        "degree_centred": m.degree_scatter,
    }[pencil]


def _moment_matrices(method: Method, m: Moments, ridge: float) -> tuple[Array, Array]:
    """F and P."""
    s, N = m.total_weight, m.n_samples
    if isinstance(method, BarlowTwins):
        gamma = (m.adjacency - ridge * np.eye(m.n_features)) / s
        return gamma, gamma
    if isinstance(method, VICReg):
        F = _second(m, method.pencil) / _divisor(method, N, s)
        return F, method.variance * F - _gamma(method) * m.laplacian / (N if method.weighting == "none" else s)
    if isinstance(method, FrobeniusSimCLR):
        return m.gram, m.adjacency
    if isinstance(method, SSLEY):
        return m.degree_scatter / s, m.adjacency_centred / s
    return m.degree_gram / s, m.adjacency / s


def _graph_products(method: Method, spectra: Spectra) -> tuple[Product, Product]:
    """F and P over Z (N, K)."""
    graph = spectra.graph
    assert graph is not None
    s, N, deg = graph.total_weight, graph.n_samples, graph.degree[:, None]

    def scatter(Z: Array) -> Array:  # D Hd Z
        return np.asarray(deg * (Z - (deg * Z).sum(axis=0) / s))

    if isinstance(method, BarlowTwins):
        return (lambda Z: graph.matmul(Z) / s), (lambda Z: graph.matmul(Z) / s)
    if isinstance(method, VICReg):
        n, alpha, gamma = _divisor(method, N, s), method.variance, _gamma(method)
        each = N if method.weighting == "none" else s

        def cov(Z: Array) -> Array:
            return np.asarray((Z - Z.mean(axis=0) if method.weighting == "none" else scatter(Z)) / n)

        return cov, lambda Z: alpha * cov(Z) - gamma * graph.laplacian_matmul(Z) / each
    if isinstance(method, FrobeniusSimCLR):
        return (lambda Z: Z), graph.matmul
    if isinstance(method, SSLEY):  # Hd'A Hd Z = D Hd Z - L Z
        return (lambda Z: scatter(Z) / s), (lambda Z: (scatter(Z) - graph.laplacian_matmul(Z)) / s)
    return (lambda Z: deg * Z / s), (lambda Z: graph.matmul(Z) / s)
