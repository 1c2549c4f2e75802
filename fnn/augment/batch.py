"""What an augmentation is given: a batch of images, checked and put together again."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from fnn.errors import check_array, check_key, message
from fnn.typing import Array, Batch, Key

_FEW_CHANNELS = (1, 3, 4)


def images_of(key: Key, batch: Batch) -> Array:
    """The images of a batch; refuses another kind of batch, and what is no key.

    Example:
        >>> images_of(jax.random.key(0), (jnp.ones((2, 8, 8, 3)), jnp.ones(2))).shape
        (2, 8, 8, 3)
    """
    check_key("key", key)
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise TypeError(message("batch", f"a {type(batch).__name__}", "a batch of images and targets, (x, y)"))
    x = batch[0]
    for name, array in zip(("x", "y", "weight"), batch, strict=False):
        check_array(f"batch.{name}", array)
    if not is_floating(x) and x.dtype != jnp.uint8:
        remedy = "Cast them: x.astype(...)."
        raise TypeError(message("batch.x", f"dtype {x.dtype}", "pixels, uint8 or floating", remedy))
    if len(x.shape) != 4 or 0 in x.shape:
        remedy = "Images of one channel: x[..., None]." if len(x.shape) == 3 else ""
        raise ValueError(message("batch.x", f"shape {x.shape}", "images (n, h, w, c)", remedy))
    _, h, w, c = x.shape
    if h in _FEW_CHANNELS and w == c > max(_FEW_CHANNELS):
        remedy = "Channels come last: x.transpose(0, 2, 3, 1)."
        raise ValueError(message("batch.x", f"shape {x.shape}, which looks like (n, c, h, w)", "(n, h, w, c)", remedy))
    return jnp.asarray(x)


def changed(batch: Batch, x: Array, y: Any = None) -> Batch:
    """The batch with other images, and with other targets where they are given; its type and the rest stay.

    Example:
        >>> changed((jnp.ones(2), jnp.ones(2), jnp.zeros(2)), 3 * jnp.ones(2))[0]
        Array([3., 3.], dtype=float32)
    """
    y = batch[1] if y is None else y
    named: Callable[..., Any] | None = getattr(batch, "_replace", None)
    return named(x=x, y=y) if named else (x, y, *batch[2:])


def is_floating(x: Any) -> bool:
    """Whether pixels are floats; otherwise they are uint8.

    Example:
        >>> is_floating(jnp.zeros(2, jnp.uint8))
        False
    """
    return jnp.issubdtype(x.dtype, jnp.floating)
