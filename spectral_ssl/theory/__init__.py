"""Exact statements about losses and their optima, beyond the closed forms of the methods themselves."""

from spectral_ssl.theory.alignment import Alignment, edge_homophily, label_alignment
from spectral_ssl.theory.bound import Assumption, Bound
from spectral_ssl.theory.contrastive import (
    ProbeBound,
    UncentredIdentity,
    cross_class_mass,
    probe_bound,
    uncentred_identity,
)
from spectral_ssl.theory.criteria import Duality, duality
from spectral_ssl.theory.degeneracy import Collapse, collapse
from spectral_ssl.theory.dynamics import Flow, integrated_flow, measured_flow, predicted_flow
from spectral_ssl.theory.energies import Energies, eigen_energies
from spectral_ssl.theory.fitting import Resemblance, resemblance
from spectral_ssl.theory.forecast import (
    Chart,
    Forecast,
    Visible,
    forecast_score,
    paired_difference,
    smooth_chart,
    visible_score,
)
from spectral_ssl.theory.gaussian_probe import Discriminant, discriminant_left_out
from spectral_ssl.theory.influence import Influence, edge_influence
from spectral_ssl.theory.left_out import LeaveOneOut, leave_one_out
from spectral_ssl.theory.paths import FILTERS, Path, invariance_path, redundancy_path
from spectral_ssl.theory.prediction import Prediction, predicted_score
from spectral_ssl.theory.ridge_risk import ProbePath, probe_path, ridge_risk
from spectral_ssl.theory.sphere import Uniformity, random_uniformity, uniformity

__all__ = [
    "FILTERS",
    "Alignment",
    "Assumption",
    "Bound",
    "Chart",
    "Collapse",
    "Discriminant",
    "Duality",
    "Energies",
    "Flow",
    "Forecast",
    "Influence",
    "LeaveOneOut",
    "Path",
    "Prediction",
    "ProbeBound",
    "ProbePath",
    "Resemblance",
    "UncentredIdentity",
    "Uniformity",
    "Visible",
    "collapse",
    "cross_class_mass",
    "discriminant_left_out",
    "duality",
    "edge_homophily",
    "edge_influence",
    "eigen_energies",
    "forecast_score",
    "integrated_flow",
    "invariance_path",
    "label_alignment",
    "leave_one_out",
    "measured_flow",
    "paired_difference",
    "predicted_flow",
    "predicted_score",
    "probe_bound",
    "probe_path",
    "random_uniformity",
    "redundancy_path",
    "resemblance",
    "ridge_risk",
    "smooth_chart",
    "uncentred_identity",
    "uniformity",
    "visible_score",
]
