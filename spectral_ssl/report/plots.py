"""Figures of a run, good enough for a talk: `draw(run)` writes them, one function makes each.

==============  ==================================================================================================
spectrum        singular values: closed form (steps) and trained (markers), a panel per method
embedding       first two principal directions of the closed form, and the trained embedding turned onto it
angles          principal angles between the predicted and the trained subspace
loss            the training loss, and the attainable minimum it cannot get below
convergence     what is left above that minimum, against evaluations of the loss
monitor         excess, angle, spectrum, effective rank and kNN accuracy while training, where it was looked at
corruption      held-out probe accuracy while the relation is corrupted (`demo`)
==============  ==================================================================================================

The functions take `Panel` records (a row and its arrays) and return matplotlib `Figure` objects. pyplot is not used and
matplotlib's global settings are left as they were.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_ssl.report.alpha_figures import alpha_figures
from spectral_ssl.report.audit_figures import audit_figures
from spectral_ssl.report.augmentation_figures import augmentation_figures
from spectral_ssl.report.bound_figures import bound_figures
from spectral_ssl.report.convergence_figures import convergence_figures
from spectral_ssl.report.corruption_figure import corruption_figure
from spectral_ssl.report.curves import curve_figures
from spectral_ssl.report.loss_figures import SHORTEST, convergence_figure, loss_figure, monitor_figure
from spectral_ssl.report.page import DPI, style
from spectral_ssl.report.panels import Panel, data_caption, file_suffixes, panels, setting_caption
from spectral_ssl.report.path_figures import path_figures
from spectral_ssl.report.subspace_figures import angle_figure, embedding_figure, spectrum_figure
from spectral_ssl.runs import RunDirectory, open_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "SHORTEST",
    "angle_figure",
    "convergence_figure",
    "corruption_figure",
    "draw",
    "embedding_figure",
    "loss_figure",
    "monitor_figure",
    "spectrum_figure",
]

Array = np.ndarray[Any, Any]


def draw(run: RunDirectory | str | Path) -> list[Path]:
    """Draw every figure that a run has the rows and arrays for, into its ``figures`` folder.

    Args:
        run: The run, or its directory. Pass the run itself while it is being written, so that the figures are listed
            among its files.
    """
    run = run if isinstance(run, RunDirectory) else open_run(run)
    payload = run.result
    arrays = run.load_arrays("arrays") if (run.path / "arrays.npz").is_file() else {}
    paths = []
    for name, figure in _figures(payload, arrays):
        path = run.figure_path(f"{name}.png")
        with style(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a data set may be named in any script
            figure.savefig(path, dpi=DPI, format="png")
        paths.append(path)
    return paths


def _figures(payload: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[tuple[str, Figure]]:
    if (study := STUDIES.get(str(payload.get("command")))) is not None:
        yield from study(payload)
        return
    groups = panels(payload, arrays)
    names = file_suffixes(list(groups))
    for group, members in groups.items():
        caption = setting_caption(payload, group)
        for name, make in FIGURES.items():
            figure = make(members, caption)
            if figure is not None:
                yield f"{name}{names[group]}", figure
    teaser = payload.get("teaser")
    if isinstance(teaser, Mapping) and teaser.get("rows"):
        yield "corruption", corruption_figure(teaser, payload.get("reference") or {}, data_caption(payload))


# what a study's figures are drawn from is in its rows
STUDIES: dict[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, Figure]]]] = {
    "audit": audit_figures,
    "experiment": curve_figures,
    "path": path_figures,
    "align": curve_figures,
    "alpha": alpha_figures,
    "forecast": curve_figures,
    "augment": augmentation_figures,
    "bounds": bound_figures,
    "converge": convergence_figures,
    "reproduce": curve_figures,
}

FIGURES: dict[str, Callable[[Sequence[Panel], str], Figure | None]] = {
    "spectrum": spectrum_figure,
    "embedding": embedding_figure,
    "angles": angle_figure,
    "loss": loss_figure,
    "convergence": convergence_figure,
    "monitor": monitor_figure,
}
