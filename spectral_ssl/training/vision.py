"""Two random views of every image of a batch, as SimCLR makes them, the whole batch at once (the extra "vision").

    crop of 8 to 100 % of the area, sides 3:4 to 4:3, back to full size     always
    mirrored left to right                                                    half of the time
    brightness, contrast, saturation, hue, in an order drawn per batch        4 of 5 times
    grey                                                                      1 of 5 times
    blurred, sigma 0.1 to 2, over a tenth of the side (on STL-10)             half of the time

Source: Chen, Kornblith, Norouzi & Hinton 2020 (arXiv 2002.05709), appendix A, with the strengths (0.4, 0.4, 0.4, 0.1)
on CIFAR and (0.8, 0.8, 0.8, 0.2) on STL-10, and blur on STL-10 alone. Whether a thing is done, and how strongly, is
drawn for each image; numbers are drawn on the processor, so that a seed gives the same views on every device. Pixels
are moved by kornia.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spectral_ssl.errors import DataError
from spectral_ssl.training.networks import Randomness

__all__ = ["AUGMENTATIONS", "Augmentation", "as_images", "check_kornia"]

AREA, RATIO, SIGMA = (0.08, 1.0), (3 / 4, 4 / 3), (0.1, 2.0)


@dataclass(frozen=True)
class Augmentation:
    """How strongly views differ.

    jitter: of brightness, contrast, saturation and hue. p_jitter, p_grey, p_flip, p_blur: how often. area: least share
    of the image that a crop keeps.
    """

    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    p_jitter: float = 0.8
    p_grey: float = 0.2
    p_flip: float = 0.5
    p_blur: float = 0.0
    area: float = AREA[0]

    def __post_init__(self) -> None:
        for name in ("p_jitter", "p_grey", "p_flip", "p_blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} must be a probability, got {getattr(self, name)!r}")
        if not 0 < self.area <= 1:
            raise DataError(
                f"area, the least share of an image that a crop keeps, must be in (0, 1], got {self.area!r}"
            )
        if len(self.jitter) != 4 or min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise DataError(f"jitter must be four numbers >= 0, the last of hue and at most 0.5, got {self.jitter!r}")

    def of(self, side: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """One view of each image of a batch (B, 3, side, side) in 0 .. 1, drawn by torch's random numbers."""
        return functools.partial(_applied, _parts(self, side))

    def views(self, images: torch.Tensor, seed: int) -> torch.Tensor:
        """Two views (2B, 3, side, side) of a batch of images, the first of all, then the second; by a seed."""
        view = self.of(images.shape[-1])
        with torch.no_grad(), Randomness(seed, images.device)():
            return torch.cat([view(images), view(images)])


def check_kornia() -> Any:
    """kornia.augmentation. Raises DataError where kornia is not installed."""
    try:
        import kornia.augmentation as found
    except ImportError as error:
        raise DataError(
            f"views of colour images are made by kornia, which cannot be imported ({error}): "
            "pip install 'spectral_ssl[vision]'"
        ) from None
    return found


@functools.lru_cache(maxsize=8)
def _parts(a: Augmentation, side: int) -> tuple[Callable[[torch.Tensor], torch.Tensor], ...]:
    k = check_kornia()
    size = (side, side)
    # "resample" crops the whole batch in one kernel; "slice" would take the images one by one
    parts = [k.RandomResizedCrop(size, scale=(a.area, AREA[1]), ratio=RATIO, cropping_mode="resample")]
    if a.p_flip:
        parts.append(k.RandomHorizontalFlip(p=a.p_flip))
    if a.p_jitter and any(a.jitter):
        parts.append(k.ColorJitter(*a.jitter, p=a.p_jitter))
    if a.p_grey:
        parts.append(k.RandomGrayscale(p=a.p_grey))
    if a.p_blur:
        width = max(3, side // 10 // 2 * 2 + 1)  # the odd number at a tenth of the side
        parts.append(k.RandomGaussianBlur((width, width), SIGMA, p=a.p_blur))
    return tuple(parts)


def _applied(parts: tuple[Callable[[torch.Tensor], torch.Tensor], ...], images: torch.Tensor) -> torch.Tensor:
    for part in parts:
        images = part(images)
    return images


def as_images(found: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """Bytes (N, height, width, 3) as a tensor of bytes (N, 3, height, width) on a device."""
    return torch.as_tensor(found).to(device).permute(0, 3, 1, 2)


AUGMENTATIONS: dict[str, Augmentation] = {  # by image set
    "cifar10": Augmentation(),
    "cifar100": Augmentation(),
    "stl10": Augmentation(jitter=(0.8, 0.8, 0.8, 0.2), p_blur=0.5),
}
