"""alpha-CL: ascend the energy of pairs, each counted by a rule for its importance (Tian 2022, arXiv 2201.12680).

The relation joins every row with exactly one other, two views of a sample. With alpha_ij = rule(Z) held constant,

    gradient step: up E_alpha = sum_ij alpha_ij (d_ij^2 - d_i^2),   i anchors, j their negatives

and where a loss L = sum_i F(u_i), u_ij = d_i^2 - d_ij^2, stands behind the rule (`alpha_cl.PAIR_LOSSES`, r_h, r_s,
r_gamma), that is the step down L (gradient theorem), not divided by the number of anchors. Its terms are those of the
game between alpha and the encoder,

    L = -E_alpha + R,          R = -sum_i F*(alpha_i) where F is convex,

the energy, whose gradient with alpha constant is that of L, and the regulariser, which at the live alpha has none
(Danskin). A rule without a loss (direct, custom) has the energy alone: a direction to go, but no height to compare, so
steps of an optimizer train it and a line search cannot.

Optima, over linear maps (of X, or of a kernel's features) and over all Z, under the constraint "frobenius",
tr(WW') <= radius (tr(ZZ') in the free model, which is the linear one of the identity): L is convex in G = WW' where F
is in u, `alpha_cl.live_optimum` finds the least with a proof, and where alpha is fixed it is PCA of the contrastive
covariance, exactly. Under "unit", rows of Z at length 1 as practice has them, L is not convex in the weights of a map:
nothing certifies a minimum there.

The simplex. Over all Z, of any width, L is convex in S = ZZ', and where F does not tell its arguments apart it is
unchanged by permuting the N samples and by exchanging views. Averaging S over these raises no loss and leaves three
numbers, its diagonal a (1, or radius / 2N), s inside pairs and b between them, and u_ij = 2 h (b - s) for all i, j:
least at s = a, b = -a / (N - 1), the views of a sample together and the samples at the corners of a regular simplex,

    min L = n F(-2 h a N / (N - 1), ..),      n anchors,

reached in K >= N - 1 dimensions, a bound in fewer, and whatever rule of importance leads there.
"""

from __future__ import annotations

import functools
import math
import weakref
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch

from spectral_ssl import spec
from spectral_ssl.alpha_cl.contrast import Contrast, Views
from spectral_ssl.alpha_cl.direct import RULES, rule_name
from spectral_ssl.alpha_cl.live import LiveOptimum, live_optimum
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.alpha_cl.uniqueness import only_optimum
from spectral_ssl.embedding import Array, Embedding, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, ResourceError
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import Centring, Method, as_embedding
from spectral_ssl.spectrum import Spectra, Spectrum

__all__ = ["AlphaCL"]

MAX_FREE = (
    2_000  # rows up to which the optimum over all embeddings is solved: a dense eigenproblem of that order, often
)
SOURCE = "Tian 2022 (gradient theorem); convexity in WW' and certificate derived in alpha_cl/live.py"
_contrasts: weakref.WeakKeyDictionary[Graph, dict[tuple[Views, bool], Contrast]] = weakref.WeakKeyDictionary()
_solved: weakref.WeakKeyDictionary[Any, dict[Any, LiveOptimum]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class AlphaCL(Method):
    """alpha-CL over a relation of two views.

    rule: a call string over `alpha_cl.RULES`, "infonce(temperature=0.5, eps=0)", "direct(p=4)", "uniform", or a rule
    object. constraint: "frobenius", tr(WW') <= radius (tr(ZZ') in the free model), which training keeps by a smooth map
    (`constrain`); "unit", rows of Z at length 1, for any encoder. views: whose negatives count, as for
    `alpha_cl.Contrast`: those of all rows ("two"), or of first views among first views ("one": of a pair the first view
    is the row that comes first, so that the order of rows matters).
    """

    rule: str | AlphaRule = "infonce"
    constraint: Literal["frobenius", "unit"] = "frobenius"
    radius: float = 1.0
    views: Views = "two"
    half_squared: bool = True

    pencil = "laplacian"
    whitens = "laplacian"
    pairwise = True

    def __post_init__(self) -> None:
        rule = self.rule
        if isinstance(rule, str):
            name, options = spec.parse_call(rule)
            object.__setattr__(self, "rule", spec.bind(RULES, name, options, kind="rule")())
        elif not isinstance(rule, AlphaRule):
            raise DataError(
                f"rule must be text such as 'infonce(temperature=0.5, eps=0)' or a rule of alpha_cl, got {rule!r}"
            )
        if self.constraint not in ("frobenius", "unit"):
            raise DataError(f"constraint={self.constraint!r} is not known; choose 'frobenius' or 'unit'")
        given = self.radius
        if isinstance(given, bool) or not isinstance(given, Real) or not 0 < float(given) < math.inf:
            raise DataError(f"radius must be a positive number, got {given!r}")
        if self.constraint == "unit" and self.radius != 1.0:
            raise DataError("radius= bounds the weights of constraint='frobenius'; rows of 'unit' have length 1")
        if self.views not in ("one", "two"):
            raise DataError(f"views must be 'one' or 'two', got {self.views!r}")

    @property
    def centred(self) -> Centring:
        """Distances see no shift; rows brought to length 1 do."""
        return "mean" if self.constraint == "frobenius" else None

    # --- the loss -----------------------------------------------------------------------------------------------------

    @property
    def weigh(self) -> AlphaRule:
        """The rule as an object."""
        assert isinstance(self.rule, AlphaRule)
        return self.rule

    def contrast(self, graph: Graph) -> Contrast:
        """Anchors, positives and negatives of a relation. Raises DataError unless it is one of two views."""
        held = _contrasts.setdefault(graph, {})
        key = (self.views, self.half_squared)
        if key not in held:
            held[key] = Contrast.of_graph(graph, views=self.views, half_squared=self.half_squared)
        return held[key]

    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, torch.Tensor]:
        """The energy -E_alpha, alpha held constant, and the regulariser, a number; without a loss the energy alone."""
        return self._terms(as_embedding(Z, graph), self.contrast(graph))

    def _terms(self, Z: torch.Tensor, contrast: Contrast) -> dict[str, torch.Tensor]:
        if self.constraint == "unit":
            Z = _unit_rows(Z)
        negative, positive = contrast.distances(Z)
        u = positive[:, None] - negative
        with torch.no_grad():
            alpha = self.weigh.weigh(negative, positive)
        energy = (alpha * u).sum()
        if not isinstance(self.weigh, PairLoss):
            return {"energy": energy}
        with torch.no_grad():
            regulariser = self.weigh.rows(u).sum() - energy
        return {"energy": energy, "regulariser": regulariser}

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """All distances equal to zero: sum_i F(0); 0 for the energy of a rule without a loss."""
        contrast = self.contrast(graph)
        if not isinstance(self.weigh, PairLoss):
            return 0.0
        return contrast.n_anchors * float(self.weigh.rows(torch.zeros(1, contrast.n_negatives, dtype=torch.float64))[0])

    @property
    def ball(self) -> float | None:
        return None if self.constraint == "unit" else self.radius

    def constrain(self, W: torch.Tensor) -> torch.Tensor:
        """sqrt(r) s(|W|) W / |W|, s(x) = 2x / (1 + x^2) up to x = 1 and 1 beyond it: the ball, its surface included.

        Inside it is the stereographic chart of the sphere |W|^2 + t^2 = r; s'(1) = 0, so that it is smooth enough for
        L-BFGS on the surface, where most optima are, and which is no limit at infinity.
        """
        if self.constraint == "unit":
            return W
        square = (W**2).sum()
        inside = square <= 1
        outer = torch.rsqrt(torch.where(inside, torch.ones_like(square), square))
        return W * (math.sqrt(self.radius) * torch.where(inside, 2 / (1 + square), outer))

    def row_scale(self, Z: Array) -> Array:
        """Rows of unit length, which the loss of "unit" does not see otherwise."""
        size: Array = np.linalg.norm(Z, axis=1)
        if self.constraint != "unit":
            return np.ones_like(size)
        return np.divide(1.0, size, out=np.ones_like(size), where=size > 0)

    def untrainable(self, n_components: int) -> str:
        if self.constraint != "unit" or n_components > 1:
            return ""
        return (
            "rows of one column at length 1 are +1 or -1, and no gradient moves them: choose n_components >= 2, or "
            "constraint='frobenius'"
        )

    @property
    def unsearchable(self) -> str:
        if isinstance(self.weigh, PairLoss):
            return ""
        return (
            f"the rule {self.hyper['rule']} sets alpha without a loss, so a line search has no value to compare: take "
            "optimizer='adam' or 'sgd', steps up E_alpha with alpha held, or a rule with a loss such as r_h or infonce"
        )

    # --- optima -------------------------------------------------------------------------------------------------------

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        raise NotClosedForm(
            "alpha-CL's pair importance moves with Z, so its optimum is no spectral filter of the relation; it is "
            "solved from the relation and the data themselves: pass the graph (and X=), not moments"
        )

    def direct_optimum(self, spectra: Spectra, n_components: int) -> Optimum | None:
        """The least loss under "frobenius", certified; exact where alpha is fixed. None where only moments are held.

        Raises NotClosedForm for rules without a loss, losses that are not convex, and "unit".
        """
        graph, X, K = spectra.graph, spectra.X, n_components
        if graph is None or (spectra.model != "free" and X is None):
            return None
        contrast = self.contrast(graph)
        if X is None and (found := self.exact_optimum(graph, K)) is not None:
            return found
        if self.constraint == "unit":
            raise NotClosedForm(
                "with rows of Z at length 1 the loss is not convex in the weights of a map: nothing certifies a "
                "minimum; train it, or take constraint='frobenius' (over all embeddings of K >= N - 1 columns the "
                "optimum is known, and in fewer SimCLR is certified, which is InfoNCE at eps=1)"
            )
        if spectra.ridge:
            raise DataError("alpha-CL bounds the weights by radius=, its loss has no energy for a ridge; leave it out")
        if X is None:
            if graph.n_samples > MAX_FREE:
                raise ResourceError(
                    f"the least loss over all embeddings of {graph.n_samples:,} rows takes a dense eigenproblem of "
                    f"that order (limit {MAX_FREE:,}); take fewer samples, or the linear model, X="
                )
            X = np.eye(graph.n_samples)
        if X.shape[1] < K:
            raise DataError(f"n_components={K} exceeds the {X.shape[1]} features; choose fewer")
        held = _solved.setdefault(graph if spectra.X is None else spectra, {})
        key = (self.weigh, self.radius, self.views, self.half_squared, K)
        if key not in held:
            held[key] = live_optimum(X, contrast, self.weigh, radius=float(self.radius), n_components=K)
        return self._assembled(held[key], spectra, graph)

    def exact_optimum(self, graph: Graph, n_components: int) -> Optimum | None:
        """The simplex over all Z (2N, K), K >= N - 1, where the module docstring has it; else None."""
        contrast, K = self.contrast(graph), n_components
        N = contrast.n_rows // 2
        if not self._simplex or not N - 1 <= K <= 2 * N:
            return None
        a = 1.0 if self.constraint == "unit" else float(self.radius) / (2 * N)
        k = np.arange(1, N)  # Helmert's basis of the complement of 1: rows of norm^2 (N - 1) / N
        H = np.triu(np.broadcast_to(1 / np.sqrt(k * (k + 1.0)), (N, N - 1)))
        H[k, k - 1] = -np.sqrt(k / (k + 1.0))
        Z = np.zeros((2 * N, K))
        Z[contrast.anchors[:N], : N - 1] = Z[contrast.positives[:N], : N - 1] = math.sqrt(a * N / (N - 1)) * H
        terms = {name: float(value) for name, value in self.loss_terms(Z, graph).items()}
        loss = float(sum(terms.values()))
        spectrum = np.append(np.full(N - 1, 2 * a * N / (N - 1)), np.zeros(N + 1))
        return Optimum(
            embedding=Embedding(Z=Z, spectrum=spectrum, rank=N - 1),
            loss=loss,
            loss_terms=terms,
            lower_bound=loss,
            rank=N - 1,
            kind="exact",
            unique_up_to="none",
            note=f"both views of a sample coincide, the {N} samples are the corners of a regular simplex",
            source="Tian 2022 (gradient theorem); simplex by convexity and symmetry, derived here",
            method=self,
            solver="closed form of two views",
            residual=0.0,
        )

    def lower_bound(self, graph: Graph, n_components: int | None = None) -> float:
        """Of rows at length 1 the loss of the simplex; -inf elsewhere, as a ball of weights bounds no Z."""
        contrast = self.contrast(graph)
        if self.constraint != "unit" or not self._simplex:
            return -math.inf
        N = contrast.n_rows // 2
        u = -(1.0 if self.half_squared else 2.0) * N / (N - 1)
        assert isinstance(self.weigh, PairLoss)
        rows = self.weigh.rows(torch.full((1, contrast.n_negatives), u, dtype=torch.float64))
        return contrast.n_anchors * float(rows[0])

    @property
    def _simplex(self) -> bool:
        """Whether the simplex is known to be least: F convex, the same for any order of negatives; in a ball, both
        views of the same cost."""
        rule = self.weigh
        known = isinstance(rule, PairLoss) and rule.convex and type(rule) in RULES.values()
        return known and (self.constraint == "unit" or self.views == "two")

    def _assembled(self, found: LiveOptimum, spectra: Spectra, graph: Graph) -> Optimum:
        W, Z, free = found.embedding.W, found.embedding.Z, spectra.X is None
        assert W is not None
        terms = {name: float(value) for name, value in self.loss_terms(Z, graph).items()}
        loss = float(sum(terms.values()))
        rank, level = found.rank, found.multiplicity
        note = f"{found.message}; rank {rank}, |W|^2 {float((W**2).sum()):.4g} of {self.radius:g} allowed"
        if rank:
            note += f", {level} eigenvalue{'s' if level > 1 else ''} of C_alpha level with the largest"
        only = only_optimum(found, np.eye(graph.n_samples) if spectra.X is None else spectra.X)
        if rank and not only:
            note += "; not shown to be the only optimum, others may be optimal too"
        embedding = Embedding(
            Z=Z,
            spectrum=found.eigenvalues,
            W=None if free else W,
            mean=None if free else found.embedding.mean,
            rank=rank,
            features=spectra.features,
        )
        return Optimum(
            embedding=embedding,
            loss=loss,
            loss_terms=terms,
            lower_bound=loss if found.kind == "exact" else min(found.lower_bound, loss),
            rank=rank,
            kind="exact" if found.kind == "exact" else "certified",
            unique_up_to="rotation" if only else "none",
            note=note,
            source=SOURCE,
            method=self,
            solver="L-BFGS over factors of low rank, columns added by the dual certificate",
            residual=found.residual,
        )

    # --- batches of pairs ---------------------------------------------------------------------------------------------

    def draw_pairs(self, graph: Graph, batch: int, rng: np.random.Generator) -> tuple[Any, Any]:
        """`batch` different samples, both views of each."""
        contrast = self.contrast(graph)
        N = contrast.n_rows // 2
        if not 2 <= batch <= N:
            raise DataError(
                f"alpha-CL contrasts different samples of a batch with each other: batch_size must be from 2 to the "
                f"{N} samples of two views, got {batch}"
            )
        chosen = rng.permutation(N)[:batch]
        return contrast.anchors[chosen], contrast.positives[chosen]

    def batch_terms(
        self, za: torch.Tensor, zb: torch.Tensor, i: Any, j: Any, graph: Graph, *, penalty: Any = None
    ) -> dict[str, Any]:
        """N / B times the terms among the B samples of the batch, each the others' negatives.

        Fewer negatives are another loss, with another minimum, and not one of less digits: as in practice, the batch
        size is a part of it.
        """
        B = za.shape[0]
        terms = self._terms(torch.cat([za, zb]), _of_batch(B, self.views, self.half_squared))
        scale = self.contrast(graph).n_rows / (2 * B)
        return {name: scale * value for name, value in terms.items()}

    @property
    def hyper(self) -> dict[str, Any]:
        """The hyper-parameters by name; the rule as its call string, options as usual left out."""
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "rule"}
        return {"rule": _words(self.weigh), **rest}


@functools.lru_cache(maxsize=8)
def _of_batch(B: int, views: Views, half_squared: bool) -> Contrast:
    return Contrast.of(B, views=views, half_squared=half_squared)


def _words(rule: AlphaRule) -> str:
    """The call string that makes the rule; of a function's, its name."""
    options = {}
    for f in fields(rule):  # type: ignore[arg-type]
        value = getattr(rule, f.name)
        if not f.init or value == f.default:
            continue
        if callable(value):
            value = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}"
        options[f.name] = value
    return spec.format_call(rule_name(rule), options)


def _unit_rows(Z: torch.Tensor) -> torch.Tensor:
    """Rows at length 1, divided by their largest entry first: no square under- or overflows. A zero row stays."""
    largest = Z.detach().abs().amax(dim=1, keepdim=True)
    Z = Z / largest.masked_fill(largest == 0, torch.inf)
    size: torch.Tensor = Z.norm(dim=1, keepdim=True)
    return Z / size.clamp_min(0.5)
