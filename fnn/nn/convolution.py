"""Convolution as a function of x and w, with gradients that stay fast inside a compiled run.

XLA's CPU backend has one fast convolution: images as (n, ..., channels), kernels as (..., in, out), the result
as the images. The gradients that JAX derives are convolutions in other orders of the axes; XLA reorders them
outside a loop, and inside `scan` it computes them element by element, some fifty times slower (jax issues 2491
and 12868). Here the gradient of x is written as a convolution in the fast order, and that of w as matrix products.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fnn.nn.window import Window, taps
from fnn.typing import Array


class Plan(NamedTuple):
    """What a convolution does besides x and w; hashable.

    Attributes:
        window: the window that slides over x.
        groups: into how many groups the channels are cut, each with outputs of its own.
        lowering: "auto" is "xla" but on the CPU, where it is "cpu".
    """

    window: Window
    groups: int
    lowering: str


def convolve(plan: Plan, x: Array, w: Array, b: Array | None = None) -> Array:
    """`y[o] = sum_k x[o stride + k dilation - padding] w[k] + b`, channels summed within each group.

    Args:
        plan: window, groups and lowering. "xla" leaves the gradients to JAX, and so has forward-mode
            derivatives too; the others have gradients of their own, which can be differentiated again.
        x: (n, ..., c_in).
        w: (..., c_in / groups, c_out).
        b: (c_out,), or None for none.

    Example:
        >>> x, w = jnp.arange(4.0).reshape(1, 4, 1), jnp.array([1.0, 10.0]).reshape(2, 1, 1)
        >>> convolve(Plan(Window((2,), (1,), ((0, 0),), (1,)), 1, "auto"), x, w).ravel()
        Array([10., 21., 32.], dtype=float32)

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", sections 2 and 4.
    """
    return _by_xla(plan, x, w, b) if plan.lowering == "xla" else _convolve(plan, x, w, b)


def _value(plan: Plan, x: Array, w: Array, b: Array | None) -> Array:
    if _is_depthwise(plan, w):
        return _by_platform(plan, partial(_by_channel, plan), partial(_by_xla, plan), x, w, b)
    return _by_xla(plan, x, w, b)


_convolve = jax.custom_vjp(_value, nondiff_argnums=(0,))


def _forward(plan: Plan, x: Array, w: Array, b: Array | None) -> tuple[Array, Any]:
    return _value(plan, x, w, b), (x, w, b)


def _backward(plan: Plan, carried: Any, dy: Array) -> Any:
    def derived(x: Array, w: Array, b: Array | None, dy: Array) -> Any:
        return jax.vjp(partial(_by_xla, plan), x, w, b)[1](dy)

    def written(x: Array, w: Array, b: Array | None, dy: Array) -> Any:
        if _is_depthwise(plan, w):
            return jax.vjp(partial(_by_channel, plan), x, w, b)[1](dy)
        dw = _by_patches(plan, x, w, dy) if plan.groups == 1 else _kernel_gradient(plan, x, dy)
        return _input_gradient(plan, x, w, dy), dw, None if b is None else _column_sums(dy)

    return _by_platform(plan, written, derived, *carried, dy)


_convolve.defvjp(_forward, _backward)


def _is_depthwise(plan: Plan, w: Array) -> bool:
    return plan.groups > 1 and w.shape[-2] == 1


def _by_platform(plan: Plan, on_cpu: Callable[..., Any], elsewhere: Callable[..., Any], *args: Any) -> Any:
    if plan.lowering == "cpu":
        return on_cpu(*args)
    return lax.platform_dependent(*args, cpu=on_cpu, default=elsewhere)


def _by_xla(plan: Plan, x: Array, w: Array, b: Array | None) -> Array:
    window = plan.window
    ones = (1,) * len(window.size)
    y = _in_fast_order(x, w, window.strides, window.padding, ones, window.dilation, plan.groups)
    return y if b is None else y + b


def _in_fast_order(
    x: Array,
    w: Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    spread: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    axes = "DHW"[3 - len(strides) :]
    return lax.conv_general_dilated(
        x,
        w,
        strides,
        padding,
        lhs_dilation=spread,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )


def _input_gradient(plan: Plan, x: Array, w: Array, dy: Array) -> Array:
    """dx: dy, its elements a stride apart, convolved with the kernel turned round, in and out exchanged."""
    window, axes = plan.window, tuple(range(w.ndim - 2))
    lengths = zip(x.shape[1:-1], dy.shape[1:-1], window.padding, window.reach, window.strides, strict=True)
    padding = [(reach - 1 - low, size + low - 1 - (out - 1) * s) for size, out, (low, _), reach, s in lengths]
    turned = jnp.flip(w, axes).reshape(*w.shape[:-1], plan.groups, -1)
    turned = jnp.swapaxes(turned, -3, -1).reshape(*w.shape[:-2], -1, x.shape[-1])
    ones = (1,) * len(axes)
    return _in_fast_order(dy, turned, ones, padding, window.strides, window.dilation, plan.groups)


def _kernel_gradient(plan: Plan, x: Array, dy: Array) -> Array:
    """dw: x convolved with dy as the kernel, channels and examples exchanged."""
    window, groups = plan.window, plan.groups
    lengths = zip(x.shape[1:-1], dy.shape[1:-1], window.padding, window.reach, window.strides, strict=True)
    padding = [(low, reach + (out - 1) * s - size - low) for size, out, (low, _), reach, s in lengths]
    images = x.reshape(*x.shape[:-1], groups, -1)
    images = jnp.moveaxis(images, (-1, 0), (0, -1)).reshape(-1, *x.shape[1:-1], groups * x.shape[0])
    ones = (1,) * len(padding)
    kernel = jnp.moveaxis(dy, 0, -2)
    dw = _in_fast_order(images, kernel, window.dilation, padding, ones, window.strides, groups)
    return jnp.moveaxis(dw, 0, -2)


def _by_patches(plan: Plan, x: Array, w: Array, dy: Array) -> Array:
    """dw: for each row of the kernel a product of what its elements see with dy.

    Patches lie as the product reads them, a line for each weight. One row at a time they are few enough to stay
    near the processor; all together, or as a convolution, it takes a quarter longer.
    """
    planes = jnp.moveaxis(x, -1, 0).reshape(-1, *x.shape[1:-1], 1)
    seen, rows = taps(planes, plan.window, 0), dy.reshape(-1, dy.shape[-1])
    wide = jnp.promote_types(dy.dtype, jnp.float32)
    each = math.prod(w.shape[1:-2])
    lines = [jnp.stack(seen[i : i + each]).reshape(-1, len(rows)) for i in range(0, len(seen), each)]
    dw = [jnp.matmul(line, rows, preferred_element_type=wide) for line in lines]
    return jnp.stack(dw).reshape(w.shape).astype(w.dtype)


def _column_sums(dy: Array) -> Array:
    """db: the sum over all examples and places, as a product, which reads dy but once."""
    rows = dy.reshape(-1, dy.shape[-1])
    wide = jnp.promote_types(dy.dtype, jnp.float32)
    return jnp.matmul(jnp.ones(len(rows), dy.dtype), rows, preferred_element_type=wide).astype(dy.dtype)


def _by_channel(plan: Plan, x: Array, w: Array, b: Array | None) -> Array:
    """Where every channel is a group of its own, y as products and sums, element by element."""
    kernel = w.reshape(math.prod(plan.window.size), x.shape[-1], -1)
    y = sum(tap[..., None] * weights for tap, weights in zip(taps(x, plan.window, 0), kernel, strict=True))
    y = jnp.reshape(y, (*jnp.shape(y)[:-2], w.shape[-1]))
    return y if b is None else y + b
