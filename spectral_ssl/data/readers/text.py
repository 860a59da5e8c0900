"""Text tables: how a file is cut into cells, and its columns as features, labels and ids.

UTF-8, cells separated by tab, semicolon or comma, whichever the first line has (`.tsv`: always tab), or by blanks where
a line is made of numbers; an optional header line; leading `#` lines and blank lines are skipped. Numbers use a decimal
point.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import FloatArray, check_int
from spectral_ssl.data._memory import check_rows
from spectral_ssl.data.readers.files import Table
from spectral_ssl.errors import DataError, SpectralWarning, did_you_mean

__all__ = [
    "LABEL_NAMES",
    "Layout",
    "check_width",
    "column_name",
    "has_header",
    "is_number",
    "layout_of",
    "load_numbers",
    "open_text",
    "parse_cells",
    "read_cells",
    "read_text",
    "special_columns",
    "with_header",
]

LABEL_NAMES = ("y", "label", "labels", "target", "class")


@dataclass(frozen=True)
class Layout:
    """How a text file is cut into cells: what has to be known before its numbers can be parsed."""

    file: Path
    delimiter: str | None  # None: blanks
    n_skipped: int  # lines before the first row of cells: blank and comment lines
    first: list[list[str]]  # the first two rows of cells
    header: list[str] | None = None

    @property
    def n_columns(self) -> int:
        return len(self.first[0])

    @property
    def n_leading(self) -> int:
        """Lines before the first row of data."""
        return self.n_skipped + (self.header is not None)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """(line number from 1, cells) of every row of data; blank lines are passed over."""
        with open_text(self.file) as stream:
            for _ in range(self.n_leading):
                next(stream)
            yield from _cells(stream, self.delimiter, self.n_leading)


class open_text:
    """The file as text; text that is not UTF-8 becomes a DataError wherever it is met."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> Iterator[str]:
        try:
            self.stream = self.file.open(encoding="utf-8-sig", newline="")
        except OSError as error:
            raise DataError(f"{self.file} cannot be opened: {error.strerror}") from None
        return self.stream

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.stream.close()
        if isinstance(error, UnicodeDecodeError):
            raise DataError(
                f"{self.file} is not UTF-8 text (byte {error.start}: {error.reason}); save it as UTF-8"
            ) from None
        if isinstance(error, csv.Error):
            raise DataError(f"{self.file} is not a readable text table: {error}") from None


def _cells(stream: Iterator[str], delimiter: str | None, line: int) -> Iterator[tuple[int, list[str]]]:
    if delimiter is None:
        for offset, text in enumerate(stream, start=1):
            if cells := text.split():
                yield line + offset, cells
        return
    reader = csv.reader(stream, delimiter=delimiter)
    for cells in reader:
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield line + reader.line_num, [cell.strip() for cell in cells]


def layout_of(file: Path) -> Layout:
    """Delimiter and first rows; the header is decided by the caller, who knows what the columns mean."""
    with open_text(file) as stream:
        n_skipped, first_lines = 0, [""]
        for text in stream:
            if text.strip() and not text.startswith("#"):
                first_lines = [text, next(stream, "")]
                break
            n_skipped += 1
    if "\0" in first_lines[0]:
        raise DataError(f"{file} is a binary file, not text; write it again as csv, or give it its own suffix")
    if not first_lines[0]:
        raise DataError(f"{file} has no rows, only blank lines and comments")
    delimiter = _delimiter(file, first_lines)
    with open_text(file) as stream:
        for _ in range(n_skipped):
            next(stream)
        rows = _cells(stream, delimiter, n_skipped)
        first = [cells for _, cells in (next(rows, (0, [])), next(rows, (0, []))) if cells]
    return Layout(file, delimiter, n_skipped, first)


def _delimiter(file: Path, first_lines: Sequence[str]) -> str | None:
    if file.suffix.lower() == ".tsv":
        return "\t"
    for candidate in ("\t", ";", ","):
        if candidate in first_lines[0]:
            return candidate
    blanks = (line.split() for line in first_lines)
    return None if any(len(cells) > 1 and all(map(is_number, cells)) for cells in blanks) else ","


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, other readers do not


def has_header(layout: Layout, names: Sequence[str]) -> bool:
    """A first row with a known name, with text above numbers, or with no number in it at all is a header."""
    first = layout.first[0]
    text = [position for position, cell in enumerate(first) if not is_number(cell)]
    if not text:
        return False
    if any(first[position].lower() in names for position in text):
        return True
    second = layout.first[-1]  # the first row itself if it is the only one
    text_above_number = len(second) == len(first) and any(is_number(second[position]) for position in text)
    return text_above_number or len(text) == len(first)


def with_header(layout: Layout, header: bool) -> Layout:
    if header and len(layout.first) < 2:
        raise DataError(f"{layout.file} has a header ({', '.join(layout.first[0])}) and no rows under it")
    return Layout(layout.file, layout.delimiter, layout.n_skipped, layout.first, layout.first[0] if header else None)


def read_text(file: Path, *, label_column: str | int | None = None) -> Table:
    """A csv, tsv or txt file: one row per sample, see `read_dataset`."""
    layout = layout_of(file)
    layout = with_header(layout, has_header(layout, (*LABEL_NAMES, "source")))
    meta: dict[str, Any] = {}
    special = special_columns(file, layout.header, layout.n_columns, label_column)
    columns = [column for column in range(layout.n_columns) if column not in special.values()]
    if not columns:
        raise DataError(f"{file}: no column of features is left beside {', '.join(special)}")
    X = _read_numbers(layout, columns)
    nameless = layout.header is not None and layout.header[0] in ("", "Unnamed: 0") and columns[0] == 0
    if nameless and len(columns) > 1 and np.array_equal(X[:, 0], np.arange(len(X))):
        columns, X = columns[1:], X[:, 1:]
        meta["left_out"] = "the nameless first column 0 .. N-1, an index"
    if layout.header is None and layout.n_columns > 2 and np.array_equal(X[0], np.arange(len(columns))):
        warnings.warn(
            f"{file}: the first row is 0, 1, ..., {len(columns) - 1} and was read as a sample; if it is a header, name "
            "the columns",
            SpectralWarning,
            stacklevel=4,
        )
    found: dict[str, Any] = {"labels": None, "source": None}
    for role, column in special.items():
        found[role] = parse_cells(read_cells(layout, column))
        if role == "labels":
            meta["labels_from"] = f"column {column_name(layout, column)}"
        else:
            meta["source_from"] = "column 'source'"
    if layout.header is not None:
        meta["feature_names"] = tuple(layout.header[column] for column in columns)
    return Table(X, meta, found["labels"], found["source"])


def special_columns(
    file: Path, header: Sequence[str] | None, n_columns: int, label_column: str | int | None
) -> dict[str, int]:
    """Positions of the columns that are no features: {"labels": ..., "source": ...}, as far as there are any."""
    lower = [name.lower() for name in header] if header is not None else []
    special: dict[str, int] = {}
    if isinstance(label_column, str):
        if header is None:
            raise DataError(
                f"{file} has no header, so no column is called {label_column!r}; pass its position, 0 .. "
                f"{n_columns - 1}"
            )
        if label_column not in header:
            raise DataError(f"{file}: no column {label_column!r}: {did_you_mean(label_column, header)}")
        special["labels"] = header.index(label_column)
    elif label_column is not None:
        what = f"{file}: label_column, a name or a position,"
        special["labels"] = check_int(label_column, what, low=0, high=n_columns - 1)
    else:
        candidates = [position for position, name in enumerate(lower) if name in LABEL_NAMES]
        if len(candidates) > 1:
            names = " and ".join(repr(header[position]) for position in candidates) if header is not None else ""
            raise DataError(f"{file}: {names} could all be the labels; say which with label_column=")
        if candidates:
            special["labels"] = candidates[0]
    if "source" in lower and lower.index("source") not in special.values():
        special["source"] = lower.index("source")
    return special


def column_name(layout: Layout, column: int) -> str:
    return repr(layout.header[column]) if layout.header is not None else str(column)


def _read_numbers(layout: Layout, columns: Sequence[int]) -> FloatArray:
    """The columns as float64 (N, len(columns)): by numpy's parser, or if it fails slowly, naming the wrong cell."""
    # numpy checks the width of every row only when it reads all columns; with fewer, reading the others checks it
    chosen = None if len(columns) == layout.n_columns else columns
    try:
        return np.asarray(load_numbers(layout, np.dtype(np.float64), chosen, ndmin=2))
    except (ValueError, OverflowError, Warning):
        return np.array([_numbers_of_line(layout, line, cells, columns) for line, cells in layout.rows()])


def _numbers_of_line(layout: Layout, line: int, cells: list[str], columns: Sequence[int]) -> list[float]:
    check_width(layout, line, cells)
    for column in columns:
        if not is_number(cells[column]):
            raise _not_a_number(layout, line, column, cells[column])
    return [float(cells[column]) for column in columns]


def load_numbers(
    layout: Layout, dtype: np.dtype[Any], columns: Sequence[int] | None, ndmin: Literal[1, 2]
) -> npt.NDArray[Any]:
    if len(set(map(len, layout.first))) > 1:
        raise ValueError("rows of different lengths")
    with layout.file.open("rb") as stream:
        n_lines = sum(block.count(b"\n") for block in iter(lambda: stream.read(2**20), b""))
    n_columns = layout.n_columns if columns is None else len(columns)
    check_rows(n_lines, n_columns, str(layout.file), "save it as npy or raw numbers and pass mmap=True")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # older numpy reads 3.7 as the integer 3, with a DeprecationWarning
        table: npt.NDArray[Any] = np.loadtxt(
            layout.file,
            dtype=dtype,
            delimiter=layout.delimiter,
            comments=None,
            skiprows=layout.n_leading,
            usecols=columns,
            quotechar=None if layout.delimiter is None else '"',
            ndmin=ndmin,
            encoding="utf-8-sig",
        )
        return table


def check_width(layout: Layout, line: int, cells: list[str]) -> None:
    if len(cells) != layout.n_columns:
        raise DataError(
            f"{layout.file}: line {line} has {len(cells)} cells, the first row has {layout.n_columns}; every row needs "
            "the same number"
        )


def _not_a_number(layout: Layout, line: int, column: int, cell: str) -> DataError:
    if not cell:
        what, fix = "is empty", "fill it or drop the row"
    elif layout.delimiter != "," and "," in cell and is_number(cell.replace(",", ".", 1)):
        what, fix = f"is {cell!r}, with a decimal comma", "write numbers with a decimal point"
    else:
        what, fix = f"is {cell!r}, not a number", "drop or encode the column, or pass it as label_column"
    return DataError(f"{layout.file}: line {line}, column {column_name(layout, column)} {what}; {fix}")


def read_cells(layout: Layout, column: int) -> list[str]:
    cells_of_column = []
    for line, cells in layout.rows():
        check_width(layout, line, cells)
        cells_of_column.append(cells[column])
    return cells_of_column


def parse_cells(cells: list[str]) -> list[Any]:
    """Cells as ints if all are, else as floats if all are, else as text; empty, or NaN among numbers, is None."""
    known = [cell for cell in cells if cell and cell.lower() != "nan"]
    for kind in (int, float):
        if known and all(is_number(cell) for cell in known):
            try:
                values = dict(zip(known, map(kind, known), strict=True))
            except ValueError:
                continue
            return [values.get(cell) for cell in cells]
    return [cell or None for cell in cells]
