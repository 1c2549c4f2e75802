"""Initializers: ranges and variances, fans of dense and convolution weights, keys, dtypes, refusals.

Every bound follows from the number of samples: a sample variance of N numbers has the standard error
sqrt((kurtosis - 1) / N) of itself, with kurtosis 3 (normal) or 9/5 (uniform). Seeds are fixed.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fnn import initializers
from fnn.initializers import constant, gaussian, zeros

KEY = jax.random.key(3)
# Shape, fan_in, fan_out: the kernels are (..., channels_in / groups, channels_out).
SHAPES = [
    ((300, 100), 300, 100),
    ((1, 40), 1, 40),
    ((40, 1), 40, 1),
    ((5, 6, 20), 30, 100),
    ((3, 3, 8, 16), 72, 144),
    ((2, 3, 4, 5, 6), 120, 144),
]


class Law(NamedTuple):
    """A distribution with mean 0, and its variance by fan_in and fan_out."""

    make: Callable[[], initializers.Initializer]
    kind: str
    variance: Callable[[int, int], float]


LAWS = {
    "xavier": Law(initializers.xavier, "uniform", lambda i, _: 1 / i / 3),
    "normalized_xavier": Law(initializers.normalized_xavier, "uniform", lambda i, o: 6 / (i + o) / 3),
    "glorot_normal": Law(initializers.glorot_normal, "normal", lambda i, o: 2 / (i + o)),
    "he": Law(initializers.he, "normal", lambda i, _: 2 / i),
    "he_uniform": Law(initializers.he_uniform, "uniform", lambda i, _: 6 / i / 3),
    "lecun_normal": Law(initializers.lecun_normal, "normal", lambda i, _: 1 / i),
    "gaussian": Law(gaussian, "normal", lambda *_: 1e-4),
}
BY_FANS = {name: law for name, law in LAWS.items() if name != "gaussian"}
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
every_shape = pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"), SHAPES, ids=[str(shape) for shape, _, _ in SHAPES]
)


def _sample(initializer: initializers.Initializer, shape: tuple[int, ...]) -> np.ndarray:
    """At least 15,000 numbers, drawn at this shape, each time with another key."""
    keys = jax.random.split(KEY, -(-15_000 // math.prod(shape)))
    return np.concatenate([np.asarray(initializer(key, shape), np.float64).ravel() for key in keys])


# Distributions -------------------------------------------------------------------------------------------


@every_law
@every_shape
def test_range_variance_and_distribution(law: Law, shape: tuple[int, ...], fan_in: int, fan_out: int) -> None:
    w = _sample(law.make(), shape)
    n, variance = len(w), law.variance(fan_in, fan_out)
    kurtosis = 3 if law.kind == "normal" else 9 / 5
    # Five standard errors: once in two million.
    assert abs(w.mean()) < 5 * math.sqrt(variance / n)
    assert abs(w.var() / variance - 1) < 5 * math.sqrt((kurtosis - 1) / n)
    limit = math.sqrt(3 * variance)
    if law.kind == "uniform":
        assert abs(w).max() <= np.float32(limit)
        # That the outermost 20 / n of the distribution stay empty at an end has probability e^-20.
        assert min(-w.min(), w.max()) > limit * (1 - 40 / n)
        cdf = stats.uniform(-limit, 2 * limit).cdf
    else:
        # Not truncated: beyond 3.2 standard deviations lie 20 of 15,000, so that there is none is as rare.
        assert abs(w).max() > 3.2 * math.sqrt(variance)
        cdf = stats.norm(0, math.sqrt(variance)).cdf
    # Kolmogorov: more than 2.5 / sqrt(n) happens with probability 2 exp(-2 * 2.5^2), 7e-6.
    assert stats.kstest(w, cdf, method="asymp").statistic < 2.5 / math.sqrt(n)


@pytest.mark.parametrize("stddev", [0.01, 2.0])
@pytest.mark.parametrize("shape", [(20,), (3, 5, 7, 2)])
def test_gaussian_has_its_standard_deviation_whatever_the_fans(stddev: float, shape: tuple[int, ...]) -> None:
    w = _sample(gaussian(stddev), shape)
    assert abs(w.var() / stddev**2 - 1) < 5 * math.sqrt(2 / len(w))


def test_elements_are_independent() -> None:
    w = initializers.he()(KEY, (300, 200))
    rows, columns = np.corrcoef(w), np.corrcoef(w, rowvar=False)
    # A correlation of n pairs has standard error 1 / sqrt(n): more than 6 of them once in 500 million.
    assert abs(rows - np.eye(300)).max() < 6 / math.sqrt(200)
    assert abs(columns - np.eye(200)).max() < 6 / math.sqrt(300)


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (2, 3, 4)])
def test_zeros_and_constant(shape: tuple[int, ...]) -> None:
    for initializer, value in [(zeros, 0), (constant(0.0), 0), (constant(-2), -2), (constant(np.float32(0.5)), 0.5)]:
        for key in (KEY, None):
            w = initializer(key, shape)
            assert (w.shape, w.dtype) == (shape, jnp.float32)
            np.testing.assert_array_equal(w, np.full(shape, value))


# Keys and dtypes -----------------------------------------------------------------------------------------


@every_law
def test_a_key_determines_the_draw(law: Law) -> None:
    initializer = law.make()
    w = initializer(KEY, (6, 4))
    assert (w.shape, w.dtype) == ((6, 4), jnp.float32)
    sizes: Any = [6, np.int64(4)]
    np.testing.assert_array_equal(w, law.make()(KEY, sizes))
    # A compiler may multiply the factors of a normal number in another order.
    np.testing.assert_allclose(w, jax.jit(initializer, static_argnums=1)(KEY, (6, 4)), rtol=3e-7)
    other = initializer(jax.random.key(4), (6, 4))
    assert not np.isin(w, other).any()
    keys = jax.random.split(KEY, 3)
    many = jax.vmap(lambda key: initializer(key, (6, 4)))(keys)
    np.testing.assert_array_equal(many, jnp.stack([initializer(key, (6, 4)) for key in keys]))


@every_law
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_low_precision_is_drawn_in_float32_and_rounded(law: Law, dtype: Any) -> None:
    w = law.make()(KEY, (64, 64), dtype)
    assert w.dtype == dtype
    np.testing.assert_array_equal(w, law.make()(KEY, (64, 64)).astype(dtype))


@every_law
def test_float64(law: Law) -> None:
    with jax.enable_x64(True):
        w = law.make()(KEY, (64, 64), jnp.float64)
        assert w.dtype == jnp.float64
        # Drawn with all digits.
        assert (w != w.astype(jnp.float32)).mean() > 0.99


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, "float32", np.dtype("float16")])
def test_dtypes_of_zeros_and_constant(dtype: Any) -> None:
    for initializer in (zeros, constant(0.1)):
        assert initializer(KEY, (2,), dtype).dtype == jnp.dtype(dtype)


def test_numbers_may_be_traced() -> None:
    values = jnp.array([0.5, 2.0])
    spreads = jax.vmap(lambda s: gaussian(s)(KEY, (5,)))(values)
    np.testing.assert_allclose(spreads, values[:, None] * gaussian(1.0)(KEY, (5,)), rtol=1e-6)
    np.testing.assert_array_equal(jax.jit(lambda c: constant(c)(KEY, (2,)))(0.25), [0.25, 0.25])


# Refusals ------------------------------------------------------------------------------------------------

NO_FANS = (
    r", expected a dense weight \(d_in, d_out\) or a kernel \(\.\.\., channels_in, channels_out\), no size 0\. "
    r"Other arrays have no fans: draw them with zeros, constant\(c\) or gaussian\(stddev\)\."
)


@pytest.mark.parametrize("name", BY_FANS)
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0), (3, 0, 2)])
def test_shapes_without_fans(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"shape: got {str(shape).replace('(', '[(]').replace(')', '[)]')}{NO_FANS}"):
        initializers.get(name)(KEY, shape)


ANY = pytest.mark.parametrize(
    "initializer", [*(f.make() for f in LAWS.values()), zeros, constant(1.0)], ids=[*LAWS, "zeros", "constant"]
)


@ANY
@pytest.mark.parametrize(
    ("shape", "kind", "match"),
    [
        (5, TypeError, r"shape: got 5, expected a tuple of sizes\. A vector of n numbers has shape \(n,\)\."),
        (None, TypeError, r"shape: got None, expected a tuple of sizes\."),
        ("ab", TypeError, r"shape: got 'ab', expected a tuple of sizes\."),
        (np.array([3, 2]), TypeError, r"shape: got array\(\[3, 2\]\), expected a tuple of sizes\."),
        ((3, 2.0), TypeError, r"shape: got \(3, 2\.0\), expected integers >= 0\. Sizes shape the program"),
        ((3, True), TypeError, r"shape: got \(3, True\), expected integers >= 0\."),
        ((3, None), TypeError, r"shape: got \(3, None\), expected integers >= 0\."),
        ((3, -1), ValueError, r"shape: got \(3, -1\), expected integers >= 0\."),
    ],
)
def test_shapes_that_are_none(initializer: Any, shape: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        initializer(KEY, shape)


@ANY
@pytest.mark.parametrize("dtype", [int, jnp.int32, bool, complex, None])
def test_dtypes_without_a_gradient(initializer: Any, dtype: Any) -> None:
    match = r"dtype: got .*, expected a floating-point dtype\. Give jnp\.float32: weights need a gradient\."
    with pytest.raises(TypeError, match=match):
        initializer(KEY, (2, 2), dtype)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(
    ("key", "kind", "match"),
    [
        (
            jax.random.PRNGKey(0),
            TypeError,
            r"key: got a legacy uint32 key, expected one typed key\. Make one with jax\.random\.key\(seed\)\. "
            r"Or wrap this one: jax\.random\.wrap_key_data\(key\)\.",
        ),
        (0, TypeError, r"key: got 0, expected one typed key\. Make one with jax\.random\.key\(seed\)\.$"),
        (None, TypeError, r"key: got None, expected one typed key\."),
        (jnp.zeros(3), TypeError, r"key: got an array of shape \(3,\) and dtype float32, expected one typed key\."),
        (jax.random.split(KEY, 2), ValueError, r"key: got keys of shape \(2,\), expected one typed key\. .*jax\.vmap"),
    ],
)
def test_keys_that_are_none(name: str, key: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        initializers.get(name)(key, (2, 2))


@pytest.mark.parametrize(
    ("factory", "expected"),
    [(gaussian, r"stddev: got {}, expected a finite number >= 0"), (constant, r"c: got {}, expected a finite number")],
)
@pytest.mark.parametrize(
    ("value", "kind", "got"),
    [
        (jnp.nan, ValueError, "nan"),
        (np.inf, ValueError, "inf"),
        (-np.inf, ValueError, "-inf"),
        (1e39, ValueError, r"1e\+39, which is inf in float32"),
        (np.ones(2), ValueError, r"an array of shape \(2,\)"),
        ([0.1], TypeError, "a list of 1"),
        ("0.1", TypeError, r"'0\.1'"),
        (None, TypeError, "None"),
        (True, TypeError, "True"),
    ],
)
def test_numbers_that_are_none(factory: Any, expected: str, value: Any, kind: type[Exception], got: str) -> None:
    with pytest.raises(kind, match=expected.format(got)):
        factory(value)


def test_a_standard_deviation_is_not_negative() -> None:
    with pytest.raises(ValueError, match=r"stddev: got -0\.01, expected a finite number >= 0\."):
        gaussian(-0.01)
    np.testing.assert_array_equal(gaussian(0)(KEY, (3,)), np.zeros(3))


# By name -------------------------------------------------------------------------------------------------

LIST = (
    "gaussian, glorot_normal, glorot_uniform, he, he_normal, he_uniform, lecun_normal, normalized_xavier, xavier, zeros"
)


def test_a_name_stands_for_the_factory_with_its_defaults() -> None:
    for name, law in {**LAWS, "glorot_uniform": LAWS["normalized_xavier"], "he_normal": LAWS["he"]}.items():
        np.testing.assert_array_equal(initializers.get(name)(KEY, (6, 4)), law.make()(KEY, (6, 4)))
    assert initializers.get("zeros") is zeros
    assert initializers.get(zeros) is zeros

    def ones(key: Any, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        return jnp.ones(shape, dtype)

    assert initializers.get(ones) is ones


@pytest.mark.parametrize(
    ("name", "kind", "match"),
    [
        ("xavir", ValueError, rf"initializer: got 'xavir', expected one of {LIST}\. Did you mean 'xavier'\?$"),
        ("glorot", ValueError, r"initializer: got 'glorot', .* Did you mean 'glorot_normal' or 'glorot_uniform'\?$"),
        ("kaiming", ValueError, rf"initializer: got 'kaiming', expected one of {LIST}\.$"),
        (0.1, TypeError, r"initializer: got 0\.1, expected a function \(key, shape, dtype\) -> Array, or the name of"),
        (None, TypeError, r"initializer: got None, expected a function"),
        (initializers.he, TypeError, r"initializer: got the factory he, expected an initializer\. Call it: he\(\)\."),
        (gaussian, TypeError, r"initializer: got the factory gaussian, .* Call it: gaussian\(\)\."),
        (constant, TypeError, r"initializer: got the factory constant, .* Call it: constant\(c\)\."),
    ],
)
def test_what_is_no_initializer(name: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        initializers.get(name)
