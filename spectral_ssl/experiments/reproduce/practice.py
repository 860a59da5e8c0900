"""E9: minibatches of augmented digits, linear maps: how far from the closed form they end, by the size of the batch.

The mean loss of batches of B pairs is the loss of the whole relation plus a bias of order 1/B, since squared moments of
a batch are too large by their variance (`experiments.practice.Expected`). A bias of order 1/B moves the minimum
by O(1/B), and this costs O(1/B^2) of the loss, whose slope is zero there:

    mean loss of batches - loss = bias(Z) ~ 1/B,    sine to the closed form ~ 1/B,    excess loss ~ 1/B^2
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import spec
from spectral_ssl.embedding import Optimum
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import (
    check_list,
    check_seeds,
    excess_of,
    experiment,
    known_as,
    largest_sine,
    named_methods,
    order_of,
    repeats,
    spread,
)
from spectral_ssl.experiments.practice import Expected
from spectral_ssl.experiments.regimes import solved
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude, fitted
from spectral_ssl.experiments.setting import load_data, make_setting, subsample
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import as_embedding
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra

__all__ = ["batch_bias", "mean_bias"]

SURE = 4.5  # standard errors between a mean over batches and its expectation
LEADING = 2.5  # the same as a share: vicreg's bias is known to leading order in 1/B, so times 1/B at least
NEAR = 2.0  # factor by which a run may end below the minimum of the mean loss, by its noise
NEARER = 0.5  # share of the excess at the smallest batch that is left at the largest


def mean_bias(best: Optimum, B: int, graph: Graph, draws: int, seed: int) -> tuple[float, float]:
    """Mean loss of batches of B pairs less the loss, at an optimum, and its standard error, by drawing batches."""
    Z, rng = as_embedding(best.embedding.Z, graph), np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        i, j = best.method.draw_pairs(graph, B, rng)
        terms = best.method.batch_terms(Z[i], Z[j], i, j, graph)
        found.append(float(sum(float(term) for term in terms.values())))
    return float(np.mean(found) - best.loss), float(np.std(found, ddof=1) / np.sqrt(draws))


def batch_bias(
    *,
    data: str = "digits",
    transforms: str = "shift(pixels=1)",
    n_originals: int = 400,
    methods: str = "vicreg, spectral_contrastive",
    n_components: int = 8,
    sizes: Sequence[int] = (16, 64, 256, 1024),
    optimizers: str = "adam, sgd(momentum=0.9)",
    steps: int = 600,
    seeds: int = 1,
    draws: int = 1000,
    max_iter: int = 500,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E9: linear maps of augmented digits. The closed form against SGD and Adam on minibatches.

    Args:
        data: A data set of images, by name, or a file.
        transforms: Augmentations that make two views of every original.
        n_originals: Originals drawn of the data; 0: all.
        methods: Of vicreg (squared, equal weights) and spectral_contrastive, whose bias is known.
        n_components: Dimension K of the embeddings.
        sizes: Batch sizes B, in pairs.
        optimizers: One or several, as in "adam, sgd(momentum=0.9)".
        steps: Steps of every run; the learning rate falls to zero along a cosine.
        seeds: Runs of each.
        draws: Batches over which the bias is measured.
        max_iter: Evaluations of the mean loss of batches, which is minimised for the prediction.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the originals and their views, and the first of the runs.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    chosen, several, K = named_methods(methods), check_seeds(seeds, seed), n_components
    batches = check_list(sizes, "sizes", 4)
    engines = [spec.format_call(*call) for call in spec.parse_calls(optimizers)]
    if draws < 10:
        raise DataError(f"draws must be at least 10, for a standard error, got {draws}")
    for method in chosen.values():
        Expected(method, batches[0])  # type: ignore[arg-type]  # refused here, before a run is begun
    whole = make_setting(load_data(data), "views", transforms=transforms, test_size=0.0, seed=seed)
    setting = subsample(whole, n_originals, seed)
    spectra = Spectra(setting.graph, X=setting.data.X)
    optima = {name: solved(method, spectra, K) for name, method in chosen.items()}
    with experiment(
        "E9",
        config,
        question="How far from the closed form does training on minibatches end, by the size of the batch?",
        zero_line=f"{known_as(best.kind for best in optima.values())} over the whole relation",
        steps=len(chosen) * len(batches) * (1 + len(engines) * len(several)),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        for name, best in optima.items():
            Z = as_embedding(best.embedding.Z, setting.graph)
            for B in batches:
                expected = Expected(best.method, B)  # type: ignore[arg-type]
                moved = fitted(expected, spectra, K, seed=seed, max_iter=max_iter, tol=1e-7)
                measured, error = mean_bias(best, B, setting.graph, draws, seed)
                row = {
                    "method": name,
                    "batch_size": B,
                    "line": "predicted",
                    **spread([excess_of(moved.embedding.Z, best.method, setting.graph, best)], "excess"),
                    **spread([largest_sine(moved.embedding, best)], "sine"),
                    "bias": float(expected.bias(Z, setting.graph)),
                    "bias_measured": measured,
                    "bias_error": error,
                    "slug": f"{name}.{B}.predicted",
                }
                report.add(row, Z=moved.embedding.Z)
                report.task.advance(text=f"{name}, B = {B}, predicted")
                for engine in engines:
                    runs = []
                    for s in several:
                        runs.append(
                            fitted(
                                best.method,
                                spectra,
                                K,
                                optimizer=engine,
                                schedule="cosine",
                                batch_size=B,
                                seed=s,
                                max_iter=steps,
                            )
                        )
                        report.task.advance(text=f"{name}, B = {B}, {engine}")
                    row = {
                        "method": name,
                        "batch_size": B,
                        "line": engine,
                        **spread(
                            (excess_of(run.embedding.Z, best.method, setting.graph, best) for run in runs), "excess"
                        ),
                        **spread((largest_sine(run.embedding, best) for run in runs), "sine"),
                        "slug": f"{name}.{B}.{spec.parse_call(engine)[0]}",
                    }
                    report.add(row, Z=runs[0].embedding.Z)
        rows = list(report.payload["rows"])
        conclude(report, *_judged(rows, list(chosen), batches, engines))
        report.payload["rows"] += [
            {"figure": "bias", "panel": row["method"], "batch_size": row["batch_size"], "shown": row[key], "line": line}
            for row in rows
            if row["line"] == "predicted"
            for line, key in (("measured", "bias_measured"), ("predicted", "bias"))
        ]
        report.payload["setting"] = f"K = {K}, linear maps, {steps} steps{repeats(several, 'median and range of')}"
        shared = {
            "x": "batch_size",
            "by": "line",
            "theory": ["predicted"],
            "xlabel": "batch size B (pairs)",
            "xscale": "log",
            "yscale": "log",
        }
        report.payload["curves"] = [
            {
                **shared,
                "name": "bias",
                "title": "The mean loss of batches is too large by a bias of order 1/B, as predicted",
                "y": "shown",
                "panel": "panel",
                "where": {"figure": "bias"},
                "ylabel": "mean batch loss - loss",
                "caption": f"at the closed form, {draws:,} batches",
            },
            {
                **shared,
                "name": "excess",
                "title": "The minimum of the mean batch loss bounds what training on batches reaches",
                "y": "excess",
                "panel": "method",
                "where": {"line": ["predicted", *engines]},
                "ylabel": "excess loss (collapsed = 1)",
                "zero": 0.0,
                "band": ["excess_min", "excess_max"],
                "below": {"y": "sine", "ylabel": "sine of the\nlargest angle", "yscale": "log"},
            },
        ]
    return report.payload


def _judged(rows: list[dict[str, Any]], names: list[str], batches: list[int], engines: list[str]) -> tuple[Any, ...]:
    """Prediction, criteria and words of E9."""
    predicted = {(r["method"], r["batch_size"]): r for r in rows if r["line"] == "predicted"}
    off, sines, excesses, factors, falls = [], [], [], [], []
    for name in names:
        mine = [predicted[name, B] for B in batches]
        for row in mine:
            # vicreg's is known to leading order: what is left of it is of order 1/B of itself
            slack = SURE * row["bias_error"] + LEADING * row["bias"] / row["batch_size"]
            off.append(abs(row["bias_measured"] - row["bias"]) / slack)
        if all(row["sine"] for row in mine):
            sines.append(order_of(batches, [row["sine"] for row in mine]))
        excesses.append(order_of(batches, [row["excess"] for row in mine]))
        for engine in engines:
            found = {r["batch_size"]: r["excess"] for r in rows if r["method"] == name and r["line"] == engine}
            factors.append(found[batches[0]] / predicted[name, batches[0]]["excess"])
            falls.append(found[batches[-1]] / found[batches[0]])
    orders = [order for order in sines if order is not None]
    costs = [order for order in excesses if order is not None]
    return (
        "the mean loss of batches exceeds the loss by a bias of order 1/B, which moves its minimum by O(1/B) and costs "
        "O(1/B²) of the loss; SGD and Adam, whose steps have noise beside, end no nearer than that, and nearer as "
        "batches grow.",
        [
            at_most("largest |measured bias - predicted| in units of its sampling error and next order", max(off), 1),
            at_most("largest |power of B + 1| of the sine", max((abs(p + 1) for p in orders), default=np.nan), 0.25),
            at_most("largest |power of B + 2| of the excess", max((abs(p + 2) for p in costs), default=np.nan), 0.5),
            at_least("least trained excess over the predicted, smallest batch", min(factors), 1 / NEAR),
            at_most("trained excess at the largest batch over that at the smallest", max(falls), NEARER),
        ],
    )
