"""Parquet tables, read with pyarrow: columns of numbers, and of lists of numbers, which are embeddings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.data._checks import FloatArray, check_int
from spectral_ssl.data._memory import check_memory
from spectral_ssl.data.readers.files import Table, missing_extra
from spectral_ssl.data.readers.text import special_columns
from spectral_ssl.errors import DataError

__all__ = ["is_parquet", "read_parquet"]

SUFFIXES = (".parquet", ".pq")
PANDAS_INDEX = re.compile(r"^__index_level_\d+__$")


def read_parquet(file: Path, *, label_column: str | int | None = None, limit: int | None = None) -> Table:
    """One row per sample: labels and ids as in a text table, every other column numbers, or lists of equal length.

    Lists are laid out one after the other, in the place of their column. An index that pandas wrote is left out.

    Args:
        label_column: A name, or a position from 0.
        limit: At most so many rows, the first ones.
    """
    parquet = _open(file)
    names = list(parquet.schema_arrow.names)
    if len(set(names)) < len(names):
        raise DataError(f"{file} has two columns of one name; rename one")
    special = {
        role: names[position] for role, position in special_columns(file, names, len(names), label_column).items()
    }
    columns = [name for name in names if name not in special.values() and not PANDAS_INDEX.match(name)]
    if not columns:
        raise DataError(f"{file}: no column of features is left beside {', '.join(special) or 'the index'}")
    n_rows = parquet.metadata.num_rows
    if limit is not None:
        n_rows = min(n_rows, check_int(limit, f"{file}: limit", low=2))
    n_features = round(_count_values(parquet, columns) / max(1, parquet.metadata.num_rows))
    check_memory(
        8.0 * n_rows * n_features, f"{file}: {n_rows:,} rows of {n_features:,} features as float64", "pass limit="
    )
    table = _read(file, parquet, [*columns, *special.values()], n_rows)
    blocks = [_numbers(file, name, table.column(name)) for name in columns]
    meta: dict[str, Any] = {"feature_names": _feature_names(columns, blocks)}
    left_out = [name for name in names if PANDAS_INDEX.match(name)]
    if left_out:
        meta["left_out"] = f"{', '.join(left_out)}, the index of a data frame"
    found: dict[str, Any] = {"labels": None, "source": None}
    for role, name in special.items():
        found[role] = table.column(name).to_pylist()
        meta["labels_from" if role == "labels" else "source_from"] = f"column {name!r}"
    return Table(np.hstack(blocks), meta, found["labels"], found["source"])


def is_parquet(file: Path) -> bool:
    """By its suffix."""
    return not file.is_dir() and file.suffix.lower() in SUFFIXES


def _open(file: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("pyarrow", f"reading {file}") from None
    try:
        return parquet.ParquetFile(file, page_checksum_verification=True)
    except Exception as error:  # pyarrow raises its own kinds, and OSError for a broken footer
        raise _broken(file, error) from None


def _count_values(parquet: Any, columns: Sequence[str]) -> int:
    """Entries of these columns, those of their lists counted one by one, as the footer says."""
    footer = parquet.metadata
    chunks = (footer.row_group(g).column(k) for g in range(footer.num_row_groups) for k in range(footer.num_columns))
    return sum(
        chunk.num_values
        for chunk in chunks
        if chunk.path_in_schema in columns or chunk.path_in_schema.split(".")[0] in columns
    )


def _read(file: Path, parquet: Any, columns: Sequence[str], n_rows: int) -> Any:
    import pyarrow

    batches, have = [], 0
    try:
        for batch in parquet.iter_batches(columns=list(columns)):
            batches.append(batch)
            have += batch.num_rows
            if have >= n_rows:
                break
        if have:
            return pyarrow.Table.from_batches(batches).slice(0, n_rows)
    except MemoryError:
        raise
    except Exception as error:
        raise _broken(file, error) from None
    raise DataError(f"{file} has the columns {', '.join(columns)} and no rows")


def _broken(file: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{file} is truncated or not a parquet file ({reason}); write it again")


def _numbers(file: Path, name: str, column: Any) -> FloatArray:  # (N, 1), or (N, length of the lists)
    from pyarrow import types

    kind = column.type
    _check_no_nulls(file, name, column)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        flat = column.combine_chunks().flatten()
        _check_lists(file, name, column)
        if flat.null_count:
            raise DataError(f"{file}: column {name!r} has lists with empty entries; fill them or drop the rows")
        return _cast(file, name, flat).reshape(len(column), -1)
    return _cast(file, name, column)[:, None]


def _check_no_nulls(file: Path, name: str, column: Any) -> None:
    if column.null_count:
        row = next(i for i, missing in enumerate(column.is_null().to_pylist()) if missing)
        more = "" if column.null_count == 1 else f" ({column.null_count} rows in all)"
        raise DataError(f"{file}: row {row}, column {name!r} is empty{more}; fill it or drop the row")


def _check_lists(file: Path, name: str, column: Any) -> None:
    from pyarrow import compute

    lengths = compute.list_value_length(column).to_numpy()
    if not len(lengths) or lengths[0] == 0 or (lengths != lengths[0]).any():
        other = int(np.argmax(lengths != lengths[0])) if len(lengths) else 0
        raise DataError(
            f"{file}: column {name!r} holds lists of {lengths[0] if len(lengths) else 0} numbers in row 0 and of "
            f"{lengths[other] if len(lengths) else 0} in row {other}; features need lists of one length"
        )


def _cast(file: Path, name: str, array: Any) -> FloatArray:
    from pyarrow import compute, types

    kind = array.type
    if not any(is_(kind) for is_ in (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)):
        raise DataError(
            f"{file}: column {name!r} holds {kind}, not numbers; drop or encode the column, or pass it as label_column"
        )
    return np.asarray(compute.cast(array, "float64", safe=False), dtype=np.float64)


def _feature_names(columns: Sequence[str], blocks: Sequence[FloatArray]) -> tuple[str, ...]:
    """name, or name[0], name[1], ... of a list."""
    return tuple(
        name if block.shape[1] == 1 else f"{name}[{k}]"
        for name, block in zip(columns, blocks, strict=True)
        for k in range(block.shape[1])
    )
