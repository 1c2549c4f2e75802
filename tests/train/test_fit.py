"""Fit is a run with a host beside it: same parameters, one trace, best state, early stopping, refusals."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.data import Dataset
from fnn.errors import Interrupted, NonFiniteError
from fnn.train import Reporter, init_state, make_eval, make_step, run, supervised
from fnn.train.fit import _next_chunk

KEY = jax.random.key(5)
NET = fnn.nn.mlp([8, 3], "tanh", dropout=0.2)
TX = fnn.optim.adam(1e-2)
LOSS = fnn.losses.softmax_cross_entropy
METRICS = {"accuracy": fnn.metrics.accuracy}


def examples(n: int, seed: int = 1) -> Dataset:
    x = jax.random.normal(jax.random.key(seed), (n, 5))
    return Dataset(x, jnp.argmax(x[:, :3], axis=1))


def fit(data: Dataset | None = None, **changes: Any) -> fnn.train.FitResult:
    settings: dict[str, Any] = {"key": KEY, "epochs": 4, "batch_size": 8, "progress": False, **changes}
    return fnn.fit(
        settings.pop("net", NET), settings.pop("loss", LOSS), settings.pop("tx", TX),
        examples(26) if data is None else data, **settings,
    )  # fmt: skip


def test_fit_equals_run() -> None:
    result = fit(metrics=METRICS, l2=1e-3)
    step = make_step(supervised(NET, LOSS, metrics=METRICS, l2=1e-3), TX)
    state, history = jax.jit(run(step, examples(26), batch_size=8, epochs=4))(
        init_state(KEY, NET, TX, jnp.ones((1, 5)))
    )
    chex.assert_trees_all_close(result.state.params, state.params, rtol=1e-6, atol=1e-7)
    assert set(result.history) == {"loss", "accuracy", "grad_norm"}
    for name, values in history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-5)


def test_how_the_steps_are_cut_into_calls_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(validation=examples(10, 2))
    monkeypatch.setattr("fnn.train.fit._next_chunk", lambda steps, seconds: 1)
    cut = fit(validation=examples(10, 2))
    chex.assert_trees_all_equal(whole.state._replace(key=()), cut.state._replace(key=()))
    chex.assert_trees_all_equal(whole.history, cut.history)


@pytest.mark.parametrize(
    ("steps", "seconds", "then"),
    [(10, 0.1, 20), (10, 0.001, 40), (1, 0.3, 4), (4, 1.2, 8), (8, 24.0, 1), (1, 9.0, 1), (100, 0.2, 100)],
)
def test_how_many_steps_the_next_call_takes(steps: int, seconds: float, then: int) -> None:
    """As many as take 0.2 s; eight of the longer ones, if they take no more than 4 s."""
    assert _next_chunk(steps, seconds) == then


def test_one_trace_for_a_whole_fit_with_a_remainder() -> None:
    chex.clear_trace_counter()
    fit(loss=chex.assert_max_traces(LOSS, n=1))
    chex.clear_trace_counter()
    # With a validation set the loss stands in the program twice: in training, and in evaluation.
    fit(loss=chex.assert_max_traces(LOSS, n=2), validation=examples(10, 2), patience=3)


def test_validation_is_measured_after_each_epoch() -> None:
    held_out = examples(10, 2)
    result = fit(validation=held_out, metrics=METRICS, epochs=3)
    evaluate = jax.jit(make_eval(NET, {"loss": LOSS, **METRICS}))
    for epochs in (1, 2, 3):
        measured = evaluate(fit(epochs=epochs).state, held_out)
        for name, value in measured.items():
            np.testing.assert_allclose(result.history[f"val_{name}"][epochs - 1], value, rtol=1e-5)


def test_best_is_the_state_of_least_validation_loss() -> None:
    held_out = examples(10, 2)
    result = fit(validation=held_out, epochs=40, tx=fnn.optim.adam(0.1))
    best = int(np.argmin(result.history["val_loss"]))
    assert best < 39
    assert int(result.best.step) == (best + 1) * 4
    measured = make_eval(NET, {"loss": LOSS})(result.best, held_out)["loss"]
    np.testing.assert_allclose(measured, result.history["val_loss"][best], rtol=1e-5)


def test_patience_stops_early_with_the_best_state() -> None:
    full = fit(validation=examples(10, 2), epochs=60, tx=fnn.optim.adam(0.1))
    result = fit(validation=examples(10, 2), epochs=60, tx=fnn.optim.adam(0.1), patience=5)
    losses = np.asarray(result.history["val_loss"])
    assert len(losses) < 60
    assert len(losses) == int(np.argmin(losses)) + 1 + 5
    np.testing.assert_array_equal(losses, full.history["val_loss"][: len(losses)])
    assert int(result.best.step) == (int(np.argmin(losses)) + 1) * 4


def test_without_validation_best_is_last() -> None:
    result = fit()
    assert result.best is result.state
    assert result.history["loss"].shape == (4,)


def test_accumulation_and_clipping_are_those_of_the_step() -> None:
    plain = fit(net=fnn.nn.mlp([8, 3]))
    cut = fit(net=fnn.nn.mlp([8, 3]), accumulate=3)
    chex.assert_trees_all_close(plain.state.params, cut.state.params, rtol=1e-4, atol=1e-5)
    still = fit(tx=fnn.optim.sgd(1.0), clip_norm=1e-6, epochs=1).state.params
    first = init_state(KEY, NET, TX, jnp.ones((1, 5))).params
    chex.assert_trees_all_close(still, first, atol=1e-5)


def test_arguments_of_the_caller_survive() -> None:
    data = examples(26)
    fit(data, validation=data)
    assert not data.x.is_deleted()
    assert jax.random.bits(KEY).shape == ()


class Recorder(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def start(self, epochs: int, steps: int) -> None:
        self.told.append((epochs, steps))

    def update(self, step: int, metrics: Any) -> None:
        self.told.append((step, dict(metrics)))

    def finish(self, outcome: str) -> None:
        self.told.append(outcome)


def test_reporter_is_told_steps_metrics_and_times() -> None:
    recorder = Recorder()
    result = fit(progress=recorder, metrics=METRICS)
    assert recorder.told[0] == (4, 4)
    assert [told[0] for told in recorder.told[1:-1]][-1] == 16
    assert recorder.told[-2][1]["loss"] == float(result.history["loss"][-1])
    assert recorder.told[-1] == "done"
    assert recorder.compile_seconds > 0
    assert recorder.train_seconds > 0


def test_nothing_is_printed_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    fit(progress=True)
    assert capsys.readouterr() == ("", "")


def test_a_loss_that_is_not_finite_stops_with_its_place_and_keeps_the_rest() -> None:
    data = Dataset(jnp.ones((8, 1)), jnp.zeros((8, 1)))
    recorder = Recorder()
    with pytest.raises(NonFiniteError, match=r"not a finite number at step (\d+) \(epoch (\d+), batch \d+") as caught:
        fit(data, net=fnn.nn.mlp([1]), loss=fnn.losses.squared_error, tx=fnn.optim.sgd(1e3), batch_size=4,
            epochs=40, validation=data, progress=recorder)  # fmt: skip
    result = caught.value.result
    epochs = len(result.history["loss"])
    assert 0 < epochs < 40
    assert np.isfinite(result.history["loss"]).all()
    for state in (result.best, result.state):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    assert recorder.told[-1] == "failed"


@pytest.mark.parametrize("chunks", ["one step a call", "as long as it takes"])
def test_the_last_finite_state_and_its_batch_are_kept(chunks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, net, tx = Dataset(jnp.ones((8, 1)), jnp.zeros((8, 1))), fnn.nn.mlp([1]), fnn.optim.sgd(1e3)
    if chunks == "one step a call":
        monkeypatch.setattr("fnn.train.fit._CHUNK_SECONDS", 0.0)
    with pytest.raises(NonFiniteError) as caught:
        fit(data, net=net, loss=fnn.losses.squared_error, tx=tx, batch_size=3, epochs=40)
    error, state = caught.value, caught.value.result.state
    at, size = int(state.step), len(error.batch.x)
    assert str(error).startswith(
        f"training: the loss is not a finite number at step {at} (epoch {at // 3}, batch {at % 3}; "
        f"all counted from 0): loss: square gave inf ({size} of {size} values), such as square("
    )
    assert error.event == fnn.inspect.first_nonfinite(step_for(net, tx), state, error.batch)
    assert error.event is not None
    assert (error.event.step, error.event.stage, error.event.operation) == (at, "loss", "square")
    # It is the state of a run of so many steps, and the next step is not finite.
    one = jax.jit(step_for(net, tx))
    again = init_state(KEY, net, tx, data.x)
    for epoch in range(40):
        for batch in fnn.data.batches(data, 3, key=KEY, epoch=epoch):
            if int(again.step) < at:
                again, _ = one(again, batch)
    chex.assert_trees_all_close(state.params, again.params, rtol=1e-5)
    assert len(caught.value.result.history["loss"]) == at // 3
    assert not np.isfinite(one(state, error.batch)[1]["loss"])


def step_for(net: fnn.nn.Layer, tx: optax.GradientTransformation) -> fnn.train.Step:
    return make_step(supervised(net, fnn.losses.squared_error), tx)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"epochs": 0}, ValueError, r"epochs: got 0"),
        ({"batch_size": 27}, ValueError, r"batch_size: got 27, expected at most the 26 examples"),
        ({"patience": 3}, ValueError, r"patience: got 3, expected a validation set with it"),
        ({"patience": 0, "validation": examples(3)}, ValueError, r"patience: got 0, expected an integer >= 1"),
        ({"key": 0}, TypeError, r"key: got 0, expected one typed key"),
        ({"net": len}, TypeError, r"net: got a builtin_function_or_method"),
        ({"loss": 1}, TypeError, r"loss: got 1"),
        ({"metrics": {"grad_norm": LOSS}}, ValueError, r"the name 'grad_norm'"),
        ({"l2": -1}, ValueError, r"l2: got -1"),
        ({"validation": Dataset(jnp.ones((0, 5)), jnp.ones(0))}, ValueError, r"validation: got no examples"),
        (
            {"validation": Dataset(jnp.full((1, 5), jnp.nan), jnp.ones(1))},
            ValueError,
            r"validation.x: got nan at row 0",
        ),
        ({"data": examples(26)._replace(y=examples(26).y.at[3].set(7))}, ValueError, r"labels: got 7 at row 3"),
        ({"validation": examples(5)._replace(y=jnp.array([0, 1, 2, -1, 0]))}, ValueError, r"labels: got -1 at row 3"),
        ({"data": examples(26)._replace(y=jnp.zeros(26))}, TypeError, r"labels: .*float32.*astype\(int\)"),
        ({"data": Dataset(jnp.ones((26, 5)).astype(int), jnp.zeros(26, int))}, TypeError, r"x: got dtype int32"),
        ({"data": Dataset(jnp.ones((26, 5, 1)), jnp.zeros(26, int))}, ValueError, r"x: got shape .*Flatten"),
    ],
)
def test_wrong_calls_fail_before_anything_compiles(
    changes: dict[str, Any], error: type[Exception], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", never)
    with pytest.raises(error, match=match):
        fit(**changes)


def test_labels_are_checked_before_compiling_with_accumulation_too() -> None:
    data = examples(26)
    with pytest.raises(ValueError, match=r"^labels: got 3 at row"):
        fit(Dataset(data.x, data.y + 1), accumulate=2)


def test_a_validation_loss_that_is_not_finite_ends_it() -> None:
    def nan_in_evaluation(outputs: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(len(y) == 5, jnp.nan, LOSS(outputs, y))

    with pytest.raises(NonFiniteError, match=r"the validation loss .* at step 3 .*the best one until then") as caught:
        fit(loss=nan_in_evaluation, validation=examples(5))
    assert caught.value.result.history["val_loss"].shape == (1,)
    assert (caught.value.event, int(caught.value.result.state.step)) == (None, 4)


def test_a_last_update_that_overflows_is_found() -> None:
    x = jnp.ones((4, 1))
    settings: dict[str, Any] = {"key": KEY, "epochs": 1, "batch_size": 4, "progress": False}
    match = (
        r"the new state is not a finite number at step 0 .*: update, params/dense_0/b: mul gave inf .*the last finite"
    )
    with pytest.raises(NonFiniteError, match=match) as caught:
        fnn.fit(fnn.nn.mlp([1]), fnn.losses.squared_error, fnn.optim.sgd(3e38), Dataset(x, 9 * x), **settings)
    assert int(caught.value.result.state.step) == 0
    assert np.isfinite(caught.value.result.state.params["dense_0"]["w"]).all()


def test_fit_is_the_hosts_side() -> None:
    match = r"^fit: got a trace around it, expected a call from the host\. Inside jit, vmap or grad use fnn.train.run"
    with pytest.raises(TypeError, match=match):
        jax.jit(lambda: fit().history["loss"])()
    with pytest.raises(TypeError, match=match):
        jax.vmap(lambda key: fit(key=key).history["loss"])(jax.random.split(KEY, 2))


def test_fit_works_where_nan_is_hunted() -> None:
    with jax.debug_nans(True):
        assert fit(epochs=1).history["loss"].shape == (1,)


def test_a_rate_that_is_negative_in_a_schedule() -> None:
    with pytest.raises(
        ValueError, match=r"^learning_rate: got .*-1.*, expected a finite number >= 0\. It is the sched"
    ):
        fnn.optim.sgd(optax.cosine_decay_schedule(-1.0, 10))


class _CtrlC(Reporter):
    """Somebody interrupts after so many steps."""

    def __init__(self, at: int):
        self.at, self.outcome = at, ""

    def update(self, step: int, metrics: Any) -> None:
        if step >= self.at:
            raise KeyboardInterrupt

    def finish(self, outcome: str) -> None:
        self.outcome = outcome


def test_an_interrupt_gives_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # One step a call.
    monkeypatch.setattr("fnn.train.fit._CHUNK_SECONDS", 0.0)
    # Four steps an epoch: three whole epochs and a part of the fourth.
    reporter = _CtrlC(at=14)
    with pytest.raises(Interrupted) as caught:
        fit(epochs=5, progress=reporter)
    assert isinstance(caught.value, KeyboardInterrupt)
    result = caught.value.result
    assert int(result.state.step) == 14
    assert result.history["loss"].shape == (3,)
    assert reporter.outcome == "interrupted"
    whole = fit(epochs=5)
    np.testing.assert_array_equal(result.history["loss"], whole.history["loss"][:3])


def test_an_interrupt_in_the_middle_of_a_call_gives_what_there_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = jax.stages.Compiled.__call__

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        compiled(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(jax.stages.Compiled, "__call__", interrupted)
    with pytest.raises(Interrupted) as caught:
        fit(epochs=2)
    result = caught.value.result
    assert int(result.state.step) == 0
    assert jax.tree.all(jax.tree.map(lambda w: bool(np.isfinite(w).all()), result.state.params))


def test_a_result_shows_itself_in_one_line() -> None:
    result = fit(epochs=2)
    assert repr(result).startswith(f"FitResult({int(result.state.step)} steps, 2 epochs: ")
    assert f"loss {float(result.history['loss'][-1]):.4g}" in repr(result)
    assert len(repr(result)) < 120
    assert result._fields == ("state", "best", "history")
    none = result._replace(history={"loss": result.history["loss"][:0]})
    assert repr(none) == f"FitResult({int(result.state.step)} steps, 0 epochs)"
