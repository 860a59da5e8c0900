"""E1: trained embeddings against their closed forms, over all embeddings and over linear maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.embedding import Array
from spectral_ssl.experiments.frame import (
    check_seeds,
    excess_of,
    experiment,
    largest_sine,
    named_methods,
    repeats,
    spread,
    times,
)
from spectral_ssl.experiments.regimes import solved
from spectral_ssl.experiments.reproduce.outcome import at_most, conclude, drawn, fitted
from spectral_ssl.experiments.setting import make_setting
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra

__all__ = ["agreement"]

GAP_LIMIT = 1e-8  # of the way to collapse: the square of a gradient of 1e-10 over curvatures down to 1e-3
SINE_LIMIT = 1e-5  # gradient over curvature, where the gap at the rank is open
MODELS = {"free": "all embeddings", "linear": "linear maps"}
# 33 classes, which 32 directions part: the gap at K = 32 is open, and there are features enough for it
DATA = "gaussian_mixture(n_samples=256, n_classes=33, n_features=40, separation=8)"
METHODS = "vicreg, frobenius_simclr, spectral_contrastive, barlow_twins"


def agreement(
    *,
    data: str = DATA,
    relation: str = "knn(n_neighbors=8)",
    methods: str = METHODS,
    n_components: int = 32,
    seeds: int = 3,
    max_iter: int = 8000,
    tol: float = 1e-10,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E1: does training end at the closed form? Four losses on an irregular graph, full batch, over all Z and linear.

    Args:
        data: A data set, drawn anew for every seed where it is random.
        relation: The positive pairs.
        methods: Methods by name.
        n_components: Dimension K of the embeddings, at most the number of features.
        seeds: Draws of the data and starts of the training.
        max_iter: Evaluations of the loss of one run.
        tol: Largest gradient entry at which training stops.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: The first seed.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    chosen, several, K = named_methods(methods), check_seeds(seeds, seed), n_components
    settings = {s: make_setting(drawn(data, s), relation, test_size=0.0, seed=s) for s in several}
    with experiment(
        "E1",
        config,
        question="Does full-batch training end at the closed form?",
        zero_line="the closed form",
        steps=len(chosen) * 2 * len(several),
        progress=progress,
        setting=settings[seed],
        command="reproduce",
    ) as report:
        spectrum_rows: list[dict[str, Any]] = []
        for model in MODELS:
            spectra = {s: Spectra(x.graph, X=None if model == "free" else x.data.X) for s, x in settings.items()}
            for name, method in chosen.items():
                gaps, sines, runs = [], [], []
                for s in several:
                    best = solved(method, spectra[s], K)
                    run = fitted(best.method, spectra[s], K, seed=s, max_iter=max_iter, tol=tol)
                    gaps.append(abs(excess_of(run.embedding.Z, best.method, settings[s].graph, best)))
                    sines.append(largest_sine(run.embedding, best))
                    runs.append(run)
                    if s == seed:
                        arrays = {"Z": run.embedding.Z, "Z_closed": best.embedding.Z}
                        first = {"rank": best.rank, "gap_at_K": best.gap, "loss": best.loss, "trained": run.loss}
                    report.task.advance(text=f"{name}, {MODELS[model]}, seed {s}")
                row = {
                    "method": name,
                    "model": MODELS[model],
                    **spread(gaps, "gap"),
                    **spread(sines, "sine"),
                    "judged": sum(sine is not None for sine in sines),
                    **first,
                    "converged": sum(run.converged for run in runs),
                    "evaluations": int(np.median([run.losses.size for run in runs])),
                    "slug": f"{name}.{model}",
                }
                report.add(row, **arrays)
                spectrum_rows += _energy_rows(name, model, arrays)
        rows = list(report.payload["rows"])
        report.payload["rows"] += spectrum_rows
        gap = max(row["gap_max"] for row in rows)
        worst = max((row["sine_max"] for row in rows if row["sine_max"] is not None), default=np.nan)
        conclude(
            report,
            f"the loss of a trained embedding is the closed form's to {GAP_LIMIT:g} of the way to collapse, and its "
            f"span the closed form's to a sine of {SINE_LIMIT:g} wherever the gap at K is open.",
            [
                at_most("largest loss gap", gap, GAP_LIMIT),
                at_most("largest sine", worst, SINE_LIMIT),
            ],
            f"Sines judged: {sum(row['judged'] for row in rows)} of {len(rows) * len(several)} runs.",
        )
        N = settings[seed].graph.n_samples
        report.payload["setting"] = f"N = {N}, K = {K}{repeats(several, 'median and range of')}"
        report.payload["curves"] = [
            {
                "name": "spectra",
                "title": f"Trained energies lie on the closed form; loss gaps are at most {times(gap)}",
                "x": "component",
                "y": "energy",
                "by": "line",
                "panel": "panel",
                "theory": ["predicted"],
                "where": {"figure": "spectra", "model": "free"},
                "xlabel": "direction k",
                "ylabel": "energy s_k(Z)² / N",
                "xscale": "linear",
                "yscale": "linear",
                "caption": f"over {MODELS['free']}, seed {seed}",
            },
            {
                "name": "gaps",
                "title": f"Training ends at the closed form: gap at most {times(gap)}, sine at most {times(worst)}",
                "x": "method",
                "y": "gap",
                "by": "model",
                "xlabel": "",
                "ylabel": "|loss - closed form|\n(collapsed = 1)",
                "xscale": "category",
                "yscale": "log",
                "zero": 0.0,
                "band": ["gap_min", "gap_max"],
                "below": {"y": "sine", "ylabel": "sine of the\nlargest angle", "yscale": "log"},
            },
        ]
    return report.payload


def _energy_rows(name: str, model: str, arrays: dict[str, Array]) -> list[dict[str, Any]]:
    """Squared singular values of Z / sqrt N, trained and predicted; for a figure alone."""
    kinds = {"trained": arrays["Z"], "predicted": arrays["Z_closed"]}
    return [
        {
            "figure": "spectra",
            "panel": name,
            "model": model,
            "line": line,
            "component": k + 1,
            "energy": float(value),
        }
        for line, Z in kinds.items()
        for k, value in enumerate(linalg.svd(Z)[1] ** 2 / len(Z))
    ]
