"""Barlow Twins (Zbontar et al. 2021) and its closed forms.

Normalised, the loss in use: with columns centred by the degree-weighted mean (Hd) and M = Z'Hd'A Hd Z, S = Z'Hd'D Hd Z,

    C_kl = M_kl / sqrt(S_kk S_ll),   L(Z) = sum_k (1 - C_kk)^2 + lambda sum_{k != l} C_kl^2

At lambda = 1 this is |C - I|_F^2 over columns with S_kk = 1. With rho_1 >= rho_2 >= ... the eigenvalues of the centred
degree pencil, v_j'Dv_k = delta_jk, the optimum lies in the top eigenspace, C having eigenvalues c_k:

    m  = the largest m <= K with rho_m > 0 and all c_k >= 0          (the active set)
    nu = max(0, (sum_{k <= m} 1/rho_k - K) / sum_{k <= m} 1/rho_k^2)     c_k = 1 - nu / rho_k
    min L = (K - m) + nu^2 sum_{k <= m} 1/rho_k^2
    Z* = V diag(sqrt(c / rho)) Q, Q turning the diagonal of diag(c / rho) to 1

nu > 0 where the K unit columns are scarce. Where they are plenty (fewer than K positive rho, sum 1/rho < K) every c_k
= 1 and the surplus norm goes where C does not see it, to rho <= 0; this is the minimum because C has at most m
positive eigenvalues.

Unnormalised: |Z'AZ/s - I|_F^2, uncentred. Zero on a continuum of weights; the minimum is K - min(K, n_+) and the
solution of least norm is W = [e_k / sqrt(gamma_k)] Q, (gamma, e) the top eigenpairs of X'AX/s (Simon et al. 2023,
arXiv 2303.15438).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import (
    Centring,
    Claim,
    QuadraticMethod,
    check_components,
    equal_diagonal_rotation,
    filtered,
    pad,
)
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import Pencil, Spectrum

__all__ = ["BarlowTwins"]

ZERO_TOL = 1e-10  # an eigenvalue of the pencil below this is zero: |rho| <= 1, rounding of a D x D problem is 1e-13


@dataclass(frozen=True)
class BarlowTwins(QuadraticMethod):
    """Barlow Twins over a relation.

    redundancy: lambda >= 0, the weight of the off-diagonal terms; the closed form is for lambda = 1. normalized: unit
    degree-weighted columns (the loss in use), or the unnormalised cross-moment form, which exists for redundancy 1.
    """

    redundancy: float = 1.0
    normalized: bool = True

    def __post_init__(self) -> None:
        if not (np.isfinite(self.redundancy) and self.redundancy >= 0):
            raise DataError(f"redundancy must be a number >= 0, got {self.redundancy}")
        if not self.normalized and self.redundancy != 1:
            raise DataError(
                f"the unnormalised form |Z'AZ/s - I|^2 has redundancy 1, got {self.redundancy}; set normalized=True"
            )

    @property
    def pencil(self) -> Pencil:
        return "degree_centred" if self.normalized else "cross_moment"

    @property
    def whitens(self) -> Pencil:
        return "degree_centred" if self.normalized else "adjacency"

    @property
    def centred(self) -> Centring:
        return "degree_mean" if self.normalized else None

    def terms(self, m: Moments) -> dict[str, Any]:
        if self.normalized:
            M, S = m.adjacency_centred, m.degree_scatter.diagonal()
            if isinstance(S, torch.Tensor):
                scale = torch.rsqrt(S.clamp_min(torch.finfo(S.dtype).tiny))
            else:
                scale = 1 / np.sqrt(np.maximum(S, np.finfo(np.float64).tiny))
            C = scale[:, None] * M * scale[None, :]
        else:
            C = m.adjacency / m.total_weight
        diagonal = C.diagonal()
        return {
            "invariance": ((1 - diagonal) ** 2).sum(),
            "redundancy": self.redundancy * ((C**2).sum() - (diagonal**2).sum()),
        }

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        if self.redundancy != 1:
            raise NotClosedForm(
                f"redundancy={self.redundancy:g}: the closed form is for redundancy 1, where the loss is |C - I|^2; "
                "use redundancy=1 (small values with small K collapse the embedding)"
            )
        return self._unit_columns(spectrum, n_components) if self.normalized else self._min_norm(spectrum, n_components)

    def _unit_columns(self, spectrum: Spectrum, n_components: int) -> Optimum:
        K, r = n_components, check_components(spectrum, n_components)
        rho = spectrum.values[:r]
        positive = int(np.count_nonzero(rho > ZERO_TOL))
        if positive == 0:
            raise NotClosedForm(
                "the relation has no positive eigenvalue off the constant: positives correlate in no direction and "
                "every C_kk <= 0; enrich the relation, or use VICReg, which can use such directions"
            )
        m, nu = _active_set(rho[:positive], K)
        B = _weights(spectrum.values, m, nu, K)  # (rows, K): Z = V B Q, before the rotation
        # |B|_F^2 counts the unit columns: where fewer than K fit, the rest stay zero
        columns = round(float((B**2).sum()))
        Q = np.eye(K)
        Q[:columns, :columns] = equal_diagonal_rotation((B[:, :columns] ** 2).sum(axis=0))
        B = B @ Q
        C = B.T @ (spectrum.values[: B.shape[0], None] * B)
        diagonal = np.diag(C)
        terms = {
            "invariance": float(((1 - diagonal) ** 2).sum()),
            "redundancy": float((C**2).sum() - (diagonal**2).sum()),
        }
        plenty = nu < 0 and spectrum.values.size > m  # the surplus norm can lie in any direction left
        claim = Claim(
            "exact",
            "none" if plenty else "orthogonal+scale",
            "Balestriero & LeCun 2022, section 5; active set derived here",
        )
        note = "" if m == K else f"active set of {m} directions for {K} unit columns"
        if plenty:
            note += ", whose surplus norm may lie in any other direction: the optimal subspace is not unique"
        # columns of unit degree-weighted variance; the loss does not see their scale
        return filtered(self, spectrum, K, B * np.sqrt(spectrum.total_weight), terms, claim, note)

    def _min_norm(self, spectrum: Spectrum, n_components: int) -> Optimum:
        K, r = n_components, check_components(spectrum, n_components)
        gamma = spectrum.values[:r] / spectrum.total_weight
        keep = int(np.count_nonzero(gamma > 0))  # the spectrum has set to zero what is rounding
        terms = {"invariance": float(K - keep), "redundancy": 0.0}
        claim = Claim("exact", "none", "Simon et al. 2023, minimum-norm solution")
        note = "one of a continuum of minima: the one of least norm"
        return filtered(self, spectrum, K, pad(np.diag(gamma[:keep] ** -0.5), K), terms, claim, note)

    def column_scale(self, m: Moments) -> Array:
        """Unit degree-weighted variance, which the normalised loss does not see."""
        if not self.normalized:
            return np.ones(m.n_features)
        variance = np.diag(m.degree_scatter) / m.total_weight
        return np.divide(1.0, np.sqrt(variance), out=np.ones_like(variance), where=variance > 0)

    def lower_bound(self, graph: Graph) -> float:
        """0: a sum of squares."""
        return 0.0

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """K: C = 0."""
        return float(n_components)


def _active_set(rho: Array, K: int) -> tuple[int, float]:
    """m and nu of the module docstring for rho (p,) positive and descending; nu < 0 where unit columns are plenty."""
    for m in range(min(rho.size, K), 0, -1):
        inverse = 1 / rho[:m]
        nu = float((inverse.sum() - K) / (inverse**2).sum())
        if 1 - nu / rho[m - 1] >= 0:
            return m, nu if abs(nu) > ZERO_TOL else 0.0  # all rho = 1: neither scarce nor plenty
    raise AssertionError("m = 1 always holds: c_1 = K rho_1")


def _weights(rho: Array, m: int, nu: float, K: int) -> Array:
    """B (rows, K) with orthogonal columns, B' diag(rho) B = diag(c, 0), and |B|_F^2 = K where K unit columns exist."""
    if nu >= 0:
        return pad(np.diag(np.sqrt((1 - nu / rho[:m]) / rho[:m])), K)
    surplus = K - float((1 / rho[:m]).sum())
    if rho.size == m:  # no direction to put it in: as many unit columns as fit best, the rest zero
        columns = min(
            (c for c in (math.floor(K - surplus), math.ceil(K - surplus))), key=lambda c: abs(c - (K - surplus))
        )
        nu = float(((1 / rho[:m]).sum() - columns) / (1 / rho[:m] ** 2).sum())
        return pad(np.diag(np.sqrt((1 - nu / rho[:m]) / rho[:m])), K)
    B = np.zeros((m + 1, K))
    B[np.arange(m), np.arange(m)] = np.sqrt(1 / rho[:m])
    if rho[m] > -ZERO_TOL:
        B[m, m] = np.sqrt(surplus)
    else:
        # a hyperbolic turn of the first and a negative direction lengthens the column and leaves B' diag(rho) B alone
        sinh2 = surplus / (1 / rho[0] + 1 / -rho[m])
        B[0, 0], B[m, 0] = np.sqrt((1 + sinh2) / rho[0]), np.sqrt(sinh2 / -rho[m])
    return B
