"""Many small networks in one program."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.doctor.case import Case, check, floats, whole
from fnn.typing import Array


@check
def matvec_then_reduce() -> Iterator[Case]:
    """Vmapped, a matrix-vector product, a function of it and a reduction give each row what it gets alone.

    The first case is the program of jax issue 39103: row i is (i, 0, 0), and the last of 32,769 gives 32768^2.
    """
    i = np.arange(32769, dtype=np.float32)
    rows = np.stack([i, 0 * i, 0 * i], axis=1)
    yield Case("32769 rows of sum((eye(3) @ row)**2)", jax.vmap(_square_of_rotated), (rows,), i * i, eager=True)
    yield from _each("sum of squares", _ROWS)
    yield from _each("largest size", ((32769, 3),))


@check
def matvec_reduced_at_once() -> Iterator[Case]:
    """Vmapped, a matrix-vector product and a reduction right after it give each row what it gets alone."""
    yield from _each("sum", _ROWS)
    yield from _each("max", ((32769, 3),))


_ROWS = ((1, 3), (1000, 3), (32769, 2), (32770, 3), (40001, 3), (32769, 4))
"""How many rows, and numbers in each."""

_REDUCTIONS: dict[str, Any] = {
    "sum": lambda y: y.sum(-1),
    "max": lambda y: y.max(-1),
    "sum of squares": lambda y: (y * y).sum(-1),
    "largest size": lambda y: abs(y).max(-1),
}


def _square_of_rotated(row: Array) -> Array:
    return jnp.sum((jnp.eye(3, dtype=row.dtype) @ row) ** 2)


def _each(reduction: str, sizes: tuple[tuple[int, int], ...]) -> Iterator[Case]:
    reduce = _REDUCTIONS[reduction]
    for dtype in floats():
        for n, d in sizes if dtype == np.float32 else [(16385, 3), (32769, 3)]:
            # So small that 8 bits hold every result.
            matrix, rows = whole(n, -1, 1, (d, d), dtype), whole(d, -2, 2, (n, d), dtype)
            expected = reduce(rows.astype(float) @ matrix.astype(float).T)
            name = f"{n} rows of the {reduction} of matrix @ row, {d} numbers each, {dtype}"
            yield Case(name, partial(_reduced, reduce), (rows, matrix), expected, eager=n == 32770)


def _reduced(reduce: Any, rows: Array, matrix: Array) -> Array:
    return jax.vmap(lambda row: reduce(matrix @ row))(rows)


@check
def gradients_of_a_population() -> Iterator[Case]:
    """The gradients of a population of networks d-4-1 are those of back-propagation by hand in NumPy."""
    for networks, d in [(1, 1), (33, 3), (11000, 3)]:
        shapes = {"w": (networks, d, 4), "v": (networks, 4)}
        params = {name: whole(i, -2, 2, shape) for i, (name, shape) in enumerate(shapes.items())}
        x, y = whole(3, -2, 2, (8, d)), whole(4, -5, 5, (8,))
        expected = _by_hand(params, x, y)
        yield Case(f"{networks} networks {d}-4-1", _gradients, (params, x, y), expected, eager=networks == 33)


def _gradients(params: Any, x: Array, y: Array) -> Any:
    def loss(params: Any) -> Array:
        return jnp.sum((jax.nn.relu(x @ params["w"]) @ params["v"] - y) ** 2)

    return jax.vmap(jax.grad(loss))(params)


def _by_hand(params: Any, x: np.ndarray, y: np.ndarray) -> Any:
    z = x @ params["w"]
    a = np.maximum(z, 0)
    delta = 2 * ((a @ params["v"][..., None])[..., 0] - y)
    back = delta[..., None] * params["v"][:, None] * (z > 0)
    return {"w": x.T @ back, "v": (delta[:, None] @ a)[:, 0]}


@check
def products_in_a_scan() -> Iterator[Case]:
    """A batch of matrix products, step after step of a scan, ends where a loop in NumPy ends."""
    for networks, batch, d in [(1, 1, 3), (5, 4, 7), (17, 3, 16), (2, 33, 65)]:
        h, weights = whole(5, -8, 8, (networks, batch, d)), whole(6, -1, 1, (20, networks, d, d))
        last, path = h, []
        for w in weights:
            last = np.clip(last @ w, -8, 8)
            path.append(last.sum(axis=(1, 2)))
        expected = last, np.stack(path)
        yield Case(f"{networks} of ({batch}, {d}) by ({d}, {d}), 20 steps", _scanned, (h, weights), expected)


def _scanned(h: Array, weights: Array) -> Any:
    def step(h: Array, w: Array) -> tuple[Array, Array]:
        h = jnp.clip(jax.vmap(jnp.matmul)(h, w), -8, 8)
        return h, h.sum(axis=(1, 2))

    return jax.lax.scan(step, h, weights)


CHECKS = (matvec_then_reduce, matvec_reduced_at_once, gradients_of_a_population, products_in_a_scan)
