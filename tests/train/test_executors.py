"""A scan, chunks and a host loop take the same steps; bit for bit here, held to 1e-6 since programs may round apart."""

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
BFLOAT16 = jnp.finfo(jnp.bfloat16)
TX = fnn.optim.adam(1e-2)


def examples(n: int) -> Dataset:
    x = jax.random.normal(jax.random.key(1), (n, 5))
    return Dataset(x, jnp.argmax(x[:, :3], axis=1))


def pairs(data: Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    """Examples one by one, which stream."""
    pytest.importorskip("grain", reason="streaming needs Grain")
    return list(zip(np.asarray(data.x), np.asarray(data.y), strict=True))


def mixed(key: jax.Array, batch: Any) -> Any:
    """Noise, and a share of another example, which may be one that only fills the batch up."""
    return batch._replace(x=batch.x + 0.1 * jax.random.normal(key, batch.x.shape) + 0.1 * batch.x[::-1])


def arrays(state: TrainState) -> Any:
    return state._replace(key=jax.random.key_data(state.key))


# The last batch is filled up, and smaller. Before batch norm no bias: its gradient is rounding alone, which Adam
# makes as large as any other's.
NETWORKS = {
    "dropout": (fnn.nn.mlp([8, 3], "tanh", dropout=0.3), 26, 1),
    "batch_norm": (
        fnn.nn.sequential(fnn.nn.dense(8, use_bias=False), fnn.nn.batch_norm(), fnn.nn.dropout(0.2), fnn.nn.dense(3)),
        28,
        2,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_executors_end_alike(name: str) -> None:
    net, n, accumulate = NETWORKS[name]
    data, metrics = examples(n), {"accuracy": fnn.metrics.accuracy}
    loss_fn = supervised(net, fnn.losses.softmax_cross_entropy, metrics=metrics, augment=mixed)
    step = make_step(loss_fn, TX, accumulate=accumulate, clip_norm=1.0)
    start = init_state(KEY, net, TX, data.x)
    state, history = jax.jit(run(step, data, batch_size=8, epochs=3))(start)
    for executor, chunk, streamed in (("chunks", 3, False), ("host", None, False), ("host", None, True)):
        given = pairs(data) if streamed else data
        train = run(step, given, batch_size=8, epochs=3, executor=executor, chunk=chunk)
        same, told = train(start)
        chex.assert_trees_all_close(arrays(same), arrays(state), rtol=1e-6, atol=1e-6)
        assert set(told) == set(history) == {"loss", "accuracy", "grad_norm"}
        chex.assert_trees_all_equal_shapes_and_dtypes(told, history)
        chex.assert_trees_all_close(told, history, rtol=1e-6)


def averaging(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
    """A step whose end depends on every batch, and on their order."""
    mean = jnp.mean(batch.x)
    params = {"w": 0.9 * state.params["w"] + mean}
    # Within one program XLA may leave out a cast to bfloat16 and back, as it does on a GPU; this it may not.
    rounded = jax.lax.reduce_precision(mean, BFLOAT16.nexp, BFLOAT16.nmant)
    metrics = {"mean": rounded.astype(jnp.bfloat16), "both": jnp.stack([mean, params["w"]]), "step": state.step}
    return state._replace(step=state.step + 1, params=params), metrics


def start() -> TrainState:
    return TrainState(jnp.array(0, jnp.int32), {"w": jnp.array(0.5, jnp.float32)}, {}, (), KEY)


HOSTS: list[dict[str, Any]] = [
    *({"executor": "chunks", "chunk": chunk} for chunk in (1, 3, 5, 100, None)),
    {"executor": "host"},
]


@pytest.mark.parametrize("how", HOSTS, ids=str)
@pytest.mark.parametrize("n", [8, 10])
def test_any_step_and_any_metrics(n: int, how: dict[str, Any]) -> None:
    """Metrics of any shape, of low precision and of whole numbers; steps that heed no weights."""
    data = examples(n)
    state, history = run(averaging, data, batch_size=4, epochs=3)(start())
    same, told = run(averaging, data, batch_size=4, epochs=3, **how)(start())
    chex.assert_trees_all_close(same.params, state.params, rtol=1e-6)
    chex.assert_trees_all_equal_shapes_and_dtypes(told, history)
    chex.assert_trees_all_close(told, history, rtol=1e-6)


def test_metrics_of_more_steps_than_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    data = examples(10)
    expected = run(averaging, data, batch_size=1, epochs=2)(start())[1]
    monkeypatch.setattr("fnn.train.executors._WAITING", 3)
    chex.assert_trees_all_close(
        run(averaging, data, batch_size=1, epochs=2, executor="host")(start())[1], expected, rtol=1e-6
    )


@pytest.mark.parametrize("how", [*HOSTS, {"executor": "host", "stream": True}], ids=str)
@pytest.mark.parametrize("steps", [1, 4, 5])
def test_a_run_goes_on_in_the_middle_of_an_epoch(steps: int, how: dict[str, Any]) -> None:
    """And the first entry of the history is the mean over the examples that were left."""
    data, how = examples(10), dict(how)
    given: Any = pairs(data) if how.pop("stream", False) else data
    whole, history = run(averaging, given, batch_size=4, epochs=4, **how)(start())
    state, seen = start(), []
    for step in range(12):
        batches = list(fnn.data.batches(data, 4, key=KEY, epoch=step // 3))
        if step < steps:
            state, _ = averaging(state, batches[step % 3])
        elif step // 3 == steps // 3:
            seen.append(batches[step % 3].x)
    resumed, rest = run(averaging, given, batch_size=4, epochs=4 - steps // 3, **how)(state)
    np.testing.assert_allclose(resumed.params["w"], whole.params["w"], rtol=1e-6)
    assert int(resumed.step) == 12
    sizes = np.array([len(x) for x in seen])
    mean = sum(float(jnp.mean(x).astype(jnp.bfloat16)) * len(x) for x in seen) / sizes.sum()
    np.testing.assert_allclose(rest["mean"][0], mean, rtol=1e-3)
    np.testing.assert_allclose(rest["both"][1:], history["both"][steps // 3 + 1 :], rtol=1e-6)


@pytest.mark.parametrize("how", [{"executor": "chunks", "chunk": 3}, {"executor": "host"}], ids=str)
def test_two_halves_equal_the_whole_bit_for_bit(how: dict[str, Any]) -> None:
    data = examples(10)
    half = run(averaging, data, batch_size=4, epochs=2, **how)
    first, early = half(start())
    second, late = half(first)
    state, history = run(averaging, data, batch_size=4, epochs=4, **how)(start())
    chex.assert_trees_all_equal(arrays(second), arrays(state))
    chex.assert_trees_all_equal(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), early, late), history)


@pytest.mark.parametrize(
    ("executor", "streamed"), [("chunks", False), ("host", False), ("host", True)], ids=["chunks", "host", "streamed"]
)
@pytest.mark.parametrize(
    ("n", "weighted", "traces"), [(8, False, 1), (10, True, 1), (10, False, 2)], ids=["full", "filled", "smaller"]
)
def test_one_trace_for_each_shape_of_batch(n: int, weighted: bool, traces: int, executor: str, streamed: bool) -> None:
    chex.clear_trace_counter()
    step: Any = chex.assert_max_traces(averaging, n=traces)
    if weighted:
        step = fnn.train.takes_weights(step)
    data: Any = pairs(examples(n)) if streamed else examples(n)
    train = run(step, data, batch_size=4, epochs=3, executor=executor)
    state, _ = train(start())
    train(state)


@pytest.mark.parametrize("how", [{"executor": "chunks"}, {"executor": "host"}], ids=str)
def test_the_callers_state_and_data_survive(how: dict[str, Any]) -> None:
    data, state = examples(8), start()
    train = run(averaging, data, batch_size=4, epochs=2, **how)
    first, second = train(state), train(state)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((state, data)))
    chex.assert_trees_all_equal(arrays(first[0]), arrays(second[0]))


def test_a_file_trains_as_memory_does(tmp_path: Any) -> None:
    pytest.importorskip("grain", reason="streaming needs Grain")
    data = examples(10)
    files = []
    for name, array in data._asdict().items():
        file = np.memmap(tmp_path / name, array.dtype, "w+", shape=array.shape)
        file[:] = array
        files.append(file)
    state, _ = run(averaging, data, batch_size=4, epochs=3, executor="host")(start())
    same, _ = run(averaging, Dataset(*files), batch_size=4, epochs=3, executor="host")(start())
    chex.assert_trees_all_equal(arrays(same), arrays(state))


@pytest.mark.parametrize("bad", [-1, 3])
@pytest.mark.parametrize("executor", ["chunks", "host"])
def test_labels_out_of_range_are_found_before_training(bad: int, executor: str) -> None:
    data, net = examples(8), fnn.nn.mlp([3])
    data = data._replace(y=data.y.at[5].set(bad))
    step = make_step(supervised(net, fnn.losses.softmax_cross_entropy), TX)
    with pytest.raises(ValueError, match=rf"labels: got {bad} at row 5"):
        run(step, data, batch_size=4, epochs=1, executor=executor)(init_state(KEY, net, TX, data.x))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"executor": "chunk"}, ValueError, r"executor: got 'chunk', expected one of chunks, host, scan. Did you mean"),
        ({"executor": None}, TypeError, r"executor: got None, expected one of chunks, host, scan"),
        ({"chunk": 3}, ValueError, r"chunk: got 3, expected None with executor='scan'. Give executor=\"chunks\""),
        ({"chunk": 3, "executor": "host"}, ValueError, r"chunk: got 3, expected None with executor='host'"),
        ({"chunk": 0, "executor": "chunks"}, ValueError, r"chunk: got 0, expected an integer >= 1"),
        ({"chunk": 2.0, "executor": "chunks"}, TypeError, r"chunk: got 2.0, expected an integer >= 1"),
        ({"data": [(0.0, 1)]}, TypeError, r"data: got a list, expected a Dataset of examples in memory.*\"host\""),
        ({"data": [(0.0, 1)], "executor": "chunks"}, TypeError, r"data: got a list, .* give executor=\"host\""),
        ({"data": [], "executor": "host"}, ValueError, r"data: got no examples"),
        ({"data": [(0.0, 1)] * 3, "executor": "host"}, ValueError, r"batch_size: got 4, expected at most the 3"),
        ({"data": np.ones((9, 2)), "executor": "host"}, TypeError, r"data: got an array of shape"),
    ],
)
def test_wrong_calls(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    settings: dict[str, Any] = {"data": examples(8), "batch_size": 4, "epochs": 1, **changes}
    with pytest.raises(error, match=match):
        run(averaging, settings.pop("data"), **settings)


@pytest.mark.parametrize("executor", ["chunks", "host"])
def test_a_trace_around_it_is_refused(executor: str) -> None:
    match = (
        rf"executor: got '{executor}' inside jit, vmap or grad, expected a call from the host. Give executor=\"scan\""
    )
    train = run(averaging, examples(8), batch_size=4, epochs=1, executor=executor)
    many = jax.tree.map(lambda a: jnp.stack([a, a]), start())
    with pytest.raises(TypeError, match=match):
        jax.jit(train)(start())
    with pytest.raises(TypeError, match=match):
        jax.vmap(train)(many)
    with pytest.raises(TypeError, match=match):
        jax.jit(lambda data: run(averaging, data, batch_size=4, epochs=1, executor=executor))(examples(8))
    with pytest.raises(ValueError, match=r"state: got states of shape \(2,\), expected one state. For many at once"):
        train(many)
    with pytest.raises(TypeError, match=r"state: got a dict, expected a TrainState"):
        train({})  # pyright: ignore[reportArgumentType]
