"""Laws of what a step does and tells: it counts, it draws anew, its metrics are true, and it learns."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.compare import close, finite, numbers, same, show
from fnn.laws.probes import is_key, quickly, refusal
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.step.subject import Stepper, other_key
from fnn.tree import global_norm, named_leaves

_STEPS = 50
_LAST = 2**31 - 1


@law("fields")
def steps_are_counted(stepper: Stepper) -> None:
    """`step` is an int32 scalar that grows by one each step."""
    before, (after, _) = stepper.state.step, stepper.loop(3)
    if jnp.result_type(after.step) != jnp.int32 or np.shape(after.step) != ():
        raise Broken(f"step is {jnp.result_type(after.step)}{list(np.shape(after.step))}")
    if int(after.step) != int(before) + 3:
        raise Broken(f"from {int(before)}, three steps count to {int(after.step)}")


@law("fields")
def counter_saturates(stepper: Stepper) -> None:
    """The counter stays at the largest int32 rather than turn negative."""
    at_end = stepper.with_field(step=jnp.full_like(stepper.state.step, _LAST))
    after = stepper.compiled(at_end, stepper.batch)[0].step
    if int(after) != _LAST:
        raise Broken(f"after {_LAST} comes {int(after)}")


@law("fields")
def key_stays(stepper: Stepper) -> None:
    """The run's key never changes: what is drawn at a step is a function of (key, step)."""
    before, after = (np.asarray(numbers(s.key)) for s in (stepper.state, stepper.loop(2)[0]))
    if not np.array_equal(before, after):
        raise Broken(f"the key was {before}, and is {after}")


@law("noisy", "loss")
def noise_is_new_each_step(stepper: Stepper) -> None:
    """Two steps draw different noise: from the count of steps, or from a key that moves on."""
    # Some steps on, since at first weights of 0 noise may change no loss.
    now, _ = stepper.loop(3)
    if stepper.trait("fields").holds:
        later = now._replace(step=now.step + 1)
    else:
        after, _ = stepper.compiled(now, stepper.batch)
        later = jax.tree.map(lambda a, b: b if is_key(a) else a, now, after)
    losses = [float(stepper.compiled(s, stepper.batch)[1]["loss"]) for s in (now, later)]
    if losses[0] == losses[1]:
        raise Broken(f"the loss of the same parameters is {show(losses[0])} at two steps")


@law("noisy")
def noise_follows_key(stepper: Stepper) -> None:
    """Another key in the state draws other noise."""
    now, _ = stepper.loop(3)
    one, other = (stepper.compiled(s, stepper.batch) for s in (now, jax.tree.map(other_key, now)))
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    if all(is_key(a) or np.array_equal(numbers(a), numbers(b)) for a, b in pairs):
        raise Broken("two keys give the same result")


@law()
def metrics_are_scalars(stepper: Stepper) -> None:
    """Metrics are a dict of finite scalars by name, in float32 or wider, with the same names at each step."""
    _, metrics = stepper.loop(3)
    for seen in (stepper.eager[1], *metrics):
        if not isinstance(seen, dict) or not all(isinstance(name, str) for name in seen):
            raise Broken(f"metrics are a {type(seen).__name__}, not a dict by name")
        if set(seen) != set(metrics[0]):
            raise Broken(f"names {sorted(seen)}, at another step {sorted(metrics[0])}")
        for name, value in seen.items():
            if not isinstance(value, jax.Array | np.ndarray | np.generic) or np.shape(value) != ():
                raise Broken(f"{name} is a {type(value).__name__} of shape {np.shape(value)}, not an array of shape ()")
            if jnp.issubdtype(value.dtype, jnp.floating) and jnp.finfo(value.dtype).bits < 32:
                raise Broken(f"{name} has dtype {value.dtype}")
        finite(seen, "a metric")


@law("fields", "loss", "grad_norm")
def loss_is_before_update(stepper: Stepper) -> None:
    """`grad_norm` is the norm of the gradient of `loss` at the parameters before the update."""

    def loss(params: Any) -> jax.Array:
        return stepper.step(stepper.with_field(params=params), stepper.batch)[1]["loss"]

    expected = float(global_norm(quickly(jax.grad(loss))(stepper.state.params)))
    got = float(stepper.first[1]["grad_norm"])
    if not abs(got - expected) <= stepper.rounding(1e-4) * max(abs(got), abs(expected), 1e-6):
        raise Broken(f"grad_norm is {show(got)}, the gradient of loss has norm {show(expected)}")


@law("descends", "loss")
def loss_falls(stepper: Stepper) -> None:
    """Fifty steps on one batch lower the loss; of a noisy one, its mean over ten steps."""
    losses = np.array([float(metrics["loss"]) for metrics in stepper.loop(_STEPS)[1]])
    span = 10 if stepper.trait("noisy").holds else 1
    first, last = losses[:span].mean(), losses[-span:].mean()
    if not last < first:
        raise Broken(f"the loss goes from {show(first)} to {show(last)}")


@law("fields")
def every_parameter_moves(stepper: Stepper) -> None:
    """A few steps change every parameter."""
    before, after = (named_leaves(s.params) for s in (stepper.state, stepper.loop(3)[0]))
    still = [name for name, leaf in before.items() if np.array_equal(numbers(leaf), numbers(after[name]))]
    if still:
        raise Broken(f"unchanged: {', '.join(still)}")


@law("per_example")
def order_of_batch(stepper: Stepper) -> None:
    """A batch in another order is the same batch: the metrics of three steps agree up to rounding."""
    rows = np.shape(jax.tree.leaves(stepper.batch)[0])[0]
    if rows < 2:
        raise DoesNotApply("the batch has one example")
    order = np.roll(np.arange(rows)[::-1], 1)
    turned, state = jax.tree.map(lambda a: jnp.asarray(a)[order], stepper.batch), stepper.state
    # Parameters are not compared: a rule that takes signs amplifies the rounding of a gradient of 0.
    for i, expected in enumerate(stepper.loop(3)[1]):
        state, metrics = stepper.compiled(state, turned)
        close(metrics, expected, stepper.rounding(1e-3), f"at step {i}, in another order", "as given")


@law("loss")
def nan_is_seen(stepper: Stepper) -> None:
    """NaN in the batch is refused, or shows in the metrics: loss or grad_norm is not finite."""
    batch = _with_nan(stepper)
    if refusal(lambda: stepper.compiled(stepper.state, batch)) is not None:
        return
    metrics = stepper.compiled(stepper.state, batch)[1]
    told = {name: show(numbers(metrics[name])) for name in ("loss", "grad_norm") if name in metrics}
    if all(np.isfinite(numbers(metrics[name])) for name in told):
        raise Broken(f"a batch with NaN has {', '.join(f'{name} {value}' for name, value in told.items())}")


@law("finite", "loss")
def guard_keeps_state(stepper: Stepper) -> None:
    """A step that tells `finite` counts no step that is not: of a batch with NaN the state comes back to the bit."""
    batch = _with_nan(stepper)
    new, metrics = stepper.compiled(stepper.state, batch)
    told = [float(metrics[name]) for name in ("loss", "grad_norm") if name in metrics]
    if float(metrics["finite"]) != float(np.isfinite(told).all()):
        raise Broken(f"finite is {show(numbers(metrics['finite']))}, the loss {show(told[0])}")
    if not metrics["finite"]:
        same(new, stepper.state, "after a step that is not finite", "before")
    if not float(stepper.first[1]["finite"]):
        raise Broken("finite is 0 where all is finite")


LAWS: tuple[Law, ...] = (
    steps_are_counted,
    counter_saturates,
    key_stays,
    noise_is_new_each_step,
    noise_follows_key,
    metrics_are_scalars,
    loss_is_before_update,
    loss_falls,
    every_parameter_moves,
    order_of_batch,
    nan_is_seen,
    guard_keeps_state,
)


def _with_nan(stepper: Stepper) -> Any:
    """The batch with NaN in its first place."""
    leaves, treedef = jax.tree.flatten(stepper.batch)
    floating = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    if not floating:
        raise DoesNotApply("the batch has no floating-point numbers")
    broken = jnp.asarray(leaves[floating[0]])
    leaves[floating[0]] = broken.ravel().at[0].set(jnp.nan).reshape(broken.shape)
    return treedef.unflatten(leaves)
