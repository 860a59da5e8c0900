"""How the rows of a comparison are trained: the options of a command, checked before anything else is computed."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import spec
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.methods import AlphaCL, Method
from spectral_ssl.training import find_device, train

__all__ = ["Recipe"]

LOOKS = 50  # of a monitor that nobody set: enough for a curve
TOY_BATCH = 64  # pairs of the step that only asks whether options are allowed: InfoNCE compares them all
VIEWS = np.arange(2 * TOY_BATCH) // 2
SEARCHES = ("lbfgs", "gd")  # optimizers that evaluate the whole loss and stop at its minimum


@dataclass(frozen=True)
class Recipe:
    """Options of `train` for every row of a comparison, and how often it is repeated and looked at.

    seeds: runs from seed, seed + 1, ... monitor: steps between looks; None looks at minibatch training `LOOKS` times,
    whose own losses are estimates, and at nothing else. checkpoint: a folder, with one inside for each row and seed.
    """

    encoder: str = "linear"
    optimizer: str = "lbfgs"
    batch_size: int | None = None
    learning_rate: float | None = None
    schedule: str = "constant"
    dtype: str | None = None
    max_iter: int = 3000
    seeds: int = 1
    monitor: int | None = None
    checkpoint: Path | None = None
    device: str | None = None

    @property
    def encodes(self) -> bool:
        """Whether Z is made by a network, and by no linear map of features."""
        return self.encoder != "linear"

    @property
    def searches(self) -> bool:
        """Whether every step sees the whole relation and training goes on to the minimum."""
        return self.batch_size is None and spec.parse_call(self.optimizer)[0] in SEARCHES

    @property
    def every(self) -> int:
        """Steps between looks, 0 for none."""
        if self.monitor is not None:
            return self.monitor
        return 0 if self.searches else max(1, self.max_iter // LOOKS)

    def options(self) -> dict[str, Any]:
        """What `train` is told beside method, data, seed and when to stop; defaults are left to it."""
        given = {
            name: getattr(self, name)
            for name in ("encoder", "optimizer", "batch_size", "learning_rate", "schedule", "dtype", "device")
        }
        return {name: value for name, value in given.items() if value != getattr(Recipe, name)}

    def words(self) -> list[str]:
        """What is not as usual, in words; empty for L-BFGS on a linear or free model, once."""
        told = [f"encoder {self.encoder}"] if self.encodes else []
        told += [f"trained by {self.optimizer}"] if self.optimizer != "lbfgs" else []
        told += [f"batches of {self.batch_size:,} pairs"] if self.batch_size is not None else []
        told += [f"learning rate {self.learning_rate:g}"] if self.learning_rate is not None else []
        told += [f"schedule {self.schedule}"] if self.schedule != "constant" else []
        told += [self.dtype] if self.dtype is not None else []
        told += [f"{self.seeds} seeds, the run of median loss is shown"] if self.seeds > 1 else []
        return told

    def check(self, methods: Sequence[Method], model: str, ridge: float = 0.0) -> None:
        """Raise DataError for what training would refuse, before a run directory is made.

        One step of each method on a few samples asks `train` itself: what it allows is written in one place. Where all
        is as usual there is nothing to ask.
        """
        if self.max_iter < 1:
            raise DataError(f"max_iter must be at least 1, got {self.max_iter}")
        if self.seeds < 1:
            raise DataError(f"seeds must be at least 1, got {self.seeds}; it is the number of runs")
        if self.monitor is not None and self.monitor < 0:
            raise DataError(f"monitor must be a number of steps, or 0 for no looks, got {self.monitor}")
        if self.encodes and model != "linear":
            raise DataError(
                f"encoder {self.encoder!r} is a model of its own, over the data as they are; leave --model out"
            )
        if self.encodes and ridge:
            raise DataError("a ridge penalises the weights of a linear or kernel map; for an encoder use weight decay")
        if self.checkpoint is not None and self.checkpoint.exists() and not self.checkpoint.is_dir():
            raise DataError(f"checkpoint={str(self.checkpoint)!r} is a file; name a folder")
        if self.device is not None:
            find_device(self.device)
        for method in methods:
            if self.searches and (why := method.unsearchable):
                raise DataError(why)
        if not self.options() and self.checkpoint is None:
            return
        options = self.options()
        if self.batch_size is not None:
            options["batch_size"] = min(self.batch_size, TOY_BATCH)
        for method in methods:
            with (
                tempfile.TemporaryDirectory() as folder,
                warnings.catch_warnings(),
                contextlib.suppress(NumericalError, NotClosedForm),  # of the toy alone
            ):
                warnings.simplefilter("ignore", SpectralWarning)
                # alpha-CL's relation is of two views, and a batch of different samples
                toy = Graph.from_groups(VIEWS if isinstance(method, AlphaCL) else [0, 0, 0, 0, 1, 1, 1, 1])
                X = None if model == "free" else np.random.default_rng(0).standard_normal((toy.n_samples, 3))
                kept: dict[str, Any] = {} if self.checkpoint is None else {"checkpoint": Path(folder) / "run"}
                train(method, toy, 2, X=X, max_iter=1, **options, **kept)
