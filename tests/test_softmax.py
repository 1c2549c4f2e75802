"""Softmax: values and Jacobians against float64, shifts, masks, rows that sum to 1, refusals."""

from typing import Any

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fnn.activations import derivative, softmax

ROWS = np.array([[0, 0, 0], [1, -1, 1e-4], [50, -50, 49], [1e4, -1e4, 1e4], [-1e4, 1e4, 9999]], float)


def _wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def _softmax_jacobian(x: np.ndarray) -> np.ndarray:
    p = special.softmax(x, axis=-1)
    return p[..., None] * (np.eye(x.shape[-1]) - p[..., None, :])


def _check_softmax(x: jax.Array, rtol: float, atol: float) -> None:
    y = softmax(x)
    assert y.dtype == x.dtype
    # exp(-100) is too small for a normal float32, and becomes 0.
    np.testing.assert_allclose(_wide(y), special.softmax(_wide(x), axis=-1), rtol=rtol, atol=1e-38)
    for jacobian in (jax.jacfwd, jax.jacrev):
        got = jax.vmap(jacobian(softmax))(x)
        np.testing.assert_allclose(_wide(got), _softmax_jacobian(_wide(x)), rtol=rtol, atol=atol)


def test_softmax_and_its_jacobian() -> None:
    _check_softmax(jnp.asarray(ROWS, jnp.float32), rtol=1e-6, atol=1e-7)
    with jax.enable_x64(True):
        _check_softmax(jnp.asarray(ROWS), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_softmax_in_low_precision(dtype: Any) -> None:
    eps = float(jnp.finfo(dtype).eps)
    x = jnp.asarray(ROWS, dtype)
    # exp(-50) is no float16.
    np.testing.assert_allclose(_wide(softmax(x)), special.softmax(_wide(x), axis=-1), rtol=2 * eps, atol=eps)
    assert jnp.isfinite(jax.jit(jax.vmap(jax.hessian(softmax)))(x)).all()


def test_softmax_has_second_derivatives() -> None:
    x = jnp.asarray(np.concatenate([ROWS, [[2, 1, 0]]]), jnp.float32)
    hessian = jax.jit(jax.vmap(jax.hessian(softmax)))(x)
    p = special.softmax(_wide(x), axis=-1)
    # p_i = exp(x_i) / Z, differentiated twice.
    d = np.eye(3)
    first = (d[:, :, None] - p[:, None, :, None]) * (d[:, None, :] - p[:, None, None, :])
    second = (p[:, :, None] * (d - p[:, None, :]))[:, None]
    np.testing.assert_allclose(hessian, p[:, :, None, None] * (first - second), rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("shift", [1e6, -1e6])
def test_softmax_does_not_see_a_shift(shift: float) -> None:
    # Small integers keep their differences exactly next to 1e6 in float32.
    x = jnp.array([[1.0, 2.0, -3.0], [0.0, 5.0, 4.0]])
    np.testing.assert_array_equal(softmax(x + shift), softmax(x))
    np.testing.assert_array_equal(jax.jacobian(softmax)(x + shift), jax.jacobian(softmax)(x))


def test_a_masked_class_does_not_exist() -> None:
    x = jnp.array([1.0, -jnp.inf, 2.0, -1e4])
    there = jnp.array([0, 2, 3])
    np.testing.assert_array_equal(softmax(x)[1], 0)
    np.testing.assert_allclose(softmax(x)[there], softmax(x[there]), rtol=1e-6)
    for transform in (jax.jacfwd, jax.jacrev, jax.hessian):
        function = jax.jit(transform(softmax))
        got = function(x)
        expected = np.zeros(got.shape)
        expected[np.ix_(*[there] * got.ndim)] = function(x[there])
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_softmax_is_over_the_last_axis() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    np.testing.assert_allclose(softmax(x)[1, 2], softmax(x[1, 2]), rtol=1e-6)


@hypothesis.given(hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_rows_are_distributions(x: np.ndarray) -> None:
    p, slope = _probabilities_and_slope(x)
    assert ((p >= 0) & (p <= 1)).all()
    # Four probabilities, each right to half a unit of its last place.
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=3e-7)
    assert jnp.isfinite(slope).all()


@jax.jit
def _probabilities_and_slope(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return softmax(x), jax.vmap(jax.jacrev(softmax))(x)


def test_softmax_of_one_number() -> None:
    for x in (1.0, jnp.float32(1)):
        with pytest.raises(
            ValueError, match=r"x: got shape \(\), expected \(\.\.\., classes\)\. For one logit.*sigmoid"
        ):
            softmax(x)


@pytest.mark.parametrize("fn", ["softmax", softmax])
def test_softmax_has_no_elementwise_derivative(fn: Any) -> None:
    match = r"fn: got softmax, expected an elementwise activation\. Its Jacobian: jax\.jacobian\(softmax\)\."
    with pytest.raises(ValueError, match=match):
        derivative(fn)
