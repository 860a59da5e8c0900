"""bounds-trajectories: encoders trained with ever more negatives, both risks inside the band on held-out rows.

For every K an encoder minimises the contrastive loss of K sampled negatives over pairs of equal labels, and at steps
1, 2, 4, .. the held-out rows are a population of their own: R_cont(K) exact, R_supv of the mean classifier, and the
limits of one by the other. Where every point is inside the band the two move together, K after K in a narrower one.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from spectral_ssl.data import Dataset
from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.experiments.frame import check_list, check_seeds, experiment, times
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude, drawn
from spectral_ssl.experiments.setting import make_setting
from spectral_ssl.experiments.surrogate import limit_columns
from spectral_ssl.graph import Graph
from spectral_ssl.methods import SpectralContrastive
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.theory.risks import population, supervised_risk
from spectral_ssl.theory.surrogate import RIVALS, SurrogateReport, surrogate_bounds
from spectral_ssl.training import train
from spectral_ssl.training.negatives import sampled_negatives

__all__ = ["bound_trajectories"]

TOGETHER = 0.9  # rank correlation of the two risks along a training
LIMITS = {
    "measured": "supervised", "band": "band_upper", "sharp band": "sharp_band_upper", "inclusion": "inclusion",
    "collisions off": "collisions_off", "Arora et al.": "arora", "Nozawa & Sato": "nozawa_sato", "Ash et al.": "ash",
}  # fmt: skip
SHOWN = 1e4  # limits past it are left out of the figures


def bound_trajectories(
    *,
    data: str = "rings(n_samples=10000, n_rings=100, spacing=0.5, noise=0)",
    negatives: Sequence[int] = (1, 4, 16, 64, 256),
    encoder: str = "mlp(width=256, depth=2)",
    n_components: int = 64,
    optimizer: str = "adam(weight_decay=0.0001)",
    learning_rate: float = 0.003,
    batch_size: int = 512,
    max_iter: int = 512,
    temperature: float = 1.0,
    normalize: bool = True,
    test_size: float = 0.4,
    evaluated: int = 2000,
    seeds: int = 1,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """bounds-trajectories: (R_cont, R_supv) of encoders in training, inside the band; every limit at the end of it.

    Args:
        data: A labelled data set, drawn with the seed where it is random: concentric circles, or images and text.
        negatives: Numbers K of negatives; each trains an encoder of its own.
        encoder: What is trained, as in "mlp(width=256, depth=2)".
        n_components: Its output dimension.
        optimizer: Of training.
        learning_rate: Of training.
        batch_size: Pairs of equal labels in a batch, more than the largest K.
        max_iter: Steps.
        temperature: T, in the loss and in the bounds.
        normalize: Unit rows in the loss; without it the loss is of raw dot products, and judged are unit rows still.
        test_size: Share of the rows held out, which the risks are of.
        evaluated: At most so many held-out rows, in equal shares of the classes.
        seeds: Repetitions, over whose trainings the criteria are taken.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of data, split and training.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    ks, runs = check_list(negatives, "negatives", 1), check_seeds(seeds, seed)
    check_int(batch_size, "batch_size", low=ks[-1] + 1)
    T = check_real(temperature, "temperature", low=0, open_low=True)
    stops = [2**p for p in range(check_int(max_iter, "max_iter", low=4).bit_length()) if 2**p < max_iter] + [max_iter]
    setting = make_setting(drawn(data, seed), "labels", test_size=test_size, seed=seed)
    test = setting.probe_test
    if test is None:
        raise DataError("the risks are those of held-out rows; give a test_size above 0")
    rows = _shares(test, check_int(evaluated, "evaluated", low=4), seed)
    X, y = test.X[rows], np.asarray(test.y)[rows]
    options: dict[str, Any] = {
        "X": setting.data.X, "encoder": encoder, "optimizer": optimizer, "learning_rate": learning_rate,
        "batch_size": batch_size, "dtype": "float32",
    }  # fmt: skip
    with experiment(
        "bounds-trajectories",
        config,
        question="Does the mean classifier get better as the contrastive loss falls, for every number of negatives?",
        zero_line="a risk of zero",
        steps=len(ks) * len(runs),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        judged: dict[tuple[int, int], list[SurrogateReport]] = {}
        for at in runs:
            for K in ks:
                loss = sampled_negatives(K, temperature=T, normalize=normalize)
                options |= {"batch_loss": loss, "seed": at}
                path = []
                for stop, Z, Z_train in _embedded(setting.graph, n_components, stops, X, options):
                    found = surrogate_bounds(population(Z, y, temperature=T), K)
                    path.append(found)
                    row = _row(K, stop, at, found)
                    if stop == stops[-1] and (own := _train_means(Z_train, setting.data, found, T)) is not None:
                        row["supervised_by_training_means"] = own
                    report.add(row)
                judged[K, at] = path
                report.task.advance(text=f"K = {K}, seed {at}")
        table = list(report.payload["rows"])
        conclude(report, *_verdict(judged, table, ks, stops))
        if setting.data.name.startswith("cifar"):
            report.payload["notes"].append(
                "images are read and trained on as they come, by an MLP on pixels: exercised, not a reproduction of "
                "the published ResNet-18"
            )
        if not normalize:
            report.payload["notes"].append("the loss was of raw dot products; risks and bounds are those of unit rows")
        report.payload["rows"] += _drawn(table, ks, stops, seed)
        report.payload["setting"] = (
            f"{encoder}, {n_components} outputs, {optimizer}, batches of {batch_size}; T = {T:g}"
        )
        report.payload["curves"] = _curves(stops)
    return report.payload


def _shares(test: Dataset, most: int, seed: int) -> Any:
    """At most so many rows, in equal shares of the classes, drawn with the seed."""
    if not test.is_classification:
        raise DataError(f"the data {test.name!r} need classes")
    codes = test.class_codes
    known = np.unique(codes[codes >= 0])
    each = max(2, most // known.size)
    rng = np.random.default_rng(seed)
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(codes == c))[:each] for c in known]))


def _embedded(graph: Graph, K: int, stops: Sequence[int], X: Array, options: dict[str, Any]) -> Any:
    """The stop, Z of X and Z of the training rows, at every stop of one training, from checkpoint to checkpoint."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)
        for stop in stops:
            # the spectral contrastive loss only judges: its value over the whole relation costs O(N)
            run = train(SpectralContrastive(), graph, K, max_iter=stop, checkpoint=Path(folder) / "run", **options)
            yield stop, run.embedding.transform(X), run.embedding.Z


def _train_means(Z: Array, data: Dataset, found: SurrogateReport, T: float) -> float | None:
    """R_supv of the held-out rows by class means of training rows, where they have the same classes."""
    means = population(Z, data.y, temperature=T)
    same = means.classes.shape == found.population.classes.shape and np.all(means.classes == found.population.classes)
    return supervised_risk(found.population, means=means.means) if same else None


def _row(K: int, step: int, seed: int, found: SurrogateReport) -> dict[str, Any]:
    bounds = found.bounds[0]
    return {
        "negatives": K,
        "step": step,
        "contrastive": float(found.contrastive.value[0]),
        "supervised": found.supervised,
        "accuracy": found.accuracy,
        **limit_columns(bounds),
        "floor": found.yardsticks.floor,
        "ceiling": found.yardsticks.ceiling,
        "noise": float(found.noise[0]),
        "b2": found.population.b2,
        "violated": [name for name, bound in bounds.items() if bound.verdict == "violated"],
        "seed": seed,
        "slug": f"K{K}.step{step}.seed{seed}",
    }


def _verdict(
    judged: dict[tuple[int, int], list[SurrogateReport]], table: list[dict[str, Any]], ks: list[int], stops: list[int]
) -> Any:
    """The prediction, its criteria, and what else there is to tell."""
    agreement, fell = [], []
    for path in judged.values():
        R, S = [float(p.contrastive.value[0]) for p in path], [p.supervised for p in path]
        agreement.append(float(scipy.stats.spearmanr(R, S)[0]) if np.ptp(R) > 0 and np.ptp(S) > 0 else np.nan)
        fell.append(S[0] - S[-1])
    widths = {K: next(p[-1].constants[0].intercepts.width for (k, _), p in judged.items() if k == K) for K in ks}
    last = [row for row in table if row["step"] == stops[-1]]
    beaten = sum(
        1
        for path in judged.values()
        for name in RIVALS
        if (rival := path[-1].bounds[0][name]).legal and rival.limit < path[-1].bounds[0]["least upper limit"].limit
    )
    inside = sum(len(row["violated"]) for row in table)
    best = max(last, key=lambda row: row["accuracy"])
    told = "; ".join(
        f"K = {K}: {100 * np.mean([r['accuracy'] for r in last if r['negatives'] == K]):.1f} %" for K in ks
    )
    return (
        "at every checkpoint R_supv is inside the band round R_cont, the narrower the larger K is; both fall together, "
        "and at the end every rival is above the least upper limit.",
        [
            at_most("limits violated at some checkpoint", inside, 0),
            at_least("least rank correlation of R_cont and R_supv along a training", min(agreement), TOGETHER),
            at_least("least fall of R_supv in training", min(fell), 0.0),
            at_most(
                "numbers of negatives at which the band is wider than at the one before",
                int((np.diff([widths[K] for K in ks]) > 0).sum()),
                0,
            ),
            at_most("rivals below the least upper limit at the end", beaten, 0),
        ],
        f"Accuracy of the mean classifier on held-out rows at the end, {told}; R_supv {times(best['supervised'])} at "
        f"best (floor {times(best['floor'])}).",
    )


def _drawn(table: list[dict[str, Any]], ks: list[int], stops: list[int], seed: int) -> list[dict[str, Any]]:
    """Trajectories of the first seed, R_cont less ln K so that all K share an axis, and the limits at the end."""
    rows: list[dict[str, Any]] = []
    mine = [row for row in table if row["seed"] == seed]
    for row in mine:
        x = row["contrastive"] - float(np.log(row["negatives"]))
        lines = {"trained": "supervised", "upper limit": "band_upper", "sharp upper limit": "sharp_band_upper",
                 "sharp lower limit": "sharp_band_lower", "lower limit": "band_lower"}  # fmt: skip
        rows += [
            {"figure": "trajectory", "panel": f"K = {row['negatives']}", "x": x, "line": line, "shown": row[key]}
            for line, key in lines.items()
        ]
        rows.append(
            {"figure": "accuracy", "step": row["step"], "line": f"K = {row['negatives']}", "shown": row["accuracy"]}
        )
        if row["step"] == stops[-1]:
            rows += [
                {"figure": "limits", "negatives": row["negatives"], "line": line, "shown": row[key]}
                for line, key in LIMITS.items()
                if row[key] is not None and row[key] <= SHOWN
            ]
    return rows


def _curves(stops: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "name": "trajectory", "title": "In training both risks move together, inside a band that narrows with K",
            "x": "x", "y": "shown", "by": "line", "panel": "panel", "where": {"figure": "trajectory"},
            "theory": ["upper limit", "sharp upper limit", "sharp lower limit", "lower limit"],
            "xlabel": "R_cont - ln K (nats)", "ylabel": "R_supv (nats)", "xscale": "linear", "yscale": "linear",
            "caption": "held-out rows, steps 1, 2, 4, ..",
        },
        {
            "name": "limits", "title": "What R_cont says at the end of training, by the negatives trained with",
            "x": "negatives", "y": "shown", "by": "line", "where": {"figure": "limits"}, "theory": ["measured"],
            "xlabel": "negatives K", "ylabel": "risk of the mean classifier (nats)", "xscale": "log", "yscale": "log",
            "caption": f"held-out rows after {stops[-1]} steps",
        },
        {
            "name": "accuracy", "title": "The mean classifier on held-out rows, by step and negatives",
            "x": "step", "y": "shown", "by": "line", "where": {"figure": "accuracy"}, "xlabel": "step",
            "ylabel": "accuracy", "xscale": "log", "yscale": "linear",
        },
    ]  # fmt: skip
