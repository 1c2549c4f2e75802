"""Three ways to take the same steps: a scan of all, chunks called from the host, one by one in a host loop."""

import contextlib
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from fnn.data import Dataset, epoch_order, take
from fnn.data.batches import host_order
from fnn.data.source import Rows
from fnn.data.stream import grain_or_refuse, read_ahead
from fnn.errors import is_traced, message, values_behind
from fnn.train.chunk import train_until
from fnn.train.guard import holding, is_finite, unguarded
from fnn.train.plan import Plan, check_epoch_start, on_batch, on_device
from fnn.train.state import TrainState, check_state
from fnn.train.step import Step
from fnn.train.stopping import last_finite, stopping, with_shares
from fnn.typing import Array, History, Key, Metrics

Train: TypeAlias = Callable[[TrainState], tuple[TrainState, History]]

_WAITING = 256
"""Steps after which a host loop fetches their metrics: it waits seldom, and holds few of them."""


def by_scan(step: Step, data: Dataset, cut: Plan, epochs: int) -> Train:
    """One pure function: a scan over epochs of a scan over batches.

    Example:
        >>> count = lambda state, batch: (state._replace(step=state.step + 1), {"x": batch.x.mean()})
        >>> train = by_scan(count, Dataset(jnp.arange(3.0), jnp.arange(3.0)), Plan(3, 2, 2, False), 1)
        >>> float(train(TrainState(jnp.array(0), {}, {}, (), jax.random.key(0)))[1]["x"][0])
        1.0
    """
    plain = unguarded(step)

    def epoch(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
        plan = cut.suited(state)
        indices, weight = epoch_order(state.key, state.step // plan.steps, plan.examples, plan.batch_size)
        whole = plan.steps if plan.one_shape else plan.examples // plan.batch_size
        state, metrics = jax.lax.scan(
            lambda state, rows: on_batch(plain, data, plan, state, *rows), state, (indices[:whole], weight[:whole])
        )
        sums = jax.tree.map(lambda m: jnp.sum(m, axis=0), metrics)
        if not plan.one_shape:
            state, last = on_batch(plain, data, plan, state, indices[-1, : plan.rest], weight[-1, : plan.rest])
            sums = jax.tree.map(jnp.add, sums, last)
        return state, jax.tree.map(lambda total: total / plan.examples, sums)

    def train(state: TrainState) -> tuple[TrainState, History]:
        check_epoch_start(state, cut)
        whole = epoch if plain is step else stopping(epoch, step, data, cut)
        return jax.lax.scan(whole, state, None, length=epochs)

    return train


class Ran(NamedTuple):
    """What goes from chunk to chunk; arrays only.

    Attributes:
        state: the training state.
        sums: of this epoch so far, each metric times the examples that it was taken over.
        history: each metric by name, one entry an epoch, 0 for those to come.
        broken: of a guarded run the last step of a chunk after which something is not finite; otherwise -1.
    """

    state: TrainState
    sums: Metrics
    history: History
    broken: Array


def by_chunks(step: Step, data: Dataset, cut: Plan, epochs: int, chunk: int) -> Train:
    """A program of `chunk` steps, called from the host until all are done.

    Example:
        >>> count = lambda state, batch: (state._replace(step=state.step + 1), {"x": batch.x.mean()})
        >>> train = by_chunks(count, Dataset(jnp.arange(3.0), jnp.arange(3.0)), Plan(3, 2, 2, False), 1, 1)
        >>> float(train(TrainState(jnp.array(0), {}, {}, (), jax.random.key(0)))[1]["x"][0])
        1.0
    """
    data, targets = on_device(data), data.y
    plain = unguarded(step)
    guarded = plain is not step

    # A program within the program, so that asking for its shapes below traces the step no second time.
    @jax.jit(static_argnames="plan")
    def one(plan: Plan, state: TrainState, data: Dataset, indices: Array, weight: Array) -> tuple[TrainState, Metrics]:
        return on_batch(plain, data, plan, state, indices, weight, targets)

    def some(plan: Plan, carry: Ran, data: Dataset, begun: Array, stop: Array) -> Ran:
        last = train_until(
            stop,
            plan,
            carry,
            lambda state, indices, weight: one(plan, state, data, indices, weight),
            lambda carry, state, terms: carry._replace(state=state, sums=jax.tree.map(jnp.add, carry.sums, terms)),
            lambda carry: _recorded(carry, plan, begun),
            lambda _: True,
        )
        return _looked_through(carry, last) if guarded else last

    # A guard goes back to the state before a chunk.
    program = jax.jit(some, static_argnames="plan", donate_argnames=() if guarded else ("carry",))

    def train(state: TrainState) -> tuple[TrainState, History]:
        plan, span = cut.suited(state), _span(state, cut, epochs, "chunks")
        rows = [jax.ShapeDtypeStruct((plan.batch_size,), dtype) for dtype in (jnp.int32, jnp.float32)]
        _, terms = one.eval_shape(plan, state, data, *rows)
        sums = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), terms)
        history = jax.tree.map(lambda m: jnp.zeros((epochs, *m.shape), m.dtype), terms)
        carry = Ran(_copied(state), sums, history, jnp.int32(-1))

        def go(carry: Ran, stop: int) -> Ran:
            return program(plan, carry, data, np.int32(span.start), np.int32(stop))

        carry = _through(go, carry, [*span[chunk::chunk], span.stop], guarded)
        return carry.state, with_shares(carry.history, plan, span, carry.state) if guarded else carry.history

    return train


def _through(go: Callable[[Ran, int], Ran], carry: Ran, stops: Iterable[int], guarded: bool) -> Ran:
    """From stop to stop; a guarded run goes back to before its first step that is not finite, and no further."""
    for stop in stops:
        before, carry = carry, go(carry, stop)
        if guarded and int(carry.broken) >= 0:
            return last_finite(partial(go, before), before, carry)
    return carry


def _looked_through(start: Ran, last: Ran) -> Ran:
    finite = is_finite(start.state, last.state, last.sums) & is_finite(start.state, start.state, last.history)
    return last._replace(broken=jnp.where(finite, -1, last.state.step - 1))


def _recorded(carry: Ran, plan: Plan, begun: Array) -> Ran:
    """The epoch's means; of an epoch that was begun before, over the examples that were left."""
    epoch = carry.state.step // plan.steps - 1 - begun // plan.steps
    left = plan.examples - jnp.where(epoch == 0, begun % plan.steps * plan.batch_size, 0)
    history = jax.tree.map(lambda h, total: h.at[epoch].set(total / left), carry.history, carry.sums)
    return carry._replace(sums=jax.tree.map(jnp.zeros_like, carry.sums), history=history)


def by_host(step: Step, data: Dataset | Rows, cut: Plan, epochs: int) -> Train:
    """One compiled step in a Python loop, on data in memory or read while it trains.

    Example:
        >>> count = lambda state, batch: (state._replace(step=state.step + 1), {"x": batch.x.mean()})
        >>> train = by_host(count, Dataset(jnp.arange(3.0), jnp.arange(3.0)), Plan(3, 2, 2, False), 1)
        >>> float(train(TrainState(jnp.array(0), {}, {}, (), jax.random.key(0)))[1]["x"][0])
        1.0
    """
    guarded = unguarded(step) is not step
    # With a guard the state goes with the flag whether it still trains, and the step is `holding`.
    each: Any = holding(unguarded(step)) if guarded else step
    program, feed = _streaming(each, data) if isinstance(data, Rows) else _gathering(each, data)

    def train(state: TrainState) -> tuple[TrainState, History]:
        plan, span = cut.suited(state), _span(state, cut, epochs, "host")
        means, rows = _Means(), []
        carried: Any = (_copied(state), jnp.array(True)) if guarded else _copied(state)
        with contextlib.closing(feed(plan, state.key, span)) as batches:
            for number, batch in zip(span, batches, strict=True):
                carried, metrics = program(carried, *batch)
                means.add(metrics, plan.size(number))
                if (number + 1) % plan.steps == 0:
                    rows.append(means.taken())
                    if guarded and not carried[1]:
                        break
        rows += rows[-1:] * (len(span) // plan.steps + (len(span) % plan.steps > 0) - len(rows))
        history = jax.tree.map(lambda *row: jnp.asarray(np.stack(row)), *rows)
        return (carried[0], with_shares(history, plan, span, carried[0])) if guarded else (carried, history)

    return train


Feed: TypeAlias = Callable[[Plan, Key, range], Generator[tuple[Any, ...], None, None]]
"""What the program takes besides the state, for each of these steps."""


def _gathering(step: Step, data: Dataset) -> tuple[Callable[..., Any], Feed]:
    data, targets = on_device(data), data.y

    def one(state: TrainState, data: Dataset, indices: Array, weight: Array | None) -> tuple[TrainState, Metrics]:
        batch = take(data, indices, weight)
        with values_behind(batch.y, targets):
            return step(state, batch)

    def feed(plan: Plan, key: Key, span: range) -> Generator[tuple[Any, ...], None, None]:
        for epoch in range(span.start // plan.steps, span.stop // plan.steps):
            indices, weight = host_order(key, epoch, plan.examples, plan.batch_size)
            for place in range(max(span.start - epoch * plan.steps, 0), plan.steps):
                size = plan.batch_size if plan.one_shape else plan.size(place)
                yield data, indices[place, :size], weight[place] if plan.filled else None

    return jax.jit(one, donate_argnums=0), feed


def _streaming(step: Step, rows: Rows) -> tuple[Callable[..., Any], Feed]:
    grain_or_refuse()

    def feed(plan: Plan, key: Key, span: range) -> Generator[tuple[Any, ...], None, None]:
        with contextlib.closing(read_ahead(rows, plan.batch_size, key, span, plan.filled)) as batches:
            for batch in batches:
                yield (batch,)

    return jax.jit(step, donate_argnums=0), feed


class _Means:
    """Means of metrics over examples, in float64 on the host, which waits for them only now and then."""

    def __init__(self) -> None:
        self._waiting: list[Metrics] = []
        self._sizes: list[int] = []
        self._total: Any = None
        self._examples = 0

    def add(self, metrics: Metrics, examples: int) -> None:
        """Those of a step on so many examples."""
        self._waiting.append(metrics)
        self._sizes.append(examples)
        if len(self._waiting) == _WAITING:
            self._fold()

    def taken(self) -> Any:
        """The means, as a run reports them; then it begins anew."""
        dtypes = jax.tree.map(lambda m: jnp.promote_types(m.dtype, jnp.float32), self._waiting[-1])
        self._fold()
        means = jax.tree.map(lambda total, dtype: (total / self._examples).astype(dtype), self._total, dtypes)
        self._total, self._examples = None, 0
        return means

    def _fold(self) -> None:
        for metrics, size in zip(jax.device_get(self._waiting), self._sizes, strict=True):
            terms = jax.tree.map(lambda m, size=size: m.astype(np.float64) * size, metrics)
            self._total = terms if self._total is None else jax.tree.map(np.add, self._total, terms)
            self._examples += size
        self._waiting, self._sizes = [], []


def check_host(executor: str, tree: Any) -> None:
    """Refuses to loop on the host under a trace.

    Example:
        >>> check_host("host", jnp.ones(2))
    """
    if is_traced((tree, jnp.zeros(()))):
        remedy = 'Give executor="scan", which is pure.'
        raise TypeError(message("executor", f"{executor!r} inside jit, vmap or grad", "a call from the host", remedy))


def _span(state: TrainState, cut: Plan, epochs: int, executor: str) -> range:
    """The steps to take: to the end of so many epochs, the one that was begun among them."""
    check_state(state)
    check_host(executor, state)
    if np.shape(state.step):
        many = 'For many at once: jax.vmap(run(..., executor="scan")).'
        raise ValueError(message("state", f"states of shape {np.shape(state.step)}", "one state", many))
    begun = int(state.step)
    return range(begun, (begun // cut.steps + epochs) * cut.steps)


def _copied(state: TrainState) -> TrainState:
    # The program takes the buffers that it is given; the caller's own live on.
    return jax.tree.map(lambda a: jnp.array(a, copy=True), state)
