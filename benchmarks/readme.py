"""Write the generated parts of README.md: tables from the code, numbers and figures from runs.

    python benchmarks/readme.py                    # tables of methods and relations only
    python benchmarks/readme.py --run runs/demo-*  # and the demo's table and figures, from a run directory
    python benchmarks/readme.py --align runs/align-*  # and the figure and the advice of a run of align
    python benchmarks/readme.py --check            # exit 1 if the tables of methods and relations are out of date

Benchmark lines come from benchmarks/results/*.json, which the scripts beside this one write.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spectral_ssl.kernels import KERNELS
from spectral_ssl.methods import METHODS
from spectral_ssl.relations import RELATIONS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PREDICTION = ROOT / "benchmarks" / "results" / "prediction.json"
MODELS = ROOT / "benchmarks" / "results" / "model_classes.json"
FIGURES = {"loss.png": "loss-knn.png"}

# method -> (loss, classical counterpart, what is claimed)
CLAIMS = {
    "vicreg": (
        "alpha \\|Cov - I\\|^2 + (2 gamma / N) tr Z'LZ; any weights, hinge, Cov = I",
        "Laplacian Eigenmaps, LPP, LDA, soft-thresholded",
        "exact; hinge exact or certified",
    ),
    "frobenius_simclr": ("\\|ZZ' - A\\|^2", "multidimensional scaling of the graph", "exact"),
    "spectral_contrastive": ("-2 tr Z'AZ/s + \\|Z'diag(deg)Z/s\\|^2", "normalised spectral embedding", "exact"),
    "ssl_ey": ("-2 tr Z'AZ/s + \\|Z'diag(deg)Z/s\\|^2, centred", "CCA, soft-thresholded", "exact"),
    "barlow_twins": (
        "sum (1 - C_kk)^2 + lambda sum C_kl^2, unit columns or unnormalised",
        "the CCA subspace, with its active set",
        "exact at lambda = 1; else exact or certified",
    ),
    "infonce": (
        "-sum A_ij log softmax(s_ij / tau)",
        "no spectral filter; simplex, log of the relation, a convex problem in ZZ'",
        "exact on cliques and positive relations, else certified; cosines of linear maps: trained, with a bound",
    ),
    "simclr": ("InfoNCE with cosine similarity", "as infonce", "as infonce"),
    "alpha_cl": (
        "sum_i F(d_i^2 - d_ij^2) over two views, or a rule for pair importance; \\|W\\|_F bounded",
        "PCA of the contrastive covariance: at frozen importance, and at the optimum's own",
        "exact where importance is fixed; certified where F is convex; rules without a loss: none",
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=None, help="a run directory of spectral-ssl demo")
    parser.add_argument("--align", type=Path, default=None, help="a run directory of spectral-ssl align")
    parser.add_argument("--check", action="store_true", help="change nothing; say whether the tables are current")
    arguments = parser.parse_args()
    before = README.read_text()
    text = before
    for name, table in TABLES.items():
        text = filled(text, name, table())
    if arguments.check:
        return int(text != before)
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    if results:
        lines = [benchmark_line(path) for path in results if path.stem in BENCHMARKS]
        text = filled(filled(text, "benchmarks", "\n".join(lines)), "models", models_table())
        text = filled(text, "prediction", prediction_table())
    if arguments.run is not None:
        record = json.loads((arguments.run / "run.json").read_text())
        text = filled(text, "demo", demo_table(record))
        for name, figure in FIGURES.items():
            shutil.copyfile(arguments.run / "figures" / figure, ROOT / "docs" / "figures" / name)
    if arguments.align is not None:
        text = filled(text, "align", align_advice(json.loads((arguments.align / "run.json").read_text())))
        shutil.copyfile(arguments.align / "figures" / "alignment.png", ROOT / "docs" / "figures" / "alignment.png")
    README.write_text(text)
    return 0


def filled(text: str, name: str, body: str) -> str:
    """The text with what stands between the markers of a block replaced."""
    block = re.compile(rf"(<!-- begin:{name} -->\n).*?(<!-- end:{name} -->)", re.DOTALL)
    if not block.search(text):
        sys.exit(f"README.md has no block {name!r}")
    return block.sub(lambda found: f"{found[1]}{body}\n{found[2]}", text)


def methods_table() -> str:
    lines = ["| `--methods` | loss | optimum | claim |", "| --- | --- | --- | --- |"]
    for name in METHODS:
        loss, classical, claim = CLAIMS[name]
        lines.append(f"| `{name}` | {loss} | {classical} | {claim} |")
    return "\n".join(lines)


def relations_table() -> str:
    return "\n".join(["| `--relation` | pairs | options |", "| --- | --- | --- |", *map(row_of, RELATIONS.items())])


def kernels_table() -> str:
    return "\n".join(["| `--kernel` | features | options |", "| --- | --- | --- |", *map(row_of, KERNELS.items())])


def row_of(item: tuple[str, Callable[..., Any]]) -> str:
    """A function of a table: its name, the first paragraph of its docstring, its options with their defaults."""
    name, function = item
    summary = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    options = [
        f"`{p.name}`" if p.default is p.empty else f"`{p.name}={p.default}`"
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    ]
    return f"| `{name}` | {summary} | {', '.join(options)} |"


def demo_table(record: dict[str, Any]) -> str:
    rows, versions = record["result"]["rows"], record["versions"]
    lines = [
        "| relation | method | closed form | trained | rel. excess | largest angle | held-out probe c / t |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        closed = "-" if r["loss_closed"] is None else f"{r['loss_closed']:.6g}"
        bound = r["kind"] == "bound"
        name = r["method"] + ("" if r["hyper"].get("normalized", True) else " (unnormalised)")
        lines.append(
            f"| {r['relation']} | {name} | {'at least ' if bound else ''}{closed} | {r['loss_trained']:.6g} | "
            f"{'-' if bound else scientific(r['relative_excess'])} | {scientific(r['max_angle'])} | "
            f"{percent(r['probe_closed'])} / {percent(r['probe_trained'])} |"
        )
    reference = record["result"]["reference"]
    lines += [
        "",
        f"Digits, K = {rows[0]['n_components']}, linear maps, {record['result']['data']['n_train']:,} training rows; "
        f"supervised logistic regression on the raw pixels reaches {percent(reference['probe_raw'])}. "
        "InfoNCE is trained on a seeded subsample. "
        f"Written by `python benchmarks/readme.py` from a run of `spectral-ssl demo` ({record['seconds']:.0f} s on "
        f"{record['platform']['cpu_count']} cores, numpy {versions['numpy']}, torch {versions['torch']}).",
    ]
    return "\n".join(lines)


def benchmark_line(path: Path) -> str:
    record = json.loads(path.read_text())
    where = record["machine"]
    machine = f"{where['platform']['cpu']}, {where['platform']['cpu_count']} cores, torch {where['versions']['torch']}"
    source = f"(`benchmarks/{record['benchmark']}.py`, rows in `benchmarks/results/{path.name}`; {machine})"
    return f"- {BENCHMARKS[record['benchmark']](record)} {source}."


def learned_line(record: dict[str, Any]) -> str:
    exact = [r for r in record["rows"] if r["kind"] == "exact"]
    judged = [r["max_angle"] for r in exact if r["max_angle"] is not None and (r["gap"] is None or r["gap"] >= 1e-3)]
    return (
        f"Training lands on the closed form: over {len(exact)} rows "
        f"({', '.join(sorted({r['data'] for r in exact}))}) the largest relative excess is "
        f"{scientific(max(r['relative_excess'] for r in exact))} and the largest of {len(judged)} judged angles "
        f"{scientific(max(judged))}; reaching it by full-batch L-BFGS takes "
        f"{statistics.median(r['ratio'] for r in exact):.0f} times as long as the closed form (median)"
    )


def classical_line(record: dict[str, Any]) -> str:
    rows = record["rows"]
    ratios: dict[str, list[float]] = {}
    for r in rows:
        ratios.setdefault(r["problem"], []).append(r["ratio"])
    told = ", ".join(f"{name} {' / '.join(f'{x:.2g}' for x in found)}" for name, found in ratios.items())
    angle = max(r["max_angle"] for r in rows if r["problem"] != "cca")
    return (
        f"The classical methods are scikit-learn's {record['machine']['versions']['scikit-learn']}, largest angle "
        f"{scientific(angle)} (CCA, which it iterates, {scientific(max(r['max_angle'] for r in rows))}); its time "
        f"over ours, on one thread: {told}"
    )


def misaligned_line(record: dict[str, Any]) -> str:
    rows = record["rows"]
    top = max(r["n_components"] for r in rows)
    ends = [r for r in rows if r["rate"] == 1.0 and r["n_components"] == top]
    told = ", ".join(
        f"{method} {statistics.median(r['probe'] for r in ends if r['method'] == method):.3f}"
        for method in sorted({r["method"] for r in ends})
    )
    return f"Every pair corrupted, K = {top}: held-out accuracy of the closed forms {told}"


def certificates_line(record: dict[str, Any]) -> str:
    parts = record["parts"]
    free, linear = parts["free"], parts["linear"]
    few = [r for r in parts["dimension"] if r["relation"] == "views" and r["temperature"] == 0.5]
    sweeps = {r["how"]: r for r in parts["sweep"] if r["n_samples"] == max(s["n_samples"] for s in parts["sweep"])}
    slow, fast = sweeps["autograd"], sweeps["sweep"]
    return (
        f"InfoNCE is solved to a proof: over all embeddings of {min(r['n_samples'] for r in free)} to "
        f"{max(r['n_samples'] for r in free):,} digits the relative gap is at most "
        f"{scientific(max(r['relative_gap'] for r in free))} in at most "
        f"{max(r['processor_seconds'] for r in free):.0f} s; over linear maps of {linear[0]['n_samples']:,} views, dot "
        f"products, {scientific(max(r['relative_gap'] for r in linear))} in at most "
        f"{max(r['processor_seconds'] for r in linear):.0f} s; in K = "
        f"{', '.join(str(r['n_components']) for r in few)} dimensions on views, temperature 0.5, "
        f"{', '.join(scientific(r['relative_gap']) for r in few)}; loss and gradient of {fast['n_samples']:,} samples "
        f"in one sweep {slow['seconds'] / fast['seconds']:.1f} times as fast as by automatic differentiation, in "
        f"{slow['peak_mb'] / fast['peak_mb']:.0f} times less memory"
    )


def optimizers_line(record: dict[str, Any]) -> str:
    told = []
    for method in dict.fromkeys(r["method"] for r in record["rows"]):
        rows = [r for r in record["rows"] if r["method"] == method]
        closed = statistics.median(r["seconds_closed"] for r in rows)

        def runs(name: str, rows: list[dict[str, Any]] = rows) -> list[dict[str, Any]]:
            return [r for r in rows if r["run"] == name]

        lbfgs = statistics.median(r["seconds_to"]["1e-06"] for r in runs("L-BFGS"))
        batch = runs("Adam, 256 pairs, cosine")
        seconds, left = (statistics.median(r[key][-1] for r in batch) for key in ("seconds", "relative_excess"))
        told.append(
            f"{method} {1000 * closed:.0f} ms in closed form, {lbfgs / closed:.0f} times that by L-BFGS to a relative "
            f"excess of 1e-6, and Adam on batches of 256 pairs is {scientific(left)} above after "
            f"{seconds / closed:.0f} times that"
        )
    return "; ".join(told)


def path_line(record: dict[str, Any]) -> str:
    rows = record["rows"]
    ratios = [r["ratio"] for r in rows]
    return (
        f"A whole path of {rows[0]['n_values']} values of the invariance or the redundancy costs 1/{min(ratios):.0f} "
        f"to 1/{max(ratios):.0f} of as many separate solves ({len(rows)} cases, linear and free), the same losses to "
        f"{scientific(max(r['loss_difference'] for r in rows))}"
    )


def alpha_line(record: dict[str, Any]) -> str:
    rows = record["rows"]
    certified = [r for r in rows if r["gap"] is not None]
    gaps = [r["gap"] / (r["loss_collapsed"] - r["loss"]) for r in certified]
    return (
        f"alpha-CL, {len({r['rule'] for r in rows})} rules on digits: the rank of the trained layer is the number of "
        f"eigenvalues that alpha has levelled in {sum(r['rank'] == r['multiplicity'] for r in rows)} of {len(rows)} "
        f"runs; {len(certified)} are certified, to {scientific(max(gaps))} of the way from collapse at most; held-out "
        f"probes with alpha moving are better than with alpha frozen in "
        f"{sum(r['probe'] > r['probe_frozen'] for r in rows)} ([docs/alpha.md](docs/alpha.md))"
    )


def alpha_live_line(record: dict[str, Any]) -> str:
    ratios: dict[tuple[int, float], dict[float, float | None]] = {}
    for r in record["rows"]:
        if r["how"] == "gradient descent":
            ratios.setdefault((r["rows"], r["temperature"]), {})[r["level"]] = r["ratio"]
    told = [
        f"{n} views, temperature {tau:g}: {times(ratio[1e-2])} to 1e-2, {times(ratio[1e-6])} to 1e-6"
        for (n, tau), ratio in ratios.items()
    ]
    return (
        "The certified optimum of a linear layer under alpha-CL: gradient descent, which proves nothing, takes so many "
        f"times as long to a relative excess ({'; '.join(told)})"
    )


def times(ratio: float | None) -> str:
    return "never in the steps allowed" if ratio is None else f"{ratio:.2g}"


def bounds_line(record: dict[str, Any]) -> str:
    rows = record["rows"]

    def telling(name: str) -> str:
        legal = [r for r in rows if r["limits"][name] is not None]
        return f"{sum(name not in r['vacuous'] for r in legal)} of {len(legal)}"

    violated = sum(len(r.get("violated", [])) for r in rows)
    return (
        f"Limits of the mean classifier's risk by the contrastive risk, {len(rows)} cases, {violated} violated; they "
        f"say something, of the cases where they are legal: the least of ours {telling('least upper limit')}, the "
        f"published band {telling('band, upper')}, Nozawa-Sato {telling('Nozawa-Sato')}, Ash {telling('Ash')}, Arora "
        f"{telling('Arora')}; the exact risk for all K at once is proven to "
        f"{scientific(max(t['proven_error'] for t in record['times']))}"
    )


def convergence_line(record: dict[str, Any]) -> str:
    logistic = [r for r in record["rows"] if r["loss"] == "logistic"]
    squared = [r for r in record["rows"] if r["loss"] == "squared"]
    slopes = [r["slope"] for r in logistic]
    return (
        f"Gradient descent on ReLU encoders {min(r['width'] for r in logistic)} to {max(r['width'] for r in logistic)} "
        f"wide: the logistic contrastive loss falls as t^{max(slopes):.2f} to t^{min(slopes):.2f} (power law, R² at "
        f"least {min(r['r2_power'] for r in logistic):.4f}), squared margins at a linear rate (R² at least "
        f"{min(r['r2_linear'] for r in squared):.4f})"
    )


def forecast_line(record: dict[str, Any]) -> str:
    steps = max(r["max_iter"] for r in record["summary"])
    every = [r for r in record["summary"] if r["max_iter"] == steps]
    rows = [r for r in every if r["loss"] != "mean of losses"]

    def figures(loss: str) -> str:
        return f"{loss} {', '.join(format(r['forecast'], '.2f') for r in every if r['loss'] == loss)}"

    names, shorter = ", ".join(dict.fromkeys(r["data"] for r in rows)), "accuracy of shorter trainings"
    ungraded = [f"{r['forecast: without grades']:.2f}" for r in every if r["loss"] == "mean of losses"]
    rivals = {
        "label energy in linear maps": "label energy, linear maps",
        "homophily": "homophily",
        "RankMe of the trained models": "rankme",
        f"trainings of {rows[0][f'{shorter}: steps']:,} steps (of the ungraded alone)": shorter,
    }
    others = ", ".join(
        f"{words} {min(r[key] for r in rows):.2f} to {max(r[key] for r in rows):.2f}" for words, key in rivals.items()
    )
    again = [r[f"forecast, folds dealt again: {end}"] for r in rows for end in ("least", "most")]
    share = max(r["forecast: share of training time"] for r in every)
    training = record["training"]
    return (
        f"`forecast` ranks {min(r['relations'] for r in rows)} to {max(r['relations'] for r in rows)} relations before "
        f"training as held-out probes of encoders trained for {steps:,} steps (`{training['encoder']}`, "
        f"{training['optimizer']}) rank them with a Spearman coefficient, on {names}, of {figures('vicreg')}; "
        f"{figures('infonce')}; {figures('barlow_twins')}; {figures('mean of losses')} (without ten grades of "
        f"corruption {', '.join(ungraded)}; by loss with other draws of its folds {min(again):.2f} to "
        f"{max(again):.2f}); in at most {100 * share:.2f} % of the training time; rivals: {others}"
    )


def prediction_table() -> str:
    from prediction import errors, table

    record = json.loads(PREDICTION.read_text())
    rows, where, options = record["rows"], record["machine"], record["arguments"]
    e = errors(rows)
    return "\n".join(
        [
            table(rows),
            "",
            f"{len(rows):,} models trained by L-BFGS ({sum(not r['converged'] for r in rows)} stopped at "
            f"{options['max_iter']} evaluations): {options['data']}, {options['methods']}, "
            f"K = {options['n_components']}, "
            f"pairs rewired at rates {options['rates']}, {options['splits']} splits. Errors are means of |predicted - "
            f"held-out accuracy|, {100 * (1 - e['predicted'] / e['in_sample']):.0f} % below those of in-sample "
            'accuracy. "Noise" is the error of a perfect prediction, from the number of held-out rows '
            f"(`benchmarks/prediction.py`, rows in `benchmarks/results/{PREDICTION.name}`; "
            f"{where['platform']['cpu']}).",
        ]
    )


def align_advice(record: dict[str, Any]) -> str:
    return f"> {record['result']['answer']}"


BENCHMARKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "aligned_vs_misaligned": misaligned_line,
    "classical_vs_sklearn": classical_line,
    "forecast": forecast_line,
    "infonce_certificates": certificates_line,
    "learned_vs_closed_form": learned_line,
    "optimizers": optimizers_line,
    "path": path_line,
    "alpha": alpha_line,
    "alpha_live": alpha_live_line,
    "bounds": bounds_line,
    "convergence": convergence_line,
}


def models_table() -> str:
    record = json.loads(MODELS.read_text())
    rows, where, options = record["rows"], record["machine"], record["arguments"]
    methods = list(dict.fromkeys(r["method"] for r in rows))
    lines = [f"| optimum over | {' | '.join(methods)} |", "| --- |" + " --- |" * len(methods)]
    for model in dict.fromkeys(map(name_of, rows)):
        cells = []
        for method in methods:
            here = [r for r in rows if name_of(r) == model and r["method"] == method]
            held, seen = (statistics.median(r[key] for r in here) for key in ("probe", "probe_train"))
            cells.append(f"{held:.3f} ({seen:.3f})")
        lines.append(f"| {model} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Held-out (and in-sample) accuracy of a linear probe on closed forms, nothing trained: {options['data']}, "
        f"relation {options['relation']}, K = {options['n_components']}, median of {options['seeds']} splits "
        f"(`benchmarks/model_classes.py`, rows in `benchmarks/results/{MODELS.name}`; {where['platform']['cpu']}).",
    ]
    return "\n".join(lines)


def name_of(row: dict[str, Any]) -> str:
    """A model class in words."""
    name = {"linear": "linear maps", "free": "all embeddings"}.get(row["model"], f"kernel `{row['kernel']}`")
    return name + (f", ridge {row['ridge']:g}" if row["ridge"] else "")


def scientific(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 1e-15" if value < 1e-15 else f"{value:.0e}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


TABLES = {"methods": methods_table, "relations": relations_table, "kernels": kernels_table}

if __name__ == "__main__":
    sys.exit(main())
