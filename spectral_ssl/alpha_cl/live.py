"""The least loss of one linear layer, alpha moving with it: a convex problem in disguise, solved with a certificate.

Over Z = XW with |W|_F^2 <= r every u_ij is linear in G = WW', so L = sum_i F(u_i) is convex in G where F is, and the
feasible set, G psd with tr G <= r, is convex too. With C = C_alpha[x] the contrastive covariance at alpha = dF/du(W),
h = 1/2 for half-squared distances, 1 otherwise,

    L(G') >= L(G) - h <C, G' - G>          for every G',          <C, G'> <= r [lambda_max(C)]_+

and so the energy E_alpha(W) = h tr(W'CW) of W itself tells how far from optimal it can be:

    gap(W) = h r [lambda_max(C)]_+ - E_alpha(W)  >=  L(W) - L*  >=  0

At the optimum the gap is zero: range(G) lies in the top eigenspace of C, and G has rank above one only if alpha has
levelled that many eigenvalues. With alpha frozen C is a constant, and the same statement is PCA: one direction.

More generally any alpha in the domain of the conjugate F* bounds the loss from below (exchange min and max),

    L*  >=  -h r [lambda_max(C_alpha)]_+ - sum_i F*(alpha_i)

which at alpha = dF/du(W) is L(W) - gap(W) (Fenchel and Young). Where F has a kink, dF/du is one of many subgradients
and its gap need not close. The triplet loss is therefore minimised as

    F_mu(u) = mu sum_j log(1 + e^{(u_j + m) / mu}),      F <= F_mu <= F + m_negatives mu log 2

for a falling mu: alpha = sigmoid((u + m) / mu) is a point of the subdifferential in the limit, always in the domain of
F*, and the bound is that of the loss itself.

The search runs over W in few columns, on the sphere |W|^2 + t^2 = r with a slack t, by L-BFGS; where the certificate is
open, the eigenvectors of C above the level of the others join as columns. Whatever found W, the certificate is valid.

Source: gradient theorem of Tian 2022 (arXiv 2201.12680); convexity, certificate and ranks derived here.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.alpha_cl._live_search import (
    COLUMNS,
    GapCertificate,
    Point,
    Search,
    certify,
    descend,
    reduced,
    smoothings,
)
from spectral_ssl.alpha_cl._one_layer import OneLayer
from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, NotClosedForm

__all__ = ["GapCertificate", "LiveOptimum", "gap_certificate", "live_optimum"]

TOL = 1e-7  # of the decrease from collapse: where the search ends
STAIRS = 12  # certificates, each after columns it asked for
STARTS = 4  # seeded ones where the columns are too few for the convex problem
RANK_TOL = 1e-6  # and below this share of tr G not counted, where the loss allows: L-BFGS leaves the root of its gap
LEVEL_TOL = 1e-3  # eigenvalues of C this near the largest, of the largest, are level with it: the same, and open kinks
SOURCE = "Tian 2022 (gradient theorem); convexity in WW' and certificate derived here"


@dataclass(frozen=True, eq=False)
class LiveOptimum:
    """The least loss of one linear layer with |W|_F^2 <= radius, and how it was proven.

    embedding: Z = (X - mean) W, W (D, K) turned so that W'W is diagonal, its spectrum the eigenvalues of C at alpha*,
    largest first. loss, lower_bound = loss - gap: L* lies between them; over W of any number of columns, so that with
    fewer than the rank of the optimum the gap holds their price. kind: "exact" for a fixed alpha, else "certified".
    rank: of G = WW'. multiplicity: eigenvalues level with the largest, at least the rank where the gap is closed.
    residual: |CG - lambda_max G| / (|C| |G|). converged: whether the gap is at most `tol` of the decrease from
    collapse, or all rounding; message: in words. sweeps: passes over all pairs.
    """

    embedding: Embedding
    loss: float
    lower_bound: float
    kind: str
    rank: int
    multiplicity: int
    residual: float
    collapse_loss: float
    converged: bool
    message: str
    sweeps: int
    radius: float
    rule: AlphaRule
    contrast: Contrast
    _proof: tuple[AlphaRule, Array]  # the rule and the Z of the best bound, which at kinks need not be those above

    @property
    def gap(self) -> float:
        return self.loss - self.lower_bound

    @property
    def eigenvalues(self) -> Array:
        """Of C_alpha*[x], largest first."""
        return self.embedding.spectrum

    @property
    def G(self) -> Array:
        """WW' (D, D)."""
        assert self.embedding.W is not None
        return self.embedding.W @ self.embedding.W.T

    @functools.cached_property
    def alpha(self) -> Array:
        """alpha* (n, m), of the proof: dF/du at the optimum, at kinks the point of the subdifferential it found."""
        return np.asarray(self._proof[0].alpha(self._proof[1], self.contrast).numpy())


def check_rule(rule: Any) -> None:
    """Raise unless the loss of the rule is convex, or its alpha fixed: otherwise nothing certifies a minimum."""
    if not isinstance(rule, AlphaRule):
        raise DataError(f"a rule is an object such as alpha_cl.Nce(temperature=0.5), got {rule!r}")
    if rule.fixed or (isinstance(rule, PairLoss) and rule.convex):
        return
    if isinstance(rule, PairLoss):
        raise NotClosedForm(
            f"{type(rule).__name__} is not convex in u, so that nothing certifies a minimum of it; train it, or freeze "
            "its alpha and solve that"
        )
    raise NotClosedForm(
        f"{type(rule).__name__} sets alpha without a loss, so that there is nothing to minimise; take a loss such as "
        "alpha_cl.Nce(temperature=0.5, eps=0), alternate alpha and W (alternation), or freeze alpha"
    )


def check_problem(X: Any, contrast: Contrast, rule: AlphaRule, **positive: float) -> OneLayer:
    """The problem of these data, rule and positive numbers, or the error that says what is wrong with them."""
    check_rule(rule)
    for name, value in positive.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise DataError(f"{name} must be a positive number, got {value!r}")
    problem = OneLayer(X, contrast, rule)
    if problem.d == 0:
        raise DataError("all rows of X are equal: every linear map collapses them; give features that vary")
    return problem


def gap_certificate(W: Any, X: Any, contrast: Contrast, rule: AlphaRule, *, radius: float = 1.0) -> GapCertificate:
    """How far the loss of Z = XW can be above the least over linear maps with |W|_F^2 <= radius, of any width.

    W (D, K) in the ball, from wherever; X (2N, D). At a kink of the loss alpha is the subgradient that the rule gives.

    Raises DataError for shapes that do not fit or W outside the ball, NotClosedForm for a loss that is not convex.
    """
    problem = check_problem(X, contrast, rule, radius=radius)
    W = np.asarray(W, dtype=np.float64)
    D = problem.basis.shape[0]
    if W.ndim != 2 or W.shape[0] != D or not np.all(np.isfinite(W)):
        raise DataError(f"W must be a finite array of shape ({D}, K) for the {D} columns of X, got shape {W.shape}")
    if (size := float((W**2).sum())) > radius * (1 + 1e-9):
        raise DataError(f"W has |W|_F^2 = {size:.6g}, outside the ball of {radius:g}; scale it down")
    return certify(problem, problem.basis.T @ W, radius).proof


def live_optimum(
    X: Any,
    contrast: Contrast,
    rule: AlphaRule,
    *,
    radius: float = 1.0,
    n_components: int | None = None,
    tol: float = TOL,
    seed: int = 0,
) -> LiveOptimum:
    """min over W, |W|_F^2 <= radius, of sum_i F(u_i(XW)), with a proof of how near it is.

    X (2N, D): rows as the contrast numbers them; differences alone count. rule: a convex `PairLoss`, or a rule of fixed
    alpha (the loss is then -E_alpha). n_components: columns of W; None takes as many as the optimum needs, and fewer
    give the best of a few searches, its gap to the bound over all widths in the record. tol: the gap, as a share of the
    decrease from the collapsed W = 0, at which the search ends.

    Raises NotClosedForm where the loss is not convex, DataError for what does not fit.
    """
    problem = check_problem(X, contrast, rule, radius=radius, tol=tol)
    D, K = problem.basis.shape[0], n_components
    if K is not None and (isinstance(K, bool) or not isinstance(K, int | np.integer) or not 1 <= K <= D):
        raise DataError(f"n_components must be a whole number from 1 to D = {D}, or None, got {K!r}")
    return _solve(problem, float(radius), None if K is None else int(K), float(tol), seed)


def _solve(problem: OneLayer, radius: float, K: int | None, tol: float, seed: int) -> LiveOptimum:
    search = Search(problem, radius, tol)
    V, root = search.collapsed.vectors, math.sqrt(radius)
    search.judge(problem, root * V[:, :1])  # the optimum where alpha is fixed
    if not search.closed:
        k = min(problem.d, COLUMNS)
        W, t = root * math.sqrt(0.8 / k) * V[:, :k], root * math.sqrt(0.2)
        for smooth, truth in smoothings(problem, radius):
            W = search.climb(smooth, W, t, STAIRS, truth)
            t = math.sqrt(max(radius - float((W**2).sum()), 0.0))
            if search.closed:
                break
    wide = search.primal
    if K is not None and wide.W.shape[1] > K:
        rng = np.random.default_rng(seed)
        starts = [wide.W[:, :K], *rng.standard_normal((STARTS * (_rank(wide.W) > K), problem.d, K))]
        narrow = []
        for W in starts:
            W = W * root * math.sqrt(0.8) / np.linalg.norm(W)
            for smooth, _ in smoothings(problem, radius):
                W, _ = descend(smooth, W, root * math.sqrt(0.2), radius, search.enough)
            narrow.append(certify(problem, W, radius))
        search.primal = min(narrow, key=lambda point: point.proof.value)
        search.dual = max([search.dual, *narrow], key=lambda point: point.proof.lower_bound)
    return _record(search, K, wide)


def _rank(W: Array) -> int:
    squares = linalg.svd(W)[1] ** 2
    return int((squares > RANK_TOL * squares.sum()).sum())


def _record(search: Search, K: int | None, wide: Point) -> LiveOptimum:
    problem, radius, dual = search.problem, search.radius, search.dual
    W, value = reduced(search.primal.W, 0.0), search.primal.proof.value
    less = reduced(W, RANK_TOL)
    cost = problem.value(less)  # along a feature of large values a small column is worth as much as any
    cheap = cost <= value + search.tol * search.decrease and (search.closes(cost) or not search.closed)
    rank = _rank(less) if cheap else W.shape[1]
    if K is None:
        W, value = (less, cost) if cheap else (W, value)
    else:
        W = np.hstack([W, np.zeros((problem.d, K - W.shape[1]))])
    lower = min(dual.proof.lower_bound, value)
    G = W @ W.T
    C, top = dual.C, float(dual.values[0])
    spectrum = dual.proof.eigenvalues
    # what the gap leaves unresolved of eigenvalues, directions of G lying below the largest by less on average over G;
    # and rounding of those at collapse, where all triplets are satisfied and alpha vanishes
    unresolved = max(value - lower, dual.proof.rounding) / (problem.h * radius)
    floor = max(unresolved, linalg.EPS * float(np.abs(search.collapsed.values).max()))
    size = float(np.abs(spectrum).max()) * float(np.linalg.norm(G))
    level = int((spectrum >= top - LEVEL_TOL * abs(top) - floor).sum())
    residual = float(np.linalg.norm(C @ G - max(top, 0.0) * G)) / size if abs(top) > floor and size > 0 else 0.0
    mean = problem.mean
    embedding = Embedding(Z=problem.Y @ W, spectrum=spectrum, W=problem.basis @ W, mean=mean, rank=rank)
    gap, decrease = value - lower, search.collapsed.proof.value - value
    share = gap / decrease if decrease > 0 else 0.0
    over = f"{gap:.3g} above the least at most, {share:.1e} of the decrease from collapse"
    if K is not None and value > wide.proof.value + search.tol * abs(decrease):
        over += f"; {K} columns cost at most that, wider maps reach {wide.proof.value:.8g}"
    return LiveOptimum(
        embedding=embedding,
        loss=value,
        lower_bound=lower,
        kind="exact" if problem.rule.fixed else "certified",
        rank=rank,
        multiplicity=level,
        residual=residual,
        collapse_loss=search.collapsed.proof.value,
        converged=search.closes(value),
        message=over,
        sweeps=problem.sweeps,
        radius=radius,
        rule=problem.rule,
        contrast=problem.contrast,
        _proof=(dual.rule, problem.Y @ dual.W),
    )
