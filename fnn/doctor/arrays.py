"""Products, reductions, order, and writing into arrays."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.doctor.case import Case, check, floats, whole
from fnn.typing import Array


@check
def matrix_products() -> Iterator[Case]:
    """A B, A^T B, A B^T and A x are right at sizes that fill no tile."""
    sizes = [(1, 1, 1), (1, 17, 1), (3, 5, 7), (31, 1, 33), (64, 784, 10), (129, 127, 130), (255, 257, 3)]
    for dtype in floats():
        for m, k, n in sizes if dtype == np.float32 else [(3, 5, 7), (65, 129, 33)]:
            a, b, x = whole(0, -4, 4, (m, k), dtype), whole(1, -4, 4, (k, n), dtype), whole(2, -4, 4, (k,), dtype)
            wide = [array.astype(float) for array in (a, b, x)]
            expected = {"A B": wide[0] @ wide[1], "A x": wide[0] @ wide[2]}
            expected |= {"A^T B": expected["A B"], "A B^T": expected["A B"]}
            yield Case(f"({m}, {k}) by ({k}, {n}), {dtype}", _products, (a, a.T.copy(), b, b.T.copy(), x), expected)


def _products(a: Array, a_t: Array, b: Array, b_t: Array, x: Array) -> dict[str, Array]:
    def dot(a: Array, b: Array, over: tuple[int, int]) -> Array:
        wide = jnp.promote_types(a.dtype, jnp.float32)
        return jax.lax.dot_general(a, b, (((over[0],), (over[1],)), ((), ())), preferred_element_type=wide)

    return {
        "A B": dot(a, b, (1, 0)),
        "A^T B": dot(a_t, b, (0, 0)),
        "A B^T": dot(a, b_t, (1, 1)),
        "A x": dot(a, x, (1, 0)),
    }


@check
def reductions() -> Iterator[Case]:
    """Sum, mean, max, argmax and cumsum of large arrays are right, along the first axis and the last."""
    for n in (1, 127, 128, 129, 32769, 131073):
        for axis, shape in ((0, (n, 3)), (-1, (3, n))):
            x = whole(n, -4, 4, shape)
            x.flat[(2 * n) % x.size] = 5  # one place is the largest, in the others the first of equals counts
            expected = {
                "sum": x.sum(axis, dtype=float),
                "mean times n": x.sum(axis, dtype=float),
                "max": x.max(axis),
                "argmax": x.argmax(axis),
                "cumsum": x.cumsum(axis, dtype=float),
            }
            eager = (n, axis) == (129, -1)
            yield Case(f"{shape}, axis {axis}", partial(_reductions, axis), (x,), expected, eager=eager)


def _reductions(axis: int, x: Array) -> dict[str, Array]:
    return {
        "sum": jnp.sum(x, axis),
        "mean times n": jnp.round(jnp.mean(x, axis) * x.shape[axis]),
        "max": jnp.max(x, axis),
        "argmax": jnp.argmax(x, axis),
        "cumsum": jnp.cumsum(x, axis),
    }


@check
def sorting() -> Iterator[Case]:
    """sort, a stable argsort and top_k are right, with many equals among the numbers and NaN at the end."""
    for n in (1, 2, 31, 1025):
        x = whole(n, -20, 20, (3, n))
        x[1, n // 2] = np.nan
        best = np.argsort(-x[0], kind="stable")[: (n + 1) // 2]
        expected = {
            "sort": np.sort(x),
            "argsort": np.argsort(x, kind="stable"),
            "first axis": np.sort(x.T, axis=0),
            "top_k": (x[0][best], best),
        }
        yield Case(f"(3, {n})", _sorts, (x,), expected, eager=n == 31)


def _sorts(x: Array) -> dict[str, Any]:
    top = tuple(jax.lax.top_k(x[0], (x.shape[1] + 1) // 2))
    return {"sort": jnp.sort(x), "argsort": jnp.argsort(x), "first axis": jnp.sort(x.T, axis=0), "top_k": top}


@check
def updates_in_loops() -> Iterator[Case]:
    """Slices written and numbers added at places, step after step of a loop, are all there at the end."""
    for n, d in [(5, 3), (64, 7), (257, 2)]:
        x, order = whole(n, -9, 9, (n, d)), np.random.default_rng(n).permutation(n).astype(np.int32)
        places = np.random.default_rng(d).integers(0, d, (n,)).astype(np.int32)
        moved, added = np.zeros_like(x), np.zeros_like(x[:d])
        moved[order] = 2 * x
        np.add.at(added, places, x)
        expected = {"slices": moved, "added": added, "count": np.int32(n)}
        yield Case(f"({n}, {d})", _updates, (x, order, places), expected, eager=n == 5)


def _updates(x: Array, order: Array, places: Array) -> dict[str, Array]:
    def write(i: Array, y: Array) -> Array:
        return jax.lax.dynamic_update_slice(y, 2 * x[i][None], (order[i], jnp.zeros_like(order[i])))

    def add(total: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
        return total.at[row[0]].add(row[1]), None

    moved = jax.lax.fori_loop(0, len(x), write, jnp.zeros_like(x))
    added, _ = jax.lax.scan(add, jnp.zeros_like(x[: x.shape[1]]), (places, x))
    # How often it goes round is known only while it runs.
    count = jax.lax.while_loop(lambda i: i < order.max() + 1, lambda i: i + 1, jnp.int32(0))
    return {"slices": moved, "added": added, "count": count}


@check
def gathers_and_scatters() -> Iterator[Case]:
    """Rows taken by index, sums by label and one-hot rows are right."""
    for n, classes in [(7, 3), (1000, 10), (4097, 129)]:
        labels = np.random.default_rng(n).integers(0, classes, (n,)).astype(np.int32)
        x = whole(n, -9, 9, (n, classes))
        sums = np.zeros((classes, classes), np.float32)
        np.add.at(sums, labels, x)
        one_hot = np.eye(classes, dtype=np.float32)[labels]
        expected = {"rows": one_hot, "of each": x[np.arange(n), labels], "sums": sums, "one_hot": one_hot.sum(axis=0)}
        yield Case(f"{n} labels of {classes} classes", _by_label, (x, labels), expected)


def _by_label(x: Array, labels: Array) -> dict[str, Array]:
    classes = x.shape[1]
    return {
        "rows": jnp.eye(classes)[labels],
        "of each": jnp.take_along_axis(x, labels[:, None], axis=1)[:, 0],
        "sums": jax.ops.segment_sum(x, labels, classes),
        "one_hot": jnp.sum(jax.nn.one_hot(labels, classes), axis=0),
    }


@check
def donation() -> Iterator[Case]:
    """A program that may overwrite its argument gives the same numbers."""
    for n in (3, 1000, 65537):
        x = whole(n, -9, 9, (n,))
        yield Case(f"{n} numbers", _overwritten, (x,), 2 * x[::-1] + x, donate=True)


def _overwritten(x: Array) -> Array:
    return 2 * x[::-1] + x


CHECKS = (donation, matrix_products, sorting, updates_in_loops, gathers_and_scatters, reductions)
