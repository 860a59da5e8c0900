"""Figures of `augment`: 1 - sigma against the error it is to foretell, and its brackets over delta."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.curves import MARKERS, PALETTE, curve_figures
from spectral_ssl.report.page import INK, SOFT, key_line, page, styled, words_at
from spectral_ssl.report.panels import data_caption
from spectral_ssl.report.words import as_list, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["augmentation_figures", "short"]

Row = Mapping[str, Any]
Look = tuple[str, str]


def augmentation_figures(payload: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The ranking beside the brackets, where there are sets to rank; the brackets alone for one; then the curves."""
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    sets = [row for row in rows if "slug" in row]
    brackets = [row for row in rows if row.get("figure") == "brackets"]
    if sets and brackets:
        yield "ranking" if len(sets) > 1 else "brackets", ranking_figure(sets, brackets, payload)
    yield from curve_figures(payload)


def short(name: str) -> str:
    """The name of a set without those of its options.

    >>> short("shift(pixels=1), rotation(degrees=20)")
    'shift 1, rotation 20'
    """
    return re.sub(r"\(([^)]*)\)", lambda found: " " + ", ".join(re.findall(r"=([^,)]+)", found[1])), name)


@styled
def ranking_figure(sets: Sequence[Row], brackets: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """Left: 1 - sigma at the chosen delta against the error, a bar for what is not decided. Right: over delta."""
    looks = {row["set"]: look for row, look in zip(sets, zip(PALETTE * 9, MARKERS * 9, strict=True), strict=False)}
    legend = [
        (short(name), key_line(color=colour, marker=marker, markersize=9, markeredgecolor="white"))
        for name, (colour, marker) in looks.items()
    ]
    several = len(sets) > 1
    figure = page(4.9, _headline(sets, payload), _caption(payload), legend)
    left, right = figure.subplots(1, 2) if several else (None, figure.subplots())
    if left is not None:
        _scatter(left, sets, looks)
    _brackets(right, brackets, looks, payload, told=not several)
    return figure


def _headline(sets: Sequence[Row], payload: Mapping[str, Any]) -> str:
    delta = payload.get("delta")
    at: Row = next((row for row in as_list(payload.get("ranking")) if row.get("delta") == delta), {})
    if len(sets) == 1 or at.get("spearman") is None:
        return "How much of a class the views bring together"
    return (
        f"1 - σ against the error, {len(sets)} augmentation sets: Spearman {number(at['spearman'], 2)} "
        f"(p = {number(at['p_value'], 2)})"
    )


def _caption(payload: Mapping[str, Any]) -> str:
    parts = [
        data_caption(payload) if payload.get("data") else "",
        f"left: at δ = {number(payload.get('delta'), 3)}" if payload.get("ranking") else "",
        "lines: the main part found; bands: up to what is proven",
    ]
    return " · ".join(part for part in parts if part)


def _scatter(axes: Axes, sets: Sequence[Row], looks: Mapping[str, Look]) -> None:
    for row in sets:
        colour, marker = looks[row["set"]]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 11, "markeredgecolor": "white"}
        axes.hlines(row["error"], row["missing_low"], row["missing"], color=colour, linewidth=5, alpha=0.3)
        axes.plot(row["missing"], row["error"], linestyle="none", zorder=3, **look)
    axes.set_xlabel("1 - σ: largest share of a class outside its main part")
    axes.set_ylabel("error of the nearest class centre, held out")
    axes.set_ylim(0, 1.12 * max(row["error"] for row in sets) or 1.0)
    axes.margins(x=0.08)


def _brackets(
    axes: Axes, rows: Sequence[Row], looks: Mapping[str, Look], payload: Mapping[str, Any], *, told: bool
) -> None:
    for name, (colour, marker) in looks.items():
        mine = sorted((row for row in rows if row["set"] == name), key=lambda row: row["delta"])
        x = np.array([row["delta"] for row in mine])
        high, low = (np.array([row[key] for row in mine]) for key in ("missing", "missing_low"))
        axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(x, high, color=colour, marker=marker, markersize=7, markeredgecolor="white", clip_on=False)
    delta = payload.get("delta")
    if delta is not None and not told:
        axes.axvline(delta, color=SOFT, linewidth=1.2, linestyle=":", zorder=1)
        late = delta > (min(row["delta"] for row in rows) + max(row["delta"] for row in rows)) / 2
        words_at(
            axes,
            "δ of the left",
            (delta, 0),
            (-5 if late else 5, 6),
            x="data",
            color=INK,
            ha="right" if late else "left",
        )
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("δ: distance of the nearest views")
    axes.set_ylabel("1 - σ")
