"""A run that stops at the first step that is not finite, one lane of a population or all of it."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from fnn.data import Dataset, check_dataset, epoch_order, steps_per_epoch, take
from fnn.errors import concrete, message
from fnn.train.guard import chosen, is_finite
from fnn.train.plan import Plan, on_batch
from fnn.train.state import TrainState, check_state
from fnn.train.step import Step
from fnn.train.supervised import heeds_weights
from fnn.typing import Array, Batch, Metrics

Epoch: TypeAlias = Callable[[TrainState, None], tuple[TrainState, Metrics]]


def stopping(epoch: Epoch, step: Step, data: Dataset, cut: Plan) -> Epoch:
    """An epoch after which a state stands at its first step that is not finite, if there is one, for good.

    The epoch's plain steps are taken first, and looked at once, at the end. Only where that is not finite, the
    guarded step is taken from the epoch's start up to there, in a loop that has no rounds otherwise: that costs
    next to nothing, and under vmap the other lanes keep every bit of their plain steps.

    Args:
        epoch: (state, None) to (state, metrics), of plain steps.
        step: the guarded step.
        data: all examples.
        cut: how an epoch is cut.

    Returns:
        The same with the metric `finite`, the share of its steps that were taken. The other metrics are NaN
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
        new = _up_to(step, data, plan, chosen(fine, tried, state), begins & ~fine)
        share = (new.step - state.step) / plan.steps
        metrics = {name: jnp.where(share == 1, m, jnp.nan) for name, m in metrics.items()}
        return new, {**metrics, "finite": share.astype(jnp.float32)}

    return stopped


def _up_to(step: Step, data: Dataset, plan: Plan, state: TrainState, going: Array) -> TrainState:
    """From the start of an epoch, the state before its first step that is not taken; unless `going`, as it is."""

    def one(c: tuple[Array, TrainState, Array]) -> tuple[Array, TrainState, Array]:
        i, state, _ = c
        # In here, so that a loop without rounds permutes nothing.
        order = epoch_order(state.key, state.step // plan.steps, plan.examples, plan.batch_size)

        def of(size: int) -> tuple[TrainState, Metrics]:
            return on_batch(step, data, plan, state, *(rows[i, :size] for rows in order))

        if plan.one_shape:
            new, metrics = of(plan.batch_size)
        else:
            new, metrics = jax.lax.cond(i == plan.steps - 1, lambda: of(plan.rest), lambda: of(plan.batch_size))
        return i + 1, new, metrics["finite"] > 0

    return jax.lax.while_loop(lambda c: (c[0] < plan.steps) & c[2], one, (jnp.int32(0), state, going))[1]


def next_batch(step: Step, data: Dataset, state: TrainState, *, batch_size: int) -> Batch:
    """The batch that the next step of a run sees: which examples it holds follows from `state.key` and `state.step`.

    Of a run that a guard has stopped, and of `error.result` of a fit, it is the batch that broke the step.

    Args:
        step: the run's step, which tells whether a last batch that is short is filled up.
        data: the run's examples.
        state: one state; of a population take a lane first.
        batch_size: the run's.

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
    indices, weight = epoch_order(state.key, epoch, plan.examples, plan.batch_size)
    size = plan.batch_size if plan.one_shape else plan.size(i)
    return take(data, indices[i, :size], weight[i] if plan.filled else None)
