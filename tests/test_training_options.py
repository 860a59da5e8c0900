"""Options of training that do not belong together, or lead nowhere: each is refused in words that help."""

import functools
import re
from typing import Any

import numpy as np
import pytest

import spectral_ssl as ss

N, D, K = 24, 6, 2


def relation() -> ss.Graph:
    i = np.arange(N)
    return ss.Graph.from_pairs(i, (i + 1) % N, N)


def features() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((N, D)) + 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 8}, "whole relation"),
        ({"optimizer": "gd", "learning_rate": 0.1, "batch_size": 8}, "whole relation"),
        ({"checkpoint": "somewhere"}, "begins anew"),
        ({"schedule": "cosine"}, "schedule='cosine' goes with"),
        ({"dtype": "float32"}, "rounding of float64"),
        ({"learning_rate": 0.1}, "belongs to optimizer='gd'"),
        ({"optimizer": "gd"}, "needs one"),
        ({"optimizer": "adma"}, "did you mean 'adam'"),
        ({"optimizer": "adam(lr=0.1)"}, "no option 'lr'"),
        ({"optimizer": "adam(beta1=1.5)"}, "beta1 must be"),
        ({"optimizer": "sgd(nesterov=True)"}, "needs momentum"),
        ({"optimizer": "lars(trust=0)"}, "trust must be"),
        ({"optimizer": "sgd(weight_decay=-1)"}, "weight_decay must be"),
        ({"optimizer": 3}, "must be text"),
        ({"optimizer": "adam", "schedule": "cosin"}, "did you mean 'cosine'"),
        ({"optimizer": "adam", "schedule": "cosine(warmup=2)"}, "warmup must be"),
        ({"optimizer": "adam", "schedule": "step(every=0)"}, "every must be"),
        ({"optimizer": "adam", "batch_size": 1}, "batch_size"),
        ({"optimizer": "adam", "batch_size": 2.5}, "batch_size"),
        ({"optimizer": "adam", "learning_rate": -1.0}, "learning_rate"),
        ({"optimizer": "adam", "debias": True}, "give batch_size="),
        ({"optimizer": "adam", "debias": True, "batch_size": 5}, "must be even"),
        ({"optimizer": "adam", "debias": True, "batch_size": 2}, "at least 4"),
        ({"optimizer": "adam", "batch_loss": ss.losses.vicreg}, "give batch_size="),
        ({"optimizer": "adam", "batch_size": 8, "batch_loss": 3}, "must be a function"),
        ({"optimizer": "adam", "batch_size": 8, "batch_loss": lambda za, zb: 1.0}, "batch_loss gave 1.0"),
        ({"optimizer": "adam", "batch_size": 8, "batch_loss": lambda za, zb: za - zb}, "a scalar tensor"),
        ({"optimizer": "adam", "chunk_size": 0}, "chunk_size"),
        ({"optimizer": "adam", "dtype": "float16"}, "dtype='float16'"),
        ({"optimizer": "adam", "dtype": "bfloat16"}, "how networks compute"),
        ({"optimizer": "adam", "checkpoint": 3}, "path of a directory"),
        ({"device": "meta"}, "device='meta'"),
        ({"callbacks": print}, "list of functions"),
        ({"callbacks": [3]}, "list of functions"),
        ({"callbacks": None}, "list of functions"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": 0.0}, "tol"),
        ({"seed": -1}, "seed"),
        ({"init_scale": 0.0}, "init_scale"),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)),
)
def test_options_that_do_not_belong_are_refused_with_advice(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ss.DataError, match=words):
        ss.train(ss.SSLEY(), relation(), K, X=features(), **options)


def test_batches_beyond_memory_are_refused() -> None:
    with pytest.raises(ss.ResourceError, match="batch_size"):
        ss.train(ss.SSLEY(), relation(), K, X=features(), optimizer="adam", batch_size=2**50)


@pytest.mark.parametrize("max_iter", [1, 2, 5, 20])
def test_a_search_evaluates_little_more_than_it_may(max_iter: int) -> None:
    run = ss.train(ss.InfoNCE(), relation(), K, X=features(), max_iter=max_iter)
    assert len(run.losses) <= max_iter + 4  # a line search is ended, and the best point evaluated once more


def test_batches_without_independent_columns_are_refused() -> None:
    method = ss.VICReg(invariance=1.0, form="constrained")
    with pytest.raises(ss.DataError, match="no 4 independent columns"):
        ss.train(method, relation(), 4, X=features(), optimizer="adam", batch_size=2)


def test_a_ridge_is_refused_where_the_loss_has_no_energy() -> None:
    options: dict[str, Any] = {"X": features(), "ridge": 1.0, "optimizer": "adam", "batch_size": 8}
    with pytest.raises(ss.DataError, match="ridge"):
        ss.train(ss.SimCLR(), relation(), K, **options)
    with pytest.raises(ss.DataError, match="ridge"):
        ss.train(ss.SSLEY(), relation(), K, batch_loss=ss.losses.ssl_ey, **options)


def test_a_published_loss_does_not_hide_a_run_that_diverged() -> None:
    # NT-Xent of numbers past all bounds would be refused as bad data
    with pytest.raises(ss.NumericalError, match="lower it"):
        ss.train(
            ss.SimCLR(),
            relation(),
            K,
            X=features(),
            optimizer="sgd",
            learning_rate=1e308,
            batch_size=8,
            batch_loss=ss.losses.nt_xent,
        )


@pytest.mark.parametrize(
    ("batch_size", "batch_loss"), [(None, None), (8, None), (8, functools.partial(ss.losses.ssl_ey))]
)
def test_a_diverging_run_says_at_which_rate_and_what_to_do(batch_size: int | None, batch_loss: Any) -> None:
    with pytest.raises(ss.NumericalError, match=r"learning rate 1e\+03; lower it"):
        ss.train(
            ss.FrobeniusSimCLR(),
            relation(),
            K,
            X=features(),
            optimizer="sgd",
            learning_rate=1e3,
            batch_size=batch_size,
            batch_loss=batch_loss,
        )
