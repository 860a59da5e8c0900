"""Deep linear encoders with alpha fixed, trained rather than solved: ascent of E = tr(W C W') / 2 in its factors.

W = W_L .. W_1 (K, D), every layer on a sphere: |W_l|_F = 1, or rows of norm 1 / sqrt(n_l). With the other layers
frozen E is a quadratic form of one, W_>l = W_L .. W_{l+1} and W_<l = W_{l-1} .. W_1:

    2E = tr(A W_l B W_l'),   A = W_>l' W_>l  (n_l, n_l), psd,    B = W_<l C W_<l'  (n_{l-1}, n_{l-1})

that is, the form of A (x) B in vec(W_l). Two ways up, both monotone (derived here):

* "gradient": W_l <- project(W_l + dE/dW_l / c), c = max|mu| >= -min eig(A (x) B). With that shift E + c |W_l|^2 / 2 is
  convex in W_l, so that the maximum of its tangent over the spheres is no lower than where it started; and the maximum
  of a linear function over spheres is a projection. Gradient ascent of constant step, that needs no line search.
* "blocks": W_l <- the top eigenvector of A (x) B, that is a b' with a, b eigenvectors of A and B: exact, for Frobenius
  norms. From any start with W_>1 != 0 and mu_1 > 0, one sweep l = 1, .., L ends in a global maximum: W_1 = a v_0', then
  B = mu_1 v_1 v_1', and so on.

Which local maxima are there (Frobenius norms, L >= 2, mu_1 > 0)? Every one with W != 0 is global, 2E = mu_1; no
hypothesis on simple eigenvalues is needed. Derived here. Let W_>1 != 0. Each layer is a top eigenvector of its A (x) B,
so W_1 = U R, U a basis of the top eigenspace of A (eigenvalue a), the rows of R (p, D) top eigenvectors of C, and
2E = a mu_1. If W_1 has rank 1, B of layer 2 has rank 1, so has W_2, and so on: |W|_F = 1. Let its rank be at least 2.
Stationarity of W_2, A_2 W_2 U R R' U' = a W_2, puts its rows into U range(R): W_2 = V U', V'A_2 V = a I, R R' = V'V
positive definite, p >= 2. Moving R alone inside its sphere leaves E as it is, so that at a local maximum the mixed
second derivatives with W_2 vanish: A_2 V S = a V (R R')^-1 S is a multiple of V for each symmetric S of trace 0, so
S is a multiple of R R'. But S = diag(1, -1, 0, ..) is indefinite: no such local maximum.

W = 0 can be one. Where W_>1 = 0, which takes L >= 3, and W_1 C W_1' is negative definite, E <= 0 all around: nothing is
gained by a little of any layer, though mu_1 > 0. With C >= 0 there is none. So the ascent from random starts may end in
collapse wherever most of C is negative, and does; "almost all local optima are global" holds for one or two layers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.errors import DataError

__all__ = ["DeepRun", "deep_ascent", "layer_gradients", "random_layers"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Layers = tuple[Array, ...]
Norm = Literal["frobenius", "per_filter"]
By = Literal["gradient", "blocks"]

RANK_TOL = 1e-4  # a direction of a layer below this share of its largest is on its way out: E sees it squared


@dataclass(frozen=True, eq=False)
class DeepRun:
    """One ascent. layers: where it ended, W_1 first. energy: E there; energies (S + 1,): after each sweep, ascending.

    stable_ranks (S + 1, L): |W_l|_F^2 / |W_l|_2^2 after each sweep; ranks: of the layers at the end, directions of at
    least `RANK_TOL` of the largest. gradient: norm of the gradient of E along the spheres, relative to max|mu|.
    converged: whether it fell below the tolerance; message: what stopped the ascent, in words.
    """

    layers: Layers
    energy: float
    energies: Array
    stable_ranks: Array
    ranks: tuple[int, ...]
    gradient: float
    converged: bool
    message: str


def random_layers(widths: Any, seed: int, *, norm: Norm = "frobenius") -> Layers:
    """Layers (n_l, n_{l-1}) for widths D, n_1, .., n_L = K, normal entries, projected on the spheres."""
    sizes = [int(n) for n in np.asarray(widths).ravel()]
    if len(sizes) < 2 or min(sizes) < 1:
        raise DataError(f"widths must be D, n_1, .., K, each at least 1; got {sizes}")
    rng = np.random.default_rng(seed)
    return tuple(project(rng.standard_normal((n, before)), norm) for before, n in itertools.pairwise(sizes))


def project(W: Array, norm: Norm) -> Array:
    """The nearest matrix of norm 1, or of rows of norm 1 / sqrt(n). What is zero has no nearest one and stays."""
    if norm == "frobenius":
        size = np.asarray(np.linalg.norm(W))
    elif norm == "per_filter":
        size = np.linalg.norm(W, axis=1, keepdims=True) * np.sqrt(W.shape[0])
    else:
        raise DataError(f"norm must be 'frobenius' or 'per_filter', got {norm!r}")
    out: Array = W / np.where(size > 0, size, 1.0)
    return out


def _around(layers: Layers, at: int, C: Array) -> tuple[Array, Array]:
    """A = W_>l' W_>l and B = W_<l C W_<l' for layer l = at + 1."""
    above, below = np.eye(layers[at].shape[0]), np.eye(C.shape[0])
    for W in layers[at + 1 :]:
        above = W @ above
    for W in layers[:at]:
        below = W @ below
    return above.T @ above, below @ C @ below.T


def layer_gradients(layers: Layers, C: Array, *, norm: Norm = "frobenius") -> Layers:
    """dE/dW_l = A W_l B, less its part along the radius of each sphere."""
    return tuple(_tangent(W, _euclidean(layers, at, C), norm) for at, W in enumerate(layers))


def _euclidean(layers: Layers, at: int, C: Array) -> Array:
    A, B = _around(layers, at, C)
    return A @ layers[at] @ B


def _tangent(W: Array, G: Array, norm: Norm) -> Array:
    if norm == "frobenius":
        return G - float(np.sum(W * G)) * W
    along: Array = W.shape[0] * np.sum(W * G, axis=1, keepdims=True)  # rows of squared norm 1 / n
    return G - along * W


def deep_ascent(
    C: Any,
    layers: Layers,
    *,
    norm: Norm = "frobenius",
    by: By = "gradient",
    max_sweeps: int = 5000,
    tol: float = 1e-10,
) -> DeepRun:
    """Ascend E = tr(W C W') / 2 from given layers, sweep by sweep over l = 1, .., L, until the gradient is below `tol`.

    C (D, D): symmetric, of any signs. layers: W_1 first, projected on the spheres to begin with. tol: on the gradient
    along the spheres, relative to max|mu| of C.
    """
    C = np.asarray(C, dtype=np.float64)
    if C.ndim != 2 or C.shape[0] != C.shape[1] or not layers or layers[0].shape[1] != C.shape[0]:
        shapes = [W.shape for W in layers]
        raise DataError(f"the layers {shapes} do not fit a covariance of shape {C.shape}")
    if by not in ("gradient", "blocks"):
        raise DataError(f"by must be 'gradient' or 'blocks', got {by!r}")
    if by == "blocks" and norm != "frobenius":
        raise DataError("blocks are exact for Frobenius norms only: rows of fixed norm have no eigenvector to jump to")
    mu = linalg.eigh(C)[0]
    size = max(float(np.abs(mu).max()), 1e-300)
    now = [project(np.asarray(W, dtype=np.float64), norm) for W in layers]
    energies, stable = [_energy(now, C)], [_stable_ranks(now)]
    slope, sweep = _slope(now, C, norm, size), 0
    while slope > tol and sweep < max_sweeps:
        for at in range(len(now)):
            A, B = _around(tuple(now), at, C)
            now[at] = _best_block(A, B) if by == "blocks" else project(size * now[at] + A @ now[at] @ B, norm)
        sweep += 1
        energies.append(_energy(now, C))
        stable.append(_stable_ranks(now))
        slope = _slope(now, C, norm, size)
    done = slope <= tol
    return DeepRun(
        layers=tuple(now),
        energy=energies[-1],
        energies=np.array(energies),
        stable_ranks=np.array(stable),
        ranks=tuple(linalg.rank(W, RANK_TOL) for W in now),
        gradient=slope,
        converged=done,
        message=f"{sweep} sweeps, gradient {slope:.1e}" + ("" if done else f" above {tol:.0e}"),
    )


def _energy(layers: list[Array], C: Array) -> float:
    W = layers[0]
    for layer in layers[1:]:
        W = layer @ W
    return float(np.sum((W @ C) * W)) / 2


def _stable_ranks(layers: list[Array]) -> list[float]:
    return [float(np.sum(W**2)) / max(float(np.linalg.norm(W, 2)) ** 2, 1e-300) for W in layers]


def _slope(layers: list[Array], C: Array, norm: Norm, size: float) -> float:
    return float(np.sqrt(sum(np.sum(G**2) for G in layer_gradients(tuple(layers), C, norm=norm)))) / size


def _best_block(A: Array, B: Array) -> Array:
    """a b', the top eigenvector of A (x) B as a matrix, A psd: the eigenvalues are products of those of A and B."""
    U = linalg.eigh(A)[1]
    b, V = linalg.eigh(B)
    first = U[:, -1] if b[-1] > 0 else U[:, 0]  # a largest product of a >= 0 with b < 0 takes the smallest a
    return np.outer(first, V[:, -1])
