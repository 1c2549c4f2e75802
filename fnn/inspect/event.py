"""What is told of a number that is not finite."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from fnn.inspect.replay import Operation, Value


class Event(NamedTuple):
    """The first number of a step that is not finite, and where it came from; `str(event)` says it in words.

    Attributes:
        step: the step's number, from 0.
        stage: "data": the batch holds it; "state": the state before the step does; "forward", "loss" and
            "gradient": an operation of the network, of the loss, or of the backward pass made it, while the
            stages before were finite; "update": the new parameters or the optimizer's state hold it.
        leaf: where it is: "x", the layer "dense_1", the parameter "dense_0/w" whose gradient it is, or
            "params/dense_0/w" of the new state; "" where nothing has a name.
        operation: JAX's name of the operation all of whose inputs were finite, such as "exp"; "" for data.
        layer: the layer that the operation belongs to, or "".
        value: "NaN", "inf" or "-inf".
        bad: how many numbers of the operation's result are not finite.
        size: of how many.
        cause: what the operation was given.
    """

    step: int
    stage: str
    leaf: str
    operation: str
    layer: str
    value: str
    bad: int
    size: int
    cause: str

    def __str__(self) -> str:
        place = _PLACE.get(self.stage, self.stage)
        place += f", {self.leaf}" if self.leaf not in ("", self.stage) else ""
        made = f"{self.operation} gave" if self.operation else "it holds"
        made = f"{self.operation} in {self.layer} gave" if self.layer not in ("", self.leaf) else made
        return f"step {self.step}: {place}: {made} {self.value} ({self.bad} of {self.size} values){self.cause}"


_PLACE = {"state": "the state before it", "forward": "forward pass"}


def of_input(step: int, value: Value) -> Event:
    """The event of an input of the step.

    Example:
        >>> print(of_input(3, Value(np.array([1.0, np.nan]), name="x", kind="data")))
        step 3: data, x: it holds NaN (1 of 2 values), first in row 1
    """
    row = f", first in row {np.argwhere(value.bad)[0][0]}" if value.bad.ndim else ""
    return Event(step, value.kind, value.name, "", "", *_told(value), row)


def of_result(step: int, stage: str, leaf: str, layer: str, operation: Operation, result: Value) -> Event:
    """The event of an operation's result.

    Example:
        >>> x = Value(np.array([1.0, 0.0]))
        >>> log = Operation(0, "log", "", [x])
        >>> print(of_result(3, "forward", "dense_1", "dense_1", log, Value(np.array([0.0, -np.inf]), log)))
        step 3: forward pass, dense_1: log gave -inf (1 of 2 values), such as log(0)
    """
    return Event(step, stage, leaf, operation.name, layer, *_told(result), _cause(operation, result))


def _told(value: Value) -> tuple[str, int, int]:
    numbers = np.asarray(value.array)[value.bad]
    kind = "NaN" if np.isnan(numbers).any() else "inf" if (np.real(numbers) > 0).any() else "-inf"
    return kind, int(value.bad.sum()), value.bad.size


def _cause(operation: Operation, result: Value) -> str:
    inputs = [v.array for v in operation.inputs if jnp.issubdtype(jnp.result_type(v.array), jnp.inexact)]
    arrays = [np.asarray(a) for a in inputs]
    if not arrays:
        return ""
    if len(arrays) == len(operation.inputs) and all(a.shape in ((), result.bad.shape) for a in arrays):
        first: Any = tuple(np.argwhere(result.bad)[0])
        return f", such as {operation.name}({', '.join(f'{_at(a, first):.6g}' for a in arrays)})"
    largest = max((np.abs(a[np.isfinite(a)]).max(initial=0) for a in arrays), default=0)
    return f" from inputs up to {float(largest):.3g}"


def _at(array: np.ndarray, index: Any) -> Any:
    return array[index if array.ndim else ()].item()
