"""ResNet-18 for small images, and the projector in front of a contrastive loss.

Source: He, Zhang, Ren & Sun 2016 (arXiv 1512.03385), table 1, with the identity shortcuts and, where shapes change,
1 x 1 convolutions. Two stems: "small", a 3 x 3 convolution of stride 1 and no pooling, for images of 32 pixels;
"large", the published 7 x 7 of stride 2 and a 3 x 3 max pooling of stride 2.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from spectral_ssl.errors import DataError

__all__ = ["STEMS", "ResNet18", "Stem", "projector"]

Stem = Literal["small", "large"]
STEMS: tuple[Stem, ...] = ("small", "large")
STAGES = (1, 2, 4, 8)  # channels of a stage, in units of the width; from the second on the image halves
BLOCKS = 2  # of a stage, two convolutions each: 4 * 2 * 2 + the stem + a linear layer that is left out = 18


def convolution(n_in: int, n_out: int, size: int, stride: int) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False)  # a BatchNorm follows


class Block(torch.nn.Module):
    """x -> relu(F(x) + shortcut(x)), F = BN conv3 relu BN conv3."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = torch.nn.Sequential(convolution(n_in, n_out, 3, stride), torch.nn.BatchNorm2d(n_out))
        self.second = torch.nn.Sequential(convolution(n_out, n_out, 3, 1), torch.nn.BatchNorm2d(n_out))
        self.shortcut: torch.nn.Module = torch.nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = torch.nn.Sequential(convolution(n_in, n_out, 1, stride), torch.nn.BatchNorm2d(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.second(torch.relu(self.first(x))) + self.shortcut(x)
        return torch.relu(found)


class ResNet18(torch.nn.Module):
    """Images (B, 3, side, side) in 0 .. 1 to features (B, 8 width), averaged over what is left of the image.

    mean, deviation: of the channels; inputs are brought to mean 0 and variance 1 by them.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, *, width: int = 64, stem: Stem = "small", mean: Any = 0.5, deviation: Any = 0.25) -> None:
        super().__init__()
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise DataError(f"width, the channels of the first stage, must be at least 1, got {width!r}")
        if stem not in STEMS:
            raise DataError(f"stem must be one of {', '.join(map(repr, STEMS))}, got {stem!r}")
        for name, value in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(
                name, torch.as_tensor(value, dtype=torch.float32).expand(3).reshape(1, 3, 1, 1).clone()
            )
        first = [convolution(3, width, 3, 1) if stem == "small" else convolution(3, width, 7, 2)]
        layers: list[torch.nn.Module] = [*first, torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
        if stem == "large":
            layers.append(torch.nn.MaxPool2d(3, 2, padding=1))
        n_in = width
        for place, times in enumerate(STAGES):
            for block in range(BLOCKS):
                n_out = times * width
                layers.append(Block(n_in, n_out, 2 if place and not block else 1))
                n_in = n_out
        self.layers = torch.nn.Sequential(*layers)
        self.n_features = n_in
        for part in self.modules():
            if isinstance(part, torch.nn.Conv2d):  # He et al. 2015: the variance of a relu layer is kept going back
                torch.nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers((x - self.mean) / self.deviation)
        return found.mean(dim=(2, 3))


def projector(n_features: int, *, hidden: int = 512, n_outputs: int = 128) -> torch.nn.Module:
    """linear -> BatchNorm without scale and shift -> relu -> linear."""
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, hidden),
        torch.nn.BatchNorm1d(hidden, affine=False),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, n_outputs),
    )
