"""Normalizations of each example by itself: the same in training and evaluation, and in a batch of one."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fnn.errors import check_count, message
from fnn.nn.layer import Layer, Shaped
from fnn.nn.moments import check_channels, check_eps, check_scales, moments, widened
from fnn.typing import Array, Key, Params, Scalar, State

Check = Callable[[Shaped], None]


def layer_norm(eps: Scalar = 1e-5) -> Layer:
    """Layer normalization, `y = gamma (x - mean) / sqrt(var + eps) + beta`, over the last axis.

    Parameters: `gamma` (1 at first) and `beta` (0) of shape (c,), in the dtype of x.

    Args:
        eps: keeps the quotient finite, > 0; it may be traced.

    Returns:
        A layer from x (n, ..., c) to y of the same shape.

    Raises:
        ValueError: eps <= 0, x without an axis of channels, or parameters of another layer.
        TypeError: x is not of floating-point numbers, or of another dtype than the parameters.

    Example:
        >>> layer = layer_norm()
        >>> params, state = layer.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> layer.apply(params, state, jnp.array([[1.0, 3.0], [70.0, 30.0]]))[0].round(3)
        Array([[-1.,  1.],
               [ 1., -1.]], dtype=float32)

    Source: Ba, Kiros and Hinton 2016, "Layer normalization", equations 3 and 4.
    """
    check_eps(eps)

    def normalized(x: Array) -> Array:
        return _standardized(x, (-1,), eps)

    return _per_example("layer_norm", normalized, ("gamma", "beta"))


def rms_norm(eps: Scalar = 1e-6) -> Layer:
    """Root-mean-square normalization, `y = gamma x / sqrt(mean(x^2) + eps)`, over the last axis.

    Parameter: `gamma` (1 at first) of shape (c,), in the dtype of x.

    Args:
        eps: keeps the quotient finite, > 0; it may be traced.

    Returns:
        A layer from x (n, ..., c) to y of the same shape.

    Raises:
        ValueError: eps <= 0, x without an axis of channels, or parameters of another layer.
        TypeError: x is not of floating-point numbers, or of another dtype than the parameters.

    Example:
        >>> layer = rms_norm()
        >>> params, state = layer.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> y, _ = layer.apply(params, state, jnp.array([[1.0, 7.0]]))
        >>> print(f"{y[0, 0]:.3f} {y[0, 1]:.3f}")
        0.200 1.400

    Source: Zhang and Sennrich 2019, "Root mean square layer normalization", equation 4.
    """
    check_eps(eps)

    def normalized(x: Array) -> Array:
        return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + jnp.asarray(eps, x.dtype))

    return _per_example("rms_norm", normalized, ("gamma",))


def group_norm(groups: int, eps: Scalar = 1e-5) -> Layer:
    """Group normalization, `y = gamma (x - mean) / sqrt(var + eps) + beta`, over space and a group of channels.

    A group is c / groups channels side by side. One group normalizes each whole example; as many groups as
    channels is instance normalization. Parameters: `gamma` (1 at first) and `beta` (0) of shape (c,), in the
    dtype of x.

    Args:
        groups: into how many groups the channels are divided, a divisor of their number.
        eps: keeps the quotient finite, > 0; it may be traced.

    Returns:
        A layer from x (n, ..., c) to y of the same shape.

    Raises:
        ValueError: groups do not divide the channels, eps <= 0, x without an axis of channels, or parameters
            of another layer.
        TypeError: groups is no integer, or x is not of floating-point numbers or of another dtype than the
            parameters.

    Example:
        >>> layer = group_norm(2)
        >>> params, state = layer.init(jax.random.key(0), jnp.ones((1, 4)))
        >>> layer.apply(params, state, jnp.array([[1.0, 3.0, 70.0, 30.0]]))[0].round(3)
        Array([[-1.,  1.,  1., -1.]], dtype=float32)

    Source: Wu and He 2018, "Group normalization", equations 1 to 3 and 7.
    """
    check_count("groups", groups)
    check_eps(eps)

    def check(x: Shaped) -> None:
        if x.shape[-1] % groups:
            raise ValueError(message("groups", groups, f"a divisor of the {x.shape[-1]} channels of x"))

    def normalized(x: Array) -> Array:
        n, c = x.shape[0], x.shape[-1]
        grouped = x.reshape(n, x[:1].size // c, groups, c // groups)
        return _standardized(grouped, (3, 1), eps).reshape(x.shape)

    return _per_example("group_norm", normalized, ("gamma", "beta"), check)


def _standardized(x: Array, axes: tuple[int, ...], eps: Scalar) -> Array:
    def mean(x: Array) -> Array:
        # One axis at a time: sums of sums round less.
        return functools.reduce(lambda x, axis: jnp.mean(x, axis, keepdims=True), axes, x)

    _, d, r, var = moments(x, mean)
    return (d - r) * jax.lax.rsqrt(var + jnp.asarray(eps, x.dtype))


def _per_example(
    name: str, normalized: Callable[[Array], Array], scales: tuple[str, ...], check: Check | None = None
) -> Layer:
    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        del key
        check_channels(x)
        if check is not None:
            check(x)
        c, dtype = x.shape[-1], jax.dtypes.canonicalize_dtype(x.dtype)
        first = {"gamma": jnp.ones(c, dtype), "beta": jnp.zeros(c, dtype)}
        return {scale: first[scale] for scale in scales}, {}

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        del train, key
        check_channels(x)
        if check is not None:
            check(x)
        x = jnp.asarray(x)
        check_scales(name, params, x, *scales)
        y = normalized(widened(x)) * widened(params["gamma"])
        return (y + widened(params["beta"]) if "beta" in scales else y).astype(x.dtype), state

    return Layer(name, init, apply)
