"""A program run again on the host, operation by operation, with every number in between kept."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from fnn.inspect.equations import called, evaluated, parts, within

# Its rules of differentiation do not matter to a program that is only run.
_RULES = {**dict.fromkeys(["custom_jvp_call", "custom_vjp_call"], "call_jaxpr"), "custom_vjp_call_jaxpr": "fun_jaxpr"}
# A longer loop is one operation.
_LONGEST_LOOP = 1024


class Value:
    """An array of the program.

    Attributes:
        array: its numbers.
        source: the operation that gave it; None of an input or a constant.
        name: of an input.
        kind: of an input, "data" or "state".
    """

    def __init__(self, array: Any, source: "Operation | None" = None, name: str = "", kind: str = ""):
        self.array, self.source, self.name, self.kind = array, source, name, kind

    @functools.cached_property
    def bad(self) -> np.ndarray:
        """Where it is NaN or infinite."""
        if not jnp.issubdtype(jnp.result_type(self.array), jnp.inexact):
            return np.zeros(np.shape(self.array), bool)
        return np.asarray(~np.isfinite(np.asarray(self.array)))

    @functools.cached_property
    def finite(self) -> bool:
        """Whether it is nowhere NaN or infinite."""
        return not self.bad.any()


class Operation:
    """One operation that was run.

    Attributes:
        number: how many were run before it.
        name: JAX's name of it, such as "exp".
        scope: the names of the layers around it, and the derivatives that it belongs to, as JAX writes them.
        inputs: what it got.
    """

    def __init__(self, number: int, name: str, scope: str, inputs: Sequence[Value]):
        self.number, self.name, self.scope, self.inputs = number, name, scope, inputs


class Replay:
    """Runs a jaxpr, inside its calls, branches and loops too; `tags` collects what `checkpoint_name` named.

    Example:
        >>> jaxpr = jax.make_jaxpr(lambda x: jnp.exp(jnp.sin(x)))(1.0)
        >>> (y,) = Replay().run(jaxpr.jaxpr, jaxpr.consts, [Value(jnp.array(0.0))])
        >>> float(y.array), y.source.name, y.source.inputs[0].source.name
        (1.0, 'exp', 'sin')
    """

    def __init__(self) -> None:
        self.count = 0
        self.tags: list[tuple[str, Value]] = []

    def run(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value], scope: str = "") -> list[Value]:
        """The results of a jaxpr on these inputs."""
        known = dict(zip(jaxpr.constvars, map(Value, consts), strict=True))
        known |= dict(zip(jaxpr.invars, inputs, strict=True))

        def read(atom: Any) -> Value:
            return Value(atom.val) if hasattr(atom, "val") else known[atom]

        for eqn in jaxpr.eqns:
            results = self._results(eqn, [read(atom) for atom in eqn.invars], within(scope, eqn))
            known |= dict(zip(eqn.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _results(self, eqn: Any, inputs: list[Value], scope: str) -> list[Value]:
        name, params = eqn.primitive.name, eqn.params
        inner = called(eqn) or params.get(_RULES.get(name, ""))
        if inner is not None:
            return self.run(*parts(inner), inputs, scope)
        if name == "cond":
            chosen = params["branches"][int(np.asarray(inputs[0].array))]
            return self.run(*parts(chosen), inputs[1:], scope)
        if name == "scan" and params["length"] <= _LONGEST_LOOP:
            return self._loop(eqn, inputs, scope)
        if name == "name":
            self.tags.append((params["name"], inputs[0]))
            return inputs
        return self._done(name, scope, inputs, lambda *arrays: evaluated(eqn, arrays))

    def _loop(self, eqn: Any, inputs: list[Value], scope: str) -> list[Value]:
        params = eqn.params
        body = parts(params["jaxpr"])[0]
        # Constants, what is carried, rows: only rows have an axis more outside; JAX's versions count them otherwise.
        carried = sum(a.aval.ndim == b.aval.ndim for a, b in zip(eqn.outvars, body.outvars, strict=True))
        fixed = sum(a.aval.ndim == b.aval.ndim for a, b in zip(eqn.invars, body.invars, strict=True)) - carried
        consts, carry, rows = inputs[:fixed], inputs[fixed : fixed + carried], inputs[fixed + carried :]
        turns: list[list[Value]] = []
        order = range(params["length"])
        for i in reversed(order) if params["reverse"] else order:
            row = [self._done("scan", scope, [x], lambda a, i=i: [a[i]])[0] for x in rows]
            carry, turn = _cut(self.run(*parts(params["jaxpr"]), [*consts, *carry, *row], scope), carried)
            turns.append(turn)
        if params["reverse"]:
            turns.reverse()
        columns = zip(*turns, strict=True)
        return [*carry, *(self._done("scan", scope, list(c), lambda *a: [jnp.stack(a)])[0] for c in columns)]

    def _done(self, name: str, scope: str, inputs: list[Value], function: Callable[..., Sequence[Any]]) -> list[Value]:
        operation = Operation(self.count, name, scope, inputs)
        self.count += 1
        return [Value(array, operation) for array in function(*(value.array for value in inputs))]


def _cut(values: list[Value], at: int) -> tuple[list[Value], list[Value]]:
    return values[:at], values[at:]
