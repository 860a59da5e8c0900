"""Two embeddings judged on the same rows and draws: their difference, its standard error, and many of them at once.

Outcomes D_ri, first less second, of held-out rows i = 1 .. n and repeats r = 1 .. R (draws of wrong pairs and of
labels), Dbar their mean. Under crossed random effects D_ri = mu + row_i + repeat_r + e_ri

    Var(Dbar) = Var(row) / n + Var(repeat) / R + Var(e) / (nR)
    SE^2 = s^2_i(mean_r D_ri) / n + s^2_r(mean_i D_ri) / R,     E SE^2 = Var(Dbar) + Var(e) / (nR)

since each term holds Var(e) / (nR) once. So SE counts rows and draws both, and errs on the safe side; R = 1 tells
nothing of draws. t = Dbar / SE has the degrees of freedom of Welch and Satterthwaite, SE^4 over the sum of the squared
terms, each divided by its own n - 1 or R - 1. What is not counted: another training set.

Holm: of m comparisons, sorted by p, the k-th is multiplied by m - k + 1 and made no smaller than those before; with all
below LEVEL called significant, the chance that any of them is wrongly so is at most LEVEL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.outcomes import Ridge
from spectral_ssl.report.words import NAMES

__all__ = ["LEVEL", "Difference", "Judged", "holm", "named", "paired"]

LEVEL = 0.05  # chance of a wrong "significant" anywhere in a family of comparisons


@dataclass(frozen=True, eq=False)
class Judged:
    """A method in a dimension, at a share of wrong pairs and a label budget, with its outcomes.

    family: the method's name in `METHODS`. strength: of VICReg, gamma m_K / alpha. n_labels: None for all of them.
    ridge: None for the logistic probe, else of the least-squares one. outcomes (R, n): per repeat and held-out row,
    their mean is the score.
    """

    method: str
    family: str
    strength: float | None
    n_components: int
    rate: float
    n_labels: int | None
    ridge: Ridge | None
    outcomes: Array

    @property
    def score(self) -> float:
        return float(self.outcomes.mean())

    @property
    def name(self) -> str:
        return f"{named(self.method)}, K = {self.n_components}"


@dataclass(frozen=True)
class Difference:
    """Of two scores, first less second; p is adjusted once it stands in a family (`holm`)."""

    first: str
    second: str
    difference: float
    standard_error: float
    freedom: float
    p: float

    @property
    def significant(self) -> bool:
        return self.p < LEVEL


def paired(a: Judged, b: Judged) -> Difference:
    """a less b on their common rows and repeats, see the module; p, two-sided, is of this comparison alone."""
    if a.outcomes.shape != b.outcomes.shape:
        raise DataError(
            f"outcomes of {a.outcomes.shape} and {b.outcomes.shape} repeats and rows cannot be paired; judge both on "
            "the same held-out rows and draws"
        )
    D = np.subtract(a.outcomes, b.outcomes, dtype=np.float64)  # of booleans too
    R, n = D.shape
    rows = float(D.mean(axis=0).var(ddof=1)) / n if n > 1 else 0.0
    draws = float(D.mean(axis=1).var(ddof=1)) / R if R > 1 else 0.0
    mean, variance = float(D.mean()), rows + draws
    if variance == 0:  # the same on every row: equal, or always apart
        p, freedom = 1.0 if mean == 0 else 0.0, float(max(n - 1, 1))
    else:
        freedom = variance**2 / (rows**2 / max(n - 1, 1) + draws**2 / max(R - 1, 1))
        p = 2 * float(stdtr(freedom, -abs(mean) / math.sqrt(variance)))
    return Difference(a.name, b.name, mean, math.sqrt(variance), freedom, p)


def holm(found: Sequence[Difference]) -> list[Difference]:
    """The same differences in their order, p adjusted for their number."""
    adjusted, least = list(found), 0.0
    for place, k in enumerate(sorted(range(len(found)), key=lambda k: found[k].p)):
        least = max(least, min(1.0, (len(found) - place) * found[k].p))
        adjusted[k] = replace(found[k], p=least)
    return adjusted


def named(method: str) -> str:
    """A method of the study in words.

    >>> named("vicreg, γ = 0.5 α/m_K")
    'VICReg, γ = 0.5 α/m_K'
    """
    head, comma, tail = method.partition(",")
    return NAMES.get(head, head) + comma + tail
