"""`train`: options checked, a problem set up, an optimizer run, a result returned."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_ssl import spec
from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import Method
from spectral_ssl.solve import check_method
from spectral_ssl.spectrum import Model, Spectra
from spectral_ssl.training.checkpoint import Checkpoint, digest
from spectral_ssl.training.fingerprint import name_of, structure
from spectral_ssl.training.plan import Plan, check_callbacks, set_up
from spectral_ssl.training.problem import Problem, find_device
from spectral_ssl.training.result import Step, TrainResult
from spectral_ssl.training.search import Search
from spectral_ssl.training.stochastic import Batches, Descent, default_rate

__all__ = ["train"]


def train(
    method: Method,
    graph: Graph | Spectra,
    n_components: int,
    *,
    X: Any = None,
    model: Model | None = None,
    kernel: Any = None,
    ridge: float = 0.0,
    encoder: str | torch.nn.Module = "linear",
    optimizer: str = "lbfgs",
    learning_rate: float | None = None,
    schedule: str = "constant",
    batch_size: int | None = None,
    debias: bool = False,
    batch_loss: Callable[..., torch.Tensor] | None = None,
    chunk_size: int | None = None,
    dtype: str | None = None,
    precondition: bool = True,
    device: str | None = None,
    seed: int = 0,
    max_iter: int = 3000,
    tol: float = 1e-9,
    init_scale: float | None = None,
    checkpoint: str | Path | None = None,
    callbacks: Sequence[Callable[[Step], None]] = (),
) -> TrainResult:
    """Minimise the loss of a method over Z (N, K), over maps of X (N, D), or over maps of a kernel's features.

    What is trained:
      X, model, kernel, ridge: the model class, as for `spectral_ssl.optimum`.
      encoder: of X: "linear"; "mlp(width=256, depth=2, activation=relu)" on standardised features; or a torch module
        (B, D) -> (B, K), of which a copy is trained and returned in `TrainResult.encoder`. Modules are trained in the
        modes they have, and embed in eval mode.
      precondition: free embeddings and linear maps in whitened coordinates; networks have none. init_scale: standard
        deviation of their initial B; None takes the best multiple of one random draw.

    How:
      optimizer: "lbfgs" (strong Wolfe line search) and "gd" (plain gradient descent, needs a learning_rate; its
        continuous limit is gradient flow) work on the whole relation in float64 and stop at the minimum. "adam", "sgd",
        "lars", with options such as "sgd(momentum=0.9)", take max_iter steps and return the last iterate.
      learning_rate: None takes `training.stochastic.default_rate`. schedule: its factor over the steps, "constant",
        "cosine(warmup=0.1)", "step(every=1000, factor=0.1)".
      batch_size: pairs of each step, drawn with probability A_ij / s, by which the loss of the whole relation is
        estimated (`Method.batch_terms`); None: the whole relation at every step. Squared moments of a batch are too
        large by O(1/B), so the minimum is another one; debias=True takes that off: exactly where the loss is quadratic
        in the moments, to O(1/B^2) elsewhere, at the price of noise.
      batch_loss: (za, zb) -> scalar, such as ss.losses.vicreg, minimised over the batches in place of the method's own
        loss; the method remains the judge of the result. Random numbers that it takes from torch are of the run's seed.
      chunk_size: rows embedded at once; a step's gradient is the same, from less memory.
      dtype: "float64" (None; a module keeps its own), "float32", or "bfloat16" (networks: computed so, parameters and
        loss in float32). device: None takes CUDA where there is one, else the CPU.
      max_iter: evaluations of the loss (a line search is then ended), or steps. tol: on the largest gradient entry over
        the whole relation.
      checkpoint: a directory to go on from after an interruption, on the CPU bit for bit as if there had been none. It
        must be of the same run; a module's weights, frozen ones too, are those saved. A module and a batch_loss are
        known by their code and what they hold; a batch_loss must keep no state. More steps can be asked for, but of a
        cosine.
      callbacks: each is called with a `Step` after every step, or between chunks of L-BFGS iterations; one may raise
        to stop training.

    `TrainResult.loss` is the method's loss over the whole relation in float64, whatever was trained on.

    Raises DataError for options out of range or that do not belong together, and for modules that do not map (B, D) to
    (B, K); NumericalError where loss or gradient turns NaN or infinite.
    """
    started = time.perf_counter()
    check_method(method)
    plan = Plan.of(
        optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        batch_size=batch_size,
        debias=debias,
        batch_loss=batch_loss,
        chunk_size=chunk_size,
        dtype=dtype,
        checkpoint=checkpoint,
        max_iter=max_iter,
        tol=tol,
    )
    if plan.searches and (why := method.unsearchable):
        raise DataError(why)
    callbacks = check_callbacks(callbacks)
    check_int(seed, "seed", low=0)
    if init_scale is not None:
        check_real(init_scale, "init_scale", low=0, open_low=True)
    on = find_device(device)
    try:
        method, relation, maker, given = set_up(
            method,
            graph,
            n_components,
            X=X,
            model=model,
            kernel=kernel,
            ridge=ridge,
            encoder=encoder,
            plan=plan,
            precondition=precondition,
            init_scale=init_scale,
            device=on,
            seed=seed,
        )
        if batch_size is not None and method.full_rank and 2 * batch_size <= n_components:
            raise DataError(
                f"batches of {batch_size} pairs have no {n_components} independent columns, without which this loss is "
                f"infinite; take a batch_size of several times {n_components}"
            )
        problem = Problem(
            method,
            relation,
            maker,
            n_components,
            batch_loss=batch_loss,
            debias=debias,
            chunk=chunk_size,
            ridge=given.get("ridge", 0.0),
            seed=seed,
        )
        with problem.threads(batch_size):
            done: Search | Descent
            if plan.searches:
                problem.start(seed, init_scale)
                done = Search(problem, plan, callbacks)
            else:
                batches = Batches(problem, batch_size, seed)
                problem.start(seed, init_scale, batches.first)
                rate = default_rate(plan, problem, batches.first) if learning_rate is None else learning_rate
                held = None
                if checkpoint is not None:
                    asked = {"seed": seed, "precondition": precondition, "init_scale": init_scale, "device": on.type}
                    held = Checkpoint(checkpoint, _record(problem, plan, given, asked))
                done = Descent(problem, plan, batches, rate, callbacks, held)
            message = done.run()
            embedding, loss_terms = problem.finish()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceError(
            f"training does not fit the memory of {on}; pass device='cpu', a chunk_size, a smaller batch_size, or "
            "fewer samples"
        ) from error
    return TrainResult(
        embedding=embedding,
        loss=float(sum(loss_terms.values())),
        loss_terms=loss_terms,
        losses=np.asarray(done.losses) + problem.constant,
        gradient_norm=done.gradient,
        converged=done.converged,
        message=message,
        seconds=done.before + time.perf_counter() - started,
        device=str(on),
        seed=seed,
        method=method,
        encoder=None if maker.network is None else maker.network.eval(),
        learning_rate=done.learning_rate,
    )


def _record(problem: Problem, plan: Plan, given: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """What decides the steps of a run, for its checkpoint."""
    return {
        "method": repr(problem.method),
        "n_components": int(problem.K),
        "relation": digest(problem.graph),
        "X": None if given["X"] is None else digest(given["X"]),
        "encoder": given["encoder"],
        "network": None if problem.encoder.network is None else structure(problem.encoder.network),
        "ridge": problem.ridge,
        "optimizer": spec.format_call(plan.name, plan.options),
        "learning_rate": plan.learning_rate,
        "schedule": plan.schedule,
        "batch_size": plan.batch_size,
        "debias": plan.debias,
        "batch_loss": name_of(plan.batch_loss),
        "chunk_size": plan.chunk_size,
        "dtype": plan.dtype,
        "tol": plan.tol,
        # some schedules stretch with the number of steps; with the others there can be more
        "max_iter": None if plan.constant else plan.max_iter,
        **asked,
    }
