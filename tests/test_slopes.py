"""Losses of maps and their slopes in numpy, against torch's differentiation of the methods and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

import spectral_ssl as ss
from spectral_ssl.data import Dataset
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.methods import slopes
from spectral_ssl.methods.slopes import slope

SLOPE_TOL = 1e-10  # relative: the same sums in another order
SECOND_ORDER = 0.05  # share of what batches add that is of the order 1 / B^2, B = 100
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
    evaluate = slope(method, graph, np.eye(24), n_compared=batch_size, seed=5)
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
    loss, dY = slope(method, graph, np.eye(24), n_compared=24)(Y)
    assert loss == pytest.approx(float(expected.detach()), rel=SAMPLE_TOL)
    assert np.abs(dY - at.grad.numpy()).max() <= SAMPLE_TOL * np.abs(dY).max()


def test_batches_of_two_at_least() -> None:
    graph = relation()
    loss, dZ = slope(ss.InfoNCE(), graph, np.eye(24), n_compared=2)(np.random.default_rng(0).standard_normal((24, 3)))
    assert np.isfinite(loss)
    assert np.isfinite(dZ).all()
    three = Graph.from_pairs([0, 1], [1, 2], 3)
    loss, dZ = slope(ss.InfoNCE(), three, np.eye(3), n_compared=2)(np.random.default_rng(0).standard_normal((3, 3)))
    assert np.isfinite(loss)
    assert np.isfinite(dZ).all()


BATCHED = [
    ss.VICReg(invariance=0.7),
    ss.VICReg(variance=2.0, covariance=0.5, invariance=0.3, ddof=1),
    ss.BarlowTwins(),
    ss.BarlowTwins(redundancy=0.2),
]


def uncorrelated(graph: Graph, K: int = 3) -> Any:
    """Y (N, K) of uncorrelated columns by degree, as Barlow Twins' formula supposes; chance where there is no pair."""
    A, d = graph.to_csr().toarray(), graph.degree
    on = d > 0
    H = np.eye(on.sum()) - np.outer(np.ones(on.sum()), d[on]) / d.sum()
    M, D = H.T @ A[np.ix_(on, on)] @ H, H.T @ np.diag(d[on]) @ H
    V = scipy.linalg.eigh(M, D + 1e-9 * np.ones_like(D) + 1e-9 * np.eye(len(D)))[1][:, -1 - K : -1]
    Y = np.random.default_rng(4).standard_normal((graph.n_samples, K))
    Y[on] = 10 * V
    return Y


@pytest.mark.parametrize("method", BATCHED, ids=repr)
def test_batches_add_the_variance_of_a_draw(method: Any) -> None:
    """Every draw by itself: pairs at their chance, samples without one alone; loss + variance / B; slope by steps."""
    graph, B, h = relation(), 32, 1e-5
    A, deg, s = graph.to_csr().toarray(), graph.degree, graph.total_weight
    alone = np.flatnonzero(deg == 0)
    vicreg = isinstance(method, ss.VICReg)
    p = alone.size / 24 if vicreg else 0.0
    draws = [(i, j, (1 - p) * A[i, j] / s) for i, j in zip(*A.nonzero(), strict=True)]
    draws += [(k, k, p / alone.size) for k in alone] if vicreg else []

    def by_draws(Y: Any) -> float:
        loss = float(sum(method.loss_terms(torch.tensor(Y), graph).values()))
        if vicreg:
            Y, w = Y - Y.mean(axis=0), [s / (2 * d * (1 - p)) if d else 12.0 for d in deg]
            C = Y.T @ Y / (24 - method.ddof)
            weight = np.where(np.eye(3, dtype=bool), method.variance, method.covariance)
            X = [(w[i] * np.outer(Y[i], Y[i]) + w[j] * np.outer(Y[j], Y[j])) / (24 - method.ddof) for i, j, _ in draws]
            assert np.allclose(sum(chance * x for (_, _, chance), x in zip(draws, X, strict=True)), C)
            noise = sum(chance * (weight * (x - C) ** 2).sum() for (_, _, chance), x in zip(draws, X, strict=True))
            return loss + noise / B
        Y = Y - deg @ Y / s
        U = Y / np.sqrt(deg @ Y**2 / s)
        c, noise = (U * (A @ U)).sum(axis=0) / s, 0.0
        for i, j, chance in draws:
            m = (np.outer(U[i], U[j]) + np.outer(U[j], U[i])) / 2
            d = (U[i] ** 2 + U[j] ** 2) / 2
            off = method.redundancy * ((m**2).sum() - (m.diagonal() ** 2).sum())
            noise += chance * (((m.diagonal() - c * d) ** 2 + 2 * (c - 1) * d * (c * d - m.diagonal())).sum() + off)
        return loss + noise / B

    rng = np.random.default_rng(6)
    Y, E = rng.standard_normal((24, 3)), rng.standard_normal((24, 3))
    evaluate = slope(method, graph, np.eye(24), batch_size=B)
    loss, dY = evaluate(Y)
    assert loss == pytest.approx(by_draws(Y), rel=SAMPLE_TOL)
    assert (dY * E).sum() == pytest.approx((by_draws(Y + h * E) - by_draws(Y - h * E)) / (2 * h), rel=10 * SAMPLE_TOL)


@pytest.mark.parametrize("method", BATCHED, ids=repr)
def test_batches_of_training_cost_what_is_added(method: Any) -> None:
    """The mean of `batch_terms` over batches drawn as training draws them, less the loss itself."""
    graph, B, T = relation(), 100, 4000
    Y = uncorrelated(graph)
    plain = slope(method, graph, np.eye(24))(Y)[0]
    added = slope(method, graph, np.eye(24), batch_size=B)(Y)[0] - plain
    Z, rng, losses = torch.tensor(Y), np.random.default_rng(7), []
    for _ in range(T):
        i, j = method.draw_pairs(graph, B, rng)
        losses.append(float(sum(method.batch_terms(Z[i], Z[j], i, j, graph).values())))
    error = np.std(losses) / np.sqrt(T)
    assert added > 5 * error  # there is something to see
    assert np.mean(losses) - plain == pytest.approx(added, abs=4 * error + SECOND_ORDER * added)


@pytest.mark.parametrize("method", [ss.VICReg(invariance=0.7), ss.BarlowTwins()], ids=repr)
def test_pairs_drawn_tell_what_all_pairs_do(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cliques of 4,900 pairs in all: by samples of them without bias, loss and slope. Witness: every pair."""
    y = np.arange(200) % 4
    graph = ss.relations.labels(Dataset(name="cliques", X=np.zeros((200, 1)), y=y))
    rng = np.random.default_rng(9)
    Y, E = rng.standard_normal((200, 3)) + y[:, None], rng.standard_normal((200, 3))

    def told(seed: int) -> Any:
        loss, dY = slope(method, graph, np.eye(200), batch_size=4, seed=seed)(Y)
        return np.array([loss, (dY * E).sum()])

    drawn = np.array([told(seed) for seed in range(60)])
    monkeypatch.setattr(slopes, "PAIRS_MIN", graph.n_pairs)
    error = drawn.std(axis=0) / np.sqrt(60)
    assert (error > 0).all()
    assert (np.abs(drawn.mean(axis=0) - told(0)) < 4 * error).all()


def test_what_has_no_slope_is_refused() -> None:
    with pytest.raises(DataError, match="cosine"):
        slope(ss.InfoNCE(similarity="dot"), relation(), np.eye(24))
    with pytest.raises(DataError, match="resolved by a spectrum"):
        slope(ss.VICReg(), relation(), np.eye(24))
    for temperature in (0.5, 1e-3):
        with pytest.raises(DataError, match="itself"):
            slope(ss.InfoNCE(temperature=temperature), Graph.from_adjacency(np.eye(4)), np.eye(4))
    with pytest.raises(DataError, match="batch_size"):
        slope(ss.BarlowTwins(), relation(), np.eye(24), batch_size=1)
    with pytest.raises(DataError, match="n_compared"):
        slope(ss.InfoNCE(), relation(), np.eye(24), n_compared=1)
