"""What a certified optimum says of itself: whether it is the only one, what it leaves out, which step its proof is of.

Witnesses: losses pair by pair in numpy, and optima shown to be many by naming two.
"""

import dataclasses

import numpy as np
import pytest

import spectral_ssl as ss
from spectral_ssl import alpha_cl as al
from spectral_ssl.alpha_cl.uniqueness import only_optimum

Array = np.ndarray


def views(seed: int, N: int, D: int, noise: float) -> Array:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, D))
    return np.vstack([x, x + noise * rng.standard_normal((N, D))])


def u_of(Z: Array) -> Array:
    """d_i^2 - d_ij^2 (2N, 2N - 2), by a loop over pairs."""
    n = len(Z)
    N = n // 2
    return np.array(
        [
            [
                ((Z[i] - Z[(i + N) % n]) ** 2).sum() / 2 - ((Z[i] - Z[j]) ** 2).sum() / 2
                for j in range(n)
                if j % N != i % N
            ]
            for i in range(n)
        ]
    )


def test_a_direction_that_few_numbers_of_the_map_carry_is_not_dropped_from_a_converged_optimum() -> None:
    """A feature 1e4 times as large as another needs weights 1e4 times smaller: below 1e-6 of |W|^2, and worth as much.

    By numpy the loss of the record is what it says, and without that direction it is above the bound by far."""
    X, contrast = views(0, 8, 2, 0.8), al.Contrast.of(8)
    plain = al.live_optimum(X, contrast, al.Nce(0.5, 1.0), radius=100.0)
    found = al.live_optimum(X * [1.0, 1e4], contrast, al.Nce(0.5, 1.0), radius=100.0)
    assert plain.converged
    assert plain.rank == 2
    loss = 0.5 * np.log1p(np.exp(u_of(found.embedding.Z) / 0.5).sum(axis=1)).sum()
    assert found.loss == pytest.approx(loss, rel=1e-9)
    gap, decrease = loss - found.lower_bound, found.collapse_loss - loss
    assert gap <= 1e-4 * decrease or not found.converged  # of features so large most of the gap is rounding
    assert loss <= plain.loss + 1e-6 * decrease
    assert found.rank == 2


def method_optimum(X: Array, rule: al.AlphaRule, radius: float, K: int) -> ss.Optimum:
    N = len(X) // 2
    graph = ss.Graph.from_pairs(np.arange(N), np.arange(N) + N, 2 * N)
    return ss.optimum(ss.AlphaCL(rule=rule, radius=radius), graph, K, X=X)


@pytest.mark.parametrize("D", [1, 2])
def test_an_optimum_with_all_triplets_satisfied_is_one_of_many(D: int) -> None:
    """The loss is 0 at it and, by numpy, at half of it: nothing is claimed to be unique."""
    X = 10 * views(0, 5, D, 0.001)
    best = method_optimum(X, al.Triplet(0.1), 50.0, D)
    for share in (1.0, np.sqrt(0.5)):
        assert np.maximum(u_of(share * best.embedding.Z) + 0.1, 0).sum() <= 1e-9
    assert best.unique_up_to == "none"
    assert "others may be optimal" in best.note


@pytest.mark.parametrize(("tau", "rank"), [(30.0, 1), (0.3, 2)])
def test_an_optimum_is_called_unique_where_its_face_is_a_point_or_the_loss_curves_along_it(
    tau: float, rank: int
) -> None:
    """Curvature by numpy: of F = tau log(sum exp(u / tau)), a variance of u(S) under alpha, over symmetric S."""
    X = views(3, 8, 3, 0.2) * [2.0, 1.0, 1.0]
    best = method_optimum(X, al.Nce(tau, 0.0), 1.0, 3)
    assert best.rank == rank
    assert best.unique_up_to == "rotation"
    if rank == 1:
        return
    U = np.linalg.svd(best.embedding.W)[0][:, :2]
    u = u_of(best.embedding.Z) / tau
    alpha = np.exp(u - u.max(axis=1, keepdims=True))
    alpha /= alpha.sum(axis=1, keepdims=True)
    v = np.array([u_of(X @ U @ s) for s in (np.array([[1], [0]]), np.array([[0], [1]]), np.array([[1], [1]]))])
    v = v - (alpha * v).sum(axis=2, keepdims=True)
    curvature = np.einsum("pij,ij,qij->pq", v, alpha, v) / tau
    assert np.linalg.eigvalsh(curvature)[0] > 1e-4 * np.linalg.eigvalsh(curvature)[-1]


def test_a_direction_that_no_distance_shows_makes_an_optimum_one_of_many() -> None:
    """W with a column along a feature that all rows share; and the same G under a loss that curves nowhere."""
    X, contrast = np.hstack([views(3, 8, 3, 0.2) * [2.0, 1.0, 1.0], np.ones((16, 1))]), al.Contrast.of(8)
    found = al.live_optimum(X, contrast, al.Nce(0.3, 0.0))
    assert found.rank == found.multiplicity == 2
    assert only_optimum(found, X)
    assert not only_optimum(dataclasses.replace(found, rule=al.Triplet(0.1)), X)
    assert not only_optimum(dataclasses.replace(found, rule=al.Linear()), X)
    W = np.hstack([found.embedding.W, [[0.0], [0.0], [0.0], [0.1]]])
    more = dataclasses.replace(found.embedding, W=W, Z=np.hstack([found.embedding.Z, np.zeros((16, 1))]))
    assert not only_optimum(dataclasses.replace(found, embedding=more, rank=3, multiplicity=3), X)


def test_a_fixed_alpha_with_two_equal_eigenvalues_has_a_circle_of_optima() -> None:
    """Data that a quarter turn maps to themselves: the other direction has the same loss."""
    x = np.array([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])
    best = method_optimum(np.vstack([x, 1.1 * x]), al.Linear(), 1.0, 2)
    assert best.unique_up_to == "none"


def wide(tau: float) -> tuple[Array, al.Contrast, al.Nce]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 5))
    return np.vstack([x, x + 0.3 * rng.standard_normal((24, 5))]), al.Contrast.of(24, views="one"), al.Nce(tau, 0.0)


def first_views_loss(Z: Array, tau: float) -> float:
    """InfoNCE, eps = 0, of the first views among each other, by a loop."""
    n, total = len(Z) // 2, 0.0
    for i in range(n):
        own = ((Z[i] - Z[n + i]) ** 2).sum() / 2
        total += tau * np.log(sum(np.exp((own - ((Z[i] - Z[j]) ** 2).sum() / 2) / tau) for j in range(n) if j != i))
    return float(total)


@pytest.mark.parametrize("max_steps", [2, 5])
def test_steps_that_went_up_return_the_lowest_iterate(max_steps: int) -> None:
    X, contrast, rule = wide(2.0)
    run = al.frank_wolfe(X, contrast, rule, step="open_loop", max_steps=max_steps)
    assert run.losses[-1] > run.losses.min() + 0.1
    assert first_views_loss(X @ run.W, 2.0) == pytest.approx(run.losses.min(), rel=1e-9)
    assert run.gap == pytest.approx(first_views_loss(X @ run.W, 2.0) - run.lower_bound)


@pytest.mark.parametrize(("tau", "damping", "tol"), [(0.3, 0.5, 0.4378954), (0.05, 0.2, 0.233243)])
def test_play_that_converged_ends_at_a_point_within_the_bound(tau: float, damping: float, tol: float) -> None:
    """At the end itself, not at an earlier and lower point of play."""
    X, contrast, rule = wide(tau)
    played = al.alternate(X, contrast, rule, tol=tol, steps=60, damping=damping, seed=2)
    assert played.verdict == "converged"
    loss = first_views_loss(X @ played.W, tau)
    assert loss == pytest.approx(played.losses[-1], rel=1e-9)
    assert loss - played.lower_bound <= tol * (24 * tau * np.log(23) - loss)
