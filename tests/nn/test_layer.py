"""Layers: the laws that every network obeys, names of parameters, state, and what sequential and residual refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from fnn.nn import Layer, activation, check_layer, dense, dropout, mlp, residual, sequential, stateless
from fnn.nn.layer import Shaped
from fnn.typing import Array, Key, Params, State

KEY, NOISE = jax.random.key(0), jax.random.key(1)
X = jax.random.normal(jax.random.key(2), (4, 3))


def center(name: str = "center") -> Layer:
    """A layer with state: in training it takes off the mean of the batch, in evaluation that of all so far."""

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        return {}, {"count": jnp.zeros((), jnp.int32), "mean": jnp.zeros(x.shape[-1], x.dtype)}

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        if not train:
            return x - state["mean"], state
        mean, count = x.mean(axis=0), state["count"] + 1
        return x - mean, {"count": count, "mean": state["mean"] + (mean - state["mean"]) / count}

    return Layer(name, init, apply)


NETS = {
    "dense": dense(2),
    "activation": activation("tanh"),
    "dropout": dropout(0.5),
    "center": center(),
    "nested": sequential(dense(2), sequential(center(), dense(3), residual(dense(3))), residual(dropout(0.5))),
    "mlp": mlp([5, 2], "tanh", dropout=0.2, norm=center),
    "shortcut": residual(sequential(dense(2), center()), sequential(dropout(0.5), dense(2))),
}
every_net = pytest.mark.parametrize("net", NETS.values(), ids=NETS)
both_modes = pytest.mark.parametrize("train", [False, True])


def _equal(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(x, y)


# Laws ----------------------------------------------------------------------------------------------------


@every_net
def test_init_needs_only_a_shape_and_a_key(net: Layer) -> None:
    drawn = net.init(KEY, X)
    _equal(net.init(KEY, jax.ShapeDtypeStruct(X.shape, X.dtype)), drawn)
    _equal(net.init(KEY, jnp.full((7, 3), jnp.nan)), drawn)
    shapes = jax.eval_shape(net.init, KEY, X)
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(lambda leaf: leaf.shape, shapes)


@every_net
@both_modes
def test_apply_is_a_function_of_its_arguments(net: Layer, train: bool) -> None:
    params, state = net.init(KEY, X)
    before = jax.tree.map(np.array, (params, state))
    first = net.apply(params, state, X, train=train, key=NOISE)
    _equal(net.apply(params, state, X, train=train, key=NOISE), first)
    _equal(jax.tree.map(np.array, (params, state)), before)


@every_net
def test_evaluation_needs_no_key_draws_nothing_and_keeps_the_state(net: Layer) -> None:
    params, state = net.init(KEY, X)
    y, after = net.apply(params, state, X)
    _equal(after, state)
    _equal(net.apply(params, state, X, train=False, key=NOISE)[0], y)


@every_net
@both_modes
def test_jit_changes_nothing(net: Layer, train: bool) -> None:
    params, state = net.init(KEY, X)
    got = jax.jit(net.apply, static_argnames="train")(params, state, X, train=train, key=NOISE)
    expected = net.apply(params, state, X, train=train, key=NOISE)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    # A fused program rounds sums in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), got, expected)


@every_net
def test_a_population_is_its_members(net: Layer) -> None:
    def train(key: Key, x: Array) -> Any:
        params, state = net.init(key, x)
        return params, net.apply(params, state, x, train=True, key=key)

    keys, x = jax.random.split(KEY, 3), jnp.stack([X, 2 * X, -X])
    together = jax.vmap(train)(keys, x)
    for i in range(3):
        alone = train(keys[i], x[i])
        member = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        assert jax.tree.structure(member) == jax.tree.structure(alone)
        # A batched product rounds sums in another order.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), member, alone)


@every_net
@both_modes
def test_gradients_are_those_of_finite_differences(net: Layer, train: bool) -> None:
    with jax.enable_x64(True):
        x = X.astype(jnp.float64)
        params, state = net.init(KEY, x)

        def output(p: Params, x: Array) -> Array:
            return net.apply(p, state, x, train=train, key=NOISE)[0]

        # A step of 1e-6 leaves 1e-16 / 1e-6 of rounding in the differences.
        check_grads(output, (params, x), order=1, modes=["rev"], atol=1e-8, rtol=1e-8, eps=1e-6)


@every_net
def test_the_dtype_is_that_of_x(net: Layer) -> None:
    for dtype in (jnp.float16, jnp.bfloat16):
        x = X.astype(dtype)
        params, state = net.init(KEY, x)
        floats = [leaf.dtype for leaf in jax.tree.leaves((params, state)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        assert set(floats) <= {jnp.dtype(dtype)}
        assert net.apply(params, state, x, train=True, key=NOISE)[0].dtype == dtype


# Names and keys ------------------------------------------------------------------------------------------

W_AND_B = {"w", "b"}


def _names(tree: Any) -> Any:
    """The tree's nested names, a set at the last level."""
    if all(isinstance(value, dict) for value in tree.values()):
        return {name: _names(value) for name, value in tree.items()}
    return set(tree)


@pytest.mark.parametrize(
    ("net", "names"),
    [
        (sequential(dense(3)), {"dense_0": W_AND_B}),
        (sequential(dense(3), activation("relu"), dense(3)), {"dense_0": W_AND_B, "dense_1": W_AND_B}),
        (sequential(dense(3, use_bias=False)), {"dense_0": {"w"}}),
        (
            sequential(dense(3), sequential(activation("relu"), dense(3)), sequential(dense(3)), dense(3)),
            {
                "dense_0": W_AND_B,
                "sequential_0": {"dense_0": W_AND_B},
                "sequential_1": {"dense_0": W_AND_B},
                "dense_1": W_AND_B,
            },
        ),
        (residual(dense(3)), W_AND_B),
        (
            sequential(residual(dense(3)), residual(sequential(dense(3)))),
            {"residual_0": W_AND_B, "residual_1": {"dense_0": W_AND_B}},
        ),
        (sequential(mlp([4, 3]), dense(1)), {"mlp_0": {"dense_0": W_AND_B, "dense_1": W_AND_B}, "dense_0": W_AND_B}),
        (sequential(activation("relu"), dropout(0.5)), {}),
        (sequential(sequential(activation("relu"))), {}),
        (residual(activation("relu")), {}),
        (residual(dense(2), dense(2)), {"layer": W_AND_B, "shortcut": W_AND_B}),
        (residual(activation("relu"), sequential(dense(3))), {"shortcut": {"dense_0": W_AND_B}}),
        (residual(activation("relu"), activation("tanh")), {}),
        (activation("relu"), {}),
    ],
)
def test_parameters_are_named_by_kind_and_number(net: Layer, names: Any) -> None:
    params, state = net.init(KEY, X)
    assert _names(params) == names
    assert state == {}
    y, state = net.apply(params, state, X, train=True, key=NOISE)
    assert (len(y), state) == (len(X), {})


def test_sizes_follow_from_layer_to_layer() -> None:
    net = sequential(dense(5), stateless("double", lambda x: jnp.concatenate([x, x], axis=-1)), dense(2))
    params, _ = net.init(KEY, X)
    assert [params[name]["w"].shape for name in ("dense_0", "dense_1")] == [(3, 5), (10, 2)]


def test_a_layer_s_first_weights_depend_on_its_name_alone() -> None:
    short = sequential(dense(3), dense(3)).init(KEY, X)[0]
    long = sequential(dense(3), activation("tanh"), residual(dense(3)), dense(3), dense(3)).init(KEY, X)[0]
    _equal(short, {name: long[name] for name in short})
    weights = [*(long[name]["w"] for name in ("dense_0", "dense_1", "dense_2", "residual_0"))]
    assert len({w.tobytes() for w in map(np.asarray, weights)}) == 4


def test_another_key_draws_other_weights() -> None:
    net = sequential(dense(3))
    a, b = (net.init(jax.random.key(seed), X)[0]["dense_0"]["w"] for seed in (0, 1))
    assert not jnp.any(a == b)


# Composition ---------------------------------------------------------------------------------------------


def test_sequential_applies_its_layers_in_order() -> None:
    steps = [stateless("f", lambda x: x + 1), stateless("f", lambda x: x * 3), stateless("f", lambda x: -x)]
    for net in (sequential(*steps), sequential(steps[0], sequential(*steps[1:])), sequential(sequential(*steps))):
        np.testing.assert_array_equal(net.apply({}, {}, jnp.array([[0.0, 2.0]]))[0], [[-3, -9]])


def test_residual_adds_its_input() -> None:
    layer = dense(3)
    params, state = layer.init(KEY, X)
    y = residual(layer).apply(params, state, X)[0]
    np.testing.assert_array_equal(y, X + layer.apply(params, state, X)[0])
    _equal(residual(layer).init(KEY, X), (params, state))


def test_residual_adds_its_shortcut() -> None:
    net = residual(dense(2), dense(2))
    params, state = net.init(KEY, X)
    ways = [dense(2).apply(params[way], {}, X)[0] for way in ("layer", "shortcut")]
    np.testing.assert_array_equal(net.apply(params, state, X)[0], ways[1] + ways[0])
    # Each way draws from a key of its own.
    assert not jnp.any(params["layer"]["w"] == params["shortcut"]["w"])
    ones = jnp.ones((50, 40))
    y, _ = residual(dropout(0.5), dropout(0.5)).apply({}, {}, ones, train=True, key=NOISE)
    assert set(np.unique(y)) == {0, 2, 4}
    # The identity as a shortcut is none.
    params, state = residual(dense(3), activation("identity")).init(KEY, X)
    _equal(
        residual(dense(3), activation("identity")).apply(params, state, X)[0],
        residual(dense(3)).apply(params["layer"], {}, X)[0],
    )


def test_a_network_is_a_layer() -> None:
    assert [net.name for net in (sequential(dense(1)), residual(dense(1)))] == ["sequential", "residual"]
    check_layer("layer", sequential(residual(sequential(dense(1)))))


# State ---------------------------------------------------------------------------------------------------

ROWS = jnp.array([[1.0, 2.0], [3.0, 6.0]])  # Its mean is (2, 4).


def _state(count: int, mean: list[float]) -> State:
    return {"count": jnp.array(count, jnp.int32), "mean": jnp.array(mean, jnp.float32)}


def test_state_changes_in_training_only() -> None:
    net = sequential(activation("identity"), center(), activation("identity"), center())
    params, state = net.init(KEY, ROWS)
    assert params == {}
    _equal(state, {"center_0": _state(0, [0, 0]), "center_1": _state(0, [0, 0])})
    y, state = net.apply(params, state, ROWS, train=True)
    np.testing.assert_array_equal(y, [[-1, -2], [1, 2]])
    # What the second one sees is centered already.
    _equal(state, {"center_0": _state(1, [2, 4]), "center_1": _state(1, [0, 0])})
    y, state = net.apply(params, state, 3 * ROWS, train=True)
    _equal(state, {"center_0": _state(2, [4, 8]), "center_1": _state(2, [0, 0])})
    y, after = net.apply(params, state, ROWS)
    np.testing.assert_array_equal(y, [[-3, -6], [-1, -2]])
    _equal(after, state)


def test_state_passes_through_every_nesting() -> None:
    net = sequential(residual(center()), sequential(sequential(center("inner"))), dense(2))
    params, state = net.init(KEY, ROWS)
    assert set(params) == {"dense_0"}
    _, state = net.apply(params, state, ROWS, train=True)
    # The first gives x + (x - mean), whose mean is that of x.
    inner = {"sequential_0": {"inner_0": _state(1, [2, 4])}}
    _equal(state, {"residual_0": _state(1, [2, 4]), "sequential_0": inner})
    y, after = net.apply(params, state, ROWS)
    _equal(after, state)
    centered = dense(2).apply(params["dense_0"], {}, 2 * ROWS - 2 * jnp.array([2.0, 4.0]))[0]
    np.testing.assert_array_equal(y, centered)


def test_both_ways_of_a_residual_keep_their_state() -> None:
    net = residual(center(), sequential(activation("identity"), center()))
    params, state = net.init(KEY, ROWS)
    _equal(state, {"layer": _state(0, [0, 0]), "shortcut": {"center_0": _state(0, [0, 0])}})
    y, state = net.apply(params, state, ROWS, train=True)
    _equal(state, {"layer": _state(1, [2, 4]), "shortcut": {"center_0": _state(1, [2, 4])}})
    np.testing.assert_array_equal(y, [[-2, -4], [2, 4]])
    _equal(net.apply(params, state, ROWS)[1], state)


def test_state_is_carried_by_a_scan() -> None:
    net = sequential(center(), dense(1))
    params, state = net.init(KEY, ROWS)
    batches = jnp.stack([ROWS, 2 * ROWS, 3 * ROWS])

    def step(state: State, x: Array) -> tuple[State, Array]:
        y, state = net.apply(params, state, x, train=True)
        return state, y

    _equal(jax.lax.scan(step, state, batches)[0], {"center_0": _state(3, [4, 8])})


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "error", "match"),
    [
        ([], ValueError, r"layers: got none, expected at least one layer\."),
        ([dense], TypeError, r"layers\[0\]: got dense, expected a Layer\. Call it: dense\(\.\.\.\)\."),
        ([dense(1), mlp], TypeError, r"layers\[1\]: got mlp, expected a Layer\. Call it: mlp\(\.\.\.\)\."),
        ([[dense(1), dense(2)]], TypeError, r"layers\[0\]: got a list, .* Give the layers one by one: sequential\(\*"),
        ([(dense(1),)], TypeError, r"layers\[0\]: got a tuple, expected a Layer\. Give the layers one by one"),
        ([dense(1), jnp.tanh], TypeError, r"layers\[1\]: got tanh, expected a Layer\. Wrap a function: fnn\.nn\.activ"),
        (["relu"], TypeError, r"layers\[0\]: got a str, expected a Layer\. Wrap a function"),
        ([object()], TypeError, r"layers\[0\]: got a object, .* Wrap a Flax module: fnn\.interop\.from_linen or from"),
        ([None], TypeError, r"layers\[0\]: got a NoneType, expected a Layer\."),
    ],
)
def test_sequential_refuses_what_is_no_layer(layers: list[Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        sequential(*layers)


def test_residual_refuses_what_is_no_layer() -> None:
    with pytest.raises(TypeError, match=r"^layer: got dense, expected a Layer\. Call it: dense\(\.\.\.\)\."):
        residual(dense)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^shortcut: got dense, expected a Layer\. Call it: dense\(\.\.\.\)\."):
        residual(dense(3), dense)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("params", "state", "error", "match"),
    [
        ([], {}, TypeError, r"params: got a list, expected a dict\. Make it with init\."),
        ({}, None, TypeError, r"state: got a NoneType, expected a dict\. Make it with init\."),
        (
            {"dense_0": {}, "dense_1": {}, "conv_0": {}},
            {},
            ValueError,
            r"params: got entries conv_0, dense_1, expected some of dense_0, tanh_0\. These are another network's",
        ),
        ({}, {"center_0": {}}, ValueError, r"state: got entries center_0, expected some of dense_0, tanh_0\."),
        ({}, {}, ValueError, r"params of dense: got entries \[\], expected entries \['b', 'w'\]\. Make them with"),
    ],
)
def test_entries_of_another_network(params: Any, state: Any, error: type[Exception], match: str) -> None:
    net = sequential(dense(1), activation("tanh"))
    for apply in (net.apply, jax.jit(net.apply)):
        with pytest.raises(error, match=f"^{match}"):
            apply(params, state, X)


def test_a_legacy_or_missing_key() -> None:
    net = sequential(dense(3))
    params, state = net.init(KEY, X)
    legacy = jax.random.key_data(KEY)
    with pytest.raises(TypeError, match=r"^key: got a legacy uint32 key, expected one typed key\. Make one with jax"):
        net.init(legacy, X)
    with pytest.raises(TypeError, match=r"^key: got a legacy uint32 key, expected one typed key\."):
        net.apply(params, state, X, train=True, key=legacy)
    with pytest.raises(TypeError, match=r"^key: got 0, expected one typed key\. Make one with jax\.random\.key\(seed"):
        net.init(0, X)  # type: ignore[arg-type]


@pytest.mark.parametrize("inner", [dense(1), dense(4), stateless("mean", lambda x: x.mean(axis=-1))])
def test_residual_keeps_the_shape(inner: Layer) -> None:
    # (4, 1) and (4,) would broadcast against (4, 3) or fail with a message about something else.
    net = residual(inner)
    params, state = net.init(KEY, X)
    match = r"^output of the inner layer: got shape \(4.*\), expected shape \(4, 3\)\. The shortcut adds x to it"
    with pytest.raises(ValueError, match=match):
        net.apply(params, state, X)
    with pytest.raises(ValueError, match=match):
        sequential(net, dense(1)).init(KEY, X)


@pytest.mark.parametrize(("inner", "shortcut"), [(dense(3), dense(2)), (dense(1), dense(3)), (dense(3), dense(1))])
def test_both_ways_of_a_residual_have_one_shape(inner: Layer, shortcut: Layer) -> None:
    net = residual(inner, shortcut)
    params, state = net.init(KEY, X)
    match = r"^output of the inner layer: got shape \(4, .\), expected shape \(4, .\)\. It is added to the shortcut's"
    for apply in (net.apply, jax.jit(net.apply)):
        with pytest.raises(ValueError, match=match):
            apply(params, state, X)
    with pytest.raises(ValueError, match=r"^params: got entries w, expected some of layer, shortcut\."):
        net.apply({"w": jnp.ones(3)}, {}, X)
