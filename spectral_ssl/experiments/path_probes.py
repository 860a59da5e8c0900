"""Probes along a path, and which of its values they tell apart.

Rows that are probed are Z_t = V diag(sqrt c_t) Q at every value t, V the eigenvectors on those rows: V is computed
once; statements D1 and D5 (`theory.ridge_risk`) and leave-one-out (`theory.left_out`) read the rest from it.

**Which value is best, and which are no worse?** All values predict the same rows, so that hits are compared row by row:
values s and t differ by d_st in the mean, of standard error e_st from the differences on each row. One is told from the
best where d > c e, c the 95th percentile over bootstrap samples of rows of max_{s, t} |d*_st - d_st| / e_st: a
simultaneous bound over all pairs (Tukey's, by bootstrap), because the best was chosen among many. What is left is the
range of values that the labels cannot tell from the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.experiments.probes import EXTENSION, can_probe, embed_split
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.extension import extend
from spectral_ssl.theory import leave_one_out, probe_path
from spectral_ssl.theory.alignment import label_matrix
from spectral_ssl.theory.paths import Path

__all__ = ["Best", "ProbeRows", "best_value", "few_labels", "logistic", "probe_rows", "probed", "told_apart"]

N_BOOTSTRAP = 1000
LEVEL = 0.05
ALIKE = 1e-12  # hits on the same rows


@dataclass(frozen=True, eq=False)
class ProbeRows:
    """Eigenvectors V (n, R) and labels of the rows probes learn from, and of those held out (None: none are)."""

    V: Array
    y: Any
    V_test: Array | None
    y_test: Any
    classification: bool

    @property
    def n(self) -> int:
        return int(self.V.shape[0])


def probe_rows(setting: Setting, found: Path) -> tuple[ProbeRows | None, str]:
    """Who is probed, and what has to be said about it; None where there are no labels to probe for."""
    if setting.probe_train.y is None:
        return None, "no labels: probes left out"
    if not can_probe(setting):
        return None, "fewer than two classes among the training or held-out labels: probes left out"
    s, R = found.spectrum, found.shares.shape[1]
    W = None if s.weights is None else s.weights[:, :R]
    basis = Embedding(Z=s.vectors[:, :R], W=W, mean=s.mean, features=s.features)
    told = ""
    held_out = setting.probe_test is not None
    if held_out and not basis.extends:
        basis = extend(basis, setting.data.X, kernel=EXTENSION)
        told = "held-out rows of a free embedding are placed by kernel ridge regression on the training rows"
    V, y, V_test, y_test = embed_split(setting, basis)
    kind = setting.probe_train.is_classification
    return ProbeRows(V, y, V_test if held_out else None, y_test if held_out else None, kind), told


def embedded(rows: Array, found: Path, i: int) -> Array:
    """Z at the i-th value, up to a rotation that no probe sees."""
    Z: Array = rows * np.sqrt(found.scale * found.shares[i])
    return Z


def probed(
    records: list[dict[str, Any]],
    found: Path,
    rows: ProbeRows,
    probe_ridge: float,
    task: Any,
) -> Array:
    """Fill in errors and accuracies of the least-squares probe on all labels; outcomes left out (rows, T)."""
    Y, _, _ = label_matrix(rows.y)
    scales = found.scale * found.shares
    # V has unit columns over the rows of the relation, so Z has variance `shares`: eta counts rows times variance
    plain = probe_path(rows.V, scales, Y)
    ridged = probe_path(rows.V, scales, Y, ridge=probe_ridge * rows.n)
    outcomes = []
    for i, record in enumerate(records):
        Z = embedded(rows.V, found, i)
        if found.rank[i]:
            left = leave_one_out(Z, rows.y, probe="least_squares", ridge=probe_ridge * rows.n).per_row
        else:
            left = constant(rows)
        record |= {
            "predicted": float(left.mean()),
            "predicted_se": standard_error(left),
            "error_fitted": float(plain.error[i] / plain.total),
            "error_D5": float(ridged.new_labels()[i] / plain.total) if np.isfinite(plain.noise) else None,
            "error_left_out": float(ridged.leave_one_out[i] / plain.total),
        }
        if rows.V_test is not None:
            hits, error = _held_out(Z, Y, embedded(rows.V_test, found, i), rows, probe_ridge * rows.n)
            record |= {"held_out": float(hits.mean()), "error_held_out": error}
        outcomes.append(left)
        task.advance(text=f"{found.parameter} = {found.values[i]:.3g}")
    return np.array(outcomes).T


def constant(rows: ProbeRows) -> Array:
    """Outcomes (n,) of the prediction that a collapsed embedding leaves: the most frequent class, or the mean.

    Left out row by row it would be the other class wherever classes are equally many, and never right.
    """
    if not rows.classification:
        y = np.asarray(rows.y, dtype=float)
        return np.asarray(1 - ((y - y.mean()) / (1 - 1 / rows.n)) ** 2 / np.var(y))
    values, counts = np.unique(rows.y, return_counts=True)
    return np.asarray(np.asarray(rows.y) == values[np.argmax(counts)], dtype=np.float64)


def standard_error(outcomes: Array) -> float:
    return float(outcomes.std(ddof=1) / math.sqrt(outcomes.size))


def _fitted(Z: Array, Y: Array, eta: float) -> tuple[Array, Array, Array]:
    """B (K, C) and the means of Z and Y, of the ridge probe with an intercept; of least norm where eta = 0."""
    mean, M = Z.mean(axis=0), Y.mean(axis=0)
    A = np.vstack([Z - mean, math.sqrt(eta) * np.eye(Z.shape[1])]) if eta else Z - mean
    T = np.vstack([Y - M, np.zeros((A.shape[0] - Y.shape[0], Y.shape[1]))])
    return np.linalg.lstsq(A, T, rcond=1e-10)[0], mean, M


def _scored(predicted: Array, y: Any, rows: ProbeRows) -> Array:
    """Hits (n,), or 1 - squared error / variance for numbers."""
    if rows.classification:
        return np.asarray(np.unique(rows.y)[predicted.argmax(axis=1)] == y, dtype=np.float64)
    spread = np.var(y) or np.var(rows.y)  # one row to judge by has no spread of its own
    return np.asarray(1 - (y - predicted[:, 0]) ** 2 / spread)


def _held_out(Z: Array, Y: Array, Z_test: Array, rows: ProbeRows, eta: float) -> tuple[Array, float | None]:
    """Outcomes of held-out rows, and their squared error as a share of what the mean label makes; None: a new class."""
    B, mean, M = _fitted(Z, Y, eta)
    predicted = (Z_test - mean) @ B + M
    y = rows.y_test
    if rows.classification:
        T = (np.asarray(y)[:, None] == np.unique(rows.y)).astype(float)
    else:
        T = np.asarray(y, dtype=float)[:, None]
    total = float(((T - M) ** 2).sum())
    known = not rows.classification or bool(T.any(axis=1).all())
    return _scored(predicted, y, rows), float(((T - predicted) ** 2).sum()) / total if known and total > 0 else None


def few_labels(
    records: list[dict[str, Any]],
    found: Path,
    rows: ProbeRows,
    probe_ridge: float,
    m: int,
    draws: int,
    seed: int,
) -> Array:
    """Probes from m labels: predicted on the other training rows, measured on held-out ones; accuracies (draws, T)."""
    rng, (Y, _, _) = np.random.default_rng(seed), label_matrix(rows.y)
    predicted, measured = np.empty((draws, len(found))), np.empty((draws, len(found)))
    for draw in range(draws):
        order = rng.permutation(rows.n)
        on, off = order[:m], order[m:]
        for i in range(len(found)):
            Z = embedded(rows.V, found, i)
            B, mean, M = _fitted(Z[on], Y[on], probe_ridge * m)
            predicted[draw, i] = _scored((Z[off] - mean) @ B + M, np.asarray(rows.y)[off], rows).mean()
            if rows.V_test is not None:
                Z = embedded(rows.V_test, found, i)
                measured[draw, i] = _scored((Z - mean) @ B + M, rows.y_test, rows).mean()
    for i, record in enumerate(records):
        record |= {"predicted": float(predicted[:, i].mean()), "predicted_se": standard_error(predicted[:, i])}
        record |= {"error_held_out": None, "error_left_out": None, "error_D5": None}  # those were of all labels
        if rows.V_test is not None:
            record["held_out"] = float(measured[:, i].mean())
    return predicted


def logistic(rows: ProbeRows, found: Path, i: int) -> dict[str, Any]:
    Z = embedded(rows.V, found, i)
    left = leave_one_out(Z, rows.y).per_row if found.rank[i] else constant(rows)
    told: dict[str, Any] = {
        "predicted_logistic": float(left.mean()),
        "predicted_logistic_se": standard_error(left),
    }
    if rows.V_test is not None:
        told["held_out_logistic"] = linear_probe_score(
            Z, rows.y, embedded(rows.V_test, found, i), rows.y_test, classification=True
        )
    return told


# ------------------------------------------------------------------------------------------------------ the best value


@dataclass(frozen=True)
class Best:
    """The value of best predicted accuracy; alike (T,): values that are not told from it."""

    index: int
    value: float
    score: float
    standard_error: float
    held_out: float | None
    alike: tuple[bool, ...]
    values: tuple[float, ...]

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value that is not told from the best, with all between them."""
        kept = [value for value, same in zip(self.values, self.alike, strict=True) if same]
        return min(kept), max(kept)

    def record(self) -> dict[str, Any]:
        low, high = self.range
        return {
            "value": self.value,
            "predicted": self.score,
            "standard_error": self.standard_error,
            "held_out": self.held_out,
            "low": low,
            "high": high,
            "n_alike": sum(self.alike),
        }


def told_apart(outcomes: Array, best: int, *, seed: int = 0) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which columns of outcomes (n, T) are worse than column `best` beyond chance, see the module: (T,) True or False.

    Rows are what is drawn: labelled rows, or draws of few labels.
    """
    n, T = outcomes.shape
    kinds, column = np.unique(outcomes, axis=1, return_inverse=True)  # most values hit the same rows
    column = np.asarray(column).reshape(T)
    if kinds.shape[1] == 1:
        return np.zeros(T, dtype=bool)
    means, cov = kinds.mean(axis=0), np.cov(kinds.T)
    error = np.sqrt(np.maximum(cov.diagonal()[:, None] + cov.diagonal() - 2 * cov, 0.0) / n)  # e_st
    first, second = np.nonzero(np.triu(error > ALIKE, 1))
    if not first.size:  # apart by the same on every row
        return np.asarray(means[column[best]] - means[column] > ALIKE)
    e = error[first, second]
    rng, most = np.random.default_rng(seed), np.empty(N_BOOTSTRAP)
    for draw in range(N_BOOTSTRAP):
        moved = rng.multinomial(n, np.full(n, 1 / n)) @ kinds / n - means
        most[draw] = np.abs((moved[first] - moved[second]) / e).max()
    c = float(np.quantile(most, 1 - LEVEL))
    best = column[best]
    worse = means[best] - means > np.maximum(c * error[best], ALIKE)
    return np.asarray(worse[column])


def best_value(records: list[dict[str, Any]], outcomes: Array, found: Path, seed: int) -> Best:
    means = outcomes.mean(axis=0)
    k = int(np.argmax(means))
    worse = told_apart(outcomes, k, seed=seed)
    for record, one in zip(records, worse, strict=True):
        record["told_from_best"] = bool(one)
    row = records[k]
    return Best(
        k,
        float(found.values[k]),
        float(means[k]),
        standard_error(outcomes[:, k]),
        row.get("held_out"),
        tuple(bool(not one) for one in worse),
        tuple(found.values.tolist()),
    )
