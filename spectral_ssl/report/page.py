"""The page a figure stands on: fonts, headline, legend, caption, and words beside what is drawn."""

from __future__ import annotations

import contextlib
import functools
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

__all__ = [
    "DPI",
    "GRID",
    "INK",
    "SOFT",
    "WIDTH",
    "along",
    "dark",
    "grid_shape",
    "heading",
    "key_line",
    "key_patch",
    "page",
    "safe",
    "say",
    "style",
    "styled",
    "words_at",
]

P = ParamSpec("P")
T = TypeVar("T")

DPI = 200
WIDTH = 13.33  # inches: a 16:9 slide

INK, SOFT, GRID = "#222222", "#666666", "#e4e4e4"
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 12.0,
    "axes.titlesize": 14.0,
    "axes.labelsize": 12.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 12.0,
    "lines.linewidth": 2.2,
    "figure.dpi": 100,
    "savefig.dpi": DPI,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults and our own settings, whatever the user's are; theirs are back afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def styled(make: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(make)
    def styled(*args: P.args, **kwargs: P.kwargs) -> T:
        with style():
            return make(*args, **kwargs)

    return styled


def page(
    body: float, headline: str, caption: str, legend: Sequence[tuple[str, Artist]] = (), width: float = WIDTH
) -> Figure:
    """A figure with a headline, a legend under it and a caption at the foot; `body` inches are left for the axes."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    headline = _wrapped(headline, int(width * 7.2))
    caption = _wrapped(caption, int(width * 12.2))
    columns = _legend_columns([text for text, _ in legend], width - 0.3)
    lines = math.ceil(len(legend) / columns)
    header = 0.22 + 0.33 * (1 + headline.count("\n")) + 0.28 * lines
    footer = 0.14 + 0.2 * (1 + caption.count("\n"))
    height = header + body + footer
    engine = ConstrainedLayoutEngine(
        rect=(0.08 / width, footer / height, 1 - 0.2 / width, body / height), w_pad=0.08, h_pad=0.08
    )
    figure = Figure(figsize=(width, height), layout=engine)
    left = 0.15 / width
    figure.text(left, 1 - 0.12 / height, headline, size=18, weight="bold", va="top", ha="left")
    figure.text(left, 0.1 / height, caption, size=11, color=SOFT, va="bottom", ha="left")
    if legend:
        texts, artists = zip(*legend, strict=True)
        placed = figure.legend(
            list(artists),
            [safe(text) for text in texts],
            loc="upper left",
            bbox_to_anchor=(left, 1 - (header - 0.28 * lines - 0.06) / height),
            ncols=columns,
            borderpad=0.0,
            borderaxespad=0.0,
            handletextpad=0.5,
            columnspacing=1.6,
            scatterpoints=1,
        )
        placed.set_in_layout(False)
    return figure


def _legend_columns(texts: Sequence[str], width: float) -> int:
    """The most columns that fit: matplotlib fills them one after the other."""
    for columns in range(len(texts), 1, -1):
        longest = [max(map(len, part.tolist())) for part in np.array_split(np.asarray(texts, dtype=object), columns)]
        if sum(0.75 + 0.09 * n for n in longest) <= width:  # inches: handle and space, 12-point letters
            return columns
    return 1


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(safe(text), width)) or " "


def safe(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def grid_shape(n: int, most: int = 4) -> tuple[int, int]:
    columns = min({1: 1, 2: 2, 4: 2, 7: 4, 8: 4}.get(n, 3 if n < 10 else 4), most)
    return math.ceil(n / columns), columns


def heading(axes: Axes, text: str, colour: str, detail: str = "", wide: bool = False) -> None:
    """A panel's title in its colour, and a line of numbers under it; wide: over two columns."""
    slot = axes.get_subplotspec()
    share = 1.0
    if slot is not None:
        ratios: Any = slot.get_gridspec().get_width_ratios() or [1.0] * slot.get_gridspec().ncols
        share = sum(ratios[slot.colspan.start : slot.colspan.stop]) / sum(ratios)
    room = 72 * 0.9 * WIDTH * share * (2 if wide else 1)  # points
    size = min(14.0, room / (0.7 * max(len(text), 1)))  # a bold letter is 0.7 as wide as high, a plain one 0.58
    axes.set_title(safe(text), color=dark(colour), weight="bold", size=size, pad=24 if detail else 8)
    if detail:  # the title's pad keeps the room for it
        words_at(axes, detail, (0, 1), (0, 6), size=min(11.0, room / (0.58 * len(detail))))


def dark(colour: str) -> str:
    """A colour as text: three quarters as bright, so that light ones can be read on white."""
    return "#" + "".join(f"{int(0.75 * int(colour[at : at + 2], 16)):02x}" for at in (1, 3, 5))


def words_at(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    shift: tuple[float, float] = (0, 0),
    x: str = "axes fraction",
    y: str = "axes fraction",
    make_room: bool = False,
    **look: Any,
) -> Annotation:
    """Small words at a place, shifted by points; x and y: "data" or "axes fraction". make_room: the axes give way."""
    look = {"color": SOFT, "size": 11, **look}
    words = axes.annotate(safe(text), at, shift, xycoords=(x, y), textcoords="offset points", **look)
    words.set_in_layout(make_room)
    return words


def say(axes: Axes, text: str, y: float = 0.5) -> None:
    """Words in place of what there is not."""
    words_at(axes, text, (0.5, y), ha="center", va="center")


def key_line(**look: Any) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def key_patch(**look: Any) -> Artist:
    from matplotlib.patches import Patch

    return Patch(**look)


def along(axes: Axes, text: str, y: float, side: str = "left above", **look: Any) -> None:
    """Words along a horizontal line, at one of its ends ("left", "right"), "above" or "below" it."""
    right, above = side.startswith("right"), side.endswith("above")
    shift = (-4 if right else 5, 4 if above else -5)
    look = {"ha": "right" if right else "left", "va": "bottom" if above else "top", **look}
    words_at(axes, text, (1 if right else 0, y), shift, y="data", **look)
