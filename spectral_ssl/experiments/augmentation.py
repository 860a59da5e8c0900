"""`augment`: which augmentations bring a class together, what that promises of the error, and whether it comes true.

Every set is measured before any training by 1 - sigma, the share of a class outside its main part (theory.main_parts),
at deltas common to all sets: quantiles of the distances within classes of the samples as they are, which no set
changes. Then an encoder is solved or trained on the views, and the promise of theory.augmentation is set against the
error of the nearest class centre on samples held out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl.data import Dataset, read_array
from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.augmentation_parts import (
    Candidate,
    candidate_of,
    check_sets,
    fitted,
    judge,
    network_slope,
    rank_correlation,
)
from spectral_ssl.experiments.augmentation_words import answer_of, notes_of
from spectral_ssl.experiments.frame import Report, experiment
from spectral_ssl.experiments.recipe import Recipe
from spectral_ssl.experiments.rows import parse_methods
from spectral_ssl.experiments.setting import data_summary, load_data
from spectral_ssl.methods import Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.theory.augmentation import FORMS
from spectral_ssl.theory.main_parts import raw_distances

__all__ = ["IMAGE_SETS", "VECTOR_SETS", "augment"]

QUESTION = "Do augmentations that bring a class together give a smaller error?"
IMAGE_SETS = (
    "noise(scale=0.3); erase(size=2); dropout(rate=0.1); shift(pixels=1); shift(pixels=2); rotation(degrees=10); "
    "rotation(degrees=30); blur(sigma=0.7); shift(pixels=1), rotation(degrees=20); "
    "shift(pixels=1), rotation(degrees=20), blur(sigma=0.7)"
)
VECTOR_SETS = (
    "noise(scale=0.1); noise(scale=0.3); noise(scale=1); dropout(rate=0.1); dropout(rate=0.5); scaling(scale=0.3); "
    "mask(fraction=0.25); noise(scale=0.3), dropout(rate=0.1)"
)
AS_GIVEN = "views as given"
USUAL = 8  # dimension of the features
TRAINED_ONLY = ("optimizer", "batch_size", "max_iter")


def augment(
    *,
    data: str = "digits",
    labels: Path | None = None,
    augmentations: str | None = None,
    n_views: int = 8,
    enumerated: bool = False,
    embedding: Path | None = None,
    method: str = "vicreg",
    n_components: int | None = None,
    model: Literal["linear", "kernel"] = "linear",
    kernel: str | None = None,
    encoder: str | None = None,
    optimizer: str = "adam",
    batch_size: int | None = 128,
    max_iter: int = 700,
    normalize: bool = True,
    deltas: Sequence[float] = (),
    delta_shares: Sequence[float] = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7),
    eps: Sequence[float] = (0.05, 0.1, 0.2, 0.5, 1.0),
    metric: str = "euclidean",
    budget: int = 1000,
    standardize: bool = False,
    test_size: float = 0.25,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Rank augmentation sets by 1 - sigma, the share of a class its views leave apart; certify errors where possible.

    Two samples are as far apart as their nearest views. sigma is the largest share of a class in which all are within
    delta of each other: a clique, so a bracket is told, from one found to what is proven. An encoder per set, its
    error by the nearest class centre on samples held out, and every certificate with its assumptions checked.

    Args:
        data: A data set by name, or a file or folder; rows that are views already (with a source column) are one set.
        labels: A file of labels, one per row of the data.
        augmentations: Sets of transforms, a semicolon between sets, as in "noise(scale=0.3); shift(pixels=1),
            rotation(degrees=10)". Left out: ten sets for images, eight for other data.
        n_views: Views per sample, the sample itself among them; drawn views overstate distances and understate R_eps.
        enumerated: The views given are all there are, so that certificates are not conditional on others.
        embedding: A file of features of every view, of data that are views already; no encoder is solved then.
        method: The loss whose optimum is the encoder, as in "vicreg", "spectral_contrastive" or "barlow_twins".
        n_components: Dimension of the features; left out, 8, or as many as the data have features.
        model: Maps the closed form is over: linear ones, or those of a kernel.
        kernel: Of --model kernel, as in "nystroem(n_landmarks=500)".
        encoder: A network to train instead of a closed form, as in "mlp(width=256, depth=2)".
        optimizer: Of --encoder, as in "adam" or "lbfgs".
        batch_size: Pairs of each step of --encoder; 0 for the whole relation.
        max_iter: Steps of --encoder.
        normalize: Bring every feature to norm 1, as the theorems on InfoNCE have it.
        deltas: Distances at which sigma is told, in the units of the data; left out, by --delta-shares.
        delta_shares: Quantiles of the distances of samples of one class, unaugmented, taken as deltas.
        eps: Distances of views in feature space at which R_eps is told, in units of the largest norm.
        metric: Of the inputs, as scipy names it: euclidean, cityblock, cosine, ...
        budget: Nodes of the search for a larger clique, per class and delta; 0 leaves it to heuristics.
        standardize: Bring every feature of the data to mean 0 and variance 1 first.
        test_size: Share of the samples held out.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the split, of views and of training.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    loss = _loss(method)
    recipe = Recipe(encoder=encoder or "linear", optimizer=optimizer, batch_size=batch_size or None, max_iter=max_iter)
    dataset, notes = _labelled(load_data(data, labels))
    Z = _check(config, dataset)
    if encoder is not None:
        recipe.check([loss], "linear")
    names = [AS_GIVEN] if dataset.source is not None else check_sets(augmentations or _usual(dataset))
    shared: dict[str, Any] = {
        "n_views": n_views,
        "enumerated": enumerated,
        "test_size": 0.0 if Z is not None else test_size,
        "standardize": standardize,
        "seed": seed,
    }
    candidates = [candidate_of(dataset, name if name != AS_GIVEN else None, name=name, **shared) for name in names]
    given = [float(value) for value in deltas]
    at = sorted(set(given or np.quantile(raw_distances(candidates[0].views, metric=metric), delta_shares).tolist()))
    with experiment(
        "",
        config,
        question=QUESTION,
        zero_line="every class within delta",
        steps=2 * len(names),
        progress=progress,
        command="augment",
        notes=notes,
    ) as report:
        report.payload["data"] = data_summary(candidates[0].setting, dataset)
        report.payload["deltas"] = at
        for candidate in candidates:
            candidate.measure(at, metric, budget)
            _bracket_rows(candidate, at, report)
            report.task.advance(text=f"{candidate.name}: 1 - sigma {1 - candidate.parts[len(at) // 2].sigma:.2f}")
        chosen = _chosen(candidates, at)
        report.payload["delta"] = at[chosen]
        for candidate in candidates:
            _encode(candidate, loss, Z, config, recipe)
            _set_row(candidate, chosen, report)
            report.task.advance(text=f"{candidate.name}: error {_judged(candidate).errors['error']:.3f}")
        _conclude(candidates, at, chosen, report)
    return report.payload


# -------------------------------------------------------------------------------------------------------------- options


def _loss(method: str) -> Method:
    found = parse_methods(method)
    if len(found) != 1:
        raise DataError(f"one encoder is made per set, by one loss; got {method!r}, name one of them")
    return found[0]


def _labelled(dataset: Dataset) -> tuple[Dataset, list[str]]:
    """The labelled rows, and what has to be said of others. Raises DataError where there are no classes."""
    if not dataset.is_classification:
        kind = "there are no labels" if dataset.y is None else "y holds numbers, not classes"
        raise DataError(f"augment asks whether views bring a class together, and {kind}; give classes by --labels FILE")
    missing = int(np.count_nonzero(~dataset.labelled))
    if not missing:
        return dataset, []
    return dataset.subset(dataset.labelled), [f"{missing:,} rows have no label and were left out"]


def _usual(dataset: Dataset) -> str:
    return VECTOR_SETS if dataset.image_shape is None else IMAGE_SETS


def _check(config: dict[str, Any], dataset: Dataset) -> Any:
    """Refuse options out of range or of no use; the embedding, where one is given."""
    for name in ("deltas", "eps"):
        for value in config[name]:
            check_real(value, name, low=0)
    for value in config["delta_shares"]:
        check_real(value, "delta_shares (quantiles)", low=0, high=1)
    if not config["deltas"] and not config["delta_shares"]:
        raise DataError("deltas and delta_shares are both empty; give one of them, as in --delta-shares 0.1,0.3")
    if not any(value > 0 for value in config["eps"]):
        raise DataError("eps must name at least one value above 0, as in --eps 0.1,0.5")
    check_int(config["n_views"], "n_views", low=2)
    check_int(config["budget"], "budget", low=0)
    if config["n_components"] is not None:
        check_int(config["n_components"], "n_components", low=1)
    if config["kernel"] is not None and config["model"] != "kernel":
        raise DataError("a kernel belongs to --model kernel; add it, or leave --kernel out")
    if config["encoder"] is not None and config["model"] != "linear":
        raise DataError("an encoder is a model of its own; leave --model out, or --encoder")
    usual = {"optimizer": "adam", "batch_size": 128, "max_iter": 700}
    unused = [name for name in TRAINED_ONLY if config[name] != usual[name]]
    if unused and config["encoder"] is None:
        raise DataError(f"{unused[0]} is of a network that is trained, and none is; add --encoder, or leave it out")
    if dataset.source is not None and config["augmentations"] is not None:
        raise DataError("these rows are views already; leave --augmentations out, or drop the source column")
    if dataset.source is None and (config["enumerated"] or config["embedding"] is not None):
        word = "enumerated" if config["enumerated"] else "embedding"
        raise DataError(f"{word} is of views that are given, and these are drawn; give data with a source column")
    if config["embedding"] is None:
        return None
    Z = read_array(config["embedding"])
    if len(Z) != dataset.n_samples:
        raise DataError(f"the embedding has {len(Z)} rows, the data {dataset.n_samples} labelled ones; they must match")
    return Z


# ------------------------------------------------------------------------------------------------------------ measuring


def _encode(candidate: Candidate, loss: Method, Z: Any, config: dict[str, Any], recipe: Recipe) -> None:
    """Features of the views and of what is held out, judged."""
    slope, test = None, None
    if Z is None:
        K, few = config["n_components"], config["model"] == "linear" and config["encoder"] is None
        embedding = fitted(
            candidate,
            loss,
            K if K is not None else min(USUAL, candidate.data.n_features) if few else USUAL,
            model=config["model"],
            kernel=config["kernel"],
            recipe=recipe,
            seed=config["seed"],
        )
        Z, slope = embedding.transform(candidate.data.X), network_slope(embedding)
        test = None if candidate.test is None else embedding.transform(candidate.test.X)
    candidate.judged = judge(
        candidate,
        Z,
        test,
        slope=slope,
        normalize=config["normalize"],
        eps=config["eps"],
        metric=config["metric"],
        budget=config["budget"],
        seed=config["seed"],
    )


def _judged(candidate: Candidate) -> Any:
    assert candidate.judged is not None
    return candidate.judged


def _chosen(candidates: Sequence[Candidate], at: Sequence[float]) -> int:
    """The delta that tells the sets apart best: of the widest range of 1 - sigma, which knows of no error. One set has
    no range: the middle one."""
    if len(candidates) == 1:
        return len(at) // 2
    sigma = np.array([[part.sigma for part in candidate.parts] for candidate in candidates])
    return int(np.argmax(np.ptp(sigma, axis=0)))


def _bracket_rows(candidate: Candidate, at: Sequence[float], report: Report) -> None:
    for delta, part in zip(at, candidate.parts, strict=True):
        report.add(
            {
                "set": candidate.name,
                "figure": "brackets",
                "delta": delta,
                "missing": 1 - part.sigma,
                "missing_low": 1 - part.sigma_upper,
                "outside": part.outside,
                "by_class": (1 - part.lower).tolist(),
                "by_class_low": (1 - part.upper).tolist(),
            }
        )


def _set_row(candidate: Candidate, chosen: int, report: Report) -> None:
    """The row of a set, its bounds, and R_eps over eps for the figure."""
    judged, part, features = _judged(candidate), candidate.parts[chosen], _judged(candidate).features
    legal = [bound.limit for bound in judged.bounds if bound.name.startswith("nearest-centre") and bound.legal]
    assert candidate.margin is not None
    m = candidate.views.counts
    report.add(
        {
            "set": candidate.name,
            "missing": 1 - part.sigma,
            "missing_low": 1 - part.sigma_upper,
            **{key: judged.errors[key] for key in ("error", "error_1nn", "error_knn", "error_linear", "train_error")},
            "certificate": min(legal, default=None),
            "slack": judged.found["triangle"].slack,
            "outside": part.outside,
            "alignment": features.alignment,
            "divergence": features.divergence,
            "delta_mu": features.delta_mu,
            "lipschitz": judged.L if math.isfinite(judged.L) else None,
            "lipschitz_network": judged.L_network,
            "disjoint": "yes" if candidate.margin.disjoint else "no",
            "margin": candidate.margin.distance,
            "views": float(m.mean()),
            "exact": "yes" if part.exact else "no",
            "seconds": candidate.seconds,
            "slug": f"set-{len([r for r in report.payload['rows'] if 'slug' in r]) + 1}",
        },
        gram=features.gram,
        centres=features.centres,
        diameter=features.diameter,
    )
    for value in sorted({float(v) for v in report.run.record["config"]["eps"] if v > 0}):
        R = features.R(value * features.r)
        report.add({"set": candidate.name, "figure": "R", "eps": value, "R": R})
    bounds = report.payload.setdefault("bounds", [])
    bounds += [{"set": candidate.name, **bound.row()} for bound in judged.bounds]
    certificates = report.payload.setdefault("certificates", [])
    for form in FORMS:
        c = judged.found[form]
        certificates.append(
            {"set": candidate.name, "form": form, "holds": c.holds, "limit": c.limit if c.holds else None,
             "slack": c.slack, "delta": c.delta, "eps": c.eps, "rho": c.rho, "classes": c.certified}
        )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- the answer


def _conclude(candidates: Sequence[Candidate], at: Sequence[float], chosen: int, report: Report) -> None:
    """Sets in the order of 1 - sigma, its rank correlation with the error at every delta, and what is certified."""
    rows = report.payload["rows"]
    sets = sorted((row for row in rows if "slug" in row), key=lambda row: (row["missing"], row["missing_low"]))
    for rank, row in enumerate(sets, start=1):
        row["rank"] = rank
    report.payload["rows"] = [*sets, *(row for row in rows if "slug" not in row)]
    ranking = []
    errors = [_judged(c).errors["error"] for c in candidates]
    for place, delta in enumerate(at):
        worst, p = rank_correlation([1 - c.parts[place].sigma for c in candidates], errors)
        mean, _ = rank_correlation([c.parts[place].outside for c in candidates], errors)
        ranking.append(
            {"delta": delta, "spearman": worst, "p_value": p, "spearman_mean": mean, "sets": len(candidates)}
        )
    report.payload["ranking"] = ranking
    report.payload["answer"] = answer_of(sets, ranking[chosen])
    report.payload["notes"] += notes_of(candidates)
    shared = {"by": "set", "yscale": "linear", "xscale": "linear"}
    report.payload["curves"] = [
        {
            **shared, "name": "R", "title": "Samples with two views farther than ε apart in feature space",
            "x": "eps", "y": "R", "where": {"figure": "R"}, "xlabel": "ε, in units of the norm r", "ylabel": "R_ε",
        }
    ]  # fmt: skip
