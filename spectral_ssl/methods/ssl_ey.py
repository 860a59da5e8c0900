"""SSL-EY (Chapman, Wells & Lawry Aguila 2023, arXiv 2310.01012): the centred spectral contrastive loss.

With columns centred by the degree-weighted mean (Hd) and s = sum_ij A_ij,

    L(Z) = -2 tr(Z'Hd'A Hd Z) / s + |Z'Hd'D Hd Z / s|_F^2

By Eckart-Young (Lemma E), with rho_1 >= rho_2 >= ... the eigenvalues of the centred degree pencil, v_j'Dv_k = delta_jk,

    Z* = sqrt(s) V_K diag(sqrt max(0, rho)) Q,   min L = -sum_{k <= K} max(0, rho_k)^2

The paper has two centred views Xa, Xb (n, D) and, for a linear map W, A' = (Xa'Xb + Xb'Xa) / (n - 1) and
B' = (Xa'Xa + Xb'Xb) / (n - 1) in  L'(W) = -2 tr(W'A'W) + |W'B'W|_F^2. That is this loss on the relation which pairs
row i of both views (`relations.coupled`, D = I, s = 2n), in other units: L(W) = L'(W sqrt((n - 1) / 2n)), so minima and
ranges are equal and the weights here are those of the paper times sqrt(2n / (n - 1)).

Against VICReg: for every Z, alpha L(Z) + alpha K is `VICReg(weighting="degree")` at variance = covariance = invariance
= alpha. Against the spectral contrastive loss: the constant, its first eigenfunction, is projected out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.embedding import Optimum
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import Claim, QuadraticMethod, check_components, filtered, pad
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import Spectrum

__all__ = ["SSLEY"]


@dataclass(frozen=True)
class SSLEY(QuadraticMethod):
    """-2 tr Cov(z, z+) + |Cov(z)|_F^2 over pairs. No hyper-parameters; scale: Cov(z) = diag(max(0, rho))."""

    pencil = "degree_centred"
    whitens = "degree_centred"
    centred = "degree_mean"

    def terms(self, m: Moments) -> dict[str, Any]:
        s = m.total_weight
        return {
            "covariance": -2 * m.adjacency_centred.diagonal().sum() / s,
            "variance": ((m.degree_scatter / s) ** 2).sum(),
        }

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        """h = max(0, rho) on the top of the centred degree pencil."""
        r = check_components(spectrum, n_components)
        h = np.maximum(0.0, spectrum.values[:r])
        terms = {"covariance": float(-2 * (h**2).sum()), "variance": float((h**2).sum())}
        directions = pad(np.diag(np.sqrt(spectrum.total_weight * h)), n_components)
        claim = Claim(
            "exact", "rotation", "Chapman et al. 2023, Eckart-Young formulation of the generalised eigenproblem"
        )
        return filtered(self, spectrum, n_components, directions, terms, claim)

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """0: Z = 0."""
        return 0.0
