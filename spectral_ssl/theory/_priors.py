"""Priors over classes, and how often one of them is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.special

from spectral_ssl.data._checks import check_int
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError

__all__ = ["as_prior", "binomial", "entropy", "is_uniform"]

UNIFORM_TOL = 1e-9  # relative: priors that differ by less than this are equal, having come from counts or from text
SUM_TOL = 1e-6  # a prior given by hand sums to one up to this, and is divided by its sum


def as_prior(prior: int | Sequence[float] | Array) -> Array:
    """A prior over C classes: from C, the uniform one; from C positive numbers that sum to 1.

    Raises DataError for fewer than 2 classes, numbers that are not positive, or another sum.
    """
    if isinstance(prior, int | np.integer):
        C = check_int(prior, "the number of classes", low=2)
        return np.full(C, 1.0 / C)
    try:
        pi = np.asarray(prior, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"a prior is one positive number for each class, got {prior!r}") from None
    if pi.ndim != 1 or pi.size < 2 or not np.all(np.isfinite(pi)) or not np.all(pi > 0):
        raise DataError(f"a prior is one positive number for each of 2 classes or more, got {prior!r}")
    if abs(pi.sum() - 1) > SUM_TOL:
        raise DataError(f"the prior sums to {pi.sum():.9g}, not 1; divide it by its sum")
    return np.asarray(pi / pi.sum(), dtype=np.float64)


def is_uniform(pi: Array) -> bool:
    return bool(np.ptp(pi) <= UNIFORM_TOL * pi.max())


def entropy(pi: Array) -> float:
    return float(scipy.special.entr(pi).sum())


def binomial(K: int, p: float) -> Array:
    """Bin(K, p)(m), m = 0 .. K."""
    m = np.arange(K + 1)
    choose = scipy.special.gammaln(K + 1) - scipy.special.gammaln(m + 1) - scipy.special.gammaln(K - m + 1)
    found: Array = np.exp(choose + scipy.special.xlogy(m, p) + scipy.special.xlog1py(K - m, -p))
    return found
