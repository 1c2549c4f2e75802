"""The same step on eight devices: copied or cut, in a loop, in a run, in a fit, the numbers are those of one."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, PartitionSpec

import fnn
from fnn.data import Dataset
from fnn.parallel import Layout, data_parallel, fsdp, make_mesh, place, sharded, shardings, spread
from fnn.train import TrainState

LAYOUTS = {"data": data_parallel, "fsdp": lambda: fsdp(smallest=1)}
DIGITS = fnn.data.digits()
DATA = Dataset(DIGITS.train.x[:400], DIGITS.train.y[:400])
LOSS = fnn.losses.softmax_cross_entropy
TX = fnn.optim.momentum(0.1)


def network(norm: bool = True) -> fnn.nn.Layer:
    layers = [fnn.nn.dense(64, use_bias=False), fnn.nn.batch_norm(), fnn.nn.activation("relu"), fnn.nn.dropout(0.1)]
    return fnn.nn.sequential(*(layers if norm else [layers[0], *layers[2:]]), fnn.nn.dense(10))


def made(norm: bool = True, **options: Any) -> tuple[Callable[..., Any], TrainState]:
    net = network(norm)
    step = fnn.train.make_step(fnn.train.supervised(net, LOSS), TX, **options)
    return step, fnn.train.init_state(jax.random.key(0), net, TX, DATA.x)


def twenty(step: Callable[..., Any], state: TrainState, put: Callable[[Any], Any] = lambda batch: batch) -> TrainState:
    jitted = jax.jit(step)
    for epoch in range(4):
        for batch in fnn.data.batches(DATA, 80, key=state.key, epoch=epoch):
            state, _ = jitted(state, put(batch))
    return state


def assert_near(a: Any, b: Any, atol: float = 1e-6) -> None:
    chex.assert_trees_all_close(jax.device_get(a), jax.device_get(b), rtol=0, atol=atol)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "clip_norm": 1.0}], ids=["plain", "accumulated, clipped"])
def test_twenty_steps_are_those_of_one_device(options: dict[str, Any]) -> None:
    step, state = made(**options)
    alone = twenty(step, state)
    assert int(alone.step) == 20
    for make in LAYOUTS.values():
        layout = make()
        ended = twenty(sharded(step, layout), place(state, layout), lambda batch, on=layout: spread(batch, on))
        assert_near(ended.params, alone.params)
        assert_near(ended.model_state, alone.model_state)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_state_stays_where_it_was_put(kind: str) -> None:
    step, state = made()
    layout = LAYOUTS[kind]()
    state = place(state, layout)
    ended = twenty(sharded(step, layout), state)  # batches that lie on one device are cut by the step itself
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(ended), strict=True):
        assert after.sharding.is_equivalent_to(before.sharding, before.ndim)
    part = ended.params["dense_0"]["w"].addressable_shards[0].data
    assert part.shape == ((64, 64) if kind == "data" else (8, 64))


def test_a_step_that_makes_a_new_state_leaves_it_where_the_old_one_was() -> None:
    layout = fsdp(smallest=1)

    def step(state: Any, batch: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.full(leaf.shape, batch.sum()), state), {}

    ended, _ = jax.jit(sharded(step, layout))(place({"w": jnp.zeros((16, 4))}, layout), jnp.ones((16, 3)))
    assert ended["w"].addressable_shards[0].data.shape == (2, 4)


def test_batches_are_cut() -> None:
    """What a device computes is a part of the batch: a step that shows its input shows how that lies."""
    layout = data_parallel()
    seen: list[Any] = []

    def step(state: Any, batch: Any) -> Any:
        jax.debug.inspect_array_sharding(batch, callback=seen.append)
        return state, {"sum": batch.sum()}

    jax.jit(sharded(step, layout))({"w": jnp.zeros(())}, jnp.ones((16, 3)))
    assert seen[0].is_equivalent_to(layout.batch, 2)
    seen.clear()
    _, metrics = jax.jit(sharded(step, layout))({"w": jnp.zeros(())}, jnp.ones((13, 3)))
    assert float(metrics["sum"]) == 39.0
    assert seen[0].is_fully_replicated or len(seen[0].device_set) == 1


@pytest.mark.parametrize("kind", LAYOUTS)
def test_in_a_run(kind: str) -> None:
    step, state = made(norm=False)
    layout = LAYOUTS[kind]()
    alone, told = jax.jit(fnn.train.run(step, DATA, batch_size=64, epochs=2))(state)  # the last batch has 16 of 64
    run = fnn.train.run(sharded(step, layout), DATA, batch_size=64, epochs=2)
    ended, history = jax.jit(run)(place(state, layout))
    assert_near(ended.params, alone.params)
    assert_near(history, told, atol=1e-5)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_in_a_fit(kind: str, tmp_path: Any) -> None:
    layout = LAYOUTS[kind]()

    def fit(epochs: int, **options: Any) -> fnn.train.FitResult:
        key, validation = jax.random.key(1), DIGITS.test
        given = {"key": key, "epochs": epochs, "batch_size": 64, "validation": validation, "progress": False}
        return fnn.fit(network(), LOSS, TX, DATA, **given, **options)

    alone, there = fit(2), fit(2, layout=layout)
    assert_near(there.state.params, alone.state.params)
    assert_near(there.best.params, alone.best.params)
    assert_near(there.history, alone.history, atol=1e-5)
    assert len(there.state.params["dense_0"]["w"].devices()) == 8
    saved = fit(2, layout=layout, checkpoint=tmp_path)
    again = fit(2, layout=layout, checkpoint=tmp_path)
    chex.assert_trees_all_equal(jax.device_get(again.state.params), jax.device_get(saved.state.params))
    with pytest.warns(RuntimeWarning, match="devices 8, here 1"):
        on_one = fit(2, checkpoint=tmp_path)  # the same folder, on one device
    assert len(on_one.state.params["dense_0"]["w"].devices()) == 1
    chex.assert_trees_all_equal(jax.device_get(on_one.state.params), jax.device_get(saved.state.params))


def test_fsdp_cuts_the_largest_axis_that_divides() -> None:
    tree = {
        "wide": jnp.zeros((3, 64)),
        "tall": jnp.zeros((64, 8)),
        "odd": jnp.zeros((7, 9)),
        "small": jnp.zeros(8),
        "none": jnp.zeros((0, 16)),
        "number": jnp.zeros(()),
        "key": jax.random.key(0),
    }
    cut = {name: one.spec for name, one in shardings(tree, fsdp(smallest=16)).items()}
    whole = PartitionSpec()
    assert cut["wide"] == PartitionSpec(None, "data")
    assert cut["tall"] == PartitionSpec("data")
    assert [cut[name] for name in ("odd", "small", "none", "number", "key")] == [whole] * 5


def test_a_layout_of_ones_own_is_asked_by_path() -> None:
    def spec(path: str, leaf: jax.ShapeDtypeStruct) -> PartitionSpec:
        return PartitionSpec(None, "data") if path == "params/dense_0/w" and leaf.ndim == 2 else PartitionSpec()

    step, state = made(norm=False)
    layout = Layout(make_mesh(), spec)
    ended = twenty(sharded(step, layout), place(state, layout))
    assert ended.params["dense_0"]["w"].addressable_shards[0].data.shape == (64, 8)
    assert_near(ended.params, twenty(step, state).params)


def test_some_devices() -> None:
    layout = data_parallel(make_mesh(jax.devices()[2:4]))
    assert layout.size == 2
    assert place(jnp.ones(3), layout).devices() == set(jax.devices()[2:4])


def test_from_one_layout_to_another() -> None:
    """What lies on some devices goes to others, keys too: a state after a fit on eight, for instance."""
    tree = {"w": jnp.arange(16.0), "key": jax.random.key(3), "number": jnp.ones(()), "half": jnp.ones(8, jnp.bfloat16)}
    devices = jax.devices()
    for some in (devices, devices[:2], devices[::-1], devices[7:]):
        layout = fsdp(make_mesh(some), smallest=1)
        tree = place(tree, layout)
        assert tree["key"].devices() == set(some)
        np.testing.assert_array_equal(spread(tree["w"], data_parallel(make_mesh(devices[4:]))), np.arange(16.0))
    np.testing.assert_array_equal(tree["w"], np.arange(16.0))
    assert jax.random.key_data(tree["key"]).tolist() == jax.random.key_data(jax.random.key(3)).tolist()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "got None, expected a PartitionSpec. PartitionSpec\\(\\) is a copy on each device"),
        ("data", "got a str, expected a PartitionSpec"),
        (PartitionSpec(None, "data"), "got .* for the shape \\(3,\\), expected no more axes than the leaf has"),
        (PartitionSpec("model"), "got .* for the shape .*model.*, expected axes of the mesh that divide the leaf's"),
        (PartitionSpec("data"), "got .* for the shape .*, expected axes of the mesh that divide the leaf's"),
    ],
)
def test_a_layout_that_gives_nonsense_is_told_for_which_leaf(spec: Any, words: str) -> None:
    layout = Layout(make_mesh(), lambda path, leaf: spec)
    with pytest.raises((TypeError, ValueError), match=f"layout.spec of 'params/b': {words}"):
        place({"params": {"b": jnp.ones(3)}}, layout)
    with pytest.raises((TypeError, ValueError), match=f"layout.spec of 'params/b': {words}"):
        jax.jit(sharded(lambda state, batch: (state, {}), layout))({"params": {"b": jnp.ones(3)}}, jnp.ones(8))


def test_what_is_no_layout() -> None:
    mesh = Mesh(np.array(jax.devices()), ("x",), axis_types=(AxisType.Auto,))
    wrong: list[tuple[Any, str]] = [
        (make_mesh(), "layout: got a Mesh, expected a Layout. Such as fnn.parallel.fsdp"),
        (3, "layout: got a int, expected a Layout"),
        (
            Layout(mesh, lambda path, leaf: PartitionSpec()),
            r"mesh: got axes \('x',\), expected a Mesh with an axis 'data'",
        ),
        (Layout(make_mesh(), None), "layout.spec: got None, expected a function"),  # type: ignore[arg-type]
    ]
    for layout, words in wrong:
        for call in (
            lambda on: place(jnp.ones(8), on),
            lambda on: spread(jnp.ones(8), on),
            lambda on: sharded(made()[0], on),
            lambda on: fnn.parallel.stream(DATA, 80, layout=on, key=jax.random.key(0)),
            lambda on: fnn.fit(network(), LOSS, TX, DATA, key=jax.random.key(0), epochs=1, batch_size=80, layout=on),
        ):
            with pytest.raises((TypeError, ValueError), match=words):
                call(layout)


def test_a_population_is_cut_along_its_axis() -> None:
    keys = jax.random.split(jax.random.key(0), 16)
    step, _ = made(norm=False)

    def train(key: Any) -> Any:
        state = fnn.train.init_state(key, network(norm=False), TX, DATA.x)
        return fnn.train.run(step, DATA, batch_size=100, epochs=1)(state)[0].params

    population = jax.jit(jax.vmap(train))
    apart = population(spread(keys, data_parallel()))
    assert apart["dense_0"]["w"].addressable_shards[0].data.shape == (2, 64, 64)
    assert_near(apart, population(keys))


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="devices: got none, expected at least one"):
        make_mesh([])
    with pytest.raises(ValueError, match="devices: got one of them twice, expected each once"):
        make_mesh(jax.devices()[:1] * 2)
    with pytest.raises(TypeError, match="devices: got a list, expected devices"):
        make_mesh([jax.devices()])
    with pytest.raises(ValueError, match="batch: got a scalar, expected an array whose first axis can be cut"):
        spread(jnp.ones(()), data_parallel())
    with pytest.raises(ValueError, match="smallest: got 0"):
        fsdp(smallest=0)
    with pytest.raises(
        ValueError, match=r"mesh: got an explicit axis, expected axes of the kind AxisType.Auto. fnn.parallel.make_mesh"
    ):
        data_parallel(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,)))
    with pytest.raises(ValueError, match=r"mesh: got axes \('x',\), expected a Mesh with an axis 'data'"):
        fsdp(Mesh(np.array(jax.devices()), ("x",)))
    with pytest.raises(ValueError, match="batch leaf 'x': got 12 examples, expected a multiple of 8 devices"):
        spread(Dataset(jnp.ones(12), jnp.ones(12)), data_parallel())
    with pytest.raises(TypeError, match=r"step: .*expected a function"):
        sharded(3, data_parallel())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"layout: .*expected a Layout"):
        sharded(made()[0], make_mesh())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size: got 12 examples, expected a multiple of 8 devices"):
        fnn.fit(network(), LOSS, TX, DATA, key=jax.random.key(0), epochs=1, batch_size=12, layout=data_parallel())
