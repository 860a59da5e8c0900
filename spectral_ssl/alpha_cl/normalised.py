"""l2-normalised outputs, z_i = W'x_i / |W'x_i|, with alpha fixed: an effective covariance that depends on W.

With x~_i = x_i / |W'x_i| (so that Z = X~ W has unit rows) and q_i = z_i'(M Z)_i, derived here by the chain rule,

    d tr(Z' M Z)/2 / dW = Ctilde(W) W,       Ctilde(W) = X~' (M - diag(q)) X~     (D, D).

Each negative pair gives alpha_ij { cos_ij (x~_i x~_i' + x~_j x~_j') - x~_i x~_j' - x~_j x~_i' }, a positive one minus
the same: x_i x_i' counts by the cosine where the plain C_alpha counts it in full. W solves a fixed-point problem, not
one PCA. E does not see |W|, so that tr(W' Ctilde(W) W) = 0 always, and at a critical point Ctilde(W) W = 0. Let v be a
unit vector off the row space of W, of rank below K. Adding t u v' to W changes E by t^2 u' Ctilde(W) u / 2 + O(t^3):
at a local maximum Ctilde(W) is negative semi-definite, and the columns of W are top eigenvectors, of eigenvalue 0, of
their own covariance. Rank 1 is always critical: z_i = sign(u'x_i) v, and E counts signs. On samples many for their
features, maxima found are of this kind: with alpha fixed, normalised outputs collapse to a line, too.

E is not concave; `normalised_ascent` climbs from several starts and says by how much the best can be beaten at most:

    E(Z') <= E(Z) + s 2N max(0, lambda_max(M - diag(q)))      for all Z, Z' (2N, K) of unit rows, any K, linear or not,

s = 1/2 for half-squared distances, else 1. Proof: tr(Z'' M Z') = tr(Z'' (M - diag(q)) Z') + sum q for Z'' the transpose
of Z', sum q = tr(Z' M Z) at Z, and |Z'|_F^2 = 2N. It is sharp where Z is best over all embeddings on the sphere and the
dual of that problem is q; over linear maps of few features it is a bound and no more.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse.linalg

from spectral_ssl import linalg
from spectral_ssl.alpha_cl.contrast import as_rows
from spectral_ssl.alpha_cl.signed import SignedGraph
from spectral_ssl.errors import DataError, SpectralWarning

__all__ = ["NormalisedRun", "normalised_ascent", "normalised_covariance", "sphere_bound"]

Array = np.ndarray[Any, np.dtype[np.float64]]

GRADIENT_TOL = 1e-6  # |Ctilde(W) W| |W| relative to the size of E's terms, at which an ascent counts as arrived


@dataclass(frozen=True, eq=False)
class NormalisedRun:
    """The best of several ascents. W (D, K), of unit Frobenius norm; Z (2N, K): rows W'x / |W'x|; energy: E_alpha(Z).

    gradient: |Ctilde(W) W|_F |W|_F over the sum of S 1 and P 1, 0 at a critical point; upper_bound: no embedding of
    unit rows has more than this (`sphere_bound`); energies: of every start, best first; message: what stopped it.
    """

    W: Array
    Z: Array
    energy: float
    gradient: float
    upper_bound: float
    energies: Array
    message: str

    @property
    def gap(self) -> float:
        """upper_bound - energy, >= 0: by how much E could be larger at most."""
        return self.upper_bound - self.energy


def normalised_covariance(graph: SignedGraph, X: Any, W: Any) -> Array:
    """Ctilde(W) (D, D), with d tr(Z' M Z)/2 / dW = Ctilde(W) W for Z = rows of XW over their norms.

    X (2N, D), not centred: directions from the origin matter here. Raises DataError where a row of XW is zero.
    """
    X, W = _checked(graph, X, W)
    Xt, Z = _outputs(X, W)
    C: Array = Xt.T @ graph.matmul(Xt) - Xt.T @ (_q(graph, Z)[:, None] * Xt)
    return (C + C.T) / 2


def sphere_bound(graph: SignedGraph, Z: Any) -> float:
    """The largest E_alpha that any embedding of unit rows can have, bounded through Z (2N, K) of unit rows."""
    Z = as_rows(Z, graph.n_rows).detach().cpu().numpy().astype(np.float64)
    if np.abs(np.linalg.norm(Z, axis=1) - 1).max() > 1e-8:
        raise DataError("the bound is for rows of norm 1: divide each row of Z by its norm")
    q, n = _q(graph, Z), graph.n_rows
    S, P = graph.degree
    c = 2 * float(np.abs(S).max() + np.abs(P).max()) + float(np.abs(q).max())
    operator = scipy.sparse.linalg.LinearOperator(
        (n, n),
        matvec=lambda v: c * v.ravel() - graph.matmul(v.ravel()) + q * v.ravel(),
        matmat=lambda V: c * V - graph.matmul(V) + q[:, None] * V,
        dtype=np.float64,
    )
    found = linalg.smallest_eigenpairs(operator, 1, upper=2 * c)
    top = c - float(found.values[0]) + 2 * c * float(found.residuals[0])  # an eigenvalue lies within the residual
    return graph.scale * (float(q.sum()) + n * max(0.0, top))


def normalised_ascent(
    graph: SignedGraph, X: Any, n_components: int, *, starts: int = 8, seed: int = 0, max_iter: int = 2000
) -> NormalisedRun:
    """Ascend E_alpha over Z = rows of XW over their norms, by L-BFGS with the gradient Ctilde(W) W, from many starts.

    The first start is PCA of the plain C_alpha[x], the others are random. Warns where the best has not converged.
    """
    for name, value in (("n_components", n_components), ("starts", starts), ("max_iter", max_iter)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise DataError(f"{name} must be a positive integer, got {value!r}")
    if n_components < 2:
        raise DataError("n_components must be at least 2: normalised, one output is a sign, and E has no slope")
    X = as_rows(X, graph.n_rows, "X").detach().cpu().numpy().astype(np.float64)
    if not np.linalg.norm(X, axis=1).min() > 0:
        raise DataError("a row of X is zero, and has no direction; leave it out, or do not centre the data")
    D, K = X.shape[1], int(n_components)
    scale = max(float(graph.degree[0].sum() + graph.degree[1].sum()), 1e-300)
    rng = np.random.default_rng(seed)

    def descend(w: Array) -> tuple[float, Array]:
        W = w.reshape(D, K)
        Xt, Z = _outputs(X, W)
        MZ = graph.matmul(Z)
        q = np.sum(Z * MZ, axis=1)
        return -float(q.sum()) / 2 / scale, -(Xt.T @ (MZ - q[:, None] * Z)).ravel() / scale

    first = linalg.eigh(graph.covariance(X))[1][:, ::-1][:, :K]
    first = np.hstack([first, rng.standard_normal((D, K - first.shape[1]))])
    found = []
    for start in range(int(starts)):
        # a little noise moves PCA off the saddles that its symmetries make
        W0 = first + 1e-3 * rng.standard_normal((D, K)) if start == 0 else rng.standard_normal((D, K))
        options = {"maxiter": int(max_iter), "maxfun": 4 * int(max_iter), "ftol": 1e-16, "gtol": 1e-12, "maxcor": 30}
        result = scipy.optimize.minimize(descend, W0.ravel(), jac=True, method="L-BFGS-B", options=options)
        found.append((-float(result.fun), result.x.reshape(D, K), f"{result.nit} steps, {result.message}"))
    found.sort(key=lambda run: -run[0])
    _, W, message = found[0]
    W = W / np.linalg.norm(W)
    Z = _outputs(X, W)[1]
    gradient = float(np.linalg.norm(descend(W.ravel())[1]))
    if gradient > GRADIENT_TOL:
        warnings.warn(
            f"the ascent of normalised outputs stopped at a gradient of {gradient:.1e} (at most {GRADIENT_TOL:.0e}): "
            f"{message}; raise max_iter",
            SpectralWarning,
            stacklevel=2,
        )
    return NormalisedRun(
        W=W,
        Z=Z,
        energy=graph.energy(Z),
        gradient=gradient,
        upper_bound=sphere_bound(graph, Z),
        energies=2 * graph.scale * scale * np.array([run[0] for run in found]),
        message=message,
    )


def _checked(graph: SignedGraph, X: Any, W: Any) -> tuple[Array, Array]:
    X = as_rows(X, graph.n_rows, "X").detach().cpu().numpy().astype(np.float64)
    W = np.asarray(W, dtype=np.float64)
    if W.ndim != 2 or W.shape[0] != X.shape[1]:
        raise DataError(f"W has shape {W.shape}, expected ({X.shape[1]}, K): features by components")
    if not np.linalg.norm(X @ W, axis=1).min() > 0:
        raise DataError("a row of XW is zero, and has no direction: W maps that sample to the origin")
    return X, W


def _outputs(X: Array, W: Array) -> tuple[Array, Array]:
    """X~ = x_i / |W'x_i| and Z = X~ W, of unit rows."""
    Y = X @ W
    size = np.maximum(np.linalg.norm(Y, axis=1, keepdims=True), 1e-300)
    return X / size, Y / size


def _q(graph: SignedGraph, Z: Array) -> Array:
    """q_i = z_i'(M Z)_i, (2N,)."""
    q: Array = np.sum(Z * graph.matmul(Z), axis=1)
    return q
