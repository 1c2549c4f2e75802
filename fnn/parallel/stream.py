"""Batches for the devices of many processes: each process reads the examples of its own devices, and no others."""

from collections.abc import Generator
from typing import Any

import jax
import numpy as np

from fnn.agreed import check_agreed
from fnn.data.batches import steps_per_epoch
from fnn.data.dataset import Dataset
from fnn.data.source import Source, open_rows
from fnn.data.stream import checked_steps, read_ahead
from fnn.errors import message
from fnn.parallel.layout import Layout, check_divides
from fnn.typing import Batch, Key


def stream(
    source: Source | Dataset,
    batch_size: int,
    *,
    layout: Layout,
    key: Key,
    start: int = 0,
    stop: int | None = None,
    fill: bool = False,
    threads: int = 4,
    ahead: int = 8,
) -> Generator[Batch, None, None]:
    """The batches of steps `start`, `start + 1`, ..., cut over the devices, read ahead by each process for its own.

    The order is that of `fnn.data.stream` and `fnn.train.run`: a function of (key, step) alone. So where a run
    stands in its data is one number, its step, and it goes on with other processes and devices than it began with.

    Args:
        source: as `fnn.data.stream` takes it; every process must see the same examples.
        batch_size: examples in a batch, of all devices together.
        layout: such as `data_parallel()`; it says which rows are whose.
        key: the run's key, `TrainState.key`.
        start: the first step, counted from the run's beginning.
        stop: the step to end before; None never ends.
        fill: whether the last batch of an epoch is filled up with examples of weight 0, a `WeightedBatch`.
        threads: how many read at a time in each process.
        ahead: batches that are read before they are asked for.

    Returns:
        An iterator of batches whose arrays are cut over all devices of the mesh.

    Raises:
        ImportError: Grain is missing.
        ValueError: the devices do not divide the batch size, or the last batch of an epoch without `fill`; the
            processes do not agree; and as `fnn.data.stream`.
        TypeError: as `fnn.data.stream`.

    Example:
        >>> data = Dataset(np.arange(32.0, dtype=np.float32), np.arange(32))
        >>> batches = stream(data, 16, layout=fnn.parallel.data_parallel(), key=jax.random.key(0), stop=2)
        >>> [batch.x.shape for batch in batches]
        [(16,), (16,)]
    """
    rows = open_rows(source)
    steps_per_epoch(rows.examples, batch_size)
    check_divides("batch_size", batch_size, layout)
    if not fill and rows.examples % batch_size % layout.size:
        got = f"{rows.examples} examples, of which the last batch has {rows.examples % batch_size}"
        remedy = "fill=True fills it up with examples of weight 0; or leave some examples out."
        raise ValueError(message("source", got, f"a last batch that {layout.size} devices divide", remedy))
    steps = checked_steps(key, start, stop, fill, threads, ahead)
    same = jax.device_get(jax.random.key_data(key)).tolist(), rows.examples, batch_size, steps, fill
    check_agreed("source, batch_size, key, start, stop or fill", same, "A batch is put together from all of them.")

    def put(batch: Batch, size: int) -> Batch:
        return jax.tree.map(lambda part: _whole(part, size, layout), batch)

    def own(size: int) -> np.ndarray:
        return own_rows(size, layout)

    return read_ahead(rows, batch_size, key, steps, fill, threads, ahead, own=own, put=put)


def own_rows(size: int, layout: Layout) -> np.ndarray:
    """Which rows of a batch lie on this process's devices, in order.

    Example:
        >>> own_rows(8, fnn.parallel.data_parallel())
        array([0, 1, 2, 3, 4, 5, 6, 7])
    """
    places = layout.batch.addressable_devices_indices_map((size,)).values()
    return np.unique(np.concatenate([np.arange(size)[place] for place in places]))


def _whole(part: Any, size: int, layout: Layout) -> jax.Array:
    return jax.make_array_from_process_local_data(layout.batch, part, (size, *np.shape(part)[1:]))
