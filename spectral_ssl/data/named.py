"""The image sets of the field, read from files the user has got: nothing is downloaded.

Each takes the folder (or archive) the files lie in as `path`; without one it looks in the folder of its own name in the
directory that the environment variable SPECTRAL_SSL_DATA names. Where nothing lies there, the error says which files
are needed and where they are to be had.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spectral_ssl.data.dataset import Dataset
from spectral_ssl.data.readers.dispatch import READERS, read_as
from spectral_ssl.data.readers.files import StrPath, Table, existing, exists
from spectral_ssl.errors import DataError, did_you_mean

__all__ = ["HOMES", "Home", "cifar10", "cifar100", "fashion_mnist", "image_folder", "mnist", "stl10"]

DIRECTORY = "SPECTRAL_SSL_DATA"  # the environment variable

Scale = Literal["stored", "unit"]
Colour = Literal["rgb", "gray"]
Classes = Sequence[int] | Sequence[str] | int | str


class Home(NamedTuple):
    """Where a data set is to be had, and what its files are called."""

    page: str
    files: str
    kind: str  # of `READERS`
    inside: tuple[str, ...] = ()  # where a folder may hold them
    target_names: tuple[str, ...] = ()


def mnist(
    *,
    path: Path | None = None,
    split: Literal["train", "test"] = "train",
    classes: Classes | None = None,
    limit: int | None = None,
    scale: Scale = "stored",
) -> Dataset:
    """60,000 (test: 10,000) handwritten digits, 28 x 28 grey pixels of 0 .. 255, 10 classes, from IDX files at `path`.

    `classes` keeps some of them, `limit` the first rows of these, `scale="unit"` divides pixels by 255.
    """
    return _named("mnist", path, split=split, classes=classes, limit=limit, scale=scale)


def fashion_mnist(
    *,
    path: Path | None = None,
    split: Literal["train", "test"] = "train",
    classes: Classes | None = None,
    limit: int | None = None,
    scale: Scale = "stored",
) -> Dataset:
    """60,000 (test: 10,000) pictures of clothes, 28 x 28 grey pixels of 0 .. 255, 10 classes, from IDX files at `path`.

    `classes` keeps some of them, `limit` the first rows of these, `scale="unit"` divides pixels by 255.
    """
    return _named("fashion_mnist", path, split=split, classes=classes, limit=limit, scale=scale)


def cifar10(
    *,
    path: Path | None = None,
    split: Literal["train", "test"] = "train",
    classes: Classes | None = None,
    limit: int | None = None,
    scale: Scale = "stored",
    channels: Colour = "rgb",
) -> Dataset:
    """50,000 (test: 10,000) photographs, 32 x 32 x 3 pixels of 0 .. 255, 10 classes, from the files at `path`.

    `classes` (numbers or names) keeps some of them, `limit` the first rows of these, `scale="unit"` divides pixels by
    255, `channels="gray"` mixes the colours.
    """
    return _named("cifar10", path, split=split, classes=classes, limit=limit, scale=scale, channels=channels)


def cifar100(
    *,
    path: Path | None = None,
    split: Literal["train", "test"] = "train",
    label: Literal["fine", "coarse"] = "fine",
    classes: Classes | None = None,
    limit: int | None = None,
    scale: Scale = "stored",
    channels: Colour = "rgb",
) -> Dataset:
    """50,000 (test: 10,000) photographs, 32 x 32 x 3 pixels of 0 .. 255, 100 fine or 20 coarse classes, from `path`.

    `classes` (numbers or names) keeps some of them, `limit` the first rows of these, `scale="unit"` divides pixels by
    255, `channels="gray"` mixes the colours.
    """
    options = {"split": split, "label": label, "classes": classes, "limit": limit, "scale": scale}
    return _named("cifar100", path, **options, channels=channels)


def stl10(
    *,
    path: Path | None = None,
    split: Literal["train", "test", "unlabeled"] = "train",
    fold: int | None = None,
    classes: Classes | None = None,
    limit: int | None = None,
    scale: Scale = "stored",
    channels: Colour = "rgb",
) -> Dataset:
    """5,000 (test: 8,000, unlabeled: 100,000) photographs, 96 x 96 x 3 pixels of 0 .. 255, 10 classes, from `path`.

    `fold` 0 .. 9 takes one of the official parts of the training set; the other options are those of `cifar10`.
    """
    options = {"split": split, "fold": fold, "classes": classes, "limit": limit, "scale": scale}
    return _named("stl10", path, **options, channels=channels)


def image_folder(
    *,
    path: Path | None = None,
    size: int | tuple[int, int] | None = None,
    channels: Literal["auto", "rgb", "gray"] = "auto",
    classes: Sequence[str] | str | None = None,
    limit: int | None = None,
    scale: Scale = "stored",
    skip: bool = False,
) -> Dataset:
    """Your own pictures, `path`/class/*.png and the like, resized to `size`; see `read_dataset` for the options."""
    options = {"size": size, "channels": channels, "classes": classes, "limit": limit, "scale": scale, "skip": skip}
    return _named("image_folder", path, **options)


def _named(name: str, path: StrPath | None, **options: Any) -> Dataset:
    home = HOMES[name]
    place = _place(name, home, path)
    given = {key: value for key, value in options.items() if value is not None}
    if place.is_file() and given.get("split") == "train":  # a single file is what it is
        del given["split"]
    if home.target_names and "classes" in given:
        given["classes"] = _numbers(given["classes"], home.target_names, name)
    table: Table = read_as(home.kind, place, **given)
    meta = {"origin": str(place), "format": home.kind, **table.meta}
    if home.target_names and table.y is not None:
        meta["target_names"] = home.target_names
    return Dataset(name=name, X=table.X, y=table.y, source=table.source, image_shape=table.image_shape, meta=meta)


def _place(name: str, home: Home, path: StrPath | None) -> Path:
    """The path given, or the folder of this name in $SPECTRAL_SSL_DATA; in it, what the files came as."""
    needed = f"needed: {home.files}" + (f"; get it from {home.page}" if home.page else "")
    if path is None:
        root = os.environ.get(DIRECTORY)
        if not root:
            raise DataError(
                f"{name} needs its files, nothing is downloaded: pass path=, or set {DIRECTORY} to the folder that "
                f"holds a folder {name}; {needed}"
            )
        path = Path(root) / name
    if not exists(Path(path)):
        raise DataError(f"no such file or folder: {path}; {needed}")
    place = existing(path, folders=True)
    if home.kind == "images":
        return place
    for inside in home.inside:  # the folder of torchvision, or the archive as downloaded
        if (place / inside).is_dir() or ((place / inside).exists() and not READERS[home.kind].claims(place)):
            place = place / inside
    if not READERS[home.kind].claims(place):
        raise DataError(f"{place} does not hold {name}; {needed}")
    return place


def _numbers(classes: Any, names: Sequence[str], what: str) -> list[Any]:
    """Names of classes as their numbers."""
    entries = [classes] if isinstance(classes, str | numbers.Integral) else list(classes)
    for entry in entries:
        if isinstance(entry, str) and entry not in names:
            raise DataError(f"{what}: no class {entry!r}: {did_you_mean(entry, names)}")
    return [names.index(entry) if isinstance(entry, str) else entry for entry in entries]


IDX_FILES = "train-images-idx3-ubyte.gz ({}), train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz ({}), "
IDX_FILES += "t10k-labels-idx1-ubyte.gz, packed or not"
CLOTHES = "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"

HOMES: dict[str, Home] = {
    "mnist": Home(
        page="http://yann.lecun.com/exdb/mnist",
        files=IDX_FILES.format("9.9 MB", "1.6 MB"),
        kind="idx",
        inside=("MNIST",),
    ),
    "fashion_mnist": Home(
        page="https://github.com/zalandoresearch/fashion-mnist",
        files=IDX_FILES.format("26 MB", "4.4 MB"),
        kind="idx",
        inside=("FashionMNIST",),
        target_names=CLOTHES,
    ),
    "cifar10": Home(
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        files="cifar-10-python.tar.gz (170 MB) as it is or unpacked, or the binary version",
        kind="cifar10",
        inside=("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"),
    ),
    "cifar100": Home(
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        files="cifar-100-python.tar.gz (169 MB) as it is or unpacked, or the binary version",
        kind="cifar100",
        inside=("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
    ),
    "stl10": Home(
        page="https://cs.stanford.edu/~acoates/stl10",
        files="stl10_binary.tar.gz (2.6 GB), best unpacked",
        kind="stl10",
        inside=("stl10_binary.tar.gz",),
    ),
    "image_folder": Home(
        page="", files="a folder with a folder of pictures per class, or a flat one of pictures alone", kind="images"
    ),
}
