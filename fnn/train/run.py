"""A whole training run as one pure function: a scan over epochs of a scan over batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnn.data import Dataset, check_dataset, epoch_order, steps_per_epoch, take
from fnn.errors import check_callable, check_count, concrete, message, values_behind
from fnn.train.state import TrainState, check_state
from fnn.train.step import Step
from fnn.train.supervised import heeds_weights
from fnn.typing import Array, History, Metrics


def run(
    step: Step, data: Dataset, *, batch_size: int, epochs: int
) -> Callable[[TrainState], tuple[TrainState, History]]:
    """A whole training run, as a pure function of the state that it starts from.

    Each epoch permutes the examples on the device and takes them in batches. Epochs are counted by
    `state.step`, so that ten epochs and ten more equal twenty. The last, smaller batch counts each of its
    examples once: filled up by weight 0 if the step heeds weights (`supervised` does), as a batch of its
    own size, and a second trace, otherwise. So it is too where the network has a state, such as batch
    normalization's, which fillers would enter. `jax.jit(run(...))` compiles it; `jax.vmap(run(...))` trains
    many networks.

    Args:
        step: (state, batch) to (state, metrics), as `make_step` returns it.
        data: the examples.
        batch_size: examples in a batch.
        epochs: how often each example is used.

    Returns:
        train(state) to (state, history): each metric's mean over the examples of each epoch, by name.

    Raises:
        ValueError: no data or not finite, batch size below 1 or above the data, epochs below 1, or a state
            that stands in the middle of an epoch.

    Example:
        >>> net, tx = fnn.nn.mlp([1]), fnn.optim.sgd(0.1)
        >>> step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        >>> x = jnp.linspace(-1.0, 1.0, 5)[:, None]
        >>> train = jax.jit(run(step, fnn.data.Dataset(x, 3 * x + 1), batch_size=2, epochs=100))
        >>> state, history = train(fnn.train.init_state(jax.random.key(0), net, tx, x))
        >>> history["loss"].shape, bool(history["loss"][-1] < 1e-6)
        ((100,), True)
    """
    check_callable("step", step, "a function (state, batch) -> (state, metrics)", "Make one: fnn.train.make_step.")
    check_count("epochs", epochs)
    data = check_dataset(data)
    cut = Plan(len(data.x), batch_size, steps_per_epoch(len(data.x), batch_size), heeds_weights(step))

    def epoch(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
        plan = cut.suited(state)
        indices, weight = epoch_order(state.key, state.step // plan.steps, plan.examples, plan.batch_size)
        whole = plan.steps if plan.one_shape else plan.examples // plan.batch_size
        state, metrics = jax.lax.scan(
            lambda state, rows: on_batch(step, data, plan, state, *rows), state, (indices[:whole], weight[:whole])
        )
        sums = jax.tree.map(lambda m: jnp.sum(m, axis=0), metrics)
        if not plan.one_shape:
            state, last = on_batch(step, data, plan, state, indices[-1, : plan.rest], weight[-1, : plan.rest])
            sums = jax.tree.map(jnp.add, sums, last)
        return state, jax.tree.map(lambda total: total / plan.examples, sums)

    def train(state: TrainState) -> tuple[TrainState, History]:
        check_epoch_start(state, cut)
        return jax.lax.scan(epoch, state, None, length=epochs)

    return train


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
    batch = take(data, indices, weight if plan.weighted and not plan.full else None)
    with values_behind(batch.y, data.y if values is None else values):
        state, metrics = step(state, batch)
    examples = jnp.sum(weight)
    # A mean over examples is at least float32, whatever the step computes in.
    return state, jax.tree.map(lambda m: jnp.asarray(m, jnp.promote_types(m.dtype, jnp.float32)) * examples, metrics)


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
        raise ValueError(message("state", got, "a whole number of epochs", "Finish the epoch with step(state, batch)."))
