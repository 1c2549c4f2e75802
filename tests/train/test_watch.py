"""A watched fit trains as an unwatched one, and is looked at where it says."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset
from fnn.errors import Interrupted, NonFiniteError
from fnn.inspect import Statistics, watched
from fnn.train import Reporter, Watch, init_state, make_step, run, supervised

KEY = jax.random.key(3)
NET = fnn.nn.mlp([6, 3], "tanh", dropout=0.2)
TX = fnn.optim.adam(1e-2)
LOSS = fnn.losses.softmax_cross_entropy
X = jax.random.normal(jax.random.key(1), (26, 4))
DATA = Dataset(X, jnp.argmax(X[:, :3], axis=1))


def fit(watch: Watch | None = None, **changes: Any) -> fnn.train.FitResult:
    settings: dict[str, Any] = {"key": KEY, "epochs": 4, "batch_size": 8, "progress": False, **changes}
    net, tx = settings.pop("net", NET), settings.pop("tx", TX)
    return fnn.fit(net, LOSS, tx, settings.pop("data", DATA), watch=watch, **settings)


def test_it_changes_no_bit_of_the_training() -> None:
    plain, seen = fit(validation=DATA), fit(Watch(looks=7), validation=DATA)
    chex.assert_trees_all_equal(plain.state._replace(key=()), seen.state._replace(key=()))
    chex.assert_trees_all_equal(plain.history, seen.history)


@pytest.mark.parametrize(("looks", "steps"), [(2, [0, 16]), (5, [0, 4, 8, 12, 16]), (100, list(range(17)))])
def test_looks_are_evenly_spaced_and_at_both_ends(looks: int, steps: list[int]) -> None:
    watch = Watch(looks)
    fit(watch)
    assert watch.history["step"].tolist() == steps


def test_however_the_steps_are_cut_into_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = Watch(5), Watch(5)
    fit(whole)
    monkeypatch.setattr("fnn.train.fit._next_chunk", lambda steps, seconds: 1)
    fit(cut)
    chex.assert_trees_all_equal(whole.history, cut.history)


@pytest.mark.parametrize("net", [NET, fnn.nn.sequential(fnn.nn.dense(5), fnn.nn.batch_norm(), fnn.nn.dense(3))])
def test_it_sees_what_a_watched_step_sees(net: Any) -> None:
    """With dropout's own noise, on the last, smaller batch too, and with a state."""
    # A bias before batch normalization has gradient 0 but for rounding, of which Adam would make whole steps.
    watch, tx = Watch(100), fnn.optim.sgd(0.1)
    fit(watch, net=net, tx=tx, epochs=2)
    plain, state = make_step(supervised(net, LOSS), tx), init_state(KEY, net, tx, X)
    step = watched(plain, net, LOSS)
    for i in range(8):
        batch = fnn.train.next_batch(plain, DATA, state, batch_size=8)
        state, metrics = step(state, batch)
        told = {name: value for name, value in metrics.items() if "/" in name}
        assert set(watch.history) == {"step", *told}
        for name, value in told.items():
            np.testing.assert_allclose(watch.history[name][i], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_every_statistic_of_every_layer_is_there_from_input_to_output() -> None:
    watch = Watch(2)
    fit(watch, net=fnn.nn.mlp([4] * 11 + [3], norm=fnn.nn.layer_norm))
    layers = [name.partition("/")[0] for name in watch.history if name.endswith("/dead")]
    assert layers == [*(f"{kind}_{i}" for i in range(11) for kind in ("dense", "layer_norm")), "dense_11"]
    assert {f"dense_10/{field}" for field in Statistics._fields} < set(watch.history)


def test_a_fit_that_stops_early_is_looked_at_where_it_ends() -> None:
    watch = Watch(2)
    result = fit(watch, tx=fnn.optim.sgd(0.0), validation=DATA, patience=2)
    assert watch.history["step"].tolist() == [0, int(result.state.step)] == [0, 12]


def test_what_was_seen_before_it_broke_is_kept() -> None:
    watch = Watch(9)
    with pytest.raises(NonFiniteError) as caught:
        fit(watch, net=fnn.nn.mlp([6, 3], "relu"), tx=fnn.optim.sgd(1e18))
    steps = watch.history["step"].tolist()
    assert steps == sorted(steps)
    assert steps[0] == 0
    # The last look is at the last finite state: what broke is seen.
    assert steps[-1] == int(caught.value.result.state.step)


def test_and_where_it_is_interrupted() -> None:
    class Impatient(Reporter):
        def update(self, step: int, metrics: Any) -> None:
            if step >= 8:
                raise KeyboardInterrupt

    watch = Watch(17)
    with pytest.raises(Interrupted):
        fit(watch, progress=Impatient())
    assert watch.history["step"].tolist() == list(range(8))


def test_a_second_fit_begins_anew() -> None:
    watch = Watch(3)
    fit(watch)
    fit(watch, epochs=1)
    assert watch.history["step"].tolist() == [0, 2, 4]


def test_nothing_is_seen_before() -> None:
    assert Watch().history == {}


def test_all_looks_are_one_program() -> None:
    def traces(looks: int | None) -> int:
        count = 0

        def loss(outputs: Any, targets: Any) -> Any:
            nonlocal count
            count += 1
            return LOSS(outputs, targets)

        watch = None if looks is None else Watch(looks)
        fnn.fit(NET, loss, TX, DATA, key=KEY, epochs=8, batch_size=13, progress=False, watch=watch)
        return count

    assert traces(None) == 1
    assert traces(2) == traces(17)


def test_a_run_tells_the_means_of_what_a_watch_sees() -> None:
    """The mean over an epoch of a watched run is the mean of the looks at its steps."""
    step = watched(make_step(supervised(NET, LOSS), TX), NET, LOSS)
    data = Dataset(X[:24], DATA.y[:24])
    _, history = run(step, data, batch_size=8, epochs=2)(init_state(KEY, NET, TX, X))
    watch = Watch(7)
    fit(watch, data=data, epochs=2)
    means = watch.history["dense_0/delta_norm"][:6].reshape(2, 3).mean(axis=1)
    np.testing.assert_allclose(history["dense_0/delta_norm"], means, rtol=1e-5)


def test_refused() -> None:
    with pytest.raises(ValueError, match="looks: got 1, expected an integer >= 2"):
        Watch(1)
    with pytest.raises(TypeError, match=r"watch: got 10, expected a fnn\.train\.Watch or None"):
        fit(10)  # pyright: ignore[reportArgumentType]
