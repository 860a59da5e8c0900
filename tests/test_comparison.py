"""Comparing embeddings: metrics against scipy, textbook formulas and loops; probes that rotations leave alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.spatial
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from spectral_ssl.comparison import (
    METRICS,
    align,
    compare,
    effective_rank,
    exact_rank,
    knn_score,
    linear_probe_score,
    principal_angles,
)
from spectral_ssl.embedding import Embedding
from spectral_ssl.errors import DataError

ARCCOS = 1e-7  # scipy takes all angles from cosines where one is large: sqrt(2 eps) and a few roundings near zero

seeds = st.integers(0, 2**32 - 1)


def orthonormal(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, k)))[0]


# --- angles -----------------------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 4), st.integers(4, 12))
def test_angles_between_ranges_are_scipys(seed: int, K: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    Z1, Z2 = rng.standard_normal((N, K)), rng.standard_normal((N, K))
    expected = scipy.linalg.subspace_angles(Z1, Z2)
    np.testing.assert_allclose(principal_angles(Z1, Z2), expected, atol=ARCCOS)
    assert compare(Z1, Z2)["max_angle"] == pytest.approx(expected.max(), abs=ARCCOS)


@pytest.mark.parametrize("angle", [1e-12, 1e-10, 1e-8, 1e-3, 1.0, math.pi / 2])
def test_tiny_angles_are_told_from_zero(angle: float) -> None:
    """arccos of a cosine cannot see an angle below 1.5e-8; scales of the columns do not matter."""
    F = orthonormal(np.random.default_rng(0), 30, 5)
    tilted = np.column_stack([F[:, 0], F[:, 1], math.cos(angle) * F[:, 2] + math.sin(angle) * F[:, 3]])
    found = principal_angles(tilted @ np.diag([1.0, 5.0, 2.0]), F[:, :3] @ np.diag([3.0, 0.1, 1.0]))
    np.testing.assert_allclose(found, [angle, 0, 0], atol=1e-15 * 10 + 1e-8 * angle)


def test_the_top_singular_subspace_of_the_first_is_compared_at_the_rank_of_the_reference() -> None:
    F = orthonormal(np.random.default_rng(0), 20, 6)
    trained = F[:, :4] * [3.0, 2.0, 1e-3, 1e-4]  # two directions used, two left over
    reference = Embedding(Z=F[:, :4] * [1.0, 1.0, 0.0, 0.0], rank=2)
    assert compare(trained, reference)["max_angle"] < 1e-12
    assert compare(trained, reference)["leftover"] == pytest.approx(1e-3 / 3)
    # an array has the rank of its singular values above 1e-6 of the largest
    assert compare(trained, F[:, :4] * [1.0, 1.0, 1e-7, 0.0])["max_angle"] < 1e-6
    assert compare(trained, F[:, :4] * [1.0, 1.0, 1e-5, 0.0])["max_angle"] < 1e-9
    assert compare(trained, F[:, :4] * [1.0, 1.0, 0.0, 1.0])["max_angle"] == pytest.approx(math.pi / 2)


def test_directions_that_the_first_lacks_are_right_angles() -> None:
    """A subset of the reference is at angle zero to it, and still has not learned it."""
    F = orthonormal(np.random.default_rng(0), 20, 3)
    for narrow in (F[:, :1], F[:, :1] @ np.ones((1, 3)), np.column_stack([F[:, 0], np.zeros(20), np.zeros(20)])):
        np.testing.assert_allclose(principal_angles(narrow, F), [math.pi / 2, math.pi / 2, 0], atol=1e-12)
    np.testing.assert_allclose(principal_angles(np.zeros((20, 3)), F), math.pi / 2)
    axes = np.eye(6)[:, :3]  # here LAPACK completes the basis of a collapsed embedding by the axes themselves
    np.testing.assert_allclose(principal_angles(axes * [1.0, 0, 0], axes), [math.pi / 2, math.pi / 2, 0])


def test_a_collapsed_reference_has_no_angle() -> None:
    Z = orthonormal(np.random.default_rng(0), 10, 2)
    assert principal_angles(Z, np.zeros((10, 2))).size == 0
    result = compare(Z, np.zeros((10, 2)))
    assert math.isnan(result["max_angle"])
    assert math.isnan(result["procrustes"])
    assert math.isnan(result["linear_cka"])
    assert math.isnan(result["spectrum_distance"])


# --- the other metrics ------------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 4), st.integers(1, 4))
def test_cka_is_that_of_the_centred_gram_matrices(seed: int, K1: int, K2: int) -> None:
    """Kornblith et al. (2019): HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), N x N, by loops."""
    rng = np.random.default_rng(seed)
    N = 7
    Z1, Z2 = rng.standard_normal((N, K1)) + 1, rng.standard_normal((N, K2)) - 2
    H = np.eye(N) - 1 / N

    def hsic(A: np.ndarray, B: np.ndarray) -> float:
        G1, G2 = H @ (A @ A.T) @ H, H @ (B @ B.T) @ H
        return sum(G1[i, j] * G2[i, j] for i in range(N) for j in range(N))

    expected = hsic(Z1, Z2) / math.sqrt(hsic(Z1, Z1) * hsic(Z2, Z2))
    assert compare(Z1, Z2)["linear_cka"] == pytest.approx(expected, rel=1e-9)


@given(seeds, st.integers(1, 4))
def test_procrustes_is_scipys(seed: int, K: int) -> None:
    """scipy.spatial.procrustes scales both to norm 1 and fits rotation and scale: its disparity is ours."""
    rng = np.random.default_rng(seed)
    Z1, Z2 = rng.standard_normal((9, K)) + 3, 10 * rng.standard_normal((9, K))
    expected = scipy.spatial.procrustes(Z2, Z1)[2]
    assert compare(Z1, Z2)["procrustes"] == pytest.approx(expected, abs=1e-9)


@given(seeds, st.integers(1, 4), st.integers(1, 4))
def test_procrustes_of_unequal_widths_pads_the_narrower_by_zeros(seed: int, K1: int, K2: int) -> None:
    rng = np.random.default_rng(seed)
    Z1, Z2 = rng.standard_normal((9, K1)), rng.standard_normal((9, K2))
    K = max(K1, K2)
    padded = [np.pad(Z, ((0, 0), (0, K - Z.shape[1]))) for Z in (Z1, Z2)]
    assert compare(Z1, Z2)["procrustes"] == pytest.approx(scipy.spatial.procrustes(padded[1], padded[0])[2], abs=1e-9)


def test_a_wide_embedding_is_not_equal_to_one_of_its_parts() -> None:
    rng = np.random.default_rng(0)
    Z, noise = rng.standard_normal((40, 2)), rng.standard_normal((40, 2))
    assert compare(np.hstack([Z, noise]), Z)["procrustes"] > 0.3
    assert compare(np.hstack([Z, 1e-9 * noise]), Z)["procrustes"] < 1e-15


@given(seeds, st.integers(1, 4))
def test_align_is_the_best_rotation_and_scale(seed: int, K: int) -> None:
    """scipy's orthogonal_procrustes gives the rotation; a scalar search finds no better scale."""
    rng = np.random.default_rng(seed)
    Z, reference = rng.standard_normal((9, K)), rng.standard_normal((9, K)) + 5
    A, B = Z - Z.mean(axis=0), reference - reference.mean(axis=0)
    Q = scipy.linalg.orthogonal_procrustes(A, B)[0]
    scale = scipy.optimize.minimize_scalar(lambda c: ((c * A @ Q - B) ** 2).sum()).x
    np.testing.assert_allclose(align(Z, reference), scale * A @ Q, atol=1e-6)


def test_align_undoes_a_rotation_and_returns_the_width_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    Z, Q = rng.standard_normal((9, 3)), orthonormal(rng, 3, 3)
    np.testing.assert_allclose(align(0.1 * Z @ Q + 4, Z), Z - Z.mean(axis=0), atol=1e-12)
    assert align(Z, Z[:, :2]).shape == (9, 2)
    assert align(Z[:, :2], Z).shape == (9, 3)
    np.testing.assert_array_equal(align(np.zeros((9, 3)), Z), 0)


@given(st.lists(st.floats(1e-3, 10), min_size=1, max_size=5), seeds)
def test_effective_rank_is_the_exponential_of_the_entropy(s: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    Z = orthonormal(rng, 12, len(s)) * s @ orthonormal(rng, len(s), len(s))
    assert effective_rank(Z) == pytest.approx(math.exp(scipy.stats.entropy(np.array(s))), rel=1e-9)
    assert exact_rank(Z) == len(s)


def test_ranks_of_known_spectra() -> None:
    F = orthonormal(np.random.default_rng(0), 12, 4)
    assert effective_rank(F) == pytest.approx(4)
    assert effective_rank(F * [1.0, 0, 0, 0]) == pytest.approx(1)
    assert effective_rank(F * [1.0, 1.0, 0, 0]) == pytest.approx(2)
    assert [exact_rank(F * [1.0, 1e-5, 1e-7, 0.0]), exact_rank(np.zeros((5, 2)))] == [2, 0]
    assert effective_rank(np.zeros((5, 2))) == 0.0


def test_the_distance_of_spectra_is_relative_to_the_reference_and_pads_by_zeros() -> None:
    F = orthonormal(np.random.default_rng(0), 12, 3)
    assert compare(F * [3.0, 2.0, 1.0], F * [4.0, 2.0, 2.0])["spectrum_distance"] == pytest.approx(1 / 4)
    assert compare(F[:, :1] * 4.0, F * [4.0, 2.0, 1.0])["spectrum_distance"] == pytest.approx(2 / 4)


@given(seeds, st.integers(1, 4))
def test_no_metric_sees_a_rotation_of_either_embedding(seed: int, K: int) -> None:
    rng = np.random.default_rng(seed)
    Z1, Z2 = rng.standard_normal((12, K)), rng.standard_normal((12, K))
    plain = compare(Z1, Z2)
    turned = compare(Z1 @ orthonormal(rng, K, K), Z2 @ orthonormal(rng, K, K))
    assert set(plain) == set(METRICS)
    for name, value in plain.items():
        # angles near a right angle are read from sines of slope zero
        assert turned[name] == pytest.approx(value, abs=1e-6 if name == "max_angle" else 1e-9), name


def test_an_embedding_equals_itself() -> None:
    Z = np.random.default_rng(0).standard_normal((30, 4))
    result = compare(Z, Z)
    assert result["max_angle"] < 1e-13
    assert result["procrustes"] < 1e-28
    assert result["linear_cka"] == pytest.approx(1, abs=1e-13)
    assert (result["leftover"], result["spectrum_distance"], result["rank"]) == (0, 0, 4)


# --- probes -----------------------------------------------------------------------------------------------------------


def classes(seed: int = 0, n: int = 120, spread: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    centres = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])
    return centres[y] + spread * rng.standard_normal((n, 3)), y


@pytest.mark.parametrize("probe", [linear_probe_score, knn_score])
@pytest.mark.parametrize("classification", [True, False])
def test_probes_do_not_see_rotations_shifts_and_scales(probe: Any, classification: bool) -> None:
    """An optimum is unique up to a rotation; a probe of standardised columns would judge the one it was given."""
    Z, y = classes()
    target = y if classification else Z[:, 1] + np.sin(Z[:, 0])
    Q = orthonormal(np.random.default_rng(1), 3, 3)
    train, test = slice(0, 80), slice(80, None)
    plain = probe(Z[train], target[train], Z[test], target[test], classification=classification)
    for scale in (1e-6, 1.0, 1e6):
        turned = scale * (Z @ Q + 3)
        score = probe(turned[train], target[train], turned[test], target[test], classification=classification)
        assert score == pytest.approx(plain, abs=1e-9)
    stretched = Z * [1.0, 1e-3, 1.0]  # while a stretch of one column is no rotation, and is seen
    score = probe(stretched[train], target[train], stretched[test], target[test], classification=classification)
    assert score < plain - 0.01


@pytest.mark.parametrize("probe", [linear_probe_score, knn_score])
def test_probes_find_what_is_there_and_nothing_where_nothing_is(probe: Any) -> None:
    Z, y = classes(spread=0.05)
    assert probe(Z[:80], y[:80], Z[80:], y[80:], classification=True) == 1.0
    rng = np.random.default_rng(0)
    scores = [
        probe(
            rng.standard_normal((90, 3)),
            np.arange(90) % 3,
            rng.standard_normal((300, 3)),
            np.arange(300) % 3,
            classification=True,
        )
        for _ in range(10)
    ]
    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.05)  # 3000 draws: standard deviation 0.01


@pytest.mark.parametrize("probe", [linear_probe_score, knn_score])
def test_test_labels_reach_the_score_and_nothing_else(probe: Any) -> None:
    """Swapping the test labels turns right into wrong: no label of a test row has helped to predict it."""
    Z, y = classes(spread=0.05)
    y = np.minimum(y, 1)
    assert probe(Z[:80], y[:80], Z[80:], 1 - y[80:], classification=True) == 0.0
    alone = [probe(Z[:80], y[:80], Z[k : k + 1], y[k : k + 1], classification=True) for k in range(80, 90)]
    together = probe(Z[:80], y[:80], Z[80:90], y[80:90], classification=True)
    assert np.mean(alone) == together  # rows are scored one by one: centring and scale come from the training rows


def test_scores_are_scikit_learns_definitions() -> None:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    Z, y = classes()
    mean = Z[:80].mean(axis=0)
    size = np.sqrt(((Z[:80] - mean) ** 2).sum() / 80)
    A, B = (Z[:80] - mean) / size, (Z[80:] - mean) / size
    t = Z[:, 0] + np.sin(Z[:, 1])
    logistic = LogisticRegression(C=100.0, max_iter=10_000, tol=1e-9).fit(A, y[:80])
    cases: list[tuple[Any, Any, Any, bool, dict[str, int]]] = [
        (linear_probe_score, logistic.score(B, y[80:]), y, True, {}),
        (linear_probe_score, Ridge(alpha=1e-3).fit(A, t[:80]).score(B, t[80:]), t, False, {}),
        (knn_score, KNeighborsClassifier(5).fit(A, y[:80]).score(B, y[80:]), y, True, {}),
        (knn_score, KNeighborsRegressor(3).fit(A, t[:80]).score(B, t[80:]), t, False, {"n_neighbors": 3}),
        (knn_score, KNeighborsClassifier(80).fit(A, y[:80]).score(B, y[80:]), y, True, {"n_neighbors": 500}),
    ]
    for probe, expected, target, classification, options in cases:
        found = probe(Z[:80], target[:80], Z[80:], target[80:], classification=classification, **options)
        assert found == pytest.approx(expected, abs=1e-12)


def test_a_collapsed_embedding_predicts_the_majority() -> None:
    y = np.array([0] * 6 + [1] * 3)
    assert linear_probe_score(np.ones((9, 2)), y, np.ones((4, 2)), [0, 0, 0, 1], classification=True) == 0.75


# --- bad input --------------------------------------------------------------------------------------------------------

Z3 = np.random.default_rng(0).standard_normal((6, 3))


def probe(*arrays: Any, classification: bool = True) -> float:
    return linear_probe_score(*arrays, classification=classification)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: compare(Z3, Z3[:5]), "embeddings of 6 and 5 samples cannot be compared"),
        (lambda: compare(Z3[:, 0], Z3), r"the first embedding has shape \(6,\), expected \(N, K\)"),
        (
            lambda: compare(Z3, Z3[:1]),
            r"the second embedding has shape \(1, 3\), expected \(N, K\) with at least 2 samples",
        ),
        (lambda: compare(Z3[:, :0], Z3), r"shape \(6, 0\).*1 component"),
        (lambda: compare(Z3, np.where(Z3 > 1, np.nan, Z3)), "the second embedding holds .* NaN or infinite values"),
        (lambda: compare(Embedding(Z=Z3 * np.inf), Z3), "the first embedding holds 18 NaN or infinite values"),
        (lambda: compare(Embedding(Z=np.zeros((0, 3))), Z3), r"the first embedding has shape \(0, 3\)"),
        (lambda: principal_angles(Z3, Z3 * np.nan), "the second embedding holds"),
        (lambda: probe(Z3, [0] * 6, Z3, [0] * 6), "at least two classes among the training labels"),
        (lambda: probe(Z3, [0, 1], Z3, [0, 1]), "6 training and 6 test rows need as many labels, got 2 and 2"),
        (lambda: probe(Z3, [0, 1] * 3, Z3[:, :2], [0, 1] * 3), r"rows of one width.*\(6, 3\) and \(6, 2\)"),
        (lambda: probe(Z3, [0, 1] * 3, Z3[:0], []), r"got shapes \(6, 3\) and \(0, 3\)"),
        (lambda: probe(Z3 * np.nan, [0, 1] * 3, Z3, [0, 1] * 3), "holds NaN or infinite values"),
        (
            lambda: knn_score(Z3, [0, 1] * 3, Z3 * np.inf, [0, 1] * 3, classification=True),
            "holds NaN or infinite values",
        ),
    ],
)
def test_bad_input_is_refused_in_words(make: Any, message: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(DataError, match=message):
        make()


def test_every_metric_says_what_it_measures() -> None:
    assert all(metric.__doc__ or metric.__name__ == "<lambda>" for metric in METRICS.values())
