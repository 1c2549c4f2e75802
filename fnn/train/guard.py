"""A step that is not taken where its result is not finite."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnn.train.state import TrainState
from fnn.train.supervised import heeds_weights, takes_weights
from fnn.tree import total
from fnn.typing import Array, Batch, Metrics

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def guarded(step: Step) -> Step:
    """The step, not taken where it is not finite: then the state comes back as it was, bit for bit.

    Its metrics hold `finite`, 1 or 0.

    Example:
        >>> step = guarded(lambda state, batch: (state._replace(step=state.step + 1), {"loss": batch.sum()}))
        >>> state = TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
        >>> int(step(state, jnp.ones(2))[0].step), int(step(state, jnp.array([1.0, jnp.nan]))[0].step)
        (1, 0)
    """

    def careful(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        new, metrics = step(state, batch)
        finite = is_finite(state, new, metrics)
        return chosen(finite, new, state), {**metrics, "finite": finite.astype(jnp.float32)}

    marked: Any = takes_weights(careful) if heeds_weights(step) else careful
    marked.unguarded = step
    return marked


def holding(step: Step) -> Callable[[tuple[TrainState, Array], Batch], tuple[tuple[TrainState, Array], Metrics]]:
    """A step that takes no other after one that is not finite: the state goes with the flag whether it still trains.

    Example:
        >>> step = holding(lambda state, batch: (state._replace(step=state.step + 1), {"loss": batch.sum()}))
        >>> held = TrainState(jnp.array(0), {}, {}, (), jax.random.key(0)), jnp.array(True)
        >>> for batch in (jnp.ones(2), jnp.full(2, jnp.inf), jnp.ones(2)):
        ...     held, _ = step(held, batch)
        >>> int(held[0].step), bool(held[1])
        (1, False)
    """

    def held_step(held: tuple[TrainState, Array], batch: Batch) -> tuple[tuple[TrainState, Array], Metrics]:
        state, going = held
        new, metrics = step(state, batch)
        going = going & is_finite(state, new, metrics)
        return (chosen(going, new, state), going), metrics

    return held_step


def unguarded(step: Any) -> Any:
    """The step inside a guarded one; any other step as it is.

    Example:
        >>> step = lambda state, batch: (state, {})
        >>> unguarded(guarded(step)) is step, unguarded(step) is step
        (True, True)
    """
    return getattr(step, "unguarded", step)


def is_finite(old: TrainState, new: TrainState, metrics: Metrics) -> Array:
    """Whether loss and gradient norm are finite, and nothing that was finite in the state is so no more.

    An optimizer may hold an infinity from the start, such as the best loss so far.

    Example:
        >>> state = TrainState(jnp.array(0), {"w": jnp.array(jnp.inf)}, {}, (), jax.random.key(0))
        >>> is_finite(state, state, {"loss": jnp.array(1.0)})
        Array(True, dtype=bool)
    """
    told = [jnp.all(jnp.isfinite(metrics[name])) for name in ("loss", "grad_norm") if name in metrics]
    held = ((s.params, s.model_state, s.opt_state) for s in (old, new))
    pairs = zip(*map(jax.tree.leaves, held), strict=True)
    spoiled = [jnp.isfinite(a) & ~jnp.isfinite(b) for a, b in pairs if jnp.issubdtype(b.dtype, jnp.inexact)]
    # Counted, since XLA's CPU backend takes a sum by a product, and `any` one number after another.
    return jnp.stack([total([bad.astype(jnp.float32) for bad in spoiled]) == 0, *told]).all()


def chosen(first: Array, a: Any, b: Any) -> Any:
    """The leaves of a where `first` holds, else those of b; what both share stays as it is.

    Example:
        >>> chosen(jnp.array(False), {"w": jnp.ones(2)}, {"w": jnp.zeros(2)})
        {'w': Array([0., 0.], dtype=float32)}
    """
    return jax.tree.map(lambda x, y: x if x is y else jnp.where(first, x, y), a, b)
