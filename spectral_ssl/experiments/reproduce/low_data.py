"""E5: few labels, and noisy ones: what a linear probe on VICReg's optimum makes of them, by its invariance.

With u_k the orthonormal eigenvectors of (L, H) over linear maps, h_k = N t_k the energies of the optimum, Y (N, C)
one-hot labels and e their energy outside the first K directions, a ridge probe eta on labels HY + noise of variance
s^2, on all rows, has the mean of |prediction - HY|^2 (exact)

    sum_k (eta / (h_k + eta))^2 |u_k'Y|^2 + C s^2 sum_k (h_k / (h_k + eta))^2 + e

With m labelled rows only and no ridge, r = #{t_k > 0} directions of equal energy, in shares of |HY|^2 with c the share
inside the span, for independent Gaussian rows (asymptotic for others)

    m > r + 1    (1 - c)(1 + r / (m - r - 1))
    m < r - 1    c (1 - m / r) + (1 - c)(1 + m / (r - m - 1))

whose poles are the interpolation peak at m = r: rows as many as directions fit any labels, at any price.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import check_list, experiment, times
from spectral_ssl.experiments.regimes import solved
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude
from spectral_ssl.experiments.reproduce.pairs import (
    centred_labels,
    check_features,
    label_left,
    label_setting,
    unit_labels,
    unrelated_pairs,
)
from spectral_ssl.methods import VICReg
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra
from spectral_ssl.theory.ridge_risk import ridge_risk

__all__ = ["few_labels", "gaussian_error"]

SAME = 1e-8  # of the label energy: rounding, below which a standard error says nothing
SURE = 4.5  # standard errors between a mean over draws and its expectation: once in 100,000
STRONGEST = 0.98  # invariance, where the last class direction dies at 1
NEAREST = 1.3  # labels from the rank, to which the prediction is drawn; its pole is at 1
WITHIN = 1.5  # factor between Gaussian rows and real ones, away from the peak


def gaussian_error(m: float, r: int, captured: float) -> float | None:
    """The share of |HY|^2 left on other rows by m labelled ones, see the module; None next to the poles."""
    if abs(m - r) <= 1:
        return None
    left = 1 - captured
    if m > r:
        return left * (1 + r / (m - r - 1))
    return captured * (1 - m / r) + left * (1 + m / (r - m - 1))


def few_labels(
    *,
    data: str = "digits",
    n_samples: int = 0,
    n_components: int = 32,
    label_counts: Sequence[int] = (5, 7, 12, 16, 20, 24, 28, 30, 34, 36, 40, 48, 64, 96, 128),
    draws: int = 60,
    ridges: Sequence[float] = (0.0001, 0.3),
    noise: float = 0.5,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E5: few labels. Without a ridge the probe peaks at m = K labels; with one its risk along gamma is closed form.

    Args:
        data: A data set with classes, by name, or a file.
        n_samples: Rows drawn of it; 0: all.
        n_components: Dimension K of the embeddings, from the number of classes less one.
        label_counts: Numbers m of labelled rows; K and C - 1 are always among them.
        draws: Of labelled rows, and of noise.
        ridges: Ridges eta, as shares of N.
        noise: Standard deviation of noise on one-hot labels, for the probes with a ridge.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the rows, the draws and the second labels.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    K = n_components
    check_list(label_counts, "label_counts", 2)
    etas = check_list(ridges, "ridges", 0.0, strict=True)
    if draws < 3:
        raise DataError(f"draws must be at least 3, for a standard error, got {draws}")
    setting = label_setting(data, n_samples, seed)
    C, X, Y = check_features(setting, K), setting.data.X, unit_labels(setting)
    N, counts = len(Y), sorted({*label_counts, K, C - 1} - {1})
    if counts[-1] > N // 2:
        raise DataError(f"label_counts up to {counts[-1]} leave too few of {N} rows to be judged on; at most {N // 2}")
    sides = {
        "aligned": Spectra(setting.graph, X=X),
        "misaligned": Spectra(unrelated_pairs(setting.data.class_codes, seed), X=X),
    }
    m = {side: VICReg().critical_values(spectra.of("laplacian", K))[:K] for side, spectra in sides.items()}
    gammas = np.geomspace(0.01, STRONGEST, 9) / float(m["aligned"][C - 2])
    weak, strong = float(gammas[0]) / 10, float(gammas[-1])  # K directions of equal energy; the C - 1 of the classes
    with experiment(
        "E5",
        config,
        question="Which invariance is best where labels are few, or noisy?",
        zero_line="no error",
        steps=2 * len(counts) + len(sides) * len(etas) * len(gammas),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        captured: dict[str, tuple[int, float]] = {}
        for name, gamma in (("weak", weak), ("strong", strong)):
            best = solved(VICReg(invariance=gamma), sides["aligned"], K)
            Z, c = best.embedding.Z, 1 - label_left(best.embedding.Z, Y)
            captured[f"{name} invariance"] = (best.rank, c)
            for count in counts:
                rng = np.random.default_rng((seed, count))  # both invariances see the same rows
                errors = np.array([_held_error(Z, Y, rng.permutation(N), count) for _ in range(draws)])
                low, middle, high = np.quantile(errors, (0.25, 0.5, 0.75))
                row = {
                    "probe": "least squares",
                    "relation": "aligned",
                    "invariance": name,
                    "labels": count,
                    "error": float(middle),
                    "error_min": float(low),
                    "error_max": float(high),
                    "mean": float(errors.mean()),
                    "predicted": gaussian_error(count, best.rank, c),
                    "rank": best.rank,
                    "line": f"{name} invariance",
                    "slug": f"{name}.{count}",
                }
                report.add(row)
                report.task.advance(text=f"{name}, m = {count}")
        scale = noise**2 * C / float((centred_labels(setting) ** 2).sum())
        for side, spectra in sides.items():
            for eta in etas:
                for gamma in map(float, gammas):
                    report.add(_ridge_row(side, spectra, m[side], Y, gamma, eta * N, scale, K, draws, seed))
                    report.task.advance(text=f"{side}, ridge {eta:g}")
        rows = list(report.payload["rows"])
        conclude(report, *_judged(rows, K, C, gammas, etas))
        report.payload["rows"] += _label_rows(rows, gammas, captured)
        report.payload["setting"] = f"K = {K}, linear maps, {draws} draws"
        report.payload["curves"] = [
            {
                "name": "peak",
                "title": "Interpolation peaks: as many labels as directions, K of weak invariance, C - 1 of strong",
                "x": "labels",
                "y": "shown",
                "by": "line",
                "panel": "panel",
                "theory": ["predicted, m < rank", "predicted, m > rank"],
                "where": {"figure": "labels"},
                "band": ["error_min", "error_max"],
                "xlabel": "labelled rows m",
                "ylabel": "error on other rows / |HY|²",
                "xscale": "linear",
                "yscale": "log",
                "said": {float(K): "m = K", float(C - 1): "C - 1"},
                "caption": "aligned relation; median and quartiles; predicted for Gaussian rows",
            },
            {
                "name": "ridge",
                "title": "With a ridge and noisy labels the risk along the invariance is the closed form's",
                "x": "strength",
                "y": "shown",
                "by": "line",
                "panel": "panel",
                "theory": ["predicted"],
                "where": {"figure": "ridge"},
                "xlabel": "invariance γ (1: the last class direction dies, aligned)",
                "ylabel": "risk / |HY|²",
                "xscale": "log",
                "yscale": "linear",
                "caption": f"noise {noise:g} on one-hot labels of all {N} rows",
            },
        ]
    return report.payload


def _held_error(Z: Array, Y: Array, order: Any, count: int) -> float:
    """Min-norm least squares on the first rows of an order, judged on the others, as a share of their label energy.

    Z and Y are centred over all rows, and the probe has no intercept: it interpolates at m = rank.
    """
    F = Z - Z.mean(axis=0)
    seen, rest = order[:count], order[count:]
    solution = np.linalg.lstsq(F[seen], Y[seen], rcond=1e-10)[0]
    return float(((Y[rest] - F[rest] @ solution) ** 2).sum() / (Y[rest] ** 2).sum())


def _ridge_row(
    side: str,
    spectra: Spectra,
    m: Array,
    Y: Array,
    gamma: float,
    eta: float,
    noise: float,
    K: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Mean risk of a ridge probe over draws of noise, and D5. noise: C s^2 / |HY|^2, Y having norm 1."""
    N, C = Y.shape
    U = spectra.of("laplacian", K).vectors[:, :K]
    Z = solved(VICReg(invariance=gamma), spectra, K).embedding.Z
    h, energy = N * np.maximum(0.0, 1 - gamma * m), ((U.T @ Y) ** 2).sum(axis=1)
    smoother = np.linalg.solve(Z.T @ Z + eta * np.eye(K), Z.T)  # (K, N); Z is centred
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        noisy = Y + np.sqrt(noise / C) * rng.standard_normal((N, C))
        found.append(float(((Z @ (smoother @ noisy) - Y) ** 2).sum()))
    return {
        "probe": f"ridge {eta / N:g} N",
        "relation": side,
        "invariance": f"{gamma:.4g}",
        "labels": N,
        "error": float(np.mean(found)),
        "error_min": None,
        "error_max": None,
        "mean": float(np.mean(found)),
        "predicted": float(ridge_risk(h, energy, max(0.0, 1 - energy.sum()), ridge=eta, noise=noise, intercept=False)),
        "rank": int(np.count_nonzero(h > 0)),
        "standard_error": float(np.std(found, ddof=1) / np.sqrt(draws)),
        "gamma": gamma,
        "line": f"{side}, η = {eta / N:g} N",
        "slug": f"{side}.{eta / N:g}.{gamma:.4g}",
    }


def _judged(rows: list[dict[str, Any]], K: int, C: int, gammas: Array, etas: list[float]) -> tuple[Any, ...]:
    """Prediction, criteria and words of E5."""
    free = {name: {r["labels"]: r for r in rows if r["invariance"] == name} for name in ("weak", "strong")}
    error = {name: {m: r["error"] for m, r in found.items()} for name, found in free.items()}
    counts = sorted(error["weak"])
    peak = max(counts, key=lambda m: error["weak"][m])
    ends = max(error["weak"][counts[0]], error["weak"][counts[-1]])
    beyond = [m for m in counts if m >= 2 * (C - 1)]  # strong invariance too has its peak, at m = C - 1
    wins = [m for m in beyond if error["strong"][m] <= error["weak"][m]]
    strong_peak = max(counts, key=lambda m: error["strong"][m])
    far = [
        abs(np.log(r["error"] / r["predicted"]))
        for r in free["weak"].values()
        if r["predicted"] is not None and abs(r["labels"] - K) > K / 4
    ]
    ridge = [r for r in rows if r["probe"] != "least squares"]
    sure = max(abs(r["error"] - r["predicted"]) / max(r["standard_error"], SAME) for r in ridge)

    def best(side: str, eta: float) -> int:
        mine = [r["error"] for r in ridge if r["line"] == f"{side}, η = {eta:g} N"]
        return int(np.argmin(mine))

    places = {side: [best(side, eta) for eta in etas] for side in ("aligned", "misaligned")}
    said = (
        "without a ridge the error peaks where labels are as many as directions: m = K at weak invariance, m = C - 1 "
        "at strong, which leaves the class directions alone and wins from twice as many labels on; with a ridge the "
        "risk is the closed form's, and a small ridge leaves a stronger invariance best where the relation is aligned "
        "than where it is not."
    )
    return (
        said,
        [
            at_most("distance of the weak peak from m = K", abs(peak - K), 0),
            at_most("distance of the strong peak from m = C - 1", abs(strong_peak - (C - 1)), 0),
            at_least("peak over the larger end of the curve", error["weak"][K] / ends, 2),
            at_most("numbers of labels from 2 (C - 1) on at which weak invariance wins", len(beyond) - len(wins), 0),
            at_most("median factor to Gaussian rows, away from the peak", float(np.exp(np.median(far))), WITHIN),
            at_most("standard errors between ridge risk and formula", sure, SURE),
            at_least(
                f"grid points by which the best invariance at ridge {etas[0]:g} N is stronger where aligned",
                places["aligned"][0] - places["misaligned"][0],
                1,
            ),
        ],
        f"At m = {K} the median error is {times(error['weak'][K])} at weak and {times(error['strong'][K])} at strong "
        f"invariance.",
    )


def _label_rows(
    rows: list[dict[str, Any]], gammas: Array, captured: dict[str, tuple[int, float]]
) -> list[dict[str, Any]]:
    """Measured and predicted as lines, for figures alone. captured: rank and label energy of each invariance."""
    found: list[dict[str, Any]] = []
    counts = [row["labels"] for row in rows if row["probe"] == "least squares"]
    for row in rows:
        least = row["probe"] == "least squares"
        place = {"labels": row["labels"]} if least else {"strength": row["gamma"] / float(gammas[-1]) * STRONGEST}
        where = {"figure": "labels" if least else "ridge", "panel": row["line"]} | place
        band = {key: row[key] for key in ("error_min", "error_max")} if least else {}
        found.append({**where, "line": "measured", "shown": row["error"], **band})
        if not least:
            found.append({**where, "line": "predicted", "shown": row["predicted"]})
    for panel, (r, c) in captured.items():
        for line, low, high in (
            ("predicted, m < rank", min(counts), r - NEAREST),
            ("predicted, m > rank", r + NEAREST, max(counts)),
        ):
            if low < high:
                found += [
                    {
                        "figure": "labels",
                        "panel": panel,
                        "line": line,
                        "labels": float(m),
                        "shown": gaussian_error(m, r, c),
                    }
                    for m in np.geomspace(low, high, 60)
                    if m >= min(counts)
                ]
    return found
