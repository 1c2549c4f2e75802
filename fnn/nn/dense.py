"""The dense layer, f(x W + b) without its f."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn import initializers
from fnn.errors import check_count, check_flag, check_floating, check_key, message
from fnn.nn.layer import Layer, Shaped
from fnn.typing import Array, DType, Initializer, Key, Params, Shape, State


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
        params = {"w": _drawn("w_init", draw_w, key_w, (x.shape[-1], units), dtype)}
        return (params | {"b": _drawn("b_init", draw_b, key_b, (units,), dtype)} if use_bias else params), {}

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        del train, key
        _check_input(x)
        x = jnp.asarray(x)
        w_shape, b_shape = (x.shape[-1], units), (units,)
        _check_fit(params, x, {"w": w_shape, "b": b_shape} if use_bias else {"w": w_shape})
        y = x @ params["w"]
        return (y + params["b"] if use_bias else y), state

    return Layer("dense", init, apply)


def _drawn(argument: str, draw: Initializer, key: Key, shape: Shape, dtype: DType) -> Array:
    p = draw(key, shape, dtype)
    got = f"{p.dtype}{list(p.shape)}" if isinstance(p, jax.Array | np.ndarray) else f"a {type(p).__name__}"
    if got != f"{dtype}{list(shape)}":
        remedy = "An initializer draws: (key, shape, dtype) -> Array. A factory is called first: he()."
        raise ValueError(message(f"what {argument} draws", got, f"{dtype}{list(shape)}", remedy))
    return jnp.asarray(p)


def _check_input(x: Any) -> None:
    check_floating("x", x)
    if len(x.shape) < 2:
        remedy = "One example is a batch of one: x[None]."
        raise ValueError(message("x", f"shape {x.shape}", "shape (n, ..., d_in), examples first", remedy))


def _check_fit(params: Params, x: Array, shapes: dict[str, tuple[int, ...]]) -> None:
    if not isinstance(params, dict) or set(params) != set(shapes):
        got = f"entries {sorted(params)}" if isinstance(params, dict) else f"a {type(params).__name__}"
        raise ValueError(message("params of dense", got, f"entries {sorted(shapes)}", "Make them with init."))
    for name in shapes:
        check_floating(name, params[name])
    w = params["w"]
    if w.ndim == 2 and x.shape[-1] != len(w):
        raise ValueError(message("x", f"shape {x.shape}", f"last axis {len(w)}, as w is {w.shape}"))
    for name, shape in shapes.items():
        p = params[name]
        if p.shape != shape:
            remedy = "These are another layer's: make them with init."
            raise ValueError(message(f"params of dense, {name}", f"shape {p.shape}", f"shape {shape}", remedy))
        dtype = jax.dtypes.canonicalize_dtype(p.dtype)
        if x.dtype != dtype:
            cast = f"Cast it: x.astype({dtype})."
            raise TypeError(message("x", f"dtype {x.dtype}", f"{dtype}, as {name} is", cast))
