"""Text that every Python brings along: sentences of the standard library's own documentation, labelled by module.

The source files are read with `ast`; no module is imported and nothing is downloaded.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from spectral_ssl.data._checks import FloatArray, check_int, generator
from spectral_ssl.data.dataset import Dataset
from spectral_ssl.errors import DataError, did_you_mean

__all__ = ["stdlib_docs"]

# The libraries with most sentences in CPython 3.11 to 3.13, of those that every distribution ships as source (tkinter,
# turtle and distutils have more, where they are).
MODULES = (
    *("email", "asyncio", "logging", "http", "xml", "importlib", "typing", "doctest", "inspect", "urllib"),
    *("multiprocessing", "ipaddress", "difflib", "threading", "wsgiref", "statistics", "tarfile", "configparser"),
)
TESTS = {"test", "tests", "idle_test"}  # folders of packages that hold no library code

MIN_WORDS = 4  # words that say something, left of a sentence; fewer is a heading or a fragment
MAX_WORDS = 60  # words in all: what is longer is a list or a table that no full stop ends
LETTERS = 0.85  # least share of letters and blanks: below it a sentence is code, a grammar or a signature
USUAL = 10  # modules

PROMPT = ">>>"
HEADING = re.compile(r"\w+:$")  # "Args:" and the like, alone on a line
ITEM = re.compile(r"(?:[-*+o]|\d+[.)]|:\w+[^:]*:|@\w+)\s+")  # how an item of a list, or a field, begins
STOP = re.compile(
    r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)[\"')\]]*\s+(?=[\"'(`*]*[A-Z])"
)  # "etc. and" goes on, in lower case
SIGN = re.compile(r"[\W\d_]")  # no letter
PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # HTTPResponse and http_response are http and response


class Sentence(NamedTuple):
    """A sentence, its words that count, in alphabetical order, and which docstring of its module it stands in."""

    text: str
    words: tuple[str, ...]
    docstring: int


def stdlib_docs(
    *,
    n_modules: int | None = None,
    modules: Sequence[str] | None = None,
    sentences_per_module: int | None = 200,
    n_features: int = 64,
    n_hashes: int = 4096,
    source: Literal["sentence", "docstring"] = "sentence",
    seed: int = 0,
) -> Dataset:
    """About 2,000 sentences of Python's own documentation, 64 features, 10 classes: which module a sentence explains.

    Docstrings are read from the source files of the standard library; examples, grammars and fragments are left out, a
    sentence that comes twice is taken once, one that two modules share is left out. The words of a sentence (without
    English stop words, and without the names of the modules, which would be the label) are counted in `n_hashes` bins,

        T_ih = (times word h is in sentence i) * (1 + log((1 + N) / (1 + times sentences hold h))),   |t_i| = 1

    and X = T V, with V (n_hashes, n_features) the leading right singular vectors of T: latent semantic analysis, not
    centred. Rows go by module, file and place in the file, so that `sequence` joins what is told in succession.

    Measured with Python 3.11.7 (other versions tell other sentences): N = 1,994, of each module 200 but 194 of urllib;
    logistic regression on X names the module of 0.65 of held-out sentences (mean of 5 splits at 25 %, standard
    deviation 0.02; 0.64 with `source="docstring"`), chance is 0.10. Of the pairs of `knn` 0.38 join equal labels.

    Args:
        n_modules: How many modules, at least 2: the first of a fixed list of the well-documented ones. None takes 10,
            or as many as `modules` names.
        modules: Names of top-level modules or packages of the standard library, instead of the list.
        sentences_per_module: At most so many of each, drawn with `seed`; None takes all.
        n_features: Dimension of X.
        n_hashes: Bins of the words.
        source: "docstring" makes sentences of one docstring views of one original: they are positive pairs of `views`,
            and a split keeps them together. "sentence" leaves every sentence its own original.
        seed: Whole number >= 0, of the draw.

    meta: `sentences` (N,) as they are told, `target_names`, `python` (version), `digest` (16 hexadecimal digits of
    sha256 over all sentences: equal digests, equal sets), `seed`.

    Raises:
        DataError: A Python whose library has no source files (frozen, in a zip archive, compiled only), a module that
            it does not have or that has no sentences, fewer sentences than features.
    """
    what = "stdlib_docs"
    names = _names(n_modules, modules, what)
    cap = sentences_per_module
    if cap is not None:
        cap = check_int(cap, f"{what}: sentences_per_module", low=1)
    D = check_int(n_features, f"{what}: n_features", low=1)
    B = check_int(n_hashes, f"{what}: n_hashes", low=2)
    if source not in ("sentence", "docstring"):
        raise DataError(f"{what}: source={source!r} is not known; choose 'sentence' or 'docstring'")
    rng = generator(seed, what)
    root = _library(what)
    ignored = frozenset(piece for name in names for piece in _pieces(name)) | _stop_words()
    told = {name: _sentences_of(root, name, ignored, what) for name in names}
    shared = _shared(told)
    rows: list[tuple[int, Sentence]] = []
    for code, name in enumerate(names):
        kept = [sentence for sentence in told[name] if sentence.words not in shared]
        if not kept:
            raise DataError(f"{what}: the docstrings of {name} hold no sentences; leave it out")
        if cap is not None and len(kept) > cap:
            kept = [kept[i] for i in np.sort(rng.choice(len(kept), size=cap, replace=False))]
        rows += [(code, sentence) for sentence in kept]
    if min(len(rows), B) <= D:
        raise DataError(
            f"{what}: {len(rows)} sentences in {B} bins have fewer than {D} + 1 directions; lower n_features, or take "
            "more modules, sentences_per_module or n_hashes"
        )
    sentences = tuple(sentence.text for _, sentence in rows)
    return Dataset(
        name="stdlib_docs",
        X=_features([sentence.words for _, sentence in rows], D, B),
        y=np.array([code for code, _ in rows]),
        source=[(code, sentence.docstring) for code, sentence in rows] if source == "docstring" else None,  # type: ignore[arg-type]
        meta={
            "origin": "docstrings of Python's standard library",
            "python": platform.python_version(),
            "digest": hashlib.sha256("\n".join(sentences).encode()).hexdigest()[:16],
            "sentences": sentences,
            "target_names": names,
            "seed": seed,
            "full_set_only": ("sentences", "digest"),
        },
    )


# --- where the sentences are -----------------------------------------------------------------------------------------


def _names(n_modules: int | None, modules: Sequence[str] | None, what: str) -> tuple[str, ...]:
    """The modules asked for, in alphabetical order."""
    if modules is None:
        n = check_int(USUAL if n_modules is None else n_modules, f"{what}: n_modules", low=2, high=len(MODULES))
        return tuple(sorted(MODULES[:n]))
    names = [modules] if isinstance(modules, str) else list(modules)
    if n_modules is not None:
        raise DataError(f"{what}: modules names {len(names)} modules; leave n_modules={n_modules} out")
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise DataError(f"{what}: modules must be top-level names such as 'email', 'json', got {modules!r}")
    if len(set(names)) < max(2, len(names)):
        raise DataError(f"{what}: at least 2 different modules are needed, each named once; got {', '.join(names)}")
    return tuple(sorted(names))


def _library(what: str) -> Path:
    """The folder of the standard library's source files."""
    file = getattr(os, "__file__", None)  # a frozen interpreter has none
    root = Path(file or "").parent
    if not file or not (root / "os.py").is_file():
        raise DataError(
            f"{what} reads the source files of the standard library, and this Python has none"
            + (f" in {root}" if file else "")
            + " (it is frozen, in a zip archive, or compiled only); use a full installation of Python, or "
            "another data set"
        )
    return root


def _files(root: Path, name: str, what: str) -> list[Path]:
    package, module = root / name, root / f"{name}.py"
    if (package / "__init__.py").is_file():
        files = [file for file in package.rglob("*.py") if not TESTS.intersection(file.relative_to(root).parts)]
        return sorted(files, key=Path.as_posix)  # paths themselves sort differently on Windows
    if module.is_file():
        return [module]
    found = {file.stem for file in root.glob("*.py")} | {file.parent.name for file in root.glob("*/__init__.py")}
    near = did_you_mean(name, sorted(found)).split(" (")[0]  # without the list of all 200
    advice = near if near.endswith("?") else f"some that have one: {', '.join(MODULES[:USUAL])}"
    raise DataError(f"{what}: no source file of {name!r} in {root} (what is written in C has none); {advice}")


def _sentences_of(root: Path, name: str, ignored: Collection[str], what: str) -> list[Sentence]:
    """The sentences of a module in order of file and place; of those with equal words the first."""
    found: dict[tuple[str, ...], Sentence] = {}
    docstrings = (docstring for file in _files(root, name, what) for docstring in _docstrings(file, what))
    for number, docstring in enumerate(docstrings):
        for text in _split(docstring):
            words = tuple(sorted(piece for piece in _pieces(text) if len(piece) > 1 and piece not in ignored))
            if len(set(words)) >= MIN_WORDS:
                found.setdefault(words, Sentence(text, words, number))
    return list(found.values())


def _docstrings(file: Path, what: str) -> Iterator[str]:
    """Docstrings of a file from top to bottom. Statements alone are visited: expressions hold none, and are many."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd escapes are meant for the file's authors
            pending: list[ast.AST] = [ast.parse(file.read_bytes())]
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{what}: cannot read {file}: {error}") from error
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring
        for part in ("finalbody", "orelse", "handlers", "cases", "body"):  # the last one pushed comes first
            pending += reversed(getattr(node, part, []))


def _shared(told: dict[str, list[Sentence]]) -> set[tuple[str, ...]]:
    """Words of sentences that more than one module has: they tell none from another."""
    times = Counter(sentence.words for sentences in told.values() for sentence in sentences)
    return {words for words, count in times.items() if count > 1}


# --- sentences and words ---------------------------------------------------------------------------------------------


def _split(docstring: str) -> Iterator[str]:
    """Its sentences: examples, headings, tables and signatures left out."""
    for paragraph in _paragraphs(docstring):
        for text in STOP.split(paragraph):
            prose = len(SIGN.sub("", text)) + text.count(" ")
            if prose >= LETTERS * len(text) and len(text.split()) <= MAX_WORDS:
                yield text


def _paragraphs(docstring: str) -> Iterator[str]:
    """Lines up to a blank one, or to the next item of a list, as one; an example goes from its prompt to a blank."""
    lines: list[str] = []
    example = False
    for line in [*docstring.splitlines(), ""]:
        line = line.strip()
        item = ITEM.match(line)
        if not line or line.startswith(PROMPT) or item or HEADING.match(line):
            if lines:
                yield " ".join(" ".join(lines).split())
            lines = []
            example = line.startswith(PROMPT) or (example and line != "")
            if item and not example:
                lines = [line[item.end() :]]
        elif not example:
            lines.append(line)


def _pieces(text: str) -> list[str]:
    return [piece.lower() for piece in PIECE.findall(text)]


def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # heavy: only when the set is asked for

    return frozenset(ENGLISH_STOP_WORDS)


def _features(words: list[tuple[str, ...]], n_features: int, n_hashes: int) -> FloatArray:  # N -> (N, D)
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counts = HashingVectorizer(n_features=n_hashes, analyzer=list, alternate_sign=False, norm=None).transform(words)
    T = TfidfTransformer().fit_transform(counts)  # (N, n_hashes)
    X: FloatArray = TruncatedSVD(n_features, algorithm="arpack", random_state=0).fit_transform(T)
    return X
