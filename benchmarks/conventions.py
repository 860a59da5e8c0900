"""Write docs/conventions.md: what each convention of each batch loss computes, and its value on fixed tensors.

    python benchmarks/conventions.py            # write the page
    python benchmarks/conventions.py --check    # exit 1 if the page is out of date

Every number on the page is computed here, none is typed.
"""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch

import spectral_ssl as ss
from spectral_ssl import losses
from spectral_ssl.losses import CONVENTIONS, Convention, Equivalent, Practice

PAGE = Path(__file__).resolve().parent.parent / "docs" / "conventions.md"
B, K = 64, 16  # the golden tensors
SHOWN = 12  # significant digits: two fewer than machines agree on
ALWAYS = {"temperature", "redundancy"}  # hyper-parameters named even where they are the default

TITLES = {
    "vicreg": "VICReg, weights 25, 25, 1",
    "barlow_twins": "Barlow Twins, redundancy 0.005",
    "nt_xent": "NT-Xent (SimCLR), temperature 0.5",
    "spectral_contrastive": "Spectral contrastive loss, mu = 1",
    "ssl_ey": "SSL-EY",
}


def golden() -> tuple[torch.Tensor, torch.Tensor]:
    """za, zb (64, 16), float64."""
    draw = torch.Generator().manual_seed(0)
    za = 0.7 * torch.randn(B, K, generator=draw, dtype=torch.float64)
    return za, za + 0.3 * torch.randn(B, K, generator=draw, dtype=torch.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; say whether the page is current")
    text = page()
    if parser.parse_args(arguments).check:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    parts = [INTRODUCTION, *(section(loss, rows) for loss, rows in CONVENTIONS.items()), left_over(), reading()]
    return "\n".join(parts)


def section(loss: str, rows: dict[str, Practice]) -> str:
    lines = [
        f"## {TITLES[loss]}",
        "",
        "| convention | what it computes | golden value | who computes it |",
        "| --- | --- | --- | --- |",
    ]
    for convention, practice in rows.items():
        terms = getattr(losses, f"{loss}_terms")(*golden(), convention=convention)
        parts = " + ".join(f"{name} {number(float(part))}" for name, part in terms.items())
        value = number(float(getattr(losses, loss)(*golden(), convention=convention)))
        lines.append(
            f"| `{convention}` | `{escaped(practice.formula)}` | **{value}** = {parts} | {escaped(practice.agrees)} |"
        )
    lines += ["", "| convention | over the whole relation | holds | left over |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{convention}` | {conversion(loss, convention, practice)} | {escaped(practice.left_over)} |"
        for convention, practice in rows.items()
    ]
    return "\n".join([*lines, ""])


def conversion(loss: str, convention: str, practice: Practice) -> str:
    """Two cells: the method with its numbers, and where the equality holds."""
    if practice.equivalent is None:
        return f"none | {escaped(practice.exact)}"
    same = equivalent(loss, convention)
    Z = "Z" if same.stretch == 1 else f"{number(same.stretch)} Z"
    factor = "" if same.factor == 1 else f"{number(same.factor)} * "
    return f"`{factor}{call(same)}.loss({Z}, graph)` | {escaped(practice.exact)}"


def equivalent(loss: str, convention: str) -> Equivalent:
    choice: Convention = "paper" if convention == "paper" else "code"
    return losses.equivalent(loss, choice, K, B)


def call(same: Equivalent) -> str:
    """The method as one would write it: hyper-parameters that are not the default."""
    method = same.method
    given = [
        f"{f.name}={getattr(method, f.name)!r}"
        for f in fields(method)  # type: ignore[arg-type]
        if f.name in ALWAYS or getattr(method, f.name) != f.default
    ]
    return f"ss.{type(method).__name__}({', '.join(given)})"


def left_over() -> str:
    """The steps from a published number to the method's, one row each, on the golden tensors."""
    za, zb = golden()
    both, Z, graph = losses.both_orders(za, zb), torch.cat([za, zb]), losses.batch_graph(B)
    lines = [
        "## What is left over, on the golden tensors",
        "",
        "| loss | as published | eps = 0 | and both orders | the method over the relation |",
        "| --- | --- | --- | --- | --- |",
    ]
    for loss, convention in [("vicreg", "code"), ("vicreg", "paper"), ("barlow_twins", "code"), ("ssl_ey", "code")]:
        function, same = getattr(losses, loss), equivalent(loss, convention)
        no_eps = {} if loss == "ssl_ey" else {"eps": 0.0}
        steps = [
            function(za, zb, convention=convention),
            function(za, zb, convention=convention, **no_eps),
            function(*both, convention=convention, **no_eps),
            same.batch_value(float(same.method.loss(same.stretch * Z, graph))),
        ]
        lines.append(f"| `{loss}`, `{convention}` | {' | '.join(number(float(step)) for step in steps)} |")
    sizes = (8, 16, 32)
    by_size = [
        losses.minibatch_bias(za, size, variance=0.0, covariance=1 / K, centred=True, replacement=False)
        for size in sizes
    ]
    told = ", ".join(f"{number(bias)} for B = {size}" for size, bias in zip(sizes, by_size, strict=True))
    term = float(losses.vicreg_terms(za, za)["covariance"]) / 2
    return "\n".join(
        [
            *lines,
            "",
            filled(
                "The first step is `eps`. It lowers VICReg's hinge by at most sqrt(eps) per unit of variance weight, "
                f"and by eps/2 = {number(1e-4 / 2)} where standard deviations are near 1; it shrinks Barlow Twins' "
                "correlations. The second is W8: the covariance of a branch is not that of all views, its optimum is "
                "another, and it has local minima that the other has not. Feeding both orders of each pair, "
                "`ss.losses.both_orders`, removes it at the price of a larger batch."
            ),
            "",
            filled(
                "What remains in training is W9: a squared covariance is larger on average when it is estimated on a "
                "batch, by an exact amount, `ss.losses.minibatch_bias`. With the 64 rows of za as all the data, "
                f"VICReg's covariance term of that branch is {number(term)}, and batches drawn without replacement "
                f"add {told} on average. The embedding that is best over batches differs from the one that is best "
                "over all data by O(1/B), and its loss over all data is higher by O(1/B^2)."
            ),
            "",
        ]
    )


def reading() -> str:
    za, zb = golden()
    same, components = losses.equivalent("ssl_ey", "code", 4, B), 4
    best = ss.optimum(same.method, losses.batch_graph(B), components, X=torch.cat([za, zb]).numpy())
    return f"""## Reading the loss of a run

A number alone says nothing: is 9.24 good? The attainable minimum of the same loss does.

```python
import spectral_ssl as ss

same = ss.losses.equivalent("ssl_ey", "code", n_components={components}, batch={B})
best = ss.optimum(same.method, ss.losses.batch_graph({B}), {components}, X=X)  # over linear maps of X = [xa; xb]
same.batch_value(best.loss)  # no linear map of this batch, fed in both orders, prints less
```

With the golden tensors as X this is {number(same.batch_value(best.loss))}. Four things decide what to compare:

1. **Convention.** Find the row above whose formula is your code's; the golden value settles it: feed the golden
   tensors to your loss.
2. **Method.** `equivalent` gives the method with its constants, and the factor between the two numbers. Where the
   method has a closed form for its weights, `ss.optimum` gives the minimum; where it raises `NotClosedForm`,
   `ss.train` gives a minimum reached, and `ss.optimum` says why there is no formula.
3. **Relation.** The batch's own graph gives the minimum of that batch. `ss.relations.views` over the whole data set
   gives the minimum of the full-batch loss, which mini-batches miss by `minibatch_bias`.
4. **Order.** Feed both orders, or expect the other optimum of per-branch covariances (W8).
"""


def number(value: float) -> str:
    """SHOWN significant digits, without trailing zeros."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    return f"{value:.{SHOWN}g}"


def filled(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


INTRODUCTION = """# Conventions of the batch losses

Written by `python benchmarks/conventions.py`; every number is computed there.

One name stands for several losses: papers and published code average where others sum, divide by B or by B - 1, and
hide an eps. `ss.losses` has each of them, `convention="code"` or `"paper"`. za, zb (B, K) are the two views of a batch,
N = 2B, Z = [za; zb] and graph = `ss.losses.batch_graph(B)`. The golden values are those of

```python
draw = torch.Generator().manual_seed(0)
za = 0.7 * torch.randn(64, 16, generator=draw, dtype=torch.float64)
zb = za + 0.3 * torch.randn(64, 16, generator=draw, dtype=torch.float64)
```

The conversions hold exactly where the table says so, with the numbers for these weights, B = 64 and K = 16; other
weights: `ss.losses.equivalent`.
"""


if __name__ == "__main__":
    sys.exit(main())
