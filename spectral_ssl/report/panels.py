"""What figures are drawn from: the rows of a payload with their arrays, grouped, and how each method looks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.report.words import (
    distinct_labels,
    find_relation,
    has_references,
    is_bound,
    is_certified,
    method_of,
    model_text,
    number,
    on_batches,
    variant,
)

__all__ = ["Group", "Panel", "data_caption", "file_suffixes", "looks_of", "method_key", "panels", "setting_caption"]

Array = np.ndarray[Any, Any]
Row = Mapping[str, Any]
Key = tuple[str, str]  # method and variant
Look = tuple[str, str]  # colour and marker

# Okabe and Ito's colours, safe for the colour-blind, one per method in every figure; markers say the same again.
LOOKS: dict[Key, Look] = {
    ("vicreg", ""): ("#0072B2", "o"),
    ("vicreg", "degree"): ("#56B4E9", "s"),
    ("vicreg", "hinge"): ("#332288", "h"),
    ("frobenius_simclr", ""): ("#D55E00", "D"),
    ("spectral_contrastive", ""): ("#009E73", "^"),
    ("barlow_twins", ""): ("#CC79A7", "v"),
    ("barlow_twins", "unnormalised"): ("#882255", "<"),
    ("infonce", ""): ("#E69F00", "P"),
    ("simclr", ""): ("#E69F00", "P"),
    ("infonce", "dot"): ("#8C6D1F", "X"),
    ("alpha_cl", ""): ("#777777", "p"),
}
SPARE = [("#222222", ">"), ("#999933", "d"), ("#661100", "8"), ("#AA4499", "*"), ("#44AA99", "H"), ("#117733", "p")]


@dataclass(frozen=True, eq=False)
class Panel:
    """One method on one setting, as drawn: its row, its arrays by short name, and how it looks everywhere."""

    label: str
    colour: str
    marker: str
    row: Row
    arrays: Mapping[str, Array]

    def array(self, name: str) -> Array | None:
        """An array with at least one entry and only finite ones, or None."""
        found = self.arrays.get(name)
        if found is None or found.size == 0 or not np.all(np.isfinite(found)):
            return None
        return found

    def value(self, name: str) -> float | None:
        """A finite number of the row, or None."""
        found = self.row.get(name)
        return float(found) if isinstance(found, int | float) and math.isfinite(found) else None

    @property
    def bound(self) -> bool:
        return is_bound(self.row)

    @property
    def certified(self) -> bool:
        return is_certified(self.row)

    @property
    def references(self) -> bool:
        """Whether the closed form is what a network is measured against, and need not reach."""
        return has_references(self.row)

    @property
    def on_batches(self) -> bool:
        return on_batches(self.row)

    def seeds(self, measure: str) -> list[tuple[Array, Array]]:
        """(steps, values) a monitor saw in each of several runs; empty for a single one."""
        found = []
        for place in range(int((self.row.get("seeds") or {}).get("n") or 0)):
            steps, values = self.array(f"monitor{place}_step"), self.array(f"monitor{place}_{measure}")
            found += [(steps, values)] if steps is not None and values is not None else []
        return found

    @property
    def collapsed(self) -> bool:
        return self.row.get("rank_closed") == 0

    @property
    def unique(self) -> bool:
        """Whether the minimum fixes the embedding up to rotation: not so for unnormalised Barlow Twins."""
        return self.row.get("unique_up_to") != "none" and (self.row.get("hyper") or {}).get("normalized") is not False


@dataclass(frozen=True)
class Group:
    """What one set of figures shows: one relation, model and K."""

    relation: str
    model: str
    n_components: int | None


def panels(payload: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[Group, list[Panel]]:
    """The rows of a payload with their arrays, by relation, model and K; every method has its own look throughout."""
    rows = [row for row in payload.get("rows") or [] if isinstance(row, Mapping)]
    grouped: dict[Group, list[Row]] = {}
    for row in rows:
        K = row.get("n_components")
        group = Group(str(row.get("relation") or ""), str(row.get("model") or ""), K if isinstance(K, int) else None)
        grouped.setdefault(group, []).append(row)
    looks = looks_of(grouped.values())
    found: dict[Group, list[Panel]] = {}
    for group, members in grouped.items():
        shared = _relation_arrays(payload, group.relation, arrays)
        found[group] = [
            Panel(text, *looks[method_key(row), _repeat(row, members)], row, shared | _own_arrays(row, arrays))
            for row, text in zip(members, distinct_labels(members), strict=True)
        ]
    return found


def _own_arrays(row: Row, arrays: Mapping[str, Array]) -> dict[str, Array]:
    start = f"{row.get('slug')}/"
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _relation_arrays(payload: Mapping[str, Any], relation: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    record = find_relation(payload, relation)
    for name in (relation, record.get("name"), record.get("text")):
        if f"{name}/y" in arrays:
            return {"y": arrays[f"{name}/y"]}
    return {}


def method_key(row: Row) -> Key:
    """What a colour belongs to: a method in one variant."""
    return method_of(row)[0], variant(row)


def _repeat(row: Row, members: Sequence[Row]) -> int:
    """How many rows of the same method and variant come before this one in its group."""
    before = members[: next(place for place, other in enumerate(members) if other is row)]
    return sum(method_key(other) == method_key(row) for other in before)


def looks_of(groups: Iterable[Sequence[Row]]) -> dict[tuple[Key, int], Look]:
    """Colour and marker of the n-th row of a method in a group: the method's own, then spare ones, first come first."""
    spare = iter(SPARE * 20)
    found: dict[tuple[Key, int], Look] = {}
    for members in groups:
        for row in members:
            key = (method_key(row), _repeat(row, members))
            if key not in found:
                own = LOOKS.get(key[0]) if key[1] == 0 else None
                found[key] = own or next(spare)
    return found


def file_suffixes(groups: list[Group]) -> dict[Group, str]:
    """What tells the groups of a run apart, for file names: "" if there is one."""
    several = {
        "relation": len({group.relation for group in groups}) > 1,
        "model": len({group.model for group in groups}) > 1,
        "n_components": len({group.n_components for group in groups}) > 1,
    }
    found: dict[Group, str] = {}
    for group in groups:
        parts = [group.relation] if several["relation"] else []
        parts += [group.model] if several["model"] else []
        parts += [f"K{group.n_components}"] if several["n_components"] else []
        name = re.sub(r"[^\w.=]+", "-", "-".join(["", *parts])).rstrip("-")[:80]
        while name in found.values():
            name += "x"
        found[group] = name
    return found


def data_caption(payload: Mapping[str, Any]) -> str:
    """The data in one phrase."""
    data = payload.get("data") or {}
    size = [
        f"{number(data[key])} {word}"
        for key, word in (("n_train", "training samples"), ("n_features", "features"))
        if data.get(key) is not None
    ]
    return f"{data.get('name', 'data')}: {', '.join(size)}" if size else str(data.get("name", ""))


def setting_caption(payload: Mapping[str, Any], group: Group) -> str:
    """What a figure was made from: data, relation, K, model."""
    record = find_relation(payload, group.relation)
    pairs = record.get("n_pairs")
    relation = str(record.get("text") or group.relation)
    parts = [data_caption(payload)]
    if relation:
        parts.append(f"relation {relation}" + (f", {number(pairs)} pairs" if pairs is not None else ""))
    if group.n_components is not None:
        parts.append(f"K = {group.n_components}")
    if group.model:
        parts.append(model_text(payload.get("rows") or [], group.model))
    parts += [text for text in payload.get("recipe") or [] if isinstance(text, str)]
    return " · ".join(part for part in parts if part)
