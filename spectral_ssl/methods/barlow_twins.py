"""Barlow Twins (Zbontar et al. 2021) and its closed forms.

Normalised, the loss in use: with columns centred by the degree-weighted mean (Hd) and M = Z'Hd'A Hd Z, S = Z'Hd'D Hd Z,

    C_kl = M_kl / sqrt(S_kk S_ll),   L(Z) = sum_k (1 - C_kk)^2 + lambda sum_{k != l} C_kl^2

With rho_1 >= rho_2 >= ... the eigenvalues of the centred degree pencil, v_j'Dv_k = delta_jk, and columns at S_kk = 1,
the optimum is Z* = V diag(sqrt(c / rho)) Q in the top eigenspace, C having eigenvalues c_k.

lambda = 1 is |C - I|_F^2:

    m  = the largest m <= K with rho_m > 0 and all c_k > 0          (the active set)
    nu = (sum_{k <= m} 1/rho_k - K) / sum_{k <= m} 1/rho_k^2,   c_k = 1 - nu / rho_k
    min L = (K - m) + nu^2 sum_{k <= m} 1/rho_k^2,   Q turning the diagonal of diag(c / rho) to 1

Where unit columns are plenty (fewer than K positive rho, sum 1/rho < K) every c_k = 1 and the surplus norm goes where
C does not see it, to rho <= 0; this is the minimum because C has at most m positive eigenvalues.

lambda < 1: c solves a quadratic programme in closed form, whose value is a lower bound. It is attained, and the optimum
exact, where a rotation makes the diagonals of both C and diag(c / rho) constant: a Hadamard matrix for K = 1, 2, 4, 8,
12, 16, ...; Newton's method found one in every search for K > 5 and most for K = 5. Else (K = 3, mostly) the small
problem is descended, and the optimum certified by the bound. A small lambda K collapses: direction m is used only for
lambda > lambda_m, see `_barlow_qp`.

lambda > 1: no single formula. The small problem is descended; the loss of every embedding grows with lambda, so the
minimum at lambda = 1 is a bound.

Uniqueness. A rescaled column has the same loss, whence "orthogonal+scale": two optima differ *at most* by a rotation
and then by scales of columns, and have the same range. Not every rotation is free, only those that leave the columns
at unit length and, unless lambda = 1, the diagonal of C as it is. Of certified optima this is what searches found.

Unnormalised: |Z'AZ/s - I|_F^2, uncentred. Zero on a continuum of weights; the minimum is K - min(K, n_+) and the
solution of least norm is W = [e_k / sqrt(gamma_k)] Q, (gamma, e) the top eigenpairs of X'AX/s (Simon et al. 2023,
arXiv 2303.15438).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.linalg import rank
from spectral_ssl.methods._barlow_qp import ZERO_TOL, UnitColumns, loss_terms, programme, unit_columns
from spectral_ssl.methods.base import Centring, Claim, QuadraticMethod, check_components, filtered, pad
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import Pencil, Spectrum

__all__ = ["BarlowTwins"]


@dataclass(frozen=True)
class BarlowTwins(QuadraticMethod):
    """Barlow Twins over a relation.

    redundancy: lambda >= 0, the weight of the off-diagonal terms; exact for lambda = 1, exact or certified otherwise
    (`Optimum.kind` says which). normalized: unit degree-weighted columns (the loss in use), or the unnormalised
    cross-moment form, which exists for redundancy 1.
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
    def searches(self) -> bool:
        return self.redundancy != 1

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
        """Unit columns by the active set, the quadratic programme or descent; unnormalised, the least norm.

        Warns where lambda K is so small that the optimum has a lower rank than at redundancy 1.
        """
        return self._unit_columns(spectrum, n_components) if self.normalized else self._min_norm(spectrum, n_components)

    def _unit_columns(self, spectrum: Spectrum, n_components: int) -> Optimum:
        K, rho = n_components, spectrum.values
        check_components(spectrum, K)
        if not np.any(rho > ZERO_TOL):
            raise NotClosedForm(
                "the relation has no positive eigenvalue off the constant: positives correlate in no direction and "
                "every C_kk <= 0; enrich the relation, or use VICReg, which can use such directions"
            )
        best = unit_columns(rho, K, self.redundancy)
        m, exact = best.programme.c.size, best.attained
        collapse = self._collapse(rho[rho > ZERO_TOL], K)
        if collapse:
            warnings.warn(
                f"redundancy={self.redundancy:g} with {K} components collapses: the optimum has rank {m}; {collapse}",
                SpectralWarning,
                stacklevel=4,
            )
        # with norm to spare, in any direction left; or, without redundancy, anywhere in the first eigenspace
        many = (best.programme.plenty and rho.size > m) or (self.redundancy == 0 and spectrum.multiplicity(1) > 1)
        # a search may end on another subspace than the top eigenspace: nothing is known of its like
        outside = not exact and bool(np.any(best.B[rank(best.B, rtol=1e-6) :]))
        claim = Claim(
            "exact" if exact else "certified",
            "none" if many or outside else "orthogonal+scale",
            "Balestriero & LeCun 2022, section 5; active set and quadratic programme derived here",
        )
        # columns of unit degree-weighted variance; the loss does not see their scale
        B = best.B * np.sqrt(spectrum.total_weight)
        terms = loss_terms(best.B, rho, self.redundancy)
        found = filtered(self, spectrum, K, B, terms, claim, self._note(best, K, collapse, many))
        return found if self.redundancy == 1 else replace(found, lower_bound=min(best.bound, found.loss))

    def _note(self, best: UnitColumns, K: int, collapse: str, many: bool) -> str:
        m, notes = best.programme.c.size, []
        if self.redundancy <= 1 and m < K:
            notes.append(
                f"active set of {m} directions for {K} unit columns"
                + (", whose surplus norm may lie in any other direction" if best.programme.plenty else "")
                + (f": {collapse}" if collapse else "")
            )
        if many:
            notes.append("the optimal subspace is not unique")
        if not best.attained:
            bound = "its quadratic programme" if self.redundancy < 1 else "the minimum at redundancy 1"
            notes.append(f"{best.loss:.8g} found by {best.how}, proven to be at least {best.bound:.8g} by {bound}")
        elif self.redundancy != 1:
            notes.append(f"the bound {best.bound:.8g} is attained by {best.how}")
        return "; ".join(notes)

    def _collapse(self, rho: Array, K: int) -> str:
        """What a rank that redundancy 1 would exceed needs, "" where there is none; rho (p,) positive."""
        if self.redundancy >= 1:
            return ""
        here, at_one = programme(rho, K, self.redundancy), programme(rho, K, 1.0)
        full, most = at_one.c.size, min(K, rho.size)
        if here.c.size == full:
            return ""
        return f"rank {full} needs a redundancy above {here.thresholds[full - 1]:.3g}" + (
            "" if full == most else f", rank {most} is not reached at 1"
        )

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

    def lower_bound(self, graph: Graph, n_components: int | None = None) -> float:
        """0: a sum of squares."""
        return 0.0

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """K: C = 0."""
        return float(n_components)
