"""The positive-pair relation as a weighted graph.

A `Graph` is a symmetric, non-negative adjacency matrix A (N, N), held as a sum of terms in two storages with one
interface:

* edges:  a sparse matrix, for arbitrary pairs;
* groups: partitions of the samples with weights, for labels and views: A_ij = w_c inside group c. O(N) memory; a group
  of 6,000 samples is never expanded into its 36 million pairs.

Symbols: deg = A 1, s = sum(deg), L = diag(deg) - A.
Dirichlet identity (I1): sum_ij A_ij |z_i - z_j|^2 = 2 tr(Z'LZ).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.linalg import EPS, eigh

if TYPE_CHECKING:
    import networkx

__all__ = ["Diagnosis", "Graph", "Groups"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Index = np.ndarray[Any, np.dtype[np.int64]]

MAX_EXPANDED = 50_000_000  # pairs a group storage may be expanded to on request: about 1 GB
DENSE_COUNT = 1000  # up to this many samples the positive eigenvalues are counted by a dense solve
REGULAR_TOL = 1e-12  # relative spread of the degrees below which a graph counts as regular: thousands of roundings


@dataclass(frozen=True, eq=False)
class Groups:
    """One weighted partition: A_ij = weight[c] for i, j in group c.

    codes (N,) int64, -1 for samples in no group; weight (C,); diagonal: whether A_ii = weight[c] too, or 0.
    """

    codes: Index
    weight: Array
    diagonal: bool

    @cached_property
    def sizes(self) -> Index:  # (C,)
        return np.bincount(self.codes[self.codes >= 0], minlength=self.weight.size)

    @cached_property
    def member(self) -> Any:  # (C, N) indicator matrix
        rows = np.flatnonzero(self.codes >= 0)
        ones = np.ones(rows.size)
        return scipy.sparse.csr_array((ones, (self.codes[rows], rows)), shape=(self.weight.size, self.codes.size))

    @cached_property
    def row_weight(self) -> Array:  # (N,) weight of each sample's group, 0 outside
        return np.append(self.weight, 0.0)[self.codes]

    @cached_property
    def degree(self) -> Array:  # (N,)
        count = np.append(self.sizes, 0)[self.codes] - (0 if self.diagonal else 1)
        out: Array = self.row_weight * np.maximum(count, 0)
        return out

    def matmul(self, V: Array) -> Array:
        sums = self.member @ V * self.weight[:, None]
        out = np.vstack([sums, np.zeros((1, V.shape[1]))])[self.codes]
        return out if self.diagonal else out - self.row_weight[:, None] * V

    @cached_property
    def _place(self) -> Index:  # (N,) position of each sample inside its group
        place = np.zeros(self.codes.size, dtype=np.int64)
        member = self.member.indices
        place[member] = np.arange(member.size) - self.member.indptr[self.codes[member]]
        return place

    def draw(self, i: Index, rng: np.random.Generator) -> Index:
        """A partner for each sample of i, uniform in its group (itself excluded without the diagonal)."""
        start, size = self.member.indptr[self.codes[i]], self.sizes[self.codes[i]]
        at = rng.integers(0, size) if self.diagonal else (self._place[i] + 1 + rng.integers(0, size - 1)) % size
        return np.asarray(self.member.indices[start + at], dtype=np.int64)

    def subset(self, index: Index) -> Groups:
        return Groups(self.codes[index], self.weight, self.diagonal)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """The rule for new samples of a scaled relation: factor * a(x)."""

    attach: Callable[[Any], Any]
    factor: float
    known: Callable[[Any], Index] | None

    def __call__(self, X: Any) -> Any:
        return self.attach(X) * self.factor


@dataclass(frozen=True)
class Diagnosis:
    """Health of a relation, in numbers and in words (`str(diagnosis)`)."""

    n_samples: int
    n_pairs: int  # unordered pairs i < j with positive weight
    total_weight: float  # s
    n_components: int
    component_sizes: tuple[int, ...]  # the ten largest
    n_isolated: int
    n_self_loops: int
    regular: bool
    degree_min: float
    degree_mean: float
    degree_max: float
    zero_modes: int  # multiplicity of 0 in the spectrum of L on the complement of the constant
    n_positive: int | None  # positive eigenvalues of A; None where counting them is not cheap
    findings: tuple[str, ...]

    def __str__(self) -> str:
        positive = "not counted" if self.n_positive is None else f"{self.n_positive:,}"
        degrees = (
            f"{self.degree_mean:.4g} for every sample (regular)"
            if self.regular
            else f"{self.degree_min:.4g} to {self.degree_max:.4g}, mean {self.degree_mean:.4g} (irregular)"
        )
        head = [
            f"{self.n_samples:,} samples, {self.n_pairs:,} positive pairs, total weight {self.total_weight:.6g}",
            f"degrees: {degrees}",
            f"components: {self.n_components:,} (largest {', '.join(f'{c:,}' for c in self.component_sizes[:5])})",
            f"positive eigenvalues of A: {positive}",
        ]
        return "\n".join([*head, *(f"- {finding}" for finding in self.findings)])


@dataclass(frozen=True, eq=False)
class Graph:
    """A positive-pair relation: symmetric, non-negative, finite A (N, N) with at least one positive entry.

    Build one with `spectral_ssl.relations`, `Graph.from_pairs`, `Graph.from_adjacency` or `Graph.from_networkx`.

    n_samples: N. edges: csr_array or None. groups: partitions added to it. attach: where the relation has a rule for
    new samples, X (n, D) -> their weights a (n, N) to the samples of the graph; on those samples, their rows of A. Its
    method `known`, where it has one, tells which sample of the graph a row equals, (n,), -1 for none.
    Raises DataError on NaN, infinite, negative or asymmetric weights and on an empty relation.
    """

    n_samples: int
    edges: Any = None  # scipy.sparse.csr_array (N, N) | None
    groups: tuple[Groups, ...] = ()
    attach: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        _check_n_samples(self.n_samples)
        if self.edges is not None:
            object.__setattr__(self, "edges", _checked_adjacency(self.edges, self.n_samples))
        for g in self.groups:
            _check_groups(g, self.n_samples)
        if not self.total_weight > 0:
            raise DataError(
                "the relation is empty: it holds no positive pair; widen it (more neighbours, a larger radius, "
                "more views per original) or check that the pair list refers to these samples"
            )
        if not np.isfinite(self.total_weight):
            raise DataError("the weights of the relation overflow when summed; divide them by a common constant")

    # --- construction -----------------------------------------------------------------------------------------------

    @classmethod
    def from_pairs(cls, i: Any, j: Any, n_samples: int, weight: Any = None) -> Graph:
        """A_ij += w and A_ji += w for every listed pair; duplicates sum; i = j adds w once to the diagonal.

        i, j (P,) integers in [0, n_samples); weight (P,) finite and non-negative, default 1.
        """
        _check_n_samples(n_samples)
        i, j = _indices(i, "i", n_samples), _indices(j, "j", n_samples)
        if i.shape != j.shape:
            raise DataError(f"i and j must have equal length, got {i.size} and {j.size}")
        w = np.ones(i.size) if weight is None else np.asarray(weight, dtype=np.float64).ravel()
        if w.shape != i.shape:
            raise DataError(f"weight has {w.size} entries for {i.size} pairs")
        _check_weights(w, "pair")
        off = i != j
        rows = np.concatenate([i, j[off]])
        columns = np.concatenate([j, i[off]])
        A = scipy.sparse.coo_array((np.concatenate([w, w[off]]), (rows, columns)), shape=(n_samples, n_samples))
        return cls(n_samples, A.tocsr())

    @classmethod
    def from_adjacency(cls, A: Any) -> Graph:
        """From a symmetric non-negative matrix A (N, N), dense or scipy sparse (matrix or array, 32- or 64-bit)."""
        A = A if scipy.sparse.issparse(A) else np.asarray(A)
        if A.ndim != 2 or A.shape[0] != A.shape[1]:
            raise DataError(f"an adjacency matrix must be square, got shape {A.shape}")
        if A.dtype.kind not in "fiub":
            raise DataError(f"an adjacency matrix must hold real numbers, got dtype {A.dtype}")
        return cls(A.shape[0], scipy.sparse.csr_array(A))

    @classmethod
    def from_groups(cls, codes: Any, *, weight: Any = None, diagonal: bool = False) -> Graph:
        """A_ij = weight[c] inside every group c of a partition; codes (N,), -1 for samples in no group.

        weight (C,) defaults to 1. `diagonal` includes the self-pairs.
        """
        codes = np.asarray(codes)
        if codes.ndim != 1 or (codes.size and codes.dtype.kind not in "iu"):
            raise DataError(
                f"group codes must be whole numbers (N,), got dtype {codes.dtype} of shape {codes.shape}; number the "
                "groups from 0: np.unique(names, return_inverse=True)[1]"
            )
        codes = codes.astype(np.int64)
        C = int(codes.max(initial=-1)) + 1
        if weight is None and codes.size < C:  # ids far apart: the empty groups between them are left out
            kinds, codes = np.unique(codes, return_inverse=True)
            codes = codes - np.searchsorted(kinds, 0)
            C = int(codes.max()) + 1
        w = np.ones(C) if weight is None else np.asarray(weight, dtype=np.float64)
        if w.shape != (C,):
            raise DataError(f"{C} groups need {C} weights, got shape {w.shape}")
        return cls(codes.size, None, (Groups(codes, w, diagonal),))

    @classmethod
    def from_networkx(cls, g: networkx.Graph, *, weight: str = "weight") -> Graph:
        """From an undirected networkx graph; samples are its nodes in order, a missing weight counts as 1."""
        import networkx as nx

        if g.is_directed():
            raise DataError("positive pairs have no direction: pass g.to_undirected()")
        if g.number_of_nodes() == 0:
            raise DataError("the networkx graph has no nodes")
        try:
            A = nx.to_scipy_sparse_array(g, weight=weight, dtype=np.float64, format="csr")
        except (TypeError, ValueError) as error:
            raise DataError(f"the edge attribute {weight!r} of the networkx graph is not a number: {error}") from error
        return cls.from_adjacency(A)

    def to_networkx(self) -> networkx.Graph:
        """The relation as an undirected networkx graph with a `weight` on every edge."""
        import networkx as nx

        return nx.from_scipy_sparse_array(self.to_csr())

    def to_csr(self) -> Any:
        """A as one new csr_array. Raises ResourceError where the groups would expand past `MAX_EXPANDED` entries."""
        if not self.groups:
            return self.edges.copy()
        total = self.edges if self.edges is not None else scipy.sparse.csr_array((self.n_samples, self.n_samples))
        for g in self.groups:
            size = int((g.sizes.astype(np.float64) ** 2).sum())
            if size > MAX_EXPANDED:
                raise ResourceError(
                    f"expanding the groups into pairs needs {size:,} entries (limit {MAX_EXPANDED:,}); "
                    "use matmul and sample_pairs, which never expand them"
                )
            block = g.member.T @ scipy.sparse.diags_array(g.weight) @ g.member
            if not g.diagonal:
                block = block - scipy.sparse.diags_array(g.row_weight)
            total = total + block
        total = scipy.sparse.csr_array(total)
        total.eliminate_zeros()
        total.sort_indices()
        return total

    def scaled(self, factor: float) -> Graph:
        """factor * A, factor > 0."""
        if not (np.isfinite(factor) and factor > 0):
            raise DataError(f"a relation can be scaled by a positive finite number only, got {factor}")
        edges = None if self.edges is None else self.edges * factor
        groups = tuple(Groups(g.codes, g.weight * factor, g.diagonal) for g in self.groups)
        rule = None if self.attach is None else _Scaled(self.attach, factor, getattr(self.attach, "known", None))
        return Graph(self.n_samples, edges, groups, rule)

    def plus(self, other: Graph) -> Graph:
        """A + other.A over the same samples; both keep their storage."""
        if other.n_samples != self.n_samples:
            raise DataError(f"relations over {self.n_samples} and {other.n_samples} samples cannot be added")
        both = [e for e in (self.edges, other.edges) if e is not None]
        edges = both[0] + both[1] if len(both) == 2 else (both[0] if both else None)
        return Graph(self.n_samples, edges, self.groups + other.groups)

    def subgraph(self, index: Any) -> Graph:
        """The relation among the samples `index`; pairs that leave them are dropped, weights kept.

        index (n,): sample numbers, none twice, or a mask (N,). Raises DataError where no pair is left.
        """
        index = np.asarray(index)
        if index.dtype == bool:
            if index.shape != (self.n_samples,):
                raise DataError(f"the mask has shape {index.shape}, expected ({self.n_samples},)")
            index = np.flatnonzero(index)
        index = _indices(index, "index", self.n_samples)
        if np.unique(index).size < index.size:
            raise DataError("index names a sample more than once; pass np.unique(index)")
        edges = None if self.edges is None else self.edges[index][:, index]
        return Graph(index.size, edges, tuple(g.subset(index) for g in self.groups))

    # --- numbers ----------------------------------------------------------------------------------------------------

    @cached_property
    def degree(self) -> Array:
        """deg = A 1, (N,)."""
        total = self._edge_degree
        for g in self.groups:
            total = total + g.degree
        return total

    @cached_property
    def _edge_degree(self) -> Array:
        if self.edges is None:
            return np.zeros(self.n_samples)
        with np.errstate(over="ignore"):  # an infinite sum is refused on construction
            return np.asarray(self.edges.sum(axis=1)).ravel()

    @cached_property
    def diagonal(self) -> Array:
        """Self-pair weights A_ii, (N,)."""
        total = np.zeros(self.n_samples) if self.edges is None else self.edges.diagonal()
        for g in self.groups:
            total = total + g.row_weight * g.diagonal
        return total

    @cached_property
    def total_weight(self) -> float:
        """s = sum_ij A_ij."""
        return float(self.degree.sum())

    @cached_property
    def regular(self) -> bool:
        """Whether all degrees agree to rounding (relative spread at most 1e-12)."""
        return bool(np.ptp(self.degree) <= REGULAR_TOL * self.degree.max())

    @cached_property
    def adjacency_norm2(self) -> float:
        """|A|_F^2 = sum_ij A_ij^2, without expanding any group."""
        terms = ([] if self.edges is None else [self.edges]) + list(self.groups)
        total = sum(_inner(a, a) for a in terms)
        total += 2 * sum(_inner(a, b) for n, a in enumerate(terms) for b in terms[n + 1 :])
        return float(total)

    def matmul(self, V: Array) -> Array:
        """A V for V (N, m), matrix-free for groups."""
        V = np.asarray(V, dtype=np.float64)
        flat = V.reshape(self.n_samples, -1)
        out = np.zeros(flat.shape) if self.edges is None else self.edges @ flat
        for g in self.groups:
            out = out + g.matmul(flat)
        return out.reshape(V.shape)

    def laplacian_matmul(self, V: Array) -> Array:
        """L V = deg * V - A V for V (N, m)."""
        V = np.asarray(V, dtype=np.float64)
        flat = V.reshape(self.n_samples, -1)
        return (self.degree[:, None] * flat - self.matmul(flat)).reshape(V.shape)

    @cached_property
    def components(self) -> tuple[int, Index]:
        """Number of connected components, and the component of each sample (N,)."""
        n = self.n_samples
        # a group is joined through a hub node, so that its components cost O(N) and not O(pairs)
        rows, columns, size = [], [], n
        if self.edges is not None:
            C = self.edges.tocoo()
            rows.append(C.coords[0])
            columns.append(C.coords[1])
        for g in self.groups:
            i = np.flatnonzero((g.codes >= 0) & (g.row_weight > 0))
            rows.append(i)
            columns.append(size + g.codes[i])
            size += g.weight.size
        r, c = np.concatenate(rows), np.concatenate(columns)
        hubs = scipy.sparse.csr_array((np.ones(r.size, dtype=np.int8), (r, c)), shape=(size, size))
        label = scipy.sparse.csgraph.connected_components(hubs, directed=False)[1][:n]
        _, first, codes = np.unique(label, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))  # number components by their first sample
        return int(first.size), order[codes].astype(np.int64)

    @cached_property
    def n_pairs(self) -> int:
        """Unordered pairs i < j of positive weight (an upper bound where several storages overlap)."""
        total = 0
        if self.edges is not None:
            total += (int(self.edges.nnz) - int(np.count_nonzero(self.edges.diagonal()))) // 2
        for g in self.groups:
            n = g.sizes[g.weight > 0]
            total += int((n * (n - 1) // 2).sum())
        return total

    def pairs(self) -> tuple[Index, Index, Array]:
        """All pairs (i, j, weight) with i <= j. Raises ResourceError where groups would expand too far."""
        upper = scipy.sparse.triu(self.to_csr()).tocoo()
        return upper.coords[0].astype(np.int64), upper.coords[1].astype(np.int64), upper.data

    def sample_pairs(self, batch: int, rng: np.random.Generator) -> tuple[Index, Index]:
        """`batch` ordered pairs (i, j) drawn with probability A_ij / s, with replacement; groups are not expanded."""
        cumulative = self._degree_cumulative
        i = np.searchsorted(cumulative, rng.random(batch) * cumulative[-1], side="right")
        i = np.minimum(i, np.searchsorted(cumulative, cumulative[-1]))  # a draw rounded up to the very end
        # a point on sample i's row: first which term of the relation it falls into, then where inside
        share = np.stack([self._edge_degree[i], *(g.degree[i] for g in self.groups)])  # (terms, batch)
        ends = np.cumsum(share, axis=0)
        point = rng.random(batch) * ends[-1]
        last = share.shape[0] - 1 - np.argmax(share[::-1] > 0, axis=0)
        term = np.minimum((point >= ends).sum(axis=0), last)
        j = np.empty(batch, dtype=np.int64)
        here = np.flatnonzero(term == 0)
        if here.size:
            row, within = i[here], point[here] / share[0, here]
            at = np.searchsorted(self._edge_cumulative, row + within, side="right")
            j[here] = self.edges.indices[np.clip(at, self.edges.indptr[row], self.edges.indptr[row + 1] - 1)]
        for t, g in enumerate(self.groups, start=1):
            here = np.flatnonzero(term == t)
            j[here] = g.draw(i[here], rng)
        return i.astype(np.int64), j

    @cached_property
    def _degree_cumulative(self) -> Array:
        return np.cumsum(self.degree)

    @cached_property
    def _edge_cumulative(self) -> Array:
        """i + the share of row i's weight up to and with each stored entry: rows of any weight are told apart."""
        A = self.edges
        row = np.repeat(np.arange(self.n_samples), np.diff(A.indptr))
        total = np.cumsum(A.data / self._edge_degree[row])
        before = np.concatenate([[0.0], total])[A.indptr[row]]
        share = np.minimum(total - before, 1.0)
        share[A.indptr[1:][np.diff(A.indptr) > 0] - 1] = 1.0
        out: Array = row + share
        return out

    @property
    def is_partition(self) -> bool:
        """Whether the relation is one partition, so that its whole spectrum is known in closed form."""
        return self.edges is None and len(self.groups) == 1

    # --- diagnosis --------------------------------------------------------------------------------------------------

    def diagnose(self) -> Diagnosis:
        """Components, isolated samples, self-pairs, regularity, multiplicities, and what each means for each method."""
        n_components, label = self.components
        sizes = np.sort(np.bincount(label))[::-1]
        isolated = int(np.count_nonzero(self.degree == 0))
        loops = int(np.count_nonzero(self.diagonal))
        positive = self._count_positive()
        d = self.degree
        return Diagnosis(
            n_samples=self.n_samples,
            n_pairs=self.n_pairs,
            total_weight=self.total_weight,
            n_components=n_components,
            component_sizes=tuple(int(c) for c in sizes[:10]),
            n_isolated=isolated,
            n_self_loops=loops,
            regular=self.regular,
            degree_min=float(d.min()),
            degree_mean=float(d.mean()),
            degree_max=float(d.max()),
            zero_modes=n_components - 1,
            n_positive=positive,
            findings=tuple(self._findings(n_components, sizes, isolated, loops, positive)),
        )

    def _count_positive(self) -> int | None:
        if self.is_partition:
            g = self.groups[0]
            return int(np.count_nonzero((g.weight > 0) & (g.sizes > (0 if g.diagonal else 1))))
        if self.n_samples > DENSE_COUNT:
            return None
        values = eigh(self.to_csr().toarray())[0]
        return int(np.count_nonzero(values > 8 * max(self.n_samples, 8) * EPS * np.abs(values).max()))

    def _findings(
        self, n_components: int, sizes: Index, isolated: int, loops: int, positive: int | None
    ) -> Iterator[str]:
        if n_components > 1:
            yield (
                f"{n_components:,} connected components: besides the constant, 0 is an eigenvalue of L "
                f"{n_components - 1:,} times over (and 1 of the normalised adjacency, where all have pairs). VICReg "
                "keeps these directions at every invariance; over all embeddings, VICReg and the degree-normalised "
                "methods have more than one optimum while K is smaller: losses agree, subspaces need not. A linear "
                "model breaks the tie."
            )
        if np.all(sizes[: n_components - isolated] > 1) and n_components > 2 and sizes[0] <= 16:
            yield (
                f"the components are small (at most {sizes[0]:,} samples), as with augmented views: the null space "
                "of L has one dimension per original, so free embeddings say nothing about how originals relate."
            )
        if isolated:
            yield (
                f"{isolated:,} isolated samples have no positive pair: degree-weighted methods (spectral contrastive, "
                "Barlow Twins, VICReg weighting='degree') give them zero rows; unweighted VICReg spends components on "
                "them in the free model; InfoNCE uses them as negatives only."
            )
        if loops:
            yield (
                f"{loops:,} self-pairs on the diagonal: no effect on L (unweighted VICReg, Laplacian Eigenmaps); they "
                "shift the spectrum of A and the degrees, and so decide which eigenvalues Frobenius SimCLR, spectral "
                "contrastive, Barlow Twins and degree-weighted VICReg see; InfoNCE leaves them out."
            )
        paired = self.degree[self.degree > 0]
        ratio = paired.max() / paired.min()
        if ratio > 1 + REGULAR_TOL:
            yield (
                f"degrees differ by a factor of {ratio:.3g} among paired samples: L, A and D^-1/2 A D^-1/2 have "
                "different eigenvectors, so unweighted VICReg, Frobenius SimCLR and the degree-normalised methods "
                "learn different subspaces."
            )
        if positive is not None:
            yield (
                f"A has {positive:,} positive eigenvalues: over all embeddings Frobenius SimCLR and spectral "
                f"contrastive cannot exceed rank {positive:,}, nor C of Barlow Twins have more positive directions; "
                "VICReg can."
            )


# --- checks and small algebra ---------------------------------------------------------------------------------------


def _indices(values: Any, name: str, n_samples: int) -> Index:
    a = np.asarray(values)
    if a.ndim != 1:
        raise DataError(f"{name} must be one-dimensional, got shape {a.shape}")
    if a.size and a.dtype.kind not in "iu" and (a.dtype.kind != "f" or not np.all(a == np.floor(a))):
        raise DataError(f"{name} must hold integer sample indices, got dtype {a.dtype}")
    if a.size and (a.min() < 0 or a.max() >= n_samples):
        bad = a[(a < 0) | (a >= n_samples)][0]
        raise DataError(f"{name} holds index {bad}, but the samples are numbered 0 to {n_samples - 1}")
    return a.astype(np.int64)


def _check_n_samples(n_samples: Any) -> None:
    if isinstance(n_samples, bool) or not isinstance(n_samples, int | np.integer):
        raise DataError(f"n_samples must be a whole number, got {n_samples!r}")
    if n_samples < 2:
        raise DataError(f"a relation needs at least 2 samples, got {n_samples}")


def _check_groups(g: Groups, n_samples: int) -> None:
    if g.codes.shape != (n_samples,) or g.codes.dtype != np.int64:
        raise DataError(f"group codes must be int64 of shape ({n_samples},), got {g.codes.dtype} of {g.codes.shape}")
    low, high = int(g.codes.min()), int(g.codes.max())
    if low < -1 or high >= g.weight.size:
        raise DataError(
            f"group codes run from {low} to {high}, allowed are 0 to {g.weight.size - 1} for {g.weight.size} weights, "
            "and -1 for samples in no group"
        )
    _check_weights(g.weight, "group")


def _check_weights(w: Array, what: str) -> None:
    if not np.all(np.isfinite(w)):
        raise DataError(f"{what} weights hold {np.count_nonzero(~np.isfinite(w))} NaN or infinite values")
    if np.any(w < 0):
        raise DataError(
            f"{what} weights hold {np.count_nonzero(w < 0)} negative values (first {w[w < 0][0]:g}); "
            "a positive-pair relation has weights >= 0"
        )


def _checked_adjacency(A: Any, n_samples: int) -> Any:
    A = scipy.sparse.csr_array(A, dtype=np.float64, copy=True)
    if A.shape != (n_samples, n_samples):
        raise DataError(f"the adjacency matrix has shape {A.shape}, expected ({n_samples}, {n_samples})")
    A.sum_duplicates()
    _check_weights(A.data, "adjacency")
    A.eliminate_zeros()
    if max(A.nnz, n_samples) <= np.iinfo(np.int32).max:  # products are bound by memory: 12 bytes an entry, not 16
        A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
    difference = abs(A - A.T)
    if difference.nnz and difference.data.max() > 1e-12 * A.data.max():
        i, j = (int(c[int(np.argmax(difference.tocoo().data))]) for c in difference.tocoo().coords)
        raise DataError(
            f"the adjacency matrix is not symmetric: A[{i},{j}] = {A[i, j]:g} but A[{j},{i}] = {A[j, i]:g}; "
            "pass (A + A.T) / 2, or A.maximum(A.T) for neighbour lists"
        )
    return A


def _inner(a: Any, b: Any) -> float:
    """<A, B>_F for two storages, groups unexpanded."""
    if isinstance(a, Groups) and isinstance(b, Groups):
        joint = (a.member @ b.member.T).tocoo()  # (Ca, Cb) contingency table, at most N entries
        n = joint.data
        weight = a.weight[joint.coords[0]] * b.weight[joint.coords[1]]
        off = float((weight * n * (n - 1)).sum())
        return off + (float((a.row_weight * b.row_weight).sum()) if a.diagonal and b.diagonal else 0.0)
    if isinstance(a, Groups):
        return _inner(b, a)
    if isinstance(b, Groups):
        C = a.tocoo()
        i, j = C.coords
        inside = (b.codes[i] == b.codes[j]) & (b.diagonal | (i != j))  # outside the groups row_weight is 0
        return float((C.data * b.row_weight[i])[inside].sum())
    return float(a.multiply(b).sum())
