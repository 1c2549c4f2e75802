"""remat changes no number: only what is kept for the backward pass, and what is computed again."""

import contextlib
import io
from typing import Any

import chex
import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.nn import Layer, activation, batch_norm, dense, dropout, remat, sequential

KEY = jax.random.key(1)
X = jax.random.normal(KEY, (8, 5))
BLOCK = sequential(dense(16), batch_norm(), activation("tanh"), dropout(0.5), dense(5))


def _both(layer: Layer) -> tuple[Layer, Layer]:
    return sequential(layer, dense(2)), sequential(remat(layer), dense(2))


def _loss(net: Layer, state: Any, key: Any = KEY) -> Any:
    def loss(params: Any, x: Any) -> Any:
        y, new_state = net.apply(params, state, x, train=True, key=key)
        return jnp.sum(y**2), new_state

    return loss


def test_values_gradients_state_and_noise_are_the_layers() -> None:
    plain, saved = _both(BLOCK)
    params, state = plain.init(KEY, X)
    chex.assert_trees_all_equal(saved.init(KEY, X), (params, state))
    (a, b) = (
        jax.jit(jax.value_and_grad(_loss(net, state), argnums=(0, 1), has_aux=True))(params, X)
        for net in (plain, saved)
    )
    # The same operations in another order of fusion; masks of dropout drawn anew would differ by as much as the loss.
    chex.assert_trees_all_close(a, b, rtol=1e-5, atol=1e-5)


def test_without_jit_every_bit_is_the_same() -> None:
    plain, saved = _both(sequential(dense(16), activation("relu"), dropout(0.5), dense(5)))
    params, state = plain.init(KEY, X)
    a, b = (jax.value_and_grad(_loss(net, state), has_aux=True)(params, X) for net in (plain, saved))
    chex.assert_trees_all_equal(a[0], b[0])
    chex.assert_trees_all_close(a[1], b[1], rtol=1e-6)


def test_in_evaluation_nothing_changes() -> None:
    params, state = BLOCK.init(KEY, X)
    chex.assert_trees_all_equal(remat(BLOCK).apply(params, state, X), BLOCK.apply(params, state, X))
    program = str(jax.make_jaxpr(lambda p, x: remat(BLOCK).apply(p, state, x)[0])(params, X))
    assert "remat" not in program
    assert "checkpoint" not in program


def _kept(net: Layer, params: Any, state: Any) -> int:
    """How many numbers are kept for the backward pass, besides the arguments."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        jax.ad_checkpoint.print_saved_residuals(lambda p, x: _loss(net, state)(p, x)[0], params, X)
    shapes = [
        line.split("]")[0].split("[")[1] for line in told.getvalue().splitlines() if "from the argument" not in line
    ]
    return sum(int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes)


def test_it_keeps_less_and_computes_again() -> None:
    plain, saved = _both(sequential(dense(64), activation("tanh"), dense(64), activation("tanh"), dense(5)))
    params, state = plain.init(KEY, X)
    # Of two hidden layers of 64 units of 8 examples nothing is kept.
    assert _kept(plain, params, state) - _kept(saved, params, state) >= 2 * 8 * 64
    tanhs = [
        str(jax.make_jaxpr(jax.grad(_loss(net, state), has_aux=True))(params, X)).count("= tanh")
        for net in (plain, saved)
    ]
    assert tanhs == [2, 4]


def test_in_vmap_scan_and_bfloat16() -> None:
    net, tx = sequential(remat(fnn.nn.mlp([8, 5], "tanh", dropout=0.1)), dense(3)), fnn.optim.adam(0.01)
    data = fnn.data.Dataset(X, jnp.argmax(X[:, :3], axis=1))
    step = fnn.train.make_step(
        fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx, precision="bfloat16", accumulate=2
    )
    train = fnn.train.run(step, data, batch_size=4, epochs=2)
    state, history = jax.jit(jax.vmap(lambda key: train(fnn.train.init_state(key, net, tx, X))))(
        jax.random.split(KEY, 2)
    )
    assert np.isfinite(history["loss"]).all()
    assert sorted(state.params) == ["dense_0", "mlp_0"]


def test_refusals() -> None:
    wrong: Any = dense
    with pytest.raises(TypeError, match=r"^layer: got dense, expected a Layer\. Call it: dense\(\.\.\.\)\."):
        remat(wrong)
    with pytest.raises(ValueError, match=r"^key: got None, expected one typed key: dropout draws"):
        remat(BLOCK).apply(*BLOCK.init(KEY, X), X, train=True)
