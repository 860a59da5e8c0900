"""Is the accuracy of a trained model known before it is trained? Predicted against measured, and against in-sample.

For every relation, method, corruption rate and split: the closed form gives the score of a linear probe on rows to
come (`ss.theory.predicted_score`; nothing is trained, no held-out row is read); then the real loss is trained, and its
probe judged on the held-out rows. Beside it the rival that costs as little: the in-sample accuracy of the same probe.
Relations made from labels are predicted by folds, others by leave-one-out.

    python benchmarks/prediction.py
    python benchmarks/prediction.py --data wine --relations "labels, knn" -K 4 --splits 3 --rates 0,0.5 --json out.json

What is left is mostly the noise of the judges: n held-out rows know an accuracy p to sqrt(p (1 - p) / n); the column
"noise" is the mean |error| of a perfect prediction, given that many held-out rows.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from threadpoolctl import threadpool_limits

import spectral_ssl as ss
from spectral_ssl import spec
from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.experiments.compare import ALL_METHODS
from spectral_ssl.experiments.rows import method_name, parse_methods
from spectral_ssl.experiments.setting import Setting, load_data, make_setting
from spectral_ssl.relations import corrupt
from spectral_ssl.runs import machine, to_jsonable

RESULTS = Path(__file__).with_name("results") / "prediction.json"
FOLDS = 10  # of relations made from labels
BY_LABELS = ("labels",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a labelled data set by name, or a file")
    parser.add_argument("--relations", default="labels, knn, views", help="relations, as for spectral-ssl compare")
    parser.add_argument("--methods", default=ALL_METHODS, help="methods, as for spectral-ssl compare")
    parser.add_argument("-K", "--n-components", type=int, default=16)
    parser.add_argument("--rates", default="0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9", help="shares of pairs rewired")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--test-size", type=float, default=0.5)
    parser.add_argument("--max-iter", type=int, default=500, help="evaluations of the loss per training run")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where rows, machine and versions go")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ss.SpectralWarning)
    data = load_data(arguments.data)
    rates = [float(rate) for rate in arguments.rates.split(",")]
    relations = [spec.format_call(*call) for call in spec.parse_calls(arguments.relations)]
    rows: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for relation in relations:
            for split in range(arguments.splits):
                setting = make_setting(data, relation, test_size=arguments.test_size, seed=split)
                for rate in rates:
                    rows += predicted_and_trained(
                        setting, arguments.methods, arguments.n_components, rate, split, arguments.max_iter
                    )
                here = [r for r in rows if r["relation"] == relation and r["split"] == split]
                print(f"{relation}, split {split}: {summary(here)}", file=sys.stderr, flush=True)
    record = {
        "benchmark": "prediction",
        "arguments": vars(arguments) | {"json": arguments.json.name},
        "machine": machine(),
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
    print(table(rows))


def predicted_and_trained(
    setting: Setting, methods: str, K: int, rate: float, seed: int, max_iter: int
) -> list[dict[str, Any]]:
    """A row for every method: what was foretold, what training then reached, and the seconds of both."""
    train_set, test_set = setting.probe_train, setting.probe_test
    assert test_set is not None
    graph = corrupt(setting.graph, rate, seed=seed)
    rows = []
    for method in parse_methods(methods):
        by_labels = setting.relation.split("(")[0] in BY_LABELS
        views = setting.data is not train_set
        started = time.perf_counter()
        predicted = ss.theory.predicted_score(
            method,
            graph,
            K,
            train_set.y,
            X=setting.data.X,
            on=train_set.X if views else None,
            folds=FOLDS if by_labels else None,
            seed=seed,
        )
        foretold = time.perf_counter()
        run = ss.train(method, graph, K, X=setting.data.X, seed=seed, max_iter=max_iter)
        trained = time.perf_counter()
        held_out = linear_probe_score(
            *(run.embedding.transform(train_set.X), train_set.y),
            *(run.embedding.transform(test_set.X), test_set.y),
            classification=True,
        )
        rows.append(
            {
                "relation": setting.relation,
                "method": method_name(method),
                "rate": rate,
                "split": seed,
                "predicted": predicted.score,
                "standard_error": predicted.standard_error,
                "in_sample": predicted.in_sample,
                "held_out": held_out,
                "n_test": test_set.n_samples,
                "converged": run.converged,
                "seconds_predicted": foretold - started,
                "seconds_trained": trained - foretold,
            }
        )
    return rows


def errors(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean |error| of the prediction, of the in-sample score and of the judge, and the rank correlation."""
    held = np.array([r["held_out"] for r in rows])
    predicted, seen = (np.array([r[key] for r in rows]) for key in ("predicted", "in_sample"))
    noise = math.sqrt(2 / math.pi) * np.sqrt(held * (1 - held) / np.array([r["n_test"] for r in rows]))
    return {
        "predicted": float(np.abs(predicted - held).mean()),
        "in_sample": float(np.abs(seen - held).mean()),
        "noise": float(noise.mean()),
        "bias": float((predicted - held).mean()),
        "spearman": float(scipy.stats.spearmanr(predicted, held).statistic),
        "spearman_in_sample": float(scipy.stats.spearmanr(seen, held).statistic),
    }


def summary(rows: list[dict[str, Any]]) -> str:
    e = errors(rows)
    return f"|error| {e['predicted']:.4f}, in-sample {e['in_sample']:.4f}, noise {e['noise']:.4f}"


def table(rows: list[dict[str, Any]]) -> str:
    """The table of README.md: a line per relation, one for all."""
    lines = [
        "| relation | held-out accuracy | mean error, predicted | in-sample | noise of the judge | "
        "Spearman, predicted | in-sample |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups = {relation: [r for r in rows if r["relation"] == relation] for relation in {r["relation"]: 0 for r in rows}}
    for name, here in [*groups.items(), ("**all**", rows)]:
        e, held = errors(here), [r["held_out"] for r in here]
        lines.append(
            f"| {name} | {min(held):.2f} to {max(held):.2f} | {e['predicted']:.4f} | {e['in_sample']:.4f} | "
            f"{e['noise']:.4f} | {e['spearman']:.3f} | {e['spearman_in_sample']:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
