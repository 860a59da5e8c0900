"""Canonical correlation analysis: of two views, tied on a relation (B13, B14), regularised, and in kernel features.

The witnesses are scipy's dense generalised eigensolver on the block pencil, scikit-learn's iterative CCA, numpy's
corrcoef, and data whose correlations are known by construction.
"""

import numpy as np
import pytest
import scipy.linalg
import sklearn.cross_decomposition
from hypothesis import given, settings
from hypothesis import strategies as st
from measure import agree, same_span, sine
from sklearn.metrics.pairwise import rbf_kernel

import spectral_ssl as ss
from spectral_ssl.classical import CCA

EXACT = 1e-10  # relative: dense float64 solves on both sides, condition numbers below 1e4
NIPALS = 1e-6  # scikit-learn iterates to a squared change of 1e-14 in the weights; gaps in rho of a few per cent
ROUNDING = 1e-8  # rho of an affine copy whose condition is 1e6: eps times it, with room


def views(N=80, Dx=5, Dy=4, seed=0):
    """Two views of three shared factors, in general position, far from the origin and in unlike units."""
    rng = np.random.default_rng(seed)
    S = rng.standard_normal((N, 3))
    X = S @ rng.standard_normal((3, Dx)) + rng.standard_normal((N, Dx))
    Y = S @ rng.standard_normal((3, Dy)) + rng.standard_normal((N, Dy))
    return X * np.geomspace(1, 30, Dx) + 5.0, Y - 3.0


def block_pencil(X, Y, rx=0.0, ry=0.0):
    """rho descending and weights of [[0, Cxy], [Cyx, 0]] w = rho blockdiag(Cxx + rx I, Cyy + ry I) w, by scipy."""
    N, Dx = X.shape
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    C = X.T @ Y / N
    A = np.block([[np.zeros((Dx, Dx)), C], [C.T, np.zeros((Y.shape[1], Y.shape[1]))]])
    B = scipy.linalg.block_diag(X.T @ X / N + rx * np.eye(Dx), Y.T @ Y / N + ry * np.eye(Y.shape[1]))
    rho, W = scipy.linalg.eigh(A, B)
    return rho[::-1], W[:Dx, ::-1], W[Dx:, ::-1]


def upto_signs(found, expected):
    """The largest difference of entries, columns flipped to agree, relative to the largest entry."""
    flips = np.sign((found * expected).sum(axis=0))
    return float(np.abs(found * flips - expected).max() / np.abs(expected).max())


# --- two views --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 0.5, (2.0, 0.1)])
def test_cca_is_the_block_pencil_of_covariances(ridge):
    X, Y = views()
    before = X.copy(), Y.copy()
    rx, ry = ridge if isinstance(ridge, tuple) else (ridge, ridge)
    found = ss.cca(X, Y, 3, ridge=ridge)
    assert np.array_equal(before[0], X)
    assert np.array_equal(before[1], Y)
    rho, Wx, Wy = block_pencil(X, Y, rx, ry)
    assert isinstance(found, CCA)
    assert found.correlations == pytest.approx(rho[:4], abs=EXACT)
    assert found.ridge == (rx, ry)
    assert (found.rank_x, found.rank_y, found.n_components) == (5, 4, 3)
    assert found.gap == pytest.approx((rho[2] - rho[3]) / rho[0])
    # both views flip together: Wx'Cxy Wy = diag(rho) fixes their relative signs
    both = np.vstack([found.x.W, found.y.W])
    assert upto_signs(both, np.sqrt(2) * np.vstack([Wx, Wy])[:, :3]) < EXACT
    for view, data, r in ((found.x, X, rx), (found.y, Y, ry)):
        C = np.cov(data.T, ddof=0)
        assert view.W.T @ (C + r * np.eye(len(C))) @ view.W == pytest.approx(np.eye(3), abs=EXACT)
        assert pytest.approx((data - data.mean(axis=0)) @ view.W, abs=EXACT) == view.Z
        assert view.transform(data[:7]) == pytest.approx(view.Z[:7], abs=EXACT)
    assert found.x.Z.T @ found.y.Z / len(X) == pytest.approx(np.diag(rho[:3]), abs=EXACT)
    if ridge == 0:
        assert found.x.Z.T @ found.x.Z / len(X) == pytest.approx(np.eye(3), abs=EXACT)


def test_cca_parity_with_scikit_learn():
    X, Y = views(200)
    found = ss.cca(X, Y, 3)
    theirs = sklearn.cross_decomposition.CCA(3, max_iter=10_000, tol=1e-14).fit(X, Y)
    a, b = theirs.transform(X, Y)
    assert [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(3)] == pytest.approx(found.correlations[:3], abs=NIPALS)
    for ours, variates in ((found.x.Z, a), (found.y.Z, b)):
        assert max(sine(ours[:, [k]], variates[:, [k]] - variates[:, k].mean()) for k in range(3)) < 1e-4  # root of it


def test_cca_finds_the_correlations_its_data_were_made_with():
    data = ss.load_dataset("latent_two_view", n_samples=4000, correlations=(0.9, 0.6, 0.3), n_features=(6, 5), seed=1)
    found = ss.cca(data.X[:4000, :6], data.X[4000:, 6:])
    assert found.correlations[:3] == pytest.approx([0.9, 0.6, 0.3], abs=4 / np.sqrt(4000))  # of a sampled correlation
    assert found.correlations[3:].max() < 4 * np.sqrt(11 / 4000)


@given(
    st.integers(6, 40), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000), st.sampled_from([1e-3, 1.0, 1e4])
)
@settings(max_examples=60)
def test_cca_is_symmetric_affinely_invariant_and_never_above_one(N, Dx, Dy, seed, unit):
    rng = np.random.default_rng(seed)
    N = max(N, Dx + Dy + 1)
    X, Y = rng.standard_normal((N, Dx)), rng.standard_normal((N, Dy))
    Y[:, 0] += X[:, 0]
    found = ss.cca(X, Y)
    rho = found.correlations
    assert np.all((rho >= 0) & (rho <= 1))
    assert np.all(np.diff(rho) <= 0)
    M = np.linalg.qr(rng.standard_normal((Dx, Dx)))[0] * np.linspace(1, 3, Dx)
    assert ss.cca(unit * X @ M + 7.0, Y).correlations == pytest.approx(rho, abs=ROUNDING)
    swapped = ss.cca(Y, X)
    assert swapped.correlations == pytest.approx(rho, abs=EXACT)
    for k in range(rho.size):
        pair = np.corrcoef(found.x.Z[:, k], found.y.Z[:, k])[0, 1]
        assert pair == pytest.approx(rho[k], abs=EXACT)


# --- rank -------------------------------------------------------------------------------------------------------------


def spoiled():
    """The same view of rank 5, spoiled in the ways that break iterations and inverses; and its rank."""
    X, _ = views()
    one, rng = np.ones((80, 1)), np.random.default_rng(9)
    M = rng.standard_normal((5, 5))
    return {
        "a column twice": np.hstack([X, X[:, [2]]]),
        "a constant column": np.hstack([0.1 * one, X, 1e9 * one]),
        "a column of zeros": np.hstack([X, 0 * one]),
        "collinear columns": np.hstack([X, X @ rng.standard_normal((5, 3)) + 4.0]),
        "units from 1e-9 to 1e9": X * np.geomspace(1e-9, 1e9, 5),
        "a mean of 1e7": np.hstack([X, X[:, [0]] - X[:, [1]]]) + 1e7,
        "nearly collinear": X @ (M[:, :1] @ M[:1] + 1e-6 * M),
    }


@pytest.mark.parametrize("how", list(spoiled()))
def test_cca_reveals_the_rank_of_spoiled_views(how):
    X, Y = views()
    bad = spoiled()[how]
    plain, found = ss.cca(X, Y), ss.cca(bad, Y)
    assert found.rank_x == 5
    assert found.correlations == pytest.approx(plain.correlations, abs=ROUNDING)
    assert np.isfinite(found.x.W).all()
    assert upto_signs(found.x.Z, plain.x.Z) < 1e-6  # the gap of rho, 0.03, over ROUNDING
    assert pytest.approx(np.eye(4), abs=EXACT) == found.x.Z.T @ found.x.Z / 80
    # the order of rows and columns changes nothing, signs included
    rng = np.random.default_rng(3)
    rows, columns = rng.permutation(80), rng.permutation(bad.shape[1])
    shuffled = ss.cca(bad[rows][:, columns], Y[rows])
    assert shuffled.rank_x == 5
    assert pytest.approx(found.x.Z[rows], abs=1e-6) == shuffled.x.Z
    assert pytest.approx(found.y.Z[rows], abs=1e-6) == shuffled.y.Z


def test_a_column_that_hardly_varies_does_not_hide_faint_directions_of_others():
    X, Y = views()
    rng = np.random.default_rng(6)
    near = X[:, [0]] + 1e-3 * rng.standard_normal((80, 1))
    hardly = 1 + 1e-12 * rng.standard_normal((80, 1))
    assert ss.cca(np.hstack([X, near, hardly]), Y).rank_x == 7


def test_cca_with_more_columns_than_rows_says_that_the_correlations_are_trivial():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20, 40)), rng.standard_normal((20, 6))
    with pytest.warns(ss.SpectralWarning, match="6 of 6 correlations are 1 whatever the data"):
        found = ss.cca(X, Y, 2)
    assert found.rank_x == 19
    assert found.correlations == pytest.approx(np.ones(6), abs=EXACT)
    assert np.isfinite(found.x.W).all()
    new = rng.standard_normal((500, 40)), rng.standard_normal((500, 6))
    assert np.abs(found.score(*new)).max() < 4 / np.sqrt(500)  # and worth nothing on other rows
    ridged = ss.cca(X, Y, 2, ridge=10.0)  # no warning: the objective is no longer 1
    assert ridged.correlations.max() < 0.9


@pytest.mark.parametrize(("Dx", "Dy", "trivial"), [(10, 9, 0), (10, 10, 1), (12, 11, 4), (19, 1, 1)])
def test_correlations_are_trivial_from_as_many_columns_as_rows_on_and_not_before(Dx, Dy, trivial):
    """Ranks p and q meet in at least p + q - (N - 1) of the N - 1 dimensions of centred rows; p + q = N - 1 in none."""
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((20, Dx)), rng.standard_normal((20, Dy))
    if trivial:
        with pytest.warns(ss.SpectralWarning, match=f"{trivial} of {min(Dx, Dy)} correlations are 1"):
            rho = ss.cca(X, Y).correlations
    else:
        rho = ss.cca(X, Y).correlations
    assert np.count_nonzero(rho > 1 - 1e-9) == trivial


def test_components_past_the_rank_are_zero_and_told():
    X, Y = views()
    X = np.hstack([X[:, :2], X[:, :2]])
    with pytest.warns(ss.SpectralWarning, match="the last 1 columns are zero"):
        found = ss.cca(X, Y, 3)
    assert found.x.rank == 2
    assert np.all(found.x.Z[:, 2] == 0)
    assert np.all(found.y.Z[:, 2] == 0)
    assert found.score(X, Y)[2] == 0


def test_a_score_is_the_correlation_on_other_rows():
    X, Y = views(60)
    X_new, Y_new = views(200, seed=0)
    found = ss.cca(X, Y)
    a, b = found.x.transform(X_new), found.y.transform(Y_new)
    expected = [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(4)]
    assert found.score(X_new, Y_new) == pytest.approx(expected, abs=EXACT)
    assert found.score(X, Y) == pytest.approx(found.correlations, abs=EXACT)
    assert np.all(found.score(X_new * 0 + 1, Y_new) == 0)  # variates that do not vary


def test_a_ridge_shrinks_the_objective_and_not_the_correlation_of_the_variates():
    X, Y = views()
    found = ss.cca(X, Y, ridge=3.0)
    assert np.all(found.score(X, Y)[:2] > found.correlations[:2] + 1e-3)
    assert found.score(X, Y)[0] < ss.cca(X, Y).correlations[0]


def test_a_ridge_helps_where_columns_are_many():
    rng = np.random.default_rng(2)

    def draw(N):
        s = rng.standard_normal((N, 1))
        return tuple(s * np.linspace(1, 0.2, 30) + 1.5 * rng.standard_normal((N, 30)) for _ in range(2))

    train, held = draw(70), draw(2000)
    assert ss.cca(*train, 1, ridge=5.0).score(*held)[0] > ss.cca(*train, 1).score(*held)[0] + 0.2


# --- tied weights -----------------------------------------------------------------------------------------------------


def degree_pencil(X, A):
    """rho descending and W of (Xd'A Xd, Xd'diag(deg)Xd), X centred by degrees, by scipy."""
    deg = A.sum(axis=1)
    X = X - deg @ X / deg.sum()
    rho, W = scipy.linalg.eigh(X.T @ A @ X, X.T @ (deg[:, None] * X))
    return rho[::-1], W[:, ::-1]


def test_tied_cca_is_the_centred_degree_pencil_at_its_scale():
    X, _ = views()
    graph = ss.relations.knn(X, n_neighbors=5)
    A = graph.to_csr().toarray()
    deg, s = A.sum(axis=1), A.sum()
    rho, W = degree_pencil(X, A)
    found = ss.tied_cca(X, graph, 3)
    assert found.spectrum == pytest.approx(rho, abs=EXACT)
    assert upto_signs(found.W, np.sqrt(s) * W[:, :3]) < EXACT
    assert found.Z.T @ (deg[:, None] * found.Z) == pytest.approx(s * np.eye(3), abs=s * EXACT)
    assert deg @ found.Z == pytest.approx(np.zeros(3), abs=s * EXACT)
    assert np.trace(found.Z.T @ A @ found.Z) == pytest.approx(s * rho[:3].sum(), rel=EXACT)  # the maximum
    assert found.transform(X[:6]) == pytest.approx(found.Z[:6], abs=EXACT)
    shared = ss.tied_cca(None, ss.Spectra(graph, X=X), 3)
    assert pytest.approx(found.Z, abs=EXACT) == shared.Z


def test_B13_tied_cca_of_stacked_modalities_is_cca(record_property):
    """On coupled modalities [[Xa, 0], [0, Xb]] tied CCA is CCA: correlations, and weights stacked."""
    Xa, Xb = views(300, 7)
    Xa = Xa / Xa.std(axis=0)
    data = ss.couple(Xa, Xb)
    tied, found = ss.tied_cca(data.X, ss.relations.coupled(data), 4), ss.cca(Xa, Xb, 4)
    rho, Wa, Wb = block_pencil(Xa, Xb)
    agree(record_property, tied.spectrum[:4], rho[:4], EXACT)
    agree(record_property, found.correlations, rho[:4], EXACT)
    agree(record_property, tied.spectrum[-4:], -rho[:4][::-1], EXACT)  # the second view flipped: of no use when tied
    stacked = np.sqrt(2) * np.vstack([Wa, Wb])[:, :4]
    agree(record_property, upto_signs(tied.W, stacked), 0.0, EXACT, scale=1.0)
    agree(record_property, upto_signs(np.vstack([found.x.W, found.y.W]), stacked), 0.0, EXACT, scale=1.0)
    theirs = sklearn.cross_decomposition.CCA(4, max_iter=10_000, tol=1e-14).fit(Xa, Xb)
    same_span(record_property, tied.W[:7], theirs.x_rotations_ / Xa.std(axis=0, ddof=1)[:, None], NIPALS)


def test_B14_cca_of_a_pair_list_ranks_by_size_and_tied_cca_sees_the_sign(record_property):
    """CCA of the pair list in both orders has correlations |rho| and maps W, W sign(rho); tied CCA has rho."""
    n = 300
    rng = np.random.default_rng(4)
    shared = rng.standard_normal((n, 4))
    Xa = shared + 0.4 * rng.standard_normal((n, 4))
    Xb = shared * [0.9, -1.0, 0.4, -0.6] + 0.4 * rng.standard_normal((n, 4))  # two features change sides
    X = np.vstack([Xa, Xb])
    graph = ss.Graph.from_pairs(np.arange(n), n + np.arange(n), 2 * n)
    rho, W = degree_pencil(X, graph.to_csr().toarray())
    assert rho[1] > 0.1
    assert rho[2] < -0.1
    ranked = np.argsort(-np.abs(rho))
    assert list(ranked) != [0, 1, 2, 3]
    found = ss.cca(X, np.vstack([Xb, Xa]))
    agree(record_property, found.correlations, np.abs(rho)[ranked], EXACT)
    weights = np.vstack([W, W * np.sign(rho)])[:, ranked] * np.sqrt(2 * n)
    agree(record_property, upto_signs(np.vstack([found.x.W, found.y.W]), weights), 0.0, EXACT, scale=1.0)
    agree(record_property, ss.tied_cca(X, graph, 2).spectrum, rho, EXACT)
    same_span(record_property, ss.tied_cca(X, graph, 2).W, W[:, :2], EXACT)
    assert sine(found.x.W[:, :2], W[:, :2]) > 0.5  # CCA's first two are not those of tied weights
    with pytest.warns(ss.SpectralWarning, match="only 2 of 3 directions correlate positively"):
        ss.tied_cca(X, graph, 3)


def test_a_ridge_is_taken_from_the_correlation_of_tied_weights():
    X, _ = views()
    graph = ss.relations.knn(X, n_neighbors=5)
    A, r = graph.to_csr().toarray(), 40.0
    deg = A.sum(axis=1)
    C = X - deg @ X / deg.sum()
    rho, W = scipy.linalg.eigh(C.T @ A @ C - r * np.eye(5), C.T @ (deg[:, None] * C))
    found = ss.tied_cca(X, graph, 2, ridge=r)
    assert found.spectrum == pytest.approx(rho[::-1], abs=ROUNDING)
    assert sine(found.W, W[:, [-1, -2]]) < ROUNDING


# --- kernels ----------------------------------------------------------------------------------------------------------


def kernel_cca(Kx, Ky, rx, ry):
    """Hardoon et al. 2004 by scipy: alpha'Kx Ky beta under alpha'(Kx^2/N + rx Kx)alpha = 1, kernels centred."""
    N = len(Kx)
    H = np.eye(N) - 1 / N
    Q = [H @ K @ H for K in (Kx, Ky)]
    U = []
    for K, r in zip(Q, (rx, ry), strict=True):  # K = V diag(s) V': the pencil on its range
        s, V = np.linalg.eigh(K)
        s, V = s[1:], V[:, 1:]
        U.append(V * np.sqrt(s / (s + N * r)))
    P, rho, _ = np.linalg.svd(U[0].T @ U[1])
    s, V = np.linalg.eigh(Q[0])
    alpha = V[:, 1:] @ (P / np.sqrt(s[1:] * (s[1:] / N + rx))[:, None])
    return rho, alpha


def test_kernel_cca_is_the_regularised_problem_in_dual_weights():
    rng = np.random.default_rng(5)
    t = rng.uniform(-2, 2, 30)
    X = np.column_stack([t, rng.standard_normal(30)])
    Y = np.column_stack([t**2, rng.standard_normal(30)]) + 0.1 * rng.standard_normal((30, 2))
    found = ss.cca(X, Y, 2, kernel="rbf(bandwidth=1)", ridge=(0.05, 0.02))
    Kx, Ky = rbf_kernel(X, gamma=0.5), rbf_kernel(Y, gamma=0.5)
    rho, alpha = kernel_cca(Kx, Ky, 0.05, 0.02)
    assert found.correlations[:6] == pytest.approx(rho[:6], abs=ROUNDING)
    H = np.eye(30) - 1 / 30
    witness = H @ Kx @ H @ alpha[:, :2]
    assert upto_signs(found.x.Z, witness) < 1e-7  # features fainter than 1e-12 of the kernel's size are left out
    new = rng.standard_normal((5, 2))
    k = rbf_kernel(new, X, gamma=0.5)
    placed = (k - Kx.mean(axis=0)) @ H @ alpha[:, :2]
    assert upto_signs(np.vstack([found.x.Z, found.x.transform(new)]), np.vstack([witness, placed])) < 1e-7
    assert found.x.transform(X) == pytest.approx(found.x.Z, abs=1e-7)
    # y = x^2: no linear correlation, and a kernel finds it
    assert ss.cca(X[:, :1], Y[:, :1]).correlations[0] < 0.35
    assert found.score(X, Y)[0] > 0.8


def test_cca_of_a_linear_kernel_is_ridge_cca_and_a_view_may_stay_linear():
    X, Y = views(40)
    plain = ss.cca(X, Y, 3, ridge=0.7)
    kernelised = ss.cca(X, Y, 3, ridge=0.7, kernel="linear")
    assert kernelised.correlations == pytest.approx(plain.correlations, abs=ROUNDING)
    assert upto_signs(kernelised.x.Z, plain.x.Z) < ROUNDING
    mixed = ss.cca(X, Y, 3, ridge=(0.7, 0.0), kernel=("linear", None))
    assert mixed.correlations == pytest.approx(ss.cca(X, Y, 3, ridge=(0.7, 0.0)).correlations, abs=ROUNDING)
    assert mixed.y.features is None
    assert mixed.x.features is not None


def test_tied_cca_in_kernel_features_is_that_of_the_features():
    X, _ = views(60)
    graph = ss.relations.knn(X, n_neighbors=5)
    found = ss.tied_cca(X, graph, 2, kernel="random_features(n_features=8, bandwidth=40, seed=1)")
    Phi = found.features(X)
    rho, W = degree_pencil(Phi, graph.to_csr().toarray())
    assert found.spectrum[:3] == pytest.approx(rho[:3], abs=ROUNDING)
    deg = graph.degree
    witness = (Phi - deg @ Phi / deg.sum()) @ W[:, :2] * np.sqrt(deg.sum())
    assert upto_signs(found.Z, witness) < ROUNDING
    assert found.transform(X) == pytest.approx(found.Z, abs=ROUNDING)


# --- bad input --------------------------------------------------------------------------------------------------------

X8, Y8 = views(8, 3, 2)
RING = ss.Graph.from_pairs(np.arange(8), (np.arange(8) + 1) % 8, 8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ss.cca(X8, Y8[:5]), "X has 8 rows, Y 5"),
        (lambda: ss.cca(np.where(X8 > 5, np.nan, X8), Y8), "NaN"),
        (lambda: ss.cca(X8, np.where(Y8 > -3, np.inf, Y8)), "infinite"),
        (lambda: ss.cca(X8, Y8, 3), "exceeds min"),
        (lambda: ss.cca(X8, Y8, 0), "n_components must be a whole number at least 1"),
        (lambda: ss.cca(X8, Y8, 1.5), "n_components must be a whole number at least 1"),
        (lambda: ss.cca(np.full((8, 2), 0.1), Y8), "every column of X is constant"),
        (
            lambda: ss.cca(np.where(np.arange(8)[:, None] % 2, 0.3, 3 * 0.1), Y8),
            "every column of X is constant",
        ),  # to an ulp
        (lambda: ss.cca(X8, np.ones((8, 2))), "every column of Y is constant"),
        (lambda: ss.cca(X8 * 1e200, Y8), "columns of X overflow"),
        (lambda: ss.cca(X8, Y8, ridge=-1.0), "ridge must be a number >= 0"),
        (lambda: ss.cca(X8, Y8, ridge=(1.0, 2.0, 3.0)), "pair"),
        (lambda: ss.cca(X8, Y8, ridge=(1.0, np.nan)), "ridge must be"),
        (lambda: ss.cca(X8, Y8, ridge=True), "ridge must be"),
        (lambda: ss.cca(X8, Y8, kernel="rbf"), "kernel features of X needs a ridge"),
        (lambda: ss.cca(X8, Y8, kernel=(None, "rbf"), ridge=(1.0, 0.0)), "kernel features of Y needs a ridge"),
        (lambda: ss.cca(X8, Y8, kernel="nonsense", ridge=1.0), "nonsense"),
        (lambda: ss.cca(X8, Y8).x.transform(np.ones((2, 5))), "takes 3 features"),
        (lambda: ss.cca(X8, Y8).score(X8, Y8[:4]), "as many rows"),
        (lambda: ss.cca(X8, Y8).score(X8[:1], Y8[:1]), "at least 2"),
        (lambda: ss.tied_cca(None, RING, 1, kernel="rbf"), "pass X="),
        (lambda: ss.tied_cca(X8, RING, 4), "exceeds the number of features = 3"),
        (lambda: ss.tied_cca(X8[:5], RING, 1), "5"),
        (lambda: ss.tied_cca(X8, ss.Spectra(RING), 1), "over all embeddings"),
        (lambda: ss.tied_cca(X8, ss.Spectra(RING, X=X8), 1, ridge=1.0), "already fix"),
        (lambda: ss.tied_cca(X8[::-1], ss.Spectra(RING, X=X8), 1), "already fix X, kernel and ridge"),
        (lambda: ss.tied_cca(X8, "ring", 1), "must be a Graph"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ss.DataError, match=words):
        call()
