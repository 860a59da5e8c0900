"""How pair importance alpha is held: as a matrix, as one number per row, or as a rule that is asked again each time.

Each is A (n, c), anchors x candidates, zero at the anchor itself and at its positive; what `SignedGraph` needs of it
are products with A and A'.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.rules import AlphaRule

__all__ = ["Held", "Importance", "Recomputed", "Rows", "uniform_pairs"]

Array = np.ndarray[Any, np.dtype[np.float64]]


class Importance(Protocol):
    """alpha over the candidates, A (n, c), zero at the anchor itself and its positive: blocks of rows, and products."""

    def blocks(self, contrast: Contrast) -> Iterator[tuple[slice, Array]]:
        """(rows, A[rows]) over all anchors."""
        ...

    def products(self, contrast: Contrast, V: Array) -> tuple[Array, Array]:
        """A V[candidates] (n, k) and A' V[anchors] (c, k), from V (2N, k)."""
        ...


def _block_products(importance: Importance, contrast: Contrast, V: Array) -> tuple[Array, Array]:
    anchors, candidates = V[contrast.anchors], V[contrast.candidates]
    forth, back = np.empty_like(anchors), np.zeros_like(candidates)
    for rows, A in importance.blocks(contrast):
        forth[rows] = A @ candidates
        back += A.T @ anchors[rows]
    return forth, back


@dataclass(frozen=True, eq=False)
class Held:
    """alpha as a matrix: A (n, c)."""

    A: Array

    def blocks(self, contrast: Contrast) -> Iterator[tuple[slice, Array]]:
        yield slice(0, contrast.n_anchors), self.A

    def products(self, contrast: Contrast, V: Array) -> tuple[Array, Array]:
        return _block_products(self, contrast, V)


@dataclass(frozen=True, eq=False)
class Recomputed:
    """alpha of a rule at Z (2N, K), a block of anchors at a time."""

    rule: AlphaRule
    Z: torch.Tensor
    chunk: int

    def blocks(self, contrast: Contrast) -> Iterator[tuple[slice, Array]]:
        Z = self.Z - self.Z.mean(dim=0)  # a large mean costs digits of the distances
        candidates = Z[contrast.candidates]
        half = candidates.square().sum(1) / 2
        factor = 1.0 if contrast.half_squared else 2.0
        for start in range(0, contrast.n_anchors, self.chunk):
            rows = slice(start, min(start + self.chunk, contrast.n_anchors))
            a, p = contrast.anchors[rows, None], contrast.positives[rows, None]
            allowed = torch.as_tensor((contrast.candidates != a) & (contrast.candidates != p))
            anchor, positive = Z[contrast.anchors[rows]], Z[contrast.positives[rows]]
            d2 = (anchor.square().sum(1)[:, None] / 2 + half - anchor @ candidates.T).clamp_min(0.0)
            negative = d2[allowed].reshape(anchor.shape[0], -1)
            with torch.no_grad():
                alpha = self.rule.weigh(factor * negative, factor * (anchor - positive).square().sum(1) / 2)
            A = torch.zeros(allowed.shape, dtype=torch.float64)
            A[allowed] = alpha.to(torch.float64).reshape(-1)
            yield rows, A.numpy()

    def products(self, contrast: Contrast, V: Array) -> tuple[Array, Array]:
        return _block_products(self, contrast, V)


@dataclass(frozen=True, eq=False)
class Rows:
    """alpha_ij = w_i for every negative j of anchor i: A = w 1' less its entries at the anchor and its positive."""

    weight: Array  # (n,)

    def blocks(self, contrast: Contrast) -> Iterator[tuple[slice, Array]]:
        yield slice(0, contrast.n_anchors), self.weight[:, None] * contrast.allowed.numpy()

    def products(self, contrast: Contrast, V: Array) -> tuple[Array, Array]:
        a, p, c, w = contrast.anchors, contrast.positives, contrast.candidates, self.weight[:, None]
        inside = np.zeros((contrast.n_rows, 1))
        inside[c] = 1.0
        forth = w * (V[c].sum(axis=0) - inside[a] * V[a] - inside[p] * V[p])
        weighed = w * V[a]
        own = np.zeros((contrast.n_rows, V.shape[1]))
        own[a] += weighed
        own[p] += weighed
        return forth, weighed.sum(axis=0) - own[c]


def uniform_pairs(contrast: Contrast, w: float, R: int) -> tuple[Array, Array]:
    """The R largest eigenpairs of M for alpha_ij = w: in closed form, see the module; multiples of Helmert contrasts.

    On the rows of sample s, first view then second, an eigenvector is v_s (p, q) with |v| = |(p, q)| = 1.
    """
    if contrast.views == "two":
        N = contrast.n_anchors // 2
        first, second = contrast.anchors[:N], contrast.positives[:N]
        root = 1 / math.sqrt(2)
        kinds = [(4 * w * N, (root, root), True), (0.0, (root, root), False)]
        kinds += [(-4 * w * (N - 1), (root, -root), both) for both in (True, False)]
    else:
        N = contrast.n_anchors
        first, second = contrast.anchors, contrast.positives
        s = math.sqrt(1 + 2 * N * (N - 1))
        root = 1 / math.sqrt(2)
        kinds = [(0.0, (root, root), False), (-2 * w * (N - 1), (root, -root), False)]
        for sign in (1.0, -1.0):
            # (N + 1 - mu) p + (N - 1) q = 0 of the 2 x 2 block [[N + 1, N - 1], [N - 1, -(N - 1)]]
            p, q = float(N - 1), sign * s - N
            length = math.hypot(p, q)
            kinds.append((w * (1 + sign * s), (p / length, q / length), True))
    values, columns = np.zeros(R), np.zeros((contrast.n_rows, R))
    k = 0
    for value, (p, q), contrasts in sorted(kinds, key=lambda kind: -kind[0]):
        for j in range(N - 1 if contrasts else 1):
            if k == R:
                return values, columns
            v = np.full(N, 1 / math.sqrt(N))
            if contrasts:
                v = np.where(np.arange(N) <= j, 1.0, 0.0)
                v[j + 1] = -(j + 1)
                v /= math.sqrt((j + 1) * (j + 2))
            values[k], columns[first, k], columns[second, k] = value, p * v, q * v
            k += 1
    return values, columns
