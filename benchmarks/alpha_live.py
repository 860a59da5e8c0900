"""The least contrastive loss of one linear layer: seconds to a proof, beside gradient descent and PCA steps.

Digits, two views of each by noise, InfoNCE at eps = 0 over all rows, |W|_F^2 <= radius (the first principal direction
at variance 1). `live` is `alpha_cl.live_optimum` to a certified gap of 1e-6 of the decrease from collapse. Its rivals
see the same sweeps over all pairs: projected gradient descent on W (for every level the fastest of five rates, in units
of 1 / |C_alpha| at the start, and the time of that one alone), which has arrived when its loss is within a level of the
least, known from a tighter solution, and has no proof of that of its own; and PCA steps, averaged and corrected, to a
certified gap of a level (but the last).

    python benchmarks/alpha_live.py
    python benchmarks/alpha_live.py --originals 100 --repeats 1
    python benchmarks/alpha_live.py --json benchmarks/results/alpha_live.json

Seconds are those of the processor, medians of the repeats; ratios are to `live` of the same repeat.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.alpha_cl import Contrast, Nce, frank_wolfe, live_optimum
from spectral_ssl.alpha_cl._one_layer import OneLayer
from spectral_ssl.experiments.frame import open_setting
from spectral_ssl.experiments.setting import subsample
from spectral_ssl.runs import machine, to_jsonable

LEVELS = (1e-2, 1e-4, 1e-6)
RATES = (0.1, 0.3, 1.0, 3.0, 10.0)
COLUMNS = 16  # of the W that descends, as many as the search begins with
PROOF = 1e-6
Row = dict[str, Any]
Path_ = list[tuple[float, float]]  # (processor seconds, loss)


def descend(problem: OneLayer, radius: float, rate: float, steps: int, seconds: float, goal: float) -> Path_:
    """Projected gradient descent, W <- P(W + rate / |C| C W), P onto the ball, until the loss is below `goal`."""
    started = time.process_time()
    C = problem.sweep(np.zeros((problem.d, 1))).product
    size = rate / float(np.abs(linalg.eigh(C)[0]).max())
    W = np.random.default_rng(0).standard_normal((problem.d, min(COLUMNS, problem.d)))
    W *= math.sqrt(radius) / np.linalg.norm(W)
    path: Path_ = []
    for _ in range(steps):
        found = problem.sweep(W, W)
        path.append((time.process_time() - started, found.value))
        if path[-1][0] > seconds or path[-1][1] <= goal:
            break
        W = W + size * found.product
        W *= min(1.0, math.sqrt(radius) / float(np.linalg.norm(W)))
    return path


def reached(paths: Sequence[Path_], least: float, decrease: float) -> list[tuple[float, int] | None]:
    """Seconds and steps until the loss is within each level of the least, of the path that is first."""
    found = []
    for level in LEVELS:
        goal = least + level * decrease
        firsts = [next(((t, k) for k, (t, loss) in enumerate(path, 1) if loss <= goal), None) for path in paths]
        found.append(min((first for first in firsts if first is not None), default=None))
    return found


def measure(n: int, temperature: float, repeats: int, steps: int) -> Iterator[Row]:
    setting = subsample(open_setting("digits", "views"), n, 0)
    X, contrast, rule = setting.data.X, Contrast.of_graph(setting.graph), Nce(temperature, 0.0)
    radius = len(X) / float(linalg.svd(X - X.mean(axis=0))[1][0]) ** 2
    best = live_optimum(X, contrast, rule, radius=radius, tol=1e-9)
    decrease = best.collapse_loss - best.loss
    told = {"originals": n, "rows": len(X), "temperature": temperature, "rank": best.rank}
    problem = OneLayer(X, contrast, rule)
    descents: list[list[tuple[float, int] | None]] = []
    proof: dict[str, list[float]] = {}
    sweeps: dict[str, int] = {}
    own: list[float] = []
    for _ in range(repeats):
        started = time.process_time()
        found = live_optimum(X, contrast, rule, radius=radius, tol=PROOF)
        own.append(time.process_time() - started)
        assert found.loss - best.loss <= 2 * PROOF * decrease
        sweeps["live"] = found.sweeps
        allowed = 100 * own[-1]
        goal = best.loss + LEVELS[-1] * decrease
        paths = [descend(problem, radius, rate, steps, allowed, goal) for rate in RATES]
        descents.append(reached(paths, best.loss, decrease))
        for step in ("averaging", "corrective"):
            for level in LEVELS[:-1]:
                started = time.process_time()
                run = frank_wolfe(X, contrast, rule, radius=radius, step=step, tol=level, max_steps=steps)  # type: ignore[arg-type]
                spent = time.process_time() - started
                proof.setdefault(f"{step} {level:g}", []).append(spent if run.converged else math.nan)
                sweeps[f"{step} {level:g}"] = run.sweeps
                if not run.converged or spent > allowed:
                    break
    yield {**told, "how": "live, with proof", "level": PROOF, "seconds": statistics.median(own), "ratio": 1.0,
           "sweeps": sweeps["live"]}  # fmt: skip
    for place, level in enumerate(LEVELS):
        arrived = [row[place] for row in descents]
        seconds = [None if first is None else first[0] for first in arrived]
        yield {**told, "how": "gradient descent", "level": level, **_over(seconds, own),
               "sweeps": None if arrived[-1] is None else arrived[-1][1]}  # fmt: skip
    for name, spent in proof.items():
        step, level_text = name.split(" ")
        seconds = [None if math.isnan(x) else x for x in spent]
        yield {**told, "how": f"PCA steps, {step}, with proof", "level": float(level_text), **_over(seconds, own),
               "sweeps": sweeps[name]}  # fmt: skip


def _over(seconds: Sequence[float | None], own: Sequence[float]) -> Row:
    """Median seconds and median ratio to `live`; None where a repeat has not arrived."""
    if any(x is None for x in seconds):
        return {"seconds": None, "ratio": None}
    known = [float(x) for x in seconds if x is not None]
    return {
        "seconds": statistics.median(known),
        "ratio": statistics.median(x / y for x, y in zip(known, own, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", default="50,200", help="numbers of digits, two views of each")
    parser.add_argument("--temperatures", default="0.05,0.5", help="of InfoNCE")
    parser.add_argument("--whole", action="store_true", help="all 1,797 digits as well, once, live alone")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which medians are taken")
    parser.add_argument("--steps", type=int, default=2000, help="of gradient descent and PCA at most")
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for n in map(int, arguments.originals.split(",")):
        for temperature in map(float, arguments.temperatures.split(",")):
            for row in measure(n, temperature, arguments.repeats, arguments.steps):
                rows.append(row)
                _say(row)
    if arguments.whole:
        rows.append(whole())
        _say(rows[-1])
    if arguments.json:
        record = {
            "benchmark": "alpha_live",
            "repeats": arguments.repeats,
            "steps": arguments.steps,
            "machine": machine(),
            "rows": rows,
        }
        path = Path(arguments.json)
        path.write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {path}")


def whole() -> Row:
    """All digits at the default temperature, to a proof."""
    setting = open_setting("digits", "views")
    X = setting.data.X
    radius = len(X) / float(linalg.svd(X - X.mean(axis=0))[1][0]) ** 2
    started = time.process_time()
    best = live_optimum(X, Contrast.of_graph(setting.graph), Nce(0.5, 0.0), radius=radius, tol=PROOF)
    return {"originals": len(X) // 2, "rows": len(X), "temperature": 0.5, "rank": best.rank, "how": "live, with proof",
            "level": PROOF, "seconds": time.process_time() - started, "ratio": 1.0, "sweeps": best.sweeps}  # fmt: skip


def _say(row: Row) -> None:
    print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
