"""What is trained: all embeddings, linear maps, or networks, each a few parameters and the rows of Z they make.

Free embeddings and linear maps optimise B in Z = T * B or W = T B. T whitens the second matrix of the method's own
pencil: a change of coordinates, of the data only, that knows nothing of the relation's eigenvectors;
`precondition=False` has T = 1. Every encoder's embedding is brought to the scale of the optimum in the same way, by
`Scale`.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spectral_ssl import linalg
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import Method, QuadraticMethod, embedding_moments
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import Spectra

__all__ = ["Encoder", "Free", "Linear", "Matrix", "Scale"]


@dataclass(frozen=True, eq=False)
class Scale:
    """z -> (z - mean) scale, rows then to the lengths of the optimum: what no loss sees, settled as optima have it.

    mean (K,), zero where the method does not centre; scale (K, K).
    """

    method: Method
    mean: Array
    scale: Array

    @classmethod
    def of(cls, method: Method, Z: Array, graph: Graph) -> Scale:
        """From an embedding Z (N, K) of all samples."""
        m = convert(embedding_moments(torch.as_tensor(Z), graph), lambda t: t.numpy())
        scale = method.column_scale(m)
        mean = np.zeros(Z.shape[1]) if method.centred is None else np.asarray(getattr(m, method.centred))
        return cls(method, mean, np.diag(scale) if scale.ndim == 1 else scale)

    def columns(self, Z: Array) -> Array:
        out: Array = (Z - self.mean) @ self.scale
        return out

    def rows(self, Z: Array) -> Array:
        out: Array = Z * self.method.row_scale(Z)[:, None]
        return out


class Encoder(abc.ABC):
    """Parameters, and the rows of Z (N, K) they make, differentiable in them."""

    parameters: list[torch.Tensor]
    kind: dict[str, Any]  # dtype and device of Z
    network: torch.nn.Module | None = None

    @abc.abstractmethod
    def rows(self, index: Any = None) -> torch.Tensor:
        """Rows `index` (n,) of Z, all for None."""

    @abc.abstractmethod
    def embedding(self, graph: Graph) -> Embedding:
        """The embedding of all samples in float64 on numpy, brought to the scale of the optimum, with its map."""

    def moments(self) -> Moments | None:
        """The moments of Z as tensors where they cost no pass over the samples; None elsewhere."""
        return None

    def penalty(self) -> torch.Tensor | None:
        """What a ridge adds to the energy Z'LZ, (K, K)."""
        return None

    def untouched(self) -> contextlib.AbstractContextManager[Any]:
        """What is evaluated inside leaves no trace."""
        return contextlib.nullcontext()


class Matrix(Encoder):
    """An encoder of one parameter, the matrix B."""

    B: torch.Tensor
    T: Array
    rows_are_free = False
    natural: float  # root mean square of the entries of B where the rows of Z have the size of an optimum's

    def _begin(self, rows: int, K: int, natural: float, kind: dict[str, Any]) -> None:
        self.kind, self.natural = kind, natural
        self.B = torch.zeros((rows, K), **kind, requires_grad=True)
        self.parameters = [self.B]
        self._T = self._tensor(self.T)

    def _tensor(self, array: Any) -> torch.Tensor:
        return torch.tensor(np.asarray(array), **self.kind)

    @property
    def _B(self) -> torch.Tensor:
        return self.B.detach().cpu().double()


class Free(Matrix):
    """Z = T * B with B (N, K), T (N, 1)."""

    rows_are_free = True

    def __init__(self, method: Method, graph: Graph, K: int, precondition: bool, kind: dict[str, Any]) -> None:
        self.method = method
        deg = graph.degree
        if precondition and method.whitens.startswith("degree"):
            # rows of samples without a pair are held at zero: the loss does not see them
            self.T = np.sqrt(np.divide(deg.mean(), deg, out=np.zeros_like(deg), where=deg > 0))[:, None]
        else:
            scaled = precondition and isinstance(method, QuadraticMethod) and method.pencil == "adjacency"
            self.T = np.full((deg.size, 1), unit(method, graph) if scaled else 1.0)
        self._begin(deg.size, K, row_size(method, graph) / float(self.T.mean()), kind)

    def rows(self, index: Any = None) -> torch.Tensor:
        Z = self.method.constrain(self._T * self.B)
        return Z if index is None else Z[torch.as_tensor(index, device=Z.device)]

    def embedding(self, graph: Graph) -> Embedding:
        Z = self.method.constrain(torch.as_tensor(self.T) * self._B).numpy()
        scale = Scale.of(self.method, Z, graph)
        Z = Z - scale.mean
        if self.method.whitens.startswith("degree"):
            Z[graph.degree == 0] = 0.0  # not seen by the loss, and moved off zero by the centring
        return Embedding(Z=scale.rows(Z @ scale.scale))


class Linear(Matrix):
    """Z = X W, W = T B, on X (N, D) or a kernel's features, with T (D, r) and B (r, K)."""

    def __init__(self, method: Method, spectra: Spectra, K: int, precondition: bool, kind: dict[str, Any]) -> None:
        assert spectra.X is not None
        assert spectra.moments is not None
        assert spectra.graph is not None
        self.method, self.X, self.features, self.ridge = method, spectra.X, spectra.features, spectra.ridge
        self.quadratic = isinstance(method, QuadraticMethod)
        m = spectra.moments
        self.mean = None if method.centred is None else np.asarray(getattr(m, method.centred))
        basis = spectra.basis(method.whitens) if precondition else None
        self.unit = unit(method, spectra.graph)
        if precondition:
            B = {
                "laplacian": m.scatter,
                "adjacency": m.gram,
                "degree": m.degree_gram,
                "degree_centred": m.degree_scatter,
            }[method.whitens]
            self.T = (linalg.whitening(B)[0] if basis is None else basis.T) * self.unit
        else:
            self.T = np.eye(m.n_features)
        r = self.T.shape[1]
        if r == 0:
            raise DataError("all features are constant: X has no direction to learn from; give features that vary")
        if method.full_rank and r < K:
            raise DataError(
                f"this loss needs {K} independent columns, but X has rank {r} for it; choose at most {r} components"
            )
        # coordinates in which X W would not cancel
        self.Q = None if basis is None or basis.Q is None or not self.quadratic else basis.Q
        size = float(np.sqrt(np.mean(self.X[:: max(1, len(self.X) // 1000)] ** 2) * m.n_features))
        raw = row_size(method, spectra.graph) / max(size, 1e-300)
        self._begin(r, K, r**-0.5 if precondition else raw, kind)
        self._moments: Moments | None = None
        self._X: torch.Tensor | None = None
        if self.quadratic:
            if basis is None:
                m = m.map(self.T).penalised(self.ridge * (self.T.T @ self.T))
            else:
                m = basis.moments.map(np.eye(r) * self.unit)
            self._moments = convert(m, self._tensor)

    def rows(self, index: Any = None) -> torch.Tensor:
        if not self.quadratic:
            if self._X is None and index is None:
                self._X = self._tensor(self.X)
            X = self._X if self._X is not None and index is None else self._tensor(self.X[index])
            return X @ self.method.constrain(self._T @ self.B)
        index = slice(None) if index is None else index
        if self.Q is not None:
            return self._tensor(self.Q[index] * self.unit) @ self.B
        X = self.X[index] if self.mean is None else self.X[index] - self.mean
        return self._tensor(X) @ (self._T @ self.B)

    def moments(self) -> Moments | None:
        return None if self._moments is None else self._moments.map(self.B)

    def penalty(self) -> torch.Tensor | None:
        if not self.ridge:
            return None
        W = self._T @ self.B
        return self.ridge * W.T @ W

    def embedding(self, graph: Graph) -> Embedding:
        W = self.method.constrain(torch.as_tensor(self.T) @ self._B).numpy()
        Z = self.X @ W if self.Q is None else (self.Q * self.unit) @ self._B.numpy()
        scale = Scale.of(self.method, Z, graph)
        return Embedding(Z=scale.columns(Z), W=W @ scale.scale, mean=self.mean, features=self.features)


def unit(method: Method, graph: Graph) -> float:
    """Scale of the whitened coordinates, so that an optimum has columns of about unit size there."""
    if method.whitens.startswith("degree"):
        return float(np.sqrt(graph.total_weight))
    if method.pencil == "adjacency":  # Z'Z = diag(g), g of the size of a degree
        return float(np.sqrt(graph.total_weight / graph.n_samples))
    return float(np.sqrt(graph.n_samples))


def row_size(method: Method, graph: Graph) -> float:
    """Root mean square of the entries of an optimal Z, roughly."""
    by_adjacency = not method.whitens.startswith("degree") and method.pencil == "adjacency"
    return unit(method, graph) / float(np.sqrt(graph.n_samples)) if by_adjacency else 1.0


def convert(m: Moments, change: Callable[[Any], Any]) -> Moments:
    """The moments with their arrays changed, say to tensors."""
    return Moments(
        m.n_samples,
        m.total_weight,
        change(m.mean),
        change(m.degree_mean),
        change(m.scatter),
        change(m.laplacian),
        change(m.degree_scatter),
        m.adjacency_norm2,
    )
