"""E1 to E9 and more: shapes that theory predicts, beside what is measured. Each answers whether its shape was seen.

====  ===============================================================================  ============
E1    closed form against training, four losses, an irregular graph                    closed_form
E2    VICReg's invariance path: straight lines, a staircase of ranks, SimCLR on it     invariance
E3    rank by method on ever noisier label pairs                                       ranks
E4    probe error from an aligned relation to a misaligned one                         mixing
E5    few labels, and noisy ones: interpolation peak, ridge risk                       low_data
E6    the hinge on the variance against its square: the spectrum of Cov                hinge
E7    Barlow Twins' redundancy: its quadratic programme, collapse at small lambda K    redundancy
E8    stepwise learning from small starts                                              stepwise
E9    minibatches of augmented digits: the bias by batch size                          practice
====  ===============================================================================  ============

`images` has three more that need files of the user's, alpha-CL's rules on CIFAR-10, CIFAR-100 and STL-10.

Of the surrogate gap (Bao, Nagano & Nozawa 2022, arXiv 2110.02501), in kind as well:

===================  ================================================================  ==================
bounds-curves        optimal values by K, coefficients of the rivals, without data     surrogate_curves
bounds-trajectories  both risks in training, inside the band; every limit at its end   surrogate_training
===================  ================================================================  ==================

Of (sigma, delta)-augmentation (Huang, Yi, Zhao & Jiang 2023, arXiv 2111.00743), in kind:

=====================  ==============================================================  ==================
augmentation-richness  1 - sigma and errors as transforms are added, and over pairs    augmentation
augmentation-strength  1 - sigma and errors as one transform grows stronger            augmentation
=====================  ==============================================================  ==================

The settings of E1 to E9 follow the experiments of Balestriero & LeCun 2022 (arXiv 2205.11508) in kind; the numbers are
of data of our own, and none of theirs are shown.
"""

from collections.abc import Callable
from typing import Any

from spectral_ssl.experiments.reproduce.augmentation import richness, strength
from spectral_ssl.experiments.reproduce.closed_form import agreement
from spectral_ssl.experiments.reproduce.hinge import hinge_spectrum
from spectral_ssl.experiments.reproduce.invariance import gamma_path
from spectral_ssl.experiments.reproduce.low_data import few_labels
from spectral_ssl.experiments.reproduce.mixing import misalignment
from spectral_ssl.experiments.reproduce.practice import batch_bias
from spectral_ssl.experiments.reproduce.ranks import rank_by_method
from spectral_ssl.experiments.reproduce.redundancy import redundancy_sweep
from spectral_ssl.experiments.reproduce.stepwise import stepwise_learning
from spectral_ssl.experiments.reproduce.surrogate_curves import bound_curves
from spectral_ssl.experiments.reproduce.surrogate_training import bound_trajectories

__all__ = ["EXPERIMENTS"]

EXPERIMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "E1": agreement,
    "E2": gamma_path,
    "E3": rank_by_method,
    "E4": misalignment,
    "E5": few_labels,
    "E6": hinge_spectrum,
    "E7": redundancy_sweep,
    "E8": stepwise_learning,
    "E9": batch_bias,
    "bounds-curves": bound_curves,
    "bounds-trajectories": bound_trajectories,
    "augmentation-richness": richness,
    "augmentation-strength": strength,
}
