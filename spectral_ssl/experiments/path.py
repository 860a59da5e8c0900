"""`path`: one method along its hyper-parameter, from one spectrum, and what probes make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import experiment, reach, times
from spectral_ssl.experiments.path_probes import (
    Best,
    ProbeRows,
    best_value,
    few_labels,
    logistic,
    probe_rows,
    probed,
)
from spectral_ssl.experiments.rows import parse_methods
from spectral_ssl.experiments.setting import Setting, load_data, make_setting, make_spectra
from spectral_ssl.methods import BarlowTwins, VICReg
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra
from spectral_ssl.theory import FILTERS, invariance_path, redundancy_path
from spectral_ssl.theory.paths import Path as PathOfOptima

__all__ = ["path"]

N_SEARCHED = 24  # values where each is searched for
FILTERED = 64  # directions that filters are drawn on, at most


def path(
    *,
    data: str = "digits",
    labels: Path | None = None,
    relation: str = "knn",
    pairs: Path | None = None,
    method: str = "vicreg",
    n_components: int = 8,
    values: Sequence[float] | None = None,
    n_values: int | None = None,
    low: float | None = None,
    high: float | None = None,
    model: Literal["linear", "free", "kernel"] = "linear",
    kernel: str | None = None,
    ridge: float = 0.0,
    n_views: int = 2,
    transforms: str | None = None,
    standardize: bool = False,
    test_size: float = 0.25,
    probe_ridge: float = 0.01,
    n_probes: int = 12,
    n_labels: int | None = None,
    draws: int = 30,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Follow a method along its hyper-parameter: rank, loss and probe accuracy at every value, from one factorisation.

    VICReg is followed along the invariance, Barlow Twins along the redundancy. No embedding is trained. Accuracy is
    predicted from the training rows alone, by leave-one-out, and measured on held-out rows; the best value comes with
    its standard error and with all the values that the labels cannot tell from it.

    Args:
        data: A data set by name, or a file.
        labels: A file of labels, one per row of the data.
        relation: The positive pairs, as in "knn(n_neighbors=10)".
        pairs: A csv or npz file of pairs i, j[, weight], for --relation pairs.
        method: vicreg, "vicreg(form=hinge, variance=12.5)", "vicreg(covariance=0.3)", or barlow_twins.
        n_components: Dimension K of the embeddings.
        values: The values themselves; left out, a grid around those at which directions die.
        n_values: How many values, 100 if left out (24 where each has to be searched for).
        low: The least value of the grid.
        high: The greatest value of the grid.
        model: Over linear maps of the data, over all embeddings (free), or over the maps of a kernel.
        kernel: For --model kernel, as in "nystroem(n_landmarks=300)".
        ridge: r >= 0, adds r |W|^2 to the energy tr(Z'LZ) of the loss (linear and kernel models).
        n_views: Views per original, for --relation views on data that are not views already.
        transforms: How views are made, as in "shift(pixels=1), noise(scale=0.2)".
        standardize: Bring every feature to mean 0 and variance 1 first.
        test_size: Share of the originals held out; 0 leaves predictions alone.
        probe_ridge: Of the least-squares probe, as a variance: a direction with so much of it is halved.
        n_probes: Values at which the logistic probe is predicted and measured too.
        n_labels: Probes learn from so few labels only, drawn anew `draws` times; left out, from all.
        draws: Draws of these labels.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the split, the views and the draws.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    chosen = _method(method)
    if not 0 <= probe_ridge < math.inf:
        raise DataError(f"probe_ridge must be a number >= 0, got {probe_ridge!r}")
    if draws < 2 or n_probes < 0:
        raise DataError(f"draws must be at least 2 and n_probes at least 0, got {draws} and {n_probes}")
    dataset = load_data(data, labels)
    setting = make_setting(
        dataset, relation, pairs=pairs, n_views=n_views, transforms=transforms,
        standardize=standardize, test_size=test_size, seed=seed,
    )  # fmt: skip
    spectra = make_spectra(setting, model, kernel, ridge)
    found = _path(chosen, spectra, n_components, values, n_values, low, high)
    rows, told = probe_rows(setting, found)
    if rows is not None and n_labels is not None and not 2 <= n_labels < rows.n:
        raise DataError(f"n_labels must be from 2 to {rows.n - 1}, one less than the labelled rows, got {n_labels}")
    with experiment(
        "",
        config,
        question=f"What does the {found.parameter} of {method} change, and which value is best?",
        zero_line="",
        steps=len(found),
        progress=progress,
        setting=setting,
        original=dataset,
        notes=[told] if told else [],
        command="path",
    ) as report:
        records = [_row(found, i) for i in range(len(found))]
        best = None
        if rows is not None:
            outcomes = probed(records, found, rows, probe_ridge, report.task)
            if n_labels is not None:
                outcomes = few_labels(records, found, rows, probe_ridge, n_labels, draws, seed)
            elif rows.classification:
                for i in _spread_over(found, n_probes):
                    records[i] |= logistic(rows, found, i)
            best = best_value(records, outcomes, found, seed)
        shown = {*_spread_over(found, max(n_probes, 2)), *([] if best is None else [best.index])}
        for i, record in enumerate(records):
            record["shares"] = found.shares[i].tolist()
            if i in shown:  # the table has these, the figures all
                record["slug"] = f"{found.parameter}-{i}"
        report.payload["rows"] = records
        report.payload["answer"] = _answer(found, records, best, rows, n_labels)
        report.payload |= {
            "parameter": found.parameter,
            "best": None if best is None else best.record(),
            "critical": None if found.critical is None else [v if v < math.inf else None for v in found.critical],
            "meets": _meets(found, setting),
            "score": "accuracy" if rows is None or rows.classification else "R²",
            "filters": _filters(found, spectra, None if best is None else best.value),
            "setting": f"{method}, K = {n_components}, {model} model"
            + ("" if n_labels is None else f", {n_labels} labels"),
        }
        report.payload["notes"] += _notes(found, setting, rows, n_labels)
    return report.payload


# ------------------------------------------------------------------------------------------------------------ the path


def _method(text: str) -> VICReg | BarlowTwins:
    chosen = parse_methods(text)
    one = chosen[0]
    if len(chosen) != 1 or not isinstance(one, VICReg | BarlowTwins):
        raise DataError(f"a path is of one method, vicreg or barlow_twins, got {text!r}")
    if isinstance(one, VICReg) and one.form == "constrained":
        raise DataError("under form=constrained no invariance changes the optimum; choose form=squared or form=hinge")
    if isinstance(one, VICReg) and one.invariance is not None:
        raise DataError(
            "the path is along the invariance: leave it out of the method, and give --values, --low, --high"
        )
    if isinstance(one, BarlowTwins) and not one.normalized:
        raise DataError("the unnormalised form has redundancy 1 and no path; leave normalized out")
    if isinstance(one, BarlowTwins) and one.redundancy != 1:
        raise DataError(
            "the path is along the redundancy: leave it out of the method, and give --values, --low, --high"
        )
    return one


def _path(
    method: VICReg | BarlowTwins,
    spectra: Spectra,
    K: int,
    values: Sequence[float] | None,
    n_values: int | None,
    low: float | None,
    high: float | None,
) -> PathOfOptima:
    spectrum = spectra.of(method.pencil, K)

    def along(grid: Any) -> PathOfOptima:
        if isinstance(method, BarlowTwins):
            return redundancy_path(spectrum, K, grid)
        return invariance_path(
            spectrum, K, grid, form=method.form if method.form == "hinge" else "squared", variance=method.variance,
            covariance=method.covariance, weighting=method.weighting, ddof=method.ddof,
        )  # fmt: skip

    if values is not None:
        if (n_values, low, high) != (None, None, None):
            raise DataError("values are given: leave n_values, low and high out")
        grid: Any = sorted(set(values))
        if not grid or not all(0 <= value < math.inf for value in grid):
            raise DataError(f"values must be finite numbers >= 0, at least one, as in 0.1,0.3,1; got {list(values)}")
    else:
        if n_values is not None and n_values < 2:
            raise DataError(f"n_values must be at least 2, for both ends of the grid, got {n_values}; or give --values")
        many = n_values if n_values is not None else N_SEARCHED if method.searches and K > 1 else 100
        if isinstance(method, BarlowTwins):
            many = n_values if n_values is not None else 100
        grid = many
        if low is not None or high is not None:
            ends = along(2).values
            first, last = (float(ends[0]) if low is None else low), (float(ends[1]) if high is None else high)
            if not 0 < first < last < math.inf:
                raise DataError(f"a grid of values from {first:g} to {last:g} is none: it needs 0 < low < high")
            grid = np.geomspace(first, last, many)
    if isinstance(method, BarlowTwins) and not isinstance(grid, int) and len(grid) and max(grid) > 1:
        raise DataError(f"a redundancy above 1 has no closed form to follow, got {max(grid):g}; end at 1")
    return along(grid)


def _row(found: PathOfOptima, i: int) -> dict[str, Any]:
    kept = found.shares[i][found.shares[i] > 0]
    return {
        found.parameter: float(found.values[i]),
        "rank": int(found.rank[i]),
        "loss": float(found.loss[i]),
        "share_most": float(kept.max(initial=0.0)),
        "share_least": float(kept.min()) if kept.size else 0.0,
        "kind": found.kind[i],
    }


def _spread_over(found: PathOfOptima, many: int) -> list[int]:
    """At most `many` places along a path: one in the middle of every step of the staircase, and evenly spread ones."""
    ends = [*found.steps[1:].tolist(), len(found)]
    middle = [(a + b - 1) // 2 for a, b in zip(found.steps.tolist(), ends, strict=True)]
    middle = [middle[k] for k in np.unique(np.linspace(0, len(middle) - 1, min(many, len(middle))).astype(int))]
    spare = max(many - len(middle), 0)
    even = np.linspace(0, len(found) - 1, spare).astype(int).tolist() if spare else []
    return sorted({*middle, *even})


# ------------------------------------------------------------------------------------------------------------- in words


def _meets(found: PathOfOptima, setting: Setting) -> dict[str, Any] | None:
    """The invariance at which the path is Frobenius SimCLR (weighted by degree: the spectral contrastive loss)."""
    method = found.method
    if not isinstance(method, VICReg) or method.form != "squared" or method.covariance < method.variance:
        return None
    if method.weighting == "degree":
        return {"value": method.variance, "words": "spectral contrastive (γ = α)", "exact": True}
    n, d = setting.graph.n_samples, float(setting.graph.degree.mean())
    exact = setting.graph.regular
    words = "Frobenius SimCLR (γ = α/d)" if exact else "nearest to Frobenius SimCLR (γ = α / mean d)"
    return {"value": method.variance * n / ((n - method.ddof) * d), "words": words, "exact": exact}


def _filters(found: PathOfOptima, spectra: Spectra, best: float | None) -> list[dict[str, Any]]:
    """h of every method on the eigenvalues of this relation that are held, as if K were their number."""
    spectrum = spectra.of("degree_centred", found.n_components)
    a = np.clip(spectrum.values[:FILTERED], -1.0, 1.0)
    K = a.size
    drawn = [
        ("Laplacian Eigenmaps", "eigenmaps", {}),
        ("VICReg, γ = α/4d", "vicreg", {"invariance": 0.25}),
        ("VICReg, γ = α/d; Frobenius SimCLR", "frobenius", {}),
        ("Barlow Twins, λ = 1", "barlow", {}),
    ]
    if best is not None and isinstance(found.method, VICReg) and spectra.graph is not None:
        d = float(spectra.graph.degree.mean()) if found.method.weighting == "none" else 1.0
        if found.method.form == "squared" and found.method.covariance >= found.method.variance:
            drawn.append(("VICReg, best predicted γ", "vicreg", {"invariance": best * d / found.method.variance}))
    return [
        {"name": name, "filter": key, "eigenvalues": a.tolist(), "energy": FILTERS[key](a, K, **options).tolist()}
        for name, key, options in drawn
        if K > 1
    ]


def _answer(
    found: PathOfOptima,
    records: list[dict[str, Any]],
    best: Best | None,
    rows: ProbeRows | None,
    n_labels: int | None,
) -> str:
    ranks = (
        f"rank {found.rank.max()} to {found.rank.min()}" if np.ptp(found.rank) else f"rank {found.rank[0]} throughout"
    )
    said = f"{found.parameter.capitalize()} {reach(found.values.tolist())}: {ranks}"
    if best is None or rows is None:
        return f"{said}; without labels no value is better than another."
    unit, factor = (" %", 100.0) if rows.classification else ("", 1.0)
    score = "accuracy" if rows.classification else "R²"
    low, high = best.range
    n_alike = sum(best.alike)
    held = "" if best.held_out is None else f", {factor * best.held_out:.3g}{unit} held out"
    learnt = "all labels" if n_labels is None else f"{n_labels} labels"
    said += (
        f". With {learnt} the predicted {score} is best at {found.parameter} {times(best.value)} (rank "
        f"{records[best.index]['rank']}): {factor * best.score:.3g} ± {factor * best.standard_error:.2g}{unit}{held}. "
    )
    if n_alike == len(found):
        return said + "No value is better than another: none is told from it."
    first = float(found.values[found.steps[1]]) if found.steps.size > 1 else None
    if first is not None and found.critical is not None:
        first = float(found.critical.min())
    kept = {records[i]["rank"] for i in range(len(found)) if best.alike[i]}
    said += f"{low:.2g} to {high:.2g} ({n_alike} of {len(found)} values, rank {reach(kept)}) are not told from it"
    if found.parameter == "invariance" and first is not None:
        before = [best.alike[i] for i in range(int(found.steps[1]))]
        if all(before):
            said += f"; before the first direction dies, at {times(first)}, no value is better than another"
    return said + "."


def _notes(found: PathOfOptima, setting: Setting, rows: ProbeRows | None, n_labels: int | None) -> list[str]:
    notes = []
    meets = _meets(found, setting)
    if meets is not None and found.method.pencil == "laplacian":
        text = f"at invariance {meets['value']:.3g} the path is Frobenius SimCLR, off the constant"
        if not meets["exact"]:
            text = (
                f"degrees differ: near invariance {meets['value']:.3g}, variance over the mean degree, the path is "
                "nearest to Frobenius SimCLR, and nowhere equal to it; with weighting=degree it meets the spectral "
                "contrastive loss at invariance = variance"
            )
        notes.append(text)
    if rows is not None and setting.relation.split("(")[0] == "labels":
        notes.append(
            "this relation is made from the labels themselves: an embedding knows the label that is left out, and what "
            "is predicted is too high; held-out rows are the measure"
        )
    bounds = sum(kind == "bound" for kind in found.kind)
    if bounds:
        notes.append(
            f"{bounds} of {len(found)} losses are lower bounds, by the quadratic programme: n_components has no "
            "Hadamard matrix; shares and probes are of the programme's spectrum"
        )
    certified = sum(kind == "certified" for kind in found.kind)
    if certified:
        gap = float((found.loss - found.lower_bound).max())
        notes.append(f"{certified} of {len(found)} optima were searched for; all are proven to within {gap:.1e}")
    if rows is not None and n_labels is None:
        notes.append(
            "error: of the least-squares probe, as a share of what the mean label leaves; fitted is D1, on its own "
            "rows without a ridge; D5 is what new labels of the same rows are expected to cost, with the ridge; left "
            "out and held out are of rows the probe has not seen"
        )
        if 0 in found.rank:
            notes.append("at rank 0 what is predicted is the share of the most frequent label: no probe has a say")
    return notes
