"""Momentum."""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from fnn.errors import check_flag, check_scalar, check_trainable, is_zero, message
from fnn.optim.conventions import settle
from fnn.optim.leafwise import (
    Numbers,
    accumulators,
    check_learning_rate,
    check_own,
    leafwise,
    no_updates,
    one_more,
    rate_at,
)
from fnn.typing import Array, LearningRate, Params, Scalar


class MomentumState(NamedTuple):
    """How many updates there were, and the velocity v, shaped like the parameters."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    v: Params


def momentum(
    learning_rate: LearningRate,
    beta: Scalar = 0.9,
    *,
    nesterov: bool = False,
    dampening: Scalar | None = None,
    convention: str = "lecture",
) -> optax.GradientTransformation:
    """Momentum: `v <- beta v + (1 - beta) g; w <- w - lr v`, as the lecture defines it.

    `fnn.optim.convention(name, "momentum")` prints the equations of each convention. A constant
    gradient g ends in steps of `lr g` in "lecture", and of `lr g / (1 - beta)` in the others.

    Args:
        learning_rate: lr, a number >= 0, a traced scalar, or an Optax schedule of the step from 0.
        beta: the share of the velocity that stays, in [0, 1).
        nesterov: look one step ahead.
        dampening: the share of a gradient that does not enter v, in [0, 1), from the second step on; only
            in "torch", where None is 0.
        convention: "lecture"; "optax" and "torch" (`v <- beta v + g; w <- w - lr v`); "paper" and "keras"
            (`v <- beta v - lr g; w <- w + v`: under a schedule the velocity remembers earlier rates).

    Raises:
        ValueError: a number outside its range, an unknown convention, dampening in a convention without it
            or together with nesterov.
        TypeError: a parameter has no gradient, such as integers; the leaf is named.

    Example:
        Three steps with gradient 1: v = 1/2, 3/4, 7/8.

        >>> tx = momentum(1.0, beta=0.5)
        >>> w, state = jnp.array(0.0), tx.init(jnp.array(0.0))
        >>> for _ in range(3):
        ...     updates, state = tx.update(jnp.array(1.0), state, w)
        ...     w = optax.apply_updates(w, updates)
        ...     print(float(state.v), float(w))
        0.5 -0.5
        0.75 -1.25
        0.875 -2.125

    Source: Polyak 1964; Sutskever et al. 2013, "On the importance of initialization and momentum".
    """
    check_learning_rate(learning_rate)
    check_scalar("beta", beta, 0, 1)
    check_flag("nesterov", nesterov)
    form = settle("momentum", convention, dampening=dampening)
    check_scalar("dampening", form.dampening, 0, 1)
    if nesterov and not is_zero(form.dampening):
        raise ValueError(message("dampening", dampening, "0 with nesterov=True", "PyTorch does not define both."))

    def init(params: Params) -> MomentumState:
        check_trainable("params", params)
        return MomentumState(no_updates(), accumulators(params))

    def update(updates: Params, state: MomentumState, params: Params | None = None) -> tuple[Params, MomentumState]:
        check_own(state, MomentumState)
        rate = rate_at(learning_rate, state.count)

        def rule(number: Numbers, g: Array, v: Array, w: Array | None) -> tuple[Array, Array]:
            del w
            lr, b = number(rate), number(beta)
            # What flows into the velocity, and how far the parameter moves for a unit of it.
            inflow = (1 - b) * g if form.average else g
            if not is_zero(form.dampening):
                inflow = jnp.where(state.count == 0, 1, 1 - number(form.dampening)) * inflow
            inflow, reach = (-lr * inflow, 1) if form.rate_inside else (inflow, -lr)
            v = b * v + inflow
            return reach * (b * v + inflow if nesterov else v), v

        changes, v = leafwise(rule, updates, state.v, params=params)
        return changes, MomentumState(one_more(state.count), v)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
