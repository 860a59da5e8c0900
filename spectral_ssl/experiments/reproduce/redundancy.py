"""E7: Barlow Twins by the redundancy lambda, the weight of the terms off the diagonal.

At lambda <= 1 (derived here, see methods/_barlow_qp.py) direction m of K unit columns is used for lambda above

    lambda_m = sum_{k < m} (1 - rho_k)(rho_k - rho_m) / rho_k^2 / (K - m + rho_m sum_{k <= m} 1 / rho_k)

which for K >> m is a constant over K: the ranks of different K fall together against lambda K.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.embedding import Array
from spectral_ssl.experiments.frame import check_list, check_seeds, excess_of, experiment, repeats, times
from spectral_ssl.experiments.regimes import solved
from spectral_ssl.experiments.reproduce.outcome import at_most, conclude, fitted
from spectral_ssl.experiments.setting import load_data, make_setting, subsample
from spectral_ssl.graph import Graph
from spectral_ssl.methods import BarlowTwins
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra

__all__ = ["programme_spectrum", "redundancy_sweep", "thresholds"]

ZERO = 1e-9  # an eigenvalue of the pencil below this is zero
USED = 1e-3  # an eigenvalue of C below this share of the largest is of a direction that has died
CLEAR = 0.05  # of log lambda, from the next threshold: nearer to it training needs more evaluations than it is given
GAP = 1e-5  # of the way to collapse, between training and the programme
SPECTRUM = 5e-3  # of an eigenvalue of C: at K = 4 and lambda < 1 the minimum is flat, and a gap of 1e-7 leaves 1e-3


def thresholds(rho: Array, K: int) -> Array:
    """lambda_m (q,) of the module docstring, from rho (R,) descending; lambda_1 = 0."""
    rho = rho[:K][rho[:K] > ZERO]
    u, m = 1 / rho, np.arange(1, rho.size + 1)
    above = np.array([((1 - rho[:k]) * (rho[:k] - rho[k]) * u[:k] ** 2).sum() for k in range(rho.size)])
    found: Array = above / (K - m + rho * np.cumsum(u))
    return found


def redundancy_sweep(
    *,
    data: str = "digits",
    relation: str = "knn",
    n_samples: int = 400,
    dimensions: Sequence[int] = (2, 4, 8, 16),
    redundancies: Sequence[float] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    seeds: int = 2,
    max_iter: int = 800,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E7: Barlow Twins' redundancy weight. Its optimum collapses at small lambda K.

    Args:
        data: A data set by name, or a file.
        relation: The positive pairs.
        n_samples: Rows drawn of it.
        dimensions: Dimensions K of the embeddings; a Hadamard matrix exists for 1, 2, 4, 8, 12, 16.
        redundancies: Weights lambda of the terms off the diagonal.
        seeds: Starts of the training, of which the lowest loss counts: what is left of it is a local minimum's.
        max_iter: Evaluations of the loss of one run.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the rows, and the first of the starts.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    Ks = check_list(dimensions, "dimensions", 1)
    lambdas, several = check_list(redundancies, "redundancies", 0.0, strict=True), check_seeds(seeds, seed)
    setting = subsample(make_setting(load_data(data), relation, test_size=0.0, seed=seed), n_samples, seed)
    spectra = Spectra(setting.graph, X=setting.data.X)
    rho = spectra.of("degree_centred", max(Ks)).values
    with experiment(
        "E7",
        config,
        question="What does Barlow Twins' redundancy weight do to its optimum?",
        zero_line="the closed form, or its bound",
        steps=len(Ks) * len(lambdas),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        for K in Ks:
            at = thresholds(rho, K)
            for lam in lambdas:
                best = solved(BarlowTwins(redundancy=lam), spectra, K)
                runs = [fitted(best.method, spectra, K, seed=s, max_iter=max_iter, tol=1e-9) for s in several]
                run = min(runs, key=lambda run: run.loss)
                c = _correlations(run.embedding.Z, setting.graph)
                rank = int(np.count_nonzero(c > USED * c[0]))
                row = {
                    "components": K,
                    "redundancy": lam,
                    "product": lam * K,
                    "rank": best.rank,
                    "predicted": max(1, int(np.count_nonzero(at < lam))) if lam <= 1 else None,
                    "trained": rank,
                    "gap": excess_of(run.embedding.Z, best.method, setting.graph, best),
                    "kind": best.kind,
                    "margin": float(np.abs(np.log(lam / at[1:])).min()) if at.size > 1 else np.inf,
                    "loss": best.loss,
                    "slug": f"{K}.{lam:g}",
                }
                report.add(row, trained=c, closed_form=_correlations(best.embedding.Z, setting.graph))
                report.task.advance(text=f"K = {K}, lambda = {lam:g}")
        rows = list(report.payload["rows"])
        judged = [row for row in rows if row["predicted"] is not None]
        clear = [row for row in judged if row["margin"] > CLEAR]
        second = {K: float(thresholds(rho, K)[1]) for K in Ks if K > 2 and thresholds(rho, K).size > 1}
        apart = max(second.values()) / min(second.values()) if second else np.nan
        scaled = [K * lam for K, lam in second.items()]
        together = max(scaled) / min(scaled) if second else np.nan
        error = max(
            float(np.abs(report.arrays[f"{r['slug']}/trained"] - report.arrays[f"{r['slug']}/closed_form"]).max())
            for r in rows
            if r["kind"] == "exact"
        )
        conclude(
            report,
            "lambda_m grows with m, so that the rank falls with lambda; against lambda K the ranks of all K "
            "fall together; and trained correlations have the spectrum of the quadratic programme.",
            [
                at_most("ranks off the thresholds", sum(row["rank"] != row["predicted"] for row in judged), 0),
                at_most("trained ranks off the thresholds", sum(r["trained"] != r["predicted"] for r in clear), 0),
                at_most("largest loss gap, where exact", max(r["gap"] for r in rows if r["kind"] == "exact"), GAP),
                at_most("largest error of a trained eigenvalue of C there", error, SPECTRUM),
                at_most("lambda_2 K over the K above 2: largest over smallest", together, 1 + 0.5 * (apart - 1)),
                at_most("least rank of the sweep", min(row["rank"] for row in rows), 1),
            ],
            f"Without the factor K the lambda_2 differ by a factor of {times(apart)}.",
        )
        report.payload["rows"] += _sweep_rows(rows, report.arrays, rho, Ks, lambdas)
        left = next(row["trained"] for row in rows if row["components"] == Ks[-1] and row["redundancy"] == lambdas[0])
        report.payload["setting"] = "linear maps" + repeats(several, "the lowest of")
        shared = {
            "y": "shown",
            "by": "line",
            "theory": ["predicted"],
            "xscale": "log",
            "yscale": "linear",
        }
        report.payload["curves"] = [
            {
                **shared,
                "name": "spectrum",
                "title": "Barlow Twins' correlations follow the quadratic programme, and die from the last at small λ",
                "x": "redundancy",
                "panel": "panel",
                "where": {"figure": "spectrum"},
                "xlabel": "redundancy λ",
                "ylabel": "eigenvalue c_k of C",
                "caption": f"K = {Ks[-1]}; predicted for λ ≤ 1",
            },
            {
                **shared,
                "name": "rank",
                "title": f"The rank falls with λ: at λ = {lambdas[0]:g} {left} of K = {Ks[-1]} directions are left",
                "x": "redundancy",
                "panel": "panel",
                "where": {"figure": "rank"},
                "xlabel": "redundancy λ",
                "ylabel": "rank of C",
            },
            {
                **shared,
                "name": "collapse",
                "title": "Against λK the curves of all K fall together: collapse is a matter of λK",
                "x": "product",
                "by": "dimension",
                "theory": [f"K = {K}" for K in Ks],
                "where": {"figure": "collapse"},
                "xlabel": "redundancy times components, λK",
                "ylabel": "rank of C, predicted",
            },
        ]
    return report.payload


def _correlations(Z: Array, graph: Graph) -> Array:
    """Eigenvalues of C (K,), descending, by its definition: C_kl = z_k'A z_l / sqrt(z_k'Dz_k z_l'Dz_l), Hd-centred."""
    deg = graph.degree
    Z = Z - deg @ Z / graph.total_weight
    size = np.sqrt(deg @ Z**2)
    Z = Z / np.where(size > 0, size, 1.0)
    return linalg.eigh(Z.T @ graph.matmul(Z))[0][::-1]


def _sweep_rows(
    rows: list[dict[str, Any]], arrays: dict[str, Array], rho: Array, Ks: list[int], lambdas: list[float]
) -> list[dict[str, Any]]:
    """Spectra and ranks by lambda, predicted on a fine grid; for figures alone."""
    found: list[dict[str, Any]] = []
    fine = np.geomspace(lambdas[0], max(1.0, lambdas[0] * 10), 121)
    most = Ks[-1]
    for row in rows:
        K, lam = row["components"], row["redundancy"]
        found.append(
            {"figure": "rank", "panel": f"K = {K}", "line": "trained", "redundancy": lam, "shown": row["trained"]}
        )
        if most == K:
            c = arrays[f"{row['slug']}/trained"]
            found += [
                {
                    "figure": "spectrum",
                    "panel": f"k = {k}",
                    "line": "trained",
                    "redundancy": lam,
                    "shown": float(c[k - 1]),
                }
                for k in sorted({1, 2, 3, max(1, most // 4), max(1, most // 2), most})
                if k <= most
            ]
    for x in map(float, fine):
        for K in Ks:
            rank = max(1, int(np.count_nonzero(thresholds(rho, K) < x)))
            found.append({"figure": "rank", "panel": f"K = {K}", "line": "predicted", "redundancy": x, "shown": rank})
            found.append({"figure": "collapse", "dimension": f"K = {K}", "product": x * K, "shown": rank})
        c = programme_spectrum(rho, most, x)
        found += [
            {"figure": "spectrum", "panel": f"k = {k}", "line": "predicted", "redundancy": x, "shown": float(c[k - 1])}
            for k in sorted({1, 2, 3, max(1, most // 4), max(1, most // 2), most})
            if k <= most
        ]
    return found


def programme_spectrum(rho: Array, K: int, lam: float) -> Array:
    """c (K,), descending: min K (1 - cbar)^2 + lambda (sum c^2 - K cbar^2) over sum c / rho = K, c >= 0, lambda <= 1.

    With m the active set, u = 1 / rho, S1 = sum u, S2 = sum u^2, V = sum (u - S1/m)^2 over it: c_k = (K u_k + t (V - S1
    (u_k - S1/m))) / S2, t = K (lambda S1 + sum u (u - 1)) / (lambda K S2 + (1 - lambda) m V).
    """
    m = max(1, int(np.count_nonzero(thresholds(rho, K) < lam)))
    u = 1 / rho[:m]
    S1, S2 = float(u.sum()), float((u**2).sum())
    V = float(((u - S1 / m) ** 2).sum())
    t = K * (lam * S1 + float((u * (u - 1)).sum())) / (lam * K * S2 + (1 - lam) * m * V)
    c = np.zeros(K)
    c[:m] = (K * u + t * (V - S1 * (u - S1 / m))) / S2
    return c
