"""Parquet tables, read with pyarrow: columns of numbers, and of lists of numbers, which are embeddings."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.data._checks import FloatArray, check_int
from spectral_ssl.data._memory import check_rows
from spectral_ssl.data.readers.files import Table, missing_extra
from spectral_ssl.data.readers.text import special_columns
from spectral_ssl.errors import DataError, ResourceError, SpectralSSLError

__all__ = ["is_parquet", "read_parquet"]

SUFFIXES = (".parquet", ".pq")
PANDAS_INDEX = re.compile(r"^__index_level_\d+__$")
BATCH = 4096  # rows read at once; the first batch tells how long lists are


def read_parquet(file: Path, *, label_column: str | int | None = None, limit: int | None = None) -> Table:
    """One row per sample: labels and ids as in a text table, every other column numbers, or lists of equal length.

    Lists are laid out one after the other, in the place of their column. An index that pandas wrote is left out.

    Args:
        label_column: A name, or a position from 0.
        limit: At most so many rows, the first ones.
    """
    with _readable(file):
        return _table(file, label_column, limit)


def is_parquet(file: Path) -> bool:
    """By its suffix."""
    return not file.is_dir() and file.suffix.lower() in SUFFIXES


def _table(file: Path, label_column: str | int | None, limit: int | None) -> Table:
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
    table = _read(file, parquet, columns, list(special.values()), n_rows)
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


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    """On a broken file pyarrow raises exceptions of many kinds, some only when names or entries are looked at."""
    try:
        yield
    except SpectralSSLError:
        raise
    except MemoryError as error:
        raise ResourceError(f"{file} does not fit into memory, or is damaged ({error}); pass limit=") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{file} is truncated or not a parquet file ({reason}); write it again") from None


def _open(file: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("pyarrow", f"reading {file}") from None
    return parquet.ParquetFile(file, page_checksum_verification=True)


def _read(file: Path, parquet: Any, columns: Sequence[str], special: Sequence[str], n_rows: int) -> Any:
    """The first rows as a table of pyarrow; refused after the first batch if they would not fit."""
    import pyarrow

    batches, have = [], 0
    for batch in parquet.iter_batches(batch_size=BATCH, columns=[*columns, *special]):
        if have == 0 and batch.num_rows:
            n_features = round(sum(_count_values(batch.column(name)) for name in columns) / batch.num_rows)
            check_rows(n_rows, n_features, str(file), "pass limit=")
        batches.append(batch)
        have += batch.num_rows
        if have >= n_rows:
            break
    if not have:
        raise DataError(f"{file} has the columns {', '.join([*columns, *special])} and no rows")
    return pyarrow.Table.from_batches(batches).slice(0, n_rows)


def _count_values(array: Any) -> int:
    """Entries of a column, those of its lists one by one; not from the footer, where a damaged one ends the process."""
    return len(array.flatten()) if _is_list(array.type) else len(array)


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _numbers(file: Path, name: str, column: Any) -> FloatArray:  # (N, 1), or (N, length of the lists)
    _check_no_nulls(file, name, column)
    if _is_list(column.type):
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
