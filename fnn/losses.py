"""Losses: one value per example; the caller reduces.

Outputs and targets of shape (n,) or (n, d, ...) give (n,): the elementwise losses average over all axes but
the first, the losses of classes over those between the first and the last. The mean over examples is then
PyTorch's `reduction="mean"`. Nothing broadcasts: (n, 1) against (n,) is an error.

They are computed in float32, or in the outputs' dtype where that is wider. A finite input has a finite value
and gradient, where the true ones can be represented; at its kink a loss has subgradient 0. A value without
meaning, such as a label out of range, is refused where it is known; under a trace it makes the loss NaN.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from fnn import targets as given
from fnn.errors import check_scalar, is_zero
from fnn.typing import Array, Scalar


def squared_error(predictions: ArrayLike, targets: ArrayLike) -> Array:
    """The squared error, `L = (y_hat - y)^2`, without a factor 1/2.

    Args:
        predictions: y_hat, (n,) or (n, d, ...).
        targets: y, floating, the same shape.

    Returns:
        (n,), in the unit of the targets squared.

    Raises:
        TypeError, ValueError: integer targets; shapes that differ.

    Example:
        >>> squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array([0., 9.], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 5.1.4.
    """
    y_hat, y = given.regression(predictions, targets)
    return _mean(jnp.square(y_hat - y))


def absolute_error(predictions: ArrayLike, targets: ArrayLike) -> Array:
    """The absolute error, `L = |y_hat - y|`; its subgradient at 0 is taken as 0.

    Args:
        predictions: y_hat, (n,) or (n, d, ...).
        targets: y, floating, the same shape.

    Returns:
        (n,), in the unit of the targets.

    Raises:
        TypeError, ValueError: integer targets; shapes that differ.

    Example:
        >>> absolute_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array([0., 3.], dtype=float32)

    Source: Hastie et al. 2009, "The elements of statistical learning", section 10.6.
    """
    y_hat, y = given.regression(predictions, targets)
    r = y_hat - y
    return _mean(r * jnp.sign(r))  # JAX gives |r| the derivative 1 at 0


def huber(predictions: ArrayLike, targets: ArrayLike, delta: Scalar = 1.0) -> Array:
    """Huber's loss, `L = r^2 / 2 if |r| <= delta else delta (|r| - delta / 2)`, with `r = y_hat - y`.

    Args:
        predictions: y_hat, (n,) or (n, d, ...).
        targets: y, floating, the same shape.
        delta: where the parabola goes over into its tangents, above 0, in the unit of the targets.

    Returns:
        (n,), in the unit of the targets squared.

    Raises:
        TypeError, ValueError: integer targets; shapes that differ; `delta` not above 0.

    Example:
        >>> huber(jnp.array([1.5, 2.0]), jnp.array([1.0, 5.0]))
        Array([0.125, 2.5  ], dtype=float32)

    Source: Huber 1964, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1).
    """
    check_scalar("delta", delta, 0, open_low=True)
    y_hat, y = given.regression(predictions, targets)
    delta = jnp.asarray(delta, y.dtype)
    r = y_hat - y
    return _mean(jnp.where(jnp.abs(r) <= delta, jnp.square(r) / 2, delta * (jnp.abs(r) - delta / 2)))


def binary_cross_entropy(probabilities: ArrayLike, labels: ArrayLike) -> Array:
    """The cross-entropy of a probability, `L = -(y log p + (1 - y) log(1 - p))`.

    As in PyTorch, a logarithm is at least -100, and its derivative is `1 / max(p, 1e-12)`: a wrong p = 0 is
    pulled back. Rather give logits to `sigmoid_binary_cross_entropy`: it is exact everywhere.

    Args:
        probabilities: p in [0, 1], (n,) or (n, d, ...).
        labels: y in [0, 1], floating, integer or boolean, the same shape.

    Returns:
        (n,), in nats.

    Raises:
        TypeError, ValueError: shapes that differ; a probability or label outside [0, 1].

    Example:
        >>> binary_cross_entropy(jnp.array([0.5, 0.0]), jnp.array([1, 1]))
        Array([  0.6931472, 100.       ], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 6.2.2.2.
    """
    p, y = given.binary("probabilities", probabilities, labels)
    p = given.probabilities("probabilities", probabilities, p.dtype, "Logits belong to sigmoid_binary_cross_entropy.")
    floor = _floor(probabilities)
    return _mean(y * -_safe_log(p, floor) + (1 - y) * -_safe_log(p, floor, True))


def sigmoid_binary_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """The cross-entropy of a logit, `L = y softplus(-x) + (1 - y) softplus(x)`.

    It equals `-(y log p + (1 - y) log(1 - p))` with `p = sigmoid(x)`, without the rounding.

    Args:
        logits: x, (n,) or (n, d, ...).
        labels: y in [0, 1], floating, integer or boolean, the same shape.

    Returns:
        (n,), in nats.

    Raises:
        TypeError, ValueError: shapes that differ; a label outside [0, 1].

    Example:
        >>> sigmoid_binary_cross_entropy(jnp.array([0.0, 1e4]), jnp.array([1, 0]))
        Array([6.931472e-01, 1.000000e+04], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", equation 6.26.
    """
    x, y = given.binary("logits", logits, labels)
    return _mean(y * jax.nn.softplus(-x) + (1 - y) * jax.nn.softplus(x))


def cross_entropy(probabilities: ArrayLike, labels: ArrayLike) -> Array:
    """The cross-entropy of probabilities of classes, `L = -sum_c q_c log p_c`.

    As in PyTorch's binary loss, a logarithm is at least -100 and its derivative is `1 / max(p, 1e-12)`.
    Rather give logits to `softmax_cross_entropy`: it is exact everywhere.

    Args:
        probabilities: p, (n, ..., classes), as softmax gives them.
        labels: integer classes (n, ...), or probabilities q (n, ..., classes); the dtype tells them apart.

    Returns:
        (n,), in nats.

    Raises:
        TypeError, ValueError: shapes or dtypes that do not fit; a label or probability out of range.

    Example:
        >>> cross_entropy(jnp.array([[0.25, 0.75], [0.0, 1.0]]), jnp.array([0, 1]))
        Array([1.3862944, 0.       ], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", equation 3.51.
    """
    p = given.class_outputs("probabilities", probabilities)
    q = given.class_targets(labels, p)
    p = given.distribution("probabilities", probabilities, p.dtype, "Logits belong to softmax_cross_entropy.")
    return _mean(jnp.sum(q * -_safe_log(p, _floor(probabilities)), axis=-1))


def softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike, *, label_smoothing: Scalar = 0.0) -> Array:
    """The cross-entropy of logits of classes, `L = -sum_c q_c log softmax(x)_c`.

    A logit of minus infinity masks its class: probability 0, no gradient; as the label it costs infinity.
    Label smoothing replaces q by `(1 - eps) q + eps u` with u uniform over the classes that are not masked.

    Args:
        logits: x, (n, ..., classes).
        labels: integer classes (n, ...), or probabilities q (n, ..., classes); the dtype tells them apart.
        label_smoothing: eps in [0, 1); it may be traced.

    Returns:
        (n,), in nats.

    Raises:
        TypeError, ValueError: shapes or dtypes that do not fit; a label or `label_smoothing` out of range.

    Example:
        >>> softmax_cross_entropy(jnp.array([[0.0, 0.0], [1e4, 0.0]]), jnp.array([1, 1]))
        Array([6.931472e-01, 1.000000e+04], dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 6.2.2.3; Szegedy et al. 2016, section 7.
    """
    check_scalar("label_smoothing", label_smoothing, 0, 1)
    x = given.class_outputs("logits", logits)
    s, log_sum = _log_softmax(x)
    own, one = given.expected(labels, s)
    cost = one * log_sum - own
    if not is_zero(label_smoothing):
        eps = jnp.asarray(label_smoothing, x.dtype)
        cost = (1 - eps) * cost + eps * (log_sum - jnp.mean(s, axis=-1, where=~jnp.isneginf(x)))
    return _mean(cost)


def hinge(outputs: ArrayLike, labels: ArrayLike) -> Array:
    """The hinge loss, `L = max(0, 1 - y f)`; its subgradient at y f = 1 is taken as 0.

    Args:
        outputs: f, (n,) or (n, d, ...).
        labels: y, -1 or 1, floating or integer, the same shape.

    Returns:
        (n,).

    Raises:
        TypeError, ValueError: shapes that differ; a label other than -1 and 1.

    Example:
        >>> hinge(jnp.array([0.5, 3.0, 1.0]), jnp.array([1, 1, -1]))
        Array([0.5, 0. , 2. ], dtype=float32)

    Source: Cortes and Vapnik 1995, "Support-vector networks", Machine Learning 20.
    """
    f, y = given.signed(outputs, labels)
    return _mean(jax.nn.relu(1 - y * f))


def multiclass_hinge(outputs: ArrayLike, labels: ArrayLike) -> Array:
    """The hinge loss of classes, `L = max(0, 1 + max_{c != y} f_c - f_y)`; at its kink the subgradient is 0.

    Only the best wrong class counts; PyTorch's `multi_margin_loss` takes the mean over all of them.

    Args:
        outputs: f, the scores, (n, ..., classes).
        labels: y, integer classes (n, ...).

    Returns:
        (n,).

    Raises:
        TypeError, ValueError: a shape or dtype that does not fit; a label out of range.

    Example:
        >>> multiclass_hinge(jnp.array([[2.0, 0.0], [0.5, 0.0]]), jnp.array([0, 1]))
        Array([0. , 1.5], dtype=float32)

    Source: Crammer and Singer 2001, "Multiclass kernel-based vector machines", JMLR 2, section 3.
    """
    f = given.class_outputs("outputs", outputs)
    own = given.one_hot(labels, f)
    f_y = jnp.sum(jnp.where(own == 0, 0, own * f), axis=-1)
    best_wrong = jnp.max(jnp.where(own == 0, f, -jnp.inf), axis=-1)
    return _mean(jax.nn.relu(1 + (best_wrong - f_y)))


def _mean(values: Array) -> Array:
    """Over all axes but that of the examples."""
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))


def _log_softmax(x: Array) -> tuple[Array, Array]:
    """The log of softmax(x) in two parts, `s_c - log sum_c exp(s_c)` with `s = x - max x`.

    The largest logit adds 1 to the sum. It is counted apart, since the rest would be lost against it: the loss
    of a right and certain output is small but not 0.
    """
    s = x - lax.stop_gradient(jnp.max(x, axis=-1, keepdims=True))
    e = jnp.exp(s)
    ones = e == 1
    others = jnp.sum(ones, axis=-1).astype(x.dtype) - 1
    return s, jnp.log1p(jnp.sum(e - ones, axis=-1) + others)


def _floor(p: ArrayLike) -> float:
    """What a derivative 1 / p divides by at least: 1e-12, in float16 3e-5, so that it stays finite."""
    return max(1e-12, 2 / float(jnp.finfo(jnp.asarray(p).dtype).max))


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _safe_log(p: Array, floor: float, complement: bool = False) -> Array:
    """The log of p, or of 1 - p, at least -100."""
    del floor
    p = jnp.clip(p, 0, 1)
    return jnp.maximum(jnp.log1p(-p) if complement else jnp.log(p), -100)


@_safe_log.defjvp
def _safe_log_jvp(floor: float, complement: bool, primals: list[Array], tangents: list[Array]) -> tuple[Array, Array]:
    [p], [dp] = primals, tangents
    slope = -1 / jnp.maximum(1 - p, floor) if complement else 1 / jnp.maximum(p, floor)
    return _safe_log(p, floor, complement), slope * dp
