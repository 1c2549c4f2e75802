"""The permutation without a sort: it is one, and its statistics are those of random permutations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fnn.data import permutation
from fnn.data.shuffle import _walked

KEY = jax.random.key(0)
MANY = 20_000
N = 65


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Many permutations of N, a row each, from keys that follow each other as those of epochs do."""
    keys = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(MANY))
    return np.asarray(jax.jit(jax.vmap(lambda key: permutation(key, N)))(keys))


@pytest.mark.parametrize("n", [1, 2, 3, 63, 64, 65, 81, 1437, 4097, 65_536, 200_003])
def test_every_number_comes_once(n: int) -> None:
    order = np.asarray(permutation(KEY, n))
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


@pytest.mark.parametrize("n", [10, 1437])
def test_it_is_the_same_in_float64(n: int) -> None:
    with jax.enable_x64(True):
        order = permutation(KEY, n)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(order, permutation(KEY, n))


def test_it_is_a_function_of_the_key_alone() -> None:
    alone = permutation(jax.random.key(3), 1000)
    np.testing.assert_array_equal(alone, jax.jit(lambda key: permutation(key, 1000))(jax.random.key(3)))
    together = jax.vmap(lambda key: permutation(key, 1000))(jax.random.split(KEY, 3))
    for row, key in zip(together, jax.random.split(KEY, 3), strict=True):
        np.testing.assert_array_equal(row, permutation(key, 1000))
    assert not np.array_equal(alone, together[0])


@pytest.mark.parametrize("many", [1, 2, 3, 7, 8, 9, 38])
def test_numbers_beyond_are_followed_to_the_end(many: int) -> None:
    """Of any permutation of n + many, and of the one whose single walk is as long as can be."""
    n, rng = 40, np.random.default_rng(many)
    longest = np.concatenate([[n], np.arange(1, n), np.arange(n + 1, n + many), [0]])
    for whole in [longest, *(rng.permutation(n + many) for _ in range(50))]:
        expected = whole[:n].copy()
        while (expected >= n).any():
            expected = np.where(expected < n, expected, whole[expected])
        got = _walked(jnp.asarray(whole[:n], jnp.int32), jnp.asarray(whole[n:], jnp.int32))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("n", [1408, 4096])
def test_it_asks_no_loop_when_to_end(n: int) -> None:
    """On a GPU a loop whose end depends on numbers waits for the host at each turn."""
    text = str(jax.make_jaxpr(jax.vmap(lambda key: permutation(key, n)))(jax.random.split(KEY, 3)))
    assert "while[" not in text


def _p_value(counts: np.ndarray) -> float:
    return stats.chisquare(counts.ravel()).pvalue


def test_each_number_is_as_often_in_each_position(drawn: np.ndarray) -> None:
    counts = np.stack([np.bincount(column, minlength=N) for column in drawn.T])
    assert _p_value(counts) > 0.001


@pytest.mark.parametrize("distance", [1, 2, 8, 9])
def test_neighbours_are_independent(drawn: np.ndarray, distance: int) -> None:
    gaps = (drawn[:, distance:] - drawn[:, :-distance]) % N
    assert _p_value(np.bincount(gaps.ravel(), minlength=N)[1:]) > 0.001


def test_permutations_of_keys_that_follow_each_other_are_independent(drawn: np.ndarray) -> None:
    gaps = (drawn[1:] - drawn[:-1]) % N
    assert _p_value(np.bincount(gaps.ravel(), minlength=N)) > 0.001


def test_any_two_examples_meet_in_a_batch_equally_often(drawn: np.ndarray) -> None:
    batch = np.argsort(drawn, axis=1) // 5  # 13 batches of 5
    met = np.array([(batch[:, :-k] == batch[:, k:]).mean() for k in (1, 2, 8, 9, 30)])
    pairs = np.array([MANY * (N - k) for k in (1, 2, 8, 9, 30)])
    chance = 4 / (N - 1)
    assert np.abs((met - chance) / np.sqrt(chance * (1 - chance) / pairs)).max() < 4


def test_fixed_points_are_as_many_as_chance_gives(drawn: np.ndarray) -> None:
    counts = np.bincount(np.minimum((drawn == np.arange(N)).sum(axis=1), 5), minlength=6)
    expected = stats.poisson.pmf(np.arange(5), 1)
    assert stats.chisquare(counts, MANY * np.append(expected, 1 - expected.sum())).pvalue > 0.001


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((KEY, 0), ValueError, "^n: got 0, expected an integer >= 1"),
        ((KEY, 10.0), TypeError, "^n: got 10.0, expected an integer >= 1"),
        ((0, 10), TypeError, "^key: got 0, expected one typed key"),
    ],
)
def test_refusals(arguments: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        permutation(*arguments)
