"""Parameters: an initializer draws what it is asked for, and those of another layer are refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn import initializers
from fnn.nn.parameters import check_entries, check_fit, drawn

KEY = jax.random.key(0)
X = jnp.ones((4, 3))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_drawn(dtype: Any) -> None:
    p = drawn("w_init", initializers.constant(2.0), KEY, (3, 2), dtype)
    assert (p.shape, p.dtype) == ((3, 2), jnp.dtype(dtype))
    np.testing.assert_array_equal(p, np.full((3, 2), 2))


@pytest.mark.parametrize(
    ("draw", "got"),
    [
        (lambda key, shape, dtype: jnp.ones(3), r"float32\[3\]"),
        (lambda key, shape, dtype: np.ones(shape), r"float64\[2, 4\]"),
        (lambda key, shape, dtype: 1.0, "a float"),
    ],
)
def test_drawn_otherwise(draw: Any, got: str) -> None:
    match = rf"^what w_init draws: got {got}, expected float32\[2, 4\]\. An initializer draws: \(key, shape, dtype\)"
    with pytest.raises(ValueError, match=match):
        drawn("w_init", draw, KEY, (2, 4), jnp.float32)


def test_what_fits() -> None:
    check_fit("dense", {"w": jnp.ones((3, 2)), "b": np.ones(2)}, X, {"w": (3, 2), "b": (2,)})
    check_fit("relu", {}, X, {})


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        (None, ValueError, r"params of scale: got a NoneType, expected entries \['gamma'\]\. Make them with init\."),
        ({}, ValueError, r"params of scale: got entries \[\], expected entries \['gamma'\]\."),
        ({"gamma": X[0], 1: X[0]}, ValueError, r"params of scale: got entries \['1', 'gamma'\], expected"),
        ({"gamma": 1.0}, TypeError, r"gamma: got 1\.0, expected an array\."),
        ({"gamma": jnp.ones(3, int)}, TypeError, r"gamma: got dtype int32, expected floating-point numbers\."),
        ({"gamma": jnp.ones(1)}, ValueError, r"params of scale, gamma: got shape \(1,\), expected shape \(3,\)\."),
        ({"gamma": jnp.ones(3, jnp.float16)}, TypeError, r"x: got dtype float32, expected float16, as gamma is\."),
    ],
)
def test_what_does_not_fit(params: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        check_fit("scale", params, X, {"gamma": (3,)})


def test_other_entries() -> None:
    with pytest.raises(ValueError, match=r"^state of batch_norm: got entries \['mean'\], expected entries \['mean', "):
        check_entries("state of batch_norm", {"mean": X}, {"mean": (3,), "var": (3,)})
