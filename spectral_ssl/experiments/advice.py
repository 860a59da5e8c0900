"""From outcomes to advice: which method, which invariance, which dimension, at which alignment and label budget.

`advise` is a pure function: nothing is drawn, read or written. In every regime (a share of wrong pairs and a label
budget) all cells, methods in dimensions, are compared pairwise as one family (significance.py), so that the best may be
chosen after looking; where nothing is significant the advice says so. What two published abstracts say is judged in
abstracts.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spectral_ssl.experiments.abstracts import LOW, SIMCLR, any_will_do, judge_abstracts, roles, words
from spectral_ssl.experiments.outcomes import CHOSEN, Ridge
from spectral_ssl.experiments.significance import LEVEL, Judged, holm, named, paired

__all__ = ["Advice", "Judged", "advise", "standing"]

FEW = 3  # cells named in the headline, of more their number is told

Budget = tuple[int | None, Ridge | None]


@dataclass(frozen=True)
class Advice:
    """headline: in two sentences. sentences: the whole. verdict: the same as a record ready for JSON."""

    headline: str
    sentences: list[str]
    verdict: dict[str, Any]


@dataclass(frozen=True)
class _Words:
    """How scores are written: accuracies in percent, their differences in points; R² as it is."""

    score: str

    def value(self, x: float) -> str:
        return f"{100 * x:.1f} %" if self.score == "accuracy" else f"{x:.3f}"

    def points(self, x: float) -> str:
        return f"{100 * x:.1f} points" if self.score == "accuracy" else f"{x:.3f}"

    def bare(self, x: float) -> str:
        return f"{100 * x:.1f}" if self.score == "accuracy" else f"{x:.3f}"


def advise(judged: Sequence[Judged], *, score: str = "accuracy") -> Advice:
    """The advice that outcomes support.

    judged: every cell in every regime. score: "accuracy" or "R²". The lowest rate counts as aligned, the highest as
    misaligned, the smallest number of labels as low data.
    """
    say = _Words(score)
    rates = sorted({row.rate for row in judged})
    ends = {"aligned": rates[0], "misaligned": rates[-1]}
    few = min((row.n_labels for row in judged if row.n_labels is not None), default=None)
    budgets: list[Budget] = list(dict.fromkeys((r.n_labels, r.ridge) for r in judged if r.n_labels in (None, few)))
    regimes = []
    for name, rate in ends.items():
        for n_labels, ridge in budgets:
            here = [row for row in judged if (row.rate, row.n_labels, row.ridge) == (rate, n_labels, ridge)]
            if here:
                regimes.append({"name": name, "rate": rate, "n_labels": n_labels, "ridge": ridge, **standing(here)})
    abstracts = judge_abstracts(judged, **ends, few=few)
    will_do = any_will_do(judged, ends["aligned"])
    turns = _turns(judged, rates)
    safest = _safest(judged)
    sentences = [_regime_told(found, say) for found in regimes]
    sentences += [_turn_told(found, say) for found in turns]
    if abstracts["comparisons"]:
        sentences += _roles_told(abstracts["roles"], few)
        sentences += [_claims_told(found, say) for found in abstracts["by_n_components"]]
    sentences += [] if will_do is None else [_will_do_told(will_do, say)]
    sentences.append(words(abstracts))
    sentences.append(
        f"Never far from the best, whatever the share of wrong pairs and the label budget: {safest['name']}, at worst "
        f"{say.points(safest['behind'])} below it (rate {safest['rate']:g}, "
        f"{_budget(safest['n_labels'], safest['ridge'])})."
    )
    if max(row.outcomes.shape[0] for row in judged) == 1:
        sentences.append("One repeat: what draws of pairs and labels change was not measured.")
    verdict = {
        "rule": f"two-sided t test of paired differences over held-out rows and draws, Holm-adjusted p < {LEVEL:g}",
        **ends,
        "few_labels": few,
        "regimes": regimes,
        "low_invariance_wins": turns,
        "abstracts": {**abstracts, "any_method_will_do": will_do},
        "safest": safest,
    }
    return Advice(_headline(regimes, words(abstracts), say), sentences, verdict)


# ---------------------------------------------------------------------------------------------------------- one regime


def standing(cells: Sequence[Judged]) -> dict[str, Any]:
    """Who is best in a regime, who is not significantly worse, and who is, by how much; all pairs are one family."""
    ranked = sorted(cells, key=lambda row: -row.score)
    pairs = list(itertools.combinations(range(len(ranked)), 2))
    found = holm([paired(ranked[i], ranked[j]) for i, j in pairs])
    against = [(ranked[j], d) for (i, j), d in zip(pairs, found, strict=True) if i == 0]
    told = [
        (d.significant, {**_cell(row), "behind": d.difference, "standard_error": d.standard_error, "p": d.p})
        for row, d in against
    ]
    return {
        "best": _cell(ranked[0]),
        "as_good": [cell for significant, cell in told if not significant],
        "worse": [cell for significant, cell in told if significant],
        "comparisons": len(found),
        "significant": sum(d.significant for d in found),
    }


def _cell(row: Judged) -> dict[str, Any]:
    return {"method": row.method, "n_components": row.n_components, "name": row.name, "score": row.score}


def _regime_told(found: dict[str, Any], say: _Words) -> str:
    best, as_good, worse = found["best"], found["as_good"], found["worse"]
    where = f"{found['name'].capitalize()} (rate {found['rate']:g}), {_budget(found['n_labels'], found['ridge'])}"
    if not found["comparisons"]:
        return f"{where}: {best['name']} reaches {say.value(best['score'])}, with nothing to compare it to."
    if not found["significant"]:
        far = as_good[-1]
        return (
            f"{where}: nothing significant among {1 + len(as_good)} choices, from {say.value(far['score'])} to "
            f"{say.value(best['score'])}; the widest difference, of {best['name']} above {far['name']}, is "
            f"{_apart(far, say)}."
        )
    text = f"{where}: {best['name']} is best with {say.value(best['score'])}"
    if as_good:
        text += f"; not significantly worse: {_listed(as_good)}"
    if worse:
        ends = [f"{cell['name']}, by {_apart(cell, say)}" for cell in (worse[0], worse[-1])]
        text += (
            f"; significantly worse: {ends[0]}"
            if len(worse) == 1
            else (f"; significantly worse: the {len(worse)} others, from {ends[0]}, to {ends[1]}")
        )
    return text + "."


def _apart(cell: dict[str, Any], say: _Words) -> str:
    return f"{say.points(cell['behind'])} (standard error {say.bare(cell['standard_error'])})"


def _listed(cells: Sequence[dict[str, Any]]) -> str:
    """Cells in words, those joined that differ in the invariance alone: "VICReg, γ = 0.1 or 0.5 α/m_K, K = 8"."""
    groups: dict[tuple[str, int], list[str]] = {}
    for cell in cells:
        base, _, strength = cell["method"].partition(", γ = ")
        groups.setdefault((base, cell["n_components"]), []).append(strength.removesuffix(" α/m_K"))
    return "; ".join(
        f"{named(base)}{f', γ = {_either(sorted(strengths))} α/m_K' if strengths[0] else ''}, K = {K}"
        for (base, K), strengths in groups.items()
    )


def _either(words: Sequence[str], joint: str = "or") -> str:
    return f" {joint} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _budget(n_labels: int | None, ridge: Ridge | None) -> str:
    if n_labels is None:
        return "all labels"
    how = "" if ridge is None else ", ridge by leave-one-out" if ridge == CHOSEN else f", ridge {ridge:g}"
    return f"{n_labels} labels" + (", no ridge" if ridge == 0 else how)


def _headline(regimes: Sequence[dict[str, Any]], abstract: str, say: _Words) -> str:
    """Few labels and pairs to trust, then all labels and pairs that mislead, then the abstracts."""
    few = [found for found in regimes if found["name"] == "aligned" and found["n_labels"] is not None]
    wrong = [found for found in regimes if found["name"] == "misaligned" and found["n_labels"] is None]
    parts = [_brief(found, say) for found in (*few[-1:], *wrong[:1])]
    return " ".join([*parts, abstract])


def _brief(found: dict[str, Any], say: _Words) -> str:
    best, as_good = found["best"], found["as_good"]
    where = f"{found['name'].capitalize()} pairs, {_budget(found['n_labels'], None)}"
    if not found["comparisons"]:
        return f"{where}: {best['name']} reaches {say.value(best['score'])}, with nothing to compare it to."
    if not found["significant"]:
        return f"{where}: nothing significant between the methods (best {say.value(best['score'])})."
    many = len(as_good) > FEW
    others = f"{len(as_good)} others" if many else _listed(as_good)
    tail = f"; not significantly below: {others}" if as_good else ""
    return f"{where}: {best['name']} is best ({say.value(best['score'])}{tail})."


# ---------------------------------------------------------------------------------------------------- over all regimes


def _turns(judged: Sequence[Judged], rates: Sequence[float]) -> list[dict[str, Any]]:
    """From which rate on low-invariance VICReg is significantly above SimCLR with all labels; all rates one family."""
    speaks = roles(judged)
    if LOW not in speaks or SIMCLR not in speaks:
        return []
    turns = []
    for K in sorted({row.n_components for row in judged}):
        here = {(row.method, row.rate): row for row in judged if row.n_components == K and row.n_labels is None}
        known = [r for r in rates if (speaks[LOW], r) in here and (speaks[SIMCLR], r) in here]
        found = holm([paired(here[speaks[LOW], r], here[speaks[SIMCLR], r]) for r in known])
        first = len(known)
        while first > 0 and found[first - 1].significant and found[first - 1].difference > 0:
            first -= 1
        turns.append(
            {
                "n_components": K,
                "from_rate": known[first] if first < len(known) else None,
                "rates": known,
                "comparisons": [asdict(d) for d in found],
            }
        )
    return turns


def _turn_told(found: dict[str, Any], say: _Words) -> str:
    start = found["from_rate"]
    last = found["comparisons"][-1]
    names = f"{last['first']} above {last['second']}"
    if start is None:
        return (
            f"All labels, {names}: not significant at the highest rate ({say.points(last['difference'])}, standard "
            f"error {say.bare(last['standard_error'])})."
        )
    told = [d for rate, d in zip(found["rates"], found["comparisons"], strict=True) if rate >= start]
    low, high = min(d["difference"] for d in told), max(d["difference"] for d in told)
    reach = say.points(high) if len(told) == 1 else f"{say.bare(low)} to {say.points(high)}"
    return f"All labels, {names}: significant from rate {start:g} on, by {reach}."


def _roles_told(speaks: dict[str, str], few: int | None) -> list[str]:
    who = [f"{role} is {named(method)}" for role, method in speaks.items() if role != named(method)]
    who += [] if few is None else [f"low data is {few} labels"]
    return [f"In the claims of the abstracts {_either(who, 'and')}."] if who else []


def _claims_told(found: dict[str, Any], say: _Words) -> str:
    parts = []
    for claim in found["claims"]:
        if not claim["comparisons"]:
            continue
        sizes = [
            f"{'+' if d['difference'] >= 0 else ''}{say.bare(d['difference'])} ± {say.bare(d['standard_error'])}"
            + ("" if d["ridge"] is None else " without ridge" if d["ridge"] == 0 else " with ridge")
            for d in claim["comparisons"]
        ]
        parts.append(f"{claim['claim']} {claim['verdict']} ({', '.join(sizes)})")
    return f"Claims at K = {found['n_components']}: {'; '.join(parts) or 'none could be asked'}."


def _will_do_told(found: dict[str, Any], say: _Words) -> str:
    far = max(found["comparisons"], key=lambda d: d["difference"])
    return (
        f"Both abstracts say that any method will do where pairs are aligned and labels plenty: {found['verdict']}; "
        f"each method at its best, {far['second']} is farthest below {far['first']}, by "
        f"{say.points(far['difference'])} (standard error {say.bare(far['standard_error'])}; up to "
        f"{say.points(found['margin'])} counts as the same)."
    )


def _safest(judged: Sequence[Judged]) -> dict[str, Any]:
    """The cell whose greatest distance from the best of its regime is least, over all rates and label budgets.

    Few labels count with the ridge that rows left out choose, where there is one: nobody need do without.
    """
    regimes: dict[tuple[float, Budget], list[Judged]] = {}
    ridged = any(row.ridge == CHOSEN for row in judged)
    for row in judged:
        if ridged and row.n_labels is not None and row.ridge != CHOSEN:
            continue
        regimes.setdefault((row.rate, (row.n_labels, row.ridge)), []).append(row)
    behind: dict[str, dict[str, Any]] = {}
    for rows in regimes.values():
        top = max(row.score for row in rows)
        for row in rows:
            if row.name not in behind or top - row.score > behind[row.name]["behind"]:
                behind[row.name] = {
                    **_cell(row),
                    "behind": top - row.score,
                    **{"rate": row.rate, "n_labels": row.n_labels, "ridge": row.ridge},
                }
    return min(behind.values(), key=lambda cell: cell["behind"])
