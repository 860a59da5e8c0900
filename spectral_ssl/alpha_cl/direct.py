"""Rules that say alpha themselves, by a regulariser on the simplex or outright (alpha-CL; Tian 2022, 2201.12680).

A separable regulariser r chooses, for each anchor and among all alpha_i >= 0 of sum 1,

    alpha_i = argmin_a  sum_j a_j d_ij^2 - sum_j r(a_j)

=======================  ==========================  ========================================================  ========
rule                     r(a)                        alpha_ij                                                  row sum
=======================  ==========================  ========================================================  ========
EntropyRule (r_H)        - tau a log a               softmax_j(-d_ij^2 / tau)                                  1
PowerRule (r_gamma)      tau a^{1-gamma}/(1-gamma)   (tau / (d_ij^2 + mu))^{1/gamma}, mu by the row sum        1
SparseRule (r_s)         - tau a^2 / 2               [mu - d_ij^2]_+ / tau: projection of -d^2/tau             1
UniformRule              none                        1 / m                                                     1
DirectRule(p)            none                        exp(-d_ij^p / tau), over its row sum if normalised        1, free
CustomRule(function)     none                        what the function says                                    free
=======================  ==========================  ========================================================  ========

The rules of a regulariser are losses, too (derived here). Where sum a = 1 the positive distance is a constant, so that
alpha_i is the argmax of a'u - F*(a) with F* = -sum_j r(a_j) on the simplex, and alpha = grad F of the convex

    F(u) = max { a'u + sum_j r(a_j) : a >= 0, sum_j a_j = 1 }.

Ascending E with such a rule is descending sum_i F(u_i): r_H is InfoNCE at eps = 0. DirectRule has no loss unless p = 2:
the Jacobian of its alpha in d^2 is not symmetric.

Published code of r_gamma fixes the multiplier mu at tau and divides by the row sum, and takes the threshold of r_s one
entry too late; neither is the minimiser. Here both multipliers are solved for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from spectral_ssl import spec
from spectral_ssl.alpha_cl.family import PAIR_LOSSES, Linear, Nce, check_number, entropy, inside, slack
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.errors import DataError, NumericalError

__all__ = [
    "RULES",
    "CustomRule",
    "DirectRule",
    "EntropyRule",
    "PowerRule",
    "SparseRule",
    "UniformRule",
    "parse_rules",
    "rule_name",
]


def on_simplex(alpha: torch.Tensor) -> torch.Tensor:
    """Which rows are >= 0 and sum to 1, up to rounding, (n,) bool."""
    return (alpha >= -slack(alpha)).all(dim=1) & ((alpha.sum(dim=1) - 1).abs() <= slack(alpha))


@dataclass(frozen=True)
class EntropyRule(PairLoss):
    """r_H: alpha = softmax(-d^2/tau), F(u) = tau log sum_j e^{u_j/tau}, F*(a) = tau sum a log a on the simplex."""

    temperature: float = 0.5

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=0.0, strict=True)

    convex = True
    row_sum = "1"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return Nce(self.temperature, 0.0).rows(u)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return torch.softmax(u / self.temperature, dim=1)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        return inside(-self.temperature * entropy(alpha), on_simplex(alpha))


@dataclass(frozen=True)
class PowerRule(PairLoss):
    """r_gamma: alpha = (tau / (d^2 + mu))^{1/gamma}, F*(a) = tau sum_j a_j^{1-gamma} / (gamma - 1) on the simplex.

    gamma > 1: the tails are heavier than the softmax's, and no negative ever has weight zero.
    """

    temperature: float = 0.5
    gamma: float = 2.0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=0.0, strict=True)
        check_number("gamma", self.gamma, low=1.0, strict=True)

    convex = True
    row_sum = "1"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():  # F(u) = a'u - F*(a) at its maximiser, whose own derivative does not count
            alpha = self.slope(u)
            conjugate = self._power(alpha)
        return (alpha * u).sum(dim=1) - conjugate

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        """alpha_j = e^{-l_j / gamma}, l_j = log(x_j + e^t), with x_j = (max u - u_j)/tau and e^t = (mu + d_min^2)/tau.

        The row sum falls in t, from at least 1 at t = 0 (the nearest negative alone has 1) to at most 1 at t = gamma
        log m (all of them at x = 0). Newton on its logarithm, kept inside the bracket by bisection; l = t + log1p(x
        e^-t) cannot overflow. One more step outside `no_grad` gives t the derivative of the implicit function.
        """
        x = (u.amax(dim=1, keepdim=True) - u) / self.temperature  # (n, m)
        x = x.clamp_max(torch.finfo(x.dtype).max)
        t = self._multiplier(x.detach())
        g, slope = self._log_sum(x, t)
        t = t - g / slope.detach()
        return torch.softmax(-torch.log1p(x * torch.exp(-t)[:, None]) / self.gamma, dim=1)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        return inside(self._power(alpha), on_simplex(alpha))

    def _power(self, alpha: torch.Tensor) -> torch.Tensor:
        power = alpha.clamp_min(0.0).pow(1 - self.gamma).sum(dim=1)  # inf where an entry is 0
        return self.temperature * power / (self.gamma - 1)

    def _log_sum(self, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """g(t) = log of the row sum, and g'(t) = -(mean of e^t / (x + e^t) under alpha) / gamma; (n,) both."""
        y = x * torch.exp(-t)[:, None]
        alpha = torch.exp(-(t[:, None] + torch.log1p(y)) / self.gamma)  # at most 1, and for the nearest at least 1/m
        total = alpha.sum(dim=1)
        return total.log(), -(alpha / (1 + y)).sum(dim=1) / (self.gamma * total)

    @torch.no_grad()
    def _multiplier(self, x: torch.Tensor) -> torch.Tensor:
        """The root t of g, (n,), to rounding; x (n, m) detached."""
        low = torch.zeros_like(x[:, 0])
        high = torch.full_like(low, self.gamma * math.log(x.shape[1]))
        t, small = (low + high) / 2, 16 * torch.finfo(x.dtype).eps
        for _ in range(ROOT_STEPS):
            g, slope = self._log_sum(x, t)
            low, high = torch.where(g >= 0, t, low), torch.where(g <= 0, t, high)
            newton = t - g / slope
            done = (newton - t).abs() <= small * t.abs().clamp_min(1.0)
            step = torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
            t = torch.where(done, newton, step)
            if bool(done.all()):
                return t
        raise NumericalError(
            f"the multiplier of r_gamma was not found in {ROOT_STEPS} steps; gamma={self.gamma:g} is too large for "
            f"{x.dtype}"
        )


ROOT_STEPS = 200  # bisection alone ends in 60 in float64


@dataclass(frozen=True)
class SparseRule(PairLoss):
    """r_s: alpha is the projection of -d^2/tau onto the simplex, F*(a) = tau |a|^2 / 2 there; few negatives count."""

    temperature: float = 0.5

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=0.0, strict=True)

    convex = True
    row_sum = "1"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            alpha = self.slope(u)
        return (alpha * u).sum(dim=1) - self.temperature / 2 * alpha.square().sum(dim=1)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        """[x - theta]_+ with theta = (sum of the k largest - 1) / k, k the last with k x_(k) > that sum - 1.

        x has maximum 0, so theta >= -1 and entries below -1 do not count: cut there, cumulated sums keep their digits.
        """
        x = ((u - u.amax(dim=1, keepdim=True)) / self.temperature).clamp_min(-1.0)
        largest = x.sort(dim=1, descending=True).values
        total = largest.cumsum(dim=1) - 1
        k = torch.arange(1, u.shape[1] + 1, dtype=u.dtype, device=u.device)
        last = (k * largest > total).sum(dim=1, keepdim=True)
        theta = total.gather(1, last - 1) / last
        return torch.relu(x - theta)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        return inside(self.temperature / 2 * alpha.square().sum(dim=1), on_simplex(alpha))


@dataclass(frozen=True)
class UniformRule(PairLoss):
    """alpha = 1/m whatever the distances: F(u) = mean of u, the quadratic loss; F* = 0 at this one point."""

    convex = True
    row_sum = "1"

    @property
    def fixed(self) -> bool:
        return True

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        return u.mean(dim=1)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return torch.full_like(u, 1 / u.shape[1])

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        return Linear().conjugate(alpha * alpha.shape[1])


@dataclass(frozen=True)
class DirectRule(AlphaRule):
    """alpha = exp(-d^p/tau) with d^p = (d^2)^{p/2}; normalize: divided by its sum over the negatives of the anchor.

    p = 4 is the setting of the published runs; p = 2, normalised, is r_H.
    """

    p: float = 4.0
    temperature: float = 0.5
    normalize: bool = True

    def __post_init__(self) -> None:
        check_number("p", self.p, low=0.0, strict=True)
        check_number("temperature", self.temperature, low=0.0, strict=True)

    @property
    def row_sum(self) -> str:
        return "1" if self.normalize else "free"

    def weigh(self, negative: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        x = negative.pow(self.p / 2) / self.temperature
        if not self.normalize:
            return torch.exp(-x)
        if not bool(torch.isfinite(x.detach()).any(dim=1).all()):
            raise NumericalError(f"distances to the power {self.p:g} overflow; divide the embedding by its size")
        return torch.softmax(-x, dim=1)


@dataclass(frozen=True)
class CustomRule(AlphaRule):
    """alpha = function(d_ij^2 (n, m), d_i^2 (n,)), from tensors to a tensor or an array (n, m) of numbers >= 0.

    sums_to_one: the function promises rows of sum 1, and is held to it.
    """

    function: Callable[[torch.Tensor, torch.Tensor], Any]
    sums_to_one: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise DataError(
                f"a CustomRule needs a function (d_ij^2 (n, m), d_i^2 (n,)) -> alpha (n, m), got {self.function!r}"
            )

    @property
    def row_sum(self) -> str:
        return "1" if self.sums_to_one else "free"

    def weigh(self, negative: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        name = getattr(self.function, "__name__", "the function")
        try:
            alpha = torch.as_tensor(self.function(negative, positive)).to(negative)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name} of a CustomRule must return numbers (n, m): {error}") from error
        if alpha.shape != negative.shape:
            raise DataError(
                f"{name} of a CustomRule returned shape {tuple(alpha.shape)}, expected {tuple(negative.shape)}: one "
                "weight for each anchor and negative"
            )
        checked = alpha.detach()
        if not bool(torch.isfinite(checked).all()):
            raise DataError(f"{name} of a CustomRule returned NaN or infinite weights; keep them finite")
        if bool((checked < 0).any()):
            raise DataError(
                f"{name} of a CustomRule returned weights down to {float(checked.min()):.3g}; pair importance is >= 0"
            )
        if self.sums_to_one:
            sums = checked.sum(dim=1)
            off = float((sums - 1).abs().max())
            if off > SUM_TOL:
                raise DataError(
                    f"{name} of a CustomRule promises rows of sum 1, and one is off by {off:.2g}; divide by the row "
                    "sum, or leave sums_to_one out"
                )
        return alpha


SUM_TOL = 1e-6  # of a promised row sum: the user's function may compute in single precision

RULES: dict[str, Callable[..., AlphaRule]] = {
    "r_h": EntropyRule,
    "r_gamma": PowerRule,
    "r_s": SparseRule,
    "direct": DirectRule,
    "uniform": UniformRule,
    **PAIR_LOSSES,
}


def parse_rules(text: str) -> list[AlphaRule]:
    """Rules by call strings over `RULES`: "infonce(temperature=0.3, eps=0), direct(p=4), uniform"."""
    return [spec.bind(RULES, name, options, kind="rule")() for name, options in spec.parse_calls(text)]


def rule_name(rule: AlphaRule) -> str:
    """The name of a rule in `RULES`, or that of its class."""
    return next((name for name, kind in RULES.items() if kind is type(rule)), type(rule).__name__)
