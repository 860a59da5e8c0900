"""Results on a terminal: `render(payload, console)` prints what a command returned.

Columns give way on a narrow terminal, the least telling first, and what they said moves below the table. On a stream
that is no terminal the same words come without colour; where it cannot show Greek letters they are spelt out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from spectral_ssl.report.audit_table import audit_table
from spectral_ssl.report.augmentation_table import augmentation_table
from spectral_ssl.report.bound_table import bound_table
from spectral_ssl.report.comparison_table import comparison, verdict
from spectral_ssl.report.console import Column, Page, Payload, Row, megabytes, seconds
from spectral_ssl.report.findings import findings
from spectral_ssl.report.payload_parts import data_line, file_lines, note_lines, relation_lines
from spectral_ssl.report.words import as_list, label, number, relation_text, relations_of
from spectral_ssl.runs import to_jsonable

__all__ = ["render", "verdict"]


def render(payload: Payload, console: Console) -> None:
    """Print what a command returned, for people."""
    payload = to_jsonable(payload)
    page = Page(console)
    if "tables" in payload:
        _tables(payload, page)
    else:
        RENDERERS.get(str(payload.get("command")), _anything)(payload, page)


# ------------------------------------------------------------------------------------------------------------ explain


def _explain(payload: Payload, page: Page) -> None:
    data_line(payload, page)
    for record in relations_of(payload):
        page.title(f"relation {relation_text(record)}".rstrip())
        relation_lines({**record, "findings": []}, page)
    plan = [row for row in as_list(payload.get("plan")) if isinstance(row, Mapping)]
    page.title("what would run")
    closed = {True: "yes", False: "no", None: "-"}
    dropped = page.table(
        plan,
        [
            Column("method", lambda row: Text(label(row), style="bold"), left=True),
            Column("model", lambda row: str(row.get("model") or "-"), 1, left=True),
            Column(
                "closed form", lambda row: closed.get(row.get("closed_form"), str(row.get("closed_form"))), 3, left=True
            ),
            Column("kind", lambda row: str(row.get("kind") or "-"), 4, left=True),
            Column("pencil", lambda row: str(row.get("pencil") or "-"), 2, left=True),
            Column("solver", lambda row: str(row.get("solver") or "-"), left=True),
            Column("memory", lambda row: megabytes(row.get("memory_mb"))),
            Column("time", lambda row: seconds(row.get("seconds_estimate"))),
        ],
    )
    del dropped
    total = [row["seconds_estimate"] for row in plan if row.get("seconds_estimate") is not None]
    if total:
        memory = max((row["memory_mb"] for row in plan if row.get("memory_mb") is not None), default=None)
        page.line("")
        page.line(f"compare would take about {seconds(sum(total))} and up to {megabytes(memory)}: estimates", "bold")
    findings = as_list(payload.get("findings"))
    if findings:
        page.title("findings")
        page.bullets(map(str, findings))
    note_lines(payload, plan, page)


# ----------------------------------------------------------------------------------------------------- anything else


def _tables(payload: Payload, page: Page) -> None:
    """Tables by title: what the commands on runs return."""
    for place, (title, rows) in enumerate(payload["tables"].items()):
        if place:
            page.line("")
        page.line(title, "bold")
        _plain_table([row for row in as_list(rows) if isinstance(row, Mapping)], page)
    if not payload["tables"]:
        page.line("nothing to show")
    result = payload.get("result")
    if isinstance(result, Mapping) and result.get("command") in RENDERERS:
        page.line("")
        RENDERERS[str(result["command"])](result, page)


def _plain_table(rows: Sequence[Row], page: Page) -> None:
    if not rows:
        page.line("  none", "dim")
        return
    keys = list(dict.fromkeys(key for row in rows for key in row))
    texts = {key for key in keys if any(isinstance(row.get(key), str) for row in rows)}

    def column(key: str) -> Column:
        return Column(key, lambda row: _plain(row.get(key), key), left=key in texts)

    page.table(rows, [column(key) for key in keys])


def _plain(value: Any, key: str = "") -> str:
    if key == "created" and isinstance(value, str):
        return value[:16].replace("T", " ")
    if isinstance(value, list | dict):
        return (
            ", ".join(f"{k} {number(v)}" for k, v in value.items())
            if isinstance(value, dict)
            else ", ".join(map(str, value))
        )
    return number(value)


def _anything(payload: Payload, page: Page) -> None:
    """A payload of a kind not known here: single values first, then lists and tables under their names."""
    single = {key: value for key, value in payload.items() if not isinstance(value, list | dict)}
    for key, value in single.items():
        page.line(f"{key.replace('_', ' ')}: {number(value)}")
    for key, value in payload.items():
        if key in single or not value or key in ("files", "figures", "run"):
            continue
        page.title(key.replace("_", " "))
        if isinstance(value, dict):
            for name, item in value.items():
                page.line(f"{name.replace('_', ' ')}: {_plain(item)}")
        elif all(isinstance(item, Mapping) for item in value):
            _plain_table(value, page)
        else:
            page.bullets(_plain(item) for item in value)
    if payload.get("files") or payload.get("figures"):
        file_lines(payload, page)


RENDERERS: dict[str, Callable[[Payload, Page], None]] = {
    "compare": comparison,
    "demo": comparison,
    "explain": _explain,
    "audit": audit_table,
    "experiment": findings,
    "path": findings,
    "align": findings,
    "alpha": findings,
    "forecast": findings,
    "augment": augmentation_table,
    "bounds": bound_table,
    "converge": findings,
    "reproduce": findings,
}
