"""How good features are: a linear classifier on them, and the two ways in which its best epoch is chosen.

    selected     trained without a tenth of the training rows, and taken at the epoch that is best on these: the test
                 rows are looked at once
    published    trained on all training rows, and the best accuracy on the test rows over the epochs, as alpha-CL's
                 public code does. A maximum over looks at the test rows is optimistic about new ones

Both on features brought to mean 0 and variance 1, by the rows that are trained on.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from spectral_ssl.data._checks import check_int
from spectral_ssl.data.image_sets import Codes
from spectral_ssl.embedding import Array
from spectral_ssl.errors import DataError
from spectral_ssl.training.networks import Randomness

__all__ = ["ImageProbe", "probe_features"]

HELD = 0.1  # of the training rows, on which the epoch is chosen
RATE, DECAY, BATCH = 3e-4, 1e-3, 128  # of Adam


@dataclass(frozen=True)
class ImageProbe:
    """selected, published: accuracies on the test rows, see above, and their epochs, counted from 1.

    held_out: accuracy on the rows held out, at the selected epoch. last: on the test rows, after all epochs, of the
    probe that is trained on all rows.
    """

    selected: float
    selected_epoch: int
    held_out: float
    published: float
    published_epoch: int
    last: float


def probe_features(
    Z: Array,  # (N, D)
    y: Codes,  # (N,)
    Z_test: Array,  # (M, D)
    y_test: Codes,  # (M,)
    n_classes: int,
    *,
    epochs: int = 50,
    seed: int = 0,
    device: torch.device | None = None,
) -> ImageProbe:
    """Both probes. Raises DataError for fewer than two rows, or of one class."""
    check_int(epochs, "probe_epochs", low=1)
    if len(Z) < 2 or np.unique(y).size < 2:
        raise DataError(f"a linear probe needs two classes among its training rows, got {np.unique(y).size}; take more")
    where = device or torch.device("cpu")
    order = np.random.default_rng((seed, 3)).permutation(len(Z))
    n_held = max(1, round(HELD * len(Z)))
    held, kept = order[:n_held], order[n_held:]
    few = threadpool_limits(1) if where.type == "cpu" else contextlib.nullcontext()
    with few:  # threads that wait for each other cost more than products as small as these
        on_held, on_test = _curves(
            Z[kept], y[kept], [(Z[held], y[held]), (Z_test, y_test)], n_classes, epochs, seed, where
        )
        (looked,) = _curves(Z, y, [(Z_test, y_test)], n_classes, epochs, seed, where)
    best = int(np.argmax(on_held))  # the first of equals
    top = int(np.argmax(looked))
    return ImageProbe(
        selected=float(on_test[best]),
        selected_epoch=best + 1,
        held_out=float(on_held[best]),
        published=float(looked[top]),
        published_epoch=top + 1,
        last=float(looked[-1]),
    )


def _curves(
    Z: Array,
    y: Codes,
    judges: list[tuple[Array, Codes]],
    n_classes: int,
    epochs: int,
    seed: int,
    device: torch.device,
) -> list[Array]:
    """Accuracy on each of the judges after every epoch, (epochs,) each."""
    mean, spread = Z.mean(axis=0), Z.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def rows(A: Array) -> torch.Tensor:
        return torch.as_tensor((A - mean) / spread, dtype=torch.float32, device=device)

    def codes(values: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.int64, device=device)

    x, target = rows(Z), codes(y)
    shown = [(rows(A), codes(b)) for A, b in judges]
    with Randomness(seed, device)():
        model = torch.nn.Linear(Z.shape[1], n_classes).to(device)
        engine = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
        found = np.empty((len(judges), epochs))
        for epoch in range(epochs):
            for batch in torch.randperm(len(x)).to(device).split(BATCH):
                engine.zero_grad(set_to_none=True)
                torch.nn.functional.cross_entropy(model(x[batch]), target[batch]).backward()
                engine.step()
            with torch.no_grad():
                for place, (A, b) in enumerate(shown):
                    found[place, epoch] = float((model(A).argmax(dim=1) == b).double().mean())
    return list(found)
