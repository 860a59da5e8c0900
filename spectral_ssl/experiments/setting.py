"""From what a user names to what an experiment needs: data, a relation over training rows only, and held-out rows.

No leakage: rows are split by `source` first; relation, closed form and training see training rows only; pairs that
cross the split are dropped and counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import spec
from spectral_ssl.data import DATASETS, Dataset, augment, load_dataset, read_dataset
from spectral_ssl.data.readers.files import exists
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.relations import RELATIONS
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Model, Spectra

__all__ = ["Setting", "check_spread", "load_data", "make_setting", "make_spectra", "subsample"]

USUAL_VIEWS = 2
SPREADS = (1e-140, 1e140)  # of features: their squares, and sums of these over samples, keep all digits in float64


@dataclass(frozen=True, eq=False)
class Setting:
    """A training set with its relation, and the rows probes are judged on.

    data: the rows of the graph (augmented views where the relation needs them). probe_train, probe_test: the originals,
    split by source; probe_test is None where nothing is held out. relation: its call string. dropped_pairs: pairs of
    the user's list that left the training rows. notes: what was done on the way, in words.
    """

    data: Dataset
    graph: Graph
    probe_train: Dataset
    probe_test: Dataset | None
    relation: str
    dropped_pairs: int
    notes: tuple[str, ...]
    rebuild: Callable[[Dataset], tuple[Dataset, Graph, tuple[str, ...]]] | None  # the relation anew on fewer originals

    def summary(self) -> dict[str, Any]:
        """The relation in a record."""
        d = self.graph.diagnose()
        return {
            "name": self.relation.split("(")[0],
            "text": self.relation,
            "summary": str(d).split("\n- ")[0],
            "findings": list(d.findings),
            "n_samples": d.n_samples,
            "n_pairs": d.n_pairs,
            "n_components": d.n_components,
            "n_isolated": d.n_isolated,
            "n_self_loops": d.n_self_loops,
            "n_positive": d.n_positive,
            "regular": d.regular,
            "degree": [d.degree_min, d.degree_mean, d.degree_max],
            "dropped_pairs": self.dropped_pairs,
        }


def load_data(data: str | Dataset, labels: Path | None = None) -> Dataset:
    """A data set by name, call string, file, folder or object; labels from a file of their own.

    "mnist", "mnist(path='data/mnist', limit=1000)"; a path is what exists, has a suffix or a separator.
    """
    if isinstance(data, Dataset):
        found = data
    else:
        is_path = exists(Path(data)) or ("(" not in data and (Path(data).suffix != "" or os.sep in data))
        if is_path and data not in DATASETS:
            found = read_dataset(Path(data), labels=labels)
            labels = None
        else:
            name, options = spec.parse_call(data)
            found = load_dataset(name, **options)
    if labels is not None:
        from spectral_ssl.data import read_labels

        found = _replaced(found, y=read_labels(labels))
    return found


def data_summary(setting: Setting, original: Dataset) -> dict[str, Any]:
    """The data in a record: those that were split, of which `original` may be the training rows alone."""
    n_train = setting.probe_train.n_samples
    n_test = 0 if setting.probe_test is None else setting.probe_test.n_samples
    return {
        "name": original.name,
        "n_samples": n_train + n_test,
        "n_features": original.n_features,
        "n_train": n_train,
        "n_test": n_test,
        "n_classes": len(original.classes) if original.y is not None and original.is_classification else None,
        "has_labels": original.y is not None,
        "classes": [str(c) for c in original.classes] if original.y is not None and original.is_classification else [],
        "fingerprint": original.fingerprint(),
        "warnings": list(original.describe()),
    }


def make_setting(
    data: Dataset,
    relation: str,
    *,
    pairs: Any = None,
    n_views: int = USUAL_VIEWS,
    transforms: str | None = None,
    standardize: bool = False,
    test_size: float = 0.25,
    seed: int = 0,
) -> Setting:
    """Split, then relate the training rows.

    standardize: bring every feature to mean 0 and variance 1, both taken from the training rows.

    relation: a call string over `RELATIONS`, "knn(n_neighbors=10)". pairs: file or arrays for the relation `pairs`.
    n_views, transforms: how the relation `views` augments data that are not views already. Raises DataError where they
    are given and no views are made, and what relations, splits and `check_spread` raise.
    """
    name, options = spec.parse_call(relation)
    if pairs is not None and name != "pairs":
        raise DataError(f"a pair list was given, but the relation is {name!r}; use --relation pairs with --pairs FILE")
    if pairs is not None:
        options = {**options, "pairs": pairs if not isinstance(pairs, Path) else str(pairs)}
    if name == "pairs" and "pairs" not in options:
        raise DataError("the relation 'pairs' needs a list: --pairs FILE (csv or npz with columns i, j[, weight])")
    makes_views = name == "views" and data.source is None
    if not makes_views and (n_views != USUAL_VIEWS or transforms is not None):
        reason = "the data are views already" if name == "views" else f"the relation is {name!r}"
        raise DataError(
            f"n_views and transforms are of views that are made, but {reason}; leave --n-views and --transforms out, "
            "or use --relation views on data without a source column"
        )
    check_spread(data)
    build = spec.bind(RELATIONS, name, options, kind="relation")
    text = spec.format_call(name, {k: v for k, v in options.items() if isinstance(v, str | int | float | bool)})
    train_rows, test_rows = data.split(test_size, seed)
    if train_rows.size < 2 or test_rows.size == 1:
        raise DataError(
            f"test_size={test_size:g} splits {data.n_samples} samples into {train_rows.size} to train and "
            f"{test_rows.size} to test, and either needs 2; set --test-size 0 (test_size=0) to use all rows"
        )
    if standardize:
        mean, spread = data.X[train_rows].mean(axis=0), data.X[train_rows].std(axis=0)
        data = _replaced(data, X=(data.X - mean) / np.where(spread > 0, spread, 1.0))
    train = data if test_rows.size == 0 else data.subset(train_rows)
    test = None if test_rows.size == 0 else data.subset(test_rows)
    if _refers_to_all_rows(name, options):
        whole = build(data)
        graph = whole if test is None else whole.subgraph(train_rows)
        dropped = whole.n_pairs - graph.n_pairs
        told = (f"{dropped:,} pairs leave the training rows and were dropped",)
        return Setting(train, graph, train, test, text, dropped, told if dropped else (), None)

    def related(originals: Dataset) -> tuple[Dataset, Graph, tuple[str, ...]]:
        if not makes_views:
            return originals, build(originals), ()
        views = augment(originals, n_views, transforms, seed=seed)
        calls = ", ".join(str(t) for t in views.meta["transforms"])
        note = f"the relation 'views' augmented {originals.n_samples:,} originals: {n_views} views each by {calls}"
        return views, build(views), (note,)

    rows, graph, notes = related(train)
    return Setting(rows, graph, train, test, text, 0, notes, related)


def check_spread(data: Dataset) -> None:
    """Raise DataError where features vary by so little or so much that their squares are lost in float64."""
    with np.errstate(over="ignore"):
        spread = float(np.subtract(data.X.max(axis=0), data.X.min(axis=0), dtype=np.float64).max())
    low, high = SPREADS
    if spread > 0 and not low <= spread <= high:
        lost = "underflow" if spread < low else "overflow"
        raise DataError(
            f"the features of {data.name!r} spread over {spread:.3g}, and squares of that {lost}; divide the data by "
            f"their size (between {low:g} and {high:g} is allowed)"
        )


def make_spectra(setting: Setting, model: Model, kernel: str | None = None, ridge: float = 0.0) -> Spectra:
    """The factorisations of a setting under a model class, as the commands name it."""
    X = None if model == "free" else setting.data.X
    return as_spectra(setting.graph, X, model=model, kernel=kernel, ridge=ridge)


def subsample(setting: Setting, n_originals: int, seed: int) -> Setting:
    """The same setting over at most `n_originals` of its training originals, drawn with a seed, in their order."""
    originals = setting.probe_train
    ids = np.arange(originals.n_samples) if originals.source is None else originals.source
    kinds = np.unique(ids)
    if n_originals <= 0 or kinds.size <= n_originals:
        return setting
    chosen = np.random.default_rng(seed).choice(kinds, size=n_originals, replace=False)
    rows = np.flatnonzero(np.isin(ids, chosen))
    fewer = originals.subset(rows)
    note = f"a seeded subsample of {n_originals} of {kinds.size:,} training originals"
    if setting.rebuild is None:
        graph = setting.graph.subgraph(rows)
        return Setting(fewer, graph, fewer, setting.probe_test, setting.relation, 0, (note,), None)
    data, graph, _ = setting.rebuild(fewer)
    return Setting(data, graph, fewer, setting.probe_test, setting.relation, 0, (note,), setting.rebuild)


def _refers_to_all_rows(name: str, options: dict[str, Any]) -> bool:
    """Whether a relation names rows of the whole file, so that it must be cut down rather than rebuilt."""
    return name == "pairs" or (name == "nearest" and options.get("embedding") is not None)


def _replaced(data: Dataset, **changes: Any) -> Dataset:
    from dataclasses import replace

    return replace(data, **changes)
