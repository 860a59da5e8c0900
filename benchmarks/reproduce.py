"""Run E1 to E9 and their like at full size, write docs/reproductions.md: the predicted shape, was it seen, figures.

    python benchmarks/reproduce.py          # all of them, and the page
    python benchmarks/reproduce.py E2 E8    # these anew, the others as they were measured before
    python benchmarks/reproduce.py --check  # run nothing; exit 1 if the page does not match what was measured

What is measured goes to benchmarks/results/reproduce.json, one record per experiment, each with its own machine.
"""

from __future__ import annotations

import sys

from study_page import Records, StudyPage

HEAD = """# Reproductions: shapes that the closed forms predict

Each is a command, `spectral-ssl reproduce E1`, with options for data, sizes and seeds; below is what it answers at its
defaults, and `E3-text` and its like with `--data stdlib_docs`. The kinds of experiment are those of Balestriero & LeCun
2022 (arXiv 2205.11508) and, where a name begins with `bounds`, of Bao, Nagano & Nozawa 2022 (arXiv 2110.02501) or,
with `augmentation`, of Huang, Yi, Zhao & Jiang 2023 (arXiv 2111.00743); data and numbers are our own, none of theirs
are shown, and a shape counts as seen where every criterion in the answer holds. Written by
`python benchmarks/reproduce.py` from `benchmarks/results/reproduce.json`.

| | question | seen | criteria |
| --- | --- | --- | --- |
"""


def head(records: Records) -> str:
    """The text above the sections: what was seen, in one table."""
    lines = []
    for name, r in records.items():
        held = sum(criterion["holds"] for criterion in r["criteria"])
        seen = "yes" if r["seen"] else "no"
        lines.append(f"| [{name}](#{name.lower()}) | {r['question']} | {seen} | {held} of {len(r['criteria'])} hold |")
    return HEAD + "\n".join(lines) + "\n"


PAGE = StudyPage(
    "reproduce",
    "reproductions.md",
    "reproduce",
    "reproduce.json",
    head,
    ("question", "predicted", "seen", "criteria", "answer", "zero_line", "rows", "notes"),
    drawn_rows=False,
    listed=lambda name: name.startswith(("E", "bounds-", "augmentation-")),  # the others need files of the user's
    variants={f"{name}-text": (name, {"data": "stdlib_docs"}) for name in ("E3", "E4", "E5", "bounds-trajectories")},
)

if __name__ == "__main__":
    sys.exit(PAGE.main(__doc__))
