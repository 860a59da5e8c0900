"""Patterns that never meet in one input: where a two-layer ReLU net composes features, and where it picks one.

Positive multiples of one-hot inputs, x = magnitude e_p. Hidden units see f = relu(W_1) x: the useful part of W_1 (H, P)
is non-negative, and with y = W_1's, s the unit direction that W_2 reads (see `relu`), E = h y'Xy for X = C_alpha[x].
Derived here: units with s_k > 0 make y_+, those with s_k < 0 make y_-. A share a^2 of |s|^2 in the first group makes
y_+ from a norm |y_+| / a of W_1, and |y_+|^2 / a^2 + |y_-|^2 / (1 - a^2) >= (|y_+| + |y_-|)^2, so

    max E at a given direction of y  =  h y'Xy / (|y_+| + |y_-|)^2,

with one row group for y_+ and one for y_-: rank 2 where y has both signs, rank 1 where it has one.

P patterns of one sample each, views of magnitudes 1 + a and 1 - a, 0 <= a <= 1, one view as anchors, alpha = 1. Then
X = beta I - gamma 11' with gamma = 2 (1 + a)^2, beta = P gamma - 4 a^2 (P - 1), and 2E of h = 1/2 is (derived here),
with r = sqrt(P - 1),

    beta - gamma                                            of one pattern
    beta ((1 - b)^2 + b^2) - gamma (1 - b (1 + r))^2        of one against all others, y = (1 - b) e_1 - (b / r) on them
    beta                                                    of the linear net

Let y_+ = (1 - b) u and y_- = b v, u and v unit and non-negative, 1 - b >= b: y'Xy = beta ((1 - b)^2 + b^2) - gamma
((1 - b) 1'u - b 1'v)^2. The last square is least where u is one pattern, 1'u = 1, and 1'v as large as can be, r; where
it vanishes for a smaller 1'v the first term is larger at smaller b. So the second line is the best there is, largest at

    b = (gamma (1 + r) - beta) / (gamma (1 + r)^2 - 2 beta)   where gamma (1 + r) > beta, else at b = 0: one pattern.

Two patterns: b = 1/2, and composition wins by a^2, with a tie at a = 0. More: it wins only beyond a / (1 + a) =
sqrt((1 - 1/r) / 2), at a = 0.62 for three patterns, 0.85 for four, 1 for five: views that differ less, and more
patterns at any a, leave one pattern, whatever the net could compose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.errors import DataError

__all__ = ["OneHotOptimum", "composed_value", "composition_threshold", "one_hot_optimum", "one_hot_views", "two_rows"]

Array = np.ndarray[Any, np.dtype[np.float64]]


def one_hot_views(n_patterns: int, spread: float) -> tuple[Array, Contrast]:
    """X (2P, P), the views (1 + a) e_p, then (1 - a) e_p, and their contrast with one view as anchors."""
    P, a = _checked(n_patterns, spread)
    return np.vstack([(1 + a) * np.eye(P), (1 - a) * np.eye(P)]), Contrast.of(P, views="one")


def composed_value(C: Any, y: Any, scale: float = 0.5) -> float:
    """The largest energy of a ReLU net with W_1's proportional to y: h y'Cy / (|y_+| + |y_-|)^2."""
    C, y = np.asarray(C, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if y.ndim != 1 or C.shape != (y.size, y.size):
        raise DataError(f"y must have one entry per pattern, got shape {y.shape} for C of shape {C.shape}")
    size = float(np.linalg.norm(np.maximum(y, 0.0)) + np.linalg.norm(np.minimum(y, 0.0)))
    if not size > 0:
        raise DataError("y is zero: a direction is needed")
    return scale * float(y @ C @ y) / size**2


def two_rows(y: Any) -> tuple[Array, Array]:
    """W_1 (2, P) of norm 1 and s (2,) of norm 1 that attain `composed_value`: rows along y_+ and y_-."""
    y = np.asarray(y, dtype=np.float64)
    up, down = np.maximum(y, 0.0), np.maximum(-y, 0.0)
    sizes = np.array([np.linalg.norm(up), np.linalg.norm(down)])
    share = np.sqrt(sizes / sizes.sum())  # a and sqrt(1 - a^2): squares as |y_+| to |y_-|
    rows = [part / size if size > 0 else part for part, size in zip((up, down), sizes, strict=True)]
    return np.vstack([a * row for a, row in zip(share, rows, strict=True)]), share * np.array([1.0, -1.0])


@dataclass(frozen=True, eq=False)
class OneHotOptimum:
    """The largest energies of `one_hot_views`, for |W_1|_F = |W_2|_F = 1 and alpha = 1.

    single: of a net that sees one pattern. composition: of one pattern against all others, at its best weight. linear:
    of the linear net. y (P,): the direction of the best ReLU net; weight: b, 0 where that is one pattern.
    """

    single: float
    composition: float
    linear: float
    weight: float
    y: Array

    @property
    def value(self) -> float:
        """Of the best ReLU net."""
        return max(self.single, self.composition)

    @property
    def composes(self) -> bool:
        """Whether composition is strictly better."""
        return self.weight > 0


def one_hot_optimum(n_patterns: int, spread: float) -> OneHotOptimum:
    """The closed form; spread: a from 0 to 1, how far the magnitudes of the two views are from 1."""
    P, a = _checked(n_patterns, spread)
    gamma = 2 * (1 + a) ** 2
    beta, r = P * gamma - 4 * a**2 * (P - 1), math.sqrt(P - 1)
    # gamma (1 + r) - beta without cancellation at P = 2, where it is 4 a^2
    slope = 4 * a**2 * (P - 1) - gamma * (P - 1 - r)
    b = slope / (gamma * (1 + r) ** 2 - 2 * beta) if slope > 0 else 0.0
    y = np.concatenate([[1 - b], np.full(P - 1, -b / r)])
    composed = beta * ((1 - b) ** 2 + b**2) - gamma * (1 - b * (1 + r)) ** 2
    return OneHotOptimum((beta - gamma) / 2, composed / 2, beta / 2, b, y)


def composition_threshold(n_patterns: int) -> float:
    """The spread a above which composition wins: a / (1 + a) = sqrt((1 - 1/r) / 2), r = sqrt(P - 1).

    0 for two patterns; 1 or more from five on: no spread is enough there.
    """
    P, _ = _checked(n_patterns, 0.0)
    t = math.sqrt((1 - 1 / math.sqrt(P - 1)) / 2)
    return t / (1 - t)


def _checked(n_patterns: int, spread: float) -> tuple[int, float]:
    check_int(n_patterns, "n_patterns", low=2)
    check_real(spread, "spread", low=0, high=1)
    return int(n_patterns), float(spread)
