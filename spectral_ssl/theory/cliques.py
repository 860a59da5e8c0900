"""The largest clique of a graph, between what is found and what is proven: a bracket [|members|, upper].

Found (any clique counts, so these are certificates):

* the vertex of most strangers taken out until none are left;
* grown from the vertices of largest degree, each time by the candidate that keeps most candidates;
* the vertices that a maximal matching M of the complement leaves single: no two are strangers, or M would grow. They
  are n - 2|M|, and every vertex cover of the complement has |M| vertices at least, so that n minus the clique found
  is at most twice n minus the largest clique;
* branch and bound over the neighbourhoods, bounded by greedy colouring (Tomita & Kameda 2007), up to a budget of nodes.

Proven: a clique is what a vertex cover of the complement leaves, so omega = n - tau, and tau is at least

    |M|  <=  the maximum matching  <=  the fractional cover = (maximum matching of the bipartite double cover) / 2

the last by Koenig's theorem and the half-integrality of vertex cover (Nemhauser & Trotter 1975), in polynomial time.
These say nothing below n/2. There a proper colouring does: vertices of one colour are strangers, so omega is at most
the number of colours. A search that ends within its budget closes the bracket.

Vertices adjacent to all others are in every largest clique, and are set aside first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from spectral_ssl.data._checks import IntArray, frozen

__all__ = ["Clique", "largest_clique"]

Adjacency = np.ndarray[Any, np.dtype[np.bool_]]  # (n, n), symmetric; the diagonal is not looked at
STARTS = 16  # vertices that cliques are grown from


@dataclass(frozen=True, eq=False)
class Clique:
    """members: of the largest clique found, ascending. upper: no clique has more. matching: |M|, vertices of which
    pairs of strangers can be formed. nodes: of the search."""

    members: IntArray
    upper: int
    matching: int
    nodes: int

    @property
    def exact(self) -> bool:
        """Whether no clique is larger than the one found."""
        return self.members.size == self.upper


def largest_clique(adjacent: Adjacency, *, budget: int = 1000) -> Clique:
    """The bracket of one graph; budget: nodes of the search, 0 for none."""
    n = adjacent.shape[0]
    A = adjacent | np.eye(n, dtype=bool)
    aside = A.all(axis=1)
    rest = np.argsort(-A.sum(axis=1), kind="stable")[int(aside.sum()) :]  # by falling degree: coloured in that order
    if not rest.size:
        return Clique(frozen(np.arange(n)), n, 0, 0)
    A = A[np.ix_(rest, rest)]
    matched, pairs = _maximal_matching(A)
    neighbours = _bitsets(A)
    upper = min(rest.size - -(-_double_cover_matching(A) // 2), _colours(neighbours, (1 << rest.size) - 1)[1][-1])
    found = max((_worst_out(A), np.flatnonzero(~matched)), key=len)
    if found.size < upper:
        found = max((found, *_best_in(A)), key=len)
    nodes = 0
    if found.size < upper and budget > 0:
        better, ended, nodes = _search(neighbours, found.size, budget)
        found = np.array(better) if better else found
        upper = found.size if ended else upper
    members = np.sort(np.concatenate([np.flatnonzero(aside), rest[found]]))
    return Clique(frozen(members), int(aside.sum()) + int(upper), pairs, nodes)


# ---------------------------------------------------------------------------------------------------------- heuristics


def _worst_out(A: Adjacency) -> IntArray:
    """Take out the vertex of most strangers until all know each other."""
    strangers = (~A).sum(axis=1)
    inside = np.ones(A.shape[0], dtype=bool)
    while True:
        worst = int(np.argmax(np.where(inside, strangers, -1)))
        if strangers[worst] == 0:
            return np.flatnonzero(inside)
        inside[worst] = False
        strangers = strangers - ~A[worst]


def _best_in(A: Adjacency) -> list[IntArray]:
    """Cliques grown from the `STARTS` vertices of largest degree."""
    cliques = []
    for start in np.argsort(-A.sum(axis=1), kind="stable")[:STARTS]:
        members = [int(start)]
        candidates = A[start].copy()
        candidates[start] = False
        shared = A[:, candidates].sum(axis=1)  # candidates that each vertex knows
        while candidates.any():
            best = int(np.argmax(np.where(candidates, shared, -1)))
            members.append(best)
            left = candidates & A[best]
            left[best] = False
            shared = shared - A[:, candidates & ~left].sum(axis=1)
            candidates = left
        cliques.append(np.array(members))
    return cliques


# --------------------------------------------------------------------------------------------------------------- limits


def _maximal_matching(A: Adjacency) -> tuple[Adjacency, int]:
    """Who is matched (n,) to a stranger, and how many pairs there are; those of most strangers choose last."""
    n = A.shape[0]
    matched = np.zeros(n, dtype=bool)
    pairs = 0
    for v in np.argsort((~A).sum(axis=1), kind="stable"):
        if matched[v]:
            continue
        free = np.flatnonzero(~A[v] & ~matched)
        if free.size:
            matched[[v, free[0]]] = True
            pairs += 1
    return matched, pairs


def _double_cover_matching(A: Adjacency) -> int:
    """The maximum matching between two copies of the vertices, strangers joined: twice the fractional cover."""
    strangers = scipy.sparse.csr_array((~A).astype(np.int8))
    return int(np.count_nonzero(scipy.sparse.csgraph.maximum_bipartite_matching(strangers, perm_type="column") >= 0))


def _bitsets(A: Adjacency) -> list[int]:
    """Neighbours of each vertex, itself left out, as the bits of a whole number."""
    others = A & ~np.eye(A.shape[0], dtype=bool)
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(others, axis=1, bitorder="little")]


def _colours(neighbours: list[int], P: int) -> tuple[list[int], list[int]]:
    """The vertices of P by ascending colour, and their colours 1, 2, ..; those of one colour are strangers."""
    vertices, colours, colour = [], [], 0
    while P:
        colour += 1
        Q = P
        while Q:
            bit = Q & -Q
            v = bit.bit_length() - 1
            P ^= bit
            Q &= ~(neighbours[v] | bit)
            vertices.append(v)
            colours.append(colour)
    return vertices, colours


def _search(neighbours: list[int], best: int, budget: int) -> tuple[list[int], bool, int]:
    """A clique of more than `best` vertices ([] where none was found), whether the search ended, and its nodes."""
    found: list[int] = []
    members: list[int] = []
    everyone = (1 << len(neighbours)) - 1
    stack = [(everyone, *_colours(neighbours, everyone))]  # candidates P, and those left to branch on
    nodes = 1
    while stack:
        P, vertices, colours = stack[-1]
        if not vertices or len(members) + colours[-1] <= best:
            stack.pop()
            if members:
                members.pop()
            continue
        if nodes >= budget:
            return found, False, nodes
        v = vertices.pop()
        colours.pop()
        stack[-1] = (P & ~(1 << v), vertices, colours)
        members.append(v)
        inner = P & neighbours[v]
        nodes += 1
        if len(members) > best:
            best, found = len(members), list(members)
        stack.append((inner, *_colours(neighbours, inner)))
    return found, True, nodes
