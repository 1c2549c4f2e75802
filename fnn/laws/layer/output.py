"""Laws of a layer's output and gradient, and of how it may be run."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.checking import import_hypothesis
from fnn.laws.compare import close, finite, numbers
from fnn.laws.layer.subject import ROWS, Net
from fnn.laws.probes import check_slopes, no_leak, quickly, stacked, to_numpy
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.tree import named_leaves

_ROUNDING = 1e-5


@dataclass(frozen=True)
class Tile:
    """A few numbers, repeated until they fill a batch."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        """Short enough to type in."""
        return f"x=np.resize({list(self.values)}, x.shape)"

    def fill(self, net: Net) -> jax.Array:
        """The batch."""
        return jnp.asarray(np.resize(self.values, net.x.shape), net.x.dtype)


def tiles() -> Any:
    """Batches of zeros, of ordinary numbers, of 1e3 and 1e-20, and of all together."""
    import_hypothesis()
    from hypothesis import strategies as st

    element = st.one_of(st.integers(-32, 32).map(lambda i: i / 8), st.sampled_from([1e3, -1e3, 1e-20, 0.0]))
    return st.lists(element, min_size=1, max_size=5).map(lambda values: Tile(tuple(values)))


@law()
def output_shape(net: Net) -> None:
    """The output is an array with as many rows as x, of the shape and dtype that eval_shape tells."""
    for (mode, compiled), abstract in zip(net.modes(), (net.eager, net.eager_train), strict=True):
        y, _ = compiled(net.params, net.state, net.x)
        if not isinstance(y, jax.Array) or y.shape[:1] != (ROWS,):
            raise Broken(f"in {mode}: of {ROWS} examples the output has shape {np.shape(y)}")
        extra = () if mode == "evaluation" else (net.key,)
        told = jax.eval_shape(lambda *args, f=abstract: f(*args)[0], net.params, net.state, net.x, *extra)
        if (told.shape, told.dtype) != (y.shape, y.dtype):
            raise Broken(f"in {mode}: {y.dtype}{list(y.shape)}, eval_shape tells {told.dtype}{list(told.shape)}")


@law("floating")
def output_dtype(net: Net) -> None:
    """The output has the dtype of x and the parameters drawn for it: bfloat16, float16, float32 and float64."""
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            x = jax.ShapeDtypeStruct(net.x.shape, dtype)
            first = jax.eval_shape(lambda key, x=x: net.layer.init(key, x), jax.random.key(0))
            expected = jnp.result_type(dtype, *(p.dtype for p in jax.tree.leaves(first[0])))
            for train in (False, True):
                y = jax.eval_shape(lambda p, s, v, t=train: _apply(net, t, p, s, v), *first, x)
                if y.dtype != expected:
                    raise Broken(f"x in {x.dtype}, parameters and x in {expected}, the output in {y.dtype}")


def _apply(net: Net, train: bool, params: Any, state: Any, x: Any) -> Any:
    if train:
        return net.eager_train(params, state, x, net.key)[0]
    return net.eager(params, state, x)[0]


@law()
def jit_is_eager(net: Net) -> None:
    """Compiled or not, output and new state are the same up to rounding."""
    eager = net.eager(net.params, net.state, net.x)
    close(net.evaluate(net.params, net.state, net.x), eager, _ROUNDING, "compiled evaluation", "eager")
    eager = net.eager_train(net.params, net.state, net.x, net.key)
    close(net.train(net.params, net.state, net.x, net.key), eager, _ROUNDING, "compiled training", "eager")


@law("parameters")
def vmap_is_loop(net: Net) -> None:
    """Under vmap over parameters, each network of a population has the output that it has alone."""
    population = [net.init(seed) for seed in range(3)]
    expected = stacked([net.train(p, s, net.x, net.key) for p, s in population])
    params, state = stacked([p for p, _ in population]), stacked([s for _, s in population])
    together = quickly(jax.vmap(net.eager_train, in_axes=(0, 0, None, None)))(params, state, net.x, net.key)
    close(together, expected, _ROUNDING, "under vmap", "alone")


@law()
def scan_is_loop(net: Net) -> None:
    """A scan over batches that carries the state gives the outputs and the state of a loop."""
    keys, state, ys = jax.random.split(net.key, 3), net.state, []
    for key in keys:
        y, state = net.train(net.params, state, net.x, key)
        ys.append(y)

    def body(state: Any, key: Any) -> tuple[Any, Any]:
        y, state = net.eager_train(net.params, state, net.x, key)
        return state, y

    scan = quickly(lambda state: jax.lax.scan(body, state, keys))
    close(scan(net.state), (state, jnp.stack(ys)), _ROUNDING, "scanned", "in a loop")


@law()
def one_trace(net: Net) -> None:
    """First parameters, those of another key, a trained state and all restored from NumPy share one program."""
    _, state = net.train(net.params, net.state, net.x, net.key)
    before = net.traced.calls
    net.train(net.init(1)[0], state, net.x, jax.random.key(1))
    net.train(*to_numpy((net.params, state, net.x)), net.key)
    if net.traced.calls > before:
        raise Broken(f"{1 + net.traced.calls - before} traces for one shape")


@law()
def no_tracer_leaks(net: Net) -> None:
    """No tracer outlives a trace: the layer runs under jax.checking_leaks, and then without jit."""
    no_leak(net.eager_train, net.params, net.state, net.x, net.key)


@law("per_example")
def rows_stand_alone(net: Net) -> None:
    """The output of an example does not depend on the others of its batch; without state or noise, nor in training."""
    params, state, x = net.generic()
    for mode, compiled in net.modes():
        if mode == "training" and not (net.trait("stateless").holds and net.trait("calm").holds):
            continue
        whole, _ = compiled(params, state, x)
        for i in range(ROWS):
            # Repeated, so that it has the compiled shape; then alone, once.
            one = x[i : i + 1] if i == 0 else jnp.repeat(x[i : i + 1], ROWS, axis=0)
            close(
                compiled(params, state, one)[0][:1], whole[i : i + 1], _ROUNDING, f"example {i} alone", "in its batch"
            )


@law("per_example")
def rows_commute(net: Net) -> None:
    """Another order of the examples is the same order of the outputs, in evaluation."""
    params, state, x = net.generic()
    order = np.roll(np.arange(ROWS), 1)
    whole = net.evaluate(params, state, x)[0]
    close(net.evaluate(params, state, x[order])[0], whole[order], _ROUNDING, "of moved examples", "moved outputs")


@law()
def empty_batch(net: Net) -> None:
    """A batch of no examples has an output of no rows, in evaluation."""
    expected = jax.eval_shape(lambda p, s, x: net.eager(p, s, x)[0], net.params, net.state, net.x).shape
    got = np.shape(net.eager(net.params, net.state, net.x[:0])[0])
    if got != (0, *expected[1:]):
        raise Broken(f"shape {got}, expected {(0, *expected[1:])}")


@law("floating", over=tiles)
def finite_output_and_gradient(net: Net, tile: Tile) -> None:
    """Output and gradients are finite at zero inputs, and at inputs of 1e3, in both modes."""
    x = tile.fill(net)
    finite(net.evaluate(net.params, net.state, x)[0], "in evaluation, the output")
    _finite_training(net, net.params, net.state, x)


def _finite_training(net: Net, params: Any, state: Any, x: Any, where: str = "") -> None:
    gradients, y = net.slopes({"params": params, "x": x}, state)
    finite(y, f"in training{where}, the output")
    finite(gradients, f"in training{where}, the gradient")


@law("floating")
def half_precision_is_finite(net: Net) -> None:
    """In float16 output and gradients of an ordinary batch are finite."""
    params, state = net.layer.init(jax.random.key(0), jax.ShapeDtypeStruct(net.x.shape, jnp.float16))
    x = net.x.astype(jnp.float16)
    _finite_training(net, params, state, x, " in float16")


@law("floating")
def gradient_is_right(net: Net) -> None:
    """Gradients by every parameter and by x agree with finite differences in float64, in both modes."""
    with jax.enable_x64(True):
        params, state, x = net.generic(np.float64)
        params, programs = jax.tree.map(jnp.asarray, params), set()
        for train in (False, True):
            y = jax.eval_shape(lambda t=train: _apply(net, t, params, state, x))
            if y.dtype != jnp.float64:
                raise DoesNotApply(f"it computes in {y.dtype} whatever the input, too coarse for differences")
            # Where both modes are one program, one check is enough.
            program = str(jax.make_jaxpr(lambda p, v, t=train: _apply(net, t, p, state, v))(params, x))
            if program in programs:
                continue
            programs.add(program)
            weights = jnp.asarray(np.random.default_rng(5).normal(size=y.shape))

            def value(point: Any, t: bool = train, w: jax.Array = weights) -> jax.Array:
                return jnp.sum(w * _apply(net, t, point["params"], state, point["x"]))

            check_slopes(value, {"params": params, "x": x})


@law("parameters")
def no_dead_parameter(net: Net) -> None:
    """The output depends on every parameter, in one of the two modes."""
    params, state, x = net.generic()
    before = [numbers(compiled(params, state, x)[0]) for _, compiled in net.modes()]
    leaves, treedef = jax.tree.flatten(params)
    rng, dead = np.random.default_rng(1), []
    for i, name in enumerate(named_leaves(params)):
        for size in (1, 3, 10):
            moved = leaves[i] + size * rng.normal(size=np.shape(leaves[i])).astype(leaves[i].dtype)
            other = treedef.unflatten([*leaves[:i], moved, *leaves[i + 1 :]])
            after = [numbers(compiled(other, state, x)[0]) for _, compiled in net.modes()]
            if not all(np.array_equal(a, b) for a, b in zip(after, before, strict=True)):
                break
        else:
            dead.append(name)
    if dead:
        raise Broken(f"the output does not depend on {', '.join(dead)}")


LAWS: tuple[Law, ...] = (
    output_shape,
    output_dtype,
    jit_is_eager,
    vmap_is_loop,
    scan_is_loop,
    one_trace,
    no_tracer_leaks,
    rows_stand_alone,
    rows_commute,
    empty_batch,
    finite_output_and_gradient,
    half_precision_is_finite,
    gradient_is_right,
    no_dead_parameter,
)
