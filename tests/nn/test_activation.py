"""The activation layer: any function of arrays, under its own name, without parameters."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn import activations
from fnn.nn import activation

KEY = jax.random.key(0)
X = jnp.array([[-2.0, -0.5, 0.0], [0.5, 2.0, 30.0]])
NAMES = ["identity", "step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "softmax"]


class Twice:
    """A callable object, which has no name."""

    def __call__(self, x: Any) -> Any:
        return 2 * x


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_function_of_that_name(name: str) -> None:
    function = getattr(activations, name)
    calls: list[dict[str, Any]] = [{}, {"train": True}, {"train": True, "key": KEY}]
    for layer in (activation(name), activation(function)):
        assert layer.name == name
        assert layer.init(KEY, X) == ({}, {})
        for options in calls:
            y, state = layer.apply({}, {}, X, **options)
            assert state == {}
            np.testing.assert_array_equal(y, function(X))


@pytest.mark.parametrize(
    ("function", "name", "expected"),
    [
        (jnp.sin, "sin", np.sin(X)),
        (jax.nn.relu, "relu", np.maximum(X, 0)),
        (lambda x: x * x, "activation", np.square(X)),
        (partial(activations.leaky_relu, slope=0.5), "activation", np.where(X < 0, X / 2, X)),
        (Twice(), "activation", 2 * X),
    ],
)
def test_any_function(function: Any, name: str, expected: np.ndarray) -> None:
    layer = activation(function)
    assert layer.name == name
    np.testing.assert_allclose(layer.apply({}, {}, X)[0], expected, rtol=1e-6)


def test_gradients_pass() -> None:
    slope = jax.jit(jax.grad(lambda x: activation("softplus").apply({}, {}, x)[0].sum()))(X)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-np.asarray(X, float))), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        ("rely", ValueError, r"activation: got 'rely', expected one of elu, gelu, .* Did you mean 'relu' or 'elu'"),
        ("Tanh", ValueError, r"activation: got 'Tanh', expected one of .* Did you mean 'tanh'\?"),
        (
            "swish",
            ValueError,
            r"activation: got 'swish', expected one of elu, gelu, identity, leaky_relu, relu",
        ),
        (None, TypeError, r"activation: got None, expected a function Array -> Array, or the name of one\."),
        (activation("relu"), TypeError, r"activation: got a Layer of 3, expected a function Array -> Array"),
    ],
)
def test_what_is_no_activation(function: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        activation(function)


@pytest.mark.parametrize("x", [[1.0, 2.0], jnp.ones(2, int)])
def test_what_is_no_array_of_floats(x: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^x: got (a list of 2|dtype int32), expected (an array|floating-point numbers)\."
    ):
        activation("relu").apply({}, {}, x)
