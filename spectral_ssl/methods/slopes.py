"""The loss of an embedding and its slope, L(Z) and dL/dZ (N, K), as a function of numpy arrays.

What a descent over a model of its own asks for at every step (`theory.forecast`). Written out where a loss is descended
often, with no graph of operations to record; any other method is differentiated by torch. With N' = N - ddof,
Zc = HZ, E_kk = alpha (C_kk - 1) and E_jk = beta C_jk off the diagonal,

    VICReg, squared    C = Zc'Zc / N',   dL/dZ = (4 / N') Zc E + (4 gamma / N) L Z                  (L the Laplacian)

with Y = Z centred by degree, M = Y'AY, S = diag(Y'diag(deg)Y), C = S^-1/2 M S^-1/2, and G the slope in C, G_kk =
2 (C_kk - 1) and G_jk = 2 lambda C_jk off the diagonal,

    Barlow Twins       dL/dZ = 2 AY S^-1/2 G S^-1/2 - 2 diag(deg) Y diag(sum_l G_kl C_kl / S_k)

whose columns sum to 0 as 1'AY = deg'Y = 0, so that centring adds nothing to it. InfoNCE compares with a sample J of m
rows, drawn once, in place of all (all where m >= N):

    L = sum_i { -(Az)_i'z_i / tau + d_i log [(N - 1) mean_{j in J, j != i} exp(z_i'z_j / tau)] },   z_i = y_i / |y_i|
    dL/dy_i = (I - z_i z_i') g_i / |y_i|,   g = (-2 Az + P z_J + P'z) / tau,   P_ij = d_i softmax_J (z_i'z_j / tau)

The mean over J estimates that over all rows; its logarithm is too small by O(1/m). Derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from spectral_ssl.data._checks import check_int, generator
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.methods.barlow_twins import BarlowTwins
from spectral_ssl.methods.base import Method
from spectral_ssl.methods.infonce import InfoNCE
from spectral_ssl.methods.vicreg import VICReg

__all__ = ["Slope", "slope"]

Slope = Callable[[Array], tuple[float, Array]]
TINY = float(np.finfo(np.float64).tiny)


def slope(method: Method, graph: Graph, *, negatives: int | None = None, seed: int = 0) -> Slope:
    """Z (N, K) -> (L(Z), dL/dZ). negatives: m rows that InfoNCE compares with, drawn with `seed`; None takes all.

    Raises DataError for InfoNCE of dot products, which has no minimum without a bound on the weights, and for a
    relation of self-pairs alone under InfoNCE, which leaves them out.
    """
    if negatives is not None:
        check_int(negatives, "negatives", low=2)
    if isinstance(method, VICReg) and method.form == "squared" and method.weighting == "none":
        if method.invariance is None:
            raise DataError("invariance=None is resolved by a spectrum: pass method.resolve(spectrum, n_components)")
        return _vicreg(method, graph, method.invariance)
    if isinstance(method, BarlowTwins) and method.normalized:
        return _barlow_twins(method, graph)
    if isinstance(method, InfoNCE):
        if method.similarity != "cosine":
            raise DataError("similarity='dot' has no minimum over embeddings of any size; take similarity='cosine'")
        return _infonce(method, graph, negatives, seed)
    return _by_torch(method, graph)


def _vicreg(method: VICReg, graph: Graph, gamma: float) -> Slope:
    N, deg = graph.n_samples, graph.degree[:, None]
    alpha, beta, free = method.variance, method.covariance, N - method.ddof

    def evaluate(Z: Array) -> tuple[float, Array]:
        Zc = Z - Z.mean(axis=0)
        C = Zc.T @ Zc / free
        LZ = deg * Z - graph.matmul(Z)
        E = beta * C
        np.fill_diagonal(E, alpha * (C.diagonal() - 1))
        off = C - np.diag(C.diagonal())
        loss = alpha * ((C.diagonal() - 1) ** 2).sum() + beta * (off**2).sum() + 2 * gamma / N * (Z * LZ).sum()
        return float(loss), 4 / free * Zc @ E + 4 * gamma / N * LZ

    return evaluate


def _barlow_twins(method: BarlowTwins, graph: Graph) -> Slope:
    deg, s = graph.degree, graph.total_weight

    def evaluate(Z: Array) -> tuple[float, Array]:
        Y = Z - deg @ Z / s
        AY = graph.matmul(Y)
        S = np.maximum(deg @ Y**2, TINY)
        size = 1 / np.sqrt(S)
        C = size[:, None] * (Y.T @ AY) * size
        G = 2 * method.redundancy * C
        np.fill_diagonal(G, 2 * (C.diagonal() - 1))
        off = C - np.diag(C.diagonal())
        loss = ((C.diagonal() - 1) ** 2).sum() + method.redundancy * (off**2).sum()
        dZ = 2 * AY @ (size[:, None] * G * size) - 2 * deg[:, None] * Y * ((G * C).sum(axis=1) / S)
        return float(loss), dZ

    return evaluate


def _infonce(method: InfoNCE, graph: Graph, negatives: int | None, seed: int) -> Slope:
    N, tau, loops = graph.n_samples, method.temperature, graph.diagonal[:, None]
    d = graph.degree - graph.diagonal
    live = np.flatnonzero(d > 1e-12 * graph.degree)  # with another partner than themselves
    if not live.size:
        raise DataError("every pair of the relation is a sample with itself, which InfoNCE leaves out")
    m = N if negatives is None else min(negatives, N)
    J = np.sort(generator(seed, "negatives").permutation(N)[:m])
    own, where = np.nonzero(live[:, None] == J)  # a row is no negative of its own
    precision: Any = np.float64 if negatives is None else np.float32  # a sample is no better than that
    count = np.full(live.size, float(m))
    count[own] -= 1
    d = d[live]

    def evaluate(Y: Array) -> tuple[float, Array]:
        aims = (np.append(np.ones(Y.shape[1]), -1.0) / tau).astype(precision)
        length = np.maximum(np.sqrt((Y**2).sum(axis=1, keepdims=True)), TINY)
        Z = Y / length
        AZ = graph.matmul(Z) - loops * Z
        # a column of ones each: of the exponents it takes 1 / tau, so that nothing overflows, of P it makes the sums
        here = np.column_stack([Z[live], np.ones(live.size)]).astype(precision)
        there = np.column_stack([Z[J], np.ones(m)]).astype(precision)
        P = here @ (there * aims).T
        np.exp(P, out=P)
        P[own, where] = 0.0
        sums = P @ there
        total = np.maximum(sums[:, -1], TINY).astype(np.float64)
        spread = d @ (np.log(total / count) + math.log(N - 1) + 1 / tau)
        p = (d / total)[:, None]
        g = -2 * AZ
        g[live] += p * sums[:, :-1]
        g[J] += P.T @ (p * here[:, :-1]).astype(precision)
        g /= tau
        return float(spread - (Z * AZ).sum() / tau), (g - (g * Z).sum(axis=1, keepdims=True) * Z) / length

    return evaluate


def _by_torch(method: Method, graph: Graph) -> Slope:
    def evaluate(Z: Array) -> tuple[float, Array]:
        at = torch.tensor(Z, dtype=torch.float64, requires_grad=True)
        loss = method.loss(at, graph)
        loss.backward()
        assert at.grad is not None
        return float(loss.detach()), at.grad.numpy()

    return evaluate
