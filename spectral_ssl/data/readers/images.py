"""Folders of pictures: root/class/*.png and the like, read with pillow in a fixed order."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from spectral_ssl.data._checks import ImageShape, check_int
from spectral_ssl.data._memory import check_memory
from spectral_ssl.data.readers.files import Table, missing_extra, one_of
from spectral_ssl.data.readers.pixels import Scale, chosen
from spectral_ssl.errors import DataError, SpectralWarning

__all__ = ["SUFFIXES", "is_image_folder", "read_images"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
GREY_MODES = ("1", "L", "LA", "La")  # pillow's words for one byte of grey per pixel
DEEP_MODES = ("I", "F")  # and for deeper pixels, which it would cut to a byte
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class _Picture(NamedTuple):
    file: Path
    label: str | None
    size: tuple[int, int]  # (height, width)
    grey: bool


def read_images(
    file: Path,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal["auto", "rgb", "gray"] = "auto",
    classes: Any = None,
    limit: int | None = None,
    scale: Scale = "stored",
    skip: bool = False,
) -> Table:
    """Pictures of a folder, sorted by path; the class is the name of the first folder below, none for a flat folder.

    Transparency is dropped, the first frame of an animation is taken, orientation tags are not applied.

    Args:
        size: (height, width) or the side of a square every picture is resized to (bilinear, averaging where it
            shrinks). Without it all pictures must have one size.
        channels: "gray" or "rgb"; "auto" is grey where every picture is.
        classes: Names of folders to keep.
        limit: At most so many pictures, one of every class in turn.
        scale: "stored" for 0 .. 255, "unit" for 0 .. 1.
        skip: Leave out pictures that cannot be read, with a warning that counts them, instead of stopping.
    """
    one_of(channels, ("auto", "rgb", "gray"), f"{file}: channels")
    one_of(scale, ("stored", "unit"), f"{file}: scale")
    one_of(skip, (False, True), f"{file}: skip")
    height_width = _size(size, file)
    entries = _taken(list(_listed(file)), file, classes, limit)
    pictures, broken = _opened(entries, skip)
    shape = _common_shape(pictures, height_width)
    grey = channels == "gray" or (channels == "auto" and all(picture.grey for picture in pictures))
    n_features = shape[0] * shape[1] * (1 if grey else 3)
    check_memory(
        8.0 * len(pictures) * n_features,
        f"{file}: {len(pictures):,} pictures of {n_features:,} features as float64",
        "take a part with limit= or classes=, or a smaller size=",
    )
    X = np.empty((len(pictures), n_features))
    kept: list[_Picture] = []
    for picture in pictures:
        try:
            X[len(kept)] = _pixels(picture.file, shape, grey)
            kept.append(picture)
        except DataError as error:
            if not skip:
                raise
            broken.append(str(error))
    if broken:
        warnings.warn(
            f"{file}: {len(broken)} of {len(entries)} pictures cannot be read and were left out, the first: "
            f"{broken[0]}",
            SpectralWarning,
            stacklevel=4,
        )
    X = X[: len(kept)]
    if scale == "unit":
        X /= 255.0
    labels = [picture.label for picture in kept]
    image_shape: ImageShape = shape if grey else (*shape, 3)
    meta: dict[str, Any] = {
        "pixels": "0 .. 1, bytes divided by 255" if scale == "unit" else "0 .. 255, as stored",
        "files": tuple(picture.file.relative_to(file).as_posix() for picture in kept),
        "full_set_only": ("files",),
    }
    if labels and labels[0] is not None:
        meta["labels_from"] = "folders"
    return Table(X, meta, labels if "labels_from" in meta else None, None, image_shape)


def is_image_folder(file: Path) -> bool:
    """A directory with pictures in it, or in a folder of it."""
    return file.is_dir() and next(_walk(file), None) is not None


def _walk(root: Path) -> Iterator[Path]:
    """Pictures below a folder, sorted, without hidden files and folders; each once, whatever links there are."""
    real = Path(os.path.realpath(root))
    yield from _below(root, {real}, set(real.parents))


def _below(folder: Path, walked: set[Path], above: set[Path]) -> Iterator[Path]:
    """walked: the root, and what links lead to; above: folders that hold the root, where a link would go in circles."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_symlink() and entry.exists():
            target = Path(os.path.realpath(entry))
            if target in above or _is_shown(target, walked):
                continue
            walked.add(target)
        if entry.is_dir():
            yield from _below(entry, walked, above)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def _is_shown(target: Path, walked: set[Path]) -> bool:
    """Whether it is one of these, or below one and not hidden there, as the stores are that whole sets link into."""
    for place in (target, *target.parents):
        if place in walked:
            return True
        if place.name.startswith("."):
            return False
    return False


def _listed(root: Path) -> Iterator[tuple[Path, str | None]]:
    """(file, label) in order; a folder that mixes the two layouts is refused, and one that holds splits too."""
    pictures = [(picture, picture.relative_to(root).parts) for picture in _walk(root)]
    if not pictures:
        raise DataError(f"{root} holds no pictures ({', '.join(SUFFIXES)}), neither directly nor in folders")
    folders = {parts[0] for _, parts in pictures if len(parts) > 1}
    loose = sum(len(parts) == 1 for _, parts in pictures)
    if folders and loose:
        raise DataError(
            f"{root} has {loose} pictures beside its folders {', '.join(sorted(folders)[:5])}: put every picture into "
            "the folder of its class, or all into one"
        )
    if folders and {name.lower() for name in folders} <= SPLITS and all(len(parts) > 2 for _, parts in pictures):
        raise DataError(f"{root} holds the splits {', '.join(sorted(folders))}: name one, {root / min(folders)}")
    for picture, parts in pictures:
        yield picture, parts[0] if len(parts) > 1 else None


def _taken(
    entries: Sequence[tuple[Path, str | None]], root: Path, classes: Any, limit: int | None
) -> list[tuple[Path, str | None]]:
    """Those of the classes named; of these `limit`, one of every class in turn, in their order."""
    labels = None if entries[0][1] is None else np.array([label for _, label in entries])
    rows = chosen(len(entries), str(root), y=labels, classes=classes)
    if limit is not None and check_int(limit, f"{root}: limit", low=2) < len(rows):
        seen: Counter[str | None] = Counter()
        turn = []
        for row in rows.tolist():
            turn.append(seen[entries[row][1]])
            seen[entries[row][1]] += 1
        rows = np.sort(rows[np.argsort(turn, kind="stable")[:limit]])
    return [entries[row] for row in rows.tolist()]


def _opened(entries: Sequence[tuple[Path, str | None]], skip: bool) -> tuple[list[_Picture], list[str]]:
    """What the headers say: no pixel is read yet."""
    pictures: list[_Picture] = []
    broken: list[str] = []
    for file, label in entries:
        try:
            with _image(file) as image:
                if image.mode.startswith(DEEP_MODES):
                    raise DataError(
                        f"{file} has pixels deeper than a byte (mode {image.mode}); save it with 8 bits per channel, "
                        "or the pixels as an npy array"
                    )
                pictures.append(_Picture(file, label, (image.height, image.width), image.mode in GREY_MODES))
        except DataError as error:
            if not skip:
                raise
            broken.append(str(error))
    if not pictures:
        raise DataError(f"none of the {len(broken)} pictures can be read, the first: {broken[0]}")
    return pictures, broken


def _common_shape(pictures: Sequence[_Picture], size: tuple[int, int] | None) -> tuple[int, int]:
    if size is not None:
        return size
    sizes = Counter(picture.size for picture in pictures)
    if len(sizes) > 1:
        first = pictures[0]
        other = next(picture for picture in pictures if picture.size != first.size)
        raise DataError(
            f"pictures have {len(sizes)} sizes: {first.file} is {first.size[0]} x {first.size[1]} (height x width), "
            f"{other.file} is {other.size[0]} x {other.size[1]}; pass size=32, or (height, width), to resize them all"
        )
    return pictures[0].size


def _pixels(file: Path, shape: tuple[int, int], grey: bool) -> Any:  # (D,) bytes
    with _image(file) as image:
        picture = image.convert("L" if grey else "RGB")  # decodes: here a truncated file is found out
        if picture.size != (shape[1], shape[0]):
            picture = picture.resize((shape[1], shape[0]), _pillow().BILINEAR)
        return np.asarray(picture).reshape(-1)


class _image:
    """The picture of a file; whatever pillow has to say against it becomes a DataError."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> Any:
        self.image, pillow = None, _pillow()
        self.warnings = warnings.catch_warnings()
        self.warnings.__enter__()
        warnings.simplefilter("error", pillow.DecompressionBombWarning)  # refuse what would unpack to 90 million pixels
        try:
            self.image = pillow.open(self.file)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self.image

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.image is not None:
            self.image.close()
        self.warnings.__exit__(None, None, None)
        if isinstance(error, Exception) and not isinstance(error, (DataError, MemoryError)):
            # every plugin of pillow has exceptions of its own
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{self.file} cannot be read as a picture: {reason}") from None


def _size(size: Any, root: Path) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = list(size) if isinstance(size, (tuple, list)) else [size, size]
    if len(sides) != 2:
        raise DataError(f"{root}: size must be (height, width) or one number, got {size!r}")
    height, width = (check_int(side, f"{root}: a side of size", low=1) for side in sides)
    return height, width


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("pillow", "reading pictures") from None
    return Image
