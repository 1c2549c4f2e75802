"""Keys: each use of the run's key has its own number, and none depends on what was drawn before."""

from collections.abc import Callable
from itertools import combinations

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnn import keys
from fnn.typing import Array, Key

KEY = jax.random.key(7)


def _bits(key: Key) -> tuple[int, ...]:
    return tuple(jax.random.key_data(key).ravel().tolist())


def test_purposes_epochs_and_steps_share_no_key() -> None:
    made = {"itself": KEY, "init": keys.for_init(KEY)}
    made |= {f"epoch {i}": keys.for_epoch(KEY, i) for i in range(20)}
    made |= {f"step {i}": keys.for_step(KEY, i) for i in range(20)}
    made |= {f"layer {i}": keys.for_layer(KEY, f"dense_{i}") for i in range(20)}
    assert len({_bits(key) for key in made.values()}) == len(made)


@pytest.mark.parametrize("purpose", [keys.for_epoch, keys.for_step])
def test_a_number_may_be_traced_or_mapped(purpose: Callable[[Key, Array | int], Key]) -> None:
    plain = [_bits(purpose(KEY, i)) for i in range(3)]
    assert [_bits(jax.jit(purpose)(KEY, jnp.int32(i))) for i in range(3)] == plain
    mapped = jax.vmap(purpose, in_axes=(None, 0))(KEY, jnp.arange(3))
    assert [_bits(key) for key in mapped] == plain


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_the_kind_of_key_stays(impl: str) -> None:
    key = jax.random.key(0, impl=impl)
    for made in (keys.for_init(key), keys.for_epoch(key, 1), keys.for_step(key, 1), keys.for_layer(key, "dense_0")):
        assert made.dtype == key.dtype
        assert made.shape == ()


def test_a_layers_key_is_the_same_in_every_process() -> None:
    # Python's own hash of a string changes with the process; a resumed run needs one that does not.
    expected = jax.random.fold_in(KEY, 0x352441C2)  # the CRC-32 of b"abc"
    assert _bits(keys.for_layer(KEY, "abc")) == _bits(expected)


@settings(max_examples=50)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=5, unique=True))
def test_names_draw_different_numbers(names: list[str]) -> None:
    for a, b in combinations(names, 2):
        assert _bits(keys.for_layer(KEY, a)) != _bits(keys.for_layer(KEY, b))


def test_typed_keys_and_what_stands_for_them() -> None:
    shape = jax.eval_shape(lambda: jax.random.split(KEY, 3))
    assert keys.is_key(KEY)
    assert keys.is_key(shape)
    assert not any(map(keys.is_key, [jax.random.key_data(KEY), 3, None, "key"]))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_by_way_of_the_host_it_is_another_array_and_the_same_key(impl: str) -> None:
    key = jax.random.key(5, impl=impl)
    wanted, again = _bits(key), keys.by_way_of_host(key)
    key.delete()
    assert _bits(again) == wanted
    assert again.dtype == jax.random.key(0, impl=impl).dtype
