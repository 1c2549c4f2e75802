"""Laws of what a loss takes and returns, and of how it may be run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.compare import close, finite, numbers, same
from fnn.laws.loss.kinds import ROWS, Case, tame
from fnn.laws.loss.subject import Loss
from fnn.laws.probes import no_leak, refusal, stacked
from fnn.laws.statement import Broken, DoesNotApply, Law, law


@law()
def one_value_per_example(loss: Loss) -> None:
    """A batch of n examples has n values, floating-point numbers of shape (n,)."""
    for case in (loss.case(), loss.case().rows(slice(1))):
        value = loss.eager(jnp.asarray(case.outputs), jnp.asarray(case.targets))
        if not isinstance(value, jax.Array) or value.shape != case.targets.shape:
            raise Broken(f"of {len(case.targets)} examples the result has shape {np.shape(value)}")
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise Broken(f"the result has dtype {value.dtype}")


@law()
def empty_batch(loss: Loss) -> None:
    """A batch of no examples has no values: shape (0,)."""
    case = loss.case().rows(slice(0))
    shape = np.shape(loss.eager(jnp.asarray(case.outputs), jnp.asarray(case.targets)))
    if shape != (0,):
        raise Broken(f"shape {shape}")


@law(over=tame)
def rows_stand_alone(loss: Loss, case: Case) -> None:
    """The value of an example does not depend on the others of its batch."""
    whole = numbers(loss.value(case.outputs, case.targets))
    for i in range(ROWS):
        one = case.rows(slice(i, i + 1))
        _near(numbers(loss.value(one.outputs, one.targets)), whole[i : i + 1], f"example {i} alone", "in its batch")


@law(over=tame)
def rows_commute(loss: Loss, case: Case) -> None:
    """Another order of the examples is the same order of the values."""
    turned = case.rows(np.roll(np.arange(ROWS), 2))
    got = numbers(loss.value(turned.outputs, turned.targets))
    _near(got, np.roll(numbers(loss.value(case.outputs, case.targets)), 2), "of moved examples", "moved values")


@law()
def nothing_broadcasts(loss: Loss) -> None:
    """Shapes that would broadcast are refused: (n, 1) against (n,), and one target for n examples."""
    case = loss.case()
    x, y = jnp.asarray(case.outputs), jnp.asarray(loss.given(case.outputs, case.targets))
    pairs = [(x, y[:, None]), (x, y[:1])] + ([] if "classes" in loss.kind.traits else [(x[:, None], y), (x[:1], y)])
    for outputs, targets in pairs:
        if refusal(lambda a=outputs, b=targets: loss.loss(a, b)) is None:
            got = np.shape(loss.loss(outputs, targets))
            raise Broken(f"outputs {outputs.shape} and targets {targets.shape} give {got} without an error")


@law()
def averages_outputs(loss: Loss) -> None:
    """Of many outputs (n, d) an example has one value, the mean or the sum of its outputs' values."""
    cases = [loss.case(0), loss.case(1)]
    x, y = np.stack([c.outputs for c in cases], axis=1), np.stack([c.targets for c in cases], axis=1)
    if refused := refusal(lambda: loss.eager(jnp.asarray(x), jnp.asarray(y))):
        raise DoesNotApply(f"it takes one output an example: {str(refused)[:80]}")
    got = numbers(loss.value(x, y))
    if got.shape == y.shape:
        raise DoesNotApply("it gives each output its value, and leaves the mean to the caller")
    parts = np.stack([numbers(loss.value(c.outputs, c.targets)) for c in cases])
    if got.shape == (ROWS,) and np.allclose(got, parts.sum(axis=0), rtol=1e-5):
        return
    _near(got, parts.mean(axis=0), "of both outputs", "the mean of each one's")


@law()
def keeps_dtype(loss: Loss) -> None:
    """Values and slopes of float32 outputs are float32, those of float64 outputs float64, whatever jax_enable_x64."""
    for x64, dtype in ((False, np.float32), (True, np.float32), (True, np.float64)):
        with jax.enable_x64(x64):
            case = loss.case(0, dtype)
            got = jax.eval_shape(loss.eager, jnp.asarray(case.outputs), jnp.asarray(case.targets)).dtype
            if got != dtype:
                raise Broken(f"outputs in {np.dtype(dtype)}, values in {got}, with jax_enable_x64 {x64}")


@law("labels", "integers")
def label_dtype(loss: Loss) -> None:
    """Labels of another dtype are refused or mean the same: int8, uint8, int32, bool, float32."""
    case = loss.case()
    expected = numbers(loss.value(case.outputs, case.targets))
    for dtype in (np.int8, np.uint8, np.int16, np.int32, np.bool_, np.float32):
        if not np.array_equal(case.targets.astype(dtype), case.targets):
            continue
        x, y = jnp.asarray(case.outputs), jnp.asarray(case.targets.astype(dtype))
        if refusal(lambda a=x, b=y: loss.loss(a, b)) is None:
            _near(numbers(loss.loss(x, y)), expected, f"labels in {np.dtype(dtype)}", f"in {case.targets.dtype}")


@law()
def deterministic(loss: Loss) -> None:
    """The same inputs have the same values to the bit, whatever was computed before."""
    case, other = loss.case(), loss.case(1)

    def value(c: Case) -> Any:
        return loss.eager(jnp.asarray(c.outputs), jnp.asarray(c.targets))

    first, _ = value(case), value(other)
    same(value(case), first, "the second time", "the first")


@law()
def inputs_untouched(loss: Loss) -> None:
    """Outputs and targets that come as NumPy arrays are the same afterwards."""
    case = loss.case()
    given = (case.outputs.copy(), np.array(loss.given(case.outputs, case.targets)))
    before = jax.tree.map(np.copy, given)
    refused = refusal(lambda: loss.loss(*given))
    same(given, before, "an input afterwards", "before")
    if refused is not None:
        raise DoesNotApply(f"it takes no NumPy arrays: {type(refused).__name__}")


@law(over=tame)
def jit_is_eager(loss: Loss, case: Case) -> None:
    """Compiled or not, the values are the same up to rounding."""
    eager = numbers(loss.eager(jnp.asarray(case.outputs), jnp.asarray(case.targets)))
    _near(numbers(loss.value(case.outputs, case.targets)), eager, "compiled", "eager")


@law()
def vmap_is_loop(loss: Loss) -> None:
    """Under vmap, batches have the values and slopes that they have one by one."""
    cases = [loss.case(seed) for seed in range(3)]
    x, y = (stacked([getattr(c, part) for c in cases]) for part in ("outputs", "targets"))
    for function, what in ((loss.value, "value"), (loss.slope, "slope")):
        expected = stacked([function(c.outputs, c.targets) for c in cases])
        _near(numbers(jax.vmap(function)(x, y)), numbers(expected), f"{what} under vmap", "in a loop")


@law()
def no_tracer_leaks(loss: Loss) -> None:
    """No tracer outlives a trace: the loss runs under jax.checking_leaks, and then without jit."""
    case = loss.case()
    no_leak(loss.eager, jnp.asarray(case.outputs), jnp.asarray(case.targets))


def _near(got: np.ndarray, expected: np.ndarray, what: str, other: str) -> None:
    """Equal up to the rounding of numbers of size 1, at least."""
    finite(expected, other)
    close(got, expected, 2e-6 * max(1.0, 1 / max(float(np.max(np.abs(expected), initial=0)), 1e-30)), what, other)


LAWS: tuple[Law, ...] = (
    one_value_per_example,
    empty_batch,
    rows_stand_alone,
    rows_commute,
    nothing_broadcasts,
    averages_outputs,
    keeps_dtype,
    label_dtype,
    deterministic,
    inputs_untouched,
    jit_is_eager,
    vmap_is_loop,
    no_tracer_leaks,
)
