"""A layer of one's own that breaks the contract is told so, by name, wherever it is made or called."""

import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import fnn
from fnn.contract import applied, initialized
from fnn.data import Dataset, Splits
from fnn.nn import Layer, dense, remat, residual, sequential
from fnn.typing import Array, Key, Params, State

X, KEY = jnp.ones((4, 3)), jax.random.key(0)
SHAPE = jax.ShapeDtypeStruct(X.shape, X.dtype)
DATA = Dataset(X, X)
TX = fnn.optim.sgd(0.1)


def init(key: Key, x: Any) -> tuple[Params, State]:
    """What is right."""
    return {"scale": jnp.ones(x.shape[-1], x.dtype)}, {}


def apply(
    params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
) -> tuple[Array, State]:
    """What is right."""
    return x * params["scale"], state


def _gives(result: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None) -> Any:
        return result(params, state, x, train)

    return wrong


Y = r"an array of shape \(\d, 3\)"
APPLIES: dict[str, tuple[Callable[..., Any], str]] = {
    "y alone": (_gives(lambda p, s, x, t: x), rf"got {Y}, expected \(outputs, state\)\. Return y, state\."),
    "y alone, in training": (_gives(lambda p, s, x, t: x if t else (x, s)), rf"got {Y}, expected \(outputs, state\)"),
    "y alone, in evaluation": (_gives(lambda p, s, x, t: (x, s) if t else x), rf"got {Y}, expected \(outputs, state\)"),
    "nothing": (_gives(lambda p, s, x, t: None), r"got None, expected \(outputs, state\)\. Return y, state\."),
    "a list": (_gives(lambda p, s, x, t: [x, s]), r"got a list, expected \(outputs, state\)\."),
    "three": (_gives(lambda p, s, x, t: (x, p, s)), r"got a tuple of 3, expected \(outputs, state\)\."),
    "turned round": (_gives(lambda p, s, x, t: (s, x)), rf"got \(a dict, {Y}\), expected .*\. Return y, state\."),
    "no state": (_gives(lambda p, s, x, t: (x, None)), rf"got \({Y}, None\), .* The state is a dict, \{{\}} where"),
}
INITS: dict[str, tuple[Callable[..., Any], str]] = {
    "params alone": (lambda key, x: init(key, x)[0], r"got a dict, expected \(params, state\)\. Return params, \{\}\."),
    "two entries": (lambda key, x: {"w": X, "b": X}, r"got a dict, expected \(params, state\)\."),
    "an array": (lambda key, x: X, r"got an array of shape \(4, 3\), expected \(params, state\)\."),
    "no state": (lambda key, x: ({}, None), r"got \(a dict, None\), expected .* where there is none: return params, "),
}
LOOKS: dict[str, tuple[Callable[..., Any], str]] = {
    "the deviation": (lambda key, x: ({"s": jnp.std(x)}, {}), r"std requires .*ShapeDtypeStruct"),
    "a method": (lambda key, x: ({"s": x.mean(axis=0)}, {}), r"no attribute 'mean'"),
    "a row": (lambda key, x: ({"s": x[0]}, {}), r"not subscriptable"),
    "a sum": (lambda key, x: ({"s": x + 1}, {}), r"unsupported operand"),
}


def _fit(layer: Layer) -> Any:
    loss = fnn.losses.squared_error
    return fnn.fit(layer, loss, TX, DATA, key=KEY, epochs=1, batch_size=2, validation=DATA, progress=False)


def _train(layer: Layer) -> None:
    for train in (False, True):
        layer.apply(layer.init(KEY, SHAPE)[0], {}, X, train=train, key=KEY)


EVERYWHERE: dict[str, Callable[[Layer], Any]] = {
    "sequential": lambda layer: _train(sequential(layer, dense(2))),
    "within": lambda layer: _train(sequential(sequential(layer), dense(2))),
    "residual": lambda layer: _train(residual(layer)),
    "shortcut": lambda layer: _train(residual(dense(3), layer)),
    "remat": lambda layer: _train(sequential(remat(layer))),
    "check_layer": lambda layer: fnn.laws.check_layer(layer, X),
    "fit": _fit,
}
everywhere = pytest.mark.parametrize("use", EVERYWHERE.values(), ids=EVERYWHERE)


@everywhere
@pytest.mark.parametrize("name", APPLIES)
def test_apply_gives_outputs_and_state(name: str, use: Callable[[Layer], Any]) -> None:
    wrong, match = APPLIES[name]
    with pytest.raises(TypeError, match=f"^layer 'mine', result of apply: {match}"):
        use(Layer("mine", init, wrong))


@everywhere
@pytest.mark.parametrize("name", INITS)
def test_init_gives_params_and_state(name: str, use: Callable[[Layer], Any]) -> None:
    wrong, match = INITS[name]
    with pytest.raises(TypeError, match=f"^layer 'mine', result of init: {match}"):
        use(Layer("mine", wrong, apply))


@everywhere
@pytest.mark.parametrize("name", LOOKS)
def test_init_sees_a_shape(name: str, use: Callable[[Layer], Any]) -> None:
    wrong, match = LOOKS[name]
    got = rf"got an init that looks at the numbers of x \(.*{match}.*\)"
    with pytest.raises(
        TypeError, match=rf"^layer 'mine': {got}, expected one that uses x\.shape and x\.dtype alone\. x is"
    ):
        use(Layer("mine", wrong, apply))


def test_an_error_of_its_own_stays_as_it_is() -> None:
    def fails(*args: Any, **keywords: Any) -> Any:
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        initialized(Layer("own", fails, apply), KEY, SHAPE)
    with pytest.raises(TypeError, match=r"^mine$"):
        applied(Layer("own", init, fails), {}, {}, X)
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        initialized(Layer("own", lambda key, x: x.nothing, apply), KEY, X)


# How a layer is made -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        (
            (init, apply),
            r"name: got the function init, expected a string\. The name comes first: Layer\(\"mine\", init",
        ),
        ((init, apply, None), r"name: got the function init, expected a string\."),
        ((None, init, apply), r"name: got None, expected a string\."),
        (("mine", init), r"layer 'mine', apply: got None, expected the function apply\(params, state, x, \*, train"),
        (("mine", {}, apply), r"layer 'mine', init: got a dict, expected the function init\(key, x\)\. Such as Layer"),
        (("mine", lambda key: {}, apply), r"layer 'mine': got init\(key\), expected init\(key, x\)\. Of x it uses"),
        (
            ("mine", init, lambda params, state, x: (x, state)),
            r"layer 'mine': got apply\(params, state, x\), expected apply\(params, state, x, \*, train=False, key",
        ),
        (
            ("mine", init, lambda params, x: x),
            r"layer 'mine': got apply\(params, x\), .* those too that it does not",
        ),
        (
            ("mine", init, lambda params, state, x, train: x),
            r"layer 'mine': got apply\(params, state, x, train\), expected",
        ),
    ],
)
def test_what_no_layer_is_made_of(parts: tuple[Any, ...], match: str) -> None:
    with pytest.raises(TypeError, match=f"^{match}"):
        Layer(*parts)


def test_whatever_can_be_called_like_a_layer_is_one() -> None:
    def any_arguments(*args: Any, **keywords: Any) -> Any:
        return apply(*args, **keywords)

    forms: list[Any] = [any_arguments, jax.jit(apply, static_argnames="train"), lambda p, s, x, train, key: (x, s)]
    for form in forms:
        assert Layer("mine", lambda *args: init(*args), form).name == "mine"


class Plain:
    """A network that is no `Layer`."""

    name = "plain"

    def init(self, key: Key, x: Any) -> Any:
        return init(key, x)

    def apply(self, params: Params, x: Array) -> Any:
        return x


def test_a_network_that_is_no_layer_keeps_the_contract_too() -> None:
    for use in (_fit, lambda net: fnn.train.init_state(KEY, net, TX, X), lambda net: fnn.laws.check_layer(net, X)):
        with pytest.raises(TypeError, match=r"^layer 'plain': got apply\(params, x\), expected apply\(params, state"):
            use(Plain())  # pyright: ignore[reportArgumentType]


def test_a_layer_is_a_tuple_of_three_that_shows_its_name() -> None:
    layer = Layer("mine", init, apply)
    assert repr(layer) == "Layer('mine')"
    assert repr([fnn.nn.mlp([2])]) == "[Layer('mlp')]"
    assert layer._fields == ("name", "init", "apply")
    assert tuple(layer) == ("mine", init, apply)
    assert pickle.loads(pickle.dumps(layer)) == layer
    other = layer._replace(name="other")
    assert (type(other), other.name, other.apply) == (Layer, "other", apply)
    assert {layer: 1}[Layer("mine", init, apply)] == 1


def test_the_program_holds_nothing_of_it() -> None:
    layer = Layer("mine", init, apply)
    params, state = layer.init(KEY, X)
    plain = jax.make_jaxpr(lambda p, x: layer.apply(p, state, x))(params, X)
    assert str(jax.make_jaxpr(lambda p, x: applied(layer, p, state, x))(params, X)) == str(plain)


# The example batch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (DATA, r"got a Dataset, expected an example batch or its jax\.ShapeDtypeStruct\. Give its x: data\.x\."),
        (Splits(DATA, DATA), r"got a Splits, expected an example batch .*Give the x of one part: data\.train\.x\."),
        ((X, X), r"got a tuple, expected an example batch .*Give its first part: data\[0\]\."),
        ((4, 3), r"got the shape \(4, 3\), expected an example batch .*Give jnp\.zeros\(\(4, 3\)\)\."),
        ([[1.0]], r"got a list of 1, expected an array\. Convert it: jnp\.asarray\(x\)\."),
    ],
)
def test_what_is_no_example_batch(x: Any, match: str) -> None:
    net = fnn.nn.mlp([2])
    for use in (lambda: fnn.train.init_state(KEY, net, TX, x), lambda: fnn.laws.check_layer(net, x)):
        with pytest.raises(TypeError, match=f"^x: {match}"):
            use()
    with pytest.raises(TypeError, match=f"^x: {match}"):
        fnn.inspect.summary(net, x)
