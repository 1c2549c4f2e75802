"""Where randomness comes from: one key a run, and for each use a number folded into it.

The key is never split in place: purpose first, then epoch or step, then the layer's name. So the order
of the data, the noise of a step and the first weights are functions of (key, epoch), (key, step) and
(key, name) alone, and a run that is resumed draws what it would have drawn.
"""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.typing import Array, Key

_INIT, _ORDER, _NOISE = range(3)


def for_init(key: Key) -> Key:
    """The key of the first weights."""
    return jax.random.fold_in(key, _INIT)


def for_epoch(key: Key, epoch: Array | int) -> Key:
    """The key of an epoch's order of examples."""
    return jax.random.fold_in(jax.random.fold_in(key, _ORDER), epoch)


def for_step(key: Key, step: Array | int) -> Key:
    """The key of a step's noise, such as dropout masks."""
    return jax.random.fold_in(jax.random.fold_in(key, _NOISE), step)


def for_layer(key: Key, name: str) -> Key:
    """The key of a layer: it depends on the layer's name, not on how many layers stand before it.

    Example:
        >>> key = jax.random.key(0)
        >>> bool(for_layer(key, "dense_0") == for_layer(key, "dense_1"))
        False
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed keys, or stands for one.

    Example:
        >>> is_key(jax.random.key(0)), is_key(jnp.zeros(2)), is_key(3)
        (True, False, False)
    """
    return jnp.issubdtype(getattr(leaf, "dtype", np.dtype(object)), jax.dtypes.prng_key)


def by_way_of_host(key: Key) -> Key:
    """The same key, bound to no device, whatever becomes of the first one.

    Example:
        >>> bool(by_way_of_host(jax.random.key(3)) == jax.random.key(3))
        True
    """
    numbers: Any = np.array(jax.random.key_data(key))
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(key))
