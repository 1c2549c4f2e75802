"""Which parameters weight decay touches."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import check_trainable, is_zero, message
from fnn.optim.leafwise import decay_needs_params
from fnn.tree import named_leaves, path_name
from fnn.typing import Array, Params, Scalar

Mask: TypeAlias = Callable[[Params], Any] | Any
"""A tree of True and False like the parameters, or a function that makes one of them."""


def decaying(weight_decay: Scalar, params: Params | None, mask: Mask | None) -> Params | None:
    """The parameters as weight decay sees them: 0 where the mask is False, so that nothing decays there.

    Raises:
        ValueError: there are no parameters, or the mask is another tree than they are.
        TypeError: a leaf of the mask is not True or False.

    Example:
        >>> decaying(0.1, {"b": jnp.ones(2), "w": jnp.ones(2)}, fnn.tree.weight_mask)
        {'b': Array([0., 0.], dtype=float32), 'w': Array([1., 1.], dtype=float32)}
    """
    decay_needs_params(weight_decay, params)
    if mask is None or params is None or is_zero(weight_decay):
        return params
    mask = mask(params) if callable(mask) else mask
    _check_mask(mask)
    if jax.tree.structure(mask) != jax.tree.structure(params):
        differ = sorted((set(named_leaves(mask)) ^ set(named_leaves(params))) - {""}) or ["its containers"]
        got = f"another tree (differs in {', '.join(differ[:4])})"
        remedy = "Give a function of them: fnn.tree.weight_mask."
        raise ValueError(message("decay_mask", got, "the parameters' tree with True and False for leaves", remedy))

    def seen(decays: Any, w: Array) -> Array:
        return w if decays else jnp.zeros_like(w)

    return jax.tree.map(seen, mask, params)


def check_decaying(weight_decay: Scalar, params: Params, mask: Mask | None) -> None:
    """Refuses parameters without a gradient, and a mask that is not theirs.

    Example:
        >>> check_decaying(0.1, {"w": jnp.ones(2)}, {"w": True})
    """
    check_trainable("params", params)
    decaying(weight_decay, params, mask)


def _check_mask(mask: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(mask):
        if not isinstance(leaf, bool | np.bool):
            name = path_name(path)
            where = f"decay_mask leaf '{name}'" if name else "decay_mask"
            remedy = "It chooses the program, so it is never an array."
            raise TypeError(message(where, f"a {type(leaf).__name__}", "True or False", remedy))
