"""The game of alpha-CL played move by move: alpha answers the encoder, the encoder answers alpha.

    alpha_t = rule(Z_t),                      the min player's exact answer;
    W_{t+1} = sqrt(r) v,                      "pca": the max player's, v the top eigenvector of C_{alpha_t}[x]
              P(W_t + rate C W_t / |C|_2),    "gradient": a step towards it, P onto the ball |W|_F^2 <= r

For one linear layer and a convex loss the game has a value, the least loss (`live`); best responses need not find it.
Each has rank one, and where alpha* levels several eigenvalues no rank-one answer is optimal: undamped play jumps from
one direction to another, in a cycle or without end. Damping mixes the answers in G = WW',

    G_{t+1} = G_t + c_t (r v v' - G_t),       c_t = 1: none,  a constant,  or 1 / (t + 1): the average of all answers

of which the last is Frank-Wolfe (`pca_steps`) and converges. The gap of the certificate at G_t is what the two
players have left to gain, and the stopping rule: h (r lambda_max(C) - <C, G_t>) >= L(G_t) - L*.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.alpha_cl._one_layer import OneLayer, factor
from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError

__all__ = ["Alternation", "alternate"]

Verdict = Literal["converged", "settled", "cycles", "settling", "wanders"]

TOL = 1e-4  # of the decrease from collapse: the gap at which play ends
MAX_PERIOD = 24  # periods that are looked for, each over three turns of it
SAME_TOL = 1e-6  # of the radius: distance of two G that are the same point of a cycle
CALM = 1e-2  # of the largest change of L (of E, without a loss) so far: a last quarter of play that varies less settles


@dataclass(frozen=True, eq=False)
class Alternation:
    """What was played. G (D, D): WW' at the end; W (D, K) a factor of it.

    losses (T,): L at each G_t, nan where the rule has no loss. energies (T,): E at alpha_t. gaps (T,): the certificate,
    nan where the loss is not convex. moves (T - 1,): |G_{t+1} - G_t|_F / r. lower_bound: the best of all, -inf without.

    verdict: "converged" where L at the end is above the bound by at most `tol` of its decrease from collapse;
    "settled" at a fixed point; "cycles" with a `period` of 2 or more; "settling" where the last quarter of play hardly
    varies; else "wanders".
    """

    W: Array
    G: Array
    losses: Array
    energies: Array
    gaps: Array
    moves: Array
    lower_bound: float
    verdict: Verdict
    period: int

    @property
    def steps(self) -> int:
        return self.losses.size - 1


def alternate(
    X: Any,
    contrast: Contrast,
    rule: AlphaRule,
    *,
    radius: float = 1.0,
    response: Literal["pca", "gradient"] = "pca",
    damping: Literal["none", "averaging"] | float = "none",
    rate: float = 1.0,
    steps: int = 400,
    tol: float = TOL,
    seed: int = 0,
) -> Alternation:
    """Let alpha and one linear layer answer each other from a random W, X (2N, D).

    rule: any; a certificate is measured where it is a convex `PairLoss`. damping: of the answer "pca": "none", a share
    c in (0, 1] of it in every step, or "averaging". rate: of the answer "gradient", in units of 1 / |C|_2. tol: the gap
    at which play ends, as a share of the decrease from collapse.
    """
    problem, share = _checked(X, contrast, rule, radius, response, damping, rate, steps, tol)
    h, r = problem.h, float(radius)
    convex = isinstance(rule, PairLoss) and rule.convex
    B = np.random.default_rng(seed).standard_normal((problem.d, problem.d if response == "gradient" else 1))
    W = B * math.sqrt(r) / np.linalg.norm(B)
    collapse = problem.value(np.zeros((problem.d, 1)))
    losses, energies, gaps, points, bound = [], [], [], [W @ W.T], -math.inf
    for t in range(steps + 1):
        G = points[-1]
        s = problem.sweep(W)
        values, U = linalg.eigh(s.product)
        energy, top = h * float((G * s.product).sum()), max(float(values[-1]), 0.0)
        energies.append(energy)
        losses.append(s.value)
        gaps.append(h * r * top - energy + s.rounding(h, r, W.shape))
        bound = max(bound, losses[-1] - gaps[-1])
        if convex and losses[-1] - bound <= tol * (collapse - losses[-1]):
            break
        if t == steps:
            break
        if response == "gradient":
            W = W + rate / max(float(np.abs(values).max()), 1e-300) * (s.product @ W)
            W = W * math.sqrt(min(1.0, r / max(float((W**2).sum()), 1e-300)))
            points.append(W @ W.T)
        else:
            c = 1 / (t + 1) if share is None else share
            answer = r * np.outer(U[:, -1], U[:, -1]) if top > 0 else 0.0 * G
            points.append(G + c * (answer - G))
            W = factor(points[-1])
    moves = np.array([np.linalg.norm(b - a) / r for a, b in itertools.pairwise(points)])
    done = convex and losses[-1] - bound <= tol * (collapse - losses[-1])
    watched = np.array(losses if isinstance(rule, PairLoss) else energies)
    # answers that are averaged move less and less, wherever they are: a small step is no rest
    verdict, period = _judge([] if share is None else points, watched, r)
    if done:
        verdict, period = "converged", 0
    nothing = np.full(len(losses), math.nan)
    return Alternation(
        W=problem.basis @ W,
        G=problem.basis @ points[-1] @ problem.basis.T,
        losses=np.array(losses) if isinstance(rule, PairLoss) else nothing,
        energies=np.array(energies),
        gaps=np.array(gaps) if convex else nothing,
        moves=moves,
        lower_bound=min(bound, min(losses)) if convex else -math.inf,
        verdict=verdict,
        period=period,
    )


def _judge(points: list[Array], watched: Array, radius: float) -> tuple[Verdict, int]:
    """What the last moves look like: a point or a cycle that stays for three turns, calm, or neither."""
    for period in range(1, MAX_PERIOD + 1):
        turns = range(len(points) - 3 * period, len(points))
        if len(points) >= 4 * period and all(
            np.linalg.norm(points[t] - points[t - period]) <= SAME_TOL * radius for t in turns
        ):
            return ("settled", 1) if period == 1 else ("cycles", period)
    last = watched[-max(watched.size // 4, 2) :]
    return ("settling" if np.ptp(last) <= CALM * np.ptp(watched) else "wanders"), 0


def _checked(
    X: Any,
    contrast: Contrast,
    rule: AlphaRule,
    radius: float,
    response: str,
    damping: str | float,
    rate: float,
    steps: int,
    tol: float,
) -> tuple[OneLayer, float | None]:
    """The problem, and the share of every answer (None: their average). Raises DataError for what does not fit."""
    if not isinstance(rule, AlphaRule):
        raise DataError(f"a rule is an object such as alpha_cl.Nce(temperature=0.5), got {rule!r}")
    for name, value in (("radius", radius), ("rate", rate), ("tol", tol)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise DataError(f"{name} must be a positive number, got {value!r}")
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise DataError(f"steps must be a positive whole number, got {steps!r}")
    if response not in ("pca", "gradient"):
        raise DataError(f"response={response!r} is not known; choose 'pca' or 'gradient'")
    number = isinstance(damping, int | float) and not isinstance(damping, bool)
    if damping not in ("none", "averaging") and not (number and 0 < float(damping) <= 1):
        raise DataError(f"damping must be 'none', 'averaging' or a share in (0, 1], got {damping!r}")
    if response == "gradient" and damping != "none":
        raise DataError("damping mixes answers of response='pca'; a gradient step is damped by rate=")
    problem = OneLayer(X, contrast, rule)
    if problem.d == 0:
        raise DataError("all rows of X are equal: every linear map collapses them; give features that vary")
    return problem, None if damping == "averaging" else 1.0 if damping == "none" else float(damping)
