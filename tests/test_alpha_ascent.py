"""Gradient ascent with alpha moving, over the ball |W|_F^2 <= r; and rows that may not be written to.

Witnesses: losses and covariances pair by pair in numpy, with scipy's root finder and minimisers; for convex losses the
certified optimum.
"""

import warnings

import numpy as np
import pytest

from spectral_ssl import alpha_cl as al
from spectral_ssl.alpha_cl.contrast import as_rows

Array = np.ndarray


@pytest.mark.parametrize("layout", ["read-only", "reversed"])
def test_rows_that_torch_cannot_share_are_copied(layout: str) -> None:
    """Arrays of records are read-only, which torch warns of; of reversed ones it refuses to make a tensor."""
    Z = np.random.default_rng(0).standard_normal((8, 3))
    held = Z.copy() if layout == "read-only" else Z[::-1].copy()[::-1]
    held.setflags(write=layout == "reversed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_rows(held)
    assert np.array_equal(found.numpy(), Z)
    found[0] = 0.0  # the caller's alone
    assert np.array_equal(held, Z)
