"""Laws of a layer's first parameters and state."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.compare import abstract, close, numbers, same
from fnn.laws.layer.subject import Net
from fnn.laws.probes import quickly, shared_buffers, stacked
from fnn.laws.statement import Broken, Law, law
from fnn.tree import named_leaves


@law()
def init_is_pure(net: Net) -> None:
    """The same key gives the same first parameters and state to the bit, whatever was drawn before."""
    net.init(5)
    same(net.init(), (net.params, net.state), "the second init", "the first")


@law()
def init_under_eval_shape(net: Net) -> None:
    """Under eval_shape init gives the shapes and dtypes of what it draws."""
    shapes = jax.eval_shape(lambda key: net.layer.init(key, net.shaped), jax.random.key(0))
    if abstract(shapes) != abstract((net.params, net.state)):
        raise Broken(f"eval_shape: {abstract(shapes)}, drawn: {abstract((net.params, net.state))}"[:400])


@law()
def init_under_jit_and_vmap(net: Net) -> None:
    """Compiled and mapped over keys, init draws a population's parameters as it draws them one by one."""
    draw = quickly(jax.vmap(lambda key: net.layer.init(key, net.shaped)))
    together = draw(jax.vmap(jax.random.key)(jnp.arange(3)))
    close(together, stacked([net.init(seed) for seed in range(3)]), 2e-6, "compiled under vmap", "in a loop")


@law()
def init_reads_shape_only(net: Net) -> None:
    """Init uses the shape and dtype of a batch alone: not its numbers, nor how many examples there are."""
    first = (net.params, net.state)
    for x, what in (
        (net.x, "the batch"),
        (jnp.zeros_like(net.x), "zeros"),
        (jax.ShapeDtypeStruct((1, *net.x.shape[1:]), net.x.dtype), "one example's shape"),
    ):
        same(net.layer.init(jax.random.key(0), x), first, f"from {what}", "from the shape")


@law("random_init")
def other_key_other_weights(net: Net) -> None:
    """Another key draws other weights."""
    first, second = (jax.tree.leaves(net.init(seed)[0]) for seed in (0, 1))
    if all(np.array_equal(numbers(a), numbers(b)) for a, b in zip(first, second, strict=True)):
        raise Broken("two keys draw the same parameters")


@law("random_init")
def leaves_are_drawn_apart(net: Net) -> None:
    """No two leaves hold the same random numbers: no key is used twice."""
    drawn = {name: numbers(leaf) for name, leaf in named_leaves(net.params).items()}
    varied = {name: leaf.ravel() for name, leaf in drawn.items() if np.unique(leaf).size > 3}
    for (a, x), (b, y) in itertools.combinations(varied.items(), 2):
        # One key draws the same normals for another range too: then they differ by a factor.
        if x.size == y.size and abs(np.dot(x, y)) > 0.9999 * np.linalg.norm(x) * np.linalg.norm(y):
            raise Broken(f"{a} and {b} are the same draw")


@law()
def leaves_are_arrays(net: Net) -> None:
    """Parameters and state are trees of arrays, none of a weak type: they vmap, scan, donate and shard as they are."""
    for tree, what in ((net.params, "parameter"), (net.state, "state")):
        for name, leaf in named_leaves(tree).items():
            if not isinstance(leaf, jax.Array | np.ndarray):
                raise Broken(f"{what} {name} is a {type(leaf).__name__}")
            if getattr(leaf, "weak_type", False):
                raise Broken(f"{what} {name} has a weak type")


@law()
def paths_have_names(net: Net) -> None:
    """Each leaf has a path of names, strings without a slash, so that summaries and checkpoints can show it."""
    for tree, what in ((net.params, "parameter"), (net.state, "state")):
        for path, _ in jax.tree_util.tree_leaves_with_path(tree):
            for part in path:
                name = getattr(part, "key", getattr(part, "name", None))
                if not isinstance(name, str) or not name or "/" in name:
                    raise Broken(f"{what} {jax.tree_util.keystr(path)}: {part} is no name")


@law("parameters")
def parameters_are_trainable(net: Net) -> None:
    """Each parameter is of floating-point or complex numbers: what has no gradient belongs to the state."""
    for name, leaf in named_leaves(net.params).items():
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise Broken(f"{name} has dtype {jnp.result_type(leaf)}")


@law()
def leaves_share_no_buffer(net: Net) -> None:
    """No two leaves of parameters and state lie in one buffer: they can be donated."""
    for a, b in shared_buffers({"params": net.params, "state": net.state}):
        raise Broken(f"{a} and {b} share a buffer")


@law("floating")
def x64_keeps_float32(net: Net) -> None:
    """With jax_enable_x64, a float32 batch has the parameters, state and output dtypes that it has without."""
    x = jax.ShapeDtypeStruct(net.x.shape, jnp.float32)

    def dtypes() -> dict[str, str]:
        first = jax.eval_shape(lambda key: net.layer.init(key, x), jax.random.key(0))
        y = jax.eval_shape(lambda p, s, v: net.eager(p, s, v)[0], *first, x)
        parts = {"output": y, "params": first[0], "state": first[1]}
        return {name: dtype for name, _, dtype, _ in abstract(parts) if "float" in dtype}

    narrow = dtypes()
    with jax.enable_x64(True):
        wide = dtypes()
    changed = [name for name, dtype in narrow.items() if wide[name] != dtype]
    if changed:
        # Where a parameter changes, the output follows.
        made = [name for name in changed if name != "output"] or changed
        dtype = f"{narrow[made[0]]} without jax_enable_x64 and {wide[made[0]]} with it"
        raise Broken(f"{', '.join(made)}: {dtype}. Make it in the dtype of x: jnp.zeros(shape, x.dtype)")


LAWS: tuple[Law, ...] = (
    init_is_pure,
    init_under_eval_shape,
    init_under_jit_and_vmap,
    init_reads_shape_only,
    other_key_other_weights,
    leaves_are_drawn_apart,
    leaves_are_arrays,
    paths_have_names,
    parameters_are_trainable,
    leaves_share_no_buffer,
    x64_keeps_float32,
)
