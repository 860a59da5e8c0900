"""The spectral contrastive loss beside VICReg, and what its eigenvectors tell a linear classifier.

Positive pairs (i, j) are drawn with probability w_ij = A_ij / s, single samples with p_i = deg_i / s, D = diag(deg).

**The uncentred identity** (Cabannes et al. 2023, arXiv 2302.02774; the weights derived here). With z and z- drawn by p,
independently, z+ a positive of z, and C = E zz' = sum_i p_i z_i z_i', for every Z (N, K) and every b:

    |C - I|_F^2 + b E|z - z+|^2 = E (z'z-)^2 - 2 b E z'z+ + 2 (b - 1) E|z|^2 + K

since |C|_F^2 = sum_ij p_i p_j (z_i'z_j)^2, tr C = E|z|^2, and E|z - z+|^2 = 2 E|z|^2 - 2 E z'z+, both ends of a pair
having the law p. The left side is squared VICReg without centring, at invariance b; at b = 1 it is the spectral
contrastive loss + K.

**The probe bound** (the core of HaoChen et al. 2021, arXiv 2106.04156; constants derived here). Let u_1, u_2, .. be the
orthonormal eigenvectors of I - D^-1/2 A D^-1/2, 0 = nu_1 <= nu_2 <= .. <= 2, and let Y (N, C) be one-hot labels, T =
(D / s)^1/2 Y, |T|_F^2 = 1. The Dirichlet form of labels counts the pairs that they tell apart:

    tr T'(I - D^-1/2 A D^-1/2) T = (1 / 2s) sum_ij A_ij |Y_i - Y_j|^2 = sum_{y_i != y_j} A_ij / s = phi

(`cross_class_mass`; self-pairs count in s and never in phi). In eigenvectors it is sum_k nu_k |u_k'T|^2, so that

    energy(K) = |T|_F^2 - sum_{k <= K} |u_k'T|^2 <= phi / nu_{K+1}

with equality exactly where all energy past K is at nu_{K+1} and all energy up to K at nu = 0. energy(K) is the least
squared error sum_i p_i |Y_i - B'x_i|^2 of a linear map, without intercept, of x = the rows of D^-1/2 [u_1 .. u_K], or
of any embedding of their span: the optimum of the spectral contrastive loss where its K-th eigenvalue 1 - nu_K is
positive. A sample whose class is not the single largest of its C scores f has |Y_i - f|^2 >= (1 - f_y)^2 + f_c^2 >= 1/2
for some f_c >= f_y. So the share of samples, drawn by p, that argmax gets wrong, ties counted as wrong, is at most

    error <= 2 energy(K) <= 2 phi / nu_{K+1}

The bound is about the samples of the graph. It needs eigenvectors over all embeddings: in a linear model the labels are
no combination of the scores, and nothing of the kind follows.

**What a linear classifier does not see** (a lemma of HaoChen et al. 2021). Z~ = diag(c) Z R with every c_i > 0 and R
(K, K) invertible: the classifier R^-1 B, without intercept, has the scores diag(c) ZB on Z~, row by row positive
multiples of those of B on Z, and so the same argmax. Embeddings that differ by c and R therefore have the same set of
predictions of such classifiers. That is why D^-1/2 and diag(sqrt a) in the optimum do not matter there. It does not
hold with an intercept, nor of *the* classifier that least squares finds: R leaves its predictions alone, c does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.data._checks import as_labels, missing_labels
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Spectra
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["ProbeBound", "UncentredIdentity", "cross_class_mass", "probe_bound", "uncentred_identity"]

TIE_TOL = 1e-9  # scores closer than this to the largest are tied: eigenvectors are good to 1e-12, scores are about 1
ZERO_TOL = 1e-12  # nu below this is the zero of another component, found with rounding


@dataclass(frozen=True)
class UncentredIdentity:
    """Both sides of the uncentred identity, each summed by itself.

    spread: |C - I|_F^2. invariance: E|z - z+|^2. repulsion: E (z'z-)^2. attraction: E z'z+. norm: E|z|^2. weight: b.
    n_components: K. residual: |left - right| relative to the sum of the sizes of all terms: rounding.
    """

    spread: float
    invariance: float
    repulsion: float
    attraction: float
    norm: float
    weight: float
    n_components: int

    @property
    def non_contrastive(self) -> float:
        """The left side: |C - I|_F^2 + b E|z - z+|^2."""
        return self.spread + self.weight * self.invariance

    @property
    def contrastive(self) -> float:
        """The right side: E (z'z-)^2 - 2 b E z'z+ + 2 (b - 1) E|z|^2 + K."""
        b = self.weight
        return self.repulsion - 2 * b * self.attraction + 2 * (b - 1) * self.norm + self.n_components

    @property
    def residual(self) -> float:
        b = abs(self.weight)
        size = self.spread + b * self.invariance + self.repulsion + 2 * b * abs(self.attraction)
        size += 2 * abs(self.weight - 1) * self.norm + self.n_components
        return abs(self.non_contrastive - self.contrastive) / size


def uncentred_identity(Z: Any, graph: Graph, weight: float = 1.0) -> UncentredIdentity:
    """Squared VICReg without centring, and the contrastive loss that it is; matrix-free, see the module.

    Z (N, K): not centred. weight: b, any finite number.

    Raises DataError for Z of another shape or not finite, and for a weight that is not a number.
    """
    Z = as_numbers(Z, "Z")
    if Z.ndim != 2 or Z.shape[0] != graph.n_samples or Z.shape[1] == 0:
        raise DataError(f"Z has shape {Z.shape}, expected ({graph.n_samples}, K) for this relation")
    if not np.all(np.isfinite(Z)):
        raise DataError(f"Z holds {np.count_nonzero(~np.isfinite(Z))} NaN or infinite values")
    if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not math.isfinite(weight):
        raise DataError(f"weight must be a finite number, got {weight!r}")
    s = graph.total_weight
    p = (graph.degree / s)[:, None]
    C = Z.T @ (p * Z)
    return UncentredIdentity(
        spread=float(((C - np.eye(Z.shape[1])) ** 2).sum()),
        invariance=float(2 * (Z * graph.laplacian_matmul(Z)).sum() / s),
        repulsion=float((p * (Z @ C) * Z).sum()),  # sample by sample: sum_j p_j (z_i'z_j)^2 = z_i'C z_i
        attraction=float((Z * graph.matmul(Z)).sum() / s),
        norm=float((p * Z**2).sum()),
        weight=float(weight),
        n_components=Z.shape[1],
    )


def cross_class_mass(graph: Graph, y: Any) -> float:
    """phi = sum_{y_i != y_j} A_ij / s: how likely a positive pair has two labels; self-pairs count in s.

    y (N,): whole numbers or text, none missing (samples without a pair may lack theirs). 1 - phi is the homophily of
    the relation weighted by A, its diagonal included.

    Raises DataError for labels that are continuous, missing, or of another length.
    """
    Y = _one_hot(graph, y)
    return max(0.0, float((Y * graph.laplacian_matmul(Y)).sum() / graph.total_weight))


@dataclass(frozen=True)
class ProbeBound:
    """What the top K eigenvectors of a relation leave of its labels, and what they must leave at most.

    n_components: K. cross_class_mass: phi. next_eigenvalue: nu_{K+1}, inf where none is left. energy: the least squared
    error of a linear map, of 1. energy_bound: phi / nu_{K+1}. error: share of samples, weighed by degree, that its
    argmax gets wrong, ties counted as wrong. error_bound: 2 phi / nu_{K+1}, which says nothing from 1 on. positive:
    whether eigenvalue K of D^-1/2 A D^-1/2 is positive, so that the spectral contrastive loss keeps all K directions.
    """

    n_components: int
    cross_class_mass: float
    next_eigenvalue: float
    energy: float
    energy_bound: float
    error: float
    error_bound: float
    positive: bool


def probe_bound(relation: Graph | Spectra, y: Any, n_components: int) -> ProbeBound:
    """The label energy and the probe error that K eigenvectors leave, and their bounds by the pairs across classes.

    relation: a graph, or `Spectra` over all embeddings. y (N,): whole numbers or text. n_components: K, 1 to N.

    Raises DataError for labels as `cross_class_mass`, for K out of range, and for a linear or kernel model.
    """
    spectra = as_spectra(relation)
    graph = spectra.graph
    if spectra.model != "free" or graph is None:
        raise DataError(
            "the probe bound is about eigenvectors over all embeddings, whose span holds the labels; pass the graph, "
            f"not Spectra of the {spectra.model} model"
        )
    K = n_components
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or not 1 <= K <= graph.n_samples:
        raise DataError(f"n_components must be an integer from 1 to {graph.n_samples}, got {K!r}")
    Y, s, deg = _one_hot(graph, y), graph.total_weight, graph.degree[:, None]
    spectrum = spectra.of("degree", int(K))
    V, a = spectrum.vectors[:, :K], spectrum.values
    scores = V @ (V.T @ (deg * Y))  # V'DV = I: the least-squares map, V = D^-1/2 U
    left = deg * (Y - scores) ** 2 / s
    nu = 1 - float(a[K]) if a.size > K else math.inf
    phi = cross_class_mass(graph, y)
    bound = math.inf if nu <= ZERO_TOL else phi / nu
    own = (scores * Y).sum(axis=1)
    others = np.where(Y > 0, -np.inf, scores).max(axis=1)
    wrong = own <= others + TIE_TOL
    return ProbeBound(
        n_components=int(K),
        cross_class_mass=phi,
        next_eigenvalue=nu,
        energy=float(left.sum()),
        energy_bound=bound,
        error=float((graph.degree * wrong).sum() / s),
        error_bound=2 * bound,
        positive=bool(a.size >= K and a[K - 1] > ZERO_TOL),
    )


def _one_hot(graph: Graph, y: Any) -> Array:
    """Y (N, C), with a row of zeros for a sample that has neither label nor pair."""
    labels = as_labels(y, graph.n_samples, "labels")
    if labels.dtype.kind == "f":
        raise DataError("y holds continuous targets; pass classes as whole numbers or text")
    missing = missing_labels(labels)
    if paired := np.count_nonzero(missing & (graph.degree > 0)):
        raise DataError(
            f"y lacks the label of {paired} samples with positive pairs; leave them out with graph.subgraph(index)"
        )
    classes, codes = np.unique(labels[~missing], return_inverse=True)
    Y = np.zeros((graph.n_samples, classes.size))
    Y[np.flatnonzero(~missing), codes] = 1.0
    return Y
