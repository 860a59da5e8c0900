"""How good a model trained on a relation will be, from relation and data alone: scores to rank relations by.

**With labels** (`forecast_score`): the training to come, in small. The loss that will be trained on is descended for a
few steps, over linear maps of what an untrained network computes (`charts.network_chart`) in place of the network,

    Z = Q B,   B (q, K) from the K leading coordinates on,   `STEPS` steps of L-BFGS on L(QB), slope Q'dL/dZ

and a probe is fitted and judged as that of a trained model would be, on samples that relation and probe have not seen.
So the score is one of the loss, with its hyper-parameters: InfoNCE, for which samples without a pair are negatives all
the same, Barlow Twins, whose aims grow no weaker with random pairs, and VICReg, whose aims do, are each foretold by
themselves. And training in batches of B pairs descends another loss than that of the whole relation: what is squared in
it is larger by the variance of a batch, O(1/B), to which large rows and rows of few pairs give most (`methods.slopes`).
The score descends the expected loss of batches.
It takes a tenth of a second over a thousand rows, as each step is a product of (N, q) with (q, K). Few steps over few
coordinates, for networks that are trained for a while have not memorised everything either; but not too few, for they
have memorised much: under InfoNCE every sample without a pair is driven away from all others, those of its class among
them, and a relation that leaves many without one is worth less than its pairs are.

Barlow Twins leaves columns free: of what size they are, and, where no pair speaks for them, all else. Pairs within c
classes bear c - 1 columns; the others slope by the variance of batches alone, one B-th of what moves the rest. A
descent by slopes hardly moves them; L-BFGS, which takes curvature out, carries them off, and memorises by them. So
under Barlow Twins the way from the start costs what it costs weights on features of total variance 1,

    L(QB) + (mu / 2) sum_jk (B_jk - B0_jk)^2 / (v_j + rho),   v_j = w_j / sum_l w_l,  mu = 5e-4

as early stopping holds weights at their start. VICReg, which asks for variance in every column, and InfoNCE, under
which rows never cease to drive each other away, are not held.

The labelled samples are dealt into five folds; three of them, one after the other, are taken out of the relation with
all views, so that a relation made from the labels cannot hand them back; what is left keeps its mean degree; the loss
is descended; and a Gaussian probe (`gaussian_probe.discriminant`), fitted to the labelled samples that stayed, places
those that were taken out:

    score = mean over samples of [ p(own class | z_i) + hit_i ] / 2

half the accuracy to be expected of one who guesses by those probabilities, half the share of hits: the first is
steadier, the second closer to what is foretold. Labels that are numbers: R^2 of a ridge probe. Errors are over samples,
and two relations are compared sample by sample on the same ones.

**Without labels** (`visible_score`). What can be seen is whether pairs mean something that the data show: over maps of
smooth coordinates (`charts.smooth_chart`) Q'AQ b = a Q'DQ b, centred by degree, is solved on the pairs among one half
of the samples and judged on those among the other,

    agreement = tr[(Z'DZ)^-1 Z'AZ] / K,  centred by degree, on the unseen half: the mean correlation of unseen partners
    coverage  = share of the variance of the chart's leading K coordinates that span(Z) keeps
    score     = max(0, agreement) coverage

Random and corrupted pairs show in the agreement, pairs of faint features in the coverage. What it cannot see is whether
what pairs agree on is what the labels are about: pairs of equal style score as pairs of equal class, and views that
change nothing agree perfectly.

Derived here, and heuristic: nothing bounds how far a network's order can be from these. Scores rank; they are no
accuracies of the trained model. benchmarks/forecast.py measures how well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize

from spectral_ssl import linalg
from spectral_ssl.data import Dataset
from spectral_ssl.data._checks import check_int, frozen, generator
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.methods import BarlowTwins, Method, VICReg
from spectral_ssl.methods.slopes import slope
from spectral_ssl.moments import Moments
from spectral_ssl.solve import check_method
from spectral_ssl.spectrum import Spectra
from spectral_ssl.theory.alignment import label_matrix
from spectral_ssl.theory.charts import Chart, NetworkChart, network_chart, smooth_chart
from spectral_ssl.theory.gaussian_probe import discriminant

__all__ = ["Forecast", "Visible", "forecast_score", "lazy_map", "paired_difference", "visible_score"]

STEPS, SEARCH = 20, 1.2  # of L-BFGS, and evaluations of the loss for each at most
BATCH_SIZE = 128  # pairs of a batch of the training to come
COSINES, COMPARED = 300_000, 64  # that InfoNCE takes at each step at most, or COMPARED for each row
FOLDS, JUDGED = 5, 3  # parts of the labelled samples, and those of them that are taken out, one after the other
HELD = 5e-4  # mu, of Barlow Twins
RIDGE = 1e-3  # of the probe of numbers, as that of `comparison.linear_probe`


@dataclass(frozen=True, eq=False)
class Forecast:
    """What a probe will read off a model trained on a relation; see the module.

    score: mean of probability of the own class and hit (R^2 for numbers), on samples unseen by relation and probe.
    standard_error: of it, over those samples. accuracy, accuracy_error: share of hits alone, None for numbers. per_row
    (n,): each sample's part, whose mean is the score. rows (n,): those samples.
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
    method: Method | None = None,
    chart: NetworkChart | None = None,
    on: Any = None,
    source: Any = None,
    n_labels: int | None = None,
    folds: int = FOLDS,
    judged: int = JUDGED,
    steps: int = STEPS,
    batch_size: int | None = BATCH_SIZE,
    seed: int = 0,
) -> Forecast:
    """How well a probe will tell classes apart, on samples that neither relation nor probe have seen.

    relation: over the rows X (N, D). method: the loss that would be trained; None is VICReg(), with invariance=None
    resolved on linear maps as in `ss.train`. on (n, D): the samples to probe, where the rows are views of them; source
    (N,): the sample each row is a view of. y (n,): classes (whole numbers, text) or numbers; missing: -1, "", NaN.
    n_labels: so many labelled samples, drawn with `seed`; None takes all. chart: from `network_chart`, made from `on`
    (or X) where left out; one serves all relations. folds: parts the labelled samples are dealt into, at least 2;
    judged: how many of them are taken out, one after the other. batch_size: pairs of each step of the training to
    come, which make the loss another one; None for the whole relation at once.

    Raises DataError for options that do not fit together, fewer than three labels, labels that are all equal, and a
    loss that cannot be descended.
    """
    method = VICReg() if method is None else method
    check_method(method)
    placed = _placed(relation, n_components, X, on, source)
    chart = network_chart(placed.on) if chart is None else chart
    K = _fits(n_components, chart)
    if why := method.untrainable(K):
        raise DataError(why)
    Y, known, classes = label_matrix(y, placed.n)
    rows = np.flatnonzero(known)
    rng = generator(seed, "a forecast")
    rows = rng.permutation(rows)
    if n_labels is not None:
        check_int(n_labels, "n_labels", low=3)
        rows = rows[:n_labels]
    if rows.size < 3 or not np.ptp(Y[rows], axis=0).any():
        raise DataError(f"a forecast needs three labels that are not all equal, got {rows.size}; give more labels")
    check_int(folds, "folds", low=2)
    check_int(steps, "steps", low=1)
    if batch_size is not None:
        check_int(batch_size, "batch_size", low=2)
    if check_int(judged, "judged", low=1) > folds:
        raise DataError(f"judged={judged} exceeds the {folds} folds there are")
    fold = np.arange(rows.size) % min(folds, rows.size)
    method = _resolved(method, relation, placed.X, K)
    Q, Q_on = chart(placed.X), chart(placed.on)
    per_row, hits = np.zeros(rows.size), np.zeros(rows.size)
    for k in range(min(judged, int(fold.max()) + 1)):
        out, stay = rows[fold == k], rows[fold != k]
        kept = np.flatnonzero(~np.isin(placed.source, out))
        B = lazy_map(
            method,
            _at_degree(relation, kept),
            Q[kept],
            K,
            steps=steps,
            batch_size=batch_size,
            cost=chart.cost,
            seed=seed,
        )
        Z = Q_on @ B
        Z, held = Z[stay], Z[out]
        if classes:
            p = discriminant(Z, Y[stay].argmax(axis=1), held, n_classes=Y.shape[1])
            own = Y[out].argmax(axis=1)
            hits[fold == k] = p.argmax(axis=1) == own
            per_row[fold == k] = (p[np.arange(out.size), own] + hits[fold == k]) / 2
        else:
            miss = Y[out, 0] - _ridge(Z, Y[stay, 0], held)
            per_row[fold == k] = 1 - miss**2 / Y[rows, 0].var()
    order = np.argsort(rows)
    order = order[fold[order] < judged]
    per_row, hits = per_row[order], hits[order]
    return Forecast(
        score=float(per_row.mean()),
        standard_error=_error(per_row),
        accuracy=float(hits.mean()) if classes else None,
        accuracy_error=_error(hits) if classes else None,
        per_row=frozen(per_row),
        rows=frozen(rows[order]),
    )


def lazy_map(
    method: Method,
    relation: Graph,
    Q: Array,
    n_components: int,
    *,
    steps: int = STEPS,
    batch_size: int | None = None,
    cost: Array | None = None,
    seed: int = 0,
) -> Array:
    """B (q, K): a loss descended over Z = Q B for a few steps from the K leading coordinates; see the module.

    Q (N, q): coordinates of the relation's rows. batch_size: pairs of a batch whose expected loss is descended, None
    for the loss itself. cost (q,): of going along each coordinate, by which Barlow Twins is held at its start; None
    holds nothing. seed: of the batches that InfoNCE compares rows in, no more than 2 batch_size.

    Raises DataError for a cost of another length, and for a loss that cannot be descended.
    """
    n_compared = max(COMPARED, COSINES // relation.n_samples)
    if batch_size is not None:
        n_compared = min(n_compared, 2 * batch_size)
    evaluate = slope(method, relation, Q, batch_size=batch_size, n_compared=n_compared, seed=seed)
    start = np.eye(Q.shape[1], n_components)
    if cost is not None and np.shape(cost) != start.shape[:1]:
        raise DataError(f"cost must be one number for each of the {len(start)} coordinates, got {np.shape(cost)}")
    hold = None if cost is None or not _held(method) else _held(method) * np.asarray(cost)[:, None]
    scale = 0.0

    def objective(b: Array) -> tuple[float, Array]:
        nonlocal scale
        B = b.reshape(start.shape)
        loss, dB = evaluate(B)
        scale = scale or abs(loss) or 1.0  # at the start: the first step of L-BFGS would know the unit of the loss
        if hold is not None:
            pull = hold * (B - start)
            loss, dB = loss + float(np.vdot(pull, B - start)) / 2, dB + pull
        return loss / scale, dB.ravel() / scale

    options = {"maxiter": steps, "maxfun": math.ceil(SEARCH * steps), "ftol": 0.0, "gtol": 0.0}
    found = scipy.optimize.minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    B: Array = found.x.reshape(start.shape)
    if not np.all(np.isfinite(B)):
        raise DataError(f"the loss of {type(method).__name__} could not be descended over this relation")
    return B


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

    chart: from `smooth_chart`. Raises DataError for options that do not fit together, and where neither half of the
    samples holds a pair.
    """
    placed = _placed(relation, n_components, X, on, source)
    chart = smooth_chart(placed.on) if chart is None else chart
    K = _fits(n_components, chart)
    Q, Q_on = chart(placed.X), chart(placed.on)
    half = generator(seed, "a forecast").permutation(placed.n) < placed.n // 2
    found = []
    for seen in (half, ~half):
        fit, rest = np.flatnonzero(seen[placed.source]), np.flatnonzero(~seen[placed.source])
        try:
            B = _leading(Q[fit], relation.subgraph(fit), K)
            m = Moments.from_arrays(Q[rest] @ B, relation.subgraph(rest))
        except DataError:  # no pair is left in a half
            continue
        T = linalg.whitening(m.degree_scatter)[0]
        found.append(float(np.trace(T.T @ m.adjacency_centred @ T)) / K)
    if not found:
        raise DataError("no pair lies inside a half of the samples, so agreement cannot be judged on pairs unseen")
    Z = Q_on @ _leading(Q, relation, K)
    U = linalg.orthonormal_basis(Z - Z.mean(axis=0))
    leading, variance = Q_on[:, :K], chart.variance[:K]
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
    """Rows X (N, D) of a relation, the samples `on` (n, D) they are views of, and of which each is one, source (N,)."""

    X: Any
    on: Any
    source: Any

    @property
    def n(self) -> int:
        return len(self.on)


def _placed(relation: Graph, K: int, X: Any, on: Any, source: Any) -> _Placed:
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
    if on is None:
        return _Placed(X, X, np.arange(len(X)))
    source = np.asarray(source)
    if source.shape != (len(X),) or source.dtype.kind not in "iu" or not 0 <= source.min() <= source.max() < len(on):
        raise DataError(f"source must name a row of on (0 to {len(on) - 1}) for every row of X")
    return _Placed(X, on, source)


def _fits(K: int, chart: Chart | NetworkChart) -> int:
    if chart.n_coordinates < K:
        raise DataError(
            f"n_components={K} exceeds the {chart.n_coordinates} coordinates that relations are judged by; choose at "
            f"most {chart.n_coordinates}, or give more rows"
        )
    return K


def _resolved(method: Method, relation: Graph, X: Any, K: int) -> Method:
    """Hyper-parameters left to the data, as `ss.train` resolves them for a network: on linear maps."""
    if method.hyper.get("invariance", 0.0) is not None:
        return method
    moments = Moments.from_arrays(X, relation)
    return method.resolve(Spectra(moments=moments).of(method.pencil, K), K)


def _held(method: Method) -> float:
    """mu: columns are free in size, and where no pair speaks for them in direction, under Barlow Twins alone."""
    return HELD if isinstance(method, BarlowTwins) and method.normalized else 0.0


def _at_degree(relation: Graph, kept: Any) -> Graph:
    """The relation among some rows at the mean degree of the whole, which weighs its terms against others."""
    part = relation.subgraph(kept)
    return part.scaled(relation.total_weight / relation.n_samples * part.n_samples / part.total_weight)


def _leading(Q: Array, relation: Graph, K: int) -> Array:
    """B (q, K): the top of (Q'AQ, Q'DQ), centred by degree."""
    m = Moments.from_arrays(Q, relation)
    return linalg.generalized_eigh(m.adjacency_centred, m.degree_scatter, largest=True).vectors[:, :K]


def _ridge(Z: Array, y: Array, held: Array) -> Array:
    """Predictions at `held` of ridge regression on Z (n, K), centred and brought to one scale."""
    centre, mean = Z.mean(axis=0), y.mean()
    size = math.sqrt(float(((Z - centre) ** 2).mean())) or 1.0
    A, B = (Z - centre) / size, (held - centre) / size
    out: Array = mean + B @ np.linalg.solve(A.T @ A + RIDGE * np.eye(A.shape[1]), A.T @ (y - mean))
    return out


def _error(values: Array) -> float:
    return float(values.std(ddof=1) / math.sqrt(values.size))
