"""When is the nearest class centre right? Certificates from (sigma, delta)-augmentation, checked against derivations.

Setting (Huang, Yi, Zhao & Jiang 2023, arXiv 2111.00743): classes C_l of shares p_l with main parts as in `main_parts`,
features |f| = r, L-Lipschitz between views of one class; centres mu_l are means over all *views* of class l, and
G(x) = argmin_l |f(x) - mu_l| is judged on the samples themselves. S_eps: samples whose views lie pairwise within eps in
feature space; R_eps = P(not S_eps), R_l its part inside class l, so that sum_l R_l = R_eps.

Lemma, derived here. Of class l let a share q lie in the main part and in S_eps, q >= sigma_l - R_l / p_l. For two such
samples, joined by their nearest views, |f(x) - f(x2')| <= eps + L delta + eps; all else is at most 2r away. With
t = (L delta + 2 eps) / r, averaging over x2' gives for every such x, and for every view of it,

    |f(x) - mu_l| <= r rho_l,    f(x).mu_l >= r^2 (1 - rho_l),    rho_l = 2 (1 - q) + q t

Certificates. Each has its condition, and where that holds an upper limit on Err(G) = P(G(x) is wrong):

"theorem 1"        mu_k.mu_l < r^2 (1 - rho - sqrt(2 rho) - Delta / 2) for all k != l, Delta = 1 - min |mu_l|^2 / r^2,
                   then Err <= (1 - sigma) + R_eps. As printed, rho = 2 (1 - sigma) + R_eps / min p + sigma t.
"theorem 1, safe"  the same with rho of the lemma, q = sigma - R_eps / min p: its coefficient of R_eps / min p is 2 - t.
"triangle"         min |mu_k - mu_l| > 2 r rho with the same rho: x within r rho of its centre is farther from others.
                   No square root, no Delta. Then Err <= (1 - sigma) + R_eps too.
"class-wise"       the triangle for each class by itself, with sigma_l, R_l, and delta, eps of its own: a class whose
                   condition holds errs on (1 - sigma_l) + R_l / p_l of its samples at most, others on all.

The printed rho is too small for the lemma (a class half of whose samples are not in S_eps shows it), and Theorem 1 is
true with it all the same. Derived here, r = 1: let rho' be the printed rho, a = R_eps / min p, q = sigma - a, and
rho = 2 (1 - q) + q t = rho' + e, e = (1 - t) a. For t >= 1 there is nothing to show. Else let x of class l, in the main
part and S_eps, be nearer to y = mu_k: s = |f(x) - mu_l| <= rho, and |f(x) - y| <= s gives f(x).y >= (1 + |y|^2 - s^2)
/ 2. A part q of class l has a mean within t of f(x), the rest a mean of length 1 at most, so

    mu_l.y + Delta / 2 >= q f(x).y - (q t + 1 - q) + (1 - |y|^2) / 2 >= 1 - rho - q rho^2 / 2

With a <= rho', t <= 1 - e / rho' and so q = (2 - rho) / (2 - t) <= rho' (2 - rho) / rho: q rho^2 / 2 <= rho' / 2, and
e <= rho', hence mu_l.y >= 1 - rho' - (3/2) rho' - Delta / 2. The condition cannot hold unless rho' + sqrt(2 rho') < 2
(or mu_k.mu_l < -1), so rho' < 0.77 < 8/9, where (3/2) rho' <= sqrt(2 rho'): the condition is contradicted.

A certificate speaks of the views it was given. Where these were drawn from a larger A(x), R_eps is under-stated, and
it is conditional on the views that were not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectral_ssl.data._checks import frozen
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.theory._numbers import as_numbers
from spectral_ssl.theory.bound import Assumption, Bound
from spectral_ssl.theory.main_parts import BLOCK, MainParts, Margin, Metric, ViewSet, _sample_blocks, distances

__all__ = [
    "FORMS",
    "Certificate",
    "Features",
    "centre_bounds",
    "certificates",
    "lipschitz",
    "smallest_certificates",
]

Form = Literal["theorem 1", "theorem 1, safe", "triangle", "class-wise"]
FORMS: tuple[Form, ...] = ("theorem 1", "theorem 1, safe", "triangle", "class-wise")
ROUNDED = 1e-9  # a slack up to this is rounding: equal centres, summed over rows, differ by 1e-16 times their number
ONE_NORM = 1e-9  # relative spread of the norms of features that are said to have one norm
SOURCE = "Huang, Yi, Zhao & Jiang 2023"


@dataclass(frozen=True, eq=False)
class Features:
    """An encoder on a set of views.

    Z (M, d): features of every view, in the order of `views.X`. norms: least and largest |f|; r is the largest. centres
    (K, d): mu_l. diameter (n,): the largest distance between two views of each sample. spread (n,): the mean squared
    distance of two views drawn independently, x itself among them.
    """

    views: ViewSet
    Z: Array
    norms: tuple[float, float]
    centres: Array
    diameter: Array
    spread: Array

    @classmethod
    def of(cls, views: ViewSet, Z: Any) -> Features:
        """Raises DataError for features that do not fit the views, are not finite, or all zero."""
        Z = as_numbers(Z, "the features of views")
        if Z.ndim != 2 or Z.shape[0] != len(views.X) or not Z.shape[1]:
            raise DataError(f"{len(views.X)} views need as many rows of features, got shape {Z.shape}")
        if not np.all(np.isfinite(Z)):
            raise DataError(f"the features of views hold {np.count_nonzero(~np.isfinite(Z))} NaN or infinite values")
        norms = np.linalg.norm(Z, axis=1)
        if norms.max() == 0:
            raise DataError("the features of all views are zero: there are no centres to be near to")
        mean = views.mean(Z)  # (n, d)
        own = np.repeat(mean, views.counts, axis=0)
        spread = 2 * np.add.reduceat(((Z - own) ** 2).sum(axis=1), views.start[:-1]) / views.counts
        centres = np.array([mean[views.first[k] : views.first[k + 1]].mean(axis=0) for k in range(views.K)])
        low, high = float(norms.min()), float(norms.max())
        return cls(views, frozen(Z), (low, high), frozen(centres), frozen(_diameters(views, Z)), frozen(spread))

    @property
    def r(self) -> float:
        return self.norms[1]

    @property
    def one_norm(self) -> bool:
        """Whether all features have the norm r, as Theorem 1 has it."""
        return self.norms[1] - self.norms[0] <= ONE_NORM * self.norms[1]

    @property
    def alignment(self) -> float:
        """L_align = E_x E |f(x1) - f(x2)|^2 over two independent draws from the views of x."""
        return float(self.spread.mean())

    @property
    def gram(self) -> Array:
        """mu_k.mu_l / r^2 (K, K)."""
        out: Array = self.centres @ self.centres.T / self.r**2
        return out

    @property
    def delta_mu(self) -> float:
        """Delta = 1 - min |mu_l|^2 / r^2."""
        return 1 - float(np.diag(self.gram).min())

    @property
    def divergence(self) -> float:
        """max over k != l of mu_k.mu_l / r^2: the smaller, the farther apart."""
        return float(self.gram[~np.eye(self.views.K, dtype=bool)].max())

    @property
    def gaps(self) -> Array:
        """Distance from each centre to the nearest other one (K,)."""
        apart = distances(self.centres, self.centres)
        np.fill_diagonal(apart, np.inf)
        out: Array = apart.min(axis=1)
        return out

    @property
    def error(self) -> float:
        """Err(G) on the samples themselves."""
        return float(np.mean(self.nearest_centre(self.Z[self.views.start[:-1]]) != self.views.codes))

    def nearest_centre(self, Z: Array) -> Any:
        """The class of the centre nearest to each row of Z (n, d); of equally near ones the first."""
        return distances(Z, self.centres).argmin(axis=1)

    def outside(self, eps: float) -> Array:
        """R_l (K,): samples of class l with two views farther than eps apart, as a share of all samples."""
        far = self.diameter > eps
        return np.bincount(self.views.codes[far], minlength=self.views.K) / self.views.n

    def R(self, eps: float) -> float:
        """R_eps = P(not S_eps)."""
        return float(np.mean(self.diameter > eps))

    def normalised(self) -> Features:
        """The same features at norm 1. Raises DataError where one is zero."""
        if self.norms[0] == 0:
            raise DataError(
                "a feature is zero and has no direction; judge the features as they are, without normalising"
            )
        return Features.of(self.views, self.Z / np.linalg.norm(self.Z, axis=1, keepdims=True))


def _diameters(views: ViewSet, Z: Array) -> Array:
    """The largest distance between two views of each sample (n,): samples of equally many views at once."""
    out = np.zeros(views.n)
    for m in np.unique(views.counts):
        samples = np.flatnonzero(views.counts == m)
        step = max(1, BLOCK // int(m * m * Z.shape[1]))
        for low in range(0, samples.size, step):
            at = samples[low : low + step]
            block = Z[views.start[at][:, None] + np.arange(m)]  # (b, m, d)
            for j in range(1, int(m)):  # pairs j apart in the list, each once
                apart = np.sqrt(((block[:, j:] - block[:, :-j]) ** 2).sum(axis=2))
                out[at] = np.maximum(out[at], apart.max(axis=1))
    return out


def lipschitz(views: ViewSet, Z: Array, *, metric: Metric = "euclidean") -> float:
    """The largest |f(x') - f(x2')| / |x' - x2'| over views of one class, which is all that the lemma asks of L.

    Infinite where two equal rows have unlike features: then f is no function of its input.
    """
    largest = 0.0
    for k in range(views.K):
        at = views.rows(k)
        X, F = views.X[at], Z[at]
        start = views.start[views.first[k] : views.first[k + 1] + 1] - at.start
        for a, b in _sample_blocks(start):
            dx = distances(X[start[a] : start[b]], X[start[a] :], metric)
            df = distances(F[start[a] : start[b]], F[start[a] :])
            apart = dx > 0
            if np.any(df[~apart] > 0):
                return math.inf
            largest = max(largest, float(np.divide(df, dx, out=np.zeros_like(df), where=apart).max(initial=0.0)))
    return largest


# --------------------------------------------------------------------------------------------------------- certificates


@dataclass(frozen=True)
class Certificate:
    """A condition and what follows from it. slack: of the condition, relative to r or r^2; it holds past `ROUNDED`.

    limit: of Err(G) where the condition holds; 1 where it does not. delta, eps, rho: where; for "class-wise" of the
    class nearest to failing among those certified, or nearest to holding where none is. certified: classes.
    """

    form: Form
    slack: float
    limit: float
    delta: float
    eps: float
    rho: float
    certified: int

    @property
    def holds(self) -> bool:
        return self.slack > ROUNDED


def certificates(features: Features, parts: MainParts, eps: float, L: float) -> dict[Form, Certificate]:
    """Every form at one delta (of the main parts) and one eps; L: as of `lipschitz`, or larger."""
    views, R, p = features.views, features.outside(eps), features.views.p
    t = _reach(features, parts.delta, eps, L)
    sigma, share = parts.sigma, float(R.sum() / p.min())
    printed = 2 * (1 - sigma) + share + sigma * t
    safe = float(_rho(np.array([sigma - share]), t)[0])
    own = _rho(parts.lower - R / p, t)  # (K,)
    gap = features.gaps / features.r
    limit = (1 - sigma) + float(R.sum())
    slacks: dict[Form, tuple[float, float]] = {
        "theorem 1": (_theorem_slack(features, printed), printed),
        "theorem 1, safe": (_theorem_slack(features, safe), safe),
        "triangle": (float(gap.min()) - 2 * safe, safe),
    }
    found = {
        form: Certificate(form, slack, limit, parts.delta, eps, rho, views.K)
        if slack > ROUNDED
        else Certificate(form, slack, 1.0, parts.delta, eps, rho, 0)
        for form, (slack, rho) in slacks.items()
    }
    slack = gap - 2 * own
    holds = slack > ROUNDED
    wrong = np.where(holds, p * (1 - parts.lower) + R, p)
    at = int(np.argmin(np.where(holds, slack, np.inf))) if holds.any() else int(np.argmax(slack))
    found["class-wise"] = Certificate(
        "class-wise", float(slack[at]), float(wrong.sum()), parts.delta, eps, float(own[at]), int(holds.sum())
    )
    return found


def _reach(features: Features, delta: float, eps: float, L: float) -> float:
    """t = (L delta + 2 eps) / r; infinite L, unlike features of equal views, leaves nothing known at delta = 0 too."""
    return ((L * delta if math.isfinite(L) else math.inf) + 2 * eps) / features.r


def _rho(q: Array, t: float) -> Array:
    """2 (1 - q) + q t, for shares q below 0 too: 2 where nothing is known, and no distance exceeds 2r."""
    q = np.clip(q, 0.0, 1.0)
    out: Array = 2 * (1 - q) + q * min(t, 2.0)
    return out


def _theorem_slack(features: Features, rho: float) -> float:
    return 1 - rho - math.sqrt(2 * rho) - features.delta_mu / 2 - features.divergence


def smallest_certificates(
    features: Features, parts: Sequence[MainParts], eps: Sequence[float], L: float
) -> dict[Form, Certificate]:
    """Over all delta and eps: of each form the certificate of least limit; where none holds, that of largest slack.

    "class-wise" takes for every class the delta and eps that are best for it.
    """
    if not parts or not len(eps):
        raise DataError("a sweep needs at least one delta and one eps")
    views, p = features.views, features.views.p
    best: dict[Form, Certificate] = {}
    wrong = np.ones(views.K)
    gap = features.gaps / features.r
    for part in parts:
        for value in eps:
            for form, found in certificates(features, part, float(value), L).items():
                known = best.get(form)
                if known is None or (found.holds, -found.limit, found.slack) > (known.holds, -known.limit, known.slack):
                    best[form] = found
            R = features.outside(float(value))
            certified = gap - 2 * _rho(part.lower - R / p, _reach(features, part.delta, float(value), L)) > ROUNDED
            wrong = np.where(certified, np.minimum(wrong, 1 - part.lower + R / p), wrong)
    one = best["class-wise"]
    best["class-wise"] = Certificate(
        "class-wise", one.slack, float(p @ wrong), one.delta, one.eps, one.rho, int(np.count_nonzero(wrong < 1))
    )
    return best


def centre_bounds(features: Features, found: dict[Form, Certificate], margin: Margin, L: float) -> tuple[Bound, ...]:
    """Each certificate as a `Bound` on the nearest-centre error, its assumptions checked first."""
    views = features.views
    m = views.counts
    number = f"{m.min()}" if m.min() == m.max() else f"{m.min()} to {m.max()}"
    shared = (
        Assumption(
            "views of different classes never coincide", margin.disjoint, f"least distance {margin.distance:.4g}"
        ),
        Assumption("equal views have equal features", math.isfinite(L), f"largest ratio {L:.4g}"),
        Assumption(
            "all views of every sample are known",
            True if views.enumerated else None,
            f"m = {number} views of each{'' if views.enumerated else ' were drawn'}",
        ),
    )
    one = Assumption("features have one norm", features.one_norm, "{:.4g} to {:.4g}".format(*features.norms))
    bounds = []
    for form, c in found.items():
        condition = Assumption(
            "the centres diverge enough", c.holds, f"slack {c.slack:.4g} at delta {c.delta:.4g}, eps {c.eps:.4g}"
        )
        theorem = form.startswith("theorem")
        bounds.append(
            Bound.check(
                f"nearest-centre error, {form}",
                features.error,
                lambda c=c: c.limit,  # type: ignore[misc]
                source=f"{SOURCE}, Theorem 1" if theorem else "derived here",
                assumptions=(*shared, one, condition) if theorem else (*shared, condition),
                trivial=1.0,
                certified=views.enumerated,
            )
        )
    return tuple(bounds)
