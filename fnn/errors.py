"""The error type of this library, and the helpers that word every refusal.

A wrong call fails before anything compiles, as `ValueError` or `TypeError`, with four things in one
message: the argument's name, what came, what was expected, the remedy. Checks of a *value* look only
at concrete values, with NumPy, so that nothing breaks or is staged under a trace; checks of a shape
or dtype always run.
"""

import contextlib
import difflib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from fnn import tree


class NonFiniteError(ArithmeticError):
    """Training met a loss or gradient that is not a finite number.

    Attributes:
        result: what the run had reached by then, as `fnn.fit` would have returned it, or None. Its `state` is
            the last finite one, that before the step which failed.
        event: where it came from, an `fnn.inspect.Event`, or None where a validation loss was not finite.
        batch: the batch of the step which failed, or None.
    """

    def __init__(self, message: str, result: Any = None, event: Any = None, batch: Any = None):
        super().__init__(message)
        self.result, self.event, self.batch = result, event, batch


class Interrupted(KeyboardInterrupt):
    """Training was broken off by Ctrl-C, or by SIGTERM where a fit saves checkpoints.

    Attributes:
        result: what the run had reached by then, as `fnn.fit` would have returned it, or None.
    """

    def __init__(self, result: Any = None, text: str = ""):
        super().__init__(text)
        self.result = result


def message(argument: str, got: Any, expected: str, remedy: str = "") -> str:
    """The one form of every refusal.

    Example:
        >>> message("rate", 1.5, "a number in [0, 1)", "To drop half of the units, give 0.5.")
        'rate: got 1.5, expected a number in [0, 1). To drop half of the units, give 0.5.'
    """
    return f"{argument}: got {got}, expected {expected}." + (f" {remedy}" if remedy else "")


def kind(value: Any) -> str:
    """What something is, for a message: "an array of shape (3,)", "a list", "None"."""
    if isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
        return f"an array of shape {np.shape(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def is_traced(x: Any) -> bool:
    """Whether any leaf is a tracer, whose value is not known yet."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(x))


# Under a trace a batch's targets are unknown, but the data set that they are taken from is not.
_behind: list[tuple[Any, Any]] = []


@contextlib.contextmanager
def values_behind(tracer: Any, values: Any) -> Iterator[None]:
    """While it lasts, value checks of `tracer` look at `values`: what its rows come from, or all that it will be."""
    _behind.append((tracer, values))
    try:
        yield
    finally:
        _behind.pop()


def concrete(x: Any) -> np.ndarray | None:
    """The values of `x` as a NumPy array, or None where they are not known (under a trace)."""
    if is_traced(x):
        x = next((values for tracer, values in reversed(_behind) if tracer is x), x)
    return None if is_traced(x) else np.asarray(x)


def is_zero(x: Any) -> bool:
    """Whether `x` is known to be 0: then a term may be left out of the program, with the same result."""
    value = concrete(x)
    return value is not None and value.ndim == 0 and bool(value == 0)


def check_scalar(
    argument: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    remedy: str = "",
) -> None:
    """Refuses what is not one finite real number in [low, high), or in (low, high) with `open_low`."""
    expected = _interval(low, high, open_low)
    if isinstance(value, bool | str | bytes | list | tuple | dict | set) or value is None or callable(value):
        raise TypeError(message(argument, _brief(value), expected, remedy))
    if np.shape(value) != ():
        sweep = "To try many values, build it inside a function of the value and vmap that function."
        raise ValueError(message(argument, f"an array of shape {np.shape(value)}", expected, remedy or sweep))
    given = value.dtype if isinstance(value, jax.Array) else np.asarray(value).dtype
    if not (jnp.issubdtype(given, jnp.floating) or jnp.issubdtype(given, jnp.integer)):
        raise TypeError(message(argument, _brief(value), expected, remedy))
    known = concrete(value)
    if known is None:
        return
    for number in known.reshape(-1):
        held, dtype = _held(number)
        if _outside(held, low, high, open_low):
            rounded = "" if _outside(float(number), low, high, open_low) else f", which is {held:g} in {dtype}"
            # Behind one tracer of a sweep are all the values that it will have.
            got = _brief(value) if known.ndim == 0 else f"{number:g} among {known.size} values"
            raise ValueError(message(argument, got + rounded, expected, remedy))


def check_count(argument: str, value: Any, minimum: int = 1, remedy: str = "") -> None:
    """Refuses what is not an integer of at least `minimum`; counts shape the program, so none is traced."""
    expected = f"an integer >= {minimum}"
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(message(argument, _brief(value), expected, remedy))
    if value < minimum:
        raise ValueError(message(argument, value, expected, remedy))


def check_flag(argument: str, value: Any) -> None:
    """Refuses what is not True or False."""
    if not isinstance(value, bool | np.bool):
        raise TypeError(
            message(argument, _brief(value), "True or False", "It chooses the program, so it is never traced.")
        )


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> None:
    """Refuses a name that is not among the choices, and names the nearest ones."""
    known = sorted(choices)
    if isinstance(value, str) and value in known:
        return
    near = difflib.get_close_matches(str(value).lower(), known, n=3, cutoff=0.5)
    remedy = f"Did you mean {' or '.join(map(repr, near))}?" if near else ""
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(message(argument, _brief(value), f"one of {', '.join(known)}", remedy))


def check_callable(argument: str, value: Any, expected: str, remedy: str = "") -> None:
    """Refuses what cannot be called."""
    if not callable(value):
        raise TypeError(message(argument, _brief(value), expected, remedy))


def check_key(argument: str, key: Any) -> None:
    """Refuses what is not one typed key."""
    expected = "one typed key"
    remedy = "Make one with jax.random.key(seed)."
    dtype = getattr(key, "dtype", None)
    if dtype is None:
        raise TypeError(message(argument, _brief(key), expected, remedy))
    if not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        legacy = dtype == np.uint32 and np.shape(key)[-1:] == (2,)
        got = "a legacy uint32 key" if legacy else _brief(key)
        wrap = " Or wrap this one: jax.random.wrap_key_data(key)." if legacy else ""
        raise TypeError(message(argument, got, expected, remedy + wrap))
    if np.shape(key) != ():
        many = "For many keys, vmap over them: jax.vmap(function)(keys)."
        raise ValueError(message(argument, f"keys of shape {np.shape(key)}", expected, many))


def check_array(argument: str, x: Any) -> None:
    """Refuses what is not an array (of JAX or NumPy)."""
    if not isinstance(x, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
        raise TypeError(message(argument, _brief(x), "an array", f"Convert it: jnp.asarray({argument})."))


def check_floating(argument: str, x: Any, remedy: str = "") -> None:
    """Refuses what is not an array of floating-point numbers."""
    check_array(argument, x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        pixels = " / 255, for pixels" if x.dtype == np.uint8 else ""
        cast = f"Cast it: {argument}.astype(jnp.float32){pixels}."
        raise TypeError(message(argument, f"dtype {x.dtype}", "floating-point numbers", remedy or cast))


def check_shape(argument: str, x: Any, shape: tuple[int, ...], remedy: str = "") -> None:
    """Refuses an array whose shape is not exactly `shape`: nothing broadcasts silently."""
    check_array(argument, x)
    if np.shape(x) != tuple(shape):
        raise ValueError(message(argument, f"shape {np.shape(x)}", f"shape {tuple(shape)}", remedy))


def check_trainable(argument: str, params: Any) -> None:
    """Refuses a tree with a leaf that has no gradient: integers, booleans, keys; the leaf is named."""
    for name, leaf in tree.named_leaves(params).items():
        where = f"{argument} leaf '{name}'" if name else argument
        if not hasattr(leaf, "dtype"):
            raise TypeError(message(where, _brief(leaf), "an array", "Convert it: jnp.asarray(leaf)."))
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise TypeError(
                message(
                    where,
                    f"dtype {leaf.dtype}",
                    "floating-point or complex numbers",
                    "Only those have a gradient: cast it, or keep it out of the parameters.",
                )
            )


def check_finite(argument: str, x: Any) -> None:
    """Refuses an array with a NaN or an infinity, and names its first row (known values only)."""
    values = concrete(x)
    if values is not None and jnp.issubdtype(values.dtype, jnp.inexact):
        check_values(argument, values, np.isfinite, "finite numbers", "Drop or mend these rows before training.")


def check_values(
    argument: str, x: Any, valid: Callable[[np.ndarray], np.ndarray], expected: str, remedy: str = ""
) -> None:
    """Refuses an array with an element that is not `valid`, and names its first row (known values only)."""
    values = concrete(x)
    bad = np.zeros((), bool) if values is None else ~np.asarray(valid(values))
    if values is None or not bad.any():
        return
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    rows = int(bad.reshape(len(bad), -1).any(axis=1).sum()) if bad.ndim else 1
    row = f" at row {index[0]}" if index else ""
    row += f", index {index}" if len(index) > 1 else ""
    got = f"{values[index]}{row} ({rows} bad row{'s' if rows > 1 else ''})"
    raise ValueError(message(argument, got, expected, remedy))


def check_labels(argument: str, labels: Any, classes: int, shape: tuple[int, ...]) -> None:
    """Refuses what is not one integer label in [0, classes) for each place of `shape`."""
    check_array(argument, labels)
    got, whole = np.shape(labels), jnp.issubdtype(labels.dtype, jnp.integer)
    remedy = "Give one label an example." if whole else f"Cast it: {argument}.astype(int)."
    if got == (*shape, 1):
        remedy = f"Take its one column: {argument}[{':, ' * len(shape)}0]{'' if whole else '.astype(int)'}."
    elif got == (*shape, classes):
        remedy = f"One-hot rows: give {argument}.argmax(axis=-1)."
    if not whole:
        raise TypeError(message(argument, f"dtype {labels.dtype}", "integer labels", remedy))
    check_shape(argument, labels, shape, remedy)
    check_values(
        argument,
        labels,
        lambda known: (known >= 0) & (known < classes),
        f"integer labels in [0, {classes}), for {classes} classes",
        "Labels count from 0, and the last axis of the outputs is that of the classes.",
    )


def _held(known: Any) -> tuple[float, np.dtype]:
    """The number as JAX holds it: in float32, 0.99999999 is 1, 1e39 is infinite, and 1e-40 is flushed to 0."""
    dtype = jnp.result_type(float)
    with np.errstate(over="ignore", under="ignore"):
        number = float(known.astype(dtype))
    return (0.0 if abs(number) < jnp.finfo(dtype).tiny else number), dtype


def _outside(number: float, low: float, high: float, open_low: bool) -> bool:
    return not math.isfinite(number) or number < low or number >= high or (open_low and number == low)


def _interval(low: float, high: float, open_low: bool) -> str:
    if low == -math.inf and high == math.inf:
        return "a finite number"
    if high == math.inf:
        return f"a finite number {'>' if open_low else '>='} {low:g}"
    return f"a number in {'(' if open_low else '['}{low:g}, {high:g})"


def _brief(value: Any) -> str:
    if isinstance(value, jax.Array | np.ndarray) and np.ndim(value):
        return f"an array of shape {np.shape(value)} and dtype {value.dtype}"
    if isinstance(value, list | tuple | dict | set):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value.item()) if isinstance(value, np.generic) and not callable(value) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
