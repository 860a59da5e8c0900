"""Small files of the image sets, written byte by byte as the formats are published, for the tests of readers."""

from __future__ import annotations

import gzip
import struct
import tarfile

import numpy as np
import pytest

from spectral_ssl import data as ssd
from spectral_ssl.errors import DataError


def loads(path, message, **options) -> None:
    """Reading ends in one sentence that matches."""
    with pytest.raises(DataError, match=message) as caught:
        ssd.read_dataset(path, **options)
    assert "\n" not in str(caught.value)


CODES = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}  # of struct, one letter per entry


def idx_bytes(array, code=0x08) -> bytes:
    """As published: 00 00 type axes, lengths, entries; all big endian."""
    array = np.asarray(array)
    entries = array.ravel().tolist()
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + struct.pack(
        f">{len(entries)}{CODES[code]}", *entries
    )


def digit(n: int, r: int, c: int) -> int:
    return (7 * n + 3 * r + 11 * c) % 256


def write_mnist(folder, n=6, packed=False, height=4, width=3, start="train", dot="-") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images = [[[digit(i, r, c) for c in range(width)] for r in range(height)] for i in range(n)]
    for name, content in (
        (f"{start}-images{dot}idx3-ubyte", idx_bytes(images)),
        (f"{start}-labels{dot}idx1-ubyte", idx_bytes([i % 3 for i in range(n)])),
    ):
        if packed:
            (folder / (name + ".gz")).write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def colour(n: int, k: int, r: int, c: int) -> int:
    """Channel k of the pixel at row r, column c of image n: no symmetry, so a swapped axis shows."""
    return (n + 50 * k + 3 * r + 7 * c + (r * c) % 5) % 256


def planes(n: int) -> bytes:
    """3,072 bytes: the red plane row by row, then green, then blue."""
    return bytes(colour(n, k, r, c) for k in range(3) for r in range(32) for c in range(32))


def python2_pickle(batch: dict) -> bytes:
    """A batch as Python 2 wrote it: protocol 2, byte strings for all text, numpy's old module name."""
    out = bytearray(b"\x80\x02}(")
    text = lambda word: b"U" + struct.pack("B", len(word)) + word  # noqa: E731  SHORT_BINSTRING
    for key, value in batch.items():
        out += text(key)
        if isinstance(value, np.ndarray):
            out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
            out += b"(K\x01" + b"M" + struct.pack("<H", value.shape[0]) + b"M" + struct.pack("<H", value.shape[1])
            out += (
                b"\x86cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ"
            )
            out += b"\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", value.size) + value.tobytes() + b"tb"
        elif isinstance(value, list):
            out += b"](" + b"".join(text(v) if isinstance(v, bytes) else b"K" + bytes([v]) for v in value) + b"e"
        else:
            out += text(value)
    return bytes(out + b"u.")


def batch(rows, labels="labels") -> dict:
    return {
        b"batch_label": b"training batch",
        labels.encode(): [n % 10 for n in rows],
        b"data": np.frombuffer(b"".join(map(planes, rows)), np.uint8).reshape(-1, 3072),
        b"filenames": [b"image_%d.png" % n for n in rows],
    }


CLASS_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_cifar10(folder, per_batch=2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for b in range(6):
        rows = range(b * per_batch, (b + 1) * per_batch)
        (folder / (f"data_batch_{b + 1}" if b < 5 else "test_batch")).write_bytes(python2_pickle(batch(rows)))
    words = {b"num_cases_per_batch": [2], b"label_names": [name.encode() for name in CLASS_NAMES]}
    (folder / "batches.meta").write_bytes(python2_pickle(words))


def write_cifar100(folder) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", range(6)), ("test", range(6, 10))):
        content = batch(rows, "fine_labels") | {b"coarse_labels": [n % 4 for n in rows]}
        (folder / name).write_bytes(python2_pickle(content))
    words = {b"fine_label_names": [b"fine%d" % i for i in range(10)], b"coarse_label_names": [b"a", b"b", b"c", b"d"]}
    (folder / "meta").write_bytes(python2_pickle(words))


def packed_tar(path, folder, mode="w:gz") -> None:
    with tarfile.open(path, mode) as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, f"{folder.name}/{file.name}")


def stl(n: int, k: int, r: int, c: int) -> int:
    return (5 * n + 60 * k + r + 2 * c + (r * c) % 7) % 256


def stl_bytes(n: int) -> bytes:
    """As published: channel after channel, each column by column."""
    return bytes(stl(n, k, r, c) for k in range(3) for c in range(96) for r in range(96))


def write_stl10(folder) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", range(4)), ("test", range(4, 7)), ("unlabeled", range(7, 9))):
        (folder / f"{split}_X.bin").write_bytes(b"".join(map(stl_bytes, rows)))
        if split != "unlabeled":
            (folder / f"{split}_y.bin").write_bytes(bytes(1 + (3 * n) % 10 for n in rows))
    (folder / "class_names.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES))
    (folder / "fold_indices.txt").write_text("\n".join(f"{f % 4} {(f + 1) % 4} " for f in range(10)) + "\n")


def picture(n: int, height=5, width=4, mode="RGB"):
    Image = pytest.importorskip("PIL.Image")
    array = np.fromfunction(lambda r, c, k: (40 * n + 9 * r + 20 * c + 70 * k) % 256, (height, width, 3)).astype(
        np.uint8
    )
    return Image.fromarray(array).convert(mode), array


def write_pictures(root, suffix=".png") -> dict[str, np.ndarray]:
    """Three pictures of cats, two of dogs, saved in an order that is not that of their names."""
    arrays = {}
    for n, name in enumerate(["dog/z", "cat/b", "dog/a", "cat/a", "cat/deep/c"]):
        image, arrays[name] = picture(n)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / (name + suffix))
    return arrays
