"""Contrastive and non-contrastive criteria are the same up to norms (Garrido et al. 2022, arXiv 2206.02574; I2).

For any Z (N, K), samples z_i in the rows and components Z_k in the columns, G = Z'Z,

    L_c  = sum_{i != j} (z_i'z_j)^2      pushes samples apart            (the off-diagonal of ZZ')
    L_nc = sum_{k != l} G_kl^2           decorrelates components         (the off-diagonal of Z'Z)

and |ZZ'|_F = |Z'Z|_F gives, for every Z,

    L_nc + sum_k |Z_k|^4 = L_c + sum_i |z_i|^4

The paper writes embeddings as the columns of an M x N matrix, the transpose of Z, so that its M is our K and its "rows"
are our columns. Where all samples have norm r and all components have equal norms, which are then r sqrt(N / K),

    L_nc = L_c + r^4 (N - N^2 / K)

Samples of unit norm: r = 1, N - N^2 / K (the paper's N - N^2 / M). Components of unit norm: r^2 = K / N, K^2 / N - K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.errors import DataError
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["Duality", "duality"]

LARGEST = 1e50  # entry of Z: sums of its fourth powers are numbers still
EQUAL_TOL = 1e-9  # relative spread of squared norms that counts as equal: normalised rows spread by 1e-15


@dataclass(frozen=True)
class Duality:
    """Both criteria of an embedding and what separates them.

    contrastive: L_c. non_contrastive: L_nc. row_energy: sum_i |z_i|^4. column_energy: sum_k |Z_k|^4. residual: of
    L_nc + column_energy = L_c + row_energy, relative to its size; L_c is summed sample by sample, so that this is
    rounding and no tautology. constant: r^4 (N - N^2 / K), what L_nc - L_c must be where rows have equal norms and
    columns have equal norms, else None.
    """

    contrastive: float
    non_contrastive: float
    row_energy: float
    column_energy: float
    residual: float
    constant: float | None

    @property
    def difference(self) -> float:
        """L_nc - L_c = row_energy - column_energy."""
        return self.row_energy - self.column_energy


def duality(Z: Any) -> Duality:
    """The contrastive and the non-contrastive criterion of Z (N, K), not centred, in O(N K^2) and no N x N array.

    Raises DataError for Z not (N, K) or not finite.
    """
    Z = as_numbers(Z, "Z")
    if Z.ndim != 2 or 0 in Z.shape:
        raise DataError(f"Z has shape {Z.shape}, expected (N, K): a row per sample, a column per component")
    if not np.all(np.isfinite(Z)):
        raise DataError(f"Z holds {np.count_nonzero(~np.isfinite(Z))} NaN or infinite values")
    if np.abs(Z).max() > LARGEST:
        raise DataError(f"Z must have entries of at most {LARGEST:g}, whose fourth powers are numbers; scale it down")
    N, K = Z.shape
    G = Z.T @ Z
    rows, columns = (Z**2).sum(axis=1), G.diagonal()
    # sum_{j != i} (z_i'z_j)^2 = z_i'G z_i - |z_i|^4
    apart = ((Z @ G) * Z).sum(axis=1) - rows**2
    contrastive = float(np.maximum(apart, 0.0).sum())
    non_contrastive = float(((G - np.diag(columns)) ** 2).sum())
    row_energy, column_energy = float((rows**2).sum()), float((columns**2).sum())
    left, right = non_contrastive + column_energy, contrastive + row_energy
    equal = all(np.ptp(norms) <= EQUAL_TOL * norms.max() for norms in (rows, columns))
    return Duality(
        contrastive=contrastive,
        non_contrastive=non_contrastive,
        row_energy=row_energy,
        column_energy=column_energy,
        residual=abs(left - right) / left if left > 0 else 0.0,
        constant=float(rows.mean()) ** 2 * (N - N**2 / K) if equal else None,
    )
