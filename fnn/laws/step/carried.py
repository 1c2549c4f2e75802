"""Laws of the state that a step carries: what scan, vmap, donation and checkpoints ask of it."""

import io
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.compare import abstract, same
from fnn.laws.probes import copied, is_key, no_leak, quickly, refusal, shared_buffers, stacked, to_numpy
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.step.subject import Stepper
from fnn.tree import named_leaves
from fnn.typing import Batch


@law()
def state_is_arrays(stepper: Stepper) -> None:
    """Every leaf of the state, before and after, is an array: it vmaps, scans, donates and shards as it is."""
    for when, state in (("before", stepper.state), ("after", stepper.eager[0])):
        for name, leaf in named_leaves(state).items():
            if not isinstance(leaf, jax.Array | np.ndarray):
                raise Broken(f"{name}, {when} a step, is a {type(leaf).__name__}")


@law()
def state_is_a_fixed_point(stepper: Stepper) -> None:
    """The state keeps its structure, shapes, dtypes and weak types, so that scan accepts it."""
    after = jax.eval_shape(lambda s, b: stepper.step(s, b)[0], stepper.state, stepper.batch)
    if jax.tree.structure(after) != jax.tree.structure(stepper.state):
        raise Broken(f"after: {jax.tree.structure(after)}, before: {jax.tree.structure(stepper.state)}"[:400])
    for a, b in zip(abstract(after), abstract(stepper.state), strict=True):
        if a != b:
            raise Broken("after {}: {} {} weak={}, before {} {} weak={}".format(*a, *b[1:]))


@law()
def one_trace(stepper: Stepper) -> None:
    """A first state, a stepped one and one restored from NumPy arrays share one compiled program."""
    state, _ = stepper.first
    before = stepper.traced.calls
    state, _ = stepper.compiled(state, stepper.batch)
    stepper.compiled(to_numpy(state), stepper.batch)
    if stepper.traced.calls > before:
        raise Broken(f"{1 + stepper.traced.calls - before} traces for one shape")


@law()
def no_tracer_leaks(stepper: Stepper) -> None:
    """No tracer outlives a trace: the step runs under jax.checking_leaks, and then without jit."""
    no_leak(stepper.step, stepper.state, stepper.batch)


@law()
def jit_is_eager(stepper: Stepper) -> None:
    """Compiled or not, new state and metrics are the same up to rounding."""
    stepper.agree(stepper.first, stepper.step, "compiled", "eager", expected=stepper.eager)


@law()
def scan_is_loop(stepper: Stepper) -> None:
    """Steps in a scan are the same as in a loop."""

    def loop(state: Any, batch: Batch) -> Any:
        state, metrics = stepper.loop(3, state, batch)
        return state, stacked(metrics)

    scan = quickly(lambda state: jax.lax.scan(lambda s, _: stepper.step(s, stepper.batch), state, None, length=3))
    stepper.agree(scan(stepper.state), loop, "scanned", "in a loop")


@law()
def vmap_is_loop(stepper: Stepper) -> None:
    """Under vmap over states, each state is stepped as it is alone."""

    def three(state: Any, batch: Batch) -> list[Any]:
        return [state, stepper.loop(1, state, batch)[0], stepper.loop(2, state, batch)[0]]

    def alone(state: Any, batch: Batch) -> Any:
        return stacked([stepper.compiled(s, batch) for s in three(state, batch)])

    states = stacked(three(stepper.state, stepper.batch))
    got = quickly(jax.vmap(stepper.step, in_axes=(0, None)))(states, stepper.batch)
    stepper.agree(got, alone, "under vmap", "alone")


@law()
def donation_is_used(stepper: Stepper) -> None:
    """A donated state gives up every buffer, without a warning: a run needs the memory of one state."""
    state = copied(stepper.state)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = quickly(lambda s, b: stepper.step(s, b), donate_argnums=0, keep_unused=True)(state, stepper.batch)
    unused = [str(w.message).splitlines()[0] for w in caught if "donated" in str(w.message)]
    if unused:
        raise Broken(unused[0][:200])
    kept = [name for name, leaf in named_leaves(state).items() if leaf.size and not leaf.is_deleted()]
    if kept:
        raise Broken(f"not given up: {', '.join(kept)}")
    stepper.agree(got, stepper.compiled, "with a donated state", "with a kept one", expected=stepper.first)


@law()
def new_state_can_be_donated(stepper: Stepper) -> None:
    """No two leaves of the new state lie in one buffer, and none that has changed lies in the old state's."""
    for a, b in shared_buffers(stepper.eager[0]):
        raise Broken(f"{a} and {b} share a buffer")
    for a, b in shared_buffers({"a": stepper.state, "b": stepper.eager[0]}):
        # What only passes through, such as the run's key, may stay where it is.
        if a[2:] != b[2:]:
            raise Broken(f"{b[2:]} of the new state lies in the buffer of {a[2:]} of the old one")


@law()
def deterministic(stepper: Stepper) -> None:
    """The same state and batch give the same result to the bit, whatever was stepped before."""
    first = stepper.eager
    stepper.step(first[0], stepper.batch)
    same(stepper.step(stepper.state, stepper.batch), first, "eagerly, the second time", "the first")
    stepper.loop(2)
    same(stepper.compiled(stepper.state, stepper.batch), stepper.first, "compiled, the second time", "the first")


@law()
def inputs_untouched(stepper: Stepper) -> None:
    """State and batch are the same after a step, also those that come as NumPy arrays."""
    given = to_numpy((stepper.state, stepper.batch))
    before = to_numpy(given)
    refused = refusal(lambda: stepper.step(*given))
    same(given, before, "an input afterwards", "before")
    if refused is not None:
        raise DoesNotApply(f"it takes no NumPy arrays: {str(refused)[:100]}")


@law()
def survives_serialization(stepper: Stepper) -> None:
    """A state whose leaves were written to a file and read back goes on to the bit."""
    state, _ = stepper.first
    again = _restored(state)
    for _ in range(2):
        state, metrics = stepper.compiled(state, stepper.batch)
        again, other = stepper.compiled(again, stepper.batch)
        same((again, other), (state, metrics), "restored", "uninterrupted")


def _restored(state: Any) -> Any:
    """A state through an npz file and back, its keys as their data."""
    leaves, treedef = jax.tree.flatten(state)
    file = io.BytesIO()
    np.savez(file, *(np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in leaves))
    file.seek(0)
    read = list(np.load(file).values())
    back = [
        jax.random.wrap_key_data(jnp.asarray(new), impl=jax.random.key_impl(old))
        if is_key(old)
        else jnp.asarray(new if new.dtype == old.dtype else new.view(old.dtype))
        for new, old in zip(read, leaves, strict=True)
    ]
    return treedef.unflatten(back)


LAWS: tuple[Law, ...] = (
    state_is_arrays,
    state_is_a_fixed_point,
    one_trace,
    no_tracer_leaks,
    jit_is_eager,
    scan_is_loop,
    vmap_is_loop,
    donation_is_used,
    new_state_can_be_donated,
    deterministic,
    inputs_untouched,
    survives_serialization,
)
