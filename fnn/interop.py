"""Networks of other libraries, and plain functions, as layers. Flax is imported only where it is used."""

import functools
import importlib
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from fnn import keys
from fnn.errors import check_array, check_callable, check_key, check_trainable, message
from fnn.nn import Layer
from fnn.typing import Array, Key, Params, State

_Applied = tuple[Array, State]
# What modules call the choice between training and evaluation, and its value in training.
_MODES = {"train": True, "training": True, "deterministic": False, "use_running_average": False}


def from_linen(module: Any, *, rngs: Collection[str] = ("dropout",), name: str | None = None) -> Layer:
    """A Flax Linen module as a layer: its "params" are the parameters, every other collection is the state.

    Whichever of `train`, `training`, `deterministic`, `use_running_average` the module's `__call__`
    takes is given there. Collections such as "batch_stats" change in training only. The parameters are
    those of `module.init(key, x)` with the same key.

    Args:
        module: an instance of `flax.linen.Module`.
        rngs: the streams of random numbers that it draws from; each gets the key folded with its name.
        name: the layer's name; None is the class's, in lower case.

    Raises:
        TypeError: not a Linen module, or its parameters have no gradient (the leaf is named).
        ValueError: it draws random numbers and there is no key, or from a stream that `rngs` lacks.

    Example:
        >>> from flax import linen
        >>> net = from_linen(linen.BatchNorm())
        >>> x = jnp.array([[1.0], [3.0]])
        >>> params, state = net.init(jax.random.key(0), x)
        >>> y, state = net.apply(params, state, x, train=True)
        >>> y.round(2), state["batch_stats"]["mean"].round(2)
        (Array([[-1.], [ 1.]], dtype=float32), Array([0.02], dtype=float32))
    """
    _check_linen(module)
    if isinstance(rngs, str):
        raise TypeError(message("rngs", repr(rngs), "names of streams", f"Give rngs=({rngs!r},)."))
    call = type(module).__call__

    def init(key: Key, x: Any) -> tuple[Params, State]:
        from flax import linen

        streams = {"params": key, **_streams(key, rngs)}
        variables = module.lazy_init(streams, _shaped(key, x), **_mode(call, False))
        state = dict(linen.meta.unbox(variables))
        return _trainable(state.pop("params", {})), state

    def apply(params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None) -> _Applied:
        from flax.errors import InvalidRngError

        variables, mode = {"params": params, **state}, _mode(call, train)
        streams = {} if key is None else _streams(key, rngs)
        try:
            if not train:
                return module.apply(variables, x, rngs=streams, **mode), state
            y, new_state = module.apply(variables, x, rngs=streams, mutable=list(state), **mode)
        except InvalidRngError as error:
            if key is None:
                raise _needs_key(type(module).__name__, train) from error
            got, remedy = f"{tuple(rngs)} ({error})", "Give all names: from_linen(module, rngs=(...))."
            raise ValueError(message("rngs", got, "every stream that the module draws from", remedy)) from error
        return y, {**state, **new_state}

    return Layer(_name(name, type(module).__name__), init, apply)


def from_nnx(module: Any, *, name: str | None = None) -> Layer:
    """A Flax NNX module as a layer: each `nnx.Param` is a parameter, all else but random state is the state.

    A factory draws new parameters from the key of `init`. An instance is taken as it is now: `init`
    returns its present parameters, whatever the key, and the instance itself never changes. Nothing
    counts the random numbers drawn: in each call every stream starts from the key folded with the
    stream's path. Modules switch between training and evaluation as `train()` and `eval()` do it, and by
    a keyword of `__call__` as in `from_linen`.

    Args:
        module: `lambda rngs: Model(..., rngs=rngs)`, or an instance of `flax.nnx.Module`.
        name: the layer's name; None is the class's, in lower case.

    Raises:
        TypeError: neither a factory nor an NNX module, or parameters without a gradient (the leaf is named).
        ValueError: it draws random numbers and there is no key.

    Example:
        >>> from flax import nnx
        >>> net = from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
        >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> jax.tree.map(jnp.shape, params), state
        ({'bias': (2,), 'kernel': (3, 2)}, {})
        >>> net.apply(params, state, jnp.ones((1, 3)))[0].shape
        (1, 2)
    """
    from flax import nnx

    make = _nnx_factory(module)
    # Its structure, without its numbers: how to put parameters and state back in place.
    model = nnx.eval_shape(lambda: make(jax.random.key(0)))
    kind, graphs = type(model), {}
    for train in (False, True):
        model.train() if train else model.eval()
        graphs[train], *shapes = nnx.split(model, nnx.Param, nnx.RngState, ...)

    def init(key: Key, x: Any) -> tuple[Params, State]:
        _shaped(key, x)
        _, params, _, rest = nnx.split(make(key), nnx.Param, nnx.RngState, ...)
        return _trainable(_nested(params)), _nested(rest)

    def apply(params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None) -> _Applied:
        parts = (_at(params), _start(jax.random.key(0) if key is None else key), _at(state))
        net = nnx.merge(graphs[bool(train)], *map(_filled, shapes, parts))
        # How often each stream was drawn from: a draw puts a new array in the place of the old.
        before = jax.tree.leaves(nnx.state(net, nnx.RngCount))
        y = net(x, **_mode(kind.__call__, train))
        after = jax.tree.leaves(nnx.state(net, nnx.RngCount))
        if key is None and any(a is not b for a, b in zip(before, after, strict=True)):
            raise _needs_key(kind.__name__, train)
        if not train:
            return y, state
        # What a call adds, such as sown values, is no state: the next call would have another structure.
        rest = dict(nnx.to_flat_state(nnx.state(net)))
        return y, _nested([(path, rest[path]) for path, _ in nnx.to_flat_state(shapes[2])])

    return Layer(_name(name, kind.__name__), init, apply)


def from_function(apply: Callable[..., Any], init: Any, *, name: str = "function") -> Layer:
    """A plain function `y = f(params, x)` as a layer without state.

    If the function takes keywords `train` or `key`, it is given them.

    Args:
        apply: (params, x) to y, with `train` and `key` as it likes.
        init: the first parameters, any pytree of arrays, an Equinox module's too; or a function (key, x) that
            draws them, where x is a `jax.ShapeDtypeStruct`.
        name: the layer's name.

    Raises:
        TypeError: not a function, parameters without a gradient (the leaf is named), or y is no array.
        ValueError: the function needs a key in training and there is none.

    Example:
        >>> net = from_function(lambda params, x: x @ params["w"], {"w": jnp.array([[2.0], [3.0]])})
        >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> net.apply(params, state, jnp.array([[1.0, 1.0]]))
        (Array([[5.]], dtype=float32), {})
    """
    check_callable("apply", apply, "a function (params, x) -> y")
    takes = _parameters(apply)
    needs_key = "key" in takes and takes["key"].default is inspect.Parameter.empty
    draws = callable(init) and (jax.tree_util.all_leaves([init]) or isinstance(init, functools.partial))
    if not draws:
        _trainable(init)

    def first(key: Key, x: Any) -> tuple[Params, State]:
        shaped = _shaped(key, x)
        params = init(key, shaped) if draws else init
        return jax.tree.map(jnp.asarray, _trainable(params)), {}

    def forward(params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None) -> _Applied:
        if train and needs_key and key is None:
            raise _needs_key(name, train)
        y = apply(params, x, **{k: v for k, v in {"train": train, "key": key}.items() if k in takes})
        check_array(f"output of {name}", y)
        return y, state

    return Layer(_name(name, name), first, forward)


def _check_linen(module: Any) -> None:
    from flax import linen

    if isinstance(module, linen.Module):
        return
    remedy = "Wrap NNX modules with fnn.interop.from_nnx." if _is_flax(module, "nnx") else "Give an instance: Model()."
    raise TypeError(message("module", _called(module), "an instance of flax.linen.Module", remedy))


def _nnx_factory(module: Any) -> Callable[[Key], Any]:
    """A function of a key that makes a new module: from a factory, or a copy of an instance."""
    from flax import nnx

    expected = "a factory lambda rngs: Model(rngs=rngs), or an instance of flax.nnx.Module"
    if isinstance(module, type) or _is_flax(module, "linen"):
        linen = _is_flax(module, "linen")
        remedy = "Wrap Linen modules with fnn.interop.from_linen." if linen else "Give lambda rngs: Model(rngs=rngs)."
        raise TypeError(message("module", _called(module), expected, remedy))
    if isinstance(module, nnx.Module):
        parts = nnx.split(module)
        return lambda _: nnx.merge(*parts)
    check_callable("module", module, expected)

    def make(key: Key) -> Any:
        made = module(nnx.Rngs(key))
        if not isinstance(made, nnx.Module):
            raise TypeError(message("result of the factory", _called(made), "a flax.nnx.Module"))
        return made

    return make


def _called(it: Any) -> str:
    return f"the class {it.__name__}" if isinstance(it, type) else f"a {type(it).__name__}"


def _is_flax(module: Any, part: str) -> bool:
    """Whether it is a Linen or NNX module or a class of them."""
    kind = module if isinstance(module, type) else type(module)
    return issubclass(kind, importlib.import_module(f"flax.{part}").Module)


def _nested(flat: Any) -> dict[str, Any]:
    """An NNX state, or pairs of path and variable, as nested dicts of plain arrays with names as keys."""
    from flax import nnx, traverse_util

    pairs = nnx.to_flat_state(flat) if isinstance(flat, nnx.State) else flat
    return traverse_util.unflatten_dict(
        {tuple(map(str, path)): v.get_value() if isinstance(v, nnx.Variable) else v for path, v in pairs}
    )


def _filled(shapes: Any, value: Callable[[tuple[Any, ...], Any], Any]) -> Any:
    """The NNX state of that structure with `value(path, old)` in each place."""
    from flax import nnx

    pairs = [(path, old, value(path, old)) for path, old in nnx.to_flat_state(shapes)]
    return nnx.from_flat_state([(p, a.replace(b) if isinstance(a, nnx.Variable) else b) for p, a, b in pairs])


def _at(tree: Any) -> Callable[[tuple[Any, ...], Any], Any]:  # into an array of NumPy a module would write
    return lambda path, _: jnp.asarray(functools.reduce(lambda node, part: node[str(part)], path, tree))


def _start(key: Key) -> Callable[[tuple[Any, ...], Any], Any]:
    """Each stream's first random state: the key folded with the stream's path, and nothing drawn yet."""
    check_key("key", key)

    def value(path: tuple[Any, ...], old: Any) -> Array:
        if path[-1] == "count":
            return jnp.zeros(old.shape, old.dtype)
        own = keys.for_layer(key, "/".join(map(str, path[:-1])))
        return jax.random.split(own, old.shape) if old.shape else own

    return value


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that can be given by keyword; none where the function does not tell."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return {}
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: p for name, p in parameters.items() if p.kind in by_keyword}


def _mode(call: Callable[..., Any], train: bool) -> dict[str, bool]:
    takes = _parameters(call)
    return {name: in_training == bool(train) for name, in_training in _MODES.items() if name in takes}


def _shaped(key: Key, x: Any) -> jax.ShapeDtypeStruct:
    check_key("key", key)
    check_array("x", x)
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _streams(key: Key, names: Iterable[str]) -> dict[str, Key]:
    check_key("key", key)
    return {name: keys.for_layer(key, name) for name in names}


def _trainable(params: Params) -> Params:
    check_trainable("params", params)
    return params


def _name(name: Any, otherwise: str) -> str:
    if name is None:
        return otherwise.lower()
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(message("name", repr(name), "a name without '/'", "It becomes part of the parameters' paths."))
    return name


def _needs_key(who: str, train: bool) -> ValueError:
    """What to raise where random numbers are drawn and nothing is there to draw them from."""
    remedy = "Give apply(..., key=key)" + ("; for evaluation give train=False." if train else ".")
    return ValueError(message("key", None, f"one typed key: {who} draws random numbers", remedy))
