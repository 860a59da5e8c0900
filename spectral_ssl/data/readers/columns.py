"""One value per row: labels, or ids of sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from spectral_ssl.data._checks import as_labels
from spectral_ssl.data.readers.arrays import load_npy, load_npz, npz_keys
from spectral_ssl.data.readers.files import StrPath, existing, plain_kind
from spectral_ssl.data.readers.idx import looks_like_idx, read_idx_array
from spectral_ssl.data.readers.text import (
    LABEL_NAMES,
    Layout,
    has_header,
    is_number,
    layout_of,
    open_text,
    parse_cells,
    read_cells,
    with_header,
)
from spectral_ssl.errors import DataError

__all__ = ["read_column", "read_labels"]


def read_labels(path: StrPath) -> npt.NDArray[Any]:  # (N,)
    """Labels from a file: int64 or text classes, or float64 targets. Missing ones become -1, "" or NaN.

    npy or IDX (N,); npz with key y or labels, or one array only; text with one column, or with one column named y,
    label, labels, target or class. In text an empty cell or line, or a NaN among numbers, is a missing label. Text
    labels without a header line are labels from the first line on, unless that line is one of the names above.

    Raises:
        DataError: A file that cannot be read, several columns and none of these names, labels that `Dataset` refuses.
    """
    file = existing(path)
    return as_labels(read_column(file, names=LABEL_NAMES, wanted="labels"), None, f"file {file}")


def read_column(file: Path, *, names: Sequence[str], wanted: str) -> Any:
    """One value per row: labels, or ids of sources."""
    if looks_like_idx(file):
        return read_idx_array(file)
    kind = plain_kind(file)
    if kind == "npy":
        return load_npy(file)
    if kind == "npz":
        keys = npz_keys(file)
        known = [name for name in names if name in keys] or keys
        if len(known) != 1:
            raise DataError(
                f"{file}: which array holds the {wanted}? It has {', '.join(keys) or 'none'}; call it {names[0]}"
            )
        return load_npz(file, known[0])
    layout = layout_of(file)
    if layout.n_columns == 1 or not has_header(layout, names):
        return parse_cells(_single_column(layout, names, wanted))
    layout = with_header(layout, True)
    header = layout.first[0]
    columns = [position for position, name in enumerate(header) if name.lower() in names]
    if len(columns) != 1:
        raise DataError(
            f"{file}: which column holds the {wanted}? It has {', '.join(header)}; keep one, or call one {names[0]}"
        )
    return parse_cells(read_cells(layout, columns[0]))


def _single_column(layout: Layout, names: Sequence[str], wanted: str) -> list[str]:
    """Every line is a value, blank ones too, except at the end of the file."""
    if layout.n_columns != 1:
        raise DataError(f"{layout.file} has {layout.n_columns} columns and no header; the {wanted} need one column")
    with open_text(layout.file) as stream:
        for _ in range(layout.n_skipped):
            next(stream)
        lines = [line.strip().strip('"') for line in stream]
    while lines and not lines[-1]:
        lines.pop()
    first, rest = lines[0], [line for line in lines[1:] if line]
    numbers_below_text = bool(rest) and all(is_number(line) for line in rest) and not is_number(first)
    if first.lower() in names or numbers_below_text:
        lines = lines[1:]
    if not lines:
        raise DataError(f"{layout.file} has a header ({first}) and no rows under it")
    return lines
