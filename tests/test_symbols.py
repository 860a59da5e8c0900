"""The toy of one-hot symbols: its data, its steps by hand, and what is measured of W_1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spectral_ssl.alpha_cl import Nce, UniformRule
from spectral_ssl.errors import DataError
from spectral_ssl.training.symbols import Symbols, concentration, coverage, train_symbols

SAME = 1e-9  # float64 through a few steps


def test_concentration_is_over_units_and_coverage_over_symbols() -> None:
    W1 = np.array([[3.0, 4.0, 0.0], [0.0, -2.0, 0.0], [0.0, 0.0, 0.0]])
    assert concentration(W1) == pytest.approx((0.8 + 1) / 2)  # a unit of zeros stands for nothing
    assert coverage(W1) == pytest.approx((0.6 + 1 + 0) / 3)
    assert concentration(np.eye(4)) == coverage(5 * np.eye(4)) == 1
    assert concentration(np.zeros((2, 2))) == 0


def test_views_are_of_one_symbol_with_magnitudes_about_its_own() -> None:
    symbols = Symbols(batch_size=4000)
    x = symbols.batch(0, 3).numpy().reshape(2, 4000, 10)
    assert ((x != 0).sum(axis=2) == 1).all()
    assert (x[0].astype(bool) == x[1].astype(bool)).all(), "both views are of one symbol"
    share = np.array([(x[0][:, p] != 0).mean() for p in range(10)])
    assert np.abs(share - 0.1).max() < 0.03
    for p, magnitude in ((0, 10.0), (4, 6.0), (9, 1.0)):
        mine = x[:, x[0][:, p] != 0, p]
        assert mine.mean() == pytest.approx(magnitude, abs=0.1)
        assert mine.std() == pytest.approx(0.5, abs=0.05)
        assert np.corrcoef(mine)[0, 1] == pytest.approx(0, abs=0.2), "each view draws its own noise"


@pytest.mark.parametrize(("relu", "batch_norm"), [(True, True), (False, False), (True, False)])
def test_steps_are_those_of_sgd_on_the_usual_cross_entropy(relu: bool, batch_norm: bool) -> None:
    """By hand: cross entropy on cos / tau, momentum, weight decay, and W_1 clamped after every step."""
    symbols = Symbols(hidden=5, outputs=4, batch_size=6, relu=relu, batch_norm=batch_norm, n_seeds=1)
    tau, steps = 0.3, 3
    found = train_symbols(symbols, Nce(tau), steps=steps, scale=1 / tau, seed=2)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        weights = [torch.nn.Linear(10, 5, bias=False).weight, torch.nn.Linear(5, 4, bias=False).weight]
    weights = [w.detach().double() for w in weights]
    weights[0] = weights[0].clamp(min=0)
    shape = [torch.ones(5).double(), torch.zeros(5).double()] if batch_norm else []
    moved = [torch.zeros_like(p) for p in [*weights, *shape]]
    x = symbols.batch(2, 0)
    for _ in range(steps):
        parameters = [p.clone().requires_grad_(True) for p in [*weights, *shape]]
        h = x @ parameters[0].T
        h = h * (h > 0) if relu else h  # no slope at 0, where clamped weights are
        if batch_norm:
            h = (h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt() * parameters[2] + parameters[3]
        Z = h @ parameters[1].T
        Z = Z / Z.norm(dim=1, keepdim=True)
        logits = (Z @ Z.T / tau).masked_fill(torch.eye(12, dtype=torch.bool), -torch.inf)
        loss = torch.nn.functional.cross_entropy(logits, (torch.arange(12) + 6) % 12)
        slopes = torch.autograd.grad(loss, parameters)
        moved = [0.9 * m + g + 5e-3 * p.detach() for m, g, p in zip(moved, slopes, parameters, strict=True)]
        new = [p.detach() - 0.01 * m for p, m in zip(parameters, moved, strict=True)]
        weights, shape = [new[0].clamp(min=0), new[1]], new[2:]
    np.testing.assert_allclose(found.W1, weights[0].numpy(), atol=SAME)
    assert found.course[-1]["step"] == steps


def test_a_run_is_of_its_seed_and_clamped_or_not() -> None:
    small = {"hidden": 4, "outputs": 3, "batch_size": 8}
    first = train_symbols(Symbols(**small), UniformRule(), steps=5, looks=2, seed=1)  # type: ignore[arg-type]
    again = train_symbols(Symbols(**small), UniformRule(), steps=5, looks=2, seed=1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(first.W1, again.W1)
    assert [look["step"] for look in first.course] == [0, 2, 5]
    assert first.W1.min() >= 0
    free = train_symbols(Symbols(**small, clamp=False), UniformRule(), steps=5, seed=1)  # type: ignore[arg-type]
    assert free.W1.min() < 0
    for wrong in ({"n_symbols": 1}, {"hidden": 0}, {"noise": -1.0}):
        with pytest.raises(DataError):
            Symbols(**wrong)  # type: ignore[arg-type]
