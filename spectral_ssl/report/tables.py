"""Results on a terminal: `render(payload, console)` prints what a command returned.

Columns give way on a narrow terminal, the least telling first, and what they said moves below the table. On a stream
that is no terminal the same words come without colour; where it cannot show Greek letters they are spelt out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from spectral_ssl.report.comparison_table import comparison, verdict
from spectral_ssl.report.console import Column, Page, Payload, Row, megabytes, seconds
from spectral_ssl.report.findings import findings
from spectral_ssl.report.payload_parts import data_line, file_lines, note_lines, relation_lines
from spectral_ssl.report.words import as_list, is_bound, label, number, relation_text, relations_of, short_hyper
from spectral_ssl.runs import to_jsonable

__all__ = ["render", "verdict"]

COLLAPSED = 1 - 1e-9  # of the way to collapse: rounding of a loss at collapse is no distance from it


def render(payload: Payload, console: Console) -> None:
    """Print what a command returned, for people."""
    payload = to_jsonable(payload)
    page = Page(console)
    if "tables" in payload:
        _tables(payload, page)
    else:
        RENDERERS.get(str(payload.get("command")), _anything)(payload, page)


# -------------------------------------------------------------------------------------------------- explain and audit


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


def _proof(row: Row) -> str:
    return number(row.get("gap"), 4) if _has_proof(row) else "-"


def _has_proof(row: Row) -> bool:
    """Whether how far a row is from its optimum is known by a proof rather than a closed form."""
    return row.get("gap") is not None and row.get("kind") != "exact"


def _audit(payload: Payload, page: Page) -> None:
    summary = payload.get("summary") or {}
    words = {
        "n_samples": "samples",
        "n_components": "components",
        "rank": "rank",
        "effective_rank": "effective rank",
    }
    told = []
    for key, value in summary.items():
        if key in ("n_samples", "n_components"):
            told.append(f"{number(value)} {words[key]}")
        elif not isinstance(value, bool | dict | list):
            told.append(f"{words.get(key, key)} {number(value, 3)}")
    if told:
        page.line(f"representation: {', '.join(told)}")
    energies = summary.get("duality")
    if isinstance(energies, Mapping):
        page.line(
            f"duality: sum_i!=j (z_i'z_j)^2 = {number(energies['contrastive'])} between samples, sum_k!=l (Z'Z)_kl^2 = "
            f"{number(energies['non_contrastive'])} between components; they differ by the norms of rows and columns "
            "alone",
            "dim",
        )
    if summary.get("collapsed"):
        page.line("the representation is close to collapse", "red")
    for record in relations_of(payload):
        page.title(f"relation {relation_text(record)}".rstrip())
        relation_lines(record, page)
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    page.line("")
    dropped = page.table(
        rows,
        [
            Column("method", lambda row: Text(label(row), style="bold"), left=True),
            Column("kind", lambda row: str(row.get("kind") or "-"), 1, left=True),
            Column("settings", lambda row: short_hyper(row) or "-", 2, left=True),
            Column("loss", lambda row: number(row.get("loss"))),
            Column("attainable", lambda row: ("> " if is_bound(row) else "") + number(row.get("attainable"))),
            Column("linear head", lambda row: number(row.get("attainable_linear_head")), 5),
            Column("excess", lambda row: number(row.get("excess"), 4), 3),
            Column("relative", lambda row: number(row.get("relative_excess"), 3)),
            *([Column("proven within", _proof, 4)] if any(map(_has_proof, rows)) else []),
        ],
    )
    told = [f"{label(row)} {short_hyper(row)}" for row in rows if short_hyper(row)]
    if told and any(column.title == "settings" for column in dropped):
        page.line(f"settings: {'; '.join(told)}", "dim")
    page.line(
        "attainable: least loss of any embedding of this size; linear head: least after a linear map of this one; "
        "relative: 0 at the optimum, 1 at collapse",
        "dim",
    )
    ranked = [row for row in rows if row.get("relative_excess") is not None and not is_bound(row)]
    if ranked:
        best = min(ranked, key=lambda row: row["relative_excess"])
        page.line("")
        page.line(
            f"closest to the optimum of {label(best)}: {number(best['relative_excess'], 3)} of the way to collapse"
            if best["relative_excess"] < COLLAPSED
            else "at or beyond collapse for every method",
            "bold",
        )
    note_lines(payload, rows, page)
    file_lines(payload, page)


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
    "audit": _audit,
    "experiment": findings,
    "path": findings,
    "align": findings,
    "forecast": findings,
    "reproduce": findings,
}
