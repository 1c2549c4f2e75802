"""What tests of whole networks share: shapes of the parameters by path, and the programs of init and apply."""

from functools import partial
from typing import Any

import jax

import fnn
from fnn.nn import Layer

KEY, NOISE = jax.random.key(0), jax.random.key(1)
X = jax.random.normal(jax.random.key(2), (4, 9, 7, 3))


def shapes_of(net: Layer, x: Any = X) -> dict[str, Any]:
    params, _ = jax.eval_shape(net.init, KEY, x)
    return {name: leaf.shape for name, leaf in fnn.tree.named_leaves(params).items()}


def programs_of(net: Layer) -> list[str]:
    """What init computes, and apply in both modes: equal text, equal numbers."""
    shaped = jax.eval_shape(net.init, KEY, X)
    lowered = [jax.jit(net.init).lower(KEY, X)]
    lowered += [jax.jit(partial(net.apply, train=train)).lower(*shaped, X, key=NOISE) for train in (False, True)]
    return [program.as_text() for program in lowered]
