"""What every reader shares: the record it returns, and paths and folders.

Nothing here writes, extracts or downloads.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import ImageShape
from spectral_ssl.data._memory import check_memory
from spectral_ssl.errors import DataError

__all__ = [
    "Folder",
    "ImageShape",
    "StrPath",
    "Table",
    "existing",
    "exists",
    "head_of",
    "missing_extra",
    "one_of",
    "opened",
    "plain_kind",
]

StrPath = str | Path

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Table:
    """What a reader found: the arguments of `Dataset`, unchecked."""

    X: npt.NDArray[Any]  # (N, D)
    meta: dict[str, Any] = field(default_factory=dict)
    y: Any = None  # (N,)
    source: Any = None  # (N,)
    image_shape: ImageShape | None = None


# --- paths -----------------------------------------------------------------------------------------------------------


def existing(path: object, *, folders: bool = False) -> Path:
    """The path of a file that can be opened and is not empty; of a directory too, where `folders`."""
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(f"a path is needed, got {type(path).__name__}")
    file = Path(path)
    try:
        if file.is_dir():
            if folders:
                return file
            raise DataError(f"{file} is a directory; name a file in it")
        if not file.exists():
            siblings = [sibling.name for sibling in file.parent.iterdir()] if file.parent.is_dir() else []
            near = difflib.get_close_matches(file.name, siblings, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"looked in {file.parent.absolute()}"
            raise DataError(f"no such file: {file}; {hint}")
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty (0 bytes)")
        with file.open("rb"):
            return file
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} cannot be opened: {getattr(error, 'strerror', None) or error}") from None


def exists(file: Path) -> bool:
    """Whether there is something; no for text that cannot be a name, too long or with a null byte in it."""
    try:
        return file.exists()
    except (OSError, ValueError):
        return False


def plain_kind(file: Path) -> str:
    """ "npy", "npz" or "text", by the suffix; without one, by the first bytes."""
    suffix = file.suffix.lower()
    if suffix in (".npy", ".npz"):
        return suffix[1:]
    if suffix in TEXT_SUFFIXES:
        return "text"
    if not suffix and head_of(file, 6) == b"\x93NUMPY":
        return "npy"
    kind = f"files of kind {suffix!r}" if suffix else "files without a suffix"
    raise DataError(f"{file}: {kind} cannot be read; use npy, npz, csv, tsv or txt, e.g. np.save('data.npy', X)")


@contextlib.contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if it is gzip; a broken archive becomes a DataError wherever it is met."""
    packed = file.suffix.lower() == ".gz"
    try:
        with gzip.open(file, "rb") if packed else file.open("rb") as stream:
            yield stream  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file} is truncated or not a gzip file ({error}); get it again") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None


def head_of(file: Path, length: int = 8) -> bytes:
    """The first bytes, unpacked; b"" of what cannot be read."""
    with contextlib.suppress(DataError), opened(file) as stream:
        return stream.read(length)
    return b""


def one_of(value: object, allowed: Sequence[Any], what: str) -> Any:
    """`value` if it is among the allowed ones."""
    if any(value == choice and type(value) is type(choice) for choice in allowed):
        return value
    raise DataError(f"{what} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def missing_extra(library: str, why: str) -> DataError:
    """The sentence for a library that is not installed."""
    return DataError(f"{why} needs {library}, which is not installed: pip install 'spectral_ssl[data]'")


# --- folders ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """The files of one directory, or of a tar archive, by their bare names; an archive is read where it lies.

    A name that two directories of an archive share belongs to the first of them in the archive.
    """

    path: Path

    @property
    def _members(self) -> dict[str, tarfile.TarInfo]:
        stat = self.path.stat()
        return _members(self.path, stat.st_size, stat.st_mtime_ns)

    @property
    def is_archive(self) -> bool:
        return not self.path.is_dir()

    @cached_property
    def names(self) -> list[str]:
        """Sorted, without hidden files."""
        if self.is_archive:
            return sorted(name for name in self._members if not name.startswith("."))
        return sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith(".") and entry.is_file())

    def find(self, *choices: str) -> str:
        """The first of these names that is there.

        Raises:
            DataError: None is; the message lists what is there.
        """
        for name in choices:
            if name in self.names:
                return name
        there = ", ".join(self.names[:8]) + (", ..." if len(self.names) > 8 else "")
        raise DataError(f"{self.path} has no {' or '.join(choices)}; it has {there or 'no files'}")

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self._members[name].size if self.is_archive else (self.path / name).stat().st_size

    def where(self, name: str) -> str:
        """How messages call a file."""
        return f"{self.path}: {name}" if self.is_archive else str(self.path / name)

    def read(self, name: str) -> bytes:
        """The whole file."""
        check_memory(self.size(name), self.where(name))
        try:
            if not self.is_archive:
                return (self.path / name).read_bytes()
            with tarfile.open(self.path) as archive:
                stream = archive.extractfile(self._members[name])
                content = b"" if stream is None else stream.read()
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise DataError(f"{self.where(name)} cannot be read: {error}; get it again") from None
        if len(content) != self.size(name):
            raise DataError(f"{self.where(name)} is truncated; get it again")
        return content

    def array(self, name: str) -> npt.NDArray[np.uint8]:  # (bytes,)
        """The file as bytes; of a directory, mapped, so that only the rows taken are read."""
        if self.size(name) == 0:
            raise DataError(f"{self.where(name)} is empty (0 bytes)")
        if self.is_archive:
            return np.frombuffer(self.read(name), dtype=np.uint8)
        return np.memmap(self.path / name, dtype=np.uint8, mode="r")

    def lines(self, name: str) -> list[str]:
        """The lines of a small text file that are not blank."""
        text = self.read(name).decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


@functools.lru_cache(maxsize=8)
def _members(path: Path, size: int, changed: int) -> dict[str, tarfile.TarInfo]:
    """The regular files of an archive, by bare name; links and devices are passed over. It has to be unpacked once."""
    members: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isreg():
                    members.setdefault(member.name.rsplit("/", 1)[-1], member)
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise DataError(f"{path} is truncated or not a tar archive ({error}); get it again") from None
    return members
