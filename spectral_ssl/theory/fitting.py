"""Which closed form an embedding resembles, whatever model made it.

Every closed form is a filter on a spectrum, Z* = V diag(sqrt h) Q (+ a mean): its similarity is T = sum_k h_k q_k q_k',
over the first K eigenvectors of its pencil. An embedding is known up to its scale, so with S = FF' and the energies of
`energies.py` the relative distance of Z from a filter is, after the best scale,

    residual^2 = min_c |S - c HTH|_F^2 / |S|_F^2 = 1 - (sum_k h_k energy_k)^2 / (h'P h |S|_F^2)
               = 1 - CKA(Z, Z*)^2,                      P_jk = (delta_jk - q_j'q_0 q_k'q_0)^2,  q_0 the constant

CKA being linear centred kernel alignment; derived here: <S, HTH> = tr(HSH T) = sum h_k q_k'Sq_k, and |HTH|^2 =
sum_jk h_j h_k (q_j'Hq_k)^2. P = I where the pencil is centred. Whatever h_k the first K eigenvectors had, the `floor`
would be left, at h = P^-1 energy: 1 - sum_k energy_k^2 / |S|^2 if P = I, which is what couples eigenvectors or is
outside the first K.

A filter has parameters of its own, fitted by least squares (the largest CKA).

*  "line": h_k = max(0, b_k - x d_k) with b_k / d_k descending. Where the first p are alive, h lies in the plane of
   (b, -d) restricted to these, where the angle to the energies has one minimum,

       x = ((e'b)(b'd) - (e'd)(b'b)) / ((e'b)(d'd) - (e'd)(b'd)),      e = energy_1 .. energy_p,

   or the nearer end of [b_{p+1} / d_{p+1}, b_p / d_p]: K cases, and the best is the global one. exact.
   Squared VICReg: b = 1, d = m_k, x = gamma / alpha for alpha <= beta. For alpha > beta, and for the hinge, c_k is
   affine in m_k as well, so that the same line serves: what a spectrum tells is the slope, and x the ratio of an
   equivalent VICReg with alpha = beta. Barlow Twins with unit columns: h = c_k / rho_k, c_k = 1 - nu / rho_k: b =
   1 / rho, d = 1 / rho^2, x = nu; for other weights lambda of the redundancy c_k is affine in 1 / rho_k too.
*  "flat": h = 1 on the first r (Laplacian Eigenmaps), every r tried. exact.
*  "fixed": h has no parameter.
*  "flow": unnormalised Barlow Twins after time t of gradient flow from s0 on every direction,
   h = 1 / (e^(-8gt) + s0^2 (1 - e^(-8gt)) g): a grid and then a descent, in the two of them.

Filters contain each other: the flow tends to 1 / g, VICReg at gamma = 0 is flat, and at gamma = alpha / d on a regular
relation it is max(0, a) where no a_k < 0. Of filters whose residuals are alike the one with the least freedom (fixed,
flat, line, flow) is named, and the others with it. InfoNCE is no filter, and is not among them. On a regular relation
these are the filters of `filters.py`.

The same over linear maps of data X, where they are given: the q_k are then scores of the compressed pencil. Those of
the unnormalised Barlow Twins are not orthonormal, so that it and its flow are fitted over all embeddings only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.optimize

from spectral_ssl.data._checks import frozen
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Model, Pencil, Spectra
from spectral_ssl.theory._numbers import as_numbers
from spectral_ssl.theory.energies import Energies, eigen_energies

__all__ = ["FAMILIES", "Family", "FilterFit", "Resemblance", "n_eigenpairs", "resemblance"]

FITS = 0.1  # a filter that leaves less than this of |ZZ'| is said to fit
RESEMBLES = 0.3  # and one that leaves less than this to be resembled
ALIKE = 1.25  # residuals within this factor of the best tell no filter from it
ROUNDING = 1e-6  # and so do those below this: CKA is 1 - residual^2 / 2, known to 1e-14 or so
WHOLE_MAX = 2000  # samples up to which all eigenpairs are asked for, where K cuts an eigenspace
CONSTANT = 1e-13  # share of its largest entry by which an embedding without variance may spread: rounding
SATURATION = 1e-14  # the least s0^2 g_1 that the search for a flow looks at: smaller ones have the same filter
FASTEST = 80.0  # the largest 8 g_1 t it looks at
GRID = 48  # values of each of both where it begins

Kind = Literal["line", "flat", "fixed", "flow"]
FREEDOM: dict[Kind, int] = {"fixed": 0, "flat": 1, "line": 2, "flow": 3}


@dataclass(frozen=True)
class Family:
    """A filter with its parameters: h of the first K values of a pencil.

    label: in words. parameters: their names. shape: the first values (k,) of the pencil -> b and d of a "line", h of a
    "fixed" filter; (p,) where it ends after the first p. unit_columns: the loss does not see the scale of a column, so
    that Z with columns of equal variance is tried too.
    """

    label: str
    pencil: Pencil
    kind: Kind
    parameters: tuple[str, ...]
    shape: Callable[[Array], tuple[Array, ...]] | None = None
    unit_columns: bool = False


@dataclass(frozen=True, eq=False)
class FilterFit:
    """One family at its best.

    residual as in the module; parameters by name; h (R,): the filter at the values of its pencil, scaled to the
    energies; expected (R,): the energies of that filter, P h, h itself where P = I; floor: what is left by the best
    h_k on these eigenvectors, be they a filter or not; basis: the entry of `Resemblance.energies` it was fitted to;
    model: over what, "free" or "linear".
    """

    name: str
    model: Model
    family: Family
    residual: float
    parameters: dict[str, float]
    h: Array
    expected: Array
    floor: float
    basis: str

    @property
    def key(self) -> str:
        """The name of the filter, with its model where that is not the free one."""
        return self.name if self.model == "free" else f"{self.name}, {self.model}"

    @property
    def label(self) -> str:
        return self.family.label if self.model == "free" else f"{self.model} {self.family.label}"

    @property
    def linear_cka(self) -> float:
        """Linear CKA of Z and the filter's embedding."""
        return math.sqrt(max(1 - self.residual**2, 0.0))


@dataclass(frozen=True, eq=False)
class Resemblance:
    """What an embedding resembles.

    fits: every family, least residual first. energies: by pencil, "degree_centred, unit columns", and "laplacian,
    linear". undecided: why directions could not be told apart, "" where they could.
    """

    n_components: int
    fits: tuple[FilterFit, ...]
    energies: dict[str, Energies]
    undecided: str

    @property
    def best(self) -> FilterFit | None:
        """Of the filters that fit as well as any the one with the least freedom; where none is resembled the nearest,
        and None for an embedding without variance."""
        near = self.near
        if near and near[0].residual > RESEMBLES:
            return near[0]
        return min(near, key=lambda fit: (FREEDOM[fit.family.kind], fit.residual)) if near else None

    @property
    def near(self) -> tuple[FilterFit, ...]:
        """The filters that cannot be told from the one with the least residual, itself included."""
        if not self.fits or math.isnan(self.fits[0].residual):
            return ()
        limit = max(ALIKE * self.fits[0].residual, ROUNDING)
        return tuple(fit for fit in self.fits if fit.residual <= limit)

    @property
    def alike(self) -> tuple[str, ...]:
        """Keys of the filters that fit as well as the best one."""
        return tuple(fit.key for fit in self.near if fit is not self.best)

    @property
    def margin(self) -> float | None:
        """The residual of the next filter that can be told apart, less that of the best; None where there is none."""
        rest = [fit.residual for fit in self.fits if fit not in self.near]
        return rest[0] - self.best.residual if rest and self.best is not None else None

    @property
    def verdict(self) -> Literal["fits", "resembles", "none"]:
        """Whether the best filter leaves at most 10 % of |ZZ'| ("fits"), at most 30 %, or more ("none")."""
        if self.best is None:
            return "none"
        return "fits" if self.best.residual <= FITS else "resembles" if self.best.residual <= RESEMBLES else "none"


def n_eigenpairs(n_samples: int, n_components: int) -> int:
    """R: how many eigenpairs an embedding is compared on, 4 K and 50 at least, and K + 200 at most."""
    return min(n_samples - 1, max(50, min(4 * n_components, n_components + 200)))


def resemblance(Z: Any, relation: Graph | Spectra, *, X: Any = None, n_components: int | None = None) -> Resemblance:
    """Fit every filter of `FAMILIES` to Z (N, K), an embedding of the samples of a relation.

    relation: a graph, or `Spectra(graph)` to share its factorisations. X (N, D): data that Z may be a linear map of,
    or `Spectra(graph, X=X)`; the filters over linear maps are then fitted too. n_components: that of the closed forms,
    the columns of Z by default.

    Raises DataError for Z of another number of rows, not finite, or with more columns than N - 1.
    """
    spectra = as_spectra(relation)
    graph = spectra.graph
    if spectra.model != "free" or graph is None:
        raise DataError("resemblance is to optima over all embeddings; pass a relation, or Spectra of it without data")
    Z = as_numbers(Z, "Z")
    if Z.ndim != 2 or 0 in Z.shape or not np.all(np.isfinite(Z)):
        raise DataError(f"Z must be finite numbers (N, K), got shape {Z.shape}")
    N, asked = Z.shape[0], Z.shape[1] if n_components is None else n_components
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer) or not 1 <= asked <= N - 1:
        raise DataError(f"n_components must be an integer from 1 to N - 1 = {N - 1}, got {asked!r}")
    Z, K = _in_range(Z), int(asked)
    over: dict[Model, Spectra] = {"free": spectra}
    if X is not None:
        over["linear"] = linear = X if isinstance(X, Spectra) else Spectra(graph, X=X)
        if linear.model != "linear" or linear.graph is not graph:
            raise DataError(
                f"X must be data, or Spectra(graph, X=X) of linear maps over the very relation given; these are of the "
                f"{linear.model} model"
            )
    seen: dict[str, Energies] = {}
    told: dict[str, str] = {}

    def fitted(name: str, family: Family, model: Model, unit_columns: bool) -> FilterFit:
        pencil = family.pencil
        basis = ", ".join([pencil, *(["unit columns"] if unit_columns else []), *([model] if model != "free" else [])])
        if basis not in seen:
            R = n_eigenpairs(N, K)
            found = eigen_energies(Z, graph, over[model].of(pencil, R - 1), n_pairs=R, unit_columns=unit_columns)
            if _cuts(found, K) and N <= WHOLE_MAX:
                found = eigen_energies(Z, graph, over[model].of(pencil, N - 1), unit_columns=unit_columns)
            if _cuts(found, K):
                told[pencil] = f"eigenvalue {K} of the {pencil} pencil has at least {found.cut} copies"
            seen[basis] = found
        return _fitted(name, family, model, seen[basis], K, basis)

    fits = []
    for model in over:
        for name, family in FAMILIES.items():
            if family.pencil == "cross_moment" and model != "free":
                continue
            forms = [fitted(name, family, model, False)]
            if family.unit_columns and float(np.ptp(Z, axis=0).min()) > 0:
                forms.append(fitted(name, family, model, True))
            fits.append(min(forms, key=lambda fit: fit.residual))
    used = {fit.basis for fit in fits}
    return Resemblance(
        n_components=K,
        fits=tuple(sorted(fits, key=lambda fit: fit.residual)),
        energies={basis: found for basis, found in seen.items() if basis in used},
        undecided="; ".join(told.values()),
    )


def _in_range(Z: Array) -> Array:
    """Z of entries at most 1: its scale is not asked, and fourth powers of it are."""
    largest = float(np.abs(Z).max())
    HZ = Z / largest - (Z / largest).mean(axis=0) if largest > 0 else Z
    size = float(np.abs(HZ).max())
    # an embedding without variance is zero, not the rounding of its mean
    return HZ / size if size > CONSTANT else np.zeros_like(Z)


def _cuts(found: Energies, K: int) -> bool:
    """Whether the K-th eigenvalue is one whose eigenspace is not held whole."""
    return bool(found.cut) and found.values.size - found.cut < K


# -------------------------------------------------------------------------------------------------------- least squares


@dataclass(frozen=True, eq=False)
class _Target:
    """What filters are fitted to: energies e (R,), P (R, R) or None for I, and |S|_F^2."""

    e: Array
    P: Array | None
    norm2: float

    @classmethod
    def of(cls, found: Energies) -> _Target:
        m = found.constants
        P = (np.eye(m.size) - np.outer(m, m)) ** 2 if np.any(np.abs(m) > 1e-12) else None
        return cls(found.energies, P, found.norm2)

    def size(self, h: Array) -> float:
        """h'P h of a filter h (p,) on the first p."""
        return float(h @ h if self.P is None else h @ self.P[: h.size, : h.size] @ h)

    def residual2(self, h: Array) -> float:
        if not self.norm2 > 0:
            return math.nan
        size = self.size(h)
        return max(1 - float(h @ self.e[: h.size]) ** 2 / (size * self.norm2), 0.0) if size > 0 else 1.0

    def scaled(self, h: Array) -> Array:
        """c h at every eigenvector held, (R,)."""
        size, full = self.size(h), np.zeros(self.e.size)
        full[: h.size] = h * (float(h @ self.e[: h.size]) / size) if size > 0 else 0.0
        return full

    def floor2(self, k: int) -> float:
        """residual2 of the best h on the first k, of either sign."""
        e = self.e[:k]
        if not self.norm2 > 0:
            return math.nan
        best = e if self.P is None else np.linalg.lstsq(self.P[:k, :k], e, rcond=1e-12)[0]
        return max(1 - float(best @ e) / self.norm2, 0.0)


def _fitted(name: str, family: Family, model: Model, found: Energies, K: int, basis: str) -> FilterFit:
    target, values = _Target.of(found), found.values[:K]
    shape = family.shape(values) if family.shape is not None else ()
    if family.kind == "line":
        h, *fitted = _line(target, *shape)
    elif family.kind == "flat":
        h = min((np.ones(r) for r in range(1, values.size + 1)), key=target.residual2)
        fitted = [float(h.size)]
    elif family.kind == "fixed":
        h, fitted = shape[0], []
    else:
        h, *fitted = _flow(target, values / found.total_weight)
    full = target.scaled(h)
    return FilterFit(
        name=name,
        model=model,
        family=family,
        residual=math.sqrt(target.residual2(h)),
        parameters=dict(zip(family.parameters, fitted, strict=True)),
        h=frozen(full),
        expected=frozen(full if target.P is None else target.P @ full),
        floor=math.sqrt(target.floor2(values.size)),
        basis=basis,
    )


def _line(target: _Target, b: Array, d: Array) -> tuple[Array, float]:
    """The best max(0, b - x d), x >= 0, and its x: the least one where several make the same filter. P = I."""
    if not b.size:
        return b, 0.0
    ends = np.append(np.divide(b, d, out=np.full(b.size, np.inf), where=d > 0), 0.0)  # descending
    found = []
    for p in range(1, b.size + 1):
        low, high = ends[p], ends[p - 1]
        if not low < high:  # b_p / d_p and the next are copies
            continue
        e, B, D = target.e[:p], b[:p], d[:p]
        eb, ed, bb, bd, dd = e @ B, e @ D, B @ B, B @ D, D @ D
        slope = eb * dd - ed * bd
        inner = (eb * bd - ed * bb) / slope if slope != 0 else low
        found += [low, inner] if low < inner < high else [low]
    x = float(min(found, key=lambda x: target.residual2(np.maximum(0.0, b - x * d))))
    return np.maximum(0.0, b - x * d), x


def _flow(target: _Target, g: Array) -> tuple[Array, float, float]:
    """The best h of a flow on eigenvalues g (k,) of A / s, its t and s0; searched in log(8 g_1 t) and log(s0^2 g_1)."""
    top = float(g[0])
    if not top > 0:
        return np.zeros(g.size), 0.0, 0.0
    a = g / top

    def shape(at: Any) -> Array:
        pace, start = np.exp(at)
        # where g < 0 both terms grow and h tends to zero
        return np.asarray(1 / (np.exp(-pace * a) - start * np.expm1(-pace * a) * a))

    def residual2(at: Any) -> float:
        return target.residual2(shape(np.clip(at, low, high)))

    low = np.log([1e-2, SATURATION])
    high = np.log([FASTEST, 1.0])
    paces, starts = (np.linspace(low[i], high[i], GRID) for i in (0, 1))
    first = min(((p, q) for p in paces for q in starts), key=residual2)
    tight = {"xatol": 1e-9, "fatol": 0.0, "maxiter": 2000}
    found = scipy.optimize.minimize(residual2, first, method="Nelder-Mead", options=tight)
    at = np.clip(found.x, low, high)
    pace, start = np.exp(at)
    return shape(at), float(pace / (8 * top)), float(math.sqrt(start / top))


# ---------------------------------------------------------------------------------------------------------- the filters


def _barlow(rho: Array) -> tuple[Array, Array]:
    rho = rho[rho > 0]
    return 1 / rho, 1 / rho**2


def _normalised(rho: Array) -> tuple[Array, Array]:
    return np.ones(rho.size), np.maximum(1 - rho, 0.0)


def _positive(values: Array) -> tuple[Array]:
    return (np.maximum(values, 0.0),)


def _inverse(values: Array) -> tuple[Array]:
    return (1 / values[values > 0],)


FAMILIES: dict[str, Family] = {
    "vicreg": Family(
        "VICReg", "laplacian", "line", ("invariance",), lambda lam: (np.ones(lam.size), np.maximum(lam, 0.0))
    ),
    "vicreg(weighting=degree)": Family("VICReg (degree)", "degree_centred", "line", ("invariance",), _normalised),
    "laplacian_eigenmaps": Family("Laplacian Eigenmaps", "laplacian", "flat", ("n_components",)),
    "normalised_eigenmaps": Family("Normalised eigenmaps", "degree_centred", "flat", ("n_components",)),
    "frobenius_simclr": Family("Frobenius SimCLR", "adjacency", "fixed", (), _positive),
    "spectral_contrastive": Family("Spectral contrastive", "degree", "fixed", (), _positive),
    "ssl_ey": Family("SSL-EY", "degree_centred", "fixed", (), _positive),
    "barlow_twins": Family("Barlow Twins", "degree_centred", "line", ("nu",), _barlow, unit_columns=True),
    "barlow_twins(normalized=False)": Family("Barlow Twins (unnormalised)", "cross_moment", "fixed", (), _inverse),
    "barlow_flow": Family("Barlow Twins (gradient flow)", "cross_moment", "flow", ("time", "init_scale")),
}
