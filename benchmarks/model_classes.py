"""What does the model class cost, and how does its optimum serve new samples? Linear maps, kernels, all embeddings.

One relation, no training: every method's optimum over each model class, its loss, and the held-out accuracy of a linear
probe on it, new samples embedded by `transform` (the linear map, the kernel's features, Nystroem's formula). The free
model has the least loss by definition; whether its embedding also serves new samples is the question.

    python benchmarks/model_classes.py
    python benchmarks/model_classes.py --data wine --relation "knn(n_neighbors=5)" -K 3 --seeds 10
    python benchmarks/model_classes.py --json benchmarks/results/model_classes.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.experiments.rows import method_name, parse_methods
from spectral_ssl.experiments.setting import Setting, load_data, make_setting, make_spectra
from spectral_ssl.extension import extend
from spectral_ssl.runs import machine, to_jsonable
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Model

METHODS = "vicreg, frobenius_simclr, spectral_contrastive, barlow_twins"
MODELS: tuple[tuple[Model, str | None, float], ...] = (
    ("linear", None, 0.0),
    ("kernel", "random_features(n_features=500)", 1.0),
    ("kernel", "nystroem(n_landmarks=300)", 1.0),
    ("kernel", "exact", 0.0),
    ("kernel", "exact", 1.0),
    ("free", None, 0.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a labelled data set by name, or a file")
    parser.add_argument("--relation", default="knn", help="as for spectral-ssl compare")
    parser.add_argument("--methods", default=METHODS, help="methods, as for spectral-ssl compare")
    parser.add_argument("-K", "--n-components", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3, help="splits into training and held-out rows")
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.seeds):
        setting = make_setting(load_data(arguments.data), arguments.relation, test_size=0.25, seed=seed)
        rows += [{**row, "seed": seed} for row in model_rows(setting, arguments.methods, arguments.n_components)]
    print(f"held-out probe accuracy, median of {arguments.seeds} splits; in brackets on the training rows")
    print(table(rows))
    if arguments.json:
        record = {"benchmark": "model_classes", "arguments": vars(arguments), "machine": machine(), "rows": rows}
        Path(arguments.json).write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {arguments.json}")


def model_rows(
    setting: Setting, methods: str, K: int, models: Sequence[tuple[Model, str | None, float]] = MODELS
) -> list[dict[str, Any]]:
    """A row per model class and method: the optimum's loss, rank and probe accuracy on training and held-out rows."""
    train, test = setting.probe_train, setting.probe_test
    assert test is not None
    rows = []
    for model, kernel, ridge in models:
        spectra = make_spectra(setting, model, kernel, ridge)
        for method in parse_methods(methods):
            started = time.perf_counter()
            best = optimum(method, spectra, K)
            seconds = time.perf_counter() - started
            embedding = best.embedding
            if not embedding.extends:  # a free optimum of a relation without a rule for new samples
                embedding = extend(embedding, setting.data.X)
            Z = embedding.transform(train.X)
            rows.append(
                {
                    "relation": setting.relation,
                    "model": model,
                    "kernel": kernel,
                    "ridge": ridge,
                    "method": method_name(method),
                    "hyper": best.method.hyper,
                    "n_components": K,
                    "loss": best.loss,
                    "rank": best.rank,
                    "probe_train": linear_probe_score(Z, train.y, Z, train.y, classification=True),
                    "probe": linear_probe_score(Z, train.y, embedding.transform(test.X), test.y, classification=True),
                    "seconds": seconds,
                }
            )
    return rows


def name_of(row: dict[str, Any]) -> str:
    """A model class in words."""
    ridge = f", ridge {row['ridge']:g}" if row["ridge"] else ""
    return (row["kernel"] or row["model"]) + ridge


def table(rows: list[dict[str, Any]]) -> str:
    methods = list(dict.fromkeys(r["method"] for r in rows))
    lines = [f"{'model':44}" + "".join(f"{method:>24}" for method in methods)]
    for model in dict.fromkeys(map(name_of, rows)):
        cells = []
        for method in methods:
            here = [r for r in rows if name_of(r) == model and r["method"] == method]
            held, seen = (statistics.median(r[key] for r in here) for key in ("probe", "probe_train"))
            cells.append(f"{held:15.3f} [{seen:.3f}]")
        lines.append(f"{model:44}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
