"""Convolutional networks: cnn against the same by hand, names and shapes, where norm and dropout stand, refusals."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn import activations, initializers
from fnn.nn import (
    activation,
    batch_norm,
    cnn,
    conv,
    dense,
    dropout,
    flatten,
    max_pool,
    sequential,
)
from tests.nn.programs import KEY, NOISE, X, programs_of, shapes_of


def test_names_and_shapes_of_a_cnn_on_odd_sizes() -> None:
    assert shapes_of(cnn([4, 8], [16], 5)) == {
        "conv_0/b": (4,),
        "conv_0/w": (3, 3, 3, 4),
        "conv_1/b": (8,),
        "conv_1/w": (3, 3, 4, 8),
        # 9 x 7, then 4 x 3, then 2 x 1: what does not fill a window is cut off.
        "dense_0/b": (16,),
        "dense_0/w": (2 * 1 * 8, 16),
        "dense_1/b": (5,),
        "dense_1/w": (16, 5),
    }
    assert cnn(4, 4, 2).name == "cnn"


def test_one_number_stands_for_one_stage_and_one_hidden_layer() -> None:
    assert shapes_of(cnn(4, 16, 5)) == shapes_of(cnn([4], [16], 5))
    assert shapes_of(cnn((4,), [], 5)) == {
        "conv_0/b": (4,),
        "conv_0/w": (3, 3, 3, 4),
        "dense_0/b": (5,),
        "dense_0/w": (4 * 3 * 4, 5),
    }


def test_one_or_three_spatial_axes() -> None:
    line, block = (jax.ShapeDtypeStruct((2, *(8,) * axes, 3), jnp.float32) for axes in (1, 3))
    assert shapes_of(cnn([4], [], 5), line)["dense_0/w"] == (4 * 4, 5)
    assert shapes_of(cnn([4], [], 5), block)["dense_0/w"] == (4**3 * 4, 5)
    assert shapes_of(cnn([4], [], 5, kernel_size=(5, 1), pool=(1, 3)))["dense_0/w"] == (9 * 2 * 4, 5)


def test_a_cnn_is_its_layers() -> None:
    relu, he = activation("relu"), "he"
    net = cnn([4, 6], [8], 5, kernel_size=2, pool=(3, 2), dropout=0.5)
    by_hand = sequential(
        conv(4, 2, w_init=he), max_pool((3, 2)), relu,
        conv(6, 2, w_init=he), max_pool((3, 2)), relu,
        flatten(), dense(8, w_init=he), relu, dropout(0.5), dense(5),
    )  # fmt: skip
    (params, state), expected = (jax.jit(n.init)(KEY, X) for n in (net, by_hand))
    jax.tree.map(np.testing.assert_array_equal, (params, state), expected)
    params = jax.tree.map(lambda p: p + 0.1, params)

    def outputs(n: Any, params: Any) -> Any:
        return [n.apply(params, {}, X)[0], n.apply(params, {}, X, train=True, key=KEY)[0]]

    for y, other in zip(*(jax.jit(partial(outputs, n))(params) for n in (net, by_hand)), strict=True):
        np.testing.assert_allclose(y, other, rtol=1e-5, atol=1e-6)


def test_parameters_of_another_convolution() -> None:
    net = cnn([4], [], 5)
    params, _ = net.init(KEY, X)
    with pytest.raises(ValueError, match=r"params of conv: got entries \['w'\], expected entries \['b', 'w'\]"):
        net.apply(params | {"conv_0": {"w": params["conv_0"]["w"]}}, {}, X)
    with pytest.raises(ValueError, match=r"params of conv, b: got shape \(3,\), expected shape \(4,\)"):
        net.apply(params | {"conv_0": params["conv_0"] | {"b": jnp.zeros(3)}}, {}, X)


def test_norm_stands_after_a_convolution_that_has_no_bias_then() -> None:
    assert not [
        name for name in shapes_of(cnn([4, 8], [16], 5, norm=batch_norm)) if name.startswith("conv") and "/b" in name
    ]
    tanh = activation("tanh")
    net = cnn([4], [8], 5, activation="tanh", norm=partial(batch_norm, momentum=0.5))
    assert programs_of(net) == programs_of(
        sequential(
            conv(4, 3, use_bias=False), batch_norm(momentum=0.5), max_pool(2), tanh, flatten(), dense(8), tanh, dense(5)
        ),
    )  # fmt: skip


def test_pooling_first_is_the_same_where_the_activation_rises() -> None:
    def both(f: str) -> list[jax.Array]:
        first = sequential(conv(2, 1), activation(f), max_pool(2), flatten(), dense(3))
        params, state = first.init(KEY, X)
        return [net.apply(params, state, X)[0] for net in (first, cnn(2, [], 3, kernel_size=1, activation=f))]

    rising = ("identity", "relu", "leaky_relu", "elu", "sigmoid", "softplus", "tanh")
    for a, b in jax.jit(lambda: [both(f) for f in rising])():
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def _mirrored(x: jax.Array) -> jax.Array:
    return -x


@pytest.mark.parametrize(
    "f",
    ["gelu", "silu", _mirrored, partial(activations.leaky_relu, slope=-2.0), partial(activations.elu, alpha=-1.0)],
    ids=["gelu", "silu", "falls", "leaky_relu that falls", "elu that falls"],
)
def test_activation_comes_before_pooling_where_the_order_counts(f: Any) -> None:
    then = [activation(f), max_pool(2)]
    # Far below 0: there gelu and silu fall.
    shifted = conv(2, 1, b_init=initializers.constant(-3.0))
    right, wrong = (sequential(shifted, *order, flatten(), dense(3)) for order in (then, then[::-1]))
    params, state = right.init(KEY, X)
    y = cnn(2, [], 3, kernel_size=1, activation=f).apply(params, state, X)[0]
    np.testing.assert_allclose(y, right.apply(params, state, X)[0], rtol=1e-6, atol=1e-6)
    assert float(jnp.abs(y - wrong.apply(params, state, X)[0]).max()) > 1e-2


@pytest.mark.parametrize(
    ("activation", "name"), [(partial(activations.leaky_relu, slope=0.2), "he"), ("tanh", "normalized_xavier")]
)
def test_first_weights_fit_the_activation(activation: Any, name: str) -> None:
    f = fnn.nn.activation(activation)
    net = cnn(4, 8, 5, activation=activation)
    by_hand = sequential(conv(4, 3, w_init=name), max_pool(2), f, flatten(), dense(8, w_init=name), f, dense(5))
    assert programs_of(net)[0] == programs_of(by_hand)[0]


def test_he_keeps_the_scale_of_a_kernel() -> None:
    w = cnn([200, 100], [], 5).init(KEY, jax.ShapeDtypeStruct((1, 8, 8, 50), jnp.float32))[0]
    for name, fan_in in (("conv_0", 9 * 50), ("conv_1", 9 * 200)):
        np.testing.assert_allclose(float(w[name]["w"].std()), (2 / fan_in) ** 0.5, rtol=0.02)
    for layer in cnn([4], [3], 2, w_init=initializers.constant(0.5)).init(KEY, X)[0].values():
        np.testing.assert_array_equal(layer["w"], jnp.full_like(layer["w"], 0.5))


def test_dropout_of_a_cnn() -> None:
    net = cnn([2], [50], 3, dropout=0.5)
    params, state = net.init(KEY, X)
    with pytest.raises(ValueError, match=r"^key: got None, expected one typed key: dropout draws a mask"):
        net.apply(params, state, X, train=True)

    def output(rate: Any) -> jax.Array:
        return cnn([2], [50], 3, dropout=rate).apply(params, state, X, train=True, key=NOISE)[0]

    together = jax.jit(jax.vmap(output))(jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(together[0], net.apply(params, state, X)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(together[1], net.apply(params, state, X, train=True, key=NOISE)[0], rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(together[0] - together[1]).max()) > 1e-2
    # There is nothing to drop without a hidden layer, and at rate 0.
    for free in (cnn([2], [], 3, dropout=0.5), cnn([2], [5], 3, dropout=0.0)):
        free.apply(*free.init(KEY, X), X, train=True)


def test_the_lowering_is_that_of_every_convolution() -> None:
    programs = {}
    for lowering in ("cpu", "xla"):
        net = cnn([4, 6], [8], 5, lowering=lowering)
        params, state = net.init(KEY, X)
        programs[lowering] = str(jax.make_jaxpr(lambda p, s, x, net=net: net.apply(p, s, x)[0])(params, state, X))
    # Each with gradients of its own, or none of them.
    assert [p.count("conv_general_dilated[") for p in programs.values()] == [2, 2]
    assert [p.count("custom_vjp_call[") for p in programs.values()] == [2, 0]


def test_it_learns() -> None:
    # Is the upper half brighter, or the lower one?
    y = jnp.arange(32) % 2
    x = jax.random.normal(KEY, (32, 8, 8, 1))
    x = x + jnp.where((jnp.arange(8) < 4)[:, None, None] == y[:, None, None, None], 1.0, -1.0)
    net, tx = cnn([4], [8], 2), fnn.optim.adam(1e-2)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
    train = fnn.train.run(step, fnn.data.Dataset(x, y), batch_size=16, epochs=10)
    _, history = jax.jit(train)(fnn.train.init_state(KEY, net, tx, x))
    assert float(history["loss"][-1]) < 0.3 * float(history["loss"][0])


# Refusals ------------------------------------------------------------------------------------------------


def test_inputs_that_are_no_images() -> None:
    net = cnn([4, 6], [8], 5)
    params, state = net.init(KEY, X)
    match = r"^x: got shape \(5, 3, 32, 32\), which looks like \(n, channels, height, width\).*x\.transpose\(0, 2, 3, 1"
    with pytest.raises(ValueError, match=match):
        net.init(KEY, jax.ShapeDtypeStruct((5, 3, 32, 32), jnp.float32))
    with pytest.raises(ValueError, match=r"^x: got shape \(4, 3, 9, 7\), expected 3 channels on .* Channels come last"):
        jax.jit(net.apply)(params, state, X.transpose(0, 3, 1, 2))
    with pytest.raises(ValueError, match=r"^x of conv: got shape \(4, 9\), expected .*Grey images need a channel"):
        net.init(KEY, X[:, :, 0, 0])
    with pytest.raises(TypeError, match=r"^x: got dtype uint8, expected floating-point numbers\. .*standardize"):
        net.init(KEY, X.astype(jnp.uint8))
    with pytest.raises(ValueError, match=r"^window: got a window that reaches over 2, expected at most 1, .*\(4, 2, 1"):
        cnn([4, 8, 8], [], 2).init(KEY, X)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"channels": []}, ValueError, r"channels: got \[\], expected one width for each stage\. Such as \[32, 64\]"),
        ({"channels": [4, 0]}, ValueError, r"channels\[1\]: got 0, expected an integer >= 1\."),
        ({"channels": "32"}, TypeError, r"channels\[0\]: got '32', expected an integer >= 1\."),
        ({"hidden": [8, -1]}, ValueError, r"hidden\[1\]: got -1, expected an integer >= 1\."),
        ({"hidden": None}, TypeError, r"hidden\[0\]: got None, expected an integer >= 1\."),
        ({"classes": 0}, ValueError, r"classes: got 0, expected an integer >= 1\."),
        ({"kernel_size": 0}, ValueError, r"kernel_size: got 0, expected an integer >= 1\."),
        ({"pool": 0}, ValueError, r"pool: got 0, expected an integer >= 1\."),
        ({"activation": "rleu"}, ValueError, r"activation: got 'rleu', .* Did you mean 'relu' or 'elu'"),
        ({"norm": "batch"}, TypeError, r"norm: got 'batch', expected a function that makes a normalization layer"),
        ({"norm": batch_norm()}, TypeError, r"norm: got a Layer of 3, expected a function that makes"),
        ({"w_init": "xavie"}, ValueError, r"initializer: got 'xavie', .* Did you mean 'xavier'"),
        ({"lowering": "gpu"}, ValueError, r"lowering: got 'gpu', expected one of auto, cpu, xla"),
        ({"dropout": 1.0}, ValueError, r"rate: got 1\.0, expected a number in \[0, 1\)\."),
        # Neither is taken for 0, nor passed over where there is nothing to drop.
        ({"dropout": False}, TypeError, r"rate: got False, expected a number in \[0, 1\)\."),
        ({"dropout": None, "hidden": []}, TypeError, r"rate: got None, expected a number in \[0, 1\)\."),
    ],
)
def test_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        cnn(**({"channels": [4], "hidden": [4], "classes": 2} | options))
