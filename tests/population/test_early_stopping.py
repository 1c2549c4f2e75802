"""A member that stops inside the program is what `fit` gives alone, and stays so while the others go on."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset
from fnn.population import take, until_stopped
from fnn.train import init_state, make_step, supervised

NET = fnn.nn.mlp([8, 3], "tanh", dropout=0.2)
TX = fnn.optim.adam(0.1)
LOSS = fnn.losses.softmax_cross_entropy
METRICS = {"accuracy": fnn.metrics.accuracy}
STEP = make_step(supervised(NET, LOSS, metrics=METRICS), TX)
KEYS = jax.random.split(jax.random.key(3), 6)
EPOCHS, PATIENCE = 40, 4


def examples(n: int, seed: int = 1) -> Dataset:
    x = jax.random.normal(jax.random.key(seed), (n, 5))
    return Dataset(x, jnp.argmax(x[:, :3], axis=1))


DATA, HELD_OUT = examples(26), examples(10, 2)


def trainer(**changes: Any) -> Any:
    settings: dict[str, Any] = {"batch_size": 8, "epochs": EPOCHS, "patience": PATIENCE, "metrics": METRICS} | changes
    return until_stopped(
        settings.pop("step", STEP), settings.pop("net", NET), settings.pop("loss", LOSS),
        settings.pop("data", DATA), settings.pop("validation", HELD_OUT), **settings,
    )  # fmt: skip


def begin(key: Any, net: Any = NET) -> fnn.train.TrainState:
    return init_state(key, net, TX, DATA.x)


def arrays(tree: Any) -> Any:
    return jax.tree.map(lambda a: jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a, tree)


@pytest.fixture(scope="module")
def together() -> Any:
    """Six members with one program; they stop after different numbers of epochs."""
    stopped = jax.jit(jax.vmap(lambda key: trainer()(begin(key))))(KEYS)
    assert len(set(map(int, stopped.epochs))) >= 3
    assert int(stopped.epochs.max()) < EPOCHS
    return stopped


@pytest.fixture(scope="module")
def alone() -> Any:
    """The same members one after the other."""
    train = jax.jit(lambda key: trainer()(begin(key)))
    return [train(key) for key in KEYS]


def test_a_run_alone_is_that_of_fit_bit_for_bit(alone: Any) -> None:
    by_fit = fnn.fit(
        NET, LOSS, TX, DATA, key=KEYS[0], epochs=EPOCHS, batch_size=8, validation=HELD_OUT, metrics=METRICS,
        patience=PATIENCE, progress=False,
    )  # fmt: skip
    chex.assert_trees_all_equal(arrays(alone[0].state), arrays(by_fit.state))
    chex.assert_trees_all_equal(arrays(alone[0].best), arrays(by_fit.best))
    n = int(alone[0].epochs)
    assert set(alone[0].history) == set(by_fit.history)
    for name, values in by_fit.history.items():
        np.testing.assert_array_equal(alone[0].history[name][:n], values)
        assert np.isnan(alone[0].history[name][n:]).all()


def test_a_population_is_its_members_alone(together: Any, alone: Any) -> None:
    """vmap orders float32 sums otherwise: after up to 160 steps 1e-3 is left of the parameters' order of 1."""
    for i, one in enumerate(alone):
        lane = take(together, i)
        assert int(lane.epochs) == int(one.epochs)
        assert int(lane.best.step) == int(one.best.step)
        chex.assert_trees_all_close(lane.best.params, one.best.params, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(lane.history["val_loss"], one.history["val_loss"], rtol=1e-3, atol=1e-4)


def test_a_stopped_member_is_frozen_bit_for_bit(together: Any) -> None:
    """The same program with fewer epochs ends earlier; who had stopped by then has not changed since."""
    first = int(together.epochs.min())
    short = jax.jit(jax.vmap(lambda key: trainer(epochs=first)(begin(key))))(KEYS)
    frozen = [i for i in range(len(KEYS)) if int(together.epochs[i]) == first]
    assert 0 < len(frozen) < len(KEYS)
    for i in frozen:
        chex.assert_trees_all_equal(arrays(take(short.state, i)), arrays(take(together.state, i)))
        chex.assert_trees_all_equal(arrays(take(short.best, i)), arrays(take(together.best, i)))


def test_best_and_stop_follow_the_history(together: Any) -> None:
    for i in range(len(KEYS)):
        losses, n = np.asarray(together.history["val_loss"][i]), int(together.epochs[i])
        best = int(np.nanargmin(losses))
        assert n == best + 1 + PATIENCE
        assert int(together.best.step[i]) == (best + 1) * 4
        assert int(together.state.step[i]) == n * 4
        assert np.isnan(losses[n:]).all()
    assert (together.broken == -1).all()


def test_a_later_start_has_its_own_history() -> None:
    tx = fnn.optim.sgd(0.01)
    step = make_step(supervised(NET, LOSS), tx)
    state = init_state(KEYS[0], NET, tx, DATA.x)
    three = jax.jit(trainer(step=step, epochs=3, patience=9))(state)
    later, _ = jax.jit(fnn.train.run(step, DATA, batch_size=8, epochs=1))(state)
    two = jax.jit(trainer(step=step, epochs=2, patience=9))(later)
    np.testing.assert_allclose(two.history["val_loss"], three.history["val_loss"][1:], rtol=1e-6)
    assert int(two.epochs) == 2


def test_a_broken_member_stops_and_the_others_go_on() -> None:
    net, data = fnn.nn.mlp([1]), Dataset(jnp.ones((8, 1)), jnp.zeros((8, 1)))
    loss = fnn.losses.squared_error

    def run(rate: Any) -> Any:
        tx = fnn.optim.sgd(rate)
        step = make_step(supervised(net, loss), tx)
        train = until_stopped(step, net, loss, data, data, batch_size=4, epochs=30, patience=30)
        return train(init_state(KEYS[0], net, tx, data.x))

    stopped = jax.jit(jax.vmap(run))(jnp.array([0.01, 1e3]))
    assert int(stopped.broken[0]) == -1
    assert int(stopped.epochs[0]) == 30
    broken, epochs = int(stopped.broken[1]), int(stopped.epochs[1])
    assert epochs == broken // 2 < 30
    assert np.isfinite(stopped.history["loss"][1][:epochs]).all()
    assert np.isnan(stopped.history["loss"][1][epochs + 1 :]).all()
    assert np.isfinite(stopped.best.params["dense_0"]["w"]).all()


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"step": 1}, TypeError, r"^step: got 1, expected a function \(state, batch\)"),
        ({"loss": 1}, TypeError, r"^loss: got 1, expected a function"),
        ({"net": 1}, TypeError, r"^net: got a int"),
        ({"epochs": 0}, ValueError, r"^epochs: got 0"),
        ({"patience": 0}, ValueError, r"^patience: got 0"),
        ({"patience": None}, TypeError, r"^patience: got None"),
        ({"batch_size": 99}, ValueError, r"^batch_size: got 99, expected at most the 26"),
        ({"metrics": {"loss": LOSS}}, ValueError, r"^metrics: got the name 'loss'"),
        ({"validation": (jnp.ones(3),)}, TypeError, r"^validation: got a tuple"),
        ({"data": DATA._replace(x=DATA.x.at[3].set(jnp.nan))}, ValueError, r"^data.x: got nan at row 3"),
        ({"validation": HELD_OUT._replace(y=HELD_OUT.y.at[1].set(5))}, ValueError, r"^labels: got 5 at row 1"),
    ],
)
def test_wrong_calls(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        trainer(**changes)(begin(KEYS[0]))


def test_wrong_states_and_metrics() -> None:
    with pytest.raises(ValueError, match=r"^state: got 3 steps, in the middle of an epoch of 4"):
        trainer()(begin(KEYS[0])._replace(step=jnp.array(3)))
    odd: Any = lambda state, batch: (state, {"loss": jnp.ones(2)})  # noqa: E731
    with pytest.raises(ValueError, match=r"^metric 'loss' of step: got shape \(2,\), expected shape \(\)\. A step"):
        trainer(step=odd)(begin(KEYS[0]))
