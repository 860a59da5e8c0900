"""Self-supervised methods: each file holds a loss, its derivation and its closed-form optimum.

Adding one takes its file and its line in `METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable

from spectral_ssl.methods.alpha_cl import AlphaCL
from spectral_ssl.methods.barlow_twins import BarlowTwins
from spectral_ssl.methods.base import Method, QuadraticMethod
from spectral_ssl.methods.infonce import InfoNCE, SimCLR
from spectral_ssl.methods.simclr import FrobeniusSimCLR
from spectral_ssl.methods.spectral_contrastive import SpectralContrastive
from spectral_ssl.methods.ssl_ey import SSLEY
from spectral_ssl.methods.vicreg import VICReg

__all__ = [
    "METHODS",
    "SSLEY",
    "AlphaCL",
    "BarlowTwins",
    "FrobeniusSimCLR",
    "InfoNCE",
    "Method",
    "QuadraticMethod",
    "SimCLR",
    "SpectralContrastive",
    "VICReg",
]

METHODS: dict[str, Callable[..., Method]] = {
    "vicreg": VICReg,
    "frobenius_simclr": FrobeniusSimCLR,
    "spectral_contrastive": SpectralContrastive,
    "ssl_ey": SSLEY,
    "barlow_twins": BarlowTwins,
    "infonce": InfoNCE,
    "simclr": SimCLR,
    "alpha_cl": AlphaCL,
}
