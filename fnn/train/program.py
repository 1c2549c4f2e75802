"""The checksum of a traced program, so that who goes on with a run can tell whether it is the same one."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.extend import core

from fnn.inspect.equations import parts
from fnn.keys import is_key

_ADDRESS = re.compile(r"0x[0-9a-f]+")


def program_sum(closed: Any) -> str:
    """A checksum of a program: of its operations, their order, its numbers and the arrays that it closes over.

    It is the same in every process. Names of functions do not count, nor what a callback to the host does.

    Args:
        closed: what `jax.make_jaxpr` gives, or the `jaxpr` of `jax.jit(...).trace(...)`.

    Example:
        >>> by = lambda rate: jax.make_jaxpr(lambda w: w - rate * w)(1.0)
        >>> program_sum(by(0.1)) == program_sum(by(0.1)), program_sum(by(0.1)) == program_sum(by(0.2))
        (True, False)
    """
    return _Sums().program(closed)


class _Sums:
    """Checksums of the programs inside a program; each is read once, however often it is called."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def program(self, closed: Any) -> str:
        if id(closed) not in self._known:
            jaxpr, constants = parts(closed)
            self._known[id(closed)] = _sum(self._text(jaxpr), *map(self._value, constants))
        return self._known[id(closed)]

    def _text(self, jaxpr: Any) -> str:
        numbers: dict[Any, int] = {}

        def atom(of: Any) -> str:
            if isinstance(of, core.Literal):
                return f"{self._value(of.val)}:{of.aval}"
            return f"{numbers.setdefault(of, len(numbers))}:{of.aval}"

        def line(*groups: Any) -> str:
            return " > ".join(" ".join(map(atom, group)) for group in groups)

        lines = [line(jaxpr.constvars, jaxpr.invars)]
        for eqn in jaxpr.eqns:
            params = {name: value for name, value in eqn.params.items() if name != "name"}
            lines.append(f"{eqn.primitive.name} {line(eqn.invars, eqn.outvars)} {self._value(params)}")
        return "\n".join([*lines, line(jaxpr.outvars)])

    def _value(self, value: Any) -> str:
        if hasattr(value, "eqns"):
            return self.program(value)
        if isinstance(value, jax.Array) and is_key(value):
            return f"{value.dtype} {self._value(jax.random.key_data(value))}"
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            array = np.asarray(value)
            return _sum(f"{array.shape} {value.dtype}", np.ascontiguousarray(array).tobytes())
        if isinstance(value, tuple | list):
            return f"({', '.join(map(self._value, value))})"
        if isinstance(value, Mapping):
            return self._value(sorted((str(name), self._value(v)) for name, v in value.items()))
        if isinstance(value, set | frozenset):
            return self._value(sorted(map(self._value, value)))
        # What a function is called, and where it lies, is no part of what is computed.
        plain = not callable(value) or isinstance(value, type | jax.sharding.Mesh)
        return _ADDRESS.sub("", str(value)) if plain else type(value).__name__


def _sum(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()
