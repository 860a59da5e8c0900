"""The positive-pair kernel, its logarithm (PMI) and its principal components: what contrastive losses estimate.

    K_+(i, j) = w_ij / (p_i p_j),   w = A / s,   p = deg / s;      pmi_ij = log K_+(i, j)

InfoNCE with negatives drawn from p has exp(S / tau) proportional to K_+; the spectral contrastive loss has ZZ' = K_+ on
its range. With v_k the eigenvectors of (A, diag(deg)), v_j'diag(deg)v_k = delta_jk, and f_k = sqrt(s) v_k, so that
E_p[f_j f_k] = delta_jk,

    K_+ = 11' + sum_k a_k f_k f_k'

f_k are the eigenfunctions of the Markov chain i -> j with probability A_ij / deg_i, the first of them the constant with
a = 1. Kernel PCA of K_+ under p centres it, which removes just the constant: principal component k is f_k sqrt(a_k).
Source: Johnson, El Hanchi & Maddison 2023 (arXiv 2210.01883): positive-pair kernel, Markov chain eigenfunctions.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning
from spectral_ssl.extension import by_relation
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Spectra

__all__ = ["pmi", "positive_pair_kernel", "positive_pair_pca"]

MAX_DENSE = 5_000  # samples up to which the kernel is written out: 200 MB


def positive_pair_kernel(graph: Graph) -> Array:
    """K_+ (N, N), K_+(i, j) = (A_ij / s) / (p_i p_j) = s A_ij / (deg_i deg_j): how much more often i and j are a pair
    than by chance. E_p[K_+(i, .)] = 1 for every i.

    Samples without a pair have zero rows, with a SpectralWarning. Raises ResourceError past `MAX_DENSE` samples, where
    `positive_pair_pca` still works: it never forms K_+.
    """
    return _kernel(graph)


def pmi(graph: Graph, *, self_pairs: bool = True) -> Array:
    """Pointwise mutual information log K_+ (N, N) of a relation that is positive on every pair.

    self_pairs: False leaves the diagonal out, as InfoNCE does; it is zero then. Raises DataError where a pair asked for
    has weight zero, whose logarithm is minus infinity.
    """
    K = _kernel(graph, warn=False)
    off = ~np.eye(K.shape[0], dtype=bool)
    zeros = np.count_nonzero(K[off] == 0) // 2
    if zeros:
        raise DataError(
            f"{zeros:,} of the {off.sum() // 2:,} pairs have weight zero and a PMI of minus infinity; add a relation "
            "positive on every pair, such as graph.plus(Graph.from_groups(np.zeros(N, dtype=int), weight=[0.01]))"
        )
    loops = np.count_nonzero(np.diag(K) == 0)
    if self_pairs and loops:
        raise DataError(
            f"{loops:,} samples have no self-pair, so that their PMI with themselves is minus infinity; pass "
            "self_pairs=False to leave the diagonal out"
        )
    out: Array = np.log(K, out=np.zeros_like(K), where=off | self_pairs)
    return out


def positive_pair_pca(graph: Graph | Spectra, n_components: int, *, X: Any = None) -> Embedding:
    """Kernel PCA of K_+ under p: the eigenfunctions of the pair chain off the constant, Z_k = f_k sqrt(max(0, a_k)).

    Scale: Z'diag(p)Z = diag(max(0, a)), columns by decreasing a; p'Z = 0. `spectrum` holds the a_k, the negative ones
    too: without self-pairs K_+ need not be psd, and where one of the first K is not positive its column is zero, with
    a SpectralWarning. It is the optimum of the spectral contrastive loss with K + 1 components, less its constant.

    graph: the relation, or `Spectra` to share factorisations or to take a kernel model. X (N, D): over linear maps
    Z = (X - mean) W only. K_+ is never formed. Samples without a pair get zero rows in the free model, with a
    SpectralWarning. Raises DataError for K = `n_components` above the dimension of the model off the constant.
    """
    spectra = as_spectra(graph, X)
    if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer) or n_components < 1:
        raise DataError(f"n_components must be a positive integer, got {n_components!r}")
    K = int(n_components)
    spectrum = spectra.of("degree_centred", min(K, spectra.n_samples))
    if spectrum.dimension < K:
        what = "paired samples, less one" if spectra.model == "free" else "directions in which the data vary"
        raise DataError(f"n_components={K} exceeds {spectrum.dimension}, the number of {what}; choose at most that")
    if spectra.model == "free" and spectra.graph is not None:
        _warn_isolated(spectra.graph)
    a = spectrum.values[:K]
    r = int(np.count_nonzero(a > 0))  # values at rounding are zero already
    if r < K:
        warnings.warn(
            f"only {r} of {K} eigenvalues of the positive-pair kernel are positive: the other columns are zero",
            SpectralWarning,
            stacklevel=2,
        )
    scale = np.sqrt(spectrum.total_weight * np.maximum(a, 0.0))
    embedding = Embedding(
        Z=spectrum.vectors[:, :K] * scale,
        spectrum=spectrum.values,
        W=None if spectrum.weights is None else spectrum.weights[:, :K] * scale,
        mean=spectrum.mean,
        rank=r,
        features=spectrum.features,
    )
    if spectra.model == "free" and spectra.graph is not None:
        return by_relation(embedding, spectrum, spectra.graph)
    return embedding


def _kernel(graph: Graph, *, warn: bool = True) -> Array:
    N = graph.n_samples
    if N > MAX_DENSE:
        raise ResourceError(
            f"the positive-pair kernel of {N:,} samples has {N**2:,} entries (limit {MAX_DENSE:,} samples); "
            "positive_pair_pca reads its principal components from the relation without forming it"
        )
    if warn:
        _warn_isolated(graph)
    A = np.asarray(graph.to_csr().toarray(), dtype=np.float64)
    inverse = np.divide(1.0, graph.degree, out=np.zeros(N), where=graph.degree > 0)
    # one factor at a time: a product of two degrees may overflow where the kernel does not
    out: Array = (graph.total_weight * inverse)[:, None] * A * inverse
    return out


def _warn_isolated(graph: Graph) -> None:
    isolated = int(np.count_nonzero(graph.degree == 0))
    if isolated:
        warnings.warn(
            f"{isolated:,} samples have no positive pair: their rows are zero, and they count for nothing under p",
            SpectralWarning,
            stacklevel=3,
        )
