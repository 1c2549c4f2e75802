"""Small experiments that the laws of losses, layers and steps share."""

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import is_traced
from fnn.laws.checking import Trait
from fnn.laws.compare import show
from fnn.laws.statement import Broken
from fnn.tree import named_leaves


def overruled(name: str, seen: Trait, given: Mapping[str, bool] | None) -> Trait:
    """A trait as the caller knows it, where it is given; else as it was seen."""
    if given is None or name not in given:
        return seen
    return Trait(given[name], f"traits says that {name} is {given[name]}")


def refusal(call: Callable[[], Any]) -> Exception | None:
    """What a call raises, or None where it returns."""
    try:
        jax.block_until_ready(call())
    except Exception as error:
        return error
    return None


class Counted:
    """A function that counts its calls: under jit these are its traces."""

    def __init__(self, function: Callable[..., Any]):
        self.function, self.calls = function, 0

    def __call__(self, *args: Any) -> Any:
        """Calls the function."""
        self.calls += 1
        return self.function(*args)


def quickly(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` for a program that runs a few times: half the time to compile, the same numbers up to rounding."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)


def no_leak(function: Callable[..., Any], *args: Any) -> None:
    """Traces a function anew and looks for tracers that outlive the trace, then calls it without one."""
    traces: list[weakref.ref[Any]] = []

    def seen(*a: Any) -> Any:
        traces.extend(weakref.ref(leaf._trace) for leaf in jax.tree.leaves(a) if is_traced(leaf))
        return function(*a)

    jax.jit(seen).trace(*args)
    gc.collect()
    # JAX's own search finds more, but takes minutes to word what it finds.
    for live in filter(None, (trace() for trace in traces)):
        for tracer in gc.get_referrers(live):
            if is_traced(tracer):
                raise Broken(f"a tracer is kept: {jax.typeof(tracer).str_short()}")
    with jax.checking_leaks():
        jax.jit(lambda *a: function(*a)).trace(*args)
    function(*args)


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed key."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_numpy(tree: Any) -> Any:
    """A copy of a tree as NumPy arrays; typed keys stay."""
    return jax.tree.map(lambda leaf: leaf if is_key(leaf) else np.array(leaf), tree)


def copied(tree: Any) -> Any:
    """A tree of new arrays, which may be donated."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)


def shared_buffers(tree: Any) -> Iterator[tuple[str, str]]:
    """The names of leaves that lie in one buffer: such a tree cannot be donated."""
    seen: dict[int, str] = {}
    for name, leaf in named_leaves(tree).items():
        if isinstance(leaf, jax.Array) and leaf.size:
            pointer = leaf.unsafe_buffer_pointer()
            if pointer in seen:
                yield seen[pointer], name
            seen.setdefault(pointer, name)


def stacked(trees: Any) -> Any:
    """Trees of one structure as one, with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def check_slopes(value: Callable[[Any], jax.Array], point: Any) -> None:
    """The gradient of a scalar function of a tree against central differences, leaf by leaf, in float64.

    To be called under `jax.enable_x64`, at a point in float64 where the function is smooth.
    """
    both = quickly(jax.value_and_grad(value))
    middle, slopes = both(point)
    leaves, treedef = jax.tree.flatten(point)
    rng, h = np.random.default_rng(0), 1e-6
    for (i, name), _ in itertools.product(enumerate(named_leaves(point)), range(2)):
        direction = rng.normal(size=np.shape(leaves[i]))
        ends = [
            float(both(treedef.unflatten([*leaves[:i], leaves[i] + t * direction, *leaves[i + 1 :]]))[0])
            for t in (h, -h)
        ]
        expected = (ends[0] - ends[1]) / (2 * h)
        got = float(np.vdot(np.asarray(jax.tree.leaves(slopes)[i]), direction))
        # Written so that NaN fails: the differences carry a rounding of 1e-16 of the value over h.
        if not abs(got - expected) <= 1e-6 * max(abs(got), abs(expected)) + 1e-8 * (1 + abs(float(middle))):
            raise Broken(f"{name or 'leaf'}: the gradient says {show(got)}, finite differences say {show(expected)}")
