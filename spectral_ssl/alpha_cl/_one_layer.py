"""One linear layer, Z = XW: the loss and what its dual needs, over blocks of anchors.

With G = WW' (D, D) psd and h = 1/2 (1 where the contrast does not halve squares) every

    u_ij = h [ (x_i - x_i')'G(x_i - x_i') - (x_i - x_j)'G(x_i - x_j) ]

is linear in G, and with alpha = dF/du the gradient of L = sum_i F(u_i) in G is -h C, C the contrastive covariance

    C = sum_ij alpha_ij { (x_i - x_j)(x_i - x_j)' - (x_i - x_i')(x_i - x_i')' }
      = Xa'diag(s)Xa + Xc'diag(t)Xc - Xa'A Xc - (Xa'A Xc)' - Xd'diag(s)Xd

with A (n, c) alpha over the candidates, s its row and t its column sums, Xa, Xc, Xd the rows of anchors, of candidates
and of differences between anchors and positives. Only an n x c block of A is held at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spectral_ssl import linalg
from spectral_ssl.alpha_cl.contrast import Contrast, as_rows
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError

__all__ = ["OneLayer", "Sweep", "factor"]

BLOCK = 2**16  # entries of a block of u: 512 kB, and the rules hold a few such arrays; larger ones leave the cache
ROUNDING = 4  # roundings counted for every one that a step makes at worst
FLAT = 1e-12  # a direction of X below this share of its largest singular value is rounding


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one pass over all pairs gives at W.

    value: L. product (d, q): C times what was asked for. conjugate: sum_i F*(alpha_i), where asked for. What roundings
    are relative to: size, sum_i |F(u_i)| + sum_ij alpha_ij (d_ij^2 + d_i^2); trace, of the terms of C, all added.
    """

    value: float
    product: Array
    conjugate: float
    size: float
    trace: float

    def rounding(self, h: float, radius: float, shape: tuple[int, ...]) -> float:
        """What float64 can have moved L and h <C, G> by, tr G <= radius, W of that shape."""
        return ROUNDING * (sum(shape) + 8) * linalg.EPS * (self.size + h * radius * self.trace)


class OneLayer:
    """L as a function of W (d, K) in the d directions in which rows of X differ; what lies beyond only takes norm.

    rule: a `PairLoss`, or a rule whose alpha is fixed, taken as the loss -E_alpha. basis (D, d): orthonormal, W of the
    caller is basis W. sweeps: passes over all pairs so far, those of rules derived by `of` among them.
    """

    def __init__(self, X: Any, contrast: Contrast, rule: AlphaRule) -> None:
        X = as_rows(X, contrast.n_rows, "X").detach().double().numpy()
        if X.shape[1] == 0:
            raise DataError("X has no columns; a linear layer needs at least one feature")
        self.mean = X.mean(axis=0)
        X = X - self.mean
        self.basis = linalg.orthonormal_basis(X.T, rtol=FLAT)
        self.contrast, self.rule = contrast, rule
        self.h = 0.5 if contrast.half_squared else 1.0
        Y = X @ self.basis  # (R, d)
        self.Y, self.d = Y, Y.shape[1]
        self.allowed = contrast.allowed.numpy()
        self._passes = [0]

    @property
    def sweeps(self) -> int:
        return self._passes[0]

    def of(self, rule: AlphaRule) -> OneLayer:
        """The same data under another rule."""
        other = copy.copy(self)
        other.rule = rule
        return other

    def within(self, Q: Array) -> OneLayer:
        """The problem over W in the range of Q (d, q) alone, orthonormal, in its coordinates."""
        other = copy.copy(self)
        other.basis, other.Y, other.d = self.basis @ Q, self.Y @ Q, Q.shape[1]
        return other

    def _blocks(self, W: Array) -> Iterator[tuple[slice, Array, Any, Any]]:
        """Anchors i0 .. i1: their slice, which candidates count, and d_ij^2 (b, m), d_i^2 (b,) as tensors."""
        contrast, h2 = self.contrast, 2 * self.h
        Z = self.Y @ W
        za, zc = Z[contrast.anchors], Z[contrast.candidates]
        positive = self.h * np.square(za - Z[contrast.positives]).sum(axis=1)
        na, nc = self.h * np.square(za).sum(axis=1), self.h * np.square(zc).sum(axis=1)
        across = np.ascontiguousarray(zc.T) * h2
        n, c = self.allowed.shape
        rows = max(1, BLOCK // c)
        for start in range(0, n, rows):
            i = slice(start, min(start + rows, n))
            half = za[i] @ across
            np.subtract(nc, half, out=half)
            half += na[i, None]
            np.maximum(half, 0.0, out=half)
            mask = self.allowed[i]
            negative = half[mask].reshape(mask.shape[0], -1)
            yield i, mask, torch.from_numpy(negative), torch.from_numpy(positive[i])

    def _judge(self, negative: Any, positive: Any) -> tuple[Any, Any]:
        """F(u_i) (b,) and alpha (b, m); of a fixed alpha the loss is -E_alpha."""
        u = positive[:, None] - negative
        if isinstance(self.rule, PairLoss):
            return self.rule.rows(u), self.rule.slope(u)
        alpha = self.rule.weigh(negative, positive)
        return (alpha * u).sum(dim=1), alpha

    def value(self, W: Array) -> float:
        """L at W (d, K)."""
        self._passes[0] += 1
        with torch.no_grad():
            return sum(float(self._judge(near, own)[0].sum()) for _, _, near, own in self._blocks(W))

    def sweep(self, W: Array, probe: Array | None = None, *, dual: PairLoss | None = None) -> Sweep:
        """L at W (d, K), and C `probe` (d, q), by default C itself.

        dual: the loss whose conjugate of alpha is asked for.
        """
        self._passes[0] += 1
        contrast, X = self.contrast, self.Y
        V = X if probe is None else X @ probe  # (R, q)
        Xa, Xc, Xd = X[contrast.anchors], X[contrast.candidates], X[contrast.anchors] - X[contrast.positives]
        Va, Vc, Vd = V[contrast.anchors], V[contrast.candidates], V[contrast.anchors] - V[contrast.positives]
        n, c = self.allowed.shape
        s, t = np.empty((n, 1)), np.zeros((c, 1))
        AV, ATV = np.empty((n, V.shape[1])), np.zeros((c, V.shape[1]))
        value = size = conjugate = 0.0
        with torch.no_grad():
            for i, mask, near, own in self._blocks(W):
                F, alpha = self._judge(near, own)
                value += float(F.sum())
                size += float(F.abs().sum()) + float((alpha * (near + own[:, None])).sum())
                if dual is not None:
                    conjugate += float(dual.conjugate(alpha).sum())
                A = np.zeros(mask.shape)
                A[mask] = alpha.numpy().ravel()
                s[i, 0] = A.sum(axis=1)
                t[:, 0] += A.sum(axis=0)
                AV[i] = A @ Vc
                if probe is not None:
                    ATV += A.T @ Va[i]
        product = Xa.T @ (s * Va - AV) + Xc.T @ (t * Vc) - Xd.T @ (s * Vd)
        if probe is None:
            cross = Xa.T @ AV
            product -= cross.T
            product = (product + product.T) / 2
        else:
            product -= Xc.T @ ATV
        trace = float((s * Xa**2).sum() + (t * Xc**2).sum() + (s * Xd**2).sum())
        return Sweep(value, product, conjugate, size, trace)


def factor(G: Array) -> Array:
    """W (d, k) with WW' = G, the largest column first; at least one column."""
    g, U = linalg.eigh(G)
    keep = g > linalg.EPS * max(float(g[-1]), 0.0)
    keep[-1] = True
    return np.asarray((U[:, keep] * np.sqrt(np.clip(g[keep], 0.0, None)))[:, ::-1])
