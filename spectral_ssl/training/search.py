"""Full-batch minimisation in float64: L-BFGS to the rounding of the loss, and plain gradient descent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from spectral_ssl.errors import NumericalError
from spectral_ssl.training.optimizers import gd, lbfgs
from spectral_ssl.training.plan import Plan
from spectral_ssl.training.problem import Problem
from spectral_ssl.training.result import Step

__all__ = ["Clock", "Search"]

ROUNDING = 1e-14  # differences of the loss below this share of its size are noise: a line search cannot see them
DECREASE_LEFT = 1e-11  # expected relative decrease at which a stalled search counts as at its minimum
GRADIENT_AT_ROUNDING = 1e-6  # and the gradient it may leave: curvature not learnt yet expects no decrease either
RESTARTS = 4  # of L-BFGS with fresh curvature, as long as each lowers the loss
POLISH = 60  # quasi-Newton steps without a line search, each seen to help in the first tens or not at all
STALL = 3  # chunks without a lower loss or a smaller gradient before the line search is given up


class Clock:
    """Tells callbacks of a step, and counts the seconds outside of them."""

    def __init__(self, callbacks: Sequence[Callable[[Step], None]], problem: Problem, before: float = 0.0) -> None:
        self.callbacks, self.problem = callbacks, problem
        self.started = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def report(self, evaluations: int, loss: float, gradient: float) -> None:
        """loss: without its constant."""
        if not self.callbacks:
            return
        now = time.perf_counter()
        step = Step(
            evaluations=evaluations,
            loss=loss + self.problem.constant,
            gradient_norm=gradient,
            seconds=now - self.started,
            embed=lambda: self.problem.embedding().Z,
        )
        try:
            for callback in self.callbacks:
                callback(step)
        finally:
            self.started += time.perf_counter() - now


class Search:
    """A minimisation in progress: every evaluation recorded, the point of smallest gradient kept."""

    before = 0.0  # seconds of earlier sittings

    def __init__(self, problem: Problem, plan: Plan, callbacks: Sequence[Callable[[Step], None]]) -> None:
        self.problem, self.plan, self.max_iter, self.tol = problem, plan, plan.max_iter, plan.tol
        self.learning_rate = plan.learning_rate
        self.parameters = problem.encoder.parameters
        self.best, self.best_loss, self.best_gradient = self.held(), np.inf, np.inf
        self.losses: list[float] = []
        self.converged = False
        self.clock = Clock(callbacks, problem)

    def run(self) -> str:
        """Minimise, and leave the parameters at the best point; why it stopped, in words."""
        message = self.lbfgs() if self.learning_rate is None else self.descend(self.learning_rate)
        self.back_to_best()
        return message

    @property
    def gradient(self) -> float:
        return self.best_gradient

    def held(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.parameters]

    def back_to_best(self) -> None:
        with torch.no_grad():
            for p, best in zip(self.parameters, self.best, strict=True):
                p.copy_(best)

    def evaluate(self) -> float:
        """The loss in units of its size, with its gradient left in the parameters."""
        value = self.problem.backward(scale=1 / self.problem.size)
        self.losses.append(value)
        return value / self.problem.size

    def look(self) -> float:
        """The gradient at the current point: recorded, reported, refused if not finite."""
        self.evaluate()
        gradient = self.problem.gradient()
        if not (np.isfinite(gradient) and np.isfinite(self.losses[-1])):
            raise NumericalError(
                f"the loss or its gradient became NaN or infinite after {len(self.losses)} evaluations; "
                "lower the learning rate, or check the data for huge values"
            )
        # a lower loss counts first: saddles have small gradients too; among losses equal to rounding, the gradient does
        loss, rounding = self.losses[-1], ROUNDING * max(abs(self.losses[-1]), self.problem.size)
        if loss < self.best_loss - rounding or (loss <= self.best_loss + rounding and gradient < self.best_gradient):
            self.best, self.best_loss, self.best_gradient = self.held(), loss, gradient
        self.clock.report(len(self.losses), loss, gradient)
        return gradient

    def lbfgs(self) -> str:
        gradient, stalled, left = self.look(), False, np.inf
        for _ in range(RESTARTS):
            engine = lbfgs(self.parameters)
            before, idle, whole = self.best_loss, 0, engine.param_groups[0]["max_eval"]
            while gradient > self.tol and len(self.losses) < self.max_iter and idle < STALL:
                loss, smallest = self.best_loss, self.best_gradient
                engine.param_groups[0]["max_eval"] = max(1, min(whole, self.max_iter - len(self.losses) - 1))
                engine.step(self.evaluate)
                gradient = self.look()
                idle = 0 if self._lower_than(loss) or self.best_gradient < 0.9 * smallest else idle + 1
            stalled = idle >= STALL
            left = self._decrease_left(engine)
            if stalled and self.best_gradient > self.tol:
                self._polish(engine)
            if not stalled or not self._lower_than(before) or left <= DECREASE_LEFT:
                break
            # stale curvature can stop a line search on the way: begin again from the best point, with none
            self.back_to_best()
            gradient = self.look()
        if self.losses[-1] != self.best_loss:
            self.back_to_best()
            self.evaluate()
        n = len(self.losses)
        if self.best_gradient <= self.tol:
            self.converged = True
            return f"converged: gradient {self.best_gradient:.1e} <= {self.tol:.0e} after {n} evaluations"
        if stalled and left <= DECREASE_LEFT and self.best_gradient <= GRADIENT_AT_ROUNDING:
            self.converged = True
            return f"converged to the rounding of the loss: gradient {self.best_gradient:.1e} after {n} evaluations"
        if n >= self.max_iter:
            return (
                f"stopped at max_iter={self.max_iter}: gradient {self.best_gradient:.1e} > {self.tol:.0e}; "
                "raise max_iter to go on"
            )
        return f"stalled: no lower loss and gradient {self.best_gradient:.1e} > {self.tol:.0e} after {n} evaluations"

    @staticmethod
    def _decrease_left(engine: torch.optim.Optimizer) -> float:
        """What the last quasi-Newton step -d'g expected to gain, relative to the loss at the start.

        A small gradient alone proves little: along a flat direction it can hide a loss still to fall.
        """
        state: dict[str, Any] = next(iter(engine.state.values()), {})
        if "d" not in state or state["prev_flat_grad"] is None:  # it never took a step
            return np.inf
        expected = -float(state["d"].dot(state["prev_flat_grad"]))
        return expected if expected >= 0 else np.inf

    def _lower_than(self, loss: float) -> bool:
        return self.best_loss < loss - ROUNDING * max(abs(loss), self.problem.size)

    def _polish(self, engine: torch.optim.Optimizer) -> None:
        """Full quasi-Newton steps with the curvature learnt so far, as long as the gradient falls."""
        self.back_to_best()
        engine.param_groups[0].update(line_search_fn=None, lr=1.0, max_iter=1, max_eval=1)
        for _ in range(POLISH):
            if self.best_gradient <= self.tol or len(self.losses) >= self.max_iter:
                break
            engine.step(self.evaluate)
            try:
                self.look()
            except NumericalError:  # a step too far; the best point is kept
                break

    def descend(self, learning_rate: float) -> str:
        """Gradient descent; the last point is kept."""
        engine = gd(self.parameters, learning_rate * self.problem.size)
        gradient = self.look()
        while gradient > self.tol and len(self.losses) < self.max_iter:
            engine.step()
            gradient = self.look()
        self.best, self.best_gradient = self.held(), gradient
        n = len(self.losses)
        self.converged = gradient <= self.tol
        if self.converged:
            return f"converged: gradient {gradient:.1e} <= {self.tol:.0e} after {n} steps"
        return f"stopped at max_iter: gradient {gradient:.1e} > {self.tol:.0e} after {n} steps"
