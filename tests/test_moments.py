"""Moments against their definitions by explicit centring; shards, large offsets, linear maps, files.

X (N, D), A (N, N), deg = A 1, s = sum(deg), L = diag(deg) - A, H = I - 11'/N.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st

from spectral_ssl import moments as moments_module
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph, Groups
from spectral_ssl.methods.base import embedding_moments
from spectral_ssl.moments import Moments

EXACT = 1e-12  # relative to the size of each matrix: sums of at most 60 products

NAMES = (
    "mean",
    "degree_mean",
    "scatter",
    "laplacian",
    "degree_scatter",
    "gram",
    "degree_gram",
    "adjacency",
    "adjacency_centred",
)
seeds = st.integers(0, 2**32 - 1)


def random_graph(rng: np.random.Generator, N: int, storage: str = "mixed") -> Graph:
    edges = None
    if storage != "groups":
        i, j = rng.integers(0, N, (2, 2 * N))
        edges = Graph.from_pairs(i, j, N, rng.random(2 * N)).edges
    groups: tuple[Groups, ...] = ()
    if storage != "edges":
        groups = (
            Groups(np.append(rng.integers(-1, 3, N - 2), [0, 0]), np.array([0.5, 1.0, 0.0]), True),
            Groups(np.append(rng.integers(-1, 2, N - 2), [1, 1]), np.array([1.0, 0.25]), False),
        )
    return Graph(N, edges, groups)


def by_definition(X: np.ndarray, A: np.ndarray) -> dict[str, np.ndarray]:
    """Every moment with its centring matrix written out."""
    N = len(X)
    deg = A.sum(axis=1)
    s = deg.sum()
    H, Hd = np.eye(N) - 1 / N, np.eye(N) - np.outer(np.ones(N), deg) / s
    D, L = np.diag(deg), np.diag(deg) - A
    return {
        "mean": X.mean(axis=0),
        "degree_mean": deg @ X / s,
        "scatter": X.T @ H @ X,
        "laplacian": X.T @ L @ X,
        "degree_scatter": X.T @ Hd.T @ D @ Hd @ X,
        "gram": X.T @ X,
        "degree_gram": X.T @ D @ X,
        "adjacency": X.T @ A @ X,
        "adjacency_centred": X.T @ Hd.T @ A @ Hd @ X,
    }


def assert_equal(found: Moments, expected: Any, tol: float = EXACT) -> None:
    for name in NAMES:
        target = np.asarray(expected[name] if isinstance(expected, dict) else getattr(expected, name))
        size = max(float(np.abs(target).max()), 1e-300)
        np.testing.assert_allclose(np.asarray(getattr(found, name)) / size, target / size, atol=tol, err_msg=name)


@given(seeds, st.integers(3, 20), st.integers(1, 5), st.sampled_from(["edges", "groups", "mixed"]))
def test_moments_are_the_explicitly_centred_products(seed: int, N: int, D: int, storage: str) -> None:
    rng = np.random.default_rng(seed)
    X, graph = rng.standard_normal((N, D)) + rng.standard_normal(D), random_graph(rng, N, storage)
    A = graph.to_csr().toarray()
    found = Moments.from_arrays(X, graph)
    size = np.abs(A).sum() * (1 + np.abs(X).max()) ** 2
    for name, expected in by_definition(X, A).items():
        np.testing.assert_allclose(getattr(found, name), expected, atol=EXACT * size, err_msg=name)
    assert found.n_samples == N
    assert found.n_features == D
    assert found.total_weight == pytest.approx(A.sum())
    assert found.adjacency_norm2 == pytest.approx((A**2).sum())
    for name in NAMES[2:]:
        M = getattr(found, name)
        np.testing.assert_allclose(M, M.T, atol=EXACT * size)


@given(seeds, st.integers(3, 20))
def test_groups_and_edges_of_one_relation_have_the_same_moments(seed: int, N: int) -> None:
    rng = np.random.default_rng(seed)
    X, graph = rng.standard_normal((N, 3)), random_graph(rng, N, "groups")
    expanded = Graph.from_adjacency(graph.to_csr())
    assert expanded.groups == ()
    assert_equal(Moments.from_arrays(X, graph), Moments.from_arrays(X, expanded), 1e2 * EXACT)


@given(seeds, st.integers(1, 4))
def test_moments_are_closed_under_linear_maps(seed: int, K: int) -> None:
    rng = np.random.default_rng(seed)
    X, W, graph = rng.standard_normal((15, 4)), rng.standard_normal((4, K)), random_graph(rng, 15)
    mapped, direct = Moments.from_arrays(X, graph).map(W), Moments.from_arrays(X @ W, graph)
    assert_equal(mapped, direct, 1e2 * EXACT)
    assert (mapped.n_samples, mapped.total_weight, mapped.adjacency_norm2) == (
        direct.n_samples,
        direct.total_weight,
        direct.adjacency_norm2,
    )
    assert mapped.n_features == K


def test_tensors_are_mapped_and_derived_like_arrays() -> None:
    """The moments of an embedding as torch tensors, computed another way: the identities between them must agree."""
    rng = np.random.default_rng(0)
    X, W, graph = rng.standard_normal((15, 4)), rng.standard_normal((4, 2)), random_graph(rng, 15)
    tensors = embedding_moments(torch.as_tensor(X), graph)
    assert_equal(tensors, Moments.from_arrays(X, graph), 1e2 * EXACT)
    assert_equal(tensors.map(torch.as_tensor(W)), Moments.from_arrays(X @ W, graph), 1e2 * EXACT)


# --- shards -----------------------------------------------------------------------------------------------------------


def shards(
    rng: np.random.Generator, n_shards: int, offset: float
) -> tuple[list[tuple[np.ndarray, Graph]], np.ndarray, Graph]:
    parts = []
    for _ in range(n_shards):
        N = int(rng.integers(3, 12))
        drift = offset * (1 + 0.1 * rng.standard_normal(3)) + rng.standard_normal(3)
        parts.append((rng.standard_normal((N, 3)) + drift, random_graph(rng, N)))
    whole = scipy.sparse.block_diag([g.to_csr() for _, g in parts], format="csr")
    return parts, np.vstack([X for X, _ in parts]), Graph.from_adjacency(whole)


@given(seeds, st.integers(1, 5), st.randoms(use_true_random=False))
def test_shards_merged_in_any_order_equal_one_pass(seed: int, n_shards: int, random: Any) -> None:
    parts, X, graph = shards(np.random.default_rng(seed), n_shards, 0.0)
    once = Moments.from_arrays(X, graph)
    merged = Moments.from_chunks(iter(parts))
    assert_equal(merged, once)
    assert merged.n_samples == once.n_samples
    assert merged.total_weight == pytest.approx(once.total_weight)
    assert merged.adjacency_norm2 == pytest.approx(once.adjacency_norm2)
    random.shuffle(parts)
    assert_equal(Moments.from_chunks(parts), once)
    # a tree of merges: + is associative
    moments = [Moments.from_arrays(*part) for part in parts]
    while len(moments) > 1:
        moments = (
            [moments[0] + moments[1], *moments[2:]]
            if random.random() < 0.5
            else [*moments[2:], moments[1] + moments[0]]
        )
    assert_equal(moments[0], once)


@given(seeds, st.integers(1, 4))
def test_a_mean_of_a_million_costs_no_digit_of_the_scatters(seed: int, n_shards: int) -> None:
    """Offsets removed exactly, by integers: X + 1e6 holds fewer digits of X, and nothing further may be lost."""
    rng = np.random.default_rng(seed)
    parts, X, graph = shards(rng, n_shards, 0.0)
    parts = [(np.round(Y * 2**20) / 2**20, g) for Y, g in parts]  # so that Y + 1e6 is exact
    X = np.vstack([Y for Y, _ in parts])
    near = by_definition(X, graph.to_csr().toarray())
    size = np.abs(X).max() ** 2 * graph.total_weight
    for far in (Moments.from_arrays(X + 1e6, graph), Moments.from_chunks([(Y + 1e6, g) for Y, g in parts])):
        for name in ("scatter", "laplacian", "degree_scatter", "adjacency_centred"):
            np.testing.assert_allclose(getattr(far, name), near[name], atol=1e-9 * size, err_msg=name)
        np.testing.assert_allclose(far.mean, 1e6 + near["mean"], rtol=1e-15)


def test_shards_far_apart_merge_without_losing_their_own_scatter() -> None:
    """Shard means 1e6 apart: the between-shard part is exact algebra, checked in integers."""
    X1, X2 = np.array([[0.0], [2.0]]), np.array([[1e6], [1e6 + 2]])
    pair = Graph.from_pairs([0], [1], 2)
    merged = Moments.from_arrays(X1, pair) + Moments.from_arrays(X2, pair)
    assert merged.mean[0] == 500_001
    assert merged.scatter[0, 0] == 2 + 2 + 10**12  # n1 n2 / (n1 + n2) times (1e6)^2
    assert merged.laplacian[0, 0] == 4 + 4
    assert merged.degree_scatter[0, 0] == 2 + 2 + 10**12


def test_shards_of_unlike_weight_are_merged_by_weight() -> None:
    """The degree mean weighs shards by s, the plain mean by N."""
    heavy, light = Graph.from_pairs([0], [1], 2, [9.0]), Graph.from_pairs([0, 1], [1, 2], 3)
    X1, X2 = np.full((2, 1), 1.0), np.full((3, 1), 6.0)
    merged = Moments.from_arrays(X1, heavy) + Moments.from_arrays(X2, light)
    assert merged.mean[0] == pytest.approx((2 * 1 + 3 * 6) / 5)
    assert merged.degree_mean[0] == pytest.approx((18 * 1 + 4 * 6) / 22)


@pytest.mark.parametrize("rows", [1, 7, 19, 20, 64])
@pytest.mark.parametrize("storage", ["edges", "groups", "mixed"])
def test_row_blocks_of_any_size_give_the_same_sums(rows: int, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(rows)
    X, graph = rng.standard_normal((20, 3)), random_graph(rng, 20, storage)
    expected = by_definition(X, graph.to_csr().toarray())
    monkeypatch.setattr(moments_module, "ROWS", rows)
    assert_equal(Moments.from_arrays(X, graph), expected, 1e2 * EXACT)


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, -37.3, 1e6])
@pytest.mark.parametrize("seed", range(8))
def test_a_constant_feature_has_exactly_no_scatter_whatever_its_value(value: float, seed: int) -> None:
    """Plain and degree-weighted means round differently; what is left must not pass for a direction."""
    rng = np.random.default_rng(seed)
    N = int(rng.integers(20, 300))
    X = rng.standard_normal((N, 3))
    X[:, 1] = value
    parts = [(X[: N // 2], random_graph(rng, N // 2)), (X[N // 2 :], random_graph(rng, N - N // 2))]
    for found in (Moments.from_arrays(X, random_graph(rng, N)), Moments.from_chunks(parts)):
        for M in (found.scatter, found.degree_scatter):
            assert np.all(M[1] == 0)
            assert np.all(M[:, 1] == 0)
            assert M[0, 0] > 0
        np.testing.assert_allclose(found.laplacian[1], 0, atol=1e-9)
        np.testing.assert_allclose(found.mean[1], value, rtol=1e-15)


def test_one_pass_makes_no_second_copy_of_the_data() -> None:
    N, D = 60_000, 40
    X = np.random.default_rng(0).standard_normal((N, D))
    graph = Graph.from_groups(np.arange(N) % 10)
    tracemalloc.start()
    Moments.from_arrays(X, graph)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.7 * X.nbytes


# --- files and bad input ----------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    Moments.from_arrays(rng.standard_normal((12, 3)), random_graph(rng, 12)).save(tmp_path / "moments.npz")
    return tmp_path / "moments.npz"


def test_what_was_saved_is_loaded_bit_for_bit(stored: Path) -> None:
    rng = np.random.default_rng(0)
    original = Moments.from_arrays(rng.standard_normal((12, 3)), random_graph(rng, 12))
    for path in (stored, str(stored)):
        loaded = Moments.load(path)
        for field in fields(Moments):
            np.testing.assert_array_equal(getattr(loaded, field.name), getattr(original, field.name))
        assert type(loaded.n_samples) is int
        assert type(loaded.total_weight) is float


def test_the_path_is_taken_as_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Moments.from_arrays(rng.standard_normal((12, 3)), random_graph(rng, 12)).save(tmp_path / "moments.v1")
    assert [p.name for p in tmp_path.iterdir()] == ["moments.v1"]


def rewrite(path: Path, **changes: Any) -> None:
    with np.load(path) as file:
        arrays = {**dict(file), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize("keep", [0, 10, 500, -30])
def test_a_file_cut_short_is_refused(stored: Path, keep: int) -> None:
    stored.write_bytes(stored.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"is not a moments file written by Moments\.save"):
        Moments.load(stored)


def test_a_flipped_byte_is_refused(stored: Path) -> None:
    content = bytearray(stored.read_bytes())
    content[content.index(b"scatter.npy") + 150] ^= 0xFF  # inside the array, where only the checksum can tell
    stored.write_bytes(bytes(content))
    with pytest.raises(DataError, match="is not a moments file"):
        Moments.load(stored)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"laplacian": None}, "laplacian"),
        (
            {"laplacian": np.zeros((2, 2))},
            r"laplacian should be finite numbers of shape \(3, 3\), got float64 of shape \(2, 2\)",
        ),
        ({"mean": np.array(1.0)}, "mean should be finite numbers"),
        ({"scatter": np.full((3, 3), np.nan)}, "scatter should be finite numbers"),
        ({"n_samples": np.array([12, 12])}, r"n_samples should be finite numbers of shape \(\)"),
        ({"total_weight": np.array("heavy")}, "total_weight should be finite numbers"),
    ],
)
def test_a_file_with_other_contents_is_refused(stored: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(stored, **changes)
    with pytest.raises(DataError, match=message):
        Moments.load(stored)


def test_other_files_and_pickles_are_refused_unopened(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "pickle.npz", **{field.name: np.array([object()]) for field in fields(Moments)})
    (tmp_path / "text").write_text("mean,scatter\n")
    for name in ("array.npy", "pickle.npz", "text", "missing.npz"):
        with pytest.raises(DataError, match=rf"{name}' is not a moments file"):
            Moments.load(tmp_path / name)


pair = Graph.from_pairs([0], [1], 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Moments.from_arrays(np.zeros((3, 2)), pair),
            r"X has shape \(3, 2\), but the relation is over 4 samples",
        ),
        (lambda: Moments.from_arrays(np.zeros(4), pair), r"X has shape \(4,\)"),
        (lambda: Moments.from_arrays([[0.0, np.nan]] * 4, pair), "X holds 4 NaN or infinite values"),
        (lambda: Moments.from_arrays([[0.0, -np.inf]] * 4, pair), "X holds 4 NaN or infinite values"),
        (lambda: Moments.from_chunks([]), "no chunks were given"),
        (
            lambda: Moments.from_chunks([(np.zeros((4, 2)), pair), (np.zeros((4, 3)), pair)]),
            "shards have 2 and 3 features",
        ),
    ],
)
def test_bad_input_is_refused_in_words(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_the_data_are_not_changed() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 3)) + 1e9
    before = X.copy()
    Moments.from_arrays(X, random_graph(rng, 12))
    np.testing.assert_array_equal(X, before)
