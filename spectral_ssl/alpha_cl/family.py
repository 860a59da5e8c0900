"""The (phi, psi) family: F(u) = phi(sum_j psi(u_j)), with alpha_ij = phi'(xi_i) psi'(u_ij) and xi_i = sum_j psi(u_ij).

====================  ==============  ================  ================================================  ============
loss                  phi(x)          psi(x)            alpha_ij                                          row sum
====================  ==============  ================  ================================================  ============
InfoNCE(tau, eps)     tau log(eps+x)  e^{x/tau}         e^{u/tau} / (eps + sum_k e^{u_ik/tau})            xi/(eps+xi)
MINE, per anchor      log x           e^x               softmax_j(u_ij) = softmax_j(-d_ij^2)              1
triplet(m)            x               [x + m]_+         1[u + m > 0]                                      violations
soft triplet(tau, m)  tau log(1+x)    e^{x/tau + m}     e^{u/tau+m} / (1 + sum_k e^{u_ik/tau+m})          < 1
N+1 tuplet            log(1+x)        e^x               e^u / (1 + sum_k e^{u_ik})                        < 1
lifted structured(m)  [log x]_+^2     e^{x+m}           2 [m + lse_k u_ik]_+ softmax_j(u_ij)              2 [log xi]_+
modified triplet(c)   x               sigmoid(c x)      c sigmoid(cu) (1 - sigmoid(cu))                   free
linear                x               x                 1                                                 m
====================  ==============  ================  ================================================  ============

Every row but the modified triplet (Coria et al. 2020) is convex in u. The factor tau in front of the logarithm is what
makes the row sum of alpha at most 1. eps = 1 keeps the positive in the denominator: on the unit sphere the loss is tau
times the usual cross entropy on cos/tau. eps = 0 is the decoupled loss, where d_i^2 cancels from alpha. True MINE has
one logarithm over all pairs; the row here is its form per anchor.

Everything that can overflow is computed from logarithms: u/tau - lse, never a ratio of exponentials.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from spectral_ssl.alpha_cl.rules import PairLoss
from spectral_ssl.errors import DataError

__all__ = [
    "PAIR_LOSSES",
    "LiftedStructured",
    "Linear",
    "Mine",
    "ModifiedTriplet",
    "Nce",
    "SoftTriplet",
    "Triplet",
    "Tuplet",
]


def check_number(name: str, value: float, *, low: float, strict: bool) -> None:
    """Raise DataError unless `value` is a finite number of at least `low` (above it where strict)."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < low or (strict and value == low):
        above = f"{'above' if strict else 'of at least'} {low:g}" if math.isfinite(low) else ""
        raise DataError(f"{name} must be a finite number {above}".rstrip() + f", got {value!r}")


def entropy(alpha: torch.Tensor) -> torch.Tensor:
    """- sum_j a_j log a_j, (n,), with 0 log 0 = 0; what rounding left below zero counts as zero."""
    a = alpha.clamp_min(0.0)
    negative: torch.Tensor = torch.special.xlogy(a, a).sum(dim=1)
    return -negative


def inside(value: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
    """value where the point is in the domain of the conjugate, inf elsewhere."""
    return torch.where(domain, value, torch.full_like(value, math.inf))


def slack(alpha: torch.Tensor) -> float:
    """What rounding may leave of "= 1" or ">= 0" in the domain of a conjugate."""
    return max(1e-9, 64 * torch.finfo(alpha.dtype).eps)


@dataclass(frozen=True)
class Nce(PairLoss):
    """InfoNCE: F(u) = tau log(eps + sum_j e^{u_j / tau}).

    temperature: tau. eps: 1 keeps the positive in the denominator (NT-Xent, MoCo), 0 leaves it out (decoupled loss).
    F*(a) = tau sum a log a + tau (1 - s) log((1 - s) / eps) on s = sum a <= 1; for eps = 0, on s = 1.
    """

    temperature: float = 0.5
    eps: float = 1.0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=0.0, strict=True)
        check_number("eps", self.eps, low=0.0, strict=False)

    convex = True

    @property
    def row_sum(self) -> str:
        return "1" if self.eps == 0 else "< 1"

    def _log_total(self, u: torch.Tensor) -> torch.Tensor:
        """log(eps + xi), (n,)."""
        log_xi = torch.logsumexp(u / self.temperature, dim=1)
        return torch.logaddexp(log_xi, torch.full_like(log_xi, math.log(self.eps))) if self.eps > 0 else log_xi

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return self.temperature * self._log_total(u)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return torch.exp(u / self.temperature - self._log_total(u)[:, None])

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        s, tau = alpha.sum(dim=1), self.temperature
        positive = (alpha >= -slack(alpha)).all(dim=1)
        if self.eps == 0:
            return inside(-tau * entropy(alpha), positive & ((s - 1).abs() <= slack(alpha)))
        left = (1 - s).clamp_min(0.0)  # the share of the positive's own slot
        rest = torch.special.xlogy(left, left / self.eps)
        return inside(tau * (rest - entropy(alpha)), positive & (s <= 1 + slack(alpha)))


@dataclass(frozen=True)
class Mine(PairLoss):
    """MINE per anchor: F(u) = log sum_j e^{u_j}; InfoNCE with tau = 1 and eps = 0."""

    convex = True
    row_sum = "1"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(u, dim=1)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return torch.softmax(u, dim=1)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        return Nce(temperature=1.0, eps=0.0).conjugate(alpha)


@dataclass(frozen=True)
class Triplet(PairLoss):
    """F(u) = sum_j [u_j + m]_+. F*(a) = -m s on 0 <= a_j <= 1: alpha is 0 or 1."""

    margin: float = 1.0

    def __post_init__(self) -> None:
        check_number("margin", self.margin, low=-math.inf, strict=False)

    convex = True
    row_sum = "the number of violations"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return torch.relu(u + self.margin).sum(dim=1)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return (u + self.margin > 0).to(u.dtype)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        good = ((alpha >= -slack(alpha)) & (alpha <= 1 + slack(alpha))).all(dim=1)
        return inside(-self.margin * alpha.sum(dim=1), good)


@dataclass(frozen=True)
class SoftTriplet(PairLoss):
    """F(u) = tau log(1 + sum_j e^{u_j / tau + m}). F*(a) is that of InfoNCE(tau, eps=1), less tau m s."""

    temperature: float = 0.5
    margin: float = 1.0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=0.0, strict=True)
        check_number("margin", self.margin, low=-math.inf, strict=False)

    convex = True
    row_sum = "< 1"

    def _shifted(self, u: torch.Tensor) -> torch.Tensor:
        return u + self.temperature * self.margin

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return Nce(self.temperature, 1.0).rows(self._shifted(u))

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return Nce(self.temperature, 1.0).slope(self._shifted(u))

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        return Nce(self.temperature, 1.0).conjugate(alpha) - self.temperature * self.margin * alpha.sum(dim=1)


@dataclass(frozen=True)
class Tuplet(PairLoss):
    """N+1 tuplet: F(u) = log(1 + sum_j e^{u_j}); InfoNCE with tau = eps = 1."""

    convex = True
    row_sum = "< 1"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return Nce(1.0, 1.0).rows(u)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return Nce(1.0, 1.0).slope(u)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        return Nce(1.0, 1.0).conjugate(alpha)


@dataclass(frozen=True)
class LiftedStructured(PairLoss):
    """F(u) = [m + log sum_j e^{u_j}]_+^2. F*(a) = sum a log a - s log s + s^2 / 4 - m s on a >= 0."""

    margin: float = 1.0

    def __post_init__(self) -> None:
        check_number("margin", self.margin, low=-math.inf, strict=False)

    convex = True
    row_sum = "2 [log xi]_+"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.margin + torch.logsumexp(u, dim=1)).square()

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return 2 * torch.relu(self.margin + torch.logsumexp(u, dim=1))[:, None] * torch.softmax(u, dim=1)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        s = alpha.sum(dim=1)
        value = -entropy(alpha) - torch.special.xlogy(s, s) + s.square() / 4 - self.margin * s
        return inside(value, (alpha >= -slack(alpha)).all(dim=1))


@dataclass(frozen=True)
class ModifiedTriplet(PairLoss):
    """F(u) = sum_j sigmoid(c u_j) (Coria et al. 2020). Not convex, and alpha is not monotone in hardness."""

    sharpness: float = 2.0

    def __post_init__(self) -> None:
        check_number("sharpness", self.sharpness, low=0.0, strict=True)

    convex = False
    row_sum = "free"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.sharpness * u).sum(dim=1)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        c = self.sharpness
        return c * torch.sigmoid(c * u) * torch.sigmoid(-c * u)


@dataclass(frozen=True)
class Linear(PairLoss):
    """F(u) = sum_j u_j (triplet contrastive, Ji et al. 2021; the quadratic loss): alpha = 1. F* = 0 at a = 1."""

    convex = True
    row_sum = "m"

    @property
    def fixed(self) -> bool:
        return True

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return u.sum(dim=1)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(u)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        return inside(torch.zeros_like(alpha[:, 0]), ((alpha - 1).abs() <= slack(alpha)).all(dim=1))


PAIR_LOSSES: dict[str, Callable[..., PairLoss]] = {
    "infonce": Nce,
    "mine": Mine,
    "triplet": Triplet,
    "soft_triplet": SoftTriplet,
    "tuplet": Tuplet,
    "lifted_structured": LiftedStructured,
    "modified_triplet": ModifiedTriplet,
    "linear": Linear,
}
