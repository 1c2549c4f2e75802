"""Networks with a state: no filler enters it, and loop, run, vmap and fit agree on every one of its numbers."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset, batches
from fnn.train import init_state, make_step, run, supervised

KEY = jax.random.key(0)
EXAMPLES, BATCH, EPOCHS = 22, 8, 3
X = jax.random.normal(jax.random.key(1), (EXAMPLES, 6, 6, 2))
DATA = Dataset(X, (X.mean(axis=(1, 2, 3)) > 0).astype(jnp.int32))
NET = fnn.nn.cnn([4], [], 2, norm=fnn.nn.batch_norm)
LOSS = fnn.losses.softmax_cross_entropy
TX = fnn.optim.adam(1e-2)
STEP = make_step(supervised(NET, LOSS), TX)


def _by_loop(key: Any) -> Any:
    state, step = init_state(key, NET, TX, X), jax.jit(STEP)
    for epoch in range(EPOCHS):
        for batch in batches(DATA, BATCH, key=state.key, epoch=epoch):
            state, _ = step(state, batch)
    return state


def test_run_is_the_host_loop_with_its_smaller_last_batch() -> None:
    state, _ = jax.jit(run(STEP, DATA, batch_size=BATCH, epochs=EPOCHS))(init_state(KEY, NET, TX, X))
    expected = _by_loop(KEY)
    chex.assert_trees_all_close(state.model_state, expected.model_state, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(state.params, expected.params, rtol=1e-4, atol=1e-6)
    assert int(state.step) == EPOCHS * 3


def test_a_population_of_runs_is_each_run_alone() -> None:
    train = run(STEP, DATA, batch_size=BATCH, epochs=EPOCHS)
    keys = jax.random.split(KEY, 3)
    together = jax.jit(jax.vmap(lambda key: train(init_state(key, NET, TX, X))[0]))(keys)
    for i, key in enumerate(keys):
        alone = _by_loop(key)
        one = jax.tree.map(lambda leaf: leaf[i], together)  # noqa: B023
        chex.assert_trees_all_close(one.model_state, alone.model_state, rtol=1e-5, atol=1e-6)
        chex.assert_trees_all_close(one.params, alone.params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [BATCH, 11, EXAMPLES])
def test_fit_is_the_run(batch_size: int) -> None:
    fitted = fnn.fit(
        NET, LOSS, TX, DATA, key=KEY, epochs=EPOCHS, batch_size=batch_size, validation=DATA, progress=False
    )
    state, history = jax.jit(run(STEP, DATA, batch_size=batch_size, epochs=EPOCHS))(init_state(KEY, NET, TX, X))
    chex.assert_trees_all_close(fitted.state.model_state, state.model_state, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(fitted.state.params, state.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fitted.history["loss"], history["loss"], rtol=1e-5)


def test_evaluation_changes_no_state_and_sees_the_running_statistics() -> None:
    state = _by_loop(KEY)
    y, after = NET.apply(state.params, state.model_state, X)
    chex.assert_trees_all_equal(after, state.model_state)
    one_by_one = jnp.concatenate([NET.apply(state.params, state.model_state, x[None])[0] for x in X])
    np.testing.assert_allclose(y, one_by_one, rtol=1e-5, atol=1e-6)


def test_a_last_batch_of_one_is_refused_before_anything_compiles() -> None:
    data = Dataset(X[:17], DATA.y[:17])
    with pytest.raises(ValueError, match=r"batch of one|one example"):
        fnn.fit(NET, LOSS, TX, data, key=KEY, epochs=1, batch_size=BATCH, progress=False)
