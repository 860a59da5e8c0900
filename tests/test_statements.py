"""Every statement of the theory has a test that measures something, and docs/theory.md says what is tested now.

The tests are read, not run: a statement's test is a function whose name bears its id (benchmarks/theory.py finds them).
"""

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from measure import agree, nested_sine, relative, same_span, sine
from statements import KINDS, SECTIONS, STATEMENTS, SYMBOLS, Statement

ROOT = Path(__file__).resolve().parent.parent

_spec = importlib.util.spec_from_file_location("benchmark_of_theory", ROOT / "benchmarks" / "theory.py")
assert _spec is not None
assert _spec.loader is not None
theory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(theory)

TESTS = theory.find_tests()
RECORDS = ("gap", "angle", "counterexample")
PARAMETER = "record_property"  # the name of pytest's fixture, and of a helper's parameter that takes it


@functools.cache
def functions(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


# the modules beside the tests that help them: measure, naive, ..
HELPERS = {
    name: node
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if not path.name.startswith("test_")
    for name, node in functions(path).items()
}


def recorded(function: ast.FunctionDef, known: dict[str, ast.FunctionDef]) -> set[str]:
    """What a function records: by itself, or by the functions it hands `record_property` to."""
    found: set[str] = set()
    for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
        called = getattr(call.func, "id", getattr(call.func, "attr", ""))
        if called == PARAMETER and call.args and isinstance(call.args[0], ast.Constant):
            found.add(call.args[0].value)
        handed = [*call.args, *(keyword.value for keyword in call.keywords)]
        helps = any(isinstance(value, ast.Name) and value.id == PARAMETER for value in handed)
        if helps and called in known and known[called] is not function:
            found |= recorded(known[called], known)
    return found


def what_it_records(test: "theory.Test") -> set[str]:
    inside = functions(test.path)
    return recorded(inside[test.name], HELPERS | inside)


SAMPLE = """
def helps(record_property, size):
    record_property("gap", size)

def helps_through(size, record_property):
    helps(record_property=record_property, size=size)

def forgets(record_property):
    return record_property

def test_by_itself(record_property):
    for size in (1, 2):
        record_property("angle", size)

def test_by_helpers(record_property):
    helps_through(2, record_property)

def test_by_nobody(record_property):
    forgets(record_property)
    helps(print, 2)
"""


def test_what_a_test_records_is_found_in_it_and_in_its_helpers(tmp_path: Path) -> None:
    path = tmp_path / "test_sample.py"
    path.write_text(SAMPLE)
    known = functions(path)
    assert recorded(known["test_by_itself"], known) == {"angle"}
    assert recorded(known["test_by_helpers"], known) == {"gap"}
    assert recorded(known["test_by_nobody"], known) == set()


each_test = pytest.mark.parametrize("test", TESTS, ids=lambda test: test.name)


# --- the statements ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", STATEMENTS)
def test_a_statement_is_one_line_of_ascii_of_a_known_kind_and_section(id: str) -> None:
    statement = STATEMENTS[id]
    assert isinstance(statement, Statement)
    assert theory.ID.match(f"test_{id}_what"), "no test could bear this id"
    assert statement.kind in KINDS
    assert [id[0] in letters for letters in SECTIONS.values()].count(True) == 1
    for text in (statement.text, statement.said, *SYMBOLS):
        assert text.isascii()
        assert text.isprintable(), "one line"
        assert text.count("`") % 2 == 0
    assert statement.text
    assert not statement.text.endswith(".")
    if statement.kind in ("refuted", "corrected"):
        assert statement.said, "the claim that is often made"


@pytest.mark.parametrize("id", [id for id, statement in STATEMENTS.items() if not statement.later])
def test_a_statement_has_a_test(id: str) -> None:
    assert any(test.id == id for test in TESTS), f"no test_{id}_.. in tests/test_*.py"


@pytest.mark.parametrize("id", [id for id, statement in STATEMENTS.items() if statement.kind == "refuted"])
def test_a_refuted_claim_has_a_counterexample(id: str) -> None:
    assert any("counterexample" in what_it_records(test) for test in TESTS if test.id == id)


# --- their tests ------------------------------------------------------------------------------------------------------


@each_test
def test_a_test_of_a_statement_says_measures_and_records_it(test: "theory.Test") -> None:
    assert test.id in STATEMENTS, f"{test.path.name}: {test.name} names no statement of tests/statements.py"
    assert test.doc.isascii(), "the first line of its docstring says what it tests, in ASCII"
    assert test.doc, f"{test.path.name}: {test.name} has no docstring"
    records = what_it_records(test)
    assert records & set(RECORDS), f"{test.path.name}: {test.name} records neither gap nor angle nor counterexample"
    if "_refuted" in test.name:
        assert "counterexample" in records, f"{test.path.name}: {test.name} refutes without a counterexample"


# --- what they measure with -------------------------------------------------------------------------------------------


def test_relative_is_the_worst_entry() -> None:
    assert relative([1.0, 2.0, -3.0], [1.0, 4.0, -3.0]) == 0.5
    assert relative([3.0, 3.3], 3.0) == pytest.approx(0.1)
    assert relative([2.0, 1.0], [1.0, 0.0], scale=10.0) == pytest.approx(0.1)
    assert relative([2.0, 1.0], [1.0, 0.0], scale=np.array([10.0, 4.0])) == pytest.approx(0.25)
    assert relative([0.0, 5.0], [0.0, 5.0]) == 0
    assert relative(1e-300, 0.0) == np.inf
    assert np.isnan(relative([1.0, np.nan], [1.0, 1.0]))
    with pytest.raises(AssertionError, match="shapes"):
        relative([1.0, 2.0], [[1.0], [2.0]])


def test_sine_is_that_of_the_largest_principal_angle() -> None:
    x, y, z = np.eye(3)
    tilted = np.cos(0.3) * y + np.sin(0.3) * z
    assert sine(np.column_stack([x, y]), np.column_stack([x + tilted, x - tilted])) == pytest.approx(np.sin(0.3))
    assert sine(x[:, None], (x + 1e-9 * y)[:, None]) == pytest.approx(1e-9, rel=1e-6)  # not its square
    assert sine(np.column_stack([x, 1e-12 * y]), np.column_stack([1e15 * x, x + y])) < 1e-15  # units do not matter
    assert sine(np.column_stack([x, x]), x[:, None]) < 1e-15  # ranges, whatever the columns
    with pytest.raises(AssertionError, match="dimension 1 and 2"):
        sine(np.column_stack([x, x]), np.column_stack([x, y]))
    assert nested_sine(np.column_stack([x, y]), np.column_stack([y, x])) == 1


def test_what_is_recorded_is_what_is_asserted() -> None:
    noted: list[tuple[str, object]] = []

    def record_property(name: str, value: object) -> None:
        noted.append((name, value))

    x, y = np.eye(2)
    agree(record_property, 2.0, 1.0, 1.0)
    same_span(record_property, x[:, None], -3 * x[:, None], 1e-15)
    with pytest.raises(AssertionError, match="gap 1"):
        agree(record_property, 2.0, 1.0, 0.9)
    with pytest.raises(AssertionError, match="gap nan"):
        agree(record_property, np.nan, 1.0, 0.9)
    with pytest.raises(AssertionError, match="sine 1"):
        same_span(record_property, x[:, None], y[:, None], 0.5)
    assert noted[:3] == [("gap", 1.0), ("angle", 0.0), ("gap", 1.0)]
    assert [name for name, _ in noted] == ["gap", "angle", "gap", "gap", "angle"]


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_of_theory_is_current() -> None:
    stale = theory.differences((ROOT / "docs" / "theory.md").read_text(), TESTS)
    assert not stale, "\n".join(stale)


def test_every_row_of_the_page_has_the_cells_of_its_header() -> None:
    """A bar inside a formula would end its cell."""
    for table in (ROOT / "docs" / "theory.md").read_text().split("\n\n"):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, table


def test_the_page_has_no_row_that_failed_or_was_not_run() -> None:
    text = (ROOT / "docs" / "theory.md").read_text()
    assert "**FAILED**" not in text
    assert "| not run |" not in text, "run: python benchmarks/theory.py --slow"


def test_check_tells_a_page_from_before_a_new_test_or_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [theory.Case(test.key, "passed", [1e-12], [], []) for test in TESTS]
    text = theory.page(TESTS, cases, slow=True, seconds=1.0)
    assert theory.differences(text, TESTS) == []
    new = theory.Test("V2", TESTS[0].path, "test_V2_anew", "again")
    assert any("V2" in line for line in theory.differences(text, [*TESTS, new]))
    fewer = [test for test in TESTS if test.id != "W2"]
    assert "W2: has a row and no tests" in theory.differences(text, fewer)
    assert "W2: has tests and no row" in theory.differences(theory.page(fewer, [], slow=True, seconds=1.0), TESTS)
    monkeypatch.setitem(theory.STATEMENTS, "I1", Statement("exact", "another statement"))
    assert any("I1" in line for line in theory.differences(text, TESTS))
    assert theory.differences("", TESTS)


REPORT = """
import pytest

@pytest.mark.parametrize("size", [1, 2])
def test_V2_line(size, record_property):
    record_property("gap", 10.0 ** -9 / size)
    record_property("gap", 0.0)
    record_property("angle", 3.04e-12 * size)

def test_V3_refuted_minima(record_property):
    record_property("counterexample", "|a| < 5 & b_k")

def test_B1_broken(record_property):
    record_property("gap", 1.0)
    record_property("gap", float("nan"))
    assert 0.1 + 0.2 == 0.3

def test_I1_left_out(record_property):
    '''Says | itself.'''
    pytest.skip("not here")
"""


def test_what_tests_record_is_what_the_page_shows(tmp_path: Path) -> None:
    """A file of four tests, run by pytest itself: aggregation, verdicts, escapes, NaN."""
    path = tmp_path / "test_sample.py"
    path.write_text(REPORT)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path), f"--junit-xml={report}"]
    done = subprocess.run([*command, "-o", "junit_family=xunit1"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    tests = [
        theory.Test(re.match(theory.ID, name)[1], path, name, doc)
        for name, doc in [
            ("test_V2_line", ""),
            ("test_V3_refuted_minima", ""),
            ("test_B1_broken", ""),
            ("test_I1_left_out", "Says | itself."),
        ]
    ]
    text = theory.page(tests, theory.read_report(report), slow=False, seconds=61.0)
    row = {line.split(" | ")[0][2:]: line.split(" | ")[-4:] for line in text.splitlines() if line.startswith("| ")}
    told = text.partition("## Refuted")[2]
    assert row["V2"] == ["2", "1e-9", "6e-12", "holds |"]
    assert row["B1"] == ["1", "nan", "", "**FAILED** |"]
    assert row["I1"] == ["1", "", "", "not run |"]
    assert "4 statements, 4 tests, 5 cases: 2 hold, 1 **FAIL**, 1 not run" in text
    assert f"| V3 | {STATEMENTS['V3'].said} | \\|a\\| < 5 & b_k | [sample](../tests/test_sample.py) 1 |" in told
    assert "in 61 s" in text
