"""Activations: values and two derivatives against float64 formulas, every finite input, shapes, refusals."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fnn import activations
from fnn.activations import derivative, elu, leaky_relu, softmax

POINTS = np.array([0.0, 1.0, -1.0, 1e-4, -1e-4, 50.0, -50.0, 1e4, -1e4])
DTYPES = [jnp.float32, jnp.float16, jnp.bfloat16]


class Case(NamedTuple):
    """An elementwise activation with its value and its first two derivatives in float64."""

    f: Callable[..., jax.Array]
    value: Callable[[np.ndarray], Any]
    slope: Callable[[np.ndarray], Any]
    curvature: Callable[[np.ndarray], Any]


def _bell(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def _exp_below(x: np.ndarray, above: float) -> np.ndarray:
    return np.where(x > 0, above, np.exp(np.minimum(x, 0)))


S = special.expit
CASES = {
    case.f.__name__: case
    for case in [
        Case(activations.identity, lambda x: x, np.ones_like, np.zeros_like),
        Case(activations.step, lambda x: x >= 0, np.zeros_like, np.zeros_like),
        Case(activations.sigmoid, S, lambda x: S(x) * S(-x), lambda x: S(x) * S(-x) * (S(-x) - S(x))),
        Case(
            activations.tanh,
            np.tanh,
            lambda x: 4 * S(2 * x) * S(-2 * x),
            lambda x: -8 * np.tanh(x) * S(2 * x) * S(-2 * x),
        ),
        Case(activations.relu, lambda x: np.maximum(x, 0), lambda x: x > 0, np.zeros_like),
        Case(leaky_relu, lambda x: np.maximum(x, 0.01 * x), lambda x: np.where(x >= 0, 1, 0.01), np.zeros_like),
        Case(
            elu,
            lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
            lambda x: _exp_below(x, 1),
            lambda x: _exp_below(x, 0),
        ),
        Case(
            activations.gelu,
            lambda x: x * special.ndtr(x),
            lambda x: special.ndtr(x) + x * _bell(x),
            lambda x: (2 - x * x) * _bell(x),
        ),
        Case(
            activations.silu,
            lambda x: x * S(x),
            lambda x: S(x) * (1 + x * S(-x)),
            lambda x: S(x) * S(-x) * (2 + x * (S(-x) - S(x))),
        ),
        Case(activations.softplus, lambda x: np.logaddexp(0, x), S, lambda x: S(x) * S(-x)),
    ]
}
PUBLIC = {
    name: f
    for name, f in vars(activations).items()
    if inspect.isfunction(f) and f.__module__ == activations.__name__ and name[0] != "_"
}
ALL: dict[str, Any] = {name: f for name, f in PUBLIC.items() if name not in ("get", "derivative")}
elementwise = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every = pytest.mark.parametrize("f", ALL.values(), ids=ALL)


def _wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def _thrice(f: Callable[..., jax.Array], x: jax.Array) -> list[jax.Array]:
    """Value, gradient and second derivative, by reverse mode as in training and then forward mode on top."""

    def slope(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: f(x).sum())(x)

    return [f(x), *jax.jvp(slope, (x,), (jnp.ones_like(x),))]


_compiled = functools.cache(lambda f: jax.jit(functools.partial(_thrice, f)))


def _check(case: Case, x: jax.Array, rtol: float, atol: float) -> None:
    got = [*_compiled(case.f)(x), derivative(case.f)(x)]
    for y, reference in zip(got, [*case[1:], case.slope], strict=True):
        assert y.dtype == x.dtype
        np.testing.assert_allclose(_wide(y), reference(_wide(x)), rtol=rtol, atol=atol)


# Values and derivatives ----------------------------------------------------------------------------------


def test_every_activation_is_looked_at_and_known_by_its_name() -> None:
    assert {*CASES, "softmax"} == set(ALL)
    assert all(activations.get(name) is f for name, f in ALL.items())


@elementwise
def test_value_and_derivatives_in_float32(case: Case) -> None:
    x = jnp.asarray(POINTS, jnp.float32)
    # Small values keep their digits: log1p and expm1, not log(1 + e) and e - 1.
    np.testing.assert_allclose(case.f(x), case.value(_wide(x)), rtol=1e-6)
    _check(case, x, rtol=1e-6, atol=1e-7)


@elementwise
def test_value_and_derivatives_in_float64(case: Case) -> None:
    with jax.enable_x64(True):
        _check(case, jnp.asarray(np.concatenate([POINTS, np.linspace(-9, 9, 61)])), rtol=1e-13, atol=1e-15)


@elementwise
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_value_and_derivatives_in_low_precision(case: Case, dtype: Any) -> None:
    # A handful of operations, each rounded to 11 or 8 bits.
    eps = float(jnp.finfo(dtype).eps)
    _check(case, jnp.asarray(POINTS, dtype), rtol=2 * eps, atol=2 * eps)


def _every_finite(dtype: Any) -> jax.Array:
    """All numbers of a 16-bit type; for float32 all of bfloat16, which have every exponent, and the ends."""
    x = jnp.arange(2**16, dtype=jnp.uint16).view(jnp.float16 if dtype == jnp.float16 else jnp.bfloat16)
    ends = jnp.array([jnp.finfo(dtype).min, jnp.finfo(dtype).max], dtype)
    return jnp.append(x[jnp.isfinite(x)].astype(dtype), ends)


@elementwise
@pytest.mark.parametrize("dtype", DTYPES)
def test_finite_in_finite_out(case: Case, dtype: Any) -> None:
    x = _every_finite(dtype)
    assert x.dtype == dtype
    assert len(x) > 60_000
    for order, y in zip(["value", "gradient", "second derivative"], _compiled(case.f)(x), strict=True):
        assert not x[~jnp.isfinite(y)].size, order


@every
def test_nan_in_nan_out(f: Any) -> None:
    assert jnp.isnan(f(jnp.array([jnp.nan, 1.0]))[0])


@pytest.mark.parametrize(("f", "name"), [(leaky_relu, "slope"), (elu, "alpha")])
def test_the_parameter_scales_the_negative_side(f: Any, name: str) -> None:
    x = jnp.array([-3.0, -0.5, 0.0, 2.0])
    at_1 = f(x, 1.0)
    for value in (0.0, 0.25, -2.0, np.float32(0.25), jnp.array(3), 3):
        np.testing.assert_allclose(f(x, **{name: value}), jnp.where(x > 0, x, value * at_1), rtol=1e-6)
        low = f(x.astype(jnp.bfloat16), value)
        assert low.dtype == jnp.bfloat16


@pytest.mark.parametrize("f", [leaky_relu, elu])
def test_the_parameter_may_be_traced(f: Any) -> None:
    x, values = jnp.array([-3.0, 2.0]), jnp.array([0.1, 2.0])
    many = jax.vmap(f, (None, 0))(x, values)
    np.testing.assert_allclose(many, jnp.stack([f(x, 0.1), f(x, 2.0)]), rtol=1e-6)
    # Linear in its parameter, and only at negative inputs.
    np.testing.assert_allclose(jax.jit(jax.jacobian(f, 1))(x, 0.7), [f(x, 1.0)[0], 0], rtol=1e-6)


# Shapes, dtypes, transformations -------------------------------------------------------------------------


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_shape_and_dtype_stay(f: Any, dtype: Any) -> None:
    for shape in [(3,), (1, 3), (2, 3, 4), (0,), (0, 3), (2, 0), ()]:
        if shape or f is not softmax:
            y = jax.eval_shape(f, jnp.ones(shape, dtype))
            assert (y.shape, y.dtype) == (shape, dtype)


@every
def test_the_same_under_jit_and_vmap(f: Any) -> None:
    x = jax.random.normal(jax.random.key(0), (5, 3)) * 4
    y = f(x)
    np.testing.assert_allclose(jax.jit(f)(x), y, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(f)(x), y, rtol=1e-6)


@every
def test_numpy_arrays(f: Any) -> None:
    # NumPy's float64 becomes JAX's float32, without a word.
    y = f(POINTS)
    assert isinstance(y, jax.Array)
    np.testing.assert_array_equal(y, f(jnp.asarray(POINTS, jnp.float32)))


@elementwise
def test_one_number(case: Case) -> None:
    for x in (-0.5, np.float64(-0.5), np.float32(-0.5)):
        assert case.f(x) == case.f(jnp.array([-0.5]))[0]
        assert derivative(case.f)(x) == derivative(case.f)(jnp.array([-0.5]))[0]


def test_the_derivative_of_any_function_at_every_element() -> None:
    x = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    np.testing.assert_allclose(derivative(lambda x: x**3)(x), 3 * x**2, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(derivative("tanh"))(x), 1 - jnp.tanh(x) ** 2, rtol=1e-5)
    np.testing.assert_array_equal(derivative("tanh")(x), derivative(activations.tanh)(x))
    np.testing.assert_allclose(derivative(derivative("tanh"))(x), CASES["tanh"].curvature(_wide(x)), rtol=1e-5)


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [*ALL.values(), derivative("tanh")], ids=[*ALL, "derivative"])
@pytest.mark.parametrize(
    ("x", "match"),
    [
        ([1.0, 2.0], r"x: got a list of 2, expected an array\. Convert it: jnp\.asarray\(x\)\."),
        (3, r"x: got 3, expected an array\."),
        (True, r"x: got True, expected an array\."),
        (None, r"x: got None, expected an array\."),
        ("relu", r"x: got 'relu', expected an array\."),
        (jnp.arange(3), r"x: got dtype int32, expected floating-point numbers\. Cast it: x\.astype\(jnp\.float32\)\."),
        (np.arange(3, dtype=np.uint8), r"x: got dtype uint8, expected floating-point numbers\."),
        (jnp.zeros(3, bool), r"x: got dtype bool, expected floating-point numbers\."),
        (jnp.zeros(3, complex), r"x: got dtype complex64, expected floating-point numbers\."),
    ],
)
def test_inputs_that_are_no_floating_array(f: Any, x: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        f(x)


@pytest.mark.parametrize(("f", "name"), [(leaky_relu, "slope"), (elu, "alpha")])
@pytest.mark.parametrize(
    ("value", "kind", "match"),
    [
        (jnp.nan, ValueError, r": got nan, expected a finite number\."),
        (np.inf, ValueError, r": got inf, expected a finite number\."),
        (1e39, ValueError, r": got 1e\+39, which is inf in float32, expected a finite number\."),
        (jnp.ones(2), ValueError, r": got an array of shape \(2,\), expected a finite number\..*vmap"),
        (jnp.ones(1), ValueError, r": got an array of shape \(1,\), expected a finite number\."),
        ([0.1, 0.2], TypeError, r": got a list of 2, expected a finite number\."),
        ("0.1", TypeError, r": got '0\.1', expected a finite number\."),
        (None, TypeError, r": got None, expected a finite number\."),
        (True, TypeError, r": got True, expected a finite number\."),
        (1j, TypeError, r": got 1j, expected a finite number\."),
    ],
)
def test_parameters_that_are_no_finite_number(f: Any, name: str, value: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=f"^{name}{match}"):
        f(jnp.ones(2), value)


LIST = "elu, gelu, identity, leaky_relu, relu, sigmoid, silu, softmax, softplus, step, tanh"


@pytest.mark.parametrize("function", [activations.get, derivative])
@pytest.mark.parametrize(
    ("name", "kind", "match"),
    [
        ("rellu", ValueError, rf"activation: got 'rellu', expected one of {LIST}\. Did you mean 'relu' or 'elu' or"),
        ("Sigmoid", ValueError, rf"activation: got 'Sigmoid', expected one of {LIST}\. Did you mean 'sigmoid'\?$"),
        ("zzz", ValueError, rf"activation: got 'zzz', expected one of {LIST}\.$"),
        ("", ValueError, rf"activation: got '', expected one of {LIST}\.$"),
        (None, TypeError, r"activation: got None, expected a function Array -> Array, or the name of one\."),
        (["relu"], TypeError, r"activation: got a list of 1, expected a function Array -> Array, or the name"),
    ],
)
def test_unknown_names_come_with_the_nearest(function: Any, name: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        function(name)


def test_a_function_of_one_s_own_is_taken_as_it_is() -> None:
    def swish_2(x: jax.Array) -> jax.Array:
        return x * activations.sigmoid(2 * x)

    assert activations.get(swish_2) is swish_2
