"""A leaf is brought from other devices where it must be, and its checksum tells other numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.parallel import data_parallel, make_mesh, place
from fnn.parallel.leaf import digest, movable


def test_what_jit_takes_stays_as_it_is() -> None:
    mesh = make_mesh()
    placed = place(jnp.ones(8), data_parallel(mesh))
    for leaf in (jnp.ones(3), jax.random.key(0), np.ones(2), 3, placed):
        assert movable(leaf, mesh) is leaf


def test_what_is_bound_to_other_devices_is_freed() -> None:
    there = jax.devices()[5]
    moved = movable(jax.device_put(jnp.arange(3), there), make_mesh())
    assert isinstance(moved, np.ndarray)
    assert moved.tolist() == [0, 1, 2]
    key = jax.random.split(jax.random.key(1, impl="rbg"), 2)
    freed = movable(jax.device_put(key, there), make_mesh())
    assert not freed.committed
    assert bool((jax.random.key_data(freed) == jax.random.key_data(key)).all())
    assert jax.random.key_impl(freed) == jax.random.key_impl(key)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "int8", "bool"])
def test_other_numbers_have_another_checksum(dtype: str) -> None:
    x = jnp.zeros((3, 2), dtype)
    assert digest(x) == digest(np.asarray(x)) != digest(x.at[2, 1].set(True))


def test_checksums_of_keys_numbers_and_nothing() -> None:
    assert digest(jax.random.key(0)) == digest(jax.random.key(0)) != digest(jax.random.key(1))
    assert digest(3) != digest(4)
    assert digest(jnp.zeros((0, 3))) == 0
    jax.jit(lambda x: [x, [digest(x)]][0])(jnp.ones(2))  # numbers that are not known yet have none
