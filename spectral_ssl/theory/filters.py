"""Every method is a filter h(a) on one spectrum: what it makes of a direction that its positive pairs agree on by a.

On a regular relation, deg = d, all methods use the same eigenvectors of A / d and differ by the energy they give them:
Z = sqrt(N) U diag(sqrt h) Q has the squared singular value N h_k along an eigenvector of eigenvalue a_k. Where degrees
differ the same holds of the pencil (A, diag(deg)), with variances weighted by degree: Z'diag(deg)Z / s = Q'diag(h)Q.

A filter takes a (R,), eigenvalues in [-1, 1], the largest first, and K; directions past the first K have h = 0. Methods
that centre (VICReg, Laplacian Eigenmaps, Barlow Twins with unit columns) read the eigenvalues off the constant; those
that do not read all, the constant's a = 1 first, and spend a column on it.

==================  =============================  ==================  ===============================================
filter              h                              uses a <= 0?        scale of Z
==================  =============================  ==================  ===============================================
vicreg              max(0, 1 - gamma (1 - a))      where gamma < 1     its own; gamma in units of alpha / d
frobenius           max(0, a)                      no                  |ZZ' - A|^2 has it times d / N
spectral            max(0, a)                      no                  its own
eigenmaps           1                              yes                 its own, Z'Z = N I
barlow              (1 - nu / a) / a               no                  the loss does not see it: unit columns
barlow_minimum      1 / a where a > 0              no                  its own, Z'AZ / s = I
barlow_flow         s(t)^2, see `dynamics`         fade from s0        its own, inputs with X'diag(deg)X = s I
==================  =============================  ==================  ===============================================

InfoNCE is not among them: its logarithm acts on entries, not on eigenvalues.

Source: Balestriero & LeCun 2022 (arXiv 2205.11508), read together; Simon et al. 2023 for the last two; derived here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.methods._barlow_qp import ZERO_TOL, programme
from spectral_ssl.methods._diagonal import thresholded
from spectral_ssl.theory._bernoulli import bernoulli
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["FILTERS", "Filter"]

Filter = Callable[..., Array]  # (a (R,), n_components, *, parameters) -> h (R,)
RANGE_TOL = 1e-9  # |a| <= 1, but for the rounding of an eigensolver


def vicreg(a: Any, n_components: int, *, invariance: float = 1.0) -> Array:
    """Squared VICReg, beta >= alpha: h = max(0, 1 - gamma (1 - a)), gamma = `invariance` in units of alpha / d.

    At gamma = 1 it is the filter of `frobenius`, off the constant; below it directions with a <= 0 are kept. With
    weighting="degree" gamma is in units of alpha, on any relation.
    """
    a = _checked(a, n_components)
    if not (np.isfinite(invariance) and invariance >= 0):
        raise DataError(f"invariance must be a number >= 0, got {invariance}")
    return _first(thresholded(2 * invariance * (1 - a), a.size, 1.0).c, n_components)


def frobenius(a: Any, n_components: int) -> Array:
    """Frobenius SimCLR, and the spectral contrastive loss: h = max(0, a), of all eigenvalues, the constant's too."""
    return _first(np.maximum(0.0, _checked(a, n_components)), n_components)


def eigenmaps(a: Any, n_components: int) -> Array:
    """Laplacian Eigenmaps, constrained VICReg: h = 1 on the first K directions, whatever their a."""
    return _first(np.ones_like(_checked(a, n_components)), n_components)


def barlow(a: Any, n_components: int, *, redundancy: float = 1.0) -> Array:
    """Barlow Twins with unit columns, lambda = `redundancy` <= 1: h = c / a, at lambda = 1 (1 - nu / a) / a.

    c solves the method's quadratic programme, sum h = K: the columns have length 1. lambda < 1: where that programme is
    attained, as `BarlowTwins` says. Where norm is to spare (sum h < K) the rest lies in any other direction.
    """
    a = _checked(a, n_components)
    if not 0 <= redundancy <= 1:
        raise DataError(f"redundancy must be a number from 0 to 1, where there is a formula, got {redundancy}")
    positive = a[a > ZERO_TOL]
    h: Array = np.zeros_like(a)
    if positive.size:
        c = programme(positive, n_components, redundancy).c
        h[: c.size] = c / positive[: c.size]
    return h


def barlow_minimum(a: Any, n_components: int) -> Array:
    """Unnormalised Barlow Twins |Z'AZ / s - I|^2, the solution of least norm in whitened inputs: h = 1 / a, a > 0."""
    a = _checked(a, n_components)
    return _first(np.divide(1.0, a, out=np.zeros_like(a), where=a > ZERO_TOL), n_components)


def barlow_flow(a: Any, n_components: int, *, time: float = 1.0, init_scale: float = 1e-3) -> Array:
    """Unnormalised Barlow Twins after the gradient flow has run for `time` from s0 = `init_scale`, inputs whitened.

    h = s(t)^2 = e^(8at) / (s0^-2 + (e^(8at) - 1) a), from s0^2 to 1 / a where a > 0, in the order of a.
    """
    a = _checked(a, n_components)
    if not (np.isfinite(time) and time >= 0 and np.isfinite(init_scale) and init_scale > 0):
        raise DataError(f"time must be >= 0 and init_scale positive, got {time} and {init_scale}")
    return _first(bernoulli(np.full(a.size, init_scale**2), a, a**2, np.array([time]))[0], n_components)


def _checked(a: Any, K: int) -> Array:
    found = as_numbers(a, "a")
    if found.ndim != 1 or not np.all(np.isfinite(found)):
        raise DataError(f"a filter acts on one row of eigenvalues, got an array of shape {found.shape}")
    if np.any(np.abs(found) > 1 + RANGE_TOL) or np.any(np.diff(found) > RANGE_TOL):
        raise DataError(
            "eigenvalues of a relation divided by its degrees lie in [-1, 1], and are given with the largest first; "
            'read them from the "degree" or "degree_centred" pencil, or divide those of A by d'
        )
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1:
        raise DataError(f"n_components must be a positive integer, got {K!r}")
    return found


def _first(h: Array, K: int) -> Array:
    kept: Array = np.where(np.arange(h.size) < K, h, 0.0)
    return kept


FILTERS: dict[str, Filter] = {
    "vicreg": vicreg,
    "frobenius": frobenius,
    "spectral": frobenius,
    "eigenmaps": eigenmaps,
    "barlow": barlow,
    "barlow_minimum": barlow_minimum,
    "barlow_flow": barlow_flow,
}
