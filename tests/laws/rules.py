"""The five rules, written anew: each recurrence in a few lines, in which one fault at a time can be planted.

Their names are their claims: the law kit takes `adam` for Adam. `tests/laws/mutants.py` lists the faults.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnn.optim.leafwise import average_weight, bounded, one_more, root, square
from tests.laws.engine import transform


def sgd(learning_rate: Any, weight_decay: Any = 0.0, *, fault: str = "") -> optax.GradientTransformation:
    """The direction is g."""

    def rule(n: Any, g: Any, t: Any) -> tuple[Any, ...]:
        del n, t
        return (g,)

    return transform(rule, (), learning_rate, weight_decay, fault)


def momentum(
    learning_rate: Any,
    beta: Any = 0.9,
    dampening: Any = 0.0,
    *,
    nesterov: bool = False,
    average: bool = False,
    fault: str = "",
) -> optax.GradientTransformation:
    """Optax's form `v <- beta v + g`, or the average; dampening as PyTorch has it."""
    if fault == "zero_beta_is_unset":
        beta = beta or 0.9

    def rule(n: Any, g: Any, t: Any, v: Any) -> tuple[Any, ...]:
        b, old = n(beta), v
        inflow = (1 - b) * g if average and fault != "average_forgotten" else g
        first = 1 - n(dampening) if fault == "dampens_the_first_step" else 1
        inflow = jnp.where(t == 1, first, 1 - n(dampening)) * inflow
        if fault == "average_twice":
            inflow = (1 - b) * inflow
        v = b * v + inflow
        if fault == "velocity_of_yesterday":
            return old, v
        if fault == "velocity_forgets":
            v = inflow
        if fault == "velocity_never_decays":
            v = old + inflow
        if nesterov and fault == "nesterov_twice":
            return b * (b * v + inflow) + inflow, v
        return (b * v + inflow if nesterov and fault != "nesterov_left_out" else v), v

    return transform(rule, (complex,), learning_rate, 0.0, fault)


def rmsprop(
    learning_rate: Any,
    decay: Any = 0.9,
    eps: Any = 1e-8,
    momentum: Any = 0.0,
    *,
    centered: bool = False,
    fault: str = "",
) -> optax.GradientTransformation:
    """PyTorch's form: eps beside the root, the rate outside of the velocity."""

    def rule(n: Any, g: Any, t: Any, v: Any, m: Any, u: Any) -> tuple[Any, ...]:
        d, g, old = n(decay), bounded(g), v
        if fault == "stores_the_root":
            v = jnp.sqrt(d * square(v) + (1 - d) * square(g))
            return g / (v + n(eps)), v, m, u
        if not centered:
            v = d * v + ((1 - d) * g if fault == "no_square" else (1 - d) * square(g))
        elif fault in ("mean_of_squares_less_square", "centered_by_m"):
            v, m = d * v + n(1 - decay) * square(g), d * m + n(1 - decay) * g
        else:
            v, m = d * v + d * (1 - d) * square(g - m), d * m + (1 - d) * g
        spread = old if fault == "divides_by_yesterday" else v
        if fault == "mean_of_squares_less_square":
            spread = v - square(m)
        elif fault == "centered_by_m":
            spread = v - m
        move = g / (root(spread) + n(eps))
        if fault == "eps_inside":
            move = g / root(spread + n(eps))
        elif fault == "no_eps":
            move = g / root(spread)
        elif fault == "plain_root":
            move = g / (jnp.sqrt(spread) + n(eps))
        elif fault == "no_root":
            move = g / (spread + n(eps))
        elif fault == "eps_is_added_to_g":
            move = (g + n(eps)) / (root(spread) + n(eps))
        u = move if fault == "velocity_left_out" else n(momentum) * u + move
        return u, v, m, u

    return transform(rule, (float, complex, complex), learning_rate, 0.0, fault)


def adagrad(learning_rate: Any, eps: Any = 1e-8, *, fault: str = "") -> optax.GradientTransformation:
    """The paper's diagonal form."""

    def rule(n: Any, g: Any, t: Any, total: Any) -> tuple[Any, ...]:
        g, old = bounded(g), total
        total = total + square(g)
        if fault == "sum_decays":
            total = n(0.9) * old + square(g)
        elif fault == "assigns_the_sum":
            total = square(g)
        elif fault == "mean_for_the_sum":
            total = old + (square(g) - old) / t
        elif fault == "sum_of_sizes":
            total = old + jnp.abs(g)
        elif fault == "sum_grows_twice":
            total = total + square(g)
        elif fault == "sum_after_the_step":
            return g / (root(old) + n(eps)), total
        return g / (root(total) + n(eps)), total

    return transform(rule, (float,), learning_rate, 0.0, fault)


def adam(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    *,
    amsgrad: bool = False,
    fault: str = "",
) -> optax.GradientTransformation:
    """The paper's Adam with decoupled decay; amsgrad takes the largest corrected v, as Optax does."""
    if fault == "betas_swapped":
        b1, b2 = b2, b1
    if fault == "eps_of_a_hundredth":
        eps = 1e-2

    def rule(n: Any, g: Any, t: Any, m: Any, v: Any, *largest: Any) -> tuple[Any, ...]:
        beta1, beta2, e = n(b1), n(b2), n(eps)
        g = g if fault == "squares_overflow" else bounded(g)
        m, v, old = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * square(g), (m, v)
        if fault in _MOMENTS:
            m, v = _MOMENTS[fault](g, *old, beta1, beta2)
        c1, c2 = average_weight(beta1, t), average_weight(beta2, t)
        if fault in _CORRECTIONS:
            c1, c2 = _CORRECTIONS[fault](c1, c2, beta1, beta2, t)
        m_hat, v_hat = m / c1, v / c2
        if fault == "largest_always":
            v, v_hat = jnp.maximum(old[1], v), jnp.maximum(old[1], v) / c2
        if amsgrad and fault != "amsgrad_left_out":
            v_hat = jnp.maximum(largest[0], v_hat)
            largest = (v if fault == "largest_of_the_wrong" else v_hat,)
        spread = root(v_hat) + e
        if fault == "eps_hat":
            spread = (root(v) + e) / root(c2)
        elif fault == "no_root":
            spread = v_hat + e
        elif fault == "plain_root":
            spread = jnp.sqrt(v_hat) + e
        elif fault == "v_in_bfloat16" and v.dtype == jnp.float32:
            spread = root(v.astype(jnp.bfloat16).astype(v.dtype) / c2) + e
        return m_hat / spread, m, v, *largest

    return transform(rule, (complex, float, *([float] if amsgrad else [])), learning_rate, weight_decay, fault)


_MOMENTS: dict[str, Any] = {
    "share_of_g_forgotten": lambda g, m, v, b1, b2: (b1 * m + g, b2 * v + (1 - b2) * square(g)),
    "share_of_square_forgotten": lambda g, m, v, b1, b2: (b1 * m + (1 - b1) * g, b2 * v + square(g)),
    "share_of_g_twice": lambda g, m, v, b1, b2: (b1 * m + (1 - b1) ** 2 * g, b2 * v + (1 - b2) * square(g)),
    "one_beta_for_both": lambda g, m, v, b1, b2: (b1 * m + (1 - b1) * g, b1 * v + (1 - b1) * square(g)),
    "v_of_sizes": lambda g, m, v, b1, b2: (b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * jnp.abs(g)),
    "v_of_m": lambda g, m, v, b1, b2: (b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * square(b1 * m + (1 - b1) * g)),
    "m_of_sizes": lambda g, m, v, b1, b2: (b1 * m + (1 - b1) * jnp.abs(g), b2 * v + (1 - b2) * square(g)),
    "complex_square": lambda g, m, v, b1, b2: (
        b1 * m + (1 - b1) * g,
        b2 * v + (1 - b2) * (square(g) if not jnp.iscomplexobj(g) else (g * g).real),
    ),
}
_CORRECTIONS: dict[str, Any] = {
    "no_correction_of_m": lambda c1, c2, b1, b2, t: (1, c2),
    "no_correction_of_v": lambda c1, c2, b1, b2, t: (c1, 1),
    "no_correction": lambda c1, c2, b1, b2, t: (1, 1),
    "correction_ahead": lambda c1, c2, b1, b2, t: (average_weight(b1, t + 1), average_weight(b2, t + 1)),
    "correction_behind": lambda c1, c2, b1, b2, t: (average_weight(b1, t - 1), average_weight(b2, t - 1)),
    "correction_cancels": lambda c1, c2, b1, b2, t: (1 - b1**t, 1 - b2**t),
    "corrections_swapped": lambda c1, c2, b1, b2, t: (c2, c1),
    "correction_of_the_root": lambda c1, c2, b1, b2, t: (c1, c2 * c2),
}


def guarded(learning_rate: Any, *, fault: str = "") -> optax.GradientTransformation:
    """Adam that skips a step whose gradients are not all finite."""
    inner: Any = adam(learning_rate)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        good = jnp.array([jnp.isfinite(g).all() for g in jax.tree.leaves(updates)] or [True]).all()
        if fault == "guard_decays_the_moments":
            updates = jax.tree.map(lambda g: jnp.where(good, g, jnp.zeros_like(g)), updates)
        changes, new = inner.update(updates, state, params)
        changes = jax.tree.map(lambda u: jnp.where(good, u, jnp.zeros_like(u)), changes)
        if fault != "guard_decays_the_moments":
            new = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, state)
        if fault == "guard_moves_the_counter":
            new = new._replace(steps=one_more(state.steps))
        return changes, new

    return optax.GradientTransformation(inner.init, update)
