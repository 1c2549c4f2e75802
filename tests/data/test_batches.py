"""The order of examples: a permutation, by (key, epoch) alone, the same in a host loop and in a program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnn.data import Dataset, WeightedBatch, batches, epoch_order, steps_per_epoch, take

KEY = jax.random.key(0)
# (examples, batch size): one batch, whole batches, one left over, one missing, single examples.
SIZES = [(5, 5), (6, 3), (7, 3), (8, 3), (4, 1), (1, 1)]


def _data(examples: int) -> Dataset:
    return Dataset(jnp.arange(examples, dtype=jnp.float32)[:, None], jnp.arange(examples))


@pytest.mark.parametrize(("examples", "size", "steps"), [(5, 5, 1), (6, 3, 2), (7, 3, 3), (1, 1, 1), (1437, 64, 23)])
def test_steps_per_epoch(examples: int, size: int, steps: int) -> None:
    assert steps_per_epoch(examples, size) == steps


@pytest.mark.parametrize(
    ("size", "error", "match"),
    [
        (0, ValueError, r"batch_size: got 0, expected an integer >= 1"),
        (-3, ValueError, r"batch_size: got -3, expected an integer >= 1"),
        (6, ValueError, r"batch_size: got 6, expected at most the 5 examples of the data. .* batch_size=5"),
        (2.0, TypeError, r"batch_size: got 2\.0, expected an integer"),
        (True, TypeError, r"batch_size: got True, expected an integer"),
    ],
)
def test_a_wrong_batch_size_is_refused_everywhere(size: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        steps_per_epoch(5, size)
    with pytest.raises(error, match=match):
        epoch_order(KEY, 0, 5, size)
    with pytest.raises(error, match=match):
        next(batches(_data(5), size, key=KEY))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1), st.integers(1, 12), st.data())
def test_every_example_counts_exactly_once(seed: int, epoch: int, examples: int, draw: st.DataObject) -> None:
    size = draw.draw(st.integers(1, examples))
    indices, weight = epoch_order(jax.random.key(seed), epoch, examples, size)
    assert indices.shape == weight.shape == (steps_per_epoch(examples, size), size)
    assert indices.dtype == jnp.int32
    assert weight.dtype == jnp.float32
    counts = np.zeros(examples)
    np.add.at(counts, np.asarray(indices).ravel(), np.asarray(weight).ravel())
    np.testing.assert_array_equal(counts, 1)
    assert set(np.unique(weight)) <= {0.0, 1.0}


def test_only_the_last_batch_is_filled_up_and_with_other_examples() -> None:
    indices, weight = epoch_order(KEY, 0, 7, 3)
    np.testing.assert_array_equal(weight, [[1, 1, 1], [1, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(indices[2, 1:], indices[0, :2])


def test_the_order_is_a_function_of_key_and_epoch_alone() -> None:
    first, _ = epoch_order(KEY, 3, 50, 8)
    for epoch in range(3):  # What was drawn before changes nothing.
        epoch_order(KEY, epoch, 50, 8)
    again, _ = epoch_order(jax.random.key(0), 3, 50, 8)
    np.testing.assert_array_equal(first, again)
    # Nor does the batch size: it only cuts the same permutation.
    np.testing.assert_array_equal(first.ravel()[:50], epoch_order(KEY, 3, 50, 7)[0].ravel()[:50])


def test_epochs_and_keys_differ_in_order() -> None:
    orders = [epoch_order(jax.random.key(seed), epoch, 50, 50)[0] for seed in range(3) for epoch in range(3)]
    assert len({tuple(np.asarray(order).ravel().tolist()) for order in orders}) == 9
    assert all((np.asarray(order) != np.arange(50)).any() for order in orders)


@pytest.mark.parametrize(("examples", "size"), SIZES)
def test_the_order_is_the_same_inside_a_program(examples: int, size: int) -> None:
    many = jax.random.split(KEY, 4)
    epochs = jnp.arange(4)
    plain = [epoch_order(key, int(epoch), examples, size) for key, epoch in zip(many, epochs, strict=True)]
    compiled = jax.jit(epoch_order, static_argnums=(2, 3))
    mapped = jax.jit(jax.vmap(lambda key, epoch: epoch_order(key, epoch, examples, size)))(many, epochs)
    for i, (indices, weight) in enumerate(plain):
        np.testing.assert_array_equal(compiled(many[i], epochs[i], examples, size)[0], indices)
        np.testing.assert_array_equal(mapped[0][i], indices)
        np.testing.assert_array_equal(mapped[1][i], weight)


@pytest.mark.parametrize(("examples", "size"), SIZES)
@pytest.mark.parametrize("epoch", [0, 5])
def test_a_host_loop_takes_the_order_of_the_program(examples: int, size: int, epoch: int) -> None:
    indices, weight = epoch_order(KEY, epoch, examples, size)
    taken = list(batches(_data(examples), size, key=KEY, epoch=epoch))
    assert len(taken) == len(indices)
    for batch, row, count in zip(taken, indices, weight, strict=True):
        assert type(batch) is Dataset
        np.testing.assert_array_equal(batch.y, row[count == 1])
        np.testing.assert_array_equal(batch.x[:, 0], batch.y)


def test_a_host_loop_takes_numpy_arrays_and_keeps_their_dtype() -> None:
    x: Any = np.arange(10, dtype=np.uint8).reshape(5, 2)
    y: Any = np.arange(5, dtype=np.int16)
    data = Dataset(x, y)
    batch = next(batches(data, 2, key=KEY))
    assert isinstance(batch.x, jax.Array)
    assert (batch.x.dtype, batch.y.dtype) == (jnp.uint8, jnp.int16)
    np.testing.assert_array_equal(batch.x[:, 0], 2 * batch.y)


def test_take_with_weights_is_a_weighted_batch() -> None:
    data = _data(4)
    batch = jax.jit(take)(data, jnp.array([3, 0]), jnp.array([1.0, 0.0]))
    assert isinstance(batch, WeightedBatch)
    np.testing.assert_array_equal(batch.x, [[3.0], [0.0]])
    np.testing.assert_array_equal(batch.y, [3, 0])
    np.testing.assert_array_equal(batch.weight, [1.0, 0.0])
    assert isinstance(take(data, jnp.array([3, 0])), Dataset)


@pytest.mark.parametrize(
    ("key", "error", "match"),
    [
        (jax.random.PRNGKey(0), TypeError, r"key: got a legacy uint32 key, .* jax\.random\.key\(seed\)"),
        (0, TypeError, r"key: got 0, expected one typed key"),
        (jax.random.split(KEY, 2), ValueError, r"key: got keys of shape \(2,\), expected one typed key"),
    ],
)
def test_a_wrong_key_is_refused(key: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        epoch_order(key, 0, 5, 2)
    with pytest.raises(error, match=match):
        next(batches(_data(5), 2, key=key))


def test_wrong_epochs_and_data_are_refused_by_the_host_loop() -> None:
    with pytest.raises(ValueError, match=r"epoch: got -1, expected an integer >= 0"):
        next(batches(_data(5), 2, key=KEY, epoch=-1))
    with pytest.raises(ValueError, match=r"data: got no examples"):
        next(batches(_data(0), 2, key=KEY))
