"""The layer that turns pixels into numbers about 0."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.nn import dense, sequential
from fnn.nn.standardize import standardize

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)
MEAN, STDDEV = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def _y(x: Any, *numbers: Any) -> jax.Array:
    y, state = standardize(*numbers).apply({}, {}, x)
    assert state == {}
    return y


@pytest.mark.parametrize("numbers", [(), (0.5,), (0.5, 0.25), (MEAN, STDDEV), (np.array(MEAN), 2), (1, list(STDDEV))])
def test_bytes_and_numbers_give_the_equation(numbers: Any) -> None:
    mean, stddev = (*numbers, *(0.0, 1.0)[len(numbers) :])
    expected = (PIXELS / 255 - np.asarray(mean)) / np.asarray(stddev)
    of_bytes = _y(jnp.asarray(PIXELS), *numbers)
    assert of_bytes.dtype == jnp.float32
    np.testing.assert_allclose(of_bytes, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(_y(PIXELS, *numbers), of_bytes)
    # Both kinds of pixels give the same, to the last bit, in a program too.
    of_floats = _y(jnp.asarray(PIXELS) / jnp.float32(255), *numbers)
    np.testing.assert_array_equal(of_floats, of_bytes)
    np.testing.assert_allclose(jax.jit(lambda x: _y(x, *numbers))(PIXELS), of_bytes, rtol=1e-6, atol=1e-6)


def test_all_bytes_without_a_mean_are_x_over_255() -> None:
    x = np.arange(256, dtype=np.uint8)[:, None]
    # To the last bit or the one before: XLA divides by multiplying.
    np.testing.assert_allclose(_y(x), np.divide(x, 255, dtype=np.float32), rtol=2e-7)
    assert (float(_y(x)[0, 0]), float(_y(x)[255, 0])) == (0, 1)


def test_its_own_statistics_give_mean_0_and_deviation_1() -> None:
    x = (PIXELS / 255).astype(np.float32)
    y = _y(x, x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2)))
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes(dtype: Any) -> None:
    with jax.enable_x64(dtype == jnp.float64):
        x = jnp.asarray(PIXELS / 255, dtype)
        y = _y(x, MEAN, STDDEV)
        assert y.dtype == dtype
        wide = np.asarray(x).astype(float)
        eps = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(np.asarray(y, float), (wide - MEAN) / np.asarray(STDDEV), rtol=2 * eps, atol=20e-8)
        assert _y(jnp.asarray(PIXELS), MEAN, STDDEV).dtype == jnp.float32


def test_in_a_network_of_bytes() -> None:
    net = sequential(standardize(0.5, 0.25), dense(2))
    params, state = net.init(jax.random.key(0), jnp.asarray(PIXELS))
    assert list(params) == ["dense_0"]
    for train in (False, True):
        assert net.apply(params, state, jnp.asarray(PIXELS), train=train)[0].shape == (5, 4, 3, 2)


def test_traced_numbers() -> None:
    def total(mean: Any, stddev: Any) -> jax.Array:
        return jnp.sum(_y(jnp.asarray(PIXELS), mean, stddev) ** 2)

    for numbers in ((0.5, 0.25), (jnp.array(MEAN), jnp.array(STDDEV))):
        np.testing.assert_allclose(jax.jit(total)(*numbers), total(*numbers), rtol=1e-5)
        gradient = jax.tree.leaves(jax.grad(total, argnums=(0, 1))(*numbers))
        assert all(np.isfinite(g).all() for g in gradient)
    listed = jax.jit(lambda m: _y(jnp.asarray(PIXELS), [m, m, m]))(0.5)
    np.testing.assert_allclose(listed, _y(PIXELS, 0.5), rtol=1e-6, atol=1e-6)
    each = jax.vmap(lambda m: _y(jnp.asarray(PIXELS), m))(jnp.array([0.1, 0.5]))
    np.testing.assert_allclose(each[1], _y(PIXELS, 0.5), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("numbers", "error", "match"),
    [
        ((0.0, 0.0), ValueError, r"stddev: got 0\.0 .*expected numbers > 0\. A channel that never varies: give it 1"),
        ((0.0, [0.2, 0.0, 0.1]), ValueError, r"stddev: got 0\.0 at row 1 \(1 bad row\), expected numbers > 0"),
        ((0.0, -1.0), ValueError, r"stddev: got -1\.0"),
        ((0.0, 1e-40), ValueError, r"stddev: got .*expected numbers > 0"),
        ((np.nan,), ValueError, r"mean: got nan .*expected a finite number, or one for each channel"),
        ((1e39,), ValueError, r"mean: got inf"),
        (([[0.1]],), ValueError, r"mean: got shape \(1, 1\), expected a finite number, or one for each channel"),
        (([],), ValueError, r"mean: got shape \(0,\)"),
        (("half",), TypeError, r"mean: got a str"),
        ((None,), TypeError, r"mean: got a NoneType"),
        ((True,), TypeError, r"mean: got a bool"),
        ((np.array(True),), TypeError, r"mean: got dtype bool"),
    ],
)
def test_wrong_numbers(numbers: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        standardize(*numbers)


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (
            jnp.ones((2, 3), int),
            TypeError,
            r"x: got dtype int32, expected uint8 or floating-point numbers\. Only uint8",
        ),
        (jnp.ones((2, 3), jnp.uint16), TypeError, r"x: got dtype uint16"),
        (jnp.ones((2, 3), bool), TypeError, r"x: got dtype bool"),
        (jnp.ones((2, 4)), ValueError, r"mean: got 3 numbers for x of shape \(2, 4\), expected one number, or one for"),
        (jnp.ones(()), ValueError, r"mean: got 3 numbers for x of shape \(\)"),
        (cast(Any, [[1.0] * 3]), TypeError, r"x: got a list of 1, expected an array"),
    ],
)
def test_wrong_inputs(x: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        standardize(MEAN).apply({}, {}, x)
