"""One array on its way to a mesh: from other devices, and the same from all processes."""

import zlib
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from fnn.errors import is_traced
from fnn.keys import by_way_of_host, is_key


def movable(leaf: Any, mesh: Mesh) -> Any:
    """A leaf that `jit` takes to the mesh: what is bound to other devices goes by way of the host.

    Example:
        >>> movable(jnp.ones(2), fnn.parallel.make_mesh())
        Array([1., 1.], dtype=float32)
    """
    if not isinstance(leaf, jax.Array) or is_traced(leaf) or not leaf.committed or not leaf.is_fully_addressable:
        return leaf
    order: Any = leaf.devices()
    if isinstance(leaf.sharding, NamedSharding):
        order = np.ravel(np.asarray(leaf.sharding.mesh.devices))
    if list(order) == list(mesh.devices.flat):
        return leaf
    return by_way_of_host(leaf) if is_key(leaf) else np.asarray(leaf)


def digest(leaf: Any) -> int | None:
    """A checksum of the numbers that this process gives; None where it has only a part of them.

    Example:
        >>> digest(jnp.ones(2)) == digest(np.ones(2, np.float32))
        True
    """
    if is_traced(leaf) or (isinstance(leaf, jax.Array) and not leaf.is_fully_addressable):
        return None
    numbers = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
    octets: Any = np.ascontiguousarray(numbers).reshape(-1).view(np.uint8)  # without a copy
    return zlib.crc32(octets)
