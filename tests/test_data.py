"""Data: the Dataset record, its split, sets with known answers, and readers.

Witnesses: numpy's dense eigensolver on matrices built here by loops, scipy's generalised eigenproblem, scikit-learn's
data and statistics, and the text of files written by hand.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
import re
import struct
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.sparse
import scipy.stats
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_ssl import data as ssd
from spectral_ssl.data import Dataset
from spectral_ssl.errors import DataError, SpectralWarning

EXACT = 1e-10  # dense float64 linear algebra on at most 64 x 64 matrices of size about 1


def make(n: int = 6, **options) -> Dataset:
    return Dataset("mine", np.arange(2.0 * n).reshape(n, 2), **options)


# --- Dataset ---------------------------------------------------------------------------------------------------------


def test_x_becomes_float64_c_contiguous_and_read_only_whatever_came() -> None:
    X = np.asfortranarray(np.arange(12, dtype=np.int16).reshape(4, 3))
    for given_X in (X, X.tolist(), X.astype(np.float32), pd.DataFrame(X), X.astype(bool) | True):
        data = Dataset("mine", given_X)
        assert data.X.dtype == np.float64
        assert data.X.flags.c_contiguous
        assert not data.X.flags.writeable
        np.testing.assert_array_equal(data.X, np.asarray(given_X, dtype=float))


def test_float64_input_is_neither_copied_nor_locked() -> None:
    X = np.random.default_rng(0).random((5, 3))
    data = Dataset("mine", X)
    assert np.shares_memory(data.X, X)
    assert X.flags.writeable


def test_tensors_are_accepted() -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(Dataset("mine", torch.eye(3)).X, np.eye(3))
    with pytest.raises(DataError, match="requires grad"):
        Dataset("mine", torch.eye(3, requires_grad=True))


class GpuTensor:
    dtype = "float32"

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


BAD_X = {
    "no entry": ([], r"X is empty, shape \(0,\)"),
    "no column": (np.zeros((3, 0)), r"X is empty, shape \(3, 0\)"),
    "one sample": (np.zeros((1, 4)), "X has 1 row; at least 2"),
    "one axis": (np.zeros(4), r"got shape \(4,\).*X.reshape\(-1, 1\)"),
    "images": (np.zeros((4, 2, 3)), r"X.reshape\(len\(X\), -1\) with image_shape=\(2, 3\)"),
    "a number": (3.0, r"got shape \(\)"),
    "ragged": ([[1, 2], [3]], "cannot be read as an array"),
    "nan": (
        [[0, 1], [np.nan, 2], [np.inf, np.nan]],
        "3 entries that are NaN or infinite, the first nan at row 1, column 0",
    ),
    "one inf": ([[0, 1], [2, -np.inf]], "1 entry that is NaN or infinite, the first -inf at row 1, column 1"),
    "complex": (np.ones((3, 2)) * 1j, r"complex \(complex128\).*np.abs"),
    "text": ([["1", "x"], ["2", "y"]], "2 entries that are not a number, the first 'x' at row 0, column 1"),
    "objects": (np.array([[1, None], [2, 3]], dtype=object), "the first None at row 0, column 1"),
    "number objects": (np.array([[1, 2], [2, 3]], dtype=object), r"object entries.*X.astype\(float\)"),
    "number text": ([["1", "2"], ["3", "4"]], r"X.astype\(float\)"),
    "dates": (np.zeros((3, 2), dtype="M8[s]"), "dtype datetime64"),
    "sparse": (scipy.sparse.eye_array(4).tocsr(), r"sparse; pass X.toarray\(\)"),
    "masked": (np.ma.masked_equal([[1, 2], [3, 4]], 3), "1 masked entries"),
    "gpu": (GpuTensor(), "cannot be read as an array.*cuda"),
}


@pytest.mark.parametrize(("X", "message"), BAD_X.values(), ids=BAD_X.keys())
def test_bad_x_says_what_and_where(X, message) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Dataset("mine", X)
    assert str(caught.value).startswith("data 'mine': ")
    assert caught.value.exit_code == 2


def test_finite_entries_whose_sum_overflows_are_accepted() -> None:
    assert Dataset("huge", np.full((4, 2), 1e308)).X.max() == 1e308


LABELS = {
    "ints": ([3, -1, 3, 5], "i", [1, 0, 1, 1]),
    "bools": (np.array([True, False, True, True]), "i", [1, 1, 1, 1]),
    "uint8": (np.array([3, 0, 3, 5], np.uint8), "i", [1, 1, 1, 1]),
    "ints with None": ([3, None, 3, 5], "i", [1, 0, 1, 1]),
    "ints with nan in a list": ([3, float("nan"), 3, 5], "i", [1, 0, 1, 1]),
    "pandas NA": (pd.Series([3, None, 3, 5], dtype="Int64"), "i", [1, 0, 1, 1]),
    "text": (["cat", "", "cat", "dog"], "U", [1, 0, 1, 1]),
    "text with None": (["cat", None, "cat", "dog"], "U", [1, 0, 1, 1]),
    "text with nan": (["cat", float("nan"), "cat", "dog"], "U", [1, 0, 1, 1]),
    "bytes": (np.array([b"cat", b"", b"cat", b"dog"]), "U", [1, 0, 1, 1]),
    "categories": (pd.Series(["cat", None, "cat", "dog"], dtype="category"), "U", [1, 0, 1, 1]),
    "floats": ([0.5, float("nan"), 1.5, 2], "f", [1, 0, 1, 1]),
    "float32": (np.array([0.5, np.nan, 1.5, 2], np.float32), "f", [1, 0, 1, 1]),
}


@pytest.mark.parametrize(("y", "kind", "known"), LABELS.values(), ids=LABELS.keys())
def test_labels_keep_their_kind_and_missing_ones_are_marked(y, kind, known) -> None:
    data = make(4, y=y)
    assert data.y.dtype.kind == kind
    np.testing.assert_array_equal(data.labelled, np.array(known, bool))
    for row in np.flatnonzero(known):
        value = list(y)[row]
        assert data.y[row] == (value.decode() if isinstance(value, bytes) else value)


def test_class_codes_are_positions_among_the_sorted_classes() -> None:
    data = make(5, y=["dog", "", "ant", "dog", "cat"])
    assert data.is_classification
    assert data.classes.tolist() == ["ant", "cat", "dog"]
    assert data.class_codes.tolist() == [2, -1, 0, 2, 1]


def test_without_labels_no_row_is_labelled() -> None:
    data = make(3)
    assert not data.is_classification
    assert data.classes.size == 0
    assert data.class_codes.tolist() == [-1, -1, -1]
    assert data.labelled.tolist() == [False, False, False]


def test_targets_are_not_classes() -> None:
    data = make(3, y=[0.0, 1.0, 2.5])
    assert not data.is_classification
    with pytest.raises(DataError, match=r"regression targets.*y.astype\(int\)"):
        _ = data.classes
    with pytest.raises(DataError, match="regression targets"):
        _ = data.class_codes


BAD_FIELDS = {
    "name": ({"name": ""}, "name must be a non-empty string"),
    "swapped": ({"name": np.eye(2)}, "X comes second"),
    "y short": ({"y": [1, 2]}, "y has 2 entries, but X has 6 rows"),
    "y one-hot": ({"y": np.eye(6)}, r"one-hot labels: pass y.argmax\(axis=1\)"),
    "y column": ({"y": np.ones((6, 1), int)}, r"pass y.ravel\(\)"),
    "y mixed": ({"y": [0, 1, "a", 2, 3, 4]}, "mixes text .'a' at row 2. and numbers .0 at row 0."),
    "y infinite": ({"y": [0.5, np.inf, 1, 2, -np.inf, 4]}, "2 infinite targets, the first at row 1"),
    "y complex": ({"y": np.ones(6) * 1j}, "dtype complex128"),
    "y things": ({"y": [0, 1, {}, 2, 3, 4]}, r"\{\} \(dict\) at row 2"),
    "y too large": ({"y": np.full(6, 2**63, np.uint64)}, "beyond int64"),
    "y too large int": ({"y": [0, 1, 2, 3, 4, 2**70]}, "beyond int64"),
    "y a number": ({"y": 3}, "y cannot be read"),
    "source short": ({"source": [1, 2]}, "source has 2 entries, but X has 6 rows"),
    "source missing": ({"source": [1, 1, None, 2, None, 3]}, "missing in 2 rows, the first at row 2"),
    "source nan": ({"source": np.array([0, 1, np.nan, 2, 2, 2])}, "missing in 1 row, the first at row 2"),
    "source empty": ({"source": np.array(["a", "a", "b", "", "b", "c"])}, "missing in 1 row, the first at row 3"),
    "source lists": ({"source": [[1], [1], [2], [2], [3], [3]]}, "hashable"),
    "modality short": ({"modality": [0, 1]}, r"shape \(6,\), got \(2,\)"),
    "modality negative": ({"modality": [0, 1, -1, 0, 1, 0]}, "whole numbers 0, 1"),
    "modality float": ({"modality": [0.0] * 6}, "whole numbers 0, 1"),
    "image too large": ({"image_shape": (2, 2)}, r"image_shape \(2, 2\) needs 4 features, but X has 2"),
    "image number": ({"image_shape": 2}, r"must be \(height, width\) or \(height, width, channels\), got 2"),
    "image of four axes": ({"image_shape": (1, 2, 1, 1)}, r"must be \(height, width\) or"),
    "image colour": ({"image_shape": (1, 2, 3)}, r"image_shape \(1, 2, 3\) needs 6 features, but X has 2"),
    "image zero": ({"image_shape": (0, 2)}, "whole number at least 1, got 0"),
    "meta": ({"meta": [1]}, "meta must be a mapping"),
}


@pytest.mark.parametrize(("options", "message"), BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
def test_bad_fields_say_what_and_where(options, message) -> None:
    with pytest.raises(DataError, match=message):
        Dataset(**{"name": "mine", "X": np.zeros((6, 2)), **options})


@pytest.mark.parametrize(
    "ids",
    [
        [7, 7, 3, 9, 3, 7],
        np.array([7, 7, 3, 9, 3, 7], np.uint8),
        list("bbaxab"),
        np.array(list("bbaxab")),
        [(1, 2), (1, 2), (0, 0), "x", (0, 0), (1, 2)],
        np.array([2.5, 2.5, 1.0, 9.0, 1.0, 2.5]),
    ],
    ids=["ints", "uint8", "list of text", "text", "hashables", "floats"],
)
def test_sources_become_codes_in_order_of_first_appearance(ids) -> None:
    data = make(6, source=ids)
    assert data.source.tolist() == [0, 0, 1, 2, 1, 0]
    assert data.source.dtype == np.int64
    assert data.n_sources == 3


def test_subset_keeps_what_belongs_to_a_row_and_drops_answers_of_the_full_set() -> None:
    meta = {"kept": 1, "eigenvalues": [1, 2], "full_set_only": ("eigenvalues",)}
    data = make(
        6, y=list("aabbcc"), source=[5, 5, 6, 7, 6, 5], modality=[0, 1, 0, 1, 0, 1], image_shape=(1, 2), meta=meta
    )
    part = data.subset([4, 0, 2, 5])
    np.testing.assert_array_equal(part.X, data.X[[4, 0, 2, 5]])
    assert part.y.tolist() == ["c", "a", "b", "c"]
    assert part.source.tolist() == [0, 1, 0, 1]  # rows 4 and 2 are views of one original, 0 and 5 of another
    assert part.modality.tolist() == [0, 0, 0, 1]
    assert part.image_shape == (1, 2)
    assert part.meta == {"kept": 1}
    np.testing.assert_array_equal(data.subset(np.array([1, 0, 0, 1, 0, 0], bool)).X, data.X[[0, 3]])


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 6], "1 row number outside 0 .. 5, the first 6 at position 1"),
        ([0, -1], "outside 0 .. 5, the first -1"),
        ([0, 1, 1], "1 row more than once"),
        ([True, False], "mask has 2 entries, but there are 6 rows"),
        ([0.0, 1.0], "dtype float64"),
        ([[0, 1]], r"shape \(1, 2\)"),
        ([3], "keeps 1 rows"),
        ([], "keeps 0 rows"),
    ],
)
def test_bad_subsets(index, message) -> None:
    with pytest.raises(DataError, match=message):
        make(6).subset(index)


def test_fingerprint_follows_the_contents_and_nothing_else() -> None:
    base = make(4, y=["a", "b", "c", "d"], source=[0, 0, 1, 1])
    X = base.X.copy()
    X[3, 1] = np.nextafter(X[3, 1], 10)
    same = [
        Dataset(
            "other name", base.X.tolist(), y=np.array(["a", "b", "c", "d"], "U20"), source=list("xxyy"), meta={"a": 1}
        ),
        pickle.loads(pickle.dumps(base)),
        copy.deepcopy(base),
    ]
    different = [
        make(4, y=["a", "b", "c", "e"], source=[0, 0, 1, 1]),
        make(4, y=["a", "bc", "", "d"], source=[0, 0, 1, 1]),
        make(4, y=["a", "b", "c", "d"], source=[0, 1, 1, 0]),
        make(4, y=["a", "b", "c", "d"]),
        make(4, source=[0, 0, 1, 1]),
        make(4, y=["a", "b", "c", "d"], source=[0, 0, 1, 1], modality=[0, 1, 0, 1]),
        Dataset("mine", base.X.reshape(2, 4), y=["a", "b"]),
        Dataset("mine", X, y=["a", "b", "c", "d"], source=[0, 0, 1, 1]),
    ]
    assert [data.fingerprint() for data in same] == [base.fingerprint()] * 3
    assert len({data.fingerprint() for data in [base, *different]}) == 1 + len(different)
    by_hand = hashlib.sha256(b"X(2, 2)" + struct.pack("<4d", 0, 1, 2, 3) + b"yi" + struct.pack("<2q", 5, -1))
    assert make(2, y=[5, -1]).fingerprint() == by_hand.hexdigest()[:16]


def test_describe_is_silent_on_ordinary_data() -> None:
    assert ssd.gaussian_mixture(n_samples=40, seed=1).describe() == []


DESCRIBED = {
    "constant": (Dataset("d", [[1, 5], [2, 5], [3, 5]]), "1 of 2 features are constant .first: column 1."),
    "duplicates": (Dataset("d", [[1, 0.0], [2, 1], [1, -0.0], [1, 0]]), "2 of 4 rows repeat an earlier row"),
    "scales": (Dataset("d", [[1, 5000], [2, 1], [3, 100]]), "standard deviations range from 0.816 to 2.33e.03"),
    "unlabelled": (make(4, y=[0, 1, -1, 1]), "1 of 4 rows are unlabelled .y is -1.; if -1 is one of your classes"),
    "unlabelled text": (make(4, y=["a", "a", "", ""]), "2 of 4 rows are unlabelled .y is an empty string"),
    "single class": (make(4, y=[3, 3, 3, 3]), "only one class .3."),
    "lonely class": (make(4, y=["a", "a", "b", "a"]), "1 of 2 classes have a single row .first: b."),
    "whole floats": (make(4, y=[0.0, 1, 2, 1]), "floats with 3 distinct whole values"),
    "single view": (make(4, source=[0, 0, 1, 2]), "2 of 3 sources have a single row"),
    "mixed source": (make(4, y=[0, 1, 1, 1], source=[0, 0, 1, 1]), "1 of 2 sources have rows of different classes"),
}


@pytest.mark.parametrize(("data", "message"), DESCRIBED.values(), ids=DESCRIBED.keys())
def test_describe_says_it_in_words(data, message) -> None:
    assert any(re.search(message, words) for words in data.describe()), data.describe()


def test_as_dataset_passes_datasets_and_names_arrays() -> None:
    data = make(3)
    assert ssd.as_dataset(data) is data
    named = ssd.as_dataset([[1, 2], [3, 4]], name="pairs")
    assert named.name == "pairs"
    assert named.X.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="data 'pairs': X is empty"):
        ssd.as_dataset([], name="pairs")


# --- split -----------------------------------------------------------------------------------------------------------


@st.composite
def sourced(draw):
    n_sources = draw(st.integers(2, 25))
    sizes = draw(st.lists(st.integers(1, 4), min_size=n_sources, max_size=n_sources))
    classes = draw(st.lists(st.integers(-1, 3), min_size=n_sources, max_size=n_sources))
    source = np.repeat(np.arange(n_sources), sizes)
    if len(source) < 2:
        source = np.array([0, 1])
    order = np.array(draw(st.permutations(range(len(source)))))
    labels = draw(st.sampled_from(["none", "classes"]))
    y = np.array(classes)[source][order] if labels == "classes" else None
    return Dataset("drawn", np.arange(len(source))[:, None], y=y, source=source[order])


@settings(max_examples=150)
@given(data=sourced(), test_size=st.floats(0.01, 0.99), seed=st.integers(0, 2**32))
def test_split_never_separates_views_and_covers_all_rows(data, test_size, seed) -> None:
    train, test = data.split(test_size, seed)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(data.n_samples))
    assert train.size
    assert test.size
    assert not set(data.source[train]) & set(data.source[test])
    again = data.split(test_size, seed)
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(test, again[1])


@st.composite
def stratifiable(draw):
    n_of_class = draw(st.lists(st.integers(2, 12), min_size=1, max_size=4))
    n_unlabelled = draw(st.integers(0, 3))
    classes = np.concatenate([np.full(n_unlabelled, -1), np.repeat(np.arange(len(n_of_class)), n_of_class)])
    sizes = draw(st.lists(st.integers(1, 3), min_size=len(classes), max_size=len(classes)))
    source = np.repeat(np.arange(len(classes)), sizes)
    order = np.array(draw(st.permutations(range(len(source)))))
    return Dataset("drawn", np.zeros((len(source), 1)), y=classes[source][order], source=source[order])


@settings(max_examples=200)
@given(data=stratifiable(), test_size=st.floats(0.01, 0.99), seed=st.integers(0, 2**32))
def test_split_is_stratified_where_every_class_has_two_sources(data, test_size, seed) -> None:
    train, test = data.split(test_size, seed)
    n_of_class = {c: len(set(data.source[data.y == c])) for c in data.classes.tolist()}
    n_test = {c: len(set(data.source[test][data.y[test] == c])) for c in n_of_class}
    n_unlabelled = len(set(data.source[data.y == -1]))
    asked = min(max(round(test_size * data.n_sources), 1), data.n_sources - 1)
    assert len(set(data.source[test])) == min(asked, data.n_sources - len(n_of_class))
    assert set(data.y[train]) >= set(n_of_class)  # every class stays in training
    if asked >= len(n_of_class):
        assert set(data.y[test]) >= set(n_of_class)  # and is tested where there is room
    share = {c: asked * n / data.n_sources for c, n in n_of_class.items()}
    if all(1 <= share[c] <= n_of_class[c] - 1 for c in n_of_class) and not n_unlabelled:
        assert max(abs(n_test[c] - share[c]) for c in n_of_class) < 1


def test_split_of_balanced_classes_is_exactly_proportional() -> None:
    data = make(80, y=np.tile([0, 1, 2, 3], 20))
    _, test = data.split(0.25, seed=3)
    assert np.bincount(data.y[test]).tolist() == [5, 5, 5, 5]


def test_split_depends_on_the_seed_and_every_source_can_be_drawn() -> None:
    data = make(20)
    tests = [tuple(data.split(0.25, seed)[1]) for seed in range(60)]
    assert len(set(tests)) > 50
    assert set(np.concatenate(tests)) == set(range(20))
    counts = np.bincount(np.concatenate(tests), minlength=20)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_split_takes_the_commonest_label_of_a_source() -> None:
    y = np.array([1, 0, 0] * 6 + [1, 1, 1] * 6)
    data = make(36, y=y, source=np.repeat(np.arange(12), 3))
    for seed in range(20):
        _, test = data.split(1 / 3, seed)
        assert (data.source[test] < 6).sum() == 6  # two sources of each kind, three rows each


def test_split_of_many_classes_is_quick_and_whole() -> None:
    n_classes = 20_000
    data = Dataset("faces", np.arange(3.0 * n_classes)[:, None], y=np.repeat(np.arange(n_classes), 3))
    train, test = data.split(0.3, seed=0)
    assert test.size == 18_000
    assert np.unique(data.y[train]).size == n_classes


def test_split_with_test_size_zero_trains_on_all_rows() -> None:
    train, test = make(5).split(test_size=0)
    assert train.tolist() == [0, 1, 2, 3, 4]
    assert test.size == 0
    assert test.dtype == np.int64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_size": 1}, "at least 0 and below 1, got 1"),
        ({"test_size": -0.1}, "at least 0 and below 1, got -0.1"),
        ({"test_size": float("nan")}, "got nan"),
        ({"test_size": "half"}, "got 'half'"),
        ({"test_size": True}, "got True"),
        ({"seed": -1}, "seed must be a whole number at least 0, got -1"),
        ({"seed": None}, "got None"),
        ({"seed": 0.5}, "got 0.5"),
    ],
)
def test_bad_splits(options, message) -> None:
    with pytest.raises(DataError, match=message):
        make(6).split(**options)


def test_one_source_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"all rows are views of one source.*test_size=0"):
        make(4, source=[3, 3, 3, 3]).split()


# --- synthetic sets --------------------------------------------------------------------------------------------------


def laplacian(pairs, n_samples: int) -> np.ndarray:
    L = np.zeros((n_samples, n_samples))
    for i, j in pairs:
        L[i, i] += 1
        L[j, j] += 1
        L[i, j] -= 1
        L[j, i] -= 1
    return L


@pytest.mark.parametrize("n", [2, 3, 17, 64])
def test_path_holds_the_spectrum_of_the_path_laplacian(n) -> None:
    data = ssd.path(n_samples=n)
    L = laplacian([(i, i + 1) for i in range(n - 1)], n)
    V, values = data.meta["laplacian_eigenvectors"], data.meta["laplacian_eigenvalues"]
    np.testing.assert_allclose(values, np.linalg.eigvalsh(L), atol=EXACT)
    np.testing.assert_allclose(L @ V, V * values, atol=EXACT)
    np.testing.assert_allclose(V.T @ V, np.eye(n), atol=EXACT)
    np.testing.assert_array_equal(laplacian(data.meta["pairs"], n), L)
    np.testing.assert_array_equal(data.X[:, 0], np.arange(n))


def test_a_long_path_keeps_the_lowest_eigenvectors_only() -> None:
    V = ssd.path(n_samples=3000).meta["laplacian_eigenvectors"]
    assert V.shape == (3000, 256)
    np.testing.assert_allclose(V.T @ V, np.eye(256), atol=EXACT)
    assert ssd.path(n_samples=100_000).meta["laplacian_eigenvectors"].shape == (100_000, 41)


@pytest.mark.parametrize("n", [3, 4, 17, 64])
def test_cycle_holds_the_spectrum_of_the_cycle_laplacian_and_x_spans_its_first_plane(n) -> None:
    data = ssd.cycle(n_samples=n)
    L = laplacian([(i, (i + 1) % n) for i in range(n)], n)
    np.testing.assert_allclose(data.meta["laplacian_eigenvalues"], np.linalg.eigvalsh(L), atol=EXACT)
    np.testing.assert_allclose(L @ data.X, data.meta["laplacian_eigenvalues"][1] * data.X, atol=EXACT)
    np.testing.assert_array_equal(laplacian(data.meta["pairs"], n), L)


def test_cliques_hold_the_spectrum_of_their_laplacian() -> None:
    data = ssd.cliques(n_cliques=3, clique_size=4)
    L = laplacian([(i, j) for i in range(12) for j in range(i) if data.source[i] == data.source[j]], 12)
    np.testing.assert_allclose(data.meta["laplacian_eigenvalues"], np.linalg.eigvalsh(L), atol=EXACT)
    assert np.bincount(data.source).tolist() == [4, 4, 4]
    np.testing.assert_array_equal(data.y, data.source)


def test_cliques_gather_round_their_centres() -> None:
    data = ssd.cliques(n_cliques=200, clique_size=20, n_features=3, noise=0.1, seed=2)
    means = data.X.reshape(200, 20, 3).mean(axis=1, keepdims=True)
    within = (data.X.reshape(200, 20, 3) - means).std() * np.sqrt(20 / 19)
    assert within == pytest.approx(0.1, rel=0.03)  # 12,000 draws: standard error 0.7 %
    assert means.std() == pytest.approx(1, rel=0.1)


def test_gaussian_mixture_has_the_stated_population_fisher_eigenvalues() -> None:
    data = ssd.gaussian_mixture(n_samples=40_000, n_classes=4, n_features=6, separation=3, seed=5)
    centres, basis = data.meta["centres"], data.meta["discriminant_basis"]
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.testing.assert_allclose(distances, 3 * (1 - np.eye(4)), atol=EXACT)
    S_b = np.cov(centres.T, bias=True)
    np.testing.assert_allclose(np.linalg.eigvalsh(S_b)[::-1][:3], data.meta["fisher_eigenvalues"], atol=EXACT)
    np.testing.assert_allclose(S_b @ basis, basis * data.meta["fisher_eigenvalues"], atol=EXACT)
    for c in range(4):
        rows = data.X[data.y == c]
        assert len(rows) == 10_000
        np.testing.assert_allclose(rows.mean(axis=0), centres[c], atol=0.05)  # 5 standard errors of 0.01
        np.testing.assert_allclose(np.cov(rows.T), np.eye(6), atol=0.08)


def test_swiss_roll_unrolls_isometrically() -> None:
    data = ssd.swiss_roll(n_samples=4000, noise=0, seed=1)
    t = np.hypot(data.X[:, 0], data.X[:, 2])  # the radius of the spiral is its angle
    fine = np.linspace(1.5 * np.pi, 4.5 * np.pi, 200_001)
    steps = np.hypot(np.diff(fine * np.cos(fine)), np.diff(fine * np.sin(fine)))
    length = np.interp(t, fine, np.concatenate([[0], np.cumsum(steps)]))
    np.testing.assert_allclose(data.y, length, atol=1e-5)  # polygon of 200,000 chords
    np.testing.assert_array_equal(data.meta["unrolled"], np.column_stack([data.y, data.X[:, 1]]))
    assert t.min() >= 1.5 * np.pi - EXACT
    assert t.max() <= 4.5 * np.pi + EXACT
    assert scipy.stats.kstest(data.X[:, 1] / 21, "uniform").pvalue > 1e-3
    noisy = ssd.swiss_roll(n_samples=4000, noise=0.5, seed=1)
    np.testing.assert_array_equal(noisy.y, data.y)
    assert (noisy.X - data.X).std() == pytest.approx(0.5, rel=0.03)


def test_rings_have_the_stated_radii() -> None:
    data = ssd.rings(n_samples=3000, n_rings=3, spacing=0.5, noise=0, seed=1)
    np.testing.assert_allclose(np.linalg.norm(data.X, axis=1), 0.5 * (data.y + 1), atol=EXACT)
    np.testing.assert_allclose(data.meta["radii"], [0.5, 1, 1.5])
    assert np.bincount(data.y).tolist() == [1000, 1000, 1000]
    angle = np.arctan2(data.X[:, 1], data.X[:, 0]) / (2 * np.pi) + 0.5
    assert scipy.stats.kstest(angle, "uniform").pvalue > 1e-3
    noisy = ssd.rings(n_samples=3000, noise=0.2, seed=1)
    clean = ssd.rings(n_samples=3000, noise=0, seed=1)
    assert (noisy.X - clean.X).std() == pytest.approx(0.2, rel=0.05)


def canonical_correlations(S_aa, S_ab, S_bb) -> np.ndarray:
    """Decreasing, from the symmetric-definite pencil (S_ab S_bb^-1 S_ba, S_aa)."""
    squares = scipy.linalg.eigh(S_ab @ np.linalg.solve(S_bb, S_ab.T), S_aa, eigvals_only=True)[::-1]
    return np.sqrt(np.clip(squares, 0, None))


@pytest.mark.parametrize("rho", [(0.9, 0.7, 0.4), (0.3, 0.95), (1.0, 0.5), (0.6,)])
def test_latent_two_view_has_exactly_the_population_canonical_correlations_asked_for(rho) -> None:
    data = ssd.latent_two_view(n_samples=10, correlations=rho, n_features=(5, 3), seed=4)
    meta = data.meta
    found = canonical_correlations(meta["covariance_a"], meta["cross_covariance"], meta["covariance_b"])
    np.testing.assert_allclose(found[: len(rho)], sorted(rho, reverse=True), atol=EXACT)
    np.testing.assert_allclose(found[len(rho) :], 0, atol=1e-7)  # square roots of rounding errors
    np.testing.assert_array_equal(meta["canonical_correlations"], sorted(rho, reverse=True))
    a, b = meta["directions_a"], meta["directions_b"]
    np.testing.assert_allclose(a.T @ meta["covariance_a"] @ a, np.eye(len(rho)), atol=EXACT)
    np.testing.assert_allclose(b.T @ meta["covariance_b"] @ b, np.eye(len(rho)), atol=EXACT)
    cross = a.T @ meta["cross_covariance"] @ b
    np.testing.assert_allclose(cross, np.diag(meta["canonical_correlations"]), atol=EXACT)


def test_latent_two_view_samples_follow_the_population() -> None:
    data = ssd.latent_two_view(n_samples=50_000, n_features=(4, 3), seed=0)
    Xa, Xb = data.X[:50_000, :4], data.X[50_000:, 4:]
    for sample, population in [
        (Xa.T @ Xa, "covariance_a"),
        (Xb.T @ Xb, "covariance_b"),
        (Xa.T @ Xb, "cross_covariance"),
    ]:
        np.testing.assert_allclose(
            sample / 50_000, data.meta[population], atol=0.1
        )  # entries up to 4: 4 standard errors


def test_coupled_generalised_eigenvalues_are_the_canonical_correlations_and_their_negatives() -> None:
    rng = np.random.default_rng(0)
    Xa = rng.standard_normal((60, 4)) + 3
    Xb = np.column_stack([Xa[:, 0] + rng.standard_normal(60), rng.standard_normal((60, 2))]) - 1
    data = ssd.couple(Xa, Xb, y=np.arange(60) % 2)
    A = np.zeros((120, 120))
    for i in range(60):
        A[i, 60 + i] = A[60 + i, i] = 1
    values = scipy.linalg.eigh(data.X.T @ A @ data.X, data.X.T @ np.diag(A.sum(axis=1)) @ data.X, eigvals_only=True)
    S = np.cov(np.hstack([Xa, Xb]).T)
    rho = canonical_correlations(S[:4, :4], S[:4, 4:], S[4:, 4:])  # 4 values, the last one 0
    np.testing.assert_allclose(values[::-1][:3], rho[:3], atol=EXACT)
    np.testing.assert_allclose(values[:3], -rho[:3], atol=EXACT)
    assert data.source.tolist() == [*range(60), *range(60)]
    assert data.modality.tolist() == [0] * 60 + [1] * 60
    assert data.y.tolist() == [*(np.arange(60) % 2), *(np.arange(60) % 2)]
    np.testing.assert_allclose(data.meta["mean_a"], Xa.mean(axis=0))
    np.testing.assert_allclose(data.meta["mean_b"], Xb.mean(axis=0))


def test_couple_can_leave_the_means_in() -> None:
    data = ssd.couple([[1, 2], [3, 4]], [[5], [6]], center=False)
    assert data.X.tolist() == [[1, 2, 0], [3, 4, 0], [0, 0, 5], [0, 0, 6]]
    assert data.meta["mean_a"].tolist() == [0, 0]


def test_splits_of_coupled_data_keep_objects_whole() -> None:
    data = ssd.latent_two_view(n_samples=40)
    train, test = data.split(0.25)
    assert set(test[test < 40]) == {row - 40 for row in test[test >= 40]}
    assert train.size == 60


def test_options_may_be_numbers_of_numpy() -> None:
    assert ssd.load_dataset("rings", seed=np.int64(3)).fingerprint() == ssd.rings(seed=3).fingerprint()
    assert ssd.load_dataset("path", n_samples=np.uint8(5)).n_samples == 5


@pytest.mark.parametrize("name", ["cliques", "gaussian_mixture", "swiss_roll", "rings", "latent_two_view"])
def test_seeds_repeat_and_differ(name) -> None:
    first, again, other = (ssd.load_dataset(name, seed=seed) for seed in (3, 3, 4))
    assert first.fingerprint() == again.fingerprint()
    assert not np.allclose(first.X, other.X)


BAD_SYNTHETIC = {
    "path 1": (lambda: ssd.path(n_samples=1), "path: n_samples must be a whole number at least 2, got 1"),
    "path 2.5": (lambda: ssd.path(n_samples=2.5), "got 2.5"),
    "path True": (lambda: ssd.path(n_samples=True), "got True"),
    "cycle 2": (lambda: ssd.cycle(n_samples=2), "at least 3"),
    "cliques 1": (lambda: ssd.cliques(clique_size=1), "clique_size must be a whole number at least 2"),
    "cliques noise": (lambda: ssd.cliques(noise=-1), "noise must be a number at least 0, got -1"),
    "cliques seed": (lambda: ssd.cliques(seed=-1), "seed must be a whole number at least 0, got -1"),
    "mixture room": (
        lambda: ssd.gaussian_mixture(n_classes=5, n_features=3),
        "need at least 4 features.*n_classes to 4",
    ),
    "mixture few": (lambda: ssd.gaussian_mixture(n_samples=3), "at least 4, got 3"),
    "mixture sep": (lambda: ssd.gaussian_mixture(separation=float("inf")), "separation must be a number.*got inf"),
    "swiss": (lambda: ssd.swiss_roll(noise=-0.1), "noise"),
    "rings": (lambda: ssd.rings(spacing=0), "spacing must be a number above 0, got 0"),
    "rho above 1": (lambda: ssd.latent_two_view(correlations=(0.5, 1.5)), "at least 0 and at most 1, got 1.5"),
    "rho number": (lambda: ssd.latent_two_view(correlations=0.5), r"write \(0.5,\) for one"),
    "rho many": (lambda: ssd.latent_two_view(correlations=(0.5,) * 7), "between 1 and 6 correlations fit"),
    "rho none": (lambda: ssd.latent_two_view(correlations=()), "between 1 and 6"),
    "features": (lambda: ssd.latent_two_view(n_features=(8,)), r"two whole numbers \(Da, Db\), got \(8,\)"),
    "couple rows": (lambda: ssd.couple(np.eye(3), np.eye(4)), "3 and 4 rows"),
    "couple nan": (lambda: ssd.couple(np.eye(3), np.eye(3) * np.nan), "second modality: X has 9 entries"),
    "couple y": (lambda: ssd.couple(np.eye(3), np.eye(3), y=[1, 2]), "y has 2 entries, but X has 3 rows"),
}


@pytest.mark.parametrize(("call", "message"), BAD_SYNTHETIC.values(), ids=BAD_SYNTHETIC.keys())
def test_bad_options_of_synthetic_sets(call, message) -> None:
    with pytest.raises(DataError, match=message):
        call()


# --- by name ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "n_classes", "image_shape"),
    [
        ("digits", (1797, 64), 10, (8, 8)),
        ("iris", (150, 4), 3, None),
        ("wine", (178, 13), 3, None),
        ("breast_cancer", (569, 30), 2, None),
    ],
)
def test_real_sets_are_those_of_scikit_learn(name, shape, n_classes, image_shape) -> None:
    data = ssd.load_dataset(name)
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    assert data.X.shape == shape
    assert data.name == name
    np.testing.assert_array_equal(data.X, bunch.data)
    np.testing.assert_array_equal(data.y, bunch.target)
    assert len(data.classes) == len(data.meta["target_names"]) == n_classes
    assert len(data.meta["feature_names"]) == shape[1]
    assert data.image_shape == image_shape


def test_standardize_gives_mean_zero_and_variance_one_and_zeroes_constants() -> None:
    from sklearn.preprocessing import StandardScaler

    for name in ("digits", "wine"):
        data = ssd.load_dataset(name, standardize=True)
        expected = StandardScaler().fit_transform(ssd.load_dataset(name).X)
        np.testing.assert_allclose(data.X, expected, atol=EXACT)
        assert data.meta["standardized"] is True


FROM_FILES = ("mnist", "fashion_mnist", "cifar10", "cifar100", "stl10", "image_folder")  # see test_readers_images.py


@pytest.mark.parametrize("name", [name for name in ssd.DATASETS if name not in FROM_FILES])
def test_every_name_loads_a_dataset_of_its_name_with_a_description(name) -> None:
    assert ssd.load_dataset(name).name == name
    assert ssd.DATASETS[name].__doc__


def test_unknown_names_and_options_are_explained(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="unknown data set 'digit': did you mean 'digits'"):
        ssd.load_dataset("digit")
    with pytest.raises(DataError, match=r"no option 'n_sample'.*did you mean 'n_samples'"):
        ssd.load_dataset("rings", n_sample=3)
    with pytest.raises(DataError, match="takes a name or a path, got ndarray"):
        ssd.load_dataset(np.eye(3))
    with pytest.raises(DataError, match=r"no such file: digits.csv"):
        ssd.load_dataset("digits.csv")
    np.save("mine.npy", np.eye(3))
    with pytest.raises(DataError, match=r"no option 'labells'.*did you mean 'labels'"):
        ssd.load_dataset("mine.npy", labells="y.npy")
    assert ssd.load_dataset("mine.npy", name="eye").name == "eye"
    (tmp_path / "digits").mkdir()  # a known name wins
    assert ssd.load_dataset("digits").n_samples == 1797


def test_importing_data_costs_no_heavy_import() -> None:
    heavy = ("sklearn", "pandas", "pyarrow", "PIL", "torch", "networkx", "matplotlib")
    code = f"import sys, spectral_ssl.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- readers: data ---------------------------------------------------------------------------------------------------


def write(tmp_path, name: str, text: str | bytes):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


TABLES = {
    "plain": ("a.csv", "1,2\n3,4\n", [[1, 2], [3, 4]], None),
    "header": ("a.csv", "a,b\n1,2\n3,4\n", [[1, 2], [3, 4]], None),
    "no newline at the end, CRLF, BOM": ("a.csv", "\ufeffa,b\r\n1,2\r\n3,4", [[1, 2], [3, 4]], None),
    "tabs": ("a.tsv", "a\tb\n1\t2\n3\t4\n", [[1, 2], [3, 4]], None),
    "semicolons": ("a.csv", "a;b\n1;2\n3;4\n", [[1, 2], [3, 4]], None),
    "blanks, as savetxt writes": (
        "a.txt",
        "# made by hand\n1.0e+00 2.0e+00\n3.0e+00 4.0e+00\n",
        [[1, 2], [3, 4]],
        None,
    ),
    "blank lines": ("a.csv", "\na,b\n\n1,2\n   \n3,4\n\n", [[1, 2], [3, 4]], None),
    "quotes and spaces": ("a.csv", '"a, or b", b\n"1", 2\n3 ,"4"\n', [[1, 2], [3, 4]], None),
    "one column": ("a.csv", "a\n1\n3\n", [[1], [3]], None),
    "signs": ("a.csv", "-1,+2\n1e-3,.5\n", [[-1, 2], [0.001, 0.5]], None),
    "labels by name": ("a.csv", "a,Label,b\n1,cat,2\n3,dog,4\n", [[1, 2], [3, 4]], ["cat", "dog"]),
    "numeric names and one in words": ("a.csv", "0,b\n1,2\n3,4\n", [[1, 2], [3, 4]], None),
    "text labels under numeric names": ("a.csv", "0,1,y\n1,2,cat\n3,4,dog\n", [[1, 2], [3, 4]], ["cat", "dog"]),
    "labels under numeric names": ("a.csv", "0,1,target\n1,2,7\n3,4,8\n", [[1, 2], [3, 4]], [7, 8]),
    "missing labels": ("a.csv", "a,y\n1,cat\n2,\n3,dog\n", [[1], [2], [3]], ["cat", "", "dog"]),
    "missing class numbers": ("a.csv", "a,y\n1,5\n2,\n3,nan\n", [[1], [2], [3]], [5, -1, -1]),
    "targets": ("a.csv", "a,y\n1,0.5\n2,2\n", [[1], [2]], [0.5, 2.0]),
    "pandas index": ("a.csv", ",a,b\n0,1,2\n1,3,4\n", [[1, 2], [3, 4]], None),
    "nameless column that is no index": ("a.csv", ",a\n5,1\n7,3\n", [[5, 1], [7, 3]], None),
}


@pytest.mark.parametrize(("name", "text", "X", "y"), TABLES.values(), ids=TABLES.keys())
def test_text_tables(tmp_path, name, text, X, y) -> None:
    data = ssd.read_dataset(write(tmp_path, name, text))
    assert data.X.tolist() == X
    assert (data.y if data.y is None else data.y.tolist()) == y
    assert ssd.read_array(tmp_path / name).tolist() == X
    assert data.name == "a"
    assert data.meta["origin"] == str(tmp_path / name)


def test_taken_columns_are_said_in_meta(tmp_path) -> None:
    file = write(tmp_path, "a.csv", ",a,class,source\n0,1,x,p\n1,2,y,q\n2,3,x,p\n")
    data = ssd.read_dataset(file)
    assert data.X.tolist() == [[1], [2], [3]]
    assert data.source.tolist() == [0, 1, 0]
    assert data.meta["labels_from"] == "column 'class'"
    assert data.meta["source_from"] == "column 'source'"
    assert data.meta["feature_names"] == ("a",)
    assert "index" in data.meta["left_out"]


def test_label_column_by_name_and_by_position(tmp_path) -> None:
    named = write(tmp_path, "a.csv", "y,species,b\n1,cat,2\n3,dog,4\n")
    data = ssd.read_dataset(named, label_column="species")
    assert data.y.tolist() == ["cat", "dog"]
    assert data.X.tolist() == [[1, 2], [3, 4]]
    bare = write(tmp_path, "b.csv", "1,2,cat\n3,4,dog\n")
    data = ssd.read_dataset(bare, label_column=2)
    assert data.y.tolist() == ["cat", "dog"]
    assert data.meta["labels_from"] == "column 2"


def test_pandas_reads_the_same_table(tmp_path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((50, 4)), columns=list("abcd")).assign(label=rng.integers(0, 3, 50))
    frame.to_csv(tmp_path / "a.csv", index=False)
    data = ssd.read_dataset(tmp_path / "a.csv")
    np.testing.assert_array_equal(data.X, frame[list("abcd")].to_numpy())
    np.testing.assert_array_equal(data.y, frame["label"])


def test_a_first_row_that_counts_is_read_but_mentioned(tmp_path) -> None:
    file = write(tmp_path, "a.csv", "0,1,2\n5,6,7\n8,9,1\n")
    with pytest.warns(SpectralWarning, match="first row is 0, 1, ..., 2 and was read as a sample"):
        data = ssd.read_dataset(file)
    assert data.n_samples == 3


BAD_TABLES = {
    "word": ("a.csv", "a,b\n1,2\n3,x\n", "line 3, column 'b' is 'x', not a number"),
    "word without header": ("a.csv", "1,2\n3,4\n\n5,x\n", "line 4, column 1 is 'x', not a number"),
    "empty cell": ("a.csv", "a,b\n1,2\n,4\n", "line 3, column 'a' is empty; fill it or drop the row"),
    "underscore": ("a.csv", "1,2\n3,1_000\n", "line 2, column 1 is '1_000'"),
    "decimal comma": ("a.csv", "a;b\n1,5;2\n3;4\n", "line 2, column 'a' is '1,5', with a decimal comma"),
    "short row": ("a.csv", "a,b\n1,2\n3\n", "line 3 has 1 cells, the first row has 2"),
    "long row": ("a.csv", "a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, the first row has 2"),
    "long row beside labels": ("a.csv", "a,y\n1,2\n3,4,5\n", "line 3 has 3 cells, the first row has 2"),
    "long row beside an index": ("a.csv", ",a\n0,2\n1,4,5\n", "line 3 has 3 cells, the first row has 2"),
    "header only": ("a.csv", "a,b\n", r"has a header \(a, b\) and no rows"),
    "comments only": ("a.csv", "# a\n\n", "no rows, only blank lines and comments"),
    "one row": ("a.csv", "a,b\n1,2\n", "X has 1 row"),
    "nan cell": ("a.csv", "a,b\n1,2\n3,nan\n", "1 entry that is NaN or infinite, the first nan at row 1, column 1"),
    "labels only": ("a.csv", "y\n1\n2\n", "no column of features is left beside labels"),
    "two label columns": ("a.csv", "a,y,class\n1,2,3\n4,5,6\n", "'y' and 'class' could all be the labels"),
    "bytes of another encoding": ("a.csv", b"a,b\n1,2\n3,\xff\n", "not UTF-8 text"),
    "binary": ("a.csv", b"\x00\x01\x02,\x00\n", "binary file"),
    "nothing": ("a.csv", "", r"is empty \(0 bytes\)"),
    "empty npy": ("a.npy", "", r"is empty \(0 bytes\)"),
    "no npy": ("a.npy", "1,2\n3,4\n", "not a npy file .it starts with b'1,2"),
    "no npz": ("a.npz", "1,2\n3,4\n", "not a npz file .it starts with"),
    "other kind": ("a.mat", "MATLAB", "files of kind '.mat' cannot be read; use npy, npz, csv"),
    "no suffix": ("a", "1,2\n3,4\n", "files without a suffix"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_bad_tables_name_file_and_line(tmp_path, name, text, message) -> None:
    file = write(tmp_path, name, text)
    for reader in (ssd.read_dataset, ssd.read_array):
        with pytest.raises(DataError, match=message) as caught:
            reader(file)
        assert "\n" not in str(caught.value)


def test_missing_files_and_directories(tmp_path) -> None:
    write(tmp_path, "images.csv", "1,2\n")
    with pytest.raises(DataError, match=r"no such file: .*image.csv; did you mean 'images.csv'"):
        ssd.read_dataset(tmp_path / "image.csv")
    with pytest.raises(DataError, match=r"no such file: .*looked in"):
        ssd.read_dataset(tmp_path / "nowhere" / "x.npy")
    with pytest.raises(DataError, match="is a directory; name a file in it"):
        ssd.read_dataset(tmp_path)
    with pytest.raises(DataError, match="a path is needed, got int"):
        ssd.read_dataset(3)
    for reader in (ssd.read_array, ssd.read_labels, ssd.read_pairs):
        with pytest.raises(DataError, match="no such file"):
            reader(tmp_path / "x.npy")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8])
def test_npy_round_trip(tmp_path, dtype) -> None:
    X = np.arange(600).reshape(200, 3).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(X))
    np.testing.assert_array_equal(ssd.read_dataset(tmp_path / "a.npy").X, X)
    np.testing.assert_array_equal(ssd.read_array(tmp_path / "a.npy"), X)


def test_three_axes_are_images(tmp_path) -> None:
    images = np.arange(24).reshape(4, 2, 3)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", X=images, y=[0, 1, 0, 1])
    for name in ("a.npy", "b.npz"):
        data = ssd.read_dataset(tmp_path / name)
        assert data.image_shape == (2, 3)
        np.testing.assert_array_equal(data.X, images.reshape(4, 6))


def test_npz_keys(tmp_path) -> None:
    file = tmp_path / "a.npz"
    X, Z = np.arange(8.0).reshape(4, 2), np.ones((4, 3))
    np.savez(file, Z=Z, X=X, labels=list("abba"), source=[4, 4, 2, 2])
    data = ssd.read_dataset(file)
    np.testing.assert_array_equal(data.X, X)
    assert data.y.tolist() == list("abba")
    assert data.source.tolist() == [0, 0, 1, 1]
    assert data.meta["labels_from"] == "key 'labels'"
    assert ssd.read_array(file, key="Z").shape == (4, 3)
    np.savez(file, anything=X, y=[1, 2, 3, 4])
    np.testing.assert_array_equal(ssd.read_dataset(file).X, X)
    np.savez_compressed(file, one=X, two=Z)
    with pytest.raises(DataError, match=r"which array is X.*one, two; call it X, or pass key="):
        ssd.read_dataset(file)
    with pytest.raises(DataError, match="no array 'tow': did you mean 'two'"):
        ssd.read_dataset(file, key="tow")
    np.savez(file, X=X, y=[1, 2, 3, 4], labels=[1, 2, 3, 4])
    with pytest.raises(DataError, match="both y and labels"):
        ssd.read_dataset(file)
    np.savez(file, X=X, y=[1, 2, 3])
    with pytest.raises(DataError, match="y has 3 entries, but X has 4 rows"):
        ssd.read_dataset(file)


def test_label_and_source_files_replace_what_the_data_file_holds(tmp_path) -> None:
    file = write(tmp_path, "a.csv", "a,y\n1,0\n2,1\n3,0\n")
    labels = write(tmp_path, "labels.txt", "cat\ndog\ncat\n")
    np.save(tmp_path / "source.npy", [9, 9, 1])
    data = ssd.load_dataset(file, labels=labels, source=str(tmp_path / "source.npy"))
    assert data.y.tolist() == ["cat", "dog", "cat"]
    assert data.X.tolist() == [[1], [2], [3]]
    assert data.source.tolist() == [0, 0, 1]
    assert data.meta["labels_from"] == str(labels)
    with pytest.raises(DataError, match="source is missing in 1 row, the first at row 1"):
        ssd.read_dataset(file, source=write(tmp_path, "source.csv", "source,other\na,1\n,2\nb,3\n"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.npy", {"label_column": "y"}, "label_column='y' is for text files"),
        ("a.npy", {"key": "X"}, "key='X' names an array of an npz file"),
        ("a.csv", {"key": "X"}, "key='X' names an array of an npz file"),
        ("a.csv", {"label_column": "lable"}, "no column 'lable': did you mean 'label'"),
        ("a.csv", {"label_column": 3}, "a position, must be a whole number between 0 and 1, got 3"),
        ("a.csv", {"label_column": -1}, "between 0 and 1, got -1"),
        ("a.csv", {"label_column": 0.5}, "between 0 and 1, got 0.5"),
        ("a.csv", {"label_column": True}, "between 0 and 1, got True"),
        ("b.csv", {"label_column": "y"}, "has no header, so no column is called 'y'; pass its position, 0 .. 1"),
        ("b.csv", {"image_shape": (2, 2)}, "needs 4 features"),
    ],
)
def test_options_that_do_not_apply_are_refused(tmp_path, name, options, message) -> None:
    np.save(tmp_path / "a.npy", np.eye(2))
    write(tmp_path, "a.csv", "a,label\n1,2\n3,4\n")
    write(tmp_path, "b.csv", "1,2\n3,4\n")
    with pytest.raises(DataError, match=message):
        ssd.read_dataset(tmp_path / name, **options)


class Bomb:
    """Unpickling this would end the test run."""

    def __reduce__(self):
        return (sys.exit, (3,))


def test_nothing_is_unpickled(tmp_path) -> None:
    np.save(tmp_path / "object.npy", np.array([[Bomb(), 1], [2, 3]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "object.npz", X=np.array([[Bomb(), 1], [2, 3]], dtype=object))
    write(tmp_path, "pickle.npy", pickle.dumps(Bomb()))
    write(tmp_path, "pickle.npz", pickle.dumps(Bomb()))
    for name in ("object.npy", "object.npz", "pickle.npy", "pickle.npz"):
        for reader in (ssd.read_dataset, ssd.read_array, ssd.read_labels):
            with pytest.raises(DataError, match="pickled Python objects"):
                reader(tmp_path / name)


def test_an_object_array_beside_x_does_not_matter(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", X=np.eye(2), names=np.array(["a", None], dtype=object))
    assert ssd.read_dataset(tmp_path / "a.npz").X.tolist() == [[1, 0], [0, 1]]


def test_files_cut_anywhere_are_refused_in_one_sentence(tmp_path) -> None:
    X = np.random.default_rng(0).random((300, 3))
    np.save(tmp_path / "whole.npy", X)
    np.savez(tmp_path / "whole.npz", X=X)
    np.savez_compressed(tmp_path / "compressed.npz", X=X)
    for name in ("whole.npy", "whole.npz", "compressed.npz"):
        whole = (tmp_path / name).read_bytes()
        for length in [1, 5, 9, 60, 127, 128, 129, 900, 2000, len(whole) // 2, len(whole) - 8, len(whole) - 1]:
            cut = write(tmp_path, "cut" + name[-4:], whole[:length])
            with pytest.raises(DataError, match="truncated or not a") as caught:
                ssd.read_dataset(cut)
            assert "\n" not in str(caught.value)


def test_damaged_archives_are_refused(tmp_path) -> None:
    np.savez_compressed(tmp_path / "a.npz", X=np.random.default_rng(0).random((300, 3)))
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    for place in range(200, len(whole) - 200, 500):
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        with pytest.raises(DataError, match="truncated or not a"):
            ssd.read_dataset(write(tmp_path, "b.npz", bytes(damaged)))


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path) -> None:
    for name, n_bytes in (("small.npy", 16), ("large.npy", 5000)):
        with (tmp_path / name).open("wb") as stream:
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**5)}
            )
            stream.write(bytes(n_bytes))
        with pytest.raises(DataError, match="truncated"):
            ssd.read_dataset(tmp_path / name)


def test_archives_with_the_wrong_suffix_are_named(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((200, 3)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.ones((200, 3)))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"is an npz archive; give it the suffix .npz"):
        ssd.read_dataset(tmp_path / "a.npy")
    for reader in (ssd.read_dataset, ssd.read_labels, ssd.read_pairs):
        with pytest.raises(DataError, match=r"is a single npy array; give it the suffix .npy"):
            reader(tmp_path / "b.npz")


# --- readers: labels -------------------------------------------------------------------------------------------------


LABEL_FILES = {
    "ints": ("y.csv", "3\n1\n2\n", [3, 1, 2]),
    "ints with header": ("y.csv", "whatever\n3\n1\n", [3, 1]),
    "text": ("y.txt", "cat\ndog\n", ["cat", "dog"]),
    "text with known header": ("y.csv", "label\ncat\ndog\n", ["cat", "dog"]),
    "text with blanks": ("y.txt", "New York\nRome\n", ["New York", "Rome"]),
    "text with commas": ("y.tsv", "Rome, GA\nYork, PA\n", ["Rome, GA", "York, PA"]),
    "byte order mark": ("y.csv", "\ufefflabel\ncat\ndog\n", ["cat", "dog"]),
    "floats": ("y.csv", "0.5\n1\n", [0.5, 1.0]),
    "a blank line is a missing label": ("y.txt", "cat\n\ndog\n\n", ["cat", "", "dog"]),
    "a blank line among ints": ("y.txt", "1\n\n2\n", [1, -1, 2]),
    "column of a table": ("y.csv", "id,label\n7,cat\n8,dog\n", ["cat", "dog"]),
    "quotes": ("y.csv", '"cat"\n"dog"\n', ["cat", "dog"]),
}


@pytest.mark.parametrize(("name", "text", "y"), LABEL_FILES.values(), ids=LABEL_FILES.keys())
def test_labels_from_text(tmp_path, name, text, y) -> None:
    labels = ssd.read_labels(write(tmp_path, name, text))
    assert labels.tolist() == y
    assert labels.dtype.kind == {int: "i", str: "U", float: "f"}[type(y[0])]


def test_labels_from_arrays(tmp_path) -> None:
    np.save(tmp_path / "y.npy", np.array([2, 0, 1], np.uint8))
    assert ssd.read_labels(tmp_path / "y.npy").tolist() == [2, 0, 1]
    np.savez(tmp_path / "a.npz", X=np.eye(3), y=list("abc"))
    assert ssd.read_labels(tmp_path / "a.npz").tolist() == list("abc")
    np.savez(tmp_path / "b.npz", anything=[1.5, 2.5])
    assert ssd.read_labels(tmp_path / "b.npz").tolist() == [1.5, 2.5]
    np.savez(tmp_path / "c.npz", a=[1, 2], b=[1, 2])
    with pytest.raises(DataError, match=r"which array holds the labels. It has a, b; call it y"):
        ssd.read_labels(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,4\n", "has 2 columns and no header; the labels need one column"),
        ("a,b\n1,2\n", "which column holds the labels. It has a, b"),
        ("label\n", "has a header .label. and no rows"),
        ("1\n99999999999999999999\n", "beyond int64"),
    ],
)
def test_bad_label_files(tmp_path, text, message) -> None:
    with pytest.raises(DataError, match=message):
        ssd.read_labels(write(tmp_path, "y.csv", text))


# --- readers: pairs --------------------------------------------------------------------------------------------------


PAIRS = {
    "plain": ("p.csv", "0,1\n2,3\n", [0, 2], [1, 3], None),
    "header": ("p.csv", "i,j\n0,1\n2,3\n", [0, 2], [1, 3], None),
    "other header": ("p.csv", "from,to\n0,1\n2,3\n", [0, 2], [1, 3], None),
    "weights": ("p.csv", "0,1,0.5\n2,3,2\n", [0, 2], [1, 3], [0.5, 2]),
    "weights by name": ("p.csv", "from,to,Weight\n0,1,0.5\n2,3,2\n", [0, 2], [1, 3], [0.5, 2]),
    "another order": ("p.csv", "weight,j,i\n0.5,1,0\n2,3,2\n", [0, 2], [1, 3], [0.5, 2]),
    "another order, whole weights": ("p.csv", "weight,j,i\n5,1,0\n7,3,2\n", [0, 2], [1, 3], [5, 7]),
    "one pair": ("p.csv", "4,5\n", [4], [5], None),
    "one weighted pair": ("p.csv", "4,5,0\n", [4], [5], [0]),
    "blanks and comments": ("p.txt", "# an edge list\n0 1\n2 3\n", [0, 2], [1, 3], None),
    "tabs": ("p.tsv", "i\tj\n0\t1\n2\t3\n", [0, 2], [1, 3], None),
    "whole floats": ("p.csv", "0.0,1\n2.0,3e0\n", [0, 2], [1, 3], None),
    "exact beyond float": ("p.csv", f"{2**53 + 1},{2**63 - 1}\n", [2**53 + 1], [2**63 - 1], None),
    "self pair": ("p.csv", "3,3\n", [3], [3], None),
}


@pytest.mark.parametrize(("name", "text", "i", "j", "weight"), PAIRS.values(), ids=PAIRS.keys())
def test_pairs_from_text(tmp_path, name, text, i, j, weight) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ssd.read_pairs(write(tmp_path, name, text))
    assert found[0].tolist() == i
    assert found[1].tolist() == j
    assert found[0].dtype == found[1].dtype == np.int64
    assert (found[2] if weight is None else found[2].tolist()) == weight


BAD_PAIRS = {
    "fraction": ("0,1\n2,3.7\n", "line 2, column 1 is 3.7, not a whole number"),
    "fraction under header": ("i,j\n0,1\n\n2.5,3\n", "line 4, column 'i' is 2.5, not a whole number"),
    "negative": ("0,1\n2,3\n-1,4\n", "line 3, column 0 is -1; row numbers count from 0"),
    "word": ("0,1\n2,x\n", "line 2, column 1 is 'x', not a row number"),
    "empty": ("0,1\n2,\n", "line 2, column 1 is '', not a row number"),
    "int64": ("0,1\n9223372036854775808,2\n", "line 2, column 0 is 9223372036854775808, beyond int64"),
    "inexact float": ("0,1\n1e300,2\n", "line 2, column 0 is 1e300, too large to be exact"),
    "nan": ("0,1\nnan,2\n", "line 2, column 0 is nan, not a whole number"),
    "negative weight": ("0,1,1\n1,2,-0.5\n", "line 2, column 2 is '-0.5'; weights are finite numbers >= 0"),
    "nan weight": ("0,1,1\n1,2,nan\n", "line 2, column 2 is 'nan'; weights"),
    "word weight": ("0,1,1\n1,2,heavy\n", "line 2, column 2 is 'heavy'; weights"),
    "short row": ("0,1,1\n1,2\n", "line 2 has 2 cells, the first row has 3"),
    "long row": ("0,1\n1,2\n2,3,4\n", "line 3 has 3 cells, the first row has 2"),
    "one column": ("0\n1\n", "the file has 1 columns"),
    "one named column": ("i\n0\n1\n", "the header has i"),
    "four columns": ("0,1,2,3\n", "the file has 4 columns"),
    "unknown third column": ("from,to,time\n0,1,5\n", "the header has from, to, time"),
    "two weights": ("i,j,w,weight\n0,1,2,3\n", "the header has i, j, w, weight"),
    "two weights without i and j": ("from,to,w,weight\n0,1,2,3\n", "the header has from, to, w, weight"),
    "weight as a row number": ("weight,a\n5,1\n", "the header has weight, a"),
    "weight in between": ("from,w,to\n5,1,2\n", "the header has from, w, to"),
    "header only": ("i,j\n", r"has a header \(i, j\) and no rows"),
}


@pytest.mark.parametrize(("text", "message"), BAD_PAIRS.values(), ids=BAD_PAIRS.keys())
def test_bad_pairs_name_the_line(tmp_path, text, message) -> None:
    with pytest.raises(DataError, match=message):
        ssd.read_pairs(write(tmp_path, "p.csv", text))


def test_pairs_from_arrays(tmp_path) -> None:
    np.save(tmp_path / "p.npy", [[0, 1], [2, 3]])
    i, j, weight = ssd.read_pairs(tmp_path / "p.npy")
    assert (i.tolist(), j.tolist(), weight) == ([0, 2], [1, 3], None)
    np.save(tmp_path / "p.npy", [[0, 1, 0.5], [2, 3, 1.5]])
    i, j, weight = ssd.read_pairs(tmp_path / "p.npy")
    assert (i.tolist(), j.tolist(), weight.tolist()) == ([0, 2], [1, 3], [0.5, 1.5])
    np.savez(tmp_path / "p.npz", j=np.array([1, 3], np.uint64), i=[0, 2], weight=[1, 2])
    i, j, weight = ssd.read_pairs(tmp_path / "p.npz")
    assert (i.tolist(), j.tolist(), weight.tolist()) == ([0, 2], [1, 3], [1.0, 2.0])
    assert i.dtype == j.dtype == np.int64


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"i": [0, 1], "j": [1.5, 2]}, "j of pair 0 is 1.5, not a whole number"),
        ({"i": [0, 1], "j": [1, -2]}, "j of pair 1 is -2; row numbers count from 0"),
        ({"i": [0, 1], "j": [1]}, r"j has shape \(1,\)"),
        ({"i": [0, 1], "j": [1, 2], "weight": [1.0, np.nan]}, "weight of pair 1 is nan"),
        ({"i": [0, 1], "j": [1, 2], "weight": [1.0, -1]}, "weight of pair 1 is -1.0"),
        ({"i": [0, 1], "j": [1, 2], "weight": ["a", "b"]}, "weights have dtype <U1"),
        ({"i": np.array([0, 2**63], np.uint64), "j": [1, 2]}, "i of pair 1 is 9223372036854775808, beyond int64"),
        ({"i": ["a", "b"], "j": [1, 2]}, "i has dtype <U1"),
        ({"i": np.zeros(0, int), "j": np.zeros(0, int)}, "holds no pairs"),
        ({"a": [0], "b": [1]}, "need the keys i and j .and weight., the file has a, b"),
    ],
)
def test_bad_pair_arrays(tmp_path, arrays, message) -> None:
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(DataError, match=message):
        ssd.read_pairs(tmp_path / "p.npz")


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 4), (2, 2, 2)])
def test_pair_arrays_of_another_shape(tmp_path, shape) -> None:
    np.save(tmp_path / "p.npy", np.zeros(shape, int))
    with pytest.raises(DataError, match=r"need shape \(P, 2\), or \(P, 3\)"):
        ssd.read_pairs(tmp_path / "p.npy")


@given(
    st.lists(
        st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.floats(0, 1e300)), min_size=1, max_size=8
    )
)
@settings(max_examples=60)
def test_pairs_survive_the_way_through_text_exactly(tmp_path_factory, pairs) -> None:
    file = tmp_path_factory.mktemp("pairs") / "p.csv"
    file.write_text("i,j,weight\n" + "".join(f"{i},{j},{w!r}\n" for i, j, w in pairs))
    i, j, weight = ssd.read_pairs(file)
    assert list(zip(i.tolist(), j.tolist(), weight.tolist(), strict=True)) == pairs
