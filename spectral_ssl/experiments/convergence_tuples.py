"""The tuples that `converge` descends on: random unit vectors, or rows of labelled data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.setting import load_data
from spectral_ssl.theory.convergence import MarginLoss
from spectral_ssl.theory.tuples import Tuples, draw_tuples, fresh_tuples

__all__ = ["CASES", "Case", "labelled_rows", "tuples_of"]

CLASS_ROWS = 3  # rows of a class of a pool


@dataclass(frozen=True)
class Case:
    """A loss with its outputs and tuples. pool: tuples share the rows of a pool, with collisions."""

    words: str
    loss: MarginLoss = "logistic"
    unit: bool = False
    pool: bool = False


CASES: dict[str, Case] = {
    "logistic": Case("logistic loss, fresh negatives"),
    "squared": Case("squared margins, fresh negatives", loss="squared"),
    "pool": Case("logistic loss, a pool with collisions", pool=True),
    "unit": Case("logistic loss, unit outputs", unit=True),
}


def tuples_of(config: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[bool, Tuples], dict[str, Any]]:
    """Tuples that share no row, and those of a pool, as far as they are needed; and the data in a record."""
    n, N, seed = config["n_tuples"], config["negatives"], config["seed"]
    pools = sorted({CASES[name].pool for name in names})
    found: dict[bool, Tuples] = {}
    if config["data"] is None:
        for name, what in (
            ("labels", "labels are"),
            ("random_labels", "random_labels are"),
            ("standardize", "standardize is"),
        ):
            if config[name]:
                raise DataError(f"{what} of data, and none were named; add --data")
        D = 64 if config["n_features"] is None else config["n_features"]
        for pool in pools:
            if not pool:
                found[pool] = fresh_tuples(n, N, D, seed)
                continue
            if config["pool_size"] < 2 * CLASS_ROWS:
                raise DataError(f"pool_size must be at least {2 * CLASS_ROWS}, got {config['pool_size']}")
            X = np.random.default_rng((seed, 1)).standard_normal((config["pool_size"], D))
            codes = np.arange(config["pool_size"]) // CLASS_ROWS
            found[pool] = draw_tuples(_unit(X), codes, n, N, collide=True, close=True, seed=seed)
        summary = {"name": "random unit vectors", "n_features": D}
    else:
        if config["n_features"] is not None:
            raise DataError("n_features is of random unit vectors, and data were named; leave one of them out")
        X, codes, summary = labelled_rows(
            config["data"], config["labels"], config["random_labels"], seed, standardize=config["standardize"]
        )
        for pool in pools:
            rows = _pool(codes, config["pool_size"], seed) if pool else np.arange(len(X))
            found[pool] = draw_tuples(X[rows], codes[rows], n, N, collide=pool, close=pool, seed=seed)
    return found, summary


def labelled_rows(
    data: str, labels: Path | None, shuffled: bool, seed: int, *, standardize: bool = False
) -> tuple[Array, Any, dict[str, Any]]:
    """Distinct unit rows X of two classes or more, these classes, and the data in a record."""
    dataset = load_data(data, labels)
    if dataset.y is None or not dataset.is_classification:
        raise DataError(f"tuples are drawn by class, and {dataset.name!r} has no class labels; give them with --labels")
    on = np.flatnonzero(dataset.labelled)
    codes, X = dataset.class_codes[on], np.asarray(dataset.X[on], dtype=np.float64)
    if standardize:
        spread = X.std(axis=0)
        X = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    if shuffled:
        codes = np.random.default_rng((seed, 2)).permutation(codes)
    filled = np.flatnonzero(np.linalg.norm(X, axis=1) > 0)  # a row of zeros has no direction
    X, codes = _unit(X[filled]), codes[filled]
    first = np.sort(np.unique(X, axis=0, return_index=True)[1])
    if np.unique(codes[first]).size < 2:
        raise DataError(
            f"tuples need rows of two classes, and {dataset.name!r} has {len(dataset.classes)} in {on.size} labelled "
            f"rows, of which {first.size} differ once each is brought to length 1; take data of more classes, or with "
            "more features"
        )
    summary = {
        "name": dataset.name,
        "n_samples": dataset.n_samples,
        "n_features": dataset.n_features,
        "n_classes": len(dataset.classes),
        "has_labels": True,
        "labels": "shuffled" if shuffled else "as given",
        "fingerprint": dataset.fingerprint(),
        "n_used": int(first.size),
    }
    return X[first], codes[first], summary


def _unit(X: Array) -> Array:
    found: Array = X / np.linalg.norm(X, axis=1, keepdims=True)
    return found


def _pool(codes: Any, size: int, seed: int) -> Any:
    """So many rows, class by class in turn: few of many classes, so that pairs and collisions are there."""
    rng = np.random.default_rng((seed, 3))
    if not 4 <= size <= codes.size:
        raise DataError(f"pool_size must be from 4 to {codes.size}, the distinct labelled rows, got {size}")
    n_classes = max(2, size // CLASS_ROWS)
    kinds = rng.permutation(np.unique(codes))[:n_classes]
    order = rng.permutation(codes.size)
    place = np.empty(codes.size, dtype=np.int64)
    for c in np.unique(codes):
        mine = order[codes[order] == c]
        place[mine] = np.arange(mine.size)
    chosen = np.flatnonzero(np.isin(codes, kinds))
    ranked = chosen[np.argsort(place[chosen], kind="stable")]
    return np.sort(ranked[:size])
