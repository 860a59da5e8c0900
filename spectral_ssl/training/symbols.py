"""A toy of alpha-CL's public code: which input symbols the hidden units of a two-layer net come to stand for.

An input is one of d symbols, one-hot, times a magnitude; magnitudes fall evenly from 10 to 1 over the symbols, and
each of two views adds noise N(0, 0.5^2) to it. The net is linear without bias, ReLU (or not), BatchNorm (or not),
linear, and its output is brought to the sphere; W_1 is clamped to be non-negative after every step. Batches are of a
few hundred seeds used over and over. Of W_1 (H, d), rows of norm 1:

    concentration   the mean over hidden units of their largest weight: 1 where each stands for one symbol
    coverage        the mean over symbols of the largest weight any unit gives it: 1 where each symbol has its unit
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.rules import AlphaRule
from spectral_ssl.comparison import effective_rank
from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.embedding import Array
from spectral_ssl.errors import NumericalError
from spectral_ssl.training.networks import Randomness
from spectral_ssl.training.pretraining import pair_objective

__all__ = ["SymbolRun", "Symbols", "concentration", "coverage", "train_symbols"]

RATE, MOMENTUM, DECAY = 0.01, 0.9, 5e-3  # of SGD


@dataclass(frozen=True)
class Symbols:
    """The data and the net. high, low: magnitudes of the first and the last symbol; noise: added by each view."""

    n_symbols: int = 10
    high: float = 10.0
    low: float = 1.0
    noise: float = 0.5
    hidden: int = 10
    outputs: int = 20
    relu: bool = True
    batch_norm: bool = True
    clamp: bool = True
    batch_size: int = 128
    n_seeds: int = 500

    def __post_init__(self) -> None:
        for name in ("n_symbols", "batch_size"):
            check_int(getattr(self, name), name, low=2)
        for name in ("hidden", "outputs", "n_seeds"):
            check_int(getattr(self, name), name, low=1)
        for name in ("high", "low", "noise"):
            check_real(getattr(self, name), name, low=0)

    def batch(self, seed: int, number: int) -> torch.Tensor:
        """Two views (2B, d) of the batch of a number."""
        rng = np.random.default_rng((seed, number))
        symbol = rng.integers(self.n_symbols, size=self.batch_size)
        magnitude = np.linspace(self.high, self.low, self.n_symbols)[symbol]
        views = np.zeros((2, self.batch_size, self.n_symbols))
        views[:, np.arange(self.batch_size), symbol] = magnitude + self.noise * rng.standard_normal(
            (2, self.batch_size)
        )
        return torch.as_tensor(views.reshape(2 * self.batch_size, -1))

    def network(self) -> torch.nn.Sequential:
        layers: list[torch.nn.Module] = [torch.nn.Linear(self.n_symbols, self.hidden, bias=False)]
        layers += [torch.nn.ReLU()] if self.relu else []
        layers += [torch.nn.BatchNorm1d(self.hidden)] if self.batch_norm else []
        return torch.nn.Sequential(*layers, torch.nn.Linear(self.hidden, self.outputs, bias=False)).double()


@dataclass(frozen=True, eq=False)
class SymbolRun:
    """W1 (H, d) after training; course: dictionaries of step, loss, concentration, coverage and rank of W1."""

    W1: Array
    course: list[dict[str, Any]]


def train_symbols(
    symbols: Symbols, rule: AlphaRule, *, steps: int = 5000, scale: float = 1.0, looks: int = 25, seed: int = 0
) -> SymbolRun:
    """SGD up scale E_alpha, alpha held constant in each step, in float64. looks: how often W_1 is measured.

    scale = 1/tau makes a step of InfoNCE that of the usual cross entropy on cos / tau.
    """
    check_int(steps, "steps", low=1)
    check_int(looks, "looks", low=1)
    with threadpool_limits(1):  # threads that wait for each other cost more than steps as small as these
        return _trained(symbols, rule, steps, scale, looks, seed)


def _trained(symbols: Symbols, rule: AlphaRule, steps: int, scale: float, looks: int, seed: int) -> SymbolRun:
    with Randomness(seed, torch.device("cpu"))():
        net = symbols.network()
    layer, contrast = net[0], Contrast.of(symbols.batch_size)
    assert isinstance(layer, torch.nn.Linear)
    first = layer.weight
    engine = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    marks = set(np.unique(np.linspace(0, steps, min(looks, steps) + 1).astype(int)).tolist())
    order = np.random.default_rng((seed, symbols.n_seeds)).integers(symbols.n_seeds, size=steps)
    course: list[dict[str, Any]] = []
    if symbols.clamp:
        _clamp(first)
    for step in range(steps + 1):
        Z = torch.nn.functional.normalize(net(symbols.batch(seed, int(order[min(step, steps - 1)]))), dim=1)
        if not bool(torch.isfinite(Z).all()):
            raise NumericalError(f"the embedding became NaN or infinite after {step} steps")
        value = scale * pair_objective(Z, rule, contrast)[0]
        if step in marks:
            W1 = first.detach().numpy().copy()
            measured = {"concentration": concentration(W1), "coverage": coverage(W1), "rank": effective_rank(W1)}
            course.append({"step": step, "loss": float(value.detach()), **measured})
        if step == steps:
            break
        engine.zero_grad(set_to_none=True)
        value.backward()
        engine.step()
        if symbols.clamp:
            _clamp(first)
    return SymbolRun(first.detach().numpy().copy(), course)


def concentration(W1: Array) -> float:
    """Mean over the hidden units that are not zero of the largest |entry| of their row of norm 1."""
    rows = _unit(W1)
    return float(rows.max(axis=1)[rows.any(axis=1)].mean()) if rows.any() else 0.0


def coverage(W1: Array) -> float:
    """Mean over input symbols of the largest |entry| that any row of norm 1 has there."""
    return float(_unit(W1).max(axis=0).mean())


def _unit(W1: Array) -> Array:
    sizes = np.linalg.norm(W1, axis=1, keepdims=True)
    found: Array = np.abs(W1) / np.where(sizes > 0, sizes, 1.0)
    return found


def _clamp(weight: torch.Tensor) -> None:
    with torch.no_grad():
        weight.clamp_(min=0.0)
