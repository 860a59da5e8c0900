"""`bounds` and the trajectories: rows by other roads, legality in the table, inputs of every kind, what is refused."""

from __future__ import annotations

import functools
import itertools
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import write_cifar10
from rich.console import Console

import spectral_ssl as ss
from spectral_ssl.cli import main
from spectral_ssl.errors import DataError
from spectral_ssl.experiments import surrogate as command
from spectral_ssl.experiments.reproduce import EXPERIMENTS
from spectral_ssl.experiments.surrogate import bounds
from spectral_ssl.report.bound_figures import _headline, bound_figures
from spectral_ssl.report.tables import render
from spectral_ssl.runs import open_run
from spectral_ssl.theory.risks import population

SAME = 1e-9  # one risk in two ways, float64
SMALL: dict[str, Any] = {"data": "wine(standardize=true)", "n_components": 3, "negatives": (1, 4, 40), "figures": False}


def run(*representations: Path, **options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        payload = bounds(representations, out=Path(folder) / "run", **options)
        done = open_run(Path(folder) / "run")
        assert done.record["status"] == "done"
        assert done.result == json.loads(json.dumps(done.result)), "strict JSON"
    return payload


@functools.cache
def solved() -> dict[str, Any]:
    return run(**SMALL)


@functools.cache
def trained() -> dict[str, Any]:
    return run(**SMALL, trained=True, method="spectral_contrastive", max_iter=24, temperature=0.5)


def shown(payload: dict[str, Any], width: int = 160) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        render(payload, console)
    return capture.get()


def write(tmp_path: Path, seed: int = 0) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """A representation of ten rows and its labels, as files."""
    rng = np.random.default_rng(seed)
    y = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    Z = np.eye(3)[y] + 0.5 * rng.standard_normal((10, 3))
    np.save(tmp_path / f"Z{seed}.npy", Z)
    np.save(tmp_path / "y.npy", y)
    return tmp_path / f"Z{seed}.npy", tmp_path / "y.npy", Z, y


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_rows_are_the_risks_of_all_tuples(tmp_path: Path) -> None:
    """Ten rows, T = 0.5, an empirical prior: R_cont of K = 1, 2 and R_supv by loops, and the band round them."""
    file, labels, Z, y = write(tmp_path)
    payload = run(file, labels=labels, negatives=(1, 2), temperature=0.5, prior="empirical", tasks=False, figures=False)
    F = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    S, n_c = F @ F.T / 0.5, np.bincount(y)
    mu = np.array([F[y == c].mean(axis=0) for c in range(3)])
    s = F @ mu.T / 0.5
    supervised = float((np.log(np.exp(s).sum(axis=1)) - s[np.arange(10), y]).mean())
    H = -float((n_c / 10 * np.log(n_c / 10)).sum())
    for row in payload["rows"]:
        K, total = row["negatives"], 0.0
        for i, j in itertools.product(range(10), repeat=2):
            if y[i] == y[j]:
                tuples = np.array(list(itertools.product(range(10), repeat=K)))
                loss = np.log(np.exp(S[i, j]) + np.exp(S[i][tuples]).sum(axis=1)) - S[i, j]
                total += loss.mean() / 10 / n_c[y[i]]
        assert row["contrastive"] == pytest.approx(total, abs=SAME)
        assert row["supervised"] == pytest.approx(supervised, abs=SAME)
        wide = 2 * math.log(math.cosh(2.0))
        assert row["band_upper"] == pytest.approx(total + math.log(0.4 * 9 / K) + wide, abs=SAME)
        assert row["band_lower"] == pytest.approx(total + H + math.log(K) - 2 * math.log(K + 1) - wide, abs=SAME)
        assert row["inclusion"] == pytest.approx(total / (1 - 0.7**K), abs=SAME)
        assert row["arora"] is row["nozawa_sato"] is row["ash"] is None, "not for this prior"
        assert row["noise"] == pytest.approx(row["contrastive"] - row["class_means"], abs=1e-12)
        assert row["violated"] == []
    subject = payload["subjects"][0]
    assert subject["b2"] == pytest.approx(2.0)
    assert subject["accuracy"] == pytest.approx(float((s.argmax(axis=1) == y).mean()))


def test_without_a_representation_one_is_solved_and_judged_on_held_out_rows() -> None:
    payload = solved()
    train, held = payload["subjects"]
    assert [train["part"], held["part"]] == ["training rows", "held-out rows"]
    assert payload["main"] == 1
    data = ss.load_dataset("wine", standardize=True)
    rows, rest = data.split(0.25, 0)
    best = ss.optimum(ss.VICReg(), ss.relations.labels(data.subset(rows)), n_components=3, X=data.X[rows])
    Z, y = best.embedding.transform(data.X[rest]), data.y[rest]
    F = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    T = best.embedding.Z / np.linalg.norm(best.embedding.Z, axis=1, keepdims=True)

    def risk(mu: np.ndarray) -> float:
        s = F @ mu.T
        lost = np.log(np.exp(s).sum(axis=1)) - s[np.arange(y.size), y]
        return float(np.mean([lost[y == c].mean() for c in range(3)]))

    assert held["supervised"] == pytest.approx(risk(np.array([F[y == c].mean(axis=0) for c in range(3)])), abs=SAME)
    of_training = np.array([T[data.y[rows] == c].mean(axis=0) for c in range(3)])
    assert held["supervised_by_training_means"] == pytest.approx(risk(of_training), abs=SAME)
    assert "By the class means of the training rows" in payload["answer"]
    assert "No limit is violated" in payload["answer"]


def test_legal_vacuous_and_violated_are_told_apart_in_the_table() -> None:
    payload = solved()
    rows = [row for row in payload["rows"] if row["subject"] == 1]
    assert rows[0]["arora"] is None, "K + 1 < C"
    assert {"Arora", "Nozawa-Sato", "coverage"} <= set(rows[0]["illegal"])
    assert rows[1]["arora"] is not None
    assert "Ash" in rows[2]["vacuous"]
    statements = [s for s in payload["statements"] if s["bound"] == "Arora" and s["subject"] == 1]
    assert [s["verdict"] for s in statements] == ["illegal", "vacuous", "vacuous"]
    assert "K + 1 >= C: fails (K = 1, C = 3)" in statements[0]["assumptions"]
    text = shown(payload)
    line = next(line for line in text.splitlines() if line.strip().startswith("1 ") and "-" in line)
    assert line.split().count("-") == 2, "Arora and Nozawa & Sato at K = 1"
    assert "(" in line
    assert "held-out rows of vicreg" in text
    broken = json.loads(json.dumps(payload))
    broken["rows"][-1] |= {"violated": ["band, upper"], "band_upper": 0.5}
    assert "0.5!" in shown(broken)
    narrow = shown(payload, width=60)
    assert "R_supv" in narrow
    assert max(map(len, narrow.splitlines())) <= 60


def test_tasks_are_told_with_their_verdicts() -> None:
    tasks = solved()["tasks"]
    names = [task["bound"] for task in tasks]
    assert names[0] == "tasks of the classes drawn, K = 1"
    assert any(name.startswith("task of 2 classes") for name in names)
    assert sum("hinge" in name for name in names) == sum("logistic" in name for name in names) == 3
    assert all(task["verdict"] in ("holds", "vacuous") for task in tasks)


def test_many_rows_are_judged_by_monte_carlo_and_say_so() -> None:
    sampled = run(**SMALL, exact_rows=10, draws=3000)
    exact = {(row["subject"], row["negatives"]): row for row in solved()["rows"]}
    assert sampled["subjects"][0]["risk"] == "monte_carlo"
    assert any("Monte Carlo, standard error" in note for note in sampled["notes"])
    for row in sampled["rows"]:
        known = exact[row["subject"], row["negatives"]]
        assert abs(row["contrastive"] - known["contrastive"]) < 5 * row["error"]
        assert row["band_upper"] == pytest.approx(known["band_upper"], abs=12 * row["error"])
        assert not row["violated"]


def test_raw_rows_have_the_norm_of_the_longest(tmp_path: Path) -> None:
    file, labels, Z, _ = write(tmp_path)
    payload = run(file, labels=labels, negatives=(3,), normalize=False, tasks=False, figures=False)
    assert payload["subjects"][0]["b2"] == pytest.approx(float((Z**2).sum(axis=1).max()))
    assert any("longest row" in note for note in payload["notes"])


# --- trajectories and files -------------------------------------------------------------------------------------------


def test_a_training_is_a_trajectory_inside_the_band() -> None:
    payload = trained()
    steps = [payload["subjects"][place]["step"] for place in payload["history"]]
    assert steps == [1, 2, 4, 8, 16, 24]
    assert all(row["violated"] == [] for row in payload["rows"])
    assert all(row["lower"] <= row["supervised"] <= row["upper"] for row in payload["rows"])
    names = [name for name, _ in bound_figures(payload)]
    assert names == ["limits", "decomposition", "trajectory"]
    assert payload["subjects"][-1]["part"] == "held-out rows"
    assert "Along the way" in payload["answer"]


def test_several_files_are_a_trajectory_and_a_run_brings_its_labels(tmp_path: Path) -> None:
    one, labels, _, _ = write(tmp_path, 0)
    two, _, _, _ = write(tmp_path, 1)
    payload = run(one, two, labels=labels, negatives=(1, 2), tasks=False, figures=False)
    assert [s["name"] for s in payload["subjects"]] == ["Z0", "Z1"]
    assert payload["history"] == (0, 1)
    assert [name for name, _ in bound_figures(payload)] == ["limits", "decomposition", "trajectory"]
    ss.experiments.compare_methods(
        data="iris", relation="labels", methods="vicreg", n_components=2, figures=False, out=tmp_path / "compared"
    )
    found = run(tmp_path / "compared", negatives=(1, 5), tasks=False, figures=False)
    names = [s["name"].rpartition("/")[2] for s in found["subjects"]]
    assert sorted(names) == ["Z_closed", "Z_trained"]
    assert {s["n_classes"] for s in found["subjects"]} == {3}
    closed, landed = (s["supervised"] for s in found["subjects"])
    assert closed == pytest.approx(landed, rel=1e-4), "trained to the closed form, up to rotation"


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    file, labels, _, y = write(tmp_path)
    np.save(labels, np.where(np.arange(10) == 4, -1, y))
    payload = run(file, labels=labels, negatives=(2,), tasks=False, figures=False)
    assert payload["subjects"][0]["n_samples"] == 9


def test_an_interrupted_run_keeps_its_finished_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, calls = command.surrogate_bounds, []

    def interrupts(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return right(*args, **kwargs)

    monkeypatch.setattr(command, "surrogate_bounds", interrupts)
    with pytest.raises(KeyboardInterrupt):
        bounds(out=tmp_path / "run", **SMALL)
    done = open_run(tmp_path / "run")
    assert done.record["status"] == "interrupted"
    assert len(done.result["rows"]) == 3
    assert "interrupted before there was an answer" in shown(done.result)


@pytest.mark.slow
def test_the_default_is_a_demonstration_in_twenty_seconds(tmp_path: Path) -> None:
    started = time.process_time()
    payload = bounds(out=tmp_path / "run")
    assert time.process_time() - started < 20
    assert payload["data"]["name"] == "digits"
    assert {Path(figure).name for figure in payload["figures"]} == {"limits.png", "decomposition.png"}
    assert payload["subjects"][1]["largest_error"] < 1e-8


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--data", "iris", "--n-components", "5"], "choose at most 4"),
        (["--data", "iris", "--optimizer", "sgd"], "--optimizer is of training; add --trained"),
        (["Z.npy", "--labels", "y.npy", "--exact-rows", "-1"], "exact_rows must be at least 0"),
        (["Z.npy", "--labels", "y.npy", "--exact-rows", "0", "--draws", "3"], "draws must be at least"),
        (["Z.npy"], "there are no labels; give --labels FILE"),
        (["Z.npy", "--labels", "y.npy", "--method", "vicreg", "--trained"], "--trained would make a representation"),
        (["Z.npy", "--labels", "short.npy"], "10 rows, and there are 9 labels"),
        (["Z.npy", "--labels", "y.npy", "--prior", "0.5,0.5"], "2 numbers for 3 classes"),
        (["Z.npy", "--labels", "y.npy", "--prior", "even"], "uniform, empirical, or a number"),
        (["Z.npy", "--labels", "y.npy", "--temperature", "0"], "above 0, got 0"),
        (["Z.npy", "--labels", "y.npy", "--temperature", "1e-4"], "past the 600"),
        (["Z.npy", "--labels", "y.npy", "--negatives", "0,2"], "at least 1, got 0"),
        (["Z.npy", "--labels", "numbers.npy"], "continuous targets"),
        (["missing.npy", "--labels", "y.npy"], "missing.npy"),
        (["--optimizer", "sgd"], "add --trained"),
        (["--method", "vicreg, infonce"], "name one of them"),
        (["--data", "swiss_roll(n_samples=50)"], "labels"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_in_one_sentence(
    argv: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, _, y = write(tmp_path)
    (tmp_path / "Z0.npy").rename(tmp_path / "Z.npy")
    np.save(tmp_path / "short.npy", y[:9])
    np.save(tmp_path / "numbers.npy", y + 0.25)
    monkeypatch.chdir(tmp_path)
    code = main(["bounds", *argv, "--quiet", "--out", str(tmp_path / "run")])
    err = capsys.readouterr().err
    assert (code, said in err) == (2, True), err
    assert "Traceback" not in err


def test_json_is_strict_and_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, labels, _, _ = write(tmp_path)
    argv = ["bounds", str(file), "--labels", str(labels), "--negatives", "1,600", "--no-figures", "--json", "--quiet"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert [row["negatives"] for row in payload["rows"]] == [1, 600]


# --- the reproduction in training -------------------------------------------------------------------------------------


def test_images_are_exercised_and_named_so(tmp_path: Path) -> None:
    """Files in CIFAR's format, made here; raw dot products in the loss."""
    write_cifar10(tmp_path, per_batch=8)
    payload = EXPERIMENTS["bounds-trajectories"](
        data=f"cifar10(path='{tmp_path}')", negatives=(2,), encoder="mlp(width=8, depth=1)", n_components=4,
        batch_size=8, max_iter=4, evaluated=20, normalize=False, figures=False, out=tmp_path / "run",
    )  # fmt: skip
    assert any("exercised, not a reproduction" in note for note in payload["notes"])
    assert any("raw dot products" in note for note in payload["notes"])
    rows = [row for row in payload["rows"] if "slug" in row]
    assert [row["step"] for row in rows] == [1, 2, 4]
    assert not any(row["violated"] for row in rows)


def test_trajectories_refuse_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv, said in [
        (["--batch-size", "256"], "at least 257, got 256"),
        (["--test-size", "0"], "above 0"),
        (["--max-iter", "2"], "at least 4"),
        (["--data", "swiss_roll"], "labels"),
    ]:
        assert main(["reproduce", "bounds-trajectories", *argv, "--out", str(tmp_path / "run"), "--quiet"]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_one_class_is_named_as_it_was_written_and_one_negative_is_not_several() -> None:
    with pytest.raises(DataError, match="all 4 labels are 'a'"):
        population(np.eye(4), ["a"] * 4)
    subject = {"floor": 0.3, "ceiling": 2.0, "supervised": 1.0}
    rows = [{"negatives": 1, "lower": 0.5, "upper": 1.5}, {"negatives": 1000, "lower": 0.5, "upper": 1.7}]
    assert _headline(rows, subject).startswith("One negative puts the risk of the mean classifier between 0.5 and 1.5")
    assert _headline(rows[1:], subject).startswith("1,000 negatives put")
