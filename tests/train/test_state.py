"""The state before the first step."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.train import TrainState, init_state

KEY = jax.random.key(0)
NET = fnn.nn.mlp([4, 2])
TX = fnn.optim.adam(0.1)


def test_same_key_same_state_and_other_key_other_weights() -> None:
    a, b, c = (init_state(jax.random.key(i), NET, TX, jnp.zeros((1, 3))) for i in (0, 0, 1))
    np.testing.assert_array_equal(a.params["dense_0"]["w"], b.params["dense_0"]["w"])
    assert not np.array_equal(a.params["dense_0"]["w"], c.params["dense_0"]["w"])
    assert a.step.dtype == jnp.int32
    assert not a.step.weak_type


def test_shape_struct_and_numpy_batch_give_the_same() -> None:
    state = init_state(KEY, NET, TX, jnp.zeros((5, 3)))
    for x in (jax.ShapeDtypeStruct((5, 3), jnp.float32), np.zeros((5, 3))):
        other = init_state(KEY, NET, TX, x)
        np.testing.assert_array_equal(state.params["dense_1"]["w"], other.params["dense_1"]["w"])


def test_vmaps_over_keys_and_runs_abstractly() -> None:
    keys = jax.random.split(KEY, 3)
    many = jax.vmap(lambda key: init_state(key, NET, TX, jnp.zeros((1, 3))))(keys)
    assert many.params["dense_0"]["w"].shape == (3, 3, 4)
    assert many.key.shape == (3,)
    abstract = jax.eval_shape(lambda key: init_state(key, NET, TX, jnp.zeros((1, 3))), KEY)
    assert abstract.opt_state.m["dense_1"]["b"].shape == (2,)


def test_no_leaf_is_weakly_typed_so_that_a_step_is_traced_once() -> None:
    net = fnn.interop.from_function(lambda params, x: x * params["w"], {"w": jnp.asarray(1.0)})
    assert net.init(KEY, jnp.ones((2, 1)))[0]["w"].weak_type
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), TX)
    jitted = jax.jit(chex.assert_max_traces(step, n=1))
    state = init_state(KEY, net, TX, jnp.ones((2, 1)))
    for _ in range(2):
        state, _ = jitted(state, fnn.data.Dataset(jnp.ones((2, 1)), jnp.ones((2, 1))))


def test_state_may_be_donated_while_the_callers_arrays_live() -> None:
    w = jnp.ones((3, 1))
    net = fnn.nn.Layer("fixed", lambda key, x: ({"w": w}, {}), NET.apply)
    state = init_state(KEY, net, TX, jnp.zeros((1, 3)))
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((state.params, state.opt_state))]
    assert len(set(buffers)) == len(buffers)
    after = jax.jit(lambda s: s._replace(step=s.step + 1), donate_argnums=0)(state)
    assert int(after.step) == 1
    assert float(w.sum()) == 3
    assert jax.random.bits(KEY).shape == ()


@pytest.mark.parametrize(
    ("key", "error", "match"),
    [
        (jax.random.PRNGKey(0), TypeError, r"key: got a legacy uint32 key.*wrap_key_data"),
        (0, TypeError, r"key: got 0, expected one typed key. Make one with jax.random.key\(seed\)"),
        (jax.random.split(KEY, 2), ValueError, r"key: got keys of shape \(2,\).*vmap"),
    ],
)
def test_wrong_keys(key: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        init_state(key, NET, TX, jnp.zeros((1, 3)))


def test_integer_parameters_are_named() -> None:
    net = fnn.nn.Layer("count", lambda key, x: ({"n": jnp.zeros(2, int)}, {}), NET.apply)
    with pytest.raises(TypeError, match=r"params leaf 'n': got dtype int32"):
        init_state(KEY, net, TX, jnp.zeros((1, 3)))


def test_wrong_network_and_batch() -> None:
    linen = pytest.importorskip("flax.linen")
    for net, name in ((lambda x: x, "function"), (linen.Dense(3), "Dense"), (None, "NoneType")):
        with pytest.raises(TypeError, match=rf"net: got a {name}, expected a network.*fnn.interop.from_linen"):
            init_state(KEY, net, TX, jnp.zeros((1, 3)))
    with pytest.raises(TypeError, match=r"x: got a list of 1, expected an array. Convert it: jnp.asarray\(x\)"):
        init_state(KEY, NET, TX, [[0.0]])
    with pytest.raises(TypeError, match=r"x: got dtype uint8, expected floating-point"):
        init_state(KEY, NET, TX, np.zeros((1, 3), np.uint8))


def test_is_a_pytree_of_arrays_alone() -> None:
    state = init_state(KEY, NET, TX, jnp.zeros((1, 3)))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert isinstance(jax.tree.map(lambda a: a, state), TrainState)


@pytest.mark.parametrize(
    ("tx", "match"),
    [
        (fnn.optim.adam, r"got the function adam, expected an Optax gradient transformation\. Call it: adam\(1e-3\)\."),
        (0.1, r"got a float, expected an Optax gradient transformation\. Such as"),
        ("adam", r"got a str, expected an Optax"),
    ],
)
def test_what_is_no_optimizer_is_refused(tx: Any, match: str) -> None:
    with pytest.raises(TypeError, match=f"^tx: {match}"):
        init_state(KEY, NET, tx, jnp.zeros((1, 3)))
    with pytest.raises(TypeError, match=f"^tx: {match}"):
        fnn.train.make_step(fnn.train.supervised(NET, fnn.losses.squared_error), tx)


def test_the_state_shares_no_array_with_anything() -> None:
    key, noise = jax.random.key(0), jax.random.key(1)
    state = init_state(
        key, NET, optax.chain(optax.noisy_sgd(0.1, key=noise), optax.contrib.dog(0.1)), jnp.zeros((1, 3))
    )
    jax.jit(lambda s: s, donate_argnums=0)(state)
    assert state.step.is_deleted()
    assert not key.is_deleted()
    assert not noise.is_deleted()
