"""Data sets by name: small real ones bundled with scikit-learn or Python, images in files, synthetic; or by a path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spectral_ssl.data import named, synthetic
from spectral_ssl.data._checks import FloatArray
from spectral_ssl.data.dataset import Dataset
from spectral_ssl.data.documentation import stdlib_docs
from spectral_ssl.data.readers import read_dataset
from spectral_ssl.data.readers.files import exists
from spectral_ssl.data.styles import styled
from spectral_ssl.errors import DataError, did_you_mean

__all__ = ["DATASETS", "breast_cancer", "digits", "iris", "load_dataset", "wine"]


def digits(*, standardize: bool = False) -> Dataset:
    """1,797 handwritten digits, 8 x 8 pixels of 0 .. 16, 10 classes (UCI, bundled with scikit-learn).

    `standardize` gives every pixel mean 0 and variance 1 (constant pixels become 0).
    """
    return _bundled("digits", standardize, image_shape=(8, 8))


def iris(*, standardize: bool = False) -> Dataset:
    """150 flowers, 4 measurements in cm, 3 species (Fisher 1936, bundled with scikit-learn).

    `standardize` gives every feature mean 0 and variance 1.
    """
    return _bundled("iris", standardize)


def wine(*, standardize: bool = False) -> Dataset:
    """178 wines, 13 chemical measurements on very different scales, 3 cultivars (UCI, bundled with scikit-learn).

    `standardize` gives every feature mean 0 and variance 1.
    """
    return _bundled("wine", standardize)


def breast_cancer(*, standardize: bool = False) -> Dataset:
    """569 tumours, 30 measurements on very different scales, malignant or benign (UCI, bundled with scikit-learn).

    `standardize` gives every feature mean 0 and variance 1.
    """
    return _bundled("breast_cancer", standardize)


def load_dataset(name_or_path: str | os.PathLike[str], **options: Any) -> Dataset:
    """A data set by its name in `DATASETS`, or read from a file.

    A known name wins; otherwise a string that names an existing path, has a file suffix or a separator is a path and
    goes, with the options, to `read_dataset`. The name "file" takes the path as an option, so that a call can say all
    of it: file(path='flowers.csv', label_column=species).

    >>> load_dataset("rings", n_samples=30, n_rings=3)
    Dataset('rings': 30 samples x 2 features, 3 classes)

    Raises:
        DataError: An unknown name, an option the data set does not have, or a file that cannot be read.
    """
    from spectral_ssl import spec

    options = {
        key: value.tolist() if isinstance(value, np.generic | np.ndarray) else value for key, value in options.items()
    }
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        return spec.bind(DATASETS, name_or_path, options, kind="data set")()
    if isinstance(name_or_path, str) and name_or_path == "file":
        if "path" not in options:
            raise DataError("data set file needs a value for path: file(path='flowers.csv'), and options of its format")
        return read_dataset(options.pop("path"), **options)
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise DataError(
            f"load_dataset takes a name or a path, got {type(name_or_path).__name__}; for arrays use "
            "Dataset(name='mine', X=X)"
        )
    file = Path(name_or_path)
    if isinstance(name_or_path, os.PathLike) or file.suffix or os.sep in name_or_path or exists(file):
        return read_dataset(file, **options)
    raise DataError(
        f"unknown data set {name_or_path!r}: {did_you_mean(name_or_path, DATASETS)}; the name of a file needs its "
        "suffix"
    )


def _bundled(name: str, standardize: bool, image_shape: tuple[int, int] | None = None) -> Dataset:
    from sklearn import datasets  # heavy: only when one of these sets is asked for

    bunch = getattr(datasets, f"load_{name}")()
    return Dataset(
        name=name,
        X=_standardized(bunch.data) if standardize else bunch.data,
        y=bunch.target,
        image_shape=image_shape,
        meta={
            "origin": f"sklearn.datasets.load_{name}",
            "feature_names": tuple(str(feature) for feature in bunch.feature_names),
            "target_names": tuple(str(target) for target in bunch.target_names),
            "standardized": standardize,
        },
    )


def _standardized(X: FloatArray) -> FloatArray:
    """Mean 0 and variance 1 (divided by N) per feature; a constant feature becomes 0."""
    spread = X.std(axis=0)
    standardized: FloatArray = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return standardized


DATASETS: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "iris": iris,
    "wine": wine,
    "breast_cancer": breast_cancer,
    "stdlib_docs": stdlib_docs,
    "mnist": named.mnist,
    "fashion_mnist": named.fashion_mnist,
    "cifar10": named.cifar10,
    "cifar100": named.cifar100,
    "stl10": named.stl10,
    "image_folder": named.image_folder,
    "path": synthetic.path,
    "cycle": synthetic.cycle,
    "cliques": synthetic.cliques,
    "gaussian_mixture": synthetic.gaussian_mixture,
    "swiss_roll": synthetic.swiss_roll,
    "rings": synthetic.rings,
    "latent_two_view": synthetic.latent_two_view,
    "styled": styled,
}
