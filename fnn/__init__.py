"""fnn: pure training steps in JAX.

A network is a pure function over a pytree of parameters, an optimizer one over a pytree of gradients, a
training step one over a pytree of state; so a whole run is one function that XLA compiles into one program.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fnn import (
    activations,
    augment,
    checkpoint,
    data,
    errors,
    initializers,
    inspect,
    interop,
    keys,
    losses,
    metrics,
    nn,
    optim,
    parallel,
    plot,
    population,
    record,
    shipping,
    train,
    tree,
    typing,
)
from fnn.population.sweep import sweep
from fnn.shipping.export import export
from fnn.train.fit import fit

if TYPE_CHECKING:
    from fnn import doctor, laws

__version__ = "0.1.0"

__all__ = [
    "activations",
    "augment",
    "checkpoint",
    "data",
    "doctor",
    "errors",
    "export",
    "fit",
    "initializers",
    "inspect",
    "interop",
    "keys",
    "laws",
    "losses",
    "metrics",
    "nn",
    "optim",
    "parallel",
    "plot",
    "population",
    "record",
    "shipping",
    "sweep",
    "train",
    "tree",
    "typing",
]

# What most programs do without is imported when it is first used.
_LATER = frozenset({"doctor", "laws"})


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"fnn.{name}")
    raise AttributeError(f"module 'fnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
