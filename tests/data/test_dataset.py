"""What passes as a set of examples, and what is refused with which words."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.data import Dataset, Splits, WeightedBatch, check_dataset

X: Any = np.ones((3, 2), np.float32)
Y: Any = np.arange(3)


def _with(x: np.ndarray, index: Any, value: float) -> np.ndarray:
    x = x.copy()
    x[index] = value
    return x


@pytest.mark.parametrize("pair", [(X, Y), Dataset(X, Y), (jnp.asarray(X), Y)])
def test_a_pair_of_arrays_becomes_a_dataset(pair: Any) -> None:
    data = check_dataset(pair)
    assert isinstance(data, Dataset)
    assert data.x is pair[0]
    assert data.y is pair[1]


@pytest.mark.parametrize("x", [np.arange(3), np.array([True, False, True]), np.arange(3, dtype=np.uint8)])
def test_whole_numbers_pass(x: np.ndarray) -> None:
    assert check_dataset((x, Y)).x is x


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        ([X, Y], TypeError, r"data: got a list, expected a Dataset of examples. Make one: fnn.data.Dataset"),
        (X, TypeError, r"data: got an array of shape .*, expected a Dataset"),
        ((X, Y, Y), TypeError, r"data: got a tuple, expected a Dataset"),
        (WeightedBatch(X, Y, Y), TypeError, r"data: got a WeightedBatch, expected a Dataset"),
        (([[1.0], [2.0]], Y), TypeError, r"data\.x: got a list of 2, expected an array. Convert it: jnp\.asarray"),
        ((X, [0, 1, 2]), TypeError, r"data\.y: got a list of 3, expected an array"),
        ((np.float32(1), Y), ValueError, r"data\.x: got a scalar, expected an array whose leading axis counts"),
        ((X, jnp.array(1)), ValueError, r"data\.y: got a scalar"),
        ((X, Y[:2]), ValueError, r"data: got 3 examples in x and 2 targets in y, expected as many targets"),
        ((X[:0], Y[:0]), ValueError, r"data: got no examples, expected at least one"),
        ((_with(X, (1, 0), np.nan), Y), ValueError, r"data\.x: got nan at row 1, index \(1, 0\) \(1 bad row\)"),
        (
            (_with(X, np.s_[1:, 1], -np.inf), Y),
            ValueError,
            r"data\.x: got -inf at row 1, index \(1, 1\) \(2 bad rows\)",
        ),
        ((np.array([["a"], ["b"], ["c"]], object), Y), TypeError, r"data\.x: got dtype object, expected numbers"),
        ((X, np.array(["a", "b", "c"])), TypeError, r"data\.y: got dtype <U1, expected numbers\. Make them numbers"),
        (Splits(Dataset(jnp.asarray(X), Y), Dataset(X, Y)), TypeError, r"data: got Splits, .* \.train or \.test"),
        # What float32 and int32 would silently make of them: infinity, and class 1.
        ((_with(X.astype(float), (1, 0), 1e39), Y), ValueError, r"data\.x: got 1e\+39 at row 1.* numbers that float32"),
        ((X, np.array([0, 2**32 + 1, 1])), ValueError, r"data\.y: got 4294967297 at row 1 .* numbers that int32 holds"),
        ((X, _with(Y.astype(float), 2, np.nan)), ValueError, r"data\.y: got nan at row 2"),
        ((jnp.asarray(_with(X, (2, 1), np.inf)), Y), ValueError, r"data\.x: got inf at row 2"),
    ],
)
def test_what_is_no_set_of_examples_is_refused(data: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        check_dataset(data)


def test_the_message_calls_it_by_the_callers_name() -> None:
    with pytest.raises(ValueError, match=r"^validation: got no examples"):
        check_dataset((X[:0], Y[:0]), "validation")
    with pytest.raises(ValueError, match=r"^validation\.x: got nan"):
        check_dataset((X * np.nan, Y), "validation")


def test_shapes_are_checked_and_values_left_alone_under_a_trace() -> None:
    assert jax.jit(lambda x, y: check_dataset((x, y)).x.sum())(X * np.nan, Y).shape == ()
    with pytest.raises(ValueError, match="3 examples in x and 2 targets"):
        jax.jit(lambda x, y: check_dataset((x, y)))(X, Y[:2])


def test_sets_are_pytrees() -> None:
    splits = Splits(Dataset(X, Y), Dataset(X[:1], Y[:1]))
    halved = jax.tree.map(lambda a: a[:1], splits)
    assert isinstance(halved.train, Dataset)
    assert halved.train.x.shape == (1, 2)
