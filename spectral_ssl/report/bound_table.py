"""`bounds` on a terminal: every limit of the mean classifier's risk, K by K, and whether it says anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from spectral_ssl.report.console import Column, Page, Payload, Row
from spectral_ssl.report.payload_parts import data_line, file_lines, note_lines
from spectral_ssl.report.words import as_list, number, relation_text, relations_of

__all__ = ["bound_table"]

LIMITS = (  # key of a row, title, name of the bound, worth
    ("band_lower", "band from", "band, lower", 5.0),
    ("sharp_band_lower", "sharp from", "sharp band, lower", 6.0),
    ("supervised", "R_supv", "", None),
    ("sharp_band_upper", "sharp to", "sharp band, upper", 6.0),
    ("band_upper", "band to", "band, upper", 5.0),
    ("inclusion", "inclusion", "inclusion", 4.0),
    ("collisions_off", "coll. off", "collisions off", 4.0),
    ("measured_upper", "measured", "measured, upper", 1.0),
    ("arora", "Arora", "Arora", 3.0),
    ("nozawa_sato", "Nozawa-Sato", "Nozawa-Sato", 3.0),
    ("ash", "Ash", "Ash", 3.0),
)
HUGE = 1e5  # a limit past this is written by its power of ten alone


def bound_table(payload: Payload, page: Page) -> None:
    """The record of `bounds`: the representation in question, its limits, tasks of fewer classes, the answer."""
    data_line(payload, page)
    for record in relations_of(payload):
        page.line(f"relation {relation_text(record)}".rstrip())
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    subjects = as_list(payload.get("subjects"))
    main = int(payload.get("main") or 0)
    for place, subject in enumerate(subjects):
        mine = [row for row in rows if row.get("subject") == place]
        if not mine or (place != main and subject.get("step") is not None):  # the way of a training is in its figure
            continue
        page.title(f"{subject['part']} of {subject['name']}")
        page.line(
            f"{number(subject['n_samples'])} rows, {subject['n_classes']} classes, b²/T {number(subject['b2'], 4)}; "
            f"R_supv from {number(subject['floor'], 4)} (floor) to {number(subject['ceiling'], 4)} (ceiling), chance "
            f"{number(subject['chance'], 4)}; mean classifier {100 * subject['accuracy']:.1f} % right",
            "dim",
        )
        _limits(mine, page)
    if rows:
        page.line("(in brackets: vacuous, no better than floor or ceiling; -: not legal for this prior or K)", "dim")
    tasks = [row for row in as_list(payload.get("tasks")) if isinstance(row, Mapping)]
    if tasks:
        page.title("tasks of fewer classes, one negative")
        _tasks(tasks, page)
    page.line("")
    page.line(str(payload.get("answer") or "interrupted before there was an answer"), "bold")
    note_lines(payload, rows, page)
    file_lines(payload, page)


def _limits(rows: list[Row], page: Page) -> None:
    columns = [
        Column("K", lambda row: number(row["negatives"])),
        Column("R_cont", lambda row: number(row["contrastive"], 4)),
    ]
    columns += [_column(key, title, name, worth) for key, title, name, worth in LIMITS]
    page.table(rows, [*columns, Column("noise", lambda row: number(row["noise"], 3), 0.5)])


def _column(key: str, title: str, name: str, worth: float | None) -> Column:
    def cell(row: Row) -> Text:
        value = row.get(key)
        if not name:
            return Text(number(value, 4), style="bold")
        if name in as_list(row.get("violated")):
            return Text(f"{_plain(value)}!", style="red")
        if value is None:
            return Text("-", style="dim")
        if name in as_list(row.get("vacuous")):
            return Text(f"({_plain(value)})", style="dim")
        return Text(_plain(value), style="green")

    return Column(title, cell, worth)


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.0e}" if abs(value) >= HUGE else number(value, 4)


def _tasks(rows: list[Row], page: Page) -> None:
    styles = {"holds": "green", "violated": "red", "vacuous": "dim", "illegal": "dim"}
    page.table(
        rows,
        [
            Column("statement", lambda row: str(row["bound"]), left=True),
            Column("measured", lambda row: number(row["observed"], 4)),
            Column("limit", lambda row: _plain(row["limit"])),
            Column(
                "verdict", lambda row: Text(str(row["verdict"]), style=styles.get(str(row["verdict"]), "")), left=True
            ),
            Column("source", lambda row: str(row["source"]), 1, left=True),
        ],
    )
