"""Networks: perceptron and mlp against a loop in NumPy, where dropout and norm stand, first weights, refusals."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fnn import activations, initializers
from fnn.nn import Layer, dense, dropout, mlp, perceptron, sequential, stateless

KEY, NOISE = jax.random.key(0), jax.random.key(1)
X = jax.random.normal(jax.random.key(2), (6, 4))
FORMULAS = {
    "identity": lambda z: z,
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softplus": lambda z: np.logaddexp(0, z),
}


def _equal(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


# The forward pass ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("widths", [[3], [5, 3], (7, 5, 6, 1)])
def test_mlp_is_the_loop_on_paper(widths: Any, name: str) -> None:
    f = FORMULAS[name]
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = rng.normal(size=(6, 4))
        net = mlp(widths, name)
        drawn, state = net.init(KEY, jnp.asarray(x))
        # Biases too, which start at 0.
        params = jax.tree.map(lambda p: rng.normal(size=p.shape), drawn)
        h = x
        for layer, width in enumerate(widths):
            w, b = params[f"dense_{layer}"]["w"], params[f"dense_{layer}"]["b"]
            assert (w.shape, b.shape) == ((h.shape[1], width), (width,))
            z = h @ w + b
            h = z if layer == len(widths) - 1 else f(z)
        assert (set(params), state) == ({f"dense_{layer}" for layer in range(len(widths))}, {})
        y, state = net.apply(params, state, jnp.asarray(x))
        assert (y.dtype, state) == (jnp.float64, {})
        np.testing.assert_allclose(y, h, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("units", [1, 3])
def test_perceptron_is_the_formula_on_paper(units: int, name: str) -> None:
    with jax.enable_x64(True):
        x = jnp.asarray(X, jnp.float64)
        net = perceptron(units, name)
        params, state = net.init(KEY, x)
        w, b = params["dense_0"]["w"], jnp.arange(1.0, units + 1)
        assert (w.shape, state, set(params)) == ((4, units), {}, {"dense_0"})
        y, _ = net.apply({"dense_0": {"w": w, "b": b}}, state, x)
        np.testing.assert_allclose(y, FORMULAS[name](np.asarray(x) @ np.asarray(w) + np.asarray(b)), rtol=1e-12)


def test_names() -> None:
    assert (perceptron().name, mlp([1]).name) == ("perceptron", "mlp")


TRUTH = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize(("gate", "y"), [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("nand", [1, 1, 1, 0])])
def test_perceptron_learns_a_gate_by_its_own_rule(gate: str, y: list[int]) -> None:
    """Rosenblatt's `w <- w + (y - f(x)) x` stops on its own where a line parts the classes."""
    net, x, target = perceptron(), jnp.asarray(TRUTH, jnp.float32), jnp.array(y, jnp.float32)[:, None]
    params: Any = {"dense_0": {"w": jnp.zeros((2, 1)), "b": jnp.zeros(1)}}
    for _ in range(10):
        for i in range(4):
            wrong = target[i] - net.apply(params, {}, x[i : i + 1])[0][0]
            params = {
                "dense_0": {"w": params["dense_0"]["w"] + x[i, :, None] * wrong, "b": params["dense_0"]["b"] + wrong}
            }
    np.testing.assert_array_equal(net.apply(params, {}, x)[0], target)


def test_two_layers_solve_xor_which_no_perceptron_does() -> None:
    hidden = {"w": jnp.array([[1.0, 1.0], [1.0, 1.0]]), "b": jnp.array([-0.5, -1.5])}
    params = {"dense_0": hidden, "dense_1": {"w": jnp.array([[1.0], [-1.0]]), "b": jnp.zeros(1)}}
    y, _ = mlp([2, 1], "step").apply(params, {}, jnp.asarray(TRUTH, jnp.float32))
    np.testing.assert_array_equal(y[:, 0], [0, 1, 1, 0])


# Where dropout and norm stand ----------------------------------------------------------------------------


def test_dropout_acts_on_the_activations_of_hidden_layers_alone() -> None:
    net, x = mlp([200, 30], "sigmoid", dropout=0.5), jnp.ones((64, 1))
    # Hidden units are sigmoid(0) = 1/2, dropped to 0 or raised to 1; each output counts those that stay.
    hidden = {"w": jnp.zeros((1, 200)), "b": jnp.zeros(200)}
    params = {"dense_0": hidden, "dense_1": {"w": jnp.ones((200, 30)), "b": jnp.zeros(30)}}
    y = np.asarray(net.apply(params, {}, x, train=True, key=NOISE)[0])
    np.testing.assert_array_equal(y, np.round(y))
    np.testing.assert_array_equal(y, y[:, :1] * np.ones(30))
    # 100 of 200 within 5 standard deviations, and not the same in each example.
    assert np.all(np.abs(y - 100) <= 5 * np.sqrt(50))
    assert len(np.unique(y)) > 10
    np.testing.assert_array_equal(net.apply(params, {}, x)[0], np.full((64, 30), 100.0))


def test_the_input_is_not_dropped() -> None:
    net = mlp([1, 1], "identity", dropout=0.5, w_init="zeros")
    x = jnp.arange(1.0, 101)[:, None]
    one = {"w": jnp.ones((1, 1)), "b": jnp.zeros(1)}
    y = np.asarray(net.apply({"dense_0": one, "dense_1": one}, {}, x, train=True, key=NOISE)[0] / x)
    # Dropped twice, 3/4 would be 0 and the rest 4 x.
    assert set(np.unique(y)) == {0, 2}


def test_every_hidden_layer_has_its_dropout() -> None:
    net = mlp([300, 1, 300, 1], "identity", dropout=0.5, w_init="zeros")
    like = net.init(KEY, jnp.ones((1, 1)))[0]
    params = jax.tree.map(lambda p: jnp.ones_like(p) / len(p) if p.ndim == 2 else p, like)
    y = np.asarray(net.apply(params, {}, jnp.ones((200, 1)), train=True, key=NOISE)[0])
    # The narrow layer gives 0 or 2, times 1 from each wide one: a mean of 300, good to 0.06.
    assert 0.3 < (y == 0).mean() < 0.7
    assert np.all((y == 0) | (np.abs(y - 2) < 1))
    assert len(np.unique(y)) > 20


@pytest.mark.parametrize("rate", [0, 0.0, np.float32(0), jnp.array(0.0)])
def test_without_dropout_training_needs_no_key(rate: Any) -> None:
    net = mlp([5, 3], dropout=rate)
    params, state = net.init(KEY, X)
    _equal(net.apply(params, state, X, train=True), net.apply(params, state, X))


def test_with_dropout_training_needs_a_key() -> None:
    net = mlp([5, 3], dropout=0.5)
    params, state = net.init(KEY, X)
    with pytest.raises(ValueError, match=r"^key: got None, expected one typed key: dropout draws a mask in training\."):
        net.apply(params, state, X, train=True)
    # There is nothing to drop without a hidden layer.
    params, state = mlp([3], dropout=0.5).init(KEY, X)
    _equal(mlp([3], dropout=0.5).apply(params, state, X, train=True), mlp([3]).apply(params, state, X))


def test_a_traced_rate() -> None:
    params, state = mlp([50, 3]).init(KEY, X)

    def output(rate: Any) -> jax.Array:
        return mlp([50, 3], dropout=rate).apply(params, state, X, train=True, key=NOISE)[0]

    for y, rate in zip(jax.vmap(output)(jnp.array([0.0, 0.5])), (0.0, 0.5), strict=True):
        np.testing.assert_allclose(y, output(rate), rtol=1e-6, atol=1e-6)


def test_norm_stands_before_each_activation() -> None:
    made = []

    def norm() -> Layer:
        made.append(stateless("shift", lambda z: z - 1))
        return made[-1]

    net = mlp([4, 4, 4], "relu", norm=norm)
    assert len(made) == 2
    params, state = net.init(KEY, X)
    explicit = sequential(dense(4), made[0], stateless("relu", jax.nn.relu), dense(4), made[1],
                          stateless("relu", jax.nn.relu), dense(4))  # fmt: skip
    _equal(net.apply(params, state, X), explicit.apply(params, state, X))


def test_norm_may_have_parameters_and_state() -> None:
    def init(key: Any, x: Any) -> Any:
        return {"scale": jnp.full(x.shape[-1], 2.0)}, {"seen": jnp.zeros((), jnp.int32)}

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return x * params["scale"], {"seen": state["seen"] + len(x)} if train else state

    net = mlp([5, 7, 3], norm=lambda: Layer("norm", init, apply))
    params, state = net.init(KEY, X)
    assert sorted(params) == ["dense_0", "dense_1", "dense_2", "norm_0", "norm_1"]
    assert [params[f"norm_{i}"]["scale"].shape for i in (0, 1)] == [(5,), (7,)]
    _equal(net.apply(params, state, X, train=True)[1], {"norm_0": {"seen": 6}, "norm_1": {"seen": 6}})
    _equal(net.apply(params, state, X)[1], state)


# First weights -------------------------------------------------------------------------------------------

RELU_LIKE = ["relu", "leaky_relu", "elu", "gelu", "silu", "softplus"]


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        *((f, "he") for f in (*RELU_LIKE, jax.nn.relu, partial(activations.leaky_relu, slope=0.2))),
        *((f, "normalized_xavier") for f in ("sigmoid", "tanh", "identity", "step", "softmax", lambda z: z, jnp.sin)),
    ],
)
def test_first_weights_fit_the_activation(activation: Any, name: str) -> None:
    params = mlp([8, 6, 3], activation).init(KEY, X)[0]
    hidden = mlp([8, 6, 3], w_init=name).init(KEY, X)[0]
    # The last layer has no activation.
    last = mlp([8, 6, 3], w_init="normalized_xavier").init(KEY, X)[0]
    _equal(params, {"dense_0": hidden["dense_0"], "dense_1": hidden["dense_1"], "dense_2": last["dense_2"]})


def test_w_init_draws_every_weight() -> None:
    params = mlp([5, 4, 3], "relu", w_init=initializers.constant(0.5)).init(KEY, X)[0]
    for i, shape in enumerate([(4, 5), (5, 4), (4, 3)]):
        np.testing.assert_array_equal(params[f"dense_{i}"]["w"], np.full(shape, 0.5))
        np.testing.assert_array_equal(params[f"dense_{i}"]["b"], np.zeros(shape[1]))


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("widths", "options", "error", "match"),
    [
        ([], {}, ValueError, r"widths: got \[\], expected hidden widths, then the number of outputs\. Such as \[128,"),
        (10, {}, ValueError, r"widths: got 10, expected hidden widths, then the number of outputs\."),
        ("12", {}, ValueError, r"widths: got 12, expected hidden widths, then the number of outputs\."),
        (np.array([3, 1]), {}, ValueError, r"widths: got \[3 1\], expected hidden widths"),
        ([5, 0, 1], {}, ValueError, r"widths\[1\]: got 0, expected an integer >= 1\."),
        ([5, 1.0], {}, TypeError, r"widths\[1\]: got 1\.0, expected an integer >= 1\."),
        ([True], {}, TypeError, r"widths\[0\]: got True, expected an integer >= 1\."),
        ([1], {"activation": "rleu"}, ValueError, r"activation: got 'rleu', .* Did you mean 'relu' or 'elu'"),
        ([1], {"activation": None}, TypeError, r"activation: got None, expected a function Array -> Array"),
        ([1], {"w_init": "xavie"}, ValueError, r"initializer: got 'xavie', .* Did you mean 'xavier'"),
        ([2, 1], {"w_init": initializers.he}, TypeError, r"initializer: got the factory he, .* Call it: he\(\)\."),
        ([1], {"dropout": 1.5}, ValueError, r"rate: got 1\.5, expected a number in \[0, 1\)\."),
        ([2, 1], {"dropout": np.nan}, ValueError, r"rate: got nan, expected a number in \[0, 1\)\."),
        # Neither is taken for 0.
        ([2, 1], {"dropout": False}, TypeError, r"rate: got False, expected a number in \[0, 1\)\."),
        ([2, 1], {"dropout": None}, TypeError, r"rate: got None, expected a number in \[0, 1\)\."),
        ([1], {"norm": "batch"}, TypeError, r"norm: got 'batch', expected a function that makes a normalization layer"),
        ([2, 1], {"norm": dropout(0.5)}, TypeError, r"norm: got a Layer of 3, expected a function that makes"),
        ([2, 1], {"norm": lambda: dense}, TypeError, r"layers\[1\]: got dense, expected a Layer\. Call it: dense"),
    ],
)
def test_mlp_arguments(widths: Any, options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        mlp(widths, **options)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"units": 0}, ValueError, r"units: got 0, expected an integer >= 1\."),
        ({"activation": "stp"}, ValueError, r"activation: got 'stp', .* Did you mean 'step'"),
    ],
)
def test_perceptron_arguments(arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        perceptron(**arguments)


@pytest.mark.parametrize(("net", "name"), [(mlp([3, 4]), "mlp"), (perceptron(4), "perceptron")])
@pytest.mark.parametrize("shape", [(), (4,), (6, 2, 2)])
def test_examples_are_rows(net: Layer, name: str, shape: tuple[int, ...]) -> None:
    got = rf"^x: got shape \({', '.join(map(str, shape))},?\), expected shape \(n, d_in\) for {name}\. "
    remedy = r"Flatten each example: x\.reshape\(len\(x\), -1\)\." if len(shape) > 2 else r"One example: x\[None\]\."
    match = got + remedy
    params, state = net.init(KEY, X)
    with pytest.raises(ValueError, match=match):
        net.init(KEY, jax.ShapeDtypeStruct(shape, jnp.float32))
    with pytest.raises(ValueError, match=match):
        jax.jit(net.apply)(params, state, jnp.ones(shape))


@pytest.mark.parametrize("net", [mlp([3, 4]), perceptron(4)])
def test_examples_are_floats_of_the_size_of_the_first_weights(net: Layer) -> None:
    params, state = net.init(KEY, X)
    with pytest.raises(TypeError, match=r"^x: got dtype int32, expected floating-point numbers\. Cast it: x\.astype"):
        net.init(KEY, X.astype(int))
    with pytest.raises(TypeError, match=r"^x: got a list of 1, expected an array\. Convert it: jnp\.asarray\(x\)\."):
        net.apply(params, state, [[1.0, 2.0, 3.0, 4.0]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^x: got shape \(6, 3\), expected last axis 4, as w is \(4, "):
        net.apply(params, state, X[:, :3])
    with pytest.raises(ValueError, match=r"^params: got entries dense_9, expected some of dense_0, "):
        net.apply({"dense_9": params["dense_0"]}, state, X)
    with pytest.raises(TypeError, match=r"^key: got a legacy uint32 key, expected one typed key\."):
        net.init(jax.random.key_data(KEY), X)
