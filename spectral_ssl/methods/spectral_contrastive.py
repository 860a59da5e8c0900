"""The spectral contrastive loss (HaoChen, Wei, Gaidon & Ma 2021, arXiv 2106.04156) and its closed form.

With w = A/s, p = deg/s:

    L(Z) = -2 sum_ij w_ij z_i'z_j + sum_ij p_i p_j (z_i'z_j)^2 = -2 tr(Z'AZ)/s + |Z'diag(deg)Z / s|_F^2

By Eckart-Young (Lemma E), with a_1 >= a_2 >= ... the eigenvalues of (A, diag(deg)) and v_j'diag(deg)v_k = delta_jk,

    Z* = sqrt(s) V_K diag(sqrt max(0, a)) Q,   min L = -sum_{k <= K} max(0, a_k)^2

Nothing is centred; in the free model a_1 = 1 is the constant.
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

__all__ = ["SpectralContrastive"]


@dataclass(frozen=True)
class SpectralContrastive(QuadraticMethod):
    """-2 E_positive[z'z+] + E_independent[(z'z-)^2]. No hyper-parameters; scale: E_p[zz'] = diag(max(0, a))."""

    pencil = "degree"
    whitens = "degree"
    centred = None

    def terms(self, m: Moments) -> dict[str, Any]:
        s = m.total_weight
        return {
            "attraction": -2 * m.adjacency.diagonal().sum() / s,
            "repulsion": ((m.degree_gram / s) ** 2).sum(),
        }

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        """h = max(0, a) on the top of the degree pencil."""
        r = check_components(spectrum, n_components)
        h = np.maximum(0.0, spectrum.values[:r])
        terms = {"attraction": float(-2 * (h**2).sum()), "repulsion": float((h**2).sum())}
        directions = pad(np.diag(np.sqrt(spectrum.total_weight * h)), n_components)
        return filtered(
            self,
            spectrum,
            n_components,
            directions,
            terms,
            Claim("exact", "rotation", "HaoChen et al. 2021, spectral contrastive loss (Eckart-Young)"),
        )

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """0: Z = 0."""
        return 0.0
