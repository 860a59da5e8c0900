"""The command `augment`: its sets, brackets, errors and certificates against recounts by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.stats

import spectral_ssl as ss
from spectral_ssl.cli import main
from spectral_ssl.data import Dataset
from spectral_ssl.experiments import augmentation
from spectral_ssl.experiments.augmentation import augment
from spectral_ssl.experiments.reproduce.augmentation import Sometimes, richness
from spectral_ssl.report.augmentation_figures import short
from spectral_ssl.runs import open_run

SETS = "noise(scale=0.05); noise(scale=1); dropout(rate=0.2); scaling(scale=0.3), noise(scale=0.1)"
MIXTURE = "gaussian_mixture(n_samples=48, n_classes=3, n_features=5)"
SAME = 1e-9  # numbers of order one by another order of summation


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return augment(
        data=MIXTURE,
        augmentations=SETS,
        n_views=3,
        n_components=2,
        budget=10**6,
        out=tmp_path_factory.mktemp("runs") / "ranked",
    )


def sets_of(payload: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in payload["rows"] if "slug" in row]


def by_hand(name: str, seed: int = 0) -> tuple[np.ndarray, Dataset, Dataset, Dataset]:
    """d_A of the training originals by loops, inf between classes; views, originals, held-out originals."""
    data = ss.load_dataset("gaussian_mixture", n_samples=48, n_classes=3, n_features=5)
    train, test = (data.subset(rows) for rows in data.split(0.25, seed))
    views = ss.augment(train, 3, name, seed=seed, keep_original=True)
    V = views.X.reshape(train.n_samples, 3, -1)
    d = np.full((train.n_samples,) * 2, np.inf)
    for i, j in itertools.combinations(range(train.n_samples), 2):
        if train.y[i] == train.y[j]:
            d[i, j] = d[j, i] = min(np.linalg.norm(a - b) for a in V[i] for b in V[j])
    return d, views, train, test


def test_sets_come_by_one_minus_sigma_with_brackets_that_are_those_of_networkx(ranked: dict[str, Any]) -> None:
    rows = sets_of(ranked)
    assert len(rows) == 4
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert [row["missing"] for row in rows] == sorted(row["missing"] for row in rows)
    deltas = ranked["deltas"]
    _, _, train, _ = by_hand("noise(scale=1)")
    inside = [
        np.linalg.norm(train.X[i] - train.X[j])
        for i, j in itertools.combinations(range(train.n_samples), 2)
        if train.y[i] == train.y[j]
    ]
    np.testing.assert_allclose(deltas, np.quantile(inside, [0.05, 0.1, 0.2, 0.3, 0.5, 0.7]), rtol=SAME)
    for row in rows:
        d, *_ = by_hand(row["set"])
        brackets = [r for r in ranked["rows"] if r.get("figure") == "brackets" and r["set"] == row["set"]]
        for r in brackets:
            missing = []
            for k in range(3):
                mine = np.flatnonzero(train.y == k)
                G = nx.from_numpy_array((d[np.ix_(mine, mine)] <= r["delta"]).astype(int))
                missing.append(1 - max(map(len, nx.find_cliques(G))) / mine.size)
            np.testing.assert_allclose(r["by_class"], missing, atol=SAME)
            assert r["by_class_low"] == r["by_class"]
            assert r["missing"] == pytest.approx(max(missing))
        told = {r["delta"]: r["missing"] for r in brackets}
        assert row["missing"] == told[ranked["delta"]]


def test_the_delta_told_is_the_one_that_tells_sets_apart_and_its_rank_correlation_scipys(
    ranked: dict[str, Any],
) -> None:
    rows = sets_of(ranked)
    brackets = [r for r in ranked["rows"] if r.get("figure") == "brackets"]
    ranges = {delta: np.ptp([r["missing"] for r in brackets if r["delta"] == delta]) for delta in ranked["deltas"]}
    assert ranges[ranked["delta"]] == max(ranges.values())
    errors = {row["set"]: row["error"] for row in rows}
    for entry in ranked["ranking"]:
        mine = {r["set"]: r["missing"] for r in brackets if r["delta"] == entry["delta"]}
        x, y = [mine[name] for name in errors], list(errors.values())
        if len(set(x)) > 1 and len(set(y)) > 1:
            assert entry["spearman"] == pytest.approx(scipy.stats.spearmanr(x, y)[0])
        else:
            assert entry["spearman"] is None


def test_errors_are_those_of_the_closed_form_on_rows_held_out(ranked: dict[str, Any]) -> None:
    for row in sets_of(ranked):
        _, views, train, test = by_hand(row["set"])
        best = ss.optimum(ss.VICReg(), ss.relations.views(views), 2, X=views.X)

        def unit(X: Any, best: Any = best) -> np.ndarray:
            Z = best.embedding.transform(X)
            return np.asarray(Z / np.linalg.norm(Z, axis=1, keepdims=True))

        F = unit(views.X)
        mu = np.array([F[views.y == k].mean(axis=0) for k in range(3)])
        for data, key in ((test, "error"), (train, "train_error")):
            wrong = [
                int(np.argmin([np.linalg.norm(z - m) for m in mu])) != c
                for z, c in zip(unit(data.X), data.y, strict=True)
            ]
            assert row[key] == pytest.approx(np.mean(wrong))
        A = F.reshape(-1, 3, 2)
        spread = [np.mean([[np.sum((a - b) ** 2) for a in g] for b in g]) for g in A]
        assert row["alignment"] == pytest.approx(np.mean(spread))
        gram = mu @ mu.T
        assert row["divergence"] == pytest.approx(max(gram[i, j] for i in range(3) for j in range(3) if i != j))
        near = [
            c != train.y[np.argmin(np.linalg.norm(unit(train.X) - z, axis=1))]
            for z, c in zip(unit(test.X), test.y, strict=True)
        ]
        assert row["error_1nn"] == pytest.approx(np.mean(near))
        assert row["lipschitz_network"] >= row["lipschitz"] * (1 - SAME)  # on these views no ratio exceeds it


def test_every_bound_is_checked_and_none_is_violated(ranked: dict[str, Any]) -> None:
    names = {row["bound"] for row in ranked["bounds"]}
    assert len(names) == 12
    verdicts = {row["verdict"] for row in ranked["bounds"]}
    assert "violated" not in verdicts
    for row in ranked["bounds"]:
        if row["verdict"] == "illegal":
            assert row["limit"] is None
            assert any(": fails" in text for text in row["assumptions"])
        if row["bound"].startswith("nearest-centre"):
            assert any("m = 3 views of each were drawn" in text for text in row["assumptions"])
    assert any("conditional on the views drawn" in note for note in ranked["notes"])
    assert {c["form"] for c in ranked["certificates"]} == {"theorem 1", "theorem 1, safe", "triangle", "class-wise"}
    assert all((c["limit"] is None) == (not c["holds"]) for c in ranked["certificates"])


def test_the_run_has_its_figures_and_strict_json(ranked: dict[str, Any]) -> None:
    run = open_run(ranked["run"])
    assert run.record["status"] == "done"
    assert run.result == json.loads(json.dumps(run.result))
    assert {Path(path).name for path in ranked["figures"] if path.endswith("png")} >= {"ranking.png", "R.png"}
    assert f"{len(sets_of(ranked))} sets" in ranked["answer"]
    assert short("shift(pixels=1), rotation(degrees=20.5)") == "shift 1, rotation 20.5"
    assert short("flip") == "flip"


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path]:
    """Views that are all there are, x and its style x 0.2, of four classes; features without style."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 10)
    content, style = 4 * np.eye(4)[y] + 0.02 * rng.standard_normal((40, 4)), rng.standard_normal((40, 3))
    X = np.stack([np.hstack([content, style]), np.hstack([content, 0.2 * style])], axis=1).reshape(80, 7)
    np.savez(tmp_path / "views.npz", X=X, y=np.repeat(y, 2), source=np.repeat(np.arange(40), 2))
    np.save(tmp_path / "Z.npy", X[:, :4])
    return tmp_path / "views.npz", tmp_path / "Z.npy"


def test_enumerated_views_with_features_of_the_users_are_certified(given: tuple[Path, Path], tmp_path: Path) -> None:
    """All views known, features that read content alone: no error, certified at 0; drawn views: on condition."""
    views, Z = given
    found = augment(data=str(views), embedding=Z, enumerated=True, delta_shares=(0.5, 1), out=tmp_path / "run")
    (row,) = sets_of(found)
    assert row["certificate"] == row["error"] == 0
    assert row["alignment"] == pytest.approx(0, abs=SAME)
    triangle = next(b for b in found["bounds"] if b["bound"].endswith("triangle"))
    assert triangle["verdict"] == "holds"
    assert "all views of every sample are known: holds (m = 2 views of each)" in triangle["assumptions"]
    assert not any("drawn" in note for note in found["notes"])
    again = augment(data=str(views), embedding=Z, delta_shares=(0.5, 1), figures=False, out=tmp_path / "again")
    assert any("all views of every sample are known: not checkable" in a for a in again["bounds"][2]["assumptions"])
    solved = augment(data=str(views), enumerated=True, n_components=3, figures=False, out=tmp_path / "solved")
    assert sets_of(solved)[0]["error"] == 0
    assert solved["data"]["n_test"] == 10  # samples, not views


def test_an_interrupt_keeps_the_sets_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    judge = augmentation._encode

    def stop(candidate: Any, *rest: Any) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(candidate.name)
        judge(candidate, *rest)

    monkeypatch.setattr(augmentation, "_encode", stop)
    with pytest.raises(KeyboardInterrupt):
        augment(data=MIXTURE, augmentations=SETS, n_views=2, n_components=2, figures=False, out=tmp_path / "run")
    kept = open_run(tmp_path / "run")
    assert kept.record["status"] == "interrupted"
    assert [row["set"] for row in kept.result["rows"] if "slug" in row] == done


def test_classes_that_share_a_view_are_promised_nothing(given: tuple[Path, Path], tmp_path: Path) -> None:
    views, Z = given
    with np.load(views) as file:
        X, y, source = file["X"].copy(), file["y"], file["source"]
    X[1] = X[-1]
    np.savez(tmp_path / "shared.npz", X=X, y=y, source=source)
    found = augment(data=str(tmp_path / "shared.npz"), embedding=Z, figures=False, out=tmp_path / "run")
    (row,) = sets_of(found)
    assert row["disjoint"] == "no"
    assert row["margin"] == 0
    assert row["certificate"] is None
    assert {b["verdict"] for b in found["bounds"] if b["bound"].startswith("nearest")} == {"illegal"}
    assert "classes share a view" in found["answer"]


def test_features_are_as_many_as_the_data_have_where_those_are_few(tmp_path: Path) -> None:
    augment(data="iris", augmentations="noise(scale=0.3)", n_views=2, budget=0, figures=False, out=tmp_path / "run")
    arrays = open_run(tmp_path / "run").load_arrays("arrays")
    assert arrays["set-1/centres"].shape == (3, 4)
    words = ["augment", "--data", "iris", "--augmentations", "noise", "--n-components", "5", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "five")]) == 2


@pytest.mark.slow
def test_a_network_is_trained_where_one_is_asked_for(tmp_path: Path) -> None:
    found = augment(
        data=MIXTURE,
        augmentations="noise(scale=0.1); noise(scale=1)",
        encoder="mlp(width=16, depth=1)",
        n_components=2,
        max_iter=60,
        figures=False,
        out=tmp_path / "run",
    )
    for row in sets_of(found):
        assert row["lipschitz_network"] >= row["lipschitz"]
        assert 0 <= row["error"] <= 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--augmentations", "nois"], "nois"),
        (["--augmentations", ";"], "no augmentation set"),
        (["--n-views", "1"], "n_views"),
        (["--delta-shares", "2"], "delta_shares"),
        (["--eps", "0"], "eps must name"),
        (["--metric", "far"], "metric 'far'"),
        (["--method", "vicreg, infonce"], "one loss"),
        (["--kernel", "nystroem"], "--model kernel"),
        (["--max-iter", "5"], "add --encoder"),
        (["--enumerated"], "views that are given"),
        (["--data", "gaussian_mixture(n_samples=1)"], "n_samples"),
    ],
)
def test_bad_options_are_refused_in_words(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [] if "--data" in words else ["--data", MIXTURE]
    assert main(["augment", *data, *words, "--out", str(tmp_path / "run"), "--quiet"]) == 2
    assert told in capsys.readouterr().err


def test_unlike_data_are_refused_and_the_table_is_printed(
    given: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views, _ = given
    assert (
        main(["augment", "--data", str(views), "--augmentations", "noise", "--out", str(tmp_path / "a"), "--quiet"])
        == 2
    )
    assert "views already" in capsys.readouterr().err
    np.save(tmp_path / "short.npy", np.ones((3, 2)))
    words = ["augment", "--data", str(views), "--embedding", str(tmp_path / "short.npy"), "--out", str(tmp_path / "b")]
    assert main([*words, "--quiet"]) == 2
    assert "3 rows" in capsys.readouterr().err
    np.savetxt(tmp_path / "plain.csv", np.random.default_rng(0).standard_normal((9, 2)), delimiter=",")
    assert main(["augment", "--data", str(tmp_path / "plain.csv"), "--out", str(tmp_path / "c"), "--quiet"]) == 2
    assert "there are no labels" in capsys.readouterr().err
    words = ["augment", "--data", MIXTURE, "--augmentations", SETS, "--n-components", "2", "--n-views", "2"]
    assert main([*words, "--no-figures", "--out", str(tmp_path / "d"), "--quiet"]) == 0
    shown = capsys.readouterr().out
    for text in ("1 - sigma", "scaling 0.3, noise 0.1", "rank correlation", "bounds, checked", "Theorem 3", ": fails"):
        assert text in shown


# ----------------------------------------------------------------------------------------------------------- reproduced


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return richness(
        data=MIXTURE,
        transforms="noise(scale=0.5), dropout(rate=0.2), scaling(scale=0.3)",
        methods="vicreg, spectral_contrastive",
        n_components=2,
        n_views=3,
        chance=1.0,
        delta_shares=(0.3, 0.6),
        budget=10**6,
        seeds=2,
        figures=False,
        out=tmp_path_factory.mktemp("runs") / "ladder",
    )


def test_richness_takes_prefixes_and_pairs_and_judges_them_by_hand(ladder: dict[str, Any]) -> None:
    """1 - sigma of two seeds by networkx on naive distances, delta of the first; criteria from the rows alone."""
    rows = {(row["set"], row["method"]): row for row in sets_of(ladder)}
    assert {name for name, _ in rows} == {"a", "ab", "abc", "ac", "bc"}
    named = {"a": "noise(scale=0.5)", "b": "dropout(rate=0.2)", "c": "scaling(scale=0.3)"}
    train = by_hand("noise")[2]
    inside = [
        np.linalg.norm(train.X[i] - train.X[j])
        for i, j in itertools.combinations(range(train.n_samples), 2)
        if train.y[i] == train.y[j]
    ]
    delta = np.quantile(inside, 0.6)
    for letters in ("a", "abc"):  # steps drawn with chance 1 draw once more than those of a text: the first set alone
        told = rows[letters, "vicreg"]
        assert told["missing"] == told["missing_0.6"] <= told["missing_0.3"]
        if letters == "a":
            found = []
            for seed in (0, 1):
                d, _, originals, _ = seeded(named["a"], seed)
                missing = []
                for k in range(3):
                    mine = np.flatnonzero(originals.y == k)
                    G = nx.from_numpy_array((d[np.ix_(mine, mine)] <= delta).astype(int))
                    missing.append(1 - max(map(len, nx.find_cliques(G))) / mine.size)
                found.append(max(missing))
            assert told["missing"] == pytest.approx(np.mean(found))
            assert [told["missing_min"], told["missing_max"]] == pytest.approx([min(found), max(found)])
    values = {c["name"]: c["value"] for c in ladder["criteria"]}
    methods = ("vicreg", "spectral_contrastive")
    steps = [(rows[a, m], rows[b, m]) for m in methods for a, b in (("a", "ab"), ("ab", "abc"))]
    assert values["largest rise of 1 - sigma by one more transform"] == pytest.approx(
        max(b["missing"] - a["missing"] for a, b in steps)
    )
    assert values["largest rise of the error by one more transform"] == pytest.approx(
        max(b["error"] - a["error"] for a, b in steps)
    )
    for name, sets in (("the richness ladder", ("a", "ab", "abc")), ("all pairs", ("ab", "ac", "bc"))):
        rho = [
            scipy.stats.spearmanr(*zip(*[(rows[s, m]["missing"], rows[s, m]["error"]) for s in sets], strict=True))[0]
            for m in methods
        ]
        assert values[f"least rank correlation over {name}"] == pytest.approx(min(np.nan_to_num(rho, nan=-1.0)))


def seeded(name: str, seed: int) -> tuple[np.ndarray, Dataset, Dataset, Dataset]:
    """`by_hand` on the mixture drawn with a seed, as reproductions draw it."""
    data = ss.load_dataset("gaussian_mixture", n_samples=48, n_classes=3, n_features=5, seed=seed)
    train, test = (data.subset(rows) for rows in data.split(0.25, seed))
    V = ss.augment(train, 3, name, seed=seed, keep_original=True).X.reshape(train.n_samples, 3, -1)
    d = np.full((train.n_samples,) * 2, np.inf)
    for i, j in itertools.combinations(range(train.n_samples), 2):
        if train.y[i] == train.y[j]:
            d[i, j] = d[j, i] = min(np.linalg.norm(a - b) for a in V[i] for b in V[j])
    return d, train, train, test


def test_a_transform_applied_sometimes_leaves_the_other_rows_as_they_are() -> None:
    X = np.arange(4000.0).reshape(2000, 2)
    rng = np.random.default_rng(0)
    moved = Sometimes(lambda rows, rng, shape: rows + 1, 0.3)(X, rng, None)
    changed = (moved != X).all(axis=1)
    np.testing.assert_array_equal(moved, X + changed[:, None])
    assert abs(changed.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 2000)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["augmentation-richness", "--transforms", "noise, dropout"], "3 to 8"),
        (["augmentation-richness", "--chance", "0"], "chance"),
        (["augmentation-strength", "--transform", "flip"], "names no number"),
        (["augmentation-strength", "--transform", "erase(size=2)", "--strengths", "0.5,0.6,1"], "whole number"),
        (["augmentation-strength", "--strengths", "1"], "three at least"),
        (["augmentation-strength", "--delta-shares", "3"], "quantiles"),
    ],
)
def test_bad_designs_are_refused_in_words(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", *words, "--out", str(tmp_path / "run"), "--quiet"]) == 2
    assert told in capsys.readouterr().err
