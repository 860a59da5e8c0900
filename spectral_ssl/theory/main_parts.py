"""(sigma, delta)-augmentation (Huang, Yi, Zhao & Jiang 2023, arXiv 2111.00743): how near views bring a class together.

A(x) are the views of a sample x, itself among them. The augmented distance of two samples is that of their nearest
views,

    d_A(x1, x2) = min { |x1' - x2'| : x1' in A(x1), x2' in A(x2) }

which is no metric. Augmentation is (sigma, delta) where every class C_k of n_k samples has a main part of at least
sigma n_k in which *all pairs* have d_A <= delta: a clique of the graph d_A <= delta, no ball. So

    sigma(delta) = min_k omega_k(delta) / n_k        omega_k: the size of the largest clique

is hard to compute and easy to bracket (`cliques`). A clique that was found is a certificate: sigma may be replaced by
its lower end in every theorem. Views that were not drawn can only bring samples nearer, so that drawn views over-state
d_A and under-state sigma.

Views of different classes are assumed never to coincide; `class_margin` looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.data import Dataset
from spectral_ssl.data._checks import IntArray, check_int, check_real, frozen
from spectral_ssl.data._memory import check_memory
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.theory.cliques import Clique, largest_clique

__all__ = [
    "MainParts",
    "Margin",
    "Metric",
    "ViewSet",
    "augmented_distance",
    "class_margin",
    "distances",
    "raw_distances",
    "sigma_bracket",
]

Metric = str | Callable[[Array, Array], float]  # a name of scipy.spatial.distance.cdist, or a function of two rows
BLOCK = 2**22  # distances held at once: 32 MiB


@dataclass(frozen=True, eq=False)
class ViewSet:
    """The views of n samples of K classes: rows of X (M, D), sample by sample and class by class.

    start (n + 1,): the rows of sample i are start[i] .. start[i + 1] - 1, the sample itself first. codes (n,): its
    class, ascending; first (K + 1,): the samples of class k are first[k] .. first[k + 1] - 1. order (M,): where each
    row is in the data. enumerated: whether these are all views there are, as opposed to some that were drawn.
    """

    X: Array
    start: IntArray
    codes: IntArray
    first: IntArray
    order: IntArray
    classes: Any
    enumerated: bool

    @classmethod
    def of(cls, data: Dataset, *, enumerated: bool = False) -> ViewSet:
        """From data with `source` (whose view each row is; the first row of a source is the sample itself) and classes.

        Raises DataError for data without either, for unlabelled rows, for views of a sample under different labels, and
        for fewer than two classes.
        """
        what = f"views of {data.name!r}"
        if data.source is None:
            raise DataError(
                f"{what} need to know which rows are of one sample; make them with ss.augment, or pass source="
            )
        if not data.is_classification:
            raise DataError(
                f"{what} need classes, and y is {'missing' if data.y is None else 'continuous'}; pass labels"
            )
        if not data.labelled.all():
            raise DataError(
                f"{what}: {int((~data.labelled).sum())} rows have no label; leave them out with "
                "data.subset(data.labelled)"
            )
        order = np.lexsort((data.source, data.class_codes))  # stable: the rows of a source keep their order
        source, codes = data.source[order], data.class_codes[order]
        start = np.flatnonzero((np.diff(source, prepend=-1) != 0) | (np.diff(codes, prepend=-1) != 0))
        if (mixed := np.bincount(source[start]) > 1).any():
            again = int(np.argmax(mixed))
            raise DataError(
                f"{what}: sample {again} has rows of different classes; views keep the label of their sample"
            )
        codes = codes[start]
        K = len(data.classes)
        if K < 2:
            raise DataError(f"{what} are of {K} class; at least two are needed to tell apart")
        X = np.asarray(data.X[order], dtype=np.float64)
        return cls(
            frozen(X),
            frozen(np.append(start, len(X))),
            frozen(codes),
            frozen(np.searchsorted(codes, np.arange(K + 1))),
            frozen(order),
            data.classes,
            enumerated,
        )

    @property
    def n(self) -> int:
        """Samples."""
        return self.codes.size

    @property
    def K(self) -> int:
        """Classes."""
        return self.first.size - 1

    @property
    def counts(self) -> IntArray:
        """Views of each sample, itself included (n,)."""
        return np.diff(self.start)

    @property
    def p(self) -> Array:
        """Shares of the classes (K,)."""
        return np.diff(self.first) / self.n

    @property
    def raw(self) -> Array:
        """The samples themselves (n, D)."""
        out: Array = self.X[self.start[:-1]]
        return out

    @property
    def row_codes(self) -> IntArray:
        """The class of every row (M,)."""
        return np.repeat(self.codes, self.counts)

    def rows(self, k: int) -> slice:
        """The rows of class k."""
        return slice(int(self.start[self.first[k]]), int(self.start[self.first[k + 1]]))

    def mean(self, Z: Array) -> Array:
        """The mean of Z (M, d) over the views of each sample (n, d)."""
        out: Array = np.add.reduceat(Z, self.start[:-1], axis=0) / self.counts[:, None]
        return out


# ------------------------------------------------------------------------------------------------------------ distances


def distances(A: Array, B: Array, metric: Metric = "euclidean") -> Array:
    """(a, b) between rows; differences are taken before squares, so that small ones keep their digits.

    Raises DataError for an unknown metric, and for one that returns NaN, infinite or negative numbers.
    """
    from scipy.spatial.distance import cdist

    try:
        found: Array = np.asarray(cdist(A, B, metric=metric))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"metric {metric!r} cannot be used ({error}); name one that scipy's cdist knows for rows of numbers, such "
            "as euclidean, cityblock, chebyshev or cosine, or pass a function of two rows"
        ) from error
    if not np.all(np.isfinite(found)) or found.min(initial=0.0) < -1e-12:
        raise DataError(f"metric {metric!r} gave negative, NaN or infinite distances; it must be a distance of rows")
    return np.maximum(found, 0.0)


def augmented_distance(views: ViewSet, *, metric: Metric = "euclidean", X: Array | None = None) -> tuple[Array, ...]:
    """d_A within every class: K matrices (n_k, n_k), block by block in sum_k n_k^2 m^2 D operations.

    X (M, D'): other coordinates of the same rows, features say, to measure distances in.
    """
    X = views.X if X is None else X
    sizes = np.diff(views.first)
    check_memory(8.0 * float((sizes.astype(float) ** 2).sum()), "augmented distances of all pairs within classes")
    return tuple(_of_class(views, k, X, metric) for k in range(views.K))


def _of_class(views: ViewSet, k: int, X: Array, metric: Metric) -> Array:
    low, high = int(views.first[k]), int(views.first[k + 1])
    start = views.start[low : high + 1] - views.start[low]
    rows = X[views.rows(k)]
    out = np.zeros((high - low, high - low))
    for a, b in _sample_blocks(start):
        block = distances(rows[start[a] : start[b]], rows[start[a] :], metric)  # pairs to the right of the diagonal
        block = np.minimum.reduceat(block, start[a:b] - start[a], axis=0)
        block = np.minimum.reduceat(block, start[a:-1] - start[a], axis=1)
        out[a:b, a:] = block
        out[a:, a:b] = block.T
    np.fill_diagonal(out, 0.0)
    return out


def _sample_blocks(start: IntArray) -> Iterator[tuple[int, int]]:
    """Runs of samples whose distances to all rows fit into a block."""
    n, width = start.size - 1, int(start[-1])
    a = 0
    while a < n:
        b = int(np.searchsorted(start, start[a] + max(1, BLOCK // max(width, 1)), side="right")) - 1
        b = max(a + 1, min(b, n))
        yield a, b
        a = b


def raw_distances(views: ViewSet, *, metric: Metric = "euclidean") -> Array:
    """|x1 - x2| of all pairs of unlike samples of one class, unaugmented, class after class: a scale for delta."""
    found = []
    for k in range(views.K):
        rows = views.raw[views.first[k] : views.first[k + 1]]
        found.append(distances(rows, rows, metric)[np.triu_indices(len(rows), 1)])
    return np.concatenate(found)


@dataclass(frozen=True)
class Margin:
    """Between views of different classes. distance: the least; pair: rows of the views where it is attained."""

    distance: float
    pair: tuple[int, int]

    @property
    def disjoint(self) -> bool:
        """Whether no view is of two classes."""
        return self.distance > 0


def class_margin(views: ViewSet, *, metric: Metric = "euclidean") -> Margin:
    """The least distance between views of different classes: 0 where augmented classes overlap.

    Euclidean distances are compared by products of rows, and that of the nearest pair of each block is then taken from
    their difference; whether two rows are equal is decided exactly.
    """
    if metric == "euclidean" and (equal := _equal_rows(views)) is not None:
        return Margin(0.0, equal)
    best, pair = np.inf, (-1, -1)
    square = (views.X**2).sum(axis=1)
    for k in range(views.K - 1):
        inside, after = views.rows(k), views.rows(k).stop
        width = len(views.X) - after
        step = max(1, BLOCK // max(width, 1))
        for low in range(inside.start, inside.stop, step):
            high = min(low + step, inside.stop)
            if metric == "euclidean":
                block = square[low:high, None] + square[after:] - 2 * (views.X[low:high] @ views.X[after:].T)
            else:
                block = distances(views.X[low:high], views.X[after:], metric)
            i, j = divmod(int(block.argmin()), width)
            found = float(distances(views.X[[low + i]], views.X[[after + j]], metric)[0, 0])
            if found < best:
                best, pair = found, (low + i, after + j)
    return Margin(best, pair)


def _equal_rows(views: ViewSet) -> tuple[int, int] | None:
    """Two equal rows of different classes, or None."""
    order = np.lexsort(views.X.T)
    codes = views.row_codes[order]
    same = (views.X[order[1:]] == views.X[order[:-1]]).all(axis=1) & (codes[1:] != codes[:-1])
    if not same.any():
        return None
    at = int(np.argmax(same))
    return int(order[at]), int(order[at + 1])


# ----------------------------------------------------------------------------------------------------------- main parts


@dataclass(frozen=True, eq=False)
class MainParts:
    """The bracket of sigma at one delta, class by class.

    cliques: one per class, members numbered within it. lower, upper (K,): omega_k / n_k lies between; p (K,).
    """

    delta: float
    cliques: tuple[Clique, ...]
    lower: Array
    upper: Array
    matching: Array  # (K,): 1 - |maximal matching of the complement| / n_k, never below `upper`
    p: Array

    @property
    def sigma(self) -> float:
        """The certified sigma: of the class with the smallest main part found."""
        return float(self.lower.min())

    @property
    def sigma_upper(self) -> float:
        """No larger sigma is true at this delta."""
        return float(self.upper.min())

    @property
    def outside(self) -> float:
        """sum_k p_k (1 - sigma_k): samples outside the main parts found; at most 1 - sigma."""
        return float(self.p @ (1 - self.lower))

    @property
    def exact(self) -> bool:
        """Whether every class's largest clique is known."""
        return all(clique.exact for clique in self.cliques)


def sigma_bracket(d_A: Sequence[Array], delta: float, *, budget: int = 1000) -> MainParts:
    """Main parts of every class at d_A <= delta, from `augmented_distance`; budget: nodes of the search per class."""
    check_real(delta, "delta", low=0)
    check_int(budget, "budget", low=0)
    n = np.array([len(D) for D in d_A], dtype=float)
    cliques = tuple(largest_clique(apart <= delta, budget=budget) for apart in d_A)
    return MainParts(
        float(delta),
        cliques,
        frozen(np.array([c.members.size for c in cliques]) / n),
        frozen(np.array([c.upper for c in cliques]) / n),
        frozen(1 - np.array([c.matching for c in cliques]) / n),
        frozen(n / n.sum()),
    )
