"""Initializers: how the first weights are drawn.

Each factory returns an initializer, a function `(key, shape, dtype=float32) -> Array`; `zeros` is one itself.
A weight's fans say how many inputs feed an output and how many outputs an input feeds. A dense weight
(d_in, d_out) has fan_in = d_in and fan_out = d_out. A convolution kernel (..., channels_in / groups,
channels_out) has both times its receptive field, the product of the leading sizes.

Normal distributions are not truncated, so that their variance is exactly the stated one. PyTorch's are not
either; Keras cuts at two standard deviations. Numbers are drawn in float32 or wider and rounded to `dtype`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import check_callable, check_choice, check_key, check_scalar, is_traced, message
from fnn.typing import Array, DType, Initializer, Key, Scalar, Shape


class Fans(NamedTuple):
    """How many inputs feed an output, and how many outputs an input feeds."""

    fan_in: Any
    fan_out: Any


@dataclass(frozen=True)
class ByFans:
    """An initializer whose variance follows from the fans; what `he()` and its like return.

    Attributes:
        variance: of each weight, from the fans.
        uniform: whether it is uniform or normal.
        fan_in: taken for the shape's own, such as the number of active inputs; it may be traced.
        fan_out: likewise.
    """

    variance: Callable[[Fans], Any]
    uniform: bool
    fan_in: Scalar | None = None
    fan_out: Scalar | None = None

    def __call__(self, key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
        """Draws weights of this shape."""
        given = self.fan_in, self.fan_out
        variance = self.variance(Fans(*(s if g is None else g for s, g in zip(_fans(shape), given, strict=True))))
        root = jnp.sqrt if is_traced(variance) else np.sqrt
        if not self.uniform:
            return _normal(key, shape, dtype, root(variance))
        a, wide = root(3 * variance), _wide(shape, dtype)
        check_key("key", key)
        return jax.random.uniform(key, shape, wide, -a, a).astype(dtype)


def zeros(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """All zeros, `w = 0`: for biases.

    Weights of a hidden layer must differ from each other, or its units stay copies of one unit.

    Args:
        key: not used; every initializer takes one.
        shape: of the array.
        dtype: floating point.

    Example:
        >>> zeros(jax.random.key(0), (2,))
        Array([0., 0.], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 8.4.
    """
    del key
    _wide(shape, dtype)
    return jnp.zeros(shape, dtype)


def constant(c: Scalar) -> Initializer:
    """One number everywhere, `w = c`.

    Args:
        c: the number; it may be traced.

    Raises:
        TypeError, ValueError: `c` is not one finite number.

    Example:
        >>> constant(0.1)(jax.random.key(0), (2,))
        Array([0.1, 0.1], dtype=float32)
    """
    check_scalar("c", c)

    def draw(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
        del key
        _wide(shape, dtype)
        return jnp.full(shape, c, dtype)

    return draw


def gaussian(stddev: Scalar = 0.01) -> Initializer:
    """Normal with a fixed standard deviation, `w ~ N(0, stddev^2)`, whatever the fans.

    Args:
        stddev: the standard deviation, at least 0; it may be traced.

    Raises:
        TypeError, ValueError: `stddev` is not one finite number of at least 0.

    Example:
        >>> w = gaussian(stddev=0.01)(jax.random.key(0), (100, 100))
        >>> print(f"{w.std():.3f}")
        0.010

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional networks", section 5.
    """
    check_scalar("stddev", stddev, 0)

    def draw(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
        return _normal(key, shape, dtype, stddev)

    return draw


def xavier() -> Initializer:
    """Uniform by the number of inputs, `w ~ U[-1/sqrt(fan_in), 1/sqrt(fan_in)]`, variance 1 / (3 fan_in).

    The common heuristic that Glorot and Bengio start from. Signals shrink from layer to layer.

    Example:
        >>> w = xavier()(jax.random.key(0), (100, 50))
        >>> print(f"{abs(w).max():.3f}")
        0.100

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks", equation 1.
    """
    return ByFans(lambda fans: 1 / (3 * fans.fan_in), uniform=True)


def normalized_xavier() -> Initializer:
    """Uniform by both fans, `w ~ U[-a, a]`, `a = sqrt(6 / (fan_in + fan_out))`; also `glorot_uniform`.

    Its variance, 2 / (fan_in + fan_out), keeps that of activations and of gradients about equal through
    layers of tanh, and is the right choice for sigmoid-like activations.

    Example:
        >>> w = normalized_xavier()(jax.random.key(0), (100, 50))
        >>> print(f"{abs(w).max():.3f}")
        0.200
        >>> glorot_uniform is normalized_xavier
        True

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks", equation 16.
    """
    return ByFans(lambda fans: 2 / (fans.fan_in + fans.fan_out), uniform=True)


glorot_uniform = normalized_xavier


def glorot_normal() -> Initializer:
    """Normal by both fans, `w ~ N(0, 2 / (fan_in + fan_out))`: the variance of `normalized_xavier`.

    Example:
        >>> w = glorot_normal()(jax.random.key(0), (300, 100))
        >>> print(f"{w.var() * (300 + 100) / 2:.1f}")
        1.0

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks", equation 12.
    """
    return ByFans(lambda fans: 2 / (fans.fan_in + fans.fan_out), uniform=False)


def he() -> Initializer:
    """Normal for rectifiers, `w ~ N(0, 2 / fan_in)`; also known as `he_normal`.

    A rectifier passes half of the signal's power, and the 2 makes up for it.

    Example:
        >>> w = he()(jax.random.key(0), (200, 200))
        >>> print(f"{w.var() * 200 / 2:.1f}")
        1.0
        >>> he_normal is he
        True

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    return ByFans(lambda fans: 2 / fans.fan_in, uniform=False)


he_normal = he


def he_uniform() -> Initializer:
    """Uniform for rectifiers, `w ~ U[-a, a]`, `a = sqrt(6 / fan_in)`: the variance of `he`.

    Example:
        >>> w = he_uniform()(jax.random.key(0), (150, 50))
        >>> print(f"{abs(w).max():.3f}")
        0.200

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    return ByFans(lambda fans: 2 / fans.fan_in, uniform=True)


def lecun_normal() -> Initializer:
    """Normal by the number of inputs, `w ~ N(0, 1 / fan_in)`: a linear layer keeps the variance.

    Example:
        >>> w = lecun_normal()(jax.random.key(0), (200, 200))
        >>> print(f"{w.var() * 200:.1f}")
        1.0

    Source: LeCun et al. 1998, "Efficient BackProp", equation 16.
    """
    return ByFans(lambda fans: 1 / fans.fan_in, uniform=False)


_FACTORIES: dict[str, Callable[[], Initializer]] = {
    "gaussian": gaussian,
    "xavier": xavier,
    "normalized_xavier": normalized_xavier,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he": he,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "lecun_normal": lecun_normal,
    "zeros": lambda: zeros,
}


def get(name: str | Initializer) -> Initializer:
    """The initializer of that name with its factory's defaults; an initializer is returned as it is.

    Raises:
        ValueError: no initializer has that name; the nearest ones are listed.
        TypeError: a factory that was not called.

    Example:
        >>> get("he")(jax.random.key(0), (3, 2)).shape
        (3, 2)
    """
    if isinstance(name, str):
        check_choice("initializer", name, _FACTORIES)
        return _FACTORIES[name]()
    check_callable("initializer", name, "a function (key, shape, dtype) -> Array, or the name of one")
    factory = next((known for known, f in {**_FACTORIES, "constant": constant}.items() if f is name), None)
    if factory is not None:
        call = f"{factory}({'c' if factory == 'constant' else ''})"
        raise TypeError(message("initializer", f"the factory {factory}", "an initializer", f"Call it: {call}."))
    return name


def _normal(key: Key, shape: Shape, dtype: DType, stddev: Scalar) -> Array:
    wide = _wide(shape, dtype)
    check_key("key", key)
    return (jnp.asarray(stddev, wide) * jax.random.normal(key, shape, wide)).astype(dtype)


def _fans(shape: Shape) -> Fans:
    """The fans of a dense weight or a convolution kernel."""
    _check_sizes(shape)
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            message(
                "shape",
                tuple(shape),
                "a dense weight (d_in, d_out) or a kernel (..., channels_in, channels_out), no size 0",
                "Other arrays have no fans: draw them with zeros, constant(c) or gaussian(stddev).",
            )
        )
    *receptive_field, channels_in, channels_out = shape
    field = math.prod(receptive_field)
    return Fans(field * channels_in, field * channels_out)


def _wide(shape: Shape, dtype: DType) -> Any:
    """Checks both, and returns the dtype to draw in: float32 or wider."""
    _check_sizes(shape)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(message("dtype", dtype, "a floating-point dtype", "Give jnp.float32: weights need a gradient."))
    return jnp.promote_types(dtype, jnp.float32)


def _check_sizes(shape: Any) -> None:
    if not isinstance(shape, tuple | list):
        raise TypeError(message("shape", repr(shape), "a tuple of sizes", "A vector of n numbers has shape (n,)."))
    for size in shape:
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise TypeError(message("shape", shape, "integers >= 0", "Sizes shape the program, so none is traced."))
        if size < 0:
            raise ValueError(message("shape", tuple(shape), "integers >= 0"))
