"""What `bounds` judges: representations with labels, from files, from runs, or solved and trained here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.data import Dataset, read_array
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, NotClosedForm, SpectralWarning
from spectral_ssl.experiments.rows import method_name, parse_methods
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.runs import load_arrays
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Model
from spectral_ssl.theory.risks import Population, population
from spectral_ssl.training import Step, train

__all__ = ["Made", "Subject", "as_prior_option", "from_files", "made_here", "populated"]


@dataclass(frozen=True, eq=False)
class Subject:
    """Rows of one representation with their labels. part: which rows. step: of a training, None outside one."""

    name: str
    part: str
    Z: Array
    y: Any
    step: int | None = None
    means_of: int | None = None  # the place of the training rows among the subjects, for class means that others have


@dataclass(frozen=True)
class Made:
    """subjects in the order they came; notes: what was done, in words."""

    subjects: tuple[Subject, ...]
    notes: tuple[str, ...] = ()
    setting: Setting | None = None
    main: int = 0  # the place of the subject whose figure is drawn
    words: str = ""
    history: tuple[int, ...] = ()  # places of the subjects that follow one another


def from_files(paths: Sequence[Path], base: Dataset | None, labels: Any) -> Made:
    """One subject per file, per array Z of a run; labels of the file, of the data, or kept with the run's arrays."""
    subjects: list[Subject] = []
    y = labels if labels is not None else None if base is None else base.y
    for path in paths:
        for name, Z, own in _read(Path(path)):
            told = y if y is not None else own
            if told is None:
                raise DataError(f"{path}: there are no labels; give --labels FILE, or --data NAME of labelled data")
            if len(told) != len(Z):
                raise DataError(
                    f"{name} has {len(Z)} rows, and there are {len(told)} labels; they must match row by row"
                )
            kept, rows = _labelled(Z, told)
            subjects.append(Subject(name, "all rows", Z[rows], kept))
    history = tuple(range(len(subjects))) if len({s.Z.shape[0] for s in subjects}) == 1 and len(subjects) > 1 else ()
    return Made(tuple(subjects), main=len(subjects) - 1, history=history, words=subjects[-1].name)


def _read(path: Path) -> list[tuple[str, Array, Any]]:
    """Name, Z and labels, if any, of a file, or of every Z in the arrays of a run."""
    if not (path / "run.json").is_file():
        return [(path.stem, read_array(path), None)]
    arrays = load_arrays(path / "arrays.npz") if (path / "arrays.npz").is_file() else {}
    found = []
    for key, Z in arrays.items():
        slug, _, kind = key.rpartition("/")
        if kind.split("_")[0] == "Z" and Z.ndim == 2:
            y = arrays.get(f"{slug}/y")
            y = y if y is None or len(y) == len(Z) else None
            found.append((f"{path.name}/{key}", np.asarray(Z, dtype=np.float64), y))
    if not found:
        raise DataError(
            f"the run {path} holds no representation (arrays Z, Z_closed or Z_trained of arrays.npz); give a run of "
            "compare, or an npy, npz or csv file of Z"
        )
    return found


def _labelled(Z: Array, y: Any) -> tuple[Any, Any]:
    """Labels and row numbers of the rows that have one."""
    held = Dataset(name="labels", X=np.zeros((len(Z), 1)), y=y)
    if not held.is_classification:
        raise DataError("the labels are continuous targets; bounds compare classes, so give whole numbers or text")
    rows = np.flatnonzero(held.labelled)
    return np.asarray(held.y)[rows], rows


def made_here(
    setting: Setting,
    method: str,
    K: int,
    *,
    model: Model,
    kernel: str | None,
    trained: bool,
    optimizer: str,
    learning_rate: float | None,
    max_iter: int,
    seed: int,
) -> Made:
    """The closed form of a method on the training rows, or its training, looked at on the way; and held-out rows."""
    found = parse_methods(method)
    if len(found) != 1:
        raise DataError(f"one method makes the representation, got {method!r}; name one of them")
    if setting.data.y is None:
        raise DataError(f"the data {setting.data.name!r} have no labels; give --labels FILE")
    loss, y, notes = found[0], setting.data.y, []
    X = None if model == "free" else setting.data.X
    embedding: Embedding | None = None
    snapshots: list[tuple[int, Array]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)
        if not trained:
            try:
                embedding = optimum(loss, setting.graph, K, X=X, model=model, kernel=kernel).embedding
            except NotClosedForm as reason:
                notes.append(f"trained, as there is no closed form: {reason}")
        if embedding is None:
            embedding = train(
                loss, setting.graph, K, optimizer=optimizer, learning_rate=learning_rate, max_iter=max_iter, seed=seed,
                callbacks=[_look(snapshots)], X=X, model=model, kernel=kernel,
            ).embedding  # fmt: skip
    words = f"{method_name(loss)}, {'trained' if snapshots else 'closed form'}, K = {K}, {model}"
    rows_y, rows = _labelled(embedding.Z, y)
    subjects = [Subject(words, "training rows", Z[rows], rows_y, step=step) for step, Z in snapshots[:-1]]
    history = tuple(range(len(snapshots)))
    last = snapshots[-1][0] if snapshots else None
    subjects.append(Subject(words, "training rows", embedding.Z[rows], rows_y, step=last))
    test = setting.probe_test
    if test is not None and not embedding.extends:
        notes.append("held-out rows are left out: a free embedding has no rule for them")
    elif test is not None:
        held_y, held = _labelled(test.X, test.y)
        Z = embedding.transform(test.X[held])
        subjects.append(Subject(words, "held-out rows", Z, held_y, means_of=len(subjects) - 1))
    return Made(tuple(subjects), tuple(notes), setting, len(subjects) - 1, words, history if len(history) > 1 else ())


def _look(snapshots: list[tuple[int, Array]]) -> Callable[[Step], None]:
    """A callback that keeps Z at evaluations 1, 2, 4, .. and the newest one."""

    def look(step: Step) -> None:
        n = step.evaluations
        if len(snapshots) > 1 and snapshots[-1][0] < 2 * max(snapshots[-2][0], 1):
            snapshots.pop()  # the newest so far, not yet far enough from the one before
        snapshots.append((n, np.array(step.embed(), dtype=np.float64)))

    return look


def as_prior_option(text: str) -> Any:
    """`--prior`: a word, or numbers with commas between them."""
    if text in ("uniform", "empirical"):
        return text
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise DataError(
            f"prior must be uniform, empirical, or a number for each class as in 0.5,0.3,0.2, got {text!r}"
        ) from None


def populated(subject: Subject, *, normalize: bool, temperature: float, prior: Any) -> Population:
    """The subject as a population; its name is in what is wrong with it."""
    try:
        return population(subject.Z, subject.y, normalize=normalize, temperature=temperature, prior=prior)
    except DataError as error:
        raise DataError(f"{subject.name}, {subject.part}: {error}") from None
