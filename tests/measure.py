"""How far apart a closed form and its witness are, measured, recorded for docs/theory.md, and then asserted.

Nothing here comes from the library. A test of a statement takes pytest's fixture `record_property` and hands it on;
what it records goes into pytest's JUnit report, where benchmarks/theory.py finds it.
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg

Array = np.ndarray
Record = Callable[[str, object], None]  # pytest's fixture record_property

RANK = 1e-10  # a direction fainter than this share of the strongest is not in a range: eps times a thousand columns


def relative(found: object, expected: object, *, scale: float | Array | None = None) -> float:
    """The largest |found - expected| / scale over all entries; scale is |expected|, entry by entry, unless given.

    One expected number serves many found ones. 0 / 0 is 0, and NaN is never small.
    """
    f, e = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert f.shape == e.shape or e.ndim == 0, f"shapes {f.shape} and {e.shape}"
    difference, size = np.broadcast_arrays(np.abs(f - e), np.abs(e) if scale is None else scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.max(np.where(difference == 0, 0.0, difference / size)))


def span(U: Array) -> Array:
    """An orthonormal basis of range(U), whatever the units of the columns."""
    size = np.linalg.norm(U, axis=0)
    return np.asarray(scipy.linalg.orth(U / np.where(size > 0, size, 1.0), rcond=RANK))


def sine(U: Array, V: Array) -> float:
    """The largest sine of the principal angles between range(U) and range(V), of equal dimension."""
    P, Q = span(U), span(V)
    assert P.shape == Q.shape, f"ranges of dimension {P.shape[1]} and {Q.shape[1]}"
    return float(np.linalg.norm(P - Q @ (Q.T @ P), 2))


def nested_sine(U: Array, V: Array) -> float:
    """The largest sine over the spans of the first 1, 2, .. columns: zero if all columns agree up to their signs."""
    assert U.shape == V.shape
    return max(sine(U[:, : k + 1], V[:, : k + 1]) for k in range(U.shape[1]))


def agree(
    record_property: Record, found: object, expected: object, tol: float, *, scale: float | Array | None = None
) -> None:
    """Record the relative difference of two losses, values or lists of eigenvalues as a gap: at most tol."""
    gap = relative(found, expected, scale=scale)
    record_property("gap", gap)
    assert gap <= tol, f"gap {gap:.2e} > {tol:.0e}: {found} instead of {expected}"


def same_span(record_property: Record, U: Array, V: Array, tol: float, *, nested: bool = False) -> None:
    """Record the largest sine between two ranges as an angle: at most tol. `nested`: of the first 1, 2, .. columns."""
    angle = (nested_sine if nested else sine)(U, V)
    record_property("angle", angle)
    assert angle <= tol, f"sine {angle:.2e} > {tol:.0e}"
