"""`explain`: a dry run. What the relation is like, what would be solved and how, what it would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from spectral_ssl import linalg
from spectral_ssl.experiments.compare import ALL_METHODS
from spectral_ssl.experiments.rows import method_name, parse_methods
from spectral_ssl.experiments.setting import Setting, data_summary, load_data, make_setting
from spectral_ssl.methods import InfoNCE, Method
from spectral_ssl.methods.infonce import SIMILARITY_COPIES
from spectral_ssl.progress import SILENT, Progress

__all__ = ["explain"]

# seconds per unit of work, from timings on two cores; the estimate is for choosing, not for scheduling
FLOP = 5e-10  # one multiply-add of a dense product
DENSE_EIGEN = 9.0  # n^3 multiply-adds of a dense symmetric eigensolve, in units of n^3
STEP = 1.2e-3  # overhead of one evaluation of a loss in torch
EVALUATIONS = {"quadratic": 400, "infonce": 400}


def explain(
    *,
    data: str = "digits",
    labels: Path | None = None,
    relation: str = "knn",
    pairs: Path | None = None,
    methods: str = ALL_METHODS,
    n_components: int = 8,
    model: Literal["linear", "free"] = "linear",
    n_views: int = 2,
    transforms: str | None = None,
    standardize: bool = False,
    test_size: float = 0.25,
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
        model: Over linear maps of the data, or over all embeddings (free).
        n_views: Views per original, for --relation views.
        transforms: How views are made.
        standardize: Bring every feature to mean 0 and variance 1 first.
        test_size: Share of the originals held out.
        seed: Seed of the split and the views.
    """
    chosen = parse_methods(methods)
    dataset = load_data(data, labels, standardize=standardize)
    progress.note(f"building the relation {relation} over {dataset.n_samples:,} samples")
    setting = make_setting(
        dataset, relation, pairs=pairs, n_views=n_views, transforms=transforms, test_size=test_size, seed=seed
    )
    summary = setting.summary()
    return {
        "command": "explain",
        "data": data_summary(setting, dataset),
        "relation": summary,
        "plan": [plan_row(method, setting, n_components, model) for method in chosen],
        "findings": summary["findings"],
        "notes": [*setting.notes, *dataset.describe()],
    }


def plan_row(method: Method, setting: Setting, K: int, model: str) -> dict[str, Any]:
    """What one method would run, its memory in MB and a rough time in seconds."""
    N, D = setting.data.X.shape
    stored = _stored(setting)
    if model == "linear":
        solver = f"dense generalised eigh, {D} x {D}"
        solve = FLOP * (2 * N * D**2 + DENSE_EIGEN * D**3 + stored * D)
        memory = 8 * (N * D + 6 * D**2 + 2 * stored)
        step = STEP + FLOP * 6 * D * K * min(D, N)
    else:
        solver, solve, size = _free_plan(setting, K)
        memory = 8 * (size + 2 * stored + 4 * N * K)
        step = STEP + FLOP * (4 * stored * K + 8 * N * K**2)
    closed = not isinstance(method, InfoNCE)
    evaluations = EVALUATIONS["quadratic" if closed else "infonce"]
    if not closed:
        memory += 8 * SIMILARITY_COPIES * N**2
        step += 4e-9 * 4 * N**2 + FLOP * 4 * N**2 * K
    return {
        "method": method_name(method),
        "model": model,
        "pencil": method.pencil if closed else None,
        "solver": solver if closed else "none: trained only",
        "closed_form": closed,
        "kind": "exact" if closed else "bound",
        "memory_mb": memory / 2**20,
        "seconds_estimate": (solve if closed else 0.0) + evaluations * step,
        "note": "" if closed else "trained, and shown with a proven lower bound",
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
