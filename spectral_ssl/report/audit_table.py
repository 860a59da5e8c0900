"""An audit on a terminal: the filters that were fitted, each method's loss, and what Z is in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from spectral_ssl.report.audit_figures import SYMBOLS, percent
from spectral_ssl.report.console import Column, Page, Payload, Row, short
from spectral_ssl.report.payload_parts import file_lines, note_lines, relation_lines
from spectral_ssl.report.words import as_list, is_bound, label, number, relation_text, relations_of, short_hyper

__all__ = ["audit_table"]

COLLAPSED = 1 - 1e-9  # of the way to collapse: rounding of a loss at collapse is no distance from it
SHOWN = 5  # filters, the nearest ones
PENCILS = {
    "laplacian": "Laplacian",
    "degree": "normalised adjacency",
    "degree_centred": "normalised adjacency",
    "adjacency": "adjacency",
    "cross_moment": "adjacency",
}


def audit_table(payload: Payload, page: Page) -> None:
    """The record of `audit`."""
    _representation(payload.get("summary") or {}, page)
    for record in relations_of(payload):
        page.title(f"relation {relation_text(record)}".rstrip())
        relation_lines(record, page)
    if (filters := payload.get("filters")) and filters.get("best") is not None:
        _filters(filters, page)
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    _losses(rows, page)
    if findings := as_list(payload.get("findings")):
        page.title("findings")
        page.bullets(map(str, findings))
    _closest(rows, page)
    note_lines(payload, rows, page)
    file_lines(payload, page)


def _representation(summary: Row, page: Page) -> None:
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


def _filters(filters: Row, page: Page) -> None:
    page.title("filters fitted to the energies of Z")
    fits = list(filters["fits"])
    near = {filters["best"], *filters["alike"]} if filters["verdict"] != "none" else set()
    page.table(
        fits[:SHOWN],
        [
            Column("filter", lambda row: Text(row["label"], style="bold" if row["key"] in near else ""), left=True),
            Column("parameters", lambda row: _parameters(row) or "-", left=True),
            Column("left of |ZZ'|", lambda row: percent(row["residual"])),
            Column("at best", lambda row: percent(row["floor"]), 2),
            Column("CKA", lambda row: number(row["linear_cka"], 4), 1),
            Column("eigenvectors of", _basis, 3, left=True),
        ],
    )
    if len(fits) > SHOWN:
        page.line(
            f"{len(fits) - SHOWN} more, further away, are in run.json; left of |ZZ'|: after the best scale; at best: "
            "whatever energies the first K of these eigenvectors were given",
            "dim",
        )


def _basis(row: Row) -> str:
    words = PENCILS.get(str(row["basis"]).partition(",")[0], str(row["basis"]))
    return f"{words}, columns at equal variance" if "unit columns" in row["basis"] else words


def _parameters(row: Row) -> str:
    return ", ".join(f"{SYMBOLS[name]} {number(float(value), 3)}" for name, value in row["parameters"].items())


def _losses(rows: list[Row], page: Page) -> None:
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
            *(
                [
                    Column("angle", _angle, 3.5),
                    Column("in its span", lambda row: _share(row.get("energy_in_range")), 2.5),
                    Column("CKA", lambda row: number(row.get("linear_cka"), 3), 1.5),
                ]
                if any(row.get("linear_cka") is not None for row in rows)
                else []
            ),
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
    if any(row.get("max_angle") is not None for row in rows):
        page.line(
            "angle: the largest between the spans of Z and of the optimum (-: that span is not unique, or its gap "
            "below 1e-3); in its span: the share of |Z|^2 there; CKA: 1 if equal up to rotation and scale",
            "dim",
        )


def _proof(row: Row) -> str:
    return number(row.get("gap"), 4) if _has_proof(row) else "-"


def _has_proof(row: Row) -> bool:
    """Whether how far a row is from its optimum is known by a proof rather than a closed form."""
    return row.get("gap") is not None and row.get("kind") != "exact"


def _angle(row: Row) -> str:
    return "-" if row.get("max_angle") is None else short(row["max_angle"])


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _closest(rows: list[Row], page: Page) -> None:
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
