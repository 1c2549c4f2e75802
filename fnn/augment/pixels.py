"""Augmentations that change pixels and leave targets alone."""

import jax
import jax.numpy as jnp

from fnn.augment.batch import changed, images_of
from fnn.errors import check_choice, check_count, check_scalar, concrete, message
from fnn.typing import Array, Augmentation, Batch, Key, Scalar

_PAD = {"zero": "constant", "reflect": "reflect", "edge": "edge"}


def flip(chance: Scalar = 0.5) -> Augmentation:
    """Mirrors images left-right, `x'[i, j] = x[i, w - 1 - j]`, each with probability `chance`.

    Args:
        chance: how likely an image is mirrored, in [0, 1]; it may be traced.

    Returns:
        augment(key, batch) to a batch of the same type, shapes and dtypes.

    Raises:
        ValueError: the chance is outside [0, 1], or x is not (n, h, w, c).
        TypeError: pixels are neither uint8 nor floating.

    Example:
        >>> x = jnp.array([[[[1.0], [2.0]]]])
        >>> flip(chance=1.0)(jax.random.key(0), (x, jnp.array([7])))[0][0, :, :, 0]
        Array([[2., 1.]], dtype=float32)

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks",
    section 4.1.
    """
    _check_chance(chance)

    def augment(key: Key, batch: Batch) -> Batch:
        x = images_of(key, batch)
        return changed(batch, jnp.where(_hit(key, chance, len(x)), x[:, :, ::-1], x))

    return augment


def shift_crop(pixels: int = 4, *, fill: str = "zero") -> Augmentation:
    """Shifts images at random, `x'[i, j] = x[i + a, j + b]`, a and b uniform on {-pixels, ..., pixels}.

    It pads each side by `pixels` and cuts the old size out again. What comes in at the border is `fill`:
    zero is what the papers' figures stand for, and right where the paper is black; photographs may do
    better with "reflect", which puts no edge into them that is not there.

    Args:
        pixels: the farthest shift.
        fill: "zero", "reflect" (mirrored, the border pixel once) or "edge" (the border pixel again).

    Returns:
        augment(key, batch) to a batch of the same type, shapes and dtypes.

    Raises:
        ValueError: pixels below 1, or not less than the image's height or width; an unknown fill; x is not
            (n, h, w, c).
        TypeError: pixels are neither uint8 nor floating.

    Example:
        >>> x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
        >>> shift_crop(1)(jax.random.key(0), (x, jnp.array([7])))[0][0, :, :, 0]
        Array([[0., 1., 2.],
               [0., 4., 5.],
               [0., 7., 8.]], dtype=float32)

    Source: He et al. 2016, "Deep residual learning for image recognition", section 4.2.
    """
    check_count("pixels", pixels)
    check_choice("fill", fill, _PAD)

    def augment(key: Key, batch: Batch) -> Batch:
        x = images_of(key, batch)
        if pixels >= min(x.shape[1:3]):
            got = f"{pixels} for images of {x.shape[1]}x{x.shape[2]} pixels"
            raise ValueError(message("pixels", got, "less than their height and width"))
        start = jax.random.randint(key, (len(x), 2), 0, 2 * pixels + 1)
        side = (pixels, pixels)
        padded = jnp.pad(x, ((0, 0), side, side, (0, 0)), mode=_PAD[fill])
        # One copy of a window an image: on a CPU two to forty times faster than gathers or matrix products.
        cut = jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), x.shape[1:]))
        return changed(batch, cut(padded, start))

    return augment


def cutout(size: int = 8, *, chance: Scalar = 1.0) -> Augmentation:
    """Sets a square of `size` pixels at a random place to 0, all channels of it.

    The centre is uniform over the image, so that the square is cut off at the border. Zero is black;
    subtract the mean after the augmentation (`fnn.nn.standardize` does), as the paper does before it.

    Args:
        size: the square's side in pixels.
        chance: how likely an image gets a square, in [0, 1]; it may be traced.

    Returns:
        augment(key, batch) to a batch of the same type, shapes and dtypes.

    Raises:
        ValueError: the size is below 1, the chance outside [0, 1], or x is not (n, h, w, c).
        TypeError: pixels are neither uint8 nor floating.

    Example:
        >>> x = jnp.ones((1, 4, 4, 1))
        >>> cutout(2)(jax.random.key(0), (x, jnp.array([7])))[0][0, :, :, 0]
        Array([[1., 1., 1., 1.],
               [1., 0., 0., 1.],
               [1., 0., 0., 1.],
               [1., 1., 1., 1.]], dtype=float32)

    Source: DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with cutout",
    section 3.2.
    """
    check_count("size", size)
    _check_chance(chance)

    def augment(key: Key, batch: Batch) -> Batch:
        x = images_of(key, batch)
        n, h, w, _ = x.shape
        key_chance, key_place = jax.random.split(key)
        first = jax.random.randint(key_place, (n, 2), 0, jnp.array([h, w])) - size // 2
        square = _inside(first[:, :1], size, h)[:, :, None] & _inside(first[:, 1:], size, w)[:, None, :]
        return changed(batch, jnp.where(square[..., None] & _hit(key_chance, chance, n), jnp.zeros((), x.dtype), x))

    return augment


def _hit(key: Key, chance: Scalar, n: int) -> Array:
    """Which of n images are hit, (n, 1, 1, 1)."""
    return jax.random.bernoulli(key, jnp.asarray(chance, jnp.float32), (n, 1, 1, 1))


def _inside(first: Array, size: int, length: int) -> Array:
    """Which of `length` places lie in [first, first + size), (n, length)."""
    place = jnp.arange(length)
    return (place >= first) & (place < first + size)


def _check_chance(chance: Scalar) -> None:
    expected = "a number in [0, 1]"
    check_scalar("chance", chance, remedy=f"It is {expected}.")
    known = concrete(chance)
    outside = [] if known is None else known[~((known >= 0) & (known <= 1))]
    if len(outside):
        raise ValueError(message("chance", f"{outside[0]:g}", expected, "1 hits every image, 0 none."))
