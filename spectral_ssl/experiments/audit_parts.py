"""What an audit measures of Z besides the losses: filters, collapse, the sphere, the distance to optima, labels."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.comparison import GAP_JUDGED, METRICS, principal_angles
from spectral_ssl.data import Dataset
from spectral_ssl.embedding import Array, Embedding, Optimum
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.experiments.probes import knn_left_out
from spectral_ssl.graph import Graph
from spectral_ssl.methods import Method
from spectral_ssl.spectrum import Spectra
from spectral_ssl.theory.alignment import label_alignment, label_matrix
from spectral_ssl.theory.degeneracy import collapse
from spectral_ssl.theory.fitting import Resemblance, resemblance
from spectral_ssl.theory.left_out import leave_one_out
from spectral_ssl.theory.sphere import uniformity
from spectral_ssl.training.monitors import KNN_ROWS, knn_accuracy

__all__ = ["against_optimum", "collapse_record", "filter_record", "label_record", "sphere_record"]


def filter_record(Z: Array, free: Spectra, X: Array | None) -> dict[str, Any]:
    """Which filter Z resembles, and where its energy lies. X: data of the linear model, where there are any."""
    found: Resemblance = resemblance(Z, free, X=X)
    N, K, best = Z.shape[0], Z.shape[1], found.best
    return {
        "verdict": found.verdict if best is not None else None,
        "best": best.key if best is not None else None,
        "alike": list(found.alike),
        "margin": found.margin,
        "undecided": found.undecided,
        "chance_outside_top": 1 - K / (N - 1),
        "energies": {
            basis: {
                "pencil": at.pencil,
                "model": at.model,
                "values": at.values,
                "energies": at.energies,
                "constants": at.constants,
                "total": at.total,
                "outside": at.outside,
                "outside_top": at.outside_top(K),
                "diagonal": at.diagonal,
                "coupled": at.coupled,
            }
            for basis, at in found.energies.items()
        },
        "fits": [
            {
                "key": fit.key,
                "method": fit.name,
                "model": fit.model,
                "label": fit.label,
                "basis": fit.basis,
                "kind": fit.family.kind,
                "residual": fit.residual,
                "floor": fit.floor,
                "linear_cka": fit.linear_cka,
                "parameters": fit.parameters,
                "h": fit.h,
                "expected": fit.expected,
            }
            for fit in found.fits
        ],
    }


def collapse_record(Z: Array) -> dict[str, Any]:
    """Rank, constant and copied columns, the mean."""
    return asdict(collapse(Z))


def sphere_record(Z: Array, graph: Graph) -> dict[str, Any] | None:
    """Alignment and uniformity; None where fewer than two rows have a direction."""
    try:
        return asdict(uniformity(Z, graph))
    except DataError:
        return None


def against_optimum(method: Method, Z: Array, best: Optimum, graph: Graph) -> dict[str, Any]:
    """How far Z is from an optimum in what both span and in shape: Z centred as the loss centres it.

    Angles are None where the gap at the rank is below 1e-3, or the optimal subspace is not unique.
    """
    F = _as_the_loss(method, Z, graph)
    seen, rank, gap = Embedding(Z=F), best.rank, best.gap
    judged = rank > 0 and best.unique_up_to != "none" and gap >= GAP_JUDGED  # of a search the gap is nan
    angles = principal_angles(seen, best) if judged else np.zeros(0)
    U = linalg.range_basis(best.embedding.Z, rank)[0]
    size = float((F**2).sum())
    optimum = _as_the_loss(method, best.embedding.Z, graph)
    return {
        "max_angle": float(angles.max()) if angles.size else None,
        "angles": angles,
        "spectral_gap": gap if math.isfinite(gap) else None,
        "energy_in_range": float(((U.T @ F) ** 2).sum()) / size if size > 0 and rank > 0 else None,
        "procrustes": METRICS["procrustes"](seen, best.embedding) if size > 0 else None,
        "linear_cka": METRICS["linear_cka"](seen, best.embedding) if size > 0 else None,
        "singular_attainable": linalg.svd(optimum)[1] / math.sqrt(Z.shape[0]),
    }


def _as_the_loss(method: Method, Z: Array, graph: Graph) -> Array:
    """Z less the mean that the loss does not see."""
    if method.centred is None:
        return Z
    mean = Z.mean(axis=0) if method.centred == "mean" else graph.degree @ Z / graph.total_weight
    found: Array = Z - mean
    return found


def label_record(Z: Array, data: Dataset, free: Spectra) -> tuple[dict[str, Any] | None, str]:
    """What can be read off Z about labels, on rows left out; and what has to be said about it, "" for nothing."""
    if data.y is None:
        return None, ""
    known = data.labelled
    y = data.y[known]
    if known.sum() < 3 or np.unique(y).size < 2:
        return None, "fewer than three labels, or all equal: nothing to read off Z"
    kinds = ("logistic", "least_squares") if data.is_classification else ("least_squares",)
    told, probes = [], {}
    for kind in kinds:
        try:
            found = leave_one_out(Z[known], y, probe=kind)  # type: ignore[arg-type]
        except ResourceError as error:
            told.append(str(error))
            continue
        probes[kind] = {"score": found.score, "standard_error": found.standard_error, "kind": found.kind}
    if data.source is not None and np.unique(data.source[known]).size < y.size:
        told.append("rows share originals, so that a probe with one row left out has seen its other views")
    try:
        captured: float | None = label_alignment(free, data.y, Z.shape[1]).captured(Z.shape[1])
    except DataError:
        captured = None
    knn, knn_error = _nearest(Z[known], y, data)
    share = float(np.unique(y, return_counts=True)[1].max() / y.size) if data.is_classification else 0.0
    record = {
        "n_labels": int(known.sum()),
        "score": "accuracy" if data.is_classification else "R^2",
        "chance": share,
        "probes": probes,
        "knn": knn,
        "knn_error": knn_error,
        "label_energy": _captured(Z[known], y),
        "label_energy_top": captured,
    }
    return record, "; ".join(told)


def _nearest(Z: Array, y: Any, data: Dataset) -> tuple[float | None, float | None]:
    """The leave-one-out score of nearest neighbours, and for classes its standard error."""
    source = None if data.source is None else data.source[data.labelled]
    if not data.is_classification:
        score = knn_left_out(Z, y, source)
        return (None if math.isnan(score) else score), None
    score = knn_accuracy(Z, np.unique(y, return_inverse=True)[1], source)
    n = min(y.size, KNN_ROWS)
    return (None, None) if math.isnan(score) else (score, math.sqrt(score * (1 - score) / n))


def _captured(Z: Array, y: Any) -> float:
    """|P HY|^2 / |HY|^2, P the projector on the range of HZ: R^2 of a linear probe on its own rows."""
    Y = label_matrix(y)[0]
    HY, U = Y - Y.mean(axis=0), linalg.orthonormal_basis(Z - Z.mean(axis=0))
    return float(((U.T @ HY) ** 2).sum() / (HY**2).sum())
