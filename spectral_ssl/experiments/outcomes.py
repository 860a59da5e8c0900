"""Probes judged row by row: an outcome per held-out row, so that two embeddings are compared on the same rows.

An outcome is 1 where a class is told rightly and 0 elsewhere; of numbers it is 1 - (y - prediction)^2 / var(y) over the
held-out rows. Its mean is the accuracy, or R^2. Embeddings are centred and divided by one scale, the root of the mean
|z - mean|^2 over the training rows, so that outcomes are the same for every rotation of Z.

The least-squares probe on m labelled rows, A (m, K) their rows of Z less their mean, Y one-hot or one column,

    min_B |Y - 1 b' - A B|_F^2 + r m |B|_F^2,     A = U s V':   B = V diag(s / (s^2 + r m)) U'Y

r is in units of the variance of Z, which is 1 in all: a direction that holds the share r of it is halved. r = 0 is the
least-squares fit of least norm, which interpolates the labels where m <= rank Z. Its hat matrix is H = 11'/m +
U diag(s^2 / (s^2 + r m)) U', so the residuals of rows left out are e_i / (1 - H_ii), exact at the penalty r m, and
choose r from the labelled rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.comparison import linear_probe
from spectral_ssl.embedding import Array

__all__ = ["CHOSEN", "Ridge", "label_order", "least_squares", "logistic", "outcomes"]

CHOSEN: Literal["chosen"] = "chosen"  # the ridge that rows left out choose, among the ridges asked for
Ridge = float | Literal["chosen"]
FAINT = 1e-7  # a direction whose variance is rounding, 1e-15 of the largest, has a singular value of 3e-8 of it
INTERPOLATED = 1e-9  # 1 - H_ii below this: row i is interpolated, what it would be without itself cannot be told


def outcomes(predicted: Any, y: Any, *, classification: bool) -> Array:
    """Of predictions (n,), see the module."""
    if classification:
        return np.asarray(np.asarray(predicted) == y, dtype=np.float64)
    spread = float(np.square(y - np.mean(y)).mean()) or 1.0
    return np.asarray(1 - np.square(y - predicted) / spread, dtype=np.float64)


def logistic(A: Array, y_train: Any, B: Array, y_test: Any, *, classification: bool) -> Array:
    """Outcomes (n,) of the probe of `compare`, whose score is their mean; A, B `scaled` by comparison."""
    probe = linear_probe(A, y_train, classification=classification)
    return outcomes(probe.predict(B), y_test, classification=classification)


def label_order(y: Any, *, classification: bool, rng: np.random.Generator) -> Any:
    """Rows in the order in which they are given labels: the first m are m labels, classes as even as they can be."""
    if not classification:
        return rng.permutation(len(y))
    turn = np.zeros(len(y))
    for value in np.unique(y):
        rows = np.flatnonzero(y == value)
        turn[rng.permutation(rows)] = np.arange(rows.size)
    return np.lexsort((rng.random(len(y)), turn))


def least_squares(
    A: Array,  # (N, K), from `scaled`
    y_train: Any,  # (N,)
    B: Array,  # (n, K)
    y_test: Any,  # (n,)
    rows: Any,  # (m,) of the labelled rows
    ridges: Sequence[float],
    *,
    classification: bool,
) -> dict[Ridge, Array]:
    """Outcomes (n,) for each ridge, and for the `CHOSEN` one where a ridge above 0 is among them."""
    classes = np.unique(y_train) if classification else None
    y = y_train[rows]
    Y = np.asarray(y, dtype=np.float64)[:, None] if classes is None else np.equal.outer(y, classes).astype(np.float64)
    m, mean, offset = len(rows), A[rows].mean(axis=0), Y.mean(axis=0)
    U, s, Vt = linalg.svd(A[rows] - mean)
    keep = s > FAINT * s.max(initial=0.0)
    U, s, scores, T = U[:, keep], s[keep], (B - mean) @ Vt[keep].T, U[:, keep].T @ (Y - offset)
    found: dict[Ridge, Array] = {}
    left_out: dict[float, float] = {}
    for r in ridges:
        h = s**2 / (s**2 + r * m)
        P = scores @ ((h / s)[:, None] * T) + offset
        predicted = P[:, 0] if classes is None else classes[P.argmax(axis=1)]
        found[r] = outcomes(predicted, y_test, classification=classification)
        free = 1 - 1 / m - U**2 @ h
        error = (Y - offset - U @ (h[:, None] * T)) / np.maximum(free, INTERPOLATED)[:, None]
        left_out[r] = float(np.square(error).sum()) if free.min() > INTERPOLATED else np.inf
    if max(ridges) > 0:
        best = min(left_out, key=lambda r: (left_out[r], -r))
        found[CHOSEN] = found[best]
    return found
