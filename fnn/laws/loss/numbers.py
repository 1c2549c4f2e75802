"""Laws of a loss's numbers: finite values, right gradients, enough digits."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.compare import numbers, show
from fnn.laws.loss.kinds import CLASSES, ROWS, Case, digits, tame, wild
from fnn.laws.loss.subject import Loss
from fnn.laws.probes import refusal
from fnn.laws.statement import Broken, Law, law

_ROUNDING = 4e-6
_HALVES = (jnp.float16, jnp.bfloat16)


@law(over=wild)
def finite_value(loss: Loss, case: Case) -> None:
    """The value is finite: at outputs of 1e4, at probabilities of exactly 0 and 1, at everything between."""
    _finite(loss.value(case.outputs, case.targets), case, "the value")


@law(over=wild)
def finite_gradient(loss: Loss, case: Case) -> None:
    """The gradient is finite: at outputs of 1e4, at probabilities of exactly 0 and 1, at kinks."""
    _finite(loss.slope(case.outputs, case.targets), case, "the gradient")


@law(over=wild)
def float32_is_float64(loss: Loss, case: Case) -> None:
    """In float32 values and gradients are those of float64, up to the rounding of the outputs and of 1."""
    for function, what in ((loss.value, "value"), (loss.slope, "gradient")):
        got = numbers(function(case.outputs, case.targets))
        with jax.enable_x64(True):
            wide = case.of(np.float64)
            expected = numbers(function(wide.outputs, wide.targets))
        sizes = np.abs(case.outputs).reshape(ROWS, -1).max(axis=1) if what == "value" else np.zeros(ROWS)
        sizes = 1 + sizes.reshape(ROWS, *[1] * (got.ndim - 1)) + np.abs(expected)
        bad = ~(np.abs(got - expected) <= _ROUNDING * sizes)
        if bad.any():
            place = tuple(np.argwhere(bad)[0])
            row = _row(case, int(place[0]))
            raise Broken(f"{row}: the {what} is {show(got[place])} in float32, {show(expected[place])} in float64")


@law()
def half_precision_is_finite(loss: Loss) -> None:
    """Outputs in float16 and bfloat16 have finite values and gradients, at ordinary and at certain answers."""
    ordinary = loss.case()
    right = loss.kind.right(ordinary.targets)
    certain = [
        Case(x.astype(np.float32), ordinary.targets)
        for x in (right, loss.kind.right(loss.kind.other(ordinary.targets)))
    ]
    for dtype, case in itertools.product(_HALVES, (ordinary, *certain)):
        half = case.of(dtype)
        for function, what in ((loss.value, "value"), (loss.slope, "gradient")):
            _finite(function(half.outputs, half.targets), case, f"in {jnp.dtype(dtype)}, the {what}")


@law()
def half_precision_is_wide(loss: Loss) -> None:
    """Outputs in float16 and bfloat16 have values in float32, the same as of those numbers in float32."""
    for dtype in _HALVES:
        half = loss.case().of(dtype)
        got, wide = loss.value(half.outputs, half.targets), half.of(np.float32)
        if jnp.finfo(got.dtype).bits < 32:
            raise Broken(
                f"outputs in {jnp.dtype(dtype)} have values in {got.dtype}: the mean over a batch loses digits"
            )
        expected = numbers(loss.value(wide.outputs, wide.targets))
        if not np.allclose(numbers(got), expected, rtol=1e-5, atol=1e-6):
            raise Broken(f"outputs in {jnp.dtype(dtype)}: {digits(numbers(got))}, in float32 {digits(expected)}")


@law()
def gradient_is_right(loss: Loss) -> None:
    """The gradient agrees with central differences in float64, at ordinary outputs and far out."""
    h = 1e-6
    with jax.enable_x64(True):
        for case in _ordinary(loss):
            slope = numbers(loss.slope(case.outputs, case.targets)).reshape(ROWS, -1)
            for column, direction in enumerate(_axes(case)):
                ends = [numbers(loss.value(case.outputs + t * direction, case.targets)) for t in (h, -h)]
                expected = (ends[0] - ends[1]) / (2 * h)
                got, size = slope[:, column], np.maximum(np.abs(ends[0]), 1)
                # Written so that NaN fails: the differences carry a rounding of 1e-16 of the value over h.
                bad = ~(np.abs(got - expected) <= 1e-6 * np.abs(expected) + 1e-8 * size)
                if bad.any():
                    i = int(np.argmax(bad))
                    raise Broken(f"{_row(case, i)}: {show(got[i])}, finite differences say {show(expected[i])}")


def _ordinary(loss: Loss) -> list[Case]:
    near = [loss.case(seed, np.float64) for seed in range(2)]
    if "probabilities" in loss.kind.traits:
        return near
    return [*near, Case(near[0].outputs * 7.3, near[0].targets)]


def _axes(case: Case) -> list[np.ndarray]:
    """The unit vectors of an example's outputs."""
    if case.outputs.ndim == 1:
        return [np.ones(1)]
    return list(np.eye(CLASSES))


@law("edgeless", over=tame)
def slope_at_kinks(loss: Loss, case: Case) -> None:
    """At a kink the gradient lies between the slopes of its sides, in every direction."""
    h = 1e-7
    with jax.enable_x64(True):
        case = case.of(np.float64)
        middle = numbers(loss.value(case.outputs, case.targets))
        slope = numbers(loss.slope(case.outputs, case.targets)).reshape(ROWS, -1)
        width = slope.shape[1]
        for signs in itertools.product((1, 0, -1), repeat=width):
            direction = np.array(signs, float) if width > 1 else np.array(signs[0], float)
            if not np.any(direction):
                continue
            ahead = (numbers(loss.value(case.outputs + h * direction, case.targets)) - middle) / h
            behind = (middle - numbers(loss.value(case.outputs - h * direction, case.targets))) / h
            got = slope @ np.atleast_1d(direction)
            low, high, slack = np.minimum(ahead, behind), np.maximum(ahead, behind), 1e-5 * (1 + np.abs(got))
            bad = ~((got >= low - slack) & (got <= high + slack))
            if bad.any():
                i = int(np.argmax(bad))
                sides = f"{show(behind[i])} and {show(ahead[i])}"
                raise Broken(f"{_row(case, i)}, along {digits(direction)}: {show(got[i])}, its sides have {sides}")


@law()
def second_derivative_is_finite(loss: Loss) -> None:
    """At ordinary outputs the second derivative is finite."""
    case = loss.case()
    along = np.random.default_rng(2).normal(size=case.outputs.shape).astype(np.float32)
    curve = jax.jit(jax.grad(lambda x: jnp.sum(loss.slope(x, jnp.asarray(case.targets)) * along)))
    _finite(curve(case.outputs), case, "the second derivative")


@law()
def nan_is_seen(loss: Loss) -> None:
    """An output of NaN is refused or makes its example's value NaN, and no other's."""
    case = loss.case()
    broken = case.outputs.copy()
    broken[2] = np.nan
    before, compiled = numbers(loss.value(case.outputs, case.targets)), loss.value(broken, case.targets)
    values = [numbers(compiled)]
    x, y = jnp.asarray(broken), jnp.asarray(case.targets)
    if refusal(lambda: loss.eager(x, y)) is None:
        values.append(numbers(loss.eager(x, y)))
    for value in values:
        if np.isfinite(value[2]):
            raise Broken(f"an output of NaN has the value {show(value[2])}")
        others = np.arange(ROWS) != 2
        if not np.allclose(value[others], before[others], rtol=1e-5, atol=1e-6):
            raise Broken(f"NaN in example 2 changes the others: {digits(value)}, before {digits(before)}")


def _finite(result: Any, case: Case, what: str) -> None:
    values = numbers(result)
    if np.isfinite(values).all():
        return
    place = tuple(np.argwhere(~np.isfinite(values))[0])
    raise Broken(f"{_row(case, int(place[0]))}: {what} is {show(values[place])}")


def _row(case: Case, i: int) -> str:
    return f"output {digits(case.outputs[i])}, target {digits(case.targets[i])}"


LAWS: tuple[Law, ...] = (
    finite_value,
    finite_gradient,
    float32_is_float64,
    half_precision_is_finite,
    half_precision_is_wide,
    gradient_is_right,
    slope_at_kinks,
    second_derivative_is_finite,
    nan_is_seen,
)
