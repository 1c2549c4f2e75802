"""A tree's leaves by name, in the form in which they are written: arrays, each with its description."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.checkpoint.together import placed
from fnn.errors import message
from fnn.keys import is_key
from fnn.tree import named_leaves


def described(tree: Any) -> dict[str, dict[str, Any]]:
    """What each leaf of a tree is, by its path: shape and dtype.

    Example:
        >>> described({"w": jnp.ones((2, 3)), "key": jax.random.key(0)})["key"]
        {'shape': [], 'dtype': 'key<fry>'}
    """
    named = named_leaves(tree)
    if len(named) != len(jax.tree.leaves(tree)):
        raise ValueError(message("tree", "two leaves of one path", "paths that differ", "Rename a key with '/' in it."))
    return {name: _description(name, leaf) for name, leaf in named.items()}


def _description(name: str, leaf: Any) -> dict[str, Any]:
    if not hasattr(leaf, "dtype"):
        if not isinstance(leaf, bool | int | float | complex):
            got = f"a {type(leaf).__name__}"
            raise TypeError(message(f"tree leaf {name!r}", got, "an array or a number", "Keep it out of the tree."))
        leaf = np.asarray(leaf)
    if not is_key(leaf) and leaf.dtype.kind in "OUSMm":
        got, remedy = f"dtype {leaf.dtype}", "Keep it out of the tree."
        raise TypeError(message(f"tree leaf {name!r}", got, "numbers", remedy))
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}


def key_kinds(tree: Any) -> dict[str, str]:
    """The implementation of each typed key, by its path.

    Example:
        >>> key_kinds({"key": jax.random.key(0), "w": jnp.ones(2)})
        {'key': 'threefry2x32'}
    """
    return {name: str(jax.random.key_impl(leaf)) for name, leaf in named_leaves(tree).items() if is_key(leaf)}


def arrays_of(tree: Any) -> dict[str, Any]:
    """The leaves that hold numbers, by path, as arrays: keys as their data. Those of no size are told by their shape.

    Example:
        >>> list(arrays_of({"w": jnp.ones(2), "none": jnp.ones((0, 3))}))
        ['w']
    """
    plain = {name: jax.random.key_data(leaf) if is_key(leaf) else leaf for name, leaf in named_leaves(tree).items()}
    arrays = {name: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf) for name, leaf in plain.items()}
    return {name: array for name, array in arrays.items() if array.size}


def check_alike(folder: str, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses leaves that are missing, too many, or of another shape or dtype; all of them are named.

    Raises:
        ValueError: with each such path.

    Example:
        >>> check_alike("runs/1", {"w": {"shape": [2], "dtype": "float32"}}, {})
        Traceback (most recent call last):
        ValueError: like: got a tree that is not the one in runs/1: 'w' is saved and not in it, expected ...
    """
    odd = [f"{name!r} is not saved" for name in wanted if name not in saved]
    odd += [f"{name!r} is saved and not in it" for name in saved if name not in wanted]
    for name in wanted:
        if name in saved and saved[name] != wanted[name]:
            odd.append(f"{name!r} is {_words(saved[name])} there and {_words(wanted[name])} here")
    if odd:
        got = f"a tree that is not the one in {folder}: {', '.join(odd)}"
        remedy = "Nothing is cast or left out: build the same network and optimizer."
        raise ValueError(message("like", got, "the same paths, shapes and dtypes", remedy))


def check_held(named: Mapping[str, Any]) -> None:
    """Refuses what JAX would cast: 64 bits, unless they are switched on.

    Example:
        >>> check_held({"w": jax.ShapeDtypeStruct((2,), np.float64)})
        Traceback (most recent call last):
        ValueError: like: got 'w' of float64, expected dtypes that JAX holds. Switch on jax_enable_x64, ...
    """
    for name, leaf in named.items():
        numpy = is_key(leaf) or not hasattr(leaf, "dtype") or isinstance(leaf, np.ndarray | np.generic)
        if not numpy and jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype:
            remedy = "Switch on jax_enable_x64, or give a NumPy array for it."
            raise ValueError(message("like", f"{name!r} of {leaf.dtype}", "dtypes that JAX holds", remedy))


def _words(description: Mapping[str, Any]) -> str:
    return f"{description['dtype']}{description['shape']}"


def put_back(like: Any, arrays: Mapping[str, Any], kinds: Mapping[str, str]) -> Any:
    """The tree `like` with these arrays as leaves: on its devices, keys as keys of their kinds, numbers as numbers.

    Example:
        >>> put_back({"w": np.zeros(2), "steps": 0}, {"w": np.ones(2), "steps": np.array(3)}, {})
        {'steps': 3, 'w': array([1., 1.])}
    """

    def leaf(name: str, old: Any) -> Any:
        if is_key(old):
            shape = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(old.shape, old.dtype)).shape
            data = arrays.get(name, np.zeros(shape, np.uint32))
            return placed(jax.random.wrap_key_data(jnp.asarray(data), impl=kinds[name]), old)
        if not hasattr(old, "dtype"):
            return arrays[name].item()
        return _as_weak(arrays[name], old) if name in arrays else _empty(old)

    return jax.tree.unflatten(jax.tree.structure(like), [leaf(*pair) for pair in named_leaves(like).items()])


def _as_weak(array: Any, old: Any) -> Any:
    """The array, of weak type where the other one is: otherwise a program of it would be another one."""
    if not getattr(old, "weak_type", False) or getattr(array, "weak_type", True):
        return array
    # To set all of a weak array is the one public way to one of these numbers.
    weak = jnp.full(array.shape, array.dtype.type(0).item()).at[...].set(array)
    return placed(weak, array) if weak.weak_type and weak.dtype == array.dtype else array


def _empty(old: Any) -> Any:
    if isinstance(old, np.ndarray | np.generic):
        return np.zeros(old.shape, old.dtype)
    return placed(jnp.zeros(old.shape, old.dtype), old)
