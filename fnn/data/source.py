"""Examples that are not in memory: read when a batch asks for them, and checked as they come."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from fnn.data.dataset import Dataset, check_dataset, check_numeric, held_alike
from fnn.errors import kind, message


@runtime_checkable
class Source(Protocol):
    """Anything with a length that gives example i, from 0, as a pair (x, y): Grain's random-access sources too.

    It is read from several threads at a time.
    """

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def __getitem__(self, index: Any, /) -> Any:
        """The pair (x, y) of this example: numbers or arrays, of one shape and dtype for all examples."""
        ...


class Rows(NamedTuple):
    """Examples by their numbers, whatever they are read from.

    Attributes:
        examples: how many there are.
        read: numbers of examples, int (n,), to their x and y, in the dtypes that JAX holds.
    """

    examples: int
    read: Callable[[np.ndarray], Dataset]


def is_source(data: Any) -> bool:
    """Whether examples come from it one by one; an array or a mapping is no source.

    Example:
        >>> is_source([(1.0, 2.0), (3.0, 4.0)]), is_source(Dataset(np.zeros(2), np.zeros(2)))
        (True, False)
    """
    return isinstance(data, Source) and not isinstance(data, tuple | np.ndarray | jax.Array | Mapping | str | bytes)


def is_streamed(data: Any) -> bool:
    """Whether it is read while it is used: a source, or a pair with an array that lies in a file.

    Example:
        >>> is_streamed(Dataset(np.zeros(2), np.zeros(2)))
        False
    """
    return is_source(data) or (isinstance(data, tuple) and any(isinstance(a, np.memmap) for a in data))


def open_rows(source: Any, argument: str = "source") -> Rows:
    """Refuses what gives no examples; of those that it gives, reads the first at most.

    Values are checked as they are read: an example with NaN is refused when its batch comes.

    Raises:
        TypeError: neither a source nor a `Dataset`; examples that are not pairs of numbers.
        ValueError: no examples, or x and y of different length.

    Example:
        >>> rows = open_rows([(0.5, 0), (1.5, 1), (2.5, 0)])
        >>> rows.examples, rows.read(np.array([2, 1])).x
        (3, array([2.5, 1.5], dtype=float32))
    """
    if isinstance(source, tuple):
        data = check_dataset(source, argument, values=False)
        arrays = [np.asarray(a) for a in data]
        examples, pick = len(arrays[0]), lambda numbers: [a[numbers] for a in arrays]
        dtypes = [a.dtype for a in arrays]
    elif is_source(source):
        if not len(source):
            raise ValueError(message(argument, "no examples", "at least one", "Was a filter or a path wrong?"))
        first = _example(source, 0, argument)
        examples, pick = len(source), lambda numbers: _stacked(source, numbers, argument, first)
        dtypes = [a.dtype for a in first]
    else:
        remedy = "A source has __len__, and __getitem__(i) gives (x, y)."
        raise TypeError(message(argument, kind(source), "a Dataset or a source of examples", remedy))
    # Here, since jax_enable_x64 is each thread's own, and others read.
    held = [jax.dtypes.canonicalize_dtype(dtype) for dtype in dtypes]

    def read(numbers: np.ndarray) -> Dataset:
        parts = zip("xy", pick(numbers), held, strict=True)
        return Dataset(*(_checked(f"{argument}[{{}}].{name}", a, numbers, dtype) for name, a, dtype in parts))

    return Rows(examples, read)


def _example(source: Any, number: int, argument: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        example = source[number]
    except Exception as error:
        place = f"{argument}[{number}] raised it."
        if isinstance(error, StopIteration):
            # Whoever loops over batches would take it for the end of the data.
            raise RuntimeError(message(f"{argument}[{number}]", "StopIteration", "a pair (x, y)")) from error
        error.add_note(place)
        raise
    if not isinstance(example, tuple | list) or len(example) != 2:
        got = kind(example)
        raise TypeError(message(f"{argument}[{number}]", got, "a pair (x, y)", "Return (x, y) for each example."))
    x, y = (np.asarray(part) for part in example)
    for name, part in (("x", x), ("y", y)):
        check_numeric(f"{argument}[{number}].{name}", part)
    return x, y


def _stacked(
    source: Any, numbers: np.ndarray, argument: str, like: tuple[np.ndarray, np.ndarray]
) -> Sequence[np.ndarray]:
    stacked = [np.empty((len(numbers), *part.shape), part.dtype) for part in like]
    for row, number in enumerate(numbers.tolist()):
        for name, into, part, first in zip("xy", stacked, _example(source, number, argument), like, strict=True):
            if (part.shape, part.dtype) != (first.shape, first.dtype):
                expected = f"shape {first.shape} and dtype {first.dtype}, those of {argument}[0].{name}"
                got = f"shape {part.shape} and dtype {part.dtype}"
                raise ValueError(message(f"{argument}[{number}].{name}", got, expected, "Cut, scale or cast it."))
            into[row] = part
    return stacked


def _checked(name: str, rows: np.ndarray, numbers: np.ndarray, held: Any) -> Any:
    """The rows as JAX holds them; the first bad one is named by its number."""
    if jnp.issubdtype(rows.dtype, jnp.inexact):
        _refuse(name, rows, numbers, np.isfinite(rows), "finite numbers", "Drop or mend such examples.")
    if rows.dtype != held:
        remedy = "Scale them, or enable jax_enable_x64."
        _refuse(name, rows, numbers, held_alike(rows, held), f"numbers that {held} holds", remedy)
    return rows.astype(held, copy=False)


def _refuse(name: str, rows: np.ndarray, numbers: np.ndarray, good: np.ndarray, expected: str, remedy: str) -> None:
    if good.all():
        return
    place = tuple(np.argwhere(~good)[0])
    raise ValueError(message(name.format(numbers[place[0]]), rows[place], expected, remedy))
