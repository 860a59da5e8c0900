"""E2: VICReg's whole path from one factorisation, and Frobenius SimCLR as one point of it.

Formulas, with m_k = (N - ddof) mu_k / N of the eigenvalues mu_1 <= mu_2 <= ... of L off the constant:

    energy of direction k in VICReg's optimum     t_k(gamma) = max(0, 1 - gamma m_k / alpha)      straight in gamma
    its rank                                      #{k <= K : m_k < alpha / gamma}                 a staircase
    on a d-regular graph, at gamma = alpha / d    t_k = max(0, a_k / d), a_k the eigenvalues of A  Frobenius SimCLR

The last line makes contrastive learning a point of VICReg's path: L = dI - A turns 1 - (d - a_k) / d into a_k / d, so
that the directions with a_k <= 0, which no Frobenius SimCLR has, are those that die before gamma = alpha / d.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import (
    experiment,
    times,
)
from spectral_ssl.experiments.regimes import covariance_spectrum, solved
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude, drawn, fitted
from spectral_ssl.experiments.setting import make_setting
from spectral_ssl.graph import Graph
from spectral_ssl.methods import FrobeniusSimCLR, VICReg
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra

__all__ = ["gamma_path", "path_ranks", "path_shares", "regular_graph"]

SHARE_LIMIT = 1e-4  # of an energy in [0, 1]: trained to a gradient of 2e-8 over curvatures gamma m_k down to 1e-3
DEAD = SHARE_LIMIT  # an energy below what training is good for is that of a direction that has died
DATA = "gaussian_mixture(n_samples=256, n_classes=8, n_features=40)"  # enough features for K = 32


def path_shares(m: Array, gamma: float, alpha: float = 1.0) -> Array:
    """t_k(gamma) (K,) of the critical values m (K,)."""
    return np.maximum(0.0, 1 - gamma * m / alpha)


def path_ranks(m: Array, gamma: float, alpha: float = 1.0) -> int:
    """#{k <= K : m_k < alpha / gamma} of the critical values m (K,)."""
    return int(np.count_nonzero(gamma * m < alpha))


def regular_graph(
    n_samples: int, n_originals: int, *, permutations: int = 4, share: float = 0.05, seed: int = 0
) -> Graph:
    """A graph with every degree 1 and about n_originals positive eigenvalues: views of originals, and a few strays.

    (1 - share) V + share R: V pairs the n_samples / n_originals views of each original, without the diagonal, so that
    its eigenvalues are 1 (once per original) and -1 / (views - 1); R = sum_p (P_p + P_p') / (2 permutations) over
    random permutations P_p parts the eigenvalues and leaves the degrees alone. Raises DataError where the originals
    have not equally many views, at least 2 each.
    """
    views, left = divmod(n_samples, n_originals)
    if left or views < 2:
        raise DataError(
            f"{n_samples} samples are not equally many views, at least 2, of {n_originals} originals; choose "
            f"n_originals among the divisors of n_samples, up to {n_samples // 2}"
        )
    codes = np.repeat(np.arange(n_originals), views)
    V = Graph.from_groups(codes, weight=np.full(n_originals, (1 - share) / (views - 1)), diagonal=False)
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(n_samples), permutations)
    columns = np.concatenate([rng.permutation(n_samples) for _ in range(permutations)])
    # from_pairs counts a pair i = j once, where P + P' has it twice
    weight = np.where(rows == columns, 2.0, 1.0) * share / (2 * permutations)
    return V.plus(Graph.from_pairs(rows, columns, n_samples, weight))


def gamma_path(
    *,
    data: str = DATA,
    relation: str = "knn(n_neighbors=8)",
    n_components: int = 32,
    n_originals: int = 16,
    points: int = 12,
    max_iter: int = 4000,
    tol: float = 2e-8,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E2: VICReg's invariance path. Straight lines, a staircase of ranks, and Frobenius SimCLR as one point of it.

    Args:
        data: A data set, drawn with the seed where it is random.
        relation: The positive pairs, of any degrees.
        n_components: Dimension K of the embeddings, at most the number of features.
        n_originals: Of a second, regular relation on as many samples, where Frobenius SimCLR is a point of the path;
            a divisor of their number.
        points: Invariances trained at, from 1e-3 to 10 times alpha / m_K.
        max_iter: Evaluations of the loss of one run.
        tol: Largest gradient entry at which training stops.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the data, the regular relation and the training.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    if points < 3:
        raise DataError(f"points must be at least 3, the ends of the path and one between, got {points}")
    K = n_components
    setting = make_setting(drawn(data, seed), relation, test_size=0.0, seed=seed)
    regular = regular_graph(setting.graph.n_samples, n_originals, seed=seed)
    sides = {
        "over all embeddings": Spectra(setting.graph),
        "over linear maps": Spectra(setting.graph, X=setting.data.X),
        "regular": Spectra(regular),
    }
    with experiment(
        "E2",
        config,
        question="How does VICReg's optimum change with its invariance, and where is SimCLR on that path?",
        zero_line="no direction left",
        steps=2 * points + len(_regular_strengths(points)),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        for side, spectra in sides.items():
            m = VICReg().critical_values(spectra.of("laplacian", K))[:K]
            # a regular graph has degree 1 here: gamma = alpha / d is 1
            unit = 1.0 if side == "regular" else 1 / float(m[-1])
            strengths = _regular_strengths(points) if side == "regular" else _strengths(m, points)
            for strength in strengths:
                gamma = strength * unit
                run = fitted(VICReg(invariance=gamma), spectra, K, seed=seed, max_iter=max_iter, tol=tol)
                energy = covariance_spectrum(run.embedding.Z)
                predicted = path_shares(m, gamma)
                row = {
                    "relation": side,
                    "strength": strength,
                    "error": float(np.abs(energy - predicted).max()),
                    "rank": int(np.count_nonzero(energy > DEAD)),
                    "rank_predicted": path_ranks(m, gamma),
                    "rank_closed_form": solved(VICReg(invariance=gamma), spectra, K).rank,
                    "invariance": gamma,
                    "least_margin": float(np.abs(1 - gamma * m).min()),
                    "slug": f"{side.split()[-1]}.{strength:.4g}",
                }
                report.add(row, energy=energy, predicted=predicted)
                report.task.advance(text=f"{side}, {strength:.2g}")
        rows = list(report.payload["rows"])
        point = _frobenius_point(regular, K, seed=seed, max_iter=max_iter, tol=tol)
        judged = [row for row in rows if row["least_margin"] > 2 * SHARE_LIMIT]  # elsewhere a direction is about to die
        wrong = sum(not row["rank"] == row["rank_predicted"] == row["rank_closed_form"] for row in judged)
        error = max(row["error"] for row in rows)
        conclude(
            report,
            "every energy t_k falls on a straight line in gamma and dies at alpha / m_k, the rank is the number of m_k "
            "below alpha / gamma, and on a regular graph gamma = alpha / d is Frobenius SimCLR, with its rank.",
            [
                at_most("largest |trained energy - t_k|", error, SHARE_LIMIT),
                at_most("ranks off the staircase", wrong, 0),
                at_most("largest |energy of Frobenius SimCLR / d - t_k(alpha / d)|", point["error"], SHARE_LIMIT),
                at_most("difference of their ranks", abs(point["rank"] - point["rank_predicted"]), 0),
                at_least("ranks along the path", len({row["rank"] for row in rows}), 3),
            ],
            f"On the regular graph VICReg has rank {max(r['rank'] for r in rows if r['relation'] == 'regular')} at "
            f"weak invariance and {point['rank']} at alpha / d, the number of positive eigenvalues off the constant.",
        )
        report.payload["rows"] += _path_rows(rows, report.arrays, sides, K)
        report.payload["setting"] = f"K = {K}"
        shared = {"by": "line", "theory": ["predicted"], "yscale": "linear"}
        report.payload["curves"] = [
            {
                **shared,
                "name": "lines",
                "title": f"VICReg's energies are straight lines in its invariance (trained to within {times(error)})",
                "x": "strength",
                "y": "share",
                "panel": "panel",
                "where": {"figure": "lines"},
                "xlabel": "invariance γ, in units of α / m_K",
                "ylabel": "energy t_k of direction k",
                "xscale": "linear",
                "caption": "over all embeddings; trained at the markers",
            },
            {
                **shared,
                "name": "ranks",
                "title": "The rank is a staircase: one step for every critical invariance α / m_k",
                "x": "strength",
                "y": "rank",
                "panel": "relation",
                "where": {"figure": "ranks"},
                "xlabel": "invariance γ, in units of α / m_K",
                "ylabel": "rank of HZ",
                "xscale": "log",
                "zero": 0.0,
            },
            {
                **shared,
                "name": "simclr",
                "title": f"Frobenius SimCLR is VICReg at γ = α/d: rank {point['rank']} there, more only below",
                "x": "strength",
                "y": "rank",
                "where": {"figure": "simclr"},
                "xlabel": "invariance γ, in units of α / d",
                "ylabel": "rank of HZ",
                "xscale": "log",
                "zero": 0.0,
                "said": {1.0: "Frobenius SimCLR"},
                "caption": f"a regular graph instead: views of {n_originals} originals and a few stray pairs",
            },
        ]
    return report.payload


def _strengths(m: Array, points: int) -> list[float]:
    """From 1e-3 to 10 times alpha / m_K, two thirds of them from half of that to past the death of the first."""
    m_first = max(float(m[0]), float(m[-1]) / 8)  # a disconnected graph has directions that never die
    near = np.linspace(0.5, 1.2 * float(m[-1]) / m_first, max(2, 2 * points // 3))
    far = np.geomspace(1e-3, 0.2, max(1, points - near.size - 1))
    return sorted({*map(float, near), *map(float, far), 10.0})


def _regular_strengths(points: int) -> list[float]:
    return sorted({*map(float, np.geomspace(0.1, 10, points)), *(0.85, 1.0)})


def _frobenius_point(graph: Graph, K: int, **options: Any) -> dict[str, Any]:
    """Trained Frobenius SimCLR, the constant projected out, against t_k(alpha / d) of the Laplacian, d = 1.

    The constant is an eigenvector of a regular graph, and takes one of the K + 1 dimensions that are trained.
    """
    m = VICReg().critical_values(Spectra(graph).of("laplacian", K))[:K]
    run = fitted(FrobeniusSimCLR(), Spectra(graph), K + 1, **options)
    Z = run.embedding.Z - run.embedding.Z.mean(axis=0)
    energy = linalg.svd(Z)[1][:K] ** 2
    return {
        "error": float(np.abs(energy - path_shares(m, 1.0)).max()),
        "rank": int(np.count_nonzero(energy > DEAD)),
        "rank_predicted": path_ranks(m, 1.0),
    }


def _path_rows(
    rows: list[dict[str, Any]], arrays: dict[str, Array], sides: dict[str, Spectra], K: int
) -> list[dict[str, Any]]:
    """Some of the lines, and the staircases, trained and predicted; for figures alone."""
    found: list[dict[str, Any]] = []
    shown = sorted({1, max(1, K // 8), max(1, K // 4), max(1, K // 2), max(1, 3 * K // 4), K})
    for side, spectra in sides.items():
        m = VICReg().critical_values(spectra.of("laplacian", K))[:K]
        mine = [row for row in rows if row["relation"] == side]
        unit = 1.0 if side == "regular" else 1 / float(m[-1])
        fine = np.geomspace(mine[0]["strength"], mine[-1]["strength"], 161)
        stairs = {"figure": "simclr" if side == "regular" else "ranks", "relation": side}
        found += [{**stairs, "line": "trained", "strength": r["strength"], "rank": r["rank"]} for r in mine]
        found += [{**stairs, "line": "predicted", "strength": float(x), "rank": path_ranks(m, x * unit)} for x in fine]
        if side != "over all embeddings":
            continue
        last = 1.25 * float(m[-1] / m[0])  # of the axis: just past the death of the first direction
        for k in shown:
            panel = {"figure": "lines", "panel": f"k = {k}"}
            found += [
                {
                    **panel,
                    "line": "trained",
                    "strength": r["strength"],
                    "share": float(arrays[f"{r['slug']}/energy"][k - 1]),
                }
                for r in mine
                if r["strength"] <= last
            ]
            found += [
                {
                    **panel,
                    "line": "predicted",
                    "strength": float(x),
                    "share": float(path_shares(m[k - 1 : k], x * unit)[0]),
                }
                for x in np.linspace(0, last, 61)
            ]
    return found
