"""Pencils over all of R^N: solved component by component on the sparse graph, copies of eigenvalues counted.

A partition (labels, views) has its eigenpairs in closed form; any other relation is split into connected components,
each handed to `linalg.smallest_eigenpairs` as a positive semi-definite problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from spectral_ssl import linalg
from spectral_ssl.errors import ResourceError
from spectral_ssl.graph import Graph

__all__ = ["best_pairs", "residuals"]

Array = np.ndarray[Any, np.dtype[np.float64]]


def residuals(graph: Graph, pencil: str, values: Array, vectors: Array) -> Array:
    """|A v - mu B v| in the norm of B^-1, relative to a bound on |mu|; values (R,), vectors (N, R) over all samples."""
    deg = graph.degree
    size = float(deg.max())
    if pencil == "laplacian":
        out: Array = np.linalg.norm(graph.laplacian_matmul(vectors) - vectors * values, axis=0) / (2 * size)
    elif pencil == "adjacency":
        out = np.linalg.norm(graph.matmul(vectors) - vectors * values, axis=0) / size
    else:
        root = np.sqrt(np.divide(1.0, deg, out=np.zeros_like(deg), where=deg > 0))[:, None]
        out = np.linalg.norm(root * (graph.matmul(vectors) - deg[:, None] * vectors * values), axis=0)
    return out


@dataclass
class _Component:
    """One connected component: its samples and its pencil as a psd problem M u = mu u, smallest mu best."""

    index: Any  # (n,) samples
    matrix: Any  # (n, n) sparse or LinearOperator
    upper: float  # bound on the largest eigenvalue of the matrix
    null: Array | None
    shift: float = 0.0  # the pencil's own value is mu - shift


def best_pairs(graph: Graph, base: str, r: int) -> linalg.Eigenpairs:
    """The best r pairs of a pencil over all of R^N (off the constant for the centred ones), in the pencil's own values.

    Components are solved one by one and merged with their copies counted: an eigenvalue that occurs in five identical
    components is found five times. The null vectors of the components (one constant each) are combined into contrasts
    orthogonal to the global constant, so nothing is removed by its position.
    """
    N, deg = graph.n_samples, graph.degree
    centred = base != "adjacency"
    mass = deg if base == "degree_centred" else np.ones(N)
    active = mass > 0
    n_components, label = graph.components
    dimension = int(active.sum()) - (1 if centred else 0)
    r = min(r, dimension)
    values, columns, notes = np.zeros(0), np.zeros((N, 0)), []
    if centred:
        columns = _null_contrasts(label, n_components, mass, r)
        values = np.zeros(columns.shape[1])
        if columns.shape[1]:
            notes.append(f"{columns.shape[1]} contrasts between components")
    need = r - values.size
    if need > 0:
        inner = _clique_pairs(graph, base, need) if graph.is_partition else _component_pairs(graph, base, need)
        values = np.concatenate([values, inner.values])
        columns = np.hstack([columns, inner.vectors])
        notes.append(inner.solver)
    if base == "degree_centred":
        columns = columns * np.divide(1.0, np.sqrt(deg), out=np.zeros(N), where=active)[:, None]
        values = 1 - values
    elif base == "adjacency":
        values = -values
    else:
        values = np.maximum(values, 0.0)
    return linalg.Eigenpairs(values, columns, residuals(graph, base, values, columns), dimension, "; ".join(notes))


def _null_contrasts(label: Any, n_components: int, mass: Array, r: int) -> Array:
    """Up to r orthonormal combinations (N, .) of the components' null vectors sqrt(mass), off their global sum.

    Helmert contrasts of the component masses M_c, largest component first: with a_c = sqrt(M_c), A_j^2 = a_1^2 + .. +
    a_j^2, contrast j weighs components 1..j by a_{j+1} a_c / (A_j A_{j+1}) and component j+1 by -A_j / A_{j+1}.
    """
    M = np.bincount(label, weights=mass, minlength=n_components)
    order = np.argsort(-M, kind="stable")
    order = order[M[order] > 0]
    count = min(r, order.size - 1)
    a = np.sqrt(M[order[: count + 1]])
    A = np.sqrt(np.cumsum(a**2))
    coefficient = np.zeros((n_components, max(count, 0)))  # of sqrt(mass) / a_c, unit on each component
    for j in range(count):
        coefficient[order[: j + 1], j] = a[j + 1] * a[: j + 1] / (A[j] * A[j + 1])
        coefficient[order[j + 1], j] = -A[j] / A[j + 1]
    unit = np.sqrt(np.divide(mass, M[label], out=np.zeros_like(mass), where=M[label] > 0))
    out: Array = coefficient[label] * unit[:, None]
    return out


def _clique_pairs(graph: Graph, base: str, need: int) -> linalg.Eigenpairs:
    """Closed form for a partition: group c of n_c samples and weight w_c has, as mu (smallest best),

    laplacian: w_c n_c on the n_c - 1 contrasts inside the group;  degree_centred: 1 - a, a = -1/(n_c - 1), or 0 with
    the diagonal;  adjacency: -g, g = w_c (n_c - 1) once and -w_c else; with the diagonal w_c n_c once and 0 else.
    """
    g = graph.groups[0]
    n, w = g.sizes, g.weight
    codes = g.codes.copy()
    codes[(codes >= 0) & ~((w > 0) & (n > (0 if g.diagonal else 1)))[codes]] = -1  # groups that pair nothing
    live = np.flatnonzero((w > 0) & (n > (0 if g.diagonal else 1)))
    rest = np.flatnonzero(codes < 0)
    wanted: list[tuple[float, int, int]] = []  # (mu, group or -1, which contrast; -1 is the group's constant)
    with np.errstate(divide="ignore"):
        inside = {
            "laplacian": w * n,
            "degree_centred": np.ones(n.size) if g.diagonal else 1 + 1 / np.maximum(n - 1, 1),
            "adjacency": np.zeros(n.size) if g.diagonal else w,
        }[base]
    if base == "adjacency":
        top = -(w * n if g.diagonal else w * (n - 1))
        wanted += [(float(top[c]), int(c), -1) for c in live[np.argsort(top[live], kind="stable")][:need]]
        wanted += [(0.0, -1, int(k)) for k in range(min(need, rest.size))]
    for c in live[np.argsort(inside[live], kind="stable")]:
        if len(wanted) >= need and inside[c] >= sorted(wanted)[need - 1][0]:
            break
        wanted += [(float(inside[c]), int(c), j) for j in range(min(need, int(n[c]) - 1))]
    wanted = sorted(wanted, key=lambda item: item[0])[:need]
    V = np.zeros((graph.n_samples, len(wanted)))
    for column, (_, c, j) in enumerate(wanted):
        if c < 0:
            V[rest[j], column] = 1.0
            continue
        members = g.member.indices[g.member.indptr[c] : g.member.indptr[c + 1]]
        if j < 0:
            V[members, column] = 1 / math.sqrt(members.size)
        else:
            V[members[: j + 1], column] = 1 / math.sqrt((j + 1) * (j + 2))
            V[members[j + 1], column] = -(j + 1) / math.sqrt((j + 1) * (j + 2))
    values = np.array([mu for mu, _, _ in wanted])
    return linalg.Eigenpairs(values, V, np.zeros(values.size), values.size, "closed form of a partition")


def _component_pairs(graph: Graph, base: str, need: int) -> linalg.Eigenpairs:
    """The best `need` pairs off the null vectors, over all components, each solved by itself."""
    values: list[Array] = []
    residuals: list[Array] = []
    where: list[tuple[Any, Array]] = []
    solvers: dict[str, list[int]] = {}
    for part in _split(graph, base):
        if part.index.size == 1 and part.null is not None:
            continue
        found = linalg.smallest_eigenpairs(part.matrix, need, upper=part.upper, null=part.null)
        values.append(found.values - part.shift)
        residuals.append(found.residuals)
        where += [(part.index, found.vectors[:, k]) for k in range(found.values.size)]
        solvers.setdefault(found.solver, []).append(part.index.size)
    mu = np.concatenate(values) if values else np.zeros(0)
    order = np.argsort(mu, kind="stable")[:need]
    V = np.zeros((graph.n_samples, order.size))
    for column, k in enumerate(order):
        index, vector = where[k]
        V[index, column] = vector
    told = ", ".join(f"{name} [{_sizes_in_words(sizes)}]" for name, sizes in solvers.items())
    resid = np.concatenate(residuals)[order] if values else np.zeros(0)
    return linalg.Eigenpairs(mu[order], V, resid, order.size, told or "nothing to solve")


def _sizes_in_words(sizes: list[int]) -> str:
    if len(sizes) == 1:
        return f"{sizes[0]:,} samples"
    return f"{len(sizes):,} components of {min(sizes):,} to {max(sizes):,} samples"


def _split(graph: Graph, base: str) -> Any:
    """Yield the components of a relation with their matrices."""
    n_components, label = graph.components
    try:
        A = graph.to_csr() if graph.groups else graph.edges
    except ResourceError:
        A = None
    order = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[order], np.arange(n_components + 1))
    if A is not None and n_components > 1:
        A = A[order][:, order]
    for c in range(n_components):
        index = order[bounds[c] : bounds[c + 1]]
        deg = graph.degree[index]
        if base == "degree_centred" and deg.sum() == 0:
            continue
        block = A[bounds[c] : bounds[c + 1], bounds[c] : bounds[c + 1]] if A is not None and n_components > 1 else A
        yield _component(graph, base, index, deg, block)


def _component(graph: Graph, base: str, index: Any, deg: Array, A: Any) -> _Component:
    n = index.size
    products: Any = A
    if A is None:  # groups too large to expand: products only
        sub = graph.subgraph(index) if n < graph.n_samples else graph
        products = scipy.sparse.linalg.LinearOperator((n, n), matvec=sub.matmul, matmat=sub.matmul, dtype=np.float64)
    root = np.sqrt(deg)
    if base == "laplacian":
        M = _shifted(scipy.sparse.diags_array(deg), products)
        return _Component(index, M, 2 * float(deg.max()), np.full(n, 1 / math.sqrt(n)))
    if base == "degree_centred":
        R = scipy.sparse.diags_array(1 / root)
        S = R @ products @ R if A is not None else _as_operator(R) * products * _as_operator(R)
        return _Component(index, _shifted(scipy.sparse.eye_array(n), S), 2.0, root / np.linalg.norm(root))
    c = linalg.largest_eigenvalue_bound(products, float(deg.max())) if n > linalg.DENSE_MAX else float(deg.max())
    # the best of A are the smallest of cI - A
    return _Component(index, _shifted(c * scipy.sparse.eye_array(n), products), c + float(deg.max()), None, shift=c)


def _as_operator(M: Any) -> Any:
    return scipy.sparse.linalg.aslinearoperator(M)


def _shifted(diagonal: Any, products: Any) -> Any:
    """diagonal - products, sparse where both are."""
    if scipy.sparse.issparse(products):
        return scipy.sparse.csr_array(diagonal - products)
    return _as_operator(diagonal) - products
