"""The few exceptions of the library.

A message says what came, what is allowed and how to mend it. The command line turns each kind into its own exit code
(`exit_code`), so that scripts can tell bad input from a failed computation.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "NotClosedForm",
    "NumericalError",
    "ResourceError",
    "SpectralSSLError",
    "SpectralWarning",
    "did_you_mean",
]


class SpectralSSLError(Exception):
    """Base of every error this library raises on purpose."""

    exit_code: int = 3


class DataError(SpectralSSLError, ValueError):
    """The data, relation or option given cannot be used: the caller can mend it."""

    exit_code = 2


class NumericalError(SpectralSSLError, ArithmeticError):
    """A computation on valid input did not reach a trustworthy answer."""

    exit_code = 3


class ResourceError(SpectralSSLError, MemoryError):
    """The work asked for does not fit this machine; raised before the work starts."""

    exit_code = 4


class NotClosedForm(SpectralSSLError):
    """Theory has no closed-form optimum for this method in this setting; the message says why."""

    exit_code = 2


class SpectralWarning(UserWarning):
    """Something legal but worth knowing about the data or the relation."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest known one, and the whole list.

    >>> did_you_mean("knm", ["knn", "views"])
    "did you mean 'knn'? (known: knn, views)"
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"(known: {', '.join(names)})"
