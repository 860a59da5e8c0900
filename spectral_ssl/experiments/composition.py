"""Two-layer ReLU nets: when features are composed, alpha fixed, and what hidden units stand for, alpha moving."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl import spec
from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.direct import RULES
from spectral_ssl.alpha_cl.family import Nce
from spectral_ssl.alpha_cl.one_hot import composition_threshold, one_hot_optimum, one_hot_views
from spectral_ssl.alpha_cl.relu import ReluEnergy, ascend_relu
from spectral_ssl.alpha_cl.rules import AlphaRule
from spectral_ssl.alpha_cl.signed import SignedGraph
from spectral_ssl.data._checks import check_int
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.experiments.frame import Report, check_list, experiment, times
from spectral_ssl.progress import SILENT, Progress
from spectral_ssl.training.symbols import Symbols, train_symbols

__all__ = ["alpha_relu"]

UNITS = 4  # hidden units of the ascents: composition needs two
CLUSTERS, SAMPLES, FEATURES = 6, 40, 4  # dense clusters about unit centres
SPREAD, VIEW = 0.05, 0.1  # of samples about their centre, and of views about their sample
NORMS = {"frobenius": "norm of W_1", "per_filter": "norm of each row"}
COMPOSED, CLOSED = "ascent, best start", "closed form"


def alpha_relu(
    *,
    patterns: Sequence[int] = (2, 3, 4, 5),
    spreads: Sequence[float] = (0, 0.2, 0.4, 0.6, 0.8, 1),
    starts: int = 12,
    rules: str = "infonce(temperature=0.1), uniform",
    hidden: Sequence[int] = (10, 30),
    steps: int = 5000,
    figures: bool = True,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Two-layer ReLU nets: where composing features beats picking one, and which symbols hidden units stand for.

    With alpha fixed: one-hot patterns, whose optimum is known in closed form, and dense clusters, whose ranks are
    counted by the norm that is held. With alpha moving: a toy of one-hot symbols with noisy magnitudes, trained by SGD.

    Args:
        patterns: Numbers of one-hot patterns.
        spreads: How far the magnitudes of two views are from 1, in 0 .. 1.
        starts: Random starts of each ascent.
        rules: Rules for alpha of the toy; infonce steps as the usual cross entropy does.
        hidden: Numbers of hidden units of the toy.
        steps: Steps of SGD of the toy.
        figures: Draw figures into the run directory (needs matplotlib).
        seed: Of the clusters, the starts and the toy.
        out: The run directory; left out, a new one under runs/.
    """
    config = dict(locals())
    many, widths = check_list(patterns, "patterns", 2), check_list(hidden, "hidden", 1)
    wide = check_list(spreads, "spreads", 0.0)
    if wide[-1] > 1:
        raise DataError(f"spreads must be at most 1, beyond which magnitudes are negative, got {wide[-1]:g}")
    check_int(starts, "starts", low=1)
    named = _named(rules)
    nets = [(relu, norm, H) for relu in (True, False) for norm in (True, False) for H in widths]
    with experiment(
        "alpha-relu",
        config,
        question="When does a two-layer ReLU net compose features, and which inputs do its hidden units stand for?",
        zero_line="the best that one pattern does",
        steps=len(many) * len(wide) + len(NORMS) + len(named) * len(nets),
        progress=progress,
    ) as report:
        missed = _one_hot(many, wide, starts, seed, report)
        ranks = _ranks(starts, seed, report)
        for relu, batch_norm, H in nets:
            for label, rule in named.items():
                _toy(label, rule, Symbols(hidden=H, relu=relu, batch_norm=batch_norm), steps, seed, report)
        rows = report.payload["rows"]
        report.payload["answer"] = _answer(many, wide, missed, ranks, rows, list(named))
        report.payload["ranks"] = ranks
        report.payload["notes"] += [
            "ranks above 1 under the norm of W_1 were looked for on dense clusters and "
            + ("not seen" if _most(ranks["frobenius"]) <= 1 else "seen"),
            "W_1 is clamped to be non-negative in the toy, so that its linear net is nearly its ReLU net",
        ]
        report.payload["curves"] = _curves(starts, steps)
    return report.payload


def _named(rules: str) -> dict[str, AlphaRule]:
    """Rules by name, or by their calls where several have one name."""
    calls = spec.parse_calls(rules) if rules.strip() else []
    if not calls:
        raise DataError("no rule was named; as in --rules 'infonce(temperature=0.1), uniform'")
    names = [name for name, _ in calls]
    return {
        spec.format_call(name, options) if names.count(name) > 1 else name: spec.bind(
            RULES, name, options, kind="rule"
        )()
        for name, options in calls
    }


# --- alpha fixed ------------------------------------------------------------------------------------------------------


def _one_hot(many: Sequence[int], spreads: Sequence[float], starts: int, seed: int, report: Report) -> float:
    """The best of some ascents beside the closed form; the largest relative difference."""
    missed = 0.0
    for P in many:
        for a in spreads:
            X, contrast = one_hot_views(P, a)
            energy, best = ReluEnergy(X, SignedGraph.uniform(contrast)), one_hot_optimum(P, a)
            runs = [ascend_relu(energy, UNITS, seed=seed + k) for k in range(starts)]
            top = max(runs, key=lambda run: run.value)
            missed = max(missed, abs(top.value - best.value) / best.value)
            panel = {"patterns": f"{P} patterns", "spread": a}
            report.add({**panel, "what": CLOSED, "gain": best.value / best.single - 1})
            report.add(
                {**panel, "what": COMPOSED, "gain": top.value / best.single - 1, "rank": top.rank, "limit": top.kind,
                 "one_pattern": best.single, "linear": best.linear, "reached": top.value}
            )  # fmt: skip
            report.task.advance(text=f"{P} patterns, spread {a:g}")
    return missed


def _clusters(seed: int) -> Array:
    """Two views of each of some samples about a few unit centres, (2N, D)."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((CLUSTERS, FEATURES))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    x = centres[np.arange(SAMPLES) % CLUSTERS] + SPREAD * rng.standard_normal((SAMPLES, FEATURES))
    return np.vstack([x + VIEW * rng.standard_normal(x.shape) for _ in range(2)])


def _ranks(starts: int, seed: int, report: Report) -> dict[str, Any]:
    """Ranks and kinds of the limits of ascents on clusters, by norm."""
    X = _clusters(seed)
    graph = SignedGraph.uniform(Contrast.of(SAMPLES, views="one"), 1 / SAMPLES**2)
    energy, found = ReluEnergy(X, graph), {}
    linear = float(graph.spectrum(1, X=X).values[0]) / 2
    for norm, words in NORMS.items():
        runs = [ascend_relu(energy, 6, norm=norm, seed=seed + k) for k in range(starts)]  # type: ignore[arg-type]
        ended = [run for run in runs if run.kind in ("smooth", "kink")]  # a rank is of a point that is stationary
        counted = Counter((run.rank, run.kind) for run in ended)
        for (rank, kind), n in sorted(counted.items()):
            report.add({"norm": words, "rank_seen": rank, "kind": kind, "runs": n})
        found[norm] = {
            "ranks": [run.rank for run in ended],
            "kinds": dict(Counter(run.kind for run in runs)),
            "of_linear": [run.value / linear for run in ended],
        }
        report.task.advance(text=f"clusters, {words}")
    return found


# --- alpha moving -----------------------------------------------------------------------------------------------------


def _toy(label: str, rule: AlphaRule, symbols: Symbols, steps: int, seed: int, report: Report) -> None:
    scale = 1 / rule.temperature if isinstance(rule, Nce) else 1.0
    run = train_symbols(symbols, rule, steps=steps, scale=scale, seed=seed)
    words = f"{'ReLU' if symbols.relu else 'linear'}{', BN' if symbols.batch_norm else ''}"
    net = f"{words}, H = {symbols.hidden}"
    last = run.course[-1]
    for look in run.course:
        report.add({"net": net, "line": label, **{k: look[k] for k in ("step", "coverage", "concentration")}})
    for measure in ("coverage", "concentration"):
        report.add({"toy": net.replace(", H", " H"), "measure": f"{label}, {measure}", "value": last[measure]})
    report.add(
        {
            "loss": label,
            "activation": "relu" if symbols.relu else "linear",
            "batch_norm": "yes" if symbols.batch_norm else "no",
            "hidden": symbols.hidden,
            "concentration": last["concentration"],
            "coverage": last["coverage"],
            "effective_rank": last["rank"],
            "slug": f"{label}-{words}-{symbols.hidden}".replace(" ", "").replace(",", "-"),
        },
        W1=run.W1,
    )
    report.task.advance(text=f"toy, {net}: {label} covers {last['coverage']:.2f}")


def _answer(
    many: Sequence[int],
    spreads: Sequence[float],
    missed: float,
    ranks: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    labels: Sequence[str],
) -> str:
    gains = {P: one_hot_optimum(P, spreads[-1]) for P in many}
    told = []
    for P, best in gains.items():
        gain, t = 100 * (best.value / best.single - 1), composition_threshold(P)
        if best.composes:
            since = "at every spread above 0" if t == 0 else f"from a spread of {t:.2f} on"
            told.append(f"{P} patterns {since}, by {times(gain)} % at {spreads[-1]:g}")
        else:
            told.append(f"{P} patterns nowhere up to {spreads[-1]:g}")
    fixed, rowwise = ranks["frobenius"], ranks["per_filter"]
    kinks = rowwise["kinds"].get("kink", 0)
    toy = [row for row in rows if "loss" in row]
    covered = "; ".join(
        f"{label} {np.median([row['coverage'] for row in toy if row['loss'] == label]):.2f} (concentration "
        f"{np.median([row['concentration'] for row in toy if row['loss'] == label]):.2f})"
        for label in labels
    )
    return (
        f"With alpha fixed composition wins for {'; '.join(told)}; the best ascents meet the closed form to "
        f"{times(missed)}. On clusters W_1 ends at rank {_most(fixed)} at most in {len(fixed['ranks'])} runs under its "
        f"own norm, and at rank up to {_most(rowwise)} in {len(rowwise['ranks'])} where each row has its norm, {kinks} "
        f"of them on an activation boundary. In the toy, medians of coverage over the nets: {covered}."
    )


def _most(found: dict[str, Any]) -> int:
    return max(found["ranks"], default=0)


def _curves(starts: int, steps: int) -> list[dict[str, Any]]:
    return [
        {
            "name": "composition", "title": "Composing patterns against picking one, alpha fixed", "x": "spread",
            "y": "gain", "by": "what", "panel": "patterns", "theory": [CLOSED], "zero": 0.0,
            "xlabel": "spread of magnitudes between views", "ylabel": "energy gained over one pattern",
            "caption": f"two-layer ReLU nets of {UNITS} units, |W_1| = |W_2| = 1; best of {starts} starts",
        },
        {
            "name": "symbols", "title": "What hidden units stand for: coverage and concentration", "x": "toy",
            "y": "value", "by": "measure", "xscale": "category", "ylabel": "coverage, concentration",
            "caption": f"one-hot symbols of noisy magnitudes, {steps:,} steps of SGD, one seed",
        },
        {
            "name": "coverage", "title": "Coverage of the symbols while training", "x": "step", "y": "coverage",
            "by": "line", "panel": "net", "xlabel": "steps of SGD", "ylabel": "coverage",
            "caption": "mean over symbols of the largest weight that a unit gives it",
        },
    ]  # fmt: skip
