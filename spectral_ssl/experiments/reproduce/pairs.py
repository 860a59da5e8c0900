"""Label relations that E3 to E5 share."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data import Dataset
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.setting import Setting, load_data, make_setting, subsample
from spectral_ssl.graph import Graph

__all__ = [
    "centred_labels",
    "check_features",
    "label_left",
    "label_pairs",
    "label_setting",
    "paired",
    "unit_labels",
    "unrelated_pairs",
]

FAINT = 1e-6  # energy below which a trained direction has died


def label_setting(data: str | Dataset, n_samples: int, seed: int, *, test_size: float = 0.0) -> Setting:
    """The label relation over at most n_samples training rows (0: all of them)."""
    found = load_data(data)
    if found.y is None or not found.is_classification:
        raise DataError(f"this experiment needs classes, and {found.name!r} has none; choose one with class labels")
    if not found.labelled.all():
        found = found.subset(np.flatnonzero(found.labelled))
    return subsample(make_setting(found, "labels", test_size=test_size, seed=seed), n_samples, seed)


def label_pairs(codes: Any, *, partners: int = 8, seed: int = 0) -> Graph:
    """Random pairs of equal class codes (N,): A = sum_p (P_p + P_p') / (2 partners), P_p permutations inside classes.

    Every degree is 1. All pairs of equal labels would be a projection, whose copies of one eigenvalue leave open which
    directions are kept after those of the classes; a sample of them tells these apart.
    """
    rng, rows, columns = np.random.default_rng(seed), [], []
    for c in np.unique(codes):
        members = np.flatnonzero(codes == c)
        for _ in range(partners):
            rows.append(members)
            columns.append(rng.permutation(members))
    i, j = np.concatenate(rows), np.concatenate(columns)
    # from_pairs counts a pair i = j once, where P + P' has it twice
    return Graph.from_pairs(i, j, len(codes), np.where(i == j, 2.0, 1.0) / (2 * partners))


def unrelated_pairs(codes: Any, seed: int) -> Graph:
    """Pairs of equal labels that have nothing to do with these: the same classes, dealt to other rows."""
    return label_pairs(np.random.default_rng(seed).permutation(codes), seed=seed + 1)


def paired(setting: Setting, seed: int) -> tuple[Setting, Graph]:
    """The setting with random pairs of equal labels as its relation, and a relation that is unrelated to them."""
    codes = setting.data.class_codes
    aligned = dataclasses.replace(
        setting, graph=label_pairs(codes, seed=seed), relation="random pairs of equal labels", rebuild=None
    )
    return aligned, unrelated_pairs(codes, seed)


def unit_labels(setting: Setting) -> Array:
    """HY / |HY| (N, C)."""
    Y = centred_labels(setting)
    unit: Array = Y / np.linalg.norm(Y)
    return unit


def centred_labels(setting: Setting) -> Array:
    """HY (N, C), Y one-hot."""
    codes = setting.data.class_codes
    Y = np.eye(int(codes.max()) + 1)[codes]
    centred: Array = Y - Y.mean(axis=0)
    return centred


def check_features(setting: Setting, K: int) -> int:
    """The number of classes, where K directions can hold them."""
    C = int(np.unique(setting.data.class_codes).size)
    if not C - 1 <= K <= setting.data.n_features:
        raise DataError(
            f"n_components must be from C - 1 = {C - 1}, what classes take, to the number of features "
            f"{setting.data.n_features}, got {K}"
        )
    return C


def label_left(Z: Array, Y: Array) -> float:
    """The share of the label energy that least squares with an intercept leaves; Y (N, C) centred, of norm 1."""
    Z = Z - Z.mean(axis=0)
    U, size, _ = linalg.svd(Z)
    U = U[:, size**2 > FAINT * len(Z)]  # energies are of order 1: what has collapsed is not told by its own largest
    return float(1 - ((U.T @ Y) ** 2).sum())
