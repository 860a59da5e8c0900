"""An audit in sentences: what Z is. Every number is one of the record's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectral_ssl.experiments.frame import times
from spectral_ssl.report.audit_figures import percent
from spectral_ssl.report.words import label, number

__all__ = ["audit_findings", "fit_words"]

Record = Mapping[str, Any]

NOTHING = 0.99  # of |ZZ'|: what a filter leaves of an embedding that has nothing to do with the relation

NAMED = 3  # filters in a sentence

PARAMETERS = {
    "invariance": "gamma / alpha = {}",
    "nu": "nu = {}",
    "n_components": "{} components",
    "time": "t = {}",
    "init_scale": "s0 = {}",
}


def fit_words(fit: Record) -> str:
    """A filter with its parameters: "VICReg at gamma / alpha = 0.05"."""
    told = [PARAMETERS[name].format(number(float(value), 2)) for name, value in fit["parameters"].items()]
    told = ["1 component" if words == "1 components" else words for words in told]
    if "unit columns" in fit["basis"]:
        told.append("columns at equal variance")
    name = str(fit["label"]).removeprefix("linear ")
    words = f"{name} over linear maps of the data" if fit["model"] == "linear" else name
    return f"{words} at {', '.join(told)}" if told else words


def audit_findings(payload: Record) -> list[str]:
    """The findings of an audit, from its record."""
    summary, filters = payload["summary"], payload.get("filters")
    told = []
    if filters is not None:
        told.append(_resembled(filters))
        if filters["best"] is not None:
            told.append(_energy(filters, summary["n_components"]))
    told.append(_collapsed(payload["collapse"], summary["n_components"], summary["n_samples"]))
    if payload.get("sphere") is not None:
        told.append(_sphere(payload["sphere"]))
    if payload.get("labels") is not None:
        told.append(_labels(payload["labels"], summary["n_components"]))
    constant = filters is not None and filters["best"] is None  # its span is of the mean alone
    near = "" if constant else _nearest(payload["rows"])
    return [*told, *([near] if near else [])]


def _resembled(filters: Record) -> str:
    fits = {fit["key"]: fit for fit in filters["fits"]}
    if filters["best"] is None:
        return "Z is the same for every sample: it has no energy that a filter could have shaped."
    best = fits[filters["best"]]
    leaves = f"{percent(best['residual'])} of |ZZ'|"
    if best["residual"] > NOTHING:
        return (
            f"No filter fits: every one leaves more than {percent(NOTHING)} of |ZZ'|, as of a Z unrelated to the pairs."
        )
    if filters["verdict"] == "none":
        floor = percent(best["floor"])
        return (
            f"No filter fits: the nearest, {fit_words(best)}, leaves {leaves}; whatever energies its eigenvectors were "
            f"given, {floor} would be left."
        )
    verb = "is, up to rotation and scale, the filter of" if best["residual"] < 1e-5 else "resembles the filter of"
    words = f"Z {verb} {fit_words(best)}, which leaves {leaves} (CKA {best['linear_cka']:.4g})"
    if filters["alike"]:
        names = [fit_words(fits[name]) for name in filters["alike"][:NAMED]]
        more = len(filters["alike"]) - NAMED
        words += f"; not told apart from it: {_listed([*names, *([f'{more} more'] if more > 0 else [])])}"
    if filters["margin"] is not None:
        known = {filters["best"], *filters["alike"]}
        other = next(fit for fit in filters["fits"] if fit["key"] not in known)
        words += f"; the next, {fit_words(other)}, leaves {percent(other['residual'])}"
    return words + "."


def _energy(filters: Record, K: int) -> str:
    at = filters["energies"]["laplacian"]
    return (
        f"{percent(at['outside_top'])} of its energy lies outside the first {K} eigenvectors of the relation, where a "
        f"random Z has {percent(filters['chance_outside_top'])}; {percent(at['coupled'])} of |ZZ'|^2 couples "
        "eigenvectors with each other."
    )


def _collapsed(found: Record, K: int, N: int) -> str:
    words = [f"Its rank is {found['rank']} of {K}, its effective rank {found['effective_rank']:.3g}"]
    constant, copied = len(found["constant_columns"]), len(found["copied_columns"])
    if constant:
        words.append(f"{_many(constant, 'column')} constant")
    if copied:
        words.append(f"{_many(copied, 'column')} a copy of another" if copied == 1 else f"{copied} columns are copies")
    if not constant and not copied and K > 1:
        words.append("no column is constant or a copy")
    if found["mean_share"] > 0.5:
        words.append(f"{percent(found['mean_share'])} of |Z|^2 is its mean")
    if found["distinct_rows"] < N:
        words.append(f"{found['distinct_rows']:,} of {N:,} rows are distinct")
    return "; ".join(words) + "."


def _sphere(found: Record) -> str:
    words = "On the unit sphere "
    if found["alignment"] is not None:
        words += f"positives are {found['alignment']:.3g} apart (squared; random 2, collapsed 0) and "
    error = f" +- {times(found['uniformity_error'])}" if found["kind"] == "sampled" else ""
    return words + (
        f"uniformity is {found['uniformity']:.3g}{error} (random {found['random_uniformity']:.3g}, collapsed 0)."
    )


def _labels(found: Record, K: int) -> str:
    names = {"logistic": "a logistic probe", "least_squares": "least squares"}
    told = [
        f"{names[kind]} {probe['score']:.3f} +- {times(probe['standard_error'])}"
        for kind, probe in found["probes"].items()
    ]
    if found["knn"] is not None:
        error = f" +- {times(found['knn_error'])}" if found["knn_error"] is not None else ""
        told.append(f"nearest neighbours {found['knn']:.3f}{error}")
    words = f"Left-out {found['score']} on {found['n_labels']:,} labels: {_listed(told)}"
    words += f" (most frequent class {found['chance']:.3f})" if found["score"] == "accuracy" else ""
    words += f"; Z spans {percent(found['label_energy'])} of the label energy"
    if found["label_energy_top"] is not None:
        words += f", the first {K} eigenvectors {percent(found['label_energy_top'])}"
    return words + "."


def _nearest(rows: list[Record]) -> str:
    judged = [row for row in rows if None not in (row.get("max_angle"), row.get("energy_in_range"))]
    if not judged:
        return ""
    best = max(judged, key=lambda row: row["energy_in_range"])
    from_words = f"{percent(best['energy_in_range'])} of Z (as the loss centres it) lies in its range"
    return f"Of the optima the span of {label(best)} is nearest: largest angle {best['max_angle']:.2g}, {from_words}."


def _many(n: int, noun: str) -> str:
    return f"1 {noun} is" if n == 1 else f"{n} {noun}s are"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
