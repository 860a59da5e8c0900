"""What a linear probe will score on rows it has not seen, from the rows it has: leave-one-out without refitting.

**Least squares**, with or without a ridge, exact. The probe minimises |Y - 1b' - ZB|^2 + eta |B|^2, b free. With the
centred HZ = U diag(s) V', its fitted values are P Y and those of a probe that never saw row i are known too,

    P = 11'/n + U diag(s^2 / (s^2 + eta)) U',     y_i - yhat_i^(-i) = (y_i - yhat_i) / (1 - P_ii)

(Allen's PRESS). A row of leverage P_ii = 1 is the only one in some direction; without it the probe of least norm does
not see that direction, and is solved for that row by itself. For classes Y is one-hot and the largest entry decides.

**Logistic**, the probe of `comparison.linear_probe_score`, approximate: one Newton step from the fit with all rows to
the fit without row i (Rad & Maleki 2020, Beirami et al. 2017). With f_i = B'x_i the scores of row i, x_i its features
with a one in front, p_i its probabilities, g_i = p_i - y_i, W_i = diag(p_i) - p_i p_i' and J the Hessian of the
penalised loss in B,

    A_i = (x_i (x) I)' J^-1 (x_i (x) I),     f_i^(-i) = f_i + A_i (I - W_i A_i)^-1 g_i

All this is for an embedding that is given. Where the relation was made from the labels themselves, the embedding knows
the label that is left out: `prediction.predicted_score(folds=)` then leaves rows out of the relation too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.comparison import linear_probe, scaled
from spectral_ssl.data._checks import frozen
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.theory._numbers import as_numbers
from spectral_ssl.theory.alignment import label_matrix

__all__ = ["LeaveOneOut", "Probe", "leave_one_out"]

Probe = Literal["logistic", "least_squares"]

ALONE = 1e-9  # 1 - leverage below which a row is the only one in some direction: rounding of a unit leverage is 1e-14
RIDGES = np.logspace(-8, 1, 19)  # of the largest squared singular value, among which a ridge is chosen
HESSIAN_MAX = 5000  # unknowns of a logistic probe, (K + 1) C: its Hessian is dense, 200 MB
BLOCK = 2**22  # entries of a block of the products with J^-1


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """The score of a probe on rows that it did not see.

    score: accuracy, or R^2 for numbers. standard_error: of the score as a mean over rows. per_row (n,): what each row
    adds, 1 for a hit and 0 for a miss (numbers: 1 - squared error / variance); the score is their mean, so two
    embeddings of the same rows can be compared row by row. n_labels: n. kind: "exact" (least squares) or "approximate"
    (logistic). ridge: eta, of least squares.
    """

    score: float
    standard_error: float
    per_row: Array
    n_labels: int
    kind: Literal["exact", "approximate"]
    probe: Probe
    ridge: float | None


def leave_one_out(Z: Any, y: Any, *, probe: Probe = "logistic", ridge: float | None = 0.0) -> LeaveOneOut:
    """Leave-one-out score of a linear probe on an embedding, from one fit.

    Z (N, K). y (N,): whole numbers or text are classes, floats are numbers (least squares only); rows whose label is
    missing (-1, "", NaN) are left out. probe: "logistic", as `compare` probes, or "least_squares" with `ridge`, eta
    >= 0 in the squared units of Z; None chooses the eta of least leave-one-out squared error.

    Raises DataError for fewer than three labels or labels that are all equal, ResourceError where the Hessian of a
    logistic probe is too large.
    """
    Z = as_numbers(Z, "Z")
    if Z.ndim != 2 or 0 in Z.shape or not np.all(np.isfinite(Z)):
        raise DataError(f"Z must be finite numbers (N, K), got shape {Z.shape}")
    Y, known, classification = label_matrix(y, Z.shape[0])
    Z, Y = Z[known], Y[known]
    if Z.shape[0] < 3 or not np.ptp(Y, axis=0).any():
        raise DataError(f"leave-one-out needs three labels that are not all equal, got {Z.shape[0]}")
    if probe not in ("logistic", "least_squares"):
        raise DataError(f"probe={probe!r} is not known; choose 'logistic' or 'least_squares'")
    if probe == "logistic" and classification:
        if ridge not in (0.0, None):
            raise DataError("ridge= belongs to probe='least_squares'; the logistic probe has a penalty of its own")
        found, eta = _newton_step(Z, Y), None
    elif probe == "logistic":
        raise DataError("labels that are numbers have no logistic probe; choose probe='least_squares'")
    else:
        if ridge is not None and (
            isinstance(ridge, bool) or not isinstance(ridge, int | float | np.number) or not 0 <= ridge < np.inf
        ):
            raise DataError(f"ridge must be a number >= 0, or None to choose it by leave-one-out, got {ridge!r}")
        found, eta = _press(Z, Y, ridge)
    if classification:
        per_row = (found.argmax(axis=1) == Y.argmax(axis=1)).astype(float)
    else:
        per_row = 1 - ((Y - found) ** 2)[:, 0] / Y.var()
    n = per_row.size
    return LeaveOneOut(
        score=float(per_row.mean()),
        standard_error=float(per_row.std(ddof=1) / np.sqrt(n)),
        per_row=frozen(per_row),
        n_labels=n,
        kind="approximate" if eta is None else "exact",
        probe=probe,
        ridge=eta,
    )


def _press(Z: Array, Y: Array, ridge: float | None) -> tuple[Array, float]:
    """yhat_i^(-i) (n, C), and eta."""
    n, asked = Z.shape[0], ridge
    size = float(np.abs(Z).max()) or 1.0  # squares of Z are taken, whatever its scale
    Z = Z / size
    if asked is not None:
        with np.errstate(over="ignore"):
            ridge = float(np.float64(asked) / size / size)
    mean = Y.mean(axis=0)
    U, s, _ = linalg.svd(Z - Z.mean(axis=0))
    # of Z itself, mean and all: what centring leaves of a constant column is rounding of that size, and no direction
    faint = max(Z.shape) * linalg.EPS * np.sqrt(Z.size)
    keep = s > faint
    U, s2 = U[:, keep], s[keep] ** 2
    along, squares = U.T @ (Y - mean), U**2

    def residuals(eta: float) -> tuple[Array, Array]:
        shrunk = s2 / (s2 + eta)
        return Y - mean - U @ (shrunk[:, None] * along), 1 - 1 / n - squares @ shrunk

    if ridge is None:
        grid = RIDGES * float(s2.max() if s2.size else 1.0)
        left = [residuals(eta) for eta in grid]
        # least squares of a probe that shrinks nothing: its leverages may be one, grids of positive eta have none
        ridge = float(grid[np.argmin([float(((e / h[:, None]) ** 2).sum()) for e, h in left])])
    e, free = residuals(ridge)
    found = Y - e / np.where(free > ALONE, free, 1.0)[:, None]
    for i in np.flatnonzero(free <= ALONE):
        rest = np.arange(n) != i
        m, M = Z[rest].mean(axis=0), Y[rest].mean(axis=0)
        V, t, Wt = linalg.svd(Z[rest] - m)
        inverse = np.divide(t, t**2 + ridge, out=np.zeros_like(t), where=t > faint)
        found[i] = M + (((Z[i] - m) @ Wt.T) * inverse) @ (V.T @ (Y[rest] - M))
    with np.errstate(over="ignore"):
        return found, float(np.float64(ridge) * size * size) if asked is None else float(asked)


def _newton_step(Z: Array, Y: Array) -> Array:
    """f_i^(-i) (n, C) of the logistic probe; two classes have one score f, given here as (-f, f)."""
    labels = Y.argmax(axis=1)
    features = scaled(Z, Z)[0]
    n, C = Y.shape
    q = 1 if C == 2 else C
    X = np.hstack([np.ones((n, 1)), features])  # (n, p)
    p = X.shape[1]
    if p * q > HESSIAN_MAX:
        raise ResourceError(
            f"leave-one-out of a logistic probe of {C} classes on {p - 1} components needs a dense Hessian of "
            f"{p * q:,} unknowns (limit {HESSIAN_MAX:,}); choose probe='least_squares'"
        )
    model = linear_probe(features, labels, classification=True)
    f = np.asarray(model.decision_function(features)).reshape(n, q)
    P = model.predict_proba(features)
    P, T = (P[:, 1:], Y[:, 1:]) if q == 1 else (P, Y)
    penalty = np.zeros((p, q))
    penalty[1:] = 1 / model.C
    J = np.diag(penalty.ravel())
    if q > 1:  # a shift of all intercepts changes no probability: curvature there only makes J invertible
        J[:q, :q] += 1.0
    for c in range(q):
        for d in range(c, q):
            w = P[:, c] * ((c == d) - P[:, d])
            block = X.T @ (w[:, None] * X)
            J[c::q, d::q] += block
            if c != d:
                J[d::q, c::q] += block
    inverse = np.linalg.inv(J).reshape(p, q, p, q)
    out = np.empty((n, q))
    rows = max(1, BLOCK // (q * q * p))
    for start in range(0, n, rows):
        x, prob = X[start : start + rows], P[start : start + rows]
        half = np.tensordot(x, inverse, axes=(1, 0))  # (m, q, p, q)
        A = np.einsum("icbd,ib->icd", half, x)
        W = prob[:, :, None] * (np.eye(q) - prob[:, None, :])
        step = np.linalg.solve(np.eye(q) - W @ A, (prob - T[start : start + rows])[:, :, None])
        out[start : start + rows] = f[start : start + rows] + (A @ step)[:, :, 0]
    return np.hstack([-out, out]) if q == 1 else out
