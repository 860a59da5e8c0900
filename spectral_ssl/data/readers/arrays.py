"""Arrays: npy and npz files, and raw numbers without any header. Nothing here unpickles anything."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import check_int
from spectral_ssl.data._memory import check_memory, check_rows
from spectral_ssl.data.readers.files import Table, one_of, plain_kind
from spectral_ssl.errors import DataError, ResourceError, did_you_mean

__all__ = ["array_table", "load_npy", "load_npz", "npz_keys", "read_npy", "read_npz", "read_raw"]

ARRAY_KEYS = ("X", "data", "Z")  # of an npz file, tried in this order
COLOURS = (1, 3, 4)  # how many channels an image may have: grey, red-green-blue, and a fourth that is transparency
HINT_NPZ = "save it as npy and pass mmap=True"
RAW_DTYPES = ("float64", "float32", "float16", "uint8", "int8", "uint16", "int16", "int32", "int64")


def read_npy(file: Path, *, mmap: bool = False) -> Table:
    """X (N, D), or images (N, height, width[, channels]). `mmap` leaves float32 and float64 entries in the file."""
    one_of(mmap, (False, True), f"{file}: mmap")
    return array_table(_mapped(file, load_npy(file, mmap=True)) if mmap else load_npy(file), {}, str(file))


def read_npz(file: Path, *, key: str | None = None) -> Table:
    """X under `key`, or see `read_dataset`; labels under "y" or "labels", source ids under "source"."""
    keys = npz_keys(file)
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
        y, meta["labels_from"] = load_npz(file, label_keys[0]), f"key {label_keys[0]!r}"
    if "source" in keys and key != "source":
        source, meta["source_from"] = load_npz(file, "source"), "key 'source'"
    return array_table(load_npz(file, key), meta, str(file), y, source)


def read_raw(
    file: Path,
    *,
    dtype: str | None = None,
    n_features: int | None = None,
    order: str = "little",
    offset: int = 0,
    mmap: bool = False,
) -> Table:
    """Numbers one after the other, row by row: N is the size of the file over that of a row.

    Args:
        dtype: float64, float32, uint8, ...
        n_features: D.
        order: "little" or "big", the order of the bytes of one number.
        offset: Bytes before the first number.
        mmap: As for npy.
    """
    if dtype is None or n_features is None:
        raise DataError(
            f"{file}: a raw file says nothing of its contents; pass dtype= and n_features=, e.g. dtype='float32', "
            "n_features=512"
        )
    kind = np.dtype(one_of(dtype, RAW_DTYPES, f"{file}: dtype")).newbyteorder(
        {"little": "<", "big": ">"}[one_of(order, ("little", "big"), f"{file}: order")]
    )
    one_of(mmap, (False, True), f"{file}: mmap")
    D = check_int(n_features, f"{file}: n_features", low=1)
    size = file.stat().st_size - check_int(offset, f"{file}: offset", low=0)
    N, rest = divmod(size, D * kind.itemsize)
    if rest or N < 1:
        raise DataError(
            f"{file}: {size:,} bytes are {N:,} rows of {D:,} {dtype} and {rest:,} bytes more; check n_features, dtype "
            "and offset"
        )
    X = np.memmap(file, dtype=kind, mode="r", offset=offset, shape=(N, D))
    if mmap:
        return Table(_mapped(file, X), {"dtype": dtype})
    check_rows(N, D, str(file), "pass mmap=True")
    return Table(np.array(X), {"dtype": dtype})


def array_table(
    X: npt.NDArray[Any],  # (N, D), (N, height, width) or (N, height, width, channels)
    meta: dict[str, Any],
    what: str,
    y: Any = None,
    source: Any = None,
) -> Table:
    """Three axes are grey images, four are images whose last axis are 1, 3 or 4 channels."""
    if X.ndim not in (3, 4) or 0 in X.shape:
        return Table(X, meta, y, source)
    if X.ndim == 4 and X.shape[3] not in COLOURS:
        first = X.shape[1] in COLOURS
        raise DataError(
            f"{what}: shape {X.shape} is not (N, height, width, channels) with 1, 3 or 4 channels; "
            + ("channels come last: X.transpose(0, 2, 3, 1)" if first else "flatten each sample: X.reshape(len(X), -1)")
        )
    shape = X.shape[1:] if X.shape[3:] != (1,) else X.shape[1:3]
    return Table(X.reshape(len(X), -1), meta, y, source, shape)


def _mapped(file: Path, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if X.dtype.kind != "f" or X.dtype.itemsize not in (4, 8) or not X.dtype.isnative or not X.flags.c_contiguous:
        raise DataError(
            f"{file}: mmap=True leaves the numbers in the file, which needs float32 or float64 in this machine's order "
            f"of bytes, row after row; these are {X.dtype} of strides {X.strides}; save X.astype('float32'), or leave "
            "mmap out"
        )
    return X


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
    return DataError(f"{file} is truncated or not a {plain_kind(file)} file ({reason}); write it again")


def _too_large(file: Path) -> ResourceError:
    return ResourceError(f"{file} ({file.stat().st_size / 2**30:.3g} GiB) does not fit into memory; read a part of it")


def load_npy(file: Path, *, mmap: bool = False) -> npt.NDArray[Any]:
    small = file.stat().st_size < 2**10  # it may have no entries or no axes, and these cannot be mapped
    try:
        # A map compares the header with the size of the file before anything of that size is allocated.
        loaded = np.load(file, mmap_mode=None if small and not mmap else "r", allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            loaded.close()
            raise DataError(f"{file} is an npz archive; give it the suffix .npz")
        if mmap:
            return loaded
        check_memory(8.0 * loaded.size, f"{file}: shape {loaded.shape} as float64", "pass mmap=True")
        return np.array(loaded)
    except (DataError, ResourceError):
        raise
    except MemoryError as error:
        raise (_broken(file, error) if small else _too_large(file)) from None
    except Exception as error:
        raise _broken(file, error) from None


def npz_keys(file: Path) -> list[str]:
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


def load_npz(file: Path, key: str) -> npt.NDArray[Any]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            _check_entry(file, archive.zip, key)
            return np.asarray(archive[key])
    except ResourceError:
        raise
    except MemoryError:
        raise _too_large(file) from None
    except Exception as error:
        raise _broken(file, error) from None


def _check_entry(file: Path, archive: Any, key: str) -> None:
    """Whether one array of an archive fits, by its header: packed zeros of any number are a few bytes."""
    entry = archive.getinfo(key + ".npy" if key + ".npy" in archive.namelist() else key)
    what = f"{file}: array {key!r}"
    check_memory(entry.file_size, what, HINT_NPZ)  # before its header, which could be as long
    with archive.open(entry) as stream:
        newer = np.lib.format.read_magic(stream) != (1, 0)
        header = np.lib.format.read_array_header_2_0 if newer else np.lib.format.read_array_header_1_0
        shape, _, dtype = header(stream)
    size = math.prod(shape)
    if size * dtype.itemsize > entry.file_size and not dtype.hasobject:
        raise ValueError(f"its header says shape {shape} of {dtype}, and it has {entry.file_size:,} bytes")
    check_memory(8.0 * size, f"{what} of shape {shape} as float64", HINT_NPZ)
