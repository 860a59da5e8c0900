"""What training tells: a step of it, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.methods.base import Method

__all__ = ["Step", "TrainResult"]


@dataclass(frozen=True)
class Step:
    """What a callback is told.

    evaluations: of the loss so far; with adam, sgd and lars the steps taken. loss: of the whole relation, or of the
    last step's batch in the same scale (with `batch_loss` that loss itself). gradient_norm: largest gradient entry,
    relative to the loss at the start. seconds: of training so far, callbacks excluded. embed: while the callback runs,
    Z (N, K) of all samples by the present parameters, as `TrainResult.embedding.Z` would be.
    """

    evaluations: int
    loss: float
    gradient_norm: float
    seconds: float
    embed: Callable[[], Array]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained embedding and how training went.

    embedding: Z (N, K), with W (D, K) and mean in the linear model; of a network, with the network as its map. loss:
    in float64, over the whole relation, of this embedding. losses (steps,): lbfgs and gd: at every evaluation, the last
    at the embedding returned. Others: of the batch (in the scale of `loss`) or of the whole relation before each step;
    the last iterate is returned. With `batch_loss` the values of that loss. gradient_norm: largest gradient entry at
    the end (of the last step's batch), of the loss divided by its size at the start; of whitened parameters, times the
    root mean square of their column where that exceeds 1. converged: gradient_norm <= tol over the whole relation, or
    no decrease of the loss left above its rounding; batches never are. message: why training stopped, in words.
    seconds: over all sittings of a resumed run. method: with every hyper-parameter resolved. encoder: the network
    trained, in eval mode; None for linear maps and free embeddings. learning_rate: as used; None for lbfgs.
    """

    embedding: Embedding
    loss: float
    loss_terms: dict[str, float]
    losses: Array
    gradient_norm: float
    converged: bool
    message: str
    seconds: float
    device: str
    seed: int
    method: Method
    encoder: torch.nn.Module | None = None
    learning_rate: float | None = None
