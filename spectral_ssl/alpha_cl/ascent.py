"""Gradient ascent on E_alpha over one linear layer, alpha asked again at every step: training by any rule.

    W <- P(W + eta C_alpha W),    alpha = rule(XW) held constant in each step, P onto the ball |W|_F^2 <= r

is what alpha-CL does, with or without a loss behind the rule. It stands still

    on the sphere   where C W = lambda W with lambda = tr(W'CW) / r >= 0,
    inside          where C W = 0: alpha has levelled what W spreads with what it pulls apart,
    at W = 0        where every direction leads back to it, lambda_max(C) <= 0 at alpha(0): collapse.

That all directions of C lose at one W says no more than that W is too large there: alpha moves with it. Where
directions of C lie above those of W (at an inner point: above 0), the point is a saddle, which is left along them; with
too few columns W comes back to it.

A rule without a loss has no value that a line search could watch; what is watched is the residual |CW - lambda W|,
lambda = 0 inside, as a share of |CW| and at least of c |W|: C itself vanishes on W at an inner point, c does not, a
tenth of the mean over directions of all that C is the balance of. Near the end the steps are mixed (Anderson: secants
that solve for the fixed point), which is given up for plain ones where it misleads. They may climb a loss to a saddle;
then the search goes back to the lowest point it met, and on by plain steps, since secants would find the saddle again.

Nothing certifies the end point of a rule without a convex loss: other starts may end elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.alpha_cl._one_layer import OneLayer, Sweep
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
KICKS = 3  # times that a saddle is left where all columns are in use: with too few of them W comes back to it
SPARE = 1e-6  # share of |W|^2 below which a column is not in use
LEVEL = 1e-3  # share of h r lambda_max(C) that a point may leave uncaptured and be no saddle
SURFACE = 1e-12  # share of r: nearer to it than this is on the sphere
FLOOR = 0.1  # c, of the mean over directions of the terms of C, all added
GONE = 1e-12  # share of r below which |W|^2 is taken for 0


@dataclass(frozen=True, eq=False)
class Ascent:
    """Where the ascent ended: W (D, K), turned so that its columns are orthogonal, the largest first; Z = (X - mean) W.

    energy: E_alpha at alpha(W). residual: |CW - lambda W| / max(|CW|, c |W|), lambda = 0 inside the ball: 0 where it
    stands still. steps: looks at alpha. converged: whether the residual is at most `tol`, or W collapsed. collapsed:
    W = 0, since C has no positive eigenvalue at alpha(0) and W went there, or the loss is convex and nothing is lower.
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
    """Ascend E_alpha over W (D, K) with |W|_F^2 <= radius, alpha = rule(XW) in every step.

    X (2N, D): rows as the contrast numbers them. n_components: K, by default as many columns as X has directions, at
    most 16. start: W (D, K) that is brought to |W|_F^2 = radius, or a random one with a seed. tol: the residual at
    which it ends. Raises DataError for what does not fit.
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
    inside = "" if _on_surface(W, radius) else f" at |W|^2 = {float((s**2).sum()):.4g}, inside the ball"
    message = (
        "collapsed: every direction loses"
        if collapsed
        else f"{'stands still' if done else 'stopped'} after {steps} steps{inside}, residual {residual:.2g}"
    )
    return Ascent(problem.basis @ W, problem.Y @ W, energy, residual, steps, done, collapsed, message)


def _ascend(problem: OneLayer, W: Array, radius: float, max_iter: int, tol: float) -> tuple[Array, float, int, bool]:
    """(W, residual, steps, whether W collapsed) of the accelerated iteration; a step is one look at alpha."""
    rule = problem.rule
    falls = isinstance(rule, PairLoss)  # then a step of the right length lowers the loss
    proven = rule.fixed or (isinstance(rule, PairLoss) and rule.convex)  # where W = 0 is stationary nothing is lower
    at = problem.sweep(W)
    residual = _residual(W, at, radius)
    least, lowest = residual * float(np.linalg.norm(W)), (W, at)
    share, plain, since, kicks, free = STEP, True, 0, 0, 0
    loses: bool | None = None  # whether every direction leads back to W = 0; asked once, where it matters
    points: list[Array] = []  # W, and what the plain step adds to it
    moves: list[Array] = []
    for step in range(1, max_iter + 1):
        C, c = at.product, FLOOR * at.trace / problem.d
        values, V = linalg.eigh(C)
        most, gone = float(values[-1]), float((W**2).sum()) <= GONE * radius
        if most <= 0 and (proven or gone):
            if loses is None:
                loses = float(linalg.eigh(problem.sweep(np.zeros_like(W)).product)[0][-1]) <= 0
            if loses:
                return np.zeros_like(W), 0.0, step, True
        left = radius * max(most, 0.0) - float((W * (C @ W)).sum())
        at_top = left <= radius * max(LEVEL * most, 10 * tol * c)
        free = 0 if at_top else max(free - 1, 0)
        if residual <= tol or gone:
            if at_top or (kicks >= KICKS and not _spare(W)):
                return W, residual, step, False
            # a saddle: other directions are above those of W, which cannot find them by itself; or too few columns
            free = FREE
            if falls and lowest[1].value < at.value - ROUNDING * at.size:  # secants climbed to it
                W, at = lowest
            else:
                kicks, size = kicks + 1, math.sqrt(radius) if gone else float(np.linalg.norm(W))
                W = _ball(W + 0.1 * size * np.outer(V[:, -1], np.eye(W.shape[1])[-1]), radius)
                at = problem.sweep(W)
            residual = _residual(W, at, radius)
            least = residual * float(np.linalg.norm(W))
            points, moves, plain, since = [], [], True, 0
            share = STEP
            continue
        move = _ball(W + share / max(-float(values[0]), most, c) * (C @ W), radius) - W
        points, moves = [*points[-MEMORY:], W], [*moves[-MEMORY:], move]
        plain = plain or free > 0 or residual > NEAR or len(points) < 3
        tried = W + move if plain else _mixed(points, moves, radius)
        after = problem.sweep(tried)
        found = _residual(tried, after, radius)
        worse = residual < NEAR and found > ALLOWED * residual
        if plain and falls:
            worse = after.value > at.value + ROUNDING * at.size
        if worse:  # secants that mislead are forgotten; a plain step is too long, where alpha moves with it
            points, moves = [], []
            share, plain = (share * SHRINK if plain else share), True
            continue
        if plain and falls:
            share = min(GROW * share, STEP / SHRINK)
        if _on_surface(tried, radius) != _on_surface(W, radius):
            points, moves = [], []
        W, at, residual, plain = tried, after, found, False
        lowest = (W, at) if at.value < lowest[1].value else lowest
        progress = found * float(np.linalg.norm(W))  # of |CW|, so that W on its way to 0 is no standstill
        least, since = (progress, 0) if progress < PROGRESS * least else (least, since + 1)
        if not falls and since >= PATIENCE:
            share, least, since, plain = share * SHRINK, progress, 0, True
            points, moves = [], []
    return W, residual, max_iter, False


def _mixed(points: list[Array], moves: list[Array], radius: float) -> Array:
    """Anderson's step: the mixture of the last points whose moves cancel best, moved, and brought into the ball.

    Onto the sphere where the last move ends there: mixtures of its points are inside by the square of their distance.
    """
    F = np.stack([move.ravel() for move in moves], axis=1)
    dF = np.diff(F, axis=1)
    dW = np.diff(np.stack([point.ravel() for point in points], axis=1), axis=1)
    mix = np.linalg.lstsq(dF, F[:, -1], rcond=1e-10)[0]
    step = F[:, -1] - (dW + dF) @ mix
    W = points[-1] + step.reshape(points[-1].shape)
    return _sphere(W, radius) if _on_surface(points[-1] + moves[-1], radius) else _ball(W, radius)


def _sphere(W: Array, radius: float) -> Array:
    return W * math.sqrt(radius / float((W**2).sum()))


def _ball(W: Array, radius: float) -> Array:
    return _sphere(W, radius) if float((W**2).sum()) > radius else W


def _on_surface(W: Array, radius: float) -> bool:
    return float((W**2).sum()) >= (1 - SURFACE) * radius


def _spare(W: Array) -> bool:
    """Whether a column is left for another direction: then a stationary point below the top of C is a saddle."""
    s = linalg.svd(W)[1]
    return bool(s[-1] ** 2 <= SPARE * float((s**2).sum()))


def _residual(W: Array, at: Sweep, radius: float) -> float:
    """|CW - lambda W| / max(|CW|, c |W|), lambda = max(tr(W'CW), 0) / r on the sphere and 0 inside; at = sweep at W."""
    CW = at.product @ W
    lam = max(float((W * CW).sum()), 0.0) / radius if _on_surface(W, radius) else 0.0
    size = max(float(np.linalg.norm(CW)), FLOOR * at.trace / len(W) * float(np.linalg.norm(W)))
    return float(np.linalg.norm(CW - lam * W)) / max(size, 1e-300)
