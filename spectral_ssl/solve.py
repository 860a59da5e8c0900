"""`optimum`: the closed form of any method on any relation, over all embeddings or over linear maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.spectrum import Spectra

if TYPE_CHECKING:
    from spectral_ssl.embedding import Optimum
    from spectral_ssl.methods.base import Method

__all__ = ["as_spectra", "check_method", "optimum"]


def as_spectra(relation: Graph | Spectra, X: Any = None) -> Spectra:
    """The shared factorisations of a graph (and X), or those given."""
    if isinstance(relation, Spectra):
        if X is not None:
            raise DataError("the Spectra given already fix the model; leave X out, or pass the graph")
        return relation
    if not isinstance(relation, Graph):
        raise DataError(
            f"a relation must be a Graph, got {type(relation).__name__}; make one by ss.relations or Graph.from_pairs"
        )
    return Spectra(relation, X=X)


def check_method(method: Any) -> None:
    """Raise DataError unless `method` is a method with its hyper-parameters, such as VICReg()."""
    if isinstance(method, type) or not (hasattr(method, "pencil") and hasattr(method, "loss_terms")):
        came = f"the class {method.__name__}" if isinstance(method, type) else repr(method)
        raise DataError(f"a method is an object such as ss.VICReg() or ss.BarlowTwins(), got {came}")


def optimum(method: Method, graph: Graph | Spectra, n_components: int, *, X: Any = None) -> Optimum:
    """The attainable minimum of a method's loss, exactly and without training.

    Over all Z (N, K), or with X (N, D) over linear maps Z = XW (W (D, K); X is used as given, and centred only where
    the loss centres).

    method: a method of `spectral_ssl.methods`. graph: the relation, or `Spectra` to share factorisations between calls.
    n_components: K, at most N - 1 (free) or D (linear); columns past the rank are zero, with a warning.

    Raises DataError for K out of range, NotClosedForm where theory gives no closed form, NumericalError where an
    eigensolver's residual stays too large.
    """
    check_method(method)
    spectra = as_spectra(graph, X)
    K = int(n_components) if isinstance(n_components, np.integer) else n_components
    if isinstance(K, bool) or not isinstance(K, int) or K < 1:
        raise DataError(f"n_components must be a positive integer, got {n_components!r}")
    return method.optimum(spectra.of(method.pencil, min(K, spectra.n_samples)), K)
