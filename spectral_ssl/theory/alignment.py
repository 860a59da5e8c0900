"""How well a relation is aligned with labels: where, in its spectrum, the labels have their energy.

Y (N, C) one-hot labels, or (N, 1) numbers; HY is Y centred. With v_1, v_2, ... the eigenvectors of the Laplacian pencil
of a relation (smallest eigenvalue first, constant removed, v_j'Hv_k = delta_jk; over maps of data they are scores),

    energy_k = |v_k'HY|^2 / |HY|^2,     captured(K) = sum_{k <= K} energy_k

`captured(K)` is the share of HY that a linear probe explains on the top K (statement D1: its error is what is left),
and what no probe on any embedding inside the model can explain is 1 - sum_k energy_k. Over all embeddings

    dirichlet = tr(Y'LY) / tr(Y'HY) = sum_k lam_k energy_k,

the mean eigenvalue at which the labels sit: small where pairs join equal labels. For classes tr(Y'LY) is the weight of
the pairs that join unlike labels, so it can be read off the pairs,

    homophily = sum_{i != j} A_ij [y_i = y_j] / sum_{i != j} A_ij

Rows without a label take no part: their rows of HY are zero, and pairs that touch them do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl.data._checks import as_labels, check_int, frozen, missing_labels
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Spectra

__all__ = ["Alignment", "centred_labels", "edge_homophily", "label_alignment", "label_matrix"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the labels have their energy in the spectrum of a relation; see the module.

    values (R,): eigenvalues lam_k, ascending. energy (R,): of the labels, per eigenvector. dirichlet: the ratio above.
    homophily: None for numbers. chance: the homophily of random pairs, None for numbers. n_labels: labelled rows.
    complete: whether every eigenvalue of the model is held.
    """

    values: Array
    energy: Array
    dirichlet: float
    homophily: float | None
    chance: float | None
    n_labels: int
    complete: bool

    @property
    def cumulative(self) -> Array:
        """captured(k) for k = 1 .. R."""
        return np.cumsum(self.energy)

    def captured(self, n_components: int) -> float:
        """Share of the label energy in the first K eigenvectors: R^2 of a linear probe on them, on its own rows."""
        K = check_int(n_components, "n_components", low=0)
        if self.energy.size < K and not self.complete:
            raise DataError(f"{self.energy.size} eigenvectors are held, {K} were asked for")
        return float(self.energy[:K].sum())


def label_alignment(
    relation: Graph | Spectra,
    y: Any,
    n_components: int,
    *,
    X: Any = None,
    pencil: Literal["laplacian", "degree_centred"] = "laplacian",
) -> Alignment:
    """The label energy of a relation, eigenvector by eigenvector.

    relation: a graph (with X (N, D): over linear maps of X, else over all embeddings), or `Spectra`. y (N,): whole
    numbers or text are classes, floats are numbers; missing: -1, "", NaN. n_components: how many eigenvectors at least.
    pencil: "degree_centred" is the normalised Laplacian, values 1 - a_k, energies in the degree-weighted inner product.

    Raises DataError where the labels do not fit, none is known, or all are equal.
    """
    check_int(n_components, "n_components", low=1)
    if pencil not in ("laplacian", "degree_centred"):
        raise DataError(f"pencil={pencil!r} holds no label energy; choose 'laplacian' or 'degree_centred'")
    spectra = as_spectra(relation, X)
    graph = spectra.graph
    if graph is None:
        raise DataError("label energy needs the relation itself; give Spectra a graph, not moments alone")
    Y, known, classification = label_matrix(y, graph.n_samples)
    deg = graph.degree
    weight = known.astype(float) if pencil == "laplacian" else deg * known
    if not weight.sum() > 0:
        raise DataError("no row with a label has a pair, so labels have no energy in the degree-weighted pencil")
    HY = centred_labels(Y, weight) * known[:, None]
    total = float((weight[:, None] * HY**2).sum())
    spectrum = spectra.of(pencil, n_components)
    if not spectrum.vectors.shape[0]:
        raise DataError("label energy needs the rows of the data; give Spectra X, not moments alone")
    measured = spectrum.vectors.T @ (HY if pencil == "laplacian" else deg[:, None] * HY)  # (R, C)
    same = edge_homophily(graph, y) if classification else None
    shares = Y[known].mean(axis=0)
    return Alignment(
        values=frozen(np.array(spectrum.values if pencil == "laplacian" else 1 - spectrum.values)),
        energy=frozen((measured**2).sum(axis=1) / total),
        dirichlet=float((HY * graph.laplacian_matmul(HY)).sum()) / total,
        homophily=same,
        chance=float((shares**2).sum()) if classification else None,
        n_labels=int(known.sum()),
        complete=spectrum.complete,
    )


def edge_homophily(graph: Graph, y: Any) -> float:
    """The share of pair weight that joins equal labels, self-pairs and rows without a label left out.

    By products with the one-hot labels, so relations stored as groups are never expanded. Raises DataError for labels
    that are numbers, and where no pair joins two labelled rows.
    """
    if not isinstance(graph, Graph):
        raise DataError(f"homophily is of the pairs of a Graph, got {type(graph).__name__}; make one by ss.relations")
    Y, known, classification = label_matrix(y, graph.n_samples)
    if not classification:
        raise DataError("homophily is of classes, and these labels are numbers; pass y.astype(int) if they are classes")
    own = float((graph.diagonal * known).sum())
    mask = known.astype(float)[:, None]
    total = float((mask * graph.matmul(mask)).sum()) - own
    if not total > 1e-12 * graph.total_weight:
        raise DataError("no pair joins two rows with labels, so it cannot be said whether pairs agree with labels")
    return float(np.clip(((Y * graph.matmul(Y)).sum() - own) / total, 0.0, 1.0))


def centred_labels(Y: Array, weight: Array) -> Array:
    """HY (N, C) up to a factor, so that squares of labels of any size can be taken; weight (N,), 0 where none is known.

    Raises DataError where all labels that weigh are equal. They are compared themselves: less their mean equal numbers
    would leave rounding.
    """
    rows = weight > 0
    if not np.ptp(Y[rows], axis=0).any():
        raise DataError("all known labels are equal: they have no energy to find; give labels that differ")
    HY = Y - weight @ Y / weight.sum()
    return np.asarray(HY / np.abs(HY[rows]).max())


def label_matrix(y: Any, n_samples: int | None = None) -> tuple[Array, np.ndarray[Any, np.dtype[np.bool_]], bool]:
    """Y (N, C), one-hot for classes and one column of numbers else, zero where no label is known; known (N,); classes?

    Raises DataError where the number of labels is wrong or none is known.
    """
    labels = as_labels(y, n_samples, "labels")
    known = ~missing_labels(labels)
    if not known.any():
        raise DataError("no label is known; give some (-1, an empty text or NaN mean that one is missing)")
    if labels.dtype.kind == "f":
        return np.where(known, labels, 0.0)[:, None], known, False
    codes = np.unique(labels[known], return_inverse=True)[1]
    Y = np.zeros((labels.size, int(codes.max()) + 1))
    Y[known, codes] = 1.0
    return Y, known, True
