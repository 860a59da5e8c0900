"""A run interrupted and resumed is the run that was not, bit for bit; anything else in its place is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spectral_ssl as ss
from spectral_ssl.training import Step
from spectral_ssl.training import stochastic as stochastic_module

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
        ({"batch_loss": ss.losses.ssl_ey}, "batch_loss was None and is now 'spectral_ssl.losses.ssl_ey'"),
    ],
    ids=str,
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
    (tmp_path / "arrays-000005.npz").write_bytes(b"PK")
    with pytest.raises(ss.DataError, match="npz"):
        run(tmp_path, optimizer="adam", max_iter=5)
    np.savez(tmp_path / "arrays-000005.npz", **{"parameter.0": np.zeros((1, 1)), "losses": np.zeros(5)})
    with pytest.raises(ss.DataError, match=r"shape \(1, 1\) for parameter.0"):
        run(tmp_path, optimizer="adam", max_iter=5)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ss.DataError, match="cannot be a directory"):
        run(file, optimizer="adam")


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
    assert {"parameter.0", "buffer.norm.running_mean", "optimizer.0.exp_avg", "random.0", "losses"} <= names


def test_a_result_is_the_same_record_with_a_checkpoint(tmp_path: Path) -> None:
    with_, without = run(tmp_path, optimizer="adam"), run(None, optimizer="adam")
    for field in dataclasses.fields(with_):
        a, b = getattr(with_, field.name), getattr(without, field.name)
        if field.name not in ("embedding", "seconds"):
            assert np.all(a == b), field.name
