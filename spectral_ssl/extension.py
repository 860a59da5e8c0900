"""New samples under an embedding that has no map of its own.

* `Nystroem`: optima over all Z, where the relation says which training samples a new one pairs with (knn, epsilon,
  nearest). The eigen-equation, read row by row, gives an eigenvector's entry from those of its pairs. A sample equal
  to a training sample takes that one's row of Z; where the equation can be solved for the entry, it says the same.
* `Regression`, fitted by `extend`: any embedding, by ridge regression on features or kernel features of X.

Sources: Bengio et al. 2004, *Out-of-sample extensions*; Williams & Seeger 2001.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data import as_rows, as_samples
from spectral_ssl.data._checks import check_real
from spectral_ssl.embedding import Embedding, in_blocks
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import FeatureMap, feature_map
from spectral_ssl.spectrum import Spectrum

__all__ = ["Nystroem", "Regression", "by_relation", "extend"]

Array = np.ndarray[Any, np.dtype[np.float64]]

DIVISOR_MIN = 1e-3  # of deg(x) - lambda_k, relative to deg(x): what is smaller magnifies noise a thousandfold
RIDGES = np.logspace(-12, 2, 57)  # relative to the mean squared feature, searched by leave-one-out error


@dataclass(frozen=True, eq=False)
class Nystroem:
    """z(x) = v(x)'T with v_k(x) from the eigen-equation, a(x) the weights of x to the training samples, d = sum a(x):

    laplacian         v_k(x) = a(x)'v_k / (d - lambda_k)          L v = lambda v
    adjacency         v_k(x) = a(x)'v_k / g_k                     A v = g v
    degree            v_k(x) = a(x)'v_k / (d a_k)                 A v = a diag(deg) v

    A row equal to training rows gets z of the first of them: the equation says nothing where its divisor is zero (no
    pairs, d an eigenvalue), and where equal rows differ in their pairs it cannot give them all.

    attach: X (n, D) -> a (n, N) sparse. values (R,), vectors (N, R), directions T (R, K). Z (N, K): the embedding.
    known: X -> (n,) the first training row that a row equals, -1 for none; None where the relation cannot tell.
    """

    attach: Any
    pencil: str
    values: Array
    vectors: Array
    directions: Array
    Z: Array
    known: Callable[[Array], Any] | None = None

    def __call__(self, X: Array) -> Array:
        same = np.full(X.shape[0], -1) if self.known is None else self.known(X)
        out: Array = self.Z[same]
        if np.any(same < 0):
            out[same < 0] = self._solved(X[same < 0], X.shape[0])
        return out

    def _solved(self, X: Array, n: int) -> Array:
        """z of rows unlike all training rows, from the eigen-equation; n: how many rows were asked for in all."""
        a = self.attach(X)
        d = np.asarray(a.sum(axis=1)).reshape(-1, 1)
        divisor = {"laplacian": d - self.values, "adjacency": np.ones_like(d) * self.values}.get(
            self.pencil, d * self.values
        )
        size = np.abs(self.values).max(initial=0.0) if self.pencil == "adjacency" else d
        alone = d[:, 0] == 0
        if np.any(alone):
            warnings.warn(
                f"{np.count_nonzero(alone):,} of {n:,} new samples pair with no training sample: their rows are zero",
                SpectralWarning,
                stacklevel=4,
            )
        faint = np.any(np.abs(divisor) < DIVISOR_MIN * size, axis=1) & ~alone
        if np.any(faint):
            warnings.warn(
                f"{np.count_nonzero(faint):,} of {n:,} new samples have a degree within {DIVISOR_MIN:g} of an "
                "eigenvalue, where the extension magnifies noise; use fewer components, or ss.extend for a regression",
                SpectralWarning,
                stacklevel=4,
            )
        v = np.divide(a @ self.vectors, divisor, out=np.zeros(divisor.shape), where=(divisor != 0) & ~alone[:, None])
        out: Array = v @ self.directions
        return out


def by_relation(embedding: Embedding, spectrum: Spectrum, graph: Graph) -> Embedding:
    """The embedding with its extension, where the relation has a rule for new samples; else as it is.

    Z = V T, so T = V'BZ for the B-orthonormal V: columns of the spectrum that Z does not use are left out.
    """
    if graph.attach is None:
        return embedding
    pencil = {"degree_centred": "degree", "cross_moment": "adjacency"}.get(spectrum.pencil, spectrum.pencil)
    V = spectrum.vectors
    T = V.T @ (graph.degree[:, None] * embedding.Z if pencil == "degree" else embedding.Z)
    used = np.linalg.norm(T, axis=1) > 1e-10 * max(float(np.linalg.norm(T)), 1e-300)
    known = getattr(graph.attach, "known", None)
    extension = Nystroem(graph.attach, pencil, spectrum.values[used], V[:, used], T[used], embedding.Z, known)
    return replace(embedding, extension=extension)


@dataclass(frozen=True, eq=False)
class Regression:
    """z(x) = m_z + (phi(x) - m)'W, fitted to an embedding.

    ridge: as used, in units of the mean squared feature. residual: |Z - fit|_F / |HZ|_F on the training rows, 0 where
    the fit interpolates. leave_one_out: the same for rows left out of the fit one by one, in closed form.
    """

    features: FeatureMap | None
    W: Array
    mean: Array
    mean_Z: Array
    ridge: float
    residual: float
    leave_one_out: float

    def __call__(self, X: Array) -> Array:
        X, phi = as_rows(X, None if self.features else self.mean.size), self.features
        return in_blocks(
            lambda rows: ((rows if phi is None else phi(rows)) - self.mean) @ self.W + self.mean_Z, X, *self.W.shape
        )


def extend(embedding: Any, X: Any, *, kernel: Any = "exact", ridge: float | None = None) -> Embedding:
    """The same embedding with a map for new samples, fitted by kernel ridge regression from its training rows X (N, D).

    min |HZ - H Phi W|_F^2 + r |W|_F^2, Phi the features of `kernel` (see `spectral_ssl.kernels`; None: X itself), r =
    ridge * tr(Phi'H Phi) / p. ridge None takes the value of least leave-one-out error, from one factorisation. With
    ridge 0 and an exact kernel of full rank the map interpolates: transform(X) equals Z; else
    `result.extension.residual` says how far it is from that.

    Raises DataError where X has another number of rows than the embedding.
    """
    given = getattr(embedding, "embedding", embedding)  # of an Optimum or a TrainResult
    base = given if isinstance(given, Embedding) else Embedding(Z=as_samples(given, "embedding"))
    X = as_samples(X)
    Z = base.Z
    if X.shape[0] != Z.shape[0]:
        raise DataError(f"the embedding has {Z.shape[0]} rows, X {X.shape[0]}: pass the samples it was made from")
    if ridge is not None:
        ridge = check_real(ridge, "ridge (None chooses it)", low=0)
    features = None if kernel is None else feature_map(kernel, X)
    Phi = X if features is None else features(X)
    mean, mean_Z = Phi.mean(axis=0), Z.mean(axis=0)
    U, s, Vt = linalg.svd(Phi - mean)
    keep = s > max(Phi.shape) * linalg.EPS * s.max(initial=0.0)
    U, s, Vt = U[:, keep], s[keep], Vt[keep]
    if not s.size:
        raise DataError("all features are constant: X has no direction to learn from; give features that vary")
    unit = float((s**2).sum()) / Phi.shape[1]
    C, size = U.T @ (Z - mean_Z), max(float(np.linalg.norm(Z - mean_Z)), 1e-300)

    def errors(r: float) -> tuple[float, float]:
        """Relative residual, and leave-one-out error: the residual of row i over 1 - its leverage."""
        h = s**2 / (s**2 + r)
        E = (Z - mean_Z) - U @ (h[:, None] * C)
        leverage = 1 / Z.shape[0] + (U**2 @ h)
        left = E / np.maximum(1 - leverage, linalg.EPS)[:, None]
        return float(np.linalg.norm(E)) / size, float(np.linalg.norm(left)) / size

    chosen = ridge if ridge is not None else float(min(RIDGES, key=lambda r: errors(r * unit)[1]))
    residual, left_out = errors(chosen * unit)
    W = Vt.T @ ((s / (s**2 + chosen * unit))[:, None] * C)
    fitted = Regression(features, W, mean, mean_Z, chosen, residual, left_out)
    return replace(base, W=None, mean=None, features=None, extension=fitted)
