"""How an epoch is cut into batches, and one step on such a batch: what every way to run has in common."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnn.data import Dataset, take
from fnn.errors import concrete, message, values_behind
from fnn.train.state import TrainState, check_state
from fnn.train.step import Step
from fnn.typing import Array, Metrics


class Plan(NamedTuple):
    """How an epoch is cut into batches.

    Attributes:
        examples: how many there are.
        batch_size: how many a batch holds.
        steps: batches an epoch.
        weighted: whether the last batch may be filled up by weight 0: the step heeds weights.
    """

    examples: int
    batch_size: int
    steps: int
    weighted: bool

    @property
    def full(self) -> bool:
        """Whether all batches are full."""
        return self.examples % self.batch_size == 0

    @property
    def one_shape(self) -> bool:
        """Whether one shape of batch is enough."""
        return self.full or self.weighted

    @property
    def rest(self) -> int:
        """How many examples are left for the last batch where the others are full."""
        return self.examples % self.batch_size

    @property
    def filled(self) -> bool:
        """Whether the last batch is filled up, and so all batches carry weights."""
        return self.weighted and not self.full

    def size(self, number: int) -> int:
        """How many examples count in the batch of this step."""
        return self.rest if self.rest and number % self.steps == self.steps - 1 else self.batch_size

    def suited(self, state: TrainState) -> "Plan":
        """The plan for a network with this state: statistics over a batch may not see fillers."""
        return self._replace(weighted=self.weighted and not jax.tree.leaves(state.model_state))


def on_batch(
    step: Step, data: Dataset, plan: Plan, state: TrainState, indices: Array, weight: Array, values: Any = None
) -> tuple[TrainState, Metrics]:
    """One step on the examples at these indices; its metrics times the number of examples, for sums.

    Args:
        step: (state, batch) to (state, metrics).
        data: all examples.
        plan: how the epoch is cut.
        state: the state before.
        indices: (batch,), which examples.
        weight: (batch,), how much each counts; left out of a full batch.
        values: the targets that `data.y` stands for where that is traced, so that a loss can check them.

    Example:
        >>> data = Dataset(jnp.arange(4.0), jnp.arange(4.0))
        >>> state = TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
        >>> step = lambda state, batch: (state, {"x": batch.x.mean()})
        >>> on_batch(step, data, Plan(4, 2, 2, False), state, jnp.array([1, 3]), jnp.ones(2))[1]
        {'x': Array(4., dtype=float32)}
    """
    batch = take(data, indices, weight if plan.filled else None)
    with values_behind(batch.y, data.y if values is None else values):
        state, metrics = step(state, batch)
    examples = jnp.sum(weight)
    # A mean over examples is at least float32, whatever the step computes in.
    return state, jax.tree.map(lambda m: jnp.asarray(m, jnp.promote_types(m.dtype, jnp.float32)) * examples, metrics)


Take = Callable[[TrainState, Array, Array], tuple[TrainState, Metrics]]
"""(state, indices, weight) to (state, metrics): one step on these examples."""


def on_numbered(
    take: Take, plan: Plan, state: TrainState, order: tuple[Array, Array], i: Array
) -> tuple[TrainState, Metrics]:
    """One step on batch i of an epoch's order; the last one is smaller where it is not filled up.

    Example:
        >>> state = TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
        >>> take = lambda state, indices, weight: (state, {"examples": weight.sum()})
        >>> order = jnp.array([[0, 1], [2, 0]]), jnp.ones((2, 2))
        >>> on_numbered(take, Plan(3, 2, 2, False), state, order, jnp.array(1))[1]
        {'examples': Array(1., dtype=float32)}
    """

    def of(size: int) -> tuple[TrainState, Metrics]:
        indices, weight = (rows[i, :size] for rows in order)
        return take(state, indices, weight)

    if plan.one_shape:
        return of(plan.batch_size)
    return jax.lax.cond(i == plan.steps - 1, lambda: of(plan.rest), lambda: of(plan.batch_size))


def check_epoch_start(state: TrainState, plan: Plan) -> None:
    """Refuses a state in the middle of an epoch, where its step is known.

    Example:
        >>> state = TrainState(jnp.array(4), {}, {}, (), jax.random.key(0))
        >>> check_epoch_start(state, Plan(4, 2, 2, False))
    """
    check_state(state)
    known = concrete(state.step)
    if known is not None and known.ndim == 0 and int(known) % plan.steps:
        got = f"{int(known)} steps, in the middle of an epoch of {plan.steps}"
        remedy = 'Finish the epoch with executor="host", or with step(state, batch).'
        raise ValueError(message("state", got, "a whole number of epochs", remedy))


def on_device(data: Dataset) -> Dataset:
    """The same examples as arrays of JAX.

    Example:
        >>> on_device(Dataset(np.ones(2), np.ones(2))).x.dtype
        dtype('float32')
    """
    return Dataset(jnp.asarray(data.x), jnp.asarray(data.y))
