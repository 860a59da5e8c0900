"""How well labels are read off an embedding: probes and nearest neighbours, on held-out rows where there are any.

Where nothing is held out probes are in-sample, and nearest neighbours leave the row and its whole source out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spectral_ssl.comparison import knn_score, linear_probe_score
from spectral_ssl.data import Dataset
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.extension import extend
from spectral_ssl.training.monitors import KNN_ROWS, N_NEIGHBORS, knn_accuracy

__all__ = ["can_probe", "embed_split", "knn_left_out", "label_scores", "probe_scores"]

EXTENSION = "nystroem(n_landmarks=500)"  # on which free embeddings are regressed to place held-out rows


def probe_scores(
    setting: Setting, embeddings: dict[str, Embedding], own_map: bool = False
) -> tuple[dict[str, float], str]:
    """probe_<name> and knn_<name> of each embedding on held-out rows (see `label_scores` where nothing is held out).

    own_map: an embedding that has a map keeps it, though another has none: a network is judged by what it does with new
    rows. The second value is what has to be said about the scores, "" for nothing.
    """
    if setting.probe_train.y is None:
        return {}, "no labels: probes left out"
    if not can_probe(setting):
        return {}, "fewer than two classes among the training or held-out labels: probes left out"
    found: dict[str, float] = {}
    told = "" if setting.probe_test is not None else "nothing was held out: probes are in-sample, kNN is leave-one-out"
    if setting.probe_test is not None and not all(e.extends for e in embeddings.values()):
        # one rule for both, so that their scores differ by the embeddings alone
        try:
            embeddings = {
                which: e if own_map and e.extends else extend(e, setting.data.X, kernel=EXTENSION)
                for which, e in embeddings.items()
            }
        except DataError as error:  # rows that tell nothing apart: no reason to lose the run
            return {}, f"held-out rows of a free embedding cannot be placed, probes left out: {error}"
        told = "held-out rows of a free embedding are placed by kernel ridge regression on the training rows"
    for which, embedding in embeddings.items():
        seen = setting.probe_train if embedding.extends else setting.data
        probe, knn = label_scores(setting, embed_split(setting, embedding), seen)
        found |= {f"probe_{which}": probe} | ({} if math.isnan(knn) else {f"knn_{which}": knn})
    return found, told


def label_scores(setting: Setting, rows: tuple[Any, Any, Any, Any], seen: Dataset) -> tuple[float, float]:
    """Linear probe and nearest neighbours on (Z_train, y_train, Z_test, y_test), held out or the same rows twice.

    seen: whose labelled rows are those to train on. A row's own label, or that of another view of its original, would
    give its class away: where nothing is held out their votes are left out. The second is nan where none remain.
    """
    kind = seen.is_classification
    probe = linear_probe_score(*rows, classification=kind)
    if setting.probe_test is not None:
        return probe, knn_score(*rows, classification=kind)
    Z, y = rows[:2]
    source = None if seen.source is None else seen.source[seen.labelled]
    if kind:
        return probe, knn_accuracy(Z, np.unique(y, return_inverse=True)[1], source)
    return probe, knn_left_out(Z, y, source)


def knn_left_out(Z: Array, y: Any, source: Any = None, *, n_neighbors: int = N_NEIGHBORS) -> float:
    """R^2 of the mean y of a row's nearest neighbours, rows of its own source left out: `knn_accuracy` for numbers.

    nan where there are fewer than two sources, or y is constant.
    """
    from sklearn.neighbors import NearestNeighbors

    source = np.arange(len(y)) if source is None else np.unique(source, return_inverse=True)[1]
    alike = int(np.bincount(source).max())
    k = min(n_neighbors, len(y) - alike)
    rows = np.arange(len(y))
    if rows.size > KNN_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, KNN_ROWS, replace=False))
    spread = float(np.square(y[rows] - y[rows].mean()).sum())
    if k < 1 or spread == 0:
        return math.nan
    _, near = NearestNeighbors(n_neighbors=k + alike).fit(Z).kneighbors(Z[rows])
    others = source[near] != source[rows, None]
    first = others & (np.cumsum(others, axis=1) <= k)
    return 1 - float(np.square(y[rows] - (y[near] * first).sum(axis=1) / k).sum()) / spread


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
