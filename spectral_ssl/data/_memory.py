"""The memory a data set will need, estimated before it is read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from spectral_ssl.errors import ResourceError

__all__ = ["available_memory", "check_memory", "check_rows"]

FRACTION = 0.8  # of the free memory that one data set may take: what is computed from it needs room too


def available_memory() -> float:
    """Bytes that can be had without swapping, within the limit of a container; infinite where nothing is known."""
    found = [float("inf")]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024.0 * int(line.split()[1]))
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        found.append(float(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))))
    return min(found)


def check_memory(n_bytes: float, what: str, hint: str = "") -> None:
    """Refuse what would not leave room to work.

    Raises:
        ResourceError: More than `FRACTION` of the free memory.
    """
    free = available_memory()
    if n_bytes > FRACTION * free:
        raise ResourceError(
            f"{what} needs {_gigabytes(n_bytes)}, and {_gigabytes(free)} are free{'; ' if hint else ''}{hint}"
        )


def check_rows(n_rows: int, n_features: int, what: str, hint: str) -> None:
    """Refuse rows that would not fit as float64.

    Raises:
        ResourceError: As `check_memory`.
    """
    check_memory(8.0 * n_rows * n_features, f"{what}: {n_rows:,} rows of {n_features:,} features as float64", hint)


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.3g} GB"
