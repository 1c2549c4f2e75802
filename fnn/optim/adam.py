"""Adam."""

from typing import NamedTuple

import optax

from fnn.errors import check_scalar, check_trainable, is_zero
from fnn.optim.conventions import convention as find
from fnn.optim.leafwise import (
    Numbers,
    accumulators,
    average_weight,
    bounded,
    check_learning_rate,
    decay_needs_params,
    leafwise,
    no_updates,
    one_more,
    rate_at,
    root,
    square,
)
from fnn.typing import Array, LearningRate, Params, Scalar


class AdamState(NamedTuple):
    """How many updates there were, and the averages m of g and v of |g|^2, shaped like the parameters."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    m: Params
    v: Params


def adam(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar | None = None,
    *,
    weight_decay: Scalar = 0.0,
    convention: str = "paper",
) -> optax.GradientTransformation:
    """Adam: `w <- w - lr m_hat / (sqrt(v_hat) + eps)`, with bias-corrected averages of g and g^2.

    `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`, `m_hat = m / (1 - b1^t)`,
    `v_hat = v / (1 - b2^t)`, t from 1.

    Args:
        learning_rate: lr, a number >= 0, a traced scalar, or an Optax schedule of the step from 0.
        b1: the share of m that stays, in [0, 1).
        b2: the share of v that stays, in [0, 1).
        eps: keeps the quotient finite, > 0; None is the convention's (1e-8).
        weight_decay: decoupled, `w <- w - lr weight_decay w` beside the step (AdamW), >= 0; it
            touches every parameter: `optax.masked` restricts it.
        convention: "paper".

    Raises:
        ValueError: a number outside its range, an unknown convention, or weight decay without parameters.
        TypeError: a parameter has no gradient, such as integers; the leaf is named.

    Example:
        The first step is `lr sign(g)` whatever the size of g:

        >>> tx = adam(0.1)
        >>> w = jnp.array([0.0, 0.0])
        >>> updates, _ = tx.update(jnp.array([4.0, -0.5]), tx.init(w), w)
        >>> updates
        Array([-0.1,  0.1], dtype=float32)

    Source: Kingma and Ba 2015, "Adam", algorithm 1; Loshchilov and Hutter 2019, "Decoupled weight decay
    regularization", algorithm 2.
    """
    defaults = find(convention, "adam").defaults
    eps = defaults["eps"] if eps is None else eps
    check_learning_rate(learning_rate)
    check_scalar("b1", b1, 0, 1)
    check_scalar("b2", b2, 0, 1)
    check_scalar("eps", eps, 0, open_low=True)
    check_scalar("weight_decay", weight_decay, 0)

    def init(params: Params) -> AdamState:
        check_trainable("params", params)
        return AdamState(no_updates(), accumulators(params), accumulators(params, real=True))

    def update(updates: Params, state: AdamState, params: Params | None = None) -> tuple[Params, AdamState]:
        decay_needs_params(weight_decay, params)
        rate, t = rate_at(learning_rate, state.count), one_more(state.count)

        def rule(number: Numbers, g: Array, m: Array, v: Array, w: Array | None) -> tuple[Array, Array, Array]:
            beta1, beta2, g = number(b1), number(b2), bounded(g)
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * square(g)
            m_hat, v_hat = m / average_weight(beta1, t), v / average_weight(beta2, t)
            step = m_hat / (root(v_hat) + number(eps))
            # A decay known to be 0 leaves the parameters unread.
            step = step if w is None or is_zero(weight_decay) else step + number(weight_decay) * w
            return -number(rate) * step, m, v

        changes, m, v = leafwise(rule, updates, state.m, state.v, params=params)
        return changes, AdamState(t, m, v)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
