"""A whole training run as one pure function: a scan over epochs of a scan over batches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fnn.data import Dataset, check_dataset, epoch_order, steps_per_epoch
from fnn.errors import check_callable, check_count
from fnn.train.guard import unguarded
from fnn.train.plan import Plan, check_epoch_start, on_batch
from fnn.train.state import TrainState
from fnn.train.step import Step
from fnn.train.stopping import stopping
from fnn.train.supervised import heeds_weights
from fnn.typing import History, Metrics


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

    With a guarded step (`make_step(..., guard=True)`) a network stops before the first step that is not
    finite, and keeps that state: `state.step` is the number of that step, and `next_batch` gives its batch.
    The others of a population go on. The guard looks once an epoch, so it costs next to nothing; such a run
    has no reverse-mode derivative.

    Args:
        step: (state, batch) to (state, metrics), as `make_step` returns it.
        data: the examples.
        batch_size: examples in a batch.
        epochs: how often each example is used.

    Returns:
        train(state) to (state, history): each metric's mean over the examples of each epoch, by name. With a
        guard, `finite` is the share of an epoch's steps that were taken, and the others are NaN below 1.

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
