"""Exact statements about losses and their optima, beyond the closed forms of the methods themselves."""

from spectral_ssl.theory.criteria import Duality, duality
from spectral_ssl.theory.dynamics import Flow, integrated_flow, predicted_flow

__all__ = ["Duality", "Flow", "duality", "integrated_flow", "predicted_flow"]
