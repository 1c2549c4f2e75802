"""Activation functions: smooth or piecewise functions of one number, applied to every element.

Each keeps shape and dtype, and both its value and its derivative are finite at every finite input.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.errors import check_callable, check_choice, check_floating, check_scalar, message
from fnn.typing import Activation, Array, Scalar


def identity(x: ArrayLike) -> Array:
    """The identity, `f(x) = x`: the activation of a linear output.

    Example:
        >>> identity(jnp.array([-1.0, 2.0]))
        Array([-1.,  2.], dtype=float32)
    """
    return _real(x)


def step(x: ArrayLike) -> Array:
    """The unit step, `f(x) = 1 if x >= 0 else 0`: the perceptron's threshold.

    Its derivative is 0 everywhere, so no gradient passes: a perceptron learns by its own rule.

    Example:
        >>> step(jnp.array([-0.5, 0.0, 2.0]))
        Array([0., 1., 1.], dtype=float32)

    Source: Rosenblatt 1958, "The perceptron", Psychological Review 65(6).
    """
    x = _real(x)
    # A NaN compares false to everything: keep it a NaN.
    return jnp.where(jnp.isnan(x), x, (x >= 0).astype(x.dtype))


def sigmoid(x: ArrayLike) -> Array:
    """The logistic sigmoid, `f(x) = 1 / (1 + exp(-x))`, with values in (0, 1).

    `f'(x) = f(x) (1 - f(x))`, at most 1/4: gradients shrink at least by that factor in each layer.

    Example:
        >>> sigmoid(jnp.array([0.0, 1e4, -1e4]))
        Array([0.5, 1. , 0. ], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 3.10.
    """
    return jax.nn.sigmoid(_real(x))


def tanh(x: ArrayLike) -> Array:
    """The hyperbolic tangent, `f(x) = (e^x - e^-x) / (e^x + e^-x)`, with values in (-1, 1).

    `f'(x) = 1 - f(x)^2`, at most 1.

    Example:
        >>> tanh(jnp.array([0.0, 1e4]))
        Array([0., 1.], dtype=float32)

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.4.
    """
    return jnp.tanh(_real(x))


def relu(x: ArrayLike) -> Array:
    """The rectified linear unit, `f(x) = max(0, x)`; its derivative at 0 is taken as 0.

    Example:
        >>> relu(jnp.array([-2.0, 0.0, 3.0]))
        Array([0., 0., 3.], dtype=float32)

    Source: Nair and Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """
    return jax.nn.relu(_real(x))


def leaky_relu(x: ArrayLike, slope: Scalar = 0.01) -> Array:
    """The leaky rectifier, `f(x) = x if x >= 0 else slope x`: a unit never dies.

    Args:
        x: any shape.
        slope: the derivative at negative inputs; it may be traced.

    Raises:
        TypeError, ValueError: `slope` is not one finite number.

    Example:
        >>> leaky_relu(jnp.array([-2.0, 3.0]))
        Array([-0.02,  3.  ], dtype=float32)

    Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """
    check_scalar("slope", slope)
    x = _real(x)
    return jax.nn.leaky_relu(x, jnp.asarray(slope, x.dtype))


def elu(x: ArrayLike, alpha: Scalar = 1.0) -> Array:
    """The exponential linear unit, `f(x) = x if x > 0 else alpha (exp(x) - 1)`.

    Args:
        x: any shape.
        alpha: the negative of the limit at minus infinity; it may be traced.

    Raises:
        TypeError, ValueError: `alpha` is not one finite number.

    Example:
        >>> elu(jnp.array([-1e4, 0.0, 3.0]))
        Array([-1.,  0.,  3.], dtype=float32)

    Source: Clevert et al. 2016, "Fast and accurate deep network learning by ELUs", equation 16.
    """
    check_scalar("alpha", alpha)
    x = _real(x)
    return jax.nn.elu(x, jnp.asarray(alpha, x.dtype))


def gelu(x: ArrayLike) -> Array:
    """The Gaussian error linear unit, exact: `f(x) = x Phi(x)`, Phi the normal distribution function.

    Example:
        >>> gelu(jnp.array([0.0, 1e4, -1e4]))
        Array([    0., 10000.,    -0.], dtype=float32)

    Source: Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2.
    """
    x = _real(x)
    # Beyond 40 Phi is 0 or 1 in every dtype. Unbounded, its derivatives are NaN at the largest inputs.
    bounded = jnp.clip(x, -40, 40)
    return x * (0.5 * jax.lax.erfc(-math.sqrt(0.5) * bounded))


def silu(x: ArrayLike) -> Array:
    """The sigmoid linear unit or swish, `f(x) = x sigmoid(x)`.

    Example:
        >>> silu(jnp.array([0.0, 1e4]))
        Array([    0., 10000.], dtype=float32)

    Source: Elfwing et al. 2018, "Sigmoid-weighted linear units", equation 4.
    """
    return jax.nn.silu(_real(x))


def softplus(x: ArrayLike) -> Array:
    """The softplus, `f(x) = log(1 + exp(x))`: a smooth rectifier, whose derivative is the sigmoid.

    Example:
        >>> softplus(jnp.array([1e4, -1e4]))
        Array([10000.,     0.], dtype=float32)

    Source: Dugas et al. 2001, "Incorporating second-order functional knowledge".
    """
    return jax.nn.softplus(_real(x))


def softmax(x: ArrayLike) -> Array:
    """The softmax over the last axis, `f(x)_i = exp(x_i) / sum_j exp(x_j)`: probabilities of classes.

    An input of minus infinity masks its class: probability 0.

    Args:
        x: (..., classes), the logits.

    Raises:
        ValueError: `x` has no axis.

    Example:
        >>> softmax(jnp.array([1e4, 1e4, -jnp.inf]))
        Array([0.5, 0.5, 0. ], dtype=float32)

    Source: Bridle 1990, "Training stochastic model recognition algorithms as networks".
    """
    x = _real(x)
    if not x.ndim:
        raise ValueError(message("x", "shape ()", "(..., classes)", "For one logit of two classes: sigmoid."))
    return jax.nn.softmax(x, axis=-1)


_BY_NAME: dict[str, Activation] = {
    f.__name__: f for f in (identity, step, sigmoid, tanh, relu, leaky_relu, elu, gelu, silu, softplus, softmax)
}


def get(name: str | Activation) -> Activation:
    """The activation of that name; a function is returned as it is.

    Raises:
        ValueError: no activation has that name; the nearest ones are listed.

    Example:
        >>> get("relu") is relu
        True
    """
    if not isinstance(name, str):
        check_callable("activation", name, "a function Array -> Array, or the name of one")
        return name
    check_choice("activation", name, _BY_NAME)
    return _BY_NAME[name]


def derivative(fn: str | Activation) -> Callable[[ArrayLike], Array]:
    """The derivative f' of an elementwise activation, as a function of the same input.

    One forward-mode pass with tangent 1 gives every element's derivative at once.

    Raises:
        ValueError: `fn` is softmax, whose derivative is a matrix: use `jax.jacobian`.

    Example:
        >>> derivative("sigmoid")(jnp.array([0.0, 1e4]))
        Array([0.25, 0.  ], dtype=float32)
    """
    f = get(fn)
    if f is softmax:
        raise ValueError(message("fn", "softmax", "an elementwise activation", "Its Jacobian: jax.jacobian(softmax)."))

    def f_prime(x: ArrayLike) -> Array:
        x = _real(x)
        return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]

    return f_prime


def _real(x: ArrayLike) -> Array:
    if isinstance(x, float | np.floating):
        return jnp.asarray(x)
    check_floating("x", x)
    return jnp.asarray(x)
