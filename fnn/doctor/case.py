"""What a self-check is: programs, and the numbers that they must give."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Case(NamedTuple):
    """A program, what it is called with, and what it must return.

    Most cases are of small integers held as floats: every order of summation and every precision gives them
    exactly, so that what differs is wrong and not rounded.

    Attributes:
        name: shapes and dtypes in words.
        function: of arrays, to any pytree of arrays.
        arguments: NumPy arrays.
        expected: the same tree from NumPy, in float64 where it is not exact.
        tolerance: the largest error, as a share of what is expected; 0 is for exact numbers.
        floor: what is expected counts as at least so large.
        eager: whether it is also run operation by operation, without a compiler over the whole.
        donate: whether the first argument is given up to the program.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    expected: Any
    tolerance: float = 0.0
    floor: float = 0.0
    eager: bool = False
    donate: bool = False


class Check(NamedTuple):
    """A self-check.

    Attributes:
        name: what it is called in the table.
        statement: what holds on a machine that computes right.
        cases: makes its programs and numbers.
    """

    name: str
    statement: str
    cases: Callable[[], Iterable[Case]]


def check(cases: Callable[[], Iterable[Case]]) -> Check:
    """A check of a function that makes its cases: the docstring's first paragraph is its statement.

    Example:
        >>> def sums():
        ...     '''Sums are right.'''
        ...     yield Case("3 numbers", jnp.sum, (np.ones(3, np.float32),), np.float32(3))
        >>> check(sums).name, check(sums).statement
        ('sums', 'Sums are right.')
    """
    statement = " ".join((inspect.getdoc(cases) or "").split("\n\n")[0].split())
    return Check(cases.__name__, statement, cases)


def floats() -> list[np.dtype]:
    """The dtypes of floating-point numbers that JAX computes in; float64 only where it is switched on.

    Example:
        >>> [str(dtype) for dtype in floats()]
        ['float32', 'bfloat16', 'float16']
    """
    wide = [np.dtype(np.float64)] if jax.dtypes.canonicalize_dtype(float) == np.float64 else []
    return [np.dtype(np.float32), np.dtype(jnp.bfloat16), np.dtype(np.float16), *wide]


def whole(seed: int, low: int, high: int, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Whole numbers from low to high, both included, in any dtype.

    Example:
        >>> whole(0, -1, 1, (4,)).tolist()
        [1.0, 0.0, 0.0, -1.0]
    """
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(dtype)
