"""Kernels, as the feature maps that make them linear.

The kernel model Z = K^(1/2) B is the linear model Z = Phi B on features with Phi Phi' = K: every closed form, the
moments and training serve it unchanged, new samples are embedded by their features, and |B|_F is the norm of the map in
the kernel's Hilbert space, which `Spectra(ridge=)` penalises.

| kernel          | phi(x)                          | Phi Phi'                                       |
|-----------------|---------------------------------|------------------------------------------------|
| exact           | diag(s)^(-1/2) U'k(X, x)        | K = U diag(s) U' itself, p = rank K            |
| nystroem        | the same on m landmarks         | K_Nm K_mm^+ K_mN (Williams & Seeger 2001)      |
| random_features | sqrt(2/p) cos(Omega'x + b)      | K on average over draws (Rahimi & Recht 2007)  |

The linear and the cosine kernel have features of their own, x and x / |x|: no square root of K, which would lose what
is fainter than 1e-6 of the largest direction, is taken of them. Over all samples and without ridge, an exact kernel of
full rank is no restriction at all: the optimum is the free one.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg, spec
from spectral_ssl.data import as_rows, as_samples
from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.errors import DataError, ResourceError, SpectralWarning, did_you_mean

__all__ = ["KERNELS", "FeatureMap", "exact", "feature_map", "nystroem", "random_features"]

Array = np.ndarray[Any, np.dtype[np.float64]]
KernelName = Literal["rbf", "laplacian", "polynomial", "linear", "cosine"]

EXACT_MAX = 6000  # rows of an exact kernel: its N x N matrix, eigenvectors and features take 0.9 GB there
RANDOM_MAX = 20_000  # random features: one p x p matrix of moments takes 3.2 GB there
RANK_TOL = 1e-12  # eigenvalue of K, relative to the largest, below which a feature would be rounding divided by itself
NOT_PSD = 1e-8  # relative size of a negative eigenvalue that rounding does not explain
ASYMMETRY = 1e-9  # relative difference of k(x, y) and k(y, x) that rounding does not explain
MEDIAN_ROWS = 1000  # rows among which the median distance is taken
FUNCTIONS = ("rbf", "laplacian", "polynomial", "linear", "cosine")
LINEAR = ("linear", "cosine")  # whose features are known: no option shapes them
ZERO = "the kernel is zero between all rows: it has no direction to learn from"


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """phi: samples X (n, D) to features (n, p), with phi(x)'phi(y) = k(x, y) as far as `text` promises.

    text: the call string with every option resolved: it gives the same map again on the same rows. n_inputs: D.
    n_features: p. evaluate: the map itself, which can be pickled unless the kernel is a function that cannot.
    """

    text: str
    n_inputs: int
    n_features: int
    evaluate: Callable[[Array], Array]

    def __call__(self, X: Any) -> Array:
        """Features (n, p) of X (n, D), n = 0 allowed. Raises DataError on another D, NaN or infinite values."""
        X = as_rows(X, self.n_inputs)
        return self.evaluate(X) if len(X) else np.zeros((0, self.n_features))


def exact(
    X: Any,
    *,
    kernel: KernelName | Callable[[Any, Any], Any] = "rbf",
    bandwidth: float | None = None,
    degree: int | None = None,
) -> FeatureMap:
    """The kernel itself, by the square root of its matrix over the training rows.

    Args:
        X: training rows (N, D), at most 6,000 unless the kernel is linear or cosine.
        kernel: rbf exp(-|x-y|^2 / (2 bandwidth^2)), laplacian exp(-|x-y|_1 / bandwidth), polynomial
            (1 + x'y / bandwidth^2)^degree, linear x'y, cosine; in Python also a function k(X, Y) -> (n, m).
        bandwidth: None takes the median of the distances between unequal rows (1 for polynomial).
        degree: of the polynomial, None is 3.
    """
    _check_options(kernel=kernel, bandwidth=bandwidth, degree=degree)
    X = _rows(X)
    return _features(X, X, kernel, bandwidth, degree, "exact({})")


def nystroem(
    X: Any,
    *,
    n_landmarks: int = 300,
    kernel: KernelName | Callable[[Any, Any], Any] = "rbf",
    bandwidth: float | None = None,
    degree: int | None = None,
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
    _check_options(kernel=kernel, bandwidth=bandwidth, degree=degree, n_landmarks=n_landmarks, seed=seed)
    X = _rows(X)
    m = min(int(n_landmarks), X.shape[0])
    landmarks = X[np.sort(np.random.default_rng(seed).choice(X.shape[0], size=m, replace=False))]
    return _features(X, landmarks, kernel, bandwidth, degree, f"nystroem(n_landmarks={m}, {{}}, seed={seed})")


def random_features(X: Any, *, n_features: int = 500, bandwidth: float | None = None, seed: int = 0) -> FeatureMap:
    """Random Fourier features of the rbf kernel.

    Args:
        X: training rows (N, D).
        n_features: p; the error of each entry of Phi Phi' falls as 1 / sqrt(p).
        bandwidth: None takes the median of the distances between unequal rows.
        seed: seed of the frequencies and phases.
    """
    _check_options(bandwidth=bandwidth, n_features=n_features, seed=seed)
    X = _rows(X)
    D, p, width = X.shape[1], int(n_features), _bandwidth(X, bandwidth)
    rng = np.random.default_rng(seed)
    waves = Waves(rng.standard_normal((D, p)) / width, rng.uniform(0, 2 * np.pi, size=p))
    return FeatureMap(f"random_features(n_features={p}, bandwidth={width!r}, seed={seed})", D, p, waves)


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


def planned_features(kernel: str, n_samples: int, n_features: int) -> int:
    """The features a call string gives for N rows of D, at most. Raises as `feature_map` would, short of solving."""
    build = _builder(kernel)
    options = build.keywords
    _check_options(**options)
    if build.func is random_features:
        return int(options.get("n_features", 500))
    most = min(n_samples, int(options.get("n_landmarks", 300))) if build.func is nystroem else n_samples
    if options.get("kernel") in LINEAR:
        return min(most, n_features)
    _check_exact(most)
    return most


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


def _check_options(
    *,
    kernel: Any = "rbf",
    bandwidth: Any = None,
    degree: Any = None,
    n_landmarks: Any = 1,
    n_features: Any = 1,
    seed: Any = 0,
) -> None:
    """What can be refused before any row is seen: asked by those that build a map and by those that only plan it."""
    if not callable(kernel) and kernel not in FUNCTIONS:
        raise DataError(f"kernel={kernel!r} is not known; choose one of {', '.join(FUNCTIONS)}, or give a function")
    if bandwidth is not None:
        if callable(kernel):
            raise DataError("bandwidth= belongs to a kernel by name; a function has its own")
        if kernel in LINEAR:
            raise DataError(f"bandwidth= has no meaning for the {kernel} kernel; leave it out")
        check_real(bandwidth, "bandwidth", low=0, open_low=True)
    if degree is not None:
        if callable(kernel) or kernel != "polynomial":
            raise DataError(f"degree={degree!r} belongs to kernel='polynomial'; leave it out")
        check_int(degree, "degree", low=1)
    if check_int(n_landmarks, "n_landmarks", low=1) > EXACT_MAX:
        raise ResourceError(f"n_landmarks={n_landmarks:,} exceeds the limit of {EXACT_MAX:,}; choose fewer")
    if check_int(n_features, "n_features", low=1) > RANDOM_MAX:
        raise ResourceError(
            f"n_features={n_features:,} needs {8 * n_features**2 / 1e9:,.1f} GB for one matrix of moments (limit "
            f"{RANDOM_MAX:,} features); choose fewer"
        )
    check_int(seed, "seed", low=0)


def _rows(X: Any) -> Array:
    rows: Array = as_samples(X)
    return rows


def _bandwidth(X: Array, bandwidth: float | None) -> float:
    if bandwidth is not None:
        return float(bandwidth)
    from scipy.spatial.distance import pdist

    rows = X[np.linspace(0, X.shape[0] - 1, min(MEDIAN_ROWS, X.shape[0])).astype(int)]
    distances = pdist(rows)
    distances = distances[distances > 0]  # of many equal rows, as binary features have, the median would be 0
    if not distances.size:
        raise DataError(f"all {len(rows):,} rows compared are equal, no distance sets the kernel's bandwidth: give one")
    return float(np.median(distances))


def _features(
    X: Array, landmarks: Array, kernel: Any, bandwidth: float | None, degree: int | None, text: str
) -> FeatureMap:
    """The features of a kernel on the span of landmarks (m, D), its options resolved on the rows X (N, D)."""
    if not callable(kernel) and kernel in LINEAR:
        return _span(landmarks, kernel, text.format(f"kernel={kernel}"), whole=landmarks is X)
    _check_exact(landmarks.shape[0])
    if callable(kernel):
        name = getattr(kernel, "__name__", "given")
        return _square_root(landmarks, Given(kernel), text.format(f"kernel={name}"))
    if kernel == "polynomial":
        width, d = 1.0 if bandwidth is None else _bandwidth(X, bandwidth), 3 if degree is None else int(degree)
        k = Named("poly", {"degree": d, "gamma": 1 / width**2, "coef0": 1.0}, 0.0)
        found = _square_root(landmarks, k, text.format(f"kernel=polynomial, bandwidth={width!r}, degree={d}"))
        _warn_of_hidden(landmarks, d, found.n_features)
        return found
    width = _bandwidth(X, bandwidth)
    gamma = 1 / (2 * width**2) if kernel == "rbf" else 1 / width
    # distances come from products: far from the origin they would lose digits
    k = Named(kernel, {"gamma": gamma}, X.mean(axis=0))
    return _square_root(landmarks, k, text.format(f"kernel={kernel}, bandwidth={width!r}"))


def _span(landmarks: Array, kernel: str, text: str, *, whole: bool) -> FeatureMap:
    """phi(x) = V'x, or V'x / |x|, V (D, r) a basis of the span of the landmarks; V = I where that is everything.

    whole: they are all rows, whose kernel x itself serves; kept where it is not longer than a basis can be.
    """
    D = landmarks.shape[1]
    L = landmarks if kernel == "linear" else _unit(landmarks)
    if not np.any(L):
        raise DataError(ZERO)
    V = None
    if not whole or L.shape[0] < D:
        _, s, Vt = linalg.svd(L)
        keep = s > max(L.shape) * linalg.EPS * s[0]
        V = None if keep.sum() == D else Vt[keep].T
    return FeatureMap(text, D, D if V is None else V.shape[1], Span(V, kernel == "cosine"))


def _square_root(landmarks: Array, k: Callable[[Any, Any], Array], text: str) -> FeatureMap:
    """phi(x) = diag(s)^(-1/2) U'k(landmarks, x) for k(landmarks, landmarks) = U diag(s) U', the null space left out."""
    m = landmarks.shape[0]
    K = k(landmarks, landmarks)
    if K.shape != (m, m):
        raise DataError(f"the kernel gave shape {K.shape} for {m} rows; k(X, Y) must return (n, m)")
    if not np.all(np.isfinite(K)):
        raise DataError("the kernel gave NaN or infinite values; check its bandwidth and the size of the features")
    size, skew = float(np.abs(K).max()), float(np.abs(K - K.T).max())
    if size == 0:
        raise DataError(ZERO)
    if skew > ASYMMETRY * size:
        raise DataError(
            f"the kernel is not symmetric: k(x, y) and k(y, x) differ by up to {skew:.3g}, entries reach {size:.3g}; "
            "give a symmetric function, such as (k(x, y) + k(y, x)) / 2"
        )
    s, U = linalg.eigh(K)
    if s[-1] <= 0 or s[0] < -NOT_PSD * s[-1]:
        raise DataError(
            f"the kernel is not positive semi-definite: its eigenvalues reach from {s[0]:.3g} to {s[-1]:.3g}"
        )
    keep = s > RANK_TOL * s[-1]
    T = (U[:, keep] / np.sqrt(s[keep]))[:, ::-1]  # (m, p), the largest direction first
    return FeatureMap(text, landmarks.shape[1], T.shape[1], Root(k, landmarks, T))


def _warn_of_hidden(X: Array, degree: int, kept: int) -> None:
    """Warn where the mean or the units of X (m, D) put directions of a polynomial kernel below `RANK_TOL`.

    Polynomials of x are polynomials of any affine image of x: the kernel of whitened rows has the same rank, and no
    mean or units to hide it.
    """
    m, D = X.shape
    if kept >= min(m, math.comb(D + degree, degree)):
        return
    C, size = X - X.mean(axis=0), np.abs(X).max(axis=0)
    spread = C.std(axis=0)
    varies = spread > 8 * m * linalg.EPS * size
    if not varies.any():
        return
    C, coarse = C[:, varies] / spread[varies], float((size[varies] / spread[varies]).max())
    U, s, _ = linalg.svd(C)
    U = U[:, s > max(C.shape) * linalg.EPS * max(float(s[0]), coarse * math.sqrt(m))]
    if not U.size:
        return
    values = linalg.eigh((1 + (m / U.shape[1]) * U @ U.T) ** degree)[0]
    rank = int(np.count_nonzero(values > RANK_TOL * values[-1]))
    if kept < rank:
        warnings.warn(
            f"{rank - kept:,} of the {rank:,} directions of the polynomial kernel of {m:,} rows are fainter than "
            f"{RANK_TOL:g} of its largest and were dropped: the mean or the units of the features hide them; "
            "standardise the features",
            SpectralWarning,
            stacklevel=4,
        )


# --- maps: records, so that embeddings can be pickled -----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Named:
    """k(X, Y) (n, m) of scikit-learn by name, both sides moved by `centre`."""

    name: str
    options: dict[str, Any]
    centre: Array | float

    def __call__(self, X: Array, Y: Array) -> Array:
        from sklearn.metrics.pairwise import pairwise_kernels

        found: Array = pairwise_kernels(X - self.centre, Y - self.centre, metric=self.name, **self.options)
        return found


@dataclass(frozen=True, eq=False)
class Given:
    """k(X, Y) (n, m) by a user's function."""

    function: Callable[[Any, Any], Any]

    def __call__(self, X: Array, Y: Array) -> Array:
        return np.asarray(self.function(X, Y), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Root:
    """phi(x) = T'k(landmarks, x), T (m, p)."""

    kernel: Callable[[Any, Any], Array]
    landmarks: Array
    T: Array

    def __call__(self, X: Array) -> Array:
        out: Array = self.kernel(X, self.landmarks) @ self.T
        return out


@dataclass(frozen=True, eq=False)
class Span:
    """phi(x) = V'x, of unit length where `unit`; V (D, r), None for the identity."""

    V: Array | None
    unit: bool

    def __call__(self, X: Array) -> Array:
        X = _unit(X) if self.unit else X
        return X if self.V is None else X @ self.V


@dataclass(frozen=True, eq=False)
class Waves:
    """phi(x) = sqrt(2/p) cos(Omega'x + b), Omega (D, p), b (p,)."""

    Omega: Array
    b: Array

    def __call__(self, X: Array) -> Array:
        out: Array = np.sqrt(2 / self.b.size) * np.cos(X @ self.Omega + self.b)
        return out


def _unit(X: Array) -> Array:
    """Rows of unit length; a zero row stays zero."""
    size = np.linalg.norm(X, axis=1, keepdims=True)
    out: Array = np.divide(X, size, out=np.zeros_like(X), where=size > 0)
    return out


KERNELS: dict[str, Callable[..., FeatureMap]] = {
    "exact": exact,
    "nystroem": nystroem,
    "random_features": random_features,
}
