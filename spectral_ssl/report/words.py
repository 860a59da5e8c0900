"""How methods, numbers and settings are written for people, the same in tables and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spectral_ssl.comparison import GAP_JUDGED
from spectral_ssl.errors import DataError
from spectral_ssl.spec import parse_call

__all__ = ["ANGLE_TOL", "GAP_JUDGED", "distinct_labels", "is_bound", "is_judged", "label", "number", "short_hyper"]

ANGLE_TOL = 1e-5  # radians: training stops at a gradient of 1e-9, and an angle is a gradient divided by a gap
EXCESS_TOL = 1e-8  # of the way from collapse to the closed form: a trained loss nearer than this has arrived

Row = Mapping[str, Any]

NAMES = {
    "vicreg": "VICReg",
    "frobenius_simclr": "Frobenius SimCLR",
    "spectral_contrastive": "Spectral contrastive",
    "barlow_twins": "Barlow Twins",
    "ssl_ey": "SSL-EY",
    "infonce": "InfoNCE",
    "simclr": "SimCLR",
    "alpha_cl": "alpha-CL",
}
# what an embedding is a function of
MODELS = {
    "free": "all embeddings",
    "linear": "linear maps of the data",
    "kernel": "maps of a kernel",
    "mlp": "a multilayer perceptron",
}
# the optima beside a network's loss, from the one nothing can get below; as in row["references"]
REFERENCES = {"free": "all embeddings", "kernel": "kernel maps", "linear": "linear maps"}
# options that change the loss so much that the method goes by another name
VARIANTS = {
    ("weighting", "degree"): "degree",
    ("form", "hinge"): "hinge",
    ("form", "constrained"): "constrained",
    ("normalized", False): "unnormalised",
    ("similarity", "dot"): "dot",
    ("constraint", "unit"): "unit rows",
}
# what an option is when nobody chose it: left out where space is short
USUAL = {
    "variance": 1,
    "covariance": 1,
    "form": "squared",
    "weighting": "none",
    "ddof": 0,
    "redundancy": 1,
    "normalized": True,
    "similarity": "cosine",
    "radius": 1,
    "constraint": "frobenius",
    "views": "two",
    "half_squared": True,
}
SYMBOLS = {
    "variance": "α",
    "covariance": "β",
    "invariance": "γ",
    "redundancy": "λ",
    "temperature": "τ",
    "weighting": "",
    "form": "",
    "similarity": "",
    "constraint": "",
    "rule": "",
}


def method_of(row: Row) -> tuple[str, Mapping[str, Any]]:
    """Name and hyper-parameters of a row whose method may be a call string, "vicreg(invariance=1.1)"."""
    text = str(row.get("method") or "?")
    if "(" not in text:
        return text, row.get("hyper") or {}
    try:
        name, options = parse_call(text)
    except DataError:
        return text, row.get("hyper") or {}
    return name, {**options, **(row.get("hyper") or {})}


def variant(row: Row) -> str:
    """ "degree", "hinge", ... or "" for a method in its usual form."""
    hyper = told_apart(row)
    return ", ".join(word for (key, value), word in VARIANTS.items() if hyper.get(key) == value)


def told_apart(row: Row) -> dict[str, Any]:
    """The hyper-parameters that make a variant."""
    return {key: value for key, value in method_of(row)[1].items() if (key, value) in VARIANTS}


def label(row: Row) -> str:
    """A method's name with its variant.

    >>> label({"method": "vicreg", "hyper": {"weighting": "degree"}})
    'VICReg (degree)'
    """
    method = method_of(row)[0]
    name, kind = NAMES.get(method, method), variant(row)
    return f"{name} ({kind})" if kind else name


def distinct_labels(rows: Sequence[Row]) -> list[str]:
    """`label` of each row; rows that would share one also name the options in which they differ."""
    labels = [label(row) for row in rows]
    found = []
    for row, text in zip(rows, labels, strict=True):
        alike = [method_of(other)[1] for other, same in zip(rows, labels, strict=True) if same == text]
        hyper = method_of(row)[1]
        keys = [key for key in hyper if any(other.get(key) != hyper[key] for other in alike)]
        extra = ", ".join(f"{SYMBOLS.get(key) or key} = {number(hyper[key], 3)}" for key in keys)
        found.append(f"{text}, {extra}" if extra else text)
    return found


def short_hyper(row: Row) -> str:
    """The hyper-parameters that say something: those not at their usual value, by symbol.

    >>> short_hyper({"hyper": {"variance": 1.0, "invariance": 0.18368, "form": "squared"}})
    'γ 0.184'
    """
    hyper = method_of(row)[1]
    told = {key: value for key, value in hyper.items() if value is not None and USUAL.get(key) != value}
    told = {key: value for key, value in told.items() if (key, value) not in VARIANTS}
    return ", ".join(f"{SYMBOLS.get(key) or key} {number(value, 3)}" for key, value in told.items())


def number(value: Any, digits: int = 6) -> str:
    """A value for people: "-" for nothing, thousands with commas, very small and very large with an exponent.

    >>> [number(v) for v in (None, 17076.69857633846, 0.9533333, 3, 2.1e-26, 0.0)]
    ['-', '17,076.7', '0.953333', '3', '2.1e-26', '0']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value != 0 and not 1e-3 <= abs(value) < 1e7:
        return power(value)
    text = f"{value:,.{digits}g}"
    return f"{value:,.0f}" if "e" in text else text


def power(value: float) -> str:
    """Two digits and an exponent without padding: 1.2e-12, 5e-5."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def excess_text(excess: float) -> str:
    """A relative excess; what is below the rounding of the loss is said to be."""
    return power(excess) if excess >= 1e-15 else "< 1e-15"


def is_bound(row: Row) -> bool:
    """Whether theory gives this row a lower bound and no optimum."""
    return row.get("kind") == "bound"


def is_certified(row: Row) -> bool:
    """Whether the optimum of this row is a number found by search, with a proven lower bound beside it."""
    return row.get("kind") == "certified"


def has_references(row: Row) -> bool:
    """Whether the closed form is a reference that training need not reach: the row is of a network."""
    return bool(row.get("references"))


def reference_losses(row: Row) -> dict[str, float]:
    """The least losses over the model classes of `REFERENCES` that are known for this row."""
    found = {name: (row.get("references") or {}).get(name) or {} for name in REFERENCES}
    return {name: float(record["loss"]) for name, record in found.items() if record.get("loss") is not None}


def on_batches(row: Row) -> bool:
    """Whether the losses training saw are those of batches, not of the whole relation."""
    return (row.get("training") or {}).get("batch_size") is not None


def is_judged(row: Row) -> bool:
    """Whether a row's angle says anything: an exact optimum of its model, whose gap is open (None: no eigenvalue
    follows)."""
    gap = row.get("gap")
    asked = row.get("max_angle") is not None and not is_certified(row) and not has_references(row)
    return asked and (gap is None or gap >= GAP_JUDGED)


def model_text(rows: Iterable[Row], model: str) -> str:
    """What the rows of a model optimise over, and the ridge on its maps: "linear maps of the data, ridge 5"."""
    ridges = sorted({row.get("ridge") or 0 for row in rows if row.get("model") == model} - {0})
    return ", ".join([MODELS.get(model, model), *(f"ridge {number(ridge, 3)}" for ridge in ridges)])


def is_regression(payload: Mapping[str, Any]) -> bool:
    """Whether labels are numbers, so that scores are R^2 and no accuracies."""
    data = payload.get("data") or {}
    return bool(data.get("has_labels")) and data.get("n_classes") is None


def relation_text(relation: Any) -> str:
    """A relation's call string, from its record or its name."""
    if isinstance(relation, Mapping):
        return str(relation.get("text") or relation.get("name") or "")
    return "" if relation is None else str(relation)


def relations_of(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The records of a payload's relations, be there one or several."""
    found = payload.get("relations") or payload.get("relation") or []
    if isinstance(found, Mapping):
        # one record, or records by name
        found = [found] if not all(isinstance(v, Mapping) for v in found.values()) else list(found.values())
    return [item if isinstance(item, Mapping) else {"text": str(item)} for item in as_list(found)]


def find_relation(payload: Mapping[str, Any], name: Any) -> Mapping[str, Any]:
    """The record of the relation that a row names, by name or call string; the only one if there is one."""
    records = relations_of(payload)
    for record in records:
        if name is not None and name in (record.get("text"), record.get("name"), record.get("title")):
            return record
    return records[0] if len(records) == 1 else {}


def as_list(value: Any) -> list[Any]:
    """A list as it is, anything else as the only member of one."""
    if value is None:
        return []
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) else [value]
