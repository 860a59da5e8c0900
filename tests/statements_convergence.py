"""Statements on gradient descent on over-parametrised encoders: rows of docs/theory.md.

n tuples of N negatives, margins `v`, their Jacobian `J`, `lam` the eigenvalues of the margin kernel `JJ'`; L the mean
loss, `l_i` that of a tuple, `q_i = 1 - e^(-l_i)`, `eta` the step. All of them are derived here.
"""

from statement import Statement

CONVERGENCE: dict[str, Statement] = {
    "N1": Statement(
        "exact",
        "Margin kernel of n tuples from three rows each: `JJ' = sum_layers sum_(s,t) (E_s E_t') o (H_s H_t')`, and "
        "`grad L = -J'w/n` with `w_ij = e^(-v_ij) / (1 + sum_j e^(-v_ij))`",
    ),
    "N2": Statement(
        "bound",
        "Logistic margins, `l_i <= B`: `|grad L|^2 >= lam_min(JJ')/(nN) (mean q)^2 >= c L^2`, "
        "`c = lam_min kappa^2/(nN)`, `kappa = (1 - e^(-B))/B`",
    ),
    "N3": Statement(
        "bound",
        "Squared margins `mean (v - 1)^2 / 2`: `|grad L|^2 >= 2 lam_min(JJ') L/(nN)`, hence a linear rate "
        "`1 - eta lam_min/(nN)` per step",
    ),
    "N4": Statement(
        "bound",
        "Steps no longer than `1/beta`: `L_t <= 1 / (1/L_0 + sum c_s eta_s / 2)`, a power law, along every run of "
        "gradient descent on logistic margins",
    ),
    "N5": Statement(
        "refuted",
        "Logistic margins: `|grad L|^2 <= lam_max(JJ') L^2`, so `|grad L|^2 / L` vanishes with L while the kernel is "
        "bounded, and no constant of Polyak and Lojasiewicz exists",
        said="Gradient descent of an over-parametrised encoder brings the logistic contrastive loss down at a linear "
        "rate",
    ),
    "N6": Statement(
        "asymptotic",
        "Outputs of scale s -> 0: `|grad L|^2 / s^4 -> |J'1|^2 / (n (N + 1))^2`, f = 0 is critical; the error is "
        "`O(s^2)`",
    ),
    "N7": Statement(
        "corrected",
        "Infimum of the mean logistic loss over all maps of the rows: at most `mean ln(1 + Col_i)`, and equal to it "
        "where the tuples are closed under exchanging positives with collided negatives",
        said="The infimum over any fixed tuples with collisions is `mean ln(1 + Col_i)`",
    ),
    "N8": Statement(
        "exact",
        "Unit outputs at temperature T, no collisions: the infimum is `ln(1 + N e^(-2/T))`, attained where signs put "
        "every positive with its anchor and every negative opposite",
    ),
    "N9": Statement(
        "bound",
        "Steps no longer than `1/beta`: `|W_t - W_0|^2 <= 2 sum eta_s (L_0 - L_t)`; at a step of `1/m` and `|W_0|` of "
        "`m^(1/2)`, weights of width m move by `1/m` of themselves",
    ),
    "N10": Statement(
        "corrected",
        "Near the infimum of unit outputs `|grad|^2 >= 2 w lam_2 / (n T) (L - inf)` in the outputs, `lam_2` of the "
        "tuples' graph, `w = e^(-2/T) / (1 + N e^(-2/T))`: it is attained, and approached at a linear rate in the end",
        said="With unit outputs the excess falls by a power law, as with free ones",
    ),
}
