"""What a layer is, and how layers become a network, which is a layer again."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from fnn import keys
from fnn.contract import applied, check_parts, initialized
from fnn.errors import check_key, check_shape, message
from fnn.typing import Apply, Array, Key, Params, State

Shaped = Array | jax.ShapeDtypeStruct
Init = Callable[[Key, Shaped], tuple[Params, State]]

# How fnn.inspect.backprop finds what a layer gives, and that it is an activation's.
OUTPUT, ACTIVATED = "output of a layer", "output of an activation"


# So that a layer without a name is told that, not that `apply` is missing.
_MISSING: Any = None


class _Parts(NamedTuple):
    name: str
    init: Init
    apply: Apply


class Layer(_Parts):
    """A pure function over parameters, and the function that draws the first ones.

    A network is a layer too: everything that takes one takes the other.

    Attributes:
        name: what kind it is: "dense", "dropout", "mlp".
        init: `init(key, x) -> (params, state)`, where `x` is a batch or its `jax.ShapeDtypeStruct`.
        apply: `apply(params, state, x, *, train=False, key=None) -> (y, state)`. `params` has a gradient,
            `state` has none; both are nested dicts, empty where there is nothing. With `train=False` the
            state comes back as it was and no key is needed.

    Raises:
        TypeError: no name, or functions that take other arguments.

    Example:
        A layer that scales each feature, written from nothing:

        >>> def init(key, x):
        ...     return {"scale": jnp.ones(x.shape[-1], x.dtype)}, {}
        >>> def apply(params, state, x, *, train=False, key=None):
        ...     return x * params["scale"], state
        >>> net = sequential(Layer("scale", init, apply))
        >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> params
        {'scale_0': {'scale': Array([1., 1.], dtype=float32)}}
        >>> net.apply(params, state, jnp.ones((1, 2)))[0]
        Array([[1., 1.]], dtype=float32)
    """

    __slots__ = ()

    def __new__(cls, name: str, init: Init, apply: Apply = _MISSING) -> "Layer":
        """A layer of these parts, each checked."""
        check_parts(name, init, apply)
        return super().__new__(cls, name, init, apply)

    def __repr__(self) -> str:
        return f"Layer({self.name!r})"


def stateless(name: str, function: Callable[[Array], Array]) -> Layer:
    """A layer without parameters or state, from any function of arrays.

    Example:
        >>> stateless("double", lambda x: 2 * x).apply({}, {}, jnp.ones(2))[0]
        Array([2., 2.], dtype=float32)
    """

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        del key, x
        return {}, {}

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        del params, train, key
        return function(x), state

    return Layer(name, init, apply)


def sequential(*layers: Layer) -> Layer:
    """One layer after another, `f_k(... f_2(f_1(x)))`.

    Each kind is numbered in order of appearance, and those numbers name the parameters:
    `{"dense_0": {"w", "b"}, "dense_1": {"w", "b"}}`. A layer without parameters has no entry.

    Raises:
        ValueError: there are no layers; parameters or state of another network.
        TypeError: something is not a `Layer`.

    Example:
        >>> from fnn.nn import activation, dense
        >>> net = sequential(dense(3), activation("tanh"), dense(1))
        >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 2)))
        >>> jax.tree.map(jnp.shape, params)
        {'dense_0': {'b': (3,), 'w': (2, 3)}, 'dense_1': {'b': (1,), 'w': (3, 1)}}
        >>> net.apply(params, state, jnp.ones((5, 2)))[0].shape
        (5, 1)
    """
    if not layers:
        raise ValueError(message("layers", "none", "at least one layer"))
    for position, layer in enumerate(layers):
        check_layer(f"layers[{position}]", layer)
    names = _numbered([layer.name for layer in layers])

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        check_key("key", key)
        params, state = {}, {}
        for name, layer in zip(names, layers, strict=True):
            p, s = initialized(layer, keys.for_layer(key, name), x)
            x = _output(layer, p, s, x)
            params |= _entry(name, p)
            state |= _entry(name, s)
        return params, state

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        _check_entries("params", params, names)
        _check_entries("state", state, names)
        if key is not None:
            check_key("key", key)
        new_state = {}
        for name, layer in zip(names, layers, strict=True):
            x, s = _called(name, layer, params, state, x, train, key)
            new_state |= s
        return x, new_state

    return Layer("sequential", init, apply)


def residual(layer: Layer, shortcut: Layer | None = None) -> Layer:
    """A layer with a shortcut round it, `y = s(x) + f(x)`; without one of its own, s is the identity.

    Its parameters and state are those of the inner layer; with a shortcut of its own they are
    `{"layer": ..., "shortcut": ...}`.

    Args:
        layer: f; it keeps the shape of s(x).
        shortcut: s, where f changes the shape: such as a convolution of size 1 with f's strides.

    Raises:
        ValueError: f(x) and s(x) differ in shape; both shapes are named.

    Example:
        >>> from fnn.nn import dense
        >>> net = residual(dense(2, w_init=fnn.initializers.zeros))
        >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> net.apply(params, state, jnp.array([[1.0, -3.0]]))[0]
        Array([[ 1., -3.]], dtype=float32)

    Source: He et al. 2016, "Deep residual learning for image recognition", equations 1 and 2.
    """
    check_layer("layer", layer)
    if shortcut is not None:
        check_layer("shortcut", shortcut)
        return _two_ways(layer, shortcut)

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        return initialized(layer, key, x)

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        f, state = applied(layer, params, state, x, train, key)
        remedy = "The shortcut adds x to it, so f keeps x's shape; else give a shortcut of its own."
        check_shape("output of the inner layer", f, jnp.shape(x), remedy)
        return x + f, state

    return Layer("residual", init, apply)


def _two_ways(layer: Layer, shortcut: Layer) -> Layer:
    ways = {"layer": layer, "shortcut": shortcut}

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        check_key("key", key)
        params, state = {}, {}
        for name, way in ways.items():
            p, s = initialized(way, keys.for_layer(key, name), x)
            params |= _entry(name, p)
            state |= _entry(name, s)
        return params, state

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        _check_entries("params", params, list(ways))
        _check_entries("state", state, list(ways))
        found, new_state = [], {}
        for name, way in ways.items():
            y, s = _called(name, way, params, state, x, train, key)
            found.append(y)
            new_state |= s
        f, s = found
        check_shape(
            "output of the inner layer", f, jnp.shape(s), "It is added to the shortcut's, so both have one shape."
        )
        return s + f, new_state

    return Layer("residual", init, apply)


def check_layer(argument: str, layer: Any) -> None:
    """Refuses what is not a `Layer`, and says how to make one of it.

    Example:
        >>> check_layer("layer", stateless("double", lambda x: 2 * x))
    """
    if isinstance(layer, Layer):
        return
    remedy = "Wrap a function: fnn.nn.activation(f). Wrap a Flax module: fnn.interop.from_linen or from_nnx."
    if str(getattr(layer, "__module__", "")).startswith("fnn.nn"):
        remedy = f"Call it: {layer.__name__}(...)."
    elif isinstance(layer, list | tuple):
        remedy = "Give the layers one by one: sequential(*layers)."
    name = getattr(layer, "__name__", f"a {type(layer).__name__}")
    raise TypeError(message(argument, name, "a Layer", remedy))


def _called(
    name: str, layer: Layer, params: Params, state: State, x: Array, train: bool, key: Key | None
) -> tuple[Array, State]:
    """What a layer gives that is part of another one, and its entry in the new state."""
    noise = None if key is None else keys.for_layer(key, name)
    # The scope names the layer in profiles, and to fnn.inspect.
    with jax.named_scope(name):
        y, s = applied(layer, params.get(name, {}), state.get(name, {}), x, train, noise)
        return checkpoint_name(y, OUTPUT), _entry(name, s)


def _check_entries(argument: str, tree: Any, names: Sequence[str]) -> None:
    if not isinstance(tree, dict):
        raise TypeError(message(argument, f"a {type(tree).__name__}", "a dict", "Make it with init."))
    unknown = sorted(map(str, set(tree) - set(names)))
    if unknown:
        remedy = "These are another network's: make them with init."
        raise ValueError(message(argument, f"entries {', '.join(unknown)}", f"some of {', '.join(names)}", remedy))


def _numbered(kinds: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    names = []
    for kind in kinds:
        names.append(f"{kind}_{seen[kind]}")
        seen[kind] += 1
    return names


def _entry(name: str, tree: Any) -> dict[str, Any]:
    return {name: tree} if jax.tree.leaves(tree) else {}


def _output(layer: Layer, params: Params, state: State, x: Shaped) -> Shaped:
    return jax.eval_shape(lambda p, s, v: applied(layer, p, s, v)[0], params, state, x)
