"""Exact statements about losses and their optima, beyond the closed forms of the methods themselves."""

from spectral_ssl.theory.alignment import Alignment, edge_homophily, label_alignment
from spectral_ssl.theory.augmentation import (
    Certificate,
    Features,
    centre_bounds,
    certificates,
    lipschitz,
    smallest_certificates,
)
from spectral_ssl.theory.augmented import AugmentationReport, augmentation_report
from spectral_ssl.theory.bound import Assumption, Bound
from spectral_ssl.theory.charts import Chart, NetworkChart, network_chart, smooth_chart
from spectral_ssl.theory.cliques import Clique, largest_clique
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
from spectral_ssl.theory.convergence import (
    DescentTrace,
    RateFit,
    dead_start,
    descent_bounds,
    fit_rates,
    kappa,
    linear_envelope,
    power_envelope,
    small_start_gradient,
    square_constant,
)
from spectral_ssl.theory.criteria import Duality, duality
from spectral_ssl.theory.degeneracy import Collapse, collapse
from spectral_ssl.theory.divergence import (
    alignment_bounds,
    alignment_factor,
    contrastive_parts,
    correlation_parts,
    divergence_bounds,
)
from spectral_ssl.theory.dynamics import Flow, integrated_flow, measured_flow, predicted_flow
from spectral_ssl.theory.energies import Energies, eigen_energies
from spectral_ssl.theory.fitting import Resemblance, resemblance
from spectral_ssl.theory.forecast import Forecast, Visible, forecast_score, lazy_map, paired_difference, visible_score
from spectral_ssl.theory.gaps import Intercepts, ideal_contrastive, ideal_supervised, intercepts, log_sum_gap
from spectral_ssl.theory.gaussian_probe import Discriminant, discriminant, discriminant_left_out
from spectral_ssl.theory.influence import Influence, edge_influence
from spectral_ssl.theory.left_out import LeaveOneOut, leave_one_out
from spectral_ssl.theory.main_parts import MainParts, ViewSet, augmented_distance, class_margin, sigma_bracket
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
from spectral_ssl.theory.tuples import Infimum, Tuples, draw_tuples, fresh_tuples

__all__ = [
    "FILTERS",
    "Alignment",
    "Assumption",
    "AugmentationReport",
    "Bound",
    "Certificate",
    "Chart",
    "Clique",
    "Collapse",
    "Constants",
    "ContrastiveRisk",
    "DescentTrace",
    "Discriminant",
    "Duality",
    "Energies",
    "Features",
    "Flow",
    "Forecast",
    "Infimum",
    "Influence",
    "Intercepts",
    "LeaveOneOut",
    "MainParts",
    "NetworkChart",
    "OneNegative",
    "Path",
    "Population",
    "Prediction",
    "ProbeBound",
    "ProbePath",
    "RateFit",
    "Resemblance",
    "SurrogateReport",
    "Tuples",
    "UncentredIdentity",
    "Uniformity",
    "ViewSet",
    "Visible",
    "Yardsticks",
    "alignment_bounds",
    "alignment_factor",
    "augmentation_report",
    "augmented_distance",
    "centre_bounds",
    "certificates",
    "class_margin",
    "class_mean_risk",
    "collapse",
    "collision_probability",
    "constants",
    "contrastive_parts",
    "contrastive_risk",
    "correlation_parts",
    "coverage",
    "cross_class_mass",
    "dead_start",
    "descent_bounds",
    "discriminant",
    "discriminant_left_out",
    "divergence_bounds",
    "draw_tuples",
    "drawn_task_bound",
    "drawn_task_risk",
    "duality",
    "edge_homophily",
    "edge_influence",
    "eigen_energies",
    "expected_draws",
    "fit_rates",
    "fixed_task_bound",
    "fixed_task_risk",
    "forecast_score",
    "fresh_tuples",
    "ideal_contrastive",
    "ideal_supervised",
    "in_batch_collisions",
    "integrated_flow",
    "intercepts",
    "invariance_path",
    "kappa",
    "label_alignment",
    "largest_clique",
    "lazy_map",
    "leave_one_out",
    "linear_envelope",
    "lipschitz",
    "log_collision",
    "log_sum_gap",
    "measured_flow",
    "network_chart",
    "one_negative",
    "paired_difference",
    "population",
    "power_envelope",
    "predicted_flow",
    "predicted_score",
    "probe_bound",
    "probe_path",
    "random_uniformity",
    "redundancy_path",
    "resemblance",
    "ridge_risk",
    "sigma_bracket",
    "small_start_gradient",
    "smallest_certificates",
    "smooth_chart",
    "square_constant",
    "supervised_risk",
    "surrogate_bounds",
    "uncentred_identity",
    "uniformity",
    "visible_score",
    "yardsticks",
]
