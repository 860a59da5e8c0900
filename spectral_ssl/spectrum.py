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
from spectral_ssl.data._checks import frozen
from spectral_ssl.embedding import relative_gap, value_size
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
    why; n_samples N; total_weight s; adjacency_norm2 |A|_F^2; scale: under a ridge the bound on |mu| without it, else
    None.
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
    scale: float | None = None

    def __post_init__(self) -> None:
        for name in ("values", "vectors", "residuals", "weights", "mean"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def complete(self) -> bool:
        """Whether every eigenvalue of the pencil is held."""
        return self.values.size >= self.dimension

    def gap(self, r: int) -> float:
        """|mu_{r+1} - mu_r| / max|mu| over the values held: how well the first r directions are determined.

        Infinite where no (r+1)-th eigenvalue exists. Under a ridge, whose penalties grow without end, see `scale`.
        """
        if not 0 <= r <= self.values.size or (r == self.values.size and not self.complete):
            raise DataError(f"the gap at {r} needs {r + 1} eigenvalues, {self.values.size} are held")
        return relative_gap(self.values, r, self.scale)

    def multiplicity(self, r: int) -> int:
        """How many of the values held are copies of mu_r (r from 1)."""
        if not 1 <= r <= self.values.size:
            raise DataError(f"eigenvalue {r} was asked for, {self.values.size} are held")
        size = max(value_size(self.values, r, self.scale), 1e-300)
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
        if graph is not None and not isinstance(graph, Graph):
            raise DataError(f"a relation must be a Graph, got {type(graph).__name__}; make one by ss.relations")
        self.graph = graph
        self.X: Array | None = None if X is None else np.asarray(as_dataset(X, name="X").X)
        self.features: FeatureMap | None = None
        if kernel is not None and self.X is not None:
            if graph is not None and self.X.shape[0] != graph.n_samples:  # before the kernel is solved
                raise DataError(f"X has {self.X.shape[0]} rows, but the relation is over {graph.n_samples} samples")
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
        """X in coordinates where a pencil is well conditioned; its moments hold the ridge, if there is one.

        None where there is no ridge and the moments alone are accurate enough, or no X is held: products X'X square
        its condition.
        """
        if pencil not in self._bases:
            m = self.moments
            assert m is not None
            found = None
            if pencil == "cross_moment":  # the weights themselves are its coordinates
                found = None
            elif self.ridge:
                found = self._penalised(pencil)
            elif self.X is not None and linalg.condition(_second(m, pencil)) > CONDITION_MAX:
                found = _basis(self.X, self._graph, m, pencil)
            self._bases[pencil] = found
        return self._bases[pencil]

    def _linear(self, pencil: Pencil) -> Spectrum:
        m = self.moments
        assert m is not None
        basis = self.basis(pencil)
        if basis is None:
            local = m.penalised(self.ridge * np.eye(m.n_features)) if self.ridge else m
        else:
            local = basis.moments
        A = {"laplacian": local.laplacian, "degree_centred": local.adjacency_centred}.get(pencil, local.adjacency)
        B, smallest = _second(local, pencil), pencil == "laplacian"
        if self.ridge and basis is not None:
            pairs = _inverted(A, B, 2 * self._bound(pencil), smallest)
        else:
            pairs = linalg.generalized_eigh(A, B, largest=not smallest)
        weights = pairs.vectors if basis is None else basis.T @ pairs.vectors
        if basis is None and self.X is None and pairs.residuals.max(initial=0.0) > MOMENTS_TOL:
            raise NumericalError(
                f"moments too ill-conditioned for their {pencil} pencil (residual {pairs.residuals.max():.0e}): "
                "features are nearly collinear, or their mean dwarfs their spread; centre or drop features, or give X"
            )
        if pencil == "cross_moment":
            values = self._signed(pairs.values)
        elif self.ridge:
            values = np.where(np.abs(pairs.values) <= ZERO_TOL * self._bound(pencil), 0.0, pairs.values)
        else:
            values = _without_faint(pairs.values, pairs.residuals)
        if smallest:
            values = np.maximum(values, 0.0)  # L is psd
        mean = {"laplacian": m.mean, "degree_centred": m.degree_mean}.get(pencil)
        scores = self._scores(weights, mean) if basis is None or basis.Q is None else basis.Q @ pairs.vectors
        return Spectrum(
            pencil=pencil,
            model=self.model,
            values=values,
            vectors=scores,
            residuals=pairs.residuals,
            dimension=pairs.rank,
            solver=pairs.solver if basis is None else f"{pairs.solver}, in {basis.made}",
            weights=weights,
            mean=mean,
            n_features=m.n_features,
            features=self.features,
            scale=self._bound(pencil) if self.ridge else None,
            **self._sizes(),
        )

    def _bound(self, pencil: Pencil) -> float:
        """A bound on |mu| without ridge: 1 where degrees weigh, else the largest degree, twice it for L."""
        if pencil.startswith("degree"):
            return 1.0
        m = self.moments
        assert m is not None
        if self.graph is not None:
            degree = float(self.graph.degree.max())
        else:  # as far as these data see it: the largest mean degree over a direction
            degree = float(linalg.generalized_eigh(m.degree_gram, m.gram, largest=True).values[0])
        return 2 * degree if pencil == "laplacian" else degree

    def _penalised(self, pencil: Pencil) -> Basis:
        """Coordinates T (D, q) with T'(B + (r/c) I)T = I, c twice a bound on |mu|, and r T'T in the energy.

        Whitening B alone would leave the ridge its inverse, as ill-conditioned as X'X: of a smooth kernel 1e12.
        Directions that X does not have are left out.
        """
        m, c = self.moments, 2 * self._bound(pencil)
        assert m is not None
        B, D = _second(m, pencil), m.n_features
        P = B + (self.ridge / c) * np.eye(D)
        offset = _offset(m, pencil)
        if self.X is None or linalg.condition(P) <= CONDITION_MAX:
            T = linalg.whitening(P)[0]
            local = m.map(T)
        else:
            F = (self.X - offset) * _weight(self._graph, pencil)[:, None]
            unit = np.sqrt((F**2).sum(axis=0) + self.ridge / c)
            _, s, Vt = linalg.svd(np.vstack([F, math.sqrt(self.ridge / c) * np.eye(D)]) / unit)
            T = (Vt.T / s) / unit[:, None]
            local = Moments.from_arrays((self.X - offset) @ T, self._graph)
        values, R = linalg.eigh(_second(local, pencil))
        R = R[:, values > 8 * max(D, 8) * linalg.EPS * max(float(values.max(initial=0.0)), 0.0)]
        T, local = T @ R, local.map(R)
        Q = None if self.X is None else (self.X - offset) @ T
        return Basis(Q, T, local.penalised(self.ridge * (T.T @ T)), "coordinates of X and the ridge")

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
    """X in coordinates of its own: Q = (X - offset) T (N, q), None without X; T (D, q); moments of Q; made: how."""

    Q: Array | None
    T: Array
    moments: Moments
    made: str


def _inverted(A: Array, B: Array, c: float, smallest: bool) -> linalg.Eigenpairs:
    """A v = mu B v by its inverse, B v = theta E v: E = A + cB, theta = 1 / (mu + c); largest mu: cB - A, 1 / (c - mu).

    E is well conditioned where B + A / c is, B itself need not be; residuals are those of the inverse.
    """
    E = A + c * B if smallest else c * B - A
    pairs = linalg.generalized_eigh(B, E, largest=True)
    theta = pairs.values
    keep = theta > 8 * max(theta.size, 8) * linalg.EPS * theta.max(initial=0.0)
    theta = theta[keep]
    return linalg.Eigenpairs(
        1 / theta - c if smallest else c - 1 / theta,
        pairs.vectors[:, keep] / np.sqrt(theta),
        pairs.residuals[keep],
        theta.size,
        pairs.solver,
    )


def _offset(m: Moments, pencil: Pencil) -> Any:
    """What a pencil subtracts from X."""
    return {"laplacian": m.mean, "degree_centred": m.degree_mean}.get(pencil, np.zeros(m.n_features))


def _weight(graph: Graph, pencil: Pencil) -> Array:
    """Square roots of what a pencil weighs samples by in B."""
    return np.sqrt(graph.degree) if pencil.startswith("degree") else np.ones(graph.n_samples)


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
    offset, weight = _offset(m, pencil), _weight(graph, pencil)
    F = (X - offset) * weight[:, None]
    size = np.where(np.diag(_second(m, pencil)) > 0, np.linalg.norm(F, axis=0), 0.0)
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    U, s, Vt = linalg.svd(F * inverse)
    keep = s > 4 * max(F.shape) * linalg.EPS * max(float(s.max(initial=0.0)), 1e-300)
    T = inverse[:, None] * (Vt[keep].T / s[keep])
    # U is accurate where (X - offset) T has cancelled; samples of weight zero are in no product of this pencil
    Q = np.divide(U[:, keep], weight[:, None], out=(X - offset) @ T, where=weight[:, None] > 0)
    return Basis(Q, T, Moments.from_arrays(Q, graph), "a basis of X by singular values")


def _without_faint(values: Array, residuals: Array) -> Array:
    """Zero where a direction is fainter than the rounding of its problem, told by the residuals: no rank counts it."""
    faint = max(ZERO_TOL, 10 * float(residuals.max(initial=0.0)))
    return np.where(np.abs(values) <= faint * np.abs(values).max(initial=0.0), 0.0, values)
