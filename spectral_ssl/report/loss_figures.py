"""Figures of how training went: the loss beside its attainable minimum, what is left above it, what monitors saw."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.page import INK, SOFT, along, grid_shape, heading, key_line, key_patch, page, styled, words_at
from spectral_ssl.report.panels import Panel
from spectral_ssl.report.words import EXCESS_TOL, REFERENCES, excess_text, number, reference_losses

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["convergence_figure", "loss_figure", "monitor_figure"]

Array = np.ndarray[Any, Any]

SHORTEST = 1e-16  # a relative excess or an angle below this is drawn here
ROUNDING = 1e-14  # of the loss: training takes smaller differences for noise too
# one for each reference, and the proof under a certified optimum
LINES: dict[str, Any] = {"free": "--", "kernel": "-.", "linear": (0, (9, 2.5)), "proof": (0, (1, 1))}
VISIBLE = 0.02  # of the way to collapse: nearer lines are one
LABEL = 0.085  # of the height of an axes: words along a line
MEASURES = {
    "relative_excess": "excess loss (collapsed = 1)",
    "max_angle": "largest angle (radians)",
    "spectrum_drift": "distance of the spectra",
    "effective_rank": "effective rank",
    "knn": "kNN accuracy",
}
LOGARITHMIC = ("relative_excess", "max_angle", "spectrum_drift")


# ------------------------------------------------------------------------------------------------------------ loss


@styled
def loss_figure(members: Sequence[Panel], caption: str = "") -> Figure | None:
    """The loss in its own units, per method, and the attainable minimum: "my loss is 10,000, is that normal?".

    Of minibatch training the losses of batches are shown faintly, and the loss over the whole relation where a monitor
    looked. Beside a network's loss stand the least over all embeddings, kernel maps and linear maps; of several seeds,
    the band from the lowest to the highest.
    """
    drawn = [panel for panel in members if panel.array("losses") is not None]
    if not drawn:
        return None
    rows, columns = grid_shape(len(drawn))
    figure = page(2.9 * rows if rows > 1 else 4.2, _loss_headline(drawn), caption, _loss_legend(drawn))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(drawn) :]:
        axes.set_visible(False)
    for place, (panel, axes) in enumerate(zip(drawn, grid.flat, strict=False)):
        losses = panel.arrays["losses"]
        steps, followed = _followed(panel)
        axes.plot(np.arange(1, losses.size + 1), losses, color=panel.colour, linewidth=0.9, alpha=0.4, gid="losses")
        band = _seed_band(panel)
        if band is not None:
            axes.fill_between(*band, color=panel.colour, alpha=0.2, linewidth=0, gid="seeds")
        look = {"marker": "o"} if followed.size == 1 else {}
        axes.plot(steps, followed, color=panel.colour, linewidth=2.6, gid="best", **look)
        levels = _levels(panel)
        known = [*levels.values(), float(followed[0]), float(followed[-1])]
        bottom, top = min(known), max(known)
        span = (top - bottom) or max(abs(top), 1.0)
        crowded = _crowded(levels, bottom - 0.2 * span, top + 0.2 * span)
        axes.set_ylim(bottom - (0.2 + LABEL * 1.6 * (len(levels) - 1) * crowded) * span, top + 0.2 * span)
        axes.yaxis.set_major_formatter("{x:,.6g}")
        axes.set_xscale("log")
        axes.set_xlim(0.9, max(11.0, losses.size * 1.15))
        _draw_levels(axes, panel, levels, crowded)
        heading(axes, panel.label, panel.colour, _loss_detail(panel))
        if place % columns == 0:
            axes.set_ylabel("loss")
        if place + columns >= len(drawn):
            axes.set_xlabel("steps" if panel.on_batches else "evaluations of the loss")
    return figure


def _loss_legend(drawn: Sequence[Panel]) -> list[tuple[str, Artist]]:
    batches = any(panel.on_batches for panel in drawn)
    compared = any(panel.references for panel in drawn)
    legend = []
    if not all(panel.on_batches for panel in drawn):
        legend += [
            ("loss, best so far", key_line(color="#444444", linewidth=2.4)),
            ("every evaluation", key_line(color="#444444", linewidth=1.0, alpha=0.4)),
        ]
    if batches:
        legend += [
            ("loss over the whole relation", key_line(color="#444444", linewidth=2.4)),
            ("losses of batches", key_line(color="#444444", linewidth=1.0, alpha=0.4)),
        ]
    if any(_seed_band(panel) is not None for panel in drawn):
        legend.append(("lowest to highest of the seeds", key_patch(color="#444444", alpha=0.2, linewidth=0)))
    if compared:
        legend += [
            (f"least over {words}", key_line(color=INK, linestyle=LINES[name], linewidth=1.6))
            for name, words in REFERENCES.items()
            if any(name in reference_losses(panel.row) for panel in drawn)
        ]
    else:
        legend.append(("attainable minimum, known before training", key_line(color=INK, linestyle="--", linewidth=1.6)))
    if any("proof" in _levels(panel) for panel in drawn):
        legend.append(("proven lower bound", key_line(color=INK, linestyle=LINES["proof"], linewidth=1.4)))
    return [*legend, ("loss of a collapsed embedding", key_line(color=SOFT, linestyle=":", linewidth=1.4))]


def _followed(panel: Panel) -> tuple[Array, Array]:
    """Steps, and the loss over the whole relation there: the best so far, or where a monitor looked at minibatches."""
    losses = panel.arrays["losses"]
    if not panel.on_batches:
        return np.arange(1, losses.size + 1), np.minimum.accumulate(losses)
    steps, seen = panel.array("monitor_step"), panel.array("monitor_loss")
    if steps is not None and seen is not None:
        return np.maximum(steps, 1), seen
    trained = panel.value("loss_trained")
    return np.array([losses.size]), np.array([losses[-1] if trained is None else trained])


def _levels(panel: Panel) -> dict[str, float]:
    """What is drawn as horizontal lines: the references of a network or the attainable minimum, and collapse."""
    found = reference_losses(panel.row) if panel.references else {}
    floor, collapse = _floor(panel), panel.value("collapse_loss")
    if "free" not in found and floor is not None:
        found = {"free": floor, **found}
    proof = panel.value("lower_bound")
    if panel.certified and floor is not None and proof is not None and floor - proof > VISIBLE * _span(panel, floor):
        found["proof"] = proof
    return found if collapse is None else {**found, "collapse": collapse}


def _crowded(levels: dict[str, float], bottom: float, top: float) -> bool:
    """Whether references lie too close together for each to have its words beside it."""
    inside = sorted((value - bottom) / (top - bottom) for name, value in levels.items() if name != "collapse")
    return any(b - a < LABEL for a, b in itertools.pairwise(inside))


def _draw_levels(axes: Axes, panel: Panel, levels: dict[str, float], crowded: bool) -> None:
    """Lines with words beside them; crowded: those of the references in a stack under the lowest, in their order."""
    least = "lower bound" if panel.bound else "best known" if panel.certified else "minimum"
    words = {
        "free": f"all embeddings, {least}" if panel.references else least,
        "collapse": "collapsed",
        "proof": "proven bound",
    }
    words |= {name: text for name, text in REFERENCES.items() if name != "free"}
    bottom, top = axes.get_ylim()
    sides = _sides({name: (value - bottom) / (top - bottom) for name, value in levels.items()})
    stacked = sorted((name for name in levels if name != "collapse"), key=lambda name: -levels[name]) if crowded else []
    for name, value in sorted(levels.items(), key=lambda item: -item[1]):
        main = name == "free"
        style = {"linestyle": LINES.get(name, ":"), "linewidth": 1.6 if name in REFERENCES else 1.4}
        axes.axhline(value, color=SOFT if name == "collapse" else INK, gid="minimum" if main else name, **style)
        look: dict[str, Any] = {"color": SOFT if name == "collapse" else INK} | ({"weight": "bold"} if main else {})
        text = f"{words[name]} {_minus(value)}"
        if name in stacked:
            shift = -4 - 14.0 * stacked.index(name)
            words_at(axes, text, (0, min(levels.values())), (5, shift), y="data", ha="left", va="top", **look)
        else:
            along(axes, text, value, sides[name], **look)


def _sides(heights: dict[str, float]) -> dict[str, str]:
    """Where the words of each line go, so that none lie on each other; heights: of the lines, in the axes."""
    wishes = {"collapse": ["right above", "left above", "right below"]}
    usual = {"free": ["left below", "left above", "right below"]}
    taken: list[tuple[str, float, float]] = []
    found: dict[str, str] = {}
    for name, height in sorted(heights.items(), key=lambda item: (item[0] not in ("free", "collapse"), item[1])):
        options = {**wishes, **usual}.get(name, ["left above", "right above", "right below", "left below"])
        places = []
        for side in options:
            low = height if side.endswith("above") else height - LABEL
            half = side.split()[0]
            overlap = sum(
                max(0.0, min(low + LABEL, top) - max(low, bottom)) for other, bottom, top in taken if other == half
            )
            # a line through the words is as bad as other words
            overlap += LABEL * sum(low < line < low + LABEL for other, line in heights.items() if other != name)
            places.append((overlap, options.index(side), side, half, low))
        _, _, side, half, low = min(places)
        taken.append((half, low, low + LABEL))
        found[name] = side
    return found


def _minus(value: float) -> str:
    return number(value).replace("-", "\N{MINUS SIGN}")


def _floor(panel: Panel) -> float | None:
    """The attainable minimum, or the lower bound where that is all there is."""
    return panel.value("lower_bound" if panel.bound else "loss_closed")


def _loss_headline(drawn: Sequence[Panel]) -> str:
    if any(panel.references for panel in drawn):
        return "A network's loss, beside the least over all embeddings and over simpler maps"
    exact = [panel for panel in drawn if not panel.bound]
    excess = [panel.value("relative_excess") for panel in exact]
    if exact and all(e is not None and e <= EXCESS_TOL for e in excess):
        return "Is that loss normal? It stops at its attainable minimum, known before training"
    return "Training loss, and the minimum it cannot get below"


def _loss_detail(panel: Panel) -> str:
    n, excess = panel.arrays["losses"].size, panel.value("relative_excess")
    text = f"{number(int(n))} {'step' if panel.on_batches else 'evaluation'}{'s' * (n > 1)}"
    if panel.bound and (above := panel.value("excess")) is not None:
        return f"{number(above, 4)} above its bound · {text}"
    return text if excess is None or panel.bound else f"relative excess {excess_text(excess)} · {text}"


# ----------------------------------------------------------------------------------------------------- convergence


@styled
def convergence_figure(members: Sequence[Panel], caption: str = "") -> Figure | None:
    """Best loss so far minus the attainable minimum, as a share of the way from collapse, on log-log axes.

    Of minibatch training the loss over the whole relation, where a monitor looked.
    """
    drawn = [(panel, curve) for panel in members if (curve := _excess_curve(panel)) is not None]
    if not drawn:
        return None
    legend = [
        (
            panel.label + (" (above its bound)" if panel.bound else ""),
            key_line(color=panel.colour, marker=panel.marker, markersize=8, linestyle="--" if panel.bound else "-"),
        )
        for panel, _ in drawn
    ]
    figure = page(4.9, "How far above the attainable minimum: excess loss during training", caption, legend)
    axes = figure.subplots()
    for panel, (steps, excess) in drawn:
        style = "--" if panel.bound else "-"
        band, floor = _seed_band(panel), _floor(panel)
        if band is not None and floor is not None:
            low, high = (_share(panel, floor, losses) for losses in band[1:])
            axes.fill_between(band[0], low, high, color=panel.colour, alpha=0.18, linewidth=0, zorder=1, gid="seeds")
        axes.plot(steps, excess, color=panel.colour, linestyle=style, zorder=2)
        axes.plot(
            steps[-1:], excess[-1:], color=panel.colour, marker=panel.marker, markersize=11, markeredgecolor="white",
            clip_on=False, zorder=3,
        )  # fmt: skip
    lowest = min(float(excess.min()) for _, (_, excess) in drawn)
    floor_shown = 10.0 ** (math.floor(math.log10(lowest)) - 0.5)
    axes.set(xscale="log", yscale="log", xlim=(0.9, 1.3 * max(float(steps[-1]) for _, (steps, _) in drawn)))
    axes.set_ylim(floor_shown, 3 * max(1.0, max(float(excess[0]) for _, (_, excess) in drawn)))
    if floor_shown < ROUNDING:
        axes.axhspan(floor_shown, ROUNDING, color="#f0f0f0", zorder=0, linewidth=0)
        axes.text(1.0, ROUNDING / 2, "rounding of the loss: nothing left to gain", color=SOFT, size=11, va="top")
    batches = [panel.on_batches for panel, _ in drawn]
    axes.set_xlabel("steps" if all(batches) else "evaluations of the loss" + (", or steps" if any(batches) else ""))
    least = "least over all embeddings" if any(panel.references for panel, _ in drawn) else "attainable minimum"
    axes.set_ylabel(f"excess loss\n(collapsed = 1, {least} = 0)")
    return figure


def _span(panel: Panel, floor: float) -> float:
    """From the attainable minimum to collapse."""
    collapse = panel.value("collapse_loss")
    span = 0.0 if collapse is None else abs(collapse - floor)
    return max(1.0, abs(floor)) if span <= 1e-9 * max(1.0, abs(floor), abs(collapse or 0.0)) else span


def _excess_curve(panel: Panel) -> tuple[Array, Array] | None:
    floor = _floor(panel)
    if panel.array("losses") is None or floor is None:
        return None
    steps, losses = _followed(panel)
    if not panel.on_batches:
        losses = np.minimum.accumulate(losses)
    return steps, _share(panel, floor, losses)


def _share(panel: Panel, floor: float, losses: Array) -> Array:
    """Losses as excess; a value below the minimum is below it by rounding."""
    return np.maximum((losses - floor) / _span(panel, floor), SHORTEST)


def _seed_band(panel: Panel) -> tuple[Array, Array, Array] | None:
    """Steps, and the lowest and the highest loss of several seeds there, the best so far of each."""
    if not panel.on_batches:
        low, high = panel.array("losses_low"), panel.array("losses_high")
        return None if low is None or high is None else (np.arange(1, low.size + 1), low, high)
    runs = panel.seeds("loss")
    if len(runs) < 2 or any(not np.array_equal(steps, runs[0][0]) for steps, _ in runs):
        return None
    low, high = (pick([losses for _, losses in runs], axis=0) for pick in (np.min, np.max))
    return np.maximum(runs[0][0], 1), low, high


# --------------------------------------------------------------------------------------------------------- monitor


@styled
def monitor_figure(members: Sequence[Panel], caption: str = "") -> Figure | None:
    """What was looked at during training, a panel per measure; dashed: where the optimum is, thin: other seeds.

    Angle and distance are to the optimum: of subspaces, and of singular values divided by their norm. kNN accuracy
    leaves a row and its other views out.
    """
    from matplotlib.ticker import NullFormatter

    drawn = [panel for panel in members if panel.array("monitor_step") is not None]
    names = [name for name in MEASURES if any(panel.array(f"monitor_{name}") is not None for panel in drawn)]
    if not names:
        return None
    legend = [
        (panel.label, key_line(color=panel.colour, marker=panel.marker, markersize=8, markeredgecolor="white"))
        for panel in drawn
    ]
    if any((panel.row.get("monitor_closed") or {}).get(name) is not None for panel in drawn for name in names):
        legend.append(("at the optimum", key_line(color="#444444", linestyle="--", linewidth=1.4)))
    if any(panel.seeds(name) for panel in drawn for name in names):
        legend.append(("other seeds", key_line(color="#444444", linewidth=0.8, alpha=0.5)))
    rows, columns = grid_shape(len(names))
    figure = page(
        2.9 * rows if rows > 1 else 4.2, "On the way to the optimum: what training learns when", caption, legend
    )
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for place, (name, axes) in enumerate(zip(names, grid.flat, strict=False)):
        for panel in drawn:
            for at, other in panel.seeds(name):
                axes.plot(np.maximum(at, 1), _shown(name, other), color=panel.colour, linewidth=0.8, alpha=0.5)
            values = panel.array(f"monitor_{name}")
            if values is None:
                continue
            steps = np.maximum(panel.arrays["monitor_step"], 1)
            axes.plot(steps, _shown(name, values), color=panel.colour, linewidth=2.0, gid=f"{panel.label}/{name}")
            end = {"marker": panel.marker, "markersize": 8, "markeredgecolor": "white", "clip_on": False, "zorder": 3}
            axes.plot(steps[-1:], _shown(name, values[-1:]), color=panel.colour, **end)
            level = (panel.row.get("monitor_closed") or {}).get(name)
            if level is not None:
                axes.axhline(level, color=panel.colour, linestyle="--", linewidth=1.2, alpha=0.8, zorder=1)
        axes.set_xscale("log")
        low, high = axes.dataLim.intervaly
        if name in LOGARITHMIC and low < 0.3 * high:
            axes.set_yscale("log")
            if low < 0.1 * high:
                axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(MEASURES[name], size=12, weight="bold")
        if place + columns >= len(names):
            axes.tick_params(axis="x", labelbottom=True)
            axes.set_xlabel("steps" if all(panel.on_batches for panel in drawn) else "evaluations of the loss")
    return figure


def _shown(name: str, values: Array) -> Array:
    return np.maximum(values, SHORTEST) if name in LOGARITHMIC else values
