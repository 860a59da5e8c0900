"""What is trained and how: the options of `train`, checked, and their call strings bound."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_ssl import spec
from spectral_ssl.data import as_dataset
from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import feature_map
from spectral_ssl.methods.base import Method, QuadraticMethod
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Model, Spectra
from spectral_ssl.training.encoders import Encoder, Free, Linear
from spectral_ssl.training.networks import ENCODERS, Network, Randomness, check_parts
from spectral_ssl.training.optimizers import OPTIMIZERS, SCHEDULES, SEARCHES
from spectral_ssl.training.problem import check_size
from spectral_ssl.training.result import Step

__all__ = ["Plan", "check_callbacks", "check_path", "set_up"]

DTYPES: dict[str | None, torch.dtype | None] = {
    None: None,
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.float32,  # of the parameters
}


def check_callbacks(callbacks: Any) -> tuple[Callable[[Step], None], ...]:
    """Callbacks as a tuple. Raises DataError for anything but a list of functions."""
    if not isinstance(callbacks, list | tuple) or not all(map(callable, callbacks)):
        raise DataError(f"callbacks must be a list of functions of a Step, as callbacks=[monitor], got {callbacks!r}")
    return tuple(callbacks)


def check_path(checkpoint: Any) -> None:
    if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
        raise DataError(f"checkpoint must be the path of a directory, got {checkpoint!r}")


@dataclass(frozen=True)
class Plan:
    """How: an optimizer by name with its options, and what its steps see."""

    name: str
    options: dict[str, Any]
    learning_rate: float | None
    schedule: str
    batch_size: int | None
    debias: bool
    batch_loss: Callable[..., torch.Tensor] | None
    chunk_size: int | None
    dtype: str | None
    checkpoint: str | Path | None
    max_iter: int
    tol: float

    @property
    def searches(self) -> bool:
        return self.name in SEARCHES

    @property
    def constant(self) -> bool:
        """Whether the schedule is the same for any number of steps."""
        return spec.parse_call(self.schedule)[0] != "cosine"

    def engine(self, parameters: list[torch.Tensor], learning_rate: float) -> torch.optim.Optimizer:
        return spec.bind(OPTIMIZERS, self.name, self.options, kind="optimizer")(parameters, learning_rate)

    @functools.cached_property
    def _schedule(self) -> Callable[[int, int], float]:
        return spec.bind(SCHEDULES, *spec.parse_call(self.schedule), kind="schedule")

    def factor(self, step: int) -> float:
        """Of the learning rate."""
        return self._schedule(step, self.max_iter)

    @classmethod
    def of(cls, optimizer: str, **options: Any) -> Plan:
        """Raises DataError for options out of range or that do not belong together."""
        if not isinstance(optimizer, str):
            raise DataError(f"optimizer must be text such as 'adam' or 'sgd(momentum=0.9)', got {optimizer!r}")
        plan = cls(*spec.parse_call(optimizer), **options)
        plan.engine([torch.zeros(1, requires_grad=True)], 1.0)  # its options, checked
        if not isinstance(plan.schedule, str):
            raise DataError(f"schedule must be text such as 'cosine(warmup=0.1)', got {plan.schedule!r}")
        plan._check_numbers()
        plan.factor(0)
        if plan.searches:
            plan._check_search()
        if plan.batch_size is None:
            for name, given in (("debias=True", plan.debias), ("batch_loss=", plan.batch_loss is not None)):
                if given:
                    raise DataError(f"{name} is about batches of pairs: give batch_size=")
        if plan.batch_loss is not None and not callable(plan.batch_loss):
            raise DataError(f"batch_loss must be a function (za, zb) -> scalar tensor, got {plan.batch_loss!r}")
        if plan.debias and plan.batch_size is not None and (plan.batch_size < 4 or plan.batch_size % 2):
            raise DataError(
                f"debias=True compares two halves of a batch, 2 pairs or more in each: batch_size={plan.batch_size} "
                "must be even and at least 4"
            )
        return plan

    def _check_numbers(self) -> None:
        check_int(self.max_iter, "max_iter", low=1)
        check_real(self.tol, "tol", low=0, open_low=True)
        if self.learning_rate is not None:
            check_real(self.learning_rate, "learning_rate", low=0, open_low=True)
        if self.batch_size is not None:
            check_int(self.batch_size, "batch_size, in pairs (None: the whole relation),", low=2)
        if self.chunk_size is not None:
            check_int(self.chunk_size, "chunk_size", low=1)
        check_path(self.checkpoint)
        if self.dtype not in DTYPES:
            raise DataError(f"dtype={self.dtype!r} is not known; choose 'float64', 'float32' or 'bfloat16'")

    def _check_search(self) -> None:
        if (self.name == "gd") != (self.learning_rate is not None):
            raise DataError("learning_rate belongs to optimizer='gd', which needs one; 'lbfgs' sets its own step")
        steps = "optimizer='adam', 'sgd' or 'lars'"
        if self.batch_size is not None:
            raise DataError(
                f"{self.name} minimises the loss of the whole relation, and batches have another at every step; leave "
                f"batch_size out, or take {steps}"
            )
        if self.checkpoint is not None:
            raise DataError(f"checkpoint= goes with {steps}; {self.name} begins anew")
        if spec.parse_call(self.schedule)[0] != "constant":
            raise DataError(f"schedule={self.schedule!r} goes with {steps}; {self.name} has none")
        if self.dtype not in (None, "float64"):
            raise DataError(f"{self.name} works to the rounding of float64; dtype={self.dtype!r} goes with {steps}")


def set_up(
    method: Method,
    relation: Graph | Spectra,
    K: int,
    *,
    X: Any,
    model: Model | None,
    kernel: Any,
    ridge: float,
    encoder: Any,
    plan: Plan,
    precondition: bool,
    init_scale: float | None,
    device: torch.device,
    seed: int,
) -> tuple[Method, Graph, Encoder, dict[str, Any]]:
    """The method resolved, the graph, the encoder, and what was given, for the record."""
    make, words = None, type(encoder).__name__
    if not isinstance(encoder, torch.nn.Module):
        if not isinstance(encoder, str):
            raise DataError(f"encoder must be text such as 'mlp(width=256)', or a torch module, got {encoder!r}")
        name, options = spec.parse_call(encoder)
        words = spec.format_call(name, options)
        make = spec.bind(ENCODERS, name, options, kind="encoder")
        if name == "linear":
            return _matrix(method, relation, K, X, model, kernel, ridge, plan, precondition, device)
    _check_network(method, relation, X, model, kernel, ridge, init_scale)
    if method.hyper.get("invariance", 0.0) is None:  # resolved on linear maps
        relation = as_spectra(relation, X, model=model, kernel=kernel)
        method = method.resolve(relation.of(method.pencil, K), K)
    if isinstance(relation, Spectra):
        graph, rows, features = relation.graph, relation.X, relation.features
        if graph is None or rows is None:
            raise DataError("an encoder needs a relation and the rows of X; pass the graph and X=")
    else:
        graph, rows = relation, np.asarray(as_dataset(X, name="X").X)
        check_rows(rows, graph)
        kernel = "exact" if kernel is None and model == "kernel" else kernel
        features = None if kernel is None else feature_map(kernel, rows)
        rows = rows if features is None else features(rows)
    check_size(K, graph, None)
    random = Randomness(seed, device)
    if make is not None:
        with random():
            encoder = make(rows, K)
    dtype = DTYPES[plan.dtype]
    if dtype is None and (make is not None or plan.searches):  # a user's module keeps its own for steps
        dtype = torch.float64
    network = Network(
        encoder,
        method,
        rows,
        features,
        K,
        device=device,
        dtype=dtype,
        autocast=torch.bfloat16 if plan.dtype == "bfloat16" else None,
        random=random,
    )
    check_parts(network, search=plan.searches, chunk=plan.chunk_size)
    return method, graph, network, {"X": rows, "encoder": words}


def _matrix(
    method: Method,
    relation: Graph | Spectra,
    K: int,
    X: Any,
    model: Model | None,
    kernel: Any,
    ridge: float,
    plan: Plan,
    precondition: bool,
    device: torch.device,
) -> tuple[Method, Graph, Encoder, dict[str, Any]]:
    """Free embeddings, or linear maps of X or of a kernel's features."""
    spectra = as_spectra(relation, X, model=model, kernel=kernel, ridge=ridge)
    if spectra.graph is None or (spectra.model != "free" and spectra.X is None):
        raise DataError("training evaluates the loss on the full graph: build Spectra from a graph, not from moments")
    if spectra.ridge and (not isinstance(method, QuadraticMethod) or plan.batch_loss is not None):
        raise DataError(
            "a ridge adds to the energy tr(Z'LZ), which this loss does not have; set ridge=0, or bound its weights"
        )
    if plan.dtype == "bfloat16":
        raise DataError("dtype='bfloat16' is how networks compute; free embeddings and linear maps take 'float32'")
    check_size(K, spectra.graph, spectra.X)
    if method.hyper.get("invariance", 0.0) is None:
        method = method.resolve(spectra.of(method.pencil, K), K)
    kind = {"dtype": DTYPES[plan.dtype] or torch.float64, "device": device}
    made: Encoder
    if spectra.X is None:
        made = Free(method, spectra.graph, K, precondition, kind)
    else:
        made = Linear(method, spectra, K, precondition, kind)
    return method, spectra.graph, made, {"X": spectra.X, "encoder": spectra.model, "ridge": spectra.ridge}


def _check_network(
    method: Method,
    relation: Graph | Spectra,
    X: Any,
    model: Model | None,
    kernel: Any,
    ridge: float,
    init_scale: float | None,
) -> None:
    if isinstance(relation, Spectra):
        ridge = ridge or relation.ridge
        if X is not None or kernel is not None:
            raise DataError("the Spectra given already fix X and kernel; leave them out, or pass the graph")
    elif not isinstance(relation, Graph):
        as_spectra(relation)  # says what is wrong
    elif X is None:
        raise DataError("an encoder maps data: pass X= (all embeddings, without data, have encoder='linear')")
    if model in ("free", "linear"):
        raise DataError(f"model={model!r} is a class of its own; leave it out where an encoder is given")
    if ridge:
        raise DataError(
            "a ridge penalises linear maps; for a network use weight decay, as in 'adam(weight_decay=1e-4)'"
        )
    if init_scale is not None:
        raise DataError("init_scale= is for free embeddings and linear maps; a network brings its own parameters")
    ones = torch.ones(2, 1)
    if not torch.equal(method.constrain(ones), ones):
        raise DataError(
            "this loss bounds the weights of a linear map (similarity='dot'), which a network does not have; take the "
            "cosine"
        )


def check_rows(X: Any, graph: Graph) -> None:
    if len(X) != graph.n_samples:
        raise DataError(f"X has {len(X)} rows, but the relation is over {graph.n_samples} samples")
