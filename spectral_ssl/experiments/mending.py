"""The worst pairs of a relation: what taking them out is foretold to change, and what it changes.

Pairs are sorted by the first-order gain of taking each out (`theory.influence`), over maps of a chart of the data. Then
shares of them are taken out, the worst first, and the problem is solved again: the label energy that K components
capture, and, where rows are held out, what a probe scores on them, stand beside what first order foretold. Influence
reads every training label; the rows held out are read by nothing but that probe.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.data import Dataset
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import Report
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.graph import Graph
from spectral_ssl.solve import as_spectra
from spectral_ssl.theory.charts import Chart
from spectral_ssl.theory.influence import edge_influence, without_pairs

__all__ = ["mend_pairs"]


def mend_pairs(
    setting: Setting,
    label: str,
    chart: Chart,
    n_components: int,
    hurt: int,
    shares: Sequence[float],
    own: Any,
    report: Report,
) -> dict[str, Any]:
    """Rows "taken out" of the report, the `hurt` worst pairs, and the best share, with its pairs in a file.

    own (N,): the row of the user's data that each row of the relation is, None where rows are views made for this run.
    """
    graph, Q, y, K = setting.graph, chart(setting.data.X), _y(setting.data), n_components
    slope = edge_influence(graph, y, K, X=Q)
    i, j, gain = slope.removals(graph)
    seen = setting.data.labelled
    both = seen[i] & seen[j]
    unlike = (y[i] != y[j]) & both if setting.data.is_classification else None
    judge = _Judge.of(setting, chart, K)
    numbered = np.arange(graph.n_samples) if own is None else own
    report.payload["worst_pairs"] = [
        {"i": int(numbered[a]), "j": int(numbered[b]), "gain": float(g), "labels": [str(y[a]), str(y[b])]}
        for a, b, g in zip(i[:hurt], j[:hurt], gain[:hurt], strict=True)
    ]
    arrays = {"influence/i": numbered[i], "influence/j": numbered[j], "influence/gain": gain}
    report.arrays |= arrays
    report.run.save_arrays("arrays", **report.arrays)
    best: dict[str, Any] = {"relation": label, "before": slope.energy, "energy": slope.energy, "share": 0.0, "pairs": 0}
    best["probe_before"] = judge(graph)
    start = {"share": 0.0, "pairs_taken": 0, "unlike": None, "probe_accuracy": best["probe_before"]}
    _add(report, start, slope.energy, slope.energy)
    kept: Graph | None = None
    for share in shares:
        m = max(1, round(share * i.size))
        try:
            left = without_pairs(graph, i[:m], j[:m])
            energy = edge_influence(left, y, K, X=Q).energy
        except DataError:  # no pair is left, or the gap at K has closed
            break
        row: dict[str, Any] = {
            "share": share,
            "pairs_taken": m,
            "unlike": None if unlike is None else float(unlike[:m].sum() / max(1, both[:m].sum())),
            "probe_accuracy": judge(left),
        }
        foretold = slope.energy + float(gain[:m].sum())
        _add(report, row, energy, foretold)
        if energy > best["energy"]:
            kept = left
            best |= {"energy": energy, "share": share, "pairs": m, "foretold": foretold, "unlike": row["unlike"]}
            best["probe_accuracy"] = row["probe_accuracy"]
    best["file"] = None
    if kept is not None and own is not None:
        best["file"] = str(_written(kept, own, report.run.path / "mended_pairs.csv"))
    elif kept is not None:
        report.payload["notes"].append(
            f"{label}: the rows are views made for this run, so the mended pairs are told by the order in arrays.npz "
            "(influence/...), and there is no file of them"
        )
    report.payload["mended"] = best
    return best


def _add(report: Report, row: dict[str, Any], energy: float, foretold: float) -> None:
    """Two points of the figure: the energy solved again, and what first order foretold."""
    report.add({"what": "solved again", **row, "energy": energy})
    report.add({"what": "first order", **row, "energy": foretold})


def _written(graph: Graph, own: Any, path: Path) -> Path:
    i, j, w = graph.pairs()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["i", "j", "weight"])
        writer.writerows(zip(own[i].tolist(), own[j].tolist(), w.tolist(), strict=True))
    return path


@dataclass(frozen=True, eq=False)
class _Judge:
    """A probe of the closed form over a chart, on the rows held out; None where there are none."""

    setting: Setting
    Q_train: Array
    Q_test: Array | None
    Q: Array
    K: int

    @classmethod
    def of(cls, setting: Setting, chart: Chart, K: int) -> _Judge:
        test = setting.probe_test
        Q_test = None if test is None or not test.labelled.any() else chart(test.X)
        return cls(setting, chart(setting.probe_train.X), Q_test, chart(setting.data.X), K)

    def __call__(self, graph: Graph) -> float | None:
        train, test = self.setting.probe_train, self.setting.probe_test
        if test is None or self.Q_test is None:
            return None
        W = as_spectra(graph, self.Q).of("laplacian", self.K).weights
        assert W is not None
        on, off = train.labelled, test.labelled
        Z, held = self.Q_train @ W[:, : self.K], self.Q_test @ W[:, : self.K]
        return linear_probe_score(
            Z[on], _y(train)[on], held[off], _y(test)[off], classification=train.is_classification
        )


def _y(data: Dataset) -> Any:
    assert data.y is not None
    return data.y
