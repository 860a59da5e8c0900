"""Statements on pair importance, contrastive covariance and alpha-CL's optima: rows of docs/theory.md."""

from statement import Statement

ALPHA: dict[str, Statement] = {
    "A1": Statement(
        "exact",
        "Gradient theorem: `L = sum_i phi(sum_j psi(u_ij))`, `u_ij = d_i^2 - d_ij^2`, has `dL/dtheta = -dE/dtheta` for "
        "every encoder, where `E = sum_ij alpha_ij (d_ij^2 - d_i^2)` with pair importance `alpha_ij = dL/du_ij >= 0` "
        "held constant; one or two views as anchors, d^2 halved or not",
    ),
    "A2": Statement(
        "refuted",
        "Gradients of E equal those of the loss only where alpha is held constant: through alpha they point elsewhere",
        said="Whether gradients flow through alpha does not matter for the direction of ascent",
    ),
    "A3": Statement(
        "exact",
        "On the unit sphere InfoNCE with `eps = 1` is tau times the cross entropy (NT-Xent) on `cos/tau`, summed over "
        "anchors; with d^2 not halved, half of it at twice the temperature",
    ),
    "A4": Statement(
        "corrected",
        "Entropy form: for `psi = c e^{x/tau}` alpha is `argmin E - R` over rows of sum `xi_i phi'(xi_i)/tau`, with "
        "`R = tau sum_i H(alpha_i)` where `E = tr C_alpha / 2`, and 2 tau only where `E = tr C_alpha`",
        said="`R(alpha) = 2 tau sum_i H(alpha_i)`, whatever the scale of E",
    ),
    "A5": Statement(
        "exact",
        "Fenchel form: where `F(u) = phi(sum_j psi(u_j))` is convex, `L = max_alpha sum_ij alpha_ij u_ij - sum_i "
        "F*(alpha_i)` with alpha = grad F its argmax, and F* of every convex row of the family is known in closed form",
    ),
    "A6": Statement(
        "refuted",
        "The sigmoid loss (modified triplet) is not convex in u, so its alpha is no min player, and a harder negative "
        "can weigh less: alpha is proportional to `s (1 - s)`, `s = sigmoid(c u)`, largest at `u = 0`",
        said="Every loss of the family has an alpha that is the min player of a game and favours hard negatives",
    ),
    "A7": Statement(
        "exact",
        "Rules of a separable regulariser, `argmin sum_j a_j d_ij^2 - sum_j r(a_j)` on the simplex: r_H the softmax, "
        "r_gamma `(tau/(d_ij^2 + mu))^(1/gamma)` with mu by the row sum, r_s the projection of `-d^2/tau`; each is the "
        "slope of a convex loss F with `F* = -sum r` (derived here)",
    ),
    "A7b": Statement(
        "refuted",
        "alpha = exp(-d^p/tau) over its row sum descends no scalar loss unless `p = 2`: its Jacobian in d^2 is not "
        "symmetric",
        said="alpha-CL-direct with p = 4 minimises a contrastive loss of its own",
    ),
    "A8": Statement(
        "refuted",
        "r_gamma needs the multiplier mu that the row sum sets, and r_s the threshold of the last entry that is kept",
        said="`(d^2 + tau)^(-1/gamma)` over its row sum is r_gamma, and a threshold read one entry later is r_s",
    ),
    "A9": Statement(
        "corrected",
        "The feasible rows of the entropy form have sums `xi/(eps + xi)`, which depend on the encoder: the max-min "
        "game has one fixed objective in this form for `eps = 0`, and for `eps > 0` in the Fenchel form of A5",
        said="Contrastive learning is a max-min game over a fixed set of alpha, for every eps",
    ),
    "A10": Statement(
        "exact",
        "Contrastive covariance: `C_alpha[a,b] = sum_ij alpha_ij {(a_i-a_j)(b_i-b_j)' - (a_i-a_i')(b_i-b_i')'} = a'Mb` "
        "with the signed pair graph `M = Lap(S) - Lap(P)`, S alpha symmetrised, P the positives weighing `sum_j "
        "alpha_ij`; one view: `[[Lap(S)-B, B], [B, -B]]`; `E = tr(C_alpha[z])/2`",
    ),
    "A11": Statement(
        "exact",
        "Free embeddings with orthonormal columns: `max E` is half the sum of the K largest eigenvalues of M, at its "
        "eigenvectors; over maps with orthonormal W the same of `C_alpha[x]`, which is PCA",
    ),
    "A12": Statement(
        "exact",
        "Uniform `alpha = w`, two views: `M = 4wN H - 2w(2N-1) L` at every N, L of the views as relation; so whitened "
        "maps are those of LPP and VICReg, `mu = 4wN - 2w(2N-1) lam`; M has `4wN` N - 1 times: free embeddings say "
        "nothing",
    ),
    "A13": Statement(
        "exact",
        "Uniform alpha is PCA of augmentation means: `E[C_alpha] = 2 Cov(E[x|sample])` without bias at every N for "
        "`alpha = 1/N(N-1)` (one view) or `1/4N(N-1)` (two); `1/N^2` falls short by the factor `1 - 1/N`",
    ),
    "A14": Statement(
        "exact",
        "Normalised outputs `z = W'x/|W'x|`: `dE/dW = Ctilde(W) W`, negatives weighed by cosines, a fixed point and no "
        "PCA; at local maxima of rank below K W spans top eigenvectors, of value 0, of its own Ctilde (derived here)",
    ),
    "A15": Statement(
        "exact",
        "Deep linear encoders, alpha fixed, layers on spheres (Frobenius or per filter), `lambda_max > 0`: the maximum "
        "is `2E = lambda_max`, at `W_l = v_l v_{l-1}'`, v_0 the first eigenvector of `C_alpha`; one sweep of exact "
        "layers reaches it",
    ),
    "A16": Statement(
        "exact",
        "Two layers or more have rank 1 at the maximum whatever the multiplicity of `lambda_max`; one layer keeps "
        "all its directions; `W_2 ~ I` is a saddle",
    ),
    "A17": Statement(
        "corrected",
        "`lambda_max < 0`: one layer has `2E = lambda_max`; two or more collapse to W = 0 and E = 0, if some hidden "
        "layer has two units; where all have one, `2E = lambda_max` again",
        said="With `lambda_max < 0` two layers or more always collapse to W = 0",
    ),
    "A18": Statement(
        "exact",
        "Depth is a penalty: products of L layers of norm at most 1 are the ball `sum_k sigma_k(W)^(2/L) <= 1`, with "
        "`max 2E = max(0, lambda_max)`; layers with orthonormal rows: PCA, the sum of the K largest eigenvalues",
    ),
    "A19": Statement(
        "refuted",
        "Maxima with W = 0 exist for three layers and more if `C_alpha` has negative directions, and random starts end "
        "there; for two layers, or `C_alpha >= 0`, every local maximum is global (derived here)",
        said="Almost all local optima of a deep linear encoder with alpha fixed are global",
    ),
    "A20": Statement(
        "certified",
        "One linear layer `Z = XW`, `tr WW' <= r`, F convex: L is convex in `G = WW'`, and at every W `L(W) - L* <= "
        "h (r [lambda_max(C)]_+ - tr(W'CW))`, C the contrastive covariance at `alpha(W)`, `h = 1/2` for half-squared "
        "distances; the optimum found closes it (derived here)",
    ),
    "A21": Statement(
        "certified",
        "Any alpha in the domain of F* bounds the least loss by `-h r [lambda_max(C_alpha)]_+ - sum_i F*(alpha_i)`; at "
        "kinks of the triplet loss the subgradient 0 or 1 leaves a gap, an alpha between them closes it",
    ),
    "A22": Statement(
        "exact",
        "At the least loss `C G = lambda_max(C) G` with C at `alpha*`: the rank of `G = WW'` is at most the number of "
        "eigenvalues that alpha* has levelled, 2, 4 and 5 of them for InfoNCE at `tau = 2, 0.3, 0.05` on 24 samples in "
        "5 dimensions",
    ),
    "A23": Statement(
        "refuted",
        "One linear layer learns one direction, PCA, where alpha is frozen; with alpha moving the least loss needs as "
        "many as alpha* levels, and every single direction stays above it",
        said="Contrastive learning with a linear encoder is PCA: a map of rank one",
    ),
    "A24": Statement(
        "refuted",
        "Exact answers of alpha to W and of W to alpha, undamped, end in a cycle above the least loss; the average of "
        "all answers (Frank-Wolfe) converges to it",
        said="Coordinate-wise optimisation, alpha and then W each exactly, solves the contrastive loss",
    ),
    "A25": Statement(
        "exact",
        "A `W` that is PCA's answer to its own alpha has gap 0: where undamped play settles it has found the global "
        "optimum, and where every optimum has rank above one it cannot settle",
    ),
    "A26": Statement(
        "bound",
        "PCA answers mixed with weights `2/(t+2)`: `L(G_t) - L* <= 2 K / (t+2)`, K the largest second derivative of L "
        "between two answers, for InfoNCE at most `sum_i (range of u_i)^2 / (4 tau)`",
    ),
    "A27": Statement(
        "refuted",
        "Pairwise Frank-Wolfe steps beat averaging where the optimum has full rank; where it has fewer dimensions than "
        "the data averaging can be faster, and steps that correct G on the span of all answers need a handful",
        said="Away and pairwise steps are faster than averaging, as over polytopes",
    ),
    "A28": Statement(
        "certified",
        "No descent of W from any start, of any width, ends below the bound; those with as many columns as the optimum "
        "has dimensions end at it",
    ),
    "A29": Statement(
        "exact",
        "`lambda_max(C) = 0` at the optimum where the ball is not tight (views that overlap, eps > 0), and `W = 0` is "
        "optimal if and only if `lambda_max(C) <= 0` at the alpha of the collapsed embedding",
    ),
    "A29b": Statement(
        "exact",
        "Over all embeddings of two views, rows of length 1 or in a ball, every convex loss that does not tell its "
        "negatives apart is least where both views of a sample coincide and the N samples are the corners of a regular "
        "simplex: `n F(-2 h a N/(N-1), ..)`, a the mean of `|z_i|^2`; rules of importance differ in fewer dimensions, "
        "and over maps",
    ),
    "A30": Statement(
        "exact",
        "Two layers `z = W_2 relu(W_1 x)`, alpha fixed, W_2 at its best: `dE/dw_k = s_k sum_l s_l C_alpha[x^(k), "
        "x^(l)] w_l` with `x^(k) = x 1[w_k'x > 0]`: each unit sees a contrastive covariance of its own, gated",
    ),
    "A31": Statement(
        "exact",
        "The best W_2, of norm 1 or with rows of equal norm, is `v s'`, s the top eigenvector of `C_alpha[relu(W_1 "
        "x)]`, and `E = lambda_max / 2`: W_2 has rank 1, only W_1 can have more",
    ),
    "A32": Statement(
        "exact",
        "One-hot positive inputs: with `y = W_1's` the best energy at a given direction is `y'C_alpha[x]y / (|y_+| + "
        "|y_-|)^2 / 2`, with one row group for y_+ and one for y_-: rank 2 where y has both signs",
    ),
    "A33": Statement(
        "exact",
        "Two one-hot patterns with views of magnitudes 1 +- a: `C_alpha[x] = [[q, -c], [-c, q]]`, `q = 2 (1+a)^2 - 4 "
        "a^2`, `c = 2 (1+a)^2`; one pattern reaches q/2, composition (q + c)/4, which wins by a^2, the linear net (q + "
        "c)/2",
    ),
    "A34": Statement(
        "corrected",
        "P one-hot patterns, alpha = 1: one against all others, at weight `b = (gamma (1+r) - beta) / (gamma (1+r)^2 - "
        "2 beta)`, `r^2 = P - 1`, is the best composition, and beats one pattern only for `a/(1+a) > sqrt((1 - "
        "1/r)/2)`: never from five patterns on (derived here)",
        said="Under strong augmentation composing features beats picking one, however many features there are",
    ),
    "A35": Statement(
        "exact",
        "Two one-hot patterns: the best of projected ascents from random starts ends at `(q + c)/4` with W_1 of rank "
        "2, and a point of rank 2 written down by hand is a local maximum",
    ),
    "A36": Statement(
        "refuted",
        "With rows of W_1 of fixed norm, uniform alpha and dense clusters, stationary points have rank 2 and more "
        "among the units that are read",
        said="With alpha fixed every layer ends at rank one, ReLU or not",
    ),
    "A37": Statement(
        "exact",
        "`|W_1|_F = |W_2|_F = 1`: E is a quadratic form over the hull of signed atoms `relu(Xw)`, so that two units "
        "of different atoms can both be read at a maximum only where `(a_k - a_l)'M(a_k - a_l) <= 0` (derived here); "
        "rank above 1 was not seen on dense clusters",
    ),
    "A38": Statement(
        "exact",
        "An ascent that ends on an activation boundary ends where 0 is in the convex hull of the limits of gradients: "
        "gates in [0, 1] of the inputs there make the tangent gradient vanish, and E has a kink",
    ),
}
