"""Figures of an audit: the energies of Z over the filters fitted to them, and its spectrum over those of the optima."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.page import INK, SOFT, dark, key_line, page, safe, say, styled, words_at
from spectral_ssl.report.panels import looks_of
from spectral_ssl.report.words import as_list, distinct_labels, number, relations_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SYMBOLS", "audit_figures", "filter_figure", "percent", "spectrum_of_figure"]

Array = np.ndarray[Any, Any]
Payload = Mapping[str, Any]
Record = Mapping[str, Any]

# what is drawn in one panel: pencils that share their eigenvectors, and the title of their axis
PANELS = {
    "Laplacian": (("laplacian",), "1 - eigenvalue of the Laplacian / mean degree"),
    "Normalised by degrees": (
        ("degree_centred", "degree"),
        "eigenvalue a of the normalised adjacency",
    ),
    "Adjacency": (("adjacency", "cross_moment"), "eigenvalue of the adjacency / mean degree"),
}
# colour and dashes of a filter: the colour of its method in every figure, dashes where two share it
SOLID, LONG, SHORT = "-", (0, (5, 2)), (0, (1.5, 1.5))
LOOK: dict[str, tuple[str, Any]] = {
    "vicreg": ("#0072B2", SOLID),
    "vicreg(weighting=degree)": ("#56B4E9", SOLID),
    "laplacian_eigenmaps": ("#332288", LONG),
    "normalised_eigenmaps": ("#332288", SHORT),
    "frobenius_simclr": ("#D55E00", SOLID),
    "spectral_contrastive": ("#009E73", SOLID),
    "ssl_ey": ("#117733", LONG),
    "barlow_twins": ("#CC79A7", SOLID),
    "barlow_twins(normalized=False)": ("#882255", LONG),
    "barlow_flow": ("#882255", SHORT),
}
SYMBOLS = {"invariance": "γ/α", "nu": "ν", "n_components": "K", "time": "t", "init_scale": "s0"}
EXACT = 1e-5  # a residual below this is that of the filter itself: rounding of the energies is 1e-7
NEXT = 2  # times K eigenvalues are drawn, 16 at least: the rest would press those that count into a corner


def audit_figures(payload: Payload) -> Iterator[tuple[str, Figure]]:
    """Name and figure of whatever the record has the numbers for."""
    if (figure := filter_figure(payload)) is not None:
        yield "filters", figure
    if (figure := spectrum_of_figure(payload)) is not None:
        yield "spectrum", figure


# ---------------------------------------------------------------------------------------------------------- the filters


@styled
def filter_figure(payload: Payload) -> Figure | None:
    """Energy of Z along each eigenvector (dots) against its eigenvalue, and the fitted filters (lines)."""
    filters = payload.get("filters") or {}
    if filters.get("best") is None:
        return None
    bases = filters["energies"]
    best = next(fit for fit in filters["fits"] if fit["key"] == filters["best"])
    fits = [fit for fit in filters["fits"] if fit["model"] == best["model"]]
    regular = all(record.get("regular") for record in relations_of(payload))
    if regular:  # one set of eigenvectors
        every = tuple(name for names, _ in PANELS.values() for name in names)
        groups = {"": (every, PANELS["Normalised by degrees"][1])}
    else:
        groups = dict(PANELS)
    legend = [
        ("energy of Z along an eigenvector", key_line(color=INK, marker="o", linestyle="none", markersize=8)),
        ("fitted filters; the best one wide", key_line(color=SOFT, linewidth=2.5)),
    ]
    if any("unit columns" in fit["basis"] for fit in fits):
        hollow = key_line(color=INK, marker="o", linestyle="none", markersize=8, markerfacecolor="white")
        legend.insert(1, ("of Z with columns at equal variance", hollow))
    told = "Z less its mean; no closed form has energy past the first K"
    figure = page(6.0, _filter_headline(filters, fits), f"{_caption(payload)} · {told}", legend)
    grid = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for place, (axes, (title, (names, label))) in enumerate(zip(grid, groups.items(), strict=True)):
        mine = [fit for fit in fits if bases[fit["basis"]]["pencil"] in names]
        _filter_panel(axes, payload, bases, mine, str(filters["best"]), 3 if regular else 1)
        axes.set_xlabel(label)
        if title:
            axes.set_title(title + (", linear maps" if best["model"] == "linear" else ""), weight="bold")
        if place == 0:
            axes.set_ylabel("energy h (largest of Z = 1)")
    return figure


def _filter_headline(filters: Record, fits: Sequence[Record]) -> str:
    best = next(fit for fit in fits if fit["key"] == filters["best"])
    left = f"{percent(best['residual'])} of |ZZ'|"
    if filters["verdict"] == "none":
        return f"No closed form explains this representation: {left} is left at best"
    also = f" (and {len(filters['alike'])} alike)" if filters["alike"] else ""
    if best["residual"] < EXACT:
        return f"This representation is the filter of {_named(best)}{also}, up to rotation and scale"
    words = "The filter that fits it is" if filters["verdict"] == "fits" else "The filter that it resembles is"
    return f"{words} {_named(best)}{also}: {left} is left"


def _filter_panel(axes: Axes, payload: Payload, bases: Record, fits: Sequence[Record], best: str, columns: int) -> None:
    degree = float((relations_of(payload)[0].get("degree") or [1, 1, 1])[1])
    K = int(payload["summary"]["n_components"])
    dotted: set[bool] = set()
    top, reach = 1.0, []
    for fit in reversed(fits):  # the nearest on top
        at = bases[fit["basis"]]
        x, keep = _abscissa(at, degree), np.abs(np.asarray(at["constants"], dtype=float)) < 0.999
        keep = keep & (np.arange(x.size) < max(NEXT * K, 16))
        energies, h = (np.asarray(values, dtype=float) for values in (at["energies"], fit["expected"]))
        largest = max(float(energies[keep].max(initial=0.0)), 1e-300)
        unit = "unit columns" in fit["basis"]
        if unit not in dotted:
            dotted.add(unit)
            full = {"markerfacecolor": "white" if unit else INK, "markeredgecolor": INK if unit else "white"}
            size = 8.0 if keep.sum() <= 80 else 5.0
            look: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": size, "clip_on": False, **full}
            axes.plot(x[keep], energies[keep] / largest, zorder=5 if unit else 4, **look)
        first = keep & (np.arange(x.size) < K)
        colour, dashes = LOOK.get(fit["method"], (SOFT, SOLID))
        wide = fit["key"] == best
        axes.plot(
            x[first], h[first] / largest, color=colour, linestyle=dashes, linewidth=4.0 if wide else 2.0,
            alpha=1.0 if wide else 0.85, zorder=3.5 if wide else 3, marker="_" if first.sum() == 1 else None,
        )  # fmt: skip
        top = max(top, float((h[first] / largest).max(initial=0.0)))
        reach += [float(x[keep].min(initial=np.inf)), float(x[keep].max(initial=-np.inf))]
        if x.size > K and fit is fits[0]:
            edge = (x[K - 1] + x[K]) / 2
            axes.axvline(edge, color=SOFT, linewidth=1.2, linestyle=":", zorder=2)
            words_at(axes, f"first {K} ", (edge, 0), (3, 4), x="data", ha="left")
    low, high = min(reach), max(reach)
    room = 0.04 * ((high - low) or 1.0)
    axes.set_xlim(low - room, high + room)
    axes.locator_params(axis="x", nbins=12 if columns > 1 else 5)
    axes.set_ylim(-0.02 * min(top, 1.6), 1.12 * min(top, 1.6))
    handles = [
        (_fit_label(fit), key_line(color=LOOK.get(fit["method"], (SOFT, SOLID))[0],
                                   linestyle=LOOK.get(fit["method"], (SOFT, SOLID))[1],
                                   linewidth=4.0 if fit["key"] == best else 2.0))
        for fit in fits
    ]  # fmt: skip
    axes.legend(
        [handle for _, handle in handles],
        [safe(textwrap.fill(text, 48)) for text, _ in handles],
        ncols=columns, loc="upper left", bbox_to_anchor=(0.0, -0.17), borderaxespad=0.0, fontsize=10.5,
        handlelength=2.4,
    )  # fmt: skip


def _abscissa(at: Record, degree: float) -> Array:
    """Eigenvalues on one scale: a of a regular relation."""
    values = np.asarray(at["values"], dtype=float)
    if at["pencil"] == "laplacian":
        return 1 - values / degree
    return values / degree if at["pencil"] in ("adjacency", "cross_moment") else values


def _fit_label(fit: Record) -> str:
    return f"{_named(fit).removeprefix('linear ')}: leaves {percent(fit['residual'])}"


def _named(fit: Record) -> str:
    told = [f"{SYMBOLS[name]} = {number(float(value), 2)}" for name, value in fit["parameters"].items()]
    return ", ".join([fit["label"], *told])


def percent(share: float) -> str:
    """A share in per cent; of a residual what rounding leaves is not told.

    >>> percent(0.0), percent(0.0213), percent(0.796)
    ('< 0.01 %', '2.1 %', '79.6 %')
    """
    return "< 0.01 %" if 100 * share < 0.01 else f"{number(100 * float(share), 3 if share >= 0.1 else 2)} %"


# --------------------------------------------------------------------------------------------------------- the spectrum


@styled
def spectrum_of_figure(payload: Payload) -> Figure | None:
    """Singular values of Z and of each optimum, and how its energy adds up over the eigenvectors of the relation."""
    s = np.asarray((payload.get("collapse") or {}).get("singular_values") or [], dtype=float)
    if not s.size or not s[0] > 0:
        return None
    rows = [row for row in as_list(payload.get("rows")) if as_list(row.get("singular_attainable"))]
    looks = list(looks_of([rows]).values()) if rows else []
    names = distinct_labels(rows)
    legend = [("Z", key_line(color=INK, marker="o", markersize=9, markeredgecolor="white", linewidth=2.6))]
    legend += [
        (f"optimum of {name}", key_line(color=colour, marker=marker, markersize=7, markeredgecolor="white"))
        for name, (colour, marker) in zip(names, looks, strict=True)
    ]
    summary, collapsed = payload["summary"], payload["collapse"]
    headline = (
        f"Rank {collapsed['rank']} of {summary['n_components']}, effective rank "
        f"{number(float(collapsed['effective_rank']), 3)}: the spectrum of Z beside those of the optima"
    )
    figure = page(4.8, headline, _caption(payload), legend)
    left, right = figure.subplots(1, 2)
    for row, (colour, marker) in zip(rows, looks, strict=True):
        t = np.asarray(row["singular_attainable"], dtype=float)
        if t.size and t[0] > 0:
            axes_look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 7, "markeredgecolor": "white"}
            left.plot(np.arange(1, t.size + 1), t / t[0], linewidth=1.6, clip_on=False, zorder=3, **axes_look)
    k = np.arange(1, s.size + 1)
    size = 12 if s.size <= 40 else 6
    look: dict[str, Any] = {"color": INK, "marker": "o", "markersize": size, "markeredgecolor": "white"}
    left.plot(k, s / s[0], linewidth=3.0, clip_on=False, zorder=2.5, **look)
    left.set_ylim(0, 1.05)
    left.xaxis.get_major_locator().set_params(integer=True)
    left.set_xlabel("direction")
    left.set_ylabel("singular value (largest = 1), centred")
    left.set_title("Singular values", weight="bold")
    _energy_panel(right, payload)
    return figure


def _energy_panel(axes: Axes, payload: Payload) -> None:
    filters = payload.get("filters") or {}
    at = (filters.get("energies") or {}).get("laplacian")
    axes.set_title("Energy in the first k eigenvectors", weight="bold")
    if at is None or not at["total"] > 0:
        say(axes, "not computed")
        return
    share = 100 * np.cumsum(np.asarray(at["energies"], dtype=float)) / float(at["total"])
    k = np.arange(1, share.size + 1)
    N, K = int(payload["summary"]["n_samples"]), int(payload["summary"]["n_components"])
    axes.plot(k, share, color=INK, linewidth=2.6, zorder=3)
    axes.plot(k, 100 * k / (N - 1), color=SOFT, linewidth=1.8, linestyle="--", zorder=2)
    axes.set_xscale("log")
    ticks = [m * 10**n for n in range(6) for m in (1, 2, 5) if m * 10**n <= share.size]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(1, max(share.size, 2))
    axes.set_ylim(0, 104)
    axes.set_xlabel("k")
    axes.set_ylabel("share of its energy (%)")
    words_at(axes, "a random Z", (k[-1], min(100 * k[-1] / (N - 1), 100)), (-4, 5), "data", "data", ha="right")
    if share.size >= K:
        axes.axvline(K, color=SOFT, linewidth=1.2, linestyle=":", zorder=1)
        at_k = (K, float(share[K - 1]))
        axes.plot(*at_k, marker="o", color=dark("#0072B2"), markersize=10, markeredgecolor="white", zorder=5)
        low = share[K - 1] > 60
        words = f"{number(float(share[K - 1]), 3)} % in the first {K}"
        words_at(axes, words, at_k, (9, -16 if low else 8), "data", "data", color=INK, weight="bold", size=12)


def _caption(payload: Payload) -> str:
    summary = payload.get("summary") or {}
    parts = [f"Z: {(payload.get('data') or {}).get('name', 'representation')}"]
    parts += [f"{number(summary[key])} {word}" for key, word in (("n_samples", "samples"), ("n_components", "columns"))]
    for record in relations_of(payload):
        pairs = f", {number(record['n_pairs'])} pairs" if record.get("n_pairs") is not None else ""
        parts.append(f"relation {record.get('text')}{pairs}")
    return " · ".join(parts)
