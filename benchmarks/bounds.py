"""How tight are the limits that the contrastive risk gives, how often do they tell anything, and what does exact cost?

Closed forms of several methods on labelled data, and random features, at several temperatures, held-out rows, K = 1, 2,
4, .. 512: every limit of `spectral_ssl.theory.surrogate_bounds` beside the measured risk of the mean classifier. Then
the exact contrastive risk by number of rows against Monte Carlo, in seconds and in error.

    python benchmarks/bounds.py
    python benchmarks/bounds.py --data wine --temperatures 1 --rows 500,1000
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import spectral_ssl as ss
from spectral_ssl.experiments.rows import method_name, parse_methods
from spectral_ssl.experiments.setting import make_setting
from spectral_ssl.runs import machine, to_jsonable
from spectral_ssl.spec import parse_calls
from spectral_ssl.theory import Population, contrastive_risk, population, surrogate_bounds

RESULTS = Path(__file__).with_name("results") / "bounds.json"
KS = [2**p for p in range(10)]
METHODS = "vicreg, frobenius_simclr, spectral_contrastive, barlow_twins"
UPPERS = (
    "least upper limit", "sharp band, upper", "band, upper", "inclusion", "collisions off", "measured, upper",
    "coverage", "Nozawa-Sato", "Arora", "Ash",
)  # fmt: skip
LOWERS = ("sharp band, lower", "band, lower", "measured, lower")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits, wine(standardize=true), stdlib_docs", help="labelled data sets")
    parser.add_argument("--temperatures", default="1,0.2,0.05")
    parser.add_argument("--rows", default="500,1000,2000,4000", help="rows of the timed risks")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ss.SpectralWarning)
    temperatures = [float(t) for t in arguments.temperatures.split(",")]
    with threadpool_limits(1):
        rows = [row for data in parse_calls(arguments.data) for row in judged(data, temperatures)]
        times = [timed(int(n)) for n in arguments.rows.split(",")]
    record = {
        "benchmark": "bounds",
        "arguments": vars(arguments) | {"json": arguments.json.name},
        "machine": machine(),
        "rows": rows,
        "times": times,
    }
    arguments.json.write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
    print(table(rows) + "\n\n" + time_table(times))


def judged(call: tuple[str, dict[str, Any]], temperatures: list[float]) -> list[dict[str, Any]]:
    """A row for each representation, temperature and K: every limit, None where it is not legal."""
    data = ss.load_dataset(call[0], **call[1])
    setting = make_setting(data, "labels", test_size=0.25)
    test = setting.probe_test
    assert test is not None
    C = len(data.classes)
    found: dict[str, Any] = {"random features": np.random.default_rng(0).standard_normal((test.n_samples, 16))}
    for method in parse_methods(METHODS):
        best = ss.optimum(method, setting.graph, min(C - 1, data.n_features - 1), X=setting.data.X)
        found[method_name(method)] = best.embedding.transform(test.X)
    rows = []
    for name, Z in found.items():
        for T in temperatures:
            report = surrogate_bounds(population(Z, test.y, temperature=T), KS)
            for k, bounds in zip(KS, report.bounds, strict=True):
                rows.append(
                    {
                        "data": data.name,
                        "representation": name,
                        "temperature": T,
                        "negatives": k,
                        "classes": C,
                        "supervised": report.supervised,
                        "floor": report.yardsticks.floor,
                        "ceiling": report.yardsticks.ceiling,
                        "limits": {n: b.limit if b.legal else None for n, b in bounds.items()},
                        "vacuous": [n for n, b in bounds.items() if b.verdict == "vacuous"],
                        "violated": [n for n, b in bounds.items() if b.verdict == "violated"],
                    }
                )
    return rows


def timed(n: int) -> dict[str, Any]:
    """Exact for ten K at once, and Monte Carlo of 4,000 tuples, on random clusters."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 10
    P: Population = population(rng.standard_normal((10, 32))[y] + rng.standard_normal((n, 32)), y)
    started = time.perf_counter()
    exact = contrastive_risk(P, KS)
    between = time.perf_counter()
    drawn = contrastive_risk(P, KS, method="monte_carlo", n_draws=4000)
    return {
        "rows": n,
        "seconds_exact": between - started,
        "proven_error": float(exact.error.max()),
        "seconds_monte_carlo": time.perf_counter() - between,
        "standard_error": float(drawn.error.max()),
        "worst_sigmas": float(np.max(np.abs(drawn.value - exact.value) / drawn.error)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each limit: how often it is legal and says something, and how far it is from the risk at best K."""
    lines = [
        "| limit | legal | says something | violated | nats from R_supv at best K, T = 1 | at the lowest T |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    temperatures = sorted({row["temperature"] for row in rows}, reverse=True)
    for name in (*UPPERS, *LOWERS):
        legal = [row for row in rows if row["limits"][name] is not None]
        telling = [row for row in legal if name not in row["vacuous"]]
        far = [number(best_distance(legal, name, T)) for T in (temperatures[0], temperatures[-1])]
        violated = sum(name in row["violated"] for row in rows)
        lines.append(f"| {name} | {len(legal)} of {len(rows)} | {len(telling)} | {violated} | {far[0]} | {far[1]} |")
    return "\n".join(lines)


def best_distance(rows: list[dict[str, Any]], name: str, T: float) -> float | None:
    """Median over representations of |limit - R_supv| at the K where it is least."""
    least: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["temperature"] == T:
            key = row["data"], row["representation"]
            least[key] = min(least.get(key, np.inf), abs(row["limits"][name] - row["supervised"]))
    return statistics.median(least.values()) if least else None


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def time_table(times: list[dict[str, Any]]) -> str:
    lines = [
        "| rows | exact, ten K (s) | proven error | Monte Carlo (s) | standard error |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {t['rows']:,} | {t['seconds_exact']:.2f} | {t['proven_error']:.0e} | {t['seconds_monte_carlo']:.2f} | "
        f"{t['standard_error']:.0e} |"
        for t in times
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
