"""The contrastive loss of K sampled negatives on a batch of positive pairs: what the surrogate gap is about.

    mean_i [ ln( e^{a_i.b_i / T} + sum_{k=1}^K e^{a_i.b_{i+k} / T} ) - a_i.b_i / T ],    indices modulo B

The pairs of a batch are independent draws, so that b_{i+1} .. b_{i+K} are K independent draws of a sample by the weight
of its pairs, independent of pair i: on label pairs negatives follow the shares of the classes, collisions included, and
the batch loss is an unbiased estimate of R_cont(K) (theory/risks.py) for that prior. Neighbouring anchors share
negatives, which costs variance and no bias. `normalize`: unit rows first; without it the loss is of raw dot products,
and risks of normalised features are another quantity.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.errors import DataError

__all__ = ["sampled_negatives"]


def sampled_negatives(
    n_negatives: int, *, temperature: float = 1.0, normalize: bool = True
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The loss as a `batch_loss` of `train`. Batches need at least K + 1 pairs."""
    K = check_int(n_negatives, "the number of negatives", low=1)
    T = check_real(temperature, "temperature", low=0, open_low=True)
    return functools.partial(_loss, n_negatives=K, temperature=T, normalize=bool(normalize))


def _loss(
    za: torch.Tensor,  # (B, d)
    zb: torch.Tensor,  # (B, d)
    *,
    n_negatives: int,
    temperature: float,
    normalize: bool,
) -> torch.Tensor:
    B = za.shape[0]
    if n_negatives >= B:
        raise DataError(
            f"{n_negatives} negatives need a batch of at least {n_negatives + 1} pairs, got {B}; raise batch_size"
        )
    if normalize:
        za, zb = (torch.nn.functional.normalize(z, dim=1) for z in (za, zb))
    scores = za @ zb.T / temperature  # (B, B)
    index = torch.arange(B, device=za.device)[:, None] + torch.arange(n_negatives + 1, device=za.device)
    tuples = scores.gather(1, index % B)  # (B, K + 1), the positive first
    return (torch.logsumexp(tuples, dim=1) - tuples[:, 0]).mean()
