"""Arguments of other types, from Python: a DataError that says what is allowed, no error of numpy or torch."""

import numpy as np
import pytest

from spectral_ssl import alpha_cl as al
from spectral_ssl import theory
from spectral_ssl.errors import DataError

X = np.random.default_rng(0).standard_normal((8, 3))
ODD = (None, "a", {}, object(), [["a"]], np.array([[1, "b"]], dtype=object))
CALLS = {
    "alpha of C_alpha": (lambda o: al.contrastive_covariance(X, al.Contrast.of(4), o), "alpha"),
    "rows": (lambda o: al.contrastive_covariance(o, al.Contrast.of(4), np.ones((8, 6))), "X must be|shape|axes"),
    "relation": (al.Contrast.of_graph, "must be a Graph"),
    "population": (lambda o: theory.surrogate_bounds(o, [1]), "theory.population"),
    "number of negatives": (lambda o: theory.surrogate_bounds(theory.population(X, [0, 1] * 4), o), "K"),
}


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("odd", ODD, ids=lambda o: type(o).__name__)
def test_another_type_is_refused_in_words(what: str, odd: object) -> None:
    call, said = CALLS[what]
    with pytest.raises(DataError, match=said):
        call(odd)  # type: ignore[arg-type, operator]


def test_rules_that_are_no_text_and_complex_rows_are_refused() -> None:
    for odd in (None, 3, ["infonce"], X):
        with pytest.raises(DataError, match="is text, got"):
            al.parse_rules(odd)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="complex"):
        al.contrastive_covariance(X + 1j, al.Contrast.of(4), np.ones((8, 6)))
