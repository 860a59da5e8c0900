"""One factorisation per pencil and model; every method and hyper-parameter is a filter on it.

==================  =====================  ==============  ===========================================================
pencil              A v = mu B v           best            who reads it
==================  =====================  ==============  ===========================================================
"laplacian"         (L, H), centred        smallest        VICReg, Laplacian Eigenmaps, LPP, LDA
"adjacency"         (A, I)                 largest         Frobenius SimCLR
"degree"            (A, diag(deg))         largest         spectral contrastive loss
"degree_centred"    the same, off 1        largest         Barlow Twins, degree-weighted VICReg, normalised eigenmaps
"cross_moment"      (A, I) in weights      largest         unnormalised Barlow Twins (free: the adjacency pencil)
==================  =====================  ==============  ===========================================================

The model says over what the pencil is taken: "free" over all Z (N, K), matrix-free on the graph; "linear" over Z = XW,
where the pencil is compressed to X'AX, X'BX (D x D); "kernel" over Z = Phi W, the linear model on features with
Phi Phi' = K (see kernels.py). A regular graph needs a single free factorisation, since there L = dI - A; and over all Z
the uncentred degree pencil is the centred one plus the constant.

A ridge r penalises the map: wherever a loss has the energy tr(Z'LZ), the model adds r |W|_F^2 to it (and so takes it
from tr(Z'AZ)), X'LX becoming X'LX + rI. In the kernel model |W|_F is the norm in the kernel's Hilbert space. r is in
units of the energy, not of a loss, so one factorisation still serves every hyper-parameter: for VICReg the loss gains
eta |W|^2 with eta = 2 gamma r / N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data import as_dataset
from spectral_ssl.errors import DataError, NumericalError
from spectral_ssl.free import best_pairs, residuals
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import FeatureMap, feature_map
from spectral_ssl.moments import Moments

__all__ = ["Model", "Pencil", "Spectra", "Spectrum"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Pencil = Literal["laplacian", "adjacency", "degree", "degree_centred", "cross_moment"]
Model = Literal["free", "linear", "kernel"]

TIE_TOL = 1e-9  # two eigenvalues closer than this share of the largest count as copies of one
ZERO_TOL = 1e-12  # an eigenvalue of a dense pencil below this share of the largest is zero
CONDITION_MAX = 1e6  # of X'X at unit diagonal, past which X is factorised itself: 1e6 roundings are 2e-10
MOMENTS_TOL = 1e-8  # relative residual past which moments alone are refused
MARGIN = 8  # eigenpairs computed past the components asked for: the gap, and a scree plot worth reading


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A factorisation A v_k = mu_k B v_k with v_j'B v_k = delta_jk, best value first.

    values (R,); vectors (N, R): the scores, X @ weights in the linear model; weights (D, R) | None; mean (D,) | None,
    subtracted from X where the pencil is centred; features: the map to what stands for X in the kernel model;
    residuals (R,): |A v - mu B v| in the norm of B^-1, measured on the pairs held, relative to a bound on |mu| (free:
    2 max deg, max deg or 1; linear: max |mu|); dimension: size of the space, R of which is held; solver: what ran and
    why; n_samples N; total_weight s; adjacency_norm2 |A|_F^2.
    """

    pencil: Pencil
    model: Model
    values: Array
    vectors: Array
    residuals: Array
    dimension: int
    solver: str
    n_samples: int
    total_weight: float
    adjacency_norm2: float
    weights: Array | None = None
    mean: Array | None = None
    n_features: int | None = None
    features: FeatureMap | None = None

    def __post_init__(self) -> None:
        for array in (self.values, self.vectors, self.residuals, self.weights, self.mean):
            if array is not None:
                array.setflags(write=False)

    @property
    def complete(self) -> bool:
        """Whether every eigenvalue of the pencil is held."""
        return self.values.size >= self.dimension

    def gap(self, r: int) -> float:
        """|mu_{r+1} - mu_r| / max|mu| over the values held: how well the first r directions are determined.

        Infinite where no (r+1)-th eigenvalue exists.
        """
        if not 0 <= r <= self.values.size or (r == self.values.size and not self.complete):
            raise DataError(f"the gap at {r} needs {r + 1} eigenvalues, {self.values.size} are held")
        if r in (0, self.values.size):
            return math.inf
        size = float(np.abs(self.values).max())
        return float(abs(self.values[r] - self.values[r - 1])) / size if size > 0 else 0.0

    def multiplicity(self, r: int) -> int:
        """How many of the values held are copies of mu_r (r from 1)."""
        if not 1 <= r <= self.values.size:
            raise DataError(f"eigenvalue {r} was asked for, {self.values.size} are held")
        size = max(float(np.abs(self.values).max()), 1e-300)
        return int(np.count_nonzero(np.abs(self.values - self.values[r - 1]) <= TIE_TOL * size))


class Spectra:
    """The factorisations of one relation and one model class, each computed once, when first asked for.

    Pass it to `ss.optimum` in place of the graph to share them over methods and hyper-parameters:

    >>> spectra = ss.Spectra(graph, X=data.X)                                           # doctest: +SKIP
    >>> [ss.optimum(ss.VICReg(invariance=g), spectra, 8).loss for g in grid]            # doctest: +SKIP

    graph: the relation; X (N, D): data of the linear model, None for the free one; moments: given instead of X where
    the data do not fit in memory (embeddings then hold weights, and no rows). kernel: a call string over
    `spectral_ssl.kernels.KERNELS`, "nystroem(n_landmarks=500)", a function k(X, Y) or a FeatureMap: the kernel model of
    X. ridge: r >= 0, adds r |W|_F^2 to the energy tr(Z'LZ), see the module docstring.
    """

    def __init__(
        self,
        graph: Graph | None = None,
        *,
        X: Any = None,
        moments: Moments | None = None,
        kernel: Any = None,
        ridge: float = 0.0,
    ) -> None:
        if graph is None and moments is None:
            raise DataError("Spectra needs a graph, or the moments of one")
        if moments is not None and X is not None:
            raise DataError("give either X or its moments, not both")
        if moments is not None and graph is not None and moments.n_samples != graph.n_samples:
            raise DataError(f"the moments are of {moments.n_samples} samples, the relation of {graph.n_samples}")
        if kernel is not None and X is None:
            raise DataError("the kernel model needs the data its kernel compares: pass X=")
        if isinstance(ridge, bool) or not isinstance(ridge, int | float | np.number) or not 0 <= ridge < math.inf:
            raise DataError(f"ridge must be a number >= 0, got {ridge!r}")
        if ridge and X is None and moments is None:
            raise DataError("ridge= penalises the map of a linear or kernel model; over all embeddings there is none")
        self.graph = graph
        self.X: Array | None = None if X is None else np.asarray(as_dataset(X, name="X").X)
        self.features: FeatureMap | None = None
        if kernel is not None and self.X is not None:
            self.features = feature_map(kernel, self.X)
            self.X = self.features(self.X)
        self.ridge = float(ridge)
        self.moments = moments
        if graph is not None and self.X is not None:
            self.moments = Moments.from_arrays(self.X, graph)
        self.model: Model = "free" if self.moments is None else "linear" if self.features is None else "kernel"
        self._held: dict[str, Spectrum] = {}
        self._bases: dict[str, Basis | None] = {}

    @property
    def n_samples(self) -> int:
        return self.moments.n_samples if self.moments is not None else self._graph.n_samples

    @property
    def _graph(self) -> Graph:
        assert self.graph is not None
        return self.graph

    def of(self, pencil: Pencil, n_components: int) -> Spectrum:
        """The spectrum of a pencil with at least n_components + 1 pairs (all of them where fewer exist)."""
        if self.model != "free":
            if pencil not in self._held:
                self._held[pencil] = self._linear(pencil)
            return self._held[pencil]
        return self._free(pencil, n_components + 1)

    # --- linear: one dense D x D problem ----------------------------------------------------------------------------

    def basis(self, pencil: Pencil) -> Basis | None:
        """X whitened by the second matrix of a pencil through a singular value decomposition.

        None where the moments alone are accurate enough, or where no X is held: products X'X square its condition.
        """
        if pencil not in self._bases:
            m = self.moments
            assert m is not None
            found = None
            if self.X is not None and pencil != "cross_moment" and linalg.condition(_second(m, pencil)) > CONDITION_MAX:
                found = _basis(self.X, self._graph, m, pencil)
            self._bases[pencil] = found
        return self._bases[pencil]

    def _linear(self, pencil: Pencil) -> Spectrum:
        m = self.moments
        assert m is not None
        mean = {"laplacian": m.mean, "degree_centred": m.degree_mean}.get(pencil)
        basis = self.basis(pencil)
        T, local = (None, m) if basis is None else (basis.T, basis.moments)
        if self.ridge:
            T, local = self._penalised(pencil, basis)
        A = {"laplacian": local.laplacian, "degree_centred": local.adjacency_centred}.get(pencil, local.adjacency)
        pairs = linalg.generalized_eigh(A, _second(local, pencil), largest=pencil != "laplacian")
        weights = pairs.vectors if T is None else T @ pairs.vectors
        if basis is None and self.X is None and pairs.residuals.max(initial=0.0) > MOMENTS_TOL:
            raise NumericalError(
                f"moments too ill-conditioned for their {pencil} pencil (residual {pairs.residuals.max():.0e}): "
                "features are nearly collinear, or their mean dwarfs their spread; centre or drop features, or give X"
            )
        values = (
            self._signed(pairs.values) if pencil == "cross_moment" else _without_faint(pairs.values, pairs.residuals)
        )
        if pencil == "laplacian":
            values = np.maximum(values, 0.0)  # L is psd
        return Spectrum(
            pencil=pencil,
            model=self.model,
            values=values,
            vectors=self._scores(weights, mean) if basis is None else basis.Q @ pairs.vectors,
            residuals=pairs.residuals,
            dimension=pairs.rank,
            solver=pairs.solver if basis is None else f"{pairs.solver}, in a basis of X by singular values",
            weights=weights,
            mean=mean,
            n_features=m.n_features,
            features=self.features,
            **self._sizes(),
        )

    def _penalised(self, pencil: Pencil, basis: Basis | None) -> tuple[Array, Moments]:
        """Coordinates T (D, r) of the maps that a ridge leaves over, and the moments of XT with r T'T in the energy.

        Maps that X cannot tell apart differ by null(B): the ridge takes the shortest, orthogonal to it.
        """
        m = self.moments
        assert m is not None
        if pencil == "cross_moment":  # weights themselves are the coordinates
            return np.eye(m.n_features), m.penalised(self.ridge * np.eye(m.n_features))
        B = _second(m, pencil)
        T = linalg.shortest(linalg.whitening(B)[0] if basis is None else basis.T, B)
        local = m.map(T) if basis is None else basis.moments
        return T, local.penalised(self.ridge * (T.T @ T))

    def _signed(self, values: Array) -> Array:
        """Eigenvalues of X'AX with the signs that Sylvester's law gives them, whatever the units of the features.

        The law: as many are positive as in the whitened pencil (X'AX, X'X), where zero can be told from rounding.
        """
        positive = int(np.count_nonzero(self.of("adjacency", 1).values > 0))
        if positive and values[positive - 1] <= ZERO_TOL * values[0]:
            raise NumericalError(
                f"X'AX has {positive} positive eigenvalues, but they span more than {1 / ZERO_TOL:.0e} in size: "
                "features in unlike units, or far from zero; standardise them for the unnormalised form, which sees "
                "their units"
            )
        return np.where(np.arange(values.size) < positive, values, np.minimum(values, 0.0))

    def _scores(self, weights: Array, mean: Array | None) -> Array:
        if self.X is None:
            return np.zeros((0, weights.shape[1]))
        scores: Array = self.X @ weights
        return scores if mean is None else scores - mean @ weights

    def _sizes(self) -> dict[str, Any]:
        source = self.moments if self.moments is not None else self._graph
        return {
            "n_samples": source.n_samples,
            "total_weight": source.total_weight,
            "adjacency_norm2": source.adjacency_norm2,
        }

    # --- free: sparse, split by components, derived where the graph is regular ----------------------------------------

    def _free(self, pencil: Pencil, r: int) -> Spectrum:
        held = self._held.get(pencil)
        if held is None or (held.values.size < r and not held.complete):
            held = self._solve(pencil, r)
            if pencil != "laplacian":  # whose small eigenvalues are those that count; its zeros are known by components
                held = replace(held, values=_without_faint(held.values, held.residuals))
            self._held[pencil] = held
        return held

    def _solve(self, pencil: Pencil, r: int) -> Spectrum:
        graph = self._graph
        if pencil == "cross_moment":
            return replace(self._free("adjacency", r), pencil=pencil)
        if pencil == "degree":
            # off the samples of degree zero the constant has eigenvalue 1; there every vector of this pencil is zero
            constant = (graph.degree > 0)[:, None] / math.sqrt(graph.total_weight)
            return self._derived(self._free("degree_centred", r), pencil, constant=constant, top=1.0)
        if pencil == "laplacian" or not graph.regular:
            pairs = best_pairs(graph, pencil, r + MARGIN)
            return Spectrum(
                pencil=pencil,
                model="free",
                values=pairs.values,
                vectors=pairs.vectors,
                residuals=pairs.residuals,
                dimension=pairs.rank,
                solver=pairs.solver,
                **self._sizes(),
            )
        base, d = self._free("laplacian", r), float(graph.degree.mean())
        if pencil == "adjacency":
            constant = np.full((self.n_samples, 1), 1 / math.sqrt(self.n_samples))
            derived = replace(base, values=d - base.values, solver=f"{base.solver}; regular graph: A = dI - L")
            return self._derived(derived, pencil, constant=constant, top=d)
        solver = f"{base.solver}; regular graph: A/d = I - L/d"
        values, vectors = 1 - base.values / d, base.vectors / math.sqrt(d)
        return self._derived(replace(base, values=values, vectors=vectors, solver=solver), pencil)

    def _derived(
        self, spectrum: Spectrum, pencil: Pencil, *, constant: Array | None = None, top: float = 1.0
    ) -> Spectrum:
        """A spectrum read as that of another pencil, with the constant (N, 1) and its value put first if given."""
        values, vectors = spectrum.values, spectrum.vectors
        if constant is not None:
            values, vectors = np.concatenate([[top], values]), np.hstack([constant, vectors])
        return replace(
            spectrum,
            pencil=pencil,
            values=values,
            vectors=vectors,
            residuals=residuals(self._graph, pencil, values, vectors),
            dimension=spectrum.dimension + (constant is not None),
        )


@dataclass(frozen=True, eq=False)
class Basis:
    """X in coordinates of its own: Q = (X - offset) T (N, r) with Q'BQ = I, T (D, r), and the moments of Q."""

    Q: Array
    T: Array
    moments: Moments


def _second(m: Moments, pencil: Pencil) -> Any:
    """The second matrix of a pencil."""
    return {
        "laplacian": m.scatter,
        "adjacency": m.gram,
        "degree": m.degree_gram,
        "degree_centred": m.degree_scatter,
        "cross_moment": np.eye(m.n_features),
    }[pencil]


def _basis(X: Array, graph: Graph, m: Moments, pencil: Pencil) -> Basis:
    offset = {"laplacian": m.mean, "degree_centred": m.degree_mean}.get(pencil, np.zeros(m.n_features))
    weight = np.sqrt(graph.degree) if pencil.startswith("degree") else np.ones(graph.n_samples)
    F = (X - offset) * weight[:, None]
    size = np.where(np.diag(_second(m, pencil)) > 0, np.linalg.norm(F, axis=0), 0.0)
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    U, s, Vt = linalg.svd(F * inverse)
    keep = s > 4 * max(F.shape) * linalg.EPS * max(float(s.max(initial=0.0)), 1e-300)
    T = inverse[:, None] * (Vt[keep].T / s[keep])
    # U is accurate where (X - offset) T has cancelled; samples of weight zero are in no product of this pencil
    Q = np.divide(U[:, keep], weight[:, None], out=(X - offset) @ T, where=weight[:, None] > 0)
    return Basis(Q, T, Moments.from_arrays(Q, graph))


def _without_faint(values: Array, residuals: Array) -> Array:
    """Zero where a direction is fainter than the rounding of its problem, told by the residuals: no rank counts it."""
    faint = max(ZERO_TOL, 10 * float(residuals.max(initial=0.0)))
    return np.where(np.abs(values) <= faint * np.abs(values).max(initial=0.0), 0.0, values)
