"""Hyperparameters to try: grids, and random samples."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import check_callable, check_count, check_key, check_scalar, concrete, message
from fnn.keys import for_layer
from fnn.typing import Array, Key, Scalar

Values: TypeAlias = Sequence[Any] | np.ndarray | Array
Distribution: TypeAlias = Callable[[Key, int], Array]
"""(key, n) to n values drawn, an array (n,)."""


def grid(**axes: Values) -> dict[str, Array]:
    """Every combination of the values given by name, the last name's values changing fastest.

    Args:
        **axes: one or more numbers for each hyperparameter.

    Returns:
        Each name's array (n,), n the product of the numbers of values: the `hparams` of `fnn.sweep`.

    Raises:
        ValueError: no name, or a name without values.
        TypeError: values that are not numbers.

    Example:
        >>> grid(learning_rate=[0.1, 0.2], width=[16, 32])
        {'learning_rate': Array([0.1, 0.1, 0.2, 0.2], dtype=float32), 'width': Array([16, 32, 16, 32], dtype=int32)}
    """
    values = {name: _values(name, given) for name, given in axes.items()}
    if not values:
        raise ValueError(message("grid", "nothing", "values by name", "Such as learning_rate=[1e-3, 1e-2]."))
    rows = itertools.product(*(range(len(v)) for v in values.values()))
    places = np.array(list(rows)).T
    return {name: v[place] for (name, v), place in zip(values.items(), places, strict=True)}


def sample(key: Key, n: int, **distributions: Distribution) -> dict[str, Array]:
    """So many random combinations, each hyperparameter drawn from its distribution, independently.

    What a name draws depends on the key and the name alone, not on which others stand beside it.

    Args:
        key: a typed key.
        n: how many combinations.
        **distributions: `uniform`, `log_uniform`, `choice`, or any function (key, n) to an array (n, ...).

    Returns:
        Each name's array: the `hparams` of `fnn.sweep`.

    Raises:
        ValueError: no name, n below 1, or a distribution that gives other than n values.
        TypeError: not a typed key, or not distributions.

    Example:
        >>> hparams = sample(jax.random.key(0), 100, learning_rate=log_uniform(1e-4, 1e-1), dropout=uniform(0, 0.5))
        >>> hparams["learning_rate"].shape, bool(hparams["dropout"].max() < 0.5)
        ((100,), True)

    Source: Bergstra and Bengio 2012, "Random search for hyper-parameter optimization".
    """
    check_key("key", key)
    check_count("n", n)
    if not distributions:
        remedy = "Such as learning_rate=log_uniform(1e-4, 1e-1)."
        raise ValueError(message("sample", "nothing", "distributions by name", remedy))
    for name, distribution in distributions.items():
        check_callable(name, distribution, "a distribution", "Of values to choose from make one: choice(values).")
    drawn = {name: distribution(for_layer(key, name), n) for name, distribution in distributions.items()}
    for name, values in drawn.items():
        if np.shape(values)[:1] != (n,):
            raise ValueError(message(f"result of {name}", f"shape {np.shape(values)}", f"{n} values, shape ({n}, ...)"))
    return drawn


def uniform(low: Scalar, high: Scalar) -> Distribution:
    """The distribution with density 1 / (high - low) on [low, high).

    Raises:
        ValueError: high is not above low.

    Example:
        >>> uniform(0.0, 0.5)(jax.random.key(0), 3).shape
        (3,)
    """
    _check_interval(low, high)
    return lambda key, n: jax.random.uniform(key, (n,), minval=low, maxval=high)


def log_uniform(low: Scalar, high: Scalar) -> Distribution:
    """The distribution whose logarithm is uniform, with density 1 / (x ln(high / low)) on [low, high).

    Every factor of ten is as likely as another: what a learning rate is drawn from.

    Raises:
        ValueError: low is not positive, or high is not above it.

    Example:
        >>> draws = log_uniform(1e-4, 1.0)(jax.random.key(0), 1000)
        >>> bool(abs((draws < 1e-2).mean() - 0.5) < 0.05)
        True
    """
    check_scalar("low", low, 0, open_low=True, remedy="Its logarithm is taken; for values around 0 take uniform.")
    _check_interval(low, high)
    # Rounding in log and exp must not leave the interval.
    return lambda key, n: jnp.clip(
        jnp.exp(jax.random.uniform(key, (n,), minval=jnp.log(low), maxval=jnp.log(high))), low, high
    )


def choice(values: Values) -> Distribution:
    """The distribution in which each of these numbers is as likely as another.

    Raises:
        ValueError: no values.
        TypeError: values that are not numbers.

    Example:
        >>> choice([16, 32, 64])(jax.random.key(0), 4).dtype
        dtype('int32')
    """
    known = _values("values", values)
    return lambda key, n: known[jax.random.randint(key, (n,), 0, len(known))]


def _values(name: str, given: Any) -> Array:
    remedy = "What is no number decides the structure of a program: loop over it, with a sweep for each."
    try:
        values = np.asarray(given)
    except ValueError as error:
        raise ValueError(message(name, "values of several shapes", "a list of numbers")) from error
    if values.ndim == 0:
        raise TypeError(message(name, repr(given), "a list of values", f"For a single one give [{given!r}]."))
    if len(values) == 0:
        raise ValueError(message(name, "no values", "at least one"))
    if not (jnp.issubdtype(values.dtype, jnp.number) or jnp.issubdtype(values.dtype, jnp.bool)):
        raise TypeError(message(name, f"values such as {values.flat[0]!r}", "numbers", remedy))
    return jnp.asarray(given)


def _check_interval(low: Scalar, high: Scalar) -> None:
    check_scalar("low", low)
    check_scalar("high", high)
    bottom, top = concrete(low), concrete(high)
    if bottom is not None and top is not None and (bottom >= top).any():
        raise ValueError(message("high", high, f"a number above low, {low}"))
