"""alpha-CL on images: the network, the views, the steps, the probes, and the commands on files as published."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import write_cifar10, write_cifar100, write_stl10

from spectral_ssl.alpha_cl import Contrast, DirectRule, EntropyRule, Nce, PowerRule, SparseRule, UniformRule
from spectral_ssl.cli import main
from spectral_ssl.data import read_dataset
from spectral_ssl.data.image_sets import IMAGE_SETS, read_image_set
from spectral_ssl.errors import DataError, ResourceError
from spectral_ssl.experiments.reproduce import images as commands
from spectral_ssl.training import image_probe, vision
from spectral_ssl.training.image_probe import probe_features
from spectral_ssl.training.pretraining import Pretraining, Settings, pair_objective, pretrain
from spectral_ssl.training.resnet import ResNet18, projector
from spectral_ssl.training.vision import AUGMENTATIONS, Augmentation

SAME = 1e-10  # gradients by two roads in float64
SINGLE = 2e-4  # and in float32, through 18 layers
ERRORS = 4.5  # standard errors: of thirty shares one in five thousand is further off
CPU = torch.device("cpu")
TINY: dict[str, Any] = {"batch_size": 4, "width": 2, "hidden": 6, "n_outputs": 4, "learning_rate": 0.02}
PLAIN: dict[str, float] = {"p_jitter": 0.0, "p_grey": 0.0, "p_flip": 0.0, "area": 1.0}


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


# --- the network ------------------------------------------------------------------------------------------------------


def n_parameters(width: int, stem: int) -> int:
    """By hand: convolutions without bias, two numbers per channel of each BatchNorm."""
    total, n_in = stem**2 * 3 * width + 2 * width, width
    for times in (1, 2, 4, 8):
        n = times * width
        total += 9 * n_in * n + 2 * n + 9 * n * n + 2 * n + (n_in * n + 2 * n if n != n_in else 0)
        total += 2 * (9 * n * n + 2 * n)
        n_in = n
    return total


def test_resnet_18_has_the_parameters_of_the_published_one() -> None:
    assert n_parameters(64, 7) == 11_689_512 - (512 * 1000 + 1000), "the published 11.69 M less its last layer"
    for stem, size in (("small", 3), ("large", 7)):
        for width in (3, 8):
            assert sum(p.numel() for p in ResNet18(width=width, stem=stem).parameters()) == n_parameters(width, size)


@pytest.mark.parametrize(("stem", "side", "left"), [("small", 32, 4), ("large", 96, 3), ("small", 96, 12)])
def test_the_stems_leave_an_eighth_or_a_thirty_second_of_the_side(stem: Any, side: int, left: int) -> None:
    net = ResNet18(width=2, stem=stem)
    assert net.layers(torch.zeros(1, 3, side, side)).shape == (1, 16, left, left)
    assert net(torch.zeros(2, 3, side, side)).shape == (2, net.n_features) == (2, 16)


def test_a_resnet_is_its_blocks_one_by_one() -> None:
    torch.manual_seed(0)
    net = ResNet18(width=2, mean=[0.4, 0.5, 0.6], deviation=[0.2, 0.3, 0.1])
    x = torch.rand(3, 3, 32, 32)
    found = net(x)
    weights = list(net.parameters())

    def conv_norm(h: torch.Tensor, size: int, stride: int) -> torch.Tensor:
        w, scale, shift = (weights.pop(0) for _ in range(3))
        assert w.shape[2] == size
        h = torch.nn.functional.conv2d(h, w, stride=stride, padding=size // 2)
        mean, spread = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), correction=0, keepdim=True).add(1e-5).sqrt()
        return (h - mean) / spread * scale[:, None, None] + shift[:, None, None]

    h = (x - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.2, 0.3, 0.1])[:, None, None]
    h = conv_norm(h, 3, 1).relu()
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and not block else 1
            inner = conv_norm(conv_norm(h, 3, stride).relu(), 3, 1)
            h = (inner + (conv_norm(h, 1, stride) if stride == 2 else h)).relu()
    assert not weights
    torch.testing.assert_close(found, h.mean((2, 3)), atol=SINGLE, rtol=SINGLE)
    head = projector(16, hidden=5, n_outputs=3)
    assert [tuple(p.shape) for p in head.parameters()] == [(5, 16), (5,), (3, 5), (3,)], (
        "BatchNorm without scale, shift"
    )


# --- the views --------------------------------------------------------------------------------------------------------


def near(found: np.ndarray, expected: float, spread: float) -> bool:
    """The mean of independent draws, within ERRORS standard errors."""
    return abs(found.mean() - expected) <= ERRORS * spread / np.sqrt(found.size)


def drawn(augmentation: Augmentation, x: torch.Tensor, times: int = 1) -> np.ndarray:
    return torch.cat([augmentation.views(x, seed) for seed in range(times)]).numpy()


def test_the_strengths_are_simclrs_and_stl10_alone_is_blurred() -> None:
    for name in ("cifar10", "cifar100"):
        assert AUGMENTATIONS[name].jitter == (0.4, 0.4, 0.4, 0.1)
        assert AUGMENTATIONS[name].p_blur == 0
    assert AUGMENTATIONS["stl10"].jitter == (0.8, 0.8, 0.8, 0.2)
    assert AUGMENTATIONS["stl10"].p_blur == 0.5
    for found in AUGMENTATIONS.values():
        assert (found.p_jitter, found.p_grey, found.p_flip, found.area) == (0.8, 0.2, 0.5, 0.08)
    assert AUGMENTATIONS.keys() == IMAGE_SETS.keys()


def test_crops_have_the_areas_and_ratios_that_are_asked_for() -> None:
    side, n = 32, 600
    ramp = torch.linspace(0, 1, side)
    x = torch.stack([ramp.expand(side, side), ramp.expand(side, side).T, torch.zeros(side, side)]).expand(n, -1, -1, -1)
    views = drawn(Augmentation(p_jitter=0, p_grey=0, p_flip=0), x)
    width, height = (np.ptp(views[:, c], axis=(1, 2)) * (side - 1) + 1 for c in (0, 1))
    rng, naive = np.random.default_rng(0), []
    while len(naive) < 4000:  # ten tries per image, so that one that does not fit is drawn again
        area, ratio = rng.uniform(0.08, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(side * np.sqrt(area * ratio)), round(side * np.sqrt(area / ratio))
        if 0 < w <= side and 0 < h <= side:
            naive.append((w * h, np.log(w / h)))
    for found, expected in ((width * height, [a for a, _ in naive]), (np.log(width / height), [r for _, r in naive])):
        assert near(found, float(np.mean(expected)), 1.1 * float(np.std(expected)))  # of both means
        assert found.std() == pytest.approx(np.std(expected), rel=0.15)
    assert (width / height).max() < 1.6  # 4 / 3, and rounding to pixels


def test_flips_greys_and_blurs_come_as_often_as_asked_each_image_by_itself() -> None:
    x = torch.zeros(300, 3, 32, 32)
    x[:, 0, :, 20:] = 1.0
    views = drawn(Augmentation(**PLAIN | {"p_flip": 0.5, "p_grey": 0.2}), x)
    flipped = views[:, 0, :, :8].mean((1, 2)) > 0.1
    grey = np.abs(views[:, 0] - views[:, 1]).max((1, 2)) < 1e-6
    assert near(flipped, 0.5, 0.5)
    assert near(grey, 0.2, 0.4)
    assert abs(np.mean(flipped & grey) - 0.1) < 0.06, "independently"
    impulse = torch.zeros(150, 3, 96, 96)
    impulse[:, :, 48, 48] = 1.0
    views = drawn(Augmentation(**PLAIN | {"p_blur": 0.5}), impulse)[:, 0]
    blurred = views.max((1, 2)) < 0.97
    assert near(blurred, 0.5, 0.5)
    np.testing.assert_allclose(views.sum((1, 2)), 1.0, atol=0.06)  # what is moved is kept


def test_jitter_multiplies_brightness_by_a_uniform_factor_four_times_of_five() -> None:
    x = torch.full((500, 3, 8, 8), 0.5)
    factor = drawn(Augmentation(**PLAIN | {"p_jitter": 0.8}, jitter=(0.4, 0, 0, 0)), x)[:, 0, 0, 0] / 0.5
    same = np.abs(factor - 1) < 1e-6
    assert near(same, 0.2, 0.4)
    changed = factor[~same]
    assert near(changed, 1.0, 0.8 / np.sqrt(12))
    assert changed.min() >= 0.6 - 1e-6
    assert changed.max() <= 1.4 + 1e-6
    assert changed.std() == pytest.approx(0.8 / np.sqrt(12), rel=0.1)
    full = drawn(AUGMENTATIONS["stl10"], torch.rand(8, 3, 16, 16))
    assert full.min() >= 0
    assert full.max() <= 1


def test_views_are_of_a_seed_and_leave_the_global_stream_alone() -> None:
    x, a = torch.as_tensor(noise(3)).permute(0, 3, 1, 2) / 255, AUGMENTATIONS["cifar10"]
    before = torch.get_rng_state()
    first = a.views(x, 7)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    assert torch.equal(first, a.views(x, 7))
    assert not torch.equal(first, a.views(x, 8))
    assert not torch.equal(first[:3], first[3:]), "two views of each"
    whole = Augmentation(**PLAIN).views(torch.arange(3.0)[:, None, None, None].expand(3, 3, 4, 4) / 3, 0)
    np.testing.assert_allclose(whole[:, 0, 0, 0], [0, 1 / 3, 2 / 3] * 2, atol=1e-6)  # the first of all, then the second


# --- the objective ----------------------------------------------------------------------------------------------------


def unit(seed: int, n: int = 6, K: int = 4) -> torch.Tensor:
    Z = torch.as_tensor(np.random.default_rng(seed).standard_normal((n, K)))
    return torch.nn.functional.normalize(Z, dim=1)


def slope_of(value: Any, Z: torch.Tensor) -> torch.Tensor:
    Z = Z.clone().requires_grad_(True)
    return torch.autograd.grad(value(Z), Z)[0]


def nt_xent(Z: torch.Tensor, tau: float) -> torch.Tensor:
    """As practice writes it: cross entropy on cos / tau among the other 2B - 1, the positive is the right class."""
    n = len(Z)
    logits = (Z @ Z.T / tau).masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, (torch.arange(n) + n // 2) % n)


@pytest.mark.parametrize("tau", [0.5, 0.1])
def test_the_step_of_infonce_is_tau_times_that_of_nt_xent(tau: float) -> None:
    Z, contrast = unit(0), Contrast.of(3)
    mine = slope_of(lambda Z: pair_objective(torch.nn.functional.normalize(Z, dim=1), Nce(tau), contrast)[0], Z)
    usual = slope_of(lambda Z: nt_xent(torch.nn.functional.normalize(Z, dim=1), tau), Z)
    torch.testing.assert_close(mine, tau * usual, atol=SAME, rtol=SAME)


def naive_energy(Z: np.ndarray, alpha: np.ndarray) -> float:
    """-E_alpha over the anchors, pair by pair; alpha (n, m) in the order of the rows."""
    n, total = len(Z), 0.0
    for i in range(n):
        p = (i + n // 2) % n
        others = [j for j in range(n) if j not in (i, p)]
        for a, j in zip(alpha[i], others, strict=True):
            total += a * ((Z[i] - Z[p]) @ (Z[i] - Z[p]) - (Z[i] - Z[j]) @ (Z[i] - Z[j])) / 2
    return total / n


RULES = [UniformRule(), EntropyRule(0.3), PowerRule(0.3), SparseRule(0.3), DirectRule(4.0, 0.3)]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("through", [False, True])
def test_alpha_is_a_constant_unless_the_gradient_is_let_through(rule: Any, through: bool) -> None:
    Z, contrast, step = unit(1), Contrast.of(3), 1e-6
    alpha = rule.alpha(Z, contrast).numpy()
    found = slope_of(lambda Z: pair_objective(Z, rule, contrast, through=through)[0], Z).numpy()
    expected = np.empty_like(found)
    for place in np.ndindex(found.shape):
        ends = []
        for sign in (1, -1):
            moved = Z.numpy().copy()
            moved[place] += sign * step
            ends.append(naive_energy(moved, rule.alpha(torch.as_tensor(moved), contrast).numpy() if through else alpha))
        expected[place] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(found, expected, atol=1e-8)  # central differences of step 1e-6
    if through and not rule.fixed:
        detached = slope_of(lambda Z: pair_objective(Z, rule, contrast)[0], Z).numpy()
        assert np.abs(found - detached).max() > 1e-3, "another direction"


# --- the steps --------------------------------------------------------------------------------------------------------


def test_a_step_moves_all_parameters_down_the_gradient_of_nt_xent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Augmentation, "views", lambda self, x, seed: torch.cat([x, x.flip(3)]))
    images = noise(4)
    settings = Settings(**TINY | {"optimizer": "sgd", "learning_rate": 0.1, "epochs": 4, "schedule": "cosine"})
    run = Pretraining(images, Nce(0.4), settings, device=CPU)
    for epoch in range(3):
        encoder, head = copy.deepcopy(run.encoder), copy.deepcopy(run.projector)
        x = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255
        Z = torch.nn.functional.normalize(head(encoder(torch.cat([x, x.flip(3)]))), dim=1)
        nt_xent(Z, 0.4).backward()
        rate = 0.1 * (1 + np.cos(np.pi * epoch / 4)) / 2  # of the epoch, one step long
        run.run(epoch + 1)
        for before, after in zip([*encoder.parameters(), *head.parameters()], run.parameters, strict=True):
            step = -rate * 0.4 * before.grad
            torch.testing.assert_close(after - before, step, atol=SINGLE * float(step.abs().max()) + 1e-7, rtol=1e-3)
    mean = images.reshape(-1, 3).mean(0) / 255
    np.testing.assert_allclose(run.encoder.mean.flatten(), mean, rtol=1e-5)
    np.testing.assert_allclose(run.encoder.deviation.flatten(), images.reshape(-1, 3).std(0) / 255, rtol=1e-5)


def test_every_epoch_takes_every_image_once_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None, None], (12, 32, 32, 3)).copy()
    seen: list[list[int]] = []

    def views(self: Augmentation, x: torch.Tensor, seed: int) -> torch.Tensor:
        seen.append((x[:, 0, 0, 0] * 255).round().int().tolist())
        return torch.cat([x, x + 0.1 * torch.rand(x.shape)])

    monkeypatch.setattr(Augmentation, "views", views)
    pretrain(images, UniformRule(), Settings(**TINY, epochs=2))
    epochs = [[n for batch in part for n in batch] for part in (seen[:3], seen[3:])]
    assert [sorted(epoch) for epoch in epochs] == [list(range(12))] * 2
    assert epochs[0] != epochs[1] != list(range(12))


def test_a_run_that_goes_on_is_bit_for_bit_the_one_not_stopped(tmp_path: Path) -> None:
    images, rule, settings = noise(9), DirectRule(), Settings(**TINY, epochs=3)
    straight = pretrain(images, rule, settings)

    def stop(step: int, loss: float) -> None:
        if step == 3:  # amid the second epoch
            raise KeyboardInterrupt

    first = Pretraining(images, rule, settings, device=CPU, checkpoint=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        first.run(3, stop)
    again = Pretraining(images, rule, settings, device=CPU, checkpoint=tmp_path / "run")
    assert (again.steps, again.epoch) == (3, 1)
    again.run(3)
    assert again.losses == straight.losses
    assert again.negatives == straight.negatives
    np.testing.assert_array_equal(again.features(images), straight.features(images))
    for other in (
        {"rule": EntropyRule()},
        {"settings": Settings(**TINY, epochs=3, seed=1)},
        {"images": noise(9, seed=1)},
    ):
        changed: dict[str, Any] = {"images": images, "rule": rule, "settings": settings} | other
        with pytest.raises(DataError, match="of another run"):
            Pretraining(**changed, device=CPU, checkpoint=tmp_path / "run")


def test_features_are_of_the_running_averages_whatever_the_batch() -> None:
    images = noise(6)
    run = pretrain(images, UniformRule(), Settings(**TINY, epochs=1))
    together = run.features(images)
    np.testing.assert_allclose(run.features(images[2:3])[0], together[2], rtol=1e-4, atol=1e-5)
    before = [b.clone() for b in run.encoder.buffers()]
    run.features(images)
    assert all(map(torch.equal, before, run.encoder.buffers()))


def test_settings_are_refused_in_a_sentence() -> None:
    for wrong, words in (
        ({"optimizer": "lbfgs"}, "all images at once"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"precision": "half"}, "precision"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ):
        with pytest.raises(DataError, match=words):
            Settings(**wrong)
    with pytest.raises(DataError, match="batch_size=4 images, and there are 3"):
        pretrain(noise(3), UniformRule(), Settings(**TINY))
    for wrong, words in (
        ({"jitter": (1, 1, 1, 0.6)}, "hue"),
        ({"p_grey": 1.2}, "probability"),
        ({"area": 0.0}, "area"),
    ):
        with pytest.raises(DataError, match=words):
            Augmentation(**wrong)
    for wrong, words in (({"width": 0}, "width"), ({"stem": "tall"}, "stem")):
        with pytest.raises(DataError, match=words):
            ResNet18(**wrong)


# --- the probes -------------------------------------------------------------------------------------------------------


def test_the_epoch_is_chosen_on_rows_held_out_or_on_the_test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, y, Z_test, y_test = np.arange(40.0)[:, None], np.arange(40) % 2, np.arange(50.0, 55)[:, None], np.arange(5) % 2
    asked: list[tuple[list[float], list[list[float]]]] = []

    def curves(Z: Any, y: Any, judges: Any, *rest: Any) -> list[np.ndarray]:
        asked.append((Z[:, 0].tolist(), [A[:, 0].tolist() for A, _ in judges]))
        if len(judges) == 2:
            return [np.array([0.1, 0.5, 0.5, 0.2]), np.array([0.3, 0.6, 0.9, 0.1])]
        return [np.array([0.2, 0.4, 0.8, 0.7])]

    monkeypatch.setattr(image_probe, "_curves", curves)
    found = probe_features(Z, y, Z_test, y_test, 2, epochs=4)
    assert (found.selected, found.selected_epoch, found.held_out) == (0.6, 2, 0.5)
    assert (found.published, found.published_epoch, found.last) == (0.8, 3, 0.7)
    (kept, (held, judged)), (all_rows, (judged_too,)) = asked
    assert len(held) == 4
    assert sorted(kept + held) == all_rows == Z[:, 0].tolist()
    assert judged == judged_too == Z_test[:, 0].tolist()


def test_a_probe_learns_standardised_features_whatever_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_probe, "RATE", 0.03)  # of the published one 200 rows see too few steps
    rng = np.random.default_rng(0)
    y, y_test = np.arange(200) % 3, np.arange(90) % 3
    Z, Z_test = (np.eye(3)[codes] + 0.1 * rng.standard_normal((codes.size, 3)) for codes in (y, y_test))
    found = probe_features(Z, y, Z_test, y_test, 3, epochs=20)
    assert found.selected > 0.97  # classes ten standard deviations apart
    scale, shift = np.array([1e3, 1e-3, 1.0]), np.array([5.0, 0.0, -2.0])
    assert probe_features(Z * scale + shift, y, Z_test * scale + shift, y_test, 3, epochs=20) == found
    with pytest.raises(DataError, match="two classes"):
        probe_features(Z, 0 * y, Z_test, y_test, 3)


# --- the files, and the commands --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_cifar10(root / "cifar10", per_batch=3)
    write_cifar100(root / "cifar100")
    write_stl10(root / "stl10")
    return root


def test_image_sets_are_the_bytes_that_the_readers_read(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in IMAGE_SETS:
        found, path = read_image_set(name, files / name), files / name
        for images, y, split in ((found.train, found.y_train, "train"), (found.test, found.y_test, "test")):
            same = read_dataset(path, split=split)
            assert images.dtype == np.uint8
            np.testing.assert_array_equal(images.reshape(len(images), -1), same.X)
            np.testing.assert_array_equal(y, same.y)
        assert not found.full
    whole = read_image_set("stl10", files / "stl10")
    unlabelled = read_dataset(files / "stl10", split="unlabeled").X
    np.testing.assert_array_equal(whole.pretrain[len(whole.train) :].reshape(len(unlabelled), -1), unlabelled)
    assert read_image_set("cifar10", files / "cifar10", limit=2).pretrain.shape == (2, 32, 32, 3)
    with pytest.raises(DataError, match="did you mean 'cifar10'"):
        read_image_set("cifar", files / "cifar10")
    monkeypatch.setattr("spectral_ssl.data._memory.available_memory", lambda: 1e4)
    with pytest.raises(ResourceError):
        read_image_set("stl10", files / "stl10")


OPTIONS = ["--epochs", "2", "--batch-size", "4", "--width", "2", "--probe-epochs", "2", "--device", "cpu"]


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_each_command_runs_on_files_of_its_format(
    name: str, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "reproduce",
        f"alpha-{name}",
        "--data",
        str(files / name),
        *OPTIONS,
        "--rules",
        "infonce, direct(p=2)",
    ]
    more = ["--probe-every", "1", "--seeds", "2"] if name == "cifar10" else ["--no-figures"]
    assert main([*words, *more, "--out", str(tmp_path / "run"), "--json", "--quiet"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["size"] == "exercised"
    assert payload["seen"] is None
    assert payload["answer"].startswith("Exercised, not judged")
    assert any(note.startswith("exercised") for note in payload["notes"])
    table = [row for row in payload["rows"] if "slug" in row]
    runs = 2 if name == "cifar10" else 1
    assert [row["rule"] for row in table] == [
        label for label in ("infonce", "direct(p=2)", "backprop direct") for _ in range(runs)
    ]
    for row in table:
        assert row["published"] >= row["last"]
        assert 1 <= row["negatives"] <= 6
    assert payload["data"]["n_train"] == {"cifar10": 15, "cifar100": 6, "stl10": 6}[name]
    arrays = np.load(tmp_path / "run" / "arrays.npz")
    steps = 2 * (payload["data"]["n_train"] // 4)
    assert {arrays[f"{row['slug']}/losses"].shape for row in table} == {(steps,)}
    if name == "cifar10":
        assert {Path(p).name for p in payload["figures"]} == {"accuracy.png", "negatives.png", "probes.png"}
        medians = [r for r in payload["rows"] if r.get("method") == "infonce" and "held-out" in r["choice"]]
        assert medians[0]["value"] == np.median([row["selected"] for row in table[:2]])


def test_a_run_of_full_size_is_judged(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts as full size is brought down to these files; a rule is comparable within one point of InfoNCE."""
    monkeypatch.setattr(commands, "FULL", {"epochs": 1, "width": 2, "batch_size": 4})
    monkeypatch.setitem(IMAGE_SETS, "cifar100", dataclasses.replace(IMAGE_SETS["cifar100"], sizes=(6, 4)))
    accuracy = {"infonce": 0.5, "r_h": 0.495, "direct": 0.2, "backprop direct": 0.9}
    told = iter([accuracy["infonce"], accuracy["r_h"], accuracy["direct"], accuracy["backprop direct"]] * 2)

    def probe(*args: Any, **options: Any) -> image_probe.ImageProbe:
        return image_probe.ImageProbe(next(told), 1, 0.5, 1.0, 1, 0.9)

    monkeypatch.setattr(commands, "probe_features", probe)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 4, "width": 2, "figures": False, "device": "cpu"}
    payload = commands.alpha_cifar100(
        data=files / "cifar100", rules="infonce, r_h, direct", out=tmp_path / "run", **options
    )
    assert payload["size"] == "full"
    assert payload["seen"]
    (criterion,) = payload["criteria"]
    assert (criterion["value"], criterion["limit"]) == (pytest.approx(-0.005), -0.01)
    assert "r_h less that of infonce" in criterion["name"]
    assert "50.0 % (100.0 %)" in payload["answer"]
    assert not any(note.startswith("exercised") for note in payload["notes"])
    monkeypatch.setattr(commands, "COMPARABLE", 0.001)
    payload = commands.alpha_cifar100(
        data=files / "cifar100", rules="infonce, r_h, direct", out=tmp_path / "again", **options
    )
    assert payload["seen"] is False
    assert "Not seen" in payload["answer"]
    told = iter(4 * [0.5])
    part = commands.alpha_cifar100(data=files / "cifar100", limit=4, rules="infonce", out=tmp_path / "part", **options)
    assert part["size"] == "exercised", "not all images"


def test_a_command_says_what_is_wrong(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["reproduce", "alpha-cifar10", "--out", str(tmp_path / "run")]
    there = ["--data", str(files / "cifar10")]
    for more, words in (
        ([], "--data must be given"),
        (["--data", str(files / "stl10")], "is not CIFAR-10"),
        (["--data", str(files / "none")], "no such file"),
        ([*there, "--rules", "infonc"], "did you mean 'infonce'"),
        ([*there, "--rules", "", "--backprop", ""], "no rule was named"),
        ([*there, "--backprop", "uniform"], "no gradient goes"),
        ([*there], "batch_size=128 images, and there are 15"),
        ([*there, "--probe-every", "-1"], "probe_every"),
    ):
        assert main([*start, *more]) == 2
        assert words in capsys.readouterr().err


def test_without_kornia_the_extra_is_named(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    words = ["reproduce", "alpha-cifar10", "--data", str(files / "cifar10"), *OPTIONS, "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "pip install 'spectral_ssl[vision]'" in capsys.readouterr().err
    with pytest.raises(DataError, match="vision"):
        vision.check_kornia()
