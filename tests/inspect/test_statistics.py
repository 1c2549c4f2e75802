"""Statistics of a trace against NumPy, and through a run."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.inspect import backprop, statistics, watched
from fnn.train import init_state, make_step, run, supervised
from tests.inspect.networks import CE, CLASSES, NETWORKS, ROWS

KEY = jax.random.key(4)


@pytest.mark.parametrize("name", ["mlp", "resnet", "own layer"])
def test_against_numpy(name: str) -> None:
    case = NETWORKS[name]
    params, state = case.start
    trace = backprop(case.net, case.loss, params, state, (case.x, case.y))
    updates = jax.tree.map(lambda w: 0.01 * w, params)
    for layer, found in statistics(trace, params, updates).items():
        signals = {k: np.asarray(getattr(trace[layer], k), np.float64) for k in ("z", "a", "delta", "da")}
        own = [np.asarray(g, np.float64).ravel() for g in trace[layer].gradient.values()]
        expected = {
            "z_mean": signals["z"].mean(),
            "z_std": signals["z"].std(),
            "a_mean": signals["a"].mean(),
            "a_std": signals["a"].std(),
            "delta_norm": np.linalg.norm(signals["delta"]),
            "gradient_norm": np.linalg.norm(np.concatenate(own)) if own else 0,
            "update_ratio": 0.01 if own else 0,
        }
        for kind, number in expected.items():
            np.testing.assert_allclose(getattr(found, kind), number, rtol=2e-5, atol=1e-6, err_msg=f"{layer} {kind}")


def forced(bias: float, activation: str) -> Any:
    """The first layer's statistics where the bias of its first unit is this."""
    net = fnn.nn.mlp([4, 3], activation, w_init="normalized_xavier")
    params, state = net.init(KEY, ROWS)
    params["dense_0"]["b"] = params["dense_0"]["b"].at[0].set(bias)
    return statistics(backprop(net, CE, params, state, (ROWS, CLASSES)), params)["dense_0"]


def test_a_dead_unit_is_counted() -> None:
    assert float(forced(-100.0, "relu").dead) == 0.25
    assert float(forced(100.0, "relu").dead) == 0


def test_a_saturated_unit_is_counted() -> None:
    assert float(forced(30.0, "sigmoid").saturated) == float(forced(-30.0, "sigmoid").dead) == 0.25
    assert float(forced(0.0, "sigmoid").saturated) == 0


def test_without_an_activation_nothing_is_asleep() -> None:
    case = NETWORKS["one layer"]
    params, state = case.start
    found = statistics(backprop(case.net, case.loss, params, state, (case.x, case.y)), params)["dense"]
    assert float(found.saturated) == float(found.dead) == 0
    assert float(found.weight_norm) > 0


def a_run(guard: bool = False, **options: Any) -> tuple[Any, Any, Any]:
    net, tx = fnn.nn.mlp([4, 3], dropout=0.2), fnn.optim.adam(0.01)
    plain = make_step(supervised(net, CE), tx, guard=guard)
    step = watched(plain, net, CE)
    state = init_state(KEY, net, tx, ROWS)
    data = fnn.data.Dataset(ROWS, CLASSES)
    train = run(step, data, batch_size=4, epochs=3, **options)
    return train(state), run(plain, data, batch_size=4, epochs=3, **options)(state), state


@pytest.mark.parametrize("guard", [False, True])
def test_a_watched_run_trains_as_it_would_unwatched(guard: bool) -> None:
    (state, history), (plain, _), _ = a_run(guard)
    chex.assert_trees_all_close(state.params, plain.params, atol=1e-6)
    assert history["dense_1/update_ratio"].shape == (3,)
    assert bool((history["dense_0/delta_norm"] > 0).all())


def test_executors_tell_the_same() -> None:
    (_, scan), _, _ = a_run()
    (_, host), _, _ = a_run(executor="host")
    chex.assert_trees_all_close(scan, host, rtol=1e-4, atol=1e-6)


def test_for_each_network_of_a_population() -> None:
    net, tx = fnn.nn.mlp([4, 3]), fnn.optim.sgd(0.1)
    step = watched(make_step(supervised(net, CE), tx), net, CE)
    state = jax.vmap(lambda key: init_state(key, net, tx, ROWS))(jax.random.split(KEY, 5))
    train = run(step, fnn.data.Dataset(ROWS, CLASSES), batch_size=3, epochs=2)
    assert jax.vmap(train)(state)[1]["dense_0/dead"].shape == (5, 2)


def test_the_update_is_the_step_s_own() -> None:
    net, tx = fnn.nn.mlp([3]), fnn.optim.sgd(0.5)
    step = watched(make_step(supervised(net, CE), tx), net, CE)
    state = init_state(KEY, net, tx, ROWS)
    new, metrics = step(state, fnn.data.Dataset(ROWS, CLASSES))
    moved = fnn.tree.global_norm(jax.tree.map(jnp.subtract, new.params, state.params))
    np.testing.assert_allclose(metrics["dense_0/update_norm"], moved, rtol=1e-6)
    np.testing.assert_allclose(metrics["dense_0/gradient_norm"], metrics["grad_norm"], rtol=1e-5)


def test_refused() -> None:
    with pytest.raises(TypeError, match="step: got"):
        watched(3, fnn.nn.mlp([3]), CE)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="loss: got"):
        watched(lambda state, batch: (state, {}), fnn.nn.mlp([3]), "mse")  # pyright: ignore[reportArgumentType]
