"""`explain`: a dry run. What the relation is like, what would be solved and how, what it would cost."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl import linalg, spec
from spectral_ssl.errors import DataError, NotClosedForm, SpectralWarning
from spectral_ssl.experiments.compare import ALL_METHODS, check_options
from spectral_ssl.experiments.recipe import Recipe
from spectral_ssl.experiments.references import LANDMARKS
from spectral_ssl.experiments.rows import infonce_evaluations, method_name, parse_methods
from spectral_ssl.experiments.setting import Setting, data_summary, load_data, make_setting
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import planned_features
from spectral_ssl.methods import AlphaCL, InfoNCE, Method
from spectral_ssl.methods._certificates import MAX_DENSE
from spectral_ssl.methods.alpha_cl import MAX_FREE
from spectral_ssl.methods.infonce import SWEEP_NUMBERS
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra
from spectral_ssl.training import check_size

__all__ = ["explain"]

# seconds per unit of work, from timings on two cores; the estimate is for choosing, not for scheduling
FLOP = 1e-10  # one multiply-add of a dense product
DENSE_EIGEN = 9.0  # n^3 multiply-adds of a dense generalised eigensolve, in units of n^3
FEW_EIGEN = 1.0  # the same for a few eigenpairs of a symmetric matrix
STEP = {"search": 1.2e-3, "batch": 2.2e-3}  # overhead of one evaluation of a loss, and of a step on a batch, in torch
PAIR = {"search": 5e-9, "batch": 5e-8}  # one similarity of InfoNCE, with its gradient
LOOK = 4e-3  # overhead of one look of a monitor
EVALUATIONS = 400  # of L-BFGS on a loss of moments
BATCH_COPIES = 5  # arrays of the similarities of a batch that its gradient keeps
SWEEPS = 4000  # over the similarities in a search for a certified optimum


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
    encoder: str = "linear",
    optimizer: str = "lbfgs",
    batch_size: int | None = None,
    learning_rate: float | None = None,
    schedule: str = "constant",
    dtype: Literal["float64", "float32", "bfloat16"] | None = None,
    max_iter: int = 3000,
    seeds: int = 1,
    monitor: int | None = None,
    infonce_originals: int = 400,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Say what `compare` would do, without solving or training: relation health, solver, memory and time.

    Args:
        data: A data set by name (digits, iris, wine, swiss_roll, ...), options as in "mnist(path='data/mnist')", or
            a file or folder (npy, npz, csv, parquet, IDX, CIFAR, STL-10, pictures).
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
        encoder: A network in place of a linear map, as for compare.
        optimizer: As for compare.
        batch_size: Positive pairs per step, as for compare.
        learning_rate: As for compare; it changes no cost.
        schedule: As for compare; it changes no cost.
        dtype: Numbers to train in, as for compare.
        max_iter: Evaluations of the loss, or steps, per training run.
        seeds: Training runs per method.
        monitor: Steps between looks, as for compare.
        infonce_originals: InfoNCE trains on at most this many originals (0: all), as for compare.
        seed: Seed of the split and the views.
    """
    chosen = parse_methods(methods)
    check_options(chosen, ridge, model, infonce_originals, n_components)
    recipe = Recipe(encoder, optimizer, batch_size, learning_rate, schedule, dtype, max_iter, seeds, monitor)
    recipe.check(chosen, model, ridge)
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
        if not recipe.encodes:
            raise DataError("--kernel belongs to --model kernel")
        planned_features(kernel, N, D)
    check_size(n_components, setting.graph, None if model == "free" or recipe.encodes else np.empty((0, p)))
    summary = setting.summary()
    work = Work(setting, n_components, model, infonce_originals, p, recipe, kernel)
    return {
        "command": "explain",
        "data": data_summary(setting, dataset),
        "relation": summary,
        "recipe": recipe.words(),
        "plan": [plan_row(method, work) for method in chosen],
        "findings": summary["findings"],
        "notes": [*setting.notes, *dataset.describe()],
    }


def claim_of(method: Method, graph: Graph, K: int, model: str, n: int) -> tuple[str, str, str]:
    """The kind of optimum a method has, the reason it gives for having none, and a solver of its own, "" for spectra.

    A spectral filter answers the same on any relation, so it is asked on a toy. n: rows that are solved for.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)
        try:
            if isinstance(method, InfoNCE):
                return _infonce_claim(method, graph, K, model, n)
            if isinstance(method, AlphaCL):
                return _alpha_claim(method, graph, model)
            toy = Spectra(Graph.from_groups([0, 0, 1, 1]))  # whose spectrum is known without solving
            kind = method.optimum(toy.of(method.pencil, 2), 2).kind
        except NotClosedForm as error:
            return "bound", str(error), ""
    return ("exact or certified" if method.searches else kind), "", ""


def _infonce_claim(method: InfoNCE, graph: Graph, K: int, model: str, n: int) -> tuple[str, str, str]:
    """Exact where the relation itself tells; else a certified search, over all embeddings and for dot products."""
    if model == "free":
        try:
            found = method.exact_optimum(graph, K)
            return found.kind, "", found.solver
        except NotClosedForm:
            if graph.n_pairs == 0:
                raise
    elif method.similarity == "cosine":  # says why, before it would solve anything
        method.direct_optimum(Spectra(Graph.from_groups([0, 0, 1, 1]), X=np.eye(4)), 1)
    if n > MAX_DENSE:
        raise NotClosedForm(f"{n:,} rows are more than the {MAX_DENSE:,} that a certificate is computed for")
    over = "all embeddings" if model == "free" else "maps"
    return "certified", "", f"search over {over}, certified by a dense eigh"


def _alpha_claim(method: AlphaCL, graph: Graph, model: str) -> tuple[str, str, str]:
    """Exact where alpha is fixed, certified where its loss is convex; the reason elsewhere."""
    method.contrast(graph)  # says what is wrong with a relation that is not of two views
    toy = Graph.from_groups([0, 0, 1, 1])
    method.direct_optimum(Spectra(toy, X=None if model == "free" else np.eye(4)), 1)
    if model == "free" and graph.n_samples > MAX_FREE:
        raise NotClosedForm(f"{graph.n_samples:,} rows are more than the {MAX_FREE:,} that are solved without features")
    kind = "exact" if method.weigh.fixed else "certified"
    return kind, "", "L-BFGS over maps of low rank, to the dual certificate"


@dataclass(frozen=True, eq=False)
class Work:
    """What every row of a plan shares; p: features of X, or of the kernel; kernel: of the reference of an encoder."""

    setting: Setting
    K: int
    model: str
    infonce_originals: int
    p: int
    recipe: Recipe
    kernel: str | None

    @property
    def N(self) -> int:
        return self.setting.data.n_samples


def plan_row(method: Method, work: Work) -> dict[str, Any]:
    """What one method would run, its memory in MB and a rough time in seconds."""
    N, K, recipe = work.N, work.K, work.recipe
    if recipe.encodes:
        plans = [_solving(work, "free", 0), _solving(work, "linear", work.setting.data.n_features)]
        landmarks = min(LANDMARKS, max(1, N // 4))
        features = landmarks if work.kernel is None else planned_features(work.kernel, N, work.setting.data.n_features)
        plans.append(_solving(work, "kernel", features))
        solver = f"{plans[0][0]}; beside it kernel and linear maps"
        solve, memory = sum(seconds for _, seconds, _ in plans), max(size for _, _, size in plans)
    else:
        solver, solve, memory = _solving(work, work.model, work.p)
    n = N
    if isinstance(method, InfoNCE) and work.infonce_originals > 0:
        n = min(N, work.infonce_originals * -(-N // work.setting.probe_train.n_samples))
    kind, reason, own = claim_of(method, work.setting.graph, K, "free" if recipe.encodes else work.model, n)
    closed = not reason
    if own:
        solver, solve = own, 0.0
    if own and isinstance(method, AlphaCL):
        solve, memory = 100 * PAIR["search"] * n**2, memory + 8 * (n**2 / 8 + 6 * work.p**2)
    if kind == "certified" and isinstance(method, InfoNCE):
        solve, memory = SWEEPS * PAIR["search"] * n**2 + 10 * FLOP * DENSE_EIGEN * n**3, memory + 8 * 6 * n**2
    if n < N:
        reason = f"trained on a seeded subsample of {n:,} rows" + (f"; {reason}" if reason else "")
    return {
        "method": method_name(method),
        "model": spec.parse_call(recipe.encoder)[0] if recipe.encodes else work.model,
        "pencil": method.pencil if closed and not own and not method.pairwise else None,
        "solver": solver if closed else "none: trained only",
        "closed_form": closed,
        "kind": kind,
        "memory_mb": (memory + _training_memory(method, work, n)) / 2**20,
        "seconds_estimate": (solve if closed else 0.0) + _training_seconds(method, work, n),
        "note": reason,
    }


def _solving(work: Work, model: str, p: int) -> tuple[str, float, float]:
    """Solver in words, seconds, and bytes."""
    N, stored = work.N, _stored(work.setting)
    if model == "free":
        solver, solve, size = _free_plan(work.setting, work.K)
        return solver, solve, 8 * (size + 2 * stored + 4 * N * work.K)
    solver = f"dense generalised eigh, {p} x {p}"
    solve = FLOP * (2 * N * p**2 + DENSE_EIGEN * p**3 + stored * p)
    if model == "kernel":  # the square root of the kernel, and a basis of its features
        solver += ", on kernel features"
        solve += FLOP * 2 * N * p**2
    return solver, solve, 8 * (N * p + 6 * p**2 + 2 * stored)


def _weights(work: Work) -> tuple[int, int]:
    """Numbers of a map that are multiplied with every row, and numbers kept for a row until its gradient is known."""
    D, K = work.p, work.K
    if not work.recipe.encodes:
        return (D * K, K) if work.model != "free" else (0, K)
    options = spec.parse_call(work.recipe.encoder)[1]
    width, depth = int(options.get("width", 256)), int(options.get("depth", 2))
    return D * width + max(depth - 1, 0) * width**2 + width * K, 2 * depth * width + K


def _rows_per_step(method: Method, work: Work, n: int) -> int:
    """Rows that a step embeds."""
    if work.recipe.batch_size is not None:
        return 2 * work.recipe.batch_size
    in_moments = not method.pairwise and work.model != "free" and not work.recipe.encodes
    return min(work.p, n) if in_moments else n


def _training_seconds(method: Method, work: Work, n: int) -> float:
    recipe, K = work.recipe, work.K
    rows = _rows_per_step(method, work, n)
    how = "search" if recipe.batch_size is None else "batch"
    step = STEP[how] + FLOP * 6 * rows * _weights(work)[0]
    if method.pairwise:
        step += PAIR[how] * rows**2 + FLOP * 2 * rows**2 * K
    elif recipe.batch_size is None and (work.model == "free" or recipe.encodes):
        step += FLOP * (4 * _stored(work.setting) * K + 8 * n * K**2)
    else:
        step += FLOP * 8 * rows * K**2
    steps = recipe.max_iter
    if recipe.searches:
        steps = min(steps, infonce_evaluations(n) if method.pairwise else EVALUATIONS)
    looks = steps // recipe.every if recipe.every else 0
    look = LOOK + FLOP * (4 * _stored(work.setting) * K + 40 * n * K**2 + 2 * n * _weights(work)[0])
    return recipe.seeds * (steps * step + looks * look)


def _training_memory(method: Method, work: Work, n: int) -> float:
    """Bytes that training holds beside what was solved."""
    rows = _rows_per_step(method, work, n)
    size = 4 if work.recipe.dtype in ("float32", "bfloat16") else 8
    similarities = 0
    if isinstance(method, AlphaCL):  # autograd keeps a few arrays of all pairs
        similarities = BATCH_COPIES * rows**2
    elif isinstance(method, InfoNCE):
        similarities = SWEEP_NUMBERS if work.recipe.batch_size is None else BATCH_COPIES * rows**2
    weights, kept = _weights(work)
    return size * (similarities + 4 * weights + rows * kept)


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
            FLOP * FEW_EIGEN * count * largest**3,
            largest**2,
        )
    solver, why = linalg.plan(graph.to_csr(), K)
    products = 60 * (K + 8) * _stored(setting) * FLOP * 4
    return why, products if solver == "lanczos" else 10 * products, 60 * N
