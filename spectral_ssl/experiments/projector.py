"""Backbone and projector: a network of one hidden layer against its floor, by the width of its output."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectral_ssl.comparison import effective_rank, linear_probe_score
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.experiments.frame import (
    check_list,
    check_seeds,
    excess_of,
    experiment,
    known_as,
    open_setting,
    repeats,
    spread,
    times,
)
from spectral_ssl.experiments.regimes import solved
from spectral_ssl.experiments.rows import parse_methods
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra
from spectral_ssl.training import train

__all__ = ["projector_width"]


def projector_width(
    *,
    data: str = "digits",
    relation: str = "knn",
    method: str = "vicreg",
    widths: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    backbone: int = 128,
    activation: Literal["relu", "gelu", "tanh"] = "relu",
    test_size: float = 0.25,
    max_iter: int = 250,
    seeds: int = 2,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Backbone and projector: how near theory does a network come at each width K, and where do labels sit, in h or z?

    h is a hidden layer of `backbone` units, z = h V + b the projector's output of width K that the loss sees. Its
    floor is the closed form over all embeddings; the closed form over linear maps of the data stands beside it.

    Args:
        data: A data set by name, or a file.
        relation: The positive pairs, as in "knn(n_neighbors=10)".
        method: One method, with options as in "vicreg(invariance=0.5)".
        widths: Widths K of the projector.
        backbone: Width R of the hidden layer.
        activation: relu, gelu or tanh.
        test_size: Share of the samples held out for the probes.
        max_iter: Evaluations of the loss per run.
        seeds: Runs of each.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: The first seed.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    sizes, several = check_list(widths, "widths", 1), check_seeds(seeds, seed)
    (chosen,) = parse_methods(method) if len(parse_methods(method)) == 1 else _one_method(method)
    setting = open_setting(data, relation, test_size=test_size, seed=seed)
    train_set, test_set = setting.probe_train, setting.probe_test
    if test_set is None or train_set.y is None:
        raise DataError("the probes need labels and held-out samples; choose labelled data and --test-size above 0")
    linear, free = Spectra(setting.graph, X=setting.data.X), Spectra(setting.graph)
    if sizes[-1] > setting.data.n_features:
        raise DataError(
            f"widths: {sizes[-1]} exceeds the {setting.data.n_features} features, past which linear maps have no more "
            "dimensions to compare with"
        )

    def probe(h: Array, h_test: Array) -> float:
        kind = train_set.is_classification
        return linear_probe_score(h, train_set.y, h_test, test_set.y, classification=kind)

    encoder = f"mlp(width={backbone}, depth=1, activation={activation})"
    raw = probe(train_set.X, test_set.X)
    # one step of no length: the backbone as it is drawn, the control of what training adds to it
    still = train(
        *(solved(chosen, linear, 1).method, setting.graph, 1),
        X=setting.data.X,
        encoder=encoder,
        optimizer="sgd",
        learning_rate=1e-30,
        max_iter=1,
        seed=seed,
    )
    untrained = probe(*(_hidden(still.encoder, X) for X in (train_set.X, test_set.X)))
    with experiment(
        "projector-width",
        config,
        question="What does the width of the projector change, in the loss and in what a probe finds?",
        zero_line="the closed form over all embeddings",
        steps=len(sizes) * len(several),
        progress=progress,
        setting=setting,
    ) as report:
        for K in sizes:
            mapped = solved(chosen, linear, K)
            best = solved(mapped.method, free, K)
            looks: list[dict[str, Any]] = []
            for s in several:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SpectralWarning)
                    run = train(
                        *(best.method, setting.graph, K),
                        X=setting.data.X,
                        encoder=encoder,
                        seed=s,
                        max_iter=max_iter,
                    )
                h, h_test = (_hidden(run.encoder, X) for X in (train_set.X, test_set.X))
                Z = run.embedding.Z
                looks.append(
                    {
                        "excess": excess_of(Z, best.method, setting.graph, best),
                        "effective_rank_h": effective_rank(h - h.mean(axis=0)),
                        "effective_rank_z": effective_rank(Z - Z.mean(axis=0)),
                        "probe_h": probe(h, h_test),
                        "probe_z": probe(run.embedding.transform(train_set.X), run.embedding.transform(test_set.X)),
                        "Z": Z,
                    }
                )
                report.task.advance(text=f"K = {K}")
            row = {
                "K": K,
                **{
                    key: value
                    for name in list(looks[0])[:-1]
                    for key, value in spread((x[name] for x in looks), name).items()
                },
                "linear_excess": excess_of(mapped.embedding.Z, best.method, setting.graph, best),
                "linear_probe": probe(mapped.embedding.transform(train_set.X), mapped.embedding.transform(test_set.X)),
                "linear_effective_rank": effective_rank(mapped.embedding.Z),
                "rank_free": best.rank,
                "kind": best.kind,
                "slug": f"K{K}",
            }
            report.add(row, Z=looks[0]["Z"])
        rows = list(report.payload["rows"])
        report.payload["rows"] += _by_layer(rows)
        first, last = rows[0], rows[-1]
        score = "accuracy" if train_set.is_classification else "R²"
        floor = f"{known_as(row['kind'] for row in rows)} over all embeddings"
        report.payload |= {"probe_raw": raw, "probe_untrained": untrained, "zero_line": floor}
        report.payload["answer"] = (
            f"From K = {first['K']} to {last['K']} the network goes from {times(first['excess'])} to "
            f"{times(last['excess'])} above {floor} (linear maps: {times(first['linear_excess'])} to "
            f"{times(last['linear_excess'])}); probes find ({score}) {first['probe_h']:.3f} to {last['probe_h']:.3f} "
            f"in h and {first['probe_z']:.3f} to {last['probe_z']:.3f} in z (raw features {raw:.3f}, the untrained "
            f"backbone {untrained:.3f})."
        )
        report.payload["setting"] = (
            f"{method}; one hidden layer of {backbone} {activation} units{repeats(several, 'median and range of')}"
        )
        shared = {"x": "K", "xlabel": "width K of the projector's output z", "xscale": "log"}
        report.payload["curves"] = [
            {
                **shared,
                "name": "projector-excess",
                "title": "A network against its floor: excess loss over all embeddings, by projector width",
                "y": "height",
                "by": "model",
                "where": {"layer": "loss"},
                "ylabel": "excess loss (collapsed = 1)",
                "yscale": "log",
                "zero": 0.0,
                "band": ["height_min", "height_max"],
                "theory": ["linear maps, optimum"],
            },
            {
                **shared,
                "name": "projector-probe",
                "title": "Where the labels sit: probes of the backbone h and of the projector's output z",
                "y": "probe",
                "by": "model",
                "where": {"layer": ["h", "z", "linear"]},
                "ylabel": f"held-out probe {score}",
                "yscale": "linear",
                "band": ["probe_min", "probe_max"],
                "theory": ["linear maps, optimum"],
                "below": {"y": "effective_rank", "ylabel": "effective\nrank", "yscale": "log"},
                "caption": f"raw features {raw:.3f}, untrained backbone {untrained:.3f}",
            },
        ]
    return report.payload


def _one_method(text: str) -> Any:
    raise DataError(f"method must name one method, got {text!r}; run the experiment again for another")


def _hidden(network: Any, X: Array) -> Array:
    """What the projector is given: the network without its last layer."""
    x = next(network.parameters()).new_tensor(X)
    return np.asarray(network[:-1](x).detach().cpu().numpy(), dtype=np.float64)


def _by_layer(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same numbers with a row for each line of the figures."""
    found: list[dict[str, Any]] = []
    for row in rows:
        K = row["K"]
        network = {f"height{end}": row[f"excess{end}"] for end in ("", "_min", "_max")}
        found.append({"K": K, "layer": "loss", "model": "network, trained", **network})
        found.append({"K": K, "layer": "loss", "model": "linear maps, optimum", "height": row["linear_excess"]})
        for layer, words in (("h", "backbone h"), ("z", "projector output z")):
            probes = {f"probe{end}": row[f"probe_{layer}{end}"] for end in ("", "_min", "_max")}
            found.append(
                {"K": K, "layer": layer, "model": words, **probes, "effective_rank": row[f"effective_rank_{layer}"]}
            )
        line = {"probe": row["linear_probe"], "effective_rank": row["linear_effective_rank"]}
        found.append({"K": K, "layer": "linear", "model": "linear maps, optimum", **line})
    return found
