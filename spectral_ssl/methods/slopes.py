"""The loss of linear maps and its slope, L(QB) and dL/dB (q, K), as a function of numpy arrays B.

What a descent over maps of given coordinates Q (N, q) asks for at every step (`theory.forecast`). Written out where a
loss is descended often, with no graph of operations to record; any other method is differentiated by torch. VICReg and
Barlow Twins see Q by its moments alone, so that a step costs q^2 K whatever N is, unless batches count (below). With
S = Q'HQ / (N - ddof), C = B'SB, E_kk = alpha (C_kk - 1) and E_jk = beta C_jk off the diagonal,

    VICReg, squared    dL/dB = 4 SBE + (4 gamma / N) Q'LQ B                                         (L the Laplacian)

with Q_d = Q centred by degree, M = Q_d'A Q_d, D = Q_d'diag(deg) Q_d, s = diag(B'DB), C = s^-1/2 B'MB s^-1/2, and G the
slope in C, G_kk = 2 (C_kk - 1) and G_jk = 2 lambda C_jk off the diagonal,

    Barlow Twins       dL/dB = 2 MB s^-1/2 G s^-1/2 - 2 DB diag(sum_l G_kl C_kl / s_k)

Batches. Training draws B pairs at a time, and the moments of a batch scatter about those of the whole (`_batches`), so
that what is squared in a loss is larger by their variance: its expectation is another loss, and that one is descended.
With batch_size = B the variance is added, to the order 1/B. Rows must be seen for it, by their fourth moments: large
rows, rows of few pairs and features that live in few rows are dear, though the loss itself does not mind them.

    VICReg      a draw gives X = (w_i y_i y_i' + w_j y_j y_j') / (N - ddof), E X = C, y centred, w_i = s / (2 deg_i):
                + (1/B) { E |X|_F^2 - |C|_F^2 },  the diagonal of X and C weighed by alpha, the rest by beta
    Barlow      a draw gives m_kl = (u_ik u_jl + u_il u_jk) / 2 and d_k = (u_ik^2 + u_jk^2) / 2, E d = 1, E m = C,
    Twins       u = y / sqrt(s_k / s), centred by degree; C is divided by the sizes of the same batch:
                + (1/B) { sum_k E (m_kk - C_kk d_k)^2 + 2 (C_kk - 1) E d_k (C_kk d_k - m_kk)
                          + lambda sum_{k != l} E m_kl^2 },  where columns are uncorrelated: the descent leads there

Samples without a pair are drawn alone as `_batches` draws them. E runs over all pairs where there are at most N (or
1,000), else over so many drawn with `seed`.

InfoNCE needs the rows z_i = y_i / |y_i| of Y = QB themselves, dL/dB = Q'dL/dY. It compares row i with those of its own
batch J(i), into which the rows are dealt once (all are one batch where n_compared >= N):

    L = sum_i { -(Az)_i'z_i / tau + d_i log [(N - 1) mean_{j in J(i), j != i} exp(z_i'z_j / tau)] },   z_i = y_i / |y_i|
    dL/dy_i = (I - z_i z_i') g_i / |y_i|,   g = (-2 Az + Pz + P'z) / tau,   P_ij = d_i softmax_J(i) (z_i'z_j / tau)

The mean over a batch estimates that over all rows; its logarithm is too small by O(1/n_compared). Every row is a
negative in as many terms as it has negatives: of one sample that all rows are compared with, those outside would be
drawn to their partners and driven from nothing. Derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
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

__all__ = ["Slope", "reckons_with_batches", "slope"]

Slope = Callable[[Array], tuple[float, Array]]
TINY = float(np.finfo(np.float64).tiny)
PAIRS, PAIRS_MIN = 1, 1000  # for each row, and at least, by which the variance of batches is told
# exp[(z_i'z_j - 1) / tau] goes down to exp(-2 / tau): its inverse times a degree must not overflow
SINGLE, DOUBLE = 0.05, 0.004  # tau from which single and double precision hold it, e^40 and e^500


def slope(
    method: Method,
    graph: Graph,
    Q: Array,
    *,
    batch_size: int | None = None,
    n_compared: int | None = None,
    seed: int = 0,
) -> Slope:
    """B (q, K) -> (L(QB), dL/dB), Q (N, q).

    batch_size: pairs of a batch whose expected loss is meant, by VICReg (squared, all samples alike) and Barlow Twins
    (normalised); others, and None, take the loss itself. n_compared: rows that InfoNCE compares at most; None takes
    all, as temperatures below 0.004 do. Of 2 one batch may have three. seed: of rows dealt and pairs drawn.

    Raises DataError for InfoNCE of dot products, which has no minimum without a bound on the weights, and for a
    relation of self-pairs alone under InfoNCE, which leaves them out.
    """
    for value, name in ((batch_size, "batch_size"), (n_compared, "n_compared")):
        if value is not None:
            check_int(value, name, low=2)
    precision: Any = np.float64
    of_rows = _by_torch(method, graph)
    if isinstance(method, VICReg) and reckons_with_batches(method):
        if method.invariance is None:
            raise DataError("invariance=None is resolved by a spectrum: pass method.resolve(spectrum, n_components)")
        if batch_size is None:
            return _vicreg(method, Moments.from_arrays(Q, graph), method.invariance)
        precision, of_rows = np.float32, _vicreg_in_batches(method, graph, batch_size, seed)
    elif isinstance(method, BarlowTwins) and reckons_with_batches(method):
        if batch_size is None:
            return _barlow_twins(method, Moments.from_arrays(Q, graph))
        precision, of_rows = np.float32, _barlow_twins_in_batches(method, graph, batch_size, seed)
    elif isinstance(method, InfoNCE):
        if method.similarity != "cosine":
            raise DataError("similarity='dot' has no minimum over embeddings of any size; take similarity='cosine'")
        if not partners(graph)[0].any():
            raise DataError("every pair of the relation is a sample with itself, which InfoNCE leaves out")
        if method.temperature >= DOUBLE:
            if n_compared is not None and method.temperature >= SINGLE:  # batches are no better than that
                precision = np.float32
            of_rows = _infonce(method, graph, _batches(graph.n_samples, n_compared, seed), precision)
    Q = Q.astype(precision)

    def evaluate(B: Array) -> tuple[float, Array]:
        loss, dY = of_rows((Q @ B.astype(precision)).astype(np.float64))
        return loss, (Q.T @ dY.astype(precision)).astype(np.float64)

    return evaluate


def reckons_with_batches(method: Method) -> bool:
    """Whether batch_size changes what is descended: no other loss has its expectation over batches written out."""
    if isinstance(method, VICReg):
        return method.form == "squared" and method.weighting == "none"
    return method.normalized if isinstance(method, BarlowTwins) else isinstance(method, InfoNCE)


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


def _vicreg_in_batches(method: VICReg, graph: Graph, batch_size: int, seed: int) -> Slope:
    N, s, deg, size = graph.n_samples, graph.total_weight, graph.degree, graph.n_samples - method.ddof
    alpha, beta, gamma = method.variance, method.covariance, method.invariance or 0.0
    alone, mean = deg == 0, np.full(N, 1 / N)
    i, j, chance, ends = _pairs(graph, seed)
    # over the share of draws that are pairs: deg_i / s of their ends are i
    w = np.divide(s / (2 * (1 - alone.mean())), deg, out=np.zeros(N), where=~alone)[:, None]
    one = np.where(alone[:, None], N, w) / size**2 / batch_size  # |w_i y_i y_i'|^2 of both ends; alone, of all of X
    two = (2 * (1 - alone.mean()) * chance * w[i, 0] * w[j, 0] / size**2 / batch_size).astype(np.float32)

    def evaluate(Y: Array) -> tuple[float, Array]:
        Y = Y - mean @ Y
        C, LY, own = Y.T @ Y / size, graph.laplacian_matmul(Y), np.eye(Y.shape[1], dtype=bool)
        weight = np.where(own, alpha, beta)
        loss = (weight * ((C - own) ** 2 - C**2 / batch_size)).sum() + 2 * gamma / N * (Y * LY).sum()
        dY = 4 / size * Y @ (weight * (C - own - C / batch_size)) + 4 * gamma / N * LY
        # |y y'|^2 weighed: beta |y|^4 + (alpha - beta) sum_k y_k^4, and so with y_i y_j' in its place
        Y2, y = Y * Y, Y.T.astype(np.float32)
        rows = one * (beta * Y2.sum(axis=1, keepdims=True) + (alpha - beta) * Y2)
        y_i, y_j = y.take(i, axis=1), y.take(j, axis=1)
        m = y_i * y_j
        g = two * (beta * _total(m) + (alpha - beta) * m)
        loss += np.vdot(rows, Y2) + np.vdot(g, m)
        dY += 4 * rows * Y + 2 * (ends @ np.hstack([g * y_j, g * y_i]).T)
        return float(loss), dY - mean @ dY

    return evaluate


def _barlow_twins_in_batches(method: BarlowTwins, graph: Graph, batch_size: int, seed: int) -> Slope:
    lam, s = method.redundancy, graph.total_weight
    deg = graph.degree / s
    i, j, chance, ends = _pairs(graph, seed)
    chance = chance.astype(np.float32)

    def evaluate(Y: Array) -> tuple[float, Array]:
        Y = Y - deg @ Y
        scale = 1 / np.sqrt(np.maximum(deg @ (Y * Y), TINY))
        U = scale * Y
        AU, own = graph.matmul(U) / s, np.eye(Y.shape[1], dtype=bool)
        C = U.T @ AU
        c, weight = C.diagonal(), np.where(own, 1.0, lam)
        loss = (weight * (C - own) ** 2).sum()
        dU = 4 * AU @ (weight * (C - own))
        u = U.T.astype(np.float32)
        u_i, u_j = u.take(i, axis=1), u.take(j, axis=1)
        ii, jj, m = u_i * u_i, u_j * u_j, u_i * u_j
        d, (both, n_i, n_j) = (ii + jj) / 2, (_total(of) for of in (m, ii, jj))
        cm, cd = chance * m, chance * d
        mm, md, dd = (np.einsum("ke,ke->k", a, b).astype(np.float64) for a, b in ((cm, m), (cm, d), (cd, d)))
        # on the diagonal, collected; off it sum_kl m_kl^2 = [|u_i|^2 |u_j|^2 + (u_i'u_j)^2] / 2, less what is on it
        e, f = 3 * c**2 - 2 * c, 4 * c - 2
        noise = (mm + e * dd - f * md).sum() - lam * mm.sum() + lam * float(chance @ (n_i * n_j + both**2)) / 2
        e_, f_ = (x.astype(np.float32)[:, None] for x in (e, f))
        off = lam * chance
        by_m, by_d = 2 * (1 - lam) * cm - f_ * cd + off * both, 2 * e_ * cd - f_ * cm
        by_i = by_m * u_j + (by_d + off * n_j) * u_i
        by_j = by_m * u_i + (by_d + off * n_i) * u_j
        by_c = 2 * (3 * c - 1) * dd - 4 * md
        loss += noise / batch_size
        dU += (ends @ np.hstack([by_i, by_j]).T + 2 * by_c * AU) / batch_size
        dY = scale * dU - deg[:, None] * Y * (scale**3 * np.einsum("nk,nk->k", dU, Y))
        return float(loss), dY - deg[:, None] * _total(dY)

    return evaluate


def _total(rows: Array) -> Array:
    """The sum of few long rows: a product is faster than a sum."""
    found: Array = np.ones(len(rows), dtype=rows.dtype) @ rows
    return found


def _pairs(graph: Graph, seed: int) -> tuple[Any, Any, Array, scipy.sparse.csr_array]:
    """Pairs i, j (E,) and their chances (E,), all where they are few, else a sample; ends (N, 2E) adds over them."""
    N = graph.n_samples
    most = max(PAIRS * N, PAIRS_MIN)
    if graph.n_pairs <= most:
        i, j, weight = graph.pairs()
        chance = np.where(i == j, 1.0, 2.0) * weight / graph.total_weight
    else:
        i, j = graph.sample_pairs(most, generator(seed, "pairs"))
        chance = np.full(len(i), 1 / len(i))
    rows = np.concatenate([i, j])
    ends = scipy.sparse.csr_array(
        (np.ones(rows.size, dtype=np.float32), (rows, np.arange(rows.size))), shape=(N, rows.size)
    )
    return i, j, chance, ends


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


def _batches(N: int, n_compared: int | None, seed: int) -> list[Any]:
    """Rows 0 .. N - 1, each once, as arrays (b, n) of b batches of n >= 2 rows: one array, or two of n and n + 1."""
    if n_compared is None or n_compared >= N:
        return [np.arange(N)[None]]
    dealt = np.array_split(generator(seed, "negatives").permutation(N), min(-(-N // n_compared), N // 2))
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
