"""The dense layer, f(x W + b) without its f."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from fnn import initializers
from fnn.errors import check_count, check_flag, check_floating, check_key, message
from fnn.nn.layer import Layer, Shaped
from fnn.nn.parameters import check_fit, check_last_axis, drawn
from fnn.typing import Array, Initializer, Key, Params, State

_FEW = 16  # outputs


def dense(
    units: int,
    *,
    w_init: str | Initializer | None = None,
    b_init: str | Initializer = initializers.zeros,
    use_bias: bool = True,
) -> Layer:
    """A fully connected layer, `y = x W + b`.

    Parameters: `w` of shape (d_in, units) and `b` of shape (units,), in the dtype of x. On a GPU the
    product runs in TF32 by default; `jax.default_matmul_precision("float32")` asks for more.

    Args:
        units: number of outputs.
        w_init: draws w, an initializer or its name; None is `normalized_xavier()`.
        b_init: draws b.
        use_bias: whether there is a b.

    Returns:
        A layer from x (n, ..., d_in) to y (n, ..., units).

    Raises:
        ValueError: x has no axis of examples, its last axis is not d_in, or the parameters are of
            another layer.
        TypeError: x is not of floating-point numbers, or of another dtype than the parameters.

    Example:
        >>> layer = dense(2, w_init=initializers.constant(1.0))
        >>> params, state = layer.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> layer.apply(params, state, jnp.array([[1.0, 2.0, 3.0]]))[0]
        Array([[6., 6.]], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 6.1; for the first weights Glorot and Bengio
    2010, equation 16.
    """
    check_count("units", units)
    check_flag("use_bias", use_bias)
    draw_w = initializers.get("normalized_xavier" if w_init is None else w_init)
    draw_b = initializers.get(b_init)

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        check_key("key", key)
        _check_input(x)
        dtype = jax.dtypes.canonicalize_dtype(x.dtype)
        key_w, key_b = jax.random.split(key)
        params = {"w": drawn("w_init", draw_w, key_w, (x.shape[-1], units), dtype)}
        return (params | {"b": drawn("b_init", draw_b, key_b, (units,), dtype)} if use_bias else params), {}

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        del train, key
        _check_input(x)
        x = jnp.asarray(x)
        w_shape, b_shape = (x.shape[-1], units), (units,)
        check_last_axis(x, params, "w", 2)
        check_fit("dense", params, x, {"w": w_shape, "b": b_shape} if use_bias else {"w": w_shape})
        y = _product(x, params["w"])
        return (y + params["b"] if use_bias else y), state

    return Layer("dense", init, apply)


@jax.custom_jvp
def _product(x: Array, w: Array) -> Array:
    return x @ w


@partial(_product.defjvp, symbolic_zeros=True)
def _product_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (x, w), (dx, dw) = primals, tangents
    still = jax.custom_derivatives.SymbolicZero
    y = x @ w
    by_x = jnp.zeros_like(y) if isinstance(dx, still) else dx @ w
    return y, by_x if isinstance(dw, still) else by_x + _by_weights(x, dw)


def _by_weights(x: Array, dw: Array) -> Array:
    """The product x dW. Its transpose is the weights' gradient, `x^T delta`; with few outputs it is `(delta^T x)^T`.

    XLA's CPU backend takes the first form through a slow product, which lays the large x out anew: seven times
    as slow for 512 inputs and 10 outputs, a tenth of a small network's step. The barriers keep it from going back.
    """
    if x.ndim != 2 or dw.shape[1] > _FEW:
        return x @ dw
    fixed = jax.lax.optimization_barrier
    return fixed(jax.lax.dot_general(fixed(dw.T), x, (((1,), (1,)), ((), ())))).T


def _check_input(x: Any) -> None:
    check_floating("x", x)
    if len(x.shape) < 2:
        remedy = "One example is a batch of one: x[None]."
        raise ValueError(message("x", f"shape {x.shape}", "shape (n, ..., d_in), examples first", remedy))
