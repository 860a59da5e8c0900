"""SimCLR with squared error: the Frobenius (multidimensional scaling) form and its closed form.

    L(Z) = |ZZ' - A|_F^2 = |Z'Z|_F^2 - 2 tr(Z'AZ) + |A|_F^2

By Eckart-Young, with g_1 >= g_2 >= ... the eigenvalues of (A, I) over the model (Z uncentred; linear: of (X'AX, X'X)),

    Z* = U_K diag(sqrt max(0, g)) Q,   min L = |A|_F^2 - sum_{k <= K} max(0, g_k)^2,   rank = min(K, #{g_k > 0})

Source: Balestriero & LeCun 2022 (arXiv 2205.11508), section 4. Exact InfoNCE is another method: see infonce.py.
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

__all__ = ["FrobeniusSimCLR"]


@dataclass(frozen=True)
class FrobeniusSimCLR(QuadraticMethod):
    """|ZZ' - A|_F^2, uncentred. No hyper-parameters; scale: Z'Z = diag(max(0, g)) up to rotation."""

    pencil = "adjacency"
    whitens = "adjacency"
    centred = None

    def terms(self, m: Moments) -> dict[str, Any]:
        return {
            "repulsion": (m.gram**2).sum(),
            "attraction": -2 * m.adjacency.diagonal().sum(),
            "constant": m.adjacency_norm2,
        }

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        """h = max(0, g) on the top of the adjacency pencil."""
        r = check_components(spectrum, n_components)
        h = np.maximum(0.0, spectrum.values[:r])
        terms = {
            "repulsion": float((h**2).sum()),
            "attraction": float(-2 * (h**2).sum()),
            "constant": spectrum.adjacency_norm2,
        }
        claim = Claim("exact", "rotation", "Balestriero & LeCun 2022, Theorem 5 (Frobenius form)")
        return filtered(self, spectrum, n_components, pad(np.diag(np.sqrt(h)), n_components), terms, claim)

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """|A|_F^2: Z = 0."""
        return graph.adjacency_norm2
