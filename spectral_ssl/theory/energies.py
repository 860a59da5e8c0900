"""Where any embedding lies in the spectrum of a relation: its energy along each eigenvector.

Z (N, K) from whatever model; B the second matrix of a pencil (I, or D = diag(deg) in the degree pencils) of trace b (N,
or s). Whatever a linear probe reads off Z is unchanged when the mean is taken off, so that Z is centred in B first:

    F = B^(1/2) (Z - 1 m') / sqrt b,   m = Z'B1 / b,   |F|_F^2 = the variance of Z, summed over its columns

With q_k = B^(1/2) v_k the eigenvectors of the pencil, orthonormal,

    C_k = q_k'F (1, K),   energy_k = |C_k|^2,   sum over all k = |F|_F^2

energy_k is h_k of a closed form Z = V diag(sqrt h) Q, in the normalisation of its filter h. As F' F and FF' have the
same norm, the similarity FF' of the samples splits into what the held eigenvectors say one by one, what couples them,
and what is outside, with no N x N array:

    |FF'|_F^2 = sum_k energy_k^2  +  sum_{j != k} (C_j C_k')^2  +  rest

An eigenvector of an eigenvalue that has copies is not determined. The basis is then turned, inside the eigenspace, to
the principal directions of F there, largest energy first: where K cuts an eigenspace every choice is optimal for every
method, and this is the one nearest to Z. The first eigenspace of a relation in many components can have more dimensions
than any solver should be asked for: its projector is the mean over each component, so that it is exact all the same.

All of it holds for a spectrum over linear maps of data too, whose v_k are scores with v_j'Bv_k = delta_jk: what is
outside is then what no linear map of the data can be, and what those not held would.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data._checks import check_int, frozen
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.graph import Graph
from spectral_ssl.spectrum import TIE_TOL, Model, Pencil, Spectrum
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["Energies", "centred", "eigen_energies"]

FAINT = 1e-14  # a share of |F|^2, or of |FF'|^2, that is rounding


@dataclass(frozen=True, eq=False)
class Energies:
    """An embedding in the eigenvectors of a pencil; see the module.

    values (R,): eigenvalues, best first. energies (R,): energy_k. constants (R,): q_k'q_0, the share of the constant
    that an eigenvector has: zero where the pencil is centred. total: |F|_F^2. norm2: |FF'|_F^2. diagonal: the share of
    norm2 that is sum_k energy_k^2, coupled: that of pairs of held eigenvectors. cut: how many of the values held, at
    least, are copies of an eigenvalue whose eigenspace is not held whole; 0 where the last one is. total_weight: s.
    """

    pencil: Pencil
    model: Model
    values: Array
    energies: Array
    constants: Array
    total: float
    norm2: float
    diagonal: float
    coupled: float
    cut: int
    total_weight: float

    @property
    def outside(self) -> float:
        """Share of the energy in no eigenvector held."""
        return self._share(self.total - float(self.energies.sum()))

    def outside_top(self, n_components: int) -> float:
        """Share of the energy outside the first K eigenvectors."""
        K = check_int(n_components, "n_components", low=0)
        return self._share(self.total - float(self.energies[:K].sum()))

    def _share(self, energy: float) -> float:
        if not self.total > 0:
            return math.nan
        share = energy / self.total
        return share if share > FAINT else 0.0


def centred(Z: Array, graph: Graph, pencil: Pencil, *, unit_columns: bool = False) -> Array:
    """F (N, K) of the module. unit_columns: each column is brought to |F_k| = 1 (a constant one stays zero)."""
    if pencil.startswith("degree"):
        deg, s = graph.degree, graph.total_weight
        F = (Z - deg @ Z / s) * np.sqrt(deg / s)[:, None]
    else:
        F = (Z - Z.mean(axis=0)) / math.sqrt(graph.n_samples)
    if unit_columns:
        norm = np.linalg.norm(F, axis=0)
        alive = norm > FAINT * norm.max(initial=0.0)
        F = np.divide(F, norm, out=np.zeros_like(F), where=alive)
    return F


def eigen_energies(
    Z: Any,  # (N, K)
    graph: Graph,
    spectrum: Spectrum,  # of that graph
    *,
    n_pairs: int | None = None,
    unit_columns: bool = False,
) -> Energies:
    """The energy of Z along the first n_pairs eigenvectors that a spectrum holds, along all of them by default.

    unit_columns: of Z with columns at variance 1, which is what a loss that does not see their scale is about.
    Raises DataError for a pencil whose scores are not orthonormal (cross_moment over linear maps), a spectrum from
    moments alone, Z of another number of rows, or not finite.
    """
    if spectrum.vectors.shape[0] != graph.n_samples or (spectrum.pencil == "cross_moment" and spectrum.model != "free"):
        raise DataError(
            f"energies need eigenvectors of the {graph.n_samples} samples, orthonormal in their pencil, and the "
            f"{spectrum.pencil} pencil over {spectrum.model} maps has none here; give X rather than moments, or take "
            "another pencil"
        )
    Z = as_numbers(Z, "Z")
    if Z.ndim != 2 or Z.shape[0] != graph.n_samples or not np.all(np.isfinite(Z)):
        raise DataError(f"Z must be finite numbers (N, K) with N = {graph.n_samples} rows, got shape {Z.shape}")
    if n_pairs is not None:
        check_int(n_pairs, "n_pairs", low=0)
    F = centred(Z, graph, spectrum.pencil, unit_columns=unit_columns)
    total, norm2 = float((F**2).sum()), float(((F.T @ F) ** 2).sum())
    weight, q_0 = _metric(graph, spectrum.pencil)
    R = spectrum.values.size if n_pairs is None else min(n_pairs, spectrum.values.size)
    values, whole = np.array(spectrum.values[:R]), spectrum.complete and spectrum.values.size == R
    Q = spectrum.vectors[:, :R] * weight[:, None]
    constants = Q.T @ q_0
    C = Q.T @ F  # (R, K)
    groups, cut = _eigenspaces(values), 0
    if groups and not whole and groups[-1].stop - groups[-1].start > 1:
        cut = groups[-1].stop - groups[-1].start
    if (
        cut
        and len(groups) == 1
        and spectrum.model == "free"
        and (means := _component_means(F, graph, spectrum.pencil)) is not None
    ):
        # the first eigenspace, whole: as many copies as there are components, most of them without energy
        C, constants, cut = means, np.zeros(means.shape[0]), 0
        values, groups = np.full(means.shape[0], values[0]), [slice(0, means.shape[0])]
    for space in groups:
        if space.stop - space.start > 1:
            C[space], constants[space] = _turned(C[space], constants[space])
    energies = (C**2).sum(axis=1)
    held = float(((C.T @ C) ** 2).sum())  # |C C'|^2
    diagonal = float((energies**2).sum())
    size = norm2 if norm2 > 0 else math.nan
    coupled = (held - diagonal) / size
    return Energies(
        pencil=spectrum.pencil,
        model=spectrum.model,
        values=frozen(values),
        energies=frozen(energies),
        constants=frozen(constants),
        total=total,
        norm2=norm2,
        diagonal=diagonal / size,
        coupled=coupled if not coupled <= FAINT else 0.0,
        cut=cut,
        total_weight=graph.total_weight,
    )


def _metric(graph: Graph, pencil: Pencil) -> tuple[Array, Array]:
    """B^(1/2) (N,), and the constant in its coordinates, of norm 1."""
    if pencil.startswith("degree"):
        return np.sqrt(graph.degree), np.sqrt(graph.degree / graph.total_weight)
    ones = np.ones(graph.n_samples)
    return ones, ones / math.sqrt(graph.n_samples)


def _eigenspaces(values: Array) -> list[slice]:
    """The values held, split where neighbours are no copies of each other."""
    if not values.size:
        return []
    size = max(float(np.abs(values).max()), 1e-300)
    edges = np.flatnonzero(np.abs(np.diff(values)) > TIE_TOL * size) + 1
    bounds = [0, *edges.tolist(), values.size]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]


def _turned(C: Array, constants: Array) -> tuple[Array, Array]:
    """Coordinates (m, K) in the principal directions of an eigenspace; what is left of the constant goes last."""
    U, s, Vt = linalg.svd(C)
    turned, along = np.zeros_like(C), np.zeros(C.shape[0])
    turned[: s.size], along[: s.size] = s[:, None] * Vt, U.T @ constants
    if s.size < C.shape[0]:
        along[-1] = math.sqrt(max(float(constants @ constants - along @ along), 0.0))
    return turned, along


def _component_means(F: Array, graph: Graph, pencil: Pencil) -> Array | None:
    """Coordinates (c, K) of F in the unit vectors q_c = B^(1/2) 1_c / |.| of the components of positive weight.

    None where these do not span the first eigenspace: one of the adjacency pencil, unless the relation is regular.
    """
    if pencil in ("adjacency", "cross_moment") and not graph.regular:
        return None
    n, label = graph.components
    weight = _metric(graph, pencil)[0]
    size = np.bincount(label, weights=weight**2, minlength=n)
    sums = np.stack([np.bincount(label, weights=weight * column, minlength=n) for column in F.T], axis=1)  # (n, K)
    found: Array = sums[size > 0] / np.sqrt(size[size > 0])[:, None]
    return found
