"""Batches that are read ahead, in the order of a run: for data that does not fit in memory."""

import collections
from collections.abc import Callable, Generator
from typing import Any

import jax
import numpy as np

from fnn import keys
from fnn.data.batches import host_order, steps_per_epoch
from fnn.data.dataset import Dataset, WeightedBatch
from fnn.data.source import Rows, Source, open_rows
from fnn.errors import check_count, check_flag, check_key
from fnn.typing import Batch, Key

_ON_DEVICE = 2
"""Batches that are on their way to the device before they are asked for."""


def stream(
    source: Source | Dataset,
    batch_size: int,
    *,
    key: Key,
    start: int = 0,
    stop: int | None = None,
    fill: bool = False,
    threads: int = 4,
    ahead: int = 8,
) -> Generator[Batch, None, None]:
    """The batches of steps `start`, `start + 1`, ..., read ahead, in the very order that `fnn.train.run` takes.

    What a step gets is a function of (key, step) alone, so a loop that is resumed gives `start=int(state.step)`.
    Grain's threads read `ahead` batches before they are asked for, and the next two are sent to the device.
    Only numbers of examples are held for all of them, int32, once an epoch. Values are checked as they are
    read. Close it, or let go of it, and the threads end.

    Args:
        source: a `Dataset` of `np.memmap` or other arrays; or whatever has a length and gives example i as a
            pair (x, y), such as Grain's sources and `grain.MapDataset`. It is read from several threads.
        batch_size: examples in a batch; the last of an epoch is smaller where it does not divide their number.
        key: the run's key, `TrainState.key`.
        start: the first step, counted from the run's beginning.
        stop: the step to end before; None never ends.
        fill: whether the last batch of an epoch is filled up instead: then all are a `WeightedBatch` of one shape.
        threads: how many read at a time, a batch each.
        ahead: batches that are read before they are asked for; so many are in memory.

    Returns:
        An iterator of `Dataset`, or of `WeightedBatch` with `fill`.

    Raises:
        ImportError: Grain is missing.
        ValueError: no examples, a batch size above their number, numbers out of range; later, an example that is
            not finite, or not of the first one's shape (the example is named).
        TypeError: not a source, not a typed key, examples that are not pairs of numbers.

    Example:
        >>> examples = [(np.float32(i), i % 2) for i in range(5)]
        >>> [len(batch.x) for batch in stream(examples, 2, key=jax.random.key(0), start=1, stop=4)]
        [2, 1, 2]
    """
    rows = open_rows(source)
    steps_per_epoch(rows.examples, batch_size)
    return read_ahead(
        rows, batch_size, key, checked_steps(key, start, stop, fill, threads, ahead), fill, threads, ahead
    )


def checked_steps(key: Key, start: int, stop: int | None, fill: bool, threads: int, ahead: int) -> range:
    """The steps that are asked for, where the other numbers are right too.

    Example:
        >>> checked_steps(jax.random.key(0), 2, 5, fill=False, threads=4, ahead=8)
        range(2, 5)
    """
    check_key("key", key)
    check_count("start", start, minimum=0, remedy="A state's: int(state.step).")
    if stop is not None:
        check_count("stop", stop, minimum=start, remedy="It counts from the run's beginning, as start does.")
    check_flag("fill", fill)
    check_count("threads", threads)
    check_count("ahead", ahead)
    return range(start, 2**31 - 1 if stop is None else stop)


def read_ahead(
    rows: Rows,
    batch_size: int,
    key: Key,
    steps: range,
    fill: bool,
    threads: int = 4,
    ahead: int = 8,
    *,
    own: Callable[[int], np.ndarray] = np.arange,
    put: Callable[[Batch, int], Batch] | None = None,
) -> Generator[Batch, None, None]:
    """`stream` of what is checked already.

    Args:
        rows: the examples.
        batch_size: examples in a batch.
        key: the run's key.
        steps: those whose batches are wanted.
        fill: whether the last batch of an epoch is filled up.
        threads: how many read at a time.
        ahead: batches that are read before they are asked for.
        own: which rows of a batch of so many are read here.
        put: brings what was read of a batch of so many examples to the devices; None: all of it to the first one.

    Example:
        >>> rows = open_rows([(0.5, 0), (1.5, 1)])
        >>> next(read_ahead(rows, 2, jax.random.key(0), range(1), fill=False)).y.shape
        (2,)
    """
    grain = grain_or_refuse()
    batches = _Batches(rows, batch_size, key, steps, fill, own)
    options = grain.ReadOptions(num_threads=min(threads, ahead), prefetch_buffer_size=ahead)

    def generate() -> Generator[Batch, None, None]:
        iterator = iter(grain.MapDataset.source(batches).to_iter_dataset(options))
        ready: collections.deque[Batch] = collections.deque()
        try:
            for step in steps:
                for following in range(step + len(ready), min(step + 1 + _ON_DEVICE, steps.stop)):
                    batches.draw(following, min(following + ahead, steps.stop - 1))
                    read = next(iterator)
                    ready.append(put(read, batches.size(following)) if put else jax.device_put(read))
                yield ready.popleft()
        finally:
            iterator.close()

    return generate()


def grain_or_refuse() -> Any:
    """The library that reads ahead.

    Example:
        >>> grain_or_refuse().__name__
        'grain'
    """
    try:
        import grain
    except ImportError as error:
        raise ImportError(
            "streaming data needs Grain, extra [stream]: in the clone, pip install -e '.[stream]'"
        ) from error
    return grain


class _Batches:
    """What Grain reads: element i is the batch of step `steps[i]`, as NumPy arrays.

    Only the consumer's thread calls `draw`, since JAX's settings are each thread's own; readers find the orders.
    """

    def __init__(
        self, rows: Rows, batch_size: int, key: Key, steps: range, fill: bool, own: Callable[[int], np.ndarray]
    ):
        self._rows, self._steps, self._fill, self._own = rows, steps, fill, own
        # A copy: the caller's key is a part of a state that may be donated, or lie on many devices.
        self._key = keys.by_way_of_host(key)
        self._form = (rows.examples, batch_size)
        self._per_epoch = steps_per_epoch(rows.examples, batch_size)
        self._orders: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def draw(self, first: int, last: int) -> None:
        """Keeps the orders of the epochs of these steps, and no others."""
        epochs = range(first // self._per_epoch, last // self._per_epoch + 1)
        self._orders = {e: self._orders.get(e) or host_order(self._key, e, *self._form) for e in epochs}

    def size(self, step: int) -> int:
        """How many examples the batch of this step has."""
        examples, batch_size = self._form
        last = step % self._per_epoch == self._per_epoch - 1
        return examples - (self._per_epoch - 1) * batch_size if last and not self._fill else batch_size

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, i: int) -> Dataset | WeightedBatch:
        step = self._steps[i]
        epoch, place = divmod(step, self._per_epoch)
        own = self._own(self.size(step))
        indices, weight = (rows[place][own] for rows in self._orders[epoch])
        read = self._rows.read(indices)
        return WeightedBatch(*read, weight) if self._fill else read
