"""Alignment and uniformity of an embedding on the unit sphere (Wang & Isola 2020, arXiv 2005.10242), over a relation.

With u_i = z_i / |z_i| and pairs weighted by A,

    alignment  = sum_{i != j} A_ij |u_i - u_j|^2 / sum_{i != j} A_ij = 2 tr(U'LU) / sum_{i != j} A_ij
    uniformity = log mean_{i != j} exp(-t |u_i - u_j|^2),   t = 2

Both are low in a good embedding: positives near each other, all samples spread out. To compare with, both exact:

*  collapsed (all u equal): alignment 0, uniformity 0.
*  random (independent, uniform on the sphere in K dimensions): alignment 2, and E exp(2 t (u'v - 1)) = e^(-2t)
   0F1(; K/2; t^2), as E exp(k w'u) = Gamma(K/2) (2/k)^(K/2 - 1) I_{K/2 - 1}(k), so that

       uniformity = log 0F1(; K/2; t^2) - 2 t,     for K = 1: log cosh 2t - 2t

   which is also the least uniformity as N grows. Derived here; checked against samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.special

from spectral_ssl.data._checks import check_int, check_real, generator
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["Uniformity", "random_uniformity", "uniformity"]

T = 2.0
SERIES_T = 100.0  # up to which 0F1(; K/2; t^2) is a number: it grows like e^(2t)
EXACT_MAX = 10_000  # samples up to which every pair is summed: 5e7 pairs, a second or two
SAMPLED = 4_000_000  # pairs drawn beyond that: a relative error of the mean of about 1e-3
BLOCK = 2**21  # similarities held at once, 16 MiB


@dataclass(frozen=True)
class Uniformity:
    """alignment (None where no pair joins rows with a direction), uniformity, and what both are at random.

    uniformity_error: standard error where pairs were sampled, 0 where kind is "exact". n_rows: rows with a direction;
    zero_rows: those without, left out of both.
    """

    alignment: float | None
    uniformity: float
    random_alignment: float
    random_uniformity: float
    uniformity_error: float
    kind: Literal["exact", "sampled"]
    n_rows: int
    zero_rows: int


def random_uniformity(n_components: int, t: float = T) -> float:
    """The uniformity of points spread evenly over the unit sphere in K dimensions.

    >>> round(random_uniformity(1), 4), round(random_uniformity(1000), 3)
    (-0.6928, -3.996)
    """
    nu = check_int(n_components, "n_components", low=1) / 2 - 1
    check_real(t, "t", low=0)
    if t <= SERIES_T:
        return float(np.log(scipy.special.hyp0f1(nu + 1, t**2))) - 2 * t
    # 0F1(; nu + 1; t^2) = Gamma(nu + 1) t^-nu I_nu(2t), with e^(-2t) taken into I: both would overflow
    scaled = float(scipy.special.ive(nu, 2 * t))
    if not scaled > 0:
        raise DataError(f"the uniformity of {n_components} components at t={t:g} is too low for a number; lower t")
    return float(scipy.special.gammaln(nu + 1) - nu * np.log(t) + np.log(scaled))


def uniformity(
    Z: Any,  # (N, K)
    graph: Graph,
    *,
    seed: int = 0,
    exact_max: int = EXACT_MAX,
    n_sampled: int = SAMPLED,
) -> Uniformity:
    """Alignment over the pairs of a relation, and uniformity over all pairs, of the rows of Z brought to length 1.

    Every pair up to exact_max rows, else n_sampled of them drawn with the seed. Z is not centred.
    Raises DataError for Z of another number of rows or not finite, and where fewer than two rows have a direction.
    """
    check_int(exact_max, "exact_max", low=0)
    check_int(n_sampled, "n_sampled", low=2)
    Z = as_numbers(Z, "Z")
    if Z.ndim != 2 or Z.shape[0] != graph.n_samples or Z.shape[1] < 1 or not np.all(np.isfinite(Z)):
        raise DataError(f"Z must be finite numbers (N, K) with N = {graph.n_samples} rows, got shape {Z.shape}")
    size = np.abs(Z).max(axis=1)
    alive = size > 0
    if np.count_nonzero(alive) < 2:
        raise DataError("fewer than two rows of Z have a direction: all others are zero")
    U = Z[alive] / size[alive, None]  # first by the largest entry: squares of small ones would underflow
    U = U / np.linalg.norm(U, axis=1)[:, None]
    kept = graph if alive.all() else graph.subgraph(np.flatnonzero(alive)) if _any_pair(graph, alive) else None
    aligned = None if kept is None else _alignment(U, kept)
    if U.shape[0] <= exact_max:
        mean, error, kind = _exact_mean(U), 0.0, "exact"
    else:
        mean, error = _sampled_mean(U, n_sampled, generator(seed, "uniformity"))
        kind = "sampled"
    return Uniformity(
        alignment=aligned,
        uniformity=math.log(mean),
        random_alignment=2.0,
        random_uniformity=random_uniformity(Z.shape[1]),
        uniformity_error=error / mean,  # of a logarithm
        kind="exact" if kind == "exact" else "sampled",
        n_rows=int(U.shape[0]),
        zero_rows=int(Z.shape[0] - U.shape[0]),
    )


def _any_pair(graph: Graph, alive: Any) -> bool:
    """Whether some pair joins two of these rows."""
    mask = alive.astype(float)[:, None]
    return float((mask * graph.matmul(mask)).sum()) > 0


def _alignment(U: Array, graph: Graph) -> float | None:
    weight = graph.total_weight - float(graph.diagonal.sum())
    if not weight > 1e-12 * graph.total_weight:
        return None
    return max(2 * float((U * graph.laplacian_matmul(U)).sum()) / weight, 0.0)


def _exact_mean(U: Array) -> float:
    """Mean of exp(-t |u_i - u_j|^2) over i != j, block by block of the upper triangle."""
    n, total = U.shape[0], 0.0
    rows = max(1, BLOCK // n)
    for start in range(0, n, rows):
        block = U[start : start + rows]
        m = block.shape[0]
        here = np.exp(2 * T * (block @ block.T - 1))
        total += float(here.sum() - here.diagonal().sum())
        total += 2 * float(np.exp(2 * T * (block @ U[start + m :].T - 1)).sum())
    return float(total / (n * (n - 1)))


def _sampled_mean(U: Array, n_sampled: int, rng: np.random.Generator) -> tuple[float, float]:
    """The mean over pairs i != j drawn with replacement, and its standard error."""
    n, sums, squares, left = U.shape[0], 0.0, 0.0, n_sampled
    rows = max(1, BLOCK // U.shape[1])
    while left > 0:
        m = min(rows, left)
        i = rng.integers(0, n, m)
        j = (i + rng.integers(1, n, m)) % n
        values = np.exp(2 * T * ((U[i] * U[j]).sum(axis=1) - 1))
        sums, squares, left = sums + float(values.sum()), squares + float((values**2).sum()), left - m
    mean = sums / n_sampled
    return mean, math.sqrt(max(squares / n_sampled - mean**2, 0.0) / n_sampled)
