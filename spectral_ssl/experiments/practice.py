"""Training as practitioners do it, against the closed form: batches of every size, and their bias.

The zero line is the minimum of the loss over the whole relation at the same hyper-parameters, and every trained
embedding is judged by that loss, whatever it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import losses, spec
from spectral_ssl.embedding import Optimum
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError
from spectral_ssl.experiments.frame import (
    check_list,
    check_seeds,
    excess_of,
    experiment,
    known_as,
    largest_sine,
    named_methods,
    open_setting,
    order_of,
    reach,
    repeats,
    spread,
    times,
)
from spectral_ssl.experiments.regimes import METHODS_SHOWN, solved
from spectral_ssl.graph import Graph
from spectral_ssl.methods import Method, SpectralContrastive, VICReg
from spectral_ssl.methods.base import as_embedding
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra, Spectrum
from spectral_ssl.training import Step, TrainResult, train

__all__ = ["batch_size", "minibatch_bias"]


# --------------------------------------------------------------------------------------------------------- batch-size


def batch_size(
    *,
    data: str = "digits",
    relation: str = "knn",
    methods: str = METHODS_SHOWN,
    n_components: int = 8,
    sizes: Sequence[int] = (16, 64, 256, 1024),
    optimizers: str = "adam",
    learning_rate: float | None = None,
    schedule: str = "cosine",
    steps: int = 500,
    seeds: int = 2,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What a small batch costs: excess loss of minibatch training over the closed form, plain and debiased.

    Batches are pairs drawn from the relation. Every run is looked at twice: when it has seen as many pairs as the
    smallest batch sees in all, and at the end, after equally many steps for all sizes.

    Args:
        data: A data set by name, or a file.
        relation: The positive pairs, as in "knn(n_neighbors=10)".
        methods: Methods by name, with options as in "vicreg(invariance=0.5), barlow_twins".
        n_components: Dimension K of the embeddings.
        sizes: Batch sizes, in pairs; even, and at least 4.
        optimizers: One or several, as in "adam, sgd(momentum=0.9)".
        learning_rate: Left out, the optimizer's default.
        schedule: constant, "cosine(warmup=0.1)" or "step(every=100, factor=0.5)".
        steps: Steps of every run.
        seeds: Runs of each.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: The first seed.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    chosen, several, K = named_methods(methods), check_seeds(seeds, seed), n_components
    batches = _check_sizes(sizes)
    engines = [spec.format_call(*call) for call in spec.parse_calls(optimizers)]
    if steps < 2:
        raise DataError(f"steps must be at least 2, got {steps}")
    setting = open_setting(data, relation, seed=seed)
    spectra = Spectra(setting.graph, X=setting.data.X)
    optima = {name: solved(method, spectra, K) for name, method in chosen.items()}
    pairs = batches[0] * steps
    options: dict[str, Any] = {"learning_rate": learning_rate, "schedule": schedule, "max_iter": steps}
    with experiment(
        "batch-size",
        config,
        question="What does the size of the batch cost?",
        zero_line=f"{known_as(best.kind for best in optima.values())} over the whole relation",
        steps=len(chosen) * len(batches) * len(engines) * 2 * len(several),
        progress=progress,
        setting=setting,
    ) as report:
        for name, best in optima.items():
            for engine in engines:
                for debias in (False, True):
                    for B in batches:
                        early: list[float] = []
                        runs: list[TrainResult] = []
                        for s in several:
                            look = _Look(max(1, round(pairs / B)))
                            try:
                                run = train(
                                    best.method,
                                    spectra,
                                    K,
                                    **(options | {"optimizer": engine, "batch_size": B, "debias": debias, "seed": s}),
                                    callbacks=[look],
                                )
                            except NumericalError as error:
                                report.payload["notes"].append(f"{engine}, B = {B}, seed {s}: {error}")
                            else:
                                runs.append(run)
                                early += (
                                    [excess_of(look.Z, best.method, setting.graph, best)] if look.Z is not None else []
                                )
                            report.task.advance(text=f"{name}, {engine}, B = {B}")
                        ends = [excess_of(run.embedding.Z, best.method, setting.graph, best) for run in runs]
                        how = "debiased" if debias else "plain"
                        row = {
                            "method": name,
                            "batch_size": B,
                            "how": how,
                            "line": f"{name}, {how}",
                            "optimizer": engine,
                            **spread(ends, "excess"),
                            **spread(early, "early"),
                            **spread((largest_sine(run.embedding, best) for run in runs), "sine"),
                            "steps": steps,
                            "diverged": len(several) - len(runs),
                            "learning_rate": runs[0].learning_rate if runs else None,
                            "slug": f"{name}.{engine}.{B}.{how}",
                        }
                        report.add(row, **({"Z": runs[0].embedding.Z} if runs else {}))
        rows = report.payload["rows"]
        told = []
        for how in ("plain", "debiased"):
            for B in (batches[0], batches[-1]):
                found = [row["excess"] for row in rows if row["how"] == how and row["batch_size"] == B]
                found = [value for value in found if value is not None]
                told.append(reach(found) if found else "open, every run having diverged,")
        report.payload["answer"] = (
            f"After {steps} steps the excess, as a share of the way to collapse, is {told[0]} at B = {batches[0]} and "
            f"{told[1]} at B = {batches[-1]}; debiased {told[2]} and {told[3]}."
        )
        spread_of = repeats(several, "median and range of")
        report.payload["setting"] = f"K = {K}, linear maps, {steps} steps{spread_of}"
        shared = {
            "x": "batch_size",
            "by": "how",
            "panel": "method",
            "xlabel": "batch size B (pairs)",
            "xscale": "log",
            "yscale": "log",
            "zero": 0.0,
        }
        report.payload["curves"] = [
            curve
            for engine in engines
            for curve in (
                {
                    **shared,
                    "name": f"batch-size-{spec.parse_call(engine)[0]}",
                    "title": "Small batches: how far above the closed form training ends",
                    "y": "excess",
                    "band": ["excess_min", "excess_max"],
                    "ylabel": "excess loss (collapsed = 1)",
                    "where": {"optimizer": engine},
                    "caption": engine,
                    "below": {"y": "sine", "ylabel": "sine of the\nlargest angle", "yscale": "log"},
                },
                {
                    **shared,
                    "name": f"equal-pairs-{spec.parse_call(engine)[0]}",
                    "title": "The same number of pairs seen: many small steps or few large ones",
                    "y": "early",
                    "band": ["early_min", "early_max"],
                    "ylabel": "excess loss (collapsed = 1)",
                    "where": {"optimizer": engine},
                    "caption": f"{engine}, after {pairs:,} pairs",
                },
            )
        ]
    return report.payload


@dataclass
class _Look:
    """A callback that keeps the embedding at one step."""

    step: int
    Z: Any = None

    def __call__(self, step: Step) -> None:
        if step.evaluations == self.step:
            self.Z = step.embed()


def _check_sizes(sizes: Sequence[int]) -> list[int]:
    found = check_list(sizes, "sizes", 4)
    odd = [B for B in found if B % 2]
    if odd:
        raise DataError(f"sizes must be even, since debiasing compares the halves of a batch, got {odd[0]}")
    return found


# ----------------------------------------------------------------------------------------------------- minibatch-bias


@dataclass(frozen=True)
class Expected(Method):
    """The mean over batches of B pairs of the loss that training descends (W9): inner loss + bias.

    spectral_contrastive: the second moment of a batch is the mean of T = (z_i z_i' + z_j z_j') / 2 over its pairs, so

        E|C_B|^2 = |C|^2 + (E|T|^2 - |C|^2) / B    exactly,

    where `ss.losses.minibatch_bias` has |z|^4 for |T|^2, its rows being independent and not two of a pair.

    vicreg (alpha = beta, uniform weights w_i = s / (N deg_i)): the covariance of a batch is a mean over pairs of pairs,
    of which one pair decides g = (1/4) sum_{e = i, j} w_e (y_e y_e' + C), y = z - mean, and to leading order

        E|C_B|^2 = |C|^2 + 4 (E|g|^2 - |C|^2) / B.
    """

    inner: VICReg | SpectralContrastive
    batch: int

    def __post_init__(self) -> None:
        m = self.inner
        if not isinstance(m, VICReg | SpectralContrastive):
            raise DataError("the bias is known here for vicreg and spectral_contrastive; choose of these")
        if isinstance(m, VICReg) and (
            m.form != "squared" or m.weighting != "none" or m.ddof or m.variance != m.covariance
        ):
            raise DataError("the bias is known here for vicreg with squared variance, equal weights and ddof 0")

    @property
    def pencil(self) -> Any:
        return self.inner.pencil

    @property
    def whitens(self) -> Any:
        return self.inner.whitens

    @property
    def centred(self) -> Any:
        return self.inner.centred

    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, Any]:
        Z = as_embedding(Z, graph)
        return {**self.inner.loss_terms(Z, graph), "bias": self.bias(Z, graph)}

    def bias(self, Z: Any, graph: Graph) -> Any:
        """How much larger the loss of a batch is on average, a tensor."""
        i, j, weight = _ordered_pairs(graph)
        p = Z.new_tensor(weight / weight.sum())
        if isinstance(self.inner, SpectralContrastive):
            a, b = Z[i], Z[j]
            C = Z.T @ (Z.new_tensor(graph.degree / graph.total_weight)[:, None] * Z)
            size = (a * a).sum(dim=1) ** 2 + (b * b).sum(dim=1) ** 2 + 2 * (a * b).sum(dim=1) ** 2
            return ((p * size).sum() / 4 - (C**2).sum()) / self.batch
        N = graph.n_samples
        Y = Z - Z.mean(dim=0)
        C = Y.T @ Y / N
        square, along = (C**2).sum(), ((Y @ C) * Y).sum(dim=1)
        w = Z.new_tensor(graph.total_weight / (N * graph.degree))
        own = w**2 * ((Y * Y).sum(dim=1) ** 2 + 2 * along + square)  # |w_e (y_e y_e' + C)|^2
        shared = w[i] * w[j] * ((Y[i] * Y[j]).sum(dim=1) ** 2 + along[i] + along[j] + square)
        mean = (p * (own[i] + own[j] + 2 * shared)).sum() / 16
        return 4 * self.inner.variance * (mean - square) / self.batch

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        raise NotClosedForm("the mean loss of batches has no closed form; train it")

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        return self.inner.collapse_loss(graph, n_components)


def _ordered_pairs(graph: Graph) -> tuple[Any, Any, Any]:
    A = graph.to_csr().tocoo()
    return A.coords[0].astype(np.int64), A.coords[1].astype(np.int64), A.data


def minibatch_bias(
    *,
    data: str = "digits",
    relation: str = "knn",
    methods: str = "vicreg, spectral_contrastive",
    n_components: int = 8,
    sizes: Sequence[int] = (16, 64, 256),
    optimizer: str = "adam",
    learning_rate: float | None = None,
    steps: int = 1200,
    seeds: int = 2,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Where minibatch training goes if it may go on for ever: the minimum of the mean batch loss is another one (W9).

    Squared covariances of a batch are too large by O(1/B), which moves the optimum by O(1/B) and costs O(1/B^2) of the
    loss. Trained to a rate of zero, plain and debiased; predicted by minimising the mean batch loss itself.

    Args:
        data: A data set by name, or a file.
        relation: The positive pairs, as in "knn(n_neighbors=10)"; every sample must have one.
        methods: Of vicreg (squared, equal weights) and spectral_contrastive.
        n_components: Dimension K of the embeddings.
        sizes: Batch sizes, in pairs; even, and at least 4.
        optimizer: One, as in "sgd(momentum=0.9)".
        learning_rate: Left out, the optimizer's default; it falls to zero along a cosine.
        steps: Steps of every run.
        seeds: Runs of each.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: The first seed.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    chosen, several, K = named_methods(methods), check_seeds(seeds, seed), n_components
    batches = _check_sizes(sizes)
    for method in chosen.values():
        Expected(method, batches[0])  # type: ignore[arg-type]  # refused here, before a run is begun
    setting = open_setting(data, relation, seed=seed)
    if np.any(setting.graph.degree == 0):
        raise DataError(
            "the relation leaves samples without a pair, for which the prediction does not hold; choose another, "
            "such as knn"
        )
    spectra = Spectra(setting.graph, X=setting.data.X)
    optima = {name: solved(method, spectra, K) for name, method in chosen.items()}
    with experiment(
        "minibatch-bias",
        config,
        question="Where is the optimum of the loss that minibatches have on average?",
        zero_line=f"{known_as(best.kind for best in optima.values())} over the whole relation",
        steps=len(chosen) * len(batches) * (1 + 2 * len(several)),
        progress=progress,
        setting=setting,
    ) as report:
        for name, best in optima.items():
            for B in batches:
                expected = Expected(best.method, B)  # type: ignore[arg-type]
                moved = train(expected, spectra, K, seed=seed, max_iter=500, tol=1e-7)
                Z0 = as_embedding(best.embedding.Z, setting.graph)
                shared = {"method": name, "batch_size": B}
                row = {
                    **shared,
                    "line": "plain, predicted",
                    **spread([excess_of(moved.embedding.Z, best.method, setting.graph, best)], "excess"),
                    **spread([largest_sine(moved.embedding, best)], "sine"),
                    "bias": float(expected.bias(Z0, setting.graph)),
                    "bias_independent": _independent(best, B, setting.graph),
                    "slug": f"{name}.{B}.predicted",
                }
                report.add(row, Z=moved.embedding.Z)
                report.task.advance(text=f"{name}, B = {B}, predicted")
                for how, debias in (("plain", False), ("debiased", True)):
                    runs = []
                    for s in several:
                        run = train(
                            best.method,
                            spectra,
                            K,
                            optimizer=optimizer,
                            learning_rate=learning_rate,
                            schedule="cosine",
                            batch_size=B,
                            debias=debias,
                            seed=s,
                            max_iter=steps,
                        )
                        runs.append(run)
                        report.task.advance(text=f"{name}, B = {B}, {how}")
                    row = {
                        **shared,
                        "line": how,
                        **spread(
                            (excess_of(run.embedding.Z, best.method, setting.graph, best) for run in runs), "excess"
                        ),
                        **spread((largest_sine(run.embedding, best) for run in runs), "sine"),
                        "slug": f"{name}.{B}.{how}",
                    }
                    report.add(row, Z=runs[0].embedding.Z)
        rows = report.payload["rows"]
        told = []
        for name in dict.fromkeys(row["method"] for row in rows):
            lines = {
                line: {row["batch_size"]: row["excess"] for row in rows if (row["method"], row["line"]) == (name, line)}
                for line in ("plain, predicted", "plain", "debiased")
            }
            slope = order_of(*zip(*sorted(lines["plain, predicted"].items()), strict=True))
            at = {line: times(found[batches[0]]) for line, found in lines.items()}
            told.append(
                f"{name} at B = {batches[0]}: predicted {at['plain, predicted']}, trained {at['plain']}, "
                f"debiased {at['debiased']}"
                + (f", the prediction going like B^{round(slope, 1) + 0.0:g}" if slope is not None else "")
            )
        zero = known_as(best.kind for best in optima.values())
        report.payload["answer"] = f"Above {zero}, as a share of the way to collapse. {'; '.join(told)}."
        report.payload["notes"].append(
            "predicted: minimum of loss + E|C_B|^2 - |C|^2, exact for spectral_contrastive, to leading order for "
            "vicreg; trained runs have beyond it the noise of the steps, which debiasing cannot take off, and whatever "
            f"{steps} steps leave to be learned"
        )
        spread_of = repeats(several, "median and range of")
        report.payload["setting"] = f"K = {K}, linear maps, {steps} steps{spread_of}"
        report.payload["curves"] = [
            {
                "name": "minibatch-bias",
                "title": "The optimum of the mean batch loss: its excess over the whole relation",
                "x": "batch_size",
                "y": "excess",
                "by": "line",
                "panel": "method",
                "theory": ["plain, predicted"],
                "xlabel": "batch size B (pairs)",
                "ylabel": "excess loss (collapsed = 1)",
                "xscale": "log",
                "yscale": "log",
                "zero": 0.0,
                "band": ["excess_min", "excess_max"],
                "below": {"y": "sine", "ylabel": "sine of the\nlargest angle", "yscale": "log"},
            }
        ]
    return report.payload


def _independent(best: Optimum, B: int, graph: Graph) -> float | None:
    """W9 for B independent samples, uniform weights: `ss.losses.minibatch_bias` of the optimum."""
    if not isinstance(best.method, VICReg):
        return None
    alpha = best.method.variance
    return losses.minibatch_bias(best.embedding.Z, B, variance=alpha, covariance=alpha, centred=True)
