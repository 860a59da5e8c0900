"""Which pairs of a relation hurt: first-order influence of every edge on the label energy that K components capture.

With u_1, u_2, ... the eigenvectors of L off the constant (free), or the centred scores HXw of the eigenvectors w of the
pencil (X'LX, X'HX) (linear maps, kernels), ascending eigenvalues lam, and HY the centred labels,

    E_K = sum_{k <= K} |u_k'HY|^2 / |HY|^2

A pair's weight moves L by dL = (e_i - e_j)(e_i - e_j)' dA_ij, so u_k'dL u_l = d_ij(u_k) d_ij(u_l) dA_ij with
d_ij(u) = u(i) - u(j). First-order perturbation, du_k = sum_{l != k} u_l (u_l'dL u_k) / (lam_k - lam_l), gives

    dE_K / dA_ij = 2 / |HY|^2 sum_{k <= K < l} d_ij(u_k) d_ij(u_l) (u_k'YY'u_l) / (lam_k - lam_l)

Terms with both k, l <= K cancel in pairs: E_K sees the span alone. Over maps the same holds with scores for u, since
x_ij'w = d_ij(u) and X'HX stays. With the responses

    v_k = sum_{l > K} u_l (u_l'YY'u_k) / (lam_k - lam_l),      dE_K / dA_ij = 2 / |HY|^2 sum_k d_ij(u_k) d_ij(v_k)

any pair costs O(K), present in the relation or not (then it is what adding it would do), and any bundle of pairs W, a
clique of labels say, costs one product: dE_K along W = 2 tr(U'L_W V) / |HY|^2. Over all embeddings, where the whole
spectrum is not at hand, the eigenvectors held past K are summed as written, and what is left of v_k solves

    (L - lam_k I) r_k = -P YY'u_k,      P = I - (constant and the eigenvectors held)

on the range of P, where L - lam_k I is positive definite: conjugate gradients, O(|E|) a step. Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse.linalg

from spectral_ssl.data._checks import frozen
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, NumericalError
from spectral_ssl.graph import Graph, _indices
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import TIE_TOL, Model, Spectra, Spectrum
from spectral_ssl.theory.alignment import centred_labels, label_matrix

__all__ = ["Influence", "edge_influence", "pair_weights", "without_pairs"]

CG_TOL = 1e-10  # |residual| / |right-hand side| of the responses; influences inherit it over the gap
CG_STEPS = 5000


@dataclass(frozen=True, eq=False)
class Influence:
    """The slope of E_K in every pair's weight; see the module.

    energy: E_K. vectors (N, K): u_k; responses (N, K): 2 v_k / |HY|^2. gap: |lam_{K+1} - lam_K| / max lam, relative:
    first order holds for changes of L well below it. residual: the largest relative residual of the responses, 0 where
    they are sums. n_components K; model; solver: in words.
    """

    energy: float
    vectors: Array
    responses: Array
    gap: float
    residual: float
    n_components: int
    model: Model
    solver: str

    def of_pairs(self, i: Any, j: Any) -> Array:
        """dE_K / dA_ij of pairs i, j (P,), whether the relation has them or not. A self-pair has none."""
        N = self.vectors.shape[0]
        i, j = _indices(i, "i", N), _indices(j, "j", N)
        if i.shape != j.shape:
            raise DataError(f"pairs need as many i as j, got {i.size} and {j.size}")
        out: Array = ((self.vectors[i] - self.vectors[j]) * (self.responses[i] - self.responses[j])).sum(axis=1)
        return out

    def along(self, bundle: Graph) -> float:
        """dE_K / dt of A + t W for a bundle of pairs W: sum_{i < j} W_ij dE_K / dA_ij, groups never expanded.

        To first order, adding the bundle changes E_K by this, and taking it out by minus this.
        """
        self._check(bundle)
        return float((bundle.laplacian_matmul(self.vectors) * self.responses).sum())

    def removals(self, relation: Graph) -> tuple[Any, Any, Array]:
        """i, j, -A_ij dE_K/dA_ij of every pair of a relation: what taking it out gains, to first order, best first.

        Raises ResourceError where groups would expand past what memory holds; ask `of_pairs` for some pairs then.
        """
        self._check(relation)
        i, j, w = relation.pairs()
        keep = i != j
        i, j, w = i[keep], j[keep], w[keep]
        gain = -w * self.of_pairs(i, j)
        order = np.argsort(-gain, kind="stable")
        return i[order], j[order], gain[order]

    def _check(self, pairs: Graph) -> None:
        if not isinstance(pairs, Graph) or pairs.n_samples != self.vectors.shape[0]:
            over = f"{pairs.n_samples} samples" if isinstance(pairs, Graph) else type(pairs).__name__
            raise DataError(f"pairs must be a Graph over the {len(self.vectors)} samples of the relation, got {over}")


def edge_influence(
    relation: Graph | Spectra,
    y: Any,
    n_components: int,
    *,
    X: Any = None,
    model: Model | None = None,
    kernel: Any = None,
    ridge: float = 0.0,
) -> Influence:
    """First-order influence of every pair on the label energy captured by the first K components.

    relation, X, model, kernel, ridge: as for `ss.optimum`. y (N,): whole numbers or text are classes, floats are
    numbers; rows whose label is missing (-1, "", NaN) have no energy. n_components: K, where the spectrum has a gap.

    Raises DataError where eigenvalues K and K + 1 are equal: then E_K depends on which vectors of their eigenspace are
    taken, and has no derivative. NumericalError where conjugate gradients do not reach `CG_TOL`.
    """
    spectra = as_spectra(relation, X, model=model, kernel=kernel, ridge=ridge)
    graph = spectra.graph
    if graph is None or (spectra.model != "free" and spectra.X is None):
        raise DataError("influence is of the pairs of a graph on its rows; moments alone hold neither")
    K = n_components
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1:
        raise DataError(f"n_components must be a positive integer, got {n_components!r}")
    Y, known, _ = label_matrix(y, graph.n_samples)
    HY = centred_labels(Y, known.astype(float)) * known[:, None]
    total = float((HY**2).sum())
    spectrum = spectra.of("laplacian", K)
    _check_gap(spectrum, K)
    U, lam = spectrum.vectors, spectrum.values
    C = U.T @ HY  # (R, classes)
    between = C[K:] @ C[:K].T / (lam[None, :K] - lam[K:, None])  # (R - K, K): (u_l'YY'u_k) / (lam_k - lam_l)
    V = U[:, K:] @ between
    residual, told = 0.0, "sums over the whole spectrum"
    if not spectrum.complete:
        rest, residual, steps = _solved(graph, U, lam[:K], HY @ C[:K].T)
        V = V + rest
        told = f"conjugate gradients, {steps} steps at most, past {U.shape[1]} eigenvectors"
    return Influence(
        energy=float((C[:K] ** 2).sum()) / total,
        vectors=frozen(np.array(U[:, :K])),
        responses=frozen(2 / total * V),
        gap=spectrum.gap(K),
        residual=residual,
        n_components=int(K),
        model=spectra.model,
        solver=told,
    )


def _check_gap(spectrum: Spectrum, K: int) -> None:
    lam = spectrum.values
    if lam.size < K or (lam.size == K and spectrum.complete):
        raise DataError(
            f"n_components={K} keeps all {lam.size} directions of this model, and no change of a pair moves their "
            "span; ask for fewer"
        )
    if spectrum.gap(K) > TIE_TOL:
        return
    gaps = [r for r in range(1, lam.size) if spectrum.gap(r) > TIE_TOL]
    hint = f"the gap is open at {', '.join(map(str, gaps[:12]))}" if gaps else "no gap is open among those computed"
    if spectrum.model == "free":
        hint += "; over maps of the data (X=) ties are broken"
    raise DataError(
        f"eigenvalues {K} and {K + 1} of this relation are equal ({lam[K - 1]:.6g}): which of their vectors are kept "
        f"is arbitrary, so the energy of {K} components has no derivative; choose another n_components: {hint}"
    )


def _solved(graph: Graph, U: Array, lam: Array, B: Array) -> tuple[Array, float, int]:
    """r_k (N, K) of (L - lam_k) r_k = -P b_k off the constant and U (N, R); the largest residual, and the steps."""
    N, K = B.shape
    deg = graph.degree

    def off(V: Array) -> Array:
        V = V - V.mean(axis=0)
        out: Array = V - U @ (U.T @ V)
        return out

    R, worst, most = np.zeros((N, K)), 0.0, 0
    target = -off(B)
    for k in range(K):
        size = float(np.linalg.norm(target[:, k]))
        if size <= np.finfo(float).eps * float(np.linalg.norm(B[:, k])):
            continue
        scale = np.maximum(deg - lam[k], 0.1 * float(deg.mean()))  # of isolated and faint samples too: positive
        steps = 0

        def product(v: Array, k: int = k) -> Array:
            v = off(v)
            return off(graph.laplacian_matmul(v) - lam[k] * v)

        def count(_: Array) -> None:
            nonlocal steps
            steps += 1

        A = scipy.sparse.linalg.LinearOperator((N, N), matvec=product, dtype=np.float64)
        M = scipy.sparse.linalg.LinearOperator((N, N), matvec=lambda v, s=scale: off(off(v) / s), dtype=np.float64)
        found, _ = scipy.sparse.linalg.cg(A, target[:, k], rtol=CG_TOL / 10, maxiter=CG_STEPS, M=M, callback=count)
        R[:, k] = off(found)
        left = float(np.linalg.norm(product(R[:, k]) - target[:, k])) / size
        worst, most = max(worst, left), max(most, steps)
    if not worst <= CG_TOL:
        raise NumericalError(
            f"conjugate gradients stopped at a residual of {worst:.1e} after {most} steps: the gap past component {K} "
            "is too small for this relation; choose another n_components, or give X= for the linear model"
        )
    return R, worst, most


def pair_weights(graph: Graph, i: Any, j: Any) -> Array:
    """A_ij of pairs i, j (P,), groups not expanded."""
    i, j = _indices(i, "i", graph.n_samples), _indices(j, "j", graph.n_samples)
    w = np.zeros(i.size) if graph.edges is None else np.asarray(graph.edges[i, j], dtype=np.float64).reshape(i.size)
    for g in graph.groups:
        w = w + g.row_weight[i] * ((g.codes[i] == g.codes[j]) & (g.diagonal | (i != j)))
    return w


def without_pairs(graph: Graph, i: Any, j: Any) -> Graph:
    """The relation without the pairs i, j (P,). Groups are expanded: raises as `Graph.to_csr` where too large."""
    i, j = _indices(i, "i", graph.n_samples), _indices(j, "j", graph.n_samples)
    A = graph.to_csr().tolil()
    A[i, j] = 0.0
    A[j, i] = 0.0
    return Graph(graph.n_samples, A.tocsr(), (), graph.attach)
