"""The squared error of linear probes along a path of embeddings, in closed form: what it is, and what can be measured.

Rows i = 1 .. n with targets Y = F + E (n, C): F what there is to learn, E noise of mean zero, independent between rows,
of variances that sum to `noise` over the C columns (sigma^2 for C = 1). The embedding is HZ = U diag(sqrt h) Q', u_k
orthonormal and centred; on the rows of a Laplacian pencil these are its eigenvectors, and h_k = (N - ddof) t_k. A ridge
probe with a free intercept, min_{b, B} |Y - 1b' - ZB|^2 + eta |B|^2, fits

    SY,   S = 11'/n + sum_k f_k u_k u_k',   f_k = h_k / (h_k + eta)        (eta = 0: f_k = 1 where h_k > 0, else 0)

**Risk** (D5). At fixed rows, the expected squared error of the fitted values against the noiseless targets is

    E |SY - F|^2 = |(I - S) F|^2 + noise tr S^2
                 = sum_k (eta / (h_k + eta))^2 |u_k'F|^2 + |HF|^2 - sum_k |u_k'F|^2 + noise (1 + sum_k f_k^2)

bias along the directions, energy outside their span, and variance, the 1 being the intercept's. New labels of the same
rows are missed by this plus n noise. Without a ridge (D1, noise = 0) the bias is what the kept directions do not hold:
|HF|^2 - sum_{h_k > 0} |u_k'F|^2.

**What can be measured.** F is not known. But E |Y - SY|^2 = |(I - S) F|^2 + noise tr (I - S)^2, and tr S^2 - tr (I -
S)^2 = 2 tr S - n, so that

    |Y - SY|^2 - noise (n - 2 tr S)        has the risk as its expectation (Mallows 1973; D5 with u_k'Y for u_k'F,
                                           the expected share of noise in |u_k'Y|^2 taken off)
    n |Y - SY|^2 / (n - tr S)^2            generalised cross-validation (Golub, Heath & Wahba 1979), per row
    sum_i |y_i - (SY)_i|^2 / (1 - S_ii)^2  leave-one-out: exactly the error on each row of a probe that never saw it
                                           (Allen 1974); of these the only one that needs no equal noise

`noise` is estimated by what all R directions leave: |Y - S_R Y|^2 / (n - 1 - R), R their rank, unbiased where F
lies in their span, too large where it does not. Noise of one-hot labels is that of a draw from the class probabilities,
and is not equal.

Source: ridge regression's bias and variance (Hoerl & Kennard 1970), read along h; the rest derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data._checks import check_real
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["ProbePath", "probe_path", "ridge_risk"]

ALONE = 1e-9  # 1 - leverage of a row that is the only one in some direction: its error cannot be told from the others


def ridge_risk(
    h: Any, energy: Any, outside: Any = 0.0, *, ridge: float = 0.0, noise: float = 0.0, intercept: bool = True
) -> Array:
    """E |SY - F|^2 (...,), statement D5.

    h (..., R): squared singular values of HZ. energy (..., R): |u_k'F|^2. outside (...): |HF|^2 less their sum. ridge:
    eta. noise: variance of the labels' noise, summed over their columns. intercept: whether its variance, noise times
    1, counts; without it the risk is that of the centred predictions.
    """
    h, energy, outside = (_numbers(a, name) for a, name in ((h, "h"), (energy, "energy"), (outside, "outside")))
    if not h.ndim or h.shape[-1:] != energy.shape[-1:]:
        raise DataError(f"h {h.shape} and energy {energy.shape} must be (..., R), one number per direction")
    check_real(ridge, "ridge", low=0)
    check_real(noise, "noise", low=0)
    f = _shrinkage(h, ridge)
    bias = ((1 - f) ** 2 * energy).sum(axis=-1) + outside
    return np.asarray(bias + noise * ((f**2).sum(axis=-1) + intercept))


@dataclass(frozen=True, eq=False)
class ProbePath:
    """Squared errors of one probe along a path, each summed over rows and columns of Y.

    h (T, R), descending; energy (T, R): |u_k'Y|^2; outside (T,): |HY|^2 less their sum; total: |HY|^2. error (T,): of
    the fitted values, |Y - SY|^2. trace (T,): tr S, the parameters in use. leave_one_out (T,): nan where a row is the
    only one in some direction. noise: of the labels, as estimated by all R directions; nan where these leave no row
    free. n: rows. ridge: eta.
    """

    h: Array
    energy: Array
    outside: Array
    total: float
    error: Array
    trace: Array
    leave_one_out: Array
    noise: float
    n: int
    ridge: float

    @property
    def gcv(self) -> Array:
        """Generalised cross-validation, times n, so that it compares with `leave_one_out`."""
        free = self.n - self.trace
        whole = free <= ALONE * self.n  # no row is left to judge by
        return np.asarray(self.n**2 * self.error / np.where(whole, np.nan, free) ** 2)

    def risk(self, noise: float | None = None) -> Array:
        """The unbiased estimate of E |SY - F|^2 (T,); noise: None is the one estimated."""
        sigma2 = self.noise if noise is None else noise
        return np.asarray(self.error - sigma2 * (self.n - 2 * self.trace))

    def new_labels(self, noise: float | None = None) -> Array:
        """`risk` and the noise itself: the expected squared error (T,) on new labels of the same rows."""
        return self.risk(noise) + self.n * (self.noise if noise is None else noise)


def probe_path(
    V: Any,  # (n, R)
    scales: Any,  # (T, R)
    Y: Any,  # (n, C) or (n,)
    *,
    ridge: float = 0.0,
) -> ProbePath:
    """Errors of a ridge probe on every Z_t = V diag(sqrt scales_t) Q, any rotation Q.

    V: the directions on the rows that are probed, such as `spectrum.vectors`, or `X_new @ spectrum.weights`. They need
    not be orthonormal there. scales: variances along them, such as `path.scale * path.shares`. Y: targets; one-hot for
    classes. ridge: eta >= 0, in the squared units of Z.

    Raises DataError for shapes that do not fit and numbers that are none.
    """
    V, c, Y = as_numbers(V, "V"), as_numbers(scales, "scales"), as_numbers(Y, "Y (one-hot for classes)")
    Y = Y[:, None] if Y.ndim == 1 else Y
    c = np.atleast_2d(c)
    if V.ndim != 2 or Y.ndim != 2 or V.shape[0] != Y.shape[0] or c.shape[1:] != V.shape[1:]:
        raise DataError(f"V {V.shape}, scales {c.shape} and Y {Y.shape} must be (n, R), (T, R) and (n, C)")
    if not all(np.all(np.isfinite(a)) for a in (V, c, Y)) or np.any(c < 0):
        raise DataError("directions and targets must be finite numbers, and scales must not be negative")
    check_real(ridge, "ridge", low=0)
    if 0 in V.shape or 0 in Y.shape:
        raise DataError(f"there is nothing to probe in V {V.shape} and Y {Y.shape}")
    n = V.shape[0]
    HV = V - V.mean(axis=0)
    # what centring leaves of a column that is constant is rounding, and no direction
    HV[:, np.abs(HV).max(axis=0) <= n * linalg.EPS * np.abs(V).max(axis=0)] = 0.0
    Q, T = np.linalg.qr(HV)  # one pass over the rows; what is left is R x R
    centred = Y - Y.mean(axis=0)
    inside, total = Q.T @ centred, float((centred**2).sum())
    found = [_at(Q, T * np.sqrt(row), inside, centred, ridge) for row in c]
    h, energy, outside, error, trace, left = (np.array(column) for column in zip(*found, strict=True))
    *_, least, used, _ = _at(Q, T, inside, centred, 0.0)
    free = n - round(used)  # used: 1 + rank
    return ProbePath(h, energy, outside, total, error, trace, left, least / free if free > 0 else np.nan, n, ridge)


def _at(
    Q: Array,  # (n, R)
    M: Array,  # (R, R)
    inside: Array,  # (R, C): Q'HY
    centred: Array,  # (n, C): HY
    ridge: float,
) -> tuple[Array, Array, float, float, float, float]:
    """h, energy, outside, error, trace and leave-one-out of HZ = Q M."""
    n = Q.shape[0]
    P, s, _ = linalg.svd(M)
    s = np.where(s > n * linalg.EPS * max(float(s.max(initial=0.0)), 1e-300), s, 0.0)
    f = _shrinkage(s**2, ridge)
    along = P.T @ inside  # u_k'Y
    U = Q @ P
    energy = (along**2).sum(axis=1)
    residual = centred - U @ (f[:, None] * along)
    free = 1 - 1 / n - U**2 @ f  # 1 - S_ii
    alone = bool(np.any(free <= ALONE))
    left = np.nan if alone else float(((residual / free[:, None]) ** 2).sum())
    outside = float((centred**2).sum() - energy.sum())
    return s**2, energy, max(outside, 0.0), float((residual**2).sum()), 1 + float(f.sum()), left


def _shrinkage(h: Array, ridge: float) -> Array:
    f: Array = np.divide(h, h + ridge, out=np.zeros_like(h), where=h > 0)
    return f


def _numbers(values: Any, name: str) -> Array:
    """Finite numbers >= 0, but for the rounding of energies that are differences."""
    found = as_numbers(values, name)
    if not np.all(np.isfinite(found)) or np.any(found < -1e-9 * np.abs(found).max(initial=0.0)):
        raise DataError(f"{name} must be finite numbers >= 0: squares of singular values, or of labels along them")
    return found
