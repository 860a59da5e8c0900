"""`forecast`: which relation, or which augmentations, will give the best model? Ranked before any training.

Every candidate is scored by `theory.forecast`: by a short descent of the loss itself and labels of rows that it has not
seen, or, without labels, by what can be seen of it. Then the pairs of one relation are judged, and the worst taken out
(mending.py).
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spectral_ssl import spec
from spectral_ssl.comparison import effective_rank, linear_probe_score
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.experiments.frame import Report, experiment
from spectral_ssl.experiments.mending import mend_pairs
from spectral_ssl.experiments.ranking import Candidate, answer, curves, ranked_rows
from spectral_ssl.experiments.recipe import Recipe
from spectral_ssl.experiments.rows import parse_methods
from spectral_ssl.experiments.setting import data_summary, load_data, make_setting
from spectral_ssl.methods import Method
from spectral_ssl.methods.slopes import reckons_with_batches
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.theory.charts import Chart, NetworkChart, network_chart, smooth_chart
from spectral_ssl.theory.forecast import forecast_score, visible_score
from spectral_ssl.training import train

__all__ = ["forecast"]

TRAINED_ONLY = ("encoder", "optimizer", "max_iter")
READS_LABELS = ("labels",)  # relations that labels make: mending them by labels says nothing
QUESTION = "Which of these relations will give the best model, before any is trained?"


def forecast(
    *,
    data: str = "digits",
    labels: Path | None = None,
    relations: str = "knn(n_neighbors=5), knn(n_neighbors=20), knn(n_neighbors=80), labels",
    augmentations: str | None = None,
    pairs: Path | None = None,
    method: str = "vicreg",
    n_components: int = 8,
    n_labels: int = 0,
    label_free: bool = False,
    trained: bool = False,
    encoder: str = "mlp(width=256, depth=2)",
    optimizer: str = "adam",
    batch_size: int | None = 128,
    max_iter: int = 700,
    hurt: int = 20,
    mend: str | None = None,
    mend_shares: Sequence[float] = (0.01, 0.03, 0.1, 0.2),
    n_views: int = 2,
    standardize: bool = False,
    test_size: float = 0.25,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Rank relations or augmentation sets by the model they will give, before any training; say which pairs hurt.

    With labels: the loss is descended for a few steps over what an untrained network computes, and a probe is judged on
    labelled rows that neither has seen. Without: whether unseen pairs agree, and how much of the data the agreeing
    directions keep; pairs of equal style look as good to that as pairs of equal class.

    Args:
        data: A data set by name, or a file or folder.
        labels: A file of labels, one per row of the data.
        relations: Relations to rank, as in "knn(n_neighbors=5), labels"; "" for none.
        augmentations: Sets of transforms to rank as views, a semicolon between sets, as in
            "noise(scale=0.3); shift(pixels=1), rotation(degrees=10)".
        pairs: A csv or npz file of pairs i, j[, weight], for a relation pairs among the relations.
        method: The loss the model will be trained on, as in "vicreg", "infonce" or "barlow_twins": the ranking with
            labels is one for this loss, and --trained trains on it.
        n_components: Dimension K of the embeddings.
        n_labels: Labelled samples the ranking may read, drawn at random, 50 say; 0 takes all.
        label_free: Rank without labels even where there are some.
        trained: Train an encoder on every candidate too, and say how well the ranking foretold their accuracy.
        encoder: What is trained, as in "mlp(width=256, depth=2)".
        optimizer: How, as in "adam" or "lbfgs".
        batch_size: Pairs of each step of the training, which the ranking with labels reckons with too (for InfoNCE,
            squared VICReg and normalised Barlow Twins); 0 for the whole relation.
        max_iter: Steps.
        hurt: How many of the worst pairs to list; 0 leaves influence out.
        mend: The relation whose pairs to judge, one of those ranked; left out, the best that is not made from labels.
        mend_shares: Shares of the pairs to take out, the worst first, each solved again.
        n_views: Views per original, for views that are made.
        standardize: Bring every feature to mean 0 and variance 1 first.
        test_size: Share of the originals held out, on which trained encoders and mended relations are judged.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Seed of the split, of views, of the labels drawn, and of training.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    found = parse_methods(method)
    if len(found) != 1:
        raise DataError(f"the ranking is for one loss at a time, got {method!r}; name one of them")
    loss = found[0]
    recipe = Recipe(encoder=encoder, optimizer=optimizer, batch_size=batch_size or None, max_iter=max_iter)
    if trained:
        recipe.check([loss], "linear")
    named = _named(relations, augmentations)
    shares = _shares(mend_shares)
    _check_used(config, named)
    dataset = load_data(data, labels)
    by_labels = dataset.y is not None and not label_free
    if trained and (dataset.y is None or not test_size):
        raise DataError("trained encoders are judged by labels on rows held out: give labels, and a test_size above 0")
    for name in ("method", "batch_size") if not by_labels and not trained else ():
        if config[name] != NEUTRAL[name]:
            raise DataError(
                f"{name} is of the training that candidates are judged for, and without labels they are judged for "
                "none; leave it out, or give labels"
            )
    if batch_size != NEUTRAL["batch_size"] and not trained and not reckons_with_batches(loss):
        raise DataError(
            f"the ranking for {method} goes by its loss over the whole relation, whatever the batch_size, and "
            "nothing is trained; leave it out, or add --trained"
        )
    if mend is not None and not by_labels:
        raise DataError("mend= judges pairs by labels, and there are none to read; leave it out, or give labels")
    entries: list[Candidate] = []
    for label, relation, transforms in named:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpectralWarning)  # of one among many: its rank tells
            setting = make_setting(
                dataset,
                relation,
                pairs=pairs if spec.parse_call(relation)[0] == "pairs" else None,
                n_views=n_views if transforms is not None or relation.startswith("views") else 2,
                transforms=transforms,
                standardize=standardize,
                test_size=test_size,
                seed=seed,
            )
        entries.append(Candidate(label, setting, setting.graph))
    examined = _examined(entries, mend) if mend is not None else None
    originals, started = entries[0].setting.probe_train.X, time.perf_counter()
    chart = network_chart(originals, seed=seed) if by_labels else smooth_chart(originals, seed=seed)
    chart_seconds = time.perf_counter() - started
    with progress.task("forecast", total=len(entries)) as scoring:  # a refusal comes before a run is made
        for candidate in entries:
            try:
                _score(candidate, chart, loss, n_components, n_labels or None, batch_size or None, seed)
            except DataError as error:
                raise DataError(f"{candidate.label}: {error}") from error
            scoring.advance(text=f"{candidate.label}: {candidate.score:.3f}")
    steps = (len(entries) if trained else 0) + (1 if hurt and by_labels else 0)
    with experiment(
        "",
        config,
        question=QUESTION,
        zero_line="no label told" if by_labels else "nothing visible",
        steps=steps,
        progress=progress,
        command="forecast",
        notes=[] if by_labels else [LABEL_FREE_NOTE],
    ) as report:
        report.payload["data"] = data_summary(entries[0].setting, dataset)
        report.payload["chart_seconds"] = chart_seconds
        entries.sort(key=lambda c: -c.score)
        ranked_rows(entries, by_labels, report)
        for candidate in entries if trained else ():
            _train(candidate, loss, n_components, recipe, seed, report)
            ranked_rows(
                entries, by_labels, report
            )  # what is stopped midway keeps the ranking, and the encoders trained
        mended = None
        if hurt and by_labels:
            chosen = examined or next((c for c in entries if _head(c) not in READS_LABELS), None)
            if chosen is not None:
                own = None if chosen.on else dataset.split(test_size, seed)[0]
                smooth = smooth_chart(originals, seed=seed)
                mended = mend_pairs(chosen.setting, chosen.label, smooth, n_components, hurt, shares, own, report)
            report.task.advance(text="pairs that hurt")
        report.payload["answer"] = answer(entries, by_labels, trained, mended)
        report.payload["curves"] = curves(entries, by_labels, trained, mended)
        report.run.write(report.payload)
    return report.payload


NEUTRAL = {name: parameter.default for name, parameter in inspect.signature(forecast).parameters.items()}

LABEL_FREE_NOTE = (
    "ranked without labels: whether what the pairs agree on is what a task asks for cannot be seen; pairs of equal "
    "style look as good as pairs of equal class"
)


def _named(relations: str, augmentations: str | None) -> list[tuple[str, str, str | None]]:
    """(label, relation, transforms) of every candidate, each once."""
    found: list[tuple[str, str, str | None]] = []
    if relations.strip():
        found += [(text, text, None) for text in (spec.format_call(*call) for call in spec.parse_calls(relations))]
    for transforms in (augmentations or "").split(";"):
        if transforms.strip():
            text = ", ".join(spec.format_call(*call) for call in spec.parse_calls(transforms))
            found.append((f"views: {text}", "views", text))
    found = list(dict.fromkeys(found))
    if len(found) < 2:
        raise DataError(
            f"a ranking needs two candidates, got {len(found)}; name relations, as in 'knn(n_neighbors=5), labels', or "
            "augmentations, as in 'noise(scale=0.3); noise(scale=1)'"
        )
    return found


def _shares(values: Sequence[float]) -> list[float]:
    found = sorted(set(map(float, values)))
    if not found or not 0 < found[0] <= found[-1] < 1:
        raise DataError(f"mend_shares must be numbers between 0 and 1, got {list(values)}")
    return found


def _check_used(config: dict[str, Any], named: Sequence[tuple[str, str, str | None]]) -> None:
    """Refuse numbers out of range, and options that would change nothing."""
    if config["hurt"] < 0:
        raise DataError(f"hurt must be a number of pairs to list, or 0 for none, got {config['hurt']}")
    if config["n_labels"] < 0 or config["n_labels"] in (1, 2):
        raise DataError(f"n_labels must be at least 3, or 0 for all, got {config['n_labels']}")
    if config["batch_size"] is not None and (config["batch_size"] < 0 or config["batch_size"] == 1):
        raise DataError(f"batch_size must be at least 2, or 0 for the whole relation, got {config['batch_size']}")
    heads = {spec.parse_call(relation)[0] for _, relation, _ in named}
    if config["pairs"] is not None and "pairs" not in heads:
        raise DataError(
            "a pair list was given, but no relation pairs is ranked; name it, as in --relations 'knn, pairs'"
        )
    if config["n_views"] != NEUTRAL["n_views"] and "views" not in heads:
        raise DataError("n_views is of views that are made, but none are ranked; give --augmentations, or leave it out")
    unused = [name for name in TRAINED_ONLY if config[name] != NEUTRAL[name]]
    if unused and not config["trained"]:
        raise DataError(f"{unused[0]} is of trained encoders, and none is trained; add --trained, or leave it out")


def _head(candidate: Candidate) -> str:
    return spec.parse_call(candidate.setting.relation)[0]


def _examined(entries: Sequence[Candidate], mend: str) -> Candidate:
    text = ", ".join(spec.format_call(*call) for call in spec.parse_calls(mend))
    for candidate in entries:
        if text in (candidate.label, candidate.label.removeprefix("views: ")):
            return candidate
    raise DataError(f"mend={mend!r} is not among those ranked: {'; '.join(c.label for c in entries)}")


# -------------------------------------------------------------------------------------------------------------- ranking


def _score(
    candidate: Candidate,
    chart: Chart | NetworkChart,
    loss: Method,
    K: int,
    n_labels: int | None,
    batch_size: int | None,
    seed: int,
) -> None:
    """Judge one candidate, by labels or by what can be seen without."""
    rows, graph = candidate.setting.data, candidate.graph
    started = time.perf_counter()
    shared: dict[str, Any] = {"X": rows.X, "seed": seed, **candidate.on}
    if isinstance(chart, NetworkChart):
        y = candidate.setting.probe_train.y
        options: dict[str, Any] = {"n_labels": n_labels, "batch_size": batch_size}
        candidate.judged = forecast_score(graph, K, y, method=loss, chart=chart, **options, **shared)
    else:
        candidate.visible = visible_score(graph, K, chart=chart, **shared)
    candidate.seconds = time.perf_counter() - started


def _train(candidate: Candidate, loss: Method, K: int, recipe: Recipe, seed: int, report: Report) -> None:
    setting = candidate.setting
    run = train(loss, candidate.graph, K, X=setting.data.X, seed=seed, max_iter=recipe.max_iter, **recipe.options())
    train_set, test_set = setting.probe_train, setting.probe_test
    assert test_set is not None
    Z, held = run.embedding.transform(train_set.X), run.embedding.transform(test_set.X)
    on, off = train_set.labelled, test_set.labelled
    candidate.accuracy = linear_probe_score(
        Z[on], _y(train_set)[on], held[off], _y(test_set)[off], classification=train_set.is_classification
    )
    candidate.rankme = effective_rank(Z)
    candidate.train_seconds = run.seconds
    report.task.advance(text=f"trained on {candidate.label}: {candidate.accuracy:.3f}")


def _y(data: Any) -> Any:
    assert data.y is not None
    return data.y
