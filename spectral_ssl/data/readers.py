"""Reading arrays, labels and pair lists from npy, npz, csv and tsv files.

Nothing here unpickles anything. A file that is missing, empty, truncated or of another kind ends in one `DataError`
sentence that names the file and, for text, the line.

Text files: UTF-8, cells separated by tab, semicolon or comma, whichever the first line has (`.tsv`: always tab), or by
blanks where a line is made of numbers; an optional header line; leading `#` lines and blank lines are skipped. Numbers
use a decimal point.
"""

from __future__ import annotations

import csv
import difflib
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import FloatArray, IntArray, as_labels, as_matrix, check_int
from spectral_ssl.data.dataset import Dataset
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning, did_you_mean

__all__ = ["read_array", "read_dataset", "read_labels", "read_pairs"]

LABEL_NAMES = ("y", "label", "labels", "target", "class")
ARRAY_KEYS = ("X", "data", "Z")  # of an npz file, tried in this order
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
INT64_MAX = np.iinfo(np.int64).max
EXACT_FLOAT = 2**53  # whole numbers up to here are exact in float64

StrPath = str | Path


def read_dataset(
    path: StrPath,
    *,
    labels: StrPath | None = None,
    source: StrPath | None = None,
    label_column: str | int | None = None,
    key: str | None = None,
    image_shape: tuple[int, int] | None = None,
    name: str | None = None,
) -> Dataset:
    """A file as a Dataset; `meta["origin"]` is the path, `meta["labels_from"]` says where labels came from.

    npy
        X (N, D), or images (N, height, width), which set `image_shape`.
    npz
        X under `key`, else under "X", "data" or "Z", else the only array; labels under "y" or "labels" and source ids
        under "source" if present.
    csv, tsv, txt
        One row per sample. Labels from `label_column` (a name, or a position from 0), else from the one column named y,
        label, labels, target or class; source ids from a column named source; a nameless first column 0 .. N-1, as
        pandas writes its index, is left out. Every other cell must be a number.

    Args:
        labels: A file for `read_labels`; it replaces labels in the data file.
        source: A file of ids of originals, one per row, in the formats of labels; it replaces ids in the data file.
        label_column: The column of a text file that holds labels.
        key: The array of an npz file that is X.
        image_shape: (height, width) if rows are images.
        name: Name of the data set; default: the file's name without its suffix.

    Raises:
        DataError: A file that is missing, empty, truncated, corrupted, pickled or of an unknown kind; a cell that is
            not a number (with its line and column); an option that does not apply to this kind of file; contents that
            `Dataset` refuses.
        ResourceError: The array does not fit into memory.
    """
    file = _existing(path)
    table = _read_table(file, label_column=label_column, key=key)
    y, ids, meta = table.y, table.source, {"origin": os.fspath(path), **table.meta}
    if labels is not None:
        y, meta["labels_from"] = read_labels(labels), os.fspath(labels)
    if source is not None:
        ids, meta["source_from"] = _read_column(_existing(source), names=("source",), wanted="ids"), os.fspath(source)
    return Dataset(
        name=name if name is not None else file.stem,
        X=table.X,
        y=y,
        source=ids,
        image_shape=image_shape if image_shape is not None else table.image_shape,
        meta=meta,
    )


def read_array(
    path: StrPath,
    *,
    label_column: str | int | None = None,
    key: str | None = None,
) -> FloatArray:  # (N, D)
    """The features of a file alone, as a finite (N, D) float64 array; the formats are those of `read_dataset`.

    Raises:
        DataError: As `read_dataset`.
        ResourceError: The array does not fit into memory.
    """
    file = _existing(path)
    return as_matrix(_read_table(file, label_column=label_column, key=key).X, f"file {file}")


def read_labels(path: StrPath) -> npt.NDArray[Any]:  # (N,)
    """Labels from a file: int64 or text classes, or float64 targets. Missing ones become -1, "" or NaN.

    npy (N,); npz with key y or labels, or one array only; text with one column, or with one column named y, label,
    labels, target or class. In text an empty cell or line, or a NaN among numbers, is a missing label. Text labels
    without a header line are labels from the first line on, unless that line is one of the names above.

    Raises:
        DataError: A file that cannot be read, several columns and none of these names, labels that `Dataset` refuses.
    """
    file = _existing(path)
    return as_labels(_read_column(file, names=LABEL_NAMES, wanted="labels"), None, f"file {file}")


def read_pairs(path: StrPath) -> tuple[IntArray, IntArray, FloatArray | None]:  # i (P,), j (P,), weight (P,) | None
    """Pairs of row numbers and their weights, if there are any.

    text
        Columns i, j[, weight] by name where the header has i and j; else the first two columns, and a third one as the
        weight where there is no header or the header calls it weight or w.
    npz
        Keys i, j and, if present, weight.
    npy
        (P, 2), or (P, 3) with weights in the last column.

    Row numbers count from 0 and are read exactly: 3 and 3.0 are 3, while 3.7, -1 and numbers beyond int64 are errors.

    Raises:
        DataError: A file that cannot be read, no pair at all, other columns, row numbers as above (with the line or
            row), weights that are negative, NaN or infinite.
    """
    file = _existing(path)
    kind = _kind(file)
    if kind == "text":
        return _pairs_from_text(file)
    if kind == "npz":
        keys = _npz_keys(file)
        if "i" not in keys or "j" not in keys:
            raise DataError(
                f"{file}: pairs need the keys i and j (and weight), the file has {', '.join(keys) or 'none'}"
            )
        i, j = _load_npz(file, "i"), _load_npz(file, "j")
        weight = _load_npz(file, "weight") if "weight" in keys else None
    else:
        array = _load_npy(file)
        if array.ndim != 2 or array.shape[1] not in (2, 3):
            raise DataError(f"{file}: pairs need shape (P, 2), or (P, 3) with weights, got {array.shape}")
        i, j, weight = array[:, 0], array[:, 1], array[:, 2] if array.shape[1] == 3 else None
    return _checked_pairs(file, i, j, weight)


# --- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    X: npt.NDArray[Any]
    meta: dict[str, Any]
    y: Any = None
    source: Any = None
    image_shape: tuple[int, int] | None = None


def _existing(path: object) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(f"a path is needed, got {type(path).__name__}")
    file = Path(path)
    try:
        if file.is_dir():
            raise DataError(f"{file} is a directory; name a file in it")
        if not file.exists():
            siblings = [sibling.name for sibling in file.parent.iterdir()] if file.parent.is_dir() else []
            near = difflib.get_close_matches(file.name, siblings, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"looked in {file.parent.absolute()}"
            raise DataError(f"no such file: {file}; {hint}")
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty (0 bytes)")
        with file.open("rb"):
            return file
    except OSError as error:
        raise DataError(f"{file} cannot be opened: {error.strerror}") from None


def _kind(file: Path) -> str:
    """ "npy", "npz" or "text", by the suffix."""
    suffix = file.suffix.lower()
    if suffix in (".npy", ".npz"):
        return suffix[1:]
    if suffix in TEXT_SUFFIXES:
        return "text"
    kind = f"files of kind {suffix!r}" if suffix else "files without a suffix"
    raise DataError(f"{file}: {kind} cannot be read; use npy, npz, csv, tsv or txt, e.g. np.save('data.npy', X)")


def _read_table(file: Path, *, label_column: str | int | None, key: str | None) -> _Table:
    kind = _kind(file)
    if key is not None and kind != "npz":
        raise DataError(f"{file}: key={key!r} names an array of an npz file; drop it")
    if label_column is not None and kind != "text":
        raise DataError(
            f"{file}: label_column={label_column!r} is for text files; keep labels under the key y of an npz file, or "
            "pass a file of labels"
        )
    if kind == "text":
        return _table_from_text(file, label_column)
    if kind == "npz":
        return _table_from_npz(file, key)
    return _table_from_array(_load_npy(file), {})


def _table_from_array(X: npt.NDArray[Any], meta: dict[str, Any], y: Any = None, source: Any = None) -> _Table:
    """Three axes are images (N, height, width)."""
    if X.ndim != 3 or 0 in X.shape:
        return _Table(X, meta, y, source)
    height, width = X.shape[1:]
    return _Table(X.reshape(len(X), height * width), meta, y, source, (height, width))


def _table_from_npz(file: Path, key: str | None) -> _Table:
    keys = _npz_keys(file)
    label_keys = [name for name in ("y", "labels") if name in keys and name != key]
    if len(label_keys) > 1:
        raise DataError(f"{file} has both y and labels; keep one of them")
    if key is None:
        rest = [name for name in keys if name not in ("y", "labels", "source")]
        known = [name for name in ARRAY_KEYS if name in keys]
        if not known and len(rest) != 1:
            raise DataError(f"{file}: which array is X? It has {', '.join(keys) or 'none'}; call it X, or pass key=")
        key = known[0] if known else rest[0]
    elif key not in keys:
        raise DataError(f"{file}: no array {key!r}: {did_you_mean(key, keys)}")
    meta: dict[str, Any] = {"key": key}
    y = source = None
    if label_keys:
        y, meta["labels_from"] = _load_npz(file, label_keys[0]), f"key {label_keys[0]!r}"
    if "source" in keys and key != "source":
        source, meta["source_from"] = _load_npz(file, "source"), "key 'source'"
    return _table_from_array(_load_npz(file, key), meta, y, source)


# numpy, zipfile, zlib and the tokenizer behind numpy's headers raise exceptions of a dozen unrelated kinds on a broken
# file, so the functions below turn any of them into a DataError.


def _broken(file: Path, error: BaseException) -> DataError:
    with file.open("rb") as stream:
        head = stream.read(6)
    reason = " ".join(str(error).split()) or type(error).__name__
    if head[:1] == b"\x80" or "object array" in reason.lower() or "python object" in reason.lower():
        return DataError(
            f"{file} holds pickled Python objects, and reading them could run foreign code; save plain arrays: "
            "np.save(path, X.astype(float))"
        )
    if head != b"\x93NUMPY" and head[:2] != b"PK":
        reason = f"it starts with {head!r}"
    return DataError(f"{file} is truncated or not a {_kind(file)} file ({reason}); write it again")


def _too_large(file: Path) -> ResourceError:
    return ResourceError(f"{file} ({file.stat().st_size / 2**30:.3g} GiB) does not fit into memory; read a part of it")


def _load_npy(file: Path) -> npt.NDArray[Any]:
    small = file.stat().st_size < 2**10  # it may have no entries or no axes, and these cannot be mapped
    try:
        # A map compares the header with the size of the file before anything of that size is allocated.
        loaded = np.load(file, mmap_mode=None if small else "r", allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            loaded.close()
            raise DataError(f"{file} is an npz archive; give it the suffix .npz")
        return np.array(loaded)
    except DataError:
        raise
    except MemoryError as error:
        raise (_broken(file, error) if small else _too_large(file)) from None
    except Exception as error:
        raise _broken(file, error) from None


def _npz_keys(file: Path) -> list[str]:
    try:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{file} is a single npy array; give it the suffix .npy")
        with archive:
            return list(archive.files)
    except DataError:
        raise
    except Exception as error:
        raise _broken(file, error) from None


def _load_npz(file: Path, key: str) -> npt.NDArray[Any]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return np.asarray(archive[key])
    except MemoryError:
        raise _too_large(file) from None
    except Exception as error:
        raise _broken(file, error) from None


# --- text ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
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
        with _open(self.file) as stream:
            for _ in range(self.n_leading):
                next(stream)
            yield from _cells(stream, self.delimiter, self.n_leading)


class _open:
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


def _layout(file: Path) -> _Layout:
    """Delimiter and first rows; the header is decided by the caller, who knows what the columns mean."""
    with _open(file) as stream:
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
    with _open(file) as stream:
        for _ in range(n_skipped):
            next(stream)
        rows = _cells(stream, delimiter, n_skipped)
        first = [cells for _, cells in (next(rows, (0, [])), next(rows, (0, []))) if cells]
    return _Layout(file, delimiter, n_skipped, first)


def _delimiter(file: Path, first_lines: Sequence[str]) -> str | None:
    if file.suffix.lower() == ".tsv":
        return "\t"
    for candidate in ("\t", ";", ","):
        if candidate in first_lines[0]:
            return candidate
    blanks = (line.split() for line in first_lines)
    return None if any(len(cells) > 1 and all(map(_is_number, cells)) for cells in blanks) else ","


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, other readers do not


def _has_header(layout: _Layout, names: Sequence[str]) -> bool:
    """A first row with a known name, with text above numbers, or with no number in it at all is a header."""
    first = layout.first[0]
    text = [position for position, cell in enumerate(first) if not _is_number(cell)]
    if not text:
        return False
    if any(first[position].lower() in names for position in text):
        return True
    second = layout.first[-1]  # the first row itself if it is the only one
    text_above_number = len(second) == len(first) and any(_is_number(second[position]) for position in text)
    return text_above_number or len(text) == len(first)


def _with_header(layout: _Layout, header: bool) -> _Layout:
    if header and len(layout.first) < 2:
        raise DataError(f"{layout.file} has a header ({', '.join(layout.first[0])}) and no rows under it")
    return _Layout(layout.file, layout.delimiter, layout.n_skipped, layout.first, layout.first[0] if header else None)


def _table_from_text(file: Path, label_column: str | int | None) -> _Table:
    layout = _layout(file)
    layout = _with_header(layout, _has_header(layout, (*LABEL_NAMES, "source")))
    meta: dict[str, Any] = {}
    special = _special_columns(layout, label_column)
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
        found[role] = _parse(_read_cells(layout, column))
        if role == "labels":
            meta["labels_from"] = f"column {_column_name(layout, column)}"
        else:
            meta["source_from"] = "column 'source'"
    if layout.header is not None:
        meta["feature_names"] = tuple(layout.header[column] for column in columns)
    return _Table(X, meta, found["labels"], found["source"])


def _special_columns(layout: _Layout, label_column: str | int | None) -> dict[str, int]:
    """Positions of the columns that are no features: {"labels": ..., "source": ...}, as far as there are any."""
    header = layout.header
    lower = [name.lower() for name in header] if header is not None else []
    special: dict[str, int] = {}
    if isinstance(label_column, str):
        if header is None:
            raise DataError(
                f"{layout.file} has no header, so no column is called {label_column!r}; pass its position, "
                f"0 .. {layout.n_columns - 1}"
            )
        if label_column not in header:
            raise DataError(f"{layout.file}: no column {label_column!r}: {did_you_mean(label_column, header)}")
        special["labels"] = header.index(label_column)
    elif label_column is not None:
        what = f"{layout.file}: label_column, a name or a position,"
        special["labels"] = check_int(label_column, what, low=0, high=layout.n_columns - 1)
    else:
        candidates = [position for position, name in enumerate(lower) if name in LABEL_NAMES]
        if len(candidates) > 1:
            names = " and ".join(repr(header[position]) for position in candidates) if header is not None else ""
            raise DataError(f"{layout.file}: {names} could all be the labels; say which with label_column=")
        if candidates:
            special["labels"] = candidates[0]
    if "source" in lower and lower.index("source") not in special.values():
        special["source"] = lower.index("source")
    return special


def _column_name(layout: _Layout, column: int) -> str:
    return repr(layout.header[column]) if layout.header is not None else str(column)


def _read_numbers(layout: _Layout, columns: Sequence[int]) -> FloatArray:
    """The columns as float64 (N, len(columns)): by numpy's parser, or if it fails slowly, naming the wrong cell."""
    # numpy checks the width of every row only when it reads all columns; with fewer, reading the others checks it
    chosen = None if len(columns) == layout.n_columns else columns
    try:
        return np.asarray(_loadtxt(layout, np.dtype(np.float64), chosen, ndmin=2))
    except (ValueError, OverflowError, Warning):
        return np.array([_numbers_of_line(layout, line, cells, columns) for line, cells in layout.rows()])


def _numbers_of_line(layout: _Layout, line: int, cells: list[str], columns: Sequence[int]) -> list[float]:
    _check_width(layout, line, cells)
    for column in columns:
        if not _is_number(cells[column]):
            raise _not_a_number(layout, line, column, cells[column])
    return [float(cells[column]) for column in columns]


def _loadtxt(
    layout: _Layout, dtype: np.dtype[Any], columns: Sequence[int] | None, ndmin: Literal[1, 2]
) -> npt.NDArray[Any]:
    if len(set(map(len, layout.first))) > 1:
        raise ValueError("rows of different lengths")
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


def _check_width(layout: _Layout, line: int, cells: list[str]) -> None:
    if len(cells) != layout.n_columns:
        raise DataError(
            f"{layout.file}: line {line} has {len(cells)} cells, the first row has {layout.n_columns}; every row needs "
            "the same number"
        )


def _not_a_number(layout: _Layout, line: int, column: int, cell: str) -> DataError:
    if not cell:
        what, fix = "is empty", "fill it or drop the row"
    elif layout.delimiter != "," and "," in cell and _is_number(cell.replace(",", ".", 1)):
        what, fix = f"is {cell!r}, with a decimal comma", "write numbers with a decimal point"
    else:
        what, fix = f"is {cell!r}, not a number", "drop or encode the column, or pass it as label_column"
    return DataError(f"{layout.file}: line {line}, column {_column_name(layout, column)} {what}; {fix}")


def _read_cells(layout: _Layout, column: int) -> list[str]:
    cells_of_column = []
    for line, cells in layout.rows():
        _check_width(layout, line, cells)
        cells_of_column.append(cells[column])
    return cells_of_column


def _parse(cells: list[str]) -> list[Any]:
    """Cells as ints if all are, else as floats if all are, else as text; empty, or NaN among numbers, is None."""
    known = [cell for cell in cells if cell and cell.lower() != "nan"]
    for kind in (int, float):
        if known and all(_is_number(cell) for cell in known):
            try:
                values = dict(zip(known, map(kind, known), strict=True))
            except ValueError:
                continue
            return [values.get(cell) for cell in cells]
    return [cell or None for cell in cells]


# --- one column ------------------------------------------------------------------------------------------------------


def _read_column(file: Path, *, names: Sequence[str], wanted: str) -> Any:
    """One value per row: labels, or ids of sources."""
    kind = _kind(file)
    if kind == "npy":
        return _load_npy(file)
    if kind == "npz":
        keys = _npz_keys(file)
        known = [name for name in names if name in keys] or keys
        if len(known) != 1:
            raise DataError(
                f"{file}: which array holds the {wanted}? It has {', '.join(keys) or 'none'}; call it {names[0]}"
            )
        return _load_npz(file, known[0])
    layout = _layout(file)
    if layout.n_columns == 1 or not _has_header(layout, names):
        return _parse(_single_column(layout, names, wanted))
    layout = _with_header(layout, True)
    header = layout.first[0]
    columns = [position for position, name in enumerate(header) if name.lower() in names]
    if len(columns) != 1:
        raise DataError(
            f"{file}: which column holds the {wanted}? It has {', '.join(header)}; keep one, or call one {names[0]}"
        )
    return _parse(_read_cells(layout, columns[0]))


def _single_column(layout: _Layout, names: Sequence[str], wanted: str) -> list[str]:
    """Every line is a value, blank ones too, except at the end of the file."""
    if layout.n_columns != 1:
        raise DataError(f"{layout.file} has {layout.n_columns} columns and no header; the {wanted} need one column")
    with _open(layout.file) as stream:
        for _ in range(layout.n_skipped):
            next(stream)
        lines = [line.strip().strip('"') for line in stream]
    while lines and not lines[-1]:
        lines.pop()
    first, rest = lines[0], [line for line in lines[1:] if line]
    numbers_below_text = bool(rest) and all(_is_number(line) for line in rest) and not _is_number(first)
    if first.lower() in names or numbers_below_text:
        lines = lines[1:]
    if not lines:
        raise DataError(f"{layout.file} has a header ({first}) and no rows under it")
    return lines


# --- pairs -----------------------------------------------------------------------------------------------------------


def _pairs_from_text(file: Path) -> tuple[IntArray, IntArray, FloatArray | None]:
    layout = _layout(file)
    layout = _with_header(layout, not any(_is_number(cell) for cell in layout.first[0]))
    columns = _pair_columns(layout)
    kinds = [("i", np.int64), ("j", np.int64), ("weight", np.float64)]
    in_file_order = [kinds[columns.index(column)] for column in range(len(columns))]
    try:
        table = _loadtxt(layout, np.dtype(in_file_order), None, ndmin=1)
    except (ValueError, OverflowError, Warning):
        return _pairs_line_by_line(layout, columns)
    i, j = np.ascontiguousarray(table["i"]), np.ascontiguousarray(table["j"])
    weight = np.ascontiguousarray(table["weight"]) if len(columns) == 3 else None
    clean = i.min() >= 0 and j.min() >= 0 and (weight is None or bool((np.isfinite(weight) & (weight >= 0)).all()))
    return (i, j, weight) if clean else _pairs_line_by_line(layout, columns)


def _pair_columns(layout: _Layout) -> list[int]:
    """Positions of i, j and, if there is one, the weight."""
    file, header, n_columns = layout.file, layout.header, layout.n_columns
    if header is None:
        if n_columns not in (2, 3):
            raise DataError(f"{file}: pairs need the columns i, j and maybe weight, the file has {n_columns} columns")
        return list(range(n_columns))
    lower = [name.lower() for name in header]
    weights = [position for position, name in enumerate(lower) if name in ("weight", "w")]
    if "i" in lower and "j" in lower:
        columns = [lower.index("i"), lower.index("j"), *weights]
    elif n_columns >= 2:
        columns = [0, 1, *(position for position in weights if position > 1)]
    else:
        columns = []
    if len(columns) < 2 or len(columns) != n_columns:
        raise DataError(
            f"{file}: pairs need the columns i, j and maybe weight, the header has {', '.join(header)}; rename or drop "
            "columns"
        )
    return columns


def _pairs_line_by_line(layout: _Layout, columns: Sequence[int]) -> tuple[IntArray, IntArray, FloatArray | None]:
    """The same pairs, slowly: names the line of the first wrong cell, and reads whole numbers written as 3.0."""
    pairs: list[tuple[int, int]] = []
    weights: list[float] = []
    for line, cells in layout.rows():
        _check_width(layout, line, cells)
        first, second = (_row_number(layout, line, column, cells[column]) for column in columns[:2])
        pairs.append((first, second))
        if len(columns) == 3:
            weights.append(_weight(layout, line, columns[2], cells[columns[2]]))
    array = np.array(pairs, dtype=np.int64)
    return array[:, 0].copy(), array[:, 1].copy(), np.array(weights) if weights else None


def _row_number(layout: _Layout, line: int, column: int, cell: str) -> int:
    where = f"{layout.file}: line {line}, column {_column_name(layout, column)}"
    if not _is_number(cell):
        raise DataError(f"{where} is {cell!r}, not a row number; row numbers are 0, 1, 2, ...")
    try:
        number = int(cell)
    except ValueError:
        value = float(cell)
        if not (math.isfinite(value) and value.is_integer()):
            raise DataError(f"{where} is {cell}, not a whole number; row numbers are 0, 1, 2, ...") from None
        if abs(value) > EXACT_FLOAT:
            raise DataError(
                f"{where} is {cell}, too large to be exact as a float; write it as a whole number"
            ) from None
        number = int(value)
    if number < 0:
        raise DataError(f"{where} is {cell}; row numbers count from 0")
    if number > INT64_MAX:
        raise DataError(f"{where} is {cell}, beyond int64; row numbers count the rows of the data from 0")
    return number


def _weight(layout: _Layout, line: int, column: int, cell: str) -> float:
    where = f"{layout.file}: line {line}, column {_column_name(layout, column)}"
    value = float(cell) if _is_number(cell) else math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{where} is {cell!r}; weights are finite numbers >= 0")
    return value


def _checked_pairs(
    file: Path, i: npt.NDArray[Any], j: npt.NDArray[Any], weight: npt.NDArray[Any] | None
) -> tuple[IntArray, IntArray, FloatArray | None]:
    n_pairs = i.size
    for name, array in (("i", i), ("j", j), ("weight", weight)):
        if array is not None and (array.ndim != 1 or array.size != n_pairs):
            raise DataError(f"{file}: i, j and weight need one axis of equal length, {name} has shape {array.shape}")
    if n_pairs == 0:
        raise DataError(f"{file} holds no pairs")
    if weight is not None:
        if weight.dtype.kind not in "fiub":
            raise DataError(f"{file}: weights have dtype {weight.dtype}; numbers are needed")
        weight = np.ascontiguousarray(weight, dtype=np.float64)
        bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
        if bad.size:
            raise DataError(f"{file}: the weight of pair {bad[0]} is {weight[bad[0]]}; weights are finite numbers >= 0")
    return _exact_rows(file, "i", i), _exact_rows(file, "j", j), weight


def _exact_rows(file: Path, name: str, numbers: npt.NDArray[Any]) -> IntArray:
    if numbers.dtype.kind not in "iuf":
        raise DataError(f"{file}: {name} has dtype {numbers.dtype}; row numbers are whole numbers")
    if numbers.dtype.kind == "f":
        bad = np.flatnonzero(
            ~(np.isfinite(numbers) & (np.round(numbers) == numbers) & (np.abs(numbers) <= EXACT_FLOAT))
        )
        if bad.size:
            raise DataError(f"{file}: {name} of pair {bad[0]} is {numbers[bad[0]]}, not a whole number; save integers")
    if numbers.dtype.kind == "u" and int(numbers.max()) > INT64_MAX:
        raise DataError(f"{file}: {name} of pair {int(numbers.argmax())} is {numbers.max()}, beyond int64")
    if numbers.min() < 0:
        raise DataError(f"{file}: {name} of pair {int(numbers.argmin())} is {numbers.min()}; row numbers count from 0")
    return np.ascontiguousarray(numbers, dtype=np.int64)
