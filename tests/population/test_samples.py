"""Grids are products, samples follow their distributions."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fnn.population import choice, grid, log_uniform, sample, uniform

KEY = jax.random.key(0)
NUMBER: Any = 0.1
LIST: Any = [1, 2]


def test_grid_is_the_product_in_order() -> None:
    hparams = grid(a=[0.1, 0.2], b=np.array([1, 2, 3]), c=[True, False])
    rows = list(zip(*(np.asarray(hparams[name]).tolist() for name in "abc"), strict=True))
    assert rows == [(np.float32(a), b, c) for a, b, c in itertools.product([0.1, 0.2], [1, 2, 3], [True, False])]
    assert hparams["a"].dtype == jnp.float32
    assert hparams["b"].dtype == jnp.int32


def test_grid_keeps_vectors_whole() -> None:
    assert grid(pair=[[1, 2], [3, 4]], x=[5])["pair"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("distribution", "cdf"),
    [
        (uniform(-1.0, 3.0), stats.uniform(-1, 4).cdf),
        (log_uniform(1e-5, 1e-1), stats.loguniform(1e-5, 1e-1).cdf),
    ],
    ids=["uniform", "log_uniform"],
)
def test_draws_follow_the_distribution(distribution: Any, cdf: Any) -> None:
    draws = np.asarray(distribution(KEY, 20_000), np.float64)
    assert stats.kstest(draws, cdf).pvalue > 0.01


def test_draws_stay_in_the_interval() -> None:
    draws = log_uniform(1e-3, 1.0001e-3)(KEY, 10_000)
    assert float(draws.min()) >= np.float32(1e-3)
    assert float(draws.max()) <= np.float32(1.0001e-3)


def test_choice_takes_each_value_alike() -> None:
    values, counts = np.unique(choice([16, 32, 64])(KEY, 9_000), return_counts=True)
    assert values.tolist() == [16, 32, 64]
    assert stats.chisquare(counts).pvalue > 0.01


def test_choice_of_rows() -> None:
    assert choice(np.array([[1, 2], [3, 4]]))(KEY, 5).shape == (5, 2)


def test_a_name_draws_the_same_whatever_stands_beside_it() -> None:
    alone = sample(KEY, 5, rate=uniform(0.0, 1.0))
    among = sample(KEY, 5, other=uniform(0.0, 1.0), rate=uniform(0.0, 1.0))
    np.testing.assert_array_equal(alone["rate"], among["rate"])
    assert not np.array_equal(among["rate"], among["other"])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: grid(), ValueError, r"^grid: got nothing, expected values by name\. Such as learning_rate"),
        (lambda: grid(a=[]), ValueError, "^a: got no values, expected at least one"),
        (
            lambda: grid(a=NUMBER),
            TypeError,
            r"^a: got 0\.1, expected a list of values\. For a single",
        ),
        (lambda: grid(a=["relu"]), TypeError, "^a: got values such as .*'relu'.*, expected numbers.*loop over it"),
        (lambda: grid(a=[[1], [1, 2]]), ValueError, "^a: got values of several shapes, expected a list of numbers"),
        (lambda: choice([]), ValueError, "^values: got no values, expected at least one"),
        (lambda: uniform(1.0, 1.0), ValueError, r"^high: got 1\.0, expected a number above low, 1\.0\."),
        (lambda: uniform(float("nan"), 1.0), ValueError, "^low: got nan, expected a finite number"),
        (lambda: log_uniform(0.0, 1.0), ValueError, r"^low: got 0\.0, expected a finite number > 0\. Its logarithm"),
        (lambda: log_uniform(1.0, 0.5), ValueError, "^high: got 0.5, expected a number above low"),
        (lambda: sample(KEY, 5), ValueError, "^sample: got nothing, expected distributions by name"),
        (lambda: sample(KEY, 0, a=uniform(0, 1)), ValueError, "^n: got 0, expected an integer >= 1"),
        (lambda: sample(KEY, 5, a=LIST), TypeError, r"^a: got a list of 2, expected a distribution\. Of values"),
        (lambda: sample(NUMBER, 5, a=uniform(0, 1)), TypeError, "^key: got 0.1, expected one typed key"),
        (lambda: sample(KEY, 5, a=lambda key, n: jnp.zeros(3)), ValueError, r"^result of a: got shape \(3,\)"),
    ],
)
def test_refusals(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
