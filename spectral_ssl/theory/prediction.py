"""The score that a trained model's probe will reach, before anything is trained.

Training ends on the closed form (statements V1, S3, S7, B1 and the like), so a probe of the closed form is a probe of
the trained model; and what it scores on new rows is known from the training rows, by leave-one-out (`leave_one_out`).
No held-out row is read. Three settings:

all labels      leave-one-out over the labelled rows, the embedding as it is.
m labels        m labelled rows drawn at random fit the probe, the other labelled rows judge it; the mean over draws.
folds           for a relation made from the labels themselves: leaving a row out of the probe alone leaves its label in
                the embedding. Rows are left out in folds from relation, closed form and probe, and embedded by the map.

A relation that reads no labels can be trusted with leave-one-out: rows act on their own embedding through D x K weights
that all rows share.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl.comparison import linear_probe, linear_probe_score, scaled
from spectral_ssl.data import as_rows
from spectral_ssl.data._checks import as_labels, check_int, frozen, generator, missing_labels
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra, optimum
from spectral_ssl.spectrum import Model, Spectra
from spectral_ssl.theory.left_out import Probe, leave_one_out

__all__ = ["Prediction", "predicted_score"]

How = Literal["leave-one-out", "draws", "folds"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """A predicted probe score.

    score: accuracy, or R^2 for numbers. standard_error: over rows (leave-one-out, folds) or over draws of the labels.
    in_sample: what the probe scores on the rows it was fitted to, for comparison. per_row (n,): see `LeaveOneOut`, None
    for draws. n_labels: rows the probe is fitted to. how: "leave-one-out", "draws" or "folds". optimum: the closed form
    over all rows.
    """

    score: float
    standard_error: float
    in_sample: float
    per_row: Array | None
    n_labels: int
    how: How
    optimum: Optimum


def predicted_score(
    method: Any,
    relation: Graph | Spectra,
    n_components: int,
    y: Any,
    *,
    X: Any = None,
    model: Model | None = None,
    kernel: Any = None,
    ridge: float = 0.0,
    probe: Probe = "logistic",
    probe_ridge: float | None = 0.0,
    on: Any = None,
    n_labels: int | None = None,
    draws: int = 20,
    folds: int | None = None,
    seed: int = 0,
) -> Prediction:
    """The score of a linear probe on rows to come, on the closed form of a method.

    method, relation, n_components, X, model, kernel, ridge: as for `ss.optimum`. y (N,): labels of the relation's rows,
    or of the rows `on`: samples to probe in their place, where the relation is over views of them. probe, probe_ridge:
    as for `leave_one_out`. n_labels: m, fewer labels than there are, drawn `draws` times with `seed`. folds: leave rows
    out of the relation too, in so many parts; for relations made from labels.

    Raises DataError for options that do not fit together, and what `ss.optimum` and `leave_one_out` raise.
    """
    spectra = as_spectra(relation, X, model=model, kernel=kernel, ridge=ridge)
    best = _solved(method, spectra, n_components)
    if on is not None and folds is not None:
        raise DataError("folds= leaves rows out of the relation, whose rows they must be; leave on= out")
    Z = best.embedding.Z if on is None else best.embedding.transform(on)
    if not Z.shape[0]:
        raise DataError("a prediction needs the rows of the data; give X, not moments alone")
    labels = as_labels(y, Z.shape[0], "labels")
    known = np.flatnonzero(~missing_labels(labels))
    if folds is not None:
        if n_labels is not None:
            raise DataError("give n_labels or folds, not both: few labels make another relation, not another probe")
        if not isinstance(relation, Graph) or X is None:
            raise DataError("folds= solves parts of the relation anew: pass the graph itself and X, not Spectra")
        if probe != "logistic" or probe_ridge not in (0.0, None):
            raise DataError("folds= judges the logistic probe that compare reports; leave probe= and probe_ridge= out")
        per_row = _cross_fitted(best, relation, X, labels, known, folds, seed, (model, kernel, ridge))
        score, error, how, m = float(per_row.mean()), _standard_error(per_row), "folds", known.size
    elif n_labels is not None:
        if probe != "logistic" or probe_ridge not in (0.0, None):
            raise DataError(
                "n_labels= judges the probes that compare reports, logistic for classes and ridge for numbers; leave "
                "probe= and probe_ridge= out"
            )
        found = _few_labels(Z, labels, known, n_labels, draws, seed)
        score, error, how, m = float(np.mean(found)), _standard_error(np.array(found)), "draws", n_labels
        per_row = None
    else:
        judged = leave_one_out(Z, labels, probe=probe, ridge=probe_ridge)
        score, error, how, m = judged.score, judged.standard_error, "leave-one-out", judged.n_labels
        per_row = judged.per_row
    classes = labels.dtype.kind != "f"
    seen = linear_probe_score(Z[known], labels[known], Z[known], labels[known], classification=classes)
    return Prediction(score, error, seen, None if per_row is None else frozen(per_row), m, how, best)  # type: ignore[arg-type]


def _solved(method: Any, relation: Any, K: int, **options: Any) -> Optimum:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)  # K past the rank is told by the optimum's own rank
        return optimum(method, relation, K, **options)


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")


def _few_labels(Z: Array, labels: Any, known: Any, m: int, draws: int, seed: int) -> list[float]:
    """Scores of probes fitted to m labelled rows on the other labelled ones, draw by draw."""
    if isinstance(m, bool) or not isinstance(m, int | np.integer) or not 2 <= m < known.size:
        raise DataError(
            f"n_labels must be a whole number from 2 to {known.size - 1}, one less than the labels, got {m!r}"
        )
    check_int(draws, "draws", low=1)
    if np.unique(labels[known]).size < 2:  # no draw would ever hold two
        raise DataError("all known labels are equal: no probe can be fitted to them; give labels that differ")
    rng = generator(seed, "a prediction from few labels")
    classes = labels.dtype.kind != "f"
    found: list[float] = []
    for _ in range(draws):
        drawn = rng.permutation(known)
        while np.unique(labels[drawn[:m]]).size < 2:  # a probe needs two classes
            drawn = rng.permutation(known)
        few, rest = drawn[:m], drawn[m:]
        found.append(linear_probe_score(Z[few], labels[few], Z[rest], labels[rest], classification=classes))
    return found


def _cross_fitted(
    best: Optimum, graph: Graph, X: Any, labels: Any, known: Any, folds: int, seed: int, model: tuple[Any, ...]
) -> Array:
    """Hits (n,) of probes on rows that were left out of relation, closed form and probe."""
    if isinstance(folds, bool) or not isinstance(folds, int | np.integer) or not 2 <= folds <= known.size:
        raise DataError(f"folds must be a whole number from 2 to the {known.size} labelled rows, got {folds!r}")
    if labels.dtype.kind == "f":
        raise DataError("folds= is for relations made from classes, and these labels are numbers")
    rows = as_rows(X)
    part = np.empty(known.size, dtype=int)
    part[generator(seed, "a prediction by folds").permutation(known.size)] = np.arange(known.size) % folds
    hits = np.empty(known.size)
    kind, kernel, ridge = model
    for fold in range(folds):
        out = known[part == fold]
        keep = np.setdiff1d(np.arange(graph.n_samples), out)
        found = _solved(
            best.method,  # at the hyper-parameters resolved over all rows
            graph.subgraph(keep),
            best.embedding.n_components,
            X=rows[keep],
            model=kind,
            kernel=kernel,
            ridge=ridge,
        )
        fit = np.isin(keep, known)
        A, B = scaled(found.embedding.Z[fit], found.embedding.transform(rows[out]))
        probe = linear_probe(A, labels[keep[fit]], classification=True)
        hits[part == fold] = probe.predict(B) == labels[out]
    return hits
