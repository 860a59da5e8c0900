"""Which of its two published abstracts do the numbers support? Balestriero & LeCun 2022 (arXiv 2205.11508).

    early version   low data: SimCLR or high-invariance VICReg; misaligned: Barlow Twins or low-invariance VICReg
    v3              low data: high-invariance VICReg; misaligned: low-invariance VICReg, not SimCLR or Barlow Twins

Each is a list of comparisons (`CLAIMS`), asked at every dimension K: where K is below the rank of the data small
invariance cannot keep what wrong pairs leave out (statement D7), so what holds at one K need not at another.

A claim is supported where a comparison of it is significant its way and none the other way, contradicted the other way
round, mixed with both, and undecided with neither; claims about low data are asked without and with a ridge. An
abstract is supported where all its claims are, contradicted where one is contradicted or mixed, else undecided. All
comparisons of all dimensions are one family (see significance.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from spectral_ssl.experiments.significance import Difference, Judged, holm, paired

__all__ = ["ABSTRACTS", "CLAIMS", "SAME", "any_will_do", "judge_abstracts", "roles", "words"]

SAME = 0.02  # of a score: methods this close do equally well, for the claim that any method will do
EARLY, LATER = "early version", "v3"
ABSTRACTS = {
    EARLY: "low data: SimCLR or high-invariance VICReg; misaligned: Barlow Twins or low-invariance VICReg",
    LATER: "low data: high-invariance VICReg; misaligned: low-invariance VICReg, not SimCLR or Barlow Twins",
}
LOW, HIGH, SIMCLR, BARLOW = "low-invariance VICReg", "high-invariance VICReg", "SimCLR", "Barlow Twins"
VERBS = {
    "supported": "support",
    "contradicted": "contradict",
    "undecided": "leave undecided",
    "not asked": "say nothing of",
}
SIMCLRS = ("frobenius_simclr", "simclr", "infonce", "spectral_contrastive", "ssl_ey")  # who may speak for SimCLR


class Claim(NamedTuple):
    """`better` has the higher score than `worse`: aligned with few labels (low_data), or misaligned with all."""

    better: str
    worse: str
    low_data: bool
    abstracts: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{'low data' if self.low_data else 'misaligned'}: {self.better} over {self.worse}"


CLAIMS = (
    Claim(HIGH, LOW, True, (EARLY, LATER)),
    Claim(SIMCLR, LOW, True, (EARLY,)),
    Claim(LOW, HIGH, False, (EARLY, LATER)),
    Claim(LOW, SIMCLR, False, (EARLY, LATER)),
    Claim(BARLOW, SIMCLR, False, (EARLY,)),
    Claim(LOW, BARLOW, False, (LATER,)),
)


def roles(judged: Sequence[Judged]) -> dict[str, str]:
    """Which method of a study speaks for whom: of VICReg the least and the greatest invariance of its grid."""
    found: dict[str, str] = {}
    graded = [row for row in judged if row.strength is not None]
    if graded:
        base = graded[0].method.split(", γ")[0]  # of several forms of VICReg the first
        grid = {float(row.strength or 0): row.method for row in graded if row.method.split(", γ")[0] == base}
        if len(grid) > 1:
            found |= {LOW: grid[min(grid)], HIGH: grid[max(grid)]}
    for role, families in ((SIMCLR, SIMCLRS), (BARLOW, ("barlow_twins",))):
        for family in families:
            method = next((row.method for row in judged if row.family == family), None)
            if method is not None:
                found.setdefault(role, method)
    return found


def judge_abstracts(judged: Sequence[Judged], *, aligned: float, misaligned: float, few: int | None) -> dict[str, Any]:
    """Every claim and both abstracts at every K, with the comparisons behind them, and which abstract holds.

    few: the number of labels that counts as low data, None where there is none.
    """
    speaks = roles(judged)
    asked: list[tuple[int, Claim, Any, Difference]] = []
    sizes = sorted({row.n_components for row in judged})
    for K in sizes:
        for claim in CLAIMS:
            if claim.better not in speaks or claim.worse not in speaks or (claim.low_data and few is None):
                continue
            where = (K, aligned if claim.low_data else misaligned, few if claim.low_data else None)
            here = [row for row in judged if (row.n_components, row.rate, row.n_labels) == where]
            for ridge in dict.fromkeys(row.ridge for row in here):
                of = {row.method: row for row in here if row.ridge == ridge}
                if speaks[claim.better] in of and speaks[claim.worse] in of:
                    pair = paired(of[speaks[claim.better]], of[speaks[claim.worse]])
                    asked.append((K, claim, ridge, pair))
    adjusted = holm([pair for *_, pair in asked])
    by_size: list[dict[str, Any]] = []
    for K in sizes:
        claims = []
        for claim in CLAIMS:
            mine = [
                (ridge, d)
                for (size, other, ridge, _), d in zip(asked, adjusted, strict=True)
                if (size, other) == (K, claim)
            ]
            claims.append(
                {
                    "claim": claim.text,
                    "of": list(claim.abstracts),
                    "verdict": _verdict([d for _, d in mine]),
                    "comparisons": [{"ridge": ridge, **asdict(d)} for ridge, d in mine],
                }
            )
        by_size.append({"n_components": K, "claims": claims, "abstracts": {a: _whole(a, claims) for a in ABSTRACTS}})
    held = {name: [s["n_components"] for s in by_size if s["abstracts"][name] == "supported"] for name in ABSTRACTS}
    return {
        "texts": ABSTRACTS,
        "roles": speaks,
        "comparisons": len(asked),
        "by_n_components": by_size,
        "supported_at": held,
        "supported": [name for name, where in held.items() if where],
    }


def _verdict(found: Sequence[Difference]) -> str:
    if not found:
        return "not asked"
    won, lost = (any(d.significant and sign * d.difference > 0 for d in found) for sign in (1, -1))
    return "mixed" if won and lost else "supported" if won else "contradicted" if lost else "undecided"


def _whole(name: str, claims: Sequence[dict[str, Any]]) -> str:
    found = {claim["verdict"] for claim in claims if name in claim["of"]}
    if found & {"contradicted", "mixed"}:
        return "contradicted"
    return "supported" if found == {"supported"} else "not asked" if "not asked" in found else "undecided"


def any_will_do(judged: Sequence[Judged], aligned: float) -> dict[str, Any] | None:
    """What both abstracts say: where pairs are aligned and labels plenty every method does, each at its best.

    Supported where all are within SAME of the best by two standard errors, contradicted where one is farther than that
    by two. None where there is one method only.
    """
    best: dict[str, Judged] = {}
    for row in judged:
        if row.rate == aligned and row.n_labels is None:
            best[row.family] = max(best.get(row.family, row), row, key=lambda r: r.score)
    if len(best) < 2:
        return None
    first, *others = sorted(best.values(), key=lambda row: -row.score)
    found = [paired(first, other) for other in others]
    if all(d.difference + 2 * d.standard_error <= SAME for d in found):
        verdict = "supported"
    else:
        far = any(d.difference - 2 * d.standard_error > SAME for d in found)
        verdict = "contradicted" if far else "undecided"
    return {"verdict": verdict, "margin": SAME, "comparisons": [asdict(d) for d in found]}


def words(found: dict[str, Any]) -> str:
    """Which abstract the numbers support, in a sentence."""
    if not found["comparisons"]:
        return (
            "The two published abstracts were not compared: that takes VICReg at two invariances, SimCLR and Barlow "
            "Twins."
        )
    parts = []
    for size in found["by_n_components"]:
        groups: dict[str, list[str]] = {}
        for name, verdict in size["abstracts"].items():
            groups.setdefault(verdict, []).append(_article(name))
        told = [f"{VERBS[verdict]} {' and '.join(names)}" for verdict, names in groups.items()]
        parts.append(f"at K = {size['n_components']} the numbers {', and '.join(told)}")
    kept = "".join(f" ({name}: {ABSTRACTS[name]})" for name in found["supported"])
    return f"Of the paper's two published abstracts: {'; '.join(parts)}{kept}."


def _article(name: str) -> str:
    return f"the {name}" if name == EARLY else name
