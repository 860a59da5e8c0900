"""What corrupted pairs do to each closed form (`demo`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.page import INK, SOFT, key_line, page, styled, words_at
from spectral_ssl.report.panels import looks_of
from spectral_ssl.report.words import distinct_labels, number, told_apart, variant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["corruption_figure"]


@styled
def corruption_figure(teaser: Mapping[str, Any], reference: Mapping[str, Any], caption: str = "") -> Figure:
    """Held-out probe score of each closed form against the share of corrupted pairs, a panel per K.

    Several rows of one method, K and rate (seeds) are drawn as their mean in a band from the least to the greatest.
    """
    rows = [row for row in teaser["rows"] if row.get("probe") is not None and row.get("rate") is not None]
    sizes = sorted({row.get("n_components") or 0 for row in rows}, reverse=True)
    curves: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        curves.setdefault((str(row.get("method")), variant(row)), []).append(row)
    # what a method resolves to changes along its curve, so that only what was asked for tells methods apart
    examples = [{"method": name, "hyper": told_apart(members[0])} for (name, _), members in curves.items()]
    looks = list(looks_of([examples]).values())
    names = distinct_labels(examples)
    chance, raw = teaser.get("chance"), teaser.get("probe_raw", reference.get("probe_raw"))
    accuracy = chance is not None
    unit = 100 if accuracy else 1
    legend = [
        (name, key_line(color=colour, marker=marker, markersize=9, markeredgecolor="white"))
        for name, (colour, marker) in zip(names, looks, strict=True)
    ]
    relation = f"relation {teaser['relation']}, more and more of it corrupted" if teaser.get("relation") else ""
    told = (caption, relation, "closed forms, no training; linear probe on held-out rows")
    caption = " · ".join(part for part in told if part)
    figure = page(4.9, "Aligned or corrupted: what a relation is worth, before any training", caption, legend)
    grid = figure.subplots(1, max(len(sizes), 1), sharey=True, squeeze=False)
    for place, (K, axes) in enumerate(zip(sizes, grid.flat, strict=False)):
        for order, (members, (colour, marker)) in enumerate(zip(curves.values(), looks, strict=True)):
            scores: dict[float, list[float]] = {}
            for row in members:
                if (row.get("n_components") or 0) == K:
                    scores.setdefault(100 * float(row["rate"]), []).append(unit * float(row["probe"]))
            rates = sorted(scores)
            if any(len(scores[rate]) > 1 for rate in rates):
                low, high = ([pick(scores[rate]) for rate in rates] for pick in (min, max))
                axes.fill_between(rates, low, high, color=colour, alpha=0.15, linewidth=0)
            mean = [float(np.mean(scores[rate])) for rate in rates]
            wider = 1 - order / len(looks)  # equal lines: the first shows at both sides of the last
            look: dict[str, Any] = {"color": colour, "marker": marker, "markeredgecolor": "white", "clip_on": False}
            axes.plot(rates, mean, linewidth=1.8 + 1.8 * wider, markersize=8 + 4 * wider, zorder=3, **look)
        for value, text, ink, dashes in ((raw, "raw features", INK, "--"), (chance, "chance", SOFT, ":")):
            if value is None:
                continue
            axes.axhline(unit * value, linewidth=1.5, color=ink, linestyle=dashes)
            if place == len(sizes) - 1:
                words = f"{text}\n{unit * value:.0f} %" if accuracy else f"{text}\n{number(value, 3)}"
                at = (1, unit * value)
                words_at(axes, words, at, (8, 0), y="data", va="center", color=ink, make_room=True)
        axes.set_title(f"K = {K}", weight="bold")
        axes.set_xlabel("corrupted pairs (%)")
        axes.set_xlim(-2, 102)
        if accuracy:
            axes.set_ylim(0, 104)
        if place == 0:
            axes.set_ylabel("held-out probe accuracy (%)" if accuracy else "held-out probe score")
    return figure
