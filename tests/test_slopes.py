"""Losses of maps and their slopes in numpy, against torch's differentiation of the methods and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import spectral_ssl as ss
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.methods.slopes import slope

SLOPE_TOL = 1e-10  # relative: the same sums in another order
SAMPLE_TOL = 1e-5  # of a loss in single precision


def relation(N: int = 24) -> Graph:
    """Irregular, weighted, with self-pairs, and three samples without a pair."""
    rng = np.random.default_rng(0)
    A = rng.random((N, N)) * (rng.random((N, N)) < 0.2)
    A = A + A.T + np.diag(rng.random(N))
    A[-3:] = A[:, -3:] = 0
    return Graph.from_adjacency(A)


METHODS = [
    ss.VICReg(invariance=0.7),
    ss.VICReg(variance=2.0, covariance=0.5, invariance=0.3, ddof=1),
    ss.VICReg(invariance=0.7, form="hinge", variance=10.0),
    ss.VICReg(invariance=0.7, weighting="degree"),
    ss.BarlowTwins(),
    ss.BarlowTwins(redundancy=0.2),
    ss.BarlowTwins(normalized=False),
    ss.InfoNCE(temperature=0.3),
    ss.SpectralContrastive(),
]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_loss_and_slope_are_those_of_the_method(method: Any) -> None:
    graph, rng = relation(), np.random.default_rng(1)
    Q, B = rng.standard_normal((24, 7)) + 0.5, rng.standard_normal((7, 3))
    at = torch.tensor(B, requires_grad=True)
    expected = sum(method.loss_terms(torch.tensor(Q) @ at, graph).values())
    expected.backward()
    loss, dB = slope(method, graph, Q)(B)
    assert loss == pytest.approx(float(expected.detach()), rel=SLOPE_TOL)
    assert np.abs(dB - at.grad.numpy()).max() <= SLOPE_TOL * np.abs(dB).max()


@pytest.mark.parametrize(("batch_size", "sizes"), [(9, [8, 8, 8]), (7, [6, 6, 6, 6]), (5, [5, 5, 5, 5, 4]), (40, [24])])
def test_slope_in_batches_is_that_of_the_loss_in_batches(batch_size: int, sizes: list[int]) -> None:
    """The loss of dealt rows by a loop over rows and batches; its slope by central differences."""
    graph, method, rng = relation(), ss.InfoNCE(temperature=0.4), np.random.default_rng(2)
    Y, E = rng.standard_normal((24, 3)), rng.standard_normal((24, 3))
    evaluate = slope(method, graph, np.eye(24), batch_size=batch_size, seed=5)
    dealt = np.array_split(np.random.default_rng(5).permutation(24), len(sizes))
    assert [J.size for J in dealt] == sizes
    A = graph.to_csr().toarray() * (1 - np.eye(24))

    def by_loop(Y: Any) -> float:
        Z, total = Y / np.linalg.norm(Y, axis=1)[:, None], 0.0
        for J in dealt:
            for i in J:
                others = [np.exp(Z[i] @ Z[j] / 0.4) for j in J if j != i]
                total += A[i].sum() * np.log(23 * np.mean(others)) - A[i] @ (Z @ Z[i]) / 0.4
        return total

    h = 1e-5
    loss, dZ = evaluate(Y)
    assert loss == pytest.approx(by_loop(Y), rel=SAMPLE_TOL)
    assert (dZ * E).sum() == pytest.approx((by_loop(Y + h * E) - by_loop(Y - h * E)) / (2 * h), rel=10 * SAMPLE_TOL)


@pytest.mark.parametrize("temperature", [0.05, 0.04, 0.01, 0.004, 0.003, 1e-3])
def test_cold_temperatures_neither_overflow_nor_vanish(temperature: float) -> None:
    """A row opposite to all others: exp[(cos - 1) / tau] is e^(-2 / tau) for all its pairs. Witness: torch."""
    graph, method, rng = relation(), ss.InfoNCE(temperature=temperature), np.random.default_rng(0)
    Y = np.column_stack([4 + rng.random(24), rng.standard_normal(24)])
    Y[0] *= -1
    at = torch.tensor(Y, requires_grad=True)
    expected = sum(method.loss_terms(at, graph).values())
    expected.backward()
    loss, dY = slope(method, graph, np.eye(24), batch_size=24)(Y)
    assert loss == pytest.approx(float(expected.detach()), rel=SAMPLE_TOL)
    assert np.abs(dY - at.grad.numpy()).max() <= SAMPLE_TOL * np.abs(dY).max()


def test_batches_of_two_at_least() -> None:
    graph = relation()
    loss, dZ = slope(ss.InfoNCE(), graph, np.eye(24), batch_size=2)(np.random.default_rng(0).standard_normal((24, 3)))
    assert np.isfinite(loss)
    assert np.isfinite(dZ).all()
    three = Graph.from_pairs([0, 1], [1, 2], 3)
    loss, dZ = slope(ss.InfoNCE(), three, np.eye(3), batch_size=2)(np.random.default_rng(0).standard_normal((3, 3)))
    assert np.isfinite(loss)
    assert np.isfinite(dZ).all()


def test_what_has_no_slope_is_refused() -> None:
    with pytest.raises(DataError, match="cosine"):
        slope(ss.InfoNCE(similarity="dot"), relation(), np.eye(24))
    with pytest.raises(DataError, match="resolved by a spectrum"):
        slope(ss.VICReg(), relation(), np.eye(24))
    for temperature in (0.5, 1e-3):
        with pytest.raises(DataError, match="itself"):
            slope(ss.InfoNCE(temperature=temperature), Graph.from_adjacency(np.eye(4)), np.eye(4))
    with pytest.raises(DataError, match="batch_size"):
        slope(ss.InfoNCE(), relation(), np.eye(24), batch_size=1)
