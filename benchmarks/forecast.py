"""Does the forecast, made before any training, rank relations as trained encoders do?

Per data set some 33 relations: neighbours under several notions of near, views of several strengths, labels whole,
in part and wrong, corrupted neighbours, mixtures, pairs of chance and of nuisance, and ten more that grade what goes
astray, so that the range is filled; figures "without grades" are over the others alone. On each, MLPs are trained by
every loss (Adam, batches of pairs) and probed on held-out rows. Then every score of `spectral_ssl.theory.forecast`,
taken from relation and data alone, and its rivals, are ranked against those accuracies by Spearman's coefficient.

    python benchmarks/forecast.py                                      # scores, from the trainings on record
    python benchmarks/forecast.py --train --data digits --seeds 2      # add the trainings that are missing
    python benchmarks/forecast.py --train --max-iter 700               # and shorter ones
    python benchmarks/forecast.py --json benchmarks/results/forecast.json

Trainings are the long part (some twelve seconds each on one core), so every finished one is written at once, and a run
that was interrupted goes on where it was. Accuracies are means over the seeds on record; "one seed by another" says how
well a training foretells its own repetition, and "ceiling" the correlation with the mean over S seeds that even the
expected accuracy would have, sqrt(S r / (1 + (S - 1) r)) (Spearman & Brown). Trainings of several lengths stand side by
side on record; to train for less is a rival too. The share of the training time that a score takes is told for the
length last scored with: three relations are trained again beside the scores, and the seconds on record brought to
their pace.

How the score was chosen. That it descends the loss of batches over features of an untrained network, and that under
InfoNCE no row may be left without negatives, was found on digits, styled and stdlib_docs; that Barlow Twins is held at
its start, on styled. Its numbers (coordinates, rho, steps, folds) are round ones of broad plateaus, chosen before
batches were reckoned with, and left as they were; mu is a round number that was looked at on all four sets, and so were
the pairs that tell the variance of batches, which are as few as they may be. So the correlations are somewhat
flattered; the rivals have nothing to choose. The grades were added when the other relations had been scored, and before
any was trained. The set `development` served to find the first form of the score, by trainings of 700 steps under
VICReg; its trainings of 3,000 steps came after all choices but these two. The folds are dealt by a seed: "folds dealt
again" is the same score by four other seeds (the median, and the range).
"""

from __future__ import annotations

import argparse
import functools
import json
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

import spectral_ssl as ss
from spectral_ssl.comparison import effective_rank, knn_score, linear_probe_score
from spectral_ssl.data import Dataset
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.relations import corrupt, mix
from spectral_ssl.runs import machine, to_jsonable
from spectral_ssl.spectrum import Spectra
from spectral_ssl.theory import edge_homophily, label_alignment, leave_one_out
from spectral_ssl.theory.charts import network_chart, smooth_chart
from spectral_ssl.theory.forecast import forecast_score, visible_score

RESULTS = Path(__file__).parent / "results" / "forecast.json"
K = 8
N_TRAIN = 900
FEW, DRAWS = 50, 2  # labels of a forecast from few, and draws of them
DEALS = (1, 2, 3, 4)  # seeds by which folds are dealt again
ENCODER = "mlp(width=256, depth=2)"
TRAINING: dict[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "batch_size": 128,
    "max_iter": 3000,
    "dtype": "float32",
}
LOSSES: dict[str, Callable[[], Any]] = {"vicreg": ss.VICReg, "infonce": ss.InfoNCE, "barlow_twins": ss.BarlowTwins}
# of what goes astray: the range between the best and the worst, evenly
GRADES = (
    "knn 100", "labels of half", "labels, 0.2 wrong", "labels, 0.7 wrong", "knn 10, 0.5 rewired", "knn 10, 0.9 rewired",
    "knn 10, 0.2 to a wrong class", "knn 10, 0.8 to a wrong class", "knn 10 and a quarter of nuisance",
    "labels and nuisance",
)  # fmt: skip
TIMED = ("knn 10", "labels", "views, noise 0.5")  # relations whose first training is timed again
Related = tuple[Dataset, Graph]  # the rows of a relation, and it


# ------------------------------------------------------------------------------------------------------------ the data


def digits() -> Dataset:
    return ss.load_dataset("digits")


def styled() -> Dataset:
    """Five classes of three clusters each, and five styles that spread as far, mixed by a random network into 40-d."""
    rng = np.random.default_rng(7)
    y, style = rng.integers(0, 5, size=2400), rng.integers(0, 5, size=2400)
    content = 1.6 * rng.standard_normal((5, 3, 6))[y, rng.integers(0, 3, size=2400)] + rng.standard_normal((2400, 6))
    manner = 2.2 * rng.standard_normal((5, 4))[style] + 0.5 * rng.standard_normal((2400, 4))
    hidden = np.tanh(np.hstack([content, manner]) @ rng.standard_normal((10, 60)) / np.sqrt(10) * 0.6)
    X = hidden @ rng.standard_normal((60, 40)) / np.sqrt(60) * 4 + 0.3 * rng.standard_normal((2400, 40))
    return Dataset(name="styled", X=X, y=y, meta={"nuisance": style + 0.01 * rng.standard_normal(2400)})


def stdlib_docs() -> Dataset:
    return ss.load_dataset("stdlib_docs")


def development() -> Dataset:
    """Six classes of three clusters each on the corners of a cube, with redundant and useless features."""
    from sklearn.datasets import make_classification

    X, y = make_classification(
        n_samples=2400, n_features=30, n_informative=8, n_redundant=6, n_classes=6, n_clusters_per_class=3,
        class_sep=1.5, flip_y=0.01, shuffle=False, random_state=3,
    )  # fmt: skip
    order = np.random.default_rng(0).permutation(len(y))
    return Dataset(name="development", X=X[order], y=y[order])


DATA: dict[str, Callable[[], Dataset]] = {
    "development": development,
    "digits": digits,
    "styled": styled,
    "stdlib_docs": stdlib_docs,
}


@functools.cache
def split(name: str) -> tuple[Dataset, Dataset, np.ndarray]:
    """Rows to train on, rows held out, and the nuisance of the first (N,)."""
    data = DATA[name]()
    if data.source is not None:  # every row an original here: views are made below
        data = Dataset(name=data.name, X=data.X, y=data.y, image_shape=data.image_shape, meta=data.meta)
    train, test = data.split(1 - min(N_TRAIN, data.n_samples * 2 // 3) / data.n_samples, seed=0)
    nuisance = data.meta.get("nuisance")  # of pictures and texts: how much of them there is
    nuisance = np.linalg.norm(data.X, axis=1) if nuisance is None else np.asarray(nuisance)
    return data.subset(train), data.subset(test), np.asarray(nuisance)[train]


# ------------------------------------------------------------------------------------------------------- the relations


def relations(name: str) -> dict[str, Callable[[], Related]]:
    """What is compared, as functions: the relations of one data set."""
    train, _, nuisance = split(name)
    rng = np.random.default_rng(11)
    N, y = train.n_samples, np.asarray(train.y)

    def near(**options: Any) -> Callable[[], Related]:
        return lambda: (train, ss.relations.knn(train, **options))

    def elsewhere(X: np.ndarray, k: int = 10) -> Callable[[], Related]:
        return lambda: (train, ss.relations.knn(Dataset(name="space", X=X), n_neighbors=k))

    def viewed(transforms: str) -> Callable[[], Related]:
        def make() -> Related:
            rows = ss.augment(train, 2, transforms, seed=1)
            return rows, ss.relations.views(rows)

        return make

    def labelled(share: float = 1.0, wrong: float = 0.0) -> Callable[[], Related]:
        def make() -> Related:
            kept = np.random.default_rng(5).random(N) < share
            partial = Dataset(name="partial", X=train.X, y=np.where(kept, codes, -1))
            graph = ss.relations.labels(partial)
            return train, corrupt(graph, wrong, seed=2) if wrong else graph

        return make

    def astray(rate: float, how: Any) -> Callable[[], Related]:
        return lambda: (train, corrupt(ss.relations.knn(train), rate, how=how, y=y, seed=3))

    def mixed(a: Callable[[], Related], b: Callable[[], Related], t: float) -> Callable[[], Related]:
        def make() -> Related:
            first, second = a()[1], b()[1]
            return train, mix(first.scaled(1 / first.total_weight), second.scaled(1 / second.total_weight), t)

        return make

    codes = np.unique(y, return_inverse=True)[1]
    centred = train.X - train.X.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    spread = train.X.std(axis=0)
    distance = np.sort(np.linalg.norm(train.X[:, None] - train.X[None], axis=2), axis=1)

    def within(k: int) -> Callable[[], Related]:
        return lambda: (train, ss.relations.epsilon(train, radius=float(np.median(distance[:, k]))))

    def chance() -> Related:
        i = np.repeat(np.arange(N), 5)
        j = (i + np.random.default_rng(4).integers(1, N, size=i.size)) % N
        return train, Graph.from_pairs(i, j, N)

    found: dict[str, Callable[[], Related]] = {
        "knn 3": near(n_neighbors=3),
        "knn 10": near(n_neighbors=10),
        "knn 30": near(n_neighbors=30),
        "knn 10 in 2 principal axes": elsewhere(centred @ axes[:2].T),
        "knn 10 in 5 principal axes": elsewhere(centred @ axes[:5].T),
        "knn 10, standardised": elsewhere(centred / np.where(spread > 0, spread, 1)),
        "knn 10, features with noise": elsewhere(train.X + 1.0 * spread * rng.standard_normal(train.X.shape)),
        "radius of the 5th neighbour": within(5),
        "views, noise 0.1": viewed("noise(scale=0.1)"),
        "views, noise 0.5": viewed("noise(scale=0.5)"),
        "views, noise 2": viewed("noise(scale=2)"),
        "views, mask 0.5": viewed("mask(fraction=0.5)"),
        "labels": labelled(),
        "labels of a fifth": labelled(share=0.2),
        "labels, 0.4 wrong": labelled(wrong=0.4),
        "knn 10, 0.3 rewired": astray(0.3, "rewire"),
        "knn 10, 0.7 rewired": astray(0.7, "rewire"),
        "knn 10, 0.5 to a wrong class": astray(0.5, "wrong_class"),
        "knn 10 and labels": mixed(near(n_neighbors=10), labelled(share=0.2), 0.5),
        "chance": chance,
        "nuisance": elsewhere(nuisance[:, None], 5),
    }
    found["knn 10 and nuisance"] = mixed(near(n_neighbors=10), found["nuisance"], 0.5)
    graded = (
        near(n_neighbors=100),
        labelled(share=0.5),
        labelled(wrong=0.2),
        labelled(wrong=0.7),
        astray(0.5, "rewire"),
        astray(0.9, "rewire"),
        astray(0.2, "wrong_class"),
        astray(0.8, "wrong_class"),
        mixed(near(n_neighbors=10), found["nuisance"], 0.25),
        mixed(labelled(), found["nuisance"], 0.5),
    )
    found |= dict(zip(GRADES, graded, strict=True))
    if train.image_shape is not None:
        found["views, shift 1"] = viewed("shift(pixels=1)")
        found["views, shift 2, rotation 30"] = viewed("shift(pixels=2), rotation(degrees=30)")
        found["views, flip and shift 2"] = viewed("flip, flip(horizontal=False), shift(pixels=2)")
    return found


# ----------------------------------------------------------------------------------------------------------- trainings


def trained(name: str, label: str, loss: str, seed: int) -> dict[str, Any]:
    """One encoder, trained and probed on held-out rows."""
    train, test, _ = split(name)
    rows, graph = relations(name)[label]()
    started = time.process_time()  # of this process: what others do meanwhile is left out
    run = ss.train(LOSSES[loss](), graph, K, X=rows.X, encoder=ENCODER, seed=seed, **TRAINING)
    seconds = time.process_time() - started
    Z, held = run.embedding.transform(train.X), run.embedding.transform(test.X)
    body = run.encoder[:-1].double()  # without its last layer: what is often probed in its place

    def represented(X: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return np.asarray(body(torch.tensor(X, dtype=torch.float64)).numpy())

    R, R_held = represented(train.X), represented(test.X)
    return {
        "data": name, "relation": label, "loss": loss, "seed": seed, "batch_size": TRAINING["batch_size"],
        "max_iter": TRAINING["max_iter"], "seconds": seconds,
        "accuracy": linear_probe_score(Z, train.y, held, test.y, classification=True),
        "knn_accuracy": knn_score(Z, train.y, held, test.y, classification=True),
        "knn_representation": knn_score(R, train.y, R_held, test.y, classification=True),
        "rankme": effective_rank(Z), "rankme_representation": effective_rank(R),
        "final_loss": run.loss, "message": run.message,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- scores


def scored(name: str) -> list[dict[str, Any]]:
    """Every score of every relation of a data set, with its seconds; nothing here has seen a trained encoder."""
    train, _, _ = split(name)
    made = relations(name)
    started = time.process_time()
    chart = network_chart(train.X)
    chart_seconds = time.process_time() - started
    smooth = smooth_chart(train.X)
    rows = []
    for label, make in made.items():
        related, graph = make()
        views = {} if related is train else {"on": train.X, "source": related.source}
        of = {"X": related.X, "chart": chart, **views}
        row: dict[str, Any] = {
            "data": name,
            "relation": label,
            "n_pairs": graph.n_pairs,
            "chart_seconds": chart_seconds,
        }
        timed: dict[str, Callable[[], Any]] = {}
        for loss, method in LOSSES.items():
            timed[f"forecast, {loss}"] = functools.partial(forecast_score, graph, K, train.y, method=method(), **of)
            timed[f"forecast, {FEW} labels, {loss}"] = functools.partial(
                repeated, graph, train.y, range(DRAWS), n_labels=FEW, method=method(), **of
            )
            timed[f"{AGAIN}, {loss}"] = functools.partial(repeated, graph, train.y, DEALS, method=method(), **of)
        timed |= {
            "visible, no labels": lambda graph=graph, related=related, views=views: visible_score(
                graph, K, X=related.X, chart=smooth, **views
            ),
            "label energy, all embeddings": lambda graph=graph, related=related: captured(graph, related.y, None),
            "label energy, linear maps": lambda graph=graph, related=related: captured(graph, related.y, related.X),
            "label energy, chart": lambda graph=graph, related=related: captured(graph, related.y, smooth(related.X)),
            "ridge probe, all embeddings, 50 labels": lambda graph=graph, related=related: [
                few_free(graph, related, seed) for seed in range(DRAWS)
            ],
            "homophily": lambda graph=graph, related=related: edge_homophily(graph, related.y),
        }
        for score, compute in timed.items():
            started = time.process_time()
            try:
                found = compute()
            except DataError as error:  # where a score does not exist: no order to claim
                found, row[f"{score}: why not"] = None, str(error)
            seconds = time.process_time() - started
            many = isinstance(found, list)
            row[f"{score}: seconds"] = seconds / (len(found) if many else 1)
            if many:
                row[score] = [value_of(one) for one in found]
            else:
                row[score] = 0.0 if found is None else value_of(found)
            if hasattr(found, "accuracy"):
                row[f"{score}: accuracy"], row[f"{score}: error"] = found.accuracy, found.standard_error
        rows.append(row)
        if label in TIMED:  # side by side with the forecasts: a machine's pace differs from day to day
            row["trained again: seconds"] = {loss: trained(name, label, loss, 0)["seconds"] for loss in LOSSES}
            row["trained again: steps"] = TRAINING["max_iter"]
        told = ", ".join(f"{loss} {row[f'forecast, {loss}']:.3f}" for loss in LOSSES)
        print(f"{name}, {label}: {told}", flush=True)
    return rows


def repeated(graph: Graph, y: Any, seeds: Iterable[int], **options: Any) -> list[Any]:
    return [forecast_score(graph, K, y, seed=seed, **options) for seed in seeds]


def value_of(found: Any) -> float:
    return float(getattr(found, "score", found))


def captured(graph: Graph, y: Any, X: Any) -> float:
    return float(label_alignment(Spectra(graph, X=X), y, K).captured(K))


def few_free(graph: Graph, related: Dataset, seed: int) -> float:
    """Leave-one-out accuracy of a ridge probe on the top eigenvectors over all embeddings, of few labelled rows."""
    if graph not in _free:
        _free.clear()
        _free[graph] = np.asarray(Spectra(graph).of("laplacian", K).vectors[:, :K])
    drawn = np.random.default_rng(seed).choice(related.n_samples, FEW, replace=False)
    y = np.asarray(related.y)[drawn]
    return float(leave_one_out(_free[graph][drawn], y, probe="least_squares", ridge=None).score)


_free: dict[Graph, np.ndarray] = {}
SHORTER = "accuracy of shorter trainings"
AGAIN = "forecast, folds dealt again"
BY_LOSS = ("forecast", f"forecast, {FEW} labels", AGAIN)  # scores that know the loss
SCORES = (
    *BY_LOSS, "visible, no labels",
    "label energy, all embeddings", "label energy, linear maps", "label energy, chart",
    "ridge probe, all embeddings, 50 labels", "homophily",
)  # fmt: skip


def summary(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Spearman's coefficient of every score with the accuracy of trained encoders, per data set, loss and steps."""
    lengths = sorted({run["max_iter"] for run in record["trainings"]}, reverse=True)
    return [row for max_iter in lengths for row in summary_of(record, max_iter)]


def summary_of(record: dict[str, Any], max_iter: int) -> list[dict[str, Any]]:
    out = []
    runs = [run for run in record["trainings"] if run["max_iter"] == max_iter]
    shorter = [run for run in record["trainings"] if run["max_iter"] < max_iter]
    for name in dict.fromkeys(row["data"] for row in record["forecasts"]):
        told = {row["relation"]: row for row in record["forecasts"] if row["data"] == name}
        losses = dict.fromkeys(run["loss"] for run in runs if run["data"] == name)
        reached = {loss: means(runs, name, loss, "accuracy", told) for loss in losses}
        reached = {loss: found for loss, found in reached.items() if found.keys() >= told.keys() - set(GRADES)}
        losses = dict.fromkeys(reached)
        if len(losses) > 1:  # an order for whoever has not chosen a loss yet
            shared = set.intersection(*(set(found) for found in reached.values()))
            reached["mean of losses"] = {
                label: float(np.mean([reached[loss][label] for loss in losses])) for label in told if label in shared
            }
        for loss in reached:
            labels = [label for label in told if label in reached[loss]]
            of = list(losses) if loss not in losses else [loss]
            accuracy = np.array([reached[loss][label] for label in labels])
            near = accuracy >= np.median(accuracy)  # the better half, of narrow range, by itself
            # of one training each: repetitions serve to know the target better
            seconds = sum(
                paced(runs, told, name, one) * sum(means(runs, name, one, "seconds", labels).values()) for one in of
            )
            row: dict[str, Any] = {
                "data": name, "loss": loss, "max_iter": max_iter,
                "relations": len(labels), "better_half": int(near.sum()),
                "accuracy_least": float(accuracy.min()), "accuracy_median": float(np.median(accuracy)),
                "accuracy_most": float(accuracy.max()),
            }  # fmt: skip
            if seconds:
                row["train_seconds"] = seconds
            columns = {score: [known(told[label], score, of) for label in labels] for score in SCORES}
            for key in ("rankme", "rankme_representation"):
                columns[key] = [np.mean([means(runs, name, one, key, told)[label] for one in of]) for label in labels]
            for other in losses:
                if other != loss and loss in losses:  # what an order that knows nothing of the loss can reach
                    columns[f"accuracy by {other}"] = [reached[other][label] for label in labels]
            brief = means(shorter, name, loss, "accuracy", labels)  # a rival: to train for less
            if brief:
                row |= {
                    f"{SHORTER}: steps": max(run["max_iter"] for run in shorter),
                    f"{SHORTER}: relations": len(brief),
                }
                row[SHORTER] = spearman(
                    np.array(list(brief.values())), np.array([reached[loss][label] for label in brief])
                )
            ungraded = np.array([label not in GRADES for label in labels])
            for score, found in columns.items():
                values = np.asarray(found, dtype=float).reshape(len(labels), -1)
                row |= ranked(score, values, accuracy, near)
                rest = ranked(score, values[ungraded], accuracy[ungraded], near[ungraded])
                row[f"{score}: without grades"] = rest[score]
                spent = [known(told[label], score, of, ": seconds", np.sum) for label in labels]
                if spent[0] is not None and seconds:
                    extra = told[labels[0]]["chart_seconds"] if score in BY_LOSS else 0.0
                    row[f"{score}: share of training time"] = (float(np.sum(spent)) + extra) / seconds
            if loss in losses and len(by_seed := seeded(runs, name, loss, told)) > 1:  # what luck leaves of any order
                one, two = (np.array([found[label] for label in labels]) for found in by_seed[:2])
                row |= ranked("one seed by another", two[:, None], one, one >= np.median(one))
                row["seeds"] = len(by_seed)
                for part in ("", ": better half"):
                    r = max(0.0, row[f"one seed by another{part}"])
                    row[f"ceiling{part}"] = float(np.sqrt(len(by_seed) * r / (1 + (len(by_seed) - 1) * r)))
            out.append(row)
    return out


def paced(runs: list[dict[str, Any]], told: dict[str, Any], name: str, loss: str) -> float:
    """Seconds of a training beside the forecasts over those on record; 0 where none of this length was timed again."""
    again = {
        label: row["trained again: seconds"][loss]
        for label, row in told.items()
        if row.get("trained again: steps") == runs[0]["max_iter"]
    }
    before = means([run for run in runs if run["seed"] == 0], name, loss, "seconds", again)
    return float(sum(again.values()) / sum(before.values())) if again else 0.0


def known(told: dict[str, Any], score: str, losses: Any, key: str = "", pool: Any = np.mean) -> Any:
    """A score, or what is told of it; of a score by loss, pooled over the losses asked for."""
    if score not in BY_LOSS:
        return told.get(score + key)
    return pool([told[f"{score}, {loss}{key}"] for loss in losses], axis=0)


def seeded(runs: list[dict[str, Any]], name: str, loss: str, labels: Any) -> list[dict[str, float]]:
    """Accuracy by relation, for every seed that trained all of them."""
    seeds = sorted({run["seed"] for run in runs})
    found = [means([run for run in runs if run["seed"] == seed], name, loss, "accuracy", labels) for seed in seeds]
    return [one for one in found if len(one) == len(found[0])]


def ranked(score: str, values: np.ndarray, accuracy: np.ndarray, near: np.ndarray) -> dict[str, Any]:
    """Over all relations and over the better half; medians and the range over draws of labels."""
    whole = [spearman(column, accuracy) for column in values.T]
    part = [spearman(column[near], accuracy[near]) for column in values.T]
    row = {score: float(np.median(whole)), f"{score}: better half": float(np.median(part))}
    if len(whole) > 1:
        row |= {f"{score}: least": min(whole), f"{score}: most": max(whole)}
    return row


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    if x.size < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(scipy.stats.spearmanr(x, y)[0])


def means(runs: list[dict[str, Any]], name: str, loss: str, key: str, labels: Any) -> dict[str, float]:
    """Of every relation, over the seeds trained."""
    found: dict[str, list[float]] = {}
    for run in runs:
        if run["data"] == name and run["loss"] == loss and run["relation"] in labels:
            found.setdefault(run["relation"], []).append(float(run[key]))
    return {label: float(np.mean(values)) for label, values in found.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """A row for every score, a column for every data set and loss."""
    heads = [f"{row['data'][:7]} {row['loss'][:6]} {row['max_iter']}" for row in rows]
    lines = [f"{'Spearman (better half alone)':42}" + "".join(f"{head:>20}" for head in heads)]
    for key in (
        *SCORES,
        "rankme",
        "rankme_representation",
        SHORTER,
        *(f"accuracy by {loss}" for loss in LOSSES),
        "one seed by another",
        "ceiling",
    ):
        cells = [
            f"{row[key]:.2f} ({row[f'{key}: better half']:.2f})" if f"{key}: better half" in row
            else f"{row[key]:.2f}" if key in row else "-"
            for row in rows
        ]  # fmt: skip
        lines.append(f"{key:42}" + "".join(f"{cell:>20}" for cell in cells))
    cells = [f"{row['forecast: without grades']:.2f}" for row in rows]
    lines.append(f"{'forecast: without grades':42}" + "".join(f"{cell:>20}" for cell in cells))
    cells = [f"{row[f'{AGAIN}: least']:.2f} to {row[f'{AGAIN}: most']:.2f}" for row in rows]
    lines.append(f"{AGAIN + ': range':42}" + "".join(f"{cell:>20}" for cell in cells))
    for key in ("forecast", "forecast, 50 labels"):
        shares = [row.get(f"{key}: share of training time") for row in rows]
        cells = ["-" if share is None else f"{100 * share:.2f} %" for share in shares]
        lines.append(f"{key + ': share of training':42}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def train_all(names: list[str], losses: list[str], seeds: int, kept: Path) -> None:
    for seed in range(seeds):
        for name in names:
            for label in relations(name):
                for loss in losses:
                    key = {
                        "data": name, "relation": label, "loss": loss, "seed": seed, "max_iter": TRAINING["max_iter"],
                    }  # fmt: skip
                    record = stored(kept)
                    if any(all(row[k] == v for k, v in key.items()) for row in record["trainings"]):
                        continue
                    row = trained(name, label, loss, seed)
                    record["trainings"].append(row)
                    write(record, kept)
                    print(
                        f"{name}, {label}, {loss}, seed {seed}: {row['accuracy']:.3f} in {row['seconds']:.1f} s",
                        flush=True,
                    )


def stored(path: Path) -> dict[str, Any]:
    if path.exists():
        return dict(json.loads(path.read_text()))
    return {
        "benchmark": "forecast",
        "machine": machine(),
        "training": {"encoder": ENCODER, "K": K, **TRAINING},
        "trainings": [],
    }


def write(record: dict[str, Any], path: Path) -> None:
    text = json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n"
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(DATA), help="names of data sets, separated by commas")
    parser.add_argument("--losses", default=",".join(LOSSES))
    parser.add_argument("--train", action="store_true", help="train what is not on record yet")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of every relation and loss")
    parser.add_argument("--max-iter", type=int, default=TRAINING["max_iter"], help="steps of each training")
    parser.add_argument("--json", type=Path, default=RESULTS, help="the record")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", SpectralWarning)
    TRAINING["max_iter"] = arguments.max_iter
    names = [name for name in arguments.data.split(",") if name]
    if arguments.train:
        train_all(names, arguments.losses.split(","), arguments.seeds, arguments.json)
    record = stored(arguments.json)
    kept = [row for row in record.get("forecasts", []) if row["data"] not in names]
    trained_on = {run["data"] for run in record["trainings"]}
    record["forecasts"] = kept + [row for name in names if name in trained_on for row in scored(name)]
    write(record, arguments.json)
    record["summary"] = summary(record)
    record["machine"] = machine()
    write(record, arguments.json)
    print(table(record["summary"]))


if __name__ == "__main__":
    main()
