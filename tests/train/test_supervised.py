"""The supervised loss: means, weights, penalties, metrics, refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset, WeightedBatch
from fnn.train import supervised
from fnn.train.supervised import measured

NET = fnn.nn.mlp([1])
PARAMS = {"dense_0": {"w": jnp.array([[2.0], [-3.0]]), "b": jnp.array([0.5])}}
X = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
Y = jnp.array([[2.5], [-0.5], [1.5]])  # errors: 0, -2, -2


def test_mean_over_examples() -> None:
    loss, (state, metrics) = supervised(NET, fnn.losses.squared_error)(PARAMS, {}, Dataset(X, Y), None)
    assert float(loss) == pytest.approx(8 / 3)
    assert state == {}
    assert metrics == {}


@pytest.mark.parametrize("weight", [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])
def test_weighted_mean_of_loss_and_metrics(weight: list[float]) -> None:
    loss_fn = supervised(NET, fnn.losses.squared_error, metrics={"error": fnn.losses.absolute_error})
    loss, (_, metrics) = loss_fn(PARAMS, {}, WeightedBatch(X, Y, jnp.array(weight)), None)
    assert float(loss) == pytest.approx(np.average([0.0, 4.0, 4.0], weights=weight))
    assert float(metrics["error"]) == pytest.approx(np.average([0.0, 2.0, 2.0], weights=weight))


def test_pair_of_arrays_is_a_batch() -> None:
    loss_fn = supervised(NET, fnn.losses.squared_error)
    assert float(loss_fn(PARAMS, {}, (X, Y), None)[0]) == float(loss_fn(PARAMS, {}, Dataset(X, Y), None)[0])


def test_penalties_are_of_weights_alone() -> None:
    def loss(**kind: Any) -> Any:
        return supervised(NET, fnn.losses.squared_error, **kind)(PARAMS, {}, (X, Y), None)[0]

    plain, l2, l1 = loss(), loss(l2=0.1), loss(l1=0.1)
    assert float(l2 - plain) == pytest.approx(0.1 * (4 + 9))
    assert float(l1 - plain) == pytest.approx(0.1 * (2 + 3))


def test_penalty_gradients_by_hand() -> None:
    def grad(**kind: Any) -> Any:
        return jax.grad(lambda p: supervised(NET, fnn.losses.squared_error, **kind)(p, {}, (X, Y), None)[0])(PARAMS)

    plain, l2, l1 = grad()["dense_0"], grad(l2=0.1)["dense_0"], grad(l1=0.1)["dense_0"]
    np.testing.assert_allclose(l2["w"] - plain["w"], 2 * 0.1 * PARAMS["dense_0"]["w"], rtol=1e-5)
    np.testing.assert_allclose(l1["w"] - plain["w"], [[0.1], [-0.1]], rtol=1e-5)
    np.testing.assert_array_equal(l2["b"], plain["b"])


def test_zero_penalty_equals_a_traced_zero() -> None:
    def loss(l2: Any) -> jax.Array:
        return supervised(NET, fnn.losses.squared_error, l2=l2)(PARAMS, {}, (X, Y), None)[0]

    assert float(loss(0.0)) == float(jax.jit(loss)(0.0))


def test_low_precision_outputs_have_a_float32_loss() -> None:
    params = fnn.tree.cast(PARAMS, jnp.bfloat16)
    loss, _ = supervised(NET, lambda o, y: jnp.square(o - y)[:, 0])(params, {}, (X.astype("bfloat16"), Y), None)
    assert loss.dtype == jnp.float32


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"l2": -1.0}, ValueError, r"l2: got -1.0, expected a finite number >= 0"),
        ({"l1": np.nan}, ValueError, r"l1: got nan"),
        ({"loss": "mse"}, TypeError, r"loss: got 'mse', expected a function"),
        ({"net": "mlp"}, TypeError, r"net: got a str"),
        ({"metrics": [fnn.losses.squared_error]}, TypeError, r"metrics: got a list.*Name each one"),
        ({"metrics": {"loss": fnn.losses.squared_error}}, ValueError, r"the name 'loss', expected a name other than"),
        ({"metrics": {"error": 3}}, TypeError, r"metrics\['error'\]: got 3"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        supervised(**{"net": NET, "loss": fnn.losses.squared_error, **arguments})


@pytest.mark.parametrize(
    ("batch", "error", "match"),
    [
        ((X, Y[:2]), ValueError, r"batch: got shapes \(3, 2\), \(2, 1\)"),
        ((X[:0], Y[:0]), ValueError, r"at least one"),
        ((X, [[0.0]] * 3), TypeError, r"batch.y: got a list of 3, expected an array"),
        ({"x": X, "y": Y}, TypeError, r"batch: got a dict, expected a Dataset"),
        ((X, Y[:, 0]), ValueError, r"\(3, 1\).*\(3,\)|\(3,\).*\(3, 1\)"),
        ((X[:, :1], Y), ValueError, r"x: got shape \(3, 1\), expected last axis 2"),
        ((X[0], Y[0]), ValueError, r"shape"),
    ],
)
def test_wrong_batches(batch: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        supervised(NET, fnn.losses.squared_error)(PARAMS, {}, batch, None)


@pytest.mark.parametrize("loss", [lambda o, y: jnp.mean(o - y), lambda o, y: o - y])
def test_loss_must_give_one_value_per_example(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"result of loss: got shape .*, expected shape \(3,\)"):
        supervised(NET, loss)(PARAMS, {}, (X, Y), None)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (jnp.ones((3, 1)), r"batch\.weight: got shape \(3, 1\), expected shape \(3,\)\. One weight an example\."),
        (jnp.array([1.0, -1.0, 1.0]), r"batch\.weight: got -1.0 at row 1 .* finite numbers >= 0"),
        (jnp.array([1.0, np.nan, 1.0]), r"batch\.weight: got nan at row 1"),
    ],
)
def test_weights_that_are_refused(weight: Any, match: str) -> None:
    with pytest.raises(ValueError, match=f"^{match}"):
        supervised(NET, fnn.losses.squared_error)(PARAMS, {}, WeightedBatch(X, Y, weight), None)


def test_a_loss_needs_a_gradient() -> None:
    with pytest.raises(TypeError, match=r"^result of loss: got dtype bool, expected floating-point numbers\."):
        supervised(NET, lambda outputs, y: (outputs > y)[:, 0])(PARAMS, {}, (X, Y), None)


@pytest.mark.parametrize(("name", "error"), [("val_error", ValueError), ("val_loss", ValueError), (3, TypeError)])
def test_names_of_metrics_that_are_refused(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^metrics: got the name"):
        supervised(NET, fnn.losses.squared_error, metrics={name: fnn.losses.absolute_error})


def test_a_metric_that_refuses_says_that_it_is_the_metric() -> None:
    net, one_hot = fnn.nn.mlp([3]), jnp.eye(3)
    metrics = {"accuracy": fnn.metrics.accuracy}
    state = fnn.train.init_state(jax.random.key(0), net, fnn.optim.sgd(0.1), X)
    loss_fn = supervised(net, fnn.losses.softmax_cross_entropy, metrics=metrics)
    match = r"^metrics\['accuracy'\], labels: got dtype float32, .* One-hot rows: give labels\.argmax\(axis=-1\)\.$"
    with pytest.raises(TypeError, match=match):
        loss_fn(state.params, {}, (X, one_hot), None)
    with pytest.raises(TypeError, match=match):
        fnn.train.make_eval(net, metrics)(state, Dataset(X, one_hot))


def test_a_loss_and_foreign_errors_keep_their_own_words() -> None:
    def fails(outputs: Any, targets: Any) -> Any:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "mine")

    with pytest.raises(UnicodeDecodeError, match="mine"):
        measured("mine", fails, X, Y)
    with pytest.raises(ValueError, match=r"^targets: got shape"):
        measured("loss", fnn.losses.squared_error, X, Y)
