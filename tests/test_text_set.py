"""Sentences of the standard library's documentation: a small library with known answers, and the real one."""

import ast
import os
import platform
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils import murmurhash3_32

import spectral_ssl.data as ssd
from spectral_ssl.errors import DataError

EXACT = 1e-10  # two routes to a truncated decomposition in float64; ARPACK stops at machine precision
NO_COLLISIONS = 2**20  # bins: the few words of the small library all have their own

ALPHA = '''"""Alpha opens archives on slow disks.

It keeps ("buffers") everything in memory. Nothing touches e.g. Windows registries, i.e. System settings!

    >>> Alpha opens archives and never closes them again.
    the example prints green bottles standing on walls
    - and seven purple lists of hungry elephants
    which span several lines of printed output

Args:
  path: where archives lie on slow disks, spelled wholly
  - first bullet names hungry purple elephants
    going on in a second line

  landscape = open_archive(path)[purple_index] + {"mountain": 3} ** hungry(elephants)

Too short.
"""
raise RuntimeError("never imported")

class Reader:
    if True:
        async def read(self):
            """Readers parse HTTPResponse headers quickly and snake_case_names."""
    else:
        def write(self):
            """Writers forget commas where slow disks sleep."""
    def close(self):
        """Opens archives, on beta's slow disks (Alpha)"""
        def inner():
            """Shared wisdom stands in several different modules."""
def last():
    """Functions come behind classes if files put them there."""
'''
BETA = '''"""Beta paints landscapes under bright skies."""
def shared():
    """Shared wisdom stands in several different modules."""
'''
BETA_SUB = '''"""Sunsets colour distant mountains wonderfully red under skies."""'''
TOLD = [  # alphabetical by module, then by file, then as they stand; where two have equal words, the first
    "Alpha opens archives on slow disks.",
    "Nothing touches e.g. Windows registries, i.e. System settings!",
    "path: where archives lie on slow disks, spelled wholly",
    "first bullet names hungry purple elephants going on in a second line",
    "Readers parse HTTPResponse headers quickly and snake_case_names.",
    "Writers forget commas where slow disks sleep.",
    "Functions come behind classes if files put them there.",
    "Beta paints landscapes under bright skies.",
    "Sunsets colour distant mountains wonderfully red under skies.",
]
WORDS = [  # the words above, by hand: stop words, "alpha" and "beta" left out, names in pieces
    "opens archives slow disks",
    "touches windows registries settings",
    "path archives lie slow disks spelled wholly",
    "bullet names hungry purple elephants going second line",
    "readers parse http response headers quickly snake case names",
    "writers forget commas slow disks sleep",
    "functions come classes files",
    "paints landscapes bright skies",
    "sunsets colour distant mountains wonderfully red skies",
]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "os.py").write_text("")
    (tmp_path / "alpha.py").write_text(ALPHA)
    (tmp_path / "beta" / "test").mkdir(parents=True)
    (tmp_path / "beta" / "__init__.py").write_text(BETA)
    (tmp_path / "beta" / "sub.py").write_text(BETA_SUB)
    (tmp_path / "beta" / "test" / "test_sub.py").write_text(
        '"""Tests are never read, whatever their docstrings say."""'
    )
    (tmp_path / "empty.py").write_text('"""Short."""')
    (tmp_path / "broken.py").write_text("def (:")
    monkeypatch.setattr(os, "__file__", str(tmp_path / "os.py"))
    return tmp_path


@pytest.fixture(scope="module")
def docs() -> ssd.Dataset:
    return ssd.load_dataset("stdlib_docs")


# --- a small library -------------------------------------------------------------------------------------------------


def test_sentences_are_those_told_by_hand(library: Path) -> None:
    """Examples, headings, formulas, tests and fragments left out; abbreviations do not end a sentence."""
    data = ssd.stdlib_docs(modules=["beta", "alpha"], n_features=2)
    assert data.meta["sentences"] == tuple(TOLD)
    assert data.meta["target_names"] == ("alpha", "beta")
    np.testing.assert_array_equal(data.y, [0] * 7 + [1] * 2)
    assert "alpha" not in sys.modules  # importing it raises, besides


@pytest.mark.parametrize(("n_hashes", "D"), [(NO_COLLISIONS, 8), (16, 5)])
def test_features_are_the_truncated_tf_idf_of_the_words(library: Path, n_hashes: int, D: int) -> None:
    """Witness: counts, weights and a decomposition written out; compared by inner products, which signs leave alone."""
    data = ssd.stdlib_docs(modules=["alpha", "beta"], n_features=D, n_hashes=n_hashes)
    rows = [[abs(murmurhash3_32(word)) % n_hashes for word in line.split()] for line in WORDS]
    bins = sorted({h for row in rows for h in row})
    assert (len(bins) == len({word for line in WORDS for word in line.split()})) == (n_hashes == NO_COLLISIONS)
    N = len(rows)
    T = np.zeros((N, len(bins)))
    for i, row in enumerate(rows):
        for column, h in enumerate(bins):
            holders = sum(h in other for other in rows)
            T[i, column] = row.count(h) * (1 + np.log((1 + N) / (1 + holders)))
        T[i] /= np.sqrt((T[i] ** 2).sum())
    U, s, _ = np.linalg.svd(T, full_matrices=False)
    assert s[D - 1] - s[D] > 1e-3 * s[0]  # else the truncation is not unique
    np.testing.assert_allclose(data.X @ data.X.T, (U[:, :D] * s[:D] ** 2) @ U[:, :D].T, atol=EXACT)
    np.testing.assert_allclose(np.linalg.norm(data.X, axis=0), s[:D], atol=EXACT)


def test_sentences_of_one_docstring_are_one_source(library: Path) -> None:
    data = ssd.stdlib_docs(modules=["alpha", "beta"], n_features=2, source="docstring")
    np.testing.assert_array_equal(data.source, [0, 0, 0, 0, 1, 2, 3, 4, 5])
    assert ssd.stdlib_docs(modules=["alpha", "beta"], n_features=2).source is None


def test_a_library_without_source_files_is_explained(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = str(library / "python.zip" / "os.pyc")
    monkeypatch.setattr(os, "__file__", archive)
    with pytest.raises(DataError, match=r"this Python has none in .*python\.zip \(it is frozen, in a zip archive"):
        ssd.stdlib_docs()
    monkeypatch.delattr(os, "__file__")
    with pytest.raises(DataError, match=r"this Python has none \(it is frozen"):
        ssd.stdlib_docs()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"modules": ["alpha", "bet"]},
            r"no source file of 'bet' in .* \(what is written in C has none\); did you mean",
        ),
        ({"modules": ["alpha", "zzzzzz"]}, "some that have one: email, asyncio"),
        ({"modules": ["alpha"]}, "at least 2 different modules are needed"),
        ({"modules": ["alpha", "beta", "alpha"]}, "each named once; got alpha, beta, alpha"),
        ({"modules": "alpha"}, "at least 2 different modules"),
        ({"modules": ["alpha", "../os"]}, "top-level names such as 'email', 'json', got"),
        ({"modules": ["alpha", 3]}, "top-level names"),
        ({"modules": ["alpha", "beta"], "n_modules": 2}, "names 2 modules; leave n_modules=2 out"),
        ({"modules": ["alpha", "empty"]}, "docstrings of empty hold no sentences"),
        ({"modules": ["alpha", "broken"]}, r"cannot read .*broken\.py: invalid syntax"),
        ({"modules": ["alpha", "beta"]}, r"9 sentences in 4096 bins have fewer than 64 \+ 1 directions"),
        ({"modules": ["alpha", "beta"], "n_hashes": 3, "n_features": 3}, "9 sentences in 3 bins"),
        ({"n_modules": 1}, "n_modules must be a whole number between 2 and 18, got 1"),
        ({"sentences_per_module": 0}, "sentences_per_module must be a whole number at least 1"),
        ({"n_features": 0}, "n_features must be"),
        ({"n_hashes": 1}, "n_hashes must be"),
        ({"source": "page"}, "source='page' is not known; choose 'sentence' or 'docstring'"),
        ({"seed": -1}, "seed must be"),
    ],
    ids=str,
)
def test_bad_options_are_explained(library: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ssd.stdlib_docs(**options)  # type: ignore[arg-type]


# --- the real one ----------------------------------------------------------------------------------------------------


def test_ten_modules_of_about_two_hundred_sentences(docs: ssd.Dataset) -> None:
    counts = np.bincount(docs.y)
    assert len(counts) == 10
    assert counts.max() == 200
    assert counts.min() >= 150  # 194 in Python 3.11; other versions tell other sentences
    assert docs.n_features == 64
    assert docs.meta["python"] == platform.python_version()
    assert list(docs.meta["target_names"]) == sorted(docs.meta["target_names"])
    assert docs.describe() == []  # no rows twice, no constant features


def test_every_sentence_stands_in_a_docstring_of_its_module_and_comes_once() -> None:
    """Witness: all docstrings, found by walking whole trees, as one text without its blanks and list marks."""
    docs = ssd.stdlib_docs(modules=("json", "shutil", "tarfile"), sentences_per_module=None)
    root = Path(ast.__file__).parent
    texts = []
    for name in docs.meta["target_names"]:
        files = list((root / name).rglob("*.py")) or [root / f"{name}.py"]
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        nodes = [node for file in files for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, kinds)]
        texts.append(re.sub(r"\s+", " ", "\n".join(ast.get_docstring(node) or "" for node in nodes)))
    for label, sentence in zip(docs.y, docs.meta["sentences"], strict=True):
        assert sentence in texts[label]
    assert max(Counter(docs.meta["sentences"]).values()) == 1


def test_names_of_modules_are_no_words_of_a_sentence_wherever_they_stand(docs: ssd.Dataset) -> None:
    from spectral_ssl.data import documentation

    names = docs.meta["target_names"]
    ignored = {piece for name in names for piece in documentation._pieces(name)}
    assert ignored == set(names)
    plain = documentation._pieces("Return the Handler of a level.")
    told = documentation._pieces("Return the logging Handler (email.HTTP, xml_Urllib) of a level.")
    assert [piece for piece in told if piece not in ignored] == plain


def test_the_draw_takes_of_all_sentences_by_seed_and_keeps_their_order() -> None:
    options = {"modules": ("json", "shutil"), "n_features": 4}
    everything = ssd.stdlib_docs(**options, sentences_per_module=None)
    place = {text: i for i, text in enumerate(everything.meta["sentences"])}
    drawn = [ssd.stdlib_docs(**options, sentences_per_module=20, seed=seed) for seed in (0, 0, 1)]
    for data in drawn:
        order = [place[text] for text in data.meta["sentences"]]
        assert order == sorted(order)
        np.testing.assert_array_equal(np.bincount(data.y), [20, 20])
    assert drawn[0].fingerprint() == drawn[1].fingerprint()
    assert drawn[0].meta["digest"] == drawn[1].meta["digest"] != drawn[2].meta["digest"]
    assert everything.n_samples > 60


def test_words_tell_the_module_well_and_not_perfectly(docs: ssd.Dataset) -> None:
    from sklearn.linear_model import LogisticRegression

    train, test = docs.split(0.25, seed=0)
    score = LogisticRegression(max_iter=2000).fit(docs.X[train], docs.y[train]).score(docs.X[test], docs.y[test])
    assert 0.5 < score < 0.85  # 0.65 in Python 3.11; chance is 0.1


def test_a_subset_drops_what_holds_for_the_whole_set(docs: ssd.Dataset) -> None:
    part = docs.subset(np.arange(10))
    assert {"sentences", "digest"} <= docs.meta.keys()
    assert not {"sentences", "digest"} & part.meta.keys()
    assert part.meta["target_names"] == docs.meta["target_names"]
