"""`spectral-ssl alpha` and the training behind it: numbers of a row recomputed by loops, scipy's descent and numpy."""

import json
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
import torch

from spectral_ssl import alpha_cl as al
from spectral_ssl.cli import main
from spectral_ssl.comparison import linear_probe_score
from spectral_ssl.errors import DataError
from spectral_ssl.experiments import alpha_cl as command
from spectral_ssl.experiments.setting import load_data, make_setting
from spectral_ssl.runs import open_run

N, D, K = 16, 7, 4
TAU = 0.2
LOSS_TOL = 1e-7  # both descents stop at gradients near 1e-6 of a loss of order 10
RULES = f"infonce(temperature={TAU}, eps=0), direct(temperature=0.1), modified_triplet(sharpness=20), infonce, uniform"


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Two classes in seven features of unequal size, as files."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(2), N))
    X = rng.standard_normal((2 * N, D)) * [3.0, 2.5, 2.0, 1.2, 1.1, 1.0, 0.3] + 1.2 * y[:, None]
    folder = tmp_path_factory.mktemp("blobs")
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    return str(folder / "X.npy"), folder / "y.npy"


OPTIONS: dict[str, Any] = {"transforms": "noise(scale=0.2)", "test_size": 0.5, "seed": 3}


@pytest.fixture(scope="module")
def found(blobs: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return command.alpha(
        data=blobs[0], labels=blobs[1], rules=RULES, n_components=K, temperatures=(0.1, 2.0), figures=False,
        out=tmp_path_factory.mktemp("run") / "alpha", **OPTIONS,
    )  # fmt: skip


def views(blobs: tuple[str, Path]) -> tuple[np.ndarray, np.ndarray, Any]:
    """Rows (2N, D), the partner of each, and the setting."""
    setting = make_setting(load_data(*blobs), "views", **OPTIONS)
    partner = setting.graph.to_csr().toarray().argmax(axis=1)
    return setting.data.X, partner, setting


def naive_covariance(X: np.ndarray, partner: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """sum alpha_ij {(x_i - x_j)(x_i - x_j)' - (x_i - x_i')(x_i - x_i')'}; alpha (2N, 2N), zero where no negative."""
    C = np.zeros((X.shape[1], X.shape[1]))
    for i, p in enumerate(partner):
        own = np.outer(X[i] - X[p], X[i] - X[p])
        for j in np.flatnonzero(alpha[i]):
            C += alpha[i, j] * (np.outer(X[i] - X[j], X[i] - X[j]) - own)
    return C


def softmax_alpha(Z: np.ndarray, partner: np.ndarray, power: float = 1.0, tau: float = TAU) -> np.ndarray:
    d = ((Z[:, None] - Z[None]) ** 2).sum(axis=2) / 2
    w = np.exp(-(d**power) / tau)
    w[np.arange(len(Z)), np.arange(len(Z))] = 0.0
    w[np.arange(len(Z)), partner] = 0.0
    return np.asarray(w / w.sum(axis=1, keepdims=True))


def naive_infonce(Z: torch.Tensor, partner: np.ndarray) -> torch.Tensor:
    """sum_i tau log sum_j e^{(d_i^2 - d_ij^2)/tau}."""
    d = ((Z[:, None] - Z[None]) ** 2).sum(dim=2) / 2
    n = torch.arange(len(Z))
    u = d[n, partner][:, None] - d
    mask = torch.zeros_like(d)
    mask[n, n] = mask[n, partner] = -torch.inf
    return TAU * torch.logsumexp(u / TAU + mask, dim=1).sum()


def arrays_of(payload: dict[str, Any], place: int) -> dict[str, np.ndarray]:
    stored = open_run(payload["run"]).load_arrays("arrays")
    start = f"{payload['rows'][place]['slug']}/"
    return {name.removeprefix(start): array for name, array in stored.items() if name.startswith(start)}


def test_a_certified_row_is_what_loops_and_scipy_say(blobs: tuple[str, Path], found: dict[str, Any]) -> None:
    X, partner, setting = views(blobs)
    row, arrays = found["rows"][0], arrays_of(found, 0)
    r = 1 / np.linalg.eigvalsh(np.cov(X.T, bias=True))[-1]
    W, Z = arrays["W"], arrays["Z"]
    assert (W**2).sum() == pytest.approx(r, rel=1e-9)
    assert np.allclose(Z, (X - X.mean(axis=0)) @ W)
    alpha = softmax_alpha(Z, partner)
    C = naive_covariance(X, partner, alpha)
    values, V = np.linalg.eigh(C)
    assert arrays["eigenvalues"] == pytest.approx(values[::-1], rel=1e-6)
    assert row["lambda_max"] == pytest.approx(values[-1], rel=1e-6)
    assert row["energy"] == pytest.approx(np.trace(W.T @ C @ W) / (r * values[-1]), rel=1e-6)
    level = int((values > values[-1] * (1 - 1e-3)).sum())
    assert row["multiplicity"] == level == row["rank"] == np.linalg.matrix_rank(W, tol=1e-3 * np.linalg.norm(W))
    assert row["rank"] > 1
    outside = W - V[:, -level:] @ (V[:, -level:].T @ W)
    assert np.linalg.norm(outside) < 1e-3 * np.linalg.norm(W)
    assert row["angle"] < 1e-3
    G = W @ W.T
    residual = np.linalg.norm(C @ G - values[-1] * G) / np.linalg.norm(C) / np.linalg.norm(G)
    assert row["residual"] == pytest.approx(residual, abs=1e-9)
    p = np.where(alpha > 0, alpha, 1.0)
    assert row["effective_negatives"] == pytest.approx(np.median(np.exp(-(alpha * np.log(p)).sum(axis=1))), rel=1e-6)

    def trained(B: torch.Tensor) -> torch.Tensor:
        return naive_infonce(torch.tensor(X) @ (B * np.sqrt(r) / torch.linalg.norm(B)), partner)

    least, _ = naive.minimise(trained, (D, K))
    assert row["loss"] == pytest.approx(least, rel=LOSS_TOL)
    assert row["loss"] == pytest.approx(float(naive_infonce(torch.tensor(Z), torch.tensor(partner))), rel=1e-9)
    assert 0 <= row["gap"] < 1e-6
    assert abs(row["trained_excess"]) < 1e-6

    start = np.random.default_rng(3).standard_normal((D, K))
    start *= np.sqrt(r) / np.linalg.norm(start)
    frozen = naive_covariance(X, partner, softmax_alpha(X @ start, partner))
    first = np.sqrt(r) * np.linalg.eigh(frozen)[1][:, -1:]
    assert row["loss_frozen"] == pytest.approx(float(naive_infonce(torch.tensor(X @ first), torch.tensor(partner))))
    assert row["loss_frozen"] > row["loss"]
    spectrum = np.linalg.eigvalsh(frozen)[::-1]
    assert row["spectrum_frozen"] == pytest.approx(spectrum / spectrum[0])
    train, test = setting.probe_train, setting.probe_test
    for name, W_of in (("probe", W), ("probe_frozen", first), ("probe_pca", V[:, ::-1][:, :K])):
        score = linear_probe_score(train.X @ W_of, train.y, test.X @ W_of, test.y, classification=True)
        assert row[name] == pytest.approx(score)


def test_a_rule_without_a_loss_stands_still_at_the_top_of_its_own_covariance(
    blobs: tuple[str, Path], found: dict[str, Any]
) -> None:
    """And InfoNCE trained by ascent, without a look at its loss's optimum, gets there."""
    X, partner, _ = views(blobs)
    W = arrays_of(found, 1)["W"]
    C = naive_covariance(X, partner, softmax_alpha((X - X.mean(axis=0)) @ W, partner, power=2.0, tau=0.1))
    top = np.linalg.eigvalsh(C)[-1]
    assert np.linalg.norm(C @ W - top * W) < 1e-3 * top * np.linalg.norm(W)
    row = found["rows"][1]
    assert row["gap"] is None
    assert row["judged"] == "diagnostic"
    assert row["loss"] is None
    contrast = al.Contrast.of_graph(views(blobs)[2].graph)
    ended = [
        al.ascend_live(np.array(X), contrast, al.Nce(TAU, 0.0), radius=0.1, n_components=K, seed=s) for s in (0, 1)
    ]
    assert all(run.converged for run in ended)

    def trained(B: torch.Tensor) -> torch.Tensor:
        return naive_infonce(torch.tensor(X) @ (B * np.sqrt(0.1) / torch.linalg.norm(B)), partner)

    least, _ = naive.minimise(trained, (D, K))
    for run in ended:
        assert float(naive_infonce(torch.tensor(run.Z), torch.tensor(partner))) == pytest.approx(least, rel=LOSS_TOL)
        alpha = softmax_alpha(run.Z, partner)
        energy = np.trace(run.W.T @ naive_covariance(X, partner, alpha) @ run.W) / 2
        assert run.energy == pytest.approx(energy, rel=1e-9)


def test_ascent_leaves_saddles_and_says_where_everything_loses() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((8, 3)) * [3.0, 1.0, 0.5]
    X = np.vstack([x, x + 0.01 * rng.standard_normal((8, 3))])
    contrast = al.Contrast.of(8)
    partner = (np.arange(16) + 8) % 16
    alpha = np.ones((16, 16)) / 14
    alpha[np.arange(16), np.arange(16)] = alpha[np.arange(16), partner] = 0
    values, V = np.linalg.eigh(naive_covariance(X, partner, alpha))
    run = al.ascend_live(X, contrast, al.UniformRule(), start=V[:, :1], n_components=1)  # the least eigenvector
    assert run.energy == pytest.approx(values[-1] / 2, rel=1e-6)
    assert abs(float(run.W[:, 0] @ V[:, -1])) == pytest.approx(1, abs=1e-5)
    apart = np.vstack([0.01 * x, 0.01 * x + rng.standard_normal((8, 3))])  # positives farther than any negatives
    apart[8:] = 0.01 * x + np.array([5.0, 5.0, 5.0]) * rng.choice([-1, 1], size=(8, 3))
    lost = al.ascend_live(apart, al.Contrast.of(8, views="one"), al.UniformRule())
    assert lost.collapsed
    assert not lost.W.any()
    assert "collapsed" in lost.message
    for options, said in [
        ({"radius": 0.0}, "radius must be a positive number"),
        ({"n_components": 4}, "from 1 to 3"),
        ({"max_iter": 0}, "max_iter"),
        ({"start": np.zeros((3, 3))}, "same point"),
        ({"start": np.ones((3, 2))}, r"shape \(3, 3\)"),
    ]:
        with pytest.raises(DataError, match=said):
            al.ascend_live(X, contrast, al.UniformRule(), **options)
    with pytest.raises(DataError, match="all rows of X are equal"):
        al.ascend_live(np.ones((16, 3)), contrast, al.UniformRule())


def test_guard_rails_are_told(found: dict[str, Any]) -> None:
    notes = " | ".join(found["notes"])
    assert "direct(temperature=0.1): no loss stands behind this rule" in notes
    assert "modified_triplet(sharpness=20): not convex" in notes
    assert "infonce: eps = 1: the row sum of alpha depends on the encoder" in notes
    assert f"infonce(temperature={TAU}, eps=0): eps" not in notes
    assert [row["rank"] for row in found["rows"] if row["rule"] == "uniform"] == [1]
    assert [entry["temperature"] for entry in found["sweep"]] == [0.1, 2.0]
    assert found["sweep"][0]["rule"] == "infonce(eps=0)"
    assert found["sweep"][0]["rank"] == found["sweep"][0]["multiplicity"] > found["sweep"][1]["rank"]
    assert "lpha frozen: rank 1; alpha live: rank 1 to" in found["answer"]
    assert "for 5 of 5 rules" in found["answer"]


def test_alpha_that_favours_easy_negatives_is_told(blobs: tuple[str, Path], tmp_path: Path) -> None:
    """Pairs of unrelated rows: many negatives are nearer than the positive, where the sigmoid loss counts them less."""
    np.savez(tmp_path / "pairs.npz", i=np.arange(N), j=np.arange(N) + N)
    payload = command.alpha(
        data=blobs[0], relation="pairs", pairs=tmp_path / "pairs.npz", rules="modified_triplet(sharpness=20)",
        test_size=0.0, figures=False, out=tmp_path / "run",
    )  # fmt: skip
    Z = arrays_of(payload, 0)["Z"]
    d = ((Z[:, None] - Z[None]) ** 2).sum(axis=2) / 2
    partner = (np.arange(2 * N) + N) % (2 * N)
    counted = 0
    for i, p in enumerate(partner):
        near = np.sort([d[i, j] for j in range(2 * N) if j not in (i, p)])
        s = 1 / (1 + np.exp(-20 * (d[i, p] - near)))
        counted += bool((np.diff(s * (1 - s)) > 1e-12 * (s * (1 - s)).max()).any())
    assert payload["rows"][0]["disordered"] == counted / (2 * N) > 0.2
    assert f"alpha is not monotone: for {100 * counted / (2 * N):.0f} % of the anchors" in " ".join(payload["notes"])
    assert payload["sweep"] == []


def test_a_collapse_is_told_as_one(tmp_path: Path) -> None:
    """Pairs that are farther apart than all else: no direction has a positive eigenvalue, and W = 0."""
    rng = np.random.default_rng(0)
    side = np.repeat([-1.0, 1.0], 10)[:, None]
    X = 5 * side + 0.01 * rng.standard_normal((20, 1))
    np.save(tmp_path / "X.npy", X)
    np.savez(tmp_path / "pairs.npz", i=np.arange(10), j=np.arange(10) + 10)
    payload = command.alpha(
        data=str(tmp_path / "X.npy"), relation="pairs", pairs=tmp_path / "pairs.npz", rules="direct, uniform",
        anchors="one", temperatures=(), test_size=0.0, figures=False, out=tmp_path / "run",
    )  # fmt: skip
    assert all(row["lambda_max"] <= 0 and row["rank"] == 0 for row in payload["rows"])
    assert sum("W collapses" in note for note in payload["notes"]) == 2
    assert [row["energy"] for row in payload["rows"]] == [None, None]
    assert "no labels: probes left out" in payload["notes"]


def test_of_a_pair_list_whole_pairs_are_kept_and_probes_see_all_training_rows(
    blobs: tuple[str, Path], tmp_path: Path
) -> None:
    """Rows whose partner is held out are left out of training: counted here from the split itself."""
    pairs = np.arange(2 * N).reshape(-1, 2)
    (tmp_path / "pairs.csv").write_text("i,j\n" + "".join(f"{i},{j}\n" for i, j in pairs))
    options: dict[str, Any] = {
        "data": blobs[0], "labels": blobs[1], "relation": "pairs", "pairs": tmp_path / "pairs.csv", "seed": 3,
        "rules": "uniform", "temperatures": (), "n_components": K, "figures": False,
    }  # fmt: skip
    train, held = load_data(*blobs).split(0.25, 3)
    both = np.isin(pairs, train).all(axis=1)
    payload = command.alpha(**options, out=tmp_path / "a")
    arrays = open_run(tmp_path / "a").load_arrays("arrays")
    assert 2 < both.sum() < len(pairs), "pairs are parted by the split"
    assert len(arrays["1-uniform/Z"]) == 2 * both.sum()
    assert f"{train.size - 2 * both.sum()} training rows without a partner among them" in " ".join(payload["notes"])
    X = np.load(blobs[0])
    y = np.load(blobs[1])
    rows = np.sort(pairs[both].ravel())
    Z = (X - X[rows].mean(axis=0)) @ arrays["1-uniform/W"]
    assert np.allclose(Z[rows], arrays["1-uniform/Z"])
    probe = linear_probe_score(Z[train], y[train], Z[held], y[held], classification=True)
    assert payload["rows"][0]["probe"] == pytest.approx(probe)
    command.alpha(**options, test_size=0.0, n_originals=5, out=tmp_path / "b")
    assert len(open_run(tmp_path / "b").load_arrays("arrays")["1-uniform/Z"]) == 10


def test_an_optimum_inside_the_ball_is_not_compared_with_pca(blobs: tuple[str, Path], tmp_path: Path) -> None:
    """Views far apart use little of a large radius; C_alpha W is then 0, by the naive covariance."""
    options = {**OPTIONS, "transforms": "noise(scale=2)"}
    rule = f"infonce(temperature={TAU}, eps=0)"
    payload = command.alpha(
        data=blobs[0], rules=rule, radius=10.0, temperatures=(), figures=False, out=tmp_path / "a", **options
    )
    row = payload["rows"][0]
    setting = make_setting(load_data(*blobs), "views", **options)
    X, partner = setting.data.X, setting.graph.to_csr().toarray().argmax(axis=1)
    arrays = open_run(tmp_path / "a").load_arrays("arrays")
    Z, W = arrays[f"{row['slug']}/Z"], arrays[f"{row['slug']}/W"]
    C = naive_covariance(X, partner, softmax_alpha(Z, partner))
    assert float((W**2).sum()) == pytest.approx(row["inside"])
    assert row["inside"] < 9
    assert np.linalg.norm(C @ W) < 1e-3 * np.linalg.norm(C) * np.linalg.norm(W)
    assert row["energy"] is None
    assert "inside the ball, where PCA of C_alpha says nothing: infonce" in payload["answer"]
    assert "% of the energy" not in payload["answer"]


def test_equal_rows_are_said_to_be_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "X.npy", np.ones((20, 3)))
    assert main(["alpha", "--data", str(tmp_path / "X.npy"), "--quiet"]) == 2
    assert "all rows of the data are equal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--relation", "knn"], "must join every row with exactly one other"),
        (["--rules", "infonc"], "did you mean 'infonce'"),
        (["--rules", "r_s(temperature=-1)"], "temperature must be a finite number above 0"),
        (["--rules", ""], "the text is empty"),
        (["--radius", "-1"], "radius, the bound of |W|_F^2, must be a positive number"),
        (["--temperatures", "0"], "temperatures must be numbers above 0"),
        (["--n-components", "99"], "n_components must be from 1 to 7"),
        (["--n-originals", "-3"], "n_originals must be at least 0"),
        (["--n-originals", "1"], "n_originals must be 0, for all, or at least 2"),
        (["--rules", "direct", "--temperatures", "0.5"], "leave --temperatures out, or add infonce"),
        (["--anchors", "three"], "one of two, one"),
    ],
)
def test_bad_options_are_refused_before_a_run_is_made(
    argv: list[str], said: str, blobs: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alpha", "--data", blobs[0], "--out", str(tmp_path / "run"), *argv]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_command_prints_json_and_draws_its_figures(
    blobs: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["alpha", "--data", blobs[0], "--labels", str(blobs[1]), "--rules", "r_h(temperature=0.1), r_s, uniform"]
    words += ["--temperatures", "0.1,1", "--n-originals", "12", "--out", str(tmp_path / "run"), "--quiet", "--json"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["rule"] for row in printed["rows"]] == ["r_h(temperature=0.1)", "r_s", "uniform"]
    assert printed["data"]["n_train"] == 24
    assert "12 originals trained on, 24 anchors, 22 negatives each" in printed["setting"]
    drawn = sorted(map(Path, printed["figures"]))
    assert [path.name for path in drawn] == ["importance.png", "negatives.png", "spectrum.png", "temperature.png"]
    assert all(path.stat().st_size > 10_000 for path in drawn)


def test_an_interrupt_keeps_the_rules_that_are_done(
    blobs: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = command._row

    def interrupted(rule: Any, name: str, work: Any) -> Any:
        if name == "linear":
            raise KeyboardInterrupt
        return one(rule, name, work)

    monkeypatch.setattr(command, "_row", interrupted)
    assert main(["alpha", "--data", blobs[0], "--rules", "uniform, linear", "--out", str(tmp_path / "run")]) == 130
    run = open_run(tmp_path / "run")
    assert [row["rule"] for row in run.result["rows"]] == ["uniform"]


def test_ascent_ends_where_columns_are_too_few(blobs: tuple[str, Path]) -> None:
    """Two columns where three directions are level: the best that two can do, by scipy, and no endless kicks."""
    X, partner, setting = views(blobs)
    contrast = al.Contrast.of_graph(setting.graph)
    run = al.ascend_live(np.array(X), contrast, al.Nce(TAU, 0.0), radius=0.1, n_components=2)
    assert run.converged
    assert run.steps < 900

    def trained(B: torch.Tensor) -> torch.Tensor:
        return naive_infonce(torch.tensor(X) @ (B * np.sqrt(0.1) / torch.linalg.norm(B)), partner)

    least, _ = naive.minimise(trained, (D, 2))
    assert float(naive_infonce(torch.tensor(run.Z), torch.tensor(partner))) == pytest.approx(least, rel=LOSS_TOL)
