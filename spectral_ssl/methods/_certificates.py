"""What convexity proves about InfoNCE: exact optima where symmetry or positivity gives them, certificates elsewhere.

As a function of the similarities S the loss is convex, each row a log-sum-exp minus a linear term:

    f(S) = -sum_{i != j} A_ij log softmax_{j != i}(S_ij / tau),
    grad f(S) = (B + B') / 2,   B_ij = (d_i p_ij - A_ij) / tau,   p_i = softmax of row i,   d_i = sum_{j != i} A_ij

so that f(S') >= f(S) + <grad f(S), S' - S> for every S': a linear function whose minimum over all admissible S' is one
eigenvalue away. Nothing here depends on how Z was found.

Exact optima (free model). `scale` is the mean of diag S: 1 for the cosine, radius / N for dot products.

* Balanced cliques, n groups of V samples, K >= n - 1: averaging S over the symmetries of the relation raises no loss,
  and leaves three numbers (diagonal, inside, between), of which inside minus between is best at the regular simplex:
      min = s log[(V - 1) + (N - V) exp(-(n / (n - 1)) scale / tau)],   s = sum_{i != j} A_ij
* A_ij > 0 for all i != j: softmax rows equal to P = A / d, the entropy bound sum_i d_i H(P_i), where and only where
      S(c) = scale I + tau (Lambda + c (11' - I)),   Lambda_ij = log A_ij off the diagonal
  is psd (equal rows of the softmax leave S one constant c; diagonals that are not constant, possible for dot products,
  are not searched). On 1 and its complement (basis Q, e = 1 / sqrt N), with
  u = scale / tau - c, m = e'Lambda e, mu_k the eigenvalues of Q'Lambda Q and b_k the entries of Q'Lambda e along them,
      S(c) psd  <=>  phi(u) = (N - 1) u + sum_k b_k^2 / (u + mu_k) - m <= N scale / tau,   u >= -mu_1
  phi is convex: the feasible c form an interval, empty above the temperature N scale / min phi. Inside the interval S
  has rank N, at its ends less; so the bound is reached in K dimensions if and only if an end has rank at most K.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.embedding import Array, Embedding, Optimum, UniqueUpTo
from spectral_ssl.errors import DataError, NotClosedForm, ResourceError
from spectral_ssl.graph import Graph

if TYPE_CHECKING:
    from spectral_ssl.methods.infonce import InfoNCE

__all__ = ["Certificate", "balanced_cliques", "cosine_certificate", "dot_certificate", "exact_optimum"]

MAX_DENSE = 5_000  # samples up to which the N x N eigenproblem is solved: 200 MB a copy, about half a minute
EQUAL_TOL = 1e-12  # relative spread of weights that counts as equal: thousands of roundings, as for Graph.regular
RANK_TOL = 1e-12  # an eigenvalue of S below this share of the largest is zero: the ends c are solved to rounding
BALL_TOL = 1e-9  # relative excess of |W|^2 over its radius that counts as rounding of the caller
ROUNDING = 4  # roundings counted for every one that a step makes at worst


# --- exact optima -----------------------------------------------------------------------------------------------------


def exact_optimum(method: InfoNCE, graph: Graph, n_components: int) -> Optimum:
    """The minimum of InfoNCE over all Z (N, K) where the module docstring has it, K = `n_components` up to N.

    Raises DataError for K out of range, NotClosedForm with the reason elsewhere, ResourceError for an all-positive
    relation of more than `MAX_DENSE` samples.
    """
    N, K = graph.n_samples, n_components
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or not 1 <= K <= N:
        raise DataError(f"n_components must be a whole number from 1 to N = {N}, got {K!r}")
    if graph.n_pairs == 0:
        raise NotClosedForm(
            "InfoNCE leaves self-pairs out, and the relation has no other pair: the loss of every embedding is 0, and "
            "none is optimal before others; add pairs of different samples"
        )
    scale = 1.0 if method.similarity == "cosine" else method.radius / N
    codes = balanced_cliques(graph)
    if codes is not None:
        return _simplex(method, graph, int(K), scale, codes)
    zeros = N * (N - 1) // 2 - graph.n_pairs  # at least: storages that overlap count pairs twice
    if zeros <= 0:
        A = _off_diagonal(graph)
        zeros = (N * (N - 1) - int(np.count_nonzero(A))) // 2
    if zeros > 0:
        raise NotClosedForm(
            f"InfoNCE applies a logarithm entry by entry, and {zeros:,} of the {N * (N - 1) // 2:,} pairs have weight "
            "zero, whose similarity it would send to minus infinity; closed forms are known for balanced cliques and "
            "for relations positive on every pair. Train it: its certificate then proves how far from optimal it is"
        )
    return _log_similarities(method, A, int(K), scale)


def balanced_cliques(graph: Graph) -> Any:
    """The clique (N,) of each sample where the relation is n >= 2 cliques of V >= 2 samples and one weight, or None."""
    N = graph.n_samples
    if graph.is_partition:
        g = graph.groups[0]
        live = g.sizes > 0
        sizes, weights, codes = g.sizes[live], g.weight[live], np.cumsum(live)[g.codes] - 1
    else:
        n, codes = graph.components
        sizes, d = np.bincount(codes), graph.degree - graph.diagonal
        if sizes[0] < 2:  # a sample without a pair, and so no weight to compare
            return None
        if np.ptp(sizes) > 0 or np.ptp(d) > EQUAL_TOL * d.max():
            return None
        C = graph.to_csr().tocoo()
        weights = C.data[C.coords[0] != C.coords[1]]
        if weights.size < N * (sizes[0] - 1):
            return None
    V, n = int(sizes[0]), sizes.size
    equal = np.ptp(sizes) == 0 and V * n == N and np.ptp(weights) <= EQUAL_TOL * weights.max(initial=0.0)
    return codes if equal and V > 1 and n > 1 else None


def simplex_loss(graph: Graph, n: int, scaled: float) -> float:
    """s log[(V - 1) + (N - V) exp(-(n / (n - 1)) scale / tau)], scaled = scale / tau, n cliques of V = N / n."""
    N = graph.n_samples
    V = N // n
    s = float((graph.degree - graph.diagonal).sum())
    return s * (math.log(V - 1) + math.log1p((N - V) / (V - 1) * math.exp(-n / (n - 1) * scaled)))


def _simplex(method: InfoNCE, graph: Graph, K: int, scale: float, codes: Any) -> Optimum:
    N, n = graph.n_samples, int(codes.max()) + 1
    if n - 1 > K:
        raise NotClosedForm(
            f"{n} balanced groups are best at the corners of a regular simplex, which needs {n - 1} dimensions, and "
            f"K = {K}; choose K >= {n - 1}, or train it: the simplex stays a lower bound"
        )
    corners = math.sqrt(scale * n / (n - 1)) * _contrasts(n)
    Z = np.zeros((N, K))
    Z[:, : n - 1] = corners[codes]
    loss = simplex_loss(graph, n, scale / method.temperature)
    alignment = -float((graph.degree - graph.diagonal).sum()) * scale / method.temperature
    spectrum = np.zeros(N)
    spectrum[: n - 1] = N * scale / (n - 1)
    return _optimum(
        method,
        Embedding(Z=Z, spectrum=spectrum, rank=n - 1),
        {"alignment": alignment, "uniformity": loss - alignment},
        loss,
        note=f"the {N // n} samples of a group coincide, the {n} groups are the corners of a regular simplex",
        source="simplex of balanced groups; for class labels compare Graf et al. 2021",
        solver=f"closed form of {n} balanced cliques",
    )


def _contrasts(n: int) -> Array:
    """Orthonormal basis (n, n - 1) of the complement of 1 (Helmert): every row has norm^2 (n - 1) / n."""
    k = np.arange(1, n)
    root = np.sqrt(k * (k + 1.0))
    H = np.triu(np.broadcast_to(1 / root, (n, n - 1)))
    H[k, k - 1] = -k / root
    return H


def _log_similarities(method: InfoNCE, A: Array, K: int, scale: float) -> Optimum:
    N, tau = A.shape[0], method.temperature
    off = ~np.eye(N, dtype=bool)
    log_A = np.log(A, out=np.zeros_like(A), where=off)
    log_A[off] -= log_A[off].mean()  # a factor of the relation moves only c; so m = 0
    interval, limit = _feasible(log_A, tau, scale)
    if interval is None:
        words = "temperature" if method.similarity == "cosine" else "temperature * N / radius"
        raise NotClosedForm(
            f"the similarities tau log A + c that would reach the entropy bound are no inner products of samples of "
            f"equal size: that needs {words} <= {limit:.6g}, and it is {tau / scale:.6g}; lower it, or train it: its "
            "certificate then proves how far from optimal it is"
        )
    ends = [_gram_factor(scale * np.eye(N) + tau * (log_A + c * off)) for c in interval]
    fitting = [end for end in ends if end[1].size <= K]
    if not fitting:
        raise NotClosedForm(
            f"samples of equal size reach the entropy bound in {min(r.size for _, r in ends)} dimensions or more, and "
            f"K = {K}; raise K, or train it: the entropy bound stays a lower bound"
        )
    V, values = fitting[0]
    Z = np.zeros((N, K))
    Z[:, : values.size] = V * np.sqrt(values)
    d = A.sum(axis=1, keepdims=True)
    entropy = -float((A * np.log(A / d, out=np.zeros_like(A), where=off)).sum())
    alignment = -float((A * (Z @ Z.T)).sum()) / tau
    unique: UniqueUpTo = "rotation" if len(fitting) == 1 and N > K else "none"
    low, high = (f"{c:.6g}" for c in interval)
    return _optimum(
        method,
        Embedding(Z=Z, spectrum=np.append(values, np.zeros(N - values.size)), rank=values.size),
        {"alignment": alignment, "uniformity": entropy - alignment},
        entropy,
        note="softmax rows equal the rows of the relation; similarities are tau (log A - mean log A + c), c from "
        f"{low} (most spread, taken where K allows) to {high}; so up to temperature {limit * scale:.6g}",
        source="entropy bound, reached by the logarithm of a positive relation",
        solver=f"dense eigh, {N} x {N}",
        unique_up_to=unique,
    )


def _feasible(log_A: Array, tau: float, scale: float) -> tuple[tuple[float, float] | None, float]:
    """The interval of c for which S(c) is psd, None if empty, and the largest tau / scale for which it is not.

    log_A (N, N): zero diagonal, entries of mean zero.
    """
    N = len(log_A)
    Q = _contrasts(N)
    mu, U = linalg.eigh(Q.T @ log_A @ Q)
    b2 = (U.T @ (Q.T @ log_A.sum(axis=1)) / math.sqrt(N)) ** 2
    gap = mu - mu[0]

    def poles(x: float, power: int) -> float:  # at x = u + mu_1 >= 0
        return float(np.divide(b2, (x + gap) ** power, out=np.zeros_like(b2), where=b2 > 0).sum())

    def phi(x: float) -> float:
        return (N - 1) * (x - float(mu[0])) + poles(x, 1)

    # phi' changes sign where N - 1 = sum b^2 / (x + gap)^2, between these two
    low, high = math.sqrt(b2[0] / (N - 1)), math.sqrt(b2.sum() / (N - 1))
    best = _bisect(lambda x: N - 1 - poles(x, 2), low, high)
    least, level = phi(best), N * scale / tau
    limit = N / least if least > N * linalg.EPS * np.abs(mu).max() else math.inf
    if least > level:
        return None, limit
    right = _bisect(lambda x: phi(x) - level, best, max(best, level / (N - 1) + float(mu[0])))
    left = _bisect(lambda x: level - phi(x), 0.0, best)
    c = [scale / tau + float(mu[0]) - x for x in (right, left)]
    return (c[0], c[1]), limit


def _bisect(f: Callable[[float], float], low: float, high: float) -> float:
    """A zero of an increasing f between low and high, or the end nearest to it."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    return high


def _gram_factor(S: Array) -> tuple[Array, Array]:
    """Eigenvectors and eigenvalues of a psd S, the largest first, those at rounding left out."""
    values, V = linalg.eigh(S)
    keep = values > RANK_TOL * S.shape[0] * values[-1]
    return linalg.fix_signs(V[:, keep][:, ::-1]), values[keep][::-1]


def _optimum(
    method: InfoNCE,
    embedding: Embedding,
    loss_terms: dict[str, float],
    loss: float,
    *,
    note: str,
    source: str,
    solver: str,
    unique_up_to: UniqueUpTo = "rotation",
) -> Optimum:
    assert embedding.rank is not None
    return Optimum(
        embedding=embedding,
        loss=loss,
        loss_terms=loss_terms,
        lower_bound=loss,
        rank=embedding.rank,
        kind="exact",
        unique_up_to=unique_up_to,
        note=note,
        source=f"Balestriero & LeCun 2022, section 2 (loss); {source}",
        method=method,
        solver=solver,
        residual=0.0,
    )


# --- certificates -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificate:
    """A proof that a loss is near its minimum: lower_bound <= f* <= value, gap = value - lower_bound.

    value: the loss of the embedding certified. lambda_min: the least eigenvalue of M (cosine: 0 at an optimum) or of G
    (dot products: 0 at an optimum inside the ball), see the functions. trace: of every admissible S (cosine: N), or the
    most it may have (dot products: radius). rounding: the part of the gap that stands for float64, so that the bound
    holds for the computed numbers. statement: what is proven, in words.

    f* is the minimum over all dimensions. The bound is of the relation and not of Z: the one from a wide embedding
    holds for narrow ones of the same relation, and is the tighter the better the embedding it comes from.
    """

    value: float
    lower_bound: float
    gap: float
    lambda_min: float
    trace: float
    rounding: float
    statement: str


def cosine_certificate(Z: Any, graph: Graph, temperature: float) -> Certificate:
    """A lower bound on cosine InfoNCE over all embeddings, from any Z (N, K) without zero rows.

    With unit rows, S = ZZ' and M = grad f(S) - Diag(diag(grad f(S) S)): <M, S> = 0, and for every other S' of unit
    diagonal f(S') - f(S) >= <grad f(S), S' - S> = <M, S'> >= N min(0, lambda_min(M)), since tr S' = N. So

        f(S) - f* <= -N min(0, lambda_min(M))

    Raises DataError for a Z that does not fit, ResourceError past `MAX_DENSE` samples.
    """
    Z = _matrix(Z, "Z", graph.n_samples)
    size = np.abs(Z).max(axis=1, keepdims=True)
    if not np.all(size > 0):
        raise DataError(f"{np.count_nonzero(size == 0)} rows of Z are zero and have no cosine; give them a direction")
    Z = Z / size  # first, so that no square under- or overflows
    Z = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    N = graph.n_samples
    f = _LossOfSimilarities(graph, Z @ Z.T, temperature, (Z.shape[1] + 8) * linalg.EPS)
    y = (f.gradient * f.S).sum(axis=1)
    lambda_min = _least(f.gradient - np.diag(y))
    return _certificate(f, lambda_min, float(y.sum()), float(N), N * f.row, "unit rows, any dimension")


def dot_certificate(W: Any, X: Any, graph: Graph, temperature: float, radius: float) -> Certificate:
    """A lower bound on dot-product InfoNCE over Z = XW, tr(WW') <= radius, from any such W (D, K).

    f is convex in M = WW', with gradient G = X'grad f(S) X at S = XMX', and <G, M'> >= radius min(0, lambda_min(G))
    for every psd M' of trace at most radius (the Frank-Wolfe gap):

        f(M) - f* <= <G, M> - radius min(0, lambda_min(G))

    X (N, D), None for the free model, where W is Z and D is N. Raises DataError where arrays do not fit or W lies
    outside the ball, ResourceError past `MAX_DENSE` samples.
    """
    N = graph.n_samples
    X = None if X is None else _matrix(X, "X", N)
    W = _matrix(W, "Z" if X is None else "W", N if X is None else X.shape[1])
    inside = float((W**2).sum())
    if inside > radius * (1 + BALL_TOL):
        raise DataError(f"|W|^2 = {inside:.10g} lies outside the ball of radius {radius:.10g}; scale W into it")
    # X = I in the free model: its largest row and its sum of squares only measure rounding, lift |grad f| bounding |G|
    Z, reach, lift, over = W, 1.0, 1.0, f"tr(ZZ') <= {radius:g}"
    if X is not None:
        rows = (X**2).sum(axis=1)
        Z, reach, lift, over = X @ W, float(rows.max()), float(rows.sum()), f"linear maps, tr(WW') <= {radius:g}"
    terms = W.shape[1] + (0 if X is None else X.shape[1])
    f = _LossOfSimilarities(graph, Z @ Z.T, temperature, (terms + 8) * linalg.EPS * reach * inside)
    lambda_min = _least(f.gradient if X is None else X.T @ f.gradient @ X)
    return _certificate(f, lambda_min, 0.0, radius, radius * lift * f.row, over)


class _LossOfSimilarities:
    """f and its gradient at S, with what float64 makes of them.

    The bound needs neither to be exact. For any rows q of probabilities, log sum_j e^x_j >= q'x + H(q), so that for
    every S'   f(S') >= <G, S'> + sum_i d_i H(q_i),   G = sym(d_i q_ij - A_ij) / tau:   a proof for the q that came out
    of the softmax in float64, however inexact S was. Its own rounding is that of sums: `unit`, relative to their terms.
    """

    def __init__(self, graph: Graph, S: Array, tau: float, error: float) -> None:
        """error: of the entries of S, of which the value is computed."""
        A = _off_diagonal(graph)
        d = A.sum(axis=1, keepdims=True)
        T = S / tau
        np.fill_diagonal(T, -np.inf)
        top = T.max(axis=1, keepdims=True)
        lse = top + np.log(np.exp(T - top).sum(axis=1, keepdims=True))
        np.fill_diagonal(T, 0.0)
        log_q = T - lse
        P = np.exp(log_q)
        np.fill_diagonal(P, 0.0)
        P *= d / P.sum(axis=1, keepdims=True)  # d_i q_ij
        self.S = S
        self.value = float((A * (lse - T)).sum())
        self.entropy = -float((P * log_q).sum())
        self.gradient = (P + P.T) / 2 / tau - A / tau
        # norm of |B| symmetrised, which bounds the gradient and, times `unit`, its error
        self.row = float(((P.sum(axis=1) + P.sum(axis=0)) / 2 + A.sum(axis=1)).max()) / tau
        size = float((d * np.abs(lse)).sum()) + float((A * np.abs(T)).sum())
        self.unit = ROUNDING * linalg.EPS * (len(S) + 16)
        exponents = ROUNDING * linalg.EPS * (2 + float(np.abs(T).max()))  # e^x of a rounded x, and log q read from it
        self.entropy_error = self.unit * float(np.abs(P * log_q).sum()) + (self.unit + exponents) * float(d.sum())
        # similarities themselves, and sums of N terms
        self.loss_error = (self.unit + exponents) * (size + float(d.sum())) + ROUNDING * len(S) * self.row * error


def _certificate(
    f: _LossOfSimilarities, lambda_min: float, diagonal: float, trace: float, weight: float, over: str
) -> Certificate:
    """f* >= sum_i d_i H(q_i) + diagonal + trace min(0, lambda_min); weight: of the gradient's relative error in it."""
    lower = f.entropy + diagonal + trace * min(0.0, lambda_min)
    rounding = f.loss_error + f.entropy_error + 4 * f.unit * weight  # gradient, diagonal, and eigenvalue
    gap = max(0.0, f.value - lower) + rounding
    return Certificate(
        value=f.value,
        lower_bound=f.value - gap,
        gap=gap,
        lambda_min=lambda_min,
        trace=trace,
        rounding=rounding,
        statement=f"over {over}: no loss is below {f.value - gap:.10g}, this one at most {gap:.3g} above the least",
    )


def _least(M: Array) -> float:
    return float(linalg.eigh(M)[0][0])


def _off_diagonal(graph: Graph) -> Array:
    """A without self-pairs, dense (N, N)."""
    if graph.n_samples > MAX_DENSE:
        raise ResourceError(
            f"optima and certificates of InfoNCE solve a dense eigenproblem of order N = {graph.n_samples:,} (limit "
            f"{MAX_DENSE:,}); take fewer samples, Graph.subgraph"
        )
    A = np.asarray(graph.to_csr().toarray(), dtype=np.float64)
    np.fill_diagonal(A, 0.0)
    return A


def _matrix(given: Any, name: str, rows: int) -> Array:
    M: Array = np.asarray(given, dtype=np.float64)
    if M.ndim != 2 or M.shape[0] != rows or M.shape[1] < 1:
        raise DataError(f"{name} has shape {M.shape}, expected ({rows}, K)")
    if not np.all(np.isfinite(M)):
        raise DataError(f"{name} holds {np.count_nonzero(~np.isfinite(M))} NaN or infinite values")
    return M
