"""The search for the least loss of one linear layer: descents of W in few columns, and certificates that guide them.

`live` has the theory; here is how it is computed. A `Search` holds the lowest loss and the highest bound met.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch

from spectral_ssl import linalg
from spectral_ssl.alpha_cl._one_layer import OneLayer
from spectral_ssl.alpha_cl.family import Triplet
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.embedding import Array

__all__ = ["GapCertificate", "Point", "Search", "certify", "descend", "reduced", "smoothings"]

COLUMNS = 16  # of W at the start, or all there are
MEMORY = 30  # steps that L-BFGS remembers
POLISH = 10  # steps on the gradient alone
EFFORT = 500  # iterations of L-BFGS between two certificates
KEPT = 1e-12  # eigenvalues of G below this share of r are dropped from the search
SMOOTHING = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)  # mu, of the spread of u at the start


@dataclass(frozen=True)
class _SmoothTriplet(PairLoss):
    """F_mu(u) = mu sum_j log(1 + e^{(u_j + m) / mu})."""

    margin: float
    mu: float

    convex = True
    row_sum = "free"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        x = (u + self.margin) / self.mu
        return self.mu * torch.logaddexp(x, torch.zeros_like(x)).sum(dim=1)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid((u + self.margin) / self.mu)


@dataclass(frozen=True, eq=False)
class GapCertificate:
    """A proof that a loss is near its minimum: lower_bound <= L* <= value, gap = value - lower_bound.

    eigenvalues (D,): of C_alpha[x] at the alpha of the proof, largest first. energy: E_alpha(W) = h tr(W'CW). rounding:
    the part of the gap that stands for float64, so that the bound holds for the computed numbers.
    """

    value: float
    lower_bound: float
    gap: float
    eigenvalues: Array
    energy: float
    rounding: float


@dataclass(frozen=True, eq=False)
class Point:
    """W (d, k) in the basis of the problem, its proof, C (d, d) with its eigenpairs, and the rule behind its alpha."""

    W: Array
    proof: GapCertificate
    C: Array
    values: Array
    vectors: Array
    rule: AlphaRule


class Search:
    """The lowest loss and the highest bound met so far, and what is left between them."""

    def __init__(self, problem: OneLayer, radius: float, tol: float) -> None:
        self.problem, self.radius, self.tol = problem, radius, tol
        self.collapsed = self.primal = self.dual = certify(problem, np.zeros((problem.d, 1)), radius)

    def judge(self, problem: OneLayer, W: Array, truth: PairLoss | None = None) -> Point:
        point = certify(problem, W, self.radius, truth)
        if point.proof.value < self.primal.proof.value:
            self.primal = point
        if point.proof.lower_bound > self.dual.proof.lower_bound:
            self.dual = point
        return point

    @property
    def gap(self) -> float:
        return max(self.primal.proof.value - self.dual.proof.lower_bound, 0.0)

    @property
    def decrease(self) -> float:
        return self.collapsed.proof.value - self.primal.proof.value

    def enough(self, value: float) -> float:
        """The gradient at which a descent to `value` may end: by then the gap is of other directions."""
        return 0.1 * self.tol * max(self.collapsed.proof.value - value, 0.0)

    @property
    def closed(self) -> bool:
        """Whether the gap is `tol` of the decrease, or all rounding."""
        return self.closes(self.primal.proof.value)

    def closes(self, value: float) -> bool:
        """The same of a loss of `value`."""
        enough = max(self.tol * (self.collapsed.proof.value - value), 2 * self.dual.proof.rounding)
        return value - self.dual.proof.lower_bound <= enough

    def climb(self, problem: OneLayer, W: Array, t: float, stairs: int, truth: PairLoss | None = None) -> Array:
        """Descend from W with slack t, look where the certificate is open, add columns there, and again."""
        before = math.inf
        for _ in range(stairs):
            W, t = descend(problem, W, t, self.radius, self.enough)
            W = reduced(W, KEPT)
            point = self.judge(problem, W, truth)
            if self.closed or not point.proof.gap < 0.9 * before:
                break
            before = point.proof.gap
            W, t = grown(problem, point, W, t, self.radius)
        return W


def certify(problem: OneLayer, W: Array, radius: float, truth: PairLoss | None = None) -> Point:
    """The certificate at W (d, k). truth: the loss itself where the problem is a smoothing of it."""
    h, (d, k) = problem.h, W.shape
    s = problem.sweep(W, dual=truth)
    values, U = linalg.eigh(s.product)
    energy = h * float((W * (s.product @ W)).sum())
    value = s.value if truth is None else problem.of(truth).value(W)
    rounding = s.rounding(h, radius, (d, k))
    most = h * radius * max(float(values[-1]), 0.0)
    bound = s.value + energy - most if truth is None else -most - s.conjugate
    lower = min(bound - rounding, value)
    spectrum = np.sort(np.append(values, np.zeros(problem.basis.shape[0] - d)))[::-1]
    proof = GapCertificate(value, lower, value - lower, spectrum, energy, rounding)
    return Point(W, proof, s.product, values[::-1], U[:, ::-1], problem.rule)


def descend(
    problem: OneLayer, W: Array, t: float, radius: float, enough: Callable[[float], float]
) -> tuple[Array, float]:
    """L-BFGS over (B, s) with W = sqrt(r) B / nu, t = sqrt(r) s / nu, nu^2 = |B|^2 + s^2: no constraint is left.

    dL/dW = -2 h C W =: g and y = <g, W> / r give dL/dB = sqrt(r) (g - y W) / nu, dL/ds = -sqrt(r) y t / nu. The search
    ends at a gradient of `enough`(loss). Where differences of L are rounding before that, its last model of the
    curvature goes on as Newton's method on the gradient, as long as that falls.
    """
    shape, root = W.shape, math.sqrt(radius)
    now = {"value": math.inf, "slope": math.inf}

    def both(x: Array) -> tuple[float, Array]:
        nu = float(np.linalg.norm(x))
        W, t = root / nu * x[:-1].reshape(shape), root / nu * x[-1]
        s = problem.sweep(W, W)
        g = -2 * problem.h * s.product
        y = float((g * W).sum()) / radius
        slope = root / nu * np.append((g - y * W).ravel(), -y * t)
        now["value"], now["slope"] = s.value, nu * float(np.linalg.norm(slope))  # of x at length 1
        return s.value, slope

    def arrived(_: Array) -> None:
        if now["slope"] <= enough(now["value"]):
            raise StopIteration

    options = {"maxiter": EFFORT, "maxfun": 2 * EFFORT, "ftol": 0.0, "gtol": 0.0, "maxcor": MEMORY}
    start = np.append(W.ravel(), t) / root
    done = scipy.optimize.minimize(both, start, jac=True, method="L-BFGS-B", options=options, callback=arrived)
    x, g = done.x, done.jac
    for _ in range(POLISH):
        if np.linalg.norm(g) * np.linalg.norm(x) <= enough(float(done.fun)) or done.nit == 0:
            break
        y = x - done.hess_inv @ g
        _, f = both(y)
        if not np.linalg.norm(f) * np.linalg.norm(y) < 0.7 * np.linalg.norm(g) * np.linalg.norm(x):
            break
        x, g = y, f
    x = x * root / np.linalg.norm(x)
    return x[:-1].reshape(shape), float(x[-1])


def reduced(W: Array, share: float) -> Array:
    """W turned so that its columns are orthogonal, the largest first; those of less |w|^2 than a share are left out."""
    U, s, _ = linalg.svd(W)
    keep = s**2 > share * max(float((s**2).sum()), 1e-300)
    keep[0] = True
    return np.asarray(linalg.fix_signs(U[:, keep]) * s[keep])


def grown(problem: OneLayer, point: Point, W: Array, t: float, radius: float) -> tuple[Array, float]:
    """W with the eigenvectors of C above the mean level of its columns, at the best of a few sizes.

    The slack is one more direction, of level 0.
    """
    level = point.proof.energy / (problem.h * radius)
    new = point.vectors[:, point.values > max(level, 0.0)][:, :COLUMNS]
    slack = t if level > 0 else max(abs(t), 0.1 * math.sqrt(radius))
    points = []
    for size in (0.3, 0.1, 0.03, 0.01, 0.001):
        B = np.hstack([W, size * math.sqrt(radius / max(new.shape[1], 1)) * new])
        scale = math.sqrt(radius / (float((B**2).sum()) + slack**2))
        points.append((problem.value(scale * B), scale * B, scale * slack))
    _, W, t = min(points, key=lambda found: found[0])
    return W, t


def smoothings(problem: OneLayer, radius: float) -> list[tuple[OneLayer, PairLoss | None]]:
    """The problems to solve one after the other, and the loss that they approach where it is not their own."""
    rule = problem.rule
    if not isinstance(rule, Triplet):
        return [(problem, None)]
    spread = abs(rule.margin) + radius * float(linalg.svd(problem.Y)[1][0]) ** 2 / len(problem.Y)
    return [(problem.of(_SmoothTriplet(rule.margin, share * spread)), rule) for share in SMOOTHING]
