"""Does 1 - sigma rank augmentation sets by the error they lead to? `augment` on digits, for several encoders.

    python benchmarks/augmentation.py                 # all encoders, and the page
    python benchmarks/augmentation.py linear kernel   # these anew, the others as they were measured before
    python benchmarks/augmentation.py --check         # run nothing; exit 1 if the page does not match what was measured

Ten augmentation sets; what is measured goes to benchmarks/results/augmentation.json, one record per encoder, each with
its own machine and versions; the page is docs/augmentation.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from spectral_ssl.experiments.augmentation import augment
from spectral_ssl.progress import choose
from spectral_ssl.report.augmentation_figures import short
from spectral_ssl.runs import machine, to_jsonable

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "augmentation.json"
PAGE = ROOT / "docs" / "augmentation.md"
FIGURES = ROOT / "docs" / "figures" / "augmentation"
KEPT = ("answer", "data", "rows", "deltas", "delta", "ranking", "certificates", "bounds", "notes")
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {  # name -> words, options of `augment`
    "linear": ("VICReg's optimum over linear maps", {}),
    "spectral": ("the spectral contrastive optimum over linear maps", {"method": "spectral_contrastive"}),
    "kernel": ("VICReg's optimum over maps of a Gaussian kernel", {"model": "kernel", "kernel": "nystroem"}),
    "network": (
        "an MLP trained by InfoNCE",
        {"method": "infonce(temperature=0.2)", "encoder": "mlp(width=256, depth=2)", "max_iter": 500},
    ),
}

HEAD = """# Augmentations that bring a class together

`spectral-ssl augment` ranks augmentation sets before any training, by what (sigma, delta)-augmentation (Huang, Yi, Zhao
& Jiang 2023, arXiv 2111.00743) says of them, and sets the promise against the error of the nearest class centre on
samples held out. Written by `python benchmarks/augmentation.py` from `benchmarks/results/augmentation.json`.

**What is measured.** Two samples are as far apart as their nearest views (`d_A`). `sigma` is the largest share of a
class in which all pairs have `d_A <= delta`: a clique, hard to find and easy to bracket. `1 - sigma` below is that of
the clique found; a search that ended proves that there is none larger, and where it did not the range is told.
`R_eps` is the share of samples with two views farther than `eps` apart in feature space.

**Which delta.** Sets can be compared at one `delta` only, and it must not depend on the sets: deltas are quantiles of
the distances between samples of one class as they are, unaugmented. Of these, tables and figures show the one at which
`1 - sigma` ranges most widely over the sets; the errors have no say in it. All are in the record.

**What a certificate is.** Theorem 1, `Err <= (1 - sigma) + R_eps` where the centres diverge enough, holds as printed,
though the lemma it is derived from does not (its coefficient of `R_eps / p` is `2 - (L delta + 2 eps)/r`, not 1).
The triangle certificate, `min |mu_k - mu_l| > 2 r rho`, asks for less and concludes the same; class by class it allows
each its own `delta` and `eps`. All are exact for the views at hand, and conditional where views were drawn from a
larger set: few views understate `sigma` and `R_eps` both. Where no condition holds, the ranking is what is left.

**What 1 - sigma cannot see.** Distances are those of pixels: a transform that makes all images alike, blur say, brings
every class together and keeps none apart from the others. Whether views keep the label, and what the encoder can use,
it does not know either.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENCODERS)}; none: all")
    parser.add_argument("--check", action="store_true", help="run nothing; say whether the page is current")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(ENCODERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose of {', '.join(ENCODERS)}")
    records: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if arguments.check:
        return int(PAGE.read_text() != page(records))
    for name in arguments.names or ENCODERS:
        records[name] = measure(name)
        print(f"{name} ({records[name]['seconds']:.0f} s): {records[name]['answer']}", flush=True)
        records = {known: records[known] for known in ENCODERS if known in records}
        RESULTS.write_text(json.dumps(to_jsonable(records), indent=1, allow_nan=False) + "\n")
        PAGE.write_text(page(records))
    return 0


def measure(name: str) -> dict[str, Any]:
    FIGURES.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        payload = augment(out=Path(out) / "run", progress=choose(), **ENCODERS[name][1])
        seconds = time.perf_counter() - started
        figures = []
        for path in map(Path, payload.get("figures", [])):
            if path.name == "ranking.png":
                figures.append(f"{name}--{path.name}")
                shutil.copyfile(path, FIGURES / figures[-1])
    found = {key: payload[key] for key in KEPT}
    return {**found, "figures": figures, "seconds": seconds, "machine": machine()}


def page(records: dict[str, Any]) -> str:
    parts = [HEAD, "## Rank correlation of 1 - sigma with the held-out error\n", correlations(records)]
    for name, record in records.items():
        where = record["machine"]["platform"]
        parts += [
            f"## {name}: {ENCODERS[name][0]}\n",
            record["answer"] + "\n",
            *(
                f"![1 - sigma against the error, {name}](figures/augmentation/{figure})\n"
                for figure in record["figures"]
            ),
            table(record),
            f"*{record['seconds']:.0f} s on {where['cpu']}, {where['cpu_count']} cores.*\n",
        ]
    return "\n".join(parts)


def correlations(records: dict[str, Any]) -> str:
    """A row for every encoder, a column for every delta."""
    first = next(iter(records.values()), None)
    if first is None:
        return ""
    lines = ["| encoder | " + " | ".join(f"delta = {delta:.3g}" for delta in first["deltas"]) + " |"]
    lines.append("| --- |" + " --- |" * len(first["deltas"]))
    for name, record in records.items():
        cells = [
            "-" if row["spearman"] is None else f"{row['spearman']:.2f} ({row['spearman_mean']:.2f})"
            for row in record["ranking"]
        ]
        cells = [
            f"**{cell}**" if row["delta"] == record["delta"] else cell
            for cell, row in zip(cells, record["ranking"], strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\nBold: the delta shown. In brackets: by the mean over classes of 1 - sigma_k.\n"


def table(record: dict[str, Any]) -> str:
    lines = [
        "| augmentation set | 1 - sigma | error | 1-NN | kNN | linear | alignment | triangle slack |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in (row for row in record["rows"] if "slug" in row):
        missing = f"{row['missing']:.3f}"
        if row["missing_low"] < row["missing"]:
            missing = f"{row['missing_low']:.3f} to {missing}"
        numbers = [f"{row[key]:.3f}" for key in ("error", "error_1nn", "error_knn", "error_linear", "alignment")]
        lines.append(f"| {short(row['set'])} | {missing} | {' | '.join(numbers)} | {row['slack']:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
