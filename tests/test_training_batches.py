"""Batches of positive pairs: what they estimate, with which bias, over every batch there is.

Expectations are sums over all batches with their probabilities, written here from A alone: no Monte Carlo but where
the sampler itself is judged.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from measure import Record, agree

import spectral_ssl as ss
from spectral_ssl.methods import METHODS
from spectral_ssl.methods._batches import batch_moments

SAME = 1e-11  # relative: sums of a few thousand products in another order
K = 2
SEEN = 40_000  # pairs drawn to judge the sampler; a share then has a standard deviation of at most 0.0025


def path(loops: bool = False) -> np.ndarray:
    """A weighted path 0 - 1 - 2, degrees 1, 3, 2; 4 ordered pairs, 5 with a loop."""
    A = np.zeros((3, 3))
    A[0, 1] = A[1, 0] = 1.0
    A[1, 2] = A[2, 1] = 2.0
    if loops:
        A[2, 2] = 0.5
    return A


def lonely(loops: bool = False) -> np.ndarray:
    """The path, and two samples without a pair."""
    A = np.zeros((5, 5))
    A[:3, :3] = path(loops)
    return A


def embedding(N: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, K)) + np.array([3.0, -1.0])


def outcomes(A: np.ndarray, isolated: bool) -> list[tuple[int, int, float]]:
    """Every pair a draw can be, with its probability."""
    alone = [k for k in range(len(A)) if not A[k].any()] if isolated else []
    share = len(alone) / len(A)
    pairs = [(i, j, A[i, j] / A.sum() * (1 - share)) for i in range(len(A)) for j in range(len(A)) if A[i, j] > 0]
    return pairs + [(k, k, 1 / len(A)) for k in alone]


def batches(A: np.ndarray, B: int, isolated: bool) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    for drawn in itertools.product(outcomes(A, isolated), repeat=B):
        i, j = (np.array([pair[end] for pair in drawn]) for end in (0, 1))
        yield i, j, math.prod(pair[2] for pair in drawn)


def expected(
    f: Callable[[torch.Tensor, torch.Tensor, np.ndarray, np.ndarray], np.ndarray],
    A: np.ndarray,
    Z: np.ndarray,
    B: int,
    isolated: bool,
) -> np.ndarray:
    Z_ = torch.as_tensor(Z)
    return np.asarray(sum(p * np.asarray(f(Z_[i], Z_[j], i, j)) for i, j, p in batches(A, B, isolated)))


def weighted_scatter(Z: np.ndarray, w: np.ndarray, centred: bool) -> np.ndarray:
    Y = Z - (w @ Z / w.sum() if centred else 0.0)
    return sum((w[i] * np.outer(Y[i], Y[i]) for i in range(len(Z))), np.zeros((K, K)))


def laplacian_energy(Z: np.ndarray, A: np.ndarray) -> np.ndarray:
    N = range(len(A))
    return sum((A[i, j] / 2 * np.outer(Z[i] - Z[j], Z[i] - Z[j]) for i in N for j in N), np.zeros((K, K)))


RELATIONS = {"path": path(), "loops": path(loops=True), "isolated": lonely(), "isolated-loops": lonely(loops=True)}
each_relation = pytest.mark.parametrize("name", RELATIONS)


@each_relation
@pytest.mark.parametrize("B", [2, 3])
@pytest.mark.parametrize("centred", [True, False])
def test_every_moment_of_a_batch_has_the_mean_of_the_whole_relation(name: str, B: int, centred: bool) -> None:
    A = RELATIONS[name]
    if len(A) == 5 and B == 3:
        B = 2  # 7^3 batches say no more
    graph, Z, N = ss.Graph.from_adjacency(A), embedding(len(A)), len(A)
    degree = A.sum(axis=1)

    def moments(za: torch.Tensor, zb: torch.Tensor, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        m = batch_moments(za, zb, i, j, graph, centred=centred, with_isolated=True)
        return torch.stack([m.scatter, m.laplacian, m.degree_scatter]).numpy()

    found = expected(moments, A, Z, B, isolated=True)
    wanted = np.stack(
        [
            weighted_scatter(Z, np.ones(N), centred),
            laplacian_energy(Z, A),
            weighted_scatter(Z, degree, centred),
        ]
    )
    assert np.abs(found - wanted).max() < SAME * np.abs(wanted).max()


def test_means_of_a_batch_have_the_mean_of_the_whole_relation() -> None:
    A = lonely()
    graph, Z = ss.Graph.from_adjacency(A), embedding(5)

    def means(za: torch.Tensor, zb: torch.Tensor, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        m = batch_moments(za, zb, i, j, graph, centred=True, with_isolated=True)
        return torch.stack([m.mean, m.degree_mean]).numpy()

    found = expected(means, A, Z, 2, isolated=True)
    wanted = np.stack([Z.mean(axis=0), A.sum(axis=1) @ Z / A.sum()])
    assert np.abs(found - wanted).max() < SAME


def test_scatters_of_a_batch_are_blind_to_shifts_and_positive() -> None:
    A, rng = lonely(), np.random.default_rng(1)
    graph, Z = ss.Graph.from_adjacency(A), torch.as_tensor(embedding(5))
    for _ in range(20):
        i, j = ss.FrobeniusSimCLR().draw_pairs(graph, 4, rng)
        m, n = (batch_moments(Y[i], Y[j], i, j, graph, centred=True, with_isolated=True) for Y in (Z, Z + 7.0))
        for a, b in ((m.scatter, n.scatter), (m.degree_scatter, n.degree_scatter)):
            assert float((a - b).abs().max()) < 1e-11 * max(1.0, float(a.abs().max()))
            assert float(torch.linalg.eigvalsh(a).min()) > -1e-11


def test_where_all_pairs_are_in_a_batch_once_its_moments_are_those_of_the_relation() -> None:
    # a ring of even length, every pair in both orders: weights of all ends are equal, and add up
    N = 6
    graph = ss.Graph.from_pairs(np.arange(N), (np.arange(N) + 1) % N, N)
    i = np.concatenate([np.arange(N), (np.arange(N) + 1) % N])
    j = np.concatenate([(np.arange(N) + 1) % N, np.arange(N)])
    Z = embedding(N)
    m = batch_moments(*map(torch.as_tensor, (Z[i], Z[j])), i, j, graph, centred=False, with_isolated=True)
    assert np.abs(m.scatter.numpy() - Z.T @ Z).max() < 1e-12 * N
    assert np.abs(m.laplacian.numpy() - laplacian_energy(Z, graph.to_csr().toarray())).max() < 1e-12


@pytest.mark.parametrize("name", ["frobenius_simclr", "spectral_contrastive"])
def test_W9_squared_moments_of_pairs_are_too_large_by_their_variance_over_B(name: str, record_property: Record) -> None:
    """E L(batch of B pairs) - L = (E |M_b|^2 - |M|^2) / B, M_b the moment of one pair."""
    A = lonely() if name == "frobenius_simclr" else path(loops=True)
    isolated = name == "frobenius_simclr"  # the other does not see samples without a pair
    graph, Z, method = ss.Graph.from_adjacency(A), embedding(len(A)), METHODS[name]()
    degree, s, N = A.sum(axis=1), A.sum(), len(A)

    def of_pair(i: int, j: int) -> np.ndarray:
        if name == "spectral_contrastive":
            return (np.outer(Z[i], Z[i]) + np.outer(Z[j], Z[j])) / 2
        if degree[i] == 0:
            return N * np.outer(Z[i], Z[i])
        paired = (degree > 0).mean()
        return s / (2 * paired) * (np.outer(Z[i], Z[i]) / degree[i] + np.outer(Z[j], Z[j]) / degree[j])

    moments = [(p, of_pair(i, j)) for i, j, p in outcomes(A, isolated)]
    mean = sum(p * M for p, M in moments)
    spread = sum(p * (M**2).sum() for p, M in moments) - (mean**2).sum()
    full = float(method.loss(Z, graph))
    found = [
        float(
            expected(
                lambda za, zb, i, j: np.array(float(sum(method.batch_terms(za, zb, i, j, graph).values()))),
                A,
                Z,
                B,
                isolated,
            )
        )
        - full
        for B in (2, 4)
    ]
    agree(record_property, found, [spread / 2, spread / 4], SAME, scale=abs(full))
    assert found[0] > 0.01 * abs(full)


UNBIASED = {
    "frobenius_simclr": ss.FrobeniusSimCLR(),
    "spectral_contrastive": ss.SpectralContrastive(),
    "ssl_ey": ss.SSLEY(),
    "vicreg": ss.VICReg(1.0, 0.4, 0.3),
    "vicreg-ddof": ss.VICReg(1.0, 1.0, 0.3, ddof=1),
    "vicreg-degree": ss.VICReg(1.0, 2.0, 0.3, weighting="degree"),
    "barlow_twins-unnormalised": ss.BarlowTwins(normalized=False),
}


@pytest.mark.parametrize("name", UNBIASED)
def test_a_debiased_loss_quadratic_in_the_moments_has_the_mean_of_the_whole_loss(name: str) -> None:
    method = UNBIASED[name]
    A = path() if method.whitens.startswith("degree") or name == "vicreg-ddof" else np.pad(path(), (0, 1))
    graph, Z = ss.Graph.from_adjacency(A), embedding(len(A), 3)
    isolated = not method.whitens.startswith("degree")

    def value(terms: Callable[..., dict[str, torch.Tensor]]) -> float:
        return float(
            expected(lambda za, zb, i, j: np.array(float(sum(terms(za, zb, i, j, graph).values()))), A, Z, 4, isolated)
        )

    full = float(method.loss(Z, graph))
    assert value(method.debiased_terms) == pytest.approx(full, rel=SAME)
    assert abs(value(method.batch_terms) - full) > 0.01 * abs(full)  # there was something to take off


def test_a_ridge_adds_the_same_to_every_batch() -> None:
    A = path()
    graph, Z, method = ss.Graph.from_adjacency(A), torch.as_tensor(embedding(3)), ss.VICReg(1.0, 1.0, 0.3)
    i, j = np.array([0, 1, 2, 1]), np.array([1, 2, 1, 0])
    penalty = torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64))
    for terms in (method.batch_terms, method.debiased_terms):
        plain, more = (sum(terms(Z[i], Z[j], i, j, graph, penalty=p).values()) for p in (None, penalty))
        assert float(more - plain) == pytest.approx(2 * 0.3 / 3 * 3.0)  # 2 gamma / N tr(penalty)


# --- InfoNCE --------------------------------------------------------------------------------------------------------


def nt_xent(Z: np.ndarray, partner: np.ndarray, temperature: float) -> float:
    total = 0.0
    unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    for e in range(len(Z)):
        s = [float(unit[e] @ unit[f]) / temperature for f in range(len(Z))]
        total += -s[partner[e]] + math.log(sum(math.exp(s[f]) for f in range(len(Z)) if f != e))
    return total / len(Z)


def test_infonce_of_a_batch_is_nt_xent_in_the_scale_of_the_relation() -> None:
    N, B, tau = 20, 5, 0.4
    graph = ss.Graph.from_groups(np.tile(np.arange(N // 2), 2), weight=np.full(N // 2, 1.5))
    Z = np.random.default_rng(0).standard_normal((N, 3))
    i = np.array([0, 12, 4, 6, 9])
    j = (i + 10) % 20
    terms = ss.SimCLR(tau).batch_terms(torch.as_tensor(Z[i]), torch.as_tensor(Z[j]), i, j, graph)
    s = 1.5 * N
    partner = np.concatenate([np.arange(B, 2 * B), np.arange(B)])
    wanted = s * (nt_xent(Z[np.concatenate([i, j])], partner, tau) + math.log((N - 1) / (2 * B - 1)))
    assert float(sum(terms.values())) == pytest.approx(wanted, rel=1e-12)
    # all pairs once: the loss of the relation
    i, j = np.arange(10), np.arange(10, 20)
    whole = ss.SimCLR(tau).batch_terms(torch.as_tensor(Z[i]), torch.as_tensor(Z[j]), i, j, graph)
    assert float(sum(whole.values())) == pytest.approx(float(ss.SimCLR(tau).loss(Z, graph)), rel=1e-12)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_infonce_of_large_batches_is_that_of_an_irregular_relation(similarity: str) -> None:
    A = np.pad(path(loops=True), (0, 3))
    for a, b, w in ((3, 4, 0.5), (4, 5, 3.0), (0, 5, 1.0)):
        A[a, b] = A[b, a] = w
    graph, Z = ss.Graph.from_adjacency(A), np.random.default_rng(5).standard_normal((6, K))
    method = METHODS["infonce"](0.5, similarity)
    rng = np.random.default_rng(0)
    i, j = method.draw_pairs(graph, 800, rng)
    assert np.all(i != j)
    found = float(sum(method.batch_terms(torch.as_tensor(Z[i]), torch.as_tensor(Z[j]), i, j, graph).values()))
    assert found == pytest.approx(float(method.loss(Z, graph)), rel=0.03)  # 1 / sqrt(800) of the loss's spread


def lonely_infonce(alone: int) -> tuple[np.ndarray, np.ndarray]:
    """The path with a self-pair and samples alone, one of them with a self-pair; rows of Z that tell them apart."""
    A = np.pad(path(loops=True), (0, alone))
    A[3, 3] = 1.0
    Z = np.random.default_rng(6).standard_normal((3 + alone, K))
    Z[3:] = Z[0]  # far worse negatives than those with pairs
    return A, Z


@pytest.mark.parametrize("alone", [1, 2, 10])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_infonce_of_a_batch_of_every_draw_in_its_proportion_is_that_of_a_relation_with_lonely_samples(
    similarity: str, alone: int
) -> None:
    A, Z = lonely_infonce(alone)
    graph, method = ss.Graph.from_adjacency(A), METHODS["infonce"](0.5, similarity)
    share = min(alone / len(A), 1 / 2)
    # 6 draws of a pair where one of them has weight 1 of all 6, to so many of each sample alone
    each = round(60 * share / (1 - share)) // alone
    assert each * alone == pytest.approx(60 * share / (1 - share))
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b for _ in range(int(10 * A[a, b]))]
    i, j = np.array(pairs + [(k, k) for k in range(3, 3 + alone) for _ in range(each)]).T
    found = float(sum(method.batch_terms(torch.as_tensor(Z[i]), torch.as_tensor(Z[j]), i, j, graph).values()))
    assert found == pytest.approx(float(method.loss(Z, graph)), rel=SAME)
    among_pairs = [b for b in range(len(i)) if i[b] != j[b]]
    i, j = i[among_pairs], j[among_pairs]
    fewer = float(sum(method.batch_terms(torch.as_tensor(Z[i]), torch.as_tensor(Z[j]), i, j, graph).values()))
    assert abs(fewer - found) > 0.01 * abs(found)  # those alone were seen


@pytest.mark.parametrize("alone", [2, 9])
def test_infonce_draws_lonely_samples_at_their_share_and_large_batches_have_its_loss(alone: int) -> None:
    A, Z = lonely_infonce(alone)
    graph, method = ss.Graph.from_adjacency(A), ss.SimCLR()
    i, j = method.draw_pairs(graph, SEEN, np.random.default_rng(0))
    share = min(alone / len(A), 1 / 2)
    assert np.all((i == j) == (i >= 3))
    assert np.bincount(i, minlength=len(A))[3:] / SEEN == pytest.approx(np.full(alone, share / alone), rel=0.1)
    i, j = i[:1000], j[:1000]
    found = float(sum(method.batch_terms(torch.as_tensor(Z[i]), torch.as_tensor(Z[j]), i, j, graph).values()))
    assert found == pytest.approx(float(method.loss(Z, graph)), rel=0.03)  # 1 / sqrt(1000) of the loss's spread


def test_an_infonce_batch_without_a_pair_says_nothing() -> None:
    A, Z = lonely_infonce(2)
    z, k = torch.tensor(Z[[3, 3]], requires_grad=True), np.array([3, 3])
    loss = sum(ss.SimCLR().batch_terms(z, z, k, k, ss.Graph.from_adjacency(A)).values())
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert float(z.grad.abs().max()) == 0.0


def test_infonce_refuses_a_relation_of_self_pairs() -> None:
    graph = ss.Graph.from_adjacency(np.eye(3))
    with pytest.raises(ss.DataError, match="with itself"):
        ss.SimCLR().draw_pairs(graph, 4, np.random.default_rng(0))


# --- the sampler ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolated", [True, False])
def test_pairs_are_drawn_in_proportion_to_their_weight(isolated: bool) -> None:
    A = lonely(loops=True)
    graph = ss.Graph.from_adjacency(A)
    method = ss.VICReg() if isolated else ss.SpectralContrastive()
    i, j = method.draw_pairs(graph, SEEN, np.random.default_rng(0))
    share = np.zeros((5, 5))
    np.add.at(share, (i, j), 1 / SEEN)
    wanted = np.zeros((5, 5))
    for a, b, p in outcomes(A, isolated):
        wanted[a, b] = p
    assert np.abs(share - wanted).max() < 0.01
    assert np.all((share > 0) <= (wanted > 0))


def test_a_method_without_an_estimate_says_so() -> None:
    class Other(ss.Method):
        pencil = whitens = "laplacian"
        centred = None
        loss_terms = optimum = collapse_loss = lambda *_: None

    Z = torch.zeros(2, 2)
    with pytest.raises(ss.DataError, match="batch_size=None"):
        Other().batch_terms(Z, Z, np.zeros(2), np.zeros(2), ss.Graph.from_adjacency(path()))
