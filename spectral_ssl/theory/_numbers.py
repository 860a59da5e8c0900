"""Arrays of numbers that callers give: an embedding, times, invariances."""

from __future__ import annotations

from typing import Any

import numpy as np

from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError

__all__ = ["as_numbers"]


def as_numbers(values: Any, name: str) -> Array:
    """`values` as float64, not copied where they are; DataError for text, complex numbers and rows of unlike length."""
    try:
        found = np.asarray(values)
        if found.dtype.kind != "c":
            return np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    raise DataError(f"{name} must be an array of real numbers, got {type(values).__name__}")
