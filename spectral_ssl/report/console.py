"""How tables are put on a terminal: columns that give way, words that wrap, numbers for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from spectral_ssl.report.words import ANGLE_TOL, EXCESS_TOL, has_references, is_bound, is_certified, is_judged, number

__all__ = [
    "BELOW_TOL",
    "Column",
    "Page",
    "Payload",
    "Row",
    "angle_cell",
    "excess_cell",
    "listed",
    "megabytes",
    "pair",
    "score",
    "seconds",
    "short",
]

Payload = Mapping[str, Any]
Row = Mapping[str, Any]

BELOW_TOL = 1e-9  # a trained loss may end below the closed form by rounding, never by this share of the way to collapse
SPELT = str.maketrans(
    {
        **{
            "α": "alpha",
            "β": "beta",
            "γ": "gamma",
            "λ": "lambda",
            "τ": "tau",
            "·": "-",
            "×": "x",
            "…": "...",
            "²": "^2",
        },
        **{"–": "-", "—": "-", "−": "-", "≈": "~", "≤": "<=", "≥": ">=", "•": "*", "ä": "ae", "ö": "oe", "ü": "ue"},
    }
)


@dataclass(frozen=True)
class Column:
    """A column of a table; those of lowest worth are left out first where the terminal is narrow (None: never)."""

    title: str
    cell: Callable[[Row], str | Text]
    worth: float | None = None
    left: bool = False


class Page:
    """A console, and how things are put on it."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def text(self, words: str | Text) -> Text:
        """Words that the console can show: no markup is read, and Greek is spelt out where there is none."""
        found = Text(words) if isinstance(words, str) else words
        if self.console.options.ascii_only:
            plain = found.plain.translate(SPELT).encode("ascii", "replace").decode()
            return Text(plain, style=found.style)
        return found

    def line(self, words: str | Text, style: str = "", first: str = "", indent: int = 0) -> None:
        """Words, wrapped without spaces at the ends of lines; `first` begins them, `indent` the lines that follow."""
        width = max(self.console.width - max(len(first), indent), 1)
        for place, part in enumerate(self.text(words).wrap(self.console, width) or [Text()]):
            part.rstrip()
            part.stylize(style)
            self.console.print(Text(" " * indent if place else first) + part, highlight=False)

    def title(self, words: str) -> None:
        self.line("")
        self.line(words, "bold")

    def path(self, words: str) -> None:
        """Kept in one piece, so that it can be copied."""
        self.console.print(self.text(words), highlight=False, soft_wrap=True)

    def bullets(self, items: Iterable[str]) -> None:
        for item in items:
            self.line(item, first="- ", indent=2)

    def table(self, rows: Sequence[Row], columns: Sequence[Column]) -> list[Column]:
        """Print the rows in as many of the columns as fit, and answer the columns left out."""
        kept, dropped = list(columns), []
        while True:
            drawn = self._drawn(rows, kept)
            options = self.console.options.update(max_width=10_000)
            if Measurement.get(self.console, options, drawn).maximum <= self.console.width:
                break
            spare = [column for column in kept if column.worth is not None]
            if not spare:
                break  # rich wraps the cells
            least = min(spare, key=lambda column: column.worth or 0)
            kept.remove(least)
            dropped.append(least)
        self.console.print(drawn, highlight=False)
        return dropped

    def _drawn(self, rows: Sequence[Row], columns: Sequence[Column]) -> Table:
        drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, header_style="bold")
        for column in columns:
            drawn.add_column(
                self.text(column.title), justify="left" if column.left else "right", no_wrap=not column.left
            )
        for row in rows:
            drawn.add_row(*(self.text(column.cell(row)) for column in columns))
        return drawn


def pair(row: Row, name: str, shown: Callable[[Any], str]) -> str:
    """closed/trained, or one of them where both look the same."""
    closed, trained = (shown(row.get(f"{name}_{which}")) for which in ("closed", "trained"))
    return closed if closed == trained else f"{closed}/{trained}"


def score(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}"


def seconds(value: Any) -> str:
    """A time for people.

    >>> [seconds(t) for t in (None, 0.0061, 1.571, 75.0, 7300.0)]
    ['-', '6 ms', '1.6 s', '75 s', '2.0 h']
    """
    if value is None:
        return "-"
    for limit, unit, name, digits in (
        (0.0995, 1e-3, "ms", 0),
        (9.95, 1, "s", 1),
        (100, 1, "s", 0),
        (5400, 60, "min", 0),
    ):
        if value < limit:
            return f"{value / unit:.{digits}f} {name}"
    return f"{value / 3600:.1f} h"


def megabytes(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value / 1024:.1f} GB" if value >= 1000 else f"{max(value, 1):.0f} MB"


def excess_cell(row: Row) -> Text:
    value = row.get("relative_excess")
    if value is None:
        return Text("-")
    if is_bound(row) or is_certified(row) or has_references(row):
        return Text(number(value, 2), style="dim")
    style = "red" if value < -BELOW_TOL else "green" if value <= EXCESS_TOL else "yellow"
    return Text(short(value), style=style)


def short(value: float) -> str:
    """An excess or a gap: two digits."""
    return number(value, 2)


def angle_cell(row: Row) -> Text:
    value = row.get("max_angle")
    if value is None:
        return Text("-")
    style = "dim" if not is_judged(row) else "green" if value <= ANGLE_TOL else "yellow"
    return Text(number(value, 2) + ("" if is_judged(row) else "*"), style=style)


def listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
