"""What a reproduction says in the end: the shape that the formulas predict, and whether the numbers show it.

A prediction is seen where every one of its criteria holds; each is a number of the run against a limit with a name.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spectral_ssl import spec
from spectral_ssl.data import DATASETS, Dataset
from spectral_ssl.errors import SpectralWarning
from spectral_ssl.experiments.frame import Report, times
from spectral_ssl.experiments.setting import load_data
from spectral_ssl.methods import Method
from spectral_ssl.spectrum import Spectra
from spectral_ssl.training import TrainResult, train

__all__ = ["Criterion", "at_least", "at_most", "conclude", "drawn", "fitted"]


@dataclass(frozen=True)
class Criterion:
    """name: what is measured, in words. holds: value <= limit, or >= where `least`; NaN never."""

    name: str
    value: float
    limit: float
    least: bool = False

    @property
    def holds(self) -> bool:
        return bool(self.value >= self.limit if self.least else self.value <= self.limit)

    def __str__(self) -> str:
        ask = "at least" if self.least else "at most"
        return f"{self.name} {_plain(self.value)} (asked: {ask} {_plain(self.limit)})"


def at_most(name: str, value: float, limit: float) -> Criterion:
    return Criterion(name, float(value), float(limit))


def at_least(name: str, value: float, limit: float) -> Criterion:
    return Criterion(name, float(value), float(limit), least=True)


def conclude(report: Report, predicted: str, criteria: Sequence[Criterion], told: str = "") -> None:
    """The record's "predicted" (a sentence), "seen" (all criteria hold), "criteria", and its answer."""
    failed = [criterion for criterion in criteria if not criterion.holds]
    seen = bool(criteria) and not failed
    report.payload["predicted"] = predicted
    report.payload["seen"] = seen
    report.payload["criteria"] = [
        {"name": c.name, "value": c.value, "limit": c.limit, "ask": ">=" if c.least else "<=", "holds": c.holds}
        for c in criteria
    ]
    judged = "; ".join(map(str, criteria if seen else failed))
    report.payload["answer"] = f"Predicted: {predicted} {'Seen' if seen else 'Not seen'}: {judged}." + (
        f" {told}" if told else ""
    )
    report.payload["notes"].append(
        "a reproduction of shapes on data of our own: published numbers are neither shown nor compared with"
    )


def drawn(data: str, seed: int) -> Dataset:
    """A data set by its call string, drawn with this seed where it is random and the string names none."""
    if "(" not in data and data not in DATASETS:
        return load_data(data)
    name, options = spec.parse_call(data)
    if name in DATASETS and "seed" in spec.options_of(DATASETS[name]):
        options = {"seed": seed, **options}
    return load_data(spec.format_call(name, options))


def fitted(method: Method, spectra: Spectra, K: int, **options: Any) -> TrainResult:
    """`train`, its warnings about K and rank left to the rows that tell both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)
        return train(method, spectra, K, **options)


def _plain(value: float) -> str:
    return f"{value:g}" if value == round(value, 3) and abs(value) < 1e4 else times(value)
