"""Call strings: what is read back is what was written, and every refusal names its place."""

import ast
import dataclasses
import keyword
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spectral_ssl.errors import DataError
from spectral_ssl.spec import (
    bind,
    coerce,
    describe,
    format_call,
    from_text,
    metavar,
    options_of,
    parse_call,
    parse_calls,
)

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda word: not keyword.iskeyword(word))
leaves = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | names
)
values = st.recursive(
    leaves, lambda item: st.lists(item, max_size=3) | st.lists(item, max_size=3).map(tuple), max_leaves=6
)


@given(names, st.dictionaries(names, values, max_size=4))
@example("f", {"x": float("inf"), "y": -float("inf"), "z": -0.0, "w": "True", "v": "ﬁ", "u": (1,), "t": "a\nb\\d"})
def test_what_is_written_is_read_back(name: str, options: dict[str, Any]) -> None:
    read_name, read = parse_call(format_call(name, options))
    assert read_name == name
    assert repr(read) == repr(options)  # repr tells 1 from True, 0.0 from -0.0 and a list from a tuple


@given(st.lists(st.tuples(names, st.dictionaries(names, leaves, max_size=2)), min_size=1, max_size=4))
def test_a_list_is_read_in_order(calls: list[tuple[str, dict[str, Any]]]) -> None:
    assert repr(parse_calls(", ".join(format_call(*call) for call in calls))) == repr(calls)


@given(st.dictionaries(names, leaves.filter(lambda v: not isinstance(v, str)), min_size=1, max_size=3))
def test_literals_mean_what_python_means(options: dict[str, Any]) -> None:
    text = format_call("f", options)
    inside = ast.parse(text, mode="eval").body
    assert isinstance(inside, ast.Call)
    witness = {k.arg: ast.literal_eval(k.value) for k in inside.keywords}
    assert repr(parse_call(text)[1]) == repr(witness)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("vicreg", [("vicreg", {})]),
        ("vicreg,barlow_twins", [("vicreg", {}), ("barlow_twins", {})]),
        (" a(x=1),\n b ", [("a", {"x": 1}), ("b", {})]),
        ("a()", [("a", {})]),
        ("a,", [("a", {})]),
        ("pairs(path='my data/p.csv')", [("pairs", {"path": "my data/p.csv"})]),
        ("a(form=hinge, on=True, off=None)", [("a", {"form": "hinge", "on": True, "off": None})]),
        ("a(x=(1, 2), y=[a, 'b c'], z=-1e-3)", [("a", {"x": (1, 2), "y": ["a", "b c"], "z": -1e-3})]),
    ],
)
def test_accepted_spellings(text: str, calls: list[Any]) -> None:
    assert parse_calls(text) == calls


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("knn(10)", "'10' at character 5"),
        ("knn(n=1, n=2)", "option n is given twice, the second time 'n=2' at character 10"),
        ("knn(**x)", r"\*\* is not allowed"),
        ("knn(n=f(1))", r"'f\(1\)' at character 7"),
        ("knn(n={1: 2})", "not a plain value"),
        ("knn(n=1+1)", "not a plain value"),
        ("knn(n=-True)", "not a plain value"),
        ("knn(n=-x)", "not a plain value"),
        ("knn(n=1j)", "not a plain value"),
        ("knn(n=b'x')", "not a plain value"),
        ("knn(n=...)", "not a plain value"),
        ("knn(n=x.y)", "not a plain value"),
        ("knn(n=[x for x in y])", "not a plain value"),
        ("ééé(n=1, é=1j)", "'1j' at character 12"),
        ("a.b(n=1)", "not a name"),
        ("f(x=1)(y=2)", "not a name"),
        ("3", "'3' at character 1 in '3' is not a name"),
        ("(a, b), c", "not a name"),
        ("knn(n=", "cannot read"),
        ("knn n=1", "at character"),
        ("pairs(path=my/data.csv, n=)", "put quotes round text"),
        ("a\0b", "cannot read"),
        ("(" * 5000 + ")" * 5000, "cannot read"),
        ("x" * 20000, "20000 characters"),
    ],
)
def test_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_calls(text)


@given(st.text(alphabet="ab=(),[]'\"-1.e \n\\{}*#:", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        calls = parse_calls(text)
    except DataError:
        return
    assert parse_calls(", ".join(format_call(*call) for call in calls)) == calls


def test_nothing_is_evaluated(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(DataError):
        parse_calls(f"f(x=open({str(marker)!r}, 'w'))")
    assert not marker.exists()


def test_one_call_is_one() -> None:
    with pytest.raises(DataError, match="2 names"):
        parse_call("a, b")


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, b"x", 1j])
def test_values_without_a_spelling_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        format_call("f", {"x": value})


# ------------------------------------------------------------------------------------------------------------- bind


def knn(data: list[int], *, n_neighbors: int = 10, mutual: bool = False) -> tuple[list[int], int, bool]:
    return data, n_neighbors, mutual


def sequence(data: list[int], *, window: int, weights: "Sequence[float] | None" = None) -> Any:
    return window, weights


if TYPE_CHECKING:
    from nowhere import Graph  # type: ignore[import-not-found]


def typed(data: "Graph", *, weight: "float | Graph" = 1.0, n: int = 2) -> Any:
    return data, weight, n


def plain(data: list[int]) -> list[int]:
    return data


@dataclasses.dataclass(frozen=True)
class VICReg:
    variance: float = 1.0
    form: Literal["squared", "hinge"] = "squared"


TABLE: dict[str, Any] = {"knn": knn, "sequence": sequence, "plain": plain, "vicreg": VICReg}


def test_bind_fills_in_the_options() -> None:
    assert bind(TABLE, "knn", {"n_neighbors": 3})([1]) == ([1], 3, False)
    assert bind(TABLE, "vicreg", {"variance": 2, "form": "hinge"}, kind="method")() == VICReg(2.0, "hinge")
    assert bind(TABLE, "sequence", {"window": 2, "weights": [1, 0.5]})([1]) == (2, (1.0, 0.5))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("kn", {}, "unknown relation 'kn'; did you mean 'knn'"),
        (
            "knn",
            {"n_neighbours": 3},
            r"no option 'n_neighbours'; did you mean 'n_neighbors'\? options of .*mutual=False",
        ),
        ("knn", {"data": [1]}, "no option 'data'"),
        ("knn", {"n_neighbors": "ten"}, "option n_neighbors must be an integer, got 'ten'"),
        ("knn", {"n_neighbors": True}, "must be an integer, got True"),
        ("knn", {"n_neighbors": 2.5}, "must be an integer, got 2.5"),
        ("knn", {"mutual": 1}, "must be true or false, got 1"),
        ("sequence", {}, r"needs a value for window; options of relation sequence: window \(required\), weights=None"),
        ("sequence", {"window": 1, "weights": ["a"]}, "a list, each a number or none"),
        ("plain", {"x": 1}, "plain takes no options"),
        ("vicreg", {"form": "square"}, "one of squared, hinge, got 'square'"),
        ("vicreg", {"variance": "inf"}, "must be a number"),
    ],
)
def test_bind_refuses_with_advice(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        bind(TABLE, name, options)


def test_options_show_signature_and_types() -> None:
    options = options_of(sequence)
    assert list(options) == ["data", "window", "weights"]
    assert options["data"].positional
    assert options["window"].required
    assert not options["weights"].positional
    assert options["weights"].hint == Sequence[float] | None


def test_names_imported_for_typing_only_are_not_checked() -> None:
    assert bind({"typed": typed}, "typed", {"weight": "any"})([1]) == ([1], "any", 2)
    with pytest.raises(DataError, match="n must be an integer"):
        bind({"typed": typed}, "typed", {"n": "any"})


# ------------------------------------------------------------------------------------------- values and annotations


class Array:  # stands for a type nobody can write as text
    pass


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("5", int, 5),
        ("1e4", int, 10_000),
        ("5", float, 5.0),
        ("inf", float, float("inf")),
        ("5", str, "5"),
        ("5", int | str, 5),
        ("5", float | int, 5),
        ("auto", int | str, "auto"),
        ("none", int | None, None),
        ("none", Literal["none", "symmetric"], "none"),
        ("2", Literal[1, 2], 2),
        ("auto", float | Literal["auto"], "auto"),
        ("0.5", float | Literal["auto"], 0.5),
        ("true", bool, True),
        ("0, 0.5,1", Sequence[float], (0.0, 0.5, 1.0)),
        ("0,1", list[int], [0, 1]),
        ("a, b", list[str], ["a", "b"]),
        ("1,a", tuple[int, str], (1, "a")),
        ("", tuple[float, ...], ()),
        ("a(x=1, y=2), b", str | Sequence[str], "a(x=1, y=2), b"),
        ("a/b", str | Path | None, Path("a/b")),
        ("digits", str | Array, "digits"),
    ],
)
def test_words_of_the_command_line(text: str, hint: Any, value: Any) -> None:
    read = from_text(text, hint, "--x")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x", int),
        ("1.5", int),
        ("1e-1", int),
        ("x", float | None),
        ("1,x", Sequence[float]),
        ("1", tuple[int, int]),
        ("l", Literal["linear", "free"]),
    ],
)
def test_words_that_do_not_fit(text: str, hint: Any) -> None:
    with pytest.raises(DataError, match="--x must be") as caught:
        from_text(text, hint, "--x")
    assert repr(text) in str(caught.value)
    assert describe(hint) in str(caught.value)


def test_values_from_python_and_configuration_files() -> None:
    assert coerce(10.0, int, "x") == 10
    assert isinstance(coerce(10.0, int, "x"), int)
    assert isinstance(coerce(1, float, "x"), float)
    assert coerce([1, 2], tuple[float, ...], "x") == (1.0, 2.0)
    assert coerce("a", Path, "x") == Path("a")
    array = Array()
    assert coerce(array, Array, "x") is array
    for bad in (float("inf"), float("nan"), "1", True, None, [1]):
        with pytest.raises(DataError, match="x must be an integer"):
            coerce(bad, int, "x")
    with pytest.raises(DataError, match="one of 1, 2, got True"):
        coerce(True, Literal[1, 2], "x")
    with pytest.raises(DataError, match="each an integer"):
        coerce([1, "a"], list[int], "x")


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        (int, "INTEGER"),
        (int | float | None, "NUMBER"),
        (str | Path | None, "PATH"),
        (str | Sequence[str], "TEXT"),
        (Literal["linear", "free"], "linear|free"),
        (Sequence[float], "NUMBER,..."),
        (tuple[int, str], "INTEGER,TEXT"),
        (Array, ""),
    ],
)
def test_placeholders(hint: Any, shown: str) -> None:
    assert metavar(hint) == shown
