"""Readers of IDX, STL-10 and folders of pictures, the sets by name, and the memory they ask for.

Witnesses: struct and naive loops for the layouts (the pixel at row r, column c of channel k is a known function),
pillow for pictures. A file that lies or is cut ends in one sentence.
"""

from __future__ import annotations

import gzip
import struct
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    CODES,
    digit,
    idx_bytes,
    loads,
    packed_tar,
    picture,
    stl,
    stl_bytes,
    write_cifar10,
    write_mnist,
    write_pictures,
    write_stl10,
)

from spectral_ssl import data as ssd
from spectral_ssl import spec
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_idx_images_come_row_by_row_with_the_labels_beside_them(tmp_path, packed) -> None:
    write_mnist(tmp_path, packed=packed)
    write_mnist(tmp_path, n=5, packed=packed, start="t10k")
    file = tmp_path / ("train-images-idx3-ubyte" + (".gz" if packed else ""))
    for data in (ssd.read_dataset(file), ssd.read_dataset(tmp_path), ssd.load_dataset("mnist", path=tmp_path)):
        assert data.X.shape == (6, 12)
        assert data.image_shape == (4, 3)
        assert all(data.X[n, 3 * r + c] == digit(n, r, c) for n in range(6) for r in range(4) for c in range(3))
        assert data.y.tolist() == [0, 1, 2, 0, 1, 2]
        assert "labels-idx1-ubyte" in data.meta["labels_from"]
        assert data.meta["pixels"] == "0 .. 255, as stored"
    assert ssd.read_dataset(tmp_path, split="test").n_samples == 5
    assert ssd.load_dataset("fashion_mnist", path=tmp_path, split="test").meta["target_names"][8] == "Bag"


def test_idx_parts_scaled_and_limited(tmp_path) -> None:
    write_mnist(tmp_path, n=9)
    part = ssd.read_dataset(tmp_path, classes=[1, 2], limit=4, scale="unit")
    rows = [1, 2, 4, 5]
    assert part.y.tolist() == [1, 2, 1, 2]
    expected = [[digit(n, r, c) / 255 for r in range(4) for c in range(3)] for n in rows]
    np.testing.assert_array_equal(part.X, expected)
    assert part.X.max() <= 1
    assert part.meta["taken"] == "4 of 9 images"
    bags = ssd.load_dataset("fashion_mnist", path=tmp_path, classes=("Trouser", "Pullover"))
    assert bags.y.tolist() == [1, 2] * 3
    assert ssd.load_dataset("mnist", path=tmp_path, classes=2).n_samples == 3


def test_a_torchvision_folder_is_found_and_two_sets_in_it_are_told_apart(tmp_path) -> None:
    write_mnist(tmp_path / "FashionMNIST" / "raw", n=4)
    write_mnist(tmp_path / "MNIST" / "raw", n=5, dot=".")
    assert ssd.load_dataset("mnist", path=tmp_path).n_samples == 5
    assert ssd.load_dataset("fashion_mnist", path=tmp_path).n_samples == 4
    loads(tmp_path, "holds FashionMNIST/raw/train-images-idx3-ubyte, MNIST/raw/train-images.idx3-ubyte; name one")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), code=st.sampled_from(sorted(CODES)), packed=st.booleans())
def test_idx_arrays_survive_the_way_through_a_file_in_every_type(tmp_path_factory, data, code, packed) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=3))
    kind = {"B": np.uint8, "b": np.int8, "h": np.int16, "i": np.int32, "f": np.float32, "d": np.float64}[CODES[code]]
    if np.issubdtype(kind, np.integer):
        entry = st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    else:
        entry = st.floats(-(2.0**90), 2.0**90, width=32)
    shape[0] += 1  # a data set has two rows at least
    size = int(np.prod(shape))
    array = np.array(data.draw(st.lists(entry, min_size=size, max_size=size)), dtype=kind).reshape(shape)
    file = tmp_path_factory.mktemp("idx") / ("any.gz" if packed else "any")
    content = idx_bytes(array, code)
    file.write_bytes(gzip.compress(content) if packed else content)
    found = ssd.read_dataset(file)
    np.testing.assert_array_equal(found.X, array.reshape(len(array), -1).astype(float))
    assert found.y is None
    assert found.image_shape == (tuple(shape[1:]) if len(shape) == 3 else None)


@pytest.mark.parametrize("code", CODES)
def test_idx_entries_of_several_bytes_are_big_endian(tmp_path, code) -> None:
    (tmp_path / "any").write_bytes(idx_bytes([[1, 2], [3, 4]], code))
    assert ssd.read_dataset(tmp_path / "any").X.tolist() == [[1, 2], [3, 4]]


def test_idx_labels_can_be_read_alone(tmp_path) -> None:
    write_mnist(tmp_path, packed=True)
    assert ssd.read_labels(tmp_path / "train-labels-idx1-ubyte.gz").tolist() == [0, 1, 2, 0, 1, 2]


def test_broken_idx_files_say_what_is_wrong(tmp_path) -> None:
    write_mnist(tmp_path)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    whole, names = images.read_bytes(), labels.read_bytes()
    loads(labels, "one axis of 6 entries, as labels do; name the file of images")
    for cut in (1, 3, 7, 15):
        images.write_bytes(whole[:cut])
        loads(images, "no IDX file|header ends after")
    images.write_bytes(whole[:-1])
    loads(images, r"header says shape \(6, 4, 3\), 72 bytes, and it has 71")
    images.write_bytes(whole + b"\0")
    loads(images, "72 bytes, and it has 73")
    images.write_bytes(b"\0\0\x07" + whole[3:])
    loads(images, "no IDX file: it starts with")
    images.write_bytes(b"\x89PNG" + whole[4:])
    loads(images, "no IDX file: it starts with")
    images.write_bytes(whole)
    labels.write_bytes(idx_bytes([0, 1, 2]))
    loads(images, "has 3 labels, but there are 6 images")
    labels.write_bytes(whole)
    loads(images, "should hold labels.*are images and labels swapped")
    labels.write_bytes(idx_bytes([0.5] * 6, 0x0D))
    loads(images, "should hold labels")
    images.write_bytes(names)
    loads(tmp_path, "as labels do")
    images.write_bytes(b"")
    loads(tmp_path, "is empty .0 bytes.")
    loads(tmp_path, "has no t10k-images", split="test")
    loads(tmp_path, "split must be one of 'train', 'test', got 'tset'", split="tset")
    loads(labels, "split='train' chooses among the files of a directory", split="train")


@pytest.mark.parametrize("shape", [(0, 28, 28), (5, 0, 28), (5, 28, 0), (5, 0), (5, 2, 0, 3)])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_idx_files_without_entries_are_refused(tmp_path, shape, packed) -> None:
    content = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    file = tmp_path / ("any.gz" if packed else "any")
    file.write_bytes(gzip.compress(content) if packed else content)
    loads(file, "holds nothing: its header says shape")


def test_broken_gz_files_say_what_is_wrong(tmp_path) -> None:
    write_mnist(tmp_path, packed=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for cut in (5, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        loads(file, "truncated or not a gzip file|no IDX file")
    file.write_bytes(b"no archive at all")
    loads(file, "not a gzip file")
    file.write_bytes(gzip.compress(gzip.decompress(whole) + b"\0"))
    loads(file, "72 bytes, and it has more")
    file.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    loads(file, "72 bytes, and it has 71")
    huge = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31)
    file.write_bytes(gzip.compress(huge))
    loads(file, "and it has far fewer")  # refused before 2^93 bytes are asked for


def test_options_of_parts_are_checked(tmp_path) -> None:
    write_mnist(tmp_path)
    loads(tmp_path, "no row has the class 7", classes=[7])
    loads(tmp_path, "no row has the class 'seven'", classes="seven")
    loads(tmp_path, "classes= is empty", classes=[])
    loads(tmp_path, "limit must be a whole number at least 2, got 1", limit=1)
    loads(tmp_path, "scale must be one of 'stored', 'unit', got 'half'", scale="half")
    loads(tmp_path, "no option 'channels'", channels="gray")
    loads(tmp_path, "no option 'clases'; did you mean 'classes'", clases=[1])
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    loads(tmp_path, "classes= needs labels", classes=[1])
    (tmp_path / "f").write_bytes(idx_bytes(np.ones((3, 2, 2)), 0x0D))
    loads(tmp_path / "f", "scale='unit' divides bytes by 255, but the pixels are", scale="unit")


def test_stl10_is_column_major_and_labels_count_from_zero(tmp_path) -> None:
    folder = tmp_path / "stl10_binary"
    write_stl10(folder)
    packed_tar(tmp_path / "stl10_binary.tar.gz", folder)
    for place in (folder, tmp_path, tmp_path / "stl10_binary.tar.gz", folder / "train_X.bin"):
        data = ssd.read_dataset(place)
        assert data.image_shape == (96, 96, 3)
        images = data.X.reshape(4, 96, 96, 3)
        assert all(
            images[n, r, c, k] == stl(n, k, r, c)
            for n in range(4) for r in (0, 1, 50, 95) for c in (0, 2, 71, 95) for k in range(3)
        )  # fmt: skip
        assert data.y.tolist() == [(3 * n) % 10 for n in range(4)]
        assert data.meta["target_names"][3] == "cat"
    assert ssd.load_dataset("stl10", path=folder, split="test").y.tolist() == [2, 5, 8]
    unlabeled = ssd.load_dataset("stl10", path=folder, split="unlabeled")
    assert unlabeled.y is None
    assert unlabeled.X[0, 0] == stl(7, 0, 0, 0)
    fold = ssd.load_dataset("stl10", path=folder, fold=9)  # rows 1 and 2
    assert fold.y.tolist() == [3, 6]
    assert fold.X[1, 3 * 96 * 5 + 3 * 8 + 1] == stl(2, 1, 5, 8)


def test_broken_stl10_says_what_is_wrong(tmp_path) -> None:
    write_stl10(tmp_path)
    loads(tmp_path, "fold=1 is a part of split='train', not of 'test'", split="test", fold=1)
    loads(tmp_path, "fold must be a whole number between 0 and 9, got 10", fold=10)
    loads(tmp_path, "classes= needs labels", split="unlabeled", classes=[1])
    (tmp_path / "fold_indices.txt").write_text("0 9999\n")
    loads(tmp_path, "row 9999 of fold 0, but 4 images", fold=0)
    (tmp_path / "fold_indices.txt").write_text("zero one\n")
    loads(tmp_path, "should have 10 lines of row numbers", fold=0)
    for digits in (25, 5000):
        (tmp_path / "fold_indices.txt").write_text("9" * digits)
        loads(tmp_path, "should have 10 lines of row numbers", fold=0)
    (tmp_path / "fold_indices.txt").write_text("0 2 1 2\n")
    loads(tmp_path, "fold 0 lists row 2 twice", fold=0)
    names = (tmp_path / "class_names.txt").read_text()
    (tmp_path / "class_names.txt").write_text("one\ntwo\n")
    loads(tmp_path, "label 9 has no name, the file of names has 2")
    (tmp_path / "class_names.txt").write_text(names)
    (tmp_path / "train_y.bin").write_bytes(b"\1\2\3")
    loads(tmp_path, "has 3 labels, but there are 4 images")
    (tmp_path / "train_y.bin").write_bytes(b"\1\2\0\4")
    loads(tmp_path, "label 2 is 0; labels of STL-10 are 1 .. 10")
    (tmp_path / "train_y.bin").unlink()
    loads(tmp_path, "train_X.bin and no train_y.bin")
    (tmp_path / "train_X.bin").write_bytes(bytes(1000))
    loads(tmp_path, "1,000 bytes are no multiple of 27,648")
    (tmp_path / "train_X.bin").write_bytes(b"")
    loads(tmp_path, "is empty")
    (tmp_path / "train_X.bin").unlink()
    loads(tmp_path, "has no train_X.bin; it has class_names.txt")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG", ".tif", ".ppm"])
def test_pictures_of_folders_come_sorted_with_the_folders_as_classes(tmp_path, suffix) -> None:
    arrays = write_pictures(tmp_path, suffix)
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / "cat" / "notes.txt").write_text("no picture either")
    for data in (ssd.read_dataset(tmp_path), ssd.load_dataset("image_folder", path=tmp_path)):
        order = ["cat/a", "cat/b", "cat/deep/c", "dog/a", "dog/z"]
        assert data.meta["files"] == tuple(name + suffix for name in order)
        assert data.y.tolist() == ["cat"] * 3 + ["dog"] * 2
        assert data.image_shape == (5, 4, 3)
        np.testing.assert_array_equal(data.X, [arrays[name].ravel() for name in order])
        assert "files" not in data.subset([0, 3]).meta


def test_links_show_every_picture_once_under_its_own_class(tmp_path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_pictures(root)
    write_pictures(root / ".store")
    write_pictures(outside)
    before = ssd.read_dataset(root).meta["files"]
    (root / "alias").symlink_to("dog")  # sorted before it
    (root / "cat" / "again.png").symlink_to("../dog/z.png")
    (root / "cat" / "up").symlink_to("..")
    (root / "dog" / "above").symlink_to(tmp_path)
    (root / "dog" / "loop").symlink_to("loop")
    assert ssd.read_dataset(root).meta["files"] == before
    (root / "emu").symlink_to(outside / "dog")  # what lies elsewhere, or hidden, is shown by its link, and once
    (root / "fox").symlink_to(outside / "dog")
    (root / "gnu").mkdir()
    (root / "gnu" / "a.png").symlink_to("../.store/dog/a.png")
    (outside / "dog" / "loop").symlink_to(outside / "dog")
    data = ssd.read_dataset(root)
    assert data.meta["files"] == (*before, "emu/a.png", "emu/z.png", "gnu/a.png")
    (root / "cat" / "gone.png").symlink_to("nowhere.png")
    loads(root, "gone.png cannot be read as a picture")


def test_pictures_resized_gray_limited_and_flat(tmp_path) -> None:
    write_pictures(tmp_path)
    small = ssd.read_dataset(tmp_path, size=(2, 3), channels="gray", scale="unit", limit=3)
    assert small.image_shape == (2, 3)
    assert small.y.tolist() == ["cat", "cat", "dog"]  # one of every class in turn
    image = Image.open(tmp_path / "cat" / "a.png").convert("L").resize((3, 2), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small.X[0], np.asarray(image).ravel() / 255)
    assert ssd.read_dataset(tmp_path, size=8, classes="dog").image_shape == (8, 8, 3)
    flat = ssd.read_dataset(tmp_path / "dog")
    assert flat.y is None
    assert flat.n_samples == 2
    grey = tmp_path / "grey"
    grey.mkdir()
    for n in range(2):
        picture(n, mode="L")[0].save(grey / f"{n}.png")
    assert ssd.read_dataset(grey).image_shape == (5, 4)
    assert ssd.read_dataset(grey, channels="rgb").image_shape == (5, 4, 3)


def test_corrupt_pictures_are_named_or_skipped_with_a_count(tmp_path) -> None:
    arrays = write_pictures(tmp_path)
    whole = (tmp_path / "cat" / "b.png").read_bytes()
    (tmp_path / "cat" / "b.png").write_bytes(whole[:-30])  # the header is whole, the pixels are not
    loads(tmp_path, "b.png cannot be read as a picture")
    (tmp_path / "dog" / "a.png").write_bytes(b"no picture")
    loads(tmp_path, "dog.a.png cannot be read as a picture")
    with pytest.warns(SpectralWarning, match="2 of 5 pictures cannot be read and were left out, the first: .*a.png"):
        data = ssd.read_dataset(tmp_path, skip=True)
    assert data.meta["files"] == ("cat/a.png", "cat/deep/c.png", "dog/z.png")
    assert data.y.tolist() == ["cat", "cat", "dog"]
    np.testing.assert_array_equal(data.X, [arrays[name].ravel() for name in ("cat/a", "cat/deep/c", "dog/z")])


def test_folders_that_cannot_be_meant_are_refused(tmp_path) -> None:
    write_pictures(tmp_path / "train")
    write_pictures(tmp_path / "test")
    loads(tmp_path, "holds the splits test, train: name one")
    picture(0, 7, 7)[0].save(tmp_path / "train" / "cat" / "a.png")
    loads(tmp_path / "train", r"2 sizes: .*a.png is 7 x 7 .height x width., .*b.png is 5 x 4; pass size=32")
    picture(0)[0].save(tmp_path / "test" / "loose.png")
    loads(tmp_path / "test", "has 1 pictures beside its folders cat, dog")
    loads(tmp_path / "test" / "loose.png", "is one picture; name the folder")
    (tmp_path / "empty").mkdir()
    loads(tmp_path / "empty", "is a directory; name a file in it, or a folder of .*; it holds nothing")
    with pytest.raises(DataError, match="holds no pictures"):
        ssd.load_dataset("image_folder", path=tmp_path / "empty")
    loads(tmp_path / "train", "size must be .height, width. or one number", size=(1, 2, 3))
    loads(tmp_path / "train", "no row has the class 'cow'", classes="cow")
    deep = tmp_path / "deep"
    deep.mkdir()
    Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4)).save(deep / "a.png")
    loads(deep, "deeper than a byte .mode I")


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch) -> None:
    write_pictures(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    loads(tmp_path, r"reading pictures needs pillow, which is not installed: pip install 'spectral_ssl\[data\]'")


NAMED = {
    "mnist": ("train-images-idx3-ubyte.gz", "yann.lecun.com"),
    "fashion_mnist": ("train-images-idx3-ubyte.gz", "github.com/zalandoresearch/fashion-mnist"),
    "cifar10": ("cifar-10-python.tar.gz", "www.cs.toronto.edu/~kriz/cifar.html"),
    "cifar100": ("cifar-100-python.tar.gz", "www.cs.toronto.edu/~kriz/cifar.html"),
    "stl10": ("stl10_binary.tar.gz", "cs.stanford.edu/~acoates/stl10"),
}


@pytest.mark.parametrize("name", NAMED)
def test_an_absent_set_says_which_files_are_needed_and_where_they_are(tmp_path, monkeypatch, name) -> None:
    monkeypatch.delenv("SPECTRAL_SSL_DATA", raising=False)
    file, page = NAMED[name]
    for options in ({}, {"path": tmp_path / "nowhere"}, {"path": tmp_path}):
        with pytest.raises(DataError) as caught:
            ssd.load_dataset(name, **options)
        assert file in str(caught.value)
        assert page in str(caught.value)
    with pytest.raises(DataError, match="nothing is downloaded: pass path=, or set SPECTRAL_SSL_DATA"):
        ssd.load_dataset(name)
    monkeypatch.setenv("SPECTRAL_SSL_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"no such file or folder: .*{name}; needed: "):
        ssd.load_dataset(name)


def test_the_environment_names_the_folder_of_all_sets(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SPECTRAL_SSL_DATA", str(tmp_path))
    write_mnist(tmp_path / "mnist")
    write_cifar10(tmp_path / "cifar10")
    write_pictures(tmp_path / "image_folder")
    assert ssd.load_dataset("mnist").name == "mnist"
    assert ssd.load_dataset("cifar10").n_samples == 10
    assert ssd.load_dataset("image_folder").n_samples == 5
    with pytest.raises(DataError, match="does not hold mnist; needed: train-images"):
        ssd.load_dataset("mnist", path=tmp_path / "cifar10")
    with pytest.raises(DataError, match="option split must be one of train, test, got 'tset'"):
        ssd.load_dataset("mnist", split="tset")
    assert all(ssd.DATASETS[name].__doc__ for name in ("mnist", "cifar10", "image_folder"))


def test_sets_may_be_written_as_calls_and_folders_as_paths(tmp_path) -> None:
    """What the command line passes on: text, parsed and checked against the signature."""
    write_cifar10(tmp_path)
    name, options = spec.parse_call(f"cifar10(path={str(tmp_path)!r}, classes=(cat, dog), channels=gray, scale=unit)")
    data = ssd.load_dataset(name, **options)
    assert data.y.tolist() == [3, 5]
    assert data.X.max() <= 1
    name, options = spec.parse_call(f"cifar10(path={str(tmp_path)!r}, split=test, classes=1)")
    with pytest.raises(DataError, match="X has 1 row"):
        ssd.load_dataset(name, **options)
    assert ssd.load_dataset(str(tmp_path), split="test").n_samples == 2
    name, options = spec.parse_call(f"file(path={str(tmp_path)!r}, split=test, channels=gray, name=mine)")
    data = ssd.load_dataset(name, **options)
    assert (data.name, data.image_shape, data.n_samples) == ("mine", (32, 32), 2)
    with pytest.raises(DataError, match="data set file needs a value for path"):
        ssd.load_dataset("file", split="test")
    with pytest.raises(DataError, match="cifar10 data have no option 'size'"):
        ssd.load_dataset("file", path=tmp_path, size=3)
    with pytest.raises(DataError, match=r"data set cifar10 has no option 'spilt'; did you mean 'split'"):
        ssd.load_dataset("cifar10", spilt="test")
    with pytest.raises(DataError, match="unknown data set"):
        ssd.load_dataset("x" * 5000)
    with pytest.raises(DataError, match="cannot be opened"):
        ssd.read_dataset("x" * 5000)


def test_what_does_not_fit_is_refused_before_it_is_read(tmp_path, monkeypatch) -> None:
    write_mnist(tmp_path / "mnist")
    write_cifar10(tmp_path / "cifar")
    write_stl10(tmp_path / "stl")
    write_pictures(tmp_path / "pictures")
    monkeypatch.setattr("spectral_ssl.data._memory.available_memory", lambda: 400.0)
    for folder, what in (("mnist", "6 rows of 12 features"), ("pictures", "5 pictures of 60 features")):
        with pytest.raises(ResourceError, match=f"{what} as float64 needs .* are free; take a part with limit="):
            ssd.read_dataset(tmp_path / folder)
    assert ssd.read_dataset(tmp_path / "mnist", limit=3).n_samples == 3  # 3 x 12 x 8 = 288 bytes, 320 may be used
    for folder in ("cifar", "stl"):
        with pytest.raises(ResourceError, match="needs"):
            ssd.read_dataset(tmp_path / folder)
    for shape in ((6, 12), (6, 2, 2, 3)):
        (tmp_path / "axes").write_bytes(idx_bytes(np.ones(shape, int)))
        with pytest.raises(ResourceError, match=r"6 rows of 12 features as float64 needs .*; take a part with limit="):
            ssd.read_dataset(tmp_path / "axes")
        assert ssd.read_dataset(tmp_path / "axes", limit=3).n_samples == 3


def test_what_is_promised_by_sparse_files_takes_no_memory(tmp_path) -> None:
    """An STL-10 of 100,000 unlabelled images: 22 GB as float64, of which three rows are asked for."""
    with (tmp_path / "unlabeled_X.bin").open("wb") as stream:
        stream.write(stl_bytes(1))
        stream.truncate(100_000 * 27_648)
    data = ssd.read_dataset(tmp_path, split="unlabeled", limit=3)
    assert data.n_samples == 3
    assert data.X[0, 4] == stl(1, 1, 0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data.X[1:].max() == 0
