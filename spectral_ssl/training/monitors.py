"""What training is watched by: measures of Z (N, K) while it moves towards the optimum.

    monitor = Monitor(graph, best=best, y=y, every=20)
    run = train(best.method, graph, K, X=X, callbacks=[monitor])
    monitor.rows()      # one dictionary per look
    monitor.arrays()    # the same by column, for npz

A monitor reads Z and changes nothing: the run is bit for bit the one without it. It times itself, so that the seconds
of its rows are those of training alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.comparison import effective_rank, principal_angles
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.linalg import svd
from spectral_ssl.solve import check_method

if TYPE_CHECKING:
    from spectral_ssl.methods.base import Method
    from spectral_ssl.training.result import Step

__all__ = ["MONITORS", "Measure", "Monitor", "knn_accuracy", "relative_excess", "spectrum_drift"]

N_NEIGHBORS = 5
KNN_ROWS = 2_000  # rows that are classified, against all others: a look must not cost more than the steps between
SAME_LOSS = 1e-6  # relative, of the losses and that at collapse: an optimum whose own Z is further off has a ridge


def relative_excess(trained: float, closed: float, collapse: float) -> float:
    """(trained - closed) / (loss at collapse - closed); divided by max(1, |closed|) where that is nearly zero."""
    span = collapse - closed
    if abs(span) <= 1e-9 * max(abs(closed), abs(collapse)):
        span = max(1.0, abs(closed))
    return (trained - closed) / span


def spectrum_drift(Z: Array, reference: Array) -> float:
    """| s / |s| - t / |t| |, s and t the singular values of Z and the reference, descending, the shorter padded by 0.

    0 where the spectra have one shape, at most sqrt 2; blind to rotation and to one scale. nan where one of the two is
    the zero matrix.
    """
    s, t = svd(Z)[1], svd(reference)[1]
    n = max(s.size, t.size)
    s, t = np.pad(s, (0, n - s.size)), np.pad(t, (0, n - t.size))
    size = float(np.linalg.norm(s)), float(np.linalg.norm(t))
    return float(np.linalg.norm(s / size[0] - t / size[1])) if min(size) > 0 else math.nan


def knn_accuracy(
    Z: Array,  # (N, K)
    codes: Any,  # (N,) class of each row, -1 where it is not known
    source: Any = None,  # (N,) what each row is a view of
    *,
    n_neighbors: int = N_NEIGHBORS,
    seed: int = 0,
) -> float:
    """Share of rows whose class is that of most of their nearest neighbours, themselves left out; ties to the first.

    Rows of the same source are left out with a row: another view of an original would give its class away. Of more than
    `KNN_ROWS` labelled rows, so many drawn with the seed are classified, against all. nan where no row can be: fewer
    than two labelled sources.
    """
    from sklearn.neighbors import NearestNeighbors

    known = np.flatnonzero(np.asarray(codes) >= 0)
    Z, codes = np.asarray(Z)[known], np.asarray(codes)[known]
    source = np.arange(known.size) if source is None else np.unique(np.asarray(source)[known], return_inverse=True)[1]
    alike = np.bincount(source, minlength=1)
    k = min(n_neighbors, known.size - int(alike.max()))
    if k < 1:
        return math.nan
    rows = np.arange(known.size)
    if rows.size > KNN_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, KNN_ROWS, replace=False))
    # the row itself and the rest of its source may all be among the nearest
    _, near = NearestNeighbors(n_neighbors=k + int(alike.max())).fit(Z).kneighbors(Z[rows])
    others = source[near] != source[rows, None]
    first = others & (np.cumsum(others, axis=1) <= k)
    votes = np.zeros((rows.size, int(codes.max()) + 1))
    np.add.at(votes, (np.nonzero(first)[0], codes[near[first]]), 1.0)
    return float(np.mean(np.argmax(votes, axis=1) == codes[rows]))


class Monitor:
    """A callback of `train` that looks at Z every few steps and, when its history is read, at Z as it is then: after
    training, the one returned.

    graph: the relation trained on. method: whose loss over the full graph is followed, with numbers for every
    hyper-parameter; by default the method of `best`. best: the optimum that excess, angle and drift are measured
    against. y: labels (N,) of the rows, for leave-one-out kNN accuracy (None, -1, "" or NaN: not known); source (N,):
    what each row is a view of. every: steps, or evaluations of the loss, between looks; at first they are closer, each
    at twice the step of the last. measures: of your own, name -> function(Z, monitor) -> float or None, beside
    `MONITORS`.

    What cannot be measured (no labels, no optimum, a subspace that is not unique) is absent from the rows. A measure
    that raises stops the training. One monitor follows one run.

    Raises DataError for arguments that do not fit the relation or each other.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        method: Method | None = None,
        best: Optimum | None = None,
        y: Any = None,
        source: Any = None,
        every: int = 10,
        measures: Mapping[str, Measure] | None = None,
    ) -> None:
        if not isinstance(graph, Graph):
            raise DataError(f"a Monitor needs the Graph that is trained on, got {type(graph).__name__}")
        if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
            raise DataError(f"every must be a whole number of steps, at least 1, got {every!r}")
        if best is not None and best.embedding.Z.shape[0] != graph.n_samples:
            raise DataError(
                f"best is an optimum of {best.embedding.Z.shape[0]} samples, and the relation has {graph.n_samples}; "
                "pass the optimum of this relation"
            )
        if method is not None and best is not None:
            check_same(method, best)
        method = method if method is not None or best is None else best.method
        if method is not None:
            check_method(method)
            missing = [name for name, value in method.hyper.items() if value is None]
            if missing:
                raise DataError(
                    f"{', '.join(missing)} of the method is left to the data, so its loss is not known yet; pass a "
                    "number, or method=best.method of its optimum"
                )
        taken = [name for name in measures or {} if name in MONITORS or name in ("step", "seconds")]
        if taken:
            raise DataError(f"{', '.join(taken)} is measured already; give your measure another name")
        self.graph, self.method, self.best, self.every = graph, method, best, int(every)
        self.codes = _codes(y, graph.n_samples)
        self.source = None if source is None else np.asarray(source)
        if self.source is not None and self.source.shape != (graph.n_samples,):
            raise DataError(f"source has shape {self.source.shape}, expected ({graph.n_samples},)")
        self.measures: dict[str, Measure] = {**MONITORS, **(measures or {})}
        self.seconds = 0.0  # spent looking
        self._rows: list[dict[str, float]] = []
        self._pending: Step | None = None
        self._told = -1
        self._known_loss: tuple[Array, float] | None = None
        self._attainable: float | None = None
        if best is not None and method is not None and gives_its_loss(best, graph):
            self._attainable = best.loss

    def __call__(self, step: Step) -> None:
        """Look, if it is time."""
        if step.evaluations <= self._told:
            raise DataError("a Monitor follows one run; make a new one for the next")
        self._told = step.evaluations
        last = self._rows[-1]["step"] if self._rows else 0
        if self._rows and step.evaluations < last + min(self.every, max(last, 1)):
            self._pending = step
        else:
            self._look(step)

    def __getstate__(self) -> dict[str, Any]:
        """Pickled with what it has seen, the last look taken; it follows its run no further."""
        rows = self.history
        return {**vars(self), "_rows": rows, "_pending": None}

    @property
    def history(self) -> list[dict[str, float]]:
        """A dictionary for each look: step, seconds, and the measures by name."""
        if self._pending is not None:
            self._look(self._pending)
        return self._rows

    def rows(self) -> list[dict[str, float]]:
        """A copy of `history`."""
        return [dict(row) for row in self.history]

    def arrays(self) -> dict[str, Array]:
        """`history` by column, (looks,) each; NaN where a look could not tell."""
        rows = self.history
        keys = dict.fromkeys(key for row in rows for key in row)
        return {key: np.array([row.get(key, math.nan) for row in rows], dtype=np.float64) for key in keys}

    def loss(self, Z: Array) -> float | None:
        """The loss of Z over the full graph in float64; None without a method."""
        if self.method is None:
            return None
        if self._known_loss is None or self._known_loss[0] is not Z:  # asked by several measures of one look
            self._known_loss = Z, float(self.method.loss(Z, self.graph))
        return self._known_loss[1]

    def excess(self, Z: Array) -> float | None:
        """Loss above that of the optimum; None where there is no optimum, or Z does not give its loss (a ridge)."""
        loss = self.loss(Z)
        return None if loss is None or self._attainable is None else loss - self._attainable

    def _look(self, step: Step) -> None:
        self._pending = None
        started = time.perf_counter()
        Z = np.asarray(step.embed(), dtype=np.float64)
        if self.best is not None and Z.shape[1] != self.best.embedding.n_components:
            raise DataError(
                f"best is an optimum in {self.best.embedding.n_components} dimensions, and the embedding trained has "
                f"{Z.shape[1]}; pass the optimum for n_components={Z.shape[1]}"
            )
        found = {name: measure(Z, self) for name, measure in self.measures.items()}
        row = {name: float(value) for name, value in found.items() if value is not None and not math.isnan(value)}
        self._rows.append({"step": step.evaluations, "seconds": step.seconds, **row})
        self._known_loss = None
        self.seconds += time.perf_counter() - started


Measure = Callable[[Array, Monitor], float | None]


def check_same(method: Method, best: Optimum) -> None:
    """Raise DataError unless `best` is an optimum of this method, whose hyper-parameters may be left to the data."""
    known = {name: value for name, value in method.hyper.items() if value is not None}
    of = best.method.hyper
    if type(method) is not type(best.method) or any(not _close(value, of.get(name)) for name, value in known.items()):
        raise DataError(f"best is an optimum of {best.method}, and the method is {method}; pass the optimum of that")


def gives_its_loss(best: Optimum, graph: Graph) -> bool:
    """Whether Z alone has the loss of the optimum: a ridge adds to it what only the map tells, and no excess is better
    than a wrong one."""
    own = float(best.method.loss(best.embedding.Z, graph))
    scale = max(abs(own), abs(best.loss), abs(best.method.collapse_loss(graph, best.embedding.n_components)))
    return abs(own - best.loss) <= SAME_LOSS * scale


def _close(a: Any, b: Any) -> bool:
    """The same, numbers but for rounding."""
    numbers = isinstance(a, float | int) and isinstance(b, float | int)
    return math.isclose(a, b, rel_tol=SAME_LOSS) if numbers else bool(a == b)


def _codes(y: Any, n_samples: int) -> Any:
    """Classes of labels as 0, 1, ..., -1 where not known; None without labels, or where they are numbers to regress."""
    if y is None:
        return None
    from spectral_ssl.data import Dataset

    labelled = Dataset(name="labels", X=np.zeros((n_samples, 1)), y=y)
    return labelled.class_codes if labelled.is_classification else None


def _loss(Z: Array, monitor: Monitor) -> float | None:
    return monitor.loss(Z)


def _excess(Z: Array, monitor: Monitor) -> float | None:
    return monitor.excess(Z)


def _effective_rank(Z: Array, monitor: Monitor) -> float:
    return effective_rank(Z)


def _relative_excess(Z: Array, monitor: Monitor) -> float | None:
    loss, best = monitor.loss(Z), monitor.best
    if loss is None or best is None or monitor.method is None or monitor.excess(Z) is None:
        return None
    return relative_excess(loss, best.loss, monitor.method.collapse_loss(monitor.graph, best.embedding.n_components))


def _max_angle(Z: Array, monitor: Monitor) -> float | None:
    best = monitor.best
    if best is None or best.rank == 0 or best.unique_up_to == "none":
        return None
    return float(principal_angles(Z, best.embedding).max())


def _spectrum_drift(Z: Array, monitor: Monitor) -> float | None:
    best = monitor.best
    return None if best is None or best.unique_up_to == "none" else spectrum_drift(Z, best.embedding.Z)


def _knn(Z: Array, monitor: Monitor) -> float | None:
    return None if monitor.codes is None else knn_accuracy(Z, monitor.codes, monitor.source)


MONITORS: dict[str, Measure] = {
    "loss": _loss,
    "excess": _excess,
    "relative_excess": _relative_excess,
    "effective_rank": _effective_rank,
    "max_angle": _max_angle,
    "spectrum_drift": _spectrum_drift,
    "knn": _knn,
}
