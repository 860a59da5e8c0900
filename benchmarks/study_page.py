"""A page of measured studies: run the commands of one group at their defaults, keep what they found, write the page.

benchmarks/experiments.py and benchmarks/reproduce.py are two such pages.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spectral_ssl.cli import COMMANDS
from spectral_ssl.progress import choose
from spectral_ssl.runs import machine, to_jsonable

ROOT = Path(__file__).resolve().parent.parent
Records = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class StudyPage:
    """group: of commands, as in "experiment". page: in docs; figures: below docs/figures; results: in
    benchmarks/results. head: the text above the sections, from the records. kept: keys of a payload; drawn_rows:
    whether rows that serve figures alone are kept too. listed: which commands of the group the page shows. variants:
    further sections, each a command with options.
    """

    group: str
    page: str
    figures: str
    results: str
    head: Callable[[Records], str]
    kept: tuple[str, ...] = ("question", "answer", "zero_line", "rows", "notes")
    drawn_rows: bool = True
    listed: Callable[[str], bool] = lambda name: True
    variants: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        start = f"{self.group} "
        commands = [name.removeprefix(start) for name in COMMANDS if name.startswith(start)]
        commands = list(filter(self.listed, commands))
        return [
            found
            for name in commands
            for found in (name, *(variant for variant, (base, _) in self.variants.items() if base == name))
        ]

    def main(self, doc: str | None) -> int:
        """The script's command line."""
        names, page, results = self.names, ROOT / "docs" / self.page, ROOT / "benchmarks" / "results" / self.results
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; none: all")
        parser.add_argument("--check", action="store_true", help="run nothing; say whether the page is current")
        arguments = parser.parse_args()
        if unknown := set(arguments.names) - set(names):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; choose of {', '.join(names)}")
        records: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
        if arguments.check:
            return int(page.read_text() != self.text(records))
        for name in arguments.names or names:
            records[name] = self.measure(name)
            print(f"{name} ({records[name]['seconds']:.0f} s): {records[name]['answer']}", flush=True)
            ordered = {known: records[known] for known in names if known in records}
            results.write_text(json.dumps(to_jsonable(ordered), indent=1, allow_nan=False) + "\n")
            page.write_text(self.text(ordered))
        return 0

    def measure(self, name: str) -> dict[str, Any]:
        """Run a study, keep its figures, and answer what the page says of it."""
        base, options = self.variants.get(name, (name, {}))
        module, _, attribute = COMMANDS[f"{self.group} {base}"].target.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        folder = ROOT / "docs" / "figures" / self.figures
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{name}--*.png"):
            old.unlink()
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as out:
            payload = function(out=Path(out) / "run", progress=choose(), **options)
            seconds = time.perf_counter() - started
            figures = []
            for path in map(Path, payload.get("figures", [])):
                if path.suffix == ".png":
                    figures.append(f"{name}--{path.name}")
                    shutil.copyfile(path, folder / figures[-1])
        found = {key: payload[key] for key in self.kept}
        if not self.drawn_rows:
            found["rows"] = [row for row in found["rows"] if "slug" in row]
        return {**found, "figures": figures, "seconds": seconds, "machine": machine()}

    def text(self, records: Records) -> str:
        parts = [self.head(records)]
        for name in self.names:
            if name not in records:
                continue
            r = records[name]
            where = f"{r['machine']['platform']['cpu']}, {r['machine']['platform']['cpu_count']} cores"
            parts.append(f"## `{name}`\n\n**{r['question']}**\n\n{r['answer']}\n")
            parts += [f"![{r['question']}](figures/{self.figures}/{figure})\n" for figure in r["figures"]]
            parts.append(f"*Zero line: {r['zero_line']}. {r['seconds']:.0f} s on {where}.*\n")
        return "\n".join(parts)
