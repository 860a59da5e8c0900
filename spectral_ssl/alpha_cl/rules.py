"""What a rule for the pair importance alpha is, and what a loss of the (phi, psi) family is.

A rule says how much each negative counts, alpha_ij >= 0, from the distances at hand; the encoder then ascends

    E_alpha = sum_ij alpha_ij (d_ij^2 - d_i^2)

with alpha held constant. A loss L = sum_i F(u_i), F increasing in each u_ij = d_i^2 - d_ij^2, is the rule

    alpha_ij = dF/du_ij,        since then dL/dtheta = -dE_alpha/dtheta for any encoder (chain rule).

Letting the gradient flow through alpha is another direction: rules return alpha detached.
"""

from __future__ import annotations

import abc
from typing import Any

import torch

from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.errors import NotClosedForm

__all__ = ["AlphaRule", "PairLoss"]


class AlphaRule(abc.ABC):
    """How much each negative counts, from the distances: frozen dataclasses of hyper-parameters implement it."""

    @abc.abstractmethod
    def weigh(self, negative: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        """alpha (n, m) >= 0 from d_ij^2 (n, m) and d_i^2 (n,), the contrast's distances."""

    @property
    @abc.abstractmethod
    def row_sum(self) -> str:
        """The sum of alpha over the negatives of an anchor, in words: "1", "< 1", "free"."""

    @property
    def fixed(self) -> bool:
        """Whether alpha is the same whatever the distances: a live optimum is then the fixed one."""
        return False

    @property
    def has_loss(self) -> bool:
        """Whether a scalar loss stands behind the rule."""
        return False

    def alpha(self, Z: Any, contrast: Contrast) -> torch.Tensor:
        """alpha (n, m) at Z (2N, K), detached."""
        with torch.no_grad():
            negative, positive = contrast.distances(Z)
            return self.weigh(negative, positive)


class PairLoss(AlphaRule):
    """A loss sum_i F(u_i), F: R^m -> R increasing. In the family F(u) = phi(sum_j psi(u_j))."""

    @abc.abstractmethod
    def rows(self, u: torch.Tensor) -> torch.Tensor:
        """F(u_i) for each anchor, (n,), from u (n, m)."""

    @abc.abstractmethod
    def slope(self, u: torch.Tensor) -> torch.Tensor:
        """alpha = dF/du, (n, m); at a kink, a subgradient."""

    @property
    @abc.abstractmethod
    def convex(self) -> bool:
        """Whether F is convex: then L = max_alpha sum_ij alpha_ij u_ij - sum_i F*(alpha_i), with alpha its argmax."""

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        """F*(alpha_i) = max_u alpha_i'u - F(u), (n,), from alpha (n, m); inf outside its domain.

        Raises NotClosedForm where F is not convex, or its conjugate is not known.
        """
        raise NotClosedForm(
            f"{type(self).__name__} has no conjugate: its F is "
            + ("convex, but no closed form is known" if self.convex else "not convex, so that alpha is no min player")
        )

    @property
    def has_loss(self) -> bool:
        return True

    def weigh(self, negative: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        return self.slope(positive[:, None] - negative)

    def loss(self, Z: Any, contrast: Contrast) -> torch.Tensor:
        """L = sum_i F(u_i), over the anchors of the contrast and not divided by their number; a scalar tensor."""
        return self.rows(contrast.u(Z)).sum()
