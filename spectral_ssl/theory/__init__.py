"""Exact statements about losses and their optima, beyond the closed forms of the methods themselves."""

from spectral_ssl.theory.alignment import Alignment, edge_homophily, label_alignment
from spectral_ssl.theory.bound import Assumption, Bound
from spectral_ssl.theory.collisions import (
    Constants,
    collision_probability,
    constants,
    coverage,
    expected_draws,
    in_batch_collisions,
    log_collision,
)
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
from spectral_ssl.theory.gaps import Intercepts, ideal_contrastive, ideal_supervised, intercepts, log_sum_gap
from spectral_ssl.theory.gaussian_probe import Discriminant, discriminant_left_out
from spectral_ssl.theory.influence import Influence, edge_influence
from spectral_ssl.theory.left_out import LeaveOneOut, leave_one_out
from spectral_ssl.theory.paths import FILTERS, Path, invariance_path, redundancy_path
from spectral_ssl.theory.prediction import Prediction, predicted_score
from spectral_ssl.theory.ridge_risk import ProbePath, probe_path, ridge_risk
from spectral_ssl.theory.risks import (
    ContrastiveRisk,
    Population,
    class_mean_risk,
    contrastive_risk,
    population,
    supervised_risk,
)
from spectral_ssl.theory.sphere import Uniformity, random_uniformity, uniformity
from spectral_ssl.theory.subtasks import (
    OneNegative,
    drawn_task_bound,
    drawn_task_risk,
    fixed_task_bound,
    fixed_task_risk,
    one_negative,
)
from spectral_ssl.theory.surrogate import SurrogateReport, Yardsticks, surrogate_bounds, yardsticks

__all__ = [
    "FILTERS",
    "Alignment",
    "Assumption",
    "Bound",
    "Chart",
    "Collapse",
    "Constants",
    "ContrastiveRisk",
    "Discriminant",
    "Duality",
    "Energies",
    "Flow",
    "Forecast",
    "Influence",
    "Intercepts",
    "LeaveOneOut",
    "OneNegative",
    "Path",
    "Population",
    "Prediction",
    "ProbeBound",
    "ProbePath",
    "Resemblance",
    "SurrogateReport",
    "UncentredIdentity",
    "Uniformity",
    "Visible",
    "Yardsticks",
    "class_mean_risk",
    "collapse",
    "collision_probability",
    "constants",
    "contrastive_risk",
    "coverage",
    "cross_class_mass",
    "discriminant_left_out",
    "drawn_task_bound",
    "drawn_task_risk",
    "duality",
    "edge_homophily",
    "edge_influence",
    "eigen_energies",
    "expected_draws",
    "fixed_task_bound",
    "fixed_task_risk",
    "forecast_score",
    "ideal_contrastive",
    "ideal_supervised",
    "in_batch_collisions",
    "integrated_flow",
    "intercepts",
    "invariance_path",
    "label_alignment",
    "leave_one_out",
    "log_collision",
    "log_sum_gap",
    "measured_flow",
    "one_negative",
    "paired_difference",
    "population",
    "predicted_flow",
    "predicted_score",
    "probe_bound",
    "probe_path",
    "random_uniformity",
    "redundancy_path",
    "resemblance",
    "ridge_risk",
    "smooth_chart",
    "supervised_risk",
    "surrogate_bounds",
    "uncentred_identity",
    "uniformity",
    "visible_score",
    "yardsticks",
]
