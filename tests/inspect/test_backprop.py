"""Back-propagation as data equals jax.grad, whatever the network, and in jit, vmap and scan."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

import fnn
from fnn.inspect import Trace, backprop
from fnn.nn import activation, dense, mlp, residual, sequential
from tests.inspect.networks import CE, CLASSES, NETWORKS, ROWS, Case

NOISE = jax.random.key(5)


def traced(case: Case, params: Any, state: Any) -> Trace:
    return backprop(case.net, case.loss, params, state, (case.x, case.y), key=NOISE)


def mean_loss(case: Case, params: Any, state: Any, key: Any = NOISE) -> jax.Array:
    return case.loss(case.net.apply(params, state, case.x, train=True, key=key)[0], case.y).mean()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_gradient_that_jax_takes(name: str) -> None:
    case = NETWORKS[name]
    params, state = case.start
    trace = traced(case, params, state)
    value, gradient = jax.value_and_grad(lambda p: mean_loss(case, p, state))(params)
    chex.assert_trees_all_close(trace.gradient, gradient, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(trace.loss, value, rtol=1e-6)
    assert len(jax.tree.leaves(gradient)) == sum(len(trace[layer].gradient) for layer in trace)


@pytest.mark.parametrize("name", NETWORKS)
def test_delta_is_the_derivative_by_the_output(name: str) -> None:
    """A dense layer's bias is added to its z, so that their derivatives are the same; the last a is the output."""
    case = NETWORKS[name]
    trace = traced(case, *case.start)
    last = trace[list(trace)[-1]]
    by_outputs = jax.grad(lambda outputs: case.loss(outputs, case.y).mean())(last.a)
    np.testing.assert_allclose(last.da, by_outputs, atol=1e-7)
    dense_layers = [layer for layer in trace if layer.rpartition("/")[2].startswith("dense")]
    assert dense_layers
    for layer in dense_layers:
        np.testing.assert_allclose(trace[layer].delta.sum(0), trace[layer].db, atol=1e-6)


def test_names_and_order() -> None:
    assert list(traced(NETWORKS["mlp"], *NETWORKS["mlp"].start)) == ["dense_0", "dense_1", "dense_2"]
    assert list(traced(NETWORKS["remat"], *NETWORKS["remat"].start)) == [
        "sequential_0/dense_0",
        "sequential_0",
        "dense_0",
    ]
    assert list(traced(NETWORKS["one layer"], *NETWORKS["one layer"].start)) == ["dense"]
    resnet = list(traced(NETWORKS["resnet"], *NETWORKS["resnet"].start))
    assert {"residual_0/conv_0", "residual_1/layer/conv_1", "residual_1/shortcut/conv_0", "residual_1"} <= set(resnet)


def test_eleven_layers_stay_in_the_order_of_the_forward_pass() -> None:
    net = mlp([2] * 11)
    params, state = net.init(NOISE, ROWS)
    trace = jax.jit(lambda p: backprop(net, CE, p, state, (ROWS, CLASSES % 2)))(params)
    assert list(trace) == [f"dense_{i}" for i in range(11)]


def test_an_activation_is_told_with_the_layer_before_it() -> None:
    case = NETWORKS["residual"]
    trace = traced(case, *case.start)
    assert list(trace) == ["residual_0", "dense_0"]
    np.testing.assert_array_equal(trace["residual_0"].a, jnp.maximum(trace["residual_0"].z, 0))
    np.testing.assert_array_equal(trace["residual_0"].delta, trace["residual_0"].da * (trace["residual_0"].z > 0))


def test_two_activations_in_a_row() -> None:
    net = sequential(activation("tanh"), dense(3), activation("relu"), activation("tanh"))
    params, state = net.init(NOISE, ROWS)
    trace = backprop(net, CE, params, state, (ROWS, CLASSES))
    assert list(trace) == ["tanh_0", "dense_0", "tanh_1"]
    np.testing.assert_array_equal(trace["tanh_1"].a, jnp.tanh(trace["dense_0"].a))


def test_a_network_of_flax_is_one_layer() -> None:
    net = fnn.interop.from_linen(linen.Dense(3))
    params, state = net.init(NOISE, ROWS)
    trace = backprop(net, CE, params, state, (ROWS, CLASSES))
    (name,) = trace
    expected = jax.grad(lambda p: CE(net.apply(p, state, ROWS)[0], CLASSES).mean())(params)
    chex.assert_trees_all_close(trace.gradient, expected, atol=1e-7)
    assert trace[name].z.shape == (6, 3)


def test_weights_of_a_batch_count() -> None:
    case = NETWORKS["mlp"]
    params, state = case.start
    batch = fnn.data.WeightedBatch(case.x, case.y, jnp.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]))
    trace = backprop(case.net, case.loss, params, state, batch)
    few = backprop(case.net, case.loss, params, state, (case.x[:2], case.y[:2]))
    chex.assert_trees_all_close(trace.gradient, few.gradient, atol=1e-7)
    assert not trace["dense_0"].delta[2:].any()


def test_evaluation_needs_no_key() -> None:
    case = NETWORKS["dropout"]
    params, state = case.start
    trace = backprop(case.net, case.loss, params, state, (case.x, case.y), train=False)
    plain = jax.grad(lambda p: case.loss(case.net.apply(p, state, case.x)[0], case.y).mean())(params)
    chex.assert_trees_all_close(trace.gradient, plain, atol=1e-7)
    with pytest.raises(ValueError, match="key"):
        backprop(case.net, case.loss, params, state, (case.x, case.y))


@pytest.mark.parametrize("name", ["mlp", "resnet", "dropout"])
def test_under_jit(name: str) -> None:
    case = NETWORKS[name]
    params, state = case.start
    compiled: Any = jax.jit(lambda p, s: traced(case, p, s))
    chex.assert_trees_all_close(compiled(params, state), traced(case, params, state), atol=1e-5)
    compiled(params, state)
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("name", ["mlp", "cnn", "remat"])
def test_over_32_networks(name: str) -> None:
    case = NETWORKS[name]
    params, state = jax.vmap(lambda key: case.net.init(key, case.x))(jax.random.split(NOISE, 32))
    many = jax.jit(jax.vmap(lambda p, s: traced(case, p, s)))(params, state)
    alone = traced(case, *jax.tree.map(lambda a: a[7], (params, state)))
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[7], many), alone, atol=1e-5)


def test_inside_a_scan_of_100_steps() -> None:
    case = NETWORKS["mlp"]
    params, state = case.start

    def descend(p: Any, _: Any) -> tuple[Any, Trace]:
        trace = traced(case, p, state)
        return jax.tree.map(lambda w, g: w - 0.1 * g, p, trace.gradient), trace

    _, traces = jax.jit(lambda p: jax.lax.scan(descend, p, None, length=100))(params)
    assert traces["dense_0"].z.shape == (100, 6, 7)
    assert traces.loss[-1] < 0.5 * traces.loss[0]


def test_a_scope_of_the_caller_is_no_layer() -> None:
    case = NETWORKS["mlp"]
    params, state = case.start
    with jax.named_scope("probe"):
        inside = jax.jit(lambda p: traced(case, p, state))(params)
    assert list(inside) == list(traced(case, params, state))


def test_half_precision_parameters() -> None:
    net = mlp([4, 3])
    params, state = net.init(NOISE, ROWS.astype(jnp.bfloat16))
    trace = backprop(net, CE, params, state, (ROWS.astype(jnp.bfloat16), CLASSES))
    assert trace["dense_0"].dw.dtype == trace["dense_0"].delta.dtype == jnp.bfloat16
    assert trace.loss.dtype == jnp.float32


def test_the_tree_holds_no_array_twice() -> None:
    case = NETWORKS["mlp"]
    leaves = jax.tree.leaves(traced(case, *case.start))
    # loss, three gradients of two, and z, delta, a, da twice and z, delta once
    assert len(leaves) == 1 + 6 + 10


REFUSED = {
    "a net without apply": ((lambda x: x, CE, (ROWS, CLASSES)), TypeError, "net: got a function, expected a network"),
    "a loss that is no function": ((mlp([3]), "mse", (ROWS, CLASSES)), TypeError, "loss: got 'mse'"),
    "unequal lengths": ((mlp([3]), CE, (ROWS, CLASSES[:2])), ValueError, "batch: got shapes"),
    "a mean loss": ((mlp([3]), lambda o, y: CE(o, y).mean(), (ROWS, CLASSES)), ValueError, "result of loss: got shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    (net, loss, batch), kind, match = REFUSED[name]
    params, state = mlp([3]).init(NOISE, ROWS)
    with pytest.raises(kind, match=match):
        backprop(net, loss, params, state, batch)


def test_a_layer_that_is_not_there() -> None:
    case = NETWORKS["mlp"]
    with pytest.raises(KeyError, match="dense_0, dense_1, dense_2"):
        traced(case, *case.start)["dense_9"]


def test_nested_shortcuts_keep_their_paths() -> None:
    net = sequential(residual(residual(sequential(dense(5), activation("relu")))), dense(3))
    params, state = net.init(NOISE, ROWS)
    trace = backprop(net, CE, params, state, (ROWS, CLASSES))
    assert list(trace) == ["residual_0/dense_0", "residual_0", "dense_0"]
    chex.assert_trees_all_equal(trace["residual_0/dense_0"].dw, trace.gradient["residual_0"]["dense_0"]["w"])
