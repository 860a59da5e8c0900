"""The table of `compare` and `demo`: closed form against trained, and what the rows say in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from spectral_ssl.report.console import (
    BELOW_TOL,
    Column,
    Page,
    Payload,
    Row,
    angle_cell,
    excess_cell,
    listed,
    pair,
    score,
    seconds,
    short,
)
from spectral_ssl.report.payload_parts import data_line, file_lines, named, note_lines, relation_lines
from spectral_ssl.report.words import (
    ANGLE_TOL,
    EXCESS_TOL,
    REFERENCES,
    as_list,
    distinct_labels,
    find_relation,
    has_references,
    is_bound,
    is_certified,
    is_judged,
    is_regression,
    label,
    model_text,
    number,
    on_batches,
    power,
    reference_losses,
    relation_text,
    short_hyper,
)

__all__ = ["comparison", "verdict"]


def verdict(rows: Sequence[Row]) -> list[str]:
    """What the rows say, in sentences: the first is the answer, the others are what it leaves out."""
    told = []
    networks = [row for row in rows if has_references(row)]
    told += _beside_references(networks, rows) if networks else []
    known = [
        row for row in rows if not is_bound(row) and row.get("relative_excess") is not None and row not in networks
    ]
    batches = [row for row in known if on_batches(row)]
    if batches:
        ends = [f"{named([row], rows)} {number(row['relative_excess'], 2)}" for row in batches]
        told.append(f"trained on batches, above the closed form as a share of the way to collapse: {'; '.join(ends)}")
        lower = [row for row in batches if not is_certified(row) and row["relative_excess"] < -BELOW_TOL]
        if lower:
            told.append(f"trained BELOW the closed form, which cannot be, please report it: {named(lower, rows)}")
    exact = [row for row in known if not is_certified(row) and row not in batches]
    if exact:
        arrived = [row for row in exact if abs(row["relative_excess"]) <= EXCESS_TOL]
        largest = max(row["relative_excess"] for row in exact)
        judged = [row["max_angle"] for row in exact if is_judged(row)]
        what = "exact methods" if len(_settings(rows)) == 1 else "exact runs"
        if len(exact) == 1:
            what = what.removesuffix("s")
        text = f"{len(arrived)} of {len(exact)} {what} trained to their closed form: largest relative excess "
        text = text if len(exact) > 1 else text.replace("their", "its")
        text += number(largest, 2) if largest > 0 else "0"
        text += f", largest angle {number(max(judged), 2)} rad where the gap is open" if judged else ""
        told.append(text)
        above = [row for row in exact if row["relative_excess"] > EXCESS_TOL]
        if above:
            told.append(f"ended above the closed form: {named(above, rows)}")
        wide = [row for row in exact if is_judged(row) and row["max_angle"] > ANGLE_TOL]
        if wide:
            told.append(f"angle above {power(ANGLE_TOL)} although the gap is open: {named(wide, rows)}")
        below = [row for row in exact if row["relative_excess"] < -BELOW_TOL]
        if below:
            told.append(f"trained BELOW the closed form, which cannot be, please report it: {named(below, rows)}")
    certified = [row for row in known if is_certified(row)]
    if certified:
        told.append(
            "certified, the optimum lies between a proven bound and the number given: "
            + "; ".join(
                f"{named([row], rows)} {number(row.get('lower_bound'))} to "
                f"{number(min(row['loss_closed'], row['loss_trained']))}"
                for row in certified
            )
        )
        lower = [row for row in certified if row["loss_trained"] < row["lower_bound"] - BELOW_TOL * _size(row)]
        if lower:
            told.append(f"trained BELOW its proven bound, which cannot be, please report it: {named(lower, rows)}")
    bounds = [row for row in rows if is_bound(row) and row not in networks]
    if bounds:
        told.append(f"trained only, no closed form (excess is over a lower bound): {named(bounds, rows)}")
    stopped = [row for row in rows if row.get("converged") is False and not on_batches(row)]
    if stopped:
        told.append(f"stopped before convergence: {named(stopped, rows)}")
    collapsed = [row for row in rows if row.get("rank_closed") == 0]
    if collapsed:
        told.append(f"collapsed, the optimum is Z = 0: {named(collapsed, rows)}")
    return told


def _beside_references(networks: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """What a network reached, between the least losses over larger and smaller classes of maps."""
    told = []
    known = [row for row in networks if row.get("relative_excess") is not None]
    for members, what in (
        ([row for row in known if not is_bound(row)], "the least loss over all embeddings"),
        ([row for row in known if is_bound(row)], "a lower bound on it"),
    ):
        ends = [f"{named([row], rows)} {number(row['relative_excess'], 2)}" for row in members]
        told += [f"above {what}, as a share of the way to collapse: {'; '.join(ends)}"] if ends else []
    for name in ("kernel", "linear"):
        losses = [(row, reference_losses(row).get(name)) for row in networks]
        asked = [(row, loss) for row, loss in losses if loss is not None]
        below = [row for row, loss in asked if row["loss_trained"] < loss]
        above = [row for row, loss in asked if row["loss_trained"] >= loss]
        parts = [f"below the least loss over {REFERENCES[name]}: {named(below, rows)}"] if below else []
        parts += (
            [f"above {'it' if below else f'the least loss over {REFERENCES[name]}'}: {named(above, rows)}"]
            if above
            else []
        )
        told += ["; ".join(parts)] if parts else []
    lower = [row for row in known if row["relative_excess"] < -BELOW_TOL and not is_certified(row)]
    if lower:
        told.append(
            f"trained BELOW the least over all embeddings, which cannot be, please report it: {named(lower, rows)}"
        )
    return told


def _size(row: Row) -> float:
    return float(max(abs(row["loss_closed"]), abs(row.get("collapse_loss") or 0.0), 1e-300))


def _settings(rows: Sequence[Row]) -> list[tuple[str, str, Any]]:
    """(relation, model, K) of the rows, in order."""
    keys = [(str(row.get("relation") or ""), str(row.get("model") or ""), row.get("n_components")) for row in rows]
    return list(dict.fromkeys(keys))


def _of_setting(rows: Sequence[Row], setting: tuple[str, str, Any]) -> list[Row]:
    return [row for row in rows if _settings([row]) == [setting]]


def comparison(payload: Payload, page: Page) -> None:
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    data_line(payload, page)
    told: set[str] = set()
    for setting in _settings(rows):
        relation, model, K = setting
        record = find_relation(payload, relation)
        text = relation_text(record) or relation
        parts = [f"relation {text}"] if text else []
        parts += [f"K = {K}"] if K is not None else []
        parts += [model_text(_of_setting(rows, setting), model)] if model else []
        page.title(" · ".join(parts) or "results")
        for words in as_list(payload.get("recipe")) and [", ".join(map(str, payload["recipe"]))]:
            page.line(words, "dim", first="  ", indent=4)
        if text not in told:
            relation_lines(record, page)
            told.add(text)
        _comparison_table(_of_setting(rows, setting), page, r2=" R²" if is_regression(payload) else "")
    if not rows:
        page.line("no rows: nothing was compared")
    for place, sentence in enumerate(verdict(rows)):
        if place == 0:
            page.line("")
        page.line(sentence, "bold" if place == 0 else "")
    _reference(payload, page)
    _price(payload, page)
    _teaser(payload, page)
    note_lines(payload, rows, page)
    file_lines(payload, page)


def _comparison_table(rows: Sequence[Row], page: Page, r2: str) -> None:
    """r2: what follows the names of scores that are no accuracies."""
    names = {id(row): name for row, name in zip(rows, distinct_labels(rows), strict=True)}
    narrow_names = {id(row): label(row) for row in rows}
    kinds = {str(row.get("kind") or "") for row in rows}

    def name(row: Row) -> Text:
        # where several rows share a label, what tells them apart must stay
        several = list(narrow_names.values()).count(narrow_names[id(row)]) > 1
        return Text(names[id(row)] if several else narrow_names[id(row)], style="bold")

    columns = [
        Column("method", name, left=True),
        Column("kind", lambda row: str(row.get("kind") or "-"), 1 if len(kinds) > 1 else 0, left=True),
        Column("settings", lambda row: short_hyper(row) or "-", 3, left=True),
        Column(
            "all embeddings" if all(map(has_references, rows)) else "loss closed",
            lambda row: ("> " if is_bound(row) else "") + number(row.get("loss_closed")),
        ),
        *(
            _reference_column(name)
            for name in REFERENCES
            if name != "free" and any(name in reference_losses(row) for row in rows)
        ),
        Column("trained", lambda row: number(row.get("loss_trained")), 8),
        Column("excess", excess_cell),
        Column("over seeds", _spread, 6.5),
        Column("angle", angle_cell, 9),
        Column("gap", lambda row: "-" if row.get("gap") is None else short(row["gap"]), 4),
        Column("rank", lambda row: pair(row, "rank", number), 6),
        Column(f"probe{r2}", lambda row: pair(row, "probe", score), 7),
        Column(f"kNN{r2}", lambda row: pair(row, "knn", score), 5),
        Column("time", lambda row: pair(row, "seconds", seconds), 2),
    ]
    columns = [
        column for column in columns if column.worth is None or any(str(column.cell(row)) != "-" for row in rows)
    ]
    dropped = {column.title for column in page.table(rows, columns)}
    told = []
    if "settings" in dropped:
        hyper = [f"{names[id(row)]} {short_hyper(row)}" for row in rows if short_hyper(row)]
        told += [f"settings: {'; '.join(hyper)}"] if hyper else []
    if "kind" in dropped and any(map(is_bound, rows)):
        told.append("a loss after > is a lower bound, not a closed form")
    if any(row.get("max_angle") is not None and not is_judged(row) for row in rows) and "angle" not in dropped:
        network = "; a network need not reach the optimum over all embeddings" if any(map(has_references, rows)) else ""
        told.append(f"* angle not judged: the eigenvalue gap is closed, or the optimum certified only{network}")
    if any(row.get("ridge") for row in rows):
        told.append("losses include the ridge, the penalty r |W|² in their energy")
    pairs = [c.title for c in columns if c.title.split()[0] in ("rank", "probe", "kNN") and c.title not in dropped]
    if any("/" in str(c.cell(row)) for c in columns if c.title in pairs for row in rows):
        told.append(f"{listed(pairs)}: closed form/trained, one number where they agree")
    for words in told:
        page.line(words, "dim")


def _reference(payload: Payload, page: Page) -> None:
    reference = payload.get("reference") or {}
    words = {
        "probe_raw": "linear probe on raw features",
        "knn_raw": "kNN on raw features",
        "probe_lda": "LDA (supervised)",
        "majority": "majority class",
    }
    r2 = "R² " if is_regression(payload) else ""
    told = [f"{words.get(key, key)} {r2}{score(value)}" for key, value in reference.items() if value is not None]
    if told:
        page.line(f"references: {', '.join(told)}")


def _reference_column(name: str) -> Column:
    return Column(REFERENCES[name], lambda row: number(reference_losses(row).get(name)), 7.5)


def _spread(row: Row) -> str:
    """From the least to the largest relative excess of several seeds."""
    found = (row.get("seeds") or {}).get("relative_excess")
    return "-" if not found else f"{short(found['min'])} to {short(found['max'])}"


def _price(payload: Payload, page: Page) -> None:
    rows = [row for row in as_list(payload.get("price_of_linearity")) if isinstance(row, Mapping)]
    if not rows:
        return
    maps = "kernel maps" if any(row.get("model") == "kernel" for row in as_list(payload.get("rows"))) else "linear maps"
    ridge = any(row.get("ridge") for row in as_list(payload.get("rows")))
    penalty = " with their ridge: what the penalty adds is part of the price" if ridge else ""
    page.title(f"what {maps} cost: least loss over all embeddings, and over {maps}{penalty}")
    names = {id(row): name for row, name in zip(rows, distinct_labels(rows), strict=True)}
    columns = [Column("method", lambda row: names[id(row)], left=True)]
    if len({row.get("relation") for row in rows}) > 1:
        columns.append(Column("relation", lambda row: str(row.get("relation") or "-"), left=True))
    columns += [
        Column("all embeddings", lambda row: number(row.get("loss_free"))),
        Column(maps, lambda row: number(row.get("loss_linear"))),
    ]
    if any(row.get("relative") is not None for row in rows):
        columns.append(Column("share of the way to collapse", lambda row: number(row.get("relative"), 2), 1))
    page.table(rows, columns)


def _teaser(payload: Payload, page: Page) -> None:
    teaser = payload.get("teaser") or {}
    rows = [row for row in as_list(teaser.get("rows")) if row.get("probe") is not None]
    if not rows:
        return
    relation = f"{teaser['relation']} " if teaser.get("relation") else ""
    page.title(f"{relation}pairs corrupted more and more: held-out probe accuracy of each closed form")
    rates = sorted({row["rate"] for row in rows})
    found: dict[tuple[Any, str], dict[float, list[float]]] = {}
    for row in rows:
        key = (row.get("n_components"), distinct_labels([row])[0] + _asked(row))
        found.setdefault(key, {}).setdefault(row["rate"], []).append(row["probe"])
    lines = [{"K": K, "method": method, "scores": scores} for (K, method), scores in found.items()]
    lines.sort(key=lambda line: -(line["K"] or 0))

    def column(rate: float) -> Column:
        def cell(line: Row) -> str:
            scores = line["scores"].get(rate)
            return score(sum(scores) / len(scores)) if scores else "-"

        return Column(f"{100 * rate:g} %", cell)

    page.table(
        lines,
        [
            Column("K", lambda line: number(line["K"])),
            Column("method", lambda line: line["method"], left=True),
            *map(column, rates),
        ],
    )
    if teaser.get("chance") is not None:
        page.line(f"chance {score(teaser['chance'])}", "dim")


def _asked(row: Row) -> str:
    """The options a call string names."""
    text = str(row.get("method") or "")
    return f", {short_hyper({'method': text})}" if "(" in text and short_hyper({"method": text}) else ""
