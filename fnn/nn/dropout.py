"""Dropout."""

import jax
import jax.numpy as jnp

from fnn.errors import check_floating, check_key, check_scalar, message
from fnn.nn.layer import Layer, Shaped
from fnn.typing import Array, Key, Params, Scalar, State


def dropout(rate: Scalar) -> Layer:
    """Drops units at random in training, `y = x m / (1 - rate)`, m ~ Bernoulli(1 - rate); identity otherwise.

    The division keeps the mean of every unit (inverted dropout), so evaluation needs no correction.

    Args:
        rate: share dropped, in [0, 1); it may be traced.

    Raises:
        ValueError: the rate is outside [0, 1), or training without a key.
        TypeError: x is not of floating-point numbers.

    Example:
        >>> layer = dropout(0.5)
        >>> x = jnp.ones((2, 4))
        >>> layer.apply({}, {}, x, train=True, key=jax.random.key(5))[0]
        Array([[2., 0., 0., 2.],
               [0., 0., 2., 2.]], dtype=float32)
        >>> bool((layer.apply({}, {}, x)[0] == x).all())
        True

    Source: Srivastava et al. 2014, "Dropout", section 10.
    """
    check_scalar("rate", rate, 0, 1, remedy="It is the share dropped: 0.5 drops half of the units.")

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        del key, x
        return {}, {}

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        del params
        check_floating("x", x)
        x = jnp.asarray(x)
        if not train:
            return x, state
        if key is None:
            remedy = "Give apply(..., train=True, key=key); for evaluation give train=False."
            raise ValueError(message("key", None, "one typed key: dropout draws a mask in training", remedy))
        check_key("key", key)
        keep = 1 - jnp.asarray(rate, jnp.promote_types(x.dtype, jnp.float32))
        mask = jax.random.bernoulli(key, keep.astype(jnp.float32), x.shape)
        return jnp.where(mask, x / keep, 0).astype(x.dtype), state

    return Layer("dropout", init, apply)
