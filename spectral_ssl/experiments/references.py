"""What a network is measured against: the least loss over all embeddings, over kernel maps and over linear maps.

No encoder can get below the first. The other two say what a network's depth is worth on this relation: how far it comes
from what a linear map, or a kernel of a few hundred landmarks, reaches with proof and without training.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spectral_ssl.embedding import Optimum
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError, ResourceError, SpectralWarning
from spectral_ssl.experiments.proofs import solve_free
from spectral_ssl.experiments.setting import Setting, make_spectra
from spectral_ssl.methods import Method
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Spectra

__all__ = ["FREE_MAX", "ModelClasses", "reference_optima"]

FREE_MAX = 5000  # rows up to which the free optimum beside another is solved without being asked for
LANDMARKS = 300  # of the kernel whose optimum stands beside a network's loss, unless it is named
BALLS = "its loss bounds weights by a ball, another one for each model class"


@dataclass(frozen=True, eq=False)
class ModelClasses:
    """The spectra of one setting under every model class, each made once, when it is asked for."""

    setting: Setting
    kernel: str | None = None

    @cached_property
    def free(self) -> Spectra:
        return make_spectra(self.setting, "free")

    @cached_property
    def linear(self) -> Spectra:
        return make_spectra(self.setting, "linear")

    @cached_property
    def kernels(self) -> Spectra:
        # an exact kernel of full rank fits every embedding: its optimum would repeat the free one
        few = f"nystroem(n_landmarks={min(LANDMARKS, max(1, self.setting.data.n_samples // 4))})"
        return make_spectra(self.setting, "kernel", few if self.kernel is None else self.kernel)


def reference_optima(
    method: Method, classes: ModelClasses, K: int
) -> tuple[Optimum | None, dict[str, dict[str, Any]], list[str]]:
    """The free optimum, the least losses {"free", "kernel", "linear"} as records, and what has to be said.

    method: with every hyper-parameter resolved, so that all three are minima of one loss. A class without an optimum
    has "loss": None and says "why".
    """
    found: dict[str, dict[str, Any]] = {}
    best: Optimum | None = None
    notes: list[str] = []
    for name in ("free", "kernel", "linear"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SpectralWarning)
            try:
                solved = _solve(method, classes, name, K)
            except (NotClosedForm, NumericalError, ResourceError, DataError) as error:
                found[name] = {"loss": None, "why": str(error)}
                continue
        record: dict[str, Any] = {"loss": solved.loss, "kind": solved.kind, "lower_bound": solved.lower_bound}
        if name == "kernel":
            assert classes.kernels.features is not None
            record["kernel"] = classes.kernels.features.text
        if name == "free":
            best = solved
            notes += dict.fromkeys(str(w.message) for w in caught)
        found[name] = record | {"rank": solved.rank}
    reasons: dict[str, list[str]] = {}
    for name in ("kernel", "linear"):
        if found[name]["loss"] is None:
            reasons.setdefault(found[name]["why"], []).append(name)
    notes += [f"no least loss over {' and '.join(names)} maps: {why}" for why, names in reasons.items()]
    return best, found, notes


def _solve(method: Method, classes: ModelClasses, name: str, K: int) -> Optimum:
    if name == "free":
        if classes.setting.graph.n_samples > FREE_MAX:
            raise ResourceError(f"not solved for more than {FREE_MAX:,} rows")
        return solve_free(method, classes.free, K)
    if method.ball is not None:
        raise NotClosedForm(BALLS)
    return optimum(method, classes.kernels if name == "kernel" else classes.linear, K)
