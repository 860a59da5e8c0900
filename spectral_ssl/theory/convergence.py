"""How fast gradient descent brings the training error of a contrastive loss down: envelopes, and what they assume.

n fixed tuples of N negatives, margins v_ij = f(a_i).(f(p_i) - f(n_ij)) / T, J (nN, parameters) their Jacobian, JJ' the
margin kernel, lam its least eigenvalue. All of this is derived here.

Logistic: L = mean_i l_i, l_i = ln(1 + sum_j e^{-v_ij}). With w_ij = e^{-v_ij} / (1 + sum_j e^{-v_ij}) >= 0 and
q_i = sum_j w_ij = 1 - e^{-l_i}, the gradient is -J'w / n. By Cauchy-Schwarz |w|^2 >= (sum_i q_i)^2 / (nN), and
1 - e^{-l} >= kappa l for 0 <= l <= B, kappa = (1 - e^{-B}) / B (concavity):

    |grad L|^2  >=  lam/(nN) (mean q)^2  >=  c L^2,    c = lam kappa^2 / (nN)

A step with eta <= 1/beta lowers the loss by at least eta |grad L|^2 / 2, so that 1/L grows by c eta / 2:

    L_t  <=  1 / (1/L_0 + sum_{s<t} c_s eta_s / 2)     a power law where c stays: the loss halves ever more slowly

Not at a linear rate: q_i <= l_i gives |w|^2 <= sum l_i^2 <= (n L)^2, hence |grad L|^2 <= lam_max(JJ') L^2, and
|grad L|^2 / L vanishes with L as long as the kernel is bounded. The same holds of the excess over an infimum that is
not 0: L^2 >= excess^2.

Squared: L = mean_ij (v_ij - target)^2 / 2. Here |grad L|^2 >= 2 lam L/(nN), and the rate is linear:

    L_t  <=  L_0 prod_s (1 - eta_s lam/(nN))

Weights: |W_t - W_0| <= sum eta |grad| <= (sum eta_s)^{1/2} (sum eta_s |grad|^2)^{1/2}, so that

    |W_t - W_0|  <=  ( 2 sum eta_s (L_0 - L_t) )^{1/2}

At the width m, eta = O(1/m) and |W_0| = O(m^{1/2}): weights move by a share of O(1/m) of themselves.

f = 0 is a critical point: with outputs of scale s margins are s^2 v, their Jacobian s^2 J, and as s -> 0

    |grad L|^2 / s^4  ->  |J'1|^2 / (n (N + 1))^2                (squared: target^2 |J'1|^2 / (nN)^2)

so that a small start stalls: a tenth of the scale is a ten-thousandth of |grad|^2.

beta is that of the step itself: L_{t+1} = L_t - eta |grad|^2 + beta eta^2 |grad|^2 / 2 defines it, and eta beta <= 1 is
the decrease by half that the envelopes need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl.errors import DataError
from spectral_ssl.theory.bound import Assumption, Bound

__all__ = [
    "DescentTrace",
    "RateFit",
    "dead_start",
    "descent_bounds",
    "fit_rates",
    "kappa",
    "linear_envelope",
    "power_envelope",
    "small_start_gradient",
    "square_constant",
]

Array = np.ndarray[Any, Any]
MarginLoss = Literal["logistic", "squared"]

EPS = float(np.finfo(np.float64).eps)
MARGIN_ROUNDING = 64 * EPS  # of a margin: sums of tens of products of outputs of size 1 to 10
ROUNDED = 1e3  # rounding errors of an infimum, below which an excess is one
ROUNDING = 1e-9  # relative: steps of just 1/beta
WINDOW = 10.0  # rates are fitted over the last so-manyfold of the steps: one decade
FEWEST = 8  # points of a fit
SINGULAR = 1e-12  # lam / lam_max below which a kernel is singular: eigh errs by eps lam_max, times hundreds of margins
DEAD = 0.05  # margins up to this: every loss is within 5 % of ln(1 + N), and |grad|^2 follows s^4
SOURCE = "derived here (theory/convergence.py)"


# ---------------------------------------------------------------------------------------------------------- constants


def kappa(largest_loss: float) -> float:
    """(1 - e^{-B}) / B: how much of l is left in 1 - e^{-l} for 0 <= l <= B."""
    B = float(largest_loss)
    if not 0 <= B < math.inf:
        raise DataError(f"largest_loss must be a finite number >= 0, got {B}")
    return -math.expm1(-B) / B if B > 0 else 1.0


def square_constant(lam: float, n_tuples: int, n_negatives: int, largest_loss: float) -> float:
    """c = lam kappa^2 / (nN) in |grad L|^2 >= c L^2."""
    return lam * kappa(largest_loss) ** 2 / (n_tuples * n_negatives)


def power_envelope(first: float, c: Any, learning_rates: Any) -> Array:
    """1 / (1/L_0 + sum_{s<t} c_s eta_s / 2), t = 0 .. T, from learning rates (T,); c: one, or (T,) of every step."""
    gained = np.asarray(c, dtype=float) * np.asarray(learning_rates, dtype=float) / 2
    found: Array = 1 / (1 / first + np.concatenate([[0.0], np.cumsum(gained)]))
    return found


def linear_envelope(first: float, rate: Any, learning_rates: Any) -> Array:
    """L_0 prod_{s<t} (1 - eta_s rate_s), t = 0 .. T, from learning rates (T,); rate = lam/(nN), one or (T,)."""
    steps = np.asarray(learning_rates, dtype=float) * rate
    if np.any(steps > 1 + ROUNDING):
        raise DataError(
            f"eta lam/(nN) is {steps.max():.3g} > 1: no step below 1/beta is so long; lower the learning rate"
        )
    with np.errstate(divide="ignore"):
        fallen = np.concatenate([[0.0], np.cumsum(np.log1p(-np.minimum(steps, 1.0)))])
    found: Array = first * np.exp(fallen)
    return found


def small_start_gradient(kernel: Array, n_tuples: int, scale: float, loss: MarginLoss, target: float = 1.0) -> float:
    """|grad L|^2 from outputs of a small scale s: s^4 |J'1|^2 / (n (N + 1))^2, JJ' (nN, nN) that of scale 1."""
    nN = kernel.shape[0]
    weight = 1 / (n_tuples + nN) if loss == "logistic" else target / nN
    return float(scale**4 * weight**2 * kernel.sum())


def dead_start(margins: Any) -> bool:
    """Whether all margins (n, N) are so small that the start is one from near f = 0."""
    return bool(np.abs(margins).max() <= DEAD)


def rounding(loss: MarginLoss, value: Any) -> Array:
    """How far two evaluations of a loss can be off: w.dv <= L |dv| (logistic), |v - target| |dv| (squared)."""
    L = np.maximum(np.asarray(value, dtype=float), EPS**2)
    found: Array = MARGIN_ROUNDING * (L if loss == "logistic" else np.sqrt(L))
    return found


# --------------------------------------------------------------------------------------------------------------- runs


@dataclass(frozen=True, eq=False)
class DescentTrace:
    """What was measured along a run of T steps.

    losses, squared_gradients, largest_losses, mean_q: (T+1,) L, |grad L|^2, max_i l_i, mean_i (1 - e^{-l_i}) at every
    step; mean_q is of the logistic loss. learning_rates (T,). infimum: of L. looks (S,): steps at which the kernel's
    least and greatest eigenvalues (S,) and |W - W_0| (S,) were measured; eigenvalues nan where the kernel was not.
    """

    loss: MarginLoss
    n_tuples: int
    n_negatives: int
    infimum: float
    losses: Array
    squared_gradients: Array
    largest_losses: Array
    mean_q: Array
    learning_rates: Array
    looks: Array
    kernel_least: Array
    kernel_greatest: Array
    motion: Array
    start_norm: float

    @property
    def excess(self) -> Array:
        """L - infimum (T+1,)."""
        return self.losses - self.infimum

    @property
    def time(self) -> Array:
        """sum of the learning rates before each step (T+1,)."""
        return np.concatenate([[0.0], np.cumsum(self.learning_rates)])

    @property
    def resolution(self) -> float:
        """An excess below this is rounding."""
        return (1e4 * EPS) ** 2 if self.loss == "squared" else ROUNDED * EPS * self.infimum

    @property
    def usable(self) -> int:
        """Steps 0 .. usable - 1 have an excess above rounding."""
        low = np.flatnonzero(self.excess <= self.resolution)
        return int(low[0]) if low.size else self.excess.size

    @property
    def step_smoothness(self) -> Array:
        """eta beta of every step (T,), up to rounding: 2 (1 - (L_t - L_{t+1}) / (eta |grad|^2))."""
        fallen = self.losses[:-1] - self.losses[1:] + rounding(self.loss, self.losses[:-1])
        found: Array = 2 * (1 - fallen / (self.learning_rates * self.squared_gradients[:-1]))
        return found

    @property
    def kernel_measured(self) -> bool:
        return self.kernel_least.size > 0 and bool(np.all(np.isfinite(self.kernel_least)))

    @property
    def lam(self) -> float:
        """The least eigenvalue of the margin kernel over all looks; nan where it was not measured."""
        return float(self.kernel_least.min()) if self.kernel_measured else math.nan

    @property
    def singular(self) -> bool:
        return self.kernel_measured and bool(np.any(self.kernel_least <= SINGULAR * self.kernel_greatest))

    @property
    def largest_loss(self) -> float:
        """B."""
        return float(self.largest_losses.max())

    @property
    def pl_ratio(self) -> float:
        """min |grad L|^2 / excess along the run: positive where the loss is Polyak-Lojasiewicz there."""
        return float((self.squared_gradients / self.excess)[: self.usable].min())

    @property
    def square_ratio(self) -> float:
        """min |grad L|^2 / excess^2 along the run."""
        return float((self.squared_gradients / self.excess**2)[: self.usable].min())

    @property
    def relative_motion(self) -> float:
        """max |W_t - W_0| / |W_0| over the looks."""
        return float(self.motion.max()) / self.start_norm

    @property
    def lam_along(self) -> Array:
        """lam (T,) at every step: the lesser of the looks before and after it."""
        after = np.searchsorted(self.looks, np.arange(self.learning_rates.size), side="right")
        found: Array = np.minimum(
            self.kernel_least[after - 1], self.kernel_least[np.minimum(after, self.looks.size - 1)]
        )
        return found

    @property
    def motion_limits(self) -> Array:
        """sqrt(2 sum eta (L_0 - L_t)) at the looks (S,)."""
        fallen = np.maximum(self.losses[0] - self.losses[self.looks], 0.0)
        found: Array = np.sqrt(2 * self.time[self.looks] * fallen)
        return found

    def kernel_envelope(self) -> Array:
        """What the kernel promises of the excess (T+1,): the power law (logistic) or the linear rate (squared).

        lam is that of each step, and so is B in c.
        """
        lam, nN = self.lam_along, self.n_tuples * self.n_negatives
        if self.loss == "squared":
            return linear_envelope(float(self.losses[0]), lam / nN, self.learning_rates)
        c = lam / nN * np.array([kappa(B) for B in self.largest_losses[:-1]]) ** 2
        return power_envelope(float(self.excess[0]), c, self.learning_rates)

    def gradient_envelope(self) -> Array:
        """What the measured min |grad|^2/excess^2 promises (squared: min |grad|^2/L, at a linear rate), (T+1,)."""
        if self.loss == "squared":
            return linear_envelope(float(self.losses[0]), self.pl_ratio / 2, self.learning_rates)
        return power_envelope(float(self.excess[0]), self.square_ratio, self.learning_rates)


# ------------------------------------------------------------------------------------------------------- inequalities


def descent_bounds(trace: DescentTrace) -> tuple[Bound, ...]:
    """The inequalities above on a run: gradient by kernel, fall by kernel, fall by gradient, motion of weights.

    An envelope is told by the fall E_0 / E_t of the excess, at the step that has least to spare: it is at least what is
    promised, of which 1 is known without a theorem.
    """
    long = int(np.count_nonzero(trace.step_smoothness > 1 + ROUNDING))
    worst = float(trace.step_smoothness.max(initial=0.0))
    measured = f"eta beta up to {worst:.3g}" + (
        f", above 1 in {long} of {trace.learning_rates.size} steps" if long else ""
    )
    short = Assumption("no step longer than 1/beta", long == 0, measured)
    known = trace.kernel_measured
    regular = Assumption(
        "margin kernel positive definite",
        not trace.singular if known else None,
        f"least eigenvalue {trace.lam:.3g}" if known else "not measured",
    )
    between = Assumption(
        "no smaller eigenvalue between two looks",
        True if trace.looks.size == trace.losses.size else None,
        f"{trace.looks.size} looks in {trace.losses.size - 1} steps",
    )
    logistic = trace.loss == "logistic"
    shape = "1/(1/L0 + sum c eta / 2)" if logistic else "L0 prod(1 - eta lam/(nN))"
    usable = known and not trace.singular
    return (
        Bound.check(
            "|grad|^2 over " + ("lam/(nN) (mean q)^2" if logistic else "2 lam L/(nN)"),
            float(_spare(trace).min()) if usable else None,
            lambda: 1.0,
            source=SOURCE,
            side="lower",
            assumptions=[regular],
        ),
        _fall(
            trace, f"fall by the kernel: {shape}", trace.kernel_envelope if usable else None, short, regular, between
        ),
        _fall(trace, f"fall by the gradient: {shape}", trace.gradient_envelope, short),
        _motion(trace, short),
    )


def _spare(trace: DescentTrace) -> Array:
    """|grad L|^2 over what the kernel guarantees, at the looks above rounding."""
    at = trace.looks[trace.looks < trace.usable]
    lam = trace.kernel_least[: at.size] / (trace.n_tuples * trace.n_negatives)
    guaranteed = lam * (trace.mean_q[at] ** 2 if trace.loss == "logistic" else 2 * trace.losses[at])
    found: Array = trace.squared_gradients[at] / guaranteed
    return found


def _fall(trace: DescentTrace, name: str, envelope: Callable[[], Array] | None, *assumed: Assumption) -> Bound:
    """E_0 / E_t >= E_0 / envelope_t; envelope None: there is none to compare with."""
    observed, promised = None, math.nan
    if envelope is not None and trace.usable > 1 and all(a.holds is not False for a in assumed):
        E, limit = trace.excess[: trace.usable], envelope()[: trace.usable]
        t = 1 + int(np.argmax(E[1:] / limit[1:]))
        observed, promised = float(E[0] / E[t]), float(E[0] / limit[t])
    return Bound.check(
        name,
        observed,
        lambda: promised,
        source=SOURCE,
        side="lower",
        assumptions=assumed,
        trivial=1.0,
        certified=all(a.holds for a in assumed),
    )


def _motion(trace: DescentTrace, short: Assumption) -> Bound:
    """|W_t - W_0| at the look that is nearest to its limit."""
    reach = trace.motion_limits
    k = int(np.argmax(np.divide(trace.motion, reach, out=np.zeros_like(reach), where=reach > 0)))
    return Bound.check(
        "|W_t - W_0| <= sqrt(2 sum eta (L_0 - L_t))",
        float(trace.motion[k]),
        lambda: float(reach[k]),
        source=SOURCE,
        assumptions=[short],
    )


# --------------------------------------------------------------------------------------------------------------- fits


@dataclass(frozen=True)
class RateFit:
    """ln E = intercept + slope x, x = ln t ("power") or t ("linear"), over the steps first .. last; r2: of ln E."""

    kind: Literal["power", "linear"]
    slope: float
    intercept: float
    r2: float
    first: int
    last: int

    def at(self, t: Any) -> Array:
        t = np.asarray(t, dtype=float)
        found: Array = np.exp(self.intercept + self.slope * (np.log(t) if self.kind == "power" else t))
        return found


def fit_rates(excess: Sequence[float] | Array, resolution: float = 0.0) -> tuple[RateFit, RateFit]:
    """A power law and a linear rate, each fitted to the last decade of steps: (power, linear).

    excess (T+1,) at the steps 0 .. T; those from the first one at or below `resolution` on are left out. Raises
    DataError where fewer than eight are left.
    """
    E = np.asarray(excess, dtype=float)
    low = np.flatnonzero(np.isnan(E) | np.less_equal(E, resolution))
    last = (int(low[0]) if low.size else E.size) - 1
    first = max(1, math.ceil(last / WINDOW))
    if last - first + 1 < FEWEST:
        raise DataError(
            f"a rate is fitted to the last decade of steps above rounding, at least {FEWEST}, got steps {first} to "
            f"{last}; take more steps, or a smaller learning rate"
        )
    t = np.arange(first, last + 1, dtype=float)
    y = np.log(E[first : last + 1])

    def fit(kind: Literal["power", "linear"], x: Array) -> RateFit:
        slope, intercept = np.polyfit(x, y, 1)
        left = float(np.square(y - intercept - slope * x).sum())
        spread = float(np.square(y - y.mean()).sum())
        r2 = 1 - left / spread if spread > 0 else math.nan
        return RateFit(kind, float(slope), float(intercept), r2, first, last)

    return fit("power", np.log(t)), fit("linear", t)
