"""How low a loss without a closed form can be, by the best proof at hand, and whose proof it is.

Every candidate is a theorem about the relation, so the largest is one too. A proof that needs more memory than there
is, or does not apply to an embedding, is no reason to lose a row: it is left out.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError, ResourceError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.methods import InfoNCE, Method
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Spectra

__all__ = ["SOLVE_MAX", "Proof", "best_bound", "certificate_of", "free_optimum", "solve_free"]

SOLVE_MAX = 500  # samples up to which InfoNCE over all embeddings is solved for a bound alone: some 15 s on one core
WARM = 0.5  # temperature below which the search takes longer, in inverse proportion, and fewer samples must do


@dataclass(frozen=True)
class Proof:
    """value: no embedding of K dimensions has a lower loss; -inf where nothing is proven. words: what proves it."""

    value: float
    words: str

    @property
    def known(self) -> bool:
        return math.isfinite(self.value)


@contextlib.contextmanager
def no_reason_to_stop() -> Iterator[None]:
    """A proof that cannot be had is left out, and what it would warn of with it."""
    with (
        warnings.catch_warnings(),
        contextlib.suppress(NotClosedForm, NumericalError, ResourceError, DataError, MemoryError),
    ):
        warnings.simplefilter("ignore", SpectralWarning)
        yield


def certificate_of(method: Method, Z: Any, graph: Graph) -> Any:
    """What convexity proves from Z about an InfoNCE loss (`InfoNCE.certificate`); None for other methods, or none."""
    found = None
    if isinstance(method, InfoNCE):
        with no_reason_to_stop():
            found = method.certificate(Z, graph)
    return found


def free_optimum(method: Method, graph: Graph, K: int) -> Optimum | None:
    """The optimum of InfoNCE over all Z (N, K), where that takes seconds; None elsewhere and for other methods."""
    found = None
    if isinstance(method, InfoNCE):
        with no_reason_to_stop():
            found = solve_free(method, Spectra(graph), K)
    return found


def solve_free(method: Method, free: Spectra, K: int) -> Optimum:
    """`optimum` over all embeddings; InfoNCE only where it is exact or takes seconds, else NotClosedForm says so."""
    if not isinstance(method, InfoNCE):
        return optimum(method, free, K)
    most = int(SOLVE_MAX * min(1.0, math.sqrt(method.temperature / WARM)))
    if free.n_samples <= most:
        return optimum(method, free, K)
    assert free.graph is not None
    try:
        return method.exact_optimum(free.graph, K)
    except (NotClosedForm, ResourceError) as error:
        raise NotClosedForm(
            f"{free.n_samples:,} samples: the least InfoNCE loss over all embeddings is searched for up to "
            f"{most:,} only at temperature {method.temperature:g}, beyond that Z is judged by a proven bound"
        ) from error


def best_bound(method: Method, graph: Graph, K: int, Z: Array | None = None, free: Optimum | None = None) -> Proof:
    """The largest of: what the method knows of the relation, the certificate of Z (N, K), the bound of a free optimum.

    Z: an embedding whose certificate is asked, for cosine InfoNCE (for dot products maps and embeddings have balls of
    their own, and a certificate of one proves nothing of the other). free: the optimum over all embeddings.
    """
    found = [Proof(-math.inf, "nothing")]
    with no_reason_to_stop():
        found.append(Proof(method.lower_bound(graph, K), "the relation alone"))
    if Z is not None and (certificate := certificate_of(method, Z, graph)) is not None:
        found.append(Proof(certificate.lower_bound, "the certificate of the trained embedding"))
    if free is not None:
        found.append(Proof(free.lower_bound, f"the {free.kind} optimum over all embeddings of {K} dimensions"))
    return max(found, key=lambda bound: bound.value)
