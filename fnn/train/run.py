"""A whole training run, by one of three executors of the same step."""

from collections.abc import Callable
from typing import Any

from fnn.data import Dataset, Source, check_dataset, steps_per_epoch
from fnn.data.source import Rows, is_source, is_streamed, open_rows
from fnn.errors import check_callable, check_choice, check_count, message
from fnn.train.executors import Train, by_chunks, by_host, by_scan, check_host
from fnn.train.plan import Plan
from fnn.train.step import Step
from fnn.train.supervised import heeds_weights

_EXECUTORS: dict[str, Callable[..., Train]] = {"scan": by_scan, "chunks": by_chunks, "host": by_host}


def run(
    step: Step,
    data: Dataset | Source,
    *,
    batch_size: int,
    epochs: int,
    executor: str = "scan",
    chunk: int | None = None,
) -> Train:
    """A whole training run, as a function of the state that it starts from.

    Each epoch permutes the examples and takes them in batches. Epochs are counted by `state.step`, so that
    ten epochs and ten more equal twenty. The last, smaller batch counts each of its examples once: filled
    up by weight 0 if the step heeds weights (`supervised` does), as a batch of its own size, and a second
    trace, otherwise. So it is too where the network has a state, such as batch normalization's, which
    fillers would enter.

    Every executor takes the same steps, and ends with the same parameters and history up to rounding:

    - "scan" is pure, one program for all: `jax.jit(run(...))` compiles it, `jax.vmap(run(...))` trains many
      networks.
    - "chunks" compiles `chunk` steps and calls that program from the host until all are done.
    - "host" compiles one step and calls it in a Python loop. Data that does not fit in memory is read while
      it trains: a `Source`, or a `Dataset` of `np.memmap` arrays, with the extra `fnn[stream]`.

    "chunks" and "host" compile by themselves and leave the caller's state as it is; a state in the middle of
    an epoch goes on where it stands, and the rest of its epoch counts as the first one.

    With a guarded step (`make_step(..., guard=True)`) a network stops before the first step that is not
    finite, and keeps that state: `state.step` is the number of that step, and `next_batch` gives its batch.
    The others of a population go on. "scan" looks once an epoch and "chunks" once a chunk, so that a guard costs
    next to nothing; such a scan has no reverse-mode derivative.

    Args:
        step: (state, batch) to (state, metrics), as `make_step` returns it.
        data: the examples.
        batch_size: examples in a batch.
        epochs: how often each example is used.
        executor: "scan", "chunks" or "host".
        chunk: steps in one call of the program, for "chunks"; None makes it an epoch's.

    Returns:
        train(state) to (state, history): each metric's mean over the examples of each epoch, by name. With a
        guard, `finite` is the share of an epoch's examples that were trained on; below 1 the others are NaN.

    Raises:
        ValueError: no data or not finite, batch size below 1 or above the data, epochs or chunk below 1, an
            unknown executor, or, for "scan", a state that stands in the middle of an epoch.
        TypeError: a step or data of the wrong kind; "chunks" or "host" inside jit, vmap or grad.

    Example:
        >>> net, tx = fnn.nn.mlp([1]), fnn.optim.sgd(0.1)
        >>> step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        >>> x = jnp.linspace(-1.0, 1.0, 5)[:, None]
        >>> data = fnn.data.Dataset(x, 3 * x + 1)
        >>> train = jax.jit(run(step, data, batch_size=2, epochs=100))
        >>> start = fnn.train.init_state(jax.random.key(0), net, tx, x)
        >>> state, history = train(start)
        >>> history["loss"].shape, bool(history["loss"][-1] < 1e-6)
        ((100,), True)
        >>> same, _ = run(step, data, batch_size=2, epochs=100, executor="host")(start)
        >>> bool(jnp.allclose(same.params["dense_0"]["w"], state.params["dense_0"]["w"]))
        True
    """
    check_callable("step", step, "a function (state, batch) -> (state, metrics)", "Make one: fnn.train.make_step.")
    check_count("epochs", epochs)
    check_choice("executor", executor, _EXECUTORS)
    _check_chunk(chunk, executor)
    held = _held(data, executor)
    examples = held.examples if isinstance(held, Rows) else len(held.x)
    cut = Plan(examples, batch_size, steps_per_epoch(examples, batch_size), heeds_weights(step))
    return _EXECUTORS[executor](step, held, cut, epochs, *([chunk or cut.steps] if executor == "chunks" else []))


def _check_chunk(chunk: Any, executor: str) -> None:
    if chunk is None:
        return
    check_count("chunk", chunk)
    if executor != "chunks":
        raise ValueError(message("chunk", chunk, f"None with executor={executor!r}", 'Give executor="chunks".'))


def _held(data: Any, executor: str) -> Dataset | Rows:
    """The data as the executor takes it: all at once, or to be read while it trains."""
    if executor != "scan":
        check_host(executor, data)
    if executor == "host" and is_streamed(data):
        return open_rows(data, "data")
    if is_source(data):
        remedy = 'A source of examples streams: give executor="host".'
        raise TypeError(message("data", f"a {type(data).__name__}", "a Dataset of examples in memory", remedy))
    return check_dataset(data)
