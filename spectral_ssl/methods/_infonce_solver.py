"""Minimise InfoNCE over embeddings or linear maps, to a proof: factors of low rank, Newton's method, a staircase.

As a function of S = ZZ' the loss f is convex (`_certificates`), so over all embeddings, or all linear maps with dot
products, one minimum is to be found. It is searched for as a factor, Z = F V:

    cosine   F = I,   rows of V of length 1
    dot      F = X T  with unit covariance,   tr(V'CV) <= radius,   C = T'T, so that W = T V

Phases: (1) L-BFGS in few columns, more as long as all are used; (2) columns the solution does not use are dropped,
since they make every method slow: the loss is flat to second order there; (3) Newton's method with conjugate gradients
in a trust region, a sweep over the N x N similarities for every product with the Hessian; (4) the certificate. Where
its matrix has negative eigenvalues their eigenvectors are descent directions, and become new columns of (1): the
staircase of Boumal (2015). It ends at a proof, since a minimum of second order that does not use all its columns is
global (Burer & Monteiro 2003).

The ball of the dot products is left where the optimum lies inside and its sphere kept to where not; the sign of
<grad f, S> tells which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize

from spectral_ssl import linalg
from spectral_ssl.embedding import Array
from spectral_ssl.graph import Graph

__all__ = ["Found", "Problem", "descend", "rank", "reduced", "solve", "unshifted"]

BLOCK = 2**19  # numbers of a block of similarities, 4 MB: several are alive
COLUMNS = 48  # to begin with
USED, KEPT = 1e-2, 1e-5  # shares of the largest singular value: a column in use, and one that is more than rounding
FAINT = 1e-4  # a direction of an optimum below this share of the largest is what the search left of none
EFFORT = 150  # steps of L-BFGS before Newton's method
NEWTON, PRODUCTS = 12, 250  # steps of Newton's method, and products with the Hessian in each
FLAT = 1e-11  # share of the largest curvature below which a direction is a rotation of the columns, and rounding
STAIRS = 12
NEW = 12  # columns added at once
CLOSE = 1e-6  # relative gap at which a stair that does not halve it shows rounding
TOL = 1e-8  # relative gap at which the work ends
STARTS, SHORT, FINISHED = 14, 60, 3  # in fewer dimensions than the optimum's: starts, their steps, and the best of them
SETTLED, PASSES = 1e-9, 8  # of dot products: relative decrease that ends the passes between the inside and the sphere


class Problem:
    """f(FVV'F') and its derivatives in V (p, k). F (N, p), None for the identity.

    metric: C (p, p), None for the identity. radius: None keeps every row of V at length 1; else tr(V'CV) <= radius, and
    `boundary` says whether the constraint is held with equality or left out.
    """

    def __init__(
        self,
        graph: Graph,
        temperature: float,
        F: Array | None = None,
        C: Array | None = None,
        radius: float | None = None,
    ) -> None:
        self.graph, self.tau, self.F, self.C, self.radius = graph, temperature, F, C, radius
        self.loops = graph.diagonal
        self.degree = graph.degree - self.loops
        self.N = graph.n_samples
        self.p = self.N if F is None else F.shape[1]
        self.boundary = radius is None
        self.attraction = 1.0  # what the weights of the positives are multiplied by, those of the negatives are not
        self.sweeps = 0

    # --- the loss and its derivatives ---------------------------------------------------------------------------------

    def positives(self, Z: Array) -> Array:
        """A Z without self-pairs."""
        return np.asarray(self.attraction * (self.graph.matmul(Z) - self.loops[:, None] * Z))

    def lift(self, V: Array) -> Array:
        return V if self.F is None else self.F @ V

    def pull(self, G: Array) -> Array:
        return G if self.F is None else self.F.T @ G

    def blocks(self, Z: Array) -> Any:
        """Rows i0 .. i1 and their similarities / tau, self-pairs at -inf."""
        N = self.N
        across, rows = np.ascontiguousarray(Z.T) / self.tau, max(1, BLOCK // N)
        for start in range(0, N, rows):
            i = np.arange(start, min(start + rows, N))
            T = Z[start : start + rows] @ across
            T[i - start, i] = -np.inf
            yield slice(start, start + i.size), T

    def both(self, V: Array) -> tuple[float, Array]:
        """f and its gradient 2 F'(grad f) Z."""
        self.sweeps += 1
        Z = self.lift(V)
        d = self.degree[:, None]
        AZ = self.positives(Z)
        value, G = -float((Z * AZ).sum()) / self.tau, -2 * AZ
        self.log_total = np.empty((self.N, 1))
        for i, T in self.blocks(Z):
            top = T.max(axis=1, keepdims=True)
            T -= top
            np.exp(T, out=T)
            total = T.sum(axis=1, keepdims=True)
            self.log_total[i] = top + np.log(total)
            T *= d[i] / total
            G[i] += T @ Z
            G += T.T @ Z[i]
        value += float((d * self.log_total).sum())
        return value, self.pull(G) / self.tau

    def product(self, V: Array, U: Array) -> Array:
        """The Hessian times U, at the V of the last call of `both`.

        With Q_ij = d_i p_ij and dT = (UZ' + ZU')/tau, softmax moves by R_ij = Q_ij (dT_ij - sum_l p_il dT_il); the
        gradient ((Q + Q') - 2A) Z / tau by ((R + R') Z + (Q + Q' - 2A) U) / tau.
        """
        self.sweeps += 1
        Z, Y = self.lift(V), self.lift(U)
        d, k = self.degree, Z.shape[1]
        out = -2 * self.positives(Y)
        log_weight = np.log(np.maximum(d, 1e-300))[:, None] - self.log_total
        ZY, across = np.hstack([Z, Y]), np.ascontiguousarray(np.hstack([Y, Z]).T) / self.tau
        inverse = np.divide(1.0, d, out=np.zeros_like(d), where=d > 0)[:, None]
        for i, Q in self.blocks(Z):
            Q += log_weight[i]
            np.exp(Q, out=Q)
            dT = ZY[i] @ across
            dT -= np.einsum("ij,ij->i", Q, dT)[:, None] * inverse[i]
            dT *= Q
            out[i] += dT @ Z
            out[i] += Q @ Y
            out += dT.T @ ZY[i, :k]
            out += Q.T @ ZY[i, k:]
        return self.pull(out) / self.tau

    def size(self, value: float) -> float:
        """What gaps are relative to: the loss, or where it is nearly zero a tenth of its weight."""
        return max(abs(value), 0.1 * float(self.degree.sum()))

    # --- the constraint -----------------------------------------------------------------------------------------------

    def weigh(self, V: Array) -> Array:
        return V if self.C is None else self.C @ V

    def trace(self, V: Array) -> float:
        return float((V * self.weigh(V)).sum())

    def inner(self, A: Array, B: Array) -> Any:
        """By rows, or over everything."""
        return (A * B).sum(axis=1, keepdims=True) if self.radius is None else (A * B).sum()

    def retract(self, V: Array) -> Array:
        """The point of the constraint on the ray of V."""
        if self.radius is None:
            return np.asarray(V / np.linalg.norm(V, axis=1, keepdims=True))
        return V * math.sqrt(self.radius / self.trace(V)) if self.boundary else V

    def multiplier(self, V: Array, G: Array) -> Any:
        """y of G = y C V + tangent part; 0 inside."""
        if not self.boundary:
            return 0.0
        normal = self.weigh(V)
        return self.inner(G, normal) / self.inner(normal, normal)

    def project(self, V: Array, U: Array) -> Array:
        return U - self.multiplier(V, U) * self.weigh(V) if self.boundary else U

    def homogeneous(self, Y: Array) -> tuple[float, Array]:
        """The loss at the constraint on the ray of Y, and its gradient in Y."""
        V = self.retract(Y)
        value, G = self.both(V)
        if self.radius is None:
            return value, self.project(V, G) / np.linalg.norm(Y, axis=1, keepdims=True)
        if not self.boundary:
            return value, G
        scale = math.sqrt(self.radius / self.trace(Y))
        return value, scale * (G - (G * V).sum() / self.radius * self.weigh(V))

    # --- the certificate's matrix -------------------------------------------------------------------------------------

    def dual(self, V: Array) -> tuple[float, float, Array, Array]:
        """f, the gap of `_certificates` without its rounding, and the dual matrix's eigenpairs as directions in V."""
        Z = self.lift(V)
        M = np.empty((self.N, self.N))
        value, _ = self.both(V)
        for i, T in self.blocks(Z):
            M[i] = np.exp(T - self.log_total[i]) * self.degree[i, None]
        M = (M + M.T) / 2
        A = self.graph.to_csr().tocoo()
        off = A.coords[0] != A.coords[1]
        M[A.coords[0][off], A.coords[1][off]] -= self.attraction * A.data[off]
        M /= self.tau
        if self.radius is None:
            M[np.arange(self.N), np.arange(self.N)] -= ((M @ Z) * Z).sum(axis=1)
            values, U = linalg.eigh(M)
            return value, -self.N * min(0.0, float(values[0])), values, U
        if self.F is not None:
            M = self.F.T @ M @ self.F
        inside = float(((M @ V) * V).sum())
        root = np.eye(self.p) if self.C is None else linalg.whitening(self.C)[0]
        values, U = linalg.eigh(root.T @ M @ root)
        return value, inside - self.radius * min(0.0, float(values[0])), values, root @ U


@dataclass(frozen=True)
class Found:
    """V (p, k) within the constraint, its loss, and how far it can be above the minimum over all k (0 if not asked)."""

    V: Array
    value: float
    gap: float
    sweeps: int


def solve(problem: Problem, *, start: Array | None = None, tol: float = TOL, seed: int = 0) -> Found:
    """The minimum over any number of columns, by phases (1) to (4) until the gap is `tol` of its size."""
    rng = np.random.default_rng(seed)
    most = problem.p
    V = _start(problem, rng, min(COLUMNS, most)) if start is None else start
    V = _lbfgs(problem, problem.retract(V), 30)
    while V.shape[1] < most and rank(V, USED) > 0.75 * V.shape[1]:
        more = min(most, 2 * V.shape[1]) - V.shape[1]
        size = 0.1 * np.linalg.norm(V) / math.sqrt(V.size)
        V = _lbfgs(problem, problem.retract(np.hstack([V, size * rng.standard_normal((problem.p, more))])), 30)
    V = _lbfgs(problem, V, EFFORT)
    best: Found | None = None
    for stair in range(STAIRS):
        V = problem.retract(reduced(V, USED if stair == 0 else KEPT))
        value, gap, values, U = problem.dual(V)
        if gap > tol * problem.size(value):
            V = _side(problem, newton(problem, V, tol))
            value, gap, values, U = problem.dual(V)
        settled = best is not None and best.gap <= CLOSE * problem.size(value) and gap > best.gap / 2
        if best is None or value - gap > best.value - best.gap:
            best = Found(V, value, gap, problem.sweeps)
        if gap <= tol * problem.size(value) or settled:
            break
        push = values < min(0.0, 0.1 * float(values[0]))
        V = _grown(problem, reduced(V, KEPT), U[:, push][:, :NEW], value)
        V = _lbfgs(problem, V, EFFORT)
    assert best is not None
    return best


def descend(problem: Problem, n_components: int, wide: Array, *, seed: int = 0) -> Found:
    """The lowest loss found in `n_components` columns, never above that of rows all alike where rows are of length 1.

    Short descents from the top of the wide solution, from rows nearly alike, and from seeded starts inside the ball;
    the best few are finished.
    """
    rng = np.random.default_rng(seed)
    top = reduced(wide, 0.0)[:, :n_components]
    alike = np.eye(1, n_components).repeat(problem.p, axis=0)
    noise = rng.standard_normal((STARTS, problem.p, n_components))
    for N in noise:  # no larger than the wide solution
        N *= rng.uniform(0.3, 1.0) * math.sqrt(problem.trace(wide) / problem.trace(N))
    noise[0] *= 1e-3
    noise[0, :, : top.shape[1]] += top
    if problem.radius is None:
        noise[1] = alike + 0.1 * noise[1]
    found = [_settled(problem, V, SHORT) for V in noise]
    if problem.radius is None:
        found.append((problem.both(alike)[0], alike, True))
    found.sort(key=lambda one: one[0])
    found += [_settled(problem, V, 2 * EFFORT) for _, V, _ in found[:FINISHED]]
    _, V, problem.boundary = min(found, key=lambda one: one[0])
    V = _side(problem, newton(problem, V, TOL))
    return Found(V, problem.both(V)[0], math.inf, problem.sweeps)


def _settled(problem: Problem, V: Array, steps: int) -> tuple[float, Array, bool]:
    """L-BFGS from V, for dot products inside the ball first and until value and side of the sphere stay; its side."""
    problem.boundary = problem.radius is None
    value = math.inf
    for _ in range(1 if problem.radius is None else PASSES):
        before, side = value, problem.boundary
        V = _lbfgs(problem, problem.retract(V), steps)
        value = problem.both(V)[0]
        if side == problem.boundary and value > before - SETTLED * problem.size(value):
            break
    return value, V, problem.boundary


def newton(problem: Problem, V: Array, tol: float) -> Array:
    """Newton's method in a trust region, each step by conjugate gradients (Steihaug 1983)."""
    value, G = problem.both(V)
    size = float(np.linalg.norm(V))
    radius = size / 8
    for _ in range(NEWTON):
        y = problem.multiplier(V, G)
        g = problem.project(V, G)
        enough = 0.1 * tol * problem.size(value) / size
        if np.linalg.norm(g) <= enough:
            break

        def product(U: Array, V: Array = V, y: Any = y) -> Array:
            return problem.project(V, problem.product(V, U) - y * problem.weigh(U))

        step, promised = _steihaug(product, g, radius, 0.3 * enough)
        moved = problem.retract(V + step)
        lower, H = problem.both(moved)
        slack = 1e-13 * problem.size(value)  # near the minimum differences of the loss are rounding
        ratio = (value - lower + slack) / (promised + slack)
        length = float(np.linalg.norm(step))
        if ratio < 0.25:
            radius = length / 4
        elif ratio > 0.75 and length > 0.99 * radius:
            radius = min(2 * radius, size)
        if ratio > 0.1:
            V, value, G = moved, lower, H
        else:
            problem.both(V)  # products with the Hessian are at the last point
        if radius < 1e-13 * size:
            break
    return V


def _steihaug(product: Callable[[Array], Array], g: Array, radius: float, enough: float = 0.0) -> tuple[Array, float]:
    """min <g, x> + <x, Hx>/2 over |x| <= radius, roughly or to a gradient of `enough`, and the decrease promised."""
    x, Hx, r = np.zeros_like(g), np.zeros_like(g), g
    p, rr = -r, float((r * r).sum())
    largest = 0.0
    goal = max(math.sqrt(rr) * min(0.1, max(1e-3, 10 * math.sqrt(rr) / max(1.0, math.sqrt(g.size)))), enough)
    for _ in range(PRODUCTS):
        Hp = product(p)
        curvature = float((p * Hp).sum())
        xx, xp, pp = float((x * x).sum()), float((x * p).sum()), float((p * p).sum())
        largest = max(largest, curvature / pp)
        if abs(curvature) <= FLAT * largest * pp and np.any(x):
            break
        t = rr / curvature if curvature > 0 else math.inf
        if curvature <= 0 or xx + 2 * t * xp + t * t * pp >= radius**2:
            t = (math.sqrt(xp**2 + pp * max(radius**2 - xx, 0.0)) - xp) / pp
            x, Hx = x + t * p, Hx + t * Hp
            break
        x, Hx, r = x + t * p, Hx + t * Hp, r + t * Hp
        new = float((r * r).sum())
        if math.sqrt(new) <= goal:
            break
        p, rr = -r + (new / rr) * p, new
    return x, -float((g * x).sum() + 0.5 * (x * Hx).sum())


def _lbfgs(problem: Problem, V: Array, steps: int) -> Array:
    shape = V.shape

    def both(v: Array) -> tuple[float, Array]:
        value, G = problem.homogeneous(v.reshape(shape))
        return value, G.ravel()

    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-15, "gtol": 1e-12, "maxcor": 20}
    found = scipy.optimize.minimize(both, V.ravel(), jac=True, method="L-BFGS-B", options=options)
    return _side(problem, problem.retract(found.x.reshape(shape)))


def _side(problem: Problem, V: Array) -> Array:
    """Inside the ball or on it: out of the ball, the sphere is held; on it, left where less norm is better."""
    if problem.radius is None:
        return V
    if problem.boundary:
        value, G = problem.both(V)
        problem.boundary = float((G * V).sum()) <= 1e-12 * abs(value)
    elif problem.trace(V) > problem.radius:
        problem.boundary = True
        return problem.retract(V)
    return V


def _start(problem: Problem, rng: np.random.Generator, k: int) -> Array:
    """Seeded columns; for dot products of the best size on their ray."""
    V = rng.standard_normal((problem.p, k))
    if problem.radius is None:
        return V
    V *= math.sqrt(problem.radius / problem.trace(V))
    sizes = np.logspace(-3, 0, 7)
    best = float(min(sizes, key=lambda t: problem.both(t * V)[0]))
    problem.boundary = best == sizes[-1]
    return best * V


def _grown(problem: Problem, V: Array, U: Array, value: float) -> Array:
    """V with descent directions as new columns, at the best of a few sizes."""
    size = float(np.linalg.norm(V)) / max(float(np.linalg.norm(U)), 1e-300)
    points = [problem.retract(np.hstack([V, t * size * U])) for t in (0.3, 0.1, 0.03, 0.01, 0.003)]
    return min(points, key=lambda W: problem.both(W)[0])


def unshifted(problem: Problem, V: Array) -> Array:
    """V of dot products without the part that adds one constant to all similarities, which no softmax sees.

    Where Za = 1 (a constant column among the features, or free rows), S - c 11' = Z (I - aa'/|a|^2) Z' at c = 1/|a|^2:
    the same loss at less norm, inside the ball.
    """
    U, s, Vt = linalg.svd(problem.lift(V))
    keep = s > KEPT * s[0]
    a = Vt[keep].T @ (U[:, keep].sum(axis=0) / s[keep])
    less = V - np.outer(V @ a, a / (a @ a))
    value = problem.both(V)[0]
    if V.shape[1] == 1 or problem.both(less)[0] > value + 0.01 * TOL * problem.size(value):
        return V
    problem.boundary = False
    return reduced(less)


def reduced(V: Array, share: float = FAINT) -> Array:
    """V turned so that its columns are orthogonal, the largest first, without those of a smaller share of norm."""
    U, s, _ = linalg.svd(V)
    keep = s > share * s[0]
    return np.asarray(U[:, keep] * s[keep])


def rank(V: Array, share: float = FAINT) -> int:
    """How many singular values of V are larger than a share of the largest."""
    return int(reduced(V, share).shape[1])
