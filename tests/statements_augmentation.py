"""Statements on (sigma, delta)-augmentation: rows of docs/theory.md."""

from statement import Statement

AUGMENTATION: dict[str, Statement] = {}
