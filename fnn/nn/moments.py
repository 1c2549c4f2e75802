"""What the normalization layers share: mean and variance that hold at any mean, and checks of the input."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnn.errors import check_floating, check_scalar, message
from fnn.nn.parameters import check_fit, check_last_axis
from fnn.typing import Array, DType, Params, Scalar

Mean = Callable[[Array], Array]
"""Averages over some axes, and gives what broadcasts against its argument."""


def moments(x: Array, mean: Mean) -> tuple[Array, Array, Array, Array]:
    """Mean and variance in two corrected passes: `d = x - m`, `r = mean(d)`, `var = mean(d^2) - r^2`.

    m is the mean up to rounding, which at mean 1e6 and deviation 1 may be half a deviation; r is the rest. No
    gradient needs m: r and var are the same for every number in its place.

    Args:
        x: in float32 or wider.
        mean: averages over the axes that are normalized.

    Returns:
        m, d, r and var. The mean is m + r, and x without it is d - r.

    Example:
        >>> m, d, r, var = moments(jnp.array([1e6, 1e6 + 2]), jnp.mean)
        >>> print(m + r, d - r, var)
        1.000001e+06 [-1.  1.] 1.0

    Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 1.7.
    """
    m = jax.lax.stop_gradient(mean(x))
    d = x - m
    r = mean(d)
    var = mean(jnp.square(d)) - jnp.square(r)
    # Of equal numbers it is 0 up to rounding; at 0 the derivatives of the difference are right as they are.
    return m, d, r, jnp.where(var < 0, 0, var)


def widened(x: Any) -> Array:
    """An array in float32 or wider.

    Example:
        >>> widened(jnp.ones(2, jnp.bfloat16)).dtype
        dtype('float32')
    """
    x = jnp.asarray(x)
    return x.astype(wide(x.dtype))


def wide(dtype: DType) -> DType:
    """The dtype of statistics: float32 or wider.

    Example:
        >>> wide(jnp.float16)
        dtype('float32')
    """
    return jnp.promote_types(jax.dtypes.canonicalize_dtype(dtype), jnp.float32)


def check_eps(eps: Scalar) -> None:
    """Refuses an eps that is not a number > 0: of equal numbers the variance is 0.

    Example:
        >>> check_eps(1e-5)
    """
    check_scalar("eps", eps, 0, open_low=True)


def check_channels(x: Any) -> None:
    """Refuses what is not a batch of floating-point numbers with channels as its last axis.

    Example:
        >>> check_channels(jnp.ones((2, 3)))
    """
    check_floating("x", x)
    if len(x.shape) < 2:
        remedy = "One example is a batch of one: x[None]."
        raise ValueError(message("x", f"shape {x.shape}", "shape (n, ..., c), channels last", remedy))


def check_scales(layer: str, params: Params, x: Array, *names: str) -> None:
    """Refuses parameters that are not one number a channel of x, each in the dtype of x.

    Example:
        >>> check_scales("rms_norm", {"gamma": jnp.ones(3)}, jnp.ones((2, 3)), "gamma")
    """
    gamma = getattr(params.get("gamma"), "shape", ()) if isinstance(params, dict) else ()
    # Channels first, as in PyTorch: the second axis is the one that fits.
    first = x.ndim > 2 and x.shape[1:2] == gamma
    check_last_axis(x, params, "gamma", 1, "Channels are last here: jnp.moveaxis(x, 1, -1)." if first else "")
    check_fit(layer, params, x, dict.fromkeys(names, x.shape[-1:]))
