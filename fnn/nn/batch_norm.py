"""Batch normalization."""

from typing import Any

import jax
import jax.numpy as jnp

from fnn.errors import check_floating, check_scalar, message
from fnn.nn.layer import Layer, Shaped
from fnn.nn.moments import check_channels, check_eps, check_scales, moments, wide, widened
from fnn.nn.parameters import check_entries
from fnn.typing import Array, Key, Params, Scalar, State


def batch_norm(momentum: Scalar = 0.9, eps: Scalar = 1e-5) -> Layer:
    """Batch normalization, `y = gamma (x - mean) / sqrt(var + eps) + beta`, each channel over batch and space.

    Training takes mean and var of the batch, and moves the running ones, which evaluation takes:
    `running <- momentum running + (1 - momentum) batch`. The batch is divided by its biased variance (mean of
    squares), and the running one keeps the unbiased `n / (n - 1) var`, as the paper and PyTorch do: it
    estimates the variance of the data, not of this batch. Keras and Flax keep the biased one.

    Parameters: `gamma` (1 at first) and `beta` (0) of shape (c,), in the dtype of x. State: `mean` (0) and
    `var` (1) of shape (c,), float32 or wider, without gradient.

    Args:
        momentum: the share of the running statistics that stays, in [0, 1), as in Keras and Flax. PyTorch's
            momentum is 1 minus this one. It may be traced.
        eps: keeps the quotient finite, > 0; it may be traced.

    Returns:
        A layer from x (n, ..., c) to y of the same shape. In training n is at least 2.

    Raises:
        ValueError: a number outside its range, x without an axis of channels, training with one example,
            parameters or state of another layer.
        TypeError: x is not of floating-point numbers, or of another dtype than the parameters.

    Example:
        >>> layer = batch_norm(momentum=0.5)
        >>> x = jnp.array([[1.0, 10.0], [3.0, 10.0]])
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> y, state = layer.apply(params, state, x, train=True)
        >>> y.round(3)
        Array([[-1.,  0.],
               [ 1.,  0.]], dtype=float32)
        >>> state
        {'mean': Array([1., 5.], dtype=float32), 'var': Array([1.5, 0.5], dtype=float32)}

    Source: Ioffe and Szegedy 2015, "Batch normalization", algorithms 1 and 2.
    """
    check_scalar("momentum", momentum, 0, 1, remedy="It is the share that stays; PyTorch's momentum is 1 minus it.")
    check_eps(eps)

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        del key
        check_channels(x)
        c, dtype = x.shape[-1], jax.dtypes.canonicalize_dtype(x.dtype)
        params = {"gamma": jnp.ones(c, dtype), "beta": jnp.zeros(c, dtype)}
        return params, {"mean": jnp.zeros(c, wide(dtype)), "var": jnp.ones(c, wide(dtype))}

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        del key
        check_channels(x)
        x = jnp.asarray(x)
        check_scales("batch_norm", params, x, "gamma", "beta")
        _check_state(state, x)
        gamma, beta, z = widened(params["gamma"]), widened(params["beta"]), widened(x)
        if train:
            _check_examples(x)
            m, d, r, var = moments(z, _mean)
            n = x.size // x.shape[-1]
            state = _moved(state, momentum, m + r, var * (n / (n - 1)))
        else:
            d, r, var = z - jnp.asarray(state["mean"], z.dtype), 0, jnp.asarray(state["var"], z.dtype)
        scale = gamma * jax.lax.rsqrt(var + jnp.asarray(eps, z.dtype))
        y = d * _rows(scale, z) + _rows(beta - r * scale, z)
        return y.astype(x.dtype), state

    return Layer("batch_norm", init, apply)


def _mean(x: Array) -> Array:
    """Of each channel, one axis at a time: XLA on a CPU takes a third of the time, and sums of sums round less."""
    for _ in range(x.ndim - 1):
        x = jnp.mean(x, axis=-2)
    return x


def _rows(channels: Array, x: Array) -> Array:
    """(c,) as (n, ..., 1, c): its gradient too is then a sum over the last axis of space, and one of the rest."""
    if x.ndim == 2:
        return channels
    # Without the barrier XLA makes one broadcast of both, and one slow sum of its gradient.
    return jax.lax.optimization_barrier(jnp.broadcast_to(channels, (*x.shape[:-2], 1, x.shape[-1])))


def _moved(state: State, momentum: Scalar, mean: Array, var: Array) -> State:
    def moved(running: Array, batch: Array) -> Array:
        stays = jnp.asarray(momentum, batch.dtype)
        return (stays * running + (1 - stays) * jax.lax.stop_gradient(batch)).astype(running.dtype)

    return {"mean": moved(jnp.asarray(state["mean"]), mean), "var": moved(jnp.asarray(state["var"]), var)}


def _check_examples(x: Array) -> None:
    if len(x) < 2:
        remedy = (
            "The statistics would be one example's own: give a larger batch, leave out a last batch of one, "
            "or take layer_norm or group_norm."
        )
        raise ValueError(message("x", f"a batch of {len(x)}", "at least 2 examples in training", remedy))


def _check_state(state: Any, x: Array) -> None:
    check_entries("state of batch_norm", state, {"mean": (), "var": ()})
    for name, s in state.items():
        where = f"state of batch_norm, {name}"
        check_floating(where, s)
        if s.shape != x.shape[-1:]:
            remedy = "This is another layer's: make it with init."
            raise ValueError(message(where, f"shape {s.shape}", f"shape {x.shape[-1:]}", remedy))
        if wide(s.dtype) != jax.dtypes.canonicalize_dtype(s.dtype):
            remedy = "A running average loses its small steps in less: leave the state as init made it."
            raise TypeError(message(where, f"dtype {s.dtype}", "float32 or wider", remedy))
