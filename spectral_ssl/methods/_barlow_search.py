"""Descent of the loss of Barlow Twins over unit columns B (R, K), in the coordinates of `_barlow_qp`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.optimize
from threadpoolctl import threadpool_limits

from spectral_ssl.embedding import Array
from spectral_ssl.linalg import eigh

__all__ = ["lowest"]

RANDOM = 2  # seeded starts beside those given
PUSH = 1e-3  # off saddles, where structured starts tend to lie
SURVEY, DESCENT = (300, 1e-12), (3000, 1e-16)  # L-BFGS steps, and the decrease that ends them: of all, of the best
EFFORT = 1e10  # multiplications in the descent of the best, a tenth of it in each of the others: some seconds at most
UNUSED = 1e-10  # share of the norm of B that a row must hold
DENSE = 400  # unknowns up to which a descent ends in Newton steps on its whole Hessian
NEWTON = 5


def lowest(rho: Array, K: int, redundancy: float, starts: list[Array]) -> Array:
    """B (R, K) of the lowest loss that L-BFGS finds from `starts` (rows, K), rows <= R, and a few seeded ones."""
    rng = np.random.default_rng(0)
    points = [np.vstack([start, np.zeros((rho.size - len(start), K))]) for start in starts]
    points += [_unit(rng.standard_normal((rho.size, K))) for _ in range(RANDOM)]
    problem, steps = _Problem(rho, redundancy, K), math.ceil(EFFORT / (rho.size * K**2))
    with threadpool_limits(1):  # matrices of order ten: threads would only wait for each other
        low = [problem.descend(B + PUSH * rng.standard_normal(B.shape), steps // 10 + 1, *SURVEY) for B in points]
        B = problem.descend(min(low, key=problem.value), steps, *DESCENT)
        used = (B**2).sum(axis=1) > UNUSED * K  # the others are rounding: a rank that is not there should not be seen
        B[used], B[~used] = _Problem(rho[used], redundancy, K).polish(_unit(B[used])), 0.0
    return B


def _unit(B: Array) -> Array:
    unit: Array = B / np.linalg.norm(B, axis=0)
    return unit


class _Problem:
    """L of the columns of Y (R, K) at unit length, with its gradient."""

    def __init__(self, rho: Array, redundancy: float, K: int) -> None:
        self.rho, self.redundancy, self.K = rho[:, None], redundancy, K

    def both(self, y: Array) -> tuple[float, Array]:
        Y = y.reshape(-1, self.K)
        size = np.linalg.norm(Y, axis=0)
        B = Y / size
        RB = self.rho * B
        C = B.T @ RB
        gap = 1 - C.diagonal()
        M = self.redundancy * C
        np.fill_diagonal(M, 0.0)
        value = float((gap**2).sum() + (M * C).sum())
        np.fill_diagonal(M, -gap)
        G = 4 * RB @ M
        return value, ((G - B * (B * G).sum(axis=0)) / size).ravel()

    def value(self, B: Array) -> float:
        return self.both(B.ravel())[0]

    def descend(self, B: Array, steps: int, most: int, tol: float) -> Array:
        """L-BFGS of at most so many steps, until one lowers the loss by less than `tol`."""
        steps = min(steps, most)
        options: dict[str, Any] = {"maxiter": steps, "maxfun": 2 * steps, "ftol": tol, "gtol": 1e-12, "maxcor": 30}
        found = scipy.optimize.minimize(self.both, B.ravel(), jac=True, method="L-BFGS-B", options=options)
        return _unit(found.x.reshape(B.shape))

    def polish(self, B: Array) -> Array:
        """Newton steps, by differences of the gradient, as long as it falls: where L-BFGS ends at sqrt(rounding)."""
        y, h = B.ravel(), 1e-5
        g = self.both(y)[1]
        for _ in range(NEWTON if y.size <= DENSE else 0):
            H = np.stack([(self.both(y + h * e)[1] - self.both(y - h * e)[1]) / (2 * h) for e in np.eye(y.size)])
            values, U = eigh(H)
            # scale of columns, and other freedom of the optimum: directions without curvature are not to be moved
            curved = values > 1e-7 * values[-1]
            step = U[:, curved] @ ((U[:, curved].T @ g) / values[curved])
            moved = _unit((y - step).reshape(B.shape)).ravel()
            gradient = self.both(moved)[1]
            if np.abs(gradient).max() >= np.abs(g).max():
                break
            y, g = moved, gradient
        return y.reshape(B.shape)
