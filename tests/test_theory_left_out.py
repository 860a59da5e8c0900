"""Leave-one-out of linear probes without refitting. Witness: scikit-learn, fitted once for every row left out."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

import spectral_ssl as ss
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.theory import leave_one_out
from spectral_ssl.theory import left_out as module

ROUNDING = 1e-9  # least squares of some dozens of rows
ROWS_APART = 0.02  # of all rows: what one Newton step may judge otherwise than a refit, on data that are not separable


def problem(seed: int = 0, n: int = 40, K: int = 4, C: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes; their means lie on a line, where least squares masks the middle one."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % C)
    return rng.standard_normal((n, K)) * 1.5 + 1.2 * rng.standard_normal((C, K))[y] + 5.0, y


def refitted(model: object, Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Predictions for every row by a model that has not seen it."""
    rows = np.arange(len(Z))
    return np.array([model.fit(Z[rows != i], Y[rows != i]).predict(Z[[i]])[0] for i in rows])


@pytest.mark.parametrize("ridge", [0.0, 0.3, 40.0])
def test_least_squares_of_classes_judges_every_row_as_a_refit_without_it(ridge: float) -> None:
    Z, y = problem()
    witness = refitted(Ridge(alpha=ridge) if ridge else LinearRegression(), Z, np.eye(3)[y])
    found = leave_one_out(Z, y, probe="least_squares", ridge=ridge)
    assert found.per_row.tolist() == (witness.argmax(axis=1) == y).astype(float).tolist()
    assert found.score == pytest.approx(np.mean(witness.argmax(axis=1) == y))
    assert found.standard_error == pytest.approx(np.sqrt(found.score * (1 - found.score) / 39), rel=1e-12)
    assert (found.kind, found.ridge, found.n_labels) == ("exact", ridge, 40)
    assert 0 < found.score < 1


@hypothesis.given(st.integers(0, 10_000), st.sampled_from([0.0, 1e-3, 2.0]), st.integers(1, 5))
def test_least_squares_of_numbers_leaves_the_errors_of_refits(seed: int, ridge: float, K: int) -> None:
    rng = np.random.default_rng(seed)
    Z, y = rng.standard_normal((15, K)) + 3.0, rng.standard_normal(15)
    witness = refitted(Ridge(alpha=ridge) if ridge else LinearRegression(), Z, y)
    found = leave_one_out(Z, y, probe="least_squares", ridge=ridge)
    assert found.score == pytest.approx(1 - np.mean((y - witness) ** 2) / y.var(), rel=1e-6, abs=1e-6)
    assert found.per_row == pytest.approx(1 - (y - witness) ** 2 / y.var(), rel=1e-6, abs=1e-6)


def test_a_row_alone_in_its_direction_is_judged_by_the_probe_of_least_norm() -> None:
    """Leverage one: without the row nothing is known of its direction, and scikit-learn's least norm ignores it."""
    rng = np.random.default_rng(1)
    Z, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    Z[:, 2] = 0.0
    Z[5, 2] = 2.0
    witness = refitted(LinearRegression(), Z, y)
    found = leave_one_out(Z, y, probe="least_squares")
    assert found.per_row == pytest.approx(1 - (y - witness) ** 2 / y.var(), abs=1e-8)


def test_fewer_labels_than_components_interpolate_and_are_still_judged_by_refits() -> None:
    rng = np.random.default_rng(2)
    Z, y = rng.standard_normal((6, 9)), rng.standard_normal(6)
    witness = refitted(LinearRegression(), Z, y)
    found = leave_one_out(Z, y, probe="least_squares")
    assert found.per_row == pytest.approx(1 - (y - witness) ** 2 / y.var(), abs=1e-8)


def test_a_ridge_left_open_is_the_one_of_least_error_among_refits() -> None:
    rng = np.random.default_rng(3)
    Z = rng.standard_normal((20, 8))
    y = Z[:, 0] + 2.0 * rng.standard_normal(20)
    grid = module.RIDGES * np.linalg.norm(Z - Z.mean(axis=0), 2) ** 2
    errors = [np.mean((y - refitted(Ridge(alpha=eta), Z, y)) ** 2) for eta in grid]
    found = leave_one_out(Z, y, probe="least_squares", ridge=None)
    assert found.ridge == pytest.approx(grid[np.argmin(errors)])
    assert found.score == pytest.approx(1 - min(errors) / y.var(), rel=1e-8)
    assert 0 < np.argmin(errors) < grid.size - 1  # the grid holds the minimum inside


@pytest.mark.parametrize(("C", "seed"), [(2, 0), (3, 1), (4, 2)])
def test_one_newton_step_judges_as_logistic_regression_refitted_without_each_row(C: int, seed: int) -> None:
    """Scaled by hand as the probe of compare is: one size for all columns, C = 100."""
    Z, y = problem(seed, n=60, C=C)
    rows = np.arange(len(Z))
    witness = np.empty(len(Z))
    for i in rows:
        rest = Z[rows != i]
        mean, size = rest.mean(axis=0), np.sqrt(((rest - rest.mean(axis=0)) ** 2).sum(axis=1).mean())
        model = LogisticRegression(C=100.0, max_iter=2000, tol=1e-6).fit((rest - mean) / size, y[rows != i])
        witness[i] = model.predict((Z[[i]] - mean) / size)[0]
    found = leave_one_out(Z, y)
    assert np.mean(found.per_row != (witness == y)) <= ROWS_APART
    assert 0.3 < found.score < 0.95
    assert found.kind == "approximate"
    # the rows themselves, seen, are judged better: what leave-one-out is for
    mean, size = Z.mean(axis=0), np.sqrt(((Z - Z.mean(axis=0)) ** 2).sum(axis=1).mean())
    seen = LogisticRegression(C=100.0, max_iter=2000, tol=1e-6).fit((Z - mean) / size, y).score((Z - mean) / size, y)
    assert found.score <= seen


def test_the_newton_step_lowers_every_true_margin() -> None:
    """Without its own label no row is surer of it: f_y falls against every other class, as for any convex fit."""
    Z, y = problem(4, n=50)
    mean, size = Z.mean(axis=0), np.sqrt(((Z - Z.mean(axis=0)) ** 2).sum(axis=1).mean())
    model = LogisticRegression(C=100.0, max_iter=2000, tol=1e-6).fit((Z - mean) / size, y)
    log_p = model.predict_log_proba((Z - mean) / size)[np.arange(50), y]
    f = module._newton_step(Z, np.eye(3)[y])
    left_out = (f - np.log(np.exp(f).sum(axis=1, keepdims=True)))[np.arange(50), y]
    assert np.all(left_out <= log_p + 1e-9)


def test_blocks_of_rows_do_not_change_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, y = problem(5, n=30)
    whole = module._newton_step(Z, np.eye(3)[y])
    monkeypatch.setattr(module, "BLOCK", 100)
    assert module._newton_step(Z, np.eye(3)[y]) == pytest.approx(whole, abs=ROUNDING)


def test_rotations_and_missing_labels_do_not_matter() -> None:
    Z, y = problem(6)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    before = leave_one_out(Z, y).per_row
    assert leave_one_out(3.0 * Z @ Q, y).per_row.tolist() == before.tolist()
    more, labels = np.vstack([Z, Z[:5] + 9.0]), np.append(y, [-1] * 5)
    assert leave_one_out(more, labels).per_row.tolist() == before.tolist()


@pytest.mark.parametrize("size", [1e-170, 1e-6, 1.0, 1e6, 1e170])
def test_the_size_of_an_embedding_does_not_matter_to_least_squares(size: float) -> None:
    Z, y = problem()
    y = y + 0.5 * Z[:, 0] + np.arange(40) % 7
    free = leave_one_out(Z * size, y, probe="least_squares")
    assert free.per_row == pytest.approx(1 - (y - refitted(LinearRegression(), Z, y)) ** 2 / y.var(), abs=ROUNDING)
    errors = [
        np.mean((y - refitted(Ridge(alpha=eta), Z, y)) ** 2)
        for eta in module.RIDGES * np.linalg.norm(Z - Z.mean(axis=0), 2) ** 2
    ]
    chosen = leave_one_out(Z * size, y, probe="least_squares", ridge=None)
    assert chosen.score == pytest.approx(1 - min(errors) / y.var(), rel=1e-8)


@pytest.mark.parametrize("K", [0, 2])
@pytest.mark.parametrize("constant", [0.1, 1e6 + 0.1])
def test_a_constant_column_is_no_direction(K: int, constant: float) -> None:
    Z, y = problem()
    y = y + 0.5 * Z[:, 0] + np.arange(40) % 7
    witness = refitted(LinearRegression(), Z[:, :K], y) if K else (y.sum() - y) / (y.size - 1)
    found = leave_one_out(np.column_stack([Z[:, :K], np.full(40, constant)]), y, probe="least_squares")
    assert found.per_row == pytest.approx(1 - (y - witness) ** 2 / y.var(), abs=1e-8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": np.zeros(40, dtype=int)}, "three labels that are not all equal"),
        ({"y": np.append([0, 1], np.full(38, -1))}, "three labels"),
        ({"probe": "knn"}, "choose 'logistic' or 'least_squares'"),
        ({"ridge": 0.5}, "belongs to probe='least_squares'"),
        ({"y": np.arange(40) / 7}, "choose probe='least_squares'"),
        ({"probe": "least_squares", "ridge": -1.0}, "ridge must be a number >= 0"),
        ({"probe": "least_squares", "ridge": "small"}, "ridge must be a number >= 0"),
        ({"Z": np.full((40, 2), np.nan)}, "finite numbers"),
    ],
)
def test_what_cannot_be_judged_is_refused(change: dict, words: str) -> None:
    Z, y = problem()
    arguments = {"Z": Z, "y": y} | change
    with pytest.raises(DataError, match=words):
        leave_one_out(arguments.pop("Z"), arguments.pop("y"), **arguments)


def test_a_hessian_too_large_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HESSIAN_MAX", 10)
    with pytest.raises(ResourceError, match="choose probe='least_squares'"):
        leave_one_out(*problem())


def test_on_digits_leave_one_out_knows_the_held_out_accuracy_and_in_sample_does_not() -> None:
    data = ss.load_dataset("digits")
    train, test = data.split(0.5, 0)
    graph = ss.relations.knn(data.subset(train))
    best = ss.optimum(ss.VICReg(), graph, 16, X=data.X[train])
    Z, Zt = best.embedding.Z, best.embedding.transform(data.X[test])
    size = np.sqrt((Z**2).sum(axis=1).mean())
    model = LogisticRegression(C=100.0, max_iter=2000, tol=1e-6).fit(Z / size, data.y[train])
    held_out, seen = model.score(Zt / size, data.y[test]), model.score(Z / size, data.y[train])
    found = leave_one_out(Z, data.y[train])
    noise = np.hypot(found.standard_error, np.sqrt(held_out * (1 - held_out) / len(test)))
    assert abs(found.score - held_out) <= 3 * noise < seen - held_out
