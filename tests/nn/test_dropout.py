"""Dropout: the mean stays, the share is the rate, each key and each layer draws its own mask, evaluation is exact."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.nn import Layer, activation, dense, dropout, sequential, stateless

KEY = jax.random.key(0)
ONES = jnp.ones((400, 250))
RATES = [0.1, 0.25, 0.5, 0.9]


def _train(layer: Layer, x: Any, key: Any = KEY) -> jax.Array:
    y, state = layer.apply({}, {}, x, train=True, key=key)
    assert state == {}
    return y


def _within_chance(kept: Any, keep: float, n: int) -> bool:
    """Whether each count of n draws lies within 5 standard deviations; by chance one in 1.7 million does not."""
    return bool(np.all(np.abs(np.asarray(kept) - n * keep) <= 5 * np.sqrt(n * keep * (1 - keep))))


# The mask ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_a_unit_is_dropped_or_divided_by_the_share_that_stays(rate: float) -> None:
    x = jax.random.normal(KEY, (50, 40))
    y = _train(dropout(rate), x)
    kept = y != 0
    assert kept.any()
    assert not kept.all()
    exact = np.asarray(x, float) / (1 - float(np.float32(rate)))
    np.testing.assert_allclose(y[kept], exact[np.asarray(kept)], rtol=2e-7)


@pytest.mark.parametrize("rate", RATES)
def test_the_share_dropped_is_the_rate(rate: float) -> None:
    kept = np.asarray(_train(dropout(rate), ONES) != 0)
    n, d = kept.shape
    assert _within_chance(kept.sum(), 1 - rate, n * d)
    # In every example and for every unit: none has a mask in common.
    assert _within_chance(kept.sum(axis=0), 1 - rate, n)
    assert _within_chance(kept.sum(axis=1), 1 - rate, d)
    assert len(np.unique(kept, axis=0)) == n
    assert len(np.unique(kept, axis=1).T) == d


@pytest.mark.parametrize("rate", RATES)
def test_the_mean_stays(rate: float) -> None:
    # The mean over masks is x (1 - rate) / (1 - rate); here that of a count of the masks.
    y = np.asarray(_train(dropout(rate), ONES), float)
    assert _within_chance(y.sum() * (1 - rate), 1 - rate, y.size)


def test_neighbours_are_drawn_apart() -> None:
    kept = np.asarray(_train(dropout(0.5), ONES) != 0)
    for a, b in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1])):
        assert _within_chance((a == b).sum(), 0.5, a.size)


def test_each_key_has_its_mask() -> None:
    masks = [np.asarray(_train(dropout(0.5), ONES, jax.random.key(seed)) != 0) for seed in range(3)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert _within_chance((masks[a] == masks[b]).sum(), 0.5, ONES.size)
    np.testing.assert_array_equal(masks[0], _train(dropout(0.5), ONES, jax.random.key(0)) != 0)


@pytest.mark.parametrize(
    "network",
    [
        lambda between: sequential(dropout(0.5), between, dropout(0.5)),
        lambda between: sequential(sequential(dropout(0.5)), between, sequential(dropout(0.5))),
        lambda between: sequential(dropout(0.5), between, sequential(dropout(0.5))),
    ],
)
def test_each_layer_of_a_network_has_its_mask(network: Any) -> None:
    # 1 becomes 0 or 2, then 1 or 3, then 0 or 2 or 6: with one mask for both there would be no 2.
    y = np.asarray(_train(network(stateless("one_more", lambda x: x + 1)), ONES))
    assert set(np.unique(y)) == {0, 2, 6}
    for value, share in ((0, 0.5), (2, 0.25), (6, 0.25)):
        assert _within_chance((y == value).sum(), share, y.size)


def test_the_mask_is_the_same_in_value_and_gradient() -> None:
    x = jax.random.normal(KEY, (30, 20))
    y, pullback = jax.vjp(lambda x: _train(dropout(0.75), x), x)
    np.testing.assert_array_equal(pullback(jnp.ones_like(x))[0], np.where(y == 0, 0, 4))


def test_what_is_dropped_does_not_matter() -> None:
    kept = _train(dropout(0.5), ONES) != 0
    y = _train(dropout(0.5), jnp.where(kept, 1.0, jnp.nan))
    np.testing.assert_array_equal(y, 2.0 * kept)


# Mode, rate, dtype ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("key", [None, KEY])
def test_evaluation_is_the_identity(rate: float, key: Any) -> None:
    x = jax.random.normal(KEY, (5, 3))
    for options in ({}, {"train": False}):
        y, state = dropout(rate).apply({}, {"s": 1}, x, key=key, **options)
        np.testing.assert_array_equal(y, x)
        assert state == {"s": 1}


def test_rate_0_drops_nothing() -> None:
    x = jax.random.normal(KEY, (50, 40))
    np.testing.assert_array_equal(_train(dropout(0.0), x), x)


def test_a_traced_rate_is_the_same_rate() -> None:
    x = jax.random.normal(KEY, (50, 40))
    rates = jnp.array([0.0, *RATES])
    together = jax.vmap(lambda rate: _train(dropout(rate), x))(rates)
    for y, rate in zip(together, rates, strict=True):
        np.testing.assert_array_equal(y, _train(dropout(float(rate)), x))
        # XLA divides by one number as a product with its inverse, which rounds twice; the mask is the same.
        np.testing.assert_allclose(jax.jit(lambda rate: _train(dropout(rate), x))(rate), y, rtol=2e-7)


def test_examples_of_any_rank_or_none() -> None:
    for shape in ((4,), (2, 3, 4), (0, 3)):
        assert _train(dropout(0.5), jnp.ones(shape)).shape == shape


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_low_precision_is_divided_in_float32(dtype: Any) -> None:
    x = jax.random.normal(KEY, (50, 40), dtype)
    y = _train(dropout(0.1), x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, _train(dropout(0.1), x.astype(jnp.float32)).astype(dtype))


def test_float64() -> None:
    x = np.random.default_rng(0).normal(size=(50, 40))
    # NumPy's float64 is float32 unless x64 is on, with the same mask.
    narrow = _train(dropout(0.3), x)
    assert narrow.dtype == jnp.float32
    with jax.enable_x64(True):
        wide = _train(dropout(0.3), jnp.asarray(x))
        assert wide.dtype == jnp.float64
        np.testing.assert_allclose(wide, np.where(narrow == 0, 0, x / 0.7), rtol=1e-15)


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "error", "got"),
    [
        (1.0, ValueError, r"1\.0"),
        (1, ValueError, "1"),
        (1.5, ValueError, r"1\.5"),
        (-0.1, ValueError, r"-0\.1"),
        (np.nan, ValueError, "nan"),
        (np.inf, ValueError, "inf"),
        (jnp.float32(jnp.nan), ValueError, r"Array\(nan, dtype=float32\)"),
        (0.99999999, ValueError, "0.99999999, which is 1 in float32"),
        (True, TypeError, "True"),
        (None, TypeError, "None"),
        ("0.5", TypeError, "'0.5'"),
        (0.5j, TypeError, "0.5j"),
        (KEY, TypeError, r"Array\(\(\), dtype=key"),
        ([0.1, 0.2], TypeError, "a list of 2"),
        (jnp.array([0.1, 0.2]), ValueError, r"an array of shape \(2,\)"),
    ],
)
def test_what_is_no_rate(rate: Any, error: type[Exception], got: str) -> None:
    match = rf"(?s)^rate: got {got}.*, expected a number in \[0, 1\)\. It is the share dropped: 0\.5 drops half"
    with pytest.raises(error, match=match):
        dropout(rate)


def test_training_needs_a_key() -> None:
    net = sequential(dense(3), activation("relu"), dropout(0.5))
    params, state = net.init(KEY, ONES)
    match = (
        r"^key: got None, expected one typed key: dropout draws a mask in training\. "
        r"Give apply\(\.\.\., train=True, key=key\); for evaluation give train=False\."
    )
    for rate in (0.0, 0.5):
        with pytest.raises(ValueError, match=match):
            dropout(rate).apply({}, {}, ONES, train=True)
    with pytest.raises(ValueError, match=match):
        jax.jit(lambda p, x: net.apply(p, state, x, train=True))(params, ONES)


def test_one_typed_key() -> None:
    layer = dropout(0.5)
    with pytest.raises(TypeError, match=r"^key: got a legacy uint32 key, expected one typed key\. .* wrap this one"):
        layer.apply({}, {}, ONES, train=True, key=jax.random.key_data(KEY))
    with pytest.raises(ValueError, match=r"^key: got keys of shape \(2,\), expected one typed key\. For many keys, v"):
        layer.apply({}, {}, ONES, train=True, key=jax.random.split(KEY))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("x", [[[1.0]], jnp.ones((2, 2), int)])
def test_what_is_no_array_of_floats(x: Any, train: bool) -> None:
    with pytest.raises(
        TypeError, match=r"^x: got (a list of 1|dtype int32), expected (an array|floating-point numbers)\."
    ):
        dropout(0.5).apply({}, {}, x, train=train, key=KEY)
