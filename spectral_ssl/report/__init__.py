"""Tables and figures. They read payloads and run directories, and compute nothing that could be a result.

`render(payload, console)` prints what a command returned; `draw(run)` draws the figures of a run directory.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["draw", "render"]

_PUBLIC = {"draw": "plots", "render": "tables"}  # loaded on first use: rich and matplotlib cost time


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
