"""E6: the hinge on the variance, as published, against its square: the spectrum of Cov(Z).

Pinned, 2 gamma mean(m) <= alpha / 2 with all K directions in use, every variance is 1 and Cov has the eigenvalues

    c_k = 1 - gamma (m_k - mean m) / beta

(with ka = 2 gamma n / N, ka lam_k = 2 gamma m_k). exact for alpha >= 8 beta and c_1 <= 1 + alpha / (2 beta): alpha,
which decides whether columns are held at 1, does not enter. Below 8 beta columns of unlike variance can win. The square
with beta = alpha has c_k = 1 - gamma m_k / alpha in place of it, and variances below 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.experiments.frame import check_list, experiment
from spectral_ssl.experiments.regimes import covariance_spectrum, solved
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude, fitted
from spectral_ssl.experiments.setting import load_data, make_setting, subsample
from spectral_ssl.methods import VICReg
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra

__all__ = ["hinge_spectrum", "pinned_spectrum"]

SAME = 1e-6  # of a spectrum of order 1, between formula and optimum: the optimum has it by another road, or the same
TRAINED = 1e-3  # between formula and training, which ends on an edge of the loss
BELOW = 0.01  # of a variance below 1, which tells columns that are not held there
SAFE = 8.0  # alpha / beta from which on the formula is proven


def pinned_spectrum(m: Array, gamma: float, beta: float = 1.0) -> Array:
    """c_k (K,) of the critical values m (K,)."""
    found: Array = 1 - gamma * (m - m.mean()) / beta
    return found


def hinge_spectrum(
    *,
    data: str = "digits",
    relation: str = "knn",
    n_samples: int = 400,
    n_components: int = 8,
    ratios: Sequence[float] = (1, 12.5, 100),
    strengths: Sequence[float] = (0.1, 1),
    max_iter: int = 1500,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E6: the hinge holds every variance at 1 and spreads the spectrum of Cov, whatever alpha / beta from 8 on.

    Args:
        data: A data set by name, or a file.
        relation: The positive pairs.
        n_samples: Rows drawn of it; 0: all.
        n_components: Dimension K of the embeddings.
        ratios: Weights alpha of the variance, in units of beta, that of the covariance.
        strengths: Invariances, in units of beta / m_K.
        max_iter: Evaluations of the loss of one run.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the rows and the training.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    ratios_, strengths_ = (
        check_list(v, n, 0.0, strict=True) for v, n in ((ratios, "ratios"), (strengths, "strengths"))
    )
    setting = subsample(make_setting(load_data(data), relation, test_size=0.0, seed=seed), n_samples, seed)
    spectra, K = Spectra(setting.graph, X=setting.data.X), n_components
    m = VICReg().critical_values(spectra.of("laplacian", K))[:K]
    with experiment(
        "E6",
        config,
        question="What covariance does the published hinge lead to, and how does it differ from the square?",
        zero_line="Cov = I, Laplacian Eigenmaps",
        steps=len(ratios_) * len(strengths_),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        figure_rows: list[dict[str, Any]] = []
        for strength in strengths_:
            for ratio in ratios_:
                gamma = strength / float(m[-1])
                method = VICReg(variance=ratio, covariance=1.0, invariance=gamma, form="hinge")
                best = solved(method, spectra, K)
                run = fitted(method, spectra, K, seed=seed, max_iter=max_iter)
                square = solved(VICReg(variance=1.0, covariance=1.0, invariance=gamma), spectra, K)
                c = {
                    "trained": covariance_spectrum(run.embedding.Z),
                    "predicted where pinned": pinned_spectrum(m, gamma),
                    "square, α = β": covariance_spectrum(square.embedding.Z),
                }
                optimum = covariance_spectrum(best.embedding.Z)
                predicted = c["predicted where pinned"]
                columns = run.embedding.Z.var(axis=0)
                pinned = bool(2 * gamma * m.mean() <= ratio / 2 and predicted.min() > 0)
                row = {
                    "ratio": ratio,
                    "strength": strength,
                    "pinned": pinned,
                    "error_optimum": float(np.abs(optimum - predicted).max()),
                    "error_trained": float(np.abs(c["trained"] - predicted).max()),
                    "column_least": float(columns.min()),
                    "column_most": float(columns.max()),
                    "spread": float(np.ptp(optimum)),
                    "kind": best.kind,
                    "proven": bool(pinned and ratio >= SAFE and predicted.max() <= 1 + ratio / 2),
                    "loss": best.loss,
                    "trained_loss": run.loss,
                    "slug": f"{ratio:g}.{strength:g}",
                }
                report.add(row, optimum=optimum, **{key.split(",")[0].split()[0]: value for key, value in c.items()})
                figure_rows += [
                    {
                        "panel": f"α/β = {ratio:g}, γ = {strength:g} β/m_K",
                        "line": line,
                        "component": k + 1,
                        "shown": float(v),
                    }
                    for line, values in c.items()
                    if pinned or line != "predicted where pinned"
                    for k, v in enumerate(values)
                ]
                report.task.advance(text=f"alpha / beta = {ratio:g}, gamma = {strength:g}")
        rows = list(report.payload["rows"])
        proven = [row for row in rows if row["proven"]]
        least = min(rows, key=lambda row: (row["ratio"], -row["strength"]))
        conclude(
            report,
            "from alpha = 8 beta on every variance is held at 1 and Cov has the eigenvalues 1 - gamma (m_k - mean m) / "
            "beta, not 1, and the same for every alpha; at alpha = beta strong invariance lets columns go below 1.",
            [
                at_most(
                    "largest error of the formula, optimum",
                    max((r["error_optimum"] for r in proven), default=np.nan),
                    SAME,
                ),
                at_most("the same, trained", max((r["error_trained"] for r in proven), default=np.nan), TRAINED),
                at_most(
                    "largest |variance - 1| of a trained column",
                    max((abs(v - 1) for r in proven for v in (r["column_least"], r["column_most"])), default=np.nan),
                    TRAINED,
                ),
                at_least(
                    "largest spread of Cov's eigenvalues there",
                    max((r["spread"] for r in proven), default=np.nan),
                    0.05,
                ),
                at_least(
                    f"1 less the least trained variance at alpha / beta = {least['ratio']:g} and strongest invariance",
                    1 - least["column_least"],
                    BELOW,
                ),
            ],
            f"Judged where proven: {len(proven)} of {len(rows)} settings.",
        )
        report.payload["rows"] += figure_rows
        report.payload["setting"] = f"K = {K}, linear maps"
        report.payload["curves"] = [
            {
                "name": "spectrum",
                "title": "The hinge spreads Cov's spectrum about 1: 1 - γ (m_k - mean m) / β, whatever α ≥ 8 β",
                "x": "component",
                "y": "shown",
                "by": "line",
                "panel": "panel",
                "theory": ["predicted where pinned"],
                "xlabel": "direction k",
                "ylabel": "eigenvalue of Cov(Z)",
                "xscale": "linear",
                "yscale": "linear",
                "zero": 1.0,
                "zero_line": "Cov = I, Laplacian Eigenmaps",
            }
        ]
    return report.payload
