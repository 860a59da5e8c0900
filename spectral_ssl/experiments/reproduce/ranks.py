"""E3: which ranks the losses leave, on label pairs of which ever more are led astray.

With n_+ the number of positive eigenvalues of A (Sylvester: the same for A and for D^-1/2 A D^-1/2), rho_k those of the
centred D^-1/2 A D^-1/2 and m_k the critical values of VICReg:

    Frobenius SimCLR, spectral contrastive, unnormalised Barlow Twins    min(K, n_+)
    Barlow Twins, lambda = 1    the largest m <= K with rho_m > max(0, nu_m),  nu_m = (sum 1/rho_k - K) / sum 1/rho_k^2
    VICReg                      #{k <= K : gamma m_k < alpha}, any rank from the components' number to K

sums over k <= m.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import check_list, experiment
from spectral_ssl.experiments.regimes import solved
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude, fitted
from spectral_ssl.experiments.reproduce.pairs import label_setting
from spectral_ssl.graph import Graph
from spectral_ssl.methods import BarlowTwins, FrobeniusSimCLR, SpectralContrastive, VICReg
from spectral_ssl.methods.base import Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.relations import corrupt, labels
from spectral_ssl.spectrum import Spectra

__all__ = ["active_set", "positive_count", "rank_by_method"]

ZERO = 1e-9  # an eigenvalue of A below this share of the largest is zero: the rounding of a dense problem is 1e-14
USED = 1e-6  # a trained energy below this share of the largest is of a direction that has died
CLEAR = 1e-3  # margin to the next rank, below which training needs more evaluations than it is given


def positive_count(values: Array) -> int:
    """n_+ of eigenvalues."""
    return int(np.count_nonzero(values > ZERO * np.abs(values).max(initial=1e-300)))


def active_set(rho: Array, K: int) -> int:
    """The rank of Barlow Twins at lambda = 1, from rho (R,) descending."""
    u = 1 / rho[:K][rho[:K] > ZERO]
    nu = (np.cumsum(u) - K) / np.cumsum(u**2)
    used = np.flatnonzero(nu * u < 1)
    return int(used[-1]) + 1 if used.size else 0


def used_directions(Z: Array, *, centred: bool) -> int:
    """The numerical rank of a trained embedding, by energies."""
    s = linalg.svd(Z - Z.mean(axis=0) if centred else Z)[1] ** 2
    return int(np.count_nonzero(s > USED * s[0])) if s.size and s[0] > 0 else 0


def rank_by_method(
    *,
    data: str = "digits",
    n_samples: int = 200,
    n_components: int = 32,
    noise: Sequence[float] = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1),
    trained_at: Sequence[float] = (0, 0.01, 0.3),
    invariances: Sequence[float] = (0.3, 1, 1.5),
    max_iter: int = 600,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E3: ranks on label pairs of which ever more are led astray. Contrastive losses follow n_+, VICReg its invariance.

    Args:
        data: A data set with classes, by name, or a file.
        n_samples: Rows drawn of it.
        n_components: Dimension K of the embeddings.
        noise: Shares q of the pairs rewired.
        trained_at: Of these shares, where the losses are trained too.
        invariances: VICReg's, in units of alpha / mean degree.
        max_iter: Evaluations of the loss of one run.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the rows, the noise and the training.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    shares = check_list([*noise, *trained_at], "noise", 0.0)
    if shares[-1] > 1:
        raise DataError(f"noise must be shares of the pairs, 0 to 1, got {shares[-1]:g}")
    strengths, K = check_list(invariances, "invariances", 0.0, strict=True), n_components
    setting = label_setting(data, n_samples, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # isolated samples show in the ranks
        plain = labels(setting.data, weighting="none", diagonal=False)
    clean = Graph.from_adjacency(plain.to_csr())  # edges, so that each pair goes astray alone
    setting = dataclasses.replace(setting, graph=clean, relation="labels(weighting=none, diagonal=off)", rebuild=None)
    methods: dict[str, Method] = {
        "frobenius_simclr": FrobeniusSimCLR(),
        "spectral_contrastive": SpectralContrastive(),
        "barlow_twins, unnormalised": BarlowTwins(normalized=False),
        "barlow_twins": BarlowTwins(),
    }
    panels = [*methods, *(f"vicreg, γ = {g:g} α / d" for g in strengths)]
    with experiment(
        "E3",
        config,
        question="What rank do the losses leave, as a label relation gets noisier?",
        zero_line="collapsed",
        steps=len(shares) * len(panels),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        for q in shares:
            graph = corrupt(clean, q, seed=seed)
            spectra, d = Spectra(graph), float(graph.degree.mean())
            A = graph.to_csr().toarray()
            found = _eigenvalues(A)
            here = dict(methods)
            here |= {f"vicreg, γ = {g:g} α / d": VICReg(invariance=g / d) for g in strengths}
            for name, method in here.items():
                predicted, margin = _predicted_rank(method, found, K)
                best = solved(method, spectra, K)
                trained = None
                if q in trained_at:
                    run = fitted(best.method, spectra, K, seed=seed, max_iter=max_iter, tol=1e-8)
                    trained = used_directions(run.embedding.Z, centred=best.method.centred is not None)
                row = {
                    "method": name,
                    "noise": q,
                    "rank": best.rank,
                    "predicted": predicted,
                    "trained": trained,
                    "positive": positive_count(found["adjacency"]),
                    "positive_off_constant": positive_count(found["degree_centred"]),
                    "margin": margin,
                    "loss": best.loss,
                    "slug": f"{panels.index(name)}.{q:g}",
                }
                report.add(row)
                report.task.advance(text=f"{name}, q = {q:g}")
        rows = list(report.payload["rows"])
        followers = [row for row in rows if not row["method"].startswith("vicreg")]
        vicreg = [row for row in rows if row["method"].startswith("vicreg")]
        tunable = max(
            max(r["rank"] for r in vicreg if r["noise"] == q) - min(r["rank"] for r in vicreg if r["noise"] == q)
            for q in shares
        )
        above = max(row["rank"] - row["positive"] for row in followers)
        ran = [row for row in rows if row["trained"] is not None and row["margin"] > CLEAR]
        conclude(
            report,
            "Frobenius SimCLR, spectral contrastive and Barlow Twins have at most as many directions as A has positive "
            "eigenvalues, min(K, n_+) but for Barlow Twins' active set, while VICReg's rank is set by its invariance.",
            [
                at_most("ranks off the prediction", sum(row["rank"] != row["predicted"] for row in rows), 0),
                at_most("largest rank above n_+ of a loss that follows it", above, 0),
                at_most("trained ranks off the prediction", sum(r["trained"] != r["predicted"] for r in ran), 0),
                at_least("largest range of VICReg's rank over invariances on one relation", tunable, 2),
            ],
            f"n_+ grows from {rows[0]['positive']} with no pair astray to {rows[-1]['positive']} with all of them. "
            f"Trained: {len(ran)} runs.",
        )
        report.payload["rows"] += [
            {"figure": "ranks", "panel": row["method"], "noise": row["noise"], "line": line, "shown": row[key]}
            for row in rows
            for line, key in (("closed form", "rank"), ("predicted", "predicted"))
            if row["noise"] > 0
        ]
        report.payload["setting"] = f"K = {K}"
        shared = {
            "x": "noise",
            "y": "shown",
            "by": "line",
            "panel": "panel",
            "theory": ["predicted"],
            "xlabel": "share q of label pairs rewired",
            "ylabel": "rank of Z",
            "xscale": "log",
            "yscale": "linear",
            "zero": 0.0,
        }
        n = len(methods)
        report.payload["curves"] = [
            {
                **shared,
                "name": "followers",
                "title": f"Contrastive losses and Barlow Twins follow n₊: rank {rows[0]['rank']} to "
                f"{max(row['rank'] for row in followers)} of K = {K} as noise comes in",
                "where": {"figure": "ranks", "panel": panels[:n]},
            },
            {
                **shared,
                "name": "vicreg",
                "title": "VICReg's rank is set by its invariance, whatever the sign of the eigenvalues",
                "where": {"figure": "ranks", "panel": panels[n:]},
                "caption": "d: mean degree",
            },
        ]
    return report.payload


def _eigenvalues(A: Array) -> dict[str, Array]:
    """Of A and of the centred D^-1/2 A D^-1/2, descending, and of L off the constant, ascending: dense."""
    deg = A.sum(axis=1)
    root = np.divide(1.0, np.sqrt(deg), out=np.zeros_like(deg), where=deg > 0)
    normalised = root[:, None] * A * root
    constant = np.sqrt(deg / deg.sum())
    one = np.full(deg.size, deg.size**-0.5)
    shift = 3 * float(deg.max())  # lifts the constant above the rest of L
    return {
        "adjacency": linalg.eigh(A)[0][::-1],
        # 1 is the eigenvalue of the constant; without it there is a zero, neither positive nor counted
        "degree_centred": linalg.eigh(normalised - np.outer(constant, constant))[0][::-1],
        "laplacian": linalg.eigh(np.diag(deg) - A + shift * np.outer(one, one))[0][:-1],
    }


def _predicted_rank(method: Method, found: dict[str, Array], K: int) -> tuple[int, float]:
    """The rank by the module's formulas, and how far the next eigenvalue is from changing it."""
    if isinstance(method, VICReg):
        left = 1 - method._gamma * found["laplacian"][:K]
        return int(np.count_nonzero(left > 0)), float(np.abs(left).min())
    if isinstance(method, BarlowTwins) and method.normalized:
        rho = found["degree_centred"]
        return active_set(rho, K), _active_margin(rho, K)
    values = found["adjacency"]
    near = np.abs(values[: min(K, positive_count(values)) + 1]) / np.abs(values).max()
    return min(K, positive_count(values)), float(near.min())


def _active_margin(rho: Array, K: int) -> float:
    u = 1 / rho[:K][rho[:K] > ZERO]
    nu = (np.cumsum(u) - K) / np.cumsum(u**2)
    return float(np.abs(1 - nu * u).min())
