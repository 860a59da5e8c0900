"""Readers of CIFAR, and the unpickler that runs nothing.

Witnesses: a pickle written opcode by opcode as Python 2 wrote it, naive loops over pixels, bombs that go off in the
standard unpickler and must not here.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import pickle
import sys
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    CLASS_NAMES,
    batch,
    colour,
    loads,
    packed_tar,
    planes,
    python2_pickle,
    write_cifar10,
    write_cifar100,
    write_mnist,
)

from spectral_ssl import data as ssd
from spectral_ssl.data.readers.unpickle import load_pickle
from spectral_ssl.errors import DataError


def assert_colours(data, numbers) -> None:
    assert data.image_shape == (32, 32, 3)
    images = data.X.reshape(-1, 32, 32, 3)
    for row, n in enumerate(numbers):
        expected = [[[colour(n, k, r, c) for k in range(3)] for c in range(32)] for r in range(32)]
        assert images[row].tolist() == expected


def test_the_pickle_written_here_is_what_python_reads() -> None:
    """The hand-written protocol is a true one: the standard unpickler agrees with it."""
    found = pickle.loads(python2_pickle(batch(range(3))), encoding="latin1")
    np.testing.assert_array_equal(found["data"], batch(range(3))[b"data"])
    assert found["labels"] == [0, 1, 2]


def test_cifar10_python_version_as_folder_tar_and_single_batch(tmp_path) -> None:
    folder = tmp_path / "root" / "cifar-10-batches-py"
    write_cifar10(folder)
    packed_tar(tmp_path / "cifar-10-python.tar.gz", folder)
    packed_tar(tmp_path / "renamed.tgz", folder)
    packed_tar(tmp_path / "plain.tar", folder, "w")
    before = sorted(tmp_path.rglob("*"))
    places = [folder, folder.parent, tmp_path / "cifar-10-python.tar.gz", tmp_path / "renamed.tgz"]
    for place in [*places, tmp_path / "plain.tar"]:
        for data in (ssd.read_dataset(place), ssd.load_dataset("cifar10", path=place)):
            assert_colours(data, range(10))
            assert data.y.tolist() == list(range(10))
            assert data.meta["target_names"][3] == "cat"
        test = ssd.read_dataset(place, split="test")
        assert_colours(test, [10, 11])
        assert test.y.tolist() == [0, 1]
    single = ssd.read_dataset(folder / "data_batch_3")
    assert_colours(single, [4, 5])
    assert ssd.load_dataset("cifar10", path=tmp_path).n_samples == 10  # the archive in the folder
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked beside


def test_cifar_parts_by_name_gray_and_scaled(tmp_path) -> None:
    write_cifar10(tmp_path)
    data = ssd.load_dataset("cifar10", path=tmp_path, classes=("cat", "dog"), channels="gray", scale="unit")
    assert data.y.tolist() == [3, 5]
    assert data.image_shape == (32, 32)
    for row, n in enumerate((3, 5)):
        for r, c in ((0, 0), (5, 17), (31, 30)):
            red, green, blue = (colour(n, k, r, c) for k in range(3))
            expected = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
            assert data.X[row, 32 * r + c] == pytest.approx(expected, rel=1e-12)  # three roundings
    loads(tmp_path, "no class 'cta': did you mean 'cat'", classes="cta")
    loads(tmp_path, "channels must be one of 'rgb', 'gray'", channels="grey")


def test_cifar100_fine_and_coarse_labels(tmp_path) -> None:
    folder = tmp_path / "cifar-100-python"
    write_cifar100(folder)
    packed_tar(tmp_path / "cifar-100-python.tar.gz", folder)
    for place in (folder, tmp_path / "cifar-100-python.tar.gz", folder / "train"):
        data = ssd.read_dataset(place)
        assert_colours(data, range(6))
        assert data.y.tolist() == [0, 1, 2, 3, 4, 5]
        assert data.meta["target_names"][5] == "fine5"
        coarse = ssd.read_dataset(place, label="coarse")
        assert coarse.y.tolist() == [0, 1, 2, 3, 0, 1]
        assert coarse.meta["target_names"] == ("a", "b", "c", "d")
    assert ssd.load_dataset("cifar100", path=tmp_path, split="test").y.tolist() == [6, 7, 8, 9]
    loads(folder, "label must be one of 'fine', 'coarse'", label="middle")


def test_binary_versions_of_cifar(tmp_path) -> None:
    ten, hundred = tmp_path / "cifar-10-batches-bin", tmp_path / "cifar-100-binary"
    ten.mkdir()
    hundred.mkdir()
    for b in range(1, 6):
        (ten / f"data_batch_{b}.bin").write_bytes(b"".join(bytes([n % 10]) + planes(n) for n in (2 * b, 2 * b + 1)))
    (ten / "test_batch.bin").write_bytes(b"".join(bytes([n % 10]) + planes(n) for n in (20, 21)))
    (ten / "batches.meta.txt").write_text("\n".join(CLASS_NAMES) + "\n\n")
    for name, rows in (("train.bin", range(4)), ("test.bin", range(4, 8))):
        (hundred / name).write_bytes(b"".join(bytes([n % 3, 90 + n]) + planes(n) for n in rows))
    (hundred / "fine_label_names.txt").write_text("\n".join(f"fine{i}" for i in range(100)))
    (hundred / "coarse_label_names.txt").write_text("\n".join(f"coarse{i}" for i in range(20)))
    packed_tar(tmp_path / "cifar-10-binary.tar.gz", ten)
    for place in (ten, tmp_path / "cifar-10-binary.tar.gz"):
        data = ssd.read_dataset(place)
        assert_colours(data, range(2, 12))
        assert data.y.tolist() == [n % 10 for n in range(2, 12)]
        assert data.meta["target_names"] == tuple(CLASS_NAMES)
    assert ssd.read_dataset(ten / "data_batch_2.bin").y.tolist() == [4, 5]
    assert ssd.read_dataset(hundred).y.tolist() == [90, 91, 92, 93]
    assert ssd.read_dataset(hundred, label="coarse", split="test").y.tolist() == [1, 2, 0, 1]
    (ten / "data_batch_2.bin").write_bytes(b"\1" * 3072)
    loads(ten, "3,072 bytes are no multiple of 3,073")
    (ten / "data_batch_2.bin").write_bytes(b"\x0b" + planes(0))
    loads(ten, "image 0 has the label 11, beyond 9")
    (ten / "data_batch_2.bin").write_bytes(b"")
    loads(ten, "is empty")


def test_broken_cifar_says_what_is_wrong(tmp_path) -> None:
    write_cifar10(tmp_path)
    first = tmp_path / "data_batch_1"
    whole = first.read_bytes()
    for cut in (1, 10, 200, len(whole) - 1):
        first.write_bytes(whole[:cut])
        loads(tmp_path, "truncated or damaged, or no file of CIFAR")
    changed = {
        "no data": ({b"labels": [1]}, "has no data: it holds the keys labels"),
        "no labels": ({b"data": batch([1])[b"data"]}, "has no labels: it holds the keys data"),
        "narrow": (batch([1]) | {b"data": np.zeros((2, 300), np.uint8)}, r"bytes of shape \(N, 3072\).*\(2, 300\)"),
        "not an array": (batch([1]) | {b"data": [1, 2]}, "it is list"),
        "labels short": (batch([1, 2]) | {b"labels": [1]}, "1 labels for 2 images"),
        "labels of text": (batch([1]) | {b"labels": [b"cat"]}, "labels must be a list of class numbers"),
        "beyond": (batch([1]) | {b"labels": [77]}, "image 0 has the label 77, beyond 9"),
    }
    for content, message in changed.values():
        first.write_bytes(python2_pickle(content))
        loads(tmp_path, message)
    first.write_bytes(pickle.dumps([1, 2]))
    loads(tmp_path, "has no data and no labels: it holds a list")
    first.write_bytes(whole)
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASS_NAMES[:7]}, protocol=2))
    loads(tmp_path, "label 9 has no name, the file of names has 7")
    (tmp_path / "data_batch_4").unlink()
    loads(tmp_path, "has no data_batch_4; it has")
    loads(first, "split='test' chooses among the files of a folder", split="test")


def test_labels_beyond_the_classes_are_refused_without_a_file_of_names(tmp_path) -> None:
    write_cifar10(tmp_path / "ten")
    (tmp_path / "ten" / "batches.meta").unlink()
    (tmp_path / "ten" / "test_batch").write_bytes(python2_pickle(batch([1, 2]) | {b"labels": [9, 57]}))
    loads(tmp_path / "ten", "image 1 has the label 57, beyond 9; is it another version", split="test")
    write_cifar100(tmp_path / "hundred")
    content = batch([1, 2]) | {b"fine_labels": [99, 100], b"coarse_labels": [19, 20]}
    (tmp_path / "hundred" / "test").write_bytes(python2_pickle(content))
    for label, message in (("fine", "label 100, beyond 99"), ("coarse", "label 20, beyond 19")):
        loads(tmp_path / "hundred", message, split="test", label=label)


def test_classes_may_be_an_array(tmp_path) -> None:
    write_cifar10(tmp_path)
    for classes in (np.array([5, 3]), np.array(["dog", "cat"])):
        assert ssd.load_dataset("cifar10", path=tmp_path, classes=classes).y.tolist() == [3, 5]
        assert ssd.load_dataset(tmp_path, classes=classes).y.tolist() == [3, 5]
    write_mnist(tmp_path / "clothes")
    assert ssd.fashion_mnist(path=tmp_path / "clothes", classes=np.int64(2)).y.tolist() == [2, 2]


def test_python_3_pickles_of_the_same_contents_are_read(tmp_path) -> None:
    write_cifar10(tmp_path)
    content = {key.decode(): value for key, value in batch([8, 9]).items()}
    for protocol in (2, 3, 4):
        (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol=protocol))
        assert_colours(ssd.read_dataset(tmp_path, split="test"), [8, 9])
    fortran = content | {"data": np.asfortranarray(content["data"])}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(fortran, protocol=2))
    assert_colours(ssd.read_dataset(tmp_path, split="test"), [8, 9])


RAN: list[object] = []


def bomb(*args: object) -> None:
    RAN.append(args)


class Calls:
    def __init__(self, function, *args) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class Chain:
    """getattr(numpy, ...) from a name that is allowed."""

    def __reduce__(self):
        return (getattr, (np.dtype, "newbyteorder"))


def opcodes(module: str, name: str, argument: bytes = b"U\x04echo") -> bytes:
    return b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n" + argument + b"\x85R."


MALICIOUS = {
    "own function": pickle.dumps(Calls(bomb, 1)),
    "own function in a dictionary": pickle.dumps({"data": Calls(bomb, 1)}),
    "os.system": pickle.dumps(Calls(os.system, "exit 3")),
    "sys.exit": pickle.dumps(Calls(sys.exit, 3)),
    "eval": pickle.dumps(Calls(builtins.eval, "__import__('sys').exit(3)")),
    "python 2 builtins": opcodes("__builtin__", "eval", b"U\x0bsys.exit(3)"),
    "getattr chain": pickle.dumps(Chain()),
    "numpy loads": opcodes("numpy", "load"),
    "numpy f2py": opcodes("numpy.f2py.capi_maps", "getinit"),
    "runstring of numpy.testing": opcodes("numpy.testing._private.utils", "runstring"),
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "object array": pickle.dumps({"data": np.array([[1, Calls(bomb, 1)]], dtype=object)}),
    "object array of numbers": pickle.dumps({"data": np.array([[1, 2]], dtype=object)}, protocol=2),
    "record array": pickle.dumps({"data": np.zeros(2, dtype=[("a", "u1"), ("b", "O")])}, protocol=2),
    "text array": pickle.dumps({"data": np.array(["a"])}, protocol=2),
    "scalar": pickle.dumps({"data": np.float64(3)}, protocol=2),
    "class instance": pickle.dumps({"data": io.BytesIO}),
    "persistent id": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "extension": b"\x80\x02\x82\x01.",
    "ndarray called": b"\x80\x02cnumpy\nndarray\nK\x02\x85R.",
    "name changed": b"\x80\x02cnumpy\ndtype\n}U\x04makeK\x01sb.",
    "name changed by slots": b"\x80\x02c_codecs\nencode\nN}U\x04makeK\x01s\x86b.",
    "memo of 64 GB": b"\x80\x02K\x01r\xff\xff\xff\x7f.",
    "dtype of flags": b"\x80\x02cnumpy\ndtype\nU\x01O\x85R.",
    "stack underflow": b"\x80\x02R.",
    "recursion": b"\x80\x02" + b"(" * 5000 + b".",
    "not a pickle": b"hello, world",
    "nothing": b"\x80\x02",
}


@pytest.mark.parametrize("content", MALICIOUS.values(), ids=MALICIOUS.keys())
def test_a_pickle_that_names_anything_else_is_refused_and_never_run(tmp_path, content) -> None:
    RAN.clear()
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_2").write_bytes(content)
    loads(tmp_path, "data_batch_2")
    (tmp_path / "data_batch_2").write_bytes(python2_pickle(batch([2])))
    (tmp_path / "batches.meta").write_bytes(content)
    loads(tmp_path, "batches.meta")
    assert RAN == []


REFUSED_ALONE = {
    "text array": "an array of dtype 'U1'",
    "object array of numbers": "an array of dtype 'O8'",
    "record array": "an array of dtype 'V9'",
    "persistent id": "refers to objects outside of it",
    "memo of 64 GB": "memo 2147483647",
    "ndarray called": "it calls numpy.ndarray",
    "name changed": "it changes a name",
    "name changed by slots": "it changes a name",
}


@pytest.mark.parametrize("name", REFUSED_ALONE)
def test_the_unpickler_refuses_by_itself_and_says_why(name) -> None:
    with pytest.raises(DataError, match=f"x is truncated or damaged, or no file of CIFAR .*{REFUSED_ALONE[name]}"):
        load_pickle(MALICIOUS[name], "x")


def test_the_bombs_above_are_live() -> None:
    """Without the guard they do run: the test above can fail."""
    RAN.clear()
    pickle.loads(MALICIOUS["own function in a dictionary"])
    assert RAN == [(1,)]
    with pytest.raises(SystemExit):
        pickle.loads(MALICIOUS["eval"])


def test_a_refused_name_is_said() -> None:
    with pytest.raises(DataError, match=r"x is a pickle that names (posix|nt).system, which reading it could run"):
        load_pickle(MALICIOUS["os.system"], "x")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400), st.booleans())
def test_damaged_pickles_end_in_one_sentence(noise, place, keep) -> None:
    whole = python2_pickle(batch([1]))
    damaged = whole[:place] + noise + (whole[place + len(noise) :] if keep else b"")
    with contextlib.suppress(DataError):  # and nothing else
        load_pickle(damaged, "x")


def test_a_link_in_an_archive_is_not_followed(tmp_path) -> None:
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
        member = tarfile.TarInfo("../../escaped")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    loads(tmp_path / "cifar-10-python.tar.gz", "is not CIFAR-10: it should hold data_batch_1, and has escaped")
    assert not (tmp_path.parent.parent / "escaped").exists()
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8bnothing")
    loads(tmp_path / "cifar-10-python.tar.gz", "truncated or not a tar archive")
