"""Which reader a path belongs to, and the options every reader shares. A new format is a function and a line below."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spectral_ssl import spec
from spectral_ssl.data._checks import FloatArray, ImageShape, as_matrix
from spectral_ssl.data.dataset import Dataset
from spectral_ssl.data.readers.arrays import read_npy, read_npz, read_raw
from spectral_ssl.data.readers.cifar import is_cifar, read_cifar10, read_cifar100
from spectral_ssl.data.readers.columns import read_column, read_labels
from spectral_ssl.data.readers.files import TAR_SUFFIXES, StrPath, Table, existing, head_of
from spectral_ssl.data.readers.idx import is_idx, read_idx
from spectral_ssl.data.readers.images import SUFFIXES as PICTURES
from spectral_ssl.data.readers.images import is_image_folder, read_images
from spectral_ssl.data.readers.stl10 import is_stl10, read_stl10
from spectral_ssl.data.readers.tables import is_parquet, read_parquet
from spectral_ssl.data.readers.text import read_text
from spectral_ssl.errors import DataError, did_you_mean

__all__ = ["READERS", "Reader", "find_reader", "read_array", "read_as", "read_dataset"]


class Reader(NamedTuple):
    """read: path, keyword options -> Table. claims: whether a path that exists is of this kind."""

    read: Callable[..., Table]
    claims: Callable[[Path], bool]


def read_dataset(
    path: StrPath,
    *,
    labels: StrPath | None = None,
    source: StrPath | None = None,
    image_shape: ImageShape | None = None,
    name: str | None = None,
    **options: Any,
) -> Dataset:
    """A file or folder as a Dataset; `meta["origin"]` is the path, `meta["labels_from"]` says where labels came from.

    The kind is told by suffix, first bytes or what the folder holds. Nothing is downloaded, unpacked to disk or run.

    npy (mmap)
        X (N, D), or images (N, height, width[, channels]), which set `image_shape`. `mmap=True` leaves float32 and
        float64 entries in the file.
    npz (key)
        X under `key`, else under "X", "data" or "Z", else the only array; labels under "y" or "labels" and source ids
        under "source" if present.
    csv, tsv, txt (label_column)
        One row per sample. Labels from `label_column` (a name, or a position from 0), else from the one column named y,
        label, labels, target or class; source ids from a column named source; a nameless first column 0 .. N-1, as
        pandas writes its index, is left out. Every other cell must be a number.
    parquet (label_column, limit)
        Likewise; lists of equal length are spread out. Needs pyarrow.
    IDX (split, classes, limit, scale)
        MNIST and its relatives: a file of images, gzip or not, with its labels beside it, or the folder of all four.
    CIFAR-10, CIFAR-100 (split, classes, limit, scale, channels; label)
        The python or the binary version: folder, tar.gz as downloaded, or one batch.
    STL-10 (split, fold, classes, limit, scale, channels)
        The binary version: folder, tar.gz, or one file of images.
    pictures (size, channels, classes, limit, scale, skip)
        A folder root/class/*.png and the like, or a flat one without labels. Needs pillow.
    bin, raw, dat (dtype, n_features, order, offset, mmap)
        Bare numbers, row by row.

    Pixels keep their values, 0 .. 255; `scale="unit"` divides them by 255. `limit` and `classes` take a part before
    anything large is read.

    Args:
        labels: A file for `read_labels`; it replaces labels in the data file.
        source: A file of ids of originals, one per row, in the formats of labels; it replaces ids in the data file.
        image_shape: (height, width), or (height, width, channels), if rows are images.
        name: Name of the data set; default: the file's name without its suffix.
        options: Those of the kind, in brackets above.

    Raises:
        DataError: A file that is missing, empty, truncated, corrupted, pickled or of an unknown kind; a cell that is
            not a number (with its line and column); an option that does not apply to this kind of file; contents that
            `Dataset` refuses.
        ResourceError: The rows do not fit into memory; raised before they are read where their number is known.
    """
    file = existing(path, folders=True)
    kind, table = _read(file, options, COMMON)
    y, ids, meta = table.y, table.source, {"origin": os.fspath(path), "format": kind, **table.meta}
    if labels is not None:
        y, meta["labels_from"] = read_labels(labels), os.fspath(labels)
    if source is not None:
        ids, meta["source_from"] = read_column(existing(source), names=("source",), wanted="ids"), os.fspath(source)
    return Dataset(
        name=name if name is not None else _stem(file),
        X=table.X,
        y=y,
        source=ids,
        image_shape=image_shape if image_shape is not None else table.image_shape,
        meta=meta,
    )


def read_array(path: StrPath, **options: Any) -> FloatArray:  # (N, D)
    """The features alone, as a finite (N, D) float64 array; formats and options are those of `read_dataset`.

    Raises:
        DataError: As `read_dataset`.
        ResourceError: The array does not fit into memory.
    """
    file = existing(path, folders=True)
    return as_matrix(_read(file, options, ())[1].X, f"file {file}")


def find_reader(file: Path) -> str:
    """The kind of a path, a key of `READERS`.

    Raises:
        DataError: No reader claims it.
    """
    for kind, reader in READERS.items():
        if reader.claims(file):
            return kind
    if file.is_dir():
        there = sorted(entry.name for entry in file.iterdir())[:6]
        raise DataError(
            f"{file} is a directory; name a file in it, or a folder of MNIST, CIFAR or STL-10 files or of pictures; it "
            f"holds {', '.join(there) or 'nothing'}"
        )
    if file.suffix.lower() in PICTURES:
        raise DataError(f"{file} is one picture; name the folder that holds the pictures")
    kind = f"files of kind {file.suffix.lower()!r}" if file.suffix else "files without a suffix"
    raise DataError(
        f"{file}: {kind} cannot be read; use npy, npz, csv, tsv, txt or parquet, or a folder of MNIST, CIFAR or STL-10 "
        "files or of pictures, e.g. np.save('data.npy', X)"
    )


def read_as(kind: str, path: Path, **options: Any) -> Table:
    """The Table of a path by the reader of this kind, whatever the path looks like."""
    return READERS[kind].read(path, **options)


def _read(file: Path, options: dict[str, Any], common: tuple[str, ...]) -> tuple[str, Table]:
    kind = find_reader(file)
    reader = READERS[kind].read
    known = [name for name, option in spec.options_of(reader).items() if not option.positional]
    for name, value in options.items():
        if name not in known:
            raise _no_such_option(file, kind, name, value, known, common)
    given = {name: value for name, value in options.items() if value is not None}  # None is "not given" everywhere
    return kind, reader(file, **given)


def _no_such_option(
    file: Path, kind: str, name: str, value: Any, known: list[str], common: tuple[str, ...]
) -> DataError:
    if name in ELSEWHERE:
        return DataError(f"{file}: {name}={value!r} {ELSEWHERE[name]}")
    near = did_you_mean(name, [*known, *common]).split(" (")[0]
    hint = f"{near} " if near.endswith("?") else ""
    return DataError(
        f"{file}: {kind} data have no option {name!r}; {hint}options are {', '.join([*known, *common]) or 'none'}"
    )


def _stem(file: Path) -> str:
    name = file.absolute().name if file.name in ("", ".", "..") else file.name
    for suffix in (*TAR_SUFFIXES, ".gz"):
        name = name.removesuffix(suffix)
    return Path(name).stem or "data" if not file.is_dir() else name or "data"


def _has_magic(file: Path, magic: bytes) -> bool:
    return not file.is_dir() and head_of(file, len(magic)) == magic


def _suffix(*suffixes: str) -> Callable[[Path], bool]:
    return lambda file: not file.is_dir() and file.suffix.lower() in suffixes


COMMON = ("labels", "source", "image_shape", "name")
ELSEWHERE = {
    "key": "names an array of an npz file; drop it",
    "label_column": "is for text files and parquet tables; keep labels under the key y of an npz file, or pass a file "
    "of labels",
}

# Tried in this order: names that say everything first, folders of any pictures last.
READERS: dict[str, Reader] = {
    "npy": Reader(read_npy, lambda file: _suffix(".npy")(file) or (not file.suffix and _has_magic(file, b"\x93NUMPY"))),
    "npz": Reader(read_npz, _suffix(".npz")),
    "text": Reader(read_text, _suffix(".csv", ".tsv", ".txt")),
    "parquet": Reader(read_parquet, is_parquet),
    "cifar10": Reader(read_cifar10, lambda file: is_cifar(file, 10)),
    "cifar100": Reader(read_cifar100, lambda file: is_cifar(file, 100)),
    "stl10": Reader(read_stl10, is_stl10),
    "raw": Reader(read_raw, _suffix(".bin", ".raw", ".dat")),
    "idx": Reader(read_idx, is_idx),
    "images": Reader(read_images, is_image_folder),
}
