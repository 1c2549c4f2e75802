"""fnn: pure training steps in JAX.

A network is a pure function over a pytree of parameters, an optimizer one over a pytree of gradients, a
training step one over a pytree of state; so a whole run is one function that XLA compiles into one program.
"""

from fnn import (
    activations,
    data,
    errors,
    initializers,
    interop,
    keys,
    losses,
    metrics,
    nn,
    optim,
    plot,
    train,
    tree,
    typing,
)
from fnn.train.fit import fit

__version__ = "0.1.0"

__all__ = [
    "activations",
    "data",
    "errors",
    "fit",
    "initializers",
    "interop",
    "keys",
    "losses",
    "metrics",
    "nn",
    "optim",
    "plot",
    "train",
    "tree",
    "typing",
]
