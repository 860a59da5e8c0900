"""How well labels are read off an embedding: probes and nearest neighbours, on held-out rows where there are any."""

from __future__ import annotations

from typing import Any

import numpy as np

from spectral_ssl.comparison import knn_score, linear_probe_score
from spectral_ssl.data import Dataset
from spectral_ssl.embedding import Embedding
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.extension import extend

__all__ = ["can_probe", "embed_split", "probe_scores"]

EXTENSION = "nystroem(n_landmarks=500)"  # on which free embeddings are regressed to place held-out rows


def probe_scores(
    setting: Setting, embeddings: dict[str, Embedding], own_map: bool = False
) -> tuple[dict[str, float], str]:
    """probe_<name> and knn_<name> of each embedding on held-out rows (in-sample where nothing is held out).

    own_map: an embedding that has a map keeps it, though another has none: a network is judged by what it does with new
    rows. The second value is what has to be said about the scores, "" for nothing.
    """
    if setting.probe_train.y is None:
        return {}, "no labels: probes left out"
    if not can_probe(setting):
        return {}, "fewer than two classes among the training or held-out labels: probes left out"
    found: dict[str, float] = {}
    told = "" if setting.probe_test is not None else "probes are in-sample: nothing was held out"
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
