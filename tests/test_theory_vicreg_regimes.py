"""VICReg away from alpha = beta, a test per statement: V5 (squared, beta < alpha), V6, V7 (hinge), V8 (constrained).

The witnesses: losses written from their definitions (naive.py), which scipy's L-BFGS minimises from random starts;
formulas of the theory evaluated by scipy alone; covariances M (K, K) drawn at random, whose loss is algebra.

A hinge loss is minimised over Z with its columns cut to variance 1 where they are longer: whatever Z is, that is the
naive loss of an embedding, so a witness can stay above the minimum and never passes below it; without the cut L-BFGS
stalls on the kink some 1e-3 above.

m_k = n lam_k / N, lam_k the eigenvalues of L off the constant, ascending; e_k = 2 gamma m_k; c (K,) the spectrum and d
(K,) the diagonal of Cov(Z); alpha, beta, gamma are variance, covariance and invariance.
"""

import functools
import math

import hypothesis
import hypothesis.strategies as st
import naive
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from measure import agree, same_span

import spectral_ssl as ss
from spectral_ssl.methods import _diagonal
from spectral_ssl.methods.base import diagonal_rotation, embedding_moments

EXACT = 1e-10  # dense float64 algebra on both sides
TRAINED = 1e-8  # loss, as a share of alpha K: L-BFGS stops at |grad| of about 1e-7, the excess is its square
BELOW = 1e-10  # share of alpha K by which rounding may put a witness below a minimum
ANGLE = 1e-4  # sine: |grad| over gaps of a few per cent
DIFFERENT = 1e-3  # what a counterexample must exceed, as a share of alpha K: far above every tolerance
PROVEN = 1e-9  # share of alpha K to which branch and bound closes

# --- witnesses --------------------------------------------------------------------------------------------------------


def irregular(N, seed, density=0.5):
    """A random weighted graph in which every sample has a pair."""
    rng = np.random.default_rng(seed)
    A = np.triu(rng.uniform(0.1, 2.0, (N, N)) * (rng.random((N, N)) < density), 1)
    A = A + A.T
    assert A.sum(axis=1).min() > 0
    return A


def ring(N):
    return np.roll(np.eye(N), 1, axis=0) + np.roll(np.eye(N), -1, axis=0)


def blocks(*matrices):
    return scipy.linalg.block_diag(*matrices)


GRAPHS = {
    "irregular": irregular(9, 0),
    "ring": ring(9),  # eigenvalues in pairs
    "three parts": blocks(irregular(4, 3, 0.9), ring(3), ring(3)),  # m_1 = m_2 = 0
}
any_graph = pytest.mark.parametrize("A", GRAPHS.values(), ids=GRAPHS.keys())


def graph_of(A):
    return ss.Graph.from_adjacency(A)


def off_constant(A):
    """lam (N-1,) ascending and U (N, N-1): L off the constant, by dense algebra."""
    N = len(A)
    Q = scipy.linalg.null_space(np.ones((1, N)))
    lam, V = scipy.linalg.eigh(Q.T @ (np.diag(A.sum(axis=1)) - A) @ Q)
    return np.maximum(lam, 0), Q @ V


def loss_of(Z, A, method):
    """The naive loss of numpy Z under a method's weights."""
    options = {"alpha": method.variance, "beta": method.covariance, "gamma": method.invariance}
    options |= {"hinge": method.form == "hinge", "degree": method.weighting == "degree", "ddof": method.ddof}
    return naive.value(naive.vicreg, np.ascontiguousarray(Z), A, **options)


def cut(Z):
    """Columns of variance above 1 cut to 1."""
    return Z / Z.std(dim=0, correction=0).clamp_min(1.0)


def witness(A, K, method, *, X=None, starts=3, seed=0):
    """The lowest naive loss that scipy reaches over Z (N, K), or over XW (X orthonormalised), and the Z there."""
    A_, X_ = torch.as_tensor(A), None
    if X is not None:
        X = math.sqrt(len(A)) * scipy.linalg.orth(X - X.mean(axis=0), rcond=1e-10)
        X_ = torch.as_tensor(X)
    options = {"alpha": method.variance, "beta": method.covariance, "gamma": method.invariance, "ddof": method.ddof}
    options |= {"hinge": method.form == "hinge", "degree": method.weighting == "degree"}

    def embed(B):
        Z = B if X_ is None else X_ @ B
        return cut(Z) if method.form == "hinge" else Z

    shape = (len(A) if X is None else X.shape[1], K)
    runs = [
        naive.minimise(lambda B: naive.vicreg(embed(B), A_, **options), shape, seed=seed, starts=starts, scale=scale)
        for scale in ((1.0, 0.1) if method.form == "hinge" else (1.0,))  # long columns start in spurious minima
    ]
    reached, B = min(runs, key=lambda run: run[0])
    return reached, embed(torch.as_tensor(B)).numpy()


def covariance(Z, ddof=0):
    return np.atleast_2d(np.cov(Z.T, ddof=ddof))


def spectrum_of(M):
    return np.sort(np.linalg.eigvalsh(M))[::-1]


def assert_minimum(record_property, best, A, *, X=None, starts=3):
    """The claimed minimum is the loss of the embedding given, and what scipy finds and never passes."""
    method, K = best.method, best.embedding.n_components
    size = method.variance * K
    agree(record_property, loss_of(best.embedding.Z, A, method), best.loss, EXACT, scale=size)
    reached, Z = witness(A, K, method, X=X, starts=starts)
    assert reached > best.loss - BELOW * size
    agree(record_property, reached, best.loss, TRAINED, scale=size)
    assert best.lower_bound <= best.loss
    return Z


def hinge_energy(M, e, alpha, beta):
    """The least hinge loss of an embedding with covariance M (K, K), by von Neumann: e (r,), infinite past r."""
    c, d = spectrum_of(M), np.diag(M)
    if c[len(e) :].max(initial=0.0) > 1e-12 * c[0]:
        return np.inf
    spread = np.maximum(0.0, 1 - np.sqrt(d)).sum()
    return alpha * spread + beta * ((M**2).sum() - (d**2).sum()) + (c[: len(e)] * e).sum()


# --- the rotation -----------------------------------------------------------------------------------------------------


@hypothesis.given(
    c=st.lists(st.floats(0, 100), min_size=1, max_size=9),
    seed=st.integers(0, 2**16),
    even=st.booleans(),
    some=st.integers(0, 9),
)
def test_diagonal_rotation_turns_the_spectrum_to_any_diagonal_it_majorises(c, seed, even, some):
    c, rng = np.array(c), np.random.default_rng(seed)
    K = len(c)
    turn = np.linalg.qr(rng.standard_normal((K, K)))[0]
    turn[:, : min(some, K)] = np.eye(K)[:, : min(some, K)]  # no rotation then, and its diagonal still a mixture
    mixing = turn**2 if not some else np.eye(K)[rng.permutation(K)] / 2 + 1 / (2 * K)  # doubly stochastic
    d = np.full(K, c.mean()) if even else mixing @ c
    Q = diagonal_rotation(c, d)
    np.testing.assert_allclose(Q.T @ Q, np.eye(K), atol=1e-13)
    np.testing.assert_allclose(np.diag(Q.T @ np.diag(c) @ Q), d, atol=1e-12 * max(1.0, c.max()))


def test_diagonal_rotation_refuses_what_schur_and_horn_forbid():
    for c, d in (([2.0, 1.0], [2.5, 0.5]), ([2.0, 1.0], [1.0, 1.0]), ([2.0, 1.0], [2.0, 2.0])):
        with pytest.raises(ss.DataError, match="majorised"):
            diagonal_rotation(np.array(c), np.array(d))


# --- 3.3: squared variance, beta < alpha ------------------------------------------------------------------------------


def water_filling(m, K, alpha, beta, gamma):
    """The sheet's c_k = max(0, theta - gamma m_k)/beta, trying every active set, and its value."""
    for p in range(len(m), 0, -1):
        theta = (alpha + (alpha - beta) * gamma * m[:p].sum() / (K * beta)) / (1 + (alpha - beta) * p / (K * beta))
        c = np.maximum(0, theta - gamma * m) / beta
        if np.count_nonzero(c) == p:
            S = c.sum()
            value = (alpha - beta) * S**2 / K - 2 * alpha * S + alpha * K + beta * (c**2).sum()
            return np.append(c, np.zeros(K - len(m))), value + 2 * gamma * (m * c).sum()
    return np.zeros(K), alpha * K


@pytest.mark.parametrize("ratio", [0.9, 0.5, 0.1, 1e-3])
@any_graph
def test_V5_water_filling_with_equal_variances_is_the_minimum(A, ratio, record_property):
    """0 < beta < alpha, all Z: c_k = max(0, theta - gamma m_k)/beta, and every variance is S/K."""
    K, alpha, ddof = 3, 1.7, 1 if ratio == 0.5 else 0
    N = len(A)
    lam = off_constant(A)[0]
    m = lam[:K] * (N - ddof) / N
    gamma = 0.4 * alpha / m[K - 1]
    c, value = water_filling(m, K, alpha, ratio * alpha, gamma)
    best = ss.optimum(ss.VICReg(alpha, ratio * alpha, gamma, ddof=ddof), graph_of(A), K)
    assert (best.kind, best.unique_up_to, best.rank) == ("exact", "rotation", np.count_nonzero(c))
    assert "variances" in best.note
    agree(record_property, best.loss, value, EXACT, scale=alpha * K)
    cov = covariance(best.embedding.Z, ddof)
    agree(record_property, spectrum_of(cov), np.sort(c)[::-1], EXACT, scale=1.0)
    agree(record_property, np.diag(cov), np.full(K, c.sum() / K), EXACT, scale=1.0)
    Z = assert_minimum(record_property, best, A)
    if lam[K] - lam[K - 1] > 0.02 * lam[-1] and best.rank == K:
        same_span(record_property, Z - Z.mean(axis=0), best.embedding.Z, ANGLE)
        agree(record_property, spectrum_of(covariance(Z, ddof)), c, ANGLE, scale=1.0)


def test_V5_only_rotations_that_keep_the_variances_equal_keep_the_loss(record_property):
    """beta < alpha: another rotation of the optimum costs (alpha - beta) times the spread of the variances, squared."""
    A, K = GRAPHS["irregular"], 3
    best = ss.optimum(ss.VICReg(1.0, 0.3, 0.5), graph_of(A), K)
    rng = np.random.default_rng(0)
    turned = best.embedding.Z @ np.linalg.qr(rng.standard_normal((K, K)))[0]
    d = np.diag(covariance(turned))
    more = 0.7 * ((d - d.mean()) ** 2).sum()
    assert more > DIFFERENT * K
    agree(record_property, loss_of(turned, A, best.method) - best.loss, more, EXACT, scale=K)


def test_V5_the_optimum_depends_on_beta_and_not_only_on_gamma_over_alpha(record_property):
    """At the same gamma/alpha a smaller beta concentrates the spectrum: c_1/c_2 grows, the loss falls."""
    A, K, gamma = GRAPHS["irregular"], 2, 0.8
    m = off_constant(A)[0][:K]
    ratios, losses = [], []
    for beta in (1.0, 0.6, 0.3):
        best = ss.optimum(ss.VICReg(1.0, beta, gamma), graph_of(A), K)
        c, value = water_filling(m, K, 1.0, beta, gamma)
        agree(record_property, best.loss, value, EXACT, scale=K)
        agree(record_property, spectrum_of(covariance(best.embedding.Z)), c, EXACT, scale=1.0)
        ratios.append(c[0] / c[1])
        losses.append(best.loss)
    assert np.all(np.diff(ratios) > 0.1)
    assert np.all(np.diff(losses) < -DIFFERENT * K)


@pytest.mark.parametrize("beta", [0.3, 0.0])
def test_V5_columns_past_the_rank_share_the_variance(beta, record_property):
    """Linear maps of rank 2, K = 4: theta with K = 4 and two active directions; no column is zero."""
    A, rng = GRAPHS["irregular"], np.random.default_rng(1)
    X = rng.standard_normal((9, 2)) @ rng.standard_normal((2, 5)) + 1.0
    B = np.linalg.svd(X - X.mean(axis=0))[0][:, :2]
    m = scipy.linalg.eigvalsh(B.T @ (np.diag(A.sum(axis=1)) - A) @ B)
    method = ss.VICReg(1.0, beta, 0.4 / m[0])
    with pytest.warns(ss.SpectralWarning, match="rank 2"):
        best = ss.optimum(method, graph_of(A), 4, X=X)
    # beta = 0: all on the first direction, S = K (1 - gamma m_1 / alpha)
    c, value = water_filling(m, 4, 1.0, beta, method.invariance) if beta else (np.array([2.4, 0, 0, 0]), 4 * (1 - 0.36))
    agree(record_property, best.loss, value, EXACT, scale=4.0)
    agree(record_property, np.diag(covariance(best.embedding.Z)), np.full(4, c.sum() / 4), EXACT, scale=1.0)
    assert_minimum(record_property, best, A, X=X)


@pytest.mark.parametrize("weighting", ["none", "degree"])
def test_V5_linear_maps_and_degree_weights(weighting, record_property):
    """The same over Z = XW, m_k from the pencil (X'LX, X'HX) or, weighted by degree, (X'LX, X'Hd'DHdX)."""
    A, K = irregular(12, 5), 3
    X = np.random.default_rng(2).standard_normal((12, 5))
    deg = A.sum(axis=1)
    L, p = np.diag(deg) - A, np.ones(12) / 12 if weighting == "none" else deg / deg.sum()
    Xc = X - p @ X
    m = scipy.linalg.eigh(Xc.T @ L @ Xc / (12 if weighting == "none" else deg.sum()), Xc.T @ (p[:, None] * Xc))[0]
    method = ss.VICReg(2.0, 0.5, 1.0 / m[K - 1], weighting=weighting)
    best = ss.optimum(method, graph_of(A), K, X=X)
    c, value = water_filling(m[:K], K, 2.0, 0.5, method.invariance)
    assert c[K - 1] > 0.01
    agree(record_property, best.loss, value, EXACT, scale=2.0 * K)
    assert_minimum(record_property, best, A, X=X)
    Z = witness(A, K, method, X=X)[1]
    same_span(record_property, best.embedding.Z, Z - p @ Z, ANGLE)


def test_V5_without_covariance_all_columns_copy_the_first_direction(record_property):
    """beta = 0: S = K (1 - gamma m_1/alpha) on the first eigenvector, the limit of beta -> 0."""
    A, K, alpha = GRAPHS["irregular"], 3, 1.3
    lam, U = off_constant(A)
    g = 0.3
    value = alpha * K * (1 - (1 - g) ** 2)
    best = ss.optimum(ss.VICReg(alpha, 0.0, g * alpha / lam[0]), graph_of(A), K)
    assert (best.rank, best.kind, best.unique_up_to) == (1, "exact", "rotation")
    agree(record_property, best.loss, value, EXACT, scale=alpha * K)
    same_span(record_property, best.embedding.Z, U[:, :1], EXACT)
    agree(record_property, np.abs(np.corrcoef(best.embedding.Z.T)), np.ones((K, K)), EXACT)
    assert_minimum(record_property, best, A)
    near = [ss.optimum(ss.VICReg(alpha, beta, g * alpha / lam[0]), graph_of(A), K).loss for beta in (1e-6, 1e-15)]
    agree(record_property, near, value, 1e-5, scale=alpha * K)


def test_V5_without_covariance_a_multiple_eigenvalue_leaves_the_proportions_free(record_property):
    """beta = 0 on a ring, lam_1 = lam_2: any split of the variance over the two is optimal."""
    A, K = GRAPHS["ring"], 3
    best = ss.optimum(ss.VICReg(1.0, 0.0, 0.2), graph_of(A), K)
    assert (best.unique_up_to, best.rank) == ("none", 2)
    assert "proportion" in best.note
    assert_minimum(record_property, best, A)
    U = off_constant(A)[1][:, :1]
    single = np.sqrt(9 * (1 - 0.2 * off_constant(A)[0][0])) * U @ np.ones((1, K))
    agree(record_property, loss_of(single, A, best.method), best.loss, EXACT, scale=K)


def test_V5_collapse_and_no_invariance(record_property):
    """gamma m_1 >= alpha: the zero embedding, loss alpha K; gamma = 0: loss 0 on any K directions."""
    A, K = GRAPHS["irregular"], 3
    lam = off_constant(A)[0]
    for beta in (0.0, 0.4):
        dead = ss.optimum(ss.VICReg(1.0, beta, 1.001 / lam[0]), graph_of(A), K)
        alive = ss.optimum(ss.VICReg(1.0, beta, 0.999 / lam[0]), graph_of(A), K)
        assert (dead.rank, alive.rank) == (0, 1)
        assert np.all(dead.embedding.Z == 0)
        agree(record_property, [dead.loss, loss_of(dead.embedding.Z, A, dead.method)], K, EXACT)
        free = ss.optimum(ss.VICReg(1.0, beta, 0.0), graph_of(A), K)
        assert free.unique_up_to == "none"
        agree(record_property, loss_of(free.embedding.Z, A, free.method), 0.0, EXACT, scale=K)
    everything = ss.optimum(ss.VICReg(1.0, 0.4, 0.0), graph_of(A), 8)  # K = N - 1: the directions are all there are
    assert (everything.unique_up_to, everything.rank) == ("rotation", 8)


# --- 3.4: the hinge, equal variances ----------------------------------------------------------------------------------


def pinned(m, K, beta, gamma):
    """V6: spectrum and value where every variance is 1."""
    c = 1 - gamma * (m - m.mean()) / beta
    return c, 2 * gamma * m.sum() - gamma**2 / beta * ((m - m.mean()) ** 2).sum()


@pytest.mark.parametrize("ratio", [25.0, 12.5, 8.0])
@pytest.mark.parametrize("name", ["irregular", "ring"])
def test_V6_weak_invariance_pins_every_variance_at_one(name, ratio, record_property):
    """gamma mean m <= alpha/4: c = 1 - gamma (m - mean m)/beta, 2 gamma sum m - gamma^2/beta sum (m - mean m)^2."""
    A, K, alpha, ddof = GRAPHS[name], 3, 2.5, 1 if ratio == 12.5 else 0
    N, beta = len(A), alpha / ratio
    m = off_constant(A)[0][:K] * (N - ddof) / N
    gamma = min(0.24 * alpha / m.mean(), 0.9 * beta / (m[-1] - m.mean()))
    c, value = pinned(m, K, beta, gamma)
    best = ss.optimum(ss.VICReg(alpha, beta, gamma, form="hinge", ddof=ddof), graph_of(A), K)
    assert (best.kind, best.unique_up_to, best.rank) == ("exact", "rotation", K)
    assert best.lower_bound == best.loss
    agree(record_property, best.loss, value, EXACT, scale=alpha * K)
    cov = covariance(best.embedding.Z, ddof)
    agree(record_property, spectrum_of(cov), c, EXACT, scale=1.0)
    agree(record_property, np.diag(cov), np.ones(K), EXACT)
    assert np.abs(cov - np.eye(K)).max() > 0.05, "Cov is not the identity"
    if ddof == 0:
        Z = assert_minimum(record_property, best, A)
        if name == "irregular":
            same_span(record_property, Z - Z.mean(axis=0), best.embedding.Z, ANGLE)
    else:
        agree(record_property, loss_of(best.embedding.Z, A, best.method), value, EXACT, scale=alpha * K)


def test_V6b_refuted_the_hinge_optimum_is_not_laplacian_eigenmaps(record_property):
    """The hinge optimum is below Laplacian Eigenmaps by gamma^2/beta sum (m - mean m)^2."""
    A, K, alpha = GRAPHS["irregular"], 3, 2.5
    m, U = (a[..., :K] for a in off_constant(A))
    beta = alpha / 12.5
    gamma = min(0.24 * alpha / m.mean(), 0.9 * beta / (m[-1] - m.mean()))
    best = ss.optimum(ss.VICReg(alpha, beta, gamma, form="hinge"), graph_of(A), K)
    eigenmaps = math.sqrt(9) * U
    np.testing.assert_allclose(covariance(eigenmaps), np.eye(K), atol=1e-12)
    above = loss_of(eigenmaps, A, best.method) - best.loss
    assert above > DIFFERENT * alpha * K
    agree(record_property, above, gamma**2 / beta * ((m - m.mean()) ** 2).sum(), EXACT, scale=alpha * K)
    found = f"N = 9, K = 3, alpha/beta = 12.5: loss {best.loss:.4f}, Laplacian Eigenmaps {best.loss + above:.4f}"
    record_property("counterexample", found)


def test_V6c_large_beta_gives_laplacian_eigenmaps(record_property):
    """beta -> infinity: beta (2 gamma sum m - min) -> gamma^2 sum (m - mean m)^2, and Cov -> I."""
    A, K, alpha = GRAPHS["irregular"], 2, 1.0
    m, U = (a[..., :K] for a in off_constant(A))
    gamma = 0.1 * alpha / m[-1]
    limit = gamma**2 * ((m - m.mean()) ** 2).sum()
    for beta, close in ((1.0, 1e-6), (10.0, 1e-6), (100.0, 1e-6), (1e4, 1e-4)):
        best = ss.optimum(ss.VICReg(alpha, beta, gamma, form="hinge"), graph_of(A), K)
        agree(record_property, beta * (2 * gamma * m.sum() - best.loss), limit, close)
        cov = covariance(best.embedding.Z)
        assert np.abs(cov - np.eye(K)).max() < 1.01 * gamma * (m[-1] - m[0]) / beta
        same_span(record_property, best.embedding.Z, U, EXACT)


@pytest.mark.parametrize("strength", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_V6d_at_the_published_ratio_equal_variances_are_never_beaten(seed, strength, record_property):
    """alpha/beta = 12.5, weak to strong invariance: no start ends below the equal-variance optimum."""
    A, K = irregular(8, 10 + seed, 0.6), 3
    gamma = strength / off_constant(A)[0][:K].mean()
    best = ss.optimum(ss.VICReg(1.0, 0.08, gamma, form="hinge"), graph_of(A), K)
    d = np.var(best.embedding.Z, axis=0)
    assert np.ptp(d) < EXACT
    assert_minimum(record_property, best, A, starts=6)


@pytest.mark.parametrize("K", [4, 9])
def test_V6d_correction_eight_beta_suffices_alone(K, record_property):
    """alpha >= 8 beta needs no further condition: on d <= 1 the hinge less beta d^2 is convex, d > 1 never helps."""
    rng = np.random.default_rng(K)
    alpha, beta = 1.0, 1 / 8
    d = np.linspace(1e-3, 1, 2001)
    assert np.all(np.diff(alpha * (1 - np.sqrt(d)) - beta * d**2, 2) > 0)
    lowest = np.inf
    for _ in range(20):
        e = np.sort(rng.exponential(size=K)) ** 2
        even = _diagonal.hinge(e, K, alpha, beta)
        assert even.lower_bound is None
        M = diagonal_rotation(even.c, even.d)
        value = hinge_energy(M.T @ np.diag(even.c) @ M, e, alpha, beta)
        for _ in range(200):  # nearby, far, and with columns longer than 1
            R = M.T @ np.diag(np.sqrt(even.c)) @ M + rng.choice([0.01, 0.1, 1.0]) * rng.standard_normal((K, K))
            lowest = min(lowest, hinge_energy(R @ R.T, e, alpha, beta) - value)
        # its dual bound says the same: found without Jensen
        bound = _diagonal._bound(np.zeros((1, K)), np.ones((1, K)), e, beta).bound[0]
        agree(record_property, bound, value, PROVEN, scale=alpha * K)
    assert lowest > 0


def equation(m, K, alpha, beta, gamma):
    """V7: s and c from alpha/(2 sqrt s) + 2 beta s = y, sum max(0, y - e_k) = 2 beta K s, by two root searches."""
    e = 2 * gamma * m

    def level(s):
        top = e[0] + 2 * beta * K * s
        return scipy.optimize.brentq(
            lambda y: np.maximum(0, y - e).sum() - 2 * beta * K * s, e[0], top + 1e-12, xtol=1e-15
        )

    s = scipy.optimize.brentq(lambda s: alpha / (2 * math.sqrt(s)) + 2 * beta * s - level(s), 1e-12, 1, xtol=1e-15)
    return s, np.maximum(0, level(s) - e) / (2 * beta)


@pytest.mark.parametrize("ratio", [20.0, 8.0])
def test_V7_strong_invariance_leaves_variances_below_one(ratio, record_property):
    """gamma mean(m) > alpha/4: S < K from one equation; with all K active sqrt(S/K) = alpha/(4 gamma mean m)."""
    A, K, alpha = irregular(9, 4, 0.9), 3, 1.5
    beta, m = alpha / ratio, off_constant(A)[0][:K]
    for strength in (0.4, 1.5):
        gamma = strength * alpha / m.mean()
        s, c = equation(m, K, alpha, beta, gamma)
        assert s < 0.9
        best = ss.optimum(ss.VICReg(alpha, beta, gamma, form="hinge"), graph_of(A), K)
        assert best.kind == "exact"
        cov = covariance(best.embedding.Z)
        agree(record_property, np.diag(cov), np.full(K, s), 1e-8)
        agree(record_property, spectrum_of(cov), c, 1e-8, scale=1.0)
        assert_minimum(record_property, best, A)
    # all active: a graph whose first eigenvalues agree
    A = np.ones((6, 6)) - np.eye(6)
    best = ss.optimum(ss.VICReg(alpha, beta, 0.1, form="hinge"), graph_of(A), K)
    s = (alpha / (4 * 0.1 * 6)) ** 2
    agree(record_property, np.var(best.embedding.Z, axis=0), np.full(K, s), EXACT)
    agree(record_property, best.loss, alpha * K * (1 - math.sqrt(s)) + 2 * 0.1 * 6 * K * s, EXACT)
    assert_minimum(record_property, best, A)


@pytest.mark.parametrize(("ratio", "K", "strength"), [(8.0, 4, 0.5), (12.5, 3, 0.5), (20.0, 3, 2.0)])
def test_V7b_spread_spectrum_collapses_dimensions(ratio, K, strength, record_property):
    """Strong invariance and a spread spectrum: some c_k = 0, the rank is below K, and no column is zero."""
    A, alpha = GRAPHS["irregular"], 1.0
    gamma = strength * alpha / off_constant(A)[0][:K].mean()
    best = ss.optimum(ss.VICReg(alpha, alpha / ratio, gamma, form="hinge"), graph_of(A), K)
    c, d = spectrum_of(covariance(best.embedding.Z)), np.var(best.embedding.Z, axis=0)
    assert best.rank == np.count_nonzero(c > 1e-9) < K
    assert f"rank {best.rank} of {K}" in best.note
    assert d.min() > 0.05
    agree(record_property, d, np.full(K, d.mean()), EXACT)
    assert_minimum(record_property, best, A, starts=8)


def test_V7b_descent_can_miss_the_minimum_of_a_collapsing_hinge(record_property):
    """Strong invariance under the hinge: random starts stop above the minimum, which the squared form never does."""
    A, K = GRAPHS["irregular"], 4
    best = ss.optimum(ss.VICReg(1.0, 0.04, 0.65, form="hinge"), graph_of(A), K)
    agree(record_property, loss_of(best.embedding.Z, A, best.method), best.loss, EXACT, scale=K)
    reached = np.array([witness(A, K, best.method, starts=1, seed=seed)[0] for seed in range(6)])
    assert np.all(reached > best.loss - BELOW * K)
    assert np.median(reached) > best.loss + 1e-4 * K
    near = torch.tensor(best.embedding.Z + 1e-3 * np.random.default_rng(0).standard_normal(best.embedding.Z.shape))
    options = {"alpha": 1.0, "beta": 0.04, "gamma": 0.65, "hinge": True}
    found = naive.minimise(lambda B: naive.vicreg(cut(B), torch.as_tensor(A), **options), (9, K), B0=near.numpy())[0]
    agree(record_property, found, best.loss, TRAINED, scale=K)


# --- 3.4: the hinge, unlike variances ---------------------------------------------------------------------------------


def even_value(m, K, alpha, beta, gamma):
    """The least loss with equal variances, by a grid over S and the water level of each: the branch of the sheet."""
    e = 2 * gamma * m

    def value(S):
        y = scipy.optimize.brentq(
            lambda y: np.maximum(0, y - e).sum() - 2 * beta * S, e[0], e[0] + 2 * beta * S + 1e-12
        )
        c = np.maximum(0, y - e) / (2 * beta)
        return K * alpha * max(0, 1 - math.sqrt(S / K)) - beta * S**2 / K + beta * (c**2).sum() + (e * c).sum()

    return min(value(S) for S in np.linspace(1e-3 * K, K, 400))


def test_V7c_refuted_equal_variances_are_not_always_best(record_property):
    """At alpha = beta leaving a column empty beats equal variances, and giving it a little beats leaving it empty."""
    A, K, gamma = GRAPHS["three parts"], 3, 0.3
    m = off_constant(A)[0][:K]
    best = ss.optimum(ss.VICReg(1.0, 1.0, gamma, form="hinge"), graph_of(A), K)
    even = even_value(m, K, 1.0, 1.0, gamma)
    dropped = min(even_value(m[:p], p, 1.0, 1.0, gamma) + (K - p) for p in range(1, K))
    assert dropped < even - DIFFERENT * K
    assert best.loss < dropped - DIFFERENT * K
    d = np.sort(np.var(best.embedding.Z, axis=0))
    assert d[0] > 1e-3, "the hinge falls steeply from zero: no column of an optimum is empty"
    assert_minimum(record_property, best, A, starts=8)
    assert best.kind == "exact"
    found = f"K = 3: equal {even:.4f}, a dimension dropped {dropped:.4f}, minimum {best.loss:.4f} at variances"
    record_property("counterexample", f"{found} {d[0]:.3f}, {d[1]:.3f}, {d[2]:.3f}")


@pytest.mark.parametrize(("ratio", "gamma"), [(6.0, 0.6), (4.0, 0.5), (3.0, 0.8)])
def test_V7c_refuted_equal_variances_lose_as_soon_as_alpha_is_below_eight_beta(ratio, gamma, record_property):
    """alpha/beta = 6, 4, 3: the equal-variance optimum is beaten by unlike variances, by a little at 6."""
    A, K = GRAPHS["irregular"], 3
    best = ss.optimum(ss.VICReg(1.0, 1 / ratio, gamma, form="hinge"), graph_of(A), K)
    d = np.sort(np.var(best.embedding.Z, axis=0))
    even = even_value(off_constant(A)[0][:K], K, 1.0, 1 / ratio, gamma)
    assert best.kind == "exact"
    assert best.loss < even - 1e-4 * K
    assert_minimum(record_property, best, A, starts=8)
    found = f"K = 3, alpha/beta = {ratio:g}: equal {even:.5f}, minimum {best.loss:.5f} at variances"
    record_property("counterexample", f"{found} {d[0]:.3f}, {d[1]:.3f}, {d[2]:.3f}")


@pytest.mark.parametrize("ratio", [5.0, 2.0, 1.0, 0.3, 0.05])
@pytest.mark.parametrize("strength", [0.1, 0.6, 2.0])
def test_V7_below_eight_beta_branch_and_bound_finds_the_minimum(strength, ratio, record_property):
    """alpha < 8 beta: the K x K problem is solved to 1e-9 alpha K, and scipy over Z finds nothing lower."""
    A, K = irregular(8, 7, 0.7), 3
    gamma = strength / off_constant(A)[0][:K].mean()
    best = ss.optimum(ss.VICReg(1.0, 1 / ratio, gamma, form="hinge"), graph_of(A), K)
    assert best.kind == "exact"
    assert_minimum(record_property, best, A, starts=2 if strength < 0.5 else 8)


@functools.cache
def hinge_cases():
    """Problems (e, K, alpha, beta) of all regimes: spread, ties, zeros, short rank, weak and strong."""
    rng = np.random.default_rng(0)
    cases = []
    for n in range(40):
        K = int(rng.integers(2, 6))
        r = K if n % 3 else int(rng.integers(1, K + 1))
        e = np.sort(rng.exponential(size=r) ** rng.choice([0.2, 1, 2])) * 10 ** rng.uniform(-1.5, 0.7)
        if n % 4 == 1:
            e[: (r + 1) // 2] = 0
        if n % 4 == 2:
            e[:] = e[0]
        cases.append((e, K, float(10 ** rng.uniform(-1, 1)), 10 ** rng.uniform(-1.5, 1.5)))
    return [(e, K, alpha, alpha * ratio) for e, K, alpha, ratio in cases]


def test_V7_no_covariance_passes_below_the_bound(record_property):
    """lower_bound <= loss of every covariance M psd tried: random, with long columns, and near the optimum."""
    rng, closest = np.random.default_rng(1), np.inf
    for e, K, alpha, beta in hinge_cases():
        c, d, bound = _diagonal.hinge(e, K, alpha, beta)
        Q = diagonal_rotation(c, d)
        M = (Q.T * c) @ Q
        value = hinge_energy(M, e, alpha, beta)
        bound = value if bound is None else bound
        assert bound <= value
        agree(record_property, bound, value, PROVEN, scale=alpha * K)
        basis = Q.T[:, : len(e)]  # of a covariance of rank r
        root = basis * np.sqrt(c[: len(e)])
        for n in range(150):
            R = [rng.standard_normal((K, len(e))), root + 10 ** rng.uniform(-4, 0) * rng.standard_normal(root.shape)][
                n % 2
            ]
            R = R / np.sqrt((R**2).sum(axis=1, keepdims=True)) if n % 5 == 0 else R  # unit variances
            closest = min(closest, (hinge_energy(R @ R.T, e, alpha, beta) - bound) / (alpha * K))
    assert closest > -BELOW


def test_V7_branch_and_bound_needs_no_good_start(monkeypatch, record_property):
    """With no candidate to start from, the boxes alone lead to the same minimum: none that holds it is discarded."""
    cases = [case for case in hinge_cases() if case[1] <= 4 and case[2] < 8 * case[3]]
    assert len(cases) > 15

    def values():
        for e, K, alpha, beta in cases:
            c, d, _ = _diagonal.hinge(e, K, alpha, beta)
            Q = diagonal_rotation(c, d)
            yield hinge_energy((Q.T * c) @ Q, e, alpha, beta) / (alpha * K)

    usual = list(values())
    monkeypatch.setattr(_diagonal, "even_hinge", lambda e, K, alpha, beta: _diagonal.Shares(np.zeros(K), np.zeros(K)))
    monkeypatch.setattr(_diagonal, "_candidates", lambda e: np.full((1, e.size), 0.01))
    monkeypatch.setattr(_diagonal, "_polish", lambda row, e, beta: (_diagonal._at(row[None], e, beta)[0][0], row))
    agree(record_property, list(values()), usual, 1e-5, scale=1.0)  # boxes shrink: nothing is polished


def test_V7_a_certified_optimum_is_as_low_as_scipy_finds(record_property):
    """K = 8, beta = 6 alpha: not closed within the effort, yet no start of scipy over covariances ends lower."""
    K, beta = 8, 6.0
    e = np.sort(np.random.default_rng(7).uniform(0, 1, K))
    c, d, bound = _diagonal.hinge(e, K, 1.0, beta)
    Q = diagonal_rotation(c, d)
    value = hinge_energy((Q.T * c) @ Q, e, 1.0, beta)
    assert bound is not None
    assert value - 0.002 * K < bound < value
    costs = torch.tensor(e)

    def loss(R):
        R = R / R.norm(dim=1, keepdim=True).clamp_min(1.0)  # Cov = RR', variances cut to 1
        M = R @ R.T
        d = M.diagonal()
        energy = (torch.linalg.eigvalsh(M).flip(0) * costs).sum()
        return (1 - torch.sqrt(d)).clamp_min(0).sum() + beta * ((M**2).sum() - (d**2).sum()) + energy

    reached = min(naive.minimise(loss, (K, K), starts=4, scale=scale)[0] for scale in (0.5, 0.2))
    assert reached > value - BELOW * K
    agree(record_property, reached, value, 1e-4, scale=K)  # scipy's own scatter over local minima


def value_at(d, e, beta):
    """min over c of the hinge problem at a diagonal d, alpha = 1, by scipy's SLSQP over c with d majorised by c."""
    K, r = len(d), len(e)
    prefix = np.tril(np.ones((K, r)))

    def value(c):
        return beta * (c**2).sum() + e @ c

    below = {
        "type": "ineq",
        "fun": lambda c: prefix[: r - 1] @ c - np.cumsum(d)[: r - 1],
        "jac": lambda c: prefix[: r - 1],
    }
    total = {"type": "eq", "fun": lambda c: c.sum() - d.sum(), "jac": lambda c: np.ones((1, r))}
    start = d if r == K else np.full(r, d.sum() / r)
    found = scipy.optimize.minimize(
        value,
        start,
        jac=lambda c: 2 * beta * c + e,
        bounds=[(0, None)] * r,
        constraints=[total, below] if r > 1 else [total],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 300},
    )
    return float((1 - np.sqrt(d)).sum() - beta * (d**2).sum() + found.fun)


def test_V7_the_bound_of_a_box_is_below_every_point_of_it(record_property):
    """Branch and bound: the dual bound on l <= d <= u is below the value at every d inside, and equal where l = u."""
    rng, slack = np.random.default_rng(2), []
    for e, K, alpha, beta in hinge_cases()[::2]:
        costs = np.append(e, np.full(K - len(e), np.inf)) / alpha
        d = -np.sort(-rng.uniform(0, 1, (12, K)))
        width = 10 ** rng.uniform(-3, 0, (12, 1))
        lower, upper = (np.clip(d + sign * width, 0, 1) for sign in (-1, 1))
        boxes = _diagonal._bound(lower, upper, costs, beta / alpha).bound
        for n in range(12):
            inside = -np.sort(-np.clip(rng.uniform(lower[n], upper[n]), 0, 1))
            for point in (d[n], inside):
                value = value_at(point, e / alpha, beta / alpha)
                assert boxes[n] < value + BELOW * K * (1 + beta / alpha)
                slack.append(value - boxes[n])
            at = _diagonal._bound(d[n : n + 1], d[n : n + 1], costs, beta / alpha).bound[0]
            agree(record_property, at, value_at(d[n], e / alpha, beta / alpha), 1e-6, scale=K * (1 + beta / alpha))
    assert min(slack) < 1e-3 < max(slack)


@pytest.mark.parametrize(
    ("alpha", "beta", "gamma"), [(1.0, 0.0, 0.3), (1.0, 0.0, 0.0), (1.0, 0.1, 0.0), (1.0, 1e6, 0.3), (1e-3, 1.0, 5.0)]
)
@pytest.mark.parametrize("r", [2, 3, 4])
def test_V7_extreme_weights_have_sensible_optima(alpha, beta, gamma, r, record_property):
    """beta = 0, gamma = 0, beta -> infinity, K past the rank: finite, below collapse, and no lower value nearby."""
    A, K = GRAPHS["irregular"], 4
    X = np.random.default_rng(3).standard_normal((9, r)) @ np.random.default_rng(4).standard_normal((r, 5))
    method = ss.VICReg(alpha, beta, gamma, form="hinge")
    if r < K:
        with pytest.warns(ss.SpectralWarning, match="rank"):
            best = ss.optimum(method, graph_of(A), K, X=X)
    else:
        best = ss.optimum(method, graph_of(A), K, X=X)
    agree(record_property, loss_of(best.embedding.Z, A, method), best.loss, EXACT, scale=alpha * K)
    assert 0 <= best.lower_bound <= best.loss < alpha * K
    assert best.kind == ("exact" if best.loss - best.lower_bound <= 1.001e-9 * alpha * K else "certified")
    assert ("by branch and bound" in best.note) == (alpha < 8 * beta)
    assert best.kind == "exact" or "lower bound" in best.note
    rng = np.random.default_rng(0)
    W = best.embedding.W
    for _ in range(200):
        Z = X @ (W + 10 ** rng.uniform(-6, 0) * np.abs(W).max() * rng.standard_normal(W.shape))
        assert loss_of(Z, A, method) > best.lower_bound - BELOW * alpha * K
    if beta < 10:
        assert_minimum(record_property, best, A, X=X, starts=8)


def test_V7_a_loss_of_zero_leaves_the_lengths_free(record_property):
    """m_K = 0: columns of any variance >= 1 that do not correlate have hinge loss 0."""
    A = GRAPHS["three parts"]
    best = ss.optimum(ss.VICReg(1.0, 0.5, 0.3, form="hinge"), graph_of(A), 2)
    assert best.unique_up_to == "orthogonal+scale"
    for Z in (best.embedding.Z, best.embedding.Z * [3.0, 1.5]):
        agree(record_property, loss_of(Z, A, best.method), 0.0, EXACT, scale=2.0)


@pytest.mark.parametrize("weighting", ["none", "degree"])
def test_V7_shrinking_long_columns_lowers_the_loss_and_is_what_training_descends(weighting, record_property):
    """Columns of variance above 1 cut to 1: the hinge stays 0, covariance and invariance fall."""
    A, rng = GRAPHS["irregular"], np.random.default_rng(0)
    method = ss.VICReg(1.0, 0.7, 0.3, form="hinge", weighting=weighting)
    p = np.full(9, 1 / 9) if weighting == "none" else A.sum(axis=1) / A.sum()
    for _ in range(20):
        Z = rng.standard_normal((9, 3)) * 10 ** rng.uniform(-0.5, 0.5, 3)
        std = np.sqrt(p @ (Z - p @ Z) ** 2)
        short = Z / np.maximum(std, 1)
        m = embedding_moments(torch.tensor(Z), graph_of(A))
        descended = sum(float(v) for v in method.training_terms(m).values())
        agree(record_property, descended, loss_of(short, A, method), EXACT)
        assert descended <= loss_of(Z, A, method) + 1e-12
        numpy_moments = ss.Moments.from_arrays(Z, graph_of(A))
        np.testing.assert_allclose(Z * method.column_scale(numpy_moments), short, rtol=1e-12)


# --- 3.5: the constrained form ----------------------------------------------------------------------------------------


def whitened(B, p):
    """Centred columns with covariance I, from free parameters B (N, K), samples weighing p."""
    root = torch.as_tensor(np.sqrt(p))[:, None]
    Q = torch.linalg.qr(root * (B - torch.as_tensor(p) @ B))[0]
    return Q / root


@pytest.mark.parametrize(("weighting", "ddof"), [("none", 0), ("none", 1), ("degree", 0)])
@any_graph
def test_V8_constrained_form_is_laplacian_eigenmaps_of_value_two_gamma_sum_m(A, weighting, ddof, record_property):
    """min (2 gamma/N) tr Z'LZ at Cov(Z) = I: sqrt(n) U, value 2 gamma sum m, of whitened columns for any Z."""
    N, K, gamma = len(A), 3, 0.7
    deg = A.sum(axis=1)
    L, degree = np.diag(deg) - A, weighting == "degree"
    p, s, n = (deg / deg.sum(), deg.sum(), deg.sum()) if degree else (np.ones(N) / N, N, N - ddof)
    lam, U = scipy.linalg.eigh(L, np.diag(deg) if degree else np.eye(N))
    lam, U = lam[1:], U[:, 1:]  # the constant; in three parts two more zeros follow, of which any basis will do
    value = 2 * gamma * n / s * lam[:K].sum()
    method = ss.VICReg(invariance=gamma, form="constrained", weighting=weighting, ddof=ddof)
    best = ss.optimum(method, graph_of(A), K)
    assert (best.kind, best.unique_up_to, best.rank) == ("exact", "rotation", K)
    agree(record_property, best.loss, value, EXACT, scale=1.0)
    Z = best.embedding.Z - p @ best.embedding.Z
    np.testing.assert_allclose(Z.T @ (p[:, None] * Z) * (1 if degree else N / n), np.eye(K), atol=1e-10)

    def naive_loss(Z):
        return naive.vicreg(Z, torch.as_tensor(A), alpha=0.0, beta=0.0, gamma=gamma, degree=degree)

    agree(record_property, float(naive_loss(torch.as_tensor(best.embedding.Z))), value, EXACT, scale=1.0)
    scale = math.sqrt(n / N) if not degree else 1.0
    reached, B = naive.minimise(lambda B: naive_loss(scale * whitened(B, p)), (N, K), starts=3)
    assert reached > value - BELOW
    agree(record_property, reached, value, TRAINED, scale=1.0)
    if lam[K] - lam[K - 1] > 0.02 * lam[-1]:
        same_span(record_property, best.embedding.Z, (U - p @ U)[:, :K], 1e-7)
    # the loss of any Z is that of its whitened columns, whatever K x K matrix has mixed them
    B = torch.tensor(np.random.default_rng(0).standard_normal((N, K)))
    mixed = B @ torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, -1.0], [1.0, 0.0, 0.1]], dtype=torch.float64)
    expected = float(naive_loss(scale * whitened(B, p)))
    for Y in (B, mixed):
        agree(record_property, float(method.loss(Y, graph_of(A))), expected, EXACT)
        m = embedding_moments(Y, graph_of(A))
        arrays = ss.Moments.from_arrays(Y.numpy(), graph_of(A))
        for moments in (m, arrays):
            agree(record_property, sum(float(v) for v in method.terms(moments).values()), expected, EXACT)


@pytest.mark.parametrize("model", ["free", "linear"])
def test_V8_training_the_whitened_loss_lands_on_laplacian_eigenmaps(model, record_property):
    """Descent on (2 gamma/N) tr(Cov^-1 Z'LZ), without a constraint, reaches 2 gamma sum m from any start."""
    A, K, gamma = GRAPHS["irregular"], 3, 0.4
    X = np.random.default_rng(5).standard_normal((9, 5)) if model == "linear" else None
    L = np.diag(A.sum(axis=1)) - A
    B = np.eye(9) - 1 / 9 if X is None else X - X.mean(axis=0)
    B = np.linalg.svd(B)[0][:, : 8 if X is None else 5]
    mu, V = scipy.linalg.eigh(B.T @ L @ B)
    value = 2 * gamma * mu[:K].sum()
    method = ss.VICReg(invariance=gamma, form="constrained")
    for seed in range(3):
        run = ss.train(method, graph_of(A), K, X=X, seed=seed)
        assert run.converged
        agree(record_property, run.loss, value, TRAINED)
        same_span(record_property, run.embedding.Z, B @ V[:, :K], ANGLE)
        np.testing.assert_allclose(covariance(run.embedding.Z), np.eye(K), atol=1e-9)
    assert ss.optimum(method, graph_of(A), K, X=X).loss == pytest.approx(value, rel=EXACT)


def test_the_constrained_loss_of_a_singular_covariance_is_infinite():
    """Cov = I cannot hold in fewer than K dimensions: the loss is inf, and a K past the rank is refused."""
    A, rng = GRAPHS["irregular"], np.random.default_rng(0)
    method = ss.VICReg(invariance=0.5, form="constrained")
    full = rng.standard_normal((9, 3))
    for Z in (
        np.zeros((9, 3)),
        full[:, [0, 1, 0]],
        full @ np.ones((3, 3)),
        full + 1e9 * np.ones((3, 1)).T * full[:, :1],
    ):
        assert float(method.loss(Z, graph_of(A))) == np.inf
        arrays = ss.Moments.from_arrays(Z, graph_of(A))
        assert sum(method.terms(arrays).values()) == np.inf
    for _ in range(50):  # rounding leaves some of these a tiny positive pivot
        Z = rng.standard_normal((9, 2)) @ rng.standard_normal((2, 3))
        assert float(method.loss(Z, graph_of(A))) == np.inf
    X = full @ rng.standard_normal((3, 5))
    with pytest.raises(ss.DataError, match="n_components=4 exceeds the rank 3"):
        ss.optimum(method, graph_of(A), 4, X=X)
    with pytest.raises(ss.DataError, match="X has rank 3"):
        ss.train(method, graph_of(A), 4, X=X)


def test_V8_the_constrained_form_has_nothing_to_weigh(record_property):
    """variance and covariance are no part of min tr Z'LZ at Cov = I, and are refused in words."""
    for weights in ({"variance": 2.0}, {"covariance": 0.5}):
        with pytest.raises(ss.DataError, match="no variance or covariance term"):
            ss.VICReg(form="constrained", **weights)
    A, K = GRAPHS["irregular"], 3
    lam = off_constant(A)[0]
    best = ss.optimum(ss.VICReg(form="constrained"), graph_of(A), K)  # invariance None: 1 / (2 m_K), as ever
    agree(record_property, best.method.invariance, 1 / (2 * lam[K - 1]), EXACT)
    # random whitened columns cost 2 gamma K times the mean eigenvalue: the zero point of excess
    rng = np.random.default_rng(0)
    drawn = [float(best.method.loss(rng.standard_normal((9, K)), graph_of(A))) for _ in range(400)]
    expected = best.method.collapse_loss(graph_of(A), K)
    agree(record_property, expected, 2 * best.method.invariance * K * lam.mean(), EXACT)
    assert abs(np.mean(drawn) - expected) < 4 * np.std(drawn) / 20  # four standard errors
