"""What is no array of numbers is refused in one sentence, and the unit of an embedding does not matter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import spectral_ssl as ss
from spectral_ssl import theory
from spectral_ssl.comparison import align, compare, knn_score, linear_probe_score
from spectral_ssl.theory.energies import eigen_energies

N = 12
GRAPH = ss.Graph.from_pairs(np.arange(N), (np.arange(N) + 1) % N, N)
SPECTRUM = ss.Spectra(GRAPH).of("laplacian", 3)
CALLS: dict[str, Callable[[Any], object]] = {
    "leave_one_out": lambda Z: theory.leave_one_out(Z, np.arange(N) % 2),
    "uniformity": lambda Z: theory.uniformity(Z, GRAPH),
    "collapse": theory.collapse,
    "duality": theory.duality,
    "uncentred_identity": lambda Z: theory.uncentred_identity(Z, GRAPH),
    "eigen_energies": lambda Z: eigen_energies(Z, GRAPH, SPECTRUM),
    "resemblance": lambda Z: theory.resemblance(Z, GRAPH),
    "discriminant_left_out": lambda Z: theory.discriminant_left_out(Z, np.arange(N) % 2),
    "probe_path": lambda Z: theory.probe_path(Z, np.ones(2), np.arange(N)),
    "invariance_path": lambda gammas: theory.invariance_path(SPECTRUM, 2, gammas),
    "filter": lambda a: theory.FILTERS["vicreg"](a, 2),
    "measured_flow": lambda Z: theory.measured_flow(GRAPH, Z, [0.0]),
}


@pytest.mark.parametrize("given", ["text", [["a"]], [[1.0], [1.0, 2.0]], np.full((N, 2), 1j)])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_array_of_numbers_is_refused(name: str, given: Any) -> None:
    with pytest.raises(ss.DataError, match="array of real numbers"):
        CALLS[name](given)


def test_numbers_that_would_give_nonsense_are_refused() -> None:
    Z = np.random.default_rng(0).standard_normal((N, 2))
    energies = eigen_energies(Z, GRAPH, SPECTRUM)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: theory.invariance_path(SPECTRUM, 2, True), "gammas must be one row"),
        (lambda: theory.duality(1e160 * Z), "at most 1e\\+50"),
        (lambda: energies.outside_top(-1), "n_components must be"),
        (lambda: eigen_energies(Z, GRAPH, SPECTRUM, n_pairs=-1), "n_pairs must be"),
    ]
    for call, words in calls:
        with pytest.raises(ss.DataError, match=words):
            call()


@pytest.mark.parametrize("unit", [1e-170, 1e-100, 1e100, 1e160])
def test_the_unit_of_embeddings_does_not_matter_to_comparisons(unit: float) -> None:
    rng = np.random.default_rng(0)
    Z, other = rng.standard_normal((40, 5)), rng.standard_normal((40, 4))
    y, numbers = np.arange(40) % 3, Z[:, 0]
    for metric, value in compare(Z, other).items():
        if metric != "spectrum_distance":  # which is about the size
            assert compare(unit * Z, other)[metric] == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert compare(unit * Z, unit * other)[metric] == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert align(unit * Z, other) == pytest.approx(align(Z, other), abs=1e-12)
    for score in (linear_probe_score, knn_score):
        for labels, classes in ((y, True), (numbers, False)):
            first, second = (
                score(u * Z[:30], labels[:30], u * Z[30:], labels[30:], classification=classes) for u in (1.0, unit)
            )
            assert second == pytest.approx(first, abs=1e-9)


def test_labels_that_no_probe_can_be_fitted_to_are_refused() -> None:
    Z = np.random.default_rng(0).standard_normal((N, 2))
    y = np.arange(N) / 3
    for score in (linear_probe_score, knn_score):
        with pytest.raises(ss.DataError, match="NaN or infinite"):
            score(Z, np.where(y > 3, np.nan, y), Z, y, classification=False)
        for embedding, labels in ((Z, 3), ("text", y)):
            with pytest.raises(ss.DataError, match="a label for each"):
                score(embedding, labels, Z, y, classification=False)  # type: ignore[arg-type]


def test_a_dataset_serves_as_its_rows() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.standard_normal((60, 3)) + 2.0 * np.eye(3)[y]
    data, graph = ss.Dataset(name="rows", X=X), ss.relations.knn(ss.Dataset(name="rows", X=X), n_neighbors=5)
    for score in (
        lambda X: theory.predicted_score(ss.VICReg(), graph, 2, y, X=X, folds=3).score,
        lambda X: theory.forecast_score(graph, 2, y, X=X).score,
    ):
        assert score(data) == score(X)
