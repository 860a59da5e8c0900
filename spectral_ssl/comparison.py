"""How alike are two embeddings? Metrics blind to rotation, and probes on held-out rows.

Adding a metric takes a function of two embeddings and its line in `METRICS`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError
from spectral_ssl.linalg import principal_sines, range_basis, svd
from spectral_ssl.linalg import rank as numerical_rank

__all__ = [
    "GAP_JUDGED",
    "METRICS",
    "align",
    "compare",
    "effective_rank",
    "exact_rank",
    "knn_score",
    "linear_probe",
    "linear_probe_score",
    "principal_angles",
    "scaled",
]

GAP_JUDGED = 1e-3  # an angle is judged only where the relative eigenvalue gap is at least this
RANK_TOL = 1e-6  # a singular value of a trained embedding below this share of the largest has not been used


def compare(first: Any, second: Any) -> dict[str, float]:
    """Every metric of `METRICS` between two embeddings of the same samples, Embedding records or arrays (N, K).

    The second is the reference: where it is an optimum of rank r, angles compare its range with the top-r left singular
    subspace of the first. Raises DataError where the numbers of samples differ or an entry is not finite.
    """
    a, b = _as_embedding(first, "the first embedding"), _as_embedding(second, "the second embedding")
    if a.Z.shape[0] != b.Z.shape[0]:
        raise DataError(f"embeddings of {a.Z.shape[0]} and {b.Z.shape[0]} samples cannot be compared")
    return {name: metric(a, b) for name, metric in METRICS.items()}


def exact_rank(Z: Array) -> int:
    """Singular values of Z (N, K) above 1e-6 of the largest."""
    s = svd(Z)[1]
    return int(np.count_nonzero(s > RANK_TOL * s[0])) if s.size and s[0] > 0 else 0


def effective_rank(Z: Array) -> float:
    """exp of the entropy of the normalised singular values of Z (RankMe, Garrido et al. 2023); 0 for Z = 0."""
    s = svd(Z)[1]
    if not s.size or s[0] == 0:
        return 0.0
    p = s / s.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def principal_angles(first: Any, second: Any) -> Array:
    """Principal angles in radians, largest first, between the ranges of two embeddings (see `compare`).

    As many as the reference has directions: one that the first embedding lacks, having fewer columns or collapsed ones,
    is a right angle. Taken from sines, so that angles below 1.5e-8 are seen too. Empty where the reference is zero.
    """
    a, b = _as_embedding(first, "the first embedding"), _as_embedding(second, "the second embedding")
    r = b.rank if b.rank is not None else exact_rank(b.Z)
    found = min(r, numerical_rank(a.Z))
    U, V = range_basis(a.Z, found)[0], range_basis(b.Z, r)[0]
    return np.concatenate([np.full(r - found, np.pi / 2), np.arcsin(principal_sines(U, V))])


def align(Z: Array, reference: Array) -> Array:
    """Z moved onto the reference by the best rotation and one scale (orthogonal Procrustes); (N, K) each, centred."""
    unit = _unit(reference)
    moved: Array = _rotated(Z / _unit(Z), reference / unit)[0][:, : reference.shape[1]] * unit
    return moved


def _rotated(Z: Array, reference: Array) -> tuple[Array, Array]:
    """Z moved onto the reference, and the reference centred; both (N, K) with K the larger number of columns."""
    A, B = _padded(Z - Z.mean(axis=0), reference - reference.mean(axis=0))
    U, s, Vt = svd(A.T @ B)
    size = float((A**2).sum())
    return A @ (U @ Vt) * (float(s.sum()) / size if size > 0 else 0.0), B


def _max_angle(a: Embedding, b: Embedding) -> float:
    """Largest principal angle in radians; nan where the reference is collapsed."""
    angles = principal_angles(a, b)
    return float(angles.max()) if angles.size else float("nan")


def _procrustes(a: Embedding, b: Embedding) -> float:
    """|Z1 Q c - Z2|^2 / |Z2|^2 after the best rotation Q and scale c, both centred: 0 is equal, 1 is unrelated.

    The embedding with fewer columns is padded by zero ones.
    """
    A, B = _rotated(a.Z / _unit(a.Z), b.Z / _unit(b.Z))
    size = float((B**2).sum())
    return float(((A - B) ** 2).sum()) / size if size > 0 else float("nan")


def _linear_cka(a: Embedding, b: Embedding) -> float:
    """|Z1'H Z2|_F^2 / (|Z1'H Z1|_F |Z2'H Z2|_F) (Kornblith et al. 2019): 1 is equal up to rotation and scale."""
    A, B = a.Z - a.Z.mean(axis=0), b.Z - b.Z.mean(axis=0)
    A, B = A / _unit(A), B / _unit(B)
    size = float(np.linalg.norm(A.T @ A) * np.linalg.norm(B.T @ B))
    return float(((A.T @ B) ** 2).sum()) / size if size > 0 else float("nan")


def _leftover(a: Embedding, b: Embedding) -> float:
    """Singular value of the first past the rank of the reference, relative to its largest: what should be zero."""
    r = b.rank if b.rank is not None else exact_rank(b.Z)
    s = svd(a.Z)[1]
    return float(s[r] / s[0]) if r < s.size and s[0] > 0 else 0.0


def _spectrum_distance(a: Embedding, b: Embedding) -> float:
    """Largest difference between the singular values of both, relative to the largest of the reference."""
    s, t = svd(a.Z)[1], svd(b.Z)[1]
    n = max(s.size, t.size)
    s, t = np.pad(s, (0, n - s.size)), np.pad(t, (0, n - t.size))
    return float(np.abs(s - t).max() / t[0]) if t.size and t[0] > 0 else float("nan")


def _as_embedding(Z: Any, name: str) -> Embedding:
    Z = getattr(Z, "embedding", Z)  # of an Optimum or a TrainResult
    try:
        array = np.asarray(Z.Z if isinstance(Z, Embedding) else Z, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be an embedding or an array (N, K), got {type(Z).__name__}") from error
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise DataError(f"{name} has shape {array.shape}, expected (N, K) with at least 2 samples and 1 component")
    if not np.all(np.isfinite(array)):
        raise DataError(f"{name} holds {np.count_nonzero(~np.isfinite(array))} NaN or infinite values")
    return Z if isinstance(Z, Embedding) else Embedding(Z=array)


def _unit(Z: Array) -> float:
    """The power of two below the largest entry: divided by it no digit changes, and powers of entries are numbers."""
    largest = float(np.abs(Z).max(initial=0.0))
    return float(np.ldexp(1.0, int(np.frexp(largest)[1]) - 1)) if largest > 0 else 1.0


def _padded(A: Array, B: Array) -> tuple[Array, Array]:
    K = max(A.shape[1], B.shape[1])
    return tuple(np.hstack([M, np.zeros((M.shape[0], K - M.shape[1]))]) for M in (A, B))  # type: ignore[return-value]


# --- probes ---------------------------------------------------------------------------------------------------------


def scaled(Z_train: Array, Z_test: Array) -> tuple[Array, Array]:
    """Both centred at the mean of the training rows and divided by their one size, the root of the mean |z - mean|^2.

    One size for all columns: what a probe says must not depend on the rotation an optimum leaves free.
    """
    mean = Z_train.mean(axis=0)
    A, B = Z_train - mean, Z_test - mean
    unit = _unit(A)
    A, B = A / unit, B / unit
    size = float(np.sqrt((A**2).sum(axis=1).mean())) or 1.0
    return A / size, B / size


def _checked(Z_train: Any, y_train: Any, Z_test: Any, y_test: Any) -> tuple[Array, Array]:
    """Both `scaled`; DataError for rows that do not fit each other or their labels."""
    try:
        A, B = (np.asarray(Z, dtype=np.float64) for Z in (Z_train, Z_test))
        n_train, n_test = len(y_train), len(y_test)
    except (TypeError, ValueError):
        raise DataError("a probe needs embeddings of numbers (n, K), and a label for each of their rows") from None
    if any(np.asarray(y).dtype.kind == "f" and not np.all(np.isfinite(y)) for y in (y_train, y_test)):
        raise DataError("labels to probe hold NaN or infinite values; leave rows without a label out")
    if A.ndim != 2 or B.ndim != 2 or A.shape[1] != B.shape[1] or not A.size or not B.size:
        raise DataError(f"a probe needs rows of one width to train and to test on, got shapes {A.shape} and {B.shape}")
    if n_train != A.shape[0] or n_test != B.shape[0]:
        raise DataError(
            f"{A.shape[0]} training and {B.shape[0]} test rows need as many labels, got {n_train} and {n_test}"
        )
    if not (np.all(np.isfinite(A)) and np.all(np.isfinite(B))):
        raise DataError("an embedding to probe holds NaN or infinite values")
    return scaled(A, B)


def linear_probe_score(Z_train: Array, y_train: Any, Z_test: Array, y_test: Any, *, classification: bool) -> float:
    """Held-out score of a linear probe: accuracy of logistic regression (L2, C = 100), or R^2 of ridge regression.

    Z is centred and divided by one scale, so the score is the same for every rotation of Z.
    """
    A, B = _checked(Z_train, y_train, Z_test, y_test)
    return float(linear_probe(A, y_train, classification=classification).score(B, y_test))


def linear_probe(Z: Array, y: Any, *, classification: bool) -> Any:
    """The probe itself, fitted to `scaled` rows Z (n, K): scikit-learn's logistic regression (L2, C = 100), or Ridge.

    Raises DataError for labels of one class.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from threadpoolctl import threadpool_limits

    if not classification:
        return Ridge(alpha=1e-3).fit(Z, y)
    if np.unique(y).size < 2:
        raise DataError("a linear probe needs at least two classes among the training labels")
    # thousands of tiny products: BLAS threads that wait for each other cost 20 times the work itself
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.filterwarnings("ignore", category=UserWarning)  # a probe that stops early is still a probe
        return LogisticRegression(C=100.0, max_iter=2000, tol=1e-6).fit(Z, y)


def knn_score(
    Z_train: Array, y_train: Any, Z_test: Array, y_test: Any, *, classification: bool, n_neighbors: int = 5
) -> float:
    """Held-out score of k nearest neighbours: accuracy, or R^2."""
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    kind = KNeighborsClassifier if classification else KNeighborsRegressor
    A, B = _checked(Z_train, y_train, Z_test, y_test)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # as many classes as rows are the caller's to judge
        return float(kind(n_neighbors=min(n_neighbors, A.shape[0])).fit(A, y_train).score(B, y_test))


METRICS: dict[str, Callable[[Embedding, Embedding], float]] = {
    "max_angle": _max_angle,
    "procrustes": _procrustes,
    "linear_cka": _linear_cka,
    "leftover": _leftover,
    "spectrum_distance": _spectrum_distance,
    "rank": lambda a, b: float(exact_rank(a.Z)),
    "effective_rank": lambda a, b: effective_rank(a.Z),
}
