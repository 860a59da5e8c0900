"""The classical methods beside scikit-learn's: the same problem, the same inputs, how far apart, and which is faster.

Each problem is solved by both in turn, several times over, on one thread; a time is the median, and a ratio above 1
says that spectral_ssl is the faster one. The angle is the largest sine between the spans of both embeddings, the
difference that of their eigenvalues or correlations, relative to the largest. Losses are printed too.

    python benchmarks/classical_vs_sklearn.py
    python benchmarks/classical_vs_sklearn.py --only cca,isomap --repeats 9
    python benchmarks/classical_vs_sklearn.py --json benchmarks/results/classical_vs_sklearn.json
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
import sklearn.cross_decomposition
import sklearn.decomposition
import sklearn.discriminant_analysis
import sklearn.manifold
from sklearn.datasets import load_digits, make_swiss_roll
from sklearn.metrics import pairwise_distances
from threadpoolctl import threadpool_limits

import spectral_ssl as ss
from spectral_ssl.linalg import orthonormal_basis, principal_sines
from spectral_ssl.runs import machine, to_jsonable

Answer = tuple[Any, Any]  # embedding (N, K), values (K,) or None


@dataclass(frozen=True)
class Case:
    """One problem: what both solve, and how. `read` turns what each returns into embedding and values."""

    name: str
    data: str
    n_samples: int
    n_features: int
    K: int
    theirs: str
    note: str
    solve_ours: Callable[[], Any]
    read_ours: Callable[[Any], Answer]
    solve_theirs: Callable[[], Any]
    read_theirs: Callable[[Any], Answer]


def main() -> None:
    arguments = parse()
    wanted = {name.strip() for name in arguments.only.split(",") if name.strip()}
    print(HEADER)
    rows = []
    with threadpool_limits(1):
        for case in cases(arguments.size):
            if not wanted or case.name in wanted:
                rows.append(measure(case, arguments.repeats))
                print(line(rows[-1]), flush=True)
    print(verdict(rows))
    if arguments.json:
        record = {
            "benchmark": "classical_vs_sklearn",
            "arguments": vars(arguments),
            "machine": machine(),
            "rows": rows,
        }
        Path(arguments.json).write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {arguments.json}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of problems, comma separated; all without it")
    parser.add_argument("--repeats", type=int, default=5, help="solves of each problem by each library")
    parser.add_argument("--size", type=float, default=1.0, help="factor on the numbers of samples")
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    return parser.parse_args()


def cases(size: float) -> Iterator[Case]:
    """The problems, their numbers of samples times `size`."""
    rng = np.random.default_rng(0)

    def count(n: int) -> int:
        return max(200, round(n * size))

    digits = load_digits()
    # pixels are whole numbers: without a jitter tied neighbours would be anyone's choice
    jittered = digits.data + 1e-3 * rng.standard_normal(digits.data.shape)

    N, D, K = count(5000), 50, 10
    S = rng.standard_normal((N, K)) * np.linspace(2, 1, K)
    X, Y = (S @ rng.standard_normal((K, D)) + 3 * rng.standard_normal((N, D)) for _ in range(2))
    for options, note in (({}, "its defaults"), ({"tol": 1e-12, "max_iter": 10_000}, "tol=1e-12")):
        yield cca_case(X, Y, K, options, note)

    roll = make_swiss_roll(count(1000), noise=0.05, random_state=0)[0]
    big_roll = make_swiss_roll(count(2500), noise=0.05, random_state=0)[0]
    for name, X, k in (("swiss roll", roll, 10), ("swiss roll", big_roll, 10), ("digits", jittered[: count(1797)], 15)):
        yield isomap_case(name, X, k)

    yield kernel_pca_case(jittered[: count(1000)], "auto", "its default, ARPACK")
    yield kernel_pca_case(jittered[: count(1000)], "dense", "dense")

    for n in (1000, 1797):
        yield mds_case(pairwise_distances(jittered[: count(n)], metric="cityblock"))

    X, y = jittered[: count(1797)], digits.target[: count(1797)]
    yield lda_case("digits", X, y)
    yield lda_case("gaussian classes", *gaussian_classes(count(20_000), 100, 10, rng))

    yield pca_case("digits", jittered[: count(1797)], 10)
    yield pca_case("gaussian", rng.standard_normal((count(20_000), 100)) * np.geomspace(10, 1, 100), 10)

    for name, X, k in (("swiss roll", big_roll, 10), ("digits", jittered[: count(1797)], 15)):
        yield eigenmaps_case(name, X, k)


def cca_case(X: Any, Y: Any, K: int, options: dict[str, Any], note: str) -> Case:
    def theirs(model: Any) -> Answer:
        a, b = model.transform(X, Y)
        return a, np.array([np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(K)])

    return Case(
        name="cca",
        data="two views of 10 factors",
        n_samples=X.shape[0],
        n_features=X.shape[1],
        K=K,
        theirs="cross_decomposition.CCA",
        note=note,
        solve_ours=lambda: ss.cca(X, Y, K),
        read_ours=lambda found: (found.x.Z, found.correlations[:K]),
        solve_theirs=lambda: sklearn.cross_decomposition.CCA(K, **options).fit(X, Y),
        read_theirs=theirs,
    )


def isomap_case(data: str, X: Any, k: int) -> Case:
    K = 2
    return Case(
        name="isomap",
        data=data,
        n_samples=X.shape[0],
        n_features=X.shape[1],
        K=K,
        theirs="manifold.Isomap",
        note=f"{k} neighbours",
        solve_ours=lambda: ss.isomap(X, K, n_neighbors=k),
        read_ours=lambda found: (found.Z, found.spectrum[:K]),
        solve_theirs=lambda: sklearn.manifold.Isomap(n_neighbors=k, n_components=K).fit(X),
        read_theirs=lambda model: (model.embedding_, model.kernel_pca_.eigenvalues_),
    )


def kernel_pca_case(X: Any, solver: str, note: str) -> Case:
    K, width = 5, 30.0
    model = sklearn.decomposition.KernelPCA(K, kernel="rbf", gamma=1 / (2 * width**2), eigen_solver=solver)
    return Case(
        name="pca(kernel)",
        data="digits",
        n_samples=X.shape[0],
        n_features=X.shape[1],
        K=K,
        theirs="decomposition.KernelPCA",
        note=note,
        solve_ours=lambda: ss.pca(X, K, kernel=f"rbf(bandwidth={width})"),
        read_ours=lambda found: (found.Z, found.spectrum[:K] * X.shape[0]),
        solve_theirs=lambda: model.fit(X),
        read_theirs=lambda model: (model.transform(X), model.eigenvalues_),
    )


def mds_case(distances: Any) -> Case:
    K = 3
    return Case(
        name="classical_mds",
        data="digits, cityblock distances",
        n_samples=distances.shape[0],
        n_features=distances.shape[0],
        K=K,
        theirs="manifold.ClassicalMDS",
        note="",
        solve_ours=lambda: ss.classical_mds(distances, K),
        read_ours=lambda found: (found.Z, found.spectrum[:K]),
        solve_theirs=lambda: sklearn.manifold.ClassicalMDS(K, metric="precomputed").fit(distances),
        read_theirs=lambda model: (model.embedding_, model.eigenvalues_),
    )


def lda_case(data: str, X: Any, y: Any) -> Case:
    K = int(np.unique(y).size) - 1

    def ours(found: Any) -> Answer:
        ratio = (1 - found.spectrum[:K]) / found.spectrum[:K]
        return found.Z, ratio / ratio.sum()

    return Case(
        name="lda",
        data=data,
        n_samples=X.shape[0],
        n_features=X.shape[1],
        K=K,
        theirs="LinearDiscriminantAnalysis",
        note="explained variances",
        solve_ours=lambda: ss.lda(X, y),
        read_ours=ours,
        solve_theirs=lambda: sklearn.discriminant_analysis.LinearDiscriminantAnalysis().fit(X, y),
        read_theirs=lambda model: (model.transform(X), model.explained_variance_ratio_),
    )


def pca_case(data: str, X: Any, K: int) -> Case:
    N = X.shape[0]
    return Case(
        name="pca",
        data=data,
        n_samples=N,
        n_features=X.shape[1],
        K=K,
        theirs="decomposition.PCA",
        note="its default solver",
        solve_ours=lambda: ss.pca(X, K),
        read_ours=lambda found: (found.Z, found.spectrum[:K]),
        solve_theirs=lambda: sklearn.decomposition.PCA(K, random_state=0).fit(X),
        read_theirs=lambda model: (model.transform(X), model.explained_variance_ * (N - 1) / N),
    )


def eigenmaps_case(data: str, X: Any, k: int) -> Case:
    K = 5
    A = ss.relations.knn(X, n_neighbors=k).to_csr()
    model = sklearn.manifold.SpectralEmbedding(K, affinity="precomputed", random_state=0)

    def ours() -> Any:
        return ss.laplacian_eigenmaps(ss.Graph.from_adjacency(A), K, normalization="random_walk")

    return Case(
        name="laplacian_eigenmaps",
        data=data,
        n_samples=X.shape[0],
        n_features=X.shape[1],
        K=K,
        theirs="manifold.SpectralEmbedding",
        note=f"affinity of {k} neighbours given; scikit-learn returns no eigenvalues",
        solve_ours=ours,
        read_ours=lambda found: (found.Z, None),
        solve_theirs=lambda: model.fit(A),
        read_theirs=lambda model: (model.embedding_, None),
    )


def gaussian_classes(N: int, D: int, C: int, rng: np.random.Generator) -> tuple[Any, Any]:
    y = np.arange(N) % C
    return rng.standard_normal((C, D))[y] + rng.standard_normal((N, D)) * np.linspace(1, 3, D), y


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """One row: both solve in turn, `repeats` times; their answers to the last are compared."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    found: dict[str, Any] = {}
    for _ in range(repeats):
        for who, solve in (("ours", case.solve_ours), ("theirs", case.solve_theirs)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of convergence: the angle says what it is worth
                started = time.perf_counter()
                found[who] = solve()
                seconds[who].append(time.perf_counter() - started)
    Z, values = case.read_ours(found["ours"])
    Z_, values_ = case.read_theirs(found["theirs"])
    ours, theirs = (statistics.median(seconds[who]) for who in ("ours", "theirs"))
    return {
        "problem": case.name,
        "data": case.data,
        "n_samples": case.n_samples,
        "n_features": case.n_features,
        "K": case.K,
        "scikit_learn": case.theirs,
        "note": case.note,
        "max_angle": angle(Z, Z_),
        "difference": None if values is None else float(np.abs(values - values_).max() / np.abs(values_).max()),
        "seconds_ours": ours,
        "seconds_theirs": theirs,
        "ratio": theirs / ours,
        "fastest_ours": min(seconds["ours"]),
        "fastest_theirs": min(seconds["theirs"]),
        "repeats": repeats,
    }


def angle(Z: Any, Z_: Any) -> float:
    """The largest sine of the principal angles between the centred columns."""
    U, V = (orthonormal_basis(M - M.mean(axis=0)) for M in (Z, Z_))
    return float(principal_sines(U, V).max(initial=0.0)) if U.shape == V.shape else 1.0


HEADER = (
    f"{'problem':20} {'data':28} {'N':>6} {'D':>5} {'K':>3} {'angle':>8} {'values':>8} {'ours s':>8} {'theirs s':>9} "
    f"{'ratio':>7}  beside"
)


def line(row: dict[str, Any]) -> str:
    difference = "-" if row["difference"] is None else f"{row['difference']:.1e}"
    return (
        f"{row['problem']:20} {row['data']:28.28} {row['n_samples']:>6} {row['n_features']:>5} {row['K']:>3} "
        f"{row['max_angle']:8.1e} {difference:>8} {row['seconds_ours']:8.4f} {row['seconds_theirs']:9.4f} "
        f"{row['ratio']:7.2f}  {row['scikit_learn']}{', ' if row['note'] else ''}{row['note']}"
    )


def verdict(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no such problem"
    slower = [f"{r['problem']} ({r['data']}, N = {r['n_samples']:,}: {r['ratio']:.2f})" for r in rows if r["ratio"] < 1]
    return (
        f"{len(rows)} problems: largest angle {max(r['max_angle'] for r in rows):.1e}; faster in "
        f"{len(rows) - len(slower)}, slower in {len(slower)}" + (f": {', '.join(slower)}" if slower else "")
    )


if __name__ == "__main__":
    main()
