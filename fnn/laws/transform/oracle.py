"""A convention's printed equations, carried out in float64 with NumPy."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


class Oracle:
    """The equations of a `fnn.optim.Convention` as assignments, one after another.

    Attributes:
        assignments: (name, formula), in order.
        starts: what each name is before the first step.

    Example:
        >>> import fnn
        >>> oracle = Oracle(fnn.optim.convention("lecture", "momentum").equations)
        >>> float(oracle.run({"beta": 0.5}, [np.array(8.0)], lambda t: 1.0, np.array(0.0))[0])
        -4.0
    """

    def __init__(self, equations: Sequence[str], options: Sequence[str] = ()):
        self.assignments: list[tuple[str, str]] = []
        self.starts: dict[str, str] = {}
        self._replaced: dict[str, str] = {}
        plain: dict[str, int] = {}
        for line in equations:
            option, _, equation = line.rpartition(": ")
            if option and option not in options:
                continue
            name, formula = self._read(*re.split(r", (?=from|and|but|as)", equation))
            if option and name in plain:
                # An option's line takes the place of the plain one that assigns the same name.
                self.assignments[plain.pop(name)] = ("", "0")
            elif not option:
                plain[name] = len(self.assignments)
            self.assignments.append((name, formula))

    def _read(self, equation: str, *notes: str) -> tuple[str, str]:
        name, formula = equation.split(" <- ")
        for old, new in self._replaced.items():
            formula = re.sub(rf"\b{old}\b", f"({new})", formula)
        self.starts[name] = "0"
        for note in notes:
            if start := re.fullmatch(r"from (\w+)", note):
                self.starts[name] = start[1]
            elif place := re.fullmatch(r"and (.+) in place of (\w+) below", note):
                self._replaced[place[2]] = place[1]
            elif first := re.fullmatch(r"but (\w+) at t = 1", note):
                formula = f"{first[1]} if t == 1 else {formula}"
            else:
                raise ValueError(f"not understood: {note}")
        return name, formula

    def run(
        self, values: Mapping[str, float], gradients: Sequence[np.ndarray], rate: Callable[[int], float], w: np.ndarray
    ) -> np.ndarray:
        """The parameter after each step from w, with the learning rate `rate(t)`, t from 0."""
        names: dict[str, Any] = {name: value(start, values) for name, start in self.starts.items()}
        names |= {**values, "w": w}
        path = []
        for t, g in enumerate(gradients):
            names |= {"g": g, "t": t + 1, "lr": rate(t)}
            for name, formula in self.assignments:
                names[name] = value(formula, names)
            path.append(names["w"])
        return np.array(path)


def value(formula: str, names: Mapping[str, Any]) -> Any:
    """A formula as on paper: a space between two factors is a product.

    Example:
        >>> value("(1 - a) b^2", {"a": 3.0, "b": 2.0})
        -8.0
    """
    product = re.sub(r"(?<=[\w)]) (?=[\w(])(?!if\b|else\b)(?<!\bif )(?<!\belse )", " * ", formula)
    return eval(product.replace("^", "**"), {"__builtins__": {}, "sqrt": np.sqrt, "max": np.maximum}, dict(names))
