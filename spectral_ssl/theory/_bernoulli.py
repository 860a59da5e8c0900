"""The flow of directions that decouple, y' = 8 y (b - q y), and of all of them together from any start."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from spectral_ssl.embedding import Array
from spectral_ssl.errors import ResourceError

__all__ = ["STEPS_MAX", "Curves", "Rates", "along", "bernoulli", "crossing", "riccati", "riccati_step", "sigmoids"]

STEPS_MAX = 200_000  # of a flow, explicit or exact; minutes
GROWTH = 4.0  # of 8 b t in one step of the Riccati equation: its matrix then has a condition of e^4 beside its start's


@dataclass(frozen=True, eq=False)
class Curves:
    """singular_values (T, K), loss (T,), step_times (K,)."""

    singular_values: Array
    loss: Array
    step_times: Array


@dataclass(frozen=True, eq=False)
class Rates:
    """y' = 8 y (b - q y) of every direction held, b and q (R,); L = constant + sum (q y^2 - 2 b y)."""

    b: Array
    q: Array
    constant: float

    @property
    def common(self) -> bool:
        """Whether q is the same everywhere, so that every start has a closed form (`riccati_step`)."""
        return bool(np.all(self.q == self.q[0]))

    def done(self, s: Array) -> Array:
        """y q / b (K,), the share of its way that a direction of size s (K,) has made; 0 where b <= 0."""
        b, q = self.b[: s.size], self.q[: s.size]
        return np.divide(q * s**2, b, out=np.zeros(s.size), where=b > 0)

    def limits(self, K: int) -> Array:
        """sqrt(b / q) (K,), 0 where b <= 0."""
        b, q = self.b[:K], self.q[:K]
        return np.sqrt(np.divide(b, q, out=np.zeros(K), where=b > 0))

    def half_times(self, s0: Array) -> Array:
        """log(b / (q s0^2) - 1) / (8 b): 0 from above half way on, inf for b <= 0."""
        K = s0.size
        half, up = np.full(K, np.inf), self.b[:K] > 0
        b, q = self.b[:K][up], self.q[:K][up]
        with np.errstate(divide="ignore"):
            half[up] = np.log(np.maximum(b / (q * s0[up] ** 2) - 1, 1.0)) / (8 * b)
        return half


def along(c: Array) -> Array:
    """s (K,): |R_jj| of the QR factorisation of c', c (K, K) the coordinates of W along the top K eigenvectors."""
    s: Array = np.abs(np.diag(np.linalg.qr(c.T, mode="r")))
    return s


def sigmoids(r: Rates, t: Array, s0: Array) -> Curves:
    """Every direction by itself, from s0 (K,)."""
    K = s0.size
    b, q = r.b[:K], r.q[:K]
    y = bernoulli(s0**2, b, q, t)
    # completed squares: nothing cancels where the loss is small
    ends = np.divide(b, q, out=np.zeros(K), where=q > 0)
    loss = r.constant - (b * ends).sum() + (q * (y - ends) ** 2).sum(axis=1)
    return Curves(np.sqrt(y), loss, r.half_times(s0))


def bernoulli(y0: Array, b: Array, q: Array, t: Array) -> Array:
    """y (T, K) of y' = 8 y (b - q y), y(0) = y0, for any sign of b and any t >= 0: no exponential grows."""
    rate = 8 * np.abs(b)
    fading = np.exp(-np.outer(t, rate))
    # (1 - e^{-8 |b| t}) / |b|, 8 t at b = 0
    spent = np.divide(-np.expm1(-np.outer(t, rate)), np.abs(b), out=np.outer(8 * t, np.ones_like(b)), where=b != 0)
    y: Array = np.where(b >= 0, y0 / np.where(b >= 0, fading + q * y0 * spent, 1.0), y0 * fading / (1 + q * y0 * spent))
    return y


def riccati_step(c: Array, b: Array, q: float, t: float) -> Array:
    """c (R, K) of c' = 4 (diag(b) c - q c c'c) after a time t, up to a rotation of the components. exact for any c.

    Y = cc' obeys the Riccati equation Y' = 4 (b Y + Y b) - 8 q Y^2, solved by, with E = e^{4 b t},

        Y(t) = E c (I + 8 q c'S c)^-1 c'E,   S = diag((e^{8 b t} - 1) / (8 b))

    since the inverse has the derivative -8 q (..)^-1 c'E^2 c (..)^-1. So c(t) = E c R^-1 where R'R = I + 8 q c'S c.
    """
    x = 8 * b * t
    S = t * np.divide(np.expm1(x), x, out=np.ones_like(x), where=x != 0)
    L = np.linalg.cholesky(np.eye(c.shape[1]) + 8 * q * c.T @ (S[:, None] * c))
    out: Array = np.exp(x / 2)[:, None] * np.linalg.solve(L, c.T).T
    return out


def riccati(r: Rates, t: Array, c: Array) -> Curves:
    """All directions together from c (R, K), by steps in which none grows much: each exact, of any length of time."""
    K, b, q = c.shape[1], r.b, float(r.q[0])
    step = GROWTH / max(8 * float(np.abs(b).max()), 1e-300)
    if t[-1] / step > STEPS_MAX:
        raise ResourceError(
            f"times up to {t[-1]:.3g} are {t[-1] / step:.1e} steps of the fastest direction, more than {STEPS_MAX:,}; "
            "ask for shorter times, or for an aligned start"
        )
    sigmoid = r.half_times(along(c[:K]))
    last = 2 * float(np.max(sigmoid, where=np.isfinite(sigmoid), initial=0.0))  # the steps are to be seen as well
    stops = np.union1d(t, [0.0, last] if last / step <= STEPS_MAX else [0.0])
    half = np.where(r.done(along(c[:K])) >= 0.5, 0.0, np.inf)
    at, sizes, losses = 0.0, [], []
    for begin, end in itertools.pairwise([0.0, *stops]):
        pieces = math.ceil((end - begin) / step)
        for n in range(pieces):
            after = begin + (end - begin) * (n + 1) / pieces
            now = riccati_step(c, b, q, after - at)
            for k in np.flatnonzero(np.isinf(half) & (r.done(along(now[:K])) >= 0.5)):
                half[k] = at + _root(r, c, after - at, int(k))
            c, at = now, after
        if end in t:
            sizes.append(along(c[:K]))
            losses.append(r.constant + q * float(((c.T @ c) ** 2).sum()) - 2 * float((b[:, None] * c**2).sum()))
    return Curves(np.array(sizes), np.array(losses), half)


def _root(r: Rates, c: Array, t: float, k: int) -> float:
    """When within a step direction k is half way."""

    def past(x: float) -> float:
        return float(r.done(along(riccati_step(c, r.b, float(r.q[0]), x)[: c.shape[1]]))[k] - 0.5)

    return float(scipy.optimize.brentq(past, 0.0, t, xtol=1e-14 * t, rtol=1e-14)) if past(0.0) < 0 else 0.0


def crossing(t: Array, done: Array) -> float:
    """When a share of the way passes 1/2 for the first time."""
    later = np.flatnonzero(done >= 0.5)
    if later.size == 0:
        return math.inf
    n = int(later[0])
    if n == 0:
        return 0.0 if t[0] == 0 else float(t[0])
    with np.errstate(divide="ignore"):
        low, high = (float(np.log(x / (1 - x))) if x < 1 else math.inf for x in done[n - 1 : n + 1])
    share = -low / (high - low) if math.isfinite(high) and math.isfinite(low) else 0.5
    return float(t[n - 1] + share * (t[n] - t[n - 1]))
