"""The convolutional layer."""

import jax
import jax.numpy as jnp

from fnn import initializers
from fnn.errors import check_choice, check_count, check_flag, check_key, message
from fnn.nn.convolution import Plan, convolve
from fnn.nn.layer import Layer, Shaped
from fnn.nn.parameters import check_fit, drawn
from fnn.nn.window import Padding, Sizes, channels_last, check_channels_last, check_images, check_settings, settled
from fnn.typing import Array, Initializer, Key, Params, State


def conv(
    channels: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    dilation: Sizes = 1,
    groups: int = 1,
    w_init: str | Initializer | None = None,
    b_init: str | Initializer = initializers.zeros,
    use_bias: bool = True,
    lowering: str = "auto",
) -> Layer:
    """A convolution in one, two or three dimensions, `y[o] = sum_k x[o stride + k dilation - padding] w[k] + b`.

    As everywhere in machine learning the kernel is not turned round. Parameters: `w` of shape (kernel...,
    c_in / groups, channels) and `b` of shape (channels,), in the dtype of x. How many spatial axes there are
    comes from x; one integer stands for all of them.

    Args:
        channels: channels of the output.
        kernel_size: size of the kernel on each spatial axis.
        strides: how far the kernel moves at a time.
        padding: "SAME" (y has ceil(size / stride); of an odd number of zeros one more goes to the end; PyTorch
            puts both ends alike, which differs at strides above 1), "VALID" (none), one number for all ends, or
            a number or pair (before, after) for each spatial axis.
        dilation: how far the elements of the kernel lie apart.
        groups: the channels are cut into so many groups, and each output sees one of them; c_in is depthwise.
        w_init: draws w, an initializer or its name; None is `normalized_xavier()`.
        b_init: draws b.
        use_bias: whether there is a b.
        lowering: how it is computed, all equal up to rounding. "auto" is "cpu" on a CPU and "xla" elsewhere.
            "cpu" has gradients written for XLA's CPU backend, many times faster inside `scan`, and no
            forward-mode derivative (`jax.jvp`); "xla" is `jax.lax.conv_general_dilated` as it is.

    Returns:
        A layer from x (n, ..., c_in) to y (n, ..., channels): images are (n, height, width, channels).

    Raises:
        ValueError: sizes below 1, groups that do not divide the channels, a kernel that is larger than the
            padded x, or x with its channels first.
        TypeError: x is not of floating-point numbers, or of another dtype than the parameters.

    Example:
        The difference of neighbours:

        >>> layer = conv(1, 2, padding="VALID", w_init=lambda *_: jnp.array([-1.0, 1.0]).reshape(2, 1, 1))
        >>> x = jnp.array([0.0, 1.0, 4.0, 9.0]).reshape(1, 4, 1)
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> layer.apply(params, state, x)[0].ravel()
        Array([1., 3., 5.], dtype=float32)

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section 2.A; Goodfellow
    et al. 2016, "Deep Learning", section 9.1.
    """
    check_count("channels", channels)
    check_settings("kernel_size", kernel_size, strides, padding, dilation)
    check_count("groups", groups)
    if channels % groups:
        raise ValueError(message("groups", groups, f"a divisor of channels={channels}"))
    check_flag("use_bias", use_bias)
    check_choice("lowering", lowering, ("auto", "cpu", "xla"))
    draw_w = initializers.get("normalized_xavier" if w_init is None else w_init)
    draw_b = initializers.get(b_init)

    def plan(x: Shaped) -> Plan:
        check_images("conv", x)
        _check_groups(x, groups)
        return Plan(settled(x, "kernel_size", kernel_size, strides, padding, dilation), groups, lowering)

    def shapes(x: Shaped, size: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        w = (*size, x.shape[-1] // groups, channels)
        return {"w": w, "b": (channels,)} if use_bias else {"w": w}

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        check_key("key", key)
        check_channels_last(x)
        shape = shapes(x, plan(x).window.size)
        dtype = jax.dtypes.canonicalize_dtype(x.dtype)
        key_w, key_b = jax.random.split(key)
        params = {"w": drawn("w_init", draw_w, key_w, shape["w"], dtype)}
        return (params | {"b": drawn("b_init", draw_b, key_b, shape["b"], dtype)} if use_bias else params), {}

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        del train, key
        settings = plan(x)
        x = jnp.asarray(x)
        _check_channels(params, x, groups)
        check_fit("conv", params, x, shapes(x, settings.window.size))
        b = jnp.asarray(params["b"]) if use_bias else None
        return convolve(settings, x, jnp.asarray(params["w"]), b), state

    return Layer("conv", init, apply)


def _check_groups(x: Shaped, groups: int) -> None:
    if x.shape[-1] % groups:
        remedy = channels_last(len(x.shape)) if x.shape[1] % groups == 0 else ""
        got = f"{x.shape[-1]} channels, of shape {tuple(x.shape)}"
        raise ValueError(message("x", got, f"a multiple of groups={groups}", remedy))


def _check_channels(params: Params, x: Array, groups: int) -> None:
    w = params.get("w") if isinstance(params, dict) else None
    expected = groups * w.shape[-2] if w is not None and w.ndim == x.ndim else x.shape[-1]
    if x.shape[-1] != expected:
        remedy = channels_last(x.ndim) if x.shape[1] == expected else ""
        raise ValueError(message("x", f"shape {x.shape}", f"{expected} channels on the last axis", remedy))
