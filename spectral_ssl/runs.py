"""Run directories: what was asked, with what, on which machine, and what came out.

    runs/compare-20260131-142530-7f3a/
        run.json       the record: command, configuration, seed, versions, timings, status, result; whole and valid JSON
        *.npz          arrays, read with ``allow_pickle=False``
        figures/       pictures

    with RunDirectory.create(out, "compare", config, seed=0) as run:
        run.update(rows=rows)                     # as often as there is something worth keeping
        run.save_arrays("optimum", Z=Z)
        run.write({"tables": {...}})

Every file is written beside its place and moved there, so that a full disk or Ctrl-C never leaves half a file. Only
files listed in the record are ever deleted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import errno
import importlib.metadata
import json
import os
import platform
import secrets
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Literal, Self

import numpy as np

from spectral_ssl._version import __version__
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning, did_you_mean

__all__ = [
    "ROOT",
    "RunDirectory",
    "list_runs",
    "load_arrays",
    "machine",
    "open_run",
    "runs_compare",
    "runs_list",
    "runs_remove",
    "runs_show",
    "to_jsonable",
    "write_atomically",
]

ROOT = Path("runs")
RECORD = "run.json"
SCHEMA = "spectral_ssl.run/1"
Status = Literal["running", "done", "interrupted", "failed"]


# ------------------------------------------------------------------------------------------------------------- JSON


def to_jsonable(value: Any) -> Any:
    """`value` in the types of strictly valid JSON: arrays become lists, NaN and infinity become None.

    Raises:
        TypeError: the value is of a kind that has no place in a record.
    """
    if isinstance(value, enum.Enum):
        return to_jsonable(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.ndarray | np.generic):
        return to_jsonable(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(to_jsonable(key)): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((to_jsonable(item) for item in value), key=repr)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} cannot be written to a run record: {value!r:.80}")


# ---------------------------------------------------------------------------------------------------- one directory


class RunDirectory:
    """A run on disk. Make one with `create`, read one with `open_run`.

    As a context manager it ends the run: ``done``, ``interrupted`` after Ctrl-C, ``failed`` with an error's message.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record
        self._started = time.perf_counter()

    @classmethod
    def create(
        cls,
        path: str | Path | None,
        command: str,
        config: Mapping[str, Any],
        seed: int | None = None,
        *,
        overwrite: bool = False,
        root: str | Path = ROOT,
    ) -> Self:
        """Make the directory and write its first record, status ``running``.

        Args:
            path: Where; None makes a fresh ``root/command-date-time-suffix``.
            command: The name of what is run.
            config: Every option with its resolved value: enough to do the run again.
            seed: The seed of the run's random choices, None if it makes none.
            overwrite: Replace the run that is there; files that are not the run's stay.
            root: The parent of fresh directories.
        """
        started = datetime.datetime.now().astimezone()
        if path is None:
            path = Path(root) / f"{command.replace(' ', '-')}-{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        path = Path(path)
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
            contents = sorted(item.name for item in path.iterdir())
        if RECORD in contents:
            if not overwrite:
                raise DataError(
                    f"{path} already holds a run; choose another directory with --out, or remove that run "
                    f"(spectral-ssl runs remove {path})"
                )
            _delete_files(open_run(path))
        elif contents:
            raise DataError(
                f"{path} is not empty and is not a run directory (it holds {contents[0]!r}); choose a new or empty "
                "directory with --out"
            )
        run = cls(
            path,
            {
                "schema": SCHEMA,
                "command": command,
                "status": "running",
                "created": started.astimezone(datetime.UTC).isoformat(timespec="milliseconds"),
                "seconds": None,
                "seed": seed,
                "config": to_jsonable(config),
                "argv": [str(word) for word in sys.argv],
                "versions": _versions(),
                "platform": _platform(),
                "timings": {},
                "files": [],
                "error": None,
                "result": {},
            },
        )
        run._save()
        return run

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def result(self) -> dict[str, Any]:
        """What the run has produced so far."""
        found: dict[str, Any] = self.record["result"]
        return found

    def write(self, result: Mapping[str, Any]) -> None:
        """Set the result."""
        self.record["result"] = to_jsonable(result)
        self._save()

    def update(self, **entries: Any) -> None:
        """Set some entries of the result and keep the others: finished parts survive what happens next."""
        self.record["result"].update(to_jsonable(entries))
        self._save()

    def save_arrays(self, name: str, **arrays: np.ndarray[Any, Any]) -> Path:
        """Write ``name.npz``; arrays of Python objects are refused."""
        for key, array in arrays.items():
            if np.asarray(array).dtype.hasobject:
                raise DataError(f"array {key!r} holds Python objects; only numbers and fixed-width text are saved")
        path = self._own(f"{name}.npz")
        members: dict[str, Any] = dict(arrays)
        write_atomically(path, lambda file: np.savez(file, **members))
        return path

    def load_arrays(self, name: str) -> dict[str, np.ndarray[Any, Any]]:
        """Read ``name.npz`` back."""
        return load_arrays(self.path / f"{name}.npz")

    def file_path(self, name: str) -> Path:
        """Where a further file of this run goes; it then counts as the run's own and is removed with it."""
        return self._own(name)

    def figure_path(self, name: str) -> Path:
        """Where a picture goes: ``figures/name``, its folder made."""
        with _writing(self.path):
            (self.path / "figures").mkdir(exist_ok=True)
        return self._own(f"figures/{name}")

    @contextlib.contextmanager
    def timer(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to ``timings[name]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            timings = self.record["timings"]
            timings[name] = timings.get(name, 0.0) + time.perf_counter() - start

    def finish(self, status: Status = "done", error: str | None = None) -> None:
        """Close the record."""
        self.record.update(status=status, error=error, seconds=round(time.perf_counter() - self._started, 3))
        self._save()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.finish("done")
        elif isinstance(error, KeyboardInterrupt):
            self.finish("interrupted")
        else:
            with contextlib.suppress(DataError, ResourceError):  # a full disk must not hide the first error
                self.finish("failed", f"{type(error).__name__}: {error}")

    def _own(self, name: str) -> Path:
        """The path of a file of this run, listed in the record before it exists so that no stray file can be left."""
        if not _is_inside(name):
            raise DataError(f"{name!r} does not name a file inside the run directory")
        if name not in self.record["files"]:
            self.record["files"].append(name)
            self._save()
        return self.path / name

    def _save(self) -> None:
        text = json.dumps(self.record, allow_nan=False, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.path / RECORD, lambda file: file.write(text.encode()))


def open_run(path: str | Path) -> RunDirectory:
    """Read a run directory.

    Raises:
        DataError: there is none, or its record is truncated, corrupted or not ours.
    """
    file = Path(path) / RECORD
    try:
        record = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} is not a run directory: it has no {RECORD}") from None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is truncated or corrupted ({error}); copy it again, or delete the directory") from None
    if not (isinstance(record, dict) and str(record.get("schema", "")).startswith("spectral_ssl.run/")):
        raise DataError(f"{file} is not a record of spectral_ssl")
    if record["schema"] != SCHEMA:
        raise DataError(f"{file} has the format {record['schema']}, this version reads {SCHEMA}: update spectral_ssl")
    kinds = {"command": str, "status": str, "created": str, "config": dict, "files": list, "result": dict}
    broken = [key for key, kind in kinds.items() if not isinstance(record.get(key), kind)]
    if broken or not all(isinstance(name, str) and _is_inside(name) for name in record["files"]):
        raise DataError(f"{file} is corrupted: {', '.join(broken) or 'files'} cannot be used")
    return RunDirectory(Path(path), record)


def list_runs(root: str | Path = ROOT) -> list[RunDirectory]:
    """Every run directly under `root`, oldest first; unreadable ones are left out with a warning."""
    runs = []
    for file in sorted(Path(root).glob(f"*/{RECORD}")):
        try:
            runs.append(open_run(file.parent))
        except DataError as error:
            warnings.warn(f"left out: {error}", SpectralWarning, stacklevel=2)
    return sorted(runs, key=lambda run: (run.record["created"], run.name))


def load_arrays(path: str | Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an npz file; pickled objects are never loaded."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except MemoryError as error:
        raise ResourceError(f"the arrays of {path} do not fit in memory, or it is damaged: {error}") from None
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for damaged files
        raise DataError(f"{path} is not an npz file of plain arrays, or is truncated: {error}") from None


# ---------------------------------------------------------------------------------------------- files, exactly once


def write_atomically(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    """Write a file beside its place and move it there: the old file or the new one, never half of one."""
    with _writing(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files; a run may be shared like any other
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a failed write into words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"no space is left to write {path} ({error.strerror}); free some, or choose another disk"
            ) from error
        raise DataError(f"cannot write {path}: {error.strerror}; choose another directory") from error


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    plain = "\\" not in name and "\0" not in name
    return plain and bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _delete_files(run: RunDirectory) -> list[str]:
    """Delete the files of a run and answer what is left in its directory. The record goes last."""
    names = [*run.record["files"], *(item.name for item in run.path.glob(".*.tmp")), RECORD]
    with _writing(run.path):
        for name in names:
            file = run.path / name
            inside = file.parent.resolve().is_relative_to(run.path.resolve())  # a linked folder could lead elsewhere
            if inside and (file.is_file() or file.is_symlink()):
                file.unlink()
        for folder in sorted({(run.path / name).parent for name in names} - {run.path}, reverse=True):
            with contextlib.suppress(OSError):  # not empty: it holds files that are not ours
                folder.rmdir()
        return sorted(item.name for item in run.path.iterdir())


# ------------------------------------------------------------------------------------------------- what it ran on


def _versions() -> dict[str, str | None]:
    """Versions by metadata: nothing is imported to learn them."""
    found: dict[str, str | None] = {"spectral_ssl": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "scikit-learn", "torch", "networkx"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def machine() -> dict[str, Any]:
    """Versions and platform, for records of measurements."""
    return {"versions": _versions(), "platform": _platform()}


def _cpu() -> str:
    """The processor's name where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _platform() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "implementation": platform.python_implementation(),
        "cpu_count": os.cpu_count(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


# ------------------------------------------------------------------------------------------------------- commands


def runs_list(*, root: Path = ROOT) -> dict[str, Any]:
    """List the runs in a directory, oldest first.

    Args:
        root: The directory that holds the runs.
    """
    rows = [
        {
            "run": run.name,
            "status": run.record["status"],
            "created": run.record["created"],
            "seconds": run.record.get("seconds"),
            "seed": run.record.get("seed"),
            "files": len(run.record["files"]),
        }
        for run in list_runs(root)
    ]
    return {"root": str(root), "runs": rows, "tables": {f"runs in {root}": rows}}


def runs_show(run: str, *, root: Path = ROOT) -> dict[str, Any]:
    """Show one run: its configuration, its state and its tables.

    Args:
        run: The run's directory, or its name under the root.
        root: The directory that holds the runs.
    """
    found = _find(run, root)
    facts = {key: found.record.get(key) for key in ("command", "status", "created", "seconds", "seed", "error")}
    tables = found.result.get("tables")
    return {
        **found.record,
        "path": str(found.path),
        "tables": {
            str(found.path): [{"field": key, "value": value} for key, value in facts.items() if value is not None],
            "configuration": [{"option": key, "value": value} for key, value in found.record["config"].items()],
            **(tables if isinstance(tables, dict) else {}),
        },
    }


def runs_compare(a: str, b: str, *, root: Path = ROOT) -> dict[str, Any]:
    """Compare two runs: options that differ, and every number of the results side by side.

    Rows of a table are matched by the texts that name them (such as method and model), not by their place.

    Args:
        a: The first run: its directory, or its name under the root.
        b: The second run.
        root: The directory that holds the runs.
    """
    first, second = _find(a, root), _find(b, root)
    options = [
        {"option": key, "a": x, "b": y}
        for key, x, y in _paired(dict(_leaves(first.record["config"])), dict(_leaves(second.record["config"])))
        if x != y
    ]
    numbers, texts = [], []
    for key, x, y in _paired(*map(dict, _named_leaves(first.result, second.result))):
        if _is_number(x) and _is_number(y):
            scale = max(abs(x), abs(y))
            numbers.append(
                {"entry": key, "a": x, "b": y, "difference": y - x, "relative": (y - x) / scale if scale else 0.0}
            )
        elif x != y:
            texts.append({"entry": key, "a": x, "b": y})
    return {
        "a": str(first.path),
        "b": str(second.path),
        "options": options,
        "numbers": numbers,
        "other_differences": texts,
        "tables": {"options that differ": options, "numbers": numbers, "other differences": texts},
    }


def runs_remove(runs: Sequence[str], *, root: Path = ROOT, yes: bool = False) -> dict[str, Any]:
    """Delete runs: the files each one lists as its own, and nothing else.

    Args:
        runs: The runs' directories, or their names under the root.
        root: The directory that holds the runs.
        yes: Delete without asking.
    """
    found = [_find(run, root) for run in runs]
    if not yes:
        if not sys.stdin.isatty():
            raise DataError("nothing was removed: there is no terminal to ask on; add --yes")
        names = ", ".join(str(run.path) for run in found)
        print(f"remove {names}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return {"removed": [], "kept": [str(run.path) for run in found], "tables": {}}
    removed, kept = [], []
    for run in found:
        left = _delete_files(run)
        if left:
            kept.append(str(run.path))
            warnings.warn(
                f"{run.path} stays: it holds files that are not the run's ({', '.join(left[:3])})",
                SpectralWarning,
                stacklevel=2,
            )
        else:
            with _writing(run.path):
                run.path.rmdir()
        removed.append(str(run.path))
    rows = [{"run": path, "directory": "kept" if path in kept else "removed"} for path in removed]
    return {"removed": removed, "kept": kept, "tables": {"removed runs": rows}}


def _find(run: str, root: Path) -> RunDirectory:
    for path in (Path(run), Path(root) / run):
        if (path / RECORD).is_file():
            return open_run(path)
    if Path(run).is_dir():
        return open_run(run)  # says what is wrong with it
    names = [file.parent.name for file in Path(root).glob(f"*/{RECORD}")]
    hint = did_you_mean(Path(run).name, names) if names else f"there are no runs in {root}"
    raise DataError(f"there is no run {run!r}, neither as a directory nor under {root}; {hint}")


# ----------------------------------------------------------------------------------------------- comparing results

Leaf = tuple[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _paired(a: dict[str, Any], b: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in [*a, *(key for key in b if key not in a)]:
        yield key, a.get(key), b.get(key)


def _leaves(value: Any, path: str = "") -> Iterator[Leaf]:
    """(path, value) of everything in nested mappings and lists that is neither."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{path}[{place}]")
    else:
        yield path, value


def _named_leaves(a: Any, b: Any, path: str = "") -> tuple[list[Leaf], list[Leaf]]:
    """`_leaves` of two results at once, rows of tables named alike in both."""
    if isinstance(a, dict) and isinstance(b, dict):
        children = [(f"{path}.{key}" if path else key, x, y) for key, x, y in _paired(a, b)]
    elif isinstance(a, list) and isinstance(b, list):
        children = [(f"{path}[{name}]", x, y) for name, x, y in _paired(*_named_rows(a, b))]
    else:
        return list(_leaves(a, path)), list(_leaves(b, path))
    pairs = [_named_leaves(x, y, name) for name, x, y in children]
    return [leaf for left, _ in pairs for leaf in left], [leaf for _, right in pairs for leaf in right]


def _named_rows(a: list[Any], b: list[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows by the fewest leading texts that tell them apart in both lists; by place where there are none."""
    rows = [*a, *b]
    if rows and all(isinstance(row, dict) for row in rows):
        texts = [key for key in rows[0] if all(isinstance(row.get(key), str) for row in rows)]
        for count in range(1, len(texts) + 1):
            names = [", ".join(row[key] for key in texts[:count]) for row in rows]
            left, right = names[: len(a)], names[len(a) :]
            if len(set(left)) == len(a) and len(set(right)) == len(b):
                return dict(zip(left, a, strict=True)), dict(zip(right, b, strict=True))
    return {str(place): row for place, row in enumerate(a)}, {str(place): row for place, row in enumerate(b)}
