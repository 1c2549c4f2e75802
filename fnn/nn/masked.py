"""Networks of many widths in one program: the units beyond a traced number are held at zero."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from fnn import initializers
from fnn.errors import check_floating, check_scalar, concrete, message
from fnn.nn.layer import Layer, stateless
from fnn.typing import Array, Initializer, Scalar


def keep_units(count: Scalar) -> Layer:
    """Keeps the first units and holds the others at zero, `y_j = x_j if j < count else 0`.

    No gradient goes through a unit that is held, nor into the weights that leave it: the network is the
    narrower one, whatever its other weights are.

    Args:
        count: how many units are kept; it may be traced.

    Raises:
        ValueError: count below 1.
        TypeError: x is not of floating-point numbers.

    Example:
        >>> keep_units(2).apply({}, {}, jnp.ones((1, 4)))[0]
        Array([[1., 1., 0., 0.]], dtype=float32)
    """
    check_scalar("count", count, 1)

    def keep(x: Array) -> Array:
        check_floating("x", x)
        return jnp.where(jnp.arange(x.shape[-1]) < count, x, 0)

    return stateless("keep_units", keep)


def check_active(active: Any, widths: Sequence[int], norm: Callable[[], Layer] | None) -> Sequence[Scalar]:
    """Refuses what is not one number of active units for each hidden layer, and a norm that mixes units.

    Example:
        >>> check_active([16], [64, 10], None)
        [16]
    """
    hidden = len(widths) - 1
    if not isinstance(active, Sequence) or len(active) != hidden:
        got = f"{len(active)} numbers" if isinstance(active, Sequence) else f"a {type(active).__name__}"
        raise ValueError(message("active", got, f"a list of {hidden}, one for each hidden layer"))
    for position, (count, width) in enumerate(zip(active, widths, strict=False)):
        check_scalar(f"active[{position}]", count, 1)
        known = concrete(count)
        if known is not None and (known > width).any():
            raise ValueError(message(f"active[{position}]", known.max(), f"at most the {width} units of that layer"))
    if norm is not None and (name := norm().name) != "batch_norm":
        raise ValueError(message("norm", name, "batch_norm or None with active", "Others take means over all units."))
    return active


def of_active(initializer: str | Initializer | None, fan_in: Scalar | None, fan_out: Scalar | None) -> Any:
    """The initializer with the variance of a layer of so many inputs and outputs; None is that of the shape.

    One whose variance does not follow from the fans (gaussian, or your own) stays as it is.

    Example:
        >>> narrow = of_active(initializers.he(), fan_in=4, fan_out=None)
        >>> bool(abs(narrow(jax.random.key(0), (100, 100)).std() - (2 / 4) ** 0.5) < 0.02)
        True
    """
    drawn = initializers.get("normalized_xavier" if initializer is None else initializer)
    return replace(drawn, fan_in=fan_in, fan_out=fan_out) if isinstance(drawn, initializers.ByFans) else drawn
