"""Data: the `Dataset` record, real and synthetic sets by name, readers, and views made by augmentation."""

from spectral_ssl.data.dataset import Dataset, as_dataset
from spectral_ssl.data.embedded import DATASETS, breast_cancer, digits, iris, load_dataset, wine
from spectral_ssl.data.readers import read_array, read_dataset, read_labels, read_pairs
from spectral_ssl.data.synthetic import (
    cliques,
    couple,
    cycle,
    gaussian_mixture,
    latent_two_view,
    path,
    rings,
    swiss_roll,
)
from spectral_ssl.data.views import (
    TRANSFORMS,
    Blur,
    Dropout,
    Erase,
    Flip,
    Mask,
    Noise,
    Rotation,
    Scaling,
    Shift,
    Transform,
    augment,
)

__all__ = [
    "DATASETS",
    "TRANSFORMS",
    "Blur",
    "Dataset",
    "Dropout",
    "Erase",
    "Flip",
    "Mask",
    "Noise",
    "Rotation",
    "Scaling",
    "Shift",
    "Transform",
    "as_dataset",
    "augment",
    "breast_cancer",
    "cliques",
    "couple",
    "cycle",
    "digits",
    "gaussian_mixture",
    "iris",
    "latent_two_view",
    "load_dataset",
    "path",
    "read_array",
    "read_dataset",
    "read_labels",
    "read_pairs",
    "rings",
    "swiss_roll",
    "wine",
]
