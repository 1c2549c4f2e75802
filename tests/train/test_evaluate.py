"""Measures on a whole data set, exact for any length."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset
from fnn.train import TrainState, init_state, make_eval

NET = fnn.nn.mlp([6, 3], "tanh", dropout=0.5)
STATE = init_state(jax.random.key(0), NET, fnn.optim.sgd(0.1), jnp.zeros((1, 4)))


def examples(n: int) -> Dataset:
    x = jax.random.normal(jax.random.key(n), (n, 4))
    return Dataset(x, jnp.argmax(x[:, :3], axis=1))


def outputs(data: Dataset) -> jax.Array:
    return NET.apply(STATE.params, {}, data.x)[0]


@pytest.mark.parametrize("n", [1, 2, 1023, 1024, 1025, 2500])
def test_any_length_is_exact(n: int) -> None:
    data = examples(n)
    found = jax.jit(make_eval(NET, {"accuracy": fnn.metrics.accuracy, "loss": fnn.losses.softmax_cross_entropy}))(
        STATE, data
    )
    right = np.argmax(np.asarray(outputs(data)), axis=1) == np.asarray(data.y)
    assert float(found["accuracy"]) == pytest.approx(right.mean(), abs=1e-6)
    mean = fnn.losses.softmax_cross_entropy(outputs(data), data.y).mean()
    np.testing.assert_allclose(found["loss"], mean, rtol=1e-5)


def test_whole_set_measures_come_back_as_they_are() -> None:
    data = examples(1500)
    found = make_eval(NET, {"confusion": fnn.metrics.confusion_matrix})(STATE, data)
    np.testing.assert_array_equal(found["confusion"], fnn.metrics.confusion_matrix(outputs(data), data.y))
    assert int(found["confusion"].sum()) == 1500


def test_one_trace_and_vmap_over_states() -> None:
    chex.clear_trace_counter()
    apply = chex.assert_max_traces(NET.apply, n=1)
    evaluate = jax.jit(make_eval(NET._replace(apply=apply), {"accuracy": fnn.metrics.accuracy}))
    for _ in range(2):
        evaluate(STATE, examples(2500))
    keys = jax.random.split(jax.random.key(1), 3)
    states = jax.vmap(lambda k: init_state(k, NET, fnn.optim.sgd(0.1), jnp.zeros((1, 4))))(keys)
    many = jax.vmap(make_eval(NET, {"accuracy": fnn.metrics.accuracy}), in_axes=(0, None))(states, examples(50))
    assert many["accuracy"].shape == (3,)


@pytest.mark.parametrize(
    ("net", "metrics", "error", "match"),
    [
        (NET, {}, ValueError, r"metrics: got none, expected at least one function"),
        (NET, fnn.metrics.accuracy, TypeError, r"metrics: got a function.*Name each one"),
        (len, {"a": len}, TypeError, r"net: got a builtin_function_or_method"),
    ],
)
def test_wrong_arguments(net: Any, metrics: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make_eval(net, metrics)


def test_wrong_data() -> None:
    evaluate = make_eval(NET, {"accuracy": fnn.metrics.accuracy})
    with pytest.raises(ValueError, match=r"data: got no examples"):
        evaluate(STATE, Dataset(jnp.zeros((0, 4)), jnp.zeros(0, int)))
    with pytest.raises(ValueError, match=r"data.x: got nan at row 1"):
        evaluate(STATE, Dataset(jnp.array([[0.0] * 4, [jnp.nan] * 4]), jnp.zeros(2, int)))
    with pytest.raises(TypeError, match=r"result of a: got 1.0, expected an array"):
        make_eval(NET, {"a": lambda *_: 1.0})(STATE, examples(3))  # pyright: ignore[reportArgumentType]


def test_evaluation_changes_nothing() -> None:
    before = jax.tree.map(np.array, STATE._replace(key=()))
    make_eval(NET, {"accuracy": fnn.metrics.accuracy})(STATE, examples(5))
    chex.assert_trees_all_equal(before, jax.tree.map(np.array, STATE._replace(key=())))
    assert isinstance(STATE, TrainState)


def test_a_metric_may_compute_with_numpy() -> None:
    metrics: Any = {"zeros": lambda outputs, y: np.zeros(len(y)), "three": lambda *_: np.float32(3)}
    evaluate = make_eval(NET, metrics)
    measures = evaluate(STATE, examples(5))
    assert (float(measures["zeros"]), float(measures["three"])) == (0, 3)


def test_a_result_is_no_state() -> None:
    wrong: Any = (STATE, STATE, {})
    with pytest.raises(TypeError, match=r"^state: got a tuple, expected a TrainState\. .* give \.state or \.best"):
        make_eval(NET, {"accuracy": fnn.metrics.accuracy})(wrong, examples(3))
