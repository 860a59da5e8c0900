"""The loss of linear maps and its slope, L(QB) and dL/dB (q, K), as a function of numpy arrays B.

What a descent over maps of given coordinates Q (N, q) asks for at every step (`theory.forecast`). Written out where a
loss is descended often, with no graph of operations to record; any other method is differentiated by torch. VICReg and
Barlow Twins see Q by its moments alone, so that a step costs q^2 K whatever N is. With S = Q'HQ / (N - ddof),
C = B'SB, E_kk = alpha (C_kk - 1) and E_jk = beta C_jk off the diagonal,

    VICReg, squared    dL/dB = 4 SBE + (4 gamma / N) Q'LQ B                                         (L the Laplacian)

with Q_d = Q centred by degree, M = Q_d'A Q_d, D = Q_d'diag(deg) Q_d, s = diag(B'DB), C = s^-1/2 B'MB s^-1/2, and G the
slope in C, G_kk = 2 (C_kk - 1) and G_jk = 2 lambda C_jk off the diagonal,

    Barlow Twins       dL/dB = 2 MB s^-1/2 G s^-1/2 - 2 DB diag(sum_l G_kl C_kl / s_k)

InfoNCE needs the rows z_i = y_i / |y_i| of Y = QB themselves, dL/dB = Q'dL/dY. It compares row i with those of its own
batch J(i), into which the rows are dealt once (all are one batch where batch_size >= N):

    L = sum_i { -(Az)_i'z_i / tau + d_i log [(N - 1) mean_{j in J(i), j != i} exp(z_i'z_j / tau)] },   z_i = y_i / |y_i|
    dL/dy_i = (I - z_i z_i') g_i / |y_i|,   g = (-2 Az + Pz + P'z) / tau,   P_ij = d_i softmax_J(i) (z_i'z_j / tau)

The mean over a batch estimates that over all rows; its logarithm is too small by O(1/batch_size). Every row is a
negative in as many terms as it has negatives: of one sample that all rows are compared with, those outside would be
drawn to their partners and driven from nothing. Derived here.
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
from spectral_ssl.methods.infonce import InfoNCE, partners
from spectral_ssl.methods.vicreg import VICReg
from spectral_ssl.moments import Moments

__all__ = ["Slope", "slope"]

Slope = Callable[[Array], tuple[float, Array]]
TINY = float(np.finfo(np.float64).tiny)
# exp[(z_i'z_j - 1) / tau] goes down to exp(-2 / tau): its inverse times a degree must not overflow
SINGLE, DOUBLE = 0.05, 0.004  # tau from which single and double precision hold it, e^40 and e^500


def slope(method: Method, graph: Graph, Q: Array, *, batch_size: int | None = None, seed: int = 0) -> Slope:
    """B (q, K) -> (L(QB), dL/dB), Q (N, q).

    batch_size: rows that InfoNCE compares at most, dealt with `seed`; None takes all, as temperatures below 0.004 do.
    Of 2 one batch may have three.

    Raises DataError for InfoNCE of dot products, which has no minimum without a bound on the weights, and for a
    relation of self-pairs alone under InfoNCE, which leaves them out.
    """
    if batch_size is not None:
        check_int(batch_size, "batch_size", low=2)
    if isinstance(method, VICReg) and method.form == "squared" and method.weighting == "none":
        if method.invariance is None:
            raise DataError("invariance=None is resolved by a spectrum: pass method.resolve(spectrum, n_components)")
        return _vicreg(method, Moments.from_arrays(Q, graph), method.invariance)
    if isinstance(method, BarlowTwins) and method.normalized:
        return _barlow_twins(method, Moments.from_arrays(Q, graph))
    if isinstance(method, InfoNCE) and method.similarity != "cosine":
        raise DataError("similarity='dot' has no minimum over embeddings of any size; take similarity='cosine'")
    if isinstance(method, InfoNCE) and not partners(graph)[0].any():
        raise DataError("every pair of the relation is a sample with itself, which InfoNCE leaves out")
    if isinstance(method, InfoNCE) and method.temperature >= DOUBLE:
        single = batch_size is not None and method.temperature >= SINGLE  # batches are no better than that
        Q = Q.astype(np.float32 if single else np.float64)
        of_rows = _infonce(method, graph, _batches(graph.n_samples, batch_size, seed), Q.dtype)
    else:
        of_rows = _by_torch(method, graph)

    def evaluate(B: Array) -> tuple[float, Array]:
        loss, dY = of_rows((Q @ B.astype(Q.dtype)).astype(np.float64))
        return loss, (Q.T @ dY.astype(Q.dtype)).astype(np.float64)

    return evaluate


def _vicreg(method: VICReg, m: Moments, gamma: float) -> Slope:
    alpha, beta = method.variance, method.covariance
    S, L = m.scatter / (m.n_samples - method.ddof), 2 * gamma / m.n_samples * m.laplacian

    def evaluate(B: Array) -> tuple[float, Array]:
        SB, LB = S @ B, L @ B
        C = B.T @ SB
        E = beta * C
        np.fill_diagonal(E, alpha * (C.diagonal() - 1))
        off = C - np.diag(C.diagonal())
        loss = alpha * ((C.diagonal() - 1) ** 2).sum() + beta * (off**2).sum() + (B * LB).sum()
        return float(loss), 4 * SB @ E + 2 * LB

    return evaluate


def _barlow_twins(method: BarlowTwins, m: Moments) -> Slope:
    M, D = m.adjacency_centred, m.degree_scatter

    def evaluate(B: Array) -> tuple[float, Array]:
        MB, DB = M @ B, D @ B
        s = np.maximum((B * DB).sum(axis=0), TINY)
        size = 1 / np.sqrt(s)
        C = size[:, None] * (B.T @ MB) * size
        G = 2 * method.redundancy * C
        np.fill_diagonal(G, 2 * (C.diagonal() - 1))
        off = C - np.diag(C.diagonal())
        loss = ((C.diagonal() - 1) ** 2).sum() + method.redundancy * (off**2).sum()
        return float(loss), 2 * MB @ (size[:, None] * G * size) - 2 * DB * ((G * C).sum(axis=1) / s)

    return evaluate


def _infonce(method: InfoNCE, graph: Graph, batches: list[Any], precision: Any) -> Slope:
    N, tau, loops, d = graph.n_samples, method.temperature, graph.diagonal[:, None], partners(graph)[0]
    # P is held from step to step: fresh memory costs as much as its use
    held = [(J, d[J], np.empty((*J.shape, J.shape[1]), dtype=precision)) for J in batches]

    def evaluate(Y: Array) -> tuple[float, Array]:
        aims = (np.append(np.ones(Y.shape[1]), -1.0) / tau).astype(precision)
        length = np.maximum(np.sqrt((Y**2).sum(axis=1, keepdims=True)), TINY)
        Z = Y / length
        AZ = graph.matmul(Z) - loops * Z
        # a column of ones: of the exponents it takes 1 / tau, so that nothing overflows, of P it makes the sums
        rows = np.column_stack([Z, np.ones(N)]).astype(precision)
        spread, g = 0.0, -2 * AZ
        for J, d_J, P in held:  # (b, n): b batches of n rows
            z = rows[J]
            np.matmul(z, (z * aims).swapaxes(1, 2), out=P)
            np.exp(P, out=P)
            P[:, range(P.shape[1]), range(P.shape[1])] = 0.0  # a row is no negative of its own
            sums = P @ z
            total = sums[..., -1].astype(np.float64)
            spread += float((d_J * (np.log(total / (P.shape[1] - 1)) + math.log(N - 1) + 1 / tau)).sum())
            p = (d_J / total)[..., None]
            g[J] += p * sums[..., :-1] + P @ (p * z[..., :-1]).astype(precision)  # P, not yet divided, is symmetric
        g /= tau
        return float(spread - (Z * AZ).sum() / tau), (g - (g * Z).sum(axis=1, keepdims=True) * Z) / length

    return evaluate


def _batches(N: int, batch_size: int | None, seed: int) -> list[Any]:
    """Rows 0 .. N - 1, each once, as arrays (b, n) of b batches of n >= 2 rows: one array, or two of n and n + 1."""
    if batch_size is None or batch_size >= N:
        return [np.arange(N)[None]]
    dealt = np.array_split(generator(seed, "negatives").permutation(N), min(-(-N // batch_size), N // 2))
    sizes = sorted({J.size for J in dealt})
    return [np.stack([np.sort(J) for J in dealt if J.size == n]) for n in sizes]


def _by_torch(method: Method, graph: Graph) -> Slope:
    def evaluate(Z: Array) -> tuple[float, Array]:
        at = torch.tensor(Z, dtype=torch.float64, requires_grad=True)
        loss = method.loss(at, graph)
        loss.backward()
        assert at.grad is not None
        return float(loss.detach()), at.grad.numpy()

    return evaluate
