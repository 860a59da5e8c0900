"""Networks as encoders: a multi-layer perceptron by name, or any torch module of a user. `ENCODERS` at the foot."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from spectral_ssl.data import as_rows
from spectral_ssl.embedding import Array, Embedding
from spectral_ssl.errors import DataError, NumericalError, SpectralWarning
from spectral_ssl.graph import Graph
from spectral_ssl.kernels import FeatureMap
from spectral_ssl.methods.base import Method
from spectral_ssl.training.encoders import Encoder, Scale

__all__ = ["ENCODERS", "Network", "NetworkMap", "Randomness", "Standardise", "check_parts"]

BLOCK = 1024  # rows embedded at once
ACTIVATIONS: dict[str, Callable[[], torch.nn.Module]] = {
    "relu": torch.nn.ReLU,
    "gelu": torch.nn.GELU,
    "tanh": torch.nn.Tanh,
}
BATCH_NORMS = (torch.nn.modules.batchnorm._BatchNorm,)


class Randomness:
    """A stream of random numbers of our own: inside `with`, torch draws from it, and its global one is not touched."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(self.devices):
            torch.manual_seed(seed)
            self.state = self._now()

    def _now(self) -> list[torch.Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in self.devices)]

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with torch.random.fork_rng(self.devices):
            torch.set_rng_state(self.state[0])
            for device, state in zip(self.devices, self.state[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self.state = self._now()


class Standardise(torch.nn.Module):
    """(x - mean) / deviation, feature by feature; constant features become 0."""

    mean: torch.Tensor
    inverse: torch.Tensor

    def __init__(self, X: Array) -> None:
        super().__init__()
        mean, spread = X.mean(axis=0), X.std(axis=0)
        varies = spread > 1e-12 * np.maximum(np.abs(mean), 1e-300)
        inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        self.register_buffer("mean", torch.as_tensor(mean))
        self.register_buffer("inverse", torch.as_tensor(inverse))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) * self.inverse


def linear(X: Array, n_components: int) -> None:
    """Linear maps: no network, but W (D, K) itself."""


def mlp(
    X: Array,
    n_components: int,
    *,
    width: int = 256,
    depth: int = 2,
    activation: Literal["relu", "gelu", "tanh"] = "relu",
) -> torch.nn.Module:
    """A multi-layer perceptron on standardised features: `depth` hidden layers of `width`, then a linear one."""
    for name, value, low in (("width", width, 1), ("depth", depth, 0)):
        if value < low:
            raise DataError(f"{name} must be at least {low}, got {value}")
    layers: list[torch.nn.Module] = [Standardise(X)]
    size = X.shape[1]
    for _ in range(depth):
        layers += [torch.nn.Linear(size, width), ACTIVATIONS[activation]()]
        size = width
    layers.append(torch.nn.Linear(size, n_components))
    return torch.nn.Sequential(*layers)


class Network(Encoder):
    """z = f(x), f a copy of a module; x (D,) a row of X, or a kernel's features of it.

    kind: dtype and device of Z and of the loss. dtype: of the parameters, None for the module's own; autocast: the
    type that f computes in, None for that of its parameters. Submodules keep their modes: what came in eval mode stays.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        method: Method,
        X: Array,
        features: FeatureMap | None,
        K: int,
        *,
        device: torch.device,
        dtype: torch.dtype | None,
        autocast: torch.dtype | None,
        random: Randomness,
    ) -> None:
        if not module.training:
            raise DataError(
                "the encoder is in eval mode, in which dropout and batch norm are frozen; call encoder.train() on it "
                "(its parts may stay in eval mode)"
            )
        self.method, self.X, self.features, self.K = method, X, features, K
        self.random, self.autocast = random, autocast
        try:
            net = copy.deepcopy(module).to(device) if dtype is None else copy.deepcopy(module).to(device, dtype)
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(
                f"the encoder cannot be copied to {device}, and training works on a copy: {_first(error)}"
            ) from error
        self.network = net
        first = next(iter(net.parameters()), None)
        if first is None:
            raise DataError("the encoder has no parameters: there is nothing to train")
        self.device, self.input_dtype = device, first.dtype if first.is_floating_point() else torch.float32
        self.modes = [(m, m.training) for m in net.modules()]
        with self.evaluating(), torch.no_grad(), random():  # lazy layers take their shapes
            self._forward(np.arange(min(2, len(X))))
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        if not self.parameters:
            raise DataError("no parameter of the encoder requires a gradient: there is nothing to train")
        coarse = self.input_dtype in (torch.float16, torch.bfloat16)
        self.kind = {"dtype": torch.float32 if coarse else self.input_dtype, "device": device}

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """The network in eval mode."""
        assert self.network is not None
        self.network.eval()
        try:
            yield
        finally:
            for part, training in self.modes:
                part.training = training

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        """What is evaluated inside leaves no trace in running averages and random numbers."""
        assert self.network is not None
        state, held = self.random.state, [(p._buffers, dict(p._buffers)) for p in self.network.modules()]
        before = [(b, b.clone()) for b in self.network.buffers()]
        try:
            yield
        finally:
            self.random.state = state
            for buffers, tensors in held:  # a module may put another tensor in the place of one
                buffers.clear()
                buffers.update(tensors)
            with torch.no_grad():
                for buffer, values in before:
                    buffer.copy_(values)

    def has(self, kinds: tuple[type, ...]) -> bool:
        """Whether a part in training mode is of one of these kinds."""
        assert self.network is not None
        return any(isinstance(part, kinds) and part.training for part in self.network.modules())

    def rows(self, index: Any = None) -> torch.Tensor:
        with self.random():
            if self.autocast is None:
                Z = self._forward(index)
            else:
                with torch.autocast(self.device.type, dtype=self.autocast):
                    Z = self._forward(index)
        if torch.is_grad_enabled() and not Z.requires_grad:
            raise DataError(
                "what the encoder gives does not depend on its parameters: it is detached from them, computed under "
                "no_grad, or a constant"
            )
        return Z.to(**self.kind)

    def probe(self, n: int, *, replay: bool) -> tuple[bool, bool]:
        """Whether the first n rows are the same at a second evaluation, and whether buffers stay as they are.

        replay: with the random numbers of the first again. A buffer that is written to does not stay, even where the
        same numbers come back: a power iteration at its fixed point moves again with the next weights.
        """
        assert self.network is not None
        with self.untouched(), torch.no_grad():
            state, buffers = self.random.state, list(self.network.buffers())
            before, written = [b.clone() for b in buffers], [(id(b), b._version) for b in buffers]
            first = self.rows(np.arange(n))
            if replay:
                self.random.state = state
            again = self.rows(np.arange(n))
            after = list(self.network.buffers())
            kept = written == [(id(b), b._version) for b in after] and all(map(torch.equal, before, after))
        rounding = torch.finfo(self.autocast or self.input_dtype).eps ** 0.5
        return torch.allclose(first, again, rtol=0, atol=rounding * float(first.abs().max()), equal_nan=True), kept

    def _forward(self, index: Any) -> torch.Tensor:
        rows = self.X if index is None else self.X[index]
        return forward(self.network, rows, self.K, self.device, self.input_dtype)

    def embedding(self, graph: Graph) -> Embedding:
        assert self.network is not None
        n_inputs = self.X.shape[1] if self.features is None else self.features.n_inputs
        with self.evaluating(), self.untouched(), self.random():
            Z = apply(self.network, self.X, self.K, self.device, self.input_dtype)
            if not np.all(np.isfinite(Z)):
                raise NumericalError(
                    "the network gives NaN or infinite values; lower the learning rate, or standardise the features"
                )
            scale = Scale.of(self.method, Z, graph)
            found = NetworkMap(self.network, self.features, n_inputs, scale, self.device, self.input_dtype)
        return Embedding(Z=scale.rows(scale.columns(Z)), extension=found)


@dataclass(frozen=True, eq=False)
class NetworkMap:
    """z(x) = rows((f(x) - mean) scale): a trained network, brought to the scale of the optimum, for new samples."""

    network: torch.nn.Module
    features: FeatureMap | None
    n_inputs: int
    scale: Scale
    device: torch.device
    dtype: torch.dtype

    def __call__(self, X: Any) -> Array:
        X = as_rows(X, self.n_inputs)
        X = X if self.features is None else self.features(X)
        modes = [(part, part.training) for part in self.network.modules()]
        self.network.eval()
        try:
            Z = apply(self.network, X, self.scale.mean.size, self.device, self.dtype)
        finally:
            for part, training in modes:
                part.training = training
        return self.scale.rows(self.scale.columns(Z))


def apply(network: Any, X: Array, K: int, device: torch.device, dtype: torch.dtype) -> Array:
    """f(X) (N, K) in float64, block by block of rows."""
    Z = np.empty((X.shape[0], K))
    with torch.no_grad():
        for start in range(0, X.shape[0], BLOCK):
            block = slice(start, start + BLOCK)
            Z[block] = forward(network, X[block], K, device, dtype).double().cpu().numpy()
    return Z


def forward(network: Any, rows: Array, K: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """f of rows (n, D). Raises DataError where the network fails, or gives anything but real numbers (n, K)."""
    x = torch.tensor(np.asarray(rows), dtype=dtype, device=device)
    try:
        Z = network(x)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a user's module raises
        raise DataError(
            f"the encoder fails on {tuple(x.shape)} {x.dtype} rows on {device}: {type(error).__name__}: "
            f"{_first(error)}; "
            "it must map (B, D) to (B, K): images are given as rows, unflatten them inside"
        ) from error
    if not isinstance(Z, torch.Tensor) or not Z.is_floating_point() or tuple(Z.shape) != (x.shape[0], K):
        came = f"{Z.dtype} of shape {tuple(Z.shape)}" if isinstance(Z, torch.Tensor) else type(Z).__name__
        raise DataError(f"the encoder gives {came} for {x.shape[0]} rows, expected real numbers ({x.shape[0]}, {K})")
    return Z


def check_parts(network: Network, *, search: bool, chunk: int | None) -> None:
    """Refuse a network whose loss is another at every evaluation of a search, or that is another in chunks."""
    batch_norm = network.has(BATCH_NORMS)
    if batch_norm and chunk is not None:
        raise DataError(
            "batch norm mixes the rows of a batch, so that chunks of it are another network; leave chunk_size out, use "
            "group or layer norm, or put the batch norms in eval mode"
        )
    if search or chunk is not None:
        same, kept = network.probe(min(len(network.X), chunk or BLOCK), replay=not search)
        if not same and search:
            raise DataError(
                "the encoder gives other rows at a second evaluation with the same parameters (dropout, noise, or a "
                "state of its own), which a line search cannot follow; train with adam, sgd or lars, or put that part "
                "in eval mode"
            )
        if chunk is not None and not (same and kept):
            raise DataError(
                "the encoder changes its buffers, or draws random numbers that are not torch's, at every evaluation, "
                "so that chunks of a batch are another network; leave chunk_size out, or put that part in eval mode"
            )
    if not batch_norm:
        return
    if search:
        warnings.warn(
            "batch norm trains on the statistics of all rows and embeds by running averages of them: after few "
            "evaluations the embedding is not the one trained",
            SpectralWarning,
            stacklevel=4,
        )


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


ENCODERS: dict[str, Callable[..., torch.nn.Module | None]] = {"linear": linear, "mlp": mlp}
