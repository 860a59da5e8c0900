"""Relations led astray step by step, and what every method's closed form makes of them.

A relation A is misaligned at a rate t in one of three ways:

    rewire        a share t of the pairs gets a new endpoint, drawn from all samples (groups: members change places)
    wrong_class   the same, drawn from samples of another class
    mix           (1 - t) A + t (s_A / s_B) B for a competing relation B, s the total weights: a share t of the pair
                  weight belongs to B, whatever its units

Relations, corruption and closed forms see training rows only.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from spectral_ssl import spec
from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.data import Dataset
from spectral_ssl.data.styles import styled
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError, NotClosedForm, SpectralWarning
from spectral_ssl.experiments.frame import named_methods
from spectral_ssl.experiments.rows import method_name, parse_methods
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.extension import extend
from spectral_ssl.graph import Graph
from spectral_ssl.methods import Method, VICReg
from spectral_ssl.relations import RELATIONS, corrupt, mix
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Spectra

__all__ = [
    "Candidate",
    "Misalign",
    "Stray",
    "candidates",
    "closed_form",
    "corruption_rows",
    "lead_astray",
    "placed",
    "with_styles",
]

Misalign = Literal["rewire", "wrong_class", "mix"]
WAYS = ("rewire", "wrong_class", "mix")
EXTENSION = "nystroem(n_landmarks=500)"  # on which free embeddings are regressed to place held-out rows


# ------------------------------------------------------------------------------------------------------- the relation


@dataclass(frozen=True, eq=False)
class Stray:
    """A relation on its way from aligned (rate 0) to misaligned (rate 1).

    text: what a rate is a share of, in words. competing: the relation it is mixed with, None where pairs are drawn.
    """

    graph: Graph
    how: Misalign
    y: Any
    competing: Graph | None
    text: str

    def drawn(self, rate: float) -> bool:
        """Whether the relation at this rate depends on a seed."""
        return self.how != "mix" and rate > 0

    def at(self, rate: float, seed: int) -> Graph:
        """The relation of which a share `rate` is led astray."""
        if self.how == "mix":
            assert self.competing is not None
            return mix(self.graph, self.competing, rate)
        return corrupt(self.graph, rate, how=self.how, y=self.y, seed=seed)


def with_styles(
    data: Dataset, how: Misalign, competing: str | None, seed: int
) -> tuple[Dataset, str | None, list[str]]:
    """The data of a study, its competing relation, and what was made, in words.

    To be mixed with pairs of equal style, the usual competitor, data need styles: those that have none are given some,
    rotations for images and offsets else, independent of the labels.
    """
    if how != "mix":
        return data, competing, []
    competing = "style" if competing is None else competing
    if spec.parse_call(competing)[0] != "style" or data.style is not None:
        return data, competing, []
    kind: Literal["rotation", "offset"] = "offset" if data.image_shape is None else "rotation"
    made = styled(data, style=kind, seed=seed)
    assert made.style is not None
    count = np.unique(made.style).size
    return made, competing, [f"{data.name} has no styles, so its rows were dealt {count}: each its own {kind}"]


def lead_astray(setting: Setting, how: Misalign, competing: str | None = None) -> Stray:
    """The way a setting's relation is led astray; `competing`, a call string, belongs to "mix" and is needed there.

    Raises DataError where the way does not fit the data, before anything is computed.
    """
    if how not in WAYS:
        raise DataError(f"misalign={how!r} is not known; choose one of {', '.join(WAYS)}")
    if competing is not None and how != "mix":
        raise DataError(
            f"a competing relation was given ({competing}), which belongs to misalign='mix', but misalign is {how!r}; "
            "leave one of the two out"
        )
    data = setting.data
    if how == "mix":
        if competing is None:
            raise DataError("misalign='mix' needs the relation that competes: competing='style', 'knn', ...")
        name, options = spec.parse_call(competing)
        other = spec.bind(RELATIONS, name, options, kind="relation")(data)
        other = other.scaled(setting.graph.total_weight / other.total_weight)
        return Stray(setting.graph, how, None, other, f"pair weight given to {competing}")
    if how == "wrong_class" and not data.is_classification:
        raise DataError("misalign='wrong_class' needs classes: pairs are led to samples of another one; use 'rewire'")
    text = "pairs rewired at random" if how == "rewire" else "pairs led to other classes"
    return Stray(setting.graph, how, data.y, None, text)


# -------------------------------------------------------------------------------------------------------- the methods


@dataclass(frozen=True)
class Candidate:
    """A method of the study. strength: of a VICReg that follows the relation, gamma = strength alpha / m_K."""

    label: str
    method: Method
    strength: float | None = None

    @property
    def family(self) -> str:
        """The name in `METHODS`."""
        return method_name(self.method)

    def resolved(self, spectra: Spectra, n_components: int) -> Method:
        """The method with its numbers, as `ss.optimum` takes it."""
        method = self.method
        if self.strength is None:
            return method
        assert isinstance(method, VICReg)
        half = method.resolve(spectra.of(method.pencil, n_components), n_components).invariance  # alpha / (2 m_K)
        assert half is not None
        return replace(method, invariance=2 * self.strength * half)


def candidates(methods: str, invariances: tuple[float, ...]) -> list[Candidate]:
    """The methods of a call string; VICReg without an invariance of its own once for every one of the grid."""
    found = []
    for label, method in named_methods(methods).items():
        if isinstance(method, VICReg) and method.invariance is None and method.form != "constrained":
            found += [Candidate(f"{label}, γ = {g:g} α/m_K", method, float(g)) for g in invariances]
        else:
            found.append(Candidate(label, method))
    return found


def closed_form(candidate: Candidate, spectra: Spectra, n_components: int) -> Optimum | None:
    """The optimum, K above the rank being allowed: there small invariance keeps what wrong pairs would throw away.

    None where a relation leaves a method nothing to represent (Barlow Twins without a positive eigenvalue).
    """
    method = candidate.resolved(spectra, n_components)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)  # K > rank is the point here
        try:
            return optimum(method, spectra, n_components)
        except NotClosedForm:
            if not _without_positive_eigenvalue(method, spectra, n_components):
                raise
            return None


def _without_positive_eigenvalue(method: Method, spectra: Spectra, K: int) -> bool:
    return method.pencil == "degree_centred" and not np.any(spectra.of("degree_centred", K).values > 0)


def placed(setting: Setting, found: Sequence[Any]) -> list[tuple[Array, Array]]:
    """(Z_train, Z_test) of the labelled originals, for each optimum or training result; zeros for None.

    Maps place new rows themselves. All free embeddings of one relation are placed by one kernel ridge regression on
    the training rows, each at unit size, so that their scores differ by the embeddings alone.
    """
    train, test = setting.probe_train, setting.probe_test
    assert test is not None
    on, held = train.labelled, test.labelled
    own = setting.data is train
    maps: list[Any] = [None if best is None else best.embedding for best in found]
    free = [k for k, e in enumerate(maps) if e is not None and e.W is None]
    blocks = {}
    if free:
        sizes = [max(float(np.linalg.norm(maps[k].Z - maps[k].Z.mean(axis=0))), 1e-300) for k in free]
        stacked = np.hstack([maps[k].Z / size for k, size in zip(free, sizes, strict=True)])
        if np.ptp(stacked, axis=0).any():
            joint = extend(stacked, setting.data.X, kernel=EXTENSION)
            Z_train, Z_test = stacked if own else joint.transform(train.X), joint.transform(test.X)
        else:  # all collapsed
            Z_train, Z_test = (np.zeros((d.n_samples, stacked.shape[1])) for d in (train, test))
        ends = np.cumsum([maps[k].n_components for k in free])
        for k, end in zip(free, ends, strict=True):
            columns = slice(end - maps[k].n_components, end)
            blocks[k] = (Z_train[on, columns], Z_test[held, columns])
    rows = []
    for k, embedding in enumerate(maps):
        if embedding is None:
            rows.append((np.zeros((int(on.sum()), 1)), np.zeros((int(held.sum()), 1))))
        elif k in blocks:
            rows.append(blocks[k])
        else:
            Z_train = embedding.Z if own else embedding.transform(train.X)
            rows.append((Z_train[on], embedding.transform(test.X)[held]))
    return rows


# ---------------------------------------------------------------------------------------------------------- a teaser


def corruption_rows(
    setting: Setting,
    methods: str,
    dimensions: tuple[int, ...],
    rates: tuple[float, ...],
    seed: int,
    how: Misalign = "rewire",
) -> list[dict[str, Any]]:
    """Held-out probe accuracy of every closed form while a growing share of the relation is led astray, of one draw."""
    stray = lead_astray(setting, how)
    train, test = setting.probe_train, setting.probe_test
    assert train.y is not None
    assert test is not None
    assert test.y is not None
    y_train, y_test = train.y[train.labelled], test.y[test.labelled]
    chosen = [Candidate(label_of(method), method) for method in parse_methods(methods)]
    rows = []
    for rate in rates:
        spectra = Spectra(stray.at(rate, seed), X=setting.data.X)
        cells = [(candidate, K, closed_form(candidate, spectra, K)) for candidate in chosen for K in dimensions]
        embedded = placed(setting, [best for _, _, best in cells])
        for (candidate, K, best), (Z_train, Z_test) in zip(cells, embedded, strict=True):
            rows.append(
                {
                    "n_components": K,
                    "rate": rate,
                    "method": candidate.label,
                    "probe": linear_probe_score(
                        Z_train, y_train, Z_test, y_test, classification=train.is_classification
                    ),
                    "rank": 0 if best is None else best.rank,
                    "loss": None if best is None else best.loss,
                    "invariance": None if best is None else best.method.hyper.get("invariance"),
                }
            )
    return rows


def label_of(method: Method) -> str:
    """The name in a legend: VICReg tells its invariance where it was set."""
    if isinstance(method, VICReg) and method.invariance is not None:
        return f"vicreg(invariance={method.invariance:g})"
    return method_name(method)
