"""CIFAR-10 and CIFAR-100: the python and the binary version, in a directory or in the tar.gz as it was downloaded.

A row of a file is one image of 3 x 32 x 32 bytes: the red plane, the green and the blue, each row by row. It becomes a
row of (32, 32, 3) here, channels last (see `pixels`).

Source: A. Krizhevsky, Learning multiple layers of features from tiny images (2009), and the page of the data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spectral_ssl.data.readers.files import TAR_SUFFIXES, Folder, Table, one_of
from spectral_ssl.data.readers.pixels import Channels, Scale, Stored, image_table
from spectral_ssl.data.readers.unpickle import load_pickle
from spectral_ssl.errors import DataError

__all__ = ["cifar10_images", "cifar100_images", "is_cifar", "read_cifar10", "read_cifar100"]

SIDE = 32
N_BYTES = 3 * SIDE * SIDE
BATCHES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)}
SUBFOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin", "cifar-100-python", "cifar-100-binary")

Label = Literal["fine", "coarse"]


def read_cifar10(
    file: Path,
    *,
    split: str | None = None,
    classes: Any = None,
    limit: int | None = None,
    scale: Scale = "stored",
    channels: Channels = "rgb",
) -> Table:
    """CIFAR-10: cifar-10-batches-py or -bin as a directory or tar.gz, or one batch of it.

    Args:
        split: "train" (the default, all five batches in turn) or "test".
        classes: Class numbers 0 .. 9 or names to keep.
        limit: At most so many images, the first ones of these classes.
        scale: "stored" for 0 .. 255, "unit" for 0 .. 1.
        channels: "rgb", or "gray" to mix the colours.
    """
    return _table(cifar10_images(file, split), classes, limit, scale, channels)


def cifar10_images(file: Path, split: str | None = None) -> Stored:
    """The images of CIFAR-10 themselves."""
    folder, names, split = _files(file, split, BATCHES)
    parts = []
    for name in names:
        if name.endswith(".bin"):
            parts.append(_records(folder, name, 1, 0))
        else:
            batch = _batch(folder, name, ("data", "labels"))
            parts.append((batch["data"], _whole(batch["labels"], folder.where(name), len(batch["data"]), 9)))
    words = _names(folder, "batches.meta", "label_names", "batches.meta.txt")
    return _stored(np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]), words, split, file)


def read_cifar100(
    file: Path,
    *,
    split: str | None = None,
    label: Label = "fine",
    classes: Any = None,
    limit: int | None = None,
    scale: Scale = "stored",
    channels: Channels = "rgb",
) -> Table:
    """CIFAR-100: cifar-100-python or -binary as a directory or tar.gz, or one of its two files.

    Args:
        split: "train" (the default) or "test".
        label: "fine" for the 100 classes, "coarse" for the 20 they are grouped in.
        classes: Class numbers or names to keep.
        limit: At most so many images, the first ones of these classes.
        scale: "stored" for 0 .. 255, "unit" for 0 .. 1.
        channels: "rgb", or "gray" to mix the colours.
    """
    return _table(cifar100_images(file, split, label), classes, limit, scale, channels, label=label)


def cifar100_images(file: Path, split: str | None = None, label: Label = "fine") -> Stored:
    """The images of CIFAR-100 themselves."""
    one_of(label, ("fine", "coarse"), f"{file}: label")
    folder, (name,), split = _files(file, split, {"train": ("train",), "test": ("test",)})
    if name.endswith(".bin"):
        X, y = _records(folder, name, 2, 0 if label == "coarse" else 1)
    else:
        batch = _batch(folder, name, ("data", f"{label}_labels"))
        highest = 19 if label == "coarse" else 99
        X, y = batch["data"], _whole(batch[f"{label}_labels"], folder.where(name), len(batch["data"]), highest)
    words = _names(folder, "meta", f"{label}_label_names", f"{label}_label_names.txt")
    return _stored(X, y, words, split, file)


def is_cifar(file: Path, n_classes: Literal[10, 100]) -> bool:
    """Whether a path is one of these directories, archives or files, by names alone."""
    known = BATCHES["train"] + BATCHES["test"] if n_classes == 10 else ("train", "test")
    if file.is_dir():
        return _version(_inside(file), n_classes) is not None
    if file.name.endswith(TAR_SUFFIXES):
        return f"cifar-{n_classes}-" in file.name or _version(Folder(file), n_classes) is not None
    return file.name.removesuffix(".bin") in known and _version(Folder(file.parent), n_classes) is not None


def _version(folder: Folder, n_classes: int) -> str | None:
    """Which suffix the files of a folder have: "" for python, ".bin" for binary, None where they are not there."""
    names = set(folder.names)
    if n_classes == 10:
        return next((end for end in ("", ".bin") if {f"data_batch_1{end}", f"test_batch{end}"} & names), None)
    if "meta" in names and {"train", "test"} & names:
        return ""
    return ".bin" if "fine_label_names.txt" in names and {"train.bin", "test.bin"} & names else None


def _inside(file: Path) -> Folder:
    """The folder itself, or the one that unpacking or torchvision made in it."""
    for name in SUBFOLDERS:
        if (file / name).is_dir():
            return Folder(file / name)
    return Folder(file)


def _files(
    file: Path, split: str | None, batches: dict[str, tuple[str, ...]]
) -> tuple[Folder, tuple[str, ...], str | None]:
    """Where the files are, which of them are read, and the split they are."""
    n_classes = 10 if batches is BATCHES else 100
    single = not file.is_dir() and not file.name.endswith(TAR_SUFFIXES)
    if single:
        if split is not None:
            raise DataError(f"{file}: split={split!r} chooses among the files of a folder; drop it, or name the folder")
        return Folder(file.parent), (file.name,), None
    split = "train" if split is None else one_of(split, tuple(batches), f"{file}: split")
    folder = _inside(file) if file.is_dir() else Folder(file)
    end = _version(folder, n_classes)
    if end is None:
        there = ", ".join(folder.names[:8]) or "no files"
        raise DataError(f"{file} is not CIFAR-{n_classes}: it should hold {batches[split][0]}, and has {there}")
    return folder, tuple(folder.find(name + end) for name in batches[split]), split


def _batch(folder: Folder, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    what = folder.where(name)
    batch: dict[str, Any] = load_pickle(folder.read(name), what)
    missing = [key for key in keys if not isinstance(batch, dict) or key not in batch]
    if missing:
        has = f"the keys {', '.join(map(str, batch))}" if isinstance(batch, dict) else f"a {type(batch).__name__}"
        raise DataError(f"{what} has no {' and no '.join(missing)}: it holds {has}")
    X = batch["data"]
    if not isinstance(X, np.ndarray) or X.dtype != np.uint8 or X.shape[1:] != (N_BYTES,) or not X.size:
        is_ = f"{X.dtype} of shape {X.shape}" if isinstance(X, np.ndarray) else type(X).__name__
        raise DataError(f"{what}: data must be bytes of shape (N, {N_BYTES}), 3 x 32 x 32 per image; it is {is_}")
    return batch


def _whole(labels: Any, what: str, n_samples: int, highest: int) -> npt.NDArray[np.int64]:
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < 256 for value in values):
        raise DataError(f"{what}: labels must be a list of class numbers from 0")
    if len(values) != n_samples:
        raise DataError(f"{what}: {len(values):,} labels for {n_samples:,} images; get it again")
    return _checked(np.array(values, dtype=np.int64), highest, what)


def _checked(y: npt.NDArray[np.int64], highest: int, what: str) -> npt.NDArray[np.int64]:
    if y.max() > highest:
        raise DataError(
            f"{what}: image {int(y.argmax())} has the label {y.max()}, beyond {highest}; is it another version of "
            "CIFAR?"
        )
    return y


def _records(folder: Folder, name: str, n_labels: int, which: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The binary version: per image its label bytes, then 3,072 bytes."""
    content, width = folder.array(name), n_labels + N_BYTES
    if content.size % width:
        raise DataError(
            f"{folder.where(name)} is truncated or of another kind: {content.size:,} bytes are no multiple of {width:,}"
            f", {n_labels} for labels and {N_BYTES:,} per image; get it again"
        )
    records = content.reshape(-1, width)
    highest = 9 if n_labels == 1 else (19, 99)[which]
    return records[:, n_labels:], _checked(records[:, which].astype(np.int64), highest, folder.where(name))


def _names(folder: Folder, meta: str, key: str, text: str) -> list[str] | None:
    """The names of the classes, if the file of names lies beside."""
    if meta in folder.names:
        words = load_pickle(folder.read(meta), folder.where(meta))
        words = words.get(key) if isinstance(words, dict) else None
        if isinstance(words, list) and all(isinstance(word, str | bytes) for word in words):
            return [word.decode("latin1") if isinstance(word, bytes) else word for word in words]
        raise DataError(f"{folder.where(meta)} has no list {key}; get it again")
    return folder.lines(text) if text in folder.names else None


def _stored(
    X: npt.NDArray[Any], y: npt.NDArray[np.int64], names: list[str] | None, split: str | None, file: Path
) -> Stored:
    return Stored(X.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), y, names, split, str(file))


def _table(found: Stored, classes: Any, limit: int | None, scale: Scale, channels: Channels, **meta: Any) -> Table:
    return image_table(
        found.images,
        found.where,
        y=found.y,
        names=found.names,
        classes=classes,
        limit=limit,
        scale=scale,
        channels=channels,
        meta={**meta, **({} if found.split is None else {"split": found.split})},
    )
