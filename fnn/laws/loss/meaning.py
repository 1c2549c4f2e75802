"""Laws of what a loss means: the right answer costs least, and each gradient leads there."""

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.compare import numbers, show
from fnn.laws.loss.kinds import ROWS, Case, digits, tame, wild
from fnn.laws.loss.subject import Loss, one_hot
from fnn.laws.probes import refusal
from fnn.laws.statement import Broken, Law, law

_ROUNDING = 2e-6


@law(over=wild)
def never_negative(loss: Loss, case: Case) -> None:
    """No value is below 0, but for rounding."""
    value = numbers(loss.value(case.outputs, case.targets))
    size = 1 + np.abs(case.outputs).reshape(ROWS, -1).max(axis=1)
    bad = value < -2e-7 * size
    if bad.any():
        i = int(np.argmax(bad))
        raise Broken(f"output {digits(case.outputs[i])}, target {digits(case.targets[i])}: {show(value[i])}")


@law(over=tame)
def right_costs_least(loss: Loss, case: Case) -> None:
    """No output costs less than the right one, and a wrong one that has no doubt costs more."""
    right = numbers(loss.value(_right(loss, case.targets), case.targets))
    wrong = numbers(loss.value(_right(loss, loss.kind.other(case.targets)), case.targets))
    drawn = numbers(loss.value(case.outputs, case.targets))
    for i in range(ROWS):
        if not right[i] <= drawn[i] + _ROUNDING * (1 + abs(drawn[i])):
            costs = f"the right output costs {show(right[i])}, {digits(case.outputs[i])} costs {show(drawn[i])}"
            raise Broken(f"target {digits(case.targets[i])}: {costs}")
        if not wrong[i] > right[i]:
            raise Broken(f"target {digits(case.targets[i])}: wrong costs {show(wrong[i])}, right {show(right[i])}")


@law(over=tame)
def gradient_leads_to_right(loss: Loss, case: Case) -> None:
    """Towards the right output the slope is never upwards."""
    slope = numbers(loss.slope(case.outputs, case.targets))
    way = _right(loss, case.targets).astype(np.float64) - case.outputs
    along = (slope * way / (1 + np.abs(way))).reshape(ROWS, -1)
    size = (1 + np.abs(slope)).reshape(ROWS, -1).sum(axis=1)
    bad = ~(along.sum(axis=1) <= 1e-5 * size)
    if bad.any() and "classes" not in loss.kind.traits:
        i = int(np.argmax(bad))
        place = f"output {digits(case.outputs[i])}, target {digits(case.targets[i])}"
        raise Broken(f"{place}: the slope is {show(along[i].sum())} towards the right output")
    _own_class(loss, case, slope)


def _own_class(loss: Loss, case: Case, slope: np.ndarray) -> None:
    if "classes" not in loss.kind.traits:
        return
    own = slope[np.arange(ROWS), case.targets]
    bad = ~(own <= 1e-5 * (1 + np.abs(own)))
    if bad.any():
        i = int(np.argmax(bad))
        place = f"output {digits(case.outputs[i])}, target {digits(case.targets[i])}"
        raise Broken(f"{place}: more of the right class costs more, slope {show(own[i])}")


@law()
def step_goes_down(loss: Loss) -> None:
    """A small step against the gradient of the mean lowers the mean."""
    with jax.enable_x64(True):
        case = loss.case(0, np.float64)
        slope = numbers(loss.slope(case.outputs, case.targets)) / ROWS
        norm = np.sqrt(np.sum(slope**2))
        before, after = (
            numbers(loss.value(case.outputs - t * slope / max(norm, 1e-300), case.targets)).mean() for t in (0, 1e-5)
        )
    if not after < before:
        raise Broken(f"before {before:.12g}, after {after:.12g}, gradient of norm {show(norm)}")


@law("answers")
def wrong_is_pulled_back(loss: Loss) -> None:
    """A wrong output that has no doubt has a gradient, and it leads back: nothing gets stuck."""
    targets = loss.case().targets
    wrong = _right(loss, loss.kind.other(targets))
    way = _right(loss, targets) - wrong
    along = (numbers(loss.slope(wrong, targets)) * np.sign(way)).reshape(ROWS, -1).sum(axis=1)
    if not (along < 0).all():
        i = int(np.argmin(along < 0))
        raise Broken(f"output {digits(wrong[i])}, target {digits(targets[i])}: slope {show(along[i])} to the right one")


@law("labels", "integers")
def label_out_of_range(loss: Loss) -> None:
    """A label that means nothing is refused or makes the value NaN, compiled or not."""
    case = loss.case()
    for label in loss.kind.nonsense:
        targets = case.targets.copy()
        targets[2] = label
        _refused_or_nan(loss, Case(case.outputs, targets), f"the label {label}")


@law("probabilities")
def probability_out_of_range(loss: Loss) -> None:
    """A probability outside [0, 1] is refused or makes the value NaN, compiled or not."""
    case = loss.case()
    for p in (1.5, -0.5):
        outputs = case.outputs.copy()
        outputs[2] = p
        _refused_or_nan(loss, Case(outputs, case.targets), f"the probability {p}")


def _refused_or_nan(loss: Loss, case: Case, what: str) -> None:
    x, y = jnp.asarray(case.outputs), jnp.asarray(case.targets)
    for function, how in ((loss.eager, ""), (loss.value, ", compiled,")):
        if refusal(lambda f=function: f(x, y)) is None and not np.isnan(value := numbers(function(x, y))[2]):
            raise Broken(f"{what}{how} has the value {show(value)}")


@law("classes", "integers", "one_hot", over=tame)
def one_hot_is_integer(loss: Loss, case: Case) -> None:
    """An integer label and its row of zeros and one 1 have the same value."""
    rows = one_hot(case.outputs, case.targets)
    _near(numbers(loss.value(case.outputs, rows)), numbers(loss.value(case.outputs, case.targets)), case, "one-hot")


@law("shift", over=tame)
def shift_invariant(loss: Loss, case: Case) -> None:
    """The same number added to all classes of an example changes nothing."""
    expected = numbers(loss.value(case.outputs, case.targets))
    for shift in (8.0, -256.0):
        moved = case.outputs + np.float32(shift)
        _near(numbers(loss.value(moved, case.targets)), expected, case, f"shifted by {shift:g}")


@law("classes", over=tame)
def classes_are_alike(loss: Loss, case: Case) -> None:
    """Other names of the classes change nothing."""
    order = np.array([1, 2, 0])
    renamed = np.argsort(order)[case.targets].astype(np.int32)
    expected = numbers(loss.value(case.outputs, case.targets))
    _near(numbers(loss.value(case.outputs[:, order], renamed)), expected, case, "with classes renamed")


@law("mirror", over=tame)
def sides_are_alike(loss: Loss, case: Case) -> None:
    """The opposite question costs the same: L(p, y) = L(1 - p, 1 - y), of logits and scores L(x) = L(-x)."""
    assert loss.kind.mirrored is not None
    x, y = loss.kind.mirrored(case.outputs, case.targets)
    _near(numbers(loss.value(x, y)), numbers(loss.value(case.outputs, case.targets)), case, "of the opposite question")


def _right(loss: Loss, targets: np.ndarray) -> np.ndarray:
    return loss.kind.right(targets).astype(np.float32)


def _near(got: np.ndarray, expected: np.ndarray, case: Case, what: str) -> None:
    bad = ~(np.abs(got - expected) <= 1e-4 * (1 + np.abs(expected)))
    if bad.any():
        i = int(np.argmax(bad))
        place = f"output {digits(case.outputs[i])}, target {digits(case.targets[i])}"
        raise Broken(f"{place}: {show(expected[i])}, {what} {show(got[i])}")


LAWS: tuple[Law, ...] = (
    never_negative,
    right_costs_least,
    gradient_leads_to_right,
    step_goes_down,
    wrong_is_pulled_back,
    label_out_of_range,
    probability_out_of_range,
    one_hot_is_integer,
    shift_invariant,
    classes_are_alike,
    sides_are_alike,
)
