"""Figures of `path`: directions and their staircase, accuracy over errors, and the filters of all methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.page import INK, SOFT, key_line, key_patch, page, styled, words_at
from spectral_ssl.report.panels import data_caption
from spectral_ssl.report.words import as_list, relations_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["path_figures"]

Row = Mapping[str, Any]

SYMBOLS = {"invariance": "invariance γ", "redundancy": "redundancy λ"}
LEAST_SQUARES, LOGISTIC, D1, D5 = "#0072B2", "#D55E00", "#CC79A7", "#009E73"
ALIKE: dict[str, Any] = {"facecolor": "#e8e8e8", "linewidth": 0}
MET: dict[str, Any] = {"color": "#444444", "linewidth": 1.6, "linestyle": ":"}
NAMED = 8  # directions drawn at most
FILTERS = {  # colour, line, width
    "eigenmaps": ("#222222", "-", 1.8),
    "vicreg": ("#0072B2", "-", 2.4),
    "frobenius": ("#D55E00", "-", 2.4),
    "barlow": ("#CC79A7", "-", 2.4),
}


def path_figures(payload: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The figures that a path has the numbers for."""
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    if len(rows) > 1:
        yield "shares", shares_figure(rows, payload)
        if any(row.get("predicted") is not None for row in rows):
            yield "accuracy", accuracy_figure(rows, payload)
    if payload.get("filters"):
        yield "filters", filter_figure(payload)


@styled
def shares_figure(rows: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """Variance along every eigenvector, over the staircase of ranks."""
    from matplotlib import colormaps

    x, shares = _column(rows, payload["parameter"]), np.array([row["shares"] for row in rows], dtype=float)
    R = shares.shape[1]
    drawn = np.unique(np.linspace(0, R - 1, min(R, NAMED)).astype(int)).tolist()
    colours = {k: colormaps["viridis"](0.92 * k / max(R - 1, 1)) for k in drawn}
    legend = [
        (f"direction {k + 1}" if place == 0 else f"{k + 1}", key_line(color=colours[k], linewidth=3))
        for place, k in enumerate(drawn)
    ]
    legend += _met_key(payload, x)
    fate = "directions die one by one" if payload["parameter"] == "invariance" else "directions are born one by one"
    figure = page(5.6, f"One factorisation holds the whole path: {fate}", _caption(payload), legend)
    top, foot = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1.0])
    for k in drawn:
        top.plot(x, shares[:, k], color=colours[k], linewidth=2.6)
    top.set_ylabel("variance of Z along\nthe eigenvector")
    _from_zero(top, shares)
    rank = _column(rows, "rank")
    foot.step(x, rank, where="post", color=INK, linewidth=2.2)
    foot.set_ylabel("rank")
    foot.set_ylim(-0.06 * max(rank.max(), 1), 1.12 * max(rank.max(), 1))
    foot.yaxis.get_major_locator().set_params(integer=True)
    _foot(foot, x, payload)
    for axes in (top, foot):
        _met(axes, payload, x)
    return figure


@styled
def accuracy_figure(rows: Sequence[Row], payload: Mapping[str, Any]) -> Figure:
    """Probe scores predicted and measured, over the errors of the least-squares probe beside D1 and D5."""
    x, score = _column(rows, payload["parameter"]), str(payload.get("score") or "score")
    errors = any(row.get("error_D5") is not None or row.get("error_left_out") is not None for row in rows)
    unit = 100 if score == "accuracy" else 1
    legend: list[tuple[str, Artist]] = [("least squares, predicted", key_line(color=LEAST_SQUARES, linewidth=2.6))]
    held: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 6, "markeredgecolor": "white"}
    if _any(rows, "held_out"):
        legend.append(("least squares, held out", key_line(color=LEAST_SQUARES, **held)))
    if _any(rows, "predicted_logistic"):
        legend.append(("logistic, predicted", key_line(color=LOGISTIC, linewidth=2.6)))
        if _any(rows, "held_out_logistic"):
            legend.append(("logistic, held out", key_line(color=LOGISTIC, **held)))
    best = payload.get("best")
    if best:
        mean, error = unit * best["predicted"], unit * best["standard_error"]  # as the answer tells it
        star: dict[str, Any] = {"marker": "*", "markersize": 16, "color": INK, "markeredgecolor": "white"}
        said = f"best predicted, {mean:.3g} ± {error:.2g}{' %' if unit == 100 else ''}"
        legend += [(said, key_line(linestyle="none", **star)), ("not told from it", key_patch(**ALIKE))]
    legend += _met_key(payload, x)
    measured = ", measured on others" * _any(rows, "held_out")
    title = f"Probe {score} along the path: predicted from training rows{measured}"
    figure = page(6.0 if errors else 4.4, title, _caption(payload), legend)
    grid = figure.subplots(2 if errors else 1, 1, sharex=True, squeeze=False, height_ratios=[1.5, 1] if errors else [1])
    top = grid[0, 0]
    if best:
        for axes in grid[:, 0]:
            _alike(axes, rows, x)
    for prefix, colour in (("", LEAST_SQUARES), ("_logistic", LOGISTIC)):
        y, se = unit * _column(rows, f"predicted{prefix}"), unit * _column(rows, f"predicted{prefix}_se")
        on = np.isfinite(y)
        top.plot(x[on], y[on], color=colour, linewidth=2.6, zorder=3)
        top.fill_between(x[on], (y - 1.96 * se)[on], (y + 1.96 * se)[on], color=colour, alpha=0.2, linewidth=0)
        z = unit * _column(rows, f"held_out{prefix}")
        seen = np.flatnonzero(np.isfinite(z))
        thin = seen[:: max(1, seen.size // 30)]
        top.plot(x[thin], z[thin], color=colour, zorder=4, **held)
    top.set_ylabel(f"probe {score} (%)" if unit == 100 else f"probe {score}")
    if best:
        top.plot([best["value"]], [mean], zorder=6, clip_on=False, **star)
    if errors:
        _errors(grid[1, 0], rows, x)
    _foot(grid[-1, 0], x, payload)
    for axes in grid[:, 0]:
        _met(axes, payload, x)
    return figure


def _errors(axes: Axes, rows: Sequence[Row], x: Any) -> None:
    lines = (
        ("error_left_out", "left out", LEAST_SQUARES, "-", 2.6),
        ("error_D5", "D5: new labels, same rows", D5, (0, (4, 2)), 2.0),
        ("error_fitted", "D1: fitted, no ridge", D1, (0, (1, 1)), 2.4),
    )
    keys = []
    for key, name, colour, dashes, width in lines:
        if _any(rows, key):
            axes.plot(x, _column(rows, key), color=colour, linestyle=dashes, linewidth=width)
            keys.append((name, key_line(color=colour, linestyle=dashes, linewidth=width)))
    z = _column(rows, "error_held_out")
    seen = np.flatnonzero(np.isfinite(z))
    if seen.size:
        thin = seen[:: max(1, seen.size // 30)]
        look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": "white", "color": LEAST_SQUARES}
        axes.plot(x[thin], z[thin], markersize=6, zorder=4, **look)
        keys.append(("held out", key_line(markersize=6, **look)))
    axes.set_ylabel("squared error\n(mean label = 1)")
    names, artists = zip(*keys, strict=True)
    axes.legend(artists, names, loc="upper left" if _rises(rows) else "upper right", fontsize=11)


@styled
def filter_figure(payload: Mapping[str, Any]) -> Figure:
    """h(a) of every method, on the eigenvalues of this relation."""
    drawn = as_list(payload.get("filters"))
    looks: list[dict[str, Any]] = []
    seen: set[str] = set()
    for one in drawn:
        colour, line, width = FILTERS.get(one["filter"], (SOFT, "-", 2.0))
        again = one["filter"] in seen
        seen.add(one["filter"])
        looks.append({"color": colour, "linestyle": (0, (4, 2)) if again else line, "linewidth": width})
    legend = [(one["name"], key_line(**look)) for one, look in zip(drawn, looks, strict=True)]
    a = np.array(drawn[0]["eigenvalues"])
    told = f"{a.size} directions of the degree-weighted pencil, ticks at the foot; d: mean degree"
    figure = page(4.6, "Every method is a filter on the same spectrum", f"{_caption(payload)} · {told}", legend)
    axes = figure.subplots()
    for one, look in zip(drawn, looks, strict=True):
        axes.plot(a, one["energy"], **look)
    axes.plot(a, np.zeros(a.size), linestyle="none", marker="|", markersize=9, color=SOFT, zorder=2)
    if a.min() < 0:
        axes.axvspan(min(a.min(), 0.0) - 0.02, 0.0, zorder=0, **ALIKE)
        words_at(axes, "pairs disagree", (0.0, 1.0), (-4, -4), x="data", ha="right", va="top")
    axes.set_xlabel("agreement a of positive pairs along the eigenvector (eigenvalue)")
    axes.set_ylabel("energy h(a)")
    axes.set_xlim(a.min() - 0.02, max(a.max(), 0.0) + 0.02)
    _from_zero(axes, np.array([one["energy"] for one in drawn]))
    return figure


# ----------------------------------------------------------------------------------------------------- parts of axes


def _rises(rows: Sequence[Row]) -> bool:
    """Whether errors grow along the path, so that their legend has room on the left."""
    error = _column(rows, "error_fitted")
    return bool(error[-1] >= error[0])


def _column(rows: Sequence[Row], key: str) -> Any:
    return np.array([np.nan if row.get(key) is None else float(row[key]) for row in rows])


def _any(rows: Sequence[Row], key: str) -> bool:
    return any(row.get(key) is not None for row in rows)


def _from_zero(axes: Axes, values: Any) -> None:
    top = float(np.nanmax(values, initial=0.0)) or 1.0
    axes.set_ylim(-0.04 * top, 1.12 * top)


def _alike(axes: Axes, rows: Sequence[Row], x: Any) -> None:
    """Shade the values that are not told from the best, run by run."""
    alike = np.array([row.get("told_from_best") is False for row in rows])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], alike, [False]]).astype(int)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        low = x[start] if start == 0 else np.sqrt(x[start - 1] * x[start])
        high = x[end - 1] if end == x.size else np.sqrt(x[end - 1] * x[end])
        axes.axvspan(low, high, zorder=0, **ALIKE)


def _met_key(payload: Mapping[str, Any], x: Any) -> list[tuple[str, Artist]]:
    """The other method that the path meets, where it is in sight."""
    meets = payload.get("meets")
    return [(meets["words"], key_line(**MET))] if meets and x[0] <= meets["value"] <= x[-1] else []


def _met(axes: Axes, payload: Mapping[str, Any], x: Any) -> None:
    if _met_key(payload, x):
        axes.axvline(payload["meets"]["value"], zorder=2, **MET)


def _foot(axes: Axes, x: Any, payload: Mapping[str, Any]) -> None:
    if x[0] > 0 and x[-1] / x[0] > 5:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.set_xlim(x[0], x[-1])
    axes.set_xlabel(SYMBOLS.get(str(payload["parameter"]), str(payload["parameter"])))


def _caption(payload: Mapping[str, Any]) -> str:
    parts = [data_caption(payload) if payload.get("data") else ""]
    parts += [f"relation {record['text']}" for record in relations_of(payload) if record.get("text")]
    parts.append(str(payload.get("setting") or ""))
    return " · ".join(part for part in parts if part)
