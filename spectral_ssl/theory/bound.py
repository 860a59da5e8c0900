"""What an inequality says about measured numbers, and whether it may be applied to them at all.

A theorem is a number and its assumptions. `Bound` keeps both: the assumptions are checked first, with what was measured
beside each, and where one fails there is no number to misread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Assumption", "Bound"]

ROUNDING = 1e-9  # relative: an equality that holds to rounding is not a violation
Side = Literal["upper", "lower"]


@dataclass(frozen=True)
class Assumption:
    """One condition of a theorem. holds: None where no data can decide it; measured: what was seen, in words."""

    text: str
    holds: bool | None
    measured: str = ""

    def __str__(self) -> str:
        verdict = {True: "holds", False: "fails", None: "not checkable"}[self.holds]
        return f"{self.text}: {verdict}" + (f" ({self.measured})" if self.measured else "")


@dataclass(frozen=True)
class Bound:
    """An inequality between a measured quantity and a limit: observed <= limit ("upper") or >= limit ("lower").

    observed: the quantity that is bounded; None where it was not measured. limit: NaN where an assumption fails.
    trivial: what is known of the quantity without the theorem (its ceiling, for an upper bound): a limit past it says
    nothing. certified: whether `observed` and `limit` are exact for the data given; False where sampling entered.
    """

    name: str
    observed: float | None
    limit: float
    side: Side
    assumptions: tuple[Assumption, ...]
    source: str
    trivial: float | None = None
    certified: bool = True

    @classmethod
    def check(
        cls,
        name: str,
        observed: float | None,
        limit: Callable[[], float],
        *,
        source: str,
        side: Side = "upper",
        assumptions: Iterable[Assumption] = (),
        trivial: float | None = None,
        certified: bool = True,
    ) -> Bound:
        """The bound, its limit evaluated only where no assumption fails."""
        assumed = tuple(assumptions)
        failed = any(a.holds is False for a in assumed)
        value = math.nan if failed else float(limit())
        return cls(name, observed, value, side, assumed, source, trivial, certified)

    @property
    def legal(self) -> bool:
        """Whether no assumption fails."""
        return not self.failed

    @property
    def failed(self) -> tuple[Assumption, ...]:
        return tuple(a for a in self.assumptions if a.holds is False)

    @property
    def slack(self) -> float | None:
        """How far the observed value is inside the limit, negative where it is violated; None where one is missing."""
        if self.observed is None or math.isnan(self.limit):
            return None
        return self.limit - self.observed if self.side == "upper" else self.observed - self.limit

    @property
    def holds(self) -> bool | None:
        """Whether the observed value respects the limit, up to rounding; None where there is nothing to compare."""
        if self.slack is None:
            return None
        assert self.observed is not None
        size = max(1.0, abs(self.observed), abs(self.limit) if math.isfinite(self.limit) else 0.0)
        return self.slack >= -ROUNDING * size

    @property
    def vacuous(self) -> bool | None:
        """Whether the limit says no more than what is known anyway; None where it is not legal or nothing is known."""
        if self.trivial is None or math.isnan(self.limit):
            return None
        return self.limit >= self.trivial if self.side == "upper" else self.limit <= self.trivial

    @property
    def verdict(self) -> str:
        """ "illegal", "violated", "vacuous", "holds", or "open" where the quantity was not measured."""
        if not self.legal:
            return "illegal"
        if self.holds is False:
            return "violated"
        if self.vacuous:
            return "vacuous"
        return "open" if self.holds is None else "holds"

    def __str__(self) -> str:
        """In words, a failed assumption before anything else."""
        if self.failed:
            return f"{self.name}: not applicable, {'; '.join(map(str, self.failed))}"
        sign = "<=" if self.side == "upper" else ">="
        observed = "?" if self.observed is None else f"{self.observed:.6g}"
        return f"{self.name}: {observed} {sign} {self.limit:.6g}, {self.verdict}"

    def row(self) -> dict[str, Any]:
        """The bound as a flat JSON-ready row."""
        return {
            "bound": self.name,
            "side": self.side,
            "observed": self.observed,
            "limit": self.limit if math.isfinite(self.limit) else None,
            "legal": self.legal,
            "holds": self.holds,
            "vacuous": self.vacuous,
            "verdict": self.verdict,
            "assumptions": [str(a) for a in self.assumptions],
            "source": self.source,
        }
