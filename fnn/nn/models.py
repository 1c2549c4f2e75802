"""Networks as compositions of layers."""

from collections.abc import Callable, Sequence
from typing import Any

from fnn import activations, initializers
from fnn.errors import check_callable, check_count, check_floating, is_zero, message
from fnn.nn.activation import activation as activation_layer
from fnn.nn.batch_norm import batch_norm
from fnn.nn.conv import conv
from fnn.nn.dense import dense
from fnn.nn.dropout import dropout as dropout_layer
from fnn.nn.layer import Layer, Shaped, residual, sequential
from fnn.nn.masked import check_active, keep_units, of_active
from fnn.nn.parameters import check_entries, check_fit
from fnn.nn.pool import flatten, global_avg_pool, max_pool
from fnn.nn.window import Sizes, check_settings
from fnn.typing import Activation, Array, Initializer, Key, Params, Scalar, State

# Of these the largest of a window is the activation of the largest: pooling first, it is computed less often.
_MONOTONE = frozenset({"identity", "relu", "leaky_relu", "elu", "sigmoid", "softplus", "tanh"})
_RELU_LIKE = frozenset({"relu", "leaky_relu", "elu", "gelu", "silu", "softplus"})


def perceptron(units: int = 1, activation: str | Activation = "step") -> Layer:
    """One layer of neurons, `y = f(x W + b)`; with the step function, Rosenblatt's perceptron.

    Args:
        units: number of neurons.
        activation: f, a function or its name.

    Returns:
        A layer from x (n, d_in) to y (n, units), with parameters `dense_0/w` and `dense_0/b`.

    Example:
        Two inputs, both needed (AND):

        >>> net = perceptron()
        >>> params = {"dense_0": {"w": jnp.array([[1.0], [1.0]]), "b": jnp.array([-1.5])}}
        >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> net.apply(params, {}, x)[0].ravel()
        Array([0., 0., 0., 1.], dtype=float32)

    Source: Rosenblatt 1958, "The perceptron", Psychological Review 65(6).
    """
    return _of_vectors("perceptron", sequential(dense(units), activation_layer(activation)))


def mlp(
    widths: Sequence[int],
    activation: str | Activation = "relu",
    *,
    dropout: Scalar = 0.0,
    norm: Callable[[], Layer] | None = None,
    w_init: str | Initializer | None = None,
    active: Sequence[Scalar] | None = None,
) -> Layer:
    """A multi-layer perceptron, `h_l = f(h_{l-1} W_l + b_l)`, whose last layer has no activation.

    Args:
        widths: hidden widths, then the number of outputs: [128, 64, 10]. The input's size comes from x.
        activation: f, a function or its name.
        dropout: share of each hidden layer that is dropped in training; it may be traced.
        norm: makes a normalization layer, put before each activation.
        w_init: draws every W, an initializer or its name. None picks He for ReLU-like activations,
            normalized Xavier (Glorot) for the others, and normalized Xavier for the last layer.
        active: how many units of each hidden layer take part, which may be traced: a sweep over widths. The
            others are held at zero, so that the network is the narrower one; its first weights are drawn for
            the active fans.

    Returns:
        A layer from x (n, d_in) to y (n, widths[-1]), with parameters `dense_0/w`, `dense_0/b`, ...

    Raises:
        ValueError: no widths, a width below 1, an unknown activation, active units that are not there or with
            another norm than batch_norm, or x that is not a matrix.

    Example:
        >>> net = mlp([128, 64, 10])
        >>> params, state = net.init(jax.random.key(0), jnp.ones((32, 784)))
        >>> net.apply(params, state, jnp.ones((32, 784)))[0].shape
        (32, 10)

    Source: Goodfellow et al. 2016, "Deep Learning", chapter 6.
    """
    if isinstance(widths, str) or not isinstance(widths, Sequence) or not len(widths):
        raise ValueError(
            message("widths", widths, "hidden widths, then the number of outputs", "Such as [128, 64, 10].")
        )
    for position, width in enumerate(widths):
        check_count(f"widths[{position}]", width)
    if norm is not None:
        check_callable("norm", norm, "a function that makes a normalization layer, or None")
    f = activations.get(activation)
    hidden_init = _initializer_for(f) if w_init is None else w_init
    drop = dropout_layer(dropout)
    *hidden, outputs = widths
    units = [None] * len(hidden) if active is None else check_active(active, widths, norm)
    layers: list[Layer] = []
    for width, fan_in, fan_out in zip(hidden, [None, *units], units, strict=False):
        draw = of_active(hidden_init, fan_in, fan_out)
        layers += [dense(width, w_init=draw), *([norm()] if norm else []), activation_layer(f)]
        layers += [] if fan_out is None else [keep_units(fan_out)]
        # Without dropout no key is asked for; the result is that of a traced rate 0.
        layers += [] if is_zero(dropout) else [drop]
    last = dense(outputs, w_init=of_active(w_init, units[-1] if units else None, None))
    return _of_vectors("mlp", sequential(*layers, last))


def cnn(
    channels: int | Sequence[int],
    hidden: int | Sequence[int],
    classes: int,
    *,
    kernel_size: Sizes = 3,
    pool: Sizes = 2,
    activation: str | Activation = "relu",
    norm: Callable[[], Layer] | None = None,
    dropout: Scalar = 0.0,
    w_init: str | Initializer | None = None,
    lowering: str = "auto",
) -> Layer:
    """A convolutional network: stages of convolution, activation and max-pooling, and an `mlp` on what they find.

    Args:
        channels: of each stage: [32, 64]. The image's size and channels come from x.
        hidden: widths of the hidden dense layers: [128]; [] for none.
        classes: number of outputs.
        kernel_size: of every convolution; padding keeps the image's size.
        pool: window of the pooling after each convolution; what is left over at an end is cut off.
        activation: f, a function or its name.
        norm: makes a normalization layer, put before each activation of a convolution, which has no bias then.
        dropout: share of each hidden dense layer that is dropped in training; it may be traced.
        w_init: draws every w, an initializer or its name; None picks as `mlp` does.
        lowering: of the convolutions, as `conv` takes it.

    Returns:
        A layer from x (n, height, width, channels) to y (n, classes), with parameters `conv_0/w`, ...,
        `dense_0/w`, ...; one or three spatial axes serve too.

    Raises:
        ValueError: no stages, a size below 1, an unknown activation, or an image smaller than its windows.

    Example:
        >>> net = cnn([8, 16], [32], 10)
        >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 28, 28, 1)))
        >>> jax.tree.map(jnp.shape, params["conv_1"]), params["dense_0"]["w"].shape
        ({'b': (16,), 'w': (3, 3, 8, 16)}, (784, 32))

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section 2.B; the
    order of its stages as Goodfellow et al. 2016, "Deep Learning", figure 9.7.
    """
    stages, widths = _widths("channels", channels, 1), _widths("hidden", hidden, 0)
    check_count("classes", classes)
    check_settings("pool", pool, pool, "VALID")
    if norm is not None:
        check_callable("norm", norm, "a function that makes a normalization layer, or None")
    f = activations.get(activation)
    draw = _initializer_for(f) if w_init is None else w_init
    # By its own name: a partial may have turned it round, as leaky_relu with a negative slope.
    rising, pooling = getattr(f, "__name__", "") in _MONOTONE, max_pool(pool)
    then = [pooling, activation_layer(f)] if rising else [activation_layer(f), pooling]
    layers: list[Layer] = []
    for width in stages:
        if norm is None and rising:
            layers += [_pooled(width, kernel_size, pooling, draw, lowering), activation_layer(f)]
        else:
            convolution = conv(width, kernel_size, w_init=draw, use_bias=norm is None, lowering=lowering)
            layers += [convolution, *([norm()] if norm else []), *then]
    layers.append(flatten())
    drop = dropout_layer(dropout)
    for width in widths:
        layers += [dense(width, w_init=draw), activation_layer(f), *([] if is_zero(dropout) else [drop])]
    net = sequential(*layers, dense(classes, w_init=w_init))
    return net._replace(name="cnn")


def resnet(
    channels: Sequence[int],
    blocks: int,
    classes: int,
    *,
    activation: str | Activation = "relu",
    norm: Callable[[], Layer] = batch_norm,
    w_init: str | Initializer | None = None,
    lowering: str = "auto",
) -> Layer:
    """A small residual network: stages of blocks `f(s(x) + norm(conv(f(norm(conv(x))))))`, then their mean.

    A convolution of size 3 comes first; at the end each channel is averaged over the image. Each stage but
    the first halves the image: there the shortcut s is a convolution of size 1 with stride 2, elsewhere the
    identity.

    Args:
        channels: of each stage: [16, 32, 64].
        blocks: how many blocks a stage has; there are `2 blocks stages + 2` layers one after another.
        classes: number of outputs.
        activation: f, a function or its name.
        norm: makes a normalization layer, put after each convolution; these have no bias.
        w_init: draws every w, an initializer or its name; None picks as `mlp` does.
        lowering: of the convolutions, as `conv` takes it.

    Returns:
        A layer from x (n, height, width, channels) to y (n, classes).

    Raises:
        ValueError: no stages, a size below 1, or an unknown activation.

    Example:
        >>> net = resnet([8, 16], 1, 2)
        >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 8, 8, 3)))
        >>> sorted(params), sorted(params["residual_1"])
        (['batch_norm_0', 'conv_0', 'dense_0', 'residual_0', 'residual_1'], ['layer', 'shortcut'])

    Source: He et al. 2016, "Deep residual learning for image recognition", sections 3.3 and 4.2, option B.
    """
    stages = _widths("channels", channels, 1)
    check_count("blocks", blocks)
    check_count("classes", classes)
    check_callable("norm", norm, "a function that makes a normalization layer")
    f = activation_layer(activation)
    draw = _initializer_for(activations.get(activation)) if w_init is None else w_init

    def convolved(width: int, size: int, strides: int = 1) -> list[Layer]:
        return [conv(width, size, strides=strides, w_init=draw, use_bias=False, lowering=lowering), norm()]

    def block(width: int, strides: int) -> Layer:
        inner = sequential(*convolved(width, 3, strides), f, *convolved(width, 3))
        return residual(inner, None if strides == 1 else sequential(*convolved(width, 1, strides)))

    layers = [*convolved(stages[0], 3), f]
    for stage, width in enumerate(stages):
        for number in range(blocks):
            layers += [block(width, 2 if stage and not number else 1), f]
    net = sequential(*layers, global_avg_pool(), dense(classes, w_init=w_init))
    return net._replace(name="resnet")


def _pooled(width: int, kernel_size: Sizes, pool: Layer, w_init: str | Initializer, lowering: str) -> Layer:
    """A convolution with pooling before its bias, `max(x * w) + b = max(x * w + b)`: the fewer numbers are added to."""
    whole, bare = (conv(width, kernel_size, w_init=w_init, use_bias=b, lowering=lowering) for b in (True, False))

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        del train, key
        check_entries("params of conv", params, {"w": (), "b": ()})
        z, _ = bare.apply({"w": params["w"]}, {}, x)
        check_fit("conv", {"b": params["b"]}, z, {"b": (width,)})
        return pool.apply({}, {}, z)[0] + params["b"], state

    return whole._replace(apply=apply)


def _widths(argument: str, widths: int | Sequence[int], fewest: int) -> list[int]:
    many: list[Any] = list(widths) if isinstance(widths, Sequence) and not isinstance(widths, str) else [widths]
    if len(many) < fewest:
        raise ValueError(message(argument, widths, "one width for each stage", "Such as [32, 64]."))
    for position, width in enumerate(many):
        check_count(f"{argument}[{position}]", width)
    return many


def _name_of(f: Activation) -> str:
    # By name, so that jax.nn.relu and partial(leaky_relu, slope=0.2) count too.
    return getattr(getattr(f, "func", f), "__name__", "")


def _initializer_for(f: Activation) -> Initializer:
    return initializers.he() if _name_of(f) in _RELU_LIKE else initializers.normalized_xavier()


def _of_vectors(name: str, net: Layer) -> Layer:
    def check(x: Shaped | Array) -> None:
        check_floating("x", x)
        if len(x.shape) != 2:
            remedy = "Flatten each example: x.reshape(len(x), -1)." if len(x.shape) > 2 else "One example: x[None]."
            raise ValueError(message("x", f"shape {x.shape}", f"shape (n, d_in) for {name}", remedy))

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        check(x)
        return net.init(key, x)

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        check(x)
        return net.apply(params, state, x, train=train, key=key)

    return Layer(name, init, apply)
