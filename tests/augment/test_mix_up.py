"""Mix-up: the same mixture of images and targets, its shares and its partners."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.augment import chain, mix_up
from fnn.data import WeightedBatch

KEY = jax.random.key(3)
CLASSES = 3
N = 12
PIXELS = np.random.default_rng(0).integers(1, 256, (N, 7, 9, 3), dtype=np.uint8)
X = jnp.asarray(PIXELS)
Y = jnp.arange(N) % CLASSES
MIXED = mix_up(CLASSES, alpha=1.0)
MIX = jax.jit(lambda key, alpha, batch: mix_up(2, alpha)(key, batch))
ONE_HOT = np.eye(N, dtype=np.float32)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixtures_of_x_and_y_are_the_same(alpha: float) -> None:
    # Image i is the i-th unit vector, and its class is i: then x and y of a mixture are the same numbers.
    x, y = mix_up(N, alpha)(KEY, (jnp.asarray(ONE_HOT).reshape(N, 1, N, 1), jnp.arange(N)))
    np.testing.assert_allclose(x.reshape(N, N), y, rtol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    own, others = np.diag(y), np.asarray(y) - np.diag(np.diag(y))
    assert (own >= 0.5).all(), "the larger share is the example's own"
    assert ((others > 0).sum(axis=1) <= 1).all(), "one partner each"
    assert ((others > 0).sum(axis=0) <= 1).all(), "and each is the partner of one"


@pytest.mark.parametrize("alpha", [0.01, 0.2, 0.5, 1.0, 3.0, 100.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    n = 4000
    x = jnp.arange(n, dtype=jnp.float32).reshape(n, 1, 1, 1)
    q = np.asarray(MIX(KEY, alpha, (x, jnp.arange(n) % 2))[1])
    own = q[np.arange(n), np.arange(n) % 2]
    # Where the partner is of the same class, the share is 1: half of them. Shares of a few ulps round to it too.
    levels = np.linspace(0.55, 0.95, 9)
    below = jax.scipy.special.betainc(alpha, alpha, jnp.asarray(levels))
    expected = np.asarray(below - jax.scipy.special.betainc(alpha, alpha, jnp.asarray(1 - levels))) / 2
    found = (own[:, None] < levels).mean(axis=0)
    np.testing.assert_array_less(abs(found - expected), 5 * np.sqrt(expected * (1 - expected) / n) + 1e-3)


def test_uint8_mixes_as_floats_in_0_to_1_do() -> None:
    of_bytes = MIXED(KEY, (X, Y))
    of_floats = MIXED(KEY, (X / jnp.float32(255), Y))
    assert of_bytes[0].dtype == jnp.float32
    np.testing.assert_allclose(of_bytes[0], of_floats[0], rtol=1e-6)
    np.testing.assert_array_equal(of_bytes[1], of_floats[1])
    assert 0 <= float(of_bytes[0].min()) <= float(of_bytes[0].max()) <= 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_pixels_mix_in_float32(dtype: Any) -> None:
    x, y = MIXED(KEY, ((X / 255).astype(dtype), Y))
    assert (x.dtype, y.dtype) == (dtype, jnp.float32)
    wide = MIXED(KEY, ((X / 255).astype(dtype).astype(jnp.float32), Y))[0]
    np.testing.assert_array_equal(x, wide.astype(dtype))


def test_float64() -> None:
    with jax.enable_x64(True):
        x, y = MIXED(KEY, (jnp.asarray(PIXELS, jnp.float64), jnp.asarray(Y)))
        assert (x.dtype, y.dtype) == (jnp.float64, jnp.float64)
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-15)


def test_probabilities_mix_as_labels_do() -> None:
    of_labels = MIXED(KEY, (X, Y))
    for a, b in zip(MIXED(KEY, (X, jax.nn.one_hot(Y, CLASSES))), of_labels, strict=True):
        np.testing.assert_array_equal(a, b)
    twice = chain(MIXED, MIXED)(KEY, (X, Y))[1]
    np.testing.assert_allclose(twice.sum(axis=1), 1, rtol=1e-6)


def test_zero_weight_mixes_with_zero_weight_only() -> None:
    weight = jnp.asarray(np.arange(N) % 3 > 0, jnp.float32)
    batch = WeightedBatch(jnp.asarray(ONE_HOT).reshape(N, 1, N, 1), jnp.arange(N), weight)
    y = np.asarray(mix_up(N, 1.0)(KEY, batch).y)
    counts = np.asarray(weight) > 0
    assert not y[counts][:, ~counts].any()
    assert not y[~counts][:, counts].any()


@pytest.mark.parametrize(
    ("y", "error", "match"),
    [
        (Y + 1, ValueError, r"labels: got 3 at row 2 \(4 bad rows\), expected integer labels in \[0, 3\)"),
        (Y[:5], ValueError, r"labels: got shape \(5,\), expected shape \(12,\)"),
        (
            Y.astype(float),
            TypeError,
            r"batch\.y: got dtype float32 and shape \(12,\), expected integer labels \(12,\) or",
        ),
        (jnp.ones((N, CLASSES)), ValueError, r"batch\.y, a row's sum: got 3\.0"),
        (jnp.ones((N, 5)) / 5, TypeError, r"batch\.y: got dtype float32 and shape \(12, 5\), .*\(12, 3\)"),
    ],
)
def test_targets_that_cannot_be_mixed(y: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        MIXED(KEY, (X, y))
