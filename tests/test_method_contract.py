"""What every method promises, in one suite over the registry and the variants of its methods.

A new method needs a `Case` here: its loss as a python loop over samples and pairs, and the changes of Z that leave the
loss alone. Everything else follows.
"""

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

import spectral_ssl as ss
from spectral_ssl.kernels import feature_map
from spectral_ssl.methods import METHODS

SAME = 1e-10  # relative: two orders of adding the same few hundred terms
FLOAT32 = 2e-4  # relative: 1e-7 per operation, lost again in differences of the terms
CHANGED = 1e-3  # relative: a change of Z that the loss must see
GRADIENT_TOL = 1e-9  # relative to the gradient a step away: rounding of a few hundred terms
BELOW = 1e-12  # relative excess: rounding of the two losses compared
EXCESS_TOL = 1e-8  # relative excess of a trained run; L-BFGS stops at gradients near 1e-9
GAP_MIN = 1e-3  # an angle is judged only where eigenvalues r and r + 1 differ by this share
ANGLE_TOL = 1e-5  # |gradient| / gap

# --- losses, sample by sample -----------------------------------------------------------------------------------------


def pairs_of(A: np.ndarray) -> list[tuple[int, int, float]]:
    N = len(A)
    return [(i, j, float(A[i, j])) for i in range(N) for j in range(N) if A[i, j] > 0]


def dot(a: np.ndarray, b: np.ndarray) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def vicreg_loop(
    Z: np.ndarray,
    A: np.ndarray,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    hinge: bool = False,
    degree: bool = False,
    ddof: int = 0,
) -> float:
    N, K = Z.shape
    # the ends of pairs, or the samples, over which a covariance is taken
    weight = [sum(A[i]) for i in range(N)] if degree else [1.0] * N
    total = sum(weight) - ddof
    mean = [sum(weight[i] * Z[i, k] for i in range(N)) / sum(weight) for k in range(K)]
    loss = 0.0
    for k in range(K):
        for m in range(K):
            cov = sum(weight[i] * (Z[i, k] - mean[k]) * (Z[i, m] - mean[m]) for i in range(N)) / total
            if k != m:
                loss += beta * cov**2
            else:
                loss += alpha * (max(0.0, 1 - math.sqrt(cov)) if hinge else (1 - cov) ** 2)
    for i, j, w in pairs_of(A):
        loss += gamma * w * dot(Z[i] - Z[j], Z[i] - Z[j]) / (sum(weight) if degree else N)
    return float(loss)


def whitened_loop(Z: np.ndarray, A: np.ndarray, gamma: float) -> float:
    """VICReg's invariance of the columns of Z whitened."""
    N, K = Z.shape
    mean = Z.sum(axis=0) / N
    cov, energy = np.zeros((K, K)), np.zeros((K, K))
    for i in range(N):
        cov += np.outer(Z[i] - mean, Z[i] - mean) / N
    for i, j, w in pairs_of(A):
        energy += gamma / N * w * np.outer(Z[i] - Z[j], Z[i] - Z[j])
    return float(np.trace(np.linalg.inv(cov) @ energy))


def frobenius_loop(Z: np.ndarray, A: np.ndarray) -> float:
    return sum((dot(Z[i], Z[j]) - A[i, j]) ** 2 for i in range(len(A)) for j in range(len(A)))


def spectral_contrastive_loop(Z: np.ndarray, A: np.ndarray) -> float:
    s, N = A.sum(), len(A)
    attraction = -2 * sum(w / s * dot(Z[i], Z[j]) for i, j, w in pairs_of(A))
    repulsion = 0.0
    for i in range(N):
        for j in range(N):
            repulsion += (A[i].sum() / s) * (A[j].sum() / s) * dot(Z[i], Z[j]) ** 2
    return attraction + repulsion


def ssl_ey_loop(Z: np.ndarray, A: np.ndarray) -> float:
    K, rows = Z.shape[1], pairs_of(A)
    s = sum(w for _, _, w in rows)
    mean = [sum(w * Z[i, k] for i, _, w in rows) / s for k in range(K)]
    loss = -2 * sum(w / s * dot(Z[i] - mean, Z[j] - mean) for i, j, w in rows)
    for k in range(K):
        for m in range(K):
            loss += (sum(w * (Z[i, k] - mean[k]) * (Z[i, m] - mean[m]) for i, _, w in rows) / s) ** 2
    return float(loss)


def barlow_loop(Z: np.ndarray, A: np.ndarray, redundancy: float = 1.0, normalized: bool = True) -> float:
    K, rows = Z.shape[1], pairs_of(A)
    s = sum(w for _, _, w in rows)
    mean = [sum(w * Z[i, k] for i, _, w in rows) / s if normalized else 0.0 for k in range(K)]
    size = [
        math.sqrt(sum(w * (Z[i, k] - mean[k]) ** 2 for i, _, w in rows) / s) if normalized else 1.0 for k in range(K)
    ]
    loss = 0.0
    for k in range(K):
        for m in range(K):
            c = sum(w * (Z[i, k] - mean[k]) * (Z[j, m] - mean[m]) for i, j, w in rows) / s
            both = size[k] * size[m]
            c = c / both if both > 0 else 0.0  # a column without variance correlates with none
            loss += (1 - c) ** 2 if k == m else redundancy * c**2
    return float(loss)


def info_nce_loop(Z: np.ndarray, A: np.ndarray, temperature: float, cosine: bool = True) -> float:
    N, loss = len(A), 0.0
    similarity = np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            size = math.sqrt(dot(Z[i], Z[i]) * dot(Z[j], Z[j])) if cosine else 1.0
            similarity[i, j] = dot(Z[i], Z[j]) / size / temperature
    for i, j, w in pairs_of(A):
        if i != j:  # self-pairs are left out, on both sides
            loss -= w * (similarity[i, j] - math.log(sum(math.exp(similarity[i, k]) for k in range(N) if k != i)))
    return loss


def alpha_cl_loop(Z: np.ndarray, A: np.ndarray, F: Callable[[list[float]], float]) -> float:
    loss = 0.0
    for i, partner, _ in pairs_of(A):
        own = dot(Z[i] - Z[partner], Z[i] - Z[partner]) / 2
        loss += F([own - dot(Z[i] - Z[j], Z[i] - Z[j]) / 2 for j in range(len(Z)) if j not in (i, partner)])
    return loss


def nce(u: list[float], tau: float) -> float:
    return tau * math.log(1 + sum(math.exp(x / tau) for x in u))


def sparsemax(u: list[float], tau: float) -> float:
    """max a'u - tau |a|^2 / 2 over the simplex, by the number of entries that are kept."""
    best = -math.inf
    for kept in range(1, len(u) + 1):
        top = sorted(u, reverse=True)[:kept]
        a = [1 / kept + (x - sum(top) / kept) / tau for x in top]
        if min(a) >= 0:
            best = max(best, sum(w * x - tau * w * w / 2 for w, x in zip(a, top, strict=True)))
    return best


# --- the methods ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A method, its loss written naively, and the changes of Z that leave its loss alone (the others must not)."""

    name: str  # of the registry
    method: ss.Method
    loop: Callable[[np.ndarray, np.ndarray], float]
    free: frozenset[str]
    closed: str  # `unique_up_to` of the closed form, "" where there is none

    @property
    def hinge(self) -> bool:
        """Whether the loss has kinks, at columns of variance 1, where most of its optima are."""
        return getattr(self.method, "form", "") == "hinge"

    @property
    def constrained(self) -> bool:
        """Whether the loss is that of whitened columns."""
        return getattr(self.method, "form", "") == "constrained"

    @property
    def shares(self) -> bool:
        """Whether columns past the rank share the variance, instead of being zero."""
        return self.name == "vicreg" and self.method.hyper["covariance"] < self.method.hyper["variance"]

    def shrunk(self, Z: torch.Tensor) -> torch.Tensor:
        """Columns past the hinge's kink back to it, which lowers its loss: smooth where they are longer."""
        return Z / Z.std(dim=0, correction=0).clamp_min(1.0) if self.hinge else Z

    @property
    def blind(self) -> bool:
        """Whether the loss ignores the size of Z, or of the parameters (a bounded radius): its gradient fades there."""
        return bool({COLUMNS, ROWS} & self.free) or self.method.ball is not None

    def relation(self, name: str) -> ss.Graph:
        """The relation of that name; of methods that contrast two views, one of two views for each name."""
        if self.name != "alpha_cl":
            return relation(name)
        order = np.random.default_rng(RELATIONS.index(name)).permutation(N)
        return ss.Graph.from_pairs(order[: N // 2], order[N // 2 :], N)


ROTATION, SHIFT, COLUMNS, ROWS = "rotation", "shift", "column scale", "row scale"
CHANGES = (ROTATION, SHIFT, COLUMNS, ROWS)


def case(name: str, method: ss.Method, loop: Any, *free: str, closed: str = "rotation") -> Case:
    return Case(name, method, loop, frozenset(free), closed)


CASES = {
    "vicreg": case("vicreg", ss.VICReg(1.0, 1.0, 0.2), lambda Z, A: vicreg_loop(Z, A, 1.0, 1.0, 0.2), ROTATION, SHIFT),
    "vicreg-scaled": case(
        "vicreg", ss.VICReg(2.5, 2.5, 0.3), lambda Z, A: vicreg_loop(Z, A, 2.5, 2.5, 0.3), ROTATION, SHIFT
    ),
    "vicreg-ddof": case(
        "vicreg",
        ss.VICReg(1.0, 1.0, 0.2, ddof=1),
        lambda Z, A: vicreg_loop(Z, A, 1.0, 1.0, 0.2, ddof=1),
        ROTATION,
        SHIFT,
    ),
    "vicreg-degree": case(
        "vicreg",
        ss.VICReg(1.5, 1.5, 0.6, weighting="degree"),
        lambda Z, A: vicreg_loop(Z, A, 1.5, 1.5, 0.6, degree=True),
        ROTATION,
        SHIFT,
    ),
    "vicreg-decorrelating": case(
        "vicreg",
        ss.VICReg(1.0, 3.0, 0.2),
        lambda Z, A: vicreg_loop(Z, A, 1.0, 3.0, 0.2),
        SHIFT,
        closed="signed_permutation",
    ),
    "vicreg-unequal": case("vicreg", ss.VICReg(1.0, 0.3, 0.2), lambda Z, A: vicreg_loop(Z, A, 1.0, 0.3, 0.2), SHIFT),
    "vicreg-hinge": case(
        "vicreg",
        ss.VICReg(2.0, 0.25, 0.1, form="hinge"),
        lambda Z, A: vicreg_loop(Z, A, 2.0, 0.25, 0.1, hinge=True),
        SHIFT,
    ),
    "vicreg-constrained": case(
        "vicreg",
        ss.VICReg(invariance=0.2, form="constrained"),
        lambda Z, A: whitened_loop(Z, A, 0.2),
        ROTATION,
        SHIFT,
        COLUMNS,
    ),
    "frobenius_simclr": case("frobenius_simclr", ss.FrobeniusSimCLR(), frobenius_loop, ROTATION),
    "spectral_contrastive": case("spectral_contrastive", ss.SpectralContrastive(), spectral_contrastive_loop, ROTATION),
    "ssl_ey": case("ssl_ey", METHODS["ssl_ey"](), ssl_ey_loop, ROTATION, SHIFT),
    "barlow_twins": case("barlow_twins", ss.BarlowTwins(), barlow_loop, SHIFT, COLUMNS, closed="orthogonal+scale"),
    "barlow_twins-redundancy": case(
        "barlow_twins",
        ss.BarlowTwins(0.97),  # below 0.955 the relation "edges" would lose a direction, and warn
        lambda Z, A: barlow_loop(Z, A, 0.97),
        SHIFT,
        COLUMNS,
        closed="orthogonal+scale",
    ),
    "barlow_twins-unnormalised": case(
        "barlow_twins",
        ss.BarlowTwins(normalized=False),
        lambda Z, A: barlow_loop(Z, A, normalized=False),
        ROTATION,
        closed="none",
    ),
    "infonce": case(
        "infonce", METHODS["infonce"](0.7), lambda Z, A: info_nce_loop(Z, A, 0.7), ROTATION, ROWS, closed=""
    ),
    "infonce-dot": case(
        "infonce",
        METHODS["infonce"](0.8, "dot", 20.0),
        lambda Z, A: info_nce_loop(Z, A, 0.8, cosine=False),
        ROTATION,
        closed="",
    ),
    "simclr": case("simclr", ss.SimCLR(0.3), lambda Z, A: info_nce_loop(Z, A, 0.3), ROTATION, ROWS, closed=""),
    "alpha_cl": case(
        "alpha_cl",
        METHODS["alpha_cl"]("infonce(temperature=0.7)", radius=20.0),
        lambda Z, A: alpha_cl_loop(Z, A, lambda u: nce(u, 0.7)),
        ROTATION,
        SHIFT,
        closed="",
    ),
    "alpha_cl-sparse": case(
        "alpha_cl",
        ss.AlphaCL("r_s(temperature=0.8)", radius=7.0),
        lambda Z, A: alpha_cl_loop(Z, A, lambda u: sparsemax(u, 0.8)),
        ROTATION,
        SHIFT,
        closed="",
    ),
}
CLOSED = {name: c for name, c in CASES.items() if c.closed}
OPEN = {name: c for name, c in CASES.items() if not c.closed}

each = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
each_closed = pytest.mark.parametrize("case", CLOSED.values(), ids=CLOSED.keys())
each_blind = pytest.mark.parametrize(
    "case", [c for c in CASES.values() if c.blind], ids=[name for name, c in CASES.items() if c.blind]
)
each_open = pytest.mark.parametrize("case", OPEN.values(), ids=OPEN.keys())
both_models = pytest.mark.parametrize("model", ["free", "linear"])
every_model = pytest.mark.parametrize("model", ["free", "linear", "kernel"])
KERNEL = "nystroem(n_landmarks=7, bandwidth=1.5)"

N, D, K = 12, 5, 3


def irregular(seed: int = 0) -> np.ndarray:
    """Connected, weighted, unequal degrees, self-pairs on some samples, no tie in any spectrum."""
    rng = np.random.default_rng(seed)
    points = np.sort(rng.uniform(0, 4, N))
    A = np.exp(-((points[:, None] - points[None]) ** 2)) * rng.uniform(0.5, 1.0, (N, N))
    A = np.triu(A * (A > 0.1), 1)
    return A + A.T + np.diag(rng.random(N) * (np.arange(N) % 4 == 0))


def features(seed: int = 0) -> np.ndarray:
    """X (N, D), not centred, smooth along the relation in some directions and noise in others."""
    rng = np.random.default_rng(seed)
    t = np.linspace(-1, 1, N)
    smooth = np.column_stack([t, t**2, np.sin(3 * t)])
    mixed = smooth @ rng.standard_normal((D, D))[:3]
    return mixed + 0.2 * rng.standard_normal((N, D)) + 0.3


def relation(name: str) -> ss.Graph:
    views = np.arange(N) // 3
    labels = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2])
    isolated = irregular(1)
    isolated[5, :] = isolated[:, 5] = 0.0
    return {
        "edges": lambda: ss.Graph.from_adjacency(irregular()),
        "views": lambda: ss.Graph.from_groups(views, weight=np.full(4, 0.5)),
        "labels": lambda: ss.Graph.from_groups(labels, weight=[1 / 2, 1 / 4, 1 / 6], diagonal=True),
        "both": lambda: ss.Graph.from_adjacency(irregular()).plus(ss.Graph.from_groups(views, weight=[0.3, 1, 2, 0.1])),
        "isolated": lambda: ss.Graph.from_adjacency(isolated),
        "ring": lambda: ss.Graph.from_pairs(np.arange(N), (np.arange(N) + 1) % N, N, np.full(N, 1.5)),  # regular, d = 3
    }[name]()


RELATIONS = ("edges", "views", "labels", "both", "isolated", "ring")


def draw(seed: int = 0, K: int = K) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, K)) + 0.5


def options(model: str) -> dict[str, Any]:
    """A model class, as `optimum` and `train` take it."""
    return {"free": {}, "linear": {"X": features()}, "kernel": {"X": features(), "kernel": KERNEL}}[model]


def columns(model: str) -> np.ndarray:
    """What the model maps linearly: Z = columns W, up to centring."""
    return features() if model == "linear" else feature_map(KERNEL, features())(features())


def solve(case: Case, graph: ss.Graph, model: str, K: int = K) -> ss.Optimum:
    return ss.optimum(case.method, graph, K, **options(model))


def collapse(case: Case, A: np.ndarray, K: int) -> float:
    """The loss of an embedding without information, from the definition of each method."""
    if case.name in ("infonce", "simclr"):
        return case.loop(np.ones((len(A), K)), A)  # equal similarities
    if case.constrained:  # the mean over whitened columns: a K-th of N - 1 times what all of them cost together
        return case.loop(np.eye(len(A))[:, 1:], A) * K / (len(A) - 1)
    return case.loop(np.zeros((len(A), K)), A)


def angle(Y: np.ndarray, Z: np.ndarray, r: int) -> float:
    """Largest principal angle between the top-r left singular subspaces."""
    top = [np.linalg.svd(M, full_matrices=False)[0][:, :r] for M in (Y, Z)]
    return float(scipy.linalg.subspace_angles(*top).max())


# --- the suite --------------------------------------------------------------------------------------------------------


def test_every_method_of_the_registry_is_here() -> None:
    assert {case.name for case in CASES.values()} == set(METHODS)
    for case in CASES.values():
        made = METHODS[case.name]()
        assert type(made) is type(case.method)


@each
@pytest.mark.parametrize("name", RELATIONS)
def test_loss_equals_a_loop_over_samples(case: Case, name: str) -> None:
    graph = case.relation(name)
    A = graph.to_csr().toarray()
    for seed, k in ((0, 1), (1, 3), (2, 4)):
        Z = draw(seed, k)
        loss = case.method.loss(Z, graph)
        assert loss.dtype == torch.float64
        assert loss.shape == ()
        assert float(loss) == pytest.approx(case.loop(Z, A), rel=SAME)


@each
def test_terms_sum_to_the_loss(case: Case) -> None:
    graph, Z = case.relation("both"), draw()
    terms = case.method.loss_terms(Z, graph)
    assert len(terms) > 1
    assert all(v.shape == () for v in terms.values())
    assert sum(float(v) for v in terms.values()) == pytest.approx(float(case.method.loss(Z, graph)), rel=1e-13)


@each
def test_float32_gives_the_same_loss_and_gradient(case: Case) -> None:
    graph = case.relation("both")
    exact = torch.tensor(draw(), requires_grad=True)
    case.method.loss(exact, graph).backward()
    Z = torch.tensor(draw(), dtype=torch.float32, requires_grad=True)
    loss = case.method.loss(Z, graph)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(case.loop(draw(), graph.to_csr().toarray()), rel=FLOAT32)
    loss.backward()
    assert Z.grad is not None
    assert exact.grad is not None
    assert Z.grad.dtype == torch.float32
    assert float((Z.grad - exact.grad).abs().max()) < FLOAT32 * float(exact.grad.abs().max())


@each
def test_gradient_is_that_of_the_loop(case: Case) -> None:
    graph, Z = case.relation("both"), draw()
    A = graph.to_csr().toarray()
    tensor = torch.tensor(Z, requires_grad=True)
    case.method.loss(tensor, graph).backward()
    assert tensor.grad is not None
    rng, h = np.random.default_rng(3), 1e-5
    for _ in range(3):
        way = rng.standard_normal(Z.shape)
        slope = (case.loop(Z + h * way, A) - case.loop(Z - h * way, A)) / (2 * h)
        assert float((tensor.grad.numpy() * way).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-7)  # h^2 and eps / h


@each
@pytest.mark.parametrize("change", CHANGES)
def test_invariance_is_as_declared(case: Case, change: str) -> None:
    graph, Z = case.relation("both"), draw()
    rng = np.random.default_rng(1)
    changed = {
        ROTATION: Z @ np.linalg.qr(rng.standard_normal((K, K)))[0],
        SHIFT: Z + np.array([1.0, -2.0, 0.5]),
        COLUMNS: Z * [0.5, -2.0, 3.0],
        ROWS: Z * rng.uniform(0.5, 2.0, (N, 1)),
    }[change]
    before, after = float(case.method.loss(Z, graph)), float(case.method.loss(changed, graph))
    if change in case.free:
        assert after == pytest.approx(before, rel=SAME)
    else:
        assert abs(after - before) > CHANGED * abs(before)
    # what every loss ignores: names and signs of coordinates
    assert float(case.method.loss(-Z[:, [2, 0, 1]], graph)) == pytest.approx(before, rel=SAME)
    if change == SHIFT:
        assert (case.method.centred is not None) == (SHIFT in case.free)


@each
def test_rows_can_be_renumbered(case: Case) -> None:
    order = np.random.default_rng(2).permutation(N)
    for name in RELATIONS:
        graph, Z = case.relation(name), draw()
        A = graph.to_csr().toarray()
        renumbered = ss.Graph.from_adjacency(A[order][:, order])
        loss = float(case.method.loss(Z, graph))
        assert float(case.method.loss(Z[order], renumbered)) == pytest.approx(loss, rel=SAME)


@each_closed
@both_models
def test_optimum_moves_with_its_rows(case: Case, model: str) -> None:
    graph, order = case.relation("edges"), np.random.default_rng(2).permutation(N)
    renumbered = ss.Graph.from_adjacency(irregular()[order][:, order])
    X = features() if model == "linear" else None
    first = ss.optimum(case.method, graph, K, X=X)
    second = ss.optimum(case.method, renumbered, K, X=None if X is None else X[order])
    assert second.loss == pytest.approx(first.loss, rel=SAME, abs=SAME)
    assert second.rank == first.rank
    assert angle(first.embedding.Z[order], second.embedding.Z, first.rank) < 1e-8


@each_closed
@every_model
@pytest.mark.parametrize("name", RELATIONS)
def test_optimum_has_the_loss_terms_and_rank_it_claims(case: Case, model: str, name: str) -> None:
    graph = case.relation(name)
    A = graph.to_csr().toarray()
    best = solve(case, graph, model)
    Z = best.embedding.Z
    assert best.loss == pytest.approx(case.loop(Z, A), rel=1e-9, abs=1e-9 * collapse(case, A, K) + 1e-12)
    assert sum(best.loss_terms.values()) == pytest.approx(best.loss, rel=1e-13, abs=1e-13)
    measured = case.method.loss_terms(Z, graph)
    assert best.loss_terms.keys() == measured.keys()
    for term, value in measured.items():
        assert best.loss_terms[term] == pytest.approx(float(value), rel=1e-8, abs=1e-8)
    assert best.rank == best.embedding.rank == np.linalg.matrix_rank(Z, tol=1e-8)
    assert Z.shape == (N, K)
    if case.method.hyper.get("redundancy", 1.0) == 1 or best.kind == "exact":
        assert best.kind == "exact"
        if case.method.searches:
            assert 0 <= best.loss - best.lower_bound <= 1e-9 * collapse(case, A, K)
        else:
            assert best.lower_bound == best.loss
    else:  # three unit columns, unlike four, seldom attain the bound at other redundancies
        assert best.kind == "certified"
        assert best.lower_bound < best.loss
    # fewer positive rho than columns and sum 1/rho < K: Barlow Twins has norm left over, which any direction can hold
    rho = best.embedding.spectrum[best.embedding.spectrum > 1e-9]
    plenty = case.closed == "orthogonal+scale" and rho.size < K and (1 / rho).sum() < K
    # where a hinge loss is zero, columns may be any longer
    longer = case.hinge and best.loss < 1e-12
    assert best.unique_up_to == ("none" if plenty else "orthogonal+scale" if longer else case.closed)
    if model != "free":
        assert best.embedding.W is not None
        X = columns(model) - (0 if best.embedding.mean is None else best.embedding.mean)
        assert np.abs(X @ best.embedding.W - Z).max() < 1e-12 * max(1.0, np.abs(Z).max())
        assert best.embedding.transform(features()) == pytest.approx(Z, abs=1e-12)


@each_closed
@every_model
def test_gradient_is_zero_at_the_optimum(case: Case, model: str) -> None:
    graph = case.relation("edges")
    best = solve(case, graph, model)
    at: list[float] = []
    for size in (1.0, 1.1):  # at the optimum, and a step away from it
        W = best.embedding.Z if model == "free" else best.embedding.W
        assert W is not None
        push = 0.1 * np.random.default_rng(0).standard_normal(W.shape) * np.abs(W).max() if size > 1 else 0.0
        B = torch.tensor((1.001 if case.hinge else 1.0) * W + push, requires_grad=True)
        Z = B if model == "free" else torch.tensor(columns(model)) @ B
        case.method.loss(case.shrunk(Z), graph).backward()
        assert B.grad is not None
        at.append(float(B.grad.abs().max()))
    assert at[0] < GRADIENT_TOL * at[1]


@each_closed
@pytest.mark.parametrize("name", RELATIONS)
def test_free_optimum_is_the_linear_one_of_the_identity(case: Case, name: str) -> None:
    graph = case.relation(name)
    for k in (1, K, 6):
        free, linear = ss.optimum(case.method, graph, k), ss.optimum(case.method, graph, k, X=np.eye(N))
        assert linear.loss == pytest.approx(free.loss, rel=1e-9, abs=1e-9)
        assert linear.rank == free.rank
        if free.rank > 0 and free.gap >= GAP_MIN and np.isfinite(free.gap) and name in ("edges", "both"):
            assert angle(free.embedding.Z, linear.embedding.Z, free.rank) < 1e-7
            if case.closed in ("rotation", "signed_permutation"):  # equal up to it: the Gram matrices agree
                gram = free.embedding.Z @ free.embedding.Z.T
                assert np.abs(linear.embedding.Z @ linear.embedding.Z.T - gram).max() < 1e-10 * np.abs(gram).max()


@each_closed
@every_model
@pytest.mark.parametrize("name", ["edges", "views", "labels", "ring"])
def test_training_reaches_the_optimum_and_never_passes_it(case: Case, model: str, name: str) -> None:
    graph = case.relation(name)
    A = graph.to_csr().toarray()
    best = solve(case, graph, model)
    spread = collapse(case, A, K) - best.loss
    assert spread > 0.05, "nothing to learn here"
    # where rho = 1 exactly (views, labels) C_kk = 1 is its largest value, so that Barlow Twins grows as the fourth
    # power of an angle: descent to it slows down long after the loss is there
    flat = name != "edges" and case.closed == "orthogonal+scale"
    steps = 300 if flat else 3000
    runs = [ss.train(case.method, graph, K, seed=seed, max_iter=steps, **options(model)) for seed in range(3)]
    for run in runs:
        measured = case.loop(run.embedding.Z, A)
        assert run.loss == pytest.approx(measured, rel=1e-9, abs=1e-9)
        assert sum(run.loss_terms.values()) == pytest.approx(run.loss, rel=1e-12)
        assert (measured - best.loss) / spread > -BELOW * max(1.0, (A**2).sum() / spread)
        assert run.losses.min() == pytest.approx(run.loss, rel=1e-8, abs=1e-8 * spread)
    run = min(runs, key=lambda run: run.loss)
    assert (run.loss - best.loss) / spread < EXCESS_TOL
    assert run.converged or flat, run.message
    if best.gap >= GAP_MIN and case.closed != "none" and not flat:
        assert angle(run.embedding.Z, best.embedding.Z, best.rank) < ANGLE_TOL


@each_closed
@pytest.mark.parametrize("precondition", [True, False])
def test_samples_without_a_pair_are_at_zero_where_pairs_are_all_that_counts(case: Case, precondition: bool) -> None:
    graph = case.relation("isolated")
    lonely = graph.degree == 0
    assert lonely.sum() == 1
    best, run = ss.optimum(case.method, graph, K), ss.train(case.method, graph, K, precondition=precondition)
    assert run.loss == pytest.approx(best.loss, rel=EXCESS_TOL, abs=EXCESS_TOL)
    if case.method.pencil.startswith("degree"):
        assert np.all(best.embedding.Z[lonely] == 0)
        assert np.all(run.embedding.Z[lonely] == 0)
    assert best.gap >= GAP_MIN
    if case.closed != "none":
        assert angle(run.embedding.Z, best.embedding.Z, best.rank) < ANGLE_TOL


def test_angles_of_trained_runs_are_judged_somewhere() -> None:
    # the suite above would say nothing of subspaces were every gap closed
    for case, model in itertools.product(CLOSED.values(), ("free", "linear")):
        best = solve(case, relation("edges"), model)
        assert best.rank >= 2
        assert best.gap >= GAP_MIN


@both_models
def test_invariance_left_open_is_resolved_alike_for_solving_and_training(model: str) -> None:
    graph = relation("edges")
    X = features() if model == "linear" else None
    for method in (ss.VICReg(), ss.VICReg(variance=2.0, covariance=2.0, ddof=1), ss.VICReg(weighting="degree")):
        best, run = ss.optimum(method, graph, K, X=X), ss.train(method, graph, K, X=X)
        assert best.method == run.method
        assert run.loss == pytest.approx(best.loss, rel=EXCESS_TOL)
        # t_K = 1/2: the smallest nonzero eigenvalue of the covariance
        m, degree = graph.degree, method.weighting == "degree"
        Z = best.embedding.Z
        Z = Z - (m @ Z / m.sum() if degree else Z.mean(axis=0))
        cov = Z.T @ (m[:, None] * Z) / m.sum() if degree else Z.T @ Z / (N - method.ddof)
        assert np.linalg.eigvalsh(cov)[0] == pytest.approx(0.5, abs=1e-9)


@each_open
def test_without_a_closed_form_the_optimum_is_certified(case: Case) -> None:
    graph = case.relation("edges")
    A = graph.to_csr().toarray()
    best = ss.optimum(case.method, graph, K)
    assert best.kind == "certified"
    assert best.loss == pytest.approx(case.loop(best.embedding.Z, A), rel=1e-9)
    assert best.lower_bound <= best.loss < collapse(case, A, K)
    runs = [ss.train(case.method, graph, K, max_iter=300, seed=seed) for seed in range(3)]
    for run in runs:
        assert run.loss == pytest.approx(case.loop(run.embedding.Z, A), rel=1e-9)
        assert max(best.lower_bound, case.method.lower_bound(graph, K)) <= run.loss + 1e-12 * abs(run.loss)
    least = min(run.loss for run in runs)
    assert best.loss <= least + EXCESS_TOL * abs(least)


@each_open
def test_without_a_closed_form_for_linear_maps_the_reason_is_given(case: Case) -> None:
    if case.method.ball is not None:
        graph = case.relation("edges")
        best = ss.optimum(case.method, graph, K, X=features())
        assert best.kind == "certified"
        assert best.loss == pytest.approx(case.loop(features() @ best.embedding.W, graph.to_csr().toarray()), rel=1e-9)
        return
    with pytest.raises(ss.NotClosedForm) as error:
        ss.optimum(case.method, case.relation("edges"), K, X=features())
    assert len(str(error.value)) > 60
    assert "; " in str(error.value), "a reason, and what to do about it"


@each
def test_collapse_loss_is_that_of_an_embedding_without_information(case: Case) -> None:
    for name in RELATIONS:
        graph = case.relation(name)
        for k in (1, 4):
            expected = collapse(case, graph.to_csr().toarray(), k)
            assert case.method.collapse_loss(graph, k) == pytest.approx(expected, rel=SAME, abs=1e-12)


@each
@pytest.mark.parametrize(
    ("k", "model"),
    [(0, "free"), (-1, "free"), (2.5, "free"), ("3", "free"), (True, "free"), (N, "free"), (D + 1, "linear")],
)
def test_impossible_numbers_of_components_are_refused(case: Case, k: Any, model: str) -> None:
    graph = case.relation("edges")
    X = features() if model == "linear" else None
    if case.closed:
        with pytest.raises(ss.DataError, match="n_components"):
            ss.optimum(case.method, graph, k, X=X)
    with pytest.raises(ss.DataError, match="n_components"):
        ss.train(case.method, graph, k, X=X)


@each_closed
def test_the_largest_number_of_components_is_accepted(case: Case) -> None:
    graph = case.relation("edges")
    A = graph.to_csr().toarray()
    for k, X in ((N - 1, None), (D, features())):
        best = ss.optimum(case.method, graph, k, X=X)
        assert best.embedding.Z.shape == (N, k)
        assert best.loss == pytest.approx(case.loop(best.embedding.Z, A), rel=1e-8, abs=1e-8)


@each_closed
def test_components_past_the_rank_warn_and_are_zero(case: Case) -> None:
    graph = case.relation("edges")
    A = graph.to_csr().toarray()
    X = features()[:, :3] @ np.random.default_rng(0).standard_normal((3, 6))  # six features, rank three
    if case.constrained:
        with pytest.raises(ss.DataError, match="n_components=5 exceeds the rank 3"):
            ss.optimum(case.method, graph, 5, X=X)
        return
    # the metric of this pencil is that of the weights, of which there are six dimensions, three of them idle
    weights_count = case.method.pencil == "cross_moment"
    with contextlib.nullcontext() if weights_count else pytest.warns(ss.SpectralWarning, match="rank 3"):
        best = ss.optimum(case.method, graph, 5, X=X)
    Z = best.embedding.Z
    assert Z.shape == (N, 5)
    assert best.rank == np.linalg.matrix_rank(Z, tol=1e-8) <= 3
    if COLUMNS not in case.free and not case.shares:  # a loss of unit columns has no use for a zero one
        assert np.all(Z[:, 3:] == 0)
    assert "of 5 components" in best.note
    assert best.loss == pytest.approx(case.loop(Z, A), rel=1e-9, abs=1e-9)
    runs = [ss.train(case.method, graph, 5, X=X, seed=seed) for seed in range(2)]
    assert min(run.loss for run in runs) == pytest.approx(best.loss, rel=EXCESS_TOL, abs=EXCESS_TOL)


@each
@both_models
def test_training_is_reproducible(case: Case, model: str) -> None:
    graph = case.relation("edges")
    X = features() if model == "linear" else None
    first, again, other = (ss.train(case.method, graph, K, X=X, seed=seed, max_iter=60) for seed in (3, 3, 4))
    assert np.array_equal(first.embedding.Z, again.embedding.Z)
    assert np.array_equal(first.losses, again.losses)
    assert first.seed == 3
    assert not np.allclose(first.embedding.Z, other.embedding.Z)


@each
def test_training_leaves_its_inputs_alone(case: Case) -> None:
    graph, X = case.relation("edges"), features()
    ss.train(case.method, graph, K, X=X, max_iter=20)
    ss.train(case.method, graph, K, max_iter=20)
    assert np.array_equal(X, features())
    assert np.array_equal(graph.to_csr().toarray(), case.relation("edges").to_csr().toarray())


@each
def test_an_unknown_device_is_refused(case: Case) -> None:
    with pytest.raises(ss.DataError, match="nonsense"):
        ss.train(case.method, case.relation("edges"), K, device="nonsense")


@each
@both_models
@pytest.mark.parametrize("rate", [1e3, 1e12])
def test_divergence_is_never_silent(case: Case, model: str, rate: float) -> None:
    X = features() if model == "linear" else None
    options = {"optimizer": "gd", "learning_rate": rate, "max_iter": 200, "tol": 1e-30}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nor does it warn instead
            run = ss.train(case.method, case.relation("edges"), K, X=X, **options)
    except ss.NumericalError as error:
        message = str(error)
        assert "learning rate" in message
        return
    assert not run.converged
    assert np.all(np.isfinite(run.embedding.Z))
    assert np.isfinite(run.loss)
    assert np.isfinite(run.gradient_norm)
    assert np.all(np.isfinite(run.losses))


@each_blind
def test_convergence_is_not_claimed_where_only_the_size_of_z_made_the_gradient_small(case: Case) -> None:
    runs = [ss.train(case.method, case.relation("edges"), K, init_scale=scale, max_iter=50) for scale in (1e10, None)]
    assert not runs[0].converged or runs[0].loss < runs[1].loss + 0.01 * abs(runs[1].loss)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vicreg", {"variance": 0.0}),
        ("vicreg", {"variance": math.inf}),
        ("vicreg", {"covariance": -1.0}),
        ("vicreg", {"invariance": -0.1}),
        ("vicreg", {"invariance": math.nan}),
        ("vicreg", {"form": "hing"}),
        ("vicreg", {"form": "constrained", "variance": 2.0}),
        ("vicreg", {"form": "constrained", "covariance": 0.0}),
        ("vicreg", {"weighting": "degrees"}),
        ("vicreg", {"ddof": 2}),
        ("barlow_twins", {"redundancy": -1.0}),
        ("barlow_twins", {"redundancy": math.nan}),
        ("barlow_twins", {"redundancy": 0.5, "normalized": False}),
        ("infonce", {"temperature": 0.0}),
        ("infonce", {"temperature": -1.0}),
        ("infonce", {"temperature": math.nan}),
        ("infonce", {"similarity": "euclidean"}),
        ("infonce", {"radius": 2.0}),
        ("infonce", {"similarity": "dot", "radius": 0.0}),
        ("simclr", {"temperature": -1.0}),
        ("alpha_cl", {"rule": "infonse"}),
        ("alpha_cl", {"rule": 3.0}),
        ("alpha_cl", {"constraint": "cube"}),
        ("alpha_cl", {"constraint": "unit", "radius": 2.0}),
        ("alpha_cl", {"radius": math.nan}),
        ("alpha_cl", {"views": "three"}),
    ],
    ids=str,
)
def test_impossible_hyper_parameters_are_refused_by_name(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ss.DataError, match=list(options)[-1] if len(options) == 1 else "redundancy|radius|constrained"):
        METHODS[name](**options)


@each
def test_an_embedding_of_the_wrong_size_is_refused(case: Case) -> None:
    with pytest.raises(ss.DataError, match=r"\(12, K\)"):
        case.method.loss(draw()[:-1], case.relation("edges"))
