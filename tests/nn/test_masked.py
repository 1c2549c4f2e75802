"""A network with units held at zero is the narrower network."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn import initializers
from fnn.nn.masked import of_active

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (12, 5))
Y = jnp.arange(12) % 3
WIDE, NARROW, ACTIVE = [8, 6, 3], [5, 2, 3], (5, 2)


def _narrowed(params: Any) -> Any:
    """The parameters of the active units alone."""
    narrow = {}
    for i, (d_in, d_out) in enumerate(zip([5, *NARROW], NARROW, strict=False)):
        w, b = params[f"dense_{i}"]["w"], params[f"dense_{i}"]["b"]
        narrow[f"dense_{i}"] = {"w": w[:d_in, :d_out], "b": b[:d_out]}
    return narrow


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("traced", [False, True])
def test_it_trains_as_the_narrow_network_does(activation: str, traced: bool) -> None:
    def train(net: fnn.nn.Layer, params: Any) -> Any:
        tx = fnn.optim.adam(0.01)
        step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
        state = fnn.train.TrainState(jnp.array(0), params, {}, tx.init(params), KEY)
        losses = []
        for _ in range(5):
            state, metrics = step(state, fnn.data.Dataset(X, Y))
            losses.append(metrics["loss"])
        return state.params, jnp.stack(losses)

    params = fnn.nn.mlp(WIDE, activation).init(KEY, X)[0]

    def masked(active: Any) -> Any:
        return train(fnn.nn.mlp(WIDE, activation, active=active), params)

    wide, losses = jax.jit(masked)(ACTIVE) if traced else masked(ACTIVE)
    narrow, same = train(fnn.nn.mlp(NARROW, activation), _narrowed(params))
    np.testing.assert_allclose(losses, same, rtol=1e-5)
    chex.assert_trees_all_close(_narrowed(wide), narrow, rtol=1e-5, atol=1e-6)


def test_weights_of_held_units_get_no_gradient() -> None:
    net = fnn.nn.mlp(WIDE, "sigmoid", active=ACTIVE)
    params, _ = net.init(KEY, X)
    grads = jax.grad(lambda p: jnp.sum(net.apply(p, {}, X)[0] ** 2))(params)
    assert float(jnp.abs(grads["dense_0"]["w"][:, 5:]).max()) == 0
    assert float(jnp.abs(grads["dense_1"]["w"][5:]).max()) == 0
    assert float(jnp.abs(grads["dense_1"]["w"][:5, :2]).max()) > 0


@pytest.mark.parametrize("name", ["he", "he_uniform", "xavier", "normalized_xavier", "glorot_normal", "lecun_normal"])
def test_first_weights_have_the_variance_of_the_narrow_layer(name: str) -> None:
    draw = initializers.get(name)
    narrow = draw(KEY, (40, 20), jnp.float32)
    wide = jax.jit(lambda i, o: of_active(draw, i, o)(KEY, (400, 300), jnp.float32))(40, 20)
    np.testing.assert_allclose(wide.std(), narrow.std(), rtol=0.1)
    # Known numbers of units give the same numbers as traced ones.
    np.testing.assert_allclose(wide, of_active(draw, 40, 20)(KEY, (400, 300), jnp.float32), rtol=1e-6)


def test_an_initializer_without_fans_stays_as_it_is() -> None:
    draw = initializers.gaussian(0.1)
    assert of_active(draw, 4, 4) is draw


def test_masked_init_is_that_of_mlp_where_all_units_are_active() -> None:
    plain, masked = (fnn.nn.mlp([8, 6, 3], active=active).init(KEY, X)[0] for active in (None, (8, 6)))
    chex.assert_trees_all_close(plain, masked, rtol=1e-6)


def test_with_batch_norm_and_dropout() -> None:
    net = fnn.nn.mlp([8, 3], norm=fnn.nn.batch_norm, dropout=0.5, active=[3])
    params, state = net.init(KEY, X)
    y, _ = net.apply(params, state, X, train=True, key=KEY)
    # Weights that leave held units do not matter.
    changed = params | {"dense_1": params["dense_1"] | {"w": params["dense_1"]["w"].at[3:].set(100.0)}}
    np.testing.assert_array_equal(y, net.apply(changed, state, X, train=True, key=KEY)[0])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_dtype_is_kept(dtype: Any) -> None:
    y, _ = fnn.nn.keep_units(jnp.int32(2)).apply({}, {}, jnp.ones((2, 3), dtype))
    assert y.dtype == dtype


def test_widths_under_vmap() -> None:
    def output(width: Any) -> Any:
        net = fnn.nn.mlp([8, 1], active=[width])
        return net.apply(optax.tree.full_like(net.init(KEY, X)[0], 1.0), {}, jnp.ones((1, 5)))[0][0, 0]

    np.testing.assert_array_equal(jax.vmap(output)(jnp.array([1, 4, 8])), [7.0, 25.0, 49.0])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: fnn.nn.keep_units(0), ValueError, r"^count: got 0, expected a finite number >= 1"),
        (
            lambda: fnn.nn.keep_units(1).apply({}, {}, jnp.arange(3)),
            TypeError,
            "^x: got dtype int32, expected floating",
        ),
        (lambda: fnn.nn.mlp([4, 2], active=[5]), ValueError, r"^active\[0\]: got 5, expected at most the 4 units"),
        (lambda: fnn.nn.mlp([4, 2], active=[0]), ValueError, r"^active\[0\]: got 0, expected a finite number >= 1"),
        (
            lambda: fnn.nn.mlp([4, 2], active=[2, 2]),
            ValueError,
            "^active: got 2 numbers, expected a list of 1, one",
        ),
        (lambda: fnn.nn.mlp([4, 2], active=jnp.int32(2)), ValueError, "^active: got a .*Array.*, expected a list of 1"),
        (
            lambda: fnn.nn.mlp([4, 2], active=[2], norm=fnn.nn.layer_norm),
            ValueError,
            "^norm: got layer_norm, expected batch_norm or None with active",
        ),
    ],
)
def test_refusals(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
