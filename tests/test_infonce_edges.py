"""InfoNCE where it was once wrong: second derivatives, narrow optima, flat directions, extreme sizes and temperatures.

Witnesses: automatic differentiation of naive losses, descents of them from plain starts, explicit configurations.
"""

import itertools
import math

import naive
import numpy as np
import pytest
import torch
from measure import relative

import spectral_ssl as ss
from spectral_ssl.experiments import proofs
from spectral_ssl.methods import InfoNCE, _infonce_bounds, _infonce_signs, _infonce_solver
from spectral_ssl.methods._infonce_kernels import uniformity

EXACT = 1e-12  # two ways to add a few hundred float64 terms
SEARCH_TOL = 1e-6  # scipy ends at an excess of 1e-9 to 1e-8 of the loss, on the smooth map of the ball at more
SINGLE = 1e-5  # float32


def points(seed: int, N: int = 20, D: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, D))


def neighbours(X: np.ndarray, k: int = 2) -> tuple[ss.Graph, np.ndarray]:
    graph = ss.relations.knn(ss.Dataset(name="points", X=X), n_neighbors=k)
    return graph, graph.to_csr().toarray()


# --- second derivatives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_the_hessian_of_the_sweep_is_that_of_the_naive_loss(temperature: float) -> None:
    d, off = torch.linspace(0.1, 2, 6, dtype=torch.float64), ~torch.eye(6, dtype=torch.bool)

    def plain(Z: torch.Tensor) -> torch.Tensor:
        return (d * torch.logsumexp((Z @ Z.T / temperature).masked_fill(~off, -torch.inf), dim=1)).sum()

    Z = torch.as_tensor(points(0, 6, 3))
    expected = torch.autograd.functional.hessian(plain, Z)
    found = torch.autograd.functional.hessian(lambda z: uniformity(z, d, temperature), Z)
    assert relative(found, expected, scale=float(expected.abs().max())) < EXACT


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_hessian_of_the_loss_is_that_of_the_naive_loss(similarity: str) -> None:
    graph, A = neighbours(points(1, 8))
    cosine = similarity == "cosine"
    Z = torch.as_tensor(points(2, 8, 3))
    expected = torch.autograd.functional.hessian(lambda z: naive.info_nce(z, torch.as_tensor(A), 0.5, cosine=cosine), Z)
    found = torch.autograd.functional.hessian(lambda z: InfoNCE(0.5, similarity).loss(z, graph), Z)  # type: ignore[arg-type]
    assert relative(found, expected, scale=float(expected.abs().max())) < EXACT


# --- narrow optima ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 20, 34])
def test_narrow_dot_products_are_no_worse_than_plain_starts(seed: int, record_property) -> None:
    """C9 in fewer dimensions than the optimum's: no worse than five descents of the naive loss from small starts."""
    graph, A = neighbours(points(seed))

    def loss(B: torch.Tensor) -> torch.Tensor:
        Z = B * torch.sqrt(100 / (1 + (B**2).sum()))
        return naive.info_nce(Z, torch.as_tensor(A), 0.2, cosine=False)

    plain = naive.minimise(loss, (20, 2), starts=5, scale=0.1)[0]
    best = ss.optimum(InfoNCE(0.2, "dot", 100.0), graph, 2)
    record_property("gap", best.loss / plain - 1)
    assert best.loss <= plain * (1 + SEARCH_TOL)
    assert (best.embedding.Z**2).sum() <= 100


@pytest.mark.parametrize("seed", [2, 6, 8])
def test_narrow_cosines_are_no_worse_than_ten_plain_starts_nor_than_rows_all_alike(seed: int, record_property) -> None:
    """Cosine InfoNCE at K = 2: at most the least of ten descents of the naive loss, and the loss at collapse."""
    graph, A = neighbours(points(seed))
    for temperature in (0.02, 0.1):
        method = InfoNCE(temperature)
        best = ss.optimum(method, graph, 2)
        assert best.loss <= method.collapse_loss(graph, 2) * (1 + EXACT)
    plain = naive.minimise(lambda Z: naive.info_nce(Z, torch.as_tensor(A), temperature), (20, 2), starts=10)[0]
    record_property("gap", best.loss / plain - 1)
    assert best.loss <= plain * (1 + SEARCH_TOL)


def test_a_search_that_gets_nowhere_is_no_worse_than_rows_all_alike(monkeypatch) -> None:
    graph, A = neighbours(points(0))
    monkeypatch.setattr(_infonce_solver, "_lbfgs", lambda problem, V, steps: V)
    monkeypatch.setattr(_infonce_solver, "newton", lambda problem, V, tol: V)
    found = _infonce_solver.descend(_infonce_solver.Problem(graph, 0.02), 2, np.eye(20))
    assert found.value <= A.sum() * math.log(19) * (1 + EXACT)


# --- flat directions --------------------------------------------------------------------------------------------------


def test_features_that_repeat_leave_no_weight_outside_their_row_space() -> None:
    B, mix = points(0), np.random.default_rng(1).standard_normal((2, 6))
    graph, _ = neighbours(B)
    best = ss.optimum(InfoNCE(1.0, "dot", 10.0), graph, 3, X=B @ mix)
    W = best.embedding.W
    assert W is not None
    inside = mix.T @ np.linalg.solve(mix @ mix.T, mix @ W)
    assert np.abs(W - inside).max() < EXACT
    assert best.rank == np.linalg.matrix_rank(W, tol=1e-6) == 2


@pytest.mark.parametrize("size", [1.0, 3.0])
def test_a_constant_feature_takes_no_norm_where_the_loss_does_not_see_it(size: float) -> None:
    X = points(3, 20, 4)
    graph, A = neighbours(X)
    X[:, 0] = size
    method = InfoNCE(1.0, "dot", 1000.0)
    best = ss.optimum(method, graph, 4, X=X)
    Z, W = best.embedding.Z, best.embedding.W
    assert W is not None
    a = np.linalg.lstsq(Z, np.ones(20), rcond=1e-6)[0]
    assert np.abs(Z @ a - 1).max() > 0.01  # else similarities could be lowered by a constant at less norm
    assert best.loss - best.lower_bound < 1e-6 * best.loss
    assert best.loss == pytest.approx(naive.value(naive.info_nce, X @ W, A, temperature=1.0, cosine=False), rel=EXACT)


def test_features_all_zero_are_refused() -> None:
    graph, _ = neighbours(points(0))
    with pytest.raises(ss.DataError, match="every entry of X is zero"):
        ss.optimum(InfoNCE(0.5, "dot"), graph, 1, X=np.zeros((20, 2)))


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_the_bound_of_dot_products_is_the_best_at_hand() -> None:
    graph = ss.Graph.from_pairs([0, 1, 2], [1, 2, 3], 6)
    method = InfoNCE(0.01, "dot", 1e4)
    best = ss.optimum(method, graph, 4)
    entropy = 4 * math.log(2)  # samples 1 and 2 have two partners each
    assert method.lower_bound(graph) == pytest.approx(entropy, rel=EXACT)
    assert entropy * (1 - EXACT) <= best.lower_bound <= best.loss
    assert "by the rows apart" in best.note


def test_where_the_radius_leaves_only_rounding_no_loss_below_the_least_is_claimed() -> None:
    graph, _ = neighbours(points(0, 12))
    with pytest.raises(ss.NumericalError, match="smaller radius"):
        ss.optimum(InfoNCE(0.5, "dot", 1e30), graph, 3)


def test_the_bound_of_balanced_labels_needs_no_list_of_their_pairs() -> None:
    n, V, tau = 10, 3000, 0.5
    graph = ss.Graph.from_groups(np.repeat(np.arange(n), V))
    simplex = n * V * (V - 1) * math.log(V - 1 + (n - 1) * V * math.exp(-n / (n - 1) / tau))
    assert InfoNCE(tau).lower_bound(graph) == pytest.approx(simplex, rel=EXACT)
    assert InfoNCE(tau).lower_bound(graph, n - 1) == pytest.approx(simplex, rel=EXACT)
    assert InfoNCE(tau).lower_bound(graph, 3) > simplex
    assert InfoNCE(tau, "dot").lower_bound(graph, 3) == pytest.approx(n * V * (V - 1) * math.log(V - 1), rel=EXACT)


@pytest.mark.parametrize("K", ["a", 2.5, 0, True])
def test_a_bound_in_no_whole_number_of_dimensions_is_refused(K: object) -> None:
    with pytest.raises(ss.DataError, match=f"positive integer, or None for any dimension, got {K!r}"):
        InfoNCE().lower_bound(neighbours(points(0))[0], K)  # type: ignore[arg-type]


@pytest.mark.parametrize("K", [1, 2])
@pytest.mark.parametrize("temperature", [0.01, 0.0027, 0.002])
def test_C11_holds_where_the_exponential_underflows(temperature: float, K: int, record_property) -> None:
    """Two samples without partners: antipodes are best, 2 (-2 / tau), and C11 is no higher at tau = .002."""
    none = np.zeros(2)
    bound = _infonce_bounds.design_bound(_infonce_bounds.Rows(np.ones(2), none, none), temperature, K)
    least = -4 / temperature
    record_property("gap", (least - bound) / abs(least))
    assert bound <= least


@pytest.mark.parametrize("temperature", [0.001, 0.01])
def test_signs_are_the_best_of_all_where_the_exponential_underflows(temperature: float) -> None:
    for seed in range(3):
        A = neighbours(points(seed, 8))[1]
        least = min(
            naive.value(naive.info_nce, np.array([1.0, *rest])[:, None], A, temperature=temperature)
            for rest in itertools.product([-1.0, 1.0], repeat=7)
        )
        assert ss.optimum(InfoNCE(temperature), ss.Graph.from_adjacency(A), 1).loss == pytest.approx(least, rel=EXACT)


def test_a_single_row_alone_on_its_side_is_priced_at_every_temperature() -> None:
    # one row at +1, three at -1, degrees 1: log 3 e^(-1/tau), and log(2 e^(1/tau) + e^(-1/tau)) three times
    assert float(_infonce_signs._values(1.0, 3.0, 1, 4, 0.001)) == pytest.approx(
        math.log(3) - 1000 + 3 * (math.log(2) + 1000), rel=EXACT
    )


def test_a_search_for_a_bound_alone_takes_fewer_samples_when_cold(monkeypatch) -> None:
    graph, _ = neighbours(points(0))
    monkeypatch.setattr(proofs, "SOLVE_MAX", 20)
    assert proofs.free_optimum(InfoNCE(proofs.WARM), graph, 2) is not None
    cold = InfoNCE(0.9 * proofs.WARM)
    assert proofs.free_optimum(cold, graph, 2) is None
    with pytest.raises(ss.NotClosedForm, match=f"up to 18 only at temperature {cold.temperature:g}"):
        proofs.solve_free(cold, ss.Spectra(graph), 2)


# --- sizes, and what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "size", "tol"),
    [(torch.float32, 1e-23, SINGLE), (torch.float32, 1e20, SINGLE), (torch.float64, 1e-200, EXACT)],
)
def test_the_cosine_does_not_see_the_size_of_rows(dtype: torch.dtype, size: float, tol: float) -> None:
    graph, A = neighbours(points(0))
    Z = (torch.as_tensor(points(4, 20, 3)).to(dtype) * size).requires_grad_()
    loss = InfoNCE(0.5).loss(Z, graph)
    loss.backward()
    unit = torch.tensor(points(4, 20, 3), requires_grad=True)
    expected = naive.info_nce(unit, torch.as_tensor(A), 0.5)
    expected.backward()
    assert relative(float(loss.detach()), float(expected.detach())) < tol
    assert Z.grad is not None
    assert unit.grad is not None
    scaled = Z.grad.double() * size
    assert relative(scaled, unit.grad, scale=float(unit.grad.abs().max())) < 10 * tol


def test_a_zero_row_has_no_gradient() -> None:
    graph, _ = neighbours(points(0))
    Z = torch.as_tensor(points(4, 20, 3))
    Z[2] = 0.0
    Z.requires_grad_()
    InfoNCE(0.5).loss(Z, graph).backward()
    assert Z.grad is not None
    assert torch.equal(Z.grad[2], torch.zeros(3, dtype=Z.dtype))
    assert bool((Z.grad[torch.arange(20) != 2].abs().sum(dim=1) > 0).all())


def test_training_signs_is_refused_in_words() -> None:
    graph, _ = neighbours(points(0))
    with pytest.raises(ss.DataError, match=r"gradient is zero everywhere.*n_components >= 2, or similarity='dot'"):
        ss.train(InfoNCE(0.5), graph, 1)
    assert math.isfinite(ss.train(InfoNCE(0.5, "dot"), graph, 1, max_iter=5).loss)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": "a"}, "temperature must be a positive number, got 'a'"),
        ({"temperature": None}, "temperature must be a positive number, got None"),
        ({"temperature": True}, "temperature must be a positive number, got True"),
        ({"temperature": 1e-7}, "temperature=1e-07 is not between 1e-06 and 1e"),
        ({"temperature": 1e7}, "temperature=10000000.0 is not between"),
        ({"similarity": "dot", "radius": "1"}, "radius must be a positive number, got '1'"),
        ({"similarity": "dot", "radius": 1e200}, r"radius=1e\+200 is not between 1e-30 and 1e\+30"),
    ],
)
def test_hyper_parameters_that_are_no_numbers_in_range_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ss.DataError, match=words):
        InfoNCE(**options)  # type: ignore[arg-type]
    assert InfoNCE(np.float32(0.5)).temperature == 0.5  # type: ignore[arg-type]


def test_what_was_searched_has_no_rule_for_new_samples_and_the_relation_is_not_blamed() -> None:
    graph, _ = neighbours(points(0))
    with pytest.raises(ss.DataError, match=r"and this one has no rule for new ones; fit one with ss.extend"):
        ss.optimum(InfoNCE(0.5), graph, 3).embedding.transform(points(1))
