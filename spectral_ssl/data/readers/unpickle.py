"""Reading the pickles of CIFAR without running what they say.

A pickle is a program: it may name any function of any module and call it. This reader knows five names and no other,
and even these are not numpy's: each only notes its arguments, and the array is built and checked from the note when the
program has ended. Any other name ends the reading before it is looked up.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.errors import DataError

__all__ = ["load_pickle"]

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def load_pickle(content: bytes, what: str) -> Any:
    """The dictionaries, lists, text, numbers and numeric arrays of a pickle; bytes of Python 2 become latin-1 text.

    Raises:
        DataError: Any other name in the pickle, a truncated or damaged file, an array that contradicts itself.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd escapes in the text of a damaged file
            _check_memo(content)
            return _finished(_Reader(io.BytesIO(content), what).load())
    except DataError:
        raise
    except Exception as error:  # a damaged program can fail in any instruction
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{what} is truncated or damaged, or no file of CIFAR ({reason}); get it again") from None


class _Reader(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, what: str) -> None:
        super().__init__(stream, encoding="latin1", fix_imports=False)
        self.what = what

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise DataError(
                f"{self.what} is a pickle that names {module}.{name}, which reading it could run; the files of CIFAR "
                "hold dictionaries, text and numbers only: do not use this file, get it from its official page"
            )
        return NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UnpicklingError("it refers to objects outside of it")


def _check_memo(content: bytes) -> None:
    """Places of a pickle's memo are numbered from 0; a huge number would allocate everything below it."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name.endswith("PUT") and argument is not None and argument > len(content):
            raise UnpicklingError(f"memo {argument}")


# --- notes of what a pickle asks for ---------------------------------------------------------------------------------


class _Name:
    """A name that may be called or passed on, and that no instruction can change."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, *args: Any) -> Any:
        return self.make(*args)

    def __setstate__(self, state: Any) -> None:
        raise UnpicklingError("it changes a name")


class _Dtype:
    """numpy.dtype(code): a type of plain numbers; its state brings the order of bytes."""

    def __init__(self, code: Any, *flags: Any) -> None:
        if code not in DTYPES:
            raise UnpicklingError(f"an array of dtype {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("|", "<", ">", "="):
            raise UnpicklingError("a dtype whose state is not that of numbers")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """numpy's _reconstruct(ndarray, (0,), b"b"): empty, until its state brings shape, dtype, order and bytes."""

    def __init__(self, *empty: Any) -> None:
        self.array: npt.NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, str | bytes):
            raise UnpicklingError("an array whose entries are not plain numbers")
        if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
            raise UnpicklingError(f"an array of shape {shape!r}")
        flat = np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, dtype=dtype.dtype)
        self.array = flat.reshape(shape, order="F" if fortran else "C")


def _ndarray(*args: Any) -> Any:
    raise UnpicklingError("it calls numpy.ndarray")


def _encode(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes in a format of Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise UnpicklingError("text that is not bytes in latin-1")
    return text.encode("latin1")


def _finished(value: Any) -> Any:
    """Arrays for their notes; these files are one dictionary deep."""
    if isinstance(value, _Array):
        if value.array is None:
            raise UnpicklingError("an array without entries")
        return value.array
    if isinstance(value, dict):
        named = {key.decode("latin1") if isinstance(key, bytes) else key: entry for key, entry in value.items()}
        return {key: _finished(entry) for key, entry in named.items() if not isinstance(entry, dict)}
    return value


NAMES: dict[tuple[str, str], _Name] = {
    ("numpy.core.multiarray", "_reconstruct"): _Name(_Array),
    ("numpy._core.multiarray", "_reconstruct"): _Name(_Array),
    ("numpy", "ndarray"): _Name(_ndarray),
    ("numpy", "dtype"): _Name(_Dtype),
    ("_codecs", "encode"): _Name(_encode),
}
