"""Full-batch gradient descent of over-parametrised ReLU encoders on fixed contrastive tuples, and what is seen of it.

    f(x) = B relu(W_L ... relu(W_1 relu(A x)))        A (m, D) ~ N(0, 2/m), W_l (m, m) ~ N(0, 2/m), B (d, m) ~ N(0, 1/d)

A and B are frozen, the W_l trained. Everything is float64. The gradient of one margin by W_l is a sum over the three
rows it is made of, of outer products e_s h_s': h the input of layer l at that row, e what backpropagation brings to its
output. With E_s and H_s (nN, m) these for all margins,

    JJ' = sum_l sum_{s,t} (E_s E_t') o (H_s H_t')          o: entry by entry; s, t: anchor, positive, negative

so that the Jacobian (nN, L m^2) is never formed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from spectral_ssl import linalg
from spectral_ssl.data._checks import as_matrix, check_int, check_real
from spectral_ssl.errors import DataError, NumericalError
from spectral_ssl.theory.convergence import DescentTrace, MarginLoss, rounding
from spectral_ssl.theory.tuples import Tuples
from spectral_ssl.training.checkpoint import Checkpoint, digest
from spectral_ssl.training.stochastic import SAVE_SECONDS, held_interrupts

__all__ = ["Descended", "DescentSetup", "MarginProblem", "descend", "run_identity"]

Array = np.ndarray[Any, Any]

POWER_STEPS = 40  # of the power iteration for the curvature at the start: 1 % of it is plenty
SAFETY = 0.5  # of 1/beta: the curvature may double before a step is halved
HALVINGS = 3  # of the rate, at most: at a kink of the ReLUs no step is short enough, and ever shorter ones stay there
PATIENCE = 4  # steps at one rate after which a halved one is doubled again, up to the first
KERNEL_MARGINS = 1500  # most margins of a kernel: three times as many rows, squared, in float64 take 160 MB
TENSOR: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}


@dataclass(frozen=True)
class DescentSetup:
    """An encoder and the loss of its margins.

    width m, depth L (trained layers), n_outputs d. loss: "logistic", or "squared" with its target. unit: outputs of
    length 1. temperature: margins are divided by it. output_scale: a factor of B; small ones are dead starts.
    """

    width: int
    depth: int = 2
    n_outputs: int = 8
    loss: MarginLoss = "logistic"
    unit: bool = False
    temperature: float = 1.0
    target: float = 1.0
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, low in (("width", 1), ("depth", 1), ("n_outputs", 1)):
            check_int(getattr(self, name), name, low=low)
        for name in ("temperature", "target", "output_scale"):
            check_real(getattr(self, name), name, low=0, open_low=True)
        if self.loss not in ("logistic", "squared"):
            raise DataError(f"loss must be logistic or squared, got {self.loss!r}")
        if self.unit and self.output_scale != 1:
            raise DataError("unit outputs have no scale; leave output_scale out")
        if self.unit and self.loss == "squared" and self.target >= 2 / self.temperature:
            raise DataError(
                f"margins of unit outputs stay below 2/temperature = {2 / self.temperature:g}, lower the target "
                f"of {self.target:g}"
            )


class MarginProblem:
    """The loss over fixed tuples as a function of the trained weights; `weights` are those now."""

    def __init__(self, tuples: Tuples, setup: DescentSetup, seed: int = 0) -> None:
        self.tuples, self.setup = tuples, setup
        rng = np.random.default_rng((seed, setup.width))
        m, d, D = setup.width, setup.n_outputs, tuples.X.shape[1]

        def normal(rows: int, columns: int, variance: float) -> torch.Tensor:
            return torch.as_tensor(rng.standard_normal((rows, columns)) * math.sqrt(variance), **TENSOR)

        self.A = normal(m, D, 2 / m)
        self.B = normal(d, m, 1 / d) * setup.output_scale
        self.weights = [normal(m, m, 2 / m).requires_grad_() for _ in range(setup.depth)]
        self.h0 = torch.relu(torch.tensor(tuples.X, **TENSOR) @ self.A.T)  # (P, m): frozen
        if setup.unit:
            with torch.no_grad():
                none = int(torch.count_nonzero(~self._raw(self.h0).any(dim=1)))
            if none:
                raise DataError(
                    f"{none} of {len(tuples.X)} outputs are 0 at the start and have no direction; take a width above "
                    f"{m}, or another seed"
                )
        self.a, self.p, self.q = (torch.tensor(v) for v in (tuples.anchors, tuples.positives, tuples.negatives))

    def outputs(self, h: torch.Tensor) -> torch.Tensor:
        """f (P, d) from the first layer's h (P, m)."""
        f = self._raw(h)
        if self.setup.unit:
            f = f / torch.linalg.vector_norm(f, dim=1, keepdim=True).clamp_min(1e-300)
        return f

    def _raw(self, h: torch.Tensor) -> torch.Tensor:
        """Outputs before they are brought to length 1."""
        for W in self.weights:
            h = torch.relu(h @ W.T)
        return h @ self.B.T

    def embed(self, X: Any) -> Array:
        """f of any unit rows (P, D)."""
        X = torch.tensor(as_matrix(X, "X"), **TENSOR)
        with torch.no_grad():
            found: Array = self.outputs(torch.relu(X @ self.A.T)).numpy()
        return found

    def margins(self) -> torch.Tensor:
        """v (n, N)."""
        f = self.outputs(self.h0)
        return (f[self.a][:, None, :] * (f[self.p][:, None, :] - f[self.q])).sum(dim=2) / self.setup.temperature

    def tuple_losses(self) -> torch.Tensor:
        """l (n,)."""
        v = self.margins()
        if self.setup.loss == "squared":
            return (v - self.setup.target).square().mean(dim=1) / 2
        top = torch.clamp(-v.min(dim=1).values, min=0.0).detach()  # the greatest exponent, or 0
        rest = torch.exp(-v - top[:, None]).sum(dim=1)
        # ln(1 + s) keeps its digits where all margins are large: log1p, and no 1 that swallows them
        return torch.where(top > 0, top + torch.log(torch.exp(-top) + rest), torch.log1p(rest))

    def evaluate(self) -> tuple[Array, list[torch.Tensor]]:
        """l (n,) and the gradient of its mean by every W_l."""
        losses = self.tuple_losses()
        gradient = torch.autograd.grad(losses.mean(), self.weights)
        return losses.detach().numpy(), list(gradient)

    def kernel(self) -> Array:
        """JJ' (nN, nN), margins in the order of `negatives.ravel()`."""
        with torch.no_grad():
            hs = [self.h0]
            for W in self.weights:
                hs.append(torch.relu(hs[-1] @ W.T))
            g = hs[-1] @ self.B.T
            size = torch.linalg.vector_norm(g, dim=1, keepdim=True).clamp_min(1e-300)
            f = g / size if self.setup.unit else g
            N = self.tuples.n_negatives
            rows = torch.stack([self.a.repeat_interleave(N), self.p.repeat_interleave(N), self.q.reshape(-1)])
            at = [f[r] for r in rows]
            u = torch.stack([at[1] - at[2], at[0], -at[0]]) / self.setup.temperature  # dv/df, (3, nN, d)
            if self.setup.unit:  # df/dg = (I - ff') / |g|
                u = (u - f[rows] * (u * f[rows]).sum(dim=2, keepdim=True)) / size[rows]
            R = rows.shape[1]
            flat = rows.reshape(-1)
            E = u.reshape(3 * R, -1) @ self.B
            total = torch.zeros(R, R, **TENSOR)
            for W, below, above in zip(self.weights[::-1], hs[-2::-1], hs[:0:-1], strict=True):
                E = E * (above[flat] > 0)
                H = below[flat]
                total += ((E @ E.T) * (H @ H.T)).reshape(3, R, 3, R).sum(dim=(0, 2))
                E = E @ W
        found: Array = total.numpy()
        return found

    def curvature(self, seed: int = 0) -> float:
        """The greatest |eigenvalue| of the Hessian at the weights, by power iteration."""
        rng = np.random.default_rng(seed)
        u = [torch.as_tensor(rng.standard_normal(tuple(W.shape)), **TENSOR) for W in self.weights]
        size = _norm(u)
        for _ in range(POWER_STEPS):
            u = [part / size for part in u]
            gradient = torch.autograd.grad(self.tuple_losses().mean(), self.weights, create_graph=True)
            along = torch.stack([(g * part).sum() for g, part in zip(gradient, u, strict=True)]).sum()
            u = list(torch.autograd.grad(along, self.weights))
            size = _norm(u)
            if not (math.isfinite(size) and size > 0):
                raise NumericalError(
                    f"the loss has curvature {size} at the start, which sets no learning rate; give learning_rate"
                )
        return size


@dataclass(frozen=True, eq=False)
class Descended:
    """A run: its trace, the problem with its last weights, and how it ended, in words."""

    trace: DescentTrace
    problem: MarginProblem
    message: str
    seconds: float


def run_identity(
    tuples: Tuples, setup: DescentSetup, *, steps: int, learning_rate: float | None, looks: int, seed: int
) -> dict[str, Any]:
    """What decides the steps of a run, as JSON: a checkpoint of another run is refused by it."""
    return {
        **asdict(setup),
        "tuples": digest(tuples.X, tuples.anchors, tuples.positives, tuples.negatives),
        "steps": steps,
        "learning_rate": learning_rate,
        "looks": looks,
        "seed": seed,
    }


def descend(
    tuples: Tuples,
    setup: DescentSetup,
    *,
    steps: int = 1500,
    learning_rate: float | None = None,
    looks: int = 12,
    seed: int = 0,
    infimum: float = 0.0,
    kernel: bool = True,
    checkpoint: Checkpoint | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> Descended:
    """Gradient descent on all tuples at once.

    learning_rate: constant; None: half of 1/beta, beta the curvature at the start, halved where a step would not lower
    the loss by eta |grad|^2 / 2, down to an eighth, and doubled again later. looks: at so many steps, evenly on a log
    scale, the motion of weights is measured and, with `kernel` and up to 1,500 margins, JJ'. infimum: of the loss; a
    run stops early where rounding hides what is left above it.
    checkpoint: of `run_identity`; saved now and then and on Ctrl-C, and gone on from, bit for bit. watch: called with
    the step and its loss.
    """
    check_int(steps, "steps", low=1)
    check_int(looks, "looks", low=2)
    if learning_rate is not None:
        check_real(learning_rate, "learning_rate", low=0, open_low=True)
    most = KERNEL_MARGINS if kernel else 0
    run = _Run(tuples, setup, steps, learning_rate, looks, seed, infimum, most, checkpoint)
    began = time.perf_counter()
    run.go(watch)
    return Descended(run.trace(), run.problem, run.message, run.before + time.perf_counter() - began)


class _Run:
    """A run in progress. `state` lists are of the steps 0 .. t; the weights are those of step t."""

    def __init__(
        self,
        tuples: Tuples,
        setup: DescentSetup,
        steps: int,
        learning_rate: float | None,
        looks: int,
        seed: int,
        infimum: float,
        kernel_margins: int,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.tuples, self.setup, self.steps, self.infimum, self.checkpoint = tuples, setup, steps, infimum, checkpoint
        self.kernel_margins = kernel_margins
        self.problem = MarginProblem(tuples, setup, seed)
        self.start = [W.detach().clone() for W in self.problem.weights]
        self.adapts = learning_rate is None
        self.schedule = {0, steps, *np.unique(np.round(np.geomspace(1, steps, looks - 1)).astype(int)).tolist()}
        self.series: dict[str, list[float]] = {name: [] for name in SERIES}
        self.message, self.before, self.done = "", 0.0, False
        found = None if checkpoint is None else checkpoint.load()
        if found is None:
            self.first = self.rate = SAFETY / self.problem.curvature(seed) if learning_rate is None else learning_rate
            self._measure()
        else:
            self._resume(*found)
        self.saved = time.perf_counter()

    @property
    def t(self) -> int:
        return len(self.series["rates"])

    def go(self, watch: Callable[[int, float], None] | None) -> None:
        began, whole = time.perf_counter(), True
        try:
            with held_interrupts() as let:
                while self.t < self.steps and not self.done:
                    whole = False  # a step half done is not for a checkpoint
                    self._step()
                    whole = True
                    let()
                    if watch is not None:
                        watch(self.t, self.series["losses"][-1])
                    if time.perf_counter() - self.saved > SAVE_SECONDS:
                        self._save(began)
        except BaseException:
            if whole:
                self._save(began)
            raise
        self._save(began)

    def _measure(self) -> None:
        """The loss and gradient at the weights of step t, and a look where one is due."""
        losses, self.gradient = self.problem.evaluate()
        value = float(losses.mean())
        self._check(value)
        self._note(losses, value)

    def _note(self, losses: Array, value: float) -> None:
        for name, found in (
            ("losses", value),
            ("squared_gradients", _norm(self.gradient) ** 2),
            ("largest_losses", float(losses.max())),
            ("mean_q", float(-np.expm1(-losses).mean())),
        ):
            self.series[name].append(found)
        if self.t in self.schedule:
            self._look()

    def _look(self) -> None:
        least = greatest = math.nan
        if self.tuples.n * self.tuples.n_negatives <= self.kernel_margins:
            values, _ = linalg.eigh(self.problem.kernel())
            least, greatest = float(values[0]), float(values[-1])
        moved = _norm([W.detach() - W0 for W, W0 in zip(self.problem.weights, self.start, strict=True)])
        for name, found in (
            ("looks", float(self.t)), ("kernel_least", least), ("kernel_greatest", greatest), ("motion", moved)
        ):  # fmt: skip
            self.series[name].append(found)

    def _step(self) -> None:
        """One step, halved as often as the decrease by half of eta |grad|^2 asks, where the rate is ours to choose."""
        last = self.series["rates"][-PATIENCE:]
        if self.adapts and len(last) == PATIENCE and self.rate < self.first and min(last) == self.rate:
            self.rate *= 2  # a kink of the ReLUs is passed; the curvature elsewhere is another
        value, size = self.series["losses"][-1], self.series["squared_gradients"][-1]
        slack = float(rounding(self.setup.loss, value))
        held = [W.detach().clone() for W in self.problem.weights]
        while True:
            with torch.no_grad():
                for W, W0, g in zip(self.problem.weights, held, self.gradient, strict=True):
                    W.copy_(W0 - self.rate * g)
            losses, gradient = self.problem.evaluate()
            found = float(losses.mean())
            enough = value - found + slack >= self.rate * size / 2
            if enough or not self.adapts or self.rate <= self.first / 2**HALVINGS:
                break
            self.rate /= 2
        self._check(found)
        self.gradient = gradient
        self.series["rates"].append(self.rate)
        self._note(losses, found)
        trace = self.trace()
        if trace.excess[-1] <= trace.resolution or self.series["squared_gradients"][-1] == 0:
            self.done = True
            self.message = f"nothing above rounding is left after {self.t} steps"
            if self.t not in self.schedule:
                self._look()
        elif self.t == self.steps:
            self.message = f"ran {self.steps} steps"

    def _check(self, value: float) -> None:
        if not math.isfinite(value):
            raise NumericalError(
                f"the loss became NaN or infinite after {self.t} steps at learning rate {self.rate:.3g}; lower it, say "
                f"to {self.rate / 10:.1g}, or leave it out"
            )

    def trace(self) -> DescentTrace:
        arrays = {name: np.array(values) for name, values in self.series.items()}
        return DescentTrace(
            loss=self.setup.loss, n_tuples=self.tuples.n, n_negatives=self.tuples.n_negatives, infimum=self.infimum,
            start_norm=_norm(self.start), learning_rates=arrays.pop("rates"), looks=arrays.pop("looks").astype(int),
            **arrays,
        )  # fmt: skip

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def _save(self, began: float) -> None:
        if self.checkpoint is None:
            return
        arrays = {name: np.array(values) for name, values in self.series.items()}
        arrays |= {f"weight.{k}": W.detach().numpy().copy() for k, W in enumerate(self.problem.weights)}
        seconds = self.before + time.perf_counter() - began
        state = {"rate": self.rate, "first": self.first, "message": self.message, "done": self.done, "seconds": seconds}
        self.checkpoint.save(self.t, state, arrays)
        self.saved = time.perf_counter()

    def _resume(self, state: dict[str, Any], arrays: dict[str, Array]) -> None:
        try:
            self.rate, self.first, self.before = (float(state[key]) for key in ("rate", "first", "seconds"))
            self.message, self.done = str(state["message"]), bool(state["done"])
            self.series = {name: arrays[name].astype(np.float64).tolist() for name in SERIES}
            if len(self.series["losses"]) != self.t + 1:
                raise ValueError(f"{len(self.series['losses'])} losses of {self.t} steps")
            with torch.no_grad():
                for k, W in enumerate(self.problem.weights):
                    W.copy_(torch.as_tensor(arrays[f"weight.{k}"]))
        except (KeyError, ValueError, TypeError, RuntimeError) as error:  # written whole, but by something else
            raise DataError(f"the checkpoint is corrupted ({error!r}); delete it") from error
        _, self.gradient = self.problem.evaluate()  # the same numbers again


SERIES = (
    "losses", "squared_gradients", "largest_losses", "mean_q", "rates", "looks", "kernel_least", "kernel_greatest",
    "motion",
)  # fmt: skip


def _norm(tensors: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float(t.detach().square().sum()) for t in tensors))
