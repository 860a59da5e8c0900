"""Exact statements about losses and their optima, beyond the closed forms of the methods themselves."""

from spectral_ssl.theory.alignment import Alignment, edge_homophily, label_alignment
from spectral_ssl.theory.contrastive import (
    ProbeBound,
    UncentredIdentity,
    cross_class_mass,
    probe_bound,
    uncentred_identity,
)
from spectral_ssl.theory.criteria import Duality, duality
from spectral_ssl.theory.dynamics import Flow, integrated_flow, measured_flow, predicted_flow
from spectral_ssl.theory.influence import Influence, edge_influence
from spectral_ssl.theory.left_out import LeaveOneOut, leave_one_out
from spectral_ssl.theory.paths import FILTERS, Path, invariance_path, redundancy_path
from spectral_ssl.theory.prediction import Prediction, predicted_score
from spectral_ssl.theory.ridge_risk import ProbePath, probe_path, ridge_risk

__all__ = [
    "FILTERS",
    "Alignment",
    "Duality",
    "Flow",
    "Influence",
    "LeaveOneOut",
    "Path",
    "Prediction",
    "ProbeBound",
    "ProbePath",
    "UncentredIdentity",
    "cross_class_mass",
    "duality",
    "edge_homophily",
    "edge_influence",
    "integrated_flow",
    "invariance_path",
    "label_alignment",
    "leave_one_out",
    "measured_flow",
    "predicted_flow",
    "predicted_score",
    "probe_bound",
    "probe_path",
    "redundancy_path",
    "ridge_risk",
    "uncentred_identity",
]
