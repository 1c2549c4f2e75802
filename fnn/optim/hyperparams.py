"""Hyperparameters as part of the optimizer's state."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnn.errors import check_callable, message
from fnn.optim.leafwise import no_updates, one_more
from fnn.typing import Array, OptState, Params


class HyperparamsState(NamedTuple):
    """An optimizer's state, and its numbers beside it.

    Attributes:
        count: the number of updates.
        hyperparams: each number by name, float32, as the last update used it. Replace one between steps;
            a scheduled one is set by its schedule again.
        inner: the state of the optimizer itself.
    """

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    hyperparams: dict[str, Array]
    inner: OptState


def with_hyperparams(factory: Callable[..., optax.GradientTransformation], **hyperparams: Any) -> Any:
    """An optimizer whose numbers are float32 leaves of its state: seen, saved, swept and changed between steps.

    Its updates are those of `factory(**hyperparams)`, bit for bit. `make_step` reports the numbers as metrics.

    Args:
        factory: makes an optimizer, `fnn.optim.adam` or one of Optax's; every float of it may be traced.
        **hyperparams: its arguments. Floats, arrays of shape () and schedules become leaves; None, booleans,
            integers and strings choose a form and stay as they are. What else a factory takes is given
            beforehand: `functools.partial(factory, mask=...)`.

    Returns:
        A `optax.GradientTransformation` with a `HyperparamsState`.

    Raises:
        ValueError: there is no float and no schedule; whatever `factory` raises.
        TypeError: an argument that the factory does not have, or of another kind.

    Example:
        >>> tx = with_hyperparams(fnn.optim.momentum, learning_rate=1.0, beta=0.5)
        >>> state = tx.init(jnp.array(0.0))
        >>> state.hyperparams["beta"] = jnp.float32(0.75)
        >>> updates, state = tx.update(jnp.array(8.0), state)
        >>> float(updates)
        -2.0
    """
    check_callable("factory", factory, "a function that makes an optimizer", "Such as fnn.optim.adam.")
    _check_names(factory, hyperparams)
    schedules = {name: value for name, value in hyperparams.items() if callable(value)}
    numbers = {name: value for name, value in hyperparams.items() if _is_number(value)}
    forms = {name: value for name, value in hyperparams.items() if name not in schedules and name not in numbers}
    for name, value in forms.items():
        if not (value is None or isinstance(value, bool | int | str)):
            remedy = f"Give it beforehand: functools.partial(factory, {name}=...)."
            raise TypeError(message(name, f"a {type(value).__name__}", "a float, a schedule, or a choice", remedy))
    if not (schedules or numbers):
        raise ValueError(
            message("hyperparams", "no float and no schedule", "at least one", "Such as learning_rate=0.1.")
        )
    # The factory looks at the values now, while they are known.
    factory(**hyperparams | {name: schedule(no_updates()) for name, schedule in schedules.items()})

    def at(count: Array, kept: dict[str, Array]) -> dict[str, Array]:
        return kept | {name: jnp.asarray(schedule(count), jnp.float32) for name, schedule in schedules.items()}

    def init(params: Params) -> HyperparamsState:
        start = {name: jnp.asarray(value, jnp.float32) for name, value in numbers.items()}
        values = at(no_updates(), start)
        return HyperparamsState(no_updates(), values, factory(**forms, **values).init(params))

    def update(
        updates: Params, state: HyperparamsState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, HyperparamsState]:
        values = at(state.count, state.hyperparams)
        tx = optax.with_extra_args_support(factory(**forms, **values))
        updates, inner = tx.update(updates, state.inner, params, **extra)
        return updates, HyperparamsState(one_more(state.count), values, inner)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def hyperparams_of(opt_state: OptState) -> dict[str, Array]:
    """The hyperparameters that an optimizer's state holds, at any depth, by name.

    Of a name that occurs again, the later ones are numbered: "learning_rate", "learning_rate_1".

    Example:
        >>> tx = optax.chain(optax.clip_by_global_norm(1.0), with_hyperparams(fnn.optim.sgd, learning_rate=0.5))
        >>> hyperparams_of(tx.init(jnp.zeros(2)))
        {'learning_rate': Array(0.5, dtype=float32)}
    """
    found: dict[str, Array] = {}
    for node in jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, HyperparamsState)):
        if isinstance(node, HyperparamsState):
            for name, value in (node.hyperparams | hyperparams_of(node.inner)).items():
                again = sum(known.rstrip("0123456789").rstrip("_") == name for known in found)
                found[f"{name}_{again}" if again else name] = value
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.floating | np.ndarray | jax.Array)


def _check_names(factory: Callable[..., Any], hyperparams: dict[str, Any]) -> None:
    inner = factory
    while isinstance(inner, functools.partial):
        inner = inner.func
    try:
        inspect.signature(factory).bind(**hyperparams)
    except TypeError as error:
        raise TypeError(f"hyperparams: {getattr(inner, '__name__', 'factory')} {error}") from error
