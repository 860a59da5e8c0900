"""Run every experiment at its defaults and write docs/experiments.md: question, measured answer, figures.

    python benchmarks/experiments.py                 # all of them, and the page
    python benchmarks/experiments.py branches hinge  # these anew, the others as they were measured before
    python benchmarks/experiments.py --check         # run nothing; exit 1 if the page does not match what was measured

What is measured goes to benchmarks/results/experiments.json, one record per experiment, each with its own machine.
"""

from __future__ import annotations

import sys

from study_page import Records, StudyPage

HEAD = """# Experiments: theory and practice, measured

Each is a command, `spectral-ssl experiment NAME`, with options for data, relation, sizes and seeds; below is what it
answers at its defaults. Written by `python benchmarks/experiments.py` from `benchmarks/results/experiments.json`.
"""


def head(records: Records) -> str:
    return HEAD


PAGE = StudyPage("experiment", "experiments.md", "experiments", "experiments.json", head)

if __name__ == "__main__":
    sys.exit(PAGE.main(__doc__))
