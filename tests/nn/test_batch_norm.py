"""Batch normalization: values on paper, running statistics, at any mean, in runs and populations, and refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.nn import batch_norm

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPES = [(2, 3), (7, 3), (3, 5, 3), (4, 5, 7, 3), (2, 3, 4, 5, 3)]
PARAMS = {"gamma": np.array([0.5, 1, 2], np.float32), "beta": np.array([-1, 0, 3], np.float32)}
STATE = {"mean": np.array([1, -2, 0], np.float32), "var": np.array([0.25, 4, 1], np.float32)}


def _statistics(x: Any) -> tuple[np.ndarray, np.ndarray, int]:
    rows = np.asarray(x, np.float64).reshape(-1, np.shape(x)[-1])
    return rows.mean(axis=0), rows.var(axis=0), len(rows)


def _formula(params: Any, x: Any, state: Any = None) -> Any:
    axes = tuple(range(x.ndim - 1))
    mean, var = (x.mean(axes), x.var(axes)) if state is None else (state["mean"], state["var"])
    return params["gamma"] * (x - mean) / jnp.sqrt(var + 1e-5) + params["beta"]


def _on_paper(x: Any, params: Any, mean: Any, var: Any) -> np.ndarray:
    gamma, beta = (np.asarray(params[name], np.float64) for name in ("gamma", "beta"))
    return gamma * (np.asarray(x, np.float64) - mean) / np.sqrt(np.asarray(var, np.float64) + 1e-5) + beta


# Value and gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_running_statistics_on_paper(shape: tuple[int, ...]) -> None:
    x = RNG.normal(2, 3, shape).astype(np.float32)
    layer = batch_norm(momentum=0.75)
    y, state = jax.jit(lambda *args: layer.apply(*args, train=True))(PARAMS, STATE, x)
    mean, var, n = _statistics(x)
    np.testing.assert_allclose(y, _on_paper(x, PARAMS, mean, var), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(state["mean"], 0.75 * STATE["mean"] + 0.25 * mean, rtol=1e-6, atol=1e-6)
    # The unbiased variance is kept, the biased one normalizes.
    np.testing.assert_allclose(state["var"], 0.75 * STATE["var"] + 0.25 * var * n / (n - 1), rtol=1e-6)
    evaluated, same = layer.apply(PARAMS, STATE, jnp.asarray(x))
    np.testing.assert_allclose(evaluated, _on_paper(x, PARAMS, STATE["mean"], STATE["var"]), rtol=1e-5, atol=1e-5)
    assert same is STATE


def test_mean_0_variance_1() -> None:
    x = jnp.asarray(RNG.normal(5, 3, (64, 5, 5, 8)), jnp.float32)
    layer = batch_norm()
    mean, var, _ = _statistics(layer.apply(*layer.init(KEY, x), x, train=True)[0])
    np.testing.assert_allclose(mean, 0, atol=1e-6)
    np.testing.assert_allclose(var, 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(512, 3), (64, 28, 28, 3)])
def test_right_at_any_mean(shape: tuple[int, ...]) -> None:
    # Flax, whose use_fast_variance is mean(x^2) - mean(x)^2 in one pass, is off by up to 1.3e3 here, and by 5
    # without it: at mean 1e6 the mean alone may be off by that much.
    layer, weights = batch_norm(momentum=0.0), RNG.normal(size=shape).astype(np.float32)

    def objective(params: Any, x: Any) -> Any:
        y, state = layer.apply(params, STATE, x, train=True)
        return jnp.vdot(weights, y), (y, state)

    train = jax.jit(jax.grad(objective, argnums=1, has_aux=True))
    for center in (1e4, 1e6, -1e6):
        x = RNG.normal(center, 1, shape).astype(np.float32)
        slope, (y, state) = train(PARAMS, x)
        mean, var, n = _statistics(x)
        np.testing.assert_allclose(y, _on_paper(x, PARAMS, mean, var), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(state["mean"], mean, rtol=1e-7)
        np.testing.assert_allclose(state["var"], var * n / (n - 1), rtol=1e-5)
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda a: jnp.asarray(a, float), (PARAMS, x, weights))
            exact = jax.grad(lambda params, x, weights: jnp.vdot(weights, _formula(params, x)), argnums=1)(*wide)
            exact = np.asarray(exact)
        np.testing.assert_allclose(slope, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e6])
def test_equal_numbers(value: float) -> None:
    x, layer = jnp.full((8, 5, 5, 3), value), batch_norm(momentum=0.0, eps=1e-12)

    def total(params: Any, x: Any) -> Any:
        y, state = layer.apply(params, STATE, x, train=True)
        return jnp.sum(jnp.sin(y)), state

    gradients, state = jax.grad(total, argnums=(0, 1), has_aux=True)(PARAMS, x)
    np.testing.assert_allclose(state["var"], 0, atol=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes(dtype: Any) -> None:
    with jax.enable_x64(dtype == jnp.float64):
        x = jnp.asarray(RNG.normal(100, 1, (8, 4, 3)), dtype)
        layer, wide = batch_norm(), jnp.promote_types(dtype, jnp.float32)
        params, state = layer.init(KEY, x)
        assert {leaf.dtype for leaf in params.values()} == {x.dtype}
        assert {leaf.dtype for leaf in state.values()} == {wide}
        y, after = layer.apply(params, state, x, train=True)
        assert y.dtype == layer.apply(params, state, x)[0].dtype == x.dtype
        assert {leaf.dtype for leaf in after.values()} == {wide}
        mean, var, _ = _statistics(x.astype(wide))
        rounding = max(float(jnp.finfo(dtype).eps), 1e-12)
        expected = _on_paper(x.astype(wide), {"gamma": np.ones(3), "beta": np.zeros(3)}, mean, var)
        np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=8 * rounding, atol=20 * rounding)
        np.testing.assert_allclose(after["mean"], 0.1 * mean, rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 4, 3)])
@pytest.mark.parametrize("train", [True, False])
def test_derivatives_of_two_orders_are_those_of_the_formula(shape: tuple[int, ...], train: bool) -> None:
    # That they agree with finite differences is a law of tests/laws/test_layer.py.
    with jax.enable_x64(True):
        point = jax.tree.map(lambda a: jnp.asarray(a, float), (PARAMS, RNG.normal(2, 3, shape)))
        along = jax.tree.map(lambda a: jnp.asarray(RNG.normal(size=a.shape)), point)
        state = None if train else jax.tree.map(lambda a: jnp.asarray(a, float), STATE)

        def derivatives(function: Any) -> Any:
            def total(point: Any) -> Any:
                return jnp.sum(jnp.sin(function(*point)))

            return jax.jit(lambda: jax.jvp(jax.value_and_grad(total), (point,), (along,)))()

        got = derivatives(lambda params, x: batch_norm().apply(params, STATE, x, train=train)[0])
        expected = derivatives(lambda params, x: _formula(params, x, state))
        for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_no_gradient_flows_into_the_state() -> None:
    def total(x: Any) -> Any:
        _, state = batch_norm().apply(PARAMS, STATE, x, train=True)
        return sum(jnp.sum(leaf) for leaf in state.values())

    np.testing.assert_array_equal(jax.grad(total)(jnp.ones((4, 3))), np.zeros((4, 3)))


def test_no_examples_in_evaluation() -> None:
    assert batch_norm().apply(PARAMS, STATE, jnp.ones((0, 5, 3)))[0].shape == (0, 5, 3)


# In runs and populations ---------------------------------------------------------------------------------


def test_a_population_of_runs_is_a_loop_of_runs_and_evaluation_changes_no_state() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, (40, 6)).astype(np.float32)
    data = fnn.data.Dataset(jnp.asarray(x), jnp.asarray((x[:, 0] > 3).astype(np.int32)))
    net, tx = fnn.nn.mlp([8, 2], norm=batch_norm), fnn.optim.adam(1e-2)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
    train = fnn.train.run(step, data, batch_size=8, epochs=3)
    states = [fnn.train.init_state(key, net, tx, data.x) for key in jax.random.split(KEY, 3)]
    together, history = jax.jit(jax.vmap(train))(jax.tree.map(lambda *a: jnp.stack(a), *states))
    alone = jax.jit(train)
    for i, state in enumerate(states):
        last, losses = alone(state)
        for a, b in zip(*map(jax.tree.leaves, (together.model_state, last.model_state)), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(history["loss"][i], losses["loss"], rtol=1e-4)
    assert history["loss"][:, -1].mean() < 0.8 * history["loss"][:, 0].mean()
    moved = together.model_state["batch_norm_0"]
    assert np.abs(moved["mean"]).max() > 0.1
    state = jax.tree.map(lambda a: a[0], together.model_state)
    params = jax.tree.map(lambda a: a[0], together.params)
    _, after = jax.jit(net.apply)(params, state, data.x)
    for a, b in zip(*map(jax.tree.leaves, (after, state)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_running_statistics_reach_those_of_the_data() -> None:
    layer, x = batch_norm(momentum=0.9), jnp.asarray(RNG.normal(3, 2, (400, 16, 3)), jnp.float32)
    params, state = layer.init(KEY, x[0])

    def body(state: Any, x: Any) -> Any:
        return layer.apply(params, state, x, train=True)[1], None

    state, _ = jax.jit(lambda state: jax.lax.scan(body, state, x))(state)
    np.testing.assert_allclose(state["mean"], 3, atol=0.5)
    # The biased variance would end at 15/16 of this.
    np.testing.assert_allclose(np.mean(state["var"]), 4, rtol=0.1)


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (
            {"momentum": 1.0},
            ValueError,
            r"momentum: got 1\.0, expected a number in \[0, 1\)\. .* PyTorch's momentum is 1",
        ),
        ({"momentum": -0.1}, ValueError, r"momentum: got -0\.1, expected a number in \[0, 1\)\."),
        ({"momentum": None}, TypeError, r"momentum: got None, expected a number in \[0, 1\)\."),
        ({"eps": 0.0}, ValueError, r"eps: got 0\.0, expected a finite number > 0\."),
        ({"eps": -1e-5}, ValueError, r"eps: got -1e-05, expected a finite number > 0\."),
    ],
)
def test_arguments(arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        batch_norm(**arguments)


@pytest.mark.parametrize("shape", [(1, 3), (1, 5, 5, 3), (0, 3)])
def test_a_batch_of_one_in_training(shape: tuple[int, ...]) -> None:
    match = rf"^x: got a batch of {shape[0]}, expected at least 2 .* leave out a last batch of one, or take layer_norm"
    with pytest.raises(ValueError, match=match):
        batch_norm().apply(PARAMS, STATE, jnp.ones(shape), train=True)
    with pytest.raises(ValueError, match=match):
        jax.jit(lambda x: batch_norm().apply(PARAMS, STATE, x, train=True))(jnp.ones(shape))
    assert batch_norm().apply(PARAMS, STATE, jnp.ones(shape))[0].shape == shape


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (jnp.ones(3), ValueError, r"x: got shape \(3,\), expected shape \(n, \.\.\., c\), channels last\. One example"),
        (jnp.ones((2, 3), int), TypeError, r"x: got dtype int32, expected floating-point numbers\."),
    ],
)
def test_x(x: Any, error: type[Exception], match: str) -> None:
    for call in (lambda: batch_norm().init(KEY, x), lambda: batch_norm().apply(PARAMS, STATE, x, train=True)):
        with pytest.raises(error, match=f"^{match}"):
            call()


@pytest.mark.parametrize(
    ("params", "state", "error", "match"),
    [
        ({"gamma": PARAMS["gamma"]}, STATE, ValueError, r"params of batch_norm: got entries \['gamma'\], expected"),
        (
            {name: p[:2] for name, p in PARAMS.items()},
            STATE,
            ValueError,
            r"x: got shape \(4, 3\), expected last axis 2, as gamma is \(2,\)\.",
        ),
        (PARAMS, {}, ValueError, r"state of batch_norm: got entries \[\], expected entries \['mean', 'var'\]\. Make"),
        (PARAMS, None, ValueError, r"state of batch_norm: got a NoneType, expected entries \['mean', 'var'\]\."),
        (
            PARAMS,
            {name: s[:2] for name, s in STATE.items()},
            ValueError,
            r"state of batch_norm, mean: got shape \(2,\), expected shape \(3,\)\. This is another layer's",
        ),
        (
            PARAMS,
            STATE | {"var": STATE["var"].astype(np.float16)},
            TypeError,
            r"state of batch_norm, var: got dtype float16, expected float32 or wider\. A running average loses",
        ),
        (PARAMS, STATE | {"var": np.ones(3, int)}, TypeError, r"state of batch_norm, var: got dtype int64, expected"),
        (
            {name: p.astype(np.float16) for name, p in PARAMS.items()},
            STATE,
            TypeError,
            r"x: got dtype float32, expected float16, as gamma is\.",
        ),
    ],
)
def test_parameters_and_state_of_another_layer(params: Any, state: Any, error: type[Exception], match: str) -> None:
    for train in (True, False):
        with pytest.raises(error, match=f"^{match}"):
            batch_norm().apply(params, state, jnp.ones((4, 3)), train=train)
