"""`align`: its cells recomputed by hand, its probes against scikit-learn, what it refuses, and what it draws."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from sklearn.linear_model import LogisticRegression, Ridge

import spectral_ssl as ss
from spectral_ssl.cli import main
from spectral_ssl.comparison import scaled
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.experiments.align import align
from spectral_ssl.experiments.misalignment import Candidate, candidates, closed_form, lead_astray, placed, with_styles
from spectral_ssl.experiments.outcomes import CHOSEN, label_order, least_squares, logistic
from spectral_ssl.experiments.setting import load_data, make_setting
from spectral_ssl.relations import corrupt
from spectral_ssl.report.curves import curve_figures
from spectral_ssl.runs import open_run

SAME = 1e-9  # one number computed in two ways, in float64
LOSS = 1e-8  # relative: a trained loss ends where its gradient is 1e-9 of the loss
SMALL: dict[str, Any] = {
    "data": "wine", "standardize": True, "rates": (0, 0.5, 1), "n_components": (2, 13), "invariances": (0.1, 1.1),
    "n_labels": (10, 40), "repeats": 2, "label_draws": 1, "figures": False,
}  # fmt: skip


@functools.cache
def small() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return align(**SMALL, out=Path(folder) / "run")


def rows_of(record: dict[str, Any], kind: str, **where: Any) -> list[dict[str, Any]]:
    return [
        row
        for row in record["rows"]
        if row.get("kind") == kind and all(row.get(key) == value for key, value in where.items())
    ]


def wine() -> tuple[Any, ...]:
    """Standardised training and held-out rows, as the study splits them."""
    data = ss.load_dataset("wine")
    train, test = data.split(0.25, 0)
    X = (data.X - data.X[train].mean(axis=0)) / data.X[train].std(axis=0)
    return X[train], data.y[train], X[test], data.y[test]


def vicreg_by_hand(A: np.ndarray, X: np.ndarray, K: int, strength: float) -> tuple[np.ndarray, np.ndarray, float]:
    """(W, mean, loss) of squared VICReg: generalised eigenvectors of (X'LX, X'HX), t_k = max(0, 1 - gamma m_k)."""
    N, mean = len(X), X.mean(axis=0)
    L, Xc = np.diag(A.sum(axis=1)) - A, X - mean
    m, V = scipy.linalg.eigh(Xc.T @ L @ Xc, Xc.T @ Xc)
    t = np.maximum(0.0, 1 - strength * m[:K] / m[K - 1])
    return V[:, :K] * np.sqrt(N * t), mean, float(K - (t**2).sum())


# --- one cell, recomputed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("K", "strength"), [(2, 0.1), (13, 0.1), (13, 1.1)])
def test_a_cell_is_what_numpy_and_scikit_learn_make_of_it(K: int, strength: float) -> None:
    X, y, X_test, y_test = wine()
    (row,) = rows_of(small(), "rate", n_components=K, rate=0.5, strength=strength)
    aligned = ss.relations.labels(ss.Dataset(name="wine", X=X, y=y))
    for draw in (0, 1):
        A = corrupt(aligned, 0.5, seed=draw).to_csr().toarray()
        W, mean, loss = vicreg_by_hand(A, X, K, strength)
        Z, Z_test = (X - mean) @ W, (X_test - mean) @ W
        size = np.sqrt((Z**2).sum(axis=1).mean())
        probe = LogisticRegression(C=100.0, max_iter=2000, tol=1e-6).fit(Z / size, y)
        assert row["loss_draws"][draw] == pytest.approx(loss, rel=SAME)
        assert row["probe_draws"][draw] == pytest.approx(probe.score(Z_test / size, y_test))
        assert row["rank_draws"][draw] == np.linalg.matrix_rank(Z, tol=1e-6 * size)
    assert row["probe"] == pytest.approx(np.mean(row["probe_draws"]))


def test_few_labels_are_judged_by_least_squares_on_those_labels_alone() -> None:
    X, y, X_test, y_test = wine()
    aligned = ss.relations.labels(ss.Dataset(name="wine", X=X, y=y))
    scores = []
    for repeat in (0, 1):
        W, mean, _ = vicreg_by_hand(corrupt(aligned, 1.0, seed=repeat).to_csr().toarray(), X, 13, 0.1)
        Z, Z_test = (X - mean) @ W, (X_test - mean) @ W
        rows = label_order(y, classification=True, rng=np.random.default_rng([0, repeat, 0]))[:10]
        Y = np.eye(3)[y[rows]]
        B = np.linalg.pinv(Z[rows] - Z[rows].mean(axis=0)) @ (Y - Y.mean(axis=0))
        guess = ((Z_test - Z[rows].mean(axis=0)) @ B + Y.mean(axis=0)).argmax(axis=1)
        scores.append(np.mean(guess == y_test))
    (row,) = rows_of(small(), "labels", n_components=13, rate=1.0, strength=0.1, n_labels=10, ridge="none")
    assert row["probe"] == pytest.approx(np.mean(scores))
    assert row["probe_min"] == pytest.approx(min(scores))


def test_rows_tell_how_aligned_the_relation_still_is() -> None:
    X, y, *_ = wine()
    A = corrupt(ss.relations.labels(ss.Dataset(name="wine", X=X, y=y)), 1.0, seed=0).to_csr().toarray()
    B = corrupt(ss.relations.labels(ss.Dataset(name="wine", X=X, y=y)), 1.0, seed=1).to_csr().toarray()
    same = np.equal.outer(y, y) & ~np.eye(len(y), dtype=bool)
    off = ~np.eye(len(y), dtype=bool)
    homophily = np.mean([M[same].sum() / M[off].sum() for M in (A, B)])
    energies = []
    for M in (A, B):
        W, mean, _ = vicreg_by_hand(M, X, 2, 0.0)  # t = 1: the first two eigenvectors
        U = np.linalg.qr((X - mean) @ W)[0]
        HY = np.eye(3)[y] - np.eye(3)[y].mean(axis=0)
        energies.append((np.square(U.T @ HY)).sum() / np.square(HY).sum())
    (row,) = rows_of(small(), "rate", n_components=2, rate=1.0, strength=0.1)
    assert row["homophily"] == pytest.approx(homophily, rel=SAME)
    assert row["label_energy"] == pytest.approx(np.mean(energies), rel=SAME)
    (start,) = rows_of(small(), "rate", n_components=2, rate=0.0, strength=0.1)
    assert start["homophily"] == 1.0


def test_an_unregularised_probe_depends_on_the_invariance_through_the_rank_alone() -> None:
    # statement D7, at every rate: all labels, no ridge, K at the rank of the data, where t > 0 in every direction
    for rate in (0.0, 0.5, 1.0):
        (low,) = rows_of(small(), "labels", n_components=13, rate=rate, strength=0.1, n_labels=134, ridge="none")
        X, y, X_test, y_test = wine()
        Y = np.eye(3)[y]
        B = np.linalg.lstsq(X - X.mean(axis=0), Y - Y.mean(axis=0), rcond=None)[0]
        assert low["probe"] == pytest.approx(
            np.mean(((X_test - X.mean(axis=0)) @ B + Y.mean(axis=0)).argmax(1) == y_test)
        )


# --- probes -----------------------------------------------------------------------------------------------------------


def rows(n: int, K: int, seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    Z, Z_test = rng.standard_normal((n, K)) * np.arange(1, K + 1), rng.standard_normal((30, K)) * np.arange(1, K + 1)
    return *scaled(Z + 3, Z_test + 3), rng.integers(0, 3, n), rng.integers(0, 3, 30)


def test_scaling_gives_rows_of_unit_size_about_the_training_mean() -> None:
    A, B, *_ = rows(25, 4, 0)
    assert np.abs(A.mean(axis=0)).max() < SAME
    assert np.square(A).sum(axis=1).mean() == pytest.approx(1.0)
    assert np.abs(B.mean(axis=0)).max() > 1e-3


@pytest.mark.parametrize("ridge", [0.001, 0.1])
def test_the_ridge_probe_is_scikit_learns(ridge: float) -> None:
    A, B, y, y_test = rows(40, 5, 1)
    few = np.arange(0, 40, 2)
    witness = Ridge(alpha=ridge * few.size).fit(A[few], np.eye(3)[y[few]]).predict(B).argmax(axis=1)
    found = least_squares(A, y, B, y_test, few, [ridge], classification=True)[ridge]
    np.testing.assert_array_equal(found, witness == y_test)
    numbers = least_squares(A, y * 1.5, B, y_test * 1.5, few, [ridge], classification=False)[ridge]
    fitted = Ridge(alpha=ridge * few.size).fit(A[few], y[few] * 1.5)
    assert numbers.mean() == pytest.approx(fitted.score(B, y_test * 1.5))


def test_without_ridge_it_is_the_fit_of_least_norm_below_and_above_the_rank() -> None:
    A, B, y, y_test = rows(40, 8, 2)
    for m in (5, 30):
        few = np.arange(m)
        Y, mean = np.eye(3)[y[few]], A[few].mean(axis=0)
        W = np.linalg.lstsq(A[few] - mean, Y - Y.mean(axis=0), rcond=None)[0]
        witness = ((B - mean) @ W + Y.mean(axis=0)).argmax(axis=1)
        found = least_squares(A, y, B, y_test, few, [0.0], classification=True)
        np.testing.assert_array_equal(found[0.0], witness == y_test)
        assert CHOSEN not in found  # nothing to choose among


def test_the_ridge_is_chosen_by_rows_left_out() -> None:
    chosen = set()
    for seed in range(6):
        A, B, y, y_test = rows(40, 6, seed)
        few, ridges = np.arange(14), [0.0, 0.01, 0.3, 3.0]
        errors = []
        for r in ridges:
            total = 0.0
            for i in few:
                rest = np.delete(few, i)
                fit = Ridge(alpha=max(r * few.size, 1e-12)).fit(A[rest], np.eye(3)[y[rest]])
                total += float(np.square(fit.predict(A[[i]]) - np.eye(3)[y[i]]).sum())
            errors.append(total)
        found = least_squares(A, y, B, y_test, few, ridges, classification=True)
        best = ridges[int(np.argmin(errors))]
        chosen.add(best)
        np.testing.assert_array_equal(found[CHOSEN], found[best])
    assert len(chosen) > 1  # or a constant would pass


def test_a_ridge_that_interpolates_is_never_chosen() -> None:
    A, B, y, y_test = rows(40, 8, 3)
    found = least_squares(A, y, B, y_test, np.arange(6), [0.0, 0.5], classification=True)
    np.testing.assert_array_equal(found[CHOSEN], found[0.5])


def test_the_logistic_probe_is_scikit_learns() -> None:
    A, B, y, y_test = rows(60, 4, 4)
    witness = LogisticRegression(C=100.0, max_iter=2000, tol=1e-6).fit(A, y).score(B, y_test)
    assert logistic(A, y, B, y_test, classification=True).mean() == pytest.approx(witness)
    numbers = logistic(A, y * 1.0, B, y_test * 1.0, classification=False)
    assert numbers.mean() == pytest.approx(Ridge(alpha=1e-3).fit(A, y).score(B, y_test))


def test_labels_are_given_evenly_over_classes_and_each_prefix_extends_the_last() -> None:
    y = np.repeat([0, 1, 2], [20, 8, 3])
    order = label_order(y, classification=True, rng=np.random.default_rng(0))
    assert sorted(order) == list(range(31))
    for m in (3, 6, 9):
        assert set(np.bincount(y[order[:m]], minlength=3)) == {m // 3}
    np.testing.assert_array_equal(np.bincount(y[order[:19]]), [8, 8, 3])


# --- leading astray ---------------------------------------------------------------------------------------------------


def test_mixing_gives_a_share_of_the_pair_weight_to_the_competing_relation() -> None:
    setting = make_setting(ss.load_dataset("iris"), "labels", seed=0)
    stray = lead_astray(setting, "mix", "knn(n_neighbors=4)")
    A = setting.graph.to_csr().toarray()
    B = ss.relations.knn(setting.data, n_neighbors=4).to_csr().toarray()
    found = stray.at(0.3, 0).to_csr().toarray()
    np.testing.assert_allclose(found, 0.7 * A + 0.3 * B * A.sum() / B.sum(), rtol=SAME, atol=SAME)
    assert not stray.drawn(0.3)


def test_data_without_styles_are_given_some_to_be_mixed_with() -> None:
    wine, competing, told = with_styles(ss.load_dataset("wine"), "mix", None, 0)
    assert competing == "style"
    assert "offset" in told[0]
    setting = make_setting(wine, "labels", seed=0)
    same = np.equal.outer(setting.data.style, setting.data.style)
    np.testing.assert_array_equal(lead_astray(setting, "mix", competing).at(1.0, 0).to_csr().toarray() > 0, same)
    assert with_styles(wine, "mix", None, 0)[0] is wine  # styles of its own
    assert with_styles(ss.load_dataset("wine"), "mix", "knn", 0)[2] == []


def test_invariance_of_the_grid_is_in_units_of_the_K_th_direction() -> None:
    X, y, *_ = wine()
    graph = ss.relations.knn(ss.Dataset(name="wine", X=X, y=y), n_neighbors=6)
    A = graph.to_csr().toarray()
    Xc = X - X.mean(axis=0)
    m = scipy.linalg.eigh(Xc.T @ (np.diag(A.sum(axis=1)) - A) @ Xc, Xc.T @ Xc, eigvals_only=True)
    (one,) = candidates("vicreg(variance=2, covariance=2)", (0.7,))
    spectra = ss.Spectra(graph, X=X)
    assert one.resolved(spectra, 3).invariance == pytest.approx(0.7 * 2 / m[2], rel=SAME)
    assert closed_form(one, spectra, 3).rank == int((m[:3] < m[2] / 0.7).sum()) == 3


def test_only_vicreg_with_an_open_invariance_has_a_grid() -> None:
    found = candidates("vicreg, vicreg(invariance=2), vicreg(form=constrained), barlow_twins", (0.1, 0.5))
    assert [(c.family, c.strength) for c in found] == [
        ("vicreg", 0.1), ("vicreg", 0.5), ("vicreg", None), ("vicreg", None), ("barlow_twins", None),
    ]  # fmt: skip
    assert len({c.label for c in found}) == 5


def test_a_method_without_a_direction_to_use_counts_as_collapsed() -> None:
    X = np.array([[1.0], [-1.0], [1.0], [-1.0], [1.0], [-1.0]])
    graph = ss.Graph.from_pairs([0, 2, 4], [1, 3, 5], 6)  # every pair joins opposite rows: rho = -1
    barlow = Candidate("barlow_twins", ss.BarlowTwins())
    assert closed_form(barlow, ss.Spectra(graph, X=X), 1) is None
    setting = make_setting(ss.load_dataset("iris"), "labels", seed=0)
    (train, test), *_ = placed(setting, [None])
    assert not train.any()
    assert len(test) == setting.probe_test.n_samples


def test_free_embeddings_are_placed_by_one_regression_as_their_own_would() -> None:
    setting = make_setting(ss.load_dataset("iris"), "knn", seed=0)
    spectra = ss.Spectra(setting.graph)
    found = [closed_form(c, spectra, 3) for c in candidates("vicreg, frobenius_simclr", (0.1, 0.9))]
    together = placed(setting, found)
    for best, (Z_train, Z_test) in zip(found, together, strict=True):
        assert Z_train.shape[1] == Z_test.shape[1] == 3
        ratio = Z_train[0, 0] / best.embedding.Z[0, 0]
        np.testing.assert_allclose(Z_train, ratio * best.embedding.Z, rtol=SAME, atol=SAME)
        # a held-out row lies where its nearest training rows do
        near = np.linalg.norm(setting.data.X[None] - setting.probe_test.X[:, None], axis=2).argmin(axis=1)
        assert np.corrcoef(Z_test[:, 0], Z_train[near, 0])[0, 1] > 0.9


# --- no leakage, refusals ---------------------------------------------------------------------------------------------


def test_held_out_rows_do_not_touch_relation_or_closed_form(tmp_path: Path) -> None:
    data = ss.load_dataset("wine")
    _, test = data.split(0.25, 0)
    X = data.X.copy()
    X[test] = np.random.default_rng(0).permutation(X[test]) * 3  # labels as they were, so that the split is the same
    options = {**SMALL, "rates": (0, 1), "n_components": (2,), "repeats": 1, "n_labels": ()}
    found = []
    for name, content in (("a", data.X), ("b", X)):
        np.savez(tmp_path / f"{name}.npz", X=content, y=data.y)
        record = align(**{**options, "data": str(tmp_path / f"{name}.npz")}, out=tmp_path / f"run-{name}")
        found.append(rows_of(record, "rate"))
    for one, other in zip(*found, strict=True):
        for key in ("loss", "rank", "invariance", "homophily", "label_energy"):
            assert one.get(key) == other.get(key)
    assert [row["probe"] for row in found[0]] != [row["probe"] for row in found[1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": (0, 1.5)}, "between 0 and 1"),
        ({"rates": (-0.1, 1)}, "at least 0"),
        ({"rates": (0.5,)}, "at least two shares"),
        ({"rates": (0, float("nan"))}, "rates must be numbers"),
        ({"repeats": 0}, "repeats must be"),
        ({"label_draws": 0}, "label_draws must be"),
        ({"n_labels": (1,)}, "n_labels must be"),
        ({"probe_ridge": (-1,)}, "probe_ridge must be"),
        ({"probe_ridge": ()}, "at least one value"),
        ({"invariances": (-0.5,)}, "invariances must be"),
        ({"n_components": (14,)}, "exceeds the number of features"),
        ({"n_components": (0,)}, "n_components must be"),
        ({"test_size": 0.0}, "held-out rows"),
        ({"misalign": "shuffle"}, "misalign='shuffle' is not known"),
        ({"competing": "knn"}, "belongs to misalign='mix'"),
        ({"misalign": "mix", "competing": "nothing"}, "nothing"),
        ({"misalign": "mix", "competing": "views"}, "no source"),
        ({"data": "swiss_roll(n_samples=60)", "relation": "knn", "misalign": "wrong_class", "n_components": (2,)},
         "needs classes"),
        ({"kernel": "rbf"}, "belongs to model='kernel'"),
        ({"model": "free", "ridge": 1.0}, "ridge"),
        ({"methods": "nothing"}, "nothing"),
        ({"methods": "vicreg(form=constrained)", "standardize": False, "data": "digits", "n_components": (64,)},
         "exceeds the rank"),
        ({"relation": "pairs"}, "needs a list"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_a_run_is_made(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        align(**{**SMALL, **options}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_without_labels_and_methods_without_a_closed_form_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.random.default_rng(0).standard_normal((40, 3)))
    unlabelled = {**SMALL, "data": str(tmp_path / "X.npy"), "relation": "knn", "n_components": (2,)}
    with pytest.raises(DataError, match="no labels"):
        align(**unlabelled, out=tmp_path / "run")
    with pytest.raises(NotClosedForm, match="infonce has no closed form over maps"):
        align(**{**SMALL, "methods": "vicreg, infonce"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_record_has_a_table_of_both_ends_and_advice_that_cites_it() -> None:
    record = small()
    table = [row for row in record["rows"] if "slug" in row]
    assert [(row["method"], row["n_components"]) for row in table[:4]] == [
        ("vicreg, γ = 0.1 α/m_K", 2), ("vicreg, γ = 1.1 α/m_K", 2), ("frobenius_simclr", 2), ("barlow_twins", 2),
    ]  # fmt: skip
    for row in table:
        ends = rows_of(record, "rate", method=row["method"], n_components=row["n_components"])
        for name, rate in (("aligned", 0), ("misaligned", 1)):
            draws = next(r["probe_draws"] for r in ends if r["rate"] == rate)
            assert row[name] == pytest.approx(sum(draws) / len(draws), rel=SAME)
    best = max(table, key=lambda row: row["misaligned"])
    assert f"{100 * best['misaligned']:.1f} %" in record["answer"]
    assert record["advice"][0].startswith("Aligned (rate 0), all labels")
    assert set(record["advice"]) <= set(record["notes"])
    (end,) = rows_of(record, "rate", n_components=2, rate=1.0, method="barlow_twins")
    assert f"at rate 1 {100 * end['homophily']:.1f} % of the pair weight joins equal classes" in record["notes"][0]
    assert f"K = 2 eigenvectors hold {100 * end['label_energy']:.1f} % of the label energy" in record["notes"][0]
    assert {size["n_components"] for size in record["verdict"]["abstracts"]["by_n_components"]} == {2, 13}
    json.dumps(record, allow_nan=False)


def test_defaults_are_few_and_many_dimensions() -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = {**SMALL, "data": "iris", "rates": (0, 1), "n_components": None, "repeats": 1, "methods": "vicreg"}
        record = align(**options, out=Path(folder) / "run")
    panels = {row["n_components"]: row["panel"] for row in rows_of(record, "rate")}
    assert panels == {2: "K = 2", 4: "K = 4, the rank of the data (4) or more"}
    assert {row["n_labels"] for row in rows_of(record, "labels")} == {10, 40, 112}


def test_no_two_lines_of_a_figure_look_alike() -> None:
    figures = dict(curve_figures(small()))
    assert set(figures) == {"alignment", "labels-K2", "labels-K13", "best-invariance"}
    for figure in figures.values():
        drawn = [line for line in figure.legends[0].get_lines() if line.get_marker() not in ("None", "")]
        looks = [(line.get_color(), line.get_marker()) for line in drawn]
        assert len(looks) >= 3
        assert len(set(looks)) == len(looks)
        assert len({colour for colour, _ in looks}) == len(looks)


def test_best_invariance_is_that_of_the_highest_score() -> None:
    for row in rows_of(small(), "best", budget="all labels"):
        cells = [
            r for r in rows_of(small(), "rate", n_components=row["n_components"], rate=row["rate"]) if r.get("strength")
        ]
        top = max(cell["probe"] for cell in cells)
        assert row["probe"] == pytest.approx(top)
        assert row["best"] in [cell["strength"] for cell in cells if cell["probe"] > top - SAME]
        assert row["best_min"] <= row["best"] <= row["best_max"]


def test_trained_embeddings_reach_what_their_closed_forms_predict() -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = {**SMALL, "rates": (0, 1), "repeats": 1, "n_components": (2,), "n_labels": (), "trained": True}
        record = align(**{**options, "methods": "vicreg, barlow_twins"}, out=Path(folder) / "run")
    trained = [row for row in rows_of(record, "trained") if "excess" in row]
    assert len(trained) == 2 * 3
    for row in trained:
        assert abs(row["excess"]) < LOSS
        assert row["probe"] == pytest.approx(row["probe_closed"], abs=0.03)  # one of 44 rows may fall otherwise
    assert "trained" in [curve["name"] for curve in record["curves"]]


@pytest.mark.parametrize(
    "options",
    [
        {"model": "free", "relation": "knn"},
        {"model": "kernel", "kernel": "nystroem(n_landmarks=20)"},
        {"misalign": "mix"},
        {"misalign": "wrong_class"},
        {"relation": "views"},
        {"data": "swiss_roll(n_samples=80)", "relation": "knn", "misalign": "mix", "competing": "sequence"},
        {"methods": "vicreg(form=hinge), spectral_contrastive"},
        {"n_labels": ()},
    ],
    ids=str,
)
def test_every_option_gives_a_whole_record(options: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        usual = {**SMALL, "rates": (0, 1), "repeats": 1, "n_components": (2,)}
        record = align(**{**usual, **options}, out=Path(folder) / "run")
        assert open_run(Path(folder) / "run").record["status"] == "done"
    cells = [row for row in rows_of(record, "rate") if "probe_draws" in row]
    assert cells
    assert all(row["probe"] <= 1 for row in cells)
    assert record["answer"]
    json.dumps(record, allow_nan=False)


def test_the_command_prints_its_advice_and_its_run_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = "--data iris --rates 0,1 --repeats 1 --n-labels 10 --n-components 2 --invariances 0.1,1.1 --quiet"
    assert main(["align", *options.split(), "--out", "a"]) == 0
    shown = capsys.readouterr().out
    assert "Which method" in shown or "which method" in shown
    assert "Of the paper's two published abstracts" in " ".join(shown.split())
    assert (tmp_path / "a/figures/alignment.png").stat().st_size > 10_000
    assert main(["align", "--config", "a/run.json", "--no-figures", "--quiet", "--out", "b"]) == 0
    first, second = (open_run(tmp_path / name).result for name in "ab")
    assert first["rows"] == second["rows"]
    assert first["advice"] == second["advice"]
    assert load_data("iris").n_samples == 150
