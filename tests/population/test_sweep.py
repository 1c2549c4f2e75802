"""A cell of a sweep is what its run gives alone, in every mode, for every optimizer; and what a sweep refuses."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.population import grid
from tests.population.runs import KEYS, RATES, X, adam_run, run_of, solo

# Rounding of batched products, 6e-8 of a number each, grows through the six steps of these runs.
CLOSE = {"rtol": 2e-5, "atol": 2e-6}
MODES = [("vmap", None), ("vmap", 2), ("map", None), ("map", 4), ("auto", None), ("auto", 2)]
OPTIMIZERS = {
    "sgd": fnn.optim.sgd,
    "momentum": lambda rate: fnn.optim.momentum(rate, nesterov=True),
    "rmsprop": lambda rate: fnn.optim.rmsprop(rate, centered=True, momentum=0.5),
    "adagrad": fnn.optim.adagrad,
    "adam": lambda rate: fnn.optim.adam(rate, weight_decay=0.01),
    "chain": lambda rate: optax.chain(optax.clip_by_global_norm(1.0), fnn.optim.sgd(rate)),
}


def _check_cells(results: fnn.population.Results, alone: Any) -> None:
    assert bool(results.done.all())
    chex.assert_trees_all_close(results.values, alone, **CLOSE)


@pytest.fixture(scope="module")
def alone() -> Any:
    return solo(adam_run, RATES)


@pytest.mark.parametrize(("mode", "chunk"), MODES, ids=str)
def test_every_mode_gives_each_cell_its_solo_run(mode: Any, chunk: int | None, alone: Any) -> None:
    _check_cells(fnn.sweep(adam_run, RATES, KEYS, mode=mode, chunk=chunk), alone)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_cells_with_dropout_and_batch_norm_equal_solo_runs(name: str) -> None:
    def net(hparams: Any) -> fnn.nn.Layer:
        return fnn.nn.mlp([8, 2], norm=fnn.nn.batch_norm, dropout=hparams["dropout"])

    whole = run_of(net, lambda h: OPTIMIZERS[name](h["learning_rate"]))

    def train(hparams: Any, key: Any) -> Any:
        results = whole(hparams, key)
        # Batch norm takes the bias before it away: its gradient is rounding alone, which Adam makes steps of.
        del results["params"]["dense_0"]["b"]
        return results

    hparams = grid(learning_rate=[0.003, 0.03], dropout=[0.1, 0.4])
    _check_cells(fnn.sweep(train, hparams, KEYS, mode="vmap"), solo(train, hparams))


def test_on_one_cpu_device_calls_run_in_threads(monkeypatch: pytest.MonkeyPatch, alone: Any) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    for mode, chunk in [("map", 1), ("vmap", 1), ("auto", None)]:
        _check_cells(fnn.sweep(adam_run, RATES, KEYS, mode=mode, chunk=chunk), alone)


def test_cells_differ_from_each_other() -> None:
    losses = np.asarray(fnn.sweep(adam_run, RATES, KEYS, mode="vmap")["loss"][..., -1])
    assert len(np.unique(losses)) == losses.size


def test_train_is_traced_once_whatever_is_tried() -> None:
    traces = []

    def train(hparams: Any, key: Any) -> Any:
        traces.append(1)
        return adam_run(hparams, key)

    many = {"learning_rate": jnp.linspace(0.001, 0.1, 40)}
    fnn.sweep(train, many, KEYS, mode="auto")
    # Once before anything compiles, and once more inside the map over devices, where there are several.
    assert len(traces) == (2 if jax.local_device_count() > 1 else 1)


def test_hparams_may_be_any_tree_and_results_too() -> None:
    hparams = (jnp.arange(3.0), {"pair": jnp.arange(6).reshape(3, 2)})

    def train(hparams: Any, key: Any) -> Any:
        rate, other = hparams
        return key, (rate * other["pair"], jax.random.normal(key))

    results = fnn.sweep(train, hparams, KEYS)
    keys, (product, normal) = results.values
    assert keys.shape == (3, 2)
    assert bool((jax.random.key_data(keys) == jax.random.key_data(KEYS)).all())
    np.testing.assert_array_equal(product[2, 1], [8.0, 10.0])
    np.testing.assert_allclose(normal[0], jax.vmap(jax.random.normal)(KEYS), rtol=1e-6)


def test_a_single_cell(alone: Any) -> None:
    results = fnn.sweep(adam_run, {"learning_rate": RATES["learning_rate"][1:2]}, KEYS[:1])
    cell, same = jax.tree.map(lambda a: a[0, 0], results.values), jax.tree.map(lambda a: a[1, 0], alone)
    chex.assert_trees_all_close(cell, same, **CLOSE)


def test_widths_by_masking() -> None:
    train = run_of(lambda h: fnn.nn.mlp([16, 2], active=[h["width"]]), lambda _: fnn.optim.adam(0.01))
    hparams = {"width": jnp.array([2, 8, 16])}
    _check_cells(fnn.sweep(train, hparams, KEYS), solo(train, hparams))


class _Told(fnn.train.Reporter):
    def __init__(self, stop_at: int = -1) -> None:
        self.calls: list[Any] = []
        self._stop_at = stop_at

    def start(self, epochs: int, steps: int) -> None:
        self.calls.append(("start", epochs, steps))

    def update(self, step: int, metrics: Any) -> None:
        self.calls.append(step)
        if step == self._stop_at:
            raise KeyboardInterrupt

    def finish(self, outcome: str) -> None:
        self.calls.append(outcome)


def test_a_reporter_is_told() -> None:
    reporter = _Told()
    many = {"learning_rate": jnp.linspace(0.001, 0.1, 20)}
    fnn.sweep(adam_run, many, KEYS, mode="vmap", chunk=16, progress=reporter)
    assert reporter.calls == [("start", 40, 1), 16, 32, 40, "done"]
    assert reporter.compile_seconds > 0
    assert reporter.train_seconds > 0


def test_what_was_trained_survives_ctrl_c() -> None:
    many = {"learning_rate": jnp.linspace(0.001, 0.1, 20)}
    with pytest.raises(fnn.errors.Interrupted) as caught:
        fnn.sweep(adam_run, many, KEYS, mode="vmap", chunk=16, progress=_Told(stop_at=32))
    results = caught.value.result
    assert int(results.done.sum()) == 32
    whole = fnn.sweep(adam_run, many, KEYS, mode="vmap", chunk=16)
    np.testing.assert_array_equal(results["loss"][:16], whole["loss"][:16])
    assert results.best().index == int(np.argmin(np.asarray(whole["loss"])[:16, :, -1].mean(1)))


def test_ctrl_c_before_the_first_cell() -> None:
    class AtOnce(_Told):
        def update(self, step: int, metrics: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(fnn.errors.Interrupted):
        fnn.sweep(adam_run, RATES, KEYS, progress=AtOnce())


def _of_width(hparams: Any, key: Any) -> Any:
    net = fnn.nn.mlp([hparams["width"], 2])
    return net.init(key, X)[0]


def _branching(hparams: Any, key: Any) -> Any:
    return adam_run(hparams, key) if hparams["learning_rate"] > 0 else {}


def _dropping(hparams: Any, key: Any) -> Any:
    return run_of(lambda h: fnn.nn.mlp([8, 2], dropout=h["rate"]), lambda _: fnn.optim.sgd(0.1))(hparams, key)


def _broken(hparams: Any, key: Any) -> Any:
    raise TypeError("the user's own mistake")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((3, RATES, KEYS), {}, TypeError, "^train: got 3, expected a function"),
        ((adam_run, {}, KEYS), {}, ValueError, r"^hparams: got no arrays, expected at least one\. Such as"),
        ((adam_run, {"learning_rate": 0.1}, KEYS), {}, ValueError, "^hparams leaf 'learning_rate': got the single"),
        ((adam_run, {"f": ["a"]}, KEYS), {}, TypeError, "^hparams leaf 'f/0': got 'a', expected an array of numbers"),
        (
            (adam_run, {"a": jnp.zeros(2), "b": jnp.zeros(3)}, KEYS),
            {},
            ValueError,
            r"^hparams: got leading axes of different length: a 2, b 3, expected one length\. .*grid",
        ),
        ((adam_run, {"a": jnp.zeros(0)}, KEYS), {}, ValueError, "^hparams: got no combinations, expected at least one"),
        ((adam_run, RATES, jax.random.key(0)), {}, ValueError, r"^keys: got a single key, .* For a single one: keys\["),
        ((adam_run, RATES, jax.random.PRNGKey(0)), {}, TypeError, r"^keys: got legacy uint32 keys, .* Make them:"),
        ((adam_run, RATES, [0, 1]), {}, TypeError, "^keys: got a list, expected an array of typed keys"),
        ((adam_run, RATES, KEYS[:0]), {}, ValueError, r"^keys: got keys of shape \(0,\), expected an array"),
        ((adam_run, RATES, KEYS.reshape(1, 2)), {}, ValueError, r"^keys: got keys of shape \(1, 2\), expected"),
        ((adam_run, RATES, KEYS), {"mode": "pmap"}, ValueError, "^mode: got 'pmap', expected one of auto, map, vmap"),
        ((adam_run, RATES, KEYS), {"chunk": 0}, ValueError, "^chunk: got 0, expected an integer >= 1"),
        ((adam_run, RATES, KEYS), {"chunk": 2.0}, TypeError, "^chunk: got 2.0, expected an integer >= 1"),
        ((adam_run, RATES, KEYS), {"progress": "yes"}, TypeError, "^progress: got yes, expected True, False"),
        ((_of_width, {"width": jnp.array([4, 8])}, KEYS), {}, TypeError, "^hparams leaf 'width': .*structure.*mask"),
        ((_branching, RATES, KEYS), {}, TypeError, "^hparams leaf 'learning_rate': .*decide no structure"),
        (
            (_dropping, {"rate": jnp.array([0.1, 1.5])}, KEYS),
            {},
            ValueError,
            r"^\w+: got 1.5 among 2 values",
        ),
        ((adam_run, {"learning_rate": jnp.array([0.1, -1])}, KEYS), {}, ValueError, "^learning_rate: got -1 among 2"),
        ((_broken, RATES, KEYS), {}, TypeError, "^the user's own mistake"),
        ((lambda hparams, key: {}, RATES, KEYS), {}, TypeError, "^result of train: got no arrays, expected a pytree"),
        ((lambda hparams, key: "done", RATES, KEYS), {}, TypeError, "^result of train: got a str, expected a pytree"),
    ],
)
def test_refusals(arguments: Any, options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        fnn.sweep(*arguments, **options)


def test_under_a_trace_it_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"^sweep: got a trace around it.*jax\.vmap"):
        jax.jit(lambda rate: fnn.sweep(adam_run, {"learning_rate": rate}, KEYS).values)(RATES["learning_rate"])
