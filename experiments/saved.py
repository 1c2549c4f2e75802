"""A trained network in one file: its arrays by path, and in words what rebuilds it."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import fnn

_ABOUT = "about"


class Saved(NamedTuple):
    """What a file holds: numbers, names and settings, and the arrays by path."""

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save(path: Path, about: Mapping[str, Any], **trees: Any) -> None:
    """Writes trees of arrays, `params/dense_0/w`, and `about` as JSON; an older file stays until it is whole."""
    arrays: dict[str, Any] = {
        f"{part}/{name}": np.asarray(leaf)
        for part, tree in trees.items()
        for name, leaf in fnn.tree.named_leaves(tree).items()
    }
    arrays[_ABOUT] = np.array(json.dumps(about, default=str))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)


def load(path: Path, train_first: str) -> Saved:
    """Reads such a file; `train_first` is the remedy where there is none."""
    if not path.is_file():
        raise FileNotFoundError(fnn.errors.message(str(path), "no such file", "a saved model", train_first))
    try:
        with path.open("rb") as file, np.load(file) as held:
            arrays = dict(held)
        return Saved(json.loads(str(arrays.pop(_ABOUT))), arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        remedy = f"Delete it and train again. {train_first}"
        raise ValueError(fnn.errors.message(str(path), f"a broken file ({error})", "a saved model", remedy)) from error


def tree_like(like: Any, part: str, saved: Saved, path: Path) -> Any:
    """The saved tree `part`, in the form of `like`, whose leaves tell shapes and dtypes."""
    leaves = fnn.tree.named_leaves(like)
    found = {name.removeprefix(f"{part}/"): a for name, a in saved.arrays.items() if name.startswith(f"{part}/")}
    asked, given = ({name: (a.shape, a.dtype) for name, a in some.items()} for some in (leaves, found))
    if asked != given:
        odd = ", ".join(sorted(name for name in asked | given if asked.get(name) != given.get(name)))
        got = f"arrays of another network ({odd})"
        raise ValueError(fnn.errors.message(str(path), got, "those that its options ask for", "Train again."))
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in leaves])
