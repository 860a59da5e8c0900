"""Readers of parquet tables, of raw numbers, and of arrays that stay in their file.

Witnesses: pandas for the contents of a table, numpy's own files, hashlib, and the process's memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest

from spectral_ssl import data as ssd
from spectral_ssl.data import Dataset
from spectral_ssl.errors import DataError, ResourceError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROUNDING = 1e-12  # sums of a few thousand float64 numbers, in another order


def loads(path, message, **options) -> None:
    with pytest.raises(DataError, match=message) as caught:
        ssd.read_dataset(path, **options)
    assert "\n" not in str(caught.value)


# --- parquet ---------------------------------------------------------------------------------------------------------


def frame(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.standard_normal(n),
            "b": rng.integers(0, 9, n).astype(np.int16),
            "c": rng.standard_normal(n).astype(np.float32),
            "d": rng.random(n) < 0.5,
            "label": rng.choice(["cat", "dog"], n),
            "source": rng.integers(0, 7, n),
        }
    )


@pytest.mark.parametrize("suffix", [".parquet", ".pq"])
def test_a_parquet_table_is_what_pandas_wrote(tmp_path, suffix) -> None:
    table = frame()
    file = tmp_path / ("a" + suffix)
    table.to_parquet(file, index=False)
    data = ssd.read_dataset(file)
    np.testing.assert_array_equal(data.X, table[list("abcd")].to_numpy(dtype=np.float64))
    assert data.y.tolist() == table["label"].tolist()
    assert data.source.tolist() == pd.factorize(table["source"])[0].tolist()
    assert data.meta["labels_from"] == "column 'label'"
    assert data.meta["source_from"] == "column 'source'"
    assert data.meta["feature_names"] == ("a", "b", "c", "d")
    np.testing.assert_array_equal(ssd.read_array(file), data.X)
    assert ssd.load_dataset(file, limit=7).n_samples == 7
    np.testing.assert_array_equal(ssd.read_dataset(file, limit=7).X, data.X[:7])


def test_embeddings_in_lists_are_laid_out_in_their_place(tmp_path) -> None:
    rng = np.random.default_rng(1)
    Z, W = rng.standard_normal((9, 4)), rng.integers(0, 9, (9, 2))
    table = pyarrow.table(
        {
            "first": pyarrow.array(range(9)),
            "embedding": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(Z.ravel()), 4),
            "other": pyarrow.array(W.tolist()),
            "y": pyarrow.array([0.5] * 9),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    data = ssd.read_dataset(tmp_path / "a.parquet")
    np.testing.assert_array_equal(data.X, np.column_stack([np.arange(9), Z, W]))
    assert data.meta["feature_names"] == ("first", *(f"embedding[{k}]" for k in range(4)), "other[0]", "other[1]")
    assert not data.is_classification


def test_nullable_columns_categories_and_an_index(tmp_path) -> None:
    table = pd.DataFrame(
        {
            "a": pd.array([1, 2, 3, 4], dtype="Int64"),
            "species": pd.Categorical(["cat", None, "dog", "cat"]),
        },
        index=[7, 3, 9, 1],
    )
    file = tmp_path / "a.parquet"
    table.to_parquet(file)
    data = ssd.read_dataset(file, label_column="species")
    assert data.X.tolist() == [[1], [2], [3], [4]]
    assert data.y.tolist() == ["cat", "", "dog", "cat"]
    assert data.meta["left_out"] == "__index_level_0__, the index of a data frame"
    table.assign(y=pd.array([1, None, 0, 1], dtype="Int64")).drop(columns="species").to_parquet(file)
    assert ssd.read_dataset(file).y.tolist() == [1, -1, 0, 1]
    table.drop(columns="species").assign(z=[5, 6, 7, 8]).to_parquet(file, index=False)
    assert ssd.read_dataset(file, label_column=1).y.tolist() == [5, 6, 7, 8]


BAD_TABLES = {
    "missing": ({"a": [1, None, 3, None], "b": [1, 2, 3, 4]}, r"row 1, column 'a' is empty .2 rows in all.; fill it"),
    "text": ({"a": [1, 2], "b": ["x", "y"]}, "column 'b' holds .*string, not numbers; drop or encode the column"),
    "dates": ({"a": pd.to_datetime(["2020-01-01", "2020-01-02"])}, "column 'a' holds timestamp"),
    "ragged": ({"a": [[1, 2], [1, 2], [3]]}, "lists of 2 numbers in row 0 and of 1 in row 2"),
    "hole in a list": ({"a": [[1, 2], [1, None]]}, "lists with empty entries"),
    "list of text": ({"a": [["x"], ["y"]]}, "column 'a' holds .*string, not numbers"),
    "missing list": ({"a": [[1, 2], None]}, "row 1, column 'a' is empty; fill it or drop the row"),
    "struct": ({"a": [{"bytes": b"x"}, {"bytes": b"y"}]}, "column 'a' holds struct"),
    "labels only": ({"y": [1, 2]}, "no column of features is left beside labels"),
    "two labels": ({"y": [1, 2], "class": [1, 2], "a": [1, 2]}, "'y' and 'class' could all be the labels"),
    "no rows": ({"a": pyarrow.array([], pyarrow.int64())}, "has the columns a and no rows"),
    "one row": ({"a": [1]}, "X has 1 row"),
    "nan": ({"a": [1.0, float("nan")], "b": [1, 2]}, "1 entry that is NaN or infinite, the first nan at row 1"),
}


@pytest.mark.parametrize(("columns", "message"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_bad_parquet_tables_say_what_and_where(tmp_path, columns, message) -> None:
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    loads(tmp_path / "a.parquet", message)


def test_broken_parquet_files_and_options(tmp_path, monkeypatch) -> None:
    file = tmp_path / "a.parquet"
    frame().to_parquet(file)
    whole = file.read_bytes()
    loads(file, "no column 'lable': did you mean 'label'", label_column="lable")
    loads(file, "parquet data have no option 'split'; .*options are label_column, limit, labels", split="train")
    for content in (b"PAR1", whole[: len(whole) // 2], whole[:-1], b"a,b\n1,2\n"):
        file.write_bytes(content)
        loads(file, "truncated or not a parquet file")
    parquet.write_table(pyarrow.Table.from_pandas(frame()), file, write_page_checksum=True)
    checked = file.read_bytes()
    file.write_bytes(checked[:60] + bytes(100) + checked[160:])
    loads(file, "truncated or not a parquet file .*CRC")
    file.write_bytes(whole)
    monkeypatch.setattr("spectral_ssl.data._memory.available_memory", lambda: 1000.0)
    with pytest.raises(ResourceError, match=r"40 rows of 4 features as float64 needs .*; pass limit="):
        ssd.read_dataset(file)
    parquet.write_table(pyarrow.table({"z": [[0.5] * 30] * 4}), tmp_path / "lists.parquet")
    with pytest.raises(ResourceError, match=r"4 rows of 30 features as float64 needs"):
        ssd.read_dataset(tmp_path / "lists.parquet")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    loads(file, r"needs pyarrow, which is not installed: pip install 'spectral_ssl\[data\]'")


FUZZ = """
import contextlib, pathlib, sys
import numpy as np
import pyarrow  # before anything is damaged
from spectral_ssl import data as ssd
from spectral_ssl.errors import DataError, ResourceError
file = pathlib.Path(sys.argv[1])
whole = file.read_bytes()
footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
rng = np.random.default_rng(0)
for _ in range(600):
    damaged = bytearray(whole)
    damaged[rng.integers(footer, len(whole))] = rng.integers(256)
    file.with_name("b.parquet").write_bytes(damaged)
    with contextlib.suppress(DataError, ResourceError):  # and nothing else
        ssd.read_dataset(file.with_name("b.parquet"))
"""


def test_a_changed_byte_in_the_footer_ends_in_a_sentence_never_in_an_abort(tmp_path) -> None:
    """In a process of its own: some of these bytes made pyarrow abort when single chunks were looked at."""
    table = pyarrow.table({"a": [1.0, 2, 3], "e": [[1.0, 2], [3, 4], [5, 6]], "y": ["u", "v", None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    ended = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path / "a.parquet")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


@pytest.mark.parametrize("columns", [{"zzzz": [1, 2], "y": [1, 2]}, {"a": [1, 2], "y": ["zzzz", "b"]}])
def test_names_and_labels_that_are_no_utf_8_are_refused(tmp_path, columns) -> None:
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet", store_schema=False)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content.replace(b"zzzz", b"zz\xff\xfe"))
    loads(tmp_path / "a.parquet", "truncated or not a parquet file .*utf-8")


# --- arrays that stay in their file ----------------------------------------------------------------------------------


def is_in_file(array) -> bool:
    """An independent look: the chain of bases ends in a map."""
    import mmap

    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mapped_array_is_neither_copied_nor_converted(tmp_path, dtype) -> None:
    X = np.random.default_rng(0).standard_normal((50_000, 40)).astype(dtype)
    np.save(tmp_path / "x.npy", X)
    X.astype(f"<f{X.itemsize}").tofile(tmp_path / "x.bin")
    raw = {"dtype": X.dtype.name, "n_features": 40}
    tracemalloc.start()
    mapped = ssd.read_dataset(tmp_path / "x.npy", mmap=True)
    other = ssd.read_dataset(tmp_path / "x.bin", mmap=True, **raw)
    fingerprint, words = mapped.fingerprint(), mapped.describe()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # blocks of 2^20 entries and the hashes of 50,000 rows: less than a copy in float64, 16 MB
    assert peak < 0.9 * 50_000 * 40 * 8 * (2 if dtype == np.float64 else 1.3)
    held = Dataset("x", X)
    for data in (mapped, other, dataclasses.replace(mapped, y=np.zeros(50_000, int))):
        assert data.X.dtype == dtype
        assert is_in_file(data.X)
        assert not data.X.flags.writeable
        np.testing.assert_array_equal(data.X, X)
    by_hand = hashlib.sha256(b"X(50000, 40)" + X.astype("<f8").tobytes()).hexdigest()
    assert fingerprint == held.fingerprint() == by_hand[:16]
    assert words == held.describe()
    part = mapped.subset([5, 3])
    assert part.X.dtype == np.float64
    np.testing.assert_array_equal(part.X, X[[5, 3]])
    assert ssd.as_rows(mapped).dtype == np.float64
    np.testing.assert_array_equal(ssd.as_rows(mapped), X)
    views = ssd.augment(mapped.subset(range(10)), 2, ssd.Noise(0.0))
    np.testing.assert_array_equal(views.X[::2], X[:10])


def test_float32_in_memory_is_float64_as_ever() -> None:
    assert Dataset("x", np.ones((3, 2), np.float32)).X.dtype == np.float64


def test_what_is_wrong_in_a_mapped_array_is_found_by_block(tmp_path) -> None:
    X = np.zeros((40_000, 60), np.float32)
    X[39_999, 7], X[30_000, 3] = np.inf, np.nan
    np.save(tmp_path / "x.npy", X)
    loads(tmp_path / "x.npy", "2 entries that are NaN or infinite, the first nan at row 30000, column 3", mmap=True)
    large = np.full((40_000, 60), 3e38, np.float32)  # the sum overflows, the entries do not
    np.save(tmp_path / "y.npy", large)
    assert ssd.read_dataset(tmp_path / "y.npy", mmap=True).X.dtype == np.float32


def test_what_cannot_be_mapped_says_so(tmp_path) -> None:
    for name, X in (
        ("bytes", np.ones((300, 4), np.uint8)),
        ("big endian", np.ones((300, 4), ">f4")),
        ("columns first", np.asfortranarray(np.ones((300, 4)))),
    ):
        np.save(tmp_path / f"{name}.npy", X)
        loads(tmp_path / f"{name}.npy", "needs float32 or float64 in this machine's order", mmap=True)
        assert ssd.read_dataset(tmp_path / f"{name}.npy").X.sum() == 1200
    np.savez(tmp_path / "x.npz", X=np.ones((3, 2)))
    loads(tmp_path / "x.npz", "npz data have no option 'mmap'", mmap=True)
    loads(tmp_path / "bytes.npy", "mmap must be one of False, True, got 'r'", mmap="r")


def test_mapped_images_keep_their_shape(tmp_path) -> None:
    images = np.arange(2400, dtype=np.float32).reshape(100, 2, 4, 3)
    np.save(tmp_path / "x.npy", images)
    data = ssd.read_dataset(tmp_path / "x.npy", mmap=True)
    assert data.image_shape == (2, 4, 3)
    assert is_in_file(data.X)
    np.testing.assert_array_equal(data.X, images.reshape(100, 24))


def test_an_array_that_does_not_fit_points_to_the_map(tmp_path, monkeypatch) -> None:
    np.save(tmp_path / "x.npy", np.ones((300, 4), np.float32))
    monkeypatch.setattr("spectral_ssl.data._memory.available_memory", lambda: 10_000.0)
    with pytest.raises(ResourceError, match=r"shape \(300, 4\) as float64 needs .* are free; pass mmap=True"):
        ssd.read_dataset(tmp_path / "x.npy")
    data = ssd.read_dataset(tmp_path / "x.npy", mmap=True)
    with pytest.raises(ResourceError, match="a subset of 300 rows needs"):
        data.subset(range(300))
    assert data.subset(range(100)).n_samples == 100


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_that_do_not_fit_are_refused_before_they_are_unpacked(tmp_path, monkeypatch, save) -> None:
    X = np.zeros((20_000, 40), np.uint8)
    save(tmp_path / "x.npz", X=X, y=np.zeros(20_000, np.uint8))
    save(tmp_path / "y.npz", X=np.zeros(2_000_000), y=np.zeros(2, np.uint8))
    assert ssd.read_dataset(tmp_path / "x.npz").n_samples == 20_000
    monkeypatch.setattr("spectral_ssl.data._memory.available_memory", lambda: 4e6)  # 3.2 MB may be used
    tracemalloc.start()
    for name, message in (
        ("x", r"array 'X' of shape \(20000, 40\) as float64 needs"),
        ("y", "array 'X' needs 0.016 GB"),
    ):
        with pytest.raises(ResourceError, match=f"{message}.*; save it as npy and pass mmap=True"):
            ssd.read_dataset(tmp_path / f"{name}.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes  # nothing of their size was made


def test_an_archive_whose_header_promises_more_than_it_holds_is_truncated(tmp_path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**5)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("X.npy", header.getvalue() + bytes(16))
    loads(tmp_path / "x.npz", r"truncated or not a npz file .its header says shape \(1000000000, 100000\)")


def test_text_that_does_not_fit_is_refused_before_it_is_parsed(tmp_path, monkeypatch) -> None:
    (tmp_path / "x.csv").write_text("a,b,y\n" + "1,2,3\n" * 1000)
    (tmp_path / "p.csv").write_text("i,j\n" + "1,2\n" * 1000)
    monkeypatch.setattr("spectral_ssl.data._memory.available_memory", lambda: 10_000.0)
    for read, name in ((ssd.read_dataset, "x.csv"), (ssd.read_pairs, "p.csv")):
        with pytest.raises(ResourceError, match=r"1,001 rows of 2 features as float64 needs .* are free; save it as"):
            read(tmp_path / name)


# --- raw numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_raw_numbers_come_row_by_row(tmp_path, dtype, order) -> None:
    X = np.arange(12).reshape(4, 3)
    bytes_of = X.astype(np.dtype(dtype).newbyteorder("<" if order == "little" else ">")).tobytes()
    (tmp_path / "x.dat").write_bytes(b"head" + bytes_of)
    data = ssd.read_dataset(tmp_path / "x.dat", dtype=dtype, n_features=3, order=order, offset=4)
    assert data.X.tolist() == X.tolist()


def test_raw_files_say_what_is_missing(tmp_path) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(bytes(50))
    loads(file, r"a raw file says nothing of its contents; pass dtype= and n_features=")
    loads(file, "50 bytes are 4 rows of 3 float32 and 2 bytes more", dtype="float32", n_features=3)
    loads(file, "dtype must be one of 'float64', .*, got 'object'", dtype="object", n_features=3)
    loads(file, "offset must be a whole number at least 0", dtype="float32", n_features=3, offset=-2)
    loads(file, "0 rows of 2 float64 and 2 bytes more", dtype="float64", n_features=2, offset=48)
    (tmp_path / "uint.bin").write_bytes(bytes(8))
    loads(tmp_path / "uint.bin", "needs float32 or float64", dtype="uint8", n_features=2, mmap=True)
