"""What exact InfoNCE learns, next to what a spectral method would: statements C5, C6 and C8, measured.

The optimum over all embeddings is taken from `spectral_ssl.optimum`: kind "certified" means that the loss given is
proven to be within the gap of the least over all embeddings, of any dimension.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data import Dataset, augment
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import DataError, NotClosedForm
from spectral_ssl.experiments.frame import check_list, experiment, largest_sine, order_of, reach, times
from spectral_ssl.experiments.regimes import solved
from spectral_ssl.experiments.setting import load_data
from spectral_ssl.graph import Graph
from spectral_ssl.methods import FrobeniusSimCLR, InfoNCE, Method
from spectral_ssl.methods.base import as_embedding, tensor_graph
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.relations import knn, labels, mix, views
from spectral_ssl.spectrum import Spectrum
from spectral_ssl.training import train

__all__ = ["frobenius_warm_start", "linearisation", "price_of_dimension"]

RELATIONS_SHOWN = ("views", "views+knn", "knn", "labels")
RANK_SHARES = (1e-3, 1e-4, 1e-5)  # of the largest eigenvalue of S: what counts as a direction, loosest first
FLAT = 1e-5  # of the way from the entropy bound to uniform similarities: less than this left, and any rank will do


# ------------------------------------------------------------------------------------------------------ linearisation


@dataclass(frozen=True)
class DotProducts(Method):
    """-sum_ij A_ij log softmax_j(z_i'z_j) less its value at Z = 0, with self-pairs, as in C5."""

    pencil = "adjacency"
    whitens = "adjacency"
    centred = None

    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, Any]:
        Z = as_embedding(Z, graph)
        A, S = tensor_graph(graph, Z), Z @ Z.T
        # log of the mean of e^s by differences from 1: S is small here, and the loss of the order of its square
        return {"alignment": -(Z * A.matmul(Z)).sum(), "uniformity": (A.degree * S.expm1().mean(dim=1).log1p()).sum()}

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        raise NotClosedForm("it is trained here, and compared with the optimum of its linearisation")

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        """0: Z = 0."""
        return 0.0


def linearisation(
    *,
    n_samples: int = 12,
    n_components: int = 2,
    epsilons: Sequence[float] = (0.4, 0.2, 0.1, 0.05, 0.025),
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Is InfoNCE a spectral method near a uniform relation? A = 1 + eps R, R random, eps halved again and again (C5).

    Three cases: dot products with self-pairs, where the rows of R sum to zero (a regular relation) and where they do
    not, and SimCLR's own loss (cosines, no self-pairs) on the regular one, in K + 1 dimensions, since its rows gather
    at one point of the sphere and spread in its tangent space. The prediction is the top of HRH, H = I - 11'/N: only
    directions of positive eigenvalues are ever learned, and K may not exceed their number.

    Args:
        n_samples: Samples of the relation.
        n_components: Dimension K of the embeddings.
        epsilons: Sizes of the departure from a uniform relation, below 1.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of R and of training.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    steps = check_list(epsilons, "epsilons", 0.0, strict=True)[::-1]
    if steps[0] >= 1:
        raise DataError(f"epsilons must be below 1, or a pair has no positive weight, got {steps[0]}")
    if n_samples < 4 or not 1 <= n_components < n_samples - 1:
        raise DataError(
            f"n_samples must be at least 4 and n_components from 1 to n_samples - 2, got {n_samples} and {n_components}"
        )
    dot, cosine = DotProducts(), InfoNCE(1.0)
    cases: dict[str, tuple[Method, bool]] = {
        "regular, dot products": (dot, True),
        "irregular, dot products": (dot, False),
        "regular, cosines (SimCLR)": (cosine, True),
    }
    H = np.eye(n_samples) - 1 / n_samples
    relations = {regular: _near_uniform(n_samples, regular, seed) for regular in (True, False)}
    spectra = {regular: linalg.eigh(H @ R @ H) for regular, R in relations.items()}
    learned = min(int((values > 1e-9 * values[-1]).sum()) for values, _ in spectra.values())
    if n_components > learned:
        raise DataError(
            f"n_components must be at most {learned}, got {n_components}: HRH has no more eigenvalues above 0 here, "
            "and no method learns the other directions; take more n_samples (about half of them are above 0)"
        )
    with experiment(
        "linearisation",
        config,
        question="Does InfoNCE learn the spectral subspace of a relation that is nearly uniform?",
        zero_line="the top eigenvectors of HRH, which a spectral method finds",
        steps=len(cases) * len(steps),
        progress=progress,
    ) as report:
        sines: dict[str, list[float]] = {}
        for name, (method, regular) in cases.items():
            R, top = relations[regular], spectra[regular][1][:, ::-1][:, :n_components]
            for eps in steps:
                graph = Graph.from_adjacency(1 + eps * R)
                wider = n_components + (method is cosine)
                scale = None if method is cosine else math.sqrt(eps)
                run = train(method, graph, wider, seed=seed, init_scale=scale, tol=1e-10)
                Z = run.embedding.Z
                sine = largest_sine(H @ Z, top) or 0.0
                sines.setdefault(name, []).append(sine)
                row = {"case": name, "eps": eps, "sine": sine, "size": float((Z**2).sum()), "converged": run.converged}
                report.add({**row, "slug": f"{name}.{eps:g}"}, Z=Z, R=R)
                report.task.advance(text=f"{name}, eps {eps:g}")
        slopes = {name: order_of(steps, found) for name, found in sines.items()}
        report.payload["slopes"] = slopes
        told = [f"{name}: {_vanishes(slopes[name], found[-1])}" for name, found in sines.items()]
        report.payload["answer"] = f"By the sine of the largest angle at eps = {steps[-1]:g}. {'; '.join(told)}."
        report.payload["setting"] = f"A = 1 + εR, N = {n_samples}, K = {n_components}, temperature 1"
        report.payload["curves"] = [
            {
                "name": "linearisation",
                "title": "Is InfoNCE spectral near a uniform relation? Where the angle falls with ε, yes",
                "x": "eps",
                "y": "sine",
                "by": "case",
                "xlabel": "ε, departure from the uniform relation",
                "ylabel": "sine of the largest angle\nto the spectral subspace",
                "xscale": "log",
                "yscale": "log",
                "zero": 0.0,
            }
        ]
    return report.payload


def _near_uniform(N: int, regular: bool, seed: int) -> Array:
    """R symmetric with zero diagonal and largest entry 1; its rows sum to zero where regular.

    Zero diagonal: the loss without self-pairs must not be asked for what it cannot see. R_ij - a_i - a_j off the
    diagonal has row sums r_i - (N - 2) a_i - sum a, zero for a_i = (r_i - sum r / (2 (N - 1))) / (N - 2).
    """
    R = np.random.default_rng(seed).uniform(-1, 1, (N, N))
    R = (R + R.T) / 2
    np.fill_diagonal(R, 0.0)
    if regular:
        r = R.sum(axis=1)
        a = (r - r.sum() / (2 * (N - 1))) / (N - 2)
        R = R - a[:, None] - a
        np.fill_diagonal(R, 0.0)
    out: Array = R / np.abs(R).max()
    return out


def _vanishes(slope: float | None, sine: float) -> str:
    """yes where the sine vanishes with eps (C5: like eps itself) and has come below one half."""
    if slope is None:
        return f"{times(sine)}, too few eps for an order"
    return f"{'yes' if slope > 0.5 and sine < 0.5 else 'no'}, {times(sine)}, going like eps^{round(slope, 2) + 0.0:g}"


# -------------------------------------------------------------------------------------------------- digits, relations


def view_relations(data: str, n_originals: int, n_neighbors: int, names: Sequence[str], seed: int) -> dict[str, Graph]:
    """Relations over two views each of some originals, all of one total weight.

    views: the two views of an original. views+knn: half the weight each, so that positives overlap. labels: of a class.
    """
    known = dict.fromkeys(RELATIONS_SHOWN)
    for name in names:
        if name not in known:
            raise DataError(f"relation {name!r} is not known here; choose among {', '.join(RELATIONS_SHOWN)}")
    whole = load_data(data)
    if not 4 <= n_originals <= whole.n_samples:
        raise DataError(f"n_originals must be from 4 to the {whole.n_samples} of {whole.name}, got {n_originals}")
    if "labels" in names and whole.y is None:
        raise DataError(f"relation 'labels' needs labels, and {whole.name} has none; leave it out of --relations")
    rows = np.random.default_rng(seed).choice(whole.n_samples, n_originals, replace=False)
    rows_: Dataset = augment(whole.subset(np.sort(rows)), 2, seed=seed)
    pairs = views(rows_)
    near = knn(rows_, n_neighbors=n_neighbors)
    found: dict[str, Graph] = {}
    for name in dict.fromkeys(names):
        graph = {"views": lambda: pairs, "knn": lambda: near, "labels": lambda: labels(rows_)}.get(
            name, lambda: mix(pairs.scaled(1 / pairs.total_weight), near.scaled(1 / near.total_weight), 0.5)
        )()
        found[name] = graph.scaled(rows_.n_samples / graph.total_weight)
    return found


@dataclass(frozen=True, eq=False)
class Least:
    """The least loss known in K dimensions: its Z (N, K), and a bound proven over embeddings of any dimension."""

    Z: Array
    loss: float
    lower_bound: float
    kind: str

    @property
    def gap(self) -> float:
        """Relative: what is not proven."""
        return (self.loss - self.lower_bound) / abs(self.loss)


def least_loss(method: InfoNCE, graph: Graph, K: int) -> Least:
    """The optimum in K dimensions, found by search and certified where no closed form is known."""
    best = solved(method, graph, K)
    return Least(best.embedding.Z, best.loss, best.lower_bound, best.kind)


def rank_is_fixed(best: Least, graph: Graph) -> bool:
    """Whether the loss tells the rank of its optimum: not where next to nothing of it is above the entropy bound."""
    entropy, flat = InfoNCE(1.0, "dot").lower_bound(graph), InfoNCE().collapse_loss(graph, 1)
    return best.kind == "exact" or best.loss - entropy >= FLAT * (flat - entropy)


def similarities(Z: Array) -> Array:
    """Eigenvalues of S = ZZ', rows at unit length, the largest first."""
    values: Array = linalg.svd(Z / np.linalg.norm(Z, axis=1, keepdims=True))[1] ** 2
    return values


# ----------------------------------------------------------------------------------------------- frobenius-warm-start


def frobenius_warm_start(
    *,
    data: str = "digits",
    n_originals: int = 60,
    n_neighbors: int = 10,
    n_components: int = 8,
    relations: Sequence[str] = ("views+knn", "knn", "labels"),
    temperatures: Sequence[float] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """How good is the spectral solution under the loss that SimCLR really has? Frobenius SimCLR judged by InfoNCE (C6).

    Its rows at unit length, as the cosine sees them, against the best found of several searches in as many dimensions,
    and the bound proven for every dimension.

    Args:
        data: A data set by name, or a file.
        n_originals: How many originals are drawn from it; each has two views.
        n_neighbors: Of the relation knn.
        n_components: Dimension K of the embeddings.
        relations: Among views, views+knn (half the weight each), knn and labels.
        temperatures: Temperatures tau.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the originals and the views.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    taus = check_list(temperatures, "temperatures", 0.0, strict=True)
    graphs = view_relations(data, n_originals, n_neighbors, relations, seed)
    N, K = 2 * n_originals, n_components
    if not 1 <= K < N:
        raise DataError(f"n_components must be from 1 to 2 n_originals - 1 = {N - 1}, got {K}")
    with experiment(
        "frobenius-warm-start",
        config,
        question="How far is the spectral (Frobenius) solution from the optimum of exact InfoNCE?",
        zero_line="the least InfoNCE loss found in K dimensions",
        steps=len(graphs) * len(taus),
        progress=progress,
    ) as report:
        for name, graph in graphs.items():
            spectral = solved(FrobeniusSimCLR(), graph, K).embedding
            for tau in taus:
                method = InfoNCE(tau)
                best = least_loss(method, graph, K)
                flat = method.collapse_loss(graph, K)
                Z = _unit_rows(spectral.Z)
                loss = float(method.loss(Z, graph))
                chance = np.random.default_rng(seed).standard_normal((5, N, K))
                at_random = float(np.mean([float(method.loss(z, graph)) for z in chance]))
                row = {
                    "relation": name,
                    "temperature": tau,
                    "excess": (loss - best.loss) / (flat - best.loss),
                    "share_of_loss": loss / best.loss - 1,
                    "sine": largest_sine(Z[:, : spectral.rank], best.Z),
                    "random": (at_random - best.loss) / (flat - best.loss),
                    "rank_frobenius": spectral.rank,
                    "certified_gap": best.gap,
                    "loss": best.loss,
                    "lower_bound": best.lower_bound,
                    "loss_frobenius": loss,
                }
                report.add({**row, "slug": f"{name}.{tau:g}"}, Z=best.Z, Z_frobenius=spectral.Z)
                report.task.advance(text=f"{name}, tau {tau:g}")
        rows = report.payload["rows"]
        excess = [row["excess"] for row in rows]
        ends = [
            f"{times(row['excess'])} ({row['relation']}, temperature {row['temperature']:g})"
            for row in (rows[int(np.argmin(excess))], rows[int(np.argmax(excess))])
        ]
        sines = [row["sine"] for row in rows if row["sine"] is not None]
        better = sum(row["excess"] < row["random"] for row in rows)
        worse = sum(value > 1 for value in excess)
        report.payload["answer"] = (
            f"From the least loss found (0) to collapse (1) it stands at {' to '.join(dict.fromkeys(ends))}, at sines "
            f"of {reach(sines) if sines else 'no direction'}; it is worse than collapse at {worse} of {len(rows)} "
            f"points, and better than random rows, which stand at {reach(row['random'] for row in rows)}, at {better}."
        )
        gaps = [row["certified_gap"] for row in rows]
        report.payload["zero_line"] += f", certified to a relative gap of {reach(gaps)}"
        report.payload["setting"] = f"K = {K}; {N} rows: two views of {n_originals} of {data}"
        shared = {
            "x": "temperature",
            "by": "relation",
            "xlabel": "temperature τ",
            "xscale": "log",
        }
        report.payload["curves"] = [
            {
                **shared,
                "name": "warm-start",
                "title": "The Frobenius solution under exact InfoNCE: its loss and its angle to the best found",
                "y": "excess",
                "ylabel": "excess InfoNCE loss\n(collapsed = 1)",
                "yscale": "log",
                "zero": 0.0,
                "below": {"y": "sine", "ylabel": "sine of the\nlargest angle", "yscale": "linear"},
            },
        ]
    return report.payload


def _unit_rows(Z: Array) -> Array:
    """Rows at unit length; a row that the spectral solution leaves at zero points where the mean does."""
    size = np.linalg.norm(Z, axis=1, keepdims=True)
    lost = size[:, 0] <= 1e-12 * size.max()
    Z = np.where(lost[:, None], Z.mean(axis=0) + 1e-300, Z)
    out: Array = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    return out


# ------------------------------------------------------------------------------------------------- price-of-dimension


def price_of_dimension(
    *,
    data: str = "digits",
    n_originals: int = 60,
    n_neighbors: int = 10,
    relation: str = "views+knn",
    temperatures: Sequence[float] = (0.1, 0.5, 2.0),
    dimensions: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What does an embedding of K dimensions cost InfoNCE? The least loss found at K, between proven bounds.

    Args:
        data: A data set by name, or a file.
        n_originals: How many originals are drawn from it; each has two views.
        n_neighbors: Of the relation knn.
        relation: One of views, views+knn (half the weight each), knn and labels.
        temperatures: Temperatures tau.
        dimensions: Dimensions K.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the originals and the views.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    taus = check_list(temperatures, "temperatures", 0.0, strict=True)
    sizes = check_list(dimensions, "dimensions", 1)
    N = 2 * n_originals
    if sizes[-1] >= N:
        raise DataError(f"dimensions must be below 2 n_originals = {N}, got {sizes[-1]}")
    graph = view_relations(data, n_originals, n_neighbors, [relation], seed)[relation]
    with experiment(
        "price-of-dimension",
        config,
        question="What does a dimension cost: how far above the least loss of all is the least loss at K?",
        zero_line="the certified optimum over every dimension",
        steps=len(taus) * (len(sizes) + 1),
        progress=progress,
    ) as report:
        enough: dict[float, int | None] = {}
        for tau in taus:
            method = InfoNCE(tau)
            whole = least_loss(method, graph, N - 1)
            values = similarities(whole.Z)
            enough[tau] = int((values > RANK_SHARES[1] * values[0]).sum()) if rank_is_fixed(whole, graph) else None
            report.task.advance(text=f"tau {tau:g}, every dimension")
            span = method.collapse_loss(graph, 1) - whole.loss
            unproven = whole.gap * abs(whole.loss) / span
            for K in sizes:
                best = least_loss(method, graph, K)
                price = (best.loss - whole.loss) / span
                row = {
                    "temperature": tau,
                    "K": K,
                    "price": price if price > unproven else 0.0,
                    "price_min": max(0.0, (best.lower_bound - whole.loss) / span),
                    "price_max": max(0.0, price),
                    "unproven": unproven,
                    "loss": best.loss,
                    "lower_bound": max(whole.lower_bound, best.lower_bound),
                    "least_of_all": whole.loss,
                    "gap_of_all": whole.gap,
                    "rank_of_all": enough[tau],
                    "kind": best.kind,
                    "panel": f"τ = {tau:g}, optimum of {'any rank' if enough[tau] is None else f'rank {enough[tau]}'}",
                    "slug": f"{tau:g}.{K}",
                }
                report.add(row, Z=best.Z)
                report.task.advance(text=f"tau {tau:g}, K = {K}")
        rows = report.payload["rows"]
        told = []
        for tau in taus:
            mine = [row for row in rows if row["temperature"] == tau]
            near = next((row["K"] for row in mine if row["price_max"] + row["unproven"] < 0.01), None)
            told.append(f"at temperature {tau:g} " + (f"K = {near}" if near else "none"))
        report.payload["answer"] = (
            f"The first of these K to pay, as found, less than 1 % of the way to collapse: {', '.join(told)}; the "
            f"optima over every dimension have rank {', '.join(str(enough[tau] or 'open') for tau in taus)}."
        )
        report.payload["setting"] = f"{relation} over {N} rows: two views of {n_originals} of {data}"
        report.payload["curves"] = [
            {
                "name": "price-of-dimension",
                "title": "What a dimension costs InfoNCE: least loss at K above the least of all",
                "x": "K",
                "y": "price",
                "panel": "panel",
                "xlabel": "dimension K",
                "ylabel": "least loss at K\n(collapsed = 1)",
                "xscale": "log",
                "yscale": "log",
                "zero": 0.0,
                "band": ["price_min", "price_max"],
                "caption": "band: from the bound proven for K up to the loss found; 0: less than the certified gap",
            }
        ]
    return report.payload
