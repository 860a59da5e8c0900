"""What do misaligned pairs cost each method? `spectral-ssl align`, its table by rate, and its rows and advice as JSON.

A relation is led astray step by step (its pairs rewired, its members exchanged between groups, or mixed with another
relation); every method's optimum over linear maps is solved at each step and probed on held-out rows, over several
draws. Two dimensions stand side by side: K at least the rank of the data, where an unregularised probe sees everything
VICReg keeps, and small K. What the numbers advise, and which of the paper's two abstracts they support, stands below.

    python benchmarks/aligned_vs_misaligned.py
    python benchmarks/aligned_vs_misaligned.py --data wine --relation labels -K 13,2 --rates 0,0.5,1 --seeds 5
    python benchmarks/aligned_vs_misaligned.py --how mix --json result.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from spectral_ssl.experiments.align import align
from spectral_ssl.experiments.demo import TEASER_METHODS
from spectral_ssl.runs import machine, to_jsonable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="a labelled data set by name, or a file")
    parser.add_argument("--relation", default="labels", help="the aligned relation, as for spectral-ssl align")
    parser.add_argument("--methods", default=TEASER_METHODS, help="methods, as for spectral-ssl align")
    parser.add_argument("--invariances", default="0.1,0.5,0.9,1.1", help="of VICReg, in units of alpha / m_K")
    parser.add_argument("-K", "--n-components", default="64,8", help="dimensions, comma separated")
    parser.add_argument("--rates", default="0,0.25,0.5,0.75,1", help="shares of the relation led astray")
    parser.add_argument("--how", default="rewire", choices=("rewire", "wrong_class", "mix"))
    parser.add_argument("--competing", default=None, help="the relation mixed in, for --how mix")
    parser.add_argument("--seeds", type=int, default=5, help="draws of wrong pairs and of labels")
    parser.add_argument("--json", default=None, help="write rows, advice, machine and versions to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = align(
            data=arguments.data,
            relation=arguments.relation,
            methods=arguments.methods,
            invariances=numbers(arguments.invariances, float),
            n_components=numbers(arguments.n_components, int),
            rates=numbers(arguments.rates, float),
            misalign=arguments.how,
            competing=arguments.competing,
            repeats=arguments.seeds,
            figures=False,
            out=Path(folder) / "run",
        )
    cells = [row for row in found["rows"] if row.get("kind") == "rate" and "probe_draws" in row]
    for K in numbers(arguments.n_components, int):
        print(f"\nK = {K}: held-out probe accuracy (median of {arguments.seeds}), rank in brackets")
        print(table([row for row in cells if row["n_components"] == K]))
    reference = found["reference"]
    print(
        f"\non the same split: raw features {reference['probe_raw']:.3f}, commonest class {reference['lowest']:.3f}\n"
    )
    print("\n".join(f"- {sentence}" for sentence in found["advice"]))
    if arguments.json:
        record = {
            "benchmark": "aligned_vs_misaligned",
            "arguments": vars(arguments),
            "machine": machine(),
            "reference": reference,
            "rows": [row for cell in cells for row in by_draw(cell)],
            "advice": found["advice"],
            "abstracts": found["verdict"]["abstracts"],
        }
        Path(arguments.json).write_text(json.dumps(to_jsonable(record), indent=1, allow_nan=False) + "\n")
        print(f"written: {arguments.json}")


def numbers(text: str, kind: Any) -> list[Any]:
    return [kind(part) for part in text.split(",")]


def by_draw(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every draw of the relation, numbered by its seed."""
    kept = {key: cell[key] for key in ("n_components", "rate", "method", "invariance", "homophily", "label_energy")}
    draws = zip(cell["probe_draws"], cell["rank_draws"], cell["loss_draws"], strict=True)
    return [
        {**kept, "probe": probe, "rank": rank, "loss": loss, "seed": seed}
        for seed, (probe, rank, loss) in enumerate(draws)
    ]


def table(cells: list[dict[str, Any]]) -> str:
    rates = sorted({cell["rate"] for cell in cells})
    lines = [f"{'corrupted':26}" + "".join(f"{rate:>14.0%}" for rate in rates)]
    for method in dict.fromkeys(cell["method"] for cell in cells):
        of = {cell["rate"]: cell for cell in cells if cell["method"] == method}
        told = [f"{statistics.median(of[rate]['probe_draws']):8.3f} [{of[rate]['rank']:3.0f}]" for rate in rates]
        lines.append(f"{method:26}" + "".join(told))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
