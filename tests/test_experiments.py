"""What the commands compute: no leakage, counted pairs, honest rows, on data of a user's own."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import naive
import numpy as np
import pytest
import torch

import spectral_ssl as ss
from spectral_ssl.cli import main
from spectral_ssl.experiments import audit, compare_methods, explain, proofs
from spectral_ssl.experiments.compare import share_notes
from spectral_ssl.experiments.demo import corruption_rows
from spectral_ssl.experiments.rows import embed_split, relative_excess
from spectral_ssl.experiments.setting import load_data, make_setting, subsample
from spectral_ssl.runs import open_run

ROOT = Path(__file__).resolve().parent.parent

EXCESS_TOL = 1e-8  # the project's promise for a trained run against its closed form
ANGLE_TOL = 1e-5  # the same, in radians, where the relative eigenvalue gap is at least 1e-3
EXACT = "vicreg, vicreg(weighting=degree), frobenius_simclr, spectral_contrastive, barlow_twins"
ROW_KEYS = {
    "method", "model", "kind", "hyper", "loss_closed", "loss_trained", "excess", "relative_excess", "max_angle", "gap",
    "rank_closed", "rank_trained", "effective_rank", "probe_closed", "probe_trained", "knn_closed", "knn_trained",
    "seconds_closed", "seconds_trained", "converged", "solver", "note",
}  # fmt: skip


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A csv of a user's own, three classes in six features, with a pair list joining consecutive rows of a class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    X = rng.standard_normal((120, 6)) + 2 * np.eye(6)[y]
    lines = ["a,b,c,d,e,f,label"] + [
        ",".join(f"{v:.17g}" for v in row) + f",class {c}" for row, c in zip(X, y, strict=True)
    ]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    pairs = ["i,j"] + [
        f"{a},{b}" for c in range(3) for a, b in zip(*[np.flatnonzero(y == c)[s:] for s in (0, 1)], strict=False)
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(pairs) + "\n")
    return tmp_path


def promised(rows: list[dict]) -> None:
    for row in rows:
        assert row["kind"] == "exact"
        assert abs(row["relative_excess"]) <= EXCESS_TOL, row
        if row["max_angle"] is not None and (row["gap"] is None or row["gap"] >= 1e-3):
            assert row["max_angle"] <= ANGLE_TOL, row


# --- the promise, on real data --------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", ["knn(n_neighbors=10)", "labels", "views"])
def test_every_exact_method_lands_on_its_closed_form_on_digits(relation: str, tmp_path: Path) -> None:
    record = compare_methods(relation=relation, methods=EXACT, n_components=8, figures=False, out=tmp_path / "run")
    assert len(record["rows"]) == 5
    promised(record["rows"])
    # with the gap open everywhere here, every angle was judged
    assert all(row["max_angle"] is not None and row["gap"] >= 1e-3 for row in record["rows"])


def test_every_exact_method_lands_on_its_closed_form_on_a_users_csv_and_pair_list(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"),
        relation="pairs",
        pairs=mine / "pairs.csv",
        methods=EXACT,
        n_components=3,
        figures=False,
        out=mine / "run",
    )
    promised(record["rows"])
    assert all(row["probe_closed"] is not None for row in record["rows"])
    # the same optimum by scipy, from the file alone: rows split, relation cut to the training rows
    import scipy.linalg

    table = np.genfromtxt(mine / "mine.csv", delimiter=",", skip_header=1, usecols=range(6))
    listed = np.loadtxt(mine / "pairs.csv", delimiter=",", skiprows=1, dtype=int)
    train, test = load_data(str(mine / "mine.csv")).split(0.25, 0)
    A = np.zeros((120, 120))
    for i, j in listed:
        A[i, j] += 1
        A[j, i] += 1
    kept = A[np.ix_(train, train)]
    X = table[train] - table[train].mean(axis=0)
    L = np.diag(kept.sum(axis=1)) - kept
    mu = scipy.linalg.eigh(X.T @ L @ X, X.T @ X, eigvals_only=True)
    gamma = record["rows"][0]["hyper"]["invariance"]
    assert gamma == pytest.approx(1 / (2 * mu[2]), rel=1e-9)
    t = np.maximum(0, 1 - gamma * mu[:3])
    assert record["rows"][0]["loss_closed"] == pytest.approx(3 - (t**2).sum(), rel=1e-9)
    crossing = int((A.sum() - kept.sum() - A[np.ix_(test, test)].sum()) / 2) + int(A[np.ix_(test, test)].sum() / 2)
    assert record["relation"]["dropped_pairs"] == crossing


def test_data_are_named_by_a_folder_a_call_string_or_a_file(tmp_path: Path) -> None:
    # four pictures of 2 x 2 in the format of MNIST, by its description: magic, sizes, bytes
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 4, 2, 2) + pixels.tobytes())
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 4) + bytes([0, 1, 0, 1]))
    folder, named = load_data(str(tmp_path)), load_data(f"mnist(path='{tmp_path}', limit=3)")
    assert np.array_equal(folder.X, pixels.reshape(4, 4))
    assert folder.y.tolist() == [0, 1, 0, 1]
    assert np.array_equal(named.X, pixels.reshape(4, 4)[:3])
    np.save(tmp_path / "y.npy", [1, 1, 0, 0])
    assert load_data(str(tmp_path), tmp_path / "y.npy").y.tolist() == [1, 1, 0, 0]


# --- no leakage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", ["knn", "labels", "views", "sequence"])
def test_held_out_rows_change_nothing_but_their_own_scores(relation: str) -> None:
    data = ss.load_dataset("wine")
    train, test = data.split(0.25, 0)
    shaken = data.X.copy()
    shaken[test] += 1000.0
    other = ss.Dataset(name="wine", X=shaken, y=data.y)
    first, second = (make_setting(d, relation, test_size=0.25, seed=0) for d in (data, other))
    assert np.array_equal(first.data.X, second.data.X)
    assert (abs(first.graph.to_csr() - second.graph.to_csr())).sum() == 0
    assert np.array_equal(first.probe_train.X, data.X[train])


def test_views_of_one_original_stay_on_one_side_and_subsampling_keeps_them_together() -> None:
    views = ss.augment(ss.load_dataset("iris"), 3, seed=1)
    setting = make_setting(views, "views", test_size=0.3, seed=0)
    assert setting.probe_test is not None
    assert setting.data.n_samples + setting.probe_test.n_samples == views.n_samples
    assert setting.data.n_samples % 3 == 0
    fewer = subsample(setting, 20, seed=0)
    assert fewer.data.n_samples == 60
    assert fewer.graph.regular
    assert fewer.graph.degree[0] == pytest.approx(1.0)
    assert "20 of" in fewer.notes[0]


def test_views_relation_augments_training_originals_only_and_says_so() -> None:
    setting = make_setting(ss.load_dataset("digits"), "views", n_views=2, test_size=0.25, seed=0)
    assert setting.data.n_samples == 2 * setting.probe_train.n_samples
    assert "2 views each" in setting.notes[0]
    assert "shift" in setting.notes[0]


# --- rows say what they claim ---------------------------------------------------------------------------------------


def test_json_has_the_promised_shape_and_the_run_directory_repeats_it(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", "--data", str(mine / "mine.csv"), "--methods", "vicreg,infonce", "--n-components", "2"]
    assert main([*command, "--out", str(mine / "run"), "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {"data", "relation", "rows", "versions"} <= set(record)
    assert all(set(row) >= ROW_KEYS for row in record["rows"])
    run = open_run(mine / "run")
    assert run.record["status"] == "done"
    assert run.result["rows"] == record["rows"]
    arrays = run.load_arrays("arrays")
    Z, slug = arrays[f"{record['rows'][0]['slug']}/Z_closed"], record["rows"][0]["slug"]
    graph = make_setting(load_data(str(mine / "mine.csv")), "knn", test_size=0.25, seed=0).graph
    method = ss.VICReg(invariance=record["rows"][0]["hyper"]["invariance"])
    assert float(method.loss(Z, graph)) == pytest.approx(record["rows"][0]["loss_closed"], rel=1e-10)
    assert float(method.loss(arrays[f"{slug}/Z_trained"], graph)) == pytest.approx(record["rows"][0]["loss_trained"])
    assert {p.name for p in (mine / "run" / "figures").iterdir()} >= {"spectrum.png", "embedding.png", "loss.png"}


def test_bound_rows_claim_a_bound_and_lie_above_it(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"),
        methods="infonce, simclr(temperature=0.2)",
        n_components=2,
        figures=False,
        out=mine / "run",
    )
    for row in record["rows"]:
        assert row["kind"] == "bound"
        assert row["rank_closed"] is None
        assert row["excess"] >= 0
        assert row["bound_from"] in " ".join([row["note"], *record["notes"]])
    assert any("not convex" in words for words in [row["note"], *record["notes"]])


def test_rows_of_losses_beyond_the_filters_keep_their_claims(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"),
        methods="vicreg(covariance=0.3), vicreg(form=hinge), vicreg(form=constrained), ssl_ey, "
        "barlow_twins(redundancy=0.1)",
        n_components=3,
        figures=False,
        out=mine / "run",
    )
    for row in record["rows"]:
        assert row["kind"] in ("exact", "certified")
        assert row["lower_bound"] <= row["loss_closed"] + 1e-12
        size = abs(row["collapse_loss"] - row["loss_closed"])
        assert row["loss_trained"] >= row["lower_bound"] - 1e-9 * size, row
        excess = (row["loss_trained"] - row["loss_closed"]) / size
        assert excess <= (EXCESS_TOL if row["kind"] == "exact" else 1e-3), row
        if row["kind"] == "certified":
            assert "certified" in row["note"]


def test_collapsed_optimum_has_no_angle_and_says_collapsed(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"), methods="vicreg(invariance=1e6)", n_components=2, figures=False, out=mine / "run"
    )
    (row,) = record["rows"]
    assert row["rank_closed"] == 0
    assert row["max_angle"] is None
    assert "collapsed" in row["note"]
    assert row["loss_closed"] == pytest.approx(2.0)


def test_relative_excess_divides_by_the_way_to_collapse() -> None:
    assert relative_excess(3.0, 2.0, 6.0) == 0.25
    assert relative_excess(-1.0, -3.0, 0.0) == pytest.approx(2 / 3)
    assert relative_excess(5.0, 4.0, 4.0) == 0.25  # nothing between: by max(1, |closed|)
    assert relative_excess(0.5, 0.0, 0.0) == 0.5


def test_free_rows_place_held_out_rows_by_regression(mine: Path) -> None:
    free = compare_methods(data=str(mine / "mine.csv"), model="free", n_components=2, figures=False, out=mine / "free")
    promised(free["rows"])
    assert sum("kernel ridge regression" in note for note in free["notes"]) == 1  # said once, not by every row
    for row in free["rows"]:
        assert "kernel ridge regression" not in row["note"]
        # one rule for both, and equal embeddings: equal scores; three separate classes: far above a guess
        assert row["probe_closed"] == pytest.approx(row["probe_trained"])
        assert row["probe_closed"] > 0.5


def test_a_note_of_every_row_is_moved_whole_and_others_stay() -> None:
    common, own = "it is this; and not that", "it is this"
    payload = {"rows": [{"note": "old"}, {"note": ""}], "notes": ["first"]}
    share_notes(payload, [[own, common], [common]])
    assert payload == {"rows": [{"note": own}, {"note": ""}], "notes": ["first", common]}
    alone = {"rows": [{"note": ""}], "notes": []}
    share_notes(alone, [[common]])  # of a single row nothing is shared
    assert alone == {"rows": [{"note": common}], "notes": []}


def test_kernel_rows_land_on_their_closed_form_and_generalise(mine: Path) -> None:
    options = {"data": str(mine / "mine.csv"), "n_components": 2, "figures": False, "methods": EXACT}
    record = compare_methods(model="kernel", kernel="nystroem(n_landmarks=30)", ridge=1.0, out=mine / "k", **options)
    promised(record["rows"])
    for row in record["rows"]:
        assert row["model"] == "kernel"
        assert row["kernel"].startswith("nystroem(n_landmarks=30, kernel=rbf, bandwidth=")
        assert row["ridge"] == 1.0
        assert row["probe_closed"] > 0.6  # chance is 0.37
    assert {price["method"] for price in record["price_of_linearity"]} == {m.split("(")[0] for m in EXACT.split(", ")}
    # a ridge costs training loss; without one, every landmark is used
    bare = compare_methods(model="kernel", kernel="nystroem(n_landmarks=30)", out=mine / "b", **options)
    for with_ridge, without in zip(record["rows"][1:], bare["rows"][1:], strict=True):
        if with_ridge["hyper"] == without["hyper"]:
            assert with_ridge["loss_closed"] > without["loss_closed"]


def test_what_a_kernel_lost_is_a_note_of_the_run(mine: Path) -> None:
    np.save(mine / "far.npy", np.random.default_rng(0).standard_normal((60, 3)) + 1e4)
    record = compare_methods(
        data=str(mine / "far.npy"), model="kernel", kernel="polynomial(degree=2)",
        methods="vicreg, infonce(similarity=dot)", n_components=1, infonce_originals=30, max_iter=5,
        figures=False, out=mine / "r",
    )  # fmt: skip
    assert sum("hide them" in note for note in record["notes"]) == 1
    assert ["hide them" in row["note"] for row in record["rows"]] == [False, True]  # on a subsample of its own


def test_the_price_of_linearity_is_never_negative(mine: Path) -> None:
    linear = compare_methods(data=str(mine / "mine.csv"), n_components=2, figures=False, out=mine / "linear")
    assert len(linear["price_of_linearity"]) == 4
    for price in linear["price_of_linearity"]:
        assert price["loss_linear"] >= price["loss_free"] - 1e-9 * abs(price["loss_free"])


def test_reference_scores_are_scikit_learns() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    data = ss.load_dataset("iris")
    record = compare_methods(data="iris", n_components=2, methods="vicreg", figures=False, out=None)
    train, test = data.split(0.25, 0)
    witness = KNeighborsClassifier(5).fit(data.X[train], data.y[train]).score(data.X[test], data.y[test])
    assert record["reference"]["knn_raw"] == pytest.approx(witness)


def test_corruption_leaves_small_invariance_vicreg_alone_when_K_reaches_the_rank() -> None:
    setting = make_setting(ss.load_dataset("digits"), "labels", test_size=0.25, seed=0)
    rows = corruption_rows(setting, "vicreg, frobenius_simclr", (64,), (0.0, 1.0), seed=0)
    probe = {(r["method"], r["rate"]): r["probe"] for r in rows}
    rank = {(r["method"], r["rate"]): r["rank"] for r in rows}
    assert rank["vicreg", 1.0] == 61  # digits: 64 pixels, 3 always blank
    assert rank["frobenius_simclr", 1.0] == 10
    assert probe["vicreg", 1.0] > 0.9 > 0.6 > probe["frobenius_simclr", 1.0]


# --- networks, minibatches, seeds ------------------------------------------------------------------------------------

QUICK = {"optimizer": "adam", "batch_size": 32, "max_iter": 40, "n_components": 2, "figures": False}


def test_a_network_stands_between_collapse_and_the_least_over_all_embeddings(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"), methods=f"{EXACT}, infonce", encoder="mlp(width=16, depth=1)", dtype="float64",
        out=mine / "r", **QUICK,
    )  # fmt: skip
    assert record["price_of_linearity"] == []
    assert record["recipe"][0] == "encoder mlp(width=16, depth=1)"
    graph = make_setting(load_data(str(mine / "mine.csv")), "knn", test_size=0.25, seed=0).graph
    X = make_setting(load_data(str(mine / "mine.csv")), "knn", test_size=0.25, seed=0).data.X
    for row in record["rows"]:
        assert row["model"] == "mlp"
        assert row["encoder"] == "mlp(width=16, depth=1)"
        assert row["training"]["batch_size"] == 32
        assert row["training"]["optimizer"] == "adam"
        assert row["probe_trained"] is not None
        references = row["references"]
        if row["method"] == "infonce":
            assert references["linear"]["loss"] is None
            assert "not convex" in references["linear"]["why"]
            assert "no least loss over kernel and linear maps" in row["note"]
            assert references["free"]["kind"] == row["kind"] == "certified"
            assert row["loss_trained"] > references["free"]["lower_bound"]
            continue
        # one loss, hence one set of numbers in all three: the same minima as by hand at the hyper-parameters of the row
        method = replace(parse_one(row["method"]), **row["hyper"])
        assert references["free"]["loss"] == pytest.approx(ss.optimum(method, graph, 2).loss, rel=1e-9)
        assert references["linear"]["loss"] == pytest.approx(ss.optimum(method, graph, 2, X=X).loss, rel=1e-9)
        assert references["kernel"]["kernel"].startswith("nystroem(n_landmarks=22")  # a quarter of 90 rows
        kernel = ss.optimum(method, graph, 2, X=X, kernel="nystroem(n_landmarks=22)")
        assert references["kernel"]["loss"] == pytest.approx(kernel.loss, rel=1e-9)
        free, slack = references["free"]["loss"], 1e-9 * abs(row["collapse_loss"] - references["free"]["loss"])
        assert free - slack <= min(references["kernel"]["loss"], references["linear"]["loss"], row["loss_trained"])
        assert row["loss_closed"] == free
        assert row["relative_excess"] == pytest.approx((row["loss_trained"] - free) / (row["collapse_loss"] - free))
        assert "no encoder can get below" in " ".join([row["note"], *record["notes"]])


def parse_one(text: str) -> ss.Method:
    from spectral_ssl.experiments.rows import parse_methods

    return parse_methods(text)[0]


def test_numbers_left_to_the_data_are_those_of_linear_maps_for_a_network(mine: Path) -> None:
    options = {"data": str(mine / "mine.csv"), "methods": "vicreg", **QUICK}
    network = compare_methods(encoder="mlp(width=4, depth=1)", dtype="float64", out=mine / "a", **options)
    linear = compare_methods(out=mine / "b", **options)
    assert network["rows"][0]["hyper"] == linear["rows"][0]["hyper"]
    assert network["rows"][0]["references"]["linear"]["loss"] == pytest.approx(linear["rows"][0]["loss_closed"])


def test_a_network_may_be_wider_than_the_data_and_then_has_no_linear_reference(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"), methods="frobenius_simclr", encoder="mlp(width=16, depth=1)", dtype="float64",
        out=mine / "r", **{**QUICK, "n_components": 8},
    )  # fmt: skip
    (row,) = record["rows"]
    assert row["references"]["linear"]["loss"] is None
    assert "8" in row["references"]["linear"]["why"]
    assert f"no least loss over linear maps: {row['references']['linear']['why']}" in row["note"]
    assert row["references"]["free"]["loss"] <= row["loss_trained"]


def test_minibatch_rows_keep_the_closed_form_of_their_model_and_say_how_they_were_trained(mine: Path) -> None:
    record = compare_methods(data=str(mine / "mine.csv"), methods=EXACT, out=mine / "r", **QUICK)
    exact = compare_methods(data=str(mine / "mine.csv"), methods=EXACT, n_components=2, figures=False, out=mine / "e")
    for row, of in zip(record["rows"], exact["rows"], strict=True):
        assert row["loss_closed"] == of["loss_closed"]
        assert row["references"] is None
        assert row["relative_excess"] > 1e-6  # 40 noisy steps arrive nowhere
        assert row["training"] | {"schedule": "constant", "dtype": "float64"} == row["training"]
        assert row["seconds_trained"] > 0
    assert record["recipe"] == ["trained by adam", "batches of 32 pairs"]
    assert any("last iterate" in note for note in record["notes"] + [row["note"] for row in record["rows"]])


def test_a_monitor_writes_its_history_and_a_figure(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"), methods="vicreg, barlow_twins", n_components=2, monitor=5, out=mine / "r"
    )
    arrays = open_run(mine / "r").load_arrays("arrays")
    for row in record["rows"]:
        history = {
            key.split("/monitor_")[1]: v for key, v in arrays.items() if key.startswith(f"{row['slug']}/monitor_")
        }
        assert {"step", "seconds", "loss", "relative_excess", "effective_rank", "max_angle", "knn"} <= set(history)
        assert abs(history["relative_excess"][-1] - row["relative_excess"]) <= EXCESS_TOL
        assert history["effective_rank"][-1] == pytest.approx(row["monitor_closed"]["effective_rank"], rel=1e-6)
    assert (mine / "r" / "figures" / "monitor.png").exists()
    bare = compare_methods(data=str(mine / "mine.csv"), methods="vicreg", n_components=2, out=mine / "b")
    assert bare["rows"][0]["loss_trained"] == record["rows"][0]["loss_trained"]  # bit for bit
    assert not any("monitor" in key for key in open_run(mine / "b").load_arrays("arrays"))
    assert not (mine / "b" / "figures" / "monitor.png").exists()


def test_minibatch_training_is_looked_at_without_being_asked(mine: Path) -> None:
    compare_methods(data=str(mine / "mine.csv"), methods="vicreg", out=mine / "r", **QUICK)
    steps = open_run(mine / "r").load_arrays("arrays")["knn.vicreg.linear.2/monitor_step"]
    assert steps[0] == 1
    assert steps[-1] == 40
    off = compare_methods(data=str(mine / "mine.csv"), methods="vicreg", monitor=0, out=mine / "o", **QUICK)
    assert not any("monitor" in key for key in open_run(mine / "o").load_arrays("arrays"))
    assert off["rows"][0]["monitor_closed"] is None


def test_seeds_show_the_median_run_and_the_spread_of_all(mine: Path) -> None:
    options = {"data": str(mine / "mine.csv"), "methods": "vicreg, spectral_contrastive", "n_components": 2}
    options |= {"max_iter": 15, "figures": False}
    record = compare_methods(seeds=3, out=mine / "r", **options)
    setting = make_setting(load_data(str(mine / "mine.csv")), "knn", test_size=0.25, seed=0)
    for row in record["rows"]:
        runs = [
            ss.train(parse_one(row["method"]), setting.graph, 2, X=setting.data.X, seed=seed, max_iter=15)
            for seed in range(3)
        ]
        losses = [run.loss for run in runs]
        assert row["seeds"]["losses"] == pytest.approx(losses, rel=1e-12)
        assert row["seeds"]["loss"]["max"] == pytest.approx(max(losses))
        assert row["loss_trained"] == pytest.approx(np.median(losses))
        low = (min(losses) - row["loss_closed"]) / (row["collapse_loss"] - row["loss_closed"])
        assert row["seeds"]["relative_excess"]["min"] == pytest.approx(low)
        # the band: the best loss so far, lowest and highest of the three; a run that ended stays where it was
        band = open_run(mine / "r").load_arrays("arrays")
        length = max(run.losses.size for run in runs)
        assert any(np.any(np.diff(run.losses) > 0) for run in runs)  # a line search overshoots
        for name, pick in (("low", min), ("high", max)):
            expected = [pick(run.losses[: n + 1].min() for run in runs) for n in range(length)]
            assert band[f"{row['slug']}/losses_{name}"] == pytest.approx(expected, rel=1e-12)


def test_a_checkpoint_goes_on_where_a_shorter_comparison_stopped(mine: Path) -> None:
    options = {"data": str(mine / "mine.csv"), "methods": "vicreg, barlow_twins", **QUICK}
    whole = compare_methods(out=mine / "w", **options)
    compare_methods(out=mine / "s", checkpoint=mine / "kept", **{**options, "max_iter": 15})
    resumed = compare_methods(out=mine / "r", checkpoint=mine / "kept", **options)
    for row, other in zip(resumed["rows"], whole["rows"], strict=True):
        assert row["loss_trained"] == other["loss_trained"]  # bit for bit
    assert sorted(path.name for path in (mine / "kept").iterdir()) == [
        "knn.barlow_twins.linear.2",
        "knn.vicreg.linear.2",
    ]


def test_rows_of_one_method_keep_checkpoints_of_their_own(mine: Path) -> None:
    options = {"data": str(mine / "mine.csv"), **QUICK}
    methods = "vicreg(invariance=0.5), vicreg(invariance=0.1), vicreg"
    whole = compare_methods(methods=methods, out=mine / "w", **options)
    kept = mine / "kept"
    compare_methods(methods=methods, out=mine / "s", checkpoint=kept, **{**options, "max_iter": 15})
    turned = ", ".join(reversed(methods.split(", ")))
    resumed = compare_methods(methods=turned, out=mine / "r", checkpoint=kept, **options)
    losses = [row["loss_trained"] for row in whole["rows"]]
    assert [row["loss_trained"] for row in reversed(resumed["rows"])] == losses  # bit for bit
    assert {path.name for path in kept.iterdir()} == {
        "knn.vicreg.invariance=0.5.linear.2",
        "knn.vicreg.invariance=0.1.linear.2",
        "knn.vicreg.linear.2",
    }


# --- where nothing is held out --------------------------------------------------------------------------------------


def left_out(Z: np.ndarray, y: np.ndarray, source: np.ndarray) -> float:
    """kNN score by plain loops, rows of a row's own source left out: accuracy, or R^2."""
    found = []
    for i in range(len(Z)):
        others = sorted((j for j in range(len(Z)) if source[j] != source[i]), key=lambda j: np.sum((Z[i] - Z[j]) ** 2))
        near = list(y[others[:5]])
        found.append(np.mean(near) if y.dtype.kind == "f" else min(set(near), key=lambda c: (-near.count(c), c)))
    wrong = np.sum((y - found) ** 2) if y.dtype.kind == "f" else np.sum(y != found)
    return float(1 - wrong / (np.sum((y - y.mean()) ** 2) if y.dtype.kind == "f" else len(y)))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("views", ["none", "in the data", "made"])
def test_neighbours_leave_out_a_row_and_its_other_views_where_nothing_is_held_out(
    kind: str, views: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    originals = rng.standard_normal((40, 4))
    y = rng.integers(0, 2, 40) if kind == "classes" else rng.standard_normal(40)  # labels that nothing tells
    source = np.repeat(np.arange(40), 3)
    data = ss.Dataset(name="mine", X=originals, y=y)
    if views == "in the data":
        X = originals[source] + 0.01 * rng.standard_normal((120, 4))
        data = ss.Dataset(name="mine", X=X, y=y[source], source=source)
    relation = "knn" if views == "none" else "views"
    options = {"relation": relation, "n_components": 2, "methods": "vicreg", "test_size": 0.0, "figures": False}
    options |= {"n_views": 3, "transforms": "noise(scale=0.01)"} if views == "made" else {}
    for model in ("linear", "free"):
        record = compare_methods(data=data, model=model, max_iter=5, out=tmp_path / model, **options)
        (row,) = record["rows"]
        own = np.arange(40) if data.source is None else data.source
        assert record["reference"]["knn_raw"] == pytest.approx(left_out(data.X, data.y, own), abs=1e-12)
        Z = open_run(tmp_path / model).load_arrays("arrays")[f"{row['slug']}/Z_trained"]
        y_seen, own = data.y, own
        if views == "made" and model == "free":
            y_seen, own = y[source], source
        if views != "made" or model == "free":  # linear maps of made views are judged on the originals
            assert row["knn_trained"] == pytest.approx(left_out(Z, y_seen, own), abs=1e-12)
        assert row["knn_trained"] < 0.7  # each row's own vote, or its other views', would give its label away
        assert "kNN is leave-one-out" in row["note"]


# --- audit and explain ----------------------------------------------------------------------------------------------


def test_audit_reports_zero_excess_at_an_optimum_and_the_loss_of_any_other(mine: Path) -> None:
    data = load_data(str(mine / "mine.csv"))
    graph = ss.relations.knn(data)
    best = ss.optimum(ss.FrobeniusSimCLR(), graph, 2)
    np.save(mine / "best.npy", best.embedding.Z)
    options = {"data": str(mine / "mine.csv"), "relation": "knn"}
    (row,) = audit(mine / "best.npy", methods="frobenius_simclr", out=mine / "a", **options)["rows"]
    assert row["relative_excess"] == pytest.approx(0, abs=1e-12)
    Z = np.random.default_rng(0).standard_normal((120, 2))
    np.save(mine / "noise.npy", Z)
    (row,) = audit(mine / "noise.npy", methods="frobenius_simclr", out=mine / "b", **options)["rows"]
    A = graph.to_csr().toarray()
    assert row["loss"] == pytest.approx(np.linalg.norm(Z @ Z.T - A) ** 2)
    # the best K x K head, by scipy on the two columns
    import scipy.linalg

    g = scipy.linalg.eigh(Z.T @ A @ Z, Z.T @ Z, eigvals_only=True)
    assert row["attainable_linear_head"] == pytest.approx((A**2).sum() - (np.maximum(g, 0) ** 2).sum())
    assert row["loss"] > row["attainable_linear_head"] > row["attainable"]


def small_infonce(folder: Path, K: int = 2) -> tuple[ss.Graph, np.ndarray, dict]:
    """A relation of 24 rows in a file, an embedding in another, and how audit is asked about them."""
    rng = np.random.default_rng(0)
    np.save(folder / "X.npy", rng.standard_normal((24, 3)))
    Z = rng.standard_normal((24, K))
    np.save(folder / "Z.npy", Z)
    graph = ss.relations.knn(load_data(str(folder / "X.npy")), n_neighbors=4)
    return graph, Z, {"data": str(folder / "X.npy"), "relation": "knn(n_neighbors=4)", "methods": "infonce"}


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_audit_proves_how_far_any_embedding_is_from_the_least_loss(similarity: str, tmp_path: Path) -> None:
    graph, Z, options = small_infonce(tmp_path)
    A = torch.as_tensor(graph.to_csr().toarray())
    if similarity == "dot":
        options["methods"], Z = "infonce(similarity=dot)", Z / np.linalg.norm(Z)

        def loss(B: torch.Tensor) -> torch.Tensor:
            return naive.info_nce(B / torch.sqrt(1 + (B**2).sum()), A, 0.5, cosine=False)
    else:

        def loss(B: torch.Tensor) -> torch.Tensor:
            return naive.info_nce(B, A, 0.5)

    (row,) = audit(tmp_path / "Z.npy", out=tmp_path / "a", **options)["rows"]
    at_Z = naive.value(naive.info_nce, Z, A, temperature=0.5, cosine=similarity == "cosine")
    least, _ = naive.minimise(loss, (24, 2), scale=0.3)
    assert row["loss"] == pytest.approx(at_Z, rel=1e-12)
    assert row["certificate"]["value"] == pytest.approx(at_Z, rel=1e-12)
    # nothing in two dimensions, nor in any number of them, is below what is proven
    wide, _ = naive.minimise(loss, (24, 24), scale=0.3, starts=1)
    assert row["certificate"]["lower_bound"] <= wide <= least + 1e-9
    assert row["lower_bound"] <= least + 1e-9
    assert row["gap"] == pytest.approx(at_Z - row["lower_bound"], rel=1e-12)
    assert row["lower_bound"] >= row["certificate"]["lower_bound"]
    assert row["bound_from"] in row["note"]
    assert "proven: Z is at most" in row["note"]
    # the best proof at hand is a good one: most of the way from collapse to the least loss is its own
    collapse = float(A.sum()) * np.log(23)
    assert collapse - row["lower_bound"] <= 1.6 * (collapse - least)
    assert row["kind"] == "certified"
    assert row["attainable"] == pytest.approx(least, rel=1e-5)


def test_audit_of_a_good_embedding_is_certified_by_itself_where_nothing_is_solved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, _, options = small_infonce(tmp_path)
    A = torch.as_tensor(graph.to_csr().toarray())
    least, Z = naive.minimise(lambda B: naive.info_nce(B, A, 0.5), (24, 23), starts=1)
    np.save(tmp_path / "Z.npy", Z)
    monkeypatch.setattr(proofs, "SOLVE_MAX", 10)
    (row,) = audit(tmp_path / "Z.npy", out=tmp_path / "a", **options)["rows"]
    assert row["kind"] == "bound"
    assert row["bound_from"] == "the certificate of Z itself"
    assert row["attainable"] == row["lower_bound"] == pytest.approx(least, rel=1e-5)
    assert "up to 10 only" in row["note"]


def test_a_certificate_that_cannot_be_had_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, Z, options = small_infonce(tmp_path)
    blind = Z.copy()
    blind[3] = 0.0  # a row without a direction
    np.save(tmp_path / "blind.npy", blind)
    monkeypatch.setattr(proofs, "SOLVE_MAX", 10)
    (row,) = audit(tmp_path / "blind.npy", out=tmp_path / "a", **options)["rows"]
    assert row["certificate"] is None
    assert row["lower_bound"] == pytest.approx(ss.InfoNCE().lower_bound(graph, 2))
    assert row["bound_from"] == "the relation alone"

    def too_large(*arguments: object) -> object:
        raise ss.ResourceError("too large")

    monkeypatch.setattr(ss.InfoNCE, "certificate", too_large)
    (row,) = audit(tmp_path / "Z.npy", out=tmp_path / "b", **options)["rows"]
    assert row["certificate"] is None
    assert row["lower_bound"] is not None
    record = compare_methods(
        data=options["data"], methods="infonce", n_components=2, max_iter=5, test_size=0.0, figures=False,
        out=tmp_path / "c",
    )  # fmt: skip
    assert record["rows"][0]["lower_bound"] is not None


def test_compare_bounds_cosine_linear_infonce_by_the_best_proof_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, _, options = small_infonce(tmp_path)
    A = torch.as_tensor(graph.to_csr().toarray())
    ask = {"data": options["data"], "relation": options["relation"], "methods": "infonce", "n_components": 2}
    ask |= {"test_size": 0.0, "figures": False}
    (row,) = compare_methods(out=tmp_path / "a", **ask)["rows"]
    least, _ = naive.minimise(lambda B: naive.info_nce(B, A, 0.5), (24, 2))
    assert row["kind"] == "bound"
    assert row["references"] is None
    assert ss.InfoNCE().lower_bound(graph, 2) < row["lower_bound"] <= least + 1e-9 <= row["loss_trained"] + 2e-9
    assert row["loss_closed"] == row["lower_bound"]
    assert "optimum over all embeddings of 2 dimensions" in row["bound_from"]
    assert f"the lower bound is proven by {row['bound_from']}" in row["note"]
    monkeypatch.setattr(proofs, "SOLVE_MAX", 10)
    # without the search the larger of two remains: of a trained embedding, and of the relation and K
    for temperature in (0.5, 10.0):
        ask["methods"], method = f"infonce(temperature={temperature})", ss.InfoNCE(temperature=temperature)
        (row,) = compare_methods(out=tmp_path / str(temperature), **ask)["rows"]
        Z = open_run(tmp_path / str(temperature)).load_arrays("arrays")[f"{row['slug']}/Z_trained"]
        least, _ = naive.minimise(lambda B, tau=temperature: naive.info_nce(B, A, tau), (24, 2))
        proven = {
            "the certificate of the trained embedding": method.certificate(Z, graph).lower_bound,
            "the relation alone": method.lower_bound(graph, 2),
        }
        assert row["lower_bound"] == pytest.approx(max(proven.values()), rel=1e-12)
        assert row["bound_from"] == max(proven, key=lambda name: proven[name])
        assert row["lower_bound"] <= least + 1e-9


@pytest.mark.parametrize(("methods", "model"), [("infonce", "free"), ("infonce(similarity=dot)", "linear")])
def test_compare_certifies_infonce_where_it_is_convex(methods: str, model: str, tmp_path: Path) -> None:
    _, _, options = small_infonce(tmp_path)
    record = compare_methods(
        data=options["data"], relation=options["relation"], methods=methods, model=model, n_components=3,
        test_size=0.0, figures=False, out=tmp_path / "a",
    )  # fmt: skip
    (row,) = record["rows"]
    assert row["kind"] == "certified"
    size = row["collapse_loss"] - row["loss_closed"]
    assert row["lower_bound"] <= row["loss_closed"] <= row["loss_trained"] + 1e-6 * size
    assert row["loss_trained"] >= row["lower_bound"] - 1e-9 * size
    if methods.endswith("dot)"):
        assert row["loss_closed"] - row["lower_bound"] <= 1e-5 * size  # rank 3 of 3: convex, nothing is lost


def test_audit_calls_a_collapsed_representation_collapsed(mine: Path) -> None:
    line = np.random.default_rng(0).standard_normal((120, 1)) @ np.ones((1, 4))
    np.save(mine / "line.npy", line + 1e-4 * np.random.default_rng(1).standard_normal((120, 4)))
    record = audit(mine / "line.npy", data=str(mine / "mine.csv"), out=mine / "a")
    assert record["summary"]["collapsed"]
    assert "collapse" in record["notes"][0]


def test_audit_judges_dot_similarities_within_their_radius(mine: Path) -> None:
    y = np.repeat([0, 1, 2], 20)
    np.save(mine / "Z.npy", 10 * np.eye(3)[y])
    np.save(mine / "y.npy", y)
    (row,) = audit(
        mine / "Z.npy", labels=mine / "y.npy", relation="labels", methods="infonce(similarity=dot)", out=mine / "a"
    )["rows"]
    # by hand, at |Z|^2 = 1: equal samples have similarity 1/60, others 0; every one of 60 has 19 positives, of 1/20
    s, same = 60 * 19 / 20, np.exp(2 / 60)
    witness = -s * 2 / 60 + s * np.log(19 * same + 40)
    assert row["loss"] == pytest.approx(witness, rel=1e-12)
    assert row["kind"] == "exact"
    assert row["loss"] > row["attainable"]
    assert "radius=1" in row["note"]
    assert "trained" not in row["note"]


def test_audit_of_a_constant_representation_keeps_every_row(mine: Path) -> None:
    np.save(mine / "zero.npy", np.zeros((120, 3)))
    record = audit(
        mine / "zero.npy", data=str(mine / "mine.csv"), methods="vicreg, vicreg(form=constrained)", out=mine / "a"
    )
    first, second = record["rows"]
    assert first["loss"] == pytest.approx(3)  # no variance in three columns
    assert second["attainable_linear_head"] is None
    assert "no linear head: Z has rank 0 of 3 columns" in second["note"]


def test_audit_speaks_of_the_representation_where_it_is_wider_than_long(mine: Path) -> None:
    np.save(mine / "wide.npy", np.random.default_rng(0).standard_normal((20, 30)))
    with pytest.raises(ss.DataError, match="representation has 30 columns for 20 rows"):
        audit(mine / "wide.npy", out=mine / "a")
    assert not (mine / "a").exists()


def test_free_rows_without_a_regression_keep_their_losses(mine: Path) -> None:
    X, y = np.ones((60, 2)), np.arange(60) % 3
    np.save(mine / "same.npy", X)
    np.save(mine / "y.npy", y)
    np.save(mine / "bit.npy", (np.arange(60) < 6).astype(float)[:, None])
    options = {"labels": mine / "y.npy", "relation": "labels", "methods": "vicreg", "model": "free", "n_components": 1}
    (row,) = compare_methods(data=str(mine / "same.npy"), figures=False, out=mine / "a", **options)["rows"]
    assert row["probe_closed"] is None
    assert "cannot be placed" in row["note"]
    (row,) = compare_methods(data=str(mine / "bit.npy"), figures=False, out=mine / "b", **options)["rows"]
    assert row["probe_closed"] is not None


def test_probes_learn_from_the_embedding_itself_not_from_its_extension(mine: Path) -> None:
    # an extension can fail on training rows (lonely samples, repeated rows), Z cannot
    setting = make_setting(load_data(str(mine / "mine.csv")), "knn", seed=0)
    best = ss.optimum(ss.VICReg(invariance=0.01), setting.graph, 3).embedding
    blind = replace(best, extension=lambda X: np.zeros((len(X), 3)))
    Z, y, _, _ = embed_split(setting, blind)
    assert np.array_equal(Z, best.Z)
    assert np.array_equal(y, setting.probe_train.y)


@pytest.mark.parametrize(
    ("methods", "relation", "model", "n_components"),
    [
        ("infonce", "labels", "free", 2),
        ("infonce", "knn", "free", 2),
        ("infonce", "labels", "linear", 2),
        ("vicreg", "knn", "linear", 2),
        ("vicreg(form=hinge)", "knn", "linear", 2),
        ("vicreg(form=hinge, variance=9)", "knn", "linear", 2),
        ("barlow_twins(redundancy=0.01)", "knn", "free", 3),
        ("barlow_twins", "knn", "free", 3),
    ],
)
def test_explain_claims_what_compare_delivers(
    methods: str, relation: str, model: str, n_components: int, tmp_path: Path
) -> None:
    # classes of one size, so that labels are balanced cliques
    rng = np.random.default_rng(0)
    data = ss.Dataset(name="mine", X=rng.standard_normal((60, 4)), y=np.arange(60) % 3)
    options = {"relation": relation, "methods": methods, "model": model, "n_components": n_components, "test_size": 0.0}
    (plan,) = explain(data=data, **options)["plan"]  # type: ignore[arg-type]
    (row,) = compare_methods(data=data, figures=False, max_iter=5, out=tmp_path / "r", **options)["rows"]
    assert row["kind"] in plan["kind"].split(" or ")
    assert plan["closed_form"] == (row["kind"] != "bound")
    depends = "hinge)" in methods or "redundancy" in methods
    assert (" or " in plan["kind"]) == depends


def test_explain_of_a_network_tells_its_references_and_that_longer_training_costs_more() -> None:
    options = {"data": "iris", "methods": "vicreg, infonce", "n_components": 2}
    network = explain(encoder="mlp(width=64, depth=2)", optimizer="adam", batch_size=64, max_iter=1000, **options)
    for row in network["plan"]:
        assert row["model"] == "mlp"
        assert "kernel and linear" in row["solver"] or "search over all embeddings" in row["solver"]
    assert network["recipe"][:2] == ["encoder mlp(width=64, depth=2)", "trained by adam"]
    seconds = [network["plan"][0]["seconds_estimate"]]
    for change in ({"max_iter": 4000}, {"seeds": 5}, {"batch_size": 4096}, {"encoder": "mlp(width=2048, depth=2)"}):
        more = {"encoder": "mlp(width=64, depth=2)", "optimizer": "adam", "batch_size": 64, "max_iter": 1000, **change}
        seconds.append(explain(**more, **options)["plan"][0]["seconds_estimate"])
    assert min(seconds[1:]) > 1.5 * seconds[0]
    with pytest.raises(ss.DataError, match="did you mean 'adam'"):
        explain(optimizer="adm", **options)


def test_the_record_of_a_run_repeats_it_and_explains_a_comparison(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mine)
    np.save("Z.npy", np.random.default_rng(0).standard_normal((120, 2)))
    compare = (
        "compare --data mine.csv --n-components 2 --methods vicreg --no-figures --max-iter 5 --out c --quiet --json"
    )
    audited = "audit Z.npy --data mine.csv --methods vicreg --standardize --out a --quiet --json"
    commands = [compare, "compare --config c/run.json --out c2 --quiet --json", audited]
    commands += ["audit --config a/run.json --out a2 --quiet --json", "explain --config c/run.json --quiet --json"]
    found = []
    for command in commands:
        assert main(command.split()) == 0, capsys.readouterr().err
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["rows"][0]["loss_trained"] == found[1]["rows"][0]["loss_trained"]
    assert found[2]["rows"] == found[3]["rows"]
    assert open_run(mine / "a").record["seed"] is None  # an audit draws nothing, and so has no such option
    assert main(["audit", "Z.npy", "--seed", "1"]) == 2
    assert [row["method"] for row in found[4]["plan"]] == ["vicreg"]
    assert found[4]["data"] == found[0]["data"]


def test_the_record_of_a_demo_repeats_it(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("spectral_ssl.experiments.demo")
    small = {"RELATIONS_SHOWN": ("labels",), "METHODS_SHOWN": "vicreg", "TEASER_METHODS": "vicreg"}
    for name, value in {**small, "TEASER_RATES": (0.0,), "TEASER_DIMENSIONS": (8,)}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("spectral_ssl.experiments.compare.draw_figures", lambda run, payload: [])
    monkeypatch.chdir(mine)
    assert main(["demo", "--seed", "3", "--out", "d", "--quiet"]) == 0
    assert main(["demo", "--config", "d/run.json", "--out", "e", "--quiet"]) == 0
    first, second = (open_run(mine / name) for name in "de")
    assert first.record["config"]["seed"] == second.record["config"]["seed"] == 3
    assert first.result["rows"][0]["loss_closed"] == second.result["rows"][0]["loss_closed"]
    assert (first.result["methods"], first.result["n_components"]) == ("vicreg", 8)


def test_a_class_for_every_row_is_no_warning_for_programmers(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mine)
    np.save("X.npy", np.random.default_rng(0).standard_normal((40, 3)))
    np.save("y.npy", np.arange(40))
    for share in ("0", "0.25"):
        options = f"--test-size {share} --out r{share} --n-components 2 --methods vicreg --no-figures --max-iter 5"
        assert main(["compare", *f"--data X.npy --labels y.npy {options} --quiet".split()]) == 0
        assert ".py:" not in capsys.readouterr().err


def test_explain_refuses_a_ridge_as_compare_does() -> None:
    assert explain(data="iris", methods="vicreg", n_components=2, ridge=1.0)["plan"]
    for options, words in [
        ({"ridge": -1.0}, ">= 0"),
        ({"ridge": 1.0, "model": "free"}, "there is none"),
        ({"ridge": 1.0, "methods": "infonce"}, "InfoNCE"),
        ({"infonce_originals": -5}, "got -5"),
        ({"n_views": 3}, "the relation is 'knn'"),
    ]:
        with pytest.raises(ss.DataError, match=words):
            explain(data="iris", n_components=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["linear", "free"])
def test_explain_solves_and_trains_nothing(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from spectral_ssl import linalg

    for door in ("generalized_eigh", "smallest_eigenpairs"):
        monkeypatch.setattr(linalg, door, lambda *a, **k: pytest.fail("explain solved an eigenproblem"))
    record = explain(data="digits", relation="knn", methods="vicreg, infonce", model=model)
    assert [row["closed_form"] for row in record["plan"]] == [True, model == "free"]
    assert all(row["memory_mb"] > 0 and row["seconds_estimate"] > 0 for row in record["plan"])
    assert record["relation"]["n_pairs"] > 1000


# --- errors: one clear sentence, the right exit code, nothing left behind -------------------------------------------

BAD = {
    "NaN in the data": ("--data nan.npy", "NaN"),
    "a file that is not there": ("--data nope.csv", "nope.csv"),
    "a directory": ("--data .", "directory"),
    "a folder that is not there": ("--data no/such/folder", "no/such/folder"),
    "an image set without its files": ("--data mnist(path='nowhere')", "nowhere"),
    "text among numbers": ("--data text.csv", "line 3"),
    "an empty file": ("--data empty.csv", "empty"),
    "a truncated npz": ("--data broken.npz", "broken.npz"),
    "a pickled npy": ("--data pickled.npy", "pickle"),
    "one row": ("--data one.npy", "at least 2"),
    "a misspelt data set": ("--data digit", "did you mean 'digits'"),
    "a misspelt relation": ("--data mine.csv --relation knm", "did you mean 'knn'"),
    "a misspelt option of a relation": ("--data mine.csv --relation knn(n_neighbours=5)", "did you mean 'n_neighbors'"),
    "a misspelt method": ("--data mine.csv --methods vicregg", "did you mean 'vicreg'"),
    "no method": ("--data mine.csv --methods ,", "cannot read"),
    "too many neighbours": ("--data mine.csv --relation knn(n_neighbors=500)", "n_neighbors"),
    "more components than features": ("--data mine.csv --n-components 7", "at most 6"),
    "no components": ("--data mine.csv --n-components 0", "positive integer"),
    "free components beyond N - 1": ("--data mine.csv --model free --n-components 90", "at most 89"),
    "a negative weight in a pair list": ("--data mine.csv --relation pairs --pairs negative.csv", ">= 0"),
    "an index beyond the data": ("--data mine.csv --relation pairs --pairs far.csv", "0 to 119"),
    "a fractional index": ("--data mine.csv --relation pairs --pairs fraction.csv", "line 2"),
    "a pair list without pairs": ("--data mine.csv --relation pairs --pairs header.csv", "header.csv"),
    "a pair list without the relation": ("--data mine.csv --pairs far.csv", "--relation pairs"),
    "the relation without a pair list": ("--data mine.csv --relation pairs", "--pairs FILE"),
    "labels that are not there": ("--data X.npy --relation labels", "needs labels"),
    "labels of one class": ("--data X.npy --labels same.npy --relation labels", "two classes"),
    "labels of another length": ("--data X.npy --labels short.npy", "120"),
    "a negative invariance": ("--data mine.csv --methods vicreg(invariance=-1)", ">= 0"),
    "a temperature below zero": ("--data mine.csv --methods infonce(temperature=-1)", "temperature"),
    "a share out of range": ("--data mine.csv --test-size 1.5", "below 1"),
    "a GPU that is not there": ("--data mine.csv --n-components 2 --device cuda:77", "cannot be used"),
    "a misspelt kernel": ("--data mine.csv --model kernel --kernel exct", "did you mean 'exact'"),
    "a misspelt option of a kernel": ("--data mine.csv --model kernel --kernel rbf(width=2)", "bandwidth"),
    "a kernel of width zero": ("--data mine.csv --model kernel --kernel rbf(bandwidth=0)", "above 0"),
    "a kernel without the model": ("--data mine.csv --kernel exact", "model"),
    "a kernel for all embeddings": ("--data mine.csv --model free --kernel exact", "leave X and kernel out"),
    "too few landmarks": ("--data mine.csv --model kernel --kernel nystroem(n_landmarks=3)", "at most 3"),
    "a ridge below zero": ("--data mine.csv --ridge -1", ">= 0"),
    "a ridge without a map": ("--data mine.csv --model free --ridge 1", "there is none"),
    "a ridge for InfoNCE": ("--data mine.csv --methods infonce --n-components 2 --ridge 1", "InfoNCE"),
    "no room for a test": ("--data five.npy --n-components 1", "--test-size 0"),
    "a misspelt encoder": ("--data mine.csv --encoder mpl(width=4)", "did you mean 'mlp'"),
    "a misspelt option of an encoder": ("--data mine.csv --encoder mlp(widht=4)", "did you mean 'width'"),
    "an encoder without neurons": ("--data mine.csv --encoder mlp(width=0)", "width"),
    "an encoder of no data": ("--data mine.csv --model free --encoder mlp", "leave --model out"),
    "a ridge for an encoder": ("--data mine.csv --encoder mlp --ridge 1", "weight decay"),
    "a misspelt kernel beside an encoder": (
        "--data mine.csv --n-components 2 --encoder mlp --kernel exct",
        "did you mean 'exact'",
    ),
    "a misspelt optimizer": ("--data mine.csv --optimizer adm", "did you mean 'adam'"),
    "a misspelt option of an optimizer": ("--data mine.csv --optimizer sgd(momentun=0.9)", "did you mean 'momentum'"),
    "a batch of no pairs": ("--data mine.csv --optimizer adam --batch-size 0", "batch_size"),
    "batches for L-BFGS": ("--data mine.csv --batch-size 16", "lbfgs"),
    "a learning rate for L-BFGS": ("--data mine.csv --learning-rate 0.1", "lbfgs"),
    "a learning rate below zero": ("--data mine.csv --optimizer adam --learning-rate -1", "learning_rate"),
    "a misspelt schedule": ("--data mine.csv --optimizer adam --schedule cosin", "did you mean 'cosine'"),
    "a type of number that is not there": ("--data mine.csv --optimizer adam --dtype float16", "float64"),
    "no seeds": ("--data mine.csv --seeds 0", "at least 1"),
    "no evaluations": ("--data mine.csv --max-iter 0", "at least 1"),
    "a monitor below zero": ("--data mine.csv --monitor -1", "number of steps"),
    "a checkpoint that is a file": ("--data mine.csv --optimizer adam --checkpoint mine.csv", "is a file"),
    "views of a relation that makes none": ("--data mine.csv --n-views 3", "the relation is 'knn'"),
    "transforms of a relation that makes none": ("--data mine.csv --transforms noise", "the relation is 'knn'"),
    "views of views": ("--data views.csv --relation views --n-views 3", "views already"),
    "transforms that cannot be read": ("--data mine.csv --relation views --transforms noise(", "never closed"),
    "a negative number of originals": ("--data mine.csv --infonce-originals -5", "got -5"),
    "data whose squares overflow": ("--data big.npy --standardize", "4.01e+200, and squares of that overflow"),
    "data whose squares underflow": ("--data small.npy", "4.01e-200, and squares of that underflow"),
    "an image transform of vectors": ("--data mine.csv --relation views --transforms shift", "image_shape"),
}


@pytest.fixture
def bad_inputs(mine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    X = np.random.default_rng(0).standard_normal((120, 6))
    spoilt = X.copy()
    spoilt[3, 2] = np.nan
    np.save(mine / "nan.npy", spoilt)
    np.save(mine / "X.npy", X)
    np.save(mine / "one.npy", X[:1])
    np.save(mine / "big.npy", X / np.ptp(X, axis=0).max() * 4.01e200)
    np.save(mine / "small.npy", X / np.ptp(X, axis=0).max() * 4.01e-200)
    (mine / "views.csv").write_text("a,b,source\n" + "".join(f"{i},{i * i % 7},{i // 2}\n" for i in range(24)))
    np.save(mine / "five.npy", X[:5])
    np.save(mine / "same.npy", np.zeros(120, dtype=int))
    np.save(mine / "short.npy", np.zeros(7, dtype=int))
    np.save(mine / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (mine / "text.csv").write_text("a,b\n1,2\n3,x\n")
    (mine / "empty.csv").write_text("")
    (mine / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    (mine / "negative.csv").write_text("i,j,weight\n0,1,-1\n")
    (mine / "far.csv").write_text("i,j\n0,5000\n")
    (mine / "fraction.csv").write_text("i,j\n0.5,1\n")
    (mine / "header.csv").write_text("i,j\n")
    monkeypatch.chdir(mine)
    return mine


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_code_2_one_sentence_and_no_run_directory(
    case: str, bad_inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, expected = BAD[case]
    assert main(["compare", *command.split(), "--quiet"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    errors = [line for line in told.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert expected in errors[0]
    assert "Traceback" not in told.err
    assert ".py:" not in told.err  # a warning with the path of a source file is for programmers
    assert not (bad_inputs / "runs").exists()


def test_duplicate_rows_and_constant_features_are_worth_a_note_not_an_error(mine: Path) -> None:
    X = np.random.default_rng(0).standard_normal((60, 4))
    X[:, 3] = 1.0
    X[30:] = X[:30]
    np.save(mine / "dull.npy", X)
    record = compare_methods(
        data=str(mine / "dull.npy"), n_components=2, figures=False, test_size=0.0, out=mine / "run"
    )
    assert any("constant" in note for note in record["notes"])
    assert any("repeat" in note for note in record["notes"])
    promised(record["rows"])


def test_an_interrupted_comparison_keeps_its_finished_rows(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import spectral_ssl.experiments.compare as module

    real, calls = module.make_row, []

    def interrupted(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, "make_row", interrupted)
    assert (
        main(["compare", "--data", str(mine / "mine.csv"), "--n-components", "2", "--out", str(mine / "r"), "--quiet"])
        == 130
    )
    run = open_run(mine / "r")
    assert run.record["status"] == "interrupted"
    assert [row["method"] for row in run.result["rows"]] == ["vicreg"]
    assert "knn.vicreg.linear.2/Z_closed" in run.load_arrays("arrays")


# --- what the README shows works ------------------------------------------------------------------------------------


def test_the_python_of_the_readme_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["best"].loss == pytest.approx(names["run"].loss, rel=1e-9)
    assert names["path"] == [8, 8, 8] or names["path"][0] >= names["path"][-1]
    assert "positive pairs" in capsys.readouterr().out


def test_the_tables_of_the_readme_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["readme.py", "--check"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "benchmarks" / "readme.py"), run_name="__main__")
    assert end.value.code == 0, "run: python benchmarks/readme.py"


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("learned_vs_closed_form.py", ["--data", "iris", "--relation", "labels", "-K", "2", "--seeds", "2"]),
        ("aligned_vs_misaligned.py", ["--data", "iris", "-K", "4,2", "--rates", "0,1", "--seeds", "1"]),
        ("model_classes.py", ["--data", "iris", "--relation", "labels", "-K", "2", "--seeds", "1"]),
    ],
)
def test_benchmark_scripts_print_a_table_and_write_json(script: str, options: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *options, "--json", str(tmp_path / "r.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["rows"]
    assert record["machine"]["versions"]["torch"]
    assert "vicreg" in done.stdout


def test_all_public_names_are_themselves_whatever_was_imported_first() -> None:
    # a submodule of the same name would replace a function on import
    code = (
        "import importlib, pkgutil, spectral_ssl as ss\n"
        "for m in pkgutil.walk_packages(ss.__path__, 'spectral_ssl.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "import types\n"
        "bad = [n for n in ss._PUBLIC if isinstance(getattr(ss, n), types.ModuleType)]\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_rank_counts_no_direction_that_only_rounding_made() -> None:
    # 30 features of unlike units, nearly collinear: eigenvalues of the label pencil that are zero come out near 1e-11
    data = ss.load_dataset("breast_cancer")
    graph = ss.relations.labels(data)
    assert ss.optimum(ss.FrobeniusSimCLR(), graph, 8, X=data.X).rank == 2  # rank of X'AX: one direction per class
    assert ss.optimum(ss.SpectralContrastive(), graph, 8, X=data.X).rank == 2


def test_standardising_takes_its_statistics_from_the_training_rows() -> None:
    data = ss.load_dataset("wine")
    train, test = data.split(0.25, 0)
    setting = make_setting(data, "knn", standardize=True, test_size=0.25, seed=0)
    assert np.abs(setting.data.X.mean(axis=0)).max() < 1e-12
    assert setting.probe_test is not None
    mean, spread = data.X[train].mean(axis=0), data.X[train].std(axis=0)
    assert np.allclose(setting.probe_test.X, (data.X[test] - mean) / spread)


def test_explain_tells_methods_without_a_closed_form_and_the_subsample() -> None:
    record = explain(data="digits", methods="vicreg, vicreg(form=hinge), barlow_twins(redundancy=0.1), infonce")
    assert [row["closed_form"] for row in record["plan"]] == [True, True, True, False]
    assert "400 rows" in record["plan"][3]["note"]


def test_explain_knows_the_size_of_a_kernel() -> None:
    (row,) = explain(data="digits", methods="vicreg", model="kernel", kernel="nystroem(n_landmarks=50)")["plan"]
    assert "50 x 50" in row["solver"]
    (row,) = explain(data="digits", methods="vicreg", model="kernel")["plan"]
    assert "1347 x 1347" in row["solver"] or "1348 x 1348" in row["solver"]
    with pytest.raises(ss.ResourceError, match="nystroem"):
        explain(data="swiss_roll(n_samples=9000)", methods="vicreg", model="kernel", n_components=2)


def test_explain_refuses_more_components_than_features() -> None:
    with pytest.raises(ss.DataError, match="at most 4"):
        explain(data="iris", n_components=100)


def test_rows_carry_the_name_that_was_asked_for(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"), methods="simclr, infonce", n_components=2, figures=False, out=mine / "run"
    )
    assert [row["method"] for row in record["rows"]] == ["simclr", "infonce"]


def test_no_angle_is_judged_where_many_subspaces_are_optimal(mine: Path) -> None:
    record = compare_methods(
        data=str(mine / "mine.csv"), methods="vicreg(invariance=0)", n_components=2, figures=False, out=mine / "run"
    )
    assert record["rows"][0]["max_angle"] is None
    assert abs(record["rows"][0]["excess"]) < 1e-8


def test_figures_are_drawn_where_every_optimum_is_certified_in_few_dimensions(tmp_path: Path) -> None:
    # none of the drawn methods has a unique spectrum there
    record = compare_methods(
        data="iris",
        relation="knn(n_neighbors=5)",
        model="free",
        methods="infonce",
        n_components=2,
        test_size=0.0,
        out=tmp_path / "run",
    )
    assert record["rows"][0]["kind"] == "certified"
    assert any(Path(path).name.startswith("spectrum") for path in record["figures"])


def test_a_loss_that_nothing_trains_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    with pytest.raises(ss.DataError, match="choose n_components >= 2"):
        compare_methods(data="iris", methods="vicreg, infonce", n_components=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
