"""The command `forecast`: relations ranked, pairs judged and mended, each claim against a recount by hand."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import spectral_ssl as ss
from spectral_ssl.cli import main
from spectral_ssl.data import Dataset
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.forecast import forecast
from spectral_ssl.theory.charts import smooth_chart
from spectral_ssl.theory.forecast import forecast_score


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in 6 dimensions, as a file."""
    rng = np.random.default_rng(0)
    y = np.arange(180) % 3
    X = 2.5 * np.eye(6)[y] + rng.standard_normal((180, 6))
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    header = ",".join([*(f"x{k}" for k in range(6)), "label"])
    np.savetxt(path, np.c_[X, y], delimiter=",", header=header, comments="", fmt=["%.12g"] * 6 + ["%d"])
    return path


@pytest.fixture(scope="module")
def ranked(table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return forecast(
        data=str(table),
        relations="knn(n_neighbors=60), knn(n_neighbors=5), labels, sequence",
        augmentations="noise(scale=0.1); noise(scale=3), dropout(rate=0.5)",
        n_components=3,
        mend="knn(n_neighbors=60)",
        mend_shares=(0.02, 0.1),
        hurt=5,
        figures=False,
        out=tmp_path_factory.mktemp("runs") / "ranked",
    )


def candidates(payload: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in payload["rows"] if "slug" in row]


def test_candidates_come_best_first_and_labels_beat_pairs_of_neighbouring_rows(ranked: dict[str, Any]) -> None:
    """Rows come in an order that joins unlike classes each time: `sequence` is the worst of what is no view."""
    rows = candidates(ranked)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]
    scores = {row["relation"]: row["score"] for row in rows}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert scores["labels"] > scores["sequence"]
    assert scores["knn(n_neighbors=5)"] > scores["sequence"]
    assert set(scores) >= {"views: noise(scale=0.1)", "views: noise(scale=3), dropout(rate=0.5)"}
    assert "labels" in ranked["answer"].split(",")[0] or "knn" in ranked["answer"].split(",")[0]


def test_pairs_taken_out_change_the_energy_as_the_record_says(ranked: dict[str, Any], table: Path) -> None:
    """Energy before and after, from dense matrices by scipy on the same training rows; the share of unlike labels."""
    data = ss.load_dataset(str(table))
    train, _ = data.split(0.25, 0)
    part = data.subset(train)
    graph = ss.relations.knn(Dataset(name="rows", X=part.X), n_neighbors=60)
    Q = smooth_chart(part.X).Q
    Y = np.eye(3)[part.y]
    Y = Y - Y.mean(axis=0)

    def energy(A: Any) -> float:
        W = scipy.linalg.eigh(Q.T @ (np.diag(A.sum(axis=1)) - A) @ Q, Q.T @ Q)[1][:, :3]
        return float(np.linalg.norm(W.T @ Q.T @ Y) ** 2 / np.linalg.norm(Y) ** 2)

    told = [row for row in ranked["rows"] if row.get("what") == "solved again"]
    A = graph.to_csr().toarray()
    assert told[0]["energy"] == pytest.approx(energy(A), rel=1e-8)
    rows = {int(original): n for n, original in enumerate(train)}
    with np.load(Path(ranked["run"]) / "arrays.npz") as arrays:
        i, j = (np.array([rows[int(v)] for v in arrays[f"influence/{end}"]]) for end in "ij")
    for row in told[1:]:
        m = row["pairs_taken"]
        assert m == round(row["share"] * np.count_nonzero(np.triu(A)))
        B = A.copy()
        B[i[:m], j[:m]] = B[j[:m], i[:m]] = 0
        assert row["energy"] == pytest.approx(energy(B), rel=1e-8)
        assert row["unlike"] == pytest.approx(np.mean(part.y[i[:m]] != part.y[j[:m]]))
    assert told[-1]["energy"] > told[0]["energy"]  # mending helps, solved again
    assert ranked["worst_pairs"][0]["i"] == train[i[0]]


def test_mended_pairs_can_be_ranked_against_what_they_came_from(ranked: dict[str, Any], table: Path) -> None:
    """The file names rows of the user's data, all training rows, without the pairs taken out; the command reads it."""
    path = Path(ranked["mended"]["file"])
    with path.open() as file:
        pairs = {(int(row["i"]), int(row["j"])) for row in csv.DictReader(file)}
    worst = {(row["i"], row["j"]) for row in ranked["worst_pairs"]}
    assert not pairs & worst
    train, _ = ss.load_dataset(str(table)).split(0.25, 0)
    assert {row for pair in pairs for row in pair} <= set(train.tolist())
    again = forecast(
        data=str(table),
        relations="pairs, knn(n_neighbors=60)",
        pairs=path,
        n_components=3,
        hurt=0,
        figures=False,
        out=path.parent.parent / "again",
    )
    scores = {row["relation"]: row["score"] for row in candidates(again)}
    before = next(row["score"] for row in candidates(ranked) if row["relation"] == "knn(n_neighbors=60)")
    assert scores["knn(n_neighbors=60)"] == pytest.approx(before)
    counts = {row["relation"]: row["pairs"] for row in candidates(again)}
    assert counts["pairs"] == counts["knn(n_neighbors=60)"] - ranked["mended"]["pairs"]


def test_without_labels_pairs_of_chance_come_last(tmp_path: Path) -> None:
    """No y at all: ranked by what is visible, and the record says what that cannot see."""
    rng = np.random.default_rng(1)
    X = np.repeat(3 * rng.standard_normal((4, 5)), 40, axis=0) + rng.standard_normal((160, 5))
    path = tmp_path / "rows.csv"
    np.savetxt(path, X[rng.permutation(160)], delimiter=",")
    found = forecast(
        data=str(path), relations="knn(n_neighbors=8), sequence", n_components=2, figures=False, out=tmp_path / "run"
    )
    assert [row["relation"] for row in candidates(found)] == ["knn(n_neighbors=8)", "sequence"]
    assert any("equal style" in note for note in found["notes"])
    assert "worst_pairs" not in found


def test_the_loss_changes_the_scores_and_is_refused_where_it_cannot(table: Path, tmp_path: Path) -> None:
    """The ranking is one for the loss: another gives other scores, those of `forecast_score` on the same rows."""
    quick: dict[str, Any] = {
        "data": str(table), "relations": "knn(n_neighbors=5), sequence", "n_components": 3, "hurt": 0, "figures": False
    }  # fmt: skip
    data = ss.load_dataset(str(table))
    part = data.subset(data.split(0.25, 0)[0])
    graph = ss.relations.knn(Dataset(name="rows", X=part.X), n_neighbors=5)
    seen = []
    for name, method in (("vicreg", ss.VICReg()), ("infonce", ss.InfoNCE())):
        found = forecast(method=name, out=tmp_path / name, **quick)
        score = next(row["score"] for row in candidates(found) if row["relation"] == "knn(n_neighbors=5)")
        assert score == pytest.approx(forecast_score(graph, 3, part.y, X=part.X, method=method).score, rel=1e-6)
        seen.append(score)
    assert abs(seen[0] - seen[1]) > 1e-4
    with pytest.raises(DataError, match="judged for none"):
        forecast(method="infonce", label_free=True, out=tmp_path / "run", **quick)


@pytest.mark.slow
def test_trained_encoders_are_set_against_the_ranking(table: Path, tmp_path: Path) -> None:
    found = forecast(
        data=str(table),
        relations="knn(n_neighbors=5), labels, sequence",
        n_components=3,
        trained=True,
        encoder="mlp(width=32, depth=1)",
        max_iter=150,
        hurt=0,
        out=tmp_path / "run",
    )
    rows = candidates(found)
    rho = scipy.stats.spearmanr([r["score"] for r in rows], [r["trained_accuracy"] for r in rows])[0]
    assert f"rank correlation of {rho:.2f}" in found["answer"]
    assert (tmp_path / "run" / "figures" / "ranking.png").exists()


def test_what_cannot_be_ranked_is_refused(table: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"data": str(table), "figures": False, "out": tmp_path / "run"}
    with pytest.raises(DataError, match="two candidates"):
        forecast(relations="knn", **quick)
    with pytest.raises(DataError, match="one loss"):
        forecast(method="vicreg, barlow_twins", **quick)
    with pytest.raises(DataError, match="not among those ranked"):
        forecast(relations="knn, labels", mend="epsilon(radius=1)", **quick)
    with pytest.raises(DataError, match="mend_shares"):
        forecast(relations="knn, labels", mend_shares=(0.5, 1.0), **quick)
    with pytest.raises(DataError, match="held out"):
        forecast(relations="knn, labels", trained=True, test_size=0.0, **quick)
    two = {"relations": "knn, labels", **quick}
    for mistake, words in [
        ({"hurt": -2}, "hurt"),
        ({"n_labels": -3}, "n_labels"),
        ({"n_labels": 2}, "n_labels"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 500}, "at most"),
        ({"pairs": tmp_path / "pairs.csv"}, "pair list"),
        ({"n_views": 3}, "n_views"),
        ({"encoder": "mlpp"}, "add --trained"),
        ({"optimizer": "lbfgs"}, "add --trained"),
        ({"batch_size": -1}, "whole relation"),
        ({"batch_size": 1}, "whole relation"),
        ({"batch_size": 64, "label_free": True}, "judged for none"),
        ({"batch_size": 64, "method": "vicreg(form=hinge)"}, "whatever the batch_size"),
        ({"max_iter": 5}, "add --trained"),
    ]:
        with pytest.raises(DataError, match=words):
            forecast(**{**two, **mistake})
    same = tmp_path / "same.csv"
    rows = table.read_text().splitlines()
    same.write_text("\n".join([rows[0], *(row.rsplit(",", 1)[0] + ",0" for row in rows[1:])]))
    with pytest.raises(DataError, match="not all equal"):
        forecast(**{**two, "relations": "knn, knn(n_neighbors=3)", "data": str(same)})
    one = tmp_path / "one.csv"
    one.write_text("0,1\n")
    with pytest.raises(DataError, match="pairs: no pair lies inside a half"):
        forecast(
            **{**two, "relations": "knn, pairs", "pairs": one, "label_free": True, "n_components": 2, "test_size": 0.0}
        )
    assert not (tmp_path / "run").exists()


def test_encoders_that_are_all_alike_leave_no_order_to_hold(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("spectral_ssl.experiments.forecast"), "linear_probe_score", _half)
    found = forecast(
        data=str(table), relations="knn, labels", n_components=2, hurt=0, trained=True, encoder="mlp(width=4, depth=1)",
        max_iter=1, figures=False, out=tmp_path / "run",
    )  # fmt: skip
    assert "no order to hold" in found["answer"]
    assert "nan" not in found["answer"]


def _half(*rows: Any, **options: Any) -> float:
    return 0.5


def test_training_stopped_midway_keeps_the_ranking_and_what_was_trained(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, done = importlib.import_module("spectral_ssl.experiments.forecast"), []

    def once(*rows: Any, **options: Any) -> float:
        if done:
            raise KeyboardInterrupt
        done.append(0.5)
        return 0.5

    monkeypatch.setattr(module, "linear_probe_score", once)
    with pytest.raises(KeyboardInterrupt):
        forecast(
            data=str(table), relations="knn, labels", n_components=2, hurt=0, trained=True, max_iter=1,
            encoder="mlp(width=4, depth=1)", figures=False, out=tmp_path / "run",
        )  # fmt: skip
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "interrupted"
    kept = [row for row in record["result"]["rows"] if "rank" in row]
    assert [row["rank"] for row in kept] == [1, 2]
    assert [row.get("trained_accuracy") for row in kept] == [0.5, None]


def test_the_command_prints_the_ranking(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["forecast", "--data", str(table), "--relations", "knn, labels", "--n-components", "2", "--hurt", "0"]
    assert main([*words, "--no-figures", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    assert "comes first" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["command"].startswith("forecast")
