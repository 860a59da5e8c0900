"""The one door to eigen- and singular value solvers: no other module of the library calls one.

Everything here returns values and vectors *sorted together*, says which solver ran and why, and measures its own
residuals. Three problems are solved:

* `generalized_eigh(A, B)`  dense symmetric pencils A b = mu B b with B positive semi-definite of any rank;
* `smallest_eigenpairs(M)`  the bottom of a large sparse positive semi-definite matrix, off a known null vector;
* `whitening(B)`, `orthonormal_basis`, `principal_sines`, `eigh`, `svd`: what the rest of the library needs around them.

Policy for sparse matrices (`plan`): dense up to `DENSE_MAX` rows; shift-invert where the graph is narrow enough for a
sparse factor to stay sparse (paths, manifolds); otherwise Lanczos on the top of c I - M (expanders). Whatever ran, a
second pass deflated by the pairs already found looks for an eigenvalue copy that the Krylov space has missed, and an
answer whose residual is too large is not returned: another solver is tried, then `NumericalError` raised.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.csgraph
import scipy.sparse.linalg

from spectral_ssl.errors import NumericalError, ResourceError

__all__ = [
    "Eigenpairs",
    "condition",
    "eigh",
    "generalized_eigh",
    "orthonormal_basis",
    "plan",
    "principal_sines",
    "range_basis",
    "rank",
    "smallest_eigenpairs",
    "svd",
    "whitening",
]

Array = np.ndarray[Any, np.dtype[np.float64]]

EPS = float(np.finfo(np.float64).eps)
DENSE_MAX = 1500  # below this LAPACK on the full matrix is both the fastest and the safest
DENSE_LIMIT = 20_000  # order past which a dense matrix (3.2 GB, with two copies in work) is refused
WIDTH_MAX = 0.08  # mean envelope width, as a share of n, up to which a sparse factor is tried (expanders: 1/3)
WIDTH_ROOT = 6.0  # the same in units of sqrt(n): surfaces stay at 1 to 3, images near 5, volumes grow past it: in 4-d
# and 28,000 samples a factor took 52 s, Lanczos 2 s; on 50,000 resampled digits 1.4 s and 14 s
FACTOR_MAX = 12_000  # order up to which a factor that fills in (about 1 GB) is worth it after Lanczos has stalled
RESIDUAL_TOL = 1e-10  # |M v - mu v| / |M|, above which an answer is refused
SHARP_TOL = 1e-13  # relative residual past which a pair is computed again, deflated by those below it
COPY_TOL = 1e-9  # decrease, as a share of the largest eigenvalue held, that counts as a missed copy in a deflated pass
ROUNDING = 100 * EPS  # decrease relative to |M| that is rounding of the Rayleigh quotients and no copy
RESTARTS = 1000  # Lanczos restarts before it counts as stalled; expanders need fewer than ten
SHIFT = 1e-9  # relative to |M|: shift-invert solves (M + shift I) x = b, regular where M is not
CHECK_TOL = 1e-8  # relative residual at which the search for a missed copy may stop
CHECK_STEPS = 20_000  # Lanczos steps of that search; it takes hundreds
ARPACK_TAKES_RNG = "rng" in inspect.signature(scipy.sparse.linalg.eigsh).parameters
PASSES = 12  # rounds of solving and looking for missed copies; one or two are the rule

Solver = Literal["dense", "shift-invert", "lanczos"]


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenpairs sorted together, with what is known about them.

    values (R,); vectors (n, R), orthonormal in the metric of the problem; residuals (R,), |A v - mu B v| relative to
    the size of the pencil; rank: dimension of the space the problem lives on; solver: what ran and why.
    """

    values: Array
    vectors: Array
    residuals: Array
    rank: int
    solver: str


def eigh(M: Array) -> tuple[Array, Array]:
    """Eigenvalues (ascending) and orthonormal eigenvectors of a dense symmetric matrix M (n, n)."""
    try:
        values, vectors = scipy.linalg.eigh((M + M.T) / 2)
    except (np.linalg.LinAlgError, ValueError) as error:
        n = M.shape[0]
        raise NumericalError(f"the dense eigensolver failed on a {n} x {n} matrix: {error}") from error
    return values, vectors


def svd(M: Array) -> tuple[Array, Array, Array]:
    """Thin singular value decomposition M = U diag(s) V', s descending."""
    try:
        U, s, Vt = scipy.linalg.svd(M, full_matrices=False)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise NumericalError(f"the singular value decomposition of a {M.shape} matrix failed: {error}") from error
    return U, s, Vt


def fix_signs(V: Array) -> Array:
    """Flip columns of V (n, R) so that the entry largest in absolute value is positive: runs agree with each other."""
    if V.size == 0:
        return V
    top = np.argmax(np.abs(V), axis=0)
    signs: Array = np.where(V[top, np.arange(V.shape[1])] < 0, -1.0, 1.0)
    return V * signs


def orthonormal_basis(M: Array, rtol: float | None = None) -> Array:
    """An orthonormal basis (n, r) of range(M), r the numerical rank of M (n, m)."""
    U, s, _ = svd(np.asarray(M, dtype=np.float64))
    cutoff = (max(M.shape) * EPS if rtol is None else rtol) * (s[0] if s.size else 0.0)
    return U[:, s > cutoff]


def rank(M: Array, rtol: float | None = None) -> int:
    """The numerical rank of M: singular values above rtol (default max(shape) eps) times the largest."""
    return int(orthonormal_basis(M, rtol).shape[1]) if M.size else 0


def range_basis(M: Array, rank: int) -> tuple[Array, Array]:
    """The top-`rank` left singular subspace of M (n, m), and all singular values of M."""
    U, s, _ = svd(np.asarray(M, dtype=np.float64))
    return U[:, :rank], s


def principal_sines(U: Array, V: Array) -> Array:
    """Sines of the principal angles between range(U) and range(V), descending; U (n, p), V (n, q) orthonormal, p <= q.

    Computed as the singular values of U - V (V'U): cosines would bottom out at 1.5e-8.
    Source: Bjorck & Golub (1973).
    """
    if U.shape[1] > V.shape[1]:
        U, V = V, U
    if U.shape[1] == 0:
        return np.zeros(0)
    return np.clip(svd(U - V @ (V.T @ U))[1], 0.0, 1.0)


def whitening(B: Array) -> tuple[Array, Array]:
    """T (D, r) with T'BT = I on range(B), and a basis T0 (D, D - r) of null(B); B (D, D) positive semi-definite.

    B is first scaled to unit diagonal, so that features in unlike units (a radius of 1e-2 beside an area of 1e3)
    neither decide the rank nor cost accuracy: the answer for a rescaled B is the rescaled answer.
    """
    D = B.shape[0]
    if not np.all(np.isfinite(B)):
        raise NumericalError(f"a {D} x {D} matrix of second moments holds NaN or infinite values; divide X by its size")
    scale = np.sqrt(np.clip(np.diag(B), 0.0, None))
    inverse = np.divide(1.0, scale, out=np.zeros(D), where=scale > EPS * max(scale.max(initial=0.0), 1e-300))
    used = inverse > 0
    C = inverse[:, None] * B * inverse
    C[~used, ~used] = 0.0
    values, U = eigh(C)
    # rounding in a sum of squares is a few eps of the largest eigenvalue, growing slowly with D
    cutoff = 8 * max(D, 8) * EPS * max(values[-1] if D else 0.0, 0.0)
    keep = values > cutoff
    back = np.where(used, inverse, 1.0 / scale.max() if np.any(used) else 1.0)[:, None]  # unused: the largest unit
    return back * U[:, keep] / np.sqrt(values[keep]), back * U[:, ~keep]


def condition(B: Array) -> float:
    """Condition number of a positive semi-definite B (D, D) at unit diagonal, features of no variance left out.

    Infinite where a direction is lost to rounding. Products X'X square the condition of X: past about 1e8 of this
    number their smallest directions are no longer to be trusted.
    """
    scale = np.sqrt(np.clip(np.diag(B), 0.0, None))
    used = scale > EPS * max(scale.max(initial=0.0), 1e-300)
    if not np.any(used):
        return 1.0
    values = eigh(B[np.ix_(used, used)] / np.outer(scale[used], scale[used]))[0]
    return float(values[-1] / values[0]) if values[0] > 0 else float("inf")


def generalized_eigh(A: Array, B: Array, *, largest: bool, eliminate_null: bool = False) -> Eigenpairs:
    """All solutions of A b = mu B b on range(B), b_j'B b_k = delta_jk, best first (`largest` or smallest mu).

    A (D, D) symmetric, B (D, D) positive semi-definite of any rank. Directions in null(B) are left out: for the pencils
    of a graph they lie in null(A) too. Where they do not, `eliminate_null` (A positive semi-definite) minimises them
    away, A becoming the Schur complement A_rr - A_rn A_nn^+ A_nr as Lemma M asks.

    Residuals are |T'(A b - mu B b)| / max|mu| for the whitening T of B: the same for every scale of the features, and a
    bound on the relative error of mu that rounding of A and B allows.
    """
    T, T0 = whitening(B)
    if eliminate_null and T0.shape[1]:
        # what of A on null(B) is rounding shows beside the whole of A, each feature in the units whitening(B) gives it
        unit = np.sqrt(np.clip(np.diag(B), 0.0, None))
        unit = np.where(unit > EPS * unit.max(), unit, unit.max() if unit.max() > 0 else 1.0)
        values0, U0 = eigh(T0.T @ A @ T0)
        keep = values0 > 8 * max(B.shape[0], 8) * EPS * float((np.diag(A) / unit**2).max())
        N0 = T0 @ (U0[:, keep] / np.sqrt(values0[keep]))  # N0'A N0 = I, so that N0 N0' inverts A on null(B)
        T = T - N0 @ (N0.T @ A @ T)
    values, Q = eigh(T.T @ A @ T)
    order = np.argsort(-values if largest else values, kind="stable")
    values, vectors = values[order], fix_signs(T @ Q[:, order])
    size = float(np.abs(values).max(initial=0.0))
    residuals = np.linalg.norm(T.T @ (A @ vectors - (B @ vectors) * values), axis=0) / (size if size > 0 else 1.0)
    solver = f"dense generalised eigh, {B.shape[0]} x {B.shape[0]}, rank {T.shape[1]}"
    return Eigenpairs(values, vectors, residuals, T.shape[1], solver)


# --- large sparse positive semi-definite matrices -------------------------------------------------------------------


def _stored(M: Any) -> bool:
    """Whether the entries of M are at hand, not only its products."""
    return bool(scipy.sparse.issparse(M))


def envelope_width(M: Any) -> float:
    """Mean width of the envelope of a sparse symmetric M after reverse Cuthill-McKee, as a share of its order.

    Near 0 for chains and thin manifolds, about 1/3 for expanders: a cheap screen for the fill of a sparse factor.
    """
    n = M.shape[0]
    order = scipy.sparse.csgraph.reverse_cuthill_mckee(scipy.sparse.csr_matrix(M), symmetric_mode=True)
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    C = M.tocoo()
    first = np.arange(n)
    np.minimum.at(first, place[C.coords[0]], place[C.coords[1]])
    return float(np.mean(np.arange(n) - first) / n)


def plan(M: Any, k: int) -> tuple[Solver, str]:
    """Which solver `smallest_eigenpairs` will run for k pairs of the sparse matrix M, and why."""
    n = M.shape[0]
    if n <= DENSE_MAX or k >= n // 3:
        return "dense", f"dense: order at most {DENSE_MAX}, or much of the spectrum wanted"
    if not _stored(M):
        return "lanczos", "Lanczos: the matrix is known only through its products"
    width = envelope_width(M)
    if width <= min(WIDTH_MAX, WIDTH_ROOT / math.sqrt(n)):
        return "shift-invert", f"shift-invert: a sparse factor stays sparse (envelope {width:.1%} of n)"
    return "lanczos", f"Lanczos on cI - M: a sparse factor would fill in (envelope {width:.1%} of n)"


def _attempts(M: Any, k: int) -> Iterator[tuple[Solver, str]]:
    """The planned solver, then the one to try where it fails."""
    solver, why = plan(M, k)
    yield solver, why
    if solver == "shift-invert":
        yield "lanczos", "Lanczos on cI - M, after shift-invert failed"
    elif solver == "lanczos" and _stored(M) and M.shape[0] <= FACTOR_MAX:
        # eigenvalues spread over many decades: no Krylov space in M itself tells the smallest ones apart
        yield "shift-invert", "shift-invert with a factor that fills in, after Lanczos failed"


def smallest_eigenpairs(M: Any, k: int, *, upper: float, null: Array | None = None) -> Eigenpairs:
    """The k smallest eigenpairs of a sparse positive semi-definite M (n, n) on the complement of `null`.

    M: a scipy sparse matrix, or a LinearOperator known only through products. null (n, q): orthonormal null vectors
    of M, removed by projection, never by position. upper: a bound on the largest eigenvalue of M. Residuals are
    |M v - mu v| / upper.
    Raises NumericalError where they stay above `RESIDUAL_TOL`, ResourceError where only a dense solver could answer and
    the matrix is too large for one.
    """
    n = M.shape[0]
    Q = np.zeros((n, 0)) if null is None else null.reshape(n, -1)
    k = min(k, n - Q.shape[1])
    if k <= 0:
        return Eigenpairs(np.zeros(0), np.zeros((n, 0)), np.zeros(0), n - Q.shape[1], "nothing to solve")
    upper = max(upper, 1e-300)
    failures = []
    for solver, why in _attempts(M, k):
        try:
            values, V = _dense_bottom(M, k, Q, upper) if solver == "dense" else _krylov_bottom(M, k, Q, upper, solver)
        except NumericalError as error:
            failures.append(f"{solver}: {error}")
            continue
        residuals = np.linalg.norm(M @ V - V * values, axis=0) / upper
        worst = float(residuals.max())
        if worst <= RESIDUAL_TOL:  # not so for nan
            return Eigenpairs(values, fix_signs(V), residuals, n - Q.shape[1], why)
        failures.append(f"{solver}: relative residual {worst:.1e}, at most {RESIDUAL_TOL:.0e} is accepted")
    raise NumericalError(
        f"{k} eigenpairs of a matrix of order {n:,} were not found to working accuracy ({'; '.join(failures)}); "
        "ask for fewer components, or make the relation denser or its weights more alike"
    )


def _dense_bottom(M: Any, k: int, Q: Array, upper: float) -> tuple[Array, Array]:
    n = M.shape[0]
    if n > DENSE_LIMIT:
        raise ResourceError(
            f"{k:,} eigenpairs of a matrix of order {n:,} are much of its spectrum and need a dense matrix of "
            f"{8 * n**2 / 1e9:.1f} GB (limit {8 * DENSE_LIMIT**2 / 1e9:.1f} GB); "
            f"ask for fewer than {n // 3:,} components"
        )
    dense = M.toarray() if _stored(M) else M @ np.eye(n)
    # lifting the null vectors above the spectrum leaves every other pair as it was
    dense = (dense + dense.T) / 2 + 2 * upper * (Q @ Q.T)
    try:
        values, V = scipy.linalg.eigh(dense, subset_by_index=(0, k - 1), driver="evr")
    except (np.linalg.LinAlgError, ValueError):
        values, V = eigh(dense)
    return values[:k], V[:, :k]


def _krylov_bottom(M: Any, k: int, Q: Array, upper: float, solver: Solver) -> tuple[Array, Array]:
    n, inverse = M.shape[0], solver == "shift-invert"
    shift = SHIFT * upper
    apply = _inverse_apply(M, shift) if inverse else lambda V: upper * V - M @ V
    rng = np.random.default_rng(0)  # a fixed start: runs agree
    V, sharp = np.zeros((n, 0)), np.zeros(0, dtype=bool)
    wanted = k
    for _ in range(PASSES):
        fresh = _arpack_top(apply, n, wanted, np.hstack([Q, V[:, sharp]]), rng)
        blurred = int(np.count_nonzero(~sharp))
        values, V = _rayleigh_ritz(M, np.hstack([V, fresh]), k)
        # ARPACK is accurate relative to the largest eigenvalue of what it is given: in (M + shift)^-1 one of 1e-9
        # outweighs one of 1 a billion times and blurs its vector. Such pairs are computed again without the sharp ones.
        sharp = np.linalg.norm(M @ V - V * values, axis=0) <= SHARP_TOL * upper
        wanted = int(np.count_nonzero(~sharp))
        if wanted > 0 and wanted != blurred:
            continue
        # deflated by all pairs held, the next value: had a copy been missed, it would lie below the last of them
        size = float(np.abs(values).max())
        tol = CHECK_TOL if inverse else max(CHECK_TOL * size / upper, SHARP_TOL)
        theta = _lanczos_top(apply, np.hstack([Q, V]), rng, tol)
        following = 1 / theta - shift if inverse else upper - theta
        if following > values[-1] - COPY_TOL * size - ROUNDING * upper:
            return values, V
        wanted += max(2, k // 4)
    raise NumericalError(f"eigenvalue copies kept appearing below the {k} smallest; the spectrum is too clustered")


def _rayleigh_ritz(M: Any, basis: Array, k: int) -> tuple[Array, Array]:
    """The k smallest Ritz values of M in the span of `basis` (n, m), and their orthonormal vectors (n, k)."""
    U = np.linalg.qr(basis)[0]
    theta, S = eigh(U.T @ (M @ U))
    return theta[:k], U @ S[:, :k]


def _inverse_apply(M: Any, shift: float) -> Callable[[Array], Array]:
    """x -> (M + shift I)^-1 x. The shift keeps the factor regular; null vectors are projected out around each solve."""
    try:
        factor = scipy.sparse.linalg.splu(
            scipy.sparse.csc_matrix(M) + shift * scipy.sparse.identity(M.shape[0], format="csc"),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except (RuntimeError, MemoryError) as error:
        raise NumericalError(f"the sparse factorisation failed: {error or 'out of memory'}") from error
    return lambda V: factor.solve(np.ascontiguousarray(V))


def _lanczos_top(apply: Callable[[Array], Array], locked: Array, rng: np.random.Generator, tol: float) -> float:
    """The eigenvalue largest in size of a symmetric operator off the columns `locked`, to a relative residual `tol`.

    Plain Lanczos, neither restarted nor reorthogonalised: vectors go stale, but the extreme Ritz value does not
    (Paige 1980), and for that one value it needs several times fewer products than ARPACK with its restarts.
    """
    v = rng.standard_normal(locked.shape[0])
    v -= locked @ (locked.T @ v)
    v /= np.linalg.norm(v)
    last, beta, size = np.zeros_like(v), 0.0, 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    for step in range(1, CHECK_STEPS + 1):
        u = apply(v) - beta * last
        alpha = float(v @ u)
        u -= alpha * v
        u -= locked @ (locked.T @ u)
        last, beta = v, float(np.linalg.norm(u))
        diagonal.append(alpha)
        beside.append(beta)
        size = max(size, abs(alpha), beta)
        # past this the next vector would be rounding, no longer orthogonal to those before, and its Ritz values invalid
        exhausted = beta <= math.sqrt(EPS) * size
        if exhausted or step % max(20, step // 10) == 0:
            ends = [
                scipy.linalg.eigh_tridiagonal(diagonal, beside[:-1], select="i", select_range=(end, end))
                for end in (0, step - 1)
            ]
            theta, S = max(ends, key=lambda pair: abs(float(pair[0][0])))
            if exhausted or beta * abs(float(S[-1, 0])) <= tol * abs(float(theta[0])):
                return float(theta[0])
        v = u / beta
    raise NumericalError(f"a search for missed eigenvalues did not settle in {CHECK_STEPS:,} Lanczos steps")


def _arpack_top(apply: Callable[[Array], Array], n: int, k: int, locked: Array, rng: np.random.Generator) -> Array:
    """k eigenvectors (n, k) of the largest eigenvalues of a symmetric operator, orthogonal to the columns `locked`."""

    def project(V: Array) -> Array:
        return V - locked @ (locked.T @ V)

    operator = scipy.sparse.linalg.LinearOperator(
        (n, n), matvec=lambda v: project(apply(project(v.ravel()))), dtype=np.float64
    )
    start = project(rng.standard_normal(n))
    # where a Krylov space is exhausted ARPACK goes on from a random vector, which scipy < 1.17 cannot be told to repeat
    seeded: dict[str, Any] = {"rng": rng} if ARPACK_TAKES_RNG else {}
    try:
        # "LM", not "LA": where a shift estimated too small leaves M + shift an eigenvalue below zero, it is wanted too
        _, V = scipy.sparse.linalg.eigsh(
            operator,
            k=k,
            which="LM",
            v0=start,
            tol=0.1 * SHARP_TOL,
            ncv=min(n - 1, max(5 * k // 2, 48)),
            maxiter=RESTARTS,
            **seeded,
        )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        raise NumericalError(
            f"{len(error.eigenvalues)} of {k} eigenpairs converged in {RESTARTS} restarts; the eigenvalues are too "
            "close together for their size"
        ) from error
    except scipy.sparse.linalg.ArpackError as error:
        raise NumericalError(f"ARPACK failed: {error}") from error
    return project(V)


def largest_eigenvalue_bound(A: Any, degree_max: float) -> float:
    """A tight upper estimate of the largest eigenvalue of a non-negative symmetric A (n, n), at most `degree_max`.

    Needed so that shift-invert on cI - A starts beside the eigenvalues wanted; an estimate slightly too small costs
    speed, not correctness: the solver looks on both sides of it, and residuals are checked.
    """
    start = np.ones(A.shape[0])  # never orthogonal to the Perron vector
    try:
        values, V = scipy.sparse.linalg.eigsh(A, k=1, which="LA", v0=start, tol=1e-6)
    except scipy.sparse.linalg.ArpackError:  # no convergence included
        return degree_max
    residual = float(np.linalg.norm(A @ V[:, 0] - values[0] * V[:, 0]))
    return min(degree_max, float(values[0]) + 10 * residual + 1e-8 * float(values[0]))
