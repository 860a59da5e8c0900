"""What a pair importance alpha (n, m) is like: its entropy, how many negatives count, whether hard ones count most."""

from __future__ import annotations

from typing import Any

import torch

from spectral_ssl.alpha_cl.family import entropy
from spectral_ssl.errors import DataError

__all__ = ["alpha_entropy", "disordered_share", "effective_negatives"]

ORDER_TOL = 1e-12  # of the largest weight of an anchor: what rounding may turn round


def alpha_entropy(alpha: Any) -> torch.Tensor:
    """H(alpha_i / sum_j alpha_ij) = - sum_j p_j log p_j, (n,); 0 where an anchor has no weight at all."""
    checked = _checked(alpha)
    s = checked.sum(dim=1, keepdim=True)
    return entropy(checked / torch.where(s > 0, s, torch.ones_like(s)))


def effective_negatives(alpha: Any) -> torch.Tensor:
    """exp(H), (n,): the number of negatives that, counting alike, would have this entropy; m if all do, 0 if none."""
    checked = _checked(alpha)
    return torch.where((checked > 0).any(dim=1), torch.exp(alpha_entropy(checked)), 0.0)


def disordered_share(alpha: Any, negative: Any) -> float:
    """The share of anchors for which a farther negative weighs more than a nearer one; negative: d_ij^2 (n, m).

    Zero is what "alpha favours hard pairs" means. Equal distances may weigh in any order.
    """
    checked, d = _checked(alpha), torch.as_tensor(negative).detach()
    if d.shape != checked.shape:
        raise DataError(f"distances have shape {tuple(d.shape)}, expected {tuple(checked.shape)}, that of alpha")
    # by distance, and among equal distances the heavier first: stable sorts, the minor key first
    by_weight = checked.argsort(dim=1, descending=True, stable=True)
    order = by_weight.gather(1, d.gather(1, by_weight).argsort(dim=1, stable=True))
    rises = checked.gather(1, order).diff(dim=1) > ORDER_TOL * checked.amax(dim=1, keepdim=True)
    return float(rises.any(dim=1).to(torch.float64).mean())


def _checked(alpha: Any) -> torch.Tensor:
    found = torch.as_tensor(alpha).detach()
    if found.ndim != 2 or not found.numel() or not found.is_floating_point():
        raise DataError(f"alpha must be numbers (n, m), anchors by negatives, got shape {tuple(found.shape)}")
    if not bool(torch.isfinite(found).all()) or bool((found < 0).any()):
        raise DataError("alpha holds negative, NaN or infinite weights; pair importance is finite and >= 0")
    return found
