"""A guarded run stops a lane at its first step that is not finite: frozen, found again, the others untouched."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.data import Dataset, WeightedBatch
from fnn.inspect import first_nonfinite
from fnn.train import TrainState, init_state, make_step, next_batch, run, supervised

KEY = jax.random.key(8)
X = jax.random.normal(KEY, (10, 3))
DATA = Dataset(X, X[:, :1])
LOSS = fnn.losses.squared_error
BATCH, EPOCHS, STEPS = 4, 4, 3


def in_update(step: Any) -> optax.GradientTransformation:
    """SGD whose update is infinite at this step."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda g: -0.05 * g * jnp.exp(jnp.where(state == step, 1e3, 0.0)), updates), state + 1

    return optax.GradientTransformation(lambda params: jnp.int32(0), update)


def in_forward(step: Any) -> fnn.nn.Layer:
    """A layer that gives infinity at this step: its state counts them, and makes the last batch a smaller one."""

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return x * jnp.exp(jnp.where(state["n"] == step, 1e3, 0.0)), {"n": state["n"] + 1}

    return fnn.nn.Layer("bomb", lambda key, x: ({}, {"n": jnp.int32(0)}), apply)


def training(at: Any, *, guard: bool = True, stage: str = "update") -> Any:
    layers = [fnn.nn.dropout(0.2), *([in_forward(at)] if stage == "forward" else []), fnn.nn.dense(1)]
    net, tx = fnn.nn.sequential(*layers), in_update(at if stage == "update" else 99)
    step = make_step(supervised(net, LOSS), tx, guard=guard)
    return step, lambda key: init_state(key, net, tx, X)


def trained(at: Any, key: jax.Array = KEY, **options: Any) -> Any:
    step, start = training(at, **options)
    return run(step, DATA, batch_size=BATCH, epochs=EPOCHS)(start(key))


def arrays(state: TrainState) -> Any:
    return state._replace(key=jax.random.key_data(state.key))


def host_loop(at: int, steps: int) -> TrainState:
    step, start = training(at, guard=False)
    step, state = jax.jit(step), start(KEY)
    for epoch in range(EPOCHS):
        for batch in fnn.data.batches(DATA, BATCH, key=KEY, epoch=epoch):
            if int(state.step) < steps:
                state, _ = step(state, batch)
    return state


@pytest.fixture(scope="module")
def stopped() -> Any:
    """Lanes that stop at these steps; the last one never."""
    at = jnp.array([0, 7, 9, 99])
    return jax.jit(jax.vmap(trained, in_axes=(0, None)))(at, KEY)


def lane(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda a: a[i], tree)


@pytest.mark.parametrize(("i", "at"), [(0, 0), (1, 7), (2, 9), (3, STEPS * EPOCHS)])
def test_each_lane_stands_before_its_first_bad_step(stopped: Any, i: int, at: int) -> None:
    state, history = lane(stopped, i)
    assert int(state.step) == at
    chex.assert_trees_all_close(state.params, host_loop(99, at).params, rtol=1e-5, atol=1e-6)
    whole, rest = divmod(at, STEPS)
    shares = [1.0] * whole + [rest * BATCH / len(X), *[0.0] * EPOCHS]
    np.testing.assert_allclose(history["finite"], shares[:EPOCHS], rtol=1e-6)
    # What was not trained has no metrics.
    for name in ("loss", "grad_norm"):
        np.testing.assert_array_equal(np.isfinite(history[name]), np.array(shares[:EPOCHS]) == 1)


@pytest.mark.parametrize("at", [7, 99])
@pytest.mark.parametrize("options", [{"executor": "host"}, {"executor": "chunks", "chunk": 5}], ids=str)
def test_every_executor_stops_there(stopped: Any, options: dict[str, Any], at: int) -> None:
    """In the middle of a chunk too; history and state are those of the scan."""
    state, history = lane(stopped, 1 if at == 7 else 3)
    step, start = training(at)
    train = run(step, DATA, batch_size=BATCH, epochs=EPOCHS, **options)
    first = start(KEY)
    ran, told = train(first)
    assert int(ran.step) == int(state.step)
    chex.assert_trees_all_close(ran.params, state.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(told, history, rtol=1e-5, atol=1e-6)
    assert not first.params["dense_0"]["w"].is_deleted()
    if at == 7:
        # It goes on where it stands, in vain: the batch is the same again.
        again, told = run(step, DATA, batch_size=BATCH, epochs=1, **options)(ran)
        chex.assert_trees_all_equal(arrays(again), arrays(ran))
        assert float(told["finite"][0]) == 0


def test_other_lanes_keep_every_bit() -> None:
    population = jax.jit(jax.vmap(trained))
    keys = jax.random.split(KEY, 4)
    (good, seen), (bad, told) = (population(jnp.array(at), keys) for at in ([99] * 4, [99, 99, 5, 99]))
    assert [int(n) for n in bad.step] == [12, 12, 5, 12]
    others = np.array([0, 1, 3])
    chex.assert_trees_all_equal(
        *(jax.tree.map(lambda a: a[others], (arrays(s), h)) for s, h in ((good, seen), (bad, told)))
    )


def test_without_an_event_a_guard_changes_no_bit() -> None:
    (plain, seen), (guarded, told) = (
        jax.jit(lambda key, guard=guard: trained(99, key, guard=guard))(KEY) for guard in (False, True)
    )
    chex.assert_trees_all_equal(arrays(plain), arrays(guarded))
    np.testing.assert_array_equal(told.pop("finite"), np.ones(EPOCHS))
    chex.assert_trees_all_equal(seen, told)


def test_a_lane_stays_where_it_is_in_a_run_that_goes_on() -> None:
    """Also in more epochs, where its batch comes by again."""
    step, start = training(7)
    train = jax.jit(jax.vmap(run(step, DATA, batch_size=BATCH, epochs=EPOCHS)))
    state, _ = train(jax.vmap(start)(jax.random.split(KEY, 2)))
    again, history = train(state)
    chex.assert_trees_all_equal(arrays(again), arrays(state))
    assert not np.any(history["finite"])


@pytest.mark.parametrize("stage", ["update", "forward"])
def test_the_state_and_its_next_batch_give_the_event(stage: str) -> None:
    step, _ = training(8, stage=stage)
    state, _ = jax.jit(lambda key: trained(8, key, stage=stage))(KEY)
    batch = next_batch(step, DATA, state, batch_size=BATCH)
    assert len(batch.x) == (4 if stage == "update" else 2)
    after, metrics = step(state, batch)
    assert (int(after.step), float(metrics["finite"])) == (8, 0.0)
    event = first_nonfinite(step, state, batch)
    assert event is not None
    leaf = "bomb_0" if stage == "forward" else "params/dense_0/b"
    assert (event.step, event.stage, event.leaf, event.operation) == (8, stage, leaf, "exp")


def test_next_batch_is_what_a_run_takes() -> None:
    seen = []

    def record(state: TrainState, batch: Any) -> Any:
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), batch.x, ordered=True)
        return state._replace(step=state.step + 1), {}

    _, start = training(99)
    for weighted in (False, True):
        seen.clear()
        taken: Any = fnn.train.takes_weights(record) if weighted else record
        state = start(KEY)._replace(model_state={})
        run(taken, DATA, batch_size=BATCH, epochs=2)(state)
        jax.effects_barrier()
        assert len(seen) == 6
        for i, x in enumerate(seen):
            batch = next_batch(taken, DATA, state._replace(step=jnp.int32(i)), batch_size=BATCH)
            np.testing.assert_array_equal(batch.x, x)
            assert isinstance(batch, WeightedBatch) == weighted


def test_refusals() -> None:
    step, start = training(9)
    many = jax.vmap(start)(jax.random.split(KEY, 2))
    with pytest.raises(ValueError, match=r"^state: got states of shape \(2,\), expected one state\. Take a lane"):
        next_batch(step, DATA, many, batch_size=BATCH)
    with pytest.raises(TypeError, match=r"^state: got a trace around it, expected a state on the host\."):
        jax.jit(lambda state: next_batch(step, DATA, state, batch_size=BATCH).x)(start(KEY))
    with pytest.raises(ValueError, match=r"^batch_size: got 11, expected at most the 10 examples"):
        next_batch(step, DATA, start(KEY), batch_size=11)
    with pytest.raises(TypeError, match=r"^state: got a Dataset, expected a TrainState"):
        next_batch(step, DATA, DATA, batch_size=BATCH)  # pyright: ignore[reportArgumentType]
