"""What a set of examples is, and the checks that it passes before a run."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import check_array, check_finite, check_values, kind, message
from fnn.typing import Array


class Dataset(NamedTuple):
    """Examples `x` and their targets `y`; the leading axis of both counts the examples.

    Example:
        >>> import jax.numpy as jnp
        >>> Dataset(jnp.zeros((3, 2)), jnp.zeros(3)).y.shape
        (3,)
    """

    x: Array
    y: Array


class Splits(NamedTuple):
    """One set to train on and one to test on."""

    train: Dataset
    test: Dataset


class WeightedBatch(NamedTuple):
    """A batch in which each example counts `weight` times: 1 for its own, 0 for one that only fills it up.

    All batches of an epoch have one shape, so that a run is one program; the fillers of the last one
    are examples of the same epoch, and `weight` keeps them out of the loss and of the metrics. A network
    with a state, such as batch normalization's, would see them, and gets a smaller last batch instead.
    """

    x: Array
    y: Array
    weight: Array


def check_dataset(data: Any, argument: str = "data", *, values: bool = True) -> Dataset:
    """Refuses what is not a set of examples, and returns it as a `Dataset`.

    Args:
        data: a `Dataset`, or a pair (x, y) of arrays.
        argument: what the message calls it.
        values: whether the numbers are looked at too, which reads them all.

    Raises:
        TypeError: not a pair of arrays.
        ValueError: no examples, x and y of different length, or NaN or infinity in x or y (with the row).

    Example:
        >>> check_dataset((np.zeros((3, 2)), np.zeros(3))).x.shape
        (3, 2)
    """
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(message(argument, kind(data), "a Dataset of examples", "Make one: fnn.data.Dataset(x, y)."))
    if isinstance(data, Splits):
        raise TypeError(message(argument, "Splits", "a Dataset of examples", "Give its part: .train or .test."))
    for name, array in zip(("x", "y"), data, strict=True):
        check_array(f"{argument}.{name}", array)
        check_numeric(f"{argument}.{name}", array)
        if np.ndim(array) == 0:
            raise ValueError(message(f"{argument}.{name}", "a scalar", "an array whose leading axis counts examples"))
    x, y = data
    if len(x) != len(y):
        got = f"{len(x)} examples in x and {len(y)} targets in y"
        raise ValueError(message(argument, got, "as many targets as examples"))
    if len(x) == 0:
        raise ValueError(message(argument, "no examples", "at least one", "Was a filter or a path wrong?"))
    for name, array in zip("xy", data, strict=True) if values else ():
        check_finite(f"{argument}.{name}", array)
        _check_held(f"{argument}.{name}", array)
    return Dataset(x, y)


def check_numeric(argument: str, array: Any) -> None:
    """Refuses an array of anything but numbers.

    Example:
        >>> check_numeric("x", np.zeros(2))
    """
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        remedy = "Make them numbers: a column of words becomes labels 0, 1, ..."
        raise TypeError(message(argument, f"dtype {array.dtype}", "numbers", remedy))


def held_alike(known: np.ndarray, held: Any) -> np.ndarray:
    """Which numbers stay what they are in the dtype that JAX holds them in: 64 bits become 32.

    Example:
        >>> held_alike(np.array([1e9, 1e39]), np.float32)
        array([ True, False])
    """
    with np.errstate(over="ignore"):
        narrow = known.astype(held)
    return np.isfinite(narrow) if jnp.issubdtype(held, jnp.inexact) else narrow == known


def _check_held(argument: str, array: Any) -> None:
    """JAX holds 64-bit numbers in 32 bits: none may become another one, or infinite."""
    held = jax.dtypes.canonicalize_dtype(array.dtype)
    if held != array.dtype:
        remedy = "Scale them, or enable jax_enable_x64."
        check_values(argument, array, lambda known: held_alike(known, held), f"numbers that {held} holds", remedy)
