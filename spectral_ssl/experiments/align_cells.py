"""The cells of `align`: every method in every dimension at every share of wrong pairs, solved and probed.

Of one relation there is one factorisation per pencil, which serves all methods, invariances and dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spectral_ssl.comparison import scaled
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.misalignment import Candidate, Stray, closed_form, placed
from spectral_ssl.experiments.outcomes import Ridge, label_order, least_squares, logistic
from spectral_ssl.experiments.rows import relative_excess
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.experiments.significance import Judged
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import FeatureMap
from spectral_ssl.solve import as_spectra
from spectral_ssl.spectrum import Model, Spectra
from spectral_ssl.theory.alignment import label_alignment
from spectral_ssl.training import train

__all__ = ["CellResult", "Labels", "Plan", "cells_of", "labels_of", "spectra_of"]

TRAINING = 3000  # evaluations of the loss for a trained cell, the default of `train`


@dataclass(frozen=True, eq=False)
class Plan:
    """What is varied. n_labels: without the full number, which is always there. features: of the kernel model."""

    candidates: list[Candidate]
    sizes: list[int]
    rates: list[float]
    n_labels: list[int]
    ridges: list[float]
    repeats: int
    label_draws: int
    model: Model
    features: FeatureMap | None
    ridge: float
    trained: bool
    seed: int


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of the training and held-out originals that have one, and the orders in which few of them are given."""

    train: Any
    test: Any
    classification: bool
    orders: list[list[Any]]  # per repeat, per draw within it


@dataclass(eq=False)
class CellResult:
    """One method in one dimension at one rate. Lists have an entry per draw of the relation."""

    candidate: Candidate
    n_components: int
    rate: float
    rank: list[int] = field(default_factory=list)
    loss: list[float | None] = field(default_factory=list)
    invariance: list[float | None] = field(default_factory=list)
    homophily: list[float | None] = field(default_factory=list)
    captured: list[float | None] = field(default_factory=list)
    probe: list[Array] = field(default_factory=list)  # outcomes (n,) of the logistic probe
    few: dict[tuple[int, Ridge], list[Array]] = field(default_factory=dict)  # per repeat, mean over label draws
    trained: Array | None = None  # outcomes (n,) of the trained embedding of the first draw
    trained_excess: float | None = None

    def judged(self) -> Iterator[Judged]:
        """For every label budget and ridge."""
        c = self.candidate
        where = (c.label, c.family, c.strength, self.n_components, self.rate)
        yield Judged(*where, None, None, np.array(self.probe))
        for (m, ridge), found in self.few.items():
            yield Judged(*where, m, ridge, np.array(found))


def labels_of(setting: Setting, repeats: int, draws: int, seed: int) -> Labels:
    """Of a setting with labels on both sides of its split."""
    train_set, test_set = setting.probe_train, setting.probe_test
    assert train_set.y is not None
    assert test_set is not None
    assert test_set.y is not None
    y, kind = train_set.y[train_set.labelled], train_set.is_classification
    orders = [
        [label_order(y, classification=kind, rng=np.random.default_rng([seed, r, k])) for k in range(draws)]
        for r in range(repeats)
    ]
    return Labels(y, test_set.y[test_set.labelled], kind, orders)


def spectra_of(plan: Plan, setting: Setting, graph: Graph) -> Spectra:
    """The factorisations of one relation under the plan's model."""
    X = None if plan.model == "free" else setting.data.X
    return as_spectra(graph, X, model=plan.model, kernel=plan.features, ridge=plan.ridge)


def cells_of(
    plan: Plan, setting: Setting, stray: Stray, labels: Labels, rate: float, said: Callable[[str], None]
) -> list[CellResult]:
    """All cells of one rate: the relation drawn anew in every repeat, where it is drawn at all."""
    cells = [CellResult(c, K, rate) for K in plan.sizes for c in plan.candidates]
    draws = plan.repeats if stray.drawn(rate) else 1
    for draw in range(draws):
        graph = stray.at(rate, plan.seed + draw)
        spectra = spectra_of(plan, setting, graph)
        found = [closed_form(cell.candidate, spectra, cell.n_components) for cell in cells]
        known = _alignment(setting, spectra, plan.sizes)
        embedded = placed(setting, found)
        repeats = range(plan.repeats) if draws == 1 else [draw]
        for cell, best, (Z_train, Z_test) in zip(cells, found, embedded, strict=True):
            A, B = scaled(Z_train, Z_test)
            cell.rank.append(0 if best is None else best.rank)
            cell.loss.append(None if best is None else best.loss)
            cell.invariance.append(None if best is None else best.method.hyper.get("invariance"))
            cell.homophily.append(known["homophily"])
            cell.captured.append(known[cell.n_components])
            cell.probe.append(logistic(A, labels.train, B, labels.test, classification=labels.classification))
            _probe_few(cell, A, B, labels, plan, repeats)
        if draw == 0 and plan.trained:
            _train(cells, found, spectra, setting, graph, labels, plan.seed)
        said(f"rate {rate:g}" + (f", draw {draw + 1} of {draws}" if draws > 1 else ""))
    return cells


def _alignment(setting: Setting, spectra: Spectra, sizes: Sequence[int]) -> dict[Any, Any]:
    """Homophily, and the label energy that the first K eigenvectors of the relation hold, by K."""
    try:
        found = label_alignment(spectra, setting.data.y, max(sizes))
    except DataError:  # no pair between labelled rows, or none of their rows has a pair: nothing to say
        return {"homophily": None, **dict.fromkeys(sizes)}
    return {"homophily": found.homophily, **{K: found.captured(min(K, found.energy.size)) for K in sizes}}


def _probe_few(cell: CellResult, A: Array, B: Array, labels: Labels, plan: Plan, repeats: Sequence[int]) -> None:
    """Least-squares probes on few labels; with all of them there is nothing to draw."""
    kind = labels.classification
    everything = np.arange(len(labels.train))
    whole = least_squares(A, labels.train, B, labels.test, everything, plan.ridges, classification=kind)
    for ridge, found in whole.items():
        cell.few.setdefault((len(everything), ridge), []).extend([found] * len(repeats))
    for m in plan.n_labels:
        for r in repeats:
            drawn = [
                least_squares(A, labels.train, B, labels.test, order[:m], plan.ridges, classification=kind)
                for order in labels.orders[r]
            ]
            for ridge in drawn[0]:
                mean = np.mean([outcomes[ridge] for outcomes in drawn], axis=0)
                cell.few.setdefault((m, ridge), []).append(mean)


def _train(
    cells: Sequence[CellResult],
    found: Sequence[Optimum | None],
    spectra: Spectra,
    setting: Setting,
    graph: Graph,
    labels: Labels,
    seed: int,
) -> None:
    """The trained embedding beside the closed form: its outcomes, and what its loss lacks of the way from collapse."""
    known = [k for k, best in enumerate(found) if best is not None]
    runs: list[Any] = [None] * len(cells)
    for k in known:
        best = found[k]
        assert best is not None
        runs[k] = train(best.method, spectra, cells[k].n_components, seed=seed, max_iter=TRAINING)
        collapse = best.method.collapse_loss(graph, cells[k].n_components)
        cells[k].trained_excess = relative_excess(runs[k].loss, best.loss, collapse)
    for cell, run, (Z_train, Z_test) in zip(cells, runs, placed(setting, runs), strict=True):
        if run is not None:
            A, B = scaled(Z_train, Z_test)
            cell.trained = logistic(A, labels.train, B, labels.test, classification=labels.classification)
