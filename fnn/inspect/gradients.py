"""A gradient against finite differences."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from fnn.errors import check_callable, check_count, is_traced, message
from fnn.tree import path_name

# The error allowed, relative to the derivative: what a central difference at its best step leaves, and some room.
_ALLOWED = {8: 1e-6, 4: 2e-2}
# A derivative less than this share of its leaf's largest one is compared with that share.
_SMALL = 1e-3


class GradientMismatch(AssertionError):  # noqa: N818
    """A gradient differs from the finite differences; the message says where."""


@dataclass(frozen=True)
class LeafCheck:
    """What became of one leaf.

    Attributes:
        leaf: its path in the arguments, "0/dense_0/w".
        size: how many numbers it holds.
        checked: how many of them were compared.
        kinks: how many more were skipped, since the function has a kink there: there is no derivative.
        error: the largest relative error, |g - d| / max(|g|, |d|).
        worst: where that was, an index.
        gradient: g there.
        difference: d, the central difference, there.
        allowed: the largest error that a right gradient has.
    """

    leaf: str
    size: int
    checked: int
    kinks: int
    error: float
    worst: tuple[int, ...]
    gradient: float
    difference: float
    allowed: float

    @property
    def right(self) -> bool:
        """Whether gradient and differences agree."""
        return self.error <= self.allowed


@dataclass(frozen=True)
class GradientReport:
    """A row for each leaf; `print` shows it as a table.

    Attributes:
        rows: one for each leaf of floating-point numbers.
    """

    rows: tuple[LeafCheck, ...]

    @property
    def right(self) -> bool:
        """Whether all leaves' gradients are right."""
        return all(row.right for row in self.rows)

    def __getitem__(self, leaf: str) -> LeafCheck:
        """The row of a leaf, by its path."""
        found = {row.leaf: row for row in self.rows}
        if leaf not in found:
            raise KeyError(f"{leaf!r}: there are {', '.join(found)}")
        return found[leaf]

    def __str__(self) -> str:
        width = max(len(row.leaf) for row in self.rows)
        lines = [f"{'leaf':{width}}  checked  kinks     error"]
        for row in self.rows:
            told = f"{row.leaf:{width}}  {row.checked:>7}  {row.kinks:>5}  {row.error:8.1e}"
            lines.append(told if row.right else f"{told}  WRONG at {_where(row)}")
        return "\n".join(lines)

    def raise_if_wrong(self) -> None:
        """Raises `GradientMismatch` with the leaf whose gradient is most wrong.

        Raises:
            GradientMismatch: a gradient differs by more than rounding from the differences.
        """
        # A NaN is neither more nor less than another error.
        row = max(self.rows, key=lambda row: (not row.right, row.error / row.allowed))
        if not row.right:
            raise GradientMismatch(f"gradient of '{row.leaf}' at {_where(row)}: {row.error:.1e} apart\n{self}")


def check_gradients(fn: Callable[..., Any], args: Sequence[Any], *, entries: int = 64, seed: int = 0) -> GradientReport:
    """The gradient that JAX takes of a function, against central differences, leaf by leaf, in float64.

    `d_i = (f(x + h e_i) - f(x - h e_i)) / 2 h` with `h = eps^(1/3) max(1, |x_i|)`, where the rounding of f,
    eps f / h, and what the difference leaves out, h^2 f''', are about as large. eps is that of the function's
    own result: one that computes in float32 inside gets larger steps and is allowed a larger error. So that a steep
    function passes too, d may be the one with half the step, or `(4 d(h/2) - d(h)) / 3`, which leaves out only h^4.

    Where the two one-sided differences stay apart however small the step, or where the differences change with
    the step, the function has a kink, as ReLU has at 0: such an entry is skipped and counted.

    Args:
        fn: any function to one number; `lambda p, x: loss(net.apply(p, state, x)[0], y).mean()`. What it holds of
            its own stays in its dtype.
        args: what it is called with, `fn(*args)`: a list of pytrees; leaves that are no floating-point numbers stay
            as they are.
        entries: of a leaf with more numbers so many are looked at, drawn at random.
        seed: for that draw.

    Returns:
        A report: `print(report)`, `report.right`, `report.raise_if_wrong()`.

    Raises:
        ValueError: no floating-point leaf, or a result that is not one finite number.
        TypeError: fn is no function, args is no list or tuple, or this is called under a trace.

    Example:
        >>> params = {"b": jnp.array([0.0, 1.0]), "w": jnp.array([1.0, -2.0])}
        >>> print(check_gradients(lambda p: jnp.sum(p["w"] ** 3 + jax.nn.relu(p["b"])), [params]))
        leaf  checked  kinks     error
        0/b         1      1   ...
        0/w         2      0   ...
        >>> wrong = jax.custom_jvp(jnp.sin)
        >>> wrong.defjvp(lambda x, dx: (jnp.sin(*x), 2 * jnp.cos(*x) * dx[0]))
        <function ...>
        >>> check_gradients(wrong, [jnp.array(0.5)]).right
        False

    Source: Nocedal and Wright 2006, "Numerical optimization", section 8.1; Karpathy, "CS231n: gradient checks".
    """
    check_callable("fn", fn, "a function of args to one number")
    check_count("entries", entries)
    check_count("seed", seed, 0)
    if type(args) not in (list, tuple):
        got = "an array" if hasattr(args, "dtype") else f"a {type(args).__name__}"
        raise TypeError(message("args", got, "a list of arguments", "Of a single one: [x]."))
    if is_traced(args):
        raise TypeError(message("check_gradients", "a trace around it", "a call from the host"))
    with jax.enable_x64(True):
        wide = jax.tree.map(_widened, tuple(args))
        leaves, tree = jax.tree_util.tree_flatten_with_path(wide)
        floating = [i for i, (_, leaf) in enumerate(leaves) if _is_floating(leaf)]
        if not floating:
            raise ValueError(message("args", "no floating-point leaf", "at least one"))

        def whole(changed: Sequence[Any]) -> Any:
            given = [leaf for _, leaf in leaves]
            for i, leaf in zip(floating, changed, strict=True):
                given[i] = leaf
            return fn(*tree.unflatten(given))

        points = [leaves[i][1] for i in floating]
        value = _checked(whole(points))
        gradients = jax.grad(whole)(points)
        draw = np.random.default_rng(seed)
        # All leaves in one vector, so that one program serves them all.
        vector, split = ravel_pytree(points)
        compare = jax.jit(partial(_differences, lambda moved: whole(split(moved)), vector))
        starts = np.cumsum([0, *(point.size for point in points)]).tolist()
        rows = [
            _row(path_name(leaves[i][0]), partial(_compared, compare, start), point, gradient, value, draw, entries)
            for i, start, point, gradient in zip(floating, starts[:-1], points, gradients, strict=True)
        ]
    return GradientReport(tuple(rows))


def _compared(compare: Any, start: int, entry: int, step: float) -> np.ndarray:
    return np.asarray(compare(start + entry, step))


def _row(name: str, compared: Any, point: Any, gradient: Any, value: Any, draw: Any, entries: int) -> LeafCheck:
    flat, g = np.asarray(point).reshape(-1), np.asarray(gradient, np.float64).reshape(-1)
    chosen = np.sort(draw.choice(flat.size, min(entries, flat.size), replace=False))
    eps, allowed = float(jnp.finfo(value.dtype).eps), _ALLOWED.get(value.dtype.itemsize, 1e-1)
    steps = eps ** (1 / 3) * np.maximum(1, np.abs(flat[chosen]))
    found = [compared(int(i), float(h)) for i, h in zip(chosen, steps, strict=True)]
    central, halved, apart, apart_halved = np.array(found, np.float64).reshape(-1, 4).T
    # Of what is next to nothing beside the rounding of f no relative error can be seen.
    rounding = 4 * eps * np.maximum(np.abs(np.float64(value)), 1e-30) / steps
    least = np.maximum(_SMALL * np.abs(g).max(initial=0), rounding / allowed)
    size = np.maximum(np.maximum(np.abs(g[chosen]), np.abs(central)), least)
    room = math.sqrt(allowed) * size
    # Where f bends, the one-sided differences come together as fast as the step shrinks: to half.
    kink = (np.abs(central - halved) > room) | ((apart > room) & (apart_halved > 0.6 * apart))
    # Next to a kink only the smaller step is right.
    off = np.minimum(np.abs(g[chosen] - halved), np.abs(g[chosen] - (4 * halved - central) / 3))
    error = np.where(kink, 0, off / size)
    counts = flat.size, int((~kink).sum()), int(kink.sum())
    if not flat.size:
        return LeafCheck(name, *counts, 0.0, (), 0.0, 0.0, allowed)
    worst = int(np.argmax(error))
    at = tuple(int(k) for k in np.unravel_index(chosen[worst], point.shape))
    g_there, d_there = float(g[chosen[worst]]), float(halved[worst])
    return LeafCheck(name, *counts, float(error[worst]), at, g_there, d_there, allowed)


def _differences(whole: Any, vector: Any, i: Any, h: Any) -> Any:
    """The central difference with step h and h/2, and how far the one-sided ones are apart, twice."""

    def at(shift: Any) -> Any:
        return whole(vector.at[i].add(shift))

    def both(h: Any) -> tuple[Any, Any]:
        low, middle, high = at(-h), at(0.0), at(h)
        return (high - low) / (2 * h), jnp.abs(high - 2 * middle + low) / h

    (central, apart), (halved, apart_halved) = both(h), both(h / 2)
    return jnp.stack([central, halved, apart, apart_halved])


def _widened(leaf: Any) -> Any:
    return jnp.asarray(leaf, jnp.float64) if _is_floating(leaf) else leaf


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, float) or jnp.issubdtype(getattr(leaf, "dtype", np.dtype(object)), jnp.floating)


def _checked(value: Any) -> Any:
    alone = not isinstance(value, list | tuple | dict)
    if not alone or np.shape(value) != () or not _is_floating(value) or not np.isfinite(np.asarray(value)):
        several = f"an array of shape {np.shape(value)}" if alone else f"a {type(value).__name__}"
        got = f"{value}" if alone and np.shape(value) == () else several
        raise ValueError(message("result of fn", got, "one finite floating-point number", "Take the mean of a loss."))
    return jnp.asarray(value)


def _where(row: LeafCheck) -> str:
    return f"{list(row.worst)}: gradient {row.gradient:.6g}, differences {row.difference:.6g}"
