"""Lengths of shortest paths in a neighbour graph, between training samples and from new ones to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from spectral_ssl.classical._common import Array
from spectral_ssl.data import as_samples
from spectral_ssl.data._checks import check_real
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.relations import BLOCK, SPARES, _lengths, _neighbours, _search

ISOMAP_MAX = 10_000  # samples: geodesics, their squares and eigenvectors take 2.4 GB there, the paths some minutes
JOIN_MAX = 200  # neighbours up to which the number that joins all components is looked for
TREE_MAX = 3000  # samples up to which the radius that joins them is looked for
N_NEIGHBORS = 10  # where neither neighbours nor a radius are given, and all others of fewer samples
Index = Any


@dataclass(frozen=True, eq=False)
class Geodesics:
    """Shortest paths of a neighbour graph over X (N, D): lengths (N, N), and the rule that made the graph."""

    X: Array
    lengths: Array
    n_neighbors: int | None
    radius: float | None
    metric: str

    @classmethod
    def of(cls, X: Any, *, n_neighbors: int | None, radius: float | None, metric: str) -> Geodesics:
        """Raises DataError where the graph is not connected, ResourceError past `ISOMAP_MAX` samples."""
        X = as_samples(X)
        N = X.shape[0]
        if N > ISOMAP_MAX:
            raise ResourceError(
                f"geodesics between {N:,} samples are {8 * N**2 / 1e9:.1f} GB, three times over in work (limit "
                f"{ISOMAP_MAX:,} samples); fit on fewer and transform the others"
            )
        if metric == "precomputed" and X.shape[0] != X.shape[1]:
            raise DataError(f"metric='precomputed' takes distances (N, N) for X, got shape {X.shape}")
        if radius is not None and n_neighbors is not None:
            raise DataError("give n_neighbors or radius, not both")
        if radius is None:
            k = min(N_NEIGHBORS, N - 1) if n_neighbors is None else n_neighbors
            i, j, length = _neighbours(X, k, metric)
        else:
            k = None
            radius = check_real(radius, "radius", low=0, open_low=True)
            C = _search(X - _centre(X, metric), metric, radius=radius).radius_neighbors_graph(mode="distance").tocoo()
            i, j = C.row, C.col
            length = _lengths(X, X, i, j, C.data, metric)
        A = _joined(i, j, length, N)
        count, label = scipy.sparse.csgraph.connected_components(A, directed=False)
        if count > 1:
            sizes = np.sort(np.bincount(label))[::-1]
            told = ", ".join(f"{size:,}" for size in sizes[:5]) + (", ..." if count > 5 else "")
            raise DataError(
                f"the neighbour graph falls apart into {count:,} components of {told} samples, and no path leads from "
                f"one to another; {_advice(X, k, metric)}; or embed each component by itself"
            )
        lengths = scipy.sparse.csgraph.shortest_path(A, method="D", directed=True)
        return cls(X, (lengths + lengths.T) / 2, k, radius, metric)  # paths back and forth are summed in other orders

    def of_new(self, X: Array) -> Array:
        """Lengths (n, N): min over the neighbours j of x of d(x, j) + lengths[j]."""
        if X.ndim != 2 or X.shape[1] != self.X.shape[1]:
            raise DataError(f"X has shape {X.shape}, but the samples embedded have {self.X.shape[1]} features")
        out = np.empty((X.shape[0], self.X.shape[0]))
        if self.n_neighbors is not None:
            index, length = self._nearest(X)
            out[:] = np.inf
            for m in range(index.shape[1]):
                for start in range(0, X.shape[0], max(1, BLOCK // self.X.shape[0])):
                    block = slice(start, start + max(1, BLOCK // self.X.shape[0]))
                    np.minimum(out[block], self.lengths[index[block, m]] + length[block, m, None], out=out[block])
            return out
        c = _centre(self.X, self.metric)
        found = _search(self.X - c, self.metric, radius=self.radius).radius_neighbors(X - c)
        alone = sum(len(j) == 0 for j in found[1])
        if alone:
            raise DataError(
                f"{alone:,} of {X.shape[0]:,} new samples have no training sample within radius={self.radius:g}: no "
                "path leads to them; fit with a larger radius, or with n_neighbors="
            )
        for n, (near, j) in enumerate(zip(*found, strict=True)):
            d = _lengths(X, self.X, np.full(len(j), n), j, near, self.metric)
            out[n] = (self.lengths[j] + d[:, None]).min(axis=0)
        return out

    def _nearest(self, X: Array) -> tuple[Index, Array]:
        """The k nearest training samples of each row, (n, k), and their distances; equal distances by number."""
        k = self.n_neighbors
        assert k is not None
        wide = min(k + SPARES, self.X.shape[0])
        c = _centre(self.X, self.metric)
        near, index = _search(self.X - c, self.metric, n_neighbors=wide).kneighbors(X - c)
        rows = np.repeat(np.arange(X.shape[0]), wide)
        length = _lengths(X, self.X, rows, index.ravel(), near.ravel(), self.metric).reshape(index.shape)
        order = np.lexsort((index, length))[:, :k]
        return np.take_along_axis(index, order, 1), np.take_along_axis(length, order, 1)


def _centre(X: Array, metric: str) -> Any:
    """What a search may subtract: its Euclidean distances come from products, which lose digits far from the origin."""
    return X.mean(axis=0) if metric == "euclidean" else 0.0


def _joined(i: Index, j: Index, length: Array, N: int) -> Any:
    """The graph of the pairs in both directions, each once; duplicates are joined by edges of length zero."""
    key, first = np.unique(np.minimum(i, j).astype(np.int64) * N + np.maximum(i, j), return_index=True)
    low, high, length = key // N, key % N, length[first]
    both = (np.concatenate([low, high]), np.concatenate([high, low]))
    return scipy.sparse.csr_array((np.concatenate([length, length]), both), shape=(N, N))  # zeros stay stored


def _advice(X: Array, k: int | None, metric: str) -> str:
    """What would join the components: up to `JOIN_MAX` neighbours, or the longest edge of the minimum spanning tree."""
    N = X.shape[0]
    if k is None:
        if N > TREE_MAX:
            return "a larger radius joins them"
        from sklearn.metrics import pairwise_distances

        tree = scipy.sparse.csgraph.minimum_spanning_tree(pairwise_distances(X, metric=metric))
        return f"radius={_rounded_up(float(tree.data.max()))} joins them"
    high = min(max(JOIN_MAX, k), N - 1)
    nearest = _neighbours(X, high, metric)[1].reshape(N, high)

    def connected(m: int) -> bool:
        i = np.repeat(np.arange(N), m)
        A = scipy.sparse.csr_array((np.ones(i.size), (i, nearest[:, :m].ravel())), shape=(N, N))
        return int(scipy.sparse.csgraph.connected_components(A, directed=False)[0]) == 1

    if not connected(high):
        return f"even {high} neighbours do not join them"
    low = k
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if connected(middle) else (middle, high)
    return f"n_neighbors={high} joins them"


def _rounded_up(value: float) -> str:
    """To four digits, and not below."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return f"{math.ceil(value / unit * (1 + 1e-12)) * unit:.4g}"
