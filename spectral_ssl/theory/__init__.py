"""Exact statements about losses and their optima, beyond the closed forms of the methods themselves."""
