"""Moments of an embedding estimated from a batch of positive pairs, each without bias.

Pairs (i_b, j_b), b = 1 .. B, are drawn independently with probability A_ij / s, so that an end of a pair is sample i
with probability deg_i / s. Ends e of pair b with rows z_e carry weights w_e (Horvitz & Thompson 1952),

    uniform   w_e = s / (2 deg_e), total T = N:   E sum_{e in b} w_e f(z_e) = sum_i f(z_i)
    degree    w_e = s / 2,         total T = s:   E sum_{e in b} w_e f(z_e) = sum_i deg_i f(z_i)

about the origin    (1/B) sum_e w_e z_e z_e'                                        (Z'Z, Z'diag(deg)Z)
about the mean      [ (sum_e w_e) sum_e w_e y_e y_e' - sum_b w_i w_j d_b d_b' ] / (T B (B - 1)),
                    y = z - weighted mean of the batch, d_b = z_i - z_j             (Z'HZ, Z'Hd'diag(deg)HdZ)
energy              (s / 2B) sum_b d_b d_b'                                         (Z'LZ)

The second is the mean over ends of different pairs b != c of w w' (z - z')(z - z')' / 2T, of which the whole relation
has the same sum: without bias for irregular degrees too, blind to shifts, and positive semi-definite.

A sample without a pair has degree 0 and is never drawn, but Z'HZ and Z'Z see it. Where there are N0 of them, a draw is
one of them with probability p = N0 / N, as the pair (k, k) with weights N / 2 (degree weights: 0), and a pair of the
relation with probability 1 - p, all its weights and its energy divided by 1 - p.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch

from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.moments import Moments

__all__ = ["average", "batch_moments", "draw_with_isolated", "isolated", "mixed"]

_isolated: weakref.WeakKeyDictionary[Graph, Any] = weakref.WeakKeyDictionary()


def isolated(graph: Graph) -> Any:
    """The samples without a pair, (N0,); found once."""
    if graph not in _isolated:
        _isolated[graph] = np.flatnonzero(graph.degree == 0)
    return _isolated[graph]


def draw_with_isolated(graph: Graph, batch: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """`batch` pairs (i, j); at probability N0 / N a draw is one of the N0 samples without a pair, with itself."""
    alone = isolated(graph)
    return mixed(*graph.sample_pairs(batch, rng), alone, alone.size / graph.n_samples, rng)


def mixed(i: Any, j: Any, alone: Any, share: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """Pairs (i, j), each at probability `share` replaced by one of the samples `alone` (N0,), with itself."""
    if alone.size:
        at = np.flatnonzero(rng.random(len(i)) < share)
        i[at] = j[at] = alone[rng.integers(0, alone.size, at.size)]
    return i, j


def batch_moments(
    za: torch.Tensor,  # (B, K)
    zb: torch.Tensor,  # (B, K)
    i: Any,  # (B,)
    j: Any,  # (B,)
    graph: Graph,
    *,
    centred: bool,
    with_isolated: bool,
) -> Moments:
    """The moments of Z (N, K) over the whole relation, estimated from the rows of a batch; see the module.

    centred: scatters about the mean, without bias; else moments about the origin, whose means are given as zero: no
    estimate is without bias in both. with_isolated: pairs are those of `draw_with_isolated`.
    """
    B = za.shape[0]
    if B < 2:
        raise DataError(f"a batch of {B} pairs has no covariance; draw at least 2")
    N, s, deg = graph.n_samples, graph.total_weight, graph.degree
    p = isolated(graph).size / N if with_isolated else 0.0

    def column(values: Any) -> torch.Tensor:
        return torch.as_tensor(values, dtype=za.dtype, device=za.device)[:, None]

    def uniform(end: Any) -> torch.Tensor:
        return column(np.divide(s / (2 * (1 - p)), deg[end], out=np.full(B, N / 2), where=deg[end] > 0))

    paired = column((deg[i] > 0) / (1 - p))
    d = za - zb
    laplacian = (s / (2 * B)) * (paired * d).T @ d
    by_degree = s / 2 * paired
    mean, scatter = _scatter(za, zb, uniform(i), uniform(j), float(N), centred)
    degree_mean, degree_scatter = _scatter(za, zb, by_degree, by_degree, s, centred)
    return Moments(N, s, mean, degree_mean, scatter, laplacian, degree_scatter, graph.adjacency_norm2)


def _scatter(
    za: torch.Tensor, zb: torch.Tensor, wa: torch.Tensor, wb: torch.Tensor, total: float, centred: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (K,) and scatter (K, K) from the ends of pairs with weights (B, 1)."""
    B = za.shape[0]
    Z, w = torch.cat([za, zb]), torch.cat([wa, wb])
    if not centred:
        return torch.zeros_like(za[0]), (w * Z).T @ Z / B
    weight = w.sum().clamp_min(torch.finfo(w.dtype).tiny)  # no pair at all among samples without one
    Y, d = Z - (w * Z).sum(dim=0) / weight, za - zb
    inside = (wa * wb * d).T @ d
    return (w * Z).sum(dim=0) / (total * B), (weight * (w * Y).T @ Y - inside) / (total * B * (B - 1))


def average(a: Moments, b: Moments) -> Moments:
    """Entry by entry."""
    return Moments(
        a.n_samples,
        a.total_weight,
        (a.mean + b.mean) / 2,
        (a.degree_mean + b.degree_mean) / 2,
        (a.scatter + b.scatter) / 2,
        (a.laplacian + b.laplacian) / 2,
        (a.degree_scatter + b.degree_scatter) / 2,
        a.adjacency_norm2,
    )
