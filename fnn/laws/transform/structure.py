"""Laws of structure: trees, shapes, dtypes, buffers, shardings."""

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from fnn.laws.cases import example
from fnn.laws.compare import abstract, at, close, same
from fnn.laws.probes import copied
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.transform.rule import Built, Rule
from fnn.tree import named_leaves

DTYPES = ("float16", "bfloat16", "float32", "float64")


@contextmanager
def precision(dtype: Any) -> Iterator[None]:
    """JAX with 64 bits where the dtype needs them."""
    with jax.enable_x64(True) if jnp.dtype(dtype).itemsize == 8 else nullcontext():
        yield


@law()
def runs(rule: Rule) -> None:
    """Init and update run on ordinary parameters and gradients."""
    case = example()
    rule.standard.run(case.params, case.gradients)


@law()
def init_is_pure(rule: Rule) -> None:
    """Init gives the same state again, under jit and under eval_shape too, and leaves the parameters alone."""
    params = copied(example().params)
    state = rule.standard.init(params)
    same(rule.standard.init(params), state, "the second init", "the first init")
    same(rule.standard.compiled_init(params), state, "init under jit", "init")
    same(params, example().params, "params after init", "params")
    shapes = [leaf[:3] for leaf in abstract(jax.eval_shape(rule.standard.init, params))]
    if shapes != (actual := [leaf[:3] for leaf in abstract(jax.tree.map(jnp.asarray, state))]):
        raise Broken(f"under eval_shape the state is {shapes}, and init makes {actual}")


@law()
def no_aliasing(rule: Rule) -> None:
    """A fresh state shares no buffer with the parameters, nor two of its leaves one: all can be donated."""
    params = copied(example().params)
    named = {f"params/{n}": x for n, x in named_leaves(params).items()}
    named |= {f"state/{n}": x for n, x in named_leaves(rule.standard.init(params)).items()}
    buffers: dict[int, str] = {}
    for name, x in named.items():
        if isinstance(x, jax.Array) and x.size and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            other = buffers.setdefault(x.unsafe_buffer_pointer(), name)
            if other != name:
                raise Broken(f"{name} and {other} are one buffer")


class _Pair(NamedTuple):
    first: Any
    second: Any


def _trees() -> dict[str, Any]:
    x = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)
    return {
        "a scalar": np.float32(2.0) * np.ones((), np.float32),
        "a list with None": [x, None, {"b": x[0]}],
        "empty containers": {"w": x, "none": {}, "empty": ()},
        "a leaf without elements": {"w": x, "empty": np.zeros((0, 2), np.float32)},
        "a NamedTuple": _Pair(x, (x[0],)),
        "nothing": {},
    }


@law()
def structure_kept(rule: Rule) -> None:
    """Updates have the tree and the shapes of the parameters: scalars, None, empty leaves and containers too."""
    trees = jax.tree.map(jnp.asarray, _trees())
    gradients = jax.tree.map(lambda w: w / 2, trees)
    states = {what: rule.standard.init(params) for what, params in trees.items()}

    @jax.jit  # one program for all trees, which each by itself take as long to compile
    def step(states: Any, gradients: Any, trees: Any) -> dict[str, tuple[Any, Any]]:
        return {what: rule.standard.update(gradients[what], states[what], trees[what]) for what in trees}

    for _ in range(2):
        both = step(states, gradients, trees)
        states = {what: state for what, (_, state) in both.items()}
        for what, params in trees.items():
            _structure(what, both[what][0], params)


def _structure(what: str, updates: Any, params: Any) -> None:
    if jax.tree.structure(updates) != jax.tree.structure(params):
        raise Broken(f"{what}: updates are {jax.tree.structure(updates)} for {jax.tree.structure(params)}")
    for (name, u), w in zip(named_leaves(updates).items(), jax.tree.leaves(params), strict=True):
        if np.shape(u) != np.shape(w):
            raise Broken(f"{what}: {at(name)} has an update of shape {np.shape(u)} for {np.shape(w)}")


@law()
def dtype_kept(rule: Rule) -> None:
    """Updates have the parameters' dtypes, where gradients have them too: each one, and all mixed."""
    for dtype in DTYPES:
        with precision(dtype):
            _dtypes(rule.standard, *_typed(dtype, dtype), dtype)
    case = example()
    mixed = {"b": case.params["b"].astype(jnp.bfloat16), "w": case.params["w"]}
    g = {"b": case.gradients[0]["b"].astype(jnp.bfloat16), "w": case.gradients[0]["w"]}
    _dtypes(rule.standard, copied(mixed), copied(g), "bfloat16 beside float32")


@law("learning_rate")
def other_gradient_dtype(rule: Rule) -> None:
    """An optimizer's updates have the parameters' dtypes, where gradients come in another one too."""
    for params, gradients in (("bfloat16", "float32"), ("float16", "float32"), ("float32", "bfloat16")):
        _dtypes(rule.standard, *_typed(params, gradients), f"{params} with {gradients} gradients")


def _typed(params: Any, gradients: Any) -> tuple[Any, Any]:
    case = example()
    return copied(case.of(params).params), copied(case.of(gradients).gradients[0])


def _dtypes(built: Built, params: Any, gradients: Any, what: str) -> None:
    updates, _ = jax.eval_shape(built.update, gradients, built.init(params), params)
    for (name, u), w in zip(named_leaves(updates).items(), jax.tree.leaves(params), strict=True):
        if u.dtype != w.dtype:
            raise Broken(f"{what}: {at(name)} has updates of {u.dtype}")


@law()
def state_is_a_fixed_point(rule: Rule) -> None:
    """An update changes no shape, dtype or weak type of the state, so that scan takes it; mixed precision too."""
    pairs = [*((d, d) for d in DTYPES), ("bfloat16", "float32"), ("float32", "bfloat16")]
    for dtype, other in pairs:
        with precision(dtype):
            params, gradients = _typed(dtype, other)
            state = rule.standard.init(params)
            _, after = jax.eval_shape(rule.standard.update, gradients, state, params)
            if jax.tree.structure(after) != jax.tree.structure(state):
                raise Broken(f"the state becomes {jax.tree.structure(after)} from {jax.tree.structure(state)}")
            for old, new in zip(abstract(state), abstract(after), strict=True):
                if old != new:
                    raise Broken(f"{dtype} with {other} gradients: {_avals(old)} becomes {_avals(new)}")


def _avals(leaf: tuple[str, tuple[int, ...], str, bool]) -> str:
    name, shape, dtype, weak = leaf
    return f"{at(name)} {'weak ' if weak else ''}{dtype}{list(shape)}"


@law()
def donation_is_used(rule: Rule) -> None:
    """A compiled step can write into the buffers of the parameters and the state that it is given."""

    def step(params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, state = rule.standard.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    case = example()
    params = copied(case.params)
    state = copied(rule.standard.init(params))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jax.block_until_ready(jax.jit(step, donate_argnums=(0, 1))(params, state, case.gradients[0]))
    kept = [n for n, x in named_leaves({"params": params, "state": state}).items() if x.size > 1 and not x.is_deleted()]
    if kept:
        raise Broken(f"{kept[0]} is not written over")


@law("elementwise")
def memory(rule: Rule) -> str:
    """The state is a whole number of times the parameters, and a few numbers, of the lecture's rules at most two."""

    def count(n: int) -> int:
        leaves = jax.tree.leaves(jax.eval_shape(rule.standard.init, jnp.zeros(n)))
        return sum(x.size for x in leaves if not _is_key(x))

    slope, rest = (count(16) - count(8)) / 8, 2 * count(8) - count(16)
    if not slope.is_integer() or (rule.family is not None and not 0 <= rest <= 2):
        raise Broken(f"{slope:g} numbers a parameter and {rest:g} more")
    return f"{slope:g} numbers a parameter, and {rest:g} more"


def _is_key(x: Any) -> bool:
    legacy = x.shape == (2,) and x.dtype == jnp.uint32
    return legacy or jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


@law("sees_params")
def integers_are_refused(rule: Rule) -> None:
    """Parameters of integers or booleans, which have no gradient, are refused at init, and the leaf is named."""
    for dtype in ("int32", "bool"):
        params = {"layer": {"w": jnp.ones(2), "odd_one": jnp.ones(2, dtype)}}
        try:
            rule.standard.init(params)
        except (TypeError, ValueError) as error:
            if "odd_one" not in str(error):
                raise Broken(f"the error for {dtype} does not name the leaf: {error}") from error
        else:
            raise Broken(f"init takes parameters of {dtype} without a word")


@law("sees_params")
def shapes_are_not_broadcast(rule: Rule) -> None:
    """A gradient whose shape differs from its parameter's is refused, though it would broadcast."""
    for shape in ((1,), (), (2, 3)):
        params = {"w": jnp.ones(3)}
        state = rule.standard.init(params)
        try:
            updates, _ = rule.standard.update({"w": jnp.ones(shape)}, state, params)
        except (TypeError, ValueError):
            continue
        raise Broken(f"a gradient {shape} for a parameter (3,) gives an update {np.shape(updates['w'])}")


@law()
def sharding_kept(rule: Rule) -> str:
    """State and updates of a parameter's shape keep its sharding, on automatic and explicit meshes; same values."""
    devices = jax.devices()
    n = max(k for k in (1, 2, 4, 8) if k <= len(devices))
    if n == 1:
        raise DoesNotApply("there is one device here; XLA_FLAGS=--xla_force_host_platform_device_count=8 makes more")
    rng = np.random.default_rng(0)
    params, g = ({"b": rng.normal(size=8), "w": rng.normal(size=(8, 2))} for _ in range(2))
    params, g = jax.tree.map(lambda x: x.astype(np.float32), (params, g))
    alone = rule.standard.run(params, [g, g]).updates[-1]
    for kind, axes in itertools.product((AxisType.Auto, AxisType.Explicit), (("x",), ("x", None))):
        mesh = jax.make_mesh((n,), ("x",), axis_types=(kind,), devices=devices[:n])
        with jax.set_mesh(mesh):
            _on_mesh(rule, mesh, axes, params, g, alone)
    return f"on {n} devices"


def _on_mesh(rule: Rule, mesh: Any, axes: Any, params: Any, g: Any, alone: Any) -> None:
    shardings = {"b": NamedSharding(mesh, PartitionSpec("x")), "w": NamedSharding(mesh, PartitionSpec(*axes))}
    params, g = jax.device_put(params, shardings), jax.device_put(g, shardings)
    path = rule.standard.run(params, [g, g])
    for what, tree in (("the fresh state", path.states[0]), ("the state", path.states[-1]), ("updates", path.updates)):
        for name, x in named_leaves(tree).items():
            like = {np.shape(w): w for w in params.values()}.get(np.shape(x))
            if like is not None and not x.sharding.is_equivalent_to(like.sharding, x.ndim):
                raise Broken(f"{what}, {at(name)}: {x.sharding.spec} on a mesh of {mesh.axis_types[0]} axes")
    close(path.updates[-1], alone, 2e-6, "updates on the mesh", "updates on one device", beside=params)


LAWS: tuple[Law, ...] = (
    init_is_pure,
    no_aliasing,
    structure_kept,
    dtype_kept,
    other_gradient_dtype,
    state_is_a_fixed_point,
    donation_is_used,
    memory,
    integers_are_refused,
    shapes_are_not_broadcast,
    sharding_kept,
)
