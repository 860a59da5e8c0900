"""Styles: dealt independently of the labels, made as said, carried along, and a relation of their own."""

import hashlib

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

import spectral_ssl.data as ssd
from spectral_ssl import relations, spec
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.setting import load_data, make_setting

EXACT = 1e-12  # sums of a few products in float64

RNG = np.random.default_rng(0)
IMAGES = ssd.Dataset("images", RNG.random((30, 12)), y=np.arange(30) % 3, image_shape=(3, 4))
COLOUR = ssd.Dataset("colour", RNG.random((8, 36)), image_shape=(4, 3, 3))
CLOUD = ssd.Dataset("cloud", RNG.standard_normal((25, 5)) * [1, 2, 3, 4, 5], y=np.arange(25) % 2)


# --- how styles are dealt --------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-1, 3), min_size=2, max_size=60), st.data())
def test_styles_are_balanced_in_all_and_within_every_class(labels: list[int], draw: st.DataObject) -> None:
    """Witness: the table of counts. -1 is no label, and a class of its own here."""
    S = draw.draw(st.integers(2, len(labels)))
    y = np.array(labels)
    base = ssd.Dataset("any", np.random.default_rng(0).random((len(y), 2)), y=y)
    style = ssd.styled(base, style="offset", n_styles=S, seed=draw.draw(st.integers(0, 99))).style
    assert set(style) == set(range(S))
    for group in (np.ones(len(y), dtype=bool), *(y == label for label in set(labels))):
        counts = np.bincount(style[group], minlength=S)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("y", [None, np.linspace(0, 1, 25)], ids=["no labels", "regression"])
def test_rows_without_classes_are_dealt_all_together(y: np.ndarray | None) -> None:
    data = ssd.styled(ssd.Dataset("plain", CLOUD.X, y=y), style="offset", n_styles=5)
    np.testing.assert_array_equal(np.bincount(data.style), [5] * 5)


def test_every_row_of_a_class_may_have_every_style() -> None:
    """Over 400 seeds each of 6 rows has each of 3 styles about 133 times: a standard deviation is 9.4."""
    base = ssd.Dataset("six", np.eye(6), y=[0, 0, 0, 1, 1, 1])
    styles = np.array([ssd.styled(base, style="offset", n_styles=3, seed=seed).style for seed in range(400)])
    counts = np.array([(styles == k).sum(axis=0) for k in range(3)])
    assert abs(counts - 400 / 3).max() < 5 * 9.4
    alike = (styles[:, :3, None] == styles[:, None, 3:]).sum(axis=0)  # of rows of different classes, as often
    assert abs(alike - 400 / 3).max() < 5 * 9.4


def test_the_seed_decides() -> None:
    a, b, c = (ssd.styled(CLOUD, style="offset", seed=seed) for seed in (0, 0, 1))
    assert a.fingerprint() == b.fingerprint() != c.fingerprint()
    assert (a.style != c.style).any()


# --- how styles look -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [IMAGES, COLOUR], ids=lambda data: data.name)
def test_rotation_turns_by_the_angle_of_the_style(base: ssd.Dataset) -> None:
    """Witness: scipy's interpolation of the image on a frame of zeros, pixel by pixel and channel by channel."""
    data = ssd.styled(base, style="rotation", n_styles=3, strength=50.0, seed=1)
    np.testing.assert_allclose(data.meta["angles"], [-50, 0, 50])
    height, width, channels = (*base.image_shape, 1)[:3]
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    for row, style in enumerate(data.style):
        a = np.radians([-50, 0, 50][style])
        places = [np.cos(a) * y + np.sin(a) * x + (height - 1) / 2, np.cos(a) * x - np.sin(a) * y + (width - 1) / 2]
        image = base.X[row].reshape(height, width, channels)
        turned = [
            scipy.ndimage.map_coordinates(np.pad(image[:, :, c], 9), [p + 9 for p in places], order=1)
            for c in range(channels)
        ]
        np.testing.assert_allclose(data.X[row], np.stack(turned, axis=-1).ravel(), atol=EXACT)
    still = data.style == 1
    np.testing.assert_allclose(data.X[still], base.X[still], atol=EXACT)


def test_offset_moves_all_rows_of_a_style_by_one_vector_of_the_length_asked_for() -> None:
    """Witness: the trace of numpy's covariance."""
    data = ssd.styled(CLOUD, style="offset", n_styles=4, strength=0.7)
    s = np.sqrt(np.trace(np.cov(CLOUD.X.T, bias=True)))
    moves = data.X - CLOUD.X
    vectors = [moves[data.style == k] for k in range(4)]
    for k, rows in enumerate(vectors):
        np.testing.assert_allclose(rows, np.broadcast_to(rows[0], rows.shape), atol=EXACT)
        np.testing.assert_allclose(np.linalg.norm(rows[0]), 0.7 * s, rtol=EXACT)
        np.testing.assert_allclose(rows[0], 0.7 * s * data.meta["directions"][k], atol=EXACT)
    apart = [np.linalg.norm(vectors[a][0] - vectors[b][0]) for a in range(4) for b in range(a)]
    assert min(apart) > 0.1 * s


def test_a_usual_strength_is_45_degrees_or_one_spread() -> None:
    np.testing.assert_allclose(ssd.styled(IMAGES).meta["angles"], [-45, -15, 15, 45])
    assert ssd.styled(CLOUD, style="offset").meta["strength"] == 1.0


def test_what_else_is_known_of_the_rows_stays() -> None:
    base = ssd.Dataset(
        "seen",
        IMAGES.X,
        y=IMAGES.y,
        source=np.arange(30) // 2,
        modality=np.arange(30) % 2,
        image_shape=(3, 4),
        meta={"target_names": ("a", "b", "c"), "laplacian_eigenvalues": np.ones(30)},
    )
    data = ssd.styled(base)
    for key in ("y", "source", "modality"):
        np.testing.assert_array_equal(getattr(data, key), getattr(base, key))
    assert data.image_shape == (3, 4)
    assert data.meta["target_names"] == ("a", "b", "c")
    assert data.meta["base"] == {"name": "seen", "fingerprint": base.fingerprint()}
    assert "laplacian_eigenvalues" not in data.meta


# --- styles travel with their rows -----------------------------------------------------------------------------------


def test_a_subset_keeps_the_styles_of_its_rows() -> None:
    data = ssd.styled(CLOUD, style="offset", n_styles=3)
    rows = np.array([20, 3, 11])
    np.testing.assert_array_equal(data.subset(rows).style, data.style[rows])
    assert CLOUD.subset(rows).style is None
    assert repr(data).endswith("2 classes, 3 styles)")


def test_styles_enter_the_fingerprint_and_their_absence_does_not() -> None:
    codes = np.arange(25) % 2
    prints = {
        ssd.Dataset("d", CLOUD.X, style=style).fingerprint() for style in (None, codes, 1 - codes, np.zeros(25, int))
    }
    assert len(prints) == 4
    y = np.arange(25)
    plain = hashlib.sha256(b"X(25, 5)" + CLOUD.X.astype("<f8").tobytes() + b"yi" + y.astype("<i8").tobytes())
    assert ssd.Dataset("d", CLOUD.X, y=y).fingerprint() == plain.hexdigest()[:16]


@pytest.mark.parametrize(
    ("style", "message"),
    [
        (np.zeros(24, dtype=int), r"data 'd': style must have shape \(25,\), got \(24,\)"),
        (np.full(25, -1), "style must hold whole numbers 0, 1, ..., got dtype int64"),
        (np.zeros(25), "got dtype float64"),
    ],
)
def test_codes_that_are_none_are_refused(style: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ssd.Dataset("d", CLOUD.X, style=style)


# --- the relation ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30).filter(lambda codes: len(set(codes)) > 1))
def test_the_relation_is_the_indicator_over_the_sizes(codes: list[int]) -> None:
    """Witness: A_ij = 1 / n_s where both have style s, entry by entry; degrees 1. Numbers may be missing."""
    data = ssd.Dataset("d", np.arange(2.0 * len(codes)).reshape(-1, 2), style=np.array(codes))
    graph = relations.style(data)
    A = [[(a == b) / codes.count(a) for b in codes] for a in codes]
    np.testing.assert_allclose(graph.to_csr().toarray(), A, atol=EXACT)
    np.testing.assert_allclose(graph.degree, 1, atol=EXACT)
    assert graph.edges is None  # O(N) memory


def test_the_relation_says_nothing_of_the_labels() -> None:
    """With n_cs = n_c n_s / N the two relations commute and meet in the constants alone: A_y A_s = 1 1' / N."""
    data = ssd.styled(IMAGES, n_styles=5)  # 30 rows, 3 classes of 10: 2 of each style
    A_y, A_s = (relations.RELATIONS[name](data).to_csr().toarray() for name in ("labels", "style"))
    np.testing.assert_allclose(A_y @ A_s, np.full((30, 30), 1 / 30), atol=EXACT)


def test_a_split_relates_the_training_rows_by_their_styles() -> None:
    """As a user names it: `--data "styled(...)" --relation style`."""
    data = load_data("styled(base='gaussian_mixture(n_samples=60)', style=offset, n_styles=3, strength=2)")
    setting = make_setting(data, "style", test_size=0.25)
    rows, _ = data.split(0.25, 0)
    np.testing.assert_array_equal(
        setting.graph.to_csr().toarray() > 0, data.style[rows][:, None] == data.style[rows][None]
    )


def test_data_without_styles_are_told_where_to_get_them() -> None:
    with pytest.raises(DataError, match=r"'cloud' has style=None; make styles by ss\.data\.styled\(data\)"):
        relations.style(CLOUD)
    with pytest.raises(DataError, match="at least two styles, but 'd' holds one"):
        relations.style(ssd.Dataset("d", CLOUD.X, style=np.full(25, 4)))


# --- names and bad options -------------------------------------------------------------------------------------------


def test_the_base_is_a_data_set_a_name_a_call_or_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = ssd.load_dataset("styled", base="digits", style="rotation", n_styles=3)
    assert named.fingerprint() == ssd.styled(ssd.load_dataset("digits"), n_styles=3).fingerprint()
    called = ssd.styled("gaussian_mixture(n_samples=40, seed=3)", style="offset")
    mixture = ssd.load_dataset("gaussian_mixture", n_samples=40, seed=3)
    assert called.meta["base"] == {"name": "gaussian_mixture", "fingerprint": mixture.fingerprint()}
    np.save("mine.npy", CLOUD.X)
    read = ssd.styled("mine.npy", style="offset")
    np.testing.assert_array_equal(read.X, ssd.styled(ssd.Dataset("mine", CLOUD.X), style="offset").X)
    text = "styled(base='gaussian_mixture(n_samples=40)', style=offset)"
    assert spec.format_call(*spec.parse_call(text)) == text


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (CLOUD, {}, r"needs images, but image_shape is not set; .* or take style='offset'"),
        (CLOUD, {"style": "offsett"}, "style='offsett' is not known: did you mean 'offset'"),
        (IMAGES, {"strength": 180.0}, "strength of rotation must be a number above 0 and below 180, got 180"),
        (IMAGES, {"strength": 0.0}, "strength of rotation must be a number above 0"),
        (CLOUD, {"style": "offset", "strength": np.inf}, "strength of offset must be a number above 0, got inf"),
        (IMAGES, {"n_styles": 1}, "n_styles must be a whole number between 2 and 30, got 1"),
        (IMAGES, {"n_styles": 31}, "between 2 and 30, got 31"),
        (IMAGES, {"seed": 0.5}, "seed must be a whole number"),
        (ssd.styled(IMAGES), {}, "have styles already"),
        (ssd.Dataset("line", [[1.0], [2.0]]), {"style": "offset", "n_styles": 2}, "needs at least 2 features"),
        (ssd.Dataset("same", np.ones((3, 2))), {"style": "offset", "n_styles": 2}, "all rows are equal"),
        (np.eye(3), {}, "takes a Dataset or its name, got ndarray"),
        ("digit", {}, "unknown data set 'digit': did you mean 'digits'"),
    ],
)
def test_bad_options_are_explained(base, options, message) -> None:
    with pytest.raises(DataError, match=message):
        ssd.styled(base, **options)
