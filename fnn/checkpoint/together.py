"""What several processes do for one checkpoint: the first one makes, seals and renames, the others wait for it."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from fnn.agreed import check_agreed
from fnn.errors import message
from fnn.tree import named_leaves

_NAME = ".partial-together-"
_SEEN = 5.0  # seconds until what one process has made in a folder is there for all


def several() -> bool:
    """Whether this process is one of several.

    Example:
        >>> several()
        False
    """
    return jax.process_count() > 1


@contextlib.contextmanager
def by_the_first() -> Iterator[bool]:
    """Whether this process is the first; all leave together, and raise if the first one failed.

    Example:
        >>> with by_the_first() as first:
        ...     first
        True
    """
    failed: Exception | None = None
    try:
        yield jax.process_index() == 0
    except Exception as error:
        failed = error
    if several() and not multihost_utils.broadcast_one_to_all(np.array(failed is None)):
        failed = failed or OSError("the first process could not write to it")
    if failed is not None:
        raise failed


def check_together(step: int, leaves: Mapping[str, Any], tree: Any) -> None:
    """Refuses what several processes cannot save as one: each another step or tree, or arrays of one of them alone.

    Example:
        >>> check_together(7, {}, {})
    """
    if not several():
        return
    for name, leaf in named_leaves(tree).items():
        if isinstance(leaf, jax.Array) and leaf.size and leaf.is_fully_addressable:
            expected, remedy = "one on the devices of all", "fnn.parallel.place puts it there."
            raise ValueError(message(f"tree leaf {name!r}", "an array of this process alone", expected, remedy))
    check_agreed("step or tree", (step, dict(leaves)), "All processes save after the same step.")


def check_shared(partial: Path) -> None:
    """Refuses a folder that is not the same one in all processes.

    Example:
        >>> check_shared(Path("no/such/folder"))
    """
    if not several():
        return
    until = time.monotonic() + _SEEN
    while not partial.is_dir() and time.monotonic() < until:
        time.sleep(0.1)
    check_agreed("the folder", partial.is_dir(), "They must share it.")


def beside(directory: Path, step: int) -> Path:
    """Where all of them write what is not a checkpoint yet: a name that was not there before, from the first one.

    Example:
        >>> beside(Path("runs"), 7).name
        '.partial-together-7-...'
    """
    drawn = np.frombuffer(os.urandom(8), np.uint32)
    return directory / f"{_NAME}{step}-{np.asarray(multihost_utils.broadcast_one_to_all(drawn)).tobytes().hex()}"


def clear(directory: Path) -> None:
    """Removes what a save has left in which one of them was killed: none of this job is writing now.

    Example:
        >>> clear(Path("no/such/folder"))
    """
    for left in directory.glob(f"{_NAME}*"):
        shutil.rmtree(left, ignore_errors=True)


def placed(array: Any, like: Any) -> Any:
    """A whole array, or a typed key, on the devices of another one; every process gives the same.

    Example:
        >>> placed(jnp.ones(2), jnp.zeros(2))
        Array([1., 1.], dtype=float32)
    """
    sharding = getattr(like, "sharding", None)
    if sharding is None or sharding.is_fully_addressable:
        return array if sharding is None else jax.device_put(array, sharding)
    return jax.jit(lambda a: a, out_shardings=sharding)(array)
