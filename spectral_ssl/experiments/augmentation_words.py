"""What `augment` found, in a sentence, and what has to be said beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spectral_ssl.experiments.augmentation_parts import Candidate
from spectral_ssl.experiments.frame import times

__all__ = ["answer_of", "notes_of"]

Row = Mapping[str, Any]


def answer_of(sets: Sequence[Row], at: Row) -> str:
    """sets: their rows, by 1 - sigma. at: the rank correlation at the delta told."""
    best, last = sets[0], sets[-1]
    delta = f"delta = {at['delta']:.3g}"
    told = f"{best['set']}: 1 - sigma = {_span(best)} at {delta}, error {times(best['error'])}"
    if len(sets) > 1:
        told = (
            f"{best['set']} leaves the smallest share of a class apart, 1 - sigma = {_span(best)} at {delta} (error "
            f"{times(best['error'])}), {last['set']} the largest, {_span(last)} (error {times(last['error'])})"
        )
    if at["spearman"] is not None:
        told += (
            f"; over {len(sets)} sets the rank correlation of 1 - sigma with the error is {at['spearman']:.2f} "
            f"(p = {times(at['p_value'])}, one-sided)"
        )
    certified = [row for row in sets if row["certificate"] is not None]
    if certified:
        row = min(certified, key=lambda row: row["certificate"])
        told += (
            f"; {len(certified)} of {len(sets)} sets have a certificate, the smallest {times(row['certificate'])} for "
            f"{row['set']} (measured {times(row['train_error'])})"
        )
    else:
        nearest = max(sets, key=lambda row: row["slack"])
        told += f"; no certificate at any delta and eps: the nearest misses its condition by {-nearest['slack']:.2f} r"
    overlap = [row["set"] for row in sets if row["disjoint"] == "no"]
    if overlap:
        told += f"; classes share a view under {', '.join(overlap)}, where nothing is promised"
    return told + "."


def _span(row: Row) -> str:
    low, high = times(row["missing_low"]), times(row["missing"])
    return high if low == high else f"{low} to {high}"


def notes_of(candidates: Sequence[Candidate]) -> list[str]:
    notes = [note for candidate in candidates for note in candidate.setting.notes]
    views = candidates[0].views
    if not views.enumerated:
        m = views.counts
        number = f"{m.min()}" if m.min() == m.max() else f"{m.min()} to {m.max()}"
        notes.append(
            f"m = {number} views of a sample were drawn: those not drawn could lie nearer in input (sigma is "
            "understated) and farther in features (R_eps is understated), so certificates are conditional on the views "
            "drawn"
        )
    if candidates[0].test is None:
        notes.append("nothing was held out: errors are of the samples the centres were taken from")
    return notes
