"""Names with options, as text: ``knn(n_neighbors=10, mutual=True)``.

Relations, methods and data sets are chosen by name on the command line, in configuration files and in run records. This
module reads and writes that notation and checks it against the signature of the function that is meant, so a relation
or method declares its options once, in Python.

    >>> parse_call("knn(n_neighbors=10, mutual=True)")
    ('knn', {'n_neighbors': 10, 'mutual': True})
    >>> parse_calls("vicreg(invariance=0.5, form=hinge), barlow_twins")
    [('vicreg', {'invariance': 0.5, 'form': 'hinge'}), ('barlow_twins', {})]
    >>> format_call("knn", {"n_neighbors": 10, "how": "union"})
    'knn(n_neighbors=10, how=union)'

Values are literals (numbers, strings, True, False, None, lists and tuples of these) and bare words, which are strings.
The text is parsed, never evaluated.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import keyword
import math
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from spectral_ssl.errors import DataError, did_you_mean

__all__ = [
    "Option",
    "bind",
    "coerce",
    "describe",
    "format_call",
    "from_text",
    "metavar",
    "options_of",
    "parse_call",
    "parse_calls",
]

T = TypeVar("T")
Call = tuple[str, dict[str, Any]]

REQUIRED: Any = inspect.Parameter.empty  # the default of an option that has none
MAX_TEXT = 10_000  # characters; Python's parser recurses, so text without a limit could exhaust its stack


# ---------------------------------------------------------------------------------------------------- the notation


WORDS = {"true": True, "false": False, "none": None}  # as other configuration languages write them


def parse_call(text: str) -> Call:
    """Read ``name`` or ``name(option=value, ...)``."""
    calls = parse_calls(text)
    if len(calls) != 1:
        raise DataError(f"{text!r} holds {len(calls)} names; exactly one is allowed here")
    return calls[0]


def parse_calls(text: str) -> list[Call]:
    """Read a comma-separated list of ``name`` or ``name(option=value, ...)``."""
    if not isinstance(text, str):
        raise DataError(f"a call string such as 'knn(n_neighbors=10)' is text, got {type(text).__name__}")
    if not text.strip():
        raise DataError("the text is empty; write a name such as knn, or knn(n_neighbors=10)")
    if len(text) > MAX_TEXT:
        raise DataError(f"the text has {len(text)} characters; at most {MAX_TEXT} are read")
    text = text.replace("\n", " ").strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's remarks on odd escapes are meant for Python source
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        place = f" at character {error.offset}" if error.offset else ""
        raise DataError(
            f"cannot read {text!r}{place}: {error.msg}; write name(option=value, ...), and put quotes round text that "
            "is not a plain word, such as a path"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte; brackets nested beyond all reason
        raise DataError(f"cannot read {text[:60]!r}: {error}") from None
    if isinstance(tree, ast.Tuple) and not tree.elts:
        raise DataError(f"{text!r} holds no name; write a name such as knn, or knn(n_neighbors=10)")
    return [_call(node, text) for node in (tree.elts if isinstance(tree, ast.Tuple) else [tree])]


def format_call(name: str, options: Mapping[str, Any]) -> str:
    """The text that `parse_call` reads back as ``(name, options)``."""
    if not options:
        return name
    return f"{name}({', '.join(f'{option}={_literal(value)}' for option, value in options.items())})"


def _call(node: ast.expr, text: str) -> Call:
    if isinstance(node, ast.Name):
        return node.id, {}
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise DataError(f"{_source(node, text)} in {text!r} is not a name; write name or name(option=value, ...)")
    name = node.func.id
    if node.args:
        raise DataError(
            f"{name}: the value {_source(node.args[0], text)} has no option name; write {name}(option=value, ...)"
        )
    options: dict[str, Any] = {}
    for item in node.keywords:
        if item.arg is None:
            raise DataError(f"{name}: ** is not allowed; write {name}(option=value, ...)")
        if item.arg in options:
            raise DataError(f"{name}: option {item.arg} is given twice, the second time {_source(item, text)}")
        options[item.arg] = _value(item.value, f"{name}({item.arg}=...)", text)
    return name, options


def _value(node: ast.expr, where: str, text: str) -> Any:
    if isinstance(node, ast.Name):
        return WORDS.get(node.id, node.id)
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int | float | str)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand, where, text)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, where, text) for item in node.elts)
    if isinstance(node, ast.List):
        return [_value(item, where, text) for item in node.elts]
    raise DataError(
        f"{where}: {_source(node, text)} is not a plain value; allowed are numbers, text, True, False, None, and lists "
        "or tuples of these (quote text that is not a plain word)"
    )


def _source(node: ast.expr | ast.keyword, text: str) -> str:
    """The part of the text a node came from, with its place."""
    before = text.encode()[: node.col_offset].decode()  # Python counts bytes
    return f"{ast.get_source_segment(text, node)!r} at character {len(before) + 1}"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        plain = value.isascii() and value.isidentifier() and not keyword.iskeyword(value)
        return value if plain else repr(value)
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            raise DataError("nan cannot be written as an option value")
        return "1e999" if value > 0 else "-1e999"  # overflows to infinity when read: Python has no literal for it
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    raise DataError(f"{value!r} is not a plain value and cannot be written as an option value")


# --------------------------------------------------------------------------------------------- options of a callable


@dataclasses.dataclass(frozen=True)
class Option:
    """One parameter of a function, as a user sees it."""

    name: str
    hint: Any  # the resolved annotation; Any where there is none, or where it names something imported for typing only
    default: Any  # REQUIRED where there is none
    positional: bool

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """The parameters of a function or the fields of a class, by name."""
    module = inspect.getmodule(function)
    return {
        p.name: Option(
            name=p.name,
            hint=_resolve(p.annotation, vars(module) if module else {}),
            default=p.default,
            positional=p.kind is not p.KEYWORD_ONLY,
        )
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }


def _resolve(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={"hint": annotation})
    try:
        return typing.get_type_hints(holder, globalns=dict(namespace))["hint"]
    except NameError:  # imported under TYPE_CHECKING: nothing a user can type as text
        return Any


def bind(
    table: Mapping[str, Callable[..., T]], name: str, options: Mapping[str, Any], *, kind: str = "relation"
) -> functools.partial[T]:
    """The function that ``name(options)`` means, its options checked and filled in.

    Options are the parameters of a function that are keyword-only or have a default, and all fields of a class. The
    answer still takes the others: ``bind(RELATIONS, "knn", {"n_neighbors": 5})(data)``.
    """
    if name not in table:
        raise DataError(f"unknown {kind} {name!r}; {did_you_mean(name, table)}")
    function = table[name]
    known = {
        option.name: option
        for option in options_of(function).values()
        if isinstance(function, type) or not option.positional or not option.required
    }
    allowed = ", ".join(map(_with_default, known.values()))
    advice = f"options of {kind} {name}: {allowed}" if known else f"{kind} {name} takes no options"
    for option in options:
        if option not in known:
            near = did_you_mean(option, known).split(" (")[0] if known else ""
            hint = f"{near} " if near.endswith("?") else ""
            raise DataError(f"{kind} {name} has no option {option!r}; {hint}{advice}")
    missing = [option.name for option in known.values() if option.required and option.name not in options]
    if missing:
        raise DataError(f"{kind} {name} needs a value for {', '.join(missing)}; {advice}")
    checked = {
        option: coerce(value, known[option].hint, f"{kind} {name}: option {option}")
        for option, value in options.items()
    }
    return functools.partial(function, **checked)


def _with_default(option: Option) -> str:
    return f"{option.name} (required)" if option.required else f"{option.name}={option.default!r}"


# ------------------------------------------------------------------------------------------- values and annotations

_SEQUENCES = (list, tuple, Sequence, Iterable)


def coerce(value: Any, hint: Any, what: str) -> Any:
    """Check a value against an annotation; whole floats pass for int, ints for float, text for Path.

    An annotation with no part that could be written as text (an array, a graph) is not checked.

    Raises:
        DataError: the value does not fit; the message begins with `what`.
    """
    members = _members(hint)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()  # a numpy scalar is as good as the Python number it holds
    for member in members:
        try:
            return _convert(value, member)
        except (TypeError, ValueError):
            continue
    if not members:
        return value
    raise DataError(f"{what} must be {describe(hint)}, got {value!r}")


def from_text(text: str, hint: Any, what: str) -> Any:
    """The value a word of the command line stands for: ``0.1,0.2`` under ``Sequence[float]``, ``none`` for None.

    Raises:
        DataError: the text does not fit; the message begins with `what`.
    """
    members = sorted(_members(hint), key=_text_rank)
    for member in members:
        try:
            return _convert_text(text, member)
        except (TypeError, ValueError):
            continue
    if not members:
        return text
    raise DataError(f"{what} must be {describe(hint)}, got {text!r}")


def describe(hint: Any) -> str:
    """An annotation in words, for messages."""
    return " or ".join(_words(member)[0] for member in _members(hint))


def metavar(hint: Any) -> str:
    """An annotation as the placeholder of a command-line option; a reading that another one includes is left out."""
    words = [word for member in _members(hint) if (word := _words(member)[1])]
    included = {"INTEGER"} if "NUMBER" in words else set()
    included |= {"TEXT"} if "PATH" in words else set()
    included |= {"TEXT,..."} if "TEXT" in words else set()
    return "|".join(word for word in words if word not in included)


def _members(hint: Any) -> list[Any]:
    """The parts of an annotation that a user can write as text."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(hint) for member in _members(part)]
    if origin is typing.Annotated:
        return _members(typing.get_args(hint)[0])
    plain = hint in (int, float, bool, str, Path, types.NoneType, list, tuple)
    sequence = origin in _SEQUENCES and all(_members(item) for item in typing.get_args(hint) if item is not Ellipsis)
    return [hint] if plain or sequence or origin is Literal else []


def _convert(value: Any, member: Any) -> Any:
    """`value` as a `member`; TypeError where it is not one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if typing.get_origin(member) is Literal:
        if any(value == choice and type(value) is type(choice) for choice in typing.get_args(member)):
            return value
    elif member is types.NoneType:
        if value is None:
            return None
    elif member is int:
        if number and math.isfinite(value) and int(value) == value:
            return int(value)
    elif member is float:
        if number:
            return float(value)
    elif member is Path:
        if isinstance(value, str | Path):
            return Path(value)
    elif member in (bool, str):
        if isinstance(value, member):
            return value
    elif isinstance(value, list | tuple):
        return _collect(value, member, lambda item, hint: coerce(item, hint, "item"))
    raise TypeError


def _convert_text(text: str, member: Any) -> Any:
    """The `member` a word stands for; ValueError or TypeError where it stands for none."""
    if typing.get_origin(member) is Literal:
        return {str(choice): choice for choice in typing.get_args(member)}[_known(text, typing.get_args(member))]
    if member is types.NoneType:
        return {"none": None}[_known(text.lower(), ["none"])]
    if member is bool:
        return {"true": True, "false": False}[_known(text.lower(), ["true", "false"])]
    if member is int:
        return _convert(float(text) if "e" in text.lower() else int(text), int)
    if member in (float, str, Path):
        return member(text)
    return _collect(text.split(",") if text else [], member, lambda item, hint: from_text(item.strip(), hint, "item"))


def _known(text: str, choices: Iterable[Any]) -> str:
    if text not in map(str, choices):
        raise ValueError
    return text


def _collect(items: Sequence[Any], member: Any, convert: Callable[[Any, Any], Any]) -> Any:
    hints: Sequence[Any] = typing.get_args(member) or (Any,)
    container = list if (typing.get_origin(member) or member) is list else tuple
    fixed = typing.get_origin(member) is tuple and Ellipsis not in hints
    each = hints if fixed else [hints[0]] * len(items)
    return container(convert(item, hint) for item, hint in zip(items, each, strict=True))


def _text_rank(member: Any) -> int:
    """Try the narrow readings of a word first: everything is text, so text comes before only a list of texts."""
    order = [types.NoneType, bool, int, float, Path, str]
    if typing.get_origin(member) is Literal:
        return -1
    return order.index(member) if member in order else len(order)


def _words(member: Any) -> tuple[str, str]:
    """(in a sentence, as a placeholder)."""
    if typing.get_origin(member) is Literal:
        choices = [str(choice) for choice in typing.get_args(member)]
        return (f"one of {', '.join(choices)}" if len(choices) > 1 else repr(choices[0])), "|".join(choices)
    if member in _WORDS:
        return _WORDS[member]
    items = [item for item in typing.get_args(member) if item is not Ellipsis]
    if len(items) > 1:
        return f"a list ({', '.join(map(describe, items))})", ",".join(map(metavar, items))
    return (f"a list, each {describe(items[0])}", f"{metavar(items[0])},...") if items else ("a list", "TEXT,...")


_WORDS: dict[Any, tuple[str, str]] = {
    types.NoneType: ("none", ""),
    bool: ("true or false", "BOOLEAN"),
    int: ("an integer", "INTEGER"),
    float: ("a number", "NUMBER"),
    str: ("text", "TEXT"),
    Path: ("a path", "PATH"),
}
