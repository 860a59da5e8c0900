"""VICReg (Bardes, Ponce & LeCun 2022) and its closed form.

With Cov = Z'HZ / (N - ddof), alpha = variance, beta = covariance, gamma = invariance:

    L(Z) = alpha sum_k (1 - Cov_kk)^2 + beta sum_{j != k} Cov_jk^2 + (gamma / N) sum_ij A_ij |z_i - z_j|^2

By the Dirichlet identity the last term is (2 gamma / N) tr(Z'LZ). For alpha = beta the first two are
alpha |Cov - I|^2 and Lemma M solves the problem: with mu_1 <= mu_2 <= ... the eigenvalues of (L, H) over the model (the
constant removed) and m_k = (N - ddof) mu_k / N,

    t_k = max(0, 1 - gamma m_k / alpha),   Z* = sqrt(N - ddof) U_{1:K} diag(sqrt t) Q,   min L = alpha (K - sum t_k^2)

For beta > alpha the loss is no smaller anywhere and the same where Cov is diagonal, so the minimum stays and Q shrinks
to signed permutations.

weighting="degree" replaces Cov by the degree-weighted Z'Hd'DHdZ / s and the invariance term by (2 gamma / s) tr(Z'LZ);
then m_k = 1 - a_k, the eigenvalues of the normalised Laplacian.

Source: Balestriero & LeCun 2022 (arXiv 2205.11508), section 3; constants derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from spectral_ssl.embedding import Optimum, UniqueUpTo
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import Centring, Claim, QuadraticMethod, check_components, filtered, pad
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import Pencil, Spectrum

__all__ = ["VICReg"]

SLOW = 1e-3  # energy difference below which a trained subspace is not to be expected within the default evaluations


@dataclass(frozen=True)
class VICReg(QuadraticMethod):
    """VICReg with squared variance (`form="squared"`) or the published hinge (`form="hinge"`).

    variance: alpha > 0. covariance: beta >= 0. invariance: gamma >= 0, or None, which resolves per relation and model
    to alpha / (2 m_K), m_K the K-th critical value, so that t_K = 1/2; where m_K = 0 the first positive m_k after it is
    taken. form: "squared" has the closed form above for beta >= alpha; "hinge" replaces sum_k (1 - Cov_kk)^2 by
    sum_k max(0, 1 - sqrt(Cov_kk)) and is trained only. weighting: "none" | "degree". ddof: Cov divides by N - ddof
    (weighting="none" only).
    """

    variance: float = 1.0
    covariance: float = 1.0
    invariance: float | None = None
    form: Literal["squared", "hinge"] = "squared"
    weighting: Literal["none", "degree"] = "none"
    ddof: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.variance) and self.variance > 0):
            raise DataError(f"variance must be a positive number, got {self.variance}")
        if not (math.isfinite(self.covariance) and self.covariance >= 0):
            raise DataError(f"covariance must be a number >= 0, got {self.covariance}")
        if self.invariance is not None and not (math.isfinite(self.invariance) and self.invariance >= 0):
            raise DataError(
                f"invariance must be a number >= 0, or None to resolve it per relation, got {self.invariance}"
            )
        if self.form not in ("squared", "hinge"):
            raise DataError(f"form={self.form!r} is not known; choose 'squared' or 'hinge'")
        if self.weighting not in ("none", "degree"):
            raise DataError(f"weighting={self.weighting!r} is not known; choose 'none' or 'degree'")
        if self.ddof not in (0, 1):
            raise DataError(f"ddof must be 0 or 1, got {self.ddof}")

    @property
    def pencil(self) -> Pencil:
        return "laplacian" if self.weighting == "none" else "degree_centred"

    @property
    def whitens(self) -> Pencil:
        return self.pencil

    @property
    def centred(self) -> Centring:
        return "mean" if self.weighting == "none" else "degree_mean"

    def terms(self, m: Moments) -> dict[str, Any]:
        if self.invariance is None:
            raise DataError(
                "invariance=None is resolved per relation and model; call method.resolve(spectrum, K), "
                "use ss.optimum or ss.train, or pass a number"
            )
        if self.weighting == "none":
            if m.n_samples - self.ddof < 1:
                raise DataError(f"a covariance with ddof={self.ddof} needs more than {m.n_samples} samples")
            cov, dirichlet = m.scatter / (m.n_samples - self.ddof), 2 * m.laplacian / m.n_samples
        else:
            cov, dirichlet = m.degree_scatter / m.total_weight, 2 * m.laplacian / m.total_weight
        diagonal = cov.diagonal()
        if self.form == "squared":
            spread = ((1 - diagonal) ** 2).sum()
        elif isinstance(diagonal, torch.Tensor):
            # sqrt has no gradient at zero variance: a collapsed column starts with the hinge's own slope on the right
            spread = torch.relu(1 - torch.sqrt(diagonal.clamp_min(torch.finfo(diagonal.dtype).eps ** 2))).sum()
        else:
            spread = np.maximum(0.0, 1 - np.sqrt(np.maximum(diagonal, 0.0))).sum()
        return {
            "variance": self.variance * spread,
            "covariance": self.covariance * ((cov**2).sum() - (diagonal**2).sum()),
            "invariance": self.invariance * dirichlet.diagonal().sum(),
        }

    def critical_values(self, spectrum: Spectrum) -> Any:
        """m_k, ascending: gamma_k = alpha / m_k is the invariance at which direction k dies."""
        if self.weighting == "degree":
            return np.maximum(1 - spectrum.values, 0.0)
        return spectrum.values * ((spectrum.n_samples - self.ddof) / spectrum.n_samples)

    def resolve(self, spectrum: Spectrum, n_components: int) -> VICReg:
        if self.invariance is not None:
            return self
        m = self.critical_values(spectrum)
        # the K-th, or the next that is not zero: in the null space of L no invariance changes anything
        positive = m[min(n_components, m.size) - 1 :] if m.size else m
        positive = positive[positive > 1e-9 * max(float(m.max(initial=0.0)), 1e-300)]
        gamma = self.variance / (2 * float(positive[0])) if positive.size else self.variance
        return replace(self, invariance=gamma)

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        """t_k = max(0, 1 - gamma m_k / alpha) on the bottom of the Laplacian pencil."""
        if self.form == "hinge":
            raise NotClosedForm(
                "the hinge on the standard deviation has no single spectral filter: its optimum has branches whose "
                "validity depends on variance / covariance; use form='squared' for a closed form"
            )
        if self.covariance < self.variance:
            raise NotClosedForm(
                f"the closed form needs covariance >= variance, got {self.covariance:g} < {self.variance:g}; "
                "set them equal (only their ratio to invariance matters)"
            )
        r = check_components(spectrum, n_components)
        method = self.resolve(spectrum, n_components)
        alpha, gamma = method.variance, method.invariance
        assert gamma is not None
        m_all = self.critical_values(spectrum)
        m = m_all[:r]
        t = np.maximum(0.0, 1 - (gamma / alpha) * m)
        n = spectrum.n_samples - self.ddof if self.weighting == "none" else spectrum.total_weight
        # Cov = diag(t), so every off-diagonal entry is zero and the terms split per direction
        terms = {
            "variance": float(alpha * (((1 - t) ** 2).sum() + n_components - r)),
            "covariance": 0.0,
            "invariance": float(2 * gamma * (m * t).sum()),
        }
        # covariance > variance only forbids rotations: the loss is no smaller anywhere, and the same at diagonal Cov
        freedom: UniqueUpTo = "rotation" if self.covariance == self.variance else "signed_permutation"
        note = ""
        if gamma == 0 and n_components < spectrum.dimension:
            freedom, note = "none", "invariance 0: any K directions of the model are optimal, the relation is not seen"
        elif 0 < r < m_all.size and t[-1] > 0 and t[-1] - max(0.0, 1 - (gamma / alpha) * m_all[r]) < SLOW:
            note = (
                f"at this invariance the last direction kept and the first left out differ in energy by less than "
                f"{SLOW:.0e}: the optimum is exact, training tells them apart slowly"
            )
        claim = Claim("exact", freedom, "Balestriero & LeCun 2022, Theorem 1 (squared variance)")
        return filtered(method, spectrum, n_components, pad(np.diag(np.sqrt(n * t)), n_components), terms, claim, note)

    def lower_bound(self, graph: Graph) -> float:
        """0: a sum of squares, hinges and non-negative weights."""
        return 0.0

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """alpha K: zero variance in every column."""
        return self.variance * n_components
