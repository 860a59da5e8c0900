"""Whether a certified optimum is the only one, up to a rotation of Z.

Every optimal G = WW' lies in the face of the proof: range(G) in the top eigenspace of C at alpha*, tr G = r where
lambda_max(C) > 0. It is the only one where that face is a point,

    rank = multiplicity = 1 and lambda_max > 0:    G = r v v',

or where the loss curves along all of it: with U (D, q) a basis of range(G), q = rank = multiplicity, and u(S), linear,
of G = U S U',

    sum_i u_i(S)' F''(u_i) u_i(S) > 0    for every symmetric S (q, q) other than 0.

Then G is a strict local minimum of a convex problem, hence its only one. The curvature of a sum of convex terms is at
least that of some of them, so that a few anchors suffice to show it. What is shown is sufficient alone: losses that are
linear between kinks (triplet) or of fixed alpha curve nowhere, and with all triplets satisfied a whole set is optimal.

Derived here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from spectral_ssl import linalg
from spectral_ssl.alpha_cl.contrast import as_rows
from spectral_ssl.alpha_cl.live import LiveOptimum
from spectral_ssl.alpha_cl.rules import PairLoss

__all__ = ["only_optimum"]

CLEAR = 1e-6  # of the decrease from collapse: what the radius must be worth for lambda_max to count as positive
CURVED = 1e-6  # of the largest curvature: the least that counts, alpha* being known to the root of the gap
ENTRIES = 2**21  # of u over all directions that are looked at together


def only_optimum(found: LiveOptimum, X: Any) -> bool:
    """Whether G of a converged optimum over X (2N, D) is shown to be the only one; False says nothing."""
    q, contrast, rule = found.rank, found.contrast, found.rule
    if not found.converged or q == 0 or q != found.multiplicity:
        return False
    h = 0.5 if contrast.half_squared else 1.0
    worth = h * found.radius * float(found.eigenvalues[0])
    if q == 1 and worth > CLEAR * (found.collapse_loss - found.loss) + 10 * found.gap:
        return True
    if not isinstance(rule, PairLoss):
        return False
    W = found.embedding.W
    assert W is not None
    U, _, _ = linalg.svd(W)
    Y = as_rows(X, contrast.n_rows, "X").detach().double().numpy()
    Y = (Y - Y.mean(axis=0)) @ U[:, :q]
    a, b = np.triu_indices(q)
    S = np.eye(q)[:, a] + np.eye(q)[:, b] * (a != b)  # (q, P): s s' of the columns span the symmetric matrices
    directions, Z = Y @ S, found.embedding.Z  # (R, P), (R, K)
    rows = max(1, min(contrast.n_anchors, ENTRIES // (contrast.candidates.size * S.shape[1])))
    chosen = np.linspace(0, contrast.n_anchors - 1, rows).astype(np.int64)

    def u_of(V: Any) -> torch.Tensor:
        """u (b, m) of the chosen anchors at rows V (R, k) of an embedding."""
        own, other = V[contrast.anchors[chosen]], V[contrast.candidates]
        near = h * ((own[:, None] - other) ** 2).sum(axis=2)[contrast.allowed.numpy()[chosen]].reshape(rows, -1)
        return torch.from_numpy(h * ((own - V[contrast.positives[chosen]]) ** 2).sum(axis=1)[:, None] - near)

    with torch.enable_grad():
        u = u_of(Z).requires_grad_()
        alpha = rule.slope(u)
        if not alpha.requires_grad:  # constant between kinks
            return False
        along = [u_of(directions[:, p : p + 1]) for p in range(S.shape[1])]
        bent = [torch.autograd.grad((alpha * v).sum(), u, retain_graph=True, materialize_grads=True)[0] for v in along]
    M = np.array([[float((v * w).sum()) for w in bent] for v in along])  # (P, P)
    size = np.array([float(v.norm()) for v in along])
    if size.min() == 0:  # a change of G that no distance shows
        return False
    M = M / np.outer(size, size)  # whatever the units of X
    values = linalg.eigh((M + M.T) / 2)[0]
    return bool(values[0] > CURVED * values[-1] and values[-1] > 0)
