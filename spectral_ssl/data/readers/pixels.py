"""From stored images to rows: which are taken, what their pixels are, and in which order they lie.

A row is one image in row-major order of (height, width, channels), channels last, as numpy, pillow and matplotlib have
it; a grey image is (height, width). Pixels keep the values of the file, 0 .. 255 for bytes; `scale="unit"` divides them
by 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import FloatArray, ImageShape, check_int
from spectral_ssl.data._memory import check_rows
from spectral_ssl.data.readers.files import Table, one_of
from spectral_ssl.errors import DataError, did_you_mean

__all__ = ["Channels", "Scale", "Stored", "chosen", "image_table", "rows_of_images", "shape_of_row"]

Scale = Literal["stored", "unit"]
Channels = Literal["rgb", "gray"]


class Stored(NamedTuple):
    """Images as their files have them: bytes, a view of a mapped file where there is one."""

    images: npt.NDArray[np.uint8]  # (N, height, width, channels)
    y: npt.NDArray[np.int64] | None  # (N,)
    names: list[str] | None  # of the classes
    split: str | None
    where: str  # how messages call them


LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, the weights of most tools that make a picture grey
BLOCK = 2**21  # pixels turned into floats at once


def chosen(
    n_samples: int,
    what: str,
    *,
    y: npt.NDArray[Any] | None,  # (N,)
    names: Sequence[str] | None = None,
    classes: Any = None,
    limit: int | None = None,
) -> npt.NDArray[np.int64]:  # (M,)
    """Rows of the classes named (by number, or by name where `names[number]` is known), the first `limit` of them."""
    rows = np.arange(n_samples)
    if classes is not None:
        if y is None:
            raise DataError(f"{what}: classes= needs labels, and there are none; use limit=")
        rows = np.flatnonzero(np.isin(y, _codes(classes, y, names, what)))
        if rows.size == 0:
            raise DataError(f"{what}: no row is of the classes {classes!r}")
    if limit is not None:
        rows = rows[: check_int(limit, f"{what}: limit", low=2)]
    return rows


def _codes(classes: Any, y: npt.NDArray[Any], names: Sequence[str] | None, what: str) -> list[Any]:
    wanted = list(classes) if isinstance(classes, (list, tuple, np.ndarray, set)) else [classes]
    if not wanted:
        raise DataError(f"{what}: classes= is empty; leave it out to take all")
    present, codes = np.unique(y).tolist(), []
    for entry in wanted:
        code = entry.item() if isinstance(entry, np.generic) else entry
        if isinstance(code, str) and names is not None:
            if code not in names:
                raise DataError(f"{what}: no class {code!r}: {did_you_mean(code, names)}")
            code = list(names).index(code)
        if isinstance(code, bool) or code not in present:
            known = did_you_mean(str(code), map(str, present)) if len(present) < 200 else f"{len(present)} classes"
            raise DataError(f"{what}: no row has the class {code!r}: {known}")
        codes.append(code)
    return codes


def image_table(
    images: npt.NDArray[Any],  # (N, height, width, channels), or (N, height, width)
    what: str,
    *,
    y: npt.NDArray[Any] | None = None,  # (N,)
    names: Sequence[str] | None = None,
    classes: Any = None,
    limit: int | None = None,
    scale: Scale = "stored",
    channels: Channels = "rgb",
    meta: dict[str, Any] | None = None,
) -> Table:
    """The images chosen, as float64 rows. `images` may be a view of a mapped file in any order: blocks are copied.

    Raises:
        DataError: As `chosen`; labels of another length, or beyond the names; a scale or channels of another name;
            floats to be scaled.
        ResourceError: The rows do not fit into memory; raised before they are read.
    """
    if y is not None and len(y) != len(images):
        raise DataError(f"{what}: {len(y):,} labels, but {len(images):,} images; these files do not belong together")
    if y is not None and names is not None and len(names) <= y.max(initial=-1):
        raise DataError(f"{what}: label {y.max()} has no name, the file of names has {len(names)}; get it again")
    rows = chosen(len(images), what, y=y, names=names, classes=classes, limit=limit)
    X = rows_of_images(images, rows, what, scale=scale, channels=channels)
    found: dict[str, Any] = {"pixels": _range(images.dtype, scale), **(meta or {})}
    if names is not None and y is not None:
        found["target_names"] = tuple(names)
    if len(rows) < len(images):
        found["taken"] = f"{len(rows)} of {len(images)} images"
    return Table(X, found, None if y is None else y[rows], None, shape_of_row(images.shape[1:], channels))


def shape_of_row(shape: Sequence[int], channels: Channels) -> ImageShape:
    """(height, width), or (height, width, channels) of a colour image."""
    height, width, *rest = shape
    return (height, width, rest[0]) if rest and rest[0] > 1 and channels == "rgb" else (height, width)


def rows_of_images(
    images: npt.NDArray[Any],  # (N, height, width, channels), or (N, height, width)
    rows: npt.NDArray[np.int64],  # (M,)
    what: str,
    *,
    scale: Scale = "stored",
    channels: Channels = "rgb",
) -> FloatArray:  # (M, D)
    """Block by block, so that beside the answer only one block is in memory."""
    one_of(scale, ("stored", "unit"), f"{what}: scale")
    one_of(channels, ("rgb", "gray"), f"{what}: channels")
    if scale == "unit" and images.dtype != np.uint8:
        raise DataError(f"{what}: scale='unit' divides bytes by 255, but the pixels are {images.dtype}; leave it out")
    colours = images.shape[3] if images.ndim == 4 else 1
    mixes = channels == "gray" and colours > 1
    if mixes and colours < 3:
        raise DataError(f"{what}: channels='gray' mixes red, green and blue, but there are {colours} channels")
    n_features = images.shape[1] * images.shape[2] * (1 if mixes else colours)
    check_rows(len(rows), n_features, what, "take a part with limit= or classes=")
    X = np.empty((len(rows), n_features))
    step = max(1, BLOCK // n_features)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        part = images[block]
        X[start : start + step] = (part[..., :3] @ LUMA if mixes else part).reshape(len(block), n_features)
    if scale == "unit":
        X /= 255.0
    return X


def _range(dtype: np.dtype[Any], scale: Scale) -> str:
    if dtype != np.uint8:
        return f"{dtype.name}, as stored"
    return "0 .. 1, bytes divided by 255" if scale == "unit" else "0 .. 255, as stored"
