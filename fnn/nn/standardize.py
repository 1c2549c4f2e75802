"""Pixels or features to numbers about 0, as a layer."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.errors import check_array, check_values, is_traced, message
from fnn.nn.layer import Layer, stateless
from fnn.typing import Array


def standardize(mean: ArrayLike | Sequence[float] = 0.0, stddev: ArrayLike | Sequence[float] = 1.0) -> Layer:
    """Subtracts a mean and divides by a standard deviation, `y = (x - mean) / stddev`.

    uint8 pixels count as x / 255 first, so that they and pixels in [0, 1] give the same. So a data set
    stays uint8 on the device, a quarter of its size, and becomes numbers inside the step.

    Args:
        mean: a number, or one for each channel, of pixels in [0, 1]; it may be traced.
        stddev: likewise, > 0.

    Returns:
        A layer without parameters from x (n, ..., channels) to y of the same shape, float32 for uint8 and of
        x's own dtype otherwise.

    Raises:
        ValueError: a stddev that is not positive, a number that is not finite, or not one for each channel.
        TypeError: x is neither uint8 nor floating.

    Example:
        >>> layer = standardize(mean=0.5, stddev=0.5)
        >>> layer.apply({}, {}, jnp.array([[0, 255]], jnp.uint8))[0]
        Array([[-1.,  1.]], dtype=float32)

    Source: LeCun et al. 1998, "Efficient backprop", section 4.3.
    """
    # NumPy cannot tell the shape of a list with tracers in it.
    mean, stddev = (jnp.asarray(v) if isinstance(v, Sequence) and is_traced(v) else v for v in (mean, stddev))
    _check("mean", mean)
    _check("stddev", stddev)

    def function(x: Array) -> Array:
        check_array("x", x)
        pixels = x.dtype == jnp.uint8
        if not pixels and not jnp.issubdtype(x.dtype, jnp.floating):
            remedy = "Only uint8 is known to count to 255: cast others, x.astype(jnp.float32)."
            raise TypeError(message("x", f"dtype {x.dtype}", "uint8 or floating-point numbers", remedy))
        for name, value in (("mean", mean), ("stddev", stddev)):
            if np.shape(value) not in ((), np.shape(x)[-1:]):
                got = f"{np.shape(value)[0]} numbers for x of shape {np.shape(x)}"
                raise ValueError(message(name, got, "one number, or one for each channel, x's last axis"))
        wide = jnp.dtype(jnp.float32) if pixels else jnp.promote_types(x.dtype, jnp.float32)
        numbers = jnp.asarray(x).astype(wide) / (255 if pixels else 1)
        y = (numbers - jnp.asarray(mean, wide)) / jnp.asarray(stddev, wide)
        return y.astype(wide if pixels else x.dtype)

    return stateless("standardize", function)


def _check(argument: str, value: Any) -> None:
    expected = "a finite number, or one for each channel" if argument == "mean" else "numbers > 0"
    numeric = isinstance(value, int | float | list | tuple) or hasattr(value, "dtype")
    numeric = numeric and not isinstance(value, bool)
    shape = np.shape(value) if numeric else ()
    if not numeric or len(shape) > 1 or shape == (0,):
        got = f"a {type(value).__name__}" if not numeric else f"shape {shape}"
        raise (ValueError if numeric else TypeError)(message(argument, got, expected))
    if is_traced(value):
        return
    dtype = jnp.result_type(float)
    known = np.asarray(value)
    if not (jnp.issubdtype(known.dtype, jnp.floating) or jnp.issubdtype(known.dtype, jnp.integer)):
        raise TypeError(message(argument, f"dtype {known.dtype}", expected))
    # As JAX holds it: in float32, what is below the least normal number is 0.
    least = float(jnp.finfo(dtype).tiny) if argument == "stddev" else -np.inf
    with np.errstate(over="ignore", under="ignore"):
        held = known.astype(dtype)
    remedy = "A channel that never varies: give it 1." if argument == "stddev" else ""
    check_values(argument, held, lambda v: np.isfinite(v) & (v >= least), expected, remedy)
