"""Normalization of each example: values on paper, at any mean, in every dtype, gradients, and refusals."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.nn import Layer, group_norm, layer_norm, rms_norm

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPES = [(2, 6), (1, 6), (3, 5, 6), (2, 3, 7, 6), (2, 3, 4, 5, 6)]
NORMS: dict[str, Callable[[], Layer]] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm 1": lambda: group_norm(1),
    "group_norm 2": lambda: group_norm(2),
    "group_norm 6": lambda: group_norm(6),
}


def _params(name: str, c: int = 6, dtype: Any = np.float32) -> dict[str, Any]:
    params = {"gamma": np.linspace(0.5, 2, c).astype(dtype), "beta": np.linspace(-1, 1, c).astype(dtype)}
    return {"gamma": params["gamma"]} if name == "rms_norm" else params


def _formula(name: str, params: Any, x: Any) -> Any:
    """As on paper, group by group."""
    if name == "rms_norm":
        return params["gamma"] * x / jnp.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)
    if name == "layer_norm":
        parts, axes = [x], (-1,)
    else:
        parts, axes = jnp.split(x, int(name.split()[1]), axis=-1), tuple(range(1, x.ndim))
    y = [(p - p.mean(axes, keepdims=True)) / jnp.sqrt(p.var(axes, keepdims=True) + 1e-5) for p in parts]
    return params["gamma"] * jnp.concatenate(y, axis=-1) + params["beta"]


def _on_paper(name: str, x: Any, params: Any) -> np.ndarray:
    """The formula in float64."""
    with jax.enable_x64(True):
        wide = [jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float64)), tree) for tree in (params, x)]
        return np.asarray(_formula(name, *wide))


# Value and gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_value_on_paper(name: str, shape: tuple[int, ...]) -> None:
    x, params = RNG.normal(2, 3, shape).astype(np.float32), _params(name)
    y, state = jax.jit(NORMS[name]().apply)(params, {}, x)
    assert state == {}
    np.testing.assert_allclose(y, _on_paper(name, x, params), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mean", [0.0, -1e4, 1e6])
@pytest.mark.parametrize("name", [name for name in NORMS if name != "rms_norm"])
def test_right_at_any_mean(name: str, mean: float) -> None:
    # In one pass, mean(x^2) - mean(x)^2 is anything from -40 to 24 at 1e4, and 2e5 at 1e6.
    x, params = RNG.normal(mean, 1, (4, 9, 9, 6)).astype(np.float32), _params(name)
    y, _ = jax.jit(NORMS[name]().apply)(params, {}, x)
    np.testing.assert_allclose(y, _on_paper(name, x, params), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["layer_norm", "group_norm 1"])
def test_mean_0_variance_1(name: str) -> None:
    x = jnp.asarray(RNG.normal(5, 3, (4, 50)), jnp.float32)
    params, _ = NORMS[name]().init(KEY, x)
    y = np.asarray(NORMS[name]().apply(params, {}, x)[0], np.float64)
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_equal_numbers_are_finite(name: str) -> None:
    def total(params: Any, x: Any) -> Any:
        y, _ = NORMS[name]().apply(params, {}, x)
        return jnp.sum(jnp.sin(y)), y

    slopes, params = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True)), _params(name)
    for value in (0.0, 3.0, 1e6):
        gradients, y = slopes(params, jnp.full((2, 5, 6), value))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradients, y)))
        if name != "rms_norm":
            np.testing.assert_allclose(y - params["beta"], 0, atol=1e-3)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes(name: str, dtype: Any) -> None:
    with jax.enable_x64(dtype == jnp.float64):
        x = jnp.asarray(RNG.normal(100, 1, (3, 4, 6)), dtype)
        params = jax.tree.map(lambda p: jnp.asarray(p, dtype), _params(name))
        first, _ = NORMS[name]().init(KEY, x)
        assert {key: (p.shape, p.dtype) for key, p in first.items()} == dict.fromkeys(params, ((6,), x.dtype))
        y, _ = NORMS[name]().apply(params, {}, x)
        assert y.dtype == x.dtype
        # Computed in float32 or wider: only the last rounding is of the dtype.
        expected = _on_paper(name, x.astype(jnp.float64 if dtype == jnp.float64 else jnp.float32), params)
        rounding = max(float(jnp.finfo(dtype).eps), 1e-12)
        np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=8 * rounding, atol=20 * rounding)


@pytest.mark.parametrize("name", NORMS)
def test_derivatives_of_two_orders_are_those_of_the_formula(name: str) -> None:
    # That they agree with finite differences is a law of tests/laws/test_layer.py.
    with jax.enable_x64(True):
        x, params = jnp.asarray(RNG.normal(2, 3, (2, 3, 6))), _params(name, dtype=np.float64)
        point = jax.tree.map(jnp.asarray, (params, x))
        along = jax.tree.map(lambda a: jnp.asarray(RNG.normal(size=a.shape)), point)

        def derivatives(function: Any) -> Any:
            def total(point: Any) -> Any:
                return jnp.sum(jnp.sin(function(*point)))

            return jax.jit(lambda: jax.jvp(jax.value_and_grad(total), (point,), (along,)))()

        got = derivatives(lambda params, x: NORMS[name]().apply(params, {}, x)[0])
        expected = derivatives(functools.partial(_formula, name))
        for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NORMS)
def test_mode_key_and_the_other_examples_do_not_matter(name: str) -> None:
    x, params, layer = RNG.normal(size=(3, 4, 6)).astype(np.float32), _params(name), NORMS[name]()
    y, _ = layer.apply(params, {}, jnp.asarray(x))
    np.testing.assert_array_equal(layer.apply(params, {}, jnp.asarray(x), train=True, key=KEY)[0], y)
    np.testing.assert_allclose(layer.apply(params, {}, jnp.asarray(x[1:2]), train=True)[0], y[1:2], rtol=1e-6)
    assert layer.apply(params, {}, jnp.asarray(x[:0]))[0].shape == (0, 4, 6)


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: layer_norm(0.0), ValueError, r"eps: got 0\.0, expected a finite number > 0\."),
        (lambda: rms_norm(-1e-6), ValueError, r"eps: got -1e-06, expected a finite number > 0\."),
        (lambda: group_norm(2, eps=np.inf), ValueError, r"eps: got inf, expected a finite number > 0\."),
        (lambda: group_norm(0), ValueError, r"groups: got 0, expected an integer >= 1\."),
        (lambda: group_norm(-2), ValueError, r"groups: got -2, expected an integer >= 1\."),
        (lambda: group_norm(2.0), TypeError, r"groups: got 2\.0, expected an integer >= 1\."),  # type: ignore[arg-type]
    ],
)
def test_arguments(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        make()


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (jnp.ones(6), ValueError, r"x: got shape \(6,\), expected shape \(n, \.\.\., c\), channels last\. One example"),
        (jnp.ones((2, 6), int), TypeError, r"x: got dtype int32, expected floating-point numbers\."),
        ([[1.0]], TypeError, r"x: got a list of 1, expected an array\."),
    ],
)
def test_x(name: str, x: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        NORMS[name]().init(KEY, x)
    with pytest.raises(error, match=f"^{match}"):
        NORMS[name]().apply(_params(name), {}, x)


def test_groups_that_do_not_divide_the_channels() -> None:
    layer, match = group_norm(4), r"^groups: got 4, expected a divisor of the 6 channels of x\."
    with pytest.raises(ValueError, match=match):
        layer.init(KEY, jnp.ones((2, 6)))
    with pytest.raises(ValueError, match=match):
        jax.jit(layer.apply)(_params("group_norm"), {}, jnp.ones((2, 6)))


P = _params("layer_norm")


@pytest.mark.parametrize(
    ("params", "x", "error", "match"),
    [
        ({"gamma": P["gamma"]}, (2, 6), ValueError, r"params of layer_norm: got entries \['gamma'\], expected entries"),
        ({"w": P["gamma"]}, (2, 6), ValueError, r"params of layer_norm: got entries \['w'\], expected entries \['beta"),
        (None, (2, 6), ValueError, r"params of layer_norm: got a NoneType, expected entries \['beta', 'gamma'\]\."),
        (P, (2, 5), ValueError, r"x: got shape \(2, 5\), expected last axis 6, as gamma is \(6,\)\.$"),
        (P, (2, 6, 5, 5), ValueError, r"x: got .*, expected last axis 6, as .* Channels are last here: jnp\.moveaxis"),
        (P | {"beta": P["beta"][:1]}, (2, 6), ValueError, r"params of layer_norm, beta: got shape \(1,\), expected"),
        (P | {"gamma": np.ones((6, 1), np.float32)}, (2, 6), ValueError, r"params of layer_norm, gamma: got shape"),
        (_params("", dtype=np.float16), (2, 6), TypeError, r"x: got dtype float32, expected float16, as gamma is\."),
    ],
)
def test_parameters_of_another_layer(params: Any, x: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        layer_norm().apply(params, {}, jnp.ones(x))


def test_rms_norm_has_no_beta() -> None:
    with pytest.raises(ValueError, match=r"^params of rms_norm: got entries \['beta', 'gamma'\], expected .*'gamma'\]"):
        rms_norm().apply(P, {}, jnp.ones((2, 6)))
