"""Colour images: rows of (height, width, channels), transformed channel by channel alike.

Witness: the same transform, with the same random numbers, on each channel as a grey image of its own; and scipy.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from spectral_ssl import data as ssd
from spectral_ssl.data import Dataset
from spectral_ssl.errors import DataError

SHAPE = (6, 5, 3)  # three different lengths: swapped axes show
INTERPOLATION = 1e-9  # both sides interpolate float64 linearly; positions differ by rounding
TRANSFORMS = [ssd.Shift(2), ssd.Rotation(40), ssd.Flip(), ssd.Flip(horizontal=False), ssd.Erase(3), ssd.Blur(0.8)]


def rows(n: int = 30) -> np.ndarray:
    return 1 + np.random.default_rng(0).random((n, 90))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_every_channel_moves_as_a_grey_image_would(transform) -> None:
    X = rows()
    views = transform(X, rng(), SHAPE).reshape(-1, *SHAPE)
    for k in range(3):
        channel = np.ascontiguousarray(X.reshape(-1, *SHAPE)[..., k]).reshape(-1, 30)
        alone = transform(channel, rng(), SHAPE[:2]).reshape(-1, 6, 5)
        np.testing.assert_allclose(views[..., k], alone, atol=INTERPOLATION)


def test_a_blurred_colour_image_is_that_of_scipy() -> None:
    X = rows(4)
    views = ssd.Blur(0.8)(X, rng(), SHAPE).reshape(-1, *SHAPE)
    sigmas = rng().uniform(0, 0.8, size=4)
    for image, view, sigma in zip(X.reshape(-1, *SHAPE), views, sigmas, strict=True):
        # radius 4 = ceil(4 * 0.8), over rows and columns, never over channels
        expected = scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="reflect", radius=(4, 4, 0))
        np.testing.assert_allclose(view, expected, atol=INTERPOLATION)


def test_colour_data_sets_are_augmented_and_keep_their_shape() -> None:
    data = Dataset("colour", rows(), image_shape=SHAPE)
    assert "images 6 x 5 x 3" in repr(data)
    views = ssd.augment(data, 2, seed=1)
    assert views.image_shape == SHAPE
    assert views.n_samples == 60
    assert data.subset([0, 1]).image_shape == SHAPE
    every = ssd.augment(data, 2, "shift, rotation, flip, erase, blur, noise, dropout, scaling, mask", seed=1)
    assert every.X.shape == (60, 90)
    with pytest.raises(DataError, match=r"Shift: image_shape \(6, 5, 2\) does not fit rows of 90 features"):
        ssd.Shift(1)(rows(), rng(), (6, 5, 2))


def test_colour_arrays_from_files_and_channels_in_front_are_told_apart(tmp_path) -> None:
    images = np.arange(360.0).reshape(4, *SHAPE)
    np.save(tmp_path / "last.npy", images)
    np.save(tmp_path / "first.npy", images.transpose(0, 3, 1, 2))
    np.save(tmp_path / "one.npy", images[..., :1])
    data = ssd.read_dataset(tmp_path / "last.npy")
    assert data.image_shape == SHAPE
    np.testing.assert_array_equal(data.X, images.reshape(4, 90))
    assert ssd.read_dataset(tmp_path / "one.npy").image_shape == (6, 5)
    with pytest.raises(DataError, match=r"channels come last: X.transpose\(0, 2, 3, 1\)"):
        ssd.read_dataset(tmp_path / "first.npy")
    with pytest.raises(DataError, match=r"X.reshape\(len\(X\), -1\) with image_shape=\(6, 5, 3\)"):
        Dataset("mine", images)
