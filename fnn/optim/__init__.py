"""The update rules, written by hand as Optax gradient transformations.

They chain, mask, clip and schedule with Optax's own tools.
"""

from fnn.optim.adagrad import AdagradState, adagrad
from fnn.optim.adam import AdamState, adam
from fnn.optim.conventions import Convention, convention, conventions
from fnn.optim.momentum import MomentumState, momentum
from fnn.optim.rmsprop import RmspropState, rmsprop
from fnn.optim.sgd import SgdState, sgd

__all__ = [
    "AdagradState",
    "AdamState",
    "Convention",
    "MomentumState",
    "RmspropState",
    "SgdState",
    "adagrad",
    "adam",
    "convention",
    "conventions",
    "momentum",
    "rmsprop",
    "sgd",
]
