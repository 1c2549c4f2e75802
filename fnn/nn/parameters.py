"""What every layer with parameters shares: the drawing of the first ones, and the check that some fit."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import check_floating, message
from fnn.typing import Array, DType, Initializer, Key, Params, Shape


def drawn(argument: str, draw: Initializer, key: Key, shape: Shape, dtype: DType) -> Array:
    """What an initializer draws, refused where it is not an array of this shape and dtype.

    Args:
        argument: the name of the layer's argument that the initializer came as.
        draw: the initializer.
        key: one typed key.
        shape: of the parameter.
        dtype: of the parameter.

    Raises:
        ValueError: it draws something else, as a factory that was not called does.

    Example:
        >>> drawn("b_init", fnn.initializers.zeros, jax.random.key(0), (2,), jnp.float32)
        Array([0., 0.], dtype=float32)
    """
    p = draw(key, shape, dtype)
    # A size may be one of NumPy's integers.
    expected = f"{jnp.dtype(dtype)}{[int(size) for size in shape]}"
    got = f"{p.dtype}{list(p.shape)}" if isinstance(p, jax.Array | np.ndarray) else f"a {type(p).__name__}"
    if got != expected:
        remedy = "An initializer draws: (key, shape, dtype) -> Array. A factory is called first: he()."
        raise ValueError(message(f"what {argument} draws", got, expected, remedy))
    return jnp.asarray(p)


def check_fit(layer: str, params: Params, x: Array, shapes: Mapping[str, Shape]) -> None:
    """Refuses parameters that are not a dict of exactly these shapes, each in the dtype of x.

    Args:
        layer: the layer's name, for the message.
        params: its parameters, as `apply` got them.
        x: the input, floating-point.
        shapes: of each parameter, by name.

    Raises:
        ValueError: other entries or other shapes: none broadcasts in silence.
        TypeError: a parameter is not of floating-point numbers, or of another dtype than x.

    Example:
        >>> check_fit("dense", {"b": jnp.zeros(2)}, jnp.ones((1, 3)), {"b": (2,)})
    """
    check_entries(f"params of {layer}", params, shapes)
    for name in shapes:
        check_floating(name, params[name])
    for name, shape in shapes.items():
        p = params[name]
        if p.shape != tuple(shape):
            remedy = "These are another layer's: make them with init."
            raise ValueError(message(f"params of {layer}, {name}", f"shape {p.shape}", f"shape {tuple(shape)}", remedy))
        dtype = jax.dtypes.canonicalize_dtype(p.dtype)
        if x.dtype != dtype:
            cast = f"Cast it: x.astype({dtype})."
            raise TypeError(message("x", f"dtype {x.dtype}", f"{dtype}, as {name} is", cast))


def check_entries(argument: str, tree: Any, names: Mapping[str, Any]) -> None:
    """Refuses what is not a dict with exactly these entries.

    Example:
        >>> check_entries("params of dense", {"w": 1.0}, {"w": (1, 1)})
    """
    if not isinstance(tree, dict) or set(tree) != set(names):
        got = f"entries {sorted(map(str, tree))}" if isinstance(tree, dict) else f"a {type(tree).__name__}"
        raise ValueError(message(argument, got, f"entries {sorted(names)}", "Make them with init."))


def check_last_axis(x: Array, params: Params, name: str, ndim: int, remedy: str = "") -> None:
    """Refuses x whose last axis is not the first of a parameter that has the right number of axes.

    A parameter of another kind is left to `check_fit`.

    Example:
        >>> check_last_axis(jnp.ones((5, 3)), {"w": jnp.ones((3, 2))}, "w", 2)
    """
    shape: Any = getattr(params.get(name), "shape", ()) if isinstance(params, dict) else ()
    if len(shape) == ndim and x.shape[-1] != shape[0]:
        raise ValueError(message("x", f"shape {x.shape}", f"last axis {shape[0]}, as {name} is {shape}", remedy))
