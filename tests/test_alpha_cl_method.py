"""AlphaCL beyond the contract of methods: rules without a loss, rows of length 1, batches, records, refusals."""

import json

import numpy as np
import pytest
import torch

import spectral_ssl as ss
from spectral_ssl import alpha_cl as al
from spectral_ssl.cli import main

ROUNDING = 1e-10  # relative: sums of a few hundred terms in another order
STILL = 1e-4  # |CW - lambda W| / |CW| after the steps of adam with a falling rate
N, D, K = 14, 4, 2


torch.set_num_threads(1)


def views(n: int = N) -> ss.Graph:
    return ss.Graph.from_pairs(np.arange(n // 2), np.arange(n // 2) + n // 2, n)


def features(seed: int = 0, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n // 2, D)) * [2.0, 1.5, 1.0, 0.5]
    return np.vstack([x, x + 0.3 * rng.standard_normal((n // 2, D))])


def direct(Z: np.ndarray, tau: float = 0.5) -> tuple[float, np.ndarray]:
    """-E and dE/dZ of alpha = softmax(-d^4 / tau), pair by pair, alpha held."""
    n, energy, slope = len(Z), 0.0, np.zeros_like(Z)
    for i in range(n):
        partner = (i + n // 2) % n
        others = [j for j in range(n) if j not in (i, partner)]
        d2 = np.array([((Z[i] - Z[j]) ** 2).sum() / 2 for j in others])
        alpha = np.exp(-(d2**2) / tau)
        alpha /= alpha.sum()
        energy += float(alpha @ d2) - ((Z[i] - Z[partner]) ** 2).sum() / 2
        for a, j in zip(alpha, others, strict=True):
            slope[i] += a * (Z[i] - Z[j])
            slope[j] -= a * (Z[i] - Z[j])
        slope[i] -= Z[i] - Z[partner]
        slope[partner] += Z[i] - Z[partner]
    return -energy, slope


def test_a_rule_without_a_loss_has_the_energy_and_its_gradient_with_alpha_held() -> None:
    Z = features()[:, :K]
    tensor = torch.tensor(Z, requires_grad=True)
    terms = ss.AlphaCL("direct(p=4)").loss_terms(tensor, views())
    assert list(terms) == ["energy"]
    terms["energy"].backward()
    value, slope = direct(Z)
    assert tensor.grad is not None
    assert terms["energy"].item() == pytest.approx(value, rel=ROUNDING)
    assert tensor.grad.numpy() == pytest.approx(-slope, rel=ROUNDING, abs=ROUNDING)


def test_steps_train_a_rule_without_a_loss_to_where_its_own_covariance_holds_it() -> None:
    X, method = features(), ss.AlphaCL("direct(p=4)", radius=0.5)
    run = ss.train(method, views(), K, X=X, optimizer="adam", schedule="cosine", max_iter=600)
    W = run.embedding.W
    assert W is not None
    assert (W**2).sum() == pytest.approx(0.5)
    CW = X.T @ direct(X @ W)[1]
    assert np.linalg.norm(CW - np.trace(W.T @ CW) / 0.5 * W) < STILL * np.linalg.norm(CW)
    with pytest.raises(ss.DataError, match="without a loss"):
        ss.train(method, views(), K, X=X)
    with pytest.raises(ss.NotClosedForm, match="nothing to minimise"):
        ss.optimum(method, views(), K, X=X)
    assert ss.train(method, views(), K, X=X, optimizer="sgd", batch_size=4, max_iter=5).embedding.Z.shape == (N, K)


def test_rows_of_length_one_are_tau_times_simclr() -> None:
    Z = features()[:, :3]
    loss = float(ss.AlphaCL("infonce(temperature=0.3)", constraint="unit").loss(Z, views()))
    assert loss == pytest.approx(0.3 * float(ss.SimCLR(0.3).loss(Z, views())), rel=ROUNDING)
    run = ss.train(ss.AlphaCL(constraint="unit"), views(), 3, X=features(), encoder="mlp(width=8)", max_iter=20)
    assert np.linalg.norm(run.embedding.Z, axis=1) == pytest.approx(np.ones(N))
    with pytest.raises(ss.DataError, match="bounds the weights"):
        ss.train(ss.AlphaCL(), views(), 3, X=features(), encoder="mlp(width=8)", max_iter=2)
    with pytest.raises(ss.DataError, match="no gradient moves them"):
        ss.train(ss.AlphaCL(constraint="unit"), views(), 1)


def test_a_batch_is_the_loss_among_its_own_samples() -> None:
    method, graph, Z = ss.AlphaCL("infonce(temperature=0.4, eps=0)"), views(), features()[:, :K]
    i, j = method.draw_pairs(graph, 5, np.random.default_rng(0))
    assert len(set(i) | set(j)) == 10
    assert np.array_equal(np.abs(i - j), np.full(5, N // 2))
    found = sum(method.batch_terms(torch.tensor(Z[i]), torch.tensor(Z[j]), i, j, graph).values())
    alone = method.loss(np.vstack([Z[i], Z[j]]), views(10))
    assert float(found) == pytest.approx(N / 10 * float(alone), rel=ROUNDING)
    with pytest.raises(ss.DataError, match="from 2 to the 7"):
        method.draw_pairs(graph, 8, np.random.default_rng(0))


def test_hyper_parameters_are_a_record() -> None:
    assert ss.AlphaCL("infonce(temperature=0.5, eps=1)").hyper["rule"] == "infonce" == ss.AlphaCL.rule
    assert ss.AlphaCL("direct(p=2)") == ss.AlphaCL(al.DirectRule(2.0))
    assert hash(ss.AlphaCL("r_s")) == hash(ss.AlphaCL(al.SparseRule()))

    def soft(u: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(u, dim=0)

    for rule in ("r_gamma(gamma=3)", al.FenchelAlpha(soft), al.CustomRule(lambda near, own: torch.exp(-near))):
        hyper = ss.AlphaCL(rule).hyper
        assert json.loads(json.dumps(hyper)) == hyper
    assert ss.AlphaCL("r_gamma(gamma=3)").hyper["rule"] == "r_gamma(gamma=3.0)"
    own = ss.optimum(ss.AlphaCL(al.FenchelAlpha(soft)), views(), K, X=features())
    named = ss.optimum(ss.AlphaCL("mine"), views(), K, X=features())
    assert own.loss == pytest.approx(named.loss, rel=1e-7)


def test_a_relation_that_is_not_of_two_views_is_refused() -> None:
    for graph in (ss.Graph.from_groups(np.arange(12) // 3), ss.Graph.from_pairs([0, 1], [1, 2], 4)):
        with pytest.raises(ss.DataError, match="exactly one other"):
            ss.AlphaCL().loss(np.zeros((graph.n_samples, 2)), graph)


def test_compare_shows_the_certified_optimum_beside_the_trained(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    argv = ["compare", "--data", "iris", "--relation", "views", "--n-components", "2", "--no-figures", "--quiet"]
    argv += ["--test-size", "0.8", "--max-iter", "400"]
    rules = "alpha_cl, alpha_cl(rule=uniform), alpha_cl(constraint=unit)"
    assert main([*argv, "--methods", rules, "--json", "--out", str(tmp_path / "run")]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["kind"] for row in rows] == ["certified", "exact", "bound"]
    assert all(abs(row["relative_excess"]) < 1e-8 for row in rows[:2])
    assert rows[0]["lower_bound"] <= rows[0]["loss_trained"]
    assert 0 < rows[2]["lower_bound"] < rows[2]["loss_trained"]
    assert rows[0]["hyper"]["rule"] == "infonce"
    assert main([*argv, "--methods", "alpha_cl(rule=direct)", "--out", str(tmp_path / "none")]) == 2
    assert "optimizer='adam'" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
