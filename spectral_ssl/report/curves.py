"""Figures of experiments: every entry of a payload's "curves" becomes one, drawn from its rows alone.

experiments/frame.py says what an entry holds. A line is named at its end; where lines end too near each other for
that, a legend names them. "zero" is drawn and labelled with the payload's zero line: on a log axis it has no place, and
stands below a break at the foot of the axes, where values of zero (or below it by rounding) are drawn hollow.
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.page import INK, SOFT, dark, grid_shape, key_line, page, safe, styled, words_at
from spectral_ssl.report.panels import LOOKS, data_caption
from spectral_ssl.report.words import NAMES, as_list, number, relations_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curve_figure", "curve_figures"]

Row = Mapping[str, Any]
Curve = Mapping[str, Any]

# Okabe and Ito's colours in an order of falling contrast; markers and line ends say the same again
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#777777", "#661100", "#999933")
MARKERS = "oD^vPsh<X>"
SMALLEST = 1e-16  # a value below this is not told from zero
ZERO: dict[str, Any] = {"color": INK, "linewidth": 1.6, "linestyle": "--"}
TEXT = 12.0  # points, of names at the ends of lines
LABEL_WIDTH = 26  # letters in a line of such a name


@dataclass(frozen=True)
class Line:
    """One value of "by", as drawn."""

    key: str
    label: str
    colour: str
    marker: str
    theory: bool


def curve_figures(payload: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Name and figure of every curve that has a point to draw."""
    taken: set[str] = set()
    for place, curve in enumerate(as_list(payload.get("curves")), start=1):
        figure = curve_figure(curve, payload)
        if figure is None:
            continue
        name = re.sub(r"[^\w-]+", "-", str(curve.get("name") or f"curve-{place}")).strip("-")
        while name in taken:
            name += "x"
        taken.add(name)
        yield name, figure


@styled
def curve_figure(curve: Curve, payload: Mapping[str, Any]) -> Figure | None:
    """One curve of an experiment, or None where no row has both its x and its y."""
    rows = _chosen(curve, as_list(payload.get("rows")))
    if not rows:
        return None
    panel = curve.get("panel")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_name(row.get(panel)) if panel else "", []).append(row)
    lines, limits = _lines(curve, rows), _limits(curve, rows)
    below = curve.get("below")
    n_rows, n_columns = grid_shape(len(groups), most=3)
    named_at_ends = len(groups) == 1 and len(lines) > 1 and curve.get("xscale") != "category"
    legend = [] if named_at_ends or len(lines) < 2 else [(line.label, _key(line)) for line in lines]
    zero = _zero_words(curve, payload)
    if amid := bool(zero) and _amid(curve, limits):  # on a line amid the data words would hide them
        legend.append((zero, key_line(**ZERO)))
    height = (4.6 if n_rows == 1 else 3.2 * n_rows) + (1.5 if below else 0.0)
    figure = page(height, str(curve.get("title", "")), _caption(curve, payload), legend)
    if named_at_ends:
        _keep_margin(figure, lines)
    ratios = [h for _ in range(n_rows) for h in ([3.2, 1.0] if below else [1.0])]
    grid = figure.subplots(
        len(ratios), n_columns, squeeze=False, height_ratios=ratios, sharex=curve.get("xscale") != "category"
    )
    step = 2 if below else 1
    for place, (name, members) in enumerate(groups.items()):
        across, down = place % n_columns, place // n_columns
        axes = grid[step * down, across]
        _draw(axes, curve, members, lines, limits)
        last_row = place + n_columns >= len(groups)
        foot = axes
        if below:
            foot = grid[step * down + 1, across]
            merged = {**curve, "zero": None, "band": None, "said": None, "ends": None, "yscale": "linear", **below}
            _draw(foot, merged, members, lines, _limits(merged, rows))
            foot.set_ylabel(safe(str(merged.get("ylabel", ""))) if across == 0 else "")
            axes.tick_params(axis="x", labelbottom=False)
        foot.set_xlabel(safe(str(curve.get("xlabel", ""))) if last_row else "")
        axes.set_ylabel(safe(str(curve.get("ylabel", ""))) if across == 0 else "")
        if name:
            axes.set_title(safe(name), weight="bold")
        if place == 0 and zero and not amid:
            _tell_zero(axes, zero, curve, limits)
    for axes in grid[::step].flat[len(groups) :]:
        axes.set_visible(False)
    if below:
        for axes in grid[1::step].flat[len(groups) :]:
            axes.set_visible(False)
    if named_at_ends:
        figure.draw_without_rendering()  # how high the axes are is known once they are laid out
        _name_ends(grid[0, 0], curve, rows, lines, limits)
    return figure


# ------------------------------------------------------------------------------------------------ what there is to draw


def _chosen(curve: Curve, rows: Sequence[Any]) -> list[Row]:
    """The rows of a curve: those that match its "where" and have an x and a y."""
    where = curve.get("where") or {}
    return [
        row
        for row in rows
        if isinstance(row, Mapping)
        and all(row.get(key) in as_list(value) for key, value in where.items())
        and row.get(curve["x"]) is not None
        and row.get(curve["y"]) is not None
    ]


def _lines(curve: Curve, rows: Sequence[Row]) -> list[Line]:
    """Methods look as they do in every figure; anything else takes the next colour. A prediction shares the colour of
    the line whose name it begins with."""
    theory = set(map(str, as_list(curve.get("theory"))))
    keys = list(dict.fromkeys(str(row.get(curve["by"])) if curve.get("by") else "" for row in rows))
    looks: dict[str, tuple[str, str]] = {}
    taken = {LOOKS[key, ""][0] for key in keys if (key, "") in LOOKS}  # a method's colour is no other line's
    spare = (look for look in zip(PALETTE * 9, MARKERS * 9, strict=True) if look[0] not in taken)
    for key in sorted(keys, key=lambda key: key in theory):
        own = LOOKS.get((key, ""))
        parent = next((other for other in looks if key in theory and key.startswith(other)), None)
        looks[key] = looks[parent] if parent is not None else own or next(spare)
    return [Line(key, _name(key), *looks[key], key in theory) for key in keys]


def _name(key: Any) -> str:
    text = number(key, 3) if isinstance(key, float) else str(key)
    head, comma, tail = text.partition(",")
    return NAMES.get(head, head) + comma + tail


def _caption(curve: Curve, payload: Mapping[str, Any]) -> str:
    parts = [data_caption(payload) if payload.get("data") else ""]
    parts += [f"relation {record['text']}" for record in relations_of(payload) if record.get("text")]
    parts += [str(curve.get("caption") or ""), str(payload.get("setting") or "")]
    return " · ".join(part for part in parts if part)


@dataclass(frozen=True)
class Limits:
    """The range of the y axis; floor: where zero stands on a log axis, None elsewhere."""

    low: float
    high: float
    floor: float | None


def _limits(curve: Curve, rows: Sequence[Row]) -> Limits:
    keys = [curve["y"], *as_list(curve.get("band"))]
    values = [float(row[key]) for row in rows for key in keys if isinstance(row.get(key), int | float)]
    values += [float(v) for v in (curve.get("ends") or {}).values()]
    zero = curve.get("zero")
    if curve.get("yscale") == "log":
        positive = [v for v in values if v > SMALLEST] or [1e-3, 1.0]
        bottom = math.floor(math.log10(min(positive)) * 2 - 0.4) / 2
        top = math.log10(max(positive))
        if zero is None:
            return Limits(10.0**bottom, 10.0 ** (top + 0.15 * max(top - bottom, 0.5)), None)
        room = max(0.06 * (top - bottom), 0.12)
        return Limits(10.0 ** (bottom - 1.6 * room), 10.0 ** (top + 2 * room), 10.0 ** (bottom - room))
    low, high = min([*values, *([zero] if zero is not None else [])]), max([*values, zero or -math.inf])
    span = (high - low) or max(abs(high), 1.0)
    return Limits(low - (0.1 if low < 0 or zero is not None else 0.04) * span, high + 0.1 * span, None)


# --------------------------------------------------------------------------------------------------------------- axes


def _draw(axes: Axes, curve: Curve, rows: Sequence[Row], lines: Sequence[Line], limits: Limits) -> None:
    category = curve.get("xscale") == "category"
    places = _places(curve, rows) if category else {}
    if not category:
        axes.set_xscale(curve.get("xscale", "linear"))
        _ticks(axes, curve, rows)
    axes.set_yscale(curve.get("yscale", "linear"))
    axes.set_ylim(limits.low, limits.high)
    if curve.get("yscale") == "log" and limits.high < 200 * limits.low and limits.floor is None:
        _plain_ticks(axes, limits)
    _draw_zero(axes, curve, limits)
    for order, line in enumerate(lines):
        x, y, low, high = _series(curve, rows, line, places)
        if (
            curve.get("yscale") == "log" and limits.floor is None
        ):  # zero has no place there: exact, where a gap is drawn
            y = np.where(y > SMALLEST, y, np.nan)
        if not np.isfinite(y).any():
            continue
        if category:
            x = x + 0.6 * ((order + 0.5) / len(lines) - 0.5)
        shown = y if limits.floor is None else np.maximum(y, limits.floor)
        if line.theory:
            axes.plot(x, shown, color=line.colour, linestyle=(0, (4, 2)), linewidth=1.8, zorder=3.5)
            continue
        if low is not None and high is not None:
            floor = -math.inf if limits.floor is None else limits.floor
            if category:
                axes.vlines(
                    x, np.maximum(low, floor), np.maximum(high, floor), color=line.colour, linewidth=5, alpha=0.3
                )
            else:
                axes.fill_between(
                    x, np.maximum(low, floor), np.maximum(high, floor), color=line.colour, alpha=0.16, linewidth=0
                )
        at_zero = np.zeros(y.size, dtype=bool) if limits.floor is None else y <= limits.floor
        size = 8.0 if x.size <= 16 else 5.0
        joined = "none" if category else "-"
        axes.plot(x, shown, color=line.colour, linestyle=joined, linewidth=2.2, zorder=3)
        look: dict[str, Any] = {"linestyle": "none", "marker": line.marker, "clip_on": False, "zorder": 4}
        seen = np.isfinite(y)
        full: dict[str, Any] = {"color": line.colour, "markersize": size, "markeredgecolor": "white"}
        hollow: dict[str, Any] = {
            "markerfacecolor": "white",
            "markeredgecolor": line.colour,
            "markersize": size - 1,
            "markeredgewidth": 1.6,
        }
        for chosen, kind in ((seen & ~at_zero, full), (seen & at_zero, hollow)):
            if chosen.any():  # an empty line would still take room in the layout
                axes.plot(x[chosen], shown[chosen], **look, **kind)
        end = (curve.get("ends") or {}).get(line.key)
        if end is not None:
            look = {"marker": ">", "color": line.colour, "markersize": 10, "markeredgecolor": "white"}
            axes.plot([1.0], [end], transform=axes.get_yaxis_transform(), clip_on=False, zorder=5, **look)
    if category:
        axes.set_xticks(list(places.values()), [safe(textwrap.fill(name, 18)) for name in places])
        axes.tick_params(axis="x", labelsize=12, length=0, labelcolor=INK)
        axes.grid(False, axis="x")
        axes.set_xlim(-0.5, len(places) - 0.5)
        for edge in list(places.values())[1:]:
            axes.axvline(edge - 0.5, color="#dddddd", linewidth=1.0, zorder=0)
    for x_value, words in _said(curve):
        axes.axvline(x_value, color=SOFT, linewidth=1.2, linestyle=":", zorder=1)
        words_at(axes, words, (x_value, 1), (4, -4), x="data", va="top")


def _places(curve: Curve, rows: Sequence[Row]) -> dict[str, float]:
    return {name: float(n) for n, name in enumerate(dict.fromkeys(_name(row[curve["x"]]) for row in rows))}


def _series(curve: Curve, rows: Sequence[Row], line: Line, places: Mapping[str, float]) -> Any:
    """x, y and the band of one line, by ascending x."""
    mine = [row for row in rows if (str(row.get(curve["by"])) if curve.get("by") else "") == line.key]
    mine = [row for row in mine if row.get(curve["y"]) is not None]  # the axes below may have fewer
    x = np.array([places[_name(row[curve["x"]])] if places else float(row[curve["x"]]) for row in mine])
    order = np.argsort(x, kind="stable")
    y = np.array([float(row[curve["y"]]) for row in mine])

    def column(key: str) -> np.ndarray[Any, Any]:
        return np.array([float(row[key]) if row.get(key) is not None else np.nan for row in mine])[order]

    band = as_list(curve.get("band"))
    low, high = (column(key) for key in band) if len(band) == 2 else (None, None)
    return x[order], y[order], low, high


def _ticks(axes: Axes, curve: Curve, rows: Sequence[Row]) -> None:
    """On a log axis of few values, those values themselves."""
    values = sorted({float(row[curve["x"]]) for row in rows})
    if curve.get("xscale") != "log":
        whole = all(value == round(value) for value in values)
        if whole and len(values) <= 16:
            axes.set_xticks(values)
        return
    if len(values) <= 8 and all(b / a > 1.25 for a, b in itertools.pairwise(values)):
        axes.set_xticks(values, [number(v, 3) if v != round(v) else f"{v:,.0f}" for v in values])
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")


def _plain_ticks(axes: Axes, limits: Limits) -> None:
    """1, 2, 5, 10, ... on a log axis of two decades or less."""
    decades = range(math.floor(math.log10(limits.low)), math.ceil(math.log10(limits.high)) + 1)
    ticks = [m * 10.0**n for n in decades for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if limits.low <= tick <= limits.high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _said(curve: Curve) -> list[tuple[float, str]]:
    return [(float(value), str(words)) for value, words in (curve.get("said") or {}).items()]


def _draw_zero(axes: Axes, curve: Curve, limits: Limits) -> None:
    zero = curve.get("zero")
    if zero is None:
        return
    if limits.floor is None:
        axes.axhline(zero, **ZERO, zorder=2, gid="zero")
        return
    axes.axhline(limits.floor, **ZERO, zorder=2, gid="zero")
    ticks = [t for t in axes.get_yticks() if limits.floor * 1.3 < t <= limits.high]
    if ticks:
        step = max(1, math.ceil(len(ticks) / 7))
        ticks = ticks[::-step][::-1]
        labels = [rf"$10^{{{round(math.log10(t))}}}$" for t in ticks]
        axes.set_yticks([limits.floor, *ticks], ["0", *labels])
        axes.set_ylim(limits.low, limits.high)
    height = math.sqrt(
        limits.floor * 10.0 ** (math.log10(limits.floor) + 0.5 * (math.log10(limits.floor / limits.low)))
    )
    mark: dict[str, Any] = {
        "color": "#888888",
        "clip_on": False,
        "linewidth": 1.0,
        "transform": axes.get_yaxis_transform(),
    }
    for shift in (1.0, 10.0 ** (0.18 * math.log10(limits.floor / limits.low))):  # the axis is broken here
        axes.plot([-0.008, 0.008], [height * shift, height * shift * 1.0001], zorder=6, **mark)


def _zero_words(curve: Curve, payload: Mapping[str, Any]) -> str:
    words = curve.get("zero_line") or payload.get("zero_line")
    return f"{curve['zero']:g} = {words}" if words and curve.get("zero") is not None else ""


def _amid(curve: Curve, limits: Limits) -> bool:
    """Whether data lie on both sides of the zero line."""
    return limits.floor is None and not 0 <= curve["zero"] - limits.low < 0.15 * (limits.high - limits.low)


def _tell_zero(axes: Axes, words: str, curve: Curve, limits: Limits) -> None:
    zero = curve["zero"]
    at = zero if limits.floor is None else limits.floor
    # under a line at the foot of linear axes there is nothing to hide; elsewhere the words stand on it
    under = limits.floor is None and zero - limits.low < 0.15 * (limits.high - limits.low)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5}
    look: dict[str, Any] = {"va": "top" if under else "bottom", "color": INK, "size": 10.5, "bbox": box}
    words_at(axes, words, (0, at), (6, -4 if under else 3), y="data", **look)


def _keep_margin(figure: Figure, lines: Sequence[Line]) -> None:
    """Room on the right for the names of lines."""
    engine: Any = figure.get_layout_engine()
    left, bottom, width, height = engine.get()["rect"]
    longest = max(len(part) for line in lines for part in _wrapped(line.label).split("\n"))
    inches = 0.62 * TEXT / 72 * longest + 0.55
    engine.set(rect=(left, bottom, width - inches / figure.get_figwidth(), height))


def _wrapped(label: str) -> str:
    return textwrap.fill(label, LABEL_WIDTH)


def _name_ends(axes: Axes, curve: Curve, rows: Sequence[Row], lines: Sequence[Line], limits: Limits) -> None:
    """The name of each line right of its end, moved apart where they would overlap."""
    ends = []
    for line in lines:
        x, y, _, _ = _series(curve, rows, line, {})
        if x.size:
            last = (curve.get("ends") or {}).get(line.key, y[-1])
            shown = last if limits.floor is None else max(last, limits.floor)
            ends.append((_fraction(shown, curve, limits), line))
    ends.sort(key=lambda item: item[0])
    # a line of text as a share of the axes' height; between two names a part of one is left free
    one = 1.2 * TEXT / 72 * axes.figure.dpi / axes.get_window_extent().height
    sizes = [one * (1.4 + _wrapped(line.label).count("\n")) for _, line in ends]
    heights = [end for end, _ in ends]
    for _ in range(300):  # push neighbours apart, and all back above the axis
        for k in range(len(heights) - 1):
            short = (sizes[k] + sizes[k + 1]) / 2 - (heights[k + 1] - heights[k])
            if short > 1e-9:
                heights[k] -= short / 2
                heights[k + 1] += short / 2
        heights[0] = max(heights[0], sizes[0] / 2)
        heights[-1] = min(heights[-1], 1.0)
    for height, (end, line) in zip(heights, ends, strict=True):
        words = axes.annotate(
            safe(_wrapped(line.label)), (1.0, end), (1.04, height), xycoords="axes fraction",
            textcoords="axes fraction", color=dark(line.colour), size=TEXT, va="center", ha="left",
            weight="normal" if line.theory else "bold", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.colour, "linewidth": 0.9, "alpha": 0.6,
                        "shrinkA": 1, "shrinkB": 6},
        )  # fmt: skip
        words.set_in_layout(False)


def _fraction(value: float, curve: Curve, limits: Limits) -> float:
    if curve.get("yscale") == "log":
        low, high = math.log10(limits.low), math.log10(limits.high)
        return (math.log10(max(value, limits.low)) - low) / (high - low)
    return (value - limits.low) / (limits.high - limits.low)


def _key(line: Line) -> Any:
    if line.theory:
        return key_line(color=line.colour, linestyle=(0, (4, 2)), linewidth=1.8)
    return key_line(color=line.colour, marker=line.marker, markersize=9, markeredgecolor="white")
