"""Steps of a torch optimizer: on batches of positive pairs drawn from the relation, or on all of it."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from spectral_ssl.errors import DataError, NumericalError
from spectral_ssl.training.checkpoint import Checkpoint, pack, unpack
from spectral_ssl.training.encoders import Matrix
from spectral_ssl.training.networks import Network, Randomness
from spectral_ssl.training.optimizers import LARS_MOMENTUM, LARS_TRUST
from spectral_ssl.training.plan import Plan
from spectral_ssl.training.problem import Pairs, Problem
from spectral_ssl.training.result import Step
from spectral_ssl.training.search import Clock

__all__ = ["Batches", "Descent", "default_rate"]

SAVE_SECONDS = 30.0  # between checkpoints, and 20 times what one takes
# of the length of all parameters, what the first step of sgd moves them by: on the whole relation, on batches (the
# gradients of eight pairs differ so much that 0.2 diverged from one start in twenty, 0.1 from none), of a network
SGD, SGD_BATCHES, SGD_NETWORK = 0.2, 0.05, 0.01
LARS = 0.05  # of the length of each tensor: what a step of lars moves it by
ADAM = 0.05  # of the size of a matrix' entries: what each may move in a step of adam
ADAM_NETWORK = 1e-3


@contextlib.contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits for what is called here, between steps; a second one does not wait.

    Signals with a handler of their own keep it, and so do those of other threads than the main one.
    """
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    def let() -> None:
        if came:
            raise KeyboardInterrupt

    held = []
    if threading.current_thread() is threading.main_thread():  # the only one that may set handlers
        plain = signal.default_int_handler
        held = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is plain]
    for number in held:
        signal.signal(number, note)
    try:
        yield let
    finally:
        for number in held:
            signal.signal(number, signal.default_int_handler)


class Batches:
    """Batches of B pairs (i, j) from the relation, by a seeded stream of its own; None where B is None."""

    def __init__(self, problem: Problem, size: int | None, seed: int) -> None:
        self.size, self.problem = size, problem
        self.rng = np.random.default_rng((seed, 1))
        self.first = self._draw(np.random.default_rng((seed, 2)))  # to set scales by, before the first step

    def draw(self) -> Pairs | None:
        return self._draw(self.rng)

    def _draw(self, rng: np.random.Generator) -> Pairs | None:
        if self.size is None:
            return None
        if self.problem.batch_loss is not None:
            return self.problem.graph.sample_pairs(self.size, rng)
        return self.problem.method.draw_pairs(self.problem.graph, self.size, rng)


def default_rate(plan: Plan, problem: Problem, pairs: Pairs | None) -> float:
    """The learning rate of an optimizer where none is given.

    adam: 1e-3 for a network, 0.05 of the size of its entries for a matrix. sgd: the first step moves all parameters by
    0.2 (1 - momentum) of their size (on batches: 0.05, a network's: 0.01); lars: each tensor by 0.05 (1 - momentum).
    The size is that at the start, or roughly that of an optimum where it is larger; sgd on batches of free embeddings
    takes sqrt(2B / N) of that.
    """
    encoder = problem.encoder
    if plan.name == "lars":
        momentum, trust = (
            float(plan.options.get(*pair)) for pair in (("momentum", LARS_MOMENTUM), ("trust", LARS_TRUST))
        )
        return LARS * (1 - momentum) / trust
    natural = encoder.natural if isinstance(encoder, Matrix) else 0.0
    if plan.name == "adam":
        if not isinstance(encoder, Matrix):
            return ADAM_NETWORK
        return ADAM * max(math.sqrt(float(encoder.B.detach().square().mean())), natural)
    grow, share = 1.0, 1.0
    if isinstance(encoder, Matrix):  # a loss of fourth order is steeper where the optimum is than near zero
        size = math.sqrt(float(encoder.B.detach().square().mean()))
        grow = max(1.0, natural / max(size, 1e-300))
        if encoder.rows_are_free and pairs is not None:  # a batch moves its own rows only, as far as it can see for all
            share = math.sqrt(min(1.0, 2 * len(pairs[0]) / problem.graph.n_samples))
    held = [p.detach().clone() for p in encoder.parameters]
    with torch.no_grad():
        for p in encoder.parameters:
            p.mul_(grow)
    with encoder.untouched():
        problem.backward(pairs)
    size = _length(encoder.parameters)
    slope = _length([p.grad for p in encoder.parameters if p.grad is not None])
    with torch.no_grad():
        for p, before in zip(encoder.parameters, held, strict=True):
            p.copy_(before)
    if not (math.isfinite(slope) and slope > 0):
        raise NumericalError(
            f"the gradient at the start has size {slope}, which sets no learning rate: give learning_rate="
        )
    step = SGD_NETWORK if not natural else SGD if pairs is None else SGD_BATCHES
    return step * share * (1 - float(plan.options.get("momentum", 0.0))) * size / slope


def _length(tensors: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float(t.detach().square().sum()) for t in tensors))


class Descent:
    """A run of steps in progress; the last iterate is what it returns."""

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        batches: Batches,
        learning_rate: float,
        callbacks: Sequence[Callable[[Step], None]],
        checkpoint: Checkpoint | None,
    ) -> None:
        self.problem, self.plan, self.batches, self.checkpoint = problem, plan, batches, checkpoint
        self.name, self.max_iter, self.tol = plan.name, plan.max_iter, plan.tol
        self.parameters, self.learning_rate = problem.encoder.parameters, learning_rate
        self.engine = plan.engine(self.parameters, learning_rate)
        self.losses: list[float] = []
        self.steps, self.gradient, self.converged, self.whole = 0, math.nan, False, True
        found = None if checkpoint is None else checkpoint.load()
        self.before = 0.0  # seconds of earlier sittings
        if found is not None:
            self._resume(*found)
        self.clock = Clock(callbacks, problem, self.before)
        self.saved = time.perf_counter()

    def run(self) -> str:
        problem, batch = self.problem, self.batches.size
        try:
            with held_interrupts() as let:
                while self.steps < self.max_iter and not self.converged:
                    self.whole = False  # a step half done is not for a checkpoint
                    self._step()
                    self.whole = True
                    let()
                    if not self.converged:
                        self.clock.report(self.steps, self.losses[-1], self.gradient)
                        self._save_sometimes()
        except BaseException:
            if self.whole:
                self._save()
            raise
        self._save()
        if self.converged:
            return f"converged: gradient {self.gradient:.1e} <= {self.tol:.0e} after {self.steps} steps of {self.name}"
        over = "the whole relation" if batch is None else f"batches of {batch} pairs"
        chunks = f", {problem.chunk} rows at a time" if problem.chunk else ""
        return (
            f"ran max_iter={self.max_iter} steps of {self.name} on {over}{chunks}, learning rate "
            f"{self.learning_rate:.3g}; the last iterate is returned"
        )

    def _step(self) -> None:
        problem, batch = self.problem, self.batches.size
        value = problem.backward(self.batches.draw())
        if not math.isfinite(value):
            small = "" if batch is None or not problem.method.full_rank else ", or larger batches"
            raise NumericalError(
                f"the loss became NaN or infinite after {self.steps} steps of {self.name} at learning rate "
                f"{self.learning_rate:.3g}; lower it, say to {self.learning_rate / 10:.1g}{small}, warm up "
                "(schedule='cosine(warmup=0.1)'), or check the data for huge values"
            )
        self.losses.append(value)
        if batch is None or self.clock.callbacks or self.steps == self.max_iter - 1:
            self.gradient = problem.gradient() / problem.size
            if batch is None and self.gradient <= self.tol:
                self.converged = True
                return
        for group in self.engine.param_groups:
            group["lr"] = self.learning_rate * self.plan.factor(self.steps)
        self.engine.step()
        self.steps += 1

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def _tensors(self) -> dict[str, torch.Tensor]:
        found = {f"parameter.{n}": p for n, p in enumerate(self.parameters)}
        network = self.problem.encoder.network
        if network is not None:
            found |= {f"frozen.{name}": p for name, p in network.named_parameters() if not p.requires_grad}
            found |= {f"buffer.{name}": b for name, b in network.named_buffers()}
        return found

    def _streams(self) -> dict[str, Randomness]:
        encoder = self.problem.encoder
        return {"loss": self.problem.random} | ({"encoder": encoder.random} if isinstance(encoder, Network) else {})

    def _save_sometimes(self) -> None:
        if self.checkpoint is None or time.perf_counter() - self.saved < SAVE_SECONDS:
            return
        began = time.perf_counter()
        self._save()
        self.saved = time.perf_counter() + max(0.0, 20 * (time.perf_counter() - began) - SAVE_SECONDS)

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        tensors = self._tensors()
        for n, p in enumerate(self.parameters):
            held = self.engine.state.get(p, {})
            tensors |= {f"optimizer.{n}.{key}": v for key, v in held.items() if isinstance(v, torch.Tensor)}
        for name, random in self._streams().items():
            tensors |= {f"random.{name}.{n}": state for n, state in enumerate(random.state)}
        state = {
            "steps": self.steps,
            "seconds": self.clock.seconds,
            "learning_rate": self.learning_rate,
            "size": self.problem.size,
            "gradient": self.gradient if math.isfinite(self.gradient) else None,
            "converged": self.converged,
            "batches": self.batches.rng.bit_generator.state,
        }
        self.checkpoint.save(self.steps, state, {**pack(tensors), "losses": np.asarray(self.losses)})

    def _resume(self, state: dict[str, Any], arrays: dict[str, Any]) -> None:
        try:
            self._restore(state, arrays)
        except DataError:
            raise
        except Exception as error:  # written whole, as its digest tells, but by something else
            raise DataError(f"the checkpoint is corrupted ({error!r}); delete it") from error
        if self.steps > self.max_iter:
            raise DataError(
                f"the checkpoint holds {self.steps} steps, more than max_iter={self.max_iter}; raise max_iter"
            )

    def _restore(self, state: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.steps, self.converged = int(state["steps"]), bool(state["converged"])
        self.learning_rate, self.problem.size = float(state["learning_rate"]), float(state["size"])
        self.gradient = math.nan if state["gradient"] is None else float(state["gradient"])
        self.batches.rng.bit_generator.state = state["batches"]
        self.losses, self.before = arrays["losses"].astype(np.float64).tolist(), float(state["seconds"])
        if len(self.losses) != self.steps + self.converged:  # a step that finds the minimum is not taken
            raise ValueError(f"{len(self.losses)} losses of {self.steps} steps")
        unpack(arrays, self._tensors())
        for n, p in enumerate(self.parameters):
            begin = f"optimizer.{n}."
            held = {key.removeprefix(begin): torch.as_tensor(a) for key, a in arrays.items() if key.startswith(begin)}
            # a count of steps stays on the processor, as torch keeps it
            self.engine.state[p] = {k: t.clone() if t.ndim == 0 else t.to(p) for k, t in held.items()}
        for name, random in self._streams().items():
            found = [torch.empty_like(state) for state in random.state]
            unpack(arrays, {f"random.{name}.{n}": state for n, state in enumerate(found)})
            random.state = found
