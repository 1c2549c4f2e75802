"""fnn: pure training steps in JAX.

A network is a pure function over a pytree of parameters, an optimizer one over a pytree of gradients, a
training step one over a pytree of state; so a whole run is one function that XLA compiles into one program.
"""

import importlib
from types import ModuleType

from fnn import activations, data, errors, initializers, interop, keys, losses, metrics, nn, optim, train, tree, typing
from fnn.train.fit import fit

__version__ = "0.1.0"

_LAZY = frozenset({"plot"})

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


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"fnn.{name}")
    raise AttributeError(f"module 'fnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
