"""The cells of a sweep: each combination of hyperparameters with each key."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import message
from fnn.tree import named_leaves
from fnn.typing import Key, Shape

Train = Callable[[Any, Key], Any]
"""(hparams, key) to any pytree of arrays: a whole training run."""


class Cells(NamedTuple):
    """Hyperparameters and keys on the host, and the cells that they make: cell i has row i // k and key i % k.

    Attributes:
        hparams: a tree of arrays with one leading axis, that of the combinations.
        keys: the typed keys, (k,).
        words: the numbers behind the keys, (k, ...).
    """

    hparams: Any
    keys: Key
    words: np.ndarray

    @property
    def shape(self) -> Shape:
        """The numbers of combinations and of keys."""
        return len(jax.tree.leaves(self.hparams)[0]), len(self.words)

    def rows(self, first: int, size: int) -> tuple[Any, np.ndarray]:
        """Hyperparameters and keys' numbers of so many cells; past the last one, the last one again."""
        combinations, keys = self.shape
        i = np.minimum(np.arange(first, first + size), combinations * keys - 1)
        return jax.tree.map(lambda a: a[i // keys], self.hparams), self.words[i % keys]

    def key_of(self, words: Any) -> Key:
        """The typed keys behind these numbers."""
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(self.keys))


def checked_cells(hparams: Any, keys: Key) -> Cells:
    """Refuses what are not rows of hyperparameters and typed keys.

    Raises:
        ValueError: no hyperparameters, arrays of different length, a single value, no keys or a single one.
        TypeError: hyperparameters that are not numbers, or keys that are not typed.

    Example:
        >>> checked_cells({"learning_rate": jnp.array([0.1, 0.2, 0.3])}, jax.random.split(jax.random.key(0), 2)).shape
        (3, 2)
    """
    named = named_leaves(hparams)
    if not named:
        remedy = "Such as fnn.population.grid(learning_rate=[1e-3, 1e-2])."
        raise ValueError(message("hparams", "no arrays", "at least one", remedy))
    for name, leaf in named.items():
        _check_leaf(f"hparams leaf '{name}'" if name else "hparams", leaf)
    lengths = {name: len(leaf) for name, leaf in named.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} {length}" for name, length in lengths.items())
        remedy = "For every combination make a grid: fnn.population.grid(...)."
        raise ValueError(message("hparams", f"leading axes of different length: {got}", "one length", remedy))
    if 0 in lengths.values():
        raise ValueError(message("hparams", "no combinations", "at least one"))
    _check_keys(keys)
    arrays = jax.tree.map(lambda a: np.asarray(jnp.asarray(a)), hparams)
    return Cells(arrays, keys, np.asarray(jax.random.key_data(keys)))


def _check_leaf(name: str, leaf: Any) -> None:
    if isinstance(leaf, str) or callable(leaf):
        remedy = "What is no number decides the structure of a program: loop over it, with a sweep for each."
        raise TypeError(message(name, repr(leaf), "an array of numbers", remedy))
    if np.ndim(leaf) == 0:
        got = f"the single value {leaf!r}"
        remedy = "Rows of values: jnp.array([...]), or fnn.population.grid(...) of lists."
        raise ValueError(message(name, got, "an array with one entry a combination", remedy))
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    if not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool)):
        raise TypeError(message(name, f"dtype {dtype}", "numbers"))


def _check_keys(keys: Any) -> None:
    expected, remedy = "an array of typed keys (k,)", "Make them: jax.random.split(jax.random.key(0), k)."
    if not jnp.issubdtype(getattr(keys, "dtype", np.dtype(object)), jax.dtypes.prng_key):
        legacy = getattr(keys, "dtype", None) == np.uint32
        got = "legacy uint32 keys" if legacy else f"a {type(keys).__name__}"
        raise TypeError(message("keys", got, expected, remedy))
    if np.ndim(keys) != 1 or not len(keys):
        got = "a single key" if np.ndim(keys) == 0 else f"keys of shape {np.shape(keys)}"
        raise ValueError(message("keys", got, expected, remedy if np.ndim(keys) else "For a single one: keys[None]."))
