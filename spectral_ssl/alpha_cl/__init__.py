"""alpha-CL: contrastive learning as pair importance and PCA of the contrastive covariance (Tian 2022, 2201.12680)."""

from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.family import (
    PAIR_LOSSES,
    LiftedStructured,
    Linear,
    Mine,
    ModifiedTriplet,
    Nce,
    SoftTriplet,
    Triplet,
    Tuplet,
)
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.alpha_cl.signed import ContrastSpectrum, SignedGraph, contrastive_covariance

__all__ = [
    "PAIR_LOSSES",
    "AlphaRule",
    "Contrast",
    "ContrastSpectrum",
    "LiftedStructured",
    "Linear",
    "Mine",
    "ModifiedTriplet",
    "Nce",
    "PairLoss",
    "SignedGraph",
    "SoftTriplet",
    "Triplet",
    "Tuplet",
    "contrastive_covariance",
]
