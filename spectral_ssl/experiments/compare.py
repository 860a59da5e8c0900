"""`compare`: data x relation x methods, closed form against trained."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl import spec
from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError, ResourceError, SpectralWarning
from spectral_ssl.experiments.probes import can_probe, label_scores
from spectral_ssl.experiments.recipe import Recipe
from spectral_ssl.experiments.references import FREE_MAX, ModelClasses
from spectral_ssl.experiments.rows import Row, make_row, method_name, parse_methods
from spectral_ssl.experiments.setting import Setting, data_summary, load_data, make_setting, make_spectra
from spectral_ssl.methods import Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.runs import RunDirectory
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Spectra
from spectral_ssl.training import check_size

__all__ = ["compare_methods"]

ALL_METHODS = "vicreg, frobenius_simclr, spectral_contrastive, barlow_twins"


def compare_methods(
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
    checkpoint: Path | None = None,
    infonce_originals: int = 400,
    device: str | None = None,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Solve each method in closed form, train its real loss, and show the gap.

    Rows are split first; relation, closed form and training see training rows only, probes are judged on the rest.

    Args:
        data: A data set by name (digits, iris, wine, swiss_roll, ...), options as in "mnist(path='data/mnist')", or
            a file or folder (npy, npz, csv, parquet, IDX, CIFAR, STL-10, pictures).
        labels: A file of labels, one per row of the data.
        relation: The positive pairs: knn, labels, views, epsilon, sequence, pairs, coupled, nearest, with options as in
            "knn(n_neighbors=10)".
        pairs: A csv or npz file of pairs i, j[, weight], for --relation pairs.
        methods: Methods by name, with options as in "vicreg(invariance=0.5), barlow_twins".
        n_components: Dimension K of the embeddings.
        model: Over linear maps of the data, over all embeddings (free), or over the maps of a kernel.
        kernel: For --model kernel: "exact(kernel=rbf)", "nystroem(n_landmarks=300)", "random_features(n_features=500)",
            or an rbf(bandwidth=2), laplacian, polynomial, linear or cosine kernel taken exactly.
        ridge: r >= 0, adds r |W|^2 to the energy tr(Z'LZ) of the losses (linear and kernel models).
        n_views: Views per original, for --relation views on data that are not views already.
        transforms: How views are made, as in "shift(pixels=1), noise(scale=0.2)".
        standardize: Bring every feature to mean 0 and variance 1 first.
        test_size: Share of the originals held out for the probes; 0 uses all rows, probes in-sample, kNN leave-one-out.
        encoder: A network Z = f(X) in place of a linear map, as in "mlp(width=256, depth=2)"; beside its loss stand the
            least over all embeddings, over kernel maps (--kernel) and over linear maps.
        optimizer: lbfgs, gd, or for minibatches "adam(weight_decay=1e-4)", "sgd(momentum=0.9)", "lars(momentum=0.9)".
        batch_size: Positive pairs per step; left out, the whole relation at every step.
        learning_rate: Of every optimizer but lbfgs; left out, its default.
        schedule: Of the learning rate: constant, "cosine(warmup=0.1)", "step(every=1000, factor=0.1)".
        dtype: Numbers to train in; losses that are reported are float64, over the whole relation.
        max_iter: Evaluations of the loss, or steps, per training run.
        seeds: Training runs from seed, seed + 1, ...; the run of median loss is shown, with the spread of all.
        monitor: Steps between looks at excess, effective rank, angle and kNN accuracy (0: none); left out, 50 looks at
            minibatch training.
        checkpoint: A folder for the state of every training run, from which it goes on when it was interrupted.
        infonce_originals: InfoNCE compares all samples with each other, so it trains on at most this many originals
            (0: all).
        device: cpu or cuda; left out, CUDA where there is one.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the split, the views and the training.
        out: The run directory; left out, a new one under runs/.
    """
    chosen = parse_methods(methods)
    check_options(chosen, ridge, model, infonce_originals, n_components)
    recipe = Recipe(
        encoder, optimizer, batch_size, learning_rate, schedule, dtype, max_iter, seeds, monitor, checkpoint, device
    )
    recipe.check(chosen, model, ridge)
    dataset = load_data(data, labels)
    config = dict(locals())
    for private in ("chosen", "dataset", "progress", "recipe"):
        config.pop(private)
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
    # whatever can be refused is refused before a run directory is made
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SpectralWarning)
        spectra = make_spectra(setting, model, None if recipe.encodes else kernel, ridge)
        classes = ModelClasses(setting, kernel)
        if recipe.encodes and kernel is not None:
            _ = classes.kernels
    check_size(n_components, setting.graph, None if recipe.encodes else spectra.X)
    reference = reference_scores(setting)
    with RunDirectory.create(out, "compare", config, seed) as run:
        payload: dict[str, Any] = {
            "command": "compare",
            "data": data_summary(setting, dataset),
            "relation": setting.summary(),
            "recipe": recipe.words(),
            "rows": [],
            "reference": reference,
            "price_of_linearity": [],
            "notes": [*setting.notes, *dataset.describe(), *dict.fromkeys(str(w.message) for w in caught)],
            "versions": run.record["versions"],
            "run": str(run.path),
        }
        arrays: dict[str, Any] = {}
        said: list[list[str]] = []
        for method, (name, _) in zip(chosen, spec.parse_calls(methods), strict=True):
            row = make_row(
                method,
                setting,
                n_components,
                model=model,
                kernel=kernel,
                ridge=ridge,
                spectra=spectra,
                classes=classes,
                recipe=recipe,
                seed=seed,
                infonce_originals=infonce_originals,
                name=name,
                progress=progress,
            )
            add_row(payload, arrays, row)
            said.append(row.notes)
            run.save_arrays("arrays", **arrays)
            run.write(payload)
        if model != "free" and not recipe.encodes:
            payload["price_of_linearity"] = price_of_linearity(chosen, payload["rows"], setting, n_components)
        share_notes(payload, said)
        finish(run, payload, figures)
    return payload


def check_options(
    methods: Iterable[Method], ridge: float, model: str, infonce_originals: int, n_components: int
) -> None:
    """Raise DataError for a ridge below 0 or without a map or an energy, a number below 0, a loss that cannot train."""
    for method in methods:
        if why := method.untrainable(n_components):
            raise DataError(why)
    if infonce_originals < 0:
        raise DataError(f"infonce_originals must be a number of originals, or 0 for all, got {infonce_originals}")
    if not 0 <= ridge < math.inf:
        raise DataError(f"ridge must be a number >= 0, got {ridge!r}")
    if ridge and model == "free":
        raise DataError("ridge= penalises the map of a linear or kernel model; over all embeddings there is none")
    if ridge and (without := [type(method).__name__ for method in methods if method.pairwise]):
        raise DataError(
            f"--ridge adds to the energy tr(Z'LZ), which {without[0]} does not have; leave one of the two out"
        )


def share_notes(payload: dict[str, Any], said: list[list[str]]) -> None:
    """A note that every row has, of at least two, is said once, for the run; said: the notes of each row."""
    shared = [text for text in said[0] if all(text in others for others in said)] if len(said) > 1 else []
    payload["notes"] += shared
    for row, notes in zip(payload["rows"], said, strict=True):
        row["note"] = "; ".join(text for text in notes if text not in shared)


def add_row(payload: dict[str, Any], arrays: dict[str, Any], row: Row) -> None:
    """Put a row and its arrays in the record, under a slug of its own."""
    slug, n = row["slug"], 2
    taken = {r["slug"] for r in payload["rows"]}
    while row["slug"] in taken:
        row["slug"] = f"{slug}.{n}"
        n += 1
    payload["rows"].append(dict(row))
    arrays.update({f"{row['slug']}/{key}": np.asarray(value) for key, value in row.arrays.items()})


def reference_scores(setting: Setting) -> dict[str, float | None]:
    """What supervised linear models reach on the same split: the bar beside every probe."""
    train, test = setting.probe_train, setting.probe_test
    if train.y is None or not can_probe(setting):
        return {}
    on = train.labelled
    seen = (train.X[on], train.y[on])
    held = seen if test is None or test.y is None else (test.X[test.labelled], test.y[test.labelled])
    probe, knn = label_scores(setting, (*seen, *held), train)
    scores: dict[str, float | None] = {
        "probe_raw": probe,
        "knn_raw": None if math.isnan(knn) else knn,
        "majority": None,
        "probe_lda": None,
    }
    if train.is_classification:
        values, counts = np.unique(seen[1], return_counts=True)
        scores["majority"] = float(np.mean(held[1] == values[np.argmax(counts)]))
        with contextlib.suppress(DataError), warnings.catch_warnings():
            warnings.simplefilter("ignore", SpectralWarning)  # its advice is for those who call it
            from spectral_ssl.classical import lda

            Z = lda(*seen)
            scores["probe_lda"] = linear_probe_score(Z.Z, seen[1], Z.transform(held[0]), held[1], classification=True)
    return scores


def price_of_linearity(
    methods: Iterable[Method], rows: list[dict[str, Any]], setting: Setting, K: int
) -> list[dict[str, Any]]:
    """The free optimum beside the linear one, at equal hyper-parameters: what the model class costs."""
    if setting.graph.n_samples > FREE_MAX or setting.graph.n_samples - 1 < K:
        return []
    from dataclasses import replace

    spectra = Spectra(setting.graph)
    found = []
    for method, row in zip(methods, rows, strict=True):
        if method.pairwise or row["kind"] == "bound":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpectralWarning)  # the row itself has told of its own
            try:
                free = optimum(replace(method, **row["hyper"]), spectra, K)  # type: ignore[type-var]
            except (NotClosedForm, NumericalError, ResourceError, DataError):  # this row has no price, others do
                continue
        found.append(
            {
                "method": method_name(method),
                "hyper": row["hyper"],
                "relation": setting.relation,
                "loss_free": free.loss,
                "loss_linear": row["loss_closed"],
                "relative": (row["loss_closed"] - free.loss) / max(abs(row["collapse_loss"] - free.loss), 1e-300),
                "rank_free": free.rank,
            }
        )
    return found


def finish(run: RunDirectory, payload: dict[str, Any], figures: bool) -> None:
    """Draw, list the files, write the record."""
    run.write(payload)
    if figures:
        payload["figures"] = draw_figures(run, payload)
    payload["files"] = [str(run.path / name) for name in ("run.json", *run.record["files"])]
    run.write(payload)


def draw_figures(run: RunDirectory, payload: dict[str, Any]) -> list[str]:
    """The figures of a run; without matplotlib a note says how to get it."""
    try:
        from spectral_ssl.report.plots import draw
    except ImportError as error:
        payload["notes"].append(f"figures left out ({error}); install them with: pip install 'spectral_ssl[report]'")
        return []
    return [str(path) for path in draw(run)]
