"""What several payloads have: data, relations, notes, files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from spectral_ssl.report.console import Page, Payload, Row, listed
from spectral_ssl.report.words import as_list, distinct_labels, label, number

__all__ = ["data_line", "file_lines", "named", "note_lines", "relation_lines"]


def named(chosen: Sequence[Row], rows: Sequence[Row]) -> str:
    """The rows by name, with the relation where there are several; rows of a setting that share a name told apart."""
    several = len({row.get("relation") for row in rows}) > 1
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault((row.get("relation"), row.get("model"), row.get("n_components")), []).append(row)
    names = {
        id(row): name
        for members in groups.values()
        for row, name in zip(members, distinct_labels(members), strict=True)
    }
    by_label: dict[str, list[str]] = {}
    for row in chosen:
        by_label.setdefault(names.get(id(row), label(row)), []).append(str(row.get("relation") or ""))
    return listed(
        [f"{name} ({', '.join(dict.fromkeys(where))})" if several else name for name, where in by_label.items()]
    )


def data_line(payload: Payload, page: Page) -> None:
    data = payload.get("data") or {}
    parts = [
        f"{number(data[key])} {words}"
        for key, words in (("n_samples", "samples"), ("n_features", "features"), ("n_classes", "classes"))
        if data.get(key) is not None
    ]
    if data.get("n_train") is not None and data.get("n_test"):
        parts.append(f"{number(data['n_train'])} train and {number(data['n_test'])} test")
    if data:
        page.line(Text(f"{data.get('name', 'data')}: {', '.join(parts)}"))


def relation_lines(record: Row, page: Page) -> None:
    """A relation's summary and what was found about it."""
    for line in str(record.get("summary") or "").splitlines():
        page.line(line.strip(), "dim", first="  ", indent=4)
    if record.get("dropped_pairs"):
        page.line(f"{number(record['dropped_pairs'])} pairs that cross the split were dropped", "dim", "  ", 4)
    page.bullets(as_list(record.get("findings")))


def note_lines(payload: Payload, rows: Sequence[Row], page: Page) -> None:
    """Notes of the payload, and those of rows with the names of the rows that share them."""
    by_note: dict[str, list[Row]] = {}
    for row in rows:
        for note in as_list(row.get("note") or None):
            by_note.setdefault(str(note), []).append(row)
    told = [*map(str, as_list(payload.get("notes")))]
    told += [f"{named(members, rows)}: {note}" for note, members in by_note.items()]
    if told:
        page.title("notes")
        page.bullets(dict.fromkeys(told))


def file_lines(payload: Payload, page: Page) -> None:
    run = payload.get("run")
    files = [str(name) for name in (*as_list(payload.get("files")), *as_list(payload.get("figures")))]
    if not run and not files:
        return
    page.line("")
    if run:
        page.path(f"written to {run}")
        inside = dict.fromkeys(
            os.path.relpath(name, run) if os.path.isabs(name) == os.path.isabs(run) else name for name in files
        )
        folders: dict[str, list[str]] = {}
        for name in inside:
            folders.setdefault(os.path.dirname(name), []).append(os.path.basename(name))
        for folder, names in folders.items():
            page.line(f"{folder + '/: ' if folder else ''}{', '.join(names)}", "dim", "  ", 4)
    else:
        for name in dict.fromkeys(files):
            page.path(f"  {name}")
