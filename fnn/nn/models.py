"""Networks as compositions of layers."""

from collections.abc import Callable, Sequence

from fnn import activations, initializers
from fnn.errors import check_callable, check_count, check_floating, is_zero, message
from fnn.nn.activation import activation as activation_layer
from fnn.nn.dense import dense
from fnn.nn.dropout import dropout as dropout_layer
from fnn.nn.layer import Layer, Shaped, sequential
from fnn.typing import Activation, Array, Initializer, Key, Params, Scalar, State

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
) -> Layer:
    """A multi-layer perceptron, `h_l = f(h_{l-1} W_l + b_l)`, whose last layer has no activation.

    Args:
        widths: hidden widths, then the number of outputs: [128, 64, 10]. The input's size comes from x.
        activation: f, a function or its name.
        dropout: share of each hidden layer that is dropped in training; it may be traced.
        norm: makes a normalization layer, put before each activation.
        w_init: draws every W, an initializer or its name. None picks He for ReLU-like activations,
            normalized Xavier (Glorot) for the others, and normalized Xavier for the last layer.

    Returns:
        A layer from x (n, d_in) to y (n, widths[-1]), with parameters `dense_0/w`, `dense_0/b`, ...

    Raises:
        ValueError: no widths, a width below 1, an unknown activation, or x that is not a matrix.

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
    layers: list[Layer] = []
    for width in widths[:-1]:
        layers += [dense(width, w_init=hidden_init), *([norm()] if norm else []), activation_layer(f)]
        # Without dropout no key is asked for; the result is that of a traced rate 0.
        layers += [] if is_zero(dropout) else [drop]
    return _of_vectors("mlp", sequential(*layers, dense(widths[-1], w_init=w_init)))


def _initializer_for(f: Activation) -> Initializer:
    # By name, so that jax.nn.relu and partial(leaky_relu, slope=0.2) count too.
    name = getattr(getattr(f, "func", f), "__name__", "")
    return initializers.he() if name in _RELU_LIKE else initializers.normalized_xavier()


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
