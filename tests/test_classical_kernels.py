"""Classical methods in kernel features and with a ridge, and Laplacian Eigenmaps of new samples.

The witnesses are scikit-learn's KernelPCA, scipy's dense generalised eigensolver on the dual problems, and the
eigen-equations of a new row, written as loops over its neighbours.
"""

import numpy as np
import pytest
import scipy.linalg
from measure import agree, same_span, sine
from sklearn.datasets import load_iris, make_circles
from sklearn.decomposition import PCA, KernelPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import laplacian_kernel, polynomial_kernel, rbf_kernel

import spectral_ssl as ss

EXACT = 1e-10  # relative: dense float64 eigensolves on both sides, gaps of a few per cent
DUAL = 1e-7  # kernel matrices of condition 1e6 to 1e9 on the witness's side; features fainter than 1e-12 are left out


def cloud(N=40, D=3, seed=0):
    return np.random.default_rng(seed).standard_normal((N, D)) * np.linspace(2.0, 1.0, D) + 1.0


def laplacian(graph):
    A = graph.to_csr().toarray()
    return np.diag(A.sum(axis=1)) - A


def upto_signs(found, expected):
    """The largest difference of entries, columns flipped to agree, relative to the largest entry."""
    flips = np.sign((found * expected).sum(axis=0))
    return float(np.abs(found * flips - expected).max() / np.abs(expected).max())


# --- kernel PCA -------------------------------------------------------------------------------------------------------

KERNELS = {
    "rbf(bandwidth=2)": {"kernel": "rbf", "gamma": 1 / 8},
    "polynomial(bandwidth=2, degree=2)": {"kernel": "poly", "gamma": 1 / 4, "coef0": 1, "degree": 2},
    "polynomial": {"kernel": "poly", "gamma": 1, "coef0": 1, "degree": 3},
    "cosine": {"kernel": "cosine"},
    "linear": {"kernel": "linear"},
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_pca_parity_with_scikit_learn_and_its_transform(kernel):
    X, new = cloud(), cloud(9, seed=1)
    found, theirs = ss.pca(X, 3, kernel=kernel), KernelPCA(3, eigen_solver="dense", **KERNELS[kernel]).fit(X)
    assert found.spectrum[:3] * 40 == pytest.approx(theirs.eigenvalues_, rel=EXACT)
    assert found.gap > 1e-2
    joint = np.vstack([found.Z, found.transform(new)])
    assert upto_signs(joint, np.vstack([theirs.transform(X), theirs.transform(new)])) < EXACT
    assert found.transform(X) == pytest.approx(found.Z, abs=EXACT * np.abs(found.Z).max())


def test_kernel_pca_of_landmarks_is_the_pca_of_nystroem_features():
    X = cloud(60)
    found = ss.pca(X, 3, kernel="nystroem(n_landmarks=60, bandwidth=2)")
    Phi = Nystroem(gamma=1 / 8, n_components=60, random_state=0).fit_transform(X)
    assert upto_signs(found.Z, PCA(3).fit_transform(Phi)) < DUAL
    few = ss.pca(X, 3, kernel="nystroem(n_landmarks=15, bandwidth=2)")
    assert few.spectrum.size <= 15
    assert np.all(few.spectrum[:3] <= found.spectrum[:3] * (1 + EXACT))  # a projection loses variance


def test_kernel_pca_knows_the_rank_of_its_features():
    X = cloud(30, 2)
    found = ss.pca(X, 5, kernel="polynomial(degree=2)")  # 1, x, y, xx, xy, yy: five of them vary
    assert found.rank == 5
    with pytest.raises(ss.DataError, match=r"exceeds min\(D, N - 1\) = 6"):
        ss.pca(X, 7, kernel="polynomial(degree=2)")


def test_pca_of_tall_data_keeps_faint_variances():
    """Products X'X lose a variance of 1e-14 of the largest altogether; singular values keep nine digits of it."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((400, 6)) - 0.5)[0]
    Q = np.linalg.qr(Q - Q.mean(axis=0))[0]
    R = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    for faint in (1e-1, 1e-7):
        s = np.array([1, 0.8, 0.6, 0.4, 0.2, faint])
        found = ss.pca(Q * s @ R, 6)
        assert np.sqrt(found.spectrum * 400) == pytest.approx(s, rel=1e-8)
        assert sine(found.W[:, [5]], R.T[:, [5]]) < 1e-8
        assert found.rank == 6


def with_column(X, column):
    return np.hstack([X, np.broadcast_to(column, (X.shape[0],))[:, None]])


SURPLUS = {  # a column that adds no direction, or only its rounding
    "constant": lambda X: 0.1,
    "constant far off": lambda X: 1e6 + 0.1,
    "repeated": lambda X: X[:, 0],
    "repeated far off": lambda X: X[:, 0] + 1e6,
    "sum of others": lambda X: X.sum(axis=1) - 1e4,
}


@pytest.mark.parametrize("N", [40, 20_000])
@pytest.mark.parametrize("surplus", SURPLUS)
def test_pca_gives_no_direction_to_rounding(surplus, N):
    X = np.random.default_rng(0).standard_normal((N, 4))
    F = with_column(X, SURPLUS[surplus](X))
    with pytest.warns(ss.SpectralWarning, match="5 components were asked for, but X has 4 independent directions: the"):
        found = ss.pca(F, 5)
    assert found.rank == 4
    assert not found.Z[:, 4].any()
    assert not found.W[:, 4].any()
    theirs = PCA(4, svd_solver="full").fit_transform(F - F[0])  # from products it loses digits far from the origin
    assert np.abs(found.Z @ found.Z[:9].T - theirs @ theirs[:9].T).max() < 1e-8  # numbers of 1e6 hold ten decimals
    assert found.transform(F[:9]) == pytest.approx(found.Z[:9], abs=1e-8)


def test_pca_of_constant_data_has_no_direction():
    with pytest.warns(ss.SpectralWarning, match="X has 0 independent directions"):
        found = ss.pca(np.full((40, 2), 0.1), 1)
    assert found.rank == 0
    assert not found.Z.any()


def test_pca_keeps_a_faint_direction_beside_a_column_far_off():
    rng = np.random.default_rng(0)
    faint = 1e-9 * rng.standard_normal(40)
    X = np.column_stack([1e6 + rng.standard_normal(40), faint])  # what rounds in one column leaves the other alone
    found = ss.pca(X, 2)
    assert found.rank == 2
    assert found.spectrum[1] == pytest.approx(faint.var(), rel=0.2)  # less what the first column explains of it


# --- LPP --------------------------------------------------------------------------------------------------------------


def test_ridge_lpp_is_the_penalised_pencil():
    X = cloud(50, 4)
    graph, r = ss.relations.knn(X, n_neighbors=6), 30.0
    C = X - X.mean(axis=0)
    mu, W = scipy.linalg.eigh(X.T @ laplacian(graph) @ X + r * np.eye(4), C.T @ C)
    found = ss.lpp(X, graph, 2, ridge=r)
    assert found.spectrum == pytest.approx(mu, rel=EXACT)
    assert upto_signs(found.W, np.sqrt(50) * W[:, :2]) < EXACT
    assert sine(found.W, ss.lpp(X, graph, 2).W) > 0.01


@pytest.mark.parametrize("r", [0.05, 5.0])
def test_W7_kernel_lpp_with_ridge_is_its_dual_problem(r, record_property):
    """Kernel LPP: (KLK + rK) alpha = mu KHK alpha, smallest mu; new samples by z(x) = (k(x) - mean)'alpha."""
    X, new = cloud(30), cloud(5, seed=2)
    graph = ss.relations.knn(X, n_neighbors=5)
    Q, H = rbf_kernel(X, gamma=0.5), np.eye(30) - 1 / 30
    found = ss.lpp(X, graph, 3, kernel="rbf(bandwidth=1)", ridge=r)
    inverse, alpha = scipy.linalg.eigh(Q @ H @ Q, Q @ laplacian(graph) @ Q + r * Q)  # 1/mu: KHK is singular
    mu, alpha = 1 / inverse[::-1][:4], alpha[:, ::-1][:, :3] * np.sqrt(30 / inverse[::-1][:3])
    agree(record_property, found.spectrum[:4], mu, DUAL)
    witness = np.vstack([H @ Q @ alpha, (rbf_kernel(new, X, gamma=0.5) - Q.mean(axis=0)) @ alpha])
    agree(record_property, upto_signs(np.vstack([found.Z, found.transform(new)]), witness), 0.0, DUAL, scale=1.0)
    assert pytest.approx(30 * np.eye(3), abs=30 * DUAL) == found.Z.T @ found.Z
    assert found.transform(X) == pytest.approx(found.Z, abs=DUAL)


def test_W6_kernel_lpp_without_ridge_is_laplacian_eigenmaps(record_property):
    """Without ridge an exact kernel of full rank is no restriction: kernel LPP is Laplacian Eigenmaps."""
    X = cloud(30)
    graph = ss.relations.knn(X, n_neighbors=5)
    assert np.linalg.matrix_rank(laplacian_kernel(X, gamma=1.0)) == 30
    lam, V = np.linalg.eigh(laplacian(graph))
    found = ss.lpp(X, graph, 3, kernel="laplacian(bandwidth=1)")
    agree(record_property, found.spectrum[:4], lam[1:5], EXACT)
    same_span(record_property, found.Z, V[:, 1:4], 1e-8, nested=True)


# --- discriminant analysis --------------------------------------------------------------------------------------------


def scatters(X, y):
    """Within-class and total scatter, by loops over classes."""
    total = (X - X.mean(axis=0)).T @ (X - X.mean(axis=0))
    within = np.zeros_like(total)
    for c in np.unique(y):
        B = X[y == c] - X[y == c].mean(axis=0)
        within += B.T @ B
    return within, total


@pytest.mark.parametrize("r", [0.0, 0.3, 1.5])
def test_ridge_lda_adds_the_ridge_to_the_within_class_scatter(r):
    X, y = load_iris(return_X_y=True)
    X, y = X[20:], y[20:]  # classes of 30, 50, 50
    within, total = scatters(X, y)
    mu, W = scipy.linalg.eigh(within + r * np.eye(4), total)
    found = ss.lda(X, y, ridge=r)
    assert found.spectrum == pytest.approx(mu, rel=EXACT)
    assert upto_signs(found.W, np.sqrt(130) * W[:, :2]) < 1e-8
    # each direction is that of ridge discriminant analysis max w'S_b w / w'(S_w + r_k I)w, r_k = r/(1 - mu)
    assert mu[1] < 1
    for k in range(2):
        r_k = r / (1 - mu[k])
        ratio, V = scipy.linalg.eigh(total - within, within + r_k * np.eye(4))
        assert min(sine(found.W[:, [k]], V[:, [j]]) for j in (-1, -2)) < 1e-8
        assert np.abs(ratio - (1 - mu[k]) / mu[k]).min() < 1e-8 * ratio.max()


def test_ridge_lda_of_two_classes_is_the_ridge_solution_for_the_difference_of_means():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [15, 30])
    X = rng.standard_normal((45, 60)) + 0.5 * y[:, None]  # more columns than rows
    found = ss.lda(X, y, ridge=50.0)
    within, _ = scatters(X, y)
    difference = X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0)
    w = np.linalg.solve(within + 50.0 / (1 - found.spectrum[0]) * np.eye(60), difference)
    assert sine(found.W, w[:, None]) < 1e-8
    new = rng.standard_normal((400, 60)) + 0.5 * np.repeat([0, 1], 200)[:, None]
    z = found.transform(new)[:, 0]
    right = ((z > found.Z.mean()) == np.repeat([0, 1], 200)).mean()
    assert max(right, 1 - right) > 0.85


def test_lda_warns_where_any_labels_are_separated():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((20, 25)), rng.permutation(np.repeat([0, 1], 10))  # labels at random
    with pytest.warns(ss.SpectralWarning, match="19 independent features for 20 samples"):
        found = ss.lda(X, y)
    assert found.spectrum[0] < EXACT  # and they are separated without error
    with pytest.warns(ss.SpectralWarning, match="pass ridge="):
        ss.lda(X[:, :2], y, kernel="rbf(bandwidth=0.5)")
    assert ss.lda(X, y, ridge=20.0).spectrum[0] > 0.1
    assert ss.lda(X[:, :18], y).rank == 1  # 18 of 19 dimensions: no warning


def test_kernel_lda_is_its_dual_problem_and_separates_circles():
    X, y = make_circles(60, noise=0.08, factor=0.5, random_state=0)
    X_new, y_new = make_circles(200, noise=0.08, factor=0.5, random_state=1)
    r = 0.5
    found = ss.lda(X, y, kernel="rbf(bandwidth=0.5)", ridge=r)
    assert found.n_components == 1
    Q, H = rbf_kernel(X, gamma=2.0), np.eye(60) - 1 / 60
    M = np.eye(60) - sum(np.outer(y == c, y == c) / np.count_nonzero(y == c) for c in (0, 1))  # centres each class
    inverse, alpha = scipy.linalg.eigh(Q @ H @ Q, Q @ M @ Q + r * Q + 1e-13 * np.eye(60))
    assert found.spectrum[0] == pytest.approx(1 / inverse[-1], rel=1e-6)
    assert sine(found.Z, H @ Q @ alpha[:, [-1]]) < 1e-5  # K has condition 1e10 here
    accuracy = LinearDiscriminantAnalysis().fit(found.Z, y).score(found.transform(X_new), y_new)
    assert accuracy > 0.95
    linear = ss.lda(X, y)
    assert LinearDiscriminantAnalysis().fit(linear.Z, y).score(linear.transform(X_new), y_new) < 0.7


def test_lda_of_a_linear_kernel_is_lda():
    X, y = load_iris(return_X_y=True)
    plain, found = ss.lda(X, y, ridge=2.0), ss.lda(X, y, ridge=2.0, kernel="linear")
    assert found.spectrum[:3] == pytest.approx(plain.spectrum[:3], rel=1e-8)
    assert upto_signs(found.Z, plain.Z) < 1e-8


def test_a_polynomial_kernel_is_lda_on_its_monomials():
    X, y = make_circles(60, noise=0.08, factor=0.5, random_state=0)
    monomials = np.column_stack([np.sqrt(2) * X, X**2, np.sqrt(2) * X[:, 0] * X[:, 1]])  # (1 + x'y)^2 less the constant
    assert 1 + monomials @ monomials.T == pytest.approx(polynomial_kernel(X, degree=2, gamma=1, coef0=1))
    found = ss.lda(X, y, kernel="polynomial(degree=2)")
    within, total = scatters(monomials, y)
    mu, W = scipy.linalg.eigh(within, total)
    assert found.spectrum[0] == pytest.approx(mu[0], rel=1e-8)
    assert sine(found.Z, (monomials - monomials.mean(axis=0)) @ W[:, :1]) < 1e-8


# --- Laplacian Eigenmaps of new samples -------------------------------------------------------------------------------


def curve(N=60):
    t = np.sort(np.random.default_rng(3).uniform(0, 3, N))
    return np.column_stack([np.cos(t), np.sin(t), 0.1 * np.random.default_rng(4).standard_normal(N)])


RELATIONS = {
    "knn": lambda X: ss.relations.knn(X, n_neighbors=6),
    "heat": lambda X: ss.relations.knn(X, n_neighbors=6, weight="heat"),
    "epsilon": lambda X: ss.relations.epsilon(X, radius=0.4),
}


@pytest.mark.parametrize("normalization", ["none", "random_walk", "symmetric"])
@pytest.mark.parametrize("relation", RELATIONS)
def test_laplacian_eigenmaps_transforms_training_rows_to_the_fit(relation, normalization, record_property):
    """Laplacian Eigenmaps embeds new samples by its eigen-equation in each normalisation, training ones to Z."""
    X = curve()
    graph = RELATIONS[relation](X)
    assert not graph.regular
    found = ss.laplacian_eigenmaps(graph, 3, normalization=normalization)
    agree(record_property, found.transform(X), found.Z, 1e-9, scale=np.abs(found.Z).max())
    # a new row, as a loop over the samples it pairs with
    new = curve(7)
    a = graph.attach(new).toarray()
    deg = graph.degree
    for x, row in enumerate(a):
        d, lam = row.sum(), found.spectrum[:3]
        pairs = [(row[j], found.Z[j], deg[j]) for j in np.flatnonzero(row)]
        if normalization == "none":
            z = sum(w * Z for w, Z, _ in pairs) / (d - lam)
        elif normalization == "random_walk":
            z = sum(w * Z for w, Z, _ in pairs) / (d * (1 - lam))
        else:
            z = sum(w * Z / np.sqrt(d * d_j) for w, Z, d_j in pairs) / (1 - lam)
        agree(record_property, found.transform(new)[x], z, 1e-9, scale=np.abs(found.Z).max())


def test_laplacian_eigenmaps_of_relations_without_a_rule_do_not_extend():
    ring = ss.Graph.from_pairs(np.arange(9), (np.arange(9) + 1) % 9, 9)
    for normalization in ("none", "random_walk", "symmetric"):
        found = ss.laplacian_eigenmaps(ring, 2, normalization=normalization)
        assert not found.extends
        with pytest.raises(ss.DataError, match=r"no rule for new ones; fit one with ss.extend"):
            found.transform(np.zeros((1, 2)))


def test_symmetric_eigenmaps_of_a_sample_that_pairs_with_none_are_zero():
    X = curve()
    found = ss.laplacian_eigenmaps(ss.relations.epsilon(X, radius=0.4), 2, normalization="symmetric")
    with pytest.warns(ss.SpectralWarning, match="1 of 2 new samples pair with no training sample"):
        Z = found.transform(np.vstack([X[:1], X[:1] + 50]))
    assert np.all(Z[1] == 0)
    assert Z[0] == pytest.approx(found.Z[0], abs=1e-9)
    near = X[:3] + 0.01
    mixed = found.transform(np.vstack([X[:2], near, X[2:3]]))  # rows do not see each other
    assert mixed == pytest.approx(np.vstack([found.Z[:2], found.transform(near), found.Z[2:3]]), abs=1e-9)


@pytest.mark.parametrize("normalization", ["none", "random_walk", "symmetric"])
def test_laplacian_eigenmaps_transforms_equal_and_isolated_training_rows_to_the_first_of_them(normalization):
    X = np.vstack([curve(), curve()[:3], curve()[:1] + 50])  # three rows twice, one that pairs with none
    with pytest.warns(ss.SpectralWarning, match="no positive pair"):
        graph = ss.relations.epsilon(X, radius=0.4)
    found = ss.laplacian_eigenmaps(graph, 3, normalization=normalization)
    expected = found.Z.copy()
    expected[-4:-1] = found.Z[:3]
    assert found.transform(X) == pytest.approx(expected, abs=1e-12)


def test_directions_that_isolated_samples_lack_are_told_without_an_x():
    pairs = ss.Graph.from_pairs([0, 2, 4], [1, 3, 5], 8)
    for normalization in ("random_walk", "symmetric"):
        with pytest.warns(ss.SpectralWarning, match="7 components .* the relation has 5 directions, .* last 2") as told:
            found = ss.laplacian_eigenmaps(pairs, 7, normalization=normalization)
        assert found.rank == 5
        assert told[0].filename == __file__


# --- bad input --------------------------------------------------------------------------------------------------------

X8, Y8 = cloud(8), np.arange(8) % 2
RING = ss.Graph.from_pairs(np.arange(8), (np.arange(8) + 1) % 8, 8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ss.pca(X8, 1, kernel="nonsense"), "nonsense"),
        (lambda: ss.pca(X8, 8, kernel="rbf"), r"min\(D, N - 1\) = 7"),
        (lambda: ss.pca(X8, 1, kernel="rbf").transform(np.ones((2, 4))), "takes 3 features"),
        (lambda: ss.lpp(None, RING, 1), "pass X="),
        (lambda: ss.lpp(X8, RING, 1, kernel=3), "call string"),
        (lambda: ss.lpp(X8, RING, 1, ridge=-1.0), "ridge must be a number >= 0"),
        (lambda: ss.lpp(X8, RING, 9, kernel="rbf"), "the number of features = 8"),
        (lambda: ss.lpp(X8, ss.Spectra(RING, X=X8), 1, kernel="rbf"), "already fix X, kernel and ridge"),
        (lambda: ss.lpp(X8, ss.Spectra(RING), 1), "over all embeddings"),
        (lambda: ss.lpp(X8[::-1], ss.Spectra(RING, X=X8), 1), "already fix X, kernel and ridge; pass None for X"),
        (lambda: ss.lda(X8, np.zeros(8, dtype=int)), "all 8 rows have the label 0; it needs at least two classes in y"),
        (lambda: ss.lda(X8, ["a"] * 8), "all 8 rows have the label 'a'"),
        (lambda: ss.lda(X8, np.zeros(8)), "discriminant analysis needs classes, but y is continuous"),
        (lambda: ss.lda(X8, np.where(Y8 > 0, Y8, -1)), "4 of 8 rows have no label"),
        (lambda: ss.lda(X8, None), "8 of 8 rows have no label"),
        (lambda: ss.pca(X8 * 1e200, 1), "columns of X overflow when squared"),
        (lambda: ss.pca(X8 * 1e-200, 1), "columns of X underflow when squared"),
        (lambda: ss.lda(X8, Y8, ridge=np.inf), "ridge must be"),
        (lambda: ss.lda(X8, Y8, 2, kernel="rbf", ridge=1.0), r"exceeds min\(C - 1, D\) = 1"),
        (lambda: ss.lda(X8, Y8, kernel="rbf(width=2)"), "width"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ss.DataError, match=words):
        call()


def test_the_spectra_of_a_kernel_model_serve_lpp():
    X = cloud(30)
    graph = ss.relations.knn(X, n_neighbors=5)
    spectra = ss.Spectra(graph, X=X, kernel="rbf(bandwidth=1)", ridge=0.3)
    shared, found = ss.lpp(None, spectra, 2), ss.lpp(X, graph, 2, kernel="rbf(bandwidth=1)", ridge=0.3)
    assert upto_signs(shared.Z, found.Z) < EXACT
    assert shared.features is spectra.features
