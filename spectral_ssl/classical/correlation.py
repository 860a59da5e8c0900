"""Canonical correlation analysis of two views, and its tied form on any relation, which is what SSL learns.

CCA of a pair list taken in both orders has the solutions of the tied pencil (X'AX, X'diag(deg)X), ranked by |rho|: its
second view may flip signs. Tied weights see the sign, and only rho > 0 is of use to them.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.classical._common import Array, centred, checked, embed, n_features, of_maps
from spectral_ssl.data import as_samples
from spectral_ssl.embedding import Embedding
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import FeatureMap, feature_map
from spectral_ssl.spectrum import Spectra

__all__ = ["CCA", "cca", "tied_cca"]

STILL = 1e-12  # range of a variate, relative to its size, that is rounding
OFFSET_MAX = 1e8  # |mean| / std up to which rounding of means counts in a rank: one column must not hide the others


@dataclass(frozen=True, eq=False)
class CCA:
    """Canonical correlations of two views, and the maps that reach them.

    correlations (R,): descending, in [0, 1], R = min(rank_x, rank_y). x, y: canonical variates Z (N, K), with W, mean
    and `transform` for new rows. rank_x, rank_y: independent columns of each centred view. ridge: as used, per view.
    """

    correlations: Array
    x: Embedding
    y: Embedding
    rank_x: int
    rank_y: int
    ridge: tuple[float, float]

    @property
    def n_components(self) -> int:
        return self.x.n_components

    @property
    def gap(self) -> float:
        return self.x.gap

    def score(self, X: Any, Y: Any) -> Array:
        """Correlation of each pair of variates on other rows X (n, Dx), Y (n, Dy): (K,); 0 where one does not vary.

        On held-out rows this is what the correlations are worth.
        """
        A, B = self.x.transform(X), self.y.transform(Y)
        if A.shape[0] != B.shape[0] or A.shape[0] < 2:
            raise DataError(f"a score needs as many rows of X as of Y, at least 2; got {A.shape[0]} and {B.shape[0]}")
        varies = np.all([np.ptp(V, axis=0) > STILL * np.abs(V).max(axis=0) for V in (A, B)], axis=0)
        A, B = A - A.mean(axis=0), B - B.mean(axis=0)
        size = np.linalg.norm(A, axis=0) * np.linalg.norm(B, axis=0)
        out: Array = np.divide((A * B).sum(axis=0), size, out=np.zeros_like(size), where=varies)
        return out


def cca(
    X: Any,
    Y: Any,
    n_components: int | None = None,
    *,
    ridge: float | tuple[float, float] = 0.0,
    kernel: Any = None,
) -> CCA:
    """Canonical correlation analysis: max tr(Wx'Cxy Wy) s.t. Wx'(Cxx + rx I)Wx = I, Wy'(Cyy + ry I)Wy = I.

    C = covariances, / N. With HX = Ux diag(sx) Vx' on its range, wx = sx / sqrt(sx^2 + N rx), and the same for Y, the
    correlations are the singular values rho of M = diag(wx) Ux'Uy diag(wy) = P diag(rho) Q', and
    Wx = Vx diag(1/sqrt(sx^2/N + rx)) P (Bjorck & Golub 1973): no iteration, no products X'X, no inverse of a singular
    matrix. Collinear, constant and repeated columns are left out of the rank, as are those past N - 1.

    X (N, Dx), Y (N, Dy): row i of both is the same object. n_components: at most min(Dx, Dy, N - 1); None takes
    min(rank_x, rank_y), and what exceeds it is zero columns, with a warning.
    ridge: r >= 0 in units of a variance, or one for each view. Without it each variate has variance 1 (/ N) and
    `correlations` are those of the columns of x.Z and y.Z; with it they are the objective reached, less than that.
    kernel: call string, function or FeatureMap (`spectral_ssl.kernels`), or a pair of them, None in it for a linear
    view: CCA of the features, r |w|^2 the norm in the kernel's space. An exact kernel of full rank makes any two views
    correlate by 1, so a view with a kernel needs a ridge.

    Warns where rank_x + rank_y >= N without ridge: rank_x + rank_y - (N - 1) of the correlations are then 1 whatever
    the data; `score` on held-out rows, or a ridge, tells. Raises DataError on bad input.
    """
    data = as_samples(X), as_samples(Y, "Y")
    N = data[0].shape[0]
    if data[1].shape[0] != N:
        raise DataError(f"X has {N:,} rows, Y {data[1].shape[0]:,}; row i of both must be the same object")
    ridges = _pair(ridge)
    kernels = kernel if isinstance(kernel, tuple | list) and len(kernel) == 2 else (kernel, kernel)
    for name, k, r in zip("XY", kernels, ridges, strict=True):
        if k is not None and r == 0:
            raise DataError(
                f"CCA of kernel features of {name} needs a ridge: an exact kernel has as many features as samples, and "
                "then every correlation is 1; pass ridge=, in units of the features' variance, such as 1e-3"
            )
    a, b = (_View.of(*given) for given in zip("XY", data, kernels, ridges, strict=True))
    P, rho, Qt = linalg.svd((a.w[:, None] * (a.U.T @ b.U)) * b.w)
    rho = np.clip(rho, 0.0, 1.0)
    R = rho.size
    limit = min(a.T.shape[0], b.T.shape[0], N - 1)
    K = R if n_components is None else checked(n_components, limit, "min(Dx, Dy, N - 1)")
    P, Q = P[:, :K], Qt.T[:, :K]
    trivial = a.U.shape[1] + b.U.shape[1] - (N - 1)
    if trivial > 0 and ridges == (0.0, 0.0):
        warnings.warn(
            f"{trivial} of {R} correlations are 1 whatever the data: {a.U.shape[1]} and {b.U.shape[1]} independent "
            f"columns cannot avoid each other in the {N - 1} dimensions of {N} centred rows; pass ridge=, or reduce "
            "the views first, and look at score() on held-out rows",
            SpectralWarning,
            stacklevel=2,
        )
    if K > R:
        warnings.warn(
            f"{K} components were asked for, but the views have ranks {a.U.shape[1]} and {b.U.shape[1]}: the last "
            f"{K - R} columns are zero",
            SpectralWarning,
            stacklevel=2,
        )
    # signs by the variates, so that neither the order nor the units of columns decide them
    Z = np.vstack([a.scores(P), b.scores(Q)])
    signs = np.sign((linalg.fix_signs(Z) * Z).sum(axis=0))
    return CCA(
        correlations=rho,
        x=a.embedding(P * signs, rho, K),
        y=b.embedding(Q * signs, rho, K),
        rank_x=a.U.shape[1],
        rank_y=b.U.shape[1],
        ridge=ridges,
    )


def tied_cca(X: Any, graph: Graph | Spectra, n_components: int, *, kernel: Any = None, ridge: float = 0.0) -> Embedding:
    """CCA with one map for both members of a positive pair: max tr(Z'AZ) s.t. Z'diag(deg)Z = s I, Z = (X - m_d) W.

    X'AX w = rho X'diag(deg)X w, X centred by its degree mean m_d, largest rho: the hard constraint of Barlow Twins,
    whose C is diag(rho). `spectrum` holds rho, descending, in [-1, 1]. Equals CCA of the pair list in both orders but
    for the sign: CCA ranks |rho| and flips its second view where rho < 0, tied weights cannot, and only rho > 0 says
    that a direction is shared. Warns where fewer than K are. On `coupled` modalities [[Xa, 0], [0, Xb]] it is CCA: W
    stacks Wa on Wb.

    kernel: X becomes the features of a kernel. ridge: r |W|_F^2 is taken from tr(Z'AZ). With Spectra in place of the
    graph X is None: they hold all three.
    """
    spectra = of_maps(X, graph, kernel, ridge)
    K = checked(n_components, n_features(spectra), "the number of features")
    spectrum = spectra.of("degree_centred", K)
    found = embed(spectrum, spectrum.values, K, np.sqrt(spectrum.total_weight))
    shared = int(np.count_nonzero(spectrum.values[:K] > 0))
    if shared < min(K, spectrum.values.size):
        warnings.warn(
            f"only {shared} of {K} directions correlate positively over the pairs; in the others the members of a pair "
            "tend to opposite sides",
            SpectralWarning,
            stacklevel=2,
        )
    return found


@dataclass(frozen=True, eq=False)
class _View:
    """HX = U diag(s) V' on its range; HX T = sqrt(N) U diag(w) and T'(C + rI)T = I."""

    U: Array  # (N, R)
    w: Array  # (R,)
    T: Array  # (D, R)
    mean: Array
    features: FeatureMap | None

    @classmethod
    def of(cls, name: str, X: Array, kernel: Any, ridge: float) -> _View:
        features = None if kernel is None else feature_map(kernel, X)
        X = X if features is None else features(X)
        N = X.shape[0]
        F, mean, spread = centred(X, name)
        varies = spread > 0
        if not np.any(varies):
            raise DataError(f"every column of {name} is constant: nothing can correlate with it")
        # without ridge the units of the columns are no matter, and must not decide the rank; with it they are
        unit = np.where(varies, spread if ridge == 0 else 1.0, np.inf)
        U, s, Vt = linalg.svd(F / unit)
        # rounding of the solver, and of the means taken off columns that lie far from zero
        offset = min(float((np.abs(mean) / unit).max()), OFFSET_MAX)
        keep = s > 4 * linalg.EPS * (max(F.shape) * s[0] + math.sqrt(F.size) * offset)
        U, s, V = U[:, keep], s[keep], Vt[keep].T
        size = np.sqrt(s**2 + N * ridge)
        return cls(U, s / size, V / unit[:, None] * (math.sqrt(N) / size), mean, features)

    def scores(self, P: Array) -> Array:
        """Z = HX T P, without the cancellation in X - mean."""
        return math.sqrt(self.U.shape[0]) * (self.U * self.w) @ P

    def embedding(self, P: Array, rho: Array, K: int) -> Embedding:
        P = np.hstack([P, np.zeros((P.shape[0], K - P.shape[1]))])
        return Embedding(
            Z=self.scores(P),
            spectrum=rho,
            W=self.T @ P,
            mean=self.mean,
            rank=min(K, rho.size),
            features=self.features,
        )


def _pair(ridge: Any) -> tuple[float, float]:
    values = tuple(ridge) if isinstance(ridge, tuple | list) else (ridge, ridge)
    for r in values:
        if isinstance(r, bool) or not isinstance(r, int | float | np.number) or not 0 <= r < math.inf:
            raise DataError(f"ridge must be a number >= 0, or a pair of them for X and Y, got {ridge!r}")
    if len(values) != 2:
        raise DataError(f"ridge must be a number >= 0, or a pair of them for X and Y, got {ridge!r}")
    return float(values[0]), float(values[1])
