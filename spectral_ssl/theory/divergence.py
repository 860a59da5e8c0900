"""How far apart do losses push class centres, and how near do they hold views? Companions of `augmentation`.

All laws are those of a finite set of views: x uniform over n samples, f1, f2, f- features of views drawn independently
and uniformly from A(x), A(x), A(x-), with x- independent of x. So E[f1.f- | classes k, l] = mu_k.mu_l exactly.

R_eps by alignment, L_align = E |f1 - f2|^2, with the diameter of a sample the largest distance of two of its views:

    Markov       R_eps <= E[diameter] / eps
    Theorem 2    R_eps <= eta(eps) sqrt(L_align), for views of which half are m discrete transforms, equally likely, and
                 half an n-parameter family, M-Lipschitz in its parameters on the unit cube, f L-Lipschitz:
                 eta = inf { 4 max(1, m^2 h^2n) / (h^2n (eps - c h)) : 0 < h < eps / c },  c = 2 sqrt(n) L M
                 Below h0 = m^(-1/n) it falls until h1 = 2n eps / ((2n + 1) c) and rises after; past h0 it rises:
                 h = min(h0, h1). Where h1 is the smaller, eta = 4 (2n + 1) / (eps h1^2n), of order eps^-(2n + 1).
    finite       derived here, for m views of each sample and nothing else: about their mean c,
                 |f_i - f_j|^2 <= 2 (|f_i - c|^2 + |f_j - c|^2) <= 2 sum_i |f_i - c|^2 = m L_x,
                 so that diameter^2 <= m L_x and R_eps <= min( sqrt(m L_align) / eps, m L_align / eps^2 )

InfoNCE of one negative, no temperature, norm 1: L_1 = -E f1.f2 = L_align / 2 - 1, L_2 = E ln(e^{f1.f2} + e^{f1.f-}).

    Jensen       derived here: (a, b) -> ln(e^a + e^b) is jointly convex, so with A_k = E[f1.f2 | class k]
                 L_2 >= sum_kl p_k p_l ln(e^{A_k} + e^{mu_k.mu_l})
                 Once more over k != l, of total weight W, with means A and G of A_k and mu_k.mu_l under p_k p_l / W:
                 G <= ln( exp((L_2 - sum_k p_k^2 ln(e^{A_k} + e^{|mu_k|^2})) / W) - e^A )
                 which a collapsed simplex reaches
    Theorem 3    mu_k.mu_l <= ln( exp((L_2 + tau) / (p_k p_l)) - e^{1 - eps} ), tau not stated in closed form. Derived
                 here: where A_k >= 1 - eps for all k and eps <= 1, no term of Jensen's sum is negative, and the one of
                 (k, l) alone gives it with tau = 0. One pair is charged for the whole loss.

Cross-correlation, E f_i = 0 and E f_i^2 = 1: F = E f1 f2', L_1 = sum_i (1 - F_ii)^2, L_2 = |F - I|^2.

    Lemma 4.1    L_align = 2 sum_i (1 - F_ii) <= 2 sqrt(d L_1)
    Theorem 4    mu_k.mu_l <= sqrt( 2 / (p_k p_l) (L_2 + tau' - (d - K) / 2) ), tau' >= |F - S|^2,
                 S = sum_k p_k mu_k mu_k'
    sharper      derived here: with U = (sqrt(p_k) mu_k), |S - I_d|^2 = |U'U - I_K|^2 + d - K, and |S - I| is at most
                 |F - I| + |F - S|, so 2 p_k p_l (mu_k.mu_l)^2 <= (sqrt(L_2) + sqrt(tau'))^2 - (d - K)
    floor        derived here: rank F <= K under collapse, tr F = d, so L_2 >= (d - K) + (d - K)^2 / K: a dimension much
                 above K makes the bound say nothing. With E f_i = 0 the rank is K - 1 at most, which takes the place of
                 K: the floor of K + 1 classes is what K directions cost
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl.data._checks import check_int, check_real, frozen
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.theory.augmentation import SOURCE, Features
from spectral_ssl.theory.bound import Assumption, Bound

__all__ = [
    "ContrastiveParts",
    "CorrelationParts",
    "alignment_bounds",
    "alignment_factor",
    "collapse_floor",
    "contrastive_parts",
    "correlation_parts",
    "divergence_bounds",
    "pair_divergence_limit",
    "theorem_3_limit",
    "theorem_4_limit",
]

TERMS = 2**26  # logarithms of an exact L_2, a second; past that anchors are drawn
BLOCK = 2**21
UNIT = 1e-9  # |f| = 1, E f_i = 0 and E f_i^2 = 1 to rounding


def alignment_factor(eps: float, *, n: int, m: int, L: float, M: float) -> float:
    """eta(eps) of Theorem 2 for n parameters and m discrete transforms, n = 0 or m = 0 where there are none."""
    check_real(eps, "eps", low=0, open_low=True)
    check_int(n, "n", low=0)
    check_int(m, "m", low=0 if n else 1)
    check_real(L, "L", low=0)
    check_real(M, "M", low=0)
    if n == 0:
        return 4 * max(1, m**2) / eps
    c = 2 * math.sqrt(n) * L * M
    # a neighbourhood of edge h lies in the unit cube for h <= 1 only: with no discrete transform that ends the infimum
    h0 = min(1.0, m ** (-1 / n)) if m else 1.0
    h = min(h0, 2 * n * eps / ((2 * n + 1) * c)) if c > 0 else h0
    return 4 / (h ** (2 * n) * (eps - c * h))


def alignment_bounds(features: Features, eps: float) -> tuple[Bound, ...]:
    """R_eps, measured, against what alignment says of it."""
    check_real(eps, "eps", low=0, open_low=True)
    views, R, align = features.views, features.R(eps), features.alignment
    m = int(views.counts.max())
    known = Assumption(
        "all views of every sample are known", True if views.enumerated else None, f"at most m = {m} views of each"
    )
    shared: dict[str, Any] = {"assumptions": (known,), "trivial": 1.0, "certified": views.enumerated}
    finite = min(math.sqrt(m * align) / eps, m * align / eps**2)
    return (
        Bound.check("R_eps, Markov", R, lambda: float(features.diameter.mean()) / eps, source="Markov", **shared),
        Bound.check("R_eps, finite views", R, lambda: finite, source="derived here", **shared),
        Bound.check(
            "R_eps, Theorem 2",
            R,
            lambda: alignment_factor(eps, n=0, m=m, L=0, M=0) * math.sqrt(align),
            source=f"{SOURCE}, Theorem 2, n = 0",
            **shared,
        ),
    )


# -------------------------------------------------------------------------------------------------------------- InfoNCE


@dataclass(frozen=True, eq=False)
class ContrastiveParts:
    """InfoNCE's parts at norm 1. L1, L2; within (K,): A_k; exact: whether L2 is a sum over all pairs, or of anchors
    that were drawn."""

    L1: float
    L2: float
    within: Array
    exact: bool

    @property
    def loss(self) -> float:
        return self.L1 + self.L2


def contrastive_parts(features: Features, *, seed: int = 0) -> ContrastiveParts:
    """L_2 costs as many logarithms as views times views times views of a sample; past `TERMS` anchors are drawn.

    Raises DataError for features that are not of norm 1 (`Features.normalised`).
    """
    low, high = features.norms
    if not (abs(low - 1) <= UNIT and abs(high - 1) <= UNIT):
        raise DataError(f"InfoNCE's parts are of features of norm 1, got {low:.4g} to {high:.4g}; take .normalised()")
    views, Z = features.views, features.Z
    M, m = len(Z), views.counts
    weight = np.repeat(1 / (views.n * m), m)  # of every view (M,)
    inner = 1 - features.spread / 2  # E f1.f2 of each sample
    within = np.array([inner[views.first[k] : views.first[k + 1]].mean() for k in range(views.K)])
    anchors = np.arange(M)
    exact = float(M) * M * float(m.max()) <= TERMS
    if not exact:
        size = max(1, int(TERMS / (M * m.max())))
        anchors = np.random.default_rng(seed).choice(M, size=size, p=weight)
    total = mass = 0.0
    sample = np.repeat(np.arange(views.n), m)
    step = max(1, BLOCK // M)
    for low_row in range(0, anchors.size, step):
        at = anchors[low_row : low_row + step]
        rivals = np.exp(Z[at] @ Z.T)  # (b, M)
        for row, anchor in enumerate(at):
            i = sample[anchor]
            own = np.exp(Z[views.start[i] : views.start[i + 1]] @ Z[anchor])
            found = sum(float(np.log(e + rivals[row]) @ weight) for e in own) / own.size
            w = weight[anchor] if exact else 1.0
            total, mass = total + w * found, mass + w
    return ContrastiveParts(features.alignment / 2 - 1, total / mass, frozen(within), exact)


def pair_divergence_limit(parts: ContrastiveParts, gram: Array, p: Array) -> float:
    """G, the mean of mu_k.mu_l over k != l by p_k p_l, is at most this: Jensen's form. gram (K, K): only its diagonal
    |mu_k|^2 is read. Minus infinity where the loss is too small for any centres, which rounding can do."""
    W = 1 - float((p**2).sum())
    own = float((p**2) @ np.logaddexp(parts.within, np.diag(gram)))
    A = float((p * (1 - p)) @ parts.within) / W
    return _log_difference((parts.L2 - own) / W, A)


def theorem_3_limit(L2: float, p_k: float, p_l: float, *, eps: float = 0.0, tau: float = 0.0) -> float:
    """Theorem 3's limit of mu_k.mu_l."""
    return _log_difference((L2 + tau) / (p_k * p_l), 1 - eps)


def _log_difference(a: float, b: float) -> float:
    """ln(e^a - e^b) without overflow; minus infinity for a <= b."""
    return a + math.log1p(-math.exp(b - a)) if a > b else -math.inf


# ---------------------------------------------------------------------------------------------------- cross-correlation


@dataclass(frozen=True, eq=False)
class CorrelationParts:
    """Cross-correlation's parts. F (d, d); L1, L2; tau: |F - S|^2, measured; centres (K, d), of the scaled features;
    alignment: L_align of these."""

    F: Array
    L1: float
    L2: float
    tau: float
    centres: Array
    alignment: float

    @property
    def d(self) -> int:
        return int(self.F.shape[0])


def correlation_parts(features: Features) -> CorrelationParts:
    """Of the features brought to mean 0 and E f_i^2 = 1 over all views, as the loss has them.

    Raises DataError for a feature that is constant.
    """
    views = features.views
    weight = np.repeat(1 / (views.n * views.counts), views.counts)
    Z = features.Z - weight @ features.Z
    size = np.sqrt(weight @ Z**2)
    if not (size > UNIT * features.r).all():
        raise DataError(
            f"{int((size <= UNIT * features.r).sum())} of {Z.shape[1]} features are constant; E f_i^2 = 1 cannot be had"
        )
    Z = Z / size
    mean = views.mean(Z)
    F = mean.T @ mean / views.n
    centres = np.array([mean[views.first[k] : views.first[k + 1]].mean(axis=0) for k in range(views.K)])
    S = (centres.T * views.p) @ centres
    off = F - np.eye(len(F))
    spread = 2 * float(np.sum(1 - np.diag(F)))
    return CorrelationParts(
        frozen(F),
        float((np.diag(off) ** 2).sum()),
        float((off**2).sum()),
        float(((F - S) ** 2).sum()),
        frozen(centres),
        spread,
    )


def theorem_4_limit(L2: float, tau: float, d: int, K: int, p_k: float, p_l: float, *, sharper: bool = False) -> float:
    """The limit of mu_k.mu_l, as printed or `sharper`; 0 where the loss leaves nothing."""
    if sharper:
        return math.sqrt(max((math.sqrt(L2) + math.sqrt(tau)) ** 2 - (d - K), 0.0) / (2 * p_k * p_l))
    return math.sqrt(max(L2 + tau - (d - K) / 2, 0.0) * 2 / (p_k * p_l))


def collapse_floor(d: int, K: int) -> float:
    """The least L_2 in d dimensions, E f_i^2 = 1, of K collapsed classes, or of K + 1 where E f_i = 0: F of rank K."""
    return max(d - K, 0) + max(d - K, 0) ** 2 / K


# ---------------------------------------------------------------------------------------------------------- as `Bound`s


def divergence_bounds(features: Features, *, seed: int = 0) -> tuple[Bound, ...]:
    """What the two losses say of the centres: the worst pair, and the mean over pairs. features: of norm 1."""
    views, p, gram = features.views, features.views.p, features.gram
    pairs = ~np.eye(views.K, dtype=bool)
    parts = contrastive_parts(features, seed=seed)
    weight = np.outer(p, p)[pairs]
    mean = float(weight @ gram[pairs] / weight.sum())
    eps = max(0.0, 1 - float(parts.within.min()))
    k, j = divmod(int(np.argmax(np.where(pairs, gram, -np.inf))), views.K)
    whole = Assumption("L_2 is over all pairs of views", True if parts.exact else None, "" if parts.exact else "drawn")
    bounds = [
        Bound.check(
            "mean mu_k.mu_l by InfoNCE, Jensen",
            mean,
            lambda: pair_divergence_limit(parts, gram, p),
            source="derived here",
            assumptions=(whole,),
            trivial=1.0,
            certified=parts.exact,
        ),
        Bound.check(
            "largest mu_k.mu_l by InfoNCE, Theorem 3",
            float(gram[k, j]),
            lambda: theorem_3_limit(parts.L2, float(p[k]), float(p[j]), eps=eps),
            source=f"{SOURCE}, Theorem 3, tau = 0",
            assumptions=(whole, Assumption("A_k >= 1 - eps >= 0 in every class", eps <= 1, f"eps = {eps:.4g}")),
            trivial=1.0,
            certified=parts.exact,
        ),
    ]
    return (*bounds, *_correlation_bounds(features))


def _correlation_bounds(features: Features) -> tuple[Bound, ...]:
    try:
        c = correlation_parts(features)
    except DataError as error:
        failed = (Assumption("E f_i^2 = 1 for every feature", False, str(error)),)
        return tuple(
            Bound.check(name, None, lambda: math.nan, source=SOURCE, assumptions=failed)
            for name in ("L_align by cross-correlation, Lemma 4.1", "largest mu_k.mu_l by cross-correlation, Theorem 4")
        )
    p, K = features.views.p, features.views.K
    gram = c.centres @ c.centres.T
    k, j = divmod(int(np.argmax(np.where(np.eye(K, dtype=bool), -np.inf, gram))), K)
    shown = Assumption("E f_i = 0 and E f_i^2 = 1", True, f"d = {c.d} for K = {K} classes")
    name = "largest mu_k.mu_l by cross-correlation"
    shared: dict[str, Any] = {"assumptions": (shown,), "trivial": float(np.sqrt(gram[k, k] * gram[j, j]))}
    return (
        Bound.check(
            "L_align by cross-correlation, Lemma 4.1",
            c.alignment,
            lambda: 2 * math.sqrt(c.d * c.L1),
            source=f"{SOURCE}, Lemma 4.1",
            assumptions=(shown,),
            trivial=4.0 * c.d,
        ),
        Bound.check(
            f"{name}, Theorem 4",
            float(gram[k, j]),
            lambda: theorem_4_limit(c.L2, c.tau, c.d, K, float(p[k]), float(p[j])),
            source=f"{SOURCE}, Theorem 4",
            **shared,
        ),
        Bound.check(
            f"{name}, sharper",
            float(gram[k, j]),
            lambda: theorem_4_limit(c.L2, c.tau, c.d, K, float(p[k]), float(p[j]), sharper=True),
            source="derived here",
            **shared,
        ),
    )
