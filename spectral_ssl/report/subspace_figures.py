"""Figures of what is learnt: singular values, embeddings, principal angles; closed form against trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.comparison import align
from spectral_ssl.linalg import svd
from spectral_ssl.report.page import (
    GRID,
    INK,
    SOFT,
    WIDTH,
    dark,
    grid_shape,
    heading,
    key_line,
    key_patch,
    page,
    safe,
    say,
    styled,
    words_at,
)
from spectral_ssl.report.panels import Panel
from spectral_ssl.report.words import ANGLE_TOL, GAP_JUDGED, excess_text, is_judged, number, power

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["angle_figure", "embedding_figure", "spectrum_figure"]

Array = np.ndarray[Any, Any]

MAX_POINTS = 4000  # of a scatter plot: more only make ink
SHORTEST = 1e-16  # a relative excess or an angle below this is drawn here
# Paul Tol's "muted" scheme and a grey, for up to ten classes
CLASS_COLOURS = (
    "#332288", "#88CCEE", "#117733", "#DDCC77", "#CC6677", "#AA4499", "#44AA99", "#999933", "#882255", "#666666",
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------- spectrum


@styled
def spectrum_figure(members: Sequence[Panel], caption: str = "") -> Figure | None:
    """Singular values of each embedding, divided by the largest of its closed form; log where they span decades."""
    drawn = [panel for panel in members if panel.array("singular_trained") is not None]
    if not drawn:
        return None
    values = [_relative_spectra(panel) for panel in drawn]
    positive = np.concatenate([closed[closed > 1e-10] for closed, _ in values if closed is not None] or [np.ones(1)])
    smallest = float(positive.min(initial=1.0))
    logarithmic = smallest < 0.02
    floor = 10.0 ** (math.floor(math.log10(smallest)) - 0.6) if logarithmic else 0.0

    rows, columns = grid_shape(len(drawn))
    legend = [
        ("closed form, before training", key_patch(facecolor="#cccccc", edgecolor="#777777", linewidth=2)),
        ("trained", key_line(color="#444444", marker="o", linestyle="none", markersize=8, markeredgecolor="white")),
    ]
    figure = page(2.75 * rows if rows > 1 else 4.0, _spectrum_headline(drawn, values), caption, legend)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(drawn) :]:
        axes.set_visible(False)
    unique = [trained for panel, (_, trained) in zip(drawn, values, strict=True) if panel.unique]
    common = max([1.0, *(float(trained.max()) for trained in unique)])
    for place, (panel, (closed, trained), axes) in enumerate(zip(drawn, values, grid.flat, strict=False)):
        K = trained.size
        if closed is not None:
            edges = np.arange(closed.size + 1) + 0.5
            steps = np.maximum(closed, floor) if logarithmic else closed
            axes.stairs(steps, edges, baseline=floor, fill=True, color=panel.colour, alpha=0.18, linewidth=0)
            axes.stairs(steps, edges, baseline=None, color=panel.colour, linewidth=2.2)
        size = 9.0 if K <= 16 else 6.5 if K <= 40 else 4.5
        look = {"linestyle": "none", "color": panel.colour, "markersize": size, "markeredgecolor": "white"}
        k = np.arange(1, K + 1)
        shown = trained > floor if logarithmic else np.ones(K, dtype=bool)
        axes.plot(k[shown], trained[shown], marker=panel.marker, clip_on=False, zorder=3, **look)
        if not shown.all():
            axes.plot(k[~shown], np.full(int((~shown).sum()), floor), marker=7, clip_on=False, zorder=3, **look)
        if logarithmic:
            axes.set_yscale("log")
        top = common if panel.unique else max(common, float(trained.max()))
        axes.set_ylim(floor, top * (1.6 if logarithmic else 1.06))
        if top == common and place % columns:
            axes.tick_params(axis="y", labelleft=False)
        axes.set_xlim(0.4, K + 0.6)
        _component_ticks(axes, K)
        heading(axes, panel.label, panel.colour, _spectrum_detail(panel))
        if panel.bound:
            say(axes, "no closed form to compare with", 0.12)
        elif panel.collapsed:
            say(axes, "collapsed: the optimum is Z = 0")
        elif not panel.unique:
            say(axes, "minimum not unique:\nsteps show the one of least norm", 0.2)
        if place % columns == 0:
            axes.set_ylabel("singular value\n(largest predicted = 1)")
        if place + columns >= len(drawn):
            axes.set_xlabel("component")
    return figure


def _relative_spectra(panel: Panel) -> tuple[Array | None, Array]:
    closed, trained = panel.array("singular_closed"), panel.array("singular_trained")
    assert trained is not None
    scale = 0.0 if closed is None or panel.collapsed else float(closed.max())
    if scale == 0:
        Z = panel.array("Z_trained")
        # a collapsed embedding has no size of its own: one column of variance 1 then counts as 1
        scale = math.sqrt(Z.shape[0]) if panel.collapsed and Z is not None else float(trained.max())
    scale = scale or 1.0
    return None if closed is None else closed / scale, trained / scale


def _spectrum_headline(drawn: Sequence[Panel], values: Sequence[tuple[Array | None, Array]]) -> str:
    distances = [
        float(np.abs(closed - trained).max())
        for panel, (closed, trained) in zip(drawn, values, strict=True)
        if closed is not None and panel.unique and closed.size == trained.size
    ]
    if distances and max(distances) < 1e-3:
        return "Training arrives at the singular values that the closed form predicts"
    return "Singular values: predicted by the closed form, and trained"


def _spectrum_detail(panel: Panel) -> str:
    closed, trained, gap = panel.row.get("rank_closed"), panel.row.get("rank_trained"), panel.value("gap")
    K = panel.row.get("n_components")
    parts = []
    if closed is not None:
        parts.append(f"rank {closed}" + (f" of {K}" if K is not None else ""))
        parts += [f"trained {trained}"] if trained is not None and trained != closed else []
    elif trained is not None:
        parts.append(f"rank {trained} trained")
    parts += [f"gap {number(gap, 2)}"] if gap is not None else []
    parts += ["not converged"] if panel.row.get("converged") is False else []
    return " · ".join(parts)


def _component_ticks(axes: Axes, K: int) -> None:
    step = next((s for s in (1, 2, 4, 5, 8, 16, 32, 64) if K / s <= 9), math.ceil(K / 8))
    ticks = [1, *range(step, K + 1, step)] if step > 1 else list(range(1, K + 1))
    axes.set_xticks(ticks)
    axes.grid(False, axis="x")


# ------------------------------------------------------------------------------------------------------ embeddings


@styled
def embedding_figure(members: Sequence[Panel], caption: str = "") -> Figure | None:
    """Two panels per method: the closed form in two principal directions, and the trained embedding turned onto it."""
    drawn = [panel for panel in members if panel.array("Z_trained") is not None]
    if not drawn:
        return None
    colouring = _Colouring(drawn)
    rows, columns = grid_shape(len(drawn), most=3)
    width = {1: 9.0}.get(columns, WIDTH)
    panel_width = (width - 0.9 - 0.55 * columns) / (2 * columns)
    headline = "Predicted before training (left), learnt by training (right)"
    if any(panel.references for panel in drawn):
        headline = "The best of all embeddings (left), the network's (right)"
    caption += " · coloured by label" if colouring.classes else ""
    caption = (
        f"{caption} · two principal directions of the closed form; the trained embedding turned and scaled onto it"
    )
    figure = page(rows * (panel_width + 1.05), headline, caption, colouring.legend(), width)
    widths = [w for column in range(columns) for w in ([0.1] if column else []) + [1, 1]]
    grid = figure.add_gridspec(rows, len(widths), width_ratios=widths)
    last: Any = None
    for place, panel in enumerate(drawn):
        row, column = divmod(place, columns)
        pair = [figure.add_subplot(grid[row, 3 * column + side]) for side in (0, 1)]
        reference, moved = _projected(panel)
        limit = max(1e-12, *(float(np.abs(points).max()) for points in (reference, moved) if points is not None))
        shown = _sample(next(points for points in (moved, reference) if points is not None).shape[0])
        for axes, points, side in zip(pair, (reference, moved), ("closed form", "trained"), strict=True):
            axes.set(xlim=(-1.06 * limit, 1.06 * limit), ylim=(-1.06 * limit, 1.06 * limit), aspect="equal")
            axes.set(xticks=[], yticks=[])
            axes.spines[["top", "right"]].set_visible(True)
            axes.set_xlabel(f"{side}, unit rows" if side == "trained" and _on_sphere(panel) else side, labelpad=4)
            if points is not None and not (side == "closed form" and panel.collapsed):
                last = colouring.scatter(axes, panel, points, shown) or last
        if panel.bound:
            say(pair[0], "no closed form,\na lower bound only")
        elif panel.collapsed:
            say(pair[0], "collapsed:\nthe optimum is Z = 0")
        elif reference is None:
            say(pair[0], "not recorded")
        heading(pair[0], panel.label, panel.colour, _embedding_detail(panel), wide=True)
    if colouring.continuous and last is not None:
        figure.colorbar(last, ax=figure.axes, label="target y", shrink=0.7, aspect=30, pad=0.01)
    return figure


def _embedding_detail(panel: Panel) -> str:
    angle, excess = panel.value("max_angle"), panel.value("relative_excess")
    parts = []
    if not (panel.unique or panel.bound):
        parts.append("minimum not unique")
    if angle is not None:
        why = "to the optimum over all" if panel.references else "certified" if panel.certified else "gap closed"
        parts.append(f"max angle {number(angle, 2)} rad" + ("" if is_judged(panel.row) else f" ({why})"))
    if excess is not None:
        parts.append(f"{excess:.2f} above its bound (collapsed: 1)" if panel.bound else f"excess {excess_text(excess)}")
    return " · ".join(parts)


def _projected(panel: Panel) -> tuple[Array | None, Array]:
    """Closed form and trained embedding (N, 2) each, in the closed form's first two principal directions."""
    closed, trained = panel.array("Z_closed"), panel.array("Z_trained")
    assert trained is not None
    usable = closed is not None and closed.shape[0] == trained.shape[0] and not panel.collapsed
    if _on_sphere(panel):
        trained = trained / np.maximum(np.sqrt((trained**2).sum(axis=1, keepdims=True)), 1e-300)
    reference = closed if usable and closed is not None else trained
    centred = reference - reference.mean(axis=0)
    V = svd(centred)[2][:2].T
    moved = align(trained, reference) if usable else (trained - trained.mean(axis=0))
    both = [_two_columns(points @ V) for points in (centred, moved)]
    return both[0] if usable else None, both[1]


def _on_sphere(panel: Panel) -> bool:
    """Whether the loss sees directions only, so that the lengths of the rows mean nothing."""
    return panel.bound and (panel.row.get("hyper") or {}).get("similarity") == "cosine"


def _two_columns(points: Array) -> Array:
    """A single direction is spread out sideways, the same way for both panels."""
    if points.shape[1] > 1:
        return points
    spread = np.random.default_rng(0).uniform(-0.5, 0.5, points.shape[0]) * float(np.abs(points).max(initial=0.0))
    return np.column_stack([points[:, 0], spread])


def _sample(n: int) -> Array:
    """Rows in a random order, so that no class hides another; not more than can be seen."""
    return np.random.default_rng(0).permutation(n)[:MAX_POINTS]


class _Colouring:
    """Points by class, by target, or all in the method's colour; the same over all panels of a figure."""

    def __init__(self, drawn: Sequence[Panel]) -> None:
        self.labels = [y for panel in drawn if (y := panel.arrays.get("y")) is not None and y.size]
        self.continuous = bool(self.labels) and all(y.dtype.kind == "f" for y in self.labels)
        self.classes: list[Any] = []
        self.limits = (0.0, 1.0)
        if self.continuous:
            known = np.concatenate([y[np.isfinite(y)] for y in self.labels])
            self.limits = (float(known.min()), float(known.max())) if known.size else self.limits
        elif self.labels:
            self.classes = [c for c in np.unique(np.concatenate(self.labels)).tolist() if c != -1]  # -1: no label
        names = next((n for panel in drawn if (n := panel.arrays.get("classes")) is not None), None)
        # y holds codes 0 .. C - 1; their names, where the run kept them, stand in the legend
        self.names = [str(c if names is None or c >= len(names) else names[c]) for c in self.classes]

    def colours(self) -> list[Any]:
        if len(self.classes) <= len(CLASS_COLOURS):
            return list(CLASS_COLOURS[: len(self.classes)])
        import matplotlib

        return list(matplotlib.colormaps["turbo"](np.linspace(0.03, 0.97, len(self.classes))))

    def legend(self) -> list[tuple[str, Artist]]:
        if not 0 < len(self.classes) <= 24:
            return []
        return [
            (name, key_line(color=colour, marker="o", linestyle="none", markersize=8))
            for name, colour in zip(self.names, self.colours(), strict=True)
        ]

    def scatter(self, axes: Axes, panel: Panel, points: Array, shown: Array) -> Any:
        """The points; the colour map's handle where the colours are continuous."""
        size = float(np.clip(9000 / max(shown.size, 1), 3, 30))
        x, z = points[shown].T
        y = panel.arrays.get("y")
        look: dict[str, Any] = {"color": panel.colour}
        labelled = y is not None and y.shape[0] == points.shape[0]
        if y is not None and labelled and self.continuous:
            low, high = self.limits
            from matplotlib import colormaps

            viridis = colormaps["viridis"].with_extremes(bad="#cccccc")  # no target known
            look = {"c": y[shown], "cmap": viridis, "vmin": low, "vmax": high, "plotnonfinite": True}
        elif y is not None and labelled and self.classes:
            colour = dict(zip(self.classes, self.colours(), strict=True))
            look = {"color": [colour.get(c, "#cccccc") for c in y[shown].tolist()]}
        found = axes.scatter(x, z, s=size, linewidths=0, alpha=0.85, rasterized=True, **look)
        return found if "c" in look else None


# ---------------------------------------------------------------------------------------------------------- angles


@styled
def angle_figure(members: Sequence[Panel], caption: str = "") -> Figure | None:
    """Every principal angle of every method on a log axis; hollow where a closed gap leaves the subspace open."""
    angles = [panel.array("angles") if panel.value("max_angle") is not None else None for panel in members]
    if not any(a is not None for a in angles):
        return None
    legend = [
        ("judged: eigenvalue gap open", key_line(color="#444444", marker="o", linestyle="none", markersize=9)),
        (
            f"not judged: gap below {power(GAP_JUDGED)}, or no exact optimum of this model",
            key_line(
                color="#444444", marker="o", linestyle="none", markersize=8, fillstyle="none", markeredgewidth=1.6
            ),
        ),
    ]
    figure = page(1.0 + 0.62 * len(members), _angle_headline(members), caption, legend)
    axes = figure.subplots()
    positive = np.concatenate([a[a > SHORTEST] for a in angles if a is not None] or [np.ones(1)])
    low = 10.0 ** math.floor(math.log10(min(float(positive.min(initial=1e-9)), 1e-9)) - 0.3)
    axes.set_xscale("log")
    axes.set_xlim(low, 3.2)
    axes.axvspan(low, ANGLE_TOL, color="#f1f5f1", zorder=0, linewidth=0)
    axes.axvline(ANGLE_TOL, color=INK, linewidth=1.4, linestyle="--")
    axes.axvline(math.pi / 2, color=SOFT, linewidth=1.0, linestyle=":")
    for x, text in ((ANGLE_TOL, f"same subspace: below {power(ANGLE_TOL)}"), (math.pi / 2, "orthogonal: π/2")):
        words_at(axes, text, (x, 1), (2, 5), x="data", ha="right", make_room=True)
    for place, (panel, found) in enumerate(zip(members, angles, strict=True)):
        y = len(members) - 1 - place
        axes.axhline(y, color=GRID, linewidth=1.0, zorder=0)
        if found is not None:
            judged = is_judged(panel.row)
            face = panel.colour if judged else "white"
            axes.plot(
                np.maximum(found, low),
                np.full(found.size, float(y)),
                linestyle="none",
                marker=panel.marker,
                markersize=10,
                markerfacecolor=face,
                markeredgecolor="white" if judged else panel.colour,
                markeredgewidth=0.8 if judged else 1.6,
                alpha=0.9,
                clip_on=False,
                zorder=3,
            )
        words_at(axes, _angle_detail(panel, found), (1, y), (12, 0), y="data", va="center", make_room=True)
    axes.set_yticks(range(len(members)), [safe(panel.label) for panel in reversed(members)], size=13, weight="bold")
    for tick, panel in zip(axes.get_yticklabels(), reversed(members), strict=True):
        tick.set_color(dark(panel.colour))
    axes.set_ylim(-0.6, len(members) - 0.4)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("principal angle between predicted and trained subspace (radians)")
    return figure


def _angle_headline(members: Sequence[Panel]) -> str:
    if any(panel.references for panel in members):
        return "How far a network's subspace is from that of the least loss over all embeddings"
    judged = [panel for panel in members if is_judged(panel.row)]
    near = [panel for panel in judged if float(panel.row["max_angle"]) <= ANGLE_TOL]
    if judged and len(near) == len(judged):
        return "Training finds the predicted subspace, direction by direction"
    if judged:
        return f"{len(near)} of {len(judged)} judged methods trained to the predicted subspace"
    return "Principal angles between the predicted and the trained subspace"


def _angle_detail(panel: Panel, angles: Array | None) -> str:
    if panel.bound:
        return "no closed form"
    if panel.collapsed:
        return "collapsed, no subspace"
    gap = panel.value("gap")
    if angles is None:
        return "minimum on a continuum" if not panel.unique else "not recorded"
    text = f"largest {number(float(angles.max()), 2)}"
    return f"{text} · gap {number(gap, 2)}" if gap is not None else f"{text} · all directions"
