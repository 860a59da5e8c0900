"""Styles: a nuisance factor with a known code per row, made over any data, for studies of misaligned relations.

The relation `style` pairs rows of equal style as `labels` pairs rows of equal label. Styles are balanced within the
classes, so neither relation says anything of the other: what a representation keeps of both is read off exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from spectral_ssl.data._checks import FloatArray, ImageShape, IntArray, check_int, check_real, generator
from spectral_ssl.data.dataset import Dataset
from spectral_ssl.data.views import _blocks, _images, _rotated
from spectral_ssl.errors import DataError, did_you_mean

__all__ = ["STYLES", "Style", "styled"]

Made = tuple[FloatArray, dict[str, Any]]  # the rows in their styles (N, D), and what the styles are


class Style(NamedTuple):
    """How rows take on a style: `(X, codes, n_styles, strength, rng, image_shape)`, and the strength it usually has."""

    make: Callable[[FloatArray, IntArray, int, float, np.random.Generator, ImageShape | None], Made]
    strength: float


def styled(
    base: Dataset | str = "digits",
    *,
    style: Literal["rotation", "offset"] = "rotation",
    n_styles: int = 4,
    strength: float | None = None,
    seed: int = 0,
) -> Dataset:
    """The rows of another data set in S styles, independent of their labels; `--relation style` pairs equal styles.

    The styles 0 .. S-1 are dealt in turn over the rows, shuffled class by class: within every class, and in all, the
    numbers of rows of two styles differ by at most 1. Rows without a label are a class of their own here, and so are
    all rows together where y holds no classes.

        rotation    the image turns about its centre by the angle of its style; the S angles are evenly spread over
                    [-strength, strength] degrees. Bilinear, 0 outside the image, as `Rotation`.
        offset      x + strength * s * u_k for a row of style k, with a random unit vector u_k of each style and
                    s^2 = mean |x - mean x|^2, the whole variance of the data.

    Args:
        base: A data set, or its name or call in text: "digits", "gaussian_mixture(n_samples=200)", a file.
        style: "rotation" for images, "offset" for rows of any kind.
        n_styles: S, from 2 to N.
        strength: Degrees below 180, or lengths in units of s, above 0. None takes 45 degrees, or 1.
        seed: Whole number >= 0.

    meta: `base` (name and fingerprint), `style`, `strength`, `seed`, `angles` (S,) in degrees or `directions` (S, D),
    and the base's names of classes and features. Answers the base knew of its X no longer hold and are dropped.

    Raises:
        DataError: Data that have styles already, an option that is not of this form, a rotation of what is no image, an
            offset of a single feature or of rows that are all equal.
    """
    data = _loaded(base)
    what = f"styled {data.name!r}"
    if data.style is not None:
        raise DataError(f"{what}: these rows have styles already; take the data they were made from")
    if style not in STYLES:
        raise DataError(f"{what}: style={style!r} is not known: {did_you_mean(str(style), STYLES)}")
    S = check_int(n_styles, f"{what}: n_styles", low=2, high=data.n_samples)
    high = 180.0 if style == "rotation" else np.inf
    size = STYLES[style].strength if strength is None else strength
    size = check_real(size, f"{what}: strength of {style}", low=0, high=high, open_low=True, open_high=True)
    rng = generator(seed, what)
    codes = _dealt(data, S, rng)
    X, made = STYLES[style].make(np.asarray(data.X, dtype=np.float64), codes, S, size, rng, data.image_shape)
    names = {key: data.meta[key] for key in ("target_names", "feature_names") if key in data.meta}
    return Dataset(
        name="styled",
        X=X,
        y=data.y,
        source=data.source,
        modality=data.modality,
        image_shape=data.image_shape,
        meta={
            "base": {"name": data.name, "fingerprint": data.fingerprint()},
            "style": style,
            "strength": size,
            "seed": seed,
            **made,
            **names,
        },
        style=codes,
    )


def _loaded(base: Dataset | str) -> Dataset:
    if isinstance(base, Dataset):
        return base
    if not isinstance(base, str):
        raise DataError(f"styled takes a Dataset or its name, got {type(base).__name__}; for arrays use Dataset(...)")
    from spectral_ssl import spec
    from spectral_ssl.data.embedded import load_dataset  # its table names this function

    name, options = spec.parse_call(base) if base.rstrip().endswith(")") else (base, {})
    return load_dataset(name, **options)


def _dealt(data: Dataset, n_styles: int, rng: np.random.Generator) -> IntArray:  # (N,)
    """Rows in random order, sorted by class, get 0, 1, .., S-1, 0, 1, ..: a run of any length is balanced to within 1.

    Which style the remainders fall to is drawn as well.
    """
    classes = data.class_codes if data.is_classification else np.zeros(data.n_samples, dtype=np.int64)
    order = rng.permutation(data.n_samples)
    order = order[np.argsort(classes[order], kind="stable")]
    codes = np.empty(data.n_samples, dtype=np.int64)
    codes[order] = rng.permutation(n_styles)[np.arange(data.n_samples) % n_styles]
    return codes


def _turned(
    X: FloatArray, codes: IntArray, n_styles: int, strength: float, rng: np.random.Generator, shape: ImageShape | None
) -> Made:
    if shape is None:
        raise DataError(
            "style='rotation' needs images, but image_shape is not set; pass Dataset(..., image_shape=(height, width)) "
            "or take style='offset'"
        )
    images = _images(X, shape, "style='rotation'")
    angles = np.linspace(-strength, strength, n_styles)
    turned = np.empty_like(X)
    for rows in _blocks(X):
        turned[rows] = _rotated(images[rows], np.deg2rad(angles[codes[rows]]))
    return turned, {"angles": angles}


def _moved(
    X: FloatArray, codes: IntArray, n_styles: int, strength: float, rng: np.random.Generator, shape: ImageShape | None
) -> Made:
    D = X.shape[1]
    if D < 2:
        raise DataError(
            "style='offset' needs at least 2 features: one has two directions only, which styles would share"
        )
    s = float(np.sqrt(((X - X.mean(axis=0)) ** 2).sum(axis=1).mean()))
    if s == 0:
        raise DataError("style='offset' is measured by the spread of the data, but all rows are equal")
    u = rng.standard_normal((n_styles, D))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return X + strength * s * u[codes], {"directions": u}


STYLES: dict[str, Style] = {
    "rotation": Style(_turned, strength=45.0),
    "offset": Style(_moved, strength=1.0),
}
