"""What choices around a loss change: the hinge, and normalisation layers.

Every one is trained full batch, so that what is measured is the choice and not the noise of batches; where theory has
the optimum of the choice itself, trained runs stand on it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.optimize

from spectral_ssl import linalg
from spectral_ssl.comparison import effective_rank, linear_probe_score
from spectral_ssl.embedding import Array, Optimum
from spectral_ssl.errors import NotClosedForm, SpectralWarning
from spectral_ssl.experiments.frame import (
    check_list,
    check_seeds,
    excess_of,
    experiment,
    known_as,
    largest_sine,
    named_methods,
    open_setting,
    reach,
    repeats,
    spread,
    times,
)
from spectral_ssl.graph import Graph
from spectral_ssl.methods import Method, VICReg
from spectral_ssl.methods.base import QuadraticMethod, as_embedding
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.solve import optimum
from spectral_ssl.spectrum import Spectra, Spectrum
from spectral_ssl.training import train

__all__ = ["hinge", "normalisation", "solved"]

METHODS_SHOWN = "vicreg, spectral_contrastive, barlow_twins"
PINNED = 1e-3  # of a column variance: nearer to 1 than this it is held there


def solved(method: Method, spectra: Graph | Spectra, K: int) -> Optimum:
    """The optimum, its warnings about K and rank left to the rows that tell both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectralWarning)
        return optimum(method, spectra, K)


def covariance_spectrum(Z: Array) -> Array:
    """Eigenvalues of Cov(Z) = Z'HZ / N, the largest first."""
    values: Array = linalg.svd(Z - Z.mean(axis=0))[1] ** 2 / Z.shape[0]
    return values


# -------------------------------------------------------------------------------------------------------------- hinge


def hinge(
    *,
    data: str = "digits",
    relation: str = "knn",
    n_components: int = 8,
    ratios: Sequence[float] = (1, 2, 4, 8, 12.5, 25, 100),
    strengths: Sequence[float] = (0.01, 0.03, 0.1, 0.2, 0.5, 1, 2),
    ratio: float = 12.5,
    strength: float = 0.2,
    seeds: int = 2,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Published VICReg has a hinge on the variance, the theory a square: what is each worth under the other's loss?

    Two sweeps: the ratio variance / covariance at one invariance, and the invariance at one ratio (published: 12.5).
    Invariance counts in units of 1 / (2 m_K): at strength 1 the K-th direction keeps half its variance under the
    square with equal weights.

    Args:
        data: A data set by name, or a file.
        relation: The positive pairs, as in "knn(n_neighbors=10)".
        n_components: Dimension K of the embeddings.
        ratios: Ratios variance / covariance of the first sweep, covariance being 1.
        strengths: Invariances of the second sweep, in units of variance / (2 m_K).
        ratio: The ratio of the second sweep.
        strength: The invariance of the first sweep.
        seeds: Training runs at every point.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: The first seed.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    ratios_ = check_list([*ratios, ratio], "ratios", 0.0, strict=True)
    strengths_ = check_list([*strengths, strength], "strengths", 0.0, strict=True)
    several = check_seeds(seeds, seed)
    setting = open_setting(data, relation, seed=seed)
    spectra = Spectra(setting.graph, X=setting.data.X)
    K = n_components
    unit = solved(VICReg(), spectra, K).method.hyper["invariance"]  # 1 / (2 m_K)
    points = [("ratio", r, strength) for r in ratios_] + [("invariance", ratio, g) for g in strengths_]
    with experiment(
        "hinge",
        config,
        question="Does it matter that published VICReg has a hinge on the variance where theory has a square?",
        zero_line="the closed form of the loss that judges",
        steps=len(points),
        progress=progress,
        setting=setting,
    ) as report:
        for sweep, r, g in points:
            forms = {
                form: VICReg(variance=r, covariance=1.0, invariance=g * r * unit, form=form)
                for form in ("hinge", "squared")
            }
            best = {form: solved(method, spectra, K) for form, method in forms.items()}
            for form, other in (("hinge", "squared"), ("squared", "hinge")):
                judge, mine, Z = forms[form], best[form], best[other].embedding.Z
                # squared runs land on their closed form, as `compare` shows; the hinge has kinks, and local minima
                runs = [train(judge, spectra, K, seed=s, max_iter=1500) for s in several] if form == "hinge" else []
                scale = _best_scale(best[other], judge, spectra)
                c, c_other = covariance_spectrum(mine.embedding.Z), covariance_spectrum(Z)
                columns = mine.embedding.Z.var(axis=0)
                row = {
                    "sweep": sweep,
                    "judge": f"{other} optimum under the {form} loss",
                    "ratio": r,
                    "strength": g,
                    "excess": excess_of(Z, judge, setting.graph, mine),
                    "excess_rescaled": excess_of(scale * Z, judge, setting.graph, mine),
                    "sine": largest_sine(best[other], mine),
                    "rank": mine.rank,
                    "rank_other": best[other].rank,
                    **spread((excess_of(run.embedding.Z, judge, setting.graph, mine) for run in runs), "trained"),
                    "variance_most": float(c[0]),
                    "variance_least": float(c[min(K, c.size) - 1]),
                    "column_most": float(columns.max()),
                    "column_least": float(columns.min()),
                    "kind": mine.kind,
                    "invariance": judge.invariance,
                    "loss": mine.loss,
                    "scale": scale,
                    "slug": f"{sweep}.{form}.{r:g}.{g:g}",
                }
                report.add(row, Z=mine.embedding.Z, Z_other=Z, cov=c, cov_other=c_other)
            report.task.advance(text=f"{sweep}, ratio {r:g}, strength {g:g}")
        rows = list(report.payload["rows"])
        report.payload["rows"] += _trained_rows(rows) + _spectrum_rows(rows, report.arrays, spectra, ratio)
        under = [row for row in rows if row["judge"].endswith("hinge loss")]
        here = next(row for row in under if row["sweep"] == "ratio" and row["ratio"] == ratio)
        size = "Mostly" if here["excess_rescaled"] < 0.2 * here["excess"] else "Not only"
        collapsed = sum(row["rank"] != row["rank_other"] for row in under)
        trained, worst = (max(row[key] for row in under) for key in ("trained", "trained_max"))
        report.payload["answer"] = (
            f"{size} a matter of size: at ratio {ratio:g} the squared optimum is {times(here['excess'])} of the way to "
            f"collapse under the hinge, and {times(here['excess_rescaled'])} once rescaled (over both sweeps "
            f"{reach(row['excess'] for row in under)}, and {reach(row['excess_rescaled'] for row in under)}). There "
            f"the hinge optimum has column variances of {reach((here['column_least'], here['column_most']))} and a Cov "
            f"of eigenvalues {reach((here['variance_least'], here['variance_most']))}; hinge optima have another rank "
            f"than squared ones at {collapsed} of {len(under)} points. Trained runs of the hinge end {times(trained)} "
            f"above {known_as(row['kind'] for row in under)} at most in the median, {times(worst)} at worst."
        )
        report.payload["zero_line"] = f"{known_as(row['kind'] for row in rows)} of the loss that judges"
        formula = any(str(row.get("form")).startswith("hinge, formula") for row in report.payload["rows"])
        report.payload["setting"] = f"K = {K}, linear maps{repeats(several, 'trained: medians over')}"
        drawn = [row for row in under if row["sweep"] == "invariance"]
        pinned = sum(max(abs(row["column_least"] - 1), abs(row["column_most"] - 1)) < PINNED for row in drawn)
        shared = {
            "y": "excess",
            "by": "judge",
            "ylabel": "excess loss (collapsed = 1)",
            "xscale": "log",
            "yscale": "log",
            "zero": 0.0,
        }
        report.payload["curves"] = [
            {
                **shared,
                "name": "ratio",
                "title": "Hinge or square: one optimum under the other's loss, by the weights' ratio",
                "x": "ratio",
                "where": {"sweep": "ratio"},
                "xlabel": "variance / covariance weight α/β (published: 12.5)",
                "caption": f"invariance {strength:g} α / (2 m_K)",
                "said": {ratio: "published"} if ratio == 12.5 else {},
            },
            {
                **shared,
                "name": "invariance",
                "title": "Hinge or square: one optimum under the other's loss, by the invariance",
                "x": "strength",
                "where": {"sweep": "invariance"},
                "xlabel": "invariance γ, in units of α / (2 m_K)",
                "caption": f"α/β = {ratio:g}",
            },
            {
                "name": "covariance",
                "title": f"Spectrum of Cov(Z): the hinge holds columns at 1 at {pinned} of {len(drawn)} invariances",
                "x": "component",
                "y": "variance",
                "by": "form",
                "panel": "panel",
                "where": {"sweep": "spectrum"},
                "theory": ["hinge, formula where pinned"],
                "xlabel": "component",
                "ylabel": "eigenvalue of Cov(Z)",
                "xscale": "linear",
                "yscale": "linear",
                "zero": 1.0,
                "zero_line": "Cov = I, Laplacian Eigenmaps",
                "caption": f"α/β = {ratio:g}" + ("; formula: 1 - γ (m_k - mean m) / β" if formula else ""),
            },
        ]
    return report.payload


def _best_scale(found: Optimum, method: QuadraticMethod, spectra: Spectra) -> float:
    """The factor of Z that lowers a loss most: a difference of size alone would say little."""
    assert spectra.moments is not None
    assert found.embedding.W is not None
    m = spectra.moments.map(found.embedding.W)
    K = found.embedding.n_components

    def loss(t: float) -> float:
        return float(sum(method.terms(m.map(math.exp(t) * np.eye(K))).values()))

    best = scipy.optimize.minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded")
    return math.exp(best.x) if best.fun < loss(0.0) else 1.0


def _trained_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trained runs as lines of their own, in the figures alone: without a slug."""
    found = []
    for row in rows:
        form = row["slug"].split(".")[1]
        if row["trained"] is None:
            continue
        found.append(
            {
                **{key: row[key] for key in ("sweep", "ratio", "strength")},
                "judge": "squared optimum under the hinge loss, rescaled",
                "excess": row["excess_rescaled"],
            }
        )
        kept = {key: row[key] for key in ("sweep", "ratio", "strength")}
        found.append({**kept, "judge": f"{form} loss, trained", "excess": row["trained"]})
    return found


def _spectrum_rows(
    rows: list[dict[str, Any]], arrays: dict[str, Any], spectra: Spectra, ratio: float
) -> list[dict[str, Any]]:
    """Eigenvalues of Cov at three invariances, and the formula where it holds; for a figure alone."""
    mine = [row for row in rows if row["sweep"] == "invariance" and ".hinge." in row["slug"]]
    chosen = sorted({mine[k]["strength"] for k in (0, len(mine) // 2, len(mine) - 1)})
    found = []
    for row in mine:
        if row["strength"] not in chosen:
            continue
        K, panel = arrays[f"{row['slug']}/Z"].shape[1], f"γ = {row['strength']:g} α / (2 m_K)"
        m = spectra.of("laplacian", K).values[:K]
        gamma = row["invariance"]
        pinned = 1 - gamma * (m - m.mean())
        holds = 2 * gamma * m.mean() <= ratio / 2 and np.all(pinned > 0)
        lines = {"hinge": arrays[f"{row['slug']}/cov"], "squared": arrays[f"{row['slug']}/cov_other"]}
        if holds:
            lines["hinge, formula where pinned"] = pinned
        for form, values in lines.items():
            found += [
                {"sweep": "spectrum", "panel": panel, "form": form, "component": k + 1, "variance": float(value)}
                for k, value in enumerate(values[:K])
            ]
    return found


# ------------------------------------------------------------------------------------------------------ normalisation


@dataclass(frozen=True)
class Normalised(Method):
    """A method whose loss sees f(Z) in place of Z: rows at length `radius` ("rows"), or columns at mean 0 and variance
    1 ("columns", BatchNorm without affine parameters). Both are blind to what the other keeps: no closed form."""

    inner: Method
    how: Literal["rows", "columns"]
    radius: float = 1.0

    @property
    def pencil(self) -> Any:
        return self.inner.pencil

    @property
    def whitens(self) -> Any:
        return self.inner.whitens

    @property
    def centred(self) -> Any:
        return None  # the layer sees Z as it is

    def output(self, Z: Any) -> Any:
        """f(Z), of a tensor."""
        if self.how == "rows":
            return self.radius * Z / Z.norm(dim=1, keepdim=True).clamp_min(1e-300)
        Z = Z - Z.mean(dim=0)
        return Z / Z.pow(2).mean(dim=0).sqrt().clamp_min(1e-300)

    def loss_terms(self, Z: Any, graph: Graph) -> dict[str, Any]:
        return self.inner.loss_terms(self.output(as_embedding(Z, graph)), graph)

    def optimum(self, spectrum: Spectrum, n_components: int) -> Optimum:
        raise NotClosedForm("a normalised embedding has no closed form; train it")

    def collapse_loss(self, graph: Graph, n_components: int) -> float:
        return self.inner.collapse_loss(graph, n_components)


def normalisation(
    *,
    data: str = "digits",
    relation: str = "knn",
    methods: str = METHODS_SHOWN,
    n_components: int = 8,
    model: Literal["linear", "free"] = "linear",
    test_size: float = 0.25,
    seeds: int = 3,
    max_iter: int = 600,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What normalisation does to the optimum: unit rows (cosine), BatchNorm of the columns, standardised inputs.

    Each is trained in place of the plain loss and judged by the method's loss of what comes out. Rows have the root
    mean square length of the closed form's, so that size alone costs nothing. A row-normalised linear map is no linear
    map: its loss may lie below the linear closed form, never below the free one.

    Args:
        data: A data set by name, or a file.
        relation: The positive pairs, as in "knn(n_neighbors=10)".
        methods: Methods by name, with options as in "vicreg(invariance=0.5), barlow_twins".
        n_components: Dimension K of the embeddings.
        model: Over linear maps of the data, or over all embeddings (free).
        test_size: Share of the samples held out for the probes (linear model).
        seeds: Training runs of each.
        max_iter: Evaluations of the loss per run.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: The first seed.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    chosen, several, K = named_methods(methods), check_seeds(seeds, seed), n_components
    setting = open_setting(data, relation, test_size=test_size, seed=seed)
    X = setting.data.X
    spectra = Spectra(setting.graph, X=X) if model == "linear" else Spectra(setting.graph)
    spread_ = X.std(axis=0)
    varies = spread_ > 0
    ready = (X[:, varies] - X[:, varies].mean(axis=0)) / spread_[varies]
    ways = ["none", "unit rows", "BatchNorm of columns"] + (["standardised inputs"] if model == "linear" else [])
    optima = {name: solved(method, spectra, K) for name, method in chosen.items()}
    with experiment(
        "normalisation",
        config,
        question="What do normalisation layers do to what a loss learns?",
        zero_line=f"{known_as(best.kind for best in optima.values())} of the {model} model, nothing normalised",
        steps=len(chosen) * len(ways),
        progress=progress,
        setting=setting,
    ) as report:
        for name, best in optima.items():
            inner = best.method
            radius = float(np.sqrt((best.embedding.Z**2).sum() / setting.graph.n_samples))
            free = solved(inner, Spectra(setting.graph), K).loss
            for way in ways:
                trained: Method = inner
                if way in ("unit rows", "BatchNorm of columns"):
                    trained = Normalised(inner, "rows" if way == "unit rows" else "columns", radius)
                # behind a layer nothing centres: linear maps are given what the plain loss sees of the data
                offset = X.mean(axis=0) * (isinstance(trained, Normalised) and inner.centred is not None)
                inputs = spectra
                if way == "standardised inputs":
                    inputs = Spectra(setting.graph, X=ready)
                elif model == "linear" and offset.any():
                    inputs = Spectra(setting.graph, X=X - offset)
                # a polished minimum for what has a closed form to land on; what has none need not be polished
                limit = max_iter if isinstance(trained, Normalised) else 3000
                runs = [train(trained, inputs, K, seed=s, max_iter=limit) for s in several]
                outs = [_output(trained, run.embedding.Z) for run in runs]
                excess = [excess_of(Z, inner, setting.graph, best) for Z in outs]
                first = int(np.argmin(excess))  # a normalised loss has local minima: its least is asked for
                Z = outs[first]
                collapse = inner.collapse_loss(setting.graph, K)
                row = {
                    "method": name,
                    "normalised": way,
                    "excess": excess[first],
                    "excess_max": max(excess),
                    "sine": largest_sine(Z, best),
                    "effective_rank": effective_rank(Z - Z.mean(axis=0)),
                    "probe": _probe(setting, trained, runs[first], way, varies, spread_, offset),
                    "free_optimum": (free - best.loss) / (collapse - best.loss),
                    "loss": float(inner.loss(Z, setting.graph)),
                    "slug": f"{name}.{way.replace(' ', '-')}",
                }
                report.add(row, Z=Z)
                report.task.advance(text=f"{name}, {way}")
        rows = report.payload["rows"]
        score = "accuracy" if setting.probe_train.is_classification else "R²"

        def told(way: str) -> str:
            return reach(row["excess"] for row in rows if row["normalised"] == way)

        report.payload["answer"] = (
            f"In shares of the way to collapse, unit rows move the loss by {told('unit rows')}, BatchNorm of the "
            f"columns by {told('BatchNorm of columns')}"
            + (f", standardised inputs by {told('standardised inputs')}." if model == "linear" else ".")
        )
        if model == "linear":
            report.payload["notes"].append(
                "standardising the inputs is an invertible map of centred features, which a linear model undoes: it "
                "changes losses that do not centre (spectral_contrastive); the relation is held fixed here"
            )
        if len(several) > 1:
            worst = max(rows, key=lambda row: row["excess_max"] - row["excess"])
            report.payload["notes"].append(
                f"{len(several)} searches from different starts end up to "
                f"{times(100 * (worst['excess_max'] - worst['excess']))} % of the way to collapse apart "
                f"({worst['method']}, {worst['normalised']}); what is shown is their least"
            )
        if min(row["excess"] for row in rows if row["normalised"] == "unit rows") < 0:
            report.payload["notes"].append(
                "below 0: a linear map with its rows normalised is no linear map; free_optimum is the floor of both"
            )
        report.payload["setting"] = (
            f"K = {K}, {model} model{repeats(several, 'bars from the least to the greatest of')}"
        )
        shared = {"x": "normalised", "by": "method", "xlabel": "", "xscale": "category", "yscale": "linear"}
        report.payload["curves"] = [
            {
                **shared,
                "name": "normalisation",
                "title": "What normalisation layers cost: loss of what comes out",
                "y": "excess",
                "ylabel": "excess loss (collapsed = 1)",
                "zero": 0.0,
                "band": ["excess", "excess_max"],
                "below": {"y": "sine", "ylabel": "sine of the\nlargest angle", "yscale": "linear", "zero": 0.0},
            },
            {
                **shared,
                "name": "probe",
                "title": f"Held-out probe {score} behind each normalisation",
                "y": "probe",
                "ylabel": f"probe {score}",
                "below": {"y": "effective_rank", "ylabel": "effective\nrank", "yscale": "linear"},
            },
        ]
    return report.payload


def _output(method: Method, Z: Array) -> Array:
    """What the loss sees of an embedding."""
    if not isinstance(method, Normalised):
        return Z
    if method.how == "rows":
        out: Array = method.radius * Z / np.linalg.norm(Z, axis=1, keepdims=True)
        return out
    columns: Array = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    return columns


def _probe(
    setting: Any, method: Method, run: Any, way: str, varies: Array, spread_: Array, offset: Array
) -> float | None:
    """Held-out accuracy of a linear probe on what comes out; BatchNorm with the statistics of the training rows."""
    train_set, test_set = setting.probe_train, setting.probe_test
    if run.embedding.W is None or test_set is None or train_set.y is None:
        return None
    mean = setting.data.X[:, varies].mean(axis=0)

    def out(X: Array) -> Array:
        if way == "standardised inputs":
            X = (X[:, varies] - mean) / spread_[varies]
        Z: Array = run.embedding.transform(X if way == "standardised inputs" else X - offset)
        if isinstance(method, Normalised) and method.how == "columns":
            Z = (Z - run.embedding.Z.mean(axis=0)) / run.embedding.Z.std(axis=0)
            return Z
        return _output(method, Z)

    return linear_probe_score(
        out(train_set.X), train_set.y, out(test_set.X), test_set.y, classification=train_set.is_classification
    )
