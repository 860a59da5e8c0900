"""Coordinates of data before any training: what an encoder can vary easily, and in which order.

**Smooth** (`smooth_chart`): the leading principal components of an rbf kernel over standardised rows, by landmarks.

**Of an untrained network** (`network_chart`): the principal components of everything that a perceptron of the encoder's
shape computes from standardised rows while its weights are still as they were drawn,

    phi(x) = [x, h_1, .., h_depth],   h_l = relu(W_l' h_{l-1} + b_l),   W, b ~ U(-1 / sqrt(fan in), 1 / sqrt(fan in))

the initialisation of torch.nn.Linear. With w_1 >= w_2 >= .. the variances of the components p_j over the rows, a
coordinate is

    q_j(x) = p_j(x) / sqrt(w_j + rho sum_l w_l)

so that descent on maps of q takes equal steps in all directions of share w_j / sum w well above rho, and short ones in
those below, which memorise: a network that is trained for a while fits the leading directions of its features first.
Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data import as_rows
from spectral_ssl.data._checks import check_int, check_real, frozen, generator
from spectral_ssl.embedding import Array
from spectral_ssl.kernels import FeatureMap, nystroem

__all__ = ["Chart", "NetworkChart", "network_chart", "smooth_chart"]

N_LANDMARKS, N_COORDINATES = 300, 100
ROWS_EACH = 8  # rows of data for every coordinate, so that a map over what a relation keeps of them is no interpolation
COORDINATES_MIN = 16
FAINT = 1e-10  # of the largest kernel principal value: what is fainter is rounding
N_NETWORK = 350  # coordinates of an untrained network
SHARE = 1e-4  # rho


@dataclass(frozen=True, eq=False)
class Chart:
    """Smooth coordinates of rows: chart(X) (n, q), of mean 0 and Q'Q = I over the rows it was made from.

    X (N, D): those rows; Q (N, q): their coordinates, not computed again where chart(X) is asked for the same array.
    variance (q,): what each coordinate explains of the kernel's features, as shares, descending.
    """

    X: Any
    Q: Array
    mean: Array
    inverse: Array
    features: FeatureMap
    centre: Array
    T: Array
    variance: Array

    @property
    def n_coordinates(self) -> int:
        return int(self.T.shape[1])

    def __call__(self, X: Any) -> Array:
        if X is self.X:
            return self.Q
        X = as_rows(X, self.mean.size)
        out: Array = (self.features((X - self.mean) * self.inverse) - self.centre) @ self.T
        return out


def smooth_chart(X: Any, *, n_landmarks: int = N_LANDMARKS, n_coordinates: int | None = None, seed: int = 0) -> Chart:
    """The leading principal components of an rbf kernel over standardised rows X (N, D), by landmarks.

    Its bandwidth is the median distance. n_coordinates: q; None takes 100, fewer where there are fewer than 8 rows for
    each. One chart serves all relations over the same data, views of them included.
    """
    given, X = X, as_rows(X)
    if n_coordinates is None:
        n_coordinates = min(N_COORDINATES, max(COORDINATES_MIN, len(X) // ROWS_EACH))
    check_int(n_coordinates, "n_coordinates", low=1)
    mean, inverse = _standard(X)
    rows = (X - mean) * inverse
    features = nystroem(rows, n_landmarks=n_landmarks, seed=seed)
    Phi = features(rows)
    centre = Phi.mean(axis=0)
    values, V = linalg.eigh((Phi - centre).T @ (Phi - centre))
    order = np.argsort(-values, kind="stable")[:n_coordinates]
    order = order[values[order] > FAINT * values.max()]
    T = V[:, order] / np.sqrt(values[order])
    return Chart(
        X=given,
        Q=frozen((Phi - centre) @ T),
        mean=frozen(mean),
        inverse=frozen(inverse),
        features=features,
        centre=frozen(centre),
        T=frozen(T),
        variance=frozen(values[order] / values[values > 0].sum()),
    )


@dataclass(frozen=True, eq=False)
class NetworkChart:
    """Coordinates of an untrained network: chart(X) (n, q), of mean 0 over the rows it was made from.

    X (N, D): those rows; Q (N, q): their coordinates, not computed again where chart(X) is asked for the same array.
    variance (q,): w_j as shares of all variance, descending. share: rho. layers: weights and biases, as drawn.
    cost (q,): squared length of weights, on features of total variance 1, that make coordinate j; 1 / (v_j + rho).
    """

    X: Any
    Q: Array
    mean: Array
    inverse: Array
    layers: tuple[tuple[Array, Array], ...]
    centre: Array
    T: Array
    variance: Array
    share: float

    @property
    def n_coordinates(self) -> int:
        return int(self.T.shape[1])

    @property
    def cost(self) -> Array:
        return 1 / (self.variance + self.share)

    def __call__(self, X: Any) -> Array:
        if X is self.X:
            return self.Q
        X = as_rows(X, self.mean.size)
        P = _layers_of((X - self.mean) * self.inverse, self.layers)
        out: Array = (P @ self.T.astype(np.float32)).astype(np.float64) - self.centre @ self.T
        return out


def network_chart(
    X: Any,
    *,
    width: int = 256,
    depth: int = 2,
    n_coordinates: int = N_NETWORK,
    share: float = SHARE,
    seed: int = 0,
) -> NetworkChart:
    """The leading q principal components of the layers of an untrained perceptron over rows X (N, D); see the module.

    width, depth: of its hidden layers, as of `mlp(width=256, depth=2)`; depth 0 leaves the standardised rows. Fewer
    coordinates are found where rows or features are fewer. share: rho > 0. One chart serves all relations over the
    same data, views of them included.
    """
    given, X = X, as_rows(X)
    for value, name, low in ((width, "width", 1), (depth, "depth", 0), (n_coordinates, "n_coordinates", 1)):
        check_int(value, name, low=low)
    check_real(share, "share", low=0, open_low=True)
    rng = generator(seed, "a chart")
    mean, inverse = _standard(X)
    layers, size = [], X.shape[1]
    for _ in range(depth):
        bound = 1 / np.sqrt(size)
        layers.append((rng.uniform(-bound, bound, (size, width)), rng.uniform(-bound, bound, width)))
        size = width
    P = _layers_of((X - mean) * inverse, tuple(layers)).astype(np.float64)
    centre = P.mean(axis=0)
    P = P - centre
    values, V = linalg.eigh(P.T @ P / len(P))
    total = values[values > 0].sum()
    order = np.argsort(-values, kind="stable")[:n_coordinates]
    order = order[values[order] > FAINT * values.max()]
    T = V[:, order] / np.sqrt(values[order] + share * total)
    return NetworkChart(
        X=given,
        Q=frozen(P @ T),
        mean=frozen(mean),
        inverse=frozen(inverse),
        layers=tuple((frozen(W), frozen(b)) for W, b in layers),
        centre=frozen(centre),
        T=frozen(T),
        variance=frozen(values[order] / total),
        share=share,
    )


def _layers_of(rows: Array, layers: tuple[tuple[Array, Array], ...]) -> Array:
    """[x, h_1, .., h_depth] (n, D + depth width) of standardised rows, in single precision, as networks compute."""
    found = [rows.astype(np.float32)]
    for W, b in layers:
        found.append(np.maximum(found[-1] @ W.astype(np.float32) + b.astype(np.float32), 0.0))
    return np.hstack(found)


def _standard(X: Array) -> tuple[Array, Array]:
    """Mean (D,) of the rows, and one over their deviation, 0 for constant features."""
    mean, spread = X.mean(axis=0), X.std(axis=0)
    varies = spread > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    return mean, np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
