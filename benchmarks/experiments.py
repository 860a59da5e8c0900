"""Run every experiment at its defaults and write docs/experiments.md: question, measured answer, figures.

    python benchmarks/experiments.py                 # all of them, and the page
    python benchmarks/experiments.py branches hinge  # these anew, the others as they were measured before
    python benchmarks/experiments.py --check         # run nothing; exit 1 if the page does not match what was measured

What is measured goes to benchmarks/results/experiments.json, one record per experiment, each with its own machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spectral_ssl.cli import COMMANDS
from spectral_ssl.progress import choose
from spectral_ssl.runs import machine, to_jsonable

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "experiments.md"
FIGURES = ROOT / "docs" / "figures" / "experiments"
RESULTS = ROOT / "benchmarks" / "results" / "experiments.json"
GROUP = "experiment "
NAMES = [name.removeprefix(GROUP) for name in COMMANDS if name.startswith(GROUP)]

HEAD = """# Experiments: theory and practice, measured

Each is a command, `spectral-ssl experiment NAME`, with options for data, relation, sizes and seeds; below is what it
answers at its defaults. Written by `python benchmarks/experiments.py` from `benchmarks/results/experiments.json`.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none: all")
    parser.add_argument("--check", action="store_true", help="run nothing; say whether the page is current")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"not an experiment: {', '.join(sorted(unknown))}; choose of {', '.join(NAMES)}")
    records: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if arguments.check:
        return int(PAGE.read_text() != page(records))
    for name in arguments.names or NAMES:
        records[name] = measure(name)
        print(f"{name} ({records[name]['seconds']:.0f} s): {records[name]['answer']}", flush=True)
        ordered = {known: records[known] for known in NAMES if known in records}
        RESULTS.write_text(json.dumps(to_jsonable(ordered), indent=1, allow_nan=False) + "\n")
        PAGE.write_text(page(ordered))
    return 0


def measure(name: str) -> dict[str, Any]:
    """Run an experiment, keep its figures, and answer what the page says of it."""
    module, _, attribute = COMMANDS[GROUP + name].target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    FIGURES.mkdir(parents=True, exist_ok=True)
    for old in FIGURES.glob(f"{name}--*.png"):
        old.unlink()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        payload = function(out=Path(folder) / "run", progress=choose())
        seconds = time.perf_counter() - started
        figures = []
        for path in map(Path, payload.get("figures", [])):
            if path.suffix == ".png":
                figures.append(f"{name}--{path.name}")
                shutil.copyfile(path, FIGURES / figures[-1])
    return {
        **{key: payload[key] for key in ("question", "answer", "zero_line", "rows", "notes")},
        "figures": figures,
        "seconds": seconds,
        "machine": machine(),
    }


def page(records: dict[str, Any]) -> str:
    parts = [HEAD]
    for name in NAMES:
        if name not in records:
            continue
        r = records[name]
        where = f"{r['machine']['platform']['cpu']}, {r['machine']['platform']['cpu_count']} cores"
        parts.append(f"## `{name}`\n\n**{r['question']}**\n\n{r['answer']}\n")
        parts += [f"![{r['question']}](figures/experiments/{figure})\n" for figure in r["figures"]]
        parts.append(f"*Zero line: {r['zero_line']}. {r['seconds']:.0f} s on {where}.*\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
