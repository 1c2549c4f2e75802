"""Layers that users write: what they do with layers of their own is seen, and no gradient is lost."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

import fnn
from fnn.inspect import Trace, backprop
from fnn.nn import Layer, activation, dense, residual, sequential
from tests.inspect.networks import CE, CLASSES, ROWS

NOISE = jax.random.key(5)


def wrapped(inner: Any, apply: Any, name: str = "own") -> Layer:
    """A layer with the parameters of another one."""

    def whole(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        del train, key
        return apply(lambda x: inner.apply(params, state, x)[0], x), state

    return Layer(name, inner.init, whole)


INNER = sequential(dense(5), activation("tanh"))


def checked(*layers: Layer) -> Trace:
    """The trace of a network of these layers and a last one, whose gradient is JAX's."""
    net = sequential(*layers, dense(3))
    params, state = net.init(NOISE, ROWS)
    trace = backprop(net, CE, params, state, (ROWS, CLASSES), key=NOISE)
    expected = jax.grad(lambda p: CE(net.apply(p, state, ROWS, train=True, key=NOISE)[0], CLASSES).mean())(params)
    chex.assert_trees_all_close(trace.gradient, expected, atol=1e-6)
    return trace


def test_a_layer_that_is_called_three_times() -> None:
    trace = checked(wrapped(INNER, lambda f, x: f(f(f(x)))))
    calls = ["own_0/dense_0", "own_0/dense_0@2", "own_0/dense_0@3"]
    assert list(trace) == [*calls, "own_0", "dense_0"]
    # The derivatives by a bias of all calls add up.
    np.testing.assert_allclose(sum(trace[call].delta.sum(0) for call in calls), trace[calls[1]].db, atol=1e-6)
    statistics = fnn.inspect.statistics(trace, trace.gradient)
    np.testing.assert_array_equal(statistics[calls[0]].weight_norm, statistics[calls[2]].weight_norm)


LOOPS: dict[str, Any] = {
    "scan": lambda f, x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=3)[0],
    "cond": lambda f, x: jax.lax.cond(x.sum() > 0, f, jnp.sin, x),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_layer_with_a_loop_of_its_own_keeps_its_gradient(name: str) -> None:
    trace = checked(wrapped(INNER, LOOPS[name]))
    assert list(trace) == ["own_0", "dense_0"]
    assert set(trace["own_0"].gradient) == {"dense_0/b", "dense_0/w"}


def test_parameters_within_parameters_of_a_layer() -> None:
    def init(key: Any, x: Any) -> Any:
        return {"at": {"w": jax.random.normal(key, (x.shape[-1], 4))}, "b": jnp.zeros(4)}, {}

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        del train, key
        return x @ params["at"]["w"] + params["b"], state

    assert set(checked(Layer("own", init, apply))["own_0"].gradient) == {"at/w", "b"}


def test_parameters_that_are_no_dict() -> None:
    def init(key: Any, x: Any) -> Any:
        return jax.random.normal(key, (x.shape[-1], 4)), {}

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        del train, key
        return x @ params, state

    assert [g.shape for g in checked(Layer("own", init, apply))["own_0"].gradient.values()] == [(5, 4)]


def test_a_network_of_flax_with_layers_inside() -> None:
    net = fnn.interop.from_linen(linen.Sequential([linen.Dense(4), linen.relu, linen.Dense(3)]))
    params, state = net.init(NOISE, ROWS)
    (signals,) = backprop(net, CE, params, state, (ROWS, CLASSES)).values()
    assert len(signals.gradient) == 4


def test_a_layer_that_gives_integers() -> None:
    trace = checked(fnn.nn.stateless("sign", lambda x: (x > 0).astype(int)), _lookup())
    assert list(trace) == ["sign_0", "lookup_0", "dense_0"]
    assert not trace["sign_0"].delta.any()


def _lookup() -> Layer:
    def init(key: Any, x: Any) -> Any:
        return {"w": jax.random.normal(key, (2, 4))}, {}

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        del train, key
        return params["w"][x].sum(1), state

    return Layer("lookup", init, apply)


def test_a_layer_that_gives_several_arrays() -> None:
    pair = fnn.nn.stateless("pair", lambda x: (x, 2 * x, x**2))  # pyright: ignore[reportArgumentType]
    trace = checked(pair, fnn.nn.stateless("sum", lambda xs: xs[0] + xs[1] + xs[2]))
    assert list(trace) == ["pair_0", "pair_0@2", "pair_0@3", "sum_0", "dense_0"]
    np.testing.assert_array_equal(trace["pair_0@2"].z, 2 * ROWS)


@pytest.mark.parametrize("scope", ["tapped", "aux", "a/b"])
def test_a_scope_of_a_layer_s_own_is_no_layer(scope: str) -> None:
    trace = checked(wrapped(INNER, lambda f, x: jax.named_scope(scope)(f)(x)))
    assert list(trace) == ["own_0/dense_0", "own_0", "dense_0"]
    assert set(trace["own_0/dense_0"].gradient) == {"w", "b"}


def test_a_layer_may_have_any_name() -> None:
    trace = checked(wrapped(dense(4), lambda f, x: f(x), "my tapped layer"))
    assert set(trace["my tapped layer_0"].gradient) == {"w", "b"}


def test_a_shortcut_s_activation_is_not_that_of_the_layer_beside_it() -> None:
    trace = checked(residual(dense(5), shortcut=activation("relu")))
    assert list(trace) == ["residual_0/layer", "residual_0/shortcut", "residual_0", "dense_0"]
    np.testing.assert_array_equal(trace["residual_0/shortcut"].z, jnp.maximum(ROWS, 0))


def test_a_network_that_gives_two_arrays_is_refused() -> None:
    net = fnn.nn.stateless("pair", lambda x: (x, x))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"output of the network: got a tuple, expected one array\."):
        backprop(net, CE, {}, {}, (ROWS, CLASSES))
