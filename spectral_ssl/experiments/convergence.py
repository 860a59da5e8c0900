"""`converge`: gradient descent of over-parametrised encoders on fixed tuples, and the envelopes it must stay under."""

from __future__ import annotations

import contextlib
import inspect
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, SpectralWarning, did_you_mean
from spectral_ssl.experiments.compare import finish
from spectral_ssl.experiments.convergence_rows import answer_of, descent_row, drawn_rows, fit_curve, not_applied
from spectral_ssl.experiments.convergence_tuples import CASES, tuples_of
from spectral_ssl.experiments.frame import Report, check_list, experiment
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.runs import open_run, to_jsonable
from spectral_ssl.theory.bound import Bound
from spectral_ssl.theory.convergence import dead_start
from spectral_ssl.theory.tuples import Infimum, Tuples
from spectral_ssl.training.checkpoint import Checkpoint
from spectral_ssl.training.convergence import DescentSetup, MarginProblem, descend, run_identity

__all__ = ["converge"]

SLOW = 0.05  # |grad|^2 / loss up to which small margins are called a dead start
PARALLEL = 0.8  # least cosine of rows above which it is they that make outputs coincide
TOLD = 50  # steps between two words on how a run stands
KEPT = "checkpoints"  # the folder of unfinished runs, inside the run directory


def converge(
    *,
    data: str | None = None,
    labels: Path | None = None,
    random_labels: bool = False,
    standardize: bool = False,
    losses: Sequence[str] = ("logistic", "squared"),
    widths: Sequence[int] = (32, 128, 512),
    depth: int = 2,
    n_outputs: int = 16,
    n_tuples: int = 16,
    negatives: int = 2,
    n_features: int | None = None,
    pool_size: int = 18,
    temperature: float = 0.5,
    target: float = 1.0,
    output_scale: float = 1.0,
    steps: int = 1000,
    learning_rate: float | None = None,
    looks: int = 16,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    resume: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Descend the training error of wide ReLU encoders, step by step against what theory promises of it.

    Each run says how its loss falls (a power law or a linear rate, by R²), the envelopes it must stay under and from
    which measured constants, the least eigenvalue of the margin kernel, and how far the weights moved. An envelope
    whose assumptions fail is not applied.

    Args:
        data: A labelled data set by name, or a file, rows brought to length 1; left out, random unit vectors.
        labels: A file of labels, one per row of the data.
        random_labels: Shuffle the labels first: a control.
        standardize: Bring every feature of the data to mean 0 and variance 1 first: rows that share a large mean are
            nearly equal at length 1.
        losses: Of logistic, squared (margins to a target), pool (shared rows, collisions), unit (outputs of length 1).
        widths: Of the hidden layers.
        depth: Trained hidden layers.
        n_outputs: Dimension of the outputs.
        n_tuples: Anchors with their positive and negatives; pool adds the exchanges that make its infimum known.
        negatives: Negatives N of each anchor.
        n_features: Of the random unit vectors, 64 if left out.
        pool_size: Rows of the pool.
        temperature: Of unit outputs.
        target: Of squared margins.
        output_scale: A factor of the frozen output layer; small ones make dead starts (not for unit).
        steps: Of full-batch gradient descent.
        learning_rate: Constant; left out, half of 1/curvature at the start, and halved where a step needs it.
        looks: At so many steps of each run the margin kernel is measured.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the weights and the tuples.
        out: The run directory; left out, a new one under runs/.
        resume: An interrupted run's directory, to go on in, with its options.
    """
    config = dict(locals())
    if resume is not None:
        config = _recorded(config, resume)
    plan = _plan(config)
    with _opened(config, plan, resume, progress) as report:
        done = {row.get("slug") for row in report.payload["rows"]}
        for cell in plan.cells:
            if cell.slug not in done:
                try:
                    _finish_cell(cell, plan, report)
                except KeyboardInterrupt:
                    path = report.run.path
                    progress.note(f"kept in {path}; go on with: spectral-ssl converge --resume {path}")
                    raise
            report.task.advance(text=cell.slug)
        rows = [row for row in report.payload["rows"] if "slug" in row]
        report.payload["answer"] = answer_of(rows)
        report.payload["notes"] += not_applied(report.payload["bounds"])
        report.payload["figure_rows"] = [
            drawn for cell in plan.cells for drawn in drawn_rows(cell.slug, report.arrays, cell.case, cell.setup.width)
        ]
    return report.payload


# --------------------------------------------------------------------------------------------------------- what to run


@dataclass(frozen=True)
class Cell:
    """One run: a case at a width."""

    case: str
    setup: DescentSetup
    tuples: Tuples
    infimum: Infimum

    @property
    def slug(self) -> str:
        return f"{self.case}-{self.setup.width}"


@dataclass(frozen=True)
class Plan:
    cells: tuple[Cell, ...]
    steps: int
    learning_rate: float | None
    looks: int
    seed: int
    data: dict[str, Any]


def _plan(config: Mapping[str, Any]) -> Plan:
    """Every run of a command, checked before any begins."""
    names = list(dict.fromkeys(config["losses"]))
    for name in names:
        if name not in CASES:
            raise DataError(f"losses: {name!r} is none; {did_you_mean(name, CASES)}. Choose of {', '.join(CASES)}")
    if not names:
        raise DataError(f"losses must name at least one of {', '.join(CASES)}")
    widths = check_list(config["widths"], "widths", 1)
    tuples, summary = tuples_of(config, names)
    cells = []
    for name in names:
        case = CASES[name]
        heat = config["temperature"] if case.unit else 1.0
        drawn = tuples[case.pool]
        floor = (
            Infimum(0.0, 0.0, "margins that reach the target")
            if case.loss == "squared"
            else drawn.infimum(heat if case.unit else None)
        )
        for width in widths:
            setup = DescentSetup(
                width=width, depth=config["depth"], n_outputs=config["n_outputs"], loss=case.loss, unit=case.unit,
                temperature=heat, target=config["target"] if case.loss == "squared" else 1.0,
                output_scale=1.0 if case.unit else config["output_scale"],
            )  # fmt: skip
            cells.append(Cell(name, setup, drawn, floor))
    if config["output_scale"] != 1 and all(CASES[name].unit for name in names):
        raise DataError("unit outputs have no scale; leave output_scale out, or add another of the losses")
    defaults = {name: p.default for name, p in inspect.signature(converge).parameters.items()}
    for key, case_name in (("target", "squared"), ("pool_size", "pool"), ("temperature", "unit")):
        if config[key] != defaults[key] and case_name not in names:
            raise DataError(f"{key} is of the loss {case_name!r}, and losses are {', '.join(names)}; leave it out")
    for key, low in (("steps", 10), ("looks", 2)):
        if config[key] < low:
            raise DataError(f"{key} must be at least {low}, got {config[key]}")
    rate = config["learning_rate"]
    if rate is not None and not 0 < rate < math.inf:
        raise DataError(f"learning_rate must be a number above 0, got {rate}")
    return Plan(tuple(cells), config["steps"], rate, config["looks"], config["seed"], summary)


# --------------------------------------------------------------------------------------------------- running, resuming


def _recorded(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The options of an interrupted run. Raises DataError for options that were given anew and are others."""
    if config["out"] is not None:
        raise DataError(f"a resumed run goes on in {path}: give --resume without --out, or --out without --resume")
    run = open_run(path)
    if run.record["command"] != "converge":
        raise DataError(f"{path} is a run of {run.record['command']!r}; resume a run of converge")
    if run.record["status"] == "done":
        raise DataError(f"{path} is done: there is nothing to resume; spectral-ssl runs show {path} tells it")
    defaults = {name: p.default for name, p in inspect.signature(converge).parameters.items()}
    before = run.record["config"]
    free = ("resume", "out", "progress", "figures")
    given = {key: value for key, value in config.items() if key not in free}
    for key, value in given.items():
        same = to_jsonable(value) in (to_jsonable(defaults[key]), before.get(key))
        if not same:
            raise DataError(
                f"{key} was {before.get(key)!r} in {path}; a resumed run keeps its options: leave {key} out"
            )
    kept = {key: before.get(key, defaults[key]) for key in given}
    return {**kept, "labels": None if kept["labels"] is None else Path(kept["labels"]), "out": str(path),
            "figures": config["figures"], "resume": path}  # fmt: skip


@contextlib.contextmanager
def _opened(config: Mapping[str, Any], plan: Plan, resume: Path | None, progress: Progress) -> Iterator[Report]:
    """A new run with its record, or an interrupted one with its finished rows and arrays."""
    total = len(plan.cells)
    if resume is None:
        with experiment(
            "", config, question="How fast does gradient descent bring the training error down, and what was promised?",
            zero_line="the infimum of the loss", steps=total, progress=progress, command="converge",
        ) as report:  # fmt: skip
            n, N = plan.cells[0].tuples.n, plan.cells[0].tuples.n_negatives
            report.payload |= {
                "data": plan.data,
                "bounds": [],
                "setting": f"{n} tuples of {N} negatives, {plan.cells[0].setup.depth} trained layers",
                "notes": report.payload["notes"] + _notes(plan),
            }
            report.run.write(report.payload)
            yield report
        return
    with open_run(resume) as run:
        payload = dict(run.result)
        arrays = run.load_arrays("arrays") if (run.path / "arrays.npz").is_file() else {}
        with progress.task("converge", total=total) as task:
            yield Report(run, payload, dict(arrays), task)
        finish(run, payload, bool(config["figures"]))


def _finish_cell(cell: Cell, plan: Plan, report: Report) -> None:
    """One run, from its checkpoint where it has one; then its row, its arrays and its bounds."""
    folder = report.run.path / KEPT / cell.slug
    options: dict[str, Any] = {
        "steps": plan.steps, "learning_rate": plan.learning_rate, "looks": plan.looks, "seed": plan.seed,
    }  # fmt: skip
    checkpoint = Checkpoint(folder, run_identity(cell.tuples, cell.setup, **options))

    def watch(t: int, loss: float) -> None:
        if t % TOLD == 0:
            report.task.advance(0, f"{cell.slug}, step {t}: loss {loss:.3g}")

    try:
        found = descend(
            cell.tuples, cell.setup, infimum=cell.infimum.low, checkpoint=checkpoint, watch=watch, **options
        )
    except BaseException:
        for file in folder.glob("*"):  # listed, so that they are removed with the run
            report.run.file_path(f"{KEPT}/{cell.slug}/{file.name}")
        raise
    row, bounds = descent_row(cell.case, cell.slug, found, cell.infimum)
    t = found.trace
    report.payload["bounds"] += [{"loss": cell.case, "width": cell.setup.width, **b.row()} for b in bounds]
    report.add(
        row, losses=t.losses, squared_gradients=t.squared_gradients, excess=t.excess, looks=t.looks,
        learning_rates=t.learning_rates, kernel_least=t.kernel_least, kernel_greatest=t.kernel_greatest,
        motion=t.motion, fit=fit_curve(t), kernel_envelope=_legal(bounds[1], t.kernel_envelope),
        gradient_envelope=_legal(bounds[2], t.gradient_envelope),
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)  # what it held is in the arrays of the run
    with contextlib.suppress(OSError):
        (report.run.path / KEPT).rmdir()
    start = f"{KEPT}/{cell.slug}/"
    report.run.record["files"] = [name for name in report.run.record["files"] if not name.startswith(start)]


def _legal(bound: Bound, curve: Any) -> Array:
    """An envelope (T+1,), empty where its assumptions fail."""
    return np.asarray(curve()) if bound.legal and bound.observed is not None else np.empty(0)


# --------------------------------------------------------------------------------------------------------- what is told


def _why_dead(cell: Cell, size: float) -> str:
    """What a dead start comes from, and what mends it."""
    if size == 0:
        return "no row gets through the layers: raise width, or lower depth"
    X = cell.tuples.X
    cosine = float((X @ X.T).min())
    if cosine > PARALLEL:
        return f"all rows point nearly the same way (least cosine {cosine:.6g}): standardize centres the features"
    if cell.setup.unit:
        return "outputs of all rows nearly coincide: raise width"
    return "f = 0 is a critical point, near which |grad|² falls as output_scale^4: raise output_scale"


def _notes(plan: Plan) -> list[str]:
    notes = []
    for cell in {cell.case: cell for cell in plan.cells}.values():
        case, t, floor = CASES[cell.case], cell.tuples, cell.infimum
        told = f"{floor.low:.4g}" if floor.known else f"between {floor.low:.4g} and {floor.high:.4g}"
        if case.loss == "logistic":
            notes.append(f"{cell.case}: {case.words}, {t.n} tuples, infimum {told} ({floor.why})")
        else:
            notes.append(f"{cell.case}: {case.words}, {t.n} tuples, target {cell.setup.target:g}")
    for cell in plan.cells:
        problem = MarginProblem(cell.tuples, cell.setup, plan.seed)
        values = problem.margins().detach().numpy()
        if not dead_start(values):
            continue
        loss, gradient = problem.evaluate()
        size = sum(float(g.square().sum()) for g in gradient)
        if size <= SLOW * float(loss.mean()):  # few margins may be small where the loss falls all the same
            told = (
                f"{cell.slug} is a dead start: no margin is above {np.abs(values).max():.2g}, |grad|² is {size:.2g}; "
                f"{_why_dead(cell, size)}"
            )
            warnings.warn(told, SpectralWarning, stacklevel=3)
            notes.append(told)
    notes.append(
        "envelopes are derived here, from constants measured along the run: the kernel's from its least eigenvalue, "
        "the gradient's from the least |grad|²/excess² (squared: |grad|²/loss)"
    )
    return notes
