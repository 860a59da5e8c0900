"""Statements on the surrogate gap and its rivals: rows of docs/theory.md."""

from statement import Statement

SURROGATE: dict[str, Statement] = {
    "G1": Statement(
        "exact",
        "Contrastive risk of every K from one pass over pairs: `E ln Z = int (e^-t - E_x psi_x(t) phi_x(t)^K) "
        "dt/t`, by the trapezoid rule in `ln t` of step h with an error of at most `4 sum_m |Gamma(2 pi i m/h)|` "
        "and its ends",
    ),
    "G2": Statement(
        "bound",
        "Surrogate gap, any prior, `|f|^2 <= b2`, `K >= 1`: `H + ln K - 2 ln(K+1) - 2 ln cosh b2 <= R_supv - R_cont"
        " <= ln(pi_max C^2/K) + 2 ln cosh b2`",
    ),
    "G3": Statement(
        "bound",
        "The same with largest values at corners of the box in place of Kantorovich's inequality: never wider, `2 "
        "ln S(b2)` at most as K grows, S Specht's ratio (`ln S(1) = 0.474`, `2 ln cosh 1 = 0.868`)",
    ),
    "G4": Statement(
        "bound",
        "With `J = E[ln sum_c e^(s_c) - sum_c pi_c s_c]` and the spread D of the class means: `R_supv = J - D`, and"
        " `R_cont + J - ln(K+1) - ln S(b2) - D/(K+1) <= R_supv <= R_cont - ln K + J`",
    ),
    "G5": Statement(
        "bound",
        "No norm, no temperature, no coverage: `R_supv <= R_cont/(1 - (1 - pi_min)^K)`, any prior, `K >= 1`",
    ),
    "G6": Statement(
        "bound",
        "Collisions taken off: `R_supv <= (R_cont - E ln(1+Col)) / min_y E[(1 - (1 - q_y)^(K-Col))/(1+Col)]`, `q_y "
        "= min_(q != y) pi_q/(1 - pi_y)`, any prior",
    ),
    "G7": Statement(
        "bound",
        "Uniform prior: G5 is at most R_cont over the coverage, at most Nozawa & Sato's limit; G6 at most Arora's "
        "and Ash's",
    ),
    "G8": Statement(
        "bound",
        "Class means in place of positive and negatives lower the contrastive risk: `R_cont = J_K + noise`, `noise "
        ">= 0`, and `J_K >= E ln(1+Col)`",
    ),
    "G9": Statement(
        "bound",
        "Tasks of the classes of a tuple without collisions: `E_T R_supv(T) <= (R_cont - E ln(1+Col))/(1 - tau_K)`",
    ),
    "G10": Statement(
        "bound",
        "A fixed task S, anchors of its classes: `R_supv(S) <= R_cont(y in S)/(1 - (1 - min_S pi)^K)`, K below or "
        "above |S|",
    ),
    "G11": Statement(
        "bound",
        "One negative, hinge, log2 or ln: `R_pair <= (L - tau l(0))/(1 - tau)`, and collisions cost at most "
        "`sqrt(2) Lip(l) sum_c nu_c |Cov_c|^(1/2) E|f|`, `nu = pi^2/tau`",
    ),
    "G12": Statement(
        "exact",
        "Coverage by the chain of classes met, `1 - tau_K` and `E ln(1+Col)` from logarithms: all digits where "
        "alternating sums and differences have none; without replacement Col is hypergeometric",
    ),
    "G13": Statement(
        "bound",
        "Floor and ceiling by C, prior and norm: `ln(1 + (C-1) e^(-b2 C/(C-1)))`, attained by a simplex, and `max "
        "over s in [-b2, b2]^C of ln sum_c e^(s_c) - sum_c pi_c s_c`",
    ),
    "G14": Statement(
        "refuted",
        "`2 ln cosh` is of `b^2/T`: with the constant of unit rows left at `cosh 1` the limit is broken at low "
        "temperature",
        said="The width of the surrogate gap is a universal constant, whatever the temperature",
    ),
    "G15": Statement(
        "refuted",
        "`(L - tau)/(1 - tau)` needs `l(0) = 1`: with natural logarithms it is `(L - tau ln 2)/(1 - tau)`",
        said="The one-negative limit has a bare tau in nats too",
    ),
    "G16": Statement(
        "corrected",
        "Arora's and Nozawa & Sato's limits are legal from `K + 1 >= C` on, the anchor's class being one of those met",
        said="They need as many negatives as classes, `K >= C`",
    ),
    "G17": Statement(
        "refuted",
        "Classes all at cosine -1 to each other do not exist for `C > 2`, and the sharp band excludes their risks: "
        "it is above `R*_supv = ln(1 + (C-1) e^(-2 b2))` at small K; the least that is attained is a simplex",
        said="The best mean classifier of unit features has the risk `ln(1 + (C-1) e^-2)`",
    ),
    "G18": Statement(
        "refuted",
        "The loss trained and the risks bounded must be of one feature map: a loss of raw dot products is no R_cont"
        " of unit rows, and can be below every lower limit of their R_supv",
        said="The value of the training loss on raw dot products bounds the risk of the normalised features",
    ),
}
