"""The classical methods the optima coincide with, by their own names, on the same factorisations.

| function            | objective                  | constraint, scale          | the optimum of                     |
|---------------------|----------------------------|----------------------------|------------------------------------|
| laplacian_eigenmaps | min tr(Z'LZ)               | Z'1 = 0, Z'Z = N I         | VICReg under Cov = I               |
| .. random_walk      | the same                   | Z'diag(deg)Z = s I         | Barlow Twins, hard constraint      |
| .. symmetric        | the same, Z sqrt(deg)      | Z'Z = s I                  |                                    |
| lpp                 | min tr(W'(X'LX + rI)W)     | W'X'HXW = N I              | VICReg under Cov = I, linear maps  |
| lda                 | min tr(W'(S_w + rI)W)      | W'S_tW = N I               | the same, on the label graph       |
| pca                 | max tr(W'X'HXW)            | W'W = I                    | VICReg of noisy views, its span    |
| classical_mds       | min |ZZ' + HD2H/2|_F^2     | none                       | Frobenius SimCLR on -HD2H/2        |
| generalized_mds     | min |ZZ' - G|_F^2          | none                       | Frobenius SimCLR on G              |
| isomap              | classical_mds of geodesics | none                       | Frobenius SimCLR on these          |
| cca                 | max tr(Wx'Cxy Wy)          | W'(C + rI)W = I, each view | Barlow Twins, hard, a map per view |
| tied_cca            | max tr(W'(X'AX - rI)W)     | W'X'diag(deg)XW = s I      | Barlow Twins, hard, linear maps    |

Hard constraint: Z'diag(deg)Z = s I, where the loss itself asks for unit columns only. In lpp, lda, pca, cca and
tied_cca X may stand for the features of a kernel.

`transform` embeds new samples, and gives Z on the training ones. laplacian_eigenmaps, and generalized_mds of a Graph,
have it where the relation has a rule for new samples (knn, epsilon, nearest), by the eigen-equation; classical_mds
takes distances to the training samples, generalized_mds similarities; isomap takes X, by its nearest neighbours; the
others X, by weights W. `spectrum` holds the eigenvalues, best first.
"""

from spectral_ssl.classical.correlation import CCA, cca, tied_cca
from spectral_ssl.classical.distances import classical_mds, generalized_mds, isomap
from spectral_ssl.classical.graphs import laplacian_eigenmaps, lda, lpp
from spectral_ssl.classical.variance import pca

__all__ = [
    "CCA",
    "cca",
    "classical_mds",
    "generalized_mds",
    "isomap",
    "laplacian_eigenmaps",
    "lda",
    "lpp",
    "pca",
    "tied_cca",
]
