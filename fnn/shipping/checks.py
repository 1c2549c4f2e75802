"""What is looked at before a file is written or read: its path, and how two trees differ."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnn.errors import check_array, is_traced, message
from fnn.tree import named_leaves


def leaves_by_name(argument: str, tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their paths, refused where a leaf is no array or two have one path.

    Example:
        >>> leaves_by_name("params", {"dense_0": {"b": np.zeros(1)}})
        {'dense_0/b': array([0.])}
    """
    named = named_leaves(tree)
    for name, leaf in named.items():
        if not name:
            remedy = 'Name it: {"w": array}.'
            raise TypeError(message(argument, f"one {type(leaf).__name__}", "arrays in a dict or another tree", remedy))
        check_array(f"{argument} leaf {name!r}", leaf)
    if len(named) != len(jax.tree.leaves(tree)):
        remedy = "Rename a key with '/' in it."
        raise ValueError(message(argument, "two leaves of one path", "paths that differ", remedy))
    if is_traced(tree):
        remedy = "A file is written or read outside of jit, vmap and grad."
        raise TypeError(message(argument, "values that are not known yet", "arrays", remedy))
    return named


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], *, dtypes: bool = True) -> str:
    """What stands between two trees of arrays: each path that is missing, too many or of another kind.

    Args:
        found: leaves by path.
        wanted: what they should be.
        dtypes: whether another dtype counts.

    Example:
        >>> differences({"w": np.zeros((2, 3)), "c": np.zeros(3)}, {"w": np.zeros((3, 3)), "b": np.zeros(3)})
        "'b' missing, 'c' too many, 'w' float64[2, 3] instead of float64[3, 3]"
    """

    def kind(leaf: Any) -> str:
        shape = [*map(int, np.shape(leaf))]
        return f"{leaf.dtype}{shape}" if dtypes else str(shape)

    odd = [f"{name!r} missing" for name in wanted if name not in found]
    odd += [f"{name!r} too many" for name in found if name not in wanted]
    pairs = [(name, kind(found[name]), kind(wanted[name])) for name in wanted if name in found]
    return ", ".join([*odd, *(f"{name!r} {got} instead of {want}" for name, got, want in pairs if got != want)])


def checked_file(path: str | PathLike[str]) -> Path:
    """The path of a file that can be written; its folder is there.

    Example:
        >>> checked_file("digits.npz").name
        'digits.npz'
    """
    if not isinstance(path, str | PathLike):
        raise TypeError(message("path", f"a {type(path).__name__}", "a file's path"))
    file = Path(path)
    if file.is_dir():
        raise ValueError(message("path", f"{file}, which is a folder", "a file", "Add a file's name."))
    if not file.parent.is_dir():
        raise FileNotFoundError(message("path", file, "a file in a folder that exists", f"Make {file.parent}."))
    return file
