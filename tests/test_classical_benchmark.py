"""benchmarks/classical_vs_sklearn.py runs, on few samples, and both libraries agree there."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "classical_vs_sklearn.py"
_spec = importlib.util.spec_from_file_location("benchmark_of_classical_methods", PATH)
assert _spec is not None
assert _spec.loader is not None
benchmark = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = benchmark  # dataclasses look their module up
_spec.loader.exec_module(benchmark)

ANGLE = 1e-6  # sines of subspaces that both solve to rounding
ITERATED = 0.05  # of scikit-learn's CCA, stopped at its default tolerance, or on 200 rows and a gap of 1e-3
CASES = list(benchmark.cases(0.01))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.data} {case.note}")
def test_both_libraries_agree_on_few_samples(case):
    row = benchmark.measure(case, repeats=1)
    assert row["n_samples"] == 200
    assert row["max_angle"] < (ITERATED if case.name == "cca" else ANGLE)
    assert row["difference"] is None or row["difference"] < (1e-2 if case.name == "cca" else ANGLE)
    assert row["seconds_ours"] > 0
    assert row["ratio"] == row["seconds_theirs"] / row["seconds_ours"]
    assert f"{row['K']:>3}" in benchmark.line(row)


def test_the_benchmark_writes_rows_machine_and_versions(tmp_path, monkeypatch, capsys):
    path = tmp_path / "result.json"
    monkeypatch.setattr(
        sys, "argv", ["x", "--only", "classical_mds", "--repeats", "2", "--size", "0.01", "--json", str(path)]
    )
    benchmark.main()
    record = json.loads(path.read_text())
    assert record["benchmark"] == "classical_vs_sklearn"
    assert {row["problem"] for row in record["rows"]} == {"classical_mds"}
    assert all(row["repeats"] == 2 for row in record["rows"])
    assert "scikit-learn" in record["machine"]["versions"]
    assert "2 problems" in capsys.readouterr().out


def test_another_answer_makes_an_angle():
    case = CASES[-1]
    Z, _ = case.read_ours(case.solve_ours())
    assert benchmark.angle(Z, Z[:, ::-1] * 3.0 + 1.0) < ANGLE  # neither order, scale nor mean counts
    assert benchmark.angle(Z, Z + 0.3 * Z[::-1]) > 0.01
    assert benchmark.angle(Z, Z[:, :2]) == 1
