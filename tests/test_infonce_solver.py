"""InfoNCE solved and certified (C8, C9), its bounds in few dimensions (C11, C12), and the sweep that computes it.

Witnesses: naive losses by autograd and scipy's descent of them, a barrier method in the similarities themselves,
explicit configurations of points, quadrature.
"""

import itertools
import math
import tracemalloc

import naive
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import torch
from measure import agree, relative

import spectral_ssl as ss
from spectral_ssl.methods import InfoNCE, _certificates, _infonce_bounds, _infonce_kernels, _infonce_optimum, infonce
from spectral_ssl.methods._infonce_kernels import uniformity
from spectral_ssl.methods._infonce_solver import Problem, solve

EXACT = 1e-12  # two ways to add a few hundred float64 terms
SEARCH_TOL = 1e-7  # scipy ends at an excess of 1e-9 to 1e-8 of the loss
BARRIER_TOL = 1e-6  # the barrier's weight times N, relative to the loss
CERTIFIED = 1e-8  # what the solver works for
SHARP_TOL = 2e-3  # the programme keeps below the exponential at 400 angles and is lowered for what lies between


def knn(N: int, *, seed: int = 0, k: int = 4) -> np.ndarray:
    """Nearest neighbours of points in three dimensions, weights 1."""
    X = np.random.default_rng(seed).standard_normal((N, 3))
    order = np.argsort(((X[:, None] - X[None]) ** 2).sum(axis=2), axis=1)[:, 1 : k + 1]
    A = np.zeros((N, N))
    A[np.arange(N)[:, None], order] = 1.0
    return np.maximum(A, A.T)


def weighted(N: int, *, seed: int = 0) -> np.ndarray:
    """Random weights on four pairs in ten, a chain, and a last sample without a pair."""
    rng = np.random.default_rng(seed)
    U = np.triu(rng.uniform(0.2, 1, (N, N)) * (rng.random((N, N)) < 0.4), 1)
    U[np.arange(N - 1), np.arange(1, N)] += 0.3
    U[:, -1] = 0.0
    return U + U.T


def views(n: int, V: int = 2) -> np.ndarray:
    codes = np.arange(n * V) % n
    return (codes[:, None] == codes).astype(float) - np.eye(n * V)


RELATIONS = {"knn": knn, "weighted": weighted, "views": lambda N: views(N // 2)}


def descend(A: np.ndarray, temperature: float, K: int, **options: object) -> tuple[float, np.ndarray]:
    A_ = torch.as_tensor(A)
    found, Z = naive.minimise(lambda Z: naive.info_nce(Z, A_, temperature), (len(A), K), **options)  # type: ignore[arg-type]
    return found, Z / np.linalg.norm(Z, axis=1, keepdims=True)


# --- the sweep --------------------------------------------------------------------------------------------------------


def negatives(Z: torch.Tensor, degree: torch.Tensor, temperature: float) -> torch.Tensor:
    S = (Z @ Z.T / temperature).masked_fill(torch.eye(len(Z), dtype=torch.bool), -torch.inf)
    return (degree * torch.logsumexp(S, dim=1)).sum()


@pytest.mark.parametrize("block", [1, 40, 2**20])
@pytest.mark.parametrize("temperature", [0.01, 0.5])
def test_the_sweep_equals_automatic_differentiation(block: int, temperature: float, monkeypatch) -> None:
    """Value and gradient of sum d_i logsumexp, in one block, in blocks that do not divide N, and row by row."""
    monkeypatch.setattr(_infonce_kernels, "BLOCK", block)
    rng = np.random.default_rng(0)
    Z = torch.tensor(rng.standard_normal((13, 4)), requires_grad=True)
    d = torch.as_tensor(rng.uniform(0, 2, 13) * (np.arange(13) != 3))
    expected = negatives(Z, d, temperature)
    (gradient,) = torch.autograd.grad(expected, Z)
    value = uniformity(Z, d, temperature)
    (mine,) = torch.autograd.grad(3.0 * value, Z)
    assert relative(value.detach(), expected.detach()) < EXACT
    assert relative(mine / 3, gradient, scale=float(gradient.abs().max())) < EXACT
    if temperature > 0.1:
        assert torch.autograd.gradcheck(lambda z: uniformity(z, d, temperature), (Z,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_sweep_takes_short_numbers_and_computes_in_float32_under_autocast(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(1)
    Z = torch.tensor(rng.standard_normal((40, 8)), dtype=dtype, requires_grad=True)
    d = torch.ones(40, dtype=dtype)
    exact = Z.detach().double().requires_grad_()
    expected = negatives(exact, d.double(), 0.5)
    (gradient,) = torch.autograd.grad(expected, exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = uniformity(Z, d, 0.5)
    (mine,) = torch.autograd.grad(value, Z)
    assert (value.dtype, mine.dtype) == (dtype, dtype)
    tol = (
        1e-5 if dtype == torch.float32 else 5e-3
    )  # one rounding of the result: autocast would lose it in every product
    assert relative(float(value.detach()), float(expected.detach())) < tol
    assert relative(mine.double(), gradient, scale=float(gradient.abs().max())) < tol


def test_the_sweep_holds_no_matrix_of_all_pairs() -> None:
    """N = 3000: loss and gradient in less than half the memory of one N x N matrix, of which autograd keeps several."""
    N = 3000
    graph = ss.Graph.from_groups(np.arange(N) % (N // 2))
    Z = torch.tensor(np.random.default_rng(0).standard_normal((N, 8)), requires_grad=True)
    tracemalloc.start()
    InfoNCE(0.5).loss(Z, graph).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 2**22 < peak < N * N * 8 / 2  # numpy's arrays are seen, so the blocks are


def test_without_a_gradient_any_size_is_computed_and_with_one_large_sizes_are_refused_in_words(monkeypatch) -> None:
    A = knn(20)
    graph, method = ss.Graph.from_adjacency(A), InfoNCE(0.4)
    Z = torch.tensor(np.random.default_rng(0).standard_normal((20, 3)), requires_grad=True)
    monkeypatch.setattr(infonce, "MAX_SAMPLES", 19)
    assert relative(
        float(method.loss(Z.detach(), graph)), naive.value(naive.info_nce, Z.detach().numpy(), A, temperature=0.4)
    ) < (EXACT)
    with torch.no_grad():
        method.loss(Z, graph)
    with pytest.raises(ss.ResourceError, match=r"compares all 20 samples.*batch_size=1024.*at most 19"):
        method.loss(Z, graph)


# --- C8: over all embeddings ------------------------------------------------------------------------------------------


def barrier(A: np.ndarray, temperature: float) -> float:
    """min f(S) over psd S of unit diagonal, in the entries of S: f - mu log det S for mu -> 0, within mu N above."""
    N = len(A)
    rows, columns = np.triu_indices(N, 1)
    A_, off = torch.as_tensor(A), torch.as_tensor(~np.eye(N, dtype=bool))

    def matrix(x: torch.Tensor) -> torch.Tensor:
        S = torch.zeros(N, N, dtype=torch.float64)
        S[rows, columns] = x
        return S + S.T + torch.eye(N, dtype=torch.float64)

    def loss(x: torch.Tensor) -> torch.Tensor:
        T = (matrix(x) / temperature).masked_fill(~off, -torch.inf)
        return -(A_[off] * torch.log_softmax(T, dim=1)[off]).sum()

    x = np.zeros(rows.size)
    for mu in 10.0 ** np.arange(0, -8, -1):

        def both(v: np.ndarray, mu: float = mu) -> tuple[float, np.ndarray]:
            if np.linalg.eigvalsh(matrix(torch.as_tensor(v)).numpy())[0] <= 0:
                return math.inf, np.zeros_like(v)
            y = torch.tensor(v, requires_grad=True)
            value = loss(y) - mu * torch.linalg.slogdet(matrix(y))[1]
            value.backward()
            assert y.grad is not None
            return float(value.detach()), y.grad.numpy()

        for _ in range(60):  # Newton's method by differences of the gradient
            value, g = both(x)
            h = 1e-6
            H = np.stack([(both(x + h * e)[1] - both(x - h * e)[1]) / (2 * h) for e in np.eye(x.size)])
            step, t = np.linalg.solve((H + H.T) / 2, g), 1.0
            if g @ step < 1e-9 * mu:
                break
            while both(x - t * step)[0] > value - 0.1 * t * (g @ step) and t > 1e-12:
                t /= 2
            x = x - t * step
    return float(loss(torch.as_tensor(x)))


@pytest.mark.parametrize("relation", ["knn", "weighted"])
def test_C8_the_certified_optimum_is_that_of_a_barrier_method_in_the_similarities(
    relation: str, record_property
) -> None:
    """min f over the elliptope: the factorised, certified optimum equals a convex solution that factors nothing."""
    A = RELATIONS[relation](7)
    best = ss.optimum(InfoNCE(0.5), ss.Graph.from_adjacency(A), 7)
    assert (best.kind, best.unique_up_to) == ("certified", "rotation")
    agree(record_property, best.loss, barrier(A, 0.5), BARRIER_TOL)


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("relation", RELATIONS)
def test_C8_the_free_optimum_is_solved_to_a_proof(relation: str, temperature: float, record_property) -> None:
    """Free cosine InfoNCE at K beyond the rank of its optimum: a certificate below 1e-8, and no descent finds less."""
    N = 24
    A = RELATIONS[relation](N)
    graph = ss.Graph.from_adjacency(A)
    if relation == "views":  # whose closed form is another witness: solve it all the same
        found = solve(Problem(graph, temperature))
        simplex = N * math.log(1 + (N - 2) * math.exp(-(N / (N - 2)) / temperature))
        agree(record_property, found.value, simplex, CERTIFIED, scale=max(simplex, N))
        assert found.gap <= CERTIFIED * max(simplex, N)
        return
    best = ss.optimum(InfoNCE(temperature), graph, N)
    Z = best.embedding.Z
    assert Z.shape == (N, N)
    assert best.rank < N
    assert np.abs((Z**2).sum(axis=1) - 1).max() < 1e-12
    assert best.loss == pytest.approx(naive.value(naive.info_nce, Z, A, temperature=temperature), rel=EXACT)
    assert sum(best.loss_terms.values()) == pytest.approx(best.loss, rel=EXACT)
    assert 0 <= best.loss - best.lower_bound < 2 * CERTIFIED * best.loss
    assert "reached" in best.note
    found, _ = descend(A, temperature, best.rank + 2, starts=2)
    assert found >= best.lower_bound
    agree(record_property, best.loss, found, SEARCH_TOL)


@pytest.mark.parametrize("maps", [False, True])
def test_gradient_and_hessian_of_the_solver_are_those_of_automatic_differentiation(maps: bool) -> None:
    A, rng = weighted(12), np.random.default_rng(0)
    X = rng.standard_normal((12, 5)) if maps else None
    V, U = rng.standard_normal((2, 5 if maps else 12, 3))
    A_, X_ = torch.as_tensor(A), torch.eye(12, dtype=torch.float64) if X is None else torch.as_tensor(X)

    def loss(V_: torch.Tensor) -> torch.Tensor:
        return 1.7 * naive.info_nce(X_ @ V_, A_, 0.6, cosine=False) - 0.7 * negatives(X_ @ V_, A_.sum(dim=1), 0.6)

    problem = Problem(ss.Graph.from_adjacency(A), 0.6, X, None if X is None else np.eye(5), 1.0)
    problem.attraction = 1.7  # of the positives alone
    value, gradient = problem.both(V)
    V_ = torch.tensor(V, requires_grad=True)
    (expected,) = torch.autograd.grad(loss(V_), V_)
    assert value == pytest.approx(float(loss(V_).detach()), rel=EXACT)
    assert relative(gradient, expected.numpy(), scale=float(expected.abs().max())) < EXACT
    _, curved = torch.autograd.functional.hvp(loss, torch.as_tensor(V), torch.as_tensor(U))
    assert relative(problem.product(V, U), curved.numpy(), scale=float(curved.abs().max())) < EXACT


def test_one_solution_serves_every_dimension(monkeypatch) -> None:
    graph = ss.Graph.from_adjacency(knn(20))
    calls = []
    monkeypatch.setattr(_infonce_optimum, "solve", lambda *a, **k: calls.append(1) or solve(*a, **k))
    rows = [ss.optimum(InfoNCE(0.5), graph, K) for K in (20, 12, 19)]
    assert len(calls) == 1
    assert [row.loss for row in rows] == pytest.approx([rows[0].loss] * 3, rel=EXACT)
    assert [row.embedding.n_components for row in rows] == [20, 12, 19]


@pytest.mark.parametrize(("relation", "K"), [("knn", 2), ("knn", 3), ("weighted", 2), ("views", 3), ("views", 5)])
def test_C8_in_few_dimensions_the_optimum_is_a_search_between_bounds(relation: str, K: int, record_property) -> None:
    """K below the rank: lower_bound <= what scipy finds from twelve starts, and the value is no worse than that."""
    A, temperature = RELATIONS[relation](16), 0.4
    graph = ss.Graph.from_adjacency(A)
    best = ss.optimum(InfoNCE(temperature), graph, K)
    found, _ = descend(A, temperature, K, starts=12)
    record_property("gap", (best.loss - best.lower_bound) / best.loss)
    assert (best.kind, best.rank, best.unique_up_to) == ("certified", K, "none")
    assert best.lower_bound < found
    assert best.loss < found * (1 + 1e-3)  # local minima: neither search is exhaustive
    assert best.loss == pytest.approx(
        naive.value(naive.info_nce, best.embedding.Z, A, temperature=temperature), rel=EXACT
    )
    assert "the price of" in best.note
    # an old certificate, of the narrow embedding itself, says less
    assert best.lower_bound > InfoNCE(temperature).certificate(best.embedding.Z, graph).lower_bound


# --- C9: dot products -------------------------------------------------------------------------------------------------


def ball(A: np.ndarray, X: np.ndarray, temperature: float, radius: float, K: int) -> float:
    """The lowest dot-product InfoNCE that scipy finds over tr(WW') <= radius, inside or on the sphere."""
    A_, X_ = torch.as_tensor(A), torch.as_tensor(X)
    losses = []
    for inside in (0.0, 1.0):

        def loss(B: torch.Tensor, inside: float = inside) -> torch.Tensor:
            W = B * torch.sqrt(radius / ((B**2).sum() + inside))
            return naive.info_nce(X_ @ W, A_, temperature, cosine=False)

        losses.append(naive.minimise(loss, (X.shape[1], K), starts=3, scale=0.3)[0])
    return min(losses)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(("radius", "active"), [(0.1, True), (5.0, False)])
def test_C9_linear_dot_products_are_solved_to_a_proof(
    radius: float, active: bool, scale: float, record_property
) -> None:
    """Linear dot-product InfoNCE, tr WW' <= r: certified below 1e-8, the optimum on the sphere or inside it."""
    A, X = knn(24, seed=1), scale * np.random.default_rng(5).standard_normal((24, 6)) * [1, 1, 1, 1, 0.1, 3]
    radius = radius / scale**2
    graph, method = ss.Graph.from_adjacency(A), InfoNCE(0.3, "dot", radius)
    best = ss.optimum(method, graph, 6, X=X)
    W = best.embedding.W
    assert W is not None
    assert np.abs(X @ W - best.embedding.Z).max() < 1e-12
    assert ((W**2).sum() > 0.999999 * radius) == active
    assert (W**2).sum() <= radius
    assert 0 <= best.loss - best.lower_bound < 2 * CERTIFIED * best.loss
    assert best.loss == pytest.approx(
        naive.value(naive.info_nce, best.embedding.Z, A, temperature=0.3, cosine=False), rel=EXACT
    )
    agree(record_property, best.loss, ball(A, X / scale, 0.3, radius * scale**2, 6), SEARCH_TOL)
    narrow = ss.optimum(method, graph, 1, X=X)
    assert narrow.loss == pytest.approx(ball(A, X / scale, 0.3, radius * scale**2, 1), rel=1e-5)
    assert best.lower_bound == narrow.lower_bound < narrow.loss


def test_C9_a_search_that_begins_on_the_sphere_leaves_it_for_an_optimum_inside(record_property) -> None:
    """Started at full norm where less is better, the solver ends inside the ball with the same proof."""
    A, X = knn(24, seed=1), np.random.default_rng(5).standard_normal((24, 6))
    problem = Problem(ss.Graph.from_adjacency(A), 0.3, X, np.eye(6), 5.0)
    problem.boundary = True
    found = solve(problem, start=np.random.default_rng(0).standard_normal((6, 4)))
    record_property("gap", found.gap / found.value)
    assert not problem.boundary
    assert problem.trace(found.V) < 4.0
    assert found.gap < CERTIFIED * found.value


@pytest.mark.parametrize("radius", [3.0, 60.0])
def test_C9_free_dot_products_and_kernel_features_are_certified_too(radius: float, record_property) -> None:
    """Free dot-product InfoNCE is C9 with X = I, a kernel's maps are C9 on its features: certified below 1e-8."""
    A, X = weighted(14), np.random.default_rng(0).standard_normal((14, 3))
    graph, method = ss.Graph.from_adjacency(A), InfoNCE(0.5, "dot", radius)
    best = ss.optimum(method, graph, 14)
    assert best.embedding.W is None
    assert best.loss - best.lower_bound < 2 * CERTIFIED * best.loss
    assert best.loss <= ball(A, np.eye(14), 0.5, radius, 14) * (1 + EXACT)
    agree(record_property, best.loss, ball(A, np.eye(14), 0.5, radius, 8), SEARCH_TOL)
    kernel = ss.optimum(method, graph, 5, X=X, kernel="nystroem(n_landmarks=8)")
    Phi = kernel.embedding.features(X)
    proof = method.linear_certificate(kernel.embedding.W, Phi, graph)
    assert kernel.lower_bound <= ball(A, Phi, 0.5, radius, 5) * (1 + EXACT)
    assert proof.value == pytest.approx(kernel.loss, rel=EXACT)
    assert kernel.embedding.transform(X) == pytest.approx(kernel.embedding.Z, abs=1e-10)


def test_what_has_no_certified_optimum_says_so(monkeypatch) -> None:
    graph, X = ss.Graph.from_adjacency(knn(12)), np.random.default_rng(0).standard_normal((12, 4))
    with pytest.raises(ss.NotClosedForm, match=r"not convex in the weights.*; train it"):
        ss.optimum(InfoNCE(0.5), graph, 2, X=X)
    dot = InfoNCE(0.5, "dot", 1.0)
    with pytest.raises(ss.DataError, match="leave it out"):
        ss.optimum(dot, graph, 2, X=X, ridge=0.1)
    with pytest.raises(ss.DataError, match="n_components=5 exceeds the 4 features"):
        ss.optimum(dot, graph, 5, X=X)
    with pytest.raises(ss.DataError, match="from 1 to N = 12"):
        ss.optimum(dot, graph, 13)
    with pytest.raises(ss.NotClosedForm, match="no other pair"):
        ss.optimum(InfoNCE(0.5), ss.Graph.from_adjacency(np.eye(4)), 2)
    with pytest.raises(ss.NotClosedForm, match="zero"):
        InfoNCE(0.5).exact_optimum(graph, 3)  # only what is exact
    monkeypatch.setattr(_certificates, "MAX_DENSE", 11)
    for options in ({}, {"X": X}):
        with pytest.raises(ss.ResourceError, match=r"order N = 12 \(limit 11\); take fewer samples"):
            ss.optimum(dot, graph, 3, **options)


# --- C11 and C12: bounds that see the dimension -----------------------------------------------------------------------


def signs(A: np.ndarray, temperature: float) -> float:
    """The least loss in one dimension, where unit rows are signs: all of them."""
    rows = (np.array([1.0, *rest])[:, None] for rest in itertools.product([-1.0, 1.0], repeat=len(A) - 1))
    return min(naive.value(naive.info_nce, Z, A, temperature=temperature) for Z in rows)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("relation", RELATIONS)
def test_C11_no_embedding_in_few_dimensions_is_below_the_design_bound(
    relation: str, temperature: float, record_property
) -> None:
    """C11 <= the least loss of many descents for K = 2, 3, 4, and of all signs for K = 1."""
    A = RELATIONS[relation](10)
    graph, rows = ss.Graph.from_adjacency(A), _infonce_bounds.rows_of(ss.Graph.from_adjacency(A))
    gaps = []
    for K in (1, 2, 3, 4):
        least = signs(A, temperature) if K == 1 else descend(A, temperature, K, starts=6)[0]
        bound = _infonce_bounds.design_bound(rows, temperature, K)
        assert bound <= least
        assert bound <= InfoNCE(temperature).lower_bound(graph, K) <= least + EXACT * len(A)  # the simplex, to rounding
        gaps.append((least - bound) / least)
    record_property("gap", min(gaps))
    if relation == "views" and temperature >= 0.5:
        assert min(gaps) < SHARP_TOL


SHARP = {  # unit vectors of which no others have less potential (Cohn & Kumar 2007)
    "pentagon": np.stack([np.cos(2 * np.pi * np.arange(5) / 5), np.sin(2 * np.pi * np.arange(5) / 5)], axis=1),
    "tetrahedron": np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / math.sqrt(3),
    "octahedron": np.vstack([np.eye(3), -np.eye(3)]),
    "cross-polytope": np.vstack([np.eye(6), -np.eye(6)]),
    "antipodes": np.array([[1.0], [-1.0]]),
}


@pytest.mark.parametrize("V", [2, 3])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("name", SHARP)
def test_C11_is_reached_by_sharp_configurations(name: str, temperature: float, V: int, record_property) -> None:
    """V views of each of n originals, views together and originals a sharp configuration: C11 is their loss."""
    points = SHARP[name]
    n, K = points.shape
    A = views(n, V)
    loss = naive.value(naive.info_nce, np.tile(points, (V, 1)), A, temperature=temperature)
    bound = _infonce_bounds.design_bound(_infonce_bounds.rows_of(ss.Graph.from_adjacency(A)), temperature, K)
    agree(record_property, bound, loss, SHARP_TOL)
    assert bound <= loss


@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_C11_its_one_inequality_holds_on_points_anywhere(K: int, temperature: float, record_property) -> None:
    """sum_i 1/(rho_i + (1 + n_i) kappa(1)) <= 1/kappa_0 for unit rows: random, clustered, equal, spread."""
    rng, N = np.random.default_rng(K), 30
    A = knn(N) > 0
    centres = rng.standard_normal((4, K))
    configurations = [
        rng.standard_normal((N, K)),
        centres[rng.integers(0, 4, N)] + 0.02 * rng.standard_normal((N, K)),
        np.ones((N, K)),
        np.abs(rng.standard_normal((N, K))),
        descend(A.astype(float), temperature, max(K, 2), starts=1)[1][:, :K] + 1e-9,
    ]
    worst = 0.0
    for points in (1.0, 5.0, 30.0):
        kappa = _infonce_bounds.minorant(K, temperature, points)
        for Z in configurations:
            Z = Z / np.linalg.norm(Z, axis=1, keepdims=True)
            E = np.exp((Z @ Z.T - 1) / temperature) * ~(A | np.eye(N, dtype=bool))
            left = (1 / (E.sum(axis=1) + (1 + A.sum(axis=1)) * kappa.top)).sum()
            worst = max(worst, left * kappa.mean)
    record_property("gap", 1 - worst)
    assert 0.1 < worst <= 1


@pytest.mark.parametrize("K", [2, 3, 8, 40])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
def test_C11_the_mean_of_the_exponential_over_the_sphere(K: int, temperature: float, record_property) -> None:
    """kappa_0 of the exponential is e^(-1/tau) Gamma(K/2) (2 tau)^(K/2-1) I_(K/2-1)(1/tau): by quadrature."""

    def over(f) -> float:
        return scipy.integrate.quad(
            lambda a: f(math.cos(a)) * math.sin(a) ** (K - 2), 0, math.pi, epsabs=0, epsrel=1e-10, limit=500
        )[0]

    expected = over(lambda t: math.exp((t - 1) / temperature)) / over(lambda t: 1.0)
    agree(record_property, _infonce_bounds._mean(K, temperature), expected, 1e-8)


def test_C11_of_a_relation_positive_on_every_pair_is_the_entropy_bound(record_property) -> None:
    """No negatives, rho = 0: C11 is sum_i d_i H(P_i), which C3 reaches; unequal weights count less than equal ones."""
    U = np.triu(np.random.default_rng(3).uniform(0.2, 1, (8, 8)), 1)
    A = U + U.T
    graph = ss.Graph.from_adjacency(A)
    P = A / A.sum(axis=1, keepdims=True) + np.eye(8)  # log 1 = 0 on the diagonal
    entropy = -float((A * np.log(P)).sum())
    bound = _infonce_bounds.design_bound(_infonce_bounds.rows_of(graph), 0.1, 7)
    agree(record_property, bound, entropy, 1e-7)  # rounded down by that share of its terms
    best = ss.optimum(InfoNCE(0.1), graph, 8)
    assert best.kind == "exact"
    assert bound <= best.loss


def test_C11_isolated_samples_and_unlike_degrees_are_allowed(record_property) -> None:
    """A star and strays: C11 stays below every descent, and above the bound that does not see the dimension."""
    A = np.zeros((12, 12))
    A[0, 1:8] = A[1:8, 0] = np.arange(1, 8)
    graph = ss.Graph.from_adjacency(A)
    bound, least = InfoNCE(0.3).lower_bound(graph, 2), descend(A, 0.3, 2, starts=8)[0]
    record_property("gap", (least - bound) / least)
    assert bound <= least
    assert InfoNCE(0.3).lower_bound(graph) <= bound


@pytest.mark.parametrize("temperature", [0.2, 0.5])
@pytest.mark.parametrize("relation", RELATIONS)
def test_C12_the_mixture_is_a_bound_and_the_best_one_between(
    relation: str, temperature: float, record_property
) -> None:
    """C12 <= the least loss of many descents; on nearest neighbours in two dimensions it is the best of the three."""
    A = RELATIONS[relation](24)
    graph = ss.Graph.from_adjacency(A)
    rows = _infonce_bounds.rows_of(graph)
    for K in (2, 3):
        least = descend(A, temperature, K, starts=6)[0]
        bound, theta = _infonce_optimum.mixture_bound(graph, temperature, K)
        assert 0 < theta < 1
        assert bound <= least
        record_property("gap", (least - bound) / least)
        if (relation, temperature, K) == ("knn", 0.5, 2):
            assert bound > _infonce_bounds.design_bound(rows, temperature, K)
            assert bound > solve(Problem(graph, temperature)).value
            assert "the mixture (C12)" in ss.optimum(InfoNCE(temperature), graph, K).note


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_in_one_dimension_the_optimum_is_the_best_of_all_signs(temperature: float) -> None:
    # rows are +1 or -1 and the gradient vanishes: nothing that descends moves
    method = ss.InfoNCE(temperature)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        A = np.triu(rng.random((9, 9)) * (rng.random((9, 9)) < 0.4), 1)
        graph = ss.Graph.from_adjacency(A + A.T)
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=8)))
        least = min(
            naive.value(naive.info_nce, np.append(1.0, s)[:, None], A + A.T, temperature=temperature) for s in signs
        )
        best = ss.optimum(method, graph, 1)
        assert best.loss == pytest.approx(least, rel=1e-12)
        assert best.lower_bound <= least * (1 + 1e-12)
        assert best.loss <= method.collapse_loss(graph, 1) * (1 + 1e-12)
