"""Optimizers and schedules by name: `OPTIMIZERS` and `SCHEDULES` at the foot.

An optimizer is a function of parameters and a learning rate; those of `SEARCHES` work on the whole relation and stop at
the minimum, the others take steps, on batches or on the whole relation. A schedule is a factor of the learning rate as
a function of steps done and steps in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from spectral_ssl.errors import DataError

__all__ = ["LARS", "OPTIMIZERS", "SCHEDULES", "SEARCHES"]

SEARCHES = ("lbfgs", "gd")  # full batch, float64, until the gradient vanishes
CHUNK = 10  # L-BFGS iterations between looks at the gradient
HISTORY = 100  # curvature pairs: Barlow Twins' flat minima converge at their pace, 30 left angles of 3e-5
HISTORY_NUMBERS = 20_000_000  # and at most this many numbers in them: 160 MB, twice
LARS_MOMENTUM, LARS_TRUST = 0.9, 0.001  # as in the paper
Parameters = list[torch.Tensor]

# --- optimizers -----------------------------------------------------------------------------------------------------


def lbfgs(parameters: Parameters, learning_rate: float = 1.0) -> torch.optim.Optimizer:
    """L-BFGS with a strong Wolfe line search, which sets its own step."""
    history = max(10, min(HISTORY, HISTORY_NUMBERS // max(1, sum(p.numel() for p in parameters))))
    return torch.optim.LBFGS(
        parameters,
        lr=learning_rate,
        max_iter=CHUNK,
        history_size=history,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )


def gd(parameters: Parameters, learning_rate: float) -> torch.optim.Optimizer:
    """Gradient descent on the whole relation, whose continuous limit is gradient flow."""
    return torch.optim.SGD(parameters, lr=learning_rate)


def adam(
    parameters: Parameters,
    learning_rate: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015); decoupled: AdamW's weight decay (Loshchilov & Hutter 2019)."""
    _within(beta1=(beta1, 0, 1), beta2=(beta2, 0, 1))
    _not_negative(eps=eps, weight_decay=weight_decay)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    return kind(parameters, lr=learning_rate, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


def sgd(
    parameters: Parameters,
    learning_rate: float,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Gradient descent with momentum; without it and on the whole relation, the steps of gd."""
    _within(momentum=(momentum, 0, 1))
    _not_negative(weight_decay=weight_decay)
    if nesterov and not momentum:
        raise DataError("nesterov=True needs momentum; write sgd(momentum=0.9, nesterov=True)")
    return torch.optim.SGD(
        parameters, lr=learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )


def lars(
    parameters: Parameters,
    learning_rate: float,
    *,
    momentum: float = LARS_MOMENTUM,
    trust: float = LARS_TRUST,
    weight_decay: float = 0.0,
    adapt_bias: bool = True,
) -> torch.optim.Optimizer:
    """LARS, see `LARS`."""
    _within(momentum=(momentum, 0, 1))
    _not_negative(weight_decay=weight_decay)
    if not (math.isfinite(trust) and trust > 0):
        raise DataError(f"trust must be a positive number, got {trust}")
    return LARS(parameters, learning_rate, momentum, trust, weight_decay, adapt_bias)


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling: for each tensor w with gradient g, at learning rate lr,

        rate = trust |w| / (|g| + weight_decay |w|)                   (trust where |w| or |g| is zero)
        v <- momentum v + lr rate (g + weight_decay w),   w <- w - v

    Source: You, Gitman & Ginsburg 2017 (arXiv 1708.03888), Algorithm 1. adapt_bias=False: tensors of one axis (biases,
    scales of norms) have rate 1 and no weight decay, as in the published code of SimCLR and Barlow Twins, whose
    learning rates suit them.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        momentum: float = 0.9,
        trust: float = 0.001,
        weight_decay: float = 0.0,
        adapt_bias: bool = True,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": weight_decay}
        super().__init__(parameters, {**options, "adapt_bias": adapt_bias})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                g, rate, decay = w.grad, 1.0, group["weight_decay"]
                if w.ndim > 1 or group["adapt_bias"]:
                    size, slope = float(torch.linalg.vector_norm(w)), float(torch.linalg.vector_norm(g))
                    rate = group["trust"] * (size / (slope + decay * size) if size > 0 and slope > 0 else 1.0)
                    g = g + decay * w
                state = self.state[w]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(w)
                v = state["momentum_buffer"].mul_(group["momentum"]).add_(g, alpha=group["lr"] * rate)
                w.sub_(v)
        return loss


# --- schedules ------------------------------------------------------------------------------------------------------


def constant(step: int, steps: int) -> float:
    """1."""
    return 1.0


def cosine(step: int, steps: int, *, warmup: float = 0.0, floor: float = 0.0) -> float:
    """From 1 to `floor` along half a cosine (Loshchilov & Hutter 2017), after a linear rise over a share `warmup`."""
    _within(warmup=(warmup, 0, 1), floor=(floor, 0, 1))
    rise = math.floor(warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return floor + (1 - floor) * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def step(step: int, steps: int, *, every: int = 1000, factor: float = 0.1) -> float:
    """Times `factor` after every `every` steps."""
    if every < 1:
        raise DataError(f"every must be at least 1 step, got {every}")
    _within(factor=(factor, 0, 1 + 1e-15))
    return float(factor ** (step // every))


def _within(**ranges: tuple[float, float, float]) -> None:
    for name, (value, low, high) in ranges.items():
        if not (math.isfinite(value) and low <= value < high):
            raise DataError(f"{name} must be a number from {low} to below {high:g}, got {value}")


def _not_negative(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number >= 0):
            raise DataError(f"{name} must be a number >= 0, got {number}")


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "lbfgs": lbfgs,
    "gd": gd,
    "adam": adam,
    "sgd": sgd,
    "lars": lars,
}
SCHEDULES: dict[str, Callable[..., float]] = {"constant": constant, "cosine": cosine, "step": step}
