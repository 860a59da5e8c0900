"""InfoNCE, solved and certified: how near its optimum is to proven, in how many seconds; and what few dimensions cost.

    python benchmarks/infonce_certificates.py
    python benchmarks/infonce_certificates.py --only linear --repeats 1
    python benchmarks/infonce_certificates.py --json benchmarks/results/infonce_certificates.json

Parts: `free` and `linear` solve over all dimensions to a proof (the relative gap is the certificate's, rounding
included; of the views the closed form is not used); `dimension` compares the bounds in few dimensions, the share of the
gap to the minimum over all dimensions that they close, and the old certificate of the narrow embedding itself; `sweep`
is time and memory of one loss with its gradient, beside automatic differentiation. With --json the parts run are
replaced in the file, others stay.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import spectral_ssl as ss
from spectral_ssl.methods import InfoNCE, _infonce_bounds, _infonce_optimum, _infonce_solver
from spectral_ssl.runs import machine, to_jsonable

Row = dict[str, Any]


def originals(n: int) -> ss.Dataset:
    """The first n digits."""
    data = ss.load_dataset("digits")
    assert data.y is not None
    return ss.Dataset("digits", np.asarray(data.X)[:n], y=np.asarray(data.y)[:n], image_shape=(8, 8))


def relation(name: str, n: int) -> ss.Graph:
    if name == "views":
        return ss.Graph.from_groups(np.arange(2 * n) % n)
    return ss.relations.knn(originals(n)) if name == "knn" else ss.relations.labels(originals(n))


def timed(run: Any, repeats: int) -> tuple[Any, dict[str, float]]:
    """The last result, and the median seconds: by the clock, and of the processor, which others may share."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        result = run()
        seconds.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    clock, processor = (statistics.median(column) for column in zip(*seconds, strict=True))
    return result, {"seconds": clock, "processor_seconds": processor}


def free(repeats: int) -> Iterator[Row]:
    for name, n, tau in (
        ("views", 400, 0.5),
        ("knn", 400, 1.0),
        ("knn", 400, 0.5),
        ("knn", 400, 0.1),
        ("knn", 1000, 0.5),
    ):
        graph = relation(name, n)

        def run(graph: ss.Graph = graph, tau: float = tau) -> Any:
            found = _infonce_solver.solve(_infonce_solver.Problem(graph, tau))
            return found, InfoNCE(tau).certificate(found.V, graph)

        (found, proof), seconds = timed(run, repeats)
        yield {
            "relation": name,
            "originals": n,
            "n_samples": graph.n_samples,
            "temperature": tau,
            "loss": proof.value,
            "relative_gap": proof.gap / proof.value,
            "rank": _infonce_solver.rank(found.V),
            "sweeps": found.sweeps,
            **seconds,
        }


def linear(repeats: int) -> Iterator[Row]:
    data = ss.augment(originals(1000), 2, seed=0)
    graph, X = ss.relations.views(data), np.asarray(data.X)
    spread = X.std(axis=0)
    units = {
        "raw": X,
        "standardised": (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0),
        "unit rows": X / np.linalg.norm(X, axis=1, keepdims=True),
    }
    for name, Xs in units.items():
        for tau in (0.05, 0.5):
            method = InfoNCE(tau, "dot", 1.0)
            best, seconds = timed(lambda m=method, Xs=Xs: ss.optimum(m, graph, 64, X=Xs), repeats)
            W = best.embedding.W
            yield {
                "X": name,
                "n_samples": graph.n_samples,
                "temperature": tau,
                "loss": best.loss,
                "relative_gap": (best.loss - best.lower_bound) / best.loss,
                "rank": best.rank,
                "trace": float((W**2).sum()),
                **seconds,
            }


def dimension(repeats: int) -> Iterator[Row]:
    for name in ("views", "labels", "knn"):
        graph = relation(name, 200)
        rows = _infonce_bounds.rows_of(graph)
        for tau in (0.1, 0.5, 1.0):
            method = InfoNCE(tau)
            wide = None
            for K in (2, 4, 8, 16, 32):
                best, seconds = timed(lambda m=method, g=graph, K=K: ss.optimum(m, g, K), 1)
                if best.rank < K:
                    break
                if wide is None:
                    wide = _infonce_optimum._wide(graph, tau)[1]
                narrow = method.certificate(best.embedding.Z, graph)
                price = best.loss - wide.lower_bound
                yield {
                    "relation": name,
                    "n_samples": graph.n_samples,
                    "temperature": tau,
                    "n_components": K,
                    "loss": best.loss,
                    "old_relative_gap": narrow.gap / best.loss,
                    "wide_relative_gap": price / best.loss,
                    "design_relative_gap": (best.loss - _infonce_bounds.design_bound(rows, tau, K)) / best.loss,
                    "relative_gap": (best.loss - best.lower_bound) / best.loss,
                    "share_closed": (best.lower_bound - wide.lower_bound) / price,
                    "bound": best.note.split(", by the ")[1].split("; ")[0],
                    **seconds,
                }


SWEEP = """
import resource, sys, time
import numpy as np, torch
from spectral_ssl.methods._infonce_kernels import uniformity
N, K, naive = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "autograd"
def loss(Z, d):
    if not naive:
        return uniformity(Z, d, 0.5)
    S = (Z @ Z.T / 0.5).masked_fill(torch.eye(N, dtype=torch.bool), -torch.inf)
    return (d * torch.logsumexp(S, dim=1)).sum()
Z = torch.nn.functional.normalize(torch.as_tensor(np.random.default_rng(0).standard_normal((N, K))))
d, Z = torch.ones(N, dtype=torch.float64), Z.requires_grad_()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
loss(Z, d).backward()
print(time.perf_counter() - started, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def sweep(repeats: int) -> Iterator[Row]:
    for N in (4000, 10_000):
        for how in ("autograd", "sweep"):
            runs = []
            for _ in range(repeats):
                command = [sys.executable, "-c", SWEEP, str(N), "128", how]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append([float(x) for x in done.stdout.split()])
            seconds, megabytes = (statistics.median(column) for column in zip(*runs, strict=True))
            yield {"n_samples": N, "n_components": 128, "how": how, "seconds": seconds, "peak_mb": megabytes}


# sweep first: a child process inherits the peak memory of the one that starts it
PARTS = {"sweep": sweep, "free": free, "linear": linear, "dimension": dimension}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; all by default")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median time is taken")
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    arguments = parser.parse_args()
    parts: dict[str, list[Row]] = {}
    for name in arguments.only or PARTS:
        print(f"\n{name}")
        parts[name] = []
        for row in PARTS[name](arguments.repeats):
            parts[name].append(row)
            print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    if arguments.json:
        path = Path(arguments.json)
        held = json.loads(path.read_text())["parts"] if path.exists() else {}
        record = {
            "benchmark": "infonce_certificates",
            "repeats": arguments.repeats,
            "machine": machine(),
            "parts": {**held, **parts},
        }
        path.write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {path}")


if __name__ == "__main__":
    main()
