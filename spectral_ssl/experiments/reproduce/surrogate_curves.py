"""bounds-curves: the surrogate gap without data, at the risks of collapsed classes, and the coefficients of its rivals.

R*_cont(K) and R*_supv are those of features whose classes are points, every other class at cosine -1 (as the published
figures have it) or at the vertices of a simplex (the least that can be attained). As K grows,

    R*_cont + Delta_U -> R*_supv + 2 ln cosh b2,    Delta_U - Delta_L = 2 ln(1 + 1/K) + 4 ln cosh b2

so that more negatives never hurt, where the coefficients of Arora and Ash grow like 1/(1 - tau_K) ~ (1 - 1/C)^-K.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.experiments.frame import check_list, experiment, times
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.theory.collisions import Constants, constants
from spectral_ssl.theory.gaps import ideal_contrastive, ideal_supervised, log_cosh
from spectral_ssl.theory.surrogate import yardsticks

__all__ = ["bound_curves", "rival_limits"]

EXACT = 1e-9  # widths and limits of order one, from logarithms
NEAR = 0.2  # of the gap at the largest K to its limit, in nats, for K near C: 2 ln(1 + 1/K) and the spread of Col
GROWN = 10.0  # the coefficients of Arora and Ash from their least to their last, at least
MANY = 10  # classes from which on no rival says anything at simplex features, K up to 2,000
SHOWN = 1e5  # limits past it are left out of the figures

NAMES = {"arora": "Arora et al.", "nozawa_sato": "Nozawa & Sato", "ash": "Ash et al.", "inclusion": "inclusion",
         "collisions_off": "collisions off"}  # fmt: skip


def rival_limits(c: Constants, R: float) -> dict[str, float | None]:
    """Every limit of R_supv that is a coefficient times R_cont, collisions off or not; None where it is not legal."""
    off = R - c.log_collision
    of = {"arora": off, "ash": off, "collisions_off": off, "nozawa_sato": (R + off) / 2, "inclusion": R}
    factors = {name: getattr(c, name) for name in of}
    return {name: None if factors[name] is None else factors[name] * of[name] for name in of}


def bound_curves(
    *,
    classes: Sequence[int] = (50, 100),
    rival_classes: int = 10,
    negatives: Sequence[int] = (1, 2, 3, 5, 7, 9, 12, 16, 20, 30, 40, 50, 70, 99, 150, 250, 500, 1000, 2000),
    temperature: float = 1.0,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """bounds-curves: what theory alone says of K, C and the norm: optimal values, coefficients, who ever says anything.

    Args:
        classes: Numbers of classes C whose optimal values are drawn.
        rival_classes: The number of classes at which the rivals are compared.
        negatives: Numbers K of negatives, at least three.
        temperature: T: b^2 = 1/T for unit features.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of nothing here; kept with the record.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    ks, Cs = check_list(negatives, "negatives", 1), check_list(classes, "classes", 2)
    if len(ks) < 3:
        check_int(len(ks), "the number of negatives to compare", low=3)
    few = check_int(rival_classes, "rival_classes", low=2)
    b2 = 1 / check_real(temperature, "temperature", low=0, open_low=True)
    every = [*Cs, *([few] if few not in Cs else [])]
    with experiment(
        "bounds-curves",
        config,
        question="Do more negatives help or hurt the bounds, and which of them ever say anything?",
        zero_line="a risk of zero",
        steps=len(every),
        progress=progress,
        command="reproduce",
    ) as report:
        at: dict[tuple[int, int], dict[str, Any]] = {}
        for C in every:
            sticks = yardsticks(np.full(C, 1 / C), b2)
            for K in ks:
                row = _row(C, K, b2) | {"ceiling": sticks.ceiling, "score_ceiling": sticks.score_ceiling}
                at[C, K] = row
                report.add(row)
            report.task.advance(text=f"C = {C}")
        rows = list(at.values())
        judged = _criteria(at, every, ks, few, b2)
        says = [row for row in rows if row["classes"] == few and row["published_said"]]
        conclude(
            report,
            "the upper limit of the surrogate gap falls with K towards R*_supv + 2 ln cosh b², and its width to 4 ln "
            "cosh b²; Arora's and Ash's limits blow up with K, and at attainable features (a simplex) of ten classes or"
            " more no rival is ever below the ceiling.",
            judged,
            f"At C = {few} and every other class at cosine -1, rivals are below the published ceiling at K = "
            f"{', '.join(str(row['negatives']) for row in says) or 'none'}. The sharp band is "
            f"{times(at[few, ks[-1]]['sharp_width'])} wide at K = {ks[-1]}, the published one "
            f"{times(at[few, ks[-1]]['width'])}.",
        )
        report.payload["notes"].append(
            "supervised and contrastive have every other class at cosine -1, which no features of more than two "
            "classes attain: the sharp limits, proven for features, may lie on the other side of them; those of the "
            "simplex, which is attained, never do"
        )
        report.payload["rows"] += _drawn(at, Cs, ks, few)
        report.payload["setting"] = f"b²/T = {b2:g}, uniform prior"
        report.payload["curves"] = _curves(few)
    return report.payload


def _row(C: int, K: int, b2: float) -> dict[str, Any]:
    c = constants(C, K, b2)
    i = c.intercepts
    R, R_simplex = ideal_contrastive(C, K, b2), ideal_contrastive(C, K, b2, simplex=True)
    limits, attained = rival_limits(c, R), rival_limits(c, R_simplex)
    ceiling = yardsticks(np.full(C, 1 / C), b2).score_ceiling
    rivals = ("arora", "nozawa_sato", "ash")
    return {
        "classes": C,
        "negatives": K,
        "contrastive": R,
        "upper": R + i.upper,
        "sharp_upper": R + i.sharp_upper,
        "supervised": ideal_supervised(C, b2),
        "lower": R + i.lower,
        "sharp_lower": R + i.sharp_lower,
        "contrastive_simplex": R_simplex,
        "supervised_simplex": ideal_supervised(C, b2, simplex=True),
        "upper_simplex": R_simplex + i.upper,
        "width": i.width,
        "sharp_width": i.sharp_width,
        **{f"{name}_factor": getattr(c, name) for name in limits},
        **limits,
        "published_said": [name for name in rivals if (v := limits[name]) is not None and v < ceiling],
        "attained_said": [name for name in rivals if (v := attained[name]) is not None and v < ceiling],
        "slug": f"C{C}.K{K}",
    }


def _criteria(
    at: Mapping[tuple[int, int], Mapping[str, Any]], every: list[int], ks: list[int], few: int, b2: float
) -> list[Any]:
    rises = sum(int((np.diff([at[C, K]["upper"] for K in ks]) > EXACT).sum()) for C in every)
    wider = max(row["width"] - 2 * np.log1p(1 / row["negatives"]) - 4 * log_cosh(b2) for row in at.values())
    blunt = max(row["sharp_width"] - row["width"] for row in at.values())
    last = max(abs(at[C, ks[-1]]["upper"] - at[C, ks[-1]]["supervised"] - 2 * log_cosh(b2)) for C in every)
    found = [
        at_most("steps in K at which R*_cont + Delta_U rises", rises, 0),
        at_most("largest |R*_cont + Delta_U - R*_supv - 2 ln cosh b²| at the largest K", last, NEAR),
        at_most("largest excess of a width over 2 ln(1 + 1/K) + 4 ln cosh b²", abs(wider), EXACT),
        at_most("(C, K) at which the simplex is outside a band", sum(map(_outside, at.values())), 0),
        at_most("largest excess of the sharp width over the published one", blunt, EXACT),
        at_most(
            f"K at which a rival says something at simplex features, C >= {MANY}",
            sum(bool(row["attained_said"]) for row in at.values() if row["classes"] >= MANY),
            0,
        ),
    ]
    for name in ("arora", "ash"):
        values = [at[few, K][f"{name}_factor"] for K in ks if at[few, K][f"{name}_factor"] is not None]
        grown = values[-1] / min(values) if values else np.nan
        found.append(
            at_least(f"growth of the coefficient of {NAMES[name]} from its least to K = {ks[-1]}", grown, GROWN)
        )
    return found


def _outside(row: Mapping[str, Any]) -> bool:
    """Whether the attained R_supv is outside one of the bands."""
    moved = row["contrastive_simplex"] - row["contrastive"]
    low, high = max(row["lower"], row["sharp_lower"]) + moved, min(row["upper"], row["sharp_upper"]) + moved
    return not low - EXACT <= row["supervised_simplex"] <= high + EXACT


def _drawn(
    at: Mapping[tuple[int, int], Mapping[str, Any]], Cs: list[int], ks: list[int], few: int
) -> list[dict[str, Any]]:
    """What the figures show, line by line."""
    limits = {
        "R*_cont + upper": "upper",
        "R*_cont + sharp upper": "sharp_upper",
        "R*_cont + sharp lower": "sharp_lower",
        "R*_cont + lower": "lower",
    }
    rows: list[dict[str, Any]] = []
    for C in Cs:
        for where, end in ((f"C = {C}, cosine -1", ""), (f"C = {C}, simplex", "_simplex")):
            for K in ks:
                row = at[C, K]
                moved = row[f"contrastive{end}"] - row["contrastive"]
                told = {line: row[key] + moved for line, key in limits.items()} | {"R*_supv": row[f"supervised{end}"]}
                rows += [
                    {"figure": "optimal", "panel": where, "negatives": K, "line": line, "shown": value}
                    for line, value in told.items()
                ]
    for K in ks:
        row = at[few, K]
        rows += [
            {"figure": figure, "negatives": K, "line": name, "shown": row[key + end]}
            for key, name in NAMES.items()
            for figure, end in (("coefficients", "_factor"), ("rivals", ""))
            if row[key + end] is not None and row[key + end] <= SHOWN
        ]
        rows += [
            {"figure": "rivals", "negatives": K, "line": line, "shown": row[key]}
            for line, key in (("surrogate gap", "upper"), ("R*_supv", "supervised"), ("ceiling", "score_ceiling"))
        ]
    return rows


def _curves(few: int) -> list[dict[str, Any]]:
    shared = {"x": "negatives", "y": "shown", "by": "line", "xlabel": "negatives K", "xscale": "log"}
    return [
        {
            **shared, "name": "optimal", "title": "More negatives narrow the surrogate gap, from above and from below",
            "panel": "panel", "theory": ["R*_supv"], "where": {"figure": "optimal"}, "yscale": "linear",
            "ylabel": "risk (nats)", "caption": "classes as points; all at cosine -1 to each other cannot be "
            "for C > 2, and the sharp band says so; the simplex is attained",
        },
        {
            **shared, "name": "coefficients", "title": f"What multiplies R_cont at C = {few}: rivals blow up with K",
            "where": {"figure": "coefficients"}, "yscale": "log", "ylabel": "coefficient",
        },
        {
            **shared, "name": "rivals", "title": f"Limits of R_supv at C = {few}: the surrogate gap stays by it",
            "theory": ["R*_supv", "ceiling"], "where": {"figure": "rivals"}, "yscale": "log", "ylabel": "risk (nats)",
            "caption": "classes as points, every other class at cosine -1; ceiling: ln(1 + (C - 1) exp(2 b²))",
        },
    ]  # fmt: skip
