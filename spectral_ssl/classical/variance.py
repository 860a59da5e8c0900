"""Principal component analysis, linear and in the features of a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.classical._common import Array, centred, checked, tell_short
from spectral_ssl.data import as_samples
from spectral_ssl.embedding import Embedding
from spectral_ssl.kernels import feature_map
from spectral_ssl.spectrum import CONDITION_MAX

__all__ = ["pca"]

TALL = 4  # rows per column from which products X'X are tried before X itself
ROUNDINGS = (
    4  # of an entry, counted at worst: as given, as a sum of others that the user made, the mean, the difference
)


def pca(X: Any, n_components: int, *, kernel: Any = None) -> Embedding:
    """Principal component analysis: the top right singular vectors of HX; W'W = I. `spectrum`: variances, / N.

    n_components: at most min(D, N - 1); columns past the rank are zero, of Z and of W, with a warning. kernel:
    principal components of the features Phi(X) (`spectral_ssl.kernels`), D of them: kernel PCA (Schoelkopf et al.
    1998). With an exact kernel, whose features take a full eigensolve, ZZ' is the best rank-K fit of HKH;
    `generalized_mds(k(X, X), K, centre=True)` is the same without features.
    """
    X = as_samples(X)
    features = None if kernel is None else feature_map(kernel, X)
    Phi = X if features is None else features(X)
    K = checked(n_components, min(Phi.shape[1], Phi.shape[0] - 1), "min(D, N - 1)")
    F, mean, _ = centred(Phi, "X" if features is None else "the features of X")
    s, V = _right_singular(F)
    # rounding of the solver, and of the entries: an error eps |mean_d| in column d reaches F v times |v_d|
    rounding = max(F.shape) * s[0] + ROUNDINGS * np.sqrt(F.shape[0]) * (np.abs(mean) @ np.abs(V))
    rank = int(np.count_nonzero(s > linalg.EPS * rounding))
    if rank < K:
        tell_short(K, rank, f"X has {rank} independent directions", stacklevel=3)
    W = np.where(np.arange(K) < rank, linalg.fix_signs(V[:, :K]), 0.0)
    return Embedding(Z=F @ W, spectrum=s**2 / X.shape[0], W=W, mean=mean, rank=min(K, rank), features=features)


def _right_singular(F: Array) -> tuple[Array, Array]:
    """Singular values s (R,), descending, and right singular vectors V (D, R) of F (N, D).

    Of tall F from F'F, several times as fast, where its condition is low enough to leave ten digits.
    """
    if F.shape[0] >= TALL * F.shape[1]:
        values, V = linalg.eigh(F.T @ F)
        if values[-1] < CONDITION_MAX * values[0]:
            return np.sqrt(values[::-1]), V[:, ::-1]
    _, s, Vt = linalg.svd(F)
    return s, Vt.T
