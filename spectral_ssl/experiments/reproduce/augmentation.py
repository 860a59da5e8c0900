"""Richer and stronger augmentations: does 1 - sigma fall with them, and the error with it?

Huang, Yi, Zhao & Jiang 2023 (arXiv 2111.00743) train four losses on CIFAR while transforms are taken away one by one,
and while one of them is made weaker: accuracy falls each time, and over all pairs of transforms errors rank as
1 - sigma does. Here in kind, on data of our own: the same three designs, encoders in closed form, no training noise.

    richness    prefixes of a list of transforms, and all pairs of them
    strength    the first transform with one more, at 1, 1/2, 1/4, 1/8 of its strength

1 - sigma is that of `theory.main_parts`, at one delta for all sets and seeds: a quantile of the distances within
classes of the samples as they are. Errors are of the nearest class centre and of nearest neighbours, on samples held
out.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import spec
from spectral_ssl.data import TRANSFORMS
from spectral_ssl.data._checks import check_real
from spectral_ssl.data.views import Transform
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.augmentation_parts import (
    Candidate,
    candidate_of,
    errors_of,
    fitted,
    rank_correlation,
)
from spectral_ssl.experiments.frame import Report, check_list, check_seeds, experiment, named_methods, repeats
from spectral_ssl.experiments.recipe import Recipe
from spectral_ssl.experiments.reproduce.outcome import Criterion, at_least, at_most, conclude, drawn
from spectral_ssl.experiments.setting import data_summary
from spectral_ssl.methods import Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.theory.augmentation import Features
from spectral_ssl.theory.main_parts import raw_distances

__all__ = ["richness", "strength"]

METHODS = "vicreg, spectral_contrastive, barlow_twins"
LETTERS = "abcdefgh"
FLAT = 0.01  # of an accuracy or of 1 - sigma: a step against the predicted direction that chance makes
WHOLE = ("pixels", "size")  # options that are whole numbers
CLEAR = 0.3  # Spearman's coefficient that is called clearly positive


@dataclass(frozen=True)
class Sometimes:
    """A transform of each row with probability p; other rows stay as they are."""

    step: Transform
    p: float

    def __call__(self, X: Array, rng: np.random.Generator, image_shape: Any) -> Array:
        chosen = rng.random(len(X)) < self.p
        views = X.copy()
        if chosen.any():
            views[chosen] = self.step(X[chosen], rng, image_shape)
        return views

    def __str__(self) -> str:
        return f"{self.step} with chance {self.p:g}"


def richness(
    *,
    data: str = "digits",
    transforms: str = "shift(pixels=1), blur(sigma=0.7), dropout(rate=0.1), rotation(degrees=20), noise(scale=0.1)",
    chance: float = 0.5,
    methods: str = METHODS,
    n_components: int = 8,
    n_views: int = 8,
    delta_shares: Sequence[float] = (0.2, 0.5),
    test_size: float = 0.25,
    seeds: int = 3,
    budget: int = 500,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Richness: transforms taken away from the right, and all pairs of them, in closed form.

    Args:
        data: A data set with classes, by name, or a file.
        transforms: At least three, the most needed first; sets are its prefixes and its pairs.
        chance: With which a transform other than the first of the list is applied, so that views of a set are among
            those of every larger one.
        methods: Losses whose optima over linear maps are the encoders.
        n_components: Dimension of the features.
        n_views: Views per sample, the sample itself among them.
        delta_shares: Quantiles of the distances within classes taken as delta; the last is the one figures show.
        test_size: Share of the samples held out.
        seeds: Splits and draws of views; means are told.
        budget: Nodes of the search for larger cliques, per class and delta.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the first split.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    calls = [spec.format_call(*call) for call in spec.parse_calls(transforms)]
    if not 3 <= len(calls) <= len(LETTERS):
        raise DataError(
            f"transforms must be 3 to {len(LETTERS)}, so that taking some away says something: got {len(calls)}"
        )
    named = dict(zip(LETTERS, calls, strict=False))
    rich = ["".join(list(named)[:count]) for count in range(len(calls), 0, -1)]
    pairs = ["".join(pair) for pair in itertools.combinations(named, 2)]
    check_real(chance, "chance", low=0, high=1, open_low=True)
    steps: dict[str, str | Sometimes] = {
        letter: call
        if letter == LETTERS[0]
        else Sometimes(spec.bind(TRANSFORMS, *spec.parse_call(call), kind="transform")(), chance)
        for letter, call in named.items()
    }
    sets = {name: [steps[letter] for letter in name] for name in dict.fromkeys([*rich, *pairs])}
    with _opened("augmentation-richness", config, sets, "Do more transforms bring classes together?") as report:
        rows = _measured(report, config, sets)
        ladder = [[rows[name, method] for name in reversed(rich)] for method in _methods(rows)]
        couples = [[rows[name, method] for name in pairs] for method in _methods(rows)]
        best = min(pairs, key=lambda name: np.mean([rows[name, m]["error"] for m in _methods(rows)]))
        nearest = min(pairs, key=lambda name: rows[name, _methods(rows)[0]]["missing"])
        letters = ", ".join(f"({letter}) {call}" for letter, call in named.items())
        report.payload["setting"] += f" · {letters}"
        report.payload["notes"].append(letters)
        conclude(
            report,
            "each transform added leaves 1 - sigma and the error of the nearest class centre no larger, and over all "
            "pairs of transforms errors rank as 1 - sigma does.",
            [
                *_ladder(ladder, "one more transform"),
                _ranked("the richness ladder", ladder),
                _ranked("all pairs", couples),
            ],
            f"{_by_method('the ladder', ladder)} {_by_method('pairs', couples)} Of the pairs, {nearest} has the "
            f"smallest 1 - sigma and {best} the smallest error.",
        )
        _curves(report, "transforms", rich[::-1], "More transforms")
        _curve(
            report, "pairs", sorted(pairs, key=lambda name: rows[name, _methods(rows)[0]]["missing"]),
            "Pairs of transforms: errors of encoders in closed form, by ascending 1 - σ",
            "pair of transforms, and its 1 - σ", lambda row: f"{row['set']} ({row['missing']:.2f})",
        )  # fmt: skip
    return report.payload


def strength(
    *,
    data: str = "digits",
    base: str = "shift(pixels=1)",
    transform: str = "rotation(degrees=20)",
    strengths: Sequence[float] = (0.125, 0.25, 0.5, 1),
    methods: str = METHODS,
    n_components: int = 8,
    n_views: int = 8,
    delta_shares: Sequence[float] = (0.2, 0.5),
    test_size: float = 0.25,
    seeds: int = 3,
    budget: int = 500,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Strength: one transform beside a fixed one, ever weaker, in closed form.

    Args:
        data: A data set with classes, by name, or a file.
        base: Transforms that all sets share; "" for none.
        transform: The one whose strength is its first option, a number: "rotation(degrees=20)", "noise(scale=1)".
        strengths: Shares of that number.
        methods: Losses whose optima over linear maps are the encoders.
        n_components: Dimension of the features.
        n_views: Views per sample, the sample itself among them.
        delta_shares: Quantiles of the distances within classes taken as delta; the last is the one figures show.
        test_size: Share of the samples held out.
        seeds: Splits and draws of views; means are told.
        budget: Nodes of the search for larger cliques, per class and delta.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the first split.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    shares = check_list(strengths, "strengths", 0.0, strict=True)
    if len(shares) < 3:
        raise DataError("strengths must be three at least, to say how an error changes with them")
    name, options = spec.parse_call(transform)
    scaled = next((key for key, v in options.items() if isinstance(v, int | float) and not isinstance(v, bool)), None)
    if scaled is None:
        raise DataError(f"{transform!r} names no number to make weaker; write it out, as in rotation(degrees=20)")
    full = options[scaled]
    weaker = {
        share: max(1, round(share * full)) if isinstance(full, int) and scaled in WHOLE else share * full
        for share in shares
    }
    sets = {
        f"{share:g}": [text for text in (base.strip(), spec.format_call(name, {**options, scaled: value})) if text]
        for share, value in weaker.items()
    }
    if len(set(weaker.values())) < len(sets):
        raise DataError(
            f"{scaled} of {name} is a whole number, and some of its shares are the same; choose a larger one"
        )
    with _opened("augmentation-strength", config, sets, "Does a stronger transform bring classes together?") as report:
        rows = _measured(report, config, sets)
        ladder = [[rows[name, method] for name in sets] for method in _methods(rows)]
        conclude(
            report,
            "each step to a stronger transform leaves 1 - sigma and the error of the nearest class centre no larger.",
            [*_ladder(ladder, "a stronger transform"), _ranked("all strengths", ladder)],
            _by_method("strengths", ladder),
        )
        _curves(report, f"strength, as a share of {transform}", list(sets), "A stronger transform")
    return report.payload


# ------------------------------------------------------------------------------------------------------------ measuring


@contextlib.contextmanager
def _opened(
    name: str, config: Mapping[str, Any], sets: Mapping[str, Sequence[str | Sometimes]], question: str
) -> Iterator[Report]:
    methods = named_methods(config["methods"])
    steps = len(sets) * len(check_seeds(config["seeds"], config["seed"])) * (1 + len(methods))
    with experiment(
        name,
        config,
        question=question,
        zero_line="every class within delta, no error",
        steps=steps,
        progress=config["progress"],
        command="reproduce",
    ) as report:
        yield report


def _measured(
    report: Report, config: Mapping[str, Any], sets: Mapping[str, Sequence[str | Sometimes]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """A row for every set and method, means over seeds: 1 - sigma at every delta, "missing" at the last, and errors."""
    methods, several = named_methods(config["methods"]), check_seeds(config["seeds"], config["seed"])
    shares = check_list(config["delta_shares"], "delta_shares", 0.0)
    if shares[-1] > 1:
        raise DataError(f"delta_shares are quantiles, between 0 and 1, got {shares[-1]}")
    found: dict[tuple[str, str], list[dict[str, float]]] = {(name, m): [] for name in sets for m in methods}
    deltas: list[float] = []
    for seed in several:
        dataset = drawn(config["data"], seed)
        for name, transforms in sets.items():
            candidate = candidate_of(
                dataset, transforms, name=name, n_views=config["n_views"], test_size=config["test_size"], seed=seed
            )
            if not deltas:
                deltas = np.quantile(raw_distances(candidate.views), shares).tolist()
                report.payload["data"] = data_summary(candidate.setting, dataset)
            candidate.measure(deltas, "euclidean", config["budget"])
            report.task.advance(text=f"{name}, seed {seed}: 1 - sigma {1 - candidate.parts[-1].sigma:.2f}")
            apart = {f"missing_{share:g}": 1 - part.sigma for share, part in zip(shares, candidate.parts, strict=True)}
            apart |= {"missing": 1 - candidate.parts[-1].sigma, "outside": candidate.parts[-1].outside}
            for label, method in methods.items():
                found[name, label].append(apart | _errors(candidate, method, config["n_components"], seed))
                report.task.advance(text=f"{name}, {label}")
    for (name, label), runs in found.items():
        row: dict[str, Any] = {"set": name, "method": label}
        for key in runs[0]:
            row |= {key: float(np.mean([run[key] for run in runs]))}
        for key in ("missing", "error"):
            row |= {f"{key}_min": min(run[key] for run in runs), f"{key}_max": max(run[key] for run in runs)}
        report.add({**row, "transforms": ", ".join(map(str, sets[name])), "slug": f"{name}.{label}"})
    report.payload["setting"] = (
        f"K = {config['n_components']}, linear maps, m = {config['n_views']} views, δ = {deltas[-1]:.3g}"
    )
    report.payload["notes"].append(
        f"closed forms over linear maps; delta = {', '.join(f'{d:.3g}' for d in deltas)}, quantiles "
        f"{', '.join(f'{s:g}' for s in shares)} of distances within classes; means{repeats(several, 'over')}"
    )
    return {(row["set"], row["method"]): row for row in report.payload["rows"]}


def _errors(candidate: Candidate, method: Method, K: int, seed: int) -> dict[str, float]:
    """Of the closed form over linear maps, features at norm 1."""
    embedding = fitted(candidate, method, K, model="linear", kernel=None, recipe=Recipe(), seed=seed)
    views = candidate.views
    features = Features.of(views, embedding.transform(candidate.data.X)[views.order]).normalised()
    return errors_of(
        candidate, features, None if candidate.test is None else _unit(embedding.transform(candidate.test.X))
    )


def _unit(Z: Array) -> Array:
    out: Array = Z / np.maximum(np.linalg.norm(Z, axis=1), 1e-300)[:, None]
    return out


def _methods(rows: Iterable[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(method for _, method in rows))


def _ladder(ladder: Sequence[Sequence[Mapping[str, Any]]], step: str) -> list[Criterion]:
    """Rows of a method from the poorest set to the richest: the largest step against the direction predicted."""
    apart = max(b["missing"] - a["missing"] for rows in ladder for a, b in itertools.pairwise(rows))
    error = max(b["error"] - a["error"] for rows in ladder for a, b in itertools.pairwise(rows))
    return [
        at_most(f"largest rise of 1 - sigma by {step}", apart, FLAT),
        at_most(f"largest rise of the error by {step}", error, FLAT),
    ]


def _correlations(groups: Sequence[Sequence[Mapping[str, Any]]]) -> list[float]:
    """Of 1 - sigma with the error of the nearest class centre, method by method; -1 where there is no order."""
    found = [rank_correlation([r["missing"] for r in rows], [r["error"] for r in rows])[0] for rows in groups]
    return [-1.0 if value is None else value for value in found]


def _ranked(name: str, groups: Sequence[Sequence[Mapping[str, Any]]]) -> Criterion:
    return at_least(f"least rank correlation over {name}", min(_correlations(groups)), CLEAR)


def _by_method(name: str, groups: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    words = [f"{rows[0]['method']} {value:.2f}" for rows, value in zip(groups, _correlations(groups), strict=True)]
    return f"Rank correlation over {name}: {', '.join(words)}."


def _curves(report: Report, label: str, order: Sequence[str], title: str) -> None:
    """1 - sigma, and errors, over the sets from the poorest to the richest: figures of their own scales."""
    first = report.payload["rows"][0]["method"]
    _curve(report, "ladder", order, f"{title}: errors of encoders in closed form", label, lambda row: str(row["set"]))
    rows = {row["set"]: row for row in report.payload["rows"] if row.get("method") == first and "slug" in row}
    report.payload["rows"] += [
        {"figure": "missing", "at": name, "line": "1 - σ", "value": rows[name]["missing"],
         "low": rows[name]["missing_min"], "high": rows[name]["missing_max"]}
        for name in order
    ]  # fmt: skip
    report.payload["curves"].append(
        {
            **_look("missing", f"{title}: 1 - σ", label), "zero": 0.0, "zero_line": "every class within δ",
            "ylabel": "1 - σ: share outside the main part",
        }
    )  # fmt: skip


def _curve(
    report: Report, name: str, order: Sequence[str], title: str, label: str, at: Callable[[Mapping[str, Any]], str]
) -> None:
    """Errors by method over sets in this order, with the range over seeds."""
    rows = [row for row in report.payload["rows"] if row.get("set") in order and "slug" in row]
    rows.sort(key=lambda row: order.index(row["set"]))
    report.payload["rows"] += [
        {"figure": name, "at": at(row), "line": row["method"], "value": row["error"],
         "low": row["error_min"], "high": row["error_max"]}
        for row in rows
    ]  # fmt: skip
    look = _look(name, title, label)
    report.payload["curves"].append({**look, "ylabel": "error of the nearest class centre, held out"})


def _look(name: str, title: str, label: str) -> dict[str, Any]:
    return {
        "name": name, "title": title, "x": "at", "y": "value", "by": "line", "where": {"figure": name},
        "xscale": "category", "yscale": "linear", "band": ["low", "high"], "xlabel": label,
        "caption": "bars: range over seeds",
    }  # fmt: skip
