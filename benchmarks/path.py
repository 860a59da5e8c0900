"""One factorisation, a whole path: 100 values of a hyper-parameter from one spectrum against 100 separate solves.

A separate solve starts from the relation, as `ss.optimum(method, graph, K, X=X)` does: statistics of the data,
factorisation, optimum. The path starts from the relation too, and factorises once. Both give the losses at all values,
and their largest difference is reported. Separate solves are timed on a few of the values, spread over the path, and
counted 100 times: each costs the same, whatever its value. Times are medians over repeats, on one thread.

    python benchmarks/path.py
    python benchmarks/path.py --only linear --repeats 9
    python benchmarks/path.py --json benchmarks/results/path.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import spectral_ssl as ss
from spectral_ssl.runs import machine, to_jsonable
from spectral_ssl.theory import Path as PathOfOptima
from spectral_ssl.theory import invariance_path, redundancy_path

TIMED = 5  # values of the 100 that are solved separately in a repeat
TARGET = 70.0


@dataclass(frozen=True)
class Case:
    """path(spectra): the whole of it; X None: over all embeddings."""

    name: str
    data: str
    graph: ss.Graph
    X: Any
    K: int
    path: Callable[[ss.Spectra], PathOfOptima]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose names begin so, comma-separated")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    arguments = parser.parse_args()
    wanted = tuple(name.strip() for name in arguments.only.split(",") if name.strip())
    print(f"{'case':<34}{'N':>6}{'D':>5}{'K':>4}{'one':>11}{'100 solves':>12}{'path':>11}{'ratio':>8}  loss differs by")
    rows = []
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ss.SpectralWarning)  # of rank, where a value collapses
        for case in cases():
            if not wanted or case.name.startswith(wanted):
                rows.append(measure(case, arguments.repeats))
                print(line(rows[-1]), flush=True)
    worst = min(row["ratio"] for row in rows)
    print(f"a path of 100 values costs at most 1/{worst:.0f} of 100 solves (target: 1/{TARGET:.0f})")
    if arguments.json:
        record = {"benchmark": "path", "arguments": vars(arguments), "machine": machine(), "rows": rows}
        Path(arguments.json).write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {arguments.json}")


def cases() -> Iterator[Case]:
    digits = ss.load_dataset("digits")
    knn = ss.relations.knn(digits)

    def invariance(**options: Any) -> Callable[[ss.Spectra], PathOfOptima]:
        return lambda spectra: invariance_path(spectra.of("laplacian", 8), 8, **options)

    def redundancy(spectra: ss.Spectra) -> PathOfOptima:
        return redundancy_path(spectra.of("degree_centred", 8), 8)

    forms: list[tuple[str, dict[str, Any]]] = [
        ("VICReg", {}),
        ("VICReg, beta = 0.3", {"covariance": 0.3}),
        ("VICReg, hinge, alpha = 12.5", {"form": "hinge", "variance": 12.5}),
    ]
    for name, options in forms:
        yield Case(f"linear {name}", "digits, knn", knn, digits.X, 8, invariance(**options))
    yield Case("linear Barlow Twins", "digits, knn", knn, digits.X, 8, redundancy)
    rng = np.random.default_rng(0)
    for D in (256, 512):
        X = rng.standard_normal((2000, 20)) @ rng.standard_normal((20, D)) + rng.standard_normal((2000, D))
        data = ss.Dataset(name="low rank and noise", X=X)
        yield Case("linear VICReg, more features", data.name, ss.relations.knn(data), X, 8, invariance())
    yield Case("free VICReg", "digits, knn", knn, None, 8, invariance())
    yield Case("free Barlow Twins", "digits, knn", knn, None, 8, redundancy)


def measure(case: Case, repeats: int) -> dict[str, Any]:
    whole = case.path(ss.Spectra(case.graph, X=case.X))
    T = len(whole)
    chosen = np.linspace(0, T - 1, TIMED).astype(int)
    differences, singles, paths = [], [], []
    for _ in range(repeats):
        paths.append(timed(lambda: case.path(ss.Spectra(case.graph, X=case.X)))[0])
        for i in chosen:
            method = whole.method_at(int(i))
            seconds, best = timed(lambda method=method: ss.optimum(method, case.graph, case.K, X=case.X))
            singles.append(seconds)
            differences.append(abs(best.loss - whole.loss[i]) / abs(whole.loss[i]))
    one, path = statistics.median(singles), statistics.median(paths)
    return {
        "case": case.name,
        "data": case.data,
        "n_samples": case.graph.n_samples,
        "n_features": None if case.X is None else case.X.shape[1],
        "n_components": case.K,
        "n_values": T,
        "kinds": sorted(set(whole.kind)),
        "ranks": [int(whole.rank.min()), int(whole.rank.max())],
        "losses": [float(whole.loss[i]) for i in chosen],
        "seconds_one_solve": one,
        "seconds_separate": T * one,
        "seconds_path": path,
        "ratio": T * one / path,
        "loss_difference": max(differences),
    }


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    answer = run()
    return time.perf_counter() - start, answer


def line(row: dict[str, Any]) -> str:
    D = "all" if row["n_features"] is None else row["n_features"]
    times = "".join(f"{1e3 * row[key]:>9.1f}ms" for key in ("seconds_one_solve",))
    times += f"{row['seconds_separate']:>11.2f}s{1e3 * row['seconds_path']:>9.1f}ms"
    return (
        f"{row['case']:<34}{row['n_samples']:>6}{D:>5}{row['n_components']:>4}{times}{row['ratio']:>8.0f}"
        f"  {row['loss_difference']:.0e}"
    )


if __name__ == "__main__":
    main()
