"""E8: stepwise learning. Gradient descent from a small start finds its directions one after the other.

Unnormalised Barlow Twins, Gamma = X'AX / s = E diag(g) E', from a start of size s0 (see theory/dynamics.py):

    g_j s_j(t)^2 is a sigmoid from g_j s0_j^2 to 1, half way at    log(1 / (s0_j^2 g_j) - 1) / (8 g_j)

so that the smaller the start the further apart the steps, and the nearer the end to the top K eigenvectors: its loss
has a continuum of minima, and only small starts choose among them. VICReg and the spectral contrastive loss, whose
minima leave no choice, go the same way in whitened coordinates; their course from any start is known exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.comparison import principal_angles
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import check_list, experiment, order_of, times
from spectral_ssl.experiments.reproduce.outcome import at_least, at_most, conclude, drawn
from spectral_ssl.experiments.setting import make_setting
from spectral_ssl.graph import Graph
from spectral_ssl.methods import BarlowTwins, SpectralContrastive, VICReg
from spectral_ssl.methods.base import Method
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.spectrum import Spectra
from spectral_ssl.theory.dynamics import Flow, integrated_flow, measured_flow, predicted_flow
from spectral_ssl.training import Step, train

__all__ = ["step_times", "stepwise_learning", "with_spectrum"]

SMALL = 1e-3  # starts up to this size are judged: the prediction from |R_jj| is asymptotic
LATE = 0.05  # of a step time: Euler's method errs by its step, the prediction by a power of the start
ON_CURVE = 0.08  # of an energy in [0, 1]: a step time that errs by 1 % moves a sigmoid of slope 8 g t by that
PAST = 1.3  # step times of the last direction that are followed
SNAPSHOTS = 40


def step_times(s0: Array, g: Array) -> Array:
    """When g_j s_j^2 passes 1/2, from s0 (K,) and g (K,) positive; 0 where it begins above."""
    found: Array = np.log(np.maximum(1 / (s0**2 * g) - 1, 1.0)) / (8 * g)
    return found


def with_spectrum(X: Array, graph: Graph, values: Sequence[float]) -> Array:
    """XT (N, len(values)) with (XT)'A(XT) / s = diag(values): the top eigenvectors of X'AX / s, brought to size.

    Raises DataError where X'AX / s has fewer positive eigenvalues.
    """
    g, E = linalg.eigh(X.T @ graph.matmul(X) / graph.total_weight)
    g, E = g[::-1], E[:, ::-1]
    if len(values) > g.size or not g[len(values) - 1] > 1e-9 * g[0]:
        raise DataError(
            f"{len(values)} values were asked for, but X'AX has {int(np.count_nonzero(g > 1e-9 * g[0]))} positive "
            "eigenvalues; ask for fewer, or take data of more features"
        )
    n = len(values)
    found: Array = X @ (E[:, :n] * np.sqrt(np.asarray(values) / g[:n]))
    return found


def stepwise_learning(
    *,
    data: str = "gaussian_mixture(n_samples=256, n_classes=4, n_features=8)",
    relation: str = "knn(n_neighbors=8)",
    values: Sequence[float] = (1, 0.6, 0.36, 0.2, 0.1),
    n_components: int = 3,
    starts: Sequence[float] = (0.1, 0.01, 0.001, 0.0001, 0.00001, 0.000001),
    learning_rate: float = 0.01,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """E8: sigmoids and their step times, predicted, integrated and descended, from ever smaller starts.

    Args:
        data: A data set, drawn with the seed where it is random.
        relation: The positive pairs.
        values: Eigenvalues that X'AX / s is brought to by a linear map of the features, descending.
        n_components: Dimension K of the embeddings, fewer than the values.
        starts: Sizes s0 of random starts.
        learning_rate: Of plain gradient descent: learning rate times steps is the time.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the data and the starts.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    g = np.array(sorted(check_list(values, "values", 0.0, strict=True), reverse=True))
    sizes, K = check_list(starts, "starts", 0.0, strict=True)[::-1], n_components
    if not 1 <= K < g.size:
        raise DataError(f"n_components must be from 1 to {g.size - 1}, fewer than the values, got {K}")
    setting = make_setting(drawn(data, seed), relation, test_size=0.0, seed=seed)
    spectra = Spectra(setting.graph, X=with_spectrum(setting.data.X, setting.graph, g.tolist()))
    others: dict[str, Method] = {"vicreg": VICReg(), "spectral_contrastive": SpectralContrastive()}
    with experiment(
        "E8",
        config,
        question="In which order, and when, does gradient descent find its directions?",
        zero_line="not begun",
        steps=2 * len(sizes) + len(others),
        progress=progress,
        setting=setting,
        command="reproduce",
    ) as report:
        figure_rows: list[dict[str, Any]] = []
        for s0 in sizes:
            W0 = s0 * np.random.default_rng(seed).standard_normal((g.size, K))  # as `train` starts
            first = predicted_flow(spectra, K, [0.0], W0=W0)
            predicted = step_times(first.singular_values[0], g[:K])
            # the later of when the last step is predicted, and when an aligned start of this size would make it
            end = PAST * max(float(predicted.max()), float(step_times(np.full(K, s0), g[:K]).max()))
            descended = _descended(BarlowTwins(normalized=False), spectra, K, end, s0, learning_rate, seed)
            report.task.advance(text=f"s0 = {s0:g}, descended")
            grid = descended.times
            integrated = integrated_flow(spectra, K, grid, W0=W0)
            curve = predicted_flow(spectra, K, grid, W0=W0)
            assert integrated.weights is not None
            wanted = spectra.of("cross_moment", K).weights
            assert wanted is not None
            angle = principal_angles(integrated.weights[-1], wanted[:, :K])
            row = {
                "start": s0,
                "late": _late(descended.step_times, predicted),
                "late_integrated": _late(integrated.step_times, predicted),
                "off_curve": float(np.abs(g[:K] * (descended.singular_values**2 - curve.singular_values**2)).max()),
                "sine": float(np.sin(angle.max())),
                "loss": float(integrated.loss[-1]),
                **{f"step_{j + 1}": float(descended.step_times[j]) for j in range(K)},
                **{f"step_{j + 1}_predicted": float(predicted[j]) for j in range(K)},
                "steps": math.ceil(end / learning_rate),
                "slug": f"barlow_twins.{s0:g}",
            }
            report.add(row, times=grid, energies=g[:K] * descended.singular_values**2)
            figure_rows += _time_rows(row, predicted, descended, integrated)
            if s0 in (sizes[0], sizes[-1]):
                figure_rows += _sigmoid_rows(f"s₀ = {s0:g}", "sigmoids", descended, curve, g[:K] ** -0.5)
            report.task.advance(text=f"s0 = {s0:g}, integrated")
        rows = list(report.payload["rows"])
        off = 0.0
        small = min(sizes, key=lambda s0: abs(math.log(s0 / SMALL)))
        for name, method in others.items():
            flow, curve = _other(method, spectra, K, small, seed, report.payload["notes"])
            off = max(off, float(np.abs((flow.singular_values**2 - curve.singular_values**2) / curve.limits**2).max()))
            figure_rows += _sigmoid_rows(name, "others", flow, curve, curve.limits)
            report.task.advance(text=name)
        judged = [row for row in rows if row["start"] <= SMALL]
        order = order_of([row["start"] for row in rows], [row["sine"] for row in rows])
        falls = sum(b["sine"] >= a["sine"] for a, b in itertools.pairwise(rows))
        conclude(
            report,
            "energies rise along sigmoids in the order of the eigenvalues, with step times log(1 / (s0² g) - 1) / "
            "(8 g); the smaller the start, the nearer the end to the top K eigenvectors.",
            [
                at_most(
                    "largest relative error of a step time, descended",
                    max((r["late"] for r in judged), default=np.nan),
                    LATE,
                ),
                at_most("the same, integrated", max((r["late_integrated"] for r in judged), default=np.nan), LATE),
                at_most("largest error of an energy along the way, other losses", off, ON_CURVE),
                at_most("starts from which a smaller one ends further from the top K", falls, 0),
                at_least("power of s0 by which the sine falls", order if order is not None else np.nan, 0.3),
            ],
            f"The sine is {times(rows[0]['sine'])} from s0 = {sizes[0]:g} and {times(rows[-1]['sine'])} from "
            f"{sizes[-1]:g}.",
        )
        report.payload["rows"] += figure_rows
        report.payload["setting"] = f"X'AX/s brought to {', '.join(f'{v:g}' for v in g)}; K = {K}"
        shared = {"theory": ["predicted"], "by": "line", "xscale": "linear", "yscale": "linear"}
        report.payload["curves"] = [
            {
                **shared,
                "name": "sigmoids",
                "title": "Barlow Twins learns its directions one after the other, at the predicted times",
                "x": "time",
                "y": "shown",
                "panel": "panel",
                "where": {"figure": "sigmoids"},
                "xlabel": "time t (learning rate × steps)",
                "ylabel": "energy g_j s_j²",
            },
            {
                **shared,
                "name": "step-times",
                "title": "Step times grow like -log(s₀² g) / 8g: a decade of s₀ costs every step the same",
                "x": "start",
                "y": "shown",
                "panel": "panel",
                "where": {"figure": "steps"},
                "xlabel": "size s₀ of the start",
                "ylabel": "step time",
                "xscale": "log",
            },
            {
                "name": "selection",
                "title": f"Small starts select the top K: sine {times(rows[0]['sine'])} at s₀ = {sizes[0]:g}, "
                f"{times(rows[-1]['sine'])} at {sizes[-1]:g}",
                "x": "start",
                "y": "sine",
                "by": "",
                "where": {"slug": [row["slug"] for row in rows]},
                "xlabel": "size s₀ of the start",
                "ylabel": "sine to the top K eigenvectors",
                "xscale": "log",
                "yscale": "log",
            },
            {
                **shared,
                "name": "others",
                "title": "VICReg and the spectral contrastive loss learn stepwise too",
                "x": "time",
                "y": "shown",
                "panel": "panel",
                "where": {"figure": "others"},
                "xlabel": "time t",
                "ylabel": "energy s_j² / its end",
                "caption": f"s₀ = {small:g}, in whitened coordinates",
            },
        ]
    return report.payload


def _late(found: Array, predicted: Array) -> float:
    """The largest relative error of a step time; infinite where one has not come."""
    return float(np.abs(found / predicted - 1).max()) if np.all(predicted > 0) else math.inf


def _descended(
    method: Method, spectra: Spectra, K: int, end: float, s0: float, rate: float, seed: int, **options: Any
) -> Flow:
    """Plain gradient descent up to a time, as a flow."""
    steps = math.ceil(end / rate)
    every = max(1, steps // SNAPSHOTS)
    held: list[tuple[int, Array]] = []

    def watch(step: Step) -> None:
        if (step.evaluations - 1) % every == 0:
            held.append((step.evaluations - 1, step.embed()))

    raw = isinstance(method, BarlowTwins)
    train(
        method,
        spectra,
        K,
        optimizer="gd",
        learning_rate=rate,
        max_iter=steps + 1,
        tol=1e-300,
        precondition=not raw,
        init_scale=s0,
        seed=seed,
        callbacks=[watch],
        **options,
    )
    at, snapshots = zip(*held, strict=True)
    return measured_flow(spectra, np.array(snapshots), rate * np.array(at), method=method)


def _other(method: Method, spectra: Spectra, K: int, s0: float, seed: int, notes: list[str]) -> tuple[Flow, Flow]:
    """Gradient descent in whitened coordinates, and its prediction from the same start."""
    method = method.resolve(spectra.of(method.pencil, K), K)
    aligned = predicted_flow(spectra, K, [0.0], s0, method=method)
    end = 2 * PAST * float(np.max(aligned.step_times[np.isfinite(aligned.step_times)]))
    # a step of 1/200 of the time in which the first direction grows by e
    rate = end / (SNAPSHOTS * math.ceil(200 * 4 * end / (SNAPSHOTS * float(aligned.step_times[0]))))
    flow = _descended(method, spectra, K, end, s0, rate, seed)
    start = _weights_at_start(method, spectra, K, s0, rate, seed)
    curve = predicted_flow(spectra, K, flow.times, method=method, W0=start)
    if curve.kind != "exact":
        notes.append(f"{type(method).__name__}: its flow is predicted asymptotically")
    return flow, curve


def _weights_at_start(method: Method, spectra: Spectra, K: int, s0: float, rate: float, seed: int) -> Array:
    """W (D, K) at which `train` begins, by its first embedding."""
    held: list[Array] = []
    train(
        method,
        spectra,
        K,
        optimizer="gd",
        learning_rate=rate,
        max_iter=2,
        tol=1e-300,
        init_scale=s0,
        seed=seed,
        callbacks=[lambda step: held.append(step.embed())],
    )
    assert spectra.X is not None
    X = spectra.X - (spectra.X.mean(axis=0) if method.centred == "mean" else 0.0)
    return np.asarray(np.linalg.lstsq(X, held[0], rcond=None)[0], dtype=np.float64)


def _time_rows(row: dict[str, Any], predicted: Array, descended: Flow, integrated: Flow) -> list[dict[str, Any]]:
    kinds = {"descended": descended.step_times, "integrated": integrated.step_times, "predicted": predicted}
    return [
        {
            "figure": "steps",
            "panel": f"direction {j + 1}",
            "start": row["start"],
            "line": line,
            "shown": float(found[j]),
        }
        for line, found in kinds.items()
        for j in range(predicted.size)
        if np.isfinite(found[j])
    ]


def _sigmoid_rows(panel: str, figure: str, found: Flow, curve: Flow, limits: Array) -> list[dict[str, Any]]:
    """Energies as shares of their ends, descended and predicted."""
    return [
        {
            "figure": figure,
            "panel": f"{panel}, direction {j + 1}",
            "line": line,
            "time": float(t),
            "shown": float(s**2 / limits[j] ** 2),
        }
        for j in range(limits.size)
        for line, flow in (("descended", found), ("predicted", curve))
        for t, s in zip(flow.times, flow.singular_values[:, j], strict=True)
    ]
