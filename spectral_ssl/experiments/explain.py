"""`explain`: a dry run. What the relation is like, what would be solved and how, what it would cost."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.errors import DataError, NotClosedForm, SpectralWarning
from spectral_ssl.experiments.compare import ALL_METHODS, check_ridge
from spectral_ssl.experiments.rows import method_name, parse_methods
from spectral_ssl.experiments.setting import Setting, data_summary, load_data, make_setting
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import planned_features
from spectral_ssl.methods import InfoNCE, Method
from spectral_ssl.methods.infonce import SIMILARITY_COPIES
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra
from spectral_ssl.training import check_size

__all__ = ["explain"]

# seconds per unit of work, from timings on two cores; the estimate is for choosing, not for scheduling
FLOP = 5e-10  # one multiply-add of a dense product
DENSE_EIGEN = 9.0  # n^3 multiply-adds of a dense symmetric eigensolve, in units of n^3
STEP = 1.2e-3  # overhead of one evaluation of a loss in torch
EVALUATIONS = {"quadratic": 400, "infonce": 250}


def explain(
    *,
    data: str = "digits",
    labels: Path | None = None,
    relation: str = "knn",
    pairs: Path | None = None,
    methods: str = ALL_METHODS,
    n_components: int = 8,
    model: Literal["linear", "free", "kernel"] = "linear",
    kernel: str | None = None,
    ridge: float = 0.0,
    n_views: int = 2,
    transforms: str | None = None,
    standardize: bool = False,
    test_size: float = 0.25,
    infonce_originals: int = 400,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Say what `compare` would do, without solving or training: relation health, solver, memory and time.

    Args:
        data: A data set by name, or a file (npy, npz, csv).
        labels: A file of labels, one per row of the data.
        relation: The positive pairs, as for compare.
        pairs: A csv or npz file of pairs i, j[, weight], for --relation pairs.
        methods: Methods by name, as for compare.
        n_components: Dimension K of the embeddings.
        model: Over linear maps of the data, over all embeddings (free), or over the maps of a kernel.
        kernel: The kernel, as for compare.
        ridge: As for compare; it changes no cost.
        n_views: Views per original, for --relation views.
        transforms: How views are made.
        standardize: Bring every feature to mean 0 and variance 1 first.
        test_size: Share of the originals held out.
        infonce_originals: InfoNCE trains on at most this many originals (0: all), as for compare.
        seed: Seed of the split and the views.
    """
    chosen = parse_methods(methods)
    check_ridge(chosen, ridge, model)
    dataset = load_data(data, labels)
    progress.note(f"building the relation {relation} over {dataset.n_samples:,} samples")
    setting = make_setting(
        dataset,
        relation,
        pairs=pairs,
        n_views=n_views,
        transforms=transforms,
        standardize=standardize,
        test_size=test_size,
        seed=seed,
    )
    N, D = setting.data.X.shape
    p = planned_features(kernel or "exact", N, D) if model == "kernel" else D
    if model != "kernel" and kernel is not None:
        raise DataError("--kernel belongs to --model kernel")
    check_size(n_components, setting.graph, None if model == "free" else np.empty((0, p)))
    summary = setting.summary()
    return {
        "command": "explain",
        "data": data_summary(setting, dataset),
        "relation": summary,
        "plan": [plan_row(method, setting, n_components, model, infonce_originals, p) for method in chosen],
        "findings": summary["findings"],
        "notes": [*setting.notes, *dataset.describe()],
    }


def claim_of(method: Method, graph: Graph, K: int, model: str) -> tuple[str, str, str]:
    """The kind of optimum a method has, the reason it gives for having none, and a solver of its own, "" for spectra.

    Over all embeddings the method is asked on the relation itself, which for InfoNCE is solved only where every pair is
    positive; a spectral filter answers the same on any relation, so it is asked on a toy.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)
        try:
            found = method.exact_optimum(graph, K) if model == "free" else None
            if found is not None:
                return found.kind, "", found.solver
            toy = Spectra(Graph.from_groups([0, 0, 1, 1]))  # whose spectrum is known without solving
            kind = method.optimum(toy.of(method.pencil, 2), 2).kind
        except NotClosedForm as error:
            return "bound", str(error), ""
    return ("exact or certified" if method.searches else kind), "", ""


def plan_row(method: Method, setting: Setting, K: int, model: str, infonce_originals: int, p: int) -> dict[str, Any]:
    """What one method would run, its memory in MB and a rough time in seconds; p: features of X, or of the kernel."""
    N, D = setting.data.n_samples, p
    stored = _stored(setting)
    if model != "free":
        solver = f"dense generalised eigh, {D} x {D}"
        solve = FLOP * (2 * N * D**2 + DENSE_EIGEN * D**3 + stored * D)
        if model == "kernel":  # the square root of the kernel, and a basis of its features
            solver += ", on kernel features"
            solve += FLOP * DENSE_EIGEN * 3 * N * D**2
        memory = 8 * (N * D + 6 * D**2 + 2 * stored)
        step = STEP + FLOP * 6 * D * K * min(D, N)
    else:
        solver, solve, size = _free_plan(setting, K)
        memory = 8 * (size + 2 * stored + 4 * N * K)
        step = STEP + FLOP * (4 * stored * K + 8 * N * K**2)
    kind, reason, own = claim_of(method, setting.graph, K, model)
    closed = not reason
    if own:
        solver, solve = own, 0.0
    evaluations = EVALUATIONS["quadratic" if closed else "infonce"]
    if isinstance(method, InfoNCE):
        n = N if infonce_originals <= 0 else min(N, infonce_originals * -(-N // setting.probe_train.n_samples))
        memory += 8 * SIMILARITY_COPIES * n**2
        step = STEP + 4e-9 * 4 * n**2 + FLOP * 4 * n**2 * K
        if n < N:
            reason = f"trained on a seeded subsample of {n:,} rows; {reason}"
    return {
        "method": method_name(method),
        "model": model,
        "pencil": method.pencil if closed and not own else None,
        "solver": solver if closed else "none: trained only",
        "closed_form": closed,
        "kind": kind,
        "memory_mb": memory / 2**20,
        "seconds_estimate": (solve if closed else 0.0) + evaluations * step,
        "note": reason,
    }


def _stored(setting: Setting) -> int:
    edges = 0 if setting.graph.edges is None else int(setting.graph.edges.nnz)
    return edges + setting.graph.n_samples * len(setting.graph.groups)


def _free_plan(setting: Setting, K: int) -> tuple[str, float, int]:
    """Solver in words, seconds, and numbers held."""
    graph = setting.graph
    N = graph.n_samples
    if graph.is_partition:
        return "closed form of a partition", FLOP * N * K, N * K
    count, label = graph.components
    largest = int((label == label[0]).sum()) if count == 1 else max(setting.graph.diagnose().component_sizes)
    if largest <= linalg.DENSE_MAX:
        return (
            f"dense, {count:,} components of at most {largest:,}",
            FLOP * DENSE_EIGEN * count * largest**3,
            largest**2,
        )
    solver, why = linalg.plan(graph.to_csr(), K)
    products = 60 * (K + 8) * _stored(setting) * FLOP * 4
    return why, products if solver == "lanczos" else 10 * products, 60 * N
