"""Synthetic data sets whose answers are known on paper; the answers travel in `meta`.

Every function takes keyword options and, where it draws numbers, a `seed`. Covariances are population values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spectral_ssl.data._checks import FloatArray, as_labels, as_matrix, check_int, check_real, generator
from spectral_ssl.data.dataset import Dataset
from spectral_ssl.errors import DataError

__all__ = ["cliques", "couple", "cycle", "gaussian_mixture", "latent_two_view", "path", "rings", "swiss_roll"]

MAX_EIGENVECTORS = 256  # columns of known eigenvectors kept, and at most
MAX_ENTRIES = 2**22  # entries in all (32 MiB): N x N of them would not fit for large N


# --- graphs with a known Laplacian spectrum --------------------------------------------------------------------------


def path(*, n_samples: int = 64) -> Dataset:
    """N points on a line, X = (0, 1, ..., N-1)'; joined to their neighbours they are the path graph.

    Its Laplacian L = diag(A 1) - A has, for k = 0 .. N-1,

        eigenvalue   2 - 2 cos(pi k / N)
        eigenvector  v_k(i) = c_k cos(pi k (i + 1/2) / N),   c_0 = sqrt(1/N), c_k = sqrt(2/N)     (DCT-II)

    meta: `pairs` (N-1, 2), `laplacian_eigenvalues` (N,) increasing, `laplacian_eigenvectors` (N, min(N, 256)) unit
    columns, fewer where N > 16,384.

    Raises:
        DataError: n_samples below 2.
    """
    N = check_int(n_samples, "path: n_samples", low=2)
    i = np.arange(N)
    k = np.arange(min(N, MAX_EIGENVECTORS, max(2, MAX_ENTRIES // N)))
    vectors = np.cos(np.pi * (i[:, None] + 0.5) * k / N) * np.where(k == 0, np.sqrt(1 / N), np.sqrt(2 / N))
    return Dataset(
        name="path",
        X=i[:, None].astype(float),
        meta={
            "pairs": np.column_stack([i[:-1], i[1:]]),
            "laplacian_eigenvalues": 2 - 2 * np.cos(np.pi * i / N),
            "laplacian_eigenvectors": vectors,
            "full_set_only": ("pairs", "laplacian_eigenvalues", "laplacian_eigenvectors"),
        },
    )


def cycle(*, n_samples: int = 64) -> Dataset:
    """N points on the unit circle, x_i = (cos, sin)(2 pi i / N); joined to both neighbours they are the cycle graph.

    Its Laplacian L = diag(A 1) - A has the eigenvalues 2 - 2 cos(2 pi k / N), k = 0 .. N-1, in pairs; the columns of X
    span the eigenspace of k = 1 and k = N-1.

    meta: `pairs` (N, 2), `laplacian_eigenvalues` (N,) increasing.

    Raises:
        DataError: n_samples below 3.
    """
    N = check_int(n_samples, "cycle: n_samples", low=3)
    i = np.arange(N)
    angle = 2 * np.pi * i / N
    return Dataset(
        name="cycle",
        X=np.column_stack([np.cos(angle), np.sin(angle)]),
        meta={
            "pairs": np.column_stack([i, (i + 1) % N]),
            "laplacian_eigenvalues": np.sort(2 - 2 * np.cos(angle)),
            "full_set_only": ("pairs", "laplacian_eigenvalues"),
        },
    )


def cliques(
    *, n_cliques: int = 5, clique_size: int = 8, n_features: int = 4, noise: float = 0.1, seed: int = 0
) -> Dataset:
    """n originals with V views each: x = centre of its clique + noise * N(0, I), centres drawn from N(0, I).

    source = y = clique. With every two rows of a clique joined by weight 1 and a zero diagonal,
    L = diag(A 1) - A has the eigenvalue 0 (n times) and V (n (V-1) times); the `views` relation divides the weights by
    V - 1 and the eigenvalues with them.

    meta: `laplacian_eigenvalues` (N,) of the 0/1 cliques, increasing.

    Raises:
        DataError: Fewer than 1 clique, fewer than 2 rows per clique, n_features below 1, negative noise.
    """
    n = check_int(n_cliques, "cliques: n_cliques", low=1)
    V = check_int(clique_size, "cliques: clique_size", low=2)
    D = check_int(n_features, "cliques: n_features", low=1)
    scale = check_real(noise, "cliques: noise", low=0)
    rng = generator(seed, "cliques")
    clique = np.repeat(np.arange(n), V)
    return Dataset(
        name="cliques",
        X=rng.standard_normal((n, D))[clique] + scale * rng.standard_normal((n * V, D)),
        y=clique,
        source=clique,
        meta={
            "laplacian_eigenvalues": np.repeat([0.0, V], [n, n * (V - 1)]),
            "full_set_only": ("laplacian_eigenvalues",),
            "seed": seed,
        },
    )


# --- clusters and manifolds ------------------------------------------------------------------------------------------


def gaussian_mixture(
    *, n_samples: int = 500, n_classes: int = 4, n_features: int = 10, separation: float = 4.0, seed: int = 0
) -> Dataset:
    """C balanced classes N(m_c, I), the centres m_c on a regular simplex: |m_a - m_b| = separation for all a != b.

    Within-class covariance I; between-class covariance (1/C) sum_c (m_c - m)(m_c - m)' has the eigenvalue
    separation^2 / (2 C), C - 1 times, on the span of the centred means and 0 elsewhere. These are the population values
    of LDA's generalised eigenproblem (S_b, S_w). For two classes the best possible accuracy is Phi(separation / 2).

    meta: `centres` (C, D), `fisher_eigenvalues` (C-1,), `discriminant_basis` (D, C-1) with orthonormal columns.

    Raises:
        DataError: n_classes below 2, fewer samples than classes, n_features below n_classes - 1 (no room for the
            simplex), negative separation.
    """
    C = check_int(n_classes, "gaussian_mixture: n_classes", low=2)
    N = check_int(n_samples, "gaussian_mixture: n_samples", low=C)
    D = check_int(n_features, "gaussian_mixture: n_features", low=1)
    if D < C - 1:
        raise DataError(
            f"gaussian_mixture: {C} equally distant centres need at least {C - 1} features, got n_features={D}; "
            f"raise n_features or lower n_classes to {D + 1}"
        )
    distance = check_real(separation, "gaussian_mixture: separation", low=0)
    rng = generator(seed, "gaussian_mixture")
    basis = _orthonormal(rng, D, C - 1)
    centres = distance / np.sqrt(2) * _helmert(C) @ basis.T
    y = rng.permutation(np.arange(N) % C)
    return Dataset(
        name="gaussian_mixture",
        X=centres[y] + rng.standard_normal((N, D)),
        y=y,
        meta={
            "centres": centres,
            "fisher_eigenvalues": np.full(C - 1, distance**2 / (2 * C)),
            "discriminant_basis": basis,
            "seed": seed,
        },
    )


def swiss_roll(*, n_samples: int = 1000, noise: float = 0.05, seed: int = 0) -> Dataset:
    """A rolled-up sheet: x = (t cos t, h, t sin t) + noise * N(0, I), t in [1.5 pi, 4.5 pi], h in [0, 21].

    t and h are uniform. y is the position along the roll, its arc length s(t) = (t sqrt(1 + t^2) + asinh t) / 2,
    counted from t = 1.5 pi. (s, h) are the isometric flat coordinates: what Isomap recovers up to a rigid motion.

    meta: `unrolled` (N, 2), the flat coordinates.

    Raises:
        DataError: n_samples below 2, negative noise.
    """
    N = check_int(n_samples, "swiss_roll: n_samples", low=2)
    scale = check_real(noise, "swiss_roll: noise", low=0)
    rng = generator(seed, "swiss_roll")
    start = 1.5 * np.pi
    t = start * (1 + 2 * rng.random(N))
    height = 21 * rng.random(N)
    position = _spiral_length(t) - _spiral_length(np.array(start))
    X = np.column_stack([t * np.cos(t), height, t * np.sin(t)])
    return Dataset(
        name="swiss_roll",
        X=X + scale * rng.standard_normal(X.shape),
        y=position,
        meta={"unrolled": np.column_stack([position, height]), "full_set_only": ("unrolled",), "seed": seed},
    )


def rings(
    *, n_samples: int = 600, n_rings: int = 3, spacing: float = 1.0, noise: float = 0.05, seed: int = 0
) -> Dataset:
    """Concentric circles: x = spacing * (c + 1) * (cos, sin)(theta) + noise * N(0, I), theta uniform, y = ring c.

    Balanced (counts differ by at most 1). No linear map separates the rings; a neighbour graph does.

    meta: `radii` (n_rings,).

    Raises:
        DataError: n_rings below 1, fewer samples than rings or than 2, spacing not positive, negative noise.
    """
    n = check_int(n_rings, "rings: n_rings", low=1)
    N = check_int(n_samples, "rings: n_samples", low=max(n, 2))
    step = check_real(spacing, "rings: spacing", low=0, open_low=True)
    scale = check_real(noise, "rings: noise", low=0)
    rng = generator(seed, "rings")
    radii = step * np.arange(1, n + 1)
    y = rng.permutation(np.arange(N) % n)
    theta = 2 * np.pi * rng.random(N)
    X = radii[y, None] * np.column_stack([np.cos(theta), np.sin(theta)])
    return Dataset(name="rings", X=X + scale * rng.standard_normal(X.shape), y=y, meta={"radii": radii, "seed": seed})


# --- two modalities --------------------------------------------------------------------------------------------------


def couple(
    Xa: npt.ArrayLike,  # (N, Da)
    Xb: npt.ArrayLike,  # (N, Db), row i describes the same object as row i of Xa
    y: npt.ArrayLike | None = None,  # (N,)
    *,
    center: bool = True,
    name: str = "coupled",
) -> Dataset:
    """Two modalities of the same N objects as one Dataset of 2N rows and Da + Db features.

        X = [ Xa  0  ]      source   = 0 .. N-1, 0 .. N-1
            [ 0   Xb ]      modality = 0 (first N rows), 1 (last N rows)

    Each modality is centred first (`center=False` keeps it as given); y is repeated. With the pair (i, N + i) for every
    object, weight 1, A = [[0, I], [I, 0]] and diag(deg) = I, so

        X'AX = [ 0      Xa'Xb ]      X' diag(deg) X = [ Xa'Xa  0     ]
               [ Xb'Xa  0     ]                       [ 0      Xb'Xb ]

    are the cross- and auto-covariance blocks (times N): the eigenvalues of this generalised problem are the canonical
    correlations of Xa and Xb and their negatives. CCA is the linear optimum on this data set.

    meta: `mean_a` (Da,), `mean_b` (Db,) that were subtracted (zeros without centring), `n_features` (Da, Db).

    Raises:
        DataError: Different numbers of rows, or arrays or labels that `Dataset` refuses.
    """
    A = as_matrix(Xa, f"data {name!r}: first modality")
    B = as_matrix(Xb, f"data {name!r}: second modality")
    if len(A) != len(B):
        raise DataError(
            f"data {name!r}: the modalities have {len(A):,} and {len(B):,} rows; row i of both must be the same object"
        )
    N, Da = A.shape
    mean_a = A.mean(axis=0) if center else np.zeros(Da)
    mean_b = B.mean(axis=0) if center else np.zeros(B.shape[1])
    X = np.zeros((2 * N, Da + B.shape[1]))
    X[:N, :Da] = A - mean_a
    X[N:, Da:] = B - mean_b
    labels = None if y is None else as_labels(y, N, f"data {name!r}")
    return Dataset(
        name=name,
        X=X,
        y=None if labels is None else np.concatenate([labels, labels]),
        source=np.tile(np.arange(N), 2),
        modality=np.repeat([0, 1], N),
        meta={"mean_a": mean_a, "mean_b": mean_b, "n_features": (Da, B.shape[1])},
    )


def latent_two_view(
    *,
    n_samples: int = 1000,
    correlations: Sequence[float] = (0.9, 0.7, 0.4),
    n_features: tuple[int, int] = (8, 6),
    seed: int = 0,
) -> Dataset:
    """Two modalities of a linear latent Gaussian model whose population canonical correlations are `correlations`.

    For k = 1 .. len(correlations), with shared z ~ N(0, I) and private e, e' ~ N(0, I),

        u_k = sqrt(rho_k) z_k + sqrt(1 - rho_k) e_k,    v_k = sqrt(rho_k) z_k + sqrt(1 - rho_k) e'_k

    so Var u_k = Var v_k = 1 and Cov(u_k, v_k) = rho_k; the other coordinates of u (Da) and v (Db) are independent N(0,
    1). The modalities are xa = Ma u and xb = Mb v, with fixed invertible mixing matrices of condition number 4. Hence

        Cov(xa) = Ma Ma',   Cov(xb) = Mb Mb',   Cov(xa, xb) = Ma diag(rho, 0) Mb'

    and the canonical correlations are rho followed by zeros. The rows are stacked by `couple`, each modality centred.

    meta: `canonical_correlations` (len,) decreasing; `covariance_a` (Da, Da), `covariance_b` (Db, Db),
    `cross_covariance` (Da, Db); `directions_a` (Da, len) and `directions_b` (Db, len) whose columns give the canonical
    variates.

    Raises:
        DataError: A correlation outside [0, 1], none at all, more correlations than features of a modality, n_samples
            below 2.
    """
    what = "latent_two_view"
    N = check_int(n_samples, f"{what}: n_samples", low=2)
    rho = np.array(
        [check_real(value, f"{what}: each correlation", low=0, high=1) for value in _entries(correlations, what)]
    )
    rho = np.sort(rho)[::-1]
    if len(_entries(n_features, what)) != 2:
        raise DataError(f"{what}: n_features must be two whole numbers (Da, Db), got {n_features!r}")
    Da, Db = (check_int(value, f"{what}: each entry of n_features", low=1) for value in n_features)
    K = len(rho)
    if not 1 <= K <= min(Da, Db):
        raise DataError(
            f"{what}: {K} correlations with n_features={(Da, Db)}; between 1 and {min(Da, Db)} correlations fit, raise "
            "n_features for more"
        )
    rng = generator(seed, what)
    Ma, Mb = _mixing(rng, Da), _mixing(rng, Db)
    U, V = rng.standard_normal((N, Da)), rng.standard_normal((N, Db))
    shared = np.sqrt(rho) * rng.standard_normal((N, K))
    U[:, :K] = shared + np.sqrt(1 - rho) * U[:, :K]
    V[:, :K] = shared + np.sqrt(1 - rho) * V[:, :K]
    coupled = couple(U @ Ma.T, V @ Mb.T, name="latent_two_view")
    answers = {
        "canonical_correlations": rho,
        "covariance_a": Ma @ Ma.T,
        "covariance_b": Mb @ Mb.T,
        "cross_covariance": Ma[:, :K] * rho @ Mb[:, :K].T,
        "directions_a": np.linalg.inv(Ma).T[:, :K],
        "directions_b": np.linalg.inv(Mb).T[:, :K],
        "seed": seed,
    }
    return Dataset(
        name=coupled.name,
        X=coupled.X,
        source=coupled.source,
        modality=coupled.modality,
        meta={**coupled.meta, **answers},
    )


# --- pieces ----------------------------------------------------------------------------------------------------------


def _entries(values: object, what: str) -> list[Any]:
    try:
        return list(values)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        raise DataError(
            f"{what}: expected a sequence of numbers, got {values!r}; write ({values!r},) for one"
        ) from None


def _orthonormal(rng: np.random.Generator, n_rows: int, n_columns: int) -> FloatArray:
    """Orthonormal columns in general position, (n_rows, n_columns)."""
    Q, _ = np.linalg.qr(rng.standard_normal((n_rows, n_columns)))
    return Q


def _helmert(n: int) -> FloatArray:
    """(n, n-1) orthonormal columns orthogonal to 1: the rows are vertices of a regular simplex, sqrt(2) apart."""
    H = np.zeros((n, n - 1))
    for k in range(1, n):
        H[:k, k - 1] = 1
        H[k, k - 1] = -k
        H[:, k - 1] /= np.sqrt(k * (k + 1))
    return H


def _mixing(rng: np.random.Generator, n: int) -> FloatArray:
    """Q1 diag(s) Q2' with s from 1/2 to 2: invertible, condition number 4 (1 for n = 1)."""
    scales = np.geomspace(0.5, 2.0, n)
    mixed: FloatArray = _orthonormal(rng, n, n) * scales @ _orthonormal(rng, n, n).T
    return mixed


def _spiral_length(t: FloatArray) -> FloatArray:
    """Arc length of the spiral (t cos t, t sin t) from 0 to t."""
    length: FloatArray = (t * np.sqrt(1 + t**2) + np.arcsinh(t)) / 2
    return length
