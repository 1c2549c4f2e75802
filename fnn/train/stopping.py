"""A run that stops at the first step that is not finite, one lane of a population or all of it."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp

from fnn.data import Dataset, check_dataset, epoch_order, steps_per_epoch, take
from fnn.errors import concrete, message
from fnn.train.guard import chosen, is_finite
from fnn.train.plan import Plan, on_batch, on_numbered
from fnn.train.state import TrainState, check_state
from fnn.train.step import Step
from fnn.train.supervised import heeds_weights
from fnn.typing import Array, Batch, History, Key, Metrics

C = TypeVar("C", bound=Any)
Epoch: TypeAlias = Callable[[TrainState, None], tuple[TrainState, Metrics]]


def stopping(epoch: Epoch, step: Step, data: Dataset, cut: Plan, order_key: Key | None = None) -> Epoch:
    """An epoch after which a state stands at its first step that is not finite, if there is one, for good.

    The epoch's plain steps are taken first, and looked at once, at the end. Only where that is not finite, the
    guarded step is taken from the epoch's start up to there, in a loop that has no rounds otherwise: that costs
    next to nothing, and under vmap the other lanes keep every bit of their plain steps.

    Args:
        epoch: (state, None) to (state, metrics), of plain steps.
        step: the guarded step.
        data: all examples.
        cut: how an epoch is cut.
        order_key: the key of the order of data; None takes the state's.

    Returns:
        The same with the metric `finite`, the share of its examples that were trained on. The other metrics are NaN
        where that is below 1.

    Example:
        >>> count = lambda state, batch: (state._replace(step=state.step + 1), {"loss": batch.x.mean()})
        >>> data, plan = Dataset(jnp.full(4, jnp.inf), jnp.ones(4)), Plan(4, 2, 2, False)
        >>> state = TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
        >>> epoch = stopping(lambda state, _: (state._replace(step=state.step + 2), {"loss": jnp.array(jnp.inf)}),
        ...     fnn.train.guard.guarded(count), data, plan)
        >>> state, metrics = epoch(state, None)
        >>> int(state.step), float(metrics["finite"])
        (0, 0.0)
    """

    def stopped(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
        plan = cut.suited(state)
        # One that has stopped stands in the middle of an epoch; at its start it tries the same again, in vain.
        begins = state.step % plan.steps == 0
        tried, metrics = epoch(state, None)
        fine = begins & is_finite(state, tried, metrics)
        new = _up_to(step, data, plan, order_key, chosen(fine, tried, state), begins & ~fine)
        share = share_of(plan, new.step - state.step)
        metrics = {name: jnp.where(share == 1, m, jnp.nan) for name, m in metrics.items()}
        return new, {**metrics, "finite": share}

    return stopped


def share_of(plan: Plan, steps: Array) -> Array:
    """The share of an epoch's examples that its first so many steps hold.

    Example:
        >>> share_of(Plan(5, 2, 3, True), jnp.array([1, 3]))
        Array([0.4, 1. ], dtype=float32)
    """
    return (jnp.minimum(steps * plan.batch_size, plan.examples) / plan.examples).astype(jnp.float32)


def with_shares(history: History, plan: Plan, span: range, state: TrainState) -> History:
    """The history of a run on the host with `finite`, and NaN where that is below 1.

    Args:
        history: each metric by name, one entry an epoch.
        plan: how an epoch is cut.
        span: the steps that the run was to take.
        state: the state that it reached.

    Example:
        >>> state = TrainState(jnp.array(3), {}, {}, (), jax.random.key(0))
        >>> with_shares({"loss": jnp.ones(2)}, Plan(4, 2, 2, True), range(0, 4), state)
        {'loss': Array([ 1., nan], dtype=float32), 'finite': Array([1. , 0.5], dtype=float32)}
    """
    shares = []
    for epoch in range(span.start // plan.steps, span.stop // plan.steps):
        sizes = {n: plan.size(n) for n in range(max(span.start, epoch * plan.steps), (epoch + 1) * plan.steps)}
        shares.append(sum(size for n, size in sizes.items() if n < int(state.step)) / sum(sizes.values()))
    share = jnp.asarray(shares, jnp.float32)
    return {**{name: jnp.where(share == 1, m, jnp.nan) for name, m in history.items()}, "finite": share}


def _up_to(step: Step, data: Dataset, plan: Plan, order_key: Key | None, state: TrainState, going: Array) -> TrainState:
    """From the start of an epoch, the state before its first step that is not taken; unless `going`, as it is."""

    def one(c: tuple[Array, TrainState, Array]) -> tuple[Array, TrainState, Array]:
        i, state, _ = c
        # In here, so that a loop without rounds permutes nothing.
        key = state.key if order_key is None else order_key
        order = epoch_order(key, state.step // plan.steps, plan.examples, plan.batch_size)

        def taken(state: TrainState, indices: Array, weight: Array) -> tuple[TrainState, Metrics]:
            return on_batch(step, data, plan, state, indices, weight)

        new, metrics = on_numbered(taken, plan, state, order, i)
        return i + 1, new, metrics["finite"] > 0

    return jax.lax.while_loop(lambda c: (c[0] < plan.steps) & c[2], one, (jnp.int32(0), state, going))[1]


def last_finite(again: Callable[[int], C], start: C, end: C) -> C:
    """The last good carry between a good one and a broken one, found by halving.

    Args:
        again: the carry at a step, from `start`, by the same program: the same bits.
        start: the good one, with a `state`, and `broken` below 0.
        end: the broken one: `broken` is a step at whose end it was.

    Example:
        >>> state = fnn.train.TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
        >>> carry = fnn.train.chunk.first_carry(state, 2, ["loss"], [])
        >>> def again(stop):
        ...     return carry._replace(state=state._replace(step=jnp.array(stop)), broken=jnp.array(stop > 3) - 1)
        >>> int(last_finite(again, carry, carry._replace(broken=jnp.array(9))).state.step)
        3
    """
    good, low, high = start, int(start.state.step), int(end.broken) + 1
    while high - low > 1:
        middle = (low + high) // 2
        tried = again(middle)
        if int(tried.broken) < 0:
            good, low = tried, middle
        else:
            high = middle
    return good


def next_batch(step: Step, data: Dataset, state: TrainState, *, batch_size: int, order_key: Key | None = None) -> Batch:
    """The batch that the next step of a run sees: which examples it holds follows from `state.key` and `state.step`.

    Of a run that a guard has stopped, and of `error.result` of a fit, it is the batch that broke the step.

    Args:
        step: the run's step, which tells whether a last batch that is short is filled up.
        data: the run's examples.
        state: one state; of a population take a lane first.
        batch_size: the run's.
        order_key: the run's, where it was given one.

    Raises:
        ValueError: states of a population, or a batch size below 1 or above the data.
        TypeError: not a state, or one under a trace.

    Example:
        >>> net, tx = fnn.nn.mlp([1]), fnn.optim.sgd(0.1)
        >>> step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        >>> data = Dataset(jnp.arange(4.0)[:, None], jnp.zeros((4, 1)))
        >>> state = fnn.train.init_state(jax.random.key(0), net, tx, data.x)
        >>> next_batch(step, data, state, batch_size=2).x.shape
        (2, 1)
    """
    check_state(state)
    known = concrete(state.step)
    if known is None:
        raise TypeError(message("state", "a trace around it", "a state on the host", "Call it outside of jit."))
    if known.ndim:
        remedy = "Take a lane: jax.tree.map(lambda a: a[i], state)."
        raise ValueError(message("state", f"states of shape {known.shape}", "one state", remedy))
    data = check_dataset(data)
    steps = steps_per_epoch(len(data.x), batch_size)
    plan = Plan(len(data.x), batch_size, steps, heeds_weights(step)).suited(state)
    epoch, i = divmod(int(known), plan.steps)
    key = state.key if order_key is None else order_key
    indices, weight = epoch_order(key, epoch, plan.examples, plan.batch_size)
    size = plan.batch_size if plan.one_shape else plan.size(i)
    return take(data, indices[i, :size], weight[i] if plan.filled else None)
