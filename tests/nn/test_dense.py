"""Dense: value and gradients against the formulas on paper, shapes, dtypes, first weights and refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn import initializers
from fnn.nn import dense

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
DTYPES = [jnp.bfloat16, jnp.float16, jnp.float32]
X = jnp.ones((4, 3))
PARAMS = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}


def _integers(*shape: int) -> np.ndarray:
    """Small whole numbers: their products and sums are exact in every floating-point dtype."""
    return RNG.integers(-2, 3, shape).astype(float)


# Value and gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lead", [(1,), (5,), (2, 3), (2, 3, 2)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_value_and_gradients_on_paper(lead: tuple[int, ...], use_bias: bool, dtype: Any) -> None:
    x, w, b, d = _integers(*lead, 4), _integers(4, 3), _integers(3), _integers(*lead, 3)
    layer = dense(3, use_bias=use_bias)
    params = {name: jnp.asarray(p, dtype) for name, p in {"w": w, "b": b}.items() if use_bias or name == "w"}

    def output(params: Any, x: Any) -> Any:
        return layer.apply(params, {}, x)[0]

    y, pullback = jax.vjp(output, params, jnp.asarray(x, dtype))
    d_params, d_x = pullback(jnp.asarray(d, dtype))
    np.testing.assert_array_equal(y, x @ w + b * use_bias)
    np.testing.assert_array_equal(d_x, d @ w.T)
    rows, deltas = x.reshape(-1, 4), d.reshape(-1, 3)
    expected = {"w": rows.T @ deltas, "b": deltas.sum(axis=0)}
    assert set(d_params) == set(params)
    for name, p in d_params.items():
        np.testing.assert_array_equal(p, expected[name])
    assert {leaf.dtype for leaf in (y, d_x, *d_params.values())} == {jnp.dtype(dtype)}


def test_value_in_float64() -> None:
    x, w, b = RNG.normal(size=(5, 40)), RNG.normal(size=(40, 3)), RNG.normal(size=3)
    with jax.enable_x64(True):
        y, state = dense(3).apply({"w": w, "b": b}, {}, jnp.asarray(x))
        assert (y.dtype, state) == (jnp.float64, {})
        np.testing.assert_allclose(y, x @ w + b, rtol=1e-13)


def test_float64_arrays_of_numpy_are_float32_without_x64() -> None:
    x: Any = _integers(5, 4)
    w = _integers(4, 3)
    y, _ = dense(3, use_bias=False).apply({"w": w}, {}, x)
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, x @ w)


def test_mode_and_key_do_not_matter() -> None:
    layer = dense(2)
    y = layer.apply(PARAMS, {}, X)[0]
    np.testing.assert_array_equal(layer.apply(PARAMS, {}, X, train=True, key=KEY)[0], y)


def test_no_examples() -> None:
    assert dense(2).apply(PARAMS, {}, X[:0])[0].shape == (0, 2)


# First weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_first_weights(dtype: Any) -> None:
    params, state = dense(50).init(KEY, jnp.ones((2, 7, 100), dtype))
    assert state == {}
    assert {name: (p.shape, p.dtype) for name, p in params.items()} == {
        "w": ((100, 50), jnp.dtype(dtype)),
        "b": ((50,), jnp.dtype(dtype)),
    }
    w = np.asarray(params["w"], np.float64)
    # U[-a, a] with a = sqrt(6 / (100 + 50)) = 0.2: of 5,000 draws the largest is near a.
    assert 0.199 < np.abs(w).max() <= float(jnp.asarray(0.2, dtype))
    assert not params["b"].any()


@pytest.mark.parametrize("bare", [initializers.normalized_xavier(), "normalized_xavier", "glorot_uniform"])
def test_default_is_normalized_xavier(bare: Any) -> None:
    for a, b in zip(dense(5).init(KEY, X)[0].values(), dense(5, w_init=bare).init(KEY, X)[0].values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_initializer_or_its_name() -> None:
    layer = dense(3, w_init=initializers.constant(2.0), b_init=lambda _, *array: 5 + jnp.zeros(*array))
    params, _ = layer.init(KEY, X)
    np.testing.assert_array_equal(params["w"], np.full((3, 3), 2))
    np.testing.assert_array_equal(params["b"], np.full(3, 5))
    np.testing.assert_array_equal(dense(3, w_init="zeros").init(KEY, X)[0]["w"], np.zeros((3, 3)))


def test_w_and_b_are_drawn_apart() -> None:
    params, _ = dense(6, w_init="gaussian", b_init="gaussian").init(KEY, jnp.ones((1, 1)))
    assert not jnp.any(params["w"][0] == params["b"])


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"units": 0}, ValueError, r"units: got 0, expected an integer >= 1\."),
        ({"units": 2.0}, TypeError, r"units: got 2\.0, expected an integer >= 1\."),
        ({"units": True}, TypeError, r"units: got True, expected an integer >= 1\."),
        ({"units": [2, 3]}, TypeError, r"units: got a list of 2, expected an integer >= 1\."),
        ({"units": 2, "use_bias": 0}, TypeError, r"use_bias: got 0, expected True or False\."),
        ({"units": 2, "w_init": "hee"}, ValueError, r"initializer: got 'hee', expected .* Did you mean 'he'"),
        ({"units": 2, "b_init": "zero"}, ValueError, r"initializer: got 'zero', expected .* Did you mean 'zeros'\?"),
        ({"units": 2, "w_init": initializers.he}, TypeError, r"initializer: got the factory he, .* Call it: he\(\)"),
        ({"units": 2, "b_init": 0.0}, TypeError, r"initializer: got 0\.0, expected a function \(key, shape, dtype\)"),
    ],
)
def test_arguments(arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        dense(**arguments)


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (
            jnp.ones(3),
            ValueError,
            r"x: got shape \(3,\), expected shape \(n, \.\.\., d_in\), .* batch of one: x\[None",
        ),
        (jnp.ones(()), ValueError, r"x: got shape \(\), expected shape \(n, \.\.\., d_in\), examples first\."),
        (jnp.ones((4, 3), int), TypeError, r"x: got dtype int32, expected floating.* Cast it: x\.astype\(jnp\.float32"),
        (jnp.ones((4, 3), bool), TypeError, r"x: got dtype bool, expected floating-point numbers\."),
        (jnp.ones((4, 3), complex), TypeError, r"x: got dtype complex64, expected floating-point numbers\."),
        ([[1.0, 2.0, 3.0]], TypeError, r"x: got a list of 1, expected an array\. Convert it: jnp\.asarray\(x\)\."),
        (1.0, TypeError, r"x: got 1\.0, expected an array\."),
    ],
)
def test_x(x: Any, error: type[Exception], match: str) -> None:
    layer = dense(2)
    with pytest.raises(error, match=f"^{match}"):
        layer.init(KEY, x)
    with pytest.raises(error, match=f"^{match}"):
        layer.apply(PARAMS, {}, x)


W, B = PARAMS["w"], PARAMS["b"]


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        (
            {"w": jnp.ones((4, 2)), "b": B},
            ValueError,
            r"x: got shape \(4, 3\), expected last axis 4, as w is \(4, 2\)\.",
        ),
        (
            {"w": jnp.ones((3, 5)), "b": jnp.zeros(5)},
            ValueError,
            r"params of dense, w: got shape \(3, 5\), expected shape \(3, 2\)\. These are another layer's: make them",
        ),
        ({"w": jnp.ones(3), "b": B}, ValueError, r"params of dense, w: got shape \(3,\), expected shape \(3, 2\)\."),
        # Both of these would broadcast in silence.
        ({"w": W, "b": jnp.ones(1)}, ValueError, r"params of dense, b: got shape \(1,\), expected shape \(2,\)\."),
        ({"w": W, "b": jnp.ones(())}, ValueError, r"params of dense, b: got shape \(\), expected shape \(2,\)\."),
        (
            {"w": W},
            ValueError,
            r"params of dense: got entries \['w'\], expected entries \['b', 'w'\]\. Make them",
        ),
        ({"kernel": W, "b": B}, ValueError, r"params of dense: got entries \['b', 'kernel'\], expected entries"),
        ({"dense_0": PARAMS}, ValueError, r"params of dense: got entries \['dense_0'\], expected entries \['b', 'w'\]"),
        ([W, B], ValueError, r"params of dense: got a list, expected entries \['b', 'w'\]\."),
        (None, ValueError, r"params of dense: got a NoneType, expected entries \['b', 'w'\]\."),
        (
            {"w": W.tolist(), "b": B},
            TypeError,
            r"w: got a list of 3, expected an array\. Convert it: jnp\.asarray\(w",
        ),
        ({"w": W, "b": 0.0}, TypeError, r"b: got 0\.0, expected an array\."),
        (
            {"w": W.astype(int), "b": B},
            TypeError,
            r"w: got dtype int32, expected floating.* Cast it: w\.astype\(jnp",
        ),
        ({"w": W, "b": B.astype(int)}, TypeError, r"b: got dtype int32, expected floating-point numbers\."),
        (
            {"w": W.astype(jnp.bfloat16), "b": B.astype(jnp.bfloat16)},
            TypeError,
            r"x: got dtype float32, expected bfloat16, as w is\. Cast it: x\.astype\(bfloat16\)\.",
        ),
        ({"w": W, "b": B.astype(jnp.float16)}, TypeError, r"x: got dtype float32, expected float16, as b is\."),
    ],
)
def test_parameters_of_another_layer(params: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        dense(2).apply(params, {}, X)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.jacobian])
def test_shapes_are_checked_under_a_trace(transform: Any) -> None:
    x = jnp.ones((2, 4, 5))
    with pytest.raises(ValueError, match=r"^x: got shape \(.*4, 5\), expected last axis 3, as w is \(3, 2\)\."):
        transform(lambda x: dense(2).apply(PARAMS, {}, x)[0])(x)


def test_a_bias_that_the_layer_does_not_have() -> None:
    match = r"^params of dense: got entries \['b', 'w'\], expected entries \['w'\]\. Make them with init\."
    with pytest.raises(ValueError, match=match):
        dense(2, use_bias=False).apply(PARAMS, {}, X)


def test_a_legacy_key() -> None:
    with pytest.raises(TypeError, match=r"^key: got a legacy uint32 key, expected one typed key\."):
        dense(2).init(jax.random.key_data(KEY), X)


@pytest.mark.parametrize(
    ("draw", "got"),
    [
        (lambda key, shape, dtype: jnp.ones(3), r"float32\[3\]"),
        (lambda key, shape, dtype: jnp.ones(shape, int), r"int32\[2, 4\]"),
        (lambda key, shape, dtype: np.ones(shape), r"float64\[2, 4\]"),
        (jax.nn.initializers.he_normal, "a function"),
    ],
)
def test_an_initializer_draws_what_it_is_asked_for(draw: Any, got: str) -> None:
    match = rf"^what w_init draws: got {got}, expected float32\[2, 4\]\. An initializer draws: \(key, shape, dtype\)"
    with pytest.raises(ValueError, match=match):
        dense(4, w_init=draw).init(jax.random.key(0), jnp.ones((1, 2)))
