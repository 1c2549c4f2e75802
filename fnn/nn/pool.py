"""Pooling, and the layers that lead from images to vectors."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fnn.errors import check_array, check_flag, message
from fnn.nn.layer import Layer, stateless
from fnn.nn.moments import widened
from fnn.nn.window import Padding, Sizes, Window, check_images, check_settings, settled, taps
from fnn.typing import Array

# The gradient goes over a window's elements one by one: that of larger ones is left to XLA.
_FEW = 25


def max_pool(window: Sizes, *, strides: Sizes | None = None, padding: Padding = "VALID") -> Layer:
    """The largest number in each window, `y[o] = max_k x[o stride + k]`, for each channel.

    Its gradient goes to the place of the maximum, to the first one where there are several.

    Args:
        window: its size on each spatial axis.
        strides: how far it moves at a time; None is the window's size.
        padding: "VALID" (none), "SAME", one number for all ends, or a number or pair (before, after) for each
            spatial axis, less than the window. Padding never is a maximum.

    Returns:
        A layer from x (n, ..., c), with one to three spatial axes, to y (n, ..., c).

    Raises:
        ValueError: sizes below 1, or a window that is larger than the padded x.
        TypeError: x is not of floating-point numbers.

    Example:
        >>> x = jnp.array([1.0, 3.0, 2.0, 0.0]).reshape(1, 4, 1)
        >>> max_pool(2).apply({}, {}, x)[0].ravel()
        Array([3., 2.], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 9.3; Riesenhuber and Poggio 1999, Nature
    Neuroscience 2.
    """
    check_settings("window", window, window if strides is None else strides, padding)
    return _pool("max_pool", window, strides, padding, _largest)


def avg_pool(
    window: Sizes, *, strides: Sizes | None = None, padding: Padding = "VALID", count_include_pad: bool = True
) -> Layer:
    """The mean of each window, `y[o] = mean_k x[o stride + k]`, for each channel.

    Args:
        window: its size on each spatial axis.
        strides: how far it moves at a time; None is the window's size.
        padding: as in `max_pool`.
        count_include_pad: whether the zeros of the padding count in the mean, as in PyTorch; Keras leaves
            them out.

    Returns:
        A layer from x (n, ..., c), with one to three spatial axes, to y (n, ..., c).

    Raises:
        ValueError: sizes below 1, or a window that is larger than the padded x.
        TypeError: x is not of floating-point numbers.

    Example:
        >>> x = jnp.array([1.0, 3.0, 2.0, 0.0]).reshape(1, 4, 1)
        >>> avg_pool(2).apply({}, {}, x)[0].ravel()
        Array([2., 1.], dtype=float32)

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section 2.B.
    """
    check_settings("window", window, window if strides is None else strides, padding)
    check_flag("count_include_pad", count_include_pad)
    return _pool("avg_pool", window, strides, padding, partial(_mean, count_include_pad=count_include_pad))


def global_avg_pool() -> Layer:
    """The mean of each channel over all spatial axes: x (n, ..., c) to y (n, c).

    Raises:
        TypeError: x is not of floating-point numbers.
        ValueError: x has no or more than three spatial axes.

    Example:
        >>> global_avg_pool().apply({}, {}, jnp.arange(8.0).reshape(1, 2, 2, 2))[0]
        Array([[3., 4.]], dtype=float32)

    Source: Lin et al. 2014, "Network in network", section 3.2.
    """

    def mean(x: Array) -> Array:
        check_images("global_avg_pool", x)
        x = jnp.asarray(x)
        return widened(x).mean(axis=tuple(range(1, x.ndim - 1))).astype(x.dtype)

    return stateless("global_avg_pool", mean)


def flatten() -> Layer:
    """Each example as one row of numbers: x (n, ...) to y (n, d).

    Example:
        >>> flatten().apply({}, {}, jnp.ones((2, 4, 4, 3)))[0].shape
        (2, 48)
    """

    def rows(x: Array) -> Array:
        check_array("x", x)
        if not x.ndim:
            raise ValueError(message("x", "a scalar", "a batch, (n, ...)"))
        return jnp.asarray(x).reshape(x.shape[0], int(np.prod(x.shape[1:])))

    return stateless("flatten", rows)


def _pool(
    kind: str, size: Sizes, strides: Sizes | None, padding: Padding, pooled: Callable[[Array, Window], Array]
) -> Layer:
    def pool(x: Array) -> Array:
        check_images(kind, x)
        x = jnp.asarray(x)
        window = settled(x, "window", size, size if strides is None else strides, padding)
        for axis, (pad, k) in enumerate(zip(window.padding, window.size, strict=True)):
            if max(pad) >= k:
                got = f"{pad} at axis {axis + 1} of x"
                raise ValueError(message("padding", got, f"less than the window's {k}: it would see nothing else"))
        return pooled(x, window)

    return stateless(kind, pool)


def _largest(x: Array, window: Window) -> Array:
    few = math.prod(window.size) <= _FEW
    return _maximum(window, x) if few else _reduced(window, x, -jnp.inf, lax.max)


# The gradient is one pass over x. XLA's own, select-and-scatter, costs on a CPU as much as a convolution.
@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _maximum(window: Window, x: Array) -> Array:
    return _reduced(window, x, -jnp.inf, lax.max)


@_maximum.defjvp
def _maximum_jvp(window: Window, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    y = _maximum(window, x)
    return y, (_at_tiled if _tiles(window, x) else _at)(window, x, y, dx)


def _at(window: Window, x: Array, y: Array, dx: Array) -> Array:
    """Of each window the element of dx where y is in x, the first of several; linear in dx."""
    found, sought = jnp.zeros_like(y), jnp.ones(y.shape, bool)
    for seen, element in zip(taps(x, window, -jnp.inf), taps(dx, window, 0), strict=True):
        here = sought & (seen == y)
        found, sought = found + jnp.where(here, element, 0), sought & ~here
    return found


def _at_tiled(window: Window, x: Array, y: Array, dx: Array) -> Array:
    """The same where the windows cover x exactly, each element once."""
    inner = tuple(range(2, 2 * len(window.size) + 1, 2))
    shape = [n for length, k in zip(x.shape[1:-1], window.size, strict=True) for n in (length // k, k)]
    cells = x.reshape(x.shape[0], *shape, x.shape[-1])
    index = [(slice(None), *(i for k in element for i in (slice(None), k))) for element in np.ndindex(*window.size)]
    place = jnp.full(y.shape, len(index) - 1, jnp.uint8)
    for number, element in reversed([*enumerate(index)][:-1]):
        place = jnp.where(cells[element] == y, jnp.uint8(number), place)
    numbers = np.arange(len(index), dtype=np.uint8).reshape([n for k in window.size for n in (1, k)] + [1])
    chosen = jnp.broadcast_to(jnp.expand_dims(place, inner) == numbers, cells.shape).reshape(x.shape)
    # In the shape of x, so that its transpose, the gradient, is too: XLA then computes it once for all readers.
    return jnp.where(chosen, dx, 0).reshape(cells.shape).sum(axis=inner)


def _mean(x: Array, window: Window, count_include_pad: bool) -> Array:
    wide = widened(x)
    counts = np.prod(window.size)
    if not count_include_pad and any(map(any, window.padding)):
        counts = _reduced(window, jnp.ones((1, *x.shape[1:-1], 1), wide.dtype), 0.0, lax.add)
    return (_reduced(window, wide, 0.0, lax.add) / counts).astype(x.dtype)


def _reduced(window: Window, x: Array, start: float, combine: Callable[[Any, Any], Any]) -> Array:
    around = [(0, 0), *window.padding, (0, 0)]
    return lax.reduce_window(x, start, combine, (1, *window.size, 1), (1, *window.strides, 1), around)


def _tiles(window: Window, x: Array) -> bool:
    exact = all(length % k == 0 for length, k in zip(x.shape[1:-1], window.size, strict=True))
    return exact and window.size == window.strides and not any(map(any, window.padding))
