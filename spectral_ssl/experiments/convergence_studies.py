"""Over-parametrised contrastive encoders on labelled data: what more negatives do, and what width does.

With shuffled labels as a control: the training error falls all the same, and nothing is learnt.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.convergence_rows import descent_row, sentence
from spectral_ssl.experiments.convergence_tuples import labelled_rows
from spectral_ssl.experiments.frame import check_list, experiment, order_of, reach, times
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.theory.risks import population
from spectral_ssl.theory.surrogate import BEST, surrogate_bounds
from spectral_ssl.theory.tuples import draw_tuples
from spectral_ssl.training.convergence import Descended, DescentSetup, descend

__all__ = ["convergence_negatives", "convergence_widths"]

LABELS = ("as given", "shuffled")
Outputs = Literal["free", "unit"]
RISK_ROWS = 400  # training rows that risks are over: their exact value takes the square of that, for every N


def convergence_negatives(
    *,
    data: str = "digits",
    negatives: Sequence[int] = (1, 2, 5, 10, 50, 100),
    outputs: Sequence[Outputs] = ("unit", "free"),
    n_tuples: int = 200,
    n_rows: int = 400,
    width: int = 96,
    depth: int = 2,
    n_outputs: int = 16,
    temperature: float = 0.5,
    steps: int = 200,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Accuracy, training loss and the surrogate limits of wide encoders by the number of negatives.

    Each encoder descends on tuples of as many negatives, drawn from all classes. Its mean classifier and a linear probe
    are judged on rows that were held out; its contrastive risk, and what that says of the cross-entropy of class means,
    on the training rows. Shuffled labels are the control.

    Args:
        data: A labelled data set by name, or a file; rows are brought to length 1.
        negatives: Numbers N of negatives.
        outputs: Of length 1 (unit) or as they come (free).
        n_tuples: Tuples of each encoder.
        n_rows: Training rows that tuples are drawn from; the others are held out.
        width: Of the hidden layers.
        depth: Trained hidden layers.
        n_outputs: Dimension of the outputs.
        temperature: Of the margins, for both kinds of outputs.
        steps: Of full-batch gradient descent.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of rows, tuples and weights.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    ks = check_list(negatives, "negatives", 1)
    kinds = _outputs(outputs)
    X, codes, summary = labelled_rows(data, None, False, seed)
    rng = np.random.default_rng((seed, 4))
    order = rng.permutation(len(X))
    if not 10 <= n_rows < len(X):
        raise DataError(f"n_rows must be from 10 to {len(X) - 1}, so that rows are left to judge by, got {n_rows}")
    seen, held = order[:n_rows], order[n_rows:]
    if np.unique(codes[seen]).size < np.unique(codes).size:
        raise DataError(f"not all classes are among n_rows = {n_rows} rows; raise n_rows")
    chance = float(np.bincount(codes[held]).max() / held.size)
    setups = {
        kind: DescentSetup(width, depth=depth, n_outputs=n_outputs, unit=kind == "unit", temperature=temperature)
        for kind in kinds
    }
    cells = list(itertools.product(kinds, LABELS, ks))
    with experiment(
        "convergence-negatives",
        config,
        question="What do more negatives change in an over-parametrised contrastive encoder?",
        zero_line="the share of the largest class",
        steps=len(cells),
        progress=progress,
    ) as report:
        report.payload["data"] = summary
        for kind, label, N in cells:
            y = codes[seen] if label == "as given" else np.random.default_rng((seed, 5)).permutation(codes[seen])
            tuples = draw_tuples(X[seen], y, n_tuples, N, collide=True, seed=seed)
            found = descend(tuples, setups[kind], steps=steps, looks=2, seed=seed, kernel=False)
            row = {"outputs": kind, "labels": label, "negatives": N}
            row |= _judged(found, X[seen], y, X[held], codes[held], N)
            row |= {"slug": f"{kind}-{label.replace(' ', '-')}-{N}"}
            report.add(row, losses=found.trace.losses)
            report.task.advance(text=row["slug"])
        rows = list(report.payload["rows"])
        report.payload["rows"] += [
            {"figure": figure, "case": f"{row['outputs']} outputs, labels {row['labels']}", "line": line,
             "negatives": row["negatives"], "shown": row[key]}
            for row in rows
            for figure, line, key in DRAWN
            if row[key] is not None
        ]  # fmt: skip
        report.payload["answer"] = _negatives_answer(rows, chance)
        report.payload["setting"] = (
            f"width {width}, {n_tuples} tuples of {n_rows} rows, {steps} steps, T = {temperature:g}"
        )
        shared = {"x": "negatives", "y": "shown", "by": "line", "panel": "case", "xscale": "log"}
        shared |= {"xlabel": "negatives N"}
        report.payload["curves"] = [
            {
                **shared,
                "name": "accuracy",
                "title": _gap_title(rows),
                "where": {"figure": "accuracy"},
                "ylabel": "accuracy",
                "zero": round(chance, 3),
            },
            {
                **shared,
                "name": "risks",
                "title": "Training loss, cross-entropy of class means, and what the contrastive risk promises of it",
                "where": {"figure": "risks"},
                "ylabel": "nats",
                "yscale": "log",
            },
        ]
        report.payload["notes"] += [
            "infimum: proven to be below every training loss, of the tuples as drawn; they are not closed under "
            "exchanges, so that encoders may tell collided samples apart and end below log_collisions, the mean of "
            "ln(1 + Col)",
            "limits are on the cross-entropy of the mean classifier over the training rows, exact for uniform classes",
        ]
    return report.payload


DRAWN = (
    ("accuracy", "mean classifier", "mean_classifier"),
    ("accuracy", "linear probe", "linear_probe"),
    ("risks", "training loss", "training_loss"),
    ("risks", "contrastive risk", "contrastive_risk"),
    ("risks", "cross-entropy of class means", "supervised_risk"),
    ("risks", "least limit on it", "least_limit"),
    ("risks", "limit R / (1 - (1 - pi)^N)", "inclusion_limit"),
)


def _outputs(outputs: Sequence[str]) -> list[str]:
    kinds = list(dict.fromkeys(outputs))
    if not kinds or set(kinds) - {"free", "unit"}:
        raise DataError(f"outputs must be of free and unit, got {', '.join(map(str, outputs)) or 'none'}")
    return kinds


def _judged(found: Descended, X: Array, y: Any, X_held: Array, y_held: Any, N: int) -> dict[str, Any]:
    """Accuracies on held-out rows, losses, and the limits of the surrogate gap on training rows."""
    problem, t = found.problem, found.trace
    Z, Z_held = problem.embed(X), problem.embed(X_held)
    means = np.array([Z[y == c].mean(axis=0) for c in np.unique(y)])
    right = np.unique(y)[(Z_held @ means.T).argmax(axis=1)] == y_held
    few = slice(0, RISK_ROWS)
    T = problem.setup.temperature
    people = population(Z[few], y[few], normalize=problem.setup.unit, temperature=T)
    limits = surrogate_bounds(people, [N])
    bounds = limits.bounds[0]
    shown = {name: bounds[name] for name in (BEST, "inclusion")}
    infimum = problem.tuples.infimum(T if problem.setup.unit else None)
    return {
        "mean_classifier": float(right.mean()),
        "linear_probe": linear_probe_score(Z, y, Z_held, y_held, classification=True),
        "training_loss": float(t.losses[-1]),
        "contrastive_risk": float(limits.contrastive.value[0]),
        "supervised_risk": limits.supervised,
        "least_limit": shown[BEST].limit if math.isfinite(shown[BEST].limit) else None,
        "inclusion_limit": shown["inclusion"].limit if math.isfinite(shown["inclusion"].limit) else None,
        "violated": len(limits.violated()),
        "ceiling": limits.yardsticks.ceiling,
        "infimum": infimum.low,
        "log_collisions": float(np.log1p(problem.tuples.collisions).mean()),
        "start": float(t.losses[0]),
    }


def _gap_title(rows: Sequence[dict[str, Any]]) -> str:
    """By how much a linear probe is ahead of the mean classifier, with few negatives and with many."""
    mine = [row for row in rows if row["labels"] == "as given"]
    ks = sorted({row["negatives"] for row in mine})
    ahead = [100 * max(r["linear_probe"] - r["mean_classifier"] for r in mine if r["negatives"] == k) for k in ks]
    told = f"Held out, a linear probe is up to {ahead[0]:.2g} points ahead of the mean classifier at N = {ks[0]}"
    return told + (f", {ahead[-1]:.2g} at N = {ks[-1]}" if len(ks) > 1 else "")


def _negatives_answer(rows: Sequence[dict[str, Any]], chance: float) -> str:
    parts = []
    for kind in dict.fromkeys(row["outputs"] for row in rows):
        mine = [row for row in rows if (row["outputs"], row["labels"]) == (kind, "as given")]
        first, last, best = mine[0], mine[-1], max(mine, key=lambda row: row["mean_classifier"])
        parts.append(
            f"{kind} outputs: the mean classifier is right on {100 * first['mean_classifier']:.3g} % at N = "
            f"{first['negatives']} and {100 * last['mean_classifier']:.3g} % at N = {last['negatives']} (best "
            f"{100 * best['mean_classifier']:.3g} % at {best['negatives']}), a linear probe on "
            f"{100 * first['linear_probe']:.3g} and {100 * last['linear_probe']:.3g} %"
        )
    control = [row["mean_classifier"] for row in rows if row["labels"] == "shuffled"]
    fallen = [row["training_loss"] / row["start"] for row in rows if row["labels"] == "shuffled"]
    tight = min(rows, key=lambda row: (row["least_limit"] or math.inf) / row["supervised_risk"])
    broken = sum(row["violated"] for row in rows)
    held = "none is violated" if not broken else f"{broken} are VIOLATED"
    return (
        f"{sentence('; '.join(parts))}. With shuffled labels the training loss falls to {reach(fallen)} of its "
        f"start, and accuracy is {reach(control)} (chance {times(chance)}). Of the limits {held}; the nearest is "
        f"{times(tight['least_limit'] or math.inf)} for {times(tight['supervised_risk'])}, at N = {tight['negatives']}."
    )


def convergence_widths(
    *,
    data: str = "digits",
    widths: Sequence[int] = (32, 64, 128, 256),
    outputs: Sequence[Outputs] = ("free", "unit"),
    n_tuples: int = 16,
    negatives: int = 2,
    depth: int = 2,
    n_outputs: int = 16,
    temperature: float = 0.5,
    steps: int = 300,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Envelope, margin kernel and motion of weights by width, on data and with shuffled labels.

    Args:
        data: A labelled data set by name, or a file; rows are brought to length 1.
        widths: Of the hidden layers.
        outputs: As they come (free), or of length 1 (unit).
        n_tuples: Tuples that share no row, negatives of other classes.
        negatives: Negatives N of each.
        depth: Trained hidden layers.
        n_outputs: Dimension of the outputs.
        temperature: Of unit outputs.
        steps: Of full-batch gradient descent.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of rows, tuples and weights.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    sizes = check_list(widths, "widths", 1)
    kinds = _outputs(outputs)
    drawn = {}
    for label in LABELS:
        X, codes, summary = labelled_rows(data, None, label == "shuffled", seed)
        drawn[label] = draw_tuples(X, codes, n_tuples, negatives, collide=False, seed=seed)
    cells = [
        (kind, label, DescentSetup(m, depth=depth, n_outputs=n_outputs, unit=kind == "unit",
                                   temperature=temperature if kind == "unit" else 1.0))
        for kind, label, m in itertools.product(kinds, LABELS, sizes)
    ]  # fmt: skip
    with experiment(
        "convergence-widths",
        config,
        question="What does width change in the descent of a contrastive encoder?",
        zero_line="the infimum of the loss",
        steps=len(cells),
        progress=progress,
    ) as report:
        report.payload["data"] = {**summary, "labels": ", ".join(LABELS)}
        for kind, label, setup in cells:
            infimum = drawn[label].infimum(temperature if kind == "unit" else None)
            found = descend(drawn[label], setup, steps=steps, seed=seed, infimum=infimum.low)
            slug = f"{kind}-{label.replace(' ', '-')}-{setup.width}"
            row, bounds = descent_row(kind, slug, found, infimum)
            del row["loss"]
            row = {"outputs": kind, "labels": label, **row}
            row["line"] = f"{kind} outputs, labels {label}"
            report.add(row, losses=found.trace.losses, excess=found.trace.excess, motion=found.trace.motion)
            report.task.advance(text=slug)
        rows = list(report.payload["rows"])
        report.payload["rows"] += [
            {"figure": "envelope", "case": row["line"], "curve": name, "width": row["width"], "shown": row[key]}
            for row in rows
            for name, key in (("excess", "excess"), ("by the kernel", "envelope"), ("by |grad|²", "envelope_gradient"))
            if row[key] is not None
        ]
        report.payload["answer"] = _widths_answer(rows)
        report.payload["setting"] = f"{n_tuples} tuples of {negatives} negatives, {depth} trained layers, {steps} steps"
        slugs = [row["slug"] for row in rows]
        shared = {"x": "width", "xscale": "log", "yscale": "log", "xlabel": "width of the hidden layers"}
        mine = {**shared, "by": "line", "where": {"slug": slugs}}
        report.payload["curves"] = [
            {
                **shared,
                "name": "envelope",
                "title": f"Left of the loss after {steps} steps, and what the envelopes promise",
                "caption": "an envelope is missing where its assumptions fail",
                "y": "shown",
                "by": "curve",
                "panel": "case",
                "where": {"figure": "envelope"},
                "theory": ["by the kernel", "by |grad|²"],
                "ylabel": "loss above its infimum",
            },
            {
                **mine,
                "name": "kernel",
                "title": _change("least eigenvalue of the margin kernel", rows, "lambda_min"),
                "y": "lambda_min",
                "ylabel": "least eigenvalue along the run",
            },
            {
                **mine,
                "name": "motion",
                "title": _change("motion of the weights", rows, "motion"),
                "y": "motion",
                "ylabel": "|W - W₀| / |W₀|",
            },
        ]
    return report.payload


def _change(what: str, rows: Sequence[dict[str, Any]], key: str) -> str:
    """By which factor a column changes from the least width to the greatest, over the lines of a figure."""
    ends: dict[str, list[float]] = {}
    for row in rows:
        if row[key]:
            ends.setdefault(row["line"], []).append(row[key])
    factors = [values[-1] / values[0] for values in ends.values() if len(values) > 1]
    widths = [row["width"] for row in rows]
    told = f"From width {min(widths)} to {max(widths)}, {what}"
    return f"{told}: times {reach(factors)}" if factors else told


def _widths_answer(rows: Sequence[dict[str, Any]]) -> str:
    parts = []
    for line in dict.fromkeys(row["line"] for row in rows):
        mine = [row for row in rows if row["line"] == line]
        widths = [row["width"] for row in mine]
        order = order_of(widths, [row["motion"] for row in mine]) if len(mine) > 1 else None
        told = f"{line}: weights move by {reach([row['motion'] for row in mine])} of themselves"
        told += f" (width^{order:.2g})" if order is not None else ""
        known = [row["lambda_min"] for row in mine if row["lambda_min"] is not None]
        parts.append(told + (f", least eigenvalue {times(known[0])} to {times(known[-1])}" if known else ""))
    broken = sum("VIOLATED" in row["bounds"] for row in rows)
    held = "No bound is violated" if not broken else f"{broken} runs VIOLATE a bound"
    return f"{sentence('; '.join(parts))}. {held}."
