"""RMSProp."""

from typing import Any, NamedTuple

import optax

from fnn.errors import check_flag, check_scalar, check_trainable
from fnn.optim.conventions import settle
from fnn.optim.leafwise import (
    Numbers,
    accumulators,
    bounded,
    check_learning_rate,
    check_own,
    leafwise,
    no_updates,
    one_more,
    rate_at,
    root,
    square,
)
from fnn.typing import Array, LearningRate, Params, Scalar


class RmspropState(NamedTuple):
    """How many updates there were, and trees shaped like the parameters.

    Attributes:
        count: the number of updates.
        v: the average of |g|^2; with `centered` the variance of g.
        m: the average of g; None without `centered`.
        u: the momentum's velocity; None with `momentum=None`.
    """

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    v: Params
    m: Params | None
    u: Params | None


def rmsprop(
    learning_rate: LearningRate,
    decay: Scalar | None = None,
    eps: Scalar | None = None,
    *,
    centered: bool = False,
    momentum: Scalar | None = 0.0,
    initial_accumulator: Scalar | None = None,
    convention: str = "paper",
) -> optax.GradientTransformation:
    """RMSProp: `v <- decay v + (1 - decay) g^2; w <- w - lr g / (sqrt(v) + eps)`.

    `fnn.optim.convention(name, "rmsprop")` prints the whole of each convention. The centered variance follows
    `var <- decay var + decay (1 - decay) |g - m|^2`, which equals the average of g^2 less m^2, and is
    never negative.

    Args:
        learning_rate: lr, a number >= 0, a traced scalar, or an Optax schedule of the step from 0.
        decay: the share of the average that stays, in [0, 1); None is the convention's (0.9; "torch" 0.99).
        eps: keeps the quotient finite, > 0; None is the convention's (1e-8; "keras" 1e-7, "tf1" 1e-10).
        centered: divide by the standard deviation of the gradient instead of its root mean square.
        momentum: the share of the velocity that stays, in [0, 1). None keeps no velocity, which saves
            its memory and gives the same updates as 0.
        initial_accumulator: v before the first step, >= 0; None is the convention's (0; "tf1" 1).
        convention: "paper", "torch" (the rate outside of the velocity), or "optax", "keras" and "tf1"
            (`sqrt(v + eps)`).

    Raises:
        ValueError: a number outside its range, or an unknown convention.
        TypeError: a parameter has no gradient, such as integers; the leaf is named.

    Example:
        Three steps with gradients 2, 2 and 4. The first is `lr sign(g) / sqrt(1 - decay)` whatever the size
        of g; v = 1, 7/4, 85/16.

        >>> tx = rmsprop(1.0, decay=0.75)
        >>> w, state = jnp.array(0.0), tx.init(jnp.array(0.0))
        >>> for g in (2.0, 2.0, 4.0):
        ...     updates, state = tx.update(jnp.array(g), state, w)
        ...     print(f"{float(state.v)} {float(updates):.4f}")
        1.0 -2.0000
        1.75 -1.5119
        5.3125 -1.7354

    Source: Tieleman and Hinton 2012, "Lecture 6.5: RMSProp", Coursera; Graves 2013, "Generating
    sequences with recurrent neural networks", equations 38 to 45.
    """
    form = settle("rmsprop", convention, decay=decay, eps=eps, initial_accumulator=initial_accumulator)
    check_learning_rate(learning_rate)
    check_scalar("decay", form.decay, 0, 1)
    check_scalar("eps", form.eps, 0, open_low=True)
    check_scalar("initial_accumulator", form.initial_accumulator, 0)
    check_flag("centered", centered)
    if momentum is not None:
        check_scalar("momentum", momentum, 0, 1)

    def init(params: Params) -> RmspropState:
        check_trainable("params", params)
        m = accumulators(params) if centered else None
        u = None if momentum is None else accumulators(params)
        return RmspropState(no_updates(), accumulators(params, form.initial_accumulator, real=True), m, u)

    def update(updates: Params, state: RmspropState, params: Params | None = None) -> tuple[Params, RmspropState]:
        check_own(state, RmspropState, m=centered, u=momentum is not None)
        rate = rate_at(learning_rate, state.count)

        def rule(number: Numbers, g: Array, v: Array, m: Array | None, u: Array | None, w: Array | None) -> list[Any]:
            del w
            lr, d, g = number(rate), number(form.decay), bounded(g)
            if m is None:
                v = d * v + (1 - d) * square(g)
            else:
                v, m = d * v + d * (1 - d) * square(g - m), d * m + (1 - d) * g
            eps = number(form.eps)
            inflow, reach = (lr * g, 1) if form.rate_inside or u is None else (g, lr)
            move = inflow / (root(v + eps) if form.eps_inside else root(v) + eps)
            if u is not None and momentum is not None:
                u = move = number(momentum) * u + move
            return [-reach * move, v, m, u]

        changes, v, m, u = leafwise(rule, updates, state.v, state.m, state.u, params=params)
        return changes, RmspropState(one_more(state.count), v, m, u)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
