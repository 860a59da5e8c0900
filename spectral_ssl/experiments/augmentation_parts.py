"""What `augment` and its reproductions measure of a set of views: main parts, an encoder, errors, certificates."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.stats

from spectral_ssl import linalg, spec
from spectral_ssl.comparison import knn_score, linear_probe_score
from spectral_ssl.data import Dataset, augment
from spectral_ssl.data.views import Transform
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.experiments.recipe import Recipe
from spectral_ssl.experiments.setting import Setting, check_spread
from spectral_ssl.methods import Method
from spectral_ssl.relations import views as view_pairs
from spectral_ssl.solve import optimum
from spectral_ssl.theory.augmentation import Certificate, Features, Form
from spectral_ssl.theory.augmented import checked
from spectral_ssl.theory.bound import Bound
from spectral_ssl.theory.main_parts import (
    MainParts,
    Margin,
    Metric,
    ViewSet,
    augmented_distance,
    class_margin,
    sigma_bracket,
)
from spectral_ssl.training import train
from spectral_ssl.training.monitors import N_NEIGHBORS, knn_accuracy

__all__ = ["Candidate", "Judged", "candidate_of", "errors_of", "fitted", "originals_of", "rank_correlation"]

OWN = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # quantiles of a set's own d_A at which certificates are looked for too
SLOPES = {"ReLU": 1.0, "Tanh": 1.0, "Identity": 1.0, "GELU": 1.13}  # largest slopes of activations


@dataclass(eq=False)
class Candidate:
    """A set of views of the training originals, what it brings together, and, once judged, what came of it.

    data: rows of the views, as `ViewSet` found them. test: held-out originals, None where there are none.
    """

    name: str
    setting: Setting
    data: Dataset
    views: ViewSet
    test: Dataset | None
    margin: Margin | None = None
    d_A: tuple[Array, ...] = ()
    parts: list[MainParts] = field(default_factory=list)
    judged: Judged | None = None
    seconds: float = 0.0

    def measure(self, deltas: Sequence[float], metric: Metric, budget: int) -> None:
        """Main parts at every delta, and whether classes share a view."""
        started = time.perf_counter()
        self.margin = class_margin(self.views, metric=metric)
        self.d_A = augmented_distance(self.views, metric=metric)
        self.parts = [sigma_bracket(self.d_A, delta, budget=budget) for delta in deltas]
        self.seconds += time.perf_counter() - started

    def own_parts(self, budget: int) -> list[MainParts]:
        """Main parts at distances of this set itself, for certificates: these need no common delta."""
        inside = np.concatenate([D[np.triu_indices(len(D), 1)] for D in self.d_A if len(D) > 1] or [np.zeros(1)])
        return [sigma_bracket(self.d_A, float(delta), budget=budget) for delta in np.quantile(inside, OWN)]


@dataclass(frozen=True, eq=False)
class Judged:
    """An encoder on a candidate. errors: by name; found: the certificates; bounds: every inequality, checked.

    L: the largest ratio on the views; L_network: |W| of a linear map, or the product of spectral norms of a network,
    over the least |z| where features are normalised; None for other maps.
    """

    features: Features
    errors: Mapping[str, float]
    found: Mapping[Form, Certificate]
    bounds: tuple[Bound, ...]
    L: float
    L_network: float | None


# ----------------------------------------------------------------------------------------------------------------- data


def candidate_of(
    dataset: Dataset,
    transforms: str | Sequence[str | Transform] | None,
    *,
    name: str,
    n_views: int,
    enumerated: bool = False,
    test_size: float,
    standardize: bool = False,
    seed: int,
) -> Candidate:
    """Views of the training originals by `transforms`, the original first; or the data as they are, views already.

    No leakage: originals are split first, and only training originals are augmented.
    """
    check_spread(dataset)
    train_rows, test_rows = dataset.split(test_size, seed)
    if standardize:
        mean, spread = dataset.X[train_rows].mean(axis=0), dataset.X[train_rows].std(axis=0)
        dataset = replace(dataset, X=(dataset.X - mean) / np.where(spread > 0, spread, 1.0))
    rows = dataset if test_rows.size == 0 else dataset.subset(train_rows)
    held = None if test_rows.size == 0 else originals_of(dataset.subset(test_rows))
    notes: tuple[str, ...] = ()
    if dataset.source is None:
        originals = rows
        rows = augment(originals, n_views, transforms, seed=seed, keep_original=True)
        calls = ", ".join(map(str, rows.meta["transforms"]))
        notes = (f"{name}: {originals.n_samples:,} originals, each with itself and {n_views - 1} views by {calls}",)
    else:
        originals = originals_of(rows)
    views = ViewSet.of(rows, enumerated=enumerated)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)  # single views are counted in the record
        graph = view_pairs(rows)
    setting = Setting(rows, graph, originals, held, "views", 0, notes, None)
    return Candidate(name, setting, rows, views, held)


def originals_of(data: Dataset) -> Dataset:
    """The first row of every source: the sample itself."""
    if data.source is None:
        return data
    first = np.unique(data.source, return_index=True)[1]
    return data.subset(np.sort(first))


# -------------------------------------------------------------------------------------------------------------- encoder


def fitted(
    candidate: Candidate, method: Method, K: int, *, model: str, kernel: str | None, recipe: Recipe, seed: int
) -> Embedding:
    """The closed form of the method on the views, over linear maps or a kernel's; a trained network where one is asked
    for."""
    X, graph = candidate.data.X, candidate.setting.graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)  # of one among many: its row tells
        if recipe.encodes:
            run = train(method, graph, K, X=X, seed=seed, max_iter=recipe.max_iter, **recipe.options())
            return run.embedding
        options: dict[str, Any] = {} if model == "linear" else {"kernel": kernel or "nystroem"}
        return optimum(method, graph, K, X=X, **options).embedding


def network_slope(embedding: Embedding) -> float | None:
    """A Lipschitz constant over all inputs, before any normalising of rows: the product of spectral norms."""
    if embedding.W is not None and embedding.features is None:
        return float(linalg.svd(embedding.W)[1][0])
    network = getattr(embedding.extension, "network", None)
    if network is None:
        return None
    slope = float(linalg.svd(embedding.extension.scale.scale)[1][0])  # type: ignore[union-attr]
    for layer in network.modules():
        kind = type(layer).__name__
        if kind == "Linear":
            slope *= float(linalg.svd(layer.weight.detach().double().cpu().numpy())[1][0])
        elif kind == "Standardise":
            slope *= float(layer.inverse.max())
        elif kind in SLOPES:
            slope *= SLOPES[kind]
        elif kind != "Sequential":
            return None
    return slope


# -------------------------------------------------------------------------------------------------------------- judging


def judge(
    candidate: Candidate,
    Z: Array,  # (M, d), features of the rows of `candidate.data`
    Z_test: Array | None,
    *,
    slope: float | None,
    normalize: bool,
    eps: Sequence[float],
    metric: Metric,
    budget: int,
    seed: int,
) -> Judged:
    """Errors of the encoder, certificates over all delta and eps (in units of r), and every bound."""
    assert candidate.margin is not None
    views = candidate.views
    features = Features.of(views, Z[views.order])
    least = features.norms[0]
    if normalize:
        features = features.normalised()
        Z_test = None if Z_test is None else Z_test / np.maximum(np.linalg.norm(Z_test, axis=1), 1e-300)[:, None]
        slope = None if slope is None else slope / least
    parts = [*candidate.parts, *candidate.own_parts(budget)]
    L, found, bounds = checked(features, parts, candidate.margin, eps, metric=metric, normalized=normalize, seed=seed)
    return Judged(features, errors_of(candidate, features, Z_test), found, bounds, L, slope)


def errors_of(candidate: Candidate, features: Features, Z_test: Array | None) -> dict[str, float]:
    """Shares of samples that are classified wrongly: by the nearest class centre, neighbours, a linear probe.

    Held-out originals where there are any; "train_error" is always of the training originals, of which the
    certificates speak. Where nothing is held out neighbours leave the sample out, and the probe is in-sample.
    """
    views = candidate.views
    raw, y = features.Z[views.start[:-1]], views.classes[views.codes]
    errors = {"train_error": features.error}
    if Z_test is None or candidate.test is None:
        errors["error"] = features.error
        for name, k in (("error_1nn", 1), ("error_knn", N_NEIGHBORS)):
            errors[name] = 1 - knn_accuracy(raw, views.codes, n_neighbors=k)
        errors["error_linear"] = 1 - linear_probe_score(raw, y, raw, y, classification=True)
        return errors
    y_test = np.asarray(candidate.test.y)
    errors["error"] = float(np.mean(views.classes[features.nearest_centre(Z_test)] != y_test))
    for name, k in (("error_1nn", 1), ("error_knn", N_NEIGHBORS)):
        errors[name] = 1 - knn_score(raw, y, Z_test, y_test, classification=True, n_neighbors=k)
    errors["error_linear"] = 1 - linear_probe_score(raw, y, Z_test, y_test, classification=True)
    return errors


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float | None, float | None]:
    """Spearman's coefficient and its p-value, one-sided for a positive one; None where one side has no order."""
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return None, None
    found = scipy.stats.spearmanr(x, y, alternative="greater")
    return float(found.statistic), float(found.pvalue)


def check_sets(text: str) -> list[str]:
    """The sets of "noise(scale=0.3); shift(pixels=1), rotation(degrees=10)", each once and in full."""
    found = [
        ", ".join(spec.format_call(*call) for call in spec.parse_calls(part))
        for part in text.split(";")
        if part.strip()
    ]
    if not found:
        raise DataError(
            "no augmentation set was given; name some, a semicolon between sets, as in 'noise(scale=0.3); "
            "shift(pixels=1), rotation(degrees=10)'"
        )
    return list(dict.fromkeys(found))
