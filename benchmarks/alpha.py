"""alpha-CL on digits, rule by rule: rank, levelled eigenvalues, energy, certificate, probes. Writes docs/alpha.md.

    python benchmarks/alpha.py
    python benchmarks/alpha.py --data wine --rules "infonce(eps=0), direct" --seeds 2 --n-originals 60 --page out.md
    python benchmarks/alpha.py --check      # run nothing; say whether the page is current

Every number is of `spectral-ssl alpha`, at several seeds of split, views, subsample and start.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import spectral_ssl as ss
from spectral_ssl.experiments.alpha_cl import alpha
from spectral_ssl.runs import machine, to_jsonable

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_name("results") / "alpha.json"
PAGE = ROOT / "docs" / "alpha.md"
FIGURES = ROOT / "docs" / "figures" / "alpha"
RULES = (
    "infonce(eps=0), infonce(temperature=0.1, eps=0), infonce(temperature=0.05, eps=0), infonce, soft_triplet, tuplet, "
    "mine, lifted_structured, triplet, modified_triplet, r_gamma(temperature=1e-5), r_s, direct, "
    "direct(temperature=0.02), uniform"
)
DROPPED = ("spectrum", "spectrum_frozen", "counted", "weights", "slug")  # of a row: what figures alone are drawn from
DRAWN = ("spectrum", "temperature", "importance", "negatives")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a data set by name, or a file")
    parser.add_argument("--rules", default=RULES, help="rules, as for spectral-ssl alpha")
    parser.add_argument("--n-originals", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS, help="where rows, machine and versions go")
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="where the page goes; figures beside docs/alpha.md only"
    )
    parser.add_argument("--check", action="store_true", help="run nothing; exit 1 if the page is not of the results")
    arguments = parser.parse_args()
    if arguments.check:
        return int(arguments.page.read_text() != page(json.loads(arguments.json.read_text())))
    warnings.simplefilter("ignore", ss.SpectralWarning)
    record: dict[str, Any] = {
        "benchmark": "alpha",
        "arguments": {key: getattr(arguments, key) for key in ("data", "rules", "n_originals", "seeds")},
        "machine": machine(),
        "rows": [],
    }
    started = time.perf_counter()
    for seed in range(arguments.seeds):
        figures = seed == 0 and arguments.page == PAGE
        with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
            payload = alpha(
                data=arguments.data, rules=arguments.rules, n_originals=arguments.n_originals, seed=seed,
                figures=False, out=Path(folder) / "run",
            )  # fmt: skip
            if figures:
                with tempfile.TemporaryDirectory() as drawn:  # few rules fit a figure: those of the command's defaults
                    shown = alpha(
                        data=arguments.data, n_originals=arguments.n_originals, seed=seed, out=Path(drawn) / "run"
                    )
                    FIGURES.mkdir(parents=True, exist_ok=True)
                    for path in map(Path, shown["figures"]):
                        shutil.copyfile(path, FIGURES / path.name)
        if seed == 0:
            record |= {key: payload[key] for key in ("sweep", "setting", "n_negatives")}
        for row in payload["rows"]:
            record["rows"].append({"seed": seed} | {key: value for key, value in row.items() if key not in DROPPED})
        print(f"seed {seed}: {payload['answer']}", file=sys.stderr, flush=True)
    record["seconds"] = time.perf_counter() - started
    record = to_jsonable(record)
    arguments.json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    arguments.page.write_text(page(record))
    return 0


def page(record: dict[str, Any]) -> str:
    """docs/alpha.md, from the results alone."""
    rows, given = record["rows"], record["arguments"]
    where = f"{record['machine']['platform']['cpu']}, {record['machine']['platform']['cpu_count']} cores"
    sweep = ", ".join(f"{entry['rank']} at {entry['temperature']:g}" for entry in record["sweep"])
    parts = [
        "# alpha-CL: which negatives count, and is it PCA?",
        f"`spectral-ssl alpha` on {given['data']}: {record['setting']}; {given['seeds']} seeds of split, views, "
        "subsample and start. Written by `python benchmarks/alpha.py` from `benchmarks/results/alpha.json` "
        f"({record['seconds']:.0f} s on {where}).",
        verdict(rows),
        table(rows),
        "Rank: of the trained layer. Level: eigenvalues of C_alpha within 0.1 % of the largest. Energy left: the share "
        "that W leaves of the most any W could have, alpha held at its last value. Gap: proven bound on the loss above "
        "its minimum, over the decrease from collapse; none without a convex loss. Ascent: where gradient ascent with "
        "alpha moving ended above that minimum, likewise. Count: the median over anchors of exp(entropy of alpha), of "
        f"{record['n_negatives']} negatives. Probes: held-out accuracy of W trained with alpha live, of the rank-1 PCA "
        "with alpha frozen at the start, and of the top 16 eigenvectors of the last C_alpha, orthonormal; means over "
        "the seeds. Ranges are over the seeds, energy, gap and ascent their largest.",
        f"Rank of the certified optimum of {record['sweep'][0]['rule']} by temperature: {sweep}." if sweep else "",
        *(f"![{name} of alpha](figures/alpha/{name}.png)" for name in DRAWN),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """What the rows say, in one paragraph."""
    equal = sum(row["rank"] == row["multiplicity"] for row in rows)
    captured = min(row["energy"] for row in rows if row["energy"] is not None)
    certified = [share(row, "gap") for row in rows if row["gap"] is not None]
    excess = [row["trained_excess"] for row in rows if row["trained_excess"] is not None]
    better = sum(row["probe"] > row["probe_frozen"] for row in rows if row["probe"] is not None)
    probed = sum(row["probe"] is not None for row in rows)
    spread = sum(row["probe_pca"] > row["probe"] for row in rows if row["probe"] is not None)
    return (
        f"In {equal} of {len(rows)} runs the rank of the trained layer is the number of eigenvalues of C_alpha that "
        f"alpha has levelled with the largest; W captures all but {1 - captured:.1e} of the energy that PCA of C_alpha "
        f"has. {len(certified)} runs are certified, to {max(certified):.1e} of the way from collapse at most, and "
        f"gradient ascent ends within {max(excess):.1e} of it. With alpha frozen the optimum has rank 1; alpha live "
        f"probes better in {better} of {probed} runs, and K orthonormal directions of the same C_alpha, which a bound "
        f"on |W|_F does not keep, better still in {spread}."
    )


def share(row: dict[str, Any], key: str) -> float:
    """A gap as a share of the decrease from collapse."""
    return float(row[key] / max(row["loss_collapsed"] - row["loss"], 1e-300))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line per rule."""
    lines = [
        "| rule | rank | level | energy left | gap | ascent | count | probe, live | frozen | PCA of C_alpha |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rule in dict.fromkeys(row["rule"] for row in rows):
        here = [row for row in rows if row["rule"] == rule]

        def cell(get: Callable[[dict[str, Any]], float | None], write: str, here: Any = here) -> str:
            found = [value for value in map(get, here) if value is not None]
            if not found:
                return "-"
            low, high = (format(end, write) for end in (min(found), max(found)))
            return low if low == high else f"{low} to {high}"

        worst = {
            "energy": max((1 - row["energy"] for row in here if row["energy"] is not None), default=None),
            "gap": max((share(row, "gap") for row in here if row["gap"] is not None), default=None),
            "ascent": max((row["trained_excess"] for row in here if row["trained_excess"] is not None), default=None),
        }
        told = ["-" if value is None else f"{max(value, 0.0):.0e}" for value in worst.values()]
        probes = [
            "-" if here[0][key] is None else f"{np.mean([row[key] for row in here]):.3f}"
            for key in ("probe", "probe_frozen", "probe_pca")
        ]
        cells = [
            f"`{rule}`",
            cell(lambda row: row["rank"], "d"),
            cell(lambda row: row["multiplicity"], "d"),
            *told,
            cell(lambda row: row["effective_negatives"], ".0f"),
            *probes,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
