"""spectral_ssl: what self-supervised losses learn from a positive-pair relation, exactly and before training.

>>> import spectral_ssl as ss
>>> data = ss.load_dataset("digits")
>>> graph = ss.relations.knn(data, n_neighbors=10)
>>> best = ss.optimum(ss.VICReg(), graph, n_components=8, X=data.X)
>>> best.kind, best.rank
('exact', 8)
"""

from __future__ import annotations

import importlib
from typing import Any

from spectral_ssl._version import __version__

# name -> module that defines it; loaded on first use, so that importing the package costs next to nothing
_PUBLIC = {
    "Dataset": "data",
    "as_dataset": "data",
    "augment": "data",
    "couple": "data",
    "load_dataset": "data",
    "read_dataset": "data",
    "from_torch": "data",
    "Graph": "graph",
    "Moments": "moments",
    "Spectra": "spectrum",
    "Spectrum": "spectrum",
    "Embedding": "embedding",
    "Optimum": "embedding",
    "optimum": "solve",
    "extend": "extension",
    "METHODS": "methods",
    "AlphaCL": "methods",
    "BarlowTwins": "methods",
    "FrobeniusSimCLR": "methods",
    "InfoNCE": "methods",
    "Method": "methods",
    "SimCLR": "methods",
    "SpectralContrastive": "methods",
    "SSLEY": "methods",
    "VICReg": "methods",
    "train": "training",
    "train_seeds": "training",
    "TrainResult": "training",
    "SeedRuns": "training",
    "Monitor": "training",
    "compare": "comparison",
    "laplacian_eigenmaps": "classical",
    "lpp": "classical",
    "lda": "classical",
    "pca": "classical",
    "classical_mds": "classical",
    "generalized_mds": "classical",
    "isomap": "classical",
    "cca": "classical",
    "tied_cca": "classical",
    "positive_pair_kernel": "positive_pair",
    "positive_pair_pca": "positive_pair",
    "pmi": "positive_pair",
    "DataError": "errors",
    "NotClosedForm": "errors",
    "NumericalError": "errors",
    "ResourceError": "errors",
    "SpectralSSLError": "errors",
    "SpectralWarning": "errors",
}
_MODULES = ("data", "relations", "kernels", "losses", "theory", "alpha_cl", "experiments", "report")

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
