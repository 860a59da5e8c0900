"""Whole paths of optima from one factorisation: VICReg's by the invariance gamma, Barlow Twins' by the redundancy.

**Invariance.** U, the eigenvectors of the Laplacian pencil, does not depend on gamma, nor do its critical values m_k
(see `methods.vicreg`, whose formulas these are); every optimum is Z* = sqrt(N - ddof) U_{1:K} diag(sqrt c) Q, and at
gamma the costs of the directions are 2 gamma m_k. Squared, beta >= alpha:

    c_k(gamma) = max(0, 1 - gamma m_k / alpha)        a straight line in gamma, dead from gamma_k = alpha / m_k on
    rank(gamma) = #{k <= K : gamma < gamma_k}         a staircase, nonincreasing
    loss(gamma) = alpha (K - sum_k c_k^2)             concave, of slope 2 sum m_k c_k

The other forms have other lines, piecewise as simple, and a gamma_k of their own (`methods._diagonal.critical`); the
loss is concave in gamma for all of them, a minimum of functions linear in gamma, its slope the invariance term by
gamma. Directions with m_k = 0 (relations in several components) never die. On a d-regular relation gamma = alpha / d is
Frobenius SimCLR.

**Redundancy.** The eigenvectors of the centred degree pencil do not depend on lambda; c_k(lambda) solves a quadratic
programme in closed form (`methods._barlow_qp`), in which direction k is used for lambda > lambda_k only: the staircase
runs the other way. Z has the degree-weighted variance c_k / rho_k along direction k. For lambda <= 1 the value of the
programme is a lower bound; it is the minimum at lambda = 1, and where a Hadamard matrix of the right order exists.

Source: Balestriero & LeCun 2022 (arXiv 2205.11508), section 3, for the staircase of squared VICReg; the rest derived
here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from spectral_ssl.data._checks import frozen
from spectral_ssl.embedding import Array, Embedding, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, SpectralWarning
from spectral_ssl.methods import BarlowTwins, VICReg
from spectral_ssl.methods._barlow_qp import ZERO_TOL, hadamard_order, programmes, unit_columns
from spectral_ssl.methods._diagonal import Shares, critical
from spectral_ssl.methods.base import FILTER_TOL, check_components
from spectral_ssl.spectrum import Spectrum
from spectral_ssl.theory._numbers import as_numbers
from spectral_ssl.theory.filters import FILTERS

__all__ = ["FILTERS", "Path", "invariance_path", "redundancy_path"]

N_VALUES = 100  # of a grid that is not given
BELOW, ABOVE = 1 / 30, 3.0  # its ends, in units of the least and of the greatest critical value ...
REDUNDANCIES = (1e-3, 1.0)  # ... or these
STILL = 1e-9  # of the largest m_k: smaller ones are zero, and their directions never die

PathKind = Literal["exact", "certified", "bound"]


@dataclass(frozen=True, eq=False)
class Path:
    """The optima of one method along one hyper-parameter.

    parameter: its name, "invariance" or "redundancy". values (T,), ascending. critical (R,): the value at which
    direction k dies (invariance, inf where it never does) or is born (redundancy); None where no formula is known.
    shares (T, R): the variance of the optimum along each direction, which are the eigenvalues of its covariance
    (weighted by degree for Barlow Twins and weighting="degree"); R directions, K where the pencil has as many. rank
    (T,). loss (T,) and loss_terms, each (T,), empty where there is a bound alone. lower_bound (T,): proven. kind (T,):
    "exact", "certified" (searched for, within lower_bound) or "bound" (no embedding is known to reach the loss given
    until `optimum` has looked for one). spectrum: what all of it was read from.
    """

    method: VICReg | BarlowTwins
    parameter: Literal["invariance", "redundancy"]
    spectrum: Spectrum
    n_components: int
    values: Array
    critical: Array | None
    shares: Array
    rank: np.ndarray[Any, np.dtype[np.int64]]
    loss: Array
    loss_terms: dict[str, Array]
    lower_bound: Array
    kind: tuple[PathKind, ...]

    def __len__(self) -> int:
        return self.values.size

    def method_at(self, i: int) -> VICReg | BarlowTwins:
        """The method with the i-th value."""
        value: dict[str, Any] = {self.parameter: float(self.values[i])}
        return replace(self.method, **value)

    def optimum(self, i: int) -> Optimum:
        """The optimum at the i-th value, built now, by the method itself."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpectralWarning)  # of rank, which the path tells at every value
            return self.method_at(i).optimum(self.spectrum, self.n_components)

    def embedding(self, i: int) -> Embedding:
        """The embedding of the i-th optimum, built now."""
        return self.optimum(i).embedding

    @cached_property
    def steps(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Where the staircase changes: the i whose rank differs from that of i - 1, and 0."""
        return np.flatnonzero(np.diff(self.rank, prepend=-1))

    @property
    def scale(self) -> float:
        """n of Z = sqrt(n) V diag(sqrt shares) Q: N - ddof, or s where degrees weigh."""
        if isinstance(self.method, VICReg) and self.method.weighting == "none":
            return float(self.spectrum.n_samples - self.method.ddof)
        return self.spectrum.total_weight


def invariance_path(
    spectrum: Spectrum,
    n_components: int,
    gammas: Any = None,
    *,
    form: Literal["squared", "hinge"] = "squared",
    variance: float = 1.0,
    covariance: float = 1.0,
    weighting: Literal["none", "degree"] = "none",
    ddof: int = 0,
) -> Path:
    """VICReg's optima at every invariance, from a spectrum that is held: no matrix is factorised.

    spectrum: `Spectra(graph, X=X).of("laplacian", K)`; of "degree_centred" for weighting="degree". gammas (T,): the
    invariances, ascending; None is 100 of them around the critical values, evenly in log gamma, a whole number that
    many. The others as for `VICReg`. All values at once, in O(T K); the hinge at variance < 8 covariance is searched
    for value by value, which takes some tenths of a second each.

    Raises DataError for another pencil, for form="constrained", whose optimum no invariance changes, for gammas that
    are not ascending numbers >= 0, and for K out of range.
    """
    if form not in ("squared", "hinge"):
        raise DataError(
            f"a path has form='squared' or 'hinge', got {form!r}; under form='constrained' every invariance has the "
            "same optimum, Laplacian Eigenmaps"
        )
    K = n_components
    method = VICReg(variance, covariance, None, form, weighting, ddof)
    _check_pencil(spectrum, method)
    r = check_components(spectrum, K)
    m = method.critical_values(spectrum)[:r]
    m = np.where(m > STILL * max(float(m.max(initial=0.0)), 1e-300), m, 0.0)
    known = form == "squared" or not method.searches
    dies = critical(form, 2 * m, K, variance, covariance)
    gamma = _values(gammas, "gammas", *_ends(dies, variance))
    e = 2 * gamma[:, None] * method.critical_values(spectrum)[:r]  # (T, r)
    shares = method.shares(e, K) if known else _searched(method, e, K)
    terms = method.terms_of(shares, e)
    loss = np.asarray(sum(terms.values()))
    bound = loss if shares.lower_bound is None else np.minimum(shares.lower_bound, loss)
    c = shares.c[:, :r]
    kind: list[PathKind] = ["exact" if method.proven(left, K) else "certified" for left in (loss - bound).tolist()]
    return Path(
        method=method,
        parameter="invariance",
        spectrum=spectrum,
        n_components=K,
        values=frozen(gamma),
        critical=frozen(dies) if known else None,
        shares=frozen(c),
        rank=_rank(c),
        loss=frozen(loss),
        loss_terms=terms,
        lower_bound=frozen(bound),
        kind=tuple(kind),
    )


def redundancy_path(spectrum: Spectrum, n_components: int, lambdas: Any = None) -> Path:
    """Barlow Twins' optima at every redundancy, from a spectrum that is held.

    spectrum: `Spectra(graph, X=X).of("degree_centred", K)`. lambdas (T,): the redundancies, ascending; None is 100 of
    them from 1e-3 to 1, evenly in log lambda, a whole number that many. Up to 1 the quadratic programme is solved for
    all of them at once; its value is the minimum ("exact") at lambda = 1 and where a Hadamard matrix exists, else a
    lower bound ("bound"), which `optimum(i)` then nearly always finds attained. Past 1 no formula is known: each
    optimum is searched for, which takes from a tenth of a second to many.

    Raises DataError for another pencil, for lambdas that are not ascending numbers >= 0, and for K out of range,
    NotClosedForm for a relation without a positive eigenvalue.
    """
    K, method = n_components, BarlowTwins()
    _check_pencil(spectrum, method)
    check_components(spectrum, K)
    rho = spectrum.values
    positive = rho[rho > ZERO_TOL]
    if not positive.size:
        raise NotClosedForm(
            "the relation has no positive eigenvalue off the constant, so Barlow Twins has no path; enrich the "
            "relation, or take VICReg's invariance path, which can use such directions"
        )
    lam = _values(lambdas, "lambdas", *REDUNDANCIES)
    low = np.minimum(lam, 1.0)
    found = programmes(positive, K, low)  # past 1 the value at 1 is the bound
    # plenty of norm and no direction to hide it in: the programme is a bound only
    cramped = found.plenty & (rho.size == positive.size)
    q = found.c.shape[1]
    active = np.where(found.plenty, q, found.active)
    attained = (
        ~cramped
        & (lam <= 1)
        & np.array([one == 1 or hadamard_order(int(k), K) > 0 for one, k in zip(lam, active, strict=True)])
    )
    shares, loss, bound = found.c / positive[:q], found.value.copy(), found.value.copy()
    kind: list[PathKind] = ["exact" if exact else "bound" for exact in attained]
    for i in np.flatnonzero(lam > 1):
        best = unit_columns(rho, K, float(lam[i]))
        shares[i] = (best.B[:q] ** 2).sum(axis=1)
        loss[i], bound[i] = best.loss, min(best.bound, best.loss)
        kind[i] = "exact" if best.attained else "certified"
    return Path(
        method=method,
        parameter="redundancy",
        spectrum=spectrum,
        n_components=K,
        values=frozen(lam),
        critical=frozen(found.thresholds),
        shares=frozen(shares),
        rank=_rank(shares),
        loss=frozen(loss),
        loss_terms={},
        lower_bound=frozen(bound),
        kind=tuple(kind),
    )


def _searched(method: VICReg, e: Array, K: int) -> Shares:
    """The hinge at variance < 8 covariance, row by row."""
    found = [method.shares(row, K) for row in e]
    loss = [sum(method.terms_of(one, row).values()) for one, row in zip(found, e, strict=True)]
    bounds = [value if one.lower_bound is None else one.lower_bound for one, value in zip(found, loss, strict=True)]
    return Shares(np.array([one.c for one in found]), np.array([one.d for one in found]), np.array(bounds))


def _check_pencil(spectrum: Spectrum, method: VICReg | BarlowTwins) -> None:
    if not isinstance(spectrum, Spectrum):
        raise DataError(
            f"a path is read from a Spectrum, got {type(spectrum).__name__}; pass "
            f'ss.Spectra(graph, X=X).of("{method.pencil}", n_components)'
        )
    if spectrum.pencil != method.pencil:
        raise DataError(
            f"this path is read from the {method.pencil} pencil, got {spectrum.pencil!r}; pass "
            f'spectra.of("{method.pencil}", n_components)'
        )


def _values(values: Any, name: str, low: float, high: float) -> Array:
    """The values given, or so many from low to high, evenly in their logarithm."""
    if values is None or (isinstance(values, int | np.integer) and not isinstance(values, bool)):
        many = N_VALUES if values is None else int(values)
        if many < 2:
            raise DataError(f"a number of {name} must be at least 2, for the ends of the grid, got {many}")
        return np.geomspace(low, high, many)
    if isinstance(values, bool):
        raise DataError(f"{name} must be one row of numbers, or how many, got {values}")
    found = np.atleast_1d(as_numbers(values, name).copy())
    ascending = found.ndim == 1 and found.size and np.all(np.isfinite(found)) and not np.any(np.diff(found) <= 0)
    if not ascending or found[0] < 0:
        raise DataError(f"{name} must be one row of finite numbers >= 0, strictly ascending")
    return found


def _ends(dies: Array, variance: float) -> tuple[float, float]:
    """From below the first death to past the last."""
    finite = dies[np.isfinite(dies) & (dies > 0)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (variance, variance)
    return BELOW * low, ABOVE * high


def _rank(shares: Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Directions per row that are more than rounding, as an optimum counts them: by singular values of Z."""
    largest = shares.max(axis=1, keepdims=True, initial=0.0)
    return np.asarray(np.count_nonzero(shares > FILTER_TOL**2 * largest, axis=1), dtype=np.int64)
