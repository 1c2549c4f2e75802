"""Small functions of a whole pytree: names of its leaves, norm, size, cast."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.typing import Array, DType, Params

# Numbers in a leaf, and in its last axis, from which on it is summed along its rows.
_LARGE, _WIDE = 2**16, 16
_NOT_WEIGHTS = frozenset({"b", "bias", "scale", "offset", "shift", "beta", "gamma"})


def path_name(path: tuple[Any, ...]) -> str:
    """The readable name of a leaf's path, as `jax.tree_util` gives it.

    Example:
        >>> import jax
        >>> [(path, _)] = jax.tree_util.tree_leaves_with_path({"dense_0": {"w": 1.0}})
        >>> path_name(path)
        'dense_0/w'
    """
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> dict[str, Any]:
    """All leaves of a tree, keyed by their readable names, in the tree's order.

    Example:
        >>> named_leaves({"dense_0": {"w": 1.0, "b": 2.0}})
        {'dense_0/b': 2.0, 'dense_0/w': 1.0}
    """
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def size(tree: Any) -> int:
    """How many numbers a tree holds: the sum over its leaves of the number of elements.

    Example:
        >>> size({"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)})
        8
    """
    return sum(np.size(leaf) for leaf in jax.tree.leaves(tree))


def total(tree: Any) -> Array:
    """The sum of all numbers of a tree, in float32 or wider; 0 without leaves.

    Example:
        >>> total({"w": jnp.array([[3.0, 1.0]]), "b": jnp.array([4.0])})
        Array(8., dtype=float32)
    """
    return sum(map(_leaf_total, jax.tree.leaves(tree)), start=jnp.zeros((), jnp.float32))


def global_norm(tree: Any, *, scaled: bool = False) -> Array:
    """Euclidean norm of all leaves taken as one vector, `sqrt(sum |x_i|^2)`, in float32 or wider.

    The norm of a tree without leaves is 0. In float32 it is infinite from entries of 1.8e19 on, and 0 below
    1e-19, but for a scaled one. At 0 its derivative is taken as 0.

    Args:
        tree: any pytree of arrays.
        scaled: divide by the largest entry first, so that no square overflows or vanishes; one pass more.

    Example:
        >>> global_norm({"w": jnp.array([3.0]), "b": jnp.array([4.0])})
        Array(5., dtype=float32)
    """
    if scaled:
        sizes = jax.tree.map(lambda x: _widen(jnp.abs(x)), tree)
        largest = jnp.max(jnp.stack([jnp.float32(0), *(jnp.max(x, initial=0) for x in jax.tree.leaves(sizes))]))
        # The norm does not depend on it, and the derivative by it would overflow.
        unit = jax.lax.stop_gradient(jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1))
        return global_norm(jax.tree.map(lambda x: x / unit, sizes)) * unit
    squares = total(jax.tree.map(lambda x: jnp.square(_widen(jnp.abs(x))), tree))
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), squares)


def cast(tree: Any, dtype: DType) -> Any:
    """Casts the floating-point leaves; integers, booleans and keys stay as they are.

    Example:
        >>> cast({"w": jnp.ones(2), "n": jnp.array(1)}, jnp.bfloat16)
        {'n': Array(1, dtype=int32, weak_type=True), 'w': Array([1, 1], dtype=bfloat16)}
    """

    def leaf(x: Any) -> Any:
        return jnp.asarray(x, dtype) if jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating) else x

    return jax.tree.map(leaf, tree)


def weight_mask(params: Params) -> Any:
    """True for the weights of a network, False for biases and for a normalization's scale and shift.

    What a penalty or weight decay should touch (Goodfellow et al. 2016, section 7.1). A leaf counts as
    a bias by the last part of its name: b, bias, scale, offset, shift, beta, gamma. It also serves as
    Optax's `mask` argument.

    Example:
        >>> weight_mask({"dense_0": {"w": 1.0, "b": 2.0}})
        {'dense_0': {'b': False, 'w': True}}
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path_name(path).rpartition("/")[2] not in _NOT_WEIGHTS, params
    )


def _leaf_total(x: Any) -> Array:
    x = _widen(jnp.asarray(x))
    if x.ndim < 2:
        return jnp.sum(x)
    # As a product with ones: a sum to a single number XLA's CPU backend takes one addition after another. A small
    # matrix is summed down its columns, many at once, for which a large one lies too far apart in memory.
    if x.size >= _LARGE and x.shape[-1] >= _WIDE:
        rows = jnp.tensordot(x, jnp.ones(x.shape[-1], x.dtype), axes=1, precision=jax.lax.Precision.HIGHEST)
        return _leaf_total(rows)
    columns = jnp.tensordot(jnp.ones(x.shape[:-1], x.dtype), x, axes=x.ndim - 1, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(columns)


def _widen(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
