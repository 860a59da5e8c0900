"""Embeddings and optima: what every solver returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spectral_ssl.errors import DataError

if TYPE_CHECKING:
    from spectral_ssl.kernels import FeatureMap
    from spectral_ssl.methods.base import Method

__all__ = ["Embedding", "Kind", "Optimum", "UniqueUpTo"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Kind = Literal["exact", "certified", "bound", "asymptotic"]
UniqueUpTo = Literal["rotation", "signed_permutation", "orthogonal+scale", "none"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """An embedding of N samples, and the map that made it where there is one.

    Z (N, K); spectrum (R,): eigenvalues of the pencil it was read from, best first, at least K + 1 where they exist,
    else empty; rank: number of nonzero directions of an optimum, None for a trained embedding.

    The map for new samples, by model: linear: Z = (X - mean) W, W (D, K), mean (D,) or None. kernel: the same on
    features(X), W (p, K). free: `extension`, a function of new samples (Nystroem's formula on the relation for optima,
    Gower's for multidimensional scaling, a regression for embeddings extended by `spectral_ssl.extend`), or None.
    """

    Z: Array
    spectrum: Array = field(default_factory=lambda: np.zeros(0))
    W: Array | None = None
    mean: Array | None = None
    rank: int | None = None
    features: FeatureMap | None = None
    extension: Callable[[Any], Array] | None = None

    @property
    def n_components(self) -> int:
        return int(self.Z.shape[1])

    @property
    def gap(self) -> float:
        """|mu_{r+1} - mu_r| / max|mu| at the rank r of the optimum: how well its subspace is determined.

        Infinite where no further eigenvalue exists; nan for an embedding read from no spectrum.
        """
        r = self.n_components if self.rank is None else self.rank
        if self.spectrum.size == 0:
            return math.nan
        if r == 0 or r >= self.spectrum.size:
            return math.inf
        size = float(np.abs(self.spectrum).max())
        return float(abs(self.spectrum[r] - self.spectrum[r - 1])) / size if size > 0 else 0.0

    @property
    def extends(self) -> bool:
        """Whether `transform` can embed new samples."""
        return self.W is not None or self.extension is not None

    def transform(self, X: Any) -> Array:
        """Embed new samples X (n, D): (n, K). On the training samples it equals Z, to rounding.

        (X - mean) W, with features(X) in place of X in the kernel model; the extension in the free one.
        Raises DataError for an embedding without a map, another number of features, NaN or infinite values.
        """
        X = np.asarray(X, dtype=np.float64)
        if X.ndim == 2 and not np.all(np.isfinite(X)):
            raise DataError(f"X holds {np.count_nonzero(~np.isfinite(X))} NaN or infinite values")
        if self.W is None:
            if self.extension is None:
                raise DataError(
                    "a free embedding assigns coordinates to its own samples only, and this relation has no rule for "
                    "new ones; fit one with ss.extend(embedding, X), or solve the linear or kernel model"
                )
            return self.extension(X)
        X = X if self.features is None else self.features(X)
        if X.ndim != 2 or X.shape[1] != self.W.shape[0]:
            raise DataError(f"X has shape {X.shape}, but the map takes {self.W.shape[0]} features")
        Z: Array = X @ self.W
        return Z if self.mean is None else Z - self.mean @ self.W


@dataclass(frozen=True, eq=False)
class Optimum:
    """The attainable minimum of a method's loss over a model class, and an embedding that reaches it.

    embedding: a minimiser. loss: the minimum; loss_terms: its parts, which sum to it. lower_bound: proven, equal to
    loss where kind is "exact". rank: of the embedding. kind: what is claimed. unique_up_to: two optima differ at most
    by this (not every such change need leave the loss alone: `note` says where). note: multiplicities and surplus
    components in words, "" if there is nothing to say. source: paper and statement. method: with every hyper-parameter
    resolved. solver: what computed the spectrum, and why.
    """

    embedding: Embedding
    loss: float
    loss_terms: dict[str, float]
    lower_bound: float
    rank: int
    kind: Kind
    unique_up_to: UniqueUpTo
    note: str
    source: str
    method: Method
    solver: str
    residual: float

    @property
    def gap(self) -> float:
        return self.embedding.gap
