"""Statements on pair importance, contrastive covariance and alpha-CL's optima: rows of docs/theory.md."""

from statement import Statement

ALPHA: dict[str, Statement] = {}
