"""Everything that (sigma, delta)-augmentation says of an encoder on given views, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.data import Dataset
from spectral_ssl.errors import DataError
from spectral_ssl.theory.augmentation import (
    Certificate,
    Features,
    Form,
    centre_bounds,
    lipschitz,
    smallest_certificates,
)
from spectral_ssl.theory.bound import Bound
from spectral_ssl.theory.divergence import alignment_bounds, divergence_bounds
from spectral_ssl.theory.main_parts import (
    MainParts,
    Margin,
    Metric,
    ViewSet,
    augmented_distance,
    class_margin,
    raw_distances,
    sigma_bracket,
)

__all__ = ["AugmentationReport", "augmentation_report", "checked"]

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)  # quantiles of distances within classes, unaugmented: deltas of a report
EPS = (0.05, 0.1, 0.2, 0.5, 1.0)  # in units of the largest norm


@dataclass(frozen=True, eq=False)
class AugmentationReport:
    """margin: whether classes share a view. parts: the bracket of sigma at every delta. features: R_eps, alignment,
    centres, errors. L: the largest ratio on the views. found: the best certificate of every form. bounds: all of them,
    with the assumptions of each."""

    views: ViewSet
    margin: Margin
    parts: tuple[MainParts, ...]
    features: Features
    L: float
    found: dict[Form, Certificate]
    bounds: tuple[Bound, ...]


def augmentation_report(
    data: Dataset,
    Z: Any,  # (M, d)
    *,
    enumerated: bool = False,
    deltas: Sequence[float] | None = None,
    eps: Sequence[float] = EPS,
    normalize: bool = True,
    metric: Metric = "euclidean",
    budget: int = 1000,
    seed: int = 0,
) -> AugmentationReport:
    """Of views with `source` and classes, the sample itself first, and their features, row by row.

    enumerated: these are all views there are. deltas: None takes quantiles of the distances within classes of the
    samples themselves. eps: in units of the largest norm. normalize: bring features to norm 1, as the theorems on
    InfoNCE have it; without, their bounds are left out. budget: of the search for cliques. seed: of anchors drawn.
    """
    views = ViewSet.of(data, enumerated=enumerated)
    Z = np.asarray(Z)
    if Z.ndim != 2 or len(Z) != len(views.X):
        raise DataError(f"{len(views.X)} views need as many rows of features, got shape {Z.shape}")
    features = Features.of(views, Z[views.order])
    features = features.normalised() if normalize else features
    d_A = augmented_distance(views, metric=metric)
    at = np.quantile(raw_distances(views, metric=metric), SHARES) if deltas is None else deltas
    parts = tuple(sigma_bracket(d_A, float(delta), budget=budget) for delta in at)
    margin = class_margin(views, metric=metric)
    L, found, bounds = checked(features, parts, margin, eps, metric=metric, normalized=normalize, seed=seed)
    return AugmentationReport(views, margin, parts, features, L, found, bounds)


def checked(
    features: Features,
    parts: Sequence[MainParts],
    margin: Margin,
    eps: Sequence[float],
    *,
    metric: Metric,
    normalized: bool,
    seed: int,
) -> tuple[float, dict[Form, Certificate], tuple[Bound, ...]]:
    """L on the views, the best certificates over parts and eps (0 too, in units of r), and every bound."""
    L = lipschitz(features.views, features.Z, metric=metric)
    reach = sorted({0.0, *(float(value) * features.r for value in eps)})
    found = smallest_certificates(features, parts, reach, L)
    bounds = [*centre_bounds(features, found, margin, L)]
    for value in reach[1:]:
        bounds += alignment_bounds(features, value)
    if normalized:
        bounds += divergence_bounds(features, seed=seed)
    return L, found, tuple(bounds)
