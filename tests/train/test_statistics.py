"""Statistics taken anew are the means of the batches' own, whatever the momentum, and all else stays."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset, epoch_order
from fnn.train import TrainState, init_state, refresh_statistics

X = 3 + 2 * jax.random.normal(jax.random.key(0), (22, 5))
DATA = Dataset(X, jnp.zeros(22, int))


def network(momentum: float) -> fnn.nn.Layer:
    nn = fnn.nn
    return nn.sequential(nn.batch_norm(momentum), nn.dense(4), nn.activation("tanh"), nn.batch_norm(0.5), nn.dense(2))


def begin(net: Any) -> TrainState:
    return init_state(jax.random.key(3), net, fnn.optim.sgd(0.1), X)


def by_hand(net: Any, state: TrainState) -> Any:
    """Each batch's mean and unbiased variance, before each normalization, in float64."""
    order, _ = epoch_order(state.key, int(state.step) // 3, 22, 8)
    flat = np.asarray(order).reshape(-1)[:22]
    totals: dict[str, Any] = {}
    for start in (0, 8, 16):
        rows = flat[start : start + 8]
        h = np.asarray(X, np.float64)[rows]
        for name, dense in (("batch_norm_0", "dense_0"), ("batch_norm_1", "dense_1")):
            mean, var = h.mean(axis=0), h.var(axis=0, ddof=1)
            total = totals.setdefault(name, {"mean": 0.0, "var": 0.0})
            total["mean"] += len(rows) / 22 * mean
            total["var"] += len(rows) / 22 * var
            h = (h - mean) / np.sqrt(h.var(axis=0) + 1e-5)
            w = {k: np.asarray(v, np.float64) for k, v in state.params[dense].items()}
            h = np.tanh(h @ w["w"] + w["b"])
    return totals


@pytest.mark.parametrize(("momentum", "step"), [(0.0, 0), (0.9, 3), (0.99, 0)])
def test_by_hand(momentum: float, step: int) -> None:
    net = network(momentum)
    state = begin(net)._replace(step=jnp.array(step))
    refreshed = jax.jit(refresh_statistics(net, DATA, batch_size=8))(state)
    for name, leaf in fnn.tree.named_leaves(by_hand(net, state)).items():
        np.testing.assert_allclose(fnn.tree.named_leaves(refreshed.model_state)[name], leaf, rtol=2e-5, atol=1e-5)
    for old, new in zip(
        state._replace(model_state=(), key=()), refreshed._replace(model_state=(), key=()), strict=True
    ):
        chex.assert_trees_all_equal(old, new)


def test_what_was_there_before_does_not_count() -> None:
    net = network(0.9)
    state, refresh = begin(net), jax.jit(refresh_statistics(net, DATA, batch_size=8))
    other = state._replace(model_state=jax.tree.map(lambda s: s + 100, state.model_state))
    chex.assert_trees_all_equal(refresh(state).model_state, refresh(other).model_state)


def test_a_population_has_each_its_own() -> None:
    net = network(0.9)
    states = jax.vmap(lambda key: init_state(key, net, fnn.optim.sgd(0.1), X))(jax.random.split(jax.random.key(3), 3))
    refresh = refresh_statistics(net, DATA, batch_size=8)
    together, alone = jax.jit(jax.vmap(refresh))(states), jax.jit(refresh)(fnn.population.take(states, 1))
    chex.assert_trees_all_close(fnn.population.take(together, 1).model_state, alone.model_state, rtol=1e-5, atol=1e-6)


def test_without_statistics_nothing_happens_and_convolutions_pass() -> None:
    net = fnn.nn.mlp([4, 2])
    state = begin(net)
    assert refresh_statistics(net, DATA, batch_size=8)(state).model_state == {}
    images = Dataset(jax.random.normal(jax.random.key(1), (6, 4, 4, 2)), jnp.zeros(6, int))
    net = fnn.nn.cnn([3], [4], 2, norm=fnn.nn.batch_norm, dropout=0.1)
    state = init_state(jax.random.key(0), net, fnn.optim.sgd(0.1), images.x)
    refreshed = jax.jit(refresh_statistics(net, images, batch_size=3))(state)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(refreshed.model_state))


def test_what_training_does_not_move_stays() -> None:
    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return x, {"fixed": state["fixed"], "mean": 0.5 * state["mean"] + 0.5 * x.mean(axis=0)}

    net = fnn.nn.Layer("odd", lambda key, x: ({}, {"fixed": jnp.full(2, 7.0), "mean": jnp.zeros(5)}), apply)
    refreshed = refresh_statistics(net, DATA, batch_size=11)(begin(net))
    np.testing.assert_allclose(refreshed.model_state["fixed"], [7, 7], rtol=1e-6)
    np.testing.assert_allclose(refreshed.model_state["mean"], X.mean(axis=0), rtol=1e-5)


def test_wrong_calls() -> None:
    net = network(0.9)
    with pytest.raises(TypeError, match=r"^net: got a int"):
        refresh_statistics(1, DATA, batch_size=8)
    with pytest.raises(ValueError, match=r"^batch_size: got 99, expected at most the 22"):
        refresh_statistics(net, DATA, batch_size=99)
    with pytest.raises(TypeError, match=r"^state: got a dict, expected a TrainState"):
        refresh_statistics(net, DATA, batch_size=8)({})  # pyright: ignore[reportArgumentType]
    counted = begin(net)._replace(model_state={"n": jnp.array(0)})
    with pytest.raises(TypeError, match=r"^state\.model_state: got leaf 'n' of dtype int32, expected running stat"):
        refresh_statistics(net, DATA, batch_size=8)(counted)
    # Batch normalization refuses a last batch of one example itself.
    with pytest.raises(ValueError, match=r"^x: got a batch of 1, expected at least 2 examples"):
        refresh_statistics(net, DATA, batch_size=7)(begin(net))
