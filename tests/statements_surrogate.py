"""Statements on the surrogate gap and its rivals: rows of docs/theory.md."""

from statement import Statement

SURROGATE: dict[str, Statement] = {}
