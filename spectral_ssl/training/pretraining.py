"""An encoder trained without labels by a rule for the pair importance alpha, on two views of every image of a batch.

Of the 2B unit rows z of a batch (Contrast, views="two"), theta takes a step up

    E_alpha = (1 / 2B) sum_ij alpha_ij (d_ij^2 - d_i^2),     d^2 = 1 - cos,     alpha = rule(d^2) held constant,

which for the rule of a loss is the step down that loss over 2B (the gradient theorem). A step of InfoNCE is tau times
the step of the usual cross entropy on cos / tau: Adam does not see the factor, SGD's learning rate does. through=True
lets the gradient through alpha as well, which is another direction.

Every step draws from a seed of its own, made of the run's seed and the number of the step: a checkpoint holds the
parameters and the optimizer, and a run that goes on is bit for bit the one that was not stopped (on one machine, with
one number of threads; CUDA's convolutions may add in another order each time).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from spectral_ssl import spec
from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.hardness import effective_negatives
from spectral_ssl.alpha_cl.rules import AlphaRule
from spectral_ssl.data._checks import check_int, check_real
from spectral_ssl.data.image_sets import Bytes
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError, NumericalError
from spectral_ssl.training.checkpoint import Checkpoint, digest, pack, unpack
from spectral_ssl.training.networks import Randomness
from spectral_ssl.training.optimizers import OPTIMIZERS, SCHEDULES, SEARCHES
from spectral_ssl.training.problem import find_device
from spectral_ssl.training.resnet import ResNet18, Stem, projector
from spectral_ssl.training.stochastic import held_interrupts
from spectral_ssl.training.vision import Augmentation, as_images, check_kornia

__all__ = ["Precision", "Pretraining", "Settings", "pair_objective", "pretrain"]

Precision = Literal["auto", "float32", "bfloat16"]
SAVE_SECONDS = 60.0  # between checkpoints within an epoch, and 20 times what one takes
BLOCK = 512  # images embedded at once


@dataclass(frozen=True)
class Settings:
    """How it is trained. schedule: by epoch. precision: "auto" is bfloat16 on CUDA, float32 elsewhere."""

    epochs: int = 100
    batch_size: int = 128
    optimizer: str = "adam"
    learning_rate: float = 0.01
    schedule: str = "cosine"
    width: int = 64
    stem: Stem = "small"
    hidden: int = 512
    n_outputs: int = 128
    augmentation: Augmentation = field(default_factory=Augmentation)
    through: bool = False
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        check_int(self.epochs, "epochs", low=1)
        check_int(self.batch_size, "batch_size", low=2)
        check_int(self.hidden, "hidden", low=1)
        check_int(self.n_outputs, "n_outputs", low=1)
        check_real(self.learning_rate, "learning_rate", low=0, open_low=True)
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise DataError(f"precision must be 'auto', 'float32' or 'bfloat16', got {self.precision!r}")
        self.engine([torch.zeros(1, requires_grad=True)])
        self.rate(0)

    def engine(self, parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
        name, options = spec.parse_call(self.optimizer)
        if name in SEARCHES:
            raise DataError(f"optimizer={self.optimizer!r} works on all images at once; take adam, sgd or lars")
        return spec.bind(OPTIMIZERS, name, options, kind="optimizer")(parameters, self.learning_rate)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch."""
        factor = spec.bind(SCHEDULES, *spec.parse_call(self.schedule), kind="schedule")
        return self.learning_rate * float(factor(epoch, self.epochs))

    def half(self, device: torch.device) -> bool:
        """Whether the network computes in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and device.type == "cuda")


def pair_objective(
    Z: torch.Tensor, rule: AlphaRule, contrast: Contrast, *, through: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """-E_alpha over the number of anchors, for unit rows Z (2B, K), and alpha (n, m) detached.

    through: the gradient goes through alpha too; the value is the same.
    """
    negative, positive = contrast.distances(Z)
    if through:
        alpha = rule.weigh(negative, positive)
    else:
        with torch.no_grad():
            alpha = rule.weigh(negative.detach(), positive.detach())
    value: torch.Tensor = (alpha * (positive[:, None] - negative)).sum() / contrast.n_anchors
    return value, alpha.detach()


class Pretraining:
    """A run in progress: `run(until)` trains to an epoch, `features` embeds images as it is then."""

    def __init__(
        self,
        images: Bytes,  # (N, side, side, 3)
        rule: AlphaRule,
        settings: Settings,
        *,
        device: torch.device,
        checkpoint: str | Path | None = None,
    ) -> None:
        check_kornia()
        if len(images) < settings.batch_size:
            raise DataError(
                f"a batch of batch_size={settings.batch_size} images, and there are {len(images)}; take smaller batches"
            )
        self.rule, self.settings, self.device = rule, settings, device
        self.images = as_images(images, device)
        self.contrast = Contrast.of(settings.batch_size)
        mean, deviation = _channels(images)
        with Randomness(settings.seed, device)():
            encoder = ResNet18(width=settings.width, stem=settings.stem, mean=mean, deviation=deviation)
            head = projector(encoder.n_features, hidden=settings.hidden, n_outputs=settings.n_outputs)
        self.layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.encoder = encoder.to(device=device, memory_format=self.layout)  # type: ignore[call-overload]
        self.projector = head.to(device)
        self.parameters = [*self.encoder.parameters(), *self.projector.parameters()]
        self.engine = settings.engine(self.parameters)
        self.steps_per_epoch = len(images) // settings.batch_size
        self.steps = 0
        self.losses: list[float] = []  # of every step: -E_alpha over the anchors, at the alpha of the step
        self.negatives: list[
            float
        ] = []  # of every step: how many count, exp of the entropy of alpha, mean over anchors
        self.seconds = 0.0
        self.checkpoint = None if checkpoint is None else Checkpoint(checkpoint, self._identity(images))
        if self.checkpoint is not None and (found := self.checkpoint.load()) is not None:
            self._restore(*found)

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.steps // self.steps_per_epoch

    def run(self, until: int, tell: Callable[[int, float], None] = lambda steps, loss: None) -> None:
        """Train until so many epochs are done. tell(step, loss) is called after every step."""
        started = saved = time.perf_counter()
        before = self.seconds
        whole = True
        try:
            with held_interrupts() as let:
                while self.epoch < until:
                    whole = False  # a step half done is not for a checkpoint
                    value = self._step()
                    whole = True
                    self.seconds = before + time.perf_counter() - started
                    let()
                    tell(self.steps, value)
                    if self.checkpoint is not None and time.perf_counter() - saved > SAVE_SECONDS:
                        began = time.perf_counter()
                        self.save()
                        saved = time.perf_counter() + max(0.0, 20 * (time.perf_counter() - began) - SAVE_SECONDS)
        except BaseException:
            if whole:
                self.save()
            raise
        self.save()

    def _step(self) -> float:
        s = self.settings
        epoch, place = divmod(self.steps, self.steps_per_epoch)
        order = np.random.default_rng((s.seed, 1, epoch)).permutation(len(self.images))
        rows = torch.as_tensor(order[place * s.batch_size : (place + 1) * s.batch_size], device=self.device)
        views = s.augmentation.views(self.images[rows].float() / 255.0, _seed(s.seed, self.steps))
        self.encoder.train()
        self.projector.train()
        Z = self._embedded(views)
        if not bool(torch.isfinite(Z.detach()).all()):
            raise NumericalError(
                f"the embedding became NaN or infinite after {self.steps} steps at learning rate "
                f"{s.rate(epoch):.3g}; lower it, say to {s.learning_rate / 10:.1g}"
            )
        value, alpha = pair_objective(Z, self.rule, self.contrast, through=s.through)
        self.engine.zero_grad(set_to_none=True)
        value.backward()
        for group in self.engine.param_groups:
            group["lr"] = s.rate(epoch)
        self.engine.step()
        self.steps += 1
        self.losses.append(float(value.detach()))
        self.negatives.append(float(effective_negatives(alpha).mean()))
        return self.losses[-1]

    def _embedded(self, views: torch.Tensor) -> torch.Tensor:
        """Unit rows (2B, K) in float32, of views (2B, 3, side, side)."""
        views = views.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.settings.half(self.device)):
            Z = self.projector(self.encoder(views))
        return torch.nn.functional.normalize(Z.float(), dim=1)

    def features(self, images: Bytes) -> Array:
        """What the encoder gives for images as they are, (N, 8 width); batch norms use their running averages."""
        found = np.empty((len(images), self.encoder.n_features), dtype=np.float32)
        self.encoder.eval()
        half = self.settings.half(self.device)
        with torch.no_grad(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            for start in range(0, len(images), BLOCK):
                block = as_images(images[start : start + BLOCK], self.device).float() / 255.0
                found[start : start + BLOCK] = self.encoder(block.contiguous(memory_format=self.layout)).float().cpu()
        if not np.isfinite(found).all():
            raise NumericalError("the encoder gives NaN or infinite features; lower the learning rate")
        return found

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def _identity(self, images: Bytes) -> dict[str, Any]:
        """What decides the steps."""
        s = self.settings
        kept = {name: getattr(s, name) for name in Settings.__dataclass_fields__ if name != "augmentation"}
        return {
            "rule": repr(self.rule),
            "augmentation": repr(s.augmentation),
            **kept,
            "precision": "bfloat16" if s.half(self.device) else "float32",
            "images": digest(images),
            "device": self.device.type,
        }

    def _tensors(self) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for part, module in (("encoder", self.encoder), ("projector", self.projector)):
            found |= {f"{part}.{name}": t for name, t in module.state_dict(keep_vars=True).items()}
        return found

    def save(self) -> None:
        if self.checkpoint is None:
            return
        tensors = self._tensors()
        for n, p in enumerate(self.parameters):
            held: Mapping[str, Any] = self.engine.state.get(p, {})
            tensors |= {f"optimizer.{n}.{key}": v for key, v in held.items() if isinstance(v, torch.Tensor)}
        told = {"losses": np.asarray(self.losses), "negatives": np.asarray(self.negatives)}
        self.checkpoint.save(self.steps, {"steps": self.steps, "seconds": self.seconds}, {**pack(tensors), **told})

    def _restore(self, state: dict[str, Any], arrays: dict[str, Any]) -> None:
        try:
            self.steps, self.seconds = int(state["steps"]), float(state["seconds"])
            self.losses, self.negatives = (arrays[name].astype(float).tolist() for name in ("losses", "negatives"))
            unpack(arrays, self._tensors())
            for n, p in enumerate(self.parameters):
                begin = f"optimizer.{n}."
                held = {k.removeprefix(begin): torch.as_tensor(a) for k, a in arrays.items() if k.startswith(begin)}
                # a count of steps stays on the processor, as torch keeps it
                self.engine.state[p] = {k: t.clone() if t.ndim == 0 else t.to(p) for k, t in held.items()}
        except (KeyError, TypeError, ValueError) as error:  # written whole, as its digest tells, but by something else
            raise DataError(f"the checkpoint is corrupted ({error!r}); delete it") from error


def pretrain(
    images: Bytes,
    rule: AlphaRule,
    settings: Settings | None = None,
    *,
    device: str | None = None,
    checkpoint: str | Path | None = None,
) -> Pretraining:
    """Train through all epochs of the settings; what is returned embeds images. See `Pretraining`."""
    chosen = settings or Settings()
    run = Pretraining(images, rule, chosen, device=find_device(device), checkpoint=checkpoint)
    run.run(chosen.epochs)
    return run


def _seed(seed: int, step: int) -> int:
    """A seed of its own for every step of every run."""
    return int(np.random.SeedSequence((seed, 2, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _channels(images: Bytes) -> tuple[Array, Array]:
    """Mean and deviation of the channels in 0 .. 1, by the counts of the 256 values."""
    values = np.arange(256) / 255.0
    counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)])  # (3, 256)
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    spread = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return mean, np.where(spread > 0, spread, 1.0)
