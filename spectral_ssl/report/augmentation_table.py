"""`augment` on a terminal: sets by 1 - sigma, the rank correlation at every delta, certificates, checked bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from spectral_ssl.report.augmentation_figures import short
from spectral_ssl.report.console import Column, Page, Payload, Row
from spectral_ssl.report.payload_parts import data_line, file_lines, note_lines
from spectral_ssl.report.words import as_list, number

__all__ = ["augmentation_table"]

SETS = (  # key of a row, title, worth: without one it stays
    ("missing", "1 - sigma", None),
    ("error", "error", None),
    ("certificate", "certificate", None),
    ("train_error", "in training", 7.0),
    ("error_1nn", "1-NN", 6.0),
    ("error_knn", "kNN", 5.0),
    ("error_linear", "linear", 5.5),
    ("alignment", "alignment", 4.0),
    ("divergence", "mu.mu", 3.0),
    ("lipschitz", "L", 2.0),
    ("margin", "margin", 1.0),
)


def augmentation_table(payload: Payload, page: Page) -> None:
    """The record of `augment`."""
    data_line(payload, page)
    page.title(str(payload.get("question")))
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    sets = [row for row in rows if "slug" in row]
    if sets:
        columns = [Column("set", lambda row: Text(short(str(row["set"])), style="bold"), left=True)]
        page.table(sets, [*columns, *(_column(key, title, worth) for key, title, worth in SETS)])
        page.line(
            f"1 - sigma at delta = {number(payload.get('delta'), 4)}, with what is proven where that is less; -: no "
            "certificate at any delta and eps",
            "dim",
        )
    ranking = [row for row in as_list(payload.get("ranking")) if row.get("spearman") is not None]
    if ranking:
        page.title("rank correlation of 1 - sigma with the error")
        page.table(
            ranking,
            [
                Column("delta", lambda row: number(row["delta"], 4)),
                Column("worst class", lambda row: number(row["spearman"], 3)),
                Column("p, one-sided", lambda row: number(row["p_value"], 2)),
                Column("mean of classes", lambda row: number(row["spearman_mean"], 3)),
            ],
        )
    first = sets[0]["set"] if sets else None
    bounds = [row for row in as_list(payload.get("bounds")) if row.get("set") == first]
    if bounds:
        page.title(f"bounds, checked: {short(str(first))}")
        page.table(
            _told_once(bounds),
            [
                Column("bound", lambda row: str(row["bound"]), left=True),
                Column("measured", lambda row: number(row["observed"], 4)),
                Column("limit", lambda row: number(row["limit"], 4)),
                Column("verdict", lambda row: str(row["verdict"]), left=True),
            ],
        )
        for row in _told_once(bounds):
            if failed := _failed(row):
                page.line(f"{row['bound']}: {failed}", "dim")
    page.line("")
    page.line(str(payload.get("answer") or "interrupted before there was an answer"), "bold")
    note_lines(payload, sets, page)
    file_lines(payload, page)


def _column(key: str, title: str, worth: float | None) -> Column:
    def cell(row: Row) -> Text | str:
        if key == "missing" and row.get("missing_low") != row.get("missing"):
            return f"{number(row['missing_low'], 3)} to {number(row['missing'], 3)}"
        return Text(number(row.get(key), 3), style="bold") if key in ("missing", "error") else number(row.get(key), 3)

    return Column(title, cell, worth)


def _told_once(bounds: list[Any]) -> list[Any]:
    """Bounds of R_eps come once for every eps: those of the middle one."""
    grouped: dict[str, list[Any]] = {}
    for row in bounds:
        grouped.setdefault(str(row["bound"]), []).append(row)
    return [rows[len(rows) // 2] for rows in grouped.values()]


def _failed(row: Row) -> str:
    """The assumptions that fail, with what was measured."""
    return "; ".join(str(text) for text in as_list(row.get("assumptions")) if ": fails" in str(text))
