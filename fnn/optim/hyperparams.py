"""Hyperparameters as part of the optimizer's state."""

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping
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
    return _named(opt_state)


def replace_hyperparams(opt_state: OptState, hyperparams: Mapping[str, Any]) -> OptState:
    """The state of an optimizer with other hyperparameters, by the names of `hyperparams_of`; the rest stays.

    A number that a schedule gives is set by the schedule again at the next update.

    Args:
        opt_state: the state of `with_hyperparams(...)`, at any depth; also that of a population, stacked.
        hyperparams: the new numbers, each of the shape of the old one; they may be traced.

    Raises:
        ValueError: a name that the state does not hold, or another shape.

    Example:
        >>> state = with_hyperparams(fnn.optim.sgd, learning_rate=0.5).init(jnp.zeros(2))
        >>> hyperparams_of(replace_hyperparams(state, {"learning_rate": 0.25}))
        {'learning_rate': Array(0.25, dtype=float32)}
    """
    known = hyperparams_of(opt_state)
    for name, value in hyperparams.items():
        if name not in known:
            raise ValueError(
                message("hyperparams", repr(name), f"a name that the state holds ({', '.join(known) or 'none'})")
            )
        if np.shape(value) != np.shape(known[name]):
            raise ValueError(message(name, f"shape {np.shape(value)}", f"shape {np.shape(known[name])}"))
    # The numbers are counted in one fixed order, and the count in their place tells the name of each.
    counted = itertools.count()
    names = {place: name for name, place in _named(_each_number(opt_state, lambda _: next(counted))).items()}
    places = itertools.count()

    def new(old: Array) -> Array:
        value = hyperparams.get(names.get(next(places), ""))
        return old if value is None else jnp.asarray(value, old.dtype)

    return _each_number(opt_state, new)


def _named(opt_state: OptState) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, HyperparamsState)):
        if isinstance(node, HyperparamsState):
            for name, value in (node.hyperparams | _named(node.inner)).items():
                again = sum(known.rstrip("0123456789").rstrip("_") == name for known in found)
                found[f"{name}_{again}" if again else name] = value
    return found


def _each_number(opt_state: OptState, change: Callable[[Any], Any]) -> OptState:
    """Changes every hyperparameter that a state holds, in one fixed order."""

    def node(x: Any) -> Any:
        if not isinstance(x, HyperparamsState):
            return x
        numbers = {name: change(value) for name, value in x.hyperparams.items()}
        return HyperparamsState(x.count, numbers, _each_number(x.inner, change))

    return jax.tree.map(node, opt_state, is_leaf=lambda x: isinstance(x, HyperparamsState))


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
