"""Right gradients pass, wrong ones are named with their place, kinks are skipped and counted."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.inspect import GradientMismatch, check_gradients
from tests.inspect.networks import NETWORKS


@pytest.mark.parametrize("name", ["mlp", "tanh", "normalized", "cnn", "resnet"])
def test_networks_are_right(name: str) -> None:
    case = NETWORKS[name]
    params, state = case.start

    def mean(params: Any, state: Any, x: Any) -> Any:
        return case.loss(case.net.apply(params, state, x, train=True)[0], case.y).mean()

    report = check_gradients(mean, (params, state, case.x), entries=12)
    assert report.right, str(report)
    named = {f"0/{name}" for name in fnn.tree.named_leaves(params)}
    assert named <= {row.leaf for row in report.rows}
    assert sum(row.checked for row in report.rows) > 20


@jax.custom_jvp
def bent(x: jax.Array) -> jax.Array:
    """Its derivative is 1 % too large where x > 1."""
    return jnp.sin(x)


@bent.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return jnp.sin(x), jnp.cos(x) * dx * jnp.where(x > 1, 1.01, 1)


def test_a_wrong_gradient_is_named() -> None:
    w = {"a": jnp.array([[0.1, 0.2], [1.3, 0.4]]), "b": jnp.ones(3)}
    report = check_gradients(lambda w: jnp.sum(bent(w["a"])) + jnp.sum(w["b"] ** 2), [w])
    assert not report.right
    assert report["0/b"].right
    row = report["0/a"]
    assert row.worst == (1, 0)
    np.testing.assert_allclose([row.error, row.gradient / row.difference], [0.01 / 1.01, 1.01], rtol=1e-4)
    with pytest.raises(GradientMismatch, match=r"gradient of '0/a' at \[1, 0\]: .*: 9.9e-03 apart"):
        report.raise_if_wrong()
    assert "WRONG at [1, 0]" in str(report)


def test_right_ones_raise_nothing() -> None:
    check_gradients(lambda w: jnp.sum(w**3), [jnp.ones(3)]).raise_if_wrong()


@pytest.mark.parametrize("at", [0.0, 1e-6, -2e-6])
def test_a_kink_is_skipped_and_counted(at: float) -> None:
    report = check_gradients(lambda w: jnp.sum(jax.nn.relu(w)), [jnp.array([1.0, at, -1.0])])
    (row,) = report.rows
    assert (row.checked, row.kinks, row.right) == (2, 1, True)


def test_a_wrong_gradient_is_no_kink() -> None:
    """Also where it is wrong by half, as a derivative at a kink is."""
    half = jax.custom_jvp(lambda x: x**2)
    half.defjvp(lambda x, dx: (x[0] ** 2, x[0] * dx[0]))
    (row,) = check_gradients(lambda w: jnp.sum(half(w)), [jnp.array([1.0, 3.0])]).rows
    assert (row.kinks, row.right) == (0, False)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e8])
def test_the_scale_of_the_point_does_not_matter(scale: float) -> None:
    assert check_gradients(lambda w: jnp.sum(jnp.tanh(w / scale)), [scale * jnp.array([0.3, 2.0])]).right
    assert not check_gradients(lambda w: jnp.sum(bent(w / scale)), [scale * jnp.array([0.3, 2.0])]).right


def test_what_a_function_does_not_depend_on() -> None:
    report = check_gradients(lambda w: jnp.sum((w["a"] + w["b"]) - w["b"]), [{"a": jnp.ones(3), "b": jnp.ones(3)}])
    assert report.right, str(report)


def test_a_function_that_computes_in_float32() -> None:
    def narrow(w: Any) -> Any:
        return jnp.sum(jnp.tanh(w.astype(jnp.float32)) ** 2)

    (row,) = check_gradients(narrow, [jnp.array([0.3, 1.0, 2.0])]).rows
    assert row.right
    assert 1e-8 < row.error < row.allowed == 2e-2


@pytest.mark.parametrize("rate", [20.0, 1000.0])
def test_a_steep_function(rate: float) -> None:
    w = jnp.array([0.3, -1.2, 2.0])
    assert check_gradients(lambda w: jnp.sum(jnp.sin(rate * w)), [w]).right
    assert not check_gradients(lambda w: jnp.sum(bent(rate * w)), [w]).right


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_kink_at_any_part_of_a_step(dtype: Any) -> None:
    """It is found, or makes no error."""
    step = float(jnp.finfo(dtype).eps) ** (1 / 3)
    at = step * jnp.linspace(-1.3, 1.3, 53)
    report = check_gradients(lambda w: jnp.sum(jax.nn.relu(w.astype(dtype))), [at], entries=53)
    assert report.right, str(report)
    assert report.rows[0].checked > 10


def test_a_gradient_that_is_nan() -> None:
    def rooted(w: Any) -> Any:
        return jnp.sum(w["a"]) + jnp.sum(jnp.where(w["b"] > 0, jnp.sqrt(w["b"]), 0))

    report = check_gradients(rooted, [{"a": jnp.ones(2), "b": -jnp.ones(2)}])
    assert not report.right
    with pytest.raises(GradientMismatch, match=r"gradient of '0/b' at \[0\]: gradient nan"):
        report.raise_if_wrong()


def test_a_result_that_is_no_array() -> None:
    assert check_gradients(lambda w: 1.0, [jnp.ones(2)]).right


def test_a_leaf_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="'w': there are 0"):
        check_gradients(jnp.sum, [jnp.ones(2)])["w"]


def test_integers_and_keys_stay_as_they_are() -> None:
    def drawn(w: Any, labels: Any, key: Any) -> Any:
        return jnp.sum(w[labels] * jax.random.normal(key, labels.shape, w.dtype))

    report = check_gradients(drawn, (jnp.ones(3), jnp.array([0, 2]), jax.random.key(0)))
    assert [row.leaf for row in report.rows] == ["0"]
    assert report.right


def test_large_leaves_are_sampled() -> None:
    report = check_gradients(lambda w: jnp.sum(w**2), [jnp.ones((40, 40))], entries=10)
    assert (report.rows[0].size, report.rows[0].checked) == (1600, 10)


def test_precision_of_the_process_is_as_before() -> None:
    check_gradients(jnp.sum, [jnp.ones(2)])
    assert jnp.ones(1).dtype == jnp.float32
    assert jnp.asarray(1.5).dtype == jnp.float32


REFUSED: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no function": (3, [jnp.ones(1)], TypeError, "fn: got 3"),
    "nothing to differentiate by": (jnp.sum, [jnp.array([1])], ValueError, "args: got no floating-point leaf"),
    "an array for args": (jnp.sum, jnp.ones(2), TypeError, r"args: got an array, expected a list .*: \[x\]"),
    "a dict for args": (jnp.sum, {"w": jnp.ones(2)}, TypeError, "args: got a dict, expected a list of arguments"),
    "a number for args": (jnp.sin, 0.5, TypeError, "args: got a float, expected a list of arguments"),
    "two results": (lambda w: (w, 1), [jnp.array(1.0)], ValueError, "result of fn: got a tuple, expected one finite"),
    "an array": (lambda w: w, [jnp.ones(2)], ValueError, r"result of fn: got an array of shape \(2,\)"),
    "infinite": (lambda w: jnp.log(w), [jnp.array(0.0)], ValueError, "result of fn: got -inf"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    fn, args, kind, match = REFUSED[name]
    with pytest.raises(kind, match=match):
        check_gradients(fn, args)


def test_a_seed_below_0() -> None:
    with pytest.raises(ValueError, match=r"seed: got -1, expected an integer >= 0\."):
        check_gradients(jnp.sum, [jnp.ones(2)], seed=-1)


def test_not_under_a_trace() -> None:
    with pytest.raises(TypeError, match="check_gradients: got a trace around it"):
        jax.jit(lambda w: check_gradients(jnp.sum, [w]))(jnp.ones(2))
