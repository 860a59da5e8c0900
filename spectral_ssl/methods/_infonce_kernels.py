"""The negatives of InfoNCE, all N^2 of them, in one sweep over blocks of rows: time of three products, memory of none.

    U(Z) = sum_i d_i log sum_{j != i} e^{z_i'z_j / tau}
    grad U = (Q + Q') Z / tau,   Q_ij = d_i p_ij,   p_i = softmax of row i

A block of rows of S = ZZ'/tau is made, turned into Q in place, and multiplied twice: Q Z for its own rows, Q'Z_block
for all. What automatic differentiation keeps, several N x N arrays until the backward pass, is never there, unless
second derivatives are asked for (create_graph=True).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["uniformity"]

BLOCK = 2**20  # numbers of a block, 8 MB: it stays near the processor between its passes


def uniformity(Z: torch.Tensor, degree: torch.Tensor, temperature: float) -> torch.Tensor:
    """U(Z), a scalar tensor of the dtype of Z (N, K), differentiable in Z; degree (N,) is d.

    16-bit numbers are computed in float32, whatever autocast says. Any device.
    """
    wanted = torch.is_grad_enabled() and Z.requires_grad
    out: torch.Tensor = _Uniformity.apply(Z, degree, temperature, wanted)  # type: ignore[no-untyped-call]
    return out


class _Uniformity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, Z: torch.Tensor, degree: torch.Tensor, temperature: float, wanted: bool) -> torch.Tensor:
        exact = Z.dtype if Z.dtype.itemsize > 2 else torch.float32
        with torch.autocast(Z.device.type, enabled=False):
            value, gradient = _sweep(Z.detach().to(exact).contiguous(), degree.to(exact), temperature, wanted)
        if wanted:
            ctx.save_for_backward(gradient.to(Z.dtype), Z, degree)
            ctx.temperature = temperature
        return value.to(Z.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None]:
        gradient, Z, degree = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the gradient is to be differentiated, and no constant
            gradient = _gradient(Z, degree, ctx.temperature)
        return upstream[0] * gradient, None, None, None


def _gradient(Z: torch.Tensor, degree: torch.Tensor, tau: float) -> torch.Tensor:
    """grad U in operations that can be differentiated again; N x N arrays."""
    exact = Z.dtype if Z.dtype.itemsize > 2 else torch.float32
    with torch.autocast(Z.device.type, enabled=False):
        Y, itself = Z.to(exact), torch.eye(len(Z), dtype=torch.bool, device=Z.device)
        Q = degree.to(exact)[:, None] * torch.softmax((Y @ Y.T / tau).masked_fill(itself, -torch.inf), dim=1)
        return ((Q + Q.T) @ Y / tau).to(Z.dtype)


def _sweep(Z: torch.Tensor, d: torch.Tensor, tau: float, wanted: bool) -> tuple[torch.Tensor, torch.Tensor]:
    N = Z.shape[0]
    rows = max(1, BLOCK // max(N, 1))
    value = torch.zeros((), dtype=torch.float64 if Z.device.type == "cpu" else Z.dtype, device=Z.device)
    gradient, across = torch.zeros_like(Z), (Z / tau).T.contiguous()
    for start in range(0, N, rows):
        block = slice(start, min(start + rows, N))
        S = _product(Z[block], across)
        S.diagonal(start).fill_(-torch.inf)
        top = S.amax(dim=1, keepdim=True)
        total = _exp(S.sub_(top)).sum(dim=1, keepdim=True)
        value += (d[block, None] * (top + torch.log(total))).sum()
        if wanted:
            Q = S.mul_(d[block, None] / total)
            gradient[block] += _product(Q, Z)
            gradient += _product(Q.T, Z[block])
    return value, gradient.div_(tau)


# numpy's exponential and products are two to four times as fast as torch's on many a processor, never slower


def _product(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(A.numpy() @ B.numpy()) if A.device.type == "cpu" else A @ B


def _exp(S: torch.Tensor) -> torch.Tensor:
    """e^S, in place."""
    if S.device.type != "cpu":
        return S.exp_()
    np.exp(S.numpy(), out=S.numpy())
    return S
