"""Gradient descent on fixed tuples, measured: rates by loss and width, and what the margin kernel costs.

First the table: each loss at each width and seed, its excess after all steps, the better of a power law and a linear
rate with both R², the least |grad|²/excess and |grad|²/excess², the motion of weights and the least eigenvalue of the
margin kernel. Then the kernel by rows' activations against a Jacobian of one backward pass per margin, in seconds.

    python benchmarks/convergence.py
    python benchmarks/convergence.py --widths 32,128 --steps 600 --seeds 1
    python benchmarks/convergence.py --json benchmarks/results/convergence.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from spectral_ssl.experiments.convergence_rows import descent_row
from spectral_ssl.experiments.convergence_tuples import CASES
from spectral_ssl.runs import machine, to_jsonable
from spectral_ssl.theory import Infimum, Tuples, draw_tuples, fresh_tuples
from spectral_ssl.training.convergence import DescentSetup, MarginProblem, descend

N_TUPLES, N, D, OUTPUTS = 24, 2, 64, 16
POOL, CLASS_ROWS = 18, 3
TEMPERATURE = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="32,128")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of the timed kernels")
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    arguments = parser.parse_args()
    widths = [int(word) for word in arguments.widths.split(",")]
    torch.set_num_threads(1)
    rows, timed = [], []
    print(f"{'loss':<10}{'width':>6}{'seed':>5}{'start':>8}{'excess':>9}{'rate':>18}{'R2 power':>10}{'R2 linear':>10}"
          f"{'|g|2/E':>9}{'|g|2/E2':>9}{'motion':>8}{'lam':>8}  bounds")  # fmt: skip
    with threadpool_limits(1):
        for case in CASES:
            for width in widths:
                for seed in range(arguments.seeds):
                    rows.append(measure(case, width, seed, arguments.steps))
                    print(line(rows[-1]), flush=True)
        for width in widths:
            timed.append(kernel_times(width, arguments.repeats))
            print("kernel at width {width}: {by_rows:.4f} s by rows, {by_jacobian:.3f} s by a Jacobian, "
                  "which differ by {difference:.0e}".format(**timed[-1]))  # fmt: skip
    if arguments.json:
        record = {"benchmark": "convergence", "arguments": vars(arguments), "machine": machine(), "rows": rows}
        record["kernels"] = timed
        Path(arguments.json).write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {arguments.json}")


def tuples_of(pool: bool, seed: int) -> Tuples:
    if not pool:
        return fresh_tuples(N_TUPLES, N, D, seed)
    X = np.random.default_rng((seed, 1)).standard_normal((POOL, D))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return draw_tuples(X, np.arange(POOL) // CLASS_ROWS, N_TUPLES, N, collide=True, close=True, seed=seed)


def measure(name: str, width: int, seed: int, steps: int) -> dict[str, Any]:
    case = CASES[name]
    T = TEMPERATURE if case.unit else 1.0
    setup = DescentSetup(width, n_outputs=OUTPUTS, loss=case.loss, unit=case.unit, temperature=T)
    tuples = tuples_of(case.pool, seed)
    limit = Infimum(0.0, 0.0, "") if case.loss == "squared" else tuples.infimum(T if case.unit else None)
    found = descend(tuples, setup, steps=steps, seed=seed, infimum=limit.low)
    row, _ = descent_row(name, f"{name}-{width}-{seed}", found, limit)
    return {**row, "seed": seed, "n_tuples": tuples.n}


def kernel_times(width: int, repeats: int) -> dict[str, Any]:
    problem = MarginProblem(fresh_tuples(N_TUPLES, N, D), DescentSetup(width, n_outputs=OUTPUTS))

    def jacobian() -> Any:
        rows = [torch.autograd.grad(v, problem.weights, retain_graph=True) for v in problem.margins().flatten()]
        J = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
        return (J @ J.T).numpy()

    seconds: dict[str, list[float]] = {"by_rows": [], "by_jacobian": []}
    for _ in range(repeats):
        for key, make in (("by_rows", problem.kernel), ("by_jacobian", jacobian)):
            start = time.perf_counter()
            make()
            seconds[key].append(time.perf_counter() - start)
    K, J = problem.kernel(), jacobian()
    return {
        "width": width,
        **{key: statistics.median(values) for key, values in seconds.items()},
        "difference": float(np.abs(K - J).max() / np.abs(J).max()),
    }


def line(row: dict[str, Any]) -> str:
    r2 = [f"{row[key]:>10.4f}" if row[key] is not None else f"{'-':>10}" for key in ("r2_power", "r2_linear")]
    return (
        f"{row['loss']:<10}{row['width']:>6}{row['seed']:>5}{row['start']:>8.3f}{row['excess']:>9.1e}{row['rate']:>18}"
        f"{r2[0]}{r2[1]}{row['gradient_over_excess']:>9.1e}{row['gradient_over_excess2']:>9.2g}{row['motion']:>8.3f}"
        f"{row['lambda_min']:>8.2g}  {row['bounds']}"
    )


if __name__ == "__main__":
    main()
