"""Metrics: how good the outputs are, in numbers for people.

`accuracy` and `top_k_accuracy` return one value per example, in float32, and the caller takes the mean; the
losses may serve as metrics too. `confusion_matrix` and `r2` look at a whole set at once: call them on all
outputs, since no mean over batches equals them. A label out of range is refused where it is known, and under
a trace makes the example's value NaN.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn import targets as given
from fnn.errors import check_array, check_count, check_labels, check_scalar, check_values, is_zero, message
from fnn.typing import Array, Scalar


def accuracy(outputs: ArrayLike, labels: ArrayLike, *, threshold: Scalar = 0.0) -> Array:
    """Whether the predicted class is the label, `[argmax_c f_c = y]`: 1 or 0.

    Outputs of the same shape as the labels, (n,) or (n, 1), are logits of the positive class: it is
    predicted where `f > threshold`. Of equal largest outputs the first is taken; NaN is never right.

    Args:
        outputs: f, (n, ..., classes), or (n,) or (n, 1) for two classes.
        labels: y, integers (n, ...); for two classes 0 or 1 of any dtype, in the shape of the outputs.
        threshold: for two classes only; 0 for logits, 0.5 for probabilities.

    Returns:
        (n,), the mean over the axes between the first and the last.

    Raises:
        TypeError, ValueError: shapes or dtypes that do not fit; a label out of range.

    Example:
        >>> accuracy(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1]))
        Array([1., 0.], dtype=float32)
        >>> accuracy(jnp.array([-1.5, 0.3]), jnp.array([0, 1]))
        Array([1., 1.], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 5.1.2.
    """
    check_scalar("threshold", threshold)
    if np.ndim(outputs) < 2 or (np.shape(outputs) == np.shape(labels) and np.shape(outputs)[1:] == (1,)):
        return _binary_accuracy(outputs, labels, threshold)
    if not is_zero(threshold):
        remedy = "Leave it out: the class of the largest output is predicted."
        raise ValueError(message("threshold", threshold, "outputs of two classes, (n,) or (n, 1)", remedy))
    f = given.class_outputs("outputs", outputs)
    y = given.one_hot(labels, f)
    predicted = jnp.argmax(f, axis=-1, keepdims=True) == jnp.arange(f.shape[-1])
    return _mean(jnp.sum(jnp.where(predicted & ~_nan_row(f), y, 0 * y), axis=-1))


def top_k_accuracy(outputs: ArrayLike, labels: ArrayLike, k: int = 5) -> Array:
    """Whether the label is among the k largest outputs; ties count by their share.

    With r outputs larger than the label's and t equal to it, itself included, it is
    `min(1, max(0, k - r) / t)`: the probability that the label is among the k when ties are broken by lot.
    So outputs that are all equal score k / classes. NaN is never right.

    Args:
        outputs: f, (n, ..., classes).
        labels: y, integers (n, ...).
        k: from 1 to the number of classes.

    Returns:
        (n,), the mean over the axes between the first and the last.

    Raises:
        TypeError, ValueError: shapes or dtypes that do not fit; a label out of range; k above the classes.

    Example:
        >>> top_k_accuracy(jnp.array([[3.0, 2.0, 1.0], [0.0, 0.0, 0.0]]), jnp.array([1, 2]), k=2)
        Array([1.       , 0.6666667], dtype=float32)

    Source: Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge", section 4.1.
    """
    check_count("k", k)
    f = given.class_outputs("outputs", outputs)
    if k > f.shape[-1]:
        raise ValueError(message("k", k, f"at most the number of classes, {f.shape[-1]}"))
    y = given.one_hot(labels, f)
    f_y = jnp.sum(jnp.where(y == 1, f, 0), axis=-1, keepdims=True)
    r = jnp.sum(f > f_y, axis=-1)
    t = jnp.sum(f == f_y, axis=-1)
    share = jnp.clip((k - r) / jnp.maximum(t, 1), 0, 1)
    return _mean(jnp.where(_nan_row(f)[..., 0], 0, share) + 0 * jnp.sum(y, axis=-1))


def confusion_matrix(outputs: ArrayLike, labels: ArrayLike, *, classes: int | None = None) -> Array:
    """How often which class was taken for which, `C[i, j] = #{examples of class i predicted as j}`.

    A metric of a whole set. The matrices of batches add up to that of their union. Outputs with a NaN
    predict nothing: they are refused where they are known, and not counted under a trace.

    Args:
        outputs: floating (n, ..., classes), the largest is predicted; or integer predictions (n, ...).
        labels: integers (n, ...).
        classes: the number of classes; needed with integer predictions.

    Returns:
        (classes, classes), int32: rows are true classes, columns predicted ones.

    Raises:
        TypeError, ValueError: shapes or dtypes that do not fit; a label or prediction out of range.

    Example:
        >>> confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 1, 0]), classes=2)
        Array([[1, 1],
               [0, 1]], dtype=int32)

    Source: Hastie et al. 2009, "The elements of statistical learning", section 9.2.5.
    """
    check_array("outputs", outputs)
    if classes is not None:
        check_count("classes", classes, 2)
    counted: Any = True
    if not jnp.issubdtype(jnp.asarray(outputs).dtype, jnp.floating):
        if classes is None:
            raise ValueError(message("classes", None, "the number of classes", "Predictions alone do not tell it."))
        predicted = outputs
        check_labels("outputs", predicted, classes, np.shape(outputs))
    else:
        f = given.class_outputs("outputs", outputs)
        if classes not in (None, f.shape[-1]):
            raise ValueError(message("classes", classes, f"the size of the last axis of outputs, {f.shape[-1]}"))
        classes = f.shape[-1]
        check_values("outputs", outputs, lambda known: known == known, "no NaN", "Find where the first came from.")
        predicted, counted = jnp.argmax(f, axis=-1), ~_nan_row(f)[..., 0]
    check_labels("labels", labels, classes, np.shape(predicted))
    (i, known), (j, possible) = given.integers(labels, classes), given.integers(predicted, classes)
    counted = (counted & known & possible).astype(jnp.int32)
    return jnp.zeros((classes, classes), jnp.int32).at[i, j].add(counted)


def r2(predictions: ArrayLike, targets: ArrayLike) -> Array:
    """The coefficient of determination, `R^2 = 1 - sum_i (y_i - y_hat_i)^2 / sum_i (y_i - y_mean)^2`.

    A metric of a whole set. 1 is a perfect fit and 0 no better than the mean. Where all targets are equal
    the quotient is undefined: then, as in scikit-learn, 1 for a perfect fit and else 0. The mean is taken
    first and the squares after it, so that a large offset of the targets costs no digits.

    Args:
        predictions: y_hat, (n,) or (n, d, ...).
        targets: y, floating, the same shape.

    Returns:
        A scalar, the mean over the outputs d.

    Raises:
        TypeError, ValueError: integer targets; shapes that differ; no example.

    Example:
        >>> r2(jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 2.0, 3.0]))
        Array(0.5, dtype=float32)

    Source: Wright 1921, "Correlation and causation", Journal of Agricultural Research 20.
    """
    y_hat, y = given.regression(predictions, targets)
    if not len(y):
        raise ValueError(message("targets", f"shape {y.shape}", "at least one example"))
    # Equal targets leave exact zeros when one of them is subtracted first.
    deviation = y - y[0]
    deviation = deviation - jnp.mean(deviation, axis=0)
    unit = jnp.max(jnp.abs(deviation), axis=0)
    varies = unit != 0  # so is NaN, which an infinite target leaves
    unit = jnp.where(varies, unit, 1)
    sse = jnp.sum(jnp.square((y - y_hat) / unit), axis=0)
    sst = jnp.sum(jnp.square(deviation / unit), axis=0)
    constant = jnp.where(jnp.isnan(sse), sse, (sse == 0).astype(y.dtype))
    return jnp.mean(jnp.where(varies, 1 - sse / jnp.where(varies, sst, 1), constant))


def _binary_accuracy(outputs: Any, labels: Any, threshold: Scalar) -> Array:
    f, y = given.binary("outputs", outputs, labels)
    check_values("labels", labels, lambda known: (known == 0) | (known == 1), "labels 0 and 1")
    right = ((f > jnp.asarray(threshold, f.dtype)) == (y == 1)) & ~jnp.isnan(f)
    return _mean(jnp.where((y == 0) | (y == 1), right.astype(jnp.float32), jnp.nan))


def _nan_row(f: Array) -> Array:
    return jnp.any(jnp.isnan(f), axis=-1, keepdims=True)


def _mean(values: Array) -> Array:
    """Over all axes but that of the examples, in float32."""
    return jnp.mean(values.astype(jnp.float32), axis=tuple(range(1, values.ndim)))
