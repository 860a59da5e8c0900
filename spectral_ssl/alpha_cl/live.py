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
import scipy.optimize
import torch

from spectral_ssl import linalg
from spectral_ssl.alpha_cl._one_layer import OneLayer
from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.family import Triplet
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, NotClosedForm

__all__ = ["GapCertificate", "LiveOptimum", "gap_certificate", "live_optimum"]

TOL = 1e-7  # of the decrease from collapse: where the search ends
MEMORY = 30  # steps that L-BFGS remembers
POLISH = 10  # steps on the gradient alone
COLUMNS = 16  # of W at the start, or all there are
EFFORT = 500  # iterations of L-BFGS between two certificates
STAIRS = 12  # certificates, each after columns it asked for
STARTS = 4  # seeded ones where the columns are too few for the convex problem
KEPT = 1e-12  # eigenvalues of G below this share of r are dropped from the search
RANK_TOL = 1e-6  # and below this share of tr G not counted, where the loss allows: L-BFGS leaves the root of its gap
LEVEL_TOL = 1e-3  # eigenvalues of C this near the largest, of the largest, are level with it: the same, and open kinks
SMOOTHING = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)  # mu, of the spread of u at the start
SOURCE = "Tian 2022 (gradient theorem); convexity in WW' and certificate derived here"


@dataclass(frozen=True)
class _SmoothTriplet(PairLoss):
    """F_mu(u) = mu sum_j log(1 + e^{(u_j + m) / mu})."""

    margin: float
    mu: float

    convex = True
    row_sum = "free"

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        x = (u + self.margin) / self.mu
        return self.mu * torch.logaddexp(x, torch.zeros_like(x)).sum(dim=1)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid((u + self.margin) / self.mu)


@dataclass(frozen=True, eq=False)
class GapCertificate:
    """A proof that a loss is near its minimum: lower_bound <= L* <= value, gap = value - lower_bound.

    eigenvalues (D,): of C_alpha[x] at the alpha of the proof, largest first. energy: E_alpha(W) = h tr(W'CW). rounding:
    the part of the gap that stands for float64, so that the bound holds for the computed numbers.
    """

    value: float
    lower_bound: float
    gap: float
    eigenvalues: Array
    energy: float
    rounding: float


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
    return _certify(problem, problem.basis.T @ W, radius).proof


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


@dataclass(frozen=True, eq=False)
class _Point:
    """W (d, k) in the basis of the problem, its proof, C (d, d) with its eigenpairs, and the rule behind its alpha."""

    W: Array
    proof: GapCertificate
    C: Array
    values: Array
    vectors: Array
    rule: AlphaRule


class _Search:
    """The lowest loss and the highest bound met so far, and what is left between them."""

    def __init__(self, problem: OneLayer, radius: float, tol: float) -> None:
        self.problem, self.radius, self.tol = problem, radius, tol
        self.collapsed = self.primal = self.dual = _certify(problem, np.zeros((problem.d, 1)), radius)

    def judge(self, problem: OneLayer, W: Array, truth: PairLoss | None = None) -> _Point:
        point = _certify(problem, W, self.radius, truth)
        if point.proof.value < self.primal.proof.value:
            self.primal = point
        if point.proof.lower_bound > self.dual.proof.lower_bound:
            self.dual = point
        return point

    @property
    def gap(self) -> float:
        return max(self.primal.proof.value - self.dual.proof.lower_bound, 0.0)

    @property
    def decrease(self) -> float:
        return self.collapsed.proof.value - self.primal.proof.value

    @property
    def closed(self) -> bool:
        """Whether the gap is `tol` of the decrease, or all rounding."""
        return self.closes(self.primal.proof.value)

    def closes(self, value: float) -> bool:
        """The same of a loss of `value`."""
        enough = max(self.tol * (self.collapsed.proof.value - value), 2 * self.dual.proof.rounding)
        return value - self.dual.proof.lower_bound <= enough

    def climb(self, problem: OneLayer, W: Array, t: float, stairs: int, truth: PairLoss | None = None) -> Array:
        """Descend from W with slack t, look where the certificate is open, add columns there, and again."""
        before = math.inf
        for _ in range(stairs):
            W, t = descend(problem, W, t, self.radius, 0.1 * self.tol * self.decrease)
            W = reduced(W, KEPT)
            point = self.judge(problem, W, truth)
            if self.closed or not point.proof.gap < 0.9 * before:
                break
            before = point.proof.gap
            W, t = _grown(problem, point, W, t, self.radius)
        return W


def _certify(problem: OneLayer, W: Array, radius: float, truth: PairLoss | None = None) -> _Point:
    """The certificate at W (d, k). truth: the loss itself where the problem is a smoothing of it."""
    h, (d, k) = problem.h, W.shape
    s = problem.sweep(W, dual=truth)
    values, U = linalg.eigh(s.product)
    energy = h * float((W * (s.product @ W)).sum())
    value = s.value if truth is None else problem.of(truth).value(W)
    rounding = s.rounding(h, radius, (d, k))
    most = h * radius * max(float(values[-1]), 0.0)
    bound = s.value + energy - most if truth is None else -most - s.conjugate
    lower = min(bound - rounding, value)
    spectrum = np.sort(np.append(values, np.zeros(problem.basis.shape[0] - d)))[::-1]
    proof = GapCertificate(value, lower, value - lower, spectrum, energy, rounding)
    return _Point(W, proof, s.product, values[::-1], U[:, ::-1], problem.rule)


def descend(problem: OneLayer, W: Array, t: float, radius: float, enough: float) -> tuple[Array, float]:
    """L-BFGS over (B, s) with W = sqrt(r) B / nu, t = sqrt(r) s / nu, nu^2 = |B|^2 + s^2: no constraint is left.

    dL/dW = -2 h C W =: g and y = <g, W> / r give dL/dB = sqrt(r) (g - y W) / nu, dL/ds = -sqrt(r) y t / nu. The search
    ends at a gradient of `enough`. Where differences of L are rounding before that, its last model of the curvature
    goes on as Newton's method on the gradient, as long as that falls.
    """
    shape, root = W.shape, math.sqrt(radius)

    def both(x: Array) -> tuple[float, Array]:
        nu = float(np.linalg.norm(x))
        W, t = root / nu * x[:-1].reshape(shape), root / nu * x[-1]
        s = problem.sweep(W, W)
        g = -2 * problem.h * s.product
        y = float((g * W).sum()) / radius
        return s.value, root / nu * np.append((g - y * W).ravel(), -y * t)

    size = math.sqrt(W.size + 1)
    options = {"maxiter": EFFORT, "maxfun": 2 * EFFORT, "ftol": 0.0, "gtol": enough / size, "maxcor": MEMORY}
    done = scipy.optimize.minimize(both, np.append(W.ravel(), t) / root, jac=True, method="L-BFGS-B", options=options)
    x, g = done.x, done.jac
    for _ in range(POLISH):
        if np.linalg.norm(g) <= enough or done.nit == 0:
            break
        y = x - done.hess_inv @ g
        _, f = both(y)
        if not np.linalg.norm(f) * np.linalg.norm(y) < 0.7 * np.linalg.norm(g) * np.linalg.norm(x):
            break
        x, g = y, f
    x = x * root / np.linalg.norm(x)
    return x[:-1].reshape(shape), float(x[-1])


def reduced(W: Array, share: float) -> Array:
    """W turned so that its columns are orthogonal, the largest first; those of less |w|^2 than a share are left out."""
    U, s, _ = linalg.svd(W)
    keep = s**2 > share * max(float((s**2).sum()), 1e-300)
    keep[0] = True
    return np.asarray(linalg.fix_signs(U[:, keep]) * s[keep])


def _grown(problem: OneLayer, point: _Point, W: Array, t: float, radius: float) -> tuple[Array, float]:
    """W with the eigenvectors of C above the mean level of its columns, at the best of a few sizes.

    The slack is one more direction, of level 0.
    """
    level = point.proof.energy / (problem.h * radius)
    new = point.vectors[:, point.values > max(level, 0.0)][:, :COLUMNS]
    slack = t if level > 0 else max(abs(t), 0.1 * math.sqrt(radius))
    points = []
    for size in (0.3, 0.1, 0.03, 0.01, 0.001):
        B = np.hstack([W, size * math.sqrt(radius / max(new.shape[1], 1)) * new])
        scale = math.sqrt(radius / (float((B**2).sum()) + slack**2))
        points.append((problem.value(scale * B), scale * B, scale * slack))
    _, W, t = min(points, key=lambda found: found[0])
    return W, t


def _solve(problem: OneLayer, radius: float, K: int | None, tol: float, seed: int) -> LiveOptimum:
    search = _Search(problem, radius, tol)
    V, root = search.collapsed.vectors, math.sqrt(radius)
    search.judge(problem, root * V[:, :1])  # the optimum where alpha is fixed
    if not search.closed:
        k = min(problem.d, COLUMNS)
        W, t = root * math.sqrt(0.8 / k) * V[:, :k], root * math.sqrt(0.2)
        for smooth, truth in _smoothings(problem, radius):
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
            for smooth, _ in _smoothings(problem, radius):
                W, _ = descend(smooth, W, root * math.sqrt(0.2), radius, 0.1 * tol * search.decrease)
            narrow.append(_certify(problem, W, radius))
        search.primal = min(narrow, key=lambda point: point.proof.value)
        search.dual = max([search.dual, *narrow], key=lambda point: point.proof.lower_bound)
    return _record(search, K, wide)


def _smoothings(problem: OneLayer, radius: float) -> list[tuple[OneLayer, PairLoss | None]]:
    """The problems to solve one after the other, and the loss that they approach where it is not their own."""
    rule = problem.rule
    if not isinstance(rule, Triplet):
        return [(problem, None)]
    spread = abs(rule.margin) + radius * float(linalg.svd(problem.Y)[1][0]) ** 2 / len(problem.Y)
    return [(problem.of(_SmoothTriplet(rule.margin, share * spread)), rule) for share in SMOOTHING]


def _rank(W: Array) -> int:
    squares = linalg.svd(W)[1] ** 2
    return int((squares > RANK_TOL * squares.sum()).sum())


def _record(search: _Search, K: int | None, wide: _Point) -> LiveOptimum:
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
