"""Turning what a caller passes into the arrays the library works on, or into one clear sentence.

Every function takes `what`, the words a message begins with (for example "data 'mine'"), and raises `DataError` that
says how many entries are wrong, where the first one is and how to mend it.
"""

from __future__ import annotations

import math
import mmap
import numbers
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.errors import DataError

__all__ = [
    "FloatArray",
    "ImageShape",
    "IntArray",
    "as_codes",
    "as_index",
    "as_labels",
    "as_matrix",
    "check_image_shape",
    "check_int",
    "check_real",
    "frozen",
    "generator",
    "is_mapped",
    "missing_labels",
    "row_blocks",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ImageShape = tuple[int, int] | tuple[int, int, int]

BLOCK = 2**20  # entries of X looked at at once where a temporary as large as X is to be avoided
MISSING_CODE = -1  # the integer label of a row whose class is not known


# --- scalars ---------------------------------------------------------------------------------------------------------


def check_int(value: object, what: str, *, low: int, high: int | None = None) -> int:
    """`value` as an int in [low, high]; a bool, a fraction or text is a DataError."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
    if not whole or int(value) < low or (high is not None and int(value) > high):  # type: ignore[call-overload]
        limit = f"at least {low}" if high is None else f"between {low} and {high}"
        raise DataError(f"{what} must be a whole number {limit}, got {value!r}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def check_real(
    value: object, what: str, *, low: float, high: float = math.inf, open_low: bool = False, open_high: bool = False
) -> float:
    """`value` as a finite float between low and high (ends excluded where open); anything else is a DataError."""
    real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)) and math.isfinite(value)
    number = float(value) if real else math.nan  # type: ignore[arg-type]
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not (above and below):
        ends = f"{'above' if open_low else 'at least'} {low:g}"
        if high < math.inf:
            ends += f" and {'below' if open_high else 'at most'} {high:g}"
        raise DataError(f"{what} must be a number {ends}, got {value!r}")
    return number


def generator(seed: object, what: str) -> np.random.Generator:
    """The random generator of a call: the seed is a whole number >= 0, so that the call can be repeated."""
    return np.random.default_rng(check_int(seed, f"{what}: seed", low=0))


def check_image_shape(image_shape: object, n_features: int, what: str) -> ImageShape:
    """`image_shape` as (height, width), or (height, width, channels), whose product is D."""
    sides = list(image_shape) if isinstance(image_shape, (tuple, list, np.ndarray)) else []
    if len(sides) not in (2, 3):
        raise DataError(
            f"{what}: image_shape must be (height, width) or (height, width, channels), got {image_shape!r}"
        )
    shape = tuple(check_int(side, f"{what}: a side of image_shape", low=1) for side in sides)
    if math.prod(shape) != n_features:
        raise DataError(
            f"{what}: image_shape {shape} needs {math.prod(shape)} features, but X has {n_features}; image_shape is "
            "(height, width[, channels]) of one row"
        )
    return (shape[0], shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2])


# --- arrays ----------------------------------------------------------------------------------------------------------


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view: the caller's own array keeps its flags."""
    view = array.view()
    view.flags.writeable = False
    return view


def is_mapped(array: object) -> bool:
    """Whether the entries lie in a file (numpy.memmap, or a view of one)."""
    while array is not None:
        if isinstance(array, np.memmap | mmap.mmap):
            return True
        array = getattr(array, "base", None)
    return False


def row_blocks(X: npt.NDArray[Any], entries: int = BLOCK) -> Iterator[slice]:
    """Slices of rows, of at most this many entries each (but one row at least)."""
    step = max(1, entries // max(1, X.shape[1]))
    for start in range(0, len(X), step):
        yield slice(start, start + step)


def as_matrix(
    X: object,  # (N, D), anything numpy reads as real numbers
    what: str,
    *,
    min_rows: int = 2,
    keep_maps: bool = False,
) -> FloatArray:  # (N, D)
    """`X` as a finite, C-contiguous, read-only (N, D) float64 array.

    float64 C-contiguous input is not copied: the result is a view of it. With `keep_maps` neither are float32 entries
    that lie in a file: the result is float32 then, and whoever computes with it makes blocks of it float64.

    Raises:
        DataError: Sparse, masked, complex, text or object entries, not two axes, fewer than `min_rows` rows, no column,
            NaN or infinite entries.
    """
    if hasattr(X, "toarray"):
        size = math.prod(getattr(X, "shape", ())) * 8 / 2**20
        raise DataError(f"{what}: X is sparse; pass X.toarray() ({size:.3g} MiB as dense float64)")
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise DataError(
            f"{what}: X has {int(np.ma.getmaskarray(X).sum())} masked entries; drop these rows or fill them: "
            "X.filled(value)"
        )
    try:
        array = np.asarray(X)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors on a GPU or with a gradient
        raise DataError(f"{what}: X cannot be read as an array of shape (N, D): {error}") from None
    if array.size == 0 and (min_rows > 0 or array.shape[-1:] == (0,) != array.shape):
        raise DataError(f"{what}: X is empty, shape {array.shape}; at least {min_rows} rows and 1 column are needed")
    if array.ndim != 2:
        raise DataError(f"{what}: X must have two axes (N, D), got shape {array.shape}; {_reshape_hint(array)}")
    _check_numeric(array, what)
    if len(array) < min_rows:
        raise DataError(f"{what}: X has {len(array)} row; at least {min_rows} are needed, one sample has no pair")
    mapped = keep_maps and array.dtype == np.float32 and array.flags.c_contiguous and is_mapped(X)
    with np.errstate(over="ignore"):
        matrix: FloatArray = array if mapped else np.ascontiguousarray(array, dtype=np.float64)
    _check_finite(matrix, what)
    return frozen(matrix)


def _reshape_hint(array: npt.NDArray[Any]) -> str:
    if array.ndim == 1:
        return "one feature per sample: X.reshape(-1, 1); one sample: X.reshape(1, -1)"
    if array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3, 4)):
        return f"images: X.reshape(len(X), -1) with image_shape={array.shape[1:]}"
    return "flatten each sample: X.reshape(len(X), -1)" if array.ndim else "pass one row per sample"


def _check_numeric(array: npt.NDArray[Any], what: str) -> None:
    kind = array.dtype.kind
    if kind in "fiub":
        return
    if kind == "c":
        raise DataError(
            f"{what}: X is complex ({array.dtype}); pass np.abs(X), or both parts: np.hstack([X.real, X.imag])"
        )
    if kind not in "OUST":
        raise DataError(f"{what}: X has dtype {array.dtype}, real numbers are needed; convert it: X.astype(float)")
    bad = [position for position, entry in enumerate(array.flat) if not _is_real(entry)]
    if not bad:
        raise DataError(f"{what}: X holds numbers as {array.dtype} entries; convert it: X.astype(float)")
    row, column = np.unravel_index(bad[0], array.shape)
    raise DataError(
        f"{what}: X has {_plural(len(bad), 'entry that is', 'entries that are')} not a number, the first "
        f"{array[row].tolist()[column]!r} at row {row}, column {column}; drop these columns or encode them as numbers"
    )


def _is_real(entry: object) -> bool:
    if isinstance(entry, (str, bytes)):
        try:
            float(entry)
        except ValueError:
            return False
        return True
    return isinstance(entry, (numbers.Real, np.bool_))


def _check_finite(X: FloatArray, what: str) -> None:
    n_bad, first = 0, (0, 0)
    for rows in row_blocks(X):
        B = X[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(B.sum()):  # an overflowing sum of finite entries goes on
                continue
        finite = np.isfinite(B)
        if n_bad == 0 and not finite.all():
            row, column = np.unravel_index(int(np.argmin(finite)), B.shape)
            first = (rows.start + int(row), int(column))
        n_bad += B.size - int(np.count_nonzero(finite))
    if n_bad:
        raise DataError(
            f"{what}: X has {_plural(n_bad, 'entry that is', 'entries that are')} NaN or infinite, the first "
            f"{X[first]} at row {first[0]}, column {first[1]}; drop these rows, X[np.isfinite(X).all(axis=1)], or fill "
            "them"
        )


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _as_vector(values: object, n_rows: int | None, what: str, name: str) -> npt.NDArray[Any]:
    """`values` as an array of one axis and N entries; a plain list stays a list of objects, never turned into text."""
    if hasattr(values, "toarray"):
        raise DataError(f"{what}: {name} is sparse; pass {name}.toarray().ravel()")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{what}: {name} has masked entries; fill them: {name}.filled(value)")
    try:
        if hasattr(values, "dtype"):
            extension = type(values.dtype).__module__.startswith("pandas")  # Int64 with NA: numpy would make it float
            array = np.asarray(values, dtype=object) if extension else np.asarray(values)
        else:
            entries = list(values)  # type: ignore[call-overload]
            array = np.empty(len(entries), dtype=object)
            array[:] = entries
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what}: {name} cannot be read as an array of shape (N,): {error}") from None
    if array.ndim != 1:
        hint = f"pass {name}.ravel()" if array.ndim == 2 and 1 in array.shape else "one entry per row is needed"
        if array.ndim == 2 and name == "y" and array.shape[1] > 1:
            hint = "one-hot labels: pass y.argmax(axis=1)"
        raise DataError(f"{what}: {name} must have one axis (N,), got shape {array.shape}; {hint}")
    if n_rows is not None and len(array) != n_rows:
        raise DataError(f"{what}: {name} has {len(array):,} entries, but X has {n_rows:,} rows; one per row is needed")
    return array


def _is_missing(entry: object) -> bool:
    if entry is None or type(entry).__name__ in (
        "NAType",
        "NaTType",
    ):  # pandas.NA, pandas.NaT: comparing them is no bool
        return True
    return isinstance(entry, (float, np.floating)) and bool(entry != entry)


def missing_labels(y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which labels of a normalised y are missing: -1 (int), "" (str), NaN (float)."""
    if y.dtype.kind == "f":
        return np.asarray(np.isnan(y))
    return np.asarray(y == ("" if y.dtype.kind == "U" else MISSING_CODE))


def as_labels(
    y: object,  # (N,)
    n_rows: int | None,
    what: str,
) -> npt.NDArray[Any]:  # (N,) int64, float64 or str
    """Labels as int64 classes, str classes or float64 regression targets; read-only.

    Missing labels become -1, "" and NaN. A list or object array may mark them by None, NaN or pandas.NA as well.

    Raises:
        DataError: Wrong length or number of axes, text mixed with numbers, infinite targets, entries of any other type,
            whole numbers beyond int64.
    """
    array = _as_vector(y, n_rows, what, "y")
    kind = array.dtype.kind
    if kind in "OST":
        array = _labels_from_objects(array, what)
        kind = array.dtype.kind
    if kind in "biu":
        if kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise DataError(f"{what}: y holds {int(array.max())}, beyond int64; number the classes from 0")
        array = array.astype(np.int64, copy=False)
    elif kind == "f":
        array = array.astype(np.float64, copy=False)
        infinite = np.flatnonzero(np.isinf(array))
        if infinite.size:
            raise DataError(
                f"{what}: y has {_plural(infinite.size, 'infinite target', 'infinite targets')}, the first at row "
                f"{infinite[0]}; use NaN where a target is not known"
            )
    elif kind != "U":
        raise DataError(f"{what}: y has dtype {array.dtype}; labels are whole numbers or text, targets are floats")
    return frozen(np.ascontiguousarray(array))


def _labels_from_objects(array: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    entries = [entry.decode("utf-8", "replace") if isinstance(entry, bytes) else entry for entry in array.tolist()]
    first: dict[str, int] = {}
    for row, entry in enumerate(entries):
        if _is_missing(entry):
            continue
        if isinstance(entry, str):
            kind = "text"
        elif isinstance(entry, (numbers.Integral, np.bool_)):
            kind = "whole numbers"
        elif isinstance(entry, numbers.Real):
            kind = "floats"
        else:
            raise DataError(
                f"{what}: y has {entry!r} ({type(entry).__name__}) at row {row}; labels are whole numbers or text, "
                "targets are floats"
            )
        first.setdefault(kind, row)
    if "text" in first and len(first) > 1:
        row = min(at for kind, at in first.items() if kind != "text")
        raise DataError(
            f"{what}: y mixes text ({entries[first['text']]!r} at row {first['text']}) and numbers ({entries[row]!r} "
            f"at row {row}); use one kind, e.g. [str(label) for label in y]"
        )
    if "text" in first:
        return np.array(["" if _is_missing(entry) else entry for entry in entries], dtype=np.str_)
    if "floats" in first:
        return np.array([math.nan if _is_missing(entry) else float(entry) for entry in entries], dtype=np.float64)
    try:
        return np.array([MISSING_CODE if _is_missing(entry) else int(entry) for entry in entries], dtype=np.int64)
    except OverflowError:
        raise DataError(f"{what}: y holds whole numbers beyond int64; number the classes from 0") from None


def as_codes(
    ids: object,  # (N,) hashable
    n_rows: int,
    what: str,
) -> IntArray:  # (N,)
    """Ids as codes 0 .. n-1 in order of first appearance; read-only.

    Raises:
        DataError: Wrong length or number of axes, a missing id (None, NaN, ""), ids that cannot be compared for
            equality.
    """
    array = _as_vector(ids, n_rows, what, "source")
    kind = array.dtype.kind
    missing = np.zeros(len(array), dtype=bool)
    if kind == "f":
        missing = np.isnan(array)
    elif kind in "US":
        missing = np.char.str_len(array) == 0
    elif kind == "O":
        missing = np.fromiter((_is_missing(entry) or entry == "" for entry in array), dtype=bool, count=len(array))
    if missing.any():
        raise DataError(
            f"{what}: source is missing in {_plural(int(missing.sum()), 'row', 'rows')}, the first at row "
            f"{int(np.argmax(missing))}; every row needs the id of its original"
        )
    if kind in "fiubUS":
        _, first, inverse = np.unique(array, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first, kind="stable")] = np.arange(len(first))
        return frozen(rank[inverse])
    return frozen(_codes_of_hashables(array.tolist(), what))


def _codes_of_hashables(entries: Iterable[Hashable], what: str) -> IntArray:
    known: dict[Hashable, int] = {}
    try:
        return np.array([known.setdefault(entry, len(known)) for entry in entries], dtype=np.int64)
    except TypeError as error:
        raise DataError(f"{what}: source must hold hashable ids (whole numbers, text, tuples): {error}") from None


def as_index(
    index: object,  # (M,) row numbers, or (N,) booleans
    n_rows: int,
    what: str,
) -> IntArray:  # (M,)
    """Row numbers in 0 .. N-1, none twice, from row numbers or an (N,) mask.

    Raises:
        DataError: A mask of the wrong length, fractions, numbers outside 0 .. N-1, a row named twice.
    """
    array = np.asarray(index)
    if array.ndim != 1 or (array.dtype.kind not in "biu" and array.size):
        raise DataError(
            f"{what}: index must be row numbers (M,) or an (N,) mask, got shape {array.shape}, dtype {array.dtype}"
        )
    if array.dtype.kind == "b":
        if len(array) != n_rows:
            raise DataError(f"{what}: the mask has {len(array):,} entries, but there are {n_rows:,} rows")
        return np.flatnonzero(array).astype(np.int64)
    rows: IntArray = array.astype(np.int64)
    outside = np.flatnonzero((rows < 0) | (rows >= n_rows))
    if outside.size:
        raise DataError(
            f"{what}: index has {_plural(outside.size, 'row number', 'row numbers')} outside 0 .. {n_rows - 1}, the "
            f"first {array[outside[0]]} at position {outside[0]}"
        )
    n_repeated = len(rows) - len(np.unique(rows))
    if n_repeated:
        raise DataError(
            f"{what}: index names {_plural(n_repeated, 'row', 'rows')} more than once, which would leak between train "
            "and test; pass np.unique(index)"
        )
    return rows
