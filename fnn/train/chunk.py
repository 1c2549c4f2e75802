"""Any number of training steps as one program, with validation and early stopping inside it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fnn.data import Dataset, epoch_order
from fnn.errors import values_behind
from fnn.train.evaluate import make_eval
from fnn.train.guard import is_finite
from fnn.train.plan import Plan, Take, on_batch, on_numbered
from fnn.train.state import TrainState
from fnn.train.step import Step
from fnn.typing import Array, History, Metric, Metrics


class Carry(NamedTuple):
    """What a fit carries from one call of its program to the next; arrays only.

    Attributes:
        state: the training state.
        sums: of this epoch so far, each metric times the examples that it was taken over.
        history: each metric by name, one entry an epoch, 0 for those to come.
        best: the state of least validation loss; None without validation.
        best_loss: that loss.
        waited: epochs since then.
        stopped: whether patience has run out.
        broken: the first step whose loss or gradient was not finite, or after which the validation loss was
            not, or the last one where the state is not finite at the end of a call; -1 without one.
    """

    state: TrainState
    sums: Metrics
    history: History
    best: TrainState | None
    best_loss: Array
    waited: Array
    stopped: Array
    broken: Array

    def latest(self, epochs: int) -> dict[str, float]:
        """The metrics of the last of so many finished epochs.

        Example:
            >>> state = fnn.train.TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
            >>> first_carry(state, 2, ["loss"], []).latest(0)
            {}
        """
        # NumPy takes the entry: JAX would compile a slice.
        return {k: float(np.asarray(v)[epochs - 1]) for k, v in self.history.items()} if epochs else {}


Advance = Callable[[Carry, Dataset, Dataset | None, Array], Carry]


def first_carry(state: TrainState, epochs: int, training: Sequence[str], validation: Sequence[str]) -> Carry:
    """The carry before the first step, for metrics of these names.

    Example:
        >>> state = fnn.train.TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
        >>> sorted(first_carry(state, 2, ["loss"], ["loss"]).history)
        ['loss', 'val_loss']
    """
    dtype = jnp.result_type(float)
    names = [*training, *(f"val_{name}" for name in validation)]
    return Carry(
        state=state,
        sums={name: jnp.zeros((), dtype) for name in training},
        history={name: jnp.zeros(epochs, dtype) for name in names},
        best=jax.tree.map(lambda a: jnp.array(a, copy=True), state) if validation else None,
        best_loss=jnp.array(jnp.inf, dtype),
        waited=jnp.zeros((), jnp.int32),
        stopped=jnp.array(False),
        broken=jnp.array(-1, jnp.int32),
    )


def make_advance(
    step: Step,
    net: Any,
    measured: Mapping[str, Metric] | None,
    plan: Plan,
    data: Dataset,
    validation: Dataset | None,
    patience: int | None,
) -> Advance:
    """A pure function that trains until `state.step` is `stop`, or until training ends by itself.

    The order of data, and so the result, is that of `fnn.train.run`, however the steps are cut into calls.

    Args:
        step: a training step.
        net: its network, for the validation.
        measured: what is measured on the validation set, `loss` among it; None without one.
        plan: how an epoch is cut into batches.
        data: the training data; the function takes it again, as an argument of the program.
        validation: the validation data, likewise.
        patience: epochs without a lower validation loss until it stops; None never stops.

    Example:
        >>> net, tx = fnn.nn.mlp([1]), fnn.optim.sgd(0.1)
        >>> step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        >>> data = Dataset(jnp.ones((4, 1)), jnp.ones((4, 1)))
        >>> advance = make_advance(step, net, None, Plan(4, 2, 2, True), data, None, None)
        >>> state = fnn.train.init_state(jax.random.key(0), net, tx, data.x)
        >>> int(advance(first_carry(state, 2, ["loss", "grad_norm"], []), data, None, jnp.array(3)).state.step)
        3
    """
    evaluate = None if measured is None else make_eval(net, measured)
    targets, val_targets = data.y, None if validation is None else validation.y

    def advance(carry: Carry, data: Dataset, validation: Dataset | None, stop: Array) -> Carry:
        def take(state: TrainState, indices: Array, weight: Array) -> tuple[TrainState, Metrics]:
            return on_batch(step, data, plan, state, indices, weight, targets)

        def end_epoch(carry: Carry) -> Carry:
            row = {name: total / plan.examples for name, total in carry.sums.items()}
            if evaluate is not None and validation is not None:
                with values_behind(validation.y, val_targets):
                    measures = evaluate(carry.state, validation)
                row |= {f"val_{name}": value for name, value in measures.items()}
            return _recorded(carry, row, plan, patience)

        going = lambda c: (c.broken < 0) & ~c.stopped  # noqa: E731
        last = train_until(stop, plan, carry, take, _counted, end_epoch, going)
        return _looked_through(carry, last)

    return advance


C = TypeVar("C", bound=Any)


def train_until(
    stop: Array,
    plan: Plan,
    carry: C,
    take: Take,
    count: Callable[[C, TrainState, Metrics], C],
    end_epoch: Callable[[C], C],
    going: Callable[[C], Any],
) -> C:
    """Trains until `carry.state.step` is `stop`, or until it is not `going`: a loop over epochs of one over steps.

    Args:
        stop: the step to stop at, int32.
        plan: how an epoch is cut into batches.
        carry: what goes from step to step, a NamedTuple with the training state as `state`.
        take: (state, indices, weight) to (state, terms), one step on these examples.
        count: (carry, state, terms) to the carry after that step.
        end_epoch: the carry after the last step of an epoch.
        going: whether to go on; only `count` and `end_epoch` change the answer.

    Example:
        >>> class Alone(NamedTuple):
        ...     state: TrainState
        >>> state = TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
        >>> take = lambda state, indices, weight: (state._replace(step=state.step + 1), {})
        >>> last = train_until(jnp.array(3), Plan(4, 2, 2, True), Alone(state), take,
        ...     lambda carry, state, terms: Alone(state), lambda carry: carry, lambda carry: True)
        >>> int(last.state.step)
        3
    """

    def segment(carry: C) -> C:
        epoch, first = carry.state.step // plan.steps, carry.state.step % plan.steps
        order = epoch_order(carry.state.key, epoch, plan.examples, plan.batch_size)
        until = jnp.minimum(plan.steps, first + stop - carry.state.step)

        def one(numbered: tuple[Array, C]) -> tuple[Array, C]:
            i, carry = numbered
            return i + 1, count(carry, *on_numbered(take, plan, carry.state, order, i))

        i, carry = jax.lax.while_loop(lambda c: (c[0] < until) & going(c[1]), one, (first, carry))
        return jax.lax.cond((i == plan.steps) & going(carry), end_epoch, lambda c: c, carry)

    return jax.lax.while_loop(lambda c: (c.state.step < stop) & going(c), segment, carry)


def _counted(carry: Carry, state: TrainState, terms: Metrics) -> Carry:
    finite = jnp.isfinite(terms["loss"]) & jnp.isfinite(terms["grad_norm"])
    sums = {name: total + terms[name].astype(total.dtype) for name, total in carry.sums.items()}
    return carry._replace(state=state, sums=sums, broken=jnp.where(finite, carry.broken, carry.state.step))


def _looked_through(start: Carry, last: Carry) -> Carry:
    """Broken too where no loss or gradient tells it, but the state: looked at once a call."""
    finite = is_finite(start.state, last.state, {})
    return last._replace(broken=jnp.where((last.broken < 0) & ~finite, last.state.step - 1, last.broken))


def _recorded(carry: Carry, row: Metrics, plan: Plan, patience: int | None) -> Carry:
    epoch = carry.state.step // plan.steps - 1

    def entered(values: Array, value: Array) -> Array:
        # The modulus is for a run that goes on from a later epoch than the first.
        return values.at[epoch % len(values)].set(value.astype(values.dtype))

    history = {name: entered(values, row[name]) for name, values in carry.history.items()}
    carry = carry._replace(sums=jax.tree.map(jnp.zeros_like, carry.sums), history=history)
    if carry.best is None:
        return carry
    loss = row["val_loss"].astype(carry.best_loss.dtype)
    better = loss < carry.best_loss
    waited = jnp.where(better, 0, carry.waited + 1)
    return carry._replace(
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), carry.state, carry.best),
        best_loss=jnp.where(better, loss, carry.best_loss),
        broken=jnp.where(jnp.isfinite(loss), carry.broken, carry.state.step - 1),
        waited=waited,
        stopped=jnp.array(False) if patience is None else waited >= patience,
    )
