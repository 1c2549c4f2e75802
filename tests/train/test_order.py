"""A run whose order of examples follows from a key of its own."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

X = jax.random.normal(jax.random.key(3), (21, 4))
DATA = fnn.data.Dataset(X, (X[:, 0] > 0).astype(jnp.int32))
NET, TX = fnn.nn.mlp([5, 2]), fnn.optim.sgd(0.1)
STEP = fnn.train.make_step(fnn.train.supervised(NET, fnn.losses.softmax_cross_entropy), TX)
OTHER = jax.random.key(9)
# Rounding of batched products.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def _start(key: jax.Array) -> fnn.train.TrainState:
    return fnn.train.init_state(key, NET, TX, X)


def _train(order_key: jax.Array | None = None, step: fnn.train.Step = STEP, data: fnn.data.Dataset = DATA) -> Any:
    return jax.jit(fnn.train.run(step, data, batch_size=8, epochs=3, order_key=order_key))


def test_the_states_own_key_gives_what_none_gives() -> None:
    state = _start(jax.random.key(1))
    chex.assert_trees_all_equal(_train(state.key)(state)[0].params, _train()(state)[0].params)


def test_it_is_the_order_of_the_batches_of_that_key() -> None:
    state = _start(jax.random.key(1))
    by_run, _ = _train(OTHER)(state)
    for epoch in range(3):
        for batch in fnn.data.batches(DATA, 8, key=OTHER, epoch=epoch):
            state, _ = STEP(state, batch)
    chex.assert_trees_all_close(by_run.params, state.params, **CLOSE)


def test_networks_of_a_population_share_the_batches() -> None:
    keys = jax.random.split(jax.random.key(0), 3)

    def train(key: jax.Array) -> Any:
        return fnn.train.run(STEP, DATA, batch_size=8, epochs=3, order_key=OTHER)(_start(key))[0].params

    together = jax.jit(jax.vmap(train))(keys)
    alone = [_train(OTHER)(_start(key))[0].params for key in keys]
    chex.assert_trees_all_close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone), **CLOSE)
    # One batch for all: the batched program gathers 8 rows, not 3 times 8.
    text = jax.jit(jax.vmap(train)).lower(keys).as_text()
    assert "tensor<3x8x4xf32>" not in text


def test_a_guarded_run_stops_at_the_batch_of_that_order() -> None:
    data = DATA._replace(x=X.at[17].set(1e38))
    net = fnn.nn.sequential(fnn.nn.activation(lambda x: 10 * x), fnn.nn.dense(5), fnn.nn.dense(2))
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), TX, guard=True)
    start = fnn.train.init_state(jax.random.key(1), net, TX, X)
    state, history = _train(OTHER, step, data)(start)
    batch = fnn.train.next_batch(step, data, state, batch_size=8, order_key=OTHER)
    assert bool((batch.x == 1e38).any())
    assert int(state.step) < 3
    np.testing.assert_array_equal(history["finite"][1:], 0)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"order_key": 3}, TypeError, "^order_key: got 3, expected one typed key"),
        (
            {"order_key": OTHER, "executor": "host"},
            ValueError,
            "^order_key: got a key, expected None with executor='host'",
        ),
    ],
)
def test_refusals(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        fnn.train.run(STEP, DATA, batch_size=8, epochs=1, **options)
