"""The table of an experiment: its question, its rows, and its answer."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from spectral_ssl.report.console import Column, Page, Payload, Row
from spectral_ssl.report.payload_parts import data_line, file_lines, note_lines
from spectral_ssl.report.words import as_list, number, relation_text, relations_of

__all__ = ["findings"]

HIDDEN = ("slug", "note")  # names arrays, or is told below the table
WAYS = {"_min": 0, "_max": 0}  # the ends of a band give way first


def findings(payload: Payload, page: Page) -> None:
    """Columns in the order of the rows' keys; the last ones give way where the terminal is narrow."""
    data_line(payload, page)
    for record in relations_of(payload):
        page.line(f"relation {relation_text(record)}".rstrip())
    page.title(str(payload.get("question") or payload.get("experiment")))
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    rows = [row for row in rows if "slug" in row] or rows  # the others say the same again, for the figures
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in HIDDEN]
    keys = [key for key in keys if not any(isinstance(row.get(key), list | Mapping) for row in rows)]
    left_out = page.table(rows, [_column(key, place, keys, rows) for place, key in enumerate(keys)])
    if left_out:
        page.line(f"in run.json, no room here: {', '.join(column.title for column in reversed(left_out))}", "dim")
    if payload.get("zero_line"):
        page.line(f"zero: {payload['zero_line']}", "dim")
    page.line("")
    page.line(str(payload.get("answer") or "interrupted before there was an answer"), "bold")
    note_lines(payload, rows, page)
    file_lines(payload, page)


def _column(key: str, place: int, keys: list[str], rows: list[Row]) -> Column:
    """A column may be left out unless it is among the first four; the ends of a band before all others."""
    worth = 0 if key[-4:] in WAYS and key[:-4] in keys else None if place < 4 else len(keys) - place
    words = any(isinstance(row.get(key), str) for row in rows)

    def cell(row: Row) -> str | Text:
        return number(row.get(key), 3)

    return Column(key.replace("_", " "), cell, worth, left=words)
