"""Pair importance: the gradient theorem, the two forms of the game, and the rules of alpha-CL; one test per statement.

Witnesses: losses written as loops over anchors and negatives from phi and psi alone, torch's autograd through them and
its cross_entropy, scipy's SLSQP, brentq and L-BFGS on the optimisation problems, differences of values.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from measure import Record, agree, relative

from spectral_ssl import alpha_cl as al
from spectral_ssl.errors import DataError, NotClosedForm, NumericalError

torch.set_num_threads(1)

GRADIENT_TOL = 1e-10  # two sums of a few hundred products in float64, relative to the largest entry
SLSQP_TOL = (
    1e-7  # SLSQP stops at a change of 1e-16 of an objective that is flat at its minimum: the square root, and some
)
VALUE_TOL = 1e-9  # L-BFGS at |grad| 1e-10 is off by its square; ftol leaves 1e-15 of the value
ARGMAX_TOL = 1e-5  # a descent by differences of values: the square root of their 1e-11
DIFFERENCE_TOL = 1e-6  # central differences of step 1e-5 in float64
N, D, K = 5, 4, 3
BOTH_VIEWS = pytest.mark.parametrize("views", ["one", "two"])

Scalar = Callable[[torch.Tensor], torch.Tensor]


def log_plus_square(x: torch.Tensor) -> torch.Tensor:
    return torch.log(x).clamp_min(0.0) ** 2


# loss -> (rule, phi, psi), as they are defined
MEMBERS: dict[str, tuple[al.PairLoss, Scalar, Scalar]] = {
    "infonce": (al.Nce(0.5, 1.0), lambda x: 0.5 * torch.log(1 + x), lambda u: torch.exp(u / 0.5)),
    "infonce eps=0": (al.Nce(0.3, 0.0), lambda x: 0.3 * torch.log(x), lambda u: torch.exp(u / 0.3)),
    "infonce eps=0.2": (al.Nce(0.7, 0.2), lambda x: 0.7 * torch.log(0.2 + x), lambda u: torch.exp(u / 0.7)),
    "mine": (al.Mine(), torch.log, torch.exp),
    "triplet": (al.Triplet(0.2), lambda x: x, lambda u: torch.relu(u + 0.2)),
    "soft_triplet": (al.SoftTriplet(0.5, 0.3), lambda x: 0.5 * torch.log(1 + x), lambda u: torch.exp(u / 0.5 + 0.3)),
    "tuplet": (al.Tuplet(), lambda x: torch.log(1 + x), torch.exp),
    "lifted_structured": (al.LiftedStructured(0.4), log_plus_square, lambda u: torch.exp(u + 0.4)),
    "modified_triplet": (al.ModifiedTriplet(2.0), lambda x: x, lambda u: 1 / (1 + torch.exp(-2 * u))),
    "linear": (al.Linear(), lambda x: x, lambda u: u),
}
CONVEX = [name for name in MEMBERS if name != "modified_triplet"]
EXPONENTIAL = ["infonce", "mine", "soft_triplet", "tuplet", "lifted_structured"]
each_member = pytest.mark.parametrize("name", MEMBERS)


def views_of_samples(seed: int = 0) -> torch.Tensor:
    """Rows of N samples, the first views and then the second, (2N, D)."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D))
    return torch.tensor(np.vstack([X, X + 0.4 * rng.standard_normal((N, D))]))


def networks(seed: int = 1) -> Iterator[tuple[str, list[torch.Tensor], Scalar]]:
    """(name, parameters, X -> Z) of five kinds."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> torch.Tensor:
        return torch.tensor(rng.standard_normal(shape) / math.sqrt(shape[0]), requires_grad=True)

    W, V, b, U, normed = weights(D, K), weights(D, 6), weights(6), weights(6, K), weights(D, K)
    yield "linear", [W], lambda X: X @ W
    yield "deep linear", [V, U], lambda X: X @ V @ U
    yield "relu", [V, b, U], lambda X: torch.relu(X @ V + b) @ U
    yield "tanh", [V, b, U], lambda X: torch.tanh(X @ V + b) @ U
    yield "normalised", [normed], lambda X: torch.nn.functional.normalize(X @ normed, dim=1)


def pairs(views: str) -> Iterator[tuple[int, int, list[int]]]:
    """(anchor, its positive, its negatives), as rows of Z."""
    for i in range(N if views == "one" else 2 * N):
        positive = (i + N) % (2 * N)
        yield i, positive, [j for j in range(N if views == "one" else 2 * N) if j not in (i, positive)]


def squared(a: torch.Tensor, b: torch.Tensor, half: bool) -> torch.Tensor:
    return ((a - b) ** 2).sum() / (2 if half else 1)


def naive_u(Z: torch.Tensor, views: str, half: bool) -> torch.Tensor:
    return torch.stack(
        [
            torch.stack([squared(Z[i], Z[p], half) - squared(Z[i], Z[j], half) for j in negatives])
            for i, p, negatives in pairs(views)
        ]
    )


def naive_loss(u: torch.Tensor, phi: Scalar, psi: Scalar) -> torch.Tensor:
    total = torch.zeros((), dtype=u.dtype)
    for row in u:
        xi = torch.zeros((), dtype=u.dtype)
        for value in row:
            xi = xi + psi(value)
        total = total + phi(xi)
    return total


def gradient(value: torch.Tensor, parameters: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, parameters)]).numpy()


# --- the gradient theorem ---------------------------------------------------------------------------------------------


@BOTH_VIEWS
@each_member
def test_A1_the_gradient_of_a_loss_is_that_of_the_energy_at_alpha_held_constant(
    name: str, views: str, record_property: Record
) -> None:
    """dL/dtheta = -dE_alpha/dtheta for each row, five networks, both distances: autograd through loops."""
    rule, phi, psi = MEMBERS[name]
    X = views_of_samples()
    for half in (True, False):
        contrast = al.Contrast.of(N, views=views, half_squared=half)
        for _, parameters, network in networks():
            u = naive_u(network(X), views, half)
            expected = gradient(naive_loss(u, phi, psi), parameters)
            found = -gradient(contrast.energy(network(X), rule.alpha(network(X), contrast)), parameters)
            agree(record_property, found, expected, GRADIENT_TOL, scale=np.abs(expected).max())
            leaf = u.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(naive_loss(leaf, phi, psi), leaf)
            assert relative(rule.alpha(network(X), contrast), slopes, scale=float(slopes.max())) < GRADIENT_TOL
            assert bool((slopes >= 0).all())
            assert (
                relative(float(rule.loss(network(X), contrast).detach()), float(naive_loss(u.detach(), phi, psi)))
                < 1e-12
            )


RULE_CASES: dict[str, al.AlphaRule] = {
    "r_h": al.EntropyRule(0.4),
    "r_gamma": al.PowerRule(0.4, 2.5),
    "r_s": al.SparseRule(0.8),
    "direct": al.DirectRule(4.0, 0.6),
    "direct free": al.DirectRule(3.0, 0.6, normalize=False),
    "uniform": al.UniformRule(),
    "custom": al.CustomRule(lambda negative, positive: positive[:, None] / (1 + negative)),
}


def naive_alpha(name: str, negative: np.ndarray, positive: float) -> np.ndarray:
    """alpha of one anchor, from its definition."""
    if name == "r_gamma":
        mu = scipy.optimize.brentq(
            lambda mu: ((0.4 / (negative + mu)) ** 0.4).sum() - 1, -negative.min() + 0.3999, 1e6, xtol=1e-15, rtol=1e-15
        )
        return (0.4 / (negative + mu)) ** 0.4
    if name == "r_s":
        mu = scipy.optimize.brentq(
            lambda mu: np.maximum(mu - negative, 0).sum() / 0.8 - 1, negative.min(), negative.max() + 1, xtol=1e-15
        )
        return np.maximum(mu - negative, 0) / 0.8
    w = {
        "r_h": lambda: np.exp(-negative / 0.4),
        "direct": lambda: np.exp(-(negative**2) / 0.6),
        "direct free": lambda: np.exp(-(negative**1.5) / 0.6),
        "uniform": lambda: np.ones_like(negative),
        "custom": lambda: positive / (1 + negative),
    }[name]()
    return w if name in ("direct free", "custom") else w / w.sum()


@BOTH_VIEWS
@pytest.mark.parametrize("name", RULE_CASES)
def test_A1_the_energy_of_a_rule_has_the_gradient_of_its_pairs_summed_by_hand(
    name: str, views: str, record_property: Record
) -> None:
    """dE/dz_i = sum_j alpha_ij (z_i - z_j) - ..., added pair by pair with alpha from its definition."""
    X, rule = views_of_samples(), RULE_CASES[name]
    for half in (True, False):
        contrast = al.Contrast.of(N, views=views, half_squared=half)
        for _, parameters, network in networks():
            Z = network(X)
            z, factor = Z.detach().numpy(), 1.0 if half else 2.0
            slope = np.zeros_like(z)
            for i, p, negatives in pairs(views):
                d = factor * ((z[i] - z[negatives]) ** 2).sum(1) / 2
                alpha = naive_alpha(name, d, factor * ((z[i] - z[p]) ** 2).sum() / 2)
                for a, j in zip(alpha, negatives, strict=True):
                    slope[i] += a * factor * ((z[i] - z[j]) - (z[i] - z[p]))
                    slope[j] -= a * factor * (z[i] - z[j])
                    slope[p] += a * factor * (z[i] - z[p])
            expected = gradient((Z * torch.tensor(slope)).sum(), parameters)
            found = gradient(contrast.energy(network(X), rule.alpha(network(X), contrast)), parameters)
            agree(record_property, found, expected, GRADIENT_TOL, scale=np.abs(expected).max())


def test_A2_refuted_gradients_through_alpha_are_another_direction(record_property: Record) -> None:
    """Cosine with the gradient of the loss: 1 at alpha held constant; through alpha less, and even negative."""
    contrast, rule = al.Contrast.of(N), al.Nce(0.3, 1.0)
    cosines = []
    for seed in range(4):
        X = views_of_samples(seed)
        for _, parameters, network in networks(seed):
            Z = network(X)
            loss = gradient(naive_loss(naive_u(Z, "two", True), *MEMBERS_AT_03), parameters)
            Z = network(X)
            alpha = rule.weigh(*contrast.distances(Z))  # differentiable
            flowing = gradient((alpha * contrast.u(Z)).sum(), parameters)
            cosines.append(float(loss @ flowing / np.linalg.norm(loss) / np.linalg.norm(flowing)))
            assert not rule.alpha(Z, contrast).requires_grad
    record_property(
        "counterexample",
        f"InfoNCE, tau = 0.3, 4 draws x 5 networks: cosine of the two directions {min(cosines):.2f} to "
        f"{max(cosines):.3f}",
    )
    assert min(cosines) < 0
    assert max(cosines) < 1 - 1e-4


MEMBERS_AT_03 = (lambda x: 0.3 * torch.log(1 + x), lambda u: torch.exp(u / 0.3))


@BOTH_VIEWS
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_A3_on_the_sphere_infonce_is_tau_times_cross_entropy(
    temperature: float, views: str, record_property: Record
) -> None:
    """eps = 1 against torch's cross_entropy on cos/tau; without the factor 1/2 in d^2, twice that at 2 tau."""
    Z = torch.nn.functional.normalize(views_of_samples(3), dim=1)
    cosines = Z @ Z.T / temperature
    expected = 0.0
    for i, p, negatives in pairs(views):
        expected += float(
            torch.nn.functional.cross_entropy(cosines[i, [p, *negatives]], torch.tensor(0), reduction="sum")
        )
    expected *= temperature
    contrast = al.Contrast.of(N, views=views)
    agree(record_property, float(al.Nce(temperature, 1.0).loss(Z, contrast)), expected, 1e-12)
    whole = al.Contrast.of(N, views=views, half_squared=False)
    agree(record_property, float(al.Nce(2 * temperature, 1.0).loss(Z, whole)), 2 * expected, 1e-12)


# --- the game: entropy form and Fenchel form --------------------------------------------------------------------------


def slsqp(objective: Callable[[np.ndarray], tuple[float, np.ndarray]], total: float, m: int) -> np.ndarray:
    """argmin over {a >= 0, sum a = total} from the centre."""
    done = scipy.optimize.minimize(
        objective, np.full(m, total / m), jac=True, method="SLSQP", bounds=[(1e-14, None)] * m,
        constraints={"type": "eq", "fun": lambda a: a.sum() - total, "jac": lambda a: np.ones(m)},
        options={"ftol": 1e-16, "maxiter": 2000},
    )  # fmt: skip
    return np.asarray(done.x)


def entropic(u: np.ndarray, coefficient: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """-a'u - coefficient H(a) and its gradient."""
    return lambda a: (
        float(-a @ u + coefficient * (a * np.log(a)).sum()),
        -u + coefficient * (np.log(a) + 1),
    )


@pytest.mark.parametrize("name", EXPONENTIAL)
def test_A4_alpha_is_the_entropy_regularised_min_player_with_coefficient_tau(
    name: str, record_property: Record
) -> None:
    """argmin E_alpha - tau sum H over rows of sum xi phi'(xi)/tau, by SLSQP; with 2 tau for E = tr C/2 it is not."""
    rule, phi, psi = MEMBERS[name]
    contrast = al.Contrast.of(N)
    Z = views_of_samples(5)
    u = contrast.u(Z)
    form = al.entropy_form(rule, u)
    tau = getattr(rule, "temperature", 1.0)
    misses = []
    for row, s, alpha in zip(u, form.row_sums, rule.slope(u), strict=True):
        xi = torch.stack([psi(value) for value in row]).sum().requires_grad_()
        (slope,) = torch.autograd.grad(phi(xi), xi)
        assert relative(float(s), float((xi * slope / tau).detach())) < 1e-12
        found = slsqp(entropic(row.numpy(), tau), float(s), u.shape[1])
        assert relative(float(alpha.sum()), float(s)) < 1e-12
        agree(record_property, alpha, found, SLSQP_TOL, scale=max(float(s), 1.0))
        misses.append(float(np.abs(slsqp(entropic(row.numpy(), 2 * tau), float(s), u.shape[1]) - alpha.numpy()).max()))
    record_property("counterexample", f"{name}: with 2 tau an entry of the min player is off by {max(misses):.2f}")
    assert max(misses) > 0.02
    assert torch.allclose(form.minimiser(u), rule.slope(u), rtol=1e-12)
    # the energy is half the trace of C, added up pair by pair; the coefficient for the whole trace is twice as large
    a, z = rule.slope(u).numpy(), Z.numpy()
    C = np.zeros((D, D))
    for row, (i, p, negatives) in zip(a, pairs("two"), strict=True):
        for weight, j in zip(row, negatives, strict=True):
            C += weight * (np.outer(z[i] - z[j], z[i] - z[j]) - np.outer(z[i] - z[p], z[i] - z[p]))
    agree(record_property, float(contrast.energy(Z, a)), np.trace(C) / 2, 1e-12)
    assert form.coefficient == tau
    assert al.entropy_form(rule, u, energy="trace").coefficient == 2 * tau
    H = -float(scipy.special.xlogy(a, a).sum())
    agree(record_property, float(form.regulariser(rule.slope(u))), tau * H, 1e-12)


def interior(name: str, m: int, rng: np.random.Generator) -> np.ndarray:
    """A point inside the domain of a conjugate."""
    a = rng.dirichlet(np.ones(m))
    if name in ("infonce eps=0", "mine"):
        return a
    if name == "linear":
        return np.ones(m)
    if name == "lifted_structured":
        return 1.7 * a
    return 0.8 * a if name != "triplet" else rng.random(m)


def inside(name: str, x: np.ndarray) -> np.ndarray:
    """m weights of the domain from m + 1 free numbers."""
    if name == "lifted_structured":
        return np.exp(x[:-1])
    if name in ("infonce eps=0", "mine"):
        return np.asarray(scipy.special.softmax(x[:-1]))
    return np.asarray(scipy.special.softmax(x)[:-1])  # of sum below 1


@pytest.mark.parametrize("name", CONVEX)
def test_A5_conjugates_have_the_value_and_the_argmax_of_the_fenchel_form(name: str, record_property: Record) -> None:
    """F*(a) = max_u a'u - F(u) by L-BFGS or a grid; alpha = argmax_a a'u - F*(a) by descent; inf outside."""
    rule, phi, psi = MEMBERS[name]
    m, rng = 4, np.random.default_rng(7)
    a = interior(name, m, rng)

    def negated(point: np.ndarray) -> tuple[float, np.ndarray]:
        u = torch.tensor(point[None, :], requires_grad=True)
        value = naive_loss(u, phi, psi) - (torch.tensor(a) * u).sum()
        return float(value.detach()), gradient(value, [u])

    if name == "triplet":  # piecewise linear and separable
        grid = np.linspace(-3, 3, 6001)
        expected = sum(float((v * grid - np.maximum(grid + 0.2, 0)).max()) for v in a)
    else:
        options = {"ftol": 1e-16, "gtol": 1e-11, "maxiter": 5000}
        done = scipy.optimize.minimize(negated, np.zeros(m), jac=True, method="L-BFGS-B", options=options)
        expected = -float(done.fun)
    found = float(rule.conjugate(torch.tensor(a[None, :]))[0])
    agree(record_property, found, expected, VALUE_TOL, scale=max(1.0, abs(expected)))

    u = rng.standard_normal(m)
    alpha = rule.slope(torch.tensor(u[None, :]))
    best = float(naive_loss(torch.tensor(u[None, :]), phi, psi))
    agree(record_property, float((alpha[0] * torch.tensor(u)).sum() - rule.conjugate(alpha)[0]), best, 1e-12, scale=1.0)
    values = []
    for _ in range(200):  # no other a does better: Fenchel's inequality, and strictly where F* is strictly convex
        other = torch.tensor(interior(name, m, rng)[None, :])
        values.append(float((other[0] * torch.tensor(u)).sum() - rule.conjugate(other)[0]))
    assert max(values) <= best + 1e-12
    if name not in ("triplet", "linear"):  # whose argmax is a corner, or the only point
        done = scipy.optimize.minimize(
            lambda x: float(rule.conjugate(torch.tensor(inside(name, x)[None, :]))[0] - inside(name, x) @ u),
            np.zeros(m + 1), method="L-BFGS-B", jac="3-point", options={"ftol": 1e-16, "gtol": 1e-9},
        )  # fmt: skip
        agree(record_property, inside(name, done.x), alpha[0], ARGMAX_TOL, scale=1.0)
    outside = -0.1 * np.ones(m) if name != "linear" else 0.9 * np.ones(m)
    assert float(rule.conjugate(torch.tensor(outside[None, :]))[0]) == math.inf


def test_A6_refuted_the_sigmoid_loss_has_no_min_player_that_favours_hard_pairs(record_property: Record) -> None:
    """F = sigmoid(2u) is above its chord, and alpha(0) = 0.5 > alpha(3) = 0.005 though u = 3 is the harder negative."""
    rule = al.ModifiedTriplet(2.0)
    u = torch.tensor([[0.0, 3.0]], dtype=torch.float64)
    sigmoid = 1 / (1 + math.exp(-6.0))
    easy, hard = rule.slope(u)[0].tolist()
    assert easy == pytest.approx(0.5, rel=1e-12)
    assert hard == pytest.approx(2 * sigmoid * (1 - sigmoid), rel=1e-9)
    middle, chord = 1 / (1 + math.exp(-3.0)), (0.5 + sigmoid) / 2
    record_property(
        "counterexample",
        f"sigmoid(2u): alpha(0) = {easy:.3g}, alpha(3) = {hard:.2g}; F(1.5) = {middle:.3f}, above the chord's "
        f"{chord:.3f}",
    )
    assert easy > 90 * hard
    assert middle > chord + 0.1
    assert al.disordered_share(rule.slope(u), -u) == 1.0
    assert not rule.convex
    with pytest.raises(NotClosedForm, match="not convex"):
        rule.conjugate(u)
    with pytest.raises(DataError, match="F is not convex"):
        al.FenchelAlpha(lambda u: torch.sigmoid(2 * u).sum()).slope(u)
    assert al.FenchelAlpha(lambda u: torch.sigmoid(2 * u).sum(), convex=False).slope(u)[0].tolist() == pytest.approx(
        [easy, hard]
    )


@pytest.mark.parametrize("name", ["r_h", "r_gamma", "r_s"])
def test_A7_rules_of_a_regulariser_are_its_minimisers_on_the_simplex_and_losses(
    name: str, record_property: Record
) -> None:
    """argmin sum a d^2 - sum r(a) by SLSQP, ties and zero distances among them; alpha = grad F by differences of F."""
    rule = RULE_CASES[name]
    assert isinstance(rule, al.PairLoss)
    r: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
        "r_h": lambda a: (-0.4 * a * np.log(a), -0.4 * (np.log(a) + 1)),
        "r_gamma": lambda a: (0.4 * a**-1.5 / -1.5, 0.4 * a**-2.5),
        "r_s": lambda a: (-0.8 * a**2 / 2, -0.8 * a),
    }
    distances = [np.array([0.3, 0.1, 1.2, 0.7, 2.0]), np.array([0.0, 0.0, 0.4, 0.4, 0.1]), np.zeros(4)]
    for d in distances:
        found = slsqp(lambda a, d=d: (float(a @ d - r[name](a)[0].sum()), d - r[name](a)[1]), 1.0, d.size)
        alpha = rule.weigh(torch.tensor(d[None, :]), torch.tensor([0.3], dtype=torch.float64))[0].numpy()
        agree(record_property, alpha, found, SLSQP_TOL, scale=1.0)
    d, h = distances[0], 1e-5

    def value(d: np.ndarray) -> float:
        """F(u) = max a'u + sum r(a) at u = 0.3 - d^2, with a from its definition."""
        a = naive_alpha(name, d, 0.3)
        return float(a @ (0.3 - d) + r[name](np.maximum(a, 1e-300))[0].sum())

    slopes = [(value(d - h * e) - value(d + h * e)) / (2 * h) for e in np.eye(d.size)]
    u = torch.tensor(0.3 - d[None, :])
    agree(record_property, rule.slope(u)[0], slopes, DIFFERENCE_TOL, scale=1.0)
    agree(record_property, float(rule.rows(u)[0]), value(d), 1e-12, scale=1.0)
    agree(record_property, float(rule.conjugate(rule.slope(u))[0]), float(naive_alpha(name, d, 0.3) @ u[0].numpy()) -
          value(d), 1e-10, scale=1.0)  # fmt: skip


@pytest.mark.parametrize("p", [2.0, 4.0])
def test_A7b_refuted_direct_rules_descend_a_loss(p: float, record_property: Record) -> None:
    """The Jacobian of alpha in d^2, by differences: symmetric for p = 2, which is r_H; for p = 4 no F has it."""
    rule, d, h = al.DirectRule(p, 0.6), np.array([0.3, 0.6, 0.9, 0.2]), 1e-6

    def alpha(d: np.ndarray) -> np.ndarray:
        w = np.exp(-(d ** (p / 2)) / 0.6)
        return np.asarray(w / w.sum())

    assert relative(rule.weigh(torch.tensor(d[None, :]), torch.zeros(1))[0], alpha(d)) < 1e-12
    J = np.array([(alpha(d + h * e) - alpha(d - h * e)) / (2 * h) for e in np.eye(4)])
    gap = np.abs(J - J.T).max() / np.abs(J).max()
    if p == 2:
        assert gap < 1e-8
        assert relative(alpha(d), al.EntropyRule(0.6).slope(torch.tensor(-d[None, :]))[0]) < 1e-12
    else:
        assert gap > 0.1
    record_property("counterexample", f"p = {p:g}: |J - J'| is {gap:.2g} of |J|, J = d alpha / d (d^2)")
    assert rule.has_loss is False


def test_A8_refuted_the_published_inverse_and_quadratic_weights_are_no_minimisers(record_property: Record) -> None:
    """mu fixed at tau and then renormalised loses to r_gamma's own mu; the threshold one entry late misses sum 1."""
    d, tau, gamma = np.array([0.05, 0.3, 1.2, 0.7, 2.0]), 0.4, 2.0

    def objective(a: np.ndarray) -> float:
        return float(a @ d - tau * (a ** (1 - gamma)).sum() / (1 - gamma))

    published = (d + tau) ** (-1 / gamma)
    published = published / published.sum()
    ours = al.PowerRule(tau, gamma).slope(torch.tensor(-d[None, :]))[0].numpy()
    assert abs(ours.sum() - 1) < 1e-14
    excess = objective(published) - objective(ours)
    x = np.sort(-d / tau)[::-1]
    late = []
    for k in range(1, 5):  # the threshold is read at position k, whatever k should be
        late.append(float(np.maximum(-d / tau - (x[: k + 1].sum() - 1) / (k + 1), 0).sum()))
    right = al.SparseRule(tau).slope(torch.tensor(-d[None, :]))[0].numpy()
    support = int((right > 0).sum())
    record_property(
        "counterexample",
        f"five negatives: the renormalised inverse is {excess:.2g} above the minimum of r_gamma; with its threshold "
        f"one entry late r_s has row sum {late[support - 1]:.3f}",
    )
    assert excess > 1e-3
    assert abs(right.sum() - 1) < 1e-14
    assert late[support - 1] > 1.01


def test_A9_the_feasible_set_of_the_entropy_form_depends_on_the_encoder_unless_eps_is_zero(
    record_property: Record,
) -> None:
    """Row sums xi/(eps + xi) of two encoders, added up by hand: different for eps = 1, all 1 for eps = 0."""
    contrast = al.Contrast.of(N)
    sums: dict[float, list[np.ndarray]] = {0.0: [], 1.0: []}
    for eps, found in sums.items():
        for scale in (0.2, 1.0):
            u = naive_u(scale * views_of_samples(2), "two", True)
            form = al.entropy_form(al.Nce(0.5, eps), contrast.u(scale * views_of_samples(2)))
            xi = np.exp(u.numpy() / 0.5).sum(axis=1)
            found.append(xi / (eps + xi))
            agree(record_property, form.row_sums, found[-1], 1e-12)
            assert form.fixed_set is (eps == 0)
    record_property(
        "counterexample",
        f"eps = 1, tau = 0.5: the row sum of an anchor goes from {sums[1.0][0].max():.2f} to {sums[1.0][1].min():.2f} "
        "when Z grows fivefold; eps = 0: 1 for both",
    )
    assert np.abs(sums[1.0][0] - sums[1.0][1]).max() > 0.2


# --- numbers at the edge ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MEMBERS, "r_h", "r_gamma", "r_s"])
def test_losses_and_weights_stay_finite_and_right_at_u_over_tau_of_ten_thousand(name: str) -> None:
    rule = MEMBERS[name][0] if name in MEMBERS else RULE_CASES[name]
    assert isinstance(rule, al.PairLoss)
    tau = getattr(rule, "temperature", 1.0)
    for u0 in ([1e4, 0.0, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]):
        u = tau * torch.tensor([u0], dtype=torch.float64)
        alpha, value = rule.slope(u), rule.rows(u)
        assert bool(torch.isfinite(alpha).all())
        assert bool((alpha >= 0).all())
        assert bool(torch.isfinite(value).all())
        if name == "infonce":  # tau log(1 + e^{1e4} ..) = max u, exactly to rounding; softmax of the largest
            top = max(0.0, *u0)
            assert float(value) == pytest.approx(tau * top + (tau * math.log(3) if u0[1] == 1e4 else 0.0), rel=1e-12)
            assert float(alpha.sum()) == pytest.approx(0.0 if top == 0 else 1.0, abs=1e-12)
        if rule.row_sum == "1":
            assert float(alpha.sum()) == pytest.approx(1.0, abs=1e-12)


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(-300, 300).map(lambda e: 10.0**e)), min_size=1, max_size=12),
    st.floats(-6, 6).map(lambda e: 10.0**e),
    st.one_of(st.floats(1.001, 8.0), st.just(60.0)),
)
def test_the_multiplier_of_r_gamma_satisfies_its_equations_to_rounding(
    distances: list[float], tau: float, gamma: float
) -> None:
    """tau a^-gamma - d^2 is one number mu for all negatives, and the weights sum to 1: stationarity, in logarithms."""
    d = np.array(distances)
    alpha = al.PowerRule(tau, gamma).weigh(torch.tensor(d[None, :]), torch.zeros(1, dtype=torch.float64))[0].numpy()
    assert abs(alpha.sum() - 1) < 1e-12
    assert (alpha > 0).all()
    assert (np.diff(alpha[np.argsort(d)]) <= 0).all()
    nearest = alpha[d == d.min()]
    assert np.ptp(nearest) == 0
    with np.errstate(over="ignore"):
        force = tau * nearest[0] ** -gamma + (d - d.min())  # tau a^-gamma of each, if it is stationary
    seen = np.isfinite(force) & (force < 1e300)
    expected = (tau / force[seen]) ** (1 / gamma)
    assert np.allclose(alpha[seen], expected, rtol=1e-9, atol=0)


def test_r_gamma_and_r_s_are_differentiable_where_alpha_is_not_held_constant() -> None:
    u = torch.tensor([[0.3, -0.2, 0.3, 0.1], [0.0, -3.0, 0.2, 0.4]], dtype=torch.float64, requires_grad=True)
    apart = torch.tensor([[0.3, -0.2, 0.15, 0.05]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(al.PowerRule(0.4, 2.5).slope, (u,), eps=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(al.SparseRule(0.9).slope, (apart,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", [al.Nce(0.5, 0.0), al.PowerRule(), al.SparseRule(), al.UniformRule()], ids=str)
def test_single_precision_has_values_and_conjugates_too(rule: al.PairLoss) -> None:
    u = torch.linspace(-1, 1, 300).reshape(3, 100)
    assert relative(rule.rows(u), rule.rows(u.double()), scale=rule.rows(u.double()).abs().max().clamp_min(1)) < 1e-6
    assert relative(rule.conjugate(rule.slope(u)), rule.conjugate(rule.slope(u.double())), scale=1e4) < 1e-6


# --- one function as a loss -------------------------------------------------------------------------------------------


def test_a_function_written_by_hand_is_infonce() -> None:
    F = al.FenchelAlpha(lambda u: 0.5 * torch.log(1 + torch.exp(u / 0.5).sum()))
    contrast, Z = al.Contrast.of(N), views_of_samples(4)
    u = contrast.u(Z)
    rule, phi, psi = MEMBERS["infonce"]
    alpha = np.exp(u.numpy() / 0.5) / (1 + np.exp(u.numpy() / 0.5).sum(axis=1, keepdims=True))
    assert relative(F.alpha(Z, contrast), alpha) < 1e-12
    assert relative(float(F.loss(Z, contrast)), float(naive_loss(u, phi, psi))) < 1e-12
    s = alpha.sum(axis=1)
    conjugate = 0.5 * ((alpha * np.log(alpha)).sum(axis=1) + (1 - s) * np.log(1 - s))
    assert relative(F.live_conjugate(u), conjugate, scale=1.0) < 1e-12
    bound = F.conjugate_bound(torch.tensor(alpha))
    assert (bound.value.numpy() <= conjugate + 1e-12).all()
    assert relative(bound.value, conjugate, scale=1.0) < VALUE_TOL
    unfinished = F.conjugate_bound(torch.tensor(alpha), max_iter=1)
    assert (unfinished.value.numpy() <= conjugate + 1e-12).all()
    assert float(unfinished.residual.max()) > 1e-4 > float(bound.residual.max())
    leaf = u.clone().requires_grad_()
    (through,) = torch.autograd.grad(F.slope(leaf).square().sum(), leaf)  # a second derivative
    again = u.clone().requires_grad_()
    (expected,) = torch.autograd.grad(rule.slope(again).square().sum(), again)
    assert relative(through, expected, scale=float(expected.abs().max())) < 1e-10
    with pytest.raises(NotClosedForm, match="live_conjugate"):
        F.conjugate(torch.tensor(alpha))


def test_functions_that_are_no_losses_are_refused() -> None:
    u = views_of_samples(1)
    for function, said in [
        (lambda u: -u.sum(), "F decreases: its slope reaches -1"),
        (lambda u: 2 * u, r"scalar tensor for each u \(m,\), got \(4,\)"),
        (lambda u: u.sum().item(), "torch operations"),
        (lambda u: torch.exp(u.sum() * 1e4) + 0 * u.sum(), "NaN or infinite"),
    ]:
        with pytest.raises(DataError, match=said):
            al.FenchelAlpha(function).slope(u)
    with pytest.raises(DataError, match="F must be a function"):
        al.FenchelAlpha(3.0)  # type: ignore[arg-type]
    with pytest.raises(NotClosedForm, match="not claimed to be convex"):
        al.FenchelAlpha(lambda u: u.sum(), convex=False).live_conjugate(u)


@pytest.mark.parametrize("name", CONVEX)
def test_no_convex_member_is_refuted_by_midpoints(name: str) -> None:
    u = al.Contrast.of(N).u(views_of_samples())
    assert al.convexity_counterexample(MEMBERS[name][0].rows, u) is None


def test_a_function_that_bends_down_far_from_the_data_is_refuted_there() -> None:
    """sqrt(1 + relu(u - 2)) is flat at the u of the data, and concave beyond."""
    u = torch.zeros((3, 2), dtype=torch.float64)

    def values(u: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(1 + torch.relu(u - 2)).sum(dim=1)

    found = al.convexity_counterexample(values, u)
    assert found is not None
    at, middle, chord = found
    assert middle > chord
    assert float(values(at.mean(dim=0, keepdim=True))) == pytest.approx(middle)
    assert float(values(at).mean()) == pytest.approx(chord)


def test_a_function_that_bends_down_along_no_single_negative_is_refuted() -> None:
    """2 |u|^2 - (sum u)^2 / 2 is convex in each u_j alone, and concave along (1, .., 1) for m = 6."""

    def values(u: torch.Tensor) -> torch.Tensor:
        return 2 * u.square().sum(dim=1) - u.sum(dim=1).square() / 2

    assert al.convexity_counterexample(values, torch.zeros((1, 6), dtype=torch.float64)) is not None  # a saddle


# --- what alpha is like, names and refusals ---------------------------------------------------------------------------


def test_effective_negatives_count_what_weighs() -> None:
    alpha = torch.tensor([[0.5, 0.5, 0.0], [3.0, 3.0, 3.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    assert al.effective_negatives(alpha).tolist() == pytest.approx([2, 3, 1, 0])
    p = np.array([0.2, 0.3, 0.5])
    assert float(al.alpha_entropy(7 * p[None, :])) == pytest.approx(-(p * np.log(p)).sum())
    with pytest.raises(DataError, match="negative, NaN"):
        al.effective_negatives(-alpha)


def test_disordered_anchors_are_those_that_some_farther_negative_outweighs() -> None:
    d = torch.tensor([[1.0, 2.0, 2.0, 3.0]] * 4, dtype=torch.float64)
    alpha = torch.tensor([[4, 3, 2, 1], [4, 2, 3, 1], [4, 3, 2, 2.5], [1, 2, 2, 0]], dtype=torch.float64)
    assert al.disordered_share(alpha, d) == 0.5  # ties may weigh in any order
    assert al.disordered_share(alpha[:2], d[:2]) == 0.0


@pytest.mark.parametrize("name", [*RULE_CASES, *CONVEX])
def test_every_other_rule_favours_hard_negatives(name: str) -> None:
    contrast, Z = al.Contrast.of(N), views_of_samples(8)
    rule = RULE_CASES.get(name) or MEMBERS[name][0]
    assert al.disordered_share(rule.alpha(Z, contrast), contrast.distances(Z)[0]) == 0.0


def test_rules_by_name() -> None:
    found = al.parse_rules("infonce(temperature=0.3, eps=0), r_gamma(gamma=3), direct(p=2, normalize=False), uniform")
    assert found == [al.Nce(0.3, 0.0), al.PowerRule(gamma=3.0), al.DirectRule(2.0, normalize=False), al.UniformRule()]
    assert [al.rule_name(rule) for rule in found] == ["infonce", "r_gamma", "direct", "uniform"]
    assert set(al.PAIR_LOSSES) < set(al.RULES)
    assert all(al.rule_name(make()) == name for name, make in al.RULES.items())
    with pytest.raises(DataError, match="did you mean 'infonce'"):
        al.parse_rules("infonc")
    with pytest.raises(DataError, match="rule r_s has no option 'gamma'"):
        al.parse_rules("r_s(gamma=2)")
    for text, said in [
        ("r_gamma(gamma=1)", "gamma must be"),
        ("r_h(temperature=0)", "temperature"),
        ("direct(p=-1)", "p must"),
    ]:
        with pytest.raises(DataError, match=said):
            al.parse_rules(text)


def test_custom_rules_are_held_to_their_word() -> None:
    contrast, Z = al.Contrast.of(N), views_of_samples()
    m = contrast.n_negatives
    numpy_made = al.CustomRule(lambda negative, positive: np.full(negative.shape, 1 / m), sums_to_one=True)
    assert torch.allclose(numpy_made.alpha(Z, contrast), torch.full((2 * N, m), 1 / m, dtype=torch.float64))
    assert numpy_made.row_sum == "1"
    for function, said in [
        (lambda negative, positive: positive, r"returned shape \(10,\), expected \(10, 8\)"),
        (lambda negative, positive: -negative, "weights down to -"),
        (lambda negative, positive: negative / 0, "NaN or infinite"),
        (lambda negative, positive: "all", "must return numbers"),
        (lambda negative, positive: 1 + 0 * negative, "promises rows of sum 1"),
    ]:
        with pytest.raises(DataError, match=said):
            al.CustomRule(function, sums_to_one=True).alpha(Z, contrast)
    with pytest.raises(DataError, match="needs a function"):
        al.CustomRule("r_h")  # type: ignore[arg-type]


def test_powers_of_distances_that_overflow_are_refused() -> None:
    far = torch.full((1, 3), 1e200, dtype=torch.float64)
    with pytest.raises(NumericalError, match="overflow"):
        al.DirectRule(4.0).weigh(far, far[:, 0])
    one_near = torch.tensor([[1e200, 0.0, 1e200]], dtype=torch.float64)
    assert al.DirectRule(4.0).weigh(one_near, far[:, 0]).tolist() == [[0.0, 1.0, 0.0]]


def test_an_entropy_form_needs_an_exponential() -> None:
    u = views_of_samples()
    with pytest.raises(NotClosedForm, match="psi is no exponential"):
        al.entropy_form(al.Linear(), u)
    with pytest.raises(DataError, match="half_trace"):
        al.entropy_form(al.Mine(), u, energy="whole")  # type: ignore[arg-type]


@pytest.mark.parametrize("views", ["one", "two"])
def test_distances_of_a_contrast_are_those_of_its_rows(views: str) -> None:
    """And a large mean costs no digits."""
    for shift in (0.0, 1e6):
        Z = views_of_samples() + shift
        contrast = al.Contrast.of(N, views=views)
        negative, positive = contrast.distances(Z)
        for row, own, (i, p, negatives) in zip(negative, positive, pairs(views), strict=True):
            assert relative(row, [float(squared(Z[i], Z[j], True)) for j in negatives], scale=1.0) < 1e-9
            assert float(own) == pytest.approx(float(squared(Z[i], Z[p], True)), abs=1e-9)
    with pytest.raises(DataError, match="array of numbers"):
        al.Contrast.of(N).distances([["a", "b"]] * 10)
