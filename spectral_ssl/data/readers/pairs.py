"""Lists of positive pairs: row numbers, read exactly, and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import FloatArray, IntArray
from spectral_ssl.data.readers.arrays import load_npy, load_npz, npz_keys
from spectral_ssl.data.readers.files import StrPath, existing, plain_kind
from spectral_ssl.data.readers.text import (
    Layout,
    check_width,
    column_name,
    is_number,
    layout_of,
    load_numbers,
    with_header,
)
from spectral_ssl.errors import DataError

__all__ = ["read_pairs"]

INT64_MAX = np.iinfo(np.int64).max
EXACT_FLOAT = 2**53  # whole numbers up to here are exact in float64


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
    file = existing(path)
    kind = plain_kind(file)
    if kind == "text":
        return _pairs_from_text(file)
    if kind == "npz":
        keys = npz_keys(file)
        if "i" not in keys or "j" not in keys:
            raise DataError(
                f"{file}: pairs need the keys i and j (and weight), the file has {', '.join(keys) or 'none'}"
            )
        i, j = load_npz(file, "i"), load_npz(file, "j")
        weight = load_npz(file, "weight") if "weight" in keys else None
    else:
        array = load_npy(file)
        if array.ndim != 2 or array.shape[1] not in (2, 3):
            raise DataError(f"{file}: pairs need shape (P, 2), or (P, 3) with weights, got {array.shape}")
        i, j, weight = array[:, 0], array[:, 1], array[:, 2] if array.shape[1] == 3 else None
    return _checked_pairs(file, i, j, weight)


def _pairs_from_text(file: Path) -> tuple[IntArray, IntArray, FloatArray | None]:
    layout = layout_of(file)
    layout = with_header(layout, not any(is_number(cell) for cell in layout.first[0]))
    columns = _pair_columns(layout)
    kinds = [("i", np.int64), ("j", np.int64), ("weight", np.float64)]
    in_file_order = [kinds[columns.index(column)] for column in range(len(columns))]
    try:
        table = load_numbers(layout, np.dtype(in_file_order), None, ndmin=1)
    except (ValueError, OverflowError, Warning):
        return _pairs_line_by_line(layout, columns)
    i, j = np.ascontiguousarray(table["i"]), np.ascontiguousarray(table["j"])
    weight = np.ascontiguousarray(table["weight"]) if len(columns) == 3 else None
    clean = i.min() >= 0 and j.min() >= 0 and (weight is None or bool((np.isfinite(weight) & (weight >= 0)).all()))
    return (i, j, weight) if clean else _pairs_line_by_line(layout, columns)


def _pair_columns(layout: Layout) -> list[int]:
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
    elif n_columns >= 2 and not {0, 1} & set(weights):
        columns = [0, 1, *weights]
    else:
        columns = []
    if len(columns) not in (2, 3) or len(columns) != n_columns:
        raise DataError(
            f"{file}: pairs need the columns i, j and maybe weight, the header has {', '.join(header)}; rename or drop "
            "columns"
        )
    return columns


def _pairs_line_by_line(layout: Layout, columns: Sequence[int]) -> tuple[IntArray, IntArray, FloatArray | None]:
    """The same pairs, slowly: names the line of the first wrong cell, and reads whole numbers written as 3.0."""
    pairs: list[tuple[int, int]] = []
    weights: list[float] = []
    for line, cells in layout.rows():
        check_width(layout, line, cells)
        first, second = (_row_number(layout, line, column, cells[column]) for column in columns[:2])
        pairs.append((first, second))
        if len(columns) == 3:
            weights.append(_weight(layout, line, columns[2], cells[columns[2]]))
    array = np.array(pairs, dtype=np.int64)
    return array[:, 0].copy(), array[:, 1].copy(), np.array(weights) if weights else None


def _row_number(layout: Layout, line: int, column: int, cell: str) -> int:
    where = f"{layout.file}: line {line}, column {column_name(layout, column)}"
    if not is_number(cell):
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


def _weight(layout: Layout, line: int, column: int, cell: str) -> float:
    where = f"{layout.file}: line {line}, column {column_name(layout, column)}"
    value = float(cell) if is_number(cell) else math.nan
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
