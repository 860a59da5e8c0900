"""One statement that the tests hold the library to, a row of docs/theory.md."""

from typing import NamedTuple


class Statement(NamedTuple):
    kind: str
    text: str
    said: str = ""  # the claim often made that a test of this statement has a counterexample to
    later: bool = False  # stated, and not tested yet
