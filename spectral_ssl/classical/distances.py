"""Multidimensional scaling: of distances, of any similarities or relation, and of geodesics (Isomap).

All three are min |ZZ' - G|_F^2, Frobenius SimCLR on a matrix G of its own: Z = U_K diag(sqrt max(0, g)), min =
|G|_F^2 - sum_{k<=K} max(0, g_k)^2, and a new sample with similarities g(x) to the training samples lies at
z_k(x) = g(x)'u_k / sqrt(g_k), which on training rows is Z itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from spectral_ssl import linalg
from spectral_ssl.classical._common import Array, checked, embed
from spectral_ssl.classical._geodesics import Geodesics
from spectral_ssl.embedding import Embedding, in_blocks
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning
from spectral_ssl.extension import by_relation
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import MARGIN, Spectra

__all__ = ["classical_mds", "generalized_mds", "isomap"]

SYMMETRY_TOL = 1e-9  # |G - G'| relative to max|G|: distances and kernels computed in another order agree to 1e-13
DIAGONAL_TOL = 1e-3  # of the largest distance: products in float32 leave 3e-4 on the diagonal, similarities about 1
FAINT = 1e-12  # of the largest |g|: an eigenvalue below it is rounding, and no dimension


def classical_mds(distances: Any, n_components: int) -> Embedding:
    """Classical multidimensional scaling of distances (N, N): Frobenius SimCLR with G = -H D2 H / 2.

    min |ZZ' - G|_F^2: Z = U_K diag(sqrt max(0, g)), centred; for Euclidean distances this is PCA. `spectrum` holds all
    g, descending, the negative ones too, which distances of no Euclidean space have (past 1,500 samples the K + 8
    largest and, last, the least). Where one of the first K is not positive its column is zero, with a warning.

    transform: distances (n, N) of new samples to the training samples, by Gower's formula (1968); rows of the training
    distances give Z. Fit on landmarks and transform the others, and it is Landmark MDS (de Silva & Tenenbaum 2004):

        classical_mds(D[marks][:, marks], K).transform(D[:, marks])

    Raises DataError unless distances are square, symmetric, finite and non-negative, zero from a sample to itself;
    ResourceError past 20,000 samples.
    """
    D = _distances(distances)
    return _told(_gower(D**2, checked(n_components, D.shape[0] - 1, "N - 1")))


def generalized_mds(similarity: Any, n_components: int, *, centre: bool = False) -> Embedding:
    """Multidimensional scaling of any symmetric similarities: Frobenius SimCLR beyond positive pairs.

    min |ZZ' - G|_F^2: Z = U_K diag(sqrt max(0, g)), G of entries of any sign; `spectrum` as for `classical_mds`. Only
    positive eigenvalues are of use: rank Z = min(K, #{g > 0}), whatever the rank of G. Of a Graph `spectrum` holds at
    least the K + 1 largest.

    similarity: G (N, N) dense, or a Graph (or its free Spectra), whose adjacency matrix is kept sparse. centre: take
    HGH in place of G, and so Z'1 = 0: for a graph this leaves out the near-constant top direction; for a kernel matrix
    it is kernel PCA.

    transform: similarities (n, N) of new samples to the training samples, centred as the training ones were; for a
    Graph new samples X, where its relation has a rule for them.
    """
    if isinstance(similarity, Graph | Spectra):
        spectra = as_spectra(similarity)
        if spectra.model != "free" or spectra.graph is None:
            raise DataError("multidimensional scaling embeds the samples of a graph; pass Spectra(graph), without X")
        K = checked(n_components, spectra.n_samples - int(centre), "N - 1" if centre else "N")
        if centre:
            return _told(_of_centred_graph(spectra.graph, K))
        spectrum = spectra.of("adjacency", K)
        g = spectrum.values[:K]
        h = np.where(g > FAINT * np.abs(spectrum.values).max(), g, 0.0)
        return _told(by_relation(embed(spectrum, spectrum.values, K, np.sqrt(h)), spectrum, spectra.graph))
    G = _symmetric(similarity, "similarities")
    K = checked(n_components, G.shape[0] - int(centre), "N - 1" if centre else "N")
    if centre:
        return _told(_scaled(_double_centred(G.copy()), K, mean=G.mean(axis=0), centred=True))
    return _told(_scaled(G, K, mean=np.zeros(G.shape[0]), centred=False))


def isomap(
    X: Any,
    n_components: int,
    *,
    n_neighbors: int | None = None,
    radius: float | None = None,
    metric: str = "euclidean",
) -> Embedding:
    """Isomap: classical MDS of the lengths of shortest paths in a neighbour graph (Tenenbaum et al. 2000).

    i ~ j if j is among the k nearest of i or i among those of j, or if they lie within a radius; an edge is as long as
    the distance. `spectrum` as for `classical_mds`: geodesics are no Euclidean distances, its last value is negative.

    X (N, D), N at most 10,000. n_neighbors: min(10, N - 1) where no radius is given. metric: any of sklearn.neighbors,
    or "precomputed", X being distances (N, N) and new samples their distances (n, N).

    transform: a new sample is joined to its k nearest training samples (those within the radius), and placed by
    Gower's formula; training rows give Z.

    Raises DataError where the graph falls apart, with the value that would join it; ResourceError past 10,000 samples.
    """
    if metric == "precomputed":
        X = _distances(X)
    geodesics = Geodesics.of(X, n_neighbors=n_neighbors, radius=radius, metric=metric)
    placed = _told(_gower(geodesics.lengths**2, checked(n_components, geodesics.lengths.shape[0] - 1, "N - 1")))
    return replace(placed, extension=_Isomap(geodesics, placed.extension))


# --- new samples ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Similarities:
    """z(x) = (g(x) - m)'T, T = U diag(g)^(-1/2): g(x) the similarities of x to the N training samples, m (N,).

    rows: what turns new samples into g (n, N), dense or sparse. m is the mean training similarity where G was centred:
    that of x itself drops out, since T'1 = 0 there.
    """

    rows: Callable[[Any], Any]
    mean: Array
    T: Array  # (N, K)

    def __call__(self, X: Any) -> Array:
        out: Array = self.rows(X) @ self.T - self.mean @ self.T
        return out


@dataclass(frozen=True, eq=False)
class _Rows:
    """Checks similarities or distances (n, N) to the training samples, and takes -d^2/2 of distances."""

    n_samples: int
    squared: bool

    def __call__(self, M: Array) -> Array:
        if M.ndim != 2 or M.shape[1] != self.n_samples:
            what = "distances" if self.squared else "similarities"
            raise DataError(
                f"new samples are given by their {what} (n, {self.n_samples}) to the training samples, got "
                f"shape {M.shape}"
            )
        if not self.squared:
            return M
        if np.any(M < 0):
            raise DataError(f"distances hold {np.count_nonzero(M < 0):,} negative values")
        return M**2 / -2


@dataclass(frozen=True, eq=False)
class _Isomap:
    """Gower's formula on geodesic distances."""

    geodesics: Geodesics
    gower: Any

    def __call__(self, X: Array) -> Array:
        N, K = self.geodesics.X.shape[0], self.gower.T.shape[1]
        return in_blocks(lambda rows: self.gower(self.geodesics.of_new(rows)), X, N, K)


# --- G to Z -----------------------------------------------------------------------------------------------------------


def _gower(D2: Array, K: int) -> Embedding:
    """Scaling of squared distances (N, N), which are overwritten."""
    mean = D2.mean(axis=0) / -2
    D2 *= -0.5
    return _scaled(_double_centred(D2), K, mean=mean, centred=True, squared=True)


def _double_centred(G: Array) -> Array:
    """HGH, in place."""
    G -= G.mean(axis=0)
    G -= G.mean(axis=1, keepdims=True)
    return G


def _scaled(G: Array, K: int, *, mean: Array, centred: bool, squared: bool = False) -> Embedding:
    N = G.shape[0]
    if linalg.DENSE_MAX >= N or N // 3 <= K + MARGIN:
        values, U = linalg.eigh(G)
        values, U = values[::-1].copy(), U[:, ::-1][:, :K]
    else:
        values, U = _ends(lambda V: G @ V, N, K, float(np.linalg.norm(G)), centred)
    return _placed(values, U, K, mean, _Rows(N, squared))


def _of_centred_graph(graph: Graph, K: int) -> Embedding:
    """min |ZZ' - HAH|_F^2, A known by its products. A v - 1 m'v = g v for v orthogonal to 1, m = A 1 / N."""
    N, m = graph.n_samples, graph.degree / graph.n_samples

    def product(V: Array) -> Array:
        AV = graph.matmul(V - V.mean(axis=0))
        out: Array = AV - AV.mean(axis=0)
        return out

    values, U = _ends(product, N, K, float(np.sqrt(graph.adjacency_norm2)), centred=True)
    return _placed(values, U, K, m, graph.attach)


def _ends(product: Callable[[Array], Array], N: int, K: int, size: float, centred: bool) -> tuple[Array, Array]:
    """The K + MARGIN largest eigenvalues of G and, last, the least; eigenvectors (N, K) of the first. size: |G|_F."""
    one = np.full((N, 1), 1 / np.sqrt(N)) if centred else None

    def bottom(sign: float, k: int) -> linalg.Eigenpairs:
        def apply(V: Array) -> Array:
            return size * V + sign * product(V)

        M = scipy.sparse.linalg.LinearOperator((N, N), matvec=apply, matmat=apply, dtype=np.float64)
        return linalg.smallest_eigenpairs(M, k, upper=2 * size, null=one)

    top = bottom(-1, K + MARGIN)
    values = size - top.values
    if values.size < N - centred:
        values = np.append(values, bottom(1, 1).values - size)
    return values, top.vectors[:, :K]


def _placed(values: Array, U: Array, K: int, mean: Array, rows: Callable[[Any], Any] | None) -> Embedding:
    """Z = U diag(sqrt max(0, g)), and its extension where there are rows for new samples."""
    tol = max(FAINT, values.size * linalg.EPS) * np.abs(values).max(initial=0.0)
    h = np.sqrt(np.where(values[:K] > tol, values[:K], 0.0))
    U = linalg.fix_signs(U)
    T = U * np.divide(1.0, h, out=np.zeros_like(h), where=h > 0)
    extension = None if rows is None else Similarities(rows, mean, T)
    return Embedding(Z=U * h, spectrum=values, rank=int(np.count_nonzero(h)), extension=extension)


def _told(embedding: Embedding) -> Embedding:
    """The embedding, with a warning where eigenvalues were not positive; to be called by what the user calls."""
    K, rank = embedding.n_components, embedding.rank
    if rank is not None and rank < K:
        warnings.warn(
            f"only {rank} of {K} dimensions are Euclidean: the other eigenvalues are not positive and their columns "
            "are zero",
            SpectralWarning,
            stacklevel=3,
        )
    return embedding


def _distances(M: Any) -> Array:
    D = _symmetric(M, "distances")
    if np.any(D < 0):
        raise DataError(
            f"distances hold {np.count_nonzero(D < 0):,} negative values; for similarities use generalized_mds"
        )
    if np.diag(D).max() > DIAGONAL_TOL * D.max():
        raise DataError("distances must be zero from a sample to itself; for similarities use generalized_mds")
    return D


def _symmetric(M: Any, what: str) -> Array:
    """A dense symmetric finite matrix (N, N)."""
    if scipy.sparse.issparse(M):
        raise DataError(f"{what} must be a dense array; a sparse relation is a Graph: ss.Graph.from_adjacency(M)")
    try:
        G = np.asarray(M, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be an array of numbers: {error}") from error
    if G.ndim != 2 or G.shape[0] != G.shape[1] or G.shape[0] < 2:
        raise DataError(f"{what} must be a square matrix of at least 2 samples, got shape {G.shape}")
    if G.shape[0] > linalg.DENSE_LIMIT:
        raise ResourceError(
            f"{what} of {G.shape[0]:,} samples are {8 * G.shape[0] ** 2 / 1e9:.0f} GB, three times over in work (limit "
            f"{linalg.DENSE_LIMIT:,}); fit on landmarks and transform the others by their {what} to these"
        )
    if np.any(np.isinf(G)) and not np.any(np.isnan(G)):
        raise DataError(
            f"{what} hold {np.count_nonzero(np.isinf(G)):,} infinite values; join the components of the graph they "
            "come from first"
        )
    if not np.all(np.isfinite(G)):
        raise DataError(f"{what} hold {np.count_nonzero(np.isnan(G)):,} NaN values; remove those samples")
    difference = np.abs(G - G.T)
    if difference.max() > SYMMETRY_TOL * np.abs(G).max():
        i, j = (int(c) for c in np.unravel_index(int(difference.argmax()), G.shape))
        raise DataError(
            f"{what} must be symmetric, but entry [{i},{j}] is {G[i, j]:g} and [{j},{i}] is {G[j, i]:g}; "
            "pass (M + M.T) / 2"
        )
    return G
