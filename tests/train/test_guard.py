"""The guard of a step: what is not finite is not taken, and the state comes back to the bit."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.data import Dataset
from fnn.train import TrainState, init_state, make_step, supervised

KEY = jax.random.key(4)
X = jax.random.normal(KEY, (6, 3))
DATA = Dataset(X, X[:, :1])
NET = fnn.nn.sequential(fnn.nn.dense(4), fnn.nn.batch_norm(), fnn.nn.dropout(0.2), fnn.nn.dense(1))
LOSS = fnn.losses.squared_error


def arrays(state: TrainState) -> Any:
    return state._replace(key=jax.random.key_data(state.key))


BATCHES = {
    "NaN in the data": DATA._replace(x=X.at[1, 0].set(jnp.nan)),
    "an overflow in the loss": DATA._replace(y=jnp.full((6, 1), 3e38)),
    "an overflow in the gradient's norm": DATA._replace(y=jnp.full((6, 1), 1.5e19)),
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", BATCHES)
def test_a_step_that_is_not_finite_is_not_taken(name: str, jit: bool) -> None:
    tx = fnn.optim.adam(0.01)
    step = make_step(supervised(NET, LOSS), tx, guard=True)
    step = jax.jit(step) if jit else step
    state, metrics = step(init_state(KEY, NET, tx, X), DATA)
    assert (int(state.step), float(metrics["finite"])) == (1, 1.0)
    after, metrics = step(state, BATCHES[name])
    chex.assert_trees_all_equal(arrays(after), arrays(state))
    assert float(metrics["finite"]) == 0
    assert not np.isfinite([metrics["loss"], metrics["grad_norm"]]).all()
    # The next good batch is taken, with the noise of the step that was not.
    again, metrics = step(after, DATA)
    assert (int(again.step), float(metrics["finite"])) == (2, 1.0)


def test_without_an_event_the_numbers_are_those_of_a_plain_step() -> None:
    tx = fnn.optim.adam(0.01)
    plain, guarded = (make_step(supervised(NET, LOSS), tx, guard=guard) for guard in (False, True))
    a = b = init_state(KEY, NET, tx, X)
    seen = told = {}
    for _ in range(3):
        (a, seen), (b, told) = plain(a, DATA), guarded(b, DATA)
    chex.assert_trees_all_equal(arrays(a), arrays(b))
    assert "finite" not in seen
    assert {name: float(v) for name, v in told.items()} == {**{n: float(v) for n, v in seen.items()}, "finite": 1.0}


def test_an_update_that_overflows_is_not_taken() -> None:
    net, tx = fnn.nn.dense(1), fnn.optim.sgd(3e38)
    state = init_state(KEY, net, tx, X)
    after, metrics = make_step(supervised(net, LOSS), tx, guard=True)(state, DATA._replace(y=9 * DATA.y))
    assert np.isfinite([metrics["loss"], metrics["grad_norm"]]).all()
    assert (int(after.step), float(metrics["finite"])) == (0, 0.0)
    chex.assert_trees_all_equal(after.params, state.params)


@pytest.mark.parametrize("part", ["opt_state", "model_state"])
def test_every_part_of_the_state_is_looked_at(part: str) -> None:
    """A number that overflows only there, in neither loss, gradient nor parameters."""

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return x, {"s": 2 * state["s"]}

    doubled = fnn.nn.Layer("doubled", lambda key, x: ({}, {"s": jnp.float32(3e38)}), apply)
    net = fnn.nn.sequential(doubled, fnn.nn.dense(1)) if part == "model_state" else fnn.nn.dense(1)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda g: -0.1 * g, updates), {"s": 2 * state["s"]}

    double = optax.GradientTransformation(lambda params: {"s": jnp.float32(3e38)}, update)
    tx = double if part == "opt_state" else fnn.optim.sgd(0.1)
    state = init_state(KEY, net, tx, X)
    after, metrics = make_step(supervised(net, LOSS), tx, guard=True)(state, DATA)
    assert float(metrics["finite"]) == 0
    chex.assert_trees_all_equal(arrays(after), arrays(state))


def test_an_infinity_that_was_there_before_stops_nothing() -> None:
    """Optax's reduce_on_plateau holds the best loss so far: infinite at first."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda g: -0.1 * g, updates), state

    tx = optax.GradientTransformation(lambda params: {"best": jnp.array(jnp.inf)}, update)
    net = fnn.nn.dense(1)
    state, metrics = make_step(supervised(net, LOSS), tx, guard=True)(init_state(KEY, net, tx, X), DATA)
    assert (int(state.step), float(metrics["finite"])) == (1, 1.0)


def test_one_lane_of_four_is_held_and_the_others_are_as_without_it() -> None:
    tx = fnn.optim.adam(0.01)
    step = jax.jit(jax.vmap(make_step(supervised(NET, LOSS), tx, guard=True)))
    states = jax.vmap(lambda key: init_state(key, NET, tx, X))(jax.random.split(KEY, 4))
    batches = jax.tree.map(lambda a: jnp.stack([a] * 4), DATA)
    bad = batches._replace(x=batches.x.at[2, 0, 0].set(jnp.inf))
    (all_good, _), (one_bad, metrics) = step(states, batches), step(states, bad)
    np.testing.assert_array_equal(metrics["finite"], [1, 1, 0, 1])
    good = np.array([0, 1, 3])
    chex.assert_trees_all_equal(*(jax.tree.map(lambda a: a[good], arrays(s)) for s in (all_good, one_bad)))
    chex.assert_trees_all_equal(*(jax.tree.map(lambda a: a[2], arrays(s)) for s in (states, one_bad)))


def test_refusals() -> None:
    tx, wrong = fnn.optim.sgd(0.1), 1
    with pytest.raises(TypeError, match=r"^guard: got 1, expected True or False\."):
        make_step(supervised(NET, LOSS), tx, guard=wrong)  # pyright: ignore[reportArgumentType]

    def loss_fn(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return jnp.float32(0), (state, {"finite": jnp.float32(1)})

    with pytest.raises(ValueError, match=r"^metrics of loss_fn: got the name 'finite', expected another one"):
        make_step(loss_fn, tx)(init_state(KEY, NET, tx, X), DATA)
