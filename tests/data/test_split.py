"""Cutting a set in two: exact shares, no example lost or doubled, fixed by the seed."""

import math
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnn.data import Dataset, split


def _data(y: Any) -> Dataset:
    """Examples whose x is their own row number."""
    rows: Any = np.arange(len(y))
    labels: Any = np.asarray(y)
    return Dataset(rows, labels)


@settings(max_examples=200)
@given(st.lists(st.integers(-2, 4), min_size=2, max_size=60), st.integers(1, 99), st.integers(0, 1000), st.booleans())
def test_shares_are_exact_and_no_example_is_lost(y: list[int], percent: int, seed: int, stratify: bool) -> None:
    share = percent / 100
    wanted = math.ceil(Fraction(percent, 100) * len(y))
    if wanted == len(y):
        with pytest.raises(ValueError, match=r"test_share: got .* expected less, so that some of \d+ examples train"):
            split(_data(y), test_share=share, seed=seed, stratify=stratify)
        return
    train, test = split(_data(y), test_share=share, seed=seed, stratify=stratify)
    assert len(test.x) == wanted
    assert sorted([*train.x, *test.x]) == list(range(len(y)))
    for part in (train, test):
        assert (np.diff(part.x) > 0).all()
        np.testing.assert_array_equal(part.y, np.asarray(y)[part.x])
    if stratify:
        for label in set(y):
            assert abs(int((test.y == label).sum()) - Fraction(percent, 100) * y.count(label)) < 1


@pytest.mark.parametrize(
    ("examples", "share", "wanted"), [(100, 0.07, 7), (1797, 0.2, 360), (10, 0.01, 1), (3, 0.34, 2)]
)
def test_the_number_of_test_examples_is_that_of_the_decimal(examples: int, share: float, wanted: int) -> None:
    assert len(split(_data(np.zeros(examples, int)), test_share=share, seed=0).test.x) == wanted
    assert len(split(_data(np.zeros(examples, int)), test_share=np.float32(share), seed=0).test.x) == wanted  # pyright: ignore[reportArgumentType]


def test_the_split_is_the_same_everywhere() -> None:
    test = split(_data([0, 1] * 10), test_share=0.3, seed=0).test
    assert test.x.tolist() == [2, 3, 8, 11, 13, 18]


def test_seeds_differ() -> None:
    data = _data([0] * 30 + [1] * 30)
    chosen = {tuple(split(data, test_share=0.5, seed=seed).test.x.tolist()) for seed in range(5)}
    assert len(chosen) == 5


def test_every_example_is_as_likely_as_another() -> None:
    y = [0] * 10 + [1] * 10
    times = np.zeros(20)
    for seed in range(2000):
        times[split(_data(y), test_share=0.3, seed=seed).test.x] += 1
    # Binomial(2000, 0.3) has a standard deviation of 20.5.
    assert (np.abs(times - 600) < 5 * 20.5).all()


def test_without_stratify_the_classes_fall_as_they_may() -> None:
    y = [0] * 50 + [1] * 50
    numbers = {int(split(_data(y), test_share=0.5, seed=s, stratify=False).test.y.sum()) for s in range(20)}
    assert len(numbers) > 3
    assert {int(split(_data(y), test_share=0.5, seed=s).test.y.sum()) for s in range(20)} == {25}


def test_targets_that_are_no_classes_are_cut_without_stratify() -> None:
    data = _data(np.arange(8.0).reshape(4, 2))
    train, test = split(data, test_share=0.5, seed=0, stratify=False)
    assert (train.y.shape, test.y.shape) == ((2, 2), (2, 2))


def test_the_kind_of_array_stays() -> None:
    data = _data([0, 0, 1, 1])
    on_device = jax.tree.map(jnp.asarray, data)
    assert isinstance(split(data, test_share=0.5, seed=0).train.x, np.ndarray)
    parts = split(on_device, test_share=0.5, seed=0)
    assert isinstance(parts.train.x, jax.Array)
    np.testing.assert_array_equal(parts.test.x, split(data, test_share=0.5, seed=0).test.x)


GOOD: dict[str, Any] = {"data": _data([0, 0, 1, 1]), "test_share": 0.5, "seed": 0, "stratify": True}


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        ({"test_share": 0.0}, ValueError, r"test_share: got 0\.0, expected a number in \(0, 1\)"),
        ({"test_share": 1.0}, ValueError, r"test_share: got 1\.0, expected a number in \(0, 1\)"),
        ({"test_share": float("nan")}, ValueError, r"test_share: got nan"),
        ({"test_share": "half"}, TypeError, r"test_share: got 'half', expected a number in \(0, 1\)"),
        ({"test_share": 0.9}, ValueError, r"test_share: got 0\.9, expected less, so that some of 4 examples train"),
        ({"seed": -1}, ValueError, r"seed: got -1, expected an integer >= 0"),
        ({"seed": 0.5}, TypeError, r"seed: got 0\.5, expected an integer"),
        ({"stratify": 1}, TypeError, r"stratify: got 1, expected True or False"),
        (
            {"data": _data([0.0, 1.0])},
            TypeError,
            r"data\.y: got dtype float64, expected known integers.*stratify=False",
        ),
        (
            {"data": _data([[0], [1]])},
            ValueError,
            r"data\.y: got shape \(2, 1\), expected shape \(n,\).*stratify=False",
        ),
        ({"data": np.ones(3)}, TypeError, r"data: got an array of shape .*, expected a Dataset"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        split(**(GOOD | wrong))


def test_traced_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match=r"test_share: got a traced number, expected a known one"):
        jax.jit(lambda share: split(GOOD["data"], test_share=share, seed=0))(0.5)
    with pytest.raises(TypeError, match=r"data\.y: got traced labels, expected known integers"):
        jax.jit(lambda y: split(Dataset(y, y), test_share=0.5, seed=0))(jnp.arange(4))
