"""The table, the figures and the answer of `forecast`: candidates best first, and who is told apart from whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import scipy.stats

from spectral_ssl.experiments.frame import Report, times
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.graph import Graph
from spectral_ssl.theory.forecast import Forecast, Visible, paired_difference

__all__ = ["Candidate", "answer", "curves", "ranked_rows"]

APART = 2.0  # standard errors of a paired difference at which two candidates are told apart


@dataclass
class Candidate:
    """A relation to be ranked, over the same training originals as all others."""

    label: str
    setting: Setting
    graph: Graph
    seconds: float = 0.0
    judged: Forecast | None = None
    visible: Visible | None = None
    accuracy: float | None = None
    rankme: float | None = None
    train_seconds: float | None = None
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def on(self) -> dict[str, Any]:
        """What `forecast_score` has to know of views: the originals, and whose view each row is."""
        originals, rows = self.setting.probe_train, self.setting.data
        return {} if rows is originals else {"on": originals.X, "source": rows.source}

    @property
    def score(self) -> float:
        return self.judged.score if self.judged is not None else self.visible.score if self.visible else float("nan")


def ranked_rows(entries: Sequence[Candidate], by_labels: bool, report: Report) -> None:
    """The table, best first; whether each is told apart from the one below it. Takes the place of an earlier one."""
    report.payload["rows"] = []
    for rank, candidate in enumerate(entries, start=1):
        row: dict[str, Any] = {"relation": candidate.label, "rank": rank, "score": candidate.score}
        if candidate.judged is not None:
            f = candidate.judged
            row |= {"error": f.standard_error, "apart_from_next": "-"}
            if rank < len(entries):
                below = entries[rank].judged
                assert below is not None
                gap, error = paired_difference(f, below)
                row["apart_from_next"] = "yes" if gap > APART * error else "no"
        if candidate.visible is not None:
            v = candidate.visible
            error = v.agreement_error * v.coverage  # nan where one half alone has pairs
            row |= {"error": None if math.isnan(error) else error}
            row |= {"agreement": v.agreement, "coverage": v.coverage}
        if candidate.accuracy is not None:
            row |= {
                "trained_accuracy": candidate.accuracy,
                "trained_rankme": candidate.rankme,
                "train_seconds": candidate.train_seconds,
            }
        if candidate.judged is not None:
            row |= {"probe_accuracy": candidate.judged.accuracy, "probe_error": candidate.judged.accuracy_error}
            row["labels"] = candidate.judged.n_labels
        row |= {"seconds": candidate.seconds, "pairs": candidate.graph.n_pairs, "slug": f"candidate-{rank}"}
        candidate.row = row
        report.add(row)
    for candidate in entries:  # the same for the figures: what is foretold, and what came
        told, row = candidate.label.replace("(", " ("), candidate.row  # so that axes can break the words there
        error = row.get("error") or 0.0
        report.add(
            {"candidate": told, "what": "forecast", "value": row["score"],
             "low": row["score"] - APART * error, "high": row["score"] + APART * error}
        )  # fmt: skip
        if candidate.accuracy is not None:
            report.add({"candidate": told, "what": "accuracy of the trained encoder", "value": candidate.accuracy})


def answer(entries: Sequence[Candidate], by_labels: bool, trained: bool, mended: dict[str, Any] | None) -> str:
    best, row = entries[0], entries[0].row
    what = "foretold on rows unseen" if by_labels else "visible without labels"
    spread = "" if row["error"] is None else f" (+- {times(row['error'])})"
    told = f"{best.label} comes first, {times(best.score)}{spread} {what}"
    tied = 0
    while tied < len(entries) - 1 and by_labels:
        gap, error = paired_difference(_judged(best), _judged(entries[tied + 1]))
        if gap > APART * error:
            break
        tied += 1
    if tied:
        told += f"; not told apart from it: {', '.join(c.label for c in entries[1 : tied + 1])}"
    if trained:
        rho = _spearman([c.score for c in entries], [c.accuracy for c in entries])
        rival = _spearman([c.rankme for c in entries], [c.accuracy for c in entries])
        spent = sum(c.train_seconds or 0.0 for c in entries)
        told += (
            ". Trained, there is no order to hold: all scores are equal, or all accuracies"
            if rho is None
            else f". Trained, the order holds to a rank correlation of {rho:.2f}"
        )
        told += "" if rho is None or rival is None else f" (RankMe of the trained encoders: {rival:.2f})"
        told += f"; training took {spent:.0f} s, the forecast {sum(c.seconds for c in entries):.2g} s"
    if mended is not None and mended["pairs"]:
        told += (
            f". {mended['relation']}: without its worst {mended['pairs']:,} pairs ({100 * mended['share']:.0f} %) K "
            f"components capture {mended['energy']:.3f} of the label energy instead of {mended['before']:.3f}, solved "
            f"again (first order foretold {mended['foretold']:.3f})"
        )
    return told + "."


def _judged(candidate: Candidate) -> Forecast:
    assert candidate.judged is not None
    return candidate.judged


def _spearman(x: Sequence[Any], y: Sequence[Any]) -> float | None:
    """None where one side is all ties: there is no order."""
    return float(scipy.stats.spearmanr(x, y)[0]) if len(set(x)) > 1 and len(set(y)) > 1 else None


def curves(
    entries: Sequence[Candidate], by_labels: bool, trained: bool, mended: dict[str, Any] | None
) -> list[dict[str, Any]]:
    title = "Foretold before training" + (", and reached by training" if trained else "")
    label = "forecast" if by_labels else "visible score"
    drawn: list[dict[str, Any]] = [
        {
            "name": "ranking", "title": title, "x": "candidate", "y": "value", "by": "what", "xscale": "category",
            "band": ["low", "high"], "ylabel": f"{label}{', accuracy' if trained else ''}", "zero": 0.0,
            "caption": f"bars: two standard errors over {'the labelled rows' if by_labels else 'two halves'}",
        }
    ]  # fmt: skip
    if mended is not None:
        drawn.append(
            {
                "name": "mended", "title": "What taking out the worst pairs changes", "x": "share", "y": "energy",
                "by": "what", "where": {"what": ["solved again", "first order"]}, "theory": ["first order"],
                "xlabel": f"share of the pairs of {mended['relation']} taken out, the worst first",
                "ylabel": "label energy captured",
            }
        )  # fmt: skip
    return drawn
