"""alpha-CL: contrastive learning as pair importance and PCA of the contrastive covariance (Tian 2022, 2201.12680)."""

from spectral_ssl.alpha_cl.alternation import Alternation, alternate
from spectral_ssl.alpha_cl.ascent import Ascent, ascend_live
from spectral_ssl.alpha_cl.contrast import Contrast
from spectral_ssl.alpha_cl.deep import DeepRun, deep_ascent, layer_gradients, random_layers
from spectral_ssl.alpha_cl.direct import (
    RULES,
    CustomRule,
    DirectRule,
    EntropyRule,
    PowerRule,
    SparseRule,
    UniformRule,
    parse_rules,
    rule_name,
)
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
from spectral_ssl.alpha_cl.fenchel import (
    ConjugateBound,
    EntropyForm,
    FenchelAlpha,
    convexity_counterexample,
    entropy_form,
)
from spectral_ssl.alpha_cl.fixed import CONSTRAINTS, FixedOptimum, balanced_layers, fixed_optimum, schatten_sum
from spectral_ssl.alpha_cl.hardness import alpha_entropy, disordered_share, effective_negatives
from spectral_ssl.alpha_cl.live import GapCertificate, LiveOptimum, gap_certificate, live_optimum
from spectral_ssl.alpha_cl.normalised import (
    NormalisedRun,
    normalised_ascent,
    normalised_covariance,
    sphere_bound,
)
from spectral_ssl.alpha_cl.one_hot import OneHotOptimum, composition_threshold, one_hot_optimum, one_hot_views
from spectral_ssl.alpha_cl.pca_steps import FrankWolfe, frank_wolfe
from spectral_ssl.alpha_cl.relu import ReluEnergy, ReluLimit, ascend_relu
from spectral_ssl.alpha_cl.rules import AlphaRule, PairLoss
from spectral_ssl.alpha_cl.signed import ContrastSpectrum, SignedGraph, contrastive_covariance

__all__ = [
    "CONSTRAINTS",
    "PAIR_LOSSES",
    "RULES",
    "AlphaRule",
    "Alternation",
    "Ascent",
    "ConjugateBound",
    "Contrast",
    "ContrastSpectrum",
    "CustomRule",
    "DeepRun",
    "DirectRule",
    "EntropyForm",
    "EntropyRule",
    "FenchelAlpha",
    "FixedOptimum",
    "FrankWolfe",
    "GapCertificate",
    "LiftedStructured",
    "Linear",
    "LiveOptimum",
    "Mine",
    "ModifiedTriplet",
    "Nce",
    "NormalisedRun",
    "OneHotOptimum",
    "PairLoss",
    "PowerRule",
    "ReluEnergy",
    "ReluLimit",
    "SignedGraph",
    "SoftTriplet",
    "SparseRule",
    "Triplet",
    "Tuplet",
    "UniformRule",
    "alpha_entropy",
    "alternate",
    "ascend_live",
    "ascend_relu",
    "balanced_layers",
    "composition_threshold",
    "contrastive_covariance",
    "convexity_counterexample",
    "deep_ascent",
    "disordered_share",
    "effective_negatives",
    "entropy_form",
    "fixed_optimum",
    "frank_wolfe",
    "gap_certificate",
    "layer_gradients",
    "live_optimum",
    "normalised_ascent",
    "normalised_covariance",
    "one_hot_optimum",
    "one_hot_views",
    "parse_rules",
    "random_layers",
    "rule_name",
    "schatten_sum",
    "sphere_bound",
]
