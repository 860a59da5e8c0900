"""Views: every transform against a slow, independent computation; order, reproducibility, refusals of `augment`.

Witnesses: scipy.ndimage on one image at a time, naive loops, and the laws of the distributions drawn from.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from spectral_ssl import data as ssd
from spectral_ssl.data import TRANSFORMS, Dataset, augment, styled
from spectral_ssl.errors import DataError, SpectralWarning

SHAPE = (7, 5)  # not square: swapped axes show
INTERPOLATION = 1e-9  # both sides interpolate float64 linearly; positions differ by rounding
LEVEL = 1e-3  # a correct sampler fails a test at a fixed seed never, and at a new seed once in a thousand


def images(n: int = 40, shape: tuple[int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    return 1 + np.random.default_rng(seed).random((n, shape[0] * shape[1]))  # positive: 0 is what came in from outside


def vectors(n: int = 30, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) * np.arange(1, d + 1) + 5


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


INSTANCES = {
    "noise": ssd.Noise(0.5),
    "dropout": ssd.Dropout(0.3),
    "scaling": ssd.Scaling(0.5),
    "mask": ssd.Mask(0.4),
    "shift": ssd.Shift(2),
    "rotation": ssd.Rotation(40),
    "flip": ssd.Flip(),
    "erase": ssd.Erase(3),
    "blur": ssd.Blur(0.8),
}
IMAGE_ONLY = ("shift", "rotation", "flip", "erase", "blur")


# --- all transforms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_are_final_records_that_repeat_leave_x_alone_and_treat_rows_independently(name) -> None:
    transform = INSTANCES[name]
    assert type(transform) is TRANSFORMS[name]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(transform, dataclasses.fields(transform)[0].name, 1)
    X = images()
    X.flags.writeable = False
    kept = X.copy()
    views = transform(X, rng(), SHAPE)
    np.testing.assert_array_equal(X, kept)
    assert views.shape == X.shape
    assert not np.shares_memory(views, X)
    np.testing.assert_array_equal(views, transform(X, rng(), SHAPE))
    assert not np.allclose(views, transform(X, rng(8), SHAPE))
    two_images = X[np.arange(40) % 2]
    views_of_one = transform(two_images, rng(), SHAPE)[::2]
    assert len(np.unique(views_of_one, axis=0)) > 1  # rows are not all moved alike


@pytest.mark.parametrize("name", IMAGE_ONLY)
def test_image_transforms_refuse_vectors(name) -> None:
    with pytest.raises(DataError, match=r"needs images, but image_shape is not set; pass Dataset\(..., image_shape="):
        augment(vectors(), transforms=INSTANCES[name])
    with pytest.raises(DataError, match="does not fit rows of 35 features"):
        INSTANCES[name](images(), rng(), (5, 5))


@pytest.mark.parametrize("name", ["rotation", "blur"])
def test_blocks_do_not_change_the_result(name, monkeypatch) -> None:
    X = images(50)
    whole = INSTANCES[name](X, rng(), SHAPE)
    monkeypatch.setattr("spectral_ssl.data.views.BLOCK", 7 * X.shape[1])
    np.testing.assert_array_equal(INSTANCES[name](X, rng(), SHAPE), whole)


BAD_PARAMETERS = [
    (ssd.Noise, {"scale": -0.1}, "Noise: scale must be a number at least 0, got -0.1"),
    (ssd.Noise, {"scale": float("nan")}, "got nan"),
    (ssd.Noise, {"scale": "big"}, "got 'big'"),
    (ssd.Noise, {"scale": True}, "got True"),
    (ssd.Noise, {"relative": 1}, "Noise: relative must be True or False, got 1"),
    (ssd.Dropout, {"rate": 1.0}, "Dropout: rate must be a number at least 0 and below 1, got 1.0"),
    (ssd.Scaling, {"scale": -1}, "Scaling: scale"),
    (ssd.Mask, {"fraction": 0}, "Mask: fraction must be a number above 0 and below 1, got 0"),
    (ssd.Mask, {"fraction": 1}, "got 1"),
    (ssd.Shift, {"pixels": 0}, "Shift: pixels must be a whole number at least 1, got 0"),
    (ssd.Shift, {"pixels": 1.5}, "got 1.5"),
    (ssd.Shift, {"pixels": True}, "got True"),
    (ssd.Rotation, {"degrees": 0}, "Rotation: degrees must be a number above 0 and at most 180, got 0"),
    (ssd.Rotation, {"degrees": 181}, "got 181"),
    (ssd.Flip, {"p": 0}, "Flip: p must be a number above 0 and at most 1, got 0"),
    (ssd.Flip, {"horizontal": "yes"}, "Flip: horizontal must be True or False, got 'yes'"),
    (ssd.Erase, {"size": 0}, "Erase: size must be a whole number at least 1, got 0"),
    (ssd.Blur, {"sigma": 0}, "Blur: sigma must be a number above 0, got 0"),
]


@pytest.mark.parametrize(("kind", "options", "message"), BAD_PARAMETERS)
def test_bad_parameters(kind, options, message) -> None:
    with pytest.raises(DataError, match=message):
        kind(**options)


def test_parameters_that_do_not_fit_the_data() -> None:
    with pytest.raises(DataError, match="Shift: 5 pixels would push a 7 x 5 image out of sight; at most 4"):
        ssd.Shift(5)(images(), rng(), SHAPE)
    with pytest.raises(DataError, match="Erase: a square of 5 pixels leaves little of a 7 x 5 image; at most 4"):
        ssd.Erase(5)(images(), rng(), SHAPE)
    with pytest.raises(DataError, match=r"Mask: a fraction 0.05 of 6 features is 0 features; between 1 and 5"):
        ssd.Mask(0.05)(vectors(), rng(), None)
    with pytest.raises(DataError, match=r"Mask: a fraction 0.95 of 6 features is 6 features"):
        ssd.Mask(0.95)(vectors(), rng(), None)
    with pytest.raises(DataError, match="Mask: one feature cannot be masked in part"):
        ssd.Mask(0.5)(vectors(d=1), rng(), None)


# --- transforms of any rows ------------------------------------------------------------------------------------------


def test_noise_is_gaussian_with_each_features_own_scale() -> None:
    X = vectors(20_000, 3)
    X[:, 1] = 4  # constant: no relative noise
    drawn = ssd.Noise(0.5)(X, rng(), None) - X
    assert (drawn[:, 1] == 0).all()
    for d in (0, 2):
        assert scipy.stats.kstest(drawn[:, d] / (0.5 * X[:, d].std()), "norm").pvalue > LEVEL
    absolute = ssd.Noise(0.5, relative=False)(X, rng(), None) - X
    for d in range(3):
        assert scipy.stats.kstest(absolute[:, d] / 0.5, "norm").pvalue > LEVEL


def test_dropout_puts_feature_means_at_the_stated_rate() -> None:
    X = vectors(5000, 4)
    views = ssd.Dropout(0.2)(X, rng(), None)
    changed = views != X
    np.testing.assert_array_equal(views, np.where(changed, X.mean(axis=0), X))
    assert scipy.stats.binomtest(int(changed.sum()), changed.size, 0.2).pvalue > LEVEL
    assert abs(np.corrcoef(changed[:, 0], changed[:, 1])[0, 1]) < 4 / np.sqrt(5000)  # entries are independent


def test_scaling_multiplies_rows_by_log_normal_factors() -> None:
    X = vectors(5000, 3)
    factors = ssd.Scaling(0.3)(X, rng(), None) / X
    np.testing.assert_allclose(factors, np.repeat(factors[:, :1], 3, axis=1), rtol=1e-12)
    assert scipy.stats.kstest(np.log(factors[:, 0]) / 0.3, "norm").pvalue > LEVEL


def test_mask_covers_one_run_of_features_everywhere_equally_often() -> None:
    X = vectors(6000, 8)
    views = ssd.Mask(0.4)(X, rng(), None)  # 3 of 8 features
    masked = views != X
    np.testing.assert_array_equal(views, np.where(masked, X.mean(axis=0), X))
    starts = []
    for row in masked:
        at = np.flatnonzero(row)
        assert at.tolist() == list(range(at[0], at[0] + 3))
        starts.append(at[0])
    assert scipy.stats.chisquare(np.bincount(starts, minlength=6)).pvalue > LEVEL


# --- transforms of images --------------------------------------------------------------------------------------------


def shifted_by_loop(image: np.ndarray, dy: int, dx: int) -> np.ndarray:
    moved = np.zeros_like(image)
    for y, x in itertools.product(range(image.shape[0]), range(image.shape[1])):
        if 0 <= y - dy < image.shape[0] and 0 <= x - dx < image.shape[1]:
            moved[y, x] = image[y - dy, x - dx]
    return moved


def test_shift_is_a_whole_move_with_zero_fill_and_all_moves_are_equally_likely() -> None:
    X = images(2500)
    views = ssd.Shift(2)(X, rng(), SHAPE)
    counts: dict[tuple[int, int], int] = dict.fromkeys(itertools.product(range(-2, 3), repeat=2), 0)
    for original, view in zip(X.reshape(-1, *SHAPE), views.reshape(-1, *SHAPE), strict=True):
        rows, columns = np.flatnonzero(view.any(axis=1)), np.flatnonzero(view.any(axis=0))
        dy = rows[0] if rows[0] else rows[-1] - SHAPE[0] + 1  # pixels are positive: zeros are what came in
        dx = columns[0] if columns[0] else columns[-1] - SHAPE[1] + 1
        np.testing.assert_array_equal(view, shifted_by_loop(original, dy, dx))
        counts[int(dy), int(dx)] += 1
    assert scipy.stats.chisquare(list(counts.values())).pvalue > LEVEL


def test_rotation_agrees_with_scipy_image_by_image() -> None:
    X = images(60)
    angles = rng().uniform(-170, 170, size=60)
    views = ssd.Rotation(170)(X, rng(), SHAPE)
    for row, angle in enumerate(angles):
        expected = scipy.ndimage.rotate(
            X[row].reshape(SHAPE), angle, reshape=False, order=1, mode="grid-constant", cval=0
        )
        np.testing.assert_allclose(views[row].reshape(SHAPE), expected, atol=INTERPOLATION)


def test_rotation_angles_are_uniform_on_both_sides() -> None:
    shape = (21, 21)
    y, x = np.mgrid[-10:11, -10:11]
    X = np.repeat(np.where(np.hypot(x, y) < 8, x, 0).reshape(1, -1).astype(float), 800, axis=0)  # a ramp along x
    inner = np.hypot(x, y).ravel() < 5
    views = ssd.Rotation(30)(X, rng(), shape)[:, inner]
    slope_x, slope_y = views @ x.ravel()[inner], views @ y.ravel()[inner]
    angle = np.rad2deg(np.arctan2(slope_y, slope_x))
    assert scipy.stats.kstest((angle + 30) / 60, "uniform").pvalue > LEVEL


@pytest.mark.parametrize(("horizontal", "axis"), [(True, 1), (False, 0)])
def test_flip_mirrors_the_stated_axis_with_probability_p(horizontal, axis) -> None:
    X = images(2000)
    views = ssd.Flip(horizontal=horizontal, p=0.3)(X, rng(), SHAPE).reshape(-1, *SHAPE)
    n_flipped = 0
    for original, view in zip(X.reshape(-1, *SHAPE), views, strict=True):
        flipped = not np.array_equal(view, original)
        np.testing.assert_array_equal(view, np.flip(original, axis) if flipped else original)
        n_flipped += flipped
    assert scipy.stats.binomtest(n_flipped, 2000, 0.3).pvalue > LEVEL


def test_erase_blanks_one_square_inside_the_image_anywhere() -> None:
    X = images(3000)
    views = ssd.Erase(3)(X, rng(), SHAPE).reshape(-1, *SHAPE)
    places = np.zeros((5, 3), dtype=int)
    for original, view in zip(X.reshape(-1, *SHAPE), views, strict=True):
        top, left = np.argwhere(view == 0)[0]
        expected = original.copy()
        expected[top : top + 3, left : left + 3] = 0
        np.testing.assert_array_equal(view, expected)
        places[top, left] += 1
    assert scipy.stats.chisquare(places.ravel()).pvalue > LEVEL


def test_blur_agrees_with_scipy_image_by_image() -> None:
    X = images(50)
    sigmas = rng().uniform(0, 1.2, size=50)
    views = ssd.Blur(1.2)(X, rng(), SHAPE)
    for row, sigma in enumerate(sigmas):
        expected = scipy.ndimage.gaussian_filter(X[row].reshape(SHAPE), sigma, mode="reflect", radius=5)
        np.testing.assert_allclose(views[row].reshape(SHAPE), expected, atol=INTERPOLATION)


def test_blur_with_a_vanishing_sigma_is_the_identity() -> None:
    X = images(5)
    np.testing.assert_array_equal(ssd.Blur(1e-9)(X, rng(), SHAPE), X)


# --- augment ---------------------------------------------------------------------------------------------------------


def test_views_of_an_original_are_adjacent_and_carry_its_label() -> None:
    X = vectors(4)
    data = augment(Dataset("mine", X, y=list("abca")), 3, ssd.Noise(1e-6))
    assert data.source.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert data.y.tolist() == list("aaabbbcccaaa")
    np.testing.assert_allclose(data.X, X[data.source], atol=1e-3)
    assert len(np.unique(data.X, axis=0)) == 12
    assert data.name == "mine"


def test_counts_may_differ_between_originals() -> None:
    with pytest.warns(SpectralWarning, match="1 of 3 originals get a single view, which has no positive pair"):
        data = augment(vectors(3), [2, 1, 3], ssd.Noise(0.1))
    assert data.source.tolist() == [0, 0, 1, 2, 2, 2]


def test_keep_original_puts_the_untouched_row_first() -> None:
    X = vectors(5)
    data = augment(X, 3, ssd.Noise(0.5), keep_original=True)
    np.testing.assert_array_equal(data.X[::3], X)
    assert (data.X[1::3] != X).all()
    without = augment(X, 3, ssd.Noise(0.5))
    assert np.not_equal(without.X, X[without.source]).all()


def test_defaults_follow_the_kind_of_data() -> None:
    plain, pictures = Dataset("v", vectors()), Dataset("i", images(), image_shape=SHAPE)
    np.testing.assert_array_equal(augment(plain).X, augment(plain, 2, ssd.Noise(0.3)).X)
    steps = (ssd.Shift(1), ssd.Rotation(10), ssd.Noise(0.1))
    np.testing.assert_array_equal(augment(pictures).X, augment(pictures, 2, steps).X)
    assert augment(pictures).image_shape == SHAPE
    assert augment(plain).image_shape is None


def test_the_seed_decides_the_views() -> None:
    X = vectors()
    assert augment(X, seed=3).fingerprint() == augment(X, seed=3).fingerprint()
    assert not np.allclose(augment(X, seed=3).X, augment(X, seed=4).X)


def test_transforms_run_in_the_order_given() -> None:
    data = Dataset("i", images(), image_shape=SHAPE)
    steps = [ssd.Erase(2), ssd.Shift(2)]
    draws = rng(5)
    expected = np.repeat(data.X, 2, axis=0)
    for step in steps:
        expected = step(expected, draws, SHAPE)
    np.testing.assert_array_equal(augment(data, 2, steps, seed=5).X, expected)


@pytest.mark.parametrize(
    "text",
    [
        "shift(pixels=2), noise(scale=0.2)",
        ["shift(pixels=2)", "noise(scale=0.2)"],
        ["shift(pixels=2)", ssd.Noise(0.2)],
        ["shift(pixels=2), noise(scale=0.2)"],
    ],
)
def test_transforms_may_be_written_as_calls(text) -> None:
    data = Dataset("i", images(), image_shape=SHAPE)
    objects = augment(data, 2, (ssd.Shift(2), ssd.Noise(0.2)))
    np.testing.assert_array_equal(augment(data, 2, text).X, objects.X)


def test_every_name_of_the_table_can_be_called_and_is_recorded_so_that_it_can_be_repeated() -> None:
    data = Dataset("i", images(), image_shape=SHAPE)
    for name, transform in INSTANCES.items():
        first = augment(data, 2, transform, seed=1)
        (call,) = first.meta["transforms"]
        assert call.startswith(name + "(")
        np.testing.assert_array_equal(augment(data, 2, call, seed=1).X, first.X)
    assert first.meta["seed"] == 1
    assert first.meta["keep_original"] is False
    assert first.meta["augmented_from"] == {"name": "i", "fingerprint": data.fingerprint()}


def test_any_callable_may_be_a_transform() -> None:
    def negate(X, rng, image_shape):
        return -X

    data = augment(vectors(3), 2, [negate])
    np.testing.assert_array_equal(data.X, -np.repeat(vectors(3), 2, axis=0))
    assert "negate" in data.meta["transforms"][0]


def test_a_transform_that_works_in_place_cannot_harm_the_original() -> None:
    def doubled_in_place(X, rng, image_shape):
        X *= 2
        return X

    data = Dataset("mine", vectors(3))
    views = augment(data, 2, doubled_in_place, keep_original=True)
    np.testing.assert_array_equal(data.X, vectors(3))
    np.testing.assert_array_equal(views.X[::2], vectors(3))
    np.testing.assert_array_equal(views.X[1::2], 2 * vectors(3))


def test_a_transform_may_return_rows_that_cannot_be_written() -> None:
    views = augment(vectors(3), 2, lambda X, rng, s: np.broadcast_to(X.mean(), X.shape), keep_original=True)
    np.testing.assert_array_equal(views.X[::2], vectors(3))


def test_feature_names_travel_and_answers_of_the_original_do_not() -> None:
    assert augment(ssd.load_dataset("iris")).meta["feature_names"] == ssd.load_dataset("iris").meta["feature_names"]
    assert "centres" not in augment(ssd.gaussian_mixture()).meta


BAD_CALLS = {
    "has source": (lambda X: augment(Dataset("m", X, source=[0, 0, 1])), "have a source already .2 originals."),
    "no view": (lambda X: augment(X, 0), "n_views must be a whole number at least 1, got 0"),
    "fraction": (lambda X: augment(X, 1.5), "n_views must be a whole number at least 1, got 1.5"),
    "bool": (lambda X: augment(X, True), "got True"),
    "short counts": (lambda X: augment(X, [2, 2]), r"one per original, shape \(3,\); got shape \(2,\)"),
    "float counts": (lambda X: augment(X, [2.0, 2, 2]), "dtype float64"),
    "zero count": (lambda X: augment(X, [2, 0, 2]), "n_views of original 1 is 0"),
    "seed": (lambda X: augment(X, seed=None), "seed must be a whole number at least 0, got None"),
    "no transform": (lambda X: augment(X, 2, []), "no transform was given, so all views would be copies"),
    "a class": (lambda X: augment(X, 2, [ssd.Noise]), r"is no transform; write Noise\(\)"),
    "the class itself": (lambda X: augment(X, 2, ssd.Noise), r"is no transform; write Noise\(\)"),
    "a number": (lambda X: augment(X, 2, [0.3]), "0.3 is no transform; use one of noise, dropout"),
    "no sequence": (lambda X: augment(X, 2, 0.3), "0.3 is no transform"),
    "name": (lambda X: augment(X, 2, "nois"), "unknown transform 'nois'.*did you mean 'noise'"),
    "option": (lambda X: augment(X, 2, "noise(scal=1)"), "no option 'scal'.*did you mean 'scale'"),
    "value": (lambda X: augment(X, 2, "noise(scale=-1)"), "Noise: scale must be a number at least 0, got -1"),
    "syntax": (lambda X: augment(X, 2, "noise(scale="), "cannot read"),
    "shape": (lambda X: augment(X, 2, lambda X, r, s: X[:, :2]), r"returned shape \(6, 2\).*it got, \(6, 6\)"),
    "none": (lambda X: augment(X, 2, lambda X, r, s: None), r"returned shape \(\)"),
    "nan": (lambda X: augment(X, 2, lambda X, r, s: X * np.nan), "returned NaN or infinite entries"),
    "data": (lambda X: augment(X[:1]), "X has 1 row"),
}


@pytest.mark.parametrize(("call", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_bad_calls(call, message) -> None:
    with pytest.raises(DataError, match=message):
        call(vectors(3))


def test_views_keep_the_style_of_their_original() -> None:
    data = styled(Dataset(name="m", X=np.random.default_rng(0).standard_normal((9, 4))), style="offset", n_styles=3)
    views = augment(data, 3, "noise(scale=0.1)", seed=0)
    assert views.style is not None
    assert data.style is not None
    assert views.style.tolist() == [s for s in data.style for _ in range(3)]
    assert augment(Dataset(name="m", X=np.eye(3)), 2, seed=0).style is None
