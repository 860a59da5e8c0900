"""InfoNCE, the loss of SimCLR, summed over all positive pairs of a relation.

    L(Z) = -sum_{i != j} A_ij log softmax_{j != i}(s_ij / tau),   s_ij = cos(z_i, z_j) or z_i'z_j

with every other sample a negative; self-pairs are left out. For the two-view relation it equals NT-Xent times N. It
is no spectral filter. What is proven for every Z:

* rows apart: sum_i d_i min_x [-P_i'x + log sum e^x] over the similarities allowed, P_i = A_i / d_i; for unbounded
  similarities this is the entropy bound sum_i d_i H(P_i);
* n balanced groups of V samples, cosine: no Z beats the regular simplex,
  L >= s log[(V - 1) + (N - V) exp(-(n / (n - 1)) / tau)];
* cosine in K dimensions: the design bound C11 (_infonce_bounds.py).

Over all embeddings the first two are reached in cases that can be told from the relation (`exact_optimum`); elsewhere L
is convex in the similarities, `certificate` bounds how far from optimal any Z is (_certificates.py), and the optimum is
found by a search that ends at such a proof (_infonce_optimum.py).

Source: Balestriero & LeCun 2022 (arXiv 2205.11508), section 2 (loss); bounds, optima and certificates derived here.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch

from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, ResourceError
from spectral_ssl.graph import Graph
from spectral_ssl.methods import _certificates
from spectral_ssl.methods._batches import mixed
from spectral_ssl.methods._certificates import Certificate
from spectral_ssl.methods._infonce_bounds import design_bound, rows_of
from spectral_ssl.methods._infonce_kernels import BLOCK, uniformity
from spectral_ssl.methods._infonce_optimum import direct_optimum
from spectral_ssl.methods.base import Method, as_embedding, tensor_graph
from spectral_ssl.spectrum import Spectra, Spectrum

__all__ = ["InfoNCE", "SimCLR", "partners"]

MAX_SAMPLES = 50_000  # that a processor descends over: a gradient at K = 128 takes about half a minute there
ROUNDING = 1e-12  # of a degree: what is left of it without its self-pair is none
RANGES = {"temperature": (1e-6, 1e6), "radius": (1e-30, 1e30)}  # beyond them no digit of the loss is left
SWEEP_NUMBERS = 3 * BLOCK  # similarities and what comes of them, alive at once in an evaluation with its gradient
_known: weakref.WeakKeyDictionary[Graph, tuple[Array, Any, float]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class InfoNCE(Method):
    """InfoNCE over a relation, not divided by N.

    temperature: tau, from 1e-6 to 1e6. similarity: "cosine", or "dot" with tr(WW') <= radius (tr(ZZ') in the free
    model), which training keeps by the smooth map W sqrt(radius / (1 + |W|^2)).
    """

    temperature: float = 0.5
    similarity: Literal["cosine", "dot"] = "cosine"
    radius: float = 1.0

    pencil = "adjacency"
    whitens = "adjacency"
    centred = None
    pairwise = True

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            given = getattr(self, name)
            if isinstance(given, bool) or not isinstance(given, Real) or not 0 < float(given) < math.inf:
                raise DataError(f"{name} must be a positive number, got {given!r}")
            if not low <= float(given) <= high:
                raise DataError(f"{name}={given!r} is not between {low:g} and {high:g}")
        if self.similarity not in ("cosine", "dot"):
            raise DataError(f"similarity={self.similarity!r} is not known; choose 'cosine' or 'dot'")
        if self.similarity == "cosine" and self.radius != 1.0:
            raise DataError("radius= bounds the weights of similarity='dot'; the cosine does not see their size")

    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, torch.Tensor]:
        Z = as_embedding(Z, graph)
        N = graph.n_samples
        if N > MAX_SAMPLES and Z.device.type == "cpu" and Z.requires_grad and torch.is_grad_enabled():
            raise ResourceError(
                f"InfoNCE compares all {N:,} samples with each other at every step, {N**2 / 1e9:.1f} billion pairs: "
                f"half a minute or more on a processor; train on batches, batch_size=1024, on another device, or "
                f"subsample to at most {MAX_SAMPLES:,} (the loss without its gradient is computed at any size)"
            )
        if self.similarity == "cosine":
            Z = _unit_rows(Z)
        A = tensor_graph(graph, Z)
        loops = torch.as_tensor(graph.diagonal, dtype=Z.dtype, device=Z.device)
        deg = A.degree - loops
        positives = (Z * A.matmul(Z)).sum() - (loops * (Z**2).sum(dim=1)).sum()
        return {"alignment": -positives / self.temperature, "uniformity": uniformity(Z, deg, self.temperature)}

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        raise NotClosedForm(
            "InfoNCE applies a logarithm entry by entry, so its optimum is no spectral filter of the relation; "
            "it is trained, and shown with a proven lower bound (FrobeniusSimCLR is the form with a closed optimum)"
        )

    def exact_optimum(self, graph: Graph, n_components: int) -> Optimum:
        """The minimum over all Z (N, K) on balanced cliques, or on a relation positive on every pair at a temperature
        low enough; kind "exact". Raises NotClosedForm with the reason elsewhere."""
        return _certificates.exact_optimum(self, graph, n_components)

    def direct_optimum(self, spectra: Spectra, n_components: int) -> Optimum | None:
        """Exact where `exact_optimum` has it; else, over all embeddings and for dot products over maps, certified."""
        return direct_optimum(self, spectra, n_components)

    def certificate(self, Z: Any, graph: Graph) -> Certificate:
        """How far the loss of Z (N, K) can be above the least over all embeddings, of any dimension.

        "cosine": rows of any nonzero size. "dot": tr(ZZ') <= radius.
        """
        if self.similarity == "cosine":
            return _certificates.cosine_certificate(Z, graph, self.temperature)
        return _certificates.dot_certificate(Z, None, graph, self.temperature, self.radius)

    def linear_certificate(self, W: Any, X: Any, graph: Graph) -> Certificate:
        """How far the loss of Z = XW can be above the least over linear maps of X (N, D) with tr(WW') <= radius.

        Raises NotClosedForm for the cosine, whose loss is not convex in WW'.
        """
        if self.similarity == "cosine":
            raise NotClosedForm(
                "cosine InfoNCE is not convex in the weights of a linear map, so nothing certifies its minimum there; "
                "certificate(X @ W, graph) bounds it by the least over all embeddings, or take similarity='dot'"
            )
        return _certificates.dot_certificate(W, X, graph, self.temperature, self.radius)

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """All similarities equal: s log(N - 1)."""
        return float((graph.degree - graph.diagonal).sum()) * math.log(graph.n_samples - 1)

    def untrainable(self, n_components: int) -> str:
        if self.similarity == "dot" or n_components > 1:
            return ""
        return (
            "rows of one column are +1 or -1 to the cosine, whose gradient is zero everywhere: nothing trains; "
            "ss.optimum solves it by flipping signs; choose n_components >= 2, or similarity='dot'"
        )

    @property
    def ball(self) -> float | None:
        return None if self.similarity == "cosine" else self.radius

    def constrain(self, W: torch.Tensor) -> torch.Tensor:
        if self.similarity == "cosine":
            return W
        return W * torch.sqrt(self.radius / (1 + (W**2).sum()))

    def row_scale(self, Z: Array) -> Array:
        """Rows of unit length, which the cosine does not see."""
        size: Array = np.linalg.norm(Z, axis=1)
        if self.similarity == "dot":
            return np.ones_like(size)
        out: Array = np.divide(1.0, size, out=np.ones_like(size), where=size > 0)
        return out

    def lower_bound(self, graph: Graph, n_components: int | None = None) -> float:
        """The largest of the bounds in the module docstring, and for cosines in K = n_components dimensions of C11."""
        K = n_components
        if K is not None and (isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1):
            raise DataError(f"n_components must be a positive integer, or None for any dimension, got {K!r}")
        steepness = 1 / self.temperature if self.similarity == "cosine" else math.inf
        codes = _certificates.balanced_cliques(graph)  # whose pairs need no listing
        n = 0 if codes is None else int(codes.max()) + 1
        bound = _row_bound(graph, steepness) if codes is None else _certificates.simplex_loss(graph, n, steepness)
        if self.similarity == "cosine" and K is not None and not K >= n - 1 > 0:
            rows = rows_of(graph, None if codes is None else graph.n_samples // n)
            bound = max(bound, design_bound(rows, self.temperature, int(K)))
        return bound

    def draw_pairs(self, graph: Graph, batch: int, rng: np.random.Generator) -> tuple[Any, Any]:
        """As every method's, self-pairs left out: this loss has none.

        The N0 samples without another, negatives of all others, are drawn with themselves, at N0 / N of the draws but
        at most at half of them.
        """
        i, j = graph.sample_pairs(batch, rng)
        deg, alone, share = partners(graph)
        while (again := np.flatnonzero(i == j)).size:
            if not deg.any():
                raise DataError("every pair of the relation is a sample with itself, which InfoNCE leaves out")
            i[again], j[again] = graph.sample_pairs(again.size, rng)
        return mixed(i, j, alone, share, rng)

    def batch_terms(
        self, za: torch.Tensor, zb: torch.Tensor, i: Any, j: Any, graph: Graph, *, penalty: Any = None
    ) -> dict[str, Any]:
        """s' times the mean over ends e of pairs, partner e+, of -s_ee+ / tau + log [(N - 1) mean_f exp(s_ef / tau)].

        The mean over f is over ends of samples other than that of e, those drawn alone among them, weighted by one over
        how often they are drawn: all samples alike; s' is the weight of the relation without self-pairs. With B pairs
        of distinct samples in a regular relation that is NT-Xent of the batch times s', plus
        s' log((N - 1) / (2B - 1)). Too small by O(1/B), log being concave. A batch without a pair says nothing: 0.
        """
        Z, ends = torch.cat([za, zb]), np.concatenate([i, j])
        B, (deg, alone, share) = len(i), partners(graph)
        s = float(deg.sum())
        if self.similarity == "cosine":
            Z = _unit_rows(Z)
        drawn = np.where(deg > 0, (1 - share) * deg / s, share / max(alone.size, 1))  # how often, of all ends
        paired = torch.as_tensor(np.flatnonzero(deg[ends] > 0), device=Z.device)
        same = torch.as_tensor(ends, device=Z.device)
        S = Z[paired] @ Z.T / self.temperature
        weight = torch.as_tensor(-np.log(drawn[ends]), dtype=Z.dtype, device=Z.device).expand_as(S)
        weight = weight.masked_fill(same[paired, None] == same[None, :], -torch.inf)
        spread = torch.logsumexp(S + weight, dim=1) - torch.logsumexp(weight, dim=1) + math.log(graph.n_samples - 1)
        positive = S[torch.arange(len(paired), device=Z.device), (paired + B) % (2 * B)]
        scale = s / max(len(paired), 1)
        return {"alignment": -scale * positive.sum(), "uniformity": scale * spread.sum()}


def _unit_rows(Z: torch.Tensor) -> torch.Tensor:
    """Rows at length 1, divided by their largest entry first: no square under- or overflows. A zero row stays, without
    a gradient."""
    largest = Z.detach().abs().amax(dim=1, keepdim=True)
    Z = Z / largest.masked_fill(largest == 0, torch.inf)
    size: torch.Tensor = Z.norm(dim=1, keepdim=True)
    return Z / size.clamp_min(0.5)  # 1 or more, but of a zero row


def partners(graph: Graph) -> tuple[Array, Any, float]:
    """Degrees without self-pairs (N,), the samples (N0,) where they vanish, and the share of draws that is theirs."""
    if graph not in _known:
        deg = graph.degree - graph.diagonal
        deg[deg <= ROUNDING * graph.degree] = 0.0
        alone = np.flatnonzero(deg == 0)
        _known[graph] = deg, alone, min(alone.size / graph.n_samples, 0.5)
    return _known[graph]


def SimCLR(temperature: float = 0.5) -> InfoNCE:
    """SimCLR's NT-Xent loss: `InfoNCE` with cosine similarity."""
    return InfoNCE(temperature=temperature, similarity="cosine")


def _row_bound(graph: Graph, limit: float) -> float:
    """sum_i d_i min_x [-P_i'x + log sum_{j != i} e^{x_j}] over |x_j| <= limit.

    Stationarity: softmax_j = P_j where x_j is inside the box, so e^{x_j} = clip(P_j T, e^-limit, e^limit) with
    T = sum_j e^{x_j}, found by bisection on log T for all rows at once.
    """
    rows, weights, zeros = _rows(graph)
    d = np.bincount(rows, weights=weights, minlength=graph.n_samples)
    P = weights / d[rows]
    entropy = -np.bincount(rows, weights=weights * np.log(P), minlength=graph.n_samples)
    if not math.isfinite(limit):
        return float(entropy.sum())
    live = d > 0
    low = np.full(d.size, math.log(graph.n_samples - 1) - limit)
    high = np.full(d.size, math.log(graph.n_samples - 1) + limit)
    log_P = np.log(P)
    for _ in range(80):
        middle = (low + high) / 2
        x = np.clip(log_P + middle[rows], -limit, limit)
        total = np.bincount(rows, weights=np.exp(x - limit), minlength=d.size) + zeros * math.exp(-2 * limit)
        above = np.log(np.maximum(total, 1e-300)) + limit > middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    T = low  # the smaller side: x is feasible on either, and log T below its root keeps the value a lower bound
    x = np.clip(log_P + T[rows], -limit, limit)
    value = d * T - np.bincount(rows, weights=weights * x, minlength=d.size)
    return float(value[live].sum())


def _rows(graph: Graph) -> tuple[Any, Any, Any]:
    """Off-diagonal entries as (row, weight), and the number of zero entries of each row."""
    C = graph.to_csr().tocoo()
    off = C.coords[0] != C.coords[1]
    rows, weights = C.coords[0][off], C.data[off]
    return rows, weights, graph.n_samples - 1 - np.bincount(rows, minlength=graph.n_samples)
