"""What a loss or a metric is given: outputs and targets, checked and made ready for the formula.

The outputs come back in float32 or wider, the targets in the same dtype. A target whose value means
nothing is refused where it is known and becomes NaN under a trace, so that it is found there too.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from fnn.errors import check_array, check_floating, check_labels, check_values, concrete, message
from fnn.typing import Array, DType

_SIGNED = "Labels 0 and 1 become -1 and 1 so: 2 * labels.astype(int) - 1."
_UNIT = "Labels -1 and 1 belong to hinge; integer classes belong to softmax_cross_entropy."


def regression(predictions: Any, targets: Any) -> tuple[Array, Array]:
    """Numbers against numbers to predict: both floating, of one shape (n, ...)."""
    check_floating("predictions", predictions)
    cast = "Numbers to predict are floats: targets.astype(jnp.float32). Classes belong to softmax_cross_entropy."
    check_floating("targets", targets, cast)
    return _same_shape("predictions", predictions, "targets", targets)


def binary(argument: str, outputs: Any, labels: Any) -> tuple[Array, Array]:
    """Logits or probabilities of the positive class against labels in [0, 1], of one shape (n, ...)."""
    check_floating(argument, outputs)
    _check_dtype(labels, (jnp.floating, jnp.integer, jnp.bool_), "labels in [0, 1]", _UNIT)
    x, y = _same_shape(argument, outputs, "labels", labels)
    check_values("labels", labels, _in_unit, "labels in [0, 1]", _UNIT)
    return x, jnp.where(_in_unit(y), y, jnp.nan)


def signed(outputs: Any, labels: Any) -> tuple[Array, Array]:
    """Scores against labels -1 and 1, of one shape (n, ...)."""
    check_floating("outputs", outputs)
    _check_dtype(labels, (jnp.floating, jnp.signedinteger), "labels -1 and 1", _SIGNED)
    f, y = _same_shape("outputs", outputs, "labels", labels)
    check_values("labels", labels, lambda known: abs(known) == 1, "labels -1 and 1", _SIGNED)
    return f, jnp.where(jnp.abs(y) == 1, y, jnp.nan)


def class_outputs(argument: str, outputs: Any) -> Array:
    """Scores of at least two classes, (n, ..., classes)."""
    check_floating(argument, outputs)
    shape = np.shape(outputs)
    expected = "(n, ..., classes)"
    if len(shape) < 2:
        remedy = "One example: add its axis, [None]. One logit an example: sigmoid_binary_cross_entropy."
        raise ValueError(message(argument, f"shape {shape}", expected, remedy))
    if shape[-1] < 2 or 0 in shape[1:]:
        column = _column(argument, outputs, shape[:-1])
        remedy = f"One logit an example tells two classes apart: take {column} and sigmoid_binary_cross_entropy."
        raise ValueError(message(argument, f"shape {shape}", f"{expected} with at least 2 classes", remedy))
    return _wide(outputs)


def class_targets(labels: Any, outputs: Array) -> Array:
    """Probabilities q of the classes, (n, ..., classes), from such probabilities or from integer labels."""
    check_array("labels", labels)
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        return one_hot(labels, outputs)
    if np.shape(labels) != outputs.shape:
        got = f"dtype {labels.dtype} and shape {np.shape(labels)}"
        expected = f"integer labels of shape {outputs.shape[:-1]} or probabilities of shape {outputs.shape}"
        kind = TypeError if np.shape(labels) in (outputs.shape[:-1], (*outputs.shape[:-1], 1)) else ValueError
        remedy = f"Classes are integers: {_column('labels', labels, outputs.shape[:-1])}.astype(int)."
        raise kind(message("labels", got, expected, remedy if kind is TypeError else ""))
    return distribution("labels", labels, outputs.dtype, "Divide each row by its sum, or give integer labels.")


def expected(labels: Any, values: Array) -> tuple[Array, Array]:
    """`sum_c q_c v_c` of values v (n, ..., classes), and `sum_c q_c`, which is NaN for a label out of range.

    For integer labels that is the value of the class, and 1; no gather, whose transpose would be a scatter.
    """
    check_array("labels", labels)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        q = class_targets(labels, values)
        # In an entropy, 0 times log 0 is 0.
        return jnp.sum(q * jnp.where(jnp.isneginf(values) & (q == 0), 0, values), axis=-1), jnp.sum(q, axis=-1)
    hit, known = _hits(labels, values)
    return jnp.sum(jnp.where(hit, values, 0), axis=-1), jnp.where(known, 1, jnp.nan).astype(values.dtype)


def one_hot(labels: Any, outputs: Array) -> Array:
    """Integer labels (n, ...) as rows of zeros and one 1; a row of NaN for a label out of range."""
    hit, known = _hits(labels, outputs)
    return jnp.where(known[..., None], hit.astype(outputs.dtype), jnp.nan)


def _hits(labels: Any, outputs: Array) -> tuple[Array, Array]:
    """Where integer labels name a class, (n, ..., classes), and which of them are in range."""
    *shape, classes = outputs.shape
    check_labels("labels", labels, classes, tuple(shape))
    c, known = integers(labels, classes)
    return c[..., None] == jnp.arange(classes, dtype=c.dtype), known


def integers(labels: Any, classes: int) -> tuple[Array, Array]:
    """Integer labels in int32 or as they are where that is wider, and which of them are in [0, classes)."""
    c = jnp.asarray(labels)
    # A Python integer may not fit the small types.
    c = c.astype(jnp.int32) if c.dtype.itemsize < 4 else c
    return c, (c >= 0) & (c < classes)


def probabilities(argument: str, p: Any, dtype: DType, remedy: str) -> Array:
    """Probabilities in [0, 1], but for rounding, in the dtype to compute in."""
    slack = _slack(p)
    check_values(argument, p, lambda known: _in_unit(known, slack), "probabilities in [0, 1]", remedy)
    wide = jnp.asarray(p).astype(dtype)
    return jnp.where(_in_unit(wide, slack), wide, jnp.nan)


def distribution(argument: str, p: Any, dtype: DType, remedy: str) -> Array:
    """Probabilities whose sum over the last axis, that of the classes, is 1."""
    checked = probabilities(argument, p, dtype, remedy)
    known = concrete(p)
    if known is not None:
        total = known.astype(float).sum(axis=-1)
        slack = max(1e-3, _slack(p))
        check_values(f"{argument}, a row's sum", total, lambda sums: abs(sums - 1) <= slack, "1", remedy)
    return checked


def _same_shape(argument: str, outputs: Any, of_targets: str, targets: Any) -> tuple[Array, Array]:
    shape, other = np.shape(outputs), np.shape(targets)
    if shape != other:
        longer, x, short = (argument, outputs, other) if len(shape) > len(other) else (of_targets, targets, shape)
        one_column = np.shape(x) == (*short, 1)
        remedy = f"Take its one column: {_column(longer, x, short)}." if one_column else "Nothing broadcasts."
        raise ValueError(message(of_targets, f"shape {other} against {argument} of shape {shape}", "one shape", remedy))
    if not shape or 0 in shape[1:]:
        remedy = "One example: add its axis, [None]." if not shape else ""
        raise ValueError(message(argument, f"shape {shape}", "(n,) or (n, d, ...), no d = 0", remedy))
    x = _wide(outputs)
    return x, jnp.asarray(targets).astype(x.dtype)


def _column(argument: str, x: Any, short: tuple[int, ...]) -> str:
    """How to write the one column of `x`, where its last axis is one too many."""
    return f"{argument}[{':, ' * len(short)}0]" if np.ndim(x) > len(short) else argument


def _check_dtype(labels: Any, kinds: tuple[Any, ...], expected: str, remedy: str) -> None:
    check_array("labels", labels)
    if not any(jnp.issubdtype(labels.dtype, kind) for kind in kinds):
        raise TypeError(message("labels", f"dtype {labels.dtype}", expected, remedy))


def _wide(x: Any) -> Array:
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _slack(p: Any) -> float:
    """What rounding may add to a probability, or to a sum of them, in its own dtype."""
    return max(1e-6, float(jnp.finfo(p.dtype).eps))


def _in_unit(x: Any, slack: float = 0.0) -> Any:
    return (x >= -slack) & (x <= 1 + slack)
