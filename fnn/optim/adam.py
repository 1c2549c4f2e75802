"""Adam."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from fnn.errors import check_flag, check_scalar, is_zero
from fnn.optim.conventions import settle
from fnn.optim.decay import Mask, check_decaying, decaying
from fnn.optim.leafwise import (
    Numbers,
    accumulators,
    average_weight,
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


class AdamState(NamedTuple):
    """How many updates there were, and trees shaped like the parameters.

    Attributes:
        count: the number of updates.
        m: the average of g.
        v: the average of |g|^2.
        v_max: the largest v so far; None without `amsgrad`.
    """

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    m: Params
    v: Params
    v_max: Params | None


def adam(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar | None = None,
    *,
    weight_decay: Scalar = 0.0,
    decay_mask: Mask | None = None,
    decoupled: bool | None = None,
    amsgrad: bool = False,
    convention: str = "paper",
) -> optax.GradientTransformation:
    """Adam: `w <- w - lr m_hat / (sqrt(v_hat) + eps)`, with bias-corrected averages of g and g^2.

    `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`, `m_hat = m / (1 - b1^t)`,
    `v_hat = v / (1 - b2^t)`, t from 1. `fnn.optim.convention(name, "adam")` prints each convention's form.

    Args:
        learning_rate: lr, a number >= 0, a traced scalar, or an Optax schedule of the step from 0.
        b1: the share of m that stays, in [0, 1).
        b2: the share of v that stays, in [0, 1).
        eps: keeps the quotient finite, > 0; None is the convention's (1e-8; "keras" 1e-7).
        weight_decay: how strongly parameters are drawn to 0, >= 0.
        decay_mask: which parameters decay, a tree of True and False like them, or a function that makes one:
            `fnn.tree.weight_mask` leaves out biases and normalizations. None is all.
        decoupled: True decays beside the step, `w <- w - lr weight_decay w` (AdamW); False through the
            gradient, `g <- g + weight_decay w` (L2). None is the convention's (True; "torch" False).
        amsgrad: divide by the root of the largest v so far.
        convention: "paper", "optax", "torch", or "keras" (eps beside the root of v, not of v_hat). The
            first three differ in amsgrad and in weight decay alone.

    Raises:
        ValueError: a number outside its range, an unknown convention, weight decay without parameters, or a
            mask that is another tree.
        TypeError: a parameter has no gradient, such as integers; the leaf is named.

    Example:
        Three steps with gradients 8, 11 and 41.5. The first is `lr sign(g)` whatever the size of g; then
        m_hat = 10, 28 and v_hat = 676/7, 29584/37.

        >>> tx = adam(1.0, b1=0.5, b2=0.75)
        >>> w, state = jnp.array(0.0), tx.init(jnp.array(0.0))
        >>> for g in (8.0, 11.0, 41.5):
        ...     updates, state = tx.update(jnp.array(g), state, w)
        ...     print(f"{float(state.m)} {float(state.v)} {float(updates):.4f}")
        4.0 16.0 -1.0000
        7.5 42.25 -1.0176
        24.5 462.25 -0.9902

    Source: Kingma and Ba 2015, "Adam", algorithm 1; Loshchilov and Hutter 2019, "Decoupled weight decay
    regularization", algorithm 2; Reddi et al. 2018, "On the convergence of Adam and beyond", algorithm 2.
    """
    form = settle("adam", convention, eps=eps, decoupled=decoupled)
    check_learning_rate(learning_rate)
    check_scalar("b1", b1, 0, 1)
    check_scalar("b2", b2, 0, 1)
    check_scalar("eps", form.eps, 0, open_low=True)
    check_scalar("weight_decay", weight_decay, 0)
    check_flag("decoupled", form.decoupled)
    check_flag("amsgrad", amsgrad)

    def init(params: Params) -> AdamState:
        check_decaying(weight_decay, params, decay_mask)
        v_max = accumulators(params, real=True) if amsgrad else None
        return AdamState(no_updates(), accumulators(params), accumulators(params, real=True), v_max)

    def update(updates: Params, state: AdamState, params: Params | None = None) -> tuple[Params, AdamState]:
        check_own(state, AdamState, v_max=amsgrad)
        params = decaying(weight_decay, params, decay_mask)
        rate, t = rate_at(learning_rate, state.count), one_more(state.count)

        def rule(number: Numbers, g: Array, m: Array, v: Array, v_max: Array | None, w: Array | None) -> list[Any]:
            beta1, beta2, lr, e, share = (number(x) for x in (b1, b2, rate, form.eps, weight_decay))
            # Numbers first: a constant rate of 1, which drops out, then has the bits of any other.
            decay = 0 if w is None or is_zero(weight_decay) else (lr if form.decoupled else 1) * share * w
            g = bounded(g if form.decoupled else g + decay)
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * square(g)
            corrected = form.amsgrad_corrected or not amsgrad
            c1, c2 = (number.of(average_weight, beta, t) if corrected else number(1) for beta in (beta1, beta2))
            c, largest = root(c2), v
            if v_max is not None:
                largest = v_max = jnp.maximum(v_max, v / c2 if form.max_of_corrected else v)
                c = number(1) if form.max_of_corrected else c
            # One root and one division an element: all else that divides is a scalar.
            spread = (root(largest) + e) / c if form.eps_hat else root(largest) / c + e
            return [-(lr / c1 * m / spread + (decay if form.decoupled else 0)), m, v, v_max]

        changes, m, v, v_max = leafwise(rule, updates, state.m, state.v, state.v_max, params=params)
        return changes, AdamState(t, m, v, v_max)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
