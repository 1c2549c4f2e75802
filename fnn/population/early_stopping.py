"""Early stopping inside the compiled program, each member of a population by itself."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnn.data import Dataset, check_dataset, steps_per_epoch, take
from fnn.errors import check_callable, check_count, check_shape
from fnn.train.chunk import first_carry, make_advance
from fnn.train.guard import unguarded
from fnn.train.plan import Plan, check_epoch_start, on_device
from fnn.train.state import TrainState
from fnn.train.step import Step
from fnn.train.supervised import check_metrics, heeds_weights
from fnn.typing import Array, History, Loss, Metric


class Stopped(NamedTuple):
    """What a run with early stopping ends with.

    Attributes:
        state: the state at which training stopped.
        best: the state of least validation loss; the first one where no validation loss was a number.
        history: arrays with one entry an epoch, NaN from the stop on: `loss`, each metric, `grad_norm`, `val_loss`
            and each metric as `val_...`.
        epochs: how many epochs ended before the stop, int32.
        broken: the step that gave a loss, gradient or validation loss that is not finite; -1 without one.
    """

    state: TrainState
    best: TrainState
    history: History
    epochs: Array
    broken: Array


def until_stopped(
    step: Step,
    net: Any,
    loss: Loss,
    data: Dataset,
    validation: Dataset,
    *,
    batch_size: int,
    epochs: int,
    patience: int,
    metrics: Mapping[str, Metric] | None = None,
) -> Callable[[TrainState], Stopped]:
    """A whole run with validation and early stopping, as a pure function of the state that it starts from.

    It stops after `patience` epochs without a lower validation loss. It is `fnn.fit` as one program without a
    host: the same loop, and with the same step, key and patience the same result. Under `jax.vmap` each member
    stops by itself. A member that has stopped stays what it was, bit for bit, while the others go on; the
    program ends with the last of them, so that its time is that of the longest.

    Args:
        step: (state, batch) to (state, metrics), as `fnn.train.make_step` returns it.
        net: the network, for the validation.
        loss: (outputs, targets) to one value per example; its mean over the validation set decides.
        data: the examples to train on.
        validation: the examples to measure on after each epoch.
        batch_size: examples in a batch.
        epochs: how often each example is used, at most.
        patience: how many epochs without a lower validation loss end the run.
        metrics: more functions like `loss`, by name, measured on the validation set.

    Returns:
        train(state) to `Stopped`. It does not jit itself.

    Raises:
        ValueError: bad data, numbers below 1, or a state in the middle of an epoch.
        TypeError: an argument of the wrong kind.

    Example:
        >>> x = jnp.linspace(-1.0, 1.0, 32)[:, None]
        >>> data = fnn.data.Dataset(x, x**2)
        >>> net, tx, loss = fnn.nn.mlp([8, 1], "tanh"), fnn.optim.adam(0.1), fnn.losses.squared_error
        >>> step = fnn.train.make_step(fnn.train.supervised(net, loss), tx)
        >>> train = until_stopped(step, net, loss, data, data, batch_size=8, epochs=40, patience=3)
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> stopped = jax.jit(jax.vmap(lambda key: train(fnn.train.init_state(key, net, tx, x))))(keys)
        >>> stopped.history["val_loss"].shape, stopped.epochs.shape
        ((3, 40), (3,))

    Source: Prechelt 1998, "Early stopping, but when?", section 2, the criterion UP with strips of one epoch
    counted from the best one; Goodfellow et al. 2016, "Deep Learning", algorithm 7.1.
    """
    check_callable("step", step, "a function (state, batch) -> (state, metrics)", "Make one: fnn.train.make_step.")
    check_callable("loss", loss, "a function (outputs, targets) -> one value per example")
    check_count("epochs", epochs)
    check_count("patience", patience)
    data, validation = on_device(check_dataset(data)), on_device(check_dataset(validation, "validation"))
    # A lane that is not finite stops by itself.
    step = unguarded(step)
    measured = {"loss": loss, **check_metrics(metrics)}
    cut = Plan(len(data.x), batch_size, steps_per_epoch(len(data.x), batch_size), heeds_weights(step))

    def train(state: TrainState) -> Stopped:
        check_epoch_start(state, cut)
        carry = first_carry(state, epochs, _reported(step, state, data, batch_size), list(measured))
        carry = carry._replace(history={name: jnp.full_like(v, jnp.nan) for name, v in carry.history.items()})
        advance = make_advance(step, net, measured, cut.suited(state), data, validation, patience)
        end = advance(carry, data, validation, state.step + epochs * cut.steps)
        # The program enters epoch e at place e mod epochs.
        first = state.step // cut.steps
        history = {name: jnp.roll(values, -(first % epochs)) for name, values in end.history.items()}
        ended = jnp.where(end.broken < 0, end.state.step, end.broken) // cut.steps - first
        return Stopped(end.state, end.state if end.best is None else end.best, history, ended, end.broken)

    return train


def _reported(step: Step, state: TrainState, data: Dataset, batch_size: int) -> list[str]:
    """The names of a step's metrics."""
    _, metrics = jax.eval_shape(step, state, take(data, jnp.arange(batch_size)))
    for name, value in metrics.items():
        check_shape(f"metric '{name}' of step", value, (), "A step reports one number a batch.")
    return list(metrics)
