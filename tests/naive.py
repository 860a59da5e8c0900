"""Losses written from their definitions over dense arrays, and a minimiser of them: the tests' independent witness.

Nothing here comes from the library: no moments, no spectra, no filters. Z (N, K) and A (N, N) are torch tensors, so
that scipy can descend by autograd; covariances and correlations are taken over explicit lists of samples or of pairs.
"""

from collections.abc import Callable

import numpy as np
import scipy.optimize
import torch

Array = np.ndarray
Loss = Callable[[torch.Tensor], torch.Tensor]

torch.set_num_threads(1)  # matrices of order ten: threads would only wait for each other, ten times as long

STARTS = 4  # random starts per minimisation: none of these losses has spurious minima, but saddles slow a start down


def pair_list(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One row (i, j, weight) per nonzero of A: every pair in both orders, self-pairs once."""
    i, j = torch.nonzero(A, as_tuple=True)
    return i, j, A[i, j]


def vicreg(
    Z: torch.Tensor,
    A: torch.Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    hinge: bool = False,
    degree: bool = False,
    ddof: int = 0,
) -> torch.Tensor:
    """Variance, covariance over samples (or over the ends of pairs, `degree`), invariance over pairs."""
    N = Z.shape[0]
    distances = ((Z[:, None, :] - Z[None, :, :]) ** 2).sum(dim=2)
    if degree:
        i, _, w = pair_list(A)
        ends = Z[i] - (w[:, None] * Z[i]).sum(dim=0) / w.sum()
        cov = (w[:, None] * ends).T @ ends / w.sum()
        invariance = gamma * (A * distances).sum() / A.sum()
    else:
        cov = torch.cov(Z.T, correction=ddof).reshape(Z.shape[1], Z.shape[1])
        invariance = gamma * (A * distances).sum() / N
    diagonal = torch.diagonal(cov)
    spread = torch.relu(1 - torch.sqrt(diagonal)).sum() if hinge else ((1 - diagonal) ** 2).sum()
    off = cov - torch.diag(diagonal)
    return alpha * spread + beta * (off**2).sum() + invariance


def frobenius_simclr(Z: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
    return ((Z @ Z.T - A) ** 2).sum()


def spectral_contrastive(Z: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
    w = A / A.sum()
    p = w.sum(dim=1)
    S = Z @ Z.T
    return -2 * (w * S).sum() + (p[:, None] * p[None, :] * S**2).sum()


def cross_correlation(Z: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
    """C (K, K) between the first and the second members of the pairs."""
    i, j, w = pair_list(A)
    w = (w / w.sum())[:, None]
    a, b = Z[i] - (w * Z[i]).sum(dim=0), Z[j] - (w * Z[j]).sum(dim=0)
    size = torch.sqrt((w * a**2).sum(dim=0))[:, None] * torch.sqrt((w * b**2).sum(dim=0))[None, :]
    return (w * a).T @ b / size


def barlow_twins(Z: torch.Tensor, A: torch.Tensor, redundancy: float = 1.0) -> torch.Tensor:
    C = cross_correlation(Z, A)
    diagonal = torch.diagonal(C)
    return ((1 - diagonal) ** 2).sum() + redundancy * ((C - torch.diag(diagonal)) ** 2).sum()


def cross_moment(Z: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
    """Unnormalised Barlow Twins."""
    i, j, w = pair_list(A)
    C = (w[:, None] * Z[i]).T @ Z[j] / w.sum()
    return ((C - torch.eye(Z.shape[1], dtype=Z.dtype)) ** 2).sum()


def info_nce(Z: torch.Tensor, A: torch.Tensor, temperature: float, cosine: bool = True) -> torch.Tensor:
    if cosine:
        Z = Z / torch.linalg.norm(Z, dim=1, keepdim=True)
    itself = torch.eye(Z.shape[0], dtype=torch.bool)
    log_softmax = torch.log_softmax((Z @ Z.T / temperature).masked_fill(itself, -torch.inf), dim=1)
    return -(A * log_softmax.masked_fill(itself, 0.0)).sum()


def value(loss: Callable[..., torch.Tensor], Z: Array, A: Array, **options: float) -> float:
    """A loss of numpy arrays as a number."""
    return float(loss(torch.as_tensor(Z), torch.as_tensor(A), **options))


def minimise(
    loss: Loss,
    shape: tuple[int, int],
    *,
    seed: int = 0,
    starts: int = STARTS,
    scale: float = 1.0,
    B0: Array | None = None,
) -> tuple[float, Array]:
    """The lowest value of a differentiable loss of B (shape) by scipy's L-BFGS over several starts, and its B."""

    def both(b: Array) -> tuple[float, Array]:
        B = torch.tensor(b.reshape(shape), requires_grad=True)
        result = loss(B)
        result.backward()
        assert B.grad is not None
        return float(result.detach()), B.grad.numpy().ravel()

    rng = np.random.default_rng(seed)
    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-11, "maxcor": 40}
    best, found = np.inf, np.zeros(shape)
    for _ in range(starts if B0 is None else 1):
        start = scale * rng.standard_normal(shape) if B0 is None else B0
        result = scipy.optimize.minimize(both, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        if result.fun < best:
            best, found = float(result.fun), result.x.reshape(shape)
    return best, found
