"""AdaGrad."""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from fnn.errors import check_scalar, check_trainable, is_zero
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


class AdagradState(NamedTuple):
    """How many updates there were, and the sum G of |g|^2, shaped like the parameters."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    G: Params


def adagrad(
    learning_rate: LearningRate,
    eps: Scalar | None = None,
    initial_accumulator: Scalar | None = None,
    *,
    lr_decay: Scalar | None = None,
    convention: str = "paper",
) -> optax.GradientTransformation:
    """AdaGrad: `G <- G + g^2; w <- w - lr g / (sqrt(G) + eps)`.

    Args:
        learning_rate: lr, a number >= 0, a traced scalar, or an Optax schedule of the step from 0.
        eps: keeps the quotient finite, > 0; None is the convention's (1e-8; "torch" 1e-10, the others 1e-7).
        initial_accumulator: G before the first step, >= 0; None is the convention's (0; "optax" and
            "keras" 0.1).
        lr_decay: the rate falls as `lr / (1 + (t - 1) lr_decay)`, >= 0; only in "torch", where None is 0.
        convention: "paper", "torch", or "optax" and "keras" (`sqrt(G + eps)`).

    Raises:
        ValueError: a number outside its range, an unknown convention, or lr_decay in one without it.
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
    form = settle("adagrad", convention, eps=eps, initial_accumulator=initial_accumulator, lr_decay=lr_decay)
    check_learning_rate(learning_rate)
    check_scalar("eps", form.eps, 0, open_low=True)
    check_scalar("initial_accumulator", form.initial_accumulator, 0)
    check_scalar("lr_decay", form.lr_decay, 0)

    def init(params: Params) -> AdagradState:
        check_trainable("params", params)
        return AdagradState(no_updates(), accumulators(params, form.initial_accumulator, real=True))

    def update(updates: Params, state: AdagradState, params: Params | None = None) -> tuple[Params, AdagradState]:
        check_own(state, AdagradState)
        rate = rate_at(learning_rate, state.count)

        def rule(number: Numbers, g: Array, G: Array, w: Array | None) -> tuple[Array, Array]:
            del w
            g = bounded(g)
            # A sum of many such squares may still overflow; jnp.minimum would take three times as long.
            G, most = G + square(g), jnp.finfo(G.dtype).max
            G = jnp.where(most < G, most, G)
            lr, eps = number(rate), number(form.eps)
            lr = lr if is_zero(form.lr_decay) else lr / (1 + state.count * number(form.lr_decay))
            return -lr * g / (root(G + eps) if form.eps_inside else root(G) + eps), G

        changes, G = leafwise(rule, updates, state.G, params=params)
        return changes, AdagradState(one_more(state.count), G)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
