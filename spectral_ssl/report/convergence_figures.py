"""Figures of `converge`: how the loss falls, over the fits and under the envelopes, and what width does to a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.page import SOFT, dark, grid_shape, heading, key_line, page, say, styled, words_at
from spectral_ssl.report.panels import data_caption
from spectral_ssl.report.words import as_list

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["convergence_figures"]

Row = Mapping[str, Any]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#332288")  # by width, ascending
MARKERS = "oD^vPs"
TITLES = {
    "logistic": "logistic loss",
    "squared": "loss of squared margins",
    "pool": "logistic loss with collisions",
    "unit": "logistic loss of unit outputs",
}
POWER = "t^"
LINEAR = "e^"  # a rate that is told so is linear, and drawn over linear steps
FIT: dict[str, Any] = {"linestyle": (0, (1, 1)), "linewidth": 4.5, "alpha": 0.55}
ENVELOPE: dict[str, Any] = {"linestyle": (0, (5, 2)), "linewidth": 1.5}
GRADIENT: dict[str, Any] = {"linestyle": (0, (1, 2)), "linewidth": 1.5}


def convergence_figures(payload: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The figures that a run has the numbers for."""
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping) and "slug" in row]
    drawn = [row for row in as_list(payload.get("figure_rows")) if isinstance(row, Mapping)]
    if rows and drawn:
        yield "excess", excess_figure(rows, drawn, payload)
    if len({row["width"] for row in rows}) > 1:
        yield "widths", width_figure(rows, payload)


@styled
def excess_figure(rows: Sequence[Row], drawn: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """What is left of the loss above its infimum, a panel for each loss; the axes are those on which it is straight."""
    cases = list(dict.fromkeys(str(row["loss"]) for row in rows))
    looks = _looks(rows)
    legend: list[tuple[str, Artist]] = [
        (f"width {width}", key_line(color=looks[width][0], linewidth=2.6)) for width in looks
    ]
    legend += [
        ("fitted over the last decade", key_line(color=SOFT, **FIT)),
        ("envelope by the margin kernel", key_line(color=SOFT, **ENVELOPE)),
        ("envelope by the least |grad|²", key_line(color=SOFT, **GRADIENT)),
    ]
    n_rows, n_columns = grid_shape(len(cases), most=2)
    figure = page(4.9 if n_rows == 1 else 3.9 * n_rows, _headline(rows, cases), _caption(payload), legend)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for case, axes in zip(cases, grid.flat, strict=False):
        mine = [row for row in rows if row["loss"] == case]
        linear = _linear(mine)
        for row in mine:
            _draw(axes, [d for d in drawn if (d["loss"], d["width"]) == (case, row["width"])], looks[row["width"]][0])
        axes.set_yscale("log")
        axes.set_xscale("linear" if linear else "log")
        heading(axes, TITLES.get(case, case), "#222222", _detail(mine))
        axes.set_xlabel("steps of gradient descent")
        if all(row.get("envelope") is None for row in mine):
            words_at(axes, "the margin kernel is singular: no envelope by it", (0.02, 0.03), va="bottom")
    for row_of in grid:
        row_of[0].set_ylabel("loss above its infimum")
    for axes in grid.flat[len(cases) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, drawn: Sequence[Row], colour: str) -> None:
    t, E = _column(drawn, "step"), _column(drawn, "excess")
    E = np.where(E > 0, E, np.nan)
    for name, look in (("fit", FIT), ("kernel_envelope", ENVELOPE), ("gradient_envelope", GRADIENT)):
        y = _column(drawn, name)
        if np.isfinite(y).any():
            axes.plot(t, np.where(y > 0, y, np.nan), color=colour, zorder=2, **look)
    axes.plot(t, E, color=colour, linewidth=2.4, zorder=3)


def _headline(rows: Sequence[Row], cases: Sequence[str]) -> str:
    """What most widths of each loss follow."""
    found: dict[str, list[str]] = {}
    for case in cases:
        mine = [row for row in rows if row["loss"] == case]
        rates = [str(row.get("rate") or "") for row in mine]
        named = sum(rate.startswith((LINEAR, POWER)) for rate in rates)
        if 2 * named > len(rates):
            found.setdefault("at a linear rate" if _linear(mine) else "by a power law", []).append(
                TITLES.get(case, case)
            )
    said = ", ".join(
        f"{' and '.join(names)} {'falls' if len(names) == 1 else 'fall'} {law}" for law, names in found.items()
    )
    return f"Gradient descent: {said}" if said else "How gradient descent brings the loss down"


def _linear(rows: Sequence[Row]) -> bool:
    rates = [str(row.get("rate") or "") for row in rows]
    return sum(rate.startswith(LINEAR) for rate in rates) > sum(rate.startswith(POWER) for rate in rates)


def _detail(rows: Sequence[Row]) -> str:
    told = [str(row["rate"]) for row in rows if row.get("rate")]
    key = "r2_linear" if _linear(rows) else "r2_power"
    values = [row[key] for row in rows if row.get(key) is not None]
    least = f", R² at least {min(values):.4f}" if values else ""
    return f"{', '.join(dict.fromkeys(told))}{least}"


@styled
def width_figure(rows: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """The least eigenvalue of the margin kernel and the motion of weights, over the width."""
    cases = list(dict.fromkeys(str(row["loss"]) for row in rows))
    looks = {case: (COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]) for k, case in enumerate(cases)}
    legend: list[tuple[str, Artist]] = [
        (TITLES.get(case, case), key_line(color=looks[case][0], marker=looks[case][1], markersize=8)) for case in cases
    ]
    legend.append(("limit sqrt(2 Σ η (L₀ - L)) / |W₀|", key_line(color=SOFT, **ENVELOPE)))
    figure = page(4.4, "Wider encoders: a better margin kernel, and weights that stay near their start",
                  _caption(payload), legend)  # fmt: skip
    left, right = figure.subplots(1, 2)
    for case in cases:
        mine = sorted((row for row in rows if row["loss"] == case), key=lambda row: row["width"])
        x = _column(mine, "width")
        colour, marker = looks[case]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 8, "markeredgecolor": "white"}
        lam = _column(mine, "lambda_min")
        top = _column(mine, "lambda_max")
        lam = np.where(lam > 1e-12 * top, lam, np.nan)  # a singular kernel has no place on a log axis
        if np.isfinite(lam).any():
            left.plot(x, lam, **look)
        else:
            words_at(left, f"{TITLES.get(case, case)}: singular", (0.03, 0.95), va="top", color=dark(colour))
        right.plot(x, _column(mine, "motion"), **look)
        right.plot(x, _column(mine, "motion_limit"), color=colour, **ENVELOPE)
    if not left.lines:
        say(left, "no margin kernel was measured, or all are singular")
    for axes, title, label in (
        (left, "margin kernel", "least eigenvalue along the run"),
        (right, "weights", "|W - W₀| / |W₀|, largest along the run"),
    ):
        axes.set_xscale("log")
        axes.set_yscale("log")
        widths = sorted({row["width"] for row in rows})
        axes.set_xticks(widths, [f"{width:,}" for width in widths])
        axes.minorticks_off()
        axes.set_xlabel("width of the hidden layers")
        axes.set_ylabel(label)
        axes.set_title(title, weight="bold")
    return figure


# ----------------------------------------------------------------------------------------------------- parts of axes


def _looks(rows: Sequence[Row]) -> dict[int, tuple[str, str]]:
    widths = sorted({int(row["width"]) for row in rows})
    return {w: (COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]) for k, w in enumerate(widths)}


def _column(rows: Sequence[Row], key: str) -> Any:
    return np.array([np.nan if row.get(key) is None else float(row[key]) for row in rows])


def _caption(payload: Mapping[str, Any]) -> str:
    parts = [data_caption(payload) if payload.get("data") else "", str(payload.get("setting") or "")]
    return " · ".join(part for part in parts if part)
