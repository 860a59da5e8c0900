"""The rank of SimCLR's optimum against the temperature: statement C7 from one end to the other.

tau -> 0         the loss tends to the entropy bound, sum_i d_i H(P_i): all positives of a sample at one similarity,
                 the rest a margin below
tau -> infinity  f(S) = s log(N - 1) + <C, S> / tau + O(1 / tau^2): a MAXCUT-type problem over unit rows, with a
                 solution of rank r, r (r + 1) / 2 <= N
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.comparison import effective_rank
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import NotClosedForm
from spectral_ssl.experiments.frame import check_list, experiment, times
from spectral_ssl.experiments.infonce import (
    FLAT,
    RANK_SHARES,
    RELATIONS_SHOWN,
    least_loss,
    rank_is_fixed,
    similarities,
    view_relations,
)
from spectral_ssl.graph import Graph
from spectral_ssl.methods import InfoNCE, Method
from spectral_ssl.methods.base import as_embedding, tensor_graph
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectrum
from spectral_ssl.training import train

__all__ = ["hot_limit", "temperature_rank"]

NULL_SHARE = 1e-4  # of the largest eigenvalue: what counts as zero in a dual matrix known to 1e-6


@dataclass(frozen=True)
class HotLimit(Method):
    """<C, S> with S the cosines of Z, C_ij = (d_i + d_j) / (2 (N - 1)) - A_ij off the diagonal: the order 1 / tau of

        f(S) = s log(N - 1) + <C, S> / tau + O(1 / tau^2),

    which is what InfoNCE minimises as tau grows (C7): a MAXCUT-type problem over unit rows, not an eigenproblem.
    """

    pencil = "adjacency"
    whitens = "adjacency"
    centred = None

    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, Any]:
        Z = as_embedding(Z, graph)
        U = Z / Z.norm(dim=1, keepdim=True).clamp_min(1e-300)
        A = tensor_graph(graph, U)
        loops = A.degree.new_tensor(graph.diagonal)
        deg, total = A.degree - loops, U.sum(dim=0)
        # sum_{i != j} (d_i + d_j) / (2 (N - 1)) u_i'u_j, and the pairs of A
        spread = ((deg[:, None] * U).sum(dim=0) @ total - deg.sum()) / (graph.n_samples - 1)
        return {"alignment": loops.sum() - (U * A.matmul(U)).sum(), "uniformity": spread}

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        raise NotClosedForm("it is trained here, and certified by duality")

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """All rows equal: sum_ij C_ij = 0."""
        return 0.0


def hot_limit(graph: Graph, seed: int) -> tuple[Array, float, bool]:
    """S (N, N) of least <C, S>, psd with unit diagonal; the relative gap that duality leaves (C8); whether S is unique.

    With M = C - Diag(diag(C S)) psd, every solution is V X V', V the null space of M and X psd, with unit diagonal:
    S alone where diag(V X V') = 0 has no solution X but 0.
    """
    N = graph.n_samples
    A = graph.to_csr().toarray()
    np.fill_diagonal(A, 0.0)
    d = A.sum(axis=1)
    C = (d[:, None] + d) / (2 * (N - 1)) - A
    np.fill_diagonal(C, 0.0)
    Z = train(HotLimit(), graph, min(N - 1, 2 + math.isqrt(2 * N)), seed=seed).embedding.Z
    U = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    S = U @ U.T
    mu, V = linalg.eigh(C - np.diag((C * S).sum(axis=1)))
    V = V[:, mu < NULL_SHARE * mu[-1]]
    i, j = np.triu_indices(V.shape[1])
    unique = i.size <= N and linalg.rank(V[:, i] * V[:, j], rtol=NULL_SHARE) == i.size
    return S, -N * min(0.0, float(mu[0])) / abs(float((C * S).sum())), bool(unique)


def temperature_rank(
    *,
    data: str = "digits",
    n_originals: int = 60,
    n_neighbors: int = 10,
    relations: Sequence[str] = RELATIONS_SHOWN,
    temperatures: Sequence[float] = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0, 5.0, 10.0),
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """How many dimensions does SimCLR's optimum use? Rank of the certified optimum of cosine InfoNCE, per temperature.

    Over all embeddings of two views of some originals. The optimum is a matrix S of cosines: its rank is the number of
    eigenvalues above 1e-4 of the largest; the band spans what 1e-3 and 1e-5 would count.

    Args:
        data: A data set by name, or a file.
        n_originals: How many originals are drawn from it; each has two views.
        n_neighbors: Of the relation knn.
        relations: Among views, views+knn (half the weight each), knn and labels.
        temperatures: Temperatures tau.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the originals and the views.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    taus = check_list(temperatures, "temperatures", 0.0, strict=True)
    graphs = view_relations(data, n_originals, n_neighbors, relations, seed)
    N = 2 * n_originals
    with experiment(
        "temperature-rank",
        config,
        question="How many dimensions does the optimum of SimCLR's loss use, and what does the temperature do to it?",
        zero_line="the entropy bound, which no embedding beats",
        steps=len(graphs) * (len(taus) + 1),
        progress=progress,
    ) as report:
        limits: dict[str, int] = {}
        for name, graph in graphs.items():
            entropy, flat = InfoNCE(1.0, "dot").lower_bound(graph), InfoNCE().collapse_loss(graph, N)
            for tau in taus:
                method = InfoNCE(tau)
                best = least_loss(method, graph, N - 1)
                values = similarities(best.Z)
                above = (best.loss - entropy) / (flat - entropy)
                ranks: list[int | None] = [int((values > share * values[0]).sum()) for share in RANK_SHARES]
                if not rank_is_fixed(best, graph):
                    ranks = [None] * 3
                row = {
                    "relation": name,
                    "temperature": tau,
                    "rank": ranks[1],
                    "effective_rank": effective_rank(best.Z),
                    "gap": best.gap,
                    "rank_min": ranks[0],
                    "rank_max": ranks[2],
                    "above_entropy": above,
                    "kind": best.kind,
                    "loss": best.loss,
                    "lower_bound": best.lower_bound,
                }
                report.add({**row, "slug": f"{name}.{tau:g}"}, eigenvalues=values, Z=best.Z)
                report.task.advance(text=f"{name}, tau {tau:g}")
            S, gap, unique = hot_limit(graph, seed)
            values = linalg.eigh(S)[0]
            rank = int((values > RANK_SHARES[1] * values[-1]).sum())
            if unique:
                limits[name] = rank
            report.payload.setdefault("hot_limit", {})[name] = {"rank": rank, "gap": gap, "unique": unique}
            report.task.advance(text=f"{name}, tau -> infinity")
        rows = report.payload["rows"]
        gaps = [row["gap"] for row in rows if row["rank"] is not None]
        told = []
        for name in graphs:
            found = [row["rank"] for row in rows if row["relation"] == name and row["rank"] is not None]
            change = f"{found[0]}" if len(set(found)) == 1 else f"{found[0]} to {found[-1]}" if found else "open"
            told.append(f"{name} {change}" + (f" (limit {limits[name]})" if name in limits else ""))
        pataki = (math.isqrt(8 * N + 1) - 1) // 2
        report.payload["answer"] = (
            f"Rank of the optimum from temperature {taus[0]:g} to {taus[-1]:g}: {', '.join(told)}"
            + (f", certified to a relative gap of {times(max(gaps))}" if gaps else "")
            + f". Its limit as tau grows solves a MAXCUT-type problem, which has a solution of rank {pataki} or less."
        )
        report.payload["notes"] += [
            "tau -> 0: the loss tends to the entropy bound; the optimum puts all positives of a sample at one "
            "similarity and the rest a margin below, and what is left of the loss falls like exp(-margin / tau)",
            f"tau -> infinity: S minimises <C, S> over unit rows, C_ij = (d_i + d_j) / (2 (N - 1)) - A_ij (C7); such a "
            f"problem has a solution of rank r with r (r + 1) / 2 <= N, r <= {pataki} (Barvinok, Pataki)",
            "a relation without a limit in the figure: <C, S> is least on many S, and the next order decides",
            f"no rank where less than {FLAT:g} of the loss is left above the entropy bound: any rank has it",
        ]
        if "views" in graphs:
            report.payload["notes"].append(
                "views alone: balanced cliques, whose optimum is the regular simplex at every temperature (C1)"
            )
        report.payload["setting"] = f"{N} rows: two views of {n_originals} of {data}, all relations of equal weight"
        report.payload["curves"] = [
            {
                "name": "temperature-rank",
                "title": "How many dimensions SimCLR's optimum uses: its rank at every temperature",
                "x": "temperature",
                "y": "rank",
                "by": "relation",
                "xlabel": "temperature τ",
                "ylabel": "rank of the optimum S = ZZ'",
                "xscale": "log",
                "yscale": "log",
                "band": ["rank_min", "rank_max"],
                "ends": limits,
                "said": {0.5: "SimCLR's default"} if taus[0] < 0.5 < taus[-1] else {},
                "below": {"y": "gap", "ylabel": "certified gap\n(relative)", "yscale": "log"},
                "caption": "triangles: the limit τ → ∞; band: eigenvalues above 1e-3 to 1e-5 of the largest",
            },
            {
                "name": "effective-rank",
                "title": "Effective rank of the optimum of SimCLR's loss",
                "x": "temperature",
                "y": "effective_rank",
                "by": "relation",
                "xlabel": "temperature τ",
                "ylabel": "effective rank of Z",
                "xscale": "log",
                "yscale": "log",
            },
            {
                "name": "entropy",
                "title": "How near the optimum comes to the entropy bound, which it reaches as τ → 0",
                "x": "temperature",
                "y": "above_entropy",
                "by": "relation",
                "xlabel": "temperature τ",
                "ylabel": "least loss above the entropy bound\n(uniform similarities = 1)",
                "xscale": "log",
                "yscale": "linear",
                "zero": 0.0,
            },
        ]
    return report.payload
