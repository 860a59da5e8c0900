"""Checkpoints: a directory from which an interrupted run goes on, bit for bit as if it had not been.

    state.json            what the run is, how far it came, which arrays belong to it, and a digest of all that
    arrays-000120.npz     parameters, optimizer, random streams, losses

Arrays are written first and state.json, which names them, is moved in place last: a crash leaves the one before.
Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_ssl._version import __version__
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.runs import load_arrays, write_atomically

__all__ = ["Checkpoint", "digest", "pack", "unpack"]

SCHEMA = "spectral_ssl.checkpoint/1"
STATE = "state.json"
BLOCK = 4096  # rows hashed at once
Arrays = dict[str, np.ndarray[Any, Any]]


class Checkpoint:
    """The checkpoint of one run; run: what decides its steps, by name, as JSON."""

    def __init__(self, path: str | Path, run: Mapping[str, Any]) -> None:
        self.path, self.run = Path(path), json.loads(json.dumps(dict(run)))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"checkpoint={str(path)!r} cannot be a directory: {error.strerror}") from error

    def load(self) -> tuple[dict[str, Any], Arrays] | None:
        """State and arrays as saved last, None for none. Raises DataError for another run's, and for a broken one."""
        file = self.path / STATE
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from error
        try:
            found = json.loads(text)
            if (schema := found["schema"]) != SCHEMA:
                raise DataError(f"{file} has the format {schema}, this version reads {SCHEMA}")
            written = found.pop("digest")
            run, state, name = (found[key] for key in ("run", "state", "arrays"))
            if Path(name).name != name or written != _digest(found, self.path / name):
                raise ValueError("not what was written")
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"{file} has lost its arrays: {error.strerror}; delete it") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{file} is truncated, corrupted or not a checkpoint ({error}); delete it") from None
        differ = [k for k in {**run, **self.run} if run.get(k) != self.run.get(k)]
        if differ:
            words = "; ".join(f"{k} was {run.get(k)!r} and is now {self.run.get(k)!r}" for k in differ)
            raise DataError(
                f"the checkpoint in {self.path} is of another run: {words}; choose another directory, or delete it"
            )
        return state, load_arrays(self.path / name)

    def save(self, step: int, state: Mapping[str, Any], arrays: Arrays) -> None:
        name = f"arrays-{step:06d}.npz"
        members: dict[str, Any] = dict(arrays)
        write_atomically(self.path / name, lambda file: np.savez(file, **members))
        record = {"schema": SCHEMA, "version": __version__, "run": self.run, "state": dict(state), "arrays": name}
        record["digest"] = _digest(record, self.path / name)
        text = json.dumps(record, indent=1) + "\n"
        write_atomically(self.path / STATE, lambda file: file.write(text.encode()))
        for old in self.path.glob("arrays-*.npz"):
            if old.name != name:
                with contextlib.suppress(OSError):
                    old.unlink()


def _digest(record: Mapping[str, Any], arrays: Path) -> str:
    """A hash of a record and of the file of its arrays."""
    with arrays.open("rb") as file:
        h = hashlib.file_digest(file, functools.partial(hashlib.blake2b, digest_size=12))
    h.update(json.dumps(record, sort_keys=True).encode())
    return h.hexdigest()


def pack(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    """Tensors as arrays; half precision, which numpy lacks or shortens, widened without loss."""
    half = (torch.bfloat16, torch.float16)
    return {name: (t.float() if t.dtype in half else t).detach().cpu().numpy().copy() for name, t in tensors.items()}


def unpack(arrays: Arrays, into: Mapping[str, torch.Tensor]) -> None:
    """Copy arrays into the tensors of the same names. Raises DataError where one is missing or of another shape."""
    with torch.no_grad():
        for name, t in into.items():
            array = arrays.get(name)
            if array is None or array.shape != tuple(t.shape):
                came = "nothing" if array is None else f"shape {array.shape}"
                raise DataError(f"the checkpoint is corrupted: {came} for {name} of shape {tuple(t.shape)}; delete it")
            t.copy_(torch.as_tensor(array))


def digest(*parts: Any) -> str:
    """A short hash of arrays and graphs, row block by row block; equal for equal content."""
    h = hashlib.blake2b(digest_size=12)
    for part in parts:
        if isinstance(part, Graph):
            A = part.edges
            stored = [] if A is None else [A.indptr.astype(np.int64), A.indices.astype(np.int64), A.data]
            for g in part.groups:
                stored += [g.codes, g.weight, np.array([g.diagonal])]
            h.update(digest(np.array([part.n_samples]), *stored).encode())
            continue
        array = np.asarray(part)
        h.update(f"{array.dtype}{array.shape}".encode())
        for start in range(0, len(array), BLOCK):
            h.update(np.ascontiguousarray(array[start : start + BLOCK]).tobytes())
    return h.hexdigest()
