"""Results on a terminal: `render(payload, console)` prints what a command returned.

Columns give way on a narrow terminal, the least telling first, and what they said moves below the table. On a stream
that is no terminal the same words come without colour; where it cannot show Greek letters they are spelt out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from spectral_ssl.report.words import (
    ANGLE_TOL,
    EXCESS_TOL,
    MODELS,
    as_list,
    distinct_labels,
    find_relation,
    is_bound,
    is_certified,
    is_judged,
    label,
    number,
    power,
    relation_text,
    relations_of,
    short_hyper,
)
from spectral_ssl.runs import to_jsonable

__all__ = ["render", "verdict"]

Payload = Mapping[str, Any]
Row = Mapping[str, Any]

BELOW_TOL = 1e-9  # a trained loss may end below the closed form by rounding, never by this share of the way to collapse
SPELT = str.maketrans(
    {
        **{
            "α": "alpha",
            "β": "beta",
            "γ": "gamma",
            "λ": "lambda",
            "τ": "tau",
            "·": "-",
            "×": "x",
            "…": "...",
            "²": "^2",
        },
        **{"–": "-", "—": "-", "−": "-", "≈": "~", "≤": "<=", "≥": ">=", "•": "*", "ä": "ae", "ö": "oe", "ü": "ue"},
    }
)


def render(payload: Payload, console: Console) -> None:
    """Print what a command returned, for people."""
    payload = to_jsonable(payload)
    page = _Page(console)
    if "tables" in payload:
        _tables(payload, page)
    else:
        RENDERERS.get(str(payload.get("command")), _anything)(payload, page)


# ---------------------------------------------------------------------------------------------------------- printing


@dataclass(frozen=True)
class Column:
    """A column of a table; those of lowest worth are left out first where the terminal is narrow (None: never)."""

    title: str
    cell: Callable[[Row], str | Text]
    worth: int | None = None
    left: bool = False


class _Page:
    """A console, and how things are put on it."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def text(self, words: str | Text) -> Text:
        """Words that the console can show: no markup is read, and Greek is spelt out where there is none."""
        found = Text(words) if isinstance(words, str) else words
        if self.console.options.ascii_only:
            plain = found.plain.translate(SPELT).encode("ascii", "replace").decode()
            return Text(plain, style=found.style)
        return found

    def line(self, words: str | Text, style: str = "", first: str = "", indent: int = 0) -> None:
        """Words, wrapped without spaces at the ends of lines; `first` begins them, `indent` the lines that follow."""
        width = max(self.console.width - max(len(first), indent), 1)
        for place, part in enumerate(self.text(words).wrap(self.console, width) or [Text()]):
            part.rstrip()
            part.stylize(style)
            self.console.print(Text(" " * indent if place else first) + part, highlight=False)

    def title(self, words: str) -> None:
        self.line("")
        self.line(words, "bold")

    def path(self, words: str) -> None:
        """Kept in one piece, so that it can be copied."""
        self.console.print(self.text(words), highlight=False, soft_wrap=True)

    def bullets(self, items: Iterable[str]) -> None:
        for item in items:
            self.line(item, first="- ", indent=2)

    def table(self, rows: Sequence[Row], columns: Sequence[Column]) -> list[Column]:
        """Print the rows in as many of the columns as fit, and answer the columns left out."""
        kept, dropped = list(columns), []
        while True:
            drawn = self._drawn(rows, kept)
            options = self.console.options.update(max_width=10_000)
            if Measurement.get(self.console, options, drawn).maximum <= self.console.width:
                break
            spare = [column for column in kept if column.worth is not None]
            if not spare:
                break  # rich wraps the cells
            least = min(spare, key=lambda column: column.worth or 0)
            kept.remove(least)
            dropped.append(least)
        self.console.print(drawn, highlight=False)
        return dropped

    def _drawn(self, rows: Sequence[Row], columns: Sequence[Column]) -> Table:
        drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, header_style="bold")
        for column in columns:
            drawn.add_column(
                self.text(column.title), justify="left" if column.left else "right", no_wrap=not column.left
            )
        for row in rows:
            drawn.add_row(*(self.text(column.cell(row)) for column in columns))
        return drawn


def _pair(row: Row, name: str, shown: Callable[[Any], str]) -> str:
    """closed/trained, or one of them where both look the same."""
    closed, trained = (shown(row.get(f"{name}_{which}")) for which in ("closed", "trained"))
    return closed if closed == trained else f"{closed}/{trained}"


def _score(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}"


def _seconds(value: Any) -> str:
    """A time for people.

    >>> [_seconds(t) for t in (None, 0.0061, 1.571, 75.0, 7300.0)]
    ['-', '6 ms', '1.6 s', '75 s', '2.0 h']
    """
    if value is None:
        return "-"
    for limit, unit, name, digits in (
        (0.0995, 1e-3, "ms", 0),
        (9.95, 1, "s", 1),
        (100, 1, "s", 0),
        (5400, 60, "min", 0),
    ):
        if value < limit:
            return f"{value / unit:.{digits}f} {name}"
    return f"{value / 3600:.1f} h"


def _megabytes(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value / 1024:.1f} GB" if value >= 1000 else f"{max(value, 1):.0f} MB"


def _excess(row: Row) -> Text:
    value = row.get("relative_excess")
    if value is None:
        return Text("-")
    if is_bound(row) or is_certified(row):
        return Text(number(value, 2), style="dim")
    style = "red" if value < -BELOW_TOL else "green" if value <= EXCESS_TOL else "yellow"
    return Text(_short(value), style=style)


def _short(value: float) -> str:
    """An excess or a gap: two digits."""
    return number(value, 2)


def _angle(row: Row) -> Text:
    value = row.get("max_angle")
    if value is None:
        return Text("-")
    style = "dim" if not is_judged(row) else "green" if value <= ANGLE_TOL else "yellow"
    return Text(number(value, 2) + ("" if is_judged(row) else "*"), style=style)


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


# --------------------------------------------------------------------------------------------------- compare and demo


def verdict(rows: Sequence[Row]) -> list[str]:
    """What the rows say, in sentences: the first is the answer, the others are what it leaves out."""
    told = []
    known = [row for row in rows if not is_bound(row) and row.get("relative_excess") is not None]
    exact = [row for row in known if not is_certified(row)]
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
            told.append(f"ended above the closed form: {_named(above, rows)}")
        wide = [row for row in exact if is_judged(row) and row["max_angle"] > ANGLE_TOL]
        if wide:
            told.append(f"angle above {power(ANGLE_TOL)} although the gap is open: {_named(wide, rows)}")
        below = [row for row in exact if row["relative_excess"] < -BELOW_TOL]
        if below:
            told.append(f"trained BELOW the closed form, which cannot be, please report it: {_named(below, rows)}")
    certified = [row for row in known if is_certified(row)]
    if certified:
        told.append(
            "certified, the optimum lies between a proven bound and the number given: "
            + "; ".join(
                f"{_named([row], rows)} {number(row.get('lower_bound'))} to "
                f"{number(min(row['loss_closed'], row['loss_trained']))}"
                for row in certified
            )
        )
        lower = [row for row in certified if row["loss_trained"] < row["lower_bound"] - BELOW_TOL * _size(row)]
        if lower:
            told.append(f"trained BELOW its proven bound, which cannot be, please report it: {_named(lower, rows)}")
    bounds = [row for row in rows if is_bound(row)]
    if bounds:
        told.append(f"trained only, no closed form (excess is over a lower bound): {_named(bounds, rows)}")
    stopped = [row for row in rows if row.get("converged") is False]
    if stopped:
        told.append(f"stopped before convergence: {_named(stopped, rows)}")
    collapsed = [row for row in rows if row.get("rank_closed") == 0]
    if collapsed:
        told.append(f"collapsed, the optimum is Z = 0: {_named(collapsed, rows)}")
    return told


def _size(row: Row) -> float:
    return float(max(abs(row["loss_closed"]), abs(row.get("collapse_loss") or 0.0), 1e-300))


def _settings(rows: Sequence[Row]) -> list[tuple[str, str, Any]]:
    """(relation, model, K) of the rows, in order."""
    keys = [(str(row.get("relation") or ""), str(row.get("model") or ""), row.get("n_components")) for row in rows]
    return list(dict.fromkeys(keys))


def _of_setting(rows: Sequence[Row], setting: tuple[str, str, Any]) -> list[Row]:
    return [row for row in rows if _settings([row]) == [setting]]


def _named(chosen: Sequence[Row], rows: Sequence[Row]) -> str:
    """The rows by name, with the relation where there are several."""
    several = len({row.get("relation") for row in rows}) > 1
    by_label: dict[str, list[str]] = {}
    for row in chosen:
        by_label.setdefault(label(row), []).append(str(row.get("relation") or ""))
    return _and(
        [f"{name} ({', '.join(dict.fromkeys(where))})" if several else name for name, where in by_label.items()]
    )


def _comparison(payload: Payload, page: _Page) -> None:
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    _data(payload, page)
    told: set[str] = set()
    for setting in _settings(rows):
        relation, model, K = setting
        record = find_relation(payload, relation)
        text = relation_text(record) or relation
        parts = [f"relation {text}"] if text else []
        parts += [f"K = {K}"] if K is not None else []
        parts += [MODELS.get(model, model)] if model else []
        page.title(" · ".join(parts) or "results")
        if text not in told:
            _relation(record, page)
            told.add(text)
        _comparison_table(_of_setting(rows, setting), page)
    if not rows:
        page.line("no rows: nothing was compared")
    for place, sentence in enumerate(verdict(rows)):
        if place == 0:
            page.line("")
        page.line(sentence, "bold" if place == 0 else "")
    _reference(payload, page)
    _price(payload, page)
    _teaser(payload, page)
    _notes(payload, rows, page)
    _files(payload, page)


def _comparison_table(rows: Sequence[Row], page: _Page) -> None:
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
        Column("loss closed", lambda row: ("> " if is_bound(row) else "") + number(row.get("loss_closed"))),
        Column("trained", lambda row: number(row.get("loss_trained")), 8),
        Column("excess", _excess),
        Column("angle", _angle, 9),
        Column("gap", lambda row: "-" if row.get("gap") is None else _short(row["gap"]), 4),
        Column("rank", lambda row: _pair(row, "rank", number), 6),
        Column("probe", lambda row: _pair(row, "probe", _score), 7),
        Column("kNN", lambda row: _pair(row, "knn", _score), 5),
        Column("time", lambda row: _pair(row, "seconds", _seconds), 2),
    ]
    columns = [
        column for column in columns if column.worth is None or any(str(column.cell(row)) != "-" for row in rows)
    ]
    dropped = {column.title for column in page.table(rows, columns)}
    told = []
    if "settings" in dropped:
        hyper = [f"{names[id(row)]} {short_hyper(row)}" for row in rows if short_hyper(row)]
        told += [f"settings: {'; '.join(hyper)}"] if hyper else []
    if "kind" in dropped and len(kinds) > 1:
        told.append("a loss after > is a lower bound, not a closed form")
    if any(row.get("max_angle") is not None and not is_judged(row) for row in rows) and "angle" not in dropped:
        told.append("* angle not judged: the eigenvalue gap is closed, or the optimum certified only")
    pairs = [c.title for c in columns if c.title in ("rank", "probe", "kNN") and c.title not in dropped]
    if any("/" in str(c.cell(row)) for c in columns if c.title in pairs for row in rows):
        told.append(f"{_and(pairs)}: closed form/trained, one number where they agree")
    for words in told:
        page.line(words, "dim")


def _data(payload: Payload, page: _Page) -> None:
    data = payload.get("data") or {}
    parts = [
        f"{number(data[key])} {words}"
        for key, words in (("n_samples", "samples"), ("n_features", "features"), ("n_classes", "classes"))
        if data.get(key) is not None
    ]
    if data.get("n_train") is not None and data.get("n_test"):
        parts.append(f"{number(data['n_train'])} train and {number(data['n_test'])} test")
    if data:
        page.line(Text(f"{data.get('name', 'data')}: {', '.join(parts)}"))


def _relation(record: Row, page: _Page) -> None:
    """A relation's summary and what was found about it."""
    for line in str(record.get("summary") or "").splitlines():
        page.line(line.strip(), "dim", first="  ", indent=4)
    if record.get("dropped_pairs"):
        page.line(f"{number(record['dropped_pairs'])} pairs that cross the split were dropped", "dim", "  ", 4)
    page.bullets(as_list(record.get("findings")))


def _reference(payload: Payload, page: _Page) -> None:
    reference = payload.get("reference") or {}
    words = {
        "probe_raw": "linear probe on raw features",
        "knn_raw": "kNN on raw features",
        "probe_lda": "LDA (supervised)",
        "majority": "majority class",
    }
    told = [f"{words.get(key, key)} {_score(value)}" for key, value in reference.items() if value is not None]
    if told:
        page.line(f"references: {', '.join(told)}")


def _price(payload: Payload, page: _Page) -> None:
    rows = [row for row in as_list(payload.get("price_of_linearity")) if isinstance(row, Mapping)]
    if not rows:
        return
    maps = "kernel maps" if any(row.get("model") == "kernel" for row in as_list(payload.get("rows"))) else "linear maps"
    page.title(f"what {maps} cost: least loss over all embeddings, and over {maps}")
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


def _teaser(payload: Payload, page: _Page) -> None:
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
            return _score(sum(scores) / len(scores)) if scores else "-"

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
        page.line(f"chance {_score(teaser['chance'])}", "dim")


def _asked(row: Row) -> str:
    """The options a call string names."""
    text = str(row.get("method") or "")
    return f", {short_hyper({'method': text})}" if "(" in text and short_hyper({"method": text}) else ""


def _notes(payload: Payload, rows: Sequence[Row], page: _Page) -> None:
    """Notes of the payload, and those of rows with the names of the rows that share them."""
    by_note: dict[str, list[Row]] = {}
    for row in rows:
        for note in as_list(row.get("note") or None):
            by_note.setdefault(str(note), []).append(row)
    told = [*map(str, as_list(payload.get("notes")))]
    told += [f"{_named(members, rows)}: {note}" for note, members in by_note.items()]
    if told:
        page.title("notes")
        page.bullets(dict.fromkeys(told))


def _files(payload: Payload, page: _Page) -> None:
    run = payload.get("run")
    files = [str(name) for name in (*as_list(payload.get("files")), *as_list(payload.get("figures")))]
    if not run and not files:
        return
    page.line("")
    if run:
        page.path(f"written to {run}")
        inside = dict.fromkeys(
            os.path.relpath(name, run) if os.path.isabs(name) == os.path.isabs(run) else name for name in files
        )
        folders: dict[str, list[str]] = {}
        for name in inside:
            folders.setdefault(os.path.dirname(name), []).append(os.path.basename(name))
        for folder, names in folders.items():
            page.line(f"{folder + '/: ' if folder else ''}{', '.join(names)}", "dim", "  ", 4)
    else:
        for name in dict.fromkeys(files):
            page.path(f"  {name}")


# -------------------------------------------------------------------------------------------------- explain and audit


def _explain(payload: Payload, page: _Page) -> None:
    _data(payload, page)
    for record in relations_of(payload):
        page.title(f"relation {relation_text(record)}".rstrip())
        _relation({**record, "findings": []}, page)
    plan = [row for row in as_list(payload.get("plan")) if isinstance(row, Mapping)]
    page.title("what would run")
    closed = {True: "yes", False: "no", None: "-"}
    dropped = page.table(
        plan,
        [
            Column("method", lambda row: Text(label(row), style="bold"), left=True),
            Column("model", lambda row: str(row.get("model") or "-"), 1, left=True),
            Column(
                "closed form", lambda row: closed.get(row.get("closed_form"), str(row.get("closed_form"))), 3, left=True
            ),
            Column("kind", lambda row: str(row.get("kind") or "-"), 4, left=True),
            Column("pencil", lambda row: str(row.get("pencil") or "-"), 2, left=True),
            Column("solver", lambda row: str(row.get("solver") or "-"), left=True),
            Column("memory", lambda row: _megabytes(row.get("memory_mb"))),
            Column("time", lambda row: _seconds(row.get("seconds_estimate"))),
        ],
    )
    del dropped
    total = [row["seconds_estimate"] for row in plan if row.get("seconds_estimate") is not None]
    if total:
        memory = max((row["memory_mb"] for row in plan if row.get("memory_mb") is not None), default=None)
        page.line("")
        page.line(f"compare would take about {_seconds(sum(total))} and up to {_megabytes(memory)}: estimates", "bold")
    findings = as_list(payload.get("findings"))
    if findings:
        page.title("findings")
        page.bullets(map(str, findings))
    _notes(payload, plan, page)


def _audit(payload: Payload, page: _Page) -> None:
    summary = payload.get("summary") or {}
    words = {
        "n_samples": "samples",
        "n_components": "components",
        "rank": "rank",
        "effective_rank": "effective rank",
    }
    told = []
    for key, value in summary.items():
        if key in ("n_samples", "n_components"):
            told.append(f"{number(value)} {words[key]}")
        elif not isinstance(value, bool | dict | list):
            told.append(f"{words.get(key, key)} {number(value, 3)}")
    if told:
        page.line(f"representation: {', '.join(told)}")
    energies = summary.get("duality")
    if isinstance(energies, Mapping):
        page.line(
            f"duality: sum_i!=j (z_i'z_j)^2 = {number(energies['contrastive'])} between samples, sum_k!=l (Z'Z)_kl^2 = "
            f"{number(energies['non_contrastive'])} between components; they differ by the norms of rows and columns "
            "alone",
            "dim",
        )
    if summary.get("collapsed"):
        page.line("the representation is close to collapse", "red")
    for record in relations_of(payload):
        page.title(f"relation {relation_text(record)}".rstrip())
        _relation(record, page)
    rows = [row for row in as_list(payload.get("rows")) if isinstance(row, Mapping)]
    page.line("")
    dropped = page.table(
        rows,
        [
            Column("method", lambda row: Text(label(row), style="bold"), left=True),
            Column("kind", lambda row: str(row.get("kind") or "-"), 1, left=True),
            Column("settings", lambda row: short_hyper(row) or "-", 2, left=True),
            Column("loss", lambda row: number(row.get("loss"))),
            Column("attainable", lambda row: ("> " if is_bound(row) else "") + number(row.get("attainable"))),
            Column("linear head", lambda row: number(row.get("attainable_linear_head")), 5),
            Column("excess", lambda row: number(row.get("excess"), 4), 3),
            Column("relative", lambda row: number(row.get("relative_excess"), 3)),
        ],
    )
    told = [f"{label(row)} {short_hyper(row)}" for row in rows if short_hyper(row)]
    if told and any(column.title == "settings" for column in dropped):
        page.line(f"settings: {'; '.join(told)}", "dim")
    page.line(
        "attainable: least loss of any embedding of this size; linear head: least after a linear map of this one; "
        "relative: 0 at the optimum, 1 at collapse",
        "dim",
    )
    ranked = [row for row in rows if row.get("relative_excess") is not None and not is_bound(row)]
    if ranked:
        best = min(ranked, key=lambda row: row["relative_excess"])
        page.line("")
        page.line(
            f"closest to the optimum of {label(best)}: {number(best['relative_excess'], 3)} of the way to collapse",
            "bold",
        )
    _notes(payload, rows, page)
    _files(payload, page)


# ----------------------------------------------------------------------------------------------------- anything else


def _tables(payload: Payload, page: _Page) -> None:
    """Tables by title: what the commands on runs return."""
    for place, (title, rows) in enumerate(payload["tables"].items()):
        if place:
            page.line("")
        page.line(title, "bold")
        _plain_table([row for row in as_list(rows) if isinstance(row, Mapping)], page)
    if not payload["tables"]:
        page.line("nothing to show")
    result = payload.get("result")
    if isinstance(result, Mapping) and result.get("command") in RENDERERS:
        page.line("")
        RENDERERS[str(result["command"])](result, page)


def _plain_table(rows: Sequence[Row], page: _Page) -> None:
    if not rows:
        page.line("  none", "dim")
        return
    keys = list(dict.fromkeys(key for row in rows for key in row))
    texts = {key for key in keys if any(isinstance(row.get(key), str) for row in rows)}

    def column(key: str) -> Column:
        return Column(key, lambda row: _plain(row.get(key), key), left=key in texts)

    page.table(rows, [column(key) for key in keys])


def _plain(value: Any, key: str = "") -> str:
    if key == "created" and isinstance(value, str):
        return value[:16].replace("T", " ")
    if isinstance(value, list | dict):
        return (
            ", ".join(f"{k} {number(v)}" for k, v in value.items())
            if isinstance(value, dict)
            else ", ".join(map(str, value))
        )
    return number(value)


def _anything(payload: Payload, page: _Page) -> None:
    """A payload of a kind not known here: single values first, then lists and tables under their names."""
    single = {key: value for key, value in payload.items() if not isinstance(value, list | dict)}
    for key, value in single.items():
        page.line(f"{key.replace('_', ' ')}: {number(value)}")
    for key, value in payload.items():
        if key in single or not value or key in ("files", "figures", "run"):
            continue
        page.title(key.replace("_", " "))
        if isinstance(value, dict):
            for name, item in value.items():
                page.line(f"{name.replace('_', ' ')}: {_plain(item)}")
        elif all(isinstance(item, Mapping) for item in value):
            _plain_table(value, page)
        else:
            page.bullets(_plain(item) for item in value)
    if payload.get("files") or payload.get("figures"):
        _files(payload, page)


RENDERERS: dict[str, Callable[[Payload, _Page], None]] = {
    "compare": _comparison,
    "demo": _comparison,
    "explain": _explain,
    "audit": _audit,
}
