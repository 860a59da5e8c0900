"""What the classical methods share: checks, centring, and an embedding read from a spectrum."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from spectral_ssl.data._checks import check_int
from spectral_ssl.embedding import Embedding
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.moments import CONSTANT_TOL, OFFSET_MAX
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Spectra, Spectrum

Array = np.ndarray[Any, np.dtype[np.float64]]


def checked(n_components: Any, limit: int, what: str) -> int:
    """K as an int, from 1 to `limit`, which is called `what`."""
    K = check_int(n_components, "n_components", low=1)
    if limit < K:
        raise DataError(f"n_components={K} exceeds {what} = {limit}; choose at most {limit}")
    return K


def of_maps(X: Any, graph: Graph | Spectra, kernel: Any, ridge: float) -> Spectra:
    """The Spectra of linear or kernel maps of X, or those given."""
    if not isinstance(graph, Spectra):
        return as_spectra(graph, X, model="linear" if kernel is None else "kernel", kernel=kernel, ridge=ridge)
    if graph.model == "free":
        raise DataError("the Spectra given are over all embeddings; build them as Spectra(graph, X=X)")
    if X is not None or kernel is not None or ridge:
        raise DataError(
            "the Spectra given already fix X, kernel and ridge; pass None for X, or the graph with all three"
        )
    return graph


def n_features(spectra: Spectra) -> int:
    """Features that a linear or kernel model maps."""
    assert spectra.moments is not None
    return spectra.moments.n_features


def centred(X: Array, name: str) -> tuple[Array, Array, Array]:
    """HX (N, D), the mean (D,) taken off and the std (D,) left, / N, which is 0 for constant columns.

    Raises DataError where squares of X, called `name`, overflow, or all underflow.
    """
    mean = X.mean(axis=0)
    F = X - mean
    spread = _root_mean_square(F)
    if np.any(np.abs(mean) > OFFSET_MAX * spread):  # the error of a mean grows with N; what is left of it is taken off
        rest = F.mean(axis=0)
        mean, F = mean + rest, F - rest
        spread = _root_mean_square(F)
    if not np.all(np.isfinite(spread)) or (not np.any(spread) and np.any(F)):
        how = "overflow" if np.any(spread) else "underflow"
        raise DataError(f"columns of {name} {how} when squared; divide them by their size")
    return F, mean, np.where(spread > CONSTANT_TOL * np.abs(mean), spread, 0.0)


def _root_mean_square(F: Array) -> Array:
    out: Array = np.sqrt(np.einsum("nd,nd->d", F, F) / F.shape[0])
    return out


def embed(spectrum: Spectrum, values: Array, n_components: int, scale: Any) -> Embedding:
    """The first K vectors times `scale`, a number or (K,); columns past what the pencil holds are zero, with a warning.

    values: what `Embedding.spectrum` is to hold.
    """
    K, held = n_components, spectrum.values.size
    h = np.broadcast_to(scale, (K,))[:held]
    Z, W = _padded(spectrum.vectors[:, :K] * h, K), None
    if spectrum.weights is not None:
        W = _padded(spectrum.weights[:, :K] * h, K)
    rank = int(np.count_nonzero(h))
    if held < K:
        if spectrum.weights is None:  # eigenvectors of the graph itself: there is no X
            why = f"the relation has {held} directions, since samples without a positive pair have none"
        else:
            why = f"X has {held} independent directions"
        tell_short(K, held, why, stacklevel=4)
    return Embedding(Z=Z, spectrum=values, W=W, mean=spectrum.mean, rank=rank, features=spectrum.features)


def tell_short(K: int, held: int, why: str, *, stacklevel: int) -> None:
    """Warn that fewer than K columns hold something; stacklevel 2 is the caller's line."""
    told = f"{K} components were asked for, but {why}: the last {K - held} columns are zero"
    warnings.warn(told, SpectralWarning, stacklevel=stacklevel)


def _padded(M: Array, K: int) -> Array:
    return np.hstack([M, np.zeros((M.shape[0], K - M.shape[1]))])
