"""The members of a population: a pytree whose leaves have one more leading axis, one row a member."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import check_array, check_floating, check_values, message
from fnn.tree import named_leaves
from fnn.typing import Array


def take(states: Any, members: int | Array) -> Any:
    """Some members of a population, in the order of their indices; of one index, that member alone.

    Args:
        states: a pytree stacked along its leading axis, as `jax.vmap` returns it.
        members: integer index, or indices (k,); they may be traced.

    Returns:
        A population of k members; a pytree without the leading axis for one index.

    Raises:
        ValueError: the leaves have no leading axis of one length, or an index is out of range.
        TypeError: the indices are not integers.

    Example:
        >>> states = {"w": jnp.array([[1.0], [2.0], [3.0]])}
        >>> take(states, jnp.array([2, 0]))
        {'w': Array([[3.],
               [1.]], dtype=float32)}
        >>> take(states, 1)
        {'w': Array([2.], dtype=float32)}
    """
    n = count("states", states)
    chosen: Any = np.asarray(members) if isinstance(members, int) else members
    check_array("members", chosen)
    if not jnp.issubdtype(chosen.dtype, jnp.integer):
        remedy = "Of a mask give its indices: jnp.flatnonzero(mask)."
        raise TypeError(message("members", f"dtype {chosen.dtype}", "integer indices", remedy))
    check_values("members", chosen, lambda known: (known >= -n) & (known < n), f"indices of the {n} members")
    return jax.tree.map(lambda a: jnp.asarray(a)[chosen], states)


def ranked(scores: Array) -> Array:
    """The members from best to worst: the highest score first, NaN last; of equal scores the lower index first.

    Args:
        scores: one number a member, (n,).

    Returns:
        Indices (n,), integer.

    Raises:
        TypeError, ValueError: not floating-point numbers of shape (n,).

    Example:
        >>> ranked(jnp.array([0.5, jnp.nan, 0.9, 0.5]))
        Array([2, 0, 3, 1], dtype=int32)
    """
    check_floating("scores", scores)
    if np.ndim(scores) != 1:
        raise ValueError(message("scores", f"shape {np.shape(scores)}", "shape (n,), one score a member"))
    return jnp.argsort(-jnp.asarray(scores), stable=True)


def count(argument: str, states: Any) -> int:
    """How many members a population has; refuses what is not stacked, and names the leaf.

    Example:
        >>> count("states", {"w": jnp.zeros((3, 2)), "b": jnp.zeros(3)})
        3
    """
    sizes = {name: np.shape(leaf)[:1] for name, leaf in named_leaves(states).items()}
    remedy = "Stack the members: jax.vmap(init)(keys)."
    if not sizes:
        raise ValueError(message(argument, "a tree without leaves", "a population, stacked along its leading axis"))
    first, size = next(iter(sizes.items()))
    for name, other in sizes.items():
        if other in ((), (0,)) or other != size:
            got = f"leaf '{name}' of leading axis {other}" + (f" beside '{first}' of {size}" if other != size else "")
            raise ValueError(message(argument, got, "leaves with one leading axis, one row a member", remedy))
    return size[0]
