"""One training repeated from several seeds: what is luck, and what is the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.data._checks import check_int
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.solve import as_spectra, check_method
from spectral_ssl.spectrum import Spectra
from spectral_ssl.training.minimise import train
from spectral_ssl.training.monitors import Monitor, check_same, gives_its_loss, relative_excess
from spectral_ssl.training.plan import check_callbacks, check_path
from spectral_ssl.training.result import Step, TrainResult

__all__ = ["SeedRuns", "train_seeds"]

SHARED = ("X", "model", "kernel", "ridge")  # the model class: factorised once for all seeds


@dataclass(frozen=True, eq=False)
class SeedRuns:
    """Runs that differ by their seed alone, in the order of the seeds.

    seeds (S,); runs (S,); monitors (S,) where they were asked for, else empty; optimum: what relative excess is
    measured against, or None; collapse: the loss at collapse.
    """

    seeds: tuple[int, ...]
    runs: tuple[TrainResult, ...]
    monitors: tuple[Monitor, ...]
    optimum: Optimum | None
    collapse: float

    @property
    def losses(self) -> Array:  # (S,)
        """The loss of each run, over the full graph in float64."""
        return np.array([run.loss for run in self.runs])

    @property
    def relative_excess(self) -> Array | None:  # (S,)
        """The relative excess of each run; None without an optimum."""
        if self.optimum is None:
            return None
        return np.array([relative_excess(run.loss, self.optimum.loss, self.collapse) for run in self.runs])

    @property
    def order(self) -> Any:  # (S,)
        """Positions of the runs from the lowest loss to the highest."""
        return np.argsort(self.losses, kind="stable")

    @property
    def best(self) -> TrainResult:
        """The run of lowest loss."""
        return self.runs[int(self.order[0])]

    @property
    def middle(self) -> int:
        """Position of the run of median loss, of the better one of two: what a single run would typically be."""
        return int(self.order[(len(self.runs) - 1) // 2])

    @property
    def spread(self) -> dict[str, dict[str, float]]:
        """min, median, max and interquartile range of the loss and, with an optimum, of the relative excess."""
        excess = self.relative_excess
        return {"loss": _spread(self.losses)} | ({} if excess is None else {"relative_excess": _spread(excess)})


def train_seeds(
    method: Method,
    graph: Graph | Spectra,
    n_components: int,
    *,
    seeds: Iterable[int] = range(5),
    best: Optimum | None = None,
    y: Any = None,
    source: Any = None,
    monitor: int = 0,
    checkpoint: str | Path | None = None,
    callbacks: Sequence[Callable[[Step], None]] = (),
    progress: Progress = SILENT,
    **options: Any,
) -> SeedRuns:
    """`train` from every seed, with the other options of `train`; one seed changes start and batches, nothing else.

    best: the optimum that relative excess is measured against. monitor: look at every run each so many steps, 0 not at
    all; best, y, source as for `Monitor`. checkpoint: each run keeps its own in a folder seed<n> of this one.
    callbacks: told of every run. A module passed as encoder= starts every run from the weights it has: those runs
    differ by their batches alone.

    Raises DataError without a seed, or with one twice, for a best of another method, dimension or model class where
    that can be told, and what `train` raises.
    """
    if "seed" in options:
        raise DataError("train_seeds takes seeds=, such as seeds=[3]; leave seed= out")
    chosen = tuple(seeds) if isinstance(seeds, Iterable) else ()
    if not chosen or len(set(chosen)) < len(chosen):
        raise DataError(f"seeds must be different whole numbers, at least one, such as range(5), got {seeds!r}")
    chosen = tuple(check_int(seed, "a seed", low=0) for seed in chosen)
    check_int(monitor, "monitor", low=0)
    callbacks = check_callbacks(callbacks)
    check_path(checkpoint)
    if best is not None:
        check_method(method)
        check_same(method, best)
    shared = {key: options.pop(key) for key in SHARED if key in options}
    spectra = as_spectra(graph, **shared)
    assert spectra.graph is not None
    if best is not None:
        _check_best(best, spectra, n_components, maps=options.get("encoder", "linear") == "linear")
    runs: list[TrainResult] = []
    monitors: list[Monitor] = []
    with progress.task(f"train from {len(chosen)} seeds, K = {n_components}", total=len(chosen)) as task:
        for seed in chosen:
            watch = []
            if monitor:
                watched = (
                    best.method
                    if best is not None
                    else runs[0].method
                    if runs
                    else _resolved(method, spectra, n_components)
                )
                watch = [Monitor(spectra.graph, method=watched, best=best, y=y, source=source, every=monitor)]
            kept: dict[str, Any] = {} if checkpoint is None else {"checkpoint": Path(checkpoint) / f"seed{seed}"}
            run = train(method, spectra, n_components, seed=seed, callbacks=(*callbacks, *watch), **options, **kept)
            runs.append(run)
            monitors += watch
            task.advance(text=f"seed {seed}: loss {run.loss:.6g}")
    return SeedRuns(
        chosen, tuple(runs), tuple(monitors), best, runs[0].method.collapse_loss(spectra.graph, n_components)
    )


def _check_best(best: Optimum, spectra: Spectra, K: int, *, maps: bool) -> None:
    """Raise DataError where `best` cannot be what training leads to. maps: not of a network."""
    Z, W = best.embedding.Z, best.embedding.W
    assert spectra.graph is not None
    wrong = ""
    if Z.shape != (spectra.graph.n_samples, K):
        wrong = f"is an embedding {Z.shape}, and those trained are {(spectra.graph.n_samples, K)}"
    elif maps and W is not None and spectra.X is None:
        wrong = "is of maps of data, and all embeddings are trained"
    elif maps and W is not None and spectra.X is not None and spectra.X.shape[1] != len(W):
        wrong = f"is of maps of {len(W)} features, and {spectra.X.shape[1]} are trained on"
    elif (
        W is not None
        and not spectra.ridge
        and best.kind in ("exact", "certified")
        and not gives_its_loss(best, spectra.graph)
    ):
        wrong = "has a ridge, or is of another relation"
    if wrong:
        raise DataError(f"best {wrong}; pass the optimum of this relation, model and n_components")


def _resolved(method: Method, spectra: Spectra, K: int) -> Method:
    """The method as `train` will resolve it."""
    if None not in method.hyper.values():
        return method
    return method.resolve(spectra.of(method.pencil, K), K)


def _spread(values: Array) -> dict[str, float]:
    low, first, middle, third, high = np.percentile(values, [0, 25, 50, 75, 100])
    return {"min": float(low), "median": float(middle), "max": float(high), "iqr": float(third - first)}
