"""Views: randomly transformed copies of every original, the positive pairs of joint-embedding methods.

A transform is a frozen record of its strengths, called as `transform(X, rng, image_shape)` on rows X (M, D); it returns
new rows of the same shape, draws independently for every row and never changes X. Any callable of that form may stand
in its place. The channels of a colour image, image_shape (height, width, channels), move, turn and blur as one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import FloatArray, ImageShape, IntArray, check_int, check_real, generator
from spectral_ssl.data.dataset import Dataset, as_dataset
from spectral_ssl.errors import DataError, SpectralWarning

__all__ = [
    "TRANSFORMS",
    "Blur",
    "Dropout",
    "Erase",
    "Flip",
    "Mask",
    "Noise",
    "Rotation",
    "Scaling",
    "Shift",
    "Transform",
    "augment",
]

BLOCK = 2**21  # entries of X handled at once where a transform needs several temporaries per entry: 16 MiB each


class Transform(Protocol):
    """Rows in, transformed rows out; all randomness comes from `rng`."""

    def __call__(
        self,
        X: FloatArray,  # (M, D)
        rng: np.random.Generator,
        image_shape: ImageShape | None,
    ) -> FloatArray: ...  # (M, D)


def augment(
    data: Dataset | npt.ArrayLike,  # Dataset, or X (N, D)
    n_views: int | npt.ArrayLike = 2,  # V, or (N,) counts V_n
    transforms: str | Transform | Sequence[str | Transform] | None = None,
    *,
    seed: int = 0,
    keep_original: bool = False,
) -> Dataset:
    """V views of every original: copies of each row, passed through all transforms in turn, independently.

    Row order: all views of original 0, then of original 1, and so on; `source` is the row number of the original,
    labels are repeated, `image_shape` is kept. The same arguments give the same views.

    Args:
        n_views: Views of every original, one number or one per original, at least 1 each. A single view makes no
            positive pair and warns.
        transforms: Transform objects, or calls such as "shift(pixels=1), noise(scale=0.2)" with names of `TRANSFORMS`.
            Default: for images Shift(1), Rotation(10), Noise(0.1); for vectors Noise(0.3).
        seed: Whole number >= 0.
        keep_original: The first view of every original is the original itself, untransformed.

    meta: `augmented_from` (name and fingerprint), `transforms` (their calls), `seed`, `keep_original`, `feature_names`
    if there were any.

    Raises:
        DataError: Data that has a source already, counts below 1 or not one per original, unknown transforms or
            parameters, an image transform without `image_shape`, a transform that returns another shape or entries that
            are not finite.
    """
    data = as_dataset(data)
    what = f"augment {data.name!r}"
    if data.source is not None:
        raise DataError(
            f"{what}: these rows have a source already ({data.n_sources} originals), they are views or coupled rows; "
            "augment the originals, or drop it first: Dataset(name, X, y)"
        )
    counts = _counts(n_views, data.n_samples, what)
    steps = _resolve(transforms, data.image_shape, what)
    rng = generator(seed, what)
    source = np.repeat(np.arange(data.n_samples), counts)
    views: FloatArray = np.asarray(data.X[source], dtype=np.float64)
    for step in steps:
        views = _applied(step, views, rng, data.image_shape, what)
    if keep_original:
        first = np.cumsum(counts) - counts
        views = views.copy()  # a foreign transform may have returned rows that cannot be written
        views[first] = data.X
    meta: dict[str, Any] = {
        "augmented_from": {"name": data.name, "fingerprint": data.fingerprint()},
        "transforms": tuple(map(_call_text, steps)),
        "seed": seed,
        "keep_original": keep_original,
    }
    if "feature_names" in data.meta:
        meta["feature_names"] = data.meta["feature_names"]
    return Dataset(
        name=data.name,
        X=views,
        y=None if data.y is None else data.y[source],
        source=source,
        modality=None if data.modality is None else data.modality[source],
        image_shape=data.image_shape,
        meta=meta,
        style=None if data.style is None else data.style[source],
    )


def _counts(n_views: int | npt.ArrayLike, n_samples: int, what: str) -> IntArray:
    array = np.asarray(n_views)
    if array.ndim == 0:
        counts = np.full(n_samples, check_int(array.item(), f"{what}: n_views", low=1), dtype=np.int64)
    else:
        if array.shape != (n_samples,) or array.dtype.kind not in "iu":
            raise DataError(
                f"{what}: n_views must be one whole number, or one per original, shape ({n_samples},); got shape "
                f"{array.shape}, dtype {array.dtype}"
            )
        if int(array.min()) < 1:
            raise DataError(
                f"{what}: n_views of original {int(array.argmin())} is {array.min()}; at least 1 view each, leave an "
                "original out with data.subset(...)"
            )
        counts = array.astype(np.int64)
    n_single = int(np.count_nonzero(counts == 1))
    if n_single:
        warnings.warn(
            f"{what}: {n_single} of {n_samples} originals get a single view, which has no positive pair; n_views=2 "
            "makes one",
            SpectralWarning,
            stacklevel=3,
        )
    return counts


def _resolve(
    transforms: str | Transform | Sequence[str | Transform] | None, image_shape: ImageShape | None, what: str
) -> tuple[Transform, ...]:
    if transforms is None:
        return (Noise(0.3),) if image_shape is None else (Shift(1), Rotation(10), Noise(0.1))
    steps: list[Transform] = []
    several = isinstance(transforms, Sequence) and not isinstance(transforms, str)
    for entry in transforms if several else [transforms]:  # type: ignore[union-attr]
        if isinstance(entry, str):
            steps += _from_text(entry)
        elif callable(entry) and not isinstance(entry, type):
            steps.append(entry)
        else:
            hint = f"write {entry.__name__}()" if isinstance(entry, type) else f"use one of {', '.join(TRANSFORMS)}"
            raise DataError(f"{what}: {entry!r} is no transform; {hint}")
    if not steps:
        raise DataError(
            f"{what}: no transform was given, so all views would be copies; name some of {', '.join(TRANSFORMS)}, or "
            "leave transforms out for the default"
        )
    return tuple(steps)


def _from_text(text: str) -> list[Transform]:
    from spectral_ssl import spec

    return [spec.bind(TRANSFORMS, *call, kind="transform")() for call in spec.parse_calls(text)]


def _call_text(step: Transform) -> str:
    """The call that makes the transform, "noise(scale=0.3, relative=True)"; of a foreign callable its name."""
    from spectral_ssl import spec

    for name, kind in TRANSFORMS.items():
        if type(step) is kind:
            return spec.format_call(name, vars(step))
    return str(getattr(step, "__qualname__", type(step).__qualname__))


def _applied(
    step: Transform, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None, what: str
) -> FloatArray:
    views = np.asarray(step(X, rng, image_shape))
    if views.shape != X.shape or views.dtype.kind != "f":
        raise DataError(
            f"{what}: transform {_call_text(step)} returned shape {views.shape}, dtype {views.dtype}; it must return "
            f"floats of the shape it got, {X.shape}"
        )
    if not np.isfinite(views).all():
        raise DataError(f"{what}: transform {_call_text(step)} returned NaN or infinite entries")
    return views


# --- transforms of any rows ------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Noise:
    """x_d + scale * s_d * N(0, 1), where s_d is the standard deviation of feature d over the rows given.

    `relative=False` sets s_d = 1. A constant feature gets no relative noise.
    """

    scale: float = 0.1
    relative: bool = True

    def __post_init__(self) -> None:
        check_real(self.scale, "Noise: scale", low=0)
        _check_bool(self.relative, "Noise: relative")

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None = None) -> FloatArray:
        spread = X.std(axis=0) if self.relative else 1.0
        views: FloatArray = X + self.scale * spread * rng.standard_normal(X.shape)
        return views


@final
@dataclass(frozen=True)
class Dropout:
    """Every entry is replaced by its feature's mean over the rows given, with probability `rate`, independently.

    The mean, not 0: on centred data they agree, elsewhere 0 may lie far outside the data.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        check_real(self.rate, "Dropout: rate", low=0, high=1, open_high=True)

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None = None) -> FloatArray:
        return np.where(rng.random(X.shape) < self.rate, X.mean(axis=0), X)


@final
@dataclass(frozen=True)
class Scaling:
    """f x with one factor f = exp(scale * N(0, 1)) per row."""

    scale: float = 0.1

    def __post_init__(self) -> None:
        check_real(self.scale, "Scaling: scale", low=0)

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None = None) -> FloatArray:
        factors: FloatArray = np.exp(self.scale * rng.standard_normal((len(X), 1)))
        return factors * X


@final
@dataclass(frozen=True)
class Mask:
    """A run of round(fraction * D) neighbouring features is replaced by their means over the rows given.

    The run starts anywhere from 0 to D - width, uniformly, and does not wrap around.
    """

    fraction: float = 0.25

    def __post_init__(self) -> None:
        check_real(self.fraction, "Mask: fraction", low=0, high=1, open_low=True, open_high=True)

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None = None) -> FloatArray:
        D = X.shape[1]
        width = round(self.fraction * D)
        if not 0 < width < D:
            raise DataError(
                f"Mask: a fraction {self.fraction:g} of {D} features is {width} features; between 1 and {D - 1} are "
                "needed"
                if D > 1
                else "Mask: one feature cannot be masked in part; use Noise or Dropout"
            )
        start = rng.integers(0, D - width + 1, size=(len(X), 1))
        feature = np.arange(D)
        return np.where((feature >= start) & (feature < start + width), X.mean(axis=0), X)


# --- transforms of images --------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Shift:
    """The image moves by (dy, dx), two whole numbers drawn uniformly from -pixels .. pixels; what enters is 0."""

    pixels: int = 1

    def __post_init__(self) -> None:
        check_int(self.pixels, "Shift: pixels", low=1)

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None) -> FloatArray:
        images = _images(X, image_shape, "Shift")  # (M, h, w, c)
        height, width = images.shape[1:3]
        if self.pixels >= min(height, width):
            raise DataError(
                f"Shift: {self.pixels} pixels would push a {height} x {width} image out of sight; at most "
                f"{min(height, width) - 1}"
            )
        moves = rng.integers(-self.pixels, self.pixels + 1, size=(len(X), 2))
        shifted = np.zeros_like(images)
        distinct, which = np.unique(moves, axis=0, return_inverse=True)
        for group, (dy, dx) in enumerate(distinct.tolist()):  # (2 pixels + 1)^2 groups at most, each one slice copy
            rows = np.flatnonzero(which.ravel() == group)
            to_y, from_y = _overlap(dy, height)
            to_x, from_x = _overlap(dx, width)
            shifted[rows, to_y, to_x] = images[rows, from_y, from_x]
        return shifted.reshape(X.shape)


@final
@dataclass(frozen=True)
class Rotation:
    """The image turns about its centre by an angle drawn uniformly from [-degrees, degrees].

    Pixels are interpolated bilinearly; outside the image everything is 0.
    """

    degrees: float = 15.0

    def __post_init__(self) -> None:
        check_real(self.degrees, "Rotation: degrees", low=0, high=180, open_low=True)

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None) -> FloatArray:
        images = _images(X, image_shape, "Rotation")
        angles = np.deg2rad(rng.uniform(-self.degrees, self.degrees, size=len(X)))
        rotated = np.empty_like(X)
        for rows in _blocks(X):
            rotated[rows] = _rotated(images[rows], angles[rows])
        return rotated


@final
@dataclass(frozen=True)
class Flip:
    """The image is mirrored left to right (`horizontal=False`: top to bottom) with probability `p`."""

    horizontal: bool = True
    p: float = 0.5

    def __post_init__(self) -> None:
        _check_bool(self.horizontal, "Flip: horizontal")
        check_real(self.p, "Flip: p", low=0, high=1, open_low=True)

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None) -> FloatArray:
        images = _images(X, image_shape, "Flip")
        flipped = images.copy()
        chosen = rng.random(len(X)) < self.p
        flipped[chosen] = images[chosen, :, ::-1] if self.horizontal else images[chosen, ::-1, :]
        return flipped.reshape(X.shape)


@final
@dataclass(frozen=True)
class Erase:
    """A square of `size` x `size` pixels, uniformly placed inside the image, becomes 0."""

    size: int = 2

    def __post_init__(self) -> None:
        check_int(self.size, "Erase: size", low=1)

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None) -> FloatArray:
        images = _images(X, image_shape, "Erase")
        height, width = images.shape[1:3]
        if self.size >= min(height, width):
            raise DataError(
                f"Erase: a square of {self.size} pixels leaves little of a {height} x {width} image; at most "
                f"{min(height, width) - 1}"
            )
        top = rng.integers(0, height - self.size + 1, size=(len(X), 1))
        left = rng.integers(0, width - self.size + 1, size=(len(X), 1))
        y, x = np.arange(height), np.arange(width)
        in_rows = (y >= top) & (y < top + self.size)  # (M, h)
        in_columns = (x >= left) & (x < left + self.size)  # (M, w)
        return np.where(in_rows[:, :, None, None] & in_columns[:, None, :, None], 0.0, images).reshape(X.shape)


@final
@dataclass(frozen=True)
class Blur:
    """Gaussian blur with a standard deviation drawn uniformly from [0, sigma] pixels, one per row.

    The kernel exp(-t^2 / (2 s^2)), t = -r .. r with r = ceil(4 sigma), sums to 1; the image is mirrored at its edges
    (the edge pixel repeated), so a constant image stays as it is.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real(self.sigma, "Blur: sigma", low=0, open_low=True)

    def __call__(self, X: FloatArray, rng: np.random.Generator, image_shape: ImageShape | None) -> FloatArray:
        images = _images(X, image_shape, "Blur")
        sigmas = rng.uniform(0, self.sigma, size=len(X))
        radius = int(np.ceil(4 * self.sigma))
        blurred = np.empty_like(X)
        for rows in _blocks(X):
            kernels = _gaussian_kernels(sigmas[rows], radius)
            across = _convolved(images[rows].transpose(0, 3, 1, 2), kernels)  # (m, c, h, w)
            down = _convolved(across.swapaxes(2, 3), kernels)  # (m, c, w, h)
            blurred[rows] = down.transpose(0, 3, 2, 1).reshape(-1, X.shape[1])
        return blurred


# --- pieces ----------------------------------------------------------------------------------------------------------


def _check_bool(value: object, what: str) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise DataError(f"{what} must be True or False, got {value!r}")


def _images(X: FloatArray, image_shape: ImageShape | None, transform: str) -> FloatArray:  # (M, h, w, c)
    if image_shape is None:
        raise DataError(
            f"{transform} needs images, but image_shape is not set; pass Dataset(..., image_shape=(height, width)), or "
            "use a transform of vectors: noise, dropout, scaling, mask"
        )
    height, width, channels = (*image_shape, 1)[:3]
    if height * width * channels != X.shape[1]:
        raise DataError(f"{transform}: image_shape {image_shape} does not fit rows of {X.shape[1]} features")
    return X.reshape(-1, height, width, channels)


def _blocks(X: FloatArray) -> Iterator[slice]:
    step = max(1, BLOCK // X.shape[1])
    for start in range(0, len(X), step):
        yield slice(start, start + step)


def _overlap(move: int, length: int) -> tuple[slice, slice]:
    """Where pixels go to, and where they come from, along one axis."""
    return slice(max(move, 0), length + min(move, 0)), slice(max(-move, 0), length - max(move, 0))


def _rotated(images: FloatArray, angles: FloatArray) -> FloatArray:  # (M, h, w, c), (M,) -> (M, h * w * c)
    """Pixel p shows the image at R(angle) (p - centre) + centre: inverse mapping with bilinear weights."""
    n, height, width, _ = images.shape
    y, x = np.mgrid[:height, :width].reshape(2, 1, -1) - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    from_y = cos * y + sin * x + (height - 1) / 2  # (M, h * w)
    from_x = cos * x - sin * y + (width - 1) / 2
    # one pixel of 0 around the image; farther points are clipped to it, where both neighbours are 0
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    from_y, from_x = np.clip(from_y, -1.5, height + 0.5) + 2, np.clip(from_x, -1.5, width + 0.5) + 2
    top, left = np.floor(from_y).astype(np.intp), np.floor(from_x).astype(np.intp)
    down, right = (from_y - top)[..., None], (from_x - left)[..., None]  # (M, h * w, 1): one weight for all channels
    row = np.arange(n)[:, None]
    views: FloatArray = (1 - down) * ((1 - right) * padded[row, top, left] + right * padded[row, top, left + 1])
    views += down * ((1 - right) * padded[row, top + 1, left] + right * padded[row, top + 1, left + 1])
    return views.reshape(n, -1)


def _gaussian_kernels(sigmas: FloatArray, radius: int) -> FloatArray:  # (M,) -> (M, 2 radius + 1)
    t = np.arange(-radius, radius + 1)
    kernels = np.exp(-0.5 * (t / np.maximum(sigmas, 1e-3)[:, None]) ** 2)  # below 1e-3 pixels it is the identity
    normalized: FloatArray = kernels / kernels.sum(axis=1, keepdims=True)
    return normalized


def _convolved(
    images: FloatArray, kernels: FloatArray
) -> FloatArray:  # (M, c, h, w), (M, 2 radius + 1) -> (M, c, h, w)
    """Every image with its own symmetric kernel along the last axis, mirrored at the edges."""
    radius = kernels.shape[1] // 2
    width = images.shape[3]
    padded = np.pad(images, ((0, 0), (0, 0), (0, 0), (radius, radius)), mode="symmetric")
    total = np.zeros_like(images)
    for offset in range(2 * radius + 1):
        total += kernels[:, offset, None, None, None] * padded[..., offset : offset + width]
    return total


TRANSFORMS: dict[str, type[Any]] = {
    "noise": Noise,
    "dropout": Dropout,
    "scaling": Scaling,
    "mask": Mask,
    "shift": Shift,
    "rotation": Rotation,
    "flip": Flip,
    "erase": Erase,
    "blur": Blur,
}
