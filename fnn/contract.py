"""The contract of a layer, held where its functions are called, so that a slip in one of your own is named.

All of it looks at Python types, while JAX traces: a compiled program holds nothing of it.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fnn.errors import check_array, kind, message
from fnn.typing import Array, Key, Params, State

_INIT = "init(key, x)"
_APPLY = "apply(params, state, x, *, train=False, key=None)"
_REMEDIES = {"init": ("(params, state)", "Return params, {}."), "apply": ("(outputs, state)", "Return y, state.")}


def check_parts(name: Any, init: Any, apply: Any) -> None:
    """Refuses what no layer is made of: a name that is missing, functions that take other arguments."""
    if not isinstance(name, str):
        got = f"the function {name.__name__}" if inspect.isfunction(name) else kind(name)
        raise TypeError(message("name", got, "a string", 'The name comes first: Layer("mine", init, apply).'))
    for part, function in (("init", init), ("apply", apply)):
        if not callable(function):
            form = f"the function {_INIT if part == 'init' else _APPLY}"
            remedy = 'Such as Layer("mine", init, apply).'
            raise TypeError(message(f"layer '{name}', {part}", kind(function), form, remedy))
    check_signatures(name, init, apply)


def check_signatures(name: str, init: Callable[..., Any], apply: Callable[..., Any]) -> None:
    """Refuses functions that cannot be called as those of a layer are."""
    if (given := _unlike(init, None, None)) is not None:
        remedy = "Of x it uses the shape and the dtype."
        raise TypeError(message(f"layer '{name}'", f"init{given}", _INIT, remedy))
    if (given := _unlike(apply, None, None, None, train=False, key=None)) is not None:
        remedy = "It takes all of them, those too that it does not use."
        raise TypeError(message(f"layer '{name}'", f"apply{given}", _APPLY, remedy))


def initialized(layer: Any, key: Key, x: Any) -> tuple[Params, State]:
    """`layer.init(key, x)`, refused where it returns anything but (params, state), or looks at numbers of a shape."""
    try:
        returned = layer.init(key, x)
    except (TypeError, AttributeError) as error:
        # The mean of a shape, an entry of it, a sum: each such error names its type. An inner layer's is told already.
        text = str(error)
        if not isinstance(x, jax.ShapeDtypeStruct) or "ShapeDtypeStruct" not in text or text.startswith("layer '"):
            raise
        got = f"an init that looks at the numbers of x ({text.rstrip('.')})"
        expected = "one that uses x.shape and x.dtype alone"
        remedy = "x is only a shape there. Numbers taken from data are an argument of what makes the layer."
        raise TypeError(message(f"layer '{_name(layer)}'", got, expected, remedy)) from error
    return check_returned(layer, "init", returned)


def applied(
    layer: Any, params: Params, state: State, x: Array, train: bool = False, key: Key | None = None
) -> tuple[Array, State]:
    """`layer.apply(params, state, x, train=train, key=key)`, refused where it returns anything but (y, state)."""
    return check_returned(layer, "apply", layer.apply(params, state, x, train=train, key=key))


def check_returned(layer: Any, function: str, returned: Any) -> tuple[Any, Any]:
    """Refuses what `init` or `apply` may not return; else returns it."""
    expected, remedy = _REMEDIES[function]
    if isinstance(returned, tuple) and len(returned) == 2:
        first, state = returned
        swapped = isinstance(first, dict) and _is_array(state)
        if first is not None and state is not None and not _is_array(state):
            return first, state
        got = f"({kind(first)}, {kind(state)})"
        remedy = (
            remedy if swapped else f"The state is a dict, {{}} where there is none: {remedy[0].lower()}{remedy[1:]}"
        )
    else:
        got = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else kind(returned)
    raise TypeError(message(f"layer '{_name(layer)}', result of {function}", got, expected, remedy))


def check_example(argument: str, x: Any) -> None:
    """Refuses what is not an example batch or its shape, and says how to make one of it."""
    if not isinstance(x, tuple):
        return check_array(argument, x)
    got, remedy = kind(x), "Give its first part: data[0]."
    if hasattr(x, "train"):
        remedy = "Give the x of one part: data.train.x."
    elif hasattr(x, "x"):
        remedy = "Give its x: data.x."
    elif all(isinstance(size, int | np.integer) for size in x):
        shape = tuple(map(int, x))
        got, remedy = f"the shape {shape}", f"Give jnp.zeros({shape})."
    raise TypeError(message(argument, got, "an example batch or its jax.ShapeDtypeStruct", remedy))


def _unlike(function: Callable[..., Any], *args: Any, **keywords: Any) -> inspect.Signature | None:
    """How a function is to be called, where it is not so; None too where that cannot be known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*args, **keywords)
    except TypeError:
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        return signature.replace(parameters=bare, return_annotation=signature.empty)
    return None


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def _name(layer: Any) -> str:
    return str(getattr(layer, "name", type(layer).__name__))
