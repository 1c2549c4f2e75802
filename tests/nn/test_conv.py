"""Convolution: values on paper, every lowering the same, gradients of any order, shapes, and refusals."""

import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import fnn
from fnn.nn import conv

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
# Each differs from the layer's defaults in another way; all fit 7 x 6 images of 4 channels.
SETTINGS: list[dict[str, Any]] = [
    {},
    {"padding": "VALID"},
    {"strides": 2},
    {"strides": (2, 3), "padding": 1},
    {"strides": 2, "padding": "VALID", "dilation": 2},
    {"dilation": (1, 2), "padding": ((2, 0), (0, 3))},
    {"padding": ((5, 4), (3, 6)), "strides": 3},
    {"groups": 2},
    {"groups": 2, "strides": 2, "padding": ((1, 0), (2, 1))},
    {"groups": 4},
    {"groups": 4, "strides": (1, 2), "dilation": 2, "padding": 2},
    {"use_bias": False},
]
CASES = [((3, 2), settings) for settings in SETTINGS] + [((1, 1), SETTINGS[i]) for i in (2, 7)]


def _output(layer: Any) -> Any:
    def output(params: Any, x: Any) -> Any:
        return layer.apply(params, {}, x)[0]

    return output


def _case(kernel: Any, settings: Any, lowering: str, dtype: Any = jnp.float32) -> tuple[Any, Any, Any]:
    layer = conv(8, kernel, b_init="gaussian", lowering=lowering, **settings)
    x = jax.random.normal(jax.random.key(1), (3, 7, 6, 4), dtype)
    return layer, layer.init(KEY, x)[0], x


def _conv(**settings: Any) -> Any:
    options: dict[str, Any] = {"channels": 4, "kernel_size": 3} | settings
    return conv(**options)


def _lane(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


# Values --------------------------------------------------------------------------------------------------


def test_value_by_the_definition() -> None:
    strides, dilation, (top, left) = (2, 1), (1, 2), (1, 2)
    layer = conv(6, (3, 2), strides=strides, padding=((top, 0), (left, 1)), dilation=dilation, groups=2)
    x = RNG.normal(size=(2, 7, 6, 4)).astype(np.float32)
    params, _ = layer.init(KEY, jnp.asarray(x))
    w = np.asarray(params["w"])
    y = np.asarray(layer.apply(params, {}, jnp.asarray(x))[0])
    padded = np.pad(x, ((0, 0), (top, 0), (left, 1), (0, 0)))
    for i, j, o in np.ndindex(y.shape[1:]):
        group = slice(2 * (o // 3), 2 * (o // 3) + 2)
        seen = [padded[:, 2 * i + k, j + 2 * m, group] @ w[k, m, :, o] for k in range(3) for m in range(2)]
        np.testing.assert_allclose(y[:, i, j, o], np.sum(seen, axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_one_to_three_dimensions_with_a_kernel_of_one_are_dense(axes: int) -> None:
    x = jax.random.normal(KEY, (2, *(5, 4, 3)[:axes], 3))
    params, _ = conv(4, 1).init(KEY, x)
    expected, _ = fnn.nn.dense(4).apply({"w": params["w"].reshape(3, 4), "b": params["b"]}, {}, x)
    np.testing.assert_allclose(conv(4, 1).apply(params, {}, x)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kernel", "settings"), CASES)
def test_every_lowering_has_the_same_value_and_gradients(kernel: Any, settings: dict[str, Any]) -> None:
    found = []
    for lowering in ("xla", "cpu", "auto"):
        layer, params, x = _case(kernel, settings, lowering)

        @jax.jit
        def both(params: Any, x: Any, layer: Any = layer) -> Any:
            y, pullback = jax.vjp(_output(layer), params, x)
            return y, pullback(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

        found.append(both(params, x))
    for other in found[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), other, found[0])


@pytest.mark.parametrize("shape", [(3, 11, 4), (2, 5, 4, 6, 4)])
def test_lowerings_agree_in_one_and_three_dimensions(shape: tuple[int, ...]) -> None:
    x, found = jax.random.normal(KEY, shape), []
    for lowering in ("xla", "cpu"):
        layer = conv(4, 3, strides=2, groups=2, lowering=lowering)
        params, _ = layer.init(KEY, x)
        found.append(jax.grad(lambda p, v: jnp.sum(jnp.sin(_output(layer)(p, v))), argnums=(0, 1))(params, x))  # noqa: B023
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *found)


def test_padding_same_keeps_the_size_and_splits_it_over_strides() -> None:
    for size, strides in itertools.product(range(1, 9), (1, 2, 3)):
        layer = conv(1, 3, strides=strides)
        x = jnp.ones((1, size, 1))
        assert layer.apply(layer.init(KEY, x)[0], {}, x)[0].shape == (1, -(-size // strides), 1)


# Derivatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"strides": 2}, {"groups": 4}, {"groups": 2, "dilation": 2}])
def test_second_derivatives_are_those_of_xla(settings: dict[str, Any]) -> None:
    found = []
    for lowering in ("xla", "cpu"):
        layer, params, x = _case((2, 2), settings, lowering)

        def loss(params: Any, x: Any, layer: Any = layer) -> Any:
            return jnp.sum(jnp.sin(_output(layer)(params, x)))

        def slope(params: Any, x: Any, loss: Any = loss) -> Any:
            d_params, d_x = jax.grad(loss, argnums=(0, 1))(params, x)
            return sum(jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves((d_params, d_x)))

        def twice(params: Any, x: Any, loss: Any = loss, slope: Any = slope) -> Any:
            over_reverse = jax.jvp(jax.grad(loss, argnums=1), (params, x), (params, jnp.cos(x)))[1]
            return jax.grad(slope, argnums=(0, 1))(params, x), over_reverse

        found.append(jax.jit(twice)(params, x))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *found)


def test_forward_mode_of_xla() -> None:
    layer, params, x = _case((3, 3), {}, "xla")
    y, dy = jax.jvp(_output(layer), (params, x), (jax.tree.map(jnp.zeros_like, params), x))
    np.testing.assert_allclose(dy, y - params["b"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lowering", ["auto", "cpu", "xla"])
@pytest.mark.parametrize("batched", ["params", "x", "both"])
def test_vmap_is_a_loop(lowering: str, batched: str) -> None:
    layer = conv(4, 3, strides=2, groups=2, lowering=lowering)
    xs = jax.random.normal(KEY, (3, 2, 6, 5, 4))
    params = jax.vmap(lambda key: layer.init(key, xs[0])[0])(jax.random.split(KEY, 3))
    axes = (None if batched == "x" else 0, None if batched == "params" else 0)
    args = (jax.tree.map(lambda p: p[0], params) if batched == "x" else params, xs[0] if batched == "params" else xs)
    slope = jax.grad(lambda p, v: jnp.sum(jnp.sin(_output(layer)(p, v))), argnums=(0, 1))
    together = jax.jit(jax.vmap(slope, in_axes=axes))(*args)
    slope = jax.jit(slope)
    for i in range(3):
        alone = slope(*(_lane(arg, i) if axis == 0 else arg for arg, axis in zip(args, axes, strict=True)))
        pairs = zip(jax.tree.leaves(_lane(together, i)), jax.tree.leaves(alone), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_inside_scan_and_jit_it_is_the_same() -> None:
    layer, params, x = _case((3, 3), {}, "auto")
    slope = jax.grad(lambda p: jnp.mean(_output(layer)(p, x) ** 2))

    def step(params: Any, _: None) -> tuple[Any, None]:
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, slope(params)), None

    scanned = jax.jit(lambda p: lax.scan(step, p, None, length=4)[0])(params)
    for _ in range(4):
        params = step(params, None)[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), scanned, params)


def test_the_gradients_are_in_the_fast_order_on_a_cpu_and_left_to_xla_elsewhere() -> None:
    layer, params, x = _case((3, 3), {}, "auto")
    slope = jax.jit(jax.grad(lambda p, v: jnp.sum(jnp.sin(_output(layer)(p, v))), argnums=(0, 1)))
    fast = "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"
    for platform, all_fast in {"cpu": True, "cuda": False, "tpu": False}.items():
        text = slope.trace(params, x).lower(lowering_platforms=(platform,)).as_text()
        orders = re.findall(r"dim_numbers = (.*?), window", text)
        # On a CPU the kernel's gradient is a product, no convolution.
        assert len(orders) == (2 if all_fast else 3)
        assert all(order == fast for order in orders) == all_fast


# Dtypes, parameters, laws --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("lowering", ["cpu", "xla"])
def test_dtype_of_x_is_kept_in_value_and_gradients(dtype: Any, lowering: str) -> None:
    layer, params, x = _case((2, 2), {}, lowering, dtype)
    y, pullback = jax.vjp(_output(layer), params, x)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, y, pullback(y)))} == {jnp.dtype(dtype)}


def test_first_parameters() -> None:
    x = jax.ShapeDtypeStruct((2, 9, 9, 6), jnp.float32)
    params, state = conv(50, (3, 2), groups=2).init(KEY, x)
    assert jax.tree.map(jnp.shape, (params, state)) == ({"w": (3, 2, 3, 50), "b": (50,)}, {})
    assert not params["b"].any()
    he = conv(512, 3, w_init="he").init(KEY, x)[0]["w"]
    np.testing.assert_allclose(float(he.std()), (2 / 54) ** 0.5, rtol=0.02)


@pytest.mark.parametrize(
    "layer",
    [conv(3, 3), conv(4, 2, strides=2, groups=2, lowering="cpu"), conv(2, 3, groups=2, padding="VALID", dilation=2)],
)
def test_laws(layer: Any) -> None:
    fnn.laws.check_layer(layer, jax.ShapeDtypeStruct((4, 6, 5, 2), jnp.float32), examples=3).raise_if_broken()


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"channels": 0}, "channels: got 0, expected an integer >= 1"),
        ({"kernel_size": 0}, "kernel_size: got 0"),
        ({"kernel_size": (3, 3, 3, 3)}, "kernel_size: got .*1 to 3 spatial axes"),
        ({"strides": 0}, "strides: got 0, expected an integer >= 1"),
        ({"strides": (1, -2)}, "strides: got -2, expected an integer >= 1"),
        ({"dilation": 0}, "dilation: got 0"),
        ({"padding": "same"}, "padding: got 'same', expected one of SAME, VALID"),
        ({"padding": -1}, "padding: got -1"),
        ({"padding": ((1, 2), (1, -1))}, "padding: got -1"),
        ({"groups": 0}, "groups: got 0"),
        ({"groups": 3}, "groups: got 3, expected a divisor of channels=4"),
        ({"lowering": "gpu"}, "lowering: got 'gpu', expected one of auto, cpu, xla"),
    ],
)
def test_settings_that_no_input_suits(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        _conv(**settings)


@pytest.mark.parametrize("name", ["kernel_size", "strides", "dilation", "padding"])
def test_settings_of_the_wrong_kind(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: got 1.5"):
        _conv(**{name: 1.5})


@pytest.mark.parametrize(
    ("settings", "shape", "match"),
    [
        ({"padding": "VALID"}, (1, 2, 8, 3), r"kernel_size: got .* over 3, .* at most 2, the padded size of axis 1"),
        ({"padding": "VALID", "dilation": 4}, (1, 9, 8, 3), "reaches over 9, expected at most 8"),
        ({"padding": ((1, 0), (0, 0)), "kernel_size": 9}, (1, 7, 9, 3), "reaches over 9, expected at most 8"),
        ({"groups": 2}, (1, 8, 8, 3), "x: got 3 channels.* expected a multiple of groups=2"),
        ({"groups": 2}, (1, 4, 9, 7), r"Channels come last here: x.transpose\(0, 2, 3, 1\)"),
        ({}, (5, 3, 32, 32), r"looks like \(n, channels, height, width\).*x.transpose\(0, 2, 3, 1\)"),
        ({}, (5, 1, 28, 28), r"looks like \(n, channels, height, width\)"),
        ({}, (5, 3), r"x of conv: got shape \(5, 3\).*x\[..., None\]"),
        ({}, (5, 3, 3, 3, 3, 3), "x of conv: got shape"),
        ({"kernel_size": (3, 3)}, (5, 9, 3), "kernel_size: got .*one integer for each of the 1 spatial axes"),
        ({"strides": (1, 1, 1)}, (5, 9, 9, 3), "strides: got .* 2 spatial axes"),
        ({"padding": ((1, 1),)}, (5, 9, 9, 3), "padding: got .*a pair for each of the 2 spatial axes"),
    ],
)
def test_inputs_that_do_not_fit(settings: dict[str, Any], shape: tuple[int, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        _conv(**settings).init(KEY, jnp.ones(shape))


def test_channels_first_are_told_by_the_parameters_too() -> None:
    layer = conv(4, 3)
    params, _ = layer.init(KEY, jnp.ones((2, 9, 9, 5)))
    with pytest.raises(ValueError, match=r"expected 5 channels on the last axis. Channels come last here"):
        layer.apply(params, {}, jnp.ones((2, 5, 9, 8)))
    with pytest.raises(ValueError, match=r"got shape \(2, 9, 9, 3\), expected 5 channels on the last axis.$"):
        layer.apply(params, {}, jnp.ones((2, 9, 9, 3)))


def test_wrong_numbers() -> None:
    layer = conv(4, 3)
    with pytest.raises(TypeError, match=r"dtype uint8, expected floating-point numbers.*standardize"):
        layer.init(KEY, jnp.ones((2, 9, 9, 3), jnp.uint8))
    params, _ = layer.init(KEY, jnp.ones((2, 9, 9, 3)))
    with pytest.raises(TypeError, match="x: got dtype bfloat16, expected float32, as w is"):
        layer.apply(params, {}, jnp.ones((2, 9, 9, 3), jnp.bfloat16))
    with pytest.raises(ValueError, match="params of conv: got entries"):
        layer.apply({"w": params["w"]}, {}, jnp.ones((2, 9, 9, 3)))
