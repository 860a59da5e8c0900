"""A run interrupted and resumed is the run that was not, bit for bit; anything else in its place is refused."""

import contextlib
import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spectral_ssl as ss
from spectral_ssl.runs import load_arrays
from spectral_ssl.training import Step
from spectral_ssl.training import stochastic as stochastic_module
from spectral_ssl.training.checkpoint import Checkpoint
from spectral_ssl.training.problem import Problem
from spectral_ssl.training.stochastic import Batches

N, D, K = 20, 5, 2


def relation(extra: float = 0.0) -> ss.Graph:
    rng = np.random.default_rng(0)
    A = np.triu(rng.random((N, N)) < 0.3, 1) * 1.0
    A[0, 1] += 1 + extra
    return ss.Graph.from_adjacency(A + A.T)


def features() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((N, D))


class Interrupt:
    """Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, step: Step) -> None:
        if step.evaluations == self.step:
            raise KeyboardInterrupt


def run(path: Path | None, stop: int | None = None, method: Any = None, **options: Any) -> ss.TrainResult:
    given: dict[str, Any] = {"X": features(), "batch_size": 6, "max_iter": 60, **options}
    return ss.train(
        method or ss.SSLEY(),
        given.pop("graph", None) or relation(),
        K,
        checkpoint=path,
        callbacks=[] if stop is None else [Interrupt(stop)],
        **given,
    )


class WithDropout(torch.nn.Module):
    """Random numbers at every step, and buffers that change."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.first, self.last = torch.nn.Linear(D, 8), torch.nn.Linear(8, K)
        self.norm, self.drop = torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(torch.tanh(self.norm(self.first(x)))))


RUNS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "schedule": "cosine(warmup=0.2)"},
    "sgd": {"optimizer": "sgd(momentum=0.9)", "schedule": "step(every=20, factor=0.5)", "learning_rate": 0.01},
    "lars": {"optimizer": "lars", "schedule": "cosine"},
    "free": {"optimizer": "adam", "X": None},
    "whole relation": {"optimizer": "adam", "batch_size": None},
    "debiased": {"optimizer": "sgd", "debias": True},
    "infonce": {"optimizer": "adam", "method": ss.SimCLR()},
    "mlp": {"optimizer": "lars", "encoder": "mlp(width=8, depth=1)", "dtype": "float32", "chunk_size": 5},
    "dropout": {"optimizer": "adam", "encoder": WithDropout()},
    "bfloat16": {"optimizer": "adam", "encoder": "mlp(width=8)", "dtype": "bfloat16"},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(name: str, tmp_path: Path) -> None:
    options = RUNS[name]
    whole = run(None, **options)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "c", stop=25, **options)
    state = json.loads((tmp_path / "c" / "state.json").read_text())
    assert state["state"]["steps"] == 25
    resumed = run(tmp_path / "c", **options)
    assert np.array_equal(resumed.losses, whole.losses)
    assert np.array_equal(resumed.embedding.Z, whole.embedding.Z)
    assert (resumed.loss, resumed.gradient_norm, resumed.message, resumed.learning_rate) == (
        whole.loss,
        whole.gradient_norm,
        whole.message,
        whole.learning_rate,
    )
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["arrays-000060.npz", "state.json"]


def test_a_resumed_run_did_not_begin_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=25, optimizer="adam")
    earlier = json.loads((tmp_path / "state.json").read_text())["state"]["seconds"]
    steps: list[Step] = []
    ss.train(
        ss.SSLEY(),
        relation(),
        K,
        X=features(),
        batch_size=6,
        max_iter=60,
        optimizer="adam",
        checkpoint=tmp_path,
        callbacks=[steps.append],
    )
    assert [step.evaluations for step in steps] == list(range(26, 61))
    assert steps[0].seconds > earlier > 0


def test_a_finished_run_returns_at_once(tmp_path: Path) -> None:
    first = run(tmp_path, optimizer="adam")
    again = run(tmp_path, optimizer="adam", stop=60)  # would interrupt at the last step, were it taken
    assert np.array_equal(again.embedding.Z, first.embedding.Z)
    assert np.array_equal(again.losses, first.losses)
    assert again.seconds > first.seconds / 2


def test_steps_can_be_added_where_the_schedule_does_not_stretch(tmp_path: Path) -> None:
    run(tmp_path / "c", optimizer="adam", max_iter=30)
    longer, whole = run(tmp_path / "c", optimizer="adam", max_iter=60), run(None, optimizer="adam", max_iter=60)
    assert np.array_equal(longer.embedding.Z, whole.embedding.Z)
    with pytest.raises(ss.DataError, match="holds 60 steps, more than max_iter=40"):
        run(tmp_path / "c", optimizer="adam", max_iter=40)
    run(tmp_path / "d", optimizer="adam", schedule="cosine", max_iter=30)
    with pytest.raises(ss.DataError, match="max_iter was 30 and is now 60"):
        run(tmp_path / "d", optimizer="adam", schedule="cosine", max_iter=60)


def test_checkpoints_are_written_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stochastic_module, "SAVE_SECONDS", 0.0)
    seen: list[int] = []

    def look(step: Step) -> None:
        state = tmp_path / "state.json"
        seen.append(json.loads(state.read_text())["state"]["steps"] if state.exists() else 0)

    ss.train(
        ss.SSLEY(), relation(), K, X=features(), optimizer="adam", max_iter=200, checkpoint=tmp_path, callbacks=[look]
    )
    assert seen[0] == 0
    assert 0 < seen[-1] < 200
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"batch_size": 8}, "batch_size was 6 and is now 8"),
        ({"optimizer": "sgd"}, "optimizer was 'adam' and is now 'sgd'"),
        ({"optimizer": "adam(beta1=0.8)"}, "optimizer was"),
        ({"learning_rate": 0.1}, "learning_rate was None and is now 0.1"),
        ({"method": ss.BarlowTwins()}, "method was"),
        ({"graph": relation(0.5)}, "relation was"),
        ({"X": features() + 1e-9}, "X was"),
        ({"X": None}, "X was"),
        ({"debias": True}, "debias was"),
        ({"precondition": False}, "precondition was"),
        ({"encoder": "mlp(width=4)"}, "encoder was"),
        ({"dtype": "float32"}, "dtype was"),
        ({"chunk_size": 3}, "chunk_size was"),
        ({"batch_loss": ss.losses.ssl_ey}, r"batch_loss was None and is now 'spectral_ssl.losses.ssl_ey \("),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)),
)
def test_another_runs_checkpoint_is_refused_and_left_alone(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    first = run(tmp_path, optimizer="adam", max_iter=5)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ss.DataError, match=words):
        run(tmp_path, **{"optimizer": "adam", "max_iter": 5, **change})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert np.array_equal(run(tmp_path, optimizer="adam", max_iter=5).embedding.Z, first.embedding.Z)


def test_broken_checkpoints_are_told_from_others(tmp_path: Path) -> None:
    run(tmp_path, optimizer="adam", max_iter=5)
    state = tmp_path / "state.json"
    good = state.read_text()
    for text, words in (
        (good[: len(good) // 2], "truncated"),
        ("[]", "not a checkpoint"),
        (good.replace("checkpoint/1", "checkpoint/9"), "this version reads"),
        (good.replace("arrays-000005", "../arrays-000005"), "truncated, corrupted"),
        (good.replace('"steps"', '"stops"'), "corrupted"),
    ):
        state.write_text(text)
        with pytest.raises(ss.DataError, match=words):
            run(tmp_path, optimizer="adam", max_iter=5)
    state.write_text(good)
    arrays = tmp_path / "arrays-000005.npz"
    whole = arrays.read_bytes()
    arrays.write_bytes(b"PK")
    with pytest.raises(ss.DataError, match="not what was written"):
        run(tmp_path, optimizer="adam", max_iter=5)
    arrays.unlink()
    with pytest.raises(ss.DataError, match="has lost its arrays"):
        run(tmp_path, optimizer="adam", max_iter=5)
    arrays.write_bytes(whole)
    run(tmp_path, optimizer="adam", max_iter=5)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ss.DataError, match="cannot be a directory"):
        run(file, optimizer="adam")


@pytest.mark.parametrize("name", ["state.json", "arrays-000005.npz"])
def test_no_bit_of_a_checkpoint_can_change_unnoticed(name: str, tmp_path: Path) -> None:
    run(tmp_path, optimizer="adam", max_iter=5)
    file, rng = tmp_path / name, np.random.default_rng(0)
    good = file.read_bytes()
    for _ in range(40):
        broken = bytearray(good)
        broken[rng.integers(len(good))] ^= 1 << int(rng.integers(8))
        file.write_bytes(broken)
        with pytest.raises(ss.DataError):
            run(tmp_path, optimizer="adam", max_iter=5)


@pytest.mark.parametrize(
    ("state", "arrays"),
    [
        ({"steps": -5}, {}),
        ({"steps": 3}, {}),
        ({"steps": float("inf")}, {}),
        ({"seconds": None}, {}),
        ({"batches": {}}, {}),
        ({}, {"losses": np.array(["a"] * 5)}),
        ({}, {"losses": np.array(3.0)}),
        ({}, {"random.encoder.0": np.zeros(3)}),
        ({}, {"parameter.0": np.zeros((1, 1))}),
        ({}, {"parameter.0": np.full((8, D), "a")}),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)),
)
def test_a_checkpoint_written_by_another_is_refused(state: Any, arrays: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "adam", "encoder": "mlp(width=8, depth=1)"}
    run(tmp_path, max_iter=5, **options)
    record = json.loads((tmp_path / "state.json").read_text())
    with np.load(tmp_path / "arrays-000005.npz") as held:
        found = dict(held)
    Checkpoint(tmp_path, record["run"]).save(5, {**record["state"], **state}, {**found, **arrays})
    with pytest.raises(ss.DataError, match="corrupted"):
        run(tmp_path, max_iter=10, **options)


def test_damaged_arrays_are_told_in_words(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", X=np.random.default_rng(0).standard_normal((30, 3)))
    good, rng = (tmp_path / "a.npz").read_bytes(), np.random.default_rng(1)
    for _ in range(300):
        broken = bytearray(good)
        broken[rng.integers(len(good))] = int(rng.integers(256))
        (tmp_path / "b.npz").write_bytes(broken)
        with contextlib.suppress(ss.DataError, ss.ResourceError):
            load_arrays(tmp_path / "b.npz")


# --- what is another run ----------------------------------------------------------------------------------------------


def network(p: float = 0.0, *, seed: int = 0, frozen: bool = False, resting: bool = False) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(D, 8), torch.nn.Tanh(), torch.nn.Dropout(p), torch.nn.Linear(8, K))
    net[0].requires_grad_(not frozen)
    net[2].train(not resting)
    return net


class Functional(torch.nn.Module):
    """Its forward is nowhere in its words."""

    def __init__(self, f: Any, p: float = 0.5) -> None:
        super().__init__()
        self.linear, self.f, self.p = torch.nn.Linear(D, K), f, p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(self.linear(x)) * self.p


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("mlp(width=8, activation=relu)", "mlp(width=8, activation=tanh)"),
        (network(0.0), network(0.9)),
        (network(0.3), network(0.3, resting=True)),
        (network(), network(frozen=True)),
        (Functional(torch.tanh), Functional(torch.relu)),
        (Functional(torch.tanh), Functional(torch.tanh, p=0.1)),
    ],
    ids=["activation", "dropout", "mode", "frozen", "function", "attribute"],
)
def test_another_network_is_refused(first: Any, other: Any, tmp_path: Path) -> None:
    run(tmp_path, optimizer="adam", max_iter=5, encoder=first)
    with pytest.raises(ss.DataError, match="network was"):
        run(tmp_path, optimizer="adam", max_iter=9, encoder=other)
    run(tmp_path, optimizer="adam", max_iter=9, encoder=first)


def test_frozen_weights_are_those_saved(tmp_path: Path) -> None:
    first = run(tmp_path, encoder=network(seed=0, frozen=True), optimizer="adam", max_iter=5)
    again = run(tmp_path, encoder=network(seed=1, frozen=True), optimizer="adam", max_iter=5)
    assert np.array_equal(first.embedding.Z, again.embedding.Z)


def scaled(weight: float) -> Any:
    return lambda za, zb: weight * ((za - zb) ** 2).sum() + za.square().mean()


def weighted(za: torch.Tensor, zb: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
    return weight * ((za - zb) ** 2).sum() + za.square().mean()


class Loss:
    def __init__(self, weight: Any) -> None:
        self.weight = weight

    def __call__(self, za: torch.Tensor, zb: torch.Tensor) -> torch.Tensor:
        return float(self.weight) * ((za - zb) ** 2).sum() + za.square().mean()


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        (scaled(1.0), scaled(1.0), scaled(2.0)),
        (lambda a, b: (a - b).square().sum(), None, lambda a, b: (a - b).abs().sum()),
        (functools.partial(weighted, weight=1.0), functools.partial(weighted, weight=1.0), weighted),
        (functools.partial(weighted, weight=1.0), None, functools.partial(weighted, weight=2.0)),
        (Loss(1.0), Loss(1.0), Loss(2.0)),
        (Loss(torch.ones(1)), Loss(torch.ones(1)), Loss(torch.ones(1) * 2)),
        (torch.nn.MSELoss(), torch.nn.MSELoss(), torch.nn.MSELoss(reduction="sum")),
        (Loss(1.0).__call__, Loss(1.0).__call__, Loss(2.0).__call__),
    ],
    ids=["closure", "code", "partial", "option", "attribute", "tensor", "module", "method"],
)
def test_another_batch_loss_is_refused(first: Any, same: Any, other: Any, tmp_path: Path) -> None:
    run(tmp_path, optimizer="adam", max_iter=5, batch_loss=first)
    with pytest.raises(ss.DataError, match="batch_loss was"):
        run(tmp_path, optimizer="adam", max_iter=9, batch_loss=other)
    run(tmp_path, optimizer="adam", max_iter=9, batch_loss=same or first)


def test_a_batch_loss_that_cannot_be_recognised_has_no_checkpoint(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ss.DataError, match="Generator cannot be told"):
        run(tmp_path, optimizer="adam", max_iter=5, batch_loss=lambda a, b: (a - b).square().sum() * rng.random())


def test_fingerprints_are_the_same_in_another_process() -> None:
    code = (
        "from spectral_ssl.training.fingerprint import fingerprint, structure; import torch, spectral_ssl as ss\n"
        "print(fingerprint({'a': {1, 'b', 2.5}, 'f': ss.losses.vicreg}), structure(torch.nn.Linear(2, 2)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def noisy(za: torch.Tensor, zb: torch.Tensor) -> torch.Tensor:
    return ((za - zb) ** 2).mean() + (torch.randn_like(za) * za).mean()


@pytest.mark.parametrize("chunk_size", [None, 5])
def test_random_numbers_of_a_batch_loss_are_of_the_run(chunk_size: int | None, tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "adam", "batch_loss": noisy, "chunk_size": chunk_size}
    options["encoder"] = network(0.3)
    before = torch.get_rng_state()
    whole, again = run(None, **options), run(None, **options)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(whole.losses, again.losses)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=25, **options)
    assert np.array_equal(run(tmp_path, **options).embedding.Z, whole.embedding.Z)
    assert not np.array_equal(run(None, seed=1, **options).losses, whole.losses)


def test_a_run_that_diverges_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    run(tmp_path, optimizer="sgd", learning_rate=1e-3, max_iter=5)
    kept = (tmp_path / "state.json").read_text()
    with pytest.raises(ss.NumericalError):
        run(tmp_path / "d", optimizer="sgd", learning_rate=1e6, max_iter=50)
    assert not (tmp_path / "d" / "state.json").exists()
    assert (tmp_path / "state.json").read_text() == kept


def test_nothing_is_pickled(tmp_path: Path) -> None:
    run(tmp_path, optimizer="adam", max_iter=5, encoder=WithDropout())
    (arrays,) = tmp_path.glob("*.npz")
    with np.load(arrays, allow_pickle=False) as held:
        names = set(held.files)
        assert all(held[name].dtype.kind in "fiu" for name in names)
    assert {"parameter.0", "buffer.norm.running_mean", "optimizer.0.exp_avg", "random.encoder.0", "losses"} <= names


def test_a_result_is_the_same_record_with_a_checkpoint(tmp_path: Path) -> None:
    with_, without = run(tmp_path, optimizer="adam"), run(None, optimizer="adam")
    for field in dataclasses.fields(with_):
        a, b = getattr(with_, field.name), getattr(without, field.name)
        if field.name not in ("embedding", "seconds"):
            assert np.all(a == b), field.name


@pytest.mark.parametrize("moment", ["draw", "backward", "step"])
def test_an_interrupt_amid_a_step_loses_nothing(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ctrl-C comes as a signal, nearly always while a step is under way
    whole = run(None, optimizer="adam")
    place = {"draw": (Batches, "draw"), "backward": (Problem, "backward"), "step": (torch.optim.Adam, "step")}[moment]
    calls, plain = [0], getattr(*place)

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(*place, interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, optimizer="adam")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.undo()
    assert json.loads((tmp_path / "state.json").read_text())["state"]["steps"] >= 19
    resumed = run(tmp_path, optimizer="adam")
    assert np.array_equal(resumed.losses, whole.losses)
    assert np.array_equal(resumed.embedding.Z, whole.embedding.Z)
