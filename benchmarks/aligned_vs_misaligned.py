"""What do misaligned pairs cost each method? Held-out accuracy of the closed forms while a relation is led astray.

A relation is corrupted step by step (its pairs rewired, or its members exchanged between groups); every method's
optimum over linear maps is solved at each step and probed on held-out rows, over several seeds of the corruption. Two
dimensions stand side by side: K at least the rank of the data, where an unregularised probe sees everything VICReg
keeps, and small K.

    python benchmarks/aligned_vs_misaligned.py
    python benchmarks/aligned_vs_misaligned.py --data wine --relation labels -K 13,2 --rates 0,0.5,1 --seeds 5
    python benchmarks/aligned_vs_misaligned.py --how wrong_class --json result.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from spectral_ssl.experiments.compare import reference_scores
from spectral_ssl.experiments.demo import TEASER_METHODS, corruption_rows
from spectral_ssl.experiments.setting import load_data, make_setting
from spectral_ssl.runs import machine, to_jsonable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a labelled data set by name, or a file")
    parser.add_argument("--relation", default="labels", help="the aligned relation, as for spectral-ssl compare")
    parser.add_argument("--methods", default=TEASER_METHODS, help="methods, as for spectral-ssl compare")
    parser.add_argument("-K", "--n-components", default="64,8", help="dimensions, comma separated")
    parser.add_argument("--rates", default="0,0.25,0.5,0.75,1", help="shares of the relation led astray")
    parser.add_argument("--how", default="rewire", choices=("rewire", "wrong_class"))
    parser.add_argument("--seeds", type=int, default=3, help="draws of the corruption")
    parser.add_argument("--json", default=None, help="write rows, machine and versions to this file")
    arguments = parser.parse_args()
    setting = make_setting(load_data(arguments.data), arguments.relation, test_size=0.25, seed=0)
    dimensions = tuple(int(k) for k in arguments.n_components.split(","))
    rates = tuple(float(r) for r in arguments.rates.split(","))
    rows = []
    for seed in range(arguments.seeds):
        found = corruption_rows(setting, arguments.methods, dimensions, rates, seed, how=arguments.how)
        rows += [{**row, "seed": seed} for row in found]
    reference = reference_scores(setting)
    for K in dimensions:
        print(f"\nK = {K}: held-out probe accuracy (median of {arguments.seeds}), rank in brackets")
        print(table([r for r in rows if r["n_components"] == K], rates))
    told = ", ".join(f"{name} {value:.3f}" for name, value in reference.items() if value is not None)
    print(f"\non the same split: {told}")
    if arguments.json:
        record = {
            "benchmark": "aligned_vs_misaligned",
            "arguments": vars(arguments),
            "machine": machine(),
            "reference": reference,
            "rows": rows,
        }
        Path(arguments.json).write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {arguments.json}")


def table(rows: list[dict[str, Any]], rates: tuple[float, ...]) -> str:
    lines = [f"{'corrupted':26}" + "".join(f"{rate:>14.0%}" for rate in rates)]
    for method in dict.fromkeys(r["method"] for r in rows):
        cells = []
        for rate in rates:
            here = [r for r in rows if r["method"] == method and r["rate"] == rate]
            rank = statistics.median(r["rank"] for r in here)
            cells.append(f"{statistics.median(r['probe'] for r in here):8.3f} [{rank:3.0f}]")
        lines.append(f"{method:26}" + "".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
