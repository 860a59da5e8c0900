"""Label energy and homophily of a relation. Witnesses: naive loops over pairs, dense eigenvectors, scikit-learn."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.linalg
from sklearn.linear_model import LinearRegression

import spectral_ssl as ss
from spectral_ssl.errors import DataError
from spectral_ssl.theory import edge_homophily, label_alignment

ROUNDING = 1e-9  # dense eigenvectors of some dozens of samples, gaps of 1e-3 and more
N = 26


def relation(seed: int = 0, *, loops: bool = True) -> np.ndarray:
    """A connected irregular adjacency (N, N), self-pairs included."""
    rng = np.random.default_rng(seed)
    A = rng.random((N, N)) * (rng.random((N, N)) < 0.2)
    A = A + A.T
    A[np.arange(N - 1), np.arange(1, N)] += 0.3
    A[np.arange(1, N), np.arange(N - 1)] += 0.3
    np.fill_diagonal(A, rng.random(N) if loops else 0.0)
    return A


def counted(A: np.ndarray, y: np.ndarray, missing: object) -> float:
    """Homophily, pair by pair."""
    same = total = 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            if i != j and y[i] != missing and y[j] != missing:
                total += A[i, j]
                same += A[i, j] * (y[i] == y[j])
    return same / total


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_homophily_is_the_weight_of_agreeing_pairs(missing: float) -> None:
    rng = np.random.default_rng(1)
    A, y = relation(), rng.integers(0, 3, N)
    y = np.where(rng.random(N) < missing, -1, y)
    assert edge_homophily(ss.Graph.from_adjacency(A), y) == pytest.approx(counted(A, y, -1), rel=1e-12)


@hypothesis.given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_homophily_of_groups_is_that_of_their_pairs(seed: int, diagonal: bool, by_text: bool) -> None:
    rng = np.random.default_rng(seed)
    codes = np.append(rng.integers(-1, 4, 12), [0, 0])
    weight = rng.random(codes.max() + 1) + 0.1
    y = rng.integers(0, 3, codes.size)
    graph = ss.Graph.from_groups(codes, weight=weight, diagonal=diagonal)
    labels = np.array(["a", "b", "c"])[y] if by_text else y
    assert edge_homophily(graph, labels) == pytest.approx(counted(graph.to_csr().toarray(), y, -1), abs=1e-12)


def test_homophily_of_a_label_relation_is_one_and_of_its_rivals_zero() -> None:
    y = np.repeat([0, 1, 2], 4)
    data = ss.Dataset(name="classes", X=np.random.default_rng(0).standard_normal((12, 2)), y=y)
    assert edge_homophily(ss.relations.labels(data), y) == pytest.approx(1.0, abs=1e-12)
    unlike = (y[:, None] != y[None]).astype(float)
    assert edge_homophily(ss.Graph.from_adjacency(unlike), y) == 0.0


def test_energy_is_the_squared_projection_of_the_labels_on_each_eigenvector() -> None:
    A, y = relation(), np.random.default_rng(2).integers(0, 3, N)
    values, U = np.linalg.eigh(np.diag(A.sum(axis=1)) - A)
    Y = np.eye(3)[y]
    HY = Y - Y.mean(axis=0)
    found = label_alignment(ss.Graph.from_adjacency(A), y, N - 1)
    assert found.values == pytest.approx(values[1:], rel=1e-9)
    assert found.energy == pytest.approx(((U[:, 1:].T @ HY) ** 2).sum(axis=1) / (HY**2).sum(), abs=ROUNDING)
    assert found.complete
    assert found.captured(N + 5) == pytest.approx(1.0, abs=ROUNDING)  # there are no more to hold
    with pytest.raises(DataError, match="n_components must be a whole number at least 0, got -1"):
        found.captured(-1)
    assert found.cumulative[-1] == pytest.approx(1.0, abs=ROUNDING)
    # pair by pair: tr(Y'LY) is half the weight of pairs with unlike labels, once for each of two entries
    cut = sum(A[i, j] for i in range(N) for j in range(N) if y[i] != y[j])
    assert found.dirichlet == pytest.approx(cut / (HY**2).sum(), rel=1e-12)
    assert found.dirichlet == pytest.approx(found.values @ found.energy, rel=1e-9)
    assert found.chance == pytest.approx(sum((np.mean(y == c)) ** 2 for c in range(3)))


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("linear", [False, True])
def test_captured_energy_is_the_fit_of_a_linear_probe(linear: bool, numbers: bool) -> None:
    """captured(K) = R^2, over all columns of Y together, of least squares with intercept on the top K."""
    rng = np.random.default_rng(3)
    A, X = relation(4), rng.standard_normal((N, 6)) + 2.0
    y = rng.standard_normal(N) if numbers else rng.integers(0, 3, N)
    Y = y[:, None] if numbers else np.eye(3)[y]
    L = np.diag(A.sum(axis=1)) - A
    if linear:
        Xc = X - X.mean(axis=0)
        scores = Xc @ scipy.linalg.eigh(X.T @ L @ X, Xc.T @ Xc)[1]
    else:
        scores = np.linalg.eigh(L)[1][:, 1:]
    found = label_alignment(ss.Graph.from_adjacency(A), y, 6, X=X if linear else None)
    for K in (1, 3, 6):
        probe = LinearRegression().fit(scores[:, :K], Y).predict(scores[:, :K])
        fit = 1 - ((Y - probe) ** 2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum()
        assert found.captured(K) == pytest.approx(fit, abs=ROUNDING)
    assert (found.homophily is None) == numbers


def test_the_degree_weighted_energy_is_that_of_the_normalised_laplacian() -> None:
    A, y = relation(5, loops=False), np.random.default_rng(6).standard_normal(N)
    deg = A.sum(axis=1)
    values, V = scipy.linalg.eigh(np.diag(deg) - A, np.diag(deg))
    centred = y - deg @ y / deg.sum()
    expected = (V[:, 1:].T @ (deg * centred)) ** 2 / (deg @ centred**2)
    found = label_alignment(ss.Graph.from_adjacency(A), y, N - 1, pencil="degree_centred")
    assert found.values == pytest.approx(values[1:], rel=1e-8)
    assert found.energy == pytest.approx(expected, abs=ROUNDING)
    assert found.dirichlet == pytest.approx(found.values @ found.energy, rel=1e-8)


def test_rows_without_a_label_take_no_part() -> None:
    A, rng = relation(7), np.random.default_rng(8)
    y = rng.standard_normal(N)
    y[::3] = np.nan
    known = ~np.isnan(y)
    centred = np.where(known, y - y[known].mean(), 0.0)
    U = np.linalg.eigh(np.diag(A.sum(axis=1)) - A)[1][:, 1:]
    found = label_alignment(ss.Graph.from_adjacency(A), y, N - 1)
    assert found.energy == pytest.approx((U.T @ centred) ** 2 / (centred**2).sum(), abs=ROUNDING)
    assert found.n_labels == known.sum()


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros(N, dtype=int), "all known labels are equal"),
        (np.full(N, -1), "no label is known"),
        (np.arange(5), "y has 5 entries"),
    ],
)
def test_labels_without_energy_are_refused(y: np.ndarray, words: str) -> None:
    with pytest.raises(DataError) as error:
        label_alignment(ss.Graph.from_adjacency(relation()), y, 3)
    assert words.split()[0] in str(error.value)
    if len(y) == N:
        assert words in str(error.value)


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e8 + 0.1])
@pytest.mark.parametrize("pencil", ["laplacian", "degree_centred"])
def test_equal_numbers_leave_no_rounding_to_find(constant: float, pencil: str) -> None:
    graph = ss.Graph.from_adjacency(relation())
    with pytest.raises(DataError, match="all known labels are equal"):
        label_alignment(graph, np.full(N, constant), 3, pencil=pencil)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_the_size_of_numbers_does_not_matter(size: float) -> None:
    graph, y = ss.Graph.from_adjacency(relation()), np.sin(np.arange(N))
    first, second = label_alignment(graph, y, 3), label_alignment(graph, size * y, 3)
    assert second.energy == pytest.approx(first.energy, abs=ROUNDING)
    assert second.dirichlet == pytest.approx(first.dirichlet, rel=ROUNDING)


@pytest.mark.parametrize("n_components", [0, -1, True, 2.5, "two"])
def test_numbers_of_components_that_are_none_are_refused(n_components: object) -> None:
    with pytest.raises(DataError, match="n_components must be a whole number"):
        label_alignment(ss.Graph.from_adjacency(relation()), np.arange(N) % 3, n_components)  # type: ignore[arg-type]


def test_pencils_without_label_energy_and_relations_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="choose 'laplacian' or 'degree_centred'"):
        label_alignment(ss.Graph.from_adjacency(relation()), np.arange(N) % 3, 3, pencil="adjacency")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="of a Graph, got ndarray"):
        edge_homophily(relation(), np.arange(N) % 3)  # type: ignore[arg-type]


def test_homophily_needs_classes_and_pairs_between_labelled_rows() -> None:
    graph = ss.Graph.from_pairs([0, 1], [1, 2], 4)
    with pytest.raises(DataError, match="numbers"):
        edge_homophily(graph, np.arange(4) / 3)
    with pytest.raises(DataError, match="no pair joins two rows"):
        edge_homophily(graph, np.array([0, -1, 1, 1]))


def test_energies_past_those_held_are_refused() -> None:
    found = label_alignment(ss.relations.knn(ss.load_dataset("digits").subset(np.arange(400))), np.arange(400) % 3, 4)
    assert not found.complete
    with pytest.raises(DataError, match="eigenvectors are held"):
        found.captured(300)
