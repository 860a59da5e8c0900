"""Train the real losses, to see that they land on the closed form.

Full batch, float64, over all embeddings or over linear maps. Where the loss is a function of the moments of Z (every
method but InfoNCE), a linear model trains in moment space: a step costs the same for a thousand samples and a million.

Linear models optimise B in W = T B, T whitening the second matrix of the method's own pencil: a change of coordinates,
of the data only, that knows nothing of the relation's eigenvectors. `precondition=False` trains W itself, for studies
of implicit bias.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from spectral_ssl import linalg
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, NumericalError, ResourceError
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import Method, QuadraticMethod, embedding_moments
from spectral_ssl.moments import Moments
from spectral_ssl.solve import as_spectra, check_method
from spectral_ssl.spectrum import Model, Spectra

__all__ = ["Step", "TrainResult", "check_size", "find_device", "train"]

CHUNK = 10  # L-BFGS iterations between looks at the gradient
HISTORY = 100  # curvature pairs: Barlow Twins' flat minima converge at their pace, 30 left angles of 3e-5
HISTORY_NUMBERS = 20_000_000  # and at most this many numbers in them: 160 MB, twice
ROUNDING = 1e-14  # differences of the loss below this share of its size are noise: a line search cannot see them
DECREASE_LEFT = 1e-11  # expected relative decrease at which a stalled search counts as at its minimum
GRADIENT_AT_ROUNDING = 1e-6  # and the gradient it may leave: curvature not learnt yet expects no decrease either
SMALL = 1000  # samples up to which one thread evaluates a loss as fast as several
RESTARTS = 4  # of L-BFGS with fresh curvature, as long as each lowers the loss
POLISH = 60  # quasi-Newton steps without a line search, each seen to help in the first tens or not at all
STALL = 3  # chunks without a lower loss or a smaller gradient before the line search is given up


@dataclass(frozen=True)
class Step:
    """What a callback is told: evaluations so far, loss, largest gradient entry (relative)."""

    evaluations: int
    loss: float
    gradient_norm: float


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained embedding and how training went.

    embedding: Z (N, K), with W (D, K) and mean in the linear model. loss: in float64, full graph, of this embedding.
    losses (steps,): at every evaluation, the last at the embedding returned. gradient_norm: largest gradient entry at
    the end, of the loss divided by its size at the start, in the whitened parameters, times the root mean square of
    its column where that exceeds 1. converged: gradient_norm <= tol,
    or no decrease of the loss left above its rounding; message: why training stopped, in words. method: with every
    hyper-parameter resolved.
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


def train(
    method: Method,
    graph: Graph | Spectra,
    n_components: int,
    *,
    X: Any = None,
    model: Model | None = None,
    kernel: Any = None,
    ridge: float = 0.0,
    optimizer: Literal["lbfgs", "gd"] = "lbfgs",
    precondition: bool = True,
    device: str | None = None,
    seed: int = 0,
    max_iter: int = 3000,
    tol: float = 1e-9,
    init_scale: float | None = None,
    learning_rate: float | None = None,
    callbacks: Sequence[Callable[[Step], None]] = (),
) -> TrainResult:
    """Minimise the loss of a method over Z (N, K), over linear maps Z = XW where X (N, D) is given, or a kernel's maps.

    X, model, kernel, ridge: the model class, as for `spectral_ssl.optimum`. optimizer: "lbfgs" (strong Wolfe line
    search), or "gd", plain gradient descent with `learning_rate`, whose continuous limit is gradient flow.
    precondition: optimise in whitened coordinates. device: None takes CUDA where there is one, else the CPU. max_iter:
    evaluations of the loss. tol: on the largest gradient entry, see `TrainResult`. init_scale: standard deviation of
    the initial parameters; None takes the best multiple of one random draw. callbacks: each is called with a `Step`
    between chunks of iterations; one may raise to stop training.

    Raises DataError for options out of range, NumericalError where loss or gradient turns NaN or infinite.
    """
    started = time.perf_counter()
    check_method(method)
    spectra = as_spectra(graph, X, model=model, kernel=kernel, ridge=ridge)
    problem = _Problem(method, spectra, n_components, find_device(device), precondition)
    if optimizer not in ("lbfgs", "gd"):
        raise DataError(f"optimizer={optimizer!r} is not known; choose 'lbfgs' or 'gd'")
    if (optimizer == "gd") != (learning_rate is not None):
        raise DataError("learning_rate belongs to optimizer='gd', which needs one; 'lbfgs' sets its own step")
    if max_iter < 1 or not tol > 0:
        raise DataError(f"max_iter must be at least 1 and tol positive, got {max_iter} and {tol}")
    if init_scale is not None and not (np.isfinite(init_scale) and init_scale > 0):
        raise DataError(f"init_scale must be a positive number or None, got {init_scale}")
    try:
        with problem.threads():
            B = problem.start(seed, init_scale)
            search = _Search(problem, B, max_iter, tol, callbacks)
            message = search.lbfgs() if optimizer == "lbfgs" else search.descend(learning_rate or 0.0)
            embedding, loss_terms = problem.finish(search.best)
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"training does not fit the memory of {problem.device}; pass device='cpu', or fewer samples"
        ) from error
    return TrainResult(
        embedding=embedding,
        loss=float(sum(loss_terms.values())),
        loss_terms=loss_terms,
        losses=np.asarray(search.losses) + problem.constant,
        gradient_norm=search.best_gradient,
        converged=search.converged,
        message=message,
        seconds=time.perf_counter() - started,
        device=str(problem.device),
        seed=seed,
        method=problem.method,
    )


def find_device(name: str | None) -> torch.device:
    """The device of a name; None takes CUDA where there is one. Raises DataError where it cannot be used."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        known = "cpu" + (", cuda" if torch.cuda.is_available() else "; no CUDA device is reachable here")
        raise DataError(f"device={name!r} cannot be used (available: {known}): {str(error).splitlines()[0]}") from error
    return device


class _Problem:
    """A loss as a function of free parameters B: (r, K) for a linear model, (N, K) for a free one."""

    def __init__(
        self, method: Method, spectra: Spectra, n_components: int, device: torch.device, precondition: bool
    ) -> None:
        if spectra.graph is None:
            raise DataError(
                "training evaluates the loss on the full graph: build Spectra from a graph, not from moments"
            )
        self.graph, self.X, self.device = spectra.graph, spectra.X, device
        self.moments, self.K = spectra.moments, n_components
        self.features, self.ridge = spectra.features, spectra.ridge
        if self.ridge and not isinstance(method, QuadraticMethod):
            raise DataError(
                "a ridge adds to the energy tr(Z'LZ), which this loss does not have; set ridge=0, or bound its weights"
            )
        check_size(self.K, self.graph, self.X)
        needs_spectrum = method.hyper.get("invariance", 0.0) is None
        self.method = method.resolve(spectra.of(method.pencil, self.K), self.K) if needs_spectrum else method
        # (D, r) coordinates of a linear model, or (N, 1) row factors of a free one
        self.basis = spectra.basis(self.method.whitens) if precondition and self.X is not None else None
        self.unit = self._unit()
        self.T = self._coordinates(precondition)
        if self.n_rows == 0:
            raise DataError("all features are constant: X has no direction to learn from; give features that vary")
        if self.method.full_rank and self.X is not None and self.n_rows < self.K:
            raise DataError(
                f"this loss needs {self.K} independent columns, but X has rank {self.n_rows} for it; choose at most "
                f"{self.n_rows} components"
            )
        self._T = self._tensor(self.T)
        self._moments: Moments | None = None
        self._X = None
        if self.moments is not None and self.X is not None:
            if isinstance(self.method, QuadraticMethod):
                if self.basis is None:
                    m = self.moments.map(self.T).penalised(self.ridge * (self.T.T @ self.T))
                else:
                    m = self.basis.moments.map(np.eye(self.n_rows) * self.unit)
                self._moments = _to_tensors(m, self._tensor)
            else:
                self._X = self._tensor(self.X)
        self.constant = 0.0
        if isinstance(self.method, QuadraticMethod):
            # |A|^2 and its like only cost digits: they are not minimised, and added back afterwards
            probe = self._terms(torch.zeros((self.n_rows, self.K), **self.kind))
            self.constant = float(probe.get("constant", 0.0))
        self.size = 1.0

    @property
    def n_rows(self) -> int:
        """Rows of B."""
        return int(self.T.shape[0] if self.X is None else self.T.shape[1])

    @property
    def kind(self) -> dict[str, Any]:
        return {"dtype": torch.float64, "device": self.device}

    def _tensor(self, array: Any) -> torch.Tensor:
        return torch.tensor(np.asarray(array), **self.kind)

    def _unit(self) -> float:
        """Scale of the whitened coordinates, so that an optimum has columns of about unit size there."""
        if self.method.whitens.startswith("degree"):
            return float(np.sqrt(self.graph.total_weight))
        if self.method.pencil == "adjacency":  # Z'Z = diag(g), g of the size of a degree
            return float(np.sqrt(self.graph.total_weight / self.graph.n_samples))
        return float(np.sqrt(self.graph.n_samples))

    def _coordinates(self, precondition: bool) -> Array:
        if self.X is None:
            deg = self.graph.degree
            if precondition and self.method.whitens.startswith("degree"):
                # rows of samples without a pair are held at zero: the loss does not see them
                root = np.sqrt(np.divide(deg.mean(), deg, out=np.zeros_like(deg), where=deg > 0))
                return np.asarray(root[:, None])
            unit = self.unit if precondition and isinstance(self.method, QuadraticMethod) else 1.0
            return np.full((deg.size, 1), unit if self.method.pencil == "adjacency" else 1.0)
        m = self.moments
        assert m is not None
        if not precondition:
            return np.eye(m.n_features)
        B = {
            "laplacian": m.scatter,
            "adjacency": m.gram,
            "degree": m.degree_gram,
            "degree_centred": m.degree_scatter,
        }[self.method.whitens]
        T = linalg.whitening(B)[0] if self.basis is None else self.basis.T
        return T * self.unit

    def _terms(self, B: torch.Tensor) -> dict[str, Any]:
        if isinstance(self.method, QuadraticMethod):
            held = self._moments
            m = embedding_moments(self.embed(B), self.graph) if held is None else held.map(B)
            return self.method.training_terms(m)
        return self.method.loss_terms(self.embed(B), self.graph)

    def embed(self, B: torch.Tensor) -> torch.Tensor:
        if self._X is not None:
            return self._X @ self.method.constrain(self._T @ B)
        return self.method.constrain(self._T * B)

    def objective(self, B: torch.Tensor) -> torch.Tensor:
        """The loss, without its constant."""
        return torch.stack([v.reshape(()) for k, v in self._terms(B).items() if k != "constant"]).sum()

    def threads(self) -> contextlib.AbstractContextManager[Any]:
        """One thread where a step is small: threads that wait for each other cost more than the step itself."""
        small = self._moments is not None or self.graph.n_samples <= SMALL
        return threadpool_limits(1) if small and self.device.type == "cpu" else contextlib.nullcontext()

    def start(self, seed: int, init_scale: float | None) -> torch.Tensor:
        rows = self.n_rows
        B = self._tensor(np.random.default_rng(seed).standard_normal((rows, self.K)))
        with torch.no_grad():
            if init_scale is None:
                # near unit columns first, so that a loss blind to scale keeps them; never close to the saddle at zero
                scales = np.array(sorted(np.logspace(-2, 3, 41), key=lambda c: abs(np.log(c)))) / np.sqrt(rows)
                values = np.array([float(self.objective(B * float(c))) for c in scales])
                values[~np.isfinite(values)] = np.inf
                near = values <= values.min() + 1e-9 * np.abs(values.min())
                init_scale = float(scales[int(np.argmax(near))])
            B = B * init_scale
            spread = abs(self.method.collapse_loss(self.graph, self.K) - self.constant)
            self.size = max(abs(float(self.objective(B))), 1e-3 * spread, 1e-300)
        return B

    def finish(self, B: torch.Tensor) -> tuple[Embedding, dict[str, float]]:
        """The embedding on numpy, and its loss over the full graph in float64."""
        B_ = B.detach().cpu()
        mean = None
        W = None
        if self.X is None:
            Z = self.method.constrain(torch.as_tensor(self.T) * B_).numpy()
        else:
            W = self.method.constrain(torch.as_tensor(self.T) @ B_).numpy()
            Q = None if self.basis is None or not isinstance(self.method, QuadraticMethod) else self.basis.Q
            Z = self.X @ W if Q is None else (Q * self.unit) @ B_.numpy()  # where X W would cancel
        m = embedding_moments(torch.as_tensor(Z), self.graph)
        scale = self.method.column_scale(_to_tensors(m, lambda t: t.numpy()))
        if self.method.centred is not None:
            Z = Z - np.asarray(getattr(m, self.method.centred))
            mean = None if self.moments is None else np.asarray(getattr(self.moments, self.method.centred))
        if self.X is None and self.method.whitens.startswith("degree"):
            Z[self.graph.degree == 0] = 0.0  # not seen by the loss, and moved off zero by the centring
        scale = np.diag(scale) if scale.ndim == 1 else scale
        Z = Z @ scale
        if self.X is None:
            Z = Z * self.method.row_scale(Z)[:, None]
        W = None if W is None else W @ scale
        found = self.method.loss_terms(torch.as_tensor(Z), self.graph)
        if self.ridge and W is not None and isinstance(self.method, QuadraticMethod):
            m = embedding_moments(torch.as_tensor(Z), self.graph)
            found = self.method.terms(m.penalised(self.ridge * torch.as_tensor(W.T @ W)))
        return Embedding(Z=Z, W=W, mean=mean, features=self.features), {k: float(v) for k, v in found.items()}


def _to_tensors(m: Moments, convert: Callable[[Any], Any]) -> Moments:
    return Moments(
        m.n_samples,
        m.total_weight,
        convert(m.mean),
        convert(m.degree_mean),
        convert(m.scatter),
        convert(m.laplacian),
        convert(m.degree_scatter),
        m.adjacency_norm2,
    )


def check_size(K: int, graph: Graph, X: Any) -> None:
    """Raise DataError unless 1 <= K <= N - 1 (free) or D (linear)."""
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1:
        raise DataError(f"n_components must be a positive integer, got {K!r}")
    limit, what = (graph.n_samples - 1, "N - 1") if X is None else (X.shape[1], "the number of features")
    if limit < K:
        raise DataError(f"n_components={K} exceeds {what} = {limit}; choose at most {limit}")


class _Search:
    """A minimisation in progress: every evaluation recorded, the point of smallest gradient kept."""

    def __init__(
        self,
        problem: _Problem,
        B: torch.Tensor,
        max_iter: int,
        tol: float,
        callbacks: Sequence[Callable[[Step], None]],
    ) -> None:
        self.problem, self.max_iter, self.tol, self.callbacks = problem, max_iter, tol, callbacks
        self.B = B.clone().requires_grad_(True)
        self.best, self.best_loss, self.best_gradient = B.clone(), np.inf, np.inf
        self.losses: list[float] = []
        self.converged = False

    def evaluate(self) -> torch.Tensor:
        self.B.grad = None
        value = self.problem.objective(self.B) / self.problem.size
        value.backward()
        self.losses.append(float(value.detach()) * self.problem.size)
        return value

    def look(self) -> float:
        """The gradient at the current point: recorded, reported, refused if not finite."""
        self.evaluate()
        assert self.B.grad is not None
        # a loss blind to the size of a column has a gradient of 1 / size there: weighed back, size is no success
        size = self.B.detach().square().mean(dim=0).sqrt().clamp_min(1.0)
        gradient = float((self.B.grad.abs() * size).max())
        if not (np.isfinite(gradient) and np.isfinite(self.losses[-1])):
            raise NumericalError(
                f"the loss or its gradient became NaN or infinite after {len(self.losses)} evaluations; "
                "lower the learning rate, or check the data for huge values"
            )
        # a lower loss counts first: saddles have small gradients too; among losses equal to rounding, the gradient does
        loss, rounding = self.losses[-1], ROUNDING * max(abs(self.losses[-1]), self.problem.size)
        if loss < self.best_loss - rounding or (loss <= self.best_loss + rounding and gradient < self.best_gradient):
            self.best, self.best_loss, self.best_gradient = self.B.detach().clone(), loss, gradient
        for callback in self.callbacks:
            callback(Step(len(self.losses), self.losses[-1] + self.problem.constant, gradient))
        return gradient

    def lbfgs(self) -> str:
        gradient, stalled, left = self.look(), False, np.inf
        for _ in range(RESTARTS):
            engine = torch.optim.LBFGS(
                [self.B],
                max_iter=CHUNK,
                history_size=max(10, min(HISTORY, HISTORY_NUMBERS // max(1, self.B.numel()))),
                tolerance_grad=0.0,
                tolerance_change=0.0,
                line_search_fn="strong_wolfe",
            )
            before, idle = self.best_loss, 0
            while gradient > self.tol and len(self.losses) < self.max_iter and idle < STALL:
                loss, smallest = self.best_loss, self.best_gradient
                engine.step(self.evaluate)
                gradient = self.look()
                idle = 0 if self._lower_than(loss) or self.best_gradient < 0.9 * smallest else idle + 1
            stalled = idle >= STALL
            left = self._decrease_left(engine)
            if stalled and self.best_gradient > self.tol:
                self._polish(engine)
            if not stalled or not self._lower_than(before) or left <= DECREASE_LEFT:
                break
            # stale curvature can stop a line search on the way: begin again from the best point, with none
            with torch.no_grad():
                self.B.copy_(self.best)
            gradient = self.look()
        if self.losses[-1] != self.best_loss:
            with torch.no_grad():
                self.B.copy_(self.best)
            self.evaluate()
        n = len(self.losses)
        if self.best_gradient <= self.tol:
            self.converged = True
            return f"converged: gradient {self.best_gradient:.1e} <= {self.tol:.0e} after {n} evaluations"
        if stalled and left <= DECREASE_LEFT and self.best_gradient <= GRADIENT_AT_ROUNDING:
            self.converged = True
            return f"converged to the rounding of the loss: gradient {self.best_gradient:.1e} after {n} evaluations"
        if n >= self.max_iter:
            return (
                f"stopped at max_iter={self.max_iter}: gradient {self.best_gradient:.1e} > {self.tol:.0e}; "
                "raise max_iter to go on"
            )
        return f"stalled: no lower loss and gradient {self.best_gradient:.1e} > {self.tol:.0e} after {n} evaluations"

    @staticmethod
    def _decrease_left(engine: torch.optim.LBFGS) -> float:
        """What the last quasi-Newton step -d'g expected to gain, relative to the loss at the start.

        A small gradient alone proves little: along a flat direction it can hide a loss still to fall.
        """
        state: dict[str, Any] = next(iter(engine.state.values()), {})
        if "d" not in state or state["prev_flat_grad"] is None:  # it never took a step
            return np.inf
        expected = -float(state["d"].dot(state["prev_flat_grad"]))
        return expected if expected >= 0 else np.inf

    def _lower_than(self, loss: float) -> bool:
        return self.best_loss < loss - ROUNDING * max(abs(loss), self.problem.size)

    def _polish(self, engine: torch.optim.LBFGS) -> None:
        """Full quasi-Newton steps with the curvature learnt so far, as long as the gradient falls."""
        with torch.no_grad():
            self.B.copy_(self.best)
        engine.param_groups[0].update(line_search_fn=None, lr=1.0, max_iter=1, max_eval=1)
        for _ in range(POLISH):
            if self.best_gradient <= self.tol or len(self.losses) >= self.max_iter:
                break
            engine.step(self.evaluate)
            try:
                self.look()
            except NumericalError:  # a step too far; the best point is kept
                break

    def descend(self, learning_rate: float) -> str:
        gradient = self.look()
        while gradient > self.tol and len(self.losses) < self.max_iter:
            assert self.B.grad is not None
            with torch.no_grad():
                self.B -= learning_rate * self.problem.size * self.B.grad
            gradient = self.look()
        self.best, self.best_gradient = self.B.detach().clone(), gradient
        n = len(self.losses)
        self.converged = gradient <= self.tol
        if self.converged:
            return f"converged: gradient {gradient:.1e} <= {self.tol:.0e} after {n} steps"
        return f"stopped at max_iter: gradient {gradient:.1e} > {self.tol:.0e} after {n} steps"
