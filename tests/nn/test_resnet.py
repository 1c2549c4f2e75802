"""Residual networks: resnet against the same by hand, names and shapes, modes, that it learns, refusals."""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn import initializers
from fnn.nn import (
    Layer,
    activation,
    batch_norm,
    conv,
    dense,
    global_avg_pool,
    group_norm,
    residual,
    resnet,
    sequential,
)
from tests.nn.programs import KEY, X, programs_of, shapes_of


def test_names_and_shapes_of_a_resnet() -> None:
    shapes = shapes_of(resnet([4, 8], 2, 5))
    assert {name: shape for name, shape in shapes.items() if name.endswith("/w")} == {
        "conv_0/w": (3, 3, 3, 4),
        "residual_0/conv_0/w": (3, 3, 4, 4),
        "residual_0/conv_1/w": (3, 3, 4, 4),
        "residual_1/conv_0/w": (3, 3, 4, 4),
        "residual_1/conv_1/w": (3, 3, 4, 4),
        # The image is halved: a block with a projection.
        "residual_2/layer/conv_0/w": (3, 3, 4, 8),
        "residual_2/layer/conv_1/w": (3, 3, 8, 8),
        "residual_2/shortcut/conv_0/w": (1, 1, 4, 8),
        "residual_3/conv_0/w": (3, 3, 8, 8),
        "residual_3/conv_1/w": (3, 3, 8, 8),
        "dense_0/w": (8, 5),
    }
    assert [name for name in shapes if name.endswith("/b")] == ["dense_0/b"]


@pytest.mark.parametrize(("stages", "blocks"), [(1, 1), (2, 2), (3, 1)])
def test_so_many_layers_one_after_another(stages: int, blocks: int) -> None:
    weights = [name for name in shapes_of(resnet([4, 8, 8][:stages], blocks, 5)) if name.endswith("/w")]
    assert len([name for name in weights if "shortcut" not in name]) == 2 * blocks * stages + 2
    # Also where the channels stay, the size is halved.
    assert len([name for name in weights if "shortcut" in name]) == stages - 1


def test_a_resnet_is_its_layers() -> None:
    relu = activation("relu")

    def convolved(width: int, size: int = 3, strides: int = 1) -> list[Layer]:
        return [conv(width, size, strides=strides, use_bias=False, w_init="he"), batch_norm()]

    assert programs_of(resnet([4, 6], 1, 5)) == programs_of(
        sequential(
            *convolved(4), relu,
            residual(sequential(*convolved(4), relu, *convolved(4))), relu,
            residual(sequential(*convolved(6, 3, 2), relu, *convolved(6)), sequential(*convolved(6, 1, 2))), relu,
            global_avg_pool(), dense(5),
        ),
    )  # fmt: skip


def test_any_norm_and_activation() -> None:
    net = resnet([4, 6], 1, 5, activation="tanh", norm=lambda: group_norm(2))
    params, state = jax.eval_shape(net.init, KEY, X)
    assert state == {}
    # Each example stands alone, so a batch of one is trained on, which batch_norm refuses.
    y, _ = jax.eval_shape(partial(net.apply, train=True), params, state, X[:1])
    assert y.shape == (1, 5)
    xavier = resnet([4, 6], 1, 5, activation="tanh", norm=lambda: group_norm(2), w_init="normalized_xavier")
    assert programs_of(net)[0] == programs_of(xavier)[0]


def test_evaluation_of_a_resnet_needs_no_key_and_changes_no_state() -> None:
    net = resnet([4, 6], 1, 5, w_init=initializers.constant(0.1))
    params, state = net.init(KEY, X)
    _, trained = jax.jit(partial(net.apply, train=True))(params, state, X)
    assert jax.tree.structure(trained) == jax.tree.structure(state)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), trained, state)
    assert all(jax.tree.leaves(changed))
    y, after = net.apply(params, trained, X)
    chex.assert_trees_all_equal(after, trained)
    # Statistics are the running ones, so an example's output does not depend on the batch.
    np.testing.assert_allclose(net.apply(params, trained, X[:1])[0], y[:1], rtol=1e-5, atol=1e-6)


def test_it_learns_where_the_bright_half_is() -> None:
    y = jnp.arange(32) % 2
    x = jax.random.normal(KEY, (32, 8, 8, 1))
    x = x + jnp.where((jnp.arange(8) < 4)[:, None, None] == y[:, None, None, None], 1.0, -1.0)
    net, tx = resnet([3, 4], 1, 2), fnn.optim.adam(1e-2)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
    train = fnn.train.run(step, fnn.data.Dataset(x, y), batch_size=16, epochs=10)
    _, history = jax.jit(train)(fnn.train.init_state(KEY, net, tx, x))
    assert float(history["loss"][-1]) < 0.3 * float(history["loss"][0])


def test_the_lowering_is_that_of_every_convolution() -> None:
    programs = {}
    for lowering in ("cpu", "xla"):
        net = resnet([4, 6], 1, 5, lowering=lowering)
        params, state = jax.eval_shape(net.init, KEY, X)
        programs[lowering] = str(jax.make_jaxpr(lambda p, s, x, net=net: net.apply(p, s, x)[0])(params, state, X))
    assert [p.count("conv_general_dilated[") for p in programs.values()] == [6, 6]
    assert [p.count("custom_vjp_call[") for p in programs.values()] == [6, 0]


# Refusals ------------------------------------------------------------------------------------------------


def test_inputs_that_are_no_images() -> None:
    net = resnet([4], 1, 5)
    with pytest.raises(ValueError, match=r"^x: got shape \(5, 3, 32, 32\), which looks like \(n, channels, heig"):
        net.init(KEY, jax.ShapeDtypeStruct((5, 3, 32, 32), jnp.float32))
    with pytest.raises(ValueError, match=r"^x of conv: got shape \(4, 9\), expected .*Grey images need a channel"):
        net.init(KEY, X[:, :, 0, 0])
    params, state = jax.eval_shape(net.init, KEY, X)
    with pytest.raises(ValueError, match=r"^x: got a batch of 1, expected at least 2 examples in training"):
        jax.eval_shape(partial(net.apply, train=True), params, state, X[:1])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"channels": []}, ValueError, r"channels: got \[\], expected one width for each stage\. Such as \[32, 64\]"),
        ({"channels": [4.0]}, TypeError, r"channels\[0\]: got 4\.0, expected an integer >= 1\."),
        ({"blocks": 0}, ValueError, r"blocks: got 0, expected an integer >= 1\."),
        ({"blocks": [1, 1]}, TypeError, r"blocks: got a list of 2, expected an integer >= 1\."),
        ({"classes": 2.0}, TypeError, r"classes: got 2\.0, expected an integer >= 1\."),
        ({"activation": "rleu"}, ValueError, r"activation: got 'rleu', .* Did you mean 'relu' or 'elu'"),
        ({"norm": None}, TypeError, r"norm: got None, expected a function that makes a normalization layer"),
        ({"w_init": "xavie"}, ValueError, r"initializer: got 'xavie', .* Did you mean 'xavier'"),
        ({"lowering": "gpu"}, ValueError, r"lowering: got 'gpu', expected one of auto, cpu, xla"),
    ],
)
def test_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        resnet(**({"channels": [4], "blocks": 1, "classes": 2} | options))
