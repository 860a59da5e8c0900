"""Experiments: what the commands run. Each function returns a record ready for JSON and most write a run directory.

Here are the commands on a user's data. How practice departs from theory is measured by `spectral-ssl experiment NAME`,
a function each in practice, branches, regimes, projector, infonce and temperature, with frame.py round all of them.
"""

from __future__ import annotations

from spectral_ssl.experiments.audit import audit
from spectral_ssl.experiments.compare import compare_methods
from spectral_ssl.experiments.demo import demo
from spectral_ssl.experiments.explain import explain

__all__ = ["audit", "compare_methods", "demo", "explain"]
