"""Train the real losses, to see that they land on the closed form, and as practitioners do.

To the minimum: full batch, float64, L-BFGS. Where the loss is a function of the moments of Z (every method but
InfoNCE), a linear model trains in moment space: a step costs the same for a thousand samples and a million. As in
practice: Adam, SGD or LARS on batches of positive pairs, networks, single and half precision, schedules, checkpoints.

Linear models optimise B in W = T B, T whitening the second matrix of the method's own pencil: a change of coordinates,
of the data only, that knows nothing of the relation's eigenvectors. `precondition=False` trains W itself, for studies
of implicit bias.
"""

from spectral_ssl.training.minimise import train
from spectral_ssl.training.monitors import MONITORS, Monitor
from spectral_ssl.training.networks import ENCODERS
from spectral_ssl.training.optimizers import OPTIMIZERS, SCHEDULES
from spectral_ssl.training.problem import check_size, find_device
from spectral_ssl.training.result import Step, TrainResult
from spectral_ssl.training.seeds import SeedRuns, train_seeds

__all__ = [
    "ENCODERS",
    "MONITORS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Monitor",
    "SeedRuns",
    "Step",
    "TrainResult",
    "check_size",
    "find_device",
    "train",
    "train_seeds",
]
