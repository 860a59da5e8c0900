"""What is told of a run of `converge`: its row, what is drawn of it, and the answer of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.convergence_tuples import CASES
from spectral_ssl.experiments.frame import times
from spectral_ssl.theory.bound import Bound
from spectral_ssl.theory.convergence import DescentTrace, RateFit, descent_bounds, fit_rates
from spectral_ssl.theory.tuples import Infimum
from spectral_ssl.training.convergence import Descended

__all__ = ["answer_of", "descent_row", "drawn_rows", "fit_curve", "not_applied", "sentence"]

FITS = 0.99  # R^2 from which a rate is named
STALLED = 0.99  # share of the excess left at the end, above which no rate is named: any law fits a constant
NONE_APPLIES = "none applies"
DRAWN = 40  # steps drawn of a run, on a log scale, and as many on a linear one


def descent_row(case: str, slug: str, found: Descended, infimum: Infimum) -> tuple[dict[str, Any], tuple[Bound, ...]]:
    """A run in one row, and its bounds."""
    t, fits = found.trace, _fits(found.trace)
    bounds = descent_bounds(t)
    kernel, gradient = bounds[1], bounds[2]
    row: dict[str, Any] = {
        "loss": case,
        "width": found.problem.setup.width,
        "excess": float(t.excess[-1]),
        "rate": _rate_words(fits, float(t.excess[-1] / max(t.excess[0], 1e-300))),
        "envelope": float(t.kernel_envelope()[-1]) if kernel.legal and kernel.observed is not None else None,
        "bounds": _verdict(bounds),
        "lambda_min": None if not t.kernel_measured else 0.0 if t.singular else t.lam,
        "motion": t.relative_motion,
        "r2_power": None if fits is None else fits[0].r2,
        "r2_linear": None if fits is None else fits[1].r2,
        "envelope_gradient": float(t.gradient_envelope()[-1]) if gradient.legal else None,
        "infimum": infimum.low,
        "infimum_at_most": infimum.high,
        "start": float(t.losses[0]),
        "steps": t.learning_rates.size,
        "slope": None if fits is None else fits[0].slope,
        "rate_per_step": None if fits is None else -fits[1].slope,
        "gradient_over_excess": t.pl_ratio,
        "gradient_over_excess2": t.square_ratio,
        "lambda_max": float(t.kernel_greatest.max()) if t.kernel_measured else None,
        "motion_limit": float(t.motion_limits.max()) / t.start_norm,
        "eta_beta": float(t.step_smoothness.max(initial=0.0)),
        "learning_rate": float(t.learning_rates[0]),
        "seconds": found.seconds,
        "slug": slug,
    }
    return row, bounds


def _verdict(bounds: Sequence[Bound]) -> str:
    """ "4 of 4 hold", "2 of 2 hold" where two do not apply, "none applies", or how many are violated."""
    applied = [bound for bound in bounds if bound.holds is not None]
    if not applied:
        return NONE_APPLIES
    broken = sum(bound.holds is False for bound in applied)
    return f"{broken} VIOLATED" if broken else f"{len(applied)} of {len(applied)} hold"


def _rate_words(fits: tuple[RateFit, RateFit] | None, left: float) -> str:
    if left > STALLED:
        return "no descent"
    if fits is None:
        return "too short to tell"
    power, linear = fits
    best = max(fits, key=lambda fit: fit.r2)
    if not best.r2 >= FITS:
        return "no clear law"
    return f"t^{power.slope:.2f}" if best is power else f"e^(-{-linear.slope:.2g} t)"


def drawn_rows(slug: str, arrays: Mapping[str, Array], case: str, width: int) -> list[dict[str, Any]]:
    """Rows of the figures of one run: the excess, its fit and its envelopes at few steps."""
    E = arrays[f"{slug}/excess"]
    last = E.size - 1
    at = np.unique(np.concatenate([np.geomspace(1, last, DRAWN), np.linspace(0, last, DRAWN)]).round().astype(int))
    found = []
    for t in at:
        row: dict[str, Any] = {"figure": "excess", "loss": case, "width": width, "step": int(t), "excess": float(E[t])}
        for name in ("fit", "kernel_envelope", "gradient_envelope"):
            curve = arrays[f"{slug}/{name}"]
            value = float(curve[t]) if curve.size else math.nan
            row[name] = value if math.isfinite(value) else None
        found.append(row)
    return found


def _fits(trace: DescentTrace) -> tuple[RateFit, RateFit] | None:
    try:
        return fit_rates(trace.excess, trace.resolution)
    except DataError:  # too few steps above rounding to tell a rate by
        return None


def fit_curve(trace: DescentTrace) -> Array:
    """The better fit at the steps it was made on (T+1,), nan elsewhere."""
    found = np.full(trace.losses.size, np.nan)
    if (fits := _fits(trace)) is not None:
        best = max(fits, key=lambda fit: fit.r2)
        on = np.arange(best.first, best.last + 1)
        found[on] = best.at(on)
    return found


def not_applied(bounds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which assumptions failed where, an assumption a line."""
    failed: dict[tuple[str, str], list[str]] = {}
    for bound in bounds:
        for text in bound["assumptions"]:
            what, _, how = text.partition(": fails")
            if how:
                where = failed.setdefault((bound["loss"], what), [])
                where += [told] if (told := f"{bound['width']}{how}") not in where else []
    return [
        f"{case}: bounds that ask for '{what}' are not applied at width {', '.join(where)}"
        for (case, what), where in failed.items()
    ]


def sentence(text: str) -> str:
    """With a capital letter in front, the rest as it is."""
    return text[:1].upper() + text[1:]


def answer_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """How fast each loss falls, what width does, and whether a bound is violated."""
    parts = []
    for case in dict.fromkeys(row["loss"] for row in rows):
        mine = [row for row in rows if row["loss"] == case]
        told = ", ".join(f"{row['rate']} at width {row['width']}" for row in mine)
        worst = max(mine, key=lambda row: row["excess"])
        parts.append(f"{CASES[case].words}: {told}; excess {times(worst['excess'])} or less at the end")
    said = sentence("; ".join(parts))
    mine = [row for row in rows if row["loss"] == rows[0]["loss"]]
    narrow, wide = mine[0], mine[-1]
    if len(mine) > 1:
        said += f". From width {narrow['width']} to {wide['width']} weights move by {times(narrow['motion'])} and "
        said += f"{times(wide['motion'])} of themselves"
        if narrow["lambda_min"] is not None and wide["lambda_min"] is not None:
            said += f", the kernel's least eigenvalue is {times(narrow['lambda_min'])} and {times(wide['lambda_min'])}"
    broken = sum("VIOLATED" in row["bounds"] for row in rows)
    if broken:
        return f"{said}. {broken} {'run VIOLATES' if broken == 1 else 'runs VIOLATE'} a bound."
    idle = sum(row["bounds"] == NONE_APPLIES for row in rows)
    if idle == len(rows):
        return f"{said}. No bound applies: their assumptions fail."
    return f"{said}. No bound is violated" + (f"; to {idle} of {len(rows)} runs none applies." if idle else ".")
