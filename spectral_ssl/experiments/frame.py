"""What every experiment shares: its record, its run directory, and how a trained embedding is judged.

An experiment is a function of this package and a line of `COMMANDS`; it returns

    question, answer     one sentence each, the answer with the numbers measured
    zero_line            what "0" is on its axes: the closed form, or the bound, in words
    rows                 flat dictionaries; "slug" names the arrays of a row in arrays.npz, as in "slug/Z"; rows without
                         one say the same again, for the figures, and are left out of the table
    curves               which columns of the rows to draw against which, read by report/curves.py:
                         {"name", "title", "x", "y", "by", "xlabel", "ylabel", "xscale", "yscale", "zero"} and, if
                         wanted, "where" {column: value} (which rows), "panel" (a column: one axes for each of its
                         values), "band" (columns low, high), "theory" (values of `by` that are predictions, drawn as
                         dashed lines), "said" {x or y value: words} (lines with a name), "caption"
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import spec
from spectral_ssl.comparison import GAP_JUDGED, principal_angles
from spectral_ssl.data import Dataset
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.compare import finish
from spectral_ssl.experiments.rows import method_name, parse_methods, relative_excess
from spectral_ssl.experiments.setting import Setting, data_summary, load_data, make_setting
from spectral_ssl.graph import Graph
from spectral_ssl.methods import Method
from spectral_ssl.progress import Progress, Task
from spectral_ssl.runs import RunDirectory

__all__ = [
    "Report",
    "check_list",
    "check_seeds",
    "excess_of",
    "experiment",
    "known_as",
    "largest_sine",
    "named_methods",
    "open_setting",
    "order_of",
    "reach",
    "repeats",
    "spread",
    "times",
]


@dataclass
class Report:
    """An experiment under way: `payload` is its record, every `add` is kept on disk."""

    run: RunDirectory
    payload: dict[str, Any]
    arrays: dict[str, Any]
    task: Task

    def add(self, row: Mapping[str, Any], **arrays: Any) -> None:
        """One more row, with the arrays its "slug" names."""
        self.payload["rows"].append(dict(row))
        if arrays:
            self.arrays |= {f"{row['slug']}/{name}": np.asarray(array) for name, array in arrays.items()}
            self.run.save_arrays("arrays", **self.arrays)
        self.run.write(self.payload)


@contextlib.contextmanager
def experiment(
    name: str,
    config: Mapping[str, Any],
    *,
    question: str,
    zero_line: str,
    steps: int,
    progress: Progress,
    setting: Setting | None = None,
    original: Dataset | None = None,
    notes: Iterable[str] = (),
    command: str = "experiment",
) -> Iterator[Report]:
    """A run directory and a record; both are finished, and figures drawn, when the block ends.

    original: the data that were split, where the record is to name those; the training rows otherwise. command: a line
    of `STUDIES` in report/plots.py and of `RENDERERS` in report/tables.py; `name` tells the studies of one command
    apart, "" where it has one.
    """
    label = f"{command} {name}".strip()
    seed, out, figures = (config.get(key) for key in ("seed", "out", "figures"))
    kept = {key: value for key, value in config.items() if key != "progress"}
    with RunDirectory.create(out, label, kept, seed) as run:
        payload: dict[str, Any] = {
            "command": command,
            "experiment": name,
            "question": question,
            "answer": "",
            "zero_line": zero_line,
            "rows": [],
            "curves": [],
            "notes": list(notes),
            "versions": run.record["versions"],
            "run": str(run.path),
        }
        if setting is not None:
            payload["data"] = data_summary(setting, setting.probe_train if original is None else original)
            payload["relation"] = setting.summary()
            payload["notes"] += setting.notes
        with progress.task(label, total=steps) as task:
            yield Report(run, payload, {}, task)
        finish(run, payload, bool(figures))


def open_setting(data: str, relation: str, *, test_size: float = 0.0, seed: int = 0) -> Setting:
    """Data and relation as the commands name them; all rows, unless some are to be held out for probes."""
    return make_setting(load_data(data), relation, test_size=test_size, seed=seed)


def check_list(values: Sequence[Any], name: str, low: float, *, strict: bool = False) -> list[Any]:
    """The distinct values of an option, ascending. Raises DataError for none, or for one below `low`."""
    found = sorted(set(values))
    if not found:
        raise DataError(f"{name} must name at least one value, as in --{name.replace('_', '-')} 1,2,4")
    for value in (found[0], found[-1]):
        if not np.isfinite(value) or value < low or (strict and value == low):
            raise DataError(f"{name} must be numbers {'above' if strict else 'of at least'} {low:g}, got {value}")
    return found


def check_seeds(seeds: int, seed: int) -> range:
    """The seeds of repeated runs: seed, seed + 1, ..."""
    if isinstance(seeds, bool) or seeds < 1:
        raise DataError(f"seeds, the number of runs that a median is taken over, must be at least 1, got {seeds}")
    return range(seed, seed + seeds)


def named_methods(text: str) -> dict[str, Method]:
    """Methods of a call string by name; several of one name by their calls, as in "vicreg(form=hinge)"."""
    found = parse_methods(text)
    names = [method_name(method) for method in found]
    calls = [spec.format_call(*call) for call in spec.parse_calls(text)]
    return {
        call if names.count(name) > 1 else name: method for name, call, method in zip(names, calls, found, strict=True)
    }


def excess_of(Z: Any, method: Method, graph: Graph, best: Optimum) -> float:
    """The loss of Z over the whole relation above its closed form, as a share of the way to collapse."""
    collapse = best.method.collapse_loss(graph, np.shape(Z)[1])
    return relative_excess(float(method.loss(Z, graph)), best.loss, collapse)


def largest_sine(Z: Any, best: Optimum | Array) -> float | None:
    """Of the principal angles between an embedding and an optimum; None where the optimal subspace is not unique."""
    if isinstance(best, Optimum) and (
        best.unique_up_to == "none" or best.rank == 0 or (np.isfinite(best.gap) and best.gap < GAP_JUDGED)
    ):
        return None
    angles = principal_angles(Z, best)
    return float(np.sin(angles.max())) if angles.size else None


def spread(values: Iterable[float | None], name: str) -> dict[str, float | None]:
    """Median, least and greatest of repeated runs, as three columns of a row."""
    found = [value for value in values if value is not None]
    if not found:
        return {name: None, f"{name}_min": None, f"{name}_max": None}
    return {name: float(np.median(found)), f"{name}_min": min(found), f"{name}_max": max(found)}


def order_of(x: Sequence[float], y: Sequence[float]) -> float | None:
    """p of y ~ x^p over the last half of the values, at least two; None where there are not two above zero."""
    kept = np.log([pair for pair in zip(x, y, strict=True) if pair[1] > 0])
    kept = kept[-max(2, (len(kept) + 1) // 2) :]
    return float(np.polyfit(kept[:, 0], kept[:, 1], 1)[0]) if len(kept) > 1 else None


def known_as(kinds: Iterable[str]) -> str:
    """What a zero line is, where the optima are of these kinds: no closed form if one of them was searched for."""
    found = set(kinds)
    if found <= {"exact"}:
        return "the closed form"
    return "the certified optimum" if found <= {"exact", "certified"} else "the proven bound"


def repeats(several: Sequence[int], words: str) -> str:
    """Of a caption: what is drawn of several runs, as in "; median and range of 3 runs"; of one run nothing."""
    return f"; {words} {len(several)} runs" if len(several) > 1 else ""


def reach(values: Iterable[float]) -> str:
    """From the least to the greatest, in an answer.

    >>> reach([0.5, 0.1]), reach([0.1])
    ('0.1 to 0.5', '0.1')
    """
    low, high = times(min(found := list(values))), times(max(found))
    return low if low == high else f"{low} to {high}"


def times(value: float) -> str:
    """A number in an answer: two digits, no exponent where none is needed.

    >>> [times(v) for v in (0.01234, 3.2e-7, 12.6, 0)]
    ['0.012', '3.2e-07', '13', '0']
    """
    return f"{value:.2g}"
