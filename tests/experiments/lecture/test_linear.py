"""Layers without activations are one layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from experiments.lecture import linear
from tests.plot.drawing import drawn, said


@pytest.fixture(scope="module")
def found() -> linear.Found:
    return linear.work()


def test_the_trained_network_equals_one_matrix(found: linear.Found) -> None:
    assert found.layers == 4
    np.testing.assert_allclose(found.deep, found.single, atol=1e-5)
    np.testing.assert_allclose(found.deep, found.w * np.asarray(linear.x[:, 0]) + found.b, atol=1e-5)


def test_any_weights_and_shapes_equal_one_matrix_exactly() -> None:
    """Small whole numbers make no rounding error."""
    widths = [3, 5, 4, 2]
    keys = jax.random.split(jax.random.key(1), 2 * len(widths))
    params = {
        f"dense_{i}": {
            "w": jax.random.randint(keys[2 * i], (d_in, d_out), -3, 4).astype(float),
            "b": jax.random.randint(keys[2 * i + 1], (d_out,), -3, 4).astype(float),
        }
        for i, (d_in, d_out) in enumerate(zip([6, *widths], widths, strict=False))
    }
    x = jnp.arange(12.0).reshape(2, 6)
    one = linear.one_matrix(params)
    assert one["w"].shape == (6, 2)
    deep, _ = fnn.nn.mlp(widths, "identity").apply(params, {}, x)
    np.testing.assert_array_equal(deep, x @ one["w"] + one["b"])
    bent, _ = fnn.nn.mlp(widths, "relu").apply(params, {}, x)
    assert not np.allclose(bent, deep)


def test_it_is_no_better_than_the_best_line_and_close_to_it(found: linear.Found) -> None:
    assert linear.error(found.line) <= linear.error(found.deep) < 1.02 * linear.error(found.line)


def test_relu_fits_what_no_line_can(found: linear.Found) -> None:
    assert linear.error(found.relu) < linear.error(found.line) / 100


def test_pictures_and_findings(found: linear.Found) -> None:
    (picture,) = linear.pictures(found).values()
    assert {"x", "y", "data", "4 layers, identity", "their one matrix", "4 layers, ReLU"} <= set(
        said(drawn(picture.figure))
    )
    assert picture.caption.endswith(".")
    told = linear.findings(found)
    assert len(told) == 2
    assert all(any(c.isdigit() for c in sentence) for sentence in told)
