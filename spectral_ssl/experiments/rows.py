"""One row: one method on one setting, closed form against trained."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import numpy as np

from spectral_ssl import spec
from spectral_ssl.comparison import GAP_JUDGED, compare, effective_rank, exact_rank, principal_angles
from spectral_ssl.embedding import Optimum
from spectral_ssl.errors import DataError, NotClosedForm, ResourceError, SpectralWarning
from spectral_ssl.experiments.probes import can_probe, embed_split, probe_scores
from spectral_ssl.experiments.proofs import Proof, best_bound, free_optimum
from spectral_ssl.experiments.recipe import Recipe
from spectral_ssl.experiments.references import ModelClasses, reference_optima
from spectral_ssl.experiments.setting import Setting, make_spectra, subsample
from spectral_ssl.linalg import svd
from spectral_ssl.methods import METHODS, InfoNCE, Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Model, Spectra
from spectral_ssl.training import Step, TrainResult
from spectral_ssl.training.monitors import relative_excess
from spectral_ssl.training.seeds import SeedRuns, train_seeds

__all__ = ["Row", "can_probe", "embed_split", "make_row", "method_name", "parse_methods", "relative_excess"]

TRAIN_TOL = 1e-9  # the default of `train`
SIMILARITIES = 2e9  # that a search of InfoNCE may compute, some ten seconds: what is left then is below 1e-6 mostly
BOUND_TOL = 1e-6
USUAL = Recipe()


class Row(dict[str, Any]):
    """A row of the table, with the arrays figures are drawn from and the notes its "note" joins."""

    arrays: dict[str, Any]
    notes: list[str]


def parse_methods(text: str) -> list[Method]:
    """Methods of a call string, "vicreg(invariance=0.5), barlow_twins"."""
    found = [spec.bind(METHODS, name, options, kind="method")() for name, options in spec.parse_calls(text)]
    if not found:
        raise DataError("no method was named; choose some of " + ", ".join(METHODS))
    return found


def method_name(method: Method) -> str:
    """The name of a method in `METHODS`, InfoNCE with cosine similarity counting as "infonce"."""
    return next(name for name, kind in METHODS.items() if isinstance(kind, type) and isinstance(method, kind))


def make_row(
    method: Method,
    setting: Setting,
    n_components: int,
    *,
    model: Model = "linear",
    kernel: str | None = None,
    ridge: float = 0.0,
    spectra: Spectra | None = None,
    classes: ModelClasses | None = None,
    recipe: Recipe = USUAL,
    seed: int = 0,
    infonce_originals: int = 0,
    name: str | None = None,
    progress: Progress = SILENT,
) -> Row:
    """Solve, train, compare, probe. `spectra` and `classes` share factorisations between the rows of one setting.

    model, kernel, ridge: the model class, as for `spectral_ssl.optimum`, where no `spectra` of it are given. recipe:
    how it is trained; with an encoder the closed form is the least loss over all embeddings, which no encoder can get
    below, and row["references"] has those over kernel and linear maps beside it. name: what the row calls the method,
    by default its name in `METHODS`.
    """
    notes: list[str] = []
    name, chosen = method_name(method) if name is None else name, _chosen(method)
    if isinstance(method, InfoNCE) and infonce_originals > 0:
        smaller = subsample(setting, infonce_originals, seed)
        if smaller is not setting:
            notes += smaller.notes
            setting, spectra, classes = smaller, None, None
    references: dict[str, dict[str, Any]] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SpectralWarning)
        spectra = make_spectra(setting, model, kernel, ridge) if spectra is None else spectra
        started = time.perf_counter()
        if recipe.encodes:
            # numbers that are left to the data come from linear maps of it, as in training
            method = method.resolve(spectra.of(method.pencil, n_components), n_components) if _open(method) else method
            classes = ModelClasses(setting, kernel) if classes is None else classes
            best, references, told = reference_optima(method, classes, n_components)
            reason = "" if best is not None else f"no optimum over all embeddings: {references['free']['why']}"
        else:
            (best, reason), told = _closed_form(method, spectra, n_components), []
        seconds_closed = time.perf_counter() - started
    notes += told if recipe.encodes else dict.fromkeys(_told(caught))
    relation, tail = setting.relation.split("(")[0], f"{_class_name(model, recipe)}.{n_components}"
    slug, folder = f"{relation}.{name}.{tail}", ".".join([relation, name, *chosen, tail])
    runs = _train(best.method if best is not None else method, spectra, n_components, best, setting, recipe, seed,
                  progress, f"train {name}, {setting.relation}, K = {n_components}", folder)  # fmt: skip
    run = runs.runs[runs.middle]
    bound = None if best is not None else _bound(run, setting, n_components)
    row = _assemble(name, setting, n_components, best, bound, run, seconds_closed)
    row |= {
        "model": _class_name(model, recipe),
        "slug": slug,
        "kernel": None if spectra.features is None else spectra.features.text,
        "ridge": spectra.ridge,
        "encoder": recipe.encoder if recipe.encodes else None,
        "references": references or None,
        "seeds": _seeds(runs),
        "monitor_closed": _at_the_optimum(runs, best, recipe),
    }
    if runs.monitors:
        row["seconds_trained"] -= runs.monitors[runs.middle].seconds  # looking is no training
    row["training"] |= {
        "optimizer": recipe.optimizer,
        "batch_size": recipe.batch_size,
        "learning_rate": run.learning_rate,
        "schedule": recipe.schedule,
        "dtype": recipe.dtype or "float64",
    }
    row.arrays |= _histories(runs)
    if reason:
        notes.append(reason)
    notes += _judgement(row, best, bound, run)
    embeddings = {"trained": run.embedding} if best is None else {"closed": best.embedding, "trained": run.embedding}
    scores, why = probe_scores(setting, embeddings, own_map=recipe.encodes)
    row.update(scores)
    row.notes = [text for text in (*notes, why) if text]
    row["note"] = "; ".join(row.notes)
    return row


def _told(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in caught if issubclass(w.category, SpectralWarning)]


def _chosen(method: Method) -> list[str]:
    """The hyper-parameters that are not as usual, "invariance=0.5": what tells rows of one method apart on disk."""
    return [f"{key}={value}" for key, value in method.hyper.items() if value != getattr(type(method), key, None)]


def _open(method: Method) -> bool:
    """Whether a hyper-parameter is left to the data."""
    return None in method.hyper.values()


def _class_name(model: Model, recipe: Recipe) -> str:
    """What Z is a function of, in a word: free, linear, kernel, or the encoder's name."""
    return spec.parse_call(recipe.encoder)[0] if recipe.encodes else model


def _closed_form(method: Method, spectra: Spectra, K: int) -> tuple[Optimum | None, str]:
    try:
        return optimum(method, spectra, K), ""
    except (NotClosedForm, ResourceError) as error:
        return None, str(error)


def _train(
    method: Method,
    spectra: Spectra,
    K: int,
    best: Optimum | None,
    setting: Setting,
    recipe: Recipe,
    seed: int,
    progress: Progress,
    label: str,
    folder: str,
) -> SeedRuns:
    short = recipe.searches and method.pairwise
    limits: dict[str, Any] = {
        "max_iter": min(recipe.max_iter, infonce_evaluations(setting.graph.n_samples)) if short else recipe.max_iter,
        "tol": BOUND_TOL if short else TRAIN_TOL,
    }
    labels = setting.data.y is not None and setting.data.is_classification
    with progress.task(label, total=None) as task:
        done = [0]

        def report(step: Step) -> None:
            # evaluations begin anew with every seed
            steps = step.evaluations - done[0] if step.evaluations > done[0] else step.evaluations
            task.advance(steps, f"loss {step.loss:.6g}, gradient {step.gradient_norm:.1e}")
            done[0] = step.evaluations

        return train_seeds(
            method,
            spectra,
            K,
            seeds=range(seed, seed + recipe.seeds),
            best=best,
            y=setting.data.class_codes if labels else None,
            source=setting.data.source,
            monitor=recipe.every,
            checkpoint=None if recipe.checkpoint is None else recipe.checkpoint / folder,
            callbacks=(report,),
            **recipe.options(),
            **limits,
        )


def infonce_evaluations(N: int) -> int:
    """Evaluations of a loss that compares N rows with each other that its training is given at most."""
    return int(min(max(SIMILARITIES / N**2, 250), 2000))


def _bound(run: TrainResult, setting: Setting, K: int) -> Proof:
    method = run.method
    if isinstance(method, InfoNCE) and method.similarity == "cosine":
        return best_bound(method, setting.graph, K, Z=run.embedding.Z, free=free_optimum(method, setting.graph, K))
    return best_bound(method, setting.graph, K)


def _assemble(
    name: str,
    setting: Setting,
    K: int,
    best: Optimum | None,
    bound: Proof | None,
    run: TrainResult,
    seconds_closed: float,
) -> Row:
    collapse = run.method.collapse_loss(setting.graph, K)
    closed = best.loss if best is not None else bound.value if bound is not None else -math.inf
    known = math.isfinite(closed)
    angles = np.zeros(0)
    metrics: dict[str, float] = {}
    if best is not None:
        metrics = compare(run.embedding, best.embedding)
        if best.unique_up_to != "none":
            angles = principal_angles(run.embedding, best.embedding)
    row = Row(
        method=name,
        model="",
        kind=best.kind if best is not None else "bound",
        hyper=run.method.hyper,
        loss_closed=closed if known else None,
        loss_trained=run.loss,
        excess=run.loss - closed if known else None,
        relative_excess=relative_excess(run.loss, closed, collapse) if known else None,
        max_angle=float(angles.max()) if angles.size else None,
        gap=best.gap if best is not None and math.isfinite(best.gap) else None,
        rank_closed=best.rank if best is not None else None,
        rank_trained=exact_rank(run.embedding.Z),
        effective_rank=effective_rank(run.embedding.Z),
        probe_closed=None,
        probe_trained=None,
        knn_closed=None,
        knn_trained=None,
        seconds_closed=seconds_closed,
        seconds_trained=run.seconds,
        converged=run.converged,
        solver=best.solver if best is not None else None,
        note="",
        relation=setting.relation,
        n_components=K,
        n_samples=setting.graph.n_samples,
        slug="",
        terms_closed=best.loss_terms if best is not None else None,
        terms_trained=run.loss_terms,
        lower_bound=(best.lower_bound if best is not None else closed) if known else None,
        bound_from=bound.words if bound is not None and bound.known else None,
        collapse_loss=collapse,
        unique_up_to=best.unique_up_to if best is not None else None,
        residual=best.residual if best is not None else None,
        source=best.source if best is not None else None,
        metrics=metrics,
        training={
            "message": run.message,
            "evaluations": int(run.losses.size),
            "gradient_norm": run.gradient_norm,
            "device": run.device,
            "seed": run.seed,
        },
    )
    row.arrays = {
        "Z_trained": run.embedding.Z,
        "singular_trained": svd(run.embedding.Z)[1],
        "losses": run.losses,
        "angles": angles,
    }
    if setting.data.y is not None:
        row.arrays["y"] = setting.data.class_codes if setting.data.is_classification else setting.data.y
        if setting.data.is_classification:
            row.arrays["classes"] = np.array([str(c) for c in setting.data.classes])
    if best is not None:
        row.arrays |= {
            "Z_closed": best.embedding.Z,
            "singular_closed": svd(best.embedding.Z)[1],
            "spectrum": best.embedding.spectrum,
        }
    if run.embedding.W is not None:
        row.arrays["W_trained"] = run.embedding.W
        if best is not None and best.embedding.W is not None:
            row.arrays["W_closed"] = best.embedding.W
    return row


def _at_the_optimum(runs: SeedRuns, best: Optimum | None, recipe: Recipe) -> dict[str, float] | None:
    """What a monitor would see of the optimum itself: the levels that training goes to."""
    if best is None or not runs.monitors or recipe.every == 0:
        return None
    watched = runs.monitors[0]
    found = {name: watched.measures[name](best.embedding.Z, watched) for name in ("effective_rank", "knn")}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _seeds(runs: SeedRuns) -> dict[str, Any] | None:
    """What repeated training spreads over; None for one run."""
    if len(runs.runs) == 1:
        return None
    return {"n": len(runs.runs), "losses": runs.losses.tolist(), **runs.spread}


def _histories(runs: SeedRuns) -> dict[str, Any]:
    """What monitors saw: "monitor_<measure>" of the run shown, and "monitor<s>_<measure>" of the s-th of several."""
    found: dict[str, Any] = {}
    for place, monitor in enumerate(runs.monitors):
        history = monitor.arrays()
        if place == runs.middle:
            found |= {f"monitor_{key}": values for key, values in history.items()}
        if len(runs.runs) > 1:
            found |= {f"monitor{place}_{key}": values for key, values in history.items()}
    if len(runs.runs) > 1:
        steps = max(run.losses.size for run in runs.runs)
        # a run that stopped earlier stays where it ended
        all_losses = [np.pad(run.losses, (0, steps - run.losses.size), mode="edge") for run in runs.runs]
        low = [np.minimum.accumulate(losses) for losses in all_losses]
        found |= {"losses_low": np.min(low, axis=0), "losses_high": np.max(low, axis=0)}
    return found


def _judgement(row: Row, best: Optimum | None, bound: Proof | None, run: TrainResult) -> list[str]:
    notes = []
    if not run.converged:
        notes.append(run.message)
    if bound is not None and bound.known:
        notes.append(f"the lower bound is proven by {bound.words}")
    if best is None:
        return notes
    if best.note:
        notes.append(best.note)
    if row["references"]:
        notes.append("the closed form is the least loss over all embeddings, which no encoder can get below")
    elif row["max_angle"] is None and best.rank > 0:
        notes.append("angle not asked: the minimum is reached on many subspaces")
    elif best.kind == "certified" and best.rank > 0:
        notes.append("angle not judged: the optimum is certified, not exact")
    elif row["gap"] is not None and row["gap"] < GAP_JUDGED and best.rank > 0:
        notes.append(f"angle not judged: eigenvalue gap {row['gap']:.1e} < {GAP_JUDGED:.0e}")
    return notes
