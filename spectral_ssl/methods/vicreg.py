"""VICReg (Bardes, Ponce & LeCun 2022) and its optima, in every regime.

With Cov = Z'HZ / (N - ddof), alpha = variance, beta = covariance, gamma = invariance:

    L(Z) = alpha sum_k v(Cov_kk) + beta sum_{j != k} Cov_jk^2 + (gamma / N) sum_ij A_ij |z_i - z_j|^2
    form="squared": v(x) = (1 - x)^2        form="hinge", the published one: v(x) = max(0, 1 - sqrt x)

By the Dirichlet identity the last term is (2 gamma / N) tr(Z'LZ). With mu_1 <= mu_2 <= ... the eigenvalues of (L, H)
over the model (the constant removed), U its eigenvectors and m_k = (N - ddof) mu_k / N, an optimum is

    Z* = sqrt(N - ddof) U_{1:K} diag(sqrt c) Q,   Q in O(K),   Cov = Q' diag(c) Q,   invariance 2 gamma sum m_k c_k

whatever the form: at a given spectrum c of Cov the bottom eigenvectors are best (von Neumann). What is left is c >= 0
and the diagonal d of Cov, which Q reaches exactly where c majorises it (Schur-Horn); S = sum c = sum d.

Squared, beta = alpha. The first terms are alpha |Cov - I|^2 and Lemma M gives, Q being free,

    c_k = t_k = max(0, 1 - gamma m_k / alpha),   min L = alpha (K - sum t_k^2)

Squared, beta > alpha. The loss is no smaller anywhere and the same where Cov is diagonal, so the minimum stays and Q
shrinks to signed permutations.

Squared, beta < alpha. At a given c the loss falls with sum d^2, least where d is constant (Schur-Horn), and what is
left is convex in c: alpha K - 2 alpha S + (alpha - beta) S^2 / K + beta sum c^2 + 2 gamma sum m c. So, p directions
being active, M_p = m_1 + .. + m_p (the K - r columns past the rank r take their share of the variance too),

    c_k = max(0, theta - gamma m_k) / beta,   every Cov_kk = S / K
    theta = [alpha + (alpha - beta) gamma M_p / (K beta)] / [1 + (alpha - beta) p / (K beta)]

and for beta = 0 all of S = K max(0, 1 - gamma m_1 / alpha) on the eigenvectors of m_1: K copies of one coordinate.

Hinge, alpha >= 8 beta (the published weights have 25 or 12.5). Again d is constant, d = s <= 1: a column of variance
above 1 shrunk to 1 lowers the other terms, and on [0, 1] alpha (1 - sqrt d) - beta d^2 is convex (Jensen). Convex in c:

    pinned, 2 gamma M_K / K <= alpha / 2 with all K active:  s = 1,   c_k = 1 - gamma (m_k - M_K / K) / beta,
        min L = 2 gamma M_K - (gamma^2 / beta) sum_k (m_k - M_K / K)^2
    else p active, c_k = K s / p + gamma (M_p / p - m_k) / beta, and s solves
        alpha / (2 sqrt s) + 2 beta s = 2 beta K s / p + 2 gamma M_p / p,   or s = 1 where the left side is larger there

Hinge, alpha < 8 beta. Columns of unlike variance can win. The K x K problem in (c, d) is solved by branch and bound
(`_diagonal.py`), to within 1e-9 alpha K, or to a lower bound reported with the optimum (kind="certified").

form="constrained": min (2 gamma / N) tr(Z'LZ) subject to Cov(Z) = I, which is Laplacian Eigenmaps: c = 1, min L =
2 gamma M_K, Q free. To train it without a constraint, the loss of a Z of full rank is that of its whitened columns (as
in W-MSE, Ermolov et al. 2021), (2 gamma / N) tr(Cov^-1 Z'LZ), infinite where Cov is singular.

weighting="degree" replaces Cov by the degree-weighted Z'Hd'DHdZ / s and the invariance term by (2 gamma / s) tr(Z'LZ);
then m_k = 1 - a_k, the eigenvalues of the normalised Laplacian.

Source: Balestriero & LeCun 2022 (arXiv 2205.11508), section 3; constants, and all but beta = alpha, derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from spectral_ssl import linalg
from spectral_ssl.embedding import Array, Optimum, UniqueUpTo
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.methods._diagonal import PROVEN, Shares, even_squared, hinge, thresholded
from spectral_ssl.methods.base import (
    Centring,
    Claim,
    QuadraticMethod,
    check_components,
    diagonal_rotation,
    filtered,
)
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import Pencil, Spectrum

__all__ = ["VICReg"]

SLOW = 1e-3  # energy difference below which a trained subspace is not to be expected within the default evaluations
NOTHING = 1e-12  # share of alpha that a column may cost and still count as free
SOURCES = {
    "equal": "Balestriero & LeCun 2022, Theorem 1 (squared variance)",
    "squared": "water-filling and Schur-Horn, derived here for Balestriero & LeCun 2022, section 3",
    "hinge": "K x K problem in spectrum and diagonal of Cov, derived here for Bardes, Ponce & LeCun 2022",
    "constrained": "Balestriero & LeCun 2022, Theorem 2 (Laplacian Eigenmaps)",
}


@dataclass(frozen=True)
class VICReg(QuadraticMethod):
    """VICReg with squared variance (form="squared"), the published hinge ("hinge"), or Cov = I ("constrained").

    variance: alpha > 0. covariance: beta >= 0. Both stay 1 in the constrained form, which has no such terms.
    invariance: gamma >= 0, or None, which resolves per relation and model to alpha / (2 m_K), m_K the K-th critical
    value, so that t_K = 1/2; where m_K = 0 the first positive m_k after it is taken. form: see the module; each has an
    optimum, exact but for the hinge at variance < 8 covariance, where it may be certified only. weighting: "none" |
    "degree". ddof: Cov divides by N - ddof (weighting="none" only).
    """

    variance: float = 1.0
    covariance: float = 1.0
    invariance: float | None = None
    form: Literal["squared", "hinge", "constrained"] = "squared"
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
        if self.form not in ("squared", "hinge", "constrained"):
            raise DataError(f"form={self.form!r} is not known; choose 'squared', 'hinge' or 'constrained'")
        if self.form == "constrained" and (self.variance, self.covariance) != (1.0, 1.0):
            raise DataError(
                f"form='constrained' holds Cov = I and has no variance or covariance term to weigh, got variance="
                f"{self.variance:g} and covariance={self.covariance:g}; leave them out, or choose another form"
            )
        if self.weighting not in ("none", "degree"):
            raise DataError(f"weighting={self.weighting!r} is not known; choose 'none' or 'degree'")
        if self.ddof not in (0, 1):
            raise DataError(f"ddof must be 0 or 1, got {self.ddof}")

    @property
    def pencil(self) -> Pencil:
        return "laplacian" if self.weighting == "none" else "degree_centred"

    @property
    def searches(self) -> bool:
        return self.form == "hinge" and self.variance < 8 * self.covariance

    @property
    def full_rank(self) -> bool:
        return self.form == "constrained"

    @property
    def whitens(self) -> Pencil:
        return self.pencil

    @property
    def centred(self) -> Centring:
        return "mean" if self.weighting == "none" else "degree_mean"

    @property
    def _gamma(self) -> float:
        if self.invariance is None:
            raise DataError(
                "invariance=None is resolved per relation and model; call method.resolve(spectrum, K), "
                "use ss.optimum or ss.train, or pass a number"
            )
        return self.invariance

    def _covariance(self, m: Moments) -> Any:
        if self.weighting == "degree":
            return m.degree_scatter / m.total_weight
        if m.n_samples - self.ddof < 1:
            raise DataError(f"a covariance with ddof={self.ddof} needs more than {m.n_samples} samples")
        return m.scatter / (m.n_samples - self.ddof)

    def terms(self, m: Moments) -> dict[str, Any]:
        gamma = self._gamma
        cov = self._covariance(m)
        dirichlet = 2 * m.laplacian / (m.n_samples if self.weighting == "none" else m.total_weight)
        if self.form == "constrained":
            none = 0 * cov.sum()
            return {"variance": none, "covariance": none, "invariance": gamma * _whitened_trace(cov, dirichlet)}
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
            "invariance": gamma * dirichlet.diagonal().sum(),
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
        """The minimum on the bottom of the Laplacian pencil, see the module; DataError where Cov = I cannot hold."""
        K, rank = n_components, spectrum.dimension
        if self.form == "constrained" and rank < K:
            raise DataError(
                f"n_components={K} exceeds the rank {rank} of the {spectrum.pencil} pencil, where Cov = I cannot hold; "
                f"choose at most {rank}, or form='squared'"
            )
        r = check_components(spectrum, K)
        method = self.resolve(spectrum, K)
        gamma, m = method._gamma, self.critical_values(spectrum)
        c, d, lower_bound = self.shares(2 * gamma * m[:r], K)
        Q = np.eye(K) if c is d else diagonal_rotation(c, d)
        cov, energy = (Q.T * c) @ Q, 2 * gamma * m[:r] @ (c[:r, None] * Q[:r] ** 2)
        terms, scale_is_free = self._account(cov, energy)
        freedom, note = self._freedom(spectrum, gamma, d, scale_is_free)
        notes = [note]
        left = 0.0 if lower_bound is None else sum(terms.values()) - lower_bound  # not proven
        proven = self.proven(left, K)
        if lower_bound is not None and proven:
            notes.append(f"proven by branch and bound, to {PROVEN:.0e} of variance times K")
        elif lower_bound is not None:
            notes.append(f"lower bound {left:.1e} below, by branch and bound")
        kept = 0 < r < m.size and gamma * c[r - 1] > 0
        if kept and min(c[r - 1], gamma * (m[r] - m[r - 1]) / self.variance) < SLOW:
            notes.append(
                f"at this invariance the last direction kept and the first left out differ in energy by less than "
                f"{SLOW:.0e}: the optimum is exact, training tells them apart slowly"
            )
        source = SOURCES["equal" if self.form == "squared" and self.covariance >= self.variance else self.form]
        claim = Claim("exact" if proven else "certified", freedom, source)
        n = spectrum.n_samples - self.ddof if self.weighting == "none" else spectrum.total_weight
        directions = np.sqrt(n * c[:r])[:, None] * Q[:r]
        found = filtered(method, spectrum, K, directions, terms, claim, "; ".join(text for text in notes if text))
        return found if lower_bound is None else replace(found, lower_bound=min(lower_bound, found.loss))

    def shares(self, e: Array, K: int) -> Shares:
        """Spectrum and diagonal of Cov at the costs e_k = 2 gamma m_k, k up to the rank; one array where Q = I does.

        e (r,), or rows (..., r) of several invariances where no search is needed (see `searches`).
        """
        if self.form == "hinge":
            return hinge(e, K, self.variance, self.covariance)
        if self.form == "squared" and self.covariance < self.variance:
            return even_squared(e, K, self.variance, self.covariance)
        return thresholded(e if self.form == "squared" else np.zeros_like(e), K, self.variance)

    def terms_of(self, shares: Shares, e: Array) -> dict[str, Array]:
        """The terms (...) of the loss at spectra c and diagonals d (..., K) of Cov, costs e (..., r): no Z is built.

        |Cov|^2 = sum c^2, so that the off-diagonal is sum c^2 - sum d^2.
        """
        c, d = shares.c, shares.d
        return {
            "variance": self.variance * self._spread(d).sum(axis=-1),
            "covariance": self.covariance * ((c**2).sum(axis=-1) - (d**2).sum(axis=-1)),
            "invariance": (e * c[..., : e.shape[-1]]).sum(axis=-1),
        }

    def proven(self, left: float, K: int) -> bool:
        """Whether a loss `left` above its lower bound counts as the minimum."""
        # the loss is summed in another order than where the search was stopped
        return left <= PROVEN * self.variance * K * (1 + 1e-6)

    def _spread(self, d: Array) -> Array:
        """What the variances d cost, each, in units of alpha."""
        if self.form == "constrained":
            return np.zeros_like(d)
        return (1 - d) ** 2 if self.form == "squared" else np.maximum(0.0, 1 - np.sqrt(d))

    def _account(self, cov: Array, energy: Array) -> tuple[dict[str, float], bool]:
        """The terms of the loss, from Cov and the invariance (K,) of each column, and whether some column may grow."""
        d = np.diag(cov)
        off = ((cov - np.diag(d)) ** 2).sum(axis=0)
        terms = {
            "variance": float(self.variance * self._spread(d).sum()),
            "covariance": float(self.covariance * off.sum()),
            "invariance": float(energy.sum()),
        }
        unpaid = (energy + self.covariance * off <= NOTHING * self.variance) & (d >= 1 - NOTHING)
        return terms, bool(self.form == "hinge" and unpaid.any())

    def _freedom(self, spectrum: Spectrum, gamma: float, d: Array, scale_is_free: bool) -> tuple[UniqueUpTo, str]:
        """What two optima can differ by, and what there is to say of it."""
        alpha, beta = self.variance, self.covariance
        if gamma == 0 and d.size < spectrum.dimension:
            return "none", "invariance 0: any K directions of the model are optimal, the relation is not seen"
        if beta == 0 and d.any() and (gamma == 0 or spectrum.multiplicity(1) > 1):
            return "none", "covariance 0: the directions of least energy share the variance in any proportion"
        if scale_is_free:
            return "orthogonal+scale", "a column without energy and covariance may be any longer: the hinge ends at 1"
        if self.form == "constrained" or not d.any() or (self.form == "squared" and beta == alpha):
            return "rotation", ""
        if self.form == "squared" and beta > alpha:
            # a larger beta only forbids rotations: the loss is no smaller anywhere, and the same at diagonal Cov
            return "signed_permutation", ""
        held = f"{d.min():.4g}" if np.ptp(d) <= NOTHING else f"{d.min():.4g} to {d.max():.4g}"
        return "rotation", f"column variances {held}: of all rotations, those that keep them leave the loss alone"

    def training_terms(self, m: Moments) -> dict[str, Any]:
        """The terms once columns longer than 1 are shrunk to 1, which lowers the hinge form: a step in place of a kink.

        Past variance 1 the shrunk loss is smooth and blind to length, so that descent ends there, not on an edge.
        """
        if self.form != "hinge":
            return self.terms(m)
        return self.terms(m.map(torch.diag(torch.rsqrt(self._covariance(m).diagonal().clamp_min(1.0)))))

    def column_scale(self, m: Moments) -> Array:
        """Hinge: columns past variance 1 shrunk to 1. Constrained: whitening (K, K), since that loss sees none."""
        if self.form == "squared":
            return np.ones(m.n_features)
        cov = self._covariance(m)
        if self.form == "hinge":
            return np.asarray(1 / np.sqrt(np.maximum(np.diag(cov), 1.0)))
        return np.asarray(np.linalg.inv(np.linalg.cholesky(cov)).T)

    def lower_bound(self, graph: Graph, n_components: int | None = None) -> float:
        """0: a sum of squares, hinges and non-negative weights."""
        return 0.0

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """alpha K: zero variance in every column. Constrained: 2 gamma K mean(m), what random whitened columns cost.

        Over all embeddings the mean of m is a trace: of L (N - ddof) / N over N - 1, or of I - D^-1/2 A D^-1/2 over the
        number of samples with a pair, less one.
        """
        if self.form != "constrained":
            return self.variance * n_components
        deg, own = graph.degree, graph.diagonal
        if self.weighting == "none":
            trace, dimension = (deg - own).sum() * (deg.size - self.ddof) / deg.size, deg.size - 1
        else:
            paired = deg > 0
            trace, dimension = (1 - own[paired] / deg[paired]).sum(), int(paired.sum()) - 1
        return float(2 * self._gamma * n_components * trace / max(dimension, 1))


def _whitened_trace(cov: Any, energy: Any) -> Any:
    """tr(cov^-1 energy) of (K, K) arrays or tensors; infinite where cov is singular to rounding, or not finite."""
    given = isinstance(cov, torch.Tensor)
    C, E = (cov, energy) if given else (torch.tensor(cov), torch.tensor(energy))
    scale = torch.rsqrt(C.diagonal().clamp_min(torch.finfo(C.dtype).tiny))
    R = scale[:, None] * C * scale[None, :]
    correlation = R.detach().cpu().double().numpy()
    # a pivot of Cholesky's would not do: rounding grows with the columns that are nearly dependent before it
    smallest = linalg.eigh(correlation)[0][0] if np.all(np.isfinite(correlation)) else 0.0
    if smallest <= 256 * len(R) * torch.finfo(R.dtype).eps:
        found = torch.full_like(scale.sum(), math.inf)
    else:
        E = scale[:, None] * E * scale[None, :]
        found = torch.cholesky_solve(E, torch.linalg.cholesky(R)).diagonal().sum()
    return found if given else found.numpy()[()]
