"""The certified optimum of InfoNCE: what `_infonce_solver` finds, with the best bound that proves it.

Over all dimensions the problem is convex and the certificate tight (C8, C9). In fewer dimensions than that optimum
uses the search has no such proof, and of cosine InfoNCE the largest of three bounds is reported, by name:

* the minimum over all dimensions;
* C11, the design bound of `_infonce_bounds`;
* C12, their mixture: with P the positive part of f and U the negative, f = [(1 - theta) U + P] + theta U. The first is
  InfoNCE with positives weighted by 1/(1 - theta), convex again and certified over all dimensions; the second C11
  without partners. Every theta in [0, 1] gives a bound, concave in theta; a few are tried.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.embedding import Array, Embedding, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError, ResourceError
from spectral_ssl.graph import Graph
from spectral_ssl.methods import _certificates, _infonce_bounds
from spectral_ssl.methods._infonce_signs import best_signs
from spectral_ssl.methods._infonce_solver import TOL, Problem, descend, rank, reduced, solve, unshifted
from spectral_ssl.spectrum import Spectra

if TYPE_CHECKING:
    from spectral_ssl.methods.infonce import InfoNCE

__all__ = ["direct_optimum", "mixture_bound"]

THETAS = (0.3, 0.6, 0.8, 0.9)
COARSE = 1e-5  # relative gap of the solutions behind the mixture: their own share of it is what is lost
CLOSED = 1e-6  # relative gap from which on no better bound is looked for
SOURCE = "Balestriero & LeCun 2022, section 2 (loss); convex in the similarities, Burer & Monteiro 2003, Boumal 2015"

_solved: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = (
    weakref.WeakKeyDictionary()
)  # the wide optima, serving every K


def direct_optimum(method: InfoNCE, spectra: Spectra, n_components: int) -> Optimum | None:
    """The optimum at K = n_components, exact (C1b, C3) or certified; None where only moments are held.

    Raises NotClosedForm for the cosine of linear maps and for a relation without pairs, ResourceError for more samples
    than the dense certificate takes.
    """
    graph, K = spectra.graph, n_components
    if graph is None or (spectra.model != "free" and spectra.X is None):
        return None
    if spectra.model == "free":
        try:
            return _certificates.exact_optimum(method, graph, K)
        except NotClosedForm:
            if graph.n_pairs == 0:
                raise
    elif method.similarity == "cosine":
        raise NotClosedForm(
            "cosine InfoNCE is not convex in the weights of a linear map: nothing certifies a minimum there; train it, "
            "or take similarity='dot' (over all embeddings the cosine is certified)"
        )
    elif spectra.ridge:
        raise DataError(
            "InfoNCE bounds the weights by radius=, its loss has no energy for a ridge to join; leave it out"
        )
    elif spectra.X.shape[1] < K:  # type: ignore[union-attr]
        raise DataError(f"n_components={K} exceeds the {spectra.X.shape[1]} features; choose fewer")  # type: ignore[union-attr]
    if graph.n_samples > _certificates.MAX_DENSE:
        raise ResourceError(
            f"the certified optimum of InfoNCE solves a dense eigenproblem of order N = {graph.n_samples:,} (limit "
            f"{_certificates.MAX_DENSE:,}); take fewer samples, Graph.subgraph, or train it and compare with "
            "lower_bound(graph, n_components)"
        )
    return _free_cosine(method, graph, K) if method.similarity == "cosine" else _dot(method, spectra, graph, K)


def mixture_bound(graph: Graph, temperature: float, n_components: int) -> tuple[float, float]:
    """C12 at the best of a few theta, and that theta."""
    rows = _infonce_bounds.rows_of(graph)
    alone = _infonce_bounds.Rows(rows.degree, np.zeros_like(rows.degree), np.zeros_like(rows.degree))
    spread = float(rows.degree.sum()) / temperature + _infonce_bounds.design_bound(alone, temperature, n_components)
    best, at = -np.inf, 0.0
    for theta in THETAS:
        bound = _attracted(graph, temperature, theta) + theta * spread
        if bound > best:
            best, at = bound, theta
    return best, at


def _free_cosine(method: InfoNCE, graph: Graph, K: int) -> Optimum:
    tau = method.temperature
    V, proof = _wide(graph, tau)
    bounds = {"the minimum over all dimensions": proof.lower_bound}
    r = V.shape[1]
    Z = V
    if r > K:
        Z = best_signs(graph, tau, V) if K == 1 else descend(Problem(graph, tau), K, V).V
    terms = _terms(method, graph, Z)
    loss = sum(terms.values())
    if r > K:
        bounds["the design bound (C11)"] = _infonce_bounds.design_bound(_infonce_bounds.rows_of(graph), tau, K)
        bounds["the rows apart"] = method.lower_bound(graph)
        if loss - max(bounds.values()) > CLOSED * abs(loss):
            bound, theta = mixture_bound(graph, tau, K)
            bounds[f"the mixture (C12) at theta = {theta:g}"] = bound
    name = max(bounds, key=lambda key: bounds[key])
    over = "reached" if r <= K else f"this one is {loss - proof.value:.6g} above it, the price of {K} dimensions"
    note = (
        f"at most {max(loss - bounds[name], 0.0):.3g} above the least, by {name}; over all dimensions the optimum has "
        f"rank {r} and loss {proof.value:.8g}, {over}"
    )
    return _assembled(method, Z, K, terms, bounds[name], note, r > K)


def _dot(method: InfoNCE, spectra: Spectra, graph: Graph, K: int) -> Optimum:
    X, tau, radius = spectra.X, method.temperature, method.radius
    T = None
    if X is None:
        problem = Problem(graph, tau, radius=radius)
    else:
        basis = linalg.orthonormal_basis(X.T)  # weights outside the row space only take norm
        if basis.shape[1] == 0:
            raise DataError("every entry of X is zero: all linear maps give Z = 0; give features that vary")
        second = (X @ basis).T @ (X @ basis) / len(X)
        # a share of the mean variance, or weak directions, which the radius bounds, would be taken for strong ones
        T = basis @ linalg.whitening(second + 1e-2 * np.trace(second) / len(second) * np.eye(len(second)))[0]
        problem = Problem(graph, tau, X @ T, T.T @ T, radius)
    held = _solved.setdefault(graph if X is None else spectra, {})
    key = ("dot", tau, radius)
    if key not in held:
        V = unshifted(problem, reduced(solve(problem).V))
        held[key] = (V, problem.boundary)
    V, problem.boundary = held[key]
    r = V.shape[1]
    wide = _inside(V if T is None else T @ V, radius)
    proof = _certificates.dot_certificate(wide, X, graph, tau, radius)
    W = wide
    if r > K:
        narrow = descend(problem, K, V).V
        W = _inside(narrow if T is None else T @ narrow, radius)
    Z = W if X is None else X @ W
    terms = _terms(method, graph, Z)
    loss = sum(terms.values())
    bounds = {"the minimum over all dimensions": proof.lower_bound, "the rows apart": method.lower_bound(graph, K)}
    name = max(bounds, key=lambda key: bounds[key])
    slack, most = TOL * problem.size(loss), method.collapse_loss(graph, K)
    if not bounds[name] - slack <= loss <= most + slack:
        raise NumericalError(
            f"similarities up to {float((Z**2).sum(axis=1).max()) / tau:.3g} leave rounding, {loss:.6g}, of a loss "
            f"from {bounds[name]:.6g} to {most:.6g}; choose a smaller radius or a higher temperature"
        )
    trace = float((wide**2).sum())
    over = "reached" if r <= K else f"this one is {loss - proof.value:.6g} above it, the price of {K} dimensions"
    note = (
        f"at most {max(loss - bounds[name], 0.0):.3g} above the least, by {name}; over all dimensions the optimum has "
        f"rank {r}, norm^2 {trace:.4g} of {radius:g} allowed and loss {proof.value:.8g}, {over}"
    )
    return _assembled(method, Z, K, terms, bounds[name], note, r > K, spectra, W)


def _wide(graph: Graph, tau: float) -> tuple[Array, Any]:
    """The optimum over all dimensions with its certificate, solved once for a relation and temperature."""
    held = _solved.setdefault(graph, {})
    if ("cosine", tau) not in held:
        V = solve(Problem(graph, tau)).V
        V = reduced(V)
        V /= np.linalg.norm(V, axis=1, keepdims=True)
        held["cosine", tau] = (V, _certificates.cosine_certificate(V, graph, tau))
    found: tuple[Array, Any] = held["cosine", tau]
    return found


def _attracted(graph: Graph, tau: float, theta: float) -> float:
    """A lower bound on (1 - theta) U + P over all dimensions."""
    held = _solved.setdefault(graph, {})
    if ("attracted", tau, theta) not in held:
        problem = Problem(graph, tau)
        problem.attraction = 1 / (1 - theta)
        found = solve(problem, start=_wide(graph, tau)[0], tol=COARSE)
        # of the same size as the certificate's rounding, N times a sum of terms
        scale = float(problem.degree.sum()) * (np.log(problem.N) + 2 * problem.attraction / tau)
        held["attracted", tau, theta] = (1 - theta) * (found.value - found.gap - 1e-9 * scale)
    return float(held["attracted", tau, theta])


def _inside(W: Array, radius: float) -> Array:
    """W, or where rounding has left it outside the ball, the nearest inside."""
    size = float((W**2).sum())
    return W * np.sqrt(radius / size) * (1 - linalg.EPS) if size > radius else W


def _terms(method: InfoNCE, graph: Graph, Z: Array) -> dict[str, float]:
    return {name: float(value) for name, value in method.loss_terms(Z, graph).items()}


def _assembled(
    method: InfoNCE,
    Z: Array,
    K: int,
    terms: dict[str, float],
    lower: float,
    note: str,
    narrow: bool,
    spectra: Spectra | None = None,
    W: Array | None = None,
) -> Optimum:
    loss, used = sum(terms.values()), rank(Z)
    values = np.zeros(len(Z))
    s2 = linalg.svd(Z)[1] ** 2
    values[: s2.size] = s2

    def padded(M: Array) -> Array:
        return np.hstack([M, np.zeros((len(M), K - M.shape[1]))])

    linear = spectra is not None and spectra.X is not None
    embedding = Embedding(
        Z=padded(Z),
        spectrum=values,
        W=padded(W) if linear and W is not None else None,
        rank=used,
        features=None if spectra is None else spectra.features,
    )
    return Optimum(
        embedding=embedding,
        loss=loss,
        loss_terms=terms,
        lower_bound=min(lower, loss),
        rank=used,
        kind="certified",
        unique_up_to="none" if narrow else "rotation",
        note=note,
        source=SOURCE,
        method=method,
        solver="factors of low rank: L-BFGS, Newton's method, staircase to the dual certificate"
        + ("; best of seeded starts" if narrow else ""),
        residual=max(0.0, loss - lower) / max(abs(loss), 1e-300) if not narrow else 0.0,
    )
