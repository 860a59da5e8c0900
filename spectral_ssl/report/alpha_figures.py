"""Figures of `alpha`: levelled eigenvalues, alpha against distance, how many negatives count, rank by temperature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.page import (
    INK,
    SOFT,
    grid_shape,
    heading,
    key_line,
    page,
    safe,
    styled,
    words_at,
)
from spectral_ssl.report.panels import data_caption
from spectral_ssl.report.words import as_list, number, relations_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["alpha_figures"]

Row = Mapping[str, Any]

LIVE, FROZEN, LEVELLED = "#0072B2", "#999999", "#D55E00"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#777777", "#661100", "#999933")
BLANK: dict[str, Any] = {"facecolor": "white", "linewidth": 0, "pad": 0.8}  # behind words that cross a line
SHOWN = 16  # eigenvalues of a panel
MOST = 9  # rules in a figure of panels
FAINTEST = 1e-3  # weights below are drawn at the foot: they do not count


def alpha_figures(payload: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The figures that a run of `alpha` has the numbers for."""
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping) and row.get("spectrum")]
    if rows:
        yield "spectrum", spectrum_figure(rows, payload)
        yield "importance", importance_figure(rows, payload)
        yield "negatives", negatives_figure(rows, payload)
    sweep = as_list(payload.get("sweep"))
    if len(sweep) > 1:
        yield "temperature", temperature_figure(sweep, payload)


@styled
def spectrum_figure(rows: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """Eigenvalues of C_alpha, alpha at the start and alpha at the end: those level with the largest stand out."""
    shown = rows[:MOST]
    n_rows, n_columns = grid_shape(len(shown), most=4)
    legend = [
        ("alpha frozen at the start", key_line(color=FROZEN, linewidth=2.6)),
        ("alpha live, at the end", key_line(color=LIVE, marker="o", markersize=7, linestyle="none")),
        ("level with the largest", key_line(color=LEVELLED, marker="o", markersize=10, linestyle="none")),
    ]
    levels = any(row["multiplicity"] > 1 for row in shown)
    title = "Alpha levels the top eigenvalues of C, and the rank follows" if levels else "C has one top eigenvalue: PCA"
    figure = page(3.1 * n_rows, title, _caption(payload), legend)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for place, (axes, row) in enumerate(zip(grid.flat, shown, strict=False)):
        live, frozen = np.array(row["spectrum"][:SHOWN]), np.array(row["spectrum_frozen"][:SHOWN])
        k = np.arange(1, live.size + 1)
        level = k <= row["multiplicity"]
        axes.step(k, frozen[: k.size], where="mid", color=FROZEN, linewidth=2.6)
        axes.plot(k[~level], live[~level], linestyle="none", marker="o", markersize=7, color=LIVE)
        axes.plot(
            k[level], live[level], linestyle="none", marker="o", markersize=10, color=LEVELLED, markeredgecolor="white"
        )
        heading(axes, str(row["rule"]), INK, f"rank {row['rank']}, {_several(row['multiplicity'])}")
        axes.set_ylim(min(0.0, float(min(live.min(), frozen.min()))) - 0.04, 1.1)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if place % n_columns == 0:
            axes.set_ylabel("eigenvalue / largest")
        if place + n_columns >= len(shown):
            axes.set_xlabel("eigenvalue of C")
            axes.tick_params(labelbottom=True)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    return figure


@styled
def importance_figure(rows: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """What a pair weighs by its distance, relative to uniform alpha."""
    shown = [row for row in rows if row.get("weights")][:MOST]
    n_rows, n_columns = grid_shape(len(shown), most=4)
    figure = page(
        3.1 * n_rows,
        "How much a negative counts, by its distance",
        f"{_caption(payload)} · each dot a pair of the trained layer; 1: what every negative has when all count alike",
    )
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for place, (axes, row) in enumerate(zip(grid.flat, shown, strict=False)):
        d, w = np.array(row["weights"]).T
        none = w < FAINTEST
        axes.axhline(1.0, color=SOFT, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1)
        axes.plot(d, np.maximum(w, FAINTEST), linestyle="none", marker="o", markersize=3.4, alpha=0.55, color=LIVE)
        if none.any():
            words_at(
                axes, f"{100 * none.mean():.0f} % of the pairs weigh nothing", (1, 0), (-4, 8), ha="right", va="bottom"
            )
        heading(axes, str(row["rule"]), INK, _monotone(row))
        axes.set_yscale("log")
        axes.set_xlim(0, 1.02 * float(np.quantile(d, 0.995)) or 1.0)
        if place % n_columns == 0:
            axes.set_ylabel("alpha / uniform alpha")
        if place + n_columns >= len(shown):
            axes.set_xlabel("squared distance d²")
            axes.tick_params(labelbottom=True)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    return figure


@styled
def negatives_figure(rows: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """Effective negatives per anchor: a line per rule from its least to its most, a box over the middle half."""
    m = payload.get("n_negatives")
    figure = page(
        0.62 * len(rows) + 1.0,
        f"How many of the {number(m)} negatives of an anchor count",
        f"{_caption(payload)} · exp of the entropy of alpha; box: half of the anchors, line: all, white: median",
    )
    axes = figure.subplots()
    for place, row in enumerate(rows):
        y = len(rows) - 1 - place
        low, first, middle, third, high = np.quantile(np.array(row["counted"]), [0, 0.25, 0.5, 0.75, 1])
        colour = PALETTE[place % len(PALETTE)]
        axes.plot([low, high], [y, y], color=colour, linewidth=2.6, solid_capstyle="round")
        axes.plot([first, third], [y, y], color=colour, linewidth=13, solid_capstyle="butt")
        axes.plot([middle], [y], marker="o", markersize=7, color="white", markeredgecolor=colour, markeredgewidth=2)
        words_at(
            axes, f"{middle:.3g}", (middle, y), (0, 9), x="data", y="data", ha="center", color=INK, size=12, bbox=BLANK
        )
    axes.set_yticks(range(len(rows)), [safe(str(row["rule"])) for row in reversed(rows)])
    axes.tick_params(axis="y", labelsize=13, labelcolor=INK, length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.03 * float(m or 1))
    axes.set_ylim(-0.5, len(rows) - 0.35)
    axes.axvline(float(m or 1), color=SOFT, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.set_xlabel("effective negatives")
    return figure


@styled
def temperature_figure(sweep: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """Rank of the certified optimum and levelled eigenvalues by temperature, over the share of negatives that count."""
    tau, rank, level = (
        np.array([row[key] for row in sweep], dtype=float) for key in ("temperature", "rank", "multiplicity")
    )
    counted = np.array([row["effective_negatives"] for row in sweep], dtype=float) / float(
        payload.get("n_negatives") or 1
    )
    legend = [
        ("rank of the certified optimum", key_line(color=LIVE, linewidth=2.6)),
        (
            "eigenvalues of C level with the largest",
            key_line(color=LEVELLED, marker="o", markersize=10, linestyle="none"),
        ),
        ("alpha frozen: rank 1", key_line(color=FROZEN, linewidth=2.0, linestyle=(0, (4, 2)))),
    ]
    name = str(sweep[0].get("rule", "the rule"))
    figure = page(5.2, f"The lower the temperature of {name}, the more directions survive", _caption(payload), legend)
    top, foot = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1.0])
    top.axhline(1.0, color=FROZEN, linewidth=2.0, linestyle=(0, (4, 2)))
    top.plot(tau, rank, color=LIVE, linewidth=2.6)
    top.plot(tau, level, linestyle="none", marker="o", markersize=10, color=LEVELLED, markeredgecolor="white", zorder=3)
    for x, y in zip(tau, rank, strict=True):
        words_at(top, f"{y:.0f}", (x, y), (0, 9), x="data", y="data", ha="center", color=INK, size=12)
    top.set_ylabel("rank")
    top.set_ylim(0, 1.15 * max(rank.max(), level.max()))
    top.yaxis.get_major_locator().set_params(integer=True)
    foot.plot(tau, 100 * counted, color="#009E73", marker="o", markersize=6)
    foot.set_ylabel("negatives that\ncount (%)")
    foot.set_ylim(0, 105)
    foot.set_xscale("log")
    foot.set_xticks(tau, [f"{value:g}" for value in tau])
    foot.minorticks_off()
    foot.set_xlabel("temperature")
    return figure


# ------------------------------------------------------------------------------------------------------------- in words


def _several(level: int) -> str:
    return "one largest eigenvalue" if level == 1 else f"{level} eigenvalues level"


def _monotone(row: Row) -> str:
    share = row.get("disordered") or 0.0
    if np.ptp(np.array(row["weights"])[:, 1]) < FAINTEST:
        return "all count alike"
    return "the nearer, the more" if share == 0 else f"not monotone for {100 * share:.0f} % of the anchors"


def _caption(payload: Mapping[str, Any]) -> str:
    parts = [data_caption(payload) if payload.get("data") else ""]
    parts += [f"relation {record['text']}" for record in relations_of(payload) if record.get("text")]
    parts.append(str(payload.get("setting") or ""))
    return " · ".join(part for part in parts if part)
