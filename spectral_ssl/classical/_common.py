"""What the classical methods share: checks, and an embedding read from a spectrum."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from spectral_ssl.embedding import Embedding
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Spectra, Spectrum

Array = np.ndarray[Any, np.dtype[np.float64]]


def checked(n_components: Any, limit: int, what: str) -> int:
    """K as an int, from 1 to `limit`, which is called `what`."""
    if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer) or n_components < 1:
        raise DataError(f"n_components must be a positive integer, got {n_components!r}")
    if n_components > limit:
        raise DataError(f"n_components={n_components} exceeds {what} = {limit}; choose at most {limit}")
    return int(n_components)


def of_maps(X: Any, graph: Graph | Spectra, kernel: Any, ridge: float) -> Spectra:
    """The Spectra of linear or kernel maps of X, or those given."""
    if not isinstance(graph, Spectra):
        return as_spectra(graph, X, model="linear" if kernel is None else "kernel", kernel=kernel, ridge=ridge)
    if graph.model == "free":
        raise DataError("the Spectra given are over all embeddings; build them as Spectra(graph, X=X)")
    if kernel is not None or ridge:
        raise DataError("the Spectra given already fix kernel and ridge; leave these out, or pass the graph")
    return graph


def n_features(spectra: Spectra) -> int:
    """Features that a linear or kernel model maps."""
    assert spectra.moments is not None
    return spectra.moments.n_features


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
        warnings.warn(
            f"{K} components were asked for, but X has {held} independent directions: the last {K - held} columns are "
            "zero",
            SpectralWarning,
            stacklevel=3,
        )
    return Embedding(Z=Z, spectrum=values, W=W, mean=spectrum.mean, rank=rank, features=spectrum.features)


def _padded(M: Array, K: int) -> Array:
    return np.hstack([M, np.zeros((M.shape[0], K - M.shape[1]))])
