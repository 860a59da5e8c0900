"""Image sets as bytes, in the three parts that pre-training without labels and its judgement need.

Pixels stay the bytes of the files: 100,000 images of STL-10 are 2.8 GB so, and 22 GB as the float64 rows of a Dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import check_int
from spectral_ssl.data._memory import check_memory
from spectral_ssl.data.readers.cifar import cifar10_images, cifar100_images
from spectral_ssl.data.readers.files import StrPath, existing
from spectral_ssl.data.readers.pixels import Stored
from spectral_ssl.data.readers.stl10 import stl10_images
from spectral_ssl.errors import DataError, did_you_mean

__all__ = ["IMAGE_SETS", "ImageSet", "read_image_set"]

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images (N, height, width, 3) of bytes.

    pretrain: what is trained on without labels. train, y_train: what a probe learns from. test, y_test: what judges it.
    Where nothing but the training images is pre-trained on, pretrain and train are the same array. full: whether these
    are all images of the set as published.
    """

    name: str
    pretrain: Bytes
    train: Bytes
    y_train: Codes
    test: Bytes
    y_test: Codes
    n_classes: int
    full: bool

    @property
    def side(self) -> int:
        return int(self.pretrain.shape[1])


def read_image_set(name: str, path: StrPath, *, limit: int | None = None) -> ImageSet:
    """An image set of `IMAGE_SETS` from the user's files, a folder or the archive as it was downloaded.

    limit: at most so many images of each split, the first ones.

    Raises:
        DataError: Files of another kind, broken or missing.
        ResourceError: The images do not fit into memory.
    """
    if name not in IMAGE_SETS:
        raise DataError(f"unknown image set {name!r}; {did_you_mean(name, IMAGE_SETS)}")
    file = existing(path, folders=True)
    if limit is not None:
        check_int(limit, "limit", low=2)
    kind = IMAGE_SETS[name]
    train, test = kind.read(file, "train"), kind.read(file, "test")
    others = [kind.read(file, split) for split in kind.unlabelled]
    n = [part.images.shape[0] for part in (train, test, *others)]
    check_memory(sum(min(k, limit or k) for k in n) * int(np.prod(train.images.shape[1:])), str(file))
    own, y = _taken(train, limit)
    held, y_held = _taken(test, limit)
    pool = np.concatenate([own, *(part.images[:limit] for part in others)]) if others else own
    full = limit is None and sorted(n) == sorted(kind.sizes)
    return ImageSet(name, pool, own, y, held, y_held, kind.n_classes, full)


def _taken(part: Stored, limit: int | None) -> tuple[Bytes, Codes]:
    assert part.y is not None  # of a labelled split
    return np.ascontiguousarray(part.images[:limit]), part.y[:limit]


@dataclass(frozen=True)
class _Kind:
    read: Callable[..., Stored]
    n_classes: int
    sizes: tuple[int, ...]  # of all splits, as published
    unlabelled: tuple[str, ...] = ()  # pre-trained on beside "train"


IMAGE_SETS: dict[str, _Kind] = {
    "cifar10": _Kind(cifar10_images, 10, (50_000, 10_000)),
    "cifar100": _Kind(cifar100_images, 100, (50_000, 10_000)),
    "stl10": _Kind(stl10_images, 10, (5_000, 8_000, 100_000), ("unlabeled",)),
}
