"""E4: what a linear probe makes of a relation that is ever less aligned with the labels.

With u_k the orthonormal eigenvectors of (L, H) over linear maps and Y (N, C) one-hot labels, the least-squares probe on
VICReg's optimum, fitted and judged on all rows, leaves

    |HY|^2 - sum_{k : t_k > 0} |u_k'Y|^2,    t_k = max(0, 1 - gamma m_k / alpha)

and so depends on gamma through the rank alone. exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.embedding import Array
from spectral_ssl.experiments.frame import check_list, experiment, times
from spectral_ssl.experiments.regimes import solved
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude, fitted
from spectral_ssl.experiments.reproduce.pairs import check_features, label_left, label_setting, paired, unit_labels
from spectral_ssl.experiments.setting import Setting
from spectral_ssl.methods import VICReg
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.relations import mix
from spectral_ssl.spectrum import Spectra

__all__ = ["misalignment", "probe_error"]

SAME = 1e-8  # of the label energy: least squares on embeddings whose energies span three decades
TRAINED = 1e-4  # of the label energy: sines of trained spans, to a gradient of 1e-9
CLEAR = 1e-3  # of alpha, from the death of a direction: below it training needs more evaluations than it is given
ALIKE = 0.05  # of the label energy: random pairs of equal labels find the class directions as well as all pairs do


def probe_error(energy: Array, m: Array, gamma: float, alpha: float = 1.0) -> float:
    """The share of |HY|^2 that the least-squares probe leaves, from energy_k = |u_k'Y|^2 / |HY|^2 (K,) and m_k (K,)."""
    return float(1 - energy[gamma * m < alpha].sum())


def misalignment(
    *,
    data: str = "digits",
    n_samples: int = 0,
    n_components: int = 32,
    mixings: Sequence[float] = (0, 0.2, 0.4, 0.5, 0.6, 0.8, 1),
    invariances: Sequence[float] = (0.1, 0.6, 0.95),
    test_size: float = 0.25,
    max_iter: int = 1000,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E4: from aligned to misaligned. Label pairs mixed with those of unrelated labels, VICReg over linear maps.

    Args:
        data: A data set with classes, by name, or a file.
        n_samples: Training rows drawn of it; 0: all.
        n_components: Dimension K of the embeddings, from the number of classes less one.
        mixings: Shares t of the second labels' pairs.
        invariances: VICReg's, in units at which the last class direction of the aligned relation dies at 1.
        test_size: Share of the rows held out.
        max_iter: Evaluations of the loss of one run.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the split, the second labels and the training.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    shares = check_list(mixings, "mixings", 0.0)
    strengths, K = check_list(invariances, "invariances", 0.0, strict=True), n_components
    setting = label_setting(data, n_samples, seed, test_size=test_size)
    C, X, Y = check_features(setting, K), setting.data.X, unit_labels(setting)
    setting, other = paired(setting, seed)
    aligned = setting.graph
    unit = 1 / float(VICReg().critical_values(Spectra(aligned, X=X).of("laplacian", K))[C - 2])
    with experiment(
        "E4",
        config,
        question="How much invariance should a relation get that is less and less aligned with the labels?",
        zero_line="all label energy in the span",
        steps=len(shares) * len(strengths),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        for t in shares:
            spectra = Spectra(mix(aligned, other, t), X=X)
            spectrum = spectra.of("laplacian", K)
            m, U = VICReg().critical_values(spectrum)[:K], spectrum.vectors[:, :K]
            energy = ((U.T @ Y) ** 2).sum(axis=1)
            for g in strengths:
                best = solved(VICReg(invariance=g * unit), spectra, K)
                run = fitted(best.method, spectra, K, seed=seed, max_iter=max_iter, tol=1e-9)
                row = {
                    "strength": g,
                    "mixing": t,
                    "error": label_left(best.embedding.Z, Y),
                    "predicted": probe_error(energy, m, g * unit),
                    "trained": label_left(run.embedding.Z, Y),
                    "accuracy": _accuracy(setting, best.embedding),
                    "rank": best.rank,
                    "margin": float(np.abs(1 - g * unit * m).min()),
                    "line": f"γ = {g:g}",
                    "slug": f"{g:g}.{t:g}",
                }
                report.add(row, energy=energy, m=m)
                report.task.advance(text=f"t = {t:g}, gamma = {g:g}")
        rows = list(report.payload["rows"])
        at = {(row["strength"], row["mixing"]): row for row in rows}
        low, high = strengths[0], strengths[-1]
        start = [at[g, shares[0]]["error"] for g in strengths]
        surest = [row for row in rows if row["margin"] > CLEAR]
        conclude(
            report,
            "the least-squares probe leaves |HY|² less the label energy of the kept directions, whatever their "
            "energies; while all C - 1 class directions are kept, the aligned relation serves every invariance alike; "
            "misaligned, strong invariance loses the labels and weak invariance keeps what K directions can hold.",
            [
                at_most("largest |error - formula|", max(abs(r["error"] - r["predicted"]) for r in rows), SAME),
                at_most(
                    "largest |trained error - formula|",
                    max((abs(r["trained"] - r["predicted"]) for r in surest), default=np.nan),
                    TRAINED,
                ),
                at_most(f"range of errors over the invariances up to 1 at t = {shares[0]:g}", np.ptp(start), ALIKE),
                at_least(
                    f"error at the strongest less that at the weakest invariance, t = {shares[-1]:g}",
                    at[high, shares[-1]]["error"] - at[low, shares[-1]]["error"],
                    0.05,
                ),
            ],
            f"Held-out accuracy from t = {shares[0]:g} to {shares[-1]:g}: "
            + "; ".join(
                f"{times(at[g, shares[0]]['accuracy'])} to {times(at[g, shares[-1]]['accuracy'])} at gamma {g:g}"
                for g in strengths
            )
            + ".",
        )
        report.payload["rows"] += [
            {"figure": "error", "panel": f"γ = {r['strength']:g}", "mixing": r["mixing"], "line": line, "shown": r[key]}
            for r in rows
            for line, key in (("trained", "trained"), ("predicted", "predicted"))
        ]
        report.payload["setting"] = f"K = {K}, linear maps; γ = 1: the last class direction dies at t = 0"
        shared = {"x": "mixing", "xlabel": "share t of unrelated label pairs", "xscale": "linear", "yscale": "linear"}
        report.payload["curves"] = [
            {
                **shared,
                "name": "error",
                "title": "The probe's error is the label energy outside the kept span",
                "y": "shown",
                "by": "line",
                "panel": "panel",
                "theory": ["predicted"],
                "where": {"figure": "error"},
                "ylabel": "probe error / |HY|²",
                "zero": 0.0,
            },
            {
                **shared,
                "name": "accuracy",
                "title": "Misaligned pairs: weak invariance keeps the labels, strong invariance loses them",
                "y": "accuracy",
                "by": "line",
                "ylabel": "held-out accuracy of a linear probe",
            },
        ]
    return report.payload


def _accuracy(setting: Setting, embedding: Any) -> float:
    """Of a linear probe on held-out rows, or on the training rows where none are."""
    train, test = setting.data, setting.probe_test or setting.data
    Z, Z_test = embedding.transform(train.X), embedding.transform(test.X)
    if not np.any(np.ptp(Z, axis=0) > 0):
        most = train.classes[np.bincount(train.class_codes).argmax()]  # a collapsed embedding leaves the largest class
        return float(np.mean(test.y == most))
    return linear_probe_score(Z, train.y, Z_test, test.y, classification=True)
