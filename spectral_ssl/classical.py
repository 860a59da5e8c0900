"""The classical methods the optima coincide with, by their own names, on the same `Spectrum`.

| function            | objective                                  | constraint                          |
|---------------------|--------------------------------------------|-------------------------------------|
| laplacian_eigenmaps | min tr(Z'LZ)                               | Z'1 = 0, Z'Z = N I, or degree forms |
| lpp                 | min tr(W'X'LXW)                            | W'X'HXW = N I                       |
| lda                 | min within-class over total scatter        | the same, by the label graph        |
| pca                 | max tr(W'X'HXW)                            | W'W = I                             |
| classical_mds       | min |ZZ' + HD2H/2|_F^2                      | none                                |
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data import Dataset, as_dataset
from spectral_ssl.embedding import Embedding
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.relations import labels
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Pencil, Spectra, Spectrum

__all__ = ["classical_mds", "laplacian_eigenmaps", "lda", "lpp", "pca"]


def laplacian_eigenmaps(
    graph: Graph | Spectra,
    n_components: int,
    *,
    normalization: Literal["none", "symmetric", "random_walk"] = "none",
) -> Embedding:
    """Minimise tr(Z'LZ) off the constant; columns by increasing eigenvalue of the Laplacian.

    normalization: "none": Z'Z = N I, eigenvectors of L. "random_walk": Z'diag(deg)Z = s I, eigenvectors of
    diag(deg)^-1 L (Belkin & Niyogi 2003). "symmetric": Z'Z = s I, eigenvectors of diag(deg)^-1/2 L diag(deg)^-1/2
    (the random-walk ones times sqrt(deg)). `spectrum` holds the Laplacian eigenvalues, ascending.
    """
    if normalization not in ("none", "symmetric", "random_walk"):
        raise DataError(f"normalization={normalization!r} is not known; choose 'none', 'symmetric' or 'random_walk'")
    spectra = as_spectra(graph)
    if spectra.model != "free" or spectra.graph is None:
        raise DataError("Laplacian Eigenmaps embeds the samples of a graph; for linear maps of X use lpp")
    pencil: Pencil = "laplacian" if normalization == "none" else "degree_centred"
    spectrum = spectra.of(pencil, _checked(n_components, spectra.n_samples - 1, "N - 1"))
    if normalization == "none":
        return _embed(spectrum, spectrum.values, n_components, np.sqrt(spectra.n_samples))
    embedding = _embed(spectrum, 1 - spectrum.values, n_components, np.sqrt(spectrum.total_weight))
    if normalization == "random_walk":
        return embedding
    root = np.sqrt(spectra.graph.degree)[:, None]
    return Embedding(Z=root * embedding.Z, spectrum=embedding.spectrum, rank=embedding.rank)


def lpp(X: Any, graph: Graph | Spectra, n_components: int) -> Embedding:
    """Locality Preserving Projections: X'LX w = mu X'HX w, smallest mu, W'X'HXW = N I.

    X (N, D) is centred; He & Niyogi (2004) constrain by X'diag(deg)X, the same on a regular graph.
    """
    spectra = graph if isinstance(graph, Spectra) else as_spectra(graph, X)
    if spectra.model != "linear":
        raise DataError("the Spectra given are over all embeddings; build them as Spectra(graph, X=X)")
    spectrum = spectra.of("laplacian", _checked(n_components, spectra.moments.n_features, "the number of features"))  # type: ignore[union-attr]
    return _embed(spectrum, spectrum.values, n_components, np.sqrt(spectrum.n_samples))


def lda(X: Any, y: Any, n_components: int | None = None) -> Embedding:
    """Linear discriminant analysis, as LPP on the label graph Y diag(1/n_c) Y': there X'LX is the within-class scatter.

    S_w w = mu S_t w for the smallest mu, exactly and for any class balance. n_components: at most C - 1 (default).
    """
    data = Dataset(name="data", X=X, y=y)
    if not np.all(data.labelled):
        raise DataError(
            f"{np.count_nonzero(~data.labelled)} of {data.n_samples} rows have no label; discriminant analysis is of "
            "labelled rows only, leave the others out"
        )
    graph = labels(data)
    C = int(data.class_codes.max()) + 1
    if C < 2:
        raise DataError("discriminant analysis needs at least two classes in y")
    limit = min(C - 1, data.n_features)
    K = limit if n_components is None else _checked(n_components, limit, "min(C - 1, D)")
    return lpp(data.X, graph, K)


def pca(X: Any, n_components: int) -> Embedding:
    """Principal component analysis: the top right singular vectors of HX; W'W = I. `spectrum`: variances, / N."""
    X = as_dataset(X).X
    K = _checked(n_components, min(X.shape[1], X.shape[0] - 1), "min(D, N - 1)")
    mean = X.mean(axis=0)
    _, s, Vt = linalg.svd(X - mean)
    W = linalg.fix_signs(Vt[:K].T)
    return Embedding(Z=(X - mean) @ W, spectrum=s**2 / X.shape[0], W=W, mean=mean, rank=min(K, linalg.rank(X - mean)))


def classical_mds(distances: Any, n_components: int) -> Embedding:
    """Classical multidimensional scaling of distances (N, N): Frobenius SimCLR with G = -H D2 H / 2.

    min |ZZ' - G|_F^2: Z = U_K diag(sqrt max(0, g)). `spectrum` holds all g, descending, the negative ones too; where
    one of the first K is negative (distances that no Euclidean space has) its column is zero, with a warning.
    """
    D = np.asarray(distances, dtype=np.float64)
    if D.ndim != 2 or D.shape[0] != D.shape[1] or D.shape[0] < 2:
        raise DataError(f"distances must be a square matrix of at least 2 samples, got shape {D.shape}")
    if not np.all(np.isfinite(D)):
        raise DataError("distances hold NaN or infinite values; join the components of the graph they come from first")
    if np.any(D < 0) or np.abs(D - D.T).max() > 1e-9 * max(float(D.max()), 1e-300):
        raise DataError("distances must be symmetric and non-negative; pass (D + D.T) / 2")
    K = _checked(n_components, D.shape[0] - 1, "N - 1")
    D2 = D**2
    G = -(D2 - D2.mean(axis=0) - D2.mean(axis=1, keepdims=True) + D2.mean()) / 2
    values, U = linalg.eigh(G)
    values, U = values[::-1], linalg.fix_signs(U[:, ::-1])
    h = np.where(values[:K] > D.shape[0] * linalg.EPS * np.abs(values).max(), values[:K], 0.0)
    if np.any(h == 0):
        warnings.warn(
            f"only {np.count_nonzero(h)} of {K} dimensions are Euclidean: the other eigenvalues are not positive and "
            "their columns are zero",
            SpectralWarning,
            stacklevel=2,
        )
    return Embedding(Z=U[:, :K] * np.sqrt(h), spectrum=values.copy(), rank=int(np.count_nonzero(h)))


def _checked(n_components: int, limit: int, what: str) -> int:
    if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer) or n_components < 1:
        raise DataError(f"n_components must be a positive integer, got {n_components!r}")
    if n_components > limit:
        raise DataError(f"n_components={n_components} exceeds {what} = {limit}; choose at most {limit}")
    return int(n_components)


def _embed(spectrum: Spectrum, values: Any, K: int, scale: float) -> Embedding:
    r = min(K, spectrum.values.size)
    Z = np.hstack([scale * spectrum.vectors[:, :r], np.zeros((spectrum.vectors.shape[0], K - r))])
    W = None
    if spectrum.weights is not None:
        W = np.hstack([scale * spectrum.weights[:, :r], np.zeros((spectrum.weights.shape[0], K - r))])
    return Embedding(Z=Z, spectrum=values, W=W, mean=spectrum.mean, rank=r)
