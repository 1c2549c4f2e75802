"""What a fit tells of a number that is not finite: the last state before it, and where it came from."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fnn.data import Dataset
from fnn.errors import NonFiniteError
from fnn.inspect import Event, first_nonfinite
from fnn.train.chunk import Carry
from fnn.train.plan import Plan
from fnn.train.step import Step
from fnn.train.stopping import next_batch

_WHAT = {
    "data": "the batch",
    "forward": "the loss",
    "loss": "the loss",
    "gradient": "the gradient",
    "update": "the new state",
}


def failure(
    step: Step, data: Dataset, plan: Plan, good: Carry, end: Carry, reached: Callable[[Carry], Any]
) -> NonFiniteError:
    """The error of a fit.

    Args:
        step: the training step.
        data: the training data.
        plan: how an epoch is cut.
        good: before the step that failed.
        end: after it.
        reached: the result of a fit that ends there.

    Example:
        >>> net, tx = fnn.nn.mlp([1], w_init=fnn.initializers.constant(1.0)), fnn.optim.sgd(0.1)
        >>> step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        >>> data = Dataset(jnp.full((2, 1), 1e38), jnp.zeros((2, 1)))
        >>> state = fnn.train.init_state(jax.random.key(0), net, tx, data.x)
        >>> carry = fnn.train.chunk.first_carry(state, 1, ["loss"], [])
        >>> print(failure(step, data, Plan(2, 2, 1, True), carry, carry, lambda carry: None).event)
        step 0: loss: square gave inf (2 of 2 values), such as square(1e+38)
    """
    batch = next_batch(step, data, good.state, batch_size=plan.batch_size)
    event = first_nonfinite(step, good.state, batch)
    if event is None and _validation_failed(end, plan):
        return NonFiniteError(_worded("the validation loss", int(end.broken), plan, ""), reached(end))
    what = "the loss, the gradient or the new state" if event is None else _WHAT.get(event.stage, "the state")
    return NonFiniteError(_worded(what, int(good.state.step), plan, _details(event)), reached(good), event, batch)


def _validation_failed(end: Carry, plan: Plan) -> bool:
    epochs = int(end.state.step) // plan.steps
    return "val_loss" in end.history and epochs > 0 and not np.isfinite(np.asarray(end.history["val_loss"])[epochs - 1])


def _details(event: Event | None) -> str:
    return "" if event is None else str(event).removeprefix(f"step {event.step}")


def _worded(what: str, step: int, plan: Plan, details: str) -> str:
    where = f"step {step} (epoch {step // plan.steps}, batch {step % plan.steps}; all counted from 0)"
    return (
        f"training: {what} is not a finite number at {where}{details}. Lower the learning rate, clip the gradient "
        "(clip_norm=1.0), or look for inputs and labels out of range; error.result.state is the last finite state, "
        "error.result.best the best one until then, error.batch the batch."
    )
