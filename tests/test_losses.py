"""The batch losses: golden values, terms against torch's own layers, gradients, refusals, the bridge to methods.

Golden values are those on which the public implementations named in docs/conventions.md agree. The statements with an
id (I7, I9, W8, W9) are in test_theory_practice.py.
"""

import importlib.util
import inspect
import itertools
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import naive
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import spectral_ssl as ss
from spectral_ssl import losses
from spectral_ssl.errors import DataError
from spectral_ssl.losses import CONVENTIONS

EXACT = 1e-12  # float64 sums of 64 x 16 numbers in another order: 1e-14
TRAINED = 1e-9  # L-BFGS stops at |grad| of about 1e-8, and the excess is its square over the curvature

NAMES = list(CONVENTIONS)
ROWS = [(loss, convention) for loss, rows in CONVENTIONS.items() for convention in rows]


def golden() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    za = 0.7 * torch.randn(64, 16, generator=draw, dtype=torch.float64)
    return za, za + 0.3 * torch.randn(64, 16, generator=draw, dtype=torch.float64)


def pair(B: int, K: int, seed: int = 0, scale: float = 0.8) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    za = scale * torch.randn(B, K, generator=draw, dtype=torch.float64) + 0.3
    return za, za + 0.4 * torch.randn(B, K, generator=draw, dtype=torch.float64)


def run(loss: str, *views: torch.Tensor, **options: Any) -> torch.Tensor:
    value: torch.Tensor = getattr(losses, loss)(*views, **options)
    return value


def terms(loss: str, *views: torch.Tensor, **options: Any) -> dict[str, torch.Tensor]:
    parts: dict[str, torch.Tensor] = getattr(losses, f"{loss}_terms")(*views, **options)
    return parts


def off_diagonal(M: torch.Tensor) -> torch.Tensor:
    return (M[~torch.eye(M.shape[0], dtype=torch.bool)] ** 2).sum()


# --- values ---------------------------------------------------------------------------------------------------------

GOLDEN = [
    ("vicreg", {"convention": "code"}, 9.237998370020560),
    ("vicreg", {"convention": "paper"}, 16.119049460580165),
    ("barlow_twins", {"convention": "code"}, 0.126290812488642),
    ("barlow_twins", {"convention": "paper"}, 0.165898572760783),
    ("nt_xent", {"temperature": 0.5}, 3.176279446694486),
    ("nt_xent", {"temperature": 0.1}, 0.186384034103934),
]


@pytest.mark.parametrize(("loss", "options", "value"), GOLDEN)
def test_golden_values(loss: str, options: dict[str, Any], value: float) -> None:
    assert float(run(loss, *golden(), **options)) == pytest.approx(value, rel=EXACT)


def test_golden_terms_of_vicreg() -> None:
    parts = {"invariance": 2.224629155299179, "variance": 6.881051090559605, "covariance": 0.132318124161776}
    found = terms("vicreg", *golden())
    assert {name: float(part) for name, part in found.items()} == pytest.approx(parts, rel=EXACT)
    doubled = terms("vicreg", *golden(), convention="paper")
    assert float(doubled["variance"]) == pytest.approx(2 * parts["variance"], rel=EXACT)


@pytest.mark.parametrize(("B", "K"), [(2, 1), (5, 3), (33, 7)])
def test_terms_of_vicreg_are_torchs_own_mse_var_and_cov(B: int, K: int) -> None:
    za, zb = pair(B, K)
    hinge = sum(F.relu(1 - torch.sqrt(z.var(dim=0) + 0.01)).mean() for z in (za, zb))
    covariance = sum(off_diagonal(torch.cov(z.T).reshape(K, K)) for z in (za, zb)) / K
    weights = {"invariance": 3.0, "variance": 5.0, "covariance": 7.0, "eps": 0.01}
    for convention, share in (("code", 0.5), ("paper", 1.0)):
        found = terms("vicreg", za, zb, convention=convention, **weights)
        expected = {"invariance": 3 * F.mse_loss(za, zb), "variance": 5 * share * hinge, "covariance": 7 * covariance}
        for name, value in expected.items():
            assert float(found[name]) == pytest.approx(float(value), rel=EXACT, abs=1e-15), name


@pytest.mark.parametrize(("B", "K"), [(2, 1), (5, 3), (33, 7)])
def test_terms_of_barlow_twins_are_those_of_torchs_batch_norm_or_std(B: int, K: int) -> None:
    za, zb = pair(B, K)
    batch_norm = torch.nn.BatchNorm1d(K, affine=False, eps=0.02, dtype=torch.float64)
    matrices = {
        "code": batch_norm(za).T @ batch_norm(zb) / B,
        "paper": ((za - za.mean(0)) / (za.std(0) + 0.02)).T @ ((zb - zb.mean(0)) / (zb.std(0) + 0.02)) / B,
    }
    for convention, C in matrices.items():
        found = terms("barlow_twins", za, zb, redundancy=0.3, eps=0.02, convention=convention)
        assert float(found["invariance"]) == pytest.approx(float(((torch.diag(C) - 1) ** 2).sum()), rel=EXACT)
        assert float(found["redundancy"]) == pytest.approx(float(0.3 * off_diagonal(C)), rel=EXACT, abs=1e-15)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@pytest.mark.parametrize(("B", "K"), [(2, 1), (5, 3), (33, 7)])
def test_nt_xent_is_torchs_cross_entropy_of_cosines(B: int, K: int, temperature: float) -> None:
    za, zb = pair(B, K)
    Z = torch.cat([za, zb])
    logits = F.cosine_similarity(Z[:, None], Z[None, :], dim=2) / temperature
    logits = logits[~torch.eye(2 * B, dtype=torch.bool)].reshape(2 * B, 2 * B - 1)  # column j moves left past i = j
    target = torch.tensor([i + B - 1 if i < B else i - B for i in range(2 * B)])
    for convention in ("code", "paper"):
        found = run("nt_xent", za, zb, temperature=temperature, convention=convention)
        assert float(found) == pytest.approx(float(F.cross_entropy(logits, target)), rel=1e-11)
    alignment = -F.cosine_similarity(za, zb).mean() / temperature
    assert float(terms("nt_xent", za, zb, temperature=temperature)["alignment"]) == pytest.approx(float(alignment))


@pytest.mark.parametrize("mu", [0.5, 4.0, 100.0])
def test_spectral_contrastive_is_a_loop_over_pairs_of_bounded_rows(mu: float) -> None:
    B = 6
    za, zb = pair(B, 3, scale=1.5)
    bounded = [[z / max(1.0, float(z.norm()) / math.sqrt(mu)) for z in branch] for branch in (za, zb)]
    longer = sum(float(z.norm()) > math.sqrt(mu) for z in za)
    assert (longer == B) if mu == 0.5 else (longer == 0) if mu == 100 else (0 < longer < B)
    a, b = bounded
    attraction = -2 * sum(float(a[i] @ b[i]) for i in range(B)) / B
    repulsion = sum(float(a[i] @ b[j]) ** 2 for i in range(B) for j in range(B) if i != j) / (B * (B - 1))
    found = terms("spectral_contrastive", za, zb, mu=mu)
    assert float(found["attraction"]) == pytest.approx(attraction / mu, rel=EXACT)
    assert float(found["repulsion"]) == pytest.approx(repulsion / mu, rel=EXACT)
    if mu == 100:  # beyond every row: the paper's loss, over mu
        paper = run("spectral_contrastive", za, zb, convention="paper")
        assert float(paper) == pytest.approx(attraction + repulsion, rel=EXACT)
    if mu == 0.5:
        assert float(run("spectral_contrastive", za, zb)) == pytest.approx(
            float(run("spectral_contrastive", za, zb, mu=1.0)), rel=EXACT
        )


def test_ssl_ey_is_the_trace_of_torchs_joint_covariance() -> None:
    za, zb = pair(9, 4)
    joint = torch.cov(torch.hstack([za, zb]).T)
    A, V = joint[:4, 4:] + joint[4:, :4], joint[:4, :4] + joint[4:, 4:]
    found = terms("ssl_ey", za, zb)
    assert float(found["attraction"]) == pytest.approx(float(-2 * torch.trace(A)), rel=EXACT)
    assert float(found["repulsion"]) == pytest.approx(float(torch.trace(V @ V)), rel=EXACT)


def test_barlow_twins_in_the_papers_convention_is_never_zero() -> None:
    """Identical, decorrelated views: 0 in code, K / B^2 in the pseudocode, whose constants do not fit."""
    B, K = 8, 3
    z = torch.as_tensor(np.linalg.qr(np.hstack([np.ones((B, 1)), np.random.default_rng(0).normal(size=(B, K))]))[0])
    z = z[:, 1:]
    assert float(run("barlow_twins", z, z, eps=0.0)) < 1e-28
    assert float(run("barlow_twins", z, z, eps=0.0, convention="paper")) == pytest.approx(K / B**2, rel=EXACT)


# --- contract -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "convention"), ROWS)
def test_terms_sum_to_the_loss_and_gradients_are_those_of_finite_differences(loss: str, convention: str) -> None:
    za, zb = (z.requires_grad_() for z in pair(5, 3))
    value = run(loss, za, zb, convention=convention)
    assert value.shape == ()
    parts = terms(loss, za, zb, convention=convention)
    assert value.item() == pytest.approx(sum(part.item() for part in parts.values()), rel=EXACT)
    torch.autograd.gradcheck(lambda a, b: run(loss, a, b, convention=convention), (za, zb))


@pytest.mark.parametrize("eps", [0.0, None])
@pytest.mark.parametrize(("loss", "convention"), ROWS)
def test_a_collapsed_column_and_a_zero_row_leave_the_gradient_finite(
    loss: str, convention: str, eps: float | None
) -> None:
    za, zb = pair(5, 3)
    za[:, 1], zb[:, 1], za[2] = 0.0, 0.0, 0.0
    za, zb = za.requires_grad_(), zb.requires_grad_()
    given = {} if eps is None or "eps" not in inspect.signature(getattr(losses, loss)).parameters else {"eps": eps}
    run(loss, za, zb, convention=convention, **given).backward()
    assert za.grad is not None
    assert zb.grad is not None
    assert torch.isfinite(za.grad).all()
    assert torch.isfinite(zb.grad).all()


PRECISION = {
    torch.float16: 5e-3,
    torch.bfloat16: 4e-2,
    torch.float32: 1e-5,
    torch.float64: 1e-12,
}  # roundings of 11, 8, 24, 53 bits


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize(("loss", "convention"), ROWS)
def test_zero_rows_have_a_value_and_a_gradient_in_every_precision(
    loss: str, convention: str, dtype: torch.dtype
) -> None:
    za, zb = pair(5, 3)
    za, zb = (z.to(dtype).double() for z in (za, zb))  # the numbers of the coarser type, in both
    za[2] = zb[2] = 0.0
    za[3] = 2.0**-22  # in float16 below the least normal number, and 1/|z| above the largest
    fine = run(loss, za, zb, convention=convention)
    a, b = (z.to(dtype, copy=True).requires_grad_() for z in (za, zb))
    value = run(loss, a, b, convention=convention)
    value.backward()
    assert torch.isfinite(value)
    if dtype != torch.float16 or loss != "nt_xent":  # few bits are left of such a row there
        size = 1 + sum(abs(float(part)) for part in terms(loss, za, zb, convention=convention).values())
        assert value.item() == pytest.approx(float(fine), abs=PRECISION[dtype] * size)
    for z in (a, b):
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("dtype", PRECISION)
def test_a_zero_row_has_cosine_zero_with_every_other(dtype: torch.dtype) -> None:
    za, zb = torch.eye(2, dtype=dtype), torch.eye(2, dtype=dtype)
    za[0] = 0  # rows 0, e2, e1, e2; positives (0, e1) and (e2, e2), at temperature 1
    expected = (2 * math.log(3) + 2 * (math.log(math.e + 2) - 1)) / 4
    assert float(run("nt_xent", za, zb, temperature=1.0)) == pytest.approx(expected, rel=PRECISION[dtype])
    za.requires_grad_()
    run("nt_xent", za, zb, temperature=0.01).backward()  # which would overflow with 1/tiny for 1/|z|
    assert za.grad is not None
    assert torch.isfinite(za.grad).all()


@pytest.mark.parametrize("loss", NAMES)
def test_losses_are_symmetric_in_the_views_keep_the_dtype_and_leave_the_input_alone(loss: str) -> None:
    za, zb = pair(6, 3)
    before = za.clone()
    assert float(run(loss, za, zb)) == pytest.approx(float(run(loss, zb, za)), rel=EXACT)
    assert torch.equal(za, before)
    single = run(loss, za.float(), zb.float())
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(run(loss, za, zb)), rel=1e-4)


def test_a_loss_shows_its_own_signature_and_formula() -> None:
    assert inspect.signature(losses.vicreg).parameters["eps"].default == 1e-4
    assert inspect.signature(losses.vicreg).return_annotation == "Tensor"
    assert losses.vicreg.__name__ == "vicreg"
    assert "mean_ik (za_ik - zb_ik)^2" in (losses.vicreg.__doc__ or "")


NAN = torch.tensor([[0.0, float("nan")], [1.0, 2.0], [3.0, 4.0]])
GOOD = torch.arange(6.0).reshape(3, 2)
BAD_VIEWS: list[tuple[str, Any, Any, str]] = [
    ("batch of one", GOOD[:1], GOOD[:1], "a batch of 1 has neither covariance nor negatives"),
    ("empty batch", GOOD[:0], GOOD[:0], "a batch of 0"),
    ("shapes", GOOD, GOOD[:2], r"za has shape \(3, 2\) and zb \(2, 2\)"),
    ("no K", GOOD[:, 0], GOOD[:, 0], r"za has shape \(3,\), expected \(B, K\)"),
    ("K = 0", GOOD[:, :0], GOOD[:, :0], r"za has shape \(3, 0\), expected \(B, K\)"),
    ("NaN", GOOD, NAN, "zb holds 1 NaN or infinite values of 6"),
    ("infinite", GOOD / 0, GOOD, "za holds 6 NaN or infinite values of 6"),
    ("whole numbers", GOOD.long(), GOOD, "za holds torch.int64"),
    ("complex", GOOD, GOOD.to(torch.complex64), "zb holds torch.complex64"),
    ("numpy", GOOD.numpy(), GOOD, "za must be a torch tensor, got ndarray"),
    ("dtypes", GOOD, GOOD.double(), "make them alike"),
]


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize(("za", "zb", "words"), [case[1:] for case in BAD_VIEWS], ids=[case[0] for case in BAD_VIEWS])
def test_views_that_make_no_batch_are_refused_in_words(loss: str, za: Any, zb: Any, words: str) -> None:
    for function in (run, terms):
        with pytest.raises(DataError, match=words):
            function(loss, za, zb)
    with pytest.raises(DataError, match=words):
        losses.both_orders(za, zb)


@pytest.mark.parametrize(
    ("loss", "options", "words"),
    [
        ("nt_xent", {"temperature": 0.0}, "temperature must be a positive number, got 0"),
        ("nt_xent", {"temperature": -1.0}, "temperature must be a positive number, got -1"),
        ("nt_xent", {"temperature": math.nan}, "temperature must be a positive number, got nan"),
        ("vicreg", {"variance": -1.0}, "variance must be a number >= 0"),
        ("vicreg", {"covariance": math.inf}, "covariance must be a number >= 0"),
        ("vicreg", {"eps": -1e-4}, "eps must be a number >= 0"),
        ("barlow_twins", {"redundancy": -1.0}, "redundancy must be a number >= 0"),
        ("spectral_contrastive", {"mu": 0.0}, "mu must be a positive number"),
        ("spectral_contrastive", {"mu": 1.0, "convention": "paper"}, "leave it out"),
        ("ssl_ey", {"convention": "paper"}, "one convention"),
    ],
)
def test_options_out_of_range_are_refused_in_words(loss: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        run(loss, *pair(4, 2), **options)


@pytest.mark.parametrize("loss", NAMES)
def test_an_unknown_convention_is_refused(loss: str) -> None:
    with pytest.raises(DataError, match="choose 'paper' or 'code'"):
        run(loss, *pair(4, 2), convention="papre")


# --- the bridge -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "convention"), ROWS)
def test_every_row_of_the_table_says_what_it_equals_or_why_nothing_does(loss: str, convention: str) -> None:
    row = CONVENTIONS[loss][convention]
    assert all((row.formula, row.agrees, row.exact, row.left_over))
    B, K = 7, 3
    if row.equivalent is None:
        with pytest.raises(DataError, match=r"barlow_twins in convention 'paper' equals no method"):
            losses.equivalent(loss, convention, K, B)
        return
    same = losses.equivalent(loss, convention, K, B)
    if "on every batch" not in row.exact:
        assert loss == "spectral_contrastive"
        return  # in the mean over batches: the test below
    za, zb = pair(B, K)
    no_eps = {"eps": 0.0} if "eps" in inspect.signature(getattr(losses, loss)).parameters else {}
    either = "either order" in row.exact
    views = (za, zb) if either else losses.both_orders(za, zb)
    expected = float(run(loss, *views, convention=convention, **no_eps))
    found = same.batch_value(float(same.method.loss(same.stretch * torch.cat([za, zb]), losses.batch_graph(B))))
    assert found == pytest.approx(expected, rel=EXACT)
    if not either:  # in one order it is another number: the sentence in the table is needed
        once = float(run(loss, za, zb, convention=convention, **no_eps))
        assert abs(once - expected) > 1e-3 * abs(expected)


def test_the_graph_of_a_batch_is_the_views_relation_of_its_rows() -> None:
    data = ss.Dataset(name="views", X=np.zeros((10, 1)), source=np.tile(np.arange(5), 2))
    expected = ss.relations.views(data).to_csr().toarray()
    assert np.array_equal(losses.batch_graph(5).to_csr().toarray(), expected)
    i = np.arange(5)
    assert expected[i, i + 5].sum() == expected[i + 5, i].sum() == expected.sum() / 2 == 5


@pytest.mark.parametrize("B", [2, 3])
def test_spectral_contrastive_is_unbiased_over_batches_of_independent_pairs(B: int) -> None:
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((4, 2))
    A = np.triu(rng.uniform(0.2, 1.0, (4, 4)), 1)
    A[0, 3] = 0.0
    A = A + A.T
    i, j = np.nonzero(A)  # every pair in both orders, drawn with probability A_ij / s
    w = A[i, j] / A.sum()
    mean = {"code": 0.0, "paper": 0.0}
    for batch in itertools.product(range(i.size), repeat=B):
        at = list(batch)
        za, zb = torch.as_tensor(Z[i[at]]), torch.as_tensor(Z[j[at]])
        chance = float(np.prod(w[at]))
        mean["paper"] += chance * float(run("spectral_contrastive", za, zb, convention="paper"))
        mean["code"] += chance * float(run("spectral_contrastive", za, zb, mu=50.0))  # no row is that long
    p = A.sum(axis=1) / A.sum()
    S = Z @ Z.T
    population = -2 * (A / A.sum() * S).sum() + (np.outer(p, p) * S**2).sum()
    assert mean["paper"] == pytest.approx(population, rel=EXACT)
    assert mean["code"] == pytest.approx(population / 50, rel=EXACT)
    for convention, weights in (("paper", {}), ("code", {"mu": 50.0})):
        same = losses.equivalent("spectral_contrastive", convention, 2, B, **weights)
        loss = float(same.method.loss(Z, ss.Graph.from_adjacency(A)))
        assert same.batch_value(loss) == pytest.approx(mean[convention], rel=EXACT)


def test_ssl_ey_is_the_method_of_that_name_in_other_units() -> None:
    same = losses.equivalent("ssl_ey", "code", 3, 5)
    assert same == losses.Equivalent(ss.SSLEY(), stretch=math.sqrt(20 / 9))  # N = 10 rows over N - 1, in both orders
    assert same.batch_value(-1.5) == -1.5


@pytest.mark.parametrize(("loss", "weights"), [("ssl_ey", {}), ("barlow_twins", {"redundancy": 1.0})])
def test_the_optimum_of_the_equivalent_is_what_training_cannot_get_below(loss: str, weights: dict[str, float]) -> None:
    B, K = 12, 2
    xa, xb = pair(B, 5)
    X = torch.cat([xa, xb])
    same = losses.equivalent(loss, "code", K, B, **weights)
    best = ss.optimum(same.method, losses.batch_graph(B), K, X=X.numpy())
    options = {**weights, "eps": 0.0} if loss == "barlow_twins" else weights
    reached, _ = naive.minimise(lambda W: run(loss, *losses.both_orders(xa @ W, xb @ W), **options), (5, K))
    assert same.batch_value(best.loss) == pytest.approx(reached, rel=TRAINED)


@pytest.mark.parametrize(
    ("arguments", "weights", "words"),
    [
        (("vicregg", "code", 2, 4), {}, "did you mean 'vicreg'"),
        (("vicreg", "codes", 2, 4), {}, "choose 'code' or 'paper'"),
        (("ssl_ey", "paper", 2, 4), {}, "choose 'code'"),
        (("barlow_twins", "paper", 2, 4), {}, "never 0"),
        (("vicreg", "code", 0, 4), {}, "n_components must be a whole number at least 1, got 0"),
        (("vicreg", "code", 2, 1), {}, "batch, the number of pairs, must be a whole number at least 2, got 1"),
        (("vicreg", "code", 2, 4), {"variances": 1.0}, "did you mean 'variance'"),
        (("vicreg", "code", 2, 4), {"eps": 1e-4}, "no weight 'eps' to convert"),
        (("nt_xent", "code", 2, 4), {"temperature": -1.0}, "temperature must be a positive number"),
    ],
)
def test_equivalent_refuses_what_it_does_not_know(
    arguments: tuple[Any, ...], weights: dict[str, float], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        losses.equivalent(*arguments, **weights)


@pytest.mark.parametrize(
    ("Z", "B", "options", "words"),
    [
        (np.zeros(4), 2, {}, r"expected \(N, K\)"),
        (np.zeros((4, 0)), 2, {}, r"expected \(N, K\)"),
        (np.full((4, 2), np.nan), 2, {}, "8 NaN or infinite"),
        (np.zeros((4, 2)), 0, {}, "whole number at least 1, got 0"),
        (np.zeros((4, 2)), 1, {"centred": True}, "at least 2, got 1"),
        (np.zeros((4, 2)), 5, {"replacement": False}, "between 1 and 4, got 5"),
        (np.zeros((4, 2)), 2.5, {}, "got 2.5"),
        (np.zeros((4, 2)), 2, {"covariance": -1.0}, "covariance must be a number >= 0"),
    ],
)
def test_minibatch_bias_refuses_in_words(Z: Any, B: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        losses.minibatch_bias(Z, B, **options)


# --- the page -------------------------------------------------------------------------------------------------------


def conventions() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "conventions.py"
    spec = importlib.util.spec_from_file_location("conventions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_conventions_is_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = conventions()
    assert module.main(["--check"]) == 0, "run python benchmarks/conventions.py"
    stale = tmp_path / "conventions.md"
    stale.write_text(module.PAGE.read_text(encoding="utf-8").replace("9.23799837002", "9.23799837003"))
    monkeypatch.setattr(module, "PAGE", stale)
    assert module.main(["--check"]) == 1
    assert module.main([]) == 0
    assert module.main(["--check"]) == 0


def test_the_page_shows_the_golden_values() -> None:
    text = conventions().page()
    for _, options, value in GOLDEN:
        if options.get("temperature") != 0.1:
            assert f"**{value:.12g}**" in text


def test_the_page_shows_a_minimum_that_a_search_reaches() -> None:
    za, zb = golden()
    reached, _ = naive.minimise(lambda W: losses.ssl_ey(*losses.both_orders(za @ W, zb @ W)), (16, 4), starts=1)
    shown = conventions().page().split("With the golden tensors as X this is ")[1].split(". ")[0]
    assert float(shown) == pytest.approx(reached, rel=TRAINED)
