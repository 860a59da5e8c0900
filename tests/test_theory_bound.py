"""A bound checks its assumptions before there is a number."""

import math

import pytest

from spectral_ssl.theory import Assumption, Bound

TRUE = Assumption("K >= 1", True, "K = 3")
FALSE = Assumption("K + 1 >= C", False, "K = 3, C = 10")
OPEN = Assumption("the encoder is L-Lipschitz", None)


def limit_of(value: float, **options: object) -> Bound:
    return Bound.check("b", 1.0, lambda: value, source="here", **options)  # type: ignore[arg-type]


def test_a_failed_assumption_leaves_no_number_and_is_said_first() -> None:
    def never() -> float:
        raise AssertionError("evaluated although an assumption fails")

    bound = Bound.check("Arora", 1.0, never, source="here", assumptions=[TRUE, FALSE], trivial=2.0)
    assert math.isnan(bound.limit)
    assert not bound.legal
    assert (bound.holds, bound.vacuous, bound.slack, bound.verdict) == (None, None, None, "illegal")
    assert str(bound) == "Arora: not applicable, K + 1 >= C: fails (K = 3, C = 10)"
    assert bound.row()["limit"] is None


def test_what_cannot_be_checked_does_not_forbid_the_number() -> None:
    bound = limit_of(2.0, assumptions=[TRUE, OPEN])
    assert bound.legal
    assert bound.row()["assumptions"] == ["K >= 1: holds (K = 3)", "the encoder is L-Lipschitz: not checkable"]


@pytest.mark.parametrize(
    ("side", "limit", "trivial", "verdict", "slack"),
    [
        ("upper", 1.5, 2.0, "holds", 0.5),
        ("upper", 2.0, 2.0, "vacuous", 1.0),
        ("upper", 0.5, 2.0, "violated", -0.5),
        ("upper", 1.0 - 1e-12, None, "holds", -1e-12),
        ("lower", 0.5, 0.0, "holds", 0.5),
        ("lower", -0.5, 0.0, "vacuous", 1.5),
        ("lower", 1.5, 0.0, "violated", -0.5),
        ("upper", math.inf, 2.0, "vacuous", math.inf),
    ],
)
def test_verdicts_on_either_side(side: str, limit: float, trivial: float, verdict: str, slack: float) -> None:
    bound = limit_of(limit, side=side, trivial=trivial)
    assert bound.verdict == verdict
    assert bound.slack == pytest.approx(slack, abs=1e-15)


def test_nothing_measured_is_open() -> None:
    bound = Bound.check("b", None, lambda: 1.0, source="here", trivial=2.0)
    assert (bound.verdict, bound.holds, bound.slack) == ("open", None, None)
