"""What metrics refuse, each with its message."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.metrics import accuracy, confusion_matrix, r2, top_k_accuracy

F, Y = jnp.zeros((4, 3)), jnp.array([0, 1, 2, 0])


def _top_2(f: Any, y: Any) -> jax.Array:
    return top_k_accuracy(f, y, 2)


@pytest.mark.parametrize("metric", [accuracy, _top_2, confusion_matrix])
@pytest.mark.parametrize(
    ("outputs", "labels", "kind", "match"),
    [
        (F, Y.at[2].set(3), ValueError, r"labels: got 3 at row 2 \(1 bad row\), expected integer labels in \[0, 3\)"),
        (F, Y.at[:2].set(-1), ValueError, r"labels: got -1 at row 0 \(2 bad rows\).*count from 0"),
        (F, Y.astype(float), TypeError, r"labels: got dtype float32, expected integer.*labels\.astype\(int\)"),
        (F, Y > 0, TypeError, r"labels: got dtype bool, expected integer labels\. Cast it: labels\.astype\(int\)"),
        (F, Y[:, None], ValueError, r"labels: got shape \(4, 1\), expected shape \(4,\)\. Take .* labels\[:, 0\]"),
        (F, jnp.eye(4, 3, dtype=int), ValueError, r"labels: got shape \(4, 3\).*labels\.argmax\(axis=-1\)"),
        (F, Y[:3], ValueError, r"labels: got shape \(3,\), expected shape \(4,\)\. Give one label an example\."),
        (F, [0, 1, 2, 0], TypeError, r"labels: got a list of 4, expected an array"),
        (
            F.tolist(),
            Y,
            TypeError,
            r"outputs: got a list of 4, expected an array\. Convert it: jnp\.asarray\(outputs\)",
        ),
        (F[:, :1], Y, ValueError, r"outputs: got shape \(4, 1\), expected .* at least 2 classes\. .*outputs\[:, 0\]"),
    ],
)
def test_classes_that_do_not_fit(metric: Any, outputs: Any, labels: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        metric(outputs, labels)


@pytest.mark.parametrize("metric", [accuracy, _top_2, confusion_matrix])
def test_shapes_are_checked_under_a_trace_too(metric: Any) -> None:
    with pytest.raises(ValueError, match=r"labels: got shape \(4, 1\), expected shape \(4,\)"):
        jax.jit(metric)(F, Y[:, None])


@pytest.mark.parametrize("metric", [accuracy, _top_2])
def test_integer_outputs_are_no_scores(metric: Any) -> None:
    with pytest.raises(TypeError, match=r"outputs: got dtype int32, expected floating-point numbers\. Cast it"):
        metric(F.astype(int), Y)


@pytest.mark.parametrize("metric", [_top_2, confusion_matrix])
def test_one_score_is_no_class(metric: Any) -> None:
    with pytest.raises(
        ValueError, match=r"outputs: got shape \(4,\), expected \(n, \.\.\., classes\)\. One example: add"
    ):
        metric(F[:, 0], Y)


@pytest.mark.parametrize(
    ("outputs", "labels", "match"),
    [
        (F[:, 0], Y, r"labels: got 2 at row 2 \(1 bad row\), expected labels in \[0, 1\]\."),
        (F[:, 0], Y - 1, r"labels: got -1 at row 0 \(2 bad rows\), expected labels in \[0, 1\]\."),
        (F[:, 0], jnp.full(4, 0.5), r"labels: got 0\.5 at row 0 \(4 bad rows\), expected labels 0 and 1\."),
        (F[:, 0], (Y > 0)[:, None], r"labels: got shape \(4, 1\) against outputs of shape \(4,\).*labels\[:, 0\]"),
        (F[0, 0], Y[0], r"outputs: got shape \(\), expected \(n,\)"),
    ],
)
def test_two_classes_that_do_not_fit(outputs: Any, labels: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        accuracy(outputs, labels)


@pytest.mark.parametrize(
    ("threshold", "kind", "match"),
    [
        (jnp.nan, ValueError, r"threshold: got nan, expected a finite number\."),
        (jnp.zeros(2), ValueError, r"threshold: got an array of shape \(2,\), expected a finite number\."),
        ("0", TypeError, r"threshold: got '0', expected a finite number\."),
        (None, TypeError, r"threshold: got None, expected a finite number\."),
    ],
)
def test_the_threshold_is_a_number(threshold: Any, kind: type[Exception], match: str) -> None:
    for f, y in ((F, Y), (F[:, 0], Y > 0)):
        with pytest.raises(kind, match=match):
            accuracy(f, y, threshold=threshold)


def test_many_classes_have_no_threshold() -> None:
    match = r"threshold: got 0\.5, expected outputs of two classes, \(n,\) or \(n, 1\)\. Leave it out"
    with pytest.raises(ValueError, match=match):
        accuracy(F, Y, threshold=0.5)


@pytest.mark.parametrize(
    ("k", "kind", "match"),
    [
        (0, ValueError, r"k: got 0, expected an integer >= 1\."),
        (-1, ValueError, r"k: got -1, expected an integer >= 1\."),
        (4, ValueError, r"k: got 4, expected at most the number of classes, 3\."),
        (2.0, TypeError, r"k: got 2\.0, expected an integer >= 1\."),
        (True, TypeError, r"k: got True, expected an integer >= 1\."),
        (None, TypeError, r"k: got None, expected an integer >= 1\."),
    ],
)
def test_k_is_a_number_of_classes(k: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        top_k_accuracy(F, Y, k)


@pytest.mark.parametrize(
    ("predicted", "labels", "classes", "kind", "match"),
    [
        (Y, Y, None, ValueError, r"classes: got None, expected the number of classes\. Predictions alone"),
        (Y, Y, 1, ValueError, r"classes: got 1, expected an integer >= 2\."),
        (Y, Y, 3.0, TypeError, r"classes: got 3\.0, expected an integer >= 2\."),
        (F, Y, 4, ValueError, r"classes: got 4, expected the size of the last axis of outputs, 3\."),
        (Y, Y, 2, ValueError, r"outputs: got 2 at row 2 \(1 bad row\), expected integer labels in \[0, 2\)"),
        (Y.at[1].set(-1), Y, 3, ValueError, r"outputs: got -1 at row 1 \(1 bad row\)"),
        (Y, Y.at[1].set(3), 3, ValueError, r"labels: got 3 at row 1 \(1 bad row\)"),
        (Y, Y[:, None], 3, ValueError, r"labels: got shape \(4, 1\), expected shape \(4,\)"),
        (Y, Y.astype(float), 3, TypeError, r"labels: got dtype float32, expected integer labels"),
        (Y > 0, Y, 3, TypeError, r"outputs: got dtype bool, expected integer labels\. Cast it: outputs\.astype\(int\)"),
        (F.at[1, 2].set(jnp.nan), Y, None, ValueError, r"outputs: got nan at row 1, index \(1, 2\).*expected no NaN"),
    ],
)
def test_what_cannot_be_counted(predicted: Any, labels: Any, classes: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        confusion_matrix(predicted, labels, classes=classes)


N = jnp.arange(4.0)


@pytest.mark.parametrize(
    ("predictions", "targets", "kind", "match"),
    [
        (
            N[:, None],
            N,
            ValueError,
            r"targets: got shape \(4,\) against predictions of shape \(4, 1\).*predictions\[:, 0\]",
        ),
        (
            N,
            N[:, None],
            ValueError,
            r"targets: got shape \(4, 1\) against predictions of shape \(4,\).*targets\[:, 0\]",
        ),
        (N, N[:3], ValueError, r"targets: got shape \(3,\) against predictions of shape \(4,\), expected one shape"),
        (N, jnp.arange(4), TypeError, r"targets: got dtype int32, expected floating-point numbers\. Numbers to"),
        (jnp.arange(4), N, TypeError, r"predictions: got dtype int32, expected floating-point numbers\. Cast it"),
        (N.tolist(), N, TypeError, r"predictions: got a list of 4, expected an array"),
        (N, N.tolist(), TypeError, r"targets: got a list of 4, expected an array"),
        (N[0], N[0], ValueError, r"predictions: got shape \(\), expected \(n,\) or \(n, d, \.\.\.\)"),
        (np.zeros((4, 0)), np.zeros((4, 0)), ValueError, r"predictions: got shape \(4, 0\), expected"),
        (N[:0], N[:0], ValueError, r"targets: got shape \(0,\), expected at least one example\."),
    ],
)
def test_numbers_that_do_not_fit(predictions: Any, targets: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        r2(predictions, targets)
