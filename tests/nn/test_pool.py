"""Pooling: values on paper, the first of equal maxima, NaN, dtypes, derivatives of any order, laws, and refusals."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.nn import Layer, avg_pool, flatten, global_avg_pool, max_pool

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SPATIAL = {1: (9,), 2: (6, 7), 3: (4, 5, 3)}
# Windows that tile x, that leave an end over, that overlap, that lie apart, and padding of every form.
SETTINGS: list[dict[str, Any]] = [
    {"window": 3},
    {"window": 2},
    {"window": 3, "strides": 2, "padding": "SAME"},
    {"window": 2, "strides": 3},
    {"window": 3, "strides": 1, "padding": 2},
    {"window": 1},
]


def _output(layer: Layer, x: Any) -> jax.Array:
    y, state = layer.apply({}, {}, x)
    assert state == {}
    return y


def _row(*numbers: float) -> jax.Array:
    return jnp.array(numbers, jnp.float32).reshape(1, -1, 1)


def _windows(x: np.ndarray, window: int, strides: int, pads: Any, fill: float) -> tuple[list[np.ndarray], Any]:
    """What each window sees, (n, elements, c), in order, and at how many places it lies."""
    sizes = x.shape[1:-1]
    padded = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    counts = [(length + sum(pad) - window) // strides + 1 for length, pad in zip(sizes, pads, strict=True)]
    seen = []
    for place in np.ndindex(*counts):
        part = padded[(slice(None), *(slice(o * strides, o * strides + window) for o in place))]
        seen.append(part.reshape(len(x), -1, x.shape[-1]))
    return seen, (len(x), *counts, x.shape[-1])


def _pads(sizes: Any, window: int, strides: int, padding: Any) -> list[tuple[int, int]]:
    if padding == "SAME":
        totals = [max((-(-length // strides) - 1) * strides + window - length, 0) for length in sizes]
        return [(total // 2, total - total // 2) for total in totals]
    return [(padding, padding)] * len(sizes) if isinstance(padding, int) else [(0, 0)] * len(sizes)


# Values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", SPATIAL)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_values_by_the_definition(axes: int, settings: dict[str, Any]) -> None:
    x = RNG.normal(size=(2, *SPATIAL[axes], 3)).astype(np.float32)
    window, strides = settings["window"], settings.get("strides", settings["window"])
    pads = _pads(x.shape[1:-1], window, strides, settings.get("padding", "VALID"))
    seen, shape = _windows(x, window, strides, pads, np.nan)
    layers = [max_pool(**settings), avg_pool(**settings), avg_pool(**settings, count_include_pad=False)]
    expected = [
        [np.nanmax(part, axis=1) for part in seen],
        [np.nansum(part, axis=1) / window**axes for part in seen],
        [np.nanmean(part, axis=1) for part in seen],
    ]
    found = jax.jit(lambda x: [_output(layer, x) for layer in layers])(x)
    for y, values in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, np.stack(values, axis=1).reshape(shape), rtol=1e-6, atol=1e-6)


def test_a_pair_for_each_axis() -> None:
    x = jnp.arange(12.0).reshape(1, 3, 4, 1)
    y = _output(max_pool((2, 1), strides=(1, 3), padding=((1, 0), (0, 0))), x)
    np.testing.assert_array_equal(y[0, ..., 0], [[0, 3], [4, 7], [8, 11]])
    # Zeros of the padding count in the mean, or do not.
    settings: dict[str, Any] = {"window": (2, 1), "strides": (1, 3), "padding": ((1, 0), (0, 0))}
    np.testing.assert_array_equal(_output(avg_pool(**settings), x)[0, ..., 0], [[0, 1.5], [2, 5], [6, 9]])
    mean = avg_pool(**settings, count_include_pad=False)
    np.testing.assert_array_equal(_output(mean, x)[0, ..., 0], [[0, 3], [2, 5], [6, 9]])


def test_padding_is_never_a_maximum() -> None:
    x = jnp.full((1, 5, 4, 2), -7.0)
    for padding in ("SAME", 1, ((2, 1), (0, 2))):
        y = _output(max_pool(3, padding=padding), x)
        np.testing.assert_array_equal(y, np.full(y.shape, -7.0))
    np.testing.assert_array_equal(_output(max_pool(2, strides=1, padding=1), _row(-np.inf)).ravel(), [-np.inf] * 2)


@pytest.mark.parametrize("settings", [{}, {"strides": 1, "padding": 1}], ids=["tiles", "overlaps"])
def test_nan_shows_in_its_windows_alone(settings: Any) -> None:
    x = _row(1, np.nan, 3, 4)
    places = {1} if settings else {0}
    touched = [k in ({1, 2} if settings else places) for k in range(5 if settings else 2)]
    for layer in (max_pool(2, **settings), avg_pool(2, **settings)):
        np.testing.assert_array_equal(np.isnan(_output(layer, x).ravel()), touched)
    assert np.isnan(_output(global_avg_pool(), x)).all()


def test_global_avg_pool_is_the_mean_over_space() -> None:
    for axes, sizes in SPATIAL.items():
        x = RNG.normal(size=(2, *sizes, 3)).astype(np.float32)
        expected = x.mean(axis=tuple(range(1, axes + 1)), dtype=float)
        np.testing.assert_allclose(_output(global_avg_pool(), x), expected, rtol=1e-6, atol=1e-7)


def test_flatten_keeps_the_order_of_each_example() -> None:
    for shape in ((3,), (3, 4), (3, 2, 2), (2, 3, 4, 5), (0, 4, 5), (2, 0, 3)):
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        y = _output(flatten(), x)
        assert isinstance(y, jax.Array)
        np.testing.assert_array_equal(y, x.reshape(shape[0], int(np.prod(shape[1:]))))
    assert _output(flatten(), jnp.ones((2, 3, 3), jnp.uint8)).dtype == jnp.uint8


# Dtypes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtype_of_x_is_kept_in_value_and_gradient(dtype: Any) -> None:
    with jax.enable_x64(dtype == jnp.float64):
        x = jnp.asarray(RNG.normal(size=(2, 6, 4, 3)), dtype)
        for layer in (max_pool(2), max_pool(3, strides=1), avg_pool(2), global_avg_pool(), flatten()):

            def both(x: Any, layer: Layer = layer) -> Any:
                y, pullback = jax.vjp(lambda v: _output(layer, v), x)
                return y, *pullback(y)

            assert [leaf.dtype for leaf in jax.eval_shape(both, x)] == [dtype, dtype]
        assert np.isfinite(_output(max_pool(2, padding=1), x)).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_means_of_half_precision_are_taken_in_float32(dtype: Any) -> None:
    # 4096 ones: in bfloat16 a running sum stops at 256, in float16 at 2048.
    x = jnp.ones((1, 64, 64, 1), dtype)
    np.testing.assert_array_equal(_output(global_avg_pool(), x).ravel(), [1])
    np.testing.assert_array_equal(_output(avg_pool((64, 64)), x).ravel(), [1])
    large = jnp.full((1, 4, 1), 6e4, dtype)
    np.testing.assert_array_equal(_output(avg_pool(4), large), large[:, :1])


# Derivatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"window": 3}, [1, 0, 0, 1, 0, 0]),
        ({"window": 3, "strides": 1}, [1, 1, 1, 1, 0, 0]),
        ({"window": 2, "strides": 1, "padding": 1}, [2, 1, 1, 1, 1, 1]),
        ({"window": 2, "strides": 3}, [1, 0, 0, 1, 0, 0]),
    ],
    ids=str,
)
def test_of_equal_maxima_the_first_has_the_gradient(settings: Any, expected: list[int]) -> None:
    layer = max_pool(**settings)  # Zeros, as is what a gradient sees of the padding.
    np.testing.assert_array_equal(jax.grad(lambda x: _output(layer, x).sum())(jnp.zeros((1, 6, 1))).ravel(), expected)


def test_first_is_by_rows_in_a_plane() -> None:
    x = jnp.array([[0.0, 2, 2, 1], [2, 1, 1, 2], [3, 1, 5, 5], [3, 3, 5, 5]]).reshape(1, 4, 4, 1)
    dx = jax.grad(lambda v: _output(max_pool(2), v).sum())(x)
    np.testing.assert_array_equal(dx[0, ..., 0], [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])


def test_a_window_of_many_elements() -> None:
    # More than 255 elements do not fit the small integers in which places are kept.
    x = jax.random.normal(KEY, (2, 18, 20, 1))
    dx = jax.jit(jax.grad(lambda v: _output(max_pool((18, 20)), v).sum()))(x)
    np.testing.assert_array_equal(dx, np.asarray(x) == np.asarray(x.max(axis=(1, 2, 3), keepdims=True)))


LAYERS = {
    "max, tiles": max_pool(2),
    "max, overlaps": max_pool(3, strides=2, padding="SAME"),
    "avg": avg_pool(2, strides=1, padding=1, count_include_pad=False),
    "global": global_avg_pool(),
    "flatten": flatten(),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


@every_layer
def test_derivatives_of_two_orders_in_both_modes(layer: Layer) -> None:
    with jax.enable_x64(True):
        # A permutation: no two numbers come near each other, so the step of the differences changes no maximum.
        x = jnp.asarray(RNG.permutation(2 * 4 * 4).reshape(2, 4, 4, 1) / 7)
        v = jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)

        def loss(x: jax.Array) -> jax.Array:
            return jnp.sum(jnp.sin(_output(layer, x)))

        @jax.jit
        def derivatives(x: jax.Array) -> Any:
            slope = jax.grad(loss)
            forward = jax.jvp(loss, (x,), (v,))[1]
            return slope(x), forward, jax.jvp(slope, (x,), (v,))[1], jax.grad(lambda x: jnp.vdot(slope(x), v))(x)

        h = 1e-5
        slope, forward, over_reverse, over_forward = derivatives(x)
        above, below = derivatives(x + h * v)[0], derivatives(x - h * v)[0]
        np.testing.assert_allclose(forward, (loss(x + h * v) - loss(x - h * v)) / (2 * h), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(jnp.vdot(slope, v), forward, rtol=1e-12)
        np.testing.assert_allclose(over_reverse, (above - below) / (2 * h), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(over_forward, over_reverse, rtol=1e-12, atol=1e-15)


@every_layer
def test_vmap_scan_and_jit_change_nothing(layer: Layer) -> None:
    xs = jax.random.normal(KEY, (2, 2, 4, 6, 2))

    def both(x: jax.Array) -> Any:
        return jax.value_and_grad(lambda v: jnp.sum(jnp.sin(_output(layer, v))))(x)

    expected = jax.tree.map(lambda *a: jnp.stack(a), *(both(x) for x in xs))
    vmapped = jax.jit(jax.vmap(both))(xs)
    _, scanned = jax.jit(lambda xs: jax.lax.scan(lambda c, x: (c, both(x)), None, xs))(xs)
    for got in (vmapped, scanned):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)


@pytest.mark.parametrize(
    "layer",
    [max_pool(2), max_pool(3, strides=2, padding=1), avg_pool((1, 2), padding="SAME"), global_avg_pool(), flatten()],
    ids=["max, tiles", "max, overlaps", "avg", "global", "flatten"],
)
def test_laws(layer: Layer) -> None:
    x = jax.ShapeDtypeStruct((4, 6, 5, 2), jnp.float32)
    fnn.laws.check_layer(layer, x, examples=3).raise_if_broken()


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"window": 0}, ValueError, "window: got 0, expected an integer >= 1"),
        ({"window": (2, -1)}, ValueError, "window: got -1, expected an integer >= 1"),
        ({"window": 2.0}, TypeError, r"window: got 2\.0, expected an integer >= 1"),
        ({"window": True}, TypeError, "window: got True, expected an integer >= 1"),
        ({"window": ()}, ValueError, r"window: got \(\), .*1 to 3 spatial axes"),
        ({"strides": 0}, ValueError, "strides: got 0, expected an integer >= 1"),
        ({"strides": (1, -2)}, ValueError, "strides: got -2, expected an integer >= 1"),
        ({"strides": "2"}, TypeError, "strides: got '2', expected an integer >= 1"),
        ({"padding": "same"}, ValueError, "padding: got 'same', expected one of SAME, VALID"),
        ({"padding": -1}, ValueError, 'padding: got -1, expected an integer >= 0. "SAME", "VALID"'),
        ({"padding": None}, TypeError, "padding: got None, expected an integer >= 0"),
        ({"padding": ((1, 2, 3), 1)}, TypeError, "padding: got a tuple of 3, expected an integer >= 0"),
    ],
)
def test_settings_that_no_input_suits(pool: Any, settings: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        pool(**({"window": 2} | settings))


def test_whether_padding_counts_is_yes_or_no() -> None:
    with pytest.raises(TypeError, match=r"^count_include_pad: got 1, expected True or False"):
        avg_pool(2, count_include_pad=1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
@pytest.mark.parametrize(
    ("settings", "shape", "match"),
    [
        ({"window": 3}, (1, 2, 8, 3), r"window: got .* reaches over 3, .* at most 2, the padded size of axis 1 of x"),
        ({"window": (1, 9), "padding": ((0, 0), (0, 1))}, (1, 2, 7, 3), "window: got .*over 9, expected at most 8"),
        ({"padding": 2}, (1, 8, 3), r"padding: got \(2, 2\) at axis 1 of x, expected less than the window's 2"),
        ({"padding": (0, (0, 2))}, (1, 8, 8, 3), r"padding: got \(0, 2\) at axis 2 of x, expected less than"),
        ({"window": (2, 2)}, (5, 9, 3), "window: got .*one integer for each of the 1 spatial axes"),
        ({"strides": (1, 1, 1)}, (5, 9, 9, 3), "strides: got .* 2 spatial axes"),
        ({"padding": ((1, 1),)}, (5, 9, 9, 3), "padding: got .*a pair for each of the 2 spatial axes"),
        ({}, (5, 3), r"x of (max|avg)_pool: got shape \(5, 3\).*x\[..., None\]"),
        ({}, (5, 3, 3, 3, 3, 3), r"x of (max|avg)_pool: got shape"),
        ({}, (0, 1, 3), "window: got .*over 2, expected at most 1"),
    ],
)
def test_inputs_that_do_not_fit(pool: Any, settings: Any, shape: tuple[int, ...], match: str) -> None:
    layer = pool(**({"window": 2} | settings))
    for apply in (layer.apply, jax.jit(layer.apply)):
        with pytest.raises(ValueError, match=f"^{match}"):
            apply({}, {}, jnp.ones(shape))


def test_wrong_numbers() -> None:
    pixels = jnp.ones((2, 8, 8, 3), jnp.uint8)
    for layer in (max_pool(2), avg_pool(2), global_avg_pool()):
        with pytest.raises(TypeError, match=r"^x: got dtype uint8, expected floating-point numbers\. .*standardize"):
            layer.apply({}, {}, pixels)
        with pytest.raises(TypeError, match=r"^x: got a list of 1, expected an array\. Convert it"):
            layer.apply({}, {}, [[[1.0]]])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"^x: got a list of 1, expected an array\. Convert it"):
        flatten().apply({}, {}, [1.0])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^x: got a scalar, expected a batch, \(n, \.\.\.\)"):
        flatten().apply({}, {}, jnp.float32(1))
    for shape in ((2, 3), (2, 3, 3, 3, 3, 3)):
        with pytest.raises(ValueError, match=r"^x of global_avg_pool: got shape \(2, 3.*, expected \(n, width, chan"):
            global_avg_pool().apply({}, {}, jnp.ones(shape))


def test_names() -> None:
    layers = (max_pool(2), avg_pool(2), global_avg_pool(), flatten())
    assert [layer.name for layer in layers] == ["max_pool", "avg_pool", "global_avg_pool", "flatten"]
    shapes = itertools.repeat(jnp.ones((2, 4, 4, 1)))
    assert all(layer.init(KEY, x) == ({}, {}) for layer, x in zip(layers, shapes, strict=False))


@pytest.mark.parametrize("window", [(5, 5), (6, 6)], ids=["our gradient", "XLA's gradient"])
def test_large_windows_that_overlap(window: tuple[int, int]) -> None:
    x = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
    layer = max_pool(window, strides=(2, 1), padding=((1, 2), (0, 3)))
    y, pullback = jax.vjp(lambda v: layer.apply({}, {}, v)[0], x)
    dx = np.zeros(x.shape)
    padded = np.pad(np.asarray(x), ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=-np.inf)
    for n, i, j, c in np.ndindex(y.shape):
        seen = padded[n, 2 * i : 2 * i + window[0], j : j + window[1], c]
        row, column = np.unravel_index(seen.argmax(), seen.shape)
        dx[n, 2 * i + row - 1, j + column, c] += 1
        assert y[n, i, j, c] == seen.max()
    np.testing.assert_array_equal(pullback(jnp.ones_like(y))[0], dx)
