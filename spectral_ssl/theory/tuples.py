"""Fixed contrastive tuples: who is compared with whom, and how low the loss over them can get.

A tuple is an anchor, a positive and N negatives, all rows of one pool. A negative of the anchor's class is a collision;
`Col_i` counts those of tuple i. What an encoder can reach over given tuples, whatever its size:

    free outputs    inf mean ln(1 + sum_j e^{-v_ij})  lies between  mean ln(1 + S_i)  and  mean ln(1 + Col_i)

S_i counts the negatives that are the positive itself, whose margin is 0 for every encoder. The upper end is approached
by f = r u_{c(x)}, one unit vector for each class, as r grows: collided margins are 0, all others grow.

It is the infimum itself where the tuples are *exchange-closed*: with a tuple comes, as often, the one in which the
positive has changed places with any one of its collided negatives. Derived here: by convexity, for every encoder,

    ln(1 + sum_j e^{-v_ij})  >=  ln(1 + Col_i) - (1 + Col_i)^{-1} sum_{j collided} v_ij

and the last terms of an orbit (one tuple and its exchanges, of one Col) add up to 0: as often as a row is the positive
it is, Col times over, a negative. Without the exchanges it is false: a single tuple with a collision is told apart as
easily as any other, and its infimum is 0. Drawing classes and samples without end is exchange-closed, so that
E ln(1 + Col) is the infimum of the expected loss.

Unit outputs at temperature T: a margin is at most 2 / T, so that ln(1 + Col + (N - Col) e^{-2/T}) takes the place of
ln(1 + Col). It is attained where one sign for every row puts anchors, positives and collided negatives on one side and
the other negatives on the opposite one.

Attained, and so approached at a linear rate in the end. There f_a.f_p = 1 - |f_a - f_p|^2 / 2 and
f_a.f_n = -1 + |f_a + f_n|^2 / 2, so that without collisions, to second order in how far rows are from their side,

    L - infimum  =  w/(2 n T) sum_ij ( |f_a - f_p|^2 + |f_a + f_n|^2 ),    w = e^{-2/T} / (1 + N e^{-2/T})

a graph's Dirichlet energy: as a function of the outputs, |grad|^2 >= 2 w lam_2 / (n T) (L - infimum), lam_2 > 0 the
least eigenvalue but 0 of the Laplacian of the graph that joins an anchor N times to its positive and once to each
negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from spectral_ssl import linalg
from spectral_ssl.data._checks import as_matrix, check_int, check_real
from spectral_ssl.errors import DataError

__all__ = ["Infimum", "Tuples", "draw_tuples", "fresh_tuples"]

Array = np.ndarray[Any, Any]

UNIT = 1e-9  # |x| - 1 of rows brought to length 1, rounding with room


@dataclass(frozen=True)
class Infimum:
    """low <= infimum of the loss over all encoders <= high; equal where it is known. why: in words."""

    low: float
    high: float
    why: str

    @property
    def known(self) -> bool:
        return self.high - self.low <= 1e-12 * max(1.0, self.high)


@dataclass(frozen=True, eq=False)
class Tuples:
    """X (P, D) distinct unit rows; codes (P,) classes; anchors (n,), positives (n,), negatives (n, N): rows of X.

    name: what they were drawn from, in words.
    """

    X: Array
    codes: Array
    anchors: Array
    positives: Array
    negatives: Array
    name: str = "tuples"

    def __post_init__(self) -> None:
        X = as_matrix(self.X, "X of the tuples")
        sizes = np.linalg.norm(X, axis=1)
        if np.abs(sizes - 1).max() > UNIT:
            raise DataError(f"rows of X must have length 1, got {sizes.min():g} to {sizes.max():g}; divide them by it")
        if len(np.unique(X, axis=0)) < len(X):
            raise DataError("rows of X must be distinct: no encoder tells equal ones apart; keep one of each")
        codes = np.asarray(self.codes)
        if codes.shape != (len(X),):
            raise DataError(f"codes must name the class of each of the {len(X)} rows of X, got shape {codes.shape}")
        anchors, positives, negatives = (np.asarray(v) for v in (self.anchors, self.positives, self.negatives))
        shaped = anchors.ndim == 1 and anchors.shape == positives.shape and negatives.ndim == 2
        if not shaped or negatives.shape[0] != anchors.size or negatives.size == 0:
            raise DataError(
                "n anchors, n positives and negatives (n, N) are needed, n and N at least 1, got "
                f"{anchors.shape}, {positives.shape} and {negatives.shape}"
            )
        named = np.concatenate([anchors, positives, negatives.ravel()])
        if named.dtype.kind not in "iu" or named.min() < 0 or named.max() >= len(X):
            raise DataError(f"tuples must name rows of X by numbers from 0 to {len(X) - 1}")
        if np.any(anchors == positives) or np.any(anchors[:, None] == negatives):
            raise DataError("an anchor may not be its own positive or negative; draw those from the other rows")
        for name in ("anchors", "positives", "negatives"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        object.__setattr__(self, "X", X)
        object.__setattr__(self, "codes", codes)

    @property
    def n(self) -> int:
        return len(self.anchors)

    @property
    def n_negatives(self) -> int:
        return int(self.negatives.shape[1])

    @property
    def collided(self) -> Array:
        """(n, N): whether a negative is of its anchor's class."""
        found: Array = self.codes[self.negatives] == self.codes[self.anchors][:, None]
        return found

    @property
    def collisions(self) -> Array:
        """Col (n,)."""
        found: Array = self.collided.sum(axis=1)
        return found

    @property
    def separation(self) -> float:
        """The least distance between two rows of X."""
        from scipy.spatial.distance import pdist

        return float(pdist(self.X).min()) if len(self.X) > 1 else np.inf

    def exchange_closed(self) -> bool:
        """Whether collided margins add up to 0 for every encoder, level by level of Col: see the module's head.

        sum over the tuples with Col_i = k of sum_{j collided} (E_{a p} - E_{a n_j}) = 0, E_{xy} the symmetric unit
        matrix of a pair.
        """
        Col, hit = self.collisions, self.collided
        P = len(self.X)
        for k in np.unique(Col[Col > 0]):
            i = np.flatnonzero(Col == k)
            a = self.anchors[i]
            at, j = np.nonzero(hit[i])
            first = np.concatenate([a, a[at]])
            second = np.concatenate([self.positives[i], self.negatives[i][at, j]])
            weight = np.concatenate([np.full(i.size, float(k)), np.full(at.size, -1.0)])
            low, high = np.minimum(first, second), np.maximum(first, second)
            total = scipy.sparse.coo_array((weight, (low, high)), shape=(P, P)).tocsr()
            if np.any(total.data != 0):  # sums of whole numbers
                return False
        return True

    def two_sided(self) -> bool:
        """Whether signs exist that put anchor, positive and collided negatives together, other negatives opposite.

        On two copies of every row, + and -, alike rows are joined copy by copy and opposite ones crosswise: there are
        none where a row's + is connected with its own -.
        """
        P, hit = len(self.X), self.collided
        anchors = np.repeat(self.anchors, self.n_negatives).reshape(hit.shape)
        alike = [(self.anchors, self.positives), (anchors[hit], self.negatives[hit])]
        opposite = (anchors[~hit], self.negatives[~hit])
        pairs = [(x + s * P, y + s * P) for x, y in alike for s in (0, 1)]
        pairs += [(opposite[0] + s * P, opposite[1] + (1 - s) * P) for s in (0, 1)]
        first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
        joined = scipy.sparse.coo_array((np.ones(first.size), (first, second)), shape=(2 * P, 2 * P))
        _, part = connected_components(joined, directed=False)
        return not np.any(part[:P] == part[P:])

    def infimum(self, temperature: float | None = None) -> Infimum:
        """Of the mean logistic loss, over all maps of the rows to R^d, d >= 2.

        temperature: of unit outputs; None: of free ones.
        """
        N, Col = self.n_negatives, self.collisions
        if temperature is None:
            out = np.zeros(self.n)
        else:
            check_real(temperature, "temperature", low=0, open_low=True)
            out = np.full(self.n, np.exp(-2 / temperature))
        high = float(np.log1p(Col + (N - Col) * out).mean())
        if self.exchange_closed():
            low, why = high, "exchange-closed tuples" if Col.any() else "no collisions"
        else:
            same = (self.negatives == self.positives[:, None]).sum(axis=1)
            low = float(np.log1p(same + (N - same) * out).mean())
            why = "tuples that are not exchange-closed: encoders may tell collided samples apart"
        if temperature is not None and not self.two_sided():
            # more than two classes have no two opposite points: the limit is proven, and not reached
            high, why = float(np.log1p(Col + (N - Col)).mean()), f"{why}; no two opposite points serve all tuples"
        return Infimum(low, high, why)

    def unit_sharpness(self, temperature: float) -> float:
        """2 w lam_2 / (n T): |grad|^2 over the excess near the infimum, by unit outputs, at least. See the head."""
        check_real(temperature, "temperature", low=0, open_low=True)
        if self.collisions.any() or not self.two_sided():
            raise DataError("the limit of unit outputs is attained without collisions and on two opposite points only")
        P, N = len(self.X), self.n_negatives
        first = np.concatenate([self.anchors, np.repeat(self.anchors, N)])
        second = np.concatenate([self.positives, self.negatives.ravel()])
        weight = np.concatenate([np.full(self.n, float(N)), np.ones(self.n * N)])
        A = scipy.sparse.coo_array((weight, (first, second)), shape=(P, P)).toarray()
        A += A.T
        values, _ = linalg.eigh(np.diag(A.sum(axis=0)) - A)
        w = np.exp(-2 / temperature) / (1 + N * np.exp(-2 / temperature))
        return float(2 * w * values[values > 1e-9 * values[-1]][0] / (self.n * temperature))


def fresh_tuples(n: int, n_negatives: int, n_features: int = 16, seed: int = 0) -> Tuples:
    """n tuples of random unit vectors that share no row; anchor and positive are a class, each negative is one."""
    check_int(n, "n", low=1)
    N = check_int(n_negatives, "n_negatives", low=1)
    check_int(n_features, "n_features", low=2)
    rng = np.random.default_rng(seed)
    rows = np.arange(n * (2 + N)).reshape(n, 2 + N)
    codes = rows.ravel().copy()
    codes[rows[:, 1]] = rows[:, 0]
    X = rng.standard_normal((rows.size, n_features))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return Tuples(X, codes, rows[:, 0], rows[:, 1], rows[:, 2:], "random unit vectors, each in one tuple")


def draw_tuples(
    X: Array, codes: Array, n: int, n_negatives: int, *, collide: bool, close: bool = False, seed: int = 0
) -> Tuples:
    """n tuples from labelled unit rows X (P, D): positives of the anchor's class.

    collide: negatives are drawn from all other rows, with replacement, whatever their class; else every row is in one
    tuple at most, and negatives are of other classes. close: add the exchanges of each tuple (n grows by its
    collisions), so that the infimum is known.
    """
    codes = np.asarray(codes)
    check_int(n, "n", low=1)
    N = check_int(n_negatives, "n_negatives", low=1)
    rng = np.random.default_rng(seed)
    if not collide:
        a, p, q = _disjoint(codes, n, N, rng)
        return Tuples(X, codes, a, p, q, "rows of the data, each in one tuple at most, negatives of other classes")
    counts = np.bincount(codes)
    able = np.flatnonzero(counts[codes] > 1)
    if able.size == 0 or len(X) < 3:
        raise DataError(
            f"no class has two of the {len(X)} rows, from which an anchor and a positive could be; take more rows"
        )
    a = rng.choice(able, size=n)
    mates = [np.flatnonzero((codes == codes[i]) & (np.arange(codes.size) != i)) for i in a]
    p = np.array([rng.choice(m) for m in mates])
    q = np.array([rng.choice(np.delete(np.arange(len(X)), [i, j]), size=N) for i, j in zip(a, p, strict=True)])
    if close:
        a, p, q = _closed(codes, a, p, q)
    return Tuples(X, codes, a, p, q, "rows of one pool, negatives of any class")


def _disjoint(codes: Array, n: int, N: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Anchors, positives and negatives that share no row. Raises DataError where the classes run out."""
    stock = [rng.permutation(np.flatnonzero(codes == c)).tolist() for c in np.unique(codes)]
    rows = []
    for i in range(n):
        sizes = np.array([len(s) for s in stock])
        c = int(np.argmax(sizes))  # the fullest class can spare a pair
        others = np.repeat(np.arange(len(stock)), sizes)
        others = others[others != c]
        if sizes[c] < 2 or others.size < N:
            raise DataError(
                f"{codes.size} different rows of {len(stock)} classes are enough for {i} tuples of 2 + {N} rows that "
                f"share none, {n} were asked for; ask for fewer tuples or negatives, or take more rows"
            )
        mine = [stock[c].pop(), stock[c].pop()]
        rows.append([*mine, *(stock[k].pop() for k in rng.permutation(others)[:N])])
    found = np.array(rows)
    return found[:, 0], found[:, 1], found[:, 2:]


def _closed(codes: Array, a: Array, p: Array, q: Array) -> tuple[Array, Array, Array]:
    """Each tuple, and those in which its positive has changed places with one collided negative."""
    rows = []
    for anchor, positive, negatives in zip(a, p, q, strict=True):
        rows.append((anchor, positive, negatives))
        for j in np.flatnonzero(codes[negatives] == codes[anchor]):
            swapped = negatives.copy()
            swapped[j] = positive
            rows.append((anchor, negatives[j], swapped))
    first, second, third = zip(*rows, strict=True)
    return np.array(first), np.array(second), np.array(third)
