"""Sufficient statistics of the linear regime: everything a quadratic method can know of data and relation.

`Moments` are closed under linear maps, `Moments(X).map(W) == Moments(XW)`, so one class serves data (D x D) and
embeddings (K x K), numpy arrays and torch tensors; and they add over shards with no pair across, so data that do not
fit in memory are one pass.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph, Groups

__all__ = ["Moments"]

ROWS = 8192  # rows per block: one block of products stays in cache and no N x D temporary is made
OFFSET_MAX = 1e4  # |mean| / std past which X is centred in a copy first: d x - A x would lose that factor in digits
CONSTANT_TOL = 4e-15  # std / |mean| of a constant feature: what centring leaves of it is a few roundings of its mean


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of X (N, D) under a relation A; H = I - 11'/N, m = X'1/N, m_d = X'deg/s, Xd = X - 1 m_d'.

    n_samples: N. total_weight: s. mean: m (D,). degree_mean: m_d (D,). scatter: X'HX. laplacian: X'LX.
    degree_scatter: Xd'diag(deg)Xd. adjacency_norm2: |A|_F^2. All matrices (D, D); L and the scatters are kept centred,
    so that no large mean is subtracted twice; the uncentred forms are derived.
    """

    n_samples: int
    total_weight: float
    mean: Any
    degree_mean: Any
    scatter: Any
    laplacian: Any
    degree_scatter: Any
    adjacency_norm2: float

    # derived: on degree-centred data X'A Xd = Xd'A Xd, because Xd'deg = 0
    @property
    def adjacency_centred(self) -> Any:
        """Xd'A Xd = Xd'diag(deg)Xd - X'LX."""
        return self.degree_scatter - self.laplacian

    @property
    def gram(self) -> Any:
        """X'X."""
        return self.scatter + self.n_samples * _outer(self.mean)

    @property
    def degree_gram(self) -> Any:
        """X'diag(deg)X."""
        return self.degree_scatter + self.total_weight * _outer(self.degree_mean)

    @property
    def adjacency(self) -> Any:
        """X'AX."""
        return self.adjacency_centred + self.total_weight * _outer(self.degree_mean)

    @property
    def n_features(self) -> int:
        return int(self.mean.shape[0])

    def map(self, W: Any) -> Moments:
        """Moments of XW for W (D, K)."""
        return replace(
            self,
            mean=W.T @ self.mean,
            degree_mean=W.T @ self.degree_mean,
            scatter=W.T @ self.scatter @ W,
            laplacian=W.T @ self.laplacian @ W,
            degree_scatter=W.T @ self.degree_scatter @ W,
        )

    def penalised(self, penalty: Any) -> Moments:
        """Moments whose energy X'LX has a penalty (D, D) added: W'(X'LX + penalty)W, and W'(X'AX - penalty)W."""
        return replace(self, laplacian=self.laplacian + penalty)

    def __add__(self, other: Moments) -> Moments:
        """Moments of two shards with no positive pair across (Chan, Golub & LeVeque's pairwise update)."""
        if self.n_features != other.n_features:
            raise DataError(f"shards have {self.n_features} and {other.n_features} features")
        mean, scatter = _merge(self.n_samples, self.mean, self.scatter, other.n_samples, other.mean, other.scatter)
        degree_mean, degree_scatter = _merge(
            self.total_weight,
            self.degree_mean,
            self.degree_scatter,
            other.total_weight,
            other.degree_mean,
            other.degree_scatter,
        )
        return Moments(
            self.n_samples + other.n_samples,
            self.total_weight + other.total_weight,
            mean,
            degree_mean,
            scatter,
            self.laplacian + other.laplacian,
            degree_scatter,
            self.adjacency_norm2 + other.adjacency_norm2,
        )

    @classmethod
    def from_arrays(cls, X: Any, graph: Graph) -> Moments:
        """One pass over X (N, D) in row blocks; no centred copy is made (unless the mean dwarfs the spread)."""
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[0] != graph.n_samples:
            raise DataError(f"X has shape {X.shape}, but the relation is over {graph.n_samples} samples")
        if not np.all(np.isfinite(X)):
            raise DataError(f"X holds {np.count_nonzero(~np.isfinite(X))} NaN or infinite values; remove those rows")
        N, D = X.shape
        s, deg = graph.total_weight, graph.degree
        blocks = [slice(start, start + ROWS) for start in range(0, N, ROWS)]
        mean = X.mean(axis=0)
        offset = np.zeros(D)
        spread = np.sqrt(sum(((X[block] - mean) ** 2).sum(axis=0) for block in blocks) / N)
        if np.any(np.abs(mean) > OFFSET_MAX * spread):  # constant features too: their degree mean rounds differently
            offset, X = mean, X - mean
            mean = X.mean(axis=0)
        degree_mean = deg @ X / s
        scatter, degree_scatter, laplacian = (np.zeros((D, D)) for _ in range(3))
        for block in blocks:
            B = X[block] - mean
            scatter += B.T @ B
            B = X[block] - degree_mean
            degree_scatter += B.T @ (deg[block, None] * B)
            if graph.edges is not None:
                A = graph.edges[block]
                laplacian += B.T @ (np.asarray(A.sum(axis=1)).reshape(-1, 1) * X[block] - A @ X)
        for g in graph.groups:
            laplacian += _group_laplacian(X, g)
        return cls(
            N,
            s,
            mean + offset,
            degree_mean + offset,
            _without_constants(scatter, N, mean + offset),
            (laplacian + laplacian.T) / 2,
            _without_constants((degree_scatter + degree_scatter.T) / 2, s, degree_mean + offset),
            graph.adjacency_norm2,
        )

    @classmethod
    def from_chunks(cls, chunks: Iterable[tuple[Any, Graph]]) -> Moments:
        """Merge shards (X, graph), each with the relation among its own rows; pairs across shards do not exist."""
        total: Moments | None = None
        for X, graph in chunks:
            part = cls.from_arrays(X, graph)
            total = part if total is None else total + part
        if total is None:
            raise DataError("no chunks were given; pass an iterable of (X, graph)")
        return total

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to an npz file; the path is taken as given."""
        arrays: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        with Path(path).open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Moments:
        """Read what `save` wrote. Raises DataError for any other file, and for one cut short."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                found: dict[str, Any] = {f.name: stored[f.name] for f in fields(cls)}
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{os.fspath(path)!r} is not a moments file written by Moments.save: {error}") from error
        D = found["mean"].size
        for name, array in found.items():
            shape = (D,) if "mean" in name else (D, D) if name in ("scatter", "laplacian", "degree_scatter") else ()
            if array.shape != shape or array.dtype.kind not in "fi" or not np.all(np.isfinite(array)):
                raise DataError(
                    f"{os.fspath(path)!r} is not a moments file: {name} should be finite numbers of shape {shape}, got "
                    f"{array.dtype} of shape {array.shape}"
                )
        for name in ("total_weight", "adjacency_norm2"):
            found[name] = float(found[name])
        found["n_samples"] = int(found["n_samples"])
        return cls(**found)


def _outer(v: Any) -> Any:
    return v[:, None] * v[None, :]


def _merge(a: float, mean_a: Any, scatter_a: Any, b: float, mean_b: Any, scatter_b: Any) -> tuple[Any, Any]:
    delta = mean_b - mean_a
    mean = mean_a + delta * (b / (a + b))
    return mean, _without_constants(scatter_a + scatter_b + _outer(delta) * (a * b / (a + b)), a + b, mean)


def _without_constants(scatter: Any, weight: float, mean: Any) -> Any:
    """Zero rows and columns for constant features, so that no whitening takes their rounding for a direction."""
    varies = scatter.diagonal() > weight * (CONSTANT_TOL * mean) ** 2
    return scatter * varies[:, None] * varies[None, :]


def _group_laplacian(X: Any, g: Groups) -> Any:
    """sum_c w_c n_c sum_{i in c} (x_i - xbar_c)(x_i - xbar_c)': within-group scatter, free of cancellation."""
    means = np.vstack([(g.member @ X) / np.maximum(g.sizes, 1)[:, None], np.zeros((1, X.shape[1]))])
    row = np.append(g.weight * g.sizes, 0.0)[g.codes]
    out = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, X.shape[0], ROWS):
        block = slice(start, start + ROWS)
        B = X[block] - means[g.codes[block]]
        out += B.T @ (row[block, None] * B)
    return out
