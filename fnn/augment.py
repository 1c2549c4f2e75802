"""Data augmentation: pure functions of a key that draw anew at every step, inside the compiled program.

Each factory returns an `Augmentation`, `augment(key, batch) -> batch`; `fnn.train.supervised` and `fnn.fit`
take one. A batch of images is a `Dataset`, a pair (x, y) or a `WeightedBatch`, with x (n, h, w, c) of
uint8 or floating-point pixels. Every example draws its own, and the batch keeps its type.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn import targets
from fnn.errors import (
    check_array,
    check_callable,
    check_choice,
    check_count,
    check_key,
    check_scalar,
    concrete,
    message,
)
from fnn.typing import Array, Augmentation, Batch, DType, Key, Scalar

_PAD = {"zero": "constant", "reflect": "reflect", "edge": "edge"}
_FEW_CHANNELS = (1, 3, 4)


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
        x = _images(key, batch)
        return _with(batch, jnp.where(_hit(key, chance, len(x)), x[:, :, ::-1], x))

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
        x = _images(key, batch)
        if pixels >= min(x.shape[1:3]):
            got = f"{pixels} for images of {x.shape[1]}x{x.shape[2]} pixels"
            raise ValueError(message("pixels", got, "less than their height and width"))
        start = jax.random.randint(key, (len(x), 2), 0, 2 * pixels + 1)
        side = (pixels, pixels)
        padded = jnp.pad(x, ((0, 0), side, side, (0, 0)), mode=_PAD[fill])
        # One copy of a window an image: on a CPU two to forty times faster than gathers or matrix products.
        cut = jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), x.shape[1:]))
        return _with(batch, cut(padded, start))

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
        x = _images(key, batch)
        n, h, w, _ = x.shape
        key_chance, key_place = jax.random.split(key)
        first = jax.random.randint(key_place, (n, 2), 0, jnp.array([h, w])) - size // 2
        square = _inside(first[:, :1], size, h)[:, :, None] & _inside(first[:, 1:], size, w)[:, None, :]
        return _with(batch, jnp.where(square[..., None] & _hit(key_chance, chance, n), jnp.zeros((), x.dtype), x))

    return augment


def mix_up(classes: int, alpha: Scalar = 0.2) -> Augmentation:
    """Mixes pairs of examples, `x' = l x_i + (1 - l) x_j`, `y' = l y_i + (1 - l) y_j`, l ~ Beta(alpha, alpha).

    j is a random permutation of the batch; each example draws its own l. The larger share is the example's
    own, max(l, 1 - l): over random pairs that is the same distribution, and metrics, which compare with the
    labels as they came, keep a meaning. Examples of weight 0 mix among themselves only.

    Args:
        classes: how many there are.
        alpha: how evenly they are mixed, > 0; near 0 hardly at all. It may be traced.

    Returns:
        augment(key, batch) to a batch of the same type. x keeps its dtype, but uint8 pixels become float32
        in [0, 1]; y is (n, classes), probabilities, whether labels or probabilities came.

    Raises:
        ValueError: fewer than two classes, alpha not positive, x is not (n, h, w, c), or labels out of range.
        TypeError: pixels are neither uint8 nor floating, or y neither integer labels nor probabilities.

    Example:
        >>> x, y = jnp.array([1.0, 0.0]).reshape(2, 1, 1, 1), jnp.array([0, 1])
        >>> mixed, q = mix_up(2, alpha=1.0)(jax.random.key(2), (x, y))
        >>> q.sum(axis=1), bool(jnp.allclose(q[:, 0], mixed[:, 0, 0, 0]))
        (Array([1., 1.], dtype=float32), True)

    Source: Zhang et al. 2018, "mixup: beyond empirical risk minimization", equation 1.
    """
    check_count("classes", classes, 2)
    remedy = "Near 0 hardly anything is mixed; for nothing at all leave mix_up out."
    check_scalar("alpha", alpha, 0, open_low=True, remedy=remedy)

    def augment(key: Key, batch: Batch) -> Batch:
        x = _images(key, batch)
        wide = jnp.promote_types(x.dtype, jnp.float32) if _is_floating(x) else jnp.dtype(jnp.float32)
        y = _probabilities(batch[1], len(x), classes, wide)
        key_share, key_pairs = jax.random.split(key)
        share = _larger_share(key_share, jnp.asarray(alpha, wide), len(x))
        j = _pairs(key_pairs, len(x), batch[2] if len(batch) == 3 else None)
        mixed = _mixed(x.astype(wide) if _is_floating(x) else x / jnp.float32(255), share, j)
        dtype = batch[1].dtype if jnp.issubdtype(batch[1].dtype, jnp.floating) else wide
        return _with(batch, mixed.astype(x.dtype if _is_floating(x) else wide), _mixed(y, share, j).astype(dtype))

    return augment


def chain(*augmentations: Augmentation) -> Augmentation:
    """One augmentation after another, `a_k(key_k, ... a_1(key_1, batch))`; each has its own key, by position.

    Raises:
        ValueError: there are none.
        TypeError: something is not a function.

    Example:
        >>> augment = chain(flip(), shift_crop(2), cutout(4))
        >>> augment(jax.random.key(0), (jnp.ones((3, 8, 8, 1)), jnp.arange(3)))[0].shape
        (3, 8, 8, 1)
    """
    if not augmentations:
        raise ValueError(message("augmentations", "none", "at least one augmentation"))
    for position, augmentation in enumerate(augmentations):
        remedy = "Call its factory: flip()."
        check_callable(f"augmentations[{position}]", augmentation, "a function (key, batch) -> batch", remedy)

    def augment(key: Key, batch: Batch) -> Batch:
        check_key("key", key)
        for position, augmentation in enumerate(augmentations):
            batch = augmentation(jax.random.fold_in(key, position), batch)
        return batch

    return augment


def _images(key: Key, batch: Batch) -> Array:
    """The images of a batch; refuses another kind of batch."""
    check_key("key", key)
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise TypeError(message("batch", f"a {type(batch).__name__}", "a batch of images and targets, (x, y)"))
    x = batch[0]
    for name, array in zip(("x", "y", "weight"), batch, strict=False):
        check_array(f"batch.{name}", array)
    if not _is_floating(x) and x.dtype != jnp.uint8:
        raise TypeError(
            message("batch.x", f"dtype {x.dtype}", "pixels, uint8 or floating", "Cast them: x.astype(...).")
        )
    if len(x.shape) != 4 or 0 in x.shape:
        remedy = "Images of one channel: x[..., None]." if len(x.shape) == 3 else ""
        raise ValueError(message("batch.x", f"shape {x.shape}", "images (n, h, w, c)", remedy))
    _, h, w, c = x.shape
    if h in _FEW_CHANNELS and w == c > max(_FEW_CHANNELS):
        remedy = "Channels come last: x.transpose(0, 2, 3, 1)."
        raise ValueError(message("batch.x", f"shape {x.shape}, which looks like (n, c, h, w)", "(n, h, w, c)", remedy))
    return jnp.asarray(x)


def _with(batch: Batch, x: Array, y: Any = None) -> Batch:
    y = batch[1] if y is None else y
    named: Callable[..., Any] | None = getattr(batch, "_replace", None)
    return named(x=x, y=y) if named else (x, y, *batch[2:])


def _hit(key: Key, chance: Scalar, n: int) -> Array:
    """Which of n images are hit, (n, 1, 1, 1)."""
    return jax.random.bernoulli(key, jnp.asarray(chance, jnp.float32), (n, 1, 1, 1))


def _inside(first: Array, size: int, length: int) -> Array:
    """Which of `length` places lie in [first, first + size), (n, length)."""
    place = jnp.arange(length)
    return (place >= first) & (place < first + size)


def _pairs(key: Key, n: int, weight: Any) -> Array:
    """A permutation of the examples that count, and one of the others: fillers change nobody's partner."""
    rank = jax.random.uniform(key, (n,))
    if weight is None:
        return jnp.argsort(rank)
    counts = jnp.asarray(weight) > 0
    place = jnp.where(counts, jnp.cumsum(counts), jnp.sum(counts) + jnp.cumsum(~counts)) - 1
    return jnp.argsort(jnp.where(counts, rank, 1 + rank)).at[place].get(mode="promise_in_bounds")


def _larger_share(key: Key, alpha: Array, n: int) -> Array:
    """max(l, 1 - l), l ~ Beta(alpha, alpha), (n,): l = (1 + T / sqrt(2 alpha + T^2)) / 2, T ~ Student(2 alpha).

    T is drawn in closed form, T^2 = 2 alpha (U^(-1 / alpha) - 1) cos(2 pi V)^2 (Bailey 1994, "Polar generation
    of random variates with the t-distribution"): `jax.random.beta` compiles for a second and more.
    """
    key_radius, key_angle = jax.random.split(key)
    u = -jax.random.exponential(key_radius, (n,), alpha.dtype) / alpha
    cosine = jnp.cos(2 * jnp.pi * jax.random.uniform(key_angle, (n,), alpha.dtype))
    part = -jnp.expm1(u) * cosine**2
    return (1 + jnp.sqrt(part / (jnp.exp(u) + part))) / 2


def _mixed(a: Array, share: Array, j: Array) -> Array:
    share = share.reshape(-1, *[1] * (a.ndim - 1))
    return share * a + (1 - share) * a.at[j].get(mode="promise_in_bounds")


def _probabilities(y: Any, n: int, classes: int, dtype: DType) -> Array:
    rows = jnp.zeros((n, classes), dtype)
    if not jnp.issubdtype(y.dtype, jnp.floating):
        return targets.one_hot(y, rows)
    if np.shape(y) != rows.shape:
        got, expected = (
            f"dtype {y.dtype} and shape {np.shape(y)}",
            f"integer labels ({n},) or probabilities {rows.shape}",
        )
        raise TypeError(message("batch.y", got, expected, "mix_up mixes classes: labels are integers."))
    return targets.distribution("batch.y", y, dtype, "Divide each row by its sum, or give integer labels.")


def _is_floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _check_chance(chance: Scalar) -> None:
    expected = "a number in [0, 1]"
    check_scalar("chance", chance, remedy=f"It is {expected}.")
    known = concrete(chance)
    if known is not None and not 0 <= known <= 1:
        raise ValueError(message("chance", f"{known:g}", expected, "1 hits every image, 0 none."))
