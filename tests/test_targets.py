"""What losses are given: refusals with their messages, NaN under a trace, dtypes of labels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn import losses
from fnn.errors import values_behind

F = jnp.zeros
THIRDS = jnp.full((4, 3), 1 / 3)
LABELS = jnp.array([0, 1, 2, 0])
NUMBERS = [losses.squared_error, losses.absolute_error, losses.huber]
CLASSES = [losses.softmax_cross_entropy, losses.cross_entropy, losses.multiclass_hinge]
PAIRED = [*NUMBERS, losses.sigmoid_binary_cross_entropy, losses.binary_cross_entropy]


@pytest.mark.parametrize("loss", PAIRED)
@pytest.mark.parametrize(
    ("outputs", "targets", "match"),
    [
        (F((4, 1)), F(4), r"(targets|labels): got shape \(4,\) against (\w+) of shape \(4, 1\), .* \2\[:, 0\]\."),
        (F(4), F((4, 1)), r"got shape \(4, 1\) against \w+ of shape \(4,\), .*(targets|labels)\[:, 0\]\."),
        (F((4, 2, 1)), F((4, 2)), r"\[:, :, 0\]"),
        (F((4, 2)), F((4, 3)), r"got shape \(4, 3\) against \w+ of shape \(4, 2\), expected one shape\. Nothing"),
        (F((1, 4)), F(4), r"Nothing broadcasts"),
        (F(()), F(()), r"got shape \(\), expected \(n,\) or \(n, d, \.\.\.\).*add its axis"),
        (F((4, 0)), F((4, 0)), r"got shape \(4, 0\), expected"),
    ],
)
def test_shapes_that_do_not_fit(loss: Any, outputs: jax.Array, targets: jax.Array, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        loss(outputs, targets)
    # A shape is known under a trace too.
    with pytest.raises(ValueError, match=match):
        jax.jit(loss)(outputs, targets)


def test_hinge_checks_shapes() -> None:
    with pytest.raises(
        ValueError, match=r"labels: got shape \(4,\) against outputs of shape \(4, 1\).*outputs\[:, 0\]"
    ):
        losses.hinge(F((4, 1)), jnp.ones(4))


@pytest.mark.parametrize("loss", CLASSES)
@pytest.mark.parametrize(
    ("outputs", "labels", "kind", "match"),
    [
        (THIRDS, LABELS.at[2].set(3), ValueError, r"labels: got 3 at row 2 \(1 bad row\).*\[0, 3\), for 3 classes"),
        (THIRDS, LABELS.at[:2].set(-1), ValueError, r"labels: got -1 at row 0 \(2 bad rows\).*count from 0"),
        (THIRDS, LABELS.astype(float), TypeError, r"labels: got dtype float32.*labels\.astype\(int\)"),
        (THIRDS, LABELS.astype(bool), TypeError, r"labels: got dtype bool, expected integer labels"),
        (THIRDS, LABELS[:, None], ValueError, r"labels: got shape \(4, 1\), expected shape \(4,\).*labels\[:, 0\]"),
        (THIRDS, jnp.eye(4, 3, dtype=int), ValueError, r"labels: got shape \(4, 3\).*labels\.argmax\(axis=-1\)"),
        (THIRDS, LABELS[:3], ValueError, r"labels: got shape \(3,\), expected shape \(4,\)\. Give one label"),
        (THIRDS, [0, 1, 2, 0], TypeError, r"labels: got a list of 4, expected an array"),
        (F(4), LABELS, ValueError, r"got shape \(4,\), expected \(n, \.\.\., classes\)\. One example"),
        (F((4, 1)), LABELS, ValueError, r"got shape \(4, 1\).*at least 2 classes\. One logit.*\[:, 0\]"),
        (THIRDS.tolist(), LABELS, TypeError, r"(logits|probabilities|outputs): got a list of 4, expected an array"),
        (F((4, 3), int), LABELS, TypeError, r"(logits|probabilities|outputs): got dtype int32, expected floating"),
    ],
)
def test_classes_that_do_not_fit(loss: Any, outputs: Any, labels: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        loss(outputs, labels)


@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.cross_entropy])
@pytest.mark.parametrize(
    ("labels", "kind", "match"),
    [
        (2 * THIRDS, ValueError, r"labels, a row's sum: got 2.0\d* at row 0 \(4 bad rows\), expected 1\. Divide"),
        (THIRDS.at[1, 2].set(-1), ValueError, r"labels: got -1\.0 at row 1, index \(1, 2\).*probabilities in \[0, 1\]"),
        (THIRDS.at[1, 2].set(jnp.nan), ValueError, r"labels: got nan at row 1"),
        (F((4, 2)), ValueError, r"got dtype float32 and shape \(4, 2\), expected .*\(4,\) or .*\(4, 3\)\.$"),
        (F((4, 1)), TypeError, r"Classes are integers: labels\[:, 0\]\.astype\(int\)"),
        (F(4), TypeError, r"got dtype float32 and shape \(4,\), expected integer.*: labels\.astype\(int\)"),
    ],
)
def test_probabilities_that_are_none(loss: Any, labels: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        loss(THIRDS, labels)


HALVES = jnp.array([0.5, 0.5])


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "kind", "match"),
    [
        *((loss, HALVES, jnp.arange(2), TypeError, r"targets: got dtype int32.*Classes belong") for loss in NUMBERS),
        *((loss, jnp.arange(2), HALVES, TypeError, r"predictions: got dtype int32.*Cast it") for loss in NUMBERS),
        *((loss, [0.5, 0.5], HALVES, TypeError, r"predictions: got a list of 2") for loss in NUMBERS),
        *((loss, HALVES, [0.5, 0.5], TypeError, r"targets: got a list of 2") for loss in NUMBERS),
        (losses.binary_cross_entropy, jnp.array([0.5, 1.5]), HALVES, ValueError, r"got 1\.5 at row 1.*belong to sigm"),
        (losses.binary_cross_entropy, jnp.array([-0.5, 0]), HALVES, ValueError, r"probabilities: got -0\.5 at row 0"),
        (losses.binary_cross_entropy, HALVES, jnp.array([1, -1]), ValueError, r"labels: got -1 at row 1.*to hinge"),
        (losses.sigmoid_binary_cross_entropy, HALVES, jnp.array([1, 3]), ValueError, r"labels: got 3 at row 1"),
        (losses.sigmoid_binary_cross_entropy, HALVES, F(2, complex), TypeError, r"labels: got dtype complex64"),
        (losses.sigmoid_binary_cross_entropy, HALVES, [0, 1], TypeError, r"labels: got a list of 2"),
        (losses.hinge, HALVES, jnp.array([1, 0]), ValueError, r"labels: got 0 at row 1.*2 \* labels\.astype"),
        (losses.hinge, HALVES, F(2, bool), TypeError, r"labels: got dtype bool, expected labels -1 and 1"),
        # 8 bits without a sign hold no -1.
        (losses.hinge, HALVES, F(2, jnp.uint8), TypeError, r"labels: got dtype uint8"),
        (losses.cross_entropy, jnp.array([[3, -2.0]]), jnp.array([0]), ValueError, r"got 3\.0 .*softmax_cross_entropy"),
        (losses.cross_entropy, jnp.array([[0.3, 0.2]]), jnp.array([0]), ValueError, r"a row's sum: got 0\.5"),
    ],
)
def test_values_and_dtypes_without_meaning(
    loss: Any, outputs: Any, targets: Any, kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=match):
        loss(outputs, targets)


@pytest.mark.parametrize("delta", [0.0, -1.0, jnp.nan, jnp.inf])
def test_delta_is_above_0(delta: float) -> None:
    with pytest.raises(ValueError, match=r"delta: got .*, expected a finite number > 0"):
        losses.huber(HALVES, HALVES, delta)


@pytest.mark.parametrize("smoothing", [1.0, -0.1, jnp.nan])
def test_label_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing: got .*, expected a number in \[0, 1\)"):
        losses.softmax_cross_entropy(THIRDS, LABELS, label_smoothing=smoothing)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bool_, jnp.int32, jnp.uint8])
def test_binary_labels_of_every_kind(dtype: Any) -> None:
    labels = jnp.array([0, 1], dtype)
    np.testing.assert_allclose(losses.sigmoid_binary_cross_entropy(F(2), labels), [np.log(2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(losses.binary_cross_entropy(HALVES, labels), [np.log(2)] * 2, rtol=1e-6)


def test_rounding_is_no_mistake() -> None:
    above = np.nextafter(np.float32(1), np.float32(2))
    p = jnp.array([above, -1e-8], jnp.float32)
    np.testing.assert_array_equal(losses.binary_cross_entropy(p, jnp.array([1, 0])), [0, 0])
    np.testing.assert_array_equal(losses.binary_cross_entropy(p, jnp.array([0, 1])), [100, 100])


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int16, jnp.uint32])
def test_labels_of_every_integer_type(dtype: Any) -> None:
    # 300 classes do not fit a label of 8 bits, which must not matter to the labels that do.
    x = jax.random.normal(jax.random.key(0), (3, 300))
    labels = jnp.array([0, 5, 127])
    np.testing.assert_array_equal(
        jax.jit(losses.softmax_cross_entropy)(x, labels.astype(dtype)), losses.softmax_cross_entropy(x, labels)
    )


@pytest.mark.parametrize("label", [-1, 3, -128])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "cross_entropy", "multiclass_hinge"])
def test_under_a_trace_a_label_out_of_range_makes_the_loss_nan(name: str, label: int) -> None:
    f, labels = jnp.full((2, 3), 1 / 3), jnp.array([1, label])
    loss = getattr(losses, name)

    @jax.jit
    def both(f: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, pullback = jax.vjp(lambda f: loss(f, labels), f)
        return value, pullback(jnp.ones(2))[0]

    value, slope = both(f, labels)
    assert jnp.isfinite(value[0])
    assert jnp.isnan(value[1])
    assert jnp.isfinite(slope[0]).all()


@pytest.mark.parametrize(
    ("loss", "f", "y"),
    [
        (losses.hinge, [0.5, 0.5], [1, 0]),
        (losses.hinge, [0.5, 0.5], [1.0, jnp.nan]),
        (losses.sigmoid_binary_cross_entropy, [0.5, 0.5], [1, -1]),
        (losses.binary_cross_entropy, [0.5, 0.5], [1, 2]),
        (losses.binary_cross_entropy, [0.5, 1.5], [1, 1]),
        (losses.binary_cross_entropy, [0.5, -0.1], [1, 0]),
        (losses.cross_entropy, [[0.5, 0.5], [3.0, -2.0]], [0, 0]),
        (losses.softmax_cross_entropy, [[0.5, 0.5], [3.0, -2.0]], [[1.0, 0.0], [2.0, -1.0]]),
    ],
)
def test_under_a_trace_a_senseless_value_makes_the_loss_nan(loss: Any, f: Any, y: Any) -> None:
    value = jax.jit(loss)(jnp.array(f), jnp.array(y))
    assert jnp.isfinite(value[0])
    assert jnp.isnan(value[1])


def test_the_data_behind_a_trace_are_checked() -> None:
    data = jnp.array([0, 1, 7])

    def loss(x: jax.Array, labels: jax.Array) -> jax.Array:
        with values_behind(labels, data):
            return losses.softmax_cross_entropy(x, labels)

    with pytest.raises(ValueError, match=r"labels: got 7 at row 2"):
        jax.jit(loss)(jnp.zeros((2, 3)), data[:2])
