"""Statements on (sigma, delta)-augmentation: rows of docs/theory.md."""

from statement import Statement

AUGMENTATION: dict[str, Statement] = {
    "T1": Statement(
        "certified",
        "The largest clique of `d_A <= delta` lies between one found and `n - |maximal matching of the complement|`, "
        "the fractional cover or the colours of a greedy colouring; `n - found <= 2 (n - omega)`, and a search that "
        "ends closes the bracket",
    ),
    "T2": Statement(
        "exact",
        "More views bring samples nearer in input and spread them in features: `d_A` never rises, `sigma` and `R_eps` "
        "never fall",
    ),
    "T3": Statement(
        "bound",
        "Samples of the main part whose views lie within eps: `|f(x) - mu_l| <= r rho`, "
        "`rho = 2 (1 - q) + q (L delta + 2 eps)/r` with `q = sigma_l - R_l/p_l`",
    ),
    "T4": Statement(
        "corrected",
        "Theorem 1 of Huang et al. 2023, `Err <= (1 - sigma) + R_eps`, holds with its printed "
        "`rho = 2 (1 - sigma) + R/p + sigma t`, `t = (L delta + 2 eps)/r`, though its lemma asks for `(2 - t) R/p`",
        said="`mu_l.f(x) >= r^2 (1 - rho)` on the main part, with coefficient 1 of `R/p` in rho",
    ),
    "T5": Statement(
        "bound",
        "Nearest centre is right on a share `sigma - R_eps` where `min |mu_k - mu_l| > 2 r rho`, no square root and no "
        "Delta; it certifies all that Theorem 1 with the lemma's rho does, and more",
    ),
    "T6": Statement(
        "corrected",
        "`R_eps <= eta(eps) sqrt(L_align)` for views of which half are m discrete and half an n-parameter family; "
        "`eta = 4 (2n + 1)/(eps h^2n)`, `h = 2n eps/((2n + 1) 2 sqrt(n) L M)`, of order `eps^-(2n + 1)` for small eps",
        said="eta is of order 1/eps",
    ),
    "T7": Statement(
        "bound",
        "m views of a sample, and no others: `diameter^2 <= m E|f1 - f2|^2`, so "
        "`R_eps <= min(sqrt(m L_align)/eps, m L_align/eps^2)`; reached",
    ),
    "T8": Statement(
        "bound",
        "Theorem 3 with `tau = 0` holds where `A_k = E[f1.f2 | k] >= 1 - eps >= 0`, and is vacuous: a collapsed "
        "simplex of K = 2, 4, 10 classes is allowed `mu_k.mu_l` up to 5.63, 21.6, 132.5",
    ),
    "T9": Statement(
        "bound",
        "`L_2 >= sum_kl p_k p_l ln(e^A_k + e^(mu_k.mu_l))`; over pairs k != l it bounds the mean of `mu_k.mu_l` by "
        "`-1/(K - 1)` where the loss is that of a collapsed simplex",
    ),
    "T10": Statement(
        "bound",
        "Theorem 4 on cross-correlation with `tau'` measured, and `2 p_k p_l (mu_k.mu_l)^2 <= "
        "(sqrt(L_2) + sqrt(tau'))^2 - (d - K)`, never looser; under collapse the first speaks at `d = K` only; "
        "Lemma 4.1, `L_align <= 2 sqrt(d L_1)`",
    ),
    "T11": Statement(
        "bound",
        "Features constant on K classes with `E f_i^2 = 1` have `L_2 = |F - I|^2 >= (d - K) + (d - K)^2/K`",
    ),
    "T12": Statement(
        "refuted",
        "R_eps is a supremum over views: from few that were drawn it comes out too small, half at two views",
        said="A few views per sample estimate R_eps",
    ),
}
