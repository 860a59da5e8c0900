"""`optimum`: the closed form of any method on any relation, over all embeddings, linear maps or a kernel's maps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.errors import DataError
from spectral_ssl.extension import by_relation
from spectral_ssl.graph import Graph
from spectral_ssl.spectrum import Model, Spectra

if TYPE_CHECKING:
    from spectral_ssl.embedding import Optimum
    from spectral_ssl.methods.base import Method

__all__ = ["as_spectra", "check_method", "optimum"]

MODELS = ("free", "linear", "kernel")


def as_spectra(
    relation: Graph | Spectra,
    X: Any = None,
    *,
    model: Model | None = None,
    kernel: Any = None,
    ridge: float = 0.0,
) -> Spectra:
    """The shared factorisations of a graph and a model class, or those given.

    model None is "kernel" where a kernel is given, else "linear" where X is, else "free".
    """
    if isinstance(relation, Spectra):
        if X is not None or kernel is not None or ridge:
            raise DataError("the Spectra given already fix the model; leave X, kernel and ridge out, or pass the graph")
        if model is not None and model != relation.model:
            raise DataError(f"the Spectra given are of the {relation.model} model, not {model!r}; leave model out")
        return relation
    if not isinstance(relation, Graph):
        raise DataError(
            f"a relation must be a Graph, got {type(relation).__name__}; make one by ss.relations or Graph.from_pairs"
        )
    if model is None:
        model = "kernel" if kernel is not None else "free" if X is None else "linear"
    if model not in MODELS:
        raise DataError(f"model={model!r} is not known; choose one of {', '.join(MODELS)}")
    if model == "free" and (X is not None or kernel is not None):
        raise DataError("the free model is over all embeddings: leave X and kernel out")
    if model == "linear" and kernel is not None:
        raise DataError("a kernel belongs to model='kernel'")
    if model != "free" and X is None:
        raise DataError(f"the {model} model maps data: pass X=")
    if model == "kernel" and kernel is None:
        kernel = "exact"
    return Spectra(relation, X=X, kernel=kernel, ridge=ridge)


def check_method(method: Any) -> None:
    """Raise DataError unless `method` is a method with its hyper-parameters, such as VICReg()."""
    if isinstance(method, type) or not (hasattr(method, "pencil") and hasattr(method, "loss_terms")):
        came = f"the class {method.__name__}" if isinstance(method, type) else repr(method)
        raise DataError(f"a method is an object such as ss.VICReg() or ss.BarlowTwins(), got {came}")


def optimum(
    method: Method,
    graph: Graph | Spectra,
    n_components: int,
    *,
    X: Any = None,
    model: Model | None = None,
    kernel: Any = None,
    ridge: float = 0.0,
) -> Optimum:
    """The attainable minimum of a method's loss, without training.

    free: over all Z (N, K). linear: with X (N, D), over Z = XW, W (D, K); X is used as given, and centred only where
    the loss centres. kernel: over Z = Phi(X) W, Phi the features of a kernel.

    method: a method of `spectral_ssl.methods`. graph: the relation, or `Spectra` to share factorisations between calls.
    n_components: K, at most N - 1 (free), D (linear) or the kernel's features; columns past the rank are zero, with a
    warning. model: None is "kernel" where a kernel is given, else "linear" where X is, else "free". kernel: "exact"
    (default of the kernel model), "nystroem(n_landmarks=300)", "random_features(n_features=500)", each with its options
    (`spectral_ssl.kernels`), or a function k(X, Y). ridge: r >= 0, adds r |W|_F^2 to the energy tr(Z'LZ) of every loss
    (see `Spectra`).

    InfoNCE over all embeddings, or of dot products over maps, is found by a search that ends at a proof
    (`Optimum.kind` "certified": `lower_bound` and `note` say how far it can be from the minimum).

    Raises DataError for K out of range, NotClosedForm where theory gives no closed form, NumericalError where an
    eigensolver's residual stays too large, ResourceError where a dense certificate would not fit.
    """
    check_method(method)
    spectra = as_spectra(graph, X, model=model, kernel=kernel, ridge=ridge)
    K = int(n_components) if isinstance(n_components, np.integer) else n_components
    if isinstance(K, bool) or not isinstance(K, int) or K < 1:
        raise DataError(f"n_components must be a positive integer, got {n_components!r}")
    direct = method.direct_optimum(spectra, K)
    if direct is not None:
        return direct
    spectrum = spectra.of(method.pencil, min(K, spectra.n_samples))
    best = method.optimum(spectrum, K)
    if spectra.model == "free" and spectra.graph is not None:
        best = replace(best, embedding=by_relation(best.embedding, spectrum, spectra.graph))
    return best
