"""Does training reach the closed form, and at what price in time?

For every data set x relation x method x K: the closed-form optimum, the real loss trained from several seeds, the
excess loss, the largest principal angle where the eigenvalue gap is open, and the ratio of both times.

    python benchmarks/learned_vs_closed_form.py
    python benchmarks/learned_vs_closed_form.py --data digits,wine --relation "knn(n_neighbors=5), labels" -K 2,8
    --seeds 3 python benchmarks/learned_vs_closed_form.py --json result.json

Times are medians over the seeds, of one process, as this machine was at that moment; the ratio is what carries over.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from spectral_ssl import spec
from spectral_ssl.comparison import GAP_JUDGED
from spectral_ssl.experiments.compare import ALL_METHODS
from spectral_ssl.experiments.rows import make_row, parse_methods
from spectral_ssl.experiments.setting import load_data, make_setting
from spectral_ssl.runs import machine, to_jsonable
from spectral_ssl.spectrum import Spectra


def main() -> None:
    arguments = parse()
    rows = []
    for data in split(arguments.data):
        dataset = load_data(data)
        for name, options in spec.parse_calls(arguments.relation):
            setting = make_setting(dataset, spec.format_call(name, options), test_size=0.25, seed=0)
            X = setting.data.X if arguments.model == "linear" else None
            for K in map(int, split(arguments.n_components)):
                if (X.shape[1] if X is not None else setting.graph.n_samples - 1) < K:
                    print(f"left out: {data}, K = {K} is more than the model can have", file=sys.stderr)
                    continue
                for method in parse_methods(arguments.methods):
                    rows.append(measure(data, method, setting, K, arguments.model, X, arguments.seeds))
                    print(line(rows[-1]), flush=True)
    print(verdict(rows))
    if arguments.json:
        record = {
            "benchmark": "learned_vs_closed_form",
            "arguments": vars(arguments),
            "machine": machine(),
            "rows": rows,
        }
        Path(arguments.json).write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {arguments.json}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default="digits,wine,breast_cancer", help="data sets by name or file, comma separated"
    )
    parser.add_argument("--relation", default="knn, labels, views", help="relations, as for spectral-ssl compare")
    parser.add_argument("--methods", default=ALL_METHODS, help="methods, as for spectral-ssl compare")
    parser.add_argument("-K", "--n-components", default="2,8", help="dimensions, comma separated")
    parser.add_argument("--model", default="linear", choices=("linear", "free"))
    parser.add_argument("--seeds", type=int, default=3, help="training runs per row")
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    print(HEADER)
    return parser.parse_args()


def split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def measure(data: str, method: Any, setting: Any, K: int, model: str, X: Any, seeds: int) -> dict[str, Any]:
    """One row: closed form timed from the relation on (moments and factorisation included), training per seed."""
    closed_seconds = []
    for _ in range(seeds):
        started = time.perf_counter()
        spectra = Spectra(setting.graph, X=X)
        method.optimum(spectra.of(method.pencil, K), K)
        closed_seconds.append(time.perf_counter() - started)
    runs = [make_row(method, setting, K, model=model, spectra=spectra, seed=seed) for seed in range(seeds)]
    best = min(runs, key=lambda r: r["loss_trained"])
    closed, trained = statistics.median(closed_seconds), statistics.median(r["seconds_trained"] for r in runs)
    return {
        "data": data,
        "relation": setting.relation,
        "n_samples": setting.graph.n_samples,
        "K": K,
        "model": model,
        "method": best["method"],
        "hyper": best["hyper"],
        "kind": best["kind"],
        "loss_closed": best["loss_closed"],
        "loss_trained": best["loss_trained"],
        "relative_excess": best["relative_excess"],
        "worst_relative_excess": max(r["relative_excess"] for r in runs),
        "max_angle": best["max_angle"],
        "gap": best["gap"],
        "seconds_closed": closed,
        "seconds_trained": trained,
        "ratio": trained / closed,
        "converged": sum(r["converged"] for r in runs),
        "seeds": seeds,
        "note": best["note"],
    }


HEADER = (
    f"{'data':14} {'relation':24} {'K':>3} {'method':21} {'closed form':>12} {'best trained':>12} {'rel. excess':>11} "
    f"{'angle':>8} {'gap':>8} {'closed s':>9} {'trained s':>9} {'ratio':>7}"
)


def line(row: dict[str, Any]) -> str:
    def short(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        f"{row['data']:14.14} {row['relation']:24.24} {row['K']:>3} {row['method']:21} "
        f"{short(row['loss_closed'], '12.6g')} {row['loss_trained']:12.6g} "
        f"{short(row['relative_excess'], '11.1e'):>11} {short(row['max_angle'], '8.1e'):>8} "
        f"{short(row['gap'], '8.1e'):>8} {row['seconds_closed']:9.4f} {row['seconds_trained']:9.3f} {row['ratio']:7.0f}"
    )


def verdict(rows: list[dict[str, Any]]) -> str:
    exact = [r for r in rows if r["kind"] == "exact"]
    judged = [
        r["max_angle"] for r in exact if r["max_angle"] is not None and (r["gap"] is None or r["gap"] >= GAP_JUDGED)
    ]
    if not exact:
        return "no exact method among the rows"
    return (
        f"{len(exact)} exact rows: largest relative excess {max(r['relative_excess'] for r in exact):.1e}; "
        f"{len(judged)} judged angles, largest {max(judged, default=0.0):.1e}; "
        f"training takes {statistics.median(r['ratio'] for r in exact):.0f} times as long as the closed form (median)"
    )


if __name__ == "__main__":
    main()
