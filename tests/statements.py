"""The statements that the tests hold the library to: id -> kind and statement, the rows of docs/theory.md.

The tests of a statement bear its id: `test_V2_...` is about V2, `test_M_...` about Lemma M. A statement is one line of
ASCII: words, with formulas between backticks. The symbols are those of CONTRIBUTING.md, and SYMBOLS below.

    exact       proven, and solved to rounding
    bound       a proven lower bound; where it is reached, the statement says
    certified   a numerical optimum with a proven or measured bound on how far it can be from the minimum
    asymptotic  true in a limit, with the rate at which it is approached
    corrected   a claim often made that is true with the correction stated
    refuted     a claim often made that is false; the statement says what is true instead
"""

from statement import Statement
from statements_alpha import ALPHA
from statements_augmentation import AUGMENTATION
from statements_convergence import CONVERGENCE
from statements_surrogate import SURROGATE

SECTIONS = {  # title -> first letters of the ids
    "Graphs and identities": "I",
    "VICReg": "MV",
    "Linear and kernel models": "W",
    "SimCLR family": "S",
    "InfoNCE": "C",
    "Barlow Twins": "B",
    "Downstream": "D",
    "Companion papers": "H",
    "alpha-CL": "A",
    "Surrogate gap": "G",
    "Augmentation": "T",
    "Convergence": "N",
}

KINDS = ("exact", "bound", "certified", "asymptotic", "corrected", "refuted")

SYMBOLS = (
    "Matrices: `A` (N, N) adjacency of positive pairs, `deg = A 1`, `D = diag(deg)`, `s = sum(deg)`, `L = D - A`, "
    "`H = I - 11'/N`; `X` (N, D) samples, `Z` (N, K) embeddings, `W` (D, K) weights, `Q` any rotation; `Y` one-hot "
    "labels, C classes of N_c samples.",
    "Eigenvalues: `lam` of L off the constant, ascending; `g` of A, `a` of `D^(-1/2) A D^(-1/2)`, `rho` of that "
    "centred by degrees (over linear maps: of the pencil), descending; `t` and `c` of the optimum: of Cov(Z), or of "
    "the cross-correlation.",
    "Weights: VICReg's `alpha`, `beta`, `gamma` for variance, covariance, invariance; Barlow Twins' `lambda` for "
    "redundancy; InfoNCE's temperature `tau`. Covariances divide by `n`, N or N - 1; `kappa = 2 gamma n/N`.",
)

STATEMENTS: dict[str, Statement] = {
    # ------------------------------------------------------------------------------------------ graphs and identities
    "I1": Statement(
        "exact",
        "Dirichlet identity `sum_ij A_ij |z_i - z_j|^2 = 2 tr(Z'LZ)`: self-pairs do not matter to L, and do matter to "
        "whatever weighs by A or by degree",
    ),
    "I2": Statement(
        "exact",
        "Contrast between samples is contrast between dimensions: `|ZZ' - diag|^2 + sum |row|^4 = "
        "|Z'Z - diag|^2 + sum |column|^4` for every Z",
        said="Unit columns of Z (N, K) make the two contrasts differ by `N - N^2/K`",
    ),
    "I3": Statement(
        "exact",
        "Regular A of degree d, `gamma = alpha/d`: VICReg is Frobenius SimCLR, `alpha |HZZ'H/N - HAH/d|^2 + "
        "alpha (K - |HAH|^2/d^2)`, for every Z",
    ),
    "I4": Statement(
        "exact",
        "Any A, `gamma = alpha`: degree-weighted VICReg is `alpha (SCL + K)`, SCL the spectral contrastive loss of Z "
        "centred by degrees, for every Z",
    ),
    "I5": Statement(
        "exact", "Barlow Twins over a list of pairs is its form in A where every pair is listed in both orders"
    ),
    "I6": Statement(
        "exact",
        "Spectra of the relations: cliques of views and of labels, path (`lam_k = 2 - 2 cos(pi k/N)`, cosine "
        "transform), cycle (Fourier), neighbours, squared distances",
    ),
    "I7": Statement(
        "exact",
        "The published VICReg code on a two-view batch in both orders is hinge VICReg with `alpha, beta, gamma = "
        "25/K, 2/K, 25/K`, up to the 1e-4 under its square root",
        said="The published weights 25, 25, 1 are those of the formula",
    ),
    "I8": Statement(
        "exact",
        "Barlow Twins in A: `C_kl = z_k'A z_l / sqrt(z_k'D z_k z_l'D z_l)`, columns centred by degrees, equals the "
        "loop over weighted pairs",
    ),
    "I9": Statement("exact", "InfoNCE over the relation of two views is N times NT-Xent of the batch"),
    # ----------------------------------------------------------------------------------------------------------- VICReg
    "M": Statement(
        "exact",
        "Lemma M: `min_W alpha |W'BW - I|^2 + tr W'AW = alpha (K - sum t_k^2)`, `t_k = max(0, 1 - mu_k/(2 alpha))`, "
        "mu the lowest eigenvalues of the pencil (A, B), both psd",
    ),
    "V1": Statement(
        "exact",
        "Squared variance, alpha = beta, all Z: `min = alpha (K - sum t_k^2)` at `Z = 1m' + sqrt(n) U diag(sqrt t) Q`, "
        "`t_k = max(0, 1 - gamma n lam_k/(N alpha))`",
    ),
    "V1b": Statement("exact", "Equivalently `ZZ'/N` is the psd part of `H - (gamma/alpha) L`, cut to its top K"),
    "V2": Statement(
        "exact",
        "The whole path in gamma from one eigendecomposition: each t_k is a straight line that dies at "
        "`gamma = alpha N/(n lam_k)`, the eigenvectors do not move, the rank is a staircase",
    ),
    "V3": Statement(
        "refuted",
        "Every choice of K eigenvectors but the lowest is a strict saddle: full-batch descent has no spurious minima",
        said="The other choices of K eigenvectors are local minima of VICReg",
    ),
    "V4": Statement(
        "exact",
        "beta >= alpha: the same minimum and span; beta > alpha leaves no rotation, the coordinates are eigenvectors",
    ),
    "V5": Statement(
        "exact",
        "0 < beta < alpha: water-filling, `c_k = max(0, theta - kappa lam_k/2)/beta`, rotated until all variances are "
        "equal; the optimum depends on beta too",
    ),
    "V6": Statement(
        "exact",
        "Hinge variance, weak invariance: every variance is exactly 1, `c_k = 1 - kappa (lam_k - mean lam)/(2 beta)`, "
        "`min = kappa sum lam - kappa^2/(4 beta) sum (lam - mean lam)^2`",
    ),
    "V6b": Statement(
        "refuted",
        "The hinge optimum is strictly below every embedding with `Cov(Z) = I`, Laplacian Eigenmaps included",
        said="Hinge VICReg is Laplacian Eigenmaps, with the covariance at the identity",
    ),
    "V6c": Statement("asymptotic", "As beta -> infinity hinge VICReg becomes Laplacian Eigenmaps"),
    "V6d": Statement(
        "exact",
        "Hinge variance, `alpha >= 8 beta`, the published 12.5 included: equal variances are best, and no search finds "
        "an embedding below them",
    ),
    "V7": Statement(
        "exact",
        "Hinge variance, strong invariance: the variances are S/K < 1, S from one equation; below `alpha = 8 beta` "
        "branch and bound proves the minimum or a lower bound",
    ),
    "V7b": Statement(
        "exact", "Strong invariance and a spread spectrum leave several c_k at 0 under the hinge: dimensional collapse"
    ),
    "V7c": Statement(
        "refuted",
        "Hinge variance, `alpha < 8 beta`: unlike variances win; at alpha = beta one dimension is left nearly empty",
        said="Equal variances are the best for hinge VICReg at any weights",
    ),
    "V8": Statement(
        "exact", "`min tr Z'LZ` under `Cov(Z) = I` is Laplacian Eigenmaps, `sqrt(n) U Q`, of value `n sum lam_k`"
    ),
    "V8b": Statement(
        "refuted",
        "That is `Ly = lam y`; Belkin and Niyogi's `Ly = lam Dy` has another subspace unless all degrees are equal",
        said="Constrained VICReg is Belkin and Niyogi's Laplacian Eigenmaps, `Ly = lam Dy`",
    ),
    "V8c": Statement(
        "exact",
        "Weighted by degree, `t_k = max(0, 1 - (gamma/alpha) lam_k)` with the lam of `Ly = lam Dy`, on any graph",
    ),
    "V9": Statement(
        "exact",
        "Regular A: `rank Z = #{k <= K : g_k > d - alpha/gamma}`; below `gamma = alpha/d` directions with g_k <= 0 are "
        "kept, at it the optimum is that of Frobenius SimCLR",
    ),
    # ---------------------------------------------------------------------------------------- linear and kernel models
    "W1": Statement("exact", "VICReg over linear maps is Lemma M of the pencil `((2 gamma/N) X'LX, X'HX/n)`"),
    "W2": Statement(
        "exact",
        "Equivalently, with `HX = U S V'` and P the eigenvectors of U'LU: `W = sqrt(n) V S^-1 P diag(sqrt t) Q`",
    ),
    "W3": Statement(
        "exact",
        "`rank Z <= min(K, rank HX)`, null(HX) is free in W and in nothing else; with N <= D + 1 linear maps are as "
        "free as Z",
    ),
    "W4": Statement("exact", "0/1 label pairs, classes of equal size: linear VICReg spans LDA"),
    "W4b": Statement(
        "exact",
        "Label pairs weighted `1/N_c` make X'LX the within-class scatter: linear VICReg spans LDA for every class "
        "balance",
    ),
    "W4c": Statement(
        "refuted",
        "0/1 label pairs, classes of unequal size: class scatters are weighted by N_c, and the span is not LDA",
        said="Pairs of equal labels make linear VICReg LDA",
    ),
    "W5": Statement(
        "exact",
        "Views under isotropic noise of variance s2: PCA, `t_k = max(0, 1 - (gamma/alpha) s2/(w_k + s2))`, w the "
        "variances of the originals",
    ),
    "W6": Statement(
        "exact",
        "Kernel model without ridge: a kernel of full rank leaves the training embedding that of all Z, whatever "
        "the kernel",
    ),
    "W7": Statement(
        "exact",
        "Kernel model with ridge eta: Lemma M of `((2 gamma/N) R L R + eta I, R H R/n)`, `R = kernel^(1/2)`",
    ),
    "W8": Statement(
        "refuted",
        "A covariance per branch has another optimum than the covariance of both views; listing pairs in both orders "
        "makes them one",
        said="The covariance per branch of the published code is that of the pooled views",
    ),
    "W9": Statement(
        "exact",
        "Batches of B samples: `E |C_B - I|^2 = |C - I|^2 + (mean |z|^4 - |C|^2)/B`, so their optimum is off by O(1/B)",
    ),
    # ---------------------------------------------------------------------------------------------------- SimCLR family
    "S1": Statement(
        "exact",
        "Frobenius SimCLR: `min |ZZ' - A|^2 = sum g^2 - sum_{k<=K} max(0, g_k)^2` at `Z = U diag(sqrt max(0, g)) Q`",
    ),
    "S2": Statement("exact", "`rank Z = min(K, number of positive eigenvalues of A)`"),
    "S2b": Statement(
        "refuted",
        "Two views with a zero diagonal have rank A = N and rank Z = N/2",
        said="SimCLR makes the rank of Z that of A",
    ),
    "S3": Statement(
        "exact", "Over linear maps, `X = U S V'`: the eigenpairs of U'AU, that is of the pencil (X'AX, X'X)"
    ),
    "S3b": Statement("exact", "The linear minimum is that of the compressed problem plus `|A|^2 - |U'AU|^2`"),
    "S4": Statement(
        "exact", "Frobenius SimCLR of `-H D2 H/2`, D2 squared distances, is classical MDS; of Euclidean ones PCA"
    ),
    "S5": Statement("exact", "Frobenius SimCLR of geodesic distances, so centred, is Isomap"),
    "S6": Statement(
        "exact",
        "The spectral contrastive loss is `|S - FF'|^2 - |S|^2` for every Z, `S = D^(-1/2) A D^(-1/2)`, "
        "`F = (D/s)^(1/2) Z`",
    ),
    "S6b": Statement(
        "exact", "Its optimum spans the top eigenfunctions of the chain `D^-1 A`, `min = -sum_{k<=K} max(0, a_k)^2`"
    ),
    "S7": Statement("exact", "Over linear maps: the pencil (X'AX, X'DX), `min = -sum_{k<=K} max(0, rho_k)^2`"),
    "S8": Statement(
        "exact",
        "Lemma E: `min_W -2 tr W'AW + tr (W'BW)^2 = -sum_{k<=K} max(0, rho_k)^2`, rho of (A, B); SSL-EY is its case of "
        "two centred views",
    ),
    "S9": Statement(
        "exact",
        "The spectral contrastive loss under gradient flow in whitened coordinates: `y' = 8 y (rho - y)` for the "
        "squares y along each eigenvector, steps at `log(rho/y0 - 1)/(8 rho)`; from any start a matrix Riccati "
        "equation, which selects the top K",
    ),
    # ---------------------------------------------------------------------------------------------------------- InfoNCE
    "C1": Statement(
        "exact",
        "V views of n originals, K >= n - 1: the views coincide on a regular simplex, "
        "`min = N (V-1) log((V-1) + (N-V) exp(-n/((n-1) tau)))`",
    ),
    "C1b": Statement(
        "exact",
        "That optimum is one and the same at every temperature, of rank n - 1; dot products over a ball have it too, "
        "scaled",
    ),
    "C2": Statement(
        "bound",
        "K < n - 1: the simplex value is a lower bound that no embedding reaches",
        said="Contrastive learning of views ends on a regular simplex, at its value",
    ),
    "C3": Statement(
        "exact",
        "A > 0 off the diagonal: where `tau (log A_ij + c)` is psd the minimum is the entropy "
        "`sum_i deg_i H(A_i/deg_i)`: the softmax rows are those of `D^-1 A`; K = N - 1 is enough",
        said="The entropy bound of InfoNCE takes N dimensions",
    ),
    "C4": Statement(
        "exact",
        "Negatives drawn with weights p: the similarities have `exp(S_ij/tau)` proportional to `A_ij/(p_i p_j)`, the "
        "kernel of positive pairs",
    ),
    "C5": Statement(
        "asymptotic",
        "Dot products, self-pairs included, regular `A = 1 + eps R`: the InfoNCE subspace is the spectral one up to "
        "O(eps)",
    ),
    "C5b": Statement(
        "refuted",
        "Where degrees differ a shift of the mean couples in at leading order: the angle does not vanish with eps",
        said="On nearly uniform relations InfoNCE linearises to a spectral embedding",
    ),
    "C6": Statement(
        "refuted",
        "The optimum of InfoNCE is far in angle from that of Frobenius SimCLR, which is a warm start and no solution",
        said="SimCLR learns the spectral embedding of its positive pairs",
    ),
    "C7": Statement(
        "asymptotic",
        "tau -> infinity with cosines is a MAXCUT-like problem over unit rows, no eigenproblem, and its optimum has "
        "low rank",
    ),
    "C8": Statement(
        "certified",
        "Cosine InfoNCE over all Z is convex in `S = ZZ'`: any Z is within `-N min(0, lambda_min(M))` of the minimum, "
        "`M = grad - Diag(diag(grad S))`; factors of low rank reach it to 1e-8",
    ),
    "C9": Statement(
        "certified",
        "Dot-product InfoNCE over linear maps is convex in `M = WW'`: over `tr M <= r` it is within "
        "`<grad, M> - r min(0, lambda_min(grad))` of the minimum, which may lie inside",
        said="More norm is always better for InfoNCE of dot products",
    ),
    "C11": Statement(
        "bound",
        "Cosine InfoNCE in K dimensions: `sum_i 1/(rho_i + (1 + n_i) kappa(1)) <= 1/kappa_0` for every "
        "`kappa(t) <= e^((t-1)/tau)` with non-negative Gegenbauer coefficients, `kappa_0` its mean on the sphere; "
        "`rho_i`: negatives of row i, `n_i`: its partners; the bound that follows is reached at sharp configurations",
    ),
    "C12": Statement(
        "bound",
        "Cosine InfoNCE in K dimensions, `f = [(1 - theta) U + P] + theta U`, U the negatives: the first part is "
        "certified over all dimensions, the second by C11; on nearest neighbours at K = 2 it is above either alone",
    ),
    # ----------------------------------------------------------------------------------------------------- Barlow Twins
    "B1": Statement(
        "exact",
        "Unit columns, lambda = 1: `min = (sum 1/rho - K)^2 / sum 1/rho^2`, `c_k = 1 - nu/rho_k`, on the top K "
        "eigenspace",
    ),
    "B2": Statement(
        "refuted",
        "Canonical variates span the optimum and are not it: its columns mix them to equal size",
        said="Canonical variates minimise Barlow Twins, with the value `sum (1 - rho_k)^2`",
    ),
    "B3": Statement(
        "bound",
        "lambda <= 1: the convex program `min K (1 - cbar)^2 + lambda (sum c^2 - K cbar^2)` over `sum c/rho = K`, "
        "`c >= 0` is a lower bound for every K, and the minimum where a Hadamard matrix of order K exists",
    ),
    "B3b": Statement("exact", "So too where the program drops directions: c_k = 0 past its active set"),
    "B3c": Statement(
        "refuted",
        "At the published `lambda = 0.0051` and small K the optimum has rank 1: collapse is governed by lambda K",
        said="Barlow Twins with its published lambda keeps K dimensions",
    ),
    "B4": Statement(
        "corrected",
        "Where no Hadamard matrix exists: K = 3 ends above that program, by 1e-8 to 1e-3 of it; K = 6, 7, 9, 10 reach "
        "it all the same",
        said="The program is the minimum only where a Hadamard matrix of order K exists",
    ),
    "B5": Statement(
        "refuted",
        "lambda > 1: the program is the minimum for equal rho and for K = 2 with rho >= 2/3; from K = 3 on, and where "
        "rho is small, columns of unlike size are below it",
        said="lambda > 1: the program is the minimum while all rho are above 2/3",
    ),
    "B6": Statement(
        "exact",
        "Unnormalised, `|W'Gam W - I|^2` with `Gam = X'AX/s`: zero on a continuum of W where Gam has K positive "
        "eigenvalues gam",
        said="Barlow Twins without normalisation learns the top K directions",
    ),
    "B7": Statement(
        "exact", "Its zero of least norm is `W = E diag(gam^(-1/2)) Q`, of squared norm `sum_{k<=K} 1/gam_k`"
    ),
    "B8": Statement("exact", "`min |W'Gam W - I|^2 = max(0, K - number of positive eigenvalues of Gam)`"),
    "B9": Statement(
        "exact",
        "Its gradient flow learns one direction after another, `s_k(t) = e^(4gt)/sqrt(s0^-2 + (e^(8gt) - 1) g)`, "
        "g = gam_k, with steps at `-log(s0^2 g)/(8g)`",
    ),
    "B10": Statement(
        "asymptotic",
        "The top K are an implicit bias of small starts: the sine to them falls as `s0^(1 - gam_{K+1}/gam_K)`",
    ),
    "B11": Statement(
        "exact",
        "Kernel model: eigenpairs of `R A R`, `R = kernel^(1/2)`, each scaled by its eigenvalue to the power -1/2",
    ),
    "B12": Statement(
        "corrected",
        "Where some c_k < 0 the top m < K directions are active, `min = (sum 1/rho - K)^2 / sum 1/rho^2 + K - m`; "
        "where only m rho are positive and `sum 1/rho < K`, `min = K - m`",
        said="Where fewer than K of the rho are positive the formula of the active set still stands",
    ),
    "B13": Statement("exact", "On two coupled modalities the pencil (X'AX, X'DX) is CCA, correlations and directions"),
    "B14": Statement(
        "corrected",
        "CCA of the pair list in both orders ranks by `|rho|`, for its second view may flip a sign; tied weights use "
        "rho > 0 only",
        said="Linear Barlow Twins is CCA of the pairs",
    ),
    "B15": Statement("exact", "Label pairs weighted `1/N_c`: linear Barlow Twins spans LDA"),
    "B16": Statement(
        "exact",
        "Squared VICReg, alpha = beta, learns stepwise as Barlow Twins does: in whitened coordinates `y' = 8 y (alpha "
        "- gamma m - alpha y)`, with steps at `log(b/(alpha y0) - 1)/(8 b)`, `b = alpha - gamma m`; in raw weights "
        "its directions do not decouple",
    ),
    # ------------------------------------------------------------------------------------------------------- downstream
    "D1": Statement(
        "exact",
        "The error of an unregularised linear probe is `|HY|^2 - sum_{t_k > 0} |u_k'Y|^2`: gamma enters through the "
        "rank alone",
    ),
    "D2": Statement(
        "exact", "`A = YY'`, K >= C: linear Frobenius SimCLR is the least-squares prediction of the labels, up to Q"
    ),
    "D3": Statement(
        "exact",
        "Label pairs weighted `1/N_c`, K = C - 1: linear VICReg and then a probe predict as least squares on all of X",
        said="Pairs of equal labels make VICReg and a probe as good as supervised least squares",
    ),
    "D4": Statement(
        "exact",
        "Label pairs of C classes, K > C: the rank is C for Frobenius SimCLR, the constant included, and anything from "
        "K down to C - 1 for VICReg, by gamma",
    ),
    "D5": Statement(
        "corrected",
        "Ridge eta, fixed rows, labels of noise sigma: the expected squared error of the fitted values is "
        "`sum (eta/(h_k + eta))^2 (u_k'f)^2 + |Hf|^2 - sum (u_k'f)^2 + sigma^2 (1 + sum (h_k/(h_k + eta))^2)`, "
        "`h_k = n t_k`, the 1 being the intercept's",
        said="The risk of a ridge probe has no variance but that of its K directions",
    ),
    "D6": Statement(
        "corrected",
        "Few labels, aligned pairs, no ridge: rank C - 1 is best at every number m of clean labels (from m = K + 1 on "
        "all ranks tie), and of noisy ones from m = C + 1 on; at m <= C a larger rank spreads the noise and can be "
        "better",
        said="The best gamma leaves rank C - 1 at every number of labels",
    ),
    "D6b": Statement(
        "corrected",
        "Noisy labels, directions in general position: the harm of gamma = 0 peaks where labels number K + 1, one per "
        "parameter of the probe, its intercept included; with clean labels its error falls at every label",
        said="The harm of gamma = 0 peaks where the labels number K",
    ),
    "D7": Statement(
        "corrected",
        "Probe predictions do not depend on gamma where the labelled samples number rank + 1 or more; without an "
        "intercept, the rank or more",
        said="Predictions of a probe do not depend on gamma once the labels number the rank",
    ),
    "D8": Statement("exact", "Label pairs: the optimum over all Z of every method spans the centred labels"),
    "D9": Statement(
        "exact",
        "Label energy `E_K` of the first K eigenvectors moves with a pair's weight by "
        "`dE_K/dA_ij = 2/|HY|^2 sum_{k<=K<l} d_ij(u_k) d_ij(u_l) u_k'YY'u_l / (lam_k - lam_l)`, "
        "`d_ij(u) = u(i) - u(j)`, over all Z and over maps, pairs present or absent, while `lam_K < lam_(K+1)`",
    ),
    # ------------------------------------------------------------------------------------------------- companion papers
    "H1": Statement(
        "bound",
        "Label energy outside the top K eigenvectors of `D^(-1/2) A D^(-1/2)` is at most `phi/nu_(K+1)`, phi the share "
        "of pair weight across classes, `nu = 1 - a`; a linear probe on them errs on at most `2 phi/nu_(K+1)` of the "
        "samples, drawn by degree; both are reached",
    ),
    "H2": Statement(
        "corrected",
        "`diag(c) Z R`, c > 0, R invertible: the classifier `R^-1 B` predicts as B does on Z, without an intercept; "
        "the classifier that least squares fits changes with c",
        said="Scaling rows of Z does not change a linear probe",
    ),
    "H3": Statement(
        "exact",
        "Uncentred VICReg at any weight b: `|C - I|^2 + b E|z - z+|^2 = E(z'z-)^2 - 2b E z'z+ + 2(b - 1) E|z|^2 + K` "
        "for every Z; b = 1 is the spectral contrastive loss + K",
    ),
}

STATEMENTS |= ALPHA | SURROGATE | AUGMENTATION | CONVERGENCE
