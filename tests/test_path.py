"""`spectral-ssl path`: every number of a row is recomputed by scikit-learn, naive losses or plain loops."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

import spectral_ssl as ss
from spectral_ssl.cli import main
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.path import path
from spectral_ssl.experiments.path_probes import told_apart

N_CLASS, D, K = 16, 6, 4
RIDGE = 0.05


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Three overlapping classes in six features, as files."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(3), N_CLASS))
    X = rng.standard_normal((y.size, D)) + 1.6 * rng.standard_normal((3, D))[y]
    folder = tmp_path_factory.mktemp("blobs")
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    return folder / "X.npy", folder / "y.npy", X, y


@pytest.fixture(scope="module")
def found(blobs: tuple, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Two thirds of the rows train; eight values of the invariance."""
    out = tmp_path_factory.mktemp("run") / "path"
    return path(
        data=str(blobs[0]), labels=blobs[1], n_components=K, n_values=8, test_size=0.33, probe_ridge=RIDGE, n_probes=3,
        figures=False, out=out,
    )  # fmt: skip


def split(blobs: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    data = ss.Dataset(name="blobs", X=blobs[2], y=blobs[3])
    train, test = data.split(0.33, 0)
    return blobs[2][train], blobs[3][train], blobs[2][test], blobs[3][test]


def test_rows_are_those_of_separate_solves_and_of_probes_that_are_fitted(blobs: tuple, found: dict) -> None:
    X, y, X_test, y_test = split(blobs)
    graph = ss.relations.knn(ss.Dataset(name="train", X=X, y=y))
    one_hot = np.eye(3)[y]
    spread = ((one_hot - one_hot.mean(axis=0)) ** 2).sum()
    assert len(found["rows"]) == 8
    sizes = [found["data"][key] for key in ("n_samples", "n_train", "n_test")]
    assert sizes == [len(X) + len(X_test), len(X), len(X_test)]
    for row in found["rows"]:
        best = ss.optimum(ss.VICReg(invariance=row["invariance"]), graph, K, X=X)
        assert row["rank"] == best.rank
        assert row["loss"] == pytest.approx(best.loss, rel=1e-9)
        if best.rank == 0:
            assert row["predicted"] == np.bincount(y).max() / y.size
            continue
        Z, Z_test = best.embedding.Z, best.embedding.transform(X_test)
        assert sorted(row["shares"], reverse=True) == pytest.approx(np.linalg.eigvalsh(np.cov(Z.T, ddof=0))[::-1])
        probe = Ridge(alpha=RIDGE * len(y))
        left = cross_val_predict(probe, Z, one_hot, cv=LeaveOneOut())
        assert row["predicted"] == pytest.approx((left.argmax(axis=1) == y).mean())
        assert row["error_left_out"] == pytest.approx(((left - one_hot) ** 2).sum() / spread)
        told = probe.fit(Z, one_hot).predict(Z_test)
        assert row["held_out"] == pytest.approx((told.argmax(axis=1) == y_test).mean())
        truth = np.eye(3)[y_test]
        assert row["error_held_out"] == pytest.approx(
            ((told - truth) ** 2).sum() / ((truth - one_hot.mean(axis=0)) ** 2).sum()
        )
        features = np.hstack([Z, np.ones((len(y), 1))])
        fitted = features @ np.linalg.lstsq(features, one_hot, rcond=1e-10)[0]
        assert row["error_fitted"] == pytest.approx(((fitted - one_hot) ** 2).sum() / spread)
    assert {row["rank"] for row in found["rows"]} >= {0, K}


def test_d5_of_a_row_is_the_fitted_error_with_twice_its_parameters_of_noise(blobs: tuple, found: dict) -> None:
    """|Y - SY|^2 + 2 noise tr S, noise from what all K directions leave; S from scikit-learn, column by column."""
    X, y, *_ = split(blobs)
    graph = ss.relations.knn(ss.Dataset(name="train", X=X, y=y))
    one_hot = np.eye(3)[y]
    spread = ((one_hot - one_hot.mean(axis=0)) ** 2).sum()
    noise = min(row["error_fitted"] for row in found["rows"]) * spread / (len(y) - 1 - K)
    row = found["rows"][2]
    Z = ss.optimum(ss.VICReg(invariance=row["invariance"]), graph, K, X=X).embedding.Z
    S = Ridge(alpha=RIDGE * len(y)).fit(Z, np.eye(len(y))).predict(Z)
    expected = ((one_hot - S @ one_hot) ** 2).sum() + 2 * noise * np.trace(S)
    assert row["error_D5"] == pytest.approx(expected / spread)


def test_the_logistic_probe_is_the_one_of_compare(blobs: tuple, found: dict) -> None:
    X, y, X_test, y_test = split(blobs)
    graph = ss.relations.knn(ss.Dataset(name="train", X=X, y=y))
    probed = [row for row in found["rows"] if row.get("held_out_logistic") is not None]
    assert 1 < len(probed) <= 3
    for row in probed:
        e = ss.optimum(ss.VICReg(invariance=row["invariance"]), graph, K, X=X).embedding
        from spectral_ssl.comparison import linear_probe_score

        expected = linear_probe_score(e.Z, y, e.transform(X_test), y_test, classification=True)
        assert row["held_out_logistic"] == pytest.approx(expected)


def test_the_best_value_is_told_with_its_standard_error_and_its_likes(found: dict) -> None:
    best, rows = found["best"], found["rows"]
    scores = [row["predicted"] for row in rows]
    n = found["data"]["n_train"]
    assert best["predicted"] == max(scores)
    assert best["value"] == rows[int(np.argmax(scores))]["invariance"]
    p = best["predicted"]
    assert best["standard_error"] == pytest.approx(np.sqrt(p * (1 - p) / (n - 1)))
    alike = [row["invariance"] for row in rows if not row["told_from_best"]]
    assert (best["low"], best["high"], best["n_alike"]) == (min(alike), max(alike), len(alike))
    assert not rows[int(np.argmax(scores))]["told_from_best"]
    assert f"{100 * best['predicted']:.3g} ±" in found["answer"]
    assert json.loads((Path(found["run"]) / "run.json").read_text())["result"]["best"] == best


def test_values_are_told_apart_by_the_rows_they_share() -> None:
    """Equal hits are never told apart; a value worse on a third of the rows is; the level holds over many values."""
    rng = np.random.default_rng(0)
    base = (rng.random(300) < 0.8).astype(float)
    worse = np.where(np.arange(300) % 3 == 0, 0.0, base)
    assert told_apart(np.stack([base, base, worse], axis=1), 0).tolist() == [False, False, True]
    # thirty values that are all the same but for chance: the best of them is told from another in one case of twenty
    false = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hits = np.where(rng.random((200, 30)) < 0.1, rng.random((200, 30)) < 0.7, base[:200, None])
        false += bool(told_apart(hits, int(hits.mean(axis=0).argmax()), seed=seed).any())
    assert false <= 6  # of 40 at 5 %: more with a chance of 1 in 200; pair by pair it is half of them


def test_with_labels_to_spare_no_value_before_the_first_death_is_better_without_ridge(blobs: tuple) -> None:
    """D7 in the command: predictions are the same, so that all values of full rank are alike and the answer says so."""
    out = path(
        data=str(blobs[0]), labels=blobs[1], n_components=K, values=[0.01, 0.05, 0.1], probe_ridge=0.0, n_probes=0,
        figures=False, out=Path(str(blobs[0]) + ".same"),
    )  # fmt: skip
    assert len({row["rank"] for row in out["rows"]}) == 1
    assert len({row["held_out"] for row in out["rows"]}) == 1
    assert "No value is better than another" in out["answer"]


def test_few_labels_are_probed_on_the_training_rows_not_drawn(blobs: tuple, tmp_path: Path) -> None:
    X, y, X_test, y_test = split(blobs)
    out = path(
        data=str(blobs[0]), labels=blobs[1], n_components=K, values=[0.02, 0.1], test_size=0.33, probe_ridge=RIDGE,
        n_labels=9, draws=5, figures=False, seed=0, out=tmp_path / "few",
    )  # fmt: skip
    graph = ss.relations.knn(ss.Dataset(name="train", X=X, y=y))
    for row in out["rows"]:
        e = ss.optimum(ss.VICReg(invariance=row["invariance"]), graph, K, X=X).embedding
        rng, predicted, measured = np.random.default_rng(0), [], []
        for _ in range(5):
            order = rng.permutation(len(y))
            on, off = order[:9], order[9:]
            probe = Ridge(alpha=RIDGE * 9).fit(e.Z[on], np.eye(3)[y[on]])
            predicted.append((probe.predict(e.Z[off]).argmax(axis=1) == y[off]).mean())
            measured.append((probe.predict(e.transform(X_test)).argmax(axis=1) == y_test).mean())
        assert row["predicted"] == pytest.approx(np.mean(predicted))
        assert row["predicted_se"] == pytest.approx(np.std(predicted, ddof=1) / np.sqrt(5))
        assert row["held_out"] == pytest.approx(np.mean(measured))


def test_numbers_are_predicted_by_r2(blobs: tuple, tmp_path: Path) -> None:
    """Labels that are numbers: R^2 of the ridge probe, left out and held out; no logistic probe."""
    X = blobs[2]
    y = X[:, 0] - 0.5 * X[:, 1] + np.random.default_rng(1).standard_normal(len(X))
    np.save(tmp_path / "numbers.npy", y)
    out = path(
        data=str(blobs[0]), labels=tmp_path / "numbers.npy", n_components=K, values=[0.02, 0.1], test_size=0.33,
        probe_ridge=RIDGE, figures=False, out=tmp_path / "r2",
    )  # fmt: skip
    train, test = ss.Dataset(name="blobs", X=X, y=y).split(0.33, 0)
    graph = ss.relations.knn(ss.Dataset(name="train", X=X[train]))
    for row in out["rows"]:
        e = ss.optimum(ss.VICReg(invariance=row["invariance"]), graph, K, X=X[train]).embedding
        probe = Ridge(alpha=RIDGE * train.size)
        left = cross_val_predict(probe, e.Z, y[train], cv=LeaveOneOut())
        assert row["predicted"] == pytest.approx(1 - ((left - y[train]) ** 2).mean() / y[train].var())
        assert row["held_out"] == pytest.approx(probe.fit(e.Z, y[train]).score(e.transform(X[test]), y[test]))
    assert "predicted R²" in out["answer"]


@pytest.mark.filterwarnings("error")
def test_one_row_left_to_predict_has_an_r2_in_units_of_all_labels(blobs: tuple, tmp_path: Path) -> None:
    X, y = blobs[2], blobs[2][:, 0] - 0.5 * blobs[2][:, 1]
    np.save(tmp_path / "numbers.npy", y)
    train, _ = ss.Dataset(name="blobs", X=X, y=y).split(0.33, 0)
    out = path(
        data=str(blobs[0]), labels=tmp_path / "numbers.npy", n_components=K, values=[0.02], test_size=0.33,
        probe_ridge=RIDGE, n_labels=train.size - 1, draws=2, figures=False, out=tmp_path / "one",
    )  # fmt: skip
    graph = ss.relations.knn(ss.Dataset(name="train", X=X[train]))
    Z = ss.optimum(ss.VICReg(invariance=0.02), graph, K, X=X[train]).embedding.Z
    rng, t, found = np.random.default_rng(0), y[train], []
    for _ in range(2):
        *on, off = rng.permutation(train.size)
        told = Ridge(alpha=RIDGE * len(on)).fit(Z[on], t[on]).predict(Z[[off]])
        found.append(1 - (told[0] - t[off]) ** 2 / t.var())
    assert out["rows"][0]["predicted"] == pytest.approx(np.mean(found))


def test_barlow_twins_is_followed_along_its_redundancy(blobs: tuple, tmp_path: Path) -> None:
    X, y, *_ = split(blobs)
    out = path(
        data=str(blobs[0]), labels=blobs[1], n_components=2, method="barlow_twins", values=[0.5, 1.0], test_size=0.33,
        n_probes=0, figures=False, out=tmp_path / "barlow",
    )  # fmt: skip
    graph = ss.relations.knn(ss.Dataset(name="train", X=X, y=y))
    for row in out["rows"]:
        best = ss.optimum(ss.BarlowTwins(redundancy=row["redundancy"]), graph, 2, X=X)
        assert (row["kind"], row["rank"]) == ("exact", best.rank)
        assert row["loss"] == pytest.approx(best.loss, rel=1e-7)
    assert out["meets"] is None


def test_where_frobenius_simclr_sits(tmp_path: Path) -> None:
    """On the cycle, d = 2, the row at gamma = alpha / d has the shares of the top of A, g_k / d."""
    out = path(
        data="cycle(n_samples=17)", relation="sequence(cyclic=True)", model="free", test_size=0.0, n_components=4,
        values=[0.5, 0.7], figures=False, out=tmp_path / "cycle",
    )  # fmt: skip
    assert out["meets"]["exact"]
    g = np.sort(2 * np.cos(2 * np.pi * np.arange(17) / 17))[::-1][1:5]
    assert out["meets"]["value"] == pytest.approx(0.5)
    assert out["rows"][0]["shares"] == pytest.approx(np.maximum(g / 2, 0))


def test_figures_and_the_command_line(blobs: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["path", "--data", str(blobs[0]), "--labels", str(blobs[1]), "--n-values", "9", "--n-components", "3"]
    assert main([*words, "--n-probes", "2", "--out", str(out), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "predicted accuracy is best at invariance" in " ".join(said.split())
    assert {file.name for file in (out / "figures").iterdir()} == {"shares.png", "accuracy.png", "filters.png"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "vicreg(invariance=0.5)"}, "leave it out of the method"),
        ({"method": "vicreg(form=constrained)"}, "no invariance changes"),
        ({"method": "vicreg, barlow_twins"}, "one method"),
        ({"method": "simclr"}, "vicreg or barlow_twins"),
        ({"method": "barlow_twins", "values": [0.5, 2.0]}, "end at 1"),
        ({"values": [0.1, 0.2], "n_values": 5}, "leave n_values"),
        ({"low": 2.0, "high": 1.0}, "low < high"),
        ({"values": [-1.0, 1.0]}, r"values must be finite numbers >= 0.*-1.0"),
        ({"values": [float("nan")]}, "values must be finite"),
        ({"values": []}, "values must be finite numbers >= 0, at least one"),
        ({"n_values": 0}, "n_values must be at least 2.*got 0"),
        ({"n_labels": 40}, "n_labels must be"),
        ({"probe_ridge": -1.0}, "probe_ridge"),
    ],
)
def test_refusals_come_before_a_run_directory(blobs: tuple, tmp_path: Path, options: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        path(data=str(blobs[0]), labels=blobs[1], n_components=3, out=tmp_path / "no", **options)
    assert not (tmp_path / "no").exists()


def test_without_labels_ranks_and_losses_are_left(blobs: tuple, tmp_path: Path) -> None:
    out = path(data=str(blobs[0]), n_components=3, n_values=6, figures=False, out=tmp_path / "plain")
    assert out["best"] is None
    assert "without labels" in out["answer"]
    assert all("predicted" not in row and row["loss"] > 0 for row in out["rows"])
