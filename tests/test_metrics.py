"""Metrics: against scikit-learn and by enumeration, ties, NaN, batches, offsets, traces, refusals."""

from itertools import permutations
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from fnn.metrics import accuracy, confusion_matrix, r2, top_k_accuracy

NAN = jnp.nan
CLASSES = 4
# Few different numbers, so that many are equal.
tied = hnp.arrays(np.float32, (6, CLASSES), elements=st.sampled_from([-1e4, -1.0, 0.0, 1.0, np.inf, -np.inf]))
labels_of_6 = hnp.arrays(np.int32, 6, elements=st.integers(0, CLASSES - 1))
numbers = hnp.arrays(np.float32, (7, 2), elements=st.floats(-1000, 1000, width=32))


def _top_2(f: Any, y: Any) -> jax.Array:
    return top_k_accuracy(f, y, 2)


def _sample(n: int = 200, classes: int = 7) -> tuple[jax.Array, jax.Array]:
    f = jax.random.normal(jax.random.key(0), (n, classes))
    return f, jax.random.randint(jax.random.key(1), (n,), 0, classes)


# Against scikit-learn ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peer() -> Any:
    return pytest.importorskip("sklearn.metrics")


def test_accuracy_is_that_of_sklearn(peer: Any) -> None:
    f, y = _sample()
    right = accuracy(f, y)
    assert (right.shape, right.dtype) == ((200,), jnp.float32)
    np.testing.assert_array_equal(right, np.argmax(f, axis=-1) == y)
    np.testing.assert_allclose(right.mean(), peer.accuracy_score(y, np.argmax(f, axis=-1)), rtol=1e-6)


@pytest.mark.parametrize("k", range(1, 8))
def test_top_k_accuracy_is_that_of_sklearn(peer: Any, k: int) -> None:
    f, y = _sample()
    among = top_k_accuracy(f, y, k)
    assert (among.shape, among.dtype) == ((200,), jnp.float32)
    if k < 7:
        expected = peer.top_k_accuracy_score(y, f, k=k, labels=np.arange(7))
        np.testing.assert_allclose(among.mean(), expected, rtol=1e-6)
    else:
        assert among.all()


@pytest.mark.parametrize("only", [None, 0, 6])
def test_confusion_matrix_is_that_of_sklearn(peer: Any, only: int | None) -> None:
    f, y = _sample()
    y = y if only is None else jnp.full_like(y, only)
    predicted = jnp.argmax(f, axis=-1)
    expected = peer.confusion_matrix(y, predicted, labels=np.arange(7))
    for got in (confusion_matrix(f, y), confusion_matrix(predicted, y, classes=7)):
        assert got.dtype == jnp.int32
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3)])
def test_r2_is_that_of_sklearn(peer: Any, shape: tuple[int, ...]) -> None:
    y = 3 + jax.random.normal(jax.random.key(0), shape)
    y_hat = y + jax.random.normal(jax.random.key(1), shape)
    np.testing.assert_allclose(r2(y_hat, y), peer.r2_score(np.float64(y), np.float64(y_hat)), rtol=2e-6)


def test_r2_of_constant_targets_is_that_of_sklearn(peer: Any) -> None:
    same = jnp.full(7, 0.5)
    for y_hat in (same, same.at[0].set(0.25)):
        assert r2(y_hat, same) == peer.r2_score(same, y_hat)
    y = jnp.stack([same, jnp.arange(7.0)], axis=-1)
    y_hat = y.at[1].add(0.5)
    np.testing.assert_allclose(r2(y_hat, y), peer.r2_score(y, y_hat), rtol=1e-6)


def test_r2_of_constant_targets_whose_mean_is_rounded() -> None:
    # In float32 the mean of seven times 0.1 is not 0.1.
    same = jnp.full(7, 0.1)
    assert r2(same, same) == 1
    assert r2(same.at[0].set(0.2), same) == 0


# Accuracy ------------------------------------------------------------------------------------------------


def test_of_equal_outputs_the_first_is_predicted() -> None:
    f = jnp.array([[1.0, 1, 0], [0, 2, 2], [3, 3, 3]])
    for y, expected in [([0, 1, 0], [1, 1, 1]), ([1, 2, 2], [0, 0, 0])]:
        np.testing.assert_array_equal(accuracy(f, jnp.array(y)), expected)
    np.testing.assert_array_equal(confusion_matrix(f, jnp.array([2, 2, 2])), [[0, 0, 0], [0, 0, 0], [2, 1, 0]])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bool_, jnp.int32, jnp.uint8])
def test_two_classes_by_one_logit(dtype: Any) -> None:
    f, y = jnp.array([-2.0, -1e-6, 0, 1e-6, 0.7, NAN]), jnp.array([0, 1, 0, 1, 0, 0], dtype)
    # 0 itself is not above the threshold.
    np.testing.assert_array_equal(accuracy(f, y), [1, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(accuracy(f[:, None], y[:, None]), accuracy(f, y))
    np.testing.assert_array_equal(accuracy(f, y, threshold=0.7), [1, 0, 1, 0, 1, 0])
    by_threshold = jax.vmap(lambda t: accuracy(f, y, threshold=t))(jnp.array([0.0, 0.7]))
    np.testing.assert_array_equal(by_threshold[1], accuracy(f, y, threshold=0.7))


def test_one_logit_and_two_agree() -> None:
    f, y = jax.random.normal(jax.random.key(0), (50,)), jax.random.randint(jax.random.key(1), (50,), 0, 2)
    np.testing.assert_array_equal(accuracy(f, y), accuracy(jnp.stack([0 * f, f], axis=-1), y))


@pytest.mark.parametrize("metric", [accuracy, _top_2])
def test_middle_axes_are_averaged(metric: Any) -> None:
    f = jax.random.normal(jax.random.key(0), (6, 2, 5, 3))
    y = jax.random.randint(jax.random.key(1), (6, 2, 5), 0, 3)
    each = metric(f.reshape(-1, 3), y.ravel()).reshape(6, 10)
    np.testing.assert_allclose(metric(f, y), each.mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("metric", [accuracy, _top_2])
def test_nan_is_never_right(metric: Any) -> None:
    f = jnp.array([[NAN, 0, 1], [0, NAN, 1], [0, 1, NAN], [NAN, NAN, NAN]])
    for label in range(3):
        np.testing.assert_array_equal(metric(f, jnp.full(4, label)), [0, 0, 0, 0])


# Top k ---------------------------------------------------------------------------------------------------


def _by_lot(row: np.ndarray, label: int, k: int) -> float:
    """How often the label is among the k largest, over all orders in which ties may be broken."""
    orders = list(permutations(range(CLASSES)))
    return sum(label in sorted(order, key=lambda c: -row[c])[:k] for order in orders) / len(orders)


@settings(max_examples=40)
@given(tied, labels_of_6, st.integers(1, CLASSES))
def test_ties_count_as_if_broken_by_lot(f: np.ndarray, y: np.ndarray, k: int) -> None:
    expected = [_by_lot(row, label, k) for row, label in zip(f, y, strict=True)]
    np.testing.assert_allclose(top_k_accuracy(f, y, k), expected, rtol=1e-6)


@settings(max_examples=40)
@given(tied)
def test_of_k_guesses_k_are_among_the_k_largest(f: np.ndarray) -> None:
    for k in range(1, CLASSES + 1):
        every_label = sum(top_k_accuracy(f, np.full(6, label), k) for label in range(CLASSES))
        np.testing.assert_allclose(every_label, k, rtol=1e-6)


def test_k_is_5_unless_given() -> None:
    f, y = _sample()
    np.testing.assert_array_equal(top_k_accuracy(f, y), top_k_accuracy(f, y, 5))
    np.testing.assert_array_equal(top_k_accuracy(f, y, 1), accuracy(f, y))


# Confusion matrix ----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(tied, labels_of_6)
def test_the_matrices_of_batches_add_up(f: np.ndarray, y: np.ndarray) -> None:
    whole = confusion_matrix(f, y)
    np.testing.assert_array_equal(whole, confusion_matrix(f[:2], y[:2]) + confusion_matrix(f[2:], y[2:]))
    np.testing.assert_array_equal(whole.sum(axis=1), np.bincount(y, minlength=CLASSES))
    np.testing.assert_allclose(np.trace(whole), accuracy(f, y).sum(), rtol=1e-6)


def test_confusion_matrix_of_images_and_of_small_integers() -> None:
    f, y = _sample(24, 3)
    np.testing.assert_array_equal(confusion_matrix(f.reshape(4, 2, 3, 3), y.reshape(4, 2, 3)), confusion_matrix(f, y))
    small = y.astype(jnp.uint8)
    np.testing.assert_array_equal(confusion_matrix(small, small, classes=300)[:3, :3], np.diag(np.bincount(y)))


def test_under_a_trace_what_is_no_class_is_not_counted() -> None:
    count = jax.jit(lambda predicted, y: confusion_matrix(predicted, y, classes=3))
    # A negative index would count from the end.
    got = count(jnp.array([0, -1, 3, 2, 1]), jnp.array([0, 2, 0, -1, 1]))
    np.testing.assert_array_equal(got, np.diag([1, 1, 0]))
    f = jnp.array([[1.0, 0, 0], [NAN, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(jax.jit(confusion_matrix)(f, jnp.array([0, 1, 1])), np.diag([1, 1, 0]))


# R squared -----------------------------------------------------------------------------------------------


def test_r2_by_hand() -> None:
    y = jnp.array([1.0, 2, 3, 6])
    assert r2(y, y) == 1
    assert r2(jnp.full(4, 3.0), y) == 0
    # Errors 1, 1, 0, 2 against deviations -2, -1, 0, 3 from the mean.
    np.testing.assert_allclose(r2(jnp.array([2.0, 1, 3, 8]), y), 1 - 6 / 14, rtol=1e-6)
    np.testing.assert_allclose(r2(-y, y), 1 - 4 * 50 / 14, rtol=1e-6)


@given(numbers, numbers)
def test_r2_does_not_see_unit_and_offset(y: np.ndarray, y_hat: np.ndarray) -> None:
    # Whole numbers below 2^11 stay exact next to 2^20, and powers of two only move the exponent.
    y, y_hat = np.round(y), np.round(y_hat)
    here = r2(y_hat, y)
    assert np.isfinite(here)
    assert here <= 1
    for unit in (np.float32(2.0**60), np.float32(-(2.0**-60))):
        np.testing.assert_array_equal(r2(unit * y_hat, unit * y), here)
    offset = np.float32(2**20)
    np.testing.assert_array_equal(r2(y_hat + offset, y + offset), here)


def test_r2_of_low_precision_is_computed_in_float32() -> None:
    y = jnp.arange(256, dtype=jnp.bfloat16)
    got = r2(y.at[0].set(64), y)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, 1 - 64**2 / (256 * (256**2 - 1) / 12), rtol=1e-6)


@pytest.mark.parametrize("bad", [NAN, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize("y", [jnp.arange(4.0), jnp.ones(4)], ids=["varied", "constant"])
def test_r2_of_targets_that_are_not_finite_is_nan(bad: float, row: int, y: jax.Array) -> None:
    assert jnp.isnan(r2(y, y.at[row].set(bad)))


@pytest.mark.parametrize("y", [jnp.arange(4.0), jnp.ones(4)], ids=["varied", "constant"])
def test_r2_of_predictions_with_a_nan_is_nan(y: jax.Array) -> None:
    assert jnp.isnan(r2(y.at[2].set(NAN), y))


# Transformations and traces ------------------------------------------------------------------------------

F, Y = _sample(5, 3)
CALLS = [
    ("accuracy", accuracy, F, Y),
    ("binary", accuracy, F[:, 0], Y > 0),
    ("top_k_accuracy", _top_2, F, Y),
    ("confusion_matrix", confusion_matrix, F, Y),
    ("r2", r2, F, F[::-1]),
]
every_metric = pytest.mark.parametrize(("metric", "f", "y"), [call[1:] for call in CALLS], ids=[c[0] for c in CALLS])


@every_metric
def test_the_same_under_jit_and_vmap(metric: Any, f: jax.Array, y: jax.Array) -> None:
    value = metric(f, y)
    np.testing.assert_allclose(jax.jit(metric)(f, y), value, rtol=1e-6)
    many = jax.vmap(metric, (0, None))(jnp.stack([f, f[::-1]]), y)
    assert many.shape == (2, *value.shape)
    np.testing.assert_allclose(many[0], value, rtol=1e-6)
    np.testing.assert_array_equal(metric(np.float64(f), np.asarray(y)), value)


@pytest.mark.parametrize("metric", [accuracy, _top_2])
@pytest.mark.parametrize("label", [-1, 3])
def test_under_a_trace_a_label_out_of_range_makes_the_value_nan(metric: Any, label: int) -> None:
    wrong = Y.at[1].set(label)
    value = jax.jit(metric)(F, wrong)
    # Outputs that are NaN, and so not right, do not hide the label.
    for v in (value, jax.jit(metric)(F.at[1].set(NAN), wrong)):
        assert jnp.isnan(v[1])
    np.testing.assert_array_equal(jnp.delete(value, 1), jnp.delete(metric(F, Y), 1))


@pytest.mark.parametrize("label", [-1, 2, 0.5, NAN])
def test_under_a_trace_a_label_that_is_not_0_or_1_makes_the_value_nan(label: float) -> None:
    value = jax.jit(accuracy)(jnp.array([0.5, 0.5]), jnp.array([1, label]))
    np.testing.assert_array_equal(value, [1, NAN])


def test_no_example() -> None:
    for metric in (accuracy, _top_2):
        assert metric(F[:0], Y[:0]).shape == (0,)
    assert accuracy(F[:0, 0], Y[:0]).shape == (0,)
    np.testing.assert_array_equal(confusion_matrix(F[:0], Y[:0]), np.zeros((3, 3)))
