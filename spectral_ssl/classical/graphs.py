"""Methods of a graph: Laplacian Eigenmaps over all embeddings, LPP over linear maps, LDA as LPP on the label graph."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from spectral_ssl.classical._common import Array, checked, embed, n_features, of_maps
from spectral_ssl.data import Dataset
from spectral_ssl.embedding import Embedding
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.extension import Nystroem, by_relation
from spectral_ssl.graph import Graph
from spectral_ssl.relations import labels
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Pencil, Spectra

__all__ = ["laplacian_eigenmaps", "lda", "lpp"]


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

    transform: on relations with a rule for new samples (knn, epsilon, nearest) the eigen-equation gives z(x) from
    the embeddings of the samples it pairs with (Bengio et al. 2004); on the training rows it gives Z.
    """
    if normalization not in ("none", "symmetric", "random_walk"):
        raise DataError(f"normalization={normalization!r} is not known; choose 'none', 'symmetric' or 'random_walk'")
    spectra = as_spectra(graph)
    if spectra.model != "free" or spectra.graph is None:
        raise DataError("Laplacian Eigenmaps embeds the samples of a graph; for linear maps of X use lpp")
    pencil: Pencil = "laplacian" if normalization == "none" else "degree_centred"
    K = checked(n_components, spectra.n_samples - 1, "N - 1")
    spectrum = spectra.of(pencil, K)
    if normalization == "none":
        return by_relation(embed(spectrum, spectrum.values, K, np.sqrt(spectra.n_samples)), spectrum, spectra.graph)
    walk = by_relation(embed(spectrum, 1 - spectrum.values, K, np.sqrt(spectrum.total_weight)), spectrum, spectra.graph)
    if normalization == "random_walk":
        return walk
    Z = np.sqrt(spectra.graph.degree)[:, None] * walk.Z
    extension = _RootDegree(walk.extension, Z) if isinstance(walk.extension, Nystroem) else None
    return replace(walk, Z=Z, extension=extension)


@dataclass(frozen=True, eq=False)
class _RootDegree:
    """sqrt(d(x)) z(x) for the extension z of the random-walk form, d(x) the weight of x to the training samples.

    A row equal to training rows gets the first of theirs in Z (N, K), as in the random-walk form.
    """

    walk: Nystroem
    Z: Array

    def __call__(self, X: Array) -> Array:
        same = np.full(X.shape[0], -1) if self.walk.known is None else self.walk.known(X)
        out: Array = self.Z[same]
        new = same < 0
        if np.any(new):
            a = self.walk.attach(X[new])
            z = replace(self.walk, attach=lambda _: a, known=lambda _: same)(X)[new]  # both found once
            out[new] = np.sqrt(np.asarray(a.sum(axis=1)).reshape(-1, 1)) * z
        return out


def lpp(X: Any, graph: Graph | Spectra, n_components: int, *, kernel: Any = None, ridge: float = 0.0) -> Embedding:
    """Locality Preserving Projections: (X'LX + rI) w = mu X'HX w, smallest mu, W'X'HXW = N I.

    min tr(Z'LZ) + r |W|_F^2 over Z = HXW of unit covariance. X (N, D) is centred; He & Niyogi (2004) constrain by
    X'diag(deg)X, the same on a regular graph. kernel: X becomes the features of a kernel (`spectral_ssl.kernels`);
    without ridge, an exact kernel of full rank gives Laplacian Eigenmaps themselves. ridge: r, in units of tr(Z'LZ).
    With Spectra in place of the graph X is None: they hold it, with kernel and ridge.
    """
    spectra = of_maps(X, graph, kernel, ridge)
    K = checked(n_components, n_features(spectra), "the number of features")
    spectrum = spectra.of("laplacian", K)
    return embed(spectrum, spectrum.values, K, np.sqrt(spectrum.n_samples))


def lda(X: Any, y: Any, n_components: int | None = None, *, kernel: Any = None, ridge: float = 0.0) -> Embedding:
    """Linear discriminant analysis, as LPP on the label graph Y diag(1/n_c) Y': there X'LX is the within-class scatter.

    (S_w + rI) w = mu S_t w for the smallest mu, W'S_tW = N I; without ridge exact for any class balance.

    n_components: at most C - 1 (default). kernel: discriminants in the features of a kernel. ridge: r |w|^2 is added
    to the within-class scatter, in its units; the total scatter stays as it is. Since S_t = S_w + S_b,

        S_b w = ((1 - mu)/mu) (S_w + r_k I) w,    r_k = r/(1 - mu)

    so each direction with mu < 1 is that of ridge discriminant analysis (Mika et al. 1999) with a ridge of its own;
    where mu > 1 the ridge outweighs what the direction separates.
    """
    data = Dataset(name="data", X=X, y=y)
    if not np.all(data.labelled):
        raise DataError(
            f"{np.count_nonzero(~data.labelled)} of {data.n_samples} rows have no label; discriminant analysis is of "
            "labelled rows only, leave the others out"
        )
    if not data.is_classification:
        raise DataError(
            "discriminant analysis needs classes, but y is continuous; bin it, or pass whole numbers or text"
        )
    C = len(data.classes)
    if C < 2:
        raise DataError(
            f"discriminant analysis separates classes, and all {data.n_samples} rows have the label "
            f"{data.classes[0].item()!r}; it needs at least two classes in y"
        )
    spectra = as_spectra(labels(data), data.X, kernel=kernel, ridge=ridge)
    limit = min(C - 1, n_features(spectra))
    K = limit if n_components is None else checked(n_components, limit, "min(C - 1, D)")
    spectrum = spectra.of("laplacian", K)
    if ridge == 0 and spectrum.dimension >= data.n_samples - 1:
        warnings.warn(
            f"{spectrum.dimension} independent features for {data.n_samples} samples: any labels are separated without "
            "error on the training rows, which says nothing of new ones; pass ridge=, or use fewer features",
            SpectralWarning,
            stacklevel=2,
        )
    return embed(spectrum, spectrum.values, K, np.sqrt(spectrum.n_samples))
