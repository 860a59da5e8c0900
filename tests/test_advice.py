"""The words of `align` follow its numbers: significance, standing, which abstract holds, on outcomes made up here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_ssl.errors import DataError
from spectral_ssl.experiments.abstracts import ABSTRACTS, CLAIMS, any_will_do, judge_abstracts, roles
from spectral_ssl.experiments.advice import advise, standing
from spectral_ssl.experiments.significance import LEVEL, Difference, Judged, holm, paired

SAME = 1e-12  # one number computed in two ways, in float64
DRAWN = 0.1  # relative: a mean over 4000 simulated standard errors is known to 2 %
LOW, HIGH = "vicreg, γ = 0.1 α/m_K", "vicreg, γ = 1.1 α/m_K"
METHODS = {LOW: ("vicreg", 0.1), HIGH: ("vicreg", 1.1), "frobenius_simclr": ("frobenius_simclr", None),
           "barlow_twins": ("barlow_twins", None)}  # fmt: skip
Accuracies = Callable[[str, float, int | None], float]


def judged(method: str, outcomes: np.ndarray, *, K: int = 4, rate: float = 0.0, m: int | None = None) -> Judged:
    family, strength = METHODS[method]
    return Judged(method, family, strength, K, rate, m, None if m is None else 0.0, np.asarray(outcomes, dtype=float))


def world(accuracy: Accuracies, *, K: int = 4, repeats: int = 4, n: int = 400) -> list[Judged]:
    """Outcomes of every method, aligned and misaligned, with all labels and with 20: the first rows are right."""
    found = []
    for rate in (0.0, 1.0):
        for m in (None, 20):
            for method in METHODS:
                right = round(accuracy(method, rate, m) * n)
                found.append(judged(method, np.tile(np.arange(n) < right, (repeats, 1)), K=K, rate=rate, m=m))
    return found


def test_a_paired_difference_counts_rows_and_draws() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 7)), rng.random((3, 7))
    D = a - b
    rows = [sum(D[r, i] for r in range(3)) / 3 for i in range(7)]
    draws = [sum(D[r, i] for i in range(7)) / 7 for r in range(3)]
    of_rows = sum((x - sum(rows) / 7) ** 2 for x in rows) / 6 / 7
    of_draws = sum((x - sum(draws) / 3) ** 2 for x in draws) / 2 / 3
    found = paired(judged(LOW, a), judged(HIGH, b))
    assert found.difference == pytest.approx(sum(rows) / 7, rel=SAME)
    assert found.standard_error == pytest.approx((of_rows + of_draws) ** 0.5, rel=SAME)
    freedom = (of_rows + of_draws) ** 2 / (of_rows**2 / 6 + of_draws**2 / 2)
    assert found.freedom == pytest.approx(freedom, rel=SAME)
    t = found.difference / found.standard_error
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(t), freedom), rel=1e-9)


def test_of_one_repeat_it_is_the_paired_t_test_over_rows() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((1, 30)), rng.random((1, 30))
    witness = scipy.stats.ttest_rel(a[0], b[0])
    assert paired(judged(LOW, a), judged(HIGH, b)).p == pytest.approx(witness.pvalue, rel=1e-9)


def test_the_standard_error_errs_on_the_safe_side_by_one_noise_term() -> None:
    # D = row + draw + e: the variance of its mean, and what squared standard errors are on average
    rng, R, n, size = np.random.default_rng(2), 4, 9, 4000
    row, draw, noise = (
        s * rng.standard_normal(shape) for s, shape in ((1, (size, 1, n)), (0.5, (size, R, 1)), (2, (size, R, n)))
    )
    D = row + draw + noise
    squares = [paired(judged(LOW, d), judged(HIGH, np.zeros((R, n)))).standard_error ** 2 for d in D]
    true = 1 / n + 0.25 / R + 4 / (n * R)
    assert np.var(D.mean(axis=(1, 2))) == pytest.approx(true, rel=DRAWN)
    assert np.mean(squares) == pytest.approx(true + 4 / (n * R), rel=DRAWN)


def test_equal_outcomes_differ_by_nothing_and_opposite_ones_for_sure() -> None:
    ones, zeros = np.ones((2, 5)), np.zeros((2, 5))
    assert paired(judged(LOW, ones), judged(HIGH, ones)).p == 1.0
    assert paired(judged(LOW, ones), judged(HIGH, zeros)).p == 0.0
    with pytest.raises(DataError, match="cannot be paired"):
        paired(judged(LOW, ones), judged(HIGH, np.ones((2, 6))))


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_holm_rejects_what_the_step_down_rule_rejects(p: list[float]) -> None:
    rejected, going = set(), True
    for place, k in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        going = going and p[k] * (len(p) - place) < LEVEL
        if going:
            rejected.add(k)
    found = holm([Difference("a", "b", 0.0, 1.0, 1.0, x) for x in p])
    assert {k for k, d in enumerate(found) if d.significant} == rejected
    assert all(d.p >= x for d, x in zip(found, p, strict=True))


def test_equal_methods_are_called_different_in_few_families() -> None:
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(200):
        rows, draws = rng.standard_normal((1, 40)), 0.3 * rng.standard_normal((5, 1))
        cells = [judged(method, rows + draws + rng.standard_normal((5, 40))) for method in METHODS]
        alarms += standing(cells)["significant"] > 0
    assert alarms <= 2 * LEVEL * 200  # 5 % are expected at most; 20 of 200 have a chance of 0.3 % then


def test_a_clear_winner_is_named_with_its_lead_and_a_tie_is_told_as_one() -> None:
    right = np.arange(200) < 180
    clear = standing([judged(LOW, np.tile(right, (3, 1))), judged(HIGH, np.tile(np.arange(200) < 120, (3, 1)))])
    assert clear["best"]["method"] == LOW
    assert [cell["method"] for cell in clear["worse"]] == [HIGH]
    assert clear["worse"][0]["behind"] == pytest.approx(0.3)
    rng = np.random.default_rng(4)
    tie = standing([judged(method, rng.random((3, 200)) < 0.8) for method in METHODS])
    assert tie["significant"] == 0
    assert len(tie["as_good"]) == 3
    assert tie["worse"] == []


def test_a_tie_everywhere_gives_nothing_significant_and_no_abstract() -> None:
    rng = np.random.default_rng(5)
    rows = [dataclasses.replace(row, outcomes=rng.random((4, 300)) < 0.7) for row in world(lambda *_: 0.7)]
    found = advise(rows)
    assert all("nothing significant" in text for text in found.sentences[:4])
    assert found.verdict["abstracts"]["supported"] == []
    assert "leave undecided" in found.headline


def v3_world(method: str, rate: float, m: int | None) -> float:
    """High invariance and SimCLR where labels are few, low invariance where pairs are wrong."""
    if rate == 1:
        return {LOW: 0.95, HIGH: 0.1}.get(method, 0.4 if method == "frobenius_simclr" else 0.3)
    return (0.5 if method == LOW else 0.9) if m else 0.95


def early_world(method: str, rate: float, m: int | None) -> float:
    """The same, with Barlow Twins no worse than low invariance where pairs are wrong."""
    return 0.95 if (method, rate) == ("barlow_twins", 1) else v3_world(method, rate, m)


def test_the_later_abstract_is_supported_where_its_claims_hold() -> None:
    found = advise(world(v3_world))
    by_size = found.verdict["abstracts"]["by_n_components"][0]
    assert by_size["abstracts"] == {"early version": "contradicted", "v3": "supported"}
    verdicts = {claim["claim"]: claim["verdict"] for claim in by_size["claims"]}
    assert verdicts["misaligned: Barlow Twins over SimCLR"] == "contradicted"
    assert [v for name, v in verdicts.items() if name != "misaligned: Barlow Twins over SimCLR"] == ["supported"] * 5
    assert "contradict the early version, and support v3" in found.headline
    assert ABSTRACTS["v3"] in found.headline


def test_the_early_abstract_is_supported_where_barlow_twins_withstands_wrong_pairs() -> None:
    found = advise(world(early_world)).verdict["abstracts"]
    assert found["by_n_components"][0]["abstracts"] == {"early version": "supported", "v3": "undecided"}
    assert found["supported"] == ["early version"]


def test_a_reversed_world_contradicts_both_and_dimensions_are_judged_apart() -> None:
    def reversed_world(method: str, rate: float, m: int | None) -> float:
        return 1 - v3_world(method, rate, m)

    found = advise([*world(v3_world, K=8), *world(reversed_world, K=2)])
    at = {size["n_components"]: size["abstracts"] for size in found.verdict["abstracts"]["by_n_components"]}
    assert at[2] == {"early version": "contradicted", "v3": "contradicted"}
    assert at[8]["v3"] == "supported"
    assert found.verdict["abstracts"]["supported_at"] == {"early version": [], "v3": [8]}


def test_significance_one_way_with_a_ridge_and_the_other_without_is_mixed() -> None:
    n, claim = 400, CLAIMS[0]  # low data: high over low invariance
    rows = []
    for ridge, (low, high) in {0.0: (100, 300), "chosen": (300, 100)}.items():
        for method, right in ((LOW, low), (HIGH, high)):
            row = judged(method, np.tile(np.arange(n) < right, (3, 1)), m=20)
            rows.append(dataclasses.replace(row, ridge=ridge))
    found = judge_abstracts(rows, aligned=0.0, misaligned=1.0, few=20)["by_n_components"][0]
    assert {c["claim"]: c["verdict"] for c in found["claims"]}[claim.text] == "mixed"
    assert found["abstracts"]["v3"] == "contradicted"


def test_claims_are_not_asked_without_the_methods_they_name() -> None:
    rows = [row for row in world(v3_world) if row.family == "frobenius_simclr"]
    found = advise(rows)
    assert found.verdict["abstracts"]["comparisons"] == 0
    assert "were not compared" in found.headline
    assert any_will_do(rows, 0.0) is None
    assert roles([row for row in world(v3_world) if row.method != HIGH]).keys() == {"SimCLR", "Barlow Twins"}


def test_any_method_will_do_is_a_claim_of_sameness_not_of_no_significance() -> None:
    def verdict(simclr: float, n: int) -> str:
        rows = [judged(LOW, np.tile(np.arange(n) < round(0.9 * n), (2, 1))),
                judged("frobenius_simclr", np.tile(np.arange(n) < round(simclr * n), (2, 1)))]  # fmt: skip
        found = any_will_do(rows, 0.0)
        assert found is not None
        return str(found["verdict"])

    assert verdict(0.899, 2000) == "supported"
    assert verdict(0.80, 2000) == "contradicted"
    assert verdict(0.85, 20) == "undecided"  # one row of twenty apart: too few to say
    rows = np.arange(20)
    right = [judged(LOW, np.tile(rows < 18, (2, 1))), judged("frobenius_simclr", np.tile(rows >= 2, (2, 1)))]
    found = any_will_do(right, 0.0)
    assert found is not None
    assert found["comparisons"][0]["difference"] == 0
    assert found["verdict"] == "undecided"  # as many right, but others: no sameness either


def test_sentences_cite_the_numbers_in_points_and_percent() -> None:
    found = advise(world(v3_world))
    text = " ".join(found.sentences)
    assert "VICReg, γ = 0.1 α/m_K, K = 4 is best with 95.0 %" in text
    assert "by 55.0 points (standard error 2.5)" in text  # 0.95 - 0.40; sqrt(0.55 * 0.45 / 399)
    assert "significant from rate 1 on, by 55.0 points" in text
    r2 = advise(world(v3_world), score="R²")
    assert "is best with 0.950" in " ".join(r2.sentences)
    assert "points" not in " ".join(r2.sentences)


def test_the_safest_choice_has_the_least_greatest_loss() -> None:
    rows = world(v3_world)
    regret: dict[str, float] = {}
    for row in rows:
        top = max(r.score for r in rows if (r.rate, r.n_labels) == (row.rate, row.n_labels))
        regret[row.method] = max(regret.get(row.method, 0.0), top - row.score)
    found = advise(rows).verdict["safest"]
    assert found["method"] == min(regret, key=regret.__getitem__)
    assert found["behind"] == pytest.approx(min(regret.values()))


def test_one_method_alone_is_told_without_a_comparison() -> None:
    alone = [row for row in world(lambda method, rate, m: 0.75) if row.method == LOW]
    headline = advise(alone).headline
    assert "Aligned pairs, 20 labels: VICReg, γ = 0.1 α/m_K, K = 4 reaches 75.0 %" in headline
    assert "significant" not in headline


def test_one_repeat_is_told() -> None:
    assert "One repeat" in advise(world(v3_world, repeats=1)).sentences[-1]
    assert "One repeat" not in " ".join(advise(world(v3_world)).sentences)
