"""The update rules, written by hand as Optax gradient transformations.

They chain, mask, clip and schedule with Optax's own tools.
"""

from fnn.optim.adagrad import AdagradState, adagrad
from fnn.optim.adam import AdamState, adam
from fnn.optim.average import AverageState, average_of, with_average
from fnn.optim.conventions import convention, conventions
from fnn.optim.formula import Convention
from fnn.optim.hyperparams import HyperparamsState, hyperparams_of, replace_hyperparams, with_hyperparams
from fnn.optim.momentum import MomentumState, momentum
from fnn.optim.rmsprop import RmspropState, rmsprop
from fnn.optim.sgd import SgdState, sgd

__all__ = [
    "AdagradState",
    "AdamState",
    "AverageState",
    "Convention",
    "HyperparamsState",
    "MomentumState",
    "RmspropState",
    "SgdState",
    "adagrad",
    "adam",
    "average_of",
    "convention",
    "conventions",
    "hyperparams_of",
    "momentum",
    "replace_hyperparams",
    "rmsprop",
    "sgd",
    "with_average",
    "with_hyperparams",
]
