"""The order of examples: a function of (key, epoch) alone, in a host loop and inside a program alike."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn import keys
from fnn.data.dataset import Dataset, WeightedBatch, check_dataset
from fnn.data.shuffle import permutation
from fnn.errors import check_count, check_key, message
from fnn.typing import Array, Key


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """How many batches hold every example once: `ceil(examples / batch_size)`.

    Raises:
        ValueError: the batch size is below 1 or larger than the data.

    Example:
        >>> steps_per_epoch(1437, 64)
        23
    """
    check_count("batch_size", batch_size)
    if batch_size > examples:
        remedy = f"For full-batch training give batch_size={examples}."
        raise ValueError(message("batch_size", batch_size, f"at most the {examples} examples of the data", remedy))
    return -(-examples // batch_size)


def epoch_order(key: Key, epoch: Array | int, examples: int, batch_size: int) -> tuple[Array, Array]:
    """Which examples each batch of an epoch holds, and how much each counts.

    A random permutation cut into batches. Where the last batch is short, the first examples of the
    same permutation fill it up with weight 0, so that every example counts exactly once.

    Args:
        key: the run's key, `TrainState.key`.
        epoch: number of the epoch, from 0; it may be traced.
        examples: how many there are.
        batch_size: how many a batch holds.

    Returns:
        Indices, int32 (steps, batch_size), and weights, float32 of the same shape.

    Example:
        >>> indices, weight = epoch_order(jax.random.key(0), 0, examples=5, batch_size=2)
        >>> indices.shape, int(weight.sum())
        ((3, 2), 5)
    """
    check_key("key", key)
    steps = steps_per_epoch(examples, batch_size)
    order = permutation(keys.for_epoch(key, epoch), examples)
    filled = jnp.concatenate([order, order[: steps * batch_size - examples]])
    counts = jnp.arange(steps * batch_size) < examples
    return filled.reshape(steps, batch_size), counts.astype(jnp.float32).reshape(steps, batch_size)


_order = jax.jit(epoch_order, static_argnames=("examples", "batch_size"))


def host_order(key: Key, epoch: int, examples: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """`epoch_order` as NumPy arrays, for loops on the host.

    Example:
        >>> host_order(jax.random.key(0), 0, examples=5, batch_size=2)[1].tolist()
        [[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]
    """
    check_key("key", key)
    indices, weight = _order(key, epoch, examples=examples, batch_size=batch_size)
    return np.asarray(indices), np.asarray(weight)


def take(data: Dataset, indices: ArrayLike, weight: Array | None = None) -> Dataset | WeightedBatch:
    """The examples at these indices, as one batch; with weights, a weighted one.

    Example:
        >>> take(Dataset(jnp.arange(3.0), jnp.arange(3.0)), jnp.array([2, 0])).x
        Array([2., 0.], dtype=float32)
    """
    x, y = (jnp.asarray(a).at[indices].get(mode="promise_in_bounds") for a in data)
    return Dataset(x, y) if weight is None else WeightedBatch(x, y, weight)


def batches(data: Dataset, batch_size: int, *, key: Key, epoch: int = 0) -> Iterator[Dataset]:
    """The batches of one epoch for a host loop, in the very order that `fnn.train.run` takes.

    The last batch is smaller where the batch size does not divide the number of examples.

    Example:
        >>> data = Dataset(jnp.arange(5.0), jnp.arange(5.0))
        >>> [len(batch.x) for batch in batches(data, 2, key=jax.random.key(0))]
        [2, 2, 1]
    """
    data = check_dataset(data)
    check_count("epoch", epoch, minimum=0)
    examples = len(data.x)
    indices, _ = host_order(key, epoch, examples, batch_size)
    flat = indices.reshape(-1)[:examples]
    for start in range(0, examples, batch_size):
        batch = take(data, flat[start : start + batch_size])
        yield Dataset(batch.x, batch.y)
