"""STL-10, the binary version: 96 x 96 colour images, few of them labelled, in a directory or in its tar.gz.

A file of images is N x 3 x 96 x 96 bytes: per image the red, green and blue plane, each *column by column*. Labels are
bytes 1 .. 10 and become 0 .. 9, the positions in class_names.txt.

Source: A. Coates, H. Lee, A. Ng, An analysis of single-layer networks in unsupervised feature learning (2011), and the
page of the data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import check_int
from spectral_ssl.data.readers.files import TAR_SUFFIXES, Folder, Table, one_of
from spectral_ssl.data.readers.pixels import Channels, Scale, Stored, image_table
from spectral_ssl.errors import DataError

__all__ = ["is_stl10", "read_stl10", "stl10_images"]

SIDE = 96
N_BYTES = 3 * SIDE * SIDE
SPLITS = ("train", "test", "unlabeled")
N_FOLDS = 10


def read_stl10(
    file: Path,
    *,
    split: str | None = None,
    fold: int | None = None,
    classes: Any = None,
    limit: int | None = None,
    scale: Scale = "stored",
    channels: Channels = "rgb",
) -> Table:
    """STL-10: stl10_binary as a directory or tar.gz, or one file of its images.

    Args:
        split: "train" (the default, 5,000 images), "test" (8,000) or "unlabeled" (100,000, without labels).
        fold: 0 .. 9, the 1,000 training images of this fold (fold_indices.txt).
        classes: Class numbers 0 .. 9 or names to keep.
        limit: At most so many images, the first ones of these classes.
        scale: "stored" for 0 .. 255, "unit" for 0 .. 1.
        channels: "rgb", or "gray" to mix the colours.
    """
    found = stl10_images(file, split, fold)
    meta: dict[str, Any] = {"split": found.split, **({} if fold is None else {"fold": fold})}
    return image_table(
        found.images, found.where, y=found.y, names=found.names, classes=classes, limit=limit, scale=scale,
        channels=channels, meta=meta,
    )  # fmt: skip


def stl10_images(file: Path, split: str | None = None, fold: int | None = None) -> Stored:
    """The images of STL-10 themselves."""
    if file.is_dir() or not file.name.endswith("_X.bin"):
        split = "train" if split is None else one_of(split, SPLITS, f"{file}: split")
        folder = Folder(file / "stl10_binary" if (file / "stl10_binary").is_dir() else file)
    elif split is not None:
        raise DataError(f"{file}: split={split!r} chooses among the files of a folder; drop it, or name the folder")
    else:
        split, folder = file.name.removesuffix("_X.bin"), Folder(file.parent)
    name = folder.find(f"{split}_X.bin")
    content = folder.array(name)
    if content.size % N_BYTES:
        raise DataError(
            f"{folder.where(name)} is truncated or of another kind: {content.size:,} bytes are no multiple of "
            f"{N_BYTES:,}, 3 x 96 x 96 per image; get it again"
        )
    images = content.reshape(-1, 3, SIDE, SIDE)  # (N, channel, column, row)
    images = images.transpose(0, 3, 2, 1)  # (N, row, column, channel)
    y = _labels(folder, f"{split}_y.bin", len(images)) if f"{split}_y.bin" in folder.names else None
    if y is None and split != "unlabeled" and not file.name.endswith("_X.bin"):
        raise DataError(f"{folder.path} has {name} and no {split}_y.bin with its labels; unpack all files")
    if fold is not None:
        rows = _fold(folder, split, fold, len(images))
        images, y = images[rows], None if y is None else y[rows]
    names = folder.lines("class_names.txt") if "class_names.txt" in folder.names else None
    return Stored(images, y, names, split, folder.where(name))


def is_stl10(file: Path) -> bool:
    """Whether a path is this directory, archive or a file of images of it, by names alone."""
    if file.is_dir():
        inside = file / "stl10_binary"
        return any(((inside if inside.is_dir() else file) / f"{split}_X.bin").is_file() for split in SPLITS)
    if file.name.endswith(TAR_SUFFIXES):
        return file.name.startswith("stl10_binary") or "train_X.bin" in Folder(file).names
    return file.name in {f"{split}_X.bin" for split in SPLITS}


def _labels(folder: Folder, name: str, n_samples: int) -> npt.NDArray[np.int64]:
    y = folder.array(name).astype(np.int64)
    if len(y) != n_samples:
        raise DataError(f"{folder.where(name)} has {len(y):,} labels, but there are {n_samples:,} images")
    if y.min() < 1 or y.max() > 10:
        bad = int(np.flatnonzero((y < 1) | (y > 10))[0])
        raise DataError(f"{folder.where(name)}: label {bad} is {y[bad]}; labels of STL-10 are 1 .. 10")
    return y - 1


def _fold(folder: Folder, split: str, fold: int, n_samples: int) -> npt.NDArray[np.int64]:
    """Row numbers of a fold: line `fold` of fold_indices.txt."""
    check_int(fold, f"{folder.path}: fold", low=0, high=N_FOLDS - 1)
    if split != "train":
        raise DataError(f"{folder.path}: fold={fold} is a part of split='train', not of {split!r}")
    name = folder.find("fold_indices.txt")
    lines = folder.lines(name)
    if len(lines) <= fold or not all(map(_is_row_number, lines[fold].split())):
        raise DataError(f"{folder.where(name)} should have {N_FOLDS} lines of row numbers; get it again")
    rows = np.array([int(word) for word in lines[fold].split()], dtype=np.int64)
    if rows.size == 0 or rows.max() >= n_samples:
        raise DataError(f"{folder.where(name)}: row {rows.max(initial=0)} of fold {fold}, but {n_samples:,} images")
    if np.unique(rows).size < rows.size:
        raise DataError(f"{folder.where(name)}: fold {fold} lists row {np.bincount(rows).argmax()} twice; get it again")
    return rows


def _is_row_number(word: str) -> bool:
    return word.isdecimal() and len(word) < 10  # Python's int and numpy's refuse longer and longer ones
