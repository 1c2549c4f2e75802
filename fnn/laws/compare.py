"""Comparing trees of numbers: each function raises `Broken` with the leaf, the place and both numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.statement import Broken
from fnn.tree import named_leaves

_TINY = float(np.finfo(np.float32).tiny)  # below it float32 has fewer digits, or none


def numbers(leaf: Any) -> np.ndarray:
    """A leaf as a NumPy array, wide enough to compare; a typed key as its data."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    x = np.asarray(leaf)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return x.astype(np.complex128)
    if x.dtype == np.bool_:
        return x.astype(np.int8)
    return x.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x


def same(got: Any, expected: Any, what: str = "got", other: str = "expected") -> None:
    """The same numbers to the bit, but for the sign of 0; NaN equals NaN."""
    close(got, expected, 0.0, what, other)


def close(
    got: Any,
    expected: Any,
    tolerance: float,
    what: str = "got",
    other: str = "expected",
    *,
    beside: Any = (),
    give: Any = None,
) -> None:
    """The same numbers up to `tolerance` times the largest number of the leaf, or of the numbers `beside` it.

    A rule that makes its update as the difference of two parameters can be no better than these. `give` is a tree
    like the expected one: how much further each of its numbers may lie apart.
    """
    size = max((float(np.abs(numbers(x)).max()) for x in jax.tree.leaves(beside)), default=0.0)
    like = jax.tree.structure(expected)
    if jax.tree.structure(got) != like:
        raise Broken(f"{what} is the tree {jax.tree.structure(got)}, {other} is {like}")
    gives = [0.0] * like.num_leaves if give is None else jax.tree.leaves(give)
    for (name, a), b, g in zip(named_leaves(got).items(), jax.tree.leaves(expected), gives, strict=True):
        _leaf(name, numbers(a), numbers(b), tolerance, size, g, (what, other))


def _leaf(
    name: str, a: np.ndarray, b: np.ndarray, tolerance: float, size: float, give: Any, names: tuple[str, str]
) -> None:
    what, other = names
    if a.shape != b.shape:
        raise Broken(f"{at(name)}: {what} has shape {a.shape}, {other} has {b.shape}")
    with np.errstate(all="ignore"):
        sizes = np.abs(np.where(np.isfinite(a) & np.isfinite(b), np.maximum(np.abs(a), np.abs(b)), 0))
        allowed = tolerance * np.max(sizes, initial=size) + (_TINY if tolerance else 0) + give
        apart = ~((a == b) | (np.isnan(a) & np.isnan(b))) & ~(np.abs(a - b) <= allowed)
    if apart.any():
        place = tuple(int(i) for i in np.argwhere(apart)[0])
        raise Broken(f"{at(name, place)}: {what} = {show(a[place])}, {other} = {show(b[place])}")


def finite(tree: Any, what: str) -> None:
    """No NaN and no infinity."""
    for name, leaf in named_leaves(tree).items():
        x = numbers(leaf)
        if jnp.issubdtype(x.dtype, jnp.inexact) and not np.isfinite(x).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
            raise Broken(f"{at(name, place)}: {what} is {show(x[place])}")


def at(name: str, place: tuple[int, ...] = ()) -> str:
    """A place in a tree: `w[0, 1]`."""
    return (name or "leaf") + (f"[{', '.join(map(str, place))}]" if place else "")


def show(x: Any) -> str:
    """A number with the digits that tell it from its neighbours."""
    return f"{complex(x):.9g}" if np.iscomplexobj(x) else f"{float(x):.9g}"


def abstract(tree: Any) -> list[tuple[str, tuple[int, ...], str, bool]]:
    """What a compiled program sees of each leaf: name, shape, dtype, and whether its type is weak."""

    def leaf(x: Any) -> tuple[tuple[int, ...], str, bool]:
        aval = jax.typeof(x) if not isinstance(x, jax.ShapeDtypeStruct) else x
        return tuple(aval.shape), str(aval.dtype), bool(getattr(aval, "weak_type", False))

    return [(name, *leaf(x)) for name, x in named_leaves(tree).items()]
