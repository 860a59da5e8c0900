"""How an embedding has collapsed: to a point, to fewer dimensions than it has columns, to copies of columns.

Z (N, K) of whatever model, HZ centred. Complete collapse: HZ = 0. Dimensional collapse (Jing et al. 2022, arXiv
2110.09348): singular values of HZ that are zero, or so small that the effective rank (RankMe, Garrido et al. 2023,
arXiv 2210.02885: exp of the entropy of the singular values) says so. Columns can be constant, or copies of others:
correlated at 1 in absolute value. The share of |Z|^2 that is the mean tells how much of Z is the same for every sample,

    mean_share = N |m|^2 / |Z|^2,   m = Z'1 / N
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.comparison import effective_rank, exact_rank
from spectral_ssl.data._checks import frozen
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.linalg import svd
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["Collapse", "collapse"]

CONSTANT = 1e-12  # a column that spreads by less than this share of its size, or of the widest column, is constant
COPY = 1 - 1e-6  # absolute correlation at which a column is a copy of another


@dataclass(frozen=True, eq=False)
class Collapse:
    """rank and effective_rank of HZ; singular_values (K,): of HZ / sqrt N, their squares the variance by direction.

    mean_share: of |Z|^2. constant_columns, copied_columns: their places from 0; of copies all but the first.
    largest_correlation, mean_correlation: of |correlation| of two columns that are not constant, None with fewer than
    two. distinct_rows: rows that are not equal to an earlier one.
    """

    rank: int
    effective_rank: float
    singular_values: Array
    mean_share: float
    constant_columns: tuple[int, ...]
    copied_columns: tuple[int, ...]
    largest_correlation: float | None
    mean_correlation: float | None
    distinct_rows: int


def collapse(Z: Any) -> Collapse:
    """How Z (N, K) has collapsed. Raises DataError for Z not (N, K) or not finite."""
    Z = as_numbers(Z, "Z")
    if Z.ndim != 2 or 0 in Z.shape or not np.all(np.isfinite(Z)):
        raise DataError(f"Z must be finite numbers (N, K), a row per sample, got shape {Z.shape}")
    N = Z.shape[0]
    size = max(float(np.abs(Z).max()), 1e-300)
    Z = Z / size
    HZ = Z - Z.mean(axis=0)
    spread = np.linalg.norm(HZ, axis=0)
    widest = max(float(spread.max()), CONSTANT * float(np.linalg.norm(Z)))
    constant = spread <= CONSTANT * np.maximum(np.linalg.norm(Z, axis=0), widest)
    HZ[:, constant] = 0.0  # what is left of a constant column is rounding, and no direction
    alive = np.flatnonzero(~constant)
    C = HZ[:, alive] / spread[alive]
    R = np.abs(C.T @ C)
    np.fill_diagonal(R, 0.0)
    copied = alive[(np.tril(R) >= COPY).any(axis=1)]
    several = alive.size > 1
    total = float((Z**2).sum())
    return Collapse(
        rank=exact_rank(HZ),
        effective_rank=effective_rank(HZ),
        singular_values=frozen(svd(HZ)[1] * size / np.sqrt(N)),
        mean_share=float(N * (Z.mean(axis=0) ** 2).sum() / total) if total > 0 else 0.0,
        constant_columns=tuple(int(k) for k in np.flatnonzero(constant)),
        copied_columns=tuple(int(k) for k in copied),
        largest_correlation=min(float(R.max()), 1.0) if several else None,
        mean_correlation=float(R.sum() / (alive.size * (alive.size - 1))) if several else None,
        distinct_rows=int(np.unique(Z, axis=0).shape[0]),
    )
