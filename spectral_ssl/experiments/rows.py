"""One row: one method on one setting, closed form against trained."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import numpy as np

from spectral_ssl import spec
from spectral_ssl.comparison import (
    GAP_JUDGED,
    compare,
    effective_rank,
    exact_rank,
    knn_score,
    linear_probe_score,
    principal_angles,
)
from spectral_ssl.data import Dataset
from spectral_ssl.embedding import Embedding, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, SpectralWarning
from spectral_ssl.experiments.setting import Setting, make_spectra, subsample
from spectral_ssl.extension import extend
from spectral_ssl.linalg import svd
from spectral_ssl.methods import METHODS, InfoNCE, Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Model, Spectra
from spectral_ssl.training import Step, TrainResult, train

__all__ = ["Row", "can_probe", "make_row", "parse_methods", "relative_excess"]

TRAIN_TOL = 1e-9  # the default of `train`
BOUND_EVALUATIONS = 250  # there is no closed form to land on: the tail of the search is not worth its minutes
BOUND_TOL = 1e-6
EXTENSION = "nystroem(n_landmarks=500)"  # on which free embeddings are regressed to place held-out rows


class Row(dict[str, Any]):
    """A row of the table, with the arrays figures are drawn from and the notes its "note" joins."""

    arrays: dict[str, Any]
    notes: list[str]


def parse_methods(text: str) -> list[Method]:
    """Methods of a call string, "vicreg(invariance=0.5), barlow_twins"."""
    found = [spec.bind(METHODS, name, options, kind="method")() for name, options in spec.parse_calls(text)]
    if not found:
        raise DataError("no method was named; choose some of " + ", ".join(METHODS))
    return found


def method_name(method: Method) -> str:
    """The name of a method in `METHODS`, InfoNCE with cosine similarity counting as "infonce"."""
    return next(name for name, kind in METHODS.items() if isinstance(kind, type) and isinstance(method, kind))


def relative_excess(trained: float, closed: float, collapse: float) -> float:
    """(trained - closed) / (loss at collapse - closed); divided by max(1, |closed|) where that is nearly zero."""
    span = collapse - closed
    if abs(span) <= 1e-9 * max(abs(closed), abs(collapse)):
        span = max(1.0, abs(closed))
    return (trained - closed) / span


def make_row(
    method: Method,
    setting: Setting,
    n_components: int,
    *,
    model: Model = "linear",
    kernel: str | None = None,
    ridge: float = 0.0,
    spectra: Spectra | None = None,
    device: str | None = None,
    seed: int = 0,
    max_iter: int = 3000,
    infonce_originals: int = 0,
    name: str | None = None,
    progress: Progress = SILENT,
) -> Row:
    """Solve, train, compare, probe. `spectra` shares factorisations between the rows of one setting.

    model, kernel, ridge: the model class, as for `spectral_ssl.optimum`, where no `spectra` of it are given. name: what
    the row calls the method, by default its name in `METHODS`.
    """
    notes: list[str] = []
    name = method_name(method) if name is None else name
    if isinstance(method, InfoNCE) and infonce_originals > 0:
        smaller = subsample(setting, infonce_originals, seed)
        if smaller is not setting:
            notes += smaller.notes
            setting, spectra = smaller, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SpectralWarning)
        spectra = make_spectra(setting, model, kernel, ridge) if spectra is None else spectra
        started = time.perf_counter()
        best, reason = _closed_form(method, spectra, n_components)
        seconds_closed = time.perf_counter() - started
    notes += dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, SpectralWarning))
    label = f"train {name}, {setting.relation}, K = {n_components}"
    with progress.task(label, total=None) as task:
        done = [0]

        def report(step: Step) -> None:
            task.advance(step.evaluations - done[0], f"loss {step.loss:.6g}, gradient {step.gradient_norm:.1e}")
            done[0] = step.evaluations

        run = train(
            best.method if best is not None else method,
            spectra,
            n_components,
            device=device,
            seed=seed,
            max_iter=max_iter if best is not None else min(max_iter, BOUND_EVALUATIONS),
            tol=TRAIN_TOL if best is not None else BOUND_TOL,
            callbacks=(report,),
        )
    row = _assemble(name, method, setting, n_components, model, best, run, seconds_closed)
    row["kernel"] = None if spectra.features is None else spectra.features.text
    row["ridge"] = spectra.ridge
    if reason:
        notes.append(reason)
    notes += _judgement(row, best, run)
    scores, why = _scores(setting, best, run)
    row.update(scores)
    row.notes = [text for text in (*notes, why) if text]
    row["note"] = "; ".join(row.notes)
    return row


def _closed_form(method: Method, spectra: Spectra, K: int) -> tuple[Optimum | None, str]:
    try:
        return optimum(method, spectra, K), ""
    except NotClosedForm as error:
        return None, str(error)


def _assemble(
    name: str,
    method: Method,
    setting: Setting,
    K: int,
    model: Model,
    best: Optimum | None,
    run: TrainResult,
    seconds_closed: float,
) -> Row:
    collapse = run.method.collapse_loss(setting.graph, K)
    closed = best.loss if best is not None else run.method.lower_bound(setting.graph)
    known = math.isfinite(closed)
    angles = np.zeros(0)
    metrics: dict[str, float] = {}
    if best is not None:
        metrics = compare(run.embedding, best.embedding)
        if best.unique_up_to != "none":
            angles = principal_angles(run.embedding, best.embedding)
    row = Row(
        method=name,
        model=model,
        kind=best.kind if best is not None else "bound",
        hyper=run.method.hyper,
        loss_closed=closed if known else None,
        loss_trained=run.loss,
        excess=run.loss - closed if known else None,
        relative_excess=relative_excess(run.loss, closed, collapse) if known else None,
        max_angle=float(angles.max()) if angles.size else None,
        gap=best.gap if best is not None and math.isfinite(best.gap) else None,
        rank_closed=best.rank if best is not None else None,
        rank_trained=exact_rank(run.embedding.Z),
        effective_rank=effective_rank(run.embedding.Z),
        probe_closed=None,
        probe_trained=None,
        knn_closed=None,
        knn_trained=None,
        seconds_closed=seconds_closed,
        seconds_trained=run.seconds,
        converged=run.converged,
        solver=best.solver if best is not None else None,
        note="",
        relation=setting.relation,
        n_components=K,
        n_samples=setting.graph.n_samples,
        slug=f"{setting.relation.split('(')[0]}.{name}.{model}.{K}",
        terms_closed=best.loss_terms if best is not None else None,
        terms_trained=run.loss_terms,
        lower_bound=(best.lower_bound if best is not None else closed) if known else None,
        collapse_loss=collapse,
        unique_up_to=best.unique_up_to if best is not None else None,
        residual=best.residual if best is not None else None,
        source=best.source if best is not None else None,
        metrics=metrics,
        training={
            "message": run.message,
            "evaluations": int(run.losses.size),
            "gradient_norm": run.gradient_norm,
            "device": run.device,
            "seed": run.seed,
        },
    )
    row.arrays = {
        "Z_trained": run.embedding.Z,
        "singular_trained": _singular(run.embedding.Z),
        "losses": run.losses,
        "angles": angles,
    }
    if setting.data.y is not None:
        row.arrays["y"] = setting.data.class_codes if setting.data.is_classification else setting.data.y
        if setting.data.is_classification:
            row.arrays["classes"] = np.array([str(c) for c in setting.data.classes])
    if best is not None:
        row.arrays |= {
            "Z_closed": best.embedding.Z,
            "singular_closed": _singular(best.embedding.Z),
            "spectrum": best.embedding.spectrum,
        }
    if run.embedding.W is not None:
        row.arrays["W_trained"] = run.embedding.W
        if best is not None and best.embedding.W is not None:
            row.arrays["W_closed"] = best.embedding.W
    return row


def _singular(Z: Any) -> Any:
    return svd(Z)[1]


def _judgement(row: Row, best: Optimum | None, run: TrainResult) -> list[str]:
    notes = []
    if not run.converged:
        notes.append(run.message)
    if best is None:
        return notes
    if best.note:
        notes.append(best.note)
    if row["max_angle"] is None and best.rank > 0:
        notes.append("angle not asked: the minimum is reached on many subspaces")
    elif best.kind == "certified" and best.rank > 0:
        notes.append("angle not judged: the optimum is certified, not exact")
    elif row["gap"] is not None and row["gap"] < GAP_JUDGED and best.rank > 0:
        notes.append(f"angle not judged: eigenvalue gap {row['gap']:.1e} < {GAP_JUDGED:.0e}")
    return notes


def _scores(setting: Setting, best: Optimum | None, run: TrainResult) -> tuple[dict[str, float], str]:
    """Probe and kNN scores of both embeddings on held-out rows (in-sample where nothing is held out, and said so)."""
    if setting.probe_train.y is None:
        return {}, "no labels: probes left out"
    if not can_probe(setting):
        return {}, "fewer than two classes among the training or held-out labels: probes left out"
    found: dict[str, float] = {}
    embeddings = {"trained": run.embedding} if best is None else {"closed": best.embedding, "trained": run.embedding}
    told = "" if setting.probe_test is not None else "probes are in-sample: nothing was held out"
    if setting.probe_test is not None and not all(e.extends for e in embeddings.values()):
        # one rule for both, so that their scores differ by the embeddings alone
        try:
            embeddings = {which: extend(e, setting.data.X, kernel=EXTENSION) for which, e in embeddings.items()}
        except DataError as error:  # rows that tell nothing apart: no reason to lose the run
            return {}, f"held-out rows of a free embedding cannot be placed, probes left out: {error}"
        told = "held-out rows of a free embedding are placed by kernel ridge regression on the training rows"
    for which, embedding in embeddings.items():
        rows = embed_split(setting, embedding)
        found[f"probe_{which}"] = linear_probe_score(*rows, classification=setting.probe_train.is_classification)
        found[f"knn_{which}"] = knn_score(*rows, classification=setting.probe_train.is_classification)
    return found, told


def can_probe(setting: Setting) -> bool:
    """Whether there are labels to judge by: two classes to learn from, and a labelled row to judge on."""
    train_set, test_set = setting.probe_train, setting.probe_test
    if train_set.y is None or (test_set is not None and not test_set.labelled.any()):
        return False
    return not train_set.is_classification or np.unique(train_set.y[train_set.labelled]).size > 1


def embed_split(setting: Setting, embedding: Embedding) -> tuple[Any, Any, Any, Any]:
    """(Z_train, y_train, Z_test, y_test) of the labelled originals; rows that were embedded keep their own Z."""
    train_set, test_set = setting.probe_train, setting.probe_test
    if not embedding.extends:
        seen = setting.data.labelled
        Z, y = embedding.Z[seen], _labels(setting.data)[seen]
        return Z, y, Z, y
    on = train_set.labelled
    Z = embedding.Z if setting.data is train_set else embedding.transform(train_set.X)
    Z, y = Z[on], _labels(train_set)[on]
    if test_set is None:
        return Z, y, Z, y
    held = test_set.labelled
    return Z, y, embedding.transform(test_set.X)[held], _labels(test_set)[held]


def _labels(data: Dataset) -> Any:
    assert data.y is not None
    return data.y
