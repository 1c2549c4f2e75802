"""Gradient descent."""

from typing import NamedTuple

import optax

from fnn.errors import check_trainable
from fnn.optim.leafwise import Numbers, check_learning_rate, check_own, leafwise, no_updates, one_more, rate_at
from fnn.typing import Array, LearningRate, Params


class SgdState(NamedTuple):
    """How many updates there were."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]


def sgd(learning_rate: LearningRate) -> optax.GradientTransformation:
    """Gradient descent, `w <- w - lr g`; on mini-batches, stochastic gradient descent.

    Args:
        learning_rate: lr, a number >= 0, a traced scalar, or an Optax schedule of the step from 0.

    Raises:
        ValueError: the learning rate is negative or not finite.
        TypeError: a parameter has no gradient, such as integers; the leaf is named.

    Example:
        Three steps down `f(w) = w^2`, whose gradient is 2 w: each leaves half of w.

        >>> tx = sgd(0.25)
        >>> w, state = jnp.array(1.0), tx.init(jnp.array(1.0))
        >>> for _ in range(3):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = optax.apply_updates(w, updates)
        ...     print(float(w))
        0.5
        0.25
        0.125

    Source: Robbins and Monro 1951; Goodfellow et al. 2016, "Deep Learning", algorithm 8.1.
    """
    check_learning_rate(learning_rate)

    def init(params: Params) -> SgdState:
        check_trainable("params", params)
        return SgdState(no_updates())

    def update(updates: Params, state: SgdState, params: Params | None = None) -> tuple[Params, SgdState]:
        check_own(state, SgdState)
        lr = rate_at(learning_rate, state.count)

        def rule(number: Numbers, g: Array, w: Array | None) -> tuple[Array]:
            del w
            return (-number(lr) * g,)

        (changes,) = leafwise(rule, updates, params=params)
        return changes, SgdState(one_more(state.count))

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
