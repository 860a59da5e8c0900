"""The score of a probe known before training. Witnesses: scikit-learn refitted row by row, scipy's eigenproblem."""

import warnings

import numpy as np
import pytest
import scipy.linalg
from sklearn.linear_model import LogisticRegression

import spectral_ssl as ss
from spectral_ssl.errors import DataError
from spectral_ssl.theory import predicted_score

ROWS_APART = 0.02  # of all rows: one Newton step against a refit


def wine() -> ss.Dataset:
    return ss.load_dataset("wine", standardize=True)


def probe(Z: np.ndarray, y: np.ndarray) -> tuple[LogisticRegression, np.ndarray, float]:
    """The probe of compare, written out: one size for all columns, C = 100."""
    mean, size = Z.mean(axis=0), float(np.sqrt(((Z - Z.mean(axis=0)) ** 2).sum(axis=1).mean()))
    return LogisticRegression(C=100.0, max_iter=2000, tol=1e-6).fit((Z - mean) / size, y), mean, size


def whitened(X: np.ndarray, A: np.ndarray, gamma: float, K: int) -> np.ndarray:
    """Columns of linear VICReg's optimum: those of lpp at their lengths sqrt(N t_k)."""
    L, Xc = np.diag(A.sum(axis=1)) - A, X - X.mean(axis=0)
    values, W = scipy.linalg.eigh(X.T @ L @ X, Xc.T @ Xc)
    return W[:, :K] * np.sqrt(len(X) * np.maximum(0.0, 1 - gamma * values[:K]))


def test_the_prediction_is_that_of_probes_refitted_without_each_row() -> None:
    data, K, gamma = wine(), 2, 0.05
    graph = ss.relations.knn(data, n_neighbors=6)
    Z = (data.X - data.X.mean(axis=0)) @ whitened(data.X, graph.to_csr().toarray(), gamma, K)
    hits = []
    for i in range(len(Z)):
        rest = np.arange(len(Z)) != i
        model, mean, size = probe(Z[rest], data.y[rest])
        hits.append(model.predict((Z[[i]] - mean) / size)[0] == data.y[i])
    found = predicted_score(ss.VICReg(invariance=gamma), graph, K, data.y, X=data.X)
    assert found.how == "leave-one-out"
    assert found.optimum.rank == K
    assert found.per_row is not None
    assert np.mean(found.per_row != hits) <= ROWS_APART
    model, mean, size = probe(Z, data.y)
    assert found.in_sample == pytest.approx(model.score((Z - mean) / size, data.y), abs=1e-12)
    assert found.standard_error == pytest.approx(np.std(found.per_row, ddof=1) / np.sqrt(len(Z)))


def test_folds_leave_rows_out_of_the_relation_too() -> None:
    """Labels as pairs: what remains of the optimism of leave-one-out is taken off by folds, solved anew by scipy."""
    data, K, gamma, folds = wine(), 2, 0.5, 4
    graph = ss.relations.labels(data)
    found = predicted_score(ss.VICReg(invariance=gamma), graph, K, data.y, X=data.X, folds=folds, seed=3)
    part = np.empty(178, dtype=int)
    part[np.random.default_rng(3).permutation(178)] = np.arange(178) % folds
    A = graph.to_csr().toarray()
    hits = np.empty(178)
    for fold in range(folds):
        keep, out = np.flatnonzero(part != fold), np.flatnonzero(part == fold)
        X = data.X[keep]
        W = whitened(X, A[np.ix_(keep, keep)], gamma, K)
        model, mean, size = probe((X - X.mean(axis=0)) @ W, data.y[keep])
        hits[out] = model.predict(((data.X[out] - X.mean(axis=0)) @ W - mean) / size) == data.y[out]
    assert found.how == "folds"
    assert found.per_row is not None
    assert found.per_row.tolist() == hits.tolist()


def test_random_labels_are_seen_through_by_folds_only() -> None:
    """Pairs made from labels that mean nothing: the embedding has learnt them, so leave-one-out of the probe alone is
    taken in; rows left out of the relation are judged at chance."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((120, 40)), rng.integers(0, 3, 120)
    graph = ss.relations.labels(ss.Dataset(name="noise", X=X, y=y))
    fooled = predicted_score(ss.VICReg(), graph, 2, y, X=X)
    honest = predicted_score(ss.VICReg(), graph, 2, y, X=X, folds=10)
    assert fooled.score > 0.6
    assert abs(honest.score - 1 / 3) < 4 * honest.standard_error


def test_few_labels_are_predicted_as_probes_on_few_labels_score() -> None:
    data, K = wine(), 2
    graph = ss.relations.knn(data, n_neighbors=6)
    found = predicted_score(ss.VICReg(), graph, K, data.y, X=data.X, n_labels=9, draws=15, seed=4)
    Z = found.optimum.embedding.Z
    rng, scores = np.random.default_rng(4), []
    while len(scores) < 15:
        drawn = rng.permutation(178)
        few, rest = drawn[:9], drawn[9:]
        if np.unique(data.y[few]).size > 1:
            model, mean, size = probe(Z[few], data.y[few])
            scores.append(model.score((Z[rest] - mean) / size, data.y[rest]))
    assert (found.n_labels, found.how) == (9, "draws")
    assert found.score == pytest.approx(np.mean(scores), abs=1e-12)
    assert found.standard_error == pytest.approx(np.std(scores, ddof=1) / np.sqrt(15), rel=1e-9)
    assert found.score < predicted_score(ss.VICReg(), graph, K, data.y, X=data.X).score


def test_views_are_predicted_on_their_originals() -> None:
    data = wine()
    views = ss.augment(data, n_views=2, transforms="noise(scale=0.3)", seed=0)
    graph = ss.relations.views(views)
    found = predicted_score(ss.VICReg(), graph, 3, data.y, X=views.X, on=data.X)
    assert found.n_labels == data.n_samples
    Z = found.optimum.embedding.transform(data.X)
    assert found.score == ss.theory.leave_one_out(Z, data.y).score
    assert found.score != predicted_score(ss.VICReg(), graph, 3, views.y, X=views.X).score


def test_numbers_and_other_models_are_predicted_too() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60, 5))
    y = X[:, 0] + 0.1 * rng.standard_normal(60)
    graph = ss.relations.knn(ss.Dataset(name="numbers", X=X), n_neighbors=5)
    free = predicted_score(ss.VICReg(), graph, 3, y, probe="least_squares", probe_ridge=None)
    kernel = predicted_score(ss.VICReg(), graph, 3, y, X=X, kernel="exact", ridge=1.0, probe="least_squares")
    for found in (free, kernel):
        assert found.score < found.in_sample + 1e-9
        assert np.isfinite(found.score)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_labels": 1}, "from 2 to 177"),
        ({"n_labels": 178}, "from 2 to 177"),
        ({"n_labels": 5, "draws": 0}, "draws must be a whole number at least 1"),
        ({"n_labels": 5, "draws": 2.5}, "draws must be a whole number at least 1"),
        ({"n_labels": 5, "seed": -1}, "seed must be a whole number"),
        ({"n_labels": 5, "probe": "least_squares"}, "leave probe= and probe_ridge= out"),
        ({"n_labels": 5, "probe_ridge": 2.0}, "leave probe= and probe_ridge= out"),
        ({"n_labels": 5, "y": np.zeros(178, dtype=int)}, "all known labels are equal"),
        ({"n_labels": 5, "y": np.full(178, 0.5)}, "all known labels are equal"),
        ({"folds": 3, "probe_ridge": 2.0}, "leave probe= and probe_ridge= out"),
        ({"n_labels": 5, "folds": 3}, "not both"),
        ({"folds": 1}, "from 2 to the 178 labelled rows"),
        ({"folds": 3, "on": np.zeros((178, 13))}, "leave on= out"),
        ({"folds": 3, "probe": "least_squares"}, "leave probe= and probe_ridge= out"),
        ({"y": np.zeros(5, dtype=int)}, "labels"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict, words: str) -> None:
    data = wine()
    graph = ss.relations.labels(data)
    options = {"y": data.y} | options
    with warnings.catch_warnings(), pytest.raises(DataError, match=words):
        predicted_score(ss.VICReg(), graph, 2, options.pop("y"), X=data.X, **options)


def test_folds_need_the_graph_itself() -> None:
    data = wine()
    with pytest.raises(DataError, match="pass the graph itself"):
        predicted_score(ss.VICReg(), ss.Spectra(ss.relations.labels(data), X=data.X), 2, data.y, folds=3)
    with pytest.raises(DataError, match="pass the graph itself and X"):
        predicted_score(ss.VICReg(), ss.relations.labels(data), 2, data.y, folds=3)
