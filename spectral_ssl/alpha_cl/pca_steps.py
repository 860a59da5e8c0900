"""Frank-Wolfe on G = WW': PCA of the live contrastive covariance, step by step, towards the least loss.

With alpha at the current G the linearised problem max { <C, S> : S psd, tr S <= r } is PCA: its solution is the atom
S = r v v' of the top eigenvector v of C, or 0 where lambda_max <= 0. Its value is the certificate of `live`,

    gap = h (r [lambda_max]_+ - <C, G>)  >=  L - L*.

So each step is one exact best response of the encoder to alpha; what differs is how far G goes towards it:

step          G_{t+1}                                               what is known
============  ====================================================  ==================================================
"averaging"   G + (S - G) / (t + 1): all responses weigh the same   L - L* = O(log t / t)
"open_loop"   G + 2 (S - G) / (t + 2)                               O(1 / t) (Jaggi 2013)
"toward"      G + c (S - G), c by line search                       O(1 / t), never ascends
"away"        that, or away from the worst atom in the face of G    O(1 / t), never ascends
"pairwise"    G + c (v v' - a a'), a the worst atom in that face    never ascends
"corrective"  the best G on the span of range(G) and v              D steps at most, as ranges grow
============  ====================================================  ==================================================

The worst atom a minimises a'Ca over the range of G, and c is at most 1 / (a'G^+a), where G - c a a' loses rank; what is
left of r is the weight of the collapsed atom 0, of level 0 (in-face steps: Freund, Grigas & Mazumder 2017). The linear
rates of away and pairwise steps are those of polytopes. Here atoms are a continuum: where the optimum has fewer
dimensions than the data, neither moves a v that is nearly right to one that is, and plain averaging can be faster. The
corrective step can: it is a small problem of the same kind, solved by L-BFGS.

The line search is exact: along G + c D the loss is convex in c, with the derivative -h <C(c), D>, whose zero is found
by the secant rule kept inside a bracket (Illinois). Only products of C with the two atoms are needed for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.alpha_cl._live_search import descend
from spectral_ssl.alpha_cl._one_layer import OneLayer, factor
from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.live import check_problem
from spectral_ssl.alpha_cl.rules import AlphaRule
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError

__all__ = ["FrankWolfe", "frank_wolfe"]

Step = Literal["averaging", "open_loop", "toward", "away", "pairwise", "corrective"]
OPEN_LOOP: dict[str, Callable[[int], float]] = {"averaging": lambda t: 1 / (t + 1), "open_loop": lambda t: 2 / (t + 2)}
STEPS = ("averaging", "open_loop", "toward", "away", "pairwise", "corrective")
TOL = 1e-4  # of the decrease from collapse
MAX_STEPS = 1000
FACE = 1e-9  # of the radius: eigenvalues of G below this are none
FLAT = 1e-3  # of its first value: the derivative at which a line search ends
SEARCH = 30  # its evaluations at most


@dataclass(frozen=True, eq=False)
class FrankWolfe:
    """The iterates of Frank-Wolfe, by their losses and proofs.

    W (D, K): of the iterate of least loss, columns orthogonal, the largest first. losses, gaps (T,): L and the
    certificate at each iterate, the start among them. lower_bound: the best of all. converged: whether the loss of W is
    above it by at most `tol` of the decrease from collapse, or by rounding. sweeps: passes over all pairs.
    """

    W: Array
    losses: Array
    gaps: Array
    lower_bound: float
    converged: bool
    sweeps: int

    @property
    def gap(self) -> float:
        return float(self.losses.min()) - self.lower_bound

    @property
    def steps(self) -> int:
        return self.losses.size - 1


def frank_wolfe(
    X: Any,
    contrast: Contrast,
    rule: AlphaRule,
    *,
    radius: float = 1.0,
    step: Step = "pairwise",
    tol: float = TOL,
    max_steps: int = MAX_STEPS,
) -> FrankWolfe:
    """Minimise sum_i F(u_i(XW)) over |W|_F^2 <= radius by Frank-Wolfe on G = WW', from G = 0.

    X (2N, D), a convex `PairLoss` (or a rule of fixed alpha). step: see the module. tol: the gap, as a share of the
    decrease from the collapsed W = 0, at which it ends.
    """
    if step not in STEPS:
        raise DataError(f"step={step!r} is not known; choose one of {', '.join(STEPS)}")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise DataError(f"max_steps must be a positive whole number, got {max_steps!r}")
    problem = check_problem(X, contrast, rule, radius=radius, tol=tol)
    return _Run(problem, float(radius), step).until(tol, int(max_steps))


class _Run:
    """G (d, d) psd with tr G <= r; what is left of r is the weight of the collapsed atom, of level 0."""

    def __init__(self, problem: OneLayer, radius: float, step: Step) -> None:
        self.problem, self.radius, self.step = problem, radius, step
        self.G = np.zeros((problem.d, problem.d))

    def until(self, tol: float, max_steps: int) -> FrankWolfe:
        problem, h, r = self.problem, self.problem.h, self.radius
        losses, gaps, bound, converged, best = [], [], -math.inf, False, self.G
        for t in range(max_steps + 1):
            W = factor(self.G)
            found = problem.sweep(W)
            values, U = linalg.eigh(found.product)
            top, rounding = max(float(values[-1]), 0.0), found.rounding(h, r, W.shape)
            losses.append(found.value)
            best = self.G if losses[-1] == min(losses) else best
            gaps.append(h * (r * top - float((self.G * found.product).sum())) + rounding)
            bound = max(bound, losses[-1] - gaps[-1])
            if min(losses) - bound <= max(tol * (losses[0] - min(losses)), 2 * rounding):
                converged = True
                break
            if t < max_steps:
                v = U[:, -1] if top > 0 else np.zeros(problem.d)
                if self.step == "corrective":
                    self._correct(v, 0.1 * tol * max(losses[0] - losses[-1], gaps[-1]))
                else:
                    self._move(t, v, found.product)
        W = factor(best)
        return FrankWolfe(
            problem.basis @ W, np.array(losses), np.array(gaps), min(bound, min(losses)), converged, problem.sweeps
        )

    def _move(self, t: int, v: Array, C: Array) -> None:
        """One step, C (d, d) at the current G and sqrt(r) v (d,) the best response."""
        r, S = self.radius, self.radius * np.outer(v, v)
        if self.step in OPEN_LOOP:
            self.G = self.G + OPEN_LOOP[self.step](t) * (S - self.G)
            return
        a, held = self._worst(C)
        inner = float((self.G * C).sum())
        if self.step == "pairwise":
            D, most = np.outer(v, v) - np.outer(a, a), held
        elif self.step == "away" and inner - r * float(a @ C @ a) > r * float(v @ C @ v) - inner and held < r:
            D, most = self.G - r * np.outer(a, a), held / (r - held)
        else:
            D, most = S - self.G, 1.0

        def slope(c: float) -> float:
            """Of the loss along the direction: -h <C(c), D>."""
            return -self.problem.h * float((self.problem.sweep(factor(self.G + c * D)).product * D).sum())

        self.G = self.G + _zero(slope, -self.problem.h * float((C * D).sum()), most) * D

    def _correct(self, v: Array, enough: float) -> None:
        """The best G on the span of its range and v, to a gradient of `enough`."""
        mixed = 0.9 * self.G + 0.1 * self.radius * np.outer(v, v)
        g, U = linalg.eigh(mixed)
        Q = U[:, g > FACE * self.radius]
        W, t = Q.T @ factor(mixed), math.sqrt(max(self.radius - float(np.trace(mixed)), FACE * self.radius))
        W, _ = descend(self.problem.within(Q), W, t, self.radius, lambda _: enough)
        self.G = Q @ (W @ W.T) @ Q.T

    def _worst(self, C: Array) -> tuple[Array, float]:
        """The atom of lowest level in the face of G, a (d,), and the largest c with G - c a a' psd; 0: the slack."""
        g, U = linalg.eigh(self.G)
        keep = g > FACE * self.radius
        slack = self.radius - float(np.trace(self.G))
        Q = U[:, keep]
        level, V = linalg.eigh(Q.T @ C @ Q)
        if slack > FACE * self.radius and (not level.size or level[0] > 0):
            return np.zeros(self.problem.d), slack
        return Q @ V[:, 0], 1 / float((V[:, 0] ** 2 / g[keep]).sum())


def _zero(slope: Callable[[float], float], first: float, most: float) -> float:
    """Where an increasing slope, `first` < 0 at 0, is zero within (0, most], or most: the secant rule of Illinois."""
    low, f_low, high = 0.0, first, most
    f_high = slope(most)
    if f_high <= 0:
        return most
    side = 0
    for _ in range(SEARCH):
        c = (low * f_high - high * f_low) / (f_high - f_low)
        f = slope(c)
        if abs(f) <= FLAT * abs(first) or high - low <= linalg.EPS * most:
            return c
        if f < 0:
            low, f_low = c, f
            f_high, side = (f_high / 2 if side < 0 else f_high), -1
        else:
            high, f_high = c, f
            f_low, side = (f_low / 2 if side > 0 else f_low), 1
    return low
