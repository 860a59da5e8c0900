"""The game of alpha-CL by temperature: where exact answers of alpha and encoder cycle, and what damping mends."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.alpha_cl import Contrast, PairLoss, alternate, frank_wolfe, live_optimum, parse_rules, rule_name
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import check_list, experiment, open_setting, times
from spectral_ssl.experiments.setting import subsample
from spectral_ssl.progress import SILENT, Progress

__all__ = ["alpha_alternation"]

TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
ARRIVED = 1e-4  # of the decrease from collapse: a loss nearer to the least has solved it
SHOWN = 3  # temperatures whose steps are drawn
TIGHT = 1e-8  # relative gap of the least loss that plays are measured against
PLAYED = 1e-6  # and the one at which they end


def alpha_alternation(
    *,
    data: str = "digits",
    relation: str = "views",
    rule: str = "infonce(eps=0)",
    temperatures: Sequence[float] = TEMPERATURES,
    n_originals: int = 60,
    radius: float | None = None,
    share: float = 0.1,
    steps: int = 400,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Does it solve a contrastive loss to answer alpha by PCA and PCA by alpha, each exactly, until both rest?

    One linear layer, |W|_F^2 <= radius. The least loss is known with a proof; played against it are PCA undamped, a
    share of each answer, the average of all answers, and the best W on the span of all answers (corrected).

    Args:
        data: A data set by name, or a file.
        relation: Positive pairs that join every row with exactly one other: views, say.
        rule: A convex loss with a temperature: infonce, soft_triplet, r_h, r_gamma, r_s.
        temperatures: Its temperatures, in units of d^2 / radius of the first principal direction.
        n_originals: How many originals are drawn from the data, each with two views (0: all).
        radius: Of |W|_F^2; left out, what gives the first principal direction variance 1.
        share: Of every answer, between 0 and 1, in the play with a constant damping.
        steps: Answers of either side.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the subsample, the views and the first W.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    taus = check_list(temperatures, "temperatures", 0.0, strict=True)
    base = _rule(rule)
    if n_originals < 0 or n_originals in (1, 2):
        raise DataError(f"n_originals must be at least 3, or 0 for all, got {n_originals}")
    if steps < 20:
        raise DataError(f"steps must be at least 20, for a cycle to show, got {steps}")
    if not 0 < share < 1:
        raise DataError(f"share must be between 0 and 1, the share of an answer that is taken, got {share!r}")
    if radius is not None and not 0 < radius < np.inf:
        raise DataError(f"radius, the bound of |W|_F^2, must be a positive number, got {radius!r}")
    setting = subsample(open_setting(data, relation, seed=seed), n_originals, seed)
    X, contrast = setting.data.X, Contrast.of_graph(setting.graph)
    r = _radius(X) if radius is None else float(radius)
    plays = {"undamped": "none", f"a share of {share:g}": share, "averaged": "averaging"}
    with experiment(
        "alpha-alternation",
        config,
        question="Do exact answers of alpha and of the encoder to each other, by turns, solve the contrastive loss?",
        zero_line="the least loss of one linear layer, certified",
        steps=len(taus) * (len(plays) + 2),
        progress=progress,
        setting=setting,
    ) as report:
        found: list[dict[str, Any]] = []
        shown = set(np.array(taus)[np.linspace(0, len(taus) - 1, min(SHOWN, len(taus))).astype(int)])
        for tau in taus:
            now = dataclasses.replace(base, temperature=tau)  # type: ignore[type-var]
            best = live_optimum(X, contrast, now, radius=r, tol=TIGHT)
            decrease = max(best.collapse_loss - best.loss, 1e-300)
            report.task.advance(text=f"tau {tau:g}: the least loss")
            runs: dict[str, tuple[Any, str, int]] = {}
            for name, damping in plays.items():
                played = alternate(X, contrast, now, radius=r, damping=damping, steps=steps, tol=PLAYED, seed=seed)  # type: ignore[arg-type]
                runs[name] = (played.losses, played.verdict, played.period)
                report.task.advance(text=f"tau {tau:g}: {name}")
            corrected = frank_wolfe(X, contrast, now, radius=r, step="corrective", tol=PLAYED, max_steps=steps)
            runs["corrected"] = (corrected.losses, "converged" if corrected.converged else "settling", 0)
            report.task.advance(text=f"tau {tau:g}: corrected")
            for name, (losses, verdict, period) in runs.items():
                above = np.maximum(losses - best.loss, 0.0) / decrease
                end = above[-max(len(above) // 4, 1) :] if verdict not in ("converged", "settled") else above[-1:]
                row = {
                    "temperature": tau,
                    "play": name,
                    "verdict": verdict,
                    "period": period or None,
                    "steps": len(above) - 1,
                    "excess": float(np.median(end)),
                    "excess_min": float(end.min()),
                    "excess_max": float(end.max()),
                    "rank": best.rank,
                    "multiplicity": best.multiplicity,
                    "loss": float(losses[-1]),
                    "least": best.loss,
                    "gap": best.gap / decrease,
                }
                found.append(row)
                report.add({**row, "slug": f"{name.replace(' ', '-')}.{tau:g}"}, excess=above)
                if tau in shown:
                    # by twos, so that a cycle of period two is drawn as one
                    grid = np.geomspace(1, max(len(above) - 2, 1), 40).astype(int)
                    report.payload["rows"] += [
                        {"step": int(t), "above": float(above[t]), "play": name, "tau": f"temperature {tau:g}"}
                        for t in sorted({*grid, *(grid + 1)} & set(range(len(above))))
                    ]
            report.payload["rows"] += [
                {"temperature": tau, "count": count, "of": of}
                for of, count in (
                    ("dimensions of the least loss", best.rank),
                    ("period of the undamped cycle", runs["undamped"][2] if runs["undamped"][1] == "cycles" else None),
                )
            ]
        report.payload["answer"] = _answer(found, taus, share)
        report.payload["notes"] += [
            f"{rule_name(base)} over {contrast.n_anchors} anchors with {contrast.n_negatives} negatives each, "
            f"|W|_F^2 <= {r:.4g}; excess is a share of the decrease from the collapsed W = 0, the median of the last "
            "quarter of play",
            "a direction that PCA returns to at its own alpha has gap 0 and is the global optimum: where the least "
            "loss needs more dimensions than one, undamped play cannot come to rest",
        ]
        report.payload["curves"] = _curves()
    return report.payload


def _rule(text: str) -> PairLoss:
    rules = parse_rules(text)
    if len(rules) != 1:
        raise DataError(f"rule must name one loss, got {len(rules)}: {text!r}")
    (rule,) = rules
    if not isinstance(rule, PairLoss) or not rule.convex or not hasattr(rule, "temperature"):
        raise DataError(
            f"rule={text!r} has no least loss by temperature: take a convex loss with a temperature, infonce, "
            "soft_triplet, r_h, r_gamma or r_s"
        )
    return rule


def _radius(X: np.ndarray) -> float:
    """One over the variance of the first principal direction."""
    top = float(linalg.svd(X - X.mean(axis=0))[1][0]) ** 2 / len(X)
    if top == 0:
        raise DataError("all rows are equal: no linear map tells them apart; give features that vary")
    return 1 / top


def _answer(rows: list[dict[str, Any]], taus: list[float], share: float) -> str:
    by = {play: [row for row in rows if row["play"] == play] for play in dict.fromkeys(row["play"] for row in rows)}
    plain = by["undamped"]
    cycles = [row for row in plain if row["verdict"] == "cycles"]
    solved = [row for row in plain if row["excess"] <= ARRIVED]
    unsolved = [row["excess"] for row in plain if row["excess"] > ARRIVED]
    periods = Counter(row["period"] for row in cycles)
    told = f"Undamped, they end in a cycle at {len(cycles)} of {len(taus)} temperatures"
    if cycles:
        told += " (period " + ", ".join(f"{period}: {count}" for period, count in sorted(periods.items())) + ")"
    if unsolved:
        told += f", {times(min(unsolved))} to {times(max(unsolved))} of the decrease above the least loss"
    if solved:
        told += f"; they solve it at {len(solved)}, where its W has rank {_range([row['rank'] for row in solved])}"
    for play in (f"a share of {share:g}", "averaged", "corrected"):
        worst = max(row["excess"] for row in by[play])
        told += f". {play[0].upper()}{play[1:]}: at most {times(worst)} above it"
    longest = max(row["steps"] for row in by["corrected"])
    return (
        told + f", after {longest} answers or fewer. Rank of the least loss: {_range([row['rank'] for row in plain])}."
    )


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _curves() -> list[dict[str, Any]]:
    axis = {"x": "temperature", "xlabel": "temperature τ", "xscale": "log"}
    above = "loss above the least\n(share of the decrease from collapse)"
    return [
        {
            "name": "alternation",
            "title": "Exact answers of alpha and PCA cycle; averaged or corrected they solve the loss",
            **axis,
            "y": "excess",
            "by": "play",
            "ylabel": above,
            "yscale": "log",
            "zero": 0.0,
            "band": ["excess_min", "excess_max"],
            "caption": "median of the last quarter of play; band: its least and largest",
        },
        {
            "name": "alternation-steps",
            "title": "The same games, answer by answer",
            "x": "step",
            "y": "above",
            "by": "play",
            "panel": "tau",
            "xlabel": "answers",
            "xscale": "log",
            "ylabel": above,
            "yscale": "log",
        },
        {
            "name": "alternation-rank",
            "title": "Where undamped play cannot rest: the least loss needs more dimensions than one",
            **axis,
            "y": "count",
            "by": "of",
            "ylabel": "number",
        },
    ]
