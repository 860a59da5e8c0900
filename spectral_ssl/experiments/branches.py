"""Covariances of each branch, as published code takes them, against one over all views, as theory has it (W8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import losses
from spectral_ssl.classical import pca
from spectral_ssl.data import augment
from spectral_ssl.embedding import Optimum
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.experiments.frame import (
    check_list,
    check_seeds,
    excess_of,
    experiment,
    known_as,
    largest_sine,
    repeats,
    spread,
    times,
)
from spectral_ssl.experiments.setting import load_data
from spectral_ssl.graph import Graph
from spectral_ssl.methods import BarlowTwins, Method, VICReg
from spectral_ssl.methods.base import as_embedding
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.relations import views
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Spectrum
from spectral_ssl.training import train

__all__ = ["PerBranch", "branches"]


@dataclass(frozen=True)
class PerBranch(Method):
    """A loss as published code computes it, of branches Z[first] and Z[second] (B, K) in one order (W8).

    code: (za, zb) -> terms. pooled: the method that the same code equals when fed in both orders.
    """

    pooled: Method
    code: Callable[[Any, Any], dict[str, Any]] = field(compare=False)
    first: Any = field(compare=False, repr=False)
    second: Any = field(compare=False, repr=False)

    @property
    def pencil(self) -> Any:
        return self.pooled.pencil

    @property
    def whitens(self) -> Any:
        return self.pooled.whitens

    @property
    def centred(self) -> Any:
        return self.pooled.centred

    @property
    def hyper(self) -> dict[str, Any]:
        return self.pooled.hyper

    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, Any]:
        Z = as_embedding(Z, graph)
        return self.code(Z[self.first], Z[self.second])

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        raise NotClosedForm("covariances of each branch have no closed form; feed both orders of every pair")

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        return self.pooled.collapse_loss(graph, n_components)


def _published(K: int) -> dict[str, tuple[Method, Callable[[Any, Any], dict[str, Any]]]]:
    """By name: the method over the whole relation, and the code whose branches it pools."""
    squared = VICReg(variance=25.0 / K, covariance=25.0 / K, invariance=25.0 / K, ddof=1)

    def squares(za: Any, zb: Any) -> dict[str, Any]:
        """|C_v - I|^2 averaged over the branches, and the invariance of `squared`."""
        n = za.shape[0]
        terms = {"invariance": squared.invariance * ((za - zb) ** 2).sum() / n}
        for name, z in (("a", za), ("b", zb)):
            y = z - z.mean(dim=0)
            C = y.T @ y / (n - 1)
            terms[name] = squared.variance / 2 * ((C - C.new_tensor(np.eye(K))) ** 2).sum()
        return terms

    hinge = losses.equivalent("vicreg", "code", K, 2).method
    return {
        "VICReg, squared": (squared, squares),
        "VICReg, published": (hinge, lambda za, zb: losses.vicreg_terms(za, zb, eps=0.0)),
        "Barlow Twins": (BarlowTwins(), lambda za, zb: losses.barlow_twins_terms(za, zb, redundancy=1.0, eps=0.0)),
    }


def branches(
    *,
    data: str = "digits",
    n_features: int = 16,
    n_components: int = 4,
    originals: Sequence[int] = (20, 40, 80, 160, 320, 640, 1280),
    transforms: str | None = None,
    seeds: int = 3,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Published code takes a covariance per branch, theory one over all views: how far apart are the optima? (W8)

    Two views of n originals on their principal components, the loss of the code minimised full batch with every pair in
    one order, judged by the loss of both orders. As n grows the branches look alike, and the difference goes.

    Args:
        data: A data set by name, or a file.
        n_features: Principal components of the views that linear maps see.
        n_components: Dimension K of the embeddings.
        originals: How many originals are drawn, each with two views.
        transforms: How views are made, as in "shift(pixels=1), noise(scale=0.2)".
        seeds: Draws of originals and views.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: The first seed.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    several, K = check_seeds(seeds, seed), n_components
    counts = check_list(originals, "originals", 4)
    whole = load_data(data)
    if counts[-1] > whole.n_samples:
        raise DataError(f"originals: {counts[-1]} exceeds the {whole.n_samples} samples of {whole.name}")
    if not 1 <= K <= n_features <= whole.n_features:
        raise DataError(
            f"n_components <= n_features <= {whole.n_features} features must hold, got {K} and {n_features}"
        )
    if 2 * counts[0] <= n_features + 1:
        raise DataError(
            f"originals: two views of {counts[0]} are no more than n_features + 1 = {n_features + 1} rows, on which "
            "linear maps can do anything; take more originals or fewer features"
        )
    with experiment(
        "branches",
        config,
        question="What does it change that published code takes the covariance of each branch?",
        zero_line="the closed form over both orders of every pair",
        steps=len(counts) * len(several) * len(_published(K)),
        progress=progress,
    ) as report:
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        kinds: set[str] = set()
        for n in counts:
            for s in several:
                rows_ = np.sort(np.random.default_rng(s).choice(whole.n_samples, n, replace=False))
                pairs = augment(whole.subset(rows_), 2, transforms, seed=s)
                X, graph = pca(pairs.X, n_features).Z, views(pairs)
                assert pairs.source is not None
                order = np.argsort(pairs.source, kind="stable").reshape(-1, 2)
                for name, (pooled, code) in _published(K).items():
                    best = optimum(pooled, graph, K, X=X)
                    kinds.add(best.kind)
                    run = train(
                        PerBranch(best.method, code, order[:, 0], order[:, 1]), graph, K, X=X, seed=s, max_iter=800
                    )
                    one = {
                        "excess": excess_of(run.embedding.Z, best.method, graph, best),
                        "sine": largest_sine(run.embedding, best),
                        "Z": run.embedding.Z,
                        "X": X,
                        "order": order,
                    }
                    found.setdefault((name, n), []).append(one)
                    report.task.advance(text=f"{name}, {n} originals")
        for (name, n), runs in found.items():
            row = {
                "loss": name,
                "originals": n,
                **spread((run["excess"] for run in runs), "excess"),
                **spread((run["sine"] for run in runs), "sine"),
                "slug": f"{name.replace(' ', '-').replace(',', '')}.{n}",
            }
            report.add(row, Z=runs[0]["Z"], X=runs[0]["X"], order=runs[0]["order"])
        rows = report.payload["rows"]
        told, nearer = [], 0
        for name in _published(K):
            mine = [row for row in rows if row["loss"] == name]
            nearer += mine[-1]["excess"] < mine[0]["excess"]
            ends = mine[:: max(1, len(mine) - 1)]
            told.append(
                f"{name} "
                + ", ".join(
                    f"excess {times(row['excess'])} and sine {_sine(row)} at {row['originals']} originals"
                    for row in ends
                )
            )
        change = (
            f"From {counts[0]} to {counts[-1]} originals the optimum comes nearer for {nearer} of {len(told)} losses. "
        )
        report.payload["answer"] = (change if len(counts) > 1 else "") + f"{'; '.join(told)}."
        report.payload["zero_line"] = f"{known_as(kinds)} over both orders of every pair"
        report.payload["setting"] = (
            f"two views of originals of {data}, {n_features} principal components, K = {K}"
            f"{repeats(several, 'median and range of')}"
        )
        report.payload["curves"] = [
            {
                "name": "branches",
                "title": "Covariances per branch, as published: how far from the optimum over both orders",
                "x": "originals",
                "y": "excess",
                "by": "loss",
                "xlabel": "originals n (two views each)",
                "ylabel": "excess loss (collapsed = 1)",
                "xscale": "log",
                "yscale": "log",
                "zero": 0.0,
                "band": ["excess_min", "excess_max"],
                "below": {"y": "sine", "ylabel": "sine of the\nlargest angle", "yscale": "log"},
            }
        ]
    return report.payload


def _sine(row: dict[str, Any]) -> str:
    return "open" if row["sine"] is None else times(row["sine"])
