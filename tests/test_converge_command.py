"""`spectral-ssl converge`: rows recomputed by plain loops, refusals, interruption and resumption, the two studies."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import spectral_ssl as ss
import spectral_ssl.experiments.convergence as command
from spectral_ssl.cli import main
from spectral_ssl.errors import DataError, SpectralWarning
from spectral_ssl.experiments.convergence import converge
from spectral_ssl.experiments.convergence_studies import convergence_negatives, convergence_widths
from spectral_ssl.report.convergence_figures import convergence_figures
from spectral_ssl.runs import load_arrays, open_run
from spectral_ssl.theory.tuples import fresh_tuples

SMALL: dict = {
    "widths": (12, 24), "n_outputs": 6, "n_tuples": 5, "negatives": 2, "n_features": 12, "steps": 60, "looks": 5,
}  # fmt: skip
ROUND = 1e-9


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict, Path]:
    out = tmp_path_factory.mktemp("converge") / "run"
    payload = converge(losses=("logistic", "squared", "pool", "unit"), out=out, **SMALL)
    return payload, load_arrays(out / "arrays.npz"), out


def test_rows_are_those_of_gradient_descent_by_hand(found: tuple) -> None:
    """The logistic run at width 12, from its weights on: losses, excess, envelope by |grad|^2."""
    payload, arrays, _ = found
    t = fresh_tuples(5, 2, 12, 0)
    rng = np.random.default_rng((0, 12))
    A = torch.tensor(rng.standard_normal((12, 12)) * np.sqrt(2 / 12))
    B = torch.tensor(rng.standard_normal((6, 12)) / np.sqrt(6))
    W = [torch.tensor(rng.standard_normal((12, 12)) * np.sqrt(2 / 12), requires_grad=True) for _ in range(2)]
    start = [w.detach().clone() for w in W]
    losses, sizes = [], []
    rates = [*arrays["logistic-12/learning_rates"], 0.0]
    for rate in rates:
        h = torch.relu(torch.tensor(t.X) @ A.T)
        for w in W:
            h = torch.relu(h @ w.T)
        f = h @ B.T
        total = torch.zeros((), dtype=torch.float64)
        for a, p, row in zip(t.anchors, t.positives, t.negatives, strict=True):
            total = total + torch.log1p(sum(torch.exp(f[a] @ f[q] - f[a] @ f[p]) for q in row))
        gradient = torch.autograd.grad(total / 5, W)
        losses.append(float(total.detach()) / 5)
        sizes.append(sum(float((g**2).sum()) for g in gradient))
        with torch.no_grad():
            for w, g in zip(W, gradient, strict=True):
                w -= rate * g
    row = next(row for row in payload["rows"] if row["slug"] == "logistic-12")
    assert arrays["logistic-12/losses"] == pytest.approx(losses, rel=1e-7)
    assert arrays["logistic-12/squared_gradients"] == pytest.approx(sizes, rel=1e-6)
    assert (row["start"], row["excess"]) == (pytest.approx(losses[0]), pytest.approx(losses[-1], rel=1e-7))
    ratio = min(s / loss**2 for s, loss in zip(sizes, losses, strict=True))
    assert row["gradient_over_excess2"] == pytest.approx(ratio, rel=1e-6)
    assert row["gradient_over_excess"] == pytest.approx(
        min(s / v for s, v in zip(sizes, losses, strict=True)), rel=1e-6
    )
    if row["envelope_gradient"] is not None:
        assert row["envelope_gradient"] == pytest.approx(1 / (1 / losses[0] + ratio * sum(rates) / 2), rel=1e-6)
    moved = np.sqrt(sum(float(((w.detach() - s) ** 2).sum()) for w, s in zip(W, start, strict=True)))
    size = np.sqrt(sum(float((s**2).sum()) for s in start))
    assert arrays["logistic-12/motion"][-1] / size == pytest.approx(moved / size, rel=1e-7)
    assert row["motion"] >= moved / size * (1 - ROUND)


def test_every_case_has_its_infimum_its_bounds_and_its_figures(found: tuple) -> None:
    payload, arrays, out = found
    rows = {row["slug"]: row for row in payload["rows"]}
    assert list(rows) == [f"{case}-{width}" for case in ("logistic", "squared", "pool", "unit") for width in (12, 24)]
    assert rows["unit-12"]["infimum"] == pytest.approx(np.log(1 + 2 * np.exp(-4)))
    assert rows["logistic-12"]["infimum"] == rows["squared-12"]["infimum"] == 0
    assert rows["pool-12"]["infimum"] == rows["pool-12"]["infimum_at_most"] > 0
    for slug, row in rows.items():
        E = arrays[f"{slug}/excess"]
        assert row["excess"] == E[-1] > 0
        assert "VIOLATED" not in row["bounds"]
        for envelope in ("kernel_envelope", "gradient_envelope"):
            curve = arrays[f"{slug}/{envelope}"]
            assert curve.size == 0 or np.all(curve * (1 + ROUND) >= E)
    assert rows["pool-12"]["envelope"] is None
    assert rows["pool-12"]["lambda_min"] == 0
    assert any("positive definite" in note and "pool" in note for note in payload["notes"])
    assert [Path(path).name for path in payload["figures"]] == ["excess.png", "widths.png"]
    assert all(Path(path).stat().st_size > 20_000 for path in payload["figures"])
    assert open_run(out).record["status"] == "done"
    assert not (out / command.KEPT).exists()
    assert set(open_run(out).record["files"]) == {"arrays.npz", "figures/excess.png", "figures/widths.png"}


def test_what_is_drawn_is_what_was_measured(found: tuple) -> None:
    payload, arrays, _ = found
    figures = dict(convergence_figures(payload))
    squared = next(axes for axes in figures["excess"].axes if "squared" in axes.get_title(loc="left"))
    lines = [line for line in squared.get_lines() if line.get_linewidth() == 2.4]
    for width, line in zip((12, 24), lines, strict=True):
        at = line.get_xdata().astype(int)
        assert line.get_ydata() == pytest.approx(arrays[f"squared-{width}/excess"][at])
    assert squared.get_yscale() == "log"


def test_interrupted_it_keeps_what_is_done_and_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the second of two runs; `--resume` ends with the arrays of a run that was not interrupted."""
    options = {**SMALL, "losses": ("squared",), "figures": False}
    whole = tmp_path / "whole"
    converge(out=whole, **options)
    real, met = command.descend, []

    def stops(*args: object, **kwargs: object) -> object:
        met.append(1)
        if len(met) == 2:
            told = kwargs["watch"]

            def watch(step: int, loss: float) -> None:
                told(step, loss)  # type: ignore[operator]
                if step == 31:
                    raise KeyboardInterrupt

            kwargs["watch"] = watch
        return real(*args, **kwargs)  # type: ignore[arg-type]

    cut = tmp_path / "cut"
    monkeypatch.setattr(command, "descend", stops)
    with pytest.raises(KeyboardInterrupt):
        converge(out=cut, **options)
    monkeypatch.setattr(command, "descend", real)
    run = open_run(cut)
    assert run.record["status"] == "interrupted"
    assert [row["slug"] for row in run.result["rows"]] == ["squared-12"]
    kept = [name for name in run.record["files"] if name.startswith(command.KEPT)]
    assert sorted(Path(name).name for name in kept) == ["arrays-000031.npz", "state.json"]
    assert all((cut / name).is_file() for name in kept)
    assert main(["converge", "--resume", str(cut), "--steps", "70", "--quiet"]) == 2
    assert "a resumed run keeps its options: leave steps out" in capsys.readouterr().err
    assert main(["converge", "--resume", str(cut), "--no-figures", "--quiet", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert [row["slug"] for row in payload["rows"]] == ["squared-12", "squared-24"]
    first, second = load_arrays(whole / "arrays.npz"), load_arrays(cut / "arrays.npz")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key], equal_nan=True) for key in first)
    assert open_run(cut).record["status"] == "done"
    assert not (cut / command.KEPT).exists()
    assert payload["answer"] == open_run(whole).result["answer"]
    assert main(["converge", "--resume", str(cut), "--quiet"]) == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_a_dead_start_is_told(tmp_path: Path) -> None:
    options = {**SMALL, "widths": (12,), "losses": ("logistic",), "output_scale": 0.05, "figures": False}
    with pytest.warns(SpectralWarning, match="dead start"):
        payload = converge(**options, out=tmp_path / "dead")
    told = [note for note in payload["notes"] if "dead start" in note]
    assert len(told) == 1
    assert "raise output_scale" in told[0]
    row = payload["rows"][0]
    assert row["excess"] > 0.9 * row["start"], "and it stalls"


def test_rows_that_share_a_mean_are_said_to_and_standardize_parts_them(tmp_path: Path) -> None:
    """All margins of iris, whose rows point nearly the same way, are tiny; without its means they are not."""
    options = {"widths": (8,), "n_tuples": 6, "steps": 30, "looks": 2, "figures": False}
    options |= {"data": "iris", "losses": ("logistic", "unit")}
    with pytest.warns(SpectralWarning, match="dead start"):
        dead = converge(**options, out=tmp_path / "dead")
    told = [note for note in dead["notes"] if "dead start" in note]
    assert len(told) == 2
    assert all("standardize centres the features" in note and "raise output_scale" not in note for note in told)
    alive = converge(**options, standardize=True, out=tmp_path / "alive")
    assert not any("dead start" in note for note in alive["notes"])
    X = ss.load_dataset("iris").X
    X = np.unique((X - X.mean(axis=0)) / X.std(axis=0), axis=0)
    assert alive["data"]["n_used"] == len(X)


def test_a_run_without_a_legal_bound_or_descent_is_not_said_to_hold_one(tmp_path: Path) -> None:
    options = {"widths": (8,), "n_tuples": 6, "steps": 30, "looks": 2, "figures": False}
    with pytest.warns(SpectralWarning, match="least cosine"):
        payload = converge(**options, data="iris", losses=("logistic",), out=tmp_path / "a")
    row = payload["rows"][0]
    assert [bound["verdict"] for bound in payload["bounds"] if bound["verdict"] == "violated"] == []
    assert (row["bounds"], row["rate"]) == ("none applies", "no descent")
    assert row["excess"] > 0.99 * row["start"]
    assert "No bound applies" in payload["answer"]
    assert "hold" not in payload["answer"]


@pytest.mark.parametrize("X", [np.arange(1.0, 31.0)[:, None], np.ones((30, 3))])
def test_rows_that_fall_together_at_length_1_are_told(
    X: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", np.arange(30) % 2)
    argv = ["converge", "--data", str(tmp_path / "X.npy"), "--labels", str(tmp_path / "y.npy"), "--quiet"]
    assert main(argv) == 2
    assert "2 in 30 labelled rows, of which 1 differ once each is brought to length 1" in capsys.readouterr().err


def test_one_small_margin_is_no_dead_start_and_a_silent_network_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [
        "converge",
        "--widths",
        "8",
        "--steps",
        "20",
        "--n-tuples",
        "1",
        "--negatives",
        "1",
        "--no-figures",
        "--quiet",
    ]
    assert main([*few, "--losses", "logistic", "--out", str(tmp_path / "a")]) == 0
    assert "dead start" not in capsys.readouterr().err
    silent = ["converge", "--widths", "1", "--depth", "6", "--n-tuples", "4", "--losses", "logistic", "--quiet"]
    assert main([*silent, "--out", str(tmp_path / "b")]) == 3
    assert "no row gets through the layers: raise width, or lower depth" in capsys.readouterr().err


def labelled(tmp_path: Path, per_class: int = 12, n_classes: int = 4, D: int = 6) -> list[str]:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(n_classes), per_class)
    np.save(tmp_path / "X.npy", rng.standard_normal((y.size, D)) + 2 * rng.standard_normal((n_classes, D))[y])
    np.save(tmp_path / "y.npy", y)
    return ["--data", str(tmp_path / "X.npy"), "--labels", str(tmp_path / "y.npy")]


TINY_CLI = ["--widths", "12", "--n-tuples", "4", "--steps", "20", "--n-outputs", "4", "--looks", "3", "--no-figures"]


def test_tuples_of_data_are_of_its_classes_and_shuffled_labels_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["converge", *labelled(tmp_path), *TINY_CLI, "--losses", "logistic,pool", "--quiet", "--json"]
    assert main([*argv, "--out", str(tmp_path / "a")]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["data"]["n_classes"] == 4
    assert plain["data"]["labels"] == "as given"
    assert main([*argv, "--random-labels", "--out", str(tmp_path / "b")]) == 0
    shuffled = json.loads(capsys.readouterr().out)
    assert shuffled["data"]["labels"] == "shuffled"
    assert shuffled["rows"][0]["start"] != plain["rows"][0]["start"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--losses", "logstic"], "did you mean 'logistic'"),
        (["--widths", "0"], "widths must be numbers of at least 1"),
        (["--widths", "8.5"], "8.5"),
        (["--steps", "3"], "steps must be at least 10"),
        (["--looks", "1"], "looks must be at least 2"),
        (["--learning-rate", "-1"], "learning_rate must be a number above 0"),
        (["--learning-rate", "1e9"], "lower it, say"),
        (["--negatives", "0"], "n_negatives must be a whole number at least 1"),
        (["--n-tuples", "0"], "n must be a whole number at least 1"),
        (["--temperature", "0", "--losses", "unit"], "temperature"),
        (["--losses", "unit", "--output-scale", "0.1"], "unit outputs have no scale"),
        (["--losses", "pool", "--pool-size", "3"], "pool_size must be at least 6"),
        (["--random-labels"], "add --data"),
        (["--target", "2", "--losses", "logistic"], "target is of the loss 'squared'"),
        (["--pool-size", "30"], "pool_size is of the loss 'pool'"),
        (["--temperature", "2"], "temperature is of the loss 'unit'"),
        (["--labels", "y.npy"], "labels are of data, and none were named; add --data"),
        (["--standardize"], "standardize is of data, and none were named; add --data"),
        (["--data", "iris", "--n-features", "5"], "leave one of them out"),
        (["--data", "swiss_roll"], "no class labels"),
        (["--data", "iris", "--n-tuples", "60"], "ask for fewer tuples"),
        (["--data", "iris", "--losses", "pool", "--pool-size", "900"], "pool_size must be from 4 to"),
        (["--resume", "nowhere"], "not a run directory"),
    ],
)
def test_bad_options_end_in_one_sentence(
    argv: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    numerical = argv[:2] == ["--learning-rate", "1e9"]
    tail = ["--widths", "6", "--no-figures", "--quiet"] if "--widths" not in argv else ["--quiet"]
    assert main(["converge", *argv, *tail]) == (3 if numerical else 2)
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    if not numerical:
        assert not (tmp_path / "runs").exists(), "nothing is written before options are checked"


def test_only_an_interrupted_converge_is_resumed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    ss.runs.RunDirectory.create(other, "compare", {}).finish("interrupted")
    with pytest.raises(DataError, match="resume a run of converge"):
        converge(resume=other)


# --- the studies ------------------------------------------------------------------------------------------------------


def test_accuracy_by_negatives_is_that_of_class_means_and_the_control_is_near_chance(tmp_path: Path) -> None:
    payload = convergence_negatives(
        data="digits", negatives=(1, 10), outputs=("unit",), n_tuples=120, n_rows=200, width=32, n_outputs=8, steps=60,
        figures=False, out=tmp_path / "n",
    )  # fmt: skip
    rows = [row for row in payload["rows"] if "slug" in row]
    assert [(row["labels"], row["negatives"]) for row in rows] == [
        ("as given", 1), ("as given", 10), ("shuffled", 1), ("shuffled", 10)
    ]  # fmt: skip
    for row in rows:
        assert row["violated"] == 0
        assert row["supervised_risk"] <= row["least_limit"] * (1 + ROUND)
        assert row["supervised_risk"] <= row["inclusion_limit"] * (1 + ROUND)
        # C = 10 classes, uniform: R / (1 - 0.9^N)
        assert row["inclusion_limit"] == pytest.approx(
            row["contrastive_risk"] / (1 - 0.9 ** row["negatives"]), rel=1e-3
        )
        assert row["infimum"] <= row["training_loss"] < row["start"]
    assert min(row["mean_classifier"] for row in rows[:2]) > 0.5
    assert max(row["mean_classifier"] for row in rows[2:]) < 0.35


def test_widths_on_data_with_and_without_their_labels(tmp_path: Path) -> None:
    labelled(tmp_path, 20, 5)
    data = f"{tmp_path}/data.npz"
    np.savez(data, X=np.load(tmp_path / "X.npy"), y=np.load(tmp_path / "y.npy"))
    payload = convergence_widths(
        data=data, widths=(12, 36), n_tuples=5, n_outputs=8, steps=60, figures=False, out=tmp_path / "w"
    )
    rows = [row for row in payload["rows"] if "slug" in row]
    assert len(rows) == 8
    for narrow, wide in zip(rows[::2], rows[1::2], strict=True):
        assert wide["motion"] < narrow["motion"]
        assert wide["lambda_min"] > narrow["lambda_min"]
        assert "VIOLATED" not in wide["bounds"] + narrow["bounds"]
    assert {(row["outputs"], row["labels"]) for row in rows} == {
        (kind, label) for kind in ("free", "unit") for label in ("as given", "shuffled")
    }
    with pytest.raises(DataError, match="free and unit"):
        convergence_widths(outputs=("normal",))  # type: ignore[arg-type]
