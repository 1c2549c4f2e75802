"""The cases that laws are tried on: small trees of parameters, and a few gradients for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from fnn.laws.checking import import_hypothesis

SHAPES: dict[str, tuple[int, ...]] = {"b": (2,), "w": (2, 3)}
"""One tree for all searches: each shape compiles once, and Hypothesis varies the numbers."""
_AWKWARD = (1e-30, 1e-20, 1e-8, 1e-4, 1e4, 1e8, 1e18)


@dataclass(frozen=True)
class Case:
    """Parameters and the gradients of a few steps, as NumPy arrays in float32."""

    params: dict[str, np.ndarray]
    gradients: tuple[dict[str, np.ndarray], ...]

    def __str__(self) -> str:
        """Short enough to type in."""

        def brief(tree: dict[str, np.ndarray]) -> str:
            return "{" + ", ".join(f"{name!r}: {_digits(x)}" for name, x in tree.items()) + "}"

        return f"params={brief(self.params)}, gradients=[{', '.join(map(brief, self.gradients))}]"

    def of(self, dtype: Any) -> "Case":
        """The same numbers in another dtype."""
        params, gradients = jax.tree.map(lambda x: x.astype(dtype), (self.params, self.gradients))
        return Case(params, gradients)

    def times(self, factor: float) -> "Case":
        """The gradients multiplied."""
        return Case(self.params, jax.tree.map(lambda g: (g * factor).astype(g.dtype), self.gradients))


def _digits(x: np.ndarray) -> str:
    text = np.array2string(x, separator=", ", max_line_width=10_000, formatter={"float_kind": lambda v: f"{v:.9g}"})
    return " ".join(text.split())


def _cases(element: Callable[[Any], Any], steps: int) -> Any:
    import_hypothesis()
    from hypothesis import strategies as st

    size = sum(int(np.prod(shape)) for shape in SHAPES.values())
    row = st.lists(element(st), min_size=size, max_size=size).map(_tree)
    weights = st.lists(_eighths(st), min_size=size, max_size=size).map(_tree)
    gradients = st.lists(row, min_size=1, max_size=steps).map(tuple)
    return st.builds(Case, weights, gradients)


def _tree(values: list[float]) -> dict[str, np.ndarray]:
    flat, tree, start = np.array(values, np.float32), {}, 0
    for name, shape in SHAPES.items():
        stop = start + int(np.prod(shape))
        tree[name] = flat[start:stop].reshape(shape)
        start = stop
    return tree


def _eighths(st: Any) -> Any:
    return st.integers(-32, 32).map(lambda i: i / 8)


def tame() -> Any:
    """Gradients between -4 and 4, zeros included."""
    return _cases(_eighths, 3)


def nonzero() -> Any:
    """Gradients of size 1/8 to 4, of both signs."""
    return _cases(lambda st: st.tuples(st.integers(1, 32), st.sampled_from([1, -1])).map(lambda p: p[0] * p[1] / 8), 3)


def wild() -> Any:
    """Tame gradients among which some are as small as 1e-30 or as large as 1e18."""
    return _cases(
        lambda st: st.one_of(_eighths(st), st.sampled_from([s * x for x in _AWKWARD for s in (1, -1)])),
        3,
    )


def example(dtype: Any = np.float32, steps: int = 3) -> Case:
    """One tame case of many different numbers, for laws that need no search."""
    rng = np.random.default_rng(0)

    def tree(low: int) -> dict[str, np.ndarray]:
        signs = {name: rng.choice([-1, 1], size=shape) for name, shape in SHAPES.items()}
        return {
            name: (signs[name] * rng.integers(low, 33, size=shape) / 8).astype(dtype) for name, shape in SHAPES.items()
        }

    return Case(tree(1), tuple(tree(2) for _ in range(steps)))
