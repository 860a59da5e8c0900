"""`bounds`: features and labels. What does the contrastive risk say of the mean classifier, K negatives at a time?

Which limits are legal, which say anything, how near the best comes, and how the two risks move together in training.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.data import read_labels
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import Report, check_list, experiment, times
from spectral_ssl.experiments.setting import check_spread, load_data, make_setting
from spectral_ssl.experiments.surrogate_parts import Made, Subject, as_prior_option, from_files, made_here, populated
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Model
from spectral_ssl.theory.bound import Bound
from spectral_ssl.theory.collisions import collision_probability, in_batch_collisions, log_collision
from spectral_ssl.theory.risks import LAW, supervised_risk
from spectral_ssl.theory.subtasks import Loss, drawn_task_bound, fixed_task_bound, one_negative
from spectral_ssl.theory.surrogate import BEST, RIVALS, SurrogateReport, surrogate_bounds

__all__ = ["bounds", "limit_columns", "report_rows"]

OF_MAKING = (
    "relation", "method", "n_components", "model", "kernel", "trained", "optimizer", "learning_rate", "max_iter",
    "test_size",
)  # fmt: skip
USUAL = 16  # components
TASK_SIZES = (2, 5)  # classes of the fixed tasks that are told
DRAWN_UP_TO = 64  # negatives: past it nearly every tuple has a collision, and the limit is past every ceiling


def bounds(
    representations: Sequence[Path] = (),
    *,
    data: str | None = None,
    labels: Path | None = None,
    relation: str = "labels",
    method: str = "vicreg",
    n_components: int | None = None,
    model: Model = "linear",
    kernel: str | None = None,
    trained: bool = False,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    max_iter: int = 256,
    negatives: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    temperature: float = 1.0,
    normalize: bool = True,
    prior: str = "uniform",
    exact_rows: int = 6000,
    draws: int = 20_000,
    tasks: bool = True,
    test_size: float = 0.25,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """The surrogate gap of any labelled features: the contrastive risk for every number of negatives, and what follows.

    R_cont, exact for all K at once, and the cross-entropy R_supv of the mean classifier over all classes: the band
    between them, its sharper form, two limits without norm or coverage, and the rivals of the literature. Each limit is
    told legal or not, vacuous or not; norm and temperature are those of the features. Several representations of the
    same rows, or --trained, are drawn as a trajectory of both risks inside the band. With no representation one is
    solved on the data.

    Args:
        representations: npy, npz or csv files of Z, one row per sample, or runs of compare; in order of training, say.
        data: A labelled data set by name, or a file: digits, unless representations bring labels of their own.
        labels: A file of labels, one per row.
        relation: Positive pairs that the representation is made from.
        method: What makes it: the closed form, or --trained, of a method by name.
        n_components: Its dimension; left out, 16, or as many as there are features.
        model: Over linear maps, a kernel's features, or all embeddings of the training rows (free).
        kernel: Of the kernel model, as for compare.
        trained: Train instead of solving, and keep Z on the way.
        optimizer: Of training, on the whole relation.
        learning_rate: Of training; left out, chosen.
        max_iter: Steps of training.
        negatives: Numbers K of negatives.
        temperature: T: all scores are divided by it, and b^2 = 1/T for unit rows.
        normalize: Bring every row to length 1; without it b is the longest row.
        prior: Of the classes: uniform (what the rivals are stated for), empirical, or numbers as in 0.5,0.3,0.2.
        exact_rows: The most rows whose risk is computed exactly, in O(n^2); by Monte Carlo above.
        draws: Tuples of Monte Carlo.
        tasks: Tell the statements on tasks of fewer classes, and those of one negative, too.
        test_size: Share of the rows held out, which is then what is judged.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the split, the training and Monte Carlo.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    ks = check_list(negatives, "negatives", 1)
    if exact_rows < 0:
        raise DataError(f"exact_rows must be at least 0, for Monte Carlo always, got {exact_rows}")
    pi = as_prior_option(prior)
    made = _subjects(config, seed)
    populations = [populated(s, normalize=normalize, temperature=temperature, prior=pi) for s in made.subjects]
    for people in populations:
        if people.n > exact_rows and draws < 2 * people.C:
            raise DataError(f"draws must be at least {2 * people.C}, two for each of {people.C} classes, got {draws}")
    with experiment(
        "",
        config,
        question="What does the contrastive risk say of the mean classifier, K negatives at a time?",
        zero_line="the least risk that class means of this norm can have (floor)",
        steps=len(populations) + int(tasks),
        progress=progress,
        setting=made.setting,
        notes=made.notes,
        command="bounds",
    ) as report:
        if made.setting is None:
            main = made.subjects[made.main]
            report.payload["data"] = {"name": main.name, "n_samples": len(main.Z), "n_classes": populations[-1].C}
        report.payload |= {"subjects": [], "statements": [], "law": LAW, "main": made.main, "history": made.history}
        found: list[SurrogateReport] = []
        for place, (subject, people) in enumerate(zip(made.subjects, populations, strict=True)):
            exact = people.n <= exact_rows
            judged = surrogate_bounds(people, ks, method="exact" if exact else "monte_carlo", n_draws=draws, seed=seed)
            found.append(judged)
            described = describe(subject, judged)
            if subject.means_of is not None and populations[subject.means_of].C == people.C:
                means = populations[subject.means_of].means
                described["supervised_by_training_means"] = supervised_risk(people, means=means)
            report.payload["subjects"].append(described)
            report.payload["statements"] += [{"subject": place, **row} for row in judged.rows()]
            for row in report_rows(subject, judged, place):
                report.add(row)
            report.task.advance(text=f"{subject.part} of {subject.name}")
        main_report = found[made.main]
        _law_notes(report, main_report, ks)
        if tasks:
            report.payload["tasks"] = [bound.row() for bound in task_bounds(main_report, ks, seed)]
            report.task.advance(text="tasks of fewer classes")
        report.payload["answer"] = _answer(report.payload, found, made)
        report.payload["setting"] = made.words
    return report.payload


def _subjects(config: Mapping[str, Any], seed: int) -> Made:
    """From files, or made here; options of the one are refused with the other."""
    given = tuple(config["representations"])
    defaults = {name: p.default for name, p in inspect.signature(bounds).parameters.items()}
    labels = None if config["labels"] is None else read_labels(config["labels"])
    if given:
        if idle := [name for name in OF_MAKING if config[name] != defaults[name]]:
            raise DataError(f"{_flags(idle)} would make a representation, and one was given; leave one of the two out")
        return from_files(given, None if config["data"] is None else load_data(config["data"]), labels)
    if not config["trained"] and (idle := [n for n in ("optimizer", "learning_rate") if config[n] != defaults[n]]):
        raise DataError(f"{_flags(idle)} is of training; add --trained")
    base = load_data(config["data"] or "digits", config["labels"])
    check_spread(base)
    setting = make_setting(base, config["relation"], test_size=config["test_size"], seed=seed)
    K = config["n_components"]
    if K is None:
        K = min(USUAL, setting.data.n_features if config["model"] == "linear" else setting.data.n_samples - 1)
    names = ("model", "kernel", "trained", "optimizer", "learning_rate", "max_iter")
    return made_here(setting, config["method"], K, **{n: config[n] for n in names}, seed=seed)


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def describe(subject: Subject, judged: SurrogateReport) -> dict[str, Any]:
    """One representation in a record: everything that does not depend on K."""
    people, sticks = judged.population, judged.yardsticks
    return {
        "name": subject.name,
        "part": subject.part,
        "step": subject.step,
        "n_samples": people.n,
        "n_classes": people.C,
        "prior": "uniform" if people.uniform else people.prior.tolist(),
        "b2": people.b2,
        "temperature": people.temperature,
        "normalized": people.normalized,
        "supervised": judged.supervised,
        "accuracy": judged.accuracy,
        "log_sum": judged.log_sum,
        "spread": judged.spread,
        "floor": sticks.floor,
        "chance": sticks.chance,
        "ceiling": sticks.ceiling,
        "score_ceiling": sticks.score_ceiling,
        "risk": judged.contrastive.kind,
        "largest_error": float(judged.contrastive.error.max()),
    }


def limit_columns(found: Mapping[str, Bound]) -> dict[str, Any]:
    """The limits of one K as columns of a row: None where one is not legal."""
    columns: dict[str, Any] = {}
    for name, bound in found.items():
        key = name.replace(",", "").replace(" ", "_").replace("-", "_").lower()
        columns[key] = bound.limit if bound.legal and np.isfinite(bound.limit) else None
    return columns


def report_rows(subject: Subject, judged: SurrogateReport, place: int) -> list[dict[str, Any]]:
    """A row for each K: the risks, the narrowest band and where it comes from, every limit, what says nothing."""
    rows = []
    for n, (k, found) in enumerate(zip(judged.K, judged.bounds, strict=True)):
        lower = max((b for name, b in found.items() if name.endswith("band, lower")), key=lambda b: b.limit)
        best = found[BEST]
        rows.append(
            {
                "part": subject.part if subject.step is None else f"{subject.part}, step {subject.step}",
                "negatives": int(k),
                "contrastive": float(judged.contrastive.value[n]),
                "lower": lower.limit,
                "supervised": judged.supervised,
                "upper": best.limit,
                "by": best.source.partition(":")[0],
                **limit_columns(found),
                "class_means": float(judged.class_means.value[n]),
                "noise": float(judged.noise[n]),
                "collisions": judged.constants[n].log_collision,
                "error": float(judged.contrastive.error[n]),
                "vacuous": [name for name, b in found.items() if b.verdict == "vacuous"],
                "illegal": [name for name, b in found.items() if b.verdict == "illegal"],
                "violated": [name for name, b in found.items() if b.verdict == "violated"],
                "step": subject.step,
                "subject": place,
                "slug": f"subject-{place}.{k}",
            }
        )
    return rows


def task_bounds(judged: SurrogateReport, ks: Sequence[int], seed: int) -> list[Bound]:
    """Tasks of the classes drawn with K negatives, fixed tasks of the first classes, and one negative."""
    people, found = judged.population, []
    for k in ks:
        if k <= DRAWN_UP_TO:
            found.append(drawn_task_bound(people, judged.contrastive, int(k), seed=seed))
    for size in TASK_SIZES:
        fewer = [k for k in ks if k >= size] if size < people.C else []
        if fewer and judged.contrastive.kind == "exact":
            k = min(fewer, key=lambda k: _task_limit(judged, size, int(k)))
            found.append(fixed_task_bound(people, judged.contrastive, people.classes[:size].tolist(), int(k)))
    if judged.contrastive.kind == "exact":
        loss: Loss
        for loss in ("hinge", "logistic"):
            found += [replace(b, name=f"{b.name}, {loss}") for b in one_negative(people, loss).bounds()]
    return found


def _task_limit(judged: SurrogateReport, size: int, k: int) -> float:
    return fixed_task_bound(judged.population, judged.contrastive, judged.population.classes[:size].tolist(), k).limit


def _law_notes(report: Report, judged: SurrogateReport, ks: Sequence[int]) -> None:
    """Which law of negatives the numbers are for, beside that of a batch."""
    people, notes = judged.population, report.payload["notes"]
    notes.append(f"the law of the numbers: {LAW}; natural logarithms")
    fits = [k for k in ks if k < people.n]
    if fits:
        k, pi = fits[-1], people.prior
        one, several = in_batch_collisions(people.counts, 1)[0], in_batch_collisions(people.counts, k)[1]
        notes.append(
            f"a negative collides with probability {collision_probability(pi, 1):.4g}, and E ln(1 + Col) is "
            f"{log_collision(pi, k):.4g} at K = {k}; in a batch of these {people.n:,} rows, without replacement and "
            f"without the anchor's own row, {one:.4g} and {several:.4g}"
        )
    if judged.contrastive.kind == "exact":
        notes.append(f"R_cont is exact: proven to be within {times(float(judged.contrastive.error.max()))}")
    else:
        error = times(float(judged.contrastive.error.max()))
        notes.append(f"R_cont by Monte Carlo, standard error up to {error}; limits are moved by four of them")
    if not people.normalized:
        notes.append(f"rows as they are: b^2/T = {people.b2:.6g} is that of the longest row")


def _answer(payload: Mapping[str, Any], found: Sequence[SurrogateReport], made: Made) -> str:
    judged, subject = found[made.main], payload["subjects"][made.main]
    K = [int(k) for k in judged.K]
    uppers = [b[BEST].limit for b in judged.bounds]
    n = int(np.argmin(uppers))
    lower = max(b.limit for name, b in judged.bounds[n].items() if name.endswith("band, lower"))
    by = judged.bounds[n][BEST].source.partition(":")[0]
    published = [judged.bounds[n][f"band, {side}"].limit for side in ("lower", "upper")]
    told = (
        f"{subject['part']} of {subject['name']}: R_supv = {judged.supervised:.4g} (floor {subject['floor']:.4g}, "
        f"chance {subject['chance']:.4g}, ceiling {subject['ceiling']:.4g}), accuracy {100 * judged.accuracy:.1f} %. "
        f"R_cont puts it between {max(lower, subject['floor']):.4g} and {uppers[n]:.4g} at K = {K[n]} ({by}); the "
        f"published band between {published[0]:.4g} and {published[1]:.4g}"
    )
    rivals = [(k, name, b[name]) for k, b in zip(K, judged.bounds, strict=True) for name in RIVALS]
    legal = [(k, name, bound) for k, name, bound in rivals if bound.legal]
    if legal:
        k, name, least = min(legal, key=lambda item: item[2].limit)
        said = "which is vacuous too" if least.vacuous else "and says something"
        told += f"; the best of the rivals is {name}, {times(least.limit)} at K = {k}, {said}"
        told += f" ({sum(bool(b.vacuous) for _, _, b in legal)} of {len(legal)} legal ones are vacuous)"
    else:
        told += "; no rival is legal for this prior and these K"
    violated = sum(len(r.violated()) for r in found)
    told += ". No limit is violated." if not violated else f". {violated} limits are VIOLATED: look at run.json."
    if "supervised_by_training_means" in subject:
        at = made.subjects[made.main].means_of
        assert at is not None
        own = payload["subjects"][at]["supervised"]
        told += (
            f" By the class means of the training rows R_supv is {subject['supervised_by_training_means']:.4g} there, "
            f"and {own:.4g} on the training rows themselves."
        )
    if len(made.history) > 1:
        first, last = (payload["subjects"][made.history[p]] for p in (0, -1))
        told += f" Along the way R_supv went from {first['supervised']:.4g} to {last['supervised']:.4g}."
    return told
