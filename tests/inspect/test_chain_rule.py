"""The chain rule written by hand gives what jax.grad and backprop give."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest

import fnn
from fnn.inspect import backprop, chain_rule
from tests.inspect.networks import CE, CLASSES, ROWS

LOSSES = {"cross-entropy": (CE, CLASSES), "squared": (fnn.losses.squared_error, jnp.sin(ROWS[:, :3]))}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "gelu", "identity", "leaky_relu"])
@pytest.mark.parametrize("hidden", [[], [4], [7, 5, 6, 4]], ids=str)
def test_it_equals_backprop(hidden: list[int], activation: str, loss: str) -> None:
    net, (function, y) = fnn.nn.mlp([*hidden, 3], activation), LOSSES[loss]
    params, state = net.init(jax.random.key(3), ROWS)
    by_hand = chain_rule(params, ROWS, y, function, activation)
    chex.assert_trees_all_close(by_hand, backprop(net, function, params, state, (ROWS, y)), rtol=1e-5, atol=1e-6)


def test_it_equals_grad_to_a_millionth() -> None:
    net = fnn.nn.mlp([16, 16, 3], "tanh")
    params, state = net.init(jax.random.key(3), ROWS)
    gradient = jax.grad(lambda p: CE(net.apply(p, state, ROWS)[0], CLASSES).mean())(params)
    chex.assert_trees_all_close(chain_rule(params, ROWS, CLASSES, CE, "tanh").gradient, gradient, atol=1e-6)


def test_it_compiles() -> None:
    params, _ = fnn.nn.mlp([4, 3]).init(jax.random.key(3), ROWS)
    compiled = jax.jit(lambda p: chain_rule(p, ROWS, CLASSES, CE))(params)
    chex.assert_trees_all_close(compiled, chain_rule(params, ROWS, CLASSES, CE), atol=1e-6)


@pytest.mark.parametrize("net", [fnn.nn.mlp([4, 3], norm=fnn.nn.batch_norm), fnn.nn.dense(3)], ids=["norm", "bare"])
def test_other_networks_are_refused(net: fnn.nn.Layer) -> None:
    params, _ = net.init(jax.random.key(0), ROWS)
    with pytest.raises(ValueError, match=r"params: got .*, expected dense_0, dense_1, ... with w and b each"):
        chain_rule(params, ROWS, CLASSES, CE)


PARAMS, _ = fnn.nn.mlp([4, 3]).init(jax.random.key(0), ROWS)
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "too few inputs": (
        (PARAMS, ROWS[:, :2], CLASSES, CE),
        ValueError,
        r"x: got shape \(6, 2\), expected shape \(n, 5\)",
    ),
    "one example": ((PARAMS, ROWS[0], CLASSES, CE), ValueError, r"x: got shape \(5,\), expected shape \(n, 5\)"),
    "a name for the loss": ((PARAMS, ROWS, CLASSES, "mse"), TypeError, "loss: got 'mse', expected a function"),
    "a mean loss": ((PARAMS, ROWS, CLASSES, lambda o, y: CE(o, y).mean()), ValueError, "result of loss: got shape"),
    "bare arrays": (
        ({"dense_0": ROWS}, ROWS, CLASSES, CE),
        ValueError,
        "params: got dense_0, expected dense_0, .* w and",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    arguments, kind, match = REFUSED[name]
    with pytest.raises(kind, match=match):
        chain_rule(*arguments)
