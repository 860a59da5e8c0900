"""Positive-pair relations: functions from a dataset to a `Graph`.

Adding one takes a function here and its line in `RELATIONS` at the foot; command-line options, documentation and the
contract tests follow from its signature.
"""

from __future__ import annotations

import hashlib
import math
import numbers
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import scipy.sparse

from spectral_ssl.data import Dataset, as_dataset, as_rows, as_samples, read_array, read_pairs
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning
from spectral_ssl.graph import Graph, Groups

__all__ = [
    "RELATIONS",
    "corrupt",
    "coupled",
    "epsilon",
    "knn",
    "labels",
    "mix",
    "nearest",
    "pairs",
    "sequence",
    "style",
    "views",
]

SPARES = 10  # candidates searched past the k wanted, so that ties at the k-th distance are seen
BLOCK = 4_000_000  # numbers in one block of differences: 32 MB
ALIASES = dict.fromkeys(("l2", "minkowski", "p"), "euclidean")  # whose distances are taken by differences
MAX_NEIGHBOURS = 200_000_000  # stored pairs past which a radius relation is refused: about 3 GB


def knn(
    data: Dataset,
    *,
    n_neighbors: int = 10,
    mutual: bool = False,
    weight: Literal["binary", "heat"] = "binary",
    bandwidth: float | None = None,
    metric: str = "euclidean",
) -> Graph:
    """Pairs of near neighbours: i ~ j if j is among the k nearest of i, or i among those of j.

    Distances are taken on X as given, the sample itself excluded. The search is exact.

    Args:
        data: the samples.
        n_neighbors: neighbours per sample, 1 to N - 1.
        mutual: keep a pair only if each is among the other's neighbours (intersection instead of union).
        weight: "binary" for 1, "heat" for exp(-distance^2 / (2 bandwidth^2)).
        bandwidth: width of the heat kernel; None takes the median neighbour distance.
        metric: any metric of sklearn.neighbors.NearestNeighbors.
    """
    data, metric = as_dataset(data), _resolved(metric)
    X = as_samples(data)
    i, j, distance = _neighbours(X, n_neighbors, metric)
    if weight not in ("binary", "heat"):
        raise DataError(f"weight={weight!r} is not a kernel; choose 'binary' or 'heat'")
    if weight == "heat":
        width = float(np.median(distance)) if bandwidth is None else bandwidth
        if not _is_positive(width):
            raise DataError(f"the heat kernel needs a positive bandwidth, got {width!r} (duplicate rows give 0)")
        width = float(width)
        values = np.exp(-(distance**2) / (2 * width**2))
    elif bandwidth is not None:
        raise DataError("bandwidth= belongs to weight='heat'; the binary weight does not use it")
    else:
        width = math.nan
        values = np.ones(i.size)
    D = scipy.sparse.csr_array((values, (i, j)), shape=(data.n_samples, data.n_samples))
    A = D.minimum(D.T) if mutual else D.maximum(D.T)
    reach = distance.reshape(data.n_samples, -1).max(axis=1)
    return _warned(Graph(data.n_samples, A, attach=_Neighbourhood(X, A, metric, reach, n_neighbors, mutual, width)))


def epsilon(data: Dataset, *, radius: float, metric: str = "euclidean") -> Graph:
    """Pairs at most a radius apart, weight 1, the sample itself excluded.

    Args:
        data: the samples.
        radius: largest distance of a pair, > 0.
        metric: any metric of sklearn.neighbors.NearestNeighbors.
    """
    data, metric = as_dataset(data), _resolved(metric)
    if not _is_positive(radius):
        raise DataError(f"radius must be a positive number, got {radius!r}")
    samples, wide = as_samples(data), float(radius)
    X = samples
    if metric == "euclidean":  # candidates by products about the mean, then the distances themselves
        X = X - X.mean(axis=0)
        wide = math.sqrt(wide**2 + 2 * float(_slack(X).max()))
    search = _search(X, metric, radius=wide)
    # count on a few rows before holding every pair in memory
    probe = X[np.linspace(0, data.n_samples - 1, min(50, data.n_samples)).astype(int)]
    expected = np.mean([len(r) for r in search.radius_neighbors(probe, return_distance=False)]) * data.n_samples
    if expected > MAX_NEIGHBOURS:
        raise ResourceError(f"radius {radius:g} joins about {expected:.2g} pairs; choose a smaller radius or knn")
    A = search.radius_neighbors_graph(mode="connectivity")
    if metric == "euclidean":
        A = A.tocoo()
        near = _lengths(samples, samples, A.row, A.col, A.data, metric) <= radius
        A = scipy.sparse.csr_array((A.data[near], (A.row[near], A.col[near])), shape=A.shape)
    A = A.maximum(A.T)
    reach = np.full(data.n_samples, np.nextafter(radius, np.inf))  # at the radius itself is a pair
    return _warned(Graph(data.n_samples, A, attach=_Neighbourhood(samples, A, metric, reach)))


def views(data: Dataset, *, diagonal: bool = False) -> Graph:
    """All pairs of augmented views of one original: the relation of SimCLR, VICReg and Barlow Twins.

    An original with V_i views carries weight 1/(V_i - 1) on each pair (1/V_i with the diagonal), so every sample has
    degree 1 and often-viewed originals count no more than others.

    Args:
        data: samples with `source`: equal source = views of one original (`spectral_ssl.augment` makes it).
        diagonal: pair each view with itself too.
    """
    data = as_dataset(data)
    if data.source is None:
        raise DataError(
            f"the views relation needs to know which rows are views of one original, but {data.name!r} has no source; "
            "make views with ss.augment(data, n_views=2), or pass Dataset(..., source=ids)"
        )
    codes = np.unique(data.source, return_inverse=True)[1].astype(np.int64)
    V = np.bincount(codes)
    weight = 1.0 / V if diagonal else np.where(V > 1, 1.0 / np.maximum(V - 1, 1), 0.0)
    return _warned(Graph.from_groups(codes, weight=weight, diagonal=diagonal))


def labels(data: Dataset, *, weighting: Literal["class_size", "none"] = "class_size", diagonal: bool = True) -> Graph:
    """All pairs of equally labelled samples: A = Y diag(1/n_c) Y', the relation that makes LPP equal LDA.

    With the diagonal every degree is 1, whatever the class sizes. Unlabelled samples are left isolated.

    Args:
        data: samples with class labels y.
        weighting: "class_size" divides class c by its size n_c, "none" gives every pair weight 1.
        diagonal: pair each sample with itself too.
    """
    data = as_dataset(data)
    if data.y is None:
        raise DataError(f"the labels relation needs labels, but {data.name!r} has y=None; pass labels, or use knn")
    if not data.is_classification:
        raise DataError(
            f"the labels relation needs classes, but y of {data.name!r} is continuous; bin it, or use knn or sequence"
        )
    if weighting not in ("class_size", "none"):
        raise DataError(f"weighting={weighting!r} is not known; choose 'class_size' or 'none'")
    codes = data.class_codes
    sizes = np.bincount(codes[codes >= 0])
    if sizes.size < 2:
        raise DataError(
            f"the labels relation needs at least two classes, but y of {data.name!r} holds {sizes.size}: it would pair "
            "every sample with every other; use knn or views"
        )
    weight = 1.0 / np.maximum(sizes, 1) if weighting == "class_size" else np.ones(sizes.size)
    return _warned(Graph.from_groups(codes, weight=weight, diagonal=diagonal))


def style(data: Dataset) -> Graph:
    """All pairs of rows of equal style: A = S diag(1/n_s) S', as `labels`, of a factor that competes with the labels.

    With the diagonal, which is there, every degree is 1, whatever the sizes of the styles.

    Args:
        data: samples with `style`, one number per row (`spectral_ssl.data.styled` makes it over any data).
    """
    data = as_dataset(data)
    if data.style is None:
        raise DataError(
            f"the style relation needs the style of every row, but {data.name!r} has style=None; make styles by "
            "ss.data.styled(data), --data 'styled(base=digits)' on the command line, or pass Dataset(..., style=codes)"
        )
    codes = np.unique(data.style, return_inverse=True)[1].astype(np.int64)  # a subset may lack some
    sizes = np.bincount(codes)
    if sizes.size < 2:
        raise DataError(
            f"the style relation needs at least two styles, but {data.name!r} holds one: it would pair every sample "
            "with every other; use knn or views"
        )
    return Graph.from_groups(codes, weight=1.0 / sizes, diagonal=True)


def sequence(data: Dataset, *, window: int = 1, cyclic: bool = False) -> Graph:
    """Pairs of samples at most `window` rows apart: time adjacency. Window 1 is the path graph.

    Args:
        data: samples in order of time.
        window: largest distance in rows, 1 to N - 1.
        cyclic: join the end to the beginning.
    """
    data = as_dataset(data)
    N = data.n_samples
    _check_whole(window, "window", N - 1)
    if cyclic and 2 * window >= N:
        raise DataError(f"a cyclic window must be shorter than half the sequence ({N / 2:g}), got {window}")
    i = np.repeat(np.arange(N), window)
    j = i + np.tile(np.arange(1, window + 1), N)
    keep = np.ones(i.size, dtype=bool) if cyclic else j < N
    return Graph.from_pairs(i[keep], j[keep] % N, N)


def pairs(data: Dataset, *, pairs: Any) -> Graph:
    """The user's own positive pairs.

    Args:
        data: the samples the indices refer to.
        pairs: a csv or npz file with columns i, j[, weight]; a tuple of arrays (i, j) or (i, j, weight); an array or
            list of rows [i, j] or [i, j, weight]; or a networkx graph.
    """
    data = as_dataset(data)
    if isinstance(pairs, str | os.PathLike):
        i, j, w = read_pairs(os.fspath(pairs))
    elif hasattr(pairs, "is_directed"):
        graph = Graph.from_networkx(pairs)
        if graph.n_samples != data.n_samples:
            raise DataError(f"the networkx graph has {graph.n_samples} nodes, the data {data.n_samples} rows")
        return _warned(graph)
    elif isinstance(pairs, tuple) and len(pairs) in (2, 3):
        i, j, w = pairs[0], pairs[1], pairs[2] if len(pairs) == 3 else None
    else:
        try:
            rows = np.asarray(pairs, dtype=np.float64)
        except (TypeError, ValueError):
            rows = np.zeros(0)
        if rows.ndim != 2 or rows.shape[1] not in (2, 3):
            raise DataError(
                "pairs must be a file, a tuple of arrays (i, j[, weight]), rows [i, j] or [i, j, weight], or a "
                f"networkx graph, got {type(pairs).__name__}" + (f" of shape {rows.shape}" if rows.size else "")
            )
        return _warned(
            Graph.from_pairs(rows[:, 0], rows[:, 1], data.n_samples, rows[:, 2] if rows.shape[1] > 2 else None)
        )
    return _warned(Graph.from_pairs(i, j, data.n_samples, w))


def coupled(data: Dataset) -> Graph:
    """One pair per item seen in two modalities: with it the degree pencil is canonical correlation analysis.

    Args:
        data: a stack made by `spectral_ssl.couple(Xa, Xb)`: each source has exactly one row in each of two modalities.
    """
    data = as_dataset(data)
    if data.source is None or data.modality is None:
        raise DataError(
            f"the coupled relation needs two modalities, {data.name!r} has one; build it by ss.couple(Xa, Xb)"
        )
    order = [np.flatnonzero(data.modality == k) for k in np.unique(data.modality)]
    order = [rows[np.argsort(data.source[rows], kind="stable")] for rows in order]
    ids = [data.source[rows] for rows in order]
    if len(ids) != 2 or not np.array_equal(ids[0], ids[1]) or np.unique(ids[0]).size < ids[0].size:
        raise DataError(f"every source needs exactly one row in each of two modalities; {data.name!r} is not paired so")
    return Graph.from_pairs(order[0], order[1], data.n_samples)


def nearest(data: Dataset, *, embedding: Any = None, n_neighbors: int = 1, metric: str = "cosine") -> Graph:
    """Neighbours in a given embedding: the relation of NNCLR (one neighbour) and MeanShift (several).

    Args:
        data: the samples; also the space searched if no embedding is given.
        embedding: an array Z (N, K) or an npy, npz or csv file of one, a row per sample.
        n_neighbors: neighbours per sample.
        metric: any metric of sklearn.neighbors.NearestNeighbors.
    """
    data, metric = as_dataset(data), _resolved(metric)
    Z = data.X if embedding is None else embedding
    Z = read_array(os.fspath(Z)) if isinstance(Z, str | os.PathLike) else Z
    Z = as_samples(Z, "embedding")
    if Z.shape[0] != data.n_samples:
        raise DataError(f"the embedding has {Z.shape[0]} rows, the data {data.n_samples}")
    i, j, distance = _neighbours(Z, n_neighbors, metric)
    D = scipy.sparse.csr_array((np.ones(i.size), (i, j)), shape=(data.n_samples, data.n_samples))
    A = D.maximum(D.T)
    reach = distance.reshape(data.n_samples, -1).max(axis=1)
    attach = _Neighbourhood(Z, A, metric, reach, n_neighbors) if embedding is None else None
    return _warned(Graph(data.n_samples, A, attach=attach))


@dataclass(frozen=True, eq=False)
class _Neighbourhood:
    """Weights of new samples to those of a neighbour graph, as if each had been added to it alone.

    X (N, D) and A (N, N): the samples and their relation. reach (N,): a new sample nearer than this is among the
    neighbours of sample j; n_neighbors: and j among its own, where it is one of the k nearest (None: by reach alone).
    mutual: both are asked for. width: of the heat kernel, nan for weight 1. A row equal to a training row has that
    row's relation, of several the first's.
    """

    X: Any
    A: Any
    metric: str
    reach: Any
    n_neighbors: int | None = None
    mutual: bool = False
    width: float = math.nan

    @cached_property
    def _first(self) -> dict[bytes, int]:
        """The first row of each content, by its digest: the rows are not held twice."""
        return {_digest(self.X[i]): i for i in range(self.X.shape[0] - 1, -1, -1)}

    def known(self, X: Any) -> Any:
        """The first row of the samples that equals a row of X (n, D): (n,), -1 for none."""
        X = as_rows(X)
        if X.shape[1] != self.X.shape[1]:
            raise DataError(f"X has shape {X.shape}, but the relation compares {self.X.shape[1]} features")
        return np.array([self._first.get(_digest(row), -1) for row in X], dtype=np.int64)

    def __call__(self, X: Any) -> Any:
        X = as_rows(X)
        same = self.known(X)
        fresh = np.flatnonzero(same < 0)
        rows, columns, weights = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
        size = max(1, BLOCK // (4 * self.X.shape[0]))  # of rows: four arrays of their distances are held at once
        for start in range(0, fresh.size, size):
            block = fresh[start : start + size]
            r, c, w = self._weights(X[block])
            rows.append(block[r])
            columns.append(c)
            weights.append(w)
        shape = (X.shape[0], self.X.shape[0])
        places = (np.concatenate(rows), np.concatenate(columns))
        a = scipy.sparse.csr_array((np.concatenate(weights), places), shape=shape)
        known = scipy.sparse.csr_array(
            (np.ones(X.shape[0] - fresh.size), (np.flatnonzero(same >= 0), same[same >= 0])), shape=shape
        )
        return a + known @ self.A

    def _weights(self, X: Any) -> tuple[Any, Any, Any]:
        r, c, d = self._candidates(X)
        paired = theirs = d < self.reach[c]
        if self.n_neighbors is not None:
            order = np.lexsort((c, d, r))  # by row, then distance, then number
            own = np.zeros(r.size, dtype=bool)
            own[order] = np.arange(r.size) - np.searchsorted(r[order], r[order]) < self.n_neighbors
            paired = own & theirs if self.mutual else own | theirs
        r, c, d = r[paired], c[paired], d[paired]
        return r, c, np.ones(r.size) if math.isnan(self.width) else np.exp(-(d**2) / (2 * self.width**2))

    def _candidates(self, X: Any) -> tuple[Any, Any, Any]:
        """Pairs (r, c) that hold all nearer than reach and the k nearest of each row, with their distances."""
        if self.metric == "euclidean":
            from sklearn.metrics import pairwise_distances

            m = self.X.mean(axis=0)
            D = pairwise_distances(X - m, self.X - m, metric="sqeuclidean")  # by products, |D - d^2| <= S
            S, bound = _slack(X - m)[:, None] + _slack(self.X - m), self.reach**2 * (1 + 1e-15)
        else:
            D, S, bound = np.empty((X.shape[0], self.X.shape[0])), np.zeros((1, 1)), self.reach
            distance, index = _search(self.X, self.metric, n_neighbors=self.X.shape[0]).kneighbors(X)
            np.put_along_axis(D, index, distance, axis=1)
        least = D - S
        near = least <= bound
        if self.n_neighbors is not None:
            k = self.n_neighbors - 1
            near |= least <= np.partition(D + S, k, axis=1)[:, k : k + 1]
        r, c = np.nonzero(near)
        return r, c, _lengths(X, self.X, r, c, D[r, c], self.metric)


# --- misalignment ---------------------------------------------------------------------------------------------------


def corrupt(
    graph: Graph, rate: float, *, how: Literal["rewire", "wrong_class"] = "rewire", y: Any = None, seed: int = 0
) -> Graph:
    """A misaligned copy of a relation: a share `rate` of its pairs is led astray.

    Edges keep their weight and one endpoint, either with equal chance; the other is drawn anew. Groups keep their
    sizes; a share `rate` of their members exchange places. The result has the storage of the input.

    Args:
        graph: the relation.
        rate: share of pairs or members changed, 0 to 1.
        how: "rewire" draws the new endpoint from all samples, "wrong_class" from samples of another class.
        y: class labels (N,), needed by "wrong_class".
        seed: seed of the draw.
    """
    if not 0 <= rate <= 1:
        raise DataError(f"rate must be between 0 and 1, got {rate}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed must be a whole number >= 0, got {seed!r}")
    if how not in ("rewire", "wrong_class"):
        raise DataError(f"how={how!r} is not known; choose 'rewire' or 'wrong_class'")
    classes = None
    if how == "wrong_class":
        if y is None or len(y) != graph.n_samples:
            raise DataError("how='wrong_class' needs y, one label per sample")
        classes = np.unique(np.asarray(y), return_inverse=True)[1]
        if classes.max() == 0:
            raise DataError("how='wrong_class' needs at least two classes")
    if rate == 0:
        return graph
    rng = np.random.default_rng(seed)
    edges = None
    if graph.edges is not None:
        i, j, w = _upper(graph.edges)
        hit = rng.random(i.size) < rate
        kept = np.where(rng.random(i.size) < 0.5, i, j)[hit]
        i[hit], j[hit] = kept, _draw_endpoint(kept, graph.n_samples, classes, rng)
        edges = Graph.from_pairs(i, j, graph.n_samples, w).edges
    groups = tuple(Groups(_shuffle_members(g.codes, rate, classes, rng), g.weight, g.diagonal) for g in graph.groups)
    return Graph(graph.n_samples, edges, groups)


def mix(a: Graph, b: Graph, t: float) -> Graph:
    """(1 - t) A + t B over the same samples, 0 <= t <= 1."""
    if not 0 <= t <= 1:
        raise DataError(f"t must be between 0 and 1, got {t}")
    if a.n_samples != b.n_samples:
        raise DataError(f"relations over {a.n_samples} and {b.n_samples} samples cannot be mixed")
    if t in (0, 1):
        return b if t else a
    return a.scaled(1 - t).plus(b.scaled(t))


# --- helpers --------------------------------------------------------------------------------------------------------


def _check_whole(value: Any, name: str, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= high:
        raise DataError(f"{name} must be a whole number from 1 to N - 1 = {high}, got {value!r}")


def _is_positive(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 < float(value) < math.inf


def _resolved(metric: Any) -> Any:
    return ALIASES.get(metric, metric) if isinstance(metric, str) else metric


def _search(X: np.ndarray[Any, Any], metric: str, **options: Any) -> Any:
    from sklearn.neighbors import NearestNeighbors

    try:
        search = NearestNeighbors(metric=_resolved(metric), **options).fit(X)
        search.kneighbors(X[:1], n_neighbors=1)  # some metrics are refused when first asked for distances
        return search
    except (TypeError, ValueError) as error:
        raise DataError(f"metric={metric!r} was refused: {str(error).splitlines()[0]}") from error


def _neighbours(X: np.ndarray[Any, Any], k: int, metric: str) -> tuple[Any, Any, Any]:
    N = X.shape[0]
    _check_whole(k, "n_neighbors", N - 1)
    wide = min(k + 1 + SPARES, N)
    V = X - X.mean(axis=0) if metric == "euclidean" else X  # products about the mean keep their digits
    distance, index = _search(V, metric, n_neighbors=wide).kneighbors(V)
    i = np.repeat(np.arange(N), wide)
    distance = _lengths(X, X, i, index.ravel(), distance.ravel(), metric).reshape(index.shape)
    # the sample itself is found by its number, not by its place: among duplicates it need not come first
    distance = np.where(index == np.arange(N)[:, None], -1.0, distance)
    # equal distances by number: the search breaks ties by rounding, which changes with the number of threads
    order = np.lexsort((index, distance))[:, 1 : k + 1]
    own = distance.min(axis=1) >= 0
    order[own] = np.lexsort((index[own], distance[own]))[:, :k]
    return np.repeat(np.arange(N), k), np.take_along_axis(index, order, 1).ravel(), _picked(distance, order)


def _lengths(X: Any, Y: Any, i: Any, j: Any, found: Any, metric: str) -> Any:
    """|x_i - y_j| of pairs i, j (m,) by differences where the metric is Euclidean: those found come from products."""
    if metric != "euclidean":
        return found
    out = np.empty(i.size)
    rows = max(1, BLOCK // X.shape[1])
    for start in range(0, i.size, rows):
        block = slice(start, start + rows)
        out[block] = np.sqrt(((X[i[block]] - Y[j[block]]) ** 2).sum(axis=1))
    return out


def _slack(X: Any) -> Any:
    """s (n,): |x - y|^2 = |x|^2 - 2 x'y + |y|^2 is rounded by at most s(x) + s(y), from D products each."""
    return 4 * (X.shape[1] + 4) * np.finfo(np.float64).eps * (X**2).sum(axis=1)


def _digest(row: Any) -> bytes:
    return hashlib.blake2b((row + 0.0).tobytes(), digest_size=16).digest()  # + 0.0: -0.0 equals 0.0


def _picked(distance: Any, order: Any) -> Any:
    return np.take_along_axis(distance, order, 1).ravel()


def _upper(A: Any) -> tuple[Any, Any, Any]:
    C = scipy.sparse.triu(A).tocoo()
    return C.coords[0].astype(np.int64), C.coords[1].astype(np.int64), C.data


def _draw_endpoint(i: Any, n: int, classes: Any, rng: np.random.Generator) -> Any:
    if classes is None:
        return (i + rng.integers(1, n, size=i.size)) % n  # never the sample itself
    order = np.argsort(classes, kind="stable")
    size = np.bincount(classes)
    start = np.concatenate([[0], np.cumsum(size)])
    c = classes[i]
    # skip over the own class on the circle of samples sorted by class
    return order[(start[c + 1] + rng.integers(0, n - size[c])) % n]


def _shuffle_members(codes: Any, rate: float, classes: Any, rng: np.random.Generator) -> Any:
    inside = np.flatnonzero(codes >= 0)
    chosen = rng.permutation(inside)[: round(rate * inside.size)]
    if chosen.size < 2:
        return codes
    if classes is None:
        source = rng.permutation(chosen)
    else:
        # sorted by class and turned by the largest class: as few as possible land in their own class
        chosen = chosen[np.argsort(classes[chosen], kind="stable")]
        source = np.roll(chosen, int(np.bincount(classes[chosen]).max()))
    out = codes.copy()
    out[chosen] = codes[source]
    return out


def _warned(graph: Graph) -> Graph:
    isolated = int(np.count_nonzero(graph.degree == 0))
    if isolated:
        warnings.warn(
            f"{isolated:,} of {graph.n_samples:,} samples have no positive pair; degree-weighted methods give them "
            "zero rows",
            SpectralWarning,
            stacklevel=3,
        )
    return graph


RELATIONS: dict[str, Callable[..., Graph]] = {
    "knn": knn,
    "labels": labels,
    "style": style,
    "views": views,
    "epsilon": epsilon,
    "sequence": sequence,
    "pairs": pairs,
    "coupled": coupled,
    "nearest": nearest,
}
