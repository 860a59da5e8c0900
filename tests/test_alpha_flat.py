"""What a certified optimum says of itself: whether it is the only one, what it leaves out, which step its proof is of.

Witnesses: losses pair by pair in numpy, and optima shown to be many by naming two.
"""

import numpy as np
import pytest

from spectral_ssl import alpha_cl as al

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
