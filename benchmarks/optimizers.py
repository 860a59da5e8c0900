"""How long until the minimum? Minibatch Adam, full-batch L-BFGS and the closed form on one clock.

One relation, linear maps, the same loss for all: what is left above the attainable minimum against seconds. Seconds are
those of training alone: the full-graph loss along the way is evaluated with the clock stopped. The closed form is timed
from the relation on, moments and factorisation included.

    python benchmarks/optimizers.py
    python benchmarks/optimizers.py --data wine --methods vicreg --steps 2000
    python benchmarks/optimizers.py --json benchmarks/results/optimizers.json --figure docs/figures/optimizers.png
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.experiments.rows import method_name, parse_methods, relative_excess
from spectral_ssl.experiments.setting import Setting, load_data, make_setting
from spectral_ssl.report.curves import curve_figure
from spectral_ssl.runs import machine, to_jsonable
from spectral_ssl.spectrum import Spectra
from spectral_ssl.training import Step, train

# name -> options of `train`; None: the closed form
RUNS: dict[str, dict[str, Any] | None] = {
    "closed form": None,
    "L-BFGS": {"optimizer": "lbfgs"},
    "Adam, whole relation": {"optimizer": "adam", "learning_rate": 1e-2, "precondition": False},
    "Adam, 256 pairs": {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 256, "precondition": False},
    "Adam, 256 pairs, cosine": {
        "optimizer": "adam",
        "learning_rate": 1e-2,
        "schedule": "cosine",
        "batch_size": 256,
        "precondition": False,
    },
    "Adam, 256 pairs, whitened, debiased, cosine": {
        "optimizer": "adam",
        "learning_rate": 1e-2,
        "schedule": "cosine",
        "batch_size": 256,
        "debias": True,
    },
}
LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6)
FLOOR = 1e-16  # excess drawn where rounding leaves none
LOOKS = 60  # evaluations of the full loss along a run, evenly spaced in log steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a data set by name, or a file")
    parser.add_argument("--relation", default="knn", help="as for spectral-ssl compare")
    parser.add_argument("--methods", default="vicreg, spectral_contrastive", help="as for spectral-ssl compare")
    parser.add_argument("-K", "--n-components", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5000, help="steps of the runs by Adam")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    parser.add_argument("--figure", default=None, help="draw the curves into this file")
    arguments = parser.parse_args()
    setting = make_setting(load_data(arguments.data), arguments.relation, test_size=0.0, seed=0)
    rows = []
    for method in parse_methods(arguments.methods):
        for seed in range(arguments.seeds):
            for name, options in RUNS.items():
                rows.append(measure(name, options, method, setting, arguments.n_components, arguments.steps, seed))
        print(table([r for r in rows if r["method"] == method_name(method)]), flush=True)
    if arguments.json:
        record = {"benchmark": "optimizers", "arguments": vars(arguments), "machine": machine(), "rows": rows}
        Path(arguments.json).write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {arguments.json}")
    if arguments.figure:
        draw(rows, f"{arguments.data}, relation {setting.relation}, K = {arguments.n_components}", arguments.figure)
        print(f"written: {arguments.figure}")


def measure(
    name: str, options: dict[str, Any] | None, method: Any, setting: Setting, K: int, steps: int, seed: int
) -> dict[str, Any]:
    """One run: the relative excess of the full loss along the seconds it took."""
    started = time.perf_counter()
    spectra = Spectra(setting.graph, X=setting.data.X)
    best = method.optimum(spectra.of(method.pencil, K), K)
    closed = time.perf_counter() - started
    collapse = best.method.collapse_loss(setting.graph, K)
    seconds, excess = [closed], [0.0]
    message = best.solver
    if options is not None:
        seconds, excess = [], []
        full = "batch_size" not in options
        looks = set(np.unique(np.geomspace(1, steps, LOOKS).astype(int)).tolist())

        def look(step: Step) -> None:
            if full or step.evaluations in looks:
                loss = step.loss if full else float(best.method.loss(step.embed(), setting.graph))
                seconds.append(step.seconds)
                excess.append(relative_excess(loss, best.loss, collapse))

        more = {} if options["optimizer"] == "lbfgs" else {"max_iter": steps}
        run = train(best.method, spectra, K, seed=seed, callbacks=(look,), **more, **options)
        seconds.append(run.seconds if not seconds else max(seconds[-1], 0.0))
        excess.append(relative_excess(run.loss, best.loss, collapse))
        message = run.message
    if name == "L-BFGS":  # it returns the best point of its search, whatever it tried after that
        excess = np.minimum.accumulate(excess).tolist()
    reached = {f"{level:g}": _stays_below(seconds, excess, level) for level in LEVELS}
    kept = np.unique(np.geomspace(1, len(seconds), LOOKS).astype(int)) - 1  # enough to draw
    seconds, excess = (np.asarray(values)[kept].tolist() for values in (seconds, excess))
    return {
        "method": method_name(method),
        "run": name,
        "options": options,
        "seed": seed,
        "n_components": K,
        "n_samples": setting.graph.n_samples,
        "seconds": seconds,
        "relative_excess": excess,
        "seconds_to": reached,
        "seconds_closed": closed,
        "message": message,
    }


def _stays_below(seconds: list[float], excess: list[float], level: float) -> float | None:
    """When a run came below a level for good; None where it did not."""
    above = [n for n, e in enumerate(excess) if e > level]
    after = above[-1] + 1 if above else 0
    return seconds[after] if after < len(seconds) else None


def table(rows: list[dict[str, Any]]) -> str:
    """Seconds to each level over the seconds of the closed form, medians over the seeds."""
    closed = statistics.median(r["seconds_closed"] for r in rows)
    lines = [f"{rows[0]['method']}: times as long as the closed form ({closed:.2g} s) to a relative excess of"]
    lines.append(f"{'':46}" + "".join(f"{level:>10g}" for level in LEVELS) + f"{'at the end':>12}")
    for name in RUNS:
        here = [r for r in rows if r["run"] == name]
        cells = []
        for level in LEVELS:
            found = [r["seconds_to"][f"{level:g}"] for r in here]
            known = [s for s in found if s is not None]
            cells.append("-" if 2 * len(known) <= len(found) else f"{statistics.median(known) / closed:.3g}")
        end = statistics.median(r["relative_excess"][-1] for r in here)
        lines.append(f"{name:46}" + "".join(f"{cell:>10}" for cell in cells) + f"{max(end, 0):12.1e}")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], setting: str, path: str) -> None:
    """What is left above the minimum against seconds, a panel per method; medians over the seeds."""
    points = []
    for method in dict.fromkeys(r["method"] for r in rows):
        for name in RUNS:
            here = [r for r in rows if r["method"] == method and r["run"] == name]
            length = min(len(r["seconds"]) for r in here)
            seconds, excess = (
                np.median([r[key][:length] for r in here], axis=0) for key in ("seconds", "relative_excess")
            )
            thin = np.unique(np.geomspace(1, length, LOOKS).astype(int)) - 1
            points += [
                {"method": method, "run": name, "seconds": seconds[n], "excess": max(excess[n], 0.0)} for n in thin
            ]
    curve = {
        "title": "The minimum is known before the optimizer has warmed up",
        "x": "seconds",
        "y": "excess",
        "by": "run",
        "panel": "method",
        "xlabel": "seconds",
        "ylabel": "excess loss, as a share of the loss at collapse",
        "xscale": "log",
        "yscale": "log",
        "zero": 0.0,
    }
    figure = curve_figure(curve, {"rows": points, "zero_line": "the closed form", "setting": setting})
    assert figure is not None
    figure.savefig(path)


if __name__ == "__main__":
    main()
