"""Figures of `bounds`: every limit over the number of negatives, what R_cont is made of, and the way of a training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.page import INK, SOFT, grid_shape, key_line, key_patch, page, styled, words_at
from spectral_ssl.report.panels import data_caption
from spectral_ssl.report.words import as_list, relations_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bound_figures"]

Row = Mapping[str, Any]

BAND, SHARP = "#56B4E9", "#0072B2"
MEASURED: dict[str, Any] = {"color": INK, "linewidth": 3.0}
LINES: dict[str, tuple[str, dict[str, Any]]] = {  # key of a row -> its name, its look
    "inclusion": ("inclusion", {"color": "#D55E00", "marker": "o"}),
    "collisions_off": ("collisions off", {"color": "#E69F00", "marker": "^"}),
    "measured_upper": ("with J from labels", {"color": "#009E73", "linestyle": (0, (4, 2))}),
    "arora": ("Arora et al.", {"color": "#CC79A7", "linestyle": "--", "marker": "D"}),
    "nozawa_sato": ("Nozawa & Sato", {"color": "#777777", "linestyle": "--", "marker": "s"}),
    "ash": ("Ash et al.", {"color": "#661100", "linestyle": "--", "marker": "v"}),
}
TOP = 40.0  # times the ceiling: limits past it leave the axes, and say no less for that
LEAST = 0.3  # of the floor: lower limits below it end at the foot of the axes
EDGE = 1.06  # room for markers at the ends of a log axis
ABOVE = 3.0  # times the largest risk on the way: axes of a trajectory end there, or at the ceiling
PANELS = 4  # numbers of negatives whose trajectories are drawn


def bound_figures(payload: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The figures that a record has the rows for."""
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    subjects, main = as_list(payload.get("subjects")), int(payload.get("main") or 0)
    mine = [row for row in rows if row.get("subject") == main]
    if main < len(subjects) and len(mine) > 1:
        yield "limits", limit_figure(mine, subjects[main], payload)
        yield "decomposition", decomposition_figure(mine, subjects[main], payload)
    history = [place for place in as_list(payload.get("history")) if place < len(subjects)]
    if len(history) > 1:
        yield "trajectory", trajectory_figure(rows, [subjects[place] for place in history], history, payload)


@styled
def limit_figure(rows: Sequence[Row], subject: Row, payload: Mapping[str, Any]) -> Figure:
    """R_supv among its limits, over K."""
    K, measured = _column(rows, "negatives"), float(subject["supervised"])
    legend: list[tuple[str, Artist]] = [
        ("R_supv, measured", key_line(**MEASURED)),
        ("published band", key_patch(facecolor=BAND, alpha=0.45)),
        ("sharp band", key_patch(facecolor=SHARP, alpha=0.55)),
    ]
    drawn = {key: found for key, found in LINES.items() if any(row.get(key) is not None for row in rows)}
    legend += [
        (name, key_line(markersize=7, markeredgecolor="white", linewidth=2, **_look(look)))
        for name, look in drawn.values()
    ]
    figure = page(5.6, _headline(rows, subject), _caption(payload, subject), legend)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    floor, ceiling = float(subject["floor"]), float(subject["ceiling"])
    seen = _column(rows, "band_lower")
    low = 0.9 * min(floor, measured, *seen[seen > LEAST * floor])
    high = min(TOP * ceiling, 1.5 * _highest(rows, drawn, ceiling))
    for key, colour, alpha in (("band", BAND, 0.3), ("sharp_band", SHARP, 0.4)):
        below = np.maximum(_column(rows, f"{key}_lower"), low)
        axes.fill_between(K, below, _column(rows, f"{key}_upper"), color=colour, alpha=alpha, linewidth=0, zorder=1.5)
        axes.plot(K, _column(rows, f"{key}_upper"), color=colour, linewidth=1.6, zorder=2.5)
        axes.plot(K, below, color=colour, linewidth=1.6, zorder=2.5)
    for key, (_, look) in drawn.items():
        axes.plot(K, _column(rows, key), markersize=7, markeredgecolor="white", linewidth=2, zorder=3, **_look(look))
    axes.axhline(measured, zorder=4, **MEASURED)
    for name, value in (("floor", floor), ("chance", float(subject["chance"])), ("ceiling", ceiling)):
        axes.axhline(value, color=SOFT, linewidth=1.2, linestyle=":", zorder=2)
        words_at(axes, f"{name} {value:.3g}", (1, value), (6, 0), y="data", va="center", make_room=True)
    axes.set_ylim(low, high)
    axes.set_xlim(K[0] / EDGE, K[-1] * EDGE)
    _ticks(axes, K, low, high)
    axes.set_xlabel("negatives K")
    axes.set_ylabel("risk of the mean classifier (nats)")
    return figure


@styled
def decomposition_figure(rows: Sequence[Row], subject: Row, payload: Mapping[str, Any]) -> Figure:
    """R_cont = collisions, which no features avoid, + what class means cost beyond them + noise within classes."""
    K, R = _column(rows, "negatives"), _column(rows, "contrastive")
    least, J = _column(rows, "collisions"), _column(rows, "class_means")
    parts = ((0 * R, least, "#999999", 0.5), (least, J, SHARP, 0.45), (J, R, "#D55E00", 0.8))
    legend: list[tuple[str, Artist]] = [
        ("R_cont", key_line(color=INK, marker="o", linewidth=2.4, markeredgecolor="white")),
        ("collisions, E ln(1 + Col)", key_patch(facecolor="#999999", alpha=0.5)),
        ("class means, J_K - E ln(1 + Col)", key_patch(facecolor=SHARP, alpha=0.45)),
        ("noise within classes, R_cont - J_K", key_patch(facecolor="#D55E00", alpha=0.8)),
    ]
    shares = [100 * part / R[-1] for part in (least[-1], J[-1] - least[-1], R[-1] - J[-1])]
    headline = (
        f"Of R_cont at K = {int(K[-1]):,}, {shares[0]:.0f} % are collisions, {shares[1]:.0f} % class means, "
        f"{shares[2]:.2g} % noise"
    )
    figure = page(4.4, headline, _caption(payload, subject), legend)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    for below, above, colour, alpha in parts:
        axes.fill_between(K, below, above, color=colour, alpha=alpha, linewidth=0)
    axes.plot(K, R, color=INK, marker="o", markeredgecolor="white", markersize=8)
    axes.set_xlim(K[0] / EDGE, K[-1] * EDGE)
    axes.set_ylim(0, 1.08 * float(R.max()))
    axes.set_xticks(K, [f"{int(k):,}" for k in K])
    axes.minorticks_off()
    axes.set_xlabel("negatives K")
    axes.set_ylabel("contrastive risk (nats)")
    return figure


@styled
def trajectory_figure(
    rows: Sequence[Row], subjects: Sequence[Row], places: Sequence[int], payload: Mapping[str, Any]
) -> Figure:
    """(R_cont, R_supv) from one representation to the next, in the band of each K."""
    ks = sorted({int(row["negatives"]) for row in rows})
    chosen = [ks[i] for i in np.unique(np.linspace(0, len(ks) - 1, min(PANELS, len(ks))).astype(int))]
    steps = [s.get("step") for s in subjects]
    named = "step" if all(step is not None for step in steps) else "representation"
    legend: list[tuple[str, Artist]] = [
        (
            f"from the first {named} to the last",
            key_line(color=INK, marker="o", linewidth=2, markeredgecolor="white"),
        ),
        ("published band", key_patch(facecolor=BAND, alpha=0.3)),
        ("sharp band", key_patch(facecolor=SHARP, alpha=0.35)),
        *((LINES[key][0], key_line(color=LINES[key][1]["color"])) for key in ("inclusion", "collisions_off")),
    ]
    first, last = subjects[0], subjects[-1]
    headline = (
        f"Both risks move together inside the band: R_supv {first['supervised']:.3g} to {last['supervised']:.3g}, "
        f"accuracy {100 * first['accuracy']:.0f} to {100 * last['accuracy']:.0f} %"
    )
    n_rows, n_columns = grid_shape(len(chosen))
    figure = page(4.6 * n_rows, headline, _caption(payload, last), legend)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    by = {(row.get("subject"), int(row["negatives"])): row for row in rows}
    for axes, k in zip(grid.flat, chosen, strict=False):
        _trajectory(axes, [by[place, k] for place in places if (place, k) in by], last)
        axes.set_title(f"K = {k:,}", weight="bold")
        axes.set_xlabel("R_cont")
    for axes in grid.flat[len(chosen) :]:
        axes.set_visible(False)
    for line in grid:
        line[0].set_ylabel("R_supv")
    return figure


def _trajectory(axes: Axes, rows: Sequence[Row], subject: Row) -> None:
    from matplotlib import colormaps

    x, y = _column(rows, "contrastive"), _column(rows, "supervised")
    floor, ceiling = float(subject["floor"]), float(subject["ceiling"])
    span = max(float(np.ptp(x)), 0.2)
    ends = np.array([x.min() - 0.35 * span, x.max() + 0.35 * span])
    for key, colour, alpha in (("band", BAND, 0.25), ("sharp_band", SHARP, 0.3)):
        low, high = (float(rows[-1][f"{key}_{side}"]) - x[-1] for side in ("lower", "upper"))
        axes.fill_between(ends, ends + low, ends + high, color=colour, alpha=alpha, linewidth=0)
    axes.axhline(floor, color=SOFT, linewidth=1.2, linestyle=":")
    axes.plot(x, y, color=INK, linewidth=1.6, zorder=3)
    colours = colormaps["YlOrRd"](np.linspace(0.35, 0.95, x.size))
    axes.scatter(x, y, color=colours, s=46, zorder=4, edgecolors="white", linewidths=0.8)
    across = np.linspace(ends[0], ends[1], 50)
    for key, off in (("inclusion", 0.0), ("collisions_off", float(rows[-1]["collisions"]))):
        limit = rows[-1].get(key)
        if limit is not None and x[-1] > off:
            _, look = LINES[key]
            line = np.maximum(across - off, 0.0) * float(limit) / (x[-1] - off)
            axes.plot(across, line, color=look["color"], linewidth=1.8, zorder=2.5)
    top = min(1.05 * max(ceiling, float(y.max())), ABOVE * float(y.max()))
    axes.set_xlim(ends[0], ends[1])
    axes.set_ylim(max(0.0, floor - 0.08 * (top - floor)), top)


# ------------------------------------------------------------------------------------------------------------- parts


def _column(rows: Sequence[Row], key: str) -> Any:
    return np.array([np.nan if row.get(key) is None else float(row[key]) for row in rows])


def _look(look: Mapping[str, Any]) -> dict[str, Any]:
    return dict(look)


def _highest(rows: Sequence[Row], drawn: Mapping[str, Any], ceiling: float) -> float:
    values = [float(row[key]) for row in rows for key in [*drawn, "band_upper"] if row.get(key) is not None]
    return max([v for v in values if math.isfinite(v)] + [ceiling])


def _ticks(axes: Axes, K: Any, low: float, high: float) -> None:
    axes.set_xticks(K, [f"{int(k):,}" for k in K])
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**n for n in decades for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _headline(rows: Sequence[Row], subject: Row) -> str:
    best = min(rows, key=lambda row: float(row["upper"]))
    lower = float(best["lower"])
    between = (
        f"{max(lower, float(subject['floor'])):.3g} and {min(float(best['upper']), float(subject['ceiling'])):.3g}"
    )
    K = int(best["negatives"])
    told = "One negative puts" if K == 1 else f"{K:,} negatives put"
    return f"{told} the risk of the mean classifier between {between}; it is {float(subject['supervised']):.3g}"


def _caption(payload: Mapping[str, Any], subject: Row) -> str:
    parts = [data_caption(payload) if payload.get("data") else ""]
    parts += [f"relation {record['text']}" for record in relations_of(payload) if record.get("text")]
    how = "unit rows" if subject.get("normalized") else "rows as they are"
    prior = "uniform prior" if subject.get("prior") == "uniform" else "prior as given"
    parts.append(f"{subject['part']} of {subject['name']}")
    parts.append(f"{subject['n_classes']} classes, {prior}, {how}, b²/T = {float(subject['b2']):.4g}")
    return " · ".join(part for part in parts if part)
