"""Gradient ascent on E_alpha over one linear layer, alpha asked again at every step: training by any rule.

    W <- P(W + eta C_alpha W),    alpha = rule(XW) held constant in each step, P onto the sphere |W|_F^2 = r

is what alpha-CL does, with or without a loss behind the rule. It stands still where C W = lambda W with lambda =
tr(W'CW) / r. Where other directions of C lie above lambda that is a saddle, which is left along them; with too few
columns W comes back to it. A rule without a loss has no value that a line search could watch; what is watched is the
residual |CW - lambda W| / |CW|. Near the end the steps are mixed (Anderson: secants that solve for the fixed point),
which is given up for plain ones where it misleads, and after a saddle, which it would find again.

Nothing certifies the end point of a rule without a convex loss: other starts may end elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.alpha_cl._one_layer import OneLayer
from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError

__all__ = ["Ascent", "ascend_live"]

MEMORY = 8  # secants that are mixed
STEP = 0.7  # of 1 / |C|: a shorter step cannot overshoot while alpha holds
ALLOWED, SHRINK = 1.5, 0.5  # how much the residual may grow in a step, and what becomes of the step where it grows more
GROW = 1.1  # of the step after one that lowered a loss
PATIENCE, PROGRESS = 20, 0.9  # without a loss: so many steps without a residual so much smaller mean too long a step
ROUNDING = 1e-14  # of the terms of a loss: what a sum of them may be off by
NEAR = 0.1  # residual below which steps are mixed and watched
FREE = 200  # plain steps after a saddle, or until W is at the top
KICKS = 3  # times that a saddle is left: with fewer columns than levelled directions W comes back to it
LEVEL = 1e-3  # share of h r lambda_max(C) that a point may leave uncaptured and be no saddle


@dataclass(frozen=True, eq=False)
class Ascent:
    """Where the ascent ended: W (D, K), turned so that its columns are orthogonal, the largest first; Z = (X - mean) W.

    energy: E_alpha at alpha(W). residual: |CW - lambda W| / |CW|, 0 where it stands still. collapsed: C had no positive
    eigenvalue on the way, so that W = 0 gains most: then W = 0.
    """

    W: Array
    Z: Array
    energy: float
    residual: float
    steps: int
    converged: bool
    collapsed: bool
    message: str


def ascend_live(
    X: Any,
    contrast: Contrast,
    rule: AlphaRule,
    *,
    radius: float = 1.0,
    n_components: int | None = None,
    start: Any = None,
    max_iter: int = 1000,
    tol: float = 1e-6,
    seed: int = 0,
) -> Ascent:
    """Ascend E_alpha over W (D, K) with |W|_F^2 = radius, alpha = rule(XW) in every step.

    X (2N, D): rows as the contrast numbers them. n_components: K, by default as many columns as X has directions, at
    most 16. start: W (D, K) that is brought to this size, or a random one with a seed. tol: the residual at which it
    ends. Raises DataError for what does not fit.
    """
    if not isinstance(rule, AlphaRule):
        raise DataError(f"a rule is an object such as alpha_cl.DirectRule(p=4), got {rule!r}")
    for name, value in (("radius", radius), ("tol", tol)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise DataError(f"{name} must be a positive number, got {value!r}")
    if isinstance(max_iter, bool) or max_iter < 1:
        raise DataError(f"max_iter must be at least 1, got {max_iter!r}")
    problem = OneLayer(X, contrast, rule)
    if problem.d == 0:
        raise DataError("all rows of X are equal: every linear map collapses them; give features that vary")
    K = min(problem.d, 16) if n_components is None else n_components
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or not 1 <= K <= problem.d:
        raise DataError(f"n_components must be from 1 to {problem.d}, the directions in which X varies, got {K!r}")
    W = np.random.default_rng(seed).standard_normal((problem.d, K))
    if start is not None:
        W = np.asarray(start, dtype=np.float64)
        D = problem.basis.shape[0]
        if W.shape != (D, K) or not np.isfinite(W).all():
            raise DataError(f"start must be a finite array of shape ({D}, {K}), got shape {W.shape}")
        W = problem.basis.T @ W
        if not W.any():
            raise DataError("start maps every row of X to the same point: no gradient leads away from there")
    W, residual, steps, collapsed = _ascend(problem, _sphere(W, radius), radius, max_iter, tol)
    U, s, _ = linalg.svd(W)
    W = linalg.fix_signs(U) * s
    energy = problem.h * float((W * problem.sweep(W, W).product).sum())
    done = collapsed or residual <= tol
    message = (
        "collapsed: every direction loses"
        if collapsed
        else f"{'stands still' if done else 'stopped'} after {steps} steps, residual {residual:.2g}"
    )
    return Ascent(problem.basis @ W, problem.Y @ W, energy, residual, steps, done, collapsed, message)


def _ascend(problem: OneLayer, W: Array, radius: float, max_iter: int, tol: float) -> tuple[Array, float, int, bool]:
    """(W, residual, steps, whether W collapsed) of the accelerated iteration; a step is one look at alpha."""
    falls = isinstance(problem.rule, PairLoss)  # then a step of the right length lowers the loss
    at = problem.sweep(W)
    residual = least = _residual(W, at.product, radius)
    share, plain, since, kicks, free = STEP, True, 0, 0, 0
    points: list[Array] = []  # W, and what the plain step adds to it
    moves: list[Array] = []
    for step in range(1, max_iter + 1):
        C = at.product
        values, V = linalg.eigh(C)
        most = float(values[-1])
        if most <= 0:
            return np.zeros_like(W), 0.0, step, True
        at_top = float((W * (C @ W)).sum()) >= (1 - LEVEL) * radius * most
        free = 0 if at_top else max(free - 1, 0)
        if residual <= tol:
            if kicks == KICKS or at_top:
                return W, residual, step, False
            # a saddle: other directions are above those of W, which cannot find them by itself; or too few columns
            kicks, free = kicks + 1, FREE
            W = _sphere(W + 0.1 * math.sqrt(radius) * np.outer(V[:, -1], np.eye(W.shape[1])[-1]), radius)
            at = problem.sweep(W)
            residual = least = _residual(W, at.product, radius)
            points, moves, plain, since = [], [], True, 0
            share = STEP
            continue
        move = _sphere(W + share / max(-float(values[0]), most) * (C @ W), radius) - W
        points, moves = [*points[-MEMORY:], W], [*moves[-MEMORY:], move]
        plain = plain or free > 0 or residual > NEAR or len(points) < 3
        tried = W + move if plain else _mixed(points, moves, radius)
        after = problem.sweep(tried)
        found = _residual(tried, after.product, radius)
        worse = residual < NEAR and found > ALLOWED * residual
        if plain and falls:
            worse = after.value > at.value + ROUNDING * at.size
        if worse:  # secants that mislead are forgotten; a plain step is too long, where alpha moves with it
            points, moves = [], []
            share, plain = (share * SHRINK if plain else share), True
            continue
        if plain and falls:
            share = min(GROW * share, STEP / SHRINK)
        W, at, residual, plain = tried, after, found, False
        least, since = (found, 0) if found < PROGRESS * least else (least, since + 1)
        if not falls and since >= PATIENCE:
            share, least, since, plain = share * SHRINK, found, 0, True
            points, moves = [], []
    return W, residual, max_iter, False


def _mixed(points: list[Array], moves: list[Array], radius: float) -> Array:
    """Anderson's step: the mixture of the last points whose moves cancel best, moved, and brought onto the sphere."""
    F = np.stack([move.ravel() for move in moves], axis=1)
    dF = np.diff(F, axis=1)
    dW = np.diff(np.stack([point.ravel() for point in points], axis=1), axis=1)
    mix = np.linalg.lstsq(dF, F[:, -1], rcond=1e-10)[0]
    step = F[:, -1] - (dW + dF) @ mix
    return _sphere(points[-1] + step.reshape(points[-1].shape), radius)


def _sphere(W: Array, radius: float) -> Array:
    return W * math.sqrt(radius / float((W**2).sum()))


def _residual(W: Array, C: Array, radius: float) -> float:
    """|CW - lambda W| / |CW|, lambda = tr(W'CW) / r."""
    CW = C @ W
    lam = float((W * CW).sum()) / radius
    return float(np.linalg.norm(CW - lam * W)) / max(float(np.linalg.norm(CW)), 1e-300)
