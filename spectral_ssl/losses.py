"""The batch losses people train with, in the conventions of the papers and of the published code.

A loss takes two views of a batch as torch tensors za, zb (B, K), row i of both from the same sample, and returns a
scalar, differentiable in both; its sibling `*_terms` returns the parts, which sum to it. `CONVENTIONS` at the foot says
what each convention computes, who computes it, and what it has to do with the losses over a whole relation.

The bridge to those (I7, I9): a batch is a relation, `batch_graph(B)` over Z = [za; zb] with N = 2B rows, and where
`equivalent` names a method, with eps = 0,

    loss(*both_orders(za, zb)) = factor * method.loss(stretch * Z, batch_graph(B))

(NT-Xent: loss(za, zb) already; the spectral contrastive loss: in the mean over batches), so that `ss.optimum` or
`ss.train` of that method gives the number a training run cannot get below. Fed in one order only, covariances are
those of each branch, not of all views: the optimum is another, and there are local minima (W8). Estimated on B of many
samples, squared covariances are too large by O(1/B): `minibatch_bias` (W9).

Errors: DataError for anything but two finite floating tensors of one shape (B, K), B >= 2, and for weights, eps or
temperature out of range. No loss returns a number for such input.

Sources: the published training code of each method, read for the formulas below; golden values in docs/conventions.md.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu

from spectral_ssl.data._checks import check_int
from spectral_ssl.errors import DataError, did_you_mean
from spectral_ssl.graph import Graph
from spectral_ssl.methods import SSLEY, BarlowTwins, Method, SimCLR, SpectralContrastive, VICReg

__all__ = [
    "CONVENTIONS",
    "Equivalent",
    "Practice",
    "barlow_twins",
    "barlow_twins_terms",
    "batch_graph",
    "both_orders",
    "equivalent",
    "minibatch_bias",
    "nt_xent",
    "nt_xent_terms",
    "spectral_contrastive",
    "spectral_contrastive_terms",
    "ssl_ey",
    "ssl_ey_terms",
    "vicreg",
    "vicreg_terms",
]

Convention = Literal["paper", "code"]
Terms = dict[str, Tensor]
P = ParamSpec("P")

# --- losses ---------------------------------------------------------------------------------------------------------


def vicreg_terms(
    za: Tensor,  # (B, K)
    zb: Tensor,  # (B, K)
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    eps: float = 1e-4,
    convention: Convention = "code",
) -> Terms:
    """VICReg, with Cov_v = (z - mean)'(z - mean) / (B - 1) of each branch v = a, b, and s_vk = sqrt(Cov_v,kk + eps):

    invariance * mean_ik (za_ik - zb_ik)^2
      + variance * (sum_v mean_k max(0, 1 - s_vk)) * (1/2 in "code", 1 in "paper")
      + covariance * sum_v sum_{k != l} Cov_v,kl^2 / K

    The weights are sim_coeff, std_coeff, cov_coeff of the published code. "paper" is the paper's pseudocode; its
    equation for the invariance averages over i only: multiply `invariance` by K to have that.
    """
    K = _checked(za, zb)[1]
    _convention(convention)
    _not_negative(invariance=invariance, variance=variance, covariance=covariance, eps=eps)
    cov = torch.stack([_covariance(za), _covariance(zb)])  # (2, K, K)
    spread = relu(1 - _root(cov.diagonal(dim1=1, dim2=2) + eps)).sum() / K
    return {
        "invariance": invariance * ((za - zb) ** 2).mean(),
        "variance": variance * spread / (2 if convention == "code" else 1),
        "covariance": covariance * _off_diagonal(cov) / K,
    }


def barlow_twins_terms(
    za: Tensor,  # (B, K)
    zb: Tensor,  # (B, K)
    *,
    redundancy: float = 5e-3,
    eps: float = 1e-5,
    convention: Convention = "code",
) -> Terms:
    """Barlow Twins, sum_k (1 - C_kk)^2 + redundancy * sum_{k != l} C_kl^2 with C = ya'yb / B, each branch centred and

    "code":   y = z / sqrt(sum_i z_i^2 / B + eps)            (BatchNorm without affine parameters)
    "paper":  y = z / (sqrt(sum_i z_i^2 / (B - 1)) + eps)    (the pseudocode: no C_kk exceeds (B - 1) / B)
    """
    B, _ = _checked(za, zb)
    _convention(convention)
    _not_negative(redundancy=redundancy, eps=eps)

    def unit(z: Tensor) -> Tensor:
        z = z - z.mean(dim=0)
        squares = (z**2).sum(dim=0)
        return z / (_root(squares / B + eps) if convention == "code" else _root(squares / (B - 1)) + eps)

    C = unit(za).T @ unit(zb) / B
    return {"invariance": ((1 - C.diagonal()) ** 2).sum(), "redundancy": redundancy * _off_diagonal(C)}


def nt_xent_terms(
    za: Tensor,  # (B, K)
    zb: Tensor,  # (B, K)
    *,
    temperature: float = 0.5,
    convention: Convention = "code",
) -> Terms:
    """NT-Xent, SimCLR's loss: over the 2B rows z_i, with i+ the other view of i and s_ij = cos(z_i, z_j) / temperature,

    mean_i [-s_ii+ + log sum_{j != i} exp s_ij]

    Paper and code agree.
    """
    B, _ = _checked(za, zb)
    _convention(convention)
    _positive(temperature=temperature)
    Z = _unit_rows(torch.cat([za, zb]))  # (2B, K)
    S = Z @ Z.T / temperature
    S = S.masked_fill(torch.eye(2 * B, dtype=torch.bool, device=Z.device), -torch.inf)
    return {"alignment": -S.diagonal(B).mean(), "uniformity": torch.logsumexp(S, dim=1).mean()}


def spectral_contrastive_terms(
    za: Tensor,  # (B, K)
    zb: Tensor,  # (B, K)
    *,
    mu: float | None = None,
    convention: Convention = "code",
) -> Terms:
    """The spectral contrastive loss, whose mean over batches of independent pairs is that of the whole relation:

    -2 mean_i za_i'zb_i + sum_{i != j} (za_i'zb_j)^2 / (B (B - 1))

    "code" first shortens rows longer than sqrt(mu) to that length, and divides by mu (None: 1, as published).
    """
    B, _ = _checked(za, zb)
    if _convention(convention) == "paper":
        if mu is not None:
            raise DataError(f"mu={mu} bounds the rows in convention='code'; the paper's loss has none: leave it out")
        scale = 1.0
    else:
        scale = 1.0 if mu is None else mu
        _positive(mu=scale)
        za, zb = _shortened(za, scale), _shortened(zb, scale)
    repulsion = _off_diagonal(za @ zb.T) / (B * (B - 1))
    return {"attraction": -2 * (za * zb).sum(dim=1).mean() / scale, "repulsion": repulsion / scale}


def ssl_ey_terms(
    za: Tensor,  # (B, K)
    zb: Tensor,  # (B, K)
    *,
    convention: Convention = "code",
) -> Terms:
    """SSL-EY as published, each branch centred: -2 tr A + tr VV over one batch, both divided by B - 1 before,

    A = za'zb + zb'za,   V = za'za + zb'zb

    There is no "paper" convention here.
    """
    B, _ = _checked(za, zb)
    if _convention(convention) == "paper":
        raise DataError("ssl_ey is known in one convention, that of the published code; pass convention='code'")
    za, zb = za - za.mean(dim=0), zb - zb.mean(dim=0)
    V = (za.T @ za + zb.T @ zb) / (B - 1)
    return {"attraction": -4 * (za * zb).sum() / (B - 1), "repulsion": (V**2).sum()}


def _total(terms: Callable[P, Terms]) -> Callable[P, Tensor]:
    """The loss whose parts a function returns: the same arguments, their sum."""

    @functools.wraps(terms)
    def loss(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        return torch.stack(list(terms(*args, **kwargs).values())).sum()

    loss.__name__ = loss.__qualname__ = terms.__name__.removesuffix("_terms")
    loss.__signature__ = inspect.signature(terms).replace(return_annotation="Tensor")  # type: ignore[attr-defined]
    return loss


vicreg = _total(vicreg_terms)
barlow_twins = _total(barlow_twins_terms)
nt_xent = _total(nt_xent_terms)
spectral_contrastive = _total(spectral_contrastive_terms)
ssl_ey = _total(ssl_ey_terms)

# --- pieces ---------------------------------------------------------------------------------------------------------


def _covariance(z: Tensor) -> Tensor:
    z = z - z.mean(dim=0)
    return z.T @ z / (z.shape[0] - 1)


def _off_diagonal(M: Tensor) -> Tensor:
    """sum_{k != l} M_kl^2 of one matrix or of several, with no difference of large sums."""
    return ((M - torch.diag_embed(M.diagonal(dim1=-2, dim2=-1))) ** 2).sum()


def _root(x: Tensor) -> Tensor:
    """sqrt with a finite gradient at 0, where a column has collapsed."""
    return torch.sqrt(x.clamp_min(torch.finfo(x.dtype).tiny))


def _unit_rows(z: Tensor) -> Tensor:
    """z_i / |z_i|, zero rows left alone: the eps of torch's `normalize`, 1e-12, is 0 in float16, and 0/0 no number."""
    length: Tensor = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    return z / torch.where(length > 0, length.clamp_min(torch.finfo(z.dtype).tiny), 1.0)


def _shortened(z: Tensor, mu: float) -> Tensor:
    """Rows longer than sqrt(mu) brought to that length."""
    length: Tensor = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    return torch.where(length > math.sqrt(mu), _unit_rows(z) * math.sqrt(mu), z)


def _checked(za: Any, zb: Any) -> tuple[int, int]:
    """B and K. Raises DataError."""
    for name, z in (("za", za), ("zb", zb)):
        if not isinstance(z, Tensor):
            raise DataError(f"{name} must be a torch tensor, got {type(z).__name__}; pass torch.as_tensor({name})")
        if not z.is_floating_point():
            raise DataError(f"{name} holds {z.dtype}, a loss needs floating point numbers; pass {name}.double()")
        if z.ndim != 2 or z.shape[1] == 0:
            raise DataError(
                f"{name} has shape {tuple(z.shape)}, expected (B, K): a row per sample, a column per component"
            )
    if za.shape != zb.shape:
        raise DataError(
            f"za has shape {tuple(za.shape)} and zb {tuple(zb.shape)}: row i of both must be two views of one sample"
        )
    if za.dtype != zb.dtype or za.device != zb.device:
        raise DataError(f"za is {za.dtype} on {za.device} and zb {zb.dtype} on {zb.device}; make them alike")
    if za.shape[0] < 2:
        raise DataError(
            f"a batch of {za.shape[0]} has neither covariance nor negatives; pass at least 2 pairs (a loader's last, "
            "smaller batch is left out by drop_last=True)"
        )
    for name, z in (("za", za), ("zb", zb)):
        wrong = int((~torch.isfinite(z)).sum())
        if wrong:
            raise DataError(f"{name} holds {wrong} NaN or infinite values of {z.numel()}; the run has diverged before")
    return int(za.shape[0]), int(za.shape[1])


def _convention(convention: str) -> str:
    if convention not in ("paper", "code"):
        raise DataError(f"convention={convention!r} is not known; choose 'paper' or 'code'")
    return convention


def _not_negative(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number >= 0):
            raise DataError(f"{name} must be a number >= 0, got {number}")


def _positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise DataError(f"{name} must be a positive number, got {number}")


# --- the bridge to a whole relation ---------------------------------------------------------------------------------


def both_orders(za: Tensor, zb: Tensor) -> tuple[Tensor, Tensor]:
    """[za; zb] and [zb; za], each (2B, K): every pair in both orders, so that both branches hold all views."""
    _checked(za, zb)
    return torch.cat([za, zb]), torch.cat([zb, za])


def batch_graph(batch: int) -> Graph:
    """The relation of a batch of B pairs over Z = [za; zb], N = 2B: weight 1 on every pair, no self-pairs."""
    check_int(batch, "batch, the number of pairs,", low=2)
    return Graph.from_groups(np.tile(np.arange(batch), 2))


@dataclass(frozen=True)
class Equivalent:
    """The method over a relation that a batch loss equals: loss = factor * method.loss(stretch * Z, graph)."""

    method: Method
    factor: float = 1.0
    stretch: float = 1.0

    def batch_value(self, loss: float) -> float:
        """What training prints where the method's loss is `loss`, such as `ss.optimum(...).loss`."""
        return self.factor * loss


@dataclass(frozen=True)
class Practice:
    """One convention of one loss: a row of `CONVENTIONS`.

    formula: plain text. agrees: public code that computes it. exact: where `equivalent` is an equality; without an
    equivalent, the reason. left_over: what the equality leaves out of a training run.
    """

    formula: str
    agrees: str
    exact: str
    left_over: str
    equivalent: Callable[..., Equivalent] | None  # (K, B, *, the loss's weights)


def equivalent(loss: str, convention: Convention, n_components: int, batch: int, **weights: float) -> Equivalent:
    """The method over a relation that a batch loss equals, with the constants of the module docstring.

    loss, convention: a row of `CONVENTIONS`, whose `exact` says where the equality holds. n_components: K, batch: B,
    the rows of za. weights: those of the loss, by its own names; eps counts as 0.

    Raises DataError for names not known and where there is no equivalent, with the reason.
    """
    if loss not in CONVENTIONS:
        raise DataError(f"the loss {loss!r} is not known; {did_you_mean(loss, CONVENTIONS)}")
    if convention not in CONVENTIONS[loss]:
        raise DataError(f"{loss} has no convention {convention!r}; choose {' or '.join(map(repr, CONVENTIONS[loss]))}")
    practice = CONVENTIONS[loss][convention]
    if practice.equivalent is None:
        raise DataError(f"{loss} in convention {convention!r} equals no method over a relation: {practice.exact}")
    K = check_int(n_components, "n_components", low=1)
    B = check_int(batch, "batch, the number of pairs,", low=2)
    known = practice.equivalent.__kwdefaults__ or {}
    for name in weights:
        if name not in known:
            raise DataError(f"{loss} has no weight {name!r} to convert; {did_you_mean(name, known)}")
    return practice.equivalent(K, B, **weights)


def _vicreg_code(
    K: int, B: int, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> Equivalent:
    """Both branches hold all N views: means over k and sums over branches become constants; ddof 1 as in the code."""
    return Equivalent(
        VICReg(variance=variance / K, covariance=2 * covariance / K, invariance=invariance / K, form="hinge", ddof=1)
    )


def _vicreg_paper(
    K: int, B: int, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> Equivalent:
    return _vicreg_code(K, B, invariance=invariance, variance=2 * variance, covariance=covariance)


def _barlow_twins_code(K: int, B: int, *, redundancy: float = 5e-3) -> Equivalent:
    return Equivalent(BarlowTwins(redundancy=redundancy))


def _nt_xent(K: int, B: int, *, temperature: float = 0.5) -> Equivalent:
    return Equivalent(SimCLR(temperature=temperature), factor=1 / (2 * B))


def _spectral_paper(K: int, B: int) -> Equivalent:
    return Equivalent(SpectralContrastive())


def _spectral_code(K: int, B: int, *, mu: float = 1.0) -> Equivalent:
    _positive(mu=mu)
    return Equivalent(SpectralContrastive(), factor=1 / mu)


def _ssl_ey_code(K: int, B: int) -> Equivalent:
    """A and V hold both orders of N = 2B rows, over N - 1: twice those of the method, which divides by N."""
    N = 2 * B
    return Equivalent(SSLEY(), stretch=math.sqrt(2 * N / (N - 1)))


# --- what a mini-batch does -----------------------------------------------------------------------------------------


def minibatch_bias(
    Z: Any,
    batch_size: int,
    *,
    variance: float = 1.0,
    covariance: float = 1.0,
    centred: bool = False,
    replacement: bool = True,
) -> float:
    """How much larger a squared covariance penalty is on average over batches than over all rows of Z (N, K), exactly:

        E f(C_B) - f(C),   f(C) = variance sum_k (1 - C_kk)^2 + covariance sum_{k != l} C_kl^2

    With both weights 1, f = |C - I|^2 and (W9), C = Z'Z / N:    (mean |z|^4 - |C|^2) / B

    centred: C is the covariance, about the batch's own mean, over B - 1, as losses compute it; then with z centred

        (mean |z|^4 - |C|^2) / B + ((tr C)^2 + |C|^2) / (B (B - 1))

    where the whole has C = Z'HZ / N. replacement=False draws batches as a loader does within an epoch: uncentred times
    (N - B) / (N - 1); centred by counting pairs of pairs (`_without_replacement`), the whole then being Z'HZ / (N - 1).
    O(N K^2). For published VICReg (weights 25, 25, 1), Z being one branch: variance=0, covariance=1/K per branch.

    Raises DataError for Z not (N, K) or not finite, batch_size < 2 (centred) or < 1, more than N without replacement.
    """
    Z = np.asarray(Z.detach().cpu() if isinstance(Z, Tensor) else Z, dtype=np.float64)
    if Z.ndim != 2 or Z.shape[0] < 2 or Z.shape[1] == 0:
        raise DataError(f"Z has shape {Z.shape}, expected (N, K) with at least 2 rows")
    if not np.all(np.isfinite(Z)):
        raise DataError(f"Z holds {np.count_nonzero(~np.isfinite(Z))} NaN or infinite values")
    _not_negative(variance=variance, covariance=covariance)
    N = Z.shape[0]
    B = check_int(batch_size, "batch_size", low=2 if centred else 1, high=None if replacement else N)
    if centred:
        Z = Z - Z.mean(axis=0)
    squares, G = Z**2, Z.T @ Z
    total = squares.sum(axis=0)
    # q = sum |z|^4, g = |G|^2, h = (sum |z|^2)^2: of all columns together, and of each by itself
    whole = float((squares.sum(axis=1) ** 2).sum()), float((G**2).sum()), float(total.sum() ** 2)
    diagonal = float((squares**2).sum()), float((total**2).sum()), float((total**2).sum())
    extra = _bias(*whole, N, B, centred, replacement)
    of_variance = _bias(*diagonal, N, B, centred, replacement)
    return variance * of_variance + covariance * (extra - of_variance)


def _bias(q: float, g: float, h: float, N: int, B: int, centred: bool, replacement: bool) -> float:
    """E|C_B|^2 - |C|^2 from q = sum |z|^4, g = |Z'Z|^2, h = (sum |z|^2)^2."""
    if centred and not replacement:
        return _without_replacement(q, g, h, N, B)
    bias = (q / N - g / N**2) / B
    if centred:
        return bias + (h + g) / N**2 / (B * (B - 1))
    return bias if replacement else bias * (N - B) / (N - 1)


def _without_replacement(q: float, g: float, h: float, N: int, B: int) -> float:
    """The covariance is the mean of H_ij = (z_i - z_j)(z_i - z_j)'/2 over pairs i != j; two pairs share 2, 1 or 0 rows.

    sum_{i != j} |H_ij|^2 = (N q + h + 2 g) / 2;  sum_i |sum_j H_ij|^2 = (N^2 q + 3 N g) / 4;  |sum_ij H_ij|^2 = N^2 g.
    """
    if B == N:
        return 0.0
    two = (N * q + h + 2 * g) / 2  # (i, j) with itself; as often with (j, i)
    one = (N**2 * q + 3 * N * g) / 4 - two  # (i, j) with (i, l); four ways to share one row
    none = N**2 * g - 4 * one - 2 * two
    pairs = N * (N - 1)
    # the mean product of each kind, times how many such a batch of B holds
    expected = 2 * two / pairs + 4 * (B - 2) * one / (pairs * (N - 2))
    if B > 3:
        expected += (B - 2) * (B - 3) * none / (pairs * (N - 2) * (N - 3))
    return expected / (B * (B - 1)) - g / (N - 1) ** 2


# --- the table ------------------------------------------------------------------------------------------------------

_BOTH_ORDERS = "on every batch, fed in both orders, with eps = 0"
_NT_XENT = Practice(
    "mean over the 2B rows of -s_ii+ + log sum_{j != i} exp s_ij, s = cosine / temperature",
    "all, for two views",
    "on every batch, in either order",
    "negatives are the batch's own: a larger batch has a larger loss, and another minimum",
    _nt_xent,
)
_BRANCHES = "eps; covariances per branch where the batch is fed in one order (W8); mini-batches (W9)"

CONVENTIONS: dict[str, dict[str, Practice]] = {
    "vicreg": {
        "code": Practice(
            "invariance mean (za - zb)^2 + variance/2 sum_v mean_k max(0, 1 - sqrt(Var_vk + eps)) + covariance/K "
            "sum_v sum_{k != l} Cov_v,kl^2; v = a, b; Var, Cov over B - 1",
            "facebookresearch/vicreg, lightly, stable-pretraining, pytorch-metric-learning",
            _BOTH_ORDERS,
            _BRANCHES,
            _vicreg_code,
        ),
        "paper": Practice(
            "as code, with variance summed over the two branches, not averaged (the paper's pseudocode)",
            "solo-learn",
            _BOTH_ORDERS,
            _BRANCHES,
            _vicreg_paper,
        ),
    },
    "barlow_twins": {
        "code": Practice(
            "sum_k (1 - C_kk)^2 + redundancy sum_{k != l} C_kl^2, C = ya'yb / B, y = (z - mean) / sqrt(var + eps), var "
            "over B, per branch",
            "facebookresearch/barlowtwins (redundancy 0.0051), lightly (since 2025; before, both views were normalised "
            "by their common mean and variance), solo-learn times 0.025",
            _BOTH_ORDERS,
            _BRANCHES,
            _barlow_twins_code,
        ),
        "paper": Practice(
            "as code, with y = (z - mean) / (std + eps), std over B - 1 while C is over B (the paper's pseudocode)",
            "stable-pretraining",
            "C is (B - 1)/B times a correlation matrix, so that the loss is at least K/B^2 and never 0",
            "use code, whose constants fit; the two differ by O(1/B)",
            None,
        ),
    },
    "nt_xent": {"code": _NT_XENT, "paper": _NT_XENT},
    "spectral_contrastive": {
        "code": Practice(
            "1/mu (-2 mean_i za_i'zb_i + sum_{i != j} (za_i'zb_j)^2 / (B (B - 1))), rows longer than sqrt(mu) "
            "shortened to it",
            "jhaochenz96/spectral_contrastive_learning (mu = 1 on CIFAR-10, 10 on ImageNet)",
            "in the mean over batches of independent pairs, for embeddings with no row longer than sqrt(mu)",
            "as paper, and the bound on the rows where it acts",
            _spectral_code,
        ),
        "paper": Practice(
            "-2 mean_i za_i'zb_i + sum_{i != j} (za_i'zb_j)^2 / (B (B - 1))",
            "the published code with mu beyond every row, times mu",
            "in the mean over batches of independent pairs: the estimate has no bias",
            "a loader's batches hold distinct samples: no negative is ever the sample itself or its partner",
            _spectral_paper,
        ),
    },
    "ssl_ey": {
        "code": Practice(
            "-2 tr A + tr VV, A = (za'zb + zb'za)/(B - 1), V = (za'za + zb'zb)/(B - 1), each branch centred",
            "jameschapman19/SSL-EY, lightly's repository, solo-learn's repository",
            "on every batch, fed in both orders",
            "means per branch where the batch is fed in one order; tr VV of a mini-batch (W9)",
            _ssl_ey_code,
        ),
    },
}
