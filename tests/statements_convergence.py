"""Statements on gradient descent on over-parametrised encoders: rows of docs/theory.md."""

from statement import Statement

CONVERGENCE: dict[str, Statement] = {}
