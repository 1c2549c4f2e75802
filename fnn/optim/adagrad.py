"""AdaGrad."""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from fnn.errors import check_scalar, check_trainable
from fnn.optim.conventions import convention as find
from fnn.optim.leafwise import (
    Numbers,
    accumulators,
    bounded,
    check_learning_rate,
    leafwise,
    no_updates,
    one_more,
    rate_at,
    root,
    square,
)
from fnn.typing import Array, LearningRate, Params, Scalar


class AdagradState(NamedTuple):
    """How many updates there were, and the sum G of |g|^2, shaped like the parameters."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    G: Params


def adagrad(
    learning_rate: LearningRate,
    eps: Scalar | None = None,
    initial_accumulator: Scalar | None = None,
    *,
    convention: str = "paper",
) -> optax.GradientTransformation:
    """AdaGrad: `G <- G + g^2; w <- w - lr g / (sqrt(G) + eps)`.

    Args:
        learning_rate: lr, a number >= 0, a traced scalar, or an Optax schedule of the step from 0.
        eps: keeps the quotient finite, > 0; None is the convention's (1e-8).
        initial_accumulator: G before the first step, >= 0; None is the convention's (0).
        convention: "paper".

    Raises:
        ValueError: a number outside its range, or an unknown convention.
        TypeError: a parameter has no gradient, such as integers; the leaf is named.

    Example:
        Three steps with gradient 1 are lr, lr / sqrt(2) and lr / sqrt(3) long:

        >>> tx = adagrad(1.0)
        >>> w, state = jnp.array(0.0), tx.init(jnp.array(0.0))
        >>> for _ in range(3):
        ...     updates, state = tx.update(jnp.array(1.0), state, w)
        ...     print(f"{float(updates):.4f}")
        -1.0000
        -0.7071
        -0.5774

    Source: Duchi et al. 2011, "Adaptive subgradient methods", section 1.2, diagonal form.
    """
    defaults = find(convention, "adagrad").defaults
    eps = defaults["eps"] if eps is None else eps
    start = defaults["initial_accumulator"] if initial_accumulator is None else initial_accumulator
    check_learning_rate(learning_rate)
    check_scalar("eps", eps, 0, open_low=True)
    check_scalar("initial_accumulator", start, 0)

    def init(params: Params) -> AdagradState:
        check_trainable("params", params)
        return AdagradState(no_updates(), accumulators(params, start, real=True))

    def update(updates: Params, state: AdagradState, params: Params | None = None) -> tuple[Params, AdagradState]:
        rate = rate_at(learning_rate, state.count)

        def rule(number: Numbers, g: Array, G: Array, w: Array | None) -> tuple[Array, Array]:
            del w
            g = bounded(g)
            # A sum of many such squares may still overflow.
            G = jnp.minimum(G + square(g), jnp.finfo(G.dtype).max)
            return -number(rate) * g / (root(G) + number(eps)), G

        changes, G = leafwise(rule, updates, state.G, params=params)
        return changes, AdagradState(one_more(state.count), G)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
