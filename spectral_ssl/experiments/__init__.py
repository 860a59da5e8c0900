"""Experiments: what the commands run. Each function returns a record ready for JSON and most write a run directory."""

from __future__ import annotations

from spectral_ssl.experiments.audit import audit
from spectral_ssl.experiments.compare import compare_methods
from spectral_ssl.experiments.demo import demo
from spectral_ssl.experiments.explain import explain

__all__ = ["audit", "compare_methods", "demo", "explain"]
