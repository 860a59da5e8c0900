"""What a method is: a loss and its closed-form optimum, side by side.

`Method` is the interface, `QuadraticMethod` the interface of those whose loss is a function of the moments of Z alone
(all but InfoNCE): for them one expression, `terms(moments)`, serves the full graph, a linear model trained in moment
space, and numpy.
"""

from __future__ import annotations

import abc
import warnings
import weakref
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from spectral_ssl.embedding import Array, Embedding, Kind, Optimum, UniqueUpTo
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.linalg import rank
from spectral_ssl.methods._batches import average, batch_moments, draw_with_isolated
from spectral_ssl.moments import Moments
from spectral_ssl.spectrum import Pencil, Spectra, Spectrum

__all__ = ["Method", "QuadraticMethod", "TensorGraph", "embedding_moments", "equal_diagonal_rotation", "filtered"]

Centring = Literal["mean", "degree_mean"] | None
FILTER_TOL = 1e-10  # a direction scaled below this share of the largest is rounding
MAJORISED_TOL = 1e-9  # of a trace: what an iterative solver may leave of d < c; a diagonal is then met as nearly


class TensorGraph:
    """A graph's products on torch tensors, differentiable, on any device; edges as sparse CSR, groups as index sums."""

    def __init__(self, graph: Graph, device: torch.device, dtype: torch.dtype) -> None:
        self.degree = torch.as_tensor(graph.degree, dtype=dtype, device=device)
        self._edges: torch.Tensor | None = None
        if graph.edges is not None:
            A = graph.edges
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
                warnings.filterwarnings("ignore", message="Sparse invariant checks")
                self._edges = torch.sparse_csr_tensor(
                    torch.as_tensor(A.indptr.astype(np.int64)),
                    torch.as_tensor(A.indices.astype(np.int64)),
                    torch.as_tensor(A.data),
                    size=A.shape,
                    check_invariants=False,
                ).to(device=device, dtype=dtype)
        self._groups = [
            (
                torch.as_tensor(np.where(g.codes < 0, g.weight.size, g.codes), device=device),
                torch.as_tensor(np.append(g.weight, 0.0), dtype=dtype, device=device),
                g.diagonal,
            )
            for g in graph.groups
        ]

    def matmul(self, Z: torch.Tensor) -> torch.Tensor:
        """A Z, (N, K)."""
        out = torch.zeros_like(Z)
        if self._edges is not None:
            out = out + _symmetric_product(self._edges, Z)
        for codes, weight, diagonal in self._groups:
            sums = torch.zeros((weight.numel(), Z.shape[1]), dtype=Z.dtype, device=Z.device).index_add(0, codes, Z)
            block = (weight[:, None] * sums)[codes]
            out = out + (block if diagonal else block - weight[codes, None] * Z)
        return out


class _SymmetricProduct(torch.autograd.Function):
    """A Z for a constant symmetric A: the gradient is A G, with no transposed copy of A."""

    @staticmethod
    def forward(ctx: Any, A: torch.Tensor, Z: torch.Tensor) -> torch.Tensor:
        ctx.A = A
        product: torch.Tensor = A @ Z
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, ctx.A @ gradients[0]


def _symmetric_product(A: torch.Tensor, Z: torch.Tensor) -> torch.Tensor:
    product: torch.Tensor = _SymmetricProduct.apply(A, Z)  # type: ignore[no-untyped-call]
    return product


_tensor_graphs: weakref.WeakKeyDictionary[Graph, dict[tuple[str, torch.dtype], TensorGraph]] = (
    weakref.WeakKeyDictionary()
)


def tensor_graph(graph: Graph, like: torch.Tensor) -> TensorGraph:
    """The graph on the device and dtype of a tensor; converted once."""
    held = _tensor_graphs.setdefault(graph, {})
    key = (str(like.device), like.dtype)
    if key not in held:
        held[key] = TensorGraph(graph, like.device, like.dtype)
    return held[key]


def embedding_moments(Z: torch.Tensor, graph: Graph) -> Moments:
    """The moments of an embedding Z (N, K) as tensors, differentiable in Z."""
    A = tensor_graph(graph, Z)
    deg, s = A.degree, graph.total_weight
    mean, degree_mean = Z.mean(dim=0), deg @ Z / s
    Zc, Zd = Z - mean, Z - degree_mean
    return Moments(
        n_samples=graph.n_samples,
        total_weight=s,
        mean=mean,
        degree_mean=degree_mean,
        scatter=Zc.T @ Zc,
        laplacian=Zd.T @ (deg[:, None] * Zd - A.matmul(Zd)),
        degree_scatter=Zd.T @ (deg[:, None] * Zd),
        adjacency_norm2=graph.adjacency_norm2,
    )


def as_embedding(Z: Any, graph: Graph) -> torch.Tensor:
    """Z as a floating tensor (N, K), checked against the graph."""
    found: torch.Tensor = Z if isinstance(Z, torch.Tensor) else torch.tensor(np.asarray(Z, dtype=np.float64))
    if found.ndim != 2 or found.shape[0] != graph.n_samples:
        raise DataError(f"Z has shape {tuple(found.shape)}, expected ({graph.n_samples}, K) for this relation")
    return found


class Method(abc.ABC):
    """A self-supervised method: final frozen dataclasses of hyper-parameters implement it, one file each."""

    @property
    @abc.abstractmethod
    def pencil(self) -> Pencil:
        """The spectrum its optimum is a filter of."""

    @property
    @abc.abstractmethod
    def whitens(self) -> Pencil:
        """The pencil whose second matrix preconditions training."""

    @property
    @abc.abstractmethod
    def centred(self) -> Centring:
        """What the loss subtracts from Z, and so the linear model from X: None, "mean" or "degree_mean"."""

    @abc.abstractmethod
    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, torch.Tensor]:
        """The parts of the loss of Z (N, K) over the full graph; they sum to `loss`."""

    @abc.abstractmethod
    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        """The minimum over the spectrum's model, as a filter on it. Raises NotClosedForm where theory has none."""

    @abc.abstractmethod
    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """The loss of an embedding that has collapsed: the zero point of `relative_excess`."""

    def loss(self, Z: Any, graph: Graph) -> torch.Tensor:
        """The loss of Z (N, K) over the full graph, a scalar tensor, differentiable in Z."""
        return torch.stack([v.reshape(()) for v in self.loss_terms(Z, graph).values()]).sum()

    def resolve(self, spectrum: Spectrum, n_components: int) -> Method:
        """This method with hyper-parameters left to the data (None) replaced by numbers."""
        return self

    # --- batches of pairs ---------------------------------------------------------------------------------------------

    def draw_pairs(self, graph: Graph, batch: int, rng: np.random.Generator) -> tuple[Any, Any]:
        """`batch` pairs (i, j) for `batch_terms`, independent, with replacement, each with probability A_ij / s."""
        return graph.sample_pairs(batch, rng)

    def batch_terms(
        self, za: torch.Tensor, zb: torch.Tensor, i: Any, j: Any, graph: Graph, *, penalty: Any = None
    ) -> dict[str, Any]:
        """The terms that training descends, in the scale of the whole relation, estimated from pairs of `draw_pairs`.

        za, zb (B, K): rows i and j (B,) of Z. penalty (K, K): added to the energy Z'LZ (a ridge), where there is one.
        """
        raise DataError(
            f"{type(self).__name__} has no estimate from batches of pairs; train it on the whole relation "
            "(batch_size=None), or pass batch_loss="
        )

    def debiased_terms(
        self, za: torch.Tensor, zb: torch.Tensor, i: Any, j: Any, graph: Graph, *, penalty: Any = None
    ) -> dict[str, Any]:
        """The jackknife 2 L(batch) - (L(first half) + L(other half)) / 2, whose bias is of second order in 1/B."""
        h = za.shape[0] // 2
        whole = self.batch_terms(za, zb, i, j, graph, penalty=penalty)
        first = self.batch_terms(za[:h], zb[:h], i[:h], j[:h], graph, penalty=penalty)
        other = self.batch_terms(za[h:], zb[h:], i[h:], j[h:], graph, penalty=penalty)
        return {name: 2 * whole[name] - (first[name] + other[name]) / 2 for name in whole}

    def constrain(self, W: torch.Tensor) -> torch.Tensor:
        """Map free parameters to admissible ones (weights, or Z in the free model); the identity by default."""
        return W

    def untrainable(self, n_components: int) -> str:
        """Why no gradient moves Z of K columns; "" where one does."""
        return ""

    @property
    def ball(self) -> float | None:
        """The most that |Z|_F^2 may be in the free model, |W|_F^2 of a map; None where the loss bounds neither."""
        return None

    @property
    def pairwise(self) -> bool:
        """Whether an evaluation compares all rows with each other, whatever the relation: N^2 similarities."""
        return False

    @property
    def unsearchable(self) -> str:
        """Why the sum of `loss_terms` is no value that a line search can compare; "" where it is one."""
        return ""

    @property
    def searches(self) -> bool:
        """Whether its optimum may be found by search and be certified only: the relation decides, no dry run can."""
        return False

    @property
    def full_rank(self) -> bool:
        """Whether the loss is finite only where the K columns of Z are independent."""
        return False

    def column_scale(self, m: Moments) -> Array:
        """What brings a trained Z to the scale of the optimum: factors (K,) of its columns, or a matrix (K, K).

        1 where the loss fixes it.
        """
        return np.ones(m.n_features)

    def row_scale(self, Z: Array) -> Array:
        """Factors (N,) bringing rows of a trained free Z to the lengths of the optimum; 1 where the loss sees them."""
        return np.ones(Z.shape[0])

    def exact_optimum(self, graph: Graph, n_components: int) -> Optimum | None:
        """The free minimum where it is read from the relation itself and from no spectrum; None where it is not.

        Raises NotClosedForm where theory has neither.
        """
        return None

    def direct_optimum(self, spectra: Spectra, n_components: int) -> Optimum | None:
        """The minimum where it is found from the relation and the data themselves, exact or certified; None where it is
        a filter on a spectrum.

        Raises NotClosedForm where theory has neither.
        """
        graph = spectra.graph if spectra.model == "free" else None
        return None if graph is None else self.exact_optimum(graph, n_components)

    def lower_bound(self, graph: Graph, n_components: int | None = None) -> float:
        """The best bound known without solving, over Z of K = n_components columns or of any; -inf where none is."""
        return -np.inf

    @property
    def hyper(self) -> dict[str, Any]:
        """The hyper-parameters by name."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


class QuadraticMethod(Method):
    """A method whose loss is a function of the moments of Z."""

    @abc.abstractmethod
    def terms(self, m: Moments) -> dict[str, Any]:
        """The parts of the loss from the moments of Z (numpy or torch). "constant" holds what no Z can change."""

    def training_terms(self, m: Moments) -> dict[str, Any]:
        """The parts that training descends, those of Z with `column_scale` applied: the loss itself by default."""
        return self.terms(m)

    @property
    def _sees_isolated(self) -> bool:
        """Whether samples without a pair count: where moments weigh all samples alike."""
        return not self.whitens.startswith("degree")

    def draw_pairs(self, graph: Graph, batch: int, rng: np.random.Generator) -> tuple[Any, Any]:
        return (draw_with_isolated if self._sees_isolated else Graph.sample_pairs)(graph, batch, rng)

    def batch_terms(
        self, za: torch.Tensor, zb: torch.Tensor, i: Any, j: Any, graph: Graph, *, penalty: Any = None
    ) -> dict[str, Any]:
        """The terms of moments estimated without bias (`_batches`); what is squared in them is too large by O(1/B)."""
        return self.training_terms(self._batch_moments(za, zb, i, j, graph, penalty))

    def debiased_terms(
        self, za: torch.Tensor, zb: torch.Tensor, i: Any, j: Any, graph: Graph, *, penalty: Any = None
    ) -> dict[str, Any]:
        """2 L((m + n) / 2) - (L(m) + L(n)) / 2, m and n the moments of two halves.

        Without bias where the loss is quadratic in the moments: its squares become products of independent factors.
        """
        h = za.shape[0] // 2
        m = self._batch_moments(za[:h], zb[:h], i[:h], j[:h], graph, penalty)
        n = self._batch_moments(za[h:], zb[h:], i[h:], j[h:], graph, penalty)
        whole, first, other = (self.training_terms(moments) for moments in (average(m, n), m, n))
        return {name: 2 * whole[name] - (first[name] + other[name]) / 2 for name in whole}

    def _batch_moments(self, za: Any, zb: Any, i: Any, j: Any, graph: Graph, penalty: Any) -> Moments:
        m = batch_moments(za, zb, i, j, graph, centred=self.centred is not None, with_isolated=self._sees_isolated)
        return m if penalty is None else m.penalised(penalty)

    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, torch.Tensor]:
        Z = as_embedding(Z, graph)
        return {k: torch.as_tensor(v, dtype=Z.dtype) for k, v in self.terms(embedding_moments(Z, graph)).items()}


@dataclass(frozen=True)
class Claim:
    """What a closed form claims about its optimum, beyond the filter."""

    kind: Kind
    unique_up_to: UniqueUpTo
    source: str


def filtered(
    method: Method,
    spectrum: Spectrum,
    n_components: int,
    directions: Array,
    loss_terms: dict[str, float],
    claim: Claim,
    note: str = "",
) -> Optimum:
    """Assemble an Optimum from Z = V T, V the eigenvectors and T = `directions` (r, K) the method's filter."""
    r = rank(directions, rtol=FILTER_TOL)
    V = spectrum.vectors[:, : directions.shape[0]] @ directions
    weights = spectrum.weights
    W = None if weights is None else weights[:, : directions.shape[0]] @ directions
    embedding = Embedding(
        Z=V, spectrum=spectrum.values, W=W, mean=spectrum.mean, rank=r, features=spectrum.features, scale=spectrum.scale
    )
    notes = [n for n in (note, multiplicity_note(spectrum, r), surplus_note(n_components, r)) if n]
    loss = float(sum(loss_terms.values()))
    return Optimum(
        embedding=embedding,
        loss=loss,
        loss_terms=loss_terms,
        lower_bound=loss,
        rank=r,
        kind=claim.kind,
        unique_up_to=claim.unique_up_to,
        note="; ".join(notes),
        source=claim.source,
        method=method,
        solver=spectrum.solver,
        residual=float(spectrum.residuals[: max(r, 1)].max(initial=0.0)),
    )


def check_components(spectrum: Spectrum, n_components: int) -> int:
    """Validate K against the model, and return how many eigenpairs there are to use, at most K.

    Raises DataError for K < 1, K > D (linear, or a kernel's features) or K > N - 1 (free); warns where K exceeds the
    rank.
    """
    K = n_components
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1:
        raise DataError(f"n_components must be a positive integer, got {K!r}")
    if spectrum.model != "free" and spectrum.n_features is not None and spectrum.n_features < K:
        of = "X" if spectrum.model == "linear" else "the kernel"
        raise DataError(
            f"n_components={K} exceeds the {spectrum.n_features} features of {of}: a linear map cannot make more; "
            f"choose at most {spectrum.n_features}"
        )
    if spectrum.model == "free" and spectrum.n_samples - 1 < K:
        raise DataError(
            f"n_components={K} exceeds N - 1 = {spectrum.n_samples - 1}: centred embeddings of {spectrum.n_samples} "
            f"samples have no more dimensions; choose at most {spectrum.n_samples - 1}"
        )
    if spectrum.dimension < K:
        warnings.warn(
            f"n_components={K} exceeds the rank {spectrum.dimension} of the {spectrum.pencil} pencil: the optimum has "
            "no more dimensions; columns past it are zero, or mix those before",
            SpectralWarning,
            stacklevel=4,
        )
    if spectrum.values.size < min(K, spectrum.dimension):
        raise DataError(
            f"the spectrum holds {spectrum.values.size} eigenvalues, {K} are needed; ask Spectra.of for more"
        )
    return min(int(K), spectrum.dimension)


def multiplicity_note(spectrum: Spectrum, r: int) -> str:
    """Words for a closed gap at rank r, where the optimal subspace is not unique; "" where it is."""
    if r == 0:
        return "collapsed: the optimum is the zero embedding"
    if r >= spectrum.values.size or spectrum.gap(r) > 1e-9:
        return ""
    copies = spectrum.multiplicity(r)
    more = "" if spectrum.complete else "at least "
    text = (
        f"eigenvalue {r} has {more}{copies} copies, so the optimal subspace is not unique: "
        "losses of two solvers agree, their angles need not"
    )
    if spectrum.model == "free" and spectrum.pencil == "laplacian" and abs(spectrum.values[r - 1]) < 1e-12:
        text += (
            " (the null space of L has one dimension per connected component, as for the originals of a views graph)"
        )
    return text


def surplus_note(n_components: int, r: int) -> str:
    return f"rank {r} of {n_components} components" if 0 < r < n_components else ""


def pad(directions: Array, n_components: int) -> Array:
    """Zero columns up to K."""
    return np.hstack([directions, np.zeros((directions.shape[0], n_components - directions.shape[1]))])


def equal_diagonal_rotation(spectrum: Array) -> Array:
    """Q in O(K) such that diag(Q' diag(spectrum) Q) is constant, by at most K - 1 plane rotations."""
    spectrum = np.asarray(spectrum, dtype=np.float64)
    return diagonal_rotation(spectrum, np.full(spectrum.size, spectrum.mean() if spectrum.size else 0.0))


def diagonal_rotation(spectrum: Array, diagonal: Array) -> Array:
    """Q in O(K) such that Q' diag(spectrum) Q has the given diagonal, by at most K - 1 plane rotations.

    Schur-Horn: there is one exactly where the spectrum majorises the diagonal. Take its entries t from the largest
    down, x >= t >= y the neighbouring values on either side, and turn their plane until one diagonal entry is t; the
    other, x + y - t, joins the values left, which majorise the entries left (Horn 1954, Chan & Li 1983).

    spectrum, diagonal: (K,). Raises DataError where the one does not majorise the other.
    """
    value, target = (np.array(a, dtype=np.float64) for a in (spectrum, diagonal))
    K = value.size
    surplus = np.cumsum(np.sort(value)[::-1] - np.sort(target)[::-1])  # of every j largest values over j entries
    if K and max(-surplus.min(), surplus[-1]) > MAJORISED_TOL * np.abs(value).sum():
        raise DataError(f"no rotation gives a matrix of spectrum {value} the diagonal {target}: it is not majorised")
    Q, place, left = np.eye(K), np.zeros(K, dtype=int), list(range(K))
    for entry in np.argsort(-target, kind="stable"):
        t = target[entry]
        left.sort(key=lambda k: -value[k])
        above = max(sum(value[k] >= t for k in left), 1) - 1  # rounding can leave none above, or none below
        x = left.pop(above)
        place[entry] = x
        if above < len(left) and value[x] > value[left[above]]:
            y = left[above]
            cos2 = min(max((t - value[y]) / (value[x] - value[y]), 0.0), 1.0)
            cos, sin = np.sqrt(cos2), np.sqrt(1 - cos2)
            Q[:, [x, y]] = Q[:, [x, y]] @ np.array([[cos, -sin], [sin, cos]])
            value[y] += value[x] - t
    return Q[:, place]
