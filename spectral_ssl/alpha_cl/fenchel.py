"""One scalar function is a loss: alpha by autograd of F, and both forms of the game between alpha and the encoder.

FenchelAlpha(F) makes a loss sum_i F(u_i) of any increasing F: R^m -> R. Where F is convex, with F* its conjugate,

    L = max_alpha sum_ij alpha_ij u_ij - sum_i F*(alpha_i) = - min_alpha [ E_alpha - R_F(alpha) ],  R_F = - sum_i F*

with alpha = grad F(u): min_theta L is a game of one fixed objective. At the live alpha Fenchel's equality gives

    F*(alpha_i) = alpha_i'u_i - F(u_i),     and at any other     F*(a) >= a'u - F(u)  for every u.

The entropy form is of the losses with psi(x) = c e^{x/tau} (InfoNCE, MINE, soft triplet, N+1 tuplet, lifted
structured): with d^2 the contrast's distances and E = sum alpha_ij (d_ij^2 - d_i^2), which is tr C_alpha / 2 for
half-squared ones,

    alpha = argmin { E_alpha - R(alpha) : alpha >= 0, sum_j alpha_ij = xi_i phi'(xi_i) / tau },
    R = tau sum_i H(alpha_i),  H(p) = - sum_j p_j log p_j

since stationarity is alpha_ij = s_i e^{u_ij/tau} / sum_k e^{u_ik/tau} with s_i the row sum, and psi' = psi / tau.

The coefficient is tau for this E and 2 tau for tr C_alpha, twice as large. The feasible set depends on the encoder
unless the row sum is the constant 1 (MINE, InfoNCE at eps = 0): for eps > 0 this is no game of one fixed objective.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import scipy.optimize
import torch

from spectral_ssl.alpha_cl.direct import EntropyRule
from spectral_ssl.alpha_cl.family import LiftedStructured, Mine, Nce, SoftTriplet, Tuplet, entropy
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.errors import DataError, NotClosedForm

__all__ = ["ConjugateBound", "EntropyForm", "FenchelAlpha", "convexity_counterexample", "entropy_form"]

ScalarFunction = Callable[[torch.Tensor], torch.Tensor]

PROBES = 64  # midpoints that a claim of convexity is held against, at each scale
SCALES = (0.3, 3.0, 30.0)
CONVEX_TOL = 1e-9  # of the size of F: what rounding may put a midpoint above its chord
SLOPE_TOL = 1e-12  # of the largest slope: what rounding may leave below zero


@dataclass(frozen=True)
class ConjugateBound:
    """value <= F*(alpha_i), (n,), proven by one point u each; residual: |grad F(u) - alpha_i|, zero at the maximum."""

    value: torch.Tensor
    residual: torch.Tensor


@dataclass(frozen=True)
class FenchelAlpha(PairLoss):
    """The loss sum_i F(u_i) of one function F: u (m,) -> scalar, written in torch operations.

    convex: what is claimed of F. The claim is held against midpoints, once for every number of negatives, and refuted
    by one above its chord; it cannot be proven so. Raises DataError where F decreases: alpha = grad F must be >= 0.
    """

    F: ScalarFunction
    convex: bool = True
    _checked: set[int] = field(default_factory=set, init=False, repr=False, compare=False)

    row_sum = "free"

    def __post_init__(self) -> None:
        if not callable(self.F):
            raise DataError(f"F must be a function of one tensor u (m,), got {self.F!r}")

    def rows(self, u: torch.Tensor) -> torch.Tensor:
        self._check(u)
        return self._values(u)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        self._check(u)
        with torch.enable_grad():
            x = u if u.requires_grad else u.detach().requires_grad_()
            (alpha,) = torch.autograd.grad(self._values(x).sum(), x, create_graph=u.requires_grad)
        found = alpha.detach()
        if not bool(torch.isfinite(found).all()):
            raise DataError(
                "the slope of F is NaN or infinite at a u of these data; write F so that it cannot overflow"
            )
        if float(found.min()) < -SLOPE_TOL * float(found.abs().max()):
            raise DataError(
                f"F decreases: its slope reaches {float(found.min()):.3g}, and pair importance alpha = grad F must be "
                ">= 0; take an F that increases in every u_j"
            )
        return alpha.clamp_min(0.0)

    def live_conjugate(self, u: torch.Tensor) -> torch.Tensor:
        """F*(alpha_i) at alpha = grad F(u), (n,), by Fenchel's equality. Raises NotClosedForm unless F is convex."""
        self._needs_convex()
        return (self.slope(u) * u).sum(dim=1) - self.rows(u)

    def conjugate(self, alpha: torch.Tensor) -> torch.Tensor:
        self._needs_convex()
        raise NotClosedForm(
            "the conjugate of a function given as code has no closed form; live_conjugate(u) is its value at alpha = "
            "grad F(u), conjugate_bound(alpha) a lower limit at any alpha"
        )

    def conjugate_bound(self, alpha: torch.Tensor, *, max_iter: int = 500) -> ConjugateBound:
        """A lower limit of F*(alpha_i) for each row of alpha (n, m): max_u alpha_i'u - F(u), searched by L-BFGS.

        Every u proves its value, so an unfinished search is a weaker limit and no wrong one. Where alpha is outside the
        domain of F*, the limit grows with max_iter without end; where it is on the border, the maximum is not reached.
        """
        self._needs_convex()
        found = [self._search(row, max_iter) for row in alpha.detach().to(torch.float64)]
        value, residual = (torch.tensor(column, dtype=torch.float64) for column in zip(*found, strict=True))
        return ConjugateBound(value, residual)

    def _search(self, a: torch.Tensor, max_iter: int) -> tuple[float, float]:
        def negated(point: np.ndarray) -> tuple[float, np.ndarray]:
            u = torch.tensor(point[None, :])
            return float(self.rows(u)[0] - a @ u[0]), (self.slope(u)[0] - a).numpy()

        options = {"maxiter": max_iter, "ftol": 1e-15, "gtol": 1e-10}
        done = scipy.optimize.minimize(negated, np.zeros(a.numel()), jac=True, method="L-BFGS-B", options=options)
        return -float(done.fun), float(np.linalg.norm(done.jac))

    def _values(self, u: torch.Tensor) -> torch.Tensor:
        try:
            values = torch.func.vmap(self.F)(u)
        except Exception as error:  # whatever the user's code raises
            raise DataError(
                f"F must turn one tensor u (m,) into a scalar by torch operations, the same ones whatever u is: {error}"
            ) from error
        if values.shape != u.shape[:1]:
            came = tuple(values.shape[1:])
            raise DataError(f"F must return a scalar tensor for each u (m,), got {came}; sum over the negatives")
        found: torch.Tensor = values
        return found

    def _needs_convex(self) -> None:
        if not self.convex:
            raise NotClosedForm("F is not claimed to be convex: Fenchel's equality, and alpha as min player, need that")

    def _check(self, u: torch.Tensor) -> None:
        m = u.shape[1]
        if not self.convex or m in self._checked:
            return
        found = convexity_counterexample(self._values, u.detach())
        if found is not None:
            at, middle, chord = found
            raise DataError(
                f"F is not convex: between u = {_told(at[0])} and {_told(at[1])} its midpoint is {middle:.6g}, above "
                f"the chord's {chord:.6g}; say convex=False (the gradient theorem still holds, the min player does not)"
            )
        self._checked.add(m)


def convexity_counterexample(
    values: Callable[[torch.Tensor], torch.Tensor], u: torch.Tensor, *, seed: int = 0
) -> tuple[torch.Tensor, float, float] | None:
    """Two points (2, m) whose midpoint lies above their chord, F there and the chord; None where none was found.

    values: F of each row, (n, m) -> (n,). Pairs are rows of u, and seeded Gaussian points about them at several scales.
    """
    rng = torch.Generator().manual_seed(seed)
    start = u[torch.randint(u.shape[0], (PROBES,), generator=rng)]
    ends = [(start, u[torch.randint(u.shape[0], (PROBES,), generator=rng)])]
    for scale in SCALES:
        noise = scale * torch.randn((2, PROBES, u.shape[1]), generator=rng, dtype=torch.float64).to(u)
        ends += [(noise[0], noise[1]), (start + noise[0], start + noise[1])]
        ends.append((start, start + noise[0] * torch.eye(u.shape[1]).to(u)[torch.arange(PROBES) % u.shape[1]]))
    a, b = torch.cat([first for first, _ in ends]), torch.cat([second for _, second in ends])
    with torch.no_grad():
        low, high, middle = values(a), values(b), values((a + b) / 2)
    chord = (low + high) / 2
    size = low.abs() + high.abs() + middle.abs()
    above = torch.where(torch.isfinite(size), (middle - chord) / size.clamp_min(1.0), torch.zeros_like(size))
    worst = int(above.argmax())
    if float(above[worst]) <= max(CONVEX_TOL, 64 * torch.finfo(u.dtype).eps):
        return None
    return torch.stack([a[worst], b[worst]]), float(middle[worst]), float(chord[worst])


def _told(u: torch.Tensor) -> str:
    shown = ", ".join(f"{value:.3g}" for value in u[:4].tolist())
    return f"({shown}{', ..' if u.numel() > 4 else ''})"


# ----------------------------------------------------------------------------------------------------- the entropy form


@dataclass(frozen=True)
class EntropyForm:
    """The min player of a loss with psi(x) = c e^{x/tau} at distances u: R(alpha) = coefficient * sum_i H(alpha_i).

    row_sums: xi phi'(xi) / tau, (n,), the feasible set. coefficient: tau, or 2 tau where the energy is tr C_alpha.
    fixed_set: whether the feasible set is the same for every encoder, so that the game has one objective.
    """

    temperature: float
    row_sums: torch.Tensor
    coefficient: float
    fixed_set: bool

    def regulariser(self, alpha: torch.Tensor) -> torch.Tensor:
        """R(alpha) = coefficient * sum_i H(alpha_i), a scalar."""
        return self.coefficient * entropy(alpha).sum()

    def minimiser(self, u: torch.Tensor) -> torch.Tensor:
        """argmin E_alpha - R(alpha) over the feasible set: row_sums * softmax(u/tau), (n, m)."""
        return self.row_sums[:, None] * torch.softmax(u / self.temperature, dim=1)


def entropy_form(
    loss: AlphaRule, u: torch.Tensor, *, energy: Literal["half_trace", "trace"] = "half_trace"
) -> EntropyForm:
    """The entropy form of a loss at u (n, m). Raises NotClosedForm where psi is no exponential.

    energy: what R is subtracted from, sum alpha_ij (d_ij^2 - d_i^2) ("half_trace") or twice that, tr C_alpha ("trace").
    """
    if energy not in ("half_trace", "trace"):
        raise DataError(f"energy must be 'half_trace' or 'trace', got {energy!r}")
    one = torch.ones_like(u[:, 0])
    # xi phi'(xi) / tau, from log xi
    if isinstance(loss, Nce):
        tau, fixed_set = loss.temperature, loss.eps == 0
        log_xi = torch.logsumexp(u / tau, dim=1)
        sums = one if fixed_set else torch.sigmoid(log_xi - math.log(loss.eps))  # phi = tau log(eps + x)
    elif isinstance(loss, EntropyRule | Mine):
        tau, fixed_set, sums = getattr(loss, "temperature", 1.0), True, one  # phi = tau log x
    elif isinstance(loss, SoftTriplet):
        tau, fixed_set = loss.temperature, False
        sums = torch.sigmoid(loss.margin + torch.logsumexp(u / tau, dim=1))  # phi = tau log(1 + x)
    elif isinstance(loss, Tuplet):
        tau, fixed_set = 1.0, False
        sums = torch.sigmoid(torch.logsumexp(u, dim=1))  # phi = log(1 + x)
    elif isinstance(loss, LiftedStructured):
        tau, fixed_set = 1.0, False
        sums = 2 * torch.relu(loss.margin + torch.logsumexp(u, dim=1))  # phi = [log x]_+^2
    else:
        raise NotClosedForm(
            f"{type(loss).__name__} has no entropy form: its psi is no exponential (infonce, r_h, mine, "
            "soft_triplet, tuplet and lifted_structured have one)"
        )
    return EntropyForm(tau, sums, tau if energy == "half_trace" else 2 * tau, fixed_set)
