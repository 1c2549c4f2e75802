"""The chain rule by hand: back-propagation through a perceptron of many layers, as the lecture writes it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fnn import activations
from fnn.data.batch import weighted_mean
from fnn.errors import check_array, check_callable, message
from fnn.inspect.trace import ByLayer, Trace
from fnn.typing import Activation, Array, Loss, Params


def chain_rule(params: Params, x: Array, y: Array, loss: Loss, activation: str | Activation = "relu") -> Trace:
    """Back-propagation through `fnn.nn.mlp`, every step of it written out; `backprop` gives the same numbers.

    Forward, from `a^0 = x`:

        z^l = a^(l-1) W^l + b^l,   a^l = f(z^l),   and the last layer's a^L = z^L

    and backward, from `delta^L = dL/dz^L`, which the loss gives:

        delta^l = (delta^(l+1) W^(l+1)^T) * f'(z^l)
        dW^l = a^(l-1)^T delta^l,   db^l = sum over examples of delta^l

    It is there to be read, and to check others against: `jax.grad` takes the same steps for any network.

    Args:
        params: those of a network without normalization or dropout: `{"dense_0": {"w", "b"}, "dense_1": ...}`.
        x: inputs, (n, d_in).
        y: targets, as the loss takes them.
        loss: (outputs, targets) to one value an example; only its derivative by the outputs is left to JAX.
        activation: f of the hidden layers, a function or its name.

    Raises:
        ValueError: parameters of another kind of network; an x that they do not fit; a loss that does not give one
            value an example.
        TypeError: a loss that is no function.

    Example:
        >>> net = fnn.nn.mlp([3, 2], "tanh")
        >>> x, y = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 1.0]])
        >>> params, _ = net.init(jax.random.key(0), x)
        >>> trace = chain_rule(params, x, y, fnn.losses.squared_error, "tanh")
        >>> g = jax.grad(lambda p: fnn.losses.squared_error(net.apply(p, {}, x)[0], y).mean())(params)
        >>> bool(jnp.allclose(trace["dense_0"].dw, g["dense_0"]["w"], atol=1e-6))
        True

    Source: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors",
    equations 4 to 6; Nielsen 2015, "Neural networks and deep learning", equations BP1 to BP4.
    """
    check_array("x", x)
    check_callable("loss", loss, "a function (outputs, targets) -> one value per example")
    names = _layers(params)
    inputs_of = params[names[0]]["w"].shape[0]
    if x.ndim != 2 or x.shape[1] != inputs_of:
        raise ValueError(message("x", f"shape {x.shape}", f"shape (n, {inputs_of}), as w of {names[0]} asks"))
    f, df = activations.get(activation), activations.derivative(activations.get(activation))
    last = len(names) - 1
    inputs, zs = [x], []
    for number, name in enumerate(names):
        z = inputs[-1] @ params[name]["w"] + params[name]["b"]
        zs.append(z)
        inputs.append(z if number == last else f(z))
    value, delta = jax.value_and_grad(lambda outputs: weighted_mean("loss", loss(outputs, y), None, len(x)))(zs[-1])
    return Trace(value, *_backward(params, names, inputs, zs, delta, df))


def _backward(
    params: Params, names: list[str], inputs: list[Array], zs: list[Array], delta: Array, df: Callable[[Array], Array]
) -> tuple[Params, ByLayer[tuple[Array, ...]]]:
    gradient: dict[str, Params] = {}
    flows: list[tuple[Array, ...]] = [(zs[-1], delta)]
    for number in reversed(range(len(names))):
        gradient[names[number]] = {"w": inputs[number].T @ delta, "b": jnp.sum(delta, axis=0)}
        if number:
            z, a, da = zs[number - 1], inputs[number], delta @ params[names[number]]["w"].T
            delta = da * df(z)
            flows.append((z, delta, a, da))
    return gradient, ByLayer(names, flows[::-1])


def _layers(params: Params) -> list[str]:
    names = [f"dense_{number}" for number in range(len(params))] if isinstance(params, dict) else []
    if not names or set(names) != set(params) or any(not _is_dense(params[name]) for name in names):
        got = ", ".join(map(str, params)) if isinstance(params, dict) else f"a {type(params).__name__}"
        remedy = "Other networks: fnn.inspect.backprop."
        raise ValueError(message("params", got, "dense_0, dense_1, ... with w and b each", remedy))
    return names


def _is_dense(layer: Params) -> bool:
    return isinstance(layer, dict) and set(layer) == {"w", "b"}
