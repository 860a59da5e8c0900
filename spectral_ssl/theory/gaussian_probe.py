"""Leave-one-out of linear discriminant analysis, exact and without refitting: a probe for few labels.

Classes c of n_c rows z_i in K dimensions, means m_c, one covariance for all; S = sum_i d_i d_i', d_i = z_i - m_c of its
own class:

    p(c | z) proportional to n_c exp(-(n - C) (z - m_c)'(S + eta I)^-1 (z - m_c) / 2)

Without row i of class c,

    z_i - m_c^(-i) = a d_i,     S^(-i) = S - a d_i d_i',     a = n_c / (n_c - 1)
    (S^(-i) + eta I)^-1 = P + a P d_i d_i'P / (1 - a d_i'P d_i),     P = (S + eta I)^-1        (Sherman & Morrison)

so all n rows cost one inverse of K x K and n C K^2 more. A row alone in its class has probability 0 there, for without
it the class is not known. eta is the one of least leave-one-out log loss among a few shares of the total scatter.
Unlike least squares on one-hot labels it hides no class where C - 1 > K. Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_ssl import linalg
from spectral_ssl.data._checks import check_real, frozen
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.theory._numbers import as_numbers

__all__ = ["Discriminant", "discriminant", "discriminant_left_out"]

SHARES = (1e-3, 1e-2, 1e-1, 1.0)  # of tr(S) / K, tried as eta: from next to none to nearest class mean
LEAST = 1e-12  # of a probability in a logarithm


@dataclass(frozen=True, eq=False)
class Discriminant:
    """probability (n,): given to each row's own class by the fit without it; hits (n,): its first choice; eta."""

    probability: Array
    hits: Array
    eta: float


def discriminant_left_out(Z: Array, codes: Any, *, eta: float | None = None) -> Discriminant:
    """Z (n, K); codes (n,) whole numbers 0 .. C - 1, of which two at least occur; eta >= 0, None chooses it."""
    Z, codes = as_numbers(Z, "Z"), np.asarray(codes)
    if Z.ndim != 2 or 0 in Z.shape or not np.all(np.isfinite(Z)):
        raise DataError(f"Z must be finite numbers (n, K), got shape {Z.shape}")
    if codes.shape != Z.shape[:1] or codes.dtype.kind not in "iu" or codes.min() < 0 or np.ptp(codes) == 0:
        raise DataError(
            f"codes must be a whole number from 0 on for each of the {Z.shape[0]} rows, two of them unlike; for other "
            "labels take np.unique(y, return_inverse=True)[1]"
        )
    if eta is not None:
        check_real(eta, "eta", low=0)
    n, K = Z.shape
    size = float(((Z - Z.mean(axis=0)) ** 2).sum()) / K
    tried = [share * max(size, 1e-300) for share in SHARES] if eta is None else [eta]
    found = [_probabilities(Z, codes, value) for value in tried]
    own = [p[np.arange(n), codes] for p in found]
    best = int(np.argmax([float(np.log(np.maximum(p, LEAST)).mean()) for p in own]))
    hits = (found[best].argmax(axis=1) == codes) & (own[best] > 0)
    return Discriminant(frozen(own[best]), frozen(hits.astype(float)), tried[best])


def discriminant(Z: Array, codes: Any, held: Array, *, n_classes: int, share: float = SHARES[0]) -> Array:
    """p(c | z) (m, C) of rows `held` (m, K), from rows Z (n, K) of classes `codes` (n,), eta = share tr(S + B) / K.

    S + B: the total scatter. A class of which there is no row has probability 0.
    """
    n, C = Z.shape[0], n_classes
    count = np.bincount(codes, minlength=C).astype(float)
    means = (np.eye(C)[codes].T @ Z) / np.maximum(count, 1)[:, None]
    d = Z - means[codes]
    eta = share * max(float(((Z - Z.mean(axis=0)) ** 2).sum()), 1e-300) / Z.shape[1]
    P = np.linalg.inv(d.T @ d + eta * np.eye(Z.shape[1]))
    difference = held[:, None, :] - means  # (m, C, K)
    distance = np.einsum("mck,mck->mc", difference @ P, difference)
    with np.errstate(divide="ignore"):
        log = np.log(count) - 0.5 * max(n - np.count_nonzero(count), 1) * distance
    p = np.exp(log - log.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True), dtype=np.float64)


def _probabilities(Z: Array, codes: Any, eta: float) -> Array:
    """p(c | z_i) (n, C) of the fit without row i."""
    n = Z.shape[0]
    count = np.bincount(codes).astype(float)
    C = count.size
    Y = np.eye(C)[codes]
    means = (Y.T @ Z) / np.maximum(count, 1)[:, None]
    d = Z - means[codes]  # (n, K)
    values, V = linalg.eigh(d.T @ d)
    if not values.min() + eta > Z.shape[1] * linalg.EPS * values.max():
        raise DataError(
            f"the rows do not scatter about their class means in all {Z.shape[1]} dimensions, so eta must be positive; "
            "leave it out to have it chosen"
        )
    P = (V / np.maximum(np.maximum(values, 0.0) + eta, 1e-300)) @ V.T
    left = count[codes] - 1  # rows of the own class without this one
    a = np.divide(count[codes], left, out=np.zeros(n), where=left > 0)
    difference = Z[:, None, :] - means  # (n, C, K)
    difference[np.arange(n), codes] = a[:, None] * d
    Pd = d @ P
    grown = a / np.maximum(1 - a * (Pd * d).sum(axis=1), LEAST)
    distance = np.einsum("nck,kl,ncl->nc", difference, P, difference)
    distance = distance + grown[:, None] * np.einsum("nck,nk->nc", difference, Pd) ** 2
    rows = count - Y  # (n, C): of each class without row i
    present = rows > 0
    with np.errstate(divide="ignore"):
        log = np.where(present, np.log(np.where(present, rows, 1.0)), -np.inf)
    log = log - 0.5 * max(n - 1 - C, 1) * np.where(present, distance, 0.0)
    p = np.exp(log - log.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return np.asarray(p, dtype=np.float64)
