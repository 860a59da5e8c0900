"""The kernel model (W6, W7), its approximations, and the ridge that every quadratic loss takes."""

import pickle
import warnings

import naive
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import torch
from measure import Record, relative, sine
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_approximation import Nystroem as SklearnNystroem
from sklearn.metrics.pairwise import cosine_similarity as sklearn_cosine
from sklearn.metrics.pairwise import polynomial_kernel

import spectral_ssl as ss
from spectral_ssl import kernels

N, K = 14, 2
VALUE_TOL = 1e-9  # relative: the square root of a kernel of condition 1e6 keeps ten digits
ANGLE_TOL = 1e-6  # eigenvectors of the same, over gaps of a per cent
DESCENT_TOL = 1e-7  # relative: scipy's L-BFGS on the naive loss
ROUND = 1e-12  # relative: one product, added up in another order
BANDWIDTH = 0.6


def sample(seed: int = 0) -> tuple[np.ndarray, ss.Graph, np.ndarray]:
    """X (N, 2), an irregular weighted relation, and A (N, N)."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (N, 2))
    A = np.exp(-4 * ((X[:, None] - X[None]) ** 2).sum(axis=2)) * rng.uniform(0.5, 1, (N, N))
    A = np.triu(A, 1) + np.triu(A, 1).T
    return X, ss.Graph.from_adjacency(A), A


def rbf(X: np.ndarray, Y: np.ndarray | None = None) -> np.ndarray:
    return RBF(BANDWIDTH)(X, Y)


def root(M: np.ndarray) -> np.ndarray:
    return np.real(scipy.linalg.sqrtm(M))


KERNEL = f"exact(bandwidth={BANDWIDTH})"


# --- W6, W7 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [ss.VICReg(invariance=0.3), ss.FrobeniusSimCLR(), ss.SpectralContrastive(), ss.BarlowTwins(), ss.VICReg(1, 3, 0.2)],
    ids=["vicreg", "frobenius", "scl", "barlow", "vicreg-decorrelating"],
)
def test_W6_without_ridge_a_kernel_of_full_rank_is_no_restriction(method: ss.Method, record_property: Record) -> None:
    """Kernel model, ridge 0, K of full rank: the optimum is that over all Z (plain Laplacian Eigenmaps for VICReg)"""
    X, graph, _ = sample()
    assert np.linalg.matrix_rank(rbf(X)) == N
    free = ss.optimum(method, graph, K)
    kernel = ss.optimum(method, graph, K, X=X, model="kernel", kernel=KERNEL)
    assert kernel.embedding.W is not None
    gap = relative(kernel.loss, free.loss)
    angle = sine(kernel.embedding.Z, free.embedding.Z)
    record_property("gap", gap)
    record_property("angle", angle)
    assert gap < VALUE_TOL
    assert angle < ANGLE_TOL
    # and the linear model is one
    assert ss.optimum(method, graph, K, X=X).loss > free.loss + 1e-3 * abs(free.loss)


@pytest.mark.parametrize("eta", [1e-3, 0.1, 2.0])
def test_W7_kernel_vicreg_with_ridge_is_lemma_M(eta: float, record_property: Record) -> None:
    """Kernel VICReg + eta |B|^2: Lemma M on ((2 gamma/N) K^.5 L K^.5 + eta I, K^.5 H K^.5/n), z(x) = k(x,.) K^-.5 B"""
    X, graph, A = sample()
    alpha, gamma = 1.3, 0.2
    method = ss.VICReg(alpha, alpha, gamma)
    best = ss.optimum(method, graph, K, X=X, kernel=KERNEL, ridge=eta * N / (2 * gamma))
    # the sheet's pencil, dense
    R, H = root(rbf(X)), np.eye(N) - 1 / N
    L = np.diag(A.sum(axis=1)) - A
    first, second = (2 * gamma / N) * R @ L @ R + eta * np.eye(N), R @ H @ R / N
    # null(second) = K^-.5 1: minimised away by the Schur complement, in coordinates of its complement
    values, U = np.linalg.eigh(second)
    U = U[:, values > 1e-12 * values[-1]]
    nu = np.linalg.solve(R, np.ones(N))
    nu /= np.linalg.norm(nu)
    schur = first - np.outer(first @ nu, nu @ first) / (nu @ first @ nu)
    mu, V = scipy.linalg.eigh(U.T @ schur @ U, U.T @ second @ U)
    t = np.maximum(0, 1 - mu[:K] / (2 * alpha))
    value = alpha * (K - (t**2).sum())
    # and the loss itself, by descent
    loss, _ = naive.minimise(
        lambda B: (
            naive.vicreg(torch.tensor(R) @ B, torch.tensor(A), alpha=alpha, beta=alpha, gamma=gamma)
            + eta * (B**2).sum()
        ),
        (N, K),
    )
    gap = max(relative(best.loss, value), relative(best.loss, loss))
    record_property("gap", gap)
    assert relative(best.loss, value) < VALUE_TOL
    assert -VALUE_TOL < (loss - best.loss) / alpha < DESCENT_TOL
    if np.all(t > 0):
        B = U @ V[:, :K]
        B = B - np.outer(nu, (nu @ first @ B) / (nu @ first @ nu))
        angle = sine(H @ R @ B, best.embedding.Z)
        record_property("angle", angle)
        assert angle < ANGLE_TOL
    else:
        assert best.rank == np.count_nonzero(t)
    # the claimed value is that of the embedding returned
    W = best.embedding.W
    assert W is not None
    attained = naive.value(naive.vicreg, best.embedding.Z, A, alpha=alpha, beta=alpha, gamma=gamma)
    assert relative(attained + eta * (W**2).sum(), best.loss) < VALUE_TOL
    # new samples: z(x) = k(x,.) K^-1 Z, the map of least norm through the training rows
    new = np.random.default_rng(5).uniform(-1, 1, (6, 2))
    if best.rank:
        offset = best.embedding.transform(X) - best.embedding.Z
        assert np.abs(offset).max() < 1e-9
        c = np.linalg.solve(rbf(X), best.embedding.features(X) @ W)  # type: ignore[misc]
        mean = best.embedding.mean @ W  # type: ignore[operator]
        assert relative(best.embedding.transform(new), rbf(new, X) @ c - mean) < 1e-7  # condition of K


def test_W7_one_factorisation_serves_the_gamma_path_of_a_ridge(record_property: Record) -> None:
    """With the ridge in units of the energy, eta = 2 gamma r/N, the whole gamma path reads one Spectrum"""
    X, graph, A = sample(1)
    r = 0.7
    spectra = ss.Spectra(graph, X=X, kernel=KERNEL, ridge=r)
    R, worst = root(rbf(X)), 0.0
    for gamma in (0.02, 0.1, 0.4):
        best = ss.optimum(ss.VICReg(invariance=gamma), spectra, K)
        loss, _ = naive.minimise(
            lambda B, gamma=gamma: (
                naive.vicreg(torch.tensor(R) @ B, torch.tensor(A), gamma=gamma) + (2 * gamma * r / N) * (B**2).sum()
            ),
            (N, K),
        )
        worst = max(worst, relative(best.loss, loss))
        assert -VALUE_TOL < loss - best.loss < DESCENT_TOL
    record_property("gap", worst)
    assert len(spectra._held) == 1


# --- the ridge in the other losses ------------------------------------------------------------------------------------

# per method: the naive loss of Z, and the weight c of r |W|^2 in it (twice the weight of tr(Z'LZ), or of -tr(Z'AZ))
RIDGED = {
    "frobenius_simclr": (ss.FrobeniusSimCLR(), naive.frobenius_simclr, lambda A: 2.0),
    "spectral_contrastive": (ss.SpectralContrastive(), naive.spectral_contrastive, lambda A: 2 / A.sum()),
    "vicreg-degree": (
        ss.VICReg(1.0, 1.0, 0.4, weighting="degree"),
        lambda Z, A: naive.vicreg(Z, A, gamma=0.4, degree=True),
        lambda A: 2 * 0.4 / A.sum(),
    ),
}


@pytest.mark.parametrize("name", RIDGED)
@pytest.mark.parametrize("model", ["linear", "kernel"])
def test_a_ridge_adds_the_norm_of_the_map_to_the_loss(name: str, model: str) -> None:
    method, loss_of, weight = RIDGED[name]
    X, graph, A = sample(2)
    r = 0.3
    Phi = X if model == "linear" else root(rbf(X))
    best = ss.optimum(method, graph, K, X=X, kernel=None if model == "linear" else KERNEL, ridge=r)
    c = weight(A) * r
    loss, _ = naive.minimise(
        lambda W: loss_of(torch.tensor(Phi) @ W, torch.tensor(A)) + c * (W**2).sum(), (Phi.shape[1], K)
    )
    assert -VALUE_TOL < (loss - best.loss) / max(1, abs(loss)) < DESCENT_TOL
    assert best.loss > ss.optimum(method, graph, K, X=Phi).loss + 1e-4  # it costs something
    run = ss.train(method, graph, K, X=X, kernel=None if model == "linear" else KERNEL, ridge=r)
    assert abs(run.loss - best.loss) < 1e-9 * max(1, abs(best.loss))
    assert sine(run.embedding.Z, best.embedding.Z) < 1e-5
    W = run.embedding.W
    assert W is not None
    assert relative(float(loss_of(torch.tensor(run.embedding.Z), torch.tensor(A))) + c * (W**2).sum(), run.loss) < 1e-9


def test_a_ridge_on_barlow_twins_penalises_correlations() -> None:
    # C_kl = (z_k'Az_l - r w_k'w_l) / sqrt(z_k'Dz_k z_l'Dz_l): the loss stays blind to scale
    X, graph, A = sample(3)
    r, Phi = 0.2, root(rbf(X))
    deg = A.sum(axis=1)
    Xc = torch.tensor(Phi - deg @ Phi / deg.sum())

    def loss_of(W: torch.Tensor) -> torch.Tensor:
        Z = Xc @ W
        M = Z.T @ torch.tensor(A) @ Z - r * W.T @ W
        scale = torch.rsqrt((torch.tensor(deg)[:, None] * Z**2).sum(dim=0))
        C = scale[:, None] * M * scale[None, :]
        return ((C - torch.eye(K)) ** 2).sum()

    best = ss.optimum(ss.BarlowTwins(), graph, K, X=X, kernel=KERNEL, ridge=r)
    loss, _ = naive.minimise(loss_of, (N, K))
    assert -VALUE_TOL < loss - best.loss < DESCENT_TOL
    run = ss.train(ss.BarlowTwins(), graph, K, X=X, kernel=KERNEL, ridge=r)
    assert abs(run.loss - best.loss) < 1e-9


def test_a_ridge_takes_the_shortest_of_maps_that_X_cannot_tell_apart() -> None:
    X, graph, A = sample(4)
    wide = np.hstack([X, X @ np.array([[1.0, 2.0], [0.5, -1.0]]), np.ones((N, 1))])  # rank 2, and a constant
    r, gamma = 2.0, 0.3
    best = ss.optimum(ss.VICReg(invariance=gamma), graph, K, X=wide, ridge=r)
    loss, _ = naive.minimise(
        lambda W: (
            naive.vicreg(torch.tensor(wide) @ W, torch.tensor(A), gamma=gamma) + (2 * gamma * r / N) * (W**2).sum()
        ),
        (5, K),
    )
    assert -VALUE_TOL < loss - best.loss < DESCENT_TOL


# --- features ---------------------------------------------------------------------------------------------------------


def test_exact_features_reproduce_the_kernel_on_any_pair_of_samples_of_its_span() -> None:
    X, _, _ = sample()
    phi = kernels.exact(X, bandwidth=BANDWIDTH)
    new = np.random.default_rng(1).uniform(-1, 1, (5, 2))
    assert np.abs(phi(X) @ phi(X).T - rbf(X)).max() < ROUND * 100
    assert np.abs(phi(new) @ phi(X).T - rbf(new, X)).max() < 1e-9  # condition of K
    assert phi.n_features == N


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({"kernel": "polynomial", "degree": 2}, lambda X: polynomial_kernel(X, degree=2, gamma=1.0, coef0=1.0)),
        ({"kernel": "linear"}, lambda X: X @ X.T),
        (
            {"kernel": "laplacian", "bandwidth": 0.5},
            lambda X: np.exp(-np.abs(X[:, None] - X[None]).sum(axis=2) / 0.5),
        ),
        (
            {"kernel": "cosine"},
            lambda X: (X @ X.T) / np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(X, axis=1)),
        ),
        ({"kernel": lambda X, Y: (1 + X @ Y.T) ** 3}, lambda X: (1 + X @ X.T) ** 3),
    ],
    ids=["polynomial", "linear", "laplacian", "cosine", "function"],
)
def test_kernels_by_name_are_their_formulas(options: dict, reference: object) -> None:
    X, _, _ = sample()
    K_ = reference(X)  # type: ignore[operator]
    phi = kernels.exact(X, **options)
    assert np.abs(phi(X) @ phi(X).T - K_).max() < 1e-10 * np.abs(K_).max()
    assert phi.n_features == np.linalg.matrix_rank(K_, tol=1e-11 * np.abs(K_).max())


def test_nystroem_features_agree_with_scikit_learn_and_become_exact() -> None:
    X, _, _ = sample()
    phi = kernels.nystroem(X, n_landmarks=6, bandwidth=BANDWIDTH, seed=3)
    chosen = np.sort(np.random.default_rng(3).choice(N, size=6, replace=False))
    C, W = rbf(X, X[chosen]), rbf(X[chosen])
    assert np.abs(phi(X) @ phi(X).T - C @ np.linalg.solve(W, C.T)).max() < 1e-8  # condition of W
    theirs = SklearnNystroem(gamma=1 / (2 * BANDWIDTH**2), n_components=N, random_state=0).fit_transform(X)
    ours = kernels.nystroem(X, n_landmarks=N, bandwidth=BANDWIDTH)(X)
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() < 1e-9


def test_random_features_converge_to_the_kernel_at_their_rate() -> None:
    X, _, _ = sample()

    def error(p: int) -> float:
        draws = [kernels.random_features(X, n_features=p, bandwidth=BANDWIDTH, seed=s)(X) for s in range(20)]
        return float(np.mean([np.abs(P @ P.T - rbf(X)).mean() for P in draws]))

    small, large = error(50), error(5000)
    assert 8 < small / large < 12.5  # 1 / sqrt(p): a hundredfold p is a tenth of the error
    assert large < 0.02


def test_more_landmarks_never_cost() -> None:
    X, graph, _ = sample()
    losses = [
        ss.optimum(ss.VICReg(invariance=0.3), graph, K, X=X, kernel=f"nystroem(n_landmarks={m}, bandwidth=0.6)").loss
        for m in (3, 14)
    ]
    exact = ss.optimum(ss.VICReg(invariance=0.3), graph, K, X=X, kernel=KERNEL).loss
    assert losses[0] > losses[1] > exact - VALUE_TOL
    assert relative(losses[1], exact) < VALUE_TOL


def test_the_default_bandwidth_is_the_median_distance() -> None:
    X, _, _ = sample()
    distances = [np.linalg.norm(X[i] - X[j]) for i in range(N) for j in range(i)]
    assert float(kernels.exact(X).text.split("bandwidth=")[1][:-1]) == pytest.approx(np.median(distances), rel=ROUND)


def test_far_from_the_origin_a_kernel_keeps_its_digits() -> None:
    X, _, _ = sample()
    far = kernels.exact(X + 1e5, bandwidth=BANDWIDTH)(X + 1e5)
    assert np.abs(far @ far.T - rbf(X)).max() < 1e-9  # 1e5 has eleven digits left of the differences


@pytest.mark.parametrize("kernel", ["exact(kernel=linear)", "nystroem(kernel=linear, n_landmarks=9)"])
def test_the_linear_kernel_is_the_linear_model_however_far_from_the_origin(kernel: str) -> None:
    # K of rows at 1e6 is 1e12 and a spread of 1: square roots of its matrix lose the spread
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 4))
    graph = ss.relations.knn(X, n_neighbors=4)
    method = ss.VICReg(invariance=0.05)
    far = ss.optimum(method, graph, 3, X=X + 1e6, kernel=kernel)
    L = np.diag(graph.to_csr().toarray().sum(axis=1)) - graph.to_csr().toarray()
    C = X - X.mean(axis=0)
    mu = scipy.linalg.eigh(C.T @ L @ C, C.T @ C, eigvals_only=True)
    witness = 3 - (np.maximum(0, 1 - 0.05 * mu[:3]) ** 2).sum()
    assert abs(far.loss - witness) < 1e-7  # X + 1e6 has ten digits left of X


def test_linear_and_cosine_kernels_of_more_features_than_rows_keep_to_the_span_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    X, new = rng.standard_normal((6, 9)), rng.standard_normal((3, 9))
    for kernel, reference in [("linear", lambda A, B: A @ B.T), ("cosine", sklearn_cosine)]:
        phi = kernels.exact(X, kernel=kernel)
        assert phi.n_features == 6
        assert np.abs(phi(new) @ phi(X).T - reference(new, X)).max() < 1e-12
        few = kernels.nystroem(X, kernel=kernel, n_landmarks=4, seed=1)
        L = X[np.sort(np.random.default_rng(1).choice(6, size=4, replace=False))]
        projected = reference(new, L) @ np.linalg.solve(reference(L, L), reference(L, X))
        assert np.abs(few(new) @ few(X).T - projected).max() < 1e-11


def test_a_polynomial_kernel_tells_of_directions_that_the_mean_hides() -> None:
    X = np.random.default_rng(0).standard_normal((40, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels.exact(X, kernel="polynomial", degree=2).n_features == 15  # monomials of 4 variables up to 2
        binary = (X > 0).astype(float)  # x^2 = x, so 11 of them only: nothing is hidden
        assert kernels.exact(binary, kernel="polynomial", degree=2).n_features == 11
    for hidden in (X + 1e4, X * [1e5, 1, 1, 1]):
        with pytest.warns(ss.SpectralWarning, match="of the 15 directions .* standardise"):
            assert kernels.exact(hidden, kernel="polynomial", degree=2).n_features < 15


@pytest.mark.parametrize(
    "kernel",
    [
        "exact",
        "laplacian",
        "exact(kernel=polynomial, bandwidth=1.7)",
        "nystroem(n_landmarks=6, seed=2)",
        "nystroem(kernel=cosine, n_landmarks=5)",
        "random_features(n_features=20, seed=3)",
        "linear",
    ],
)
def test_a_map_is_rebuilt_from_its_text_and_from_its_pickle(kernel: str) -> None:
    X, graph, _ = sample()
    new = np.random.default_rng(1).uniform(-1, 1, (5, 2))
    phi = kernels.feature_map(kernel, X)
    again = kernels.feature_map(phi.text, X)
    assert again.text == phi.text
    assert np.array_equal(again(new), phi(new))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.SpectralWarning)
        e = ss.optimum(ss.VICReg(invariance=0.3), graph, 2, X=X, kernel=kernel).embedding
    assert np.array_equal(pickle.loads(pickle.dumps(e)).transform(new), e.transform(new))


def test_no_samples_have_no_features_and_a_dataset_is_its_rows() -> None:
    X, _, _ = sample()
    for kernel in ("exact", "linear", "random_features"):
        phi = kernels.feature_map(kernel, ss.Dataset(name="mine", X=X))
        assert phi(X[:0]).shape == (0, phi.n_features)
        assert np.array_equal(phi(ss.Dataset(name="mine", X=X)), phi(X))


def test_of_mostly_equal_rows_the_bandwidth_is_the_median_of_the_distances_that_are_not_zero() -> None:
    X = np.array([0.0] * 9 + [2.0])[:, None]
    assert "bandwidth=2.0" in kernels.exact(X).text


def test_planning_refuses_what_building_refuses_and_knows_the_size() -> None:
    X, _, _ = sample()
    for bad in (
        "random_features(n_features=-5)",
        "nystroem(n_landmarks=0)",
        "rbf(bandwidth=-1)",
        "linear(bandwidth=2)",
        "polynomial(degree=0)",
        "rbf(degree=2)",
        "nystroem(seed=-1)",
        "nystroem(n_landmarks=7000)",
        "random_features(n_features=1000000000)",
    ):
        told = []
        for call in (lambda k: kernels.planned_features(k, N, 2), lambda k: kernels.feature_map(k, X)):
            with pytest.raises((ss.DataError, ss.ResourceError)) as error:
                call(bad)
            told.append((type(error.value), str(error.value)))
        assert told[0] == told[1]
    for good in (
        "exact",
        "linear",
        "nystroem(n_landmarks=5)",
        "nystroem(kernel=linear)",
        "random_features(n_features=9)",
    ):
        assert kernels.planned_features(good, N, 2) == kernels.feature_map(good, X).n_features


BAD = [
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, X=X, kernel="rbff"), "did you mean"),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, model="kernel"), "pass X="),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, kernel="exact"), "pass X="),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, X=X, model="linear", kernel="exact"), "model='kernel'"),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, X=X, model="free"), "leave X"),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, X=X, model="neural"), "choose one of free, linear, kernel"),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, ridge=0.1), "there is none"),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, X=X, ridge=-1), ">= 0"),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 2, X=X, ridge="much"), ">= 0"),
    (lambda X, g: ss.optimum(ss.VICReg(), ss.Spectra(g, X=X), 2, ridge=0.1), "already fix"),
    (lambda X, g: ss.optimum(ss.VICReg(), ss.Spectra(g, X=X), 2, model="kernel"), "linear model"),
    (lambda X, g: ss.optimum(ss.VICReg(), g, 9, X=X, kernel="nystroem(n_landmarks=5)"), "features of the kernel"),
    (lambda X, g: ss.train(ss.SimCLR(), g, 2, X=X, ridge=0.1), "set ridge=0"),
    (lambda X, g: kernels.exact(X, bandwidth=0.0), "above 0"),
    (lambda X, g: kernels.exact(X, kernel="linear", bandwidth=1.0), "no meaning"),
    (lambda X, g: kernels.exact(X, kernel=lambda a, b: -a @ b.T), "positive semi-definite"),
    (lambda X, g: kernels.exact(X, kernel=lambda a, b: a), "must return"),
    (lambda X, g: kernels.exact(X, kernel=lambda a, b: a @ b.T * np.nan), "NaN"),
    (lambda X, g: kernels.exact(X, kernel="polynomial", degree=0), "degree"),
    (lambda X, g: kernels.exact(np.ones((5, 2))), "bandwidth"),
    (lambda X, g: kernels.exact(X)(X[:, :1]), "2 features"),
    (lambda X, g: kernels.exact(X)(X * np.nan), "NaN"),
    (lambda X, g: kernels.exact(np.full((4, 2), np.inf)), "infinite"),
    (lambda X, g: kernels.nystroem(X, n_landmarks=0), "n_landmarks must be a whole number at least 1"),
    (lambda X, g: kernels.random_features(X, n_features=-1), "n_features must be a whole number at least 1"),
    (lambda X, g: kernels.random_features(X, seed=-1), "seed"),
    (lambda X, g: kernels.exact(X, bandwidth="a"), "bandwidth must be a number"),
    (lambda X, g: kernels.exact(X, degree=5), "degree=5 belongs to kernel='polynomial'"),
    (lambda X, g: kernels.exact(X, kernel="linear", degree=2), "degree=2 belongs"),
    (lambda X, g: kernels.nystroem(X, kernel=lambda a, b: a @ b.T, degree=2), "degree=2 belongs"),
    (lambda X, g: kernels.exact(X, kernel=lambda a, b: a @ [[1, 2], [0, 1]] @ b.T), "not symmetric"),
    (lambda X, g: kernels.exact(X, kernel=lambda a, b: 0 * a @ b.T), "zero between all rows"),
    (lambda X, g: kernels.exact(0 * X, kernel="linear"), "zero between all rows"),
    (lambda X, g: kernels.exact([["a", "b"], ["c", "d"]]), "not a number"),
    (lambda X, g: kernels.exact(scipy.sparse.csr_array(X)), "sparse"),
    (lambda X, g: kernels.exact(X)(X[0]), "reshape"),
]


@pytest.mark.parametrize(("call", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_input_is_refused_in_words(call: object, words: str) -> None:
    X, graph, _ = sample()
    with pytest.raises(ss.DataError, match=words):
        call(X, graph)  # type: ignore[operator]


def test_an_exact_kernel_too_large_names_the_alternatives() -> None:
    with pytest.raises(ss.ResourceError, match="nystroem"):
        kernels.exact(np.zeros((kernels.EXACT_MAX + 1, 1)))
