"""A method's loss over a relation, or over batches of its pairs, as a function of an encoder's parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, NumericalError
from spectral_ssl.graph import Graph
from spectral_ssl.methods.base import Method, QuadraticMethod, embedding_moments
from spectral_ssl.moments import Moments
from spectral_ssl.training.encoders import Encoder, Matrix
from spectral_ssl.training.networks import Network, Randomness

__all__ = ["Pairs", "Problem", "check_size", "find_device"]

SMALL = 1000  # samples up to which one thread evaluates a loss as fast as several
Pairs = tuple[Any, Any]  # i (B,), j (B,)


def find_device(name: str | None) -> torch.device:
    """The device of a name; None takes CUDA where there is one. Raises DataError where it cannot be used."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # a meta device holds no numbers
    except (RuntimeError, AssertionError, TypeError) as error:
        known = "cpu" + (", cuda" if torch.cuda.is_available() else "; no CUDA device is reachable here")
        raise DataError(f"device={name!r} cannot be used (available: {known}): {str(error).splitlines()[0]}") from error
    return device


def check_size(K: int, graph: Graph, X: Any) -> None:
    """Raise DataError unless 1 <= K <= N - 1 (free) or D (linear)."""
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1:
        raise DataError(f"n_components must be a positive integer, got {K!r}")
    limit, what = (graph.n_samples - 1, "N - 1") if X is None else (X.shape[1], "the number of features")
    if limit < K:
        raise DataError(f"n_components={K} exceeds {what} = {limit}; choose at most {limit}")


class Problem:
    """What is minimised: `backward` leaves the gradients of the loss in the encoder's parameters.

    batch_loss: (za, zb) -> scalar, in place of the method's own on batches. debias: see `Method.debiased_terms`. chunk:
    rows embedded at once; the loss sees all rows of a step together, its gradient in Z is then carried to the
    parameters chunk by chunk, each embedded again: the same gradient in less memory.
    """

    def __init__(
        self,
        method: Method,
        graph: Graph,
        encoder: Encoder,
        n_components: int,
        *,
        batch_loss: Callable[..., torch.Tensor] | None = None,
        debias: bool = False,
        chunk: int | None = None,
        ridge: float = 0.0,
        seed: int = 0,
    ) -> None:
        if batch_loss is None and (why := method.untrainable(n_components)):
            raise DataError(why)
        self.method, self.graph, self.encoder, self.K = method, graph, encoder, n_components
        self.batch_loss, self.debias, self.chunk, self.ridge = batch_loss, debias, chunk, ridge
        # |A|^2 and its like only cost digits: they are not minimised, and added back afterwards
        constant = 0.0
        if isinstance(method, QuadraticMethod) and batch_loss is None:
            constant = float(method.terms(_no_moments(graph, n_components)).get("constant", 0.0))
        self.constant = constant
        # what batch_loss draws; not from the network's stream, which chunks set back
        own = int(np.random.SeedSequence((seed, 3)).generate_state(1, np.uint64)[0])
        self.random = Randomness(own, torch.device(encoder.kind["device"]))
        self.size = 1.0

    # --- the loss -----------------------------------------------------------------------------------------------------

    def objective(self, pairs: Pairs | None = None) -> torch.Tensor:
        """The loss, without its constant, over the whole relation or estimated from a batch of its pairs."""
        moments = self.encoder.moments() if pairs is None else None
        if moments is not None and isinstance(self.method, QuadraticMethod):
            return _total(self.method.training_terms(moments))
        return self._of(self.encoder.rows(None if pairs is None else np.concatenate(pairs)), pairs)

    def _of(self, Z: torch.Tensor, pairs: Pairs | None) -> torch.Tensor:
        """The objective from the rows of Z that it needs: all, or i and then j."""
        if pairs is None:
            if isinstance(self.method, QuadraticMethod):
                m, penalty = embedding_moments(Z, self.graph), self.encoder.penalty()
                return _total(self.method.training_terms(m if penalty is None else m.penalised(penalty)))
            return _total(self.method.loss_terms(Z, self.graph))
        i, j = pairs
        za, zb = Z[: len(i)], Z[len(i) :]
        if self.batch_loss is not None:
            with self.random():
                return self._batch_loss(za, zb)
        terms = self.method.debiased_terms if self.debias else self.method.batch_terms
        return _total(terms(za, zb, i, j, self.graph, penalty=self.encoder.penalty()))

    def _batch_loss(self, za: torch.Tensor, zb: torch.Tensor) -> torch.Tensor:
        assert self.batch_loss is not None
        if not bool(torch.isfinite(za).all() and torch.isfinite(zb).all()):
            return za.sum() + zb.sum()  # not finite either: published losses would call it an error of the data
        h = len(za) // 2
        found = self.batch_loss(za, zb)
        if not isinstance(found, torch.Tensor) or found.numel() != 1 or found.requires_grad != za.requires_grad:
            came = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else repr(found)
            raise DataError(
                f"batch_loss gave {came}, expected a scalar tensor differentiable in za and zb, as ss.losses.vicreg"
            )
        if self.debias:
            found = 2 * found - (self.batch_loss(za[:h], zb[:h]) + self.batch_loss(za[h:], zb[h:])) / 2
        return found.reshape(())

    def backward(self, pairs: Pairs | None = None, *, scale: float = 1.0) -> float:
        """Gradients of scale * objective into the parameters; the objective."""
        for p in self.encoder.parameters:
            p.grad = None
        if self.chunk is None or (pairs is None and self.encoder.moments() is not None):
            value = self.objective(pairs)
            (scale * value).backward()
            return float(value.detach())
        index = np.arange(self.graph.n_samples) if pairs is None else np.concatenate(pairs)
        chunks = [index[start : start + self.chunk] for start in range(0, len(index), self.chunk)]
        random = self.encoder.random if isinstance(self.encoder, Network) else None
        states, rows = [], []
        for chunk in chunks:
            states.append(None if random is None else random.state)
            with torch.no_grad():
                rows.append(self.encoder.rows(chunk))
        Z = torch.cat(rows).requires_grad_()
        value = self._of(Z, pairs)
        (scale * value).backward()
        assert Z.grad is not None
        for chunk, state, slope in zip(chunks, states, Z.grad.split(self.chunk), strict=True):
            if random is not None and state is not None:
                random.state = state  # dropout again as it was
            self.encoder.rows(chunk).backward(slope)
        return float(value.detach())

    def gradient(self) -> float:
        """The largest entry of the gradient now held by the parameters."""
        largest = 0.0
        for p in self.encoder.parameters:
            if p.grad is None:
                continue
            size = p.grad.abs()
            if isinstance(self.encoder, Matrix):
                # a loss blind to the size of a column has a gradient of 1 / size there: weighed back, size is no
                # success
                size = size * p.detach().square().mean(dim=0).sqrt().clamp_min(1.0)
            found = float(size.max()) if size.numel() else 0.0
            largest = found if not found <= largest else largest  # NaN stays
        return largest

    # --- before and after ---------------------------------------------------------------------------------------------

    def start(self, seed: int, init_scale: float | None, pairs: Pairs | None = None) -> None:
        """Parameters to begin with, and the size of the loss there, over the whole relation or one batch."""
        encoder = self.encoder
        with torch.no_grad():
            if isinstance(encoder, Matrix):
                rows, K = encoder.B.shape
                B = torch.tensor(np.random.default_rng(seed).standard_normal((rows, K)), **encoder.kind)

                def value(c: float) -> float:
                    encoder.B.copy_(B * c)
                    return float(self.objective(pairs))

                if init_scale is None:
                    # near unit columns first, so that a loss blind to scale keeps them; never close to the saddle at 0
                    scales = np.array(sorted(np.logspace(-2, 3, 41), key=lambda c: abs(np.log(c)))) / np.sqrt(rows)
                    values = np.array([value(float(c)) for c in scales])
                    values[~np.isfinite(values)] = np.inf
                    near = values <= values.min() + 1e-9 * np.abs(values.min())
                    init_scale = float(scales[int(np.argmax(near))])
                encoder.B.copy_(B * init_scale)
        spread = abs(self.method.collapse_loss(self.graph, self.K) - self.constant)
        with torch.no_grad(), encoder.untouched():
            first = float(self.objective(pairs))
        self.size = max(abs(first), 1e-3 * spread if self.batch_loss is None else 0.0, 1e-300)

    def threads(self, batch: int | None) -> contextlib.AbstractContextManager[Any]:
        """One thread where a step is small: threads that wait for each other cost more than the step itself."""
        rows = self.graph.n_samples if batch is None else 2 * batch
        small = (batch is None and self.encoder.moments() is not None) or rows <= SMALL
        matrix = isinstance(self.encoder, Matrix) and self.encoder.B.device.type == "cpu"
        return threadpool_limits(1) if small and matrix else contextlib.nullcontext()

    def embedding(self) -> Embedding:
        """The embedding of all samples, brought to the scale of the optimum."""
        return self.encoder.embedding(self.graph)

    def finish(self) -> tuple[Embedding, dict[str, float]]:
        """The embedding on numpy, and its loss over the whole relation in float64."""
        embedding = self.embedding()
        Z, W = torch.as_tensor(embedding.Z), embedding.W
        if not bool(torch.isfinite(Z).all()):
            raise NumericalError("the embedding holds NaN or infinite values; lower the learning rate")
        with torch.no_grad():
            found = self.method.loss_terms(Z, self.graph)
            if self.ridge and W is not None and isinstance(self.method, QuadraticMethod):
                m = embedding_moments(Z, self.graph)
                found = self.method.terms(m.penalised(self.ridge * torch.as_tensor(W.T @ W)))
        return embedding, {k: float(v) for k, v in found.items()}


def _total(terms: dict[str, Any]) -> torch.Tensor:
    """The sum of the terms, without the constant."""
    return torch.stack([v.reshape(()) for k, v in terms.items() if k != "constant"]).sum()


def _no_moments(graph: Graph, K: int) -> Moments:
    """The moments of Z = 0."""
    zero: Array = np.zeros((K, K))
    return Moments(graph.n_samples, graph.total_weight, zero[0], zero[0], zero, zero, zero, graph.adjacency_norm2)
