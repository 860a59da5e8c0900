"""Kernels, as the feature maps that make them linear.

The kernel model Z = K^(1/2) B is the linear model Z = Phi B on features with Phi Phi' = K: every closed form, the
moments and training serve it unchanged, new samples are embedded by their features, and |B|_F is the norm of the map in
the kernel's Hilbert space, which `Spectra(ridge=)` penalises.

| kernel          | phi(x)                          | Phi Phi'                                       |
|-----------------|---------------------------------|------------------------------------------------|
| exact           | diag(s)^(-1/2) U'k(X, x)        | K = U diag(s) U' itself, p = rank K            |
| nystroem        | the same on m landmarks         | K_Nm K_mm^+ K_mN (Williams & Seeger 2001)      |
| random_features | sqrt(2/p) cos(Omega'x + b)      | K on average over draws (Rahimi & Recht 2007)  |

Over all samples and without ridge, an exact kernel of full rank is no restriction at all: the optimum is the free one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg, spec
from spectral_ssl.errors import DataError, ResourceError, did_you_mean

__all__ = ["KERNELS", "FeatureMap", "exact", "feature_map", "nystroem", "random_features"]

Array = np.ndarray[Any, np.dtype[np.float64]]
KernelName = Literal["rbf", "laplacian", "polynomial", "linear", "cosine"]

EXACT_MAX = 6000  # rows of an exact kernel: its N x N matrix, eigenvectors and features take 0.9 GB there
RANK_TOL = 1e-12  # eigenvalue of K, relative to the largest, below which a feature would be rounding divided by itself
NOT_PSD = 1e-8  # relative size of a negative eigenvalue that rounding does not explain
MEDIAN_ROWS = 1000  # rows among which the median distance is taken
FUNCTIONS = ("rbf", "laplacian", "polynomial", "linear", "cosine")


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """phi: samples X (n, D) to features (n, p), with phi(x)'phi(y) = k(x, y) as far as `text` promises.

    text: the call string with every option resolved. n_inputs: D. n_features: p. evaluate: the map itself.
    """

    text: str
    n_inputs: int
    n_features: int
    evaluate: Callable[[Array], Array]

    def __call__(self, X: Any) -> Array:
        """Features (n, p) of X (n, D). Raises DataError on another D, NaN or infinite values."""
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_inputs:
            raise DataError(f"X has shape {X.shape}, but the kernel was made for {self.n_inputs} features")
        if not np.all(np.isfinite(X)):
            raise DataError(f"X holds {np.count_nonzero(~np.isfinite(X))} NaN or infinite values")
        return self.evaluate(X)


def exact(
    X: Any,
    *,
    kernel: KernelName | Callable[[Any, Any], Any] = "rbf",
    bandwidth: float | None = None,
    degree: int = 3,
) -> FeatureMap:
    """The kernel itself, by the square root of its matrix over the training rows.

    Args:
        X: training rows (N, D), at most 6,000.
        kernel: rbf exp(-|x-y|^2 / (2 bandwidth^2)), laplacian exp(-|x-y|_1 / bandwidth), polynomial
            (1 + x'y / bandwidth^2)^degree, linear x'y, cosine; in Python also a function k(X, Y) -> (n, m).
        bandwidth: None takes the median distance between rows (1 for polynomial).
        degree: of the polynomial.
    """
    X = _rows(X)
    _check_exact(X.shape[0])
    k, text = _function(X, kernel, bandwidth, degree)
    return _square_root(X, k, f"exact({text})")


def nystroem(
    X: Any,
    *,
    n_landmarks: int = 300,
    kernel: KernelName | Callable[[Any, Any], Any] = "rbf",
    bandwidth: float | None = None,
    degree: int = 3,
    seed: int = 0,
) -> FeatureMap:
    """The kernel projected on the span of landmarks drawn from the rows.

    Args:
        X: training rows (N, D).
        n_landmarks: rows drawn, without replacement; N of them give the exact kernel.
        kernel: as for exact.
        bandwidth: as for exact.
        degree: of the polynomial.
        seed: seed of the draw.
    """
    X = _rows(X)
    if isinstance(n_landmarks, bool) or not isinstance(n_landmarks, int | np.integer) or n_landmarks < 1:
        raise DataError(f"n_landmarks must be a positive integer, got {n_landmarks!r}")
    if n_landmarks > EXACT_MAX:
        raise ResourceError(f"n_landmarks={n_landmarks:,} exceeds the limit of {EXACT_MAX:,}; choose fewer")
    k, text = _function(X, kernel, bandwidth, degree)
    m = min(int(n_landmarks), X.shape[0])
    landmarks = X[np.sort(_generator(seed).choice(X.shape[0], size=m, replace=False))]
    return _square_root(landmarks, k, f"nystroem(n_landmarks={m}, {text}, seed={seed})")


def random_features(X: Any, *, n_features: int = 500, bandwidth: float | None = None, seed: int = 0) -> FeatureMap:
    """Random Fourier features of the rbf kernel.

    Args:
        X: training rows (N, D).
        n_features: p; the error of each entry of Phi Phi' falls as 1 / sqrt(p).
        bandwidth: None takes the median distance between rows.
        seed: seed of the frequencies and phases.
    """
    X = _rows(X)
    if isinstance(n_features, bool) or not isinstance(n_features, int | np.integer) or n_features < 1:
        raise DataError(f"n_features must be a positive integer, got {n_features!r}")
    p, width = int(n_features), _bandwidth(X, bandwidth)
    rng = _generator(seed)
    Omega = rng.standard_normal((X.shape[1], p)) / width
    b = rng.uniform(0, 2 * np.pi, size=p)

    def evaluate(X: Array) -> Array:
        out: Array = np.sqrt(2 / p) * np.cos(X @ Omega + b)
        return out

    return FeatureMap(f"random_features(n_features={p}, bandwidth={width:.6g}, seed={seed})", X.shape[1], p, evaluate)


def feature_map(kernel: Any, X: Any) -> FeatureMap:
    """A feature map from what a user names: a FeatureMap, a function k(X, Y), or a call string over `KERNELS`.

    The name of a kernel function alone, "rbf(bandwidth=2)", means exact(kernel=rbf, bandwidth=2).
    """
    if isinstance(kernel, FeatureMap):
        return kernel
    if callable(kernel):
        return exact(X, kernel=kernel)
    if not isinstance(kernel, str):
        raise DataError(f"kernel must be a call string such as 'exact(kernel=rbf)', or a function, got {kernel!r}")
    found: FeatureMap = _builder(kernel)(X)
    return found


def planned_features(kernel: str, n_samples: int) -> int:
    """How many features a call string gives for N rows, at most. Raises as `feature_map` would, short of solving."""
    build = _builder(kernel)
    if build.func is random_features:
        return int(build.keywords.get("n_features", 500))
    if build.func is nystroem:
        return min(n_samples, int(build.keywords.get("n_landmarks", 300)))
    _check_exact(n_samples)
    return n_samples


def _builder(kernel: str) -> functools.partial[FeatureMap]:
    name, options = spec.parse_call(kernel)
    if name in FUNCTIONS:
        name, options = "exact", {"kernel": name, **options}
    if name not in KERNELS:
        raise DataError(f"unknown kernel {name!r}; {did_you_mean(name, [*KERNELS, *FUNCTIONS])}")
    found: functools.partial[FeatureMap] = spec.bind(KERNELS, name, options, kind="kernel")
    return found


def _check_exact(n_samples: int) -> None:
    if n_samples > EXACT_MAX:
        raise ResourceError(
            f"an exact kernel of {n_samples:,} rows needs {8 * n_samples**2 / 1e9:.1f} GB and a cubic solve (limit "
            f"{EXACT_MAX:,} rows); use nystroem(n_landmarks=...) or random_features(n_features=...)"
        )


def _rows(X: Any) -> Array:
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[0] < 2 or X.shape[1] < 1:
        raise DataError(f"a kernel needs rows X (N, D) with N >= 2, got shape {X.shape}")
    if not np.all(np.isfinite(X)):
        raise DataError(f"X holds {np.count_nonzero(~np.isfinite(X))} NaN or infinite values; remove those rows")
    rows: Array = X
    return rows


def _generator(seed: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed must be a whole number >= 0, got {seed!r}")
    return np.random.default_rng(seed)


def _bandwidth(X: Array, bandwidth: float | None) -> float:
    if bandwidth is not None:
        if not (np.isfinite(bandwidth) and bandwidth > 0):
            raise DataError(f"bandwidth must be a positive number, got {bandwidth}")
        return float(bandwidth)
    from scipy.spatial.distance import pdist

    rows = X[np.linspace(0, X.shape[0] - 1, min(MEDIAN_ROWS, X.shape[0])).astype(int)]
    width = float(np.median(pdist(rows)))
    if not width > 0:
        raise DataError("the median distance between rows is 0 (duplicates): give the kernel a bandwidth")
    return width


def _function(X: Array, kernel: Any, bandwidth: float | None, degree: int) -> tuple[Callable[[Any, Any], Array], str]:
    """k(X, Y) -> (n, m), and its options in words."""
    from sklearn.metrics.pairwise import pairwise_kernels

    if callable(kernel):
        if bandwidth is not None:
            raise DataError("bandwidth= belongs to a kernel by name; a function has its own")
        return lambda X, Y: np.asarray(kernel(X, Y), dtype=np.float64), f"kernel={getattr(kernel, '__name__', 'given')}"
    if kernel not in FUNCTIONS:
        raise DataError(f"kernel={kernel!r} is not known; choose one of {', '.join(FUNCTIONS)}, or give a function")
    if kernel in ("linear", "cosine"):
        if bandwidth is not None:
            raise DataError(f"bandwidth= has no meaning for the {kernel} kernel")
        return lambda X, Y: pairwise_kernels(X, Y, metric=kernel), f"kernel={kernel}"
    if kernel == "polynomial":
        if isinstance(degree, bool) or not isinstance(degree, int | np.integer) or degree < 1:
            raise DataError(f"degree must be a positive integer, got {degree!r}")
        width = 1.0 if bandwidth is None else _bandwidth(X, bandwidth)
        options = {"degree": int(degree), "gamma": 1 / width**2, "coef0": 1.0}
        text = f"kernel=polynomial, bandwidth={width:.6g}, degree={degree}"
        return lambda X, Y: pairwise_kernels(X, Y, metric="poly", **options), text
    width = _bandwidth(X, bandwidth)
    gamma = 1 / (2 * width**2) if kernel == "rbf" else 1 / width
    c = X.mean(axis=0)  # distances come from products: far from the origin they would lose digits
    return (
        lambda X, Y: pairwise_kernels(X - c, Y - c, metric=kernel, gamma=gamma),
        f"kernel={kernel}, bandwidth={width:.6g}",
    )


def _square_root(landmarks: Array, k: Callable[[Any, Any], Array], text: str) -> FeatureMap:
    """phi(x) = diag(s)^(-1/2) U'k(landmarks, x) for k(landmarks, landmarks) = U diag(s) U', the null space left out."""
    m = landmarks.shape[0]
    K = k(landmarks, landmarks)
    if K.shape != (m, m):
        raise DataError(f"the kernel gave shape {K.shape} for {m} rows; k(X, Y) must return (n, m)")
    if not np.all(np.isfinite(K)):
        raise DataError("the kernel gave NaN or infinite values; check its bandwidth and the size of the features")
    s, U = linalg.eigh(K)
    if s[-1] <= 0 or s[0] < -NOT_PSD * s[-1]:
        raise DataError(
            f"the kernel is not positive semi-definite: its eigenvalues reach from {s[0]:.3g} to {s[-1]:.3g}"
        )
    keep = s > RANK_TOL * s[-1]
    T = (U[:, keep] / np.sqrt(s[keep]))[:, ::-1]  # (m, p), the largest direction first

    def evaluate(X: Array) -> Array:
        out: Array = k(X, landmarks) @ T
        return out

    return FeatureMap(text, landmarks.shape[1], T.shape[1], evaluate)


KERNELS: dict[str, Callable[..., FeatureMap]] = {
    "exact": exact,
    "nystroem": nystroem,
    "random_features": random_features,
}
