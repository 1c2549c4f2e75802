"""Losses: values and gradients against float64 references and PyTorch, hard inputs, shapes, dtypes, refusals."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fnn import losses

POINTS = np.array([0.0, 1.0, -1.0, 1e-4, -1e-4, 50.0, -50.0, 1e4, -1e4])
SHARES = np.array([0.0, 1e-13, 1e-4, 0.25, 0.5, 1 - 1e-4, 1.0])
SIGNS = np.array([-1.0, 1.0])
CLASS_ROWS = np.array(
    [[0, 0, 0], [1, -1, 1e-4], [-1e-4, 1e-4, 0], [50, -50, 0], [1e4, -1e4, 1], [-1e4, 1e4, 1e4], [0, 50, 49]],
    dtype=float,
)


class Case(NamedTuple):
    """An elementwise loss, its value and derivative in float64, and where it is looked at.

    `terms` is how large what cancels in the derivative is; 0 where nothing does.
    """

    loss: Callable[..., jax.Array]
    value: Callable[[Any, Any], Any]
    slope: Callable[[Any, Any], Any]
    outputs: np.ndarray = POINTS
    targets: np.ndarray = POINTS
    terms: Callable[[Any, Any], Any] = lambda _f, _y: 0


def _log(p: np.ndarray, log: Any = np.log, sign: int = 1) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.maximum(log(sign * p), -100)


ELEMENTWISE = {
    "squared_error": Case(losses.squared_error, lambda f, y: (f - y) ** 2, lambda f, y: 2 * (f - y)),
    "absolute_error": Case(losses.absolute_error, lambda f, y: abs(f - y), lambda f, y: np.sign(f - y)),
    "huber": Case(losses.huber, lambda f, y: special.huber(1, f - y), lambda f, y: np.clip(f - y, -1, 1)),
    "binary_cross_entropy": Case(
        losses.binary_cross_entropy,
        lambda p, y: -(y * _log(p) + (1 - y) * _log(p, np.log1p, -1)),
        lambda p, y: -y / np.maximum(p, 1e-12) + (1 - y) / np.maximum(1 - p, 1e-12),
        SHARES,
        SHARES,
        lambda p, y: y / np.maximum(p, 1e-12) + (1 - y) / np.maximum(1 - p, 1e-12),
    ),
    "sigmoid_binary_cross_entropy": Case(
        losses.sigmoid_binary_cross_entropy,
        lambda x, y: y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x),
        lambda x, y: (1 - y) * special.expit(x) - y * special.expit(-x),
        POINTS,
        SHARES,
    ),
    "hinge": Case(
        losses.hinge,
        lambda f, y: np.maximum(0, 1 - y * f),
        lambda f, y: np.where(y * f < 1, -y, 0),
        POINTS,
        SIGNS,
    ),
}
elementwise = pytest.mark.parametrize("case", ELEMENTWISE.values(), ids=ELEMENTWISE)


def _grid(case: Case, dtype: Any = np.float32) -> tuple[jax.Array, jax.Array]:
    outputs, targets = np.meshgrid(case.outputs, case.targets)
    return jnp.asarray(outputs.ravel(), dtype), jnp.asarray(targets.ravel(), dtype)


def _wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


@functools.cache
def _compiled(loss: Callable[..., jax.Array]) -> Callable[[Any, Any], tuple[jax.Array, jax.Array]]:
    def both(f: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, pullback = jax.vjp(lambda f: loss(f, y), f)
        return value, pullback(jnp.ones_like(value))[0]

    return jax.jit(both)


def _both(loss: Callable[..., jax.Array], f: Any, y: Any) -> tuple[jax.Array, jax.Array]:
    """Value and slope, in one program."""
    return _compiled(loss)(jnp.asarray(f), jnp.asarray(y))


def _slope(loss: Callable[..., jax.Array], f: Any, y: Any) -> jax.Array:
    return _both(loss, f, y)[1]


def _class_grid(dtype: Any = np.float32) -> tuple[jax.Array, np.ndarray]:
    """Every row of logits with every label."""
    return jnp.asarray(np.repeat(CLASS_ROWS, 3, axis=0), dtype), np.tile(np.arange(3), len(CLASS_ROWS))


def _softmax_loss(x: np.ndarray, q: np.ndarray) -> np.ndarray:
    surprise = special.logsumexp(x[:, None, :] - x[:, :, None], axis=-1)
    return np.sum(q * surprise, axis=-1)


# Values and slopes ---------------------------------------------------------------------------------------


@elementwise
def test_value_and_gradient_in_float32(case: Case) -> None:
    f, y = _grid(case)
    value, slope = _both(case.loss, f, y)
    assert value.dtype == slope.dtype == jnp.float32
    np.testing.assert_allclose(value, case.value(_wide(f), _wide(y)), rtol=1e-6)
    np.testing.assert_allclose(slope, case.slope(_wide(f), _wide(y)), rtol=1e-6, atol=1e-7)


@elementwise
def test_value_and_gradient_in_float64(case: Case) -> None:
    with jax.enable_x64(True):
        f, y = _grid(case, np.float64)
        value, slope = _both(case.loss, f, y)
        assert value.dtype == slope.dtype == jnp.float64
        np.testing.assert_allclose(value, case.value(_wide(f), _wide(y)), rtol=1e-13)
        # Where p = y the two terms, each rounded, cancel to 0.
        rounding = np.finfo(np.float64).eps * case.terms(_wide(f), _wide(y))
        expected = case.slope(_wide(f), _wide(y))
        assert np.all(np.abs(slope - expected) <= 1e-13 * np.abs(expected) + 1e-16 + rounding)


@elementwise
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_low_precision_is_computed_in_float32(case: Case, dtype: Any) -> None:
    f, y = _grid(case, dtype)
    value, slope = _both(case.loss, f, y)
    assert value.dtype == jnp.float32
    assert slope.dtype == dtype
    assert jnp.isfinite(slope).all()
    np.testing.assert_allclose(value, case.value(_wide(f), _wide(y)), rtol=1e-6)


def test_huber_goes_over_at_delta() -> None:
    r = jnp.array([0.0, 2.0, -2.0, 2.5, -100.0])
    np.testing.assert_allclose(losses.huber(r, jnp.zeros(5), 2.0), special.huber(2, _wide(r)), rtol=1e-6)
    np.testing.assert_allclose(_slope(lambda f, y: losses.huber(f, y, 2.0), r, jnp.zeros(5)), np.clip(r, -2, 2))
    by_delta = jax.vmap(losses.huber, (None, None, 0))(r, jnp.zeros(5), jnp.array([0.5, 2.0]))
    np.testing.assert_allclose(by_delta[1], losses.huber(r, jnp.zeros(5), 2.0), rtol=1e-6)


def test_softmax_cross_entropy_in_float32() -> None:
    x, labels = _class_grid()
    q = np.eye(3)[labels]
    value, slope = _both(losses.softmax_cross_entropy, x, labels)
    np.testing.assert_allclose(value, _softmax_loss(_wide(x), q), rtol=1e-6)
    np.testing.assert_allclose(slope, special.softmax(_wide(x), axis=-1) - q, rtol=1e-5, atol=1e-7)


def test_softmax_cross_entropy_in_float64() -> None:
    with jax.enable_x64(True):
        x, labels = _class_grid(np.float64)
        value, slope = _both(losses.softmax_cross_entropy, x, labels)
        assert value.dtype == slope.dtype == jnp.float64
        q = np.eye(3)[labels]
        np.testing.assert_allclose(value, _softmax_loss(_wide(x), q), rtol=1e-13)
        np.testing.assert_allclose(slope, special.softmax(_wide(x), axis=-1) - q, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_cross_entropy_of_probabilities(smoothing: float) -> None:
    x, labels = _class_grid()
    q = np.random.default_rng(0).dirichlet(np.ones(3), len(labels))
    smooth = (1 - smoothing) * q + smoothing / 3
    got = losses.softmax_cross_entropy(x, jnp.asarray(q, jnp.float32), label_smoothing=smoothing)
    np.testing.assert_allclose(got, _softmax_loss(_wide(x), smooth), rtol=1e-6)


def test_integer_labels_equal_one_hot_rows() -> None:
    x, labels = _class_grid()
    for loss, f in [(losses.softmax_cross_entropy, x), (losses.cross_entropy, jax.nn.softmax(x))]:
        np.testing.assert_array_equal(loss(f, labels), loss(f, jnp.eye(3)[labels]))


def test_cross_entropy_of_probabilities() -> None:
    p = jnp.array([[0.25, 0.75, 0.0], [0.0, 1.0, 0.0], [1e-4, 0.5, 0.4999]])
    value, slope = _both(losses.cross_entropy, p, [0, 2, 1])
    np.testing.assert_allclose(value, [-np.log(0.25), 100, -np.log(0.5)], rtol=1e-6)
    np.testing.assert_allclose(slope, [[-4, 0, 0], [0, 0, -1e12], [0, -2, 0]], rtol=1e-6)
    q = jnp.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    expected = -np.sum(_wide(q) * _log(_wide(p)), axis=-1)
    np.testing.assert_allclose(losses.cross_entropy(p, q), expected, rtol=1e-6)


def test_multiclass_hinge() -> None:
    f, labels = _class_grid()
    wide = _wide(f)
    rows = np.arange(len(labels))
    wrong = np.where(np.eye(3)[labels] == 1, -np.inf, wide)
    margin = 1 + wrong.max(axis=-1) - wide[rows, labels]
    value, slope = _both(losses.multiclass_hinge, f, labels)
    np.testing.assert_allclose(value, np.maximum(0, margin), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(slope[rows, labels], np.where(margin > 0, -1, 0))
    np.testing.assert_allclose(slope.sum(axis=-1), 0, atol=1e-7)


# PyTorch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 3)])
@pytest.mark.parametrize(
    ("loss", "peer", "kind"),
    [
        (losses.squared_error, "mse_loss", "number"),
        (losses.absolute_error, "l1_loss", "number"),
        (losses.huber, "huber_loss", "number"),
        (losses.binary_cross_entropy, "binary_cross_entropy", "share"),
        (losses.sigmoid_binary_cross_entropy, "binary_cross_entropy_with_logits", "logit"),
    ],
)
def test_mean_over_examples_is_that_of_torch(loss: Any, peer: str, kind: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    f = rng.random(shape) if kind == "share" else 3 * rng.normal(size=shape)
    y = rng.normal(size=shape) if kind == "number" else rng.integers(0, 2, shape).astype(float)
    if kind == "share":
        f.flat[:2], y.flat[:2] = [0, 1], [1, 0]
    f, y = f.astype(np.float32), y.astype(np.float32)
    leaf = torch.tensor(f, requires_grad=True)
    theirs = getattr(torch.nn.functional, peer)(leaf, torch.tensor(y))
    theirs.backward()
    ours, slope = jax.value_and_grad(lambda f: loss(f, jnp.asarray(y)).mean())(jnp.asarray(f))
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-6)
    np.testing.assert_allclose(slope, leaf.grad, rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize(("middle", "smoothing"), [((), 0.2), ((4,), 0.0), ((4, 2), 0.2)])
@pytest.mark.parametrize("soft", [False, True])
def test_softmax_cross_entropy_is_that_of_torch(middle: tuple[int, ...], smoothing: float, soft: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(7, *middle, 5)).astype(np.float32) * 5
    y = rng.dirichlet(np.ones(5), (7, *middle)).astype(np.float32) if soft else rng.integers(0, 5, (7, *middle))
    # PyTorch has the classes on axis 1.
    leaf = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(
        leaf.movedim(-1, 1), torch.tensor(y).movedim(-1, 1) if soft else torch.tensor(y), label_smoothing=smoothing
    )
    theirs.backward()

    def ours(x: jax.Array) -> jax.Array:
        return losses.softmax_cross_entropy(x, jnp.asarray(y), label_smoothing=smoothing).mean()

    value, slope = jax.value_and_grad(ours)(jnp.asarray(x))
    np.testing.assert_allclose(value, theirs.item(), rtol=1e-6)
    np.testing.assert_allclose(slope, leaf.grad, rtol=1e-5, atol=1e-7)


# Hard inputs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [1e6, -1e6])
def test_shifted_logits(shift: float) -> None:
    # Small integers keep their differences exactly next to 1e6 in float32.
    x, labels = jnp.array([[1.0, 2.0, -3.0], [0.0, 5.0, 4.0]]), np.array([0, 2])
    np.testing.assert_array_equal(
        losses.softmax_cross_entropy(x + shift, labels), losses.softmax_cross_entropy(x, labels)
    )


def test_a_certain_and_right_output_costs_little_but_not_nothing() -> None:
    np.testing.assert_allclose(
        losses.softmax_cross_entropy(jnp.array([[30.0, 0.0, 0.0]]), np.array([0])), [2 * np.exp(-30.0)], rtol=1e-6
    )
    value, slope = _both(losses.sigmoid_binary_cross_entropy, [30.0, -30.0], [1, 0])
    np.testing.assert_allclose(value, [np.exp(-30.0)] * 2, rtol=1e-5)
    np.testing.assert_allclose(slope, [-np.exp(-30.0), np.exp(-30.0)], rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("soft", [False, True])
def test_a_masked_class_does_not_exist(smoothing: float, soft: bool) -> None:
    x = jnp.array([[1.0, -jnp.inf, 2.0], [1e4, -jnp.inf, -1e4]])
    labels = jnp.array([[0.5, 0, 0.5], [0, 0, 1.0]]) if soft else jnp.array([0, 2])
    less = labels[:, jnp.array([0, 2])] if soft else jnp.array([0, 1])

    def loss(x: jax.Array, labels: jax.Array) -> jax.Array:
        return losses.softmax_cross_entropy(x, labels, label_smoothing=smoothing)

    np.testing.assert_allclose(loss(x, labels), loss(x[:, jnp.array([0, 2])], less), rtol=1e-6)
    slope = _slope(loss, x, labels)
    np.testing.assert_array_equal(slope[:, 1], 0)
    np.testing.assert_allclose(slope[:, jnp.array([0, 2])], _slope(loss, x[:, jnp.array([0, 2])], less), rtol=1e-6)
    if soft:
        assert jnp.isfinite(jax.jit(jax.grad(lambda q: loss(x, q).sum()))(labels)).all()


def test_a_masked_label_costs_infinity() -> None:
    x = jnp.array([[1.0, -jnp.inf]])
    assert losses.softmax_cross_entropy(x, jnp.array([1])) == jnp.inf
    assert losses.softmax_cross_entropy(x, jnp.array([[0.5, 0.5]])) == jnp.inf


@pytest.mark.parametrize(
    ("loss", "at", "target"),
    [
        (losses.absolute_error, [3.0], jnp.array([3.0])),
        (losses.hinge, [1.0], jnp.array([1])),
        (losses.hinge, [-1.0], jnp.array([-1])),
        (losses.multiclass_hinge, [[1.0, 0.0, -5.0]], jnp.array([0])),
    ],
)
def test_the_subgradient_at_a_kink_is_0(loss: Any, at: list[Any], target: jax.Array) -> None:
    np.testing.assert_array_equal(_slope(loss, jnp.array(at), target), jnp.zeros_like(jnp.array(at)))


SECOND = [
    (losses.squared_error, jnp.array([0.3]), jnp.array([0.1])),
    (losses.huber, jnp.array([0.1]), jnp.array([0.1])),
    (losses.binary_cross_entropy, jnp.array([0.3]), jnp.array([0.6])),
    (losses.sigmoid_binary_cross_entropy, jnp.array([0.3]), jnp.array([0.6])),
    (losses.cross_entropy, jnp.array([[0.3, 0.7]]), jnp.array([1])),
    (losses.softmax_cross_entropy, jnp.array([[0.3, 0.7, -jnp.inf]]), jnp.array([1])),
]


@pytest.mark.parametrize(("loss", "f", "y"), SECOND, ids=[loss.__name__ for loss, _, _ in SECOND])
def test_second_derivatives(loss: Any, f: jax.Array, y: jax.Array) -> None:
    with jax.enable_x64(True):
        wide = jnp.asarray(f, jnp.float64)
        h = 1e-5
        # The slope's central differences; the masked logit stays at minus infinity.
        steps = h * jnp.eye(wide.size).reshape(-1, *wide.shape)
        expected = [(_slope(loss, wide + d, y) - _slope(loss, wide - d, y)) / (2 * h) for d in steps]
        hessian = jax.jit(jax.hessian(lambda f: loss(f, y).sum()))(wide).reshape(-1, *wide.shape)
        np.testing.assert_allclose(hessian, jnp.stack(expected), rtol=1e-8, atol=1e-9)


CERTAIN = [
    (losses.binary_cross_entropy, [0.0, 1.0], [1, 0]),
    (losses.sigmoid_binary_cross_entropy, [1e4, -1e4], [0, 1]),
    (losses.cross_entropy, [[0.0, 1.0], [1.0, 0.0]], [0, 1]),
    (losses.softmax_cross_entropy, [[1e4, -1e4], [-1e4, 1e4]], [1, 0]),
]


@pytest.mark.parametrize(("loss", "f", "y"), CERTAIN, ids=[loss.__name__ for loss, _, _ in CERTAIN])
def test_a_wrong_certain_output_is_pulled_back(loss: Any, f: list[Any], y: list[int]) -> None:
    outputs, labels = jnp.array(f), jnp.array(y)
    slope = _slope(loss, outputs, labels)
    right = jnp.eye(2)[labels] == 1 if outputs.ndim == 2 else labels == 1
    assert (slope[right] <= -1).all()
    assert jnp.isfinite(jax.jit(jax.hessian(lambda f: loss(f, labels).sum()))(outputs)).all()


finite = st.floats(-(2.0**49), 2.0**49, width=32)
numbers = hnp.arrays(np.float32, 6, elements=finite)
shares = hnp.arrays(np.float32, 6, elements=st.floats(0, 1, width=32))
PROPERTY = hypothesis.settings(deadline=None, max_examples=60)


@PROPERTY
@hypothesis.given(numbers, numbers, shares, shares, st.integers(0, 63))
def test_finite_in_finite_out(f: np.ndarray, y: np.ndarray, p: np.ndarray, q: np.ndarray, bits: int) -> None:
    label = (bits >> np.arange(6)) % 2
    rows, pairs, choices = f.reshape(2, 3), np.stack([p, 1 - p], axis=-1), np.array([bits % 3, bits // 3 % 3])
    calls = [
        *((loss, f, y) for loss in (losses.squared_error, losses.absolute_error, losses.huber)),
        (losses.binary_cross_entropy, p, q),
        (losses.sigmoid_binary_cross_entropy, f, q),
        (losses.hinge, f, 2 * label - 1),
        (losses.cross_entropy, pairs, label),
        (losses.softmax_cross_entropy, rows, choices),
        (losses.multiclass_hinge, rows, choices),
    ]
    for loss, outputs, targets in calls:
        value, slope = _both(loss, outputs, targets)
        assert np.isfinite(value).all(), loss.__name__
        assert (value >= 0).all(), loss.__name__
        assert np.isfinite(slope).all(), loss.__name__


@PROPERTY
@hypothesis.given(hnp.arrays(np.int8, (2, 3)), st.integers(-(2**22), 2**22))
def test_cross_entropy_does_not_see_a_shift(x: np.ndarray, shift: int) -> None:
    # All of these integers are exact in float32.
    logits, labels = x.astype(np.float32), np.array([0, 2])
    here = _both(losses.softmax_cross_entropy, logits, labels)
    there = _both(losses.softmax_cross_entropy, logits + np.float32(shift), labels)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


# Shapes, transformations, traces -------------------------------------------------------------------------

CALLS: list[tuple[Any, Any, Any]] = [
    (losses.squared_error, POINTS, POINTS[::-1]),
    (losses.absolute_error, POINTS, POINTS[::-1]),
    (losses.huber, POINTS, POINTS[::-1]),
    (losses.binary_cross_entropy, SHARES, SHARES[::-1]),
    (losses.sigmoid_binary_cross_entropy, POINTS, POINTS > 0),
    (losses.cross_entropy, special.softmax(CLASS_ROWS, axis=-1), np.arange(len(CLASS_ROWS)) % 3),
    (losses.softmax_cross_entropy, CLASS_ROWS, np.arange(len(CLASS_ROWS)) % 3),
    (losses.hinge, POINTS, np.where(POINTS > 0, 1, -1)),
    (losses.multiclass_hinge, CLASS_ROWS, np.arange(len(CLASS_ROWS)) % 3),
]
every_loss = pytest.mark.parametrize(("loss", "f", "y"), CALLS, ids=[loss.__name__ for loss, _, _ in CALLS])


@every_loss
def test_one_value_an_example_the_same_under_jit_and_vmap(loss: Any, f: np.ndarray, y: np.ndarray) -> None:
    outputs, targets = jnp.asarray(f, jnp.float32), jnp.asarray(y)
    value = loss(outputs, targets)
    assert value.shape == (len(f),)
    np.testing.assert_allclose(jax.jit(loss)(outputs, targets), value, rtol=1e-6)
    many = jax.vmap(loss, (0, None))(jnp.stack([outputs, outputs[::-1]]), targets)
    assert many.shape == (2, len(f))
    np.testing.assert_allclose(many[0], value, rtol=1e-6)


@every_loss
def test_numpy_arrays_and_no_example(loss: Any, f: np.ndarray, y: np.ndarray) -> None:
    # NumPy's float64 becomes JAX's float32, without a word.
    np.testing.assert_array_equal(loss(f, y), loss(jnp.asarray(f, jnp.float32), y))
    assert loss(f[:0], y[:0]).shape == (0,)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "cross_entropy", "multiclass_hinge"])
def test_middle_axes_are_averaged(name: str) -> None:
    loss = getattr(losses, name)
    f = jax.nn.softmax(jax.random.normal(jax.random.key(0), (4, 2, 5, 3)))
    y = jax.random.randint(jax.random.key(1), (4, 2, 5), 0, 3)
    each = _both(loss, f.reshape(-1, 3), y.reshape(-1))[0].reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose(_both(loss, f, y)[0], each, rtol=1e-6)


@elementwise
def test_other_axes_are_averaged(case: Case) -> None:
    f, y = _grid(case)
    n = len(f) // 2 * 2
    pairs = _both(case.loss, f[:n].reshape(-1, 2), y[:n].reshape(-1, 2))[0]
    np.testing.assert_allclose(pairs, _both(case.loss, f[:n], y[:n])[0].reshape(-1, 2).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_probabilities_of_low_precision(dtype: Any) -> None:
    # In bfloat16 three thirds make 1.002: that is rounding, not a mistake.
    p = jnp.full((1, 3), 1 / 3, dtype)
    np.testing.assert_allclose(losses.cross_entropy(p, p), [np.log(3)], rtol=5e-3)
    slope = _slope(losses.cross_entropy, jnp.array([[0, 1]], dtype), jnp.array([0]))
    assert jnp.isfinite(slope).all()
    assert slope[0, 0] < -1e4


def test_label_smoothing_may_be_traced() -> None:
    x, labels = _class_grid()
    many = jax.vmap(lambda e: losses.softmax_cross_entropy(x, labels, label_smoothing=e))(jnp.array([0.0, 0.1]))
    for got, e in zip(many, [0.0, 0.1], strict=True):
        np.testing.assert_allclose(got, losses.softmax_cross_entropy(x, labels, label_smoothing=e), rtol=1e-6)
