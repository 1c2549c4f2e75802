"""A run is the same run in a scan, in a host loop, under vmap, and cut in two."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset
from fnn.train import TrainState, init_state, make_step, run, supervised

KEY = jax.random.key(7)
NET = fnn.nn.mlp([8, 3], "tanh", dropout=0.3)
TX = fnn.optim.adam(1e-2)


def examples(n: int) -> Dataset:
    x = jax.random.normal(jax.random.key(1), (n, 5))
    return Dataset(x, jnp.argmax(x[:, :3], axis=1))


def step_for(net: fnn.nn.Layer = NET) -> fnn.train.Step:
    return make_step(supervised(net, fnn.losses.softmax_cross_entropy, metrics={"accuracy": fnn.metrics.accuracy}), TX)


def start(key: jax.Array = KEY, net: fnn.nn.Layer = NET) -> TrainState:
    return init_state(key, net, TX, jnp.zeros((1, 5)))


def host_loop(step: fnn.train.Step, data: Dataset, batch_size: int, epochs: int) -> TrainState:
    state, jitted = start(), jax.jit(step)
    for epoch in range(epochs):
        for batch in fnn.data.batches(data, batch_size, key=state.key, epoch=epoch):
            state, _ = jitted(state, batch)
    return state


def arrays(state: TrainState) -> Any:
    return state._replace(key=jax.random.key_data(state.key))


@pytest.mark.parametrize("n", [24, 26])
def test_run_equals_host_loop(n: int) -> None:
    """The programs differ, so float32 sums may be ordered otherwise: 1e-6 relative after 12 steps."""
    data = examples(n)
    state, _ = jax.jit(run(step_for(), data, batch_size=8, epochs=3))(start())
    chex.assert_trees_all_close(state.params, host_loop(step_for(), data, 8, 3).params, rtol=1e-6, atol=1e-6)
    assert int(state.step) == 3 * -(-n // 8)


def test_vmap_over_keys_equals_single_runs() -> None:
    data, keys = examples(26), jax.random.split(KEY, 3)
    train = run(step_for(), data, batch_size=8, epochs=3)
    many, history = jax.jit(jax.vmap(lambda key: train(start(key))))(keys)
    assert history["loss"].shape == (3, 3)
    for i, key in enumerate(keys):
        single, _ = jax.jit(train)(start(key))
        lane = jax.tree.map(lambda a, i=i: a[i], many.params)
        chex.assert_trees_all_close(lane, single.params, rtol=1e-5, atol=1e-6)


def test_same_program_same_bits() -> None:
    train = jax.jit(run(step_for(), examples(26), batch_size=8, epochs=3))
    chex.assert_trees_all_equal(arrays(train(start())[0]), arrays(train(start())[0]))


def test_two_halves_equal_the_whole_bit_for_bit() -> None:
    data = examples(26)
    half = jax.jit(run(step_for(), data, batch_size=8, epochs=2))
    whole = jax.jit(run(step_for(), data, batch_size=8, epochs=4))
    first, history_1 = half(start())
    second, history_2 = half(first)
    state, history = whole(start())
    chex.assert_trees_all_equal(arrays(second), arrays(state))
    both = jnp.concatenate([history_1["loss"], history_2["loss"]])
    np.testing.assert_array_equal(both, history["loss"])


def test_epochs_differ_in_order_and_in_noise() -> None:
    seen = []

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), batch.x[:, 0], ordered=True)
        return state._replace(step=state.step + 1), {}

    run(step, examples(8), batch_size=8, epochs=2)(start())
    jax.effects_barrier()
    assert sorted(seen[0]) == sorted(seen[1])
    assert list(seen[0]) != list(seen[1])


@pytest.mark.parametrize("n", [24, 26, 31])
def test_epoch_loss_is_the_mean_over_examples(n: int) -> None:
    """With learning rate 0 every batch sees the same network, so the mean is known."""
    data, net, tx = examples(n), fnn.nn.mlp([8, 3]), fnn.optim.sgd(0.0)
    step = make_step(supervised(net, fnn.losses.softmax_cross_entropy), tx)
    state = init_state(KEY, net, tx, data.x)
    _, history = jax.jit(run(step, data, batch_size=8, epochs=2))(state)
    outputs, _ = net.apply(state.params, {}, data.x)
    mean = fnn.losses.softmax_cross_entropy(outputs, data.y).mean()
    np.testing.assert_allclose(history["loss"], [mean, mean], rtol=1e-6)


def test_remainder_counts_each_example_once_in_the_gradient() -> None:
    """A loss linear in w has gradient mean(x); two batches of 3 examples give mean(x_1, x_2), then x_3."""
    data = Dataset(jnp.array([[1.0], [10.0], [100.0]]), jnp.zeros(3))
    net, tx = fnn.nn.dense(1, use_bias=False), fnn.optim.sgd(1.0)
    step = make_step(supervised(net, lambda outputs, _: outputs[:, 0]), tx)
    state = init_state(KEY, net, tx, data.x)
    after, _ = jax.jit(run(step, data, batch_size=2, epochs=1))(state)
    moved = float(state.params["w"][0, 0] - after.params["w"][0, 0])
    possible = [(111 - last) / 2 + last for last in (1.0, 10.0, 100.0)]
    assert min(abs(moved - p) for p in possible) < 1e-3


def test_step_that_knows_no_weights_gets_a_smaller_last_batch() -> None:
    """A user's own loss function, a plain mean: the remainder is a batch of its own size."""

    net = fnn.nn.mlp([8, 3], "tanh")
    data = examples(26)

    def plain(params: Any, state: Any, batch: Any, key: Any) -> Any:
        x, y = batch
        outputs, state = net.apply(params, state, x, train=True, key=key)
        return fnn.losses.softmax_cross_entropy(outputs, y).mean(), (state, {})

    own, history = jax.jit(run(make_step(plain, TX), data, batch_size=8, epochs=3))(start(net=net))
    ours, expected = jax.jit(run(step_for(net), data, batch_size=8, epochs=3))(start(net=net))
    chex.assert_trees_all_close(own.params, ours.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)


def test_one_trace_with_a_remainder() -> None:
    chex.clear_trace_counter()
    loss: Any = chex.assert_max_traces(fnn.losses.softmax_cross_entropy, n=1)
    step = make_step(supervised(NET, loss), TX)
    train = jax.jit(run(step, examples(26), batch_size=8, epochs=3))
    state, _ = train(start())
    train(state)


def test_run_trains_inside_a_gradient() -> None:
    """Learning to learn: the last loss as a function of the learning rate has a derivative."""
    data, net = examples(16), fnn.nn.mlp([4, 3], "tanh")

    def last_loss(rate: jax.Array) -> jax.Array:
        tx = fnn.optim.momentum(rate)
        step = make_step(supervised(net, fnn.losses.softmax_cross_entropy), tx)
        return run(step, data, batch_size=8, epochs=2)(init_state(KEY, net, tx, data.x))[1]["loss"][-1]

    slope = jax.jit(jax.grad(last_loss))(0.1)
    h = 1e-2
    finite = (jax.jit(last_loss)(0.1 + h) - jax.jit(last_loss)(0.1 - h)) / (2 * h)
    np.testing.assert_allclose(slope, finite, rtol=2e-2)


def data_with(x: float = 0.0, y: float = 0.0) -> Dataset:
    return Dataset(jnp.array([[0.0], [1.0], [x]]), jnp.array([0.0, 1.0, y]))


@pytest.mark.parametrize(
    ("data", "batch_size", "epochs", "error", "match"),
    [
        (data_with(), 0, 1, ValueError, r"batch_size: got 0, expected an integer >= 1"),
        (data_with(), -2, 1, ValueError, r"batch_size: got -2"),
        (data_with(), 2.0, 1, TypeError, r"batch_size: got 2.0, expected an integer"),
        (data_with(), 4, 1, ValueError, r"batch_size: got 4, expected at most the 3 examples.*batch_size=3"),
        (data_with(), 2, 0, ValueError, r"epochs: got 0, expected an integer >= 1"),
        (data_with(), 2, True, TypeError, r"epochs: got True"),
        (data_with(x=np.nan), 2, 1, ValueError, r"data.x: got nan at row 2, index \(2, 0\)"),
        (data_with(y=np.inf), 2, 1, ValueError, r"data.y: got inf at row 2"),
        (Dataset(jnp.zeros((0, 1)), jnp.zeros(0)), 2, 1, ValueError, r"data: got no examples"),
        (Dataset(jnp.zeros((3, 1)), jnp.zeros(2)), 2, 1, ValueError, r"3 examples in x and 2 targets"),
        (([[0.0]], [1.0]), 1, 1, TypeError, r"data.x: got a list of 1, expected an array"),
        (np.zeros((3, 1)), 1, 1, TypeError, r"data: got an array of shape"),
    ],
)
def test_wrong_calls(data: Any, batch_size: Any, epochs: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        run(step_for(), data, batch_size=batch_size, epochs=epochs)


def test_wrong_step_and_state() -> None:
    with pytest.raises(TypeError, match=r"step: got 3, expected a function"):
        run(3, examples(8), batch_size=4, epochs=1)  # pyright: ignore[reportArgumentType]
    train = run(step_for(), examples(8), batch_size=4, epochs=1)
    with pytest.raises(TypeError, match=r"state: got a dict, expected a TrainState"):
        train({})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"state: got 1 steps, in the middle of an epoch of 2"):
        train(start()._replace(step=jnp.array(1)))


@pytest.mark.parametrize("bad", [-1, 3])
def test_labels_out_of_range_are_found_while_tracing(bad: int) -> None:
    data = examples(8)
    data = data._replace(y=data.y.at[5].set(bad))
    train = jax.jit(run(step_for(), data, batch_size=4, epochs=1))
    with pytest.raises(ValueError, match=rf"labels: got {bad} at row 5"):
        train(start())
