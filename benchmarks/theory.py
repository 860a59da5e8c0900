"""Write docs/theory.md: every statement of the theory, the tests that hold it, and how precisely they measured it.

    python benchmarks/theory.py --slow     # run every test of a statement and write the page
    python benchmarks/theory.py            # leave out the slow ones; the page says which
    python benchmarks/theory.py --check    # run nothing; exit 1 if the page does not match statements and tests

The id of a statement is in the names of its tests (test_V2_..., test_B12_correction_..., test_M_... for Lemma M); what
it says is in tests/statements.py. A test records what it measures with pytest's fixture `record_property`: "gap",
"angle", and for a false claim a "counterexample". Pytest writes them to its JUnit report, which is read here.
"""

from __future__ import annotations

import argparse
import ast
import math
import os
import re
import runpy
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from spectral_ssl.runs import machine

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "theory.md"
ID = re.compile(r"test_(M|[A-Z]\d+[a-z]?)_")

sys.path.insert(0, str(TESTS))  # statements.py imports the files beside it
_table = runpy.run_path(str(TESTS / "statements.py"))
STATEMENTS, SECTIONS, SYMBOLS = _table["STATEMENTS"], _table["SECTIONS"], _table["SYMBOLS"]


class Test(NamedTuple):
    """A test function of a statement, as written."""

    id: str
    path: Path
    name: str
    doc: str  # the first line of its docstring

    @property
    def key(self) -> str:
        return f"{self.path.name}::{self.name}"


class Case(NamedTuple):
    """A test function with one set of parameters, as run."""

    test: str  # the key of its test
    outcome: str  # passed, failed, skipped
    gaps: list[float]
    angles: list[float]
    counterexamples: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", action="store_true", help="run the slow tests too")
    parser.add_argument("--check", action="store_true", help="change nothing; say whether the page is current")
    arguments = parser.parse_args()
    tests = find_tests()
    if arguments.check:
        stale = differences(PAGE.read_text() if PAGE.exists() else "", tests)
        print("\n".join(stale) or f"{PAGE.relative_to(ROOT)} is current")
        return int(bool(stale))
    started = time.perf_counter()
    cases = run(tests, slow=arguments.slow)
    PAGE.write_text(page(tests, cases, slow=arguments.slow, seconds=time.perf_counter() - started))
    failed = [case.test for case in cases if case.outcome == "failed"]
    print(f"written: {PAGE.relative_to(ROOT)}; {len(cases)} cases, {len(failed)} failed", *failed, sep="\n  ")
    return int(bool(failed))


# ------------------------------------------------------------------------------------------------ tests, as written


def find_tests() -> list[Test]:
    """The tests whose names bear the id of a statement, read from their files without importing them."""
    found = []
    for path in sorted(TESTS.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and (match := ID.match(node.name)):
                doc = (ast.get_docstring(node) or "").partition("\n")[0]
                found.append(Test(match[1], path, node.name, doc))
    return found


def in_order(ids: Iterable[str]) -> list[str]:
    """By section; M before V1, V7 before V7b before V8, V8 before V10."""
    letters = "".join(SECTIONS.values())
    return sorted(ids, key=lambda id: (letters.find(id[0]), [int(n) for n in re.findall(r"\d+", id)], id))


def files_of(tests: Iterable[Test]) -> str:
    """The test files of a statement as links, each with its number of tests."""
    counts = Counter(test.path for test in tests)
    return ", ".join(f"{link(path)} {n}" for path, n in sorted(counts.items()))


def link(path: Path) -> str:
    name = path.stem.removeprefix("test_").removeprefix("theory_")
    return f"[{name}](../tests/{path.name})"


def row_heads(tests: list[Test]) -> dict[str, str]:
    """id -> the part of its row that needs no run: id, statement, kind, tests."""
    heads = {}
    for id in in_order({test.id for test in tests}):
        its = [test for test in tests if test.id == id]
        statement = STATEMENTS.get(id)
        kind, text = (statement.kind, statement.text) if statement else ("", its[0].doc)
        heads[id] = f"| {id} | {cell(text)} | {kind} | {files_of(its)} |"
    return heads


def differences(text: str, tests: list[Test]) -> list[str]:
    """What in the page is not what statements and tests say now, in words."""
    heads = row_heads(tests)
    table = text.partition(f"## {REFUTED}")[0].splitlines()
    rows = {match[1]: line for line in table if (match := re.match(r"\| (M|[A-Z]\d+[a-z]?) \|", line))}
    stale = [f"{id}: has tests and no row" for id in heads if id not in rows]
    stale += [f"{id}: has a row and no tests" for id in rows if id not in heads]
    stale += [
        f"{id}: the statement or its tests have changed"
        for id in heads
        if not rows.get(id, heads[id]).startswith(heads[id])
    ]
    if untested(tests) not in text:
        stale.append("the list of statements without tests has changed")
    return [*stale, "run: python benchmarks/theory.py --slow"] if stale else []


# ---------------------------------------------------------------------------------------------------- tests, as run


def run(tests: list[Test], *, slow: bool) -> list[Case]:
    """Run the tests in a child process on one thread, and read what they recorded."""
    names = [f"{test.path.relative_to(ROOT)}::{test.name}" for test in tests]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
        command += ["-m", "slow or not slow"] if slow else []
        command += [f"--junit-xml={report}", "-o", "junit_family=xunit1"]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 1):  # 1: some tests failed, which the page shall show
            sys.exit(f"{done.stdout}{done.stderr}")
        return read_report(report)


def read_report(path: Path) -> list[Case]:
    cases = []
    for node in ET.parse(path).getroot().iter("testcase"):
        bad = node.find("failure") is not None or node.find("error") is not None
        recorded: dict[str, list[str]] = {}
        for entry in node.iter("property"):
            recorded.setdefault(entry.get("name", ""), []).append(entry.get("value", ""))
        cases.append(
            Case(
                f"{Path(node.get('file', '')).name}::{node.get('name', '').partition('[')[0]}",
                "failed" if bad else "skipped" if node.find("skipped") is not None else "passed",
                [float(value) for value in recorded.get("gap", [])],
                [float(value) for value in recorded.get("angle", [])],
                recorded.get("counterexample", []),
            )
        )
    return cases


# ---------------------------------------------------------------------------------------------------------- the page


def page(tests: list[Test], cases: list[Case], *, slow: bool, seconds: float) -> str:
    by_id: dict[str, list[Case]] = {test.id: [] for test in tests}
    id_of = {test.key: test.id for test in tests}
    for case in cases:
        by_id[id_of[case.test]].append(case)
    heads, false = row_heads(tests), refuted(tests, cases)
    verdicts = Counter(verdict(its) for its in by_id.values())
    told = ", ".join(f"{verdicts[what]} {words}" for what, words in VERDICTS.items() if verdicts[what])
    lines = [
        "# What is true, and how precisely it was measured",
        "",
        f"**{len(by_id)} statements, {len(tests)} tests, {len(cases)} cases: {told}; "
        f"[{len(false)} claims refuted or corrected](#{REFUTED.lower().replace(' ', '-')}).** "
        f"{where(machine(), seconds)} Written by `python benchmarks/theory.py{' --slow' if slow else ''}`.",
        "",
        LEGEND,
        "",
        *(f"- {line}" for line in SYMBOLS),
    ]
    for title, letters in SECTIONS.items():
        ids = [id for id in in_order(by_id) if id[0] in letters]
        if ids:
            lines += ["", f"## {title}", "", "| id | statement | kind | tests | cases | gap | angle | verdict |"]
            lines += ["| --- | --- | --- | --- | ---: | ---: | ---: | --- |"]
            lines += [f"{heads[id]} {measured(by_id[id])} |" for id in ids]
    lines += [
        "",
        f"## {REFUTED}",
        "",
        "What is often said, and the case that speaks against it, as measured by the run.",
    ]
    lines += ["", "| id | often said | counterexample | tests |", "| --- | --- | --- | --- |", *false]
    lines += ["", untested(tests)]
    return "\n".join(lines) + "\n"


REFUTED = "Refuted or corrected"  # the title of the last section

VERDICTS = {"holds": "hold", "**FAILED**": "**FAIL**", "not run": "not run"}

LEGEND = """\
Each row has tests of its own; `python -m pytest -k test_V2_` runs those of V2. A test compares the closed form with a
witness that shares no code with it: a naive loss over explicit pairs, which scipy's L-BFGS descends from random starts;
numpy and scipy algebra on dense matrices; scikit-learn; networkx.

- **gap** is the largest relative difference of a loss, a value or an eigenvalue over all cases of a row. 1e-14 is
  rounding; more is what was left to a descent when it stopped.
- **angle** is the largest sine of the principal angles between two subspaces: 1e-14 against algebra, 1e-8, the root of
  rounding, against a descent.
- **kind** is *exact*, proven and solved to rounding; *bound*, a proven lower bound; *certified*, a numerical optimum
  with a limit on how far the minimum can be; *asymptotic*, true in a limit; *corrected* or *refuted*, a claim often
  made that needs a correction or is false: the row says what is true, the last section what speaks against the claim.

The symbols:"""


def where(record: dict[str, Any], seconds: float) -> str:
    versions, platform = record["versions"], record["platform"]
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "scipy", "scikit-learn", "torch"))
    return (
        f"Measured in {seconds:.0f} s on one thread of {platform['cpu']}, {platform['cpu_count']} cores: "
        f"spectral_ssl {versions['spectral_ssl']}, Python {versions['python']}, {libraries}."
    )


def measured(cases: list[Case]) -> str:
    gaps = [gap for case in cases for gap in case.gaps]
    angles = [angle for case in cases for angle in case.angles]
    return f"{len(cases)} | {scientific(gaps)} | {scientific(angles)} | {verdict(cases)}"


def verdict(cases: list[Case]) -> str:
    outcomes = {case.outcome for case in cases}
    return "**FAILED**" if "failed" in outcomes else "holds" if "passed" in outcomes else "not run"


def scientific(values: list[float]) -> str:
    """The worst, to one digit: 3e-9. NaN is the worst there is."""
    if not values:
        return ""
    worst = math.nan if any(map(math.isnan, values)) else max(values)
    if 0 < worst < 1e-16:
        return "< 1e-16"
    return "0" if worst == 0 else re.sub(r"e([+-])0*(?=\d)", r"e\1", f"{worst:.0e}").replace("e+", "e")


def refuted(tests: list[Test], cases: list[Case]) -> list[str]:
    """One row per statement with counterexamples. Of several cases of a test the first speaks."""
    rows = []
    for id in in_order({test.id for test in tests}):
        spoken, docs, its = [], [], []
        for test in (test for test in tests if test.id == id):
            found = [text for case in cases if case.test == test.key for text in case.counterexamples]
            if found:
                spoken.append(cell(found[0]) + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""))
                docs.append(re.sub(r"^(refuted|correction): *", "", test.doc, flags=re.IGNORECASE))
                its.append(test)
        if spoken:
            said = (id in STATEMENTS and STATEMENTS[id].said) or docs[0]
            rows.append(f"| {id} | {cell(said)} | {'<br>'.join(spoken)} | {files_of(its)} |")
    return rows


def untested(tests: list[Test]) -> str:
    """The statements that no test holds, in a sentence."""
    ids = in_order(STATEMENTS.keys() - {test.id for test in tests})
    return (
        f"Stated in tests/statements.py and not tested yet: {', '.join(ids)}." if ids else "No statement is untested."
    )


def cell(text: str) -> str:
    """Text for a cell of a Markdown table: bars escaped, and outside backticks what Markdown would take for markup."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"\*|\b_|_\b|<(?=\w)", lambda found: f"\\{found[0]}", part) for part in parts[::2]]
    return "`".join(parts).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
