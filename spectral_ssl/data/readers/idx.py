"""IDX, the format of MNIST and its relatives: a header of a few big-endian words, then the entries of one array.

    byte 0, 1   zero
    byte 2      type of the entries, see `DTYPES`
    byte 3      number of axes d
    4 d bytes   their lengths, unsigned big-endian 32 bit
    the rest    entries, big endian, the last axis running fastest

Source: Y. LeCun, C. Cortes, C. Burges, the MNIST database. Files may be packed with gzip.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._memory import check_memory, check_rows
from spectral_ssl.data.readers.arrays import array_table
from spectral_ssl.data.readers.files import Table, existing, head_of, one_of, opened
from spectral_ssl.data.readers.pixels import Scale, chosen, image_table
from spectral_ssl.errors import DataError

__all__ = ["find_idx", "is_idx", "looks_like_idx", "read_idx", "read_idx_array"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_AXES = 8
SPLITS = {"train": "train", "test": "t10k"}  # how the files of a split begin
NAME = re.compile(r"idx\d-ubyte(\.gz)?$")
IMAGES = re.compile(r"^(?P<before>.*?)images(?P<dot>[-.])idx(?P<axes>\d)(?P<after>-ubyte(\.gz)?)$")


def read_idx(
    file: Path,
    *,
    split: str | None = None,
    classes: Any = None,
    limit: int | None = None,
    scale: Scale = "stored",
) -> Table:
    """Samples of an IDX file, or of a directory that holds the four files of MNIST, with the labels beside them.

    Args:
        split: "train" (the default) or "test" of a directory: files that begin with train or with t10k.
        classes: Labels to keep.
        limit: At most so many rows, the first ones of these classes.
        scale: "stored", or "unit" for bytes divided by 255.
    """
    if file.is_dir():
        split = "train" if split is None else one_of(split, tuple(SPLITS), f"{file}: split")
        images = find_idx(file, SPLITS[split])
    elif split is not None:
        raise DataError(f"{file}: split={split!r} chooses among the files of a directory; drop it, or name the folder")
    else:
        images = file
    array = read_idx_array(images)
    if array.ndim < 2:
        raise DataError(
            f"{images} has one axis of {len(array):,} entries, as labels do; name the file of images (...-images-idx3-"
            "ubyte), labels are found beside it"
        )
    if 0 in array.shape:
        raise DataError(f"{images} holds nothing: its header says shape {array.shape}; get it again")
    beside = _labels_beside(images)
    y = None if beside is None else _labels(beside, len(array))
    meta: dict[str, Any] = {} if beside is None else {"labels_from": str(beside)}
    if split is not None:
        meta["split"] = split
    if array.ndim == 3:
        return image_table(
            array, str(images), y=y, classes=classes, limit=limit, scale=scale, channels="rgb", meta=meta
        )
    if scale != "stored":
        raise DataError(f"{images}: scale={scale!r} is for grey images, this array has shape {array.shape}")
    rows = chosen(len(array), str(images), y=y, classes=classes, limit=limit)
    check_rows(len(rows), math.prod(array.shape[1:]), str(images), "take a part with limit= or classes=")
    return array_table(array[rows], meta, str(images), None if y is None else y[rows])


def read_idx_array(file: Path) -> npt.NDArray[Any]:
    """The one array of an IDX file, read-only and in the file's order of bytes.

    Raises:
        DataError: No IDX header, or a file that is shorter or longer than its header says.
        ResourceError: The entries do not fit into memory.
    """
    with opened(file) as stream:
        magic = stream.read(4)
        if not _is_magic(magic):
            raise DataError(
                f"{file} is no IDX file: it starts with {magic!r}, and 00 00, a type (08, 09, 0b .. 0e) and the number "
                "of axes are needed"
            )
        lengths = stream.read(4 * magic[3])
        if len(lengths) < 4 * magic[3]:
            raise DataError(f"{file} is truncated: the header ends after {4 + len(lengths)} bytes; get it again")
        shape = tuple(np.frombuffer(lengths, dtype=">u4").tolist())
        dtype = np.dtype(DTYPES[magic[2]])
        expected = math.prod(shape) * dtype.itemsize
        packed = file.suffix.lower() == ".gz"
        rest = file.stat().st_size - 4 - len(lengths)
        if not packed and rest != expected:  # before anything of that size is allocated
            raise _wrong_size(file, shape, expected, f"{rest:,}")
        if not packed and expected:
            return np.memmap(file, dtype=dtype, mode="r", offset=4 + len(lengths), shape=shape)
        if expected > 1100 * rest:  # deflate packs at best by 1:1032
            raise _wrong_size(file, shape, expected, "far fewer")
        check_memory(expected, f"{file}, unpacked,")
        content = stream.read(expected)
        if len(content) < expected or stream.read(1):
            raise _wrong_size(file, shape, expected, f"{len(content):,}" if len(content) < expected else "more")
    return np.frombuffer(content, dtype=dtype).reshape(shape)


def looks_like_idx(file: Path) -> bool:
    """By its name, or by its first four bytes."""
    return not file.is_dir() and (NAME.search(file.name) is not None or _is_magic(head_of(file, 4)))


def is_idx(file: Path) -> bool:
    """An IDX file, or a directory that holds one of images."""
    if not file.is_dir():
        return looks_like_idx(file)
    return any(IMAGES.match(entry.name) for place in _places(file) for entry in place.iterdir())


def find_idx(folder: Path, start: str = "") -> Path:
    """The one file of images in a directory, or in the MNIST/raw of torchvision, whose name begins like this."""
    found = []
    for place in _places(folder):
        names = [entry for entry in sorted(place.iterdir()) if IMAGES.match(entry.name)]
        of_split = [entry for entry in names if entry.name.startswith(start)]
        found += [entry for entry in of_split if entry.suffix != ".gz" or entry.with_suffix("") not in of_split]
    if len(found) > 1:
        raise DataError(
            f"{folder} holds {', '.join(entry.relative_to(folder).as_posix() for entry in found)}; name one of these "
            "files, or its folder"
        )
    if not found:
        raise DataError(f"{folder} has no {start}-images-idx3-ubyte(.gz); a single file can be named itself")
    return existing(found[0])


def _places(folder: Path) -> list[Path]:
    """The folder itself, and MNIST/raw, where torchvision puts the files."""
    return [place for place in dict.fromkeys([folder, folder / "raw", *sorted(folder.glob("*/raw"))]) if place.is_dir()]


def _is_magic(head: bytes) -> bool:
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in DTYPES and 1 <= head[3] <= MAX_AXES


def _wrong_size(file: Path, shape: tuple[int, ...], expected: int, found: str) -> DataError:
    return DataError(
        f"{file} is truncated or damaged: its header says shape {shape}, {expected:,} bytes, and it has {found}; get "
        "it again"
    )


def _labels_beside(images: Path) -> Path | None:
    """train-labels-idx1-ubyte[.gz] of train-images-idx3-ubyte[.gz], packed or not."""
    parts = IMAGES.match(images.name)
    if parts is None:
        return None
    name = f"{parts['before']}labels{parts['dot']}idx1-ubyte"
    for candidate in (name, name + ".gz"):
        if (images.parent / candidate).exists():
            return existing(images.parent / candidate)
    return None


def _labels(file: Path, n_samples: int) -> npt.NDArray[np.int64]:
    y = read_idx_array(file)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{file} should hold labels, one whole number per image; it has shape {y.shape} of {y.dtype.name}: are "
            "images and labels swapped?"
        )
    if len(y) != n_samples:
        raise DataError(f"{file} has {len(y):,} labels, but there are {n_samples:,} images; are these one split?")
    return y.astype(np.int64)
