"""What `align` says of its cells: a table of both ends, rows for every figure, and the curves to draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.experiments.advice import standing
from spectral_ssl.experiments.align_cells import CellResult
from spectral_ssl.experiments.outcomes import CHOSEN, Ridge
from spectral_ssl.experiments.significance import Judged

__all__ = ["RAW", "Figure", "best_rows", "curves_of", "label_rows", "rate_rows", "table_rows", "trained_rows"]

RAW = "raw features"
Row = dict[str, Any]


def rate_rows(cells: Sequence[CellResult], panels: dict[int, str], raw: float) -> list[Row]:
    """The logistic probe with all labels, against the rate; and that of the raw features, which no pairs change."""
    rows = []
    for cell in cells:
        scores = [float(found.mean()) for found in cell.probe]
        rows.append(
            {
                "kind": "rate",
                **_where(cell, panels),
                "probe": float(np.mean(scores)),
                "probe_min": min(scores),
                "probe_max": max(scores),
                "rank": float(np.median(cell.rank)),
                "loss": _mean(cell.loss),
                "invariance": _mean(cell.invariance),
                "homophily": _mean(cell.homophily),
                "label_energy": _mean(cell.captured),
                "probe_draws": scores,
                "loss_draws": cell.loss,
                "rank_draws": cell.rank,
            }
        )
    for rate in sorted({cell.rate for cell in cells}):
        for K, panel in panels.items():
            rows.append({"kind": "rate", "method": RAW, "n_components": K, "panel": panel, "rate": rate, "probe": raw})
    return rows


def _where(cell: CellResult, panels: dict[int, str]) -> Row:
    c = cell.candidate
    return {
        "method": c.label,
        "family": c.family,
        "strength": c.strength,
        "n_components": cell.n_components,
        "panel": panels[cell.n_components],
        "rate": cell.rate,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def trained_rows(cells: Sequence[CellResult], panels: dict[int, str]) -> list[Row]:
    """Trained embeddings beside their closed forms, of the first draw."""
    rows = []
    for cell in cells:
        if cell.trained is None:
            continue
        closed = float(cell.probe[0].mean())
        trained = {"probe": float(cell.trained.mean()), "probe_closed": closed, "excess": cell.trained_excess}
        here = {"kind": "trained", **_where(cell, panels)}
        rows.append({**here, **trained, "line": cell.candidate.label})
        rows.append({**here, "probe": closed, "line": f"{cell.candidate.label}, closed form"})
    return rows


def label_rows(cells: Sequence[CellResult], panels: dict[int, str]) -> Iterator[Row]:
    """Least-squares probes against the number of labels; those at a fixed ridge in one column."""
    rates = sorted({cell.rate for cell in cells})
    for cell in cells:
        for m in sorted({m for m, _ in cell.few}):
            fixed = {r: np.array(found) for (n, r), found in cell.few.items() if n == m and r != CHOSEN}
            shown: dict[Ridge, Array] = {r: found for r, found in fixed.items() if r == 0}
            if (m, CHOSEN) in cell.few:
                shown[CHOSEN] = np.array(cell.few[m, CHOSEN])
            for ridge, found in shown.items():
                scores = found.mean(axis=1)
                yield {
                    "kind": "labels",
                    **_where(cell, panels),
                    "regime": f"{_end(cell.rate, rates)}, {'no ridge' if ridge == 0 else 'ridge by leave-one-out'}",
                    "n_labels": m,
                    "ridge": "none" if ridge == 0 else ridge,
                    "probe": float(scores.mean()),
                    "probe_min": float(scores.min()),
                    "probe_max": float(scores.max()),
                    "probe_by_ridge": {f"{r:g}": float(outcomes.mean()) for r, outcomes in fixed.items()},
                }


def _end(rate: float, rates: Sequence[float]) -> str:
    return "aligned" if rate == rates[0] else "misaligned" if rate == rates[-1] else f"rate {rate:g}"


def best_rows(judged: Sequence[Judged], panels: dict[int, str], n_labels: Sequence[int]) -> list[Row]:
    """VICReg's best invariance at every rate, and those not significantly worse, by label budget.

    With few labels the ridge is chosen by rows left out where there is one to choose.
    """
    rows = []
    ridges = {row.ridge for row in judged if row.n_labels is not None}
    ridge = CHOSEN if CHOSEN in ridges else 0.0 if 0.0 in ridges else None
    budgets: list[tuple[int | None, Ridge | None]] = [(None, None)]
    budgets += [(m, ridge) for m in n_labels if ridge is not None]
    graded = [row for row in judged if row.strength is not None]
    base = graded[0].method.split(", γ")[0] if graded else ""
    graded = [row for row in graded if row.method.split(", γ")[0] == base]
    for K, panel in panels.items():
        for rate in sorted({row.rate for row in graded}):
            for budget in budgets:
                where = (K, rate, *budget)
                here = {
                    row.method: row for row in graded if (row.n_components, row.rate, row.n_labels, row.ridge) == where
                }
                if len(here) < 2:
                    continue
                found = standing(list(here.values()))
                good = [found["best"], *found["as_good"]]
                strengths = [here[cell["method"]].strength for cell in good]
                rows.append(
                    {
                        "kind": "best",
                        "n_components": K,
                        "panel": panel,
                        "rate": rate,
                        "budget": "all labels" if budget[0] is None else f"{budget[0]} labels",
                        "best": strengths[0],
                        "best_min": min(s for s in strengths if s is not None),
                        "best_max": max(s for s in strengths if s is not None),
                        "probe": found["best"]["score"],
                    }
                )
    return rows


def table_rows(cells: Sequence[CellResult], few: int | None) -> list[Row]:
    """A row for every method and dimension: both ends of the rates, with all labels and with few."""
    rates = sorted({cell.rate for cell in cells})
    ends = {"aligned": rates[0], "misaligned": rates[-1]}
    at = {(cell.candidate.label, cell.n_components, cell.rate): cell for cell in cells}
    rows = []
    for label, K in dict.fromkeys((cell.candidate.label, cell.n_components) for cell in cells):
        here = {name: at[label, K, rate] for name, rate in ends.items()}
        row: Row = {"method": label, "n_components": K}
        for name, cell in here.items():
            row[name] = float(np.mean(cell.probe))
        if few is not None:
            for name, cell in here.items():
                found = cell.few.get((few, CHOSEN)) or cell.few.get((few, 0.0))
                row[f"{name}_{few}_labels"] = None if found is None else float(np.mean(found))
        for name, cell in here.items():
            row[f"rank_{name}"] = float(np.median(cell.rank))
        first = here["aligned"]
        row |= {"invariance": _mean(first.invariance), "loss": _mean(first.loss)}
        rows.append({**row, "slug": f"{label}.{K}"})
    return rows


# -------------------------------------------------------------------------------------------------------------- curves


@dataclass(frozen=True)
class Figure:
    """What the figures share. lowest: the score of knowing nothing. shown: the methods drawn. way: what a rate is
    a share of. draws: behind a band. raw: whether maps of the raw features are compared with these.
    """

    classification: bool
    lowest: float
    shown: list[str]
    way: str
    draws: int
    raw: bool


def curves_of(rows: Sequence[Row], figure: Figure) -> list[Row]:
    """The figures: scores against the rate and the number of labels, the best invariance, what training reaches."""
    rows = [row for row in rows if "kind" in row]
    panels = {row["n_components"]: row["panel"] for row in rows if row["kind"] == "rate"}
    rates = sorted({row["rate"] for row in rows})
    shown, way = figure.shown, figure.way
    score = "accuracy" if figure.classification else "R²"
    shared: Row = {"by": "method", "y": "probe", "xscale": "linear", "yscale": "linear", "ylabel": f"held-out {score}"}
    shared |= {"zero": round(figure.lowest, 3), "band": ["probe_min", "probe_max"]}
    spread = f"; bands: range of {figure.draws} draws" if figure.draws > 1 else ""
    curves: list[Row] = [
        {
            **shared,
            "name": "alignment",
            "title": "Aligned or misaligned pairs: what each closed form is worth, before any training",
            "x": "rate",
            "where": {"kind": "rate", "method": [*shown, RAW] if figure.raw else shown},
            "panel": "panel",
            "theory": [RAW],
            "xlabel": f"share of {way}  (left: aligned, right: misaligned)",
            "caption": f"linear probe on all labels{spread}",
        }
    ]
    for K in panels:
        mine = [row for row in rows if row["kind"] == "labels" and row["n_components"] == K]
        if not mine:
            continue
        curves.append(
            {
                **shared,
                "name": f"labels-K{K}",
                "title": f"Few labels: what each closed form is worth in K = {K} dimensions",
                "x": "n_labels",
                "where": {"kind": "labels", "n_components": K, "method": shown, "rate": [rates[0], rates[-1]]},
                "panel": "regime",
                "xscale": "log",
                "xlabel": "labels",
                "caption": f"least-squares probes{spread}",
            }
        )
    if any(row["kind"] == "best" for row in rows):
        curves.append(
            {
                "name": "best-invariance",
                "title": "The best invariance of VICReg (markers), and all that are not significantly worse (bars)",
                "x": "rate",
                "y": "best",
                "by": "budget",
                "where": {"kind": "best"},
                "panel": "panel",
                "band": ["best_min", "best_max"],
                "xlabel": f"share of {way}",
                "ylabel": "invariance γ m_K / α",
                "xscale": "category",
                "yscale": "linear",
                "zero": None,
                "caption": "of the grid; few labels: ridge by leave-one-out",
            }
        )
    if any(row["kind"] == "trained" for row in rows):
        curves.append(
            {
                **shared,
                "name": "trained",
                "title": "Trained embeddings (markers) beside what their closed forms predict (dashed)",
                "x": "rate",
                "by": "line",
                "where": {"kind": "trained", "method": shown},
                "panel": "panel",
                "theory": [f"{label}, closed form" for label in shown],
                "band": None,
                "xlabel": f"share of {way}",
                "caption": "linear probe on all labels, first draw",
            }
        )
    return curves
