"""Cosine InfoNCE in one dimension: rows are +1 or -1, the gradient is zero everywhere, and signs are flipped instead.

With m rows at +1, p = e^{1/tau}, q = e^{-1/tau} and s in {-1, 1}^N,

    f(s) = d(+) log[(m - 1) p + (N - m) q] + d(-) log[(N - m - 1) p + m q] - s'As / tau,   d(+-) = sum of degrees there

so that a flip costs O(1) given As. The flip that lowers f most is made until none does, from several starts; the least
found is kept. A search: nothing proves that it is the minimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.graph import Graph

__all__ = ["best_signs"]

STARTS = 12


def best_signs(graph: Graph, temperature: float, wide: Array, *, seed: int = 0) -> Array:
    """Signs (N, 1) of the least loss found: from the principal directions of `wide` (N, r), from all equal, and seeded.

    wide: an embedding of more dimensions.
    """
    rng = np.random.default_rng(seed)
    N = graph.n_samples
    starts = [np.ones(N), *(wide[:, : STARTS // 2].T), *rng.standard_normal((STARTS, N))]
    found = [_descend(graph, temperature, np.where(start < 0, -1.0, 1.0)) for start in starts]
    return min(found, key=lambda pair: pair[0])[1][:, None]


def _descend(graph: Graph, tau: float, s: Array) -> tuple[float, Array]:
    N, loops = graph.n_samples, graph.diagonal
    d = graph.degree - loops
    As = graph.matmul(s) - loops * s
    value = float(_values(d[s > 0].sum(), d[s < 0].sum(), int((s > 0).sum()), N, tau) - s @ As / tau)
    for _ in range(10 * N):  # each lowers the loss: no sign pattern comes twice
        plus, minus, m = float(d[s > 0].sum()), float(d[s < 0].sum()), int((s > 0).sum())
        after = _values(plus - s * d, minus + s * d, m - s, N, tau) - (float(s @ As) - 4 * s * As) / tau
        i = int(np.argmin(after))
        if not after[i] < value - 1e-12 * abs(value):
            break
        value = float(after[i])
        unit = np.zeros(N)
        unit[i] = 1.0
        As -= 2 * s[i] * (graph.matmul(unit) - loops * unit)
        s[i] = -s[i]
    return value, s


def _values(plus: Any, minus: Any, m: Any, N: int, tau: float) -> Any:
    """The terms that count: plus, minus the degrees of the m rows at +1 and of the others. An empty side has none."""
    with np.errstate(divide="ignore"):  # log 0, of nobody on a side
        own = np.logaddexp(np.log(np.maximum(m - 1, 0)), np.log(N - m) - 2 / tau)
        other = np.logaddexp(np.log(np.maximum(N - m - 1, 0)), np.log(m) - 2 / tau)
    return plus * (1 / tau + own) + minus * (1 / tau + other)
