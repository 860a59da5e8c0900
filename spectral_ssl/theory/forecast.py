"""How good a model trained on a relation will be, from relation and data alone: scores to rank relations by.

A trained encoder is smoother than all embeddings and freer than linear maps. The scores stand in between: maps of q
smooth coordinates of the data, the leading principal components of a kernel over standardised rows (Nystroem), as a
wide network on standardised inputs sees its leading directions first. In a chart Q (N, q) of the rows, with w_1 >= w_2
>= .. the variance of its coordinates and a penalty R_jj = (tr Q'DQ / q) w_r / w_j that keeps maps smooth (rung r),

    (Q'AQ - R) b_k = a_k Q'DQ b_k,     Q centred by degree

is a q x q problem and a product with the relation's pairs: milliseconds, once per relation; the chart is made once per
data set. How smooth training keeps a network is not known beforehand, so scores are means over rungs, no penalty among
them. Where pairs are few or random it is the penalty that decides, as a network's bias to smooth functions would.

**With labels** (`forecast_score`). The labelled samples are taken out of the relation, the rest is solved, and the map
places them: a relation made from the labels cannot hand them back. On them a Gaussian probe (`gaussian_probe`) tells
each sample's class from the others':

    score = mean over samples and rungs of p(own class of i | z_i), leave-one-out

the accuracy to be expected of one who guesses by those probabilities; smoother than the share of hits, which is told
beside it, and so steadier with few labels. Fifty do. Labels that are numbers: R^2 of a ridge probe, leave-one-out.
Errors are over those samples, and two relations are compared sample by sample on the same ones.

**Without labels** (`visible_score`). What can be seen is whether pairs mean something that the data show: the problem
is solved on the pairs among one half of the samples and judged on those among the other,

    agreement = tr[(Z'DZ)^-1 Z'AZ] / K,  centred by degree, on the unseen half: the mean correlation of unseen partners
    coverage  = share of the variance of the chart's leading K coordinates that span(Z) keeps
    score     = max(0, agreement) coverage

Random and corrupted pairs show in the agreement, pairs of faint features in the coverage. What it cannot see is whether
what pairs agree on is what the labels are about: pairs of equal style score as pairs of equal class, and views that
change nothing agree perfectly.

Derived here. Scores rank; they are no accuracies of the trained model, whose probe has more labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data import Dataset, as_rows
from spectral_ssl.data._checks import check_int, frozen, generator
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import FeatureMap, nystroem
from spectral_ssl.moments import Moments
from spectral_ssl.theory.alignment import label_matrix
from spectral_ssl.theory.gaussian_probe import discriminant_left_out
from spectral_ssl.theory.left_out import leave_one_out

__all__ = ["Chart", "Forecast", "Visible", "forecast_score", "paired_difference", "smooth_chart", "visible_score"]

N_LANDMARKS, N_COORDINATES = 300, 100
ROWS_EACH = 8  # rows of data for every coordinate, so that a map over what a relation keeps of them is no interpolation
COORDINATES_MIN = 16
RUNGS = (0, 50)  # coordinates whose variance the penalty is measured by; 0: no penalty
HELD_MAX = 3  # at most one in so many samples is taken out of a relation to be judged
FAINT = 1e-10  # of the largest kernel principal value: what is fainter is rounding


@dataclass(frozen=True, eq=False)
class Chart:
    """Smooth coordinates of rows: chart(X) (n, q), of mean 0 and Q'Q = I over the rows it was made from.

    X (N, D): those rows; Q (N, q): their coordinates, not computed again where chart(X) is asked for the same array.
    variance (q,): what each coordinate explains of the kernel's features, as shares, descending.
    """

    X: Any
    Q: Array
    mean: Array
    inverse: Array
    features: FeatureMap
    centre: Array
    T: Array
    variance: Array

    @property
    def n_coordinates(self) -> int:
        return int(self.T.shape[1])

    def __call__(self, X: Any) -> Array:
        if X is self.X:
            return self.Q
        X = as_rows(X, self.mean.size)
        out: Array = (self.features((X - self.mean) * self.inverse) - self.centre) @ self.T
        return out


def smooth_chart(X: Any, *, n_landmarks: int = N_LANDMARKS, n_coordinates: int | None = None, seed: int = 0) -> Chart:
    """The leading principal components of an rbf kernel over standardised rows X (N, D), by landmarks.

    Its bandwidth is the median distance. n_coordinates: q; None takes 100, fewer where there are fewer than 8 rows for
    each. One chart serves all relations over the same data, views of them included.
    """
    given, X = X, as_rows(X)
    if n_coordinates is None:
        n_coordinates = min(N_COORDINATES, max(COORDINATES_MIN, len(X) // ROWS_EACH))
    check_int(n_coordinates, "n_coordinates", low=1)
    mean, spread = X.mean(axis=0), X.std(axis=0)
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-12 * np.maximum(np.abs(mean), 1e-300))
    rows = (X - mean) * inverse
    features = nystroem(rows, n_landmarks=n_landmarks, seed=seed)
    Phi = features(rows)
    centre = Phi.mean(axis=0)
    values, V = linalg.eigh((Phi - centre).T @ (Phi - centre))
    order = np.argsort(-values, kind="stable")[:n_coordinates]
    order = order[values[order] > FAINT * values.max()]
    T = V[:, order] / np.sqrt(values[order])
    return Chart(
        X=given,
        Q=frozen((Phi - centre) @ T),
        mean=frozen(mean),
        inverse=frozen(inverse),
        features=features,
        centre=frozen(centre),
        T=frozen(T),
        variance=frozen(values[order] / values[values > 0].sum()),
    )


@dataclass(frozen=True, eq=False)
class Forecast:
    """What a probe will read off a model trained on a relation; see the module.

    score: mean probability of the own class (R^2 for numbers), on samples unseen by the relation. standard_error: of
    it, over those samples. accuracy, accuracy_error: share of hits of the same probe, None for numbers; the probe has
    few labels, so a trained model with all of them reaches more. per_row (n,): each sample's part, whose mean is the
    score. rows (n,): those samples.
    """

    score: float
    standard_error: float
    accuracy: float | None
    accuracy_error: float | None
    per_row: Array
    rows: Any

    @property
    def n_labels(self) -> int:
        return int(self.rows.size)


@dataclass(frozen=True)
class Visible:
    """What can be seen of a relation without labels; see the module. score: max(0, agreement) coverage."""

    score: float
    agreement: float
    agreement_error: float
    coverage: float


def forecast_score(
    relation: Graph,
    n_components: int,
    y: Any,
    *,
    X: Any,
    chart: Chart | None = None,
    on: Any = None,
    source: Any = None,
    n_labels: int | None = None,
    rungs: Sequence[int] = RUNGS,
    seed: int = 0,
) -> Forecast:
    """How well a probe will tell classes apart, on samples that neither relation nor probe have seen.

    relation: over the rows X (N, D). on (n, D): the samples to probe, where the rows are views of them; source (N,):
    the sample each row is a view of. y (n,): classes (whole numbers, text) or numbers; missing: -1, "", NaN.
    n_labels: so many labelled samples, drawn with `seed`; None takes as many as there are, but a third of all samples
    at most, so that enough is left of the relation. chart: from `smooth_chart`, made from `on` (or X) where left out.
    rungs: of smoothness, see the module.

    Raises DataError for options that do not fit together, fewer than three labels, or labels that are all equal.
    """
    placed = _Placed.of(relation, n_components, X, chart, on, source)
    Y, known, classes = label_matrix(y, placed.n)
    rows = np.flatnonzero(known)
    if n_labels is not None:
        check_int(n_labels, "n_labels", low=3)
    most = min(max(3, placed.n // HELD_MAX), rows.size if n_labels is None else n_labels)
    rows = np.sort(generator(seed, "a forecast").permutation(rows)[:most])
    if rows.size < 3 or not np.ptp(Y[rows], axis=0).any():
        raise DataError(f"a forecast needs three labels that are not all equal, got {rows.size}; give more labels")
    if not isinstance(rungs, Sequence) or not rungs:
        raise DataError("rungs must name one at least, as in rungs=(0, 50); 0 is no penalty")
    for rung in rungs:
        check_int(rung, "a rung", low=0)
    codes = np.unique(Y[rows].argmax(axis=1), return_inverse=True)[1]
    per_row, hits = np.zeros(rows.size), np.zeros(rows.size)
    for Z in placed.without(rows, rungs):
        if classes:
            found = discriminant_left_out(Z, codes)
            per_row, hits = per_row + found.probability / len(rungs), hits + found.hits / len(rungs)
        else:
            probe = leave_one_out(Z, Y[rows, 0], probe="least_squares", ridge=None)
            per_row = per_row + probe.per_row / len(rungs)
    return Forecast(
        score=float(per_row.mean()),
        standard_error=_error(per_row),
        accuracy=float(hits.mean()) if classes else None,
        accuracy_error=_error(hits) if classes else None,
        per_row=frozen(per_row),
        rows=frozen(rows),
    )


def visible_score(
    relation: Graph,
    n_components: int,
    *,
    X: Any,
    chart: Chart | None = None,
    on: Any = None,
    source: Any = None,
    seed: int = 0,
) -> Visible:
    """Agreement of unseen pairs and coverage of the data, without labels; arguments as for `forecast_score`.

    Raises DataError as `forecast_score`, and where neither half of the samples holds a pair.
    """
    placed = _Placed.of(relation, n_components, X, chart, on, source)
    half = generator(seed, "a forecast").permutation(placed.n) < placed.n // 2
    found = []
    for seen in (half, ~half):
        fit, rest = np.flatnonzero(seen[placed.source]), np.flatnonzero(~seen[placed.source])
        try:
            B = next(placed.solved(fit, (0,)))
            m = Moments.from_arrays(placed.Q[rest] @ B, relation.subgraph(rest))
        except DataError:  # no pair is left in a half
            continue
        T = linalg.whitening(m.degree_scatter)[0]
        found.append(float(np.trace(T.T @ m.adjacency_centred @ T)) / placed.K)
    if not found:
        raise DataError("no pair lies inside a half of the samples, so agreement cannot be judged on pairs unseen")
    B = next(placed.solved(np.arange(relation.n_samples), (0,)))
    Z = placed.Q_on @ B
    U = linalg.orthonormal_basis(Z - Z.mean(axis=0))
    leading, variance = placed.Q_on[:, : placed.K], placed.chart.variance[: placed.K]
    kept = ((U.T @ leading) ** 2).sum(axis=0) / (leading**2).sum(axis=0)
    coverage, agreement = float(kept @ variance / variance.sum()), float(np.mean(found))
    return Visible(
        score=max(0.0, agreement) * coverage,
        agreement=agreement,
        agreement_error=abs(found[0] - found[1]) / 2 if len(found) > 1 else float("nan"),
        coverage=coverage,
    )


def paired_difference(first: Forecast, second: Forecast) -> tuple[float, float]:
    """Difference of two scores and its standard error, taken sample by sample on the labelled ones both have."""
    _, a, b = np.intersect1d(first.rows, second.rows, return_indices=True)
    if a.size < 3:
        raise DataError("two forecasts are compared on the labelled rows they share; use the same y, n_labels and seed")
    difference = first.per_row[a] - second.per_row[b]
    return float(difference.mean()), _error(difference)


@dataclass(frozen=True, eq=False)
class _Placed:
    """A relation in a chart: Q (N, q) of its rows, Q_on (n, q) of the samples they are views of."""

    relation: Graph
    K: int
    chart: Chart
    Q: Array
    Q_on: Array
    source: Any

    @property
    def n(self) -> int:
        return int(self.Q_on.shape[0])

    @classmethod
    def of(cls, relation: Graph, K: int, X: Any, chart: Chart | None, on: Any, source: Any) -> _Placed:
        check_int(K, "n_components", low=1)
        if not isinstance(relation, Graph):
            raise DataError(f"a relation must be a Graph, got {type(relation).__name__}; make one by ss.relations")
        X, on = (given.X if isinstance(given, Dataset) else given for given in (X, on))
        if not hasattr(X, "__len__") or len(X) != relation.n_samples:
            raise DataError(
                f"X has {len(X) if hasattr(X, '__len__') else 'no'} rows, but the relation is over "
                f"{relation.n_samples} samples"
            )
        if (on is None) != (source is None):
            raise DataError("on= are the samples that rows are views of, and source= says which: give both, or neither")
        chart = smooth_chart(X if on is None else on) if chart is None else chart
        if chart.n_coordinates < K:
            raise DataError(
                f"n_components={K} exceeds the {chart.n_coordinates} smooth coordinates that relations are judged by; "
                f"choose at most {chart.n_coordinates}, or give more rows"
            )
        Q = chart(X)
        if on is None:
            return cls(relation, K, chart, Q, Q, np.arange(len(X)))
        Q_on, source = chart(on), np.asarray(source)
        if (
            source.shape != (len(X),)
            or source.dtype.kind not in "iu"
            or not 0 <= source.min() <= source.max() < len(on)
        ):
            raise DataError(f"source must name a row of on (0 to {len(on) - 1}) for every row of X")
        return cls(relation, K, chart, Q, Q_on, source)

    def without(self, left_out: Any, rungs: Sequence[int]) -> Iterator[Array]:
        """Z of the samples left out, up to a shift, from the relation among the other ones, on every rung."""
        out = np.zeros(self.n, dtype=bool)
        out[left_out] = True
        for B in self.solved(np.flatnonzero(~out[self.source]), rungs):
            yield self.Q_on[left_out] @ B

    def solved(self, rows: Any, rungs: Sequence[int]) -> Iterator[Array]:
        """B (q, K) of the relation among some rows, on every rung."""
        m = Moments.from_arrays(self.Q[rows], self.relation.subgraph(rows))
        w = self.chart.variance
        size = float(np.trace(m.degree_scatter)) / w.size
        for rung in rungs:
            R = size * w[min(rung, w.size) - 1] / w if rung else np.zeros(w.size)
            pairs = linalg.generalized_eigh(m.adjacency_centred - np.diag(R), m.degree_scatter, largest=True)
            yield pairs.vectors[:, : self.K]


def _error(values: Array) -> float:
    return float(values.std(ddof=1) / math.sqrt(values.size))
