"""Exact statements about losses and their optima, beyond the closed forms of the methods themselves."""

from spectral_ssl.theory.alignment import Alignment, edge_homophily, label_alignment
from spectral_ssl.theory.criteria import Duality, duality
from spectral_ssl.theory.dynamics import Flow, integrated_flow, predicted_flow
from spectral_ssl.theory.left_out import LeaveOneOut, leave_one_out
from spectral_ssl.theory.prediction import Prediction, predicted_score

__all__ = [
    "Alignment",
    "Duality",
    "Flow",
    "LeaveOneOut",
    "Prediction",
    "duality",
    "edge_homophily",
    "integrated_flow",
    "label_alignment",
    "leave_one_out",
    "predicted_flow",
    "predicted_score",
]
