"""`align`: which relation, which method, which invariance, when pairs may be wrong and labels few?

A relation is led astray step by step (misalignment.py); at every step each method's optimum is read off one
factorisation per pencil and judged on held-out rows, with all labels (logistic probe) and with few (least squares,
outcomes.py). Small K and K at least the rank of the data stand side by side, because an unregularised probe depends on
the invariance through the rank alone (statement D7): only where K reaches the rank can small invariance keep what wrong
pairs would throw away. What the numbers advise is said by advice.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.comparison import scaled
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.experiments.abstracts import HIGH, LOW, roles
from spectral_ssl.experiments.advice import advise
from spectral_ssl.experiments.align_cells import CellResult, Labels, Plan, cells_of, labels_of, spectra_of
from spectral_ssl.experiments.align_rows import (
    Figure,
    best_rows,
    curves_of,
    label_rows,
    rate_rows,
    table_rows,
    trained_rows,
)
from spectral_ssl.experiments.compare import check_options
from spectral_ssl.experiments.frame import check_list, experiment
from spectral_ssl.experiments.misalignment import (
    Candidate,
    Misalign,
    Stray,
    candidates,
    closed_form,
    lead_astray,
    with_styles,
)
from spectral_ssl.experiments.outcomes import CHOSEN, logistic
from spectral_ssl.experiments.probes import can_probe
from spectral_ssl.experiments.setting import Setting, load_data, make_setting
from spectral_ssl.experiments.significance import Judged, named
from spectral_ssl.kernels import FeatureMap, feature_map
from spectral_ssl.methods import InfoNCE
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Model
from spectral_ssl.training import check_size

__all__ = ["align"]

METHODS_SHOWN = "vicreg, frobenius_simclr, barlow_twins"


def align(
    *,
    data: str = "digits",
    labels: Path | None = None,
    relation: str = "labels",
    pairs: Path | None = None,
    methods: str = METHODS_SHOWN,
    invariances: Sequence[float] = (0.1, 0.3, 0.5, 0.9, 1.1),
    misalign: Misalign = "rewire",
    competing: str | None = None,
    rates: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    n_components: Sequence[int] | None = None,
    n_labels: Sequence[int] = (20, 50, 100, 200, 500),
    probe_ridge: Sequence[float] = (0.0, 0.0001, 0.001, 0.01, 0.1),
    model: Literal["linear", "free", "kernel"] = "linear",
    kernel: str | None = None,
    ridge: float = 0.0,
    trained: bool = False,
    n_views: int = 2,
    transforms: str | None = None,
    standardize: bool = False,
    test_size: float = 0.25,
    repeats: int = 5,
    label_draws: int = 3,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Lead the pairs astray step by step: which method, which invariance and which dimension, and how sure?

    Closed forms; training on request. The advice cites paired differences over held-out rows and draws, and says which
    of the paper's two published abstracts the numbers support.

    Args:
        data: A data set by name, or a file or folder; labels are needed.
        labels: A file of labels, one per row of the data.
        relation: The aligned pairs: labels, knn, views, pairs, ... with options as in "knn(n_neighbors=10)".
        pairs: A csv or npz file of pairs i, j[, weight], for --relation pairs.
        methods: Methods by name; VICReg without an invariance stands for the whole grid of --invariances.
        invariances: Invariances of VICReg in units of alpha / m_K; at equal weights its K-th direction dies at 1.
        misalign: How pairs go wrong: rewire (any sample), wrong_class, or mix (with a --competing relation).
        competing: The relation mixed in, for --misalign mix: "knn(n_neighbors=10)", or left out, style: pairs of equal
            style, which data without styles are given (images four rotations, others four offsets).
        rates: Shares of wrong pairs; the lowest counts as aligned, the highest as misaligned.
        n_components: Dimensions K; left out, classes less one, and the number of features, at least the rank.
        n_labels: Numbers of labels for the low-data probes; all of them are always asked too.
        probe_ridge: Ridges of the low-data probes, in shares of the variance of Z; 0 is none, among the others rows
            left out choose.
        model: Over linear maps of the data, over all embeddings (free), or over the maps of a kernel.
        kernel: For --model kernel, as in "nystroem(n_landmarks=300)".
        ridge: r >= 0, adds r |W|^2 to the energy tr(Z'LZ) of the losses (linear and kernel models).
        trained: Train every cell too (its first draw), and show what is reached beside the closed form.
        n_views: Views per original, for --relation views on data that are not views already.
        transforms: How views are made, as in "shift(pixels=1), noise(scale=0.2)".
        standardize: Bring every feature to mean 0 and variance 1 first.
        test_size: Share of the originals held out, on which everything is judged.
        repeats: Draws of wrong pairs and of labels.
        label_draws: Draws of few labels within each repeat, averaged.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the split; draws take seed, seed + 1, ...
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    rates_, ridges = _rates(rates), check_list(probe_ridge, "probe_ridge", 0.0)
    for name, value in (("repeats", repeats), ("label_draws", label_draws)):
        if isinstance(value, bool) or value < 1:
            raise DataError(f"{name} must be a whole number of at least 1, got {value}")
    if kernel is not None and model != "kernel":
        raise DataError(
            f"kernel={kernel!r} belongs to model='kernel', but model is {model!r}; leave one of the two out"
        )
    chosen = candidates(methods, tuple(check_list(invariances, "invariances", 0.0)))
    dataset, competing, made = with_styles(load_data(data, labels), misalign, competing, seed)
    setting = make_setting(
        dataset,
        relation,
        pairs=pairs,
        n_views=n_views,
        transforms=transforms,
        standardize=standardize,
        test_size=test_size,
        seed=seed,
    )
    if setting.probe_test is None:
        raise DataError("everything is judged on held-out rows, and test_size=0 leaves none; take 0.25, say")
    if not can_probe(setting):
        raise DataError(
            f"align asks what pairs are worth for a task, but {dataset.name!r} has no labels (two classes at least) on "
            "both sides of the split; give some with labels= (--labels FILE)"
        )
    stray = lead_astray(setting, misalign, competing)
    features = feature_map("exact" if kernel is None else kernel, setting.data.X) if model == "kernel" else None
    sizes = _sizes(n_components, setting, features, model)
    few = _few(n_labels, int(setting.probe_train.labelled.sum()))
    plan = Plan(chosen, sizes, rates_, few, ridges, repeats, label_draws, model, features, ridge, trained, seed)
    check_options([c.method for c in chosen], ridge, model, 0, max(sizes))
    _check_solvable(plan, setting, stray)
    told = labels_of(setting, repeats, label_draws, seed)
    raw, lowest = reference_scores(setting, told)
    panels = _panels(plan, setting)
    drawn = repeats if stray.drawn(rates_[-1]) else 1
    with experiment(
        "",
        config,
        question="Pairs may be wrong and labels few: which method, which invariance, which dimension?",
        zero_line="always the commonest class" if told.classification else "always the mean",
        steps=sum(repeats if stray.drawn(rate) else 1 for rate in rates_),
        progress=progress,
        setting=setting,
        original=dataset,
        notes=[*made, *dataset.describe()],
        command="align",
    ) as report:
        payload = report.payload
        cells: list[CellResult] = []
        for rate in rates_:
            cells += cells_of(plan, setting, stray, told, rate, lambda text: report.task.advance(text=text))
            payload["rows"] = rate_rows(cells, panels, raw)
            report.run.write(payload)
        # fixed ridges are for the record: advice has the choice that a user has, none or by rows left out
        judged = [row for cell in cells for row in cell.judged() if row.n_labels is None or row.n_labels in few]
        judged = [row for row in judged if row.ridge in (None, 0.0, CHOSEN)]
        advice = advise(judged, score="accuracy" if told.classification else "R²")
        payload["rows"] = [
            *table_rows(cells, few[0] if few else None),
            *rate_rows(cells, panels, raw),
            *trained_rows(cells, panels),
            *label_rows(cells, panels),
            *best_rows(judged, panels, sorted({few[0], few[-1]}) if few else ()),
        ]
        payload |= {
            "answer": advice.headline,
            "advice": advice.sentences,
            "verdict": advice.verdict,
            "misalign": {"how": misalign, "share_of": stray.text, "competing": competing},
            "reference": {"probe_raw": raw, "lowest": lowest},
            "setting": f"{model} model",
        }
        payload["notes"] = [*_alignment_told(cells), *advice.sentences, *payload["notes"], *_notes(cells)]
        figure = Figure(told.classification, lowest, _shown(judged, chosen), stray.text, drawn, model == "linear")
        payload["curves"] = curves_of(payload["rows"], figure)
    return payload


def _rates(rates: Sequence[float]) -> list[float]:
    found = check_list(rates, "rates", 0.0)
    if found[-1] > 1 or len(found) < 2:
        raise DataError(
            f"rates must be at least two shares of wrong pairs between 0 and 1, as in --rates 0,0.5,1, got {found}"
        )
    return found


def _sizes(asked: Sequence[int] | None, setting: Setting, features: FeatureMap | None, model: Model) -> list[int]:
    """The dimensions: those asked for, or few and many."""
    X: Any = None if model == "free" else setting.data.X if features is None else features(setting.data.X)
    if asked is None:
        most = setting.graph.n_samples - 1 if X is None else X.shape[1]
        train = setting.probe_train
        needed = len(train.classes) - 1 if train.is_classification else 2
        return sorted({min(needed, most), min(setting.data.n_features, most)})
    sizes = check_list(asked, "n_components", 1)
    for K in sizes:
        check_size(K, setting.graph, X)
    return sizes


def _few(n_labels: Sequence[int], known: int) -> list[int]:
    """Numbers of labels below all of them, ascending; none where none is asked for."""
    return [m for m in check_list(n_labels, "n_labels", 2) if m < known] if n_labels else []


def _check_solvable(plan: Plan, setting: Setting, stray: Stray) -> None:
    """Refuse what has no closed form, or none in so many dimensions, before a run is made."""
    spectra = spectra_of(plan, setting, stray.at(plan.rates[0], plan.seed))
    for candidate in plan.candidates:
        if isinstance(candidate.method, InfoNCE):
            if plan.model != "free" and candidate.method.similarity == "cosine":
                raise NotClosedForm(
                    f"{candidate.label} has no closed form over maps of data, and align compares closed forms; leave "
                    "it out of --methods, or take infonce(similarity=dot)"
                )
            continue  # a search that is left to the run
        for K in plan.sizes:
            closed_form(candidate, spectra, K)


def reference_scores(setting: Setting, labels: Labels) -> tuple[float, float]:
    """The logistic probe on the raw features, and the score of always the commonest class (R²: 0)."""
    train, test = setting.probe_train, setting.probe_test
    assert test is not None
    A, B = scaled(train.X[train.labelled], test.X[test.labelled])
    raw = float(logistic(A, labels.train, B, labels.test, classification=labels.classification).mean())
    if not labels.classification:
        return raw, 0.0
    values, counts = np.unique(labels.train, return_counts=True)
    return raw, float(np.mean(labels.test == values[np.argmax(counts)]))


def _panels(plan: Plan, setting: Setting) -> dict[int, str]:
    """Names of the dimensions; of linear maps with the rank of the data where K reaches it."""
    rank = linalg.rank(setting.data.X - setting.data.X.mean(axis=0)) if plan.model == "linear" else None
    return {
        K: f"K = {K}" + (f", the rank of the data ({rank}) or more" if rank is not None and rank <= K else "")
        for K in plan.sizes
    }


def _shown(judged: Sequence[Judged], chosen: Sequence[Candidate]) -> list[str]:
    """The methods of the figures: of VICReg's grid the least and the greatest invariance."""
    speaks = roles(judged)
    ends = [speaks[role] for role in (LOW, HIGH) if role in speaks]
    return [*ends, *(c.label for c in chosen if c.label not in ends and (c.strength is None or not ends))]


def _alignment_told(cells: Sequence[CellResult]) -> list[str]:
    """How aligned the relation is at both ends: its pairs, and its first K eigenvectors."""
    parts = []
    for rate in (cells[0].rate, cells[-1].rate):
        here = [cell for cell in cells if cell.rate == rate]
        pairs = [value for value in here[0].homophily if value is not None]
        energy = {
            cell.n_components: np.mean([value for value in cell.captured if value is not None])
            for cell in here
            if any(value is not None for value in cell.captured)
        }
        told = [f"{100 * np.mean(pairs):.1f} % of the pair weight joins equal classes"] if pairs else []
        told += [f"K = {K} eigenvectors hold {100 * share:.1f} % of the label energy" for K, share in energy.items()]
        parts += [f"at rate {rate:g} {', '.join(told)}"] if told else []
    return [f"How aligned the pairs are: {'; '.join(parts)}."] if parts else []


def _notes(cells: Sequence[CellResult]) -> list[str]:
    found = []
    for label in dict.fromkeys(cell.candidate.label for cell in cells):
        lost = sorted({cell.rate for cell in cells if cell.candidate.label == label and None in cell.loss})
        if lost:
            found.append(
                f"{named(label)}: at rate {', '.join(f'{rate:g}' for rate in lost)} a relation has no positive "
                "eigenvalue off the constant, so nothing is learnt and the probe answers the commonest class"
            )
    return found
